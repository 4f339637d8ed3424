/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole transaction in one round trip.
 *
 *     BEGIN  [settings]  statements …  COMMIT        one pipeline
 *
 * - The server comes to COMMIT only if everything before it has succeeded, and its own answer says
 *   what became of it. An error of a statement therefore means that nothing was kept; no answer at
 *   all means UNKNOWN, because COMMIT was on its way.
 * - Each statement has a snapshot of its own: one after a lock sees what the lock's former holder
 *   wrote.
 *
 * Where a connection leads straight to the server its session is ours: settings are made once, and
 * statements are prepared. Straight it is when the backend that answers has the number that was
 * given when the connection was made; a pooler gives numbers of its own. A pooler that passed the
 * backend's number on, and still exchanged sessions, is found out by a name that the other session
 * does not know (it is made of the statement's text, so that a session that knows it knows the same
 * statement): nothing has happened then, and from now on nothing is kept in a session.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "postgres/postgres_link_internal.h"

/* One right plan, as the settings say. A client whose machine has vanished in the middle of sending
 * keeps its locks until the server's own connection is given up: after half a minute. */
static const char session_sql[] =
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('tcp_keepalives_idle', '15', false), "
    "set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '3', false)";

/* ---- pipelines -------------------------------------------------------------------------------
 */

/* Takes what is left up to the sync. A connection in which that is not to be had is of no use. */
static void drain(struct or_link *link)
{
    PGresult *result = NULL;
    bool synced = false;
    for (int ends = 0; !synced && ends < 2; ends = result ? 0 : ends + 1) {
        if (or_link_next(link, true, &result, NULL) != ONEROW_OK) {
            break;
        }
        synced = result && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        PQclear(result);
    }
    if (!synced || !PQexitPipelineMode(link->conn)) {
        or_link_disconnect(link);
    }
}

/* The next answer of a pipeline, good or bad. UNAVAILABLE, and hung up: there is none. */
static enum onerow_status next_answer(struct or_link *link, PGresult **result,
                                      struct onerow_error *error)
{
    PGresult *end = NULL;
    enum onerow_status status = or_link_next(link, false, result, error);
    bool good = or_link_is_answer(*result);
    if (status == ONEROW_OK && !good && !PQresultErrorField(*result, PG_DIAG_SQLSTATE)) {
        status = or_link_lost(link, "receiving", error);
    } else if (status == ONEROW_OK && good) {
        status = or_link_next(link, false, &end, error);
        PQclear(end);
    }
    if (status == ONEROW_OK) {
        return status;
    }
    PQclear(*result);
    *result = NULL;
    *link->code = '\0';
    or_link_disconnect(link);
    return or_link_rename(error, ONEROW_UNAVAILABLE);
}

/* ---- sessions --------------------------------------------------------------------------------
 */

static enum onerow_status ask_way(struct or_link *link, struct onerow_error *error)
{
    PGresult *result = NULL;
    struct or_link_statement ask = {.sql = "SELECT pg_catalog.pg_backend_pid()"};
    ++*link->round_trips;
    if (!PQenterPipelineMode(link->conn) || !or_link_send(link, &ask, NULL) ||
        !PQpipelineSync(link->conn)) {
        return or_link_lost(link, "connecting", error);
    }
    enum onerow_status status = next_answer(link, &result, error);
    if (status != ONEROW_OK) {
        return or_link_rename(error, ONEROW_RETRY);
    }
    if (or_link_is_answer(result)) {
        uint32_t number = 0;
        memcpy(&number, PQgetvalue(result, 0, 0), sizeof number);
        bool same = ntohl(number) == (uint32_t)PQbackendPID(link->conn);
        link->session.way = same ? OR_LINK_DIRECT : OR_LINK_POOLED;
    } else {
        status = or_link_fail(link, result, "connecting", error);
    }
    PQclear(result);
    drain(link);
    return link->conn || status != ONEROW_OK ? status : or_link_lost(link, "connecting", error);
}

/* Takes n answers and the sync. A session in which one is bad is left: nobody knows what of it is
 * there. */
