/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/breaker.h"

static const struct or_breaker_limits LIMITS = {
    .percent = 20, .least = 10, .cool_ms = 1000, .cool_max_ms = 3000, .probe_ms = 500};

static void tell(struct or_breaker *breaker, unsigned n, enum or_breaker_result result)
{
    for (unsigned i = 0; i < n; i++) {
        or_breaker_tell(breaker, result, 0);
    }
}

/* What follows after `conflicts` conflicts and as many good calls as make a hundred. */
static enum or_breaker_state state_after(unsigned conflicts, bool conflicts_first)
{
    struct or_breaker breaker;
    struct or_breaker_limits limits = LIMITS;
    limits.least = 100;
    or_breaker_init(&breaker, &limits, false);
    tell(&breaker, conflicts_first ? conflicts : 100 - conflicts,
         conflicts_first ? OR_BREAKER_CONFLICT : OR_BREAKER_OK);
    tell(&breaker, conflicts_first ? 100 - conflicts : conflicts,
         conflicts_first ? OR_BREAKER_OK : OR_BREAKER_CONFLICT);
    return breaker.state;
}

static void nineteen_twenty_twenty_one(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        assert_int_equal(state_after(19, first), OR_BREAKER_CLOSED);
        assert_int_equal(state_after(20, first), OR_BREAKER_CLOSED);
        assert_int_equal(state_after(21, first), OR_BREAKER_OPEN);
    }
}

static void one_of_one_is_not_enough(void **state)
{
    struct or_breaker breaker;
    (void)state;
    or_breaker_init(&breaker, &LIMITS, false);
    tell(&breaker, 9, OR_BREAKER_CONFLICT);
    assert_int_equal(breaker.state, OR_BREAKER_CLOSED);
    tell(&breaker, 1, OR_BREAKER_OK);
    assert_int_equal(breaker.state, OR_BREAKER_OPEN);
}

static void old_calls_are_forgotten(void **state)
{
    struct or_breaker breaker;
    (void)state;
    or_breaker_init(&breaker, &LIMITS, false);
    tell(&breaker, 80, OR_BREAKER_OK);
    tell(&breaker, 20, OR_BREAKER_CONFLICT);
    tell(&breaker, 80, OR_BREAKER_OK); /* 20 of the last 100 all the while */
    assert_int_equal(breaker.state, OR_BREAKER_CLOSED);
    tell(&breaker, 20, OR_BREAKER_OK);
    assert_int_equal(breaker.sum, 0);
    tell(&breaker, 20, OR_BREAKER_CONFLICT);
    assert_int_equal(breaker.state, OR_BREAKER_CLOSED);
    tell(&breaker, 1, OR_BREAKER_CONFLICT);
    assert_int_equal(breaker.state, OR_BREAKER_OPEN);
}

static void open_up(struct or_breaker *breaker)
{
    or_breaker_init(breaker, &LIMITS, false);
    tell(breaker, 10, OR_BREAKER_CONFLICT);
    assert_int_equal(breaker->state, OR_BREAKER_OPEN);
}

static void it_probes_with_one(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    assert_int_equal(or_breaker_ask(&breaker, 999, &until), OR_BREAKER_WAIT);
    assert_true(until == 1000);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_WAIT);
    assert_true(until == 1500);
    or_breaker_tell(&breaker, OR_BREAKER_CONFLICT, 1001); /* from before it opened */
    assert_int_equal(breaker.state, OR_BREAKER_PROBING);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 1200);
    assert_int_equal(or_breaker_ask(&breaker, 1200, &until), OR_BREAKER_GO);
    assert_int_equal(breaker.held, 0);
    tell(&breaker, 9, OR_BREAKER_CONFLICT);
    assert_int_equal(breaker.state, OR_BREAKER_CLOSED); /* what was before counts no more */
}

static void it_waits_twice_as_long(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_CONFLICT, 1100);
    assert_int_equal(or_breaker_ask(&breaker, 3099, &until), OR_BREAKER_WAIT);
    assert_int_equal(or_breaker_ask(&breaker, 3100, &until), OR_BREAKER_PROBE);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_CONFLICT, 3100);
    assert_int_equal(or_breaker_ask(&breaker, 3100, &until), OR_BREAKER_WAIT);
    assert_true(until == 6100); /* not above the limit */
    assert_int_equal(breaker.opened, 3);
    assert_int_equal(or_breaker_ask(&breaker, 6100, &until), OR_BREAKER_PROBE);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 6100);
    tell(&breaker, 10, OR_BREAKER_CONFLICT);
    or_breaker_ask(&breaker, 0, &until);
    assert_true(until == 1000); /* short again */
}

