/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing records, and reading one back. For each set of columns that occurs, a plan holds
 * the prepared statements:
 *
 *   upsert   INSERT … ON CONFLICT DO UPDATE: the table enforces the key
 *   update   UPDATE … WHERE key: the set lacks a column that a new row must have, so that
 *            an INSERT would fail even where the row is there; or nothing enforces the key
 *   insert   nothing enforces the key, and under BEGIN IMMEDIATE no row was found
 *
 * Equal keys are written one after the other, in one transaction: exactly "as if written
 * one by one", and each record has its own outcome.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_sqlite.h"

#define DIFFERS_PAIRS 60 /* of the 127 arguments that SQLite allows, less than two a pair */

/* ---- statements ---------------------------------------------------------------- */

static const char *column_name(const struct or_sqlite_table *table, size_t column)
{
    return table->base.columns[column].name;
}

static void add_name(struct or_buffer *sql, const struct or_sqlite_table *table, size_t column)
{
    or_sqlite_quote(sql, column_name(table, column));
}

/* Position of a column among a plan's values, 1-based as SQLite's parameters; 0: not given. */
static unsigned parameter(const struct or_sqlite_plan *plan, int column)
{
    for (unsigned i = 0; i < plan->n; i++) {
        if (plan->columns[i] == column) {
            return i + 1;
        }
    }
    return 0;
}

/* The new value of a column: "excluded.x" in an upsert, "?3" in an update. */
static void add_new(struct or_buffer *sql, const struct or_sqlite_table *table,
                    const struct or_sqlite_plan *plan, unsigned at, bool upsert)
{
    if (upsert) {
        or_buffer_text(sql, "excluded.");
        add_name(sql, table, plan->columns[at]);
    } else {
        or_buffer_printf(sql, "?%u", at + 1);
    }
}

static bool touches(const struct or_sqlite_table *table, const struct or_sqlite_plan *plan)
{
    return table->touch >= 0 && !parameter(plan, table->touch);
}

static void add_assignments(struct or_buffer *sql, const struct or_sqlite_table *table,
                            const struct or_sqlite_plan *plan, bool upsert)
{
    size_t n_key = table->spec.n_key;
    for (unsigned i = (unsigned)n_key; i < plan->n; i++) {
        or_buffer_text(sql, i > n_key ? ", " : "");
        add_name(sql, table, plan->columns[i]);
        or_buffer_text(sql, " = ");
        add_new(sql, table, plan, i, upsert);
    }
    if (touches(table, plan)) {
        or_buffer_text(sql, plan->n > n_key ? ", " : "");
        add_name(sql, table, (size_t)table->touch);
        or_buffer_printf(sql, " = %s", table->touch_sql);
    } else if (plan->n == n_key) { /* nothing but a key: SQL wants an assignment all the same */
        add_name(sql, table, table->base.key[0]);
        or_buffer_text(sql, " = r.");
        add_name(sql, table, table->base.key[0]);
    }
}

static void add_differs(struct or_buffer *sql, const struct or_sqlite_table *table,
                        const struct or_sqlite_plan *plan, bool upsert)
{
    unsigned first = (unsigned)table->spec.n_key;
    if (first == plan->n) {
        or_buffer_char(sql, '0');
    }
    for (unsigned from = first; from < plan->n; from += DIFFERS_PAIRS) {
        unsigned to = from + DIFFERS_PAIRS < plan->n ? from + DIFFERS_PAIRS : plan->n;
        or_buffer_text(sql, from > first ? " + onerow_differs('" : "onerow_differs('");
        for (unsigned i = from; i < to && !upsert; i++) {
            or_buffer_char(sql, (char)table->affinity[plan->columns[i]]);
        }
        or_buffer_char(sql, '\'');
        for (unsigned i = from; i < to; i++) {
            or_buffer_text(sql, ", r.");
            add_name(sql, table, plan->columns[i]);
            or_buffer_text(sql, ", ");
            add_new(sql, table, plan, i, upsert);
        }
        or_buffer_char(sql, ')');
    }
}

/* onerow_seen(id, old order, new order, differs). An absent order column counts as NULL, which
 * excluded would not show: it holds the column's default then. */
