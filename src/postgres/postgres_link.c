/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions over a connection that may be cut at any place.
 *
 *   begin   connects (again) when need be; BEGIN, the settings and the first statements go out in
 *           one pipeline: one round trip
 *   run     more statements of the same transaction, in one round trip
 *   commit  COMMIT
 *
 * - READ COMMITTED: a statement sees what is committed when it starts, so that one after a lock
 * sees what the lock's former holder wrote.
 * - No session state: settings are set_config(…, true), which end with the transaction; statements
 *   have no names. Behind a pooler each transaction may meet another session. (postgres_link_once.c
 *   knows when none stands between.)
 * - Until COMMIT is sent, a lost connection means that nothing was kept: RETRY. Once it is, only an
 *   ERROR says that it failed; FATAL does not, because a backend that is terminated while it waits
 *   for a standby has committed already: UNKNOWN.
 * - A transaction whose client is gone must not keep its locks: the server ends it after a time.
 */
#include "postgres/postgres_link.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "postgres/postgres_link_internal.h"
#include "postgres/postgres_url.h"

/* synchronous_commit: what is acknowledged is on the disk, and on the standbys that the server is
 * told to wait for, whatever the default. Nested loops over the primary key are the one right plan
 * for what is asked here; statistics of a table that has just grown would say otherwise. Their
 * nominal costs would have statements compiled that take microseconds. */
#define SETTINGS                                                                                   \
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog', %1$s), "                            \
    "pg_catalog.set_config('lock_timeout', '%2$d', %1$s), "                                        \
    "pg_catalog.set_config('statement_timeout', '%3$d', %1$s), "                                   \
    "pg_catalog.set_config('idle_in_transaction_session_timeout', '%3$d', %1$s), "                 \
    "pg_catalog.set_config('enable_hashjoin', 'off', %1$s), "                                      \
    "pg_catalog.set_config('enable_mergejoin', 'off', %1$s), "                                     \
    "pg_catalog.set_config('enable_bitmapscan', 'off', %1$s), "                                    \
    "pg_catalog.set_config('enable_seqscan', 'off', %1$s), "                                       \
    "pg_catalog.set_config('jit', 'off', %1$s), "                                                  \
    "CASE WHEN pg_catalog.current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') "    \
    "THEN pg_catalog.set_config('synchronous_commit', 'on', %1$s) END"

#define PREAMBLE 2U /* statements before the first one of a transaction */

/* ---- opening --------------------------------------------------------------------------------- */

enum onerow_status or_link_init(struct or_link *link, const char *url, uint64_t wait_ms,
                                const volatile bool *stop, uint64_t *round_trips,
                                struct onerow_error *error)
{
    *link = (struct or_link){.wait_ms = wait_ms, .stop = stop, .round_trips = round_trips};
    return or_postgres_url(url, &link->conninfo, &link->shown, error);
}

void or_link_finish(struct or_link *link)
{
    or_link_disconnect(link);
    free(link->conninfo);
    free(link->shown);
    *link = (struct or_link){0};
}

void or_link_clear(struct or_link_statement *statements, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        PQclear(statements[i].result);
        statements[i].result = NULL;
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

bool or_link_send(struct or_link *link, const struct or_link_statement *statement,
                  const char *prepared)
{
    Oid types[OR_LINK_PARAMS] = {0};
    const char *values[OR_LINK_PARAMS] = {0};
    int lens[OR_LINK_PARAMS] = {0};
    int formats[OR_LINK_PARAMS] = {0};
    unsigned n = statement->n_params;
    assert(n <= OR_LINK_PARAMS);
    for (unsigned i = 0; i < n; i++) {
        types[i] = statement->params[i].type;
        values[i] = statement->params[i].data;
        lens[i] = statement->params[i].len;
        formats[i] = 1;
    }
    return prepared ? PQsendQueryPrepared(link->conn, prepared, (int)n, values, lens, formats, 1)
                    : PQsendQueryParams(link->conn, statement->sql, (int)n, types, values, lens,
                                        formats, 1);
}

bool or_link_send_settings(struct or_link *link, bool local)
{
    char settings[sizeof SETTINGS + 128];
    /* 0 would stand for "for ever". */
    int wait_ms = link->wait_ms > INT_MAX ? INT_MAX : link->wait_ms ? (int)link->wait_ms : 1;
    int grace = (int)OR_LINK_GRACE_MS / 2;
    int longest = wait_ms > INT_MAX - grace ? INT_MAX : wait_ms + grace;
    snprintf(settings, sizeof settings, SETTINGS, local ? "true" : "false", wait_ms, longest);
    struct or_link_statement set = {.sql = settings};
    return or_link_send(link, &set, NULL);
}

static bool send_preamble(struct or_link *link)
{
    struct or_link_statement begin = {.sql = OR_LINK_BEGIN};
    return or_link_send(link, &begin, NULL) && or_link_send_settings(link, true);
}

static bool send_all(struct or_link *link, const struct or_link_statement *statements, unsigned n,
                     bool begin)
{
    bool sent = PQenterPipelineMode(link->conn) && (!begin || send_preamble(link));
    for (unsigned i = 0; sent && i < n; i++) {
        sent = or_link_send(link, &statements[i], NULL);
    }
    return sent && PQpipelineSync(link->conn);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* The answer to one statement of a pipeline: its result and the NULL behind it. */
static enum onerow_status receive_one(struct or_link *link, PGresult **result,
                                      struct onerow_error *error)
{
    PGresult *end = NULL;
    enum onerow_status status = or_link_next(link, false, result, error);
    if (status == ONEROW_OK && *result && PQresultStatus(*result) != PGRES_PIPELINE_SYNC) {
        status = or_link_next(link, false, &end, error);
        PQclear(end);
    }
    if (status == ONEROW_OK && PQstatus(link->conn) == CONNECTION_BAD) {
        status = or_link_lost(link, "receiving", error);
    }
    if (status != ONEROW_OK) {
        PQclear(*result);
        *result = NULL;
    }
    return status;
}

bool or_link_is_answer(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK;
}

/* Takes the answers up to the sync. The first failure decides; what follows it was not executed. */
static enum onerow_status receive_all(struct or_link *link, struct or_link_statement *statements,
                                      unsigned n, unsigned before, struct onerow_error *error)
{
    enum onerow_status worst = ONEROW_OK;
    PGresult *result = NULL;
    for (unsigned i = 0; i < before + n + 1; i++) {
        enum onerow_status status = receive_one(link, &result, error);
        if (status != ONEROW_OK) {
            return status;
        }
        bool is_statement = i < before + n;
        if (is_statement && worst == ONEROW_OK && !or_link_is_answer(result)) {
            worst = or_link_fail(link, result, i < before ? "beginning" : "asking", error);
        }
        if (is_statement && i >= before && worst == ONEROW_OK) {
            statements[i - before].result = result;
        } else {
            PQclear(result);
        }
        if (!link->conn) {
            return worst;
        }
    }
    return worst;
}

static enum onerow_status run(struct or_link *link, struct or_link_statement *statements,
                              unsigned n, bool begin, struct onerow_error *error)
{
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = NULL;
    }
    ++*link->round_trips;
    if (!link->conn || !send_all(link, statements, n, begin)) {
        return or_link_lost(link, "sending", error);
    }
    link->open = true;
    enum onerow_status status = receive_all(link, statements, n, begin ? PREAMBLE : 0, error);
    if (link->conn && !PQexitPipelineMode(link->conn)) {
        or_link_disconnect(link);
    }
    if (status != ONEROW_OK) {
        or_link_clear(statements, n);
    }
    return status;
}

/* ---- transactions ---------------------------------------------------------------------------- */

enum onerow_status or_link_begin(struct or_link *link, struct or_link_statement *statements,
                                 unsigned n, struct onerow_error *error)
{
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = NULL;
    }
    *link->code = '\0';
    enum onerow_status status = or_link_connect(link, error);
    return status == ONEROW_OK ? run(link, statements, n, true, error) : status;
}

