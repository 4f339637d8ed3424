/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow bench`: what this machine and that store do together, in a table of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/status.h"
#include "base/text.h"
#include "cli/bench_job.h"
#include "cli/cli.h"
#include "engine/audit.h"

#define ROWS_DEFAULT      100000U
#define ROWS_MAX          100000000U
#define PROCESSES_DEFAULT 8U
#define SLOW_SHARE        50U /* of the rows are written where each takes its time */
#define JOBS              7U

struct bench {
    const char *url;
    uint64_t rows;
    uint64_t processes;
    uint64_t wait_ms;
    bool json;
    char name[32];
    struct or_config config;
    const struct or_config_table *table;
};

/* As or_bench_place says. */
static const struct onerow_new_column columns[] = {
    {OR_SPAN("name"), ONEROW_TYPE_TEXT},     {OR_SPAN("version"), ONEROW_TYPE_INT},
    {OR_SPAN("price"), ONEROW_TYPE_DECIMAL}, {OR_SPAN("stock"), ONEROW_TYPE_INT},
    {OR_SPAN("note"), ONEROW_TYPE_TEXT},     {OR_SPAN("seen"), ONEROW_TYPE_TIMESTAMP},
};

/* ---- options --------------------------------------------------------------------------------- */

enum { OPT_STORE = 0x100, OPT_ROWS, OPT_PROCESSES, OPT_WAIT, OPT_JSON };

static const struct argp_option options[] = {
    {"store", OPT_STORE, "URL", 0, "where to measure (default: $DATABASE_URL)", 0},
    {"rows", OPT_ROWS, "N", 0, "records of the large measurements (default 100000)", 0},
    {"processes", OPT_PROCESSES, "N", 0, "writers at the same time (default 8)", 0},
    {"wait", OPT_WAIT, "SECONDS", 0, "longest wait for a lock (default 300)", 0},
    {"json", OPT_JSON, 0, 0, "answer in JSON", 0},
    {0},
};

static uint64_t parse_count(struct argp_state *state, const char *option, const char *text,
                            uint64_t max)
{
    char *end = NULL;
    uint64_t count = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || !count || count > max) {
        argp_error(state, "%s: \"%s\" is no number from 1 to %llu", option, text,
                   (unsigned long long)max);
    }
    return count;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct bench *bench = state->input;
    switch (key) {
    case OPT_STORE: bench->url = value; return 0;
    case OPT_JSON: bench->json = true; return 0;
    case OPT_ROWS: bench->rows = parse_count(state, "--rows", value, ROWS_MAX); return 0;
    case OPT_PROCESSES:
        bench->processes = parse_count(state, "--processes", value, OR_BENCH_PROCESSES);
        return 0;
    case OPT_WAIT:
        if (!or_cli_seconds(value, &bench->wait_ms)) {
            argp_error(state, "--wait: \"%s\" is no number of seconds", value);
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc = "Measures what onerow does with a store on this machine, in a new table of its own: "
           "records that are new, all changed, and 90% unchanged; against a transaction for each "
           "record, and against looking first and then creating; by one process, and by several "
           "that write the same keys."
           "\vThe table is named onerow_bench_ and 8 random digits, an existing one is never "
           "touched, and it is left behind: the command says how to drop it. Latencies are those "
           "of one "
           "transaction; put's hold many records. The ratio is that to "
           "check-then-create by as many processes. That is done with the store's own atomic "
           "write, so that only its cost is seen here, not the duplicates and errors that it makes "
           "elsewhere."};

/* ---- the table ------------------------------------------------------------------------------- */

static enum onerow_status choose_name(struct bench *bench, struct onerow_error *error)
{
    uint32_t digits = 0;
    if (getrandom(&digits, sizeof digits, 0) != (ssize_t)sizeof digits) {
        return or_fail(error, ONEROW_IO, "no random number is to be had: %s", strerror(errno));
    }
    snprintf(bench->name, sizeof bench->name, "onerow_bench_%08x", digits);
    struct or_config_flags flags = {.store = bench->url, .table = bench->name, .key = "name:text"};
    enum onerow_status status = or_config_load(&bench->config, &flags, error);
    return status == ONEROW_OK ? or_config_table(&bench->config, bench->name, &bench->table, error)
                               : status;
}

/* The writers connect for themselves. NONE: they would find no table. */
enum found { NONE, SOME, LASTING };

static enum onerow_status look_again(const struct bench *bench, enum found *found,
                                     struct onerow_error *error)
{
    struct or_table *table = NULL;
    /* With may_create a missing table is no failure; nothing is made before or_table_create. */
    struct or_table_options how = {.may_create = true, .wait_ms = bench->wait_ms};
    enum onerow_status status = or_table_open(bench->table, &how, &table, error);
    *found = NONE;
    if (status == ONEROW_OK && table->table) {
        *found = table->table->guarantees & ONEROW_DURABLE ? LASTING : SOME;
    }
    or_table_close(table);
    return status;
}

/* What is to be known of the table before the figures. `sql` made it; NULL: it was there, or the
 * store has no SQL. Once it is made its DROP is told, whatever fails. */
static enum onerow_status announce(const struct bench *bench, const char *sql,
                                   struct onerow_error *error)
{
    enum found found = NONE;
    enum onerow_status status = look_again(bench, &found, error);
    if (status == ONEROW_OK && found == NONE) {
        return or_fail(error, ONEROW_CONFIG,
                       "this store keeps nothing: a second connection finds no table to write\n"
                       "  name one that does, such as --store sqlite:bench.db");
    }
    if (!sql) {
        return status == ONEROW_OK
                   ? or_fail(error, ONEROW_CONFIG,
                             "table \"%s\" is there already and is left alone\n  run it again: the "
                             "name is drawn anew",
                             bench->name)
                   : status;
    }
    fprintf(stderr, "onerow: %s\n  it is left behind: DROP TABLE %s;\n", sql, bench->name);
    if (found == SOME) {
        or_cli_say("this store is not durable: a crash may take what it has acknowledged, and the "
                   "figures are those of such a store (onerow check says why)");
    }
    return status;
}

static enum onerow_status make_table(struct bench *bench, struct onerow_error *error)
{
    struct or_table *table = NULL;
    struct or_table_options how = {.may_create = true, .wait_ms = bench->wait_ms};
    char *sql = NULL;
    enum onerow_status status = or_table_open(bench->table, &how, &table, error);
    if (status == ONEROW_OK && !table->table) {
        status = or_table_create(table, columns, sizeof columns / sizeof *columns, &sql, error);
    }
    or_table_close(table);
    status = status == ONEROW_OK ? announce(bench, sql, error) : status;
    free(sql);
    return status;
}

static void ignore_twins(void *context, const struct onerow_twins *twins)
{
    (void)context;
    (void)twins;
}

static enum onerow_status count_duplicates(const struct bench *bench, uint64_t *keys,
                                           struct onerow_error *error)
{
    struct or_table *table = NULL;
    struct or_table_options how = {.read_only = true, .wait_ms = bench->wait_ms};
    struct or_audit_counts counts = {0};
    enum onerow_status status = or_table_open(bench->table, &how, &table, error);
    if (status == ONEROW_OK) {
        status = or_audit(table, ignore_twins, NULL, &counts, error);
    }
    or_table_close(table);
    *keys = counts.keys;
    return status;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static double rate(const struct or_bench_figures *figures)
{
    return figures->seconds > 0 ? (double)figures->rows / figures->seconds : 0;
}

enum { CELLS = 8, CELL = 32 };

static void fill_cells(const struct or_bench_job *jobs, const struct or_bench_figures *all,
                       size_t at, char cells[CELLS][CELL])
{
    const struct or_bench_figures *one = &all[at];
    double rows = one->rows ? (double)one->rows : 1;
    double peer = rate(&all[jobs[at].against]);
    snprintf(cells[0], CELL, "%llu", (unsigned long long)jobs[at].processes);
    snprintf(cells[1], CELL, "%llu", (unsigned long long)one->rows);
    snprintf(cells[2], CELL, "%.0f", rate(one));
    snprintf(cells[3], CELL, "%.3f", (double)one->latency.p50 / 1000);
    snprintf(cells[4], CELL, "%.3f", (double)one->latency.p99 / 1000);
    snprintf(cells[5], CELL, "%.4f", (double)one->round_trips / rows);
    snprintf(cells[6], CELL, "%llu", (unsigned long long)one->errors);
    snprintf(cells[7], CELL, "%.2f", peer > 0 ? rate(one) / peer : 0);
}

static void print_grid(const struct or_bench_job *jobs, const struct or_bench_figures *figures,
                       size_t n)
{
    static const char *const headings[] = {
        "WHAT",   "PROCESSES",       "ROWS",   "ROWS/S", "P50 MS",
        "P99 MS", "ROUND TRIPS/ROW", "ERRORS", "RATIO",  NULL};
    struct or_cli_grid *grid = or_cli_grid_open(headings);
    for (size_t i = 0; i < n; i++) {
        char cells[CELLS][CELL];
        const char *row[CELLS + 1] = {jobs[i].what};
        fill_cells(jobs, figures, i, cells);
        for (size_t c = 0; c < CELLS; c++) {
            row[c + 1] = cells[c];
        }
        or_cli_grid_row(grid, row);
    }
    or_cli_grid_print(grid);
}

static void print_json(const struct bench *bench, const struct or_bench_job *jobs,
                       const struct or_bench_figures *figures, size_t n, uint64_t duplicates)
{
    static const char *const names[CELLS] = {"processes", "rows",   "rows_per_second",
                                             "p50_ms",    "p99_ms", "round_trips_per_row",
                                             "errors",    "ratio"};
    printf("{\"table\":\"%s\",\"drop\":\"DROP TABLE %s;\",\"duplicate_keys\":%llu,\"measured\":[",
           bench->name, bench->name, (unsigned long long)duplicates);
    for (size_t i = 0; i < n; i++) {
        char cells[CELLS][CELL];
        fill_cells(jobs, figures, i, cells);
        printf("%s{\"name\":\"%s\"", i ? "," : "", jobs[i].name);
        for (size_t c = 0; c < CELLS; c++) {
            printf(",\"%s\":%s", names[c], cells[c]);
        }
        putchar('}');
    }
    puts("]}");
}

/* What one process and several are to do; a list of n. */
static size_t plan(const struct bench *bench, struct or_bench_job jobs[JOBS])
{
    uint64_t p = bench->processes;
    uint64_t rows = bench->rows;
    uint64_t slow = rows / SLOW_SHARE + 1;
    uint64_t shared = rows / p + 1;
    uint64_t next = rows + 2 * slow;
    const struct or_bench_job all[JOBS] = {
        {"new", "put, new", OR_BENCH_PUT, 0, rows, 0, false, 1, 4},
        {"changed", "put, all changed", OR_BENCH_PUT, 0, rows, 1, false, 1, 4},
        {"unchanged", "put, 90% unchanged", OR_BENCH_PUT, 0, rows, 2, true, 1, 4},
        {"one_by_one", "a transaction for each", OR_BENCH_ONE_BY_ONE, rows, slow, 0, false, 1, 4},
        {"check_then_create", "check, then create", OR_BENCH_CHECK_THEN_CREATE, rows + slow, slow,
         0, false, 1, 4},
        {"new_together", "put, the same new keys", OR_BENCH_PUT, next, shared, 0, false, p, 6},
        {"check_then_create_together", "check, then create, the same new keys",
         OR_BENCH_CHECK_THEN_CREATE, next + shared, slow / p + 1, 0, false, p, 6},
    };
    memcpy(jobs, all, sizeof all);
    return p > 1 ? JOBS : JOBS - 2;
}

static enum onerow_status measure_all(struct bench *bench, struct onerow_error *error)
{
    const struct or_bench_place place = {&bench->config, bench->table, bench->wait_ms};
    struct or_bench_job jobs[JOBS];
    struct or_bench_figures figures[JOBS] = {{0}};
    size_t n = plan(bench, jobs);
    uint64_t duplicates = 0;
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        if (isatty(STDERR_FILENO)) {
            fprintf(stderr, "%s …\n", jobs[i].what);
        }
        status = or_bench_measure(&place, &jobs[i], &figures[i]);
        *error = figures[i].error;
    }
    status = status == ONEROW_OK ? count_duplicates(bench, &duplicates, error) : status;
    if (status != ONEROW_OK) {
        return status;
    }
    if (bench->json) {
        print_json(bench, jobs, figures, n, duplicates);
    } else {
        print_grid(jobs, figures, n);
        printf("Keys with more than one row: %llu\n", (unsigned long long)duplicates);
    }
    uint64_t left = duplicates;
    for (size_t i = 0; i < n; i++) {
        left += figures[i].errors;
    }
    return left ? ONEROW_LEFT : ONEROW_OK;
}

static int run(int argc, char **argv)
{
    struct bench bench = {.rows = ROWS_DEFAULT, .processes = PROCESSES_DEFAULT};
    struct onerow_error error = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &bench);
    enum onerow_status status = choose_name(&bench, &error);
    status = status == ONEROW_OK ? make_table(&bench, &error) : status;
    status = status == ONEROW_OK ? measure_all(&bench, &error) : status;
    or_config_finish(&bench.config);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_bench = {"bench", "--store URL",
                                        "measure here, against check-then-create", run};
