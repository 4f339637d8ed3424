/* SPDX-License-Identifier: Apache-2.0
 *
 * The wrapper, while its command runs. See the top of lease_watch.c.
 */
#ifndef OR_CLI_LEASE_WATCH_H
#define OR_CLI_LEASE_WATCH_H

#include "cli/lease_guard.h"
#include "engine/lease.h"

enum or_watch_end {
    OR_WATCH_RUNS,
    OR_WATCH_FAILED,    /* it could not be run: errno in `status` */
    OR_WATCH_ENDED,     /* by itself: `status` as of waitpid */
    OR_WATCH_LOST,      /* the lease was lost, and it was ended */
    OR_WATCH_UNGUARDED, /* the guardian was killed, and it was ended */
};

struct or_watch {
    /* given; borrowed */
    const char *lease;
    const char *command;
    uint64_t ttl_ms;
    struct or_lease_hold *hold;
    struct or_guard *guard;
    const struct or_terminal *terminal;
    int signals; /* or_signals_catch's */
    int lost;    /* readable once the lease is lost */
    /* filled */
    enum or_watch_end end;
    int status;
    bool interrupted; /* from the terminal, which it had */
    /* of its own */
    bool ending;
    bool guarded;
    bool told_of_rest;
    uint64_t kill_ms;
    unsigned kills;
    uint64_t ended_ms; /* when its first process was seen to have ended */
    unsigned stops;    /* that were acted on */
};

/* Has the guardian start the command, and returns when nothing is left of it. */
void or_watch_command(struct or_watch *watch, int keep_fd);

#endif
