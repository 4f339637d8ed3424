/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers and truth values, as PostgreSQL reads them: 1e3 into an integer column is sent as 1000,
 * and what the type cannot hold, or would round in a key, is refused.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_postgres_value.h"

#define SHOWN_NUMBER   40U                /* bytes of a number in a message */
#define INTEGER_DIGITS 19                 /* in the largest of 64 bits */
#define EXPONENT_MAX   (INT64_C(1) << 40) /* beyond it a number is out of range whatever it is */

/* ---- numbers ----------------------------------------------------------------------------- */

/* 0.<digits> times ten to the power of `whole`. */
struct number {
    struct onerow_span digits; /* from the first to the last that is not 0, perhaps with a point */
    int64_t n_digits;          /* 0: the number is zero */
    int64_t whole;
    bool negative;
};

static int64_t read_exponent(const char *at, const char *end, bool *valid)
{
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    int64_t exponent = 0;
    *valid = at < end;
    for (; at < end && or_postgres_is_digit(*at); at++) {
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*at - '0') : exponent;
    }
    *valid &= at == end;
    return negative ? -exponent : exponent;
}

/* Notes the digits between `start` and `end`, where at most one point lies. */
static void note_digits(struct number *number, const char *start, const char *end)
{
    bool point = false;
    int64_t zeros = 0; /* since the last digit that is not 0 */
    for (const char *at = start; at < end; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        if (*at != '0') {
            number->digits.data = number->n_digits ? number->digits.data : at;
            number->digits.len = (size_t)(at + 1 - number->digits.data);
            number->n_digits += zeros + 1;
            zeros = 0;
        } else if (number->n_digits) {
            zeros++;
        }
        bool counts = number->n_digits > 0;
        number->whole += point ? -(int64_t)!counts : (int64_t)counts;
    }
}

/* Reads [+-]digits[.digits][e[+-]digits]. False: it is no such number. */
static bool read_number(struct onerow_span text, struct number *number)
{
    const char *at = text.data;
    const char *end = text.data + text.len;
    *number = (struct number){.negative = at < end && *at == '-'};
    at += at < end && (*at == '-' || *at == '+');
    const char *start = at;
    while (at < end && or_postgres_is_digit(*at)) {
        at++;
    }
    bool valid = at > start;
    if (at + 1 < end && *at == '.' && or_postgres_is_digit(at[1])) {
        for (at++; at < end && or_postgres_is_digit(*at); at++) {
        }
    }
    note_digits(number, start, at);
    if (valid && at < end && (*at == 'e' || *at == 'E')) {
        number->whole += read_exponent(at + 1, end, &valid);
        at = end;
    }
    return valid && at == end;
}

static int64_t decimals_of(const struct number *number)
{
    return number->n_digits ? number->n_digits - number->whole : 0;
}

/* The number's digits as an integer, which it must be, with INTEGER_DIGITS at most. */
static uint64_t magnitude_of(const struct number *number)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < number->digits.len; i++) {
        char byte = number->digits.data[i];
        sum = byte == '.' ? sum : sum * 10 + (uint64_t)(byte - '0');
    }
    for (int64_t i = number->n_digits; sum && i < number->whole; i++) {
        sum *= 10;
    }
    return sum;
}

/* `what` about a number that is shown, as far as it is not too long. */
static bool refuse_number(const struct or_postgres_conversion *to, struct onerow_span text,
                          const char *what)
{
    struct onerow_span shown = or_span_cut(text, SHOWN_NUMBER);
    return or_postgres_refuse_value(to, "is %.*s%s, %s", (int)shown.len, shown.data,
                                    shown.len < text.len ? "…" : "", what);
}

struct integer_type {
    uint64_t largest;
    size_t plain; /* so many digits fit whatever they are */
    const char *range;
};

static const struct integer_type *integer_of(Oid type)
{
    static const struct integer_type int2 = {INT16_MAX, 4,
                                             "beyond what smallint holds (-32768 to 32767)"};
    static const struct integer_type int4 = {
        INT32_MAX, 9, "beyond what integer holds (-2147483648 to 2147483647)"};
    static const struct integer_type int8 = {
        INT64_MAX, 18, "beyond what bigint holds (-9223372036854775808 to 9223372036854775807)"};
    return type == OR_OID_INT2 ? &int2 : type == OR_OID_INT4 ? &int4 : &int8;
}

