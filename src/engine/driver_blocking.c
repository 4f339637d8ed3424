/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/driver_blocking.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "core/put.h"
#include "engine/driver_pages.h"

struct drive {
    struct or_table *table;
    struct or_entry **entries;
    const struct onerow_record **records;
    struct onerow_verdict *verdicts;
    struct or_arena *arena;
    const struct or_drive_options *options;
    struct or_put put;
    struct onerow_error failure; /* of the last command that failed */
    enum onerow_status status;   /* the put's worst so far, … */
    struct onerow_error worst;   /* … and the failure that it came from */
    bool refused;                /* the store refused single records */
    bool looked;                 /* verdicts hold what LOOK found */
    struct or_put_range timed;   /* the range whose transactions are being timed; count 0: none */
    uint64_t begun_us;
};

bool or_drive_failed(enum onerow_status status)
{
    return status != ONEROW_OK && status != ONEROW_REJECTED && status != ONEROW_UNKNOWN &&
           status != ONEROW_RETRY;
}

const char *or_drive_reason(const struct onerow_error *error, struct or_arena *arena)
{
    struct onerow_span line = {error->text, strcspn(error->text, "\n")};
    const char *kept = line.len ? or_arena_copy(arena, line).data : NULL;
    return kept ? kept : onerow_status_text(error->status);
}

void or_drive_stats_add(struct or_drive_stats *sum, const struct or_drive_stats *more)
{
    sum->transactions += more->transactions;
    sum->retries += more->retries;
    sum->bisects += more->bisects;
    or_latency_merge(&sum->latency, &more->latency);
    or_pages_stats_add(&sum->pages, &more->pages);
}

/* ---- settling -------------------------------------------------------------------------- */

static void settle_with_verdict(struct drive *drive, size_t at)
{
    struct or_entry *entry = drive->entries[at];
    entry->outcome = (uint8_t)drive->verdicts[at].outcome;
    entry->reason = drive->verdicts[at].reason;
    entry->id = drive->verdicts[at].id;
    drive->refused |= entry->outcome == ONEROW_REFUSED;
}

/* What the table holds now, by the outcome that LOOK gives; the index is one of enum
 * onerow_outcome. */
static const char *const FOUND[] = {
    [ONEROW_PENDING] = "",
    [ONEROW_CREATED] = "",
    [ONEROW_UPDATED] = "; the row now differs",
    [ONEROW_UNCHANGED] = "; the row now holds these values",
    [ONEROW_REFUSED] = "; there is no such row now",
    [ONEROW_IN_DOUBT] = "",
};
#define FOUND_KINDS (sizeof FOUND / sizeof *FOUND)

/* The records of the range are in doubt: why, and what was found of each. */
static void settle_in_doubt(struct drive *drive, const struct or_put_command *command)
{
    const char *why = or_drive_reason(&drive->failure, drive->arena);
    const char *reasons[FOUND_KINDS] = {NULL};
    for (size_t i = command->first; i < command->first + command->count; i++) {
        size_t found = drive->looked ? (size_t)drive->verdicts[i].outcome : ONEROW_PENDING;
        found = found < FOUND_KINDS ? found : ONEROW_PENDING;
        if (!reasons[found]) {
            reasons[found] = or_arena_printf(drive->arena, "%s%s", why, FOUND[found]);
            reasons[found] = reasons[found] ? reasons[found] : why;
        }
        drive->entries[i]->outcome = ONEROW_IN_DOUBT;
        drive->entries[i]->reason = reasons[found];
    }
    drive->looked = false;
}

static void settle_refused(struct drive *drive, const struct or_put_command *command)
{
    const char *reason = or_drive_reason(&drive->failure, drive->arena);
    for (size_t i = command->first; i < command->first + command->count; i++) {
        or_entry_refuse(drive->entries[i], reason);
    }
}

static void settle(struct drive *drive, const struct or_put_command *command)
{
    if (command->outcome == ONEROW_REFUSED) {
        settle_refused(drive, command);
    } else if (command->outcome == ONEROW_IN_DOUBT) {
        settle_in_doubt(drive, command);
    } else {
        for (size_t i = command->first; i < command->first + command->count; i++) {
            settle_with_verdict(drive, i);
        }
    }
}

