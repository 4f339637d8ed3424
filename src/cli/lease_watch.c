/* SPDX-License-Identifier: Apache-2.0
 *
 * The wrapper's part while the command runs: it writes the lease's times on the board, passes
 * signals on, stops and continues with the command as one job, and ends it when the lease is lost
 * or the guardian is gone.
 *
 * The lease is lost at 10/15 of its time without a renewal, and the command told to end then; at
 * 14/15 it is killed (core/lease.c). Without a guardian it gets as long.
 *
 * Stopping: the terminal's stop character stops the command's group, not ours. We stop our own
 * group after it, for the shell to see; so a pipeline stops as a whole. A stopped wrapper renews
 * nothing: the guardian ends the command when the time on the board is over, stopped or not.
 */
#include "cli/lease_watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/wait.h>

#include "base/u64.h"
#include "base/wake.h"
#include "cli/lease_show.h"
#include "cli/lease_signals.h"

#define PARTS      15U
#define GRACE      4U    /* parts of the lease's time between TERM and KILL */
#define PIECE_MS   1000U /* the longest sleep */
#define SHORT_MS   10U   /* and the shortest */
#define REST_MS    2000U /* after so long, it is said why we are still here */
#define LOOKS_MORE 4U    /* than needed, to have the times on the board before they are over */

/* ---- ending it ---------------------------------------------------------------------------------
 */

static void signal_all(const struct or_watch *watch, int number)
{
    (void)or_group_signal(&watch->guard->group, number);
    or_tree_signal(number, watch->guard->pid, &watch->guard->group);
}

/* The board says the same to the guardian, which may be quicker, or the only one left. The other
 * way round it may have been stopped. */
static void begin_ending(struct or_watch *watch, enum or_watch_end why, uint64_t kill_ms)
{
    struct or_board *board = watch->guard->board;
    bool told = atomic_load(&board->forced);
    watch->ending = true;
    watch->end = why;
    watch->kill_ms = kill_ms;
    atomic_store(&board->ending, true);
    atomic_store(&board->end_ms, kill_ms);
    atomic_store(&board->stop_ms, 0);
    if (watch->guard->pid > 0) {
        (void)kill(watch->guard->pid, SIGCONT);
    }
    if (!told) {
        signal_all(watch, SIGTERM);
        signal_all(watch, SIGCONT);
    }
    or_lease_say("lease %s: %s; %s is ended", watch->lease,
                 why == OR_WATCH_LOST ? "it was lost" : "the guardian was killed", watch->command);
}

/* What the lease allows now, onto the board; ends the command when it is lost. */
static void look_at_the_lease(struct or_watch *watch)
{
    struct or_board *board = watch->guard->board;
    uint64_t end_ms = or_lease_end_ms(watch->hold);
    uint64_t until_ms = 0;
    enum or_lease_right right = or_lease_right(watch->hold, &until_ms);
    bool lost = right != OR_LEASE_RIGHT_WORK || atomic_load(&board->forced);
    if (watch->ending) {
        watch->kill_ms = lost ? or_u64_min(watch->kill_ms, end_ms) : watch->kill_ms;
        return;
    }
    if (lost) {
        begin_ending(watch, OR_WATCH_LOST, right == OR_LEASE_RIGHT_END ? 0 : end_ms);
        return;
    }
    atomic_store(&board->end_ms, end_ms);
    atomic_store(&board->stop_ms, until_ms);
}

/* ---- the job -----------------------------------------------------------------------------------
 */

/* Whoever has given us the terminal means the command. A shell that fetches a job which runs in the
 * background does not even tell it. */
static void pass_terminal_on(const struct or_watch *watch)
{
    if (or_terminal_is_ours(watch->terminal) && or_group_signal(&watch->guard->group, 0)) {
        or_terminal_give(watch->terminal, watch->guard->group.id);
    }
}

