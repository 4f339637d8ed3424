/* SPDX-License-Identifier: Apache-2.0
 *
 * The guarded protocol: prepare a blank page, bind it to the key, publish the key onto it.
 *
 *     READ -- absent --> PROBE --> CREATE --> BIND --> SEND --> COMMIT --> acknowledged
 *      |                   `-- found --> ADOPT                    |
 *      |-- bound, being written --> TRACE --> SEND --> COMMIT     |
 *      |-- done --> NEXT (the next version) --> SEND --> COMMIT   |
 *      |        `-> LOOK --> CONFIRM                              |
 *      `-- tombstone --> PROBE              every refused or unanswered step --> READ
 *
 *     SEND refused, the page is in the trash --> LOOK --> UNBIND (no key on it yet)
 *                                                     `-> GONE   (the deletion policy)
 *     SEND refused, the payload is wrong     --> REFUSED
 *
 * Each label is one indivisible step: one compare-and-set (CAS) of the ledger, or one request to
 * the store. Between any two steps a worker may pause as long as it likes; nothing here assumes a
 * clock, except the wait of NEXT, which is there with -DUPDATE alone. README.md says what is
 * abstracted, and run says how the model is checked.
 */

/* ---- Bounds of the search, all set from the command line ---- */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PAGES
#define PAGES 3     /* at most 4; a worker that needs one more stops at SHORT */
#endif
#ifndef KEYS
#define KEYS 1      /* worker w writes key w modulo KEYS */
#endif
#ifndef CRASHES
#define CRASHES 0   /* a worker forgets everything and starts again */
#endif
#ifndef LOST
#define LOST 0      /* a request takes effect, its reply is lost */
#endif
#ifndef LATE
#define LATE 0      /* a request takes effect after its client gave up, or never */
#endif
#ifndef TWICE
#define TWICE 0     /* such a request takes effect once more: a hidden retry on the way */
#endif
#ifndef LOST_CAS
#define LOST_CAS 0  /* the reply of a compare-and-set is lost */
#endif
#ifndef FALSE_404
#define FALSE_404 0 /* the store says 404 of a page that lives */
#endif
#ifndef TRASHED
#define TRASHED 0   /* a person trashes a page */
#endif
#ifndef RESTORED
#define RESTORED 0  /* a person takes a page out of the trash */
#endif
#ifndef FOREIGN
#define FOREIGN 0   /* a person creates a page that carries the key */
#endif
#ifndef SWEEPS
#define SWEEPS 0
#endif
#ifndef HEALS
#define HEALS 0
#endif

/* ---- Deletion policies ---- */
#define RECREATE 0
#define TOMBSTONE 1
#define RESTORE 2
#ifndef POLICY
#define POLICY RECREATE
#endif
#ifdef M_POLICIES_MIXED
#define MY_POLICY (me == 0 -> POLICY : RECREATE)
#else
#define MY_POLICY POLICY
#endif

#define K (me % KEYS)                          /* the number of a worker's key */
#define OWN (1 + me + WORKERS * incarnation) /* its nonce */
#define OWNER ((nonce - 1) % WORKERS)        /* whose nonce it is */

/* ---- The ledger ---- */
#define ABSENT 0
#define BOUND 1
#define WRITING 2
#define DONE 3
#define TOMB 4

#define FREE 0 /* unrecorded or blank: no rule tells them apart */
#define HELD 1 /* bound to .owner */
#define CONDEMNED 2

typedef key_record {
    byte state;
    byte page;
    byte generation;
    byte version;
    byte nonce;
    byte payload; /* of the pending write */
    byte value;   /* the fingerprint: what the last recorded write left; 0 = not known */
    bit doubtful
};
key_record key[KEYS];

/* The attempt {nonce} -> (generation, version): one per worker, for its present nonce alone. */
typedef attempt_record {
    byte nonce; /* 0 = none */
    byte generation;
    byte version;
    bit refused;
    bit recorded;    /* history: this attempt's payload was DONE once */
    byte call;       /* history: the first nonce of this call; a crash starts another call */
    byte applied     /* history: generation + 1 at which a record of this call was DONE */
};
attempt_record attempt[WORKERS];

