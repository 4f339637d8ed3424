/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading from PostgreSQL: a row by its key, and all keys for the audit.
 *
 * A row is found by `column = value::type`, with the operator of the unique index (which may
 * have to be named with its schema) and the collation of the column; row_to_json hands it over,
 * with every digit that a numeric has. Inside of a transaction it is locked FOR NO KEY UPDATE,
 * which leaves foreign keys that point to it alone.
 *
 * The audit reads one snapshot through a cursor, FETCHED rows at a time. Equal keys have to
 * come one after the other:
 *
 *   - As a rule the server sorts, by the key's columns and then by their canonical texts,
 *     byte by byte. Rows of one canonical key are equal to the column's own operators, too, so
 *     the columns bring them together (an index may give that order without a sort), and the
 *     texts part what only the column's operators call equal ('Bob' and 'bob' in citext).
 *   - With `normalize` keys can be equal that the server sees no likeness in. They come in any
 *     order and are sorted here, by the canonical key (base/sort.h).
 *   - With `key_equality: store` the column's operators decide: rank() over the key's columns
 *     is the same for rows that are equal to them.
 *
 * Row security would hide rows from the audit without a word, so it is refused there.
 */
#include <stdio.h>
#include <string.h>

#include "base/sort.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres.h"

#define FETCHED         "500" /* rows: as many keys of 64 KiB are 32 MiB */
#define IDS_SHOWN       10
#define KEY_CHARACTERS  "65537" /* one more than a key may have bytes */
#define SORT_MEMORY     ((size_t)16 * 1024 * 1024)
#define CATEGORY_NUMBER 'N'
#define CATEGORY_BOOL   'B'
#define CATEGORY_STRING 'S'

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

static void add_key_column(struct or_buffer *sql, const struct or_postgres_table *table, size_t k)
{
    or_buffer_text(sql, "t.");
    or_postgres_quote(sql, table->base.columns[table->base.key[k]].name);
}

/* ---- one row --------------------------------------------------------------------- */

struct look_up {
    struct or_buffer sql;
    struct or_postgres_param params[ONEROW_KEY_COLUMNS_MAX];
    unsigned n_params;
};

static enum onerow_status add_part(struct look_up *look_up, const struct or_postgres_table *table,
                                   const struct onerow_value *value, size_t k,
                                   struct or_arena *arena, struct onerow_error *error)
{
    or_buffer_text(&look_up->sql, k ? " AND " : " WHERE ");
    add_key_column(&look_up->sql, table, k);
    if (value->kind == ONEROW_NULL) {
        or_buffer_text(&look_up->sql, " IS NULL");
        return ONEROW_OK;
    }
    struct onerow_span text;
    const char *reason = NULL;
    if (!or_postgres_text(table, value, arena, &text, &reason)) {
        bool exhausted = reason == or_postgres_no_memory;
        return or_fail(error, exhausted ? ONEROW_NOMEM : ONEROW_REJECTED, "%s", reason);
    }
    look_up->params[look_up->n_params++] =
        (struct or_postgres_param){.type = OR_OID_TEXT, .data = text.data, .len = (int)text.len};
    const struct or_postgres_column *column = &table->columns[table->base.key[k]];
    char name[sizeof "$" + 10];
    snprintf(name, sizeof name, "$%u", look_up->n_params);
    or_buffer_printf(&look_up->sql, " %s ", column->equal);
    or_postgres_cast(&look_up->sql, column, name);
    return ONEROW_OK;
}

static enum onerow_status make_look_up(struct look_up *look_up,
                                       const struct or_postgres_table *table,
                                       const struct onerow_record *key, struct or_arena *arena,
                                       struct onerow_error *error)
{
    or_buffer_printf(&look_up->sql, "SELECT row_to_json(t.*)::text, %s FROM %s AS t",
                     table->id_sql ? table->id_sql : "NULL::text", table->quoted);
    enum onerow_status status = ONEROW_OK;
    for (size_t k = 0; k < table->spec.n_key && status == ONEROW_OK; k++) {
        status = add_part(look_up, table, &key->values[k], k, arena, error);
    }
    bool locks = or_postgres_store_of(table->base.store)->stage != OR_POSTGRES_IDLE;
    or_buffer_text(&look_up->sql, locks ? " LIMIT 1 FOR NO KEY UPDATE OF t" : " LIMIT 1");
    return status == ONEROW_OK && look_up->sql.failed ? no_memory(error) : status;
}

