/* SPDX-License-Identifier: Apache-2.0
 *
 * A coordinator in a PostgreSQL database, for processes of any number of hosts. Its tables are in a
 * schema of their own, made when it is missing:
 *
 *   onerow.ledger_meta   one row: the ledger's id, the next number, the server's identity
 *   onerow.ledger_space  the namespaces and their definitions; why one is suspect
 *   onerow.ledger        the records
 *
 * Swaps. One transaction, READ COMMITTED, takes any number of them:
 *
 *   1. INSERT what is not there (revision 0: never written), ON CONFLICT DO NOTHING
 *   2. in a later statement SELECT … FOR UPDATE, all named records
 *   3. UPDATE those that change; DELETE what was only inserted to be locked; COMMIT
 *
 * Rows are locked in one order, by kind and name, so that swaps wait for each other instead of
 * dead-locking; and a record that nobody has written yet is locked like any other, which an INSERT
 * alone would not do. (A deadlock with somebody else's statements is tried again: nothing
 * happened.) Between 2 and 3 the swaps are decided here, one after the other.
 *
 * A stamp is the server's clock_timestamp(), and never less than the record's own last one. (now()
 * would be the transaction's start, which may be long ago.)
 *
 * The commit waits for the disk whatever the server's default is (synchronous_commit). When its
 * answer does not come, the swaps are UNKNOWN; when the connection is lost before, nothing
 * happened.
 *
 * There is no session state, for the sake of poolers: no prepared statements, no settings beyond a
 * transaction, no locks beyond one.
 *
 * Roll-back. A database with another system identifier or on another timeline than the recorded one
 * was restored or promoted, and may have forgotten commits that it had answered: every namespace
 * becomes SUSPECT, and the new identity is recorded, in one transaction. The timeline is that of
 * the WAL that is being written, which every role may ask for; the identifier only where the role
 * may read pg_control_system().
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/ledger_common.h"
#include "postgres/postgres_url.h"

#define TICK_MS    50
#define TRIES      10 /* of a transaction that the server undid */
#define LIST_ROWS  500
#define REASON_MAX 256U
#define FORMAT     "1"

struct postgres {
    struct onerow_coordinator base;
    PGconn *conn;   /* NULL or broken: the next call connects */
    char *conninfo; /* owned, with the password if there is one */
    char *shown;    /* owned, for messages */
    uint64_t wait_ms;
    const volatile bool *stop;
    char ledger_id[33];
    char why[REASON_MAX];
};

static struct postgres *postgres_of(struct onerow_coordinator *coordinator)
{
    return (struct postgres *)coordinator;
}

static uint64_t steady_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* ---- questions and answers ---------------------------------------------------------------- */

static void hang_up(struct postgres *postgres)
{
    PQfinish(postgres->conn);
    postgres->conn = NULL;
}

static enum onerow_status lost(struct postgres *postgres, struct onerow_error *error)
{
    const char *why = postgres->conn ? PQerrorMessage(postgres->conn) : "no connection";
    enum onerow_status status =
        or_fail(error, ONEROW_UNAVAILABLE,
                "the ledger at %s: %.*s\n  see that the server is there, then run again",
                postgres->shown, (int)strcspn(why, "\n"), why);
    hang_up(postgres);
    return status;
}

/* Until the connection has something to read. */
static enum onerow_status wait_readable(struct postgres *postgres, struct onerow_error *error)
{
    uint64_t end = steady_ms() + postgres->wait_ms;
    for (;;) {
        struct pollfd socket = {.fd = PQsocket(postgres->conn), .events = POLLIN};
        if (poll(&socket, 1, TICK_MS) > 0) {
            return ONEROW_OK;
        }
        if (postgres->stop && or_flag_is_set(postgres->stop)) {
            hang_up(postgres);
            return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for the ledger");
        }
        if (steady_ms() >= end) {
            hang_up(postgres);
            return or_fail(error, ONEROW_BUSY, "the ledger at %s did not answer in time",
                           postgres->shown);
        }
    }
}

/* The result of what was sent; *result is the caller's. */
static enum onerow_status take_result(struct postgres *postgres, PGresult **result,
                                      struct onerow_error *error)
{
    *result = NULL;
    for (;;) {
        while (PQisBusy(postgres->conn)) {
            enum onerow_status status = wait_readable(postgres, error);
            if (status != ONEROW_OK) {
                PQclear(*result);
                *result = NULL;
                return status;
            }
            if (!PQconsumeInput(postgres->conn)) {
                PQclear(*result);
                *result = NULL;
                return lost(postgres, error);
            }
        }
        PGresult *next = PQgetResult(postgres->conn);
        if (!next) {
            return *result ? ONEROW_OK : lost(postgres, error);
        }
        PQclear(*result);
        *result = next;
    }
}

/* What a failed result means. The transaction is over with it, or has to be rolled back. */
static enum onerow_status refusal(struct postgres *postgres, const PGresult *result,
                                  struct onerow_error *error)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum onerow_status status = ONEROW_UNAVAILABLE;
    code = code ? code : "";
    if (strcmp(code, "40001") == 0 || strcmp(code, "40P01") == 0) {
        status = ONEROW_RETRY;
    } else if (strncmp(code, "42", 2) == 0) {
        status = ONEROW_CONFIG;
    } else if (strncmp(code, "53", 2) == 0) {
        status = ONEROW_FULL;
    } else if (strcmp(code, "55P03") == 0 || strcmp(code, "57014") == 0) {
        status = ONEROW_BUSY;
    } else if (strcmp(code, "25006") == 0) {
        status = ONEROW_READONLY;
    }
    if (PQstatus(postgres->conn) != CONNECTION_OK) {
        hang_up(postgres);
    }
    return or_fail(error, status, "the ledger at %s: %s", postgres->shown,
                   text ? text : PQresultErrorMessage(result));
}

