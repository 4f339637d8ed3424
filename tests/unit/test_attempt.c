/* SPDX-License-Identifier: Apache-2.0
 *
 * core/attempt.c, story by story. A story has a small ledger that does what a swap says and a store
 * that answers what the story says; it walks an attempt from command to command. What many of them
 * do to each other is the simulator's (sim/).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/support/story.h"

#define P 1000U
#define T 500U
#define R 4000U

static const struct or_retry_limits RETRY = {
    .classes = {[OR_RETRY_CONFLICT] = {100, 1000, 5},
                [OR_RETRY_RATE] = {100, 1000, 0},
                [OR_RETRY_UNCERTAIN] = {100, 1000, 5},
                [OR_RETRY_LOOKUP] = {100, 1000, 5},
                [OR_RETRY_BUSY] = {100, 1000, 5}},
    .total_ms = 600000,
};

struct story {
    struct or_attempt attempt;
    struct or_attempt_options options;
    struct or_payload own;
    struct or_command command;
    struct or_event event;
    struct story_ledger ledger;
};

static void set_up(struct story *s)
{
    memset(s, 0, sizeof *s);
    s->options = (struct or_attempt_options){
        .may_create = true,
        .bounds = {.pause = P,
                   .request = T,
                   .life = R,
                   .lag = 300,
                   .skew = 200,
                   .guard = 100,
                   .lease = 2000,
                   .poll = 400},
        .retry = &RETRY,
    };
    s->own = story_payload("mine");
    s->ledger.now_ms = 100000;
}

static void step(struct story *s, enum or_answer answer)
{
    s->event.answer = answer;
    s->event.now_ms = s->ledger.now_ms;
    s->event.ledger_ms = s->ledger.now_ms;
    or_attempt_step(&s->attempt, &s->event, &s->command);
    uint64_t random = s->event.random;
    memset(&s->event, 0, sizeof s->event);
    s->event.random = random + 7919;
}

static void start_with(struct story *s, const struct or_payload *own, struct onerow_span spare)
{
    or_attempt_init(&s->attempt, &s->options, OR_SPAN("key"), own, 77, spare);
    step(s, OR_ANSWER_OK);
}

static void start(struct story *s)
{
    start_with(s, &s->own, (struct onerow_span){0});
}

#define expect(s, wanted) assert_int_equal((s)->command.what, wanted)

/* READ, answered from the ledger. */
static void reads(struct story *s)
{
    expect(s, OR_DO_READ);
    story_read(&s->ledger, &s->command, &s->event);
    step(s, OR_ANSWER_OK);
}

/* What the ledger makes of the commanded swap. */
static enum or_answer swap_in_ledger(struct story *s)
{
    expect(s, OR_DO_SWAP);
    return story_swap(&s->ledger, s->command.swap);
}

static void swaps(struct story *s, enum or_key_state becomes)
{
    assert_int_equal(swap_in_ledger(s), OR_ANSWER_OK);
    assert_int_equal(s->ledger.key.state, becomes);
    step(s, OR_ANSWER_OK);
}

static void swap_is_refused(struct story *s)
{
    assert_int_equal(swap_in_ledger(s), OR_ANSWER_REFUSED);
    step(s, OR_ANSWER_REFUSED);
}

/* It happens, and nobody is told. */
static void swap_reply_is_lost(struct story *s)
{
    assert_int_equal(swap_in_ledger(s), OR_ANSWER_OK);
    step(s, OR_ANSWER_UNCERTAIN);
}

static void waits(struct story *s)
{
    expect(s, OR_DO_WAIT);
    assert_true(s->command.wait_ms > 0);
    s->ledger.now_ms += s->command.wait_ms;
    step(s, OR_ANSWER_OK);
}

/* Waits, several times if need be, until the ledger's clock is at least `until`. */
static void waits_until(struct story *s, uint64_t until)
{
    assert_int_equal(s->command.what, OR_DO_WAIT);
    while (s->command.what == OR_DO_WAIT) {
        waits(s);
        reads(s);
    }
    assert_true(s->ledger.now_ms >= until);
}

static void probes(struct story *s, size_t n)
{
    static struct or_probe_page found[4];
    expect(s, OR_DO_PROBE);
    for (size_t i = 0; i < n; i++) {
        found[i] = (struct or_probe_page){.id = story_pages[i], .created_ms = 10 + i};
    }
    s->event.pages = found;
    s->event.n_pages = n;
    step(s, OR_ANSWER_OK);
}

static void creates(struct story *s, size_t page)
{
    expect(s, OR_DO_CREATE);
    s->event.page = story_pages[page];
    step(s, OR_ANSWER_OK);
}

static void publishes(struct story *s, enum or_answer answer)
{
    expect(s, OR_DO_PUBLISH);
    step(s, answer);
}

static void writes(struct story *s, enum or_answer answer)
{
    expect(s, OR_DO_WRITE);
    step(s, answer);
}

static void gets(struct story *s, bool in_trash, bool has_key)
{
    expect(s, OR_DO_GET);
    s->event.in_trash = in_trash;
    s->event.has_key = has_key;
    step(s, OR_ANSWER_OK);
}

static void settles(struct story *s, enum onerow_outcome outcome, enum or_reason reason)
{
    expect(s, OR_DO_SETTLE);
    assert_int_equal(s->command.outcome, outcome);
    assert_int_equal(s->command.reason, reason);
}

/* The ledger holds a published page with somebody's payload. */
static void is_done(struct story *s, const char *text)
{
    struct or_payload held = story_payload(text);
    s->ledger.key = (struct or_key_record){.revision = 5,
                                           .state = OR_KEY_DONE,
                                           .since_ms = 1000,
                                           .known = true,
                                           .generation = 0,
                                           .version = 1,
                                           .page = story_pages[0],
                                           .order = held.order};
    memcpy(s->ledger.key.fingerprint, held.fingerprint, sizeof held.fingerprint);
    s->ledger.pages[0] = (struct or_page_record){1, OR_PAGE_BOUND, 1000, OR_SPAN("key"), 0};
}

