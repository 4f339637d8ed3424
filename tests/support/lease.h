/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of leases share, on top of ledger.h's places: small words for the calls. Each of
 * them must succeed, unless it says otherwise.
 */
#ifndef OR_TESTS_LEASE_H
#define OR_TESTS_LEASE_H

#include "base/wake.h"
#include "tests/support/ledger.h"

#define HELD    ONEROW_LEASE_HELD
#define WAITING ONEROW_LEASE_WAITING
#define TAKEN   ONEROW_LEASE_TAKEN
#define LOST    ONEROW_LEASE_LOST

#define LONG_MS  600000U /* no test takes so long */
#define SHORT_MS 1U      /* is over soon */

/* Fixture: a place with a coordinator on it, and no namespace. It ends with ledger_stop. */
int lease_start(void **state);

/* Whoever's claim it is: the text makes the nonce, and {"who":WHOSE} the description. For LONG_MS,
 * and without a queue. */
struct onerow_lease_claim claim_of(const char *whose, const char *name);

/* Through `c`, unless it is said. */
enum onerow_lease_answer acquire_at(struct onerow_coordinator *at,
                                    struct onerow_lease_claim *claim);
enum onerow_lease_answer acquire(struct onerow_lease_claim *claim);
enum onerow_lease_answer line_up(struct onerow_lease_claim *claim); /* acquire with the queue */
enum onerow_lease_answer renew(struct onerow_lease_claim *claim);
enum onerow_lease_answer release(struct onerow_lease_claim *claim);
enum onerow_lease_answer cancel(struct onerow_lease_claim *claim);
/* The status is in b.status. */
struct onerow_lease_forced force(const char *name, const char *by);

/* The lease of that name as the list has it, with copies of its texts; token 0: it has none. */
struct onerow_lease_view seen_lease(const char *name);
/* "NAME WHO,…": who holds it, or "-"; then "+N" for N waiters. */
const char *listed(const char *prefix, bool free_too);
/* Asks until the lease is held by nobody, or has no more than this many live waiters. */
void until_over(const char *name);
void until_waiters(const char *name, uint64_t n);

#endif
