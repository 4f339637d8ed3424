/* SPDX-License-Identifier: Apache-2.0
 *
 * core/retry_after.c: the forms of RFC 9110, dates against the C library's, and any text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/retry_after.h"
#include "base/text.h"
#include "base/u64.h"
#include "tests/support/bench.h"

#define NOW_MS 784111777000ULL /* Sun, 06 Nov 1994 08:49:37 GMT */
#define YEAR_S (365LL * 24 * 3600)

/* ---- Retry-After ---------------------------------------------------------------------- */

static void assert_after_at(const char *text, uint64_t now_ms, uint64_t wanted, int line)
{
    uint64_t ms = 4711;
    bool read = or_retry_after(or_span(text), now_ms, &ms);
    if (!read || ms != wanted) {
        print_error("\"%s\" gives %s %llu, not %llu\n", text, read ? "true" : "false",
                    (unsigned long long)ms, (unsigned long long)wanted);
        _fail(__FILE__, line);
    }
}
#define assert_after(text, now_ms, wanted) assert_after_at(text, now_ms, wanted, __LINE__)

static void seconds_are_read(void **state)
{
    (void)state;
    assert_after("120", NOW_MS, 120000);
    assert_after("0", NOW_MS, 0);
    assert_after(" \t7 ", NOW_MS, 7000);
    assert_after("007", NOW_MS, 7000);
    assert_after("1.5", NOW_MS, 1500);
    assert_after("0.25", NOW_MS, 250);
    assert_after("1.234", NOW_MS, 1234);
    assert_after("1.000", NOW_MS, 1000);
    assert_after("1.0000", NOW_MS, 1000);
}

static void fractions_are_rounded_up(void **state)
{
    (void)state;
    assert_after("1.2341", NOW_MS, 1235);
    assert_after("1.99901", NOW_MS, 2000);
    assert_after("1.00011", NOW_MS, 1001);
    assert_after("0.00000000000000000000000000000001", NOW_MS, 1);
}

