/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL: connection, transactions and what errors mean.
 *
 *   begin   connects (again) when need be; sends nothing yet
 *   apply   BEGIN, the settings, the statements and the question for the transaction's
 *           identity in one pipeline: one round trip
 *   commit  COMMIT
 *
 * - READ COMMITTED: each statement sees what is committed when it starts, so that a
 *   statement after a lock sees what the lock's former holder wrote.
 * - No session state: settings are set_config(…, true), which end with the transaction;
 *   statements have no names. Behind a pooler each transaction may meet another session.
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
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres.h"

#define VERSION_MIN 130000
#define TICK_MS     50  /* between looks at the stop flag */
#define NAP_MIN_MS  20U /* before another try to connect, or another look at a transaction */
#define NAP_MAX_MS  1000U
#define CANCEL_MS   5000U  /* for the answer to a cancellation, or to COMMIT after a stop */
#define GRACE_MS    10000U /* beyond wait_ms, within which the server itself gives up a lock */

extern const struct onerow_store_type or_store_postgres;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

static bool stopped(const struct or_postgres_store *store)
{
    return or_flag_is_set(store->stop_now ? store->stop_now : store->stop);
}

static void disconnect(struct or_postgres_store *store)
{
    PQfinish(store->conn);
    store->conn = NULL;
}

/* ---- what errors mean --------------------------------------------------------------------- */

struct sqlstate {
    const char *begins; /* a code, or the class that its first characters name */
    enum onerow_status status;
    const char *advice;
};

/* https://www.postgresql.org/docs/current/errcodes-appendix.html; the first that fits. */
static const struct sqlstate sqlstates[] = {
    {"40001", ONEROW_RETRY, NULL}, /* serialization failure */
    {"40P01", ONEROW_RETRY, NULL}, /* deadlock */
    {"40", ONEROW_RETRY, NULL},
    {"57P01", ONEROW_RETRY, NULL}, /* shutdown, crash, starting up */
    {"57P02", ONEROW_RETRY, NULL},
    {"57P03", ONEROW_RETRY, NULL},
    {"57P05", ONEROW_RETRY, NULL},
    {"08", ONEROW_RETRY, NULL},
    {"25P", ONEROW_RETRY, NULL}, /* the transaction is gone, by a time-out or an error before */
    {"55P03", ONEROW_BUSY, "somebody holds a lock; see pg_stat_activity, or --wait longer"},
    {"57014", ONEROW_RETRY, "cancelled, by statement_timeout or by somebody"},
    {"23505", ONEROW_CLASH, NULL},
    {"25006", ONEROW_READONLY,
     "a standby cannot be written; add target_session_attrs=read-write to the URL"},
    {"42501", ONEROW_CONFIG, "grant the privilege to this role"},
    {"42", ONEROW_CONFIG, "the table may have changed; onerow check says what it finds now"},
    {"0A", ONEROW_REJECTED, NULL},
    {"55", ONEROW_CONFIG, NULL},
    {"3D", ONEROW_UNAVAILABLE, NULL},
    {"3F", ONEROW_CONFIG, NULL},
    {"53100", ONEROW_FULL, "make room on the server's disk, and run again"},
    {"53", ONEROW_UNAVAILABLE, NULL},
    {"58", ONEROW_IO, NULL},
    {"XX001", ONEROW_CORRUPT, NULL},
    {"XX002", ONEROW_CORRUPT, NULL},
    /* Whatever is left came up while a record was being written: 22 (data), 23 (constraints), 44,
     * P0 (RAISE in a trigger), 54 (too large) and codes of users' own. A fault that is not in the
     * records shows itself as each of them being rejected, with this message. */
    {"", ONEROW_REJECTED, NULL},
};

/* Errors that say that the statement and the table no longer fit, unless a record brought them up:
 * an input function that looks something up (regclass), one with a grammar of its own (tsquery), or
 * a trigger that raises what it likes. The parser and the planner point at the statement's text. */