static void go_on(const struct or_watch *watch)
{
    pass_terminal_on(watch);
    (void)or_group_signal(&watch->guard->group, SIGCONT);
}

static void stop_too(struct or_watch *watch)
{
    struct or_buffer left;
    or_buffer_init(&left);
    or_lease_add_span(&left,
                      or_u64_sub(atomic_load(&watch->guard->board->stop_ms), or_wake_now_ms()));
    or_lease_say("lease %s: it is not renewed while stopped; %s is ended in %s, unless it is "
                 "continued before",
                 watch->lease, watch->command, or_buffer_cstr(&left));
    or_buffer_finish(&left);
    if (!or_signals_stop_us() && atomic_load(&watch->guard->board->status) == SIGTSTP) {
        or_lease_say("lease %s: no shell is there to continue us; it goes on", watch->lease);
        go_on(watch);
    }
}

/* Each stop once: what was stopped and continued meanwhile is not stopped again. Without a terminal
 * there is no job, only somebody who has stopped the command; the lease is renewed then. */
static void look_at_stops(struct or_watch *watch)
{
    const struct or_board *board = watch->guard->board;
    unsigned stops = atomic_load(&board->stops);
    bool stopped = stops != watch->stops && atomic_load(&board->state) == OR_COMMAND_STOPPED;
    watch->stops = stops;
    if (!stopped || watch->ending || watch->terminal->fd < 0) {
        return;
    }
    int by = atomic_load(&board->status);
    if ((by == SIGTTIN || by == SIGTTOU) && or_terminal_is_ours(watch->terminal)) {
        go_on(watch); /* fetched a moment ago */
    } else {
        stop_too(watch);
    }
}

/* Where nobody is left in the command's group, it is for what the command has left behind: nothing
 * else would end that. It cannot be stopped, for nobody would know of it. */
static void pass_to_group(const struct or_watch *watch, int number)
{
    if (!or_group_signal(&watch->guard->group, number) && number != SIGTSTP) {
        or_tree_signal(number, watch->guard->pid, NULL);
    }
}

static void pass_on(struct or_watch *watch, int number)
{
    if (number != SIGCONT) {
        pass_to_group(watch, number);
        return;
    }
    look_at_the_lease(watch);
    watch->stops = atomic_load(&watch->guard->board->stops);
    if (!watch->ending) {
        go_on(watch);
    }
}

static void pass_signals_on(struct or_watch *watch)
{
    int number = 0;
    while ((number = or_signals_next())) {
        pass_on(watch, number);
    }
}

/* ---- its end -----------------------------------------------------------------------------------
 */

/* By itself, or by the guardian. */
static void end_well(struct or_watch *watch)
{
    const struct or_board *board = watch->guard->board;
    bool failed = atomic_load(&board->state) == OR_COMMAND_FAILED;
    watch->status = atomic_load(&board->status);
    watch->end = failed ? OR_WATCH_FAILED : OR_WATCH_ENDED;
    if (atomic_load(&board->forced) || (failed && watch->status == ECANCELED)) {
        watch->end = OR_WATCH_LOST; /* by us being stopped; perhaps before it could be started */
        or_lease_say("lease %s: it was lost; %s was ended", watch->lease, watch->command);
    }
}

/* What the guardian had below is below us. */
static bool is_childless(void)
{
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    }
    return pid < 0 && errno == ECHILD;
}

/* True: nothing is left. */
static bool lose_guardian(struct or_watch *watch)
{
    int state = atomic_load(&watch->guard->board->state);
    bool well = or_guard_reap(watch->guard);
    watch->guarded = false;
    bool childless = is_childless();
    if (watch->ending) {
        return childless;
    }
    if (childless && (well || state == OR_COMMAND_ENDED || state == OR_COMMAND_FAILED)) {
        end_well(watch);
        return true;
    }
    begin_ending(watch, OR_WATCH_UNGUARDED, or_wake_now_ms() + watch->ttl_ms / PARTS * GRACE);
    return childless;
}

