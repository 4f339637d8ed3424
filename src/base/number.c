/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <float.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

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
