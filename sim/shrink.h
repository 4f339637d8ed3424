/* SPDX-License-Identifier: Apache-2.0
 *
 * A smaller schedule that fails in the same way, for somebody who has to understand it.
 */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "sim/sim.h"

#define SIM_SHRINK_RUNS 4000U /* at most */

/* sim_run, or what stands in for it in a test. */
typedef void sim_runner(const struct sim_config *config, struct sim_result *result,
                        sim_watch *watch, void *context);

/* Makes *config smaller as long as it shows the violation that it shows now; one that shows none is
 * left as it is. Fills *result with what the smaller one does. Returns the number of runs. The same
 * configuration leads to the same smaller one. */
unsigned sim_shrink(sim_runner *run, struct sim_config *config, struct sim_result *result);

#endif
