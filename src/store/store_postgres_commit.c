/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions, and what became of one whose COMMIT was not answered.
 *
 *   begin   connects (again) when need be; sends nothing yet
 *   apply   BEGIN, the settings, the statements and the question for the transaction's
 *           identity in one pipeline: one round trip
 *   commit  COMMIT
 *   resolve asks, on another connection, for the status of the transaction
 *
 *                      COMMIT is answered
 *     IDLE -> WANTED -> OPEN ------------> IDLE
 *                        |   no answer
 *                        +------------> IN_DOUBT -- resolve --> kept, lost or not known
 *
 * - Identity: before COMMIT is sent, the transaction's id and the server's incarnation are
 *   known. When the answer to COMMIT is lost, pg_xact_status tells what became of it, and
 *   is believed only under the same incarnation, read after it: a server that crashed
 *   hands out the same ids again, and would speak of somebody else's transaction.
 *   An id alone does not make the commit flush: PostgreSQL waits for its log only where
 *   the transaction wrote to it before. Changing or locking a row does; merely reading one
 *   does not, and what was read may come from a commit that is not on disk yet.
 * - UNKNOWN comes from commit alone: COMMIT may have been sent, and no answer says that it
 *   failed. FATAL is no such answer: a backend that is terminated while it waits for a
 *   standby has committed already.
 */
#include <string.h>

#include "base/status.h"
#include "store/store_postgres_session.h"

/* ---- identity ---------------------------------------------------------------------------- */

#define INCARNATION                                                                                \
    "(SELECT system_identifier FROM pg_catalog.pg_control_system())::text || ' ' || "              \
    "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())::text || ' ' || "                \
    "pg_catalog.pg_postmaster_start_time()::text || ' ' || "                                       \
    "coalesce((SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter)::text, '-')"

bool or_postgres_needs_identity(const struct or_postgres_store *store)
{
    return !*store->xid && !store->read_only &&
           (store->stage == OR_POSTGRES_WANTED || store->stage == OR_POSTGRES_OPEN);
}

const char *or_postgres_identify_sql(const struct or_postgres_store *store)
{
    return store->may_identify ? "SELECT pg_catalog.pg_current_xact_id()::text, " INCARNATION
                               : "SELECT pg_catalog.pg_current_xact_id()::text, NULL::text";
}

static void copy_text(char *to, size_t room, const PGresult *result, int row, int column)
{
    size_t len = (size_t)PQgetlength(result, row, column);
    len = len < room ? len : room - 1;
    memcpy(to, PQgetvalue(result, row, column), len);
    to[len] = '\0';
}

void or_postgres_note_identity(struct or_postgres_store *store, const PGresult *result)
{
    copy_text(store->xid, sizeof store->xid, result, 0, 0);
    store->incarnation.known = !PQgetisnull(result, 0, 1);
    copy_text(store->incarnation.text, sizeof store->incarnation.text, result, 0, 1);
}

/* ---- begin and rollback --------------------------------------------------------------------- */

enum onerow_status or_postgres_begin(struct onerow_store *base, const volatile bool *stop,
                                     struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    store->stop_now = stop;
    store->stage = OR_POSTGRES_IDLE;
    *store->xid = '\0';
    store->incarnation.known = false;
    if (or_postgres_stopped(store)) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted");
    }
    enum onerow_status status = or_postgres_connect(store, error);
    store->stage = status == ONEROW_OK ? OR_POSTGRES_WANTED : OR_POSTGRES_IDLE;
    return status;
}

static void undo(struct or_postgres_store *store)
{
    PGresult *result = NULL;
    struct or_postgres_patience patience = {.limit_ms = OR_POSTGRES_GRACE_MS, .finish = true};
    bool undone = false;
    enum onerow_status status = ONEROW_RETRY;
    store->base.round_trips++;
    if (PQsendQueryParams(store->conn, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0)) {
        while ((status = or_postgres_next_within(store, patience, &result, NULL)) == ONEROW_OK &&
               result) {
            undone = PQresultStatus(result) == PGRES_COMMAND_OK;
            PQclear(result);
        }
    }
    if (status != ONEROW_OK || !undone) {
        or_postgres_disconnect(store);
    }
}

void or_postgres_rollback(struct onerow_store *base)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    if (store->stage == OR_POSTGRES_OPEN && store->conn) {
        undo(store);
    }
    store->stage = OR_POSTGRES_IDLE;
    store->stop_now = NULL;
}

/* ---- commit --------------------------------------------------------------------------------- */

static struct or_postgres_patience for_commit(const struct or_postgres_store *store)
{
    uint64_t limit =
        store->wait_ms > OR_POSTGRES_CANCEL_MS ? store->wait_ms : OR_POSTGRES_CANCEL_MS;
    return (struct or_postgres_patience){.limit_ms = limit, .finish = true};
}

static enum onerow_status identify(struct or_postgres_store *store, struct onerow_error *error)
{
    struct or_postgres_statement ask = {.sql = or_postgres_identify_sql(store)};
    enum onerow_status status = or_postgres_run(store, &ask, 1, NULL, error);
    if (status == ONEROW_OK) {
        or_postgres_note_identity(store, ask.result);
        PQclear(ask.result);
    }
    return status;
}

/* Nobody knows. The error keeps what happened. */
static enum onerow_status in_doubt(struct or_postgres_store *store, struct onerow_error *error)
{
    store->stage = OR_POSTGRES_IN_DOUBT;
    or_postgres_disconnect(store);
    or_postgres_rename_failure(error, ONEROW_UNAVAILABLE);
    return ONEROW_UNKNOWN;
}

