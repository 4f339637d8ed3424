/* SPDX-License-Identifier: Apache-2.0
 *
 * The deterministic simulator: the core's own object code in a world of its own, with a clock, a
 * network, a store, a ledger, processes and workers that all fail as they like. A run is a
 * function of its configuration and its seed; the same two give the same run, byte for byte.
 *
 *   sim_run        one schedule
 *   sim_token_*    a schedule as a text that holds everything (token.c)
 *   sim_shrink     a smaller schedule that fails in the same way (shrink.c)
 *   sim_table_*    a schedule as a time table (table.c, svg.c)
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_WORKERS_MAX 8U
#define SIM_KEYS_MAX    4U
#define SIM_MUTED_MAX   64U

enum sim_protocol {
    SIM_GUARDED,      /* core/attempt.c */
    SIM_DIRECT,       /* likewise */
    SIM_NAIVE,        /* look, create what is not there */
    SIM_PROCESS_LOCK, /* the same under a lock of the process */
    SIM_LEASE,        /* the same under a lease with a time to live */
    SIM_LEASE_TOKEN,  /* the lease has a token, which the store cannot check */
    SIM_PROTOCOLS,
};

/* Faults and foreign hands; facts: each class is off in half of the schedules. X(NAME, "name",
 * "what it is"). */
#define SIM_FAULT_MAP(X)                                                                           \
    X(LOST_REQUEST, "lost-request", "a request does not arrive")                                   \
    X(LOST_REPLY, "lost-reply", "a request is done, its answer does not arrive")                   \
    X(LATE, "late", "a request is done after its sender gave up on it")                            \
    X(TWICE, "twice", "a hidden proxy sends a request again")                                      \
    X(ERROR_BEFORE, "5xx-before", "the store answers 5xx and did nothing")                         \
    X(ERROR_AFTER, "5xx-after", "the store answers 5xx and did it")                                \
    X(CONFLICT, "409", "the store answers 409")                                                    \
    X(RATE, "429", "the store is over its limit for a while")                                      \
    X(FALSE_404, "false-404", "the store does not find a page that is there")                      \
    X(REFUSAL, "400", "the store refuses a payload for good")                                      \
    X(SLOW, "slow", "a request or an answer takes long")                                           \
    X(LOOKUP_ERROR, "lookup-error", "a query fails")                                               \
    X(INCOMPLETE, "incomplete", "a query is answered in part")                                     \
    X(LAG, "lag", "queries see what was")                                                          \
    X(PAUSE, "pause", "a worker stands still between its check and its send")                      \
    X(CRASH, "crash", "a process dies and starts again")                                           \
    X(LEDGER_DOWN, "ledger-down", "the ledger does not answer for now")                            \
    X(LEDGER_LOST, "ledger-lost-reply", "the answer of a swap is lost")                            \
    X(LEDGER_LATE, "ledger-late", "a swap is done after its sender gave up on it")                 \
    X(LEDGER_CRASH, "ledger-crash", "the ledger falls back to what it made durable")               \
    X(CLOCK, "clock", "clocks run apart and jump")                                                 \
    X(FOREIGN, "foreign", "somebody else makes a page with the key")                               \
    X(TRASH, "trash", "a person puts a page into the trash")                                       \
    X(UNTRASH, "untrash", "a person takes a page out of the trash")                                \
    X(RENAME, "rename", "a person changes a page's key")                                           \
    X(EDIT, "edit", "a person changes a page's values")