static struct onerow_span field_of(const PGresult *rows, int row, int field)
{
    if (PQgetisnull(rows, row, field)) {
        return (struct onerow_span){0};
    }
    return (struct onerow_span){PQgetvalue(rows, row, field),
                                (size_t)PQgetlength(rows, row, field)};
}

static enum onerow_status take_row(const PGresult *rows, struct or_arena *arena,
                                   struct onerow_span *json, struct onerow_span *id,
                                   struct onerow_error *error)
{
    if (PQntuples(rows) == 0) {
        return ONEROW_ABSENT;
    }
    struct onerow_span given = field_of(rows, 0, 1);
    *json = or_arena_copy(arena, field_of(rows, 0, 0));
    *id = given.data ? or_arena_copy(arena, given) : given;
    return json->data && (id->data || !given.data) ? ONEROW_OK : no_memory(error);
}

enum onerow_status or_postgres_get(struct onerow_store_table *base, const struct onerow_record *key,
                                   struct or_arena *arena, struct onerow_span *json,
                                   struct onerow_span *id, struct onerow_error *error)
{
    const struct or_postgres_table *table = or_postgres_table_of(base);
    struct or_postgres_store *store = or_postgres_store_of(base->store);
    struct look_up look_up = {.n_params = 0};
    or_buffer_init(&look_up.sql);
    *json = *id = (struct onerow_span){0};
    store->has_row_security = false; /* it hides rows from a reader and refuses nothing */
    enum onerow_status status = make_look_up(&look_up, table, key, arena, error);
    if (status == ONEROW_OK) {
        struct or_postgres_statement statement = {.sql = or_buffer_cstr(&look_up.sql),
                                                  .params = look_up.params,
                                                  .n_params = look_up.n_params};
        status = or_postgres_run(store, &statement, 1, NULL, error);
        if (status == ONEROW_OK) {
            status = take_row(statement.result, arena, json, id, error);
        }
        PQclear(statement.result);
    }
    or_buffer_finish(&look_up.sql);
    return status;
}

/* ---- counting ---------------------------------------------------------------------- */

struct tally {
    uint64_t rows;
    unsigned n_ids;
    struct or_buffer ids; /* a JSON array that is not closed yet */
};

/* Rows without a valid key, for one reason. */
struct keyless {
    struct keyless *next;
    const char *reason;
    struct tally tally;
};

struct audit {
    const struct or_postgres_table *table;
    struct or_postgres_store *store;
    onerow_canonical_key *canonical;
    void *canonical_context;
    onerow_visit_twins *visit;
    void *visit_context;
    struct or_sort *sort;     /* with `normalize` */
    struct or_arena arena;    /* of the reasons */
    struct keyless *keyless;  /* in it */
    struct or_buffer key;     /* canonical, of the row at hand */
    struct or_buffer shown;   /* JSON, of the row at hand */
    struct or_buffer entry;   /* for the sort: shown, a NUL, and the id unless it is NULL */
    struct or_buffer current; /* what the rows of the open group are equal in */
    struct or_buffer current_shown;
    struct tally group;
    struct onerow_error *error;
};

static void tally_clear(struct tally *tally)
{
    tally->rows = 0;
    tally->n_ids = 0;
    or_buffer_clear(&tally->ids);
}

static void tally_add(struct tally *tally, struct onerow_span id)
{
    tally->rows++;
    if (id.data && tally->n_ids < IDS_SHOWN) {
        or_buffer_char(&tally->ids, tally->n_ids++ ? ',' : '[');
        or_buffer_json(&tally->ids, id);
    }
}

static enum onerow_status tell(struct audit *audit, struct tally *tally, struct onerow_span key,
                               const char *reason)
{
    or_buffer_text(&tally->ids, tally->n_ids ? "]" : "[]");
    if (tally->ids.failed) {
        return no_memory(audit->error);
    }
    struct onerow_twins twins = {
        .key = key, .rows = tally->rows, .ids = or_buffer_view(&tally->ids), .reason = reason};
    audit->visit(audit->visit_context, &twins);
    return ONEROW_OK;
}

static enum onerow_status end_group(struct audit *audit)
{
    enum onerow_status status = ONEROW_OK;
    if (audit->group.rows > 1) {
        status = tell(audit, &audit->group, or_buffer_view(&audit->current_shown), NULL);
    }
    tally_clear(&audit->group);
    return status;
}

