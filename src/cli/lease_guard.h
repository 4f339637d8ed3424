/* SPDX-License-Identifier: Apache-2.0
 *
 * The guardian: a small process beside `onerow lease run` that starts the command, and ends it when
 * the wrapper cannot. See the top of lease_guard.c.
 */
#ifndef OR_CLI_LEASE_GUARD_H
#define OR_CLI_LEASE_GUARD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "cli/lease_terminal.h"
#include "cli/lease_tree.h"

enum or_command_state {
    OR_COMMAND_NONE,    /* not asked for yet, or about to be started */
    OR_COMMAND_FAILED,  /* it could not be run: `status` is why (errno) */
    OR_COMMAND_RUNS,    /* that is, its first process does */
    OR_COMMAND_STOPPED, /* by the signal in `status` */
    OR_COMMAND_ENDED,   /* with `status`, as of waitpid; what it started may still run */
};

/* What both write down for each other, in memory that they share. Times are or_wake_now_ms's. */
struct or_board {
    /* the wrapper's */
    _Atomic uint64_t stop_ms; /* without a renewal, the command is told to end then */
    _Atomic uint64_t end_ms;  /* and is killed then */
    _Atomic bool ending;      /* the wrapper has told it */
    /* the guardian's */
    _Atomic int state; /* enum or_command_state */
    _Atomic int status;
    _Atomic unsigned stops; /* how often it was stopped */
    _Atomic bool forced;    /* the guardian has told it to end: the time was over */
};

/* What the guardian is to do. Borrowed: it is forked with a copy of it all. */
struct or_guard_command {
    char *const *argv;
    const char *lease; /* its name, for messages and the environment */
    int terminal;      /* -1: none */
};

struct or_guard {
    struct or_board *board;
    pid_t pid;
    int fd;                /* readable: something is new on the board; closed: it is gone */
    struct or_group group; /* the command's, once it was started */
};

/* Forks it: call before there are threads. False: errno says why. */
bool or_guard_begin(struct or_guard *guard, const struct or_guard_command *command);

/* Has it start the command, with the token and this descriptor (-1: none); `foreground`: its group
 * gets the terminal. The board's times must be there. Standard input and output are the command's
 * alone from now on. False: the guardian is gone. */
bool or_guard_run(struct or_guard *guard, uint64_t token, int keep_fd, bool foreground);

/* Reads what has come. False: the guardian is gone. */
bool or_guard_hear(struct or_guard *guard);

/* Waits for the end of a guardian that is gone. True: it had nothing left to do. */
bool or_guard_reap(struct or_guard *guard);

/* Lets go of it: one that has started nothing ends. */
void or_guard_finish(struct or_guard *guard);

#endif
