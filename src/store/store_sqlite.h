/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the SQLite store share. Its rules are at the top of store_sqlite.c.
 */
#ifndef OR_STORE_SQLITE_H
#define OR_STORE_SQLITE_H

#include <sqlite3.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/turn.h"
#include "onerow/extend.h"

/* How SQLite converts what is stored in a column (https://sqlite.org/datatype3.html, 3.1). */
enum or_affinity {
    OR_AFFINITY_TEXT = 'T',
    OR_AFFINITY_NUMERIC = 'N',
    OR_AFFINITY_INTEGER = 'I',
    OR_AFFINITY_REAL = 'R',
    OR_AFFINITY_BLOB = 'B', /* none: stored as given */
};

/* What onerow_seen(), called inside the running statement, saw of the row that was there. */
struct or_sqlite_sight {
    bool there;    /* there was a row with the key */
    bool differs;  /* the record would change it */
    bool outdated; /* newest: the record is older than the row */
    bool has_id;
    int64_t id; /* when it is an integer */
};

struct or_sqlite_store {
    struct onerow_store base;
    sqlite3 *db;
    char *path;
    struct or_turn *turn;
    uint64_t wait_ms;
    bool turn_held;
    bool read_only;
    bool leave_as_is;
    const volatile bool *stop; /* gives up waiting for a lock */
    int wal_pages;             /* in the log after the last commit */
    uint64_t deadline_ms;      /* of the lock that is being waited for */
    dev_t device;              /* which file is open */
    ino_t inode;
    struct or_sqlite_sight sight;
    const struct or_sqlite_table *active; /* the table of the running statement */
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *save, *undo, *keep; /* a savepoint around one record */
    sqlite3_stmt *json_valid;
};

#define OR_SQLITE_PLANS 64U /* column sets whose statements are kept ready */

/* The statements for one set of columns. */
struct or_sqlite_plan {
    uint16_t *columns; /* of the record's values, in their order; owned */
    uint16_t n;
    bool update_only;     /* lacks a required column: can only change a row that is there */
    const char *lacks;    /* the name of that column */
    sqlite3_stmt *upsert; /* enforced */
    sqlite3_stmt *insert; /* unenforced */
    sqlite3_stmt *update; /* update_only and unenforced */
    uint64_t last_used;
};

struct or_sqlite_table {
    struct onerow_store_table base;
    struct onerow_table_spec spec;
    struct or_arena arena;      /* owns names and SQL pieces */
    enum or_affinity *affinity; /* by column */
    bool *nullable;             /* by column */
    bool strict;
    const char *schema; /* unquoted */
    const char *name;
    const char *quoted; /* "schema"."name" */
    const char *target; /* conflict target without its parentheses */
    const char *match;  /* condition that finds the row by ?1 … ?n_key */
    const char *id_sql; /* expression of a row's id, behind the alias r; NULL: none */
    int id_column;      /* the column that is the id, or -1 */
    bool has_triggers;
    bool id_is_rowid;      /* the id is what sqlite3_last_insert_rowid tells */
    int order;             /* column, or -1 */
    int touch;             /* column, or -1 */
    const char *touch_sql; /* expression for its new value */
    struct or_sqlite_plan plans[OR_SQLITE_PLANS];
    unsigned n_plans;
    uint64_t clock;         /* for last_used */
    sqlite3_stmt *find;     /* SELECT * by key */
    sqlite3_stmt *count;    /* SELECT 1 by key LIMIT 2, unenforced and swallowed rows */
    sqlite3_stmt *identify; /* SELECT id by key */
};

static inline struct or_sqlite_store *or_sqlite_store_of(struct onerow_store *store)
{
    return (struct or_sqlite_store *)store;
}

static inline struct or_sqlite_table *or_sqlite_table_of(struct onerow_store_table *table)
{
    return (struct or_sqlite_table *)table;
}

/* ---- store_sqlite.c --------------------------------------------------------- */

/* What an (extended) result code means, by code and errno, with the error filled: what failed,
 * SQLite's message, the file, and what to do. */
enum onerow_status or_sqlite_fail(struct or_sqlite_store *store, int code, const char *doing,
                                  struct onerow_error *error);