/* Somebody else's payload is pending. */
static void is_pending(struct story *s, enum or_key_state state, const char *text)
{
    is_done(s, "before");
    s->ledger.key.state = state;
    s->ledger.key.version = state == OR_KEY_BOUND ? 1 : 2;
    s->ledger.key.known = state == OR_KEY_WRITING;
    s->ledger.key.since_ms = s->ledger.now_ms;
    s->ledger.key.nonce = (struct or_nonce){5, 1};
    s->ledger.key.pending = story_payload(text);
    s->ledger.taken[s->ledger.n_taken] = s->ledger.key.nonce;
    s->ledger.takes[s->ledger.n_taken++] =
        (struct or_attempt_record){OR_ATTEMPT_TAKEN, 0, s->ledger.key.version};
}

/* ---- a new key -------------------------------------------------------------------------- */

static void up_to_bound(struct story *s)
{
    start(s);
    reads(s);
    probes(s, 0);
    creates(s, 0);
    swaps(s, OR_KEY_BOUND);
}

static void created(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    assert_true(or_span_is(s.command.payload->text, "mine"));
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
    assert_true(or_span_is(s.command.page, "p1"));
    assert_null(s.command.spare.data);
    assert_false(s.ledger.key.doubtful);
    assert_null(s.ledger.key.pending.text.data);
    assert_memory_equal(s.ledger.key.fingerprint, s.own.fingerprint, OR_FINGERPRINT_LEN);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
}

static void a_spare_blank_is_used(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start_with(&s, &s.own, story_pages[2]);
    reads(&s);
    probes(&s, 0);
    swaps(&s, OR_KEY_BOUND);
    assert_true(or_span_is(s.ledger.key.page, "p3"));
}

static void a_failed_look_up_creates_nothing(void **state)
{
    static const enum or_answer FAILURES[] = {OR_ANSWER_FAILED, OR_ANSWER_UNCERTAIN,
                                              OR_ANSWER_CONFLICT, OR_ANSWER_NOT_FOUND};
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    for (size_t i = 0; i < 4; i++) {
        reads(&s);
        expect(&s, OR_DO_PROBE);
        step(&s, FAILURES[i]);
        waits(&s);
    }
    reads(&s);
    expect(&s, OR_DO_PROBE);
    step(&s, OR_ANSWER_FAILED);
    settles(&s, ONEROW_REFUSED, OR_REASON_GAVE_UP);
}

static void the_whole_retry_after(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    expect(&s, OR_DO_PROBE);
    s.event.retry_after_ms = 60000;
    step(&s, OR_ANSWER_RATE);
    expect(&s, OR_DO_WAIT);
    assert_true(s.command.wait_ms >= 60000);
}

static void a_blank_whose_answer_was_lost(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_CREATE);
    struct or_nonce first = s.command.nonce;
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_CREATE);
    assert_false(or_nonce_equal(first, s.command.nonce)); /* two blanks, two names */
}

static void a_blank_is_refused(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_CREATE);
    step(&s, OR_ANSWER_REFUSED);
    settles(&s, ONEROW_REFUSED, OR_REASON_REFUSED);
}

static void nothing_is_created_by_a_suspect_ledger(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.may_create = false;
    start(&s);
    reads(&s);
    probes(&s, 0);
    settles(&s, ONEROW_REFUSED, OR_REASON_SUSPECT);
}

static void a_given_up_page_may_still_be_written(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.key = (struct or_key_record){.revision = 9,
                                          .state = OR_KEY_ABSENT,
                                          .generation = 3,
                                          .doubtful = true,
                                          .since_ms = s.ledger.now_ms};
    start(&s);
    reads(&s);
    waits_until(&s, 100000 + P + T + R);
    probes(&s, 0);
    creates(&s, 0);
    swaps(&s, OR_KEY_BOUND);
    assert_int_equal(s.ledger.key.generation, 3);
    assert_false(s.ledger.key.doubtful);
}

/* ---- the claim's reply is lost -------------------------------------------------------------- */

static void bind_reply_lost(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    swap_reply_is_lost(&s);
    waits(&s);
    expect(&s, OR_DO_READ);
    assert_int_equal(s.command.nonce.number, 77);
    reads(&s);
    publishes(&s, OR_ANSWER_OK); /* within P/2: no trace is needed */
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void bind_reply_lost_and_late(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    swap_reply_is_lost(&s);
    s.ledger.now_ms += P;
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_BOUND); /* MARK: the first write is late */
    assert_true(s.ledger.key.doubtful);
    assert_true(s.ledger.key.since_ms == s.ledger.now_ms);
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    assert_true(s.ledger.key.doubtful);
    assert_true(or_span_is(s.ledger.key.pending.text, "mine")); /* kept for the healer */
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void bind_reply_lost_and_a_helper_publishes(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    swap_reply_is_lost(&s);
    s.ledger.key.state = OR_KEY_DONE;
    s.ledger.key.known = true;
    memcpy(s.ledger.key.fingerprint, s.own.fingerprint, OR_FINGERPRINT_LEN);
    s.ledger.key.revision += 2;
    waits(&s);
    reads(&s);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE); /* the nonce was BIND's */
}

static void bind_lost_before_it_happened(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    expect(&s, OR_DO_SWAP);
    struct or_nonce first = s.attempt.swap.taken;
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_SWAP); /* the same blank under the same nonce: it can happen only once */
    assert_true(or_nonce_equal(first, s.attempt.swap.taken));
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void bind_lost_and_somebody_else_binds(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 1);
    is_done(&s, "theirs"); /* revision 5 */
    swap_is_refused(&s);
    reads(&s);
    expect(&s, OR_DO_SWAP);
    assert_int_equal(s.command.swap->becomes.state, OR_KEY_WRITING);
    swaps(&s, OR_KEY_WRITING);
    assert_int_equal(s.ledger.key.version, 2);
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
    assert_true(or_span_is(s.command.spare, "p2")); /* for the next attempt */
}

static void a_condemned_blank_is_not_bound(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.pages[0] = (struct or_page_record){.revision = 1, .state = OR_PAGE_CONDEMNED};
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    swap_is_refused(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 1); /* another one */
    swaps(&s, OR_KEY_BOUND);
    assert_true(or_span_is(s.ledger.key.page, "p2"));
}

