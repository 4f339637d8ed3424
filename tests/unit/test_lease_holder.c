/* SPDX-License-Identifier: Apache-2.0
 *
 * core/lease.c: what it does at which time, and that nobody works under a lease that is somebody
 * else's, whatever becomes of requests and answers. A holder that counts its time from the answer
 * is caught by the same world.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/lease.h"
#include "tests/support/bench.h"

#define TTL      15000U
#define PATIENCE 9000U
#define POLL     1000U
#define START    100000U

/* ---- stories -----------------------------------------------------------------------------------
 */

static struct or_lease lease;
static struct or_lease_command command;

static void begin(uint64_t wait_ms)
{
    struct or_lease_limits limits = {TTL, wait_ms, PATIENCE, POLL};
    or_lease_begin(&lease, &limits, START);
}

static enum or_lease_do at(uint64_t now_ms)
{
    struct or_lease_event event = {.kind = OR_LEASE_TIME, .now_ms = now_ms};
    command = or_lease_step(&lease, &event);
    return command.what;
}

static enum or_lease_do answer(enum onerow_lease_answer answer, uint64_t sent_ms, uint64_t now_ms,
                               uint64_t left_ms, uint64_t place)
{
    struct or_lease_event event = {.kind = OR_LEASE_ANSWER,
                                   .now_ms = now_ms,
                                   .sent_ms = sent_ms,
                                   .answer = answer,
                                   .token = answer == ONEROW_LEASE_HELD ? 7 : 0,
                                   .left_ms = left_ms,
                                   .place = place};
    command = or_lease_step(&lease, &event);
    return command.what;
}

static enum or_lease_do fail_at(uint64_t now_ms)
{
    struct or_lease_event event = {.kind = OR_LEASE_FAILED, .now_ms = now_ms};
    command = or_lease_step(&lease, &event);
    return command.what;
}

static enum or_lease_do wake(uint64_t sent_ms, uint64_t now_ms, uint64_t token, uint64_t left_ms)
{
    struct or_lease_event event = {.kind = OR_LEASE_WOKEN,
                                   .now_ms = now_ms,
                                   .sent_ms = sent_ms,
                                   .token = token,
                                   .left_ms = left_ms};
    command = or_lease_step(&lease, &event);
    return command.what;
}

static enum or_lease_right right_at(uint64_t now_ms)
{
    uint64_t until_ms = 0;
    return or_lease_watch(&lease, now_ms, &until_ms);
}

static void hold(uint64_t wait_ms)
{
    begin(wait_ms);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_HELD, START, START + 400, TTL, 0), OR_LEASE_DO_SLEEP);
}

static void the_proportions_are_kept(void **state)
{
    (void)state;
    uint64_t until_ms = 0;
    begin(0);
    assert_int_equal(right_at(START), OR_LEASE_RIGHT_NONE);
    assert_int_equal(or_lease_last_ms(&lease), 0);
    hold(0);
    assert_int_equal(command.until_ms, START + 2000);
    assert_int_equal(at(START + 1999), OR_LEASE_DO_SLEEP);
    assert_int_equal(right_at(START + 9999), OR_LEASE_RIGHT_WORK);
    assert_int_equal(right_at(START + 10000), OR_LEASE_RIGHT_STOP);
    assert_int_equal(or_lease_watch(&lease, START + 13999, &until_ms), OR_LEASE_RIGHT_STOP);
    assert_int_equal(until_ms, START + 14000);
    assert_int_equal(right_at(START + 14000), OR_LEASE_RIGHT_END);
    assert_int_equal(or_lease_last_ms(&lease), START + 14000);
    assert_int_equal(at(START + 2000), OR_LEASE_DO_RENEW);
    /* a renewal counts from its sending, too */
    assert_int_equal(answer(ONEROW_LEASE_HELD, START + 2000, START + 3000, TTL, 0),
                     OR_LEASE_DO_SLEEP);
    assert_int_equal(command.until_ms, START + 4000);
    assert_int_equal(right_at(START + 11999), OR_LEASE_RIGHT_WORK);
    assert_int_equal(right_at(START + 12000), OR_LEASE_RIGHT_STOP);
}

