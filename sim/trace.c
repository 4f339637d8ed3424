/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 64U

void sim_trace_init(struct sim_trace *trace)
{
    memset(trace, 0, sizeof *trace);
}

void sim_trace_finish(struct sim_trace *trace)
{
    free(trace->entries);
    sim_trace_init(trace);
}

static bool make_room(struct sim_trace *trace)
{
    if (trace->n < trace->room) {
        return true;
    }
    size_t room = trace->room ? 2 * trace->room : ROOM_FIRST;
    struct sim_trace_entry *entries =
        trace->n < SIM_TRACE_MAX ? realloc(trace->entries, room * sizeof *entries) : NULL;
    if (entries) {
        trace->entries = entries;
        trace->room = room;
    }
    trace->failed |= !entries;
    return entries != NULL;
}

void sim_trace_watch(void *context, const struct sim_entry *entry)
{
    struct sim_trace *trace = context;
    if (!make_room(trace)) {
        return;
    }
    struct sim_trace_entry *kept = &trace->entries[trace->n++];
    *kept = (struct sim_trace_entry){.at_us = entry->at_us,
                                     .lane = entry->lane,
                                     .worker = entry->worker,
                                     .is_fault = entry->is_fault};
    snprintf(kept->text, sizeof kept->text, "%s", entry->what);
}
