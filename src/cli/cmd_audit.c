/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that look at tables: `audit`, `check` and `sql`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "core/key.h"
#include "engine/audit.h"
#include "engine/lease_desk.h"
#include "engine/relations.h"

struct look {
    struct or_cli cli;
    int argc;
    char **argv;
    const char *form; /* --for of sql */
    enum onerow_status worst;
    struct onerow_error worst_error;
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct look *look = state->input;
    if (key == 'f') {
        look->form = value;
        return 0;
    }
    if (key != ARGP_KEY_ARGS) {
        return ARGP_ERR_UNKNOWN;
    }
    look->argc = state->argc - state->next;
    look->argv = state->argv + state->next;
    return 0;
}

typedef enum onerow_status look_at(struct look *look, const struct or_config_table *config,
                                   struct onerow_error *error);

static void note(struct look *look, enum onerow_status status, const struct onerow_error *error)
{
    enum onerow_status worse = or_status_worse(look->worst, status);
    if (worse != look->worst) {
        look->worst_error = *error;
    }
    look->worst = worse;
}

/* Each TABLE of the arguments, or each one that is configured. */
static enum onerow_status each_table(struct look *look, look_at *visit, struct onerow_error *error)
{
    const struct or_config *config = &look->cli.config;
    if (config->n_tables == 0) {
        const struct or_config_table *none = NULL;
        return or_config_table(config, NULL, &none, error); /* says what is missing, and where */
    }
    size_t n = look->argc ? (size_t)look->argc : config->n_tables;
    for (size_t i = 0; i < n; i++) {
        const struct or_config_table *table = &config->tables[i];
        enum onerow_status status =
            look->argc ? or_config_table(config, look->argv[i], &table, error) : ONEROW_OK;
        if (status != ONEROW_OK) {
            return status;
        }
        struct onerow_error failure = {0};
        note(look, visit(look, table, &failure), &failure);
    }
    *error = look->worst_error;
    return look->worst;
}

typedef enum onerow_status look_around(struct look *look, struct onerow_error *error);

static int run_all(int argc, char **argv, const struct argp_option *own, const char *arguments,
                   const char *doc, look_around *all)
{
    struct look look = {0};
    struct onerow_error error = {0};
    or_cli_parse(argc, argv, own, parse, arguments, doc, &look);
    enum onerow_status status = or_cli_load(&look.cli, &error);
    if (status == ONEROW_OK) {
        status = all(&look, &error);
    }
    or_config_finish(&look.cli.config);
    return or_cli_end(status, &error);
}

static enum onerow_status open_to_read(struct look *look, const struct or_config_table *config,
                                       struct or_table **table, struct onerow_error *error)
{
    struct or_table_options options = {.read_only = true, .wait_ms = look->cli.wait_ms};
    return or_table_open(config, &options, table, error);
}

/* ---- audit --------------------------------------------------------------------------------- */

struct printing {
    const char *table;
    bool json;
};

static void print_twins(void *context, const struct onerow_twins *twins)
{
    const struct printing *printing = context;
    struct or_buffer line;
    or_buffer_init(&line);
    if (printing->json) {
        or_buffer_text(&line, "{\"table\":");
        or_buffer_json(&line, or_span(printing->table));
        or_buffer_printf(
            &line, ",\"key\":%.*s,\"rows\":%llu,\"ids\":%.*s,\"reason\":", (int)twins->key.len,
            twins->key.data, (unsigned long long)twins->rows, (int)twins->ids.len, twins->ids.data);
        if (twins->reason) {
            or_buffer_json(&line, or_span(twins->reason));
        } else {
            or_buffer_text(&line, "null");
        }
        or_buffer_char(&line, '}');
    } else {
        or_buffer_printf(&line, "%s  %.*s  %llu rows  ids %.*s", printing->table,
                         (int)(twins->reason ? strlen(twins->reason) : twins->key.len),
                         twins->reason ? twins->reason : twins->key.data,
                         (unsigned long long)twins->rows, (int)twins->ids.len, twins->ids.data);
    }
    puts(or_buffer_cstr(&line));
    or_buffer_finish(&line);
}

