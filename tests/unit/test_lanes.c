/* SPDX-License-Identifier: Apache-2.0
 *
 * What engine/lanes.c takes apart must come out as if written one by one: against a store
 * whose connections add up, all in this process's memory, with several threads, several
 * column sets, transactions that are undone and answers that get lost. And what the
 * driver says of a transaction in doubt; the split by column sets; the histogram of
 * latencies; one arena that absorbs another.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"
#include "base/text.h"
#include "core/columns.h"
#include "engine/lanes.h"
#include "engine/put_batch.h"
#include "tests/support/bench.h"

#define KEYS    600U
#define ENTRIES 5000U
#define COLUMNS 4U /* k, and three others */
#define STORES  16U

/* ---- the store ------------------------------------------------------------------------- */

struct row {
    bool there;
    int cells[COLUMNS];
};

/* Which connection wrote an entry, when, and in which of its transactions. */
struct trace {
    unsigned store;
    unsigned transaction;
    unsigned place; /* in that transaction */
    unsigned times;
};

static struct world {
    pthread_mutex_t lock;
    struct row rows[KEYS];
    struct trace traces[ENTRIES + 1]; /* by line */
    bool bad[KEYS];                   /* refused always … */
    bool shy[KEYS];                   /* … and the first time */
    unsigned guarantees;
    unsigned opened;
    unsigned limit;                     /* of connections */
    bool changed;                       /* stores that are opened now see another table */
    bool restless;                      /* transactions are undone, answers get lost */
    enum onerow_status commits[STORES]; /* what a store's commits answer … */
    unsigned after[STORES];             /* … after so many that went well */
    bool once;                          /* and then they go well again */
    enum onerow_status told;            /* what resolve answers */
    bool looks;                         /* look answers */
} world;

struct fake {
    struct onerow_store base;
    unsigned number;
    unsigned transactions;
    uint64_t dice;
    bool kept; /* the transaction in doubt was */
    struct row mine[KEYS];
    bool touched[KEYS];
    const struct or_entry *entries[ENTRIES];
    size_t n;
};

extern const struct onerow_store_type fake_type;

static unsigned roll(struct fake *fake, unsigned sides)
{
    fake->dice ^= fake->dice << 13;
    fake->dice ^= fake->dice >> 7;
    fake->dice ^= fake->dice << 17;
    return (unsigned)(fake->dice * 0x2545f4914f6cdd1dU >> 33) % sides;
}

static enum onerow_status fake_open(const struct onerow_store_options *options,
                                    struct onerow_store **store, struct onerow_error *error)
{
    if (world.opened >= world.limit) {
        return or_fail(error, ONEROW_UNAVAILABLE, "%s: too many connections", options->url);
    }
    struct fake *fake = calloc(1, sizeof *fake);
    assert_non_null(fake);
    fake->base.type = &fake_type;
    fake->number = world.opened++;
    fake->dice = dice() | 1;
    *store = &fake->base;
    return ONEROW_OK;
}

static void fake_close(struct onerow_store *store)
{
    free(store);
}

static enum onerow_status fake_table_open(struct onerow_store *store,
                                          const struct onerow_table_spec *spec,
                                          struct onerow_store_table **table,
                                          struct onerow_error *error)
{
    static const struct onerow_column columns[] = {{.name = "k", .declared = ""},
                                                   {.name = "a", .declared = ""},
                                                   {.name = "b", .declared = ""},
                                                   {.name = "c", .declared = ""},
                                                   {.name = "d", .declared = ""}};
    (void)spec;
    (void)error;
    *table = calloc(1, sizeof **table);
    assert_non_null(*table);
    **table = (struct onerow_store_table){.store = store,
                                          .columns = columns + world.changed,
                                          .n_columns = COLUMNS,
                                          .guarantees = world.guarantees,
                                          .key_types = {ONEROW_TYPE_INT}};
    return ONEROW_OK;
}

static void fake_table_close(struct onerow_store_table *table)
{
    free(table);
}

static void fake_rollback(struct onerow_store *store)
{
    struct fake *fake = (struct fake *)store;
    memset(fake->touched, 0, sizeof fake->touched);
    fake->n = 0;
}

static enum onerow_status fake_begin(struct onerow_store *store, const volatile bool *stop,
                                     struct onerow_error *error)
{
    struct fake *fake = (struct fake *)store;
    store->round_trips++;
    if (stop && *stop) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted");
    }
    assert_int_equal(fake->n, 0);
    fake->transactions++;
    return ONEROW_OK;
}

static unsigned key_of(const struct onerow_record *record)
{
    return (unsigned)strtoul(record->values[0].data, NULL, 10);
}