/* ---- The store's pages (1..PAGES), each with the ledger's record of it and history ---- */
typedef page_record {
    byte key; /* 0 = blank, else number of the key + 1 */
    byte value;
    bit trash;
    byte ledger;
    byte owner;
    bit person;   /* history: a person created it */
    bit removed;  /* history: a person trashed it */
    bit restored; /* history: a person took it out of the trash */
    bit done;     /* history: the ledger showed it as DONE */
    bit created   /* history: somebody reported it as created */
};
page_record page[PAGES + 1];
byte pages;

/* ---- Requests whose client gave up ---- */
#define NOTHING 0
#define MAKE 1
#define PUBLISH 2
#define VALUES 3
#define REVIVE 4

typedef request {
    byte kind;
    byte page;
    byte key;
    byte value;
    bit covered
};
#if LATE > 0
request late[LATE];
byte late_used;
#endif

byte crashes = CRASHES;
byte lost = LOST;
byte lost_cas = LOST_CAS;
byte false_404 = FALSE_404;
byte running = WORKERS;

/* The value that a worker writes. The store refuses worker 0's with -DWRONG_PAYLOAD. */
#if defined(UPDATE) || defined(WRONG_PAYLOAD)
#define MINE (me + 1)
#else
#define MINE 1
#endif
#ifdef WRONG_PAYLOAD
#define WRONG(v) ((v) == 1)
#else
#define WRONG(v) false
#endif

/* ---- Time, for the values alone ----
 * A PATCH is covered when its check is not later than the record's `since`. Once
 * since + P + T + R has passed, no covered PATCH is left: not before its send (P), not with a
 * client that waits (T), and not after its client gave up (R). Each term that a wrong variant
 * drops lets the PATCHes of that phase live on.
 */
#ifdef UPDATE
#define GROUND 0
#define UNSENT 1
#define SENT 2
byte flight[WORKERS];
bit covered[WORKERS];

#ifdef M_WAIT_WITHOUT_P
#define AFTER_P(w) true
#else
#define AFTER_P(w) (flight[w] != UNSENT || !covered[w])
#endif
#ifdef M_WAIT_WITHOUT_T
#define AFTER_T(w) true
#else
#define AFTER_T(w) (flight[w] != SENT || !covered[w])
#endif
#if LATE == 0 || defined(M_WAIT_WITHOUT_R)
#define AFTER_R true
#elif LATE == 1
#define AFTER_R (late[0].kind == NOTHING || !late[0].covered)
#else
#define AFTER_R ((late[0].kind == NOTHING || !late[0].covered) && \
                 (late[1].kind == NOTHING || !late[1].covered))
#endif
#define AFTER_W(w) (AFTER_P(w) && AFTER_T(w))
#if WORKERS == 2
#define ALL_AFTER (AFTER_W(0) && AFTER_W(1))
#else
#define ALL_AFTER (AFTER_W(0) && AFTER_W(1) && AFTER_W(2))
#endif
#ifdef M_NO_WAIT
#define WAITED true
#else
#define WAITED (!key[K].doubtful || (ALL_AFTER && AFTER_R))
#endif
#define STAGE(s) flight[me] = s
#else
#define STAGE(s) skip
#endif

inline cover() /* since := now */
{
#ifdef UPDATE
    at = 0;
    do
    :: at < WORKERS -> covered[at] = 1; at++
    :: else -> break
    od;
#if LATE > 0
    at = 0;
    do
    :: at < LATE -> late[at].covered = 1; at++
    :: else -> break
    od;
#endif
    at = 0
#else
    skip
#endif
}

/* ---- What must hold ---- */
#define LIVE(p, k) (page[p].key == (k) + 1 && !page[p].trash && !page[p].restored && \
                    (!page[p].person || page[p].done))
#if PAGES == 2
#define LIVE_PAGES(k) (LIVE(1, k) + LIVE(2, k))
#elif PAGES == 3
#define LIVE_PAGES(k) (LIVE(1, k) + LIVE(2, k) + LIVE(3, k))
#else
#define LIVE_PAGES(k) (LIVE(1, k) + LIVE(2, k) + LIVE(3, k) + LIVE(4, k))
#endif

/* At most one live page of the protocol carries a key, at every instant. */
inline identity()
{
    assert(LIVE_PAGES(0) <= 1);
#if KEYS == 2
    assert(LIVE_PAGES(1) <= 1)
#endif
}

