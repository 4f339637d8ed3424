/* SPDX-License-Identifier: Apache-2.0
 *
 * core/heal.c and core/sweep.c, story by story, as in test_attempt.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/heal.h"
#include "core/sweep.h"
#include "tests/support/story.h"

#define ARRIVED 5500U /* P + T + R */
#define SEEN    6700U /* lease - G + P + R + L + D */

static const struct or_bounds BOUNDS = {.pause = 1000,
                                        .request = 500,
                                        .life = 4000,
                                        .lag = 300,
                                        .skew = 200,
                                        .guard = 800,
                                        .lease = 2000,
                                        .poll = 400};
static const struct or_retry_limits RETRY = {
    .classes = {[OR_RETRY_CONFLICT] = {100, 1000, 3},
                [OR_RETRY_RATE] = {100, 1000, 3},
                [OR_RETRY_UNCERTAIN] = {100, 1000, 3},
                [OR_RETRY_LOOKUP] = {100, 1000, 3},
                [OR_RETRY_BUSY] = {100, 1000, 3}},
};

struct story {
    struct or_heal heal;
    struct or_sweep sweep;
    bool sweeps; /* the one or the other */
    struct or_command command;
    struct or_event event;
    struct story_ledger ledger;
    struct or_probe_page found[4];
};

static void step(struct story *s, enum or_answer answer)
{
    s->event.answer = answer;
    s->event.now_ms = s->ledger.now_ms;
    if (s->sweeps) {
        or_sweep_step(&s->sweep, &s->event, &s->command);
    } else {
        or_heal_step(&s->heal, &s->event, &s->command);
    }
    memset(&s->event, 0, sizeof s->event);
}

static void set_up(struct story *s)
{
    memset(s, 0, sizeof *s);
    s->ledger.now_ms = 100000;
    for (size_t i = 0; i < 4; i++) {
        s->found[i] = (struct or_probe_page){.id = story_pages[i], .created_ms = 10 + i};
    }
}

static void start_healing(struct story *s)
{
    or_heal_init(&s->heal, OR_SPAN("key"), &BOUNDS, &RETRY, 88);
    step(s, OR_ANSWER_OK);
}

static void start_sweeping(struct story *s)
{
    s->sweeps = true;
    or_sweep_init(&s->sweep, story_pages[0], &RETRY);
    step(s, OR_ANSWER_OK);
}

/* p1 is the key's. */
static void is_done(struct story *s)
{
    struct or_payload held = story_payload("held");
    s->ledger.key = (struct or_key_record){.revision = 5,
                                           .state = OR_KEY_DONE,
                                           .since_ms = 1000,
                                           .known = true,
                                           .version = 1,
                                           .page = story_pages[0]};
    memcpy(s->ledger.key.fingerprint, held.fingerprint, OR_FINGERPRINT_LEN);
    s->ledger.pages[0] = (struct or_page_record){1, OR_PAGE_BOUND, 0, OR_SPAN("key"), 0};
}

static void is_doubtful(struct story *s)
{
    is_done(s);
    s->ledger.key.doubtful = true;
    s->ledger.key.nonce = (struct or_nonce){5, 1};
    s->ledger.key.pending = story_payload("held");
    s->ledger.key.since_ms = s->ledger.now_ms - ARRIVED;
}

#define expect(s, wanted) assert_int_equal((s)->command.what, wanted)

static void probes(struct story *s, size_t n)
{
    expect(s, OR_DO_PROBE);
    s->event.pages = s->found;
    s->event.n_pages = n;
    step(s, OR_ANSWER_OK);
}

static void reads(struct story *s)
{
    expect(s, OR_DO_READ);
    story_read(&s->ledger, &s->command, &s->event);
    step(s, OR_ANSWER_OK);
}

static void swaps(struct story *s, enum or_answer answer)
{
    expect(s, OR_DO_SWAP);
    assert_int_equal(story_swap(&s->ledger, s->command.swap), answer);
    step(s, answer);
}