/* One statement with text parameters, outside of a transaction its own. */
static enum onerow_status ask(struct postgres *postgres, const char *sql, const char *const *params,
                              int n, PGresult **result, struct onerow_error *error)
{
    *result = NULL;
    postgres->base.round_trips++;
    if (!postgres->conn ||
        !PQsendQueryParams(postgres->conn, sql, n, NULL, params, NULL, NULL, 0)) {
        return lost(postgres, error);
    }
    enum onerow_status status = take_result(postgres, result, error);
    if (status != ONEROW_OK) {
        return status;
    }
    ExecStatusType answer = PQresultStatus(*result);
    if (answer == PGRES_TUPLES_OK || answer == PGRES_COMMAND_OK) {
        return ONEROW_OK;
    }
    status = refusal(postgres, *result, error);
    PQclear(*result);
    *result = NULL;
    return status;
}

static enum onerow_status tell(struct postgres *postgres, const char *sql,
                               const char *const *params, int n, struct onerow_error *error)
{
    PGresult *result = NULL;
    enum onerow_status status = ask(postgres, sql, params, n, &result, error);
    PQclear(result);
    return status;
}

static enum onerow_status connect_to(struct postgres *postgres, struct onerow_error *error)
{
    if (postgres->conn && PQstatus(postgres->conn) == CONNECTION_OK &&
        PQtransactionStatus(postgres->conn) == PQTRANS_IDLE) {
        return ONEROW_OK;
    }
    hang_up(postgres);
    postgres->conn = PQconnectdb(postgres->conninfo);
    return PQstatus(postgres->conn) == CONNECTION_OK ? ONEROW_OK : lost(postgres, error);
}

static enum onerow_status begin(struct postgres *postgres, struct onerow_error *error)
{
    enum onerow_status status =
        tell(postgres, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, 0, error);
    return status == ONEROW_OK
               ? tell(postgres, "SELECT pg_catalog.set_config('synchronous_commit', 'on', true)",
                      NULL, 0, error)
               : status;
}

/* Ends a transaction whose work came to `status`. */
static enum onerow_status end(struct postgres *postgres, enum onerow_status status,
                              struct onerow_error *error)
{
    struct onerow_error unsaid;
    if (status != ONEROW_OK) {
        if (postgres->conn && tell(postgres, "ROLLBACK", NULL, 0, &unsaid) != ONEROW_OK) {
            hang_up(postgres);
        }
        return status;
    }
    PGresult *result = NULL;
    status = ask(postgres, "COMMIT", NULL, 0, &result, error);
    PQclear(result);
    if (postgres->conn) {
        return status; /* the server's own word: kept, or undone */
    }
    return or_fail(error, ONEROW_UNKNOWN,
                   "the ledger at %s: the commit was sent and not answered; it may have happened",
                   postgres->shown);
}

/* Work in a transaction of its own, again while the server undoes it for no fault of the work's. */
typedef enum onerow_status work(struct postgres *postgres, void *context,
                                struct onerow_error *error);

static enum onerow_status transact(struct postgres *postgres, work *run, void *context,
                                   struct onerow_error *error)
{
    enum onerow_status status = ONEROW_RETRY;
    for (unsigned i = 0; i < TRIES && status == ONEROW_RETRY; i++) {
        status = connect_to(postgres, error);
        status = status == ONEROW_OK ? begin(postgres, error) : status;
        if (status == ONEROW_OK) {
            status = end(postgres, run(postgres, context, error), error);
        }
    }
    return status == ONEROW_RETRY
               ? or_fail(error, ONEROW_BUSY, "the ledger at %s kept undoing the transaction",
                         postgres->shown)
               : status;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void add_hex(struct or_buffer *out, struct onerow_span bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        char hex[2] = {digits[byte >> 4], digits[byte & 15U]};
        or_buffer_add(out, hex, 2);
    }
}

/* An element of an array of hexadecimal texts. */
static void add_element(struct or_buffer *out, struct onerow_span bytes)
{
    or_buffer_char(out, out->len ? ',' : '{');
    if (bytes.len == 0) {
        or_buffer_text(out, "\"\"");
    }
    add_hex(out, bytes);
}

static void add_number(struct or_buffer *out, uint64_t number)
{
    or_buffer_printf(out, "%c%" PRIu64, out->len ? ',' : '{', number);
}

static const char *closed(struct or_buffer *out)
{
    or_buffer_text(out, out->len ? "}" : "{}");
    return out->failed ? NULL : or_buffer_cstr(out);
}

static uint64_t number_at(const PGresult *result, int row, int at)
{
    return strtoull(PQgetvalue(result, row, at), NULL, 10);
}

static unsigned nibble(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'a') + 10U;
}

