/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "engine/batch.h"
#include "engine/put_run.h"

#define PROGRESS_NS 200000000L

struct put {
    struct or_cli cli;
    struct or_run_options run;
    struct or_run_stats stats;
    int argc; /* TABLE and FILEs */
    char **argv;
    bool progress; /* stderr is a terminal */
    struct timespec start;
    struct timespec shown;
};

/* ---- options -------------------------------------------------------------------------------- */

enum { OPT_RESULTS = 0x200, OPT_CREATE, OPT_DRY, OPT_FORMAT, OPT_BATCH };

static const struct argp_option options[] = {
    {"results", OPT_RESULTS, "FILE", 0, "write a result line for each record (- is stdout)", 0},
    {"create-table", OPT_CREATE, 0, 0, "make the table and its unique index when missing", 0},
    {"dry-run", OPT_DRY, 0, 0, "say what would happen; write nothing", 0},
    {"format", OPT_FORMAT, "FORMAT", 0, "ndjson or csv (default: by name, then by content)", 0},
    {"batch", OPT_BATCH, "N", 0, "records in one transaction (default 40000; 200 for pages)", 0},
    {0},
};

static const char doc[] =
    "Writes records so that each key has exactly one row. Records are JSON objects, one per line, "
    "or CSV with a header row; plain, gzip or zstd; - or nothing is standard input."
    "\vThe summary balances: read = created + updated + unchanged + rejected + unknown. Rejected "
    "and "
    "unknown records are kept as dead letters: onerow dlq list.";

static bool parse_count(const char *text, size_t *count)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *count = value;
    return !errno && *text >= '0' && *text <= '9' && !*end && value > 0 && value <= 1000000;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct put *put = state->input;
    switch (key) {
    case OPT_RESULTS: put->run.results = value; return 0;
    case OPT_CREATE: put->run.create_table = true; return 0;
    case OPT_DRY: put->run.dry_run = true; return 0;
    case OPT_FORMAT:
        if (strcmp(value, "ndjson") != 0 && strcmp(value, "csv") != 0) {
            argp_error(state, "--format: \"%s\" is neither ndjson nor csv", value);
        }
        put->run.format = *value == 'c' ? OR_FORMAT_CSV : OR_FORMAT_NDJSON;
        return 0;
    case OPT_BATCH:
        if (!parse_count(value, &put->run.batch_records)) {
            argp_error(state, "--batch: \"%s\" is no number from 1 to 1000000", value);
        }
        return 0;
    case ARGP_KEY_ARGS:
        put->argc = state->argc - state->next;
        put->argv = state->argv + state->next;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* TABLE is the first argument when the configuration has a table of that name; the others are
 * files. With --table, or with only one table that no argument names, all of them are. */
static enum onerow_status choose_table(struct put *put, struct onerow_error *error)
{
    const struct or_config *config = &put->cli.config;
    int at = 0;
    if (put->cli.flags.table) {
        enum onerow_status status =
            or_config_table(config, put->cli.flags.table, &put->run.table, error);
        if (status != ONEROW_OK) {
            return status;
        }
    } else if (config->n_tables == 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "there is no onerow.yaml here and no --store\n  onerow put --store "
                       "sqlite:app.db --table NAME --key COLUMN --create-table FILE\n  or: onerow "
                       "init sqlite:app.db");
    } else if (put->argc > 0 &&
               or_config_table(config, put->argv[0], &put->run.table, NULL) == ONEROW_OK) {
        at = 1;
    } else if (put->argc > 0 && access(put->argv[0], F_OK) != 0 && strcmp(put->argv[0], "-") != 0) {
        return or_config_table(config, put->argv[0], &put->run.table, error);
    } else if (config->n_tables == 1) {
        put->run.table = &config->tables[0];
    }
    static const char *const standard_input[] = {"-"};
    put->run.inputs = put->argc > at ? (const char *const *)(put->argv + at) : standard_input;
    put->run.n_inputs = put->argc > at ? (size_t)(put->argc - at) : 1;
    if (put->run.n_inputs > OR_BATCH_INPUTS) {
        return or_fail(error, ONEROW_USAGE, "more than %u files; use cat", OR_BATCH_INPUTS);
    }
    return ONEROW_OK;
}

/* ---- signals --------------------------------------------------------------------------------- */

static volatile bool stopping;
static int stop_event = -1;

