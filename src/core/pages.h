/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages that carry one key: which of them has a right to it. For an attempt that looks before
 * it binds, and for the healer.
 *
 *  - Condemned pages do not count: what was given up is given up, even if it lives.
 *  - A page that belongs to another key had this key written onto it by a person. It is not
 *    adopted, and no second page is made beside it.
 *  - Among those that may be adopted, the ledger's own page wins, then one that a person edited,
 *    then the oldest, then the lowest id.
 */
#ifndef OR_CORE_PAGES_H
#define OR_CORE_PAGES_H

#include "core/ledger.h"

/* A live page that a probe found. */
struct or_probe_page {
    struct onerow_span id;
    uint64_t created_ms; /* the store's clock */
    bool edited;         /* by a person */
    bool attached;       /* it has children, or others relate to it */
};

struct or_choice {
    bool found;    /* one of them may be adopted: `winner` */
    size_t winner; /* index */
    bool taken;    /* one of them belongs to another key */
    size_t live;   /* how many were not given up */
};

/* `key` is the key's record, without a page of its own that lives: ABSENT, INTENT or TOMBSTONE. */
struct or_choice or_pages_choose(const struct or_key_record *key, struct onerow_span name,
                                 const struct or_probe_page *pages,
                                 const struct or_page_record *records, size_t n);

/* The swap that makes a page that was there the key's: to DONE at once, never through BOUND, for
 * nothing is to be published on it. `order`: its value in newest's column, or NULL. */
struct or_swap or_pages_adopt(const struct or_key_record *key, const struct or_probe_page *page,
                              const struct or_page_record *record,
                              const struct onerow_value *order);

#endif