static void waits(struct story *s)
{
    expect(s, OR_DO_WAIT);
    assert_true(s->command.wait_ms > 0);
    s->ledger.now_ms += s->command.wait_ms;
    step(s, OR_ANSWER_OK);
}

static void does(struct story *s, enum or_do what, size_t page, enum or_answer answer)
{
    expect(s, what);
    assert_true(or_span_equal(s->command.page, story_pages[page]));
    step(s, answer);
}

/* ---- healer --------------------------------------------------------------------------------- */

static void nothing_to_do(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    start_healing(&s);
    probes(&s, 1);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.heal.pending || s.heal.doubtful || s.heal.gone || s.heal.gave_up);
}

static void losers_go(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    s.found[2].edited = true;
    s.ledger.pages[3] = (struct or_page_record){1, OR_PAGE_BOUND, 0, OR_SPAN("other"), 0};
    start_healing(&s);
    probes(&s, 4);
    reads(&s);
    swaps(&s, OR_ANSWER_OK);
    assert_int_equal(s.ledger.pages[1].state, OR_PAGE_CONDEMNED); /* before it is trashed */
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_OK);
    reads(&s);
    swaps(&s, OR_ANSWER_OK);
    does(&s, OR_DO_MOVE_KEY, 2, OR_ANSWER_OK); /* a person worked on it */
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.heal.trashed, 1);
    assert_int_equal(s.heal.moved, 1);
    assert_int_equal(s.heal.left, 1);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
    assert_int_equal(s.ledger.pages[3].state, OR_PAGE_BOUND);
    assert_int_equal(s.ledger.key.revision, 5);
}

static void what_was_condemned_is_not_condemned_again(void **state)
{
    static const enum or_answer ANSWERS[] = {OR_ANSWER_TRASHED, OR_ANSWER_NOT_FOUND,
                                             OR_ANSWER_REFUSED};
    struct story s;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        set_up(&s);
        is_done(&s);
        s.ledger.pages[1] = (struct or_page_record){.revision = 1, .state = OR_PAGE_CONDEMNED};
        start_healing(&s);
        probes(&s, 2);
        reads(&s);
        does(&s, OR_DO_TRASH, 1, ANSWERS[i]);
        reads(&s);
        expect(&s, OR_DO_SETTLE);
        assert_int_equal(s.heal.trashed, 0);
        assert_int_equal(s.heal.gave_up, ANSWERS[i] == OR_ANSWER_REFUSED);
    }
}

static void a_loser_that_was_bound_meanwhile_stays(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    start_healing(&s);
    probes(&s, 2);
    reads(&s);
    s.ledger.pages[1] = (struct or_page_record){1, OR_PAGE_BOUND, 0, OR_SPAN("other"), 0};
    swaps(&s, OR_ANSWER_REFUSED);
    probes(&s, 2);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.heal.left, 1);
}

static void a_tombstones_page_that_came_back_goes(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    s.ledger.pages[1] = (struct or_page_record){3, OR_PAGE_BOUND, 0, OR_SPAN("key"), 0};
    start_healing(&s);
    probes(&s, 2);
    reads(&s);
    swaps(&s, OR_ANSWER_OK);
    assert_int_equal(s.ledger.pages[1].state, OR_PAGE_CONDEMNED);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_OK);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.heal.left, 0);
}

static void an_orphan_is_adopted(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start_healing(&s);
    probes(&s, 2);
    reads(&s);
    s.event.has_key = true;
    s.event.order = (struct onerow_value){.data = "o", .len = 1, .kind = ONEROW_TEXT};
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK); /* an older record must not replace what it holds */
    swaps(&s, OR_ANSWER_OK);
    assert_int_equal(s.ledger.key.state, OR_KEY_DONE);
    assert_int_equal(*s.ledger.key.order.data, 'o');
    assert_true(or_span_is(s.ledger.key.page, "p1")); /* the oldest */
    probes(&s, 2);
    reads(&s);
    swaps(&s, OR_ANSWER_OK);
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_OK);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_true(s.heal.adopted);
}

