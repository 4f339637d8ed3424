/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking driver: performs the commands of core/put on a store, one after the
 * other, in the calling thread. It holds no protocol of its own.
 */
#ifndef OR_ENGINE_DRIVER_BLOCKING_H
#define OR_ENGINE_DRIVER_BLOCKING_H

#include "engine/entry.h"
#include "engine/latency.h"
#include "engine/pages_stats.h"

/* A condition on the one record of a put, looked at inside its transaction. */
struct or_drive_guard {
    void (*before)(void *context, struct or_table *table, const struct onerow_record *record);
    /* After the write, before the commit: anything but OK undoes it. */
    enum onerow_status (*after)(void *context, const struct onerow_verdict *verdict,
                                struct onerow_error *error);
    void *context;
};

struct or_drive_stats {
    uint64_t transactions;     /* sent to be committed */
    uint64_t retries;          /* transactions that were tried once more */
    uint64_t bisects;          /* transactions that were halved */
    struct or_latency latency; /* of a transaction, from its first BEGIN until it is settled */
    struct or_pages_stats pages;
};

struct or_drive_options {
    bool dry_run;
    const volatile bool *stop;          /* gives up waiting for a turn when set; NULL: never */
    const struct or_drive_guard *guard; /* for a put of one record; NULL: none */
    struct or_drive_stats *stats;       /* added to; NULL: not wanted */
};

/* Puts n > 0 entries of one table, sorted, all PENDING. Afterwards each has its outcome, reason, id
 * and folded_into, unless the answer is INTERRUPTED: entries still PENDING were not written. Texts
 * lie in the arena. OK: all are written; REJECTED, UNKNOWN or RETRY: some are not, and the store is
 * there; else the store failed. */
ONEROW_CHECKED enum onerow_status or_drive_put(struct or_table *table, struct or_entry **entries,
                                               size_t n, const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);

/* The same in two steps, for entries that are put in several parts: puts, but leaves folded_into as
 * it is; and, for all that were put, sets it. */
ONEROW_CHECKED enum onerow_status or_drive_part(struct or_table *table, struct or_entry **entries,
                                                size_t n, const struct or_drive_options *options,
                                                struct or_arena *arena, struct onerow_error *error);
void or_drive_fold(const struct or_table *table, struct or_entry **entries, size_t n,
                   struct or_arena *arena);

/* Whether such an answer means that the store failed, so that there is no use in sending more. */
bool or_drive_failed(enum onerow_status status);

/* What a result line and a dead letter say of a failure: its first line, in the arena or static. */
const char *or_drive_reason(const struct onerow_error *error, struct or_arena *arena);

void or_drive_stats_add(struct or_drive_stats *sum, const struct or_drive_stats *more);

#endif
