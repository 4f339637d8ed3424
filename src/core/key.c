/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical form k1 of a key with n parts:
 *
 *     k1 = "k1" { "|" part }
 *     part = "n"                                  NULL
 *          | "t:" text       | "i:" integer       | "d:" decimal | "b:true" | "b:false"
 *          | "D:" date       | "T:" timestamp     | "u:" uuid
 *
 * In a part's content a backslash is written \\ and a bar is written \p, nothing else is
 * escaped. For example: text HOME, decimal 24.50, NULL -> k1|t:HOME|d:24.5|n
 *
 * It is injective: content holds no bar, so the bars divide the parts; the tag tells the
 * type, and NULL from every text; escaping can be undone; and each type has one canonical
 * text per value. It is printable where the data is, so that a person can read a key in a
 * ledger or a log. Whoever changes a byte of it makes k2: ledgers and dead letters keep k1.
 *
 * Keys are made in two steps: or_key_part brings one value to its canonical text (what the
 * store gets, too), or_key_append joins the parts. docs/KEYS.md has the rules for users.
 */
#include "core/key.h"

#include <string.h>
#include <utf8proc.h>

#include "base/digest.h"
#include "base/text.h"
#include "base/time_text.h"
#include "core/decimal.h"
#include "core/normalize.h"

_Static_assert(OR_KEY_DIGEST_LEN == OR_SHA256_LEN, "a key's digest is a SHA-256");

const char or_key_no_memory[] = "could not be read: out of memory";

struct type_row {
    const char *name;
    const char *tag; /* NULL: not a key type */
};

static const struct type_row TYPES[] = {
    [ONEROW_TYPE_UNKNOWN] = {"", NULL},
    [ONEROW_TYPE_TEXT] = {"text", "|t:"},
    [ONEROW_TYPE_INT] = {"int", "|i:"},
    [ONEROW_TYPE_DECIMAL] = {"decimal", "|d:"},
    [ONEROW_TYPE_BOOL] = {"bool", "|b:"},
    [ONEROW_TYPE_DATE] = {"date", "|D:"},
    [ONEROW_TYPE_TIMESTAMP] = {"timestamp", "|T:"},
    [ONEROW_TYPE_UUID] = {"uuid", "|u:"},
    [ONEROW_TYPE_JSON] = {"json", NULL},
};

#define N_TYPES (sizeof TYPES / sizeof *TYPES)

const char *or_type_name(enum onerow_type type)
{
    return (size_t)type < N_TYPES ? TYPES[type].name : "";
}

enum onerow_type or_type_of_name(struct onerow_span name)
{
    for (size_t type = 0; type < N_TYPES; type++) {
        if (TYPES[type].tag && or_span_is(name, TYPES[type].name)) {
            return (enum onerow_type)type;
        }
    }
    return ONEROW_TYPE_UNKNOWN;
}

/* ---- one part ------------------------------------------------------------------ */

/* The functions below bring *part to its canonical form in place. They return NULL, or why it
 * was refused. */

static struct onerow_span part_text(const struct onerow_value *part)
{
    return (struct onerow_span){part->data, part->len};
}

static bool is_text(const struct onerow_value *part)
{
    return part->kind == ONEROW_TEXT || part->kind == ONEROW_UNTYPED;
}

/* Makes `text` the part's; copies it unless the part says the same already. */
static const char *settle(struct onerow_value *part, enum onerow_kind kind, struct onerow_span text,
                          struct or_arena *scratch)
{
    part->kind = (uint8_t)kind;
    if (or_span_equal(part_text(part), text)) {
        return NULL;
    }
    struct onerow_span copy = or_arena_copy(scratch, text);
    part->data = copy.data;
    part->len = (uint32_t)copy.len;
    return copy.data ? NULL : or_key_no_memory;
}

#define EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t load_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* High bits set where a byte of the word is zero, and perhaps in bytes above such a one. */
static uint64_t zero_bytes(uint64_t word)
{
    return (word - EVERY_BYTE(0x01)) & ~word & EVERY_BYTE(0x80);
}

/* Whether all is ASCII without NUL, which most keys are: eight bytes at a time. */
static bool is_plain(const char *data, size_t len)
{
    size_t at = 0;
    uint64_t odd = 0;
    for (; len - at >= sizeof odd; at += sizeof odd) {
        uint64_t word = load_word(data + at);
        odd |= (word & EVERY_BYTE(0x80)) | zero_bytes(word);
    }
    for (; at < len; at++) {
        odd |= (signed char)data[at] <= 0;
    }
    return odd == 0;
}

static const char *not_a_text(enum onerow_kind kind)
{
    switch (kind) {
    case ONEROW_NUMBER: return "is a number; the key column is text: quote it";
    case ONEROW_BOOL: return "is true or false; the key column is text: quote it";
    default: return "is a JSON object or array; the key column is text";
    }
}

