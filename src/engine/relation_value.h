/* SPDX-License-Identifier: Apache-2.0
 *
 * The value of a column that relates to pages of another table: which keys it names.
 */
#ifndef OR_ENGINE_RELATION_VALUE_H
#define OR_ENGINE_RELATION_VALUE_H

#include "engine/table.h"

/* A key of the other table. */
struct or_related_key {
    const struct onerow_value *parts; /* canonical, as a record begins with them */
    struct onerow_span key;           /* their canonical form */
};

/* At most ONEROW_RELATED_MAX of them; all in the arena. False: the value names no keys, for the
 * reason; NULL: memory ran out. */
ONEROW_CHECKED bool or_relation_keys(const struct or_table *target,
                                     const struct onerow_value *value, struct or_arena *arena,
                                     struct or_related_key **keys, size_t *n, const char **reason);

#endif