/* Writes a record into a row; what became of it. */
static enum onerow_outcome write_row(struct row *row, const struct onerow_record *record)
{
    struct row before = *row;
    row->there = true;
    for (size_t i = 1; i < record->n_values; i++) {
        row->cells[record->values[i].column] = atoi(record->values[i].data);
    }
    return !before.there                              ? ONEROW_CREATED
           : memcmp(&before, row, sizeof before) == 0 ? ONEROW_UNCHANGED
                                                      : ONEROW_UPDATED;
}

static struct onerow_verdict apply_one(struct fake *fake, const struct onerow_record *record,
                                       struct or_arena *arena)
{
    unsigned key = key_of(record);
    struct onerow_verdict verdict = {.id = or_span(or_arena_printf(arena, "%u", key))};
    pthread_mutex_lock(&world.lock);
    bool refuse = world.bad[key] || world.shy[key];
    world.shy[key] = false;
    if (!refuse && !fake->touched[key]) {
        fake->touched[key] = true;
        fake->mine[key] = world.rows[key];
    }
    pthread_mutex_unlock(&world.lock);
    if (refuse) {
        verdict.outcome = ONEROW_REFUSED;
        verdict.reason = or_arena_printf(arena, "key %u is bad", key);
        return verdict;
    }
    fake->entries[fake->n++] = (const struct or_entry *)record; /* its first member */
    verdict.outcome = write_row(&fake->mine[key], record);
    return verdict;
}

static enum onerow_status fake_apply(struct onerow_store_table *table,
                                     const struct onerow_record *const *records, size_t n,
                                     struct onerow_verdict *verdicts, struct or_arena *arena,
                                     struct onerow_error *error)
{
    struct fake *fake = (struct fake *)table->store;
    table->store->round_trips++;
    if (world.restless && roll(fake, 16) == 0) {
        return or_fail(error, ONEROW_RETRY, "a deadlock");
    }
    for (size_t i = 0; i < n; i++) {
        verdicts[i] = apply_one(fake, records[i], arena);
    }
    return ONEROW_OK;
}

static void keep(struct fake *fake)
{
    pthread_mutex_lock(&world.lock);
    for (unsigned key = 0; key < KEYS; key++) {
        world.rows[key] = fake->touched[key] ? fake->mine[key] : world.rows[key];
    }
    for (size_t i = 0; i < fake->n; i++) {
        struct trace *trace = &world.traces[fake->entries[i]->line];
        *trace = (struct trace){fake->number, fake->transactions, (unsigned)i, trace->times + 1};
    }
    pthread_mutex_unlock(&world.lock);
    fake->kept = true;
}

static enum onerow_status fake_commit(struct onerow_store *store, struct onerow_error *error)
{
    struct fake *fake = (struct fake *)store;
    unsigned fate = world.restless ? roll(fake, 16) : 0;
    enum onerow_status answer = ONEROW_OK;
    store->round_trips++;
    fake->kept = false;
    unsigned at = world.after[fake->number] + 1;
    if (world.commits[fake->number] &&
        (world.once ? fake->transactions == at : fake->transactions >= at)) {
        answer = world.commits[fake->number];
    } else if (fate == 1) {
        answer = ONEROW_RETRY;
    } else {
        answer = fate == 2 || fate == 3 ? ONEROW_UNKNOWN : ONEROW_OK;
        if (fate != 2) {
            keep(fake);
        }
    }
    fake_rollback(store);
    return answer == ONEROW_UNKNOWN
               ? (or_fail(error, ONEROW_VANISHED, "the answer to COMMIT got lost\n  look"), answer)
           : answer ? or_fail(error, answer, "connection %u is out of order", fake->number)
                    : answer;
}

static enum onerow_status fake_resolve(struct onerow_store *store, const volatile bool *stop,
                                       struct onerow_error *error)
{
    (void)stop;
    if (world.restless) {
        return ((struct fake *)store)->kept ? ONEROW_OK : ONEROW_ABSENT;
    }
    return world.told ? or_fail(error, world.told, "the server was restarted\n  look") : ONEROW_OK;
}

static enum onerow_status fake_look(struct onerow_store_table *table,
                                    const struct onerow_record *const *records, size_t n,
                                    struct onerow_verdict *verdicts, struct or_arena *arena,
                                    struct onerow_error *error)
{
    static const enum onerow_outcome found[] = {ONEROW_UNCHANGED, ONEROW_UPDATED, ONEROW_REFUSED};
    (void)table;
    (void)arena;
    for (size_t i = 0; i < n; i++) {
        verdicts[i].outcome = found[key_of(records[i]) % 3];
    }
    return world.looks ? ONEROW_OK : or_fail(error, ONEROW_UNAVAILABLE, "gone again");
}

