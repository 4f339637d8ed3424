/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding keys that more than one row carries. The engine's canonical form is made
 * available to SQL as onerow_key(columns…): a blob is the key, a text says why there is
 * none. SQLite groups by it with its own external sort, so memory stays bounded.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_sqlite.h"

#define IDS_SHOWN 10

struct audit {
    struct or_sqlite_table *table;
    onerow_canonical_key *canonical;
    void *context;
    struct or_buffer key; /* of the row at hand */
};

/* onerow_key(key columns…) */
static void sql_key(sqlite3_context *context, int n, sqlite3_value **arguments)
{
    struct audit *audit = sqlite3_user_data(context);
    struct onerow_value parts[ONEROW_KEY_COLUMNS_MAX];
    char digits[ONEROW_KEY_COLUMNS_MAX][32];
    const char *reason = NULL;
    for (int i = 0; i < n && i < (int)ONEROW_KEY_COLUMNS_MAX; i++) {
        parts[i] = or_sqlite_value(arguments[i], digits[i]);
        parts[i].column = audit->table->base.key[i];
        if (parts[i].kind != ONEROW_NULL && !parts[i].data) {
            sqlite3_result_error_nomem(context);
            return;
        }
    }
    or_buffer_clear(&audit->key);
    if (audit->canonical(audit->context, parts, &audit->key, &reason)) {
        sqlite3_result_blob(context, audit->key.data, (int)audit->key.len, SQLITE_TRANSIENT);
    } else if (audit->key.failed) {
        sqlite3_result_error_nomem(context);
    } else {
        sqlite3_result_text(context, reason ? reason : "no valid key", -1, SQLITE_TRANSIENT);
    }
}

/* onerow_ids(id): a JSON array of the first IDS_SHOWN ids of a group. */
struct ids {
    struct or_buffer *json;
    int n;
};

static void ids_step(sqlite3_context *context, int n, sqlite3_value **arguments)
{
    (void)n;
    struct ids *ids = sqlite3_aggregate_context(context, sizeof *ids);
    if (!ids || ids->n >= IDS_SHOWN) {
        return;
    }
    if (!ids->json) {
        ids->json = sqlite3_malloc(sizeof *ids->json);
        if (!ids->json) {
            sqlite3_result_error_nomem(context);
            return;
        }
        or_buffer_init(ids->json);
    }
    or_buffer_char(ids->json, ids->n++ ? ',' : '[');
    const char *text = (const char *)sqlite3_value_text(arguments[0]);
    or_buffer_json(ids->json, or_span(text ? text : ""));
}

static void ids_final(sqlite3_context *context)
{
    struct ids *ids = sqlite3_aggregate_context(context, 0);
    if (!ids || !ids->json) {
        sqlite3_result_text(context, "[]", -1, SQLITE_STATIC);
        return;
    }
    or_buffer_char(ids->json, ']');
    if (ids->json->failed) {
        sqlite3_result_error_nomem(context);
    } else {
        sqlite3_result_text(context, or_buffer_cstr(ids->json), -1, SQLITE_TRANSIENT);
    }
    or_buffer_finish(ids->json);
    sqlite3_free(ids->json);
}

static void add_key_columns(struct or_buffer *sql, const struct or_sqlite_table *table, bool named)
{
    for (size_t i = 0; i < table->spec.n_key; i++) {
        or_buffer_text(sql, i ? ", r." : "r.");
        or_sqlite_quote(sql, table->spec.key[i].name);
        if (named) {
            or_buffer_printf(sql, " AS c%zu", i);
        }
    }
}

/* The groups are chosen outside of the query that makes them: inside, a column of the table that
 * happens to be called like one of our names would be taken for it. */
static void audit_sql(struct or_buffer *sql, const struct or_sqlite_table *table)
{
    or_buffer_text(sql, "SELECT * FROM (SELECT onerow_key(");
    add_key_columns(sql, table, false);
    or_buffer_printf(sql, ") AS key, count(*) AS n, onerow_ids(%s) AS ids, ",
                     table->id_sql ? table->id_sql : "NULL");
    add_key_columns(sql, table, true);
    or_buffer_printf(sql, " FROM %s AS r GROUP BY ", table->quoted);
    if (table->spec.store_key_equality) {
        add_key_columns(sql, table, false);
    } else {
        or_buffer_char(sql, '1');
    }
    or_buffer_text(sql, ") WHERE n > 1 OR typeof(key) = 'text'");
}

static void visit_group(struct audit *audit, sqlite3_stmt *row, onerow_visit_twins *visit,
                        void *context)
{
    struct or_sqlite_table *table = audit->table;
    bool valid = sqlite3_column_type(row, 0) == SQLITE_BLOB;
    struct or_buffer key;
    or_buffer_init(&key);
    for (size_t i = 0; i < table->spec.n_key; i++) {
        or_buffer_char(&key, i ? ',' : '{');
        or_buffer_json(&key, or_span(table->spec.key[i].name));
        or_buffer_char(&key, ':');
        or_sqlite_json(table, table->base.key[i], sqlite3_column_value(row, (int)i + 3), &key);
    }
    or_buffer_char(&key, '}');
    struct onerow_twins twins = {
        .key = valid ? or_buffer_view(&key) : OR_SPAN("null"),
        .rows = (uint64_t)sqlite3_column_int64(row, 1),
        .ids = or_span((const char *)sqlite3_column_text(row, 2)),
        .reason = valid ? NULL : (const char *)sqlite3_column_text(row, 0),
    };
    visit(context, &twins);
    or_buffer_finish(&key);
}

static enum onerow_status run_audit(struct audit *audit, struct or_sqlite_store *store,
                                    onerow_visit_twins *visit, void *context,
                                    struct onerow_error *error)
{
    struct or_buffer sql;
    sqlite3_stmt *stmt = NULL;
    or_buffer_init(&sql);
    audit_sql(&sql, audit->table);
    enum onerow_status status = or_sqlite_prepare_made(store, &sql, &stmt, error);
    or_buffer_finish(&sql);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        visit_group(audit, stmt, visit, context);
    }
    if (code != SQLITE_DONE) {
        status = or_sqlite_fail(store, code, "reading the table", error);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum onerow_status or_sqlite_audit(struct onerow_store_table *base, onerow_canonical_key *canonical,
                                   void *canonical_context, onerow_visit_twins *visit,
                                   void *context, struct onerow_error *error)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base->store);
    struct audit audit = {or_sqlite_table_of(base), canonical, canonical_context, {0}};
    int n_key = (int)audit.table->spec.n_key;
    int code = sqlite3_create_function_v2(store->db, "onerow_key", n_key,
                                          SQLITE_UTF8 | SQLITE_DETERMINISTIC, &audit, sql_key, NULL,
                                          NULL, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_create_function_v2(store->db, "onerow_ids", 1, SQLITE_UTF8, NULL, NULL,
                                          ids_step, ids_final, NULL);
    }
    enum onerow_status status = code == SQLITE_OK
                                    ? run_audit(&audit, store, visit, context, error)
                                    : or_sqlite_fail(store, code, "preparing the audit", error);
    sqlite3_create_function_v2(store->db, "onerow_key", n_key, SQLITE_UTF8, NULL, NULL, NULL, NULL,
                               NULL);
    or_buffer_finish(&audit.key);
    return status;
}