static void an_orphan_that_goes_while_it_is_weighed(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.pages[1] = (struct or_page_record){.revision = 1, .state = OR_PAGE_CONDEMNED};
    start_healing(&s);
    probes(&s, 2);
    reads(&s);
    s.event.retry_after_ms = 3000;
    does(&s, OR_DO_GET, 0, OR_ANSWER_RATE);
    assert_true(s.command.wait_ms >= 3000);
    waits(&s);
    probes(&s, 2);
    reads(&s);
    s.event.in_trash = true;
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    waits(&s);
    s.found[0] = s.found[1]; /* only what was given up is left, and the key has no page */
    probes(&s, 1);
    reads(&s);
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_OK);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.heal.adopted);
}

static void pending_work_comes_first(void **state)
{
    static const enum or_key_state STATES[] = {OR_KEY_BOUND, OR_KEY_WRITING};
    struct story s;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        set_up(&s);
        is_doubtful(&s);
        s.ledger.key.state = STATES[i];
        start_healing(&s);
        probes(&s, 2);
        reads(&s);
        expect(&s, OR_DO_SETTLE);
        assert_true(s.heal.pending);
    }
}

static void an_intent_is_pending_until_it_is_late(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.key = (struct or_key_record){.revision = 5,
                                          .state = OR_KEY_INTENT,
                                          .version = 1,
                                          .since_ms = s.ledger.now_ms - SEEN + 1,
                                          .nonce = {5, 1}};
    s.ledger.key.pending = story_payload("theirs");
    start_healing(&s);
    probes(&s, 1);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_true(s.heal.pending);
    s.ledger.now_ms++;
    start_healing(&s);
    probes(&s, 1);
    reads(&s);
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK); /* not there any more */
    waits(&s);
    probes(&s, 1);
    reads(&s);
    s.event.has_key = true;
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    swaps(&s, OR_ANSWER_OK);
    assert_int_equal(s.ledger.key.state, OR_KEY_DONE);
    assert_int_equal(s.ledger.key.generation, 1); /* its holder must not take it for its own */
}

static void up_to_looking(struct story *s)
{
    start_healing(s);
    probes(s, 1);
    reads(s);
    expect(s, OR_DO_GET);
}

static void doubt_waits_until_everything_has_arrived(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    s.ledger.key.since_ms++;
    start_healing(&s);
    probes(&s, 1);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_true(s.heal.doubtful);
}

static void doubt_is_cleared(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    up_to_looking(&s);
    s.event.has_key = true;
    memcpy(s.event.fingerprint, story_payload("held").fingerprint, OR_FINGERPRINT_LEN);
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    swaps(&s, OR_ANSWER_OK);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.ledger.key.doubtful);
    assert_true(s.ledger.key.known);
    assert_null(s.ledger.key.pending.text.data);
}

static void a_late_write_is_written_over(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    up_to_looking(&s);
    s.event.has_key = true; /* and another fingerprint */
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    swaps(&s, OR_ANSWER_OK);
    expect(&s, OR_DO_SETTLE);
    assert_true(s.heal.pending);
    assert_int_equal(s.ledger.key.state, OR_KEY_WRITING);
    assert_int_equal(s.ledger.key.version, 2);
    assert_true(or_span_is(s.ledger.key.pending.text, "held"));
    assert_int_equal(s.ledger.key.nonce.number, 88);
    assert_true(s.ledger.key.since_ms == s.ledger.now_ms);
}

static void what_a_person_wrote_stays(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    up_to_looking(&s);
    s.event.has_key = true;
    s.event.edited = true;
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    swaps(&s, OR_ANSWER_OK);
    assert_int_equal(s.ledger.key.state, OR_KEY_DONE);
    assert_false(s.ledger.key.doubtful);
}

