/* SPDX-License-Identifier: Apache-2.0
 *
 * What extend.h asks of every ledger, over every coordinator of the registry that can keep one.
 * Where a ledger can be shared by processes, processes race over it and are killed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/flag.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "tests/support/bench.h"
#include "tests/support/postgres.h"

struct desk { /* a bench with a ledger open on it */
    struct bench bench;
    const char *url;
    struct onerow_coordinator *coordinator;
    const struct onerow_ledger_ops *ops;
    uint64_t space;
    struct onerow_ledger_namespace entered;
    struct onerow_error error;
    uint64_t now_ms;
};

struct kind { /* how a ledger is had for a test */
    const char *name;
    bool processes; /* it can be shared by processes */
    const char *(*url)(struct bench *b);
};

static const char *memory_url(struct bench *b)
{
    return text(b, "memory:%s", b->folder);
}

static const char *sqlite_url(struct bench *b)
{
    return text(b, "sqlite:%s", bench_file(b, "ledger.db"));
}

static const char *postgres_url(struct bench *b)
{
    return pg_database(b);
}

static struct kind KINDS[] = {
    {"memory", false, memory_url},
    {"sqlite", true, sqlite_url},
    {"postgres", true, postgres_url},
};

static const struct kind *kind; /* the one under test */

static struct onerow_coordinator *open_at(const char *url, struct onerow_error *error)
{
    struct onerow_coordinator_options options = {.url = url, .wait_ms = 60000};
    struct onerow_coordinator *coordinator = NULL;
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    assert_non_null(type);
    enum onerow_status status = type->open(&options, &coordinator, error);
    if (status != ONEROW_OK) {
        fail_msg("%s: %s", url, error->text);
    }
    return coordinator;
}

static void open_desk(struct desk *d)
{
    d->coordinator = open_at(d->url, &d->error);
    d->ops = d->coordinator->type->ledger;
    assert_int_equal(d->ops->enter(d->coordinator, OR_SPAN("space"), OR_SPAN("definition"),
                                   &d->entered, &d->error),
                     ONEROW_OK);
    d->space = d->entered.number;
}

static void close_desk(struct desk *d)
{
    d->coordinator->type->close(d->coordinator);
    d->coordinator = NULL;
}

static void set_up(struct desk *d)
{
    memset(d, 0, sizeof *d);
    bench_start(&d->bench);
    d->url = kind->url(&d->bench);
    open_desk(d);
}

static void tear_down(struct desk *d)
{
    close_desk(d);
    bench_stop(&d->bench);
}

