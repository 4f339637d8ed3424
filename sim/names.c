/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of what a run is made of.
 */
#include <assert.h>

#include "sim/places.h"

const char *sim_protocol_name(enum sim_protocol protocol)
{
    static const char *const NAMES[SIM_PROTOCOLS] = {
        [SIM_GUARDED] = "guarded", [SIM_DIRECT] = "direct",
        [SIM_NAIVE] = "naive",     [SIM_PROCESS_LOCK] = "process-lock",
        [SIM_LEASE] = "lease",     [SIM_LEASE_TOKEN] = "lease-token",
    };
    assert(protocol < SIM_PROTOCOLS);
    return NAMES[protocol];
}

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const NAMES[SIM_FAULTS] = {
#define NAME(name, text, what) [SIM_##name] = (text),
        SIM_FAULT_MAP(NAME)
#undef NAME
    };
    assert(fault < SIM_FAULTS);
    return NAMES[fault];
}

const char *sim_violation_text(enum sim_violation violation)
{
    static const char *const TEXTS[SIM_VIOLATIONS] = {
#define TEXT(name, text) [SIM_VIOLATION_##name] = (text),
        SIM_VIOLATION_MAP(TEXT)
#undef TEXT
    };
    assert(violation < SIM_VIOLATIONS);
    return TEXTS[violation];
}

const char *sim_sometimes_name(unsigned place, uint32_t *protocols)
{
    static const struct {
        const char *name;
        uint32_t protocols;
    } PLACES[SIM_PLACES] = {
#define PLACE(name, text, who) [SIM_PLACE_##name] = {(text), (who)},
        SIM_PLACE_MAP(PLACE)
#undef PLACE
    };
    if (place >= SIM_PLACES) {
        return NULL;
    }
    *protocols = PLACES[place].protocols;
    return PLACES[place].name;
}