static void a_failed_renewal_is_sent_again_until_it_is_too_late(void **state)
{
    (void)state;
    hold(0);
    uint64_t now = START + 2000;
    unsigned renewals = 0;
    while (at(now) != OR_LEASE_DO_SLEEP || command.until_ms != OR_LEASE_FOREVER) {
        if (command.what == OR_LEASE_DO_RENEW) {
            renewals++;
            assert_true(now < START + 10000);
            assert_int_equal(fail_at(now + 100), OR_LEASE_DO_SLEEP);
            assert_true(command.until_ms <= now + 100 + 2001);
        }
        now = command.until_ms;
    }
    assert_int_equal(now, START + 10000);
    assert_true(renewals >= 4);
    assert_int_equal(lease.end, OR_LEASE_END_LOST);
    assert_int_equal(right_at(now), OR_LEASE_RIGHT_STOP);
    /* told lost once, it stays lost: it is given up, and never renewed */
    assert_int_equal(at(now + 1), OR_LEASE_DO_SLEEP);
    or_lease_leave(&lease);
    assert_int_equal(at(now + 2), OR_LEASE_DO_RELEASE);
    assert_int_equal(answer(ONEROW_LEASE_HELD, now + 2, now + 3, 0, 0), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_LOST);
}

static void an_answer_that_comes_too_late_is_no_right(void **state)
{
    (void)state;
    begin(OR_LEASE_FOREVER);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    answer(ONEROW_LEASE_HELD, START, START + 12000, TTL, 0);
    assert_int_equal(right_at(START + 12000), OR_LEASE_RIGHT_STOP);
    assert_int_equal(lease.state, OR_LEASE_STOPPED);
}

static void whoever_does_not_wait_is_told_at_once(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_TAKEN, START, START + 5, 800, 3), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_TAKEN);
    assert_int_equal(lease.others_ms, 800);
}

static void without_an_answer_it_is_cancelled(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    /* it may be held, or be in the queue */
    assert_int_equal(fail_at(START + 5), OR_LEASE_DO_CANCEL);
    assert_int_equal(fail_at(START + 9), OR_LEASE_DO_SLEEP);
    assert_int_equal(at(command.until_ms), OR_LEASE_DO_CANCEL);
    assert_int_equal(answer(ONEROW_LEASE_LOST, START, START + 900, 0, 0), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_FAILED);
    assert_int_equal(right_at(START + 900), OR_LEASE_RIGHT_NONE);
}

static void a_coordinator_that_is_gone_is_not_asked_for_ever(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    enum or_lease_do what = fail_at(START);
    unsigned cancels = 0;
    while (what != OR_LEASE_DO_NOTHING) {
        cancels += what == OR_LEASE_DO_CANCEL;
        assert_true(cancels < 10);
        what = what == OR_LEASE_DO_CANCEL ? fail_at(START + cancels) : at(command.until_ms);
    }
    assert_int_equal(lease.end, OR_LEASE_END_FAILED);
}

static void a_waiter_looks_from_time_to_time_and_gives_up(void **state)
{
    (void)state;
    begin(5000);
    assert_int_equal(at(START), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_WAITING, START, START, 60000, 2), OR_LEASE_DO_SLEEP);
    assert_in_range(command.until_ms, START + POLL / 2, START + POLL);
    assert_int_equal(at(command.until_ms), OR_LEASE_DO_ACQUIRE);
    /* the first in line looks when the holder's time is over */
    assert_int_equal(answer(ONEROW_LEASE_WAITING, START, START + 1000, 20, 1), OR_LEASE_DO_SLEEP);
    assert_int_equal(command.until_ms, START + 1021);
    assert_int_equal(answer(ONEROW_LEASE_WAITING, START, START + 1100, 60000, 900),
                     OR_LEASE_DO_SLEEP);
    /* one far behind looks as seldom as its patience allows */
    assert_in_range(command.until_ms, START + 1100 + PATIENCE / 6, START + 1100 + PATIENCE / 3);
    assert_int_equal(at(START + 5000), OR_LEASE_DO_CANCEL);
    assert_int_equal(answer(ONEROW_LEASE_LOST, START, START + 5001, 0, 0), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_TIMEOUT);
}

static void a_hand_over_is_taken_as_far_as_its_time_goes(void **state)
{
    (void)state;
    begin(OR_LEASE_FOREVER);
    (void)at(START);
    assert_int_equal(answer(ONEROW_LEASE_WAITING, START, START, 60000, 1), OR_LEASE_DO_SLEEP);
    assert_int_equal(wake(START + 500, START + 501, 9, 3000), OR_LEASE_DO_SLEEP);
    assert_int_equal(lease.token, 9);
    assert_int_equal(right_at(START + 501), OR_LEASE_RIGHT_WORK);
    assert_int_equal(right_at(START + 2500), OR_LEASE_RIGHT_STOP);
    assert_int_equal(at(START + 900), OR_LEASE_DO_RENEW);
}