static void huge_numbers_are_the_longest_wait(void **state)
{
    (void)state;
    assert_after("31622399", NOW_MS, OR_RETRY_AFTER_MAX_MS - 1000);
    assert_after("31622399.999", NOW_MS, OR_RETRY_AFTER_MAX_MS - 1);
    assert_after("31622400", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("31622400.5", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("18446744073709551615", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("18446744073709551616", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("18446744073709551617.5", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("99999999999999999999999999999999999999999999", NOW_MS, OR_RETRY_AFTER_MAX_MS);
}

static void the_three_forms_of_a_date_are_read(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",  "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",       "sun, 06 nov 1994 08:49:37 gmt",
        "SUNDAY, 06-NOV-94 08:49:37 GMT", " Sun Nov 06 08:49:37 1994\t",
        "Mon, 06 Nov 1994 08:49:37 GMT", /* a weekday that does not fit */
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        assert_after(forms[i], NOW_MS, 0);
        assert_after(forms[i], NOW_MS - 1, 1);
        assert_after(forms[i], NOW_MS - 90500, 90500);
        assert_after(forms[i], NOW_MS + 1, 0);
        assert_after(forms[i], NOW_MS + 86400000, 0);
    }
    assert_after("Sun Nov 16 08:49:37 1994", NOW_MS, 10ULL * 86400000);
    assert_after("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199000, 0);
    assert_after("Thu, 29 Feb 2024 23:59:58 GMT", 1709251197000, 1000);
    assert_after("Sun, 31 Dec 2023 23:59:60 GMT", 1704067199000, 1000); /* a leap second */
    assert_after("Mon, 01 Jan 0001 00:00:00 GMT", NOW_MS, 0);
    assert_after("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0);
    assert_after("Thu, 01 Jan 1970 00:00:01 GMT", 0, 1000);
    assert_after("Wed, 31 Dec 1969 23:59:59 GMT", 0, 0);
}

static void far_dates_are_the_longest_wait(void **state)
{
    (void)state;
    assert_after("Tue, 07 Nov 1995 08:49:36 GMT", NOW_MS, OR_RETRY_AFTER_MAX_MS - 1000);
    assert_after("Tue, 07 Nov 1995 08:49:37 GMT", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("Fri, 31 Dec 9999 23:59:59 GMT", 0, OR_RETRY_AFTER_MAX_MS);
    assert_after("Fri, 31 Dec 9999 23:59:59 GMT", UINT64_MAX, 0);
    assert_after("Friday, 31-Dec-99 23:59:59 GMT", UINT64_MAX, 0);
}

/* A date of two digits for the year is never more than 50 years ahead. */
static void a_short_year_finds_its_century(void **state)
{
    (void)state;
    /* now is 1994-11-06: 44 is 2044 until that day and time, and 1944 from then on */
    assert_after("Sunday, 06-Nov-44 08:49:37 GMT", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    assert_after("Sunday, 06-Nov-44 08:49:38 GMT", NOW_MS, 0);
    assert_after("Monday, 07-Nov-44 08:49:37 GMT", NOW_MS, 0);
    assert_after("Sunday, 01-Jan-45 00:00:00 GMT", NOW_MS, 0);
    assert_after("Saturday, 01-Jan-00 00:00:00 GMT", NOW_MS, OR_RETRY_AFTER_MAX_MS);
    /* the turn of the century is a moment like any other */
    assert_after("Friday, 31-Dec-99 23:59:59 GMT", 946684798000, 1000);
    assert_after("Saturday, 01-Jan-00 00:00:00 GMT", 946684798000, 2000);
    assert_after("Thursday, 01-Jan-00 00:00:00 GMT", 4102444799000, 1000); /* 2099 */
    assert_after("Thursday, 29-Feb-24 00:00:01 GMT", 1709164800000, 1000);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "",
        " ",
        "-1",
        "+1",
        "1.",
        ".5",
        "1.5.",
        "1e3",
        "0x10",
        "12 13",
        "5, 6",
        "5s",
        "soon",
        "∞",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT+1",
        "Sun, 06 Nov 1994 08:49:3 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Foo, 06 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37",
        "Sunday, 31-Nov-94 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "1994-11-06T08:49:37Z",
    };
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        uint64_t ms = 4711;
        if (or_retry_after(or_span(garbage[i]), NOW_MS, &ms) || ms != 4711) {
            fail_msg("\"%s\" was read as %llu", garbage[i], (unsigned long long)ms);
        }
    }
    uint64_t ms = 4711;
    assert_false(or_retry_after((struct onerow_span){NULL, 0}, NOW_MS, &ms));
    assert_false(or_retry_after(OR_SPAN("5\0"), NOW_MS, &ms));
}

/* Against the C library's calendar: random moments in each of the forms. */
static void dates_agree_with_the_c_library(void **state)
{
    (void)state;
    static const char *const patterns[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                           "%a %b %e %H:%M:%S %Y"};
    for (unsigned round = 0; round < 30000; round++) {
        const char *pattern = patterns[round % 3];
        time_t then = (time_t)(dice() % (8000 * (uint64_t)YEAR_S));
        uint64_t wait_ms = dice() % (OR_RETRY_AFTER_MAX_MS + 5000);
        uint64_t then_ms = (uint64_t)then * 1000;
        struct tm tm;
        char text[64];
        assert_non_null(gmtime_r(&then, &tm));
        assert_true(strftime(text, sizeof text, pattern, &tm) > 0);
        assert_after(text, or_u64_sub(then_ms, wait_ms),
                     or_u64_min(or_u64_min(then_ms, wait_ms), OR_RETRY_AFTER_MAX_MS));
        assert_after(text, then_ms + wait_ms, 0);
    }
}

/* Cut and changed texts: whatever comes in, nothing but the span is read (the sanitizers watch),
 * and what is accepted is within the limit. */
static void any_text_is_answered(void **state)
{
    (void)state;
    static const char *const seeds[] = {"120.5", "Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    unsigned read = 0;
    for (unsigned round = 0; round < 40000; round++) {
        char *text = strdup(seeds[round % 4]);
        size_t len = strlen(text);
        text[dice() % len] = (char)(dice() % 3 ? '0' + (char)(dice() % 10) : (char)dice());
        len = dice() % 4 ? len : dice() % (len + 1);
        char *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        uint64_t ms = 0;
        read += or_retry_after((struct onerow_span){exact, len}, dice() >> dice() % 64, &ms);
        assert_true(ms <= OR_RETRY_AFTER_MAX_MS);
        free(exact);
        free(text);
    }
    assert_in_range(read, 1000, 39000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_read),
        cmocka_unit_test(fractions_are_rounded_up),
        cmocka_unit_test(huge_numbers_are_the_longest_wait),
        cmocka_unit_test(the_three_forms_of_a_date_are_read),
        cmocka_unit_test(far_dates_are_the_longest_wait),
        cmocka_unit_test(a_short_year_finds_its_century),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(dates_agree_with_the_c_library),
        cmocka_unit_test(any_text_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
