/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch is written table by table, in the order of its keys. Neither is the order in
 * which the records arrived, and a record may be refused only because of that: its parent
 * comes later by key, or the value of a second unique column is still held by a row whose
 * new value comes later. So what a store refused is tried once more, in the order of
 * arrival, after everything else has been written.
 *
 * The first time goes over several connections and in several transactions, as lanes.c
 * says; the second time over one, one record after the other.
 *
 * A store of pages looks at each record by itself, and is not asked again.
 *
 * A record whose key has been taken by a later one of the batch in the meantime is not
 * tried again: it would write over its successor.
 */
#include "engine/put_batch.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/text.h"
#include "engine/lanes.h"

struct refused {
    struct or_entry *entry;
    const char *reason; /* of the first time */
};

struct batch {
    const struct or_drive_options *options;
    struct or_arena *arena;
    enum onerow_status status; /* worst so far */
    struct onerow_error *error;
};

typedef enum onerow_status put_function(struct or_table *table, struct or_entry **entries, size_t n,
                                        const struct or_drive_options *options,
                                        struct or_arena *arena, struct onerow_error *error);

/* Puts entries of one table after those of another. */
static void put_tables(struct batch *batch, struct or_entry **entries, size_t n, put_function *put)
{
    for (size_t first = 0, end = 0; first < n; first = end) {
        for (end = first + 1; end < n && entries[end]->table == entries[first]->table; end++) {
        }
        struct onerow_error error = {0};
        enum onerow_status status = put(entries[first]->table, entries + first, end - first,
                                        batch->options, batch->arena, &error);
        enum onerow_status worse = or_status_worse(batch->status, status);
        if (worse != batch->status && batch->error) {
            *batch->error = error;
        }
        batch->status = worse;
    }
}

/* Whether a later record of the same key has been written, or may have been. */
static bool has_successor(struct or_entry **sorted, size_t n, size_t at)
{
    for (size_t i = at + 1; i < n && sorted[i]->table == sorted[at]->table &&
                            or_span_equal(sorted[i]->record.key, sorted[at]->record.key);
         i++) {
        if (sorted[i]->outcome != ONEROW_REFUSED) {
            return true;
        }
    }
    return false;
}

static int by_arrival(const void *left, const void *right)
{
    const struct or_entry *a = ((const struct refused *)left)->entry;
    const struct or_entry *b = ((const struct refused *)right)->entry;
    return (a > b) - (a < b); /* entries lie in the order of their arrival */
}

static size_t collect_refused(struct or_entry **sorted, size_t n, struct refused *refused)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (sorted[i]->outcome == ONEROW_REFUSED && !sorted[i]->table->pages &&
            !has_successor(sorted, n, i)) {
            refused[count++] = (struct refused){sorted[i], sorted[i]->reason};
        }
    }
    qsort(refused, count, sizeof *refused, by_arrival);
    return count;
}

static void try_again(struct batch *batch, struct or_entry **sorted, size_t n)
{
    struct refused *refused = or_arena_alloc(batch->arena, n * sizeof *refused);
    struct or_entry **entries = or_arena_alloc(batch->arena, n * sizeof(struct or_entry *));
    size_t count = refused && entries ? collect_refused(sorted, n, refused) : 0;
    for (size_t i = 0; i < count; i++) {
        entries[i] = refused[i].entry;
        entries[i]->outcome = ONEROW_PENDING;
    }
    put_tables(batch, entries, count, or_drive_put);
    for (size_t i = 0; i < count; i++) {
        if (entries[i]->outcome == ONEROW_PENDING) { /* interrupted before the second time */
            or_entry_refuse(entries[i], refused[i].reason);
        }
    }
}

/* After the second time: the first time's refusals count no more, its doubts do. */
static void sum_up(struct batch *batch, struct or_entry **sorted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum onerow_status status = sorted[i]->outcome == ONEROW_REFUSED    ? ONEROW_REJECTED
                                    : sorted[i]->outcome == ONEROW_IN_DOUBT ? ONEROW_UNKNOWN
                                                                            : ONEROW_OK;
        enum onerow_status worse = or_status_worse(batch->status, status);
        if (worse != batch->status) {
            batch->status =
                or_fail(batch->error, worse, "%s", sorted[i]->reason ? sorted[i]->reason : "");
        }
    }
}

enum onerow_status or_put_batch(struct or_entry **sorted, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    struct batch first = {.options = options, .arena = arena, .error = error};
    put_tables(&first, sorted, n, or_lanes_put);
    if (first.status == ONEROW_OK || or_drive_failed(first.status) || n == 1 || options->dry_run) {
        return first.status;
    }
    struct onerow_error why = {0};
    struct batch second = {.options = options, .arena = arena, .error = &why};
    try_again(&second, sorted, n);
    sum_up(&second, sorted, n);
    if (second.status != first.status && error) { /* else the first time's failure says more */
        *error = why;
    }
    return second.status;
}