static void a_late_or_bare_hand_over_is_asked_for(void **state)
{
    (void)state;
    begin(OR_LEASE_FOREVER);
    (void)at(START);
    (void)answer(ONEROW_LEASE_WAITING, START, START, 60000, 1);
    assert_int_equal(wake(START + 10, START + 1600, 9, 3000), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_WAITING, START, START + 1700, 60000, 1),
                     OR_LEASE_DO_SLEEP);
    assert_int_equal(wake(0, START + 1701, 0, 0), OR_LEASE_DO_ACQUIRE);
    /* from a clock that is another one's */
    (void)answer(ONEROW_LEASE_WAITING, START, START + 1702, 60000, 1);
    assert_int_equal(wake(START + 90000, START + 1800, 9, 3000), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(right_at(START + 1800), OR_LEASE_RIGHT_NONE);
}

static void what_the_coordinator_took_away_stops_at_once(void **state)
{
    (void)state;
    uint64_t until_ms = 0;
    hold(0);
    assert_int_equal(at(START + 2000), OR_LEASE_DO_RENEW);
    assert_int_equal(answer(ONEROW_LEASE_LOST, START + 2000, START + 2100, 0, 0),
                     OR_LEASE_DO_SLEEP);
    assert_int_equal(command.until_ms, OR_LEASE_FOREVER);
    assert_int_equal(or_lease_watch(&lease, START + 2100, &until_ms), OR_LEASE_RIGHT_STOP);
    assert_int_equal(until_ms, START + 3100);
    assert_int_equal(right_at(START + 3100), OR_LEASE_RIGHT_END);
    assert_int_equal(or_lease_last_ms(&lease), START + 3100);
    or_lease_leave(&lease);
    assert_int_equal(at(START + 2200), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_LOST);
}

static void leaving_gives_up_what_there_is(void **state)
{
    (void)state;
    hold(0);
    or_lease_leave(&lease);
    assert_int_equal(at(START + 500), OR_LEASE_DO_RELEASE);
    assert_int_equal(fail_at(START + 600), OR_LEASE_DO_SLEEP);
    assert_int_equal(at(command.until_ms), OR_LEASE_DO_RELEASE);
    assert_int_equal(answer(ONEROW_LEASE_HELD, START, START + 900, 0, 0), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_RELEASED);

    hold(0);
    or_lease_leave(&lease);
    (void)at(START + 500);
    /* an answer that was lost: the first one may have released it */
    (void)fail_at(START + 600);
    (void)at(START + 1000);
    assert_int_equal(answer(ONEROW_LEASE_LOST, START, START + 1100, 0, 0), OR_LEASE_DO_NOTHING);

    begin(60000);
    (void)at(START);
    (void)answer(ONEROW_LEASE_WAITING, START, START, 60000, 1);
    or_lease_leave(&lease);
    assert_int_equal(at(START + 1), OR_LEASE_DO_CANCEL);
    assert_int_equal(answer(ONEROW_LEASE_LOST, START, START + 2, 0, 0), OR_LEASE_DO_NOTHING);
    assert_int_equal(lease.end, OR_LEASE_END_LEFT);
}

/* ---- nobody works under another one's lease ----------------------------------------------------
 */

#define ACTORS 3U
#define ROUNDS 400U

struct actor {
    struct or_lease lease;
    bool works;
    bool out; /* a command is on its way */
    enum or_lease_do what;
    uint64_t arrive_at; /* the command at the coordinator; 0: it has been there */
    uint64_t reply_at;  /* 0: never */
    uint64_t fail_at;
    uint64_t wake_at;
    uint64_t sent_ms; /* local */
    struct or_lease_event answer;
    unsigned percent; /* speed of its clock */
    uint64_t leave_at;
};

static struct {
    struct actor actors[ACTORS];
    unsigned holder; /* + 1 */
    uint64_t token, expires, now;
    bool from_answer; /* the wrong way */
    unsigned wrong, grants;
} world;

static uint64_t local(const struct actor *actor)
{
    return world.now * actor->percent / 100;
}

