/* SPDX-License-Identifier: Apache-2.0
 *
 * Connecting, and connecting again.
 *
 * A first connection that fails is told at once, unless the server is starting: the user is
 * waiting, and what is wrong is most often in the URL. One that was there before is waited for, as
 * long as waiting may help.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/status.h"
#include "store/store_postgres_session.h"

#define VERSION_MIN  130000
#define SQLSTATE_LEN 5U

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
    uint64_t since = or_postgres_now_ms();
    while (PQstatus(store->conn) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
           next != PGRES_POLLING_FAILED && !or_postgres_stopped(store)) {
        struct pollfd socket = {.fd = PQsocket(store->conn),
                                .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (limit && or_postgres_now_ms() - since > limit) {
            shutdown(socket.fd, SHUT_RDWR);
            *was_silent = true;
        }
        if (poll(&socket, 1, OR_POSTGRES_TICK_MS) > 0) {
            next = PQconnectPoll(store->conn);
            since = or_postgres_now_ms();
        }
    }
    return next;
}

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
    or_postgres_disconnect(store);
    store->conn = PQconnectStart(store->conninfo);
    if (!store->conn) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    PQsetErrorVerbosity(store->conn, PQERRORS_VERBOSE); /* for the SQLSTATE */
    if (poll_connection(store, &was_silent) == PGRES_POLLING_OK) {
        return ONEROW_OK;
    }
    if (or_postgres_stopped(store)) {
        or_postgres_disconnect(store);
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
    or_postgres_disconnect(store);
    return ONEROW_UNAVAILABLE;
}

/* What every connection needs to know of its server. */
static enum onerow_status greet(struct or_postgres_store *store, struct onerow_error *error)
{
    PQsetErrorVerbosity(store->conn, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(store->conn, ignore_notice, NULL);
    store->version = PQserverVersion(store->conn);
    store->connection++;
    if (PQsetnonblocking(store->conn, 1) != 0) {
        return or_postgres_lost(store, "connecting", error);
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
    uint64_t deadline = or_postgres_now_ms() + store->wait_ms;
    unsigned length = OR_POSTGRES_NAP_MIN_MS;
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
        if (!wait || !or_postgres_nap(store, &length, deadline)) {
            return status == ONEROW_RETRY ? or_postgres_rename_failure(error, ONEROW_UNAVAILABLE)
                                          : status;
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
        or_postgres_disconnect(store);
    }
    return status;
}
