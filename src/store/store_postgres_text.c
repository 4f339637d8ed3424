/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts, bytes, bit strings and JSON: what an explicit cast would cut without a word, and the
 * assignment refuses, is refused before it is sent.
 *
 *     value in JSON      column             text
 *     "7"                json               "7"       text of JSON stays text
 *     7 (a CSV field)    json               7         a CSV field is JSON already
 */
#include <string.h>

#include "store/store_postgres_value.h"

/* ---- text and bytes ---------------------------------------------------------------------- */

/* Bytes of the first n characters; *more counts those that follow. */
static size_t skip_characters(struct onerow_span text, size_t n, size_t *more)
{
    size_t cut = text.len;
    size_t seen = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] & 0xc0) != 0x80 && seen++ == n) {
            cut = i;
        }
    }
    *more = seen > n ? seen - n : 0;
    return cut;
}

static bool is_blank(const char *data, size_t len)
{
    size_t i = 0;
    while (i < len && data[i] == ' ') {
        i++;
    }
    return i == len;
}

/* Spaces beyond the length are cut off by the SQL standard, which a key does not outlive. */
bool or_postgres_sized_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    *text = or_postgres_span_of(value);
    size_t most = to->typmod >= OR_POSTGRES_LENGTH_HEADER
                      ? (size_t)(to->typmod - OR_POSTGRES_LENGTH_HEADER)
                      : SIZE_MAX;
    if (text->len <= most) {
        return true;
    }
    size_t more = 0;
    size_t cut = skip_characters(*text, most, &more);
    if (more == 0 || (!to->key && is_blank(text->data + cut, text->len - cut))) {
        return true;
    }
    return or_postgres_refuse_value(to, "is %zu characters long, the column takes %zu", most + more,
                                    most);
}

bool or_postgres_short_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, size_t most, struct onerow_span *text)
{
    *text = or_postgres_span_of(value);
    return text->len <= most ||
           or_postgres_refuse_value(to, "is %zu bytes long, its type (%s) takes %zu", text->len,
                                    or_postgres_declared(to), most);
}

bool or_postgres_bytes_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    *text = or_postgres_span_of(value);
    return or_postgres_is_text(value) ||
           or_postgres_refuse_value(to, "is %s; bytes are given as text in hexadecimal (\\x…)",
                                    or_postgres_kind_name(value));
}

/* ---- bit strings ------------------------------------------------------------------------- */

/* How many bits a text has: 0 and 1, perhaps behind b, or hexadecimal digits behind x. */
static bool count_bits(struct onerow_span text, size_t *bits)
{
    bool hex = or_postgres_take(&text, "x");
    if (!hex) {
        or_postgres_take(&text, "b");
    }
    const char *digits = hex ? "0123456789abcdefABCDEF" : "01";
    size_t n = 0;
    while (n < text.len && text.data[n] && strchr(digits, text.data[n])) {
        n++;
    }
    *bits = hex ? n * 4 : n;
    return n == text.len;
}

/* An assignment refuses another length, an explicit cast cuts or fills up without a word. */
bool or_postgres_bits_text(const struct or_postgres_conversion *to,
                           const struct onerow_value *value, struct onerow_span *text)
{
    size_t bits = 0;
    if (!or_postgres_is_text(value) && value->kind != ONEROW_NUMBER) {
        return or_postgres_refuse_kind(to, value);
    }
    *text = or_postgres_span_of(value);
    if (!count_bits(*text, &bits)) {
        return or_postgres_refuse_value(
            to, "is no bit string; give 0 and 1, or x and hexadecimal digits");
    }
    size_t size = to->typmod >= 0 ? (size_t)to->typmod : SIZE_MAX;
    bool fits = to->type == OR_OID_BIT && to->typmod >= 0 ? bits == size : bits <= size;
    return fits ||
           or_postgres_refuse_value(to, "is a bit string of length %zu, the column takes %s%zu",
                                    bits, to->type == OR_OID_BIT ? "" : "at most ", size);
}

/* ---- JSON -------------------------------------------------------------------------------- */

bool or_postgres_json_text(const struct or_postgres_conversion *to,
                           const struct onerow_value *value, struct onerow_span *text)
{
    *text = or_postgres_span_of(value);
    if (value->kind != ONEROW_TEXT) {
        return true;
    }
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_json(&json, *text);
    *text = json.failed ? (struct onerow_span){0} : or_arena_copy(to->arena, or_buffer_view(&json));
    or_buffer_finish(&json);
    return text->data || or_postgres_value_no_memory(to);
}
