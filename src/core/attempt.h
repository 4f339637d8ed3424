/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol run for one key, for stores that cannot refuse a second row: a step function. See
 * the top of attempt.c.
 */
#ifndef OR_CORE_ATTEMPT_H
#define OR_CORE_ATTEMPT_H

#include "core/bounds.h"
#include "core/pages.h"
#include "core/protocol.h"
#include "core/retry.h"

/* Live pages with one key that an attempt can tell apart; more are for dedupe. */
#define OR_ATTEMPT_PAGES 8U

/* ---- what is configured --------------------------------------------------------------------- */

struct or_attempt_options {
    enum or_protocol protocol;
    enum onerow_policy policy;
    enum or_deletion deletion;
    bool verify_read; /* `verify: read`: look at the page before calling it unchanged */
    bool may_create;  /* false while the ledger is SUSPECT */
    struct or_bounds bounds;
    const struct or_retry_limits *retry; /* borrowed */
};

/* ---- commands ---------------------------------------------------------------------------------
 */

enum or_do {
    OR_DO_READ,   /* ledger: the key's record; the attempt's record of `nonce` unless its number is
                     0; the page records of pages[0 .. n_pages), all as of one moment */
    OR_DO_SWAP,   /* ledger: try *swap */
    OR_DO_PROBE,  /* store: the live pages that carry the key. Only a complete answer is OK */
    OR_DO_CREATE, /* store: a page with the reserved title of `nonce` and nothing else */
    OR_DO_CREATE_KEYED, /* store: a page with key and payload; given up at deadline_ms, whatever the
                           request's usual time: S counts from there */
    OR_DO_PUBLISH,  /* store: write key and payload onto `page`; never take it out of the trash */
    OR_DO_WRITE,    /* store: write the payload's values onto `page`, never the key */
    OR_DO_GET,      /* store: `page` as it is */
    OR_DO_RESTORE,  /* store: take `page` out of the trash */
    OR_DO_TRASH,    /* store: put `page` into the trash */
    OR_DO_MOVE_KEY, /* store: write another text in place of the key of `page`, which stays */
    OR_DO_WAIT,     /* wait_ms from now */
    OR_DO_SETTLE,   /* the outcome; there are no more commands */
};

/* Why an outcome is what it is. */
enum or_reason {
    OR_REASON_NONE,
    OR_REASON_KEPT,      /* unchanged: `keep`, and the page holds something else */
    OR_REASON_OLDER,     /* unchanged: the page holds a newer order value */
    OR_REASON_TOMBSTONE, /* rejected: somebody deleted the page, and the policy respects that */
    OR_REASON_RENAMED,   /* rejected: a person changed the page's key */
    OR_REASON_TAKEN,     /* rejected: the page with this key belongs to another key */
    OR_REASON_REFUSED,   /* rejected: the store refuses the record for good */
    OR_REASON_SUSPECT,   /* rejected: the ledger was rolled back, nothing is created */
    OR_REASON_TOO_MANY,  /* rejected: more pages carry the key than can be told apart */
    OR_REASON_GAVE_UP,   /* rejected: tried for as long as was allowed; nothing was written */
    OR_REASON_GONE,      /* unknown: the store does not find the page, which proves nothing */
    OR_REASON_IN_DOUBT,  /* unknown: tried for as long as was allowed; it may have been written */
};

struct or_command {
    enum or_do what;
    struct or_nonce nonce;           /* READ, CREATE */
    const struct onerow_span *pages; /* READ; the attempt's own */
    size_t n_pages;
    const struct or_swap *swap;       /* SWAP; the attempt's own */
    struct onerow_span page;          /* PUBLISH, WRITE, GET, RESTORE, SETTLE: its id or no data */
    const struct or_payload *payload; /* CREATE_KEYED, PUBLISH, WRITE; GET: NULL: no columns */
    uint64_t wait_ms;                 /* WAIT */
    uint64_t deadline_ms; /* CREATE_KEYED, PUBLISH, WRITE: local clock; from then on it must not be
                             sent any more, and the answer is FAILED */
    enum onerow_outcome outcome; /* SETTLE */
    enum or_reason reason;       /* SETTLE */
    struct onerow_span spare;    /* SETTLE: a blank that was made and not used, or no data */
    bool twins;                  /* SETTLE: several pages carry the key: report and heal */
};

