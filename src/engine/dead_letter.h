/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: records that could not be written, kept with their reason.
 * The format and the crash rules are at the top of dead_letter.c.
 */
#ifndef OR_ENGINE_DEAD_LETTER_H
#define OR_ENGINE_DEAD_LETTER_H

#include "base/arena.h"
#include "onerow/onerow.h"

/* Everything that a replay, a person or a spreadsheet needs. Spans may be empty (data NULL). */
struct or_letter {
    struct onerow_span id;       /* "<file>-<n>", given by the box; unique in the folder */
    struct onerow_span time;     /* UTC, RFC 3339, microseconds; given by the box */
    struct onerow_span config;   /* absolute path of onerow.yaml, or empty */
    struct onerow_span store;    /* store URL; relative SQLite paths made absolute by the caller */
    struct onerow_span table;    /* the configured name */
    struct onerow_span location; /* the table in the store */
    struct onerow_span key_spec; /* as --key takes it */
    struct onerow_span policy;   /* as --on-conflict takes it */
    struct onerow_span input;    /* file name as given, "-" */
    uint64_t line;
    struct onerow_span key;     /* JSON object of the key columns, or empty */
    struct onerow_span outcome; /* "rejected" or "unknown" */
    struct onerow_span reason;
    struct onerow_span
        row; /* what the row was then: SHA-256 in hex, "absent", or empty: not known */
    struct onerow_span record; /* the record as a JSON object; empty when it could not be read */
    struct onerow_span raw;    /* its bytes when `record` is empty; any bytes at all */
    uint64_t raw_len;          /* how long it was when raw holds only its beginning */
    struct onerow_span format; /* "csv": texts in `record` take their columns' types; else empty */
};

/* ---- writing --------------------------------------------------------------- */

struct or_letter_box; /* one run's own file; nothing is created before the first letter */

/* folder NULL: $ONEROW_STATE, else $XDG_STATE_HOME/onerow, else ~/.local/state/onerow; letters lie
 * in its subfolder dead-letters. */
ONEROW_CHECKED enum onerow_status or_letter_box_open(const char *folder, struct or_letter_box **box,
                                                     struct onerow_error *error);
/* Adds a letter (its id and time are the box's to give). Not yet durable. Once a write has failed
 * the box refuses further letters with the same error. */
ONEROW_CHECKED enum onerow_status or_letter_add(struct or_letter_box *box,
                                                const struct or_letter *letter,
                                                struct onerow_error *error);
/* Makes every letter added so far durable (file and folder). Only then may a record be reported
 * as rejected or unknown. */
ONEROW_CHECKED enum onerow_status or_letter_flush(struct or_letter_box *box,
                                                  struct onerow_error *error);
const char *or_letter_box_path(const struct or_letter_box *box); /* NULL before the first letter */
void or_letter_box_close(struct or_letter_box *box); /* NULL is accepted; does not flush */

/* ---- reading and settling --------------------------------------------------- */

/* Called for each letter; everything in it is valid during the call. False stops the walk. */
typedef bool or_letter_visit(void *context, const struct or_letter *letter);

/* Every letter in the folder, oldest file first. A damaged line (torn by a crash before its flush,
 * hence never reported) is skipped and counted in *torn (may be NULL). */
ONEROW_CHECKED enum onerow_status or_letters_read(const char *folder, or_letter_visit *visit,
                                                  void *context, size_t *torn,
                                                  struct onerow_error *error);

/* What `decide` says of a letter during a settling walk. */
enum or_letter_fate {
    OR_LETTER_STAYS,
    OR_LETTER_DONE,
    OR_LETTER_STOP /* it stays; end the walk */
};
typedef enum or_letter_fate or_letter_decide(void *context, const struct or_letter *letter);

/* Walks the letters like or_letters_read, holding each file's lock so that two replays never work
 * on one letter, and takes those that are DONE out of their file (written anew beside it, flushed,
 * renamed over it; an empty file is removed). A file whose run is still writing it, or that
 * another replay holds, is passed over and counted in *held (may be NULL). A crash anywhere leaves
 * every letter that was not DONE. */
ONEROW_CHECKED enum onerow_status or_letters_settle(const char *folder, or_letter_decide *decide,
                                                    void *context, size_t *held,
                                                    struct onerow_error *error);

/* One letter as a JSON object on one line, without the newline; lossless. */
struct or_buffer;
void or_letter_to_json(const struct or_letter *letter, struct or_buffer *json);

#endif
