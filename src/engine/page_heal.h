/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow heal`: puts right what a table of pages may have been left with. See the top of
 * page_heal.c.
 */
#ifndef OR_ENGINE_PAGE_HEAL_H
#define OR_ENGINE_PAGE_HEAL_H

#include "engine/entry.h"
#include "engine/pages_stats.h"

enum or_heal_what {
    OR_HEAL_EVERYTHING,
    OR_HEAL_FORGET, /* the store does not find the key's page any more: another one may be made */
    OR_HEAL_REKEY,  /* a page was given this key by a person, who meant it */
};

struct or_heal_report {
    uint64_t swept;     /* blanks that are in the trash now */
    uint64_t young;     /* that may still be bound: left for the next time */
    uint64_t foreign;   /* of another ledger: somebody else writes here, or this ledger is new */
    uint64_t settled;   /* keys whose write was brought to an end */
    uint64_t adopted;   /* keys that had no page, and have one now */
    uint64_t trashed;   /* second pages that are in the trash now */
    uint64_t moved;     /* that lost their key: they have content, or a person edited them */
    uint64_t early;     /* keys of which something may still arrive: heal again later */
    uint64_t taken;     /* pages with a key that is not theirs in the ledger: --rekey */
    uint64_t gone;      /* keys whose page is in the trash, or not to be found */
    uint64_t undone;    /* that could not be finished in the time allowed, or are too long */
    uint64_t keyless;   /* pages without a valid key */
    bool suspect;       /* the ledger was rolled back … */
    bool confirmed;     /* … and knows all pages again */
    char journal[4096]; /* the file that names every page that was put away; or empty */
    struct or_pages_stats pages;
};

/* `key` (bound) is for FORGET and REKEY. LEFT: something is left to be done; the report says what.
 * ABSENT: (FORGET) the key has no page, (REKEY) no page with it belongs to another key. BUSY:
 * (REKEY) something may still arrive at that page. */
ONEROW_CHECKED enum onerow_status
or_page_heal(struct or_table *table, enum or_heal_what what, const struct or_entry *key,
             const volatile bool *stop, struct or_heal_report *report, struct onerow_error *error);

#endif