static void what_cannot_be_told_is_not_known(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    s.ledger.key.pending = (struct or_payload){0}; /* a refused version was dropped */
    s.ledger.key.nonce = (struct or_nonce){0};
    up_to_looking(&s);
    assert_null(s.command.payload);
    s.event.has_key = true;
    does(&s, OR_DO_GET, 0, OR_ANSWER_OK);
    swaps(&s, OR_ANSWER_OK);
    assert_false(s.ledger.key.known); /* the next put writes */
}

static void a_page_that_is_gone_is_told(void **state)
{
    struct story s;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        set_up(&s);
        is_doubtful(&s);
        up_to_looking(&s);
        s.event.in_trash = i == 0;
        s.event.has_key = i == 0;
        does(&s, OR_DO_GET, 0, i == 2 ? OR_ANSWER_NOT_FOUND : OR_ANSWER_OK);
        expect(&s, OR_DO_SETTLE);
        assert_true(s.heal.gone);
        assert_true(s.ledger.key.doubtful);
    }
}

static void healing_tries_again_and_gives_up(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_doubtful(&s);
    start_healing(&s);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    s.event.retry_after_ms = 5000;
    step(&s, OR_ANSWER_RATE);
    assert_true(s.command.wait_ms >= 5000);
    waits(&s);
    probes(&s, 1);
    step(&s, OR_ANSWER_FAILED); /* the ledger */
    waits(&s);
    probes(&s, 1);
    reads(&s);
    step(&s, OR_ANSWER_RATE); /* GET */
    waits(&s);
    probes(&s, 1);
    reads(&s);
    step(&s, OR_ANSWER_UNCERTAIN);
    waits(&s);
    probes(&s, 1);
    reads(&s);
    s.event.has_key = true;
    step(&s, OR_ANSWER_OK);
    step(&s, OR_ANSWER_UNCERTAIN); /* the swap */
    waits(&s);
    step(&s, OR_ANSWER_FAILED);
    expect(&s, OR_DO_SETTLE);
    assert_true(s.heal.gave_up);
}

static void disposing_is_tried_again(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    start_healing(&s);
    probes(&s, 2);
    reads(&s);
    swaps(&s, OR_ANSWER_OK);
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_CONFLICT);
    waits(&s);
    probes(&s, 2);
    reads(&s);
    does(&s, OR_DO_TRASH, 1, OR_ANSWER_OK);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_int_equal(s.heal.trashed, 1);
}

static void forgotten(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    struct or_swap swap = or_heal_forget(&s.ledger.key);
    assert_int_equal(story_swap(&s.ledger, &swap), OR_ANSWER_OK);
    assert_int_equal(s.ledger.key.state, OR_KEY_ABSENT);
    assert_int_equal(s.ledger.key.generation, 1);
    assert_true(s.ledger.key.doubtful);
    assert_true(s.ledger.key.since_ms == s.ledger.now_ms);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_CONDEMNED);
}

/* Its page is free for another key, and nobody who read the key before can write to it. */
static void let_go(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    is_done(&s);
    s.ledger.key.doubtful = true;
    uint64_t arrived = s.ledger.key.since_ms + or_bounds_arrived(&BOUNDS);
    assert_false(or_heal_may_let_go(&s.ledger.key, &BOUNDS, arrived - 1));
    assert_true(or_heal_may_let_go(&s.ledger.key, &BOUNDS, arrived));
    s.ledger.key.doubtful = false;
    assert_true(or_heal_may_let_go(&s.ledger.key, &BOUNDS, s.ledger.key.since_ms));
    struct or_key_record before = s.ledger.key;
    struct or_swap swap = or_heal_let_go(&s.ledger.key);
    assert_int_equal(story_swap(&s.ledger, &swap), OR_ANSWER_OK);
    assert_int_equal(s.ledger.key.state, OR_KEY_ABSENT);
    assert_int_equal(s.ledger.key.generation, before.generation + 1);
    assert_false(s.ledger.key.doubtful);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BLANK);
    assert_int_equal(story_swap(&s.ledger, &swap), OR_ANSWER_REFUSED);
    before.state = OR_KEY_WRITING;
    assert_false(or_heal_may_let_go(&before, &BOUNDS, UINT64_MAX));
}

