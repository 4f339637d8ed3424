/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: list, export, replay.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "engine/letter_export.h"
#include "engine/replay.h"

#define CONFIGS_MAX 64U

struct dlq {
    const char *verb;
    const char *table;
    const char *format;
    const char *output;
    const char **ids;
    size_t n_ids;
    const char *coordinator;
    uint64_t wait_ms;
    bool json;
    bool force;
    bool reveal;
    /* configurations that name the secret columns */
    struct or_config configs[CONFIGS_MAX];
    char *config_paths[CONFIGS_MAX];
    size_t n_configs;
    enum onerow_status status;
    struct onerow_error *error;
    struct or_cli_grid *grid;
    struct or_buffer out;
    struct or_letter_csv *csv;
    int fd;
    uint64_t letters;
    bool blind; /* a configuration cannot be read */
};

enum {
    OPT_TABLE = 0x200,
    OPT_FORMAT,
    OPT_FORCE,
    OPT_REVEAL,
    OPT_ID,
    OPT_WAIT,
    OPT_JSON,
    OPT_COORDINATOR
};

static const struct argp_option options[] = {
    {"table", OPT_TABLE, "NAME", 0, "only letters of this table", 1},
    {"json", OPT_JSON, 0, 0, "list: answer in JSON", 1},
    {"format", OPT_FORMAT, "FORMAT", 0, "export: jsonl (default, lossless) or csv (for reading)",
     2},
    {"output", 'o', "FILE", 0, "export: where to (default stdout)", 2},
    {"reveal", OPT_REVEAL, 0, 0, "list, export: show secret columns", 2},
    {"id", OPT_ID, "ID", 0, "replay: only this letter (may be repeated)", 3},
    {"force", OPT_FORCE, 0, 0, "replay: write over rows that changed since", 3},
    {"coordinator", OPT_COORDINATOR, "URL", 0,
     "replay: where ledgers are kept, for letters of a run without a configuration", 3},
    {"wait", OPT_WAIT, "SECONDS", 0, "replay: longest wait for a lock (default 300)", 3},
    {0},
};

static const char doc[] =
    "Records that could not be written, kept with their reason in the user's state folder "
    "($ONEROW_STATE, $XDG_STATE_HOME/onerow or ~/.local/state/onerow)."
    "\vA replay never writes over a row that changed since its letter was written, unless --force "
    "says so.";

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct dlq *dlq = state->input;
    switch (key) {
    case OPT_TABLE: dlq->table = value; return 0;
    case OPT_JSON: dlq->json = true; return 0;
    case OPT_FORMAT:
        if (strcmp(value, "jsonl") != 0 && strcmp(value, "csv") != 0) {
            argp_error(state, "--format: \"%s\" is neither jsonl nor csv", value);
        }
        dlq->format = value;
        return 0;
    case 'o': dlq->output = value; return 0;
    case OPT_FORCE: dlq->force = true; return 0;
    case OPT_REVEAL: dlq->reveal = true; return 0;
    case OPT_ID: dlq->ids[dlq->n_ids++] = value; return 0;
    case OPT_COORDINATOR: dlq->coordinator = value; return 0;
    case OPT_WAIT:
        if (!or_cli_seconds(value, &dlq->wait_ms)) {
            argp_error(state, "--wait: \"%s\" is no number of seconds", value);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num) {
            argp_usage(state);
        }
        dlq->verb = value;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_usage(state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options, .parser = parse, .args_doc = "list|export|replay", .doc = doc};

/* ---- secrets ------------------------------------------------------------------------------ */

/* Loads each configuration that a letter names. Tables of one that cannot be read are secret as a
 * whole. */
static bool load_config(void *context, const struct or_letter *letter)
{
    struct dlq *dlq = context;
    if (!letter->config.len) {
        return true;
    }
    for (size_t i = 0; i < dlq->n_configs; i++) {
        if (or_span_is(letter->config, dlq->config_paths[i])) {
            return true;
        }
    }
    char *path =
        dlq->n_configs < CONFIGS_MAX ? strndup(letter->config.data, letter->config.len) : NULL;
    if (!path) {
        dlq->status = or_fail(dlq->error, ONEROW_NOMEM, "no room for another configuration");
        return false;
    }
    struct or_config_flags flags = {.config = path};
    size_t at = dlq->n_configs++;
    dlq->config_paths[at] = path;
    struct onerow_error unreadable;
    if (or_config_load(&dlq->configs[at], &flags, &unreadable) != ONEROW_OK) {
        dlq->blind = true;
        or_cli_say(unreadable.text);
        or_cli_say("which columns are secret is in that file: records are masked as a whole; "
                   "--reveal shows them");
    }
    return true;
}

static bool table_has_secret(const struct or_config_table *table, struct onerow_span column)
{
    bool any = table->secrets && table->secrets[0];
    return column.len ? or_config_is_secret(table, column) : any;
}

/* A letter without a table may hold anything that is secret anywhere. */
static bool is_secret(void *context, struct onerow_span table, struct onerow_span column)
{
    const struct dlq *dlq = context;
    bool known = false;
    for (size_t i = 0; i < dlq->n_configs; i++) {
        for (size_t t = 0; t < dlq->configs[i].n_tables; t++) {
            const struct or_config_table *candidate = &dlq->configs[i].tables[t];
            bool meant = table.len == 0 || or_span_is(table, candidate->spec.name);
            known |= meant;
            if (meant && table_has_secret(candidate, column)) {
                return true;
            }
        }
    }
    return dlq->blind && !known;
}

static enum onerow_status load_configs(struct dlq *dlq, struct onerow_error *error)
{
    dlq->error = error;
    dlq->status = ONEROW_OK;
    if (dlq->reveal) {
        return ONEROW_OK;
    }
    enum onerow_status status = or_letters_read(NULL, load_config, dlq, NULL, error);
    return status == ONEROW_OK ? dlq->status : status;
}

/* ---- list ------------------------------------------------------------------------------------ */

static bool wanted(const struct dlq *dlq, const struct or_letter *letter)
{
    return !dlq->table || or_span_is(letter->table, dlq->table);
}

/* A member of the letter as it may be shown. */
static char *shown_member(const struct or_item *item, const char *name)
{
    for (size_t i = 0; i < item->n_fields; i++) {
        if (or_span_is(item->fields[i].name, name) && item->fields[i].value.data) {
            return strndup(item->fields[i].value.data, item->fields[i].value.len);
        }
    }
    return strdup("-");
}

/* The grid is made for the first one: without letters there is none. */
static void add_row(struct dlq *dlq)
{
    static const char *const headings[] = {"ID",      "TABLE", "INPUT",  "LINE",
                                           "OUTCOME", "KEY",   "REASON", NULL};
    static const char *const members[] = {"id",      "table", "input", "line",
                                          "outcome", "key",   "reason"};
    char *cells[sizeof members / sizeof *members];
    struct or_arena arena;
    struct or_item item = {0};
    or_arena_init(&arena);
    dlq->grid = dlq->grid ? dlq->grid : or_cli_grid_open(headings);
    if (or_input_parse_json(or_buffer_view(&dlq->out), &arena, &item) == ONEROW_OK) {
        for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
            cells[i] = shown_member(&item, members[i]);
        }
        or_cli_grid_row(dlq->grid, (const char *const *)cells);
        for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
            free(cells[i]);
        }
    }
    or_arena_finish(&arena);
}