/* ---- commands --------------------------------------------------------------------------- */

static enum onerow_status apply(struct drive *drive, const struct or_put_command *command)
{
    const struct or_drive_guard *guard = drive->options->guard;
    if (guard) {
        guard->before(guard->context, drive->table, drive->records[command->first]);
    }
    enum onerow_status status = drive->table->store->type->apply(
        drive->table->table, drive->records + command->first, command->count,
        drive->verdicts + command->first, drive->arena, &drive->failure);
    if (guard && status == ONEROW_OK) {
        status = guard->after(guard->context, &drive->verdicts[command->first], &drive->failure);
    }
    return status;
}

static enum onerow_status resolve(struct drive *drive)
{
    struct onerow_store *store = drive->table->store;
    if (store->type->resolve) {
        return store->type->resolve(store, drive->options->stop, &drive->failure);
    }
    enum onerow_status behind = drive->failure.status;
    return onerow_status_exit(behind) > 1 ? behind : ONEROW_UNAVAILABLE;
}

/* A failure only means that nothing is said of the rows. */
static void look(struct drive *drive, const struct or_put_command *command)
{
    struct onerow_error unsaid = {0};
    const struct onerow_store_type *type = drive->table->store->type;
    memset(drive->verdicts + command->first, 0, command->count * sizeof *drive->verdicts);
    drive->looked = type->look && type->look(drive->table->table, drive->records + command->first,
                                             command->count, drive->verdicts + command->first,
                                             drive->arena, &unsaid) == ONEROW_OK;
}

static enum onerow_status perform(struct drive *drive, const struct or_put_command *command)
{
    struct onerow_store *store = drive->table->store;
    switch (command->what) {
    case OR_PUT_BEGIN: return store->type->begin(store, drive->options->stop, &drive->failure);
    case OR_PUT_APPLY: return apply(drive, command);
    case OR_PUT_COMMIT: return store->type->commit(store, &drive->failure);
    case OR_PUT_ROLLBACK: store->type->rollback(store); return ONEROW_OK;
    case OR_PUT_RESOLVE: return resolve(drive);
    case OR_PUT_LOOK: look(drive, command); return ONEROW_OK;
    case OR_PUT_SETTLE: settle(drive, command); return ONEROW_OK;
    case OR_PUT_END: break;
    }
    return ONEROW_OK;
}

/* ---- measuring ---------------------------------------------------------------------------- */

/* A range that is tried again is timed from its first try. */
static void note_begin(struct drive *drive, const struct or_put_command *command)
{
    struct or_put_range range = {.first = command->first, .count = command->count};
    if (range.first != drive->timed.first || range.count != drive->timed.count) {
        drive->timed = range;
        drive->begun_us = or_latency_now();
    }
}

static void note_settled(struct drive *drive)
{
    if (drive->timed.count && drive->options->stats) {
        or_latency_add(&drive->options->stats->latency, or_latency_now() - drive->begun_us);
    }
    drive->timed.count = 0; /* ranges that were never sent follow, when the store failed */
}

static void add_counts(const struct drive *drive)
{
    struct or_drive_stats *stats = drive->options->stats;
    if (stats) {
        stats->transactions += drive->put.transactions;
        stats->retries += drive->put.retries;
        stats->bisects += drive->put.bisects;
    }
}

/* ---- folding ------------------------------------------------------------------------------ */

static bool acknowledged(const struct or_entry *entry)
{
    return entry->outcome == ONEROW_CREATED || entry->outcome == ONEROW_UPDATED ||
           entry->outcome == ONEROW_UNCHANGED;
}

/* Within a run of equal keys: the last record that changed the row, or else the last one taken. */
static struct or_entry *carrier_of(struct or_entry **entries, size_t n)
{
    struct or_entry *carrier = NULL;
    struct or_entry *taken = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!acknowledged(entries[i])) {
            continue;
        }
        taken = entries[i];
        carrier = entries[i]->outcome == ONEROW_UNCHANGED ? carrier : entries[i];
    }
    return carrier ? carrier : taken;
}

