/* SPDX-License-Identifier: Apache-2.0
 *
 * Running statements: pipelines, and what each transaction begins with.
 *
 *   run     [BEGIN, settings,] statement, statement, …, sync: one round trip
 *   ask     one statement in text format, for catalogs
 *
 * - READ COMMITTED: each statement sees what is committed when it starts, so that a
 *   statement after a lock sees what the lock's former holder wrote.
 * - No session state: settings are set_config(…, true), which end with the transaction;
 *   statements have no names. Behind a pooler each transaction may meet another session.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_postgres_session.h"

/* What every transaction begins with. wait_ms bounds the waits for locks, and statements where the
 * role has no bound of its own: one that nobody waits for any more must not go on and hold its
 * locks. A commit is acknowledged when it is on disk, whatever the default. No statement is
 * compiled: the planner guesses wrong about a table that was filled a moment ago, and compiling
 * takes longer than any of these statements. */
#define SETTINGS                                                                                   \
    "SELECT pg_catalog.set_config('TimeZone', 'UTC', true), "                                      \
    "pg_catalog.set_config('DateStyle', 'ISO, MDY', true), "                                       \
    "pg_catalog.set_config('lock_timeout', '%d', true), "                                          \
    "pg_catalog.set_config('array_nulls', 'on', true), "                                           \
    "pg_catalog.set_config('IntervalStyle', 'postgres', true), "                                   \
    "pg_catalog.set_config('jit', 'off', true), "                                                  \
    "CASE WHEN pg_catalog.current_setting('statement_timeout') = '0' "                             \
    "THEN pg_catalog.set_config('statement_timeout', '%d', true) END, "                            \
    "CASE WHEN pg_catalog.current_setting('synchronous_commit') = 'off' "                          \
    "THEN pg_catalog.set_config('synchronous_commit', 'on', true) END"

#define PREAMBLE 2U /* statements before the first one of a transaction */

static bool send_statement(struct or_postgres_store *store,
                           const struct or_postgres_statement *statement)
{
    unsigned n = statement->n_params;
    Oid *types = calloc(n + 1U, sizeof *types);
    const char **values = calloc(n + 1U, sizeof *values);
    int *lens = calloc(n + 1U, sizeof *lens);
    int *formats = calloc(n + 1U, sizeof *formats);
    bool sent = types && values && lens && formats;
    for (unsigned i = 0; sent && i < n; i++) {
        types[i] = statement->params[i].type;
        values[i] = statement->params[i].data;
        lens[i] = statement->params[i].len;
        formats[i] = 1;
    }
    sent = sent &&
           PQsendQueryParams(store->conn, statement->sql, (int)n, types, values, lens, formats, 1);
    free(types);
    free((void *)values);
    free(lens);
    free(formats);
    return sent;
}

static bool send_preamble(struct or_postgres_store *store)
{
    char settings[sizeof SETTINGS + 48];
    /* 0 would stand for "for ever". */
    int wait_ms = store->wait_ms > INT_MAX ? INT_MAX : store->wait_ms ? (int)store->wait_ms : 1;
    int longest = wait_ms > INT_MAX - (int)OR_POSTGRES_GRACE_MS
                      ? INT_MAX
                      : wait_ms + (int)OR_POSTGRES_GRACE_MS;
    snprintf(settings, sizeof settings, SETTINGS, wait_ms, longest);
    struct or_postgres_statement begin = {
        .sql = store->read_only ? "BEGIN ISOLATION LEVEL READ COMMITTED"
                                : "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"};
    struct or_postgres_statement set = {.sql = settings};
    return send_statement(store, &begin) && send_statement(store, &set);
}

static bool send_all(struct or_postgres_store *store,
                     const struct or_postgres_statement *statements, unsigned n, bool begin)
{
    bool sent = PQenterPipelineMode(store->conn) && (!begin || send_preamble(store));
    for (unsigned i = 0; sent && i < n; i++) {
        sent = send_statement(store, &statements[i]);
    }
    return sent && PQpipelineSync(store->conn);
}

/* The answer to one statement of a pipeline: its result and the NULL behind it. */
static enum onerow_status receive_one(struct or_postgres_store *store, PGresult **result,
                                      struct onerow_error *error)
{
    PGresult *end = NULL;
    enum onerow_status status = or_postgres_next(store, result, error);
    if (status == ONEROW_OK && *result) {
        status = or_postgres_next(store, &end, error);
        PQclear(end);
    }
    return status;
}

