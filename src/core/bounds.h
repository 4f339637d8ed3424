/* SPDX-License-Identifier: Apache-2.0
 *
 * The times of protocols.md, in milliseconds, and the waits that follow from them. No one row
 * depends on them under guarded; values do, and direct does altogether.
 */
#ifndef OR_CORE_BOUNDS_H
#define OR_CORE_BOUNDS_H

#include <stdint.h>

struct or_bounds {
    uint64_t pause;   /* P: longest pause of a writer between its last check and its send */
    uint64_t request; /* T: a request's own deadline */
    uint64_t life;    /* R: longest life of a request after its client gave up */
    uint64_t lag;     /* L: index lag of queries */
    uint64_t skew;    /* D: clock skew */
    uint64_t guard;   /* G: a create's deadline before the intent's end */
    uint64_t lease;   /* how long an intent is the holder's */
    uint64_t poll;    /* longest wait between two looks at somebody else's work */
};

/* P + T: then the writer of a pending payload has sent it, and given up on the answer. */
uint64_t or_bounds_sent(const struct or_bounds *bounds);
/* P + T + R: then it has arrived, or never will. */
uint64_t or_bounds_arrived(const struct or_bounds *bounds);
/* lease + S, S = P + R + L + D - G: then a create under an intent can be seen, or was not done. */
uint64_t or_bounds_seen(const struct or_bounds *bounds);
/* How long a create may be sent under an intent. */
uint64_t or_bounds_usable(const struct or_bounds *bounds);

#endif
