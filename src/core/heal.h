/* SPDX-License-Identifier: Apache-2.0
 *
 * The healer: puts right what one key may have been left with. See the top of heal.c.
 */
#ifndef OR_CORE_HEAL_H
#define OR_CORE_HEAL_H

#include "core/attempt.h"

enum or_heal_state {
    OR_HEAL_START,
    OR_HEAL_PROBING,    /* PROBE */
    OR_HEAL_READING,    /* READ of the key's record and those of the found pages */
    OR_HEAL_WAITING,    /* WAIT; afterwards PROBE */
    OR_HEAL_WEIGHING,   /* GET of a page before it is adopted: its order value */
    OR_HEAL_ADOPTING,   /* SWAP */
    OR_HEAL_CONDEMNING, /* SWAP */
    OR_HEAL_DISPOSING,  /* TRASH or MOVE_KEY */
    OR_HEAL_LOOKING,    /* GET of the key's page: what does it hold? */
    OR_HEAL_CLEARING,   /* SWAP: it is as it should be */
    OR_HEAL_REOPENING,  /* SWAP to WRITING: it is not */
    OR_HEAL_SETTLED,
};

struct or_heal {
    struct onerow_span name; /* the key's canonical form; borrowed */
    struct or_bounds bounds;
    const struct or_retry_limits *limits;
    struct or_nonce nonce; /* of a write that it reopens */
    enum or_heal_state state;
    struct or_retry retry;
    struct or_swap swap;
    struct or_key_record key;
    uint64_t ledger_ms;
    struct or_probe_page candidates[OR_ATTEMPT_PAGES];
    struct onerow_span found[OR_ATTEMPT_PAGES];
    bool passed[OR_ATTEMPT_PAGES]; /* nothing more can be done about this one */
    size_t n_found;
    size_t loser; /* index of the one at hand */
    size_t winner;
    struct or_page_record winner_record;
    /* once settled */
    unsigned trashed; /* losers that are in the trash */
    unsigned
        moved;     /* losers that had something attached, or were edited: their key was moved out */
    unsigned left; /* pages with this key that belong to another one: for `heal --rekey` */
    bool adopted;  /* the key had no page, and has one now */
    bool pending;  /* something is being written: settle that first (or_attempt without a record),
                      then heal again */
    bool doubtful; /* too early to look at the values: heal again later */
    bool gone;     /* its page is not to be found, or in the trash, or lost its key */
    bool gave_up;  /* not finished in the time allowed */
};

/* `number` is the healer's own, from the ledger's `reserve`. */
void or_heal_init(struct or_heal *heal, struct onerow_span name, const struct or_bounds *bounds,
                  const struct or_retry_limits *limits, uint64_t number);

/* As or_attempt_step. */
void or_heal_step(struct or_heal *heal, const struct or_event *event, struct or_command *command);

/* `heal --forget KEY`: the way out where the store does not find a page any more. The swap gives
 * the page up; the next BIND waits until nothing can arrive at it. Outside of the promise, if the
 * page lives after all. The key's record must have a page. */
struct or_swap or_heal_forget(const struct or_key_record *key);

/* `heal --rekey`: a person gave this key's page another key, and that is to stand. The swap lets
 * the page go without giving it up, so that the other key adopts it. The caller has seen that the
 * page lives and carries the other key. Only while nothing may arrive at it any more (`ledger_ms`:
 * the ledger's clock when the record was read); until then it would write the old key back. */
bool or_heal_may_let_go(const struct or_key_record *key, const struct or_bounds *bounds,
                        uint64_t ledger_ms);
struct or_swap or_heal_let_go(const struct or_key_record *key);

#endif