#define ok(d, call)                                                                                \
    do {                                                                                           \
        enum onerow_status got_ = (call);                                                          \
        if (got_ != ONEROW_OK) {                                                                   \
            fail_msg("%s: %s: %s", #call, onerow_status_name(got_), (d)->error.text);              \
        }                                                                                          \
    } while (0)

static struct onerow_ledger_record look_in(struct desk *d, uint64_t space,
                                           enum onerow_ledger_kind what, struct onerow_span name)
{
    struct onerow_ledger_record record = {.kind = what, .name = name};
    ok(d, d->ops->read(d->coordinator, space, &record, 1, &d->now_ms, &d->bench.arena, &d->error));
    return record;
}

/* The number that a body holds; 0 for an empty one. */
static unsigned long number_in(struct onerow_span body)
{
    char digits[32] = "";
    assert_true(body.len < sizeof digits);
    memcpy(digits, body.len ? body.data : "", body.len);
    return strtoul(digits, NULL, 10);
}

static struct onerow_ledger_record look(struct desk *d, const char *name)
{
    return look_in(d, d->space, ONEROW_LEDGER_KEY, or_span(name));
}

static bool swap(struct desk *d, const struct onerow_ledger_change *changes, size_t n)
{
    struct onerow_ledger_swap one = {.changes = changes, .n = n};
    ok(d, d->ops->swap(d->coordinator, d->space, &one, 1, &d->now_ms, &d->error));
    return one.done;
}

static struct onerow_ledger_change change(const char *name, uint64_t revision, uint8_t state,
                                          const char *body)
{
    return (struct onerow_ledger_change){.kind = ONEROW_LEDGER_KEY,
                                         .name = or_span(name),
                                         .revision = revision,
                                         .states = UINT32_MAX,
                                         .state = state,
                                         .body = or_span(body)};
}

static bool put_one(struct desk *d, const char *name, uint64_t revision, uint8_t state,
                    const char *body)
{
    struct onerow_ledger_change one = change(name, revision, state, body);
    return swap(d, &one, 1);
}

/* ---- one at a time ------------------------------------------------------------------------- */

static void never_written(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    struct onerow_ledger_record record = look(&d, "a");
    assert_true(record.revision == 0 && record.since_ms == 0);
    assert_int_equal(record.state, 0);
    assert_true(d.now_ms > 1600000000000);
    tear_down(&d);
}

static void revisions(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    assert_true(put_one(&d, "a", 0, 1, "one"));
    assert_false(put_one(&d, "a", 0, 1, "two"));
    struct onerow_ledger_record record = look(&d, "a");
    assert_true(record.revision == 1);
    assert_true(or_span_is(record.body, "one"));
    assert_true(put_one(&d, "a", 1, 2, ""));
    assert_false(put_one(&d, "a", 1, 3, "late")); /* revisions never return */
    assert_true(put_one(&d, "a", ONEROW_LEDGER_ANY, 1, "one"));
    assert_false(put_one(&d, "a", 2, 3, "late"));
    assert_true(look(&d, "a").revision == 3);
    tear_down(&d);
}

static void states(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    struct onerow_ledger_change one = change("a", ONEROW_LEDGER_ANY, 5, "");
    one.states = 1U << 1 | 1U << 3;
    assert_false(swap(&d, &one, 1)); /* never written is state 0 */
    one.states |= 1U;
    assert_true(swap(&d, &one, 1));
    assert_int_equal(look(&d, "a").state, 5);
    assert_false(swap(&d, &one, 1));
    one.states = 1U << 5;
    one.state = 31;
    assert_true(swap(&d, &one, 1));
    one.states = 1U << 31;
    assert_true(swap(&d, &one, 1));
    tear_down(&d);
}

static void stamps(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    struct onerow_ledger_change one = change("a", 0, 1, "");
    assert_true(swap(&d, &one, 1));
    assert_true(look(&d, "a").since_ms == 0);
    one.revision = 1;
    one.stamp = true;
    assert_true(swap(&d, &one, 1));
    uint64_t stamped = d.now_ms;
    assert_true(look(&d, "a").since_ms == stamped); /* what swap said */
    assert_true(d.now_ms >= stamped);
    one.revision = 2;
    one.stamp = false;
    assert_true(swap(&d, &one, 1));
    assert_true(look(&d, "a").since_ms == stamped);
    one.stamp = true;
    one.revision = ONEROW_LEDGER_ANY;
    for (unsigned i = 0; i < 50; i++) {
        uint64_t before = look(&d, "a").since_ms;
        assert_true(swap(&d, &one, 1));
        assert_true(look(&d, "a").since_ms >= before);
    }
    tear_down(&d);
}

static void all_or_nothing(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    struct onerow_ledger_change changes[4] = {change("a", 0, 1, "A"), change("b", 0, 2, "B"),
                                              change("c", 0, 3, "C"), change("d", 0, 0, "")};
    changes[1].kind = ONEROW_LEDGER_PAGE;
    changes[2].kind = ONEROW_LEDGER_ATTEMPT;
    assert_true(swap(&d, changes, 4));
    assert_true(or_span_is(look_in(&d, d.space, ONEROW_LEDGER_PAGE, OR_SPAN("b")).body, "B"));
    assert_true(look(&d, "b").revision == 0); /* of another kind */
    assert_true(look(&d, "d").revision == 0); /* only a condition */
    assert_true(put_one(&d, "d", 0, 1, ""));
    changes[0].revision = ONEROW_LEDGER_ANY;
    changes[1].revision = ONEROW_LEDGER_ANY;
    changes[2].revision = ONEROW_LEDGER_ANY;
    assert_false(swap(&d, changes, 4)); /* d is there now */
    assert_true(look(&d, "a").revision == 1);
    assert_true(look_in(&d, d.space, ONEROW_LEDGER_PAGE, OR_SPAN("b")).revision == 1);
    changes[3].revision = 1;
    changes[3].states = 1U << 1;
    assert_true(swap(&d, changes, 4));
    assert_true(look(&d, "a").revision == 2);
    assert_true(look(&d, "d").revision == 1);
    tear_down(&d);
}

static void several_swaps_one_after_the_other(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    struct onerow_ledger_change first = change("a", 0, 1, "1");
    struct onerow_ledger_change second = change("a", 0, 1, "2"); /* too late */
    struct onerow_ledger_change third = change("a", 1, 1, "3");
    struct onerow_ledger_change pair[2] = {change("b", 0, 1, "b"), change("a", 2, 0, "")};
    struct onerow_ledger_swap swaps[4] = {{.changes = &first, .n = 1},
                                          {.changes = &second, .n = 1},
                                          {.changes = &third, .n = 1},
                                          {.changes = pair, .n = 2}};
    ok(&d, d.ops->swap(d.coordinator, d.space, swaps, 4, &d.now_ms, &d.error));
    assert_true(swaps[0].done && !swaps[1].done && swaps[2].done && swaps[3].done);
    assert_true(or_span_is(look(&d, "a").body, "3"));
    assert_true(look(&d, "a").revision == 2);
    assert_true(or_span_is(look(&d, "b").body, "b"));
    tear_down(&d);
}

static void names_and_bodies_of_any_bytes(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    size_t large = ONEROW_LEDGER_BODY_MAX;
    char *body = malloc(large);
    char name[256];
    assert_non_null(body);
    for (size_t i = 0; i < large; i++) {
        body[i] = (char)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < sizeof name; i++) {
        name[i] = (char)i;
    }
    struct onerow_ledger_change changes[3] = {change("", 0, 1, ""), change("", 0, 1, ""),
                                              change("", 0, 1, "")};
    changes[0].name = (struct onerow_span){name, sizeof name};
    changes[0].body = (struct onerow_span){body, large};
    changes[1].name = (struct onerow_span){name, 1}; /* a NUL */
    changes[1].body = (struct onerow_span){name, sizeof name};
    changes[2].name = (struct onerow_span){name, 2};
    assert_true(swap(&d, changes, 3));
    for (size_t i = 0; i < 3; i++) {
        struct onerow_ledger_record record =
            look_in(&d, d.space, ONEROW_LEDGER_KEY, changes[i].name);
        assert_true(record.revision == 1);
        assert_true(or_span_equal(record.body, changes[i].body));
    }
    free(body);
    tear_down(&d);
}

static void the_longest_name(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    char *name = malloc(ONEROW_LEDGER_NAME_MAX);
    assert_non_null(name);
    seed_dice();
    for (size_t i = 0; i < ONEROW_LEDGER_NAME_MAX; i++) {
        name[i] = (char)dice(); /* an index that only takes what shrinks is not enough */
    }
    struct onerow_ledger_change one = change("", 0, 1, "x");
    one.name = (struct onerow_span){name, ONEROW_LEDGER_NAME_MAX};
    assert_true(swap(&d, &one, 1));
    assert_true(look_in(&d, d.space, ONEROW_LEDGER_KEY, one.name).revision == 1);
    one.name.len--;
    assert_true(look_in(&d, d.space, ONEROW_LEDGER_KEY, one.name).revision == 0);
    free(name);
    tear_down(&d);
}

static void namespaces(void **state)
{
    struct desk d;
    struct onerow_ledger_namespace other;
    struct onerow_ledger_namespace again;
    (void)state;
    set_up(&d);
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("other"), OR_SPAN("definition"), &other, &d.error));
    assert_true(other.number != d.space);
    assert_string_equal(other.ledger_id, d.entered.ledger_id);
    assert_int_equal(strlen(other.ledger_id), 32);
    assert_true(put_one(&d, "a", 0, 1, "here"));
    assert_true(look_in(&d, other.number, ONEROW_LEDGER_KEY, OR_SPAN("a")).revision == 0);
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("space"), OR_SPAN("definition"), &again, &d.error));
    assert_true(again.number == d.space);
    assert_int_equal(again.standing, ONEROW_LEDGER_SOUND);
    assert_null(again.why);
    assert_int_equal(
        d.ops->enter(d.coordinator, OR_SPAN("space"), OR_SPAN("key: [Title]"), &again, &d.error),
        ONEROW_CONFIG);
    assert_contains(d.error.text, "definition");
    assert_contains(d.error.text, "key: [Title]");
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("space"), OR_SPAN("definition"), &again, &d.error));
    tear_down(&d);
}