static enum onerow_status take_answers(struct or_link *link, int n, struct onerow_error *error)
{
    while (n-- > 0) {
        PGresult *result = NULL;
        enum onerow_status status = next_answer(link, &result, error);
        if (status != ONEROW_OK) {
            return or_link_rename(error, ONEROW_RETRY);
        }
        if (!or_link_is_answer(result)) {
            status = or_link_fail(link, result, "preparing", error);
            or_link_disconnect(link);
        }
        PQclear(result);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    drain(link);
    return link->conn ? ONEROW_OK : or_link_lost(link, "preparing", error);
}

static enum onerow_status set_session(struct or_link *link, struct onerow_error *error)
{
    struct or_link_statement more = {.sql = session_sql};
    ++*link->round_trips;
    if (!PQenterPipelineMode(link->conn) || !or_link_send_settings(link, false) ||
        !or_link_send(link, &more, NULL) || !PQpipelineSync(link->conn)) {
        return or_link_lost(link, "preparing", error);
    }
    return take_answers(link, 2, error);
}

enum onerow_status or_link_ready(struct or_link *link, struct onerow_error *error)
{
    enum onerow_status status = or_link_connect(link, error);
    if (status != ONEROW_OK || link->session.way != OR_LINK_UNASKED) {
        return status;
    }
    if (link->pooled) {
        link->session.way = OR_LINK_POOLED;
        return ONEROW_OK;
    }
    status = ask_way(link, error);
    return status == ONEROW_OK && link->session.way == OR_LINK_DIRECT ? set_session(link, error)
                                                                      : status;
}

/* Its name in the session; NULL: it has none. */
static const char *name_of(const struct or_link *link, const struct or_link_statement *statement)
{
    for (unsigned i = 0; i < link->session.n_prepared; i++) {
        if (link->session.prepared[i].sql == statement->sql) {
            return link->session.prepared[i].name;
        }
    }
    return NULL;
}

static bool send_prepare(struct or_link *link, const struct or_link_statement *statement)
{
    Oid types[OR_LINK_PARAMS] = {0};
    struct or_link_session *session = &link->session;
    char *name = session->prepared[session->n_prepared].name;
    for (unsigned i = 0; i < statement->n_params; i++) {
        types[i] = statement->params[i].type;
    }
    (void)snprintf(name, OR_LINK_NAME, "onerow_%016" PRIx64, or_hash_text(or_span(statement->sql)));
    session->prepared[session->n_prepared++].sql = statement->sql;
    return PQsendPrepare(link->conn, name, statement->sql, (int)statement->n_params, types);
}

/* How many answers there will be; -1: it could not be sent. */
static int send_preparations(struct or_link *link, const struct or_link_statement *statements,
                             unsigned n)
{
    int sent = PQenterPipelineMode(link->conn) ? 0 : -1;
    for (unsigned i = 0; sent >= 0 && i < n; i++) {
        bool wanted = statements[i].often && !name_of(link, &statements[i]);
        if (wanted && link->session.n_prepared < OR_LINK_PREPARED) {
            sent = send_prepare(link, &statements[i]) ? sent + 1 : -1;
        }
    }
    return sent >= 0 && PQpipelineSync(link->conn) ? sent : -1;
}

/* The session is not the one that it was. */
static bool is_other_session(const struct or_link *link)
{
    return strcmp(link->code, "26000") == 0 || strcmp(link->code, "42P05") == 0;
}

static enum onerow_status leave_sessions(struct or_link *link, struct onerow_error *error)
{
    or_link_disconnect(link);
    link->pooled = true;
    return or_link_rename(error, ONEROW_RETRY);
}

/* Prepares what is not prepared yet, in one round trip. */
static enum onerow_status prepare(struct or_link *link, const struct or_link_statement *statements,
                                  unsigned n, struct onerow_error *error)
{
    bool prepared = true;
    for (unsigned i = 0; i < n; i++) {
        prepared = prepared && (!statements[i].often || name_of(link, &statements[i]));
    }
    if (prepared || link->session.way != OR_LINK_DIRECT) {
        return ONEROW_OK;
    }
    ++*link->round_trips;
    int sent = send_preparations(link, statements, n);
    if (sent < 0) {
        return or_link_lost(link, "preparing", error);
    }
    enum onerow_status status = take_answers(link, sent, error);
    return status != ONEROW_OK && is_other_session(link) ? leave_sessions(link, error) : status;
}

/* ---- transactions ----------------------------------------------------------------------------
 */

static const struct or_link_statement begin_it = {.sql = OR_LINK_BEGIN, .often = true};
static const struct or_link_statement commit_it = {.sql = "COMMIT", .often = true};

static bool send_one(struct or_link *link, const struct or_link_statement *statement)
{
    return or_link_send(link, statement, name_of(link, statement));
}

/* How many answers come before those to the statements; -1: nothing was sent. *doubtful: COMMIT may
 * have been. */
static int send_all(struct or_link *link, const struct or_link_statement *statements, unsigned n,
                    bool begin, bool *doubtful)
{
    int before = 0;
    bool sent = PQenterPipelineMode(link->conn) == 1;
    if (begin) {
        bool pooled = link->session.way == OR_LINK_POOLED;
        sent = sent && send_one(link, &begin_it) && (!pooled || or_link_send_settings(link, true));
        before = pooled ? 2 : 1;
    }
    for (unsigned i = 0; sent && i < n; i++) {
        sent = send_one(link, &statements[i]);
    }
    *doubtful = sent;
    return sent && send_one(link, &commit_it) && PQpipelineSync(link->conn) ? before : -1;
}

/* A bad answer: to COMMIT, or to something before it. */
static enum onerow_status failed(struct or_link *link, const PGresult *result, bool at_commit,
                                 struct onerow_error *error)
{
    bool session_lives = or_link_rolled_back(result);
    enum onerow_status status =
        or_link_fail(link, result, at_commit ? "committing" : "asking", error);
    if (session_lives) {
        drain(link);
    } else {
        or_link_disconnect(link);
    }
    if (at_commit && !session_lives) {
        return or_link_in_doubt(link, error);
    }
    return is_other_session(link) ? leave_sessions(link, error) : status;
}

static enum onerow_status receive_all(struct or_link *link, struct or_link_statement *statements,
                                      unsigned n, unsigned before, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    for (unsigned i = 0; status == ONEROW_OK && i <= before + n; i++) {
        PGresult *result = NULL;
        bool at_commit = i == before + n;
        if (next_answer(link, &result, error) != ONEROW_OK) {
            return or_link_in_doubt(link, error);
        }
        if (!or_link_is_answer(result)) {
            status = failed(link, result, at_commit, error);
        } else if (at_commit) {
            status = or_link_judge_commit(link, result, error);
        } else if (i >= before) {
            statements[i - before].result = result;
            continue;
        }
        PQclear(result);
    }
    if (status == ONEROW_OK) {
        drain(link);
        link->open = false;
    }
    return status;
}

static enum onerow_status transact(struct or_link *link, struct or_link_statement *statements,
                                   unsigned n, bool begin, struct onerow_error *error)
{
    bool doubtful = false;
    ++*link->round_trips;
    int before = send_all(link, statements, n, begin, &doubtful);
    link->open = true;
    if (before < 0) {
        enum onerow_status status = or_link_lost(link, "sending", error);
        return doubtful ? or_link_in_doubt(link, error) : status;
    }
    enum onerow_status status = receive_all(link, statements, n, (unsigned)before, error);
    if (status != ONEROW_OK) {
        or_link_clear(statements, n);
    }
    return status;
}

enum onerow_status or_link_once(struct or_link *link, struct or_link_statement *statements,
                                unsigned n, struct onerow_error *error)
{
    struct or_link_statement all[OR_LINK_STATEMENTS + 2U];
    assert(n <= OR_LINK_STATEMENTS);
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = NULL;
        all[i] = statements[i];
    }
    all[n] = begin_it;
    all[n + 1] = commit_it;
    *link->code = '\0';
    enum onerow_status status = or_link_ready(link, error);
    if (status == ONEROW_OK) {
        status = prepare(link, all, n + 2, error);
    }
    return status == ONEROW_OK ? transact(link, statements, n, true, error) : status;
}

enum onerow_status or_link_conclude(struct or_link *link, struct or_link_statement *statements,
                                    unsigned n, struct onerow_error *error)
{
    for (unsigned i = 0; i < n; i++) {
        statements[i].result = NULL;
    }
    /* One that has ended by now, because the client was away for too long, has kept nothing. */
    return link->conn && or_link_take_in(link) ? transact(link, statements, n, false, error)
                                               : or_link_lost(link, "committing", error);
}
