/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver for stores of pages: runs many step functions of the core at a time over one store and
 * one ledger. It holds no protocol of its own. See the top of pages_loop.c.
 */
#ifndef OR_ENGINE_PAGES_LOOP_H
#define OR_ENGINE_PAGES_LOOP_H

#include "engine/page_job.h"
#include "engine/pages_stats.h"

#define OR_SPARES 16U

/* Blanks that were made and not used: for who needs one next. What is left of them in the end is
 * the sweeper's. */
struct or_spares {
    char ids[OR_SPARES][OR_PAGE_ID_MAX];
    size_t lens[OR_SPARES];
    size_t n;
};

/* What a table of pages is written with. Ledger and governor are borrowed. */
struct or_pages {
    struct or_ledger *ledger;
    struct or_governor *governor;
    struct or_attempt_options attempt;
    uint64_t patience_ms; /* the run ends when the breaker, or a coordinator that is away, has let
                             nothing pass for so long */
    struct or_spares spares;
    /* For columns that a new record lacks, by rising column. */
    const struct onerow_value *defaults;
    size_t n_defaults;
    const char *advice; /* a line for the user, or NULL */
};

/* What there is to be done. Statuses: OK: the job's task is filled in; ABSENT: there is none (any
 * more); otherwise the run ends. What a task borrows lives until it is settled, or in the job's
 * arena. */
struct or_pages_work {
    /* For a job that is free. */
    enum onerow_status (*next)(void *context, struct or_page_job *job, struct onerow_error *error);
    /* It is over: job->command is the SETTLE. `ended`: because the run ends. */
    void (*settled)(void *context, struct or_page_job *job, bool ended);
    /* For a job that has just settled, before it becomes free. */
    enum onerow_status (*again)(void *context, struct or_page_job *job, struct onerow_error *error);
    /* A page is about to be trashed, or to lose its key (job->call). Not OK: it is not, and the run
     * ends. NULL: nobody wants to know. */
    enum onerow_status (*before)(void *context, struct or_page_job *job,
                                 struct onerow_error *error);
    void *context;
};

/* Does all of it. When *stop is set nothing more is begun or tried again. Not OK: why the run ended
 * early; INTERRUPTED is not among that. */
ONEROW_CHECKED enum onerow_status
or_pages_loop(struct or_pages *pages, struct or_table *table, const struct or_pages_work *work,
              const volatile bool *stop, struct or_pages_stats *stats, struct onerow_error *error);

#endif
