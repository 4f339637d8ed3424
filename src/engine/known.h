/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run knows of keys that relations name: pages that were found a moment ago, and records
 * that were rejected. A bounded memory: what is forgotten is asked for again.
 */
#ifndef OR_ENGINE_KNOWN_H
#define OR_ENGINE_KNOWN_H

#include "engine/letters.h"

#define OR_KNOWN_MAX 4096U /* keys */
#define OR_KNOWN_MS                                                                                \
    10000U /* for so long a page counts as the key's without a look at the ledger                  \
            */

struct or_known_key;

struct or_known {
    struct or_known_key *keys; /* a hash; those that came last are its end */
    bool states;               /* of pages that were made for their key alone: or_known_made */
};

void or_known_finish(struct or_known *known);

/* The key's page, in the arena. No data: it is not known, or was found too long ago; *no_memory:
 * which of both cannot be told. */
struct onerow_span or_known_page(struct or_known *known, const struct or_table *table,
                                 struct onerow_span key, struct or_arena *arena, bool *no_memory);
/* Whether the last record of the key was rejected. */
bool or_known_rejected(struct or_known *known, const struct or_table *table,
                       struct onerow_span key);
/* A page was made for the key alone: what a dead letter would say of it now. */
void or_known_note_made(struct or_known *known, struct or_entry *entry);
/* Whether such a page is as it was then, where `state` is what it is now. */
bool or_known_made(struct or_known *known, const struct or_table *table, struct onerow_span key,
                   const char *state);
/* What became of a record. One of a table without pages, or without a key, is passed over; a known
 * that is NULL is accepted. */
void or_known_note(struct or_known *known, const struct or_entry *entry);

#endif
