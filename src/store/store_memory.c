/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows in this process's memory: the smallest store, for tests, for trying things out,
 * and as the pattern for a new one (docs/ADD_A_STORE.md).
 *
 * A table is a hash of rows by canonical key, which is how it keeps one row per key. A
 * transaction keeps an undo list: each write notes the row as it was before, and a
 * rollback puts the notes back in reverse order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"

/* uthash ends the process when it finds no memory; this says it to us instead. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#include "onerow/extend.h"

struct cell {
    char *data; /* owned; NULL for NULL */
    uint32_t len;
    uint8_t kind;
};

struct row {
    UT_hash_handle hh;
    char *key; /* canonical; owned */
    size_t key_len;
    uint64_t id;
    bool lost; /* uthash had no memory for it */
    struct cell cells[];
};

struct memory_table {
    UT_hash_handle hh;
    char *name;
    struct onerow_column *columns;
    size_t n_columns;
    struct row *rows;
    uint64_t last_id;
    bool lost; /* as in a row */
};

struct undo {
    struct undo *next;
    struct memory_table *table;
    struct row *row;     /* the row that was written */
    struct cell *before; /* its cells then; NULL: it was not there */
};

struct memory_store {
    struct onerow_store base;
    struct memory_table *tables;
    struct undo *undo;
};

struct memory_open_table { /* a user's view of a table */
    struct onerow_store_table base;
    struct onerow_table_spec spec;
    struct memory_table *table;
    int order;
};

extern const struct onerow_store_type or_store_memory;

/* ---- cells ------------------------------------------------------------------------ */

static bool set_cell(struct cell *cell, const struct onerow_value *value)
{
    char *data = NULL;
    if (value->kind != ONEROW_NULL) {
        data = malloc((size_t)value->len + 1);
        if (!data) {
            return false;
        }
        if (value->len) {
            memcpy(data, value->data, value->len);
        }
        data[value->len] = '\0';
    }
    free(cell->data);
    *cell = (struct cell){data, value->kind == ONEROW_NULL ? 0 : value->len, value->kind};
    return true;
}

static bool same_cell(const struct cell *cell, const struct onerow_value *value)
{
    if (cell->kind != value->kind) {
        return false;
    }
    return cell->kind == ONEROW_NULL ||
           or_span_equal((struct onerow_span){cell->data, cell->len},
                         (struct onerow_span){value->data, value->len});
}

static struct onerow_value cell_value(const struct cell *cell)
{
    return (struct onerow_value){.data = cell->data, .len = cell->len, .kind = cell->kind};
}

static void free_cells(struct cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(cells[i].data);
    }
}

static void free_row(struct row *row, size_t n_columns)
{
    free_cells(row->cells, n_columns);
    free(row->key);
    free(row);
}

/* ---- store and tables --------------------------------------------------------------- */

static enum onerow_status memory_open(const struct onerow_store_options *options,
                                      struct onerow_store **out, struct onerow_error *error)
{
    (void)options;
    struct memory_store *store = calloc(1, sizeof *store);
    if (!store) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    store->base.type = &or_store_memory;
    *out = &store->base;
    return ONEROW_OK;
}

static void free_table(struct memory_table *table)
{
    struct row *row = NULL;
    struct row *next = NULL;
    HASH_ITER(hh, table->rows, row, next)
    {
        HASH_DEL(table->rows, row); /* NOLINT(clang-analyzer-unix.Malloc): follows no list */
        free_row(row, table->n_columns);
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        free((char *)(uintptr_t)table->columns[i].name);
    }
    free(table->columns);
    free(table->name);
    free(table);
}

static void memory_rollback(struct onerow_store *base);

static void memory_close(struct onerow_store *base)
{
    if (!base) {
        return;
    }
    struct memory_store *store = (struct memory_store *)base;
    memory_rollback(base);
    struct memory_table *table = NULL;
    struct memory_table *next = NULL;
    HASH_ITER(hh, store->tables, table, next)
    {
        HASH_DEL(store->tables, table);
        free_table(table);
    }
    free(store);
}

