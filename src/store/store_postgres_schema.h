/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the PostgreSQL store that look at tables share: finding a table by its
 * configured place (store_postgres_create.c), what the catalogs say of it
 * (store_postgres_schema.c), and what that means for its key (store_postgres_key.c,
 * store_postgres_arbiter.c).
 */
#ifndef OR_STORE_POSTGRES_SCHEMA_H
#define OR_STORE_POSTGRES_SCHEMA_H

#include "store/store_postgres.h"

/* UNIQUE NULLS NOT DISTINCT came with this version. */
#define OR_POSTGRES_NULLS_NOT_DISTINCT 150000

#define OR_POSTGRES_NAME_MAX 63U /* bytes of an identifier; PostgreSQL cuts longer ones */

/* ---- places (store_postgres_create.c) ---------------------------------------------------- */

/* A location as it is spelled and as SQL reads it: what is not in double quotes is folded to lower
 * case. Both are tried, the spelling first. */
struct or_postgres_place {
    const char *schema; /* NULL: the search path decides */
    const char *name;
    const char *folded_schema; /* NULL with schema */
    const char *folded_name;
};

/* Reads NAME, SCHEMA.NAME or "SCHEMA"."NAME" into the arena. */
ONEROW_CHECKED enum onerow_status or_postgres_read_place(const char *location,
                                                         struct or_arena *arena,
                                                         struct or_postgres_place *place,
                                                         struct onerow_error *error);

/* The parameters $1 … $4 of OR_POSTGRES_FIND. */
#define OR_POSTGRES_PLACE_PARAMS(place)                                                            \
    {                                                                                              \
        (place).schema, (place).name, (place).folded_schema, (place).folded_name                   \
    }

/* The relation c in its schema n that a place means: its very spelling before the folded one, then
 * the first of the search path. Other sessions' temporary tables are nobody's. */
#define OR_POSTGRES_FIND                                                                           \
    " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "  \
    "WHERE c.relname IN ($2::text, $4::text) AND CASE WHEN $1::text IS NULL THEN n.nspname = ANY " \
    "(pg_catalog.current_schemas(true)) ELSE n.nspname IN ($1::text, $3::text) END AND c.relkind " \
    "NOT IN ('i', 'I', 't', 'c') AND NOT pg_catalog.pg_is_other_temp_schema(n.oid) ORDER BY "      \
    "c.relname <> $2::text, n.nspname <> $1::text, "                                               \
    "pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname) LIMIT 1"

/* The type in a table that onerow makes. */
const char *or_postgres_declare(enum onerow_type type);

/* ---- a table that is being looked at ------------------------------------------------------- */

/* Of a column, for the decisions at opening only. */
struct or_postgres_detail {
    int attnum;
    const char *type_name; /* pg_type.typname beneath domains */
    const char *collation; /* quoted; NULL: the type has none */
    const char *opclass;   /* key columns: oid of the type's default btree operator class, … */
    const char *equality;  /* … and of its equality operator; NULL: there is none */
    const char *sequence;  /* that its default draws from and this role may not use; NULL: none */
    bool built_in;         /* that type is PostgreSQL's own */
    bool deterministic;    /* its collation takes no two texts for one */
    bool may_read;         /* this role may read it */
    bool may_use;          /* … and, where rows are written, insert it */
};

struct or_postgres_look {
    struct or_postgres_store *store;
    struct or_postgres_table *table;
    struct onerow_column *columns;           /* the table's */
    struct or_postgres_column *kinds;        /* the table's */
    const struct or_postgres_detail *detail; /* by column */
    struct onerow_error *error;
    const char *schema_sql; /* the schema, quoted where need be */
    const char *role;       /* current_user, quoted where need be */
    const char *missing;    /* privileges that writing needs and the role lacks: "INSERT, UPDATE" */
    const char *sequences;  /* that it may not draw from, for columns beside the key; "": none */
    const char *not_durable;       /* why a crash may take acknowledged rows; NULL: it does not */
    const char *partition_by;      /* of a partitioned table: "LIST (a)" */
    const char *partition_attnums; /* "2 3"; 0 among them is an expression */
    bool writes;                   /* rows will be written: neither an audit nor read_only */
    bool temporary;                /* the table is this session's alone */
    bool no_memory; /* a text was cut or not had: whatever was seen is worth nothing */
};

/* Keeps a text in the table's arena. Never NULL. */
const char *or_postgres_keep(struct or_postgres_look *look, const char *text);
/* The same for a text that was put together; finishes the buffer. */
const char *or_postgres_keep_made(struct or_postgres_look *look, struct or_buffer *text);
/* A field of a text result; NULL for NULL. */
const char *or_postgres_field(const PGresult *result, int row, int column);
bool or_postgres_flag(const PGresult *result, int row, int column);
/* The column of that very name, or -1. */
int or_postgres_find_column(const struct or_postgres_table *table, const char *name);
/* ": did you mean "id"?", or the columns that there are, for a column that is missing. */
const char *or_postgres_near_names(struct or_postgres_look *look, const char *name);

/* store_postgres_key.c: the key's columns and types; refuses those whose equality differs. */
ONEROW_CHECKED enum onerow_status or_postgres_resolve_key(struct or_postgres_look *look);
/* store_postgres_privilege.c: what the role lacks beside the table itself. Refused where rows will
 * be written; else told as the table's refusal, which note_grants does for all that a GRANT gives.
 * Sequences: those that defaults draw from. Keys: the tables by which keys are locked. */
ONEROW_CHECKED enum onerow_status or_postgres_check_sequences(struct or_postgres_look *look);
ONEROW_CHECKED enum onerow_status or_postgres_check_keys(struct or_postgres_look *look);
void or_postgres_note_grants(struct or_postgres_look *look);
/* store_postgres_arbiter.c: what keeps one row per key, how a row is identified, and what is
 * promised. */
ONEROW_CHECKED enum onerow_status or_postgres_decide(struct or_postgres_look *look);

#endif
