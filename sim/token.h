/* SPDX-License-Identifier: Apache-2.0
 *
 * A schedule as a text: everything that sim_run needs, safe in a URL and on a command line. It has
 * a version and a check sum, so that a token of another version, or one that was mistyped, is
 * refused instead of running something else.
 */
#ifndef SIM_TOKEN_H
#define SIM_TOKEN_H

#include "onerow/onerow.h"
#include "sim/sim.h"

#define SIM_TOKEN_VERSION 1U
#define SIM_TOKEN_MAX     480U /* with its NUL */

/* The configuration must be a valid one; `muted` ascends. */
void sim_token_write(const struct sim_config *config, char token[SIM_TOKEN_MAX]);

/* False: it is no token, and *reason (static) says why. There is one token for one configuration:
 * what is read here would be written the same. */
ONEROW_CHECKED bool sim_token_read(const char *token, struct sim_config *config,
                                   const char **reason);

#endif