static bool list_letter(void *context, const struct or_letter *letter)
{
    struct dlq *dlq = context;
    struct or_mask mask = {is_secret, dlq};
    if (!wanted(dlq, letter)) {
        return true;
    }
    dlq->letters++;
    or_buffer_clear(&dlq->out);
    or_export_jsonl(letter, dlq->reveal ? NULL : &mask, &dlq->out);
    if (dlq->json) {
        fputs(or_buffer_cstr(&dlq->out), stdout);
    } else {
        add_row(dlq);
    }
    return true;
}

static enum onerow_status list(struct dlq *dlq, struct onerow_error *error)
{
    enum onerow_status status = or_letters_read(NULL, list_letter, dlq, NULL, error);
    or_cli_grid_print(dlq->grid);
    dlq->grid = NULL;
    if (!dlq->json && dlq->letters == 0) {
        puts("no dead letters");
    }
    return status;
}

/* ---- export ------------------------------------------------------------------------------------
 */

static bool flush_out(struct dlq *dlq)
{
    const char *data = dlq->out.data;
    size_t left = dlq->out.len;
    while (left && dlq->status == ONEROW_OK) {
        ssize_t n = write(dlq->fd, data, left);
        if (n < 0 && errno != EINTR) {
            dlq->status = or_fail(dlq->error, ONEROW_IO, "%s: cannot be written: %s",
                                  dlq->output ? dlq->output : "standard output", strerror(errno));
        } else if (n > 0) {
            data += n;
            left -= (size_t)n;
        }
    }
    or_buffer_clear(&dlq->out);
    return dlq->status == ONEROW_OK;
}

static bool see_columns(void *context, const struct or_letter *letter)
{
    struct dlq *dlq = context;
    if (wanted(dlq, letter)) {
        dlq->status = or_letter_csv_see(dlq->csv, letter, dlq->error);
    }
    return dlq->status == ONEROW_OK;
}

static bool export_letter(void *context, const struct or_letter *letter)
{
    struct dlq *dlq = context;
    struct or_mask mask = {is_secret, dlq};
    if (!wanted(dlq, letter)) {
        return true;
    }
    if (dlq->csv) {
        or_letter_csv_row(dlq->csv, letter, &dlq->out);
    } else {
        or_export_jsonl(letter, dlq->reveal ? NULL : &mask, &dlq->out);
    }
    return flush_out(dlq);
}

