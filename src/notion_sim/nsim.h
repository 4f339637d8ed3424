/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator of the Notion API: a local stand-in for api.notion.com with its limits, its
 * errors and, when asked, its faults. What it does like Notion, with the source of each claim,
 * and what it does not, is in docs/notion-sim.md.
 *
 * Everything happens in the caller's thread, in or_nsim_serve. A simulator that finds no memory
 * ends the process: any answer it could still give would be wrong.
 */
#ifndef OR_NOTION_SIM_NSIM_H
#define OR_NOTION_SIM_NSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "onerow/onerow.h"

#define OR_NSIM_WINDOWS_MAX 4U
#define OR_NSIM_LAG_MAX_MS  60000U /* what queries may lag behind */

/* At most `count` requests from the first one of a window until span_ms later. */
struct or_nsim_window {
    uint32_t count;
    uint64_t span_ms;
};

struct or_nsim_options {
    const char *host; /* NULL: 127.0.0.1 */
    uint16_t port;    /* 0: a free one */
    bool anywhere;    /* the host need not be a loopback address */
    uint64_t seed;
    bool virtual_clock;
    const char *const *tokens; /* ends with NULL; NULL or none: every token is accepted */
    struct or_nsim_window windows[OR_NSIM_WINDOWS_MAX]; /* of each token */
    unsigned n_windows;
    struct or_nsim_window space[OR_NSIM_WINDOWS_MAX]; /* of all tokens together */
    unsigned n_space;
    const char *faults; /* "409=10%,lag=5%:2000", or NULL */
    uint64_t behind_ms; /* the real clock is so far behind the machine's */
    uint64_t lag_ms;    /* queries see the state of so long ago */
    uint64_t search_lag_ms;
    uint64_t latency_ms[2]; /* each request takes between so long and so long */
    bool gzip;              /* answers are compressed for clients that take it */
    const char *setup;      /* the text of a setup file, or NULL */
    size_t setup_len;
    FILE *log; /* one line of JSON per request, or NULL; borrowed */
};

struct or_nsim;

/* A workspace without a server. On failure *error says why. */
ONEROW_CHECKED enum onerow_status or_nsim_open(const struct or_nsim_options *options,
                                               struct or_nsim **sim, struct onerow_error *error);
void or_nsim_close(struct or_nsim *sim); /* NULL is accepted */

/* Listens. The address is where it listens, "http://127.0.0.1:PORT". */
ONEROW_CHECKED enum onerow_status or_nsim_listen(struct or_nsim *sim, struct onerow_error *error);
const char *or_nsim_address(const struct or_nsim *sim);
/* The id of the page that a fresh workspace consists of. */
const char *or_nsim_root(const struct or_nsim *sim);

/* Answers until *stop is set. SIGINT and SIGTERM are let through while it waits only, so a handler
 * that sets the flag is seen at once. */
ONEROW_CHECKED enum onerow_status or_nsim_serve(struct or_nsim *sim, const volatile bool *stop,
                                                struct onerow_error *error);

/* The names of the faults and what they do, as lines for --help. */
const char *or_nsim_fault_help(void);
/* Whether the text is a list of faults and rates; false: *reason (static) says why not. */
ONEROW_CHECKED bool or_nsim_faults_check(const char *text, const char **reason);

#endif
