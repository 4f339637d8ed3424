/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow notion-sim`: a Notion API of one's own, to test against.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "core/budget.h"
#include "notion_sim/nsim.h"

#define SETUP_MAX     (64U * 1024U * 1024U)
#define BEHIND_MAX_MS (366ULL * 24 * 60 * 60 * 1000)

struct notion_sim {
    struct or_nsim_options options;
    char *host; /* owned */
    const char *setup;
    const char *log;
    const char **tokens;
    size_t n_tokens;
    struct or_buffer setup_text;
    bool has_seed;
};

enum {
    OPT_LISTEN = 0x100,
    OPT_ANYWHERE,
    OPT_SEED,
    OPT_TOKEN,
    OPT_WINDOWS,
    OPT_WORKSPACE_WINDOWS,
    OPT_FAULTS,
    OPT_LAG,
    OPT_SEARCH_LAG,
    OPT_LATENCY,
    OPT_SETUP,
    OPT_CLOCK,
    OPT_BEHIND,
    OPT_LOG,
    OPT_GZIP,
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "Where:", 1},
    {"listen", OPT_LISTEN, "HOST:PORT", 0, "default 127.0.0.1:0; port 0 is a free one", 1},
    {"anywhere", OPT_ANYWHERE, 0, 0, "the host need not be a loopback address", 1},
    {0, 0, 0, 0, "What is there:", 2},
    {"setup", OPT_SETUP, "FILE", 0, "pages, databases and tokens (JSON, docs/notion-sim.md)", 2},
    {"token", OPT_TOKEN, "T", 0, "a token that is accepted; may be repeated (default: all are)", 2},
    {0, 0, 0, 0, "Limits:", 3},
    {"windows", OPT_WINDOWS, "LIST", 0, "of each token, such as 180/60s,2700/15m (default: none)",
     3},
    {"workspace-windows", OPT_WORKSPACE_WINDOWS, "LIST", 0, "of all tokens together", 3},
    {0, 0, 0, 0, "Time:", 4},
    {"clock", OPT_CLOCK, "MODE", 0,
     "real (default), or virtual: it moves by latencies and by POST /_sim/clock only", 4},
    {"behind", OPT_BEHIND, "MS", 0, "the real clock is so far behind this machine's (default 0)",
     4},
    {"latency", OPT_LATENCY, "MS[-MS]", 0, "what a request takes (default 0)", 4},
    {"lag", OPT_LAG, "MS", 0, "queries see the state of so long ago, at most 60000 (default 0)", 4},
    {"search-lag", OPT_SEARCH_LAG, "MS", 0, "so does search (default: like queries)", 4},
    {0, 0, 0, 0, "Trouble:", 5},
    {"faults", OPT_FAULTS, "LIST", 0, "NAME=RATE[:PARAMETER] with commas, such as 409=10%,lag=5%",
     5},
    {"seed", OPT_SEED, "N", 0, "what faults, ids and latencies are drawn from (default: random)",
     5},
    {0, 0, 0, 0, "Output:", 6},
    {"log", OPT_LOG, "FILE", 0, "one line of JSON per request (- is standard output)", 6},
    {"gzip", OPT_GZIP, 0, 0, "answers are compressed for clients that take it", 6},
    {0},
};

static const char doc[] =
    "A local stand-in for api.notion.com, with its limits and its errors, for your own tests. It "
    "prints one line when it listens, and counts what clients do: pages per key, calls beyond a "
    "limit, calls inside Retry-After (GET /_sim/state, or / in a browser)."
    "\vIt ends at SIGINT and SIGTERM. The same seed and the same requests give the same answers.\n"
    "Faults, with their rate per request:\n";

/* ---- values -------------------------------------------------------------------------------- */

static void parse_listen(struct argp_state *state, struct notion_sim *run, char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon) {
        argp_error(state, "--listen: \"%s\" is not HOST:PORT", text);
        return;
    }
    bool bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    free(run->host);
    run->host = strndup(text + bracketed, (size_t)(colon - text) - 2U * bracketed);
    run->options.host = run->host && *run->host ? run->host : NULL;
    run->options.port = (uint16_t)or_cli_number(state, "--listen", colon + 1, 0, 65535);
}

static void parse_windows(struct argp_state *state, const char *option, const char *text,
                          struct or_nsim_window *windows, unsigned *n)
{
    struct or_window list[OR_WINDOWS_MAX];
    const char *reason = NULL;
    _Static_assert(OR_WINDOWS_MAX <= OR_NSIM_WINDOWS_MAX, "every window has its place");
    if (!or_budget_parse(or_span(text), list, n, &reason)) {
        argp_error(state, "%s: %s", option, reason);
        return;
    }
    for (unsigned i = 0; i < *n; i++) {
        windows[i] = (struct or_nsim_window){list[i].count, list[i].span_ms};
    }
}

static void parse_latency(struct argp_state *state, char *text, uint64_t latency[2])
{
    char *dash = strchr(text, '-');
    if (dash) {
        *dash = '\0';
    }
    latency[0] = or_cli_number(state, "--latency", text, 0, 3600000);
    latency[1] = dash ? or_cli_number(state, "--latency", dash + 1, 0, 3600000) : latency[0];
    if (latency[1] < latency[0]) {
        argp_error(state, "--latency: the second number is the longer one");
    }
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct notion_sim *run = state->input;
    struct or_nsim_options *o = &run->options;
    const char *reason = NULL;
    switch (key) {
    case OPT_LISTEN: parse_listen(state, run, value); return 0;
    case OPT_ANYWHERE: o->anywhere = true; return 0;
    case OPT_SEED:
        o->seed = or_cli_number(state, "--seed", value, 0, UINT64_MAX);
        run->has_seed = true;
        return 0;
    case OPT_TOKEN: run->tokens[run->n_tokens++] = value; return 0;
    case OPT_WINDOWS: parse_windows(state, "--windows", value, o->windows, &o->n_windows); return 0;
    case OPT_WORKSPACE_WINDOWS:
        parse_windows(state, "--workspace-windows", value, o->space, &o->n_space);
        return 0;
    case OPT_FAULTS:
        if (!or_nsim_faults_check(value, &reason)) {
            argp_error(state, "--faults: %s\n  --help lists them", reason);
        }
        o->faults = value;
        return 0;
    case OPT_BEHIND:
        o->behind_ms = or_cli_number(state, "--behind", value, 0, BEHIND_MAX_MS);
        return 0;
    case OPT_LAG: o->lag_ms = or_cli_number(state, "--lag", value, 0, OR_NSIM_LAG_MAX_MS); return 0;
    case OPT_SEARCH_LAG:
        o->search_lag_ms = or_cli_number(state, "--search-lag", value, 0, OR_NSIM_LAG_MAX_MS);
        return 0;
    case OPT_LATENCY: parse_latency(state, value, o->latency_ms); return 0;
    case OPT_SETUP: run->setup = value; return 0;
    case OPT_LOG: run->log = value; return 0;
    case OPT_GZIP: o->gzip = true; return 0;
    case OPT_CLOCK:
        o->virtual_clock = strcmp(value, "virtual") == 0;
        if (!o->virtual_clock && strcmp(value, "real") != 0) {
            argp_error(state, "--clock: \"%s\" is neither real nor virtual", value);
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The names of the faults end the help. */
static char *help_filter(int key, const char *text, void *input)
{
    char *all = NULL;
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !text) {
        return (char *)(uintptr_t)text;
    }
    return asprintf(&all, "%s%s", text, or_nsim_fault_help()) < 0 ? NULL : all;
}

static const struct argp argp = {
    .options = options, .parser = parse, .doc = doc, .help_filter = help_filter};

/* ---- running ------------------------------------------------------------------------------- */

static volatile bool stopping;

static void on_signal(int number)
{
    (void)number;
    or_flag_set(&stopping);
}

static enum onerow_status read_setup(struct notion_sim *run, struct onerow_error *error)
{
    char piece[65536];
    FILE *file = run->setup ? fopen(run->setup, "re") : NULL;
    if (!run->setup) {
        return ONEROW_OK;
    }
    if (!file) {
        return or_fail(error, ONEROW_USAGE, "--setup: %s: %s", run->setup, strerror(errno));
    }
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, file)) > 0 && run->setup_text.len <= SETUP_MAX) {
        or_buffer_add(&run->setup_text, piece, n);
    }
    bool broken = ferror(file) || run->setup_text.failed || run->setup_text.len > SETUP_MAX;
    (void)fclose(file);
    run->options.setup = or_buffer_cstr(&run->setup_text);
    run->options.setup_len = run->setup_text.len;
    return broken ? or_fail(error, ONEROW_USAGE,
                            "--setup: %s cannot be read, or is larger than 64 MiB", run->setup)
                  : ONEROW_OK;
}

static enum onerow_status open_log(struct notion_sim *run, struct onerow_error *error)
{
    if (!run->log) {
        return ONEROW_OK;
    }
    if (strcmp(run->log, "-") == 0) {
        run->options.log = stdout;
        return ONEROW_OK;
    }
    int fd = open(run->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    run->options.log = fd < 0 ? NULL : fdopen(fd, "w");
    return run->options.log
               ? ONEROW_OK
               : or_fail(error, ONEROW_USAGE, "--log: %s: %s", run->log, strerror(errno));
}

static enum onerow_status prepare(struct notion_sim *run, struct onerow_error *error)
{
    struct or_nsim_options *o = &run->options;
    o->tokens = run->tokens;
    if (!run->has_seed && getrandom(&o->seed, sizeof o->seed, 0) != (ssize_t)sizeof o->seed) {
        return or_fail(error, ONEROW_IO, "no random number is to be had: %s", strerror(errno));
    }
    o->search_lag_ms = o->search_lag_ms == UINT64_MAX ? o->lag_ms : o->search_lag_ms;
    enum onerow_status status = read_setup(run, error);
    return status == ONEROW_OK ? open_log(run, error) : status;
}

static enum onerow_status serve(struct notion_sim *run, struct onerow_error *error)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct or_nsim *sim = NULL;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum onerow_status status = or_nsim_open(&run->options, &sim, error);
    status = status == ONEROW_OK ? or_nsim_listen(sim, error) : status;
    if (status == ONEROW_OK) {
        printf("listening on %s/ seed %llu page %s\n", or_nsim_address(sim),
               (unsigned long long)run->options.seed, or_nsim_root(sim));
        (void)fflush(stdout);
        status = or_nsim_serve(sim, &stopping, error);
    }
    or_nsim_close(sim);
    return status;
}

static int run_notion_sim(int argc, char **argv)
{
    struct notion_sim run = {.options = {.search_lag_ms = UINT64_MAX}};
    struct onerow_error error = {0};
    enum onerow_status status = or_fail(&error, ONEROW_NOMEM, "out of memory");
    run.tokens = calloc((size_t)argc + 1, sizeof *run.tokens);
    or_buffer_init(&run.setup_text);
    if (run.tokens) {
        argp_parse(&argp, argc, argv, 0, NULL, &run);
        status = prepare(&run, &error);
        status = status == ONEROW_OK ? serve(&run, &error) : status;
    }
    if (run.options.log && run.options.log != stdout) {
        (void)fclose(run.options.log);
    }
    or_buffer_finish(&run.setup_text);
    free(run.host);
    free(run.tokens);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_notion_sim = {"notion-sim", "[--setup FILE] [--faults LIST]",
                                             "the simulator of the Notion API, for your own tests",
                                             run_notion_sim};
