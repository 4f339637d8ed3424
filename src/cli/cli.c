/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/status.h"
#include "base/text.h"

enum {
    OPT_CONFIG = 0x100,
    OPT_STORE,
    OPT_TABLE,
    OPT_KEY,
    OPT_ON_CONFLICT,
    OPT_COORDINATOR,
    OPT_WAIT,
    OPT_JSON
};

static const struct argp_option common_options[] = {
    {0, 0, 0, 0, "Which table:", 1},
    {"config", OPT_CONFIG, "FILE", 0, "configuration (default: onerow.yaml, when it is there)", 1},
    {"store", OPT_STORE, "URL", 0, "a store without configuration, such as sqlite:app.db", 1},
    {"table", OPT_TABLE, "NAME", 0, "its table; stands for TABLE", 1},
    {"key", OPT_KEY, "NAME[:TYPE],…", 0, "its key columns", 1},
    {"on-conflict", OPT_ON_CONFLICT, "POLICY", 0, "update (default), keep or newest(COLUMN)", 1},
    {"coordinator", OPT_COORDINATOR, "URL", 0,
     "where ledgers and rate windows are kept, such as sqlite:onerow-ledger.db", 1},
    {0, 0, 0, 0, "How:", 2},
    {"wait", OPT_WAIT, "SECONDS", 0,
     "longest wait for a lock, or for a store that does not answer (default 300)", 2},
    {"json", OPT_JSON, 0, 0, "answer in JSON", 2},
    {0},
};

bool or_cli_seconds(const char *text, uint64_t *ms)
{
    if (!*text || strspn(text, "0123456789.") != strlen(text)) {
        return false;
    }
    double seconds = or_double_parse(text);
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        return false;
    }
    *ms = (uint64_t)(seconds * 1000);
    *ms += *ms == 0; /* 0 would mean the default */
    return true;
}

uint64_t or_cli_number(struct argp_state *state, const char *option, const char *text, uint64_t min,
                       uint64_t max)
{
    char *end = NULL;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < min || value > max) {
        argp_error(state, "%s: \"%s\" is no number from %llu to %llu", option, text,
                   (unsigned long long)min, (unsigned long long)max);
    }
    return value;
}

static error_t parse_common(int key, char *value, struct argp_state *state)
{
    struct or_cli *cli = state->input;
    switch (key) {
    case OPT_CONFIG: cli->flags.config = value; return 0;
    case OPT_STORE: cli->flags.store = value; return 0;
    case OPT_TABLE: cli->flags.table = value; return 0;
    case OPT_KEY: cli->flags.key = value; return 0;
    case OPT_ON_CONFLICT: cli->flags.on_conflict = value; return 0;
    case OPT_COORDINATOR: cli->flags.coordinator = value; return 0;
    case OPT_JSON: cli->json = true; return 0;
    case OPT_WAIT:
        if (!or_cli_seconds(value, &cli->wait_ms)) {
            argp_error(state, "--wait: \"%s\" is no number of seconds", value);
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp or_cli_argp = {.options = common_options, .parser = parse_common};

static argp_parser_t own_parser; /* of the one command that this process runs */

/* argp asks the parent for its children's inputs; the common options lie at its beginning. */
static error_t parse_own(int key, char *value, struct argp_state *state)
{
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = state->input;
        return 0;
    }
    return own_parser ? own_parser(key, value, state) : ARGP_ERR_UNKNOWN;
}

void or_cli_parse(int argc, char **argv, const struct argp_option *own, argp_parser_t parse,
                  const char *arguments, const char *doc, void *state)
{
    const struct argp_child children[] = {{&or_cli_argp, 0, NULL, 0}, {0}};
    const struct argp argp = {.options = own,
                              .parser = parse_own,
                              .args_doc = arguments,
                              .doc = doc,
                              .children = children};
    own_parser = parse;
    argp_parse(&argp, argc, argv, 0, NULL, state);
}

enum onerow_status or_cli_load(struct or_cli *cli, struct onerow_error *error)
{
    return or_config_load(&cli->config, &cli->flags, error);
}

enum onerow_status or_cli_table(struct or_cli *cli, int argc, char **argv, int *at,
                                const struct or_config_table **table, struct onerow_error *error)
{
    if (cli->flags.table) {
        return or_config_table(&cli->config, cli->flags.table, table, error);
    }
    if (*at >= argc) {
        return or_fail(error, ONEROW_USAGE,
                       "which TABLE?\n  name one, or give --store, --table "
                       "and --key");
    }
    return or_config_table(&cli->config, argv[(*at)++], table, error);
}

enum onerow_status or_cli_fields(int argc, char **argv, struct or_arena *arena,
                                 struct or_item *item, struct onerow_error *error)
{
    *item = (struct or_item){.kind = OR_ITEM_RECORD};
    item->fields = or_arena_alloc(arena, ((size_t)argc + 1) * sizeof *item->fields);
    if (!item->fields) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals || equals == argv[i]) {
            return or_fail(error, ONEROW_USAGE, "\"%s\" is not NAME=VALUE", argv[i]);
        }
        struct onerow_span text = or_span(equals + 1);
        if (!or_utf8_valid(or_span(argv[i]), NULL) || text.len > ONEROW_VALUE_MAX) {
            return or_fail(error, ONEROW_USAGE, "argument %d is not UTF-8, or too long", i + 1);
        }
        for (size_t f = 0; f < item->n_fields; f++) {
            if (or_span_equal(item->fields[f].name,
                              (struct onerow_span){argv[i], (size_t)(equals - argv[i])})) {
                return or_fail(error, ONEROW_USAGE, "\"%.*s\" is given twice",
                               (int)(equals - argv[i]), argv[i]);
            }
        }
        item->fields[item->n_fields++] = (struct or_field){
            .name = {argv[i], (size_t)(equals - argv[i])},
            .value = {.data = text.data, .len = (uint32_t)text.len, .kind = ONEROW_UNTYPED}};
    }
    return ONEROW_OK;
}

