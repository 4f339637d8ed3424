/* SPDX-License-Identifier: Apache-2.0
 *
 * What include/onerow/extend.h asks of every ledger, run over every coordinator of the registry
 * that keeps one, through its vtable alone. A new coordinator needs one line in
 * tests/support/ledger.c. What needs several workers is in test_ledger_race.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ledger.h"

/* ---- the type itself ------------------------------------------------------------------------- */

static void the_type_describes_itself(void **state)
{
    const struct ledger_bench *at = *state;
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    assert_non_null(type);
    assert_string_equal(type->name, at->name);
    assert_true(type->summary && *type->summary && type->url && *type->url && type->schemes[0]);
    const struct onerow_ledger_ops *ops = type->ledger;
    assert_true(ops->enter && ops->read && ops->swap && ops->list && ops->reserve && ops->witness &&
                ops->confirm && ops->forget);
    type->close(NULL);
}

/* ---- compare and set ------------------------------------------------------------------------- */

static void what_was_never_written_is_nothing(void **state)
{
    (void)state;
    struct onerow_ledger_record record = read_one(KEY, OR_SPAN("a"));
    assert_int_equal(record.revision, 0);
    assert_int_equal(record.state, 0);
    assert_int_equal(record.since_ms, 0);
    assert_int_equal(record.body.len, 0);
}

static void every_write_is_one_revision(void **state)
{
    (void)state;
    assert_true(set("a", 0, 1, "one"));
    assert_string_equal(seen("a"), "1/1:one");
    assert_true(set("a", 1, 2, ""));
    assert_string_equal(seen("a"), "2/2:");
    assert_true(set("a", 2, 31, "three"));
    assert_string_equal(seen("a"), "3/31:three");
}

static void another_revision_is_refused(void **state)
{
    (void)state;
    assert_false(set("a", 1, 1, "x"));
    assert_true(set("a", 0, 1, "one"));
    assert_false(set("a", 0, 1, "x"));
    assert_false(set("a", 2, 1, "x"));
    assert_false(set("a", UINT64_MAX - 1, 1, "x"));
    assert_string_equal(seen("a"), "1/1:one");
    assert_true(set("a", ANY, 2, "two"));
    assert_true(set("b", ANY, 1, "new"));
    assert_string_equal(seen("a"), "2/2:two");
    assert_string_equal(seen("b"), "1/1:new");
}

static void states_are_a_condition(void **state)
{
    (void)state;
    struct onerow_ledger_change one = change(KEY, "a", ANY, 3, "x");
    one.states = 1U << 3 | 1U << 31;
    assert_false(swap(&one, 1)); /* it is in state 0 */
    one.states |= 1U << 0;
    assert_true(swap(&one, 1));
    one.states = 1U << 2 | 1U << 4;
    assert_false(swap(&one, 1));
    one.states = 0;
    assert_false(swap(&one, 1));
    one.states = 1U << 3;
    one.state = 31;
    assert_true(swap(&one, 1));
    one.states = 1U << 31;
    assert_true(swap(&one, 1));
    assert_string_equal(seen("a"), "3/31:x");
}

static void a_condition_alone_changes_nothing(void **state)
{
    (void)state;
    set("a", 0, 1, "one");
    struct onerow_ledger_change both[] = {change(KEY, "a", 1, 0, "ignored"),
                                          change(KEY, "b", 0, 1, "b")};
    both[0].stamp = true;
    assert_true(swap(both, 2));
    assert_string_equal(seen("a"), "1/1:one");
    assert_int_equal(read_one(KEY, OR_SPAN("a")).since_ms, 0);
    assert_string_equal(seen("b"), "1/1:b");
    both[0].revision = 2;
    both[1].revision = 1;
    assert_false(swap(both, 2));
    assert_string_equal(seen("b"), "1/1:b");
}

