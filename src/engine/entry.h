/* SPDX-License-Identifier: Apache-2.0
 *
 * An entry: one record on its way through the engine, from its line to its outcome.
 */
#ifndef OR_ENGINE_ENTRY_H
#define OR_ENGINE_ENTRY_H

#include "engine/table.h"
#include "input/input.h"

struct or_entry {
    struct onerow_record record;   /* ready for the store while outcome is PENDING */
    struct or_table *table;        /* NULL: the line could not even be told its table */
    struct onerow_span table_name; /* what an envelope said instead */
    uint64_t line;
    uint64_t prefix;              /* of the key, for sorting */
    struct or_entry *folded_into; /* the entry that carried this key's last value; NULL: itself */
    const char *reason;
    struct onerow_span id;
    struct onerow_span json; /* a rejected record as JSON; or, when it could not be read … */
    struct onerow_span raw;  /* … its bytes, or their beginning */
    uint64_t raw_len;        /* how many they were */
    uint16_t input;          /* index of the input it came from */
    uint8_t outcome;         /* enum onerow_outcome */
    bool has_key;            /* record.values begin with the key, whatever the outcome */
    bool untyped;            /* from CSV: its texts take their columns' types */
    bool twins;              /* several pages were seen to carry the key */
};

/* Fills the entry from what was read: columns by name, the key in its canonical form. What is wrong
 * with the record becomes the outcome REFUSED with a reason. Everything lies in the arena. False:
 * out of memory. */
ONEROW_CHECKED bool or_entry_bind(struct or_entry *entry, struct or_table *table,
                                  const struct or_item *item, struct or_arena *arena);

/* Refuses an entry; `reason` must live as long as the entry. */
void or_entry_refuse(struct or_entry *entry, const char *reason);

/* Keeps what was read as JSON, for the dead letter of a record that never gets as far as a store.
 * False: out of memory. */
ONEROW_CHECKED bool or_entry_keep(struct or_entry *entry, const struct or_item *item,
                                  struct or_arena *arena);

/* Sorts entries by table (by their numbers), then roughly as an index would, equal
 * keys in arrival order. Where the store's own equality counts, only it knows which keys are equal,
 * so that table's entries stay in arrival order. */
void or_entries_sort(struct or_entry **entries, size_t n);

#endif
