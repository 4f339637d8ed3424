/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow lease`: its verbs, and where the leases are.
 */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/lease.h"

/* ---- where ------------------------------------------------------------------------------------
 */

enum { OPT_COORDINATOR = 0x100, OPT_CONFIG };

static const struct argp_option where_options[] = {
    {0, 0, 0, 0, "Where the leases are:", 8},
    {"coordinator", OPT_COORDINATOR, "URL", 0,
     "such as sqlite:leases.db or postgres://HOST/DATABASE (default: the configuration's)", 8},
    {"config", OPT_CONFIG, "FILE", 0, "configuration (default: onerow.yaml, when it is there)", 8},
    {0},
};

static error_t parse_where(int key, char *value, struct argp_state *state)
{
    struct or_lease_where *where = state->input;
    switch (key) {
    case OPT_COORDINATOR: where->coordinator = value; return 0;
    case OPT_CONFIG: where->config_path = value; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp or_lease_where_argp = {.options = where_options, .parser = parse_where};

enum onerow_status or_lease_find(struct or_lease_where *where, struct onerow_error *error)
{
    struct or_config_flags flags = {.config = where->config_path,
                                    .coordinator = where->coordinator,
                                    .no_file = where->coordinator != NULL};
    enum onerow_status status = or_config_load(&where->config, &flags, error);
    if (status != ONEROW_OK) {
        return status;
    }
    where->url = where->config.coordinator;
    if (!where->url) {
        return or_fail(error, ONEROW_CONFIG,
                       "no coordinator is named, where the leases are\n  give --coordinator "
                       "sqlite:PATH (this host only) or postgres://…, or write into %s:\n  "
                       "coordinator: \"sqlite:leases.db\"",
                       where->config.path ? where->config.path : "onerow.yaml");
    }
    if (strncmp(where->url, "memory:", 7) == 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "coordinator: memory: is of one process alone, and no other would see the "
                       "lease\n  --coordinator sqlite:PATH is for the processes of this host");
    }
    return ONEROW_OK;
}

void or_lease_where_finish(struct or_lease_where *where)
{
    or_config_finish(&where->config);
}

/* ---- verbs ------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    const char *arguments;
    const char *summary;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"run", "NAME -- COMMAND…", "runs a command while holding the lease NAME", or_lease_run},
    {"list", "[PREFIX]", "shows who holds what; --forced: what was taken away", or_lease_list},
    {"release", "--force NAME", "takes a lease away from whoever holds it",
     or_lease_release_by_force},
};

#define VERBS (sizeof verbs / sizeof *verbs)

static void print_help(FILE *out)
{
    fputs("Usage: onerow lease VERB [OPTION…] [ARGUMENT…]\n"
          "Named rights for some time, among all processes that use one coordinator.\n\n",
          out);
    for (size_t i = 0; i < VERBS; i++) {
        fprintf(out, "  %-8s %-17s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].summary);
    }
    fputs("\nonerow lease VERB --help tells the options. docs/leases.md says what a lease can and\n"
          "cannot promise.\n",
          out);
}

static int run(int argc, char **argv)
{
    static char name[64];
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-?") == 0) {
        print_help(stdout);
        return 0;
    }
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verb, verbs[i].name) == 0) {
            snprintf(name, sizeof name, "onerow lease %s", verb);
            argv[1] = name;
            return verbs[i].run(argc - 1, argv + 1);
        }
    }
    print_help(stderr);
    return onerow_status_exit(ONEROW_USAGE);
}

const struct or_command or_cmd_lease = {"lease", "run NAME -- CMD…|list|release",
                                        "run a command under a lease; see and free leases", run};
