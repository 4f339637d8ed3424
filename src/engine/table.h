/* SPDX-License-Identifier: Apache-2.0
 *
 * An open table: its configuration, its store and what the store says of it.
 */
#ifndef OR_ENGINE_TABLE_H
#define OR_ENGINE_TABLE_H

#include "engine/config.h"
#include "onerow/extend.h"

#define OR_WAIT_MS 300000U /* --wait's default */

#define OR_LAYOUT_FIELDS 16U

/* Where the fields of a shape go (struct or_item): worked out for one record, used for those that
 * look alike. */
struct or_layout {
    uint64_t shape; /* 0: none */
    size_t n;
    uint16_t column[OR_LAYOUT_FIELDS]; /* of field i */
    uint16_t place[OR_LAYOUT_FIELDS];  /* of field i among the record's values */
};

struct or_gate;
struct or_pages;
struct or_table_ahead;
struct or_relation;
struct or_kin;
struct or_known;

struct or_table {
    const struct or_config_table *config;
    struct onerow_table_spec spec;    /* config's, with compare_order and want_ids set */
    struct or_gate *gate;             /* before the store, if that counts requests; owned */
    struct onerow_store *store;       /* owned */
    struct onerow_store_table *table; /* owned; NULL while the table is missing */
    size_t *name_lens;                /* of the columns' names; owned */
    uint16_t *ranks; /* of columns in a record: the key's first, then by number; owned */
    struct or_layout layout;
    struct or_buffer key; /* the binder's: the canonical key at hand */
    unsigned number;      /* in the order of writing, within one run */
    struct onerow_store_options
        opened_with;      /* for further connections; url NULL: none can be made */
    unsigned connections; /* at most, this one included; 0 as 1 */
    struct or_table *others[OR_CONNECTIONS_MAX - 1]; /* further connections; owned */
    unsigned n_others;
    struct or_table_ahead *ahead;  /* a further connection that is being opened, or NULL; owned */
    struct or_pages *pages;        /* of a table with ONEROW_PAGES: what it is written with */
    struct or_relation *relations; /* of columns that are given by keys; owned */
    size_t n_relations;
    struct or_kin *kin;     /* opened for the relations of a table that was opened alone; owned */
    struct or_known *known; /* what became of its records; NULL: nobody asks */
};

struct or_table_options {
    bool read_only;   /* nothing will be written */
    bool may_create;  /* the store and the table may be missing: or_table_create makes them */
    bool want_ids;    /* outcomes carry ids */
    bool leave_as_is; /* a dry run */
    bool bulk;        /* many records are to be written: one goes ahead, each may take its time */
    bool large;       /* so many that a further connection pays: it is begun at once */
    uint64_t wait_ms; /* 0: OR_WAIT_MS */
    const volatile bool *stop; /* gives up waiting for locks when set; NULL: never */
    bool relate;               /* read_only: look at what relations lead to, all the same */
    struct or_known *known;    /* shared with other tables; NULL: it has its own, if any */
    bool alone;                /* or_kin_open's: without what its relations lead to */
};

/* Opens the store and looks at the table, and at those that its relations lead to. With may_create
 * a missing table is OK, and table->table is NULL. On failure nothing is left to close. `config`
 * must outlive the table. */
ONEROW_CHECKED enum onerow_status or_table_open(const struct or_config_table *config,
                                                const struct or_table_options *options,
                                                struct or_table **table,
                                                struct onerow_error *error);
void or_table_close(struct or_table *table); /* NULL is accepted */

/* Opens one connection more, or takes the one that was begun ahead: the same table on a store of
 * its own, in others[n_others++]. It is for writing alone; records are bound to the table itself.
 * False: there is none more to be had, and table->connections says so from now on. */
ONEROW_CHECKED bool or_table_widen(struct or_table *table);

/* How often all its connections have waited for an answer. */
uint64_t or_table_round_trips(const struct or_table *table);

/* Makes the missing table (or finds that somebody else just did) and looks at it. *sql (may be
 * NULL) is the statement that made it, the caller's (free); NULL when it was there. */
ONEROW_CHECKED enum onerow_status or_table_create(struct or_table *table,
                                                  const struct onerow_new_column *columns, size_t n,
                                                  char **sql, struct onerow_error *error);

/* Opens only a store, by URL. CONFIG: nothing here speaks that URL. */
ONEROW_CHECKED enum onerow_status or_store_open(const char *url,
                                                const struct onerow_store_options *options,
                                                struct onerow_store **store,
                                                struct onerow_error *error);

/* Makes (and frees) what binding needs to know of table->table. or_table_open and or_table_close do
 * it; false: out of memory, with or_table_unindex still to be called. */
ONEROW_CHECKED bool or_table_index(struct or_table *table);
void or_table_unindex(struct or_table *table);

/* The column of this name, or -1. */
int or_table_column(const struct or_table *table, struct onerow_span name);

/* The key columns of n_key leading values, as a JSON object. */
void or_table_key_json(const struct or_table *table, const struct onerow_value *values,
                       struct or_buffer *json);
/* All values as a JSON object, in the columns' names. */
void or_table_record_json(const struct or_table *table, const struct onerow_record *record,
                          struct or_buffer *json);
/* One value as JSON. */
void or_value_json(const struct onerow_value *value, struct or_buffer *json);

#endif
