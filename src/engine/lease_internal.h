/* SPDX-License-Identifier: Apache-2.0
 *
 * What lease.c (threads that want and hold leases) and lease_keep.c (those that keep them) share.
 */
#ifndef OR_ENGINE_LEASE_INTERNAL_H
#define OR_ENGINE_LEASE_INTERNAL_H

#include <pthread.h>

#include "base/wake.h"
#include "engine/lease.h"

_Static_assert(OR_WAKE_NONCE == ONEROW_NONCE, "a message names a nonce");
_Static_assert(OR_WAKE_ADDRESS <= ONEROW_LEASE_WAKE_MAX, "an address fits");

struct or_lease_hold {
    struct or_lease_hold *next; /* in the session's list */
    struct or_lease_session *session;
    struct or_lease lease;
    struct onerow_lease_claim claim;
    struct or_wake_message woken; /* of the last message for it */
    bool was_woken;               /* and nobody has acted on it yet */
    bool waits;                   /* its thread is in a wait */
    bool held;                    /* acquired: the keeper's, until it is released */
    bool busy;                    /* the keeper is asking for it */
    bool told;                    /* lost was called */
    pthread_cond_t changed;
    void (*lost)(void *context);
    void *context;
    enum onerow_status status; /* of the last call that failed */
    struct onerow_error error;
    char text[]; /* the name, then who */
};

/* `lock` guards all that is below it, and holds; `io` the coordinator. Who wants both takes io
 * first, and nobody waits for an answer under `lock`. */
struct or_lease_session {
    struct onerow_coordinator *coordinator;
    const struct onerow_lease_ops *ops;
    const volatile bool *stop;
    struct or_wake wake;
    pthread_mutex_t io;
    pthread_mutex_t lock;
    struct or_lease_hold *holds;
    bool listening; /* a thread waits at the session's ear, for all */
    bool closing;
    pthread_t keeper, watcher;
    bool keeps, watches;        /* they run */
    pthread_cond_t keep, watch; /* there is something earlier to do than when they went to sleep */
    uint64_t keep_ms, watch_ms; /* when they wake up by themselves */
};

/* ---- lease.c ----------------------------------------------------------------------------------
 */

/* Opens what the URL names; CONFIG: it names none, or one without leases. */
ONEROW_CHECKED enum onerow_status or_lease_coordinator(const char *url,
                                                       struct onerow_coordinator **coordinator,
                                                       const struct onerow_lease_ops **ops,
                                                       struct onerow_error *error);
/* Asks the coordinator, without the lock; fills the event for the next step. */
void or_lease_ask(struct or_lease_hold *hold, enum or_lease_do what, struct or_lease_event *event);
struct or_lease_event or_lease_time(void);
/* Waits for a signal until a time of or_wake_now_ms's clock, under the session's lock. */
void or_lease_await(struct or_lease_session *session, pthread_cond_t *signal, uint64_t until_ms);

/* ---- lease_keep.c -----------------------------------------------------------------------------
 */

/* The hold was acquired, or changed: whoever keeps it is told when there is something earlier to
 * do. Under the lock. */
void or_lease_keep(struct or_lease_hold *hold);
/* Ends the threads. Without the lock. */
void or_lease_keep_no_more(struct or_lease_session *session);

#endif