/* ---- publishing -------------------------------------------------------------------------------
 */

static void a_second_write_leaves_a_trace(void **state)
{
    static const enum or_answer FAILURES[] = {OR_ANSWER_UNCERTAIN, OR_ANSWER_CONFLICT,
                                              OR_ANSWER_FAILED, OR_ANSWER_RATE};
    struct story s;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        set_up(&s);
        up_to_bound(&s);
        publishes(&s, FAILURES[i]);
        waits(&s);
        reads(&s);
        swaps(&s, OR_KEY_BOUND);
        assert_true(s.ledger.key.doubtful);
        publishes(&s, OR_ANSWER_OK);
        swaps(&s, OR_KEY_DONE);
        assert_true(s.ledger.key.doubtful);
        settles(&s, ONEROW_CREATED, OR_REASON_NONE);
    }
}

static void a_helper_was_faster_to_trace(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    s.ledger.key.revision++;
    s.ledger.key.doubtful = true;
    publishes(&s, OR_ANSWER_OK);
    swap_is_refused(&s);
    reads(&s);
    swaps(&s, OR_KEY_DONE); /* what was written need not be written again */
    assert_true(s.ledger.key.doubtful);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void not_found_proves_nothing(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_NOT_FOUND);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_GONE);
    assert_int_equal(s.ledger.key.state, OR_KEY_BOUND);
}

static void the_own_payload_is_refused(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_REFUSED);
    settles(&s, ONEROW_REFUSED, OR_REASON_REFUSED);
    assert_int_equal(s.ledger.key.state, OR_KEY_BOUND); /* for somebody with another payload */
}

static void giving_up_in_doubt(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    for (unsigned i = 0; i < 4; i++) {
        publishes(&s, OR_ANSWER_UNCERTAIN);
        waits(&s);
        reads(&s);
        swaps(&s, OR_KEY_BOUND);
    }
    publishes(&s, OR_ANSWER_UNCERTAIN);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
}

/* ---- helping
 * -------------------------------------------------------------------------------------
 */

static void helps_with_their_payload(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_BOUND, "theirs");
    start(&s);
    reads(&s);
    waits_until(&s, 100000 + P + T);
    swaps(&s, OR_KEY_BOUND);
    assert_true(s.ledger.key.doubtful);
    assert_true(or_span_is(s.command.payload->text, "theirs"));
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    waits_until(&s, s.ledger.key.since_ms + P + T + R); /* the own version is the next one */
    swaps(&s, OR_KEY_WRITING);
    assert_false(s.ledger.key.doubtful);
    assert_true(or_span_is(s.command.payload->text, "mine"));
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void helps_without_a_record(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_WRITING, "theirs");
    s.ledger.key.since_ms = 1000;
    start_with(&s, NULL, (struct onerow_span){0});
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_WRITING); /* its own trace is the last one: it need not wait again */
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

static void their_refused_payload_is_set_aside(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_BOUND, "theirs");
    s.ledger.key.since_ms = 1000;
    start(&s);
    reads(&s);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_REFUSED);
    swaps(&s, OR_KEY_BOUND);
    assert_true(or_span_is(s.ledger.key.pending.text, "mine"));
    assert_true(s.ledger.key.doubtful);
    assert_int_equal(s.ledger.takes[0].state, OR_ATTEMPT_REFUSED);
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void their_refused_version_is_dropped(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_WRITING, "theirs");
    s.ledger.key.since_ms = 1000;
    uint8_t before[OR_FINGERPRINT_LEN];
    memcpy(before, s.ledger.key.fingerprint, sizeof before);
    start(&s);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_REFUSED);
    swaps(&s, OR_KEY_DONE);
    assert_memory_equal(s.ledger.key.fingerprint, before, OR_FINGERPRINT_LEN);
    assert_int_equal(s.ledger.key.version, 2);
    assert_true(s.ledger.key.doubtful);
    assert_int_equal(s.ledger.takes[0].state, OR_ATTEMPT_REFUSED);
    waits_until(&s, s.ledger.key.since_ms + P + T + R);
    swaps(&s, OR_KEY_WRITING);
}

static void an_owner_learns_that_it_was_refused(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_UNCERTAIN);
    s.ledger.takes[0].state = OR_ATTEMPT_REFUSED; /* a helper's word */
    is_done(&s, "theirs");
    waits(&s);
    reads(&s);
    settles(&s, ONEROW_REFUSED, OR_REASON_REFUSED);
}

static void nobody_can_help_a_refused_payload_without_one(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_BOUND, "theirs");
    s.ledger.key.since_ms = 1000;
    start_with(&s, NULL, (struct onerow_span){0});
    reads(&s);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_REFUSED);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
}

/* ---- updates -----------------------------------------------------------------------------------
 */

static void unchanged_costs_a_read(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s, "mine");
    start(&s);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

static void kept(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_KEEP;
    is_done(&s, "theirs");
    start(&s);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_KEPT);
}

static void older(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    is_done(&s, "theirs"); /* 't' is after 'm' */
    start(&s);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_OLDER);
}

static void newer(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    is_done(&s, "before");
    start(&s);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    assert_int_equal(*s.ledger.key.order.data, 'm');
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void the_own_update_is_refused(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s, "theirs");
    start(&s);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_REFUSED);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_REFUSED, OR_REASON_REFUSED);
    assert_true(s.ledger.key.known);
    assert_int_equal(s.ledger.key.fingerprint[0], 't');
}

static void the_ledger_is_away(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    for (unsigned i = 0; i < 4; i++) {
        expect(&s, OR_DO_READ);
        step(&s, OR_ANSWER_FAILED);
        waits(&s);
    }
    step(&s, OR_ANSWER_FAILED);
    settles(&s, ONEROW_REFUSED, OR_REASON_GAVE_UP);
}

static void time_runs_out(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_BOUND, "theirs");
    start(&s);
    s.ledger.now_ms += 600000;
    s.ledger.key.since_ms = s.ledger.now_ms;
    reads(&s);
    settles(&s, ONEROW_REFUSED, OR_REASON_GAVE_UP);
}

