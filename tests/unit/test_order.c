/* SPDX-License-Identifier: Apache-2.0
 *
 * core/order.c: one order for `newest`, whatever the store. Values lie in one list in
 * their order; every pair is compared both ways, so that the order is total there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/order.h"
#include "tests/support/bench.h"

static struct onerow_value value(enum onerow_kind kind, const char *data)
{
    return (struct onerow_value){
        .data = data, .len = data ? (uint32_t)strlen(data) : 0, .kind = (uint8_t)kind};
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void assert_order(struct onerow_value a, struct onerow_value b, int wanted)
{
    if (sign(or_order_compare(&a, &b)) != wanted || sign(or_order_compare(&b, &a)) != -wanted) {
        fail_msg("%.*s and %.*s: %d and %d, wanted %d", (int)a.len, a.data ? a.data : "NULL",
                 (int)b.len, b.data ? b.data : "NULL", or_order_compare(&a, &b),
                 or_order_compare(&b, &a), wanted);
    }
}

/* Each line is greater than the one before. */
static void assert_rising(enum onerow_kind kind, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            assert_order(value(kind, list[i]), value(kind, list[j]), (i > j) - (i < j));
        }
    }
}

#define assert_list_rises(kind, list) assert_rising(kind, list, sizeof(list) / sizeof *(list))

static void numbers_by_value(void **state)
{
    (void)state;
    static const char *const list[] = {"-1e400",
                                       "-9007199254740993",
                                       "-9007199254740992",
                                       "-10",
                                       "-9.5",
                                       "-1",
                                       "-0.1",
                                       "0",
                                       "1e-400",
                                       "0.1",
                                       "0.10000000000000001",
                                       "0.2",
                                       "1",
                                       "9",
                                       "9.99",
                                       "10",
                                       "9007199254740992",
                                       "9007199254740993",
                                       "9223372036854775808",
                                       "1e400"};
    assert_list_rises(ONEROW_NUMBER, list);
    assert_list_rises(ONEROW_TEXT, list); /* as stores give decimals back */
    assert_list_rises(ONEROW_UNTYPED, list);
}

static void numbers_in_two_spellings_are_equal(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"1", "1.0"},     {"1e2", "100"}, {"-0", "0"},
                                           {"0.50", "5e-1"}, {"0e9", "0.0"}, {"1E+2", "1e2"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_order(value(ONEROW_NUMBER, pairs[i][0]), value(ONEROW_NUMBER, pairs[i][1]), 0);
        assert_order(value(ONEROW_NUMBER, pairs[i][0]), value(ONEROW_TEXT, pairs[i][1]), 0);
    }
}

static void instants_by_time(void **state)
{
    (void)state;
    static const char *const list[] = {"1969-12-31",
                                       "2024-01-01",
                                       "2024-01-01T00:00:00.001Z",
                                       "2024-01-01T02:00:00+01:00",
                                       "2024-01-01T02:00:00Z",
                                       "2024-01-01T02:00:00.5Z",
                                       "2024-01-01T02:00:00.51Z",
                                       "2024-01-02",
                                       "2024-02-29T23:59:59-05:00",
                                       "9999-12-31"};
    assert_list_rises(ONEROW_TEXT, list);
}

static void one_instant_in_several_spellings(void **state)
{
    (void)state;
    static const char *const same[] = {"2024-03-01T12:00:00Z", "2024-03-01T13:00:00+01:00",
                                       "2024-03-01 12:00:00Z", "2024-03-01T12:00:00.000Z",
                                       "2024-03-01T06:30:00-05:30"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_order(value(ONEROW_TEXT, same[0]), value(ONEROW_TEXT, same[i]), 0);
    }
}

static void text_by_bytes(void **state)
{
    (void)state;
    static const char *const list[] = {
        "", "A", "B", "Z", "a", "ab", "b", "\xc3\xa4", "\xf0\x9f\x98\x80"};
    assert_list_rises(ONEROW_TEXT, list);
}

static void null_is_before_everything(void **state)
{
    (void)state;
    struct onerow_value null = value(ONEROW_NULL, NULL);
    assert_order(null, null, 0);
    assert_order(null, value(ONEROW_TEXT, ""), -1);
    assert_order(null, value(ONEROW_NUMBER, "-1e400"), -1);
    assert_order(null, value(ONEROW_TEXT, "0001-01-01"), -1);
}

