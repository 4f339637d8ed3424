/* SPDX-License-Identifier: Apache-2.0
 *
 * What stores share in reading how the configuration speaks of a table: its place, its key.
 */
#ifndef OR_STORE_SPEC_H
#define OR_STORE_SPEC_H

#include "base/arena.h"
#include "onerow/extend.h"

/* A part of a location, without its quotes. */
struct or_location_part {
    const char *text; /* in the arena; NULL: there is no such part */
    bool quoted;
};

/* Reads NAME, SCHEMA.NAME or "SCHEMA"."NAME" into one or two parts. CONFIG: it is none of these. */
ONEROW_CHECKED enum onerow_status or_spec_location(const char *location, struct or_arena *arena,
                                                   struct or_location_part parts[2],
                                                   struct onerow_error *error);
/* The key's column of that name, or NULL. */
const struct onerow_key_column *or_spec_key_column(const struct onerow_table_spec *spec,
                                                   struct onerow_span name);
/* What a key's type is called in messages: "text"; "a key" while it is not known. */
const char *or_spec_type_word(enum onerow_type type);

#endif
