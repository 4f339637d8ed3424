/* SPDX-License-Identifier: Apache-2.0
 *
 * The world of one schedule: everything that the simulator's parts share. It lies in one static
 * place, and only what a schedule used is cleared for the next one.
 *
 * Time is simulated, in microseconds. Events wait in a heap; events of the same time happen in the
 * order in which they were planned.
 *
 * Faults happen through sim_inject alone. It draws, from the stream of whoever is struck, whether
 * this one happens and how large it is, before it looks whether the configuration has muted it, or
 * has switched its class off: up to a muted injection a run is the one that it was without muting.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "core/breaker.h"
#include "core/heal.h"
#include "core/sweep.h"
#include "core/window.h"
#include "sim/places.h"
#include "sim/rng.h"
#include "sim/sim.h"

#define SIM_MS     1000U /* µs */
#define SIM_SECOND (1000U * SIM_MS)

#define SIM_JANITOR       SIM_WORKERS_MAX /* the index of the worker that sweeps and heals */
#define SIM_ACTORS        (SIM_WORKERS_MAX + 1U)
#define SIM_PROCESSES     (SIM_WORKERS_MAX + 1U) /* the janitor has its own */
#define SIM_PER_WORKER    4U                     /* records */
#define SIM_RECORDS_MAX   (SIM_WORKERS_MAX * SIM_PER_WORKER)
#define SIM_PAGES_MAX     96U
#define SIM_MESSAGES_MAX  96U
#define SIM_QUEUE_MAX     512U
#define SIM_MARKS_MAX     512U /* attempt records of the ledger */
#define SIM_SPARES_MAX    8U   /* of a process */
#define SIM_EVENTS_MAX    20000U
#define SIM_ENDLESS_AFTER (4U * 3600ULL * SIM_SECOND) /* the faults are over for so long */
#define SIM_CRASHES_MAX   5U                          /* per schedule */
#define SIM_HANDS_MAX     3U                          /* per schedule and kind of what persons do */
#define SIM_GRANTS        64U                         /* of a process, that its oracle remembers */

/* ---- values -------------------------------------------------------------------------------------
 *
 * What a page holds: a record's payload (its index + 1), or what a person wrote. Two records may
 * hold the same content, which is what fingerprints are of. */
#define SIM_VALUE_NONE   0U
#define SIM_VALUE_PERSON (SIM_RECORDS_MAX + 1U) /* and above */
#define SIM_VALUES       (SIM_VALUE_PERSON + 8U)

#define SIM_KEY_NONE  0U
#define SIM_KEY_OTHER 255U /* a text that is no key of this run */

struct sim_record {
    uint8_t worker;
    uint8_t key; /* from 1 */
    uint8_t content;
    uint8_t order; /* 0: NULL */
    struct or_payload payload;
    bool refused;          /* the store refuses this payload for good */
    bool refused_now;      /* it has done so */
    bool accepted_now;     /* it has accepted it all the same */
    bool crashed;          /* a process died while it was on it */
    bool abandoned;        /* and nobody ran it again */
    unsigned settled;      /* times */
    uint8_t outcome;       /* enum onerow_outcome */
    uint8_t reason;        /* enum or_reason */
    uint8_t acked_page;    /* created, updated, unchanged: index + 1 */
    uint64_t taken_number; /* of the last attempt that ran it */
};

/* ---- the store ------------------------------------------------------------------------------ */

struct sim_page {
    uint8_t key;   /* SIM_KEY_NONE: a blank, or none */
    uint8_t value; /* SIM_VALUE_* or a record's index + 1 */
    bool trashed;
    bool edited;
    bool attached;
    bool blank_title; /* its title is that of `nonce` */
    struct or_nonce nonce;
    uint64_t created_ms;
    /* what queries see until fresh_at */
    uint64_t fresh_at;
    uint8_t seen_key;
    bool seen_live;
    /* for the oracles */
    bool key_by_onerow;    /* onerow wrote the key that it carries */
    bool hand_made;        /* a person made it */
    bool hand_trashed;     /* a person put it into the trash at some time */
    bool hand_untrashed;   /* and one took it out, and onerow has not touched that since */
    bool hand_renamed;     /* a person changed its key at some time */
    bool hand_edited;      /* a person changed its values at some time */
    uint8_t acked_key;     /* it was acknowledged for this key; 0: never */
    uint8_t created_acked; /* times that it was acknowledged as created */
    uint64_t applied;      /* bits of the records whose payload was written onto it … */
    uint64_t placed;       /* … and of those of them whose key it carried, then or later */
};