/* ---- sweeper ------------------------------------------------------------------------------------
 */

static void a_blank_is_condemned_then_trashed(void **state)
{
    static const enum or_answer DONE[] = {OR_ANSWER_OK, OR_ANSWER_TRASHED, OR_ANSWER_NOT_FOUND};
    struct story s;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        set_up(&s);
        start_sweeping(&s);
        reads(&s);
        swaps(&s, OR_ANSWER_OK);
        assert_int_equal(s.ledger.pages[0].state, OR_PAGE_CONDEMNED);
        does(&s, OR_DO_TRASH, 0, DONE[i]);
        expect(&s, OR_DO_SETTLE);
        assert_true(s.sweep.swept);
    }
}

static void what_was_bound_is_left_alone(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start_sweeping(&s);
    reads(&s);
    s.ledger.pages[0] = (struct or_page_record){1, OR_PAGE_BOUND, 0, OR_SPAN("key"), 0};
    swaps(&s, OR_ANSWER_REFUSED);
    reads(&s);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.sweep.swept);
    assert_int_equal(s.ledger.pages[0].state, OR_PAGE_BOUND);
}

static void sweeping_tries_again(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    start_sweeping(&s);
    step(&s, OR_ANSWER_FAILED);
    waits(&s);
    reads(&s);
    expect(&s, OR_DO_SWAP);
    story_swap(&s.ledger, s.command.swap);
    step(&s, OR_ANSWER_UNCERTAIN); /* it happened, and nobody is told */
    waits(&s);
    reads(&s);
    does(&s, OR_DO_TRASH, 0, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    does(&s, OR_DO_TRASH, 0, OR_ANSWER_UNCERTAIN);
    waits(&s);
    reads(&s);
    does(&s, OR_DO_TRASH, 0, OR_ANSWER_UNCERTAIN);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.sweep.swept);
}

static void a_blank_that_the_store_keeps(void **state)
{
    struct story s;
    (void)state;
    set_up(&s);
    s.ledger.pages[0] = (struct or_page_record){.revision = 1, .state = OR_PAGE_CONDEMNED};
    start_sweeping(&s);
    reads(&s);
    does(&s, OR_DO_TRASH, 0, OR_ANSWER_REFUSED);
    expect(&s, OR_DO_SETTLE);
    assert_false(s.sweep.swept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(losers_go),
        cmocka_unit_test(what_was_condemned_is_not_condemned_again),
        cmocka_unit_test(a_loser_that_was_bound_meanwhile_stays),
        cmocka_unit_test(a_tombstones_page_that_came_back_goes),
        cmocka_unit_test(an_orphan_is_adopted),
        cmocka_unit_test(an_orphan_that_goes_while_it_is_weighed),
        cmocka_unit_test(pending_work_comes_first),
        cmocka_unit_test(an_intent_is_pending_until_it_is_late),
        cmocka_unit_test(doubt_waits_until_everything_has_arrived),
        cmocka_unit_test(doubt_is_cleared),
        cmocka_unit_test(a_late_write_is_written_over),
        cmocka_unit_test(what_a_person_wrote_stays),
        cmocka_unit_test(what_cannot_be_told_is_not_known),
        cmocka_unit_test(a_page_that_is_gone_is_told),
        cmocka_unit_test(healing_tries_again_and_gives_up),
        cmocka_unit_test(disposing_is_tried_again),
        cmocka_unit_test(forgotten),
        cmocka_unit_test(let_go),
        cmocka_unit_test(a_blank_is_condemned_then_trashed),
        cmocka_unit_test(what_was_bound_is_left_alone),
        cmocka_unit_test(sweeping_tries_again),
        cmocka_unit_test(a_blank_that_the_store_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
