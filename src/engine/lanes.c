/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be taken apart is written in parts:
 *
 *                      by ranges of keys          by column set
 *   sorted entries ──► lane 0  (the table's own connection) ──► phase, phase, …
 *                  └─► lane 1  (a further one, in a thread) ──► phase, phase, …
 *
 *  - Lanes, where connections add up (ONEROW_PARALLEL). Each takes a range of the sorted
 *    records. All records of one key are in one lane, so equal keys keep their order and two
 *    lanes never wait for each other's row, and hardly ever for the same page of an index.
 *    Each lane runs the protocol on its own: when one fails, the others finish their work.
 *  - Phases, where others write at the same time (no ONEROW_EXCLUSIVE), and transactions
 *    take locks (no ONEROW_PAGES): core/columns.c says why. They follow one another, each in
 * transactions of its own.
 *
 * Under store_key_equality only the store knows which keys are equal: there everything
 * stays together, in the order of arrival. A dry run undoes each transaction, and a later
 * phase would not see what an earlier one did; so it has lanes, but no phases.
 *
 * A lane's outcomes lie in an arena of its own, which the batch's absorbs after the join.
 * When memory or a thread is missing, things are done together or one after the other.
 */
#include "engine/lanes.h"

#include "base/status.h"
#include "base/text.h"
#include "base/thread.h"
#include "core/columns.h"

/* What a group of entries comes to, part by part. */
struct total {
    enum onerow_status status; /* worst so far */
    struct onerow_error *error;
};

static void add_part(struct total *total, enum onerow_status status,
                     const struct onerow_error *error)
{
    enum onerow_status worse = or_status_worse(total->status, status);
    if (worse != total->status && total->error) {
        *total->error = *error;
    }
    total->status = worse;
}

/* ---- taking apart ------------------------------------------------------------------------ */

#define PARTS_MAX 16U
_Static_assert(OR_CONNECTIONS_MAX <= PARTS_MAX && OR_PHASES <= PARTS_MAX, "parts");

/* Entries by the part they belong to, each part in the order that they had. */
struct parts {
    struct or_entry **entries;
    size_t first[PARTS_MAX + 1]; /* part p is [first[p], first[p + 1]) */
};

static bool take_apart(struct parts *parts, struct or_entry **entries, const uint8_t *part,
                       size_t n, struct or_arena *arena)
{
    size_t next[PARTS_MAX + 1] = {0};
    parts->entries = or_arena_alloc(arena, n * sizeof(struct or_entry *));
    if (!parts->entries) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        next[part[i] + 1]++;
    }
    for (size_t p = 1; p <= PARTS_MAX; p++) {
        next[p] += next[p - 1];
    }
    for (size_t p = 0; p <= PARTS_MAX; p++) {
        parts->first[p] = next[p];
    }
    for (size_t i = 0; i < n; i++) {
        parts->entries[next[part[i]]++] = entries[i];
    }
    return true;
}

static size_t part_size(const struct parts *parts, size_t p)
{
    return parts->first[p + 1] - parts->first[p];
}

/* ---- phases ------------------------------------------------------------------------------ */

static bool wants_phases(const struct or_table *table, struct or_entry **entries, size_t n,
                         const struct or_drive_options *options)
{
    bool same = true;
    if ((table->table->guarantees & (ONEROW_EXCLUSIVE | ONEROW_PAGES)) ||
        table->spec.store_key_equality || options->dry_run) {
        return false;
    }
    for (size_t i = 1; i < n && same; i++) {
        same = or_columns_same(&entries[i]->record, &entries[i - 1]->record);
    }
    return !same;
}

static bool split_phases(struct parts *parts, struct or_entry **entries, size_t n,
                         struct or_arena *arena)
{
    const struct onerow_record **records = or_arena_alloc(arena, n * sizeof *records);
    uint8_t *phases = or_arena_alloc(arena, n);
    if (!records || !phases) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        records[i] = &entries[i]->record;
    }
    or_columns_phases(records, n, phases);
    return take_apart(parts, entries, phases, n, arena);
}

/* The store failed in an earlier phase: these were never sent. */
static void refuse_rest(struct or_entry **entries, size_t n, const struct onerow_error *error,
                        struct or_arena *arena)
{
    const char *reason = or_drive_reason(error, arena);
    for (size_t i = 0; i < n; i++) {
        or_entry_refuse(entries[i], reason);
    }
}

static enum onerow_status put_phases(struct or_table *table, struct or_entry **entries, size_t n,
                                     const struct or_drive_options *options, struct or_arena *arena,
                                     struct onerow_error *error)
{
    struct parts parts;
    if (!wants_phases(table, entries, n, options) || !split_phases(&parts, entries, n, arena)) {
        return or_drive_part(table, entries, n, options, arena, error);
    }
    struct total total = {.error = error};
    for (size_t p = 0; p < OR_PHASES; p++) {
        if (part_size(&parts, p) == 0) {
            continue;
        }
        struct onerow_error why = {0};
        enum onerow_status status = or_drive_part(table, parts.entries + parts.first[p],
                                                  part_size(&parts, p), options, arena, &why);
        add_part(&total, status, &why);
        if (or_drive_failed(status)) {
            size_t next = parts.first[p + 1];
            if (status != ONEROW_INTERRUPTED) { /* else they stay pending */
                refuse_rest(parts.entries + next, n - next, &why, arena);
            }
            break;
        }
    }
    return total.status;
}

