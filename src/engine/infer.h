/* SPDX-License-Identifier: Apache-2.0
 *
 * Column types for --create-table, from the first records.
 */
#ifndef OR_ENGINE_INFER_H
#define OR_ENGINE_INFER_H

#include "engine/config.h"
#include "input/input.h"

/* The columns that the records' fields name, in order of first appearance, each with the narrowest
 * of int, decimal, bool, timestamp, json and text that takes all its values (text when there are
 * none). Columns of the key take the type that the key names; without one, a timestamp stays text,
 * compared byte by byte. *columns lies in the arena. False: out of memory. */
ONEROW_CHECKED bool or_infer_columns(const struct or_item *items, size_t n,
                                     const struct onerow_table_spec *spec, struct or_arena *arena,
                                     struct onerow_new_column **columns, size_t *n_columns);

#endif