static bool may_be_a_record(const PGresult *result, const char *code)
{
    bool ambiguous = strncmp(code, "42", 2) == 0 || strncmp(code, "0A", 2) == 0 ||
                     (strncmp(code, "55", 2) == 0 && strcmp(code, "55P03") != 0);
    bool ours = strcmp(code, "42501") == 0 || strcmp(code, "42P10") == 0 ||
                PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION) != NULL;
    return ambiguous && (!ours || PQresultErrorField(result, PG_DIAG_CONTEXT) != NULL);
}

static const struct sqlstate *meaning_of(const char *code)
{
    const struct sqlstate *row = sqlstates;
    while (strncmp(code, row->begins, strlen(row->begins)) != 0) {
        row++;
    }
    return row;
}

/* libpq's message without what it puts in front and behind. */
static void add_message(struct or_buffer *text, const char *message)
{
    struct onerow_span trimmed = or_span_trim(or_span(message ? message : ""));
    or_buffer_span(text, trimmed.len ? trimmed : OR_SPAN("the connection was lost"));
}

static void add_field(struct or_buffer *text, const char *name, const char *value)
{
    if (value) {
        or_buffer_printf(text, "\n  %s: %s", name, value);
    }
}

/* Another status for an error that has its text. */
static enum onerow_status rename_failure(struct onerow_error *error, enum onerow_status status)
{
    if (error) {
        error->status = status;
    }
    return status;
}

static enum onerow_status lost(struct or_postgres_store *store, const char *doing,
                               struct onerow_error *error)
{
    struct or_buffer text;
    or_buffer_init(&text);
    add_message(&text, store->conn ? PQerrorMessage(store->conn) : NULL);
    enum onerow_status status =
        store->stage == OR_POSTGRES_IDLE ? ONEROW_UNAVAILABLE : ONEROW_RETRY;
    or_fail(error, status, "%s: %s: %s\n  see whether the server is there, and run again",
            store->shown, doing, or_buffer_cstr(&text));
    or_buffer_finish(&text);
    disconnect(store);
    return status;
}

