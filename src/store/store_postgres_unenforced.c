/* SPDX-License-Identifier: Apache-2.0
 *
 * One row per key where nothing enforces it (`unenforced: accept`): cooperating writers
 * lock the key in a table that does enforce it, in the same database and transaction.
 *
 *   onerow_keys (key PRIMARY KEY)          a row for each key that was ever written
 *   onerow_fence (scope PRIMARY KEY, …)    a row for each such table; a merge updates it,
 *                                          puts share it
 *
 *   1. the table's fence row FOR SHARE
 *   2. INSERT INTO onerow_keys … ON CONFLICT DO NOTHING, in the order of the keys
 *   3. in a later statement SELECT … FOR UPDATE, whose count must be that of the keys
 *   4. in later statements look at the target: no row -> insert; one -> the policy, and the
 *      UPDATE must report exactly one row; several -> rejected
 *
 * 2 alone does not lock a key that exists already, and somebody may delete it before 3:
 * then both are done again. "Later" statements, because READ COMMITTED gives each
 * statement a snapshot of its own: one that was taken before the lock was had does not
 * show what the lock's former holder wrote. For the same reason the isolation level is
 * never a higher one.
 *
 * Writers that do not take the lock can make a second row; audit finds it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define KEY_MAX   1000U /* bytes of a key that are stored as they are; a B-tree takes 2,704 */
#define LOCK_MAX  100U  /* keys that keep disappearing under our hands */
#define LOOKS_MAX 100U
#define SWALLOWED 3U /* looks after which a trigger must be it, where there are any */

/* ---- the two tables ----------------------------------------------------------------------- */

static void add_fence(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_postgres_quote(sql, table->schema);
    or_buffer_text(sql, ".onerow_fence");
}

/* One statement with text parameters, inside the transaction; its result is not of interest. */
static enum onerow_status perform(struct or_postgres_work *work, const struct or_buffer *sql,
                                  const struct or_postgres_param *params, unsigned n, int *rows)
{
    if (sql->failed) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    struct or_postgres_statement statement = {
        .sql = or_buffer_cstr(sql), .params = params, .n_params = n};
    enum onerow_status status = or_postgres_run(work->store, &statement, 1, NULL, work->error);
    if (status == ONEROW_OK) {
        *rows = PQntuples(statement.result);
        PQclear(statement.result);
    }
    return status;
}

static enum onerow_status are_there(struct or_postgres_work *work, bool *there)
{
    struct or_buffer sql;
    int rows = 0;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "SELECT 1 WHERE pg_catalog.to_regclass(");
    or_postgres_literal(&sql, work->table->keys_table);
    or_buffer_text(&sql, ") IS NOT NULL AND pg_catalog.to_regclass(");
    struct or_buffer fence;
    or_buffer_init(&fence);
    add_fence(&fence, work->table);
    or_postgres_literal(&sql, or_buffer_cstr(&fence));
    sql.failed |= fence.failed;
    or_buffer_finish(&fence);
    or_buffer_text(&sql, ") IS NOT NULL");
    enum onerow_status status = perform(work, &sql, NULL, 0, &rows);
    or_buffer_finish(&sql);
    *there = rows == 1;
    return status;
}

/* One maker at a time: CREATE TABLE IF NOT EXISTS fails where two of them meet. */
static enum onerow_status make_tables(struct or_postgres_work *work)
{
    struct or_buffer turn;
    struct or_buffer keys;
    struct or_buffer fence;
    int rows = 0;
    or_buffer_init(&turn);
    or_buffer_init(&keys);
    or_buffer_init(&fence);
    or_buffer_text(&turn, "SELECT pg_catalog.pg_advisory_xact_lock("
                          "pg_catalog.hashtextextended('onerow_keys', 0))");
    or_buffer_printf(&keys, "CREATE TABLE IF NOT EXISTS %s " OR_POSTGRES_KEYS_COLUMNS,
                     work->table->keys_table);
    or_buffer_text(&fence, "CREATE TABLE IF NOT EXISTS ");
    add_fence(&fence, work->table);
    or_buffer_text(&fence, " " OR_POSTGRES_FENCE_COLUMNS);
    enum onerow_status status = perform(work, &turn, NULL, 0, &rows);
    if (status == ONEROW_OK) {
        status = perform(work, &keys, NULL, 0, &rows);
    }
    if (status == ONEROW_OK) {
        status = perform(work, &fence, NULL, 0, &rows);
    }
    or_buffer_finish(&turn);
    or_buffer_finish(&keys);
    or_buffer_finish(&fence);
    return status;
}