static const char *text_part(struct onerow_value *part, unsigned rules, struct or_arena *scratch)
{
    if (!is_text(part)) {
        return not_a_text((enum onerow_kind)part->kind);
    }
    if (part->len > OR_KEY_MAX) {
        return "is longer than a key may be (65,536 bytes)";
    }
    struct onerow_span text = part_text(part);
    if (!is_plain(text.data, text.len)) {
        if (memchr(text.data, '\0', text.len)) {
            return "holds the character U+0000, which no key may have";
        }
        if (!or_utf8_valid(text, NULL)) {
            return "is not valid UTF-8";
        }
    }
    part->kind = ONEROW_TEXT;
    if (rules) {
        const char *reason = or_normalize(&text, rules, scratch);
        part->data = text.data;
        part->len = (uint32_t)text.len;
        return reason;
    }
    return NULL;
}

static bool may_be_number(const struct onerow_value *part)
{
    return part->kind == ONEROW_NUMBER || is_text(part);
}

static const char *number_part(struct onerow_value *part, bool integer, struct or_arena *scratch)
{
    static const char no_int[] = "is not an integer";
    static const char no_decimal[] = "is not a decimal number";
    struct onerow_span text = part_text(part);
    if (may_be_number(part) && or_decimal_is_canonical(text, integer)) {
        part->kind = ONEROW_NUMBER;
        return NULL;
    }
    struct or_decimal decimal;
    if (!may_be_number(part) || !or_decimal_parse(text, &decimal)) {
        return integer ? no_int : no_decimal;
    }
    if (integer && !or_decimal_is_integer(&decimal)) {
        return no_int;
    }
    size_t len = or_decimal_length(&decimal);
    if (len == 0) {
        return "takes more than 1,000 characters to write out";
    }
    char *canonical = or_arena_bytes(scratch, len);
    if (!canonical) {
        return or_key_no_memory;
    }
    or_decimal_write(&decimal, canonical);
    part->kind = ONEROW_NUMBER;
    part->data = canonical;
    part->len = (uint32_t)len;
    return NULL;
}

/* Whether a JSON number is exactly one or zero, however it is written. */
static bool is_bit(struct onerow_span number, bool *one)
{
    struct or_decimal decimal;
    if (!or_decimal_parse(number, &decimal)) {
        return false;
    }
    *one = decimal.n_digits == 1;
    return decimal.n_digits == 0 ||
           (*one && *decimal.digits == '1' && decimal.point == 1 && !decimal.negative);
}

