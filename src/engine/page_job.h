/* SPDX-License-Identifier: Apache-2.0
 *
 * One step function of the core on its way through the driver of pages: from its command to a
 * request, and from what came back to its event. See the top of pages_loop.c.
 */
#ifndef OR_ENGINE_PAGE_JOB_H
#define OR_ENGINE_PAGE_JOB_H

#include "core/heal.h"
#include "core/sweep.h"
#include "engine/entry.h"
#include "engine/governor.h"
#include "engine/ledger.h"

enum or_page_job_state {
    OR_PAGE_JOB_OVER,  /* there is none */
    OR_PAGE_JOB_BEGIN, /* wants a number */
    OR_PAGE_JOB_STEP,  /* its event is there */
    OR_PAGE_JOB_READ,  /* wants the ledger */
    OR_PAGE_JOB_LEAVE, /* wants leave for `call`, before the swap that it follows */
    OR_PAGE_JOB_SWAP,  /* wants the ledger */
    OR_PAGE_JOB_PROBE, /* wants to be part of a probe */
    OR_PAGE_JOB_PART,  /* is part of one whose answer has not come to its end */
    OR_PAGE_JOB_SEND,  /* wants to send `call` */
    OR_PAGE_JOB_OUT,   /* waits for an answer */
    OR_PAGE_JOB_SLEEP, /* until due_ms */
};

enum or_page_task { OR_PAGE_TASK_ATTEMPT, OR_PAGE_TASK_SWEEP, OR_PAGE_TASK_HEAL };

struct or_page_job {
    /* What is to be done: given before BEGIN. */
    enum or_page_task task;
    struct or_table *table;
    const char *ledger_id;                    /* borrowed */
    const struct or_attempt_options *options; /* borrowed */
    const struct onerow_record *key;          /* ATTEMPT, HEAL: its key values count */
    const struct or_payload *own;             /* ATTEMPT; borrowed. NULL: only what is pending */
    struct onerow_span page;                  /* SWEEP: borrowed */
    struct onerow_span spare;                 /* ATTEMPT: a blank to be used first, or no data */
    void *owner;                              /* the work's own */
    struct onerow_span
        name; /* ATTEMPT, HEAL: the key's in the ledger, as or_ledger_name makes it */
    /* the rest is the driver's */
    enum or_page_job_state state;
    union {
        struct or_attempt attempt;
        struct or_sweep sweep;
        struct or_heal heal;
    } as;
    struct or_retry begin; /* of BEGIN */
    struct or_command command;
    struct or_event event;
    struct or_page_record records[OR_ATTEMPT_PAGES];
    struct or_probe_page found[OR_ATTEMPT_PAGES];
    struct or_ledger_kept kept;
    struct or_arena arena; /* of the task at hand; owned */
    struct onerow_page_call call;
    struct or_leave leave; /* of the call */
    uint64_t line;         /* of the call; 0: none */
    uint64_t turn;         /* rises: who has waited longest */
    uint64_t due_ms;       /* SLEEP, BEGIN: until then */
    const char *reason;    /* the store's last words, in `arena` or static; NULL */
    /* Of a blank: ONEROW_BLANK_TITLE, the ledger's id, "-" and a nonce; in place of a key:
     * ONEROW_MOVED_TITLE and the page's id. */
    char title[OR_PAGE_ID_MAX + 32U];
};

/* Begins the task, under a number of the ledger's. */
void or_page_job_begin(struct or_page_job *job, uint64_t number);
/* The next command. */
void or_page_job_step(struct or_page_job *job);
/* Nothing is tried again from now on: the next failure settles it. */
void or_page_job_hurry(struct or_page_job *job);

/* The request that the job's command asks the store for. PROBE is the driver's to group. */
void or_page_job_call(struct or_page_job *job);
/* The command is a SWAP that is to be followed by a write at once: fills `call` with that. */
bool or_page_job_announces(struct or_page_job *job);
/* What came of it: fills the job's event, but for time and chance; what it holds is copied to the
 * job's arena. False: out of memory. */
ONEROW_CHECKED bool or_page_job_take(struct or_page_job *job, const struct onerow_page_call *call);
/* Whether the page carries the key with this canonical form, by onerow's own rule. *failed: out of
 * memory. */
ONEROW_CHECKED bool or_page_owns(const struct or_table *table, const struct onerow_page *page,
                                 struct onerow_span key, struct or_arena *arena, bool *failed);
/* What the breaker counts. */
enum or_breaker_result or_page_job_result(const struct onerow_page_call *call);

/* A payload as the ledger keeps it: what the record writes, and what it writes onto a new page,
 * which may be more (no data: the same). In the arena; data NULL: out of memory. */
struct onerow_span or_page_payload(struct onerow_span plain, struct onerow_span full,
                                   struct or_arena *arena);

/* Whether a key's values begin with a text that onerow has reserved for its blanks. */
bool or_page_key_is_reserved(const struct onerow_value *parts, size_t n);

#endif