static void absence_is_a_condition(void **state)
{
    (void)state;
    struct onerow_ledger_change both[] = {change(PAGE, "p", 0, 0, ""), change(KEY, "a", 0, 1, "x")};
    both[0].states = 1U;
    assert_true(swap(both, 2));
    assert_string_equal(seen_as(PAGE, "p"), "0/0:"); /* it left no trace */
    struct onerow_ledger_change page = change(PAGE, "p", 0, 1, "page");
    assert_true(swap(&page, 1));
    both[1].revision = 1;
    assert_false(swap(both, 2));
    both[0].revision = ANY; /* the states alone */
    assert_false(swap(both, 2));
    assert_string_equal(seen("a"), "1/1:x");
}

static void all_records_or_none(void **state)
{
    (void)state;
    struct onerow_ledger_change four[] = {change(KEY, "a", 0, 1, "k"), change(PAGE, "a", 0, 2, "p"),
                                          change(ATTEMPT, "a", 0, 3, "t"),
                                          change(KEY, "b", 0, 4, "b")};
    assert_true(swap(four, 4));
    for (size_t i = 0; i < 4; i++) {
        four[i].revision = 1;
        four[i].body = OR_SPAN("again");
    }
    for (size_t i = 0; i < 4; i++) {
        four[i].revision = 7;
        assert_false(swap(four, 4));
        four[i].revision = 1;
    }
    assert_string_equal(seen("a"), "1/1:k");
    assert_string_equal(seen_as(PAGE, "a"), "1/2:p");
    assert_string_equal(seen_as(ATTEMPT, "a"), "1/3:t");
    assert_string_equal(seen("b"), "1/4:b");
    assert_true(swap(four, 4));
    assert_string_equal(seen_as(PAGE, "a"), "2/2:again");
}

static void swaps_of_one_call_see_each_other(void **state)
{
    (void)state;
    struct onerow_ledger_change changes[] = {
        change(KEY, "a", 0, 1, "first"),   change(KEY, "a", 0, 1, "too late"),
        change(KEY, "a", 1, 2, "second"),  change(KEY, "b", 1, 1, "not there"),
        change(KEY, "b", 0, 1, "b"),       change(KEY, "a", 2, 0, ""),
        change(PAGE, "gone", 0, 0, "none")};
    struct onerow_ledger_swap swaps[6] = {
        {.changes = &changes[0], .n = 1}, {.changes = &changes[1], .n = 1},
        {.changes = &changes[2], .n = 1}, {.changes = &changes[3], .n = 1},
        {.changes = &changes[4], .n = 3}, {.changes = &changes[4], .n = 1}};
    b.status = c->type->ledger->swap(c, space, swaps, 6, &now_ms, &b.error);
    assert_status(&b, ONEROW_OK);
    static const bool expected[] = {true, false, true, false, true, false};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(swaps[i].done, expected[i]);
    }
    assert_string_equal(seen("a"), "2/2:second");
    assert_string_equal(seen("b"), "1/1:b");
    assert_string_equal(seen_as(PAGE, "gone"), "0/0:");
}

