/* SPDX-License-Identifier: Apache-2.0
 *
 * onerow.yaml, and the same things said by --store, --table and --key. Every
 * error names file:line:column, the field, and what to write instead.
 */
#ifndef OR_ENGINE_CONFIG_H
#define OR_ENGINE_CONFIG_H

#include "base/arena.h"
#include "base/buffer.h"
#include "onerow/extend.h"

/* Where something stands in the configuration; line 0: it came from the command line. */
struct or_place {
    unsigned line;
    unsigned column;
};

/* Connections of one table to its store, where several add up. Two fill two processors with what
 * there is to do on both sides (measured); more mostly hold more connections. */
#define OR_CONNECTIONS     2U
#define OR_CONNECTIONS_MAX 16U

struct or_config_store {
    const char *name;
    const char *url;      /* with ${VAR} replaced */
    unsigned connections; /* at most; 0: OR_CONNECTIONS */
    struct or_place place;
};

struct or_config_table {
    struct onerow_table_spec spec; /* ready for the store; strings in the config's arena */
    const struct or_config_store *store;
    const char *const *secrets; /* columns never shown, NULL-terminated; may be NULL */
    struct or_place place;
    struct or_place key_place;
};

struct or_config {
    const char *path;        /* the file, or NULL when there is none */
    const char *coordinator; /* a URL, with ${VAR} replaced; NULL: none is configured */
    struct or_config_store *stores;
    size_t n_stores;
    struct or_config_table *tables;
    size_t n_tables;
    struct or_arena arena; /* owns everything above */
};

/* What the command line may say instead of, or besides, a file. All may be NULL. */
struct or_config_flags {
    const char *config;      /* --config FILE */
    const char *store;       /* --store URL */
    const char *table;       /* --table NAME */
    const char *key;         /* --key name[,name:type…] */
    const char *on_conflict; /* --on-conflict update|keep|newest(column) */
    const char *coordinator; /* --coordinator URL */
};

/* Reads `flags->config`, else ./onerow.yaml when it is there and neither --store nor --coordinator
 * is given; then adds the table of --store/--table/--key ($DATABASE_URL stands in for --store when
 * --table and --key are given), and takes --coordinator. Without either, an empty configuration is
 * OK. CONFIG: the error says where. USAGE: a flag is missing or malformed. On every return
 * or_config_finish may be called. */
ONEROW_CHECKED enum onerow_status or_config_load(struct or_config *config,
                                                 const struct or_config_flags *flags,
                                                 struct onerow_error *error);
void or_config_finish(struct or_config *config);

/* The table of this name; `name` NULL: the only one there is, or the one of --table. CONFIG when
 * there is none: the error lists those that there are. */
ONEROW_CHECKED enum onerow_status or_config_table(const struct or_config *config, const char *name,
                                                  const struct or_config_table **table,
                                                  struct onerow_error *error);

/* Whether the values of this column must not be shown. Case is ignored: masking too much does no
 * harm, and SQL's unquoted names have no case. */
bool or_config_is_secret(const struct or_config_table *table, struct onerow_span column);

/* Appends the key as --key takes it ("name:type,…", the type only where it is configured).
 * `normalize` and `nulls` have no such form and are left out, and a name with a comma or colon
 * does not come back as it was: that needs the file. */
void or_config_key_text(const struct onerow_table_spec *spec, struct or_buffer *out);

/* Appends the policy as --on-conflict takes it: "update", "keep" or "newest(column)". */
void or_config_policy_text(const struct onerow_table_spec *spec, struct or_buffer *out);

/* Appends `url` with *** for the password in scheme://user:password@host, and for the values of
 * parameters such as password=. For everything that is shown or kept. */
void or_url_mask(const char *url, struct or_buffer *out);

/* Fails with "FILE:LINE:COLUMN: …", or "command line: …" where there is no file. */
__attribute__((format(printf, 5, 6))) enum onerow_status
or_config_fail(struct onerow_error *error, const struct or_config *config, struct or_place place,
               enum onerow_status status, const char *format, ...);

#endif
