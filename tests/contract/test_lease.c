/* SPDX-License-Identifier: Apache-2.0
 *
 * What include/onerow/extend.h asks of all leases, run over every coordinator of the registry that
 * has them, through its vtable alone. Nothing is timed: what must not run out is given ten minutes,
 * what is to run out one millisecond, and then the test asks until it has. What needs several
 * workers is in test_lease_race.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "tests/support/lease.h"

static void the_calls_are_all_there(void **state)
{
    (void)state;
    const struct onerow_lease_ops *ops = c->type->leases;
    assert_true(ops->acquire && ops->renew && ops->release && ops->cancel && ops->force);
    assert_true(ops->list && ops->trail && ops->share && ops->wake_fd && ops->woken &&
                ops->keep_fd);
}

/* ---- having it ------------------------------------------------------------------------------- */

static void a_free_lease_is_had(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > 0);
    assert_true(a.left_ms > 0 && a.left_ms <= LONG_MS);
    struct onerow_lease_view view = seen_lease("job");
    assert_true(view.held);
    assert_int_equal(view.token, a.token);
    assert_true(or_span_is(view.who, "{\"who\":\"a\"}"));
    assert_true(view.left_ms > 0 && view.left_ms <= LONG_MS);
    assert_int_equal(view.waiters, 0);
    assert_true(view.since_ms > 1500000000000U); /* it is in ms, and since 1970 */
}

static void another_one_is_turned_away(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(acquire(&z), TAKEN);
    assert_true(z.left_ms > 0 && z.left_ms <= LONG_MS);
    assert_int_equal(z.place, 0);
    assert_int_equal(seen_lease("job").waiters, 0);
    assert_true(or_span_is(seen_lease("job").who, a.who.data));
}

static void names_are_leases_of_their_own(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("a", "other");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(acquire(&z), HELD);
    assert_int_equal(release(&a), HELD);
    assert_int_equal(renew(&z), HELD);
}

static void the_nonce_finds_its_lease_again(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    struct onerow_coordinator *other = another();
    for (unsigned i = 0; i < 3; i++) {
        struct onerow_lease_claim again = claim_of("a", "job");
        assert_int_equal(acquire_at(i ? c : other, &again), HELD);
        assert_int_equal(again.token, token);
    }
    close_it(other);
}

/* Each of the sixteen bytes counts. */
static void nonces_are_compared_to_their_end(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("0123456789abcdef", "job");
    struct onerow_lease_claim z = claim_of("0123456789abcdeF", "job");
    struct onerow_lease_claim zero = claim_of("", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(acquire(&z), TAKEN);
    assert_int_equal(acquire(&zero), TAKEN);
    z.token = a.token;
    assert_int_equal(release(&z), LOST);
    assert_int_equal(renew(&a), HELD);
}

static void a_repeated_acquire_runs_anew(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.ttl_ms = 100000;
    assert_int_equal(acquire(&a), HELD);
    assert_true(seen_lease("job").left_ms <= 100000);
    a.ttl_ms = LONG_MS;
    assert_int_equal(acquire(&a), HELD);
    assert_true(seen_lease("job").left_ms > 100000);
}

static void renewing_runs_anew(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.ttl_ms = 100000;
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    uint64_t since = seen_lease("job").since_ms;
    a.ttl_ms = LONG_MS;
    assert_int_equal(renew(&a), HELD);
    assert_int_equal(a.token, token);
    assert_true(a.left_ms > 100000 && a.left_ms <= LONG_MS);
    assert_true(seen_lease("job").left_ms > 100000);
    assert_int_equal(seen_lease("job").since_ms, since); /* of the grant, not of the renewal */
}

static void the_longest_times(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    a.ttl_ms = z.ttl_ms = z.patience_ms = ONEROW_LEASE_TTL_MAX;
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.left_ms > ONEROW_LEASE_TTL_MAX - LONG_MS && a.left_ms <= ONEROW_LEASE_TTL_MAX);
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(release(&a), HELD);
    assert_int_equal(acquire(&z), HELD);
}

/* ---- giving it up ---------------------------------------------------------------------------- */

static void what_is_released_is_free(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(release(&a), HELD);
    assert_false(seen_lease("job").held);
    assert_true(or_span_is(seen_lease("job").who, a.who.data)); /* the last one */
    assert_int_equal(acquire(&z), HELD);
    assert_true(z.token > a.token);
}

static void a_second_release_touches_nothing(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(release(&a), HELD);
    assert_int_equal(release(&a), LOST); /* it may be the copy of a lost answer's request */
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(acquire(&z), HELD);
    assert_int_equal(release(&a), LOST);
    assert_true(a.left_ms > 0); /* of the one who has it */
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(renew(&z), HELD);
}

