/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry of coordinators: the one place that knows which there are.
 */
#ifndef OR_COORDINATOR_COORDINATOR_H
#define OR_COORDINATOR_COORDINATOR_H

#include "base/buffer.h"
#include "onerow/extend.h"

/* The coordinators of this build, NULL-terminated. */
extern const struct onerow_coordinator_type *const or_coordinator_types[];

/* The coordinator that a URL names, or NULL. */
const struct onerow_coordinator_type *or_coordinator_type_of(const char *url);

/* "sqlite:PATH, memory:" for messages and --help. */
void or_coordinator_list(struct or_buffer *text);

#endif
