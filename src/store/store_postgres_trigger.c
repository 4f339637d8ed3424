/* SPDX-License-Identifier: Apache-2.0
 *
 * What triggers make of records for which no row came back although their rows differ from
 * them. Nothing of the asking stays: it happens under a savepoint that is rolled back.
 *
 *   the statement without its condition
 *     a row comes back            the triggers make of the record what the row holds: unchanged
 *     none                        the statement as it is, under EXPLAIN ANALYZE
 *       the condition left it     the same, and an UPDATE trigger swallowed the write that was
 *       alone                     not needed: unchanged
 *       suppressed                suppress_redundant_updates_trigger() was the last trigger to
 *                                 be called: what those before it made was equal to the row, so
 *                                 that nothing would have changed: unchanged
 *       else                      swallowed: rejected
 *
 * A trigger that returns NULL ends the row there and then, so that those behind it, in the
 * order of their names, are not called. The report counts the calls of each trigger, for all
 * rows of the statement together: where it does not speak of all of them, the records are
 * halved. A trigger that is called for INSERT, too, was called for each row once before the
 * conflict was found; where it has a WHEN, nobody knows how often, and a call of it counts as
 * one behind.
 */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "store/store_postgres_write.h"

/* $1 the report, $2 how many rows it is about, $3 for how many INSERT triggers were called, $4 the
 * table. Types of triggers (pg_trigger.h): 1 row, 2 before, 4 insert, 16 update. Partitions have
 * triggers of their own; the report names relations without their schema, so that one whose name
 * is not the only one counts for nothing. */
static const char report_sql[] =
    "WITH told AS (SELECT $1::text::json -> 0 AS report), "
    "relation AS (SELECT c.relname, pg_catalog.min(c.oid) AS oid FROM pg_catalog.pg_class AS c "
    "WHERE c.oid = $4::text::oid OR c.oid IN (SELECT p.relid FROM "
    "pg_catalog.pg_partition_tree($4::text::oid) AS p) GROUP BY c.relname HAVING "
    "pg_catalog.count(*) = 1), "
    "called AS (SELECT t.tgrelid, t.tgname, t.tgfoid = "
    "'pg_catalog.suppress_redundant_updates_trigger()'::pg_catalog.regprocedure AS suppresses, "
    "(x.call ->> 'Calls')::float8 - CASE WHEN t.tgtype & 4 <> 0 AND t.tgqual IS NULL THEN "
    "$3::text::float8 ELSE 0 END AS calls "
    "FROM told CROSS JOIN LATERAL pg_catalog.json_array_elements(told.report -> 'Triggers') AS "
    "x(call) JOIN relation AS r ON r.relname = x.call ->> 'Relation' JOIN pg_catalog.pg_trigger "
    "AS t ON t.tgrelid = r.oid AND t.tgname = x.call ->> 'Trigger Name' WHERE t.tgtype & 19 = 19), "
    "suppressed AS (SELECT c.calls, NOT EXISTS (SELECT 1 FROM called AS d WHERE d.tgrelid = "
    "c.tgrelid AND d.tgname > c.tgname AND d.calls > 0) AS last FROM called AS c WHERE "
    "c.suppresses), "
    "counted AS (SELECT coalesce((told.report #>> '{Plan,Rows Removed by Conflict "
    "Filter}')::float8,"
    " 0) AS equal, coalesce((SELECT pg_catalog.sum(s.calls) FROM suppressed AS s), 0) AS calls, "
    "coalesce((SELECT pg_catalog.sum(s.calls) FROM suppressed AS s WHERE s.last), 0) AS last "
    "FROM told) "
    "SELECT equal + last = $2::text::float8, equal + calls > 0 FROM counted";

/* Of how many records of a group it is certain that their rows are what triggers make of them. */
struct told {
    bool all;
    bool any; /* perhaps; otherwise certainly of none */
};

/* Runs a call and rolls it back; *result is the caller's. */
static enum onerow_status run_undone(struct or_postgres_work *work,
                                     const struct or_postgres_group *group,
                                     enum or_postgres_sql kind, PGresult **result)
{
    struct or_postgres_call call;
    struct or_postgres_statement statements[] = {{.sql = "SAVEPOINT onerow"},
                                                 {0},
                                                 {.sql = "ROLLBACK TO SAVEPOINT onerow"},
                                                 {.sql = "RELEASE SAVEPOINT onerow"}};
    *result = NULL;
    enum onerow_status status = or_postgres_call_make(work, group, kind, &call);
    if (status == ONEROW_OK) {
        statements[1] = (struct or_postgres_statement){
            .sql = group->shape->sql[kind], .params = call.list, .n_params = call.n_list};
        status = or_postgres_run(work->store, statements, 4, NULL, work->error);
    }
    or_postgres_call_finish(&call);
    if (status == ONEROW_OK) {
        PQclear(statements[0].result);
        PQclear(statements[2].result);
        PQclear(statements[3].result);
        *result = statements[1].result;
    }
    return status;
}