enum onerow_status or_link_ask(struct or_link *link, struct or_link_statement *statements,
                               unsigned n, struct onerow_error *error)
{
    struct or_link_statement all[OR_LINK_STATEMENTS + 1U];
    assert(n <= OR_LINK_STATEMENTS);
    memcpy(all, statements, n * sizeof *all);
    all[n] = (struct or_link_statement){.sql = "COMMIT"};
    enum onerow_status status = or_link_begin(link, all, n + 1, error);
    if (status == ONEROW_OK) {
        PQclear(all[n].result);
        link->open = false;
    }
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = status == ONEROW_OK ? all[i].result : NULL;
    }
    return status;
}

enum onerow_status or_link_run(struct or_link *link, struct or_link_statement *statements,
                               unsigned n, struct onerow_error *error)
{
    return run(link, statements, n, false, error);
}

/* Whether COMMIT or ROLLBACK was answered with its own name. */
static bool is_command(const PGresult *result, const char *name)
{
    /* libpq only reads it. */
    PGresult *read = (PGresult *)(uintptr_t)result;
    return PQresultStatus(read) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(read), name) == 0;
}

void or_link_rollback(struct or_link *link)
{
    PGresult *result = NULL;
    bool undone = false;
    enum onerow_status status = ONEROW_RETRY;
    if (!link->open || !link->conn) {
        link->open = false;
        return;
    }
    ++*link->round_trips;
    if (PQsendQueryParams(link->conn, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0)) {
        while ((status = or_link_next(link, true, &result, NULL)) == ONEROW_OK && result) {
            undone = is_command(result, "ROLLBACK");
            PQclear(result);
        }
    }
    if (status != ONEROW_OK || !undone) {
        or_link_disconnect(link);
    }
    link->open = false;
}

bool or_link_rolled_back(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity && strcmp(severity, "ERROR") == 0;
}

enum onerow_status or_link_in_doubt(struct or_link *link, struct onerow_error *error)
{
    or_link_disconnect(link);
    or_link_rename(error, ONEROW_UNAVAILABLE);
    return ONEROW_UNKNOWN;
}

enum onerow_status or_link_judge_commit(struct or_link *link, const PGresult *result,
                                        struct onerow_error *error)
{
    if (is_command(result, "COMMIT")) {
        return ONEROW_OK;
    }
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        return or_fail(error, ONEROW_RETRY, "%s: the transaction had failed before its commit",
                       link->shown);
    }
    bool undone = or_link_rolled_back(result);
    enum onerow_status status = or_link_fail(link, result, "committing", error);
    return undone ? status : or_link_in_doubt(link, error);
}

enum onerow_status or_link_commit(struct or_link *link, struct onerow_error *error)
{
    PGresult *result = NULL;
    PGresult *end = NULL;
    ++*link->round_trips;
    if (!PQsendQueryParams(link->conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0)) {
        or_link_lost(link, "committing", error);
        return or_link_in_doubt(link, error);
    }
    enum onerow_status status = or_link_next(link, true, &result, error);
    if (status != ONEROW_OK) {
        return or_link_in_doubt(link, error);
    }
    if (!result) {
        or_link_lost(link, "committing", error);
        return or_link_in_doubt(link, error);
    }
    status = or_link_judge_commit(link, result, error);
    PQclear(result);
    if (link->conn && or_link_next(link, true, &end, NULL) != ONEROW_OK) {
        or_link_disconnect(link);
    }
    PQclear(end);
    link->open = false;
    return status;
}
