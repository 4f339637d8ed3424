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

struct or_put_range {
    size_t first;
    size_t count;
};

enum or_put_state {
    OR_PUT_IDLE,       /* between transactions */
    OR_PUT_BEGINNING,  /* BEGIN was commanded */
    OR_PUT_APPLYING,   /* APPLY was commanded */
    OR_PUT_COMMITTING, /* COMMIT was commanded */
    OR_PUT_UNDOING,    /* ROLLBACK was commanded; `status` says what comes next */
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
};

/* Prepares a batch of n > 0 records. */
void or_put_init(struct or_put *put, size_t n, bool dry_run);

/* Takes the answer to the last command (OK for the first call and for SETTLE and ROLLBACK) and
 * fills the next command. Must not be called after END. */
void or_put_step(struct or_put *put, enum onerow_status answer, struct or_put_command *command);

#endif