static void a_call_without_swaps_is_harmless(void **state)
{
    (void)state;
    b.status = c->type->ledger->swap(c, space, NULL, 0, &now_ms, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_true(now_ms > 0);
    now_ms = 0;
    b.status = c->type->ledger->read(c, space, NULL, 0, &now_ms, &b.arena, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_true(now_ms > 0);
}

#define MANY 3000U

static void thousands_of_swaps_in_one_call(void **state)
{
    (void)state;
    struct onerow_ledger_change *changes = calloc(MANY, sizeof *changes);
    struct onerow_ledger_swap *swaps = calloc(MANY, sizeof *swaps);
    for (unsigned i = 0; i < MANY; i++) {
        changes[i] = change(KEY, text(&b, "k%u", i), 0, 1, text(&b, "%u", i));
        swaps[i] = (struct onerow_ledger_swap){.changes = &changes[i], .n = 1};
    }
    for (unsigned round = 0; round < 2; round++) {
        b.status = c->type->ledger->swap(c, space, swaps, MANY, &now_ms, &b.error);
        assert_status(&b, ONEROW_OK);
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(swaps[i].done, round == 0);
        }
    }
    assert_string_equal(seen("k0"), "1/1:0");
    assert_string_equal(seen("k2999"), "1/1:2999");
    free(changes);
    free(swaps);
}

/* ---- names and bodies ------------------------------------------------------------------------ */

static bool set_bytes(struct onerow_span name, struct onerow_span body)
{
    struct onerow_ledger_change one = {
        .kind = KEY, .name = name, .states = ALL, .state = 1, .body = body};
    return swap(&one, 1);
}

static void assert_kept(struct onerow_span name, struct onerow_span body)
{
    struct onerow_ledger_record record = read_one(KEY, name);
    assert_int_equal(record.revision, 1);
    assert_true(or_span_equal(record.body, body));
}

static void names_are_any_bytes(void **state)
{
    (void)state;
    char every[256];
    char longest[ONEROW_LEDGER_NAME_MAX];
    for (unsigned i = 0; i < sizeof every; i++) {
        every[i] = (char)i;
    }
    memset(longest, 'x', sizeof longest);
    const struct onerow_span names[] = {{NULL, 0},
                                        OR_SPAN("\0"),
                                        OR_SPAN("\0\0"),
                                        OR_SPAN("a\0b"),
                                        OR_SPAN("a\0c"),
                                        OR_SPAN("a"),
                                        {every, sizeof every},
                                        OR_SPAN("\xff\xfe"),
                                        OR_SPAN("'\"\\%"),
                                        OR_SPAN("A"),
                                        OR_SPAN("a "),
                                        {longest, sizeof longest},
                                        {longest, sizeof longest - 1}};
    size_t n = sizeof names / sizeof *names;
    for (size_t i = 0; i < n; i++) {
        assert_true(set_bytes(names[i], (struct onerow_span){every, i}));
    }
    for (size_t i = 0; i < n; i++) {
        assert_kept(names[i], (struct onerow_span){every, i});
    }
}

static void bodies_of_any_size(void **state)
{
    (void)state;
    char *large = malloc(ONEROW_LEDGER_BODY_MAX);
    for (size_t i = 0; i < ONEROW_LEDGER_BODY_MAX; i++) {
        large[i] = (char)(i * 2654435761U >> 13);
    }
    const size_t sizes[] = {0, 1, 100, 8191, 100000, ONEROW_LEDGER_BODY_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *name = text(&b, "%zu", sizes[i]);
        assert_true(set_bytes(or_span(name), (struct onerow_span){large, sizes[i]}));
        assert_kept(or_span(name), (struct onerow_span){large, sizes[i]});
    }
    free(large);
}

static void several_records_in_one_read(void **state)
{
    (void)state;
    set("a", 0, 1, "A");
    set("c", 0, 3, "");
    struct onerow_ledger_record records[] = {{.kind = KEY, .name = OR_SPAN("c")},
                                             {.kind = KEY, .name = OR_SPAN("b")},
                                             {.kind = PAGE, .name = OR_SPAN("a")},
                                             {.kind = KEY, .name = OR_SPAN("a")},
                                             {.kind = KEY, .name = OR_SPAN("a")}};
    b.status = c->type->ledger->read(c, space, records, 5, &now_ms, &b.arena, &b.error);
    assert_status(&b, ONEROW_OK);
    static const unsigned states[] = {3, 0, 0, 1, 1};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(records[i].state, states[i]);
        assert_int_equal(records[i].revision, states[i] != 0);
    }
    assert_true(or_span_is(records[4].body, "A"));
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static void namespaces_and_kinds_do_not_mix(void **state)
{
    (void)state;
    uint64_t things = space;
    set("a", 0, 1, "things");
    space = enter_as(c, "others", "key: id").number;
    assert_status(&b, ONEROW_OK);
    assert_int_not_equal(space, things);
    assert_string_equal(seen("a"), "0/0:");
    assert_true(set("a", 0, 2, "others"));
    space = things;
    assert_string_equal(seen("a"), "1/1:things");
    assert_string_equal(seen_as(PAGE, "a"), "0/0:");
    assert_string_equal(seen_as(ATTEMPT, "a"), "0/0:");
}

static void a_namespace_is_the_same_for_all(void **state)
{
    (void)state;
    struct onerow_coordinator *other = another();
    struct onerow_ledger_namespace mine = enter(c);
    struct onerow_ledger_namespace theirs = enter(other);
    assert_int_equal(mine.standing, ONEROW_LEDGER_SOUND);
    assert_int_equal(theirs.standing, ONEROW_LEDGER_SOUND);
    assert_null(mine.why);
    assert_int_equal(strlen(mine.ledger_id), 32);
    assert_int_equal(strspn(mine.ledger_id, "0123456789abcdef"), 32);
    assert_string_equal(mine.ledger_id, theirs.ledger_id);
    assert_string_equal(enter_as(c, "others", "x").ledger_id, mine.ledger_id);
    set("a", 0, 1, "x");
    close_it(c);
    c = other;
    space = theirs.number;
    assert_string_equal(seen("a"), "1/1:x");
}

static void a_definition_that_differs_is_refused(void **state)
{
    (void)state;
    enter_as(c, "things", "key: name, normalized");
    assert_status(&b, ONEROW_CONFIG);
    assert_contains(b.error.text, "key: name\n");
    assert_contains(b.error.text, "key: name, normalized");
    assert_contains(b.error.text, "things");
    enter(c); /* nothing was changed by that */
}

/* ---- time ------------------------------------------------------------------------------------ */

static void stamps_are_the_ledgers_clock(void **state)
{
    (void)state;
    read_one(KEY, OR_SPAN("a"));
    uint64_t before = now_ms;
    struct onerow_ledger_change one = change(KEY, "a", 0, 1, "x");
    one.stamp = true;
    assert_true(swap(&one, 1));
    uint64_t since = read_one(KEY, OR_SPAN("a")).since_ms;
    assert_true(since >= before && since <= now_ms);
    set("a", 1, 2, "y"); /* without a stamp */
    assert_int_equal(read_one(KEY, OR_SPAN("a")).since_ms, since);
    for (unsigned i = 2; i < 50; i++) {
        one.revision = i;
        assert_true(swap(&one, 1));
        uint64_t told = now_ms;
        uint64_t next = read_one(KEY, OR_SPAN("a")).since_ms;
        assert_true(next >= since && next == told && now_ms >= next);
        since = next;
    }
    assert_int_equal(read_one(KEY, OR_SPAN("b")).since_ms, 0);
}

/* ---- listing and forgetting ------------------------------------------------------------------ */

static void put_numbered(enum onerow_ledger_kind kind, unsigned first, unsigned n, bool stamp)
{
    for (unsigned i = first; i < first + n; i++) {
        struct onerow_ledger_change one =
            change(kind, text(&b, "%u", i), ANY, (uint8_t)(1 + i % 3), "body");
        one.stamp = stamp;
        assert_true(swap(&one, 1));
    }
}

static void a_listing_has_the_wanted_ones(void **state)
{
    (void)state;
    put_numbered(PAGE, 0, 30, true);
    put_numbered(KEY, 30, 5, true);
    struct collected all = list(PAGE, ALL, UINT64_MAX);
    assert_int_equal(all.n, 30);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(all.visits[i], i < 30);
    }
    all = list(PAGE, 1U << 2, UINT64_MAX);
    assert_int_equal(all.n, 10);
    assert_int_equal(all.visits[1], 1);
    assert_int_equal(list(PAGE, 1U << 5, UINT64_MAX).n, 0);
    assert_int_equal(list(ATTEMPT, ALL, UINT64_MAX).n, 0);
    uint64_t since = read_one(PAGE, OR_SPAN("29")).since_ms;
    assert_int_equal(list(PAGE, ALL, since + 1).n, 30);
    assert_int_equal(list(PAGE, ALL, read_one(PAGE, OR_SPAN("0")).since_ms).n, 0);
    assert_int_equal(list(PAGE, ALL, 0).n, 0);
}