/* ---- the ledger ------------------------------------------------------------------------------ */

struct sim_mark {
    struct or_nonce nonce;
    struct or_attempt_record record;
};

struct sim_ledger_page {
    uint64_t revision;
    enum or_page_state state;
    uint64_t since_ms;
    uint8_t key; /* BOUND */
    uint64_t generation;
};

/* For the protocols that use no more of a ledger than a lease. */
struct sim_lease {
    uint8_t holder; /* worker + 1; 0: nobody */
    uint32_t attempt;
    uint64_t until_ms;
    uint64_t token;
};

struct sim_ledger {
    uint64_t clock_ahead_ms; /* grows only */
    uint64_t down_until;
    bool through_bytes; /* each swap and record also goes through its encoding */
    uint32_t n_marks;
    struct or_key_record keys[SIM_KEYS_MAX + 1];
    struct sim_lease leases[SIM_KEYS_MAX + 1];
    struct sim_ledger_page pages[SIM_PAGES_MAX];
    struct sim_mark marks[SIM_MARKS_MAX];
};

/* ---- messages ---------------------------------------------------------------------------------
 */

/* What the naive protocols ask the ledger for, beyond enum or_do. */
enum sim_ask {
    SIM_ASK_LEASE = 32, /* take or keep the key's lease */
    SIM_ASK_RELEASE,
};

enum sim_copy {
    SIM_COPY_FIRST,
    SIM_COPY_AGAIN, /* the proxy's: nobody waits for its answer */
};

struct sim_message {
    uint8_t what; /* enum or_do or enum sim_ask */
    uint8_t worker;
    uint8_t key;
    uint8_t page;   /* index; of a READ: unused */
    uint8_t value;  /* PUBLISH, WRITE, CREATE_KEYED: a record's index + 1 */
    uint8_t wanted; /* GET: the record whose columns are compared, index + 1 */
    uint8_t copy;   /* enum sim_copy */
    bool to_ledger;
    bool answers;   /* an answer is on its way once it was done */
    bool delivered; /* it was done or refused, and the answer travels */
    bool held;      /* the answer is there, its reader is not */
    uint16_t epoch; /* of the worker, when it was sent */
    uint64_t reply_delay;
    struct or_nonce nonce;
    uint8_t n_pages;
    uint8_t pages[OR_ATTEMPT_PAGES]; /* READ */
    struct or_swap swap;
    struct or_event answer;
    struct or_page_record records[OR_ATTEMPT_PAGES];
    struct or_probe_page found[OR_ATTEMPT_PAGES];
};

/* ---- workers and processes --------------------------------------------------------------------
 */

enum sim_job {
    SIM_JOB_NONE,
    SIM_JOB_PUT,
    SIM_JOB_RESOLVE, /* an attempt without a record */
    SIM_JOB_SWEEP,
    SIM_JOB_HEAL,
    SIM_JOB_NAIVE,
};

enum sim_naive_state {
    SIM_NAIVE_START,
    SIM_NAIVE_LEASING, /* asked for the lease */
    SIM_NAIVE_RENEWING,
    SIM_NAIVE_LOOKING,
    SIM_NAIVE_CREATING,
    SIM_NAIVE_WRITING,
    SIM_NAIVE_WAITING,
    SIM_NAIVE_RELEASING,
};

struct sim_naive {
    enum sim_naive_state state;
    enum onerow_outcome outcome; /* to be told after RELEASING */
    uint8_t page;                /* index + 1 */
    uint32_t attempt;
    uint64_t lease_until_ms; /* local clock */
    bool locked;             /* holds the process's lock */
};

struct sim_worker {
    uint8_t process;
    uint8_t job;
    uint8_t key;
    uint8_t record; /* index */
    uint8_t page;   /* SWEEP: index */
    uint8_t first, next, n_records;
    bool dead;
    bool finished;          /* no more records */
    bool waits;             /* for an answer */
    bool probe_ok;          /* the attempt's last look-up was complete */
    uint16_t epoch;         /* counts what it waits for: answers to what is over do not reach it */
    uint32_t passes;        /* janitor */
    int32_t drift;          /* of its clock, in 2^-20 */
    uint64_t ahead_us;      /* of its clock */
    uint64_t not_before_ms; /* local clock: Retry-After */
    uint32_t permit;        /* of the process, to send once to the store; 0: none in hand */
    bool calls;             /* what it waits for was sent under a permit */
    uint64_t probe;         /* that permit is the breaker's probe of this number; 0: it is not */
    struct or_nonce claim;  /* the last INTENT's, and whether a complete look-up was behind it */
    bool claim_ok;
    struct sim_rng rng;
    struct or_command command;
    union {
        struct or_attempt attempt;
        struct or_heal heal;
        struct or_sweep sweep;
        struct sim_naive naive;
    } as;
};