static void print_counts(const struct look *look, const char *table,
                         const struct or_audit_counts *counts)
{
    if (look->cli.json) {
        struct or_buffer line;
        or_buffer_init(&line);
        or_buffer_text(&line, "{\"table\":");
        or_buffer_json(&line, or_span(table));
        or_buffer_printf(&line,
                         ",\"duplicate_keys\":%llu,\"duplicate_rows\":%llu,\"keyless_rows\":%llu}",
                         (unsigned long long)counts->keys, (unsigned long long)counts->rows,
                         (unsigned long long)counts->keyless);
        puts(or_buffer_cstr(&line));
        or_buffer_finish(&line);
        return;
    }
    printf("%s: %llu keys have more than one row (%llu rows)", table,
           (unsigned long long)counts->keys, (unsigned long long)counts->rows);
    if (counts->keyless) {
        printf("; %llu rows have no valid key", (unsigned long long)counts->keyless);
    }
    putchar('\n');
}

static enum onerow_status audit_table(struct look *look, const struct or_config_table *config,
                                      struct onerow_error *error)
{
    struct or_config_table looked_at = *config;
    struct or_table *table = NULL;
    struct or_audit_counts counts = {0};
    struct printing printing = {config->spec.name, look->cli.json};
    looked_at.spec.only_look = true;
    enum onerow_status status = open_to_read(look, &looked_at, &table, error);
    if (status == ONEROW_OK) {
        status = or_audit(table, print_twins, &printing, &counts, error);
    }
    if (status == ONEROW_OK) {
        print_counts(look, config->spec.name, &counts);
        status = counts.keys ? ONEROW_LEFT : ONEROW_OK;
    }
    or_table_close(table);
    return status;
}

static enum onerow_status audit_all(struct look *look, struct onerow_error *error)
{
    return each_table(look, audit_table, error);
}

static int run_audit(int argc, char **argv)
{
    return run_all(argc, argv, NULL, "[TABLE…]",
                   "Lists the keys that more than one row carries, by the same rule as put. Exit "
                   "code 1: there are some.",
                   audit_all);
}

/* ---- check --------------------------------------------------------------------------------- */

static void key_text(const struct or_table *table, struct or_buffer *text)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_printf(text, "%s%s:%s", k ? "," : "", table->spec.key[k].name,
                         or_type_name(table->table->key_types[k]));
    }
}

static void add_text(struct or_buffer *json, const char *text)
{
    if (text) {
        or_buffer_json(json, or_span(text));
    } else {
        or_buffer_text(json, "null");
    }
}

/* What a relation rests on: the other table, and the ledger that knows its pages. */
static void add_relations(const struct look *look, const struct or_table *table,
                          struct or_buffer *line)
{
    struct or_buffer ledger;
    or_buffer_init(&ledger);
    for (size_t i = 0; i < table->n_relations; i++) {
        const struct or_table *target = table->relations[i].target;
        const char *column = table->table->columns[table->relations[i].column].name;
        or_buffer_clear(&ledger);
        or_config_coordinator_text(target->config->ledger, &ledger);
        if (look->cli.json) {
            or_buffer_text(line, i ? ",{\"column\":" : "{\"column\":");
            or_buffer_json(line, or_span(column));
            or_buffer_text(line, ",\"table\":");
            or_buffer_json(line, or_span(target->spec.name));
            or_buffer_text(line, ",\"ledger\":");
            or_buffer_json(line, or_buffer_view(&ledger));
            or_buffer_char(line, '}');
        } else {
            or_buffer_printf(
                line,
                "\n  %s relates to %s by key: a page that the ledger knows, or that is "
                "found or made first; ledger %s",
                column, target->spec.name, or_buffer_cstr(&ledger));
        }
    }
    or_buffer_finish(&ledger);
}

