/* SPDX-License-Identifier: Apache-2.0
 *
 * `heal`: what a table of pages may have been left with.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"
#include "engine/page_heal.h"
#include "engine/single.h"

struct command {
    struct or_cli cli;
    enum or_heal_what what;
    int argc;
    char **argv;
};

enum { OPT_FORGET = 0x200, OPT_REKEY };

static const struct argp_option options[] = {
    {"forget", OPT_FORGET, 0, 0,
     "give up this key's page, which the store does not find any more, so that another one may be "
     "made (should it live after all, there are two)",
     0},
    {"rekey", OPT_REKEY, 0, 0,
     "a page was given this key by a person, and that is to stand: the key takes the page over", 0},
    {0},
};

static const char doc[] =
    "Sweeps blanks that were left behind, brings to an end what was being written, and leaves one "
    "page of each key: second pages go into the trash, or, with content or a person's edits, lose "
    "their key. A ledger that was rolled back learns every page again. Exit code 1: something is "
    "left; run it again later.";

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct command *command = state->input;
    (void)value;
    switch (key) {
    case OPT_FORGET: command->what = OR_HEAL_FORGET; return 0;
    case OPT_REKEY: command->what = OR_HEAL_REKEY; return 0;
    case ARGP_KEY_ARGS:
        command->argc = state->argc - state->next;
        command->argv = state->argv + state->next;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static volatile bool stopping;

static void on_signal(int number)
{
    (void)number;
    or_flag_set(&stopping);
}

/* The first one lets what is under way come to its end; the second one ends the process. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the report ---------------------------------------------------------------------------------
 */

static const struct {
    const char *name; /* in JSON */
    const char *text; /* for people, behind the number */
    size_t offset;
} COUNTS[] = {
#define COUNT(field, words)                                                                        \
    {                                                                                              \
#field, words, offsetof(struct or_heal_report, field)                                      \
    }
    COUNT(swept, "blanks swept"),
    COUNT(settled, "writes brought to an end"),
    COUNT(adopted, "pages taken over by their keys"),
    COUNT(trashed, "second pages put into the trash"),
    COUNT(moved, "second pages without a key now"),
    COUNT(young, "blanks may still be used: run again in some minutes"),
    COUNT(foreign, "blanks are of another ledger: does somebody else write here?"),
    COUNT(early, "keys have writes that may still arrive: run again in some minutes"),
    COUNT(taken, "pages carry a key that is not theirs: onerow heal TABLE NAME=VALUE --rekey"),
    COUNT(gone, "keys whose page is in the trash or not to be found"),
    COUNT(undone, "could not be finished: run again"),
    COUNT(keyless, "pages have no valid key"),
#undef COUNT
};
#define N_COUNTS (sizeof COUNTS / sizeof *COUNTS)

static uint64_t count_of(const struct or_heal_report *report, size_t i)
{
    uint64_t count = 0;
    memcpy(&count, (const char *)report + COUNTS[i].offset, sizeof count);
    return count;
}

static void print_json(const char *table, const struct or_heal_report *report,
                       enum onerow_status status)
{
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_text(&json, "{\"table\":");
    or_buffer_json(&json, or_span(table));
    for (size_t i = 0; i < N_COUNTS; i++) {
        or_buffer_printf(&json, ",\"%s\":%llu", COUNTS[i].name,
                         (unsigned long long)count_of(report, i));
    }
    or_buffer_printf(&json, ",\"suspect\":%s,\"confirmed\":%s,\"requests\":%llu,\"status\":\"%s\"}",
                     report->suspect ? "true" : "false", report->confirmed ? "true" : "false",
                     (unsigned long long)report->pages.requests, onerow_status_name(status));
    puts(or_buffer_cstr(&json));
    or_buffer_finish(&json);
}

static void print_text(const char *table, const struct or_heal_report *report)
{
    bool any = false;
    for (size_t i = 0; i < N_COUNTS; i++) {
        uint64_t count = count_of(report, i);
        if (count) {
            printf("%s: %llu %s\n", table, (unsigned long long)count, COUNTS[i].text);
        }
        any |= count != 0;
    }
    if (report->suspect) {
        printf("%s: the ledger was rolled back%s\n", table,
               report->confirmed ? ", and knows all pages again"
                                 : "; no page is made before all of this is healed");
    } else if (!any) {
        printf("%s: nothing to heal\n", table);
    }
    if (report->journal[0]) {
        printf("%s: what was put away is named in %s\n", table, report->journal);
    }
}

/* ---- running ------------------------------------------------------------------------------------
 */

static enum onerow_status bind_key(struct command *command, int at, struct or_table *table,
                                   struct or_arena *arena, struct or_entry *entry,
                                   struct onerow_error *error)
{
    struct or_item item = {0};
    bool wanted = command->what != OR_HEAL_EVERYTHING;
    if (wanted != (at < command->argc)) {
        return or_fail(error, ONEROW_USAGE,
                       wanted ? "which key?\n  give it: NAME=VALUE…"
                              : "a key is for --forget and --rekey; without them everything is "
                                "healed");
    }
    enum onerow_status status =
        wanted ? or_cli_fields(command->argc - at, command->argv + at, arena, &item, error)
               : ONEROW_OK;
    return wanted && status == ONEROW_OK ? or_single_bind_key(table, &item, entry, arena, error)
                                         : status;
}

static enum onerow_status heal(struct command *command, int at, struct or_table *table,
                               struct or_arena *arena, struct onerow_error *error)
{
    struct or_entry entry = {0};
    struct or_heal_report report = {0};
    if (!table->pages) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": its store enforces the key, and nothing can be left behind",
                       table->spec.name);
    }
    enum onerow_status status = bind_key(command, at, table, arena, &entry, error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = or_page_heal(table, command->what, &entry, &stopping, &report, error);
    if (command->cli.json) {
        print_json(table->spec.name, &report, status);
    } else if (status == ONEROW_OK || status == ONEROW_LEFT || status == ONEROW_INTERRUPTED) {
        print_text(table->spec.name, &report);
    }
    if (status == ONEROW_ABSENT) {
        or_cli_say(error->text);
    }
    return status;
}

static int run(int argc, char **argv)
{
    struct command command = {.what = OR_HEAL_EVERYTHING};
    struct onerow_error error = {0};
    const struct or_config_table *config = NULL;
    struct or_table *table = NULL;
    struct or_arena arena;
    int at = 0;
    or_arena_init(&arena);
    or_cli_parse(argc, argv, options, parse, "TABLE [NAME=VALUE…]", doc, &command);
    enum onerow_status status = or_cli_load(&command.cli, &error);
    status = status == ONEROW_OK
                 ? or_cli_table(&command.cli, command.argc, command.argv, &at, &config, &error)
                 : status;
    if (status == ONEROW_OK) {
        catch_signals();
        struct or_table_options how = {.wait_ms = command.cli.wait_ms, .stop = &stopping};
        status = or_table_open(config, &how, &table, &error);
    }
    status = status == ONEROW_OK ? heal(&command, at, table, &arena, &error) : status;
    or_table_close(table);
    or_arena_finish(&arena);
    or_config_finish(&command.cli.config);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_heal = {
    "heal", "TABLE", "sweep blanks, end what was begun, leave one page of each key", run};
