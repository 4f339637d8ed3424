/* SPDX-License-Identifier: Apache-2.0
 *
 * core/budget.c: several processes that share a budget through bytes that are kept for them. An
 * oracle looks at every interval of what they sent; a log that is not kept between calls, and one
 * that forgets how late a permit may be used, are caught by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/budget.h"
#include "tests/support/bench.h"

#define PROCESSES 5U
#define REQUESTS  6000U

static char kept[OR_BUDGET_BODY_MAX]; /* the coordinator's */
static size_t kept_len;

/* One call of a process: the bytes are read, changed and written back. */
static void book(const struct or_window *list, unsigned n, struct or_permit *permit, uint64_t now)
{
    struct or_windows *windows = malloc(sizeof *windows);
    assert_non_null(windows);
    assert_true(or_budget_decode(windows, list, n, (struct onerow_span){kept, kept_len}, now));
    or_budget_book(windows, permit, now);
    kept_len = or_budget_encode(windows, kept);
    assert_true(kept_len <= sizeof kept);
    free(windows);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The most requests in any interval that is shorter than the span. */
static size_t most_within(const uint64_t *sent, size_t n, uint64_t span_ms)
{
    size_t most = 0;
    for (size_t first = 0, end = 0; first < n; first++) {
        while (end < n && sent[end] - sent[first] <= span_ms) {
            end++;
        }
        most = end - first > most ? end - first : most;
    }
    return most;
}

struct process {
    uint64_t at_ms; /* when it asks next */
    uint64_t sent;
};

struct wrongs {
    bool forgets;  /* the log, between calls */
    bool no_slack; /* is told, though permits are used late */
};

/* Sends REQUESTS requests in all; how often a window held too many. */
static unsigned run(const struct or_window *list, unsigned n, uint64_t slack_ms,
                    const struct wrongs *wrongs, struct process *processes)
{
    static uint64_t sent[REQUESTS];
    size_t count = 0;
    uint64_t now = 1000;
    kept_len = 0;
    memset(processes, 0, PROCESSES * sizeof *processes);
    while (count < REQUESTS) {
        struct process *process = &processes[0];
        for (unsigned i = 1; i < PROCESSES; i++) {
            process = processes[i].at_ms < process->at_ms ? &processes[i] : process;
        }
        now = process->at_ms > now ? process->at_ms : now;
        struct or_permit permit = {.wanted = 1 + (uint32_t)(dice() % 3),
                                   .most_wait_ms = UINT64_MAX,
                                   .slack_ms = wrongs->no_slack ? 0 : slack_ms};
        kept_len = wrongs->forgets ? 0 : kept_len;
        book(list, n, &permit, now);
        assert_in_range(permit.granted, 1, permit.wanted);
        uint64_t latest = now + permit.wait_ms;
        for (uint32_t i = 0; i < permit.granted && count < REQUESTS; i++) {
            uint64_t at = now + permit.wait_ms + (slack_ms ? dice() % (slack_ms + 1) : 0);
            latest = at > latest ? at : latest;
            sent[count++] = at;
        }
        process->sent += permit.granted;
        process->at_ms = latest + dice() % 3;
    }
    qsort(sent, count, sizeof *sent, ascending);
    unsigned bad = 0;
    for (unsigned i = 0; i < n; i++) {
        bad += most_within(sent, count, list[i].span_ms) > list[i].count;
    }
    return bad;
}

static void draw(struct or_window list[2])
{
    list[0] = (struct or_window){1 + (uint32_t)(dice() % 10), 1 + dice() % 1000};
    list[1] = (struct or_window){1 + (uint32_t)(dice() % 100), 1 + dice() % 20000};
}

static void windows_are_kept_across_processes(void **state)
{
    (void)state;
    struct process processes[PROCESSES];
    struct or_window list[2];
    struct wrongs right = {0};
    seed_dice();
    for (unsigned round = 0; round < 20; round++) {
        draw(list);
        uint64_t slack = dice() % 2 ? dice() % (list[0].span_ms + 1) : 0;
        assert_int_equal(run(list, 2, slack, &right, processes), 0);
    }
}

static void wrong_budgets_are_seen_to_fail(void **state)
{
    (void)state;
    struct process processes[PROCESSES];
    struct or_window list[2];
    struct wrongs forgets = {.forgets = true};
    struct wrongs no_slack = {.no_slack = true};
    unsigned seen[2] = {0};
    seed_dice();
    for (unsigned round = 0; round < 10; round++) {
        draw(list);
        seen[0] += run(list, 2, 0, &forgets, processes);
        seen[1] += run(list, 2, list[0].span_ms, &no_slack, processes);
    }
    assert_true(seen[0] > 0);
    assert_true(seen[1] > 0);
}

/* Whoever asks for one at a time gets one in turn: the shares differ by no more than what the
 * first ones got before the windows were full. */
static void nobody_starves(void **state)
{
    (void)state;
    struct or_window list[1] = {{10, 1000}};
    uint64_t at[PROCESSES] = {0};
    uint64_t sent[PROCESSES] = {0};
    kept_len = 0;
    for (unsigned call = 0; call < 5000; call++) {
        unsigned next = 0;
        for (unsigned i = 1; i < PROCESSES; i++) {
            next = at[i] < at[next] ? i : next;
        }
        struct or_permit permit = {.wanted = 1, .most_wait_ms = UINT64_MAX};
        uint64_t now = at[next];
        book(list, 1, &permit, now);
        at[next] = now + permit.wait_ms + 1;
        sent[next]++;
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_in_range(sent[i], 1000 - 12, 1000 + 12);
    }
}

static void what_would_wait_too_long_is_not_booked(void **state)
{
    (void)state;
    struct or_window list[1] = {{2, 1000}};
    struct or_permit permit = {.wanted = 5, .most_wait_ms = 100};
    kept_len = 0;
    book(list, 1, &permit, 5000);
    assert_int_equal(permit.granted, 2);
    assert_int_equal(permit.wait_ms, 0);
    book(list, 1, &permit, 5300);
    assert_int_equal(permit.granted, 0);
    assert_int_equal(permit.wait_ms, 1001 - 300 - 100);
    book(list, 1, &permit, 5300 + permit.wait_ms);
    assert_int_equal(permit.granted, 2);
    assert_int_equal(permit.wait_ms, 100);
}

/* At the end of the clock: nothing is ever granted, instead of everything at once. */
static void times_do_not_wrap_around(void **state)
{
    static const struct or_window WINDOW = {.count = 1, .span_ms = 1000};
    struct or_windows *windows = malloc(sizeof *windows);
    struct or_permit permit = {.wanted = 1, .most_wait_ms = 1000, .block_ms = UINT64_MAX};
    (void)state;
    assert_non_null(windows);
    or_windows_init(windows, &WINDOW, 1);
    or_budget_book(windows, &permit, 5);
    assert_int_equal(permit.granted, 0);
    or_budget_restart(windows, &WINDOW, 1, UINT64_MAX - 500);
    permit = (struct or_permit){.wanted = 1, .most_wait_ms = 100};
    or_budget_book(windows, &permit, UINT64_MAX - 500);
    assert_int_equal(permit.granted, 0);
    free(windows);
}

static void what_the_store_says_leads(void **state)
{
    (void)state;
    struct or_window list[1] = {{100, 1000}};
    struct or_permit told = {.wanted = 1, .most_wait_ms = UINT64_MAX, .block_ms = 60000};
    struct or_permit other = {.wanted = 1, .most_wait_ms = UINT64_MAX};
    kept_len = 0;
    book(list, 1, &told, 5000);
    assert_int_equal(told.wait_ms, 60000);
    book(list, 1, &other, 6000);
    assert_int_equal(other.wait_ms, 59000);
}

static void a_clock_that_goes_back_stands(void **state)
{
    (void)state;
    struct or_window list[1] = {{2, 1000}};
    struct or_permit permit = {.wanted = 2, .most_wait_ms = UINT64_MAX};
    kept_len = 0;
    book(list, 1, &permit, 900000);
    book(list, 1, &permit, 900200);
    assert_int_equal(permit.wait_ms, 801);
    /* two more are booked at 901001; then the machine boots, and the clock begins anew */
    book(list, 1, &permit, 50);
    assert_int_equal(permit.granted, 2);
    assert_int_equal(permit.wait_ms, 801 + 1001);
}

static void bytes_that_are_none_of_ours_are_refused(void **state)
{
    (void)state;
    struct or_window list[1] = {{2, 1000}};
    struct or_windows *windows = malloc(sizeof *windows);
    struct or_permit permit = {.wanted = 2, .most_wait_ms = UINT64_MAX};
    assert_non_null(windows);
    kept_len = 0;
    book(list, 1, &permit, 900000);
    for (size_t len = 1; len < kept_len; len++) {
        assert_false(or_budget_decode(windows, list, 1, (struct onerow_span){kept, len}, 900000));
    }
    kept[0] = 2;
    assert_false(or_budget_decode(windows, list, 1, (struct onerow_span){kept, kept_len}, 900000));
    seed_dice();
    for (unsigned round = 0; round < 20000; round++) {
        char bytes[40];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (char)dice();
        }
        bytes[0] = 1;
        size_t len = dice() % (sizeof bytes + 1);
        if (or_budget_decode(windows, list, 1, (struct onerow_span){bytes, len}, dice() % 5000)) {
            or_budget_book(windows, &permit, 5000);
        }
    }
    or_budget_restart(windows, list, 1, 5000);
    or_budget_book(windows, &permit, 5000);
    assert_int_equal(permit.wait_ms, 1000);
    free(windows);
}

static void windows_are_read_from_text(void **state)
{
    (void)state;
    struct or_window list[OR_WINDOWS_MAX];
    unsigned n = 0;
    const char *reason = NULL;
    assert_true(or_budget_parse(OR_SPAN("180/60s,2700/15m"), list, &n, &reason));
    assert_int_equal(n, 2);
    assert_int_equal(list[1].count, 2700);
    assert_int_equal(list[1].span_ms, 900000);
    assert_false(or_budget_parse(OR_SPAN(""), list, &n, &reason));
    assert_false(or_budget_parse(OR_SPAN("1/1,"), list, &n, &reason));
    assert_false(or_budget_parse(OR_SPAN("1/1,1/2,1/3,1/4,1/5"), list, &n, &reason));
    assert_non_null(strstr(reason, "more than 4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_kept_across_processes),
        cmocka_unit_test(wrong_budgets_are_seen_to_fail),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(what_would_wait_too_long_is_not_booked),
        cmocka_unit_test(times_do_not_wrap_around),
        cmocka_unit_test(what_the_store_says_leads),
        cmocka_unit_test(a_clock_that_goes_back_stands),
        cmocka_unit_test(bytes_that_are_none_of_ours_are_refused),
        cmocka_unit_test(windows_are_read_from_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