/* ---- deletions ----------------------------------------------------------------------------------
 */

static void trashed_before_it_was_published(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    gets(&s, true, false);
    swaps(&s, OR_KEY_ABSENT);
    assert_int_equal(s.ledger.key.generation, 1);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_CONDEMNED);
    probes(&s, 0);
    creates(&s, 1);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void up_to_trashed(struct story *s, enum or_deletion deletion)
{
    set_up(s);
    s->options.deletion = deletion;
    is_done(s, "theirs");
    start(s);
    reads(s);
    swaps(s, OR_KEY_WRITING);
    writes(s, OR_ANSWER_TRASHED);
    gets(s, true, true);
}

static void tombstone(void **state)
{
    struct story s;
    (void)state;
    up_to_trashed(&s, OR_DELETION_TOMBSTONE);
    swaps(&s, OR_KEY_TOMBSTONE);
    settles(&s, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
}

static void recreate(void **state)
{
    struct story s;
    (void)state;
    up_to_trashed(&s, OR_DELETION_RECREATE);
    swaps(&s, OR_KEY_ABSENT);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_CONDEMNED);
    probes(&s, 0);
    creates(&s, 1);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void restore(void **state)
{
    struct story s;
    (void)state;
    up_to_trashed(&s, OR_DELETION_RESTORE);
    swaps(&s, OR_KEY_WRITING); /* nothing but the revision */
    assert_false(s.ledger.key.doubtful);
    expect(&s, OR_DO_RESTORE);
    step(&s, OR_ANSWER_OK);
    reads(&s);
    swaps(&s, OR_KEY_WRITING); /* MARK */
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void restoring_fails(void **state)
{
    struct story s;
    (void)state;
    up_to_trashed(&s, OR_DELETION_RESTORE);
    swaps(&s, OR_KEY_WRITING); /* nothing but the revision */
    assert_false(s.ledger.key.doubtful);
    expect(&s, OR_DO_RESTORE);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    gets(&s, true, true);
    swaps(&s, OR_KEY_WRITING);
    expect(&s, OR_DO_RESTORE);
    step(&s, OR_ANSWER_NOT_FOUND);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_GONE);
}

/* A helper's mark refuses UNBIND. What was seen in the trash is looked at again, without a mark
 * that would refuse the helper's; a page that is no longer there is written to. */
static void too_late_to_give_it_up(void **state)
{
    struct story s;
    (void)state;
    for (unsigned back = 0; back < 2; back++) {
        set_up(&s);
        up_to_bound(&s);
        publishes(&s, OR_ANSWER_TRASHED);
        s.ledger.key.revision++;
        gets(&s, true, false);
        swap_is_refused(&s);
        reads(&s);
        gets(&s, !back, false);
        if (back) {
            waits(&s);
            reads(&s);
            swaps(&s, OR_KEY_BOUND);
            publishes(&s, OR_ANSWER_OK);
        } else {
            swaps(&s, OR_KEY_ABSENT);
        }
    }
}

/* What its driver could not send in time is announced again, and written only then. */
static void a_write_that_came_too_late_to_be_sent(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    assert_true(s.command.deadline_ms == s.ledger.now_ms + P / 2);
    s.ledger.now_ms = s.command.deadline_ms;
    publishes(&s, OR_ANSWER_FAILED);
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_BOUND);
    assert_true(s.ledger.key.since_ms == s.ledger.now_ms);
    assert_true(s.command.deadline_ms == s.ledger.now_ms + P / 2);
    publishes(&s, OR_ANSWER_OK);
}

/* Its driver waits for a window before BIND: the write is good for P/2 from then on. */
static void an_announcement_that_had_to_wait(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    expect(&s, OR_DO_SWAP);
    s.ledger.now_ms += 10 * P;
    or_attempt_swap_sent(&s.attempt, s.ledger.now_ms);
    swaps(&s, OR_KEY_BOUND);
    assert_true(s.command.deadline_ms == s.ledger.now_ms + P / 2);
    publishes(&s, OR_ANSWER_OK);
}

/* One whose first answer was lost may have happened then: from that time on its write is late. */
static void an_announcement_that_may_have_happened_keeps_its_time(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    expect(&s, OR_DO_SWAP);
    step(&s, OR_ANSWER_UNCERTAIN); /* it did not */
    s.ledger.now_ms += P;
    waits(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_SWAP);
    assert_int_equal(s.command.swap->taken.step, 2);
    or_attempt_swap_sent(&s.attempt, s.ledger.now_ms);
    swaps(&s, OR_KEY_BOUND);
    swaps(&s, OR_KEY_BOUND); /* the trace */
    publishes(&s, OR_ANSWER_OK);
}

/* A claim that never reached the ledger leaves nothing in doubt. */
static void a_claim_that_was_not_sent(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    expect(&s, OR_DO_SWAP);
    s.ledger.now_ms += RETRY.total_ms;
    step(&s, OR_ANSWER_FAILED);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.command.outcome, ONEROW_REFUSED);
    assert_int_equal(s.command.reason, OR_REASON_GAVE_UP);
    assert_non_null(s.command.spare.data);
    set_up(&s); /* but one that may have, does, however often it is not sent afterwards */
    start(&s);
    reads(&s);
    probes(&s, 0);
    creates(&s, 0);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    probes(&s, 0);
    expect(&s, OR_DO_SWAP);
    s.ledger.now_ms += RETRY.total_ms;
    step(&s, OR_ANSWER_FAILED);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.command.outcome, ONEROW_IN_DOUBT);
}

static void somebody_restored_it(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    gets(&s, false, false);
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_OK);
}

static void looking_fails(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    expect(&s, OR_DO_GET);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_BOUND);
    publishes(&s, OR_ANSWER_TRASHED);
    expect(&s, OR_DO_GET);
    step(&s, OR_ANSWER_NOT_FOUND);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_GONE);
}

static void is_tombstone(struct story *s)
{
    set_up(s);
    is_done(s, "theirs");
    s->ledger.key.state = OR_KEY_TOMBSTONE;
}

