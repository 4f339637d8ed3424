/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/postgres.h"

/* ---- the coordinators ------------------------------------------------------------------------ */

static const char *sqlite_url(struct bench *at)
{
    return text(at, "sqlite:%s", at->path);
}

static const char *postgres_url(struct bench *at)
{
    return pg_database(at);
}

static const char *memory_url(struct bench *at)
{
    static unsigned n;
    return text(at, "memory:contract-%u", ++n);
}

static const struct ledger_bench benches[] = {
    {"postgres", postgres_url, true},
    {"sqlite", sqlite_url, true},
    {"memory", memory_url, false},
};

/* ---- a test's place -------------------------------------------------------------------------- */

struct bench b;
const struct ledger_bench *bench;
const char *url;
struct onerow_coordinator *c;
uint64_t space;
uint64_t now_ms; /* of the last call */

enum onerow_status open_at(const char *where, struct onerow_coordinator **out)
{
    struct onerow_coordinator_options options = {.url = where, .wait_ms = 60000};
    return or_coordinator_type_of(where)->open(&options, out, &b.error);
}

struct onerow_coordinator *another(void)
{
    struct onerow_coordinator *made = NULL;
    b.status = open_at(url, &made);
    assert_status(&b, ONEROW_OK);
    return made;
}

struct onerow_ledger_namespace enter_as(struct onerow_coordinator *at, const char *name,
                                        const char *definition)
{
    struct onerow_ledger_namespace made = {0};
    b.status = at->type->ledger->enter(at, or_span(name), or_span(definition), &made, &b.error);
    return made;
}

struct onerow_ledger_namespace enter(struct onerow_coordinator *at)
{
    struct onerow_ledger_namespace made = enter_as(at, "things", "key: name");
    assert_status(&b, ONEROW_OK);
    return made;
}

int ledger_start(void **state)
{
    bench = *state;
    bench_start(&b);
    url = bench->url(&b);
    c = another();
    space = enter(c).number;
    return 0;
}

void close_it(struct onerow_coordinator *at)
{
    if (at) {
        at->type->close(at);
    }
}

