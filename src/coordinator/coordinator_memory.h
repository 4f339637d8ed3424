/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the memory coordinator share.
 */
#ifndef OR_COORDINATOR_MEMORY_H
#define OR_COORDINATOR_MEMORY_H

#include "onerow/extend.h"

struct or_memory_leases;

struct or_memory_leases *or_memory_leases_create(void);         /* NULL: out of memory */
void or_memory_leases_destroy(struct or_memory_leases *leases); /* NULL is accepted */
/* Those of a memory coordinator. */
struct or_memory_leases *or_memory_leases_of(struct onerow_coordinator *coordinator);

extern const struct onerow_lease_ops or_memory_lease_ops;

#endif
