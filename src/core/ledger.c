/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a ledger record's body:
 *
 *   body    = format (1 byte), then the kind's fields
 *   number  = 8 bytes, little-endian      bytes = length as a number, then as many bytes
 *   value   = kind (1 byte), bytes        a span without data has the length 2^64 - 1
 *
 * A decoder takes exactly what an encoder writes and refuses everything else: a body with another
 * format, one that is cut, one with something behind its end.
 */
#include "core/ledger.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

#define FORMAT  1U
#define NO_DATA UINT64_MAX

#define FLAG_DOUBTFUL 1U
#define FLAG_KNOWN    2U
#define FLAGS         (FLAG_DOUBTFUL | FLAG_KNOWN)

/* ---- writing ------------------------------------------------------------------------------- */

static char *put_byte(char *at, unsigned byte)
{
    *at = (char)byte;
    return at + 1;
}

static char *put_number(char *at, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (char)(number >> 8 * i & 0xff);
    }
    return at + 8;
}

static char *put_bytes(char *at, const void *data, size_t len)
{
    at = put_number(at, data ? len : NO_DATA);
    if (data) {
        memcpy(at, data, len);
        at += len;
    }
    return at;
}

static char *put_span(char *at, struct onerow_span span)
{
    return put_bytes(at, span.data, span.len);
}

static char *put_value(char *at, const struct onerow_value *value)
{
    return put_bytes(put_byte(at, value->kind), value->data, value->len);
}

static char *put_fingerprint(char *at, const uint8_t fingerprint[OR_FINGERPRINT_LEN])
{
    memcpy(at, fingerprint, OR_FINGERPRINT_LEN);
    return at + OR_FINGERPRINT_LEN;
}

static char *put_key(char *at, const struct or_key_record *key)
{
    at = put_byte(at, FORMAT);
    at = put_byte(at, (key->doubtful ? FLAG_DOUBTFUL : 0) | (key->known ? FLAG_KNOWN : 0));
    at = put_number(at, key->generation);
    at = put_number(at, key->version);
    at = put_span(at, key->page);
    at = put_fingerprint(at, key->fingerprint);
    at = put_value(at, &key->order);
    at = put_number(at, key->nonce.number);
    at = put_number(at, key->nonce.step);
    at = put_span(at, key->pending.text);
    at = put_fingerprint(at, key->pending.fingerprint);
    return put_value(at, &key->pending.order);
}

static char *put_page(char *at, struct onerow_span key, uint64_t generation)
{
    return put_number(put_span(put_byte(at, FORMAT), key), generation);
}

