/* SPDX-License-Identifier: Apache-2.0
 *
 * Handing the terminal to a command's process group and back, as a shell does.
 */
#ifndef OR_CLI_LEASE_TERMINAL_H
#define OR_CLI_LEASE_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

struct or_terminal {
    int fd; /* the controlling terminal; -1: there is none */
    bool has_modes;
    struct termios modes; /* as we found them */
};

/* The process must have SIGTTOU blocked: whoever has given the terminal away is in the background,
 * and could not take it back. */
void or_terminal_open(struct or_terminal *terminal);
void or_terminal_close(struct or_terminal *terminal);

/* Whether our process group is in the foreground. */
bool or_terminal_is_ours(const struct or_terminal *terminal);

/* To a group of our session. */
void or_terminal_give(const struct or_terminal *terminal, pid_t group);

/* Takes it back if `group` has it, or nobody that lives; `died`: it was killed, and may have left
 * the terminal in some state. True: it did have it. */
bool or_terminal_take(const struct or_terminal *terminal, pid_t group, bool died);

#endif