/* A page that a key stands on is bound to that key, hence not condemned. */
#define STANDS(k) (key[k].state == ABSENT || key[k].state == TOMB || \
                   (page[key[k].page].ledger == HELD && page[key[k].page].owner == (k)))
inline ledger_holds()
{
    assert(STANDS(0));
#if KEYS == 2
    assert(STANDS(1))
#endif
}

/* Nobody but a person takes away a page that was recorded as done, hence may be acknowledged. */
inline taken_away(p)
{
    assert(!page[p].done || page[p].removed)
}

/* What is acknowledged was recorded, carries the key, and is live unless a person trashed it;
 * any other page that was acknowledged before was trashed by a person. */
#define OUTLIVED(p) ((p) == id || !page[p].done || page[p].key != K + 1 || page[p].removed)
inline acknowledge()
{
    assert(page[id].done && page[id].key == K + 1);
    assert(!page[id].trash || page[id].removed);
    assert(OUTLIVED(1) && OUTLIVED(2));
#if PAGES > 2
    assert(OUTLIVED(3))
#endif
}

/* A page is reported as created once, and never one that a person made. */
inline report_created()
{
    acknowledge();
    assert(!page[id].created && !page[id].person);
    page[id].created = 1
}

/* Whoever hears that its own record was written has had it written, unless it was refused. */
inline report_written()
{
    assert(attempt[me].recorded && !WRONG(MINE));
    if
    :: attempt[me].version == 1 -> report_created()
    :: else -> acknowledge()
    fi
}

/* With nobody running and nothing in flight, the page holds the last recorded write. */
#if LATE > 0
#define IN_FLIGHT (late[0].kind + late[LATE - 1].kind)
#else
#define IN_FLIGHT 0
#endif
#define LEFT_RIGHT(k) (key[k].state != DONE || key[k].value == 0 || page[key[k].page].trash || \
                       page[key[k].page].value == key[k].value)
inline values_settled()
{
#ifdef UPDATE
    assert(running > 0 || IN_FLIGHT || LEFT_RIGHT(0))
#else
    skip
#endif
}

/* ---- Steps of the ledger ---- */
#define UNCHANGED (key[K].state == state && key[K].page == id && \
                   key[K].generation == generation && key[K].version == version && \
                   key[K].nonce == nonce)
#ifdef M_CAS_BY_VERSION
#define SAME (key[K].state == state && key[K].version == version)
#else
#define SAME UNCHANGED
#endif

inline snapshot()
{
    state = key[K].state;
    id = key[K].page;
    generation = key[K].generation;
    version = key[K].version;
    nonce = key[K].nonce;
    payload = key[K].payload
}

/* Only a person's deletion starts a generation; more of them are a livelock that counts. */
inline next_generation()
{
#ifdef ENDS
    assert(key[K].generation < TRASHED);
#endif
    key[K].generation++
}

/* The key has no page any more; whoever holds its old record cannot act on it. */
inline leave_page(p)
{
    next_generation();
    key[K].state = ABSENT;
    key[K].page = 0;
    key[K].version = 0;
    key[K].nonce = 0;
    key[K].payload = 0;
    key[K].value = 0;
    key[K].doubtful = 0;
    page[p].owner = 0
}

inline forget_attempt()
{
    attempt[me].nonce = 0;
    attempt[me].generation = 0;
    attempt[me].version = 0;
    attempt[me].refused = 0;
    attempt[me].recorded = 0
}

inline forget_all() /* a new start, under a new nonce */
{
    incarnation++;
    blank = 0;
    forget_attempt();
    attempt[me].call = OWN;
    attempt[me].applied = 0;
    STAGE(GROUND)
}

/* What a worker learns of its CAS: the outcome, nothing, or it is no more. The next step of a
 * worker that learned nothing is READ, which reads its attempt, too. */
inline cas_reply()
{
    if
    :: true
    :: lost_cas > 0 ->
        lost_cas--;
#ifdef M_LOST_CAS_FORGOTTEN
        incarnation++;
        forget_attempt();
#endif
        STAGE(GROUND);
        goto READ
    :: crashes > 0 ->
        crashes--;
        forget_all();
        goto READ
    fi
}