/* A row whose key is valid; those equal in `equal` come one after the other. */
static enum onerow_status add_row(struct audit *audit, struct onerow_span equal,
                                  struct onerow_span shown, struct onerow_span id)
{
    if (audit->group.rows == 0 || !or_span_equal(equal, or_buffer_view(&audit->current))) {
        enum onerow_status status = end_group(audit);
        if (status != ONEROW_OK) {
            return status;
        }
        or_buffer_clear(&audit->current);
        or_buffer_span(&audit->current, equal);
        or_buffer_clear(&audit->current_shown);
        or_buffer_span(&audit->current_shown, shown);
    }
    tally_add(&audit->group, id);
    bool failed = audit->current.failed || audit->current_shown.failed || audit->group.ids.failed;
    return failed ? no_memory(audit->error) : ONEROW_OK;
}

/* There are as many reasons as the engine has sentences, for each column of the key. */
static enum onerow_status add_keyless(struct audit *audit, const char *reason,
                                      struct onerow_span id)
{
    struct keyless *found = audit->keyless;
    while (found && strcmp(found->reason, reason) != 0) {
        found = found->next;
    }
    if (!found) {
        found = or_arena_alloc(&audit->arena, sizeof *found);
        const char *copy = or_arena_copy(&audit->arena, or_span(reason)).data;
        if (!found || !copy) {
            return no_memory(audit->error);
        }
        *found = (struct keyless){.next = audit->keyless, .reason = copy};
        or_buffer_init(&found->tally.ids);
        audit->keyless = found;
    }
    tally_add(&found->tally, id);
    return found->tally.ids.failed ? no_memory(audit->error) : ONEROW_OK;
}

static enum onerow_status tell_keyless(struct audit *audit)
{
    enum onerow_status status = ONEROW_OK;
    for (struct keyless *k = audit->keyless; k && status == ONEROW_OK; k = k->next) {
        status = tell(audit, &k->tally, OR_SPAN("null"), k->reason);
    }
    return status;
}

/* ---- one row of the audit -------------------------------------------------------------- */

static const struct or_postgres_column *key_column(const struct or_postgres_table *table, size_t k)
{
    return &table->columns[table->base.key[k]];
}

/* A stored key part as the engine takes values. Text keys may stand for anything (float8, money and
 * others under the store's equality). */
static struct onerow_value part_of(const struct or_postgres_table *table, size_t k,
                                   struct onerow_span text)
{
    char category = key_column(table, k)->category;
    bool is_text = table->base.key_types[k] == ONEROW_TYPE_TEXT;
    enum onerow_kind kind = is_text                       ? ONEROW_TEXT
                            : category == CATEGORY_NUMBER ? ONEROW_NUMBER
                            : category == CATEGORY_BOOL   ? ONEROW_BOOL
                                                          : ONEROW_TEXT;
    return (struct onerow_value){.data = text.data,
                                 .len = (uint32_t)text.len,
                                 .column = table->base.key[k],
                                 .kind = (uint8_t)(text.data ? kind : ONEROW_NULL)};
}

/* NaN and Infinity are numbers to PostgreSQL alone. */
static bool is_json_number(const struct onerow_value *part)
{
    return part->kind == ONEROW_NUMBER && part->len &&
           strspn(part->data, "-+.e0123456789") == part->len;
}

static void show_part(struct or_buffer *json, const struct or_postgres_table *table, size_t k,
                      const struct onerow_value *part)
{
    struct onerow_span text = {part->data, part->len};
    bool moment = key_column(table, k)->base_type == OR_OID_TIMESTAMPTZ;
    if (part->kind == ONEROW_NULL) {
        or_buffer_text(json, "null");
    } else if (part->kind == ONEROW_BOOL || is_json_number(part)) {
        or_buffer_span(json, text);
    } else if (moment && memchr(text.data, 'T', text.len)) {
        or_buffer_printf(json, "\"%.*sZ\"", (int)text.len, text.data); /* it is in UTC */
    } else {
        or_buffer_json(json, text);
    }
}

static void show_key(struct audit *audit, const struct onerow_value *parts)
{
    struct or_buffer *json = &audit->shown;
    or_buffer_clear(json);
    for (size_t k = 0; k < audit->table->spec.n_key; k++) {
        or_buffer_char(json, k ? ',' : '{');
        or_buffer_json(json, or_span(audit->table->spec.key[k].name));
        or_buffer_char(json, ':');
        show_part(json, audit->table, k, &parts[k]);
    }
    or_buffer_char(json, '}');
}