static void add_seen(struct or_buffer *sql, const struct or_sqlite_table *table,
                     const struct or_sqlite_plan *plan, bool upsert)
{
    or_buffer_printf(sql, "onerow_seen(%s, ", table->id_sql ? table->id_sql : "NULL");
    unsigned order = table->order >= 0 ? parameter(plan, table->order) : 0;
    if (table->order >= 0) {
        or_buffer_text(sql, "r.");
        add_name(sql, table, (size_t)table->order);
    } else {
        or_buffer_text(sql, "NULL");
    }
    or_buffer_text(sql, ", ");
    if (order) {
        add_new(sql, table, plan, order - 1, upsert);
    } else {
        or_buffer_text(sql, "NULL");
    }
    or_buffer_text(sql, ", ");
    add_differs(sql, table, plan, upsert);
    or_buffer_char(sql, ')');
}

static void add_insert(struct or_buffer *sql, const struct or_sqlite_table *table,
                       const struct or_sqlite_plan *plan)
{
    bool touch = touches(table, plan);
    or_buffer_printf(sql, "INSERT OR ABORT INTO %s AS r (", table->quoted);
    for (unsigned i = 0; i < plan->n; i++) {
        or_buffer_text(sql, i ? ", " : "");
        add_name(sql, table, plan->columns[i]);
    }
    if (touch) {
        or_buffer_text(sql, ", ");
        add_name(sql, table, (size_t)table->touch);
    }
    or_buffer_text(sql, ") VALUES (");
    for (unsigned i = 0; i < plan->n; i++) {
        or_buffer_printf(sql, "%s?%u", i ? ", " : "", i + 1);
    }
    or_buffer_printf(sql, "%s%s)", touch ? ", " : "", touch ? table->touch_sql : "");
}

static void add_upsert(struct or_buffer *sql, const struct or_sqlite_table *table,
                       const struct or_sqlite_plan *plan)
{
    add_insert(sql, table, plan);
    or_buffer_printf(sql, " ON CONFLICT (%s) DO UPDATE SET ", table->target);
    add_assignments(sql, table, plan, true);
    or_buffer_text(sql, " WHERE ");
    add_seen(sql, table, plan, true);
}

/* The CASE keeps onerow_seen from being called with any other row, whatever plan SQLite chooses. */
static void add_update(struct or_buffer *sql, const struct or_sqlite_table *table,
                       const struct or_sqlite_plan *plan)
{
    or_buffer_printf(sql, "UPDATE OR ABORT %s AS r SET ", table->quoted);
    add_assignments(sql, table, plan, false);
    or_buffer_printf(sql, " WHERE %s AND CASE WHEN %s THEN ", table->match, table->match);
    add_seen(sql, table, plan, false);
    or_buffer_text(sql, " ELSE 0 END");
}

typedef void add_statement(struct or_buffer *sql, const struct or_sqlite_table *table,
                           const struct or_sqlite_plan *plan);

static enum onerow_status prepare_with(struct or_sqlite_table *table,
                                       const struct or_sqlite_plan *plan, add_statement *add,
                                       sqlite3_stmt **stmt, struct onerow_error *error)
{
    struct or_buffer sql;
    or_buffer_init(&sql);
    add(&sql, table, plan);
    enum onerow_status status =
        or_sqlite_prepare_made(or_sqlite_store_of(table->base.store), &sql, stmt, error);
    or_buffer_finish(&sql);
    return status;
}

/* ---- plans ---------------------------------------------------------------------- */

static bool plan_fits(const struct or_sqlite_plan *plan, const struct onerow_record *record)
{
    if (plan->n != record->n_values) {
        return false;
    }
    for (unsigned i = 0; i < plan->n; i++) {
        if (plan->columns[i] != record->values[i].column) {
            return false;
        }
    }
    return true;
}

/* A column that a new row must have and the plan does not give; NULL: none. */
static const char *lacking(const struct or_sqlite_table *table, const struct or_sqlite_plan *plan)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (table->base.columns[i].required && !parameter(plan, (int)i)) {
            return column_name(table, i);
        }
    }
    return NULL;
}

static void finish_plan(struct or_sqlite_plan *plan)
{
    free(plan->columns);
    sqlite3_finalize(plan->upsert);
    sqlite3_finalize(plan->insert);
    sqlite3_finalize(plan->update);
    *plan = (struct or_sqlite_plan){0};
}

