/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters for people and other programs. JSONL is the lossless form; CSV is for
 * reading in a spreadsheet. What each holds, and what a spreadsheet is protected
 * from, is at the top of letter_export.c.
 */
#ifndef OR_ENGINE_LETTER_EXPORT_H
#define OR_ENGINE_LETTER_EXPORT_H

#include "base/buffer.h"
#include "engine/dead_letter.h"

/* Whether values of this column of this table are secret. It decides how names are compared (a
 * store may ignore case). With an empty column: whether the table has any secret column; then the
 * bytes of a record that could not be read are secret as a whole. */
typedef bool or_is_secret(void *context, struct onerow_span table, struct onerow_span column);

/* What is shown as "***". is_secret NULL: nothing is. */
struct or_mask {
    or_is_secret *is_secret;
    void *context;
};

/* Appends the letter as one line, its newline included. `mask` NULL: nothing is secret. */
void or_export_jsonl(const struct or_letter *letter, const struct or_mask *mask,
                     struct or_buffer *out);

/* ---- CSV: two passes over the letters ------------------------------------------------- */

#define OR_CSV_COLUMNS_MAX 16384U /* what a spreadsheet can hold */

struct or_letter_csv;

/* `mask` (borrowed for the life of the export) may be NULL. NULL: out of memory. */
struct or_letter_csv *or_letter_csv_create(const struct or_mask *mask);
void or_letter_csv_destroy(struct or_letter_csv *csv); /* NULL is accepted */

/* First pass: learns the columns of the letter's record. INPUT: there are more than a spreadsheet
 * can hold. */
ONEROW_CHECKED enum onerow_status or_letter_csv_see(struct or_letter_csv *csv,
                                                    const struct or_letter *letter,
                                                    struct onerow_error *error);
/* Between the passes: the line of names. */
void or_letter_csv_header(const struct or_letter_csv *csv, struct or_buffer *out);
/* Second pass. False: the record has a column that the first pass has not seen, so that the letter
 * came after it and is not part of this export; nothing is appended. */
bool or_letter_csv_row(struct or_letter_csv *csv, const struct or_letter *letter,
                       struct or_buffer *out);

#endif
