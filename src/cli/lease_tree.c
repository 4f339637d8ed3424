/* SPDX-License-Identifier: Apache-2.0
 *
 * A command's process group is the command as a shell sees it; but what `timeout` or an interactive
 * shell starts has a group of its own, and works under the lease all the same. So what is to be
 * ended is everything below: the group first, because a signal reaches all of a group at once, then
 * whatever else /proc says is below. Nothing gets away from there: this process is a subreaper, so
 * whoever loses its parent becomes its child.
 *
 * Numbers of processes are given again. A process is signalled by its descriptor, and only if it
 * began when the listing says that it did; a group through the descriptor of its first process,
 * which stands for the group even after that process's end. Linux before 6.9 cannot do the latter:
 * there it is the group's number.
 */
#include "cli/lease_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIGNAL_PROCESS_GROUP (1U << 2) /* PIDFD_SIGNAL_PROCESS_GROUP, which older headers lack */
#define KILL_WAIT_MS         10
#define KILL_DOUBLE          7U /* doubled so often at most: about a second */

/* ---- groups ------------------------------------------------------------------------------------
 */

int or_group_open(pid_t id)
{
    return (int)syscall(SYS_pidfd_open, id, 0U);
}

bool or_group_signal(const struct or_group *group, int number)
{
    if (group->id <= 0) {
        return false;
    }
    if (group->fd >= 0) {
        if (syscall(SYS_pidfd_send_signal, group->fd, number, NULL, SIGNAL_PROCESS_GROUP) == 0) {
            return true;
        }
        if (errno == ESRCH) {
            return false;
        }
    }
    return kill(-group->id, number) == 0 || errno != ESRCH;
}

/* ---- the tree ----------------------------------------------------------------------------------
 */

struct process {
    pid_t pid;
    pid_t parent;
    pid_t group;
    unsigned long long began;
    bool below;
};

struct listing {
    struct process *all; /* owned */
    size_t n;
    size_t room;
};

#define PARENT 2U /* fields of /proc/PID/stat, counted behind the name */
#define GROUP  3U
#define BEGAN  20U

/* The n-th field of a text that begins with a space; 0: there is none. */
static unsigned long long number_at(const char *text, unsigned n)
{
    for (; text && n > 1; n--) {
        text = strchr(text + 1, ' ');
    }
    return text ? strtoull(text, NULL, 10) : 0;
}

static bool look(pid_t pid, struct process *process)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *rest = strrchr(text, ')'); /* the name, in parentheses, may hold anything */
    rest = rest ? rest + 1 : NULL;
    *process = (struct process){.pid = pid,
                                .parent = (pid_t)number_at(rest, PARENT),
                                .group = (pid_t)number_at(rest, GROUP),
                                .began = number_at(rest, BEGAN)};
    return process->began != 0;
}

static bool add(struct listing *listing, const struct process *process)
{
    if (listing->n == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 256;
        struct process *all = realloc(listing->all, room * sizeof *all);
        if (!all) {
            return false;
        }
        listing->all = all;
        listing->room = room;
    }
    listing->all[listing->n++] = *process;
    return true;
}

static void list_all(struct listing *listing)
{
    DIR *folder = opendir("/proc");
    const struct dirent *entry = NULL;
    struct process process;
    while (folder && (entry = readdir(folder))) {
        long pid = strtol(entry->d_name, NULL, 10); /* 0: no number */
        if (pid > 0 && look((pid_t)pid, &process) && !add(listing, &process)) {
            break;
        }
    }
    if (folder) {
        closedir(folder);
    }
}

static bool is_below(const struct listing *listing, pid_t pid)
{
    for (size_t i = 0; i < listing->n; i++) {
        if (listing->all[i].pid == pid) {
            return listing->all[i].below;
        }
    }
    return false;
}

/* As many rounds as the tree is deep. */
static void mark_below(struct listing *listing)
{
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < listing->n; i++) {
            struct process *process = &listing->all[i];
            if (!process->below &&
                (process->parent == getpid() || is_below(listing, process->parent))) {
                process->below = more = true;
            }
        }
    }
}

static struct listing list_below(void)
{
    struct listing listing = {0};
    list_all(&listing);
    mark_below(&listing);
    return listing;
}

static void signal_one(const struct process *listed, int number)
{
    struct process now;
    int fd = or_group_open(listed->pid);
    if (fd >= 0 && look(listed->pid, &now) && now.began == listed->began) {
        (void)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0U);
    }
    if (fd >= 0) {
        close(fd);
    }
}

void or_tree_signal(int number, pid_t except, const struct or_group *group)
{
    struct listing listing = list_below();
    for (size_t i = 0; i < listing.n; i++) {
        const struct process *process = &listing.all[i];
        if (process->below && process->pid != except && !(group && process->group == group->id)) {
            signal_one(process, number);
        }
    }
    free(listing.all);
}

int or_tree_kill_wait_ms(unsigned times)
{
    return KILL_WAIT_MS << (times < KILL_DOUBLE ? times : KILL_DOUBLE);
}

unsigned or_tree_count(pid_t except, pid_t *pid)
{
    struct listing listing = list_below();
    unsigned n = 0;
    for (size_t i = 0; i < listing.n; i++) {
        if (listing.all[i].below && listing.all[i].pid != except) {
            n++;
            *pid = listing.all[i].pid;
        }
    }
    free(listing.all);
    return n;
}
