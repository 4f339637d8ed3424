/* SPDX-License-Identifier: Apache-2.0
 *
 * What the conversions of values to PostgreSQL's text share (store_postgres_value.c, _number.c,
 * _time.c, _text.c, _array.c).
 */
#ifndef OR_STORE_POSTGRES_VALUE_H
#define OR_STORE_POSTGRES_VALUE_H

#include <string.h>

#include "base/text.h"
#include "store/store_postgres.h"

#define OR_POSTGRES_LENGTH_HEADER 4 /* what a type modifier is above the length it stands for */

/* One value on its way, or one element of an array. */
struct or_postgres_conversion {
    const struct or_postgres_table *table;
    uint16_t column;
    bool key;
    bool element;
    Oid type;       /* beneath domains */
    int32_t typmod; /* or -1 */
    struct or_arena *arena;
    const char **reason;
};

/* The text that the input function of the conversion's type reads, in *text (of the value, or in
 * the arena). False: the value cannot be stored there, and the conversion's *reason says so. */
typedef bool or_postgres_convert(const struct or_postgres_conversion *to,
                                 const struct onerow_value *value, struct onerow_span *text);

or_postgres_convert or_postgres_scalar_text; /* of any type but an array */
or_postgres_convert or_postgres_plain_text;  /* as it is */
/* store_postgres_number.c */
or_postgres_convert or_postgres_integer_text;
or_postgres_convert or_postgres_numeric_text;
or_postgres_convert or_postgres_float_text;
or_postgres_convert or_postgres_truth_text;
/* store_postgres_time.c */
or_postgres_convert or_postgres_date_text;
or_postgres_convert or_postgres_time_text;
or_postgres_convert or_postgres_timestamp_text;
or_postgres_convert or_postgres_moment_text; /* of a type that keeps the zone, or has none */
or_postgres_convert or_postgres_range_text;
/* store_postgres_text.c */
or_postgres_convert or_postgres_sized_text;
or_postgres_convert or_postgres_bytes_text;
or_postgres_convert or_postgres_bits_text;
or_postgres_convert or_postgres_json_text;
/* The types name and "char", whose casts cut without a word. */
bool or_postgres_short_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, size_t most,
                            struct onerow_span *text);
/* store_postgres_array.c: of an array column. */
or_postgres_convert or_postgres_array_text;

/* Says what is wrong; the format goes on from 'column "x" '. Returns false, so that a check can
 * end in it. */
__attribute__((format(printf, 2, 3))) bool
or_postgres_refuse_value(const struct or_postgres_conversion *to, const char *format, ...);
/* The value is of a kind that the type does not take. */
bool or_postgres_refuse_kind(const struct or_postgres_conversion *to,
                             const struct onerow_value *value);
bool or_postgres_value_no_memory(const struct or_postgres_conversion *to);
/* What a value is, for messages. */
const char *or_postgres_kind_name(const struct onerow_value *value);
/* The column's type as it was declared. */
const char *or_postgres_declared(const struct or_postgres_conversion *to);

static inline struct onerow_span or_postgres_span_of(const struct onerow_value *value)
{
    return (struct onerow_span){value->data ? value->data : "", value->len};
}

static inline bool or_postgres_is_text(const struct onerow_value *value)
{
    return value->kind == ONEROW_TEXT || value->kind == ONEROW_UNTYPED;
}

/* ---- characters and words ---------------------------------------------------------------- */

static inline bool or_postgres_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static inline bool or_postgres_is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static inline bool or_postgres_is_alnum(char byte)
{
    return or_postgres_is_letter(byte) || or_postgres_is_digit(byte);
}

/* As PostgreSQL's input functions see it. */
static inline bool or_postgres_is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static inline void or_postgres_skip(struct onerow_span *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

static inline void or_postgres_skip_spaces(struct onerow_span *text)
{
    while (text->len && or_postgres_is_space(text->data[0])) {
        or_postgres_skip(text, 1);
    }
}

/* Skips a word at the beginning, in any case of its letters. False: it is not there. */
static inline bool or_postgres_take(struct onerow_span *text, const char *word)
{
    size_t len = strlen(word);
    if (text->len < len ||
        !or_ascii_equal_fold((struct onerow_span){text->data, len}, or_span(word))) {
        return false;
    }
    or_postgres_skip(text, len);
    return true;
}

#endif
