/* SPDX-License-Identifier: Apache-2.0
 *
 * Turning entries that were not written into dead letters.
 */
#ifndef OR_ENGINE_LETTERS_H
#define OR_ENGINE_LETTERS_H

#include "engine/dead_letter.h"
#include "engine/entry.h"

/* Adds the letter of a rejected or unknown entry. With `look`, the row that the key has now is
 * noted, so that a replay can tell whether it changed since; without, the store cannot be asked. */
ONEROW_CHECKED enum onerow_status or_letters_add(struct or_letter_box *box,
                                                 const struct or_config *config, const char *input,
                                                 const struct or_entry *entry, bool look,
                                                 struct onerow_error *error);

/* What a letter says of a row: its SHA-256 in hex, or "absent". Empty when it cannot be told. */
#define OR_ROW_STATE_LEN 65U
void or_row_state(struct or_table *table, const struct onerow_record *key,
                  char state[OR_ROW_STATE_LEN]);

#endif