/* Whether the text is at most `max` digits, perhaps behind a minus. */
static bool is_plain_integer(struct onerow_span text, size_t max)
{
    size_t at = text.len && text.data[0] == '-';
    if (at == text.len || text.len - at > max) {
        return false;
    }
    while (at < text.len && or_postgres_is_digit(text.data[at])) {
        at++;
    }
    return at == text.len;
}

bool or_postgres_integer_text(const struct or_postgres_conversion *to,
                              const struct onerow_value *value, struct onerow_span *text)
{
    const struct integer_type *type = integer_of(to->type);
    if (value->kind != ONEROW_NUMBER && !or_postgres_is_text(value)) {
        return or_postgres_refuse_kind(to, value);
    }
    *text = or_span_trim(or_postgres_span_of(value));
    if (is_plain_integer(*text, type->plain)) {
        return true;
    }
    struct number number;
    if (!read_number(*text, &number)) {
        return or_postgres_refuse_value(to, "is text that spells no number; its type is %s",
                                        or_postgres_declared(to));
    }
    if (decimals_of(&number) > 0) {
        return refuse_number(to, *text, "not a whole number");
    }
    bool fits = number.whole <= INTEGER_DIGITS || number.n_digits == 0;
    uint64_t magnitude = fits ? magnitude_of(&number) : 0;
    if (!fits || magnitude > type->largest + number.negative) {
        return refuse_number(to, *text, type->range);
    }
    const char *sign = number.negative && magnitude ? "-" : "";
    *text = or_span(or_arena_printf(to->arena, "%s%llu", sign, (unsigned long long)magnitude));
    return text->data || or_postgres_value_no_memory(to);
}

/* numeric(precision, scale) as its modifier has it: 11 bits with a sign since PostgreSQL 15, and
 * before that never more than 1,000. */
static void read_numeric_modifier(int32_t typmod, int64_t *precision, int64_t *scale)
{
    int32_t packed = typmod - OR_POSTGRES_LENGTH_HEADER;
    *precision = (packed >> 16) & 0xffff;
    *scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
}

bool or_postgres_numeric_text(const struct or_postgres_conversion *to,
                              const struct onerow_value *value, struct onerow_span *text)
{
    if (value->kind != ONEROW_NUMBER && !or_postgres_is_text(value)) {
        return or_postgres_refuse_kind(to, value);
    }
    struct number number;
    *text = or_postgres_span_of(value);
    if (to->typmod < OR_POSTGRES_LENGTH_HEADER || !read_number(or_span_trim(*text), &number) ||
        number.n_digits == 0) {
        return true;
    }
    int64_t precision = 0;
    int64_t scale = 0;
    read_numeric_modifier(to->typmod, &precision, &scale);
    if (number.whole > precision - scale) {
        return refuse_number(to, *text, "too large for its type");
    }
    if (to->key && decimals_of(&number) > scale) {
        return refuse_number(to, *text, "which the column rounds: the key would be another one");
    }
    return true;
}

bool or_postgres_float_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    *text = or_postgres_span_of(value);
    return value->kind == ONEROW_NUMBER || or_postgres_is_text(value) ||
           or_postgres_refuse_kind(to, value);
}

/* ---- truth ------------------------------------------------------------------------------- */

/* As PostgreSQL reads it: a beginning of a word that no other word has, in any case. */
static bool read_word(struct onerow_span text, bool *truth)
{
    static const struct {
        const char *word;
        size_t least;
        bool truth;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        bool sized = text.len >= words[i].least && text.len <= strlen(words[i].word);
        if (sized && or_ascii_equal_fold(text, (struct onerow_span){words[i].word, text.len})) {
            *truth = words[i].truth;
            return true;
        }
    }
    return false;
}

static bool read_bit(struct onerow_span text, bool *truth)
{
    struct number number;
    if (!read_number(text, &number)) {
        return false;
    }
    *truth = number.n_digits == 1;
    return number.n_digits == 0 ||
           (*truth && number.digits.data[0] == '1' && number.whole == 1 && !number.negative);
}

bool or_postgres_truth_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    bool truth = false;
    bool known = value->kind == ONEROW_NUMBER
                     ? read_bit(or_postgres_span_of(value), &truth)
                     : value->kind != ONEROW_JSON &&
                           read_word(or_span_trim(or_postgres_span_of(value)), &truth);
    *text = truth ? OR_SPAN("true") : OR_SPAN("false");
    return known || or_postgres_refuse_value(to, "is not true or false");
}