/* ---- Requests ---- */
inline store_reply() /* of a request that took effect or was refused */
{
    if
    :: true
    :: lost > 0 ->
        lost--;
        goto READ
    :: crashes > 0 ->
        crashes--;
        forget_all();
        goto READ
    fi
}

inline give_up(what, where, content) /* it may take effect later, and the worker goes on or dies */
{
#if LATE > 0
    late[late_used].kind = what;
    late[late_used].page = where;
    late[late_used].key = K + 1;
    late[late_used].value = content;
#ifdef UPDATE
    late[late_used].covered = covered[me];
#endif
    late_used++;
#endif
    if
    :: true
    :: crashes > 0 ->
        crashes--;
        forget_all()
    fi;
    STAGE(GROUND);
    goto READ
}

#if LATE > 0
#define MAY_GIVE_UP (late_used < LATE)
#else
#define MAY_GIVE_UP false
#endif

#ifdef TRASH_EDITABLE
#define EDITABLE(p) true /* the store refuses an edit of a trashed page, or not */
#else
#define EDITABLE(p) (!page[p].trash)
#endif

inline take_effect(what, where, k, content)
{
    if
    :: what == MAKE && pages < PAGES -> pages++
    :: what == PUBLISH && EDITABLE(where) && !WRONG(content) ->
        page[where].key = k;
        page[where].value = content
    :: what == VALUES && EDITABLE(where) && !WRONG(content) -> page[where].value = content
    :: what == REVIVE -> page[where].trash = 0
    :: else
    fi;
    identity()
}

#define KIND (state == BOUND -> PUBLISH : VALUES)

/* A query finds only live pages with the key, may miss any of them, and none counts that the
 * ledger condemned. */
#define LISTED(p, k) (page[p].key == (k) + 1 && !page[p].trash)
#ifdef M_PROBE_COUNTS_CONDEMNED
#define SHOWS(p) LISTED(p, K)
#else
#define SHOWS(p) (LISTED(p, K) && page[p].ledger != CONDEMNED)
#endif

/* ---- Conditions of the steps, and the variants that drop them ---- */
#ifdef M_ADOPT_NEVER_THE_BOUND
#define ADOPTABLE (page[found].ledger == FREE)
#else
#define ADOPTABLE (page[found].ledger == FREE || \
                   (state == TOMB && page[found].ledger == HELD && page[found].owner == K))
#endif
#ifdef M_BIND_ANY_PAGE
#define BINDABLE true
#else
#define BINDABLE (page[blank].ledger == FREE)
#endif
#ifdef M_BIND_ANY_STATE
#define STILL_ABSENT (key[K].generation == generation)
#elif defined(M_BIND_ANY_GENERATION)
#define STILL_ABSENT (key[K].state == ABSENT)
#else
#define STILL_ABSENT (key[K].state == ABSENT && key[K].generation == generation)
#endif
#ifdef M_UNBIND_BLIND
#define UNBINDABLE true
#else
#define UNBINDABLE SAME
#endif
#ifdef M_DONE_BLIND
#define DONE_SAME true
#elif defined(M_DONE_ANY_VERSION)
#define DONE_SAME (key[K].page == id && key[K].generation == generation)
#else
#define DONE_SAME SAME
#endif
#ifdef M_WRITING_BLIND
#define WRITING_SAME true
#else
#define WRITING_SAME SAME
#endif
#ifdef M_POLICY_BLIND
#define GONE_SAME true
#else
#define GONE_SAME SAME
#endif
#ifdef M_HELPER_WRITES_ITS_OWN
#define HELPED MINE
#define PENDING key[K].payload
#else
#define HELPED payload
#define PENDING payload
#endif
#ifdef M_HELPER_REPORTS_CREATED
#define CREATOR true
#else
#define CREATOR (nonce == OWN)
#endif
#ifdef M_CONDEMN_BOUND
#define CONDEMNABLE(p) true
#else
#define CONDEMNABLE(p) (page[p].ledger != HELD)
#endif

/* Its own record was recorded as done, at the generation that stands. */
#define WRITTEN (attempt[me].nonce != 0 && attempt[me].generation == generation && \
                 attempt[me].version <= version)
/* verify: read makes sense where a person may trash pages, or the store may err. */
#if TRASHED > 0 || FALSE_404 > 0
#define VERIFIES true
#else
#define VERIFIES false
#endif

