/* SPDX-License-Identifier: Apache-2.0
 *
 * The coordinators that this build knows.
 */
#ifndef OR_COORDINATOR_H
#define OR_COORDINATOR_H

#include "onerow/extend.h"

extern const struct onerow_coordinator_type *const or_coordinator_types[]; /* NULL-terminated */

/* The type whose schemes the URL begins with, or NULL. */
const struct onerow_coordinator_type *or_coordinator_type_of(const char *url);

#endif