/* ---- lanes ------------------------------------------------------------------------------- */

struct lane {
    struct or_table *table;
    struct or_entry **entries;
    size_t n;
    struct or_drive_options options;
    struct or_drive_stats stats;
    struct or_arena arena;
    enum onerow_status status;
    struct onerow_error error;
    pthread_t thread;
    bool threaded;
};

static void *run_lane(void *context)
{
    struct lane *lane = context;
    if (lane->n) {
        lane->status = put_phases(lane->table, lane->entries, lane->n, &lane->options, &lane->arena,
                                  &lane->error);
    }
    return NULL;
}

static void run_lanes(struct lane *lanes, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        lanes[i].threaded = or_thread_start(&lanes[i].thread, run_lane, &lanes[i]);
    }
    run_lane(&lanes[0]);
    for (size_t i = 1; i < n; i++) {
        if (lanes[i].threaded) {
            pthread_join(lanes[i].thread, NULL);
        } else {
            run_lane(&lanes[i]);
        }
    }
}

/* How many lanes the group is worth. */
static size_t lanes_wanted(const struct or_table *table, size_t n)
{
    if (!(table->table->guarantees & ONEROW_PARALLEL) || table->spec.store_key_equality) {
        return 1;
    }
    size_t worth = n / OR_LANE_RECORDS;
    return worth < 1 ? 1 : worth < table->connections ? worth : table->connections;
}

static void *widen(void *context)
{
    while (or_table_widen(context)) {
    }
    return NULL;
}

static bool same_key(const struct or_entry *a, const struct or_entry *b)
{
    return or_span_equal(a->record.key, b->record.key);
}

/* Into pieces of about the same size, between different keys. */
static void split_lanes(struct parts *parts, struct or_entry **entries, size_t n, size_t n_lanes)
{
    *parts = (struct parts){.entries = entries};
    for (size_t lane = 1; lane <= PARTS_MAX; lane++) {
        size_t at = lane < n_lanes ? n * lane / n_lanes : n;
        while (at < n && at > 0 && same_key(entries[at], entries[at - 1])) {
            at++;
        }
        parts->first[lane] = at;
    }
}

static struct lane *make_lanes(struct or_table *table, const struct parts *parts, size_t n_lanes,
                               const struct or_drive_options *options, struct or_arena *arena)
{
    struct lane *lanes = or_arena_alloc(arena, n_lanes * sizeof *lanes);
    for (size_t i = 0; lanes && i < n_lanes; i++) {
        lanes[i] = (struct lane){.table = i ? table->others[i - 1] : table,
                                 .entries = parts->entries + parts->first[i],
                                 .n = part_size(parts, i),
                                 .options = *options};
        lanes[i].options.stats = options->stats ? &lanes[i].stats : NULL;
        or_arena_init(&lanes[i].arena);
    }
    return lanes;
}

static enum onerow_status join_lanes(struct lane *lanes, size_t n,
                                     const struct or_drive_options *options, struct or_arena *arena,
                                     struct onerow_error *error)
{
    struct total total = {.error = error};
    for (size_t i = 0; i < n; i++) {
        add_part(&total, lanes[i].status, &lanes[i].error);
        or_arena_absorb(arena, &lanes[i].arena);
        if (options->stats) {
            or_drive_stats_add(options->stats, &lanes[i].stats);
        }
    }
    return total.status;
}

static enum onerow_status put_lanes(struct or_table *table, struct or_entry **entries, size_t n,
                                    size_t n_lanes, const struct or_drive_options *options,
                                    struct or_arena *arena, struct onerow_error *error)
{
    struct parts parts;
    split_lanes(&parts, entries, n, n_lanes);
    struct lane *lanes = n_lanes > 1 ? make_lanes(table, &parts, n_lanes, options, arena) : NULL;
    if (!lanes) {
        return put_phases(table, entries, n, options, arena, error);
    }
    run_lanes(lanes, n_lanes);
    return join_lanes(lanes, n_lanes, options, arena, error);
}

/* A connection that was begun ahead is waited for: it is nearly there. */
static size_t connections_there(struct or_table *table, size_t n)
{
    bool waits = table->ahead && lanes_wanted(table, n) > 1;
    return waits && !or_table_widen(table) ? 1 : 1 + (size_t)table->n_others;
}

/* Others that are missing are opened while this group is written through those that there are; the
 * next one has them. */
enum onerow_status or_lanes_put(struct or_table *table, struct or_entry **entries, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    pthread_t widener;
    size_t there = connections_there(table, n);
    size_t wanted = lanes_wanted(table, n);
    bool widening = wanted > there && or_thread_start(&widener, widen, table);
    enum onerow_status status =
        put_lanes(table, entries, n, wanted < there ? wanted : there, options, arena, error);
    if (widening) {
        pthread_join(widener, NULL);
    }
    or_drive_fold(table, entries, n, arena);
    return status;
}