static bool may_work(const struct actor *actor)
{
    uint64_t until_ms = 0;
    enum or_lease_right right = or_lease_watch(&actor->lease, local(actor), &until_ms);
    return right == OR_LEASE_RIGHT_WORK || right == OR_LEASE_RIGHT_STOP;
}

static void grant(unsigned to)
{
    world.grants++;
    for (unsigned i = 0; i < ACTORS; i++) {
        world.wrong += i != to && world.actors[i].works && may_work(&world.actors[i]);
    }
    world.token++;
    world.holder = to + 1;
}

static void take(unsigned i)
{
    struct actor *actor = &world.actors[i];
    bool mine = world.holder == i + 1 && world.now < world.expires;
    bool free = world.holder == 0 || world.now >= world.expires;
    actor->answer = (struct or_lease_event){.kind = OR_LEASE_ANSWER, .place = 1};
    actor->answer.answer = ONEROW_LEASE_LOST;
    if (actor->what == OR_LEASE_DO_ACQUIRE && free) {
        grant(i);
        mine = true;
    }
    if (actor->what == OR_LEASE_DO_ACQUIRE || (actor->what == OR_LEASE_DO_RENEW && mine)) {
        actor->answer.answer = mine ? ONEROW_LEASE_HELD : ONEROW_LEASE_WAITING;
        actor->answer.token = world.token;
        actor->answer.left_ms = mine ? TTL : world.expires - world.now;
        world.expires = mine ? world.now + TTL : world.expires;
    } else if (actor->what != OR_LEASE_DO_RENEW && world.holder == i + 1) {
        world.holder = 0;
        actor->answer.answer = ONEROW_LEASE_HELD;
    }
}

static void step_actor(struct actor *actor, struct or_lease_event event)
{
    event.now_ms = local(actor);
    event.random = dice();
    event.sent_ms = world.from_answer ? event.now_ms : actor->sent_ms;
    struct or_lease_command next = or_lease_step(&actor->lease, &event);
    actor->works |= actor->lease.state == OR_LEASE_HOLDING;
    actor->out = next.what != OR_LEASE_DO_SLEEP && next.what != OR_LEASE_DO_NOTHING;
    if (actor->out) {
        actor->what = next.what;
        actor->sent_ms = event.now_ms;
        actor->arrive_at = world.now + 1 + dice() % (dice() % 8 ? 200 : 20000);
        actor->reply_at =
            dice() % 8 ? actor->arrive_at + 1 + dice() % (dice() % 8 ? 200 : 20000) : 0;
        actor->fail_at = actor->reply_at ? 0 : actor->arrive_at + 1 + dice() % 5000;
    } else if (next.what == OR_LEASE_DO_NOTHING) {
        struct or_lease_limits limits = {TTL, OR_LEASE_FOREVER, PATIENCE, POLL};
        actor->works = false;
        or_lease_begin(&actor->lease, &limits, local(actor));
        actor->wake_at = world.now + dice() % 5000;
    } else {
        actor->wake_at = world.now + 1 + dice() % 3000;
    }
}

static void run_actor(unsigned i)
{
    struct actor *actor = &world.actors[i];
    if (actor->out && actor->arrive_at && world.now >= actor->arrive_at) {
        take(i);
        actor->arrive_at = 0;
    } else if (actor->out && !actor->arrive_at && actor->reply_at && world.now >= actor->reply_at) {
        step_actor(actor, actor->answer);
    } else if (actor->out && actor->fail_at && world.now >= actor->fail_at && !actor->arrive_at) {
        step_actor(actor, (struct or_lease_event){.kind = OR_LEASE_FAILED});
    } else if (!actor->out && world.now >= actor->wake_at) {
        if (actor->works && (dice() % 20 == 0 || !may_work(actor))) {
            or_lease_leave(&actor->lease);
            actor->works = false;
        }
        step_actor(actor, (struct or_lease_event){.kind = OR_LEASE_TIME});
    }
}

/* How often somebody still might have worked when it was given to somebody else. */
static unsigned run_world(bool from_answer)
{
    memset(&world, 0, sizeof world);
    world.from_answer = from_answer;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct or_lease_limits limits = {TTL, OR_LEASE_FOREVER, PATIENCE, POLL};
        world.holder = 0;
        world.now = START;
        for (unsigned i = 0; i < ACTORS; i++) {
            world.actors[i] = (struct actor){.percent = 95 + (unsigned)(dice() % 11)};
            or_lease_begin(&world.actors[i].lease, &limits, local(&world.actors[i]));
        }
        while (world.now < START + 120000) {
            world.now += 1 + dice() % 20;
            for (unsigned i = 0; i < ACTORS; i++) {
                run_actor(i);
            }
        }
    }
    print_message("# %u grants\n", world.grants);
    assert_true(world.grants > ROUNDS);
    return world.wrong;
}

