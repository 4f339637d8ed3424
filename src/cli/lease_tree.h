/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes below this one, and signals to them. See the top of lease_tree.c.
 */
#ifndef OR_CLI_LEASE_TREE_H
#define OR_CLI_LEASE_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* A process group, known by its first process. */
struct or_group {
    pid_t id;
    int fd; /* that process's; -1: none */
};

/* A descriptor of a process that is not reaped yet; -1: this kernel has none. */
int or_group_open(pid_t id);
/* False: nobody is left in it. */
bool or_group_signal(const struct or_group *group, int number);

/* Sends it to each process below this one, but to `except` (0: to all), and to those of `group`
 * (NULL: to all), which have had it. Those that are started meanwhile are missed. */
void or_tree_signal(int number, pid_t except, const struct or_group *group);

/* Whoever cannot be killed is tried again, ever more seldom: how long to wait after so many times.
 */
int or_tree_kill_wait_ms(unsigned times);

/* How many there are, without `except`; one of them in *pid. */
unsigned or_tree_count(pid_t except, pid_t *pid);

#endif
