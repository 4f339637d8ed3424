/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver for stores of pages: runs the core's attempts, many at a time, over a store and a
 * ledger. It holds no protocol of its own. See the top of driver_pages.c.
 */
#ifndef OR_ENGINE_DRIVER_PAGES_H
#define OR_ENGINE_DRIVER_PAGES_H

#include "engine/driver_blocking.h"
#include "engine/governor.h"
#include "engine/ledger.h"

/* What a table of pages is written with. All is borrowed. */
struct or_pages {
    struct or_ledger *ledger;
    struct or_governor *governor;
    struct or_attempt_options attempt;
};

/* As or_drive_put, for a table with ONEROW_PAGES. */
ONEROW_CHECKED enum onerow_status or_pages_put(const struct or_pages *pages, struct or_table *table,
                                               struct or_entry **entries, size_t n,
                                               const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);

#endif
