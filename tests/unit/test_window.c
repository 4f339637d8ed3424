/* SPDX-License-Identifier: Apache-2.0
 *
 * core/window.c against an oracle that remembers every request and looks at every interval; a
 * counter that begins anew in each aligned window is caught by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/window.h"
#include "tests/support/bench.h"

#define REQUESTS 4000U

struct oracle {
    uint64_t sent[REQUESTS];
    size_t n;
};

/* The most requests in any interval of the span: each begins with a request. */
static size_t most_within(const struct oracle *oracle, uint64_t span_ms)
{
    size_t most = 0;
    for (size_t first = 0, end = 0; first < oracle->n; first++) {
        while (end < oracle->n && oracle->sent[end] - oracle->sent[first] <= span_ms) {
            end++;
        }
        most = end - first > most ? end - first : most;
    }
    return most;
}

static struct or_windows *make(const struct or_window *list, unsigned n)
{
    struct or_windows *windows = malloc(sizeof *windows);
    assert_non_null(windows);
    memset(windows, 0xa5, sizeof *windows); /* whatever was there before is never read */
    or_windows_init(windows, list, n);
    return windows;
}

static void no_interval_holds_more(void **state)
{
    (void)state;
    seed_dice();
    for (unsigned round = 0; round < 30; round++) {
        struct oracle *oracle = calloc(1, sizeof *oracle);
        struct or_window list[2] = {{1 + (uint32_t)(dice() % 20), 1 + dice() % 1000},
                                    {1 + (uint32_t)(dice() % 200), 1 + dice() % 20000}};
        struct or_windows *windows = make(list, 2);
        uint64_t now = dice() % 1000;
        assert_non_null(oracle);
        while (oracle->n < REQUESTS) {
            uint64_t until = 0;
            uint64_t before = now;
            if (or_windows_take(windows, now, &until)) {
                oracle->sent[oracle->n++] = now;
            } else {
                assert_true(until > now);
                now = dice() % 4 ? until : now + dice() % (until - now + 1);
            }
            now += dice() % 8 == 0 ? dice() % 300 : 0;
            if (dice() % 16 == 0) { /* the clock jumps back, and is not believed */
                uint64_t unused = 0;
                uint64_t past = before > 500 ? before - 500 : 0;
                if (or_windows_take(windows, past, &unused)) {
                    oracle->sent[oracle->n < REQUESTS ? oracle->n++ : REQUESTS - 1] =
                        windows->now_ms;
                }
                now = now > windows->now_ms ? now : windows->now_ms;
            }
        }
        for (unsigned i = 0; i < 2; i++) {
            assert_true(most_within(oracle, list[i].span_ms) <= list[i].count);
        }
        free(oracle);
        free(windows);
    }
}

/* What the obvious counter lets pass around the border of its windows. */
static void control_an_aligned_counter_lets_pass_too_many(void **state)
{
    (void)state;
    struct oracle *oracle = calloc(1, sizeof *oracle);
    const uint64_t span = 1000;
    const uint64_t count = 10;
    uint64_t in_window = 0;
    assert_non_null(oracle);
    for (uint64_t now = 0; now < 5000 && oracle->n < REQUESTS; now += 10) {
        in_window = now % span == 0 ? 0 : in_window;
        /* bursts at the end of one window and at the beginning of the next */
        bool wanted = now / span % 2 ? now % span < 100 : now % span >= 900;
        if (wanted && in_window < count) {
            in_window++;
            oracle->sent[oracle->n++] = now;
        }
    }
    assert_true(most_within(oracle, span) > count);
    free(oracle);
}

static void a_burst_is_granted_at_once(void **state)
{
    (void)state;
    struct or_windows *windows = make(&(struct or_window){OR_WINDOW_COUNT_MAX, 60000}, 1);
    uint64_t until = 0;
    for (unsigned round = 0; round < 3; round++) {
        uint64_t now = 1000 + 60001ULL * round;
        for (unsigned i = 0; i < OR_WINDOW_COUNT_MAX; i++) {
            assert_true(or_windows_take(windows, now, &until));
        }
        assert_false(or_windows_take(windows, now, &until));
        assert_true(until == now + 60001); /* times are cut to milliseconds */
        assert_false(or_windows_take(windows, now + 60000, &until));
    }
    free(windows);
}

static void one_is_given_back(void **state)
{
    (void)state;
    struct or_windows *windows = make(&(struct or_window){OR_WINDOW_COUNT_MAX, 60000}, 1);
    uint64_t until = 0;
    or_windows_give_back(windows); /* there is none */
    for (unsigned i = 0; i < OR_WINDOW_COUNT_MAX; i++) {
        assert_true(or_windows_take(windows, 1000 + i, &until));
    }
    assert_true(or_windows_take(windows, 61001, &until)); /* the first one is a minute ago */
    or_windows_give_back(windows);
    assert_true(or_windows_take(windows, 61001, &until));
    assert_false(or_windows_take(windows, 61001, &until));
    assert_true(until == 61002);
    free(windows);
}

