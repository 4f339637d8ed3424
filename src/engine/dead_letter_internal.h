/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the dead letters share. The format and the crash rules are at
 * the top of dead_letter.c.
 */
#ifndef OR_ENGINE_DEAD_LETTER_INTERNAL_H
#define OR_ENGINE_DEAD_LETTER_INTERNAL_H

#include <stdio.h>
#include <sys/types.h>
#include <yyjson.h>

#include "engine/dead_letter.h"

#define OR_LETTER_ENDING ".jsonl"

/* ---- folder (dead_letter_folder.c) ------------------------------------------ */

/* The absolute path of the folder of letters, which need not exist; the caller's (free). */
ONEROW_CHECKED enum onerow_status or_letter_folder(const char *state, char **folder,
                                                   struct onerow_error *error);

/* Fails with "cannot ACTION PATH: …" and what to do about this errno. */
enum onerow_status or_letter_errno(struct onerow_error *error, int number, const char *action,
                                   const char *path);

/* "FOLDER/NAME" or "PATHENDING"; NULL when out of memory; the caller's (free). */
char *or_letter_path(const char *folder, const char *name);

/* Makes the folder and those above it that are missing, for this user only. */
ONEROW_CHECKED enum onerow_status or_letter_folder_make(const char *folder,
                                                        struct onerow_error *error);

/* Makes the entries of the folder durable, and with `upwards` those that lead to it. */
ONEROW_CHECKED enum onerow_status or_letter_folder_sync(const char *folder, bool upwards,
                                                        struct onerow_error *error);

/* Writes all of it; 0 or an errno. */
int or_letter_write(int fd, const char *data, size_t len);

/* ---- one letter as JSON (dead_letter_json.c) -------------------------------- */

/* Parses any JSON text, numbers as they are written. NULL: it is none, or *no_memory. */
yyjson_doc *or_letter_json(struct onerow_span text, bool *no_memory);

/* The letter of a line without its newline. Its spans lie in `line` and in the arena. INPUT: the
 * line is damaged. NOMEM: it may be whole. */
ONEROW_CHECKED enum onerow_status or_letter_parse(struct onerow_span line, struct or_arena *arena,
                                                  struct or_letter *letter);

/* ---- files (dead_letter_read.c) --------------------------------------------- */

/* The names of all letter files in the folder, oldest first; none when there is no folder. */
struct or_letter_names {
    char **names;
    size_t n;
    size_t room;
};
ONEROW_CHECKED enum onerow_status
or_letter_names_read(const char *folder, struct or_letter_names *names, struct onerow_error *error);
void or_letter_names_finish(struct or_letter_names *names);

#define OR_LETTER_CROSS '-'

enum or_line_kind {
    OR_LINE_LETTER,
    OR_LINE_DAMAGED, /* a whole line that is no letter: somebody's bytes, kept as they are */
    OR_LINE_CROSSED, /* a letter that was DONE when its settler died: OR_LETTER_CROSS for its '{' */
    OR_LINE_TORN,    /* the file's last line, cut off by a crash before its flush */
    OR_LINE_END,
};

/* A letter file being read line by line. */
struct or_letter_reader {
    FILE *stream; /* owned, and its descriptor */
    const char *path;
    char *line;
    size_t room;
    struct or_arena arena;
    enum or_line_kind kind;
    struct or_letter letter; /* of a LETTER; valid until the next line */
    off_t from;              /* the line's place in the file, its newline included */
    off_t to;
};

/* Takes over `fd`, also on failure. `path` is borrowed for the reader's life. */
ONEROW_CHECKED enum onerow_status or_letter_reader_init(struct or_letter_reader *reader, int fd,
                                                        const char *path,
                                                        struct onerow_error *error);
ONEROW_CHECKED enum onerow_status or_letter_reader_next(struct or_letter_reader *reader,
                                                        struct onerow_error *error);
void or_letter_reader_finish(struct or_letter_reader *reader);

#endif