/* No record is to blame for what BEGIN and the settings were refused for. */
static enum onerow_status judge_preamble(enum onerow_status status, const PGresult *result,
                                         struct onerow_error *error)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool standby = code && strcmp(code, "0A000") == 0; /* READ WRITE during recovery */
    return status != ONEROW_REJECTED
               ? status
               : or_postgres_rename_failure(error, standby ? ONEROW_READONLY : ONEROW_CONFIG);
}

/* Takes the answers up to the sync. The first failure decides; what follows it was not executed. */
static enum onerow_status receive_all(struct or_postgres_store *store,
                                      struct or_postgres_statement *statements, unsigned n,
                                      unsigned before, size_t *failed, struct onerow_error *error)
{
    enum onerow_status worst = ONEROW_OK;
    PGresult *result = NULL;
    for (unsigned i = 0; i < before + n; i++) {
        enum onerow_status status = receive_one(store, &result, error);
        if (status != ONEROW_OK) {
            PQclear(result);
            return status;
        }
        if (worst == ONEROW_OK && !or_postgres_is_answer(result)) {
            worst = or_postgres_fail(store, result, i < before ? "beginning" : "writing", error);
            worst = i < before ? judge_preamble(worst, result, error) : worst;
            if (failed) {
                *failed = i < before ? 0 : i - before;
            }
            if (!store->conn) {
                PQclear(result);
                return worst;
            }
        }
        if (i < before || worst != ONEROW_OK) {
            PQclear(result);
        } else {
            statements[i - before].result = result;
        }
    }
    enum onerow_status status = or_postgres_next(store, &result, error); /* the sync */
    PQclear(result);
    return status == ONEROW_OK ? worst : status;
}

static void forget_results(struct or_postgres_statement *statements, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        PQclear(statements[i].result);
        statements[i].result = NULL;
    }
}

enum onerow_status or_postgres_run(struct or_postgres_store *store,
                                   struct or_postgres_statement *statements, unsigned n,
                                   size_t *failed, struct onerow_error *error)
{
    bool begin = store->stage == OR_POSTGRES_WANTED;
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = NULL;
    }
    if (store->stage == OR_POSTGRES_IDLE) {
        enum onerow_status status = or_postgres_connect(store, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    store->stage = begin ? OR_POSTGRES_OPEN : store->stage;
    store->base.round_trips++;
    if (!store->conn || !send_all(store, statements, n, begin)) {
        return or_postgres_lost(store, "sending", error);
    }
    enum onerow_status status =
        receive_all(store, statements, n, begin ? PREAMBLE : 0, failed, error);
    if (store->conn && !PQexitPipelineMode(store->conn)) {
        or_postgres_disconnect(store);
    }
    if (status != ONEROW_OK) {
        forget_results(statements, n);
    }
    return status;
}

enum onerow_status or_postgres_ask(struct or_postgres_store *store, const char *sql,
                                   const char *const *params, unsigned n, PGresult **result,
                                   struct onerow_error *error)
{
    PGresult *more = NULL;
    *result = NULL;
    enum onerow_status status = ONEROW_OK;
    if (store->stage == OR_POSTGRES_IDLE) {
        status = or_postgres_connect(store, error);
    } else if (store->stage == OR_POSTGRES_WANTED) {
        status = or_postgres_run(store, NULL, 0, NULL, error); /* BEGIN */
    } else if (!store->conn) {
        status = or_postgres_lost(store, "asking",
                                  error); /* another connection is no part of the transaction */
    }
    if (status != ONEROW_OK) {
        return status;
    }
    store->base.round_trips++;
    if (!PQsendQueryParams(store->conn, sql, (int)n, NULL, params, NULL, NULL, 0)) {
        return or_postgres_lost(store, "sending", error);
    }
    status = or_postgres_next(store, result, error);
    if (status == ONEROW_OK) {
        status = or_postgres_next(store, &more, error);
        PQclear(more);
    }
    if (status == ONEROW_OK && !or_postgres_is_answer(*result)) {
        status = or_postgres_fail(store, *result, "asking", error);
    }
    if (status != ONEROW_OK) {
        PQclear(*result);
        *result = NULL;
    }
    return status;
}
