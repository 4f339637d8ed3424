/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters of queries. See the top of nsim_filter.c.
 */
#ifndef OR_NOTION_SIM_NSIM_FILTER_H
#define OR_NOTION_SIM_NSIM_FILTER_H

#include "notion_sim/nsim_call.h"

struct or_nsim_filter;

/* Reads the filter; it lives in the call's arena. */
ONEROW_CHECKED bool or_nsim_filter_read(struct or_nsim_call *call,
                                        const struct or_nsim_source *source, yyjson_val *json,
                                        struct or_nsim_filter **filter);
bool or_nsim_filter_matches(const struct or_nsim_filter *filter, const struct or_nsim_page *page,
                            const struct or_nsim_version *version);

#endif
