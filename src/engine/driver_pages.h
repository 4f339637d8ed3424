/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts records into a store of pages. See the top of driver_pages.c.
 */
#ifndef OR_ENGINE_DRIVER_PAGES_H
#define OR_ENGINE_DRIVER_PAGES_H

#include "engine/driver_blocking.h"
#include "engine/pages_loop.h"

/* As or_drive_part, for a table with ONEROW_PAGES. */
ONEROW_CHECKED enum onerow_status or_pages_put(struct or_pages *pages, struct or_table *table,
                                               struct or_entry **entries, size_t n,
                                               const struct or_drive_options *options,
                                               struct or_arena *arena, struct onerow_error *error);
/* The same for records that relate to no others, whatever the table's relations; what becomes of
 * them is noted nowhere. */
ONEROW_CHECKED enum onerow_status or_pages_ensure(struct or_pages *pages, struct or_table *table,
                                                  struct or_entry **entries, size_t n,
                                                  const struct or_drive_options *options,
                                                  struct or_arena *arena,
                                                  struct onerow_error *error);

#endif