/* A free place, or that of the plan that has been idle longest. */
static struct or_sqlite_plan *plan_slot(struct or_sqlite_table *table)
{
    if (table->n_plans < OR_SQLITE_PLANS) {
        return &table->plans[table->n_plans++];
    }
    struct or_sqlite_plan *oldest = &table->plans[0];
    for (unsigned i = 1; i < table->n_plans; i++) {
        if (table->plans[i].last_used < oldest->last_used) {
            oldest = &table->plans[i];
        }
    }
    finish_plan(oldest);
    return oldest;
}

static struct or_sqlite_plan *plan_of(struct or_sqlite_table *table,
                                      const struct onerow_record *record)
{
    struct or_sqlite_plan *plan = NULL;
    for (unsigned i = 0; i < table->n_plans && !plan; i++) {
        plan = plan_fits(&table->plans[i], record) ? &table->plans[i] : NULL;
    }
    if (!plan) {
        plan = plan_slot(table);
        plan->columns = malloc(record->n_values * sizeof *plan->columns);
        if (!plan->columns) {
            return NULL;
        }
        for (unsigned i = 0; i < record->n_values; i++) {
            plan->columns[i] = record->values[i].column;
        }
        plan->n = record->n_values;
        plan->lacks = lacking(table, plan);
        plan->update_only = plan->lacks != NULL;
    }
    plan->last_used = ++table->clock;
    return plan;
}

/* ---- one record ------------------------------------------------------------------ */

struct writing {
    struct or_sqlite_table *table;
    struct or_sqlite_store *store;
    struct or_arena *arena;
    struct onerow_error *error;
    int code; /* SQLite's last word on a record */
};

static const char *keep_reason(struct writing *w, const char *text)
{
    const char *kept = or_arena_copy(w->arena, or_span(text)).data;
    return kept ? kept : "rejected by SQLite (and out of memory)";
}

static void refuse(struct onerow_verdict *verdict, const char *reason)
{
    verdict->outcome = ONEROW_REFUSED;
    verdict->reason = reason;
}

/* Binds the first n values of the record. REJECTED: it was refused. */
static enum onerow_status bind_record(struct writing *w, sqlite3_stmt *stmt,
                                      const struct onerow_record *record, size_t n,
                                      struct onerow_verdict *verdict)
{
    for (size_t i = 0; i < n; i++) {
        const char *reason = NULL;
        if (!or_sqlite_bind(w->table, stmt, (int)i + 1, &record->values[i], w->arena, &reason)) {
            refuse(verdict, reason);
            return reason == or_sqlite_no_memory ? or_fail(w->error, ONEROW_NOMEM, "out of memory")
                                                 : ONEROW_REJECTED;
        }
    }
    return ONEROW_OK;
}

/* SQLITE_ERROR is a record's fault (malformed JSON in a CHECK, …) unless the statement itself no
 * longer fits: somebody has dropped the index or a column since it was prepared. */
static bool still_fits(struct writing *w, sqlite3_stmt *stmt, enum onerow_status *status)
{
    sqlite3_stmt *again = NULL;
    struct onerow_error changed = {0};
    *status = or_sqlite_prepare(w->store, sqlite3_sql(stmt), &again, &changed);
    sqlite3_finalize(again);
    if (*status == ONEROW_OK) {
        *status = w->error->status;
        return true;
    }
    *w->error = changed;
    return false;
}

/* RAISE(FAIL) in a trigger keeps what the statement had done by then, so where there are triggers
 * each record has a savepoint to go back to. */
static int step_alone(struct writing *w, sqlite3_stmt *stmt)
{
    struct or_sqlite_store *store = w->store;
    int code = or_sqlite_run(store, &store->save, "SAVEPOINT onerow_record");
    if (code != SQLITE_OK) {
        return code;
    }
    code = sqlite3_step(stmt);
    if (code != SQLITE_DONE && !sqlite3_get_autocommit(store->db)) {
        /* Said now: the next statement overwrites SQLite's message. */
        or_sqlite_fail(store, code, "writing", w->error);
        sqlite3_reset(stmt);
        or_sqlite_run(store, &store->undo, "ROLLBACK TO onerow_record");
    }
    if (!sqlite3_get_autocommit(store->db)) {
        or_sqlite_run(store, &store->keep, "RELEASE onerow_record");
    }
    return code;
}

