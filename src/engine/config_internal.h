/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the configuration loader share:
 *
 *   config.c        the entry points and the command line's flags
 *   config_yaml.c   walks onerow.yaml
 *   config_value.c  what one value may say, wherever it was written
 */
#ifndef OR_ENGINE_CONFIG_INTERNAL_H
#define OR_ENGINE_CONFIG_INTERNAL_H

#include <stdarg.h>

#include "engine/config.h"

#define OR_CONFIG_FILE_MAX    (1024U * 1024U) /* bytes in onerow.yaml */
#define OR_CONFIG_DEPTH_MAX   16U             /* nested mappings and lists */
#define OR_CONFIG_ENTRIES_MAX 4096U           /* entries in one mapping or list */
#define OR_SECRET_FILE_MAX    (64U * 1024U)   /* bytes in a file that a url names */
#define OR_SHOWN_MAX          96U             /* bytes of the user's own text in a message */

/* Where a value stands and who hears what is wrong with it. */
struct or_site {
    struct or_config *config;
    struct onerow_error *error;
    struct or_place place;
    const char *path;          /* "tables.areas.key", "--key"; "" for the whole file */
    enum onerow_status status; /* of a wrong value: USAGE on the command line, else CONFIG */
};

/* A value as it is written and as it is meant. They differ where ${VAR} or file: was replaced;
 * messages show only what is written, so that no secret is ever shown. */
struct or_text {
    struct onerow_span raw;
    struct onerow_span value; /* in the config's arena, NUL-terminated */
};

/* The key while it is being read. */
struct or_key_draft {
    struct onerow_key_column columns[ONEROW_KEY_COLUMNS_MAX];
    size_t n;
};

/* ---- messages (config_value.c) ---------------------------------------------- */

struct or_shown {
    char text[OR_SHOWN_MAX + sizeof "…"];
};

/* `text` for a message: clipped, on one line, without control characters. */
const char *or_show(struct or_shown *shown, struct onerow_span text);
/* The same in the caller's own block. */
#define OR_SHOW(span) or_show(&(struct or_shown){{0}}, (span))

/* The known name that is nearest to a mistyped word: try them all, then end the clause about the
 * word with OR_NEAREST_FORMAT and OR_NEAREST_ARGS: `; did you mean "x"? ` or `. `. */
struct or_nearest {
    struct onerow_span word;
    const char *name; /* NULL: none is near */
    unsigned distance;
};
void or_nearest_try(struct or_nearest *nearest, const char *name);
#define OR_NEAREST_FORMAT "%s%s%s"
#define OR_NEAREST_ARGS(nearest)                                                                   \
    (nearest).name ? "; did you mean \"" : ".", OR_SHOW(or_span((nearest).name)),                  \
        (nearest).name ? "\"? " : " "

enum onerow_status or_config_vfail(struct onerow_error *error, const struct or_config *config,
                                   struct or_place place, enum onerow_status status,
                                   const char *path, const char *format, va_list args);
/* Fails with the site's status: "FILE:LINE:COLUMN: PATH: …". */
__attribute__((format(printf, 2, 3))) enum onerow_status or_site_fail(const struct or_site *site,
                                                                      const char *format, ...);
enum onerow_status or_config_nomem(struct onerow_error *error);

/* ---- values (config_value.c) ------------------------------------------------ */

/* Replaces ${VAR}; an unset variable fails. */
ONEROW_CHECKED enum onerow_status or_value_expand(const struct or_site *site, struct or_text *text);

/* Replaces `text` by the content of the file that it names after "file:". */
ONEROW_CHECKED enum onerow_status or_value_secret_file(const struct or_site *site,
                                                       struct or_text *text);

/* Not empty, UTF-8, no control characters. */
ONEROW_CHECKED enum onerow_status or_value_check(const struct or_site *site,
                                                 const struct or_text *text);

/* A store URL, with SQLite's spellings made one. */
ONEROW_CHECKED enum onerow_status or_value_url(const struct or_site *site,
                                               const struct or_text *text, const char **url);

/* A URL of a scheme that a coordinator has. */
ONEROW_CHECKED enum onerow_status or_value_coordinator(const struct or_site *site, const char *url);

/* A number from 1 to `max`. */
ONEROW_CHECKED enum onerow_status or_value_count(const struct or_site *site,
                                                 const struct or_text *text, unsigned max,
                                                 unsigned *count);

/* A time such as 30s, 2m or 500ms (seconds without a unit), of at most `max` ms. */
ONEROW_CHECKED enum onerow_status
or_value_span(const struct or_site *site, const struct or_text *text, uint64_t max, uint64_t *ms);

/* One more rate window, COUNT/SPAN. */
ONEROW_CHECKED enum onerow_status or_value_window(const struct or_site *site,
                                                  const struct or_text *text,
                                                  struct or_config_store *store);

/* The name of a key's column: no expression. Always CONFIG, for an expression is unsafe. */
ONEROW_CHECKED enum onerow_status or_value_key_column(const struct or_site *site,
                                                      const struct or_text *text);

ONEROW_CHECKED enum onerow_status or_value_type(const struct or_site *site,
                                                const struct or_text *text, enum onerow_type *type);

/* update, keep or newest(column); spec->key must be there. */
ONEROW_CHECKED enum onerow_status or_value_policy(const struct or_site *site,
                                                  const struct or_text *text,
                                                  struct onerow_table_spec *spec);

bool or_key_has(const struct onerow_table_spec *spec, const char *column);
ONEROW_CHECKED enum onerow_status or_key_draft_add(const struct or_site *site,
                                                   struct or_key_draft *draft,
                                                   const struct onerow_key_column *column);
ONEROW_CHECKED enum onerow_status or_key_draft_finish(const struct or_site *site,
                                                      const struct or_key_draft *draft,
                                                      struct onerow_table_spec *spec);

/* ---- the file (config_yaml.c) ----------------------------------------------- */

/* Fills stores and tables from the file's text; config->path names it in messages. */
ONEROW_CHECKED enum onerow_status
or_config_read_yaml(struct or_config *config, struct onerow_span text, struct onerow_error *error);

#endif
