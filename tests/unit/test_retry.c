/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/retry.h"
#include "tests/support/bench.h"

static const struct or_retry_limits LIMITS = {
    .classes = {[OR_RETRY_CONFLICT] = {500, 10000, 6},
                [OR_RETRY_RATE] = {1000, 60000, 0},
                [OR_RETRY_UNCERTAIN] = {200, 5000, 3},
                [OR_RETRY_LOOKUP] = {5, 5, 4},
                [OR_RETRY_BUSY] = {100, UINT64_MAX, 0}},
    .total_ms = 600000,
};

static void waits_grow_to_the_cap(void **state)
{
    (void)state;
    seed_dice();
    uint64_t longest[6] = {0};
    for (unsigned round = 0; round < 2000; round++) {
        struct or_retry retry;
        or_retry_init(&retry, &LIMITS, 0);
        for (unsigned i = 0; i < 5; i++) {
            uint64_t most = 500ULL << i;
            uint64_t wait = 0;
            assert_true(or_retry_next(&retry, OR_RETRY_CONFLICT, 0, 0, dice(), &wait));
            assert_in_range(wait, OR_RETRY_FLOOR_MS, most < 10000 ? most : 10000);
            longest[i] = wait > longest[i] ? wait : longest[i];
        }
    }
    for (unsigned i = 0; i < 5; i++) { /* the whole range is drawn from */
        assert_true(longest[i] > (500ULL << i) * 9 / 10 || longest[i] > 9000);
    }
}

static void tries_in_a_row_are_limited(void **state)
{
    struct or_retry retry;
    uint64_t wait = 0;
    (void)state;
    or_retry_init(&retry, &LIMITS, 0);
    assert_true(or_retry_next(&retry, OR_RETRY_UNCERTAIN, 0, 0, 0, &wait));
    assert_true(or_retry_next(&retry, OR_RETRY_UNCERTAIN, 0, 0, 0, &wait));
    assert_true(or_retry_next(&retry, OR_RETRY_CONFLICT, 0, 0, 0, &wait)); /* another class */
    or_retry_ok(&retry);
    assert_true(or_retry_next(&retry, OR_RETRY_UNCERTAIN, 0, 0, 0, &wait));
    assert_true(or_retry_next(&retry, OR_RETRY_UNCERTAIN, 0, 0, 0, &wait));
    assert_false(or_retry_next(&retry, OR_RETRY_UNCERTAIN, 0, 0, 0, &wait));
}

static void retry_after_is_waited_for_in_full(void **state)
{
    (void)state;
    seed_dice();
    for (unsigned i = 0; i < 1000; i++) {
        struct or_retry retry;
        uint64_t wait = 0;
        uint64_t after = dice() % 100000;
        or_retry_init(&retry, &LIMITS, 0);
        assert_true(or_retry_next(&retry, OR_RETRY_RATE, after, 0, dice(), &wait));
        assert_true(wait > after && wait <= after + 1000);
    }
}

static void a_wait_that_is_too_long_is_not_cut_short(void **state)
{
    struct or_retry retry;
    uint64_t wait = 0;
    (void)state;
    or_retry_init(&retry, &LIMITS, 1000);
    assert_false(or_retry_next(&retry, OR_RETRY_RATE, 700000, 1000, 0, &wait));
    assert_false(or_retry_next(&retry, OR_RETRY_RATE, UINT64_MAX, 1000, UINT64_MAX, &wait));
    assert_false(or_retry_expired(&retry, 600999));
    assert_true(or_retry_expired(&retry, 601000));
    assert_false(or_retry_next(&retry, OR_RETRY_BUSY, 0, 600995, 0, &wait));
}

static void there_is_always_a_wait(void **state)
{
    struct or_retry retry;
    uint64_t wait = 0;
    (void)state;
    or_retry_init(&retry, &LIMITS, 0);
    assert_true(or_retry_next(&retry, OR_RETRY_LOOKUP, 0, 0, 12345, &wait));
    assert_int_equal(wait, OR_RETRY_FLOOR_MS);
}

static void without_limits_it_goes_on(void **state)
{
    static const struct or_retry_limits NONE = {.classes = {[OR_RETRY_BUSY] = {100, 1000, 0}}};
    struct or_retry retry;
    uint64_t wait = 0;
    (void)state;
    or_retry_init(&retry, &NONE, 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(or_retry_next(&retry, OR_RETRY_BUSY, 0, UINT64_MAX / 2, i, &wait));
        assert_true(wait <= 1000);
    }
    assert_false(or_retry_expired(&retry, UINT64_MAX - 1));
}

/* At the end of the numbers as well: twice as long is never shorter. */
static void waits_do_not_wrap_around(void **state)
{
    static const struct or_retry_limits LONG = {
        .classes = {[OR_RETRY_BUSY] = {UINT64_MAX / 4 * 3, UINT64_MAX, 0}},
        .total_ms = UINT64_MAX - 1};
    struct or_retry retry;
    uint64_t wait = 0;
    (void)state;
    or_retry_init(&retry, &LONG, 5);
    assert_true(or_retry_next(&retry, OR_RETRY_BUSY, 0, 5, 0, &wait));
    assert_true(or_retry_next(&retry, OR_RETRY_BUSY, 0, 5, UINT64_MAX / 8 * 7, &wait));
    assert_true(wait > UINT64_MAX / 4 * 3);
    assert_false(or_retry_expired(&retry, UINT64_MAX - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_grow_to_the_cap),
        cmocka_unit_test(tries_in_a_row_are_limited),
        cmocka_unit_test(retry_after_is_waited_for_in_full),
        cmocka_unit_test(a_wait_that_is_too_long_is_not_cut_short),
        cmocka_unit_test(there_is_always_a_wait),
        cmocka_unit_test(without_limits_it_goes_on),
        cmocka_unit_test(waits_do_not_wrap_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