inline own_attempt(v)
{
    assert(attempt[me].applied != generation + 1); /* a record is written once per call */
    attempt[me].nonce = OWN;
    attempt[me].generation = generation;
    attempt[me].version = v;
    attempt[me].refused = 0;
    attempt[me].recorded = 0
}

inline finish()
{
    running--;
    id = 0;
    generation = 0;
    version = 0;
    nonce = 0;
    payload = 0;
    blank = 0;
    state = ABSENT;
    forget_attempt();
    values_settled()
}

proctype worker(byte me)
{
    byte state, id, generation, version, nonce, payload; /* the record as last read */
    byte blank;       /* a page that this worker made and has not bound */
    byte found;       /* by a query */
    byte incarnation; /* a nonce is a worker and its incarnation */
    byte at;
    bit ok;

READ: /* 1 */
    atomic {
        found = 0;
        ok = 0;
        snapshot();
        if
        :: state == ABSENT -> goto PROBE
        :: state == TOMB -> goto PROBE
        :: state == BOUND || state == WRITING -> goto TRACE
        :: state == DONE ->
            if
            :: attempt[me].refused -> goto FINISH /* rejected */
            :: !attempt[me].refused && WRITTEN -> report_written(); goto FINISH
            :: !attempt[me].refused && !WRITTEN && VERIFIES -> goto LOOK
#ifdef UPDATE
            :: !attempt[me].refused && !WRITTEN && key[K].value != MINE -> goto NEXT
            :: !attempt[me].refused && !WRITTEN && key[K].value == MINE ->
                acknowledge(); /* unchanged */
                goto FINISH
#else
            :: !attempt[me].refused && !WRITTEN ->
                acknowledge(); /* unchanged: keep */
                goto FINISH
#endif
            fi
        fi
    }

PROBE: /* 2: a miss is always possible, an error is no miss and is left out */
    atomic {
        if
        :: SHOWS(1) -> found = 1; goto ADOPT
        :: SHOWS(2) -> found = 2; goto ADOPT
#if PAGES > 2
        :: SHOWS(3) -> found = 3; goto ADOPT
#endif
#if PAGES > 3
        :: SHOWS(4) -> found = 4; goto ADOPT
#endif
        :: state == ABSENT -> goto CREATE
        :: state == TOMB -> goto FINISH /* rejected(tombstone) */
        fi
    }

ADOPT:
    atomic {
        ok = SAME && ADOPTABLE;
        if
        :: ok ->
#ifdef M_ADOPT_THROUGH_BOUND
            key[K].state = BOUND;
            key[K].version = 0;
            key[K].nonce = OWN;
            key[K].payload = MINE;
            own_attempt(1);
#else
            key[K].state = DONE;
            key[K].version = 1;
            key[K].nonce = 0;
            key[K].payload = 0;
            page[found].done = 1;
#endif
            /* what was sent to the page before reaches no other one, but this one once more */
            if
            :: state == TOMB && key[K].page != found ->
#ifdef M_COMES_BACK_UNDOUBTED
                key[K].doubtful = 0
#else
                key[K].doubtful = (page[found].ledger == HELD);
                cover() /* reached: came_back */
#endif
            :: else
            fi;
            key[K].page = found;
            key[K].value = 0;
#ifndef M_ADOPT_KEEPS_GENERATION
            if
            :: state == TOMB -> next_generation()
            :: else
            fi;
#endif
#ifdef M_ADOPT_UNDOUBTED
            key[K].doubtful = 0;
#endif
            page[found].ledger = HELD;
            page[found].owner = K; /* reached: adopted */
            ledger_holds();
            identity()
        :: else
        fi;
        found = 0;
        cas_reply();
        goto READ
    }

CREATE: /* 3: a blank; anybody may also take one from the listing, which may be out of date */
    atomic {
        if
        :: blank != 0 -> goto BIND
        :: blank == 0 && pages < PAGES ->
            pages++;
            blank = pages;
            if
            :: goto BIND
            :: lost > 0 -> lost--; blank = 0; goto READ
            :: crashes > 0 -> crashes--; forget_all(); goto READ
            fi
        :: blank == 0 && MAY_GIVE_UP -> give_up(MAKE, 0, 0)
#ifdef REUSE
        :: blank == 0 && pages > 0 && page[1].key == 0 && page[1].ledger != CONDEMNED ->
            blank = 1;
            goto BIND
        :: blank == 0 && pages > 1 && page[2].key == 0 && page[2].ledger != CONDEMNED ->
            blank = 2;
            goto BIND
#endif
        :: blank == 0 && pages == PAGES -> goto SHORT
        fi
    }

BIND: /* 4 */
    atomic {
        ok = STILL_ABSENT && BINDABLE;
        if
        :: ok ->
            key[K].state = BOUND;
            key[K].page = blank;
            key[K].version = 0;
            key[K].nonce = OWN;
            key[K].payload = MINE;
            key[K].doubtful = 0;
            cover();
            own_attempt(1);
            page[blank].ledger = HELD;
            page[blank].owner = K; /* reached: bound */
            ledger_holds();
            blank = 0;
            snapshot();
            STAGE(UNSENT)
        :: else ->
#ifndef M_CONDEMNED_BLANK_KEPT
            if
            :: page[blank].ledger != FREE -> blank = 0
            :: else
            fi
#else
            skip
#endif
        fi;
        cas_reply();
        if
        :: ok -> goto SEND
        :: else -> goto READ
        fi
    }

TRACE: /* before every PATCH but the writer's own first: since := now, doubtful */
    atomic {
        ok = SAME;
        if
        :: ok ->
#ifndef M_HELPER_NOT_RECORDED
            key[K].doubtful = 1; /* reached: helped */
            cover();
            STAGE(UNSENT)
#elif defined(UPDATE)
            flight[me] = UNSENT;
            covered[me] = 0
#endif
        :: else
        fi;
        cas_reply();
        if
        :: ok -> payload = HELPED; goto SEND
        :: else -> goto READ
        fi
    }

SEND: /* 5 and 7b: PATCH */
    atomic {
        if
        :: false_404 > 0 ->
            false_404--; /* reached: false_404_of_patch */
            STAGE(GROUND);
#ifdef M_404_IS_DELETION
            goto GONE
#else
            goto FINISH /* unknown: a dead letter */
#endif
#ifdef UPDATE
        :: flight[me] == UNSENT -> flight[me] = SENT; goto SEND
#endif
        :: MAY_GIVE_UP -> give_up(KIND, id, payload)
        :: page[id].trash ->
            STAGE(GROUND);
            store_reply();
            goto LOOK
        :: EDITABLE(id) && WRONG(payload) ->
            STAGE(GROUND);
            store_reply();
            goto REFUSED
        :: EDITABLE(id) && !WRONG(payload) ->
            STAGE(GROUND);
            take_effect(KIND, id, K + 1, payload);
#ifdef M_EARLY_ACKNOWLEDGEMENT
            acknowledge();
            goto FINISH
#else
            store_reply();
            goto COMMIT
#endif
        fi
    }

COMMIT: /* 6 */
    atomic {
        ok = DONE_SAME;
        if
        :: ok ->
            key[K].state = DONE;
            key[K].page = id;
            key[K].version = version + (state == BOUND -> 1 : 0);
            key[K].nonce = nonce;
            key[K].value = PENDING;
            key[K].payload = 0;
            page[id].done = 1; /* reached: done */
            if
            :: attempt[OWNER].nonce == nonce -> attempt[OWNER].recorded = 1
            :: else
            fi;
            if
            :: nonce >= attempt[OWNER].call -> attempt[OWNER].applied = generation + 1
            :: else
            fi;
            ledger_holds()
        :: else
        fi;
        cas_reply();
        if
        :: ok && CREATOR && state == BOUND -> report_created(); goto FINISH
        :: ok && CREATOR && state == WRITING -> acknowledge(); goto FINISH
#ifdef M_NO_LAST_READ
        :: !ok -> acknowledge(); goto FINISH
#else
        :: !ok -> goto READ
#endif
        :: ok && !CREATOR -> goto READ
        fi
    }

NEXT: /* 7: the next version, after the wait where the last one is in doubt */
    atomic {
#ifdef UPDATE
        WAITED;
#endif
        ok = WRITING_SAME;
        if
        :: ok ->
            key[K].state = WRITING;
            key[K].page = id;
            key[K].version = version + 1; /* reached: next_version */
            key[K].nonce = OWN;
            key[K].payload = MINE;
            key[K].doubtful = 0;
            cover();
            own_attempt(version + 1);
            snapshot();
            STAGE(UNSENT)
        :: else
        fi;
        cas_reply();
        if
        :: ok -> goto SEND
        :: else -> goto READ
        fi
    }

REFUSED: /* a definite refusal of the pending payload */
    atomic {
#ifndef M_REFUSED_HELPED_FOR_EVER
        ok = SAME && (state == WRITING || nonce != OWN);
        if
        :: ok ->
#ifndef M_REFUSED_ATTEMPT_STANDS
            if
            :: attempt[OWNER].nonce == nonce -> attempt[OWNER].refused = 1
            :: else
            fi;
#endif
            key[K].doubtful = 1; /* reached: refused */
            if
            :: state == WRITING ->
                key[K].state = DONE;
                key[K].payload = 0
            :: state == BOUND ->
                key[K].nonce = OWN;
                key[K].payload = MINE;
                own_attempt(1)
            fi
        :: else
        fi;
        cas_reply();
        if
        :: nonce == OWN -> goto FINISH /* rejected */
        :: else -> goto READ
        fi
#else
        goto READ
#endif
    }

LOOK: /* GET: only 200 with in_trash proves a deletion */
    atomic {
        if
        :: false_404 > 0 ->
            false_404--; /* reached: false_404_of_get */
#ifdef M_404_IS_DELETION
            goto GONE
#else
            goto FINISH
#endif
        :: page[id].trash && page[id].key == 0 -> goto UNBIND
        :: page[id].trash && page[id].key != 0 -> goto GONE
        :: !page[id].trash && state == DONE -> goto CONFIRM
        :: !page[id].trash && state != DONE -> goto READ
        fi
    }

CONFIRM: /* 8 */
    atomic {
        if
        :: key[K].state != DONE || key[K].page != id || key[K].generation != generation ->
            goto READ
        :: else
        fi;
#ifdef UPDATE
        if
        :: key[K].value != MINE -> goto NEXT
        :: else
        fi;
#endif
        acknowledge();
        goto FINISH
    }

UNBIND:
    atomic {
        ok = UNBINDABLE;
        if
        :: ok ->
            leave_page(id);
#ifdef M_UNBIND_WITHOUT_CONDEMN
            page[id].ledger = FREE;
#else
            page[id].ledger = CONDEMNED; /* reached: unbound */
#endif
            ledger_holds()
        :: else
        fi;
        cas_reply();
        goto READ
    }

GONE: /* the deletion policy, itself a CAS */
    atomic {
        ok = GONE_SAME;
        if
        :: ok && MY_POLICY == RECREATE ->
            leave_page(id);
            page[id].ledger = CONDEMNED; /* reached: recreated */
            ledger_holds()
        :: ok && MY_POLICY == TOMBSTONE ->
            key[K].state = TOMB; /* reached: tombstoned */
            key[K].page = id;
            key[K].nonce = 0;
            key[K].payload = 0
        :: else
        fi;
        cas_reply();
        if
        :: ok && MY_POLICY == RESTORE -> goto UNTRASH
        :: else -> goto READ
        fi
    }

UNTRASH: /* only under restore */
    atomic {
        assert(page[id].key == K + 1); /* reached: untrashed */
        if
        :: MAY_GIVE_UP -> give_up(REVIVE, id, 0)
        :: true ->
            take_effect(REVIVE, id, 0, 0);
            store_reply();
            goto READ
        fi
    }

SHORT: /* the search's bound: this worker would need one page more */
    found = 0; /* reached: short_of_pages */

FINISH:
    atomic {
        finish()
    }
}

