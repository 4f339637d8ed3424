/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of pages over a store that goes wrong in every way (support/fake_pages.h), with
 * ledgers in memory and in SQLite: what single records come to; what several drivers, in threads
 * and in processes that are killed, leave behind; a ledger that fails; stops; rate windows and the
 * breaker; memory. The way of check and then create, over the same store, makes the twins that it
 * makes.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wake.h"
#include "core/order.h"
#include "engine/driver_pages.h"
#include "engine/letters.h"
#include "engine/single.h"
#include "tests/support/bench.h"
#include "tests/support/seat.h"

static const struct or_retry_limits SHORT = {.classes = {[OR_RETRY_CONFLICT] = {2, 20, 0},
                                                         [OR_RETRY_RATE] = {2, 20, 0},
                                                         [OR_RETRY_UNCERTAIN] = {2, 20, 0},
                                                         [OR_RETRY_LOOKUP] = {2, 20, 0},
                                                         [OR_RETRY_BUSY] = {2, 20, 0}},
                                             .total_ms = 300};
static const struct or_breaker_limits BREAKER = {
    .percent = 20, .least = 10, .cool_ms = 50, .cool_max_ms = 100, .probe_ms = 1000};
/* ---- single records ------------------------------------------------------------------------- */

static void created_unchanged_updated(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'HOME','v':'1'}"), "created");
    assert_string_equal(seat.b.ids, "p1");
    assert_string_equal(say("{'k':'HOME','v':'1'}"), "unchanged");
    assert_string_equal(seat.b.ids, "p1");
    assert_string_equal(say("{'k':'HOME','v':'2'}"), "updated");
    assert_string_equal(seat.b.ids, "p1");
    assert_string_equal(fake_find(world, "HOME")->text, "v=2;");
    assert_int_equal(world->calls[ONEROW_PAGE_CREATE], 1);
    assert_int_equal(world->calls[ONEROW_PAGE_PUBLISH], 1);
    assert_int_equal(world->calls[ONEROW_PAGE_WRITE], 1);
    assert_int_equal(world->calls[ONEROW_PAGE_PROBE], 1);
}

static void kept_and_older(void **state)
{
    (void)state;
    seat.pages.attempt.policy = ONEROW_POLICY_KEEP;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    assert_string_equal(say("{'k':'a','v':'2'}"), "unchanged:kept");
    seat.pages.attempt.policy = ONEROW_POLICY_NEWEST;
    seat.b.table.spec.order_column = "at";
    assert_string_equal(say("{'k':'b','at':5}\n{'k':'b','at':10}\n{'k':'b','at':9}"),
                        "created,updated,unchanged:older");
    assert_string_equal(fake_find(world, "b")->text, "at=10;");
}

static void equal_keys_are_written_one_by_one(void **state)
{
    (void)state;
    const char *said = say("{'k':'a','v':'1'}\n{'k':'b','v':'1'}\n{'k':'a','v':'bad'}\n"
                           "{'k':'a','v':'2'}\n{'k':'a','v':'2'}");
    assert_string_equal(said, "created,created,rejected:v cannot be bad,updated,unchanged");
    assert_string_equal(fake_find(world, "a")->text, "v=2;");
    assert_int_equal(fake_live(world, "a"), 1);
    assert_int_equal(world->calls[ONEROW_PAGE_PROBE], 1);
}

static void pages_that_were_there_are_adopted(void **state)
{
    (void)state;
    const char *planted = text(&seat.b, "%s", fake_plant(world, "HOME", "v=0;"));
    assert_string_equal(say("{'k':'HOME','v':'1'}\n{'k':'Home','v':'1'}"), "updated,created");
    assert_contains(seat.b.ids, planted);
    assert_int_equal(fake_live(world, "HOME"), 1);
    assert_int_equal(fake_live(world, "Home"), 1);
}

static void what_the_store_refuses_is_told_in_its_words(void **state)
{
    (void)state;
    const char *refused = "rejected:the store refuses it: validation_error: v must not be poison";
    assert_string_equal(say("{'k':'a','v':'poison'}"), refused);
    assert_int_equal(fake_live(world, "a"), 0);
    assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'b','v':'1'}"), "created,created");
    assert_string_equal(say("{'k':'b','v':'poison'}"), refused);
    assert_string_equal(say("{'k':'b','v':'1'}"), "unchanged");
    assert_string_equal(fake_find(world, "b")->text, "v=1;");
}

static void reserved_keys_are_refused(void **state)
{
    (void)state;
    assert_contains(say("{'k':'onerow:blank:1','v':'1'}"), "rejected:its key begins with onerow");
    assert_contains(say("{'k':'OneRow:Moved:p1','v':'1'}"), "rejected:its key begins with onerow");
    assert_string_equal(say("{'k':'onerow','v':'1'}"), "created");
}

/* Longer than a name in the ledger may be. */
static void a_very_long_key(void **state)
{
    (void)state;
    static char key[6000];
    memset(key, 'x', sizeof key - 1);
    const char *record = text(&seat.b, "{'k':'%s','v':'1'}", key);
    assert_string_equal(say(record), "created");
    assert_string_equal(say(record), "unchanged");
    assert_string_equal(say(text(&seat.b, "{'k':'%sy','v':'1'}", key)), "created");
    assert_string_equal(say(text(&seat.b, "{'k':'%s','v':'2'}", key)), "updated");
    assert_int_equal(world->n_pages, 2);
}

static void too_much_for_the_ledger_is_refused(void **state)
{
    (void)state;
    char *value = calloc(1, ONEROW_LEDGER_BODY_MAX);
    assert_non_null(value);
    memset(value, 'x', ONEROW_LEDGER_BODY_MAX - 1);
    const char *record = text(&seat.b, "{'k':'a','v':'%s'}\n{'k':'b'}", value);
    free(value);
    assert_string_equal(say(record), "rejected:what it writes is too long for the ledger,created");
}

