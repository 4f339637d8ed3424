/* SPDX-License-Identifier: Apache-2.0
 *
 * The direct protocol: a lease on the key, a look, an intent, and one keyed create.
 *
 *     START --> LEASE --> PROBE -- absent --> INTENT --> CHECK --> SEND --> COMMIT --> acknowledged
 *       |                   `-- found --> ADOPT
 *       `-- DONE: acknowledged              every refused or unanswered step --> START,
 *                                           too slow for the lease --> SLOW --> START
 *
 * The intent says until when a create of its writer may still appear: the lease's end plus
 * S = P + R + L + D - G. Nobody takes the lease for that key before. Time is discrete here, in
 * ticks, and every bound that the protocol relies on is a number: the model shows that S is enough,
 * and that no term of it can be left out. README.md says what is abstracted.
 */

/* ---- Bounds that the protocol relies on, in ticks ---- */
#ifndef TTL
#define TTL 3 /* of the lease */
#endif
#ifndef P
#define P 1   /* longest pause between the last check and the send */
#endif
#ifndef T
#define T 1   /* a request's own deadline */
#endif
#ifndef R
#define R 1   /* longest life of a request after its client gave up */
#endif
#ifndef L
#define L 1   /* longest time until a query shows a page; at least 1 */
#endif
#ifndef D
#define D 1   /* how far a worker's clock may be behind the ledger's */
#endif
#ifndef G
#define G 1   /* guard band: the request's deadline is so much before the lease's */
#endif

/* ---- Bounds of the search ---- */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CRASHES
#define CRASHES 0 /* a worker forgets everything and starts again */
#endif
#ifndef LOST
#define LOST 0    /* a request takes effect, its reply is lost */
#endif
#ifndef LATE
#define LATE 0    /* a request outlives its client, and takes effect within R, or never */
#endif
#ifndef ERRORS
#define ERRORS 0  /* a query fails */
#endif
#define PAGES 3   /* more are never made: two are a duplicate */

/* ---- S, and the variants that leave a term out ---- */
#ifdef M_S_WITHOUT_P
#define S (R + L + D - G)
#elif defined(M_S_WITHOUT_R)
#define S (P + L + D - G)
#elif defined(M_S_WITHOUT_L)
#define S (P + R + D - G)
#elif defined(M_S_WITHOUT_D)
#define S (P + R + L - G)
#elif defined(M_S_ONE_TICK_SHORT)
#define S (P + R + L + D - G - 1)
#elif defined(M_NO_SETTLE)
#define S 0
#else
#define S (P + R + L + D - G)
#endif
#ifdef M_GUARD_NOT_KEPT
#define BAND 0
#else
#define BAND G
#endif

/* ---- The ledger ---- */
#define NOTHING 0
#define INTENT 1
#define DONE 2
byte state;  /* of the key */
byte writer; /* of the intent: its nonce */
byte done;   /* the page, when DONE */
byte settle; /* ticks until a create under the last intent cannot appear any more */
byte holder; /* of the lease: its nonce; the lease's token while it lives */
byte left;   /* ticks of the lease */

/* ---- The store ---- */
byte pages; /* all carry the key; numbered from 1 */
byte lag[PAGES + 1];

/* ---- Each worker's clock and request ---- */
#define GROUND 0
#define UNSENT 1
#define SENT 2
byte flight[WORKERS];
byte timer[WORKERS];  /* of that phase */
byte lease[WORKERS];  /* what the worker believes is left of its lease, at most: D more */
bit given_up[WORKERS];
byte life[WORKERS];   /* of the request that it gave up */

byte crashes = CRASHES;
byte lost = LOST;
byte late = LATE;
byte errors = ERRORS;
byte running = WORKERS;
byte acknowledged; /* history: the page */

#define SHOWS(p) (pages >= (p) && lag[p] == 0)
#define MAY_SHOW(p) (pages >= (p))
#define MISSED (!SHOWS(1) && !SHOWS(2) && !SHOWS(3))
#define OWN (1 + me + WORKERS * incarnation)

inline identity()
{
#ifdef BOUNDS_BROKEN
    skip
#else
    assert(pages <= 1)
#endif
}

/* Whatever breaks, all who acknowledge name the same page. */
inline acknowledge()
{
    assert(done >= 1 && done <= pages);
    assert(acknowledged == 0 || acknowledged == done);
    acknowledged = done
}

/* At rest one page is left, and it is the one that was acknowledged. */
#define LEFT(p) (pages >= (p) && !trash[p])
inline healed()
{
    assert(LEFT(1) + LEFT(2) + LEFT(3) == 1 && LEFT(acknowledged))
}

inline create()
{
    if
    :: pages < PAGES ->
        pages++;
        lag[pages] = L
    :: else
    fi;
    identity()
}

inline release()
{
    if
    :: holder == OWN -> holder = 0; left = 0
    :: else
    fi;
    lease[me] = 0
}

inline ground()
{
    flight[me] = GROUND;
    timer[me] = 0
}

inline crash()
{
    crashes--;
    incarnation++;
    lease[me] = 0;
    ground()
}

#ifdef M_NO_INTENT
#define SETTLED true
#else
#define SETTLED (settle == 0)
#endif
#ifdef M_NO_LEASE
#define LEASE_FREE true
#define HOLDS true
#else
#define LEASE_FREE (left == 0)
#define HOLDS (holder == OWN && left > 0)
#endif
#ifdef M_NO_DEADLINE
#define FITS true
#else
#define FITS (lease[me] >= T + BAND)
#endif

