/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the PostgreSQL store that hold the connection share: _connect, _wait, _error,
 * _run and _commit.
 */
#ifndef OR_STORE_POSTGRES_SESSION_H
#define OR_STORE_POSTGRES_SESSION_H

#include "store/store_postgres.h"

#define OR_POSTGRES_TICK_MS 50 /* between looks at the stop flag */
#define OR_POSTGRES_CANCEL_MS                                                                      \
    5000U /* for the answer to a cancellation, or to COMMIT after a stop */
#define OR_POSTGRES_GRACE_MS   10000U /* beyond wait_ms, within which the server gives up a lock */
#define OR_POSTGRES_NAP_MIN_MS 20U    /* before another try to connect, or look at a transaction */

/* ---- waiting (store_postgres_wait.c) --------------------------------------------------------- */

/* How long an answer is waited for. */
struct or_postgres_patience {
    uint64_t limit_ms;
    bool finish; /* COMMIT and ROLLBACK are not cancelled: a stop only shortens the wait */
};

uint64_t or_postgres_now_ms(void); /* of a clock that nobody sets */
/* Whether the caller wants to stop. */
bool or_postgres_stopped(const struct or_postgres_store *store);
void or_postgres_disconnect(struct or_postgres_store *store);
/* Sleeps a while that grows with each call and that nobody shares; false when it is time to give
 * up. *length begins with OR_POSTGRES_NAP_MIN_MS. */
bool or_postgres_nap(const struct or_postgres_store *store, unsigned *length, uint64_t deadline);
/* or_postgres_next, waiting as long as `patience` says, for a connection that may be broken. */
ONEROW_CHECKED enum onerow_status or_postgres_next_within(struct or_postgres_store *store,
                                                          struct or_postgres_patience patience,
                                                          PGresult **result,
                                                          struct onerow_error *error);

/* ---- errors (store_postgres_error.c) --------------------------------------------------------- */

/* The connection is lost: hangs up and says so. UNAVAILABLE outside of a transaction, else RETRY.
 */
enum onerow_status or_postgres_lost(struct or_postgres_store *store, const char *doing,
                                    struct onerow_error *error);
/* Another status for an error that has its text. */
enum onerow_status or_postgres_rename_failure(struct onerow_error *error,
                                              enum onerow_status status);
/* Whether a result is no error. */
bool or_postgres_is_answer(const PGresult *result);

/* ---- transactions (store_postgres_commit.c) -------------------------------------------------- */

enum onerow_status or_postgres_begin(struct onerow_store *store, const volatile bool *stop,
                                     struct onerow_error *error);
enum onerow_status or_postgres_commit(struct onerow_store *store, struct onerow_error *error);
void or_postgres_rollback(struct onerow_store *store);
enum onerow_status or_postgres_resolve(struct onerow_store *store, const volatile bool *stop,
                                       struct onerow_error *error);

#endif
