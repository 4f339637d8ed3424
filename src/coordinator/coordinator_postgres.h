/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the PostgreSQL coordinator share. Its rules are at the top of
 * coordinator_postgres.c.
 */
#ifndef OR_COORDINATOR_POSTGRES_H
#define OR_COORDINATOR_POSTGRES_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/wake.h"
#include "coordinator/ledger_rules.h"
#include "postgres/postgres_array.h"

#define OR_REMOTE_WHY 512U

/* The session of base/wake.h's whose channel a connection listens to. */
struct or_remote_ear {
    uint64_t connection; /* its number; 0: none ever did */
    char session[OR_WAKE_SESSION];
};

struct or_remote {
    struct onerow_coordinator base;
    struct or_link link;
    bool sees_system; /* this role may read the server's identifier */
    bool has_leases;  /* their tables are there, */
    bool has_life;    /* and the one that a crash has to empty is unlogged */
    bool crowded; /* the last lease that was asked for was somebody's, or somebody waited for it */
    struct or_remote_ear ear;
    struct or_ledger_entries entries;
    char why[OR_REMOTE_WHY]; /* of the last enter or witness */
};

static inline struct or_remote *or_remote_of(struct onerow_coordinator *coordinator)
{
    return (struct or_remote *)coordinator;
}

/* ---- coordinator_postgres.c ------------------------------------------------------------------ */

/* What one call does in one transaction, from its begin to its commit. */
typedef enum onerow_status or_remote_try(struct or_remote *remote, void *call,
                                         struct onerow_error *error);
/* Tries until it is not RETRY, or wait_ms are over; rolls back after each failure. */
ONEROW_CHECKED enum onerow_status or_remote_do(struct or_remote *remote, or_remote_try *attempt,
                                               void *call, struct onerow_error *error);

/* ---- coordinator_postgres_schema.c ----------------------------------------------------------- */

/* SQL: where this ledger is, as far as anybody may know; and the server's identifier, which not
 * every role may read. */
#define OR_REMOTE_PLACE                                                                            \
    "(SELECT oid FROM pg_database WHERE datname = current_database())::text || ' ' || "            \
    "'onerow.ledger'::regclass::oid::text || ' ' || "                                              \
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
#define OR_REMOTE_SYSTEM "(SELECT system_identifier FROM pg_control_system())::text"
#define OR_REMOTE_UNSEEN "NULL::text"

/* Finds the tables, or makes them. Those of leases may be missing afterwards, where this role may
 * not make them. */
ONEROW_CHECKED enum onerow_status or_remote_prepare(struct or_remote *remote,
                                                    struct onerow_error *error);
/* The tables of leases are there, or are made now; CONFIG says what to run. */
ONEROW_CHECKED enum onerow_status or_remote_lease_ready(struct or_remote *remote,
                                                        struct onerow_error *error);

/* ---- coordinator_postgres_lease.c ------------------------------------------------------------ */

extern const struct onerow_lease_ops or_remote_leases;

/* ---- coordinator_postgres_ledger.c ----------------------------------------------------------- */

extern const struct onerow_ledger_ops or_remote_ledger;

/* What a transaction sees of the ledger and a namespace. */
struct or_remote_guard {
    bool in_place; /* the ledger is where it remembers to be */
    struct or_ledger_doubt doubt;
    uint64_t now_ms;
};

/* The statement that fills a guard, for a namespace (or 0); `room` holds its parameter. */
struct or_guard_room {
    char number[8];
    struct or_link_param param;
};
struct or_link_statement or_remote_guard_sql(const struct or_remote *remote, uint64_t space,
                                             struct or_guard_room *room);
struct or_remote_guard or_remote_guard_of(const PGresult *result);
/* VANISHED, unless all is as it was when the namespace was entered. */
ONEROW_CHECKED enum onerow_status or_remote_check(const struct or_remote *remote, uint64_t space,
                                                  const struct or_remote_guard *guard,
                                                  struct onerow_error *error);
/* The name of a record in the primary key: an index takes no name of any length. */
void or_remote_digest(struct onerow_span name, unsigned char digest[OR_SHA256_LEN]);

/* ---- coordinator_postgres_swap.c ------------------------------------------------------------- */

enum onerow_status or_remote_swap(struct onerow_coordinator *base, uint64_t number,
                                  struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                  struct onerow_error *error);

#endif
