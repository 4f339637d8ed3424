/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands share: common options, messages, exit codes.
 */
#ifndef OR_CLI_CLI_H
#define OR_CLI_CLI_H

#include <argp.h>

#include "engine/config.h"
#include "engine/table.h"
#include "input/input.h"

/* A verb of the command. `run` gets its own argc and argv, argv[0] being "onerow VERB". */
struct or_command {
    const char *name;
    const char *arguments; /* for the overview */
    const char *summary;
    int (*run)(int argc, char **argv);
};

extern const struct or_command or_cmd_put, or_cmd_ensure, or_cmd_get, or_cmd_audit, or_cmd_check,
    or_cmd_sql, or_cmd_init, or_cmd_dlq, or_cmd_heal, or_cmd_lease, or_cmd_bench, or_cmd_simulate,
    or_cmd_notion_sim;

/* --config, --store, --table, --key, --on-conflict, --wait and --json. Give the address of one as
 * the input of the child parser or_cli_argp. */
struct or_cli {
    struct or_config_flags flags;
    uint64_t wait_ms;
    bool json;
    struct or_config config; /* filled by or_cli_load */
};

extern const struct argp or_cli_argp;

/* Parses with or_cli_argp as a child and `own` (may be NULL) for the command's own options. `state`
 * begins with a struct or_cli. */
void or_cli_parse(int argc, char **argv, const struct argp_option *own, argp_parser_t parse,
                  const char *arguments, const char *doc, void *state);

/* Loads the configuration; on failure says why and returns its status. */
enum onerow_status or_cli_load(struct or_cli *cli, struct onerow_error *error);

/* Takes TABLE from the arguments: the first one, unless --table names it already. Moves *at behind
 * it. */
enum onerow_status or_cli_table(struct or_cli *cli, int argc, char **argv, int *at,
                                const struct or_config_table **table, struct onerow_error *error);

/* Reads NAME=VALUE arguments into the fields of one record. */
enum onerow_status or_cli_fields(int argc, char **argv, struct or_arena *arena,
                                 struct or_item *item, struct onerow_error *error);

/* Prints "onerow: …" on stderr, unless the status is OK or a mere result (ABSENT, LEFT), and
 * returns the exit code. */
int or_cli_end(enum onerow_status status, const struct onerow_error *error);

/* Says something on stderr, each line behind "onerow: ". */
void or_cli_say(const char *text);

/* How the process takes signals: a pipe without reader and a file that is too long are errors to
 * tell, not deaths; children are waited for. */
void or_cli_signals_set(void);
/* As they were before, with the mask, for another program; between fork and exec. */
void or_cli_signals_back(void);

/* Seconds from text such as "300" or "0.5", in milliseconds; false when it is none. */
bool or_cli_seconds(const char *text, uint64_t *ms);

/* A number from min to max; anything else is a usage error of the option. */
uint64_t or_cli_number(struct argp_state *state, const char *option, const char *text, uint64_t min,
                       uint64_t max);

/* A table of text columns on stdout. The headings end with NULL. */
struct or_cli_grid;
struct or_cli_grid *or_cli_grid_open(const char *const *headings);
void or_cli_grid_row(struct or_cli_grid *grid, const char *const *cells);
void or_cli_grid_print(struct or_cli_grid *grid); /* and frees it */

#endif