static char *put_attempt(char *at, uint64_t generation, uint64_t version)
{
    return put_number(put_number(put_byte(at, FORMAT), generation), version);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reader {
    const char *at;
    size_t left;
    bool failed;
};

static struct onerow_span take(struct reader *in, size_t len)
{
    struct onerow_span taken = {in->at, len};
    if (in->failed || len > in->left) {
        in->failed = true;
        return (struct onerow_span){0};
    }
    in->at += len;
    in->left -= len;
    return taken;
}

static unsigned take_byte(struct reader *in)
{
    struct onerow_span byte = take(in, 1);
    return byte.data ? (unsigned char)*byte.data : 0;
}

static uint64_t take_number(struct reader *in)
{
    struct onerow_span bytes = take(in, 8);
    uint64_t number = 0;
    for (unsigned i = 0; bytes.data && i < 8; i++) {
        number |= (uint64_t)(unsigned char)bytes.data[i] << 8 * i;
    }
    return number;
}

static struct onerow_span take_span(struct reader *in)
{
    uint64_t len = take_number(in);
    if (len == NO_DATA) {
        return (struct onerow_span){0};
    }
    return take(in, len <= SIZE_MAX ? (size_t)len : SIZE_MAX);
}

static struct onerow_value take_value(struct reader *in)
{
    unsigned kind = take_byte(in);
    struct onerow_span text = take_span(in);
    in->failed |= kind > ONEROW_UNTYPED || text.len > ONEROW_VALUE_MAX;
    return (struct onerow_value){
        .data = text.data, .len = (uint32_t)text.len, .kind = (uint8_t)kind};
}

static void take_fingerprint(struct reader *in, uint8_t fingerprint[OR_FINGERPRINT_LEN])
{
    struct onerow_span bytes = take(in, OR_FINGERPRINT_LEN);
    if (bytes.data) {
        memcpy(fingerprint, bytes.data, OR_FINGERPRINT_LEN);
    }
}

static struct or_nonce take_nonce(struct reader *in)
{
    uint64_t number = take_number(in);
    uint64_t step = take_number(in);
    in->failed |= step > UINT32_MAX;
    return (struct or_nonce){.number = number, .step = (uint32_t)step};
}

static struct reader read_body(const struct onerow_ledger_record *record)
{
    struct reader in = {.at = record->body.data, .left = record->body.len};
    in.failed = take_byte(&in) != FORMAT;
    return in;
}

static bool complete(const struct reader *in)
{
    return !in->failed && in->left == 0;
}

/* Whether a state's fields are those that it must have: what follows relies on it. */
static bool is_coherent(const struct or_key_record *key)
{
    bool has_page = key->page.data && key->page.len > 0 && key->page.len <= OR_PAGE_ID_MAX;
    bool has_pending = key->pending.text.data != NULL && key->nonce.number != 0;
    switch (key->state) {
    case OR_KEY_NONE: return false;
    case OR_KEY_ABSENT: return !key->page.data;
    case OR_KEY_BOUND:
    case OR_KEY_WRITING: return has_page && has_pending;
    case OR_KEY_DONE:
    case OR_KEY_TOMBSTONE: return has_page;
    case OR_KEY_INTENT: return !key->page.data && has_pending;
    }
    return false;
}

bool or_key_decode(const struct onerow_ledger_record *record, struct or_key_record *key)
{
    *key = (struct or_key_record){.revision = record->revision,
                                  .state = (enum or_key_state)record->state,
                                  .since_ms = record->since_ms};
    if (record->revision == 0) {
        return record->state == 0;
    }
    struct reader in = read_body(record);
    unsigned flags = take_byte(&in);
    in.failed |= (flags & ~FLAGS) != 0;
    key->doubtful = flags & FLAG_DOUBTFUL;
    key->known = flags & FLAG_KNOWN;
    key->generation = take_number(&in);
    key->version = take_number(&in);
    key->page = take_span(&in);
    take_fingerprint(&in, key->fingerprint);
    key->order = take_value(&in);
    key->nonce = take_nonce(&in);
    key->pending.text = take_span(&in);
    take_fingerprint(&in, key->pending.fingerprint);
    key->pending.order = take_value(&in);
    return complete(&in) && record->state <= OR_KEY_INTENT && is_coherent(key);
}

bool or_page_decode(const struct onerow_ledger_record *record, struct or_page_record *page)
{
    *page = (struct or_page_record){.revision = record->revision,
                                    .state = (enum or_page_state)record->state,
                                    .since_ms = record->since_ms};
    if (record->revision == 0) {
        return record->state == 0;
    }
    struct reader in = read_body(record);
    page->key = take_span(&in);
    page->generation = take_number(&in);
    bool bound = record->state == OR_PAGE_BOUND;
    return complete(&in) && record->state >= OR_PAGE_BLANK && record->state <= OR_PAGE_CONDEMNED &&
           bound == (page->key.data != NULL);
}

bool or_attempt_decode(const struct onerow_ledger_record *record, struct or_attempt_record *attempt)
{
    *attempt = (struct or_attempt_record){.state = (enum or_attempt_mark)record->state};
    if (record->revision == 0) {
        return record->state == 0;
    }
    struct reader in = read_body(record);
    attempt->generation = take_number(&in);
    attempt->version = take_number(&in);
    return complete(&in) &&
           (record->state == OR_ATTEMPT_TAKEN || record->state == OR_ATTEMPT_REFUSED);
}

/* ---- nonces -----------------------------------------------------------------------------------
 */

static char *put_digits(char *at, uint64_t number)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (n) {
        *at++ = digits[--n];
    }
    return at;
}

size_t or_nonce_text(struct or_nonce nonce, char text[OR_NONCE_TEXT])
{
    char *at = put_digits(text, nonce.number);
    *at++ = '.';
    at = put_digits(at, nonce.step);
    *at = '\0';
    return (size_t)(at - text);
}