static void a_listing_ends_when_told(void **state)
{
    (void)state;
    put_numbered(KEY, 0, 20, false);
    struct collected all = {.limit = 7};
    b.status = c->type->ledger->list(c, space, KEY, ALL, UINT64_MAX, collect, &all, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(all.n, 7);
}

/* Rewrites the record that it visits, and adds another one. */
static bool write_meanwhile(void *context, const struct onerow_ledger_record *record)
{
    struct collected *all = context;
    const char *name = text(&b, "%.*s", (int)record->name.len, record->name.data);
    if (collect(all, record) && !strchr(name, 'x') && all->writes < 500) {
        all->writes++;
        set(name, record->revision, 5, "rewritten");
        set(text(&b, "%sx%u", name, all->writes), 0, 1, "new");
    }
    return true;
}

/* More than a page of records; those that nobody writes are visited once. */
static void a_listing_while_it_is_written(void **state)
{
    (void)state;
    struct onerow_ledger_change *changes = calloc(1000, sizeof *changes);
    struct onerow_ledger_swap *swaps = calloc(1000, sizeof *swaps);
    for (unsigned i = 0; i < 1000; i++) {
        changes[i] = change(KEY, text(&b, "%u", i), 0, 1, "");
        swaps[i] = (struct onerow_ledger_swap){.changes = &changes[i], .n = 1};
    }
    b.status = c->type->ledger->swap(c, space, swaps, 1000, &now_ms, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(list(KEY, 1U << 1, UINT64_MAX).n, 1000);
    struct collected all = {0};
    b.status =
        c->type->ledger->list(c, space, KEY, 1U << 1, UINT64_MAX, write_meanwhile, &all, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_true(all.n >= 1000);
    assert_true(all.writes > 0);
    assert_int_equal(list(KEY, 1U << 5, UINT64_MAX).n, all.writes);
    assert_int_equal(list(KEY, 1U << 1, UINT64_MAX).n, 1000);
    free(changes);
    free(swaps);
}

static bool note_body(void *context, const struct onerow_ledger_record *record)
{
    size_t *bytes = context;
    *bytes += record->body.len;
    return true;
}

static void a_listing_of_large_bodies(void **state)
{
    (void)state;
    size_t bytes = 0;
    char *large = calloc(1, ONEROW_LEDGER_BODY_MAX);
    for (unsigned i = 0; i < 12; i++) {
        set_bytes(or_span(text(&b, "%u", i)), (struct onerow_span){large, ONEROW_LEDGER_BODY_MAX});
    }
    b.status = c->type->ledger->list(c, space, KEY, ALL, UINT64_MAX, note_body, &bytes, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(bytes, 12U * ONEROW_LEDGER_BODY_MAX);
    free(large);
}

static uint64_t forget(uint64_t before_ms)
{
    uint64_t n = 0;
    b.status = c->type->ledger->forget(c, space, before_ms, &n, &b.error);
    assert_status(&b, ONEROW_OK);
    return n;
}

static void old_attempts_are_forgotten(void **state)
{
    (void)state;
    put_numbered(ATTEMPT, 0, 10, true);
    put_numbered(ATTEMPT, 10, 3, false); /* never stamped */
    put_numbered(KEY, 20, 3, true);
    put_numbered(PAGE, 20, 3, true);
    assert_int_equal(forget(read_one(ATTEMPT, OR_SPAN("0")).since_ms), 0);
    assert_int_equal(forget(read_one(ATTEMPT, OR_SPAN("9")).since_ms + 1), 10);
    assert_string_equal(seen_as(ATTEMPT, "0"), "0/0:");
    assert_int_equal(list(ATTEMPT, ALL, UINT64_MAX).n, 3);
    assert_int_equal(list(KEY, ALL, UINT64_MAX).n, 3);
    assert_int_equal(list(PAGE, ALL, UINT64_MAX).n, 3);
    assert_int_equal(forget(UINT64_MAX), 0);
}

/* ---- numbers and standing -------------------------------------------------------------------- */

static void numbers_are_given_once(void **state)
{
    (void)state;
    uint64_t one = reserve(c, 1);
    uint64_t ten = reserve(c, 10);
    struct onerow_coordinator *other = another();
    enter_as(other, "others", "x"); /* numbers are the ledger's, not the namespace's */
    uint64_t next = reserve(other, 1000);
    assert_status(&b, ONEROW_OK);
    assert_true(one > 0 && ten >= one + 1 && next >= ten + 10);
    assert_true(reserve(c, 1) >= next + 1000);
    close_it(other);
}

static void numbers_come_to_an_end(void **state)
{
    (void)state;
    reserve(c, UINT64_MAX);
    assert_status(&b, ONEROW_FULL);
    reserve(c, ONEROW_LEDGER_NUMBERS);
    assert_status(&b, ONEROW_FULL);
    reserve(c, 1);
    assert_status(&b, ONEROW_OK);
}

static void a_number_never_given_proves_a_rollback(void **state)
{
    (void)state;
    uint64_t first = reserve(c, 10);
    assert_int_equal(witness(c, first).standing, ONEROW_LEDGER_SOUND);
    assert_int_equal(witness(c, first + 9).standing, ONEROW_LEDGER_SOUND);
    struct onerow_ledger_namespace told = witness(c, first + 5000);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(told.standing, ONEROW_LEDGER_SUSPECT);
    assert_non_null(told.why);
    assert_contains(told.why, "never given out");
    assert_true(reserve(c, 1) > first + 5000);
    assert_int_equal(enter(c).standing, ONEROW_LEDGER_SUSPECT);
    assert_true(set("a", 0, 1, "imported")); /* it can be worked with */
    assert_int_equal(confirm(c), ONEROW_OK);
    assert_int_equal(enter(c).standing, ONEROW_LEDGER_SOUND);
    assert_int_equal(witness(c, first + 5000).standing, ONEROW_LEDGER_SOUND); /* known by now */
    assert_string_equal(seen("a"), "1/1:imported");
}

static void doubt_is_of_one_namespace(void **state)
{
    (void)state;
    enter_as(c, "others", "x");
    witness(c, 1000000);
    assert_int_equal(enter_as(c, "others", "x").standing, ONEROW_LEDGER_SOUND);
    assert_int_equal(enter(c).standing, ONEROW_LEDGER_SUSPECT);
}

static void a_number_of_no_ledger_is_refused(void **state)
{
    (void)state;
    witness(c, ONEROW_LEDGER_NUMBERS);
    assert_status(&b, ONEROW_CONFIG);
    witness(c, UINT64_MAX);
    assert_status(&b, ONEROW_CONFIG);
    assert_int_equal(enter(c).standing, ONEROW_LEDGER_SOUND);
    assert_int_equal(witness(c, ONEROW_LEDGER_NUMBERS - 1).standing, ONEROW_LEDGER_SUSPECT);
    reserve(c, 1);
    assert_status(&b, ONEROW_FULL);
}

/* Who has not heard of the doubt is told by every call, until he enters again. */
static void doubt_stops_those_who_entered_before(void **state)
{
    (void)state;
    struct onerow_coordinator *other = another();
    struct onerow_ledger_change one = change(KEY, "a", 0, 1, "x");
    struct onerow_ledger_swap swaps[] = {{.changes = &one, .n = 1, .done = true}};
    struct onerow_ledger_record record = {.kind = KEY, .name = OR_SPAN("a")};
    struct collected all = {0};
    uint64_t n = 0;
    enter(other);
    witness(c, 1000000);
    const struct onerow_ledger_ops *ops = other->type->ledger;
    assert_int_equal(ops->swap(other, space, swaps, 1, &now_ms, &b.error), ONEROW_VANISHED);
    assert_false(swaps[0].done);
    assert_contains(b.error.text, "rolled back");
    assert_int_equal(ops->read(other, space, &record, 1, &now_ms, &b.arena, &b.error),
                     ONEROW_VANISHED);
    assert_int_equal(ops->list(other, space, KEY, ALL, UINT64_MAX, collect, &all, &b.error),
                     ONEROW_VANISHED);
    assert_int_equal(ops->forget(other, space, UINT64_MAX, &n, &b.error), ONEROW_VANISHED);
    assert_int_equal(confirm(other), ONEROW_VANISHED);
    assert_string_equal(seen("a"), "0/0:");
    assert_int_equal(enter(other).standing, ONEROW_LEDGER_SUSPECT);
    assert_int_equal(ops->swap(other, space, swaps, 1, &now_ms, &b.error), ONEROW_OK);
    assert_true(swaps[0].done);
    close_it(other);
}

static void a_confirmation_does_not_cover_a_later_doubt(void **state)
{
    (void)state;
    struct onerow_coordinator *other = another();
    witness(c, 1000000);
    assert_int_equal(enter(other).standing, ONEROW_LEDGER_SUSPECT);
    witness(c, 2000000); /* while the other one imports */
    assert_int_equal(confirm(other), ONEROW_VANISHED);
    assert_int_equal(enter(other).standing, ONEROW_LEDGER_SUSPECT);
    assert_int_equal(confirm(other), ONEROW_OK);
    assert_int_equal(enter(c).standing, ONEROW_LEDGER_SOUND);
    close_it(other);
}

/* ---- the suite ------------------------------------------------------------------------------- */

static const struct ledger_test suite[] = {
#define RUNS(name)                                                                                 \
    {                                                                                              \
#name, name, false                                                                         \
    }
    RUNS(the_type_describes_itself),
    RUNS(what_was_never_written_is_nothing),
    RUNS(every_write_is_one_revision),
    RUNS(another_revision_is_refused),
    RUNS(states_are_a_condition),
    RUNS(a_condition_alone_changes_nothing),
    RUNS(absence_is_a_condition),
    RUNS(all_records_or_none),
    RUNS(swaps_of_one_call_see_each_other),
    RUNS(a_call_without_swaps_is_harmless),
    RUNS(thousands_of_swaps_in_one_call),
    RUNS(names_are_any_bytes),
    RUNS(bodies_of_any_size),
    RUNS(several_records_in_one_read),
    RUNS(namespaces_and_kinds_do_not_mix),
    RUNS(a_namespace_is_the_same_for_all),
    RUNS(a_definition_that_differs_is_refused),
    RUNS(stamps_are_the_ledgers_clock),
    RUNS(a_listing_has_the_wanted_ones),
    RUNS(a_listing_ends_when_told),
    RUNS(a_listing_while_it_is_written),
    RUNS(a_listing_of_large_bodies),
    RUNS(old_attempts_are_forgotten),
    RUNS(numbers_are_given_once),
    RUNS(numbers_come_to_an_end),
    RUNS(a_number_never_given_proves_a_rollback),
    RUNS(doubt_is_of_one_namespace),
    RUNS(a_number_of_no_ledger_is_refused),
    RUNS(doubt_stops_those_who_entered_before),
    RUNS(a_confirmation_does_not_cover_a_later_doubt),
};

int main(void)
{
    return run_ledger_tests("ledger", suite, sizeof suite / sizeof *suite, ledger_start,
                            ledger_stop);
}
