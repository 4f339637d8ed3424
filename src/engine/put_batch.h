/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of records of any number of tables, written. See the top of put_batch.c.
 */
#ifndef OR_ENGINE_PUT_BATCH_H
#define OR_ENGINE_PUT_BATCH_H

#include "engine/driver_blocking.h"

/* Puts n > 0 entries, sorted by or_entries_sort, all PENDING. Afterwards as or_drive_put says.
 * *error is that of the failure that decided the status. */
ONEROW_CHECKED enum onerow_status or_put_batch(struct or_entry **sorted, size_t n,
                                               const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);

#endif
