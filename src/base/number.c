/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 64U /* of a number that a double may stand for */

static pthread_once_t made = PTHREAD_ONCE_INIT;
static locale_t plain; /* lives as long as the process */

static void make_locale(void)
{
    plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) {
        abort(); /* the "C" locale needs only a few bytes of memory */
    }
}

double or_double_parse(const char *text)
{
    pthread_once(&made, make_locale);
    return strtod_l(text, NULL, plain);
}

void or_double_show(double number, char text[OR_DOUBLE_TEXT])
{
    pthread_once(&made, make_locale);
    locale_t before = uselocale(plain);
    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(text, OR_DOUBLE_TEXT, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    uselocale(before);
}

/* A number's significant digits without leading and trailing zeros, and the power of ten of the
 * last one. False when there are more than fit. */
static bool significant(const char *text, size_t len, char digits[DIGITS], long *power)
{
    size_t n = 0;
    long exponent = 0;
    long fraction = 0;
    bool point = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == 'e' || c == 'E') {
            exponent = strtol(text + i + 1, NULL, 10);
            break;
        }
        point |= c == '.';
        if (c < '0' || c > '9') {
            continue;
        }
        fraction += point;
        if (n == 0 && c == '0') {
            continue;
        }
        if (n == DIGITS - 1) {
            return false;
        }
        digits[n++] = c;
    }
    *power = exponent - fraction;
    while (n && digits[n - 1] == '0') {
        n--;
        (*power)++;
    }
    digits[n] = '\0';
    return true;
}

bool or_double_is(struct onerow_span text, double number)
{
    char wanted[DIGITS];
    char got[DIGITS];
    char shown[OR_DOUBLE_TEXT];
    long wanted_power = 0;
    long got_power = 0;
    if (!isfinite(number) || !significant(text.data, text.len, wanted, &wanted_power)) {
        return false;
    }
    if (!*wanted) {
        return number == 0;
    }
    if (strlen(wanted) <= DBL_DIG && number != 0 && fabs(number) >= 1e-300) {
        return true;
    }
    or_double_show(number, shown);
    return significant(shown, strlen(shown), got, &got_power) && strcmp(wanted, got) == 0 &&
           wanted_power == got_power;
}