static bool is_word(struct onerow_span text, bool *truth)
{
    static const char *const words[][2] = {{"false", "true"}, {"f", "t"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        for (size_t value = 0; value < 2; value++) {
            if (or_ascii_equal_fold(text, or_span(words[i][value]))) {
                *truth = value;
                return true;
            }
        }
    }
    return false;
}

static const char *bool_part(struct onerow_value *part)
{
    bool truth = false;
    struct onerow_span text = part_text(part);
    bool known = part->kind == ONEROW_NUMBER ? is_bit(text, &truth)
                                             : part->kind != ONEROW_JSON && is_word(text, &truth);
    if (!known) {
        return "is not true or false";
    }
    struct onerow_span name = truth ? OR_SPAN("true") : OR_SPAN("false");
    part->kind = ONEROW_BOOL;
    part->data = name.data;
    part->len = (uint32_t)name.len;
    return NULL;
}

static const char *date_part(struct onerow_value *part)
{
    struct onerow_span text = is_text(part) ? part_text(part) : (struct onerow_span){"", 0};
    part->kind = ONEROW_TEXT;
    return or_date_check(text);
}

static const char *timestamp_part(struct onerow_value *part, struct or_arena *scratch)
{
    char canonical[OR_TIMESTAMP_MAX];
    size_t len;
    struct onerow_span text = is_text(part) ? part_text(part) : (struct onerow_span){"", 0};
    const char *reason = or_timestamp_canonical(text, canonical, &len);
    return reason ? reason
                  : settle(part, ONEROW_TEXT, (struct onerow_span){canonical, len}, scratch);
}

static const char *uuid_part(struct onerow_value *part, struct or_arena *scratch)
{
    char canonical[OR_UUID_LEN];
    struct onerow_span text = is_text(part) ? part_text(part) : (struct onerow_span){"", 0};
    const char *reason = or_uuid_canonical(text, canonical);
    return reason ? reason
                  : settle(part, ONEROW_TEXT, (struct onerow_span){canonical, sizeof canonical},
                           scratch);
}

static const char *null_part(struct onerow_value *part, bool equal)
{
    part->data = NULL;
    part->len = 0;
    return equal ? NULL : "is NULL";
}

static const char *make_part(const struct onerow_key_column *column, enum onerow_type type,
                             struct onerow_value *part, struct or_arena *scratch)
{
    if (part->kind == ONEROW_NULL) {
        return null_part(part, column->nulls_equal);
    }
    if (!part->data) {
        part->data = ""; /* an empty span may come without an address */
    }
    switch (type) {
    case ONEROW_TYPE_TEXT: return text_part(part, column->normalize, scratch);
    case ONEROW_TYPE_INT: return number_part(part, true, scratch);
    case ONEROW_TYPE_DECIMAL: return number_part(part, false, scratch);
    case ONEROW_TYPE_BOOL: return bool_part(part);
    case ONEROW_TYPE_DATE: return date_part(part);
    case ONEROW_TYPE_TIMESTAMP: return timestamp_part(part, scratch);
    case ONEROW_TYPE_UUID: return uuid_part(part, scratch);
    case ONEROW_TYPE_UNKNOWN:
    case ONEROW_TYPE_JSON: break;
    }
    return "is of a type that cannot be a key";
}

bool or_key_part(const struct onerow_key_column *column, enum onerow_type type,
                 const struct onerow_value *value, struct or_arena *scratch,
                 struct onerow_value *canonical, const char **reason)
{
    *canonical = *value;
    *reason = make_part(column, type, canonical, scratch);
    return *reason == NULL;
}

/* ---- joining the parts ----------------------------------------------------------- */

/* Keys are short: they are put together here and reach the buffer in one append. */
struct writer {
    struct or_buffer *key;
    size_t used;
    char bytes[256];
};

static void flush(struct writer *writer)
{
    or_buffer_add(writer->key, writer->bytes, writer->used);
    writer->used = 0;
}

static void put(struct writer *writer, const char *data, size_t len)
{
    if (len > sizeof writer->bytes - writer->used) {
        flush(writer);
        if (len > sizeof writer->bytes) {
            or_buffer_add(writer->key, data, len);
            return;
        }
    }
    memcpy(writer->bytes + writer->used, data, len);
    writer->used += len;
}

/* How many bytes precede the first bar or backslash. */
static size_t plain_prefix(const char *data, size_t len)
{
    size_t at = 0;
    for (; len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word = load_word(data + at);
        if (zero_bytes(word ^ EVERY_BYTE('|')) | zero_bytes(word ^ EVERY_BYTE('\\'))) {
            break;
        }
    }
    while (at < len && data[at] != '|' && data[at] != '\\') {
        at++;
    }
    return at;
}

static void put_content(struct writer *writer, const char *data, size_t len)
{
    for (;;) {
        size_t plain = plain_prefix(data, len);
        put(writer, data, plain);
        if (plain == len) {
            return;
        }
        put(writer, data[plain] == '|' ? "\\p" : "\\\\", 2);
        data += plain + 1;
        len -= plain + 1;
    }
}

/* False: the type is none for keys. */
static bool put_part(struct writer *writer, const struct onerow_value *part, enum onerow_type type)
{
    const char *tag = (size_t)type < N_TYPES ? TYPES[type].tag : NULL;
    if (!tag) {
        return false;
    }
    if (part->kind == ONEROW_NULL) {
        put(writer, "|n", 2);
        return true;
    }
    put(writer, tag, 3);
    if (part->len) {
        put_content(writer, part->data, part->len);
    }
    return true;
}

static bool join(struct writer *writer, const struct onerow_value *parts,
                 const enum onerow_type *types, size_t n)
{
    uint64_t content = 0;
    for (size_t i = 0; i < n; i++) {
        content += parts[i].len;
    }
    if (content > OR_KEY_MAX) {
        return false;
    }
    put(writer, "k1", 2);
    for (size_t i = 0; i < n; i++) {
        if (!put_part(writer, &parts[i], types[i])) {
            return false;
        }
    }
    flush(writer);
    return !writer->key->failed;
}

bool or_key_append(struct or_buffer *key, const struct onerow_value *parts,
                   const enum onerow_type *types, size_t n)
{
    size_t start = key->len;
    struct writer writer;
    writer.key = key;
    writer.used = 0;
    if (join(&writer, parts, types, n) && key->len - start <= OR_KEY_MAX) {
        return true;
    }
    if (key->data) {
        key->len = start;
        key->data[start] = '\0';
    }
    return false;
}

/* ---- parsing ----------------------------------------------------------------------- */

/* Content up to the next bar or the end; *key goes on behind it. */
static struct onerow_span take_content(struct onerow_span *key)
{
    const char *bar = key->len ? memchr(key->data, '|', key->len) : NULL;
    size_t len = bar ? (size_t)(bar - key->data) : key->len;
    struct onerow_span content = {key->data, len};
    key->data += len;
    key->len -= len;
    return content;
}

static bool take_part(struct onerow_span *key, enum onerow_type type, struct or_arena *arena,
                      struct onerow_value *part)
{
    static const enum onerow_kind KINDS[] = {[ONEROW_TYPE_INT] = ONEROW_NUMBER,
                                             [ONEROW_TYPE_DECIMAL] = ONEROW_NUMBER,
                                             [ONEROW_TYPE_BOOL] = ONEROW_BOOL,
                                             [ONEROW_TYPE_UUID] = ONEROW_NULL};
    const char *tag = (size_t)type < N_TYPES ? TYPES[type].tag : NULL;
    *part = (struct onerow_value){0};
    if (key->len >= 2 && memcmp(key->data, "|n", 2) == 0 &&
        (key->len == 2 || key->data[2] == '|')) {
        key->data += 2;
        key->len -= 2;
        return true;
    }
    if (!tag || key->len < 3 || memcmp(key->data, tag, 3) != 0) {
        return false;
    }
    key->data += 3;
    key->len -= 3;
    struct onerow_span content = take_content(key);
    char *plain = or_arena_bytes(arena, content.len + 1);
    size_t len = 0;
    for (size_t i = 0; plain && i < content.len; i++) {
        bool escaped = content.data[i] == '\\';
        if (escaped && (++i == content.len || !strchr("p\\", content.data[i]))) {
            return false;
        }
        plain[len++] = escaped && content.data[i] == 'p' ? '|' : content.data[i];
    }
    enum onerow_kind kind = (size_t)type < sizeof KINDS / sizeof *KINDS ? KINDS[type] : ONEROW_NULL;
    *part = (struct onerow_value){.data = plain,
                                  .len = (uint32_t)len,
                                  .kind = (uint8_t)(kind == ONEROW_NULL ? ONEROW_TEXT : kind)};
    return plain != NULL;
}

bool or_key_parse(struct onerow_span key, const enum onerow_type *types, size_t n,
                  struct or_arena *arena, struct onerow_value *parts)
{
    if (key.len < 2 || memcmp(key.data, "k1", 2) != 0) {
        return false;
    }
    key.data += 2;
    key.len -= 2;
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        good = take_part(&key, types[i], arena, &parts[i]);
    }
    return good && key.len == 0;
}

