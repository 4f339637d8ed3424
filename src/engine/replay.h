/* SPDX-License-Identifier: Apache-2.0
 *
 * Trying dead letters again. The rules are at the top of replay.c.
 */
#ifndef OR_ENGINE_REPLAY_H
#define OR_ENGINE_REPLAY_H

#include "engine/dead_letter.h"
#include "onerow/extend.h"

struct or_replay_options {
    const char *folder;     /* NULL: the user's */
    const char *table;      /* only letters of this table; NULL: all */
    const char *const *ids; /* only these letters */
    size_t n_ids;           /* 0: all */
    bool force;             /* write over rows that changed since */
    uint64_t wait_ms;
    const char *coordinator; /* in place of the configured one, or of none; NULL: that one */
    const volatile bool *stop;
    /* Called for every letter that stays. May be NULL. */
    void (*stays)(void *context, const struct or_letter *letter, const char *reason);
    void *context;
};

struct or_replay_stats {
    uint64_t tried;
    uint64_t outcome[6]; /* by enum onerow_outcome, of those that were written */
    uint64_t changed;    /* refused: the row changed since, or that cannot be told */
    uint64_t rejected;   /* refused again, or never readable */
    size_t held;         /* files that another run or replay holds */
};

/* OK: every letter that was asked for is gone. LEFT: some stay. Else the store or folder failed;
 * the letters that were written are gone all the same. */
ONEROW_CHECKED enum onerow_status or_replay(const struct or_replay_options *options,
                                            struct or_replay_stats *stats,
                                            struct onerow_error *error);

#endif
