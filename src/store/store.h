/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry of stores: the one place that knows which there are.
 */
#ifndef OR_STORE_STORE_H
#define OR_STORE_STORE_H

#include "base/buffer.h"
#include "onerow/extend.h"

/* The stores of this build, NULL-terminated. */
extern const struct onerow_store_type *const or_store_types[];

/* The store that a URL names, or NULL. */
const struct onerow_store_type *or_store_type_of(const char *url);

/* "sqlite:PATH, memory:" for messages and --help. */
void or_store_list(struct or_buffer *text);

#endif
