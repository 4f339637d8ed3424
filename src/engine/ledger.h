/* SPDX-License-Identifier: Apache-2.0
 *
 * A table's ledger: a namespace of a coordinator, in the core's terms.
 */
#ifndef OR_ENGINE_LEDGER_H
#define OR_ENGINE_LEDGER_H

#include "core/attempt.h"
#include "engine/config.h"

struct or_ledger {
    struct onerow_coordinator *coordinator;
    bool borrowed; /* the coordinator is somebody else's */
    const struct onerow_ledger_ops *ops;
    struct onerow_ledger_namespace space;
    uint64_t next_number; /* of those that were reserved */
    uint64_t numbers_left;
};

/* Opens the coordinator of this URL and enters the namespace of `target` (a store's kind and the
 * target's own name for itself). *stop gives up waiting for it (NULL: never). CONFIG: there is no
 * such coordinator, or the namespace was made for another key or another protocol. */
ONEROW_CHECKED enum onerow_status or_ledger_open(struct or_ledger *ledger, const char *coordinator,
                                                 struct onerow_span target,
                                                 struct onerow_span definition,
                                                 const volatile bool *stop,
                                                 struct onerow_error *error);
/* Likewise over one that is open already, and outlives the ledger. */
ONEROW_CHECKED enum onerow_status or_ledger_enter(struct or_ledger *ledger,
                                                  struct onerow_coordinator *coordinator,
                                                  struct onerow_span target,
                                                  struct onerow_span definition,
                                                  struct onerow_error *error);
void or_ledger_close(struct or_ledger *ledger); /* one that is all zeros is accepted */

/* A number for nonces. */
ONEROW_CHECKED enum onerow_status or_ledger_number(struct or_ledger *ledger, uint64_t *number,
                                                   struct onerow_error *error);

/* The key's name in a ledger: its canonical form, or, of one that is too long for a name, its
 * digest. In the arena, or the key itself. False: out of memory. */
ONEROW_CHECKED bool or_ledger_name(struct onerow_span key, struct or_arena *arena,
                                   struct onerow_span *name);

/* What all users of a namespace must agree on. */
void or_ledger_definition(const struct onerow_table_spec *spec, const enum onerow_type *key_types,
                          enum or_protocol protocol, enum or_deletion deletion,
                          struct or_buffer *definition);

/* The body of the key's record that was last read: a pending payload may be large, and is looked at
 * again and again. All zeros: none. */
struct or_ledger_kept {
    uint64_t revision;
    struct onerow_span body;
};

/* One READ of an attempt, healer or sweeper, and its answer. */
struct or_ledger_question {
    struct onerow_span key;           /* its name; no data: no key's record */
    const struct or_command *command; /* READ */
    struct or_event *event;           /* filled: key, attempt, records, ledger_ms, answer */
    struct or_page_record *pages;     /* room for the command's n_pages */
    struct or_ledger_kept *kept;      /* of this key; lives as long as the arena's contents */
    struct or_arena *arena;           /* for what the event borrows */
};
/* All of them as of one moment. CORRUPT: a record is none that this version can read. UNAVAILABLE
 * and the like: the ledger was not to be had; each event's answer is FAILED then. */
ONEROW_CHECKED enum onerow_status or_ledger_read(struct or_ledger *ledger,
                                                 struct or_ledger_question *questions, size_t n,
                                                 struct onerow_error *error);

/* One SWAP, and its answer: OK, REFUSED, or, of all of them, FAILED (with the status), UNCERTAIN
 * (UNKNOWN). */
ONEROW_CHECKED enum onerow_status or_ledger_swap(struct or_ledger *ledger,
                                                 struct or_ledger_question *questions, size_t n,
                                                 struct onerow_error *error);

#endif