void or_key_digest(struct onerow_span key, unsigned char digest[OR_KEY_DIGEST_LEN])
{
    or_sha256(key, digest);
}

/* ---- sorting ----------------------------------------------------------------------- */

/* The first eight bytes, as a number that sorts like them. */
static uint64_t text_prefix(const struct onerow_value *part)
{
    uint64_t prefix = 0;
    size_t len = part->len < sizeof prefix ? part->len : sizeof prefix;
    for (size_t i = 0; i < len; i++) {
        prefix |= (uint64_t)(unsigned char)part->data[i] << (56 - 8 * i);
    }
    return prefix;
}

/* The integer moved up by 2^63; integers beyond 64 bits share the ends. */
static uint64_t int_prefix(const struct onerow_value *part)
{
    const uint64_t middle = UINT64_C(1) << 63;
    bool negative = part->data[0] == '-';
    uint64_t size = 0;
    bool beyond = part->len - negative > 19;
    for (size_t i = negative; i < part->len && !beyond; i++) {
        size = size * 10 + (uint64_t)(part->data[i] - '0');
    }
    if (negative) {
        return beyond || size > middle ? 0 : middle - size;
    }
    return beyond || size >= middle ? UINT64_MAX : middle + size;
}

/* Sign, then how many digits precede the point, then the first 15 digits: a decimal floating
 * point number whose bits sort like the value. 10^15 fits 50 bits, the exponent 11. */
static uint64_t decimal_prefix(const struct onerow_value *part)
{
    const uint64_t middle = UINT64_C(1) << 63;
    struct or_decimal decimal;
    if (!or_decimal_parse(part_text(part), &decimal) || decimal.n_digits == 0) {
        return middle;
    }
    uint64_t digits = 0;
    int room = 15;
    for (const char *at = decimal.digits; at < decimal.end && room > 0; at++) {
        if (*at != '.') {
            digits = digits * 10 + (uint64_t)(*at - '0');
            room--;
        }
    }
    for (; room > 0; room--) {
        digits *= 10;
    }
    uint64_t size = ((uint64_t)(decimal.point + 1024) << 50) | digits;
    return decimal.negative ? middle - size : middle + size;
}

uint64_t or_key_sort_prefix(const struct onerow_value *first_part, enum onerow_type type)
{
    if (first_part->kind == ONEROW_NULL) {
        return 0;
    }
    switch (type) {
    case ONEROW_TYPE_INT: return int_prefix(first_part);
    case ONEROW_TYPE_DECIMAL: return decimal_prefix(first_part);
    default: return text_prefix(first_part);
    }
}

const char *or_key_normalizer_version(void)
{
    return utf8proc_unicode_version();
}