static enum onerow_status sort_row(struct audit *audit, struct onerow_span id)
{
    or_buffer_clear(&audit->entry);
    or_buffer_span(&audit->entry, or_buffer_view(&audit->shown));
    or_buffer_add(&audit->entry, "", id.data ? 1 : 0);
    or_buffer_span(&audit->entry, id);
    return audit->entry.failed ? no_memory(audit->error)
                               : or_sort_add(audit->sort, or_buffer_view(&audit->key),
                                             or_buffer_view(&audit->entry), audit->error);
}

/* The fields of a row: the key's parts, the id, and the rank where the store's equality counts. */
static enum onerow_status take_audited(struct audit *audit, const PGresult *rows, int row)
{
    const struct or_postgres_table *table = audit->table;
    struct onerow_value parts[ONEROW_KEY_COLUMNS_MAX];
    int n_key = (int)table->spec.n_key;
    for (int k = 0; k < n_key; k++) {
        parts[k] = part_of(table, (size_t)k, field_of(rows, row, k));
    }
    struct onerow_span id = field_of(rows, row, n_key);
    const char *reason = NULL;
    or_buffer_clear(&audit->key);
    if (!audit->canonical(audit->canonical_context, parts, &audit->key, &reason)) {
        return audit->key.failed ? no_memory(audit->error)
                                 : add_keyless(audit, reason ? reason : "no valid key", id);
    }
    show_key(audit, parts);
    if (audit->shown.failed) {
        return no_memory(audit->error);
    }
    if (audit->sort) {
        return sort_row(audit, id);
    }
    struct onerow_span equal = table->spec.store_key_equality ? field_of(rows, row, n_key + 1)
                                                              : or_buffer_view(&audit->key);
    return add_row(audit, equal, or_buffer_view(&audit->shown), id);
}

/* ---- all rows of the audit --------------------------------------------------------------- */

static void add_key_text(struct or_buffer *sql, const struct or_postgres_table *table, size_t k)
{
    bool cut = key_column(table, k)->category == CATEGORY_STRING;
    or_buffer_text(sql, cut ? "left(" : "");
    or_postgres_key_sql(sql, table, k, "t");
    or_buffer_text(sql, cut ? ", " KEY_CHARACTERS ")" : "");
}

static void add_order(struct or_buffer *sql, const struct or_postgres_table *table, bool texts)
{
    or_buffer_text(sql, "ORDER BY ");
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_text(sql, k ? ", " : "");
        add_key_column(sql, table, k);
    }
    for (size_t k = 0; k < table->spec.n_key && texts; k++) {
        or_buffer_text(sql, ", (");
        or_postgres_key_sql(sql, table, k, "t");
        or_buffer_text(sql, ") COLLATE \"C\"");
    }
}

static void add_cursor(struct or_buffer *sql, const struct audit *audit)
{
    const struct or_postgres_table *table = audit->table;
    or_buffer_text(sql, "DECLARE onerow_audit NO SCROLL CURSOR FOR SELECT ");
    for (size_t k = 0; k < table->spec.n_key; k++) {
        add_key_text(sql, table, k);
        or_buffer_text(sql, ", ");
    }
    or_buffer_text(sql, table->id_sql ? table->id_sql : "NULL::text");
    if (table->spec.store_key_equality) {
        or_buffer_text(sql, ", rank() OVER (");
        add_order(sql, table, false);
        or_buffer_char(sql, ')');
    }
    or_buffer_printf(sql, " FROM %s AS t", table->quoted);
    if (!audit->sort) {
        or_buffer_char(sql, ' ');
        add_order(sql, table, !table->spec.store_key_equality);
    }
}

static enum onerow_status command(const struct audit *audit, const char *sql)
{
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_ask(audit->store, sql, NULL, 0, &result, audit->error);
    PQclear(result);
    return status;
}

static enum onerow_status open_cursor(const struct audit *audit)
{
    /* All rows will be fetched: the plan is to be good for that, not for the first tenth. */
    enum onerow_status status = command(audit, "SET LOCAL cursor_tuple_fraction = 1");
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_buffer sql;
    or_buffer_init(&sql);
    add_cursor(&sql, audit);
    status = sql.failed ? no_memory(audit->error) : command(audit, or_buffer_cstr(&sql));
    or_buffer_finish(&sql);
    return status;
}

