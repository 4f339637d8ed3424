/* SPDX-License-Identifier: Apache-2.0
 *
 *     shell
 *       └─ wrapper      holds the lease and renews it; stops and continues with the job
 *            └─ guardian     in a process group of its own
 *                 └─ command     in a process group of its own, the terminal's foreground one
 *
 * The wrapper writes on the board until when the command may work without a further renewal.
 * Whoever of the two lives ends the command in time:
 *
 *   wrapper killed    its end of the socket closes. The guardian tells the command to end (TERM) at
 *                     once, and kills what is left when the lease's time is nearly over.
 *   wrapper stopped   nobody renews, and the times on the board are not moved on: when they have
 *                     come, the guardian does the same.
 *   guardian killed   what it had below becomes the wrapper's, which ends it: the command would run
 *                     on without anybody to look after the wrapper.
 *   both killed       the command gets TERM from the kernel. What ignores that runs on, and only
 * the token keeps it from doing harm. With a coordinator that watches its sessions (keep_fd) the
 * lease is not free before its time is over.
 *
 * Both are subreapers. So a process that the command leaves behind becomes a child of the guardian,
 * whatever group or session it has made for itself, and the guardian's end says that nothing is
 * left: only then is the lease released.
 *
 * The guardian is forked before there are threads, and has all signals blocked: a signal to the
 * terminal, to the wrapper's group or to everything is not for it.
 */
#include "cli/lease_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/u64.h"
#include "base/wake.h"
#include "cli/cli.h"
#include "cli/lease_show.h"

#define PIECE_MS 1000U /* a longer sleep is cut: its clock stands while the machine sleeps */

struct order {
    uint64_t token;
    bool foreground;
};

struct guardian {
    const struct or_guard_command *command;
    struct or_board *board;
    int fd;      /* to the wrapper */
    int signals; /* a signalfd */
    int exec;    /* reads why the command could not be run; -1 */
    int keep_fd;
    struct or_group group;
    bool alone;     /* the wrapper is gone */
    bool childless; /* nothing is left of the command */
    bool told;      /* it was told to end */
    uint64_t kill_ms;
    unsigned kills; /* rounds of killing */
};

/* ---- messages with a descriptor ----------------------------------------------------------------
 */

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

static bool send_with(int to, void *data, size_t len, int fd)
{
    union control control = {.room = {0}};
    struct iovec part = {data, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    ssize_t n = 0;
    do {
        n = sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

/* How many bytes; 0: the other end is closed; -1: nothing is there. */
static ssize_t receive_with(int from, void *data, size_t len, int *fd)
{
    union control control;
    struct iovec part = {data, len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    ssize_t n = 0;
    do {
        n = recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    const struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(head), sizeof *fd);
    }
    return n < 0 && errno != EAGAIN ? 0 : n;
}

/* ---- streams ------------------------------------------------------------------------------------
 */

/* Whoever reads what the command writes, or writes what it reads, is to see its end and not ours.
 */
static void let_go_of_streams(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)close(fd);
    }
}

/* ---- the guardian: starting the command --------------------------------------------------------
 */

static void poke(const struct guardian *guardian, int fd)
{
    char byte = 0;
    (void)send_with(guardian->fd, &byte, 1, fd); /* full: there is enough to wake up for */
}

/* A stop is counted once it can be seen: whoever has seen the count has seen the stop. */
static void tell_state(const struct guardian *guardian, enum or_command_state state, int status)
{
    atomic_store(&guardian->board->status, status);
    atomic_store(&guardian->board->state, (int)state);
    atomic_fetch_add(&guardian->board->stops, state == OR_COMMAND_STOPPED);
    poke(guardian, -1);
}

/* In the new process: what remains of us goes away with exec. */
static _Noreturn void become_command(const struct guardian *guardian, pid_t parent, int report,
                                     bool foreground)
{
    (void)setpgid(0, 0);
    if (foreground) {
        or_terminal_give(&(struct or_terminal){.fd = guardian->command->terminal}, getpid());
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1);
    }
    if (guardian->keep_fd >= 0) {
        (void)fcntl(guardian->keep_fd, F_SETFD, 0);
    }
    or_cli_signals_back();
    (void)execvp(guardian->command->argv[0], guardian->command->argv);
    int why = errno;
    ssize_t written = write(report, &why, sizeof why);
    (void)written;
    _exit(127);
}

static void set_environment(const struct guardian *guardian, uint64_t token)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)token);
    (void)setenv("ONEROW_TOKEN", text, 1);
    (void)setenv("ONEROW_LEASE", guardian->command->lease, 1);
}