static enum onerow_status read_report(struct or_postgres_work *work,
                                      const struct or_postgres_group *group, bool inserts,
                                      const PGresult *report, struct told *told)
{
    char rows[24];
    char inserted[24];
    char oid[12];
    snprintf(rows, sizeof rows, "%zu", group->n);
    snprintf(inserted, sizeof inserted, "%zu", inserts ? group->n : 0);
    snprintf(oid, sizeof oid, "%u", work->table->oid);
    const struct or_postgres_param params[] = {
        {PQgetvalue(report, 0, 0), PQgetlength(report, 0, 0), OR_OID_TEXT},
        {rows, (int)strlen(rows), OR_OID_TEXT},
        {inserted, (int)strlen(inserted), OR_OID_TEXT},
        {oid, (int)strlen(oid), OR_OID_TEXT},
    };
    struct or_postgres_statement read = {.sql = report_sql, .params = params, .n_params = 4};
    enum onerow_status status = or_postgres_run(work->store, &read, 1, NULL, work->error);
    if (status == ONEROW_OK) {
        told->all = or_postgres_bool(read.result, 0, 0);
        told->any = or_postgres_bool(read.result, 0, 1);
        PQclear(read.result);
    }
    return status;
}

static enum onerow_status explain(struct or_postgres_work *work,
                                  const struct or_postgres_group *group, struct told *told)
{
    bool inserts = work->table->arbiter && !group->shape->lacks;
    PGresult *report = NULL;
    enum onerow_status status =
        run_undone(work, group, inserts ? OR_SQL_EXPLAIN_UPSERT : OR_SQL_EXPLAIN_UPDATE, &report);
    if (status == ONEROW_OK) {
        status = read_report(work, group, inserts, report, told);
    }
    PQclear(report);
    return status;
}

enum onerow_status or_postgres_tell_swallowed(struct or_postgres_work *work,
                                              const struct or_postgres_group *group)
{
    struct told told = {0};
    enum onerow_status status = explain(work, group, &told);
    if (status != ONEROW_OK) {
        return status;
    }
    if (told.any && !told.all && group->n > 1) {
        size_t half = group->n / 2;
        struct or_postgres_group front = {group->shape, group->rows, half};
        struct or_postgres_group back = {group->shape, group->rows + half, group->n - half};
        status = or_postgres_tell_swallowed(work, &front);
        return status == ONEROW_OK ? or_postgres_tell_swallowed(work, &back) : status;
    }
    for (size_t i = 0; i < group->n; i++) {
        struct onerow_verdict *verdict = &work->verdicts[group->rows[i]];
        if (told.all) {
            verdict->outcome = ONEROW_UNCHANGED;
        } else {
            or_postgres_refuse(verdict, or_postgres_swallowed);
        }
    }
    return ONEROW_OK;
}

static void take_normalised(struct or_postgres_work *work, uint32_t record, const PGresult *result,
                            int row)
{
    (void)result;
    (void)row;
    work->verdicts[record].outcome = ONEROW_UNCHANGED;
}

enum onerow_status or_postgres_ask_triggers(struct or_postgres_work *work,
                                            const struct or_postgres_group *group)
{
    enum or_postgres_sql kind = group->shape->lacks ? OR_SQL_UPDATE_ALWAYS : OR_SQL_UPSERT_ALWAYS;
    struct or_postgres_group rest;
    PGresult *result = NULL;
    enum onerow_status status = run_undone(work, group, kind, &result);
    if (status == ONEROW_OK && !or_postgres_is_update(kind)) {
        status = or_postgres_match(work, group, result, take_normalised);
    } else if (status == ONEROW_OK) {
        for (int row = 0; row < PQntuples(result); row++) {
            size_t at = (size_t)or_postgres_int8(result, row, OR_UPDATE_AT) - 1;
            take_normalised(work, group->rows[at], result, row);
        }
    }
    PQclear(result);
    if (status == ONEROW_OK) {
        status = or_postgres_pending(work, group, &rest);
    }
    return status == ONEROW_OK && rest.n ? or_postgres_tell_swallowed(work, &rest) : status;
}
