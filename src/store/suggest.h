/* SPDX-License-Identifier: Apache-2.0
 *
 * What stores share of `onerow init`: tables and the keys that their unique indexes suggest, as the
 * part of a configuration that stands under `tables:`.
 */
#ifndef OR_STORE_SUGGEST_H
#define OR_STORE_SUGGEST_H

#include "base/buffer.h"
#include "onerow/extend.h"

/* A key column of a table; or the table alone, when it has no key that could be suggested. */
struct or_suggested {
    const char *name;     /* that the configuration may call the table by */
    const char *location; /* as table_open reads it */
    const char *column;   /* NULL: no key */
    bool nulls_equal;
};

/* Appends the tables of the rows, those of one table side by side, the columns in the order of its
 * key. `store_name` is the store's in the configuration. */
ONEROW_CHECKED enum onerow_status or_suggest_tables(struct onerow_store *store,
                                                    const char *store_name,
                                                    const struct or_suggested *rows, size_t n,
                                                    struct or_buffer *yaml,
                                                    struct onerow_error *error);
/* Appends text that came from the database to a comment of one line, in SQL, Python or YAML: what
 * could end the comment, and what YAML does not take, becomes "?". */
void or_comment(struct or_buffer *out, struct onerow_span text);

#endif
