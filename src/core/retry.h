/* SPDX-License-Identifier: Apache-2.0
 *
 * When to try again what failed: exponential back-off with full jitter (Brooker, Exponential
 * Backoff And Jitter, AWS Architecture Blog, 2015), limits in tries and in time, and Retry-After in
 * full (RFC 9110, 10.2.3).
 */
#ifndef OR_CORE_RETRY_H
#define OR_CORE_RETRY_H

#include "onerow/onerow.h"

enum or_retry_class {
    OR_RETRY_CONFLICT,  /* 409 */
    OR_RETRY_RATE,      /* 429, 529: with Retry-After, as a rule */
    OR_RETRY_UNCERTAIN, /* time-out, 5xx, reset: it may have happened */
    OR_RETRY_LOOKUP,    /* a look-up that failed */
    OR_RETRY_BUSY,      /* the ledger or the store is not available for now */
    OR_RETRY_CLASSES,
};

struct or_retry_class_limits {
    uint64_t base_ms; /* the first wait is at most this; each further one twice the one before */
    uint64_t cap_ms;  /* and at most this */
    unsigned tries;   /* failures of this class in a row after which to give up; 0: no limit */
};

struct or_retry_limits {
    struct or_retry_class_limits classes[OR_RETRY_CLASSES];
    uint64_t total_ms; /* from the start: no wait may end later; 0: no limit */
};

#define OR_RETRY_FLOOR_MS 10U /* the shortest wait: no failure makes a loop without one */

struct or_retry {
    const struct or_retry_limits *limits; /* borrowed */
    uint64_t started_ms;
    unsigned failed[OR_RETRY_CLASSES]; /* in a row */
};

void or_retry_init(struct or_retry *retry, const struct or_retry_limits *limits, uint64_t now_ms);

/* After a failure. True: try again after *wait_ms, which is never less than retry_after_ms (0: the
 * store did not say). False: give up. `random` is uniform. */
ONEROW_CHECKED bool or_retry_next(struct or_retry *retry, enum or_retry_class class,
                                  uint64_t retry_after_ms, uint64_t now_ms, uint64_t random,
                                  uint64_t *wait_ms);

/* Something worked: rows of failures begin anew. The time allowed goes on. */
void or_retry_ok(struct or_retry *retry);

/* Whether the time allowed is over. */
bool or_retry_expired(const struct or_retry *retry, uint64_t now_ms);

#endif