/* "schema.table": the scope of the whole table, and what its keys begin with. */
static const char *scope_of(struct or_postgres_work *work)
{
    return or_arena_printf(work->arena, "%s.%s", work->table->schema, work->table->name);
}

static enum onerow_status share_fence(struct or_postgres_work *work, const char *scope)
{
    struct or_buffer make;
    struct or_buffer take;
    int rows = 0;
    struct or_postgres_param name = {scope, (int)strlen(scope), OR_OID_TEXT};
    or_buffer_init(&make);
    or_buffer_init(&take);
    or_buffer_text(&make, "INSERT INTO ");
    add_fence(&make, work->table);
    or_buffer_text(&make, " (scope) VALUES ($1) ON CONFLICT (scope) DO NOTHING");
    or_buffer_text(&take, "SELECT 1 FROM ");
    add_fence(&take, work->table);
    or_buffer_text(&take, " WHERE scope = $1 FOR SHARE");
    enum onerow_status status = perform(work, &take, &name, 1, &rows);
    for (unsigned i = 0; status == ONEROW_OK && rows == 0 && i < LOCK_MAX; i++) {
        status = perform(work, &make, &name, 1, &rows);
        if (status == ONEROW_OK) {
            status = perform(work, &take, &name, 1, &rows);
        }
    }
    or_buffer_finish(&make);
    or_buffer_finish(&take);
    if (status == ONEROW_OK && rows != 1) {
        return or_fail(work->error, ONEROW_RETRY, "the table's fence row keeps disappearing");
    }
    return status;
}

/* ---- the keys ---------------------------------------------------------------------------------
 */

/* What stands for a record's key in onerow_keys. data NULL: out of memory. */
static struct onerow_span lock_name(struct or_postgres_work *work, const char *scope,
                                    struct onerow_span key)
{
    if (key.len <= KEY_MAX) {
        return or_span(or_arena_printf(work->arena, "%s|%.*s", scope, (int)key.len, key.data));
    }
    char hex[OR_SHA256_HEX];
    or_sha256_hex(key, hex);
    return or_span(or_arena_printf(work->arena, "%s|sha256:%s", scope, hex));
}

static int compare_names(const void *left, const void *right)
{
    return or_span_compare(*(const struct onerow_span *)left, *(const struct onerow_span *)right);
}

