/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases for threads: a session keeps what they hold, renews it in the background, and tells them
 * when it is lost. See the top of lease.c.
 */
#ifndef OR_ENGINE_LEASE_H
#define OR_ENGINE_LEASE_H

#include "core/budget.h"
#include "core/lease.h"

#define OR_LEASE_TTL_MIN 1000U /* ms: shorter ones are lost to a machine that is merely busy */

struct or_lease_session;
struct or_lease_hold;

/* `coordinator` is a URL; borrowed. `stop` ends waits (NULL: never). UNAVAILABLE and the like as
 * the coordinator's open; CONFIG: no such coordinator, or one without leases. */
ONEROW_CHECKED enum onerow_status or_lease_session_open(const char *coordinator,
                                                        const volatile bool *stop,
                                                        struct or_lease_session **session,
                                                        struct onerow_error *error);
/* Releases what is held, and waits for that a little. NULL is accepted. No thread may be inside a
 * call. */
void or_lease_session_close(struct or_lease_session *session);

/* The coordinator's keep_fd; -1: none. */
int or_lease_session_keep_fd(struct or_lease_session *session);

/* What is wanted. All is borrowed; `context` must live as long as the hold. */
struct or_lease_wanted {
    struct onerow_span name;
    struct onerow_span who; /* a JSON object, for people; empty: or_lease_who's */
    uint64_t ttl_ms;
    uint64_t wait_ms; /* 0: not at all; OR_LEASE_FOREVER */
    uint64_t floor;   /* the token is to be above it */
    /* May be NULL. Called by the thread that acquires, each time the coordinator was asked and it
     * has to wait: its place in the queue (1: the first), what the holder's lease has left. */
    void (*waiting)(void *context, uint64_t place, uint64_t left_ms);
    /* May be NULL. Called once, by a thread of the session's, at the moment when nothing may be
     * done under the lease any more. It must return soon, and call nothing of the session's. */
    void (*lost)(void *context);
    void *context;
};

/* OK: *hold is the caller's until or_lease_release. ABSENT: somebody else has it, and there was no
 * time to wait, or it is over. INTERRUPTED: *stop was set. Otherwise the coordinator was not to be
 * had. Nothing is held then, and nobody waits. USAGE: the name or the times are not allowed. */
ONEROW_CHECKED enum onerow_status or_lease_acquire(struct or_lease_session *session,
                                                   const struct or_lease_wanted *wanted,
                                                   struct or_lease_hold **hold,
                                                   struct onerow_error *error);
uint64_t or_lease_token(const struct or_lease_hold *hold);
/* What may be done under it at this moment, and until when (or_wake_now_ms). Never waits. */
enum or_lease_right or_lease_right(struct or_lease_hold *hold, uint64_t *until_ms);
/* When what works under it is to be ended by force, if it is not renewed any more. */
uint64_t or_lease_end_ms(struct or_lease_hold *hold);
/* Gives it up, and frees the hold in any case. OK; LEFT: it had been lost before; else whether it
 * was released is not known, and it runs out by itself. */
ONEROW_CHECKED enum onerow_status or_lease_release(struct or_lease_hold *hold,
                                                   struct onerow_error *error);

/* Permits of a budget that all users of the coordinator share, under the windows that hold now. OK:
 * *permit is filled; it is the caller's to wait, and to send in time. A log that cannot be read is
 * begun anew, with nothing granted for the longest window. */
ONEROW_CHECKED enum onerow_status or_lease_permit(struct or_lease_session *session,
                                                  struct onerow_span budget,
                                                  const struct or_window *windows, unsigned n,
                                                  struct or_permit *permit,
                                                  struct onerow_error *error);

/* {"host":…,"pid":…,"command":…} of this process, in `text`; at most ONEROW_LEASE_WHO_MAX bytes. */
struct onerow_span or_lease_who(const char *command, char text[ONEROW_LEASE_WHO_MAX]);

#endif
