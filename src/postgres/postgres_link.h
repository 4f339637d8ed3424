/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to PostgreSQL for transactions of a few statements, without session state, and
 * without ever being stuck in it. See the top of postgres_link.c.
 */
#ifndef OR_POSTGRES_LINK_H
#define OR_POSTGRES_LINK_H

#include <libpq-fe.h>

#include "onerow/onerow.h"

#define OR_LINK_NAP_MIN_MS 2U /* before another try */

#define OR_LINK_PREPARED 16U /* statements in a session */
#define OR_LINK_NAME     24U

enum or_link_way { OR_LINK_UNASKED, OR_LINK_DIRECT, OR_LINK_POOLED };

/* What is known of the session behind the present connection. See the top of
 * postgres_link_once.c. */
struct or_link_session {
    uint64_t number; /* of the connection: the first one is 1 */
    enum or_link_way way;
    unsigned n_prepared;
    struct {
        const char *sql; /* static */
        char name[OR_LINK_NAME];
    } prepared[OR_LINK_PREPARED];
};

struct or_link {
    PGconn *conn;   /* NULL or dead: the next transaction connects again */
    char *conninfo; /* owned; with the password if the URL had one */
    char *shown;    /* "HOST:PORT/DATABASE" for messages; owned, no secrets */
    uint64_t wait_ms;
    const volatile bool *stop; /* gives up waiting when set; NULL: never */
    bool was_there;            /* a connection has stood before: its server is waited for */
    bool open;                 /* BEGIN was sent, and its end is not known */
    struct or_link_session session;
    bool pooled;           /* a pooler has shown itself */
    uint64_t *round_trips; /* the owner's count */
    char code[6];          /* SQLSTATE of the last failure, or "" */
};

/* One parameter: binary, with its type. */
struct or_link_param {
    const char *data;
    Oid type;
    int len;
};

#define OR_LINK_INT8_OID   20U
#define OR_LINK_INT2_OID   21U
#define OR_LINK_TEXT_OID   25U
#define OR_LINK_BYTEA_OID  17U
#define OR_LINK_BYTEAS_OID 1001U /* bytea[] */
#define OR_LINK_INT2S_OID  1005U
#define OR_LINK_INT8S_OID  1016U
#define OR_LINK_STATEMENTS 8U  /* in one round trip */
#define OR_LINK_PARAMS     12U /* of a statement */

struct or_link_statement {
    const char *sql;
    const struct or_link_param *params; /* all binary */
    unsigned n_params;
    bool often;       /* sql is static, and worth preparing where the session is ours */
    PGresult *result; /* filled; the caller's (or_link_clear); binary format */
};

/* From all of these, RETRY: nothing was kept, and the cause is one that passes (a deadlock, a lost
 * connection before COMMIT was sent). After anything but OK the caller must or_link_rollback. */
ONEROW_CHECKED enum onerow_status or_link_init(struct or_link *link, const char *url,
                                               uint64_t wait_ms, const volatile bool *stop,
                                               uint64_t *round_trips, struct onerow_error *error);
void or_link_finish(struct or_link *link);

/* Starts a transaction (READ COMMITTED, READ WRITE, durable at its commit) and runs n statements in
 * it, in one round trip. Connects first when need be. */
ONEROW_CHECKED enum onerow_status or_link_begin(struct or_link *link,
                                                struct or_link_statement *statements, unsigned n,
                                                struct onerow_error *error);
/* More statements of the transaction, in one round trip. Not OK: no result is kept. */
ONEROW_CHECKED enum onerow_status or_link_run(struct or_link *link,
                                              struct or_link_statement *statements, unsigned n,
                                              struct onerow_error *error);
/* A transaction that only reads: begins, runs n statements and ends, in one round trip. */
ONEROW_CHECKED enum onerow_status or_link_ask(struct or_link *link,
                                              struct or_link_statement *statements, unsigned n,
                                              struct onerow_error *error);
/* UNKNOWN: COMMIT was sent, and no answer says that it failed. */
ONEROW_CHECKED enum onerow_status or_link_commit(struct or_link *link, struct onerow_error *error);
/* run and commit in one round trip. UNKNOWN as from commit. Not OK: no result is kept. */
ONEROW_CHECKED enum onerow_status or_link_conclude(struct or_link *link,
                                                   struct or_link_statement *statements, unsigned n,
                                                   struct onerow_error *error);
/* begin, run and commit in one round trip. */
ONEROW_CHECKED enum onerow_status or_link_once(struct or_link *link,
                                               struct or_link_statement *statements, unsigned n,
                                               struct onerow_error *error);
/* Connects when need be, and finds out whether the session is ours (session.way); then it has our
 * settings. */
ONEROW_CHECKED enum onerow_status or_link_ready(struct or_link *link, struct onerow_error *error);
void or_link_rollback(struct or_link *link);

/* Reads what has come in meanwhile. False: the connection has ended. */
bool or_link_take_in(struct or_link *link);
void or_link_disconnect(struct or_link *link);

void or_link_clear(struct or_link_statement *statements, unsigned n);
/* Sleeps a while that grows with each call and that nobody shares; false when it is time to give
 * up. *length begins with OR_LINK_NAP_MIN_MS. */
bool or_link_nap(const struct or_link *link, unsigned *length, uint64_t deadline_ms);
uint64_t or_link_now_ms(void); /* of a clock that nobody sets */
/* Another status for an error that has its text. */
enum onerow_status or_link_rename(struct onerow_error *error, enum onerow_status status);
#endif