/* ---- answers ----------------------------------------------------------------------------------
 */

enum or_answer {
    OR_ANSWER_OK,
    OR_ANSWER_REFUSED,   /* SWAP: a condition did not hold. Store: this payload, for good (400) */
    OR_ANSWER_TRASHED,   /* PUBLISH, WRITE: not done, the page is in the trash */
    OR_ANSWER_NOT_FOUND, /* the store does not know the page (404), which proves nothing */
    OR_ANSWER_RATE,      /* not done (429, 529); retry_after_ms */
    OR_ANSWER_CONFLICT,  /* 409: it may have been done */
    OR_ANSWER_UNCERTAIN, /* time-out, 5xx, reset, lost reply: it may have been done */
    OR_ANSWER_FAILED,    /* not done. READ, PROBE, GET: nothing was learnt */
};

/* The answer to the last command. Spans stay valid until the attempt has settled. */
struct or_event {
    uint64_t now_ms; /* local, monotonic */
    uint64_t random; /* uniform */
    enum or_answer answer;
    uint64_t retry_after_ms; /* RATE: 0: the store did not say */
    /* READ and SWAP */
    uint64_t ledger_ms;                   /* the ledger's clock; what a stamp became */
    struct or_key_record key;             /* READ */
    struct or_attempt_record attempt;     /* READ with a nonce */
    const struct or_page_record *records; /* READ with pages, in their order */
    /* PROBE */
    const struct or_probe_page *pages; /* at most OR_ATTEMPT_PAGES */
    size_t n_pages;                    /* how many there are */
    /* CREATE, CREATE_KEYED */
    struct onerow_span page; /* the new page's id */
    bool renamed;            /* WRITE: the answer shows the page, which carries another key */
    /* GET */
    bool in_trash;
    bool has_key;                            /* it carries this attempt's key */
    bool edited;                             /* a person was the last to change it */
    uint8_t fingerprint[OR_FINGERPRINT_LEN]; /* of its values in the command's payload's columns */
    struct onerow_value order;
};

/* ---- the attempt --------------------------------------------------------------------------------
 */

enum or_attempt_state {
    OR_ATTEMPT_START,
    OR_ATTEMPT_READING,   /* READ of the key */
    OR_ATTEMPT_WAITING,   /* WAIT; afterwards READ */
    OR_ATTEMPT_PROBING,   /* PROBE */
    OR_ATTEMPT_VETTING,   /* READ of the found pages' records */
    OR_ATTEMPT_WEIGHING,  /* GET of a page before it is adopted: its order value */
    OR_ATTEMPT_ADOPTING,  /* SWAP to DONE with a page that was there */
    OR_ATTEMPT_CREATING,  /* CREATE of a blank */
    OR_ATTEMPT_BINDING,   /* SWAP to BOUND with the blank */
    OR_ATTEMPT_CLAIMING,  /* SWAP to INTENT (direct) */
    OR_ATTEMPT_KEYING,    /* CREATE_KEYED (direct) */
    OR_ATTEMPT_RELEASING, /* SWAP from the own INTENT back to ABSENT: nothing was or will be sent */
    OR_ATTEMPT_MARKING,   /* SWAP that leaves a trace of the write that follows */
    OR_ATTEMPT_PATCHING,  /* PUBLISH or WRITE of the pending payload */
    OR_ATTEMPT_FINISHING, /* SWAP to DONE */
    OR_ATTEMPT_OPENING,   /* SWAP to WRITING */
    OR_ATTEMPT_REPLACING, /* SWAP of a refused pending payload for the own one */
    OR_ATTEMPT_DROPPING,  /* SWAP from WRITING to DONE without the refused payload */
    OR_ATTEMPT_LOOKING,   /* GET: why the page refuses edits, or whether it is as it should be */
    OR_ATTEMPT_DELETING,  /* SWAP that follows a deletion */
    OR_ATTEMPT_ANNOUNCING, /* SWAP before RESTORE: what others saw of the page is out of date */
    OR_ATTEMPT_RESTORING,  /* RESTORE */
    OR_ATTEMPT_SETTLED,
};