int ledger_stop(void **state)
{
    (void)state;
    close_it(c);
    c = NULL;
    bench_stop(&b);
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct onerow_ledger_change change(enum onerow_ledger_kind kind, const char *name,
                                   uint64_t revision, uint8_t state, const char *body)
{
    return (struct onerow_ledger_change){.kind = kind,
                                         .name = or_span(name),
                                         .revision = revision,
                                         .states = ALL,
                                         .state = state,
                                         .body = or_span(body)};
}

bool swap(const struct onerow_ledger_change *changes, size_t n)
{
    struct onerow_ledger_swap one = {.changes = changes, .n = n, .done = true};
    b.status = c->type->ledger->swap(c, space, &one, 1, &now_ms, &b.error);
    assert_status(&b, ONEROW_OK);
    return one.done;
}

bool set(const char *name, uint64_t revision, uint8_t state, const char *body)
{
    struct onerow_ledger_change one = change(KEY, name, revision, state, body);
    return swap(&one, 1);
}

struct onerow_ledger_record read_one(enum onerow_ledger_kind kind, struct onerow_span name)
{
    struct onerow_ledger_record record = {.kind = kind, .name = name};
    b.status = c->type->ledger->read(c, space, &record, 1, &now_ms, &b.arena, &b.error);
    assert_status(&b, ONEROW_OK);
    return record;
}

const char *seen_as(enum onerow_ledger_kind kind, const char *name)
{
    struct onerow_ledger_record record = read_one(kind, or_span(name));
    return text(&b, "%llu/%u:%.*s", (unsigned long long)record.revision, record.state,
                (int)record.body.len, record.body.len ? record.body.data : "");
}

const char *seen(const char *name)
{
    return seen_as(KEY, name);
}

bool collect(void *context, const struct onerow_ledger_record *record)
{
    struct collected *all = context;
    unsigned number =
        (unsigned)strtoul(text(&b, "%.*s", (int)record->name.len, record->name.data), NULL, 10);
    assert_true(record->revision > 0 && record->state > 0);
    all->visits[number % 64]++;
    return ++all->n != all->limit;
}

struct collected list(enum onerow_ledger_kind kind, uint32_t states, uint64_t before_ms)
{
    struct collected all = {0};
    b.status = c->type->ledger->list(c, space, kind, states, before_ms, collect, &all, &b.error);
    assert_status(&b, ONEROW_OK);
    return all;
}

uint64_t reserve(struct onerow_coordinator *at, uint64_t n)
{
    uint64_t first = 0;
    b.status = at->type->ledger->reserve(at, n, &first, &b.error);
    return first;
}

struct onerow_ledger_namespace witness(struct onerow_coordinator *at, uint64_t number)
{
    struct onerow_ledger_namespace told = {0};
    b.status = at->type->ledger->witness(at, space, number, &told, &b.error);
    return told;
}

enum onerow_status confirm(struct onerow_coordinator *at)
{
    return at->type->ledger->confirm(at, space, &b.error);
}

/* ---- several at once ------------------------------------------------------------------------- */

static void *run_thread(void *context)
{
    struct hand *hand = context;
    hand->code = hand->run(hand->context);
    return NULL;
}

void start_hand(struct hand *hand, int (*run)(void *context), void *context)
{
    *hand = (struct hand){.run = run, .context = context};
    if (bench->durable) {
        hand->pid = child(run, context);
    } else {
        assert_int_equal(pthread_create(&hand->thread, NULL, run_thread, hand), 0);
    }
}

int end_hand(struct hand *hand)
{
    if (bench->durable) {
        return child_code(hand->pid);
    }
    pthread_join(hand->thread, NULL);
    return hand->code;
}

/* ---- the runner ------------------------------------------------------------------------------ */

static struct {
    struct CMUnitTest list[LEDGER_TESTS_MAX];
    size_t n;
} tests;

static void add_test(const struct ledger_bench *on, const struct ledger_test *test,
                     CMFixtureFunction start, CMFixtureFunction stop)
{
    char *name = NULL;
    if (tests.n == LEDGER_TESTS_MAX || asprintf(&name, "%s %s", on->name, test->name) < 0) {
        abort();
    }
    tests.list[tests.n++] = (struct CMUnitTest){.name = name,
                                                .test_func = test->run,
                                                .setup_func = start,
                                                .teardown_func = stop,
                                                .initial_state = (void *)(uintptr_t)on};
}

static const struct ledger_bench *bench_of(const char *name)
{
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
        if (strcmp(benches[i].name, name) == 0) {
            return &benches[i];
        }
    }
    return NULL;
}

/* A coordinator without a bench would be a coordinator without a test. */
static void every_coordinator_has_a_bench(void **state)
{
    (void)state;
    for (size_t i = 0; or_coordinator_types[i]; i++) {
        if (!bench_of(or_coordinator_types[i]->name)) {
            fail_msg("coordinator \"%s\" needs a line in benches", or_coordinator_types[i]->name);
        }
    }
}

typedef bool has_part(const struct onerow_coordinator_type *type);

static bool has_ledger(const struct onerow_coordinator_type *type)
{
    return type->ledger;
}

static bool has_leases(const struct onerow_coordinator_type *type)
{
    return type->leases;
}

static int run_over(const char *group, has_part *has, const struct ledger_test *suite, size_t n,
                    CMFixtureFunction start, CMFixtureFunction stop)
{
    seed_dice();
    tests.list[tests.n++] = (struct CMUnitTest)cmocka_unit_test(every_coordinator_has_a_bench);
    for (size_t i = 0; or_coordinator_types[i]; i++) {
        const struct ledger_bench *on = bench_of(or_coordinator_types[i]->name);
        for (size_t t = 0; on && has(or_coordinator_types[i]) && t < n; t++) {
            if (on->durable || !suite[t].durable) {
                add_test(on, &suite[t], start, stop);
            }
        }
    }
    int failed = _cmocka_run_group_tests(group, tests.list, tests.n, NULL, NULL);
    for (size_t i = 1; i < tests.n; i++) {
        free((char *)(uintptr_t)tests.list[i].name);
    }
    return failed;
}

int run_ledger_tests(const char *group, const struct ledger_test *suite, size_t n,
                     CMFixtureFunction start, CMFixtureFunction stop)
{
    return run_over(group, has_ledger, suite, n, start, stop);
}

int run_lease_tests(const char *group, const struct ledger_test *suite, size_t n,
                    CMFixtureFunction start, CMFixtureFunction stop)
{
    return run_over(group, has_leases, suite, n, start, stop);
}