enum onerow_status or_postgres_fail(struct or_postgres_store *store, const PGresult *result,
                                    const char *doing, struct onerow_error *error)
{
    const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!code) {
        return lost(store, doing, error);
    }
    const struct sqlstate *meaning = meaning_of(code);
    enum onerow_status status = meaning->status;
    const char *advice = meaning->advice;
    if (strcmp(code, "42501") == 0 && store->has_row_security) {
        status = ONEROW_REJECTED;
        advice = NULL;
    }
    if (may_be_a_record(result, code)) {
        status = ONEROW_REJECTED;
        store->suspect = true;
        advice = NULL;
    }
    if (strcmp(code, "57014") == 0 && stopped(store)) {
        status = ONEROW_INTERRUPTED;
        advice = NULL;
    }
    struct or_buffer text;
    or_buffer_init(&text);
    add_message(&text, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    add_field(&text, "detail", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add_field(&text, "hint", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
    add_field(&text, "where", PQresultErrorField(result, PG_DIAG_CONTEXT));
    or_buffer_printf(&text, "\n  %s, SQLSTATE %s, %s%s%s", doing, code, store->shown,
                     advice ? "\n  " : "", advice ? advice : "");
    or_fail(error, status, "%s", or_buffer_cstr(&text));
    or_buffer_finish(&text);
    return status;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void cancel(struct or_postgres_store *store)
{
    char unwanted[256];
    PGcancel *cancellation = PQgetCancel(store->conn);
    if (cancellation) {
        PQcancel(cancellation, unwanted, sizeof unwanted);
        PQfreeCancel(cancellation);
    }
}

/* How long an answer is waited for. */
struct patience {
    uint64_t limit_ms;
    bool finish; /* COMMIT and ROLLBACK are not cancelled: a stop only shortens the wait */
};

/* The server gives up a lock after wait_ms by itself, and says so. */
static struct patience for_statement(const struct or_postgres_store *store)
{
    return (struct patience){.limit_ms = store->wait_ms + GRACE_MS};
}

static struct patience for_commit(const struct or_postgres_store *store)
{
    uint64_t limit = store->wait_ms > CANCEL_MS ? store->wait_ms : CANCEL_MS;
    return (struct patience){.limit_ms = limit, .finish = true};
}

static enum onerow_status silent(struct or_postgres_store *store, uint64_t waited_ms,
                                 struct onerow_error *error)
{
    enum onerow_status status =
        store->stage == OR_POSTGRES_IDLE ? ONEROW_UNAVAILABLE : ONEROW_RETRY;
    disconnect(store);
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
    disconnect(store);
    return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for %s", store->shown);
}

/* Sends and reads once, after at most a tick. *moved: something came in, or could go out. What TLS
 * has decrypted already poll() does not see, so that every tick reads. */
static enum onerow_status exchange(struct or_postgres_store *store, bool *moved,
                                   struct onerow_error *error)
{
    int left = PQflush(store->conn);
    if (left < 0) {
        return lost(store, "sending", error);
    }
    bool busy = PQisBusy(store->conn);
    struct pollfd socket = {.fd = PQsocket(store->conn),
                            .events = (short)(POLLIN | (left ? POLLOUT : 0))};
    int ready = poll(&socket, 1, TICK_MS);
    if (ready < 0 && errno != EINTR) {
        return lost(store, "waiting", error);
    }
    if (!PQconsumeInput(store->conn)) {
        return lost(store, "receiving", error);
    }
    *moved = ready > 0 || (busy && !PQisBusy(store->conn));
    return ONEROW_OK;
}

/* Waits until the socket can be read, or, while something is left to send, written. */
static enum onerow_status wait_socket(struct or_postgres_store *store, struct patience patience,
                                      struct onerow_error *error)
{
    uint64_t start = now_ms();
    uint64_t stopped_at = 0;
    for (;;) {
        bool moved = false;
        enum onerow_status status = exchange(store, &moved, error);
        if (status != ONEROW_OK || moved) {
            return status;
        }
        uint64_t now = now_ms();
        if (!stopped_at && stopped(store)) {
            stopped_at = now;
            if (!patience.finish) {
                cancel(store);
            }
        }
        if (stopped_at && now - stopped_at > CANCEL_MS) {
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
    return left == 0 ? ONEROW_OK : lost(store, "sending", error);
}

static enum onerow_status next_result(struct or_postgres_store *store, struct patience patience,
                                      PGresult **result, struct onerow_error *error)
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
    enum onerow_status status = next_result(store, for_statement(store), result, error);
    if (status == ONEROW_OK && PQstatus(store->conn) == CONNECTION_BAD) {
        PQclear(*result);
        *result = NULL;
        return lost(store, "receiving", error);
    }
    return status;
}

/* ---- connecting --------------------------------------------------------------------------------
 */

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* connect_timeout, which libpq leaves to those who poll; 0: none. */
static uint64_t host_limit_ms(PGconn *conn)
{
    long seconds = 0;
    PQconninfoOption *options = PQconninfo(conn);
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        if (strcmp(option->keyword, "connect_timeout") == 0 && option->val) {
            seconds = strtol(option->val, NULL, 10);
        }
    }
    PQconninfoFree(options);
    return seconds > 0 ? (uint64_t)seconds * 1000U : 0;
}

/* Until there is a connection, or none is to be had. A host that keeps silent for connect_timeout
 * is hung up on; libpq then goes on with the next one, where there is one. */
static PostgresPollingStatusType poll_connection(struct or_postgres_store *store, bool *was_silent)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    uint64_t limit = host_limit_ms(store->conn);
    uint64_t since = now_ms();
    while (PQstatus(store->conn) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
           next != PGRES_POLLING_FAILED && !stopped(store)) {
        struct pollfd socket = {.fd = PQsocket(store->conn),
                                .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (limit && now_ms() - since > limit) {
            shutdown(socket.fd, SHUT_RDWR);
            *was_silent = true;
        }
        if (poll(&socket, 1, TICK_MS) > 0) {
            next = PQconnectPoll(store->conn);
            since = now_ms();
        }
    }
    return next;
}

#define SQLSTATE_LEN 5U

/* Where libpq's verbose "FATAL:  57P03: the database …" has its code; NULL: nowhere. */
static const char *find_code(const char *line)
{
    static const char characters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *at = strstr(line, ":  ");
    while (at && (strspn(at + 3, characters) != SQLSTATE_LEN || at[3 + SQLSTATE_LEN] != ':')) {
        at = strstr(at + 1, ":  ");
    }
    return at ? at + 3 : NULL;
}

/* libpq's verbose message for a person: without the code, which goes to `code` ("": the server said
 * none), and without the place in the server's source. */
static void take_message(struct or_buffer *text, const char *message, char code[SQLSTATE_LEN + 1])
{
    static const char place[] = "LOCATION:";
    *code = '\0';
    for (const char *line = message; *line;) {
        size_t len = strcspn(line, "\n");
        const char *at = find_code(line);
        bool within = at && at < line + len;
        if (within) {
            memcpy(code, at, SQLSTATE_LEN);
            code[SQLSTATE_LEN] = '\0';
            or_buffer_add(text, line, (size_t)(at - line));
            at += SQLSTATE_LEN + 2;
            or_buffer_add(text, at, (size_t)(line + len - at));
        } else if (strncmp(line, place, strlen(place)) != 0) {
            or_buffer_add(text, line, len);
        }
        line += len + (line[len] == '\n');
        or_buffer_text(text, *line && strncmp(line, place, strlen(place)) != 0 ? "\n" : "");
    }
}

static void add_advice(struct or_buffer *text, PGconn *conn, const char *code)
{
    const char *host = PQhost(conn) && *PQhost(conn) ? PQhost(conn) : "localhost";
    const char *port = PQport(conn) && *PQport(conn) ? PQport(conn) : "5432";
    if (strncmp(code, "28", 2) == 0 || PQconnectionNeedsPassword(conn)) {
        or_buffer_text(text,
                       "\n  see to the user's name, to the password (~/.pgpass, PGPASSWORD or "
                       "${VARIABLE} in the URL) and to the server's pg_hba.conf");
    } else if (strcmp(code, "3D000") == 0) {
        or_buffer_printf(text, "\n  make it: createdb -h %s -p %s %s", host, port, PQdb(conn));
    } else if (strcmp(code, "53300") == 0) {
        or_buffer_text(text, "\n  raise max_connections, or put a pooler such as pgbouncer before "
                             "the server");
    } else {
        or_buffer_printf(text, "\n  see whether the server is there: pg_isready -h %s -p %s", host,
                         port);
    }
}

/* Whether time may help: the server is starting; or, where it was there before, it does not answer
 * or has no place. */
static bool may_pass(const char *code, bool again)
{
    return strcmp(code, "57P03") == 0 ||
           (again && (!*code || strncmp(code, "57P", 3) == 0 || strncmp(code, "08", 2) == 0 ||
                      strcmp(code, "53300") == 0));
}

/* One try. *wait: another one may do better. */
static enum onerow_status connect_once(struct or_postgres_store *store, bool again, bool *wait,
                                       struct onerow_error *error)
{
    char code[SQLSTATE_LEN + 1];
    bool was_silent = false;
    struct or_buffer text;
    *wait = false;
    disconnect(store);
    store->conn = PQconnectStart(store->conninfo);
    if (!store->conn) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    PQsetErrorVerbosity(store->conn, PQERRORS_VERBOSE); /* for the SQLSTATE */
    if (poll_connection(store, &was_silent) == PGRES_POLLING_OK) {
        return ONEROW_OK;
    }
    if (stopped(store)) {
        disconnect(store);
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted while connecting to %s",
                       store->shown);
    }
    or_buffer_init(&text);
    take_message(&text, PQerrorMessage(store->conn), code);
    or_buffer_text(&text, was_silent ? "\n  no answer within connect_timeout" : "");
    add_advice(&text, store->conn, code);
    *wait = may_pass(code, again);
    or_fail(error, ONEROW_UNAVAILABLE, "%s: %s", store->shown, or_buffer_cstr(&text));
    or_buffer_finish(&text);
    disconnect(store);
    return ONEROW_UNAVAILABLE;
}

/* Sleeps a while that grows and that nobody shares; false when it is time to give up. */
static bool nap(const struct or_postgres_store *store, unsigned *length, uint64_t deadline)
{
    uint64_t now = now_ms();
    if (stopped(store) || now >= deadline) {
        return false;
    }
    uint64_t most = deadline - now;
    uint64_t jittered = *length / 2 + (now * 2654435761U ^ (uint64_t)getpid()) % (*length / 2 + 1);
    usleep((useconds_t)((jittered < most ? jittered : most) * 1000U));
    *length = *length * 2 < NAP_MAX_MS ? *length * 2 : NAP_MAX_MS;
    return true;
}

/* What every connection needs to know of its server. */
static enum onerow_status greet(struct or_postgres_store *store, struct onerow_error *error)
{
    PQsetErrorVerbosity(store->conn, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(store->conn, ignore_notice, NULL);
    store->version = PQserverVersion(store->conn);
    store->connection++;
    if (PQsetnonblocking(store->conn, 1) != 0) {
        return lost(store, "connecting", error);
    }
    if (store->version < VERSION_MIN) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: is PostgreSQL %d.%d; onerow needs 13 or later (pg_current_xact_id, "
                       "which tells what became of a lost COMMIT)",
                       store->shown, store->version / 10000, store->version % 10000);
    }
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_ask(
        store,
        "SELECT pg_catalog.pg_is_in_recovery(), "
        "pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AND "
        "pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE')",
        NULL, 0, &result, error);
    bool standby = status == ONEROW_OK && PQgetvalue(result, 0, 0)[0] == 't';
    store->may_identify = status == ONEROW_OK && PQgetvalue(result, 0, 1)[0] == 't';
    PQclear(result);
    if (standby && !store->read_only) {
        status = or_fail(error, ONEROW_READONLY,
                         "%s: is a standby, which cannot be written\n  name the primary, or all "
                         "hosts and target_session_attrs=read-write",
                         store->shown);
    }
    return status;
}

/* What a server that is on its way back says: behind a pooler, it is the first question that fails
 * and not the connection; and a standby may be about to be promoted. */
static bool may_come_back(enum onerow_status status)
{
    return status == ONEROW_UNAVAILABLE || status == ONEROW_RETRY || status == ONEROW_READONLY;
}

/* A first connection that fails is told at once, unless the server is starting; one that was there
 * is waited for. */
static enum onerow_status connect_patiently(struct or_postgres_store *store,
                                            struct onerow_error *error)
{
    uint64_t deadline = now_ms() + store->wait_ms;
    unsigned length = NAP_MIN_MS;
    bool again = store->connection > 0;
    for (;;) {
        bool wait = false;
        enum onerow_status status = connect_once(store, again, &wait, error);
        if (status == ONEROW_OK) {
            status = greet(store, error);
            wait = again && may_come_back(status);
        }
        if (status == ONEROW_OK) {
            return status;
        }
        if (!wait || !nap(store, &length, deadline)) {
            return status == ONEROW_RETRY ? rename_failure(error, ONEROW_UNAVAILABLE) : status;
        }
    }
}

/* Whether the connection stands, as far as what has arrived tells: a server that went away has said
 * so, most of the time, and a question that is sent all the same would fail. */
static bool stands(PGconn *conn)
{
    struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
    if (PQtransactionStatus(conn) != PQTRANS_IDLE) {
        return PQstatus(conn) == CONNECTION_OK;
    }
    for (int i = 0; i < 8 && PQstatus(conn) == CONNECTION_OK && poll(&socket, 1, 0) > 0; i++) {
        PQconsumeInput(conn);
        PQisBusy(conn); /* takes notices out of the buffer */
    }
    return PQstatus(conn) == CONNECTION_OK;
}

enum onerow_status or_postgres_connect(struct or_postgres_store *store, struct onerow_error *error)
{
    if (store->conn && stands(store->conn)) {
        return ONEROW_OK;
    }
    enum or_postgres_stage stage = store->stage;
    store->stage = OR_POSTGRES_IDLE; /* a question of greet's is no part of a transaction */
    enum onerow_status status = connect_patiently(store, error);
    store->stage = stage;
    if (status != ONEROW_OK) {
        disconnect(store);
    }
    return status;
}

/* ---- statements
 * ------------------------------------------------------------------------------------ */

/* What every transaction begins with. wait_ms bounds the waits for locks, and statements where the
 * role has no bound of its own: one that nobody waits for any more must not go on and hold its
 * locks. A commit is acknowledged when it is on disk, whatever the default. */
#define SETTINGS                                                                                   \
    "SELECT pg_catalog.set_config('TimeZone', 'UTC', true), "                                      \
    "pg_catalog.set_config('DateStyle', 'ISO, MDY', true), "                                       \
    "pg_catalog.set_config('lock_timeout', '%d', true), "                                          \
    "pg_catalog.set_config('array_nulls', 'on', true), "                                           \
    "pg_catalog.set_config('IntervalStyle', 'postgres', true), "                                   \
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
    int longest = wait_ms > INT_MAX - (int)GRACE_MS ? INT_MAX : wait_ms + (int)GRACE_MS;
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

static bool is_answer(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK || kind == PGRES_EMPTY_QUERY;
}

/* No record is to blame for what BEGIN and the settings were refused for. */
static enum onerow_status judge_preamble(enum onerow_status status, const PGresult *result,
                                         struct onerow_error *error)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool standby = code && strcmp(code, "0A000") == 0; /* READ WRITE during recovery */
    return status != ONEROW_REJECTED
               ? status
               : rename_failure(error, standby ? ONEROW_READONLY : ONEROW_CONFIG);
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
        if (worst == ONEROW_OK && !is_answer(result)) {
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
        return lost(store, "sending", error);
    }
    enum onerow_status status =
        receive_all(store, statements, n, begin ? PREAMBLE : 0, failed, error);
    if (store->conn && !PQexitPipelineMode(store->conn)) {
        disconnect(store);
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
        status =
            lost(store, "asking", error); /* another connection is no part of the transaction */
    }
    if (status != ONEROW_OK) {
        return status;
    }
    store->base.round_trips++;
    if (!PQsendQueryParams(store->conn, sql, (int)n, NULL, params, NULL, NULL, 0)) {
        return lost(store, "sending", error);
    }
    status = or_postgres_next(store, result, error);
    if (status == ONEROW_OK) {
        status = or_postgres_next(store, &more, error);
        PQclear(more);
    }
    if (status == ONEROW_OK && !is_answer(*result)) {
        status = or_postgres_fail(store, *result, "asking", error);
    }
    if (status != ONEROW_OK) {
        PQclear(*result);
        *result = NULL;
    }
    return status;
}

/* ---- identity
 * ------------------------------------------------------------------------------------------ */

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

/* ---- transactions
 * ------------------------------------------------------------------------------------------ */

static enum onerow_status postgres_begin(struct onerow_store *base, const volatile bool *stop,
                                         struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    store->stop_now = stop;
    store->stage = OR_POSTGRES_IDLE;
    *store->xid = '\0';
    store->incarnation.known = false;
    if (stopped(store)) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted");
    }
    enum onerow_status status = or_postgres_connect(store, error);
    store->stage = status == ONEROW_OK ? OR_POSTGRES_WANTED : OR_POSTGRES_IDLE;
    return status;
}