const struct onerow_store_type fake_type = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .table_open = fake_table_open,
    .table_close = fake_table_close,
    .begin = fake_begin,
    .apply = fake_apply,
    .commit = fake_commit,
    .rollback = fake_rollback,
    .resolve = fake_resolve,
    .look = fake_look,
};

/* ---- a test's place --------------------------------------------------------------------- */

static struct or_table *table;
static struct or_arena arena;
static struct or_entry entries[ENTRIES];
static struct or_entry *sorted[ENTRIES];
static size_t n_entries;
static struct or_drive_stats stats;
static struct onerow_error error;

static int start(void **state)
{
    static const struct onerow_key_column key[] = {{.name = "k"}};
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    world = (struct world){.lock = lock, .limit = STORES, .looks = true};
    world.guarantees = ONEROW_ENFORCED | ONEROW_TRANSACTIONS | ONEROW_PARALLEL;
    or_arena_init(&arena);
    memset(entries, 0, sizeof entries);
    memset(&stats, 0, sizeof stats);
    memset(&error, 0, sizeof error);
    n_entries = 0;
    table = calloc(1, sizeof *table);
    assert_non_null(table);
    table->spec = (struct onerow_table_spec){.name = "items", .key = key, .n_key = 1};
    table->opened_with.url = "fake:";
    table->connections = 4;
    assert_int_equal(fake_type.open(&table->opened_with, &table->store, &error), ONEROW_OK);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    or_table_close(table);
    or_arena_finish(&arena);
    pthread_mutex_destroy(&world.lock);
    return 0;
}

static void open_table(void)
{
    assert_int_equal(fake_type.table_open(table->store, &table->spec, &table->table, &error),
                     ONEROW_OK);
}

static void add_value(struct or_entry *entry, struct onerow_value *values, uint16_t column,
                      unsigned number)
{
    const char *text = or_arena_printf(&arena, "%u", number);
    values[entry->record.n_values++] = (struct onerow_value){
        .data = text, .len = (uint32_t)strlen(text), .column = column, .kind = ONEROW_NUMBER};
}

/* An entry with the columns whose bits are set in `set`, all of them with this value. */
static struct or_entry *add(unsigned key, unsigned set, unsigned value)
{
    assert_true(n_entries < ENTRIES);
    struct or_entry *entry = &entries[n_entries];
    struct onerow_value *values = or_arena_alloc(&arena, COLUMNS * sizeof *values);
    assert_non_null(values);
    *entry = (struct or_entry){.table = table, .prefix = key, .has_key = true};
    entry->line = ++n_entries;
    add_value(entry, values, 0, key);
    for (uint16_t column = 1; column < COLUMNS; column++) {
        if (set & 1U << (column - 1)) {
            add_value(entry, values, column, value);
        }
    }
    entry->record.values = values;
    entry->record.key = or_span(or_arena_printf(&arena, "i%u", key));
    return entry;
}

static enum onerow_status put_all(const struct or_drive_options *more)
{
    struct or_drive_options options = more ? *more : (struct or_drive_options){0};
    options.stats = &stats;
    for (size_t i = 0; i < n_entries; i++) {
        sorted[i] = &entries[i];
    }
    or_entries_sort(sorted, n_entries);
    return or_put_batch(sorted, n_entries, &options, &arena, &error);
}

/* ---- as if written one by one ------------------------------------------------------------ */

static void assert_as_one_by_one(void)
{
    static struct row rows[KEYS];
    static const struct or_entry *carriers[KEYS];
    memset(rows, 0, sizeof rows);
    memset(carriers, 0, sizeof carriers);
    for (size_t i = 0; i < n_entries; i++) {
        unsigned key = key_of(&entries[i].record);
        enum onerow_outcome outcome =
            world.bad[key] ? ONEROW_REFUSED : write_row(&rows[key], &entries[i].record);
        if (entries[i].outcome != outcome) {
            fail_msg("line %zu, key %u: %s instead of %s", i + 1, key,
                     onerow_outcome_name((enum onerow_outcome)entries[i].outcome),
                     onerow_outcome_name(outcome));
        }
        if (outcome == ONEROW_CREATED || outcome == ONEROW_UPDATED) {
            carriers[key] = &entries[i];
        }
    }
    assert_memory_equal(rows, world.rows, sizeof rows);
    for (size_t i = 0; i < n_entries; i++) {
        unsigned key = key_of(&entries[i].record);
        const struct or_entry *carrier = carriers[key] == &entries[i] ? NULL : carriers[key];
        assert_ptr_equal(entries[i].folded_into, carrier);
        assert_true(or_span_is(entries[i].id, or_arena_printf(&arena, "%u", key)));
    }
}

