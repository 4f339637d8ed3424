/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables that are open together: those of one run, or one table and those that its relations lead
 * to. Each is opened once, whoever names it.
 */
#ifndef OR_ENGINE_KIN_H
#define OR_ENGINE_KIN_H

#include "engine/known.h"

#define OR_KIN_MAX 256U /* tables */

struct or_kin {
    struct or_table *tables[OR_KIN_MAX]; /* in the order of opening; owned */
    size_t n;
    struct or_known known;
};

/* The table with what its relations lead to, opened when it is not open yet; it belongs to the kin.
 * `options` are the same for all. */
ONEROW_CHECKED enum onerow_status or_kin_open(struct or_kin *kin,
                                              const struct or_config_table *config,
                                              const struct or_table_options *options,
                                              struct or_table **table, struct onerow_error *error);
/* One that or_kin_open has opened already, or NULL. */
struct or_table *or_kin_find(const struct or_kin *kin, const struct or_config_table *config);
void or_kin_close(struct or_kin *kin);

/* Its own kin, for a table that was opened alone and has relations. It belongs to the table. */
ONEROW_CHECKED enum onerow_status or_kin_found(struct or_table *table,
                                               const struct or_table_options *options,
                                               struct onerow_error *error);
void or_kin_leave(struct or_table *table);

#endif
