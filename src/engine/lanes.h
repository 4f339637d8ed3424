/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of records of one table, written over several connections at once. See the top
 * of lanes.c.
 */
#ifndef OR_ENGINE_LANES_H
#define OR_ENGINE_LANES_H

#include "engine/driver_blocking.h"

#define OR_LANE_RECORDS 256U /* fewer are not worth a connection of their own */

/* As or_drive_put, without a guard. Entries with equal keys are next to one another. */
ONEROW_CHECKED enum onerow_status or_lanes_put(struct or_table *table, struct or_entry **entries,
                                               size_t n, const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);

#endif