static void times_do_not_wrap_around(void **state)
{
    (void)state;
    struct or_windows *windows = make(&(struct or_window){1, 1000}, 1);
    uint64_t until = 0;
    assert_true(or_windows_take(windows, UINT64_MAX - 500, &until));
    assert_false(or_windows_take(windows, UINT64_MAX - 1, &until));
    assert_true(until == UINT64_MAX);
    free(windows);
}

/* Requests that are granted, and sent at any time after that. */
static void reserved_ones_are_sent_later(void **state)
{
    (void)state;
    static const struct or_window list[] = {{5, 100}, {20, 1000}};
    for (unsigned round = 0; round < 50; round++) {
        struct or_windows *windows = make(list, 2);
        struct oracle *oracle = calloc(1, sizeof *oracle);
        unsigned reserved = 0;
        uint64_t until = 0;
        assert_non_null(oracle);
        for (uint64_t now = 1000; oracle->n < 200; now += dice() % 3 ? 0 : dice() % 120) {
            if (dice() % 2 && or_windows_reserve(windows, now, &until)) {
                reserved++;
            } else if (reserved && dice() % 8 == 0) {
                or_windows_release(windows);
                reserved--;
            } else if (reserved && dice() % 2) {
                or_windows_sent(windows, now);
                oracle->sent[oracle->n++] = now;
                reserved--;
            }
            now += dice() % 16 == 0;
        }
        for (unsigned i = 0; i < 2; i++) {
            assert_true(most_within(oracle, list[i].span_ms) <= list[i].count);
        }
        free(oracle);
        free(windows);
    }
}

/* Sent later than they were taken, and counted from when they were taken. */
static void control_taken_ones_are_sent_too_close(void **state)
{
    (void)state;
    struct or_windows *windows = make(&(struct or_window){1, 100}, 1);
    struct oracle *oracle = calloc(1, sizeof *oracle);
    uint64_t until = 0;
    assert_non_null(oracle);
    assert_true(or_windows_take(windows, 1000, &until));
    oracle->sent[oracle->n++] = 1090;
    assert_true(or_windows_take(windows, 1101, &until));
    oracle->sent[oracle->n++] = 1101;
    assert_true(most_within(oracle, 100) > 1);
    or_windows_init(windows, &(struct or_window){1, 100}, 1);
    assert_true(or_windows_reserve(windows, 1000, &until));
    assert_false(or_windows_reserve(windows, 2000, &until));
    assert_true(until == UINT64_MAX);
    or_windows_sent(windows, 2000);
    assert_false(or_windows_reserve(windows, 2100, &until));
    assert_true(until == 2101);
    free(oracle);
    free(windows);
}

static void the_store_leads(void **state)
{
    (void)state;
    struct or_windows *windows = make(&(struct or_window){100, 1000}, 1);
    uint64_t until = 0;
    assert_true(or_windows_take(windows, 10, &until));
    or_windows_block(windows, 5000);
    or_windows_block(windows, 3000); /* never widens */
    assert_false(or_windows_take(windows, 4999, &until));
    assert_true(until == 5000);
    assert_true(or_windows_take(windows, 5000, &until));
    free(windows);
}

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t count;
        uint64_t span_ms;
    } GOOD[] = {{"180/60s", 180, 60000}, {"2700/15m", 2700, 900000},   {"60/10", 60, 10000},
                {"3/1000ms", 3, 1000},   {"4096/24h", 4096, 86400000}, {"1/1ms", 1, 1}};
    static const char *const BAD[] = {"",
                                      "180",
                                      "/60s",
                                      "0/60s",
                                      "180/",
                                      "180/0s",
                                      "180/s",
                                      "-1/60s",
                                      "4097/1s",
                                      "1/25h",
                                      "1/60 s",
                                      "1/60d",
                                      "1/1s ",
                                      "99999999999999999999/1s",
                                      "1/99999999999999999999"};
    struct or_window window;
    const char *reason = NULL;
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        assert_true(or_window_parse(or_span(GOOD[i].text), &window, &reason));
        assert_int_equal(window.count, GOOD[i].count);
        assert_true(window.span_ms == GOOD[i].span_ms);
    }
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        reason = NULL;
        assert_false(or_window_parse(or_span(BAD[i]), &window, &reason));
        assert_non_null(reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_interval_holds_more),
        cmocka_unit_test(control_an_aligned_counter_lets_pass_too_many),
        cmocka_unit_test(a_burst_is_granted_at_once),
        cmocka_unit_test(one_is_given_back),
        cmocka_unit_test(times_do_not_wrap_around),
        cmocka_unit_test(reserved_ones_are_sent_later),
        cmocka_unit_test(control_taken_ones_are_sent_too_close),
        cmocka_unit_test(the_store_leads),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