/* Records of one key are written by one connection, in their order, each of them once. */
static void assert_keys_stay_together(void)
{
    static const struct or_entry *last[KEYS];
    memset(last, 0, sizeof last);
    for (size_t i = 0; i < n_entries; i++) {
        unsigned key = key_of(&entries[i].record);
        const struct trace *now = &world.traces[entries[i].line];
        if (world.bad[key]) {
            assert_int_equal(now->times, 0);
            continue;
        }
        assert_int_equal(now->times, 1);
        if (last[key]) {
            const struct trace *before = &world.traces[last[key]->line];
            assert_int_equal(now->store, before->store);
            assert_true(now->transaction > before->transaction ||
                        (now->transaction == before->transaction && now->place > before->place));
        }
        last[key] = &entries[i];
    }
}

static size_t stores_that_wrote(void)
{
    bool wrote[STORES] = {false};
    size_t n = 0;
    for (size_t line = 1; line <= n_entries; line++) {
        if (world.traces[line].times) {
            n += !wrote[world.traces[line].store];
            wrote[world.traces[line].store] = true;
        }
    }
    return n;
}

/* Has all connections opened beforehand, as after a first batch. */
static void open_wide(void)
{
    open_table();
    while (or_table_widen(table)) {
    }
}

static void add_some(size_t n, unsigned sets)
{
    while (n_entries < n) {
        add((unsigned)(dice() % KEYS), (unsigned)(dice() % sets), (unsigned)(dice() % 3));
    }
}

static void everything_is_as_if_written_one_by_one(void **state)
{
    for (unsigned round = 0; round < 40; round++) {
        if (round) {
            stop(state);
            start(state);
        }
        world.restless = round % 2;
        for (unsigned i = 0; i < 5 && round % 3 == 0; i++) {
            world.bad[dice() % KEYS] = true;
        }
        open_wide();
        add_some(1 + dice() % ENTRIES, round % 4 ? 8 : 1);
        enum onerow_status status = put_all(NULL);
        assert_true(status == ONEROW_OK || status == ONEROW_REJECTED);
        assert_as_one_by_one();
        assert_keys_stay_together();
        assert_int_equal(stats.latency.n > 0, stats.transactions > 0);
        assert_true(world.restless || (stats.retries == 0 && stats.bisects == 0));
        size_t lanes = n_entries / OR_LANE_RECORDS;
        assert_int_equal(stores_that_wrote(), lanes < 1 ? 1 : lanes > 4 ? 4 : lanes);
        assert_int_equal(world.opened, 1 + table->n_others);
    }
}

/* Transactions hold one column set each, sorted by key. */
static void transactions_hold_one_column_set(void **state)
{
    (void)state;
    open_wide();
    for (unsigned key = 0; key < KEYS; key++) { /* each once, so that no order forbids it */
        add((key * 7) % KEYS, key % 8, 1);
    }
    assert_int_equal(put_all(NULL), ONEROW_OK);
    const struct or_entry *at[STORES][KEYS] = {{NULL}};
    for (size_t i = 0; i < n_entries; i++) { /* `sorted` is in the order of the keys */
        const struct trace *trace = &world.traces[sorted[i]->line];
        const struct or_entry *before = at[trace->store][trace->transaction];
        assert_true(!before || or_columns_same(&before->record, &sorted[i]->record));
        assert_true(!before || trace->place > world.traces[before->line].place);
        at[trace->store][trace->transaction] = sorted[i];
    }
    assert_int_equal(stats.transactions, 2 * 8); /* 2 lanes, 8 sets */
}

/* Where nobody else writes, a batch is one transaction, whatever its columns are. */
static void an_exclusive_store_needs_no_phases(void **state)
{
    (void)state;
    world.guarantees = ONEROW_ENFORCED | ONEROW_TRANSACTIONS | ONEROW_EXCLUSIVE;
    open_table();
    add_some(2000, 8);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_as_one_by_one();
    assert_int_equal(stats.transactions, 1);
    assert_int_equal(world.opened, 1);
}

/* Only the store knows which keys are equal, so nothing is taken apart. */
static void the_stores_equality_keeps_all_together(void **state)
{
    (void)state;
    table->spec.store_key_equality = true;
    open_table();
    add_some(2000, 8);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_as_one_by_one();
    assert_int_equal(stats.transactions, 1);
    assert_int_equal(world.opened, 1);
}

