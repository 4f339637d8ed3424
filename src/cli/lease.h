/* SPDX-License-Identifier: Apache-2.0
 *
 * What the verbs of `onerow lease` share.
 */
#ifndef OR_CLI_LEASE_H
#define OR_CLI_LEASE_H

#include "cli/cli.h"

int or_lease_run(int argc, char **argv);
int or_lease_list(int argc, char **argv);
int or_lease_release_by_force(int argc, char **argv);

/* Where the leases are. */
struct or_lease_where {
    const char *coordinator; /* --coordinator */
    const char *config_path; /* --config */
    struct or_config config; /* filled by or_lease_find */
    const char *url;         /* filled: in the configuration, or the flag itself */
};

/* --coordinator and --config. Give the address of a where as the input of the child parser. */
extern const struct argp or_lease_where_argp;

/* Reads the configuration, unless --coordinator is given. CONFIG: nobody names a coordinator, or
 * one that other processes would not see. On every return or_lease_where_finish may be called. */
ONEROW_CHECKED enum onerow_status or_lease_find(struct or_lease_where *where,
                                                struct onerow_error *error);
void or_lease_where_finish(struct or_lease_where *where);

#endif
