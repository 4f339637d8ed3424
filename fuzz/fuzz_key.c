/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any values as the parts of a key. What the canonicaliser accepts must be
 * canonical (taking it once more changes nothing), and k1 must be injective: a reader that
 * knows only docs/KEYS.md gets every part back out of the text, with its type, exactly.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS_MAX 4U

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct reader {
    const uint8_t *at;
    size_t left;
};

static unsigned next_byte(struct reader *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static struct onerow_span next_text(struct reader *in)
{
    size_t len = next_byte(in);
    len = len < in->left ? len : in->left;
    struct onerow_span text = {(const char *)in->at, len};
    in->at += len;
    in->left -= len;
    return text;
}

struct part {
    struct onerow_key_column column;
    enum onerow_type type;
    struct onerow_value value;
    struct onerow_value canonical;
};

static void read_part(struct reader *in, struct part *part)
{
    static const enum onerow_kind kinds[] = {ONEROW_TEXT, ONEROW_UNTYPED, ONEROW_NUMBER,
                                             ONEROW_JSON, ONEROW_BOOL,    ONEROW_NULL};
    unsigned how = next_byte(in);
    part->type = (enum onerow_type)(ONEROW_TYPE_TEXT + how % 7);
    part->column =
        (struct onerow_key_column){.name = "c", .type = part->type, .nulls_equal = how & 128};
    part->column.normalize = part->type == ONEROW_TYPE_TEXT ? next_byte(in) & 7U : 0;
    enum onerow_kind kind = kinds[next_byte(in) % (sizeof kinds / sizeof *kinds)];
    struct onerow_span text = next_text(in);
    if (kind == ONEROW_BOOL) {
        text = text.len & 1 ? OR_SPAN("true") : OR_SPAN("false");
    }
    part->value = (struct onerow_value){
        .data = kind == ONEROW_NULL ? NULL : text.data,
        .len = kind == ONEROW_NULL ? 0 : (uint32_t)text.len,
        .kind = (uint8_t)kind,
    };
}

static struct onerow_span text_of(const struct onerow_value *value)
{
    return (struct onerow_span){value->data, value->len};
}

/* False: refused, with a reason to show. */
static bool canonical(struct part *part, struct or_arena *arena)
{
    const char *reason = NULL;
    if (!or_key_part(&part->column, part->type, &part->value, arena, &part->canonical, &reason)) {
        HOLDS(reason && *reason && reason != or_key_no_memory);
        return false;
    }
    struct onerow_value again;
    HOLDS(or_key_part(&part->column, part->type, &part->canonical, arena, &again, &reason));
    HOLDS(again.kind == part->canonical.kind);
    HOLDS(or_span_equal(text_of(&again), text_of(&part->canonical)));
    HOLDS(part->canonical.kind == ONEROW_NULL || or_utf8_valid(text_of(&part->canonical), NULL));
    return true;
}

/* ---- a reader of k1, from the grammar alone ----------------------------------------------- */

static const char TAGS[] = {
    [ONEROW_TYPE_TEXT] = 't', [ONEROW_TYPE_INT] = 'i',  [ONEROW_TYPE_DECIMAL] = 'd',
    [ONEROW_TYPE_BOOL] = 'b', [ONEROW_TYPE_DATE] = 'D', [ONEROW_TYPE_TIMESTAMP] = 'T',
    [ONEROW_TYPE_UUID] = 'u'};

/* The content up to the next bar or the end, its escapes undone, into `out`. */
static size_t read_content(struct onerow_span k1, size_t *at, char *out)
{
    size_t n = 0;
    for (; *at < k1.len && k1.data[*at] != '|'; (*at)++) {
        char byte = k1.data[*at];
        if (byte == '\\') {
            HOLDS(++*at < k1.len && (k1.data[*at] == '\\' || k1.data[*at] == 'p'));
            byte = k1.data[*at] == 'p' ? '|' : '\\';
        }
        out[n++] = byte;
    }
    return n;
}

static void read_back(struct onerow_span k1, const struct part *parts, size_t n)
{
    char *content = malloc(k1.len + 1);
    size_t at = 2;
    if (!content) {
        return;
    }
    HOLDS(k1.len >= 2 && memcmp(k1.data, "k1", 2) == 0);
    for (size_t i = 0; i < n; i++) {
        HOLDS(at < k1.len && k1.data[at++] == '|');
        if (parts[i].canonical.kind == ONEROW_NULL) {
            HOLDS(at < k1.len && k1.data[at++] == 'n');
            HOLDS(at == k1.len || k1.data[at] == '|');
            continue;
        }
        HOLDS(at + 2 <= k1.len && k1.data[at] == TAGS[parts[i].type] && k1.data[at + 1] == ':');
        at += 2;
        struct onerow_span back = {content, read_content(k1, &at, content)};
        HOLDS(or_span_equal(back, text_of(&parts[i].canonical)));
    }
    HOLDS(at == k1.len);
    free(content);
}

static void check_key(struct part *parts, size_t n)
{
    struct onerow_value values[PARTS_MAX];
    enum onerow_type types[PARTS_MAX];
    for (size_t i = 0; i < n; i++) {
        values[i] = parts[i].canonical;
        types[i] = parts[i].type;
    }
    struct or_buffer k1;
    or_buffer_init(&k1);
    if (or_key_append(&k1, values, types, n)) {
        HOLDS(k1.len <= OR_KEY_MAX);
        read_back(or_buffer_view(&k1), parts, n);
    } else {
        HOLDS(k1.len == 0);
    }
    or_buffer_finish(&k1);
}

/* A decimal's canonical text is the same by both ways to it. */
static void check_decimal(const struct part *part)
{
    struct or_buffer decimal;
    or_buffer_init(&decimal);
    if (part->type == ONEROW_TYPE_DECIMAL && part->canonical.kind == ONEROW_NUMBER) {
        HOLDS(or_decimal_canonical(text_of(&part->value), &decimal));
        HOLDS(or_span_equal(or_buffer_view(&decimal), text_of(&part->canonical)));
    }
    or_buffer_finish(&decimal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = {data, size};
    struct part parts[PARTS_MAX];
    struct or_arena arena;
    size_t n = next_byte(&in) % PARTS_MAX + 1;
    bool accepted = true;
    or_arena_init(&arena);
    for (size_t i = 0; i < n && accepted; i++) {
        read_part(&in, &parts[i]);
        accepted = canonical(&parts[i], &arena);
        if (accepted) {
            check_decimal(&parts[i]);
        }
    }
    if (accepted) {
        check_key(parts, n);
    }
    or_arena_finish(&arena);
    return 0;
}