/* Runs the statement once. OK: it ran, or the record was refused on its own (verdict). REJECTED:
 * the transaction is gone with it. */
static enum onerow_status run_once(struct writing *w, sqlite3_stmt *stmt,
                                   struct onerow_verdict *verdict)
{
    bool careful = w->table->has_triggers;
    w->store->sight = (struct or_sqlite_sight){0};
    w->store->active = w->table;
    w->code = careful ? step_alone(w, stmt) : sqlite3_step(stmt);
    if (w->code == SQLITE_DONE) {
        sqlite3_reset(stmt);
        return ONEROW_OK;
    }
    bool told = careful && !sqlite3_get_autocommit(w->store->db);
    enum onerow_status status =
        told ? w->error->status : or_sqlite_fail(w->store, w->code, "writing", w->error);
    if (w->code == SQLITE_ERROR && !still_fits(w, stmt, &status)) {
        sqlite3_reset(stmt);
        return status;
    }
    if (status == ONEROW_REJECTED && !sqlite3_get_autocommit(w->store->db)) {
        refuse(verdict, keep_reason(w, w->error->text));
        status = ONEROW_OK;
    }
    sqlite3_reset(stmt);
    return status;
}

/* How many rows carry the record's key, counted up to two. */
static enum onerow_status count_rows(struct writing *w, const struct onerow_record *record,
                                     unsigned *rows)
{
    struct or_sqlite_table *table = w->table;
    *rows = 0;
    if (!table->count) {
        struct or_buffer sql;
        or_buffer_init(&sql);
        or_buffer_printf(&sql, "SELECT 1 FROM %s AS r WHERE %s LIMIT 2", table->quoted,
                         table->match);
        enum onerow_status status = or_sqlite_prepare_made(w->store, &sql, &table->count, w->error);
        or_buffer_finish(&sql);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    struct onerow_verdict refused = {0};
    enum onerow_status bound = bind_record(w, table->count, record, table->spec.n_key, &refused);
    if (bound != ONEROW_OK) { /* a key that cannot be stored is in no row */
        return bound == ONEROW_REJECTED ? ONEROW_OK : bound;
    }
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(table->count)) == SQLITE_ROW) {
        ++*rows;
    }
    sqlite3_reset(table->count);
    return code == SQLITE_DONE ? ONEROW_OK
                               : or_sqlite_fail(w->store, code, "looking up a key", w->error);
}

/* The outcome of a statement that ran, from what onerow_seen noted and how many rows changed. It
 * stays PENDING when no row was seen and none was changed: a trigger has swallowed the insert. */
static void judge(struct writing *w, struct onerow_verdict *verdict)
{
    const struct or_sqlite_sight *sight = &w->store->sight;
    bool changed = sqlite3_changes(w->store->db) > 0;
    if (!sight->there) {
        verdict->outcome = changed ? ONEROW_CREATED : ONEROW_PENDING;
        return;
    }
    bool wanted = w->table->spec.policy != ONEROW_POLICY_KEEP && !sight->outdated && sight->differs;
    if (wanted && !changed) {
        refuse(verdict, "a trigger of the table swallowed the change (RAISE(IGNORE))");
        return;
    }
    verdict->outcome = wanted ? ONEROW_UPDATED : ONEROW_UNCHANGED;
    if (sight->differs && !wanted) {
        verdict->reason = sight->outdated ? "older" : "kept";
    }
}

static enum onerow_status write_with(struct writing *w, struct or_sqlite_plan *plan,
                                     add_statement *add, sqlite3_stmt **stmt,
                                     const struct onerow_record *record,
                                     struct onerow_verdict *verdict)
{
    enum onerow_status status = ONEROW_OK;
    if (!*stmt) {
        status = prepare_with(w->table, plan, add, stmt, w->error);
    }
    if (status == ONEROW_OK) {
        status = bind_record(w, *stmt, record, record->n_values, verdict);
    }
    if (status != ONEROW_OK) {
        return status == ONEROW_REJECTED ? ONEROW_OK : status;
    }
    status = run_once(w, *stmt, verdict);
    if (status == ONEROW_OK && verdict->outcome == ONEROW_PENDING) {
        judge(w, verdict);
    }
    return status;
}

