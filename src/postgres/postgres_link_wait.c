/* SPDX-License-Identifier: Apache-2.0
 *
 * Connecting and waiting. The socket is polled in short ticks, between which the caller's stop flag
 * is looked at: a statement is cancelled then, and its answer awaited for a moment longer. A server
 * that says nothing is hung up on after wait_ms and some grace, which lies beyond the time-outs
 * that the server itself keeps, so that its own message comes first.
 *
 * A first connection that fails is told at once, unless the server is starting: what is wrong is
 * most often in the URL. One that was there before is waited for.
 */
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "postgres/postgres_link_internal.h"

#define VERSION_MIN 130000
#define TICK_MS     50
#define CANCEL_MS   5000U  /* for the answer to a cancellation, or to COMMIT after a stop */
#define CONNECT_MS  10000U /* for one try */
#define NAP_MAX_MS  1000U

uint64_t or_link_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

bool or_link_stopped(const struct or_link *link)
{
    return or_flag_is_set(link->stop);
}

void or_link_disconnect(struct or_link *link)
{
    PQfinish(link->conn);
    link->conn = NULL;
    link->open = false;
}

bool or_link_nap(const struct or_link *link, unsigned *length, uint64_t deadline_ms)
{
    uint64_t now = or_link_now_ms();
    if (or_link_stopped(link) || now >= deadline_ms) {
        return false;
    }
    uint64_t most = deadline_ms - now;
    uint64_t jittered = *length / 2 + (now * 2654435761U ^ (uint64_t)getpid()) % (*length / 2 + 1);
    usleep((useconds_t)((jittered < most ? jittered : most) * 1000U));
    *length = *length * 2 < NAP_MAX_MS ? *length * 2 : NAP_MAX_MS;
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void cancel(struct or_link *link)
{
    char unwanted[256];
    PGcancel *cancellation = PQgetCancel(link->conn);
    if (cancellation) {
        PQcancel(cancellation, unwanted, sizeof unwanted);
        PQfreeCancel(cancellation);
    }
}

static enum onerow_status silent(struct or_link *link, uint64_t waited_ms,
                                 struct onerow_error *error)
{
    or_link_disconnect(link);
    return or_fail(error, ONEROW_UNAVAILABLE,
                   "%s: no answer for %llu s\n  see what the server is busy with: SELECT * FROM "
                   "pg_stat_activity",
                   link->shown, (unsigned long long)(waited_ms / 1000U));
}

static enum onerow_status interrupted(struct or_link *link, struct onerow_error *error)
{
    or_link_disconnect(link);
    return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for %s", link->shown);
}

/* Sends and reads once, after at most a tick. *moved: something came in, or could go out. What TLS
 * has decrypted already poll() does not see, so that every tick reads. */
static enum onerow_status exchange(struct or_link *link, bool *moved, struct onerow_error *error)
{
    int left = PQflush(link->conn);
    if (left < 0) {
        return or_link_lost(link, "sending", error);
    }
    bool busy = PQisBusy(link->conn);
    struct pollfd socket = {.fd = PQsocket(link->conn),
                            .events = (short)(POLLIN | (left ? POLLOUT : 0))};
    int ready = poll(&socket, 1, TICK_MS);
    if (ready < 0 && errno != EINTR) {
        return or_link_lost(link, "waiting", error);
    }
    if (!PQconsumeInput(link->conn)) {
        return or_link_lost(link, "receiving", error);
    }
    *moved = ready > 0 || (busy && !PQisBusy(link->conn));
    return ONEROW_OK;
}

static enum onerow_status wait_socket(struct or_link *link, bool finish, struct onerow_error *error)
{
    uint64_t start = or_link_now_ms();
    uint64_t stopped_at = 0;
    for (;;) {
        bool moved = false;
        enum onerow_status status = exchange(link, &moved, error);
        if (status != ONEROW_OK || moved) {
            return status;
        }
        uint64_t now = or_link_now_ms();
        if (!stopped_at && or_link_stopped(link)) {
            stopped_at = now;
            if (!finish) {
                cancel(link);
            }
        }
        if (stopped_at && now - stopped_at > CANCEL_MS) {
            return interrupted(link, error);
        }
        if (now - start > link->wait_ms + OR_LINK_GRACE_MS) {
            return silent(link, now - start, error);
        }
    }
}

enum onerow_status or_link_next(struct or_link *link, bool finish, PGresult **result,
                                struct onerow_error *error)
{
    *result = NULL;
    while (PQisBusy(link->conn)) {
        enum onerow_status status = wait_socket(link, finish, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    *result = PQgetResult(link->conn);
    return ONEROW_OK;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static bool poll_connection(struct or_link *link)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    uint64_t deadline = or_link_now_ms() + CONNECT_MS;
    while (PQstatus(link->conn) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
           next != PGRES_POLLING_FAILED && !or_link_stopped(link) && or_link_now_ms() < deadline) {
        struct pollfd socket = {.fd = PQsocket(link->conn),
                                .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (poll(&socket, 1, TICK_MS) > 0) {
            next = PQconnectPoll(link->conn);
        }
    }
    return next == PGRES_POLLING_OK;
}

static enum onerow_status tell_failure(struct or_link *link, struct onerow_error *error)
{
    struct onerow_span said = or_span_trim(or_span(PQerrorMessage(link->conn)));
    or_fail(error, ONEROW_UNAVAILABLE,
            "%s: %.*s\n  see to the user's name, to the password (~/.pgpass, PGPASSWORD), and "
            "whether the server is there: pg_isready -h %s -p %s",
            link->shown, (int)said.len, said.data, PQhost(link->conn), PQport(link->conn));
    or_link_disconnect(link);
    return ONEROW_UNAVAILABLE;
}

static enum onerow_status greet(struct or_link *link, struct onerow_error *error)
{
    int version = PQserverVersion(link->conn);
    PQsetNoticeReceiver(link->conn, ignore_notice, NULL);
    if (PQsetnonblocking(link->conn, 1) != 0) {
        return or_link_lost(link, "connecting", error);
    }
    if (version < VERSION_MIN) {
        or_link_disconnect(link);
        return or_fail(error, ONEROW_CONFIG, "%s: is PostgreSQL %d.%d; onerow needs 13 or later",
                       link->shown, version / 10000, version % 10000);
    }
    link->was_there = true;
    return ONEROW_OK;
}

static enum onerow_status connect_once(struct or_link *link, struct onerow_error *error)
{
    or_link_disconnect(link);
    link->session = (struct or_link_session){.number = link->session.number + 1};
    link->conn = PQconnectStart(link->conninfo);
    if (!link->conn) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    if (poll_connection(link)) {
        return greet(link, error);
    }
    return or_link_stopped(link) ? interrupted(link, error) : tell_failure(link, error);
}

/* Whether time may help: the server was there before, or it says that it is starting. */
static bool may_pass(const struct or_link *link, enum onerow_status status)
{
    return status == ONEROW_RETRY || (status == ONEROW_UNAVAILABLE &&
                                      (link->was_there || PQping(link->conninfo) == PQPING_REJECT));
}

bool or_link_take_in(struct or_link *link)
{
    PGconn *conn = link->conn;
    struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
    for (int i = 0; i < 8 && PQstatus(conn) == CONNECTION_OK && poll(&socket, 1, 0) > 0; i++) {
        PQconsumeInput(conn);
        PQisBusy(conn); /* takes notices out of the buffer */
    }
    return PQstatus(conn) == CONNECTION_OK;
}

/* Whether the connection stands, as far as what has arrived tells: a server that went away has said
 * so, most of the time. */
static bool stands(struct or_link *link)
{
    return PQtransactionStatus(link->conn) == PQTRANS_IDLE && or_link_take_in(link);
}

enum onerow_status or_link_connect(struct or_link *link, struct onerow_error *error)
{
    uint64_t deadline = or_link_now_ms() + link->wait_ms;
    unsigned length = OR_LINK_NAP_MIN_MS;
    if (link->conn && stands(link)) {
        return ONEROW_OK;
    }
    for (;;) {
        enum onerow_status status = connect_once(link, error);
        if (status == ONEROW_OK || !may_pass(link, status) ||
            !or_link_nap(link, &length, deadline)) {
            return status == ONEROW_RETRY ? or_link_rename(error, ONEROW_UNAVAILABLE) : status;
        }
    }
}
