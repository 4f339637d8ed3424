/* SPDX-License-Identifier: Apache-2.0
 *
 * What a store that counts requests is opened behind: its governor, and the coordinator that shares
 * the windows. It is there before the store, whose first question needs leave, too.
 */
#ifndef OR_ENGINE_GATE_H
#define OR_ENGINE_GATE_H

#include "engine/config.h"
#include "engine/governor.h"

struct or_gate {
    struct onerow_gate base; /* first: what the store is given */
    struct or_governor *governor;
    struct onerow_coordinator
        *coordinator; /* NULL: windows are this table's own, or there are none */
    const char *url;  /* of the coordinator; borrowed */
    char *budget;     /* owned */
    uint64_t wait_ms;
    const volatile bool *stop;
};

/* For a store of this type, opened with these options (whose strings outlive it). `bulk`: one
 * request goes ahead of the others. */
ONEROW_CHECKED enum onerow_status or_gate_open(const struct or_config_table *config,
                                               const struct onerow_store_type *type,
                                               const struct onerow_store_options *options,
                                               bool bulk, struct or_gate **gate,
                                               struct onerow_error *error);
/* After the store. NULL is accepted. */
void or_gate_close(struct or_gate *gate);

#endif
