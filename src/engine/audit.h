/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking for keys with more than one row, by the same rule as everywhere.
 */
#ifndef OR_ENGINE_AUDIT_H
#define OR_ENGINE_AUDIT_H

#include "engine/table.h"

struct or_audit_counts {
    uint64_t keys;    /* with more than one row */
    uint64_t rows;    /* that carry them */
    uint64_t keyless; /* rows without a valid key */
};

/* Visits what the store finds, and counts. */
ONEROW_CHECKED enum onerow_status or_audit(struct or_table *table, onerow_visit_twins *visit,
                                           void *context, struct or_audit_counts *counts,
                                           struct onerow_error *error);

#endif
