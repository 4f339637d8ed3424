/* SPDX-License-Identifier: Apache-2.0
 *
 * In which order records of one batch are written that relate to each other.
 */
#ifndef OR_ENGINE_RELATION_ORDER_H
#define OR_ENGINE_RELATION_ORDER_H

#include "engine/entry.h"

#define OR_RELATION_WAVES 16U

/* waves[i] becomes the wave, from 1 to the answer, in which entries[i] is written: behind those of
 * this batch that it relates to, as far as they do not relate back, and no further than
 * OR_RELATION_WAVES. Entries are sorted; those of one key go together. 0: out of memory. */
ONEROW_CHECKED unsigned or_relations_order(const struct or_table *table, struct or_entry **entries,
                                           size_t n, struct or_arena *arena, uint8_t *waves);

#endif