struct sim_process {
    bool locked[SIM_KEYS_MAX + 1]; /* the locks of process-lock */
    uint8_t n_spares;
    uint8_t spares[SIM_SPARES_MAX]; /* pages */
};

/* How fast a process may be, and when it stops. */
struct sim_governor {
    uint64_t ahead_us; /* of the process's clock */
    uint32_t granted;  /* permits, without those that were given back */
    struct or_breaker breaker;
    struct or_windows windows;
};

enum sim_permission {
    SIM_PERMITTED,
    SIM_HELD_BY_BREAKER,
    SIM_HELD_BY_WINDOWS,
};

/* ---- events -------------------------------------------------------------------------------------
 */

enum sim_event_kind {
    SIM_EVENT_START,    /* worker: takes its next record, or its current one once more */
    SIM_EVENT_WAKE,     /* worker: a WAIT is over */
    SIM_EVENT_ASK,      /* worker: asks for its permit again */
    SIM_EVENT_SEND,     /* worker: a pause is over, its command is sent */
    SIM_EVENT_CHECK,    /* worker: a pause before the last check is over */
    SIM_EVENT_DEADLINE, /* worker: no answer came */
    SIM_EVENT_ARRIVE,   /* message */
    SIM_EVENT_REPLY,    /* message */
    SIM_EVENT_CALM,     /* the faults are over */
};

struct sim_planned {
    uint64_t when; /* µs << 20 | number of the event */
    uint16_t kind;
    uint16_t which; /* worker or message */
    uint16_t epoch; /* of the worker */
};

/* ---- what the oracles remember of a key ------------------------------------------------------ */

struct sim_key_facts {
    uint8_t acked_page; /* last acknowledged, index + 1 */
    uint8_t held;       /* what DONE's last version holds: a record's index + 1; 0: not known */
    uint8_t first_held; /* what this generation's first version held; 0: adopted */
    uint8_t highest;    /* order value acknowledged for the page at hand */
    uint8_t n_created;
};

/* ---- and of a process ----------------------------------------------------------------------- */

struct sim_grant {
    uint64_t at_us;
    uint8_t worker;
    bool unsent; /* it was not used, nor given back */
};

struct sim_pace {
    struct sim_grant grants[SIM_GRANTS]; /* a ring */
    uint32_t n_grants;
    uint8_t conflicts[OR_BREAKER_CALLS]; /* a ring: the results since the breaker was closed */
    uint32_t n_calls;
    uint16_t permits;       /* bits of workers that have one and have not sent */
    uint16_t probers;       /* bits of workers whose call was granted past an open breaker */
    uint64_t not_before_us; /* Retry-After */
    bool open;
    uint8_t probe;           /* the worker whose probe is out, + 1 */
    uint64_t until_ms;       /* open: nothing before */
    uint64_t probe_until_ms; /* the probe is lost then */
    uint64_t cool_ms;        /* how long it opens the next time */
};

enum sim_phase {
    SIM_PHASE_WORK,
    SIM_PHASE_KEYS,   /* everything is over and has arrived: what is pending is settled, healed */
    SIM_PHASE_BLANKS, /* and what is left over is swept */
};

struct sim_world {
    const struct sim_config *config;
    struct sim_result *result;
    sim_watch *watch;
    void *watch_context;

    uint64_t now; /* µs */
    uint64_t digest;
    uint32_t numbered; /* injections, muted ones as well */
    uint32_t n_planned;
    uint32_t planned_ever;
    uint32_t active;            /* bits of the fault classes that may strike now */
    uint32_t rates[SIM_FAULTS]; /* of 2^32 */
    uint64_t size;              /* of the last injection: uniform */
    uint64_t calm_at;
    bool core;    /* guarded or direct */
    bool bounded; /* config->within_bounds */
    enum sim_phase phase;
    bool reruns;            /* crashed records are run again */
    uint64_t limited_until; /* the store's 429 */
    uint32_t crashes;
    uint32_t hands[SIM_FAULTS]; /* what persons did, by class */
    uint64_t next_number;       /* of attempts */