static void a_page_in_the_trash(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    fake_find(world, "a")->trashed = true;
    assert_contains(say("{'k':'a','v':'2'}"), "rejected:the page was deleted");
    seat.pages.attempt.deletion = OR_DELETION_RECREATE;
    assert_string_equal(say("{'k':'b','v':'1'}"), "created");
    fake_find(world, "b")->trashed = true;
    assert_string_equal(say("{'k':'b','v':'2'}"), "created");
    assert_int_equal(fake_live(world, "b"), 1);
    seat.pages.attempt.deletion = OR_DELETION_RESTORE;
    assert_string_equal(say("{'k':'c','v':'1'}"), "created");
    const char *id = seat.b.ids;
    fake_find(world, "c")->trashed = true;
    assert_string_equal(say("{'k':'c','v':'2'}"), "updated");
    assert_string_equal(seat.b.ids, id);
    assert_int_equal(fake_live(world, "c"), 1);
}

static void look_at_first(void **state)
{
    (void)state;
    seat.pages.attempt.verify_read = true;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    strcpy(fake_find(world, "a")->text, "v=other;");
    assert_string_equal(say("{'k':'a','v':'1'}"), "updated");
    strcpy(fake_find(world, "a")->key, "renamed");
    assert_contains(say("{'k':'a','v':'1'}"), "rejected:the key of its page was changed");
}

static void not_found_is_no_proof(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_NOT_FOUND;
    assert_contains(say("{'k':'a','v':'2'}"), "unknown:the store does not find the page");
    assert_int_equal(seat.b.status, ONEROW_UNKNOWN);
    assert_int_equal(fake_live(world, "a"), 1);
}

static void after_a_failed_lookup_nothing_is_made(void **state)
{
    (void)state;
    static const enum onerow_page_answer failures[] = {
        ONEROW_PAGE_REFUSED,  ONEROW_PAGE_NOT_FOUND, ONEROW_PAGE_RATE,
        ONEROW_PAGE_CONFLICT, ONEROW_PAGE_UNCERTAIN, ONEROW_PAGE_FAILED,
    };
    seat.pages.attempt.retry = &SHORT;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        world->script[ONEROW_PAGE_PROBE] = failures[i];
        assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'b','v':'1'}"),
                            "rejected:not written in the time allowed: as the test says,"
                            "rejected:not written in the time allowed: as the test says");
    }
    assert_int_equal(world->n_pages, 0);
    world->script[ONEROW_PAGE_PROBE] = ONEROW_PAGE_OK;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
}

static void defaults_are_for_new_pages(void **state)
{
    (void)state;
    static const struct onerow_value defaults[] = {
        {.data = "new", .len = 3, .column = 1, .kind = ONEROW_UNTYPED},
        {.data = "7", .len = 1, .column = 2, .kind = ONEROW_UNTYPED}};
    seat.pages.defaults = defaults;
    seat.pages.n_defaults = 2;
    assert_string_equal(
        say("{'k':'a'}\n{'k':'b','v':'own'}\n{'k':'c','at':1}\n{'k':'d','v':'x','at':2}"),
        "created,created,created,created");
    assert_string_equal(fake_find(world, "a")->text, "v=new;at=7;");
    assert_string_equal(fake_find(world, "b")->text, "v=own;at=7;");
    assert_string_equal(fake_find(world, "c")->text, "v=new;at=1;");
    assert_string_equal(fake_find(world, "d")->text, "v=x;at=2;");
    assert_string_equal(say("{'k':'a'}\n{'k':'b','v':'own'}"), "unchanged,unchanged");
    assert_string_equal(say("{'k':'b','v':'2'}"), "updated");
    assert_string_equal(fake_find(world, "b")->text, "v=2;");
    fake_plant(world, "old", "v=0;");
    assert_string_equal(say("{'k':'old','at':3}"), "updated");
    assert_string_equal(fake_find(world, "old")->text, "at=3;");
}

/* What the replay of a dead letter puts: only over a page that is as it was then. */
struct witness {
    char then[OR_ROW_STATE_LEN];
    char now[OR_ROW_STATE_LEN];
};

static void look_before(void *context, struct or_table *table, const struct onerow_record *record)
{
    struct witness *witness = context;
    or_row_state(table, record, witness->now);
}

static enum onerow_status compare_after(void *context, const struct onerow_verdict *verdict,
                                        struct onerow_error *error)
{
    const struct witness *witness = context;
    return verdict->outcome == ONEROW_UNCHANGED || strcmp(witness->then, witness->now) == 0
               ? ONEROW_OK
               : or_fail(error, ONEROW_REJECTED, "it changed since");
}

static const char *say_as_then(struct witness *witness, const char *json)
{
    struct or_item item = {0};
    struct or_entry entry = {0};
    const struct or_drive_guard guard = {look_before, compare_after, witness};
    assert_int_equal(or_input_parse_json(or_span(json), &seat.b.arena, &item), ONEROW_OK);
    seat.b.status =
        or_single_put(&seat.b.table, &item, &guard, &entry, &seat.b.arena, &seat.b.error);
    return text(&seat.b, "%s%s%s", onerow_outcome_name((enum onerow_outcome)entry.outcome),
                entry.reason ? ":" : "", entry.reason ? entry.reason : "");
}