/* ---- lists --------------------------------------------------------------------------------------
 */

struct seen {
    unsigned n;
    unsigned stop_after;
    bool marks[2000];
    struct desk *desk;
    bool writes; /* while it is visited */
};

static bool visit(void *context, const struct onerow_ledger_record *record)
{
    struct seen *seen = context;
    unsigned number = (unsigned)number_in(record->body);
    assert_true(number < 2000 && !seen->marks[number]);
    assert_int_equal(record->kind, ONEROW_LEDGER_PAGE);
    assert_true(record->name.len == 5 && record->revision == 1);
    seen->marks[number] = true;
    return ++seen->n != seen->stop_after;
}

static void fill(struct desk *d, unsigned n)
{
    struct onerow_ledger_change *changes = calloc(n, sizeof *changes);
    struct onerow_ledger_swap *swaps = calloc(n, sizeof *swaps);
    assert_true(changes && swaps);
    for (unsigned i = 0; i < n; i++) {
        changes[i] =
            change(text(&d->bench, "p%04u", i), 0, (uint8_t)(1 + i % 3), text(&d->bench, "%u", i));
        changes[i].kind = ONEROW_LEDGER_PAGE;
        changes[i].stamp = i % 2;
        swaps[i] = (struct onerow_ledger_swap){.changes = &changes[i], .n = 1};
    }
    ok(d, d->ops->swap(d->coordinator, d->space, swaps, n, &d->now_ms, &d->error));
    free(changes);
    free(swaps);
}

