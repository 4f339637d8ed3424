/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "cli/cli.h"
#include "store/store.h"

static const struct or_command *const commands[] = {
    &or_cmd_put,   &or_cmd_ensure,   &or_cmd_get,        &or_cmd_audit, &or_cmd_check,
    &or_cmd_sql,   &or_cmd_init,     &or_cmd_dlq,        &or_cmd_heal,  &or_cmd_lease,
    &or_cmd_bench, &or_cmd_simulate, &or_cmd_notion_sim,
};

#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    fputs("Usage: onerow COMMAND [OPTION…] [ARGUMENT…]\n"
          "Exactly one row per business key, however many workers write it, retry it, or\n"
          "crash while writing it.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-10s %-33s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    }
    fputs("\nStores:\n", out);
    for (size_t i = 0; or_store_types[i]; i++) {
        fprintf(out, "  %-25s %s\n", or_store_types[i]->url, or_store_types[i]->summary);
    }
    fputs("\nonerow COMMAND --help tells a command's options; onerow --version the version.\n"
          "Exit codes: 0 done; 1 done, but something is left (rejected, unknown, duplicates,\n"
          "absent); 64 usage; 65 unreadable input; 69 store unavailable; 75 interrupted or\n"
          "timed out, run again; 78 configuration.\n",
          out);
}

static const struct or_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int run_command(const struct or_command *command, int argc, char **argv)
{
    static char name[64];
    snprintf(name, sizeof name, "onerow %s", command->name);
    argv[0] = name;
    return command->run(argc, argv);
}

/* A closed standard descriptor would be given to the next file that is opened. */
static void fill_descriptors(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = dup(fd);
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
}

int main(int argc, char **argv)
{
    fill_descriptors();
    setlocale(LC_CTYPE, ""); /* for widths on the terminal only; numbers stay in C */
    or_cli_signals_set();
    static char version[64];
    snprintf(version, sizeof version, "onerow %s", onerow_version());
    argp_program_version = version; /* --version behind a command, too */
    if (argc < 2) {
        print_help(stderr);
        return onerow_status_exit(ONEROW_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("onerow %s\n", onerow_version());
        return 0;
    }
    const struct or_command *command = find_command(argv[1]);
    if (!command) {
        fprintf(stderr, "onerow: there is no command \"%s\"\n  onerow --help lists them\n",
                argv[1]);
        return onerow_status_exit(ONEROW_USAGE);
    }
    return run_command(command, argc - 1, argv + 1);
}
