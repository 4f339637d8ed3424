/* SPDX-License-Identifier: Apache-2.0
 *
 * Many records at once. A sample of their keys, spread evenly, is looked up first; what it
 * tells holds for these records now, which no statistics of the table's can promise:
 *
 *   none is there             COPY straight into the table, sorted by key
 *   half or more are equal    staging: COPY into a temporary table, and one upsert from there that
 *                             leaves equal rows out beforehand
 *   else                      the upsert of arrays
 *
 * COPY can only create, and it names no arbiter: the upsert is run without rows before it, which
 * fails when the unique index is gone and otherwise keeps it there. A key that is there all the
 * same (the sample missed it, or somebody else was faster) ends it with 23505: it is undone to a
 * savepoint, and the upsert takes the records, so that the outcomes are the same whichever way was
 * taken. Any other error of COPY goes the same way; the upsert then finds out which record is at
 * fault.
 *
 * Staging reads each value once, where the filter over arrays reads it to compare and again to
 * write. It is worth its table only for many rows that stay as they are: bench/postgres/
 * staging_trial.py compares. The temporary table lives in this transaction alone, so that poolers
 * do not mind; a role that may make none gets the arrays.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define SAMPLE      128U
#define COPY_MISSES 8U /* runs without a COPY after one that failed */

/* ---- sample -------------------------------------------------------------------------- */

struct sample {
    size_t asked;
    size_t found;
    size_t unchanged; /* of those found: writing them would change nothing */
};

static enum onerow_status take_sample(struct or_postgres_work *work,
                                      const struct or_postgres_group *run, struct sample *sample)
{
    uint32_t rows[SAMPLE];
    struct or_postgres_group group = {.shape = run->shape, .rows = rows};
    PGresult *result = NULL;
    size_t n = run->n < SAMPLE ? run->n : SAMPLE;
    for (size_t i = 0; i < n; i++) {
        rows[group.n++] = run->rows[i * run->n / n];
    }
    enum onerow_status status = or_postgres_call_run(work, &group, OR_SQL_LOOK, &result);
    if (status != ONEROW_OK) {
        return status;
    }
    *sample = (struct sample){.asked = n, .found = (size_t)PQntuples(result)};
    bool keep = work->table->spec.policy == ONEROW_POLICY_KEEP;
    for (int row = 0; row < PQntuples(result); row++) {
        sample->unchanged += keep || !or_postgres_bool(result, row, OR_LOOK_DIFFERS) ||
                             or_postgres_bool(result, row, OR_LOOK_OLDER);
    }
    PQclear(result);
    return ONEROW_OK;
}

/* ---- into the table ------------------------------------------------------------------------ */

static enum onerow_status run_plain(struct or_postgres_work *work, const char *first,
                                    const char *second)
{
    struct or_postgres_statement statements[] = {{.sql = first}, {.sql = second}};
    unsigned n = second ? 2 : 1;
    enum onerow_status status = or_postgres_run(work->store, statements, n, NULL, work->error);
    for (unsigned i = 0; i < n && status == ONEROW_OK; i++) {
        PQclear(statements[i].result);
    }
    return status;
}

static enum onerow_status try_copy(struct or_postgres_work *work,
                                   const struct or_postgres_group *run, bool *done)
{
    long copied = -1;
    enum onerow_status status = or_postgres_try_statement(work, run);
    if (status == ONEROW_OK) {
        status = run_plain(work, "SAVEPOINT onerow", NULL);
    }
    if (status == ONEROW_OK) {
        status = or_postgres_copy(work, run, OR_SQL_COPY, &copied);
    }
    if (status != ONEROW_OK) {
        return status;
    }
    *done = copied >= 0 && (size_t)copied == run->n;
    return *done ? run_plain(work, "RELEASE SAVEPOINT onerow", NULL)
                 : run_plain(work, "ROLLBACK TO SAVEPOINT onerow", "RELEASE SAVEPOINT onerow");
}

/* Whether a row's id is told by the text that was sent for its key. */
static bool id_is_sent(const struct or_postgres_table *table)
{
    enum onerow_type type = table->base.key_types[0];
    return table->id_is_key && (type == ONEROW_TYPE_TEXT || type == ONEROW_TYPE_INT);
}

/* COPY evaluates defaults as INSERT does, but it takes no expression for updated_at, returns no
 * ids, ignores nothing that a trigger swallows, and is refused under row security. */