/* The bytes of a hexadecimal text, in the arena; data NULL: out of memory. */
static struct onerow_span bytes_at(const PGresult *result, int row, int at, struct or_arena *arena)
{
    const char *hex = PQgetvalue(result, row, at);
    size_t len = (size_t)PQgetlength(result, row, at) / 2;
    char *bytes = or_arena_bytes(arena, len + 1);
    for (size_t i = 0; bytes && i < len; i++) {
        bytes[i] = (char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    }
    return (struct onerow_span){bytes, len};
}

#define MS(expression) "(extract(epoch FROM " expression ") * 1000)::bigint"

/* ---- opening -----------------------------------------------------------------------------------
 */

static const char *const SCHEMA[] = {
    "SELECT pg_catalog.pg_advisory_xact_lock(7310311)", /* two at once would clash in the catalog */
    "CREATE SCHEMA IF NOT EXISTS onerow",
    "CREATE TABLE IF NOT EXISTS onerow.ledger_meta (one boolean PRIMARY KEY CHECK (one), "
    "format text NOT NULL, ledger_id text NOT NULL, next_number bigint NOT NULL, "
    "server text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS onerow.ledger_space (number bigint PRIMARY KEY GENERATED ALWAYS AS "
    "IDENTITY, name bytea NOT NULL UNIQUE, definition bytea NOT NULL, suspect text)",
    "CREATE TABLE IF NOT EXISTS onerow.ledger (space bigint NOT NULL, kind smallint NOT NULL, "
    "name bytea NOT NULL, revision bigint NOT NULL, state smallint NOT NULL, "
    "since_ms bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (space, kind, name))",
};

static enum onerow_status make_tables(struct postgres *postgres, void *context,
                                      struct onerow_error *error)
{
    char id[33];
    (void)context;
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < sizeof SCHEMA / sizeof *SCHEMA && status == ONEROW_OK; i++) {
        status = tell(postgres, SCHEMA[i], NULL, 0, error);
    }
    if (status == ONEROW_OK && !or_ledger_random_id(id)) {
        return or_fail(error, ONEROW_UNAVAILABLE, "the system gives no random numbers");
    }
    const char *params[] = {FORMAT, id};
    return status == ONEROW_OK ? tell(postgres,
                                      "INSERT INTO onerow.ledger_meta VALUES (true, $1, $2, 1, '') "
                                      "ON CONFLICT DO NOTHING",
                                      params, 2, error)
                               : status;
}

static enum onerow_status advise(struct onerow_error *error)
{
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s\n  let a role that may do so run:", error->text);
    for (size_t i = 1; i < sizeof SCHEMA / sizeof *SCHEMA; i++) {
        or_buffer_printf(&text, "\n  %s;", SCHEMA[i]);
    }
    or_fail(error, ONEROW_CONFIG, "%s", or_buffer_cstr(&text));
    or_buffer_finish(&text);
    return ONEROW_CONFIG;
}

static enum onerow_status set_up(struct postgres *postgres, struct onerow_error *error)
{
    PGresult *result = NULL;
    enum onerow_status status = connect_to(postgres, error);
    if (status == ONEROW_OK) {
        status = ask(postgres,
                     "SELECT pg_catalog.to_regclass('onerow.ledger') IS NOT NULL AND "
                     "pg_catalog.to_regclass('onerow.ledger_meta') IS NOT NULL AND "
                     "pg_catalog.to_regclass('onerow.ledger_space') IS NOT NULL",
                     NULL, 0, &result, error);
    }
    bool there = status == ONEROW_OK && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    if (status != ONEROW_OK || there) {
        return status;
    }
    status = transact(postgres, make_tables, NULL, error);
    return status == ONEROW_CONFIG ? advise(error) : status;
}

