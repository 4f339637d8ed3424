/* SPDX-License-Identifier: Apache-2.0
 *
 * A breaker on the share of conflicts among the last calls. See the top of breaker.c.
 */
#ifndef OR_CORE_BREAKER_H
#define OR_CORE_BREAKER_H

#include "onerow/onerow.h"

#define OR_BREAKER_CALLS 100U /* the last calls that count */

struct or_breaker_limits {
    unsigned percent;     /* opens above this share; 20 by default */
    unsigned least;       /* calls that must have been made before it may open; 1 to 100 */
    uint64_t cool_ms;     /* open for this long, the first time; then twice as long, … */
    uint64_t cool_max_ms; /* … and at most for this */
    uint64_t probe_ms;    /* a probe whose result does not come counts as a conflict after this */
};

enum or_breaker_state {
    OR_BREAKER_CLOSED,
    OR_BREAKER_OPEN,
    OR_BREAKER_PROBING, /* one call goes ahead of all others */
};

enum or_breaker_result { OR_BREAKER_OK, OR_BREAKER_CONFLICT };

struct or_breaker {
    struct or_breaker_limits limits;
    enum or_breaker_state state;
    uint8_t conflicts[OR_BREAKER_CALLS]; /* a ring: 1 for each call that met a conflict */
    unsigned next, held, sum;
    bool probe_out;    /* a probe's result is awaited */
    uint64_t probe;    /* the number of the last probe, from 1 */
    uint64_t until_ms; /* OPEN: until when; PROBING: when the probe counts as lost */
    uint64_t cool_ms;  /* how long it opens the next time */
    uint64_t opened;   /* how often it has, for metrics */
};

enum or_breaker_answer {
    OR_BREAKER_GO,    /* send, and tell the result */
    OR_BREAKER_PROBE, /* send this one alone, and tell its result as that of breaker->probe */
    OR_BREAKER_WAIT,  /* until *until_ms, then ask again */
};

/* `probe_first`: one record goes ahead of a bulk. */
void or_breaker_init(struct or_breaker *breaker, const struct or_breaker_limits *limits,
                     bool probe_first);

enum or_breaker_answer or_breaker_ask(struct or_breaker *breaker, uint64_t now_ms,
                                      uint64_t *until_ms);

/* The result of a call that GO let pass. Anything but a conflict is OK here: other failures have
 * rules of their own. */
void or_breaker_tell(struct or_breaker *breaker, enum or_breaker_result result, uint64_t now_ms);
/* The result of the PROBE of this number. One that counts as lost by now says nothing more. */
void or_breaker_tell_probe(struct or_breaker *breaker, uint64_t probe,
                           enum or_breaker_result result, uint64_t now_ms);
/* The PROBE of this number was not sent after all: another call may go ahead in its place. */
void or_breaker_give_back(struct or_breaker *breaker, uint64_t probe, uint64_t now_ms);

#endif