static void print_check(const struct look *look, const struct or_config_table *config,
                        const struct or_table *table, enum onerow_status status,
                        const struct onerow_error *error)
{
    struct or_buffer key;
    struct or_buffer url;
    struct or_buffer line;
    struct or_buffer ledger;
    or_buffer_init(&key);
    or_buffer_init(&url);
    or_buffer_init(&line);
    or_buffer_init(&ledger);
    or_url_mask(config->store->url, &url);
    if (table) {
        key_text(table, &key);
    }
    bool good = status == ONEROW_OK;
    if (good && (table->table->guarantees & ONEROW_PAGES)) {
        or_config_coordinator_text(config->ledger, &ledger);
    }
    const char *promise = good ? table->table->promise : error->text;
    const char *advice = good ? table->table->advice : NULL;
    if (look->cli.json) {
        or_buffer_text(&line, "{\"table\":");
        or_buffer_json(&line, or_span(config->spec.name));
        or_buffer_text(&line, ",\"store\":");
        or_buffer_json(&line, or_buffer_view(&url));
        or_buffer_text(&line, ",\"key\":");
        or_buffer_json(&line, or_buffer_view(&key));
        or_buffer_printf(&line, ",\"status\":\"%s\",\"%s\":", onerow_status_name(status),
                         good ? "promise" : "error");
        or_buffer_json(&line, or_span(promise));
        or_buffer_text(&line, ",\"advice\":");
        add_text(&line, advice);
        or_buffer_text(&line, ",\"ledger\":");
        add_text(&line, ledger.len ? or_buffer_cstr(&ledger) : NULL);
        or_buffer_text(&line, ",\"relations\":[");
        if (good) {
            add_relations(look, table, &line);
        }
        or_buffer_text(&line, "]}");
    } else {
        or_buffer_printf(&line, "%s  %s  key %s\n  %s%s", config->spec.name, or_buffer_cstr(&url),
                         key.len ? or_buffer_cstr(&key) : "?", good ? "" : "REFUSED: ", promise);
        or_buffer_printf(&line, "%s%s", advice ? "\n  " : "", advice ? advice : "");
        or_buffer_printf(&line, "%s%s", ledger.len ? "\n  ledger " : "", or_buffer_cstr(&ledger));
        if (good) {
            add_relations(look, table, &line);
        }
    }
    puts(or_buffer_cstr(&line));
    or_buffer_finish(&ledger);
    or_buffer_finish(&key);
    or_buffer_finish(&url);
    or_buffer_finish(&line);
}

static enum onerow_status check_table(struct look *look, const struct or_config_table *config,
                                      struct onerow_error *error)
{
    struct or_table *table = NULL;
    struct or_table_options options = {
        .read_only = true, .relate = true, .wait_ms = look->cli.wait_ms};
    enum onerow_status status = or_table_open(config, &options, &table, error);
    if (status == ONEROW_OK && table->table->refusal) {
        status = or_fail(error, ONEROW_CONFIG, "%s", table->table->refusal);
    }
    if (status == ONEROW_OK && (table->table->guarantees & ONEROW_PAGES)) {
        status = or_config_check_ledger(config, error);
    }
    for (size_t i = 0; status == ONEROW_OK && i < table->n_relations; i++) {
        status = or_config_check_ledger(table->relations[i].target->config, error);
    }
    print_check(look, config, table, status, error);
    or_table_close(table);
    return status;
}

/* ---- check: the coordinator ----------------------------------------------------------------- */

static bool no_more(void *context, const struct onerow_lease_view *view)
{
    (void)context;
    (void)view;
    return false;
}