static void a_dry_run_writes_nothing(void **state)
{
    static const struct row none[KEYS];
    const struct or_drive_options dry_run = {.dry_run = true};
    (void)state;
    open_table();
    add_some(3000, 8);
    assert_int_equal(put_all(&dry_run), ONEROW_OK);
    assert_memory_equal(world.rows, none, sizeof none);
    assert_int_equal(stats.transactions, 0);
    assert_int_equal(world.opened, 4);
    for (unsigned key = 0; key < KEYS; key++) {
        world.rows[key] = (struct row){0};
    }
    for (size_t i = 0; i < n_entries; i++) { /* the outcomes are those of the real thing */
        write_row(&world.rows[key_of(&entries[i].record)], &entries[i].record);
    }
    assert_as_one_by_one();
}

static void a_small_batch_stays_on_one_connection(void **state)
{
    (void)state;
    open_table();
    add_some(2 * OR_LANE_RECORDS - 1, 1);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_int_equal(world.opened, 1);
    assert_int_equal(stats.transactions, 1);
    assert_as_one_by_one();
}

/* ---- lanes that are not to be had ---------------------------------------------------------- */

static void too_many_connections_are_only_fewer(void **state)
{
    (void)state;
    world.limit = 2;
    open_wide();
    add_some(3000, 1);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_as_one_by_one();
    assert_int_equal(stores_that_wrote(), 2);
    assert_int_equal(table->connections, 2);
    world.limit = STORES; /* it is not asked for again */
    assert_false(or_table_widen(table));
    assert_int_equal(world.opened, 2);
}

/* The first group does not wait for them. */
static void connections_are_opened_meanwhile(void **state)
{
    (void)state;
    open_table();
    add_some(3000, 1);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_as_one_by_one();
    assert_int_equal(stores_that_wrote(), 1);
    assert_int_equal(table->n_others, 3);
}

static void a_table_that_changed_gets_no_lane(void **state)
{
    (void)state;
    open_table();
    world.changed = true;
    add_some(3000, 1);
    assert_int_equal(put_all(NULL), ONEROW_OK);
    assert_as_one_by_one();
    assert_int_equal(stores_that_wrote(), 1);
    assert_int_equal(table->n_others, 0);
}

/* ---- lanes that fail ------------------------------------------------------------------------ */

static void one_lane_fails_and_the_others_finish(void **state)
{
    (void)state;
    open_wide();
    world.commits[1] = ONEROW_UNAVAILABLE;
    add_some(3000, 8);
    assert_int_equal(put_all(NULL), ONEROW_UNAVAILABLE);
    assert_string_equal(error.text, "connection 1 is out of order");
    size_t refused = 0;
    for (size_t i = 0; i < n_entries; i++) {
        bool written = world.traces[entries[i].line].times == 1;
        assert_int_equal(entries[i].outcome == ONEROW_REFUSED, !written);
        refused += !written;
        if (!written) {
            assert_string_equal(entries[i].reason, "connection 1 is out of order");
        }
    }
    assert_true(refused > 300 && refused < 1500);
    assert_int_equal(stores_that_wrote(), 3);
    assert_int_equal(((struct fake *)table->others[0]->store)->transactions, 1);
}

/* What follows a failed phase is refused without being sent, or left alone when interrupted. */
static void a_failed_phase_is_the_last(void **state)
{
    (void)state;
    table->connections = 1;
    open_table();
    for (unsigned key = 0; key < 30; key++) {
        add(key, key < 15 ? 1 : key < 25 ? 2 : 3, 1);
    }
    world.commits[0] = ONEROW_FULL;
    world.after[0] = 1;
    assert_int_equal(put_all(NULL), ONEROW_FULL);
    for (unsigned key = 0; key < 30; key++) {
        assert_int_equal(entries[key].outcome, key < 15 ? ONEROW_CREATED : ONEROW_REFUSED);
    }
    assert_int_equal(((struct fake *)table->store)->transactions, 2);
}

static void an_interruption_leaves_all_pending(void **state)
{
    static const volatile bool yes = true;
    const struct or_drive_options stopped = {.stop = &yes};
    (void)state;
    open_table();
    add_some(3000, 8);
    assert_int_equal(put_all(&stopped), ONEROW_INTERRUPTED);
    for (size_t i = 0; i < n_entries; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_PENDING);
    }
}

