/* SPDX-License-Identifier: Apache-2.0
 *
 * A ledger of one key and four pages, for stories about core/attempt.c, heal.c and sweep.c.
 */
#ifndef OR_TESTS_STORY_H
#define OR_TESTS_STORY_H

#include "core/attempt.h"

struct story_ledger {
    struct or_key_record key;
    struct or_page_record pages[4]; /* of p1 to p4 */
    struct or_nonce taken[8];
    struct or_attempt_record takes[8];
    size_t n_taken;
    uint64_t now_ms; /* its clock, and that of everybody else */
};

extern const struct onerow_span story_pages[4];

/* What "text" stands for: it has its first letter as order value and all over its fingerprint. */
struct or_payload story_payload(const char *text);

/* Fills the answer to a READ; the pages' records lie in static memory until the next call. */
void story_read(const struct story_ledger *ledger, const struct or_command *command,
                struct or_event *event);

/* Does what a swap says, or refuses it. */
enum or_answer story_swap(struct story_ledger *ledger, const struct or_swap *swap);

#endif
