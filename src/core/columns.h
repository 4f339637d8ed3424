/* SPDX-License-Identifier: Apache-2.0
 *
 * Column sets: which records of a group may share a transaction. See the top of
 * columns.c.
 */
#ifndef OR_CORE_COLUMNS_H
#define OR_CORE_COLUMNS_H

#include "onerow/extend.h"

#define OR_COLUMN_SETS 8U                    /* that get a phase of their own */
#define OR_PHASES      (OR_COLUMN_SETS + 1U) /* and the last one, for all others */

/* Whether two records carry the same columns. */
bool or_columns_same(const struct onerow_record *a, const struct onerow_record *b);

/* Splits n records, equal keys adjacent in arrival order, into phases to be written one after the
 * other: phases[i] < OR_PHASES is that of records[i]. Within a phase the records keep their order;
 * a phase may be empty. */
void or_columns_phases(const struct onerow_record *const *records, size_t n, uint8_t *phases);

#endif