/* The keys of this part of the batch, each once, sorted: all writers lock them in one order. */
static enum onerow_status name_keys(struct or_postgres_work *work, const char *scope,
                                    struct or_buffer *array, size_t *n)
{
    struct onerow_span *names = or_arena_alloc(work->arena, work->n * sizeof *names);
    size_t all = 0;
    for (size_t i = work->first; names && i < work->end; i++) {
        if (work->verdicts[i].outcome == ONEROW_PENDING) {
            names[all] = lock_name(work, scope, work->records[i]->key);
            if (!names[all++].data) {
                return or_fail(work->error, ONEROW_NOMEM, "out of memory");
            }
        }
    }
    *n = 0;
    if (names) {
        qsort(names, all, sizeof *names, compare_names);
        for (size_t i = 0; i < all; i++) {
            if (*n == 0 || !or_span_equal(names[i], names[*n - 1])) {
                names[(*n)++] = names[i];
            }
        }
        or_postgres_text_array(array, names, *n);
    }
    return names && !array->failed ? ONEROW_OK
                                   : or_fail(work->error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status lock(struct or_postgres_work *work, const struct or_buffer *array,
                               size_t n)
{
    struct or_buffer make;
    struct or_buffer take;
    struct or_postgres_param names = {array->data, (int)array->len, OR_OID_TEXT_ARRAY};
    int ignored = 0;
    int rows = 0;
    or_buffer_init(&make);
    or_buffer_init(&take);
    or_buffer_printf(
        &make,
        "INSERT INTO %s (key) SELECT k FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY "
        "AS v(k, o) ORDER BY o ON CONFLICT (key) DO NOTHING",
        work->table->keys_table);
    or_buffer_printf(&take, "SELECT 1 FROM %s WHERE key = ANY($1::text[]) ORDER BY key FOR UPDATE",
                     work->table->keys_table);
    enum onerow_status status = ONEROW_OK;
    for (unsigned i = 0; status == ONEROW_OK && (size_t)rows != n && i < LOCK_MAX; i++) {
        status = perform(work, &make, &names, 1, &ignored);
        if (status == ONEROW_OK) {
            status = perform(work, &take, &names, 1, &rows);
        }
    }
    or_buffer_finish(&make);
    or_buffer_finish(&take);
    if (status == ONEROW_OK && (size_t)rows != n) {
        return or_fail(work->error, ONEROW_RETRY, "keys in %s keep disappearing",
                       work->table->keys_table);
    }
    return status;
}

enum onerow_status or_postgres_lock_keys(struct or_postgres_work *work)
{
    const char *scope = scope_of(work);
    bool there = true;
    struct or_buffer array;
    size_t n = 0;
    if (!scope) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status = are_there(work, &there);
    if (status == ONEROW_OK && !there) {
        status = make_tables(work);
    }
    if (status == ONEROW_OK) {
        status = share_fence(work, scope);
    }
    or_buffer_init(&array);
    if (status == ONEROW_OK) {
        status = name_keys(work, scope, &array, &n);
    }
    if (status == ONEROW_OK && n) {
        status = lock(work, &array, n);
    }
    or_buffer_finish(&array);
    return status;
}

/* ---- the target ------------------------------------------------------------------------------ */

/* What a look at the target found for the rows of a group. */
struct finding {
    uint32_t rows;
    bool differs;
    bool older;
    struct onerow_span id;
};

static struct finding *look(struct or_postgres_work *work, const struct or_postgres_group *group,
                            enum onerow_status *status)
{
    struct finding *found = or_arena_alloc(work->arena, group->n * sizeof *found);
    PGresult *result = NULL;
    *status = found ? or_postgres_call_run(work, group, OR_SQL_LOOK, &result)
                    : or_fail(work->error, ONEROW_NOMEM, "out of memory");
    if (*status != ONEROW_OK || !found) {
        return NULL;
    }
    memset(found, 0, group->n * sizeof *found);
    for (int row = 0; row < PQntuples(result); row++) {
        struct finding *one = &found[or_postgres_int8(result, row, OR_LOOK_AT) - 1];
        one->rows++;
        one->differs = or_postgres_bool(result, row, OR_LOOK_DIFFERS);
        one->older = or_postgres_bool(result, row, OR_LOOK_OLDER);
        one->id = or_postgres_got_id(work, result, row, OR_LOOK_ID);
    }
    PQclear(result);
    return found;
}

enum step { SETTLED, INSERT, UPDATE };

static enum step decide(struct or_postgres_work *work, const struct or_postgres_group *group,
                        const struct finding *found, struct onerow_verdict *verdict)
{
    const char *lacks = group->shape->lacks;
    if (found->rows > 1) {
        or_postgres_refuse(verdict, "several rows have this key; onerow audit lists them");
        return SETTLED;
    }
    if (found->rows == 0 && lacks) {
        const char *reason = or_arena_printf(
            work->arena, "no row has this key, and a new one needs column \"%s\"", lacks);
        or_postgres_refuse(verdict, reason ? reason : "no row has this key");
        return SETTLED;
    }
    if (found->rows == 0) {
        return INSERT;
    }
    bool keep = work->table->spec.policy == ONEROW_POLICY_KEEP;
    verdict->id = found->id;
    if (found->differs && !keep && !found->older) {
        return UPDATE;
    }
    verdict->outcome = ONEROW_UNCHANGED;
    verdict->reason = !found->differs ? NULL : keep ? "kept" : "older";
    return SETTLED;
}

static enum onerow_status insert_rows(struct or_postgres_work *work,
                                      const struct or_postgres_group *group)
{
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_call_run(work, group, OR_SQL_INSERT, &result);
    if (status == ONEROW_OK) {
        status = or_postgres_match(work, group, result, or_postgres_take_upserted);
    }
    PQclear(result);
    for (size_t i = 0; status == ONEROW_OK && i < group->n; i++) {
        struct onerow_verdict *verdict = &work->verdicts[group->rows[i]];
        if (verdict->outcome == ONEROW_PENDING) {
            or_postgres_refuse(verdict, or_postgres_swallowed);
        }
    }
    return status;
}

/* Rows that are not reported have been deleted (or written) by somebody else since the look; their
 * verdicts stay PENDING. Two rows for one key: somebody has just made a second one. */
static enum onerow_status update_rows(struct or_postgres_work *work,
                                      const struct or_postgres_group *group)
{
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_call_run(work, group, OR_SQL_UPDATE, &result);
    for (int row = 0; status == ONEROW_OK && row < PQntuples(result); row++) {
        size_t at = (size_t)or_postgres_int8(result, row, OR_UPDATE_AT) - 1;
        struct onerow_verdict *verdict = &work->verdicts[group->rows[at]];
        if (verdict->outcome != ONEROW_PENDING) {
            status = or_fail(work->error, ONEROW_RETRY, "a second row with the key appeared");
        }
        verdict->outcome = ONEROW_UPDATED;
    }
    PQclear(result);
    return status;
}

/* One look at the rows of a group that have no verdict yet, and what follows from it. */
static enum onerow_status look_and_write(struct or_postgres_work *work,
                                         const struct or_postgres_group *group)
{
    enum onerow_status status = ONEROW_OK;
    struct finding *found = look(work, group, &status);
    uint32_t *inserts = or_arena_alloc(work->arena, group->n * sizeof *inserts);
    uint32_t *updates = or_arena_alloc(work->arena, group->n * sizeof *updates);
    struct or_postgres_group insert = {.shape = group->shape, .rows = inserts};
    struct or_postgres_group update = {.shape = group->shape, .rows = updates};
    if (!found) {
        return status;
    }
    if (!inserts || !updates || !group->rows) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < group->n; i++) {
        switch (decide(work, group, &found[i], &work->verdicts[group->rows[i]])) {
        case SETTLED: break;
        case INSERT: inserts[insert.n++] = group->rows[i]; break;
        case UPDATE: updates[update.n++] = group->rows[i]; break;
        }
    }
    if (insert.n) {
        status = insert_rows(work, &insert);
    }
    return status == ONEROW_OK && update.n ? update_rows(work, &update) : status;
}

enum onerow_status or_postgres_write_locked(struct or_postgres_work *work,
                                            const struct or_postgres_group *run)
{
    enum onerow_status status = ONEROW_OK;
    struct or_postgres_group rest = *run;
    for (unsigned looks = 0; status == ONEROW_OK && rest.n; looks++) {
        if (looks == SWALLOWED && work->table->has_row_triggers) {
            return or_postgres_tell_swallowed(work, &rest);
        }
        if (looks == LOOKS_MAX) {
            return or_fail(work->error, ONEROW_RETRY, "rows keep disappearing under the lock");
        }
        status = look_and_write(work, &rest);
        if (status == ONEROW_OK) {
            status = or_postgres_pending(work, run, &rest);
        }
    }
    return status;
}
