/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorts any number of entries by their keys' bytes in bounded memory. What does not fit
 * lies in temporary files without a name, which end with the process whatever happens to it.
 */
#ifndef OR_BASE_SORT_H
#define OR_BASE_SORT_H

#include <stddef.h>

#include "onerow/onerow.h"

struct or_sort;

/* Keeps about `memory` bytes of entries in memory; no entry may be longer. NULL: no memory. */
struct or_sort *or_sort_create(size_t memory);
void or_sort_destroy(struct or_sort *sort); /* NULL is accepted */

/* Adds an entry; both parts are copied. */
enum onerow_status or_sort_add(struct or_sort *sort, struct onerow_span key,
                               struct onerow_span rest, struct onerow_error *error);

/* The next entry in the order of the keys, equal ones as they were added; the first call ends the
 * adding. ABSENT: there are no more. Valid until the next call. */
enum onerow_status or_sort_next(struct or_sort *sort, struct onerow_span *key,
                                struct onerow_span *rest, struct onerow_error *error);

#endif