/* Refused records are tried once more, on the table's own connection, in the order of arrival. */
static void what_is_refused_is_tried_again_in_order(void **state)
{
    (void)state;
    open_table();
    for (unsigned key = 0; key < KEYS; key++) {
        add(KEYS - 1 - key, key % 8, 1);
        world.shy[key] = key % 10 == 0;
    }
    assert_int_equal(put_all(NULL), ONEROW_OK);
    unsigned places = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const struct trace *trace = &world.traces[entries[i].line];
        assert_int_equal(entries[i].outcome, ONEROW_CREATED);
        if (key_of(&entries[i].record) % 10 == 0) {
            assert_int_equal(trace->store, 0);
            assert_int_equal(trace->place, places++);
        }
    }
    assert_int_equal(places, KEYS / 10);
}

/* ---- transactions in doubt ------------------------------------------------------------------ */

static void put_in_doubt(enum onerow_status told, enum onerow_status wanted)
{
    open_table();
    world.commits[0] = ONEROW_UNKNOWN;
    world.told = told;
    add(0, 1, 1);
    add(1, 1, 1);
    add(2, 1, 1);
    assert_int_equal(put_all(NULL), wanted);
}

static void a_doubt_says_what_is_known(void **state)
{
    (void)state;
    put_in_doubt(ONEROW_UNKNOWN, ONEROW_UNKNOWN);
    static const char *const reasons[] = {
        "the server was restarted; the row now holds these values",
        "the server was restarted; the row now differs",
        "the server was restarted; there is no such row now",
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_IN_DOUBT);
        assert_string_equal(entries[i].reason, reasons[i]);
    }
    assert_non_null(strstr(error.text, "the server was restarted"));
    assert_int_equal(error.status, ONEROW_UNKNOWN);
    assert_int_equal(stats.transactions, 1);
    assert_int_equal(stats.latency.n, 1);
}

static void a_look_that_fails_says_nothing(void **state)
{
    (void)state;
    world.looks = false;
    put_in_doubt(ONEROW_UNKNOWN, ONEROW_UNKNOWN);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_IN_DOUBT);
        assert_string_equal(entries[i].reason, "the server was restarted");
    }
}

static void nobody_answers(void **state)
{
    (void)state;
    put_in_doubt(ONEROW_UNAVAILABLE, ONEROW_UNAVAILABLE);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_IN_DOUBT);
        assert_string_equal(entries[i].reason, "the server was restarted");
    }
}

static void a_resolved_doubt_leaves_no_trace(void **state)
{
    (void)state;
    put_in_doubt(ONEROW_OK, ONEROW_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_CREATED);
        assert_null(entries[i].reason);
    }
    assert_string_equal(error.text, "");
}

/* A store that never can tell: the run ends with the failure behind the doubt. */
static void a_store_that_cannot_be_asked(void **state)
{
    struct onerow_store_type mute = fake_type;
    (void)state;
    mute.resolve = NULL;
    mute.look = NULL;
    table->store->type = &mute;
    put_in_doubt(ONEROW_OK, ONEROW_VANISHED);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].outcome, ONEROW_IN_DOUBT);
        assert_string_equal(entries[i].reason, "the answer to COMMIT got lost");
    }
    table->store->type = &fake_type;
}

/* A doubt neither hides a refusal's second try nor is hidden by it. */
static void doubts_and_refusals_side_by_side(void **state)
{
    (void)state;
    table->connections = 1;
    open_table();
    for (unsigned key = 0; key < 30; key++) { /* three phases: the third one gets lost */
        add(key, key < 15 ? 1 : key < 25 ? 2 : 3, 1);
    }
    world.shy[3] = true;
    world.bad[4] = true;
    world.told = ONEROW_UNKNOWN;
    world.commits[0] = ONEROW_UNKNOWN;
    world.after[0] = 2;
    world.once = true;
    assert_int_equal(put_all(NULL), ONEROW_UNKNOWN);
    for (unsigned key = 0; key < 30; key++) {
        enum onerow_outcome wanted = key >= 25  ? ONEROW_IN_DOUBT
                                     : key == 4 ? ONEROW_REFUSED
                                                : ONEROW_CREATED;
        assert_int_equal(entries[key].outcome, wanted);
    }
    assert_non_null(strstr(error.text, "the server was restarted"));
}