/* An upsert that did not come to its UPDATE: a trigger swallowed the INSERT, or the record lacks a
 * column that a CHECK wants in a new row. The row that is there, if any, is updated by itself. */
static enum onerow_status update_after_all(struct writing *w, struct or_sqlite_plan *plan,
                                           const struct onerow_record *record,
                                           struct onerow_verdict *verdict)
{
    unsigned rows = 0;
    enum onerow_status status = count_rows(w, record, &rows);
    if (status != ONEROW_OK || rows == 0) {
        return status;
    }
    *verdict = (struct onerow_verdict){0};
    return write_with(w, plan, add_update, &plan->update, record, verdict);
}

static enum onerow_status write_upsert(struct writing *w, struct or_sqlite_plan *plan,
                                       const struct onerow_record *record,
                                       struct onerow_verdict *verdict)
{
    enum onerow_status status = write_with(w, plan, add_upsert, &plan->upsert, record, verdict);
    bool checked = verdict->outcome == ONEROW_REFUSED && w->code == SQLITE_CONSTRAINT_CHECK;
    if (status == ONEROW_OK && (checked || verdict->outcome == ONEROW_PENDING)) {
        status = update_after_all(w, plan, record, verdict);
    }
    return status;
}

static enum onerow_status write_update_only(struct writing *w, struct or_sqlite_plan *plan,
                                            const struct onerow_record *record,
                                            struct onerow_verdict *verdict)
{
    unsigned rows = 0;
    enum onerow_status status = count_rows(w, record, &rows);
    if (status != ONEROW_OK) {
        return status;
    }
    if (rows > 1) {
        refuse(verdict, "several rows have this key already; run: onerow audit");
        return ONEROW_OK;
    }
    if (rows == 0 && plan->lacks) {
        const char *reason = or_arena_printf(
            w->arena, "no row has this key, and a new one needs column \"%s\"", plan->lacks);
        refuse(verdict, reason ? reason : "a required column is missing");
        return ONEROW_OK;
    }
    return rows ? write_with(w, plan, add_update, &plan->update, record, verdict)
                : write_with(w, plan, add_insert, &plan->insert, record, verdict);
}

/* ---- ids --------------------------------------------------------------------------- */

static enum onerow_status look_up_id(struct writing *w, const struct onerow_record *record,
                                     struct onerow_span *id)
{
    struct or_sqlite_table *table = w->table;
    if (!table->identify) {
        struct or_buffer sql;
        or_buffer_init(&sql);
        or_buffer_printf(&sql, "SELECT %s FROM %s AS r WHERE %s LIMIT 1", table->id_sql,
                         table->quoted, table->match);
        enum onerow_status status =
            or_sqlite_prepare_made(w->store, &sql, &table->identify, w->error);
        or_buffer_finish(&sql);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    struct onerow_verdict refused = {0};
    enum onerow_status bound = bind_record(w, table->identify, record, table->spec.n_key, &refused);
    if (bound != ONEROW_OK) {
        return bound == ONEROW_REJECTED ? ONEROW_OK : bound;
    }
    int code = sqlite3_step(table->identify);
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(table->identify, 0);
        *id = text ? or_arena_copy(w->arena, or_span(text)) : *id;
        code = SQLITE_DONE;
    }
    sqlite3_reset(table->identify);
    return code == SQLITE_DONE ? ONEROW_OK
                               : or_sqlite_fail(w->store, code, "reading the row's id", w->error);
}

/* A record that carries the id column may have given the row another id. */
static bool gives_id(const struct or_sqlite_table *table, const struct onerow_record *record)
{
    for (size_t i = 0; i < record->n_values; i++) {
        if (record->values[i].column == table->id_column) {
            return true;
        }
    }
    return false;
}

static enum onerow_status add_id(struct writing *w, const struct onerow_record *record,
                                 struct onerow_verdict *verdict)
{
    if (!w->table->id_sql || verdict->outcome == ONEROW_REFUSED) {
        return ONEROW_OK;
    }
    const struct or_sqlite_sight *sight = &w->store->sight;
    bool created = verdict->outcome == ONEROW_CREATED;
    bool known = created ? w->table->id_is_rowid : sight->has_id && !gives_id(w->table, record);
    if (!known) {
        return look_up_id(w, record, &verdict->id);
    }
    int64_t id = created ? sqlite3_last_insert_rowid(w->store->db) : sight->id;
    const char *text = or_arena_printf(w->arena, "%lld", (long long)id);
    verdict->id = or_span(text);
    return ONEROW_OK;
}