static int find_column(const struct memory_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static enum onerow_status resolve(struct memory_open_table *open, struct onerow_error *error)
{
    const struct onerow_table_spec *spec = &open->spec;
    for (size_t i = 0; i < spec->n_key; i++) {
        int column = find_column(open->table, spec->key[i].name);
        if (column < 0) {
            return or_fail(error, ONEROW_CONFIG, "table \"%s\" has no column \"%s\" for its key",
                           spec->location, spec->key[i].name);
        }
        enum onerow_type type = spec->key[i].type;
        type = type == ONEROW_TYPE_UNKNOWN ? open->table->columns[column].type : type;
        open->base.key[i] = (uint16_t)column;
        open->base.key_types[i] = type == ONEROW_TYPE_UNKNOWN ? ONEROW_TYPE_TEXT : type;
    }
    open->order = -1;
    if (spec->policy == ONEROW_POLICY_NEWEST) {
        open->order = find_column(open->table, spec->order_column);
        if (open->order < 0) {
            return or_fail(error, ONEROW_CONFIG,
                           "table \"%s\" has no column \"%s\" for on_conflict: newest(%s)",
                           spec->location, spec->order_column, spec->order_column);
        }
    }
    return ONEROW_OK;
}

static enum onerow_status memory_table_open(struct onerow_store *base,
                                            const struct onerow_table_spec *spec,
                                            struct onerow_store_table **out,
                                            struct onerow_error *error)
{
    struct memory_store *store = (struct memory_store *)base;
    struct memory_table *table = NULL;
    *out = NULL;
    HASH_FIND_STR(store->tables, spec->location, table);
    if (!table) {
        return or_fail(error, ONEROW_ABSENT,
                       "memory: there is no table \"%s\"\n  onerow put --create-table makes it",
                       spec->location);
    }
    if (spec->touch != ONEROW_TOUCH_NONE) {
        return or_fail(error, ONEROW_CONFIG, "memory: has no clock for updated_at; leave it out");
    }
    struct memory_open_table *open = calloc(1, sizeof *open);
    if (!open) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *open = (struct memory_open_table){.spec = *spec, .table = table};
    open->base = (struct onerow_store_table){
        .store = base,
        .columns = table->columns,
        .n_columns = table->n_columns,
        .guarantees = ONEROW_ENFORCED | ONEROW_TRANSACTIONS | ONEROW_SEQUENTIAL | ONEROW_EXCLUSIVE,
        .promise = "exactly one row per key while the process lives; nothing is kept after it"};
    enum onerow_status status = resolve(open, error);
    if (status != ONEROW_OK) {
        free(open);
        return status;
    }
    *out = &open->base;
    return ONEROW_OK;
}

static void memory_table_close(struct onerow_store_table *table)
{
    free(table);
}

static bool fill_columns(struct memory_table *table, const struct onerow_new_column *columns,
                         size_t n)
{
    table->columns = calloc(n ? n : 1, sizeof *table->columns);
    for (size_t i = 0; table->columns && i < n; i++) {
        char *name = strndup(columns[i].name.data, columns[i].name.len);
        if (!name) {
            return false;
        }
        table->columns[i] =
            (struct onerow_column){.name = name, .declared = "", .type = columns[i].type};
        table->n_columns++;
    }
    return table->columns != NULL;
}

static enum onerow_status memory_table_create(struct onerow_store *base,
                                              const struct onerow_table_spec *spec,
                                              const struct onerow_new_column *columns, size_t n,
                                              char **sql, struct onerow_error *error)
{
    struct memory_store *store = (struct memory_store *)base;
    struct memory_table *table = NULL;
    if (sql) {
        *sql = NULL;
    }
    HASH_FIND_STR(store->tables, spec->location, table);
    if (table) {
        return ONEROW_OK;
    }
    table = calloc(1, sizeof *table);
    if (!table || !fill_columns(table, columns, n) || !(table->name = strdup(spec->location))) {
        if (table) {
            free_table(table);
        }
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    HASH_ADD_KEYPTR(hh, store->tables, table->name, strlen(table->name), table);
    if (table->lost) {
        free_table(table);
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return ONEROW_OK;
}

/* ---- transactions -------------------------------------------------------------------- */

static enum onerow_status memory_begin(struct onerow_store *base, const volatile bool *stop,
                                       struct onerow_error *error)
{
    (void)base;
    (void)stop;
    (void)error;
    return ONEROW_OK;
}

static void forget_undo(struct memory_store *store)
{
    while (store->undo) {
        struct undo *undo = store->undo;
        store->undo = undo->next;
        if (undo->before) {
            free_cells(undo->before, undo->table->n_columns);
            free(undo->before);
        }
        free(undo);
    }
}

static enum onerow_status memory_commit(struct onerow_store *base, struct onerow_error *error)
{
    (void)error;
    forget_undo((struct memory_store *)base);
    return ONEROW_OK;
}

static void put_back(struct undo *undo)
{
    if (!undo->before) {
        HASH_DEL(undo->table->rows, undo->row);
        free_row(undo->row, undo->table->n_columns);
        return;
    }
    free_cells(undo->row->cells, undo->table->n_columns);
    memcpy(undo->row->cells, undo->before, undo->table->n_columns * sizeof *undo->before);
    free(undo->before);
    undo->before = NULL;
}

static void memory_rollback(struct onerow_store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    while (store->undo) {
        struct undo *undo = store->undo;
        store->undo = undo->next;
        put_back(undo);
        free(undo);
    }
}

/* Notes a row before it changes; `there` is false for a row just made. */
static bool note(struct memory_store *store, struct memory_table *table, struct row *row,
                 bool there)
{
    struct undo *undo = calloc(1, sizeof *undo);
    if (!undo) {
        return false;
    }
    *undo = (struct undo){.next = store->undo, .table = table, .row = row};
    if (there) {
        undo->before = calloc(table->n_columns + 1, sizeof *undo->before);
        for (size_t i = 0; undo->before && i < table->n_columns; i++) {
            struct onerow_value value = cell_value(&row->cells[i]);
            if (!set_cell(&undo->before[i], &value)) {
                free_cells(undo->before, i);
                free(undo->before);
                undo->before = NULL;
            }
        }
        if (!undo->before) {
            free(undo);
            return false;
        }
    }
    store->undo = undo;
    return true;
}

/* ---- writing ---------------------------------------------------------------------------- */

static struct row *make_row(struct memory_store *store, struct memory_table *table,
                            struct onerow_span key)
{
    struct row *row = calloc(1, sizeof *row + table->n_columns * sizeof *row->cells);
    if (!row || !(row->key = malloc(key.len))) {
        free(row);
        return NULL;
    }
    memcpy(row->key, key.data, key.len);
    row->key_len = key.len;
    row->id = ++table->last_id;
    for (size_t i = 0; i < table->n_columns; i++) {
        row->cells[i].kind = ONEROW_NULL;
    }
    HASH_ADD_KEYPTR(hh, table->rows, row->key, row->key_len, row);
    if (row->lost) {
        free_row(row, table->n_columns);
        return NULL;
    }
    if (!note(store, table, row, false)) {
        HASH_DEL(table->rows, row);
        free_row(row, table->n_columns);
        return NULL;
    }
    return row;
}

static bool set_cells(struct row *row, const struct onerow_record *record)
{
    for (size_t i = 0; i < record->n_values; i++) {
        if (!set_cell(&row->cells[record->values[i].column], &record->values[i])) {
            return false;
        }
    }
    return true;
}

/* newest: NULL loses, the later arrival wins when equal. */
static bool is_outdated(const struct memory_open_table *open, const struct row *row,
                        const struct onerow_record *record)
{
    if (open->spec.policy != ONEROW_POLICY_NEWEST) {
        return false;
    }
    struct onerow_value stored = cell_value(&row->cells[open->order]);
    struct onerow_value given = {.kind = ONEROW_NULL};
    for (size_t i = 0; i < record->n_values; i++) {
        if (record->values[i].column == open->order) {
            given = record->values[i];
        }
    }
    return open->spec.compare_order(&given, &stored) < 0;
}

static bool would_change(const struct row *row, const struct onerow_record *record)
{
    for (size_t i = 0; i < record->n_values; i++) {
        if (!same_cell(&row->cells[record->values[i].column], &record->values[i])) {
            return true;
        }
    }
    return false;
}

/* False: out of memory. */
static bool apply_one(struct memory_store *store, const struct memory_open_table *open,
                      const struct onerow_record *record, struct onerow_verdict *verdict,
                      uint64_t *id)
{
    struct memory_table *table = open->table;
    struct row *row = NULL;
    HASH_FIND(hh, table->rows, record->key.data, record->key.len, row);
    if (!row) {
        row = make_row(store, table, record->key);
        *id = row ? row->id : 0;
        verdict->outcome = ONEROW_CREATED;
        return row && set_cells(row, record);
    }
    *id = row->id;
    verdict->outcome = ONEROW_UNCHANGED;
    if (!would_change(row, record)) {
        return true;
    }
    bool keep = open->spec.policy == ONEROW_POLICY_KEEP;
    if (keep || is_outdated(open, row, record)) {
        verdict->reason = keep ? "kept" : "older";
        return true;
    }
    verdict->outcome = ONEROW_UPDATED;
    return note(store, table, row, true) && set_cells(row, record);
}

static enum onerow_status memory_apply(struct onerow_store_table *base,
                                       const struct onerow_record *const *records, size_t n,
                                       struct onerow_verdict *verdicts, struct or_arena *arena,
                                       struct onerow_error *error)
{
    struct memory_open_table *open = (struct memory_open_table *)base;
    struct memory_store *store = (struct memory_store *)base->store;
    for (size_t i = 0; i < n; i++) {
        uint64_t id = 0;
        verdicts[i] = (struct onerow_verdict){0};
        if (!apply_one(store, open, records[i], &verdicts[i], &id)) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
        if (open->spec.want_ids) {
            verdicts[i].id = or_span(or_arena_printf(arena, "%llu", (unsigned long long)id));
        }
    }
    return ONEROW_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void add_cell(struct or_buffer *json, const struct cell *cell)
{
    struct onerow_span text = {cell->data, cell->len};
    switch ((enum onerow_kind)cell->kind) {
    case ONEROW_NULL: or_buffer_text(json, "null"); break;
    case ONEROW_BOOL:
    case ONEROW_NUMBER:
    case ONEROW_JSON: or_buffer_span(json, text); break;
    case ONEROW_TEXT:
    case ONEROW_UNTYPED: or_buffer_json(json, text); break;
    }
}

static enum onerow_status memory_get(struct onerow_store_table *base,
                                     const struct onerow_record *key, struct or_arena *arena,
                                     struct onerow_span *json, struct onerow_span *id,
                                     struct onerow_error *error)
{
    struct memory_open_table *open = (struct memory_open_table *)base;
    struct row *row = NULL;
    HASH_FIND(hh, open->table->rows, key->key.data, key->key.len, row);
    if (!row) {
        return ONEROW_ABSENT;
    }
    struct or_buffer text;
    or_buffer_init(&text);
    for (size_t i = 0; i < open->table->n_columns; i++) {
        or_buffer_char(&text, i ? ',' : '{');
        or_buffer_json(&text, or_span(open->table->columns[i].name));
        or_buffer_char(&text, ':');
        add_cell(&text, &row->cells[i]);
    }
    or_buffer_char(&text, '}');
    *json = text.failed ? (struct onerow_span){0} : or_arena_copy(arena, or_buffer_view(&text));
    or_buffer_finish(&text);
    *id = or_span(or_arena_printf(arena, "%llu", (unsigned long long)row->id));
    return json->data && id->data ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* The hash holds one row per canonical key, so there is nothing to find. */
static enum onerow_status memory_audit(struct onerow_store_table *table,
                                       onerow_canonical_key *canonical, void *canonical_context,
                                       onerow_visit_twins *visit, void *context,
                                       struct onerow_error *error)
{
    (void)table;
    (void)canonical;
    (void)canonical_context;
    (void)visit;
    (void)context;
    (void)error;
    return ONEROW_OK;
}

static enum onerow_status memory_statement(struct onerow_store_table *table, const char *form,
                                           struct or_buffer *sql, struct onerow_error *error)
{
    (void)table;
    (void)form;
    (void)sql;
    return or_fail(error, ONEROW_CONFIG, "memory: speaks no SQL; use a sqlite: store");
}

static enum onerow_status memory_suggest(struct onerow_store *store, const char *name,
                                         const char *location, struct or_buffer *yaml,
                                         struct onerow_error *error)
{
    (void)store;
    (void)name;
    (void)location;
    (void)yaml;
    return or_fail(error, ONEROW_ABSENT, "memory: is empty at every start; nothing to look at");
}

const struct onerow_store_type or_store_memory = {
    .name = "memory",
    .summary = "this process's memory, for tests; nothing is kept",
    .url = "memory:",
    .schemes = (const char *const[]){"memory:", NULL},
    .open = memory_open,
    .close = memory_close,
    .table_open = memory_table_open,
    .table_close = memory_table_close,
    .table_create = memory_table_create,
    .begin = memory_begin,
    .apply = memory_apply,
    .commit = memory_commit,
    .rollback = memory_rollback,
    .get = memory_get,
    .audit = memory_audit,
    .statement = memory_statement,
    .suggest = memory_suggest,
};