#if LATE > 0
/* What was given up takes effect at any time, once, or never. */
active proctype network()
{
    byte twice = TWICE;
    byte slot, kind, where, number, content;
end:
    do
    :: atomic {
        if
        :: late[0].kind != NOTHING -> slot = 0
#if LATE > 1
        :: late[1].kind != NOTHING -> slot = 1
#endif
        fi;
        kind = late[slot].kind;
        where = late[slot].page;
        number = late[slot].key;
        content = late[slot].value;
        if
        :: take_effect(kind, where, number, content)
        :: true
        fi;
        kind = NOTHING;
        where = 0;
        number = 0;
        content = 0;
        if
        :: twice > 0 -> twice--
        :: true ->
            late[slot].kind = NOTHING; /* reached: delivered_late */
            late[slot].page = 0;
            late[slot].key = 0;
            late[slot].value = 0;
            late[slot].covered = 0
        fi;
        slot = 0;
        values_settled()
       }
    od
}
#endif

#if TRASHED + RESTORED + FOREIGN > 0
/* A person in the store's own user interface. */
active proctype third_party()
{
    byte trashes = TRASHED, restores = RESTORED, creates = FOREIGN;
#define MAY_TRASH(p) (trashes > 0 && pages >= (p) && !page[p].trash)
#define MAY_RESTORE(p) (restores > 0 && pages >= (p) && page[p].trash)
#define TRASH(p) trashes--; page[p].trash = 1; page[p].removed = 1
#define TAKE_OUT(p) restores--; page[p].trash = 0; page[p].restored = 1
end:
    do
    :: atomic { MAY_TRASH(1) -> TRASH(1) }
    :: atomic { MAY_TRASH(2) -> TRASH(2) }
    :: atomic { MAY_RESTORE(1) -> TAKE_OUT(1) }
    :: atomic { MAY_RESTORE(2) -> TAKE_OUT(2) }
#if PAGES > 2
    :: atomic { MAY_TRASH(3) -> TRASH(3) }
    :: atomic { MAY_RESTORE(3) -> TAKE_OUT(3) }
#endif
    :: atomic {
        creates > 0 && pages < PAGES;
        creates--;
        pages++;
        page[pages].key = 1;
        page[pages].person = 1
       }
    od
}
#endif