/* A record whose successor may have been written is not tried again. */
static void a_doubtful_successor_counts(void **state)
{
    (void)state;
    table->connections = 1;
    open_table();
    add(0, 1, 1); /* these make {a} the first phase, so that {b} follows it */
    add(1, 1, 1);
    add(7, 1, 1);
    add(7, 2, 2);
    world.shy[7] = true;
    world.told = ONEROW_UNKNOWN;
    world.commits[0] = ONEROW_UNKNOWN;
    world.after[0] = 1;
    assert_int_equal(put_all(NULL), ONEROW_UNKNOWN);
    assert_int_equal(entries[2].outcome, ONEROW_REFUSED);
    assert_int_equal(entries[3].outcome, ONEROW_IN_DOUBT);
    assert_int_equal(((struct fake *)table->store)->transactions, 2);
}

/* ---- column sets ---------------------------------------------------------------------------- */

#define SETS_MAX 100U

/* n records; the key and the set of each are rolled. */
static const struct onerow_record **some_records(size_t n, unsigned keys, unsigned sets)
{
    const struct onerow_record **records = or_arena_alloc(&arena, n * sizeof *records);
    struct onerow_record *made = or_arena_alloc(&arena, n * sizeof *made);
    assert_true(records && made);
    unsigned key = 0;
    for (size_t i = 0; i < n; i++) {
        struct onerow_value *values = or_arena_alloc(&arena, 8 * sizeof *values);
        unsigned set = (unsigned)(dice() % sets);
        key += keys == 0 || dice() % keys == 0;
        assert_non_null(values);
        memset(values, 0, 8 * sizeof *values);
        made[i] = (struct onerow_record){.values = values, .n_values = 1};
        for (uint16_t bit = 0; bit < 7; bit++) {
            if (set >> bit & 1) {
                values[made[i].n_values++].column = (uint16_t)(bit + 1);
            }
        }
        made[i].key = or_span(or_arena_printf(&arena, "i%u", key));
        records[i] = &made[i];
    }
    return records;
}

static void phases_keep_the_order_of_equal_keys(void **state)
{
    (void)state;
    static uint8_t phases[2000];
    for (unsigned round = 0; round < 300; round++) {
        size_t n = 1 + dice() % 2000;
        unsigned sets = 1 + (unsigned)(dice() % SETS_MAX);
        const struct onerow_record **records = some_records(n, (unsigned)(dice() % 5), sets);
        const struct onerow_record *of[OR_PHASES] = {NULL};
        or_columns_phases(records, n, phases);
        for (size_t i = 0; i < n; i++) {
            assert_true(phases[i] < OR_PHASES);
            if (i && or_span_equal(records[i]->key, records[i - 1]->key)) {
                assert_true(phases[i] >= phases[i - 1]);
            }
            if (phases[i] < OR_COLUMN_SETS) { /* one set in a phase, one phase for a set */
                const struct onerow_record *like = of[phases[i]] ? of[phases[i]] : records[i];
                assert_true(or_columns_same(like, records[i]));
                for (size_t p = 0; p < OR_COLUMN_SETS; p++) {
                    assert_true(p == phases[i] || !of[p] || !or_columns_same(of[p], records[i]));
                }
                of[phases[i]] = like;
            }
        }
        or_arena_reset(&arena);
    }
}

static void few_sets_need_no_mixed_phase(void **state)
{
    (void)state;
    static uint8_t phases[2000];
    const struct onerow_record **records = some_records(2000, 0, 8); /* every key once */
    or_columns_phases(records, 2000, phases);
    for (size_t i = 0; i < 2000; i++) {
        assert_true(phases[i] < OR_COLUMN_SETS);
    }
}

/* The frequent sets get the phases, though rare ones come first. */
static void frequent_sets_have_the_phases(void **state)
{
    (void)state;
    static uint8_t phases[3000];
    const struct onerow_record **rare = some_records(1000, 0, 128);
    const struct onerow_record **usual = some_records(2000, 0, 1); /* the key alone */
    const struct onerow_record *all[3000];
    memcpy(all, rare, 1000 * sizeof *all);
    memcpy(all + 1000, usual, 2000 * sizeof *all);
    or_columns_phases(all, 3000, phases);
    for (size_t i = 1001; i < 3000; i++) {
        assert_int_equal(phases[i], 0);
    }
}

