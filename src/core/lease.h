/* SPDX-License-Identifier: Apache-2.0
 *
 * A lease as whoever wants, awaits and holds it sees it. See the top of lease.c.
 */
#ifndef OR_CORE_LEASE_H
#define OR_CORE_LEASE_H

#include "onerow/extend.h"

#define OR_LEASE_FOREVER UINT64_MAX

struct or_lease_limits {
    uint64_t ttl_ms;
    uint64_t wait_ms;     /* how long to wait for it; 0: one answer, OR_LEASE_FOREVER */
    uint64_t patience_ms; /* of the claim; looks come three times as often */
    uint64_t poll_ms;     /* the first ones in line look about this often */
};

enum or_lease_state {
    OR_LEASE_TRYING,  /* nothing is known yet */
    OR_LEASE_WAITING, /* in the queue */
    OR_LEASE_HOLDING, /* it is ours, as long as or_lease_watch says so */
    OR_LEASE_STOPPED, /* it was not renewed in time: it is to be given up, and nothing else */
    OR_LEASE_GONE,    /* the coordinator says that it is not ours */
    OR_LEASE_LEAVING, /* release or cancel is on its way */
    OR_LEASE_OVER,    /* nothing is left to do */
};

/* How it ended, or is about to. */
enum or_lease_end {
    OR_LEASE_END_NONE,
    OR_LEASE_END_TAKEN,    /* somebody else has it, and nobody wanted to wait */
    OR_LEASE_END_TIMEOUT,  /* the time to wait is over */
    OR_LEASE_END_FAILED,   /* so it is, and the coordinator was not to be had */
    OR_LEASE_END_LEFT,     /* the caller did not want it any more, before it had it */
    OR_LEASE_END_RELEASED, /* it had it, and gave it up in time */
    OR_LEASE_END_LOST,     /* it had it, and lost it */
};

struct or_lease {
    struct or_lease_limits limits;
    enum or_lease_state state;
    enum or_lease_end end;
    uint64_t token;   /* once it is held */
    uint64_t sent_ms; /* held: it runs for span_ms from a moment after this one */
    uint64_t span_ms;
    uint64_t next_ms;    /* when to send something next */
    uint64_t give_up_ms; /* when the time to wait is over */
    uint64_t gone_ms;    /* GONE: since when it is known */
    uint64_t place;      /* in the queue */
    uint64_t others_ms;  /* what the holder at hand has left, when it was last asked */
    unsigned failures;   /* in a row */
    bool wants_out;
};

enum or_lease_event_kind {
    OR_LEASE_TIME,   /* it is later */
    OR_LEASE_ANSWER, /* to the command at hand; sent_ms, answer, token, left_ms, place */
    OR_LEASE_FAILED, /* the command at hand has none: it may have happened */
    OR_LEASE_WOKEN, /* whoever released it handed it over; sent_ms, token, left_ms (0: not known) */
};

/* Times are a clock's that never goes back and runs through the machine's sleep. */
struct or_lease_event {
    enum or_lease_event_kind kind;
    uint64_t now_ms;
    uint64_t random;  /* uniform */
    uint64_t sent_ms; /* before what granted it was sent */
    enum onerow_lease_answer answer;
    uint64_t token;
    uint64_t left_ms;
    uint64_t place;
};

enum or_lease_do {
    OR_LEASE_DO_SLEEP, /* until until_ms, or until something happens; then a TIME */
    OR_LEASE_DO_ACQUIRE,
    OR_LEASE_DO_RENEW,
    OR_LEASE_DO_RELEASE,
    OR_LEASE_DO_CANCEL,
    OR_LEASE_DO_NOTHING, /* it is over */
};

struct or_lease_command {
    enum or_lease_do what;
    uint64_t until_ms; /* SLEEP; OR_LEASE_FOREVER: until something happens */
};

void or_lease_begin(struct or_lease *lease, const struct or_lease_limits *limits, uint64_t now_ms);
/* One command at a time: the next event is its ANSWER or FAILED, or after a SLEEP a TIME or WOKEN.
 * A WOKEN that comes while a command is out is kept by the driver until then. */
struct or_lease_command or_lease_step(struct or_lease *lease, const struct or_lease_event *event);
/* The caller wants it no more; the next step acts on it. */
void or_lease_leave(struct or_lease *lease);

enum or_lease_right {
    OR_LEASE_RIGHT_NONE, /* it is not held, or not yet */
    OR_LEASE_RIGHT_WORK, /* work may go on, and begin, until *until_ms */
    OR_LEASE_RIGHT_STOP, /* it is lost: what works under it stops, by *until_ms at the latest */
    OR_LEASE_RIGHT_END,  /* what still works under it is to be ended by force */
};

/* What the holder may do at a moment. It depends on time alone, and is to be asked by somebody who
 * waits for no answer. */
enum or_lease_right or_lease_watch(const struct or_lease *lease, uint64_t now_ms,
                                   uint64_t *until_ms);

/* When it comes to END, if it is not renewed any more; 0: it is not held. */
uint64_t or_lease_last_ms(const struct or_lease *lease);

#endif