static unsigned list(struct desk *d, uint32_t wanted, uint64_t before_ms, unsigned stop_after)
{
    struct seen *seen = calloc(1, sizeof *seen);
    assert_non_null(seen);
    seen->stop_after = stop_after;
    ok(d, d->ops->list(d->coordinator, d->space, ONEROW_LEDGER_PAGE, wanted, before_ms, visit, seen,
                       &d->error));
    unsigned n = seen->n;
    free(seen);
    return n;
}

static void lists(void **state)
{
    struct desk d;
    (void)state;
    set_up(&d);
    fill(&d, 1500);
    uint64_t filled_ms = d.now_ms;
    assert_true(put_one(&d, "a key", 0, 1, "0"));
    assert_int_equal(list(&d, UINT32_MAX, UINT64_MAX, 0), 1500);
    assert_int_equal(list(&d, 1U << 2, UINT64_MAX, 0), 500);
    assert_int_equal(list(&d, 1U << 2 | 1U << 3, UINT64_MAX, 0), 1000);
    assert_int_equal(list(&d, UINT32_MAX, filled_ms, 0), 750); /* without a stamp */
    assert_int_equal(list(&d, UINT32_MAX, 0, 0), 0);
    assert_int_equal(list(&d, UINT32_MAX, UINT64_MAX, 7), 7);
    tear_down(&d);
}