/* ---- latencies ------------------------------------------------------------------------------- */

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void percentiles_are_nearly_right(void **state)
{
    (void)state;
    static struct or_latency whole;
    static struct or_latency parts[2];
    static uint64_t values[1000];
    for (unsigned round = 0; round < 200; round++) {
        size_t n = 1 + dice() % 1000;
        memset(&whole, 0, sizeof whole);
        memset(parts, 0, sizeof parts);
        for (size_t i = 0; i < n; i++) {
            values[i] = dice() >> (24 + dice() % 40); /* of every size below 2^40 */
            or_latency_add(&whole, values[i]);
            or_latency_add(&parts[i % 2], values[i]);
        }
        or_latency_merge(&parts[0], &parts[1]);
        assert_memory_equal(&parts[0], &whole, sizeof whole);
        qsort(values, n, sizeof *values, compare_numbers);
        for (unsigned percent = 1; percent <= 100; percent++) {
            uint64_t wanted = values[(n * percent + 99) / 100 - 1];
            uint64_t got = or_latency_percentile(&whole, percent);
            uint64_t off = got > wanted ? got - wanted : wanted - got;
            if (off * 100 > wanted * 3) {
                fail_msg("p%u of %zu: %llu instead of %llu", percent, n, (unsigned long long)got,
                         (unsigned long long)wanted);
            }
        }
        assert_int_equal(or_latency_summarise(&whole).max, values[n - 1]);
    }
}

static void extreme_latencies_have_a_slot(void **state)
{
    (void)state;
    static struct or_latency latency;
    memset(&latency, 0, sizeof latency);
    assert_int_equal(or_latency_percentile(&latency, 99), 0);
    or_latency_add(&latency, UINT64_MAX);
    or_latency_add(&latency, 0);
    assert_int_equal(or_latency_percentile(&latency, 50), 0);
    assert_true(or_latency_percentile(&latency, 99) > 1ULL << 39);
    assert_true(or_latency_summarise(&latency).max == UINT64_MAX);
    assert_true(or_latency_now() > 0);
}

/* ---- arenas ---------------------------------------------------------------------------------- */

static void an_absorbed_arena_lives_on(void **state)
{
    (void)state;
    struct or_arena parent;
    or_arena_init(&parent);
    for (unsigned round = 0; round < 20; round++) {
        struct or_arena child;
        struct or_arena grandchild;
        or_arena_init(&child);
        or_arena_init(&grandchild);
        or_arena_absorb(&parent, &child); /* nothing */
        const char *first = or_arena_printf(&child, "round %u", round);
        const char *second = or_arena_printf(&grandchild, "round %u again", round);
        assert_true(first && second && or_arena_alloc(&child, 3UL * OR_ARENA_CHUNK));
        size_t used = child.used + grandchild.used;
        or_arena_absorb(&child, &grandchild);
        or_arena_absorb(&parent, &child);
        or_arena_absorb(&parent, &grandchild);
        assert_int_equal(parent.used, used);
        assert_int_equal(child.used, 0);
        assert_null(child.first);
        or_arena_finish(&child);
        assert_true(or_span_is(or_span(first), or_arena_printf(&parent, "round %u", round)));
        assert_non_null(strstr(second, "again"));
        or_arena_reset(&parent);
        assert_null(parent.taken); /* kept chunks would add up */
        assert_int_equal(parent.used, 0);
    }
    or_arena_finish(&parent);
}

#define ON_THE_STORE(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_THE_STORE(everything_is_as_if_written_one_by_one),
        ON_THE_STORE(transactions_hold_one_column_set),
        ON_THE_STORE(an_exclusive_store_needs_no_phases),
        ON_THE_STORE(the_stores_equality_keeps_all_together),
        ON_THE_STORE(a_dry_run_writes_nothing),
        ON_THE_STORE(a_small_batch_stays_on_one_connection),
        ON_THE_STORE(connections_are_opened_meanwhile),
        ON_THE_STORE(too_many_connections_are_only_fewer),
        ON_THE_STORE(a_table_that_changed_gets_no_lane),
        ON_THE_STORE(one_lane_fails_and_the_others_finish),
        ON_THE_STORE(a_failed_phase_is_the_last),
        ON_THE_STORE(an_interruption_leaves_all_pending),
        ON_THE_STORE(what_is_refused_is_tried_again_in_order),
        ON_THE_STORE(a_doubt_says_what_is_known),
        ON_THE_STORE(a_look_that_fails_says_nothing),
        ON_THE_STORE(nobody_answers),
        ON_THE_STORE(a_resolved_doubt_leaves_no_trace),
        ON_THE_STORE(a_store_that_cannot_be_asked),
        ON_THE_STORE(doubts_and_refusals_side_by_side),
        ON_THE_STORE(a_doubtful_successor_counts),
        ON_THE_STORE(phases_keep_the_order_of_equal_keys),
        ON_THE_STORE(few_sets_need_no_mixed_phase),
        ON_THE_STORE(frequent_sets_have_the_phases),
        cmocka_unit_test(percentiles_are_nearly_right),
        cmocka_unit_test(extreme_latencies_have_a_slot),
        cmocka_unit_test(an_absorbed_arena_lives_on),
    };
    seed_dice();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