static bool may_copy(const struct or_postgres_work *work)
{
    const struct or_postgres_table *table = work->table;
    bool ids = table->spec.want_ids && table->id_sql && !id_is_sent(table);
    return table->touch < 0 && !ids && !table->has_insert_triggers && !table->has_row_triggers &&
           !table->has_row_security;
}

/* The id of a row that COPY made is its key, or nobody asked. */
static struct onerow_span key_id(const struct or_postgres_work *work, uint32_t record)
{
    const struct or_postgres_table *table = work->table;
    return table->spec.want_ids && table->id_sql ? work->texts[record][0] : (struct onerow_span){0};
}

static enum onerow_status copy_into_table(struct or_postgres_work *work,
                                          const struct or_postgres_group *run, bool *done)
{
    if (run->shape->no_copy) {
        run->shape->no_copy--;
        return ONEROW_OK;
    }
    enum onerow_status status = try_copy(work, run, done);
    run->shape->no_copy = *done ? 0 : COPY_MISSES;
    for (size_t i = 0; i < run->n && status == ONEROW_OK && *done; i++) {
        struct onerow_verdict *verdict = &work->verdicts[run->rows[i]];
        verdict->outcome = ONEROW_CREATED;
        verdict->id = key_id(work, run->rows[i]);
    }
    return status;
}

/* ---- by staging ------------------------------------------------------------------------------ */

/* The table with the rows in it. *staged false: it could not be made or filled, and is not there.
 */
static enum onerow_status stage(struct or_postgres_work *work, const struct or_postgres_group *run,
                                bool *staged)
{
    long copied = -1;
    const char *create = or_postgres_sql_of(work->table, run->shape, OR_SQL_STAGE_CREATE);
    if (!create) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status = run_plain(work, "SAVEPOINT onerow", create);
    bool refused = PQtransactionStatus(work->store->conn) == PQTRANS_INERROR;
    if (status == ONEROW_OK) {
        status = or_postgres_copy(work, run, OR_SQL_STAGE_COPY, &copied);
    } else if (refused) {
        run->shape->no_stage = true;
        status = ONEROW_OK;
    }
    if (status != ONEROW_OK) {
        return status;
    }
    *staged = copied >= 0 && (size_t)copied == run->n;
    return *staged ? ONEROW_OK
                   : run_plain(work, "ROLLBACK TO SAVEPOINT onerow", "RELEASE SAVEPOINT onerow");
}

static enum onerow_status upsert_staged(struct or_postgres_work *work,
                                        const struct or_postgres_group *run)
{
    struct or_postgres_statement statements[] = {
        {.sql = "RELEASE SAVEPOINT onerow"},
        {.sql = or_postgres_sql_of(work->table, run->shape, OR_SQL_UPSERT_STAGED)},
        {.sql = "DROP TABLE pg_temp.onerow_staged"}};
    if (!statements[1].sql) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status = or_postgres_run(work->store, statements, 3, NULL, work->error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = or_postgres_match(work, run, statements[1].result, or_postgres_take_upserted);
    run->shape->unchanged = 1.0 - (double)PQntuples(statements[1].result) / (double)run->n;
    for (unsigned i = 0; i < 3; i++) {
        PQclear(statements[i].result);
    }
    return status == ONEROW_OK ? or_postgres_judge(work, run) : status;
}

static enum onerow_status by_staging(struct or_postgres_work *work,
                                     const struct or_postgres_group *run, bool *done)
{
    enum onerow_status status = stage(work, run, done);
    return status == ONEROW_OK && *done ? upsert_staged(work, run) : status;
}

enum onerow_status or_postgres_bulk(struct or_postgres_work *work,
                                    const struct or_postgres_group *run, bool *done)
{
    struct sample sample;
    *done = false;
    enum onerow_status status = take_sample(work, run, &sample);
    if (status != ONEROW_OK) {
        return status;
    }
    run->shape->unchanged = (double)sample.unchanged / (double)sample.asked;
    if (!sample.found) {
        return may_copy(work) ? copy_into_table(work, run, done) : ONEROW_OK;
    }
    bool suits = or_postgres_filters(work, run->shape) && !run->shape->no_stage;
    return suits ? by_staging(work, run, done) : ONEROW_OK;
}