static void on_signal(int number)
{
    (void)number;
    int before = errno;
    uint64_t one = 1;
    or_flag_set(&stopping);
    if (write(stop_event, &one, sizeof one) < 0) {
        or_flag_set(&stopping); /* the reader looks at the flag, too, only later */
    }
    errno = before;
}

/* The first SIGINT or SIGTERM finishes the batch in flight; the second one ends the process. */
static void catch_signals(struct put *put)
{
    stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    put->run.stop = &stopping;
    put->run.stop_fd = stop_event;
}

/* ---- progress ----------------------------------------------------------------------------------
 */

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void draw_bar(const struct or_run_stats *stats)
{
    if (!stats->bytes_total) {
        return;
    }
    double share = (double)stats->bytes_read / (double)stats->bytes_total;
    int filled = (int)(share * 20 + 0.5);
    fputs("  [", stderr);
    for (int i = 0; i < 20; i++) {
        fputc(i < filled ? '#' : '.', stderr);
    }
    fprintf(stderr, "] %3d%%", (int)(share * 100 + 0.5));
}

static void show_progress(void *context, const struct or_run_stats *stats)
{
    struct put *put = context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long since = (now.tv_sec - put->shown.tv_sec) * 1000000000L + now.tv_nsec - put->shown.tv_nsec;
    if (!put->progress || (put->shown.tv_sec && since < PROGRESS_NS)) {
        return;
    }
    put->shown = now;
    double spent = seconds_since(&put->start);
    fprintf(stderr, "\r\033[K%llu records  %.0f/s", (unsigned long long)stats->read,
            spent > 0 ? (double)stats->read / spent : 0);
    draw_bar(stats);
    fflush(stderr);
}

static void wipe_progress(const struct put *put)
{
    if (put->progress && put->shown.tv_sec) {
        fputs("\r\033[K", stderr);
    }
}

static void notice(void *context, const char *text)
{
    const struct put *put = context;
    wipe_progress(put);
    or_cli_say(text);
}

/* ---- the summary
 * --------------------------------------------------------------------------------- */

static unsigned long long count(const struct put *put, enum onerow_outcome outcome)
{
    return (unsigned long long)put->stats.outcome[outcome];
}

static void print_balance(const struct put *put, FILE *out)
{
    fprintf(out,
            "%sread %llu = %llu created + %llu updated + %llu unchanged + %llu rejected + %llu "
            "unknown\n",
            put->run.dry_run ? "dry run: " : "", (unsigned long long)put->stats.read,
            count(put, ONEROW_CREATED), count(put, ONEROW_UPDATED), count(put, ONEROW_UNCHANGED),
            count(put, ONEROW_REFUSED), count(put, ONEROW_IN_DOUBT));
}

/* How the writing went, for who tunes or watches it. */
static void add_measures(const struct or_run_stats *stats, struct or_buffer *json)
{
    or_buffer_printf(json,
                     "\"batches\":%llu,\"slowest_batch_ms\":%.3f,\"transactions\":%llu,"
                     "\"retries\":%llu,\"bisects\":%llu,\"round_trips\":%llu,"
                     "\"connections\":%llu,\"latency_us\":{\"p50\":%llu,\"p90\":%llu,"
                     "\"p99\":%llu,\"max\":%llu},",
                     (unsigned long long)stats->batches, (double)stats->slowest_us / 1000,
                     (unsigned long long)stats->transactions, (unsigned long long)stats->retries,
                     (unsigned long long)stats->bisects, (unsigned long long)stats->round_trips,
                     (unsigned long long)stats->connections, (unsigned long long)stats->latency.p50,
                     (unsigned long long)stats->latency.p90, (unsigned long long)stats->latency.p99,
                     (unsigned long long)stats->latency.max);
}

static void add_pages(const struct or_run_stats *stats, struct or_buffer *json)
{
    const struct or_pages_stats *pages = &stats->pages;
    if (!stats->paged) {
        return;
    }
    or_buffer_printf(json,
                     "\"pages\":{\"requests\":%llu,\"lookups\":%llu,\"conflicts\":%llu,"
                     "\"rate_limited\":%llu,\"uncertain\":%llu,\"unsent\":%llu,\"held_ms\":%llu,"
                     "\"breaker_opened\":%llu,\"twins\":%llu},",
                     (unsigned long long)pages->requests, (unsigned long long)pages->probes,
                     (unsigned long long)pages->conflicts, (unsigned long long)pages->rated,
                     (unsigned long long)pages->uncertain, (unsigned long long)pages->unsent,
                     (unsigned long long)pages->held_ms, (unsigned long long)pages->opened,
                     (unsigned long long)pages->twins);
}