static void the_token_must_be_right(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    for (unsigned i = 0; i < 3; i++) {
        a.token = i == 0 ? token - 1 : i == 1 ? token + 1 : 0;
        assert_int_equal(renew(&a), LOST);
        a.token = i == 0 ? token - 1 : i == 1 ? token + 1 : 0;
        assert_int_equal(release(&a), LOST);
    }
    a.token = token;
    assert_int_equal(renew(&a), HELD);
}

static void nothing_is_made_but_by_acquire(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.token = 1;
    a.queue = true;
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(a.left_ms, 0);
    a.token = 1;
    assert_int_equal(release(&a), LOST);
    assert_int_equal(cancel(&a), LOST);
    force("job", "me");
    assert_int_equal(b.status, ONEROW_ABSENT);
    assert_string_equal(listed("", true), "");
}

static void a_lease_stays_in_the_list_when_it_is_free(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    uint64_t last = 0;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(acquire(&a), HELD);
        assert_true(a.token > last);
        last = a.token;
        assert_int_equal(release(&a), HELD);
        assert_int_equal(seen_lease("job").token, last);
        assert_string_equal(listed("", false), "");
    }
}

/* ---- running out ----------------------------------------------------------------------------- */

static void what_has_run_out_may_be_taken(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    a.ttl_ms = SHORT_MS;
    assert_int_equal(acquire(&a), HELD);
    until_over("job");
    assert_int_equal(acquire(&z), HELD);
    assert_true(z.token > a.token);
    assert_int_equal(release(&a), LOST);
    assert_int_equal(renew(&z), HELD);
}

static void what_has_run_out_is_not_renewed(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.ttl_ms = SHORT_MS;
    assert_int_equal(acquire(&a), HELD);
    uint64_t first = a.token;
    until_over("job");
    a.ttl_ms = LONG_MS;
    assert_int_equal(renew(&a), LOST); /* though nobody has taken it */
    assert_int_equal(a.left_ms, 0);
    assert_false(seen_lease("job").held);
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > first); /* it is another lease */
    struct onerow_lease_claim old = claim_of("a", "job");
    old.token = first;
    assert_int_equal(release(&old), LOST);
    assert_int_equal(renew(&a), HELD);
}

