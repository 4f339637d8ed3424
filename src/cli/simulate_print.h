/* SPDX-License-Identifier: Apache-2.0
 *
 * What `onerow simulate` says: sums, verdicts, schedules as time tables and pictures.
 */
#ifndef OR_CLI_SIMULATE_PRINT_H
#define OR_CLI_SIMULATE_PRINT_H

#include "cli/simulate_run.h"

/* Fewer schedules need not reach every place. */
#define OR_SIMULATE_ENOUGH 100000U

/* Whether nothing was narrowed, so that a large run must reach every place of its protocol. */
bool or_simulate_is_whole(const struct or_simulation *run);
/* Places of the protocol that no schedule reached. */
unsigned or_simulate_missed(const struct or_simulation *run, const struct or_simulated *sum);

/* The sums, on stdout. */
void or_simulate_print(const struct or_simulation *run, const struct or_simulated *sum);
/* The same as one JSON object. `smaller` and `result` are those of the failed schedule after
 * shrinking; NULL: nothing failed, or it cannot run to its end. */
void or_simulate_print_json(const struct or_simulation *run, const struct or_simulated *sum,
                            const struct sim_config *smaller, const struct sim_result *result);

/* One line: protocol, sizes, faults, seed. Static; valid until the next call. */
const char *or_simulate_describe(const struct sim_config *config);

/* Runs one schedule and draws it: the table on stdout unless `quiet`, and into `svg` (a path, or
 * NULL) as a picture. */
ONEROW_CHECKED enum onerow_status or_simulate_draw(const struct sim_config *config, bool quiet,
                                                   const char *svg, struct sim_result *result,
                                                   struct onerow_error *error);

#endif
