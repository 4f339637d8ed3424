/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol of a put into a store with transactions: a step function. See the
 * top of put.c.
 */
#ifndef OR_CORE_PUT_H
#define OR_CORE_PUT_H

#include "onerow/extend.h"

enum or_put_do {
    OR_PUT_BEGIN,    /* start a transaction */
    OR_PUT_APPLY,    /* write records [first, first + count) in it */
    OR_PUT_COMMIT,   /* end it */
    OR_PUT_ROLLBACK, /* undo it; always answered with OK */
    OR_PUT_RESOLVE,  /* its COMMIT answered UNKNOWN: ask the store what became of it. A store that
                        never can tell is answered for with its failure behind the UNKNOWN */
    OR_PUT_LOOK,     /* the records stay in doubt: see what rows there are; any answer will do */
    OR_PUT_SETTLE,   /* records [first, first + count) have their outcome: `outcome`, or, when that
                        is PENDING, what the store's verdict on each of them said */
    OR_PUT_END,      /* no more commands; `status` is how the batch ended */
};

struct or_put_command {
    enum or_put_do what;
    size_t first;
    size_t count;
    enum onerow_outcome outcome; /* SETTLE */
    enum onerow_status status;   /* END, and why a SETTLE refuses or doubts */
};

#define OR_PUT_DEPTH 64U /* halvings of a batch; a size_t has no more */

/* RETRY answers in a row. The first two are met with the same transaction once more, the next ones
 * with smaller ones: two writers who keep deadlocking do so over fewer rows. With the tenth, the
 * range is refused: at most 3 + 2 + 4 + … + 128 = 257 transactions, however large the batch. */
#define OR_PUT_RETRIES       10U
#define OR_PUT_RETRIES_WHOLE 3U

struct or_put_range {
    size_t first;
    size_t count;
    unsigned retried; /* RETRY answers in a row */
    bool clashed;     /* its one record has been tried once more after a CLASH */
};

enum or_put_state {
    OR_PUT_IDLE,       /* between transactions */
    OR_PUT_BEGINNING,  /* BEGIN was commanded */
    OR_PUT_APPLYING,   /* APPLY was commanded */
    OR_PUT_COMMITTING, /* COMMIT was commanded */
    OR_PUT_UNDOING,    /* ROLLBACK was commanded; `failed` says what comes next */
    OR_PUT_RESOLVING,  /* RESOLVE was commanded */
    OR_PUT_LOOKING,    /* LOOK was commanded */
    OR_PUT_ABANDONING, /* the store failed: the ranges left are settled as not written */
    OR_PUT_ENDED,
};

struct or_put {
    enum or_put_state state;
    enum onerow_status status; /* worst so far */
    enum onerow_status failed; /* why the current transaction failed */
    bool dry_run;              /* every transaction is rolled back instead of committed */
    struct or_put_range now;
    struct or_put_range stack[OR_PUT_DEPTH]; /* ranges still to do, the next one on top */
    unsigned depth;
    /* for the curious */
    uint64_t transactions; /* COMMITs commanded */
    uint64_t retries;      /* transactions that were a range's second, third, … */
    uint64_t bisects;      /* halvings */
};

/* Prepares a batch of n > 0 records. */
void or_put_init(struct or_put *put, size_t n, bool dry_run);

/* Takes the answer to the last command (OK for the first call and for SETTLE and ROLLBACK) and
 * fills the next command. Must not be called after END. */
void or_put_step(struct or_put *put, enum onerow_status answer, struct or_put_command *command);

#endif