static void a_tombstone_stays(void **state)
{
    struct story s;
    (void)state;
    is_tombstone(&s);
    start(&s);
    reads(&s);
    probes(&s, 0);
    settles(&s, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
    start_with(&s, NULL, (struct onerow_span){0});
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_TOMBSTONE);
}

static void a_tombstones_page_comes_back(void **state)
{
    struct story s;
    (void)state;
    is_tombstone(&s);
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    assert_int_equal(s.ledger.key.generation, 0);
    assert_int_equal(s.ledger.key.version, 2);
    swaps(&s, OR_KEY_WRITING); /* nobody knows what it holds */
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void another_page_under_a_tombstone(void **state)
{
    struct story s;
    (void)state;
    is_tombstone(&s);
    s.ledger.key.page = story_pages[1];
    s.ledger.pages[1] = s.ledger.pages[0];
    s.ledger.pages[0] = (struct or_page_record){0};
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    assert_int_equal(s.ledger.key.generation, 1); /* another page, another generation */
    assert_true(or_span_is(s.ledger.key.page, "p1"));
}

/* The key had that page before the one that is buried: what was sent to it then may still arrive,
 * so the next version waits, counted from the adoption. */
static void an_earlier_page_comes_back_in_doubt(void **state)
{
    struct story s;
    (void)state;
    is_tombstone(&s);
    s.ledger.key.page = story_pages[1];
    s.ledger.key.since_ms = 1; /* long ago */
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
    swaps(&s, OR_KEY_DONE);
    assert_true(s.ledger.key.doubtful);
    assert_int_equal(s.ledger.key.since_ms, s.ledger.now_ms);
    waits_until(&s, s.ledger.key.since_ms + or_bounds_arrived(&s.options.bounds));
    swaps(&s, OR_KEY_WRITING);
}

/* A version was being written when the page was seen in the trash and buried: that write may still
 * arrive when the page has come back, and nothing newer may be acknowledged before. */
static void a_page_that_was_buried_while_written_comes_back_in_doubt(void **state)
{
    struct story s;
    (void)state;
    up_to_trashed(&s, OR_DELETION_TOMBSTONE);
    uint64_t announced_ms = s.ledger.key.since_ms;
    assert_false(s.ledger.key.doubtful);
    swaps(&s, OR_KEY_TOMBSTONE);
    settles(&s, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    assert_true(s.ledger.key.doubtful);
    waits_until(&s, announced_ms + or_bounds_arrived(&s.options.bounds));
    swaps(&s, OR_KEY_WRITING);
}

/* Nobody of onerow ever wrote onto that one. */
static void a_new_page_under_a_tombstone_is_certain(void **state)
{
    struct story s;
    (void)state;
    is_tombstone(&s);
    s.ledger.key.page = story_pages[1];
    s.ledger.pages[0] = (struct or_page_record){0};
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    assert_false(s.ledger.key.doubtful);
    swaps(&s, OR_KEY_WRITING);
}

/* ---- pages that were there
 * ------------------------------------------------------------------------
 */

static void adopted(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_KEEP;
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_KEPT);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
    assert_false(s.ledger.key.known);
    assert_false(s.command.twins);
}

static void weighed_before_it_is_adopted(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    s.event.order = (struct onerow_value){.data = "z", .len = 1, .kind = ONEROW_TEXT};
    gets(&s, false, true);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_OLDER);
}

static void gone_while_it_is_weighed(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    gets(&s, true, true);
    waits(&s);
    reads(&s);
    expect(&s, OR_DO_PROBE);
}

/* The key's own page, then one that a person edited, then the oldest, then the smallest id;
 * whatever order they come in. */
static void which_page_wins(void **state)
{
    static const struct or_probe_page PAGES[] = {
        {.id = {"p9", 2}, .created_ms = 9}, {.id = {"p8", 2}, .created_ms = 8, .edited = true},
        {.id = {"p1", 2}, .created_ms = 1}, {.id = {"p2", 2}, .created_ms = 1},
        {.id = {"p3", 2}, .created_ms = 3},
    };
    static const struct or_page_record RECORDS[2] = {{.state = OR_PAGE_BLANK}};
    struct or_key_record key = {.state = OR_KEY_TOMBSTONE, .page = {"p9", 2}};
    (void)state;
    for (size_t winner = 0; winner < 4; winner++) {
        for (size_t other = winner + 1; other < 5; other++) {
            for (size_t first = 0; first < 2; first++) {
                struct or_probe_page pair[2];
                pair[first] = PAGES[winner];
                pair[1 - first] = PAGES[other];
                struct or_choice choice = or_pages_choose(&key, OR_SPAN("key"), pair, RECORDS, 2);
                assert_true(choice.found);
                assert_int_equal(choice.winner, first);
            }
        }
    }
}

/* Only a tombstone's own page, which came back, may be adopted although it belongs to a key. */
static void which_page_may_be_adopted(void **state)
{
    static const struct or_probe_page PAGE = {.id = {"p1", 2}};
    struct or_page_record record = {.state = OR_PAGE_BOUND, .key = {"key", 3}};
    struct or_key_record key = {.state = OR_KEY_TOMBSTONE};
    (void)state;
    assert_true(or_pages_choose(&key, OR_SPAN("key"), &PAGE, &record, 1).found);
    record.key = OR_SPAN("another");
    assert_true(or_pages_choose(&key, OR_SPAN("key"), &PAGE, &record, 1).taken);
    record.key = OR_SPAN("key");
    key.state = OR_KEY_ABSENT;
    assert_true(or_pages_choose(&key, OR_SPAN("key"), &PAGE, &record, 1).taken);
}