/* Digits without a leading zero, at most `most`. */
static bool take_digits(struct onerow_span *text, uint64_t most, uint64_t *number)
{
    size_t n = 0;
    *number = 0;
    for (; n < text->len && text->data[n] >= '0' && text->data[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(text->data[n] - '0');
        if ((n && *number == 0) || *number > (most - digit) / 10) {
            return false;
        }
        *number = 10 * *number + digit;
    }
    text->data += n;
    text->len -= n;
    return n > 0;
}

bool or_nonce_parse(struct onerow_span text, struct or_nonce *nonce)
{
    uint64_t number = 0;
    uint64_t step = 0;
    if (!take_digits(&text, UINT64_MAX, &number) || text.len == 0 || *text.data != '.') {
        return false;
    }
    text.data++;
    text.len--;
    if (!take_digits(&text, UINT32_MAX, &step) || text.len) {
        return false;
    }
    *nonce = (struct or_nonce){.number = number, .step = (uint32_t)step};
    return number != 0;
}

/* ---- swaps --------------------------------------------------------------------------------------
 */

#define KEY_FIXED     (2U + 8U * 9U + 2U + 2U * OR_FINGERPRINT_LEN) /* all but the spans' bytes */
#define PAGE_FIXED    17U
#define ATTEMPT_FIXED 17U

size_t or_swap_room(const struct or_swap *swap, struct onerow_span key)
{
    const struct or_key_record *becomes = &swap->becomes;
    return KEY_FIXED + becomes->page.len + becomes->order.len + becomes->pending.text.len +
           becomes->pending.order.len + PAGE_FIXED + key.len + 2 * (ATTEMPT_FIXED + OR_NONCE_TEXT);
}

static struct onerow_span written(const char *from, const char *to)
{
    return (struct onerow_span){from, (size_t)(to - from)};
}

static struct onerow_ledger_change key_change(const struct or_swap *swap, struct onerow_span key,
                                              char **at)
{
    struct onerow_ledger_change change = {
        .kind = ONEROW_LEDGER_KEY, .name = key, .revision = swap->revision, .states = UINT32_MAX};
    if (!swap->keep_key) {
        assert(is_coherent(&swap->becomes));
        char *body = *at;
        *at = put_key(body, &swap->becomes);
        change.state = (uint8_t)swap->becomes.state;
        change.stamp = swap->stamp;
        change.body = written(body, *at);
    }
    return change;
}

static struct onerow_ledger_change page_change(const struct or_swap *swap, struct onerow_span key,
                                               char **at)
{
    struct onerow_ledger_change change = {.kind = ONEROW_LEDGER_PAGE,
                                          .name = swap->page,
                                          .revision = swap->page_revision,
                                          .states = swap->page_states};
    if (swap->page_becomes != OR_PAGE_UNRECORDED) {
        bool bound = swap->page_becomes == OR_PAGE_BOUND;
        char *body = *at;
        *at = put_page(body, bound ? key : (struct onerow_span){0}, swap->becomes.generation);
        change.state = (uint8_t)swap->page_becomes;
        change.stamp = true;
        change.body = written(body, *at);
    }
    return change;
}

static struct onerow_ledger_change attempt_change(const struct or_swap *swap, struct or_nonce nonce,
                                                  enum or_attempt_mark mark, char **at)
{
    char *name = *at;
    char *body = name + or_nonce_text(nonce, name);
    *at = put_attempt(body, swap->becomes.generation, swap->becomes.version);
    return (struct onerow_ledger_change){
        .kind = ONEROW_LEDGER_ATTEMPT,
        .name = written(name, body),
        .revision = mark == OR_ATTEMPT_TAKEN ? 0 : ONEROW_LEDGER_ANY,
        .states = UINT32_MAX, /* REFUSED: the record may have been forgotten by now */
        .state = (uint8_t)mark,
        .stamp = true,
        .body = written(body, *at),
    };
}

size_t or_swap_encode(const struct or_swap *swap, struct onerow_span key,
                      struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES], char *room)
{
    char *at = room;
    size_t n = 0;
    if (!swap->no_key) {
        changes[n++] = key_change(swap, key, &at);
    }
    if (swap->page.data) {
        changes[n++] = page_change(swap, key, &at);
    }
    if (swap->taken.number) {
        changes[n++] = attempt_change(swap, swap->taken, OR_ATTEMPT_TAKEN, &at);
    }
    if (swap->refused.number) {
        changes[n++] = attempt_change(swap, swap->refused, OR_ATTEMPT_REFUSED, &at);
    }
    assert((size_t)(at - room) <= or_swap_room(swap, key));
    return n;
}