enum sim_fault {
#define SIM_FAULT_ENUM(name, text, what) SIM_##name,
    SIM_FAULT_MAP(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        SIM_FAULTS
};

struct sim_config {
    enum sim_protocol protocol;
    unsigned workers;   /* 0: drawn, 2 to 4 */
    unsigned keys;      /* 0: drawn, 1 or 2 */
    unsigned processes; /* 0: drawn */
    uint32_t faults;    /* a bit for each class that may be drawn */
    bool within_bounds; /* pauses, requests' lives, lag and skew keep to the bounds P, R, L, D */
    uint64_t seed;
    uint32_t muted[SIM_MUTED_MAX]; /* numbers of injections that do not happen */
    unsigned n_muted;
};

/* What a run can do wrong. X(NAME, "text"). */
#define SIM_VIOLATION_MAP(X)                                                                       \
    X(NONE, "none")                                                                                \
    X(TWO_PAGES, "two live pages that were published by onerow carry one key")                     \
    X(LOST, "an acknowledged page is gone, and no third party took it")                            \
    X(OTHER_ID, "a key was acknowledged with another id, and no third party took the first page")  \
    X(NOT_THERE, "an acknowledged record's page does not carry its key")                           \
    X(CONDEMNED, "a page belongs to a key and is condemned")                                       \
    X(BLIND_CREATE, "something was created after a look-up that failed")                           \
    X(TOO_SOON, "a request was sent inside Retry-After")                                           \
    X(VALUES, "the page does not hold what was acknowledged last")                                 \
    X(DISAGREE, "ledger and store do not agree at the end")                                        \
    X(UNSETTLED, "a record has no outcome")                                                        \
    X(FALSE_OUTCOME, "an outcome is not what happened")                                            \
    X(ENDLESS, "the faults are over, and something goes on for ever")                              \
    X(TWO_HOLDERS, "two holders at once")                                                          \
    X(BOUNDS, "a limit on memory or messages was exceeded")                                        \
    X(POLICY, "a page was taken out of the trash against the policy of deletions")                 \
    X(WINDOW, "a process was granted more requests than a rate window allows")                     \
    X(BLOCKED, "a request was granted inside its process's Retry-After")                           \
    X(BREAKER, "a request was granted past an open breaker, or beside its probe")                  \
    X(PERMIT, "a request was sent without a permit, or two on one")                                \
    X(NEEDLESS, "a request was held up without a reason")

enum sim_violation {
#define SIM_VIOLATION_ENUM(name, text) SIM_VIOLATION_##name,
    SIM_VIOLATION_MAP(SIM_VIOLATION_ENUM)
#undef SIM_VIOLATION_ENUM
        SIM_VIOLATIONS
};

/* Places that must be reached by some schedule, or the simulator shows nothing. */
#define SIM_SOMETIMES_MAX 96U

struct sim_result {
    enum sim_violation violation;
    uint64_t at_us;      /* when it was seen */
    uint32_t events;     /* of the schedule */
    uint32_t injections; /* faults that happened, all classes */
    uint32_t by_class[SIM_FAULTS];
    uint64_t digest; /* of everything that happened: equal runs have equal digests */
    uint64_t sometimes[(SIM_SOMETIMES_MAX + 63) / 64]; /* bits of the places that were reached */
    unsigned settled, created, updated, unchanged, rejected, unknown;
};

/* ---- watching a run, for the time table --------------------------------------------------------
 */

enum sim_lane { /* whose line of the table an entry belongs to */
                SIM_LANE_WORKER,
                SIM_LANE_STORE,
                SIM_LANE_LEDGER,
                SIM_LANE_PERSON,
                SIM_LANE_ORACLE,
};

struct sim_entry {
    uint64_t at_us;
    enum sim_lane lane;
    unsigned worker;  /* WORKER: which; STORE, LEDGER: for whom */
    const char *what; /* a few words, borrowed: "looks: none", "creates P2", "paused for 12 s" */
    bool is_fault;    /* an injection; `fault` and `number` say which */
    enum sim_fault fault;
    uint32_t number; /* of the injection: what `muted` names */
};

typedef void sim_watch(void *context, const struct sim_entry *entry);

/* Runs one schedule. `watch` may be NULL. Deterministic; no memory is allocated. */
void sim_run(const struct sim_config *config, struct sim_result *result, sim_watch *watch,
             void *context);

const char *sim_protocol_name(enum sim_protocol protocol); /* "guarded", … */
const char *sim_fault_name(enum sim_fault fault);          /* "lost-reply", … */
const char *sim_violation_text(enum sim_violation violation);
/* Name of a place, or NULL beyond the last one. Some places belong to some protocols only:
 * *protocols gets a bit for each that must reach it. */
const char *sim_sometimes_name(unsigned place, uint32_t *protocols);

#endif