static void print_json(const struct put *put, enum onerow_status status,
                       const struct onerow_error *error, FILE *out)
{
    const struct or_run_stats *stats = &put->stats;
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_printf(&json,
                     "{\"read\":%llu,\"created\":%llu,\"updated\":%llu,\"unchanged\":%llu,"
                     "\"rejected\":%llu,\"unknown\":%llu,\"folded\":%llu,\"dead_letters\":%llu,"
                     "\"unkept\":%llu,",
                     (unsigned long long)stats->read, count(put, ONEROW_CREATED),
                     count(put, ONEROW_UPDATED), count(put, ONEROW_UNCHANGED),
                     count(put, ONEROW_REFUSED), count(put, ONEROW_IN_DOUBT),
                     (unsigned long long)stats->folded, (unsigned long long)stats->letters,
                     (unsigned long long)stats->unkept);
    add_measures(stats, &json);
    add_pages(stats, &json);
    or_buffer_printf(&json,
                     "\"seconds\":%.3f,\"last_line\":%llu,\"dry_run\":%s,\"status\":\"%s\","
                     "\"exit\":%d,\"error\":",
                     seconds_since(&put->start), (unsigned long long)stats->last_line,
                     put->run.dry_run ? "true" : "false", onerow_status_name(status),
                     onerow_status_exit(status));
    if (error->text[0]) {
        or_buffer_json(&json, or_span(error->text));
    } else {
        or_buffer_text(&json, "null");
    }
    fprintf(out, "%s}\n", or_buffer_cstr(&json));
    or_buffer_finish(&json);
}

static void say_what_is_left(const struct put *put, enum onerow_status status)
{
    const struct or_run_stats *stats = &put->stats;
    if (stats->letters) {
        fprintf(stderr,
                "onerow: %llu kept as dead letters in %s\n  onerow dlq list shows why; "
                "onerow dlq replay tries them again\n",
                (unsigned long long)stats->letters, stats->letters_path);
    }
    if (stats->pages.twins) {
        fprintf(stderr,
                "onerow: %llu records have a key that several pages carry: onerow audit lists "
                "them, onerow heal leaves one of each\n",
                (unsigned long long)stats->pages.twins);
    }
    if (stats->unkept) {
        fprintf(stderr,
                "onerow: %llu records are neither written nor kept, from line %llu on: the "
                "dead letters could not be written\n",
                (unsigned long long)stats->unkept, (unsigned long long)stats->first_unkept);
    }
    if (onerow_status_exit(status) == 69 || onerow_status_exit(status) == 75) {
        fprintf(stderr,
                "onerow: stopped after line %llu of %s; the same command again goes on: "
                "what is written is found unchanged\n",
                (unsigned long long)stats->last_line, stats->input ? stats->input : "the input");
    }
}

static void summarise(const struct put *put, enum onerow_status status,
                      const struct onerow_error *error)
{
    bool stdout_taken = put->run.results && strcmp(put->run.results, "-") == 0;
    FILE *out = stdout_taken ? stderr : stdout;
    wipe_progress(put);
    if (put->cli.json) {
        print_json(put, status, error, out);
    } else {
        print_balance(put, out);
    }
    fflush(out);
    say_what_is_left(put, status);
}

static int run(int argc, char **argv)
{
    struct put put = {0};
    struct onerow_error error = {0};
    or_cli_parse(argc, argv, options, parse, "[TABLE] [FILE…]", doc, &put);
    enum onerow_status status = or_cli_load(&put.cli, &error);
    status = status == ONEROW_OK ? choose_table(&put, &error) : status;
    if (status == ONEROW_OK) {
        put.progress = isatty(STDERR_FILENO);
        put.run.config = &put.cli.config;
        put.run.wait_ms = put.cli.wait_ms;
        put.run.progress = show_progress;
        put.run.notice = notice;
        put.run.context = &put;
        clock_gettime(CLOCK_MONOTONIC, &put.start);
        catch_signals(&put);
        status = or_run_put(&put.run, &put.stats, &error);
        if (status == ONEROW_INTERRUPTED && !error.text[0]) {
            or_fail(&error, status, "interrupted");
        }
        summarise(&put, status, &error);
    }
    or_config_finish(&put.cli.config);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_put = {"put", "[TABLE] [FILE…]",
                                      "upsert records (NDJSON or CSV, - is stdin)", run};
