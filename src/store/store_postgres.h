/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the PostgreSQL store share. store_postgres.c says where to read on.
 */
#ifndef OR_STORE_POSTGRES_H
#define OR_STORE_POSTGRES_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "onerow/extend.h"
#include "postgres/postgres_url.h"
#include "store/store_postgres_oid.h"

/* ---- the connection (store_postgres_connect.c, _wait.c, _error.c, _run.c, _commit.c) ----------
 */

/* Which run of which server a transaction id belongs to. A server that crashed hands out the
 * same ids again, so a status is believed only when all of this is as it was. */
struct or_postgres_incarnation {
    bool known;
    char text[160]; /* system identifier, timeline, start time, statistics reset; compared whole */
};

enum or_postgres_stage {
    OR_POSTGRES_IDLE,     /* no transaction */
    OR_POSTGRES_WANTED,   /* begin was called; BEGIN goes out with the first statement */
    OR_POSTGRES_OPEN,     /* BEGIN has been answered */
    OR_POSTGRES_IN_DOUBT, /* COMMIT was sent and not answered */
};

struct or_postgres_store {
    struct onerow_store base;
    PGconn *conn;   /* NULL or dead: begin connects again */
    char *conninfo; /* libpq's URI or keywords, with the password if the URL had one; owned */
    char *shown;    /* "HOST:PORT/DATABASE" for messages; owned, no secrets */
    uint64_t wait_ms;
    bool read_only;
    bool leave_as_is;
    const volatile bool *stop;     /* as opened */
    const volatile bool *stop_now; /* of the running begin … commit, or NULL */
    int version;                   /* PQserverVersion of the last connection */
    enum or_postgres_stage stage;
    bool may_identify;     /* this role may read what makes the incarnation */
    unsigned connection;   /* counts connections: what is cached by it dies with it */
    bool suspect;          /* an error may have come from the statement instead of a record */
    bool has_row_security; /* of the running statement's table: what 42501 means */
    struct or_postgres_incarnation incarnation; /* of the running transaction */
    char xid[24]; /* of the running transaction; "" before it is known */
};

/* One parameter: binary, with its type. */
struct or_postgres_param {
    const char *data; /* NULL: NULL */
    int len;
    Oid type;
};

/* One statement of a pipeline. */
struct or_postgres_statement {
    const char *sql;
    const struct or_postgres_param *params; /* all binary */
    unsigned n_params;
    PGresult *result; /* filled by or_postgres_run; the caller's (PQclear); binary format */
};

static inline struct or_postgres_store *or_postgres_store_of(struct onerow_store *store)
{
    return (struct or_postgres_store *)store;
}

/* Sends n statements in one pipeline and waits for all answers (one round trip). When `begin` was
 * called and BEGIN not sent yet, it goes first. Outside of a transaction each statement is its own.
 * Not OK: no result is kept (all NULL); the failure is classified by the statement that failed,
 * whose index goes to *failed (may be NULL). The transaction, if there was one, must be rolled
 * back. UNAVAILABLE outside of a transaction, RETRY inside, when the connection was lost. */
ONEROW_CHECKED enum onerow_status or_postgres_run(struct or_postgres_store *store,
                                                  struct or_postgres_statement *statements,
                                                  unsigned n, size_t *failed,
                                                  struct onerow_error *error);
/* The same for one statement with text parameters (type 0: the server infers it), for catalogs and
 * other places where speed does not count. *result is in text format, the caller's (PQclear). */
ONEROW_CHECKED enum onerow_status or_postgres_ask(struct or_postgres_store *store, const char *sql,
                                                  const char *const *params, unsigned n,
                                                  PGresult **result, struct onerow_error *error);
/* The server has to be there: connects (again) when the connection is gone. Waits at most wait_ms
 * for a server that is starting, INTERRUPTED when *stop is set meanwhile. */
ONEROW_CHECKED enum onerow_status or_postgres_connect(struct or_postgres_store *store,
                                                      struct onerow_error *error);
/* Sends what is left in the connection's buffer and waits until the socket can be read, or
 * *stop is set (INTERRUPTED, after cancelling), or wait_ms pass (RETRY: the connection is closed).
 */
ONEROW_CHECKED enum onerow_status or_postgres_wait(struct or_postgres_store *store,
                                                   struct onerow_error *error);
/* Sends what is left in the connection's buffer, reading meanwhile what arrives; gives up as
 * or_postgres_wait does. */