static void undo(struct or_postgres_store *store)
{
    PGresult *result = NULL;
    struct patience patience = {.limit_ms = GRACE_MS, .finish = true};
    bool undone = false;
    enum onerow_status status = ONEROW_RETRY;
    store->base.round_trips++;
    if (PQsendQueryParams(store->conn, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0)) {
        while ((status = next_result(store, patience, &result, NULL)) == ONEROW_OK && result) {
            undone = PQresultStatus(result) == PGRES_COMMAND_OK;
            PQclear(result);
        }
    }
    if (status != ONEROW_OK || !undone) {
        disconnect(store);
    }
}

static void postgres_rollback(struct onerow_store *base)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    if (store->stage == OR_POSTGRES_OPEN && store->conn) {
        undo(store);
    }
    store->stage = OR_POSTGRES_IDLE;
    store->stop_now = NULL;
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
    disconnect(store);
    rename_failure(error, ONEROW_UNAVAILABLE);
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

static enum onerow_status postgres_commit(struct onerow_store *base, struct onerow_error *error)
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
        lost(store, "committing", error);
        return in_doubt(store, error);
    }
    enum onerow_status status = next_result(store, for_commit(store), &result, error);
    if (status == ONEROW_OK && result) {
        status = judge_commit(store, result, error);
    } else {
        if (status == ONEROW_OK) {
            lost(store, "committing", error);
        }
        status = in_doubt(store, error);
    }
    PQclear(result);
    if (store->conn && next_result(store, for_commit(store), &end, NULL) != ONEROW_OK) {
        disconnect(store);
    }
    PQclear(end);
    if (status != ONEROW_UNKNOWN) {
        store->stage = OR_POSTGRES_IDLE;
    }
    store->stop_now = NULL; /* lent for the transaction */
    return status;
}

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
    uint64_t deadline = now_ms() + store->wait_ms;
    unsigned length = NAP_MIN_MS;
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
        if (nap(store, &length, deadline)) {
            continue;
        }
        if (stopped(store)) {
            return or_fail(error, ONEROW_INTERRUPTED, "interrupted while asking %s", store->shown);
        }
        return asked ? cannot_tell(error, "it is still in progress")
                     : rename_failure(error, ONEROW_UNAVAILABLE);
    }
}

