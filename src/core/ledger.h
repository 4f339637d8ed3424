/* SPDX-License-Identifier: Apache-2.0
 *
 * What the ledger's records mean (extend.h has them as names, states and bytes):
 *
 *   key      what became of a key: its page, generation and version, and what is being written
 *   page     to which key a page was given, or that it was given up
 *   attempt  that the step with this nonce was taken, and whether it was refused since
 *
 * A *generation* is one page's time under a key: it rises when the key gives its page, or an
 * intent, up. A *version* is one write within it. Everything changes by or_swap, a compare-and-set
 * over all records that it names.
 */
#ifndef OR_CORE_LEDGER_H
#define OR_CORE_LEDGER_H

#include "onerow/extend.h"

#define OR_FINGERPRINT_LEN 32U  /* SHA-256 of what a record writes */
#define OR_PAGE_ID_MAX     128U /* bytes of a page's id */

enum or_key_state {
    OR_KEY_NONE = 0,      /* never written; read as ABSENT of generation 0 */
    OR_KEY_ABSENT = 1,    /* no page has the key, as far as onerow knows */
    OR_KEY_BOUND = 2,     /* a page was given to the key; the pending payload is to be published */
    OR_KEY_WRITING = 3,   /* published before; the pending payload is the next version */
    OR_KEY_DONE = 4,      /* the page holds `version` */
    OR_KEY_TOMBSTONE = 5, /* somebody deleted the page, and it stays deleted */
    OR_KEY_INTENT = 6,    /* direct: the holder of the nonce may create a page with the key */
};

enum or_page_state {
    OR_PAGE_UNRECORDED = 0,
    OR_PAGE_BLANK = 1,     /* made by onerow, given to no key yet */
    OR_PAGE_BOUND = 2,     /* given to `key` in `generation` */
    OR_PAGE_CONDEMNED = 3, /* given up, for ever */
};

enum or_attempt_mark {
    OR_ATTEMPT_NONE = 0,    /* the step was not taken */
    OR_ATTEMPT_TAKEN = 1,   /* it was */
    OR_ATTEMPT_REFUSED = 2, /* it was, and the store has refused its payload for good */
};

/* Names one step of one attempt. `number` is of the ledger's `reserve`; 0: no nonce. */
struct or_nonce {
    uint64_t number;
    uint32_t step;
};

/* What a record wants to be written. `text` is for the store's adapter; its bytes mean nothing
 * here. `order` is the value of newest's column (data NULL: NULL). */
struct or_payload {
    struct onerow_span text;
    uint8_t fingerprint[OR_FINGERPRINT_LEN];
    struct onerow_value order;
};

struct or_key_record {
    uint64_t revision;
    enum or_key_state state;
    uint64_t since_ms; /* ledger's clock; see attempt.c */
    bool doubtful;     /* a write before or of this version may still arrive */
    bool known;        /* `fingerprint` is that of the last version; not so for an adopted page */
    uint64_t generation;
    uint64_t version;
    struct onerow_span page; /* id; data NULL: none */
    uint8_t fingerprint[OR_FINGERPRINT_LEN];
    struct onerow_value order; /* of the last version */
    struct or_nonce nonce;     /* of the pending payload */
    struct or_payload
        pending; /* text.data NULL: none. Kept in DONE while doubtful, for the healer */
};

struct or_page_record {
    uint64_t revision;
    enum or_page_state state;
    uint64_t since_ms;
    struct onerow_span key; /* BOUND: its canonical form */
    uint64_t generation;
};

struct or_attempt_record {
    enum or_attempt_mark state;
    uint64_t generation;
    uint64_t version;
};

/* One compare-and-set, in the core's terms. The key's record must be at `revision`, which covers
 * everything in it. */
struct or_swap {
    uint64_t revision;
    struct or_key_record becomes; /* without revision and since_ms */
    bool no_key;                  /* no key's record is named: only the page counts */
    bool keep_key;                /* the key's record is only a condition */
    bool stamp;                   /* its since_ms becomes the ledger's clock */

    struct onerow_span page;         /* data NULL: no page is named */
    uint64_t page_revision;          /* or ONEROW_LEDGER_ANY */
    uint32_t page_states;            /* accepted ones: 1U << enum or_page_state */
    enum or_page_state page_becomes; /* UNRECORDED: only a condition */

    struct or_nonce
        taken; /* this nonce is noted as TAKEN at becomes.generation and .version; once */
    struct or_nonce refused; /* this one as REFUSED */
};

static inline bool or_nonce_equal(struct or_nonce a, struct or_nonce b)
{
    return a.number == b.number && a.step == b.step;
}

#define OR_NONCE_TEXT 34U /* "18446744073709551615.4294967295" and its NUL */
/* "NUMBER.STEP": the name of the attempt's record, and the end of a blank's title. */
size_t or_nonce_text(struct or_nonce nonce, char text[OR_NONCE_TEXT]);
/* False: it is no nonce as or_nonce_text writes it. */
bool or_nonce_parse(struct onerow_span text, struct or_nonce *nonce);

/* Bytes that the bodies and names of a swap take at most. */
size_t or_swap_room(const struct or_swap *swap, struct onerow_span key);
/* The swap as the ledger takes it; bodies and names lie in `room` (or_swap_room bytes). Returns the
 * number of changes. */
size_t or_swap_encode(const struct or_swap *swap, struct onerow_span key,
                      struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES], char *room);

/* Records as they were read; spans are borrowed from the record's body. False: these bytes were
 * written by no version of onerow that this one knows. */
ONEROW_CHECKED bool or_key_decode(const struct onerow_ledger_record *record,
                                  struct or_key_record *key);
ONEROW_CHECKED bool or_page_decode(const struct onerow_ledger_record *record,
                                   struct or_page_record *page);
ONEROW_CHECKED bool or_attempt_decode(const struct onerow_ledger_record *record,
                                      struct or_attempt_record *attempt);

#endif
