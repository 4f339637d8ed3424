/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lease_terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void or_terminal_open(struct or_terminal *terminal)
{
    terminal->fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    terminal->has_modes = terminal->fd >= 0 && tcgetattr(terminal->fd, &terminal->modes) == 0;
}

void or_terminal_close(struct or_terminal *terminal)
{
    if (terminal->fd >= 0) {
        close(terminal->fd);
        terminal->fd = -1;
    }
}

bool or_terminal_is_ours(const struct or_terminal *terminal)
{
    return terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp();
}

/* Fails when the terminal or the group is gone; then nobody needs it. */
static void hand_to(const struct or_terminal *terminal, pid_t group)
{
    while (tcsetpgrp(terminal->fd, group) < 0 && errno == EINTR) {
    }
}

void or_terminal_give(const struct or_terminal *terminal, pid_t group)
{
    if (terminal->fd >= 0) {
        hand_to(terminal, group);
    }
}

bool or_terminal_take(const struct or_terminal *terminal, pid_t group, bool died)
{
    pid_t has = terminal->fd >= 0 ? tcgetpgrp(terminal->fd) : -1;
    if (has < 0 || has == getpgrp() || (has != group && !(kill(-has, 0) < 0 && errno == ESRCH))) {
        return false;
    }
    hand_to(terminal, getpgrp());
    if (died && terminal->has_modes) {
        (void)tcsetattr(terminal->fd, TCSADRAIN, &terminal->modes);
    }
    return has == group;
}