/* Who says that there is no bound is believed: nobody's time is ever over. */
static void bounds_without_an_end(void **state)
{
    struct or_bounds bounds = {.pause = UINT64_MAX,
                               .request = 1,
                               .life = 1,
                               .lag = UINT64_MAX,
                               .skew = 1,
                               .guard = 1,
                               .lease = UINT64_MAX};
    struct story s;
    (void)state;
    assert_true(or_bounds_sent(&bounds) == UINT64_MAX);
    assert_true(or_bounds_arrived(&bounds) == UINT64_MAX);
    assert_true(or_bounds_seen(&bounds) == UINT64_MAX);
    bounds.guard = UINT64_MAX;
    bounds.lease = 1;
    assert_true(or_bounds_usable(&bounds) == 0);
    set_up(&s);
    s.options.bounds.pause = UINT64_MAX;
    is_pending(&s, OR_KEY_BOUND, "theirs");
    start(&s);
    reads(&s);
    s.ledger.now_ms = UINT64_MAX / 2;
    waits(&s);
    reads(&s);
    settles(&s, ONEROW_REFUSED, OR_REASON_GAVE_UP);
}

static void twins_are_told(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_KEEP;
    start(&s);
    reads(&s);
    probes(&s, 3);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    assert_true(or_span_is(s.ledger.key.page, "p1")); /* the oldest */
    settles(&s, ONEROW_UNCHANGED, OR_REASON_KEPT);
    assert_true(s.command.twins);
}

static void condemned_pages_do_not_count(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.pages[0] = (struct or_page_record){.revision = 1, .state = OR_PAGE_CONDEMNED};
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    expect(&s, OR_DO_CREATE);
}

static void a_page_of_another_key(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.pages[0] = (struct or_page_record){1, OR_PAGE_BOUND, 0, OR_SPAN("other"), 0};
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    settles(&s, ONEROW_REFUSED, OR_REASON_TAKEN);
}

static void too_many_pages(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    expect(&s, OR_DO_PROBE);
    s.event.n_pages = OR_ATTEMPT_PAGES + 1;
    step(&s, OR_ANSWER_OK);
    settles(&s, ONEROW_REFUSED, OR_REASON_TOO_MANY);
    assert_true(s.command.twins);
}

static void adopting_is_refused(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    s.ledger.pages[0] = (struct or_page_record){1, OR_PAGE_CONDEMNED, 0, {0}, 0};
    swap_is_refused(&s);
    reads(&s);
    expect(&s, OR_DO_PROBE);
}

static void the_key_moved_while_pages_were_looked_at(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start(&s);
    reads(&s);
    probes(&s, 1);
    is_done(&s, "mine");
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

/* ---- verify: read
 * ----------------------------------------------------------------------------------
 */

static void up_to_looking(struct story *s)
{
    set_up(s);
    s->options.verify_read = true;
    is_done(s, "mine");
    start(s);
    reads(s);
    expect(s, OR_DO_GET);
}

static void verified(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    memcpy(s.event.fingerprint, s.own.fingerprint, OR_FINGERPRINT_LEN);
    gets(&s, false, true);
    reads(&s); /* it must be the key's page still */
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

static void found_different(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    gets(&s, false, true);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void found_renamed(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    gets(&s, false, false);
    settles(&s, ONEROW_REFUSED, OR_REASON_RENAMED);
}

/* The answer to a write shows that a person changed the key. */
static void writes_elsewhere(struct story *s)
{
    expect(s, OR_DO_WRITE);
    s->event.renamed = true;
    step(s, OR_ANSWER_OK);
    swaps(s, OR_KEY_DONE);
    assert_false(s->ledger.key.known);
}

static void written_onto_a_renamed_page(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    gets(&s, false, true);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes_elsewhere(&s);
    gets(&s, false, false);
    settles(&s, ONEROW_REFUSED, OR_REASON_RENAMED);
}

static void renamed_back_after_the_write(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    gets(&s, false, true);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes_elsewhere(&s);
    gets(&s, false, true);
    reads(&s);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void found_in_the_trash(void **state)
{
    struct story s;
    (void)state;
    up_to_looking(&s);
    gets(&s, true, true);
    swaps(&s, OR_KEY_TOMBSTONE);
    settles(&s, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
}

/* ---- direct
 * ------------------------------------------------------------------------------------------
 */

static void up_to_intent(struct story *s)
{
    set_up(s);
    s->options.protocol = OR_PROTOCOL_DIRECT;
    start(s);
    reads(s);
    probes(s, 0);
    swaps(s, OR_KEY_INTENT);
    expect(s, OR_DO_CREATE_KEYED);
}

static void keyed(struct story *s, enum or_answer answer, size_t page)
{
    expect(s, OR_DO_CREATE_KEYED);
    assert_true(s->command.deadline_ms >= s->ledger.now_ms + T);
    s->event.page = story_pages[page];
    step(s, answer);
}

#define SEEN (2000U - 100U + P + R + 300U + 200U) /* lease + S */

static void direct_created(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_OK, 0);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
    assert_true(s.ledger.key.known);
}

static void direct_lost_answer(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    uint64_t since = s.ledger.key.since_ms;
    keyed(&s, OR_ANSWER_UNCERTAIN, 0);
    waits(&s);
    reads(&s);
    waits_until(&s, since + SEEN);
    probes(&s, 1);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    swaps(&s, OR_KEY_WRITING); /* it may be somebody else's page */
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void direct_lost_request(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    uint64_t since = s.ledger.key.since_ms;
    keyed(&s, OR_ANSWER_UNCERTAIN, 0);
    waits(&s);
    reads(&s);
    waits_until(&s, since + SEEN);
    probes(&s, 0);
    swaps(&s, OR_KEY_INTENT);
    keyed(&s, OR_ANSWER_OK, 1);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void direct_somebody_elses_intent(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.protocol = OR_PROTOCOL_DIRECT;
    s.ledger.key = (struct or_key_record){.revision = 3,
                                          .state = OR_KEY_INTENT,
                                          .version = 1,
                                          .since_ms = s.ledger.now_ms,
                                          .nonce = {9, 1}};
    s.ledger.key.pending = story_payload("theirs");
    start(&s);
    reads(&s);
    waits_until(&s, 100000 + SEEN);
    probes(&s, 0);
    swaps(&s, OR_KEY_INTENT);
    assert_int_equal(s.ledger.key.nonce.number, 77);
    start_with(&s, NULL, (struct onerow_span){0});
    reads(&s);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
}

static void direct_refused(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_REFUSED, 0);
    swaps(&s, OR_KEY_ABSENT);
    settles(&s, ONEROW_REFUSED, OR_REASON_REFUSED);
}

static void direct_over_the_limit(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_RATE, 0);
    waits(&s);
    reads(&s);
    keyed(&s, OR_ANSWER_RATE, 0);
    s.ledger.now_ms +=
        5000; /* too late for this intent: another one, and nobody else can have sent */
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_INTENT);
    assert_true(s.ledger.key.since_ms == s.ledger.now_ms);
    keyed(&s, OR_ANSWER_OK, 0);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void direct_taken_over(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    is_done(&s, "mine"); /* its holder slept for too long */
    s.ledger.key.generation = 1;
    keyed(&s, OR_ANSWER_OK, 1);
    swap_is_refused(&s);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

static void direct_done_reply_lost(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_OK, 0);
    swap_reply_is_lost(&s);
    waits(&s);
    reads(&s);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void direct_done_lost_before_it_happened(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_OK, 0);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_CREATED, OR_REASON_NONE);
}

static void direct_gives_up_in_doubt(void **state)
{
    struct story s;
    (void)state;
    up_to_intent(&s);
    keyed(&s, OR_ANSWER_UNCERTAIN, 0);
    s.ledger.now_ms += 700000;
    step(&s, OR_ANSWER_OK);
    expect(&s, OR_DO_READ);
    s.ledger.key.since_ms = s.ledger.now_ms;
    reads(&s);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
}

/* ---- odds and ends ----------------------------------------------------------------------------
 */

static void nothing_to_help_with(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start_with(&s, NULL, (struct onerow_span){0});
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_NONE);
}

static void opening_is_lost_before_it_happened(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s, "theirs");
    start(&s);
    reads(&s);
    expect(&s, OR_DO_SWAP);
    struct or_nonce first = s.attempt.swap.taken;
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    expect(&s, OR_DO_SWAP);
    assert_true(or_nonce_equal(first, s.attempt.swap.taken));
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_OK);
    swaps(&s, OR_KEY_DONE);
    settles(&s, ONEROW_UPDATED, OR_REASON_NONE);
}