static void forgets(void **state)
{
    struct desk d;
    uint64_t n = 0;
    (void)state;
    set_up(&d);
    for (unsigned i = 0; i < 3; i++) {
        struct onerow_ledger_change one = change(text(&d.bench, "n%u", i), 0, 1, "");
        one.kind = ONEROW_LEDGER_ATTEMPT;
        one.stamp = true;
        assert_true(swap(&d, &one, 1));
    }
    assert_true(put_one(&d, "n0", 0, 1, "a key stays"));
    ok(&d, d.ops->forget(d.coordinator, d.space, 1000, &n, &d.error));
    assert_int_equal(n, 0);
    ok(&d, d.ops->forget(d.coordinator, d.space, d.now_ms + 1, &n, &d.error));
    assert_int_equal(n, 3);
    assert_true(look_in(&d, d.space, ONEROW_LEDGER_ATTEMPT, OR_SPAN("n0")).revision == 0);
    assert_true(look(&d, "n0").revision == 1);
    tear_down(&d);
}

/* ---- numbers and standing
 * ------------------------------------------------------------------------ */

static void numbers(void **state)
{
    struct desk d;
    uint64_t first = 0;
    uint64_t next = 0;
    (void)state;
    set_up(&d);
    ok(&d, d.ops->reserve(d.coordinator, 10, &first, &d.error));
    assert_true(first >= 1);
    ok(&d, d.ops->reserve(d.coordinator, 1, &next, &d.error));
    assert_true(next >= first + 10);
    if (kind->processes) {
        close_desk(&d);
        open_desk(&d);
        ok(&d, d.ops->reserve(d.coordinator, 1, &first, &d.error));
        assert_true(first > next);
    }
    tear_down(&d);
}

static void a_number_from_the_future(void **state)
{
    struct desk d;
    struct onerow_ledger_namespace seen;
    struct onerow_ledger_namespace other;
    uint64_t first = 0;
    (void)state;
    set_up(&d);
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("other"), OR_SPAN("definition"), &other, &d.error));
    ok(&d, d.ops->reserve(d.coordinator, 100, &first, &d.error));
    ok(&d, d.ops->witness(d.coordinator, d.space, first + 99, &seen, &d.error));
    assert_int_equal(seen.standing, ONEROW_LEDGER_SOUND); /* it was given out */
    ok(&d, d.ops->witness(d.coordinator, d.space, first + 5000, &seen, &d.error));
    assert_int_equal(seen.standing, ONEROW_LEDGER_SUSPECT);
    assert_contains(seen.why, "rolled back");
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("other"), OR_SPAN("definition"), &other, &d.error));
    assert_int_equal(other.standing, ONEROW_LEDGER_SOUND); /* nothing was seen there */
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("space"), OR_SPAN("definition"), &seen, &d.error));
    assert_int_equal(seen.standing, ONEROW_LEDGER_SUSPECT);
    uint64_t next = 0;
    ok(&d, d.ops->reserve(d.coordinator, 1, &next, &d.error));
    assert_true(next > first + 5000);
    ok(&d, d.ops->confirm(d.coordinator, d.space, &d.error));
    ok(&d, d.ops->enter(d.coordinator, OR_SPAN("space"), OR_SPAN("definition"), &seen, &d.error));
    assert_int_equal(seen.standing, ONEROW_LEDGER_SOUND);
    assert_null(seen.why);
    tear_down(&d);
}

/* A ledger's file that was copied back has forgotten what happened since. */
static void a_restored_file(void **state)
{
    struct desk d;
    (void)state;
    if (strcmp(kind->name, "sqlite") != 0) {
        return; /* others: tests/e2e/test_ledger_server.py */
    }
    set_up(&d);
    assert_true(put_one(&d, "a", 0, 1, "then"));
    close_desk(&d);
    sql_in(&d.bench, bench_file(&d.bench, "ledger.db"),
           text(&d.bench, "VACUUM INTO '%s'", bench_file(&d.bench, "backup.db")));
    open_desk(&d);
    assert_true(put_one(&d, "a", 1, 1, "since"));
    close_desk(&d);
    assert_int_equal(rename(bench_file(&d.bench, "backup.db"), bench_file(&d.bench, "ledger.db")),
                     0);
    open_desk(&d);
    assert_true(or_span_is(look(&d, "a").body, "then"));
    assert_int_equal(d.entered.standing, ONEROW_LEDGER_SUSPECT);
    assert_contains(d.entered.why, "restored from a backup");
    close_desk(&d);
    open_desk(&d); /* it is said until it is confirmed */
    assert_int_equal(d.entered.standing, ONEROW_LEDGER_SUSPECT);
    ok(&d, d.ops->confirm(d.coordinator, d.space, &d.error));
    close_desk(&d);
    open_desk(&d);
    assert_int_equal(d.entered.standing, ONEROW_LEDGER_SOUND);
    tear_down(&d);
}

