/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimals are never turned into a machine number. A number's text is looked at
 * once: where its first and last non-zero digits are, and how many digits lie
 * before the decimal point once the exponent has moved it.
 *
 *     0072.50e1        first digit 7, last digit 5: three digits, 725
 *       ^  ^           two before the written point, one more by the exponent: 3
 *                      725 has three digits, so nothing follows the point: 725
 *
 * The length of the canonical text follows from these figures alone, so that
 * 1e999999999 is refused before anything is written.
 */
#include "core/decimal.h"

#include <string.h>

#include "core/key.h"

/* Reading an exponent ends beyond this. No text has as many digits, so that such a number is too
 * long, or too small, whatever its digits are and however the exponent goes on. */
#define EXPONENT_MAX (INT64_C(1) << 48)

struct cursor {
    const char *at;
    const char *end;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Passes over digits; how many there were. */
static int64_t skip_digits(struct cursor *cursor)
{
    const char *start = cursor->at;
    while (cursor->at < cursor->end && is_digit(*cursor->at)) {
        cursor->at++;
    }
    return cursor->at - start;
}

static bool skip_byte(struct cursor *cursor, char byte)
{
    if (cursor->at == cursor->end || *cursor->at != byte) {
        return false;
    }
    cursor->at++;
    return true;
}

/* The digits behind "e" and its sign. False when there are none. */
static bool read_exponent(struct cursor *cursor, int64_t *exponent)
{
    bool negative = skip_byte(cursor, '-');
    if (!negative) {
        skip_byte(cursor, '+');
    }
    const char *digit = cursor->at;
    if (skip_digits(cursor) == 0) {
        return false;
    }
    int64_t value = 0;
    for (; digit < cursor->at && value < EXPONENT_MAX; digit++) {
        value = value * 10 + (*digit - '0');
    }
    *exponent = negative ? -value : value;
    return true;
}

/* Narrows [digits, end) to what lies between the outermost non-zero digits. `whole` digits lie
 * before the decimal point, which is at digits[whole] when there is one. */
static void strip_zeros(struct or_decimal *decimal, int64_t whole)
{
    const char *point = decimal->digits + whole;
    while (decimal->digits < decimal->end && (*decimal->digits == '0' || *decimal->digits == '.')) {
        decimal->digits++;
    }
    while (decimal->end > decimal->digits && (decimal->end[-1] == '0' || decimal->end[-1] == '.')) {
        decimal->end--;
    }
    decimal->n_digits = decimal->end - decimal->digits;
    decimal->point += point - decimal->digits;
    if (decimal->digits > point) {
        decimal->point++; /* the point itself was passed over and is no digit */
    } else if (decimal->end > point) {
        decimal->n_digits--;
    }
}

bool or_decimal_parse(struct onerow_span number, struct or_decimal *decimal)
{
    if (number.len == 0) {
        return false;
    }
    struct cursor cursor = {number.data, number.data + number.len};
    *decimal = (struct or_decimal){.negative = skip_byte(&cursor, '-')};
    decimal->digits = cursor.at;
    int64_t whole = skip_digits(&cursor);
    if (whole == 0 || (skip_byte(&cursor, '.') && skip_digits(&cursor) == 0)) {
        return false;
    }
    decimal->end = cursor.at;
    if ((skip_byte(&cursor, 'e') || skip_byte(&cursor, 'E')) &&
        !read_exponent(&cursor, &decimal->point)) {
        return false;
    }
    if (cursor.at != cursor.end) {
        return false;
    }
    strip_zeros(decimal, whole);
    if (decimal->n_digits == 0) {
        decimal->negative = false;
        decimal->point = 0;
    }
    return true;
}

bool or_decimal_is_integer(const struct or_decimal *decimal)
{
    return decimal->point >= decimal->n_digits;
}

size_t or_decimal_length(const struct or_decimal *decimal)
{
    int64_t length = decimal->negative ? 1 : 0;
    if (decimal->n_digits == 0) {
        length += 1; /* 0 */
    } else if (decimal->point <= 0) {
        length += 2 - decimal->point + decimal->n_digits; /* 0.000ddd */
    } else if (or_decimal_is_integer(decimal)) {
        length += decimal->point; /* ddd000 */
    } else {
        length += decimal->n_digits + 1; /* dd.d */
    }
    return length <= (int64_t)OR_DECIMAL_DIGITS_MAX ? (size_t)length : 0;
}

/* Writes `count` digits from *source, which steps over the written decimal point. */
static char *put_digits(char *out, const char **source, int64_t count)
{
    while (count > 0) {
        char byte = *(*source)++;
        if (byte != '.') {
            *out++ = byte;
            count--;
        }
    }
    return out;
}

static char *put_zeros(char *out, int64_t count)
{
    memset(out, '0', (size_t)count);
    return out + count;
}

void or_decimal_write(const struct or_decimal *decimal, char *canonical)
{
    const char *source = decimal->digits;
    char *out = canonical;
    if (decimal->negative) {
        *out++ = '-';
    }
    if (or_decimal_is_integer(decimal)) {
        out = put_digits(out, &source, decimal->n_digits);
        put_zeros(out, decimal->n_digits ? decimal->point - decimal->n_digits : 1);
        return;
    }
    int64_t whole = decimal->point > 0 ? decimal->point : 0;
    out = whole ? put_digits(out, &source, whole) : put_zeros(out, 1);
    *out++ = '.';
    out = put_zeros(out, whole ? 0 : -decimal->point);
    put_digits(out, &source, decimal->n_digits - whole);
}

bool or_decimal_is_canonical(struct onerow_span text, bool integer)
{
    if (text.len == 0 || text.len > OR_DECIMAL_DIGITS_MAX) {
        return false;
    }
    struct cursor cursor = {text.data, text.data + text.len};
    bool negative = skip_byte(&cursor, '-');
    const char *first = cursor.at;
    int64_t whole = skip_digits(&cursor);
    if (whole == 0 || (*first == '0' && whole > 1)) {
        return false;
    }
    if (cursor.at == cursor.end) {
        return *first != '0' || !negative;
    }
    return !integer && skip_byte(&cursor, '.') && skip_digits(&cursor) > 0 &&
           cursor.at == cursor.end && cursor.end[-1] != '0';
}

bool or_decimal_canonical(struct onerow_span number, struct or_buffer *canonical)
{
    struct or_decimal decimal;
    if (!or_decimal_parse(number, &decimal)) {
        return false;
    }
    size_t length = or_decimal_length(&decimal);
    if (length == 0) {
        return false;
    }
    char text[OR_DECIMAL_DIGITS_MAX];
    or_decimal_write(&decimal, text);
    or_buffer_add(canonical, text, length);
    return !canonical->failed;
}
