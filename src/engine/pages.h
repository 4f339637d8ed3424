/* SPDX-License-Identifier: Apache-2.0
 *
 * What a table of pages is written with, from its configuration: ledger, governor, limits.
 */
#ifndef OR_ENGINE_PAGES_H
#define OR_ENGINE_PAGES_H

#include "engine/letters.h"
#include "engine/pages_loop.h"

/* Makes table->pages. CONFIG: there is no ledger, or not one for this table; the error has the line
 * to add. */
ONEROW_CHECKED enum onerow_status or_pages_open(struct or_table *table,
                                                const struct or_table_options *options,
                                                struct onerow_error *error);
void or_pages_close(struct or_pages *pages); /* NULL is accepted */

/* What a dead letter says of the key's page, from the ledger: its generation and version, or
 * "absent". Empty when the ledger is not to be had. */
void or_pages_row_state(struct or_table *table, const struct onerow_record *key,
                        char state[OR_ROW_STATE_LEN]);

#endif
