/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow lease run`: waits for the lease, runs the command, releases the lease. What happens while
 * the command runs is in lease_watch.c, what happens to it when we cannot look after it any more in
 * lease_guard.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wake.h"
#include "cli/lease.h"
#include "cli/lease_show.h"
#include "cli/lease_signals.h"
#include "cli/lease_watch.h"

#define TTL_MS      300000U
#define WAIT_MS     300000U
#define NOT_STARTED 126 /* as shells say it */
#define NOT_FOUND   127
#define BY_SIGNAL   128

struct run {
    struct or_lease_where where; /* first: argp's child parser writes there */
    const char *name;
    char **command;
    uint64_t ttl_ms;
    uint64_t wait_ms;
    int not_had; /* the exit code */
    bool verbose;
    struct or_lease_line line;
    struct or_lease_session *session;
    struct or_guard guard;
    struct or_terminal terminal;
    struct or_watch watch;
};

/* ---- options --------------------------------------------------------------------------------- */

enum { OPT_TTL = 0x200, OPT_NB, OPT_TIMEOUT, OPT_VERBOSE };

static const struct argp_option options[] = {
    {0, 0, 0, 0, "As flock(1) has them:", 1},
    {"nonblock", 'n', 0, 0, "do not wait", 1},
    {"nb", OPT_NB, 0, OPTION_ALIAS, NULL, 1},
    {"wait", 'w', "SECONDS", 0, "wait at most so long (default 300)", 1},
    {"timeout", OPT_TIMEOUT, "SECONDS", OPTION_ALIAS, NULL, 1},
    {"conflict-exit-code", 'E', "N", 0, "the exit code when it was not had (default 1)", 1},
    {"verbose", OPT_VERBOSE, 0, 0, "say who has it, how long it took, and why it was not had", 1},
    {0, 0, 0, 0, "The lease:", 2},
    {"ttl", OPT_TTL, "SECONDS", 0,
     "how long it runs without being renewed: so long others wait after a crash (default 300)", 2},
    {0},
};

static const char doc[] =
    "Runs COMMAND while holding the lease NAME, so that no other process that asks the same "
    "coordinator for NAME runs at the same time. The lease is renewed while the command, or "
    "anything that it has started, runs. When the lease is lost, the command gets SIGTERM, and "
    "SIGKILL before anybody else may have the lease. ONEROW_TOKEN and ONEROW_LEASE are set in its "
    "environment."
    "\vExit codes: the command's own, 128 + N when it died by signal N; 1, or -E, when the lease "
    "was not had; 126 and 127 for a command that cannot be run; 64 usage; 69 the coordinator is "
    "unavailable; 75 interrupted while waiting, or the lease was lost and the command ended; 78 "
    "configuration.\n"
    "A paused machine is stopped by nobody: check the token where you write (docs/leases.md).";

static uint64_t parse_seconds(const char *option, const char *value, struct argp_state *state)
{
    uint64_t ms = 0;
    if (!or_cli_seconds(value, &ms)) {
        argp_error(state, "%s: \"%s\" is no number of seconds", option, value);
    }
    return ms;
}

static int parse_code(const char *value, struct argp_state *state)
{
    char *end = NULL;
    long code = strtol(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || code > 255) {
        argp_error(state, "-E: \"%s\" is no number from 0 to 255", value);
    }
    return (int)code;
}

static void check_ttl(const struct run *run, struct argp_state *state)
{
    if (run->ttl_ms < OR_LEASE_TTL_MIN || run->ttl_ms > ONEROW_LEASE_TTL_MAX) {
        argp_error(state, "--ttl: 1 second to 7 days");
    }
}

/* The first argument is the name, and what follows the command, whatever it looks like. */
static error_t take_argument(struct run *run, char *value, struct argp_state *state)
{
    if (!run->name) {
        run->name = value;
        return 0;
    }
    run->command = state->argv + state->next - 1;
    state->next = state->argc;
    return 0;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct run *run = state->input;
    uint64_t ms = 0;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &run->where; return 0;
    case 'n':
    case OPT_NB: run->wait_ms = 0; return 0;
    case 'w':
    case OPT_TIMEOUT:
        ms = parse_seconds("-w", value, state);
        run->wait_ms = ms > 1 ? ms : 0; /* as flock(1): -w 0 is -n */
        return 0;
    case 'E': run->not_had = parse_code(value, state); return 0;
    case OPT_VERBOSE: run->verbose = true; return 0;
    case OPT_TTL:
        run->ttl_ms = parse_seconds("--ttl", value, state);
        check_ttl(run, state);
        return 0;
    case ARGP_KEY_ARG: return take_argument(run, value, state);
    case ARGP_KEY_END:
        if (!run->command) {
            argp_error(state, run->name ? "which COMMAND?" : "which NAME?");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&or_lease_where_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {.options = options,
                                 .parser = parse,
                                 .args_doc = "NAME [--] COMMAND [ARGUMENT…]",
                                 .doc = doc,
                                 .children = children};

/* ---- acquiring --------------------------------------------------------------------------------
 */

/* Not to know whether we have it is not to have it, and no sign that somebody else has. */
static int not_acquired(const struct run *run, enum onerow_status status,
                        const struct onerow_error *error)
{
    bool told = status == ONEROW_ABSENT && (run->verbose || run->line.terminal);
    if (status == ONEROW_ABSENT) {
        if (told) {
            or_cli_say(error->text);
        }
        return run->not_had;
    }
    int code = or_cli_end(status, error);
    return code > 1 ? code : onerow_status_exit(ONEROW_UNAVAILABLE);
}

/* By a thread of the session's. */
static void tell_lost(void *context)
{
    const struct run *run = context;
    uint64_t one = 1;
    ssize_t written = write(run->watch.lost, &one, sizeof one);
    (void)written;
}

static void show_waiting(void *context, uint64_t place, uint64_t left_ms)
{
    struct run *run = context;
    or_lease_line_show(&run->line, place, left_ms);
}

/* Of the command only its first word is shown to others: the rest may hold a secret. */
static enum onerow_status acquire(struct run *run, struct onerow_error *error)
{
    char who[ONEROW_LEASE_WHO_MAX];
    uint64_t from_ms = or_wake_now_ms();
    run->line = (struct or_lease_line){.coordinator = run->where.url,
                                       .name = or_span(run->name),
                                       .terminal = isatty(STDERR_FILENO),
                                       .verbose = run->verbose};
    struct or_lease_wanted wanted = {.name = or_span(run->name),
                                     .who = or_lease_who(run->command[0], who),
                                     .ttl_ms = run->ttl_ms,
                                     .wait_ms = run->wait_ms,
                                     .waiting = show_waiting,
                                     .lost = tell_lost,
                                     .context = run};
    enum onerow_status status = or_lease_acquire(run->session, &wanted, &run->watch.hold, error);
    or_lease_line_finish(&run->line);
    if (status == ONEROW_OK && run->verbose) {
        or_lease_say("lease %s: had after %llu ms, token %llu", run->name,
                     (unsigned long long)(or_wake_now_ms() - from_ms),
                     (unsigned long long)or_lease_token(run->watch.hold));
    }
    return status;
}

/* ---- running ----------------------------------------------------------------------------------
 */

static int failed_to_run(const struct run *run)
{
    int why = run->watch.status;
    fprintf(stderr, "onerow: %s: %s\n", run->command[0],
            why == ENOENT ? "command not found" : strerror(why));
    return why == ENOENT ? NOT_FOUND : NOT_STARTED;
}

static int exit_code(const struct run *run)
{
    int status = run->watch.status;
    switch (run->watch.end) {
    case OR_WATCH_FAILED: return failed_to_run(run);
    case OR_WATCH_ENDED:
        return WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL + WTERMSIG(status);
    case OR_WATCH_RUNS:
    case OR_WATCH_LOST:
    case OR_WATCH_UNGUARDED: break;
    }
    return onerow_status_exit(ONEROW_INTERRUPTED);
}

/* A lease that turns out to have been lost, perhaps taken by force, did not cover all of it. */
static int release(struct run *run, int code)
{
    struct onerow_error error = {0};
    enum onerow_status status = or_lease_release(run->watch.hold, &error);
    run->watch.hold = NULL;
    if (status == ONEROW_OK || run->watch.end == OR_WATCH_LOST) {
        return code;
    }
    if (status == ONEROW_LEFT) {
        or_lease_say("lease %s: it was lost before %s had ended", run->name, run->command[0]);
        run->watch.interrupted = false;
        return onerow_status_exit(ONEROW_INTERRUPTED);
    }
    or_lease_say("lease %s: whether it was released is not known; it runs out by itself\n  %s",
                 run->name, error.text);
    return code;
}

static int run_command(struct run *run)
{
    or_signals_catch_all();
    run->watch.lease = run->name;
    run->watch.command = run->command[0];
    run->watch.ttl_ms = run->ttl_ms;
    run->watch.guard = &run->guard;
    run->watch.terminal = &run->terminal;
    or_watch_command(&run->watch, or_lease_session_keep_fd(run->session));
    return release(run, exit_code(run));
}

static int acquire_and_run(struct run *run)
{
    struct onerow_error error = {0};
    enum onerow_status status =
        or_lease_session_open(run->where.url, &or_signals_stop, &run->session, &error);
    status = status == ONEROW_OK ? acquire(run, &error) : status;
    if (status == ONEROW_OK && or_flag_is_set(&or_signals_stop)) {
        status = or_fail(&error, ONEROW_INTERRUPTED, "lease %s: interrupted", run->name);
    }
    int code = status == ONEROW_OK ? run_command(run) : not_acquired(run, status, &error);
    or_lease_session_close(run->session); /* releases what was interrupted, too */
    return code;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

/* What needs to be there before there are threads. */
static enum onerow_status prepare(struct run *run, struct onerow_error *error)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGTTOU);
    sigprocmask(SIG_BLOCK, &one, NULL);
    or_terminal_open(&run->terminal);
    struct or_guard_command command = {run->command, run->name, run->terminal.fd};
    if (!or_guard_begin(&run->guard, &command)) {
        return or_fail(error, ONEROW_NOMEM, "the guardian cannot be started: %s", strerror(errno));
    }
    run->watch.signals = or_signals_catch();
    run->watch.lost = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return run->watch.signals >= 0 && run->watch.lost >= 0
               ? ONEROW_OK
               : or_fail(error, ONEROW_NOMEM, "no descriptor is to be had: %s", strerror(errno));
}

int or_lease_run(int argc, char **argv)
{
    struct run run = {.ttl_ms = TTL_MS,
                      .wait_ms = WAIT_MS,
                      .not_had = 1,
                      .guard = {.fd = -1, .group.fd = -1},
                      .terminal.fd = -1,
                      .watch = {.signals = -1, .lost = -1}};
    struct onerow_error error = {0};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &run);
    enum onerow_status status = or_lease_find(&run.where, &error);
    status = status == ONEROW_OK ? prepare(&run, &error) : status;
    int code = status == ONEROW_OK ? acquire_and_run(&run) : or_cli_end(status, &error);
    or_guard_finish(&run.guard);
    or_terminal_close(&run.terminal);
    or_lease_where_finish(&run.where);
    if (run.watch.lost >= 0) {
        close(run.watch.lost);
    }
    if (run.watch.interrupted) {
        or_signals_interrupt_us();
    }
    return code;
}
