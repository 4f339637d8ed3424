/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow simulate`: the protocols' own code, under faults that a seed decides.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/cli.h"
#include "cli/simulate_print.h"
#include "sim/shrink.h"
#include "sim/token.h"

#define ALL_FAULTS  ((1U << SIM_FAULTS) - 1U)
#define LIMIT_MS    10000U
#define SECONDS_MAX 31536000U
#define LIST_MAX    1024U

struct simulate {
    struct or_simulation run;
    const char *replay;
    const char *svg;
    bool json;
    bool has_seed;
};

/* ---- options --------------------------------------------------------------------------------- */

enum {
    OPT_PROTOCOL = 0x100,
    OPT_SCHEDULES,
    OPT_SECONDS,
    OPT_SEED,
    OPT_WORKERS,
    OPT_KEYS,
    OPT_FAULTS,
    OPT_WITHIN,
    OPT_OUTSIDE,
    OPT_JOBS,
    OPT_REPLAY,
    OPT_SVG,
    OPT_JSON,
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "What is simulated:", 1},
    {"protocol", OPT_PROTOCOL, "NAME", 0,
     "guarded (default), direct, or one of those that are wrong: naive, process-lock, lease, "
     "lease-token",
     1},
    {"workers", OPT_WORKERS, "N", 0, "1 to 8 (default: drawn for each schedule, 2 to 4)", 1},
    {"keys", OPT_KEYS, "N", 0, "1 to 4 (default: drawn, 1 or 2)", 1},
    {"faults", OPT_FAULTS, "LIST", 0,
     "all (default), none, or names with commas; -NAME takes one out", 1},
    {"within", OPT_WITHIN, 0, 0, "pauses, requests, lag and clocks keep to the protocols' bounds",
     1},
    {"outside", OPT_OUTSIDE, 0, 0, "they do not (default: half of the schedules each)", 1},
    {0, 0, 0, 0, "How much:", 2},
    {"schedules", OPT_SCHEDULES, "N", 0, "so many schedules", 2},
    {"seconds", OPT_SECONDS, "S", 0, "as many as go into so many seconds (default: 10)", 2},
    {"seed", OPT_SEED, "N", 0, "what the schedules are drawn from (default: a random one)", 2},
    {"jobs", OPT_JOBS, "N", 0, "processes that share the work (default: 1)", 2},
    {0, 0, 0, 0, "One schedule:", 3},
    {"replay", OPT_REPLAY, "TOKEN", 0, "run this one and draw it as a time table", 3},
    {"svg", OPT_SVG, "FILE", 0, "draw the schedule that fails, or is replayed, into FILE", 3},
    {0, 0, 0, 0, "Output:", 4},
    {"json", OPT_JSON, 0, 0, "answer in JSON", 4},
    {0},
};

static const char doc[] =
    "Runs the protocols' own code in a world where requests are lost, late or doubled, queries "
    "lag, workers pause and die, clocks run apart and people change pages; half of the schedules "
    "have rate windows and a breaker. Looks after every event whether what is promised still "
    "holds. A schedule is a function of its seed. Of the first one that fails, a smaller one that "
    "fails in the same way is drawn as a time table, and the last line is its replay token."
    "\vExit codes: 0 nothing failed; 1 something did; 64 usage. From 100,000 schedules on, with "
    "nothing narrowed, a place that must be reached and was not is a failure, too.\nFaults:\n"
#define FAULT_LINE(name, text, what) "  " text ": " what "\n"
    SIM_FAULT_MAP(FAULT_LINE)
#undef FAULT_LINE
    ;

static enum sim_protocol parse_protocol(struct argp_state *state, const char *name)
{
    for (unsigned i = 0; i < SIM_PROTOCOLS; i++) {
        if (strcmp(name, sim_protocol_name((enum sim_protocol)i)) == 0) {
            return (enum sim_protocol)i;
        }
    }
    argp_error(state, "--protocol: there is no \"%s\"", name);
    return SIM_GUARDED;
}

/* The bits that a name stands for; 0: none does. */
static uint32_t fault_bits(const char *name)
{
    if (strcmp(name, "all") == 0) {
        return ALL_FAULTS;
    }
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        if (strcmp(name, sim_fault_name((enum sim_fault)i)) == 0) {
            return 1U << i;
        }
    }
    return 0;
}

/* From left to right; a list that begins by taking something out takes it out of all. */
static uint32_t parse_faults(struct argp_state *state, const char *list)
{
    char names[LIST_MAX];
    uint32_t faults = *list == '-' ? ALL_FAULTS : 0;
    char *rest = NULL;
    if (strlen(list) >= sizeof names) {
        argp_error(state, "--faults: the list is too long");
    }
    snprintf(names, sizeof names, "%s", list);
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        uint32_t bits = fault_bits(name + (*name == '-'));
        if (strcmp(name, "none") == 0) {
            faults = 0;
        } else if (bits == 0) {
            argp_error(state, "--faults: there is no \"%s\"\n  --help lists them", name);
        } else if (*name == '-') {
            faults &= ~bits;
        } else {
            faults |= bits;
        }
    }
    return faults;
}

static uint64_t parse_seconds(struct argp_state *state, const char *text)
{
    uint64_t ms = 0;
    if (!or_cli_seconds(text, &ms) || ms > SECONDS_MAX * 1000ULL) {
        argp_error(state, "--seconds: \"%s\" is no number of seconds", text);
    }
    return ms;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct simulate *simulate = state->input;
    struct or_simulation *run = &simulate->run;
    switch (key) {
    case OPT_PROTOCOL: run->config.protocol = parse_protocol(state, value); return 0;
    case OPT_WORKERS:
        run->config.workers =
            (unsigned)or_cli_number(state, "--workers", value, 1, SIM_WORKERS_MAX);
        return 0;
    case OPT_KEYS:
        run->config.keys = (unsigned)or_cli_number(state, "--keys", value, 1, SIM_KEYS_MAX);
        return 0;
    case OPT_FAULTS: run->config.faults = parse_faults(state, value); return 0;
    case OPT_WITHIN: run->bounds = OR_SIMULATE_WITHIN; return 0;
    case OPT_OUTSIDE: run->bounds = OR_SIMULATE_OUTSIDE; return 0;
    case OPT_SCHEDULES:
        run->schedules = or_cli_number(state, "--schedules", value, 1, OR_SIMULATE_MAX);
        return 0;
    case OPT_SECONDS: run->limit_ms = parse_seconds(state, value); return 0;
    case OPT_SEED:
        run->seed = or_cli_number(state, "--seed", value, 0, UINT64_MAX);
        simulate->has_seed = true;
        return 0;
    case OPT_JOBS:
        run->jobs = (unsigned)or_cli_number(state, "--jobs", value, 1, OR_SIMULATE_JOBS);
        return 0;
    case OPT_REPLAY: simulate->replay = value; return 0;
    case OPT_SVG: simulate->svg = value; return 0;
    case OPT_JSON: simulate->json = true; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {.options = options, .parser = parse, .doc = doc};

/* ---- one schedule ------------------------------------------------------------------------------
 */

static void print_replay_json(const struct sim_config *config, const struct sim_result *result)
{
    printf("{\"protocol\":\"%s\",\"violation\":\"%s\",\"at_us\":%llu,\"events\":%u,"
           "\"injections\":%u,\"digest\":\"%016llx\"}\n",
           sim_protocol_name(config->protocol), sim_violation_text(result->violation),
           (unsigned long long)result->at_us, result->events, result->injections,
           (unsigned long long)result->digest);
}

static enum onerow_status replay(const struct simulate *simulate, struct onerow_error *error)
{
    struct sim_config config;
    struct sim_result result;
    const char *reason = NULL;
    if (!sim_token_read(simulate->replay, &config, &reason)) {
        return or_fail(error, ONEROW_USAGE, "--replay: this is no token: %s", reason);
    }
    enum onerow_status status =
        or_simulate_draw(&config, simulate->json, simulate->svg, &result, error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (simulate->json) {
        print_replay_json(&config, &result);
    } else if (result.violation == SIM_VIOLATION_NONE) {
        printf("nothing was violated: %u events, %u injections\n", result.events,
               result.injections);
    }
    return result.violation == SIM_VIOLATION_NONE ? ONEROW_OK : ONEROW_LEFT;
}

/* ---- many ------------------------------------------------------------------------------------ */

/* A violation is shrunk and drawn. What died, or differs from itself, is named as it is: there is
 * no telling whether a smaller one does the same. */
static enum onerow_status show_failure(const struct simulate *simulate,
                                       const struct or_simulated *sum, struct onerow_error *error)
{
    struct sim_config config;
    struct sim_result result;
    char token[SIM_TOKEN_MAX];
    enum onerow_status status = ONEROW_OK;
    or_simulate_config(&simulate->run, sum->failed, &config);
    sim_token_write(&config, token);
    if (sum->failure == OR_SIMULATE_VIOLATION) {
        printf("as it was found: %s\n", token);
        fflush(stdout); /* it stays, even if an assertion ends one of the smaller ones */
        unsigned runs = sim_shrink(sim_run, &config, &result);
        printf("made smaller in %u runs:\n", runs);
        status = or_simulate_draw(&config, false, simulate->svg, &result, error);
        sim_token_write(&config, token);
    } else if (sum->failure == OR_SIMULATE_DEAD) {
        printf("the process that ran it ended%s%s\n", sum->signal ? ": " : "",
               sum->signal ? strsignal(sum->signal) : "");
    } else {
        printf("it ran twice, and did not do the same\n");
    }
    printf("replay: %s\n", token);
    return status == ONEROW_OK ? ONEROW_LEFT : status;
}

static enum onerow_status show_failure_json(const struct simulate *simulate,
                                            const struct or_simulated *sum,
                                            struct onerow_error *error)
{
    struct sim_config config;
    struct sim_result result;
    enum onerow_status status = ONEROW_LEFT;
    bool shown = sum->failure == OR_SIMULATE_VIOLATION;
    or_simulate_config(&simulate->run, sum->failed, &config);
    if (shown) {
        (void)sim_shrink(sim_run, &config, &result);
    }
    if (shown && simulate->svg) {
        enum onerow_status drawn = or_simulate_draw(&config, true, simulate->svg, &result, error);
        status = drawn == ONEROW_OK ? ONEROW_LEFT : drawn;
    }
    or_simulate_print_json(&simulate->run, sum, &config, shown ? &result : NULL);
    return status;
}

static enum onerow_status show(const struct simulate *simulate, const struct or_simulated *sum,
                               struct onerow_error *error)
{
    bool clean = sum->failure == OR_SIMULATE_CLEAN;
    if (simulate->json && !clean) {
        return show_failure_json(simulate, sum, error);
    }
    if (simulate->json) {
        or_simulate_print_json(&simulate->run, sum, NULL, NULL);
    } else {
        or_simulate_print(&simulate->run, sum);
    }
    if (!clean) {
        return show_failure(simulate, sum, error);
    }
    bool must_reach = or_simulate_is_whole(&simulate->run) && sum->schedules >= OR_SIMULATE_ENOUGH;
    return must_reach && or_simulate_missed(&simulate->run, sum) ? ONEROW_LEFT : ONEROW_OK;
}

static enum onerow_status simulate_many(struct simulate *simulate, struct onerow_error *error)
{
    struct or_simulation *run = &simulate->run;
    struct or_simulated sum;
    if (!simulate->has_seed &&
        getrandom(&run->seed, sizeof run->seed, 0) != (ssize_t)sizeof run->seed) {
        return or_fail(error, ONEROW_IO, "no random number is to be had: %s", strerror(errno));
    }
    if (!run->schedules && !run->limit_ms) {
        run->limit_ms = LIMIT_MS;
    }
    run->progress = isatty(STDERR_FILENO);
    enum onerow_status status = or_simulate(run, &sum, error);
    return status == ONEROW_OK ? show(simulate, &sum, error) : status;
}

static int run_simulate(int argc, char **argv)
{
    struct simulate simulate = {.run = {.config = {.faults = ALL_FAULTS}, .jobs = 1}};
    struct onerow_error error;
    argp_parse(&argp, argc, argv, 0, NULL, &simulate);
    return or_cli_end(
        simulate.replay ? replay(&simulate, &error) : simulate_many(&simulate, &error), &error);
}

const struct or_command or_cmd_simulate = {"simulate", "[--protocol NAME] [--replay TOKEN]",
                                           "runs the protocols under seeded faults", run_simulate};
