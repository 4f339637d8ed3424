/* SPDX-License-Identifier: Apache-2.0 */
#include "core/order.h"

#include "base/text.h"
#include "base/time_text.h"
#include "core/decimal.h"

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

static int compare_decimals(const struct or_decimal *a, const struct or_decimal *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    return a->negative ? compare_magnitude(b, a) : compare_magnitude(a, b);
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

/* ---- any two values ------------------------------------------------------------------ */

/* Values of different ranks are ordered by the rank alone: were the text '10' compared with numbers
 * by value and with words by bytes, the order would run in circles. */
enum rank { RANK_DECIMAL, RANK_NUMBER, RANK_INSTANT, RANK_TEXT };

struct reading {
    enum rank rank;
    struct or_decimal decimal;
    struct onerow_span text;
    char canonical[OR_TIMESTAMP_MAX];
};

static void read_value(const struct onerow_value *value, struct reading *reading)
{
    reading->text = text_of(value);
    if (or_decimal_parse(reading->text, &reading->decimal)) {
        reading->rank = RANK_DECIMAL;
    } else if (value->kind == ONEROW_NUMBER) {
        reading->rank = RANK_NUMBER;
    } else {
        bool is_instant = instant(value, reading->canonical, &reading->text);
        reading->rank = is_instant ? RANK_INSTANT : RANK_TEXT;
    }
}

int or_order_compare(const struct onerow_value *a, const struct onerow_value *b)
{
    bool a_null = a->kind == ONEROW_NULL;
    bool b_null = b->kind == ONEROW_NULL;
    if (a_null || b_null) {
        return b_null - a_null;
    }
    struct reading x;
    struct reading y;
    read_value(a, &x);
    read_value(b, &y);
    if (x.rank != y.rank) {
        return x.rank < y.rank ? -1 : 1;
    }
    return x.rank == RANK_DECIMAL ? compare_decimals(&x.decimal, &y.decimal)
                                  : or_span_compare(x.text, y.text);
}
