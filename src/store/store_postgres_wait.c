/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for the server, without ever being stuck in it.
 *
 * The socket is polled in short ticks, between which the caller's stop flag is looked at: a
 * statement is cancelled then, and its answer awaited for a moment longer. A server that says
 * nothing is hung up on after wait_ms and some grace; the grace lies beyond the time-outs that the
 * server itself keeps, so that its own message comes first. COMMIT and ROLLBACK are never
 * cancelled.
 */
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "store/store_postgres_session.h"

#define NAP_MAX_MS 1000U

uint64_t or_postgres_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

bool or_postgres_stopped(const struct or_postgres_store *store)
{
    return or_flag_is_set(store->stop_now ? store->stop_now : store->stop);
}

void or_postgres_disconnect(struct or_postgres_store *store)
{
    PQfinish(store->conn);
    store->conn = NULL;
}

bool or_postgres_nap(const struct or_postgres_store *store, unsigned *length, uint64_t deadline)
{
    uint64_t now = or_postgres_now_ms();
    if (or_postgres_stopped(store) || now >= deadline) {
        return false;
    }
    uint64_t most = deadline - now;
    uint64_t jittered = *length / 2 + (now * 2654435761U ^ (uint64_t)getpid()) % (*length / 2 + 1);
    usleep((useconds_t)((jittered < most ? jittered : most) * 1000U));
    *length = *length * 2 < NAP_MAX_MS ? *length * 2 : NAP_MAX_MS;
    return true;
}

static void cancel(struct or_postgres_store *store)
{
    char unwanted[256];
    PGcancel *cancellation = PQgetCancel(store->conn);
    if (cancellation) {
        PQcancel(cancellation, unwanted, sizeof unwanted);
        PQfreeCancel(cancellation);
    }
}

/* The server gives up a lock after wait_ms by itself, and says so. */
static struct or_postgres_patience for_statement(const struct or_postgres_store *store)
{
    return (struct or_postgres_patience){.limit_ms = store->wait_ms + OR_POSTGRES_GRACE_MS};
}

static enum onerow_status silent(struct or_postgres_store *store, uint64_t waited_ms,
                                 struct onerow_error *error)
{
    enum onerow_status status =
        store->stage == OR_POSTGRES_IDLE ? ONEROW_UNAVAILABLE : ONEROW_RETRY;
    or_postgres_disconnect(store);
    return or_fail(error, status,
                   "%s: no answer for %llu s\n  see what the server is busy with: SELECT * FROM "
                   "pg_stat_activity",
                   store->shown, (unsigned long long)(waited_ms / 1000U));
}

static enum onerow_status give_up(struct or_postgres_store *store, bool finish, uint64_t waited_ms,
                                  struct onerow_error *error)
{
    if (finish) {
        return silent(store, waited_ms, error);
    }
    or_postgres_disconnect(store);
    return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for %s", store->shown);
}

/* Sends and reads once, after at most a tick. *moved: something came in, or could go out. What TLS
 * has decrypted already poll() does not see, so that every tick reads. */
static enum onerow_status exchange(struct or_postgres_store *store, bool *moved,
                                   struct onerow_error *error)
{
    int left = PQflush(store->conn);
    if (left < 0) {
        return or_postgres_lost(store, "sending", error);
    }
    bool busy = PQisBusy(store->conn);
    struct pollfd socket = {.fd = PQsocket(store->conn),
                            .events = (short)(POLLIN | (left ? POLLOUT : 0))};
    int ready = poll(&socket, 1, OR_POSTGRES_TICK_MS);
    if (ready < 0 && errno != EINTR) {
        return or_postgres_lost(store, "waiting", error);
    }
    if (!PQconsumeInput(store->conn)) {
        return or_postgres_lost(store, "receiving", error);
    }
    *moved = ready > 0 || (busy && !PQisBusy(store->conn));
    return ONEROW_OK;
}

/* Waits until the socket can be read, or, while something is left to send, written. */
static enum onerow_status wait_socket(struct or_postgres_store *store,
                                      struct or_postgres_patience patience,
                                      struct onerow_error *error)
{
    uint64_t start = or_postgres_now_ms();
    uint64_t stopped_at = 0;
    for (;;) {
        bool moved = false;
        enum onerow_status status = exchange(store, &moved, error);
        if (status != ONEROW_OK || moved) {
            return status;
        }
        uint64_t now = or_postgres_now_ms();
        if (!stopped_at && or_postgres_stopped(store)) {
            stopped_at = now;
            if (!patience.finish) {
                cancel(store);
            }
        }
        if (stopped_at && now - stopped_at > OR_POSTGRES_CANCEL_MS) {
            return give_up(store, patience.finish, now - start, error);
        }
        if (now - start > patience.limit_ms) {
            return silent(store, now - start, error);
        }
    }
}

enum onerow_status or_postgres_wait(struct or_postgres_store *store, struct onerow_error *error)
{
    return wait_socket(store, for_statement(store), error);
}

enum onerow_status or_postgres_flush(struct or_postgres_store *store, struct onerow_error *error)
{
    int left = 0;
    while ((left = PQflush(store->conn)) > 0) {
        enum onerow_status status = or_postgres_wait(store, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return left == 0 ? ONEROW_OK : or_postgres_lost(store, "sending", error);
}

enum onerow_status or_postgres_next_within(struct or_postgres_store *store,
                                           struct or_postgres_patience patience, PGresult **result,
                                           struct onerow_error *error)
{
    *result = NULL;
    while (PQisBusy(store->conn)) {
        enum onerow_status status = wait_socket(store, patience, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    *result = PQgetResult(store->conn);
    return ONEROW_OK;
}

enum onerow_status or_postgres_next(struct or_postgres_store *store, PGresult **result,
                                    struct onerow_error *error)
{
    enum onerow_status status = or_postgres_next_within(store, for_statement(store), result, error);
    if (status == ONEROW_OK && PQstatus(store->conn) == CONNECTION_BAD) {
        PQclear(*result);
        *result = NULL;
        return or_postgres_lost(store, "receiving", error);
    }
    return status;
}