/* ---- apply --------------------------------------------------------------------------- */

static enum onerow_status apply_one(struct writing *w, const struct onerow_record *record,
                                    struct onerow_verdict *verdict)
{
    struct or_sqlite_plan *plan = plan_of(w->table, record);
    if (!plan) {
        return or_fail(w->error, ONEROW_NOMEM, "out of memory");
    }
    bool upsert = (w->table->base.guarantees & ONEROW_ENFORCED) && !plan->update_only;
    enum onerow_status status = upsert ? write_upsert(w, plan, record, verdict)
                                       : write_update_only(w, plan, record, verdict);
    if (status == ONEROW_OK && verdict->outcome == ONEROW_PENDING) {
        refuse(verdict, "a trigger of the table swallowed the row (RAISE(IGNORE))");
    }
    if (status == ONEROW_OK && w->table->spec.want_ids) {
        status = add_id(w, record, verdict);
    }
    return status;
}

enum onerow_status or_sqlite_apply(struct onerow_store_table *base,
                                   const struct onerow_record *const *records, size_t n,
                                   struct onerow_verdict *verdicts, struct or_arena *arena,
                                   struct onerow_error *error)
{
    struct onerow_error own; /* this file reads what it says */
    struct writing w = {.table = or_sqlite_table_of(base),
                        .store = or_sqlite_store_of(base->store),
                        .arena = arena,
                        .error = error ? error : &own};
    for (size_t i = 0; i < n; i++) {
        verdicts[i] = (struct onerow_verdict){0};
        enum onerow_status status = apply_one(&w, records[i], &verdicts[i]);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return ONEROW_OK;
}

/* ---- get ------------------------------------------------------------------------------- */

static enum onerow_status prepare_find(struct or_sqlite_table *table, struct onerow_error *error)
{
    if (table->find) {
        return ONEROW_OK;
    }
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_printf(&sql, "SELECT %s", table->id_sql ? table->id_sql : "NULL");
    for (size_t i = 0; i < table->base.n_columns; i++) {
        or_buffer_text(&sql, ", r.");
        add_name(&sql, table, i);
    }
    or_buffer_printf(&sql, " FROM %s AS r WHERE %s LIMIT 1", table->quoted, table->match);
    enum onerow_status status =
        or_sqlite_prepare_made(or_sqlite_store_of(table->base.store), &sql, &table->find, error);
    or_buffer_finish(&sql);
    return status;
}

static enum onerow_status read_row(struct or_sqlite_table *table, struct or_arena *arena,
                                   struct onerow_span *json, struct onerow_span *id,
                                   struct onerow_error *error)
{
    struct or_buffer row;
    or_buffer_init(&row);
    for (size_t i = 0; i < table->base.n_columns; i++) {
        or_buffer_char(&row, i ? ',' : '{');
        or_buffer_json(&row, or_span(column_name(table, i)));
        or_buffer_char(&row, ':');
        or_sqlite_json(table, i, sqlite3_column_value(table->find, (int)i + 1), &row);
    }
    or_buffer_char(&row, '}');
    *json = row.failed ? (struct onerow_span){0} : or_arena_copy(arena, or_buffer_view(&row));
    or_buffer_finish(&row);
    const char *text = (const char *)sqlite3_column_text(table->find, 0);
    *id = text ? or_arena_copy(arena, or_span(text)) : (struct onerow_span){0};
    return json->data ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

enum onerow_status or_sqlite_get(struct onerow_store_table *base, const struct onerow_record *key,
                                 struct or_arena *arena, struct onerow_span *json,
                                 struct onerow_span *id, struct onerow_error *error)
{
    struct or_sqlite_table *table = or_sqlite_table_of(base);
    struct writing w = {
        .table = table, .store = or_sqlite_store_of(base->store), .arena = arena, .error = error};
    struct onerow_verdict refused = {0};
    enum onerow_status status = prepare_find(table, error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = bind_record(&w, table->find, key, table->spec.n_key, &refused);
    if (status != ONEROW_OK) {
        return or_fail(error, status, "%s", refused.reason);
    }
    int code = sqlite3_step(table->find);
    if (code == SQLITE_ROW) {
        status = read_row(table, arena, json, id, error);
    } else if (code == SQLITE_DONE) {
        status = ONEROW_ABSENT;
    } else {
        status = or_sqlite_fail(w.store, code, "reading a row", error);
    }
    sqlite3_reset(table->find);
    return status;
}

/* ---- onerow sql -------------------------------------------------------------------------- */

static void add_public_policy(struct or_buffer *sql, const struct or_sqlite_table *table)
{
    bool first = true;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        const struct onerow_column *column = &table->base.columns[i];
        bool in_key = false;
        for (size_t k = 0; k < table->spec.n_key; k++) {
            in_key |= table->base.key[k] == i;
        }
        if (!in_key && !column->not_writable && (int)i != table->touch) {
            or_buffer_text(sql, first ? "(" : "\n    OR ");
            or_buffer_text(sql, "r.");
            add_name(sql, table, i);
            or_buffer_text(sql, " COLLATE BINARY IS NOT excluded.");
            add_name(sql, table, i);
            first = false;
        }
    }
    or_buffer_text(sql, first ? "0" : ")");
    if (table->order >= 0) {
        or_buffer_text(sql, "\n  AND (excluded.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_text(sql, " >= r.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_text(sql, " OR r.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_text(sql, " IS NULL)");
    }
}

static void add_public_columns(struct or_buffer *sql, const struct or_sqlite_table *table,
                               const char *before, const char *prefix)
{
    bool first = true;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (table->base.columns[i].not_writable) {
            continue;
        }
        or_buffer_text(sql, first ? before : ", ");
        if ((int)i == table->touch && *prefix) {
            or_buffer_text(sql, table->touch_sql);
        } else if (*prefix) {
            or_buffer_printf(sql, "?%zu", i + 1);
        } else {
            add_name(sql, table, i);
        }
        first = false;
    }
}

static void add_public_assignments(struct or_buffer *sql, const struct or_sqlite_table *table)
{
    bool first = true;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        bool in_key = false;
        for (size_t k = 0; k < table->spec.n_key; k++) {
            in_key |= table->base.key[k] == i;
        }
        if (in_key || table->base.columns[i].not_writable) {
            continue;
        }
        or_buffer_text(sql, first ? "\nDO UPDATE SET " : ", ");
        add_name(sql, table, i);
        or_buffer_text(sql, " = excluded.");
        add_name(sql, table, i);
        first = false;
    }
    if (first) {
        or_buffer_text(sql, "\nDO NOTHING;\n");
    } else {
        or_buffer_text(sql, "\nWHERE ");
        add_public_policy(sql, table);
        or_buffer_text(sql, ";\n");
    }
}

enum onerow_status or_sqlite_statement(struct onerow_store_table *base, const char *form,
                                       struct or_buffer *sql, struct onerow_error *error)
{
    const struct or_sqlite_table *table = or_sqlite_table_of(base);
    if (form && strcmp(form, "sqlite") != 0) {
        return or_fail(error, ONEROW_USAGE, "--for %s: a sqlite: store knows one form, sqlite",
                       form);
    }
    if (!(base->guarantees & ONEROW_ENFORCED)) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": there is no single statement for it while nothing enforces "
                       "its key\n  make the unique index; onerow check prints it",
                       table->name);
    }
    or_buffer_text(sql, "-- one row per key; run it with PRAGMA foreign_keys = ON\n");
    if (table->order >= 0) {
        or_buffer_text(sql,
                       "-- SQLite orders by number or byte; write timestamps in UTC and in one "
                       "form, or use onerow put\n");
    }
    or_buffer_printf(sql, "INSERT INTO %s AS r (", table->quoted);
    add_public_columns(sql, table, "", "");
    or_buffer_text(sql, ")\n");
    add_public_columns(sql, table, "VALUES (", "?");
    or_buffer_printf(sql, ")\nON CONFLICT (%s)", table->target);
    if (table->spec.policy == ONEROW_POLICY_KEEP) {
        or_buffer_text(sql, "\nDO NOTHING;\n");
    } else {
        add_public_assignments(sql, table);
    }
    return sql->failed ? or_fail(error, ONEROW_NOMEM, "out of memory") : ONEROW_OK;
}
