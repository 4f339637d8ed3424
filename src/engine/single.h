/* SPDX-License-Identifier: Apache-2.0
 *
 * One record at a time: for `ensure`, `get`, replay and the library.
 */
#ifndef OR_ENGINE_SINGLE_H
#define OR_ENGINE_SINGLE_H

#include "engine/driver_blocking.h"
#include "engine/entry.h"
#include "engine/put_run.h"

/* Puts the item, under the guard (NULL: none). OK: it is durable and the entry says how; REJECTED:
 * the error repeats the entry's reason; UNKNOWN or else: the store failed. */
ONEROW_CHECKED enum onerow_status or_single_put(struct or_table *table, const struct or_item *item,
                                                const struct or_drive_guard *guard,
                                                struct or_entry *entry, struct or_arena *arena,
                                                struct onerow_error *error);

/* Binds an item that holds the key's columns and nothing else. USAGE: it holds others, too, or
 * lacks one; REJECTED: a value is no key. */
ONEROW_CHECKED enum onerow_status or_single_bind_key(struct or_table *table,
                                                     const struct or_item *item,
                                                     struct or_entry *entry, struct or_arena *arena,
                                                     struct onerow_error *error);

/* The row with the entry's key, as JSON in the arena. ABSENT: there is none. */
ONEROW_CHECKED enum onerow_status or_single_get(struct or_table *table,
                                                const struct or_entry *entry,
                                                struct or_arena *arena, struct onerow_span *json,
                                                struct onerow_error *error);

/* One column of such a row as plain text (JSON for nested values, empty for NULL). USAGE: the table
 * has no such column. */
ONEROW_CHECKED enum onerow_status or_single_column(const struct or_table *table,
                                                   struct onerow_span json, const char *column,
                                                   struct or_arena *arena, struct onerow_span *text,
                                                   struct onerow_error *error);

#endif