/* ---- processes
 * ------------------------------------------------------------------------------------- */

#define WORKERS 6U
#define ROUNDS  60U

struct race {
    const char *url;
    bool blind; /* the control: writes without the condition */
    _Atomic unsigned started;
    _Atomic uint64_t done[WORKERS]; /* swaps that were acknowledged */
};

static struct race *race;

/* Adds one to the number in a record, as a compare-and-set, again until it happens. */
static void add_one(struct desk *d, const char *name, unsigned worker)
{
    for (;;) {
        struct onerow_ledger_record record = look(d, name);
        char body[32];
        unsigned long was = number_in(record.body);
        snprintf(body, sizeof body, "%lu", was + 1);
        uint64_t revision = race->blind ? ONEROW_LEDGER_ANY : record.revision;
        if (put_one(d, name, revision, 1, body)) {
            race->done[worker]++;
            return;
        }
    }
}

static int count_up(void *context)
{
    struct desk d = {.url = race->url};
    unsigned worker = *(unsigned *)context;
    or_arena_init(&d.bench.arena);
    open_desk(&d);
    race->started++;
    for (unsigned i = 0; i < ROUNDS; i++) {
        or_arena_reset(&d.bench.arena);
        add_one(&d, "counter", worker);
    }
    close_desk(&d);
    or_arena_finish(&d.bench.arena);
    return 0;
}

static unsigned long run_race(struct desk *d, bool blind, bool kills)
{
    pid_t pids[WORKERS];
    unsigned numbers_of[WORKERS];
    unsigned killed = 0;
    race = share(sizeof *race);
    race->url = d->url;
    race->blind = blind;
    close_desk(d);
    for (unsigned i = 0; i < WORKERS; i++) {
        numbers_of[i] = i;
        pids[i] = child(count_up, &numbers_of[i]);
    }
    while (kills && killed < 2) { /* when they are at it */
        unsigned victim = killed;
        if (race->done[victim] >= ROUNDS / 4 || waitpid(pids[victim], NULL, WNOHANG) != 0) {
            kill(pids[victim], SIGKILL);
            killed++;
        } else {
            usleep(200);
        }
    }
    for (unsigned i = killed; i < WORKERS; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
    for (unsigned i = 0; i < killed; i++) {
        waitpid(pids[i], NULL, 0);
    }
    open_desk(d);
    struct onerow_ledger_record record = look(d, "counter");
    return number_in(record.body);
}

static uint64_t acknowledged(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        sum += race->done[i];
    }
    return sum;
}

static void nothing_is_lost_in_a_race(void **state)
{
    struct desk d;
    (void)state;
    if (!kind->processes) {
        return;
    }
    set_up(&d);
    assert_int_equal(run_race(&d, false, false), WORKERS * ROUNDS);
    assert_int_equal(acknowledged(), WORKERS * ROUNDS);
    give_back(race, sizeof *race);
    tear_down(&d);
}

static void nothing_acknowledged_is_lost_with_the_killed(void **state)
{
    struct desk d;
    (void)state;
    if (!kind->processes) {
        return;
    }
    set_up(&d);
    unsigned long counted = run_race(&d, false, true);
    assert_true(counted >= acknowledged());
    assert_true(counted <= acknowledged() + 2); /* each of the killed may have had one more */
    give_back(race, sizeof *race);
    tear_down(&d);
}

static void control_without_the_condition_updates_are_lost(void **state)
{
    struct desk d;
    (void)state;
    if (!kind->processes) {
        return;
    }
    set_up(&d);
    unsigned long counted = run_race(&d, true, false);
    assert_true(counted < WORKERS * ROUNDS);
    give_back(race, sizeof *race);
    tear_down(&d);
}

