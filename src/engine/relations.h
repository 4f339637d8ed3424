/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns that relate to pages of another table, which a record gives by their keys. See the top of
 * relations.c.
 */
#ifndef OR_ENGINE_RELATIONS_H
#define OR_ENGINE_RELATIONS_H

#include "engine/driver_blocking.h"

struct or_relation {
    uint16_t column;
    struct or_table *target; /* borrowed; may be the table itself */
};

/* Fills *relation, if the column does lead to the target's pages. CONFIG: it does not. */
ONEROW_CHECKED enum onerow_status or_relation_check(const struct or_table *table,
                                                    const struct or_config_relation *config,
                                                    struct or_table *target,
                                                    struct or_relation *relation,
                                                    struct onerow_error *error);

/* The record without the columns that relate to others. False: out of memory. */
ONEROW_CHECKED bool or_relations_leave_out(const struct or_table *table,
                                           const struct onerow_record *record,
                                           struct or_arena *arena, struct onerow_record *rest);

/* records[i] becomes what entries[i] writes: ids in place of keys. Keys without a page get one.
 * Entries whose keys have none in the end are refused; those that are still PENDING and have
 * records[i].values NULL were not tried to the end, because the run is to stop. Entries that are
 * not PENDING are left alone. All lies in the arena. Not OK: the store failed, as of or_drive_put.
 */
ONEROW_CHECKED enum onerow_status
or_relations_resolve(struct or_table *table, struct or_entry **entries, size_t n,
                     const struct or_drive_options *options, struct or_arena *arena,
                     struct onerow_record *records, struct onerow_error *error);

#endif