ONEROW_CHECKED enum onerow_status or_postgres_flush(struct or_postgres_store *store,
                                                    struct onerow_error *error);
/* Waits for the next result outside of a pipeline (PQgetResult without blocking); NULL after the
 * last one. The caller's (PQclear). */
ONEROW_CHECKED enum onerow_status or_postgres_next(struct or_postgres_store *store,
                                                   PGresult **result, struct onerow_error *error);

/* The identity of a transaction: its id and the incarnation. True when it is wanted with the next
 * statements; the statement that asks for it; and its (binary) result, to be noted. */
bool or_postgres_needs_identity(const struct or_postgres_store *store);
const char *or_postgres_identify_sql(const struct or_postgres_store *store);
void or_postgres_note_identity(struct or_postgres_store *store, const PGresult *result);

/* What a failed result (or, when NULL, the connection's state) means, with the error filled: what
 * failed, PostgreSQL's own message with detail and hint, and what to do. 23505 is CLASH. */
enum onerow_status or_postgres_fail(struct or_postgres_store *store, const PGresult *result,
                                    const char *doing, struct onerow_error *error);

/* ---- tables (store_postgres_schema.c) ------------------------------------------------------- */

struct or_postgres_column {
    Oid type;          /* the column's own */
    Oid base_type;     /* beneath domains; of an array, the array type */
    Oid element_type;  /* of an array, beneath domains; 0: no array */
    int32_t typmod;    /* -1: none */
    const char *cast;  /* its type in SQL without a modifier, schema-qualified unless built in:
                          "numeric", "\"app\".\"mood\"", "integer[]" */
    const char *exact; /* the column's own type with the modifier: "numeric(10,2)" */
    const char *equal; /* the operator of its unique index: "=", or OPERATOR("schema".=) where the
                          type is none of PostgreSQL's own; "=" of columns outside of the key */
    const char *at_least; /* likewise ">=", of the order column; NULL: its type has no order */
    bool has_fields;      /* "interval day", of which `cast` carries the modifier: by it the input
                             function reads '1' as a day; see or_postgres_cast */
    bool cuts; /* an explicit cast to `exact` would shorten silently (char(n), bit(n) …),
                  so that it must not be used to compare */
    bool nullable;
    bool has_default; /* or identity */
    char typtype;     /* pg_type.typtype of base_type: b, e(num), r(ange), m(ultirange), c */
    char category;    /* pg_type.typcategory of base_type: N, S, D, B, A, … */
};

struct or_postgres_writer; /* what the writing parts keep between batches */

struct or_postgres_table {
    struct onerow_store_table base;
    struct onerow_table_spec spec;
    struct or_arena arena;                    /* owns the names, columns and SQL pieces */
    const struct or_postgres_column *columns; /* beside base.columns */
    Oid oid;
    const char *schema;       /* unquoted */
    const char *name;         /* unquoted */
    const char *quoted;       /* "schema"."name", quoted where need be */
    const char *arbiter;      /* "ON CONSTRAINT x" or "(k1, k2)"; NULL: nothing enforces the key */
    const char *id_sql;       /* text expression of a row's id over the alias t; NULL: none */
    bool id_is_key;           /* the id is the (single) key column */
    bool partitioned;         /* no system columns in RETURNING */
    bool has_row_triggers;    /* BEFORE INSERT or UPDATE row triggers may swallow or change rows */
    bool has_insert_triggers; /* any trigger or rule that COPY would treat otherwise than INSERT */
    bool has_row_security;    /* applies to this user: COPY is refused, 42501 rejects a record */
    bool nulls_equal; /* a key column may be NULL and NULL is a key: match uses IS NOT DISTINCT */
    int order;        /* column of newest, or -1 */
    int touch;        /* column of updated_at, or -1 */
    const char *keys_table; /* unenforced: "schema".onerow_keys, quoted; NULL otherwise */
    struct or_postgres_writer *writer; /* made by or_postgres_apply when first needed */
};

static inline bool or_postgres_in_key(const struct or_postgres_table *table, size_t column)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->base.key[k] == column) {
            return true;
        }
    }
    return false;
}

/* The columns of the two tables by which keys are locked where nothing enforces them. */
#define OR_POSTGRES_KEYS_COLUMNS  "(key text PRIMARY KEY)"
#define OR_POSTGRES_FENCE_COLUMNS "(scope text PRIMARY KEY, token bigint NOT NULL DEFAULT 0)"