static void a_trace_that_somebody_followed(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_pending(&s, OR_KEY_WRITING, "theirs");
    s.ledger.key.since_ms = 1000;
    start(&s);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
    writes(&s, OR_ANSWER_UNCERTAIN);
    s.ledger.key.revision++; /* another helper's trace: it has the word now */
    s.ledger.key.since_ms = s.ledger.now_ms;
    waits(&s);
    reads(&s);
    expect(&s, OR_DO_WAIT);
}

static void looks_that_are_over_the_limit(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    start(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    expect(&s, OR_DO_GET);
    s.event.retry_after_ms = 3000;
    step(&s, OR_ANSWER_RATE);
    assert_true(s.command.wait_ms >= 3000);
    waits(&s);
    reads(&s);
    probes(&s, 1);
    reads(&s);
    gets(&s, false, false); /* the key was taken off it meanwhile */
    waits(&s);
    reads(&s);
    probes(&s, 1);
    expect(&s, OR_DO_READ);
    step(&s, OR_ANSWER_FAILED); /* the found pages' records */
    waits(&s);
    reads(&s);
    expect(&s, OR_DO_PROBE);
}

static void a_look_at_a_trashed_page_is_over_the_limit(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    expect(&s, OR_DO_GET);
    s.event.retry_after_ms = 3000;
    step(&s, OR_ANSWER_RATE);
    assert_true(s.command.wait_ms >= 3000);
}

static void the_page_is_newer_than_the_ledger_knows(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    s.options.verify_read = true;
    is_done(&s, "a"); /* older than "mine" */
    start(&s);
    reads(&s);
    s.event.order = (struct onerow_value){.data = "z", .len = 1, .kind = ONEROW_TEXT};
    gets(&s, false, true);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_OLDER);
    start(&s);
    reads(&s);
    s.event.order = (struct onerow_value){.data = "b", .len = 1, .kind = ONEROW_TEXT};
    gets(&s, false, true);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
}

/* It waited for what may still arrive, and something newer did: it must look once more. */
static void the_page_is_newer_after_the_wait(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.policy = ONEROW_POLICY_NEWEST;
    s.options.verify_read = true;
    is_done(&s, "a");
    s.ledger.key.doubtful = true;
    s.ledger.key.since_ms = s.ledger.now_ms;
    start(&s);
    reads(&s);
    s.event.order = (struct onerow_value){.data = "b", .len = 1, .kind = ONEROW_TEXT};
    gets(&s, false, true);
    reads(&s);
    waits_until(&s, s.ledger.key.since_ms + or_bounds_arrived(&s.options.bounds));
    s.event.order = (struct onerow_value){.data = "z", .len = 1, .kind = ONEROW_TEXT};
    gets(&s, false, true);
    reads(&s);
    settles(&s, ONEROW_UNCHANGED, OR_REASON_OLDER);
}

/* Everything had arrived when it looked: once is enough. */
static void one_look_is_enough_when_everything_has_arrived(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.verify_read = true;
    is_done(&s, "a");
    s.ledger.key.doubtful = true;
    s.ledger.key.since_ms = s.ledger.now_ms;
    s.ledger.now_ms += or_bounds_arrived(&s.options.bounds);
    start(&s);
    reads(&s);
    gets(&s, false, true);
    reads(&s);
    swaps(&s, OR_KEY_WRITING);
}