/* What the server is known by: "SYSTEM/TIMELINE"; the former "" where it may not be asked for. */
static enum onerow_status identify(struct postgres *postgres, char identity[64],
                                   struct onerow_error *error)
{
    PGresult *result = NULL;
    enum onerow_status status =
        ask(postgres,
            "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', "
            "'EXECUTE')",
            NULL, 0, &result, error);
    bool may = status == ONEROW_OK && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    if (status != ONEROW_OK) {
        return status;
    }
    status = ask(postgres,
                 may ? "SELECT system_identifier, pg_catalog.substr(pg_catalog."
                       "pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) "
                       "FROM pg_catalog.pg_control_system()"
                     : "SELECT '', pg_catalog.substr(pg_catalog.pg_walfile_name("
                       "pg_catalog.pg_current_wal_lsn()), 1, 8)",
                 NULL, 0, &result, error);
    if (status == ONEROW_OK) {
        snprintf(identity, 64, "%s/%s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return status;
}

/* Whether two identities are of one server, as far as both of them tell. */
static bool same_server(const char *a, const char *b)
{
    bool untold = *a == '/' || *b == '/';
    return untold ? strcmp(strchr(a, '/'), strchr(b, '/')) == 0 : strcmp(a, b) == 0;
}

static enum onerow_status note_identity(struct postgres *postgres, void *context,
                                        struct onerow_error *error)
{
    const char *is = context;
    char was[64] = "";
    char why[REASON_MAX];
    PGresult *result = NULL;
    enum onerow_status status =
        ask(postgres, "SELECT server FROM onerow.ledger_meta FOR UPDATE", NULL, 0, &result, error);
    if (status == ONEROW_OK && PQntuples(result) == 1) {
        snprintf(was, sizeof was, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    if (status != ONEROW_OK || (*was && same_server(was, is))) {
        return status;
    }
    status = tell(postgres, "UPDATE onerow.ledger_meta SET server = $1", &is, 1, error);
    if (status != ONEROW_OK || !*was) {
        return status;
    }
    snprintf(why, sizeof why,
             "the ledger's server is not the one that it was made on (system/"
             "timeline %s, now %s): it was restored from a backup, or a standby was promoted",
             was, is);
    const char *reason = why;
    return tell(postgres, "UPDATE onerow.ledger_space SET suspect = $1", &reason, 1, error);
}

static enum onerow_status look_at_meta(struct postgres *postgres, struct onerow_error *error)
{
    char identity[64] = "";
    PGresult *result = NULL;
    enum onerow_status status = identify(postgres, identity, error);
    if (status == ONEROW_OK) {
        status = ask(postgres, "SELECT format, ledger_id, server FROM onerow.ledger_meta", NULL, 0,
                     &result, error);
    }
    if (status != ONEROW_OK) {
        return status;
    }
    bool there = PQntuples(result) == 1;
    bool known = there && strcmp(PQgetvalue(result, 0, 0), FORMAT) == 0;
    const char *was = there ? PQgetvalue(result, 0, 2) : "";
    bool noted = *was && same_server(was, identity);
    snprintf(postgres->ledger_id, sizeof postgres->ledger_id, "%s",
             there ? PQgetvalue(result, 0, 1) : "");
    PQclear(result);
    if (!known) {
        return or_fail(error, ONEROW_CONFIG,
                       "the ledger at %s was made by another version of onerow", postgres->shown);
    }
    return noted ? ONEROW_OK : transact(postgres, note_identity, identity, error);
}

static void postgres_close(struct onerow_coordinator *coordinator)
{
    if (coordinator) {
        struct postgres *postgres = postgres_of(coordinator);
        hang_up(postgres);
        free(postgres->conninfo);
        free(postgres->shown);
        free(postgres);
    }
}

static enum onerow_status postgres_open(const struct onerow_coordinator_options *options,
                                        struct onerow_coordinator **coordinator,
                                        struct onerow_error *error)
{
    extern const struct onerow_coordinator_type or_coordinator_postgres;
    struct postgres *postgres = calloc(1, sizeof *postgres);
    if (!postgres) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    postgres->base.type = &or_coordinator_postgres;
    postgres->wait_ms = options->wait_ms;
    postgres->stop = options->stop;
    enum onerow_status status =
        or_postgres_url(options->url, &postgres->conninfo, &postgres->shown, error);
    status = status == ONEROW_OK ? set_up(postgres, error) : status;
    status = status == ONEROW_OK ? look_at_meta(postgres, error) : status;
    if (status != ONEROW_OK) {
        postgres_close(&postgres->base);
        return status;
    }
    *coordinator = &postgres->base;
    return ONEROW_OK;
}

/* ---- reading
 * --------------------------------------------------------------------------------------
 */

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

#define SPACE_TEXT 24U

static void space_text(uint64_t space, char text[SPACE_TEXT])
{
    snprintf(text, SPACE_TEXT, "%" PRIu64, space);
}

/* One statement, and so one snapshot; the clock is read in it, too. */
static enum onerow_status postgres_read(struct onerow_coordinator *coordinator, uint64_t space,
                                        struct onerow_ledger_record *records, size_t n,
                                        uint64_t *now_ms, struct or_arena *arena,
                                        struct onerow_error *error)
{
    static const char SQL[] =
        "SELECT w.at, l.revision, l.state, l.since_ms, pg_catalog.encode(l.body, 'hex'), " MS(
            "pg_catalog.clock_timestamp()") " FROM unnest($2::smallint[], $3::text[]) WITH "
                                            "ORDINALITY AS w(kind, name, at) "
                                            "RIGHT JOIN (SELECT 0) AS one ON true " /* a row for the
                                                                                       clock,
                                                                                       whatever
                                                                                       there is */
                                            "LEFT JOIN onerow.ledger l ON l.space = $1::bigint AND "
                                            "l.kind = w.kind AND "
                                            "l.name = pg_catalog.decode(w.name, 'hex')";
    struct postgres *postgres = postgres_of(coordinator);
    struct or_buffer kinds;
    struct or_buffer names;
    char number[SPACE_TEXT];
    PGresult *result = NULL;
    or_buffer_init(&kinds);
    or_buffer_init(&names);
    for (size_t i = 0; i < n; i++) {
        records[i] =
            (struct onerow_ledger_record){.kind = records[i].kind, .name = records[i].name};
        add_number(&kinds, records[i].kind);
        add_element(&names, records[i].name);
    }
    space_text(space, number);
    const char *params[] = {number, closed(&kinds), closed(&names)};
    enum onerow_status status =
        params[1] && params[2] ? connect_to(postgres, error) : no_memory(error);
    if (status == ONEROW_OK) {
        status = ask(postgres, SQL, params, 3, &result, error);
    }
    for (int row = 0; status == ONEROW_OK && row < PQntuples(result); row++) {
        *now_ms = number_at(result, row, 5);
        if (PQgetisnull(result, row, 1) || number_at(result, row, 1) == 0) {
            continue;
        }
        struct onerow_ledger_record *record = &records[number_at(result, row, 0) - 1];
        record->revision = number_at(result, row, 1);
        record->state = (uint8_t)number_at(result, row, 2);
        record->since_ms = number_at(result, row, 3);
        record->body = bytes_at(result, row, 4, arena);
        status = record->body.data ? ONEROW_OK : no_memory(error);
    }
    PQclear(result);
    or_buffer_finish(&kinds);
    or_buffer_finish(&names);
    return status;
}

/* ---- swaps
 * ----------------------------------------------------------------------------------------
 */

/* A record that some of the swaps name. */
struct slot {
    enum onerow_ledger_kind kind;
    struct onerow_span name;
    uint64_t was; /* its revision when it was locked */
    uint64_t revision;
    uint8_t state;
    bool stamp;
    struct onerow_span body; /* of the last change, borrowed */
};

struct swapping {
    uint64_t space;
    struct onerow_ledger_swap *swaps;
    size_t n;
    struct slot *slots; /* in the order of kind and name, each once */
    size_t n_slots;
    uint64_t *now_ms;
};

static int compare_slots(const void *left, const void *right)
{
    const struct slot *a = left;
    const struct slot *b = right;
    return a->kind != b->kind ? (a->kind > b->kind) - (a->kind < b->kind)
                              : or_span_compare(a->name, b->name);
}

static bool collect_slots(struct swapping *swapping)
{
    size_t n = 0;
    for (size_t i = 0; i < swapping->n; i++) {
        n += swapping->swaps[i].n;
    }
    swapping->slots = calloc(n + 1, sizeof *swapping->slots);
    if (!swapping->slots) {
        return false;
    }
    n = 0;
    for (size_t i = 0; i < swapping->n; i++) {
        for (size_t c = 0; c < swapping->swaps[i].n; c++) {
            const struct onerow_ledger_change *change = &swapping->swaps[i].changes[c];
            swapping->slots[n++] = (struct slot){.kind = change->kind, .name = change->name};
        }
    }
    qsort(swapping->slots, n, sizeof *swapping->slots, compare_slots);
    for (size_t i = 0; i < n; i++) {
        if (swapping->n_slots == 0 ||
            compare_slots(&swapping->slots[i], &swapping->slots[swapping->n_slots - 1]) != 0) {
            swapping->slots[swapping->n_slots++] = swapping->slots[i];
        }
    }
    return true;
}

static enum onerow_status lock_slots(struct postgres *postgres, struct swapping *swapping,
                                     const char *const params[3], struct onerow_error *error)
{
    static const char INSERT[] =
        "INSERT INTO onerow.ledger (space, kind, name, revision, state, since_ms, body) "
        "SELECT $1::bigint, w.kind, pg_catalog.decode(w.name, 'hex'), 0, 0, 0, '' "
        "FROM unnest($2::smallint[], $3::text[]) WITH ORDINALITY AS w(kind, name, at) "
        "ORDER BY w.at ON CONFLICT DO NOTHING";
    static const char LOCK[] =
        "SELECT l.revision, l.state FROM onerow.ledger l JOIN (SELECT kind, "
        "pg_catalog.decode(name, "
        "'hex') AS name FROM unnest($2::smallint[], $3::text[]) AS u(kind, name)) w USING (kind, "
        "name) WHERE l.space = $1::bigint ORDER BY l.kind, l.name FOR UPDATE OF l";
    PGresult *result = NULL;
    enum onerow_status status = tell(postgres, INSERT, params, 3, error);
    if (status == ONEROW_OK) {
        status = ask(postgres, LOCK, params, 3, &result, error);
    }
    if (status == ONEROW_OK && (size_t)PQntuples(result) != swapping->n_slots) {
        status = or_fail(error, ONEROW_RETRY, "a record was forgotten meanwhile");
    }
    for (size_t i = 0; status == ONEROW_OK && i < swapping->n_slots; i++) {
        struct slot *slot = &swapping->slots[i];
        slot->was = slot->revision = number_at(result, (int)i, 0);
        slot->state = (uint8_t)number_at(result, (int)i, 1);
        slot->stamp = false;
    }
    PQclear(result);
    return status;
}

static struct slot *slot_of(struct swapping *swapping, const struct onerow_ledger_change *change)
{
    struct slot wanted = {.kind = change->kind, .name = change->name};
    return bsearch(&wanted, swapping->slots, swapping->n_slots, sizeof wanted, compare_slots);
}

static void try_swap(struct swapping *swapping, struct onerow_ledger_swap *swap)
{
    swap->done = true;
    for (size_t i = 0; i < swap->n; i++) {
        const struct onerow_ledger_change *change = &swap->changes[i];
        const struct slot *slot = slot_of(swapping, change);
        swap->done &=
            (change->revision == ONEROW_LEDGER_ANY || change->revision == slot->revision) &&
            (change->states >> slot->state & 1U);
    }
    for (size_t i = 0; swap->done && i < swap->n; i++) {
        const struct onerow_ledger_change *change = &swap->changes[i];
        struct slot *slot = slot_of(swapping, change);
        if (change->state) {
            slot->revision++;
            slot->state = change->state;
            slot->stamp |= change->stamp;
            slot->body = change->body;
        }
    }
}

/* What changed, as arrays. */
struct columns {
    struct or_buffer kinds, names, revisions, states, stamps, bodies;
};

static void add_changed(struct columns *columns, const struct slot *slot)
{
    add_number(&columns->kinds, slot->kind);
    add_element(&columns->names, slot->name);
    add_number(&columns->revisions, slot->revision);
    add_number(&columns->states, slot->state);
    or_buffer_printf(&columns->stamps, "%c%c", columns->stamps.len ? ',' : '{',
                     slot->stamp ? 't' : 'f');
    add_element(&columns->bodies, slot->body);
}

static enum onerow_status write_slots(struct postgres *postgres, struct swapping *swapping,
                                      const char *space, struct onerow_error *error)
{
    /* The clock is read once, so that now_ms is what the stamps became. */
    static const char UPDATE[] = "WITH c AS MATERIALIZED (SELECT " MS(
        "pg_catalog.clock_timestamp()") " AS now_ms), "
                                        "u AS (UPDATE onerow.ledger l SET revision = w.revision, "
                                        "state = w.state, "
                                        "since_ms = CASE WHEN w.stamp THEN greatest(c.now_ms, "
                                        "l.since_ms) ELSE l.since_ms END, "
                                        "body = pg_catalog.decode(w.body, 'hex') FROM c, "
                                        "unnest($2::smallint[], $3::text[], "
                                        "$4::bigint[], $5::smallint[], $6::boolean[], $7::text[]) "
                                        "AS w(kind, name, revision, "
                                        "state, stamp, body) WHERE l.space = $1::bigint AND l.kind "
                                        "= w.kind AND "
                                        "l.name = pg_catalog.decode(w.name, 'hex') RETURNING "
                                        "l.since_ms * w.stamp::int AS since) "
                                        "SELECT greatest(c.now_ms, (SELECT max(since) FROM u)), "
                                        "(SELECT count(*) FROM u) FROM c";
    struct columns columns;
    struct or_buffer *all[] = {&columns.kinds,  &columns.names,  &columns.revisions,
                               &columns.states, &columns.stamps, &columns.bodies};
    const char *params[7] = {space};
    size_t changed = 0;
    bool made = true;
    PGresult *result = NULL;
    for (size_t i = 0; i < 6; i++) {
        or_buffer_init(all[i]);
    }
    for (size_t i = 0; i < swapping->n_slots; i++) {
        if (swapping->slots[i].revision != swapping->slots[i].was) {
            add_changed(&columns, &swapping->slots[i]);
            changed++;
        }
    }
    for (size_t i = 0; i < 6; i++) {
        params[i + 1] = closed(all[i]);
        made &= params[i + 1] != NULL;
    }
    enum onerow_status status =
        made ? ask(postgres, UPDATE, params, 7, &result, error) : no_memory(error);
    if (status == ONEROW_OK) {
        *swapping->now_ms = number_at(result, 0, 0);
        if (number_at(result, 0, 1) != changed) {
            status = or_fail(error, ONEROW_CORRUPT, "the ledger at %s: a locked record is gone",
                             postgres->shown);
        }
    }
    PQclear(result);
    for (size_t i = 0; i < 6; i++) {
        or_buffer_finish(all[i]);
    }
    return status;
}

/* Records that were only inserted to be locked. */
static enum onerow_status drop_unwritten(struct postgres *postgres, const struct swapping *swapping,
                                         const char *const params[3], struct onerow_error *error)
{
    for (size_t i = 0; i < swapping->n_slots; i++) {
        if (swapping->slots[i].revision == 0) {
            return tell(postgres,
                        "DELETE FROM onerow.ledger l USING unnest($2::smallint[], "
                        "$3::text[]) AS w(kind, name) WHERE l.space = $1::bigint AND "
                        "l.kind = w.kind AND l.name = pg_catalog.decode(w.name, 'hex') "
                        "AND l.revision = 0",
                        params, 3, error);
        }
    }
    return ONEROW_OK;
}

static enum onerow_status run_swaps(struct postgres *postgres, void *context,
                                    struct onerow_error *error)
{
    struct swapping *swapping = context;
    struct or_buffer kinds;
    struct or_buffer names;
    char space[SPACE_TEXT];
    or_buffer_init(&kinds);
    or_buffer_init(&names);
    for (size_t i = 0; i < swapping->n_slots; i++) {
        add_number(&kinds, swapping->slots[i].kind);
        add_element(&names, swapping->slots[i].name);
    }
    space_text(swapping->space, space);
    const char *params[] = {space, closed(&kinds), closed(&names)};
    enum onerow_status status =
        params[1] && params[2] ? lock_slots(postgres, swapping, params, error) : no_memory(error);
    for (size_t i = 0; status == ONEROW_OK && i < swapping->n; i++) {
        try_swap(swapping, &swapping->swaps[i]);
    }
    status = status == ONEROW_OK ? write_slots(postgres, swapping, space, error) : status;
    status = status == ONEROW_OK ? drop_unwritten(postgres, swapping, params, error) : status;
    or_buffer_finish(&kinds);
    or_buffer_finish(&names);
    return status;
}

static enum onerow_status postgres_swap(struct onerow_coordinator *coordinator, uint64_t space,
                                        struct onerow_ledger_swap *swaps, size_t n,
                                        uint64_t *now_ms, struct onerow_error *error)
{
    struct swapping swapping = {.space = space, .swaps = swaps, .n = n, .now_ms = now_ms};
    if (!collect_slots(&swapping)) {
        return no_memory(error);
    }
    enum onerow_status status = transact(postgres_of(coordinator), run_swaps, &swapping, error);
    free(swapping.slots);
    return status;
}

/* ---- lists
 * ----------------------------------------------------------------------------------------
 */

struct listing {
    uint64_t space;
    enum onerow_ledger_kind kind;
    uint32_t states;
    uint64_t before_ms;
    struct or_buffer after; /* hexadecimal: the last name that was visited */
};

static enum onerow_status ask_list(struct postgres *postgres, const struct listing *listing,
                                   PGresult **result, struct onerow_error *error)
{
    static const char SQL[] =
        "SELECT pg_catalog.encode(name, 'hex'), revision, state, since_ms, "
        "pg_catalog.encode(body, 'hex') FROM onerow.ledger WHERE space = $1::bigint AND "
        "kind = $2::smallint AND name > pg_catalog.decode($3, 'hex') AND revision > 0 AND "
        "($4::bigint >> state) & 1 = 1 AND since_ms < $5::bigint ORDER BY name LIMIT $6::int";
    char space[SPACE_TEXT];
    char kind[SPACE_TEXT];
    char states[SPACE_TEXT];
    char before[SPACE_TEXT];
    char limit[SPACE_TEXT];
    space_text(listing->space, space);
    space_text(listing->kind, kind);
    space_text(listing->states, states);
    space_text(listing->before_ms < INT64_MAX ? listing->before_ms : INT64_MAX, before);
    space_text(LIST_ROWS, limit);
    const char *params[] = {space, kind, or_buffer_cstr(&listing->after), states, before, limit};
    enum onerow_status status = connect_to(postgres, error);
    return status == ONEROW_OK ? ask(postgres, SQL, params, 6, result, error) : status;
}

/* Visits a page. *more: there may be another one. */
static enum onerow_status visit_page(struct listing *listing, const PGresult *result,
                                     onerow_visit_ledger *visit, void *context, bool *more,
                                     struct onerow_error *error)
{
    struct or_arena arena;
    bool on = true;
    enum onerow_status status = ONEROW_OK;
    or_arena_init(&arena);
    for (int row = 0; row < PQntuples(result) && on && status == ONEROW_OK; row++) {
        struct onerow_ledger_record record = {.kind = listing->kind,
                                              .name = bytes_at(result, row, 0, &arena),
                                              .revision = number_at(result, row, 1),
                                              .state = (uint8_t)number_at(result, row, 2),
                                              .since_ms = number_at(result, row, 3),
                                              .body = bytes_at(result, row, 4, &arena)};
        or_buffer_clear(&listing->after);
        or_buffer_text(&listing->after, PQgetvalue(result, row, 0));
        if (!record.name.data || !record.body.data || listing->after.failed) {
            status = no_memory(error);
        } else {
            on = visit(context, &record);
        }
    }
    or_arena_finish(&arena);
    *more = on && PQntuples(result) == LIST_ROWS;
    return status;
}

static enum onerow_status postgres_list(struct onerow_coordinator *coordinator, uint64_t space,
                                        enum onerow_ledger_kind kind, uint32_t states,
                                        uint64_t before_ms, onerow_visit_ledger *visit,
                                        void *context, struct onerow_error *error)
{
    struct listing listing = {
        .space = space, .kind = kind, .states = states, .before_ms = before_ms};
    enum onerow_status status = ONEROW_OK;
    bool more = true;
    or_buffer_init(&listing.after);
    while (more && status == ONEROW_OK) {
        PGresult *result = NULL;
        status = ask_list(postgres_of(coordinator), &listing, &result, error);
        if (status == ONEROW_OK) {
            status = visit_page(&listing, result, visit, context, &more, error);
        }
        PQclear(result);
    }
    or_buffer_finish(&listing.after);
    return status;
}

struct asking {
    uint64_t space;
    uint64_t number;
    uint64_t *answer;
};

static enum onerow_status run_forget(struct postgres *postgres, void *context,
                                     struct onerow_error *error)
{
    struct asking *asking = context;
    char space[SPACE_TEXT];
    char before[SPACE_TEXT];
    PGresult *result = NULL;
    space_text(asking->space, space);
    space_text(asking->number < INT64_MAX ? asking->number : INT64_MAX, before);
    const char *params[] = {space, before};
    enum onerow_status status =
        ask(postgres,
            "WITH gone AS (DELETE FROM onerow.ledger WHERE space = $1::bigint AND "
            "kind = 3 AND since_ms < $2::bigint RETURNING 1) SELECT count(*) FROM gone",
            params, 2, &result, error);
    if (status == ONEROW_OK) {
        *asking->answer = number_at(result, 0, 0);
    }
    PQclear(result);
    return status;
}

static enum onerow_status postgres_forget(struct onerow_coordinator *coordinator, uint64_t space,
                                          uint64_t before_ms, uint64_t *n,
                                          struct onerow_error *error)
{
    struct asking asking = {.space = space, .number = before_ms, .answer = n};
    return transact(postgres_of(coordinator), run_forget, &asking, error);
}

/* ---- namespaces and numbers ---------------------------------------------------------------------
 */

/* The space of a row (number, definition, suspect). */
static void take_space(struct postgres *postgres, const PGresult *result,
                       struct onerow_ledger_namespace *space)
{
    *space = (struct onerow_ledger_namespace){.number = number_at(result, 0, 0)};
    memcpy(space->ledger_id, postgres->ledger_id, sizeof space->ledger_id);
    if (!PQgetisnull(result, 0, 2)) {
        snprintf(postgres->why, sizeof postgres->why, "%s", PQgetvalue(result, 0, 2));
        space->standing = ONEROW_LEDGER_SUSPECT;
        space->why = postgres->why;
    }
}

struct entering {
    struct onerow_span name;
    struct onerow_span definition;
    struct onerow_ledger_namespace *space;
};

static enum onerow_status compare_definition(const PGresult *result,
                                             const struct entering *entering,
                                             struct onerow_error *error)
{
    struct or_arena arena;
    or_arena_init(&arena);
    struct onerow_span was = bytes_at(result, 0, 1, &arena);
    enum onerow_status status =
        !was.data ? no_memory(error)
        : or_span_equal(was, entering->definition)
            ? ONEROW_OK
            : or_ledger_other_definition(entering->name, was, entering->definition, error);
    or_arena_finish(&arena);
    return status;
}

static enum onerow_status run_enter(struct postgres *postgres, void *context,
                                    struct onerow_error *error)
{
    struct entering *entering = context;
    struct or_buffer name;
    struct or_buffer definition;
    PGresult *result = NULL;
    or_buffer_init(&name);
    or_buffer_init(&definition);
    add_hex(&name, entering->name);
    add_hex(&definition, entering->definition);
    const char *params[] = {or_buffer_cstr(&name), or_buffer_cstr(&definition)};
    enum onerow_status status =
        name.failed || definition.failed
            ? no_memory(error)
            : tell(postgres,
                   "INSERT INTO onerow.ledger_space (name, definition) VALUES "
                   "(pg_catalog.decode($1, 'hex'), pg_catalog.decode($2, 'hex')) "
                   "ON CONFLICT DO NOTHING",
                   params, 2, error);
    if (status == ONEROW_OK) {
        status = ask(postgres,
                     "SELECT number, pg_catalog.encode(definition, 'hex'), suspect FROM "
                     "onerow.ledger_space WHERE name = pg_catalog.decode($1, 'hex')",
                     params, 1, &result, error);
    }
    if (status == ONEROW_OK) {
        take_space(postgres, result, entering->space);
        status = compare_definition(result, entering, error);
    }
    PQclear(result);
    or_buffer_finish(&name);
    or_buffer_finish(&definition);
    return status;
}

static enum onerow_status postgres_enter(struct onerow_coordinator *coordinator,
                                         struct onerow_span name, struct onerow_span definition,
                                         struct onerow_ledger_namespace *space,
                                         struct onerow_error *error)
{
    struct entering entering = {name, definition, space};
    return transact(postgres_of(coordinator), run_enter, &entering, error);
}

static enum onerow_status run_reserve(struct postgres *postgres, void *context,
                                      struct onerow_error *error)
{
    struct asking *asking = context;
    char n[SPACE_TEXT];
    PGresult *result = NULL;
    space_text(asking->number, n);
    const char *params[] = {n};
    enum onerow_status status =
        ask(postgres,
            "UPDATE onerow.ledger_meta SET next_number = next_number + $1::bigint "
            "RETURNING next_number - $1::bigint",
            params, 1, &result, error);
    if (status == ONEROW_OK) {
        *asking->answer = number_at(result, 0, 0);
    }
    PQclear(result);
    return status;
}

static enum onerow_status postgres_reserve(struct onerow_coordinator *coordinator, uint64_t n,
                                           uint64_t *first, struct onerow_error *error)
{
    struct asking asking = {.number = n, .answer = first};
    return transact(postgres_of(coordinator), run_reserve, &asking, error);
}

static enum onerow_status run_witness(struct postgres *postgres, void *context,
                                      struct onerow_error *error)
{
    struct asking *asking = context;
    char space[SPACE_TEXT];
    char number[SPACE_TEXT];
    PGresult *result = NULL;
    space_text(asking->space, space);
    space_text(asking->number, number);
    const char *params[] = {number, space, or_ledger_seen_above};
    enum onerow_status status = ask(postgres,
                                    "UPDATE onerow.ledger_meta SET next_number = $1::bigint + 1 "
                                    "WHERE next_number <= $1::bigint RETURNING 1",
                                    params, 1, &result, error);
    bool above = status == ONEROW_OK && PQntuples(result) > 0;
    PQclear(result);
    return above ? tell(postgres,
                        "UPDATE onerow.ledger_space SET suspect = $2 "
                        "WHERE number = $1::bigint",
                        params + 1, 2, error)
                 : status;
}

static enum onerow_status postgres_witness(struct onerow_coordinator *coordinator, uint64_t space,
                                           uint64_t number, struct onerow_ledger_namespace *state,
                                           struct onerow_error *error)
{
    struct postgres *postgres = postgres_of(coordinator);
    struct asking asking = {.space = space, .number = number};
    char text[SPACE_TEXT];
    const char *params[] = {text};
    PGresult *result = NULL;
    space_text(space, text);
    enum onerow_status status = transact(postgres, run_witness, &asking, error);
    if (status == ONEROW_OK) {
        status = ask(postgres,
                     "SELECT number, '', suspect FROM onerow.ledger_space WHERE "
                     "number = $1::bigint",
                     params, 1, &result, error);
    }
    if (status == ONEROW_OK) {
        take_space(postgres, result, state);
    }
    PQclear(result);
    return status;
}

static enum onerow_status run_confirm(struct postgres *postgres, void *context,
                                      struct onerow_error *error)
{
    const struct asking *asking = context;
    char space[SPACE_TEXT];
    const char *params[] = {space};
    space_text(asking->space, space);
    return tell(postgres, "UPDATE onerow.ledger_space SET suspect = NULL WHERE number = $1::bigint",
                params, 1, error);
}

static enum onerow_status postgres_confirm(struct onerow_coordinator *coordinator, uint64_t space,
                                           struct onerow_error *error)
{
    struct asking asking = {.space = space};
    return transact(postgres_of(coordinator), run_confirm, &asking, error);
}

static const struct onerow_ledger_ops ledger_ops = {
    .enter = postgres_enter,
    .read = postgres_read,
    .swap = postgres_swap,
    .list = postgres_list,
    .reserve = postgres_reserve,
    .witness = postgres_witness,
    .confirm = postgres_confirm,
    .forget = postgres_forget,
};

static const char *const schemes[] = {"postgres:", "postgresql:", "postgresql+", NULL};

const struct onerow_coordinator_type or_coordinator_postgres = {
    .name = "postgres",
    .summary = "a PostgreSQL database, for any number of hosts",
    .url = "postgres://HOST/DATABASE",
    .schemes = schemes,
    .open = postgres_open,
    .close = postgres_close,
    .ledger = &ledger_ops,
};