static void what_has_run_out_may_be_released(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    a.ttl_ms = SHORT_MS;
    assert_int_equal(renew(&a), HELD);
    until_over("job");
    assert_int_equal(release(&a), HELD); /* and the waiter has it at once */
    assert_true(seen_lease("job").held);
    assert_int_equal(line_up(&z), HELD);
    assert_int_equal(release(&z), HELD);
    assert_int_equal(acquire(&a), HELD);
    until_over("job");
    assert_int_equal(release(&a), HELD);
    assert_int_equal(release(&a), LOST);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void places_are_given_in_order(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim two = claim_of("2", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    assert_int_equal(one.place, 1);
    assert_true(one.left_ms > 0 && one.left_ms <= LONG_MS);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(two.place, 2);
    assert_int_equal(line_up(&one), WAITING); /* and keeps it */
    assert_int_equal(one.place, 1);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(two.place, 2);
    assert_int_equal(acquire(&out), TAKEN);
    assert_int_equal(out.place, 2); /* so many wait */
    assert_string_equal(listed("", false), "job {\"who\":\"a\"}+2,");
}

static void release_hands_over_in_order(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim two = claim_of("2", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(release(&a), HELD);
    assert_true(or_span_is(seen_lease("job").who, one.who.data)); /* it has not asked yet */
    assert_int_equal(seen_lease("job").waiters, 1);
    assert_int_equal(acquire(&out), TAKEN);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(two.place, 1);
    assert_int_equal(line_up(&one), HELD);
    assert_true(one.token > a.token);
    assert_int_equal(seen_lease("job").waiters, 1); /* confirming is nobody else's business */
    assert_int_equal(release(&a), LOST);
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(release(&one), HELD);
    assert_true(or_span_is(seen_lease("job").who, two.who.data));
    assert_int_equal(line_up(&two), HELD);
    assert_true(two.token > one.token);
    assert_int_equal(release(&two), HELD);
    assert_string_equal(listed("", false), "");
}

/* Who is woken knows the token, and may confirm by renewing. */
static void renewing_confirms_what_was_handed_over(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    z.patience_ms = 100000;
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(release(&a), HELD);
    struct onerow_lease_view view = seen_lease("job");
    assert_true(view.held && view.left_ms <= 100000); /* for its patience at first */
    z.token = view.token;
    assert_int_equal(renew(&z), HELD);
    assert_true(seen_lease("job").left_ms > 100000);
    assert_int_equal(seen_lease("job").token, view.token);
}

static void a_hand_over_is_for_no_more_than_was_asked(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    z.ttl_ms = 100000;
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(release(&a), HELD);
    assert_true(seen_lease("job").left_ms <= 100000);
}

/* It is dead, as far as anybody can tell: the lease waits for it no longer than it had to wait. */
static void who_does_not_confirm_loses_it(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim dead = claim_of("dead", "job");
    struct onerow_lease_claim next = claim_of("next", "job");
    assert_int_equal(acquire(&a), HELD);
    dead.ttl_ms = SHORT_MS;
    assert_int_equal(line_up(&dead), WAITING);
    assert_int_equal(line_up(&next), WAITING);
    assert_int_equal(release(&a), HELD);
    while (line_up(&next) == WAITING) {
        assert_int_equal(next.place, 1);
    }
    assert_true(next.token > a.token + 1); /* the one between was given, too */
    dead.token = a.token + 1;
    assert_int_equal(renew(&dead), LOST);
}

static void nobody_overtakes_a_live_waiter(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim two = claim_of("2", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    assert_int_equal(line_up(&two), WAITING);
    a.ttl_ms = SHORT_MS;
    assert_int_equal(renew(&a), HELD);
    until_over("job");
    assert_int_equal(acquire(&out), TAKEN);
    assert_int_equal(out.left_ms, 0);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(two.place, 2);
    assert_int_equal(line_up(&a), WAITING); /* who had it comes last */
    assert_int_equal(a.place, 3);
    assert_int_equal(line_up(&one), HELD);
    assert_true(one.token > a.token);
}

static void who_waits_no_longer_is_passed_over(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim gone = claim_of("gone", "job");
    struct onerow_lease_claim next = claim_of("next", "job");
    assert_int_equal(acquire(&a), HELD);
    gone.patience_ms = SHORT_MS;
    assert_int_equal(line_up(&gone), WAITING);
    assert_int_equal(line_up(&next), WAITING);
    until_waiters("job", 1);
    assert_int_equal(line_up(&next), WAITING);
    assert_int_equal(next.place, 1);
    assert_int_equal(release(&a), HELD);
    assert_true(or_span_is(seen_lease("job").who, next.who.data));
    assert_int_equal(seen_lease("job").waiters, 0);
    assert_int_equal(line_up(&next), HELD);
}

static void when_nobody_waits_any_longer_it_is_free(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim gone = claim_of("gone", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    gone.patience_ms = SHORT_MS;
    assert_int_equal(line_up(&gone), WAITING);
    until_waiters("job", 0);
    assert_int_equal(release(&a), HELD);
    assert_false(seen_lease("job").held);
    assert_int_equal(acquire(&out), HELD);
}

/* An acquire extends the patience, and may change what was asked for. */
static void asking_again_keeps_alive(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    z.patience_ms = SHORT_MS;
    assert_int_equal(line_up(&z), WAITING);
    z.patience_ms = LONG_MS;
    z.who = OR_SPAN("{\"who\":\"new\"}");
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(seen_lease("job").waiters, 1);
    assert_int_equal(release(&a), HELD);
    assert_true(or_span_is(seen_lease("job").who, "{\"who\":\"new\"}"));
    assert_int_equal(line_up(&z), HELD);
}

/* ---- leaving the queue ----------------------------------------------------------------------- */

static void who_cancels_is_out_of_the_queue(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim two = claim_of("2", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(cancel(&one), LOST);
    assert_int_equal(cancel(&one), LOST);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(two.place, 1);
    assert_int_equal(renew(&a), HELD); /* it is nobody else's business */
    assert_int_equal(release(&a), HELD);
    assert_int_equal(line_up(&two), HELD);
}

/* The answer to an acquire was lost: nobody knows whether it has the lease, and under which token.
 */
static void cancelling_releases_whatever_the_nonce_has(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim two = claim_of("2", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    assert_int_equal(line_up(&two), WAITING);
    assert_int_equal(release(&a), HELD);
    one.token = 0;
    assert_int_equal(cancel(&one), LOST);
    assert_true(or_span_is(seen_lease("job").who, two.who.data));
    assert_int_equal(line_up(&two), HELD);
    two.token = 0;
    assert_int_equal(cancel(&two), LOST);
    assert_false(seen_lease("job").held);
    assert_int_equal(acquire(&a), HELD);
}

/* ---- waking ---------------------------------------------------------------------------------- */

/* The only message that has come, if any did. */
static bool heard(const struct or_wake *wake, struct or_wake_message *message)
{
    struct or_wake_message more;
    bool any = or_wake_take(wake, message);
    assert_false(or_wake_take(wake, &more));
    return any;
}

struct ears {
    struct or_wake one;
    struct or_wake two;
    struct onerow_lease_claim a;
    struct onerow_lease_claim first;
    struct onerow_lease_claim second;
};

/* One holds, two wait, and can be woken. */
static void open_ears(struct ears *ears)
{
    ears->a = claim_of("a", "job");
    ears->first = claim_of("1", "job");
    ears->second = claim_of("2", "job");
    assert_true(or_wake_open(&ears->one) && ears->one.fd >= 0);
    assert_true(or_wake_open(&ears->two) && ears->two.fd >= 0);
    ears->first.wake = or_span(ears->one.address);
    ears->second.wake = or_span(ears->two.address);
    ears->first.patience_ms = 100000;
    assert_int_equal(acquire(&ears->a), HELD);
    assert_int_equal(line_up(&ears->first), WAITING);
    assert_int_equal(line_up(&ears->second), WAITING);
}

static void close_ears(struct ears *ears)
{
    or_wake_close(&ears->one);
    or_wake_close(&ears->two);
}

static void assert_heard(const struct ears *ears, uint64_t before_ms)
{
    struct or_wake_message message = {0};
    assert_true(heard(&ears->one, &message));
    assert_memory_equal(message.nonce, ears->first.nonce, ONEROW_NONCE);
    assert_int_equal(message.token, seen_lease("job").token);
    assert_true(message.token > ears->a.token);
    assert_int_equal(message.granted_ms, 100000);
    assert_true(message.sent_ms >= before_ms && message.sent_ms <= or_wake_now_ms());
    assert_false(heard(&ears->two, &message));
}

static void a_release_wakes_the_one_who_gets_it(void **state)
{
    (void)state;
    struct ears ears;
    struct or_wake_message message;
    open_ears(&ears);
    assert_false(heard(&ears.one, &message));
    uint64_t before_ms = or_wake_now_ms();
    assert_int_equal(release(&ears.a), HELD);
    assert_heard(&ears, before_ms);
    assert_int_equal(release(&ears.a), LOST);
    assert_false(heard(&ears.one, &message));
    assert_int_equal(line_up(&ears.first), HELD);
    assert_int_equal(renew(&ears.first), HELD);
    assert_false(heard(&ears.two, &message));
    close_ears(&ears);
}

static void cancelling_wakes_the_next_one(void **state)
{
    (void)state;
    struct ears ears;
    open_ears(&ears);
    uint64_t before_ms = or_wake_now_ms();
    assert_int_equal(cancel(&ears.a), LOST);
    assert_heard(&ears, before_ms);
    close_ears(&ears);
}

static void force_wakes_the_next_one(void **state)
{
    (void)state;
    struct ears ears;
    open_ears(&ears);
    uint64_t before_ms = or_wake_now_ms();
    force("job", "me");
    assert_status(&b, ONEROW_OK);
    assert_heard(&ears, before_ms);
    close_ears(&ears);
}

/* Addresses come from a table that others write, too. */
static void odd_addresses_do_no_harm(void **state)
{
    (void)state;
    static const char longest[] =
        "x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
    const struct onerow_span addresses[] = {
        OR_SPAN("x"), {longest, ONEROW_LEASE_WAKE_MAX}, OR_SPAN("/"), {NULL, 0}};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        const char *name = text(&b, "job %zu", i);
        struct onerow_lease_claim a = claim_of("a", name);
        struct onerow_lease_claim z = claim_of("z", name);
        z.wake = addresses[i];
        assert_int_equal(acquire(&a), HELD);
        assert_int_equal(line_up(&z), WAITING);
        assert_int_equal(release(&a), HELD);
        assert_int_equal(acquire(&z), HELD);
    }
}

static void nothing_is_told(void *context, const unsigned char nonce[ONEROW_NONCE])
{
    (void)nonce;
    ++*(unsigned *)context;
}

static void descriptors_do_no_harm(void **state)
{
    (void)state;
    unsigned told = 0;
    const struct onerow_lease_ops *ops = c->type->leases;
    assert_true(ops->wake_fd(c) >= -1);
    b.status = ops->woken(c, nothing_is_told, &told, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(told, 0);
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    int keep = ops->keep_fd(c);
    assert_true(keep >= -1);
    assert_true(keep < 0 || (fcntl(keep, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(ops->keep_fd(c), keep);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void a_token_is_above_the_floor(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.floor = 4711;
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > 4711);
    assert_int_equal(release(&a), HELD);
    uint64_t last = a.token;
    a.floor = 10; /* a low one lowers nothing */
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > last);
    assert_int_equal(release(&a), HELD);
    a.floor = ONEROW_LEASE_TOKEN_MAX - 1;
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token >= ONEROW_LEASE_TOKEN_MAX);
    assert_int_equal(release(&a), HELD);
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > ONEROW_LEASE_TOKEN_MAX);
    struct onerow_lease_claim other = claim_of("a", "other");
    assert_int_equal(acquire(&other), HELD);
}

/* Between two of its calls the holder has seen a higher token in the target. */
static void a_holder_may_raise_its_floor(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t first = a.token;
    a.floor = first + 100;
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > first + 100);
    uint64_t second = a.token;
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(a.token, second);
    a.token = first;
    assert_int_equal(release(&a), LOST);
}

static void a_waiters_floor_counts(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    z.floor = a.token + 1000;
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(release(&a), HELD);
    assert_true(seen_lease("job").token > z.floor);
    uint64_t token = seen_lease("job").token;
    assert_int_equal(line_up(&z), HELD);
    assert_int_equal(z.token, token);
}

/* More than any block of tokens that is reserved at once. */
static void thousands_of_tokens_rise(void **state)
{
    (void)state;
    struct onerow_lease_claim claim = claim_of("a", "job");
    uint64_t last = 0;
    for (unsigned i = 0; i < 2500; i++) {
        assert_int_equal(acquire(&claim), HELD);
        assert_true(claim.token > last);
        last = claim.token;
        assert_int_equal(release(&claim), HELD);
    }
}

static void tokens_outlive_the_coordinators_close(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct onerow_lease_claim claim = claim_of("a", "job");
        assert_int_equal(acquire(&claim), HELD);
        assert_true(claim.token > last);
        last = claim.token;
        assert_int_equal(release(&claim), HELD);
        close_it(c);
        c = another();
        assert_int_equal(seen_lease("job").token, last);
    }
}

static int acquire_and_die(void *context)
{
    uint64_t *token = context;
    struct onerow_coordinator *at = NULL;
    struct onerow_error error;
    struct onerow_lease_claim claim = {
        .name = OR_SPAN("job"), .nonce = "child", .ttl_ms = SHORT_MS, .patience_ms = SHORT_MS};
    while (open_at(url, &at) != ONEROW_OK ||
           at->type->leases->acquire(at, &claim, &error) != ONEROW_OK ||
           claim.answer != ONEROW_LEASE_HELD) {
        close_it(at);
        at = NULL;
    }
    *token = claim.token;
    _Exit(0); /* nothing is closed */
}

static void tokens_outlive_processes(void **state)
{
    (void)state;
    uint64_t *token = share(sizeof *token);
    uint64_t last = 0;
    close_it(c);
    c = NULL;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(child_code(child(acquire_and_die, token)), 0);
        assert_true(*token > last);
        last = *token;
    }
    c = another();
    struct onerow_lease_claim claim = claim_of("a", "job");
    until_over("job");
    assert_int_equal(acquire(&claim), HELD);
    assert_true(claim.token > last);
    give_back(token, sizeof *token);
}

/* ---- force ----------------------------------------------------------------------------------- */

static void a_lease_may_be_taken_away(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    struct onerow_lease_forced forced = force("job", "an operator: it hangs");
    assert_status(&b, ONEROW_OK);
    assert_true(or_span_is(forced.who, a.who.data));
    assert_int_equal(forced.token, a.token);
    assert_true(forced.at_ms >= seen_lease("job").since_ms);
    assert_false(seen_lease("job").held);
    uint64_t token = a.token;
    assert_int_equal(renew(&a), LOST);
    a.token = token;
    assert_int_equal(release(&a), LOST);
    force("job", "again");
    assert_status(&b, ONEROW_ABSENT);
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > token);
}

static void what_is_taken_away_goes_to_the_first_in_line(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim one = claim_of("1", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&one), WAITING);
    force("job", "me");
    assert_status(&b, ONEROW_OK);
    assert_int_equal(acquire(&out), TAKEN);
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(line_up(&one), HELD);
    assert_true(one.token > a.token);
}

static void what_nobody_holds_is_not_taken_away(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    a.ttl_ms = SHORT_MS;
    assert_int_equal(acquire(&a), HELD);
    until_over("job");
    force("job", "me");
    assert_status(&b, ONEROW_ABSENT);
    force("other", "me");
    assert_status(&b, ONEROW_ABSENT);
}

static bool write_forced(void *context, const struct onerow_lease_forced *forced)
{
    struct or_buffer *all = context;
    assert_true(forced->token > 0 && forced->at_ms > 1500000000000U);
    or_buffer_span(all, forced->name);
    or_buffer_text(all, ":");
    or_buffer_span(all, forced->who);
    or_buffer_text(all, ":");
    or_buffer_span(all, forced->by);
    or_buffer_text(all, ",");
    return !or_span_is(forced->by, "stop");
}

static const char *trail(const char *prefix)
{
    struct or_buffer all;
    or_buffer_init(&all);
    b.status = c->type->leases->trail(c, or_span(prefix), write_forced, &all, &b.error);
    assert_status(&b, ONEROW_OK);
    const char *kept = text(&b, "%s", or_buffer_cstr(&all));
    or_buffer_finish(&all);
    return kept;
}

static void force_as(const char *whose, const char *name, const char *by)
{
    struct onerow_lease_claim a = claim_of(whose, name);
    a.who = or_span(whose);
    assert_int_equal(acquire(&a), HELD);
    force(name, by);
    assert_status(&b, ONEROW_OK);
}

static void the_trail_keeps_what_was_taken_away(void **state)
{
    (void)state;
    assert_string_equal(trail(""), "");
    force_as("a", "job/1", "x");
    force_as("b", "job/2", "");
    force_as("", "other", "z \"'\\ \xc3\xa4");
    force_as("c", "job/1", "y");
    assert_string_equal(trail(""),
                        "job/1:c:y,other::z \"'\\ \xc3\xa4,job/2:b:,job/1:a:x,"); /* newest first */
    assert_string_equal(trail("job/"), "job/1:c:y,job/2:b:,job/1:a:x,");
    assert_string_equal(trail("job/1"), "job/1:c:y,job/1:a:x,");
    assert_string_equal(trail("job/11"), "");
    close_it(c);
    c = another();
    force_as("d", "last", "stop");
    assert_string_equal(trail(""), "last:d:stop,"); /* it ends when told */
    assert_string_equal(trail("job/1"), "job/1:c:y,job/1:a:x,");
}

/* ---- lists and names ------------------------------------------------------------------------- */

static uint64_t hold_as(const char *whose, const char *name)
{
    struct onerow_lease_claim a = claim_of(whose, name);
    a.who = or_span(whose);
    assert_int_equal(acquire(&a), HELD);
    return a.token;
}

static void let_go(const char *whose, const char *name, uint64_t token)
{
    struct onerow_lease_claim a = claim_of(whose, name);
    a.token = token;
    assert_int_equal(release(&a), HELD);
}

static void a_list_is_by_name(void **state)
{
    (void)state;
    assert_string_equal(listed("", true), "");
    for (const char *name = "dbeac"; *name; name++) {
        hold_as(text(&b, "%c", *name - 'a' + 'A'), text(&b, "%c", *name));
    }
    let_go("C", "c", seen_lease("c").token);
    assert_string_equal(listed("", false), "a A,b B,d D,e E,");
    assert_string_equal(listed("", true), "a A,b B,c -,d D,e E,");
}

static void what_has_run_out_is_listed_while_somebody_waits(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    a.ttl_ms = SHORT_MS;
    assert_int_equal(renew(&a), HELD);
    until_over("job");
    assert_string_equal(listed("", false), "job -+1,");
    assert_int_equal(cancel(&z), LOST);
    assert_string_equal(listed("", false), "");
}

static bool count_to_two(void *context, const struct onerow_lease_view *view)
{
    (void)view;
    return ++*(unsigned *)context < 2;
}

static void a_list_ends_when_told(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned i = 0; i < 5; i++) {
        hold_as("a", text(&b, "%u", i));
    }
    b.status = c->type->leases->list(c, OR_SPAN(""), false, count_to_two, &n, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(n, 2);
    assert_int_equal(
        renew(&(struct onerow_lease_claim){
            .name = OR_SPAN("0"), .nonce = "a", .ttl_ms = LONG_MS, .token = seen_lease("0").token}),
        HELD);
}

/* A prefix is text, not a pattern. */
static void prefixes_are_taken_literally(void **state)
{
    (void)state;
    static const char *const names[] = {"a%b", "a_b", "aXb", "a*b", "a?b", "a[x]b", "a\\b", "A%b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hold_as("h", names[i]);
    }
    assert_string_equal(listed("a%", false), "a%b h,");
    assert_string_equal(listed("a_", false), "a_b h,");
    assert_string_equal(listed("a*", false), "a*b h,");
    assert_string_equal(listed("a?", false), "a?b h,");
    assert_string_equal(listed("a[", false), "a[x]b h,");
    assert_string_equal(listed("a\\", false), "a\\b h,");
    assert_string_equal(listed("A", false), "A%b h,");
    assert_string_equal(listed("a%b", false), "a%b h,");
    assert_string_equal(listed("a%bc", false), "");
    force_as("z", "b%", "x");
    force_as("z", "bc", "x");
    assert_string_equal(trail("b%"), "b%:z:x,");
    assert_string_equal(trail("b_"), "");
}

static void names_are_any_text(void **state)
{
    (void)state;
    char longest[ONEROW_LEASE_NAME_MAX + 1];
    char almost[ONEROW_LEASE_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(almost, longest, sizeof almost);
    almost[sizeof almost - 2] = 'y';
    const char *const names[] = {
        " ",
        "a",
        "a ",
        " a",
        "A",
        "'\"\\%$1{}",
        "\xc3\xa9",  /* e with an acute accent, composed */
        "e\xcc\x81", /* and of two characters */
        "\xc3\x9f",  /* sharp s */
        "ss",
        "\xef\xbb\xbfx", /* a byte order mark */
        "\xe2\x80\x8b",  /* nothing to be seen */
        "\xf0\x9f\x98\x80",
        "\xf4\x8f\xbf\xbf",
        "\xef\xbf\xbe",
        longest,
        almost,
    };
    size_t n = sizeof names / sizeof *names;
    for (size_t i = 0; i < n; i++) {
        hold_as(text(&b, "holder %zu", i), names[i]);
    }
    for (size_t i = 0; i < n; i++) {
        assert_true(or_span_is(seen_lease(names[i]).who, text(&b, "holder %zu", i)));
    }
    let_go("holder 4", "A", seen_lease("A").token);
    assert_true(seen_lease("a").held);
}

static void descriptions_of_any_size(void **state)
{
    (void)state;
    char large[ONEROW_LEASE_WHO_MAX + 1];
    memset(large, 'w', sizeof large - 1);
    memcpy(large, "{\"n\":\"\\\"'\xc3\xa9 ", 12);
    large[sizeof large - 1] = '\0';
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    a.who = or_span(large);
    z.who = or_span(large);
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    assert_true(or_span_is(seen_lease("job").who, large));
    struct onerow_lease_forced forced = force("job", large);
    assert_status(&b, ONEROW_OK);
    assert_true(or_span_is(forced.who, large));
    assert_string_equal(trail("job"), text(&b, "job:%s:%s,", large, large));
    assert_true(or_span_is(seen_lease("job").who, large)); /* the waiter's, by now */
    z.who = OR_SPAN("");
    assert_int_equal(cancel(&z), LOST);
    assert_int_equal(acquire(&z), HELD);
    assert_int_equal(seen_lease("job").who.len, 0);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MANY 1000U

static void a_thousand_wait_in_order(void **state)
{
    (void)state;
    struct onerow_lease_claim *all = calloc(MANY, sizeof *all);
    struct onerow_lease_claim a = claim_of("a", "job");
    struct or_wake *ears = calloc(MANY, sizeof *ears);
    assert_int_equal(acquire(&a), HELD);
    for (unsigned i = 0; i < MANY; i++) {
        all[i] = claim_of(text(&b, "%u", i), "job");
        assert_true(or_wake_open(&ears[i]));
        all[i].wake = or_span(ears[i].address);
        assert_int_equal(line_up(&all[i]), WAITING);
        assert_int_equal(all[i].place, i + 1);
    }
    assert_int_equal(seen_lease("job").waiters, MANY);
    assert_int_equal(release(&a), HELD);
    for (unsigned i = 0; i < MANY; i++) {
        struct or_wake_message message = {0};
        assert_true(heard(&ears[i], &message));
        assert_true(message.token > (i ? all[i - 1].token : a.token));
        all[i].token = message.token;
        or_wake_close(&ears[i]);
        assert_int_equal(release(&all[i]), HELD);
    }
    assert_string_equal(listed("", false), "");
    free(all);
    free(ears);
}

static void hundreds_of_leases(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 600; i++) {
        hold_as("a", text(&b, "many/%u", i));
    }
    unsigned n = 0;
    for (const char *at = listed("many/", false); (at = strchr(at, ',')); at++) {
        n++;
    }
    assert_int_equal(n, 600);
}

/* ---- shared records -------------------------------------------------------------------------- */

struct shared {
    struct onerow_span becomes; /* data NULL: stays */
    const char *was;            /* copied */
    size_t was_len;
    uint64_t now_ms;
};

static bool rule(void *context, struct onerow_span body, uint64_t now, struct or_buffer *becomes)
{
    struct shared *shared = context;
    shared->was = or_arena_copy(&b.arena, body).data;
    shared->was_len = body.len;
    shared->now_ms = now;
    or_buffer_span(becomes, shared->becomes);
    return shared->becomes.data;
}

static struct shared share_at(struct onerow_coordinator *at, const char *name,
                              struct onerow_span becomes)
{
    struct shared shared = {.becomes = becomes};
    b.status = at->type->leases->share(at, or_span(name), rule, &shared, &b.error);
    assert_status(&b, ONEROW_OK);
    return shared;
}

static void a_shared_record_is_changed_by_a_rule(void **state)
{
    (void)state;
    static const struct onerow_span stays = {NULL, 0};
    struct onerow_coordinator *other = another();
    assert_int_equal(share_at(c, "rate", stays).was_len, 0);
    assert_int_equal(share_at(c, "rate", OR_SPAN("one")).was_len, 0);
    assert_string_equal(share_at(other, "rate", OR_SPAN("two")).was, "one");
    assert_string_equal(share_at(c, "rate", stays).was, "two");
    assert_string_equal(share_at(c, "rate", stays).was, "two");
    assert_int_equal(share_at(c, "rate 2", OR_SPAN("x")).was_len, 0);
    assert_string_equal(share_at(c, "rate", OR_SPAN("")).was, "two");
    assert_int_equal(share_at(other, "rate", OR_SPAN("three")).was_len, 0);
    assert_string_equal(listed("", true), ""); /* it is no lease */
    struct onerow_lease_claim a = claim_of("a", "rate");
    assert_int_equal(acquire(&a), HELD);
    assert_string_equal(share_at(c, "rate", stays).was, "three");
    close_it(other);
}

static void a_shared_record_is_any_bytes(void **state)
{
    (void)state;
    char *large = malloc(ONEROW_SHARED_MAX);
    for (size_t i = 0; i < ONEROW_SHARED_MAX; i++) {
        large[i] = (char)(i * 2654435761U >> 13);
    }
    share_at(c, "rate", (struct onerow_span){large, ONEROW_SHARED_MAX});
    struct shared shared = share_at(c, "rate", OR_SPAN("\0\xff\0"));
    assert_int_equal(shared.was_len, ONEROW_SHARED_MAX);
    assert_memory_equal(shared.was, large, ONEROW_SHARED_MAX);
    shared = share_at(c, "rate", OR_SPAN("x"));
    assert_int_equal(shared.was_len, 3);
    assert_memory_equal(shared.was, "\0\xff\0", 3);
    free(large);
}

static void the_shared_clock_goes_on(void **state)
{
    (void)state;
    struct onerow_coordinator *other = another();
    uint64_t last = share_at(c, "rate", OR_SPAN("x")).now_ms;
    uint64_t end = or_wake_now_ms() + 60000;
    uint64_t first = last;
    for (unsigned i = 0; last == first || i < 50; i++) {
        uint64_t now = share_at(i % 2 ? c : other, "rate", OR_SPAN("x")).now_ms;
        assert_true(now >= last && or_wake_now_ms() < end);
        last = now;
    }
    close_it(other);
}

/* ---- the suite ------------------------------------------------------------------------------- */

static const struct ledger_test suite[] = {
#define RUNS(name)                                                                                 \
    {                                                                                              \
#name, name, false                                                                         \
    }
#define LASTS(name)                                                                                \
    {                                                                                              \
#name, name, true                                                                          \
    }
    RUNS(the_calls_are_all_there),
    RUNS(a_free_lease_is_had),
    RUNS(another_one_is_turned_away),
    RUNS(names_are_leases_of_their_own),
    RUNS(the_nonce_finds_its_lease_again),
    RUNS(nonces_are_compared_to_their_end),
    RUNS(a_repeated_acquire_runs_anew),
    RUNS(renewing_runs_anew),
    RUNS(the_longest_times),
    RUNS(what_is_released_is_free),
    RUNS(a_second_release_touches_nothing),
    RUNS(the_token_must_be_right),
    RUNS(nothing_is_made_but_by_acquire),
    RUNS(a_lease_stays_in_the_list_when_it_is_free),
    RUNS(what_has_run_out_may_be_taken),
    RUNS(what_has_run_out_is_not_renewed),
    RUNS(what_has_run_out_may_be_released),
    RUNS(places_are_given_in_order),
    RUNS(release_hands_over_in_order),
    RUNS(renewing_confirms_what_was_handed_over),
    RUNS(a_hand_over_is_for_no_more_than_was_asked),
    RUNS(who_does_not_confirm_loses_it),
    RUNS(nobody_overtakes_a_live_waiter),
    RUNS(who_waits_no_longer_is_passed_over),
    RUNS(when_nobody_waits_any_longer_it_is_free),
    RUNS(asking_again_keeps_alive),
    RUNS(who_cancels_is_out_of_the_queue),
    RUNS(cancelling_releases_whatever_the_nonce_has),
    RUNS(a_release_wakes_the_one_who_gets_it),
    RUNS(cancelling_wakes_the_next_one),
    RUNS(force_wakes_the_next_one),
    RUNS(odd_addresses_do_no_harm),
    RUNS(descriptors_do_no_harm),
    RUNS(a_token_is_above_the_floor),
    RUNS(a_holder_may_raise_its_floor),
    RUNS(a_waiters_floor_counts),
    RUNS(thousands_of_tokens_rise),
    RUNS(tokens_outlive_the_coordinators_close),
    LASTS(tokens_outlive_processes),
    RUNS(a_lease_may_be_taken_away),
    RUNS(what_is_taken_away_goes_to_the_first_in_line),
    RUNS(what_nobody_holds_is_not_taken_away),
    RUNS(the_trail_keeps_what_was_taken_away),
    RUNS(a_list_is_by_name),
    RUNS(what_has_run_out_is_listed_while_somebody_waits),
    RUNS(a_list_ends_when_told),
    RUNS(prefixes_are_taken_literally),
    RUNS(names_are_any_text),
    RUNS(descriptions_of_any_size),
    RUNS(a_thousand_wait_in_order),
    RUNS(hundreds_of_leases),
    RUNS(a_shared_record_is_changed_by_a_rule),
    RUNS(a_shared_record_is_any_bytes),
    RUNS(the_shared_clock_goes_on),
};

int main(void)
{
    return run_lease_tests("lease", suite, sizeof suite / sizeof *suite, lease_start, ledger_stop);
}