static bool time_is_over(const struct guardian *guardian)
{
    return atomic_load(&guardian->board->ending) ||
           or_wake_now_ms() >= atomic_load(&guardian->board->stop_ms);
}

static void start(struct guardian *guardian, const struct order *order)
{
    int report[2];
    pid_t self = getpid();
    if (time_is_over(guardian) || pipe2(report, O_CLOEXEC) < 0) {
        tell_state(guardian, OR_COMMAND_FAILED, time_is_over(guardian) ? ECANCELED : errno);
        return;
    }
    set_environment(guardian, order->token);
    pid_t pid = fork();
    if (pid == 0) {
        become_command(guardian, self, report[1], order->foreground);
    }
    int why = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        tell_state(guardian, OR_COMMAND_FAILED, why);
        return;
    }
    (void)setpgid(pid, pid);
    (void)fcntl(report[0], F_SETFL, O_NONBLOCK);
    guardian->group = (struct or_group){pid, or_group_open(pid)};
    guardian->exec = report[0];
    guardian->childless = false;
    let_go_of_streams();
    if (!send_with(guardian->fd, &pid, sizeof pid, guardian->group.fd)) {
        guardian->alone = true; /* it knows of no command, and will not speak of one */
    }
}

/* exec has closed the pipe, or told why it could not. */
static void see_exec(struct guardian *guardian)
{
    int why = 0;
    ssize_t n = read(guardian->exec, &why, sizeof why);
    if (n < 0 && errno == EAGAIN) {
        return; /* it was stopped before */
    }
    close(guardian->exec);
    guardian->exec = -1;
    if (n == (ssize_t)sizeof why) {
        tell_state(guardian, OR_COMMAND_FAILED, why);
    } else if (atomic_load(&guardian->board->state) == OR_COMMAND_NONE) {
        tell_state(guardian, OR_COMMAND_RUNS, 0);
    }
}

/* ---- the guardian: looking after it ------------------------------------------------------------
 */

static void see_command(struct guardian *guardian, int status)
{
    if (guardian->exec >= 0) {
        see_exec(guardian); /* it ran, if only for a moment */
    }
    if (WIFSTOPPED(status)) {
        tell_state(guardian, OR_COMMAND_STOPPED, WSTOPSIG(status));
    } else if (WIFCONTINUED(status)) {
        tell_state(guardian, OR_COMMAND_RUNS, 0);
    } else if (atomic_load(&guardian->board->state) != OR_COMMAND_FAILED) {
        tell_state(guardian, OR_COMMAND_ENDED, status);
    }
}

static void reap(struct guardian *guardian)
{
    struct signalfd_siginfo info;
    int status = 0;
    pid_t pid = 0;
    while (read(guardian->signals, &info, sizeof info) > 0) {
    }
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid == guardian->group.id) {
            see_command(guardian, status);
        }
    }
    guardian->childless = pid < 0 && errno == ECHILD;
}

static void signal_all(const struct guardian *guardian, int number)
{
    (void)or_group_signal(&guardian->group, number);
    or_tree_signal(number, 0, &guardian->group);
}

static void say(const struct guardian *guardian)
{
    or_lease_say("lease %s: %s; %s is ended", guardian->command->lease,
                 guardian->alone ? "onerow was killed" : "it was not renewed in time",
                 guardian->command->argv[0]);
}

/* The command is told to end, and killed when that is over. */
static void look_at_the_time(struct guardian *guardian)
{
    uint64_t now_ms = or_wake_now_ms();
    const struct or_board *board = guardian->board;
    bool over = guardian->alone || now_ms >= atomic_load(&board->stop_ms);
    if (guardian->childless) {
        return;
    }
    if (over && !guardian->told) {
        guardian->told = true;
        guardian->kill_ms = atomic_load(&board->end_ms);
        atomic_store(&guardian->board->forced, true);
        if (!atomic_load(&board->ending)) {
            signal_all(guardian, SIGTERM);
            signal_all(guardian, SIGCONT);
            say(guardian);
        }
        poke(guardian, -1);
    }
    if (guardian->told && now_ms >= guardian->kill_ms) {
        signal_all(guardian, SIGKILL);
        guardian->kills++;
    }
}