static void print_coordinator(const struct look *look, enum onerow_status status,
                              const struct onerow_error *error)
{
    bool good = status == ONEROW_OK;
    const char *text = good ? "leases and shared rate windows" : error->text;
    struct or_buffer shown;
    struct or_buffer line;
    or_buffer_init(&shown);
    or_buffer_init(&line);
    or_config_coordinator_text(look->cli.config.coordinator, &shown);
    if (look->cli.json) {
        or_buffer_text(&line, "{\"coordinator\":");
        or_buffer_json(&line, or_buffer_view(&shown));
        or_buffer_printf(&line, ",\"status\":\"%s\",\"%s\":", onerow_status_name(status),
                         good ? "promise" : "error");
        or_buffer_json(&line, or_span(text));
        or_buffer_char(&line, '}');
    } else {
        or_buffer_printf(&line, "coordinator  %s\n  %s%s", or_buffer_cstr(&shown),
                         good ? "" : "REFUSED: ", text);
    }
    puts(or_buffer_cstr(&line));
    or_buffer_finish(&shown);
    or_buffer_finish(&line);
}

static enum onerow_status check_coordinator(struct look *look, struct onerow_error *error)
{
    struct or_lease_desk *desk = NULL;
    enum onerow_status status = or_lease_desk_open(look->cli.config.coordinator, &desk, error);
    if (status == ONEROW_OK) {
        status = or_lease_desk_list(desk, OR_SPAN(""), false, no_more, NULL, error);
    }
    or_lease_desk_close(desk);
    print_coordinator(look, status, error);
    return status;
}

/* The coordinator is a part of the whole, and of no table. */
static enum onerow_status check_all(struct look *look, struct onerow_error *error)
{
    bool coordinates = look->cli.config.coordinator && look->argc == 0;
    if (coordinates) {
        struct onerow_error failure = {0};
        note(look, check_coordinator(look, &failure), &failure);
    }
    if (coordinates && look->cli.config.n_tables == 0) {
        *error = look->worst_error;
        return look->worst;
    }
    return each_table(look, check_table, error);
}

static int run_check(int argc, char **argv)
{
    return run_all(argc, argv, NULL, "[TABLE…]",
                   "Reads the configuration, connects to everything and says what each table is "
                   "promised, or why it is refused and what to run.",
                   check_all);
}

/* ---- sql ------------------------------------------------------------------------------------ */

static enum onerow_status print_statement(struct look *look, const struct or_config_table *config,
                                          struct onerow_error *error)
{
    struct or_table *table = NULL;
    struct or_buffer sql;
    or_buffer_init(&sql);
    enum onerow_status status = open_to_read(look, config, &table, error);
    if (status == ONEROW_OK) {
        status = table->store->type->statement(table->table, look->form, &sql, error);
    }
    if (status == ONEROW_OK && look->cli.json) {
        struct or_buffer json;
        or_buffer_init(&json);
        or_buffer_json(&json, or_buffer_view(&sql));
        printf("{\"sql\":%s}\n", or_buffer_cstr(&json));
        or_buffer_finish(&json);
    } else if (status == ONEROW_OK) {
        fputs(or_buffer_cstr(&sql), stdout);
    }
    or_buffer_finish(&sql);
    or_table_close(table);
    return status;
}

static const struct argp_option sql_options[] = {
    {"for", 'f', "FORM", 0, "only one form of it: psql, sqlalchemy or psycopg (PostgreSQL)", 0},
    {0},
};

static enum onerow_status print_all(struct look *look, struct onerow_error *error)
{
    return each_table(look, print_statement, error);
}

static int run_sql(int argc, char **argv)
{
    return run_all(argc, argv, sql_options, "[TABLE…]",
                   "Prints the upsert statement of a table, for use inside your own transaction.",
                   print_all);
}

const struct or_command or_cmd_audit = {
    "audit", "[TABLE…]", "keys with more than one row; exit 1 when there are any", run_audit};
const struct or_command or_cmd_check = {
    "check", "[TABLE…]", "say what each table is promised, or what is wrong", run_check};
const struct or_command or_cmd_sql = {"sql", "TABLE",
                                      "the upsert statement, for your own transaction", run_sql};
