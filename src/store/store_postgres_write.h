/* SPDX-License-Identifier: Apache-2.0
 *
 * What the writing parts of the PostgreSQL store share: column sets (store_postgres_shape.c), their
 * statements (_sql.c) and calls of them (_call.c), and a batch on its way through them (_apply.c,
 * _judge.c, _bulk.c, _unenforced.c).
 */
#ifndef OR_STORE_POSTGRES_WRITE_H
#define OR_STORE_POSTGRES_WRITE_H

#include "store/store_postgres.h"

/* Every statement takes one text[] for each column of the set, except where said. */
enum or_postgres_sql {
    OR_SQL_UPSERT,          /* INSERT … ON CONFLICT, leaving equal rows alone */
    OR_SQL_UPSERT_FILTERED, /* the same; equal rows are left out by a look-up before */
    OR_SQL_UPSERT_ALWAYS,   /* the same without its condition: asks what triggers would do */
    OR_SQL_UPDATE,          /* U: the set lacks a column that a new row needs */
    OR_SQL_UPDATE_ALWAYS,   /* likewise without its condition */
    OR_SQL_EXPLAIN_UPSERT, /* runs UPSERT, and reports what became of the rows and who was called */
    OR_SQL_EXPLAIN_UPDATE, /* likewise UPDATE_ALWAYS */
    OR_SQL_INSERT,         /* unenforced: the key is locked and no row has it */
    OR_SQL_LOOK,           /* what the rows with these keys hold */
    OR_SQL_TOUCH,          /* sets updated_at of rows that stay as they are; key columns only */
    OR_SQL_LOCK,           /* locks one of the rows; key columns only */
    OR_SQL_COPY,           /* COPY … FROM STDIN of this set */
    OR_SQL_STAGE_CREATE,   /* the temporary table onerow_staged for this set; no parameters */
    OR_SQL_STAGE_COPY,     /* COPY into it; each row's number follows its values */
    OR_SQL_UPSERT_STAGED,  /* UPSERT_FILTERED from there; no parameters */
    OR_SQL_KINDS,
};

/* What the statements return:
 *   UPSERT*, INSERT  the key's parts as text, created, id
 *   UPDATE*          position in the arrays (from 1), id
 *   LOOK             position, differs, older, id; a row for each row found
 *   EXPLAIN*         PostgreSQL's report, as JSON
 */
enum { OR_LOOK_AT, OR_LOOK_DIFFERS, OR_LOOK_OLDER, OR_LOOK_ID };
enum { OR_UPDATE_AT, OR_UPDATE_ID };

/* A set of columns, as records carry them: the key's first, in its order. */
struct or_postgres_shape {
    uint16_t *columns; /* owned */
    uint16_t n;
    const char *lacks;       /* the column that a new row needs, or NULL */
    char *sql[OR_SQL_KINDS]; /* made when first needed; owned */
    double unchanged;        /* share of the last statement's records that changed nothing */
    unsigned no_copy;        /* runs for which COPY is not tried: the last one failed */
    bool no_stage;           /* no temporary table can be made */
    uint64_t last_used;
};

#define OR_POSTGRES_SHAPES 64U /* column sets whose statements are kept */

/* What is kept from one batch to the next (struct or_postgres_table). */
struct or_postgres_writer {
    struct or_postgres_shape shapes[OR_POSTGRES_SHAPES];
    unsigned n_shapes;
    uint64_t clock; /* counts batches, for last_used */
};

/* store_postgres_shape.c: whether a record has exactly these columns; the set of a record, or NULL;
 * and a new one (NULL: out of memory). */
bool or_postgres_fits(const struct or_postgres_shape *shape, const struct onerow_record *record);
struct or_postgres_shape *or_postgres_find_shape(struct or_postgres_writer *writer,
                                                 const struct onerow_record *record);
struct or_postgres_shape *or_postgres_make_shape(struct or_postgres_table *table,
                                                 const struct onerow_record *record);

/* store_postgres_sql.c: makes (once) a statement's text. NULL: out of memory. */
const char *or_postgres_sql_of(const struct or_postgres_table *table,
                               struct or_postgres_shape *shape, enum or_postgres_sql kind);

/* A batch that is being written. */
struct or_postgres_work {
    struct or_postgres_store *store;
    struct or_postgres_table *table;
    const struct onerow_record *const *records;
    size_t n;
    struct onerow_verdict *verdicts;
    struct or_arena *arena;
    struct onerow_error *error;
    struct or_postgres_shape **shapes; /* by record; NULL: refused */
    struct onerow_span **texts;        /* by record: the text of each value */
    uint32_t *order;                   /* the records to write, by turn, then as they came */
    uint32_t *turns;                   /* by record: how many of the same key came before */
    uint32_t *slots; /* a hash of keys: the last record of each; slots_mask + 1 of them */
    size_t slots_mask;
    size_t n_order;
    size_t first, end; /* the part of the records that `order` is about */
};

/* Records with one shape and distinct keys: the rows of one statement. */
struct or_postgres_group {
    struct or_postgres_shape *shape;
    const uint32_t *rows; /* indices of records */
    size_t n;
};

/* A statement with its parameters' memory. */
struct or_postgres_call {
    struct or_postgres_group group;
    enum or_postgres_sql kind;
    unsigned n_list;
    struct or_postgres_param *list; /* in the arena */
    struct or_buffer params;        /* the arrays, one after the other */
};

#define OR_POSTGRES_TRIP_CALLS 16U /* in a round trip, at most */

/* store_postgres_call.c: encodes a group's columns as the statement's parameters. `call` is to be
 * finished whatever the answer. */