static bool same_row(const struct or_entry *a, const struct or_entry *b, bool by_id)
{
    return by_id ? a->id.data && b->id.data && or_span_equal(a->id, b->id)
                 : or_span_equal(a->record.key, b->record.key);
}

/* Names the carrier of each run of records of one row. */
static void name_carriers(struct or_entry **entries, size_t n, bool by_id)
{
    for (size_t first = 0, end = 0; first < n; first = end) {
        for (end = first + 1; end < n && same_row(entries[end], entries[first], by_id); end++) {
        }
        struct or_entry *carrier =
            end - first > 1 ? carrier_of(entries + first, end - first) : NULL;
        for (size_t i = first; i < end && carrier; i++) {
            entries[i]->folded_into =
                entries[i] != carrier && acknowledged(entries[i]) ? carrier : NULL;
        }
    }
}

static int compare_rows(const void *left, const void *right)
{
    const struct or_entry *a = *(struct or_entry *const *)left;
    const struct or_entry *b = *(struct or_entry *const *)right;
    int order = or_span_compare(a->id, b->id);
    return order ? order : (a > b) - (a < b);
}

/* By the store's own equality, equal keys are those that met in one row. */
static void name_carriers_by_row(struct or_entry **entries, size_t n, struct or_arena *arena)
{
    struct or_entry **by_row = or_arena_alloc(arena, n * sizeof(struct or_entry *));
    if (by_row) { /* else folding goes unmentioned */
        memcpy(by_row, entries, n * sizeof(struct or_entry *));
        qsort(by_row, n, sizeof(struct or_entry *), compare_rows);
        name_carriers(by_row, n, true);
    }
}

void or_drive_fold(const struct or_table *table, struct or_entry **entries, size_t n,
                   struct or_arena *arena)
{
    if (table->spec.store_key_equality) {
        name_carriers_by_row(entries, n, arena);
    } else {
        name_carriers(entries, n, false);
    }
}

/* ---- driving ------------------------------------------------------------------------------ */

static void next_command(struct drive *drive, enum onerow_status answer,
                         struct or_put_command *command)
{
    or_put_step(&drive->put, answer, command);
    if (drive->put.status != drive->status) {
        drive->status = drive->put.status;
        drive->worst = drive->failure;
    }
}

static void drive_on(struct drive *drive)
{
    struct or_put_command command;
    enum onerow_status answer = ONEROW_OK;
    for (next_command(drive, answer, &command); command.what != OR_PUT_END;
         next_command(drive, answer, &command)) {
        if (command.what == OR_PUT_BEGIN) {
            note_begin(drive, &command);
        }
        answer = perform(drive, &command);
        if (command.what == OR_PUT_SETTLE) {
            note_settled(drive);
        }
    }
}

enum onerow_status or_drive_part(struct or_table *table, struct or_entry **entries, size_t n,
                                 const struct or_drive_options *options, struct or_arena *arena,
                                 struct onerow_error *error)
{
    if (table->pages) {
        return or_pages_put(table->pages, table, entries, n, options, arena, error);
    }
    struct drive drive = {.table = table, .entries = entries, .arena = arena, .options = options};
    drive.records = or_arena_alloc(arena, n * sizeof *drive.records);
    drive.verdicts = or_arena_alloc(arena, n * sizeof *drive.verdicts);
    if (!drive.records || !drive.verdicts) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        drive.records[i] = &entries[i]->record;
    }
    or_put_init(&drive.put, n, options->dry_run);
    drive_on(&drive);
    add_counts(&drive);
    enum onerow_status status =
        or_status_worse(drive.status, drive.refused ? ONEROW_REJECTED : ONEROW_OK);
    if (error && status != ONEROW_OK) {
        *error = drive.worst;
    }
    return status;
}

enum onerow_status or_drive_put(struct or_table *table, struct or_entry **entries, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    enum onerow_status status = or_drive_part(table, entries, n, options, arena, error);
    or_drive_fold(table, entries, n, arena);
    return status;
}