static void written_on_a_page_that_was_given_up(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    s.ledger.key = (struct or_key_record){.revision = 9, .state = OR_KEY_ABSENT, .generation = 1};
    reads(&s);
    expect(&s, OR_DO_PROBE);
    s.ledger.now_ms += 700000;
    step(&s, OR_ANSWER_FAILED);
    settles(&s, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
}

static void restored_without_its_key(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.deletion = OR_DELETION_RESTORE;
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    gets(&s, true, true); /* a write without an answer had arrived: it is published */
    swaps(&s, OR_KEY_BOUND);
    expect(&s, OR_DO_RESTORE);
}

/* Another attempt saw the page in the trash before it was published, and sleeps. */
static void who_saw_it_before_does_not_unbind_it(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.options.deletion = OR_DELETION_RESTORE;
    up_to_bound(&s);
    publishes(&s, OR_ANSWER_TRASHED);
    gets(&s, true, false);
    expect(&s, OR_DO_SWAP);
    assert_int_equal(s.command.swap->becomes.state, OR_KEY_ABSENT);
    s.ledger.key.revision++; /* the page was published after all; somebody restores it */
    swap_is_refused(&s);
    reads(&s);
    assert_int_equal(s.ledger.key.state, OR_KEY_BOUND);
}

static void every_reason_has_a_text(void **state)
{
    (void)state;
    for (unsigned reason = OR_REASON_NONE + 1; reason <= OR_REASON_IN_DOUBT; reason++) {
        assert_true(strlen(or_reason_text((enum or_reason)reason)) > 3);
    }
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(created),
    cmocka_unit_test(a_spare_blank_is_used),
    cmocka_unit_test(a_failed_look_up_creates_nothing),
    cmocka_unit_test(the_whole_retry_after),
    cmocka_unit_test(a_blank_whose_answer_was_lost),
    cmocka_unit_test(a_blank_is_refused),
    cmocka_unit_test(nothing_is_created_by_a_suspect_ledger),
    cmocka_unit_test(a_given_up_page_may_still_be_written),
    cmocka_unit_test(bind_reply_lost),
    cmocka_unit_test(bind_reply_lost_and_late),
    cmocka_unit_test(bind_reply_lost_and_a_helper_publishes),
    cmocka_unit_test(bind_lost_before_it_happened),
    cmocka_unit_test(bind_lost_and_somebody_else_binds),
    cmocka_unit_test(a_condemned_blank_is_not_bound),
    cmocka_unit_test(a_second_write_leaves_a_trace),
    cmocka_unit_test(a_helper_was_faster_to_trace),
    cmocka_unit_test(not_found_proves_nothing),
    cmocka_unit_test(the_own_payload_is_refused),
    cmocka_unit_test(giving_up_in_doubt),
    cmocka_unit_test(helps_with_their_payload),
    cmocka_unit_test(helps_without_a_record),
    cmocka_unit_test(their_refused_payload_is_set_aside),
    cmocka_unit_test(their_refused_version_is_dropped),
    cmocka_unit_test(an_owner_learns_that_it_was_refused),
    cmocka_unit_test(nobody_can_help_a_refused_payload_without_one),
    cmocka_unit_test(unchanged_costs_a_read),
    cmocka_unit_test(kept),
    cmocka_unit_test(older),
    cmocka_unit_test(newer),
    cmocka_unit_test(the_own_update_is_refused),
    cmocka_unit_test(the_ledger_is_away),
    cmocka_unit_test(time_runs_out),
    cmocka_unit_test(trashed_before_it_was_published),
    cmocka_unit_test(tombstone),
    cmocka_unit_test(recreate),
    cmocka_unit_test(restore),
    cmocka_unit_test(restoring_fails),
    cmocka_unit_test(too_late_to_give_it_up),
    cmocka_unit_test(a_write_that_came_too_late_to_be_sent),
    cmocka_unit_test(somebody_restored_it),
    cmocka_unit_test(looking_fails),
    cmocka_unit_test(a_tombstone_stays),
    cmocka_unit_test(a_tombstones_page_comes_back),
    cmocka_unit_test(another_page_under_a_tombstone),
    cmocka_unit_test(an_earlier_page_comes_back_in_doubt),
    cmocka_unit_test(a_page_that_was_buried_while_written_comes_back_in_doubt),
    cmocka_unit_test(a_new_page_under_a_tombstone_is_certain),
    cmocka_unit_test(adopted),
    cmocka_unit_test(weighed_before_it_is_adopted),
    cmocka_unit_test(gone_while_it_is_weighed),
    cmocka_unit_test(which_page_wins),
    cmocka_unit_test(which_page_may_be_adopted),
    cmocka_unit_test(bounds_without_an_end),
    cmocka_unit_test(twins_are_told),
    cmocka_unit_test(condemned_pages_do_not_count),
    cmocka_unit_test(a_page_of_another_key),
    cmocka_unit_test(too_many_pages),
    cmocka_unit_test(adopting_is_refused),
    cmocka_unit_test(the_key_moved_while_pages_were_looked_at),
    cmocka_unit_test(verified),
    cmocka_unit_test(found_different),
    cmocka_unit_test(found_renamed),
    cmocka_unit_test(written_onto_a_renamed_page),
    cmocka_unit_test(renamed_back_after_the_write),
    cmocka_unit_test(found_in_the_trash),
    cmocka_unit_test(direct_created),
    cmocka_unit_test(direct_lost_answer),
    cmocka_unit_test(direct_lost_request),
    cmocka_unit_test(direct_somebody_elses_intent),
    cmocka_unit_test(direct_refused),
    cmocka_unit_test(direct_over_the_limit),
    cmocka_unit_test(direct_taken_over),
    cmocka_unit_test(direct_done_reply_lost),
    cmocka_unit_test(direct_done_lost_before_it_happened),
    cmocka_unit_test(direct_gives_up_in_doubt),
    cmocka_unit_test(nothing_to_help_with),
    cmocka_unit_test(opening_is_lost_before_it_happened),
    cmocka_unit_test(a_trace_that_somebody_followed),
    cmocka_unit_test(looks_that_are_over_the_limit),
    cmocka_unit_test(a_look_at_a_trashed_page_is_over_the_limit),
    cmocka_unit_test(the_page_is_newer_than_the_ledger_knows),
    cmocka_unit_test(the_page_is_newer_after_the_wait),
    cmocka_unit_test(one_look_is_enough_when_everything_has_arrived),
    cmocka_unit_test(written_on_a_page_that_was_given_up),
    cmocka_unit_test(restored_without_its_key),
    cmocka_unit_test(who_saw_it_before_does_not_unbind_it),
    cmocka_unit_test(an_announcement_that_had_to_wait),
    cmocka_unit_test(an_announcement_that_may_have_happened_keeps_its_time),
    cmocka_unit_test(a_claim_that_was_not_sent),
    cmocka_unit_test(every_reason_has_a_text),
};

int main(void)
{
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
