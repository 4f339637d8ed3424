/* SPDX-License-Identifier: Apache-2.0
 *
 * onerow.yaml, and the same things said by --store, --table and --key. Every
 * error names file:line:column, the field, and what to write instead.
 */
#ifndef OR_ENGINE_CONFIG_H
#define OR_ENGINE_CONFIG_H

#include "base/arena.h"
#include "base/buffer.h"
#include "core/bounds.h"
#include "core/protocol.h"
#include "core/window.h"
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

/* The bounds of protocols for stores that cannot help themselves. P: a process that has been
 * stopped for longer than this, and goes on, is found out by half of it; T: Notion's own clients
 * wait for 60 s; R: what was given up by the client has been seen to be done a minute later, and
 * this is twice that; L: queries lag by seconds when they do; D: clocks that NTP keeps differ by
 * far less; G: what is left of a lease when its last create is given up. The ledger is asked again
 * every other second whether somebody else has finished. */
#define OR_BOUNDS_DEFAULT                                                                          \
    ((struct or_bounds){.pause = 30000,                                                            \
                        .request = 60000,                                                          \
                        .life = 120000,                                                            \
                        .lag = 60000,                                                              \
                        .skew = 5000,                                                              \
                        .guard = 5000,                                                             \
                        .lease = 120000,                                                           \
                        .poll = 2000})
#define OR_CONFLICT_WAIT 10000U

struct or_config_store {
    const char *name;
    const char *url;      /* with ${VAR} replaced */
    unsigned connections; /* at most; 0: OR_CONNECTIONS */
    /* Of stores of pages. */
    struct onerow_span token; /* data NULL: none is configured */
    const char *version;      /* of the store's interface; NULL: the adapter's choice */
    struct or_window windows[OR_WINDOWS_MAX];
    unsigned n_windows;
    uint64_t conflict_wait; /* ms: the longest wait after a conflict; 0: OR_CONFLICT_WAIT */
    struct or_bounds bounds;
    const char *for_pages; /* one of these that was given: others do without; NULL: none was */
    struct or_place place;
};

/* A value for a column that a new record lacks. */
struct or_config_default {
    const char *column;
    struct onerow_value value; /* its column is found when the table is opened */
    struct or_place place;
};

/* A column whose values are given by another table's key. */
struct or_config_relation {
    const char *column;
    const char *name;                     /* the other table's */
    const struct or_config_table *target; /* which may be the table itself */
    const char *path;                     /* "tables.tasks.relations.Parent" */
    const char *where;                    /* "FILE:LINE:COLUMN: " and that path, for messages */
    struct or_place place;
};

struct or_config_table {
    struct onerow_table_spec spec; /* ready for the store; strings in the config's arena */
    const struct or_config_store *store;
    const char *const *secrets; /* columns never shown, NULL-terminated; may be NULL */
    /* Of tables in stores of pages. */
    enum or_protocol protocol;
    enum or_deletion when_trashed;
    bool verify_read; /* `verify: read` */
    const struct or_config_default *defaults;
    size_t n_defaults;
    const struct or_config_relation *relations;
    size_t n_relations;
    const char *ledger;      /* a coordinator's URL; NULL: there is none */
    const char *coordinator; /* the one that shares rate windows; NULL: there is none */
    const char *for_pages;   /* one of these that was given: others do without; NULL: none was */
    struct or_place place;
    struct or_place key_place;
};

struct or_config {
    const char *path;        /* the file, or NULL when there is none */
    const char *coordinator; /* a URL, with ${VAR} replaced; NULL: none is configured */
    const char *ledger;      /* one of its own; NULL: the coordinator keeps it */
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
    const char *coordinator; /* --coordinator URL, in place of the file's */
    bool no_file;            /* nothing of ./onerow.yaml is wanted */
};

/* Reads `flags->config`, else ./onerow.yaml when it is there and wanted, and --store is not given;
 * then adds the table of --store/--table/--key ($DATABASE_URL stands in for --store when
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

/* Whether a table of pages has a ledger that outlives its process. CONFIG: the error has the line
 * to add. Nothing is opened. */
ONEROW_CHECKED enum onerow_status or_config_check_ledger(const struct or_config_table *config,
                                                         struct onerow_error *error);

/* Appends a coordinator or ledger for people: "sqlite:l.db (an SQLite file, for the processes of
 * this machine)". */
void or_config_coordinator_text(const char *url, struct or_buffer *out);

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
