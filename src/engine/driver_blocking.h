/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking driver: performs the commands of core/put on a store, one after the
 * other, in the calling thread. It holds no protocol of its own.
 */
#ifndef OR_ENGINE_DRIVER_BLOCKING_H
#define OR_ENGINE_DRIVER_BLOCKING_H

#include "engine/entry.h"

/* A condition on the one record of a put, looked at inside its transaction. */
struct or_drive_guard {
    void (*before)(void *context, struct or_table *table, const struct onerow_record *record);
    /* After the write, before the commit: anything but OK undoes it. */
    enum onerow_status (*after)(void *context, const struct onerow_verdict *verdict,
                                struct onerow_error *error);
    void *context;
};

struct or_drive_options {
    bool dry_run;
    const volatile bool *stop;          /* gives up waiting for a turn when set; NULL: never */
    const struct or_drive_guard *guard; /* for a put of one record; NULL: none */
};

/* Puts n > 0 entries of one table, sorted, all PENDING. Afterwards each has its outcome, reason, id
 * and folded_into, unless the answer is INTERRUPTED: entries still PENDING were not sent. Texts lie
 * in the arena. OK: all are written; REJECTED or UNKNOWN: some are not; else the store failed. */
ONEROW_CHECKED enum onerow_status or_drive_put(struct or_table *table, struct or_entry **entries,
                                               size_t n, const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);

#endif