/* ---- one moment
 * ----------------------------------------------------------------------------------- */

static int carry_over(void *context)
{
    struct desk d = {.url = race->url};
    (void)context;
    or_arena_init(&d.bench.arena);
    open_desk(&d);
    race->started++;
    for (unsigned i = 0; i < ROUNDS; i++) { /* from a to b and back: the sum stays 10 */
        or_arena_reset(&d.bench.arena);
        unsigned long a = number_in(look(&d, "a").body);
        char less[32];
        char more[32];
        unsigned long next = a == 10 ? 0 : a + 1;
        snprintf(less, sizeof less, "%lu", next);
        snprintf(more, sizeof more, "%lu", 10 - next);
        struct onerow_ledger_change changes[2] = {change("a", ONEROW_LEDGER_ANY, 1, less),
                                                  change("b", ONEROW_LEDGER_ANY, 1, more)};
        swap(&d, changes, 2);
    }
    close_desk(&d);
    or_arena_finish(&d.bench.arena);
    return 0;
}

static void a_read_is_one_moment(void **state)
{
    struct desk d;
    (void)state;
    if (!kind->processes) {
        return;
    }
    set_up(&d);
    assert_true(put_one(&d, "a", 0, 1, "10"));
    assert_true(put_one(&d, "b", 0, 1, "0"));
    race = share(sizeof *race);
    race->url = d.url;
    close_desk(&d); /* no connection is shared with the child */
    pid_t pid = child(carry_over, NULL);
    open_desk(&d);
    int code = 0;
    unsigned looks = 0;
    while (waitpid(pid, &code, WNOHANG) == 0 || looks == 0) {
        struct onerow_ledger_record records[2] = {
            {.kind = ONEROW_LEDGER_KEY, .name = OR_SPAN("a")},
            {.kind = ONEROW_LEDGER_KEY, .name = OR_SPAN("b")}};
        ok(&d,
           d.ops->read(d.coordinator, d.space, records, 2, &d.now_ms, &d.bench.arena, &d.error));
        assert_int_equal(
            strtoul(records[0].body.data, NULL, 10) + strtoul(records[1].body.data, NULL, 10), 10);
        looks++;
    }
    assert_int_equal(code, 0);
    give_back(race, sizeof *race);
    tear_down(&d);
}

static int take_numbers(void *context)
{
    struct desk d = {.url = race->url};
    unsigned worker = *(unsigned *)context;
    or_arena_init(&d.bench.arena);
    open_desk(&d);
    uint64_t last = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t first = 0;
        ok(&d, d.ops->reserve(d.coordinator, 3, &first, &d.error));
        assert_true(first > last);
        last = first + 2;
        /* Each number is claimed as a record: one that was given out twice is found there. */
        struct onerow_ledger_change one =
            change(text(&d.bench, "%llu", (unsigned long long)first), 0, 1, "");
        race->done[worker] += swap(&d, &one, 1);
    }
    close_desk(&d);
    or_arena_finish(&d.bench.arena);
    return 0;
}

