/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in PostgreSQL. The protocol is at the top of coordinator_postgres_lease.c.
 */
#ifndef OR_COORDINATOR_POSTGRES_LEASE_H
#define OR_COORDINATOR_POSTGRES_LEASE_H

#include "coordinator/coordinator_postgres.h"

/* ---- coordinator_postgres_lease_sql.c ---------------------------------------------------------
 */

/* The forms of acquire have the same parameters. Short: free, when it is to be had and nobody
 * waits; its row is the token. line, when somebody has it, and the claim is to wait; its row is how
 * many are ahead, and what the holder has left. */
enum {
    ACQUIRE_NAME,
    ACQUIRE_NONCE,
    ACQUIRE_WHO,
    ACQUIRE_WAKE,
    ACQUIRE_HEARS,
    ACQUIRE_TTL,
    ACQUIRE_PATIENCE,
    ACQUIRE_FLOOR,
    ACQUIRE_QUEUE,
    ACQUIRE_PARAMS
};
extern const char or_remote_free_sql[];
extern const char or_remote_line_sql[];
enum {
    ACQUIRED,
    ACQUIRED_TOKEN,
    ACQUIRED_LEFT,
    ACQUIRED_AHEAD,
    ACQUIRED_WAITERS,
    ACQUIRED_LIFELESS,
    ACQUIRED_ROWS
};
extern const char or_remote_acquire_sql[];

/* Has a row when it was renewed. */
enum { RENEW_NAME, RENEW_NONCE, RENEW_TOKEN, RENEW_TTL, RENEW_PARAMS };
extern const char or_remote_renew_sql[];

/* Release, cancel and force differ in whose lease it is to be. There is a row when it was that, and
 * all is done; its columns are NULL when nobody has it now. */
enum { PASS_NAME, PASS_NONCE, PASS_TOKEN, PASS_HOST, PASS_BY, PASS_PARAMS };
enum { PASSED_NONCE, PASSED_WAKE, PASSED_TOKEN, PASSED_GRANTED };
extern const char or_remote_let_go_sql[]; /* short: release when nobody waits */
extern const char or_remote_release_sql[];
extern const char or_remote_cancel_sql[];
extern const char or_remote_force_sql[];
extern const char or_remote_leave_sql[]; /* before cancel: the place in the queue is given up */
enum { NOTED_WHO, NOTED_TOKEN, NOTED_AT };
extern const char or_remote_note_sql[]; /* before force: a row when somebody holds it */

/* How it stands, for whoever does not have it. */
enum { SEEN_LEFT, SEEN_WAITERS, SEEN_LIFE };
extern const char or_remote_look_sql[];

extern const char or_remote_lock_sql[]; /* for the length of the transaction; a number */
extern const char or_remote_life_sql[];
extern const char or_remote_list_sql[];  /* prefix, its end, past, whether free ones too */
extern const char or_remote_trail_sql[]; /* prefix, its end, before */

/* ---- coordinator_postgres_lease_step.c --------------------------------------------------------
 */

#define OR_LEASE_STEPS 4U /* statements of a call, at most */

struct or_lease_params {
    struct or_link_param list[OR_LINK_PARAMS];
    char numbers[OR_LINK_PARAMS][8];
};

struct or_link_param or_remote_bytes(struct onerow_span bytes); /* bytea */
void or_remote_set_bytes(struct or_lease_params *params, unsigned at, struct onerow_span bytes);
void or_remote_set_text(struct or_lease_params *params, unsigned at, struct onerow_span text);
void or_remote_set_number(struct or_lease_params *params, unsigned at, uint64_t number);
void or_remote_set_nonce(struct or_lease_params *params, unsigned at,
                         const struct onerow_lease_claim *claim);

/* What the lock of a name is called; two names may have the same. `what` parts leases from others.
 */
struct or_lease_lock {
    char number[8];
    struct or_link_param param;
};
struct or_link_statement or_remote_lock(struct onerow_span name, uint64_t what,
                                        struct or_lease_lock *room);

struct or_link_statement or_remote_step(const char *sql, const struct or_lease_params *params,
                                        unsigned n);
static inline bool or_remote_has_row(const struct or_link_statement *step)
{
    return PQntuples(step->result) == 1;
}
/* Steps under the lock of the name, as a transaction of its own. */
ONEROW_CHECKED enum onerow_status or_remote_run_locked(struct or_remote *remote,
                                                       struct onerow_span name,
                                                       struct or_link_statement *steps, unsigned n,
                                                       struct onerow_error *error);
/* Nothing was done, because the server has begun another life: it gets its number, and the call is
 * to be made again (RETRY). */
ONEROW_CHECKED enum onerow_status or_remote_begin_life(struct or_remote *remote,
                                                       struct onerow_error *error);
void or_remote_is_held(struct onerow_lease_claim *claim, uint64_t token, uint64_t left_ms);
/* A call, when the tables of leases are there. */
ONEROW_CHECKED enum onerow_status or_remote_lease_call(struct or_remote *remote,
                                                       or_remote_try *attempt, void *call,
                                                       struct onerow_error *error);

/* ---- coordinator_postgres_lease_acquire.c -----------------------------------------------------
 */

enum onerow_status or_remote_acquire(struct onerow_coordinator *base,
                                     struct onerow_lease_claim *claim, struct onerow_error *error);

/* ---- coordinator_postgres_lease_ear.c ---------------------------------------------------------
 */

#define OR_REMOTE_CHANNEL "onerow_" /* the session follows */

/* The session's part of an address of base/wake.h's; empty: it is none. */
struct onerow_span or_remote_session_of(struct onerow_span wake);
/* Whether the present connection listens to the session's channel. */
bool or_remote_listens_to(const struct or_remote *remote, struct onerow_span session);
void or_remote_listens_now(struct or_remote *remote, struct onerow_span session);
int or_remote_wake_fd(struct onerow_coordinator *base);
enum onerow_status or_remote_woken(struct onerow_coordinator *base, onerow_visit_woken *visit,
                                   void *context, struct onerow_error *error);

/* ---- coordinator_postgres_lease_list.c --------------------------------------------------------
 */

enum onerow_status or_remote_lease_list(struct onerow_coordinator *base, struct onerow_span prefix,
                                        bool free, onerow_visit_lease *visit, void *context,
                                        struct onerow_error *error);
enum onerow_status or_remote_lease_trail(struct onerow_coordinator *base, struct onerow_span prefix,
                                         onerow_visit_forced *visit, void *context,
                                         struct onerow_error *error);

/* ---- coordinator_postgres_share.c -------------------------------------------------------------
 */

enum onerow_status or_remote_share(struct onerow_coordinator *base, struct onerow_span name,
                                   onerow_rule *rule, void *context, struct onerow_error *error);

#endif
