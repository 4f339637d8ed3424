/* SPDX-License-Identifier: Apache-2.0
 *
 * `ensure` and `get`: one row by its key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "engine/single.h"

struct one {
    struct or_cli cli;
    const char *returning;
    int argc;
    char **argv;
};

enum { OPT_RETURNING = 0x200 };

static const struct argp_option ensure_options[] = {
    {"returning", OPT_RETURNING, "COLUMN", 0, "print this column of the row instead of its id", 0},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct one *one = state->input;
    switch (key) {
    case OPT_RETURNING: one->returning = value; return 0;
    case ARGP_KEY_ARGS:
        one->argc = state->argc - state->next;
        one->argv = state->argv + state->next;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Opens the table and binds the NAME=VALUE arguments. */
static enum onerow_status prepare(struct one *one, bool read_only, struct or_config_table *config,
                                  struct or_table **table, struct or_arena *arena,
                                  struct or_item *item, struct onerow_error *error)
{
    const struct or_config_table *found = NULL;
    int at = 0;
    enum onerow_status status = or_cli_load(&one->cli, error);
    status = status == ONEROW_OK ? or_cli_table(&one->cli, one->argc, one->argv, &at, &found, error)
                                 : status;
    if (status == ONEROW_OK && at == one->argc) {
        status = or_fail(error, ONEROW_USAGE, "which row?\n  give its key: NAME=VALUE…");
    }
    status = status == ONEROW_OK ? or_cli_fields(one->argc - at, one->argv + at, arena, item, error)
                                 : status;
    if (status != ONEROW_OK) {
        return status;
    }
    *config = *found;
    if (read_only) {
        config->spec.accept_unenforced = true; /* reading a row asks for no promise */
    } else {
        config->spec.policy = ONEROW_POLICY_KEEP;
    }
    struct or_table_options options = {
        .read_only = read_only, .want_ids = true, .wait_ms = one->cli.wait_ms};
    return or_table_open(config, &options, table, error);
}

static enum onerow_status print_column(const struct one *one, struct or_table *table,
                                       const struct or_entry *entry, struct or_arena *arena,
                                       struct onerow_error *error)
{
    struct onerow_span json = {0};
    struct onerow_span text = {0};
    enum onerow_status status = or_single_get(table, entry, arena, &json, error);
    if (status == ONEROW_OK) {
        status = or_single_column(table, json, one->returning, arena, &text, error);
    }
    if (status == ONEROW_OK) {
        printf("%.*s\n", (int)text.len, text.data);
    }
    return status;
}

static enum onerow_status print_ensured(const struct one *one, struct or_table *table,
                                        const struct or_entry *entry, struct or_arena *arena,
                                        struct onerow_error *error)
{
    if (one->returning) {
        return print_column(one, table, entry, arena, error);
    }
    if (one->cli.json) {
        struct or_buffer line;
        or_buffer_init(&line);
        or_result_line(entry, NULL, NULL, &line);
        fputs(or_buffer_cstr(&line), stdout);
        or_buffer_finish(&line);
        return ONEROW_OK;
    }
    if (!entry->id.data) {
        return or_fail(
            error, ONEROW_CONFIG,
            "rows of table \"%s\" have no single id\n  name a column: --returning COLUMN",
            table->spec.name);
    }
    printf("%.*s\n", (int)entry->id.len, entry->id.data);
    return ONEROW_OK;
}

static void say_twins(const struct or_entry *entry)
{
    const char *name = entry->table->spec.name;
    fprintf(stderr,
            "onerow: table \"%s\": several pages carry this key; this is the one that has the best "
            "right to it\n  onerow audit %s lists them, onerow heal %s leaves one of each\n",
            name, name, name);
}

static int run_ensure(int argc, char **argv)
{
    static const char doc[] =
        "Finds the row with this key or creates it, and prints its id. An existing row stays as it "
        "is. Any number of these at the same time leave one row and print one id.";
    struct one one = {0};
    struct onerow_error error = {0};
    struct or_config_table config;
    struct or_table *table = NULL;
    struct or_arena arena;
    struct or_item item;
    struct or_entry entry = {0};
    or_arena_init(&arena);
    or_cli_parse(argc, argv, ensure_options, parse, "TABLE NAME=VALUE…", doc, &one);
    enum onerow_status status = prepare(&one, false, &config, &table, &arena, &item, &error);
    if (status == ONEROW_OK) {
        status = or_single_put(table, &item, NULL, &entry, &arena, &error);
    }
    if (entry.twins) {
        say_twins(&entry);
    }
    if (status == ONEROW_OK) {
        status = print_ensured(&one, table, &entry, &arena, &error);
    }
    or_table_close(table);
    or_arena_finish(&arena);
    or_config_finish(&one.cli.config);
    return or_cli_end(status, &error);
}

static int run_get(int argc, char **argv)
{
    static const char doc[] =
        "Finds the row with this key and prints it as JSON; never creates one. "
        "Exit code 1: there is none.";
    struct one one = {0};
    struct onerow_error error = {0};
    struct or_config_table config;
    struct or_table *table = NULL;
    struct or_arena arena;
    struct or_item item;
    struct or_entry entry = {0};
    struct onerow_span json = {0};
    or_arena_init(&arena);
    or_cli_parse(argc, argv, ensure_options, parse, "TABLE NAME=VALUE…", doc, &one);
    enum onerow_status status = prepare(&one, true, &config, &table, &arena, &item, &error);
    if (status == ONEROW_OK) {
        status = or_single_bind_key(table, &item, &entry, &arena, &error);
    }
    if (status == ONEROW_OK && one.returning) {
        status = print_column(&one, table, &entry, &arena, &error);
    } else if (status == ONEROW_OK) {
        status = or_single_get(table, &entry, &arena, &json, &error);
        if (status == ONEROW_OK) {
            printf("%.*s\n", (int)json.len, json.data);
        }
    }
    or_table_close(table);
    or_arena_finish(&arena);
    or_config_finish(&one.cli.config);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_ensure = {"ensure", "TABLE NAME=VALUE…",
                                         "find or create one row, print its id", run_ensure};
const struct or_command or_cmd_get = {"get", "TABLE NAME=VALUE…",
                                      "find one row, never create; exit 1 when absent", run_get};