ONEROW_CHECKED enum onerow_status or_postgres_call_make(struct or_postgres_work *work,
                                                        const struct or_postgres_group *group,
                                                        enum or_postgres_sql kind,
                                                        struct or_postgres_call *call);
void or_postgres_call_finish(struct or_postgres_call *call);
/* Runs up to OR_POSTGRES_TRIP_CALLS of them in one round trip; results[i] are the caller's. */
ONEROW_CHECKED enum onerow_status or_postgres_calls_run(struct or_postgres_work *work,
                                                        const struct or_postgres_call *calls,
                                                        unsigned n, PGresult **results);
/* Runs one call alone; *result is the caller's. */
ONEROW_CHECKED enum onerow_status or_postgres_call_run(struct or_postgres_work *work,
                                                       const struct or_postgres_group *group,
                                                       enum or_postgres_sql kind,
                                                       PGresult **result);

/* Runs the writing statement of the group's shape without any row: does it still fit the table? Its
 * locks keep it so until the end of the transaction. */
ONEROW_CHECKED enum onerow_status or_postgres_try_statement(struct or_postgres_work *work,
                                                            const struct or_postgres_group *group);

/* Reading binary results. */
int64_t or_postgres_int8(const PGresult *result, int row, int column);
bool or_postgres_bool(const PGresult *result, int row, int column);
struct onerow_span or_postgres_got(const PGresult *result, int row, int column);
/* The id of a result row, copied into the arena; data NULL when there is none. */
struct onerow_span or_postgres_got_id(struct or_postgres_work *work, const PGresult *result,
                                      int row, int column);

static inline void or_postgres_refuse(struct onerow_verdict *verdict, const char *reason)
{
    verdict->outcome = ONEROW_REFUSED;
    verdict->reason = reason;
}

extern const char or_postgres_swallowed[]; /* why no row came back */

typedef void or_postgres_visit(struct or_postgres_work *work, uint32_t record,
                               const PGresult *result, int row);
/* The rows of an upsert or insert come back in the order of the records, those left alone missing.
 * `visit` gets each record that has one. REJECTED: a row belongs to none of them. */
ONEROW_CHECKED enum onerow_status or_postgres_match(struct or_postgres_work *work,
                                                    const struct or_postgres_group *group,
                                                    const PGresult *result,
                                                    or_postgres_visit *visit);
/* The visit that takes the verdict: created or updated, with its id. */
or_postgres_visit or_postgres_take_upserted;
static inline bool or_postgres_is_update(enum or_postgres_sql kind)
{
    return kind == OR_SQL_UPDATE || kind == OR_SQL_UPDATE_ALWAYS;
}

/* Takes the verdicts out of the result of an UPDATE: each row that came back was updated. */
void or_postgres_take_updated(struct or_postgres_work *work, const struct or_postgres_group *group,
                              const PGresult *result);
/* store_postgres_judge.c: what is to be told of a group's records that have no verdict yet, or more
 * of those that have one; and what follows from it. */
ONEROW_CHECKED enum onerow_status or_postgres_judge(struct or_postgres_work *work,
                                                    const struct or_postgres_group *group);
/* store_postgres_trigger.c: asks the table's triggers about records for which no row came back and
 * whose rows differ; and, of those for which none would come back without a condition either,
 * whether anything would have changed. Nothing of it stays, and every record has its verdict. */
ONEROW_CHECKED enum onerow_status or_postgres_ask_triggers(struct or_postgres_work *work,
                                                           const struct or_postgres_group *group);
ONEROW_CHECKED enum onerow_status or_postgres_tell_swallowed(struct or_postgres_work *work,
                                                             const struct or_postgres_group *group);
/* Those of `group` that have no verdict yet. */
ONEROW_CHECKED enum onerow_status or_postgres_pending(struct or_postgres_work *work,
                                                      const struct or_postgres_group *group,
                                                      struct or_postgres_group *rest);
/* The rows of `group` whose verdict is (not) PENDING, in memory of the arena. NULL: no memory. */
uint32_t *or_postgres_select(struct or_postgres_work *work, const struct or_postgres_group *group,
                             bool pending, size_t *n);

/* Whether equal rows are best left out beforehand, and may be. */
bool or_postgres_filters(const struct or_postgres_work *work,
                         const struct or_postgres_shape *shape);

/* store_postgres_copy.c: a run by COPY (OR_SQL_COPY or OR_SQL_STAGE_COPY). *copied: how many rows
 * went in, or -1 when the server refused it: its transaction has failed then. */
ONEROW_CHECKED enum onerow_status or_postgres_copy(struct or_postgres_work *work,
                                                   const struct or_postgres_group *run,
                                                   enum or_postgres_sql kind, long *copied);

/* store_postgres_bulk.c: for a run of records of one shape, many enough: looks at a sample of its
 * keys, and copies or stages it where that suits what was found. *done: all of them have their
 * verdicts; otherwise nothing has happened to them, and the shape says which statement suits. */
ONEROW_CHECKED enum onerow_status or_postgres_bulk(struct or_postgres_work *work,
                                                   const struct or_postgres_group *run, bool *done);
#define OR_POSTGRES_BULK 2000U /* records in a run from which a sample pays */

/* store_postgres_unenforced.c: locks the keys of the whole batch, in their order; then writes
 * groups of them. */
ONEROW_CHECKED enum onerow_status or_postgres_lock_keys(struct or_postgres_work *work);
ONEROW_CHECKED enum onerow_status or_postgres_write_locked(struct or_postgres_work *work,
                                                           const struct or_postgres_group *group);

#endif