proctype worker(byte me)
{
    byte incarnation; /* a nonce is a worker and its incarnation */
    byte found;

START:
    found = 0;

LEASE: /* waits for the lease, and for the end of what an intent announced */
    atomic {
        if
        :: state == DONE -> acknowledge(); goto FINISH
        :: state != DONE && LEASE_FREE && SETTLED ->
            holder = OWN;
            left = TTL;
            lease[me] = TTL + D
        fi
    };

PROBE:
    atomic {
        if
        :: MAY_SHOW(1) -> found = 1; goto ADOPT
        :: MAY_SHOW(2) -> found = 2; goto ADOPT
        :: MAY_SHOW(3) -> found = 3; goto ADOPT
        :: MISSED -> goto ANNOUNCE
        :: errors > 0 ->
            errors--; /* reached: query_failed */
#ifdef M_ERROR_IS_ABSENT
            goto ANNOUNCE
#else
            release();
            goto START
#endif
        :: crashes > 0 -> crash(); goto START
        fi
    };

ADOPT:
    atomic {
        if
        :: HOLDS && state != DONE ->
            state = DONE; /* reached: adopted */
            done = found;
            writer = 0;
            settle = 0
        :: else -> goto SLOW
        fi;
        release();
        goto START
    };

ANNOUNCE: /* the intent, under the lease's token */
    atomic {
        if
        :: HOLDS && state != DONE ->
            state = INTENT;
            writer = OWN;
            settle = left + S /* reached: announced */
        :: else -> goto SLOW
        fi;
        if
        :: true
        :: crashes > 0 -> crash(); goto START
        fi
    };

CHECK: /* the whole request fits into what is left of the lease, by the worker's own clock */
    atomic {
        if
        :: FITS ->
            flight[me] = UNSENT;
            timer[me] = P
        :: lease[me] < T + BAND + 2 * D -> goto SLOW
        fi
    };

SEND: /* after a pause of at most P */
    atomic {
        flight[me] = SENT;
        timer[me] = T /* reached: sent */
    };

REPLY: /* within T */
    atomic {
        if
        :: create(); ground()
        :: late > 0 && !given_up[me] ->
            late--;
            given_up[me] = 1;
            life[me] = timer[me] + R; /* reached: given_up */
            ground();
            if
            :: release()
            :: crashes > 0 -> crash()
            fi;
            goto START
        fi;
        if
        :: found = pages
        :: lost > 0 -> lost--; release(); goto START
        :: crashes > 0 -> crash(); goto START
        fi
    };

COMMIT:
    atomic {
        if
        :: state == INTENT && writer == OWN ->
            state = DONE; /* reached: done */
            done = found;
            writer = 0;
            settle = 0
        :: else
        fi;
        release();
        goto START
    };

SLOW: /* the lease is over, or nearly; who is too slow each time never ends */
progress:
    atomic {
        release();
        goto START
    };

FINISH:
    running--
}

/* What was given up takes effect within its life, or never. */
active proctype network()
{
    byte w;
end:
    do
    :: atomic {
        if
        :: given_up[0] -> w = 0
        :: given_up[1] -> w = 1
#if WORKERS > 2
        :: given_up[2] -> w = 2
#endif
        fi;
        if
        :: create()
        :: true
        fi;
        given_up[w] = 0; /* reached: delivered_late */
        life[w] = 0;
        w = 0
       }
    od
}

/* Time passes unless something is due now. */
#define DUE(w) ((flight[w] != GROUND && timer[w] == 0) || (given_up[w] && life[w] == 0))
#if WORKERS == 2
#define NONE_DUE (!DUE(0) && !DUE(1))
#define NONE_GIVEN_UP (!given_up[0] && !given_up[1])
#define NONE_SENDS (flight[0] == GROUND && flight[1] == GROUND)
#define NO_LEASE_RUNS (left + lease[0] + lease[1] == 0)
#else
#define NONE_DUE (!DUE(0) && !DUE(1) && !DUE(2))
#define NONE_GIVEN_UP (!given_up[0] && !given_up[1] && !given_up[2])
#define NONE_SENDS (flight[0] == GROUND && flight[1] == GROUND && flight[2] == GROUND)
#define NO_LEASE_RUNS (left + lease[0] + lease[1] + lease[2] == 0)
#endif
#define COUNTS (!NONE_GIVEN_UP || !NONE_SENDS || !NO_LEASE_RUNS || \
                settle + lag[1] + lag[2] + lag[3] > 0)

inline count_down(x)
{
    if
    :: x > 0 -> x--
    :: else
    fi
}

active proctype clock()
{
    byte w;
end:
    do
    :: d_step {
        NONE_DUE && COUNTS;
        count_down(left);
        count_down(settle);
        count_down(lag[1]);
        count_down(lag[2]);
        count_down(lag[3]);
        w = 0;
        do
        :: w < WORKERS ->
            count_down(timer[w]);
            count_down(lease[w]);
            count_down(life[w]);
            w++
        :: else -> break
        od;
        w = 0
       }
    od
}

#ifdef BOUNDS_BROKEN
#define AT_REST (running == 0 && NONE_GIVEN_UP && lag[1] + lag[2] + lag[3] == 0)
/* At rest the healer keeps the ledger's page, and trashes the others. */
active proctype healer()
{
    byte p;
    bit trash[PAGES + 1];
end:
    atomic {
        AT_REST;
        p = 1; /* reached: healed */
        do
        :: p <= pages && p != done -> trash[p] = 1; p++
        :: p <= pages && p == done -> p++
        :: p > pages -> break
        od
    };
    healed()
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