static void no_number_is_given_out_twice(void **state)
{
    struct desk d;
    pid_t pids[4];
    unsigned numbers_of[4];
    (void)state;
    if (!kind->processes) {
        return;
    }
    set_up(&d);
    race = share(sizeof *race);
    race->url = d.url;
    close_desk(&d);
    for (unsigned i = 0; i < 4; i++) {
        numbers_of[i] = i;
        pids[i] = child(take_numbers, &numbers_of[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(child_code(pids[i]), 0);
        assert_int_equal(race->done[i], ROUNDS);
    }
    open_desk(&d);
    give_back(race, sizeof *race);
    tear_down(&d);
}

/* ---- failures
 * ---------------------------------------------------------------------------------------
 */

static void who_waits_can_be_stopped(void **state)
{
    struct desk d;
    (void)state;
    if (strcmp(kind->name, "memory") == 0) {
        return;
    }
    set_up(&d);
    assert_true(put_one(&d, "a", 0, 1, ""));
    bool stop = true;
    struct onerow_coordinator_options options = {.url = d.url, .wait_ms = 60000, .stop = &stop};
    struct onerow_coordinator *stopped = NULL;
    stop = false;
    ok(&d, d.coordinator->type->open(&options, &stopped, &d.error));
    const char *lock = strcmp(kind->name, "sqlite") == 0 ? NULL : d.url;
    if (lock) { /* a record that somebody else holds locked: the swap waits for it */
        pid_t pid = fork();
        if (pid == 0) {
            execlp("psql", "psql", "-X", "-q", "-d", lock, "-c",
                   "BEGIN; SELECT 1 FROM onerow.ledger FOR UPDATE; SELECT pg_sleep(60)",
                   (char *)NULL);
            _exit(127);
        }
        while (strtoul(pg_sql(&d.bench, d.url,
                              "SELECT count(*) FROM pg_stat_activity WHERE query "
                              "LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid() "
                              "AND wait_event = 'PgSleep'"),
                       NULL, 10) == 0) {
        }
        stop = true;
        struct onerow_ledger_change one = change("a", 1, 1, "");
        struct onerow_ledger_swap swaps = {.changes = &one, .n = 1};
        assert_int_equal(d.ops->swap(stopped, d.space, &swaps, 1, &d.now_ms, &d.error),
                         ONEROW_INTERRUPTED);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    stopped->type->close(stopped);
    tear_down(&d);
}

static void bad_urls(void **state)
{
    static const char *const URLS[] = {
        "sqlite:", "sqlite::memory:", "sqlite:/nonexistent/folder/ledger.db",
        "postgres://127.0.0.1:1/nowhere?connect_timeout=1"};
    (void)state;
    if (strcmp(kind->name, "memory") != 0) {
        return; /* once is enough */
    }
    for (size_t i = 0; i < sizeof URLS / sizeof *URLS; i++) {
        struct onerow_coordinator_options options = {.url = URLS[i], .wait_ms = 2000};
        struct onerow_coordinator *coordinator = NULL;
        struct onerow_error error = {0};
        const struct onerow_coordinator_type *type = or_coordinator_type_of(URLS[i]);
        enum onerow_status status = type->open(&options, &coordinator, &error);
        assert_true(status == ONEROW_CONFIG || status == ONEROW_UNAVAILABLE);
        assert_null(coordinator);
        assert_true(strlen(error.text) > 20);
    }
    assert_null(or_coordinator_type_of("mysql://x"));
}

static int choose(void **state)
{
    kind = *state;
    return 0;
}

#define EACH(test)                                                                                 \
    {#test " (memory)", test, choose, NULL, &KINDS[0]},                                            \
        {#test " (sqlite)", test, choose, NULL, &KINDS[1]},                                        \
    {                                                                                              \
#test " (postgres)", test, choose, NULL, &KINDS[2]                                         \
    }

/* Every coordinator that says that it can keep a ledger is among those under test. */
static void every_ledger_is_tested(void **state)
{
    (void)state;
    for (size_t i = 0; or_coordinator_types[i]; i++) {
        bool tested = or_coordinator_types[i]->ledger == NULL;
        for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
            tested |= strcmp(KINDS[k].name, or_coordinator_types[i]->name) == 0;
        }
        assert_true(tested);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ledger_is_tested),
        EACH(never_written),
        EACH(revisions),
        EACH(states),
        EACH(stamps),
        EACH(all_or_nothing),
        EACH(several_swaps_one_after_the_other),
        EACH(names_and_bodies_of_any_bytes),
        EACH(the_longest_name),
        EACH(namespaces),
        EACH(lists),
        EACH(forgets),
        EACH(numbers),
        EACH(a_number_from_the_future),
        EACH(a_restored_file),
        EACH(nothing_is_lost_in_a_race),
        EACH(nothing_acknowledged_is_lost_with_the_killed),
        EACH(control_without_the_condition_updates_are_lost),
        EACH(a_read_is_one_moment),
        EACH(no_number_is_given_out_twice),
        EACH(who_waits_can_be_stopped),
        EACH(bad_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