static enum onerow_status postgres_resolve(struct onerow_store *base, const volatile bool *stop,
                                           struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    store->stage = OR_POSTGRES_IDLE;
    store->stop_now = stop;
    enum onerow_status status = resolve(store, error);
    store->stop_now = NULL;
    return status;
}

/* ---- opening and closing
 * -------------------------------------------------------------------------------------- */

static void postgres_close(struct onerow_store *base)
{
    if (base) {
        struct or_postgres_store *store = or_postgres_store_of(base);
        disconnect(store);
        free(store->conninfo);
        free(store->shown);
        free(store);
    }
}

static enum onerow_status postgres_open(const struct onerow_store_options *options,
                                        struct onerow_store **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_postgres_store *store = calloc(1, sizeof *store);
    if (!store) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *store = (struct or_postgres_store){.base = {.type = &or_store_postgres},
                                        .wait_ms = options->wait_ms,
                                        .read_only = options->read_only,
                                        .leave_as_is = options->leave_as_is,
                                        .stop = options->stop};
    enum onerow_status status =
        or_postgres_url(options->url, &store->conninfo, &store->shown, error);
    if (status == ONEROW_OK) {
        status = or_postgres_connect(store, error);
    }
    if (status != ONEROW_OK) {
        postgres_close(&store->base);
        return status;
    }
    *out = &store->base;
    return ONEROW_OK;
}

const struct onerow_store_type or_store_postgres = {
    .name = "postgres",
    .summary = "a PostgreSQL database; its unique index keeps one row per key",
    .url = "postgres://HOST/DATABASE",
    .schemes = (const char *const[]){"postgres:", "postgresql:", "postgresql+", NULL},
    .open = postgres_open,
    .close = postgres_close,
    .table_open = or_postgres_table_open,
    .table_close = or_postgres_table_close,
    .table_create = or_postgres_table_create,
    .begin = postgres_begin,
    .apply = or_postgres_apply,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .resolve = postgres_resolve,
    .look = or_postgres_look,
    .get = or_postgres_get,
    .audit = or_postgres_audit,
    .statement = or_postgres_statement,
    .suggest = or_postgres_suggest,
};