static enum onerow_status fetch_all(struct audit *audit)
{
    enum onerow_status status = ONEROW_OK;
    int n = 1;
    while (status == ONEROW_OK && n > 0) {
        PGresult *rows = NULL;
        status = or_postgres_ask(audit->store, "FETCH " FETCHED " FROM onerow_audit", NULL, 0,
                                 &rows, audit->error);
        n = status == ONEROW_OK ? PQntuples(rows) : 0;
        for (int row = 0; row < n && status == ONEROW_OK; row++) {
            status = take_audited(audit, rows, row);
        }
        PQclear(rows);
    }
    return status;
}

static enum onerow_status take_sorted(struct audit *audit)
{
    struct onerow_span key;
    struct onerow_span entry;
    enum onerow_status status = ONEROW_OK;
    while (status == ONEROW_OK &&
           (status = or_sort_next(audit->sort, &key, &entry, audit->error)) == ONEROW_OK) {
        const char *end = memchr(entry.data, '\0', entry.len);
        struct onerow_span id = {0};
        if (end) {
            size_t shown = (size_t)(end - entry.data);
            id = (struct onerow_span){end + 1, entry.len - shown - 1};
            entry.len = shown;
        }
        status = add_row(audit, key, entry, id);
    }
    return status == ONEROW_ABSENT ? ONEROW_OK : status;
}

static enum onerow_status audit_rows(struct audit *audit)
{
    enum onerow_status status = open_cursor(audit);
    if (status == ONEROW_OK) {
        status = fetch_all(audit);
    }
    if (status == ONEROW_OK && audit->sort) {
        status = take_sorted(audit);
    }
    if (status == ONEROW_OK) {
        status = end_group(audit);
    }
    return status == ONEROW_OK ? tell_keyless(audit) : status;
}

/* ---- the audit ------------------------------------------------------------------------------ */

static bool normalizes(const struct or_postgres_table *table)
{
    unsigned rules = 0;
    for (size_t k = 0; k < table->spec.n_key; k++) {
        rules |= table->spec.key[k].normalize;
    }
    return rules != 0 && !table->spec.store_key_equality;
}

static void audit_finish(struct audit *audit)
{
    for (struct keyless *k = audit->keyless; k; k = k->next) {
        or_buffer_finish(&k->tally.ids);
    }
    or_sort_destroy(audit->sort);
    or_arena_finish(&audit->arena);
    or_buffer_finish(&audit->key);
    or_buffer_finish(&audit->shown);
    or_buffer_finish(&audit->entry);
    or_buffer_finish(&audit->current);
    or_buffer_finish(&audit->current_shown);
    or_buffer_finish(&audit->group.ids);
}

static enum onerow_status run_audit(struct audit *audit)
{
    enum onerow_status status = command(audit, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (status != ONEROW_OK) {
        return status;
    }
    status = audit_rows(audit);
    PGresult *result = NULL; /* the audit's own failure counts, not that of its clean-up */
    enum onerow_status ended = or_postgres_ask(audit->store, "ROLLBACK", NULL, 0, &result, NULL);
    PQclear(result);
    (void)ended;
    return status;
}

enum onerow_status or_postgres_audit(struct onerow_store_table *base,
                                     onerow_canonical_key *canonical, void *canonical_context,
                                     onerow_visit_twins *visit, void *context,
                                     struct onerow_error *error)
{
    struct onerow_error own; /* what is called here reads what it says */
    struct audit audit = {.table = or_postgres_table_of(base),
                          .store = or_postgres_store_of(base->store),
                          .canonical = canonical,
                          .canonical_context = canonical_context,
                          .visit = visit,
                          .visit_context = context,
                          .error = error ? error : &own};
    if (audit.table->has_row_security) {
        return or_fail(error, ONEROW_CONFIG,
                       "table %s: row security hides rows from this user, and rows that are not "
                       "seen cannot be audited\n  run it as the table's owner or as a role with "
                       "BYPASSRLS",
                       audit.table->quoted);
    }
    audit.store->has_row_security = false;
    if (normalizes(audit.table) && !(audit.sort = or_sort_create(SORT_MEMORY))) {
        return no_memory(error);
    }
    or_arena_init(&audit.arena);
    enum onerow_status status = run_audit(&audit);
    audit_finish(&audit);
    return status;
}