static inline struct or_postgres_table *or_postgres_table_of(struct onerow_store_table *table)
{
    return (struct or_postgres_table *)table;
}

enum onerow_status or_postgres_table_open(struct onerow_store *store,
                                          const struct onerow_table_spec *spec,
                                          struct onerow_store_table **table,
                                          struct onerow_error *error);
void or_postgres_table_close(struct onerow_store_table *table);
/* Appends a text (a parameter, a column of text) as the column's input function reads it. */
void or_postgres_cast(struct or_buffer *sql, const struct or_postgres_column *column,
                      const char *text);
enum onerow_status or_postgres_suggest(struct onerow_store *store, const char *name,
                                       const char *location, struct or_buffer *yaml,
                                       struct onerow_error *error);
/* store_postgres_create.c */
enum onerow_status or_postgres_table_create(struct onerow_store *store,
                                            const struct onerow_table_spec *spec,
                                            const struct onerow_new_column *columns, size_t n,
                                            char **sql, struct onerow_error *error);
static inline void or_postgres_quote(struct or_buffer *sql, const char *name)
{
    or_buffer_quoted(sql, name);
}
/* A string literal: in single quotes, those inside doubled; E'' where there is a backslash. */
void or_postgres_literal(struct or_buffer *sql, const char *text);

/* ---- values (store_postgres_value.c) --------------------------------------------------------- */

/* The text that PostgreSQL's input function of the column's type takes for a value: numbers in
 * integer columns as plain digits, JSON arrays in array columns as array literals ({1,NULL,"a b"}),
 * objects as JSON. *text is borrowed from the value or lies in the arena; data NULL stands for
 * NULL. False: it cannot be stored there, and *reason, in the arena or static, says so
 * (or_postgres_no_memory: memory ran out; compare the address). */
bool or_postgres_text(const struct or_postgres_table *table, const struct onerow_value *value,
                      struct or_arena *arena, struct onerow_span *text, const char **reason);
extern const char or_postgres_no_memory[];
/* store_postgres_call.c: appends the binary form of a text[] with n elements, the texts[i] (data
 * NULL: NULL). */
void or_postgres_text_array(struct or_buffer *out, const struct onerow_span *texts, size_t n);
/* Whether a key part as the store returned it (the text of the expression that
 * or_postgres_key_sql wrote) is the part that was sent. */
bool or_postgres_same_key(enum onerow_type type, const struct onerow_value *sent,
                          struct onerow_span got, bool is_null);
/* Appends an expression over ALIAS.column whose text is a key part's canonical form, as far as SQL
 * can give it: "t.\"k\"::text", trim_scale for decimals, UTC for timestamps. */
void or_postgres_key_sql(struct or_buffer *sql, const struct or_postgres_table *table, size_t k,
                         const char *alias);

/* ---- writing (store_postgres_write.h) -------------------------------------------------------- */

enum onerow_status or_postgres_apply(struct onerow_store_table *table,
                                     const struct onerow_record *const *records, size_t n,
                                     struct onerow_verdict *verdicts, struct or_arena *arena,
                                     struct onerow_error *error);
enum onerow_status or_postgres_look(struct onerow_store_table *table,
                                    const struct onerow_record *const *records, size_t n,
                                    struct onerow_verdict *verdicts, struct or_arena *arena,
                                    struct onerow_error *error);
void or_postgres_writer_free(struct or_postgres_writer *writer);
/* " COLLATE …" behind the order column's values, or "": text is ordered by its bytes. */
const char *or_postgres_order_collation(const struct or_postgres_table *table);
/* store_postgres_statement.c: `onerow sql`, as psql, SQLAlchemy and psycopg text. */
enum onerow_status or_postgres_statement(struct onerow_store_table *table, const char *form,
                                         struct or_buffer *sql, struct onerow_error *error);

/* ---- reading (store_postgres_read.c) --------------------------------------------------------- */

enum onerow_status or_postgres_get(struct onerow_store_table *table,
                                   const struct onerow_record *key, struct or_arena *arena,
                                   struct onerow_span *json, struct onerow_span *id,
                                   struct onerow_error *error);
enum onerow_status or_postgres_audit(struct onerow_store_table *table,
                                     onerow_canonical_key *canonical, void *canonical_context,
                                     onerow_visit_twins *visit, void *context,
                                     struct onerow_error *error);

#endif
