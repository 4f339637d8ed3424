/* SPDX-License-Identifier: Apache-2.0
 *
 * Places that some schedule must reach. One that is never reached says that the simulator does not
 * show what it claims to show, so a large run fails by it.
 *
 *   X(NAME, "name", bits of the protocols that must reach it)
 */
#ifndef SIM_PLACES_H
#define SIM_PLACES_H

#include "sim/sim.h"

#define SIM_IN_GUARDED (1U << SIM_GUARDED)
#define SIM_IN_DIRECT  (1U << SIM_DIRECT)
#define SIM_IN_CORE    (SIM_IN_GUARDED | SIM_IN_DIRECT)
#define SIM_IN_LEASES  ((1U << SIM_LEASE) | (1U << SIM_LEASE_TOKEN))
#define SIM_IN_NAIVE   ((1U << SIM_NAIVE) | (1U << SIM_PROCESS_LOCK) | SIM_IN_LEASES)

#define SIM_PLACE_MAP(X)                                                                           \
    X(CREATED, "a record is created", SIM_IN_CORE | SIM_IN_NAIVE)                                  \
    X(UPDATED, "a record is updated", SIM_IN_CORE | SIM_IN_NAIVE)                                  \
    X(EQUAL, "a record is there already", SIM_IN_CORE | SIM_IN_NAIVE)                              \
    X(KEPT, "keep leaves another content", SIM_IN_CORE)                                            \
    X(OLDER, "newest leaves a newer content", SIM_IN_CORE)                                         \
    X(REJECTED_TOMBSTONE, "a record is rejected: tombstone", SIM_IN_CORE)                          \
    X(REJECTED_RENAMED, "a record is rejected: renamed", SIM_IN_CORE)                              \
    X(WRITTEN_RENAMED, "a write finds another key on its page", SIM_IN_CORE)                       \
    X(REJECTED_TAKEN, "a record is rejected: its page is another key's", SIM_IN_CORE)              \
    X(REJECTED_REFUSED, "a record is rejected: the store refuses it", SIM_IN_CORE)                 \
    X(GAVE_UP, "a record is rejected: the time is over", SIM_IN_CORE)                              \
    X(UNKNOWN_GONE, "a false 404 makes an outcome unknown", SIM_IN_CORE)                           \
    X(UNKNOWN_DOUBT, "the time is over, and it may have been written", SIM_IN_CORE)                \
    X(ADOPTED, "a page that was there is adopted", SIM_IN_CORE)                                    \
    X(ADOPTED_TOMBSTONE, "a tombstone's page comes back", SIM_IN_CORE)                             \
    X(ADOPT_LOST, "somebody else is faster than an adoption", SIM_IN_CORE)                         \
    X(TWINS, "an attempt sees several pages with one key", SIM_IN_CORE)                            \
    X(SPARE, "a spare blank is used", SIM_IN_GUARDED)                                              \
    X(BIND_LOST, "somebody else is faster than a BIND", SIM_IN_GUARDED)                            \
    X(BIND_DOUBTFUL, "the answer to a BIND is lost, and it was taken", SIM_IN_GUARDED)             \
    X(BIND_SWEPT, "a BIND comes after the sweeper", SIM_IN_GUARDED)                                \
    X(HELPED, "a helper publishes another one's payload", SIM_IN_GUARDED)                          \
    X(HELPED_OWNER, "an owner finds its payload published by a helper", SIM_IN_GUARDED)            \
    X(HELPED_WRITING, "a helper writes another one's version", SIM_IN_CORE)                        \
    X(MARKED, "a write is marked once more", SIM_IN_CORE)                                          \
    X(MARKED_PAUSE, "a write is marked, for its claim is too old", SIM_IN_CORE)                    \
    X(SET_ASIDE, "a refused payload is set aside for another one", SIM_IN_GUARDED)                 \
    X(DROPPED, "a refused version is dropped", SIM_IN_CORE)                                        \
    X(DROPPED_OTHERS, "another one's refused version is dropped", SIM_IN_CORE)                     \
    X(REFUSED_ELSEWHERE, "an owner learns of its refusal from the ledger", SIM_IN_CORE)            \
    X(UNBOUND, "a page in the trash without the key is given up", SIM_IN_GUARDED)                  \
    X(RECREATED, "a deleted page is given up, to be made again", SIM_IN_CORE)                      \
    X(BURIED, "a deleted page becomes a tombstone", SIM_IN_CORE)                                   \
    X(RESTORED, "a deleted page is taken out of the trash", SIM_IN_CORE)                           \
    X(WAIT_DOUBTFUL, "the next version waits for what is doubtful", SIM_IN_CORE)                   \
    X(WAIT_PENDING, "somebody waits for what is pending", SIM_IN_CORE)                             \
    X(VERIFIED, "a page is looked at before it is called unchanged", SIM_IN_CORE)                  \
    X(VERIFIED_REPAIR, "that look finds another content", SIM_IN_CORE)                             \
    X(LATE_PUBLISH, "a publication arrives after its sender gave up", SIM_IN_GUARDED)              \
    X(LATE_OTHER, "a write arrives when another version is there", SIM_IN_CORE)                    \
    X(LATE_TRASHED, "a late write finds its page in the trash", SIM_IN_CORE)                       \
    X(LATE_SWAP, "a swap happens after its sender gave up", SIM_IN_CORE)                           \
    X(LATE_SWAP_VOID, "a late swap comes too late", SIM_IN_CORE)                                   \
    X(CRASH_BOUND, "a process dies between BIND and publication", SIM_IN_GUARDED)                  \
    X(CRASH_WRITING, "a process dies while it writes a version", SIM_IN_CORE)                      \
    X(CRASH_INTENT, "a process dies under its intent", SIM_IN_DIRECT)                              \
    X(LEDGER_CRASHED, "the ledger loses a swap that it had not answered", SIM_IN_CORE)             \
    X(INTENT_LOST, "somebody else is faster than an intent", SIM_IN_DIRECT)                        \
    X(INTENT_WAIT, "somebody waits for another one's intent", SIM_IN_DIRECT)                       \
    X(INTENT_LATE, "an intent is claimed again: too late for its request", SIM_IN_DIRECT)          \
    X(INTENT_UNSENT, "a pause ends after the intent: the create is not sent", SIM_IN_DIRECT)       \
    X(INTENT_RELEASED, "a refused create gives its intent back", SIM_IN_DIRECT)                    \
    X(INTENT_ADOPTED, "a create's answer is lost, and its page is found", SIM_IN_DIRECT)           \
    X(RESOLVED, "what is pending is settled without a record", SIM_IN_CORE)                        \
    X(SWEPT, "a blank is swept", SIM_IN_GUARDED)                                                   \
    X(SWEEP_BOUND, "the sweeper leaves a page that was bound meanwhile", SIM_IN_GUARDED)           \
    X(HEAL_TRASHED, "the healer trashes a twin", SIM_IN_CORE)                                      \
    X(HEAL_MOVED, "the healer moves a twin's key out", SIM_IN_CORE)                                \
    X(HEAL_ADOPTED, "the healer adopts a page", SIM_IN_CORE)                                       \
    X(HEAL_CLEARED, "the healer finds a doubtful page as it should be", SIM_IN_CORE)               \
    X(HEAL_REOPENED, "the healer writes a version once more", SIM_IN_GUARDED)                      \
    X(WRITE_UNSENT, "a permit comes too late for its write, which is not sent", SIM_IN_CORE)       \
    X(WINDOW_WAIT, "a rate window makes somebody wait", SIM_IN_CORE)                               \
    X(RETRY_AFTER_SHARED, "Retry-After holds up another worker of the process", SIM_IN_CORE)       \
    X(PERMIT_RETURNED, "a permit is given back", SIM_IN_CORE)                                      \
    X(PERMIT_SPENT, "a permit is not used, and not the latest", SIM_IN_CORE)                       \
    X(BREAKER_OPENED, "the breaker opens", SIM_IN_CORE)                                            \
    X(BREAKER_CLOSED, "a probe closes the breaker again", SIM_IN_CORE)                             \
    X(PROBE_FAILED, "a probe meets a conflict", SIM_IN_CORE)                                       \
    X(PROBE_LOST, "a probe's result does not come in time", SIM_IN_CORE)                           \
    X(PROBE_RETURNED, "a probe is not sent, and given back", SIM_IN_CORE)                          \
    X(LEASE_TAKEN_OVER, "a lease is taken over after its time", SIM_IN_LEASES)

enum sim_place {
#define SIM_PLACE_ENUM(name, text, protocols) SIM_PLACE_##name,
    SIM_PLACE_MAP(SIM_PLACE_ENUM)
#undef SIM_PLACE_ENUM
        SIM_PLACES
};

_Static_assert(SIM_PLACES <= SIM_SOMETIMES_MAX, "more places than sim_result has bits for");

#endif