/* A command that was interrupted from the terminal was interrupted with all that waits for it. */
static void take_the_terminal(struct or_watch *watch)
{
    const struct or_board *board = watch->guard->board;
    int status = atomic_load(&board->status);
    bool ended = atomic_load(&board->state) == OR_COMMAND_ENDED;
    bool died = ended ? WIFSIGNALED(status) : watch->ending;
    bool had = or_terminal_take(watch->terminal, watch->guard->group.id, died);
    watch->interrupted |= had && ended && died && WTERMSIG(status) == SIGINT;
}

/* A command that has ended, and a wrapper that has not, are a riddle. Where none of its group is
 * left, the terminal is ours, to be interrupted by. */
static void tell_of_rest(struct or_watch *watch)
{
    pid_t one = 0;
    uint64_t now_ms = or_wake_now_ms();
    if (atomic_load(&watch->guard->board->state) != OR_COMMAND_ENDED || watch->told_of_rest) {
        return;
    }
    watch->ended_ms = watch->ended_ms ? watch->ended_ms : now_ms;
    if (now_ms - watch->ended_ms < REST_MS) {
        return;
    }
    watch->told_of_rest = true;
    if (!or_group_signal(&watch->guard->group, 0)) {
        take_the_terminal(watch);
    }
    unsigned n = or_tree_count(watch->guard->pid, &one);
    or_lease_say("lease %s: %s has ended, and %u of its processes still run (such as pid %ld); it "
                 "is held until they end",
                 watch->lease, watch->command, n, (long)one);
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static int sleep_ms(const struct or_watch *watch)
{
    uint64_t ms = or_u64_min(PIECE_MS, watch->ttl_ms / PARTS / LOOKS_MORE);
    if (watch->kills) {
        return or_tree_kill_wait_ms(watch->kills);
    }
    if (watch->ending) {
        ms = or_u64_min(ms, or_u64_sub(watch->kill_ms, or_wake_now_ms()));
        ms = watch->guarded ? ms : SHORT_MS;
    }
    return (int)(ms > SHORT_MS ? ms : SHORT_MS);
}

static bool is_started(const struct or_watch *watch)
{
    return watch->guard->group.id > 0;
}

/* True: nothing is left. */
static bool turn(struct or_watch *watch)
{
    struct pollfd fds[] = {
        {.fd = watch->guarded ? watch->guard->fd : -1, .events = POLLIN},
        {.fd = is_started(watch) ? watch->signals : -1, .events = POLLIN},
        {.fd = watch->ending ? -1 : watch->lost, .events = POLLIN},
    };
    (void)poll(fds, 3, sleep_ms(watch));
    bool over = false;
    if (fds[0].revents && !or_guard_hear(watch->guard)) {
        over = lose_guardian(watch);
    } else if (!watch->guarded) {
        over = is_childless();
    }
    if (over) {
        return true;
    }
    look_at_the_lease(watch);
    if (is_started(watch)) {
        pass_signals_on(watch);
    }
    if (watch->ending && or_wake_now_ms() >= watch->kill_ms) {
        signal_all(watch, SIGKILL);
        watch->kills++;
    }
    look_at_stops(watch);
    if (is_started(watch) && !watch->ending) {
        pass_terminal_on(watch);
    }
    tell_of_rest(watch);
    return false;
}

void or_watch_command(struct or_watch *watch, int keep_fd)
{
    watch->guarded = true;
    look_at_the_lease(watch);
    if (!watch->ending && !or_guard_run(watch->guard, or_lease_token(watch->hold), keep_fd,
                                        or_terminal_is_ours(watch->terminal))) {
        begin_ending(watch, OR_WATCH_UNGUARDED, 0);
    }
    if (watch->ending) {
        return;
    }
    while (!turn(watch)) {
    }
    take_the_terminal(watch);
    watch->interrupted &= watch->end == OR_WATCH_ENDED;
}