    struct sim_rng rng; /* of the swarm and of persons */
    struct or_attempt_options options;
    struct or_retry_limits limits, patient; /* workers', the final phase's */
    bool governed;                          /* permits are asked for */
    bool probe_first;
    unsigned n_windows;
    struct or_window windows[OR_WINDOWS_MAX];
    struct or_breaker_limits breaker;
    unsigned n_workers, n_keys, n_processes, n_records, n_pages;
    unsigned n_free;

    struct sim_key_facts facts[SIM_KEYS_MAX + 1];
    struct sim_process processes[SIM_PROCESSES];
    struct sim_pace paces[SIM_PROCESSES];
    struct sim_governor governors[SIM_PROCESSES];
    struct sim_record records[SIM_RECORDS_MAX];
    struct sim_worker workers[SIM_ACTORS];
    struct sim_ledger ledger;
    struct sim_page pages[SIM_PAGES_MAX];
    struct sim_planned queue[SIM_QUEUE_MAX];
    uint8_t free_messages[SIM_MESSAGES_MAX];
    bool message_used[SIM_MESSAGES_MAX];
    struct sim_message messages[SIM_MESSAGES_MAX];
};

/* The letters of protocols.md that every schedule uses. */
extern const struct or_bounds sim_bounds;

/* Clears the world for a schedule. */
void sim_world_init(struct sim_world *world, const struct sim_config *config,
                    struct sim_result *result, sim_watch *watch, void *context);

/* An event after `delay` µs. */
void sim_plan(struct sim_world *world, uint64_t delay, enum sim_event_kind kind, unsigned which,
              unsigned epoch);
/* The next event, at whose time it is now. False: there is none. */
bool sim_next_event(struct sim_world *world, struct sim_planned *event);

/* Whether a fault strikes; then world->size says how hard. */
bool sim_inject(struct sim_world *world, struct sim_rng *rng, enum sim_fault fault,
                enum sim_lane lane, unsigned worker);

/* The first violation ends the schedule. */
void sim_violate(struct sim_world *world, enum sim_violation violation);

static inline bool sim_violated(const struct sim_world *world)
{
    return world->result->violation != SIM_VIOLATION_NONE;
}

static inline void sim_digest(struct sim_world *world, uint64_t value)
{
    uint64_t mixed = (world->digest ^ value) * 0x9fb21c651e98df25U;
    world->digest = mixed ^ (mixed >> 32);
}

static inline void sim_reach(struct sim_world *world, enum sim_place place)
{
    world->result->sometimes[(unsigned)place / 64U] |= (uint64_t)1 << ((unsigned)place % 64U);
}

/* Reaches a place if the condition holds. */
#define SOMETIMES(world, place, condition)                                                         \
    do {                                                                                           \
        if (condition) {                                                                           \
            sim_reach((world), SIM_PLACE_##place);                                                 \
        }                                                                                          \
    } while (0)

/* An entry of the time table; nothing when nobody watches. */
void sim_say(struct sim_world *world, enum sim_lane lane, unsigned worker, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- clocks ------------------------------------------------------------------------------------
 */

static inline uint64_t sim_local_ms(const struct sim_world *world, const struct sim_worker *worker)
{
    int64_t drift = (int64_t)(world->now >> 10) * worker->drift / 1024;
    return (worker->ahead_us + world->now + (uint64_t)drift) / SIM_MS;
}

#define SIM_EPOCH_MS 1700000000000U

static inline uint64_t sim_ledger_ms(const struct sim_world *world)
{
    return SIM_EPOCH_MS + world->ledger.clock_ahead_ms + world->now / SIM_MS;
}

static inline uint64_t sim_store_ms(const struct sim_world *world)
{
    return SIM_EPOCH_MS + world->now / SIM_MS;
}

/* ---- names --------------------------------------------------------------------------------------
 */

struct onerow_span sim_page_id(unsigned page);
unsigned sim_page_of(struct onerow_span id); /* its index; the id must be one of ours */
struct onerow_span sim_key_name(unsigned key);
char sim_key_letter(unsigned key);
/* The payload whose text says which record's it is. */
unsigned sim_value_of(const struct or_payload *payload);
void sim_value_fingerprint(const struct sim_world *world, unsigned value,
                           uint8_t fingerprint[OR_FINGERPRINT_LEN]);
unsigned sim_value_content(const struct sim_world *world, unsigned value);
unsigned sim_value_order(const struct sim_world *world, unsigned value);
struct onerow_value sim_order(unsigned order);
struct onerow_span sim_record_text(unsigned record);

#endif