void or_cli_say(const char *text)
{
    fprintf(stderr, "onerow: %s\n", text);
}

int or_cli_end(enum onerow_status status, const struct onerow_error *error)
{
    if (status != ONEROW_OK && status != ONEROW_ABSENT && status != ONEROW_LEFT && error) {
        or_cli_say(error->text[0] ? error->text : onerow_status_text(status));
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && onerow_status_exit(status) <= 1) {
        or_cli_say("standard output: cannot be written");
        return onerow_status_exit(ONEROW_IO);
    }
    return onerow_status_exit(status);
}

/* ---- signals -----------------------------------------------------------------------------------
 */

static const struct {
    int number;
    void (*taken)(int number);
} signals[] = {{SIGPIPE, SIG_IGN}, {SIGXFSZ, SIG_IGN}, {SIGCHLD, SIG_DFL}};

static struct sigaction signals_before[sizeof signals / sizeof *signals];
static sigset_t mask_before;

void or_cli_signals_set(void)
{
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction action = {.sa_handler = signals[i].taken};
        sigaction(signals[i].number, &action, &signals_before[i]);
    }
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
}

void or_cli_signals_back(void)
{
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaction(signals[i].number, &signals_before[i], NULL);
    }
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

/* ---- grids -------------------------------------------------------------------------------- */

struct or_cli_grid {
    struct libscols_table *table;
};

struct or_cli_grid *or_cli_grid_open(const char *const *headings)
{
    struct or_cli_grid *grid = calloc(1, sizeof *grid);
    if (!grid || !(grid->table = scols_new_table())) {
        free(grid);
        return NULL;
    }
    for (size_t i = 0; headings[i]; i++) {
        scols_table_new_column(grid->table, headings[i], 0, SCOLS_FL_WRAP);
    }
    return grid;
}

void or_cli_grid_row(struct or_cli_grid *grid, const char *const *cells)
{
    struct libscols_line *line = grid ? scols_table_new_line(grid->table, NULL) : NULL;
    for (size_t i = 0; line && i < scols_table_get_ncols(grid->table); i++) {
        scols_line_set_data(line, i, cells[i]);
    }
}

void or_cli_grid_print(struct or_cli_grid *grid)
{
    if (grid) {
        scols_print_table(grid->table);
        scols_unref_table(grid->table);
        free(grid);
    }
}
