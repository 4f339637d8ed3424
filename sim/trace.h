/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened in a run, kept to be drawn: a sim_watch that copies every entry.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include "sim/sim.h"

#define SIM_TRACE_TEXT 96U
#define SIM_TRACE_MAX  100000U /* entries; a run has at most 20,000 events */

struct sim_trace_entry {
    uint64_t at_us;
    enum sim_lane lane;
    unsigned worker;
    bool is_fault;
    char text[SIM_TRACE_TEXT];
};

struct sim_trace {
    struct sim_trace_entry *entries; /* owned */
    size_t n;
    size_t room;
    bool failed; /* no memory, or too many entries: those after that are missing */
};

void sim_trace_init(struct sim_trace *trace);
void sim_trace_finish(struct sim_trace *trace);
/* A sim_watch; the context is a struct sim_trace. */
void sim_trace_watch(void *context, const struct sim_entry *entry);

#endif