static void a_replay_writes_over_nothing_that_changed(void **state)
{
    (void)state;
    struct witness witness = {.then = "absent"};
    assert_string_equal(say_as_then(&witness, "{\"k\":\"a\",\"v\":\"1\"}"), "created");
    assert_string_equal(say_as_then(&witness, "{\"k\":\"a\",\"v\":\"1\"}"), "unchanged");
    assert_string_equal(say_as_then(&witness, "{\"k\":\"a\",\"v\":\"2\"}"),
                        "rejected:it changed since");
    assert_string_equal(fake_find(world, "a")->text, "v=1;");
    strcpy(witness.then, witness.now);
    assert_string_equal(say_as_then(&witness, "{\"k\":\"a\",\"v\":\"2\"}"), "updated");
    assert_string_equal(say_as_then(&witness, "{\"k\":\"a\",\"v\":\"3\"}"),
                        "rejected:it changed since");
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void lookups_go_together(void **state)
{
    (void)state;
    struct or_drive_stats stats = {0};
    struct or_drive_options options = {.stats = &stats};
    struct feed feed = make_feed(&seat, 1000, 0, 1000, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(count(&feed, ONEROW_CREATED), 1000);
    assert_int_equal(stats.pages.probes, 10);
    assert_int_equal(stats.pages.requests, 2010);
    assert_int_equal(world->probed_keys, 1000);
    assert_int_equal(world->twins, 0);
    assert_int_equal(fake_blanks(world), 0);
}

static void one_of_a_line_at_a_time(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    struct feed feed = make_feed(&seat, 100, 0, 100, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_true(world->most_out > 10); /* the control: without a line they go side by side */
    world->most_out = 0;
    world->line = 1;
    feed = make_feed(&seat, 100, 100, 200, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(count(&feed, ONEROW_CREATED), 100);
    assert_int_equal(world->most_out, 1);
}

static void a_blank_that_was_not_used_is_used_next(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    struct seat other;
    sit_down(&other, memory()); /* of another ledger: it binds nothing that this one knows */
    world->script[ONEROW_PAGE_PUBLISH] = ONEROW_PAGE_OK;
    seat.pages.spares.n = 1;
    strcpy(seat.pages.spares.ids[0], "p1");
    seat.pages.spares.lens[0] = 2;
    world->pages[world->n_pages++] = (struct fake_page){.title = "onerow:blank:spare"};
    struct feed feed = make_feed(&seat, 1, 0, 1, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(world->calls[ONEROW_PAGE_CREATE], 0);
    assert_int_equal(fake_blanks(world), 0);
    assert_int_equal(seat.pages.spares.n, 0);
    rise(&other);
}

/* ---- stopping ------------------------------------------------------------------------------- */

struct stopper {
    pthread_t thread;
    bool flag;
    enum onerow_page_do what; /* once so many requests of this kind were sent */
    uint64_t calls;
};

static void *stop_soon(void *context)
{
    struct stopper *stopper = context;
    bool go_on = true;
    while (go_on) {
        (void)usleep(1000);
        pthread_mutex_lock(&world->lock);
        go_on = world->calls[stopper->what] < stopper->calls;
        pthread_mutex_unlock(&world->lock);
    }
    or_flag_set(&stopper->flag);
    (void)usleep(20000);
    pthread_mutex_lock(&world->lock);
    world->hold = false;
    pthread_mutex_unlock(&world->lock);
    return NULL;
}

/* Stopped at each kind of request: what is out comes to an end, and the outcomes are true. */
static void stopped_at(enum onerow_page_do what, bool hold)
{
    struct stopper stopper = {.what = what, .calls = 5};
    struct or_drive_options options = {.stop = &stopper.flag};
    static size_t first;
    struct feed feed = make_feed(&seat, 300, first, 100000, 1, "x");
    first += 300;
    memset(world->calls, 0, sizeof world->calls);
    world->hold = hold;
    assert_int_equal(pthread_create(&stopper.thread, NULL, stop_soon, &stopper), 0);
    enum onerow_status status = put_feed(&seat, &feed, &options);
    pthread_join(stopper.thread, NULL);
    assert_true(status == ONEROW_INTERRUPTED || status == ONEROW_UNKNOWN);
    assert_true(count(&feed, ONEROW_PENDING) > 0);
    assert_int_equal(count(&feed, ONEROW_REFUSED), 0);
    for (size_t i = 0; i < feed.n; i++) {
        const struct or_entry *entry = &feed.entries[i];
        char key[FAKE_KEY];
        (void)snprintf(key, sizeof key, "%.*s", (int)entry->record.values[0].len,
                       entry->record.values[0].data);
        if (entry->outcome == ONEROW_CREATED) {
            assert_int_equal(fake_live(world, key), 1);
        } else if (entry->outcome == ONEROW_PENDING) {
            assert_int_equal(fake_live(world, key), 0);
        }
    }
    stopper.flag = false; /* a second run finishes what was left */
    for (size_t i = 0; i < feed.n; i++) {
        feed.entries[i].outcome = ONEROW_PENDING;
    }
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(world->twins, 0);
}

static void a_stop_ends_the_run(void **state)
{
    (void)state;
    world->line = 1; /* slowly */
    stopped_at(ONEROW_PAGE_CREATE, false);
    stopped_at(ONEROW_PAGE_PUBLISH, false);
    world->line = 0;
    world->script[ONEROW_PAGE_PROBE] = ONEROW_PAGE_OK;
    struct stopper stopper = {.flag = true};
    struct or_drive_options options = {.stop = &stopper.flag};
    struct feed feed = make_feed(&seat, 10, 5000, 100000, 1, "x");
    memset(world->calls, 0, sizeof world->calls);
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_INTERRUPTED);
    assert_int_equal(count(&feed, ONEROW_PENDING), 10);
    assert_int_equal(world->calls[ONEROW_PAGE_PROBE], 0);
}

/* ---- a ledger that fails -------------------------------------------------------------------- */

/* Wraps a ledger's functions: the call that is `left` away answers with `status`. */
static struct {
    const struct onerow_ledger_ops *real;
    struct onerow_ledger_ops ops;
    unsigned reads, swaps, reserves; /* left until then; 0: never */
    bool done;                       /* the swap happens all the same */
    enum onerow_status status;
    unsigned times;
} trouble;

static bool comes(unsigned *left)
{
    if (*left == 0 || --*left || trouble.times == 0) {
        return false;
    }
    *left = --trouble.times ? 1 : 0;
    return true;
}

static enum onerow_status bad_read(struct onerow_coordinator *coordinator, uint64_t space,
                                   struct onerow_ledger_record *records, size_t n, uint64_t *now_ms,
                                   struct or_arena *arena, struct onerow_error *error)
{
    return comes(&trouble.reads)
               ? or_fail(error, trouble.status, "the ledger does not answer")
               : trouble.real->read(coordinator, space, records, n, now_ms, arena, error);
}

static enum onerow_status bad_swap(struct onerow_coordinator *coordinator, uint64_t space,
                                   struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                   struct onerow_error *error)
{
    bool bad = comes(&trouble.swaps);
    enum onerow_status status =
        bad && !trouble.done ? ONEROW_OK
                             : trouble.real->swap(coordinator, space, swaps, n, now_ms, error);
    if (!bad) {
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        swaps[i].done = false;
    }
    return or_fail(error, trouble.status, "the ledger does not answer");
}

static enum onerow_status bad_reserve(struct onerow_coordinator *coordinator, uint64_t n,
                                      uint64_t *first, struct onerow_error *error)
{
    return comes(&trouble.reserves) ? or_fail(error, trouble.status, "the ledger does not answer")
                                    : trouble.real->reserve(coordinator, n, first, error);
}

static void make_trouble(enum onerow_status status, bool done, unsigned times)
{
    trouble.real = trouble.real ? trouble.real : seat.ledger.ops;
    trouble.ops = *trouble.real;
    trouble.ops.read = bad_read;
    trouble.ops.swap = bad_swap;
    trouble.ops.reserve = bad_reserve;
    trouble.reads = trouble.swaps = trouble.reserves = 0;
    trouble.status = status;
    trouble.done = done;
    trouble.times = times;
    seat.ledger.ops = &trouble.ops;
}

/* Whatever is said to be written is there, whatever is said not to be is not. */
static void outcomes_are_true(const struct feed *feed)
{
    for (size_t i = 0; i < feed->n; i++) {
        const struct or_entry *entry = &feed->entries[i];
        char key[FAKE_KEY];
        (void)snprintf(key, sizeof key, "%.*s", (int)entry->record.values[0].len,
                       entry->record.values[0].data);
        size_t live = fake_live(world, key);
        switch (entry->outcome) {
        case ONEROW_CREATED:
        case ONEROW_UPDATED:
        case ONEROW_UNCHANGED: assert_int_equal(live, 1); break;
        case ONEROW_REFUSED:
        case ONEROW_PENDING: assert_int_equal(live, 0); break;
        default: assert_true(live <= 1); break;
        }
    }
}

static size_t next_key;

static struct feed fresh(size_t n)
{
    struct feed feed = make_feed(&seat, n, next_key, SIZE_MAX, 1, "x");
    next_key += n;
    return feed;
}

static void the_ledger_answers_again(void **state)
{
    (void)state;
    static const enum onerow_status passing[] = {ONEROW_UNAVAILABLE, ONEROW_BUSY, ONEROW_RETRY,
                                                 ONEROW_UNKNOWN};
    struct or_drive_options options = {0};
    trouble.real = NULL;
    for (size_t i = 0; i < 3 * sizeof passing / sizeof *passing; i++) {
        enum onerow_status status = passing[i / 3];
        for (unsigned at = 1; at <= 4; at++) {
            make_trouble(status, status == ONEROW_UNKNOWN && at % 2, 2);
            *(i % 3 == 0 ? &trouble.reads : i % 3 == 1 ? &trouble.swaps : &trouble.reserves) = at;
            struct feed feed = fresh(70);
            assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
            assert_int_equal(count(&feed, ONEROW_CREATED), 70);
        }
    }
    assert_int_equal(world->twins, 0);
    seat.ledger.ops = trouble.real;
}

/* At each of its calls: the run ends, everything has an outcome, and all of them are true. */
static void the_ledger_is_gone(void **state)
{
    (void)state;
    static const enum onerow_status fatal[] = {ONEROW_CORRUPT, ONEROW_VANISHED, ONEROW_FULL,
                                               ONEROW_IO};
    struct or_drive_options options = {0};
    trouble.real = NULL;
    size_t unknown = 0;
    for (size_t i = 0; i < 3 * sizeof fatal / sizeof *fatal; i++) {
        for (unsigned at = 1; at <= 4; at++) {
            make_trouble(fatal[i / 3], false, UINT32_MAX);
            *(i % 3 == 0 ? &trouble.reads : i % 3 == 1 ? &trouble.swaps : &trouble.reserves) = at;
            struct feed feed = fresh(250);
            enum onerow_status status = put_feed(&seat, &feed, &options);
            if (status == ONEROW_OK) { /* so many calls are not needed */
                continue;
            }
            assert_int_equal(status, fatal[i / 3]);
            assert_string_equal(seat.b.error.text, "the ledger does not answer");
            assert_int_equal(count(&feed, ONEROW_PENDING), 0);
            outcomes_are_true(&feed);
            unknown += count(&feed, ONEROW_IN_DOUBT);
            seat.ledger.ops = trouble.real; /* it is back, and everything comes to an end */
            for (size_t k = 0; k < feed.n; k++) {
                feed.entries[k].outcome = ONEROW_PENDING;
            }
            assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
        }
    }
    assert_true(unknown > 0);
    assert_int_equal(world->twins, 0);
    seat.ledger.ops = trouble.real;
}

static void a_ledger_that_stays_away(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    trouble.real = NULL;
    seat.pages.attempt.retry = &SHORT;
    make_trouble(ONEROW_UNAVAILABLE, false, UINT32_MAX);
    trouble.reserves = 1;
    struct feed feed = fresh(5);
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_REJECTED);
    assert_string_equal(feed.entries[0].reason,
                        "not written in the time allowed: the ledger does not answer");
    assert_int_equal(seat.ledger.numbers_left, 0);
    assert_int_equal(world->n_sent, 0);
    make_trouble(ONEROW_UNAVAILABLE, false, UINT32_MAX);
    trouble.swaps = 2; /* BIND is done, DONE is not */
    feed = fresh(5);
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_UNKNOWN);
    assert_true(count(&feed, ONEROW_IN_DOUBT) > 0);
    assert_int_equal(count(&feed, ONEROW_IN_DOUBT) + count(&feed, ONEROW_REFUSED), 5);
    outcomes_are_true(&feed);
    seat.ledger.ops = trouble.real;
}

static void a_suspect_ledger_makes_nothing(void **state)
{
    (void)state;
    struct onerow_ledger_namespace space = {0};
    struct seat other;
    const char *url = "memory:driver-suspect";
    or_ledger_close(&seat.ledger);
    enter(&seat, url);
    sit_down(&other, url);
    fake_plant(world, "there", "v=0;");
    assert_string_equal(say("{'k':'known','v':'1'}"), "created");
    size_t pages = world->n_pages;
    assert_int_equal(other.ledger.ops->witness(other.ledger.coordinator, other.ledger.space.number,
                                               1000000, &space, NULL),
                     ONEROW_OK);
    assert_int_equal(space.standing, ONEROW_LEDGER_SUSPECT);
    assert_contains(say("{'k':'new','v':'1'}"), "rejected:");
    assert_int_equal(seat.b.status, ONEROW_VANISHED); /* found out since it was entered */
    or_ledger_close(&other.ledger);
    enter(&other, url);
    assert_int_equal(other.ledger.space.standing, ONEROW_LEDGER_SUSPECT);
    other.pages.attempt.may_create = false;
    assert_contains(put(&other.b, "{'k':'new','v':'1'}\n{'k':'there','v':'1'}"),
                    "rejected:the ledger was rolled back");
    assert_string_equal(fake_find(world, "there")->text, "v=1;");
    assert_int_equal(world->n_pages, pages);
    rise(&other);
}

/* ---- windows and breaker -------------------------------------------------------------------- */

static void windows_are_never_exceeded(void **state)
{
    (void)state;
    static const struct or_window list[] = {{.count = 20, .span_ms = 200},
                                            {.count = 60, .span_ms = 1000}};
    struct or_drive_options options = {0};
    struct feed feed = make_feed(&seat, 50, 0, 50, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_true(fake_exceeds(world, &list[0])); /* the control */
    govern(&seat,
           &(struct or_governor_options){
               .windows = list, .n_windows = 2, .breaker = &seat_never, .probe_first = true});
    world->n_sent = 0;
    struct or_drive_stats stats = {0};
    options.stats = &stats;
    feed = make_feed(&seat, 60, 50, 200, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(world->n_sent, 121);
    assert_false(fake_exceeds(world, &list[0]));
    assert_false(fake_exceeds(world, &list[1]));
    assert_int_equal(stats.pages.unsent, 0); /* nothing was announced and then had to wait */
    assert_true(stats.pages.held_ms > 0);
}

struct sharer {
    pthread_t thread;
    struct seat seat;
    size_t first;
};

static const struct or_window SHARED[] = {{.count = 30, .span_ms = 3000}};

static void *put_shared(void *context)
{
    struct sharer *sharer = context;
    struct or_drive_options options = {0};
    struct feed feed = make_feed(&sharer->seat, 20, sharer->first, 1000, 1, "x");
    assert_int_equal(put_feed(&sharer->seat, &feed, &options), ONEROW_OK);
    return NULL;
}

static void windows_are_shared(void **state)
{
    (void)state;
    static struct sharer sharers[2];
    const char *url = "memory:driver-shared";
    for (size_t i = 0; i < 2; i++) {
        sharers[i].first = 100 * i;
        sit_down(&sharers[i].seat, url);
        govern(&sharers[i].seat,
               &(struct or_governor_options){.windows = SHARED,
                                             .n_windows = 1,
                                             .coordinator = sharers[i].seat.ledger.coordinator,
                                             .budget = OR_SPAN("window"),
                                             .breaker = &seat_never});
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&sharers[i].thread, NULL, put_shared, &sharers[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(sharers[i].thread, NULL);
        rise(&sharers[i].seat);
    }
    assert_true(world->n_sent >= 82);
    assert_false(fake_exceeds(world, &SHARED[0]));
}

/* A look-up that is answered in parts, in the midst of writes. */
static void each_part_of_a_look_up_has_leave(void **state)
{
    (void)state;
    static const struct or_window window = {.count = 10, .span_ms = 200};
    govern(&seat, &(struct or_governor_options){
                      .windows = &window, .n_windows = 1, .breaker = &seat_never});
    world->parts = 20;
    struct or_drive_stats stats = {0};
    struct or_drive_options options = {.stats = &stats};
    struct feed feed = make_feed(&seat, 30, 0, 30, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(count(&feed, ONEROW_CREATED), 30);
    assert_int_equal(stats.pages.probes, 1);
    assert_int_equal(world->calls[ONEROW_PAGE_PROBE], 20);
    assert_int_equal(stats.pages.requests, world->n_sent);
    assert_false(fake_exceeds(world, &window));
}

/* Requests that are waited for, of one process, or of two that share the windows. */
static void who_waits_for_an_answer_passes_the_windows(void **state)
{
    (void)state;
    static const struct or_window window = {.count = 3, .span_ms = 100};
    for (size_t shared = 0; shared < 2; shared++) {
        volatile bool stop = false;
        uint64_t passed_ms[12];
        struct seat mine[2];
        for (size_t i = 0; i < 2; i++) {
            sit_down(&mine[i], "memory:driver-pass");
            govern(&mine[i], &(struct or_governor_options){
                                 .windows = &window,
                                 .n_windows = 1,
                                 .coordinator = shared ? mine[i].ledger.coordinator : NULL,
                                 .budget = OR_SPAN("passed"),
                                 .breaker = &seat_never});
        }
        for (size_t i = 0; i < 12; i++) {
            struct or_governor *governor = mine[shared ? i % 2 : 0].governor;
            assert_int_equal(or_governor_pass(governor, 60000, &stop, NULL), ONEROW_OK);
            passed_ms[i] = or_wake_now_ms();
            assert_true(i < 3 || passed_ms[i] - passed_ms[i - 3] >= window.span_ms);
        }
        or_governor_hold(mine[0].governor, 60000, or_wake_now_ms());
        assert_int_equal(or_governor_pass(mine[shared].governor, 1000, &stop, NULL), ONEROW_BUSY);
        stop = true;
        assert_int_equal(or_governor_pass(mine[0].governor, 90000, &stop, NULL),
                         ONEROW_INTERRUPTED);
        rise(&mine[0]);
        rise(&mine[1]);
    }
}

static void retry_after_is_respected(void **state)
{
    (void)state;
    struct or_drive_stats stats = {0};
    struct or_drive_options options = {.stats = &stats};
    world->faults.rate = 50;
    world->retry_ms = 40;
    struct feed feed = make_feed(&seat, 60, 0, 60, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    assert_int_equal(count(&feed, ONEROW_CREATED), 60);
    assert_true(stats.pages.rated > 0);
    assert_int_equal(world->too_early, 0);
}

struct calmer {
    pthread_t thread;
    uint64_t creates;
};

/* The conflicts end once the breaker has let a probe through. */
static void *calm_down(void *context)
{
    struct calmer *calmer = context;
    bool go_on = true;
    while (go_on) {
        (void)usleep(1000);
        pthread_mutex_lock(&world->lock);
        go_on = world->calls[ONEROW_PAGE_CREATE] < calmer->creates;
        world->script[ONEROW_PAGE_CREATE] = go_on ? ONEROW_PAGE_CONFLICT : ONEROW_PAGE_OK;
        pthread_mutex_unlock(&world->lock);
    }
    return NULL;
}

static void the_breaker_opens_and_closes(void **state)
{
    (void)state;
    struct or_drive_stats stats = {0};
    struct or_drive_options options = {.stats = &stats};
    struct calmer calmer = {.creates = 203};
    govern(&seat, &(struct or_governor_options){.breaker = &BREAKER, .probe_first = true});
    world->script[ONEROW_PAGE_CREATE] = ONEROW_PAGE_CONFLICT;
    assert_int_equal(pthread_create(&calmer.thread, NULL, calm_down, &calmer), 0);
    struct feed feed = make_feed(&seat, 200, 0, 200, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_OK);
    pthread_join(calmer.thread, NULL);
    assert_int_equal(count(&feed, ONEROW_CREATED), 200);
    assert_true(stats.pages.opened > 0);
    assert_int_equal(world->twins, 0);
}

static void a_breaker_that_stays_open_ends_the_run(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    govern(&seat, &(struct or_governor_options){.breaker = &BREAKER});
    seat.pages.patience_ms = 300;
    world->script[ONEROW_PAGE_CREATE] = ONEROW_PAGE_CONFLICT;
    struct feed feed = make_feed(&seat, 300, 0, 300, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options), ONEROW_UNAVAILABLE);
    assert_int_equal(count(&feed, ONEROW_REFUSED), 300);
    assert_contains(feed.entries[299].reason, "too many requests met a conflict");
    assert_int_equal(world->n_pages, 0);
}

static void one_request_goes_ahead(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    govern(&seat, &(struct or_governor_options){.breaker = &BREAKER, .probe_first = true});
    struct feed feed = make_feed(&seat, 300, 0, 300, 1, "x");
    assert_int_equal(put_feed(&seat, &feed, &options),
                     ONEROW_OK); /* the probe's answer frees all */
    assert_int_equal(world->calls[ONEROW_PAGE_PROBE], 3);
}

/* ---- several drivers ------------------------------------------------------------------------ */

#define RACE_KEYS 6U

/* The highest order value that was acknowledged for each key, and its page. */
struct claims {
    uint64_t order; /* the next one */
    uint64_t acknowledged[RACE_KEYS];
    char id[RACE_KEYS][16];
    uint64_t moved; /* an acknowledged id that was not the one before */
    uint64_t n;
};

static struct claims *claims;
static pthread_mutex_t claims_lock = PTHREAD_MUTEX_INITIALIZER;

static void claim(const struct or_entry *entry, uint64_t order, size_t key)
{
    char id[16];
    (void)snprintf(id, sizeof id, "%.*s", (int)entry->id.len, entry->id.data);
    pthread_mutex_lock(&claims_lock);
    claims->n++;
    if (order > claims->acknowledged[key] && entry->outcome != ONEROW_UNCHANGED) {
        claims->acknowledged[key] = order;
    }
    claims->moved += claims->id[key][0] && strcmp(claims->id[key], id) != 0;
    strcpy(claims->id[key], id);
    pthread_mutex_unlock(&claims_lock);
}

/* A batch of records of all keys, in any order; what is acknowledged is noted. */
static void put_some(struct seat *at, size_t n)
{
    struct or_drive_options options = {0};
    uint64_t order = __atomic_fetch_add(&claims->order, n, __ATOMIC_SEQ_CST) + 1;
    size_t first = order % RACE_KEYS;
    struct feed feed = make_feed(at, n, first, RACE_KEYS, order, "x");
    (void)put_feed(at, &feed, &options);
    for (size_t i = 0; i < n; i++) {
        const struct or_entry *entry = &feed.entries[i];
        if (entry->outcome == ONEROW_CREATED || entry->outcome == ONEROW_UPDATED ||
            entry->outcome == ONEROW_UNCHANGED) {
            claim(entry, order + i, (first + i) % RACE_KEYS);
        }
    }
    or_arena_reset(&at->b.arena);
}

static uint64_t order_of(const struct fake_page *page)
{
    const char *at = strstr(page->text, "at=");
    return at ? strtoull(at + 3, NULL, 10) : 0;
}

/* One page for each key, with the acknowledged id, and a value that is not older than what was
 * acknowledged. */
static void one_page_each(void)
{
    for (size_t k = 0; k < RACE_KEYS; k++) {
        char key[FAKE_KEY];
        (void)snprintf(key, sizeof key, "key-%zu", k);
        if (claims->id[k][0] == '\0') {
            continue;
        }
        assert_int_equal(fake_live(world, key), 1);
        struct fake_page *page = fake_page(world, or_span(claims->id[k]));
        assert_non_null(page);
        assert_false(page->trashed);
        assert_string_equal(page->key, key);
        assert_true(order_of(page) >= claims->acknowledged[k]);
    }
    assert_int_equal(claims->moved, 0);
    assert_int_equal(world->twins, 0);
}

static void set_newest(struct seat *at)
{
    at->pages.attempt.policy = ONEROW_POLICY_NEWEST;
    at->b.table.spec.order_column = "at";
}

struct racer {
    pthread_t thread;
    const char *url;
    unsigned rounds;
};

static void *race(void *context)
{
    struct racer *racer = context;
    static __thread struct seat mine;
    sit_down(&mine, racer->url);
    set_newest(&mine);
    for (unsigned i = 0; i < racer->rounds; i++) {
        put_some(&mine, RACE_KEYS + 2);
    }
    rise(&mine);
    return NULL;
}

static const struct fake_faults EVERYTHING = {.lost = 60,
                                              .before = 40,
                                              .conflict = 60,
                                              .rate = 20,
                                              .incomplete = 60,
                                              .late = 30,
                                              .lag_ms = 20,
                                              .late_ms = 80};

static void race_over(const char *url)
{
    struct racer racers[3];
    claims = share(sizeof *claims);
    world->faults = EVERYTHING;
    world->retry_ms = 15;
    for (size_t i = 0; i < 3; i++) {
        racers[i] = (struct racer){.url = url, .rounds = 4};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(racers[i].thread, NULL);
    }
    world->faults = (struct fake_faults){0};
    assert_true(claims->n > 3 * 4 * RACE_KEYS / 2);
    one_page_each();
    give_back(claims, sizeof *claims);
}

static void threads_leave_one_page_each(void **state)
{
    (void)state;
    race_over(memory());
}

static void threads_over_sqlite(void **state)
{
    (void)state;
    race_over(text(&seat.b, "sqlite:%s", bench_file(&seat.b, "ledger.db")));
}

struct person {
    pthread_t thread;
    bool gone;
};

/* Throws pages away while others write them. */
static void *throw_away(void *context)
{
    struct person *person = context;
    for (unsigned i = 0; !or_flag_is_set(&person->gone); i++) {
        (void)usleep(2000);
        pthread_mutex_lock(&world->lock);
        struct fake_page *page = world->n_pages ? &world->pages[i * 7 % world->n_pages] : NULL;
        if (page && page->keyed && i % 4 == 0) {
            page->trashed = true;
        }
        pthread_mutex_unlock(&world->lock);
    }
    return NULL;
}

static void *race_under_recreate(void *context)
{
    struct racer *racer = context;
    static __thread struct seat mine;
    sit_down(&mine, racer->url);
    mine.pages.attempt.deletion = OR_DELETION_RECREATE;
    for (unsigned i = 0; i < racer->rounds; i++) {
        put_some(&mine, RACE_KEYS);
    }
    rise(&mine);
    return NULL;
}

static void pages_that_are_thrown_away_are_made_again(void **state)
{
    (void)state;
    struct racer racers[3];
    struct person person = {.gone = false};
    const char *url = memory();
    claims = share(sizeof *claims);
    world->faults =
        (struct fake_faults){.lost = 30, .before = 30, .conflict = 30, .incomplete = 30};
    assert_int_equal(pthread_create(&person.thread, NULL, throw_away, &person), 0);
    for (size_t i = 0; i < 3; i++) {
        racers[i] = (struct racer){.url = url, .rounds = 4};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race_under_recreate, &racers[i]),
                         0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(racers[i].thread, NULL);
    }
    or_flag_set(&person.gone);
    pthread_join(person.thread, NULL);
    world->faults = (struct fake_faults){0};
    assert_true(claims->n > 0);
    assert_int_equal(world->twins, 0);
    or_ledger_close(&seat.ledger);
    enter(&seat, url);
    seat.pages.attempt.deletion = OR_DELETION_RECREATE;
    seat.pages.attempt.verify_read = true;
    put_some(&seat, RACE_KEYS); /* once nobody throws anything away any more */
    for (size_t k = 0; k < RACE_KEYS; k++) {
        assert_int_equal(fake_live(world, text(&seat.b, "key-%zu", k)), 1);
    }
    assert_int_equal(world->twins, 0);
    give_back(claims, sizeof *claims);
}

/* ---- processes that are killed -------------------------------------------------------------- */

struct runner {
    const char *url;
    unsigned rounds;
};

static int run_process(void *context)
{
    const struct runner *runner = context;
    static struct seat mine;
    sit_down(&mine, runner->url);
    set_newest(&mine);
    for (unsigned i = 0; i < runner->rounds; i++) {
        put_some(&mine, RACE_KEYS);
    }
    return 0;
}

static void killed_processes_leave_one_page_each(void **state)
{
    (void)state;
    struct runner runner = {.url = text(&seat.b, "sqlite:%s", bench_file(&seat.b, "ledger.db")),
                            .rounds = 1};
    unsigned killed = 0;
    claims = share(sizeof *claims);
    or_ledger_close(&seat.ledger);
    enter(&seat, runner.url); /* it is made before anybody dies */
    world->faults = EVERYTHING;
    world->retry_ms = 15;
    world->dies = true;
    for (unsigned round = 0; round < 4; round++) {
        pid_t pids[3];
        for (size_t i = 0; i < 3; i++) {
            pids[i] = child(run_process, &runner);
        }
        for (size_t i = 0; i < 3; i++) {
            killed += child_code(pids[i]) == 128 + SIGKILL;
        }
    }
    assert_true(killed > 0);
    world->dies = false;
    world->faults = (struct fake_faults){.lag_ms = 20};
    runner.rounds = 1;
    pid_t last = child(run_process, &runner); /* who comes next finishes what they left */
    assert_int_equal(child_code(last), 0);
    for (size_t k = 0; k < RACE_KEYS; k++) {
        assert_true(claims->id[k][0]);
    }
    one_page_each();
    give_back(claims, sizeof *claims);
}

/* ---- the naive way -------------------------------------------------------------------------- */

static void naive_put(struct seat *at, const struct onerow_record *record)
{
    struct onerow_store *store = at->b.table.store;
    const struct onerow_page_ops *ops = store->type->pages;
    struct onerow_page_call call = {.what = ONEROW_PAGE_PROBE,
                                    .table = at->b.table.table,
                                    .keys = &record,
                                    .n_keys = 1,
                                    .timeout_ms = 100,
                                    .arena = &at->b.arena};
    assert_int_equal(ops->start(store, &call, NULL), ONEROW_OK);
    while (!ops->finish(store, 100)) {
    }
    if (call.answer == ONEROW_PAGE_OK && call.n_found) {
        return;
    }
    call.what = ONEROW_PAGE_CREATE_KEYED; /* nothing, or an error: so it is not there */
    call.payload = OR_SPAN("v=x;");
    assert_int_equal(ops->start(store, &call, NULL), ONEROW_OK);
    while (!ops->finish(store, 100)) {
    }
}

static void *naive(void *context)
{
    struct racer *racer = context;
    static __thread struct seat mine;
    sit_down(&mine, racer->url);
    struct feed feed = make_feed(&mine, 4 * RACE_KEYS, 0, RACE_KEYS, 1, "x");
    for (size_t i = 0; i < feed.n; i++) {
        naive_put(&mine, &feed.entries[i].record);
    }
    rise(&mine);
    return NULL;
}

static void control_check_then_create_makes_twins(void **state)
{
    (void)state;
    struct racer racers[3];
    world->faults = EVERYTHING;
    for (size_t i = 0; i < 3; i++) {
        racers[i] = (struct racer){.url = "memory:driver-naive"};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, naive, &racers[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(racers[i].thread, NULL);
    }
    assert_true(world->twins > 0);
}

/* ---- memory --------------------------------------------------------------------------------- */

static size_t resident_kib(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %zu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* 100,000 records in batches: what the driver needs does not grow. */
static void memory_does_not_grow(void **state)
{
    (void)state;
    struct or_drive_options options = {0};
    struct seat mine;
    sit_down(&mine, text(&seat.b, "sqlite:%s", bench_file(&seat.b, "ledger.db")));
    size_t early_kib = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct feed feed = make_feed(&mine, 1000, 0, 1000, 1 + 1000 * i, "x");
        assert_int_equal(put_feed(&mine, &feed, &options), ONEROW_OK);
        or_arena_reset(&mine.b.arena);
        world->n_sent = 0;
        early_kib = i == 10 ? resident_kib() : early_kib;
    }
    size_t late_kib = resident_kib();
    print_message("# resident: %zu KiB after 11,000 records, %zu KiB after 100,000\n", early_kib,
                  late_kib);
    assert_true(late_kib < early_kib + 16384); /* 200 bytes for each record would be more */
    assert_int_equal(world->twins, 0);
    rise(&mine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, seat_start, seat_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(created_unchanged_updated),
        TEST(kept_and_older),
        TEST(equal_keys_are_written_one_by_one),
        TEST(pages_that_were_there_are_adopted),
        TEST(what_the_store_refuses_is_told_in_its_words),
        TEST(reserved_keys_are_refused),
        TEST(a_very_long_key),
        TEST(too_much_for_the_ledger_is_refused),
        TEST(a_page_in_the_trash),
        TEST(look_at_first),
        TEST(not_found_is_no_proof),
        TEST(after_a_failed_lookup_nothing_is_made),
        TEST(defaults_are_for_new_pages),
        TEST(a_replay_writes_over_nothing_that_changed),
        TEST(lookups_go_together),
        TEST(one_of_a_line_at_a_time),
        TEST(a_blank_that_was_not_used_is_used_next),
        TEST(a_stop_ends_the_run),
        TEST(the_ledger_answers_again),
        TEST(the_ledger_is_gone),
        TEST(a_ledger_that_stays_away),
        TEST(a_suspect_ledger_makes_nothing),
        TEST(windows_are_never_exceeded),
        TEST(windows_are_shared),
        TEST(each_part_of_a_look_up_has_leave),
        TEST(who_waits_for_an_answer_passes_the_windows),
        TEST(retry_after_is_respected),
        TEST(the_breaker_opens_and_closes),
        TEST(a_breaker_that_stays_open_ends_the_run),
        TEST(one_request_goes_ahead),
        TEST(threads_leave_one_page_each),
        TEST(threads_over_sqlite),
        TEST(pages_that_are_thrown_away_are_made_again),
        TEST(killed_processes_leave_one_page_each),
        TEST(control_check_then_create_makes_twins),
        TEST(memory_does_not_grow),
    };
    seed_dice();
    return cmocka_run_group_tests_name("driver_pages", tests, NULL, NULL);
}