/* ERROR says that the transaction was rolled back; FATAL and PANIC say that the session ended. */
static bool rolled_back(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity && strcmp(severity, "ERROR") == 0;
}

static enum onerow_status judge_commit(struct or_postgres_store *store, const PGresult *result,
                                       struct onerow_error *error)
{
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        if (strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "COMMIT") == 0) {
            return ONEROW_OK;
        }
        return or_fail(error, ONEROW_RETRY, "%s: the transaction had failed before its commit",
                       store->shown);
    }
    enum onerow_status status = or_postgres_fail(store, result, "committing", error);
    return rolled_back(result) ? status : in_doubt(store, error);
}

enum onerow_status or_postgres_commit(struct onerow_store *base, struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    PGresult *result = NULL;
    PGresult *end = NULL;
    if (store->stage == OR_POSTGRES_WANTED) { /* nothing was ever sent */
        store->stage = OR_POSTGRES_IDLE;
        store->stop_now = NULL;
        return ONEROW_OK;
    }
    if (or_postgres_needs_identity(store)) {
        enum onerow_status status = identify(store, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    base->round_trips++;
    store->stage = OR_POSTGRES_IN_DOUBT;
    if (!PQsendQueryParams(store->conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0)) {
        or_postgres_lost(store, "committing", error);
        return in_doubt(store, error);
    }
    enum onerow_status status = or_postgres_next_within(store, for_commit(store), &result, error);
    if (status == ONEROW_OK && result) {
        status = judge_commit(store, result, error);
    } else {
        if (status == ONEROW_OK) {
            or_postgres_lost(store, "committing", error);
        }
        status = in_doubt(store, error);
    }
    PQclear(result);
    if (store->conn && or_postgres_next_within(store, for_commit(store), &end, NULL) != ONEROW_OK) {
        or_postgres_disconnect(store);
    }
    PQclear(end);
    if (status != ONEROW_UNKNOWN) {
        store->stage = OR_POSTGRES_IDLE;
    }
    store->stop_now = NULL; /* lent for the transaction */
    return status;
}

/* ---- resolve -------------------------------------------------------------------------------- */

static enum onerow_status cannot_tell(struct onerow_error *error, const char *why)
{
    return or_fail(error, ONEROW_UNKNOWN, "whether the commit was kept is not known: %s", why);
}

/* The status of the transaction, then the incarnation under which it was read. */
static enum onerow_status ask_status(struct or_postgres_store *store, char status_text[24],
                                     bool *same, struct onerow_error *error)
{
    const char *const params[] = {store->xid};
    struct onerow_error refused = {0};
    PGresult *result = NULL;
    *status_text = '\0';
    *same = false;
    enum onerow_status status = or_postgres_ask(
        store, "SELECT pg_catalog.pg_xact_status($1::text::xid8)", params, 1, &result, &refused);
    if (status == ONEROW_REJECTED) { /* 22023: an id that the server has not reached yet */
        return ONEROW_OK;
    }
    if (status == ONEROW_OK) {
        copy_text(status_text, 24, result, 0, 0);
        PQclear(result);
        status = or_postgres_ask(store, "SELECT " INCARNATION, NULL, 0, &result, &refused);
    }
    if (status == ONEROW_OK) {
        *same = strcmp(PQgetvalue(result, 0, 0), store->incarnation.text) == 0;
        PQclear(result);
    } else if (error) {
        *error = refused;
    }
    return status;
}

/* ABSENT, OK or UNKNOWN once the transaction has ended; RETRY while it has not. */
static enum onerow_status judge_status(const char *status_text, bool same,
                                       struct onerow_error *error)
{
    if (!same || !*status_text) {
        return cannot_tell(error, "the server was restarted, or another one took its place, "
                                  "while the commit was under way");
    }
    if (strcmp(status_text, "in progress") == 0) {
        return ONEROW_RETRY;
    }
    return strcmp(status_text, "committed") == 0 ? ONEROW_OK : ONEROW_ABSENT;
}

static enum onerow_status resolve(struct or_postgres_store *store, struct onerow_error *error)
{
    uint64_t deadline = or_postgres_now_ms() + store->wait_ms;
    unsigned length = OR_POSTGRES_NAP_MIN_MS;
    char status_text[24];
    bool same = false;
    if (!*store->xid || !store->incarnation.known) {
        enum onerow_status status = or_postgres_connect(store, error);
        return status == ONEROW_OK
                   ? cannot_tell(error,
                                 "this role may not read pg_control_system()\n  GRANT EXECUTE "
                                 "ON FUNCTION pg_control_system, pg_control_checkpoint TO it")
                   : status;
    }
    for (;;) {
        enum onerow_status status = ask_status(store, status_text, &same, error);
        bool asked = status == ONEROW_OK;
        status = asked ? judge_status(status_text, same, error) : status;
        if (status != ONEROW_RETRY && status != ONEROW_UNAVAILABLE) {
            return status;
        }
        if (or_postgres_nap(store, &length, deadline)) {
            continue;
        }
        if (or_postgres_stopped(store)) {
            return or_fail(error, ONEROW_INTERRUPTED, "interrupted while asking %s", store->shown);
        }
        return asked ? cannot_tell(error, "it is still in progress")
                     : or_postgres_rename_failure(error, ONEROW_UNAVAILABLE);
    }
}

enum onerow_status or_postgres_resolve(struct onerow_store *base, const volatile bool *stop,
                                       struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    store->stage = OR_POSTGRES_IDLE;
    store->stop_now = stop;
    enum onerow_status status = resolve(store, error);
    store->stop_now = NULL;
    return status;
}