/* Prepares a statement that is kept. */
ONEROW_CHECKED enum onerow_status or_sqlite_prepare(struct or_sqlite_store *store, const char *sql,
                                                    sqlite3_stmt **stmt,
                                                    struct onerow_error *error);
/* The same for a text that was put together: NOMEM when it was cut. */
ONEROW_CHECKED enum onerow_status or_sqlite_prepare_made(struct or_sqlite_store *store,
                                                         const struct or_buffer *sql,
                                                         sqlite3_stmt **stmt,
                                                         struct onerow_error *error);
/* Runs a statement without answers that is kept in *stmt; SQLITE_OK or what went wrong. */
int or_sqlite_run(struct or_sqlite_store *store, sqlite3_stmt **stmt, const char *sql);
static inline void or_sqlite_quote(struct or_buffer *sql, const char *name)
{
    or_buffer_quoted(sql, name);
}

/* ---- store_sqlite_schema.c --------------------------------------------------- */

enum onerow_status or_sqlite_table_open(struct onerow_store *store,
                                        const struct onerow_table_spec *spec,
                                        struct onerow_store_table **table,
                                        struct onerow_error *error);
void or_sqlite_table_close(struct onerow_store_table *table);

/* ---- store_sqlite_suggest.c -------------------------------------------------- */

enum onerow_status or_sqlite_suggest(struct onerow_store *store, const char *name,
                                     const char *location, struct or_buffer *yaml,
                                     struct onerow_error *error);

/* ---- store_sqlite_create.c --------------------------------------------------- */

enum onerow_status or_sqlite_table_create(struct onerow_store *store,
                                          const struct onerow_table_spec *spec,
                                          const struct onerow_new_column *columns, size_t n,
                                          char **sql, struct onerow_error *error);
/* "main"."t" from "t", "main.t" or "\"main\".\"t\"": the parts, in the arena. */
ONEROW_CHECKED enum onerow_status or_sqlite_locate(struct or_sqlite_store *store,
                                                   const char *location, struct or_arena *arena,
                                                   const char **schema, const char **name,
                                                   struct onerow_error *error);
/* The statement that makes the missing unique index. */
void or_sqlite_index_sql(struct or_buffer *sql, const char *schema, const char *name,
                         const struct onerow_key_column *key, size_t n, const bool *nullable);

/* ---- store_sqlite_value.c ---------------------------------------------------- */

/* The reason that or_sqlite_bind gives when it ran out of memory: compare the address. The record
 * is not at fault then. */
extern const char or_sqlite_no_memory[];

/* Binds a value the way the column stores it. False: it cannot be stored there exactly, and
 * *reason, in the arena, says so. */
bool or_sqlite_bind(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                    const struct onerow_value *value, struct or_arena *arena, const char **reason);
/* Appends a stored value as JSON, as its column's type says. */
void or_sqlite_json(const struct or_sqlite_table *table, size_t column, sqlite3_value *value,
                    struct or_buffer *json);
/* A stored value as the engine takes values (a blob as ONEROW_JSON, which no key takes); numbers
 * are printed into `digits` (32 bytes). */
struct onerow_value or_sqlite_value(sqlite3_value *value, char digits[32]);
/* Registers onerow_seen() and onerow_differs(). */
ONEROW_CHECKED enum onerow_status or_sqlite_functions(struct or_sqlite_store *store,
                                                      struct onerow_error *error);

/* ---- store_sqlite_apply.c ---------------------------------------------------- */

enum onerow_status or_sqlite_apply(struct onerow_store_table *table,
                                   const struct onerow_record *const *records, size_t n,
                                   struct onerow_verdict *verdicts, struct or_arena *arena,
                                   struct onerow_error *error);
enum onerow_status or_sqlite_get(struct onerow_store_table *table, const struct onerow_record *key,
                                 struct or_arena *arena, struct onerow_span *json,
                                 struct onerow_span *id, struct onerow_error *error);
enum onerow_status or_sqlite_statement(struct onerow_store_table *table, const char *form,
                                       struct or_buffer *sql, struct onerow_error *error);

/* ---- store_sqlite_audit.c ---------------------------------------------------- */

enum onerow_status or_sqlite_audit(struct onerow_store_table *table,
                                   onerow_canonical_key *canonical, void *canonical_context,
                                   onerow_visit_twins *visit, void *context,
                                   struct onerow_error *error);

#endif