static enum onerow_status export_to(struct dlq *dlq, struct onerow_error *error)
{
    struct or_mask mask = {is_secret, dlq};
    enum onerow_status status = ONEROW_OK;
    if (dlq->format && strcmp(dlq->format, "csv") == 0) {
        dlq->csv = or_letter_csv_create(dlq->reveal ? NULL : &mask);
        if (!dlq->csv) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
        status = or_letters_read(NULL, see_columns, dlq, NULL, error);
        status = status == ONEROW_OK ? dlq->status : status;
        or_letter_csv_header(dlq->csv, &dlq->out);
    }
    if (status == ONEROW_OK && flush_out(dlq)) {
        status = or_letters_read(NULL, export_letter, dlq, NULL, error);
    }
    return status == ONEROW_OK ? dlq->status : status;
}

static enum onerow_status export(struct dlq *dlq, struct onerow_error *error) {
    dlq->fd = STDOUT_FILENO; if (dlq->output && strcmp(dlq->output, "-") != 0){
        dlq->fd = open(dlq->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (dlq->fd <
            0){return or_fail(error, ONEROW_USAGE, "%s: %s", dlq->output, strerror(errno));}
}
enum onerow_status status = export_to(dlq, error);
if (dlq->fd != STDOUT_FILENO && close(dlq->fd) != 0 && status == ONEROW_OK) {
    status = or_fail(error, ONEROW_IO, "%s: cannot be written: %s", dlq->output, strerror(errno));
}
return status;
}

/* ---- replay
 * -------------------------------------------------------------------------------------- */

static volatile bool stopping;

static void on_signal(int number)
{
    (void)number;
    or_flag_set(&stopping);
}

static void say_stays(void *context, const struct or_letter *letter, const char *reason)
{
    (void)context;
    fprintf(stderr, "onerow: %.*s stays: %s\n", (int)letter->id.len, letter->id.data, reason);
}

static enum onerow_status replay(struct dlq *dlq, struct onerow_error *error)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct or_replay_options how = {.table = dlq->table,
                                    .ids = dlq->ids,
                                    .n_ids = dlq->n_ids,
                                    .force = dlq->force,
                                    .wait_ms = dlq->wait_ms,
                                    .coordinator = dlq->coordinator,
                                    .stop = &stopping,
                                    .stays = say_stays};
    struct or_replay_stats stats;
    enum onerow_status status = or_replay(&how, &stats, error);
    const uint64_t *outcome = stats.outcome;
    printf(dlq->json ? "{\"replayed\":%llu,\"created\":%llu,\"updated\":%llu,\"unchanged\":%llu,"
                       "\"stayed\":%llu,\"changed_since\":%llu}\n"
                     : "replayed %llu = %llu created + %llu updated + %llu unchanged + %llu stayed "
                       "(%llu because the row changed since)\n",
           (unsigned long long)stats.tried, (unsigned long long)outcome[ONEROW_CREATED],
           (unsigned long long)outcome[ONEROW_UPDATED],
           (unsigned long long)outcome[ONEROW_UNCHANGED],
           (unsigned long long)stats.changed + (unsigned long long)stats.rejected,
           (unsigned long long)stats.changed);
    if (stats.held) {
        fprintf(stderr, "onerow: %zu files of letters are in use by another run and were left\n",
                stats.held);
    }
    return status;
}

static enum onerow_status run_verb(struct dlq *dlq, struct onerow_error *error)
{
    if (strcmp(dlq->verb, "replay") == 0) {
        return replay(dlq, error);
    }
    bool listing = strcmp(dlq->verb, "list") == 0;
    if (!listing && strcmp(dlq->verb, "export") != 0) {
        return or_fail(error, ONEROW_USAGE, "dlq %s: there are list, export and replay", dlq->verb);
    }
    enum onerow_status status = load_configs(dlq, error);
    if (status != ONEROW_OK) {
        return status;
    }
    return listing ? list(dlq, error) : export(dlq, error);
}

static int run(int argc, char **argv)
{
    struct dlq *dlq = calloc(1, sizeof *dlq);
    const char **ids = calloc((size_t)argc, sizeof *ids);
    struct onerow_error error = {0};
    enum onerow_status status = or_fail(&error, ONEROW_NOMEM, "out of memory");
    if (dlq && ids) {
        dlq->ids = ids;
        argp_parse(&argp, argc, argv, 0, NULL, dlq);
        status = run_verb(dlq, &error);
        for (size_t i = 0; i < dlq->n_configs; i++) {
            or_config_finish(&dlq->configs[i]);
            free(dlq->config_paths[i]);
        }
        or_letter_csv_destroy(dlq->csv);
        or_buffer_finish(&dlq->out);
    }
    free(ids);
    free(dlq);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_dlq = {"dlq", "list|export|replay",
                                      "dead letters: records that could not be written", run};