static int sleep_ms(const struct guardian *guardian)
{
    uint64_t due = guardian->told ? guardian->kill_ms : atomic_load(&guardian->board->stop_ms);
    uint64_t left = or_u64_sub(due, or_wake_now_ms());
    if (guardian->childless) {
        return -1;
    }
    return left == 0 ? or_tree_kill_wait_ms(guardian->kills) : (int)or_u64_min(left, PIECE_MS);
}

static void hear(struct guardian *guardian)
{
    struct order order;
    ssize_t n = receive_with(guardian->fd, &order, sizeof order, &guardian->keep_fd);
    struct pollfd end = {.fd = guardian->fd, .events = POLLRDHUP};
    if (n == 0 || (poll(&end, 1, 0) > 0 && end.revents & (POLLRDHUP | POLLHUP))) {
        guardian->alone = true;
    } else if (n == (ssize_t)sizeof order) {
        start(guardian, &order);
    }
}

/* Nothing is left of the command, or it will never be asked for. */
static bool is_over(const struct guardian *guardian)
{
    bool asked = guardian->group.id || atomic_load(&guardian->board->state) != OR_COMMAND_NONE;
    return guardian->childless && guardian->exec < 0 && (guardian->alone || asked);
}

static _Noreturn void guard(struct guardian *guardian)
{
    while (!is_over(guardian)) {
        struct pollfd fds[] = {
            {.fd = guardian->alone ? -1 : guardian->fd, .events = POLLIN},
            {.fd = guardian->signals, .events = POLLIN},
            {.fd = guardian->exec, .events = POLLIN},
        };
        (void)poll(fds, 3, sleep_ms(guardian));
        if (fds[0].revents) {
            hear(guardian);
        }
        if (fds[2].revents) {
            see_exec(guardian);
        }
        if (fds[1].revents) {
            reap(guardian);
        }
        look_at_the_time(guardian);
    }
    _exit(0);
}

static _Noreturn void become_guardian(struct or_board *board, int fd,
                                      const struct or_guard_command *command)
{
    sigset_t all;
    sigset_t child;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_NAME, "onerow-guard");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    struct guardian guardian = {.command = command,
                                .board = board,
                                .fd = fd,
                                .signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK),
                                .exec = -1,
                                .keep_fd = -1,
                                .childless = true};
    if (guardian.signals < 0) {
        _exit(1);
    }
    guard(&guardian);
}

/* ---- the wrapper's side ------------------------------------------------------------------------
 */

bool or_guard_begin(struct or_guard *guard, const struct or_guard_command *command)
{
    int ends[2];
    *guard = (struct or_guard){.fd = -1, .group.fd = -1};
    guard->board =
        mmap(NULL, sizeof *guard->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (guard->board == MAP_FAILED) {
        guard->board = NULL;
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        return false;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    guard->pid = fork();
    if (guard->pid == 0) {
        (void)close(ends[0]);
        become_guardian(guard->board, ends[1], command);
    }
    int why = errno;
    (void)close(ends[1]);
    guard->fd = ends[0];
    if (guard->pid > 0) {
        (void)setpgid(guard->pid, guard->pid);
    }
    errno = why;
    return guard->pid > 0;
}

bool or_guard_run(struct or_guard *guard, uint64_t token, int keep_fd, bool foreground)
{
    struct order order = {.token = token, .foreground = foreground};
    bool sent = send_with(guard->fd, &order, sizeof order, keep_fd);
    let_go_of_streams();
    return sent;
}

/* The first message with a number is the command's; the others say that there is something new. */
bool or_guard_hear(struct or_guard *guard)
{
    pid_t pid = 0;
    int fd = -1;
    ssize_t n = 0;
    while ((n = receive_with(guard->fd, &pid, sizeof pid, &fd)) > 0) {
        if (n == (ssize_t)sizeof pid) {
            guard->group = (struct or_group){pid, fd};
        }
    }
    return n < 0;
}

bool or_guard_reap(struct or_guard *guard)
{
    int status = 0;
    pid_t pid = 0;
    do {
        pid = waitpid(guard->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    bool well = pid == guard->pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    guard->pid = 0;
    return well;
}

void or_guard_finish(struct or_guard *guard)
{
    if (guard->fd >= 0) {
        (void)close(guard->fd);
        guard->fd = -1;
    }
    if (guard->pid > 0) {
        (void)kill(guard->pid, SIGCONT);
        (void)or_guard_reap(guard);
    }
    if (guard->group.fd >= 0) {
        (void)close(guard->group.fd);
        guard->group.fd = -1;
    }
    if (guard->board) {
        (void)munmap(guard->board, sizeof *guard->board);
        guard->board = NULL;
    }
}
