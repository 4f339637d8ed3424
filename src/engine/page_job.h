/* SPDX-License-Identifier: Apache-2.0
 *
 * One attempt on its way through the driver: from the core's command to a request, and from what
 * came back to the core's event. See the top of driver_pages.c.
 */
#ifndef OR_ENGINE_PAGE_JOB_H
#define OR_ENGINE_PAGE_JOB_H

#include "core/attempt.h"
#include "engine/entry.h"
#include "engine/governor.h"

enum or_page_job_state {
    OR_PAGE_JOB_OVER,  /* there is none */
    OR_PAGE_JOB_STEP,  /* its event is there */
    OR_PAGE_JOB_READ,  /* wants the ledger */
    OR_PAGE_JOB_SWAP,  /* so does this */
    OR_PAGE_JOB_PROBE, /* wants to be part of a probe */
    OR_PAGE_JOB_SEND,  /* wants to send `call` */
    OR_PAGE_JOB_OUT,   /* waits for an answer */
    OR_PAGE_JOB_SLEEP, /* until due_ms */
};

/* The entries of one key, one after the other. */
struct or_page_job {
    struct or_entry **entries; /* entries[at .. end) are still to do */
    size_t at;
    size_t end;
    enum or_page_job_state state;
    struct or_table *table;
    struct or_attempt attempt;
    struct or_command command;
    struct or_event event;
    struct or_payload payload;
    struct or_page_record records[OR_ATTEMPT_PAGES];
    struct or_probe_page found[OR_ATTEMPT_PAGES];
    struct or_arena arena; /* of the attempt at hand */
    struct onerow_page_call call;
    struct or_leave leave; /* of the call */
    uint64_t due_ms;       /* SLEEP; SEND: when to ask for leave again */
    const char *reason;    /* the store's last words, in `arena`; NULL */
    const struct onerow_record *key;
    const char *ledger_id;           /* borrowed */
    char title[OR_NONCE_TEXT + 64U]; /* of a blank: ONEROW_BLANK_TITLE, ledger's id, "-", nonce */
};

/* The request that the job's command asks the store for. PROBE is the driver's to group. */
void or_page_job_call(struct or_page_job *job);
/* What came of it: fills the job's event, but for time and chance. False: out of memory. */
ONEROW_CHECKED bool or_page_job_take(struct or_page_job *job, const struct onerow_page_call *call);
/* Whether the page carries the job's key, by onerow's own rule. *failed: out of memory. */
ONEROW_CHECKED bool or_page_job_owns(struct or_page_job *job, const struct onerow_page *page,
                                     bool *failed);
/* What the breaker counts. */
enum or_breaker_result or_page_job_result(const struct onerow_page_call *call);

#endif