#if SWEEPS > 0
/* Blanks that nobody uses: condemned first, then trashed. */
active proctype sweeper()
{
    byte p, sweeps = SWEEPS;
end:
    do
    :: atomic {
        sweeps > 0 && pages > 0;
        sweeps--;
        p = 1;
        do
        :: p < pages -> p++
        :: break
        od;
        if
        :: page[p].key == 0 && !page[p].trash
        :: else -> p = 0
        fi
       };
       if
       :: p != 0 ->
SWEEP_CONDEMN:
        atomic {
#ifndef M_SWEEP_WITHOUT_CONDEMN
            if
            :: CONDEMNABLE(p) -> page[p].ledger = CONDEMNED; ledger_holds()
            :: else -> p = 0
            fi
#else
            skip
#endif
        };
SWEEP_TRASH:
        atomic {
            if
            :: p != 0 && !page[p].trash ->
                taken_away(p);
                page[p].trash = 1 /* reached: swept */
            :: else
            fi;
            p = 0
        }
       :: else
       fi
    od
}
#endif

#if HEALS > 0
/* Of two live pages with the key, the ledger's wins, else the older; the other is condemned first,
 * then trashed. */
active proctype healer()
{
    byte loser, heals = HEALS;
#define OTHER(p) (key[0].state == ABSENT -> (p) > 1 : key[0].page != (p))
#if PAGES > 2
#define SEVERAL (LISTED(1, 0) + LISTED(2, 0) + LISTED(3, 0) > 1)
#else
#define SEVERAL (LISTED(1, 0) + LISTED(2, 0) > 1)
#endif
end:
    do
    :: atomic {
        heals > 0 && SEVERAL;
        heals--;
        if
        :: LISTED(1, 0) && OTHER(1) -> loser = 1
        :: LISTED(2, 0) && OTHER(2) -> loser = 2
#if PAGES > 2
        :: LISTED(3, 0) && OTHER(3) -> loser = 3
#endif
        fi
       };
HEAL_CONDEMN:
       atomic {
#ifndef M_HEAL_WITHOUT_CONDEMN
        if
        :: CONDEMNABLE(loser) -> page[loser].ledger = CONDEMNED; ledger_holds()
        :: else -> loser = 0
        fi
#else
        skip
#endif
       };
HEAL_TRASH:
       atomic {
        if
        :: loser != 0 && !page[loser].trash ->
            taken_away(loser);
            page[loser].trash = 1 /* reached: healed */
        :: else
        fi;
        loser = 0
       }
    od
}
#endif

init
{
    atomic {
        run worker(0);
        run worker(1);
#if WORKERS > 2
        run worker(2)
#endif
    }
}
