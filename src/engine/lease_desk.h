/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases as somebody sees them who holds none: what there is, and taking one away.
 */
#ifndef OR_ENGINE_LEASE_DESK_H
#define OR_ENGINE_LEASE_DESK_H

#include "base/arena.h"
#include "onerow/extend.h"

struct or_lease_desk;

/* Statuses as or_lease_session_open's. One thread at a time. */
ONEROW_CHECKED enum onerow_status or_lease_desk_open(const char *coordinator,
                                                     struct or_lease_desk **desk,
                                                     struct onerow_error *error);
void or_lease_desk_close(struct or_lease_desk *desk); /* NULL is accepted */

/* As the coordinator's list, trail and force (onerow/extend.h). */
ONEROW_CHECKED enum onerow_status or_lease_desk_list(struct or_lease_desk *desk,
                                                     struct onerow_span prefix, bool free,
                                                     onerow_visit_lease *visit, void *context,
                                                     struct onerow_error *error);
ONEROW_CHECKED enum onerow_status or_lease_desk_trail(struct or_lease_desk *desk,
                                                      struct onerow_span prefix,
                                                      onerow_visit_forced *visit, void *context,
                                                      struct onerow_error *error);
ONEROW_CHECKED enum onerow_status or_lease_desk_force(struct or_lease_desk *desk,
                                                      struct onerow_lease_forced *forced,
                                                      struct or_arena *arena,
                                                      struct onerow_error *error);

#endif