struct or_attempt {
    struct or_attempt_options options;
    struct onerow_span name;      /* the key's canonical form; borrowed */
    const struct or_payload *own; /* borrowed; NULL: only helps what is pending */
    uint64_t number;              /* of its nonces */
    struct or_retry retry;
    enum or_attempt_state state;

    uint64_t stepped_ms;      /* when the last command was given */
    uint32_t step;            /* of the last nonce */
    struct or_key_record key; /* as last read, or as the own swap left it */
    uint64_t ledger_ms;       /* when that was */
    struct or_swap swap;

    /* The own claim: a swap that makes the own payload the pending one. */
    struct or_nonce claim;
    uint64_t basis; /* the revision that it expects: it can only ever happen there */
    uint64_t
        taken_version; /* it happened, as this version of the current generation; 0: not known */

    /* The pending payload's writes. */
    uint64_t stamped_ms; /* local time before the last own swap that stamped `since` was sent */
    uint64_t
        traced_revision; /* the key's after the own trace: the pending write is this one's to do */
    uint64_t
        seen_revision; /* verify: read: the revision at which the page was looked at; 0: none */
    uint64_t seen_ms;  /* the ledger's clock before that look */
    struct onerow_value seen_order; /* the page's own in newest's column, at seen_revision */
    struct or_nonce written;        /* the pending nonce whose write was answered with OK */
    bool misplaced;                 /* that one: the page carried another key */
    struct onerow_span trashed;     /* the key's page, last seen in the trash */

    /* Pages. */
    struct onerow_span blank; /* made, and bound to nothing that is known of */
    struct onerow_span made;  /* direct: what CREATE_KEYED made */
    struct or_probe_page candidates[OR_ATTEMPT_PAGES];
    struct onerow_span found[OR_ATTEMPT_PAGES]; /* their ids */
    size_t n_found;
    size_t winner; /* index into candidates */
    struct or_page_record winner_record;
    uint64_t probed_revision; /* of the key's record when the probe was sent */

    bool claimed;       /* the claim was sent, and is not known to be void */
    bool claim_tried;   /* it may have happened */
    bool makes_the_row; /* it is a BIND or INTENT: its success is "created" */
    bool bind_refused;  /* the last BIND was */
    bool traced;        /* since `stamped_ms` no write was sent */
    bool create_sent;   /* direct: CREATE_KEYED of the current claim was */
    bool may_exist;     /* it may have been written where nobody accounts for it */
    bool seen_equal;    /* the page held the own payload at seen_revision */
    bool twins;         /* several pages carry the key */
};

/* Prepares an attempt for the key with this canonical form. `own` is what is to be written, or NULL
 * to bring to an end only what is pending; `number` is the attempt's own, from the ledger's
 * `reserve`; `spare` (data may be NULL) a blank that an earlier attempt of this process made and
 * did not use. */
void or_attempt_init(struct or_attempt *attempt, const struct or_attempt_options *options,
                     struct onerow_span name, const struct or_payload *own, uint64_t number,
                     struct onerow_span spare);

/* Takes the answer to the last command (the first time: time and randomness alone count) and fills
 * the next command. Must not be called after SETTLE. */
void or_attempt_step(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command);

/* The SWAP that was commanded last is sent only now, because the driver first had to see to it that
 * the write which follows can be sent: what it stamps is stamped from now on. */
void or_attempt_swap_sent(struct or_attempt *attempt, uint64_t now_ms);

/* How a request to the store failed, for the retry rules. */
enum or_retry_class or_answer_class(enum or_answer answer);
/* A static sentence fragment, never NULL. */
const char *or_reason_text(enum or_reason reason);

#endif
