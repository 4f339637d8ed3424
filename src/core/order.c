/* SPDX-License-Identifier: Apache-2.0 */
#include "core/order.h"

#include "base/text.h"
#include "core/decimal.h"
#include "core/time_text.h"

static struct onerow_span text_of(const struct onerow_value *value)
{
    return (struct onerow_span){value->data, value->len};
}

/* ---- numbers: digit by digit, never through a double -------------------------------- */

/* The next digit, past the decimal point; '0' behind the last one. */
static char next_digit(const char **at, const char *end)
{
    if (*at < end && **at == '.') {
        (*at)++;
    }
    return *at < end ? *(*at)++ : '0';
}

static int compare_magnitude(const struct or_decimal *a, const struct or_decimal *b)
{
    if (a->n_digits == 0 || b->n_digits == 0) {
        return (a->n_digits > 0) - (b->n_digits > 0);
    }
    if (a->point != b->point) {
        return a->point < b->point ? -1 : 1;
    }
    const char *x = a->digits;
    const char *y = b->digits;
    while (x < a->end || y < b->end) {
        char from_a = next_digit(&x, a->end);
        char from_b = next_digit(&y, b->end);
        if (from_a != from_b) {
            return from_a < from_b ? -1 : 1;
        }
    }
    return 0;
}

static bool compare_decimals(const struct onerow_value *a, const struct onerow_value *b, int *order)
{
    struct or_decimal x;
    struct or_decimal y;
    if (!or_decimal_parse(text_of(a), &x) || !or_decimal_parse(text_of(b), &y)) {
        return false;
    }
    if (x.negative != y.negative) {
        *order = x.negative ? -1 : 1;
    } else {
        *order = x.negative ? compare_magnitude(&y, &x) : compare_magnitude(&x, &y);
    }
    return true;
}

/* ---- instants ------------------------------------------------------------------------ */

/* A timestamp, or a date as its first instant, without the closing Z: a fraction then sorts behind
 * its absence. */
static bool instant(const struct onerow_value *value, char canonical[OR_TIMESTAMP_MAX],
                    struct onerow_span *text)
{
    size_t len = 0;
    if (or_timestamp_canonical(text_of(value), canonical, &len) == NULL) {
        *text = (struct onerow_span){canonical, len - 1};
        return true;
    }
    if (or_date_check(text_of(value)) == NULL) {
        *text = text_of(value);
        return true;
    }
    return false;
}

static bool compare_instants(const struct onerow_value *a, const struct onerow_value *b, int *order)
{
    char a_canonical[OR_TIMESTAMP_MAX];
    char b_canonical[OR_TIMESTAMP_MAX];
    struct onerow_span x = {0};
    struct onerow_span y = {0};
    if (!instant(a, a_canonical, &x) || !instant(b, b_canonical, &y)) {
        return false;
    }
    *order = or_span_compare(x, y);
    return true;
}

int or_order_compare(const struct onerow_value *a, const struct onerow_value *b)
{
    bool a_null = a->kind == ONEROW_NULL;
    bool b_null = b->kind == ONEROW_NULL;
    if (a_null || b_null) {
        return b_null - a_null;
    }
    int order = 0;
    if (compare_decimals(a, b, &order) || compare_instants(a, b, &order)) {
        return order;
    }
    bool a_number = a->kind == ONEROW_NUMBER;
    bool b_number = b->kind == ONEROW_NUMBER;
    if (a_number != b_number) {
        return a_number ? -1 : 1;
    }
    return or_span_compare(text_of(a), text_of(b));
}
