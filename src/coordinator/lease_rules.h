/* SPDX-License-Identifier: Apache-2.0
 *
 * What leases have in common wherever this program decides about them itself. See the top of
 * lease_rules.c.
 */
#ifndef OR_COORDINATOR_LEASE_RULES_H
#define OR_COORDINATOR_LEASE_RULES_H

#include "base/wake.h"
#include "onerow/extend.h"

/* Who keeps a lock on something while they live, as the adapter remembers it; zeros: nobody can
 * tell whether they do. */
struct or_book_session {
    uint64_t number;
    uint64_t inode;
    uint64_t device;
};

/* A lease as the book has it. */
struct or_book_lease {
    bool taken; /* somebody has it, though it may have run out */
    unsigned char nonce[ONEROW_NONCE];
    uint64_t token; /* the last one that was given; 0: none ever */
    uint64_t expires_ms;
    struct or_book_session session;
};

/* Somebody in the queue. */
struct or_book_waiter {
    uint64_t place; /* rises along the queue; 0: there is nobody */
    unsigned char nonce[ONEROW_NONCE];
    uint64_t granted_ms; /* for how long it gets the lease at first */
    uint64_t floor;
    struct or_book_session session;
    char wake[ONEROW_LEASE_WAKE_MAX];
    size_t wake_len;
};

/* Who is to hear that the lease is his, once that is committed. */
struct or_book_news {
    bool any;
    char wake[ONEROW_LEASE_WAKE_MAX];
    size_t wake_len;
    struct or_wake_message message;
};

struct or_book;

/* What an adapter does for the rules, within one step. Each returns 0, or a code of the adapter's
 * that ends the step; then the adapter undoes what was done in it. */
struct or_book_ops {
    int (*find)(struct or_book *book, struct onerow_span name, struct or_book_lease *lease);
    /* The claim has it, under this token, for its whole time; from a place in the queue, or from
     * none (0). It may be the first lease of that name. */
    int (*take)(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token,
                uint64_t place);
    /* The claim, which has it, keeps it for its whole time. */
    int (*keep)(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token);
    /* The waiter has it, and leaves the queue. */
    int (*hand)(struct or_book *book, struct onerow_span name, const struct or_book_waiter *waiter,
                uint64_t token);
    int (*give_up)(struct or_book *book, struct onerow_span name); /* nobody has it */

    /* The first one in the queue who is live; those before are put out. */
    int (*front)(struct or_book *book, struct onerow_span name, struct or_book_waiter *waiter);
    /* The claim's own place; 0: none. */
    int (*own)(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t *place);
    /* The claim is live in the queue for its patience: at this place, or (0) at the end, and *place
     * tells which that is. */
    int (*line_up)(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t *place);
    int (*leave)(struct or_book *book, struct onerow_span name, uint64_t place);
    /* How many wait whose patience is not over, before this place. */
    int (*count)(struct or_book *book, struct onerow_span name, uint64_t place, uint64_t *n);

    /* False: whoever had this session is dead, for certain. */
    bool (*lives)(struct or_book *book, const struct or_book_session *session);
    /* Notes that the lease is taken away by force; fills who, which is in the arena. */
    int (*note)(struct or_book *book, struct onerow_lease_forced *forced, struct or_arena *arena);
};

/* Base of an adapter's book; its first member. */
struct or_book {
    const struct or_book_ops *ops;
    uint64_t now_ms;  /* or_wake_now_ms, and */
    uint64_t wall_ms; /* in ms since 1970, both read within the step */
    uint64_t base;    /* tokens are above it */
    struct or_book_news news;
};

/* Begins a step: reads the clocks. */
void or_book_begin(struct or_book *book);

/* The calls of struct onerow_lease_ops, each within a step. */
ONEROW_CHECKED int or_book_acquire(struct or_book *book, struct onerow_lease_claim *claim);
ONEROW_CHECKED int or_book_renew(struct or_book *book, struct onerow_lease_claim *claim);
ONEROW_CHECKED int or_book_release(struct or_book *book, struct onerow_lease_claim *claim);
ONEROW_CHECKED int or_book_cancel(struct or_book *book, struct onerow_lease_claim *claim);
/* *found: somebody held it. */
ONEROW_CHECKED int or_book_force(struct or_book *book, struct onerow_lease_forced *forced,
                                 struct or_arena *arena, bool *found);

/* After the step was committed: wakes whoever got a lease by it. */
void or_book_tell(const struct or_book *book);

/* The duties of callers: a breach is a bug, and ends the program. */
void or_book_check(const struct onerow_lease_claim *claim);
void or_book_check_name(struct onerow_span name);

#endif
