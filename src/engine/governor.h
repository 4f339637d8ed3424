/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands before every request to a store with rate limits: the breaker, then the windows,
 * which several processes may share. See the top of governor.c.
 */
#ifndef OR_ENGINE_GOVERNOR_H
#define OR_ENGINE_GOVERNOR_H

#include "core/breaker.h"
#include "core/budget.h"
#include "onerow/extend.h"

struct or_governor;

struct or_governor_options {
    const struct or_window *windows;
    unsigned n_windows;                     /* 0: no limit but what the store says */
    struct onerow_coordinator *coordinator; /* that shares the windows; NULL: this process's own.
                                               Borrowed, used by the same thread, and has leases */
    struct onerow_span budget; /* the windows' name, there or in this process; borrowed.
                                  Empty: without a coordinator, this governor's alone */
    const struct or_breaker_limits *breaker;
    bool probe_first; /* one request goes ahead of a bulk */
};

/* NULL: out of memory. */
struct or_governor *or_governor_create(const struct or_governor_options *options);
void or_governor_destroy(struct or_governor *governor); /* NULL is accepted */

/* What a request waits for. */
enum or_hold {
    OR_HOLD_NONE,
    OR_HOLD_WINDOW,  /* a rate window, or the store's Retry-After: that has an end */
    OR_HOLD_BREAKER, /* too many calls met a conflict */
    OR_HOLD_AWAY,    /* the coordinator of shared windows is not to be had */
};

/* A request's leave to be sent. */
struct or_leave {
    bool given;
    enum or_hold hold; /* not given: why */
    uint64_t probe;    /* of the breaker; 0: it is none */
    uint64_t until_ms; /* not given: when to ask again */
    uint64_t stale_ms; /* given: from then on it is good no more */
};

/* Leave for one of `wanted` requests that want it now (or_wake_now_ms's clock). Leave that was
 * given is used, or given back. */
struct or_leave or_governor_ask(struct or_governor *governor, uint32_t wanted, uint64_t now_ms);
/* The request is sent at this moment. False: it must not be, because the leave is stale, or because
 * the store has said meanwhile that it wants to hear nothing; the leave has been given back. */
ONEROW_CHECKED bool or_governor_use(struct or_governor *governor, struct or_leave *leave,
                                    uint64_t now_ms);
void or_governor_give_back(struct or_governor *governor, struct or_leave *leave, uint64_t now_ms);
/* What came of a request that was sent. `retry_after_ms` of a 429 or 529, or 0. */
void or_governor_tell(struct or_governor *governor, const struct or_leave *leave,
                      enum or_breaker_result result, uint64_t retry_after_ms, uint64_t now_ms);
/* For a request that is sent at once, by whoever waits for it: waits until the windows let it pass,
 * whatever the breaker says, which counts writes that met others. BUSY, UNAVAILABLE: not within
 * wait_ms; INTERRUPTED: *stop was set. */
ONEROW_CHECKED enum onerow_status or_governor_pass(struct or_governor *governor, uint64_t wait_ms,
                                                   const volatile bool *stop,
                                                   struct onerow_error *error);
/* What such a request was told by the store: nothing more for so long. */
void or_governor_hold(struct or_governor *governor, uint64_t retry_after_ms, uint64_t now_ms);
/* How often the breaker has opened. */
uint64_t or_governor_opened(const struct or_governor *governor);

#endif