static void a_lost_probe_holds_nobody_up(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    assert_int_equal(or_breaker_ask(&breaker, 1500, &until), OR_BREAKER_WAIT);
    assert_true(until == 3500);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 1600); /* too late */
    assert_int_equal(breaker.state, OR_BREAKER_OPEN);
    assert_int_equal(or_breaker_ask(&breaker, 3500, &until), OR_BREAKER_PROBE);
}

/* The answer to a lost probe comes when the next one is out: it is not that one's. */
static void a_lost_probe_does_not_speak_for_the_next(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    uint64_t lost = breaker.probe;
    assert_int_equal(or_breaker_ask(&breaker, 3500, &until), OR_BREAKER_PROBE);
    or_breaker_tell_probe(&breaker, lost, OR_BREAKER_OK, 3501);
    or_breaker_give_back(&breaker, lost, 3501);
    assert_int_equal(or_breaker_ask(&breaker, 3501, &until), OR_BREAKER_WAIT);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 3502);
    assert_int_equal(or_breaker_ask(&breaker, 3502, &until), OR_BREAKER_GO);
}

/* Whether somebody asked in the meantime makes no difference. */
static void a_probe_is_lost_in_time_though_nobody_asks(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 1500);
    assert_int_equal(breaker.state, OR_BREAKER_OPEN);
    assert_int_equal(or_breaker_ask(&breaker, 3499, &until), OR_BREAKER_WAIT);
    assert_true(until == 3500); /* from when it was lost, not from when that was seen */
    assert_int_equal(or_breaker_ask(&breaker, 3500, &until), OR_BREAKER_PROBE);
}

static void a_probe_that_was_not_sent_is_given_back(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    open_up(&breaker);
    or_breaker_give_back(&breaker, breaker.probe, 0); /* there is none */
    assert_int_equal(breaker.state, OR_BREAKER_OPEN);
    assert_int_equal(or_breaker_ask(&breaker, 1000, &until), OR_BREAKER_PROBE);
    or_breaker_give_back(&breaker, breaker.probe, 1001);
    assert_int_equal(or_breaker_ask(&breaker, 1001, &until), OR_BREAKER_PROBE);
    assert_int_equal(or_breaker_ask(&breaker, 1001, &until), OR_BREAKER_WAIT);
    or_breaker_give_back(&breaker, breaker.probe, 1501); /* too late: it was lost */
    assert_int_equal(or_breaker_ask(&breaker, 1501, &until), OR_BREAKER_WAIT);
    assert_true(until == 3501);
}

/* Open for ever is not open at once, at the end of the clock. */
static void times_do_not_wrap_around(void **state)
{
    static const struct or_breaker_limits ENDLESS = {.percent = 20,
                                                     .least = 1,
                                                     .cool_ms = UINT64_MAX,
                                                     .cool_max_ms = UINT64_MAX,
                                                     .probe_ms = UINT64_MAX};
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    or_breaker_init(&breaker, &ENDLESS, false);
    or_breaker_tell(&breaker, OR_BREAKER_CONFLICT, 5);
    assert_int_equal(or_breaker_ask(&breaker, UINT64_MAX - 1, &until), OR_BREAKER_WAIT);
    assert_true(until == UINT64_MAX);
    or_breaker_init(&breaker, &ENDLESS, true);
    assert_int_equal(or_breaker_ask(&breaker, 5, &until), OR_BREAKER_PROBE);
    assert_int_equal(or_breaker_ask(&breaker, UINT64_MAX - 1, &until), OR_BREAKER_WAIT);
    assert_true(until == UINT64_MAX);
}

static void one_goes_ahead_of_a_bulk(void **state)
{
    struct or_breaker breaker;
    uint64_t until = 0;
    (void)state;
    or_breaker_init(&breaker, &LIMITS, true);
    assert_int_equal(or_breaker_ask(&breaker, 5, &until), OR_BREAKER_PROBE);
    assert_int_equal(or_breaker_ask(&breaker, 5, &until), OR_BREAKER_WAIT);
    or_breaker_tell_probe(&breaker, breaker.probe, OR_BREAKER_OK, 6);
    assert_int_equal(or_breaker_ask(&breaker, 6, &until), OR_BREAKER_GO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nineteen_twenty_twenty_one),
        cmocka_unit_test(one_of_one_is_not_enough),
        cmocka_unit_test(old_calls_are_forgotten),
        cmocka_unit_test(it_probes_with_one),
        cmocka_unit_test(it_waits_twice_as_long),
        cmocka_unit_test(a_lost_probe_holds_nobody_up),
        cmocka_unit_test(a_lost_probe_does_not_speak_for_the_next),
        cmocka_unit_test(a_probe_is_lost_in_time_though_nobody_asks),
        cmocka_unit_test(a_probe_that_was_not_sent_is_given_back),
        cmocka_unit_test(times_do_not_wrap_around),
        cmocka_unit_test(one_goes_ahead_of_a_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
