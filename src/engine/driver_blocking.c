/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/driver_blocking.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "core/put.h"

struct drive {
    struct or_table *table;
    struct or_entry **entries;
    const struct onerow_record **records;
    struct onerow_verdict *verdicts;
    struct or_arena *arena;
    const struct or_drive_options *options;
    struct onerow_error failure; /* of the last command that failed */
    enum onerow_status worst;    /* REJECTED when the store refused single records */
};

/* The failure's first line: what a result line and a dead letter say. */
static const char *first_line(struct drive *drive)
{
    const char *text = drive->failure.text;
    struct onerow_span line = {text, strcspn(text, "\n")};
    const char *kept = or_arena_copy(drive->arena, line).data;
    return kept ? kept : onerow_status_text(drive->failure.status);
}

static void settle_with_verdict(struct drive *drive, size_t at)
{
    struct or_entry *entry = drive->entries[at];
    entry->outcome = (uint8_t)drive->verdicts[at].outcome;
    entry->reason = drive->verdicts[at].reason;
    entry->id = drive->verdicts[at].id;
    if (entry->outcome == ONEROW_REFUSED) {
        drive->worst = or_status_worse(drive->worst, ONEROW_REJECTED);
    }
}

static void settle(struct drive *drive, const struct or_put_command *command)
{
    const char *reason = command->outcome == ONEROW_PENDING ? NULL : first_line(drive);
    for (size_t i = command->first; i < command->first + command->count; i++) {
        if (command->outcome == ONEROW_PENDING) {
            settle_with_verdict(drive, i);
        } else {
            drive->entries[i]->outcome = (uint8_t)command->outcome;
            drive->entries[i]->reason = reason;
        }
    }
}

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

static enum onerow_status perform(struct drive *drive, const struct or_put_command *command)
{
    struct onerow_store *store = drive->table->store;
    switch (command->what) {
    case OR_PUT_BEGIN: return store->type->begin(store, drive->options->stop, &drive->failure);
    case OR_PUT_APPLY: return apply(drive, command);
    case OR_PUT_COMMIT: return store->type->commit(store, &drive->failure);
    case OR_PUT_ROLLBACK: store->type->rollback(store); return ONEROW_OK;
    case OR_PUT_SETTLE: settle(drive, command); return ONEROW_OK;
    case OR_PUT_END: break;
    }
    return ONEROW_OK;
}

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

enum onerow_status or_drive_put(struct or_table *table, struct or_entry **entries, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    struct drive drive = {.table = table, .entries = entries, .arena = arena, .options = options};
    drive.records = or_arena_alloc(arena, n * sizeof *drive.records);
    drive.verdicts = or_arena_alloc(arena, n * sizeof *drive.verdicts);
    if (!drive.records || !drive.verdicts) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        drive.records[i] = &entries[i]->record;
    }
    struct or_put put;
    struct or_put_command command;
    or_put_init(&put, n, options->dry_run);
    enum onerow_status answer = ONEROW_OK;
    enum onerow_status lost = ONEROW_OK; /* the store's failure behind an unknown commit */
    for (or_put_step(&put, answer, &command); command.what != OR_PUT_END;
         or_put_step(&put, answer, &command)) {
        answer = perform(&drive, &command);
        if (answer == ONEROW_UNKNOWN) {
            lost = drive.failure.status;
        }
    }
    if (table->spec.store_key_equality) {
        name_carriers_by_row(entries, n, arena);
    } else {
        name_carriers(entries, n, false);
    }
    enum onerow_status status = or_status_worse(or_status_worse(command.status, lost), drive.worst);
    if (error && status != ONEROW_OK) {
        *error = drive.failure;
    }
    return status;
}