/* Sums of times stop at the end of the clock; one that came round would be early. */
static void the_end_of_the_clock_is_no_beginning(void **state)
{
    (void)state;
    const uint64_t last = UINT64_MAX - 500;
    struct or_lease_limits limits = {TTL, 1, PATIENCE, POLL};
    or_lease_begin(&lease, &limits, last);
    assert_int_equal(at(last), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(fail_at(last), OR_LEASE_DO_SLEEP);
    assert_true(command.until_ms > last);
    or_lease_begin(&lease, &limits, last);
    assert_int_equal(at(last), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_HELD, last, last, TTL, 0), OR_LEASE_DO_SLEEP);
    assert_true(command.until_ms > last);
    assert_int_equal(right_at(last), OR_LEASE_RIGHT_WORK);
    assert_int_equal(or_lease_last_ms(&lease), UINT64_MAX);
    assert_int_equal(wake(last, last, 8, TTL), OR_LEASE_DO_SLEEP); /* of no use to who holds it */
    assert_int_equal(answer(ONEROW_LEASE_LOST, last, last, 0, 0), OR_LEASE_DO_SLEEP);
    assert_int_equal(right_at(last), OR_LEASE_RIGHT_STOP);
    or_lease_leave(&lease);
    assert_int_not_equal(at(last), OR_LEASE_DO_RENEW);
}

/* Who leaves the queue goes on saying so, and not for ever. */
static void at_the_end_of_the_clock_it_leaves(void **state)
{
    (void)state;
    const uint64_t last = UINT64_MAX - 500;
    struct or_lease_limits limits = {TTL, OR_LEASE_FOREVER, PATIENCE, POLL};
    or_lease_begin(&lease, &limits, last);
    assert_int_equal(at(last), OR_LEASE_DO_ACQUIRE);
    assert_int_equal(answer(ONEROW_LEASE_WAITING, last, last, TTL, 1), OR_LEASE_DO_SLEEP);
    assert_int_equal(wake(UINT64_MAX - 9, last, 8, 0), OR_LEASE_DO_ACQUIRE);
    or_lease_leave(&lease);
    (void)answer(ONEROW_LEASE_WAITING, last, last, 0, 1);
    for (unsigned i = 0; i < 9 && lease.state != OR_LEASE_OVER; i++) {
        (void)(at(lease.next_ms) == OR_LEASE_DO_CANCEL && fail_at(lease.next_ms));
    }
    assert_int_equal(lease.state, OR_LEASE_OVER);
}

static void nobody_works_under_another_ones_lease(void **state)
{
    (void)state;
    seed_dice();
    assert_int_equal(run_world(false), 0);
}

static void counting_from_the_answer_is_seen_to_fail(void **state)
{
    (void)state;
    seed_dice();
    assert_true(run_world(true) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_proportions_are_kept),
        cmocka_unit_test(a_failed_renewal_is_sent_again_until_it_is_too_late),
        cmocka_unit_test(an_answer_that_comes_too_late_is_no_right),
        cmocka_unit_test(whoever_does_not_wait_is_told_at_once),
        cmocka_unit_test(without_an_answer_it_is_cancelled),
        cmocka_unit_test(a_coordinator_that_is_gone_is_not_asked_for_ever),
        cmocka_unit_test(a_waiter_looks_from_time_to_time_and_gives_up),
        cmocka_unit_test(a_hand_over_is_taken_as_far_as_its_time_goes),
        cmocka_unit_test(a_late_or_bare_hand_over_is_asked_for),
        cmocka_unit_test(what_the_coordinator_took_away_stops_at_once),
        cmocka_unit_test(leaving_gives_up_what_there_is),
        cmocka_unit_test(the_end_of_the_clock_is_no_beginning),
        cmocka_unit_test(at_the_end_of_the_clock_it_leaves),
        cmocka_unit_test(nobody_works_under_another_ones_lease),
        cmocka_unit_test(counting_from_the_answer_is_seen_to_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