static void a_number_is_before_text(void **state)
{
    (void)state;
    assert_order(value(ONEROW_NUMBER, "5"), value(ONEROW_TEXT, "!"), -1);
    assert_order(value(ONEROW_NUMBER, "5"), value(ONEROW_TEXT, "2024-01-01"), -1);
}

/* Also where a column holds all sorts of things. */
static void ranks(void **state)
{
    (void)state;
    static const char *const list[] = {"-1",         "9",          "10", "2024", "2024-01-01",
                                       "2024-01-02", "2024-13-01", "9x", "word"};
    assert_list_rises(ONEROW_TEXT, list);
}

/* The naive ways: through a double, and byte by byte. Both take other orders. */
static void naive_orders_confuse(void **state)
{
    (void)state;
    assert_true(strtod("9007199254740993", NULL) == strtod("9007199254740992", NULL));
    assert_order(value(ONEROW_NUMBER, "9007199254740993"), value(ONEROW_NUMBER, "9007199254740992"),
                 1);
    assert_true(strcmp("10", "9") < 0);
    assert_order(value(ONEROW_NUMBER, "10"), value(ONEROW_NUMBER, "9"), 1);
    assert_true(strcmp("2024-01-01T02:00:00+05:00", "2024-01-01T01:00:00Z") > 0);
    assert_order(value(ONEROW_TEXT, "2024-01-01T02:00:00+05:00"),
                 value(ONEROW_TEXT, "2024-01-01T01:00:00Z"), -1);
}

/* Whether a <= b and b <= c give a <= c, over a mixed bag. */
static void the_order_is_transitive(void **state)
{
    (void)state;
    static const char *const bag[] = {"",
                                      "0",
                                      "-0.0",
                                      "1",
                                      "10",
                                      "9",
                                      "1e1",
                                      "abc",
                                      "2024",
                                      "2024-01-01",
                                      "2024-01-01T00:00:00Z",
                                      "2024-01-01T01:00:00+01:00",
                                      "2024-13-01",
                                      "Z",
                                      "-",
                                      "1x",
                                      "0x1"};
    size_t n = sizeof bag / sizeof *bag;
    size_t broken = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        for (size_t j = 0; j < 2 * n; j++) {
            for (size_t k = 0; k < 2 * n; k++) {
                struct onerow_value a = value(ONEROW_TEXT, bag[i % n]);
                struct onerow_value b = value(ONEROW_TEXT, bag[j % n]);
                struct onerow_value c = value(ONEROW_TEXT, bag[k % n]);
                if (or_order_compare(&a, &b) <= 0 && or_order_compare(&b, &c) <= 0 &&
                    or_order_compare(&a, &c) > 0) {
                    printf("# %s <= %s <= %s, but not %s <= %s\n", a.data, b.data, c.data, a.data,
                           c.data);
                    broken++;
                }
            }
        }
    }
    assert_int_equal(broken, 0);
}

/* Random decimals, compared by their integers of thousandths. */
static void random_decimals(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        int64_t x = (int64_t)(dice() % 2000001) - 1000000;
        int64_t y = round % 4 ? (int64_t)(dice() % 2000001) - 1000000 : x;
        char a[32];
        char b[32];
        snprintf(a, sizeof a, "%s%lld.%03lld", x < 0 ? "-" : "", llabs(x) / 1000, llabs(x) % 1000);
        snprintf(b, sizeof b, "%llde-3", (long long)y);
        assert_order(value(ONEROW_NUMBER, a), value(ONEROW_NUMBER, b), (x > y) - (x < y));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_by_value),
        cmocka_unit_test(numbers_in_two_spellings_are_equal),
        cmocka_unit_test(instants_by_time),
        cmocka_unit_test(one_instant_in_several_spellings),
        cmocka_unit_test(text_by_bytes),
        cmocka_unit_test(null_is_before_everything),
        cmocka_unit_test(a_number_is_before_text),
        cmocka_unit_test(ranks),
        cmocka_unit_test(naive_orders_confuse),
        cmocka_unit_test(the_order_is_transitive),
        cmocka_unit_test(random_decimals),
    };
    seed_dice();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
