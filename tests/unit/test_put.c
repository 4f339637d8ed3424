/* SPDX-License-Identifier: Apache-2.0
 *
 * core/put.c, walked through every sequence of answers for small batches, and against
 * a pretended store for larger ones. A judge watches the commands: each record is
 * settled exactly once and in order, nothing is claimed to be written before its COMMIT
 * answered OK, and only an interruption leaves records pending.
 *
 * The judge itself is tested: steps that break one rule each must be caught.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"
#include "core/put.h"
#include "tests/support/bench.h"

typedef void stepper(struct or_put *put, enum onerow_status answer, struct or_put_command *command);

/* ---- the judge ------------------------------------------------------------------------ */

#define MANY 1000U

struct judge {
    size_t n;
    bool dry_run;
    size_t settled; /* records [0, settled) have their outcome */
    bool open;      /* a transaction is open */
    bool applied;   /* the records of `now` are in it */
    bool undone;    /* the transaction of `now` was rolled back */
    bool done;      /* it was kept: its COMMIT answered OK, or the store said so when asked */
    bool asked;     /* what became of it */
    bool looked;    /* what rows there are now */
    struct or_put_range now;
    enum onerow_status failed; /* what the transaction of `now` failed with */
    enum onerow_status told;   /* when asked */
    enum onerow_status broken; /* how the store failed, for good */
    bool interrupted;
    bool unsent;              /* by that, some records have no outcome */
    enum onerow_status worst; /* how the batch must end */
    unsigned transactions;
    uint8_t retried[MANY]; /* of each record: RETRY answers in a row */
    uint8_t clashed[MANY]; /* and CLASH answers while it was alone */
    const char *fault;     /* the first rule that was broken; NULL: none */
};

static void rule(struct judge *judge, bool kept, const char *what)
{
    if (!kept && !judge->fault) {
        judge->fault = what;
    }
}

static bool on_range(const struct judge *judge, const struct or_put_command *command)
{
    return command->first == judge->now.first && command->count == judge->now.count;
}

static bool store_failed(enum onerow_status status)
{
    return status != ONEROW_OK && status != ONEROW_REJECTED && status != ONEROW_UNKNOWN &&
           status != ONEROW_RETRY && status != ONEROW_CLASH && status != ONEROW_INTERRUPTED;
}

/* A transaction whose records have no outcome yet may begin again. */
static void watch_again(struct judge *judge, const struct or_put_command *command)
{
    bool smaller = command->count < judge->now.count;
    unsigned retried = judge->retried[command->first];
    rule(judge, judge->undone, "tried again before it was undone");
    if (judge->failed == ONEROW_RETRY) {
        rule(judge, retried < OR_PUT_RETRIES, "tried again too often");
        rule(judge, smaller == (retried >= OR_PUT_RETRIES_WHOLE && judge->now.count > 1),
             "tried again with another number of records than the rule says");
    } else if (judge->failed == ONEROW_REJECTED || judge->failed == ONEROW_CLASH) {
        bool once_more = judge->failed == ONEROW_CLASH && judge->clashed[command->first] == 1;
        rule(judge, judge->now.count > 1 ? smaller : once_more,
             "what was refused is tried again as it was");
    } else {
        rule(judge, false, "tried again without leave");
    }
}

static void watch_begin(struct judge *judge, const struct or_put_command *command)
{
    rule(judge, !judge->open, "a transaction begins inside another");
    rule(judge, command->count > 0, "an empty transaction");
    rule(judge, command->first == judge->settled, "records are taken out of order");
    rule(judge, command->first + command->count <= judge->n, "records beyond the batch");
    rule(judge, !judge->broken, "goes on after the store failed");
    rule(judge, !judge->interrupted, "goes on after an interruption");
    if (judge->transactions && command->first == judge->now.first) {
        watch_again(judge, command);
    }
    judge->now = (struct or_put_range){.first = command->first, .count = command->count};
    judge->applied = judge->undone = judge->done = judge->asked = judge->looked = false;
    judge->failed = judge->told = ONEROW_OK;
    judge->transactions++;
}

static void watch_doubt(struct judge *judge, bool whole)
{
    rule(judge, whole && judge->failed == ONEROW_UNKNOWN && judge->undone,
         "in doubt without a doubtful answer");
    rule(judge, judge->asked, "in doubt without having asked");
    rule(judge, judge->told != ONEROW_UNKNOWN || judge->looked, "in doubt without a look");
    judge->worst = or_status_worse(judge->worst, ONEROW_UNKNOWN);
}

static void watch_refusal(struct judge *judge, const struct or_put_command *command, bool whole)
{
    size_t at = command->first;
    bool alone = whole && command->count == 1 && command->status == ONEROW_REJECTED &&
                 (judge->failed == ONEROW_REJECTED ||
                  (judge->failed == ONEROW_CLASH && judge->clashed[at] > 1));
    bool worn = whole && judge->failed == ONEROW_RETRY && command->status == ONEROW_RETRY &&
                judge->retried[at] == OR_PUT_RETRIES;
    bool gone = judge->broken && command->status == judge->broken &&
                (!whole || judge->failed == judge->broken);
    rule(judge, command->outcome == ONEROW_REFUSED, "another outcome than the three");
    rule(judge, judge->undone || !whole, "refused before the transaction was undone");
    rule(judge, alone || worn || gone, "refused without a reason");
    judge->worst = or_status_worse(judge->worst, command->status);
}

static void watch_settle(struct judge *judge, const struct or_put_command *command)
{
    bool whole = on_range(judge, command);
    rule(judge, !judge->open, "settled inside a transaction");
    rule(judge, command->count > 0, "nothing is settled");
    rule(judge, command->first == judge->settled, "settled twice, or out of order");
    judge->settled = command->first + command->count;
    rule(judge, judge->settled <= judge->n, "records beyond the batch are settled");
    if (command->outcome == ONEROW_PENDING) {
        bool true_verdicts = judge->dry_run ? judge->undone && judge->applied : judge->done;
        rule(judge, whole && true_verdicts, "verdicts count before their COMMIT answered OK");
    } else if (command->outcome == ONEROW_IN_DOUBT) {
        watch_doubt(judge, whole);
    } else {
        watch_refusal(judge, command, whole);
    }
}

static void watch_end(struct judge *judge, const struct or_put_command *command)
{
    bool all = judge->settled == judge->n;
    rule(judge, !judge->open, "ended inside a transaction");
    rule(judge, all || judge->interrupted, "records are left without an outcome");
    rule(judge, !judge->unsent || !all, "interrupted, yet everything was settled");
    rule(judge, onerow_status_exit(command->status) == onerow_status_exit(judge->worst),
         "the end does not say how it went");
}

/* Looks at a command before it is answered. */
static void watch(struct judge *judge, const struct or_put_command *command)
{
    switch (command->what) {
    case OR_PUT_BEGIN: watch_begin(judge, command); return;
    case OR_PUT_APPLY:
        rule(judge, judge->open && !judge->applied && on_range(judge, command),
             "applied outside its transaction, or twice");
        return;
    case OR_PUT_COMMIT:
        rule(judge, judge->open && judge->applied && on_range(judge, command),
             "committed without being applied");
        rule(judge, !judge->dry_run, "a dry run commits");
        return;
    case OR_PUT_ROLLBACK:
        judge->undone = true;
        judge->open = false;
        return;
    case OR_PUT_RESOLVE:
        rule(judge,
             judge->failed == ONEROW_UNKNOWN && judge->undone && !judge->asked &&
                 on_range(judge, command),
             "asked after what is known, or too early");
        return;
    case OR_PUT_LOOK:
        rule(judge, judge->told == ONEROW_UNKNOWN && !judge->looked && on_range(judge, command),
             "looked without a doubt");
        return;
    case OR_PUT_SETTLE: watch_settle(judge, command); return;
    case OR_PUT_END: watch_end(judge, command); return;
    }
    rule(judge, false, "an unknown command");
}

/* The transaction failed with this, or turned out to have. */
static void hear_failure(struct judge *judge, enum onerow_status answer)
{
    judge->failed = answer;
    for (size_t i = judge->now.first; i < judge->now.first + judge->now.count; i++) {
        if (answer != ONEROW_UNKNOWN) { /* which may turn out to be a RETRY */
            judge->retried[i] = answer == ONEROW_RETRY ? judge->retried[i] + 1 : 0;
        }
        judge->clashed[i] += answer == ONEROW_CLASH && judge->now.count == 1;
    }
    if (answer == ONEROW_INTERRUPTED) {
        judge->interrupted = judge->unsent = true;
        judge->worst = or_status_worse(judge->worst, answer);
    }
    judge->broken = store_failed(answer) ? answer : judge->broken;
}

static void hear_told(struct judge *judge, enum onerow_status answer)
{
    judge->asked = true;
    judge->told = answer;
    judge->done = answer == ONEROW_OK;
    if (answer == ONEROW_ABSENT) {
        hear_failure(judge, ONEROW_RETRY);
    } else if (answer != ONEROW_OK && answer != ONEROW_UNKNOWN) {
        judge->worst = or_status_worse(judge->worst, answer);
        judge->interrupted = answer == ONEROW_INTERRUPTED;
        judge->broken = answer;
    }
}

/* Hears the answer to it. */
static void hear(struct judge *judge, const struct or_put_command *command,
                 enum onerow_status answer)
{
    bool good = answer == ONEROW_OK;
    switch (command->what) {
    case OR_PUT_BEGIN: judge->open = good; break;
    case OR_PUT_APPLY: judge->applied = good; break;
    case OR_PUT_COMMIT:
        judge->done = good;
        judge->open = judge->open && !good;
        break;
    case OR_PUT_RESOLVE: hear_told(judge, answer); return;
    case OR_PUT_LOOK: judge->looked = true; return;
    default: return;
    }
    if (!good) {
        hear_failure(judge, answer);
    }
}

/* ---- every sequence of answers ----------------------------------------------------------- */

static const enum onerow_status ANSWERS[] = {
    ONEROW_OK,          ONEROW_REJECTED, ONEROW_CLASH, ONEROW_RETRY,
    ONEROW_ABSENT,      ONEROW_UNKNOWN,  ONEROW_BUSY,  ONEROW_INTERRUPTED,
    ONEROW_UNAVAILABLE, ONEROW_FULL,     ONEROW_IO,    ONEROW_CORRUPT,
    ONEROW_READONLY,    ONEROW_VANISHED, ONEROW_NOMEM, ONEROW_CONFIG};

#define SEEN_BITS 22U

/* Sequences are without number, but states are not: each is looked at once. */
struct walk {
    stepper *step;
    uint64_t states;
    uint64_t ends;
    uint64_t *seen; /* hashes of states, in a table that never gets full */
    const char *fault;
};

static bool may_answer(enum or_put_do what, enum onerow_status answer)
{
    switch (answer) {
    case ONEROW_OK: return true;
    case ONEROW_ABSENT: return what == OR_PUT_RESOLVE;
    case ONEROW_UNKNOWN: return what == OR_PUT_COMMIT || what == OR_PUT_RESOLVE;
    case ONEROW_INTERRUPTED:
        return what == OR_PUT_BEGIN || what == OR_PUT_APPLY || what == OR_PUT_RESOLVE;
    case ONEROW_REJECTED:
    case ONEROW_CLASH:
    case ONEROW_RETRY: return what == OR_PUT_BEGIN || what == OR_PUT_APPLY || what == OR_PUT_COMMIT;
    case ONEROW_UNAVAILABLE: return what != OR_PUT_SETTLE && what != OR_PUT_ROLLBACK;
    default: return what != OR_PUT_SETTLE && what != OR_PUT_ROLLBACK && what != OR_PUT_LOOK;
    }
}

static uint64_t mix(uint64_t hash, uint64_t more)
{
    hash = (hash ^ more) * 0xff51afd7ed558ccdU;
    return hash ^ hash >> 29;
}

static uint64_t mix_range(uint64_t hash, const struct or_put_range *range)
{
    hash = mix(mix(hash, range->first), range->count);
    return mix(mix(hash, range->retried), range->clashed);
}

static uint64_t state_of(const struct or_put *put, const struct judge *judge,
                         enum onerow_status answer)
{
    uint64_t hash = mix(mix(mix(mix(1, answer), put->state), put->status), put->failed);
    hash = mix_range(mix(hash, put->depth), &put->now);
    for (unsigned i = 0; i < put->depth; i++) {
        hash = mix_range(hash, &put->stack[i]);
    }
    hash = mix_range(mix(hash, judge->settled), &judge->now);
    hash = mix(mix(mix(mix(hash, judge->failed), judge->told), judge->broken), judge->worst);
    hash = mix(hash, (uint64_t)judge->open | (uint64_t)judge->applied << 1 |
                         (uint64_t)judge->undone << 2 | (uint64_t)judge->done << 3 |
                         (uint64_t)judge->asked << 4 | (uint64_t)judge->looked << 5 |
                         (uint64_t)judge->interrupted << 6 | (uint64_t)judge->unsent << 7 |
                         (uint64_t)(judge->transactions > 0) << 8);
    for (size_t i = judge->settled; i < judge->n; i++) {
        hash = mix(mix(hash, judge->retried[i]), judge->clashed[i]);
    }
    return hash ? hash : 1;
}

static bool is_new(struct walk *w, uint64_t state)
{
    size_t mask = (1U << SEEN_BITS) - 1;
    size_t at = state & mask;
    while (w->seen[at] && w->seen[at] != state) {
        at = (at + 1) & mask;
    }
    bool fresh = !w->seen[at];
    w->seen[at] = state;
    w->states += fresh;
    assert_true(w->states < mask / 2);
    return fresh;
}

static void walk(struct walk *w, const struct or_put *before, const struct judge *known,
                 enum onerow_status answer)
{
    struct or_put put = *before;
    struct judge judge = *known;
    struct or_put_command command = {0};
    if (!is_new(w, state_of(&put, &judge, answer))) {
        return;
    }
    w->step(&put, answer, &command);
    watch(&judge, &command);
    if (judge.fault || command.what == OR_PUT_END) {
        w->ends++;
        w->fault = w->fault ? w->fault : judge.fault;
        return;
    }
    for (size_t i = 0; i < sizeof ANSWERS / sizeof *ANSWERS && !w->fault; i++) {
        if (may_answer(command.what, ANSWERS[i])) {
            struct judge heard = judge;
            hear(&heard, &command, ANSWERS[i]);
            walk(w, &put, &heard, ANSWERS[i]);
        }
    }
}

static struct walk walk_all(stepper *step, size_t n, bool dry_run)
{
    struct walk w = {.step = step, .seen = calloc(1U << SEEN_BITS, sizeof *w.seen)};
    struct judge judge = {.n = n, .dry_run = dry_run};
    struct or_put put;
    assert_non_null(w.seen);
    or_put_init(&put, n, dry_run);
    walk(&w, &put, &judge, ONEROW_OK);
    free(w.seen);
    w.seen = NULL;
    return w;
}

static void every_sequence_of_answers(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        for (int dry_run = 0; dry_run <= 1; dry_run++) {
            struct walk w = walk_all(or_put_step, n, dry_run);
            printf("# n=%zu%s: %llu states, %llu ways to end\n", n, dry_run ? " dry run" : "",
                   (unsigned long long)w.states, (unsigned long long)w.ends);
            if (w.fault) {
                fail_msg("n=%zu dry_run=%d: %s", n, dry_run, w.fault);
            }
            assert_true(w.ends > 10);
        }
    }
}

/* ---- steps that break a rule, which the judge must see ------------------------------------- */

/* Acknowledges as soon as the records are applied. */
static void hasty(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    bool applied = put->state == OR_PUT_APPLYING && answer == ONEROW_OK;
    or_put_step(put, answer, command);
    if (applied) {
        command->what = OR_PUT_SETTLE;
        command->outcome = ONEROW_PENDING;
    }
}

/* Takes an unknown COMMIT for a success. */
static void hopeful(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    or_put_step(put, answer, command);
    if (command->what == OR_PUT_SETTLE && command->outcome == ONEROW_IN_DOUBT) {
        command->outcome = ONEROW_PENDING;
    }
}

/* Writes the second half first. */
static void disorderly(struct or_put *put, enum onerow_status answer,
                       struct or_put_command *command)
{
    unsigned depth = put->depth;
    if (put->state == OR_PUT_IDLE && depth >= 2) {
        struct or_put_range top = put->stack[depth - 1];
        put->stack[depth - 1] = put->stack[depth - 2];
        put->stack[depth - 2] = top;
    }
    or_put_step(put, answer, command);
}

/* Forgets what is left when the store fails. */
static void forgetful(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_ABANDONING) {
        put->depth = 0;
    }
    or_put_step(put, answer, command);
}

/* Refuses a whole group for one bad record. */
static void sweeping(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    size_t count = put->now.count;
    if (put->state == OR_PUT_UNDOING) {
        put->now.count = 1;
    }
    or_put_step(put, answer, command);
    if (command->what == OR_PUT_SETTLE) {
        command->count = put->now.count = count;
    }
}

/* Takes an unknown COMMIT for a failed one. */
static void presuming(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_UNDOING && put->failed == ONEROW_UNKNOWN) {
        put->failed = ONEROW_RETRY;
    }
    or_put_step(put, answer, command);
}

/* Takes "nothing of it was kept" for "it was kept". */
static void mishearing(struct or_put *put, enum onerow_status answer,
                       struct or_put_command *command)
{
    bool told = put->state == OR_PUT_RESOLVING && answer == ONEROW_ABSENT;
    or_put_step(put, told ? ONEROW_OK : answer, command);
}

/* Does not look what rows there are. */
static void blind(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_RESOLVING && answer == ONEROW_UNKNOWN) {
        put->state = OR_PUT_LOOKING;
    }
    or_put_step(put, answer, command);
}

/* Goes on when nobody answers. */
static void deaf(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    bool asked = put->state == OR_PUT_RESOLVING;
    or_put_step(put, answer, command);
    if (asked && put->state == OR_PUT_ABANDONING) {
        put->state = OR_PUT_IDLE;
    }
}

/* Never stops trying. */
static void stubborn(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_UNDOING && put->now.retried + 1 == OR_PUT_RETRIES) {
        put->now.retried--;
    }
    or_put_step(put, answer, command);
}

/* Tries a large transaction as often as a small one. */
static void clumsy(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_UNDOING && put->now.count > 1 &&
        put->now.retried + 1 == OR_PUT_RETRIES_WHOLE) {
        put->now.retried--;
    }
    or_put_step(put, answer, command);
}

/* Refuses at the first clash. */
static void impatient(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    put->now.clashed = true;
    or_put_step(put, answer, command);
}

/* Refuses what was only interrupted. */
static void rude(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    if (put->state == OR_PUT_UNDOING && put->failed == ONEROW_INTERRUPTED) {
        put->failed = ONEROW_BUSY;
    }
    or_put_step(put, answer, command);
}

/* Ends well after a doubt. */
static void cheerful(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    or_put_step(put, answer, command);
    if (command->what == OR_PUT_END && command->status == ONEROW_UNKNOWN) {
        command->status = ONEROW_OK;
    }
}

static void the_judge_sees_broken_rules(void **state)
{
    (void)state;
    static const struct {
        stepper *step;
        const char *fault;
    } broken[] = {
        {hasty, "settled inside a transaction"},
        {hopeful, "verdicts count before their COMMIT answered OK"},
        {disorderly, "records are taken out of order"},
        {forgetful, "records are left without an outcome"},
        {sweeping, "refused without a reason"},
        {presuming, "refused without a reason"},
        {mishearing, "verdicts count before their COMMIT answered OK"},
        {blind, "in doubt without a look"},
        {deaf, "goes on after the store failed"},
        {stubborn, "tried again too often"},
        {clumsy, "tried again with another number of records than the rule says"},
        {impatient, "refused without a reason"},
        {rude, "refused without a reason"},
        {cheerful, "the end does not say how it went"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct walk w = walk_all(broken[i].step, 4, false);
        assert_non_null(w.fault);
        assert_string_equal(w.fault, broken[i].fault);
    }
}

/* ---- a pretended store with bad records ---------------------------------------------------- */

struct pretence {
    bool bad[MANY];
    bool at_commit[MANY]; /* a bad record fails the COMMIT instead of the APPLY */
    bool kept[MANY];
    enum onerow_outcome outcome[MANY];
};

static enum onerow_status pretend(struct pretence *store, const struct or_put_command *command)
{
    for (size_t i = command->first; i < command->first + command->count; i++) {
        bool now = command->what == (store->at_commit[i] ? OR_PUT_COMMIT : OR_PUT_APPLY);
        if (store->bad[i] && now) {
            return ONEROW_REJECTED;
        }
    }
    for (size_t i = 0; i < command->count; i++) {
        if (command->what == OR_PUT_COMMIT) {
            store->kept[command->first + i] = true;
        } else if (command->what == OR_PUT_SETTLE) {
            store->outcome[command->first + i] =
                command->outcome == ONEROW_PENDING ? ONEROW_CREATED : command->outcome;
        }
    }
    return ONEROW_OK;
}

static unsigned halvings(size_t n)
{
    unsigned count = 0;
    for (size_t size = 1; size < n; size *= 2) {
        count++;
    }
    return count;
}

typedef enum onerow_status answerer(struct pretence *store, const struct or_put_command *command);

/* Returns how many transactions were begun. */
static unsigned run_answers(struct pretence *store, size_t n, answerer *answers, struct or_put *put)
{
    struct judge judge = {.n = n};
    struct or_put_command command = {0};
    enum onerow_status answer = ONEROW_OK;
    unsigned commits = 0;
    or_put_init(put, n, false);
    for (or_put_step(put, answer, &command); command.what != OR_PUT_END;
         or_put_step(put, answer, &command)) {
        watch(&judge, &command);
        answer = answers(store, &command);
        hear(&judge, &command, answer);
        commits += command.what == OR_PUT_COMMIT;
    }
    watch(&judge, &command);
    if (judge.fault) {
        fail_msg("n=%zu: %s", n, judge.fault);
    }
    assert_int_equal(put->transactions, commits);
    return judge.transactions;
}

static unsigned run_pretence(struct pretence *store, size_t n)
{
    struct or_put put;
    unsigned transactions = run_answers(store, n, pretend, &put);
    assert_int_equal(put.retries, 0);
    assert_int_equal(transactions, 1 + 2 * put.bisects);
    return transactions;
}

static void bad_records_are_found_by_halving(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        struct pretence store = {0};
        size_t n = 1 + dice() % MANY;
        unsigned wanted = (unsigned)(dice() % 6);
        for (unsigned i = 0; i < wanted; i++) {
            size_t at = dice() % n;
            store.bad[at] = true;
            store.at_commit[at] = dice() & 1;
        }
        unsigned transactions = run_pretence(&store, n);
        unsigned bad = 0;
        for (size_t i = 0; i < n; i++) {
            bad += store.bad[i];
            assert_int_equal(store.kept[i], !store.bad[i]);
            assert_int_equal(store.outcome[i], store.bad[i] ? ONEROW_REFUSED : ONEROW_CREATED);
        }
        assert_true(transactions <= 1 + 2 * bad * halvings(n));
        assert_true(bad > 0 || transactions == 1);
    }
}

/* The naive way, to refuse the whole batch or to go record by record: what halving is for. */
static void one_by_one_costs_more(void **state)
{
    (void)state;
    struct pretence store = {0};
    store.bad[700] = true;
    unsigned transactions = run_pretence(&store, MANY);
    printf("# 1 bad record in %u: %u transactions, one by one %u\n", MANY, transactions, MANY);
    assert_true(transactions <= 1 + 2 * halvings(MANY));
    assert_true(1 + 2 * halvings(MANY) < MANY);
}

/* The deepest stack that a batch can need. */
static void all_bad(void **state)
{
    (void)state;
    struct pretence store = {0};
    memset(store.bad, true, sizeof store.bad);
    unsigned transactions = run_pretence(&store, MANY);
    assert_int_equal(transactions, 2 * MANY - 1);
}

/* ---- a pretended store with bad days -------------------------------------------------------- */

static enum onerow_status undo_always(struct pretence *store, const struct or_put_command *command)
{
    if (command->what == OR_PUT_COMMIT) {
        return ONEROW_RETRY;
    }
    return pretend(store, command);
}

/* However large the batch, the number of transactions has a limit. */
static void a_store_that_always_undoes(void **state)
{
    (void)state;
    struct pretence store = {0};
    struct or_put put;
    unsigned transactions = run_answers(&store, MANY, undo_always, &put);
    assert_int_equal(put.status, ONEROW_RETRY);
    assert_int_equal(transactions, 257);
    assert_int_equal(transactions, 1 + put.retries + 2 * put.bisects);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(store.outcome[i], ONEROW_REFUSED);
    }
    transactions = run_answers(&store, 1, undo_always, &put);
    assert_int_equal(transactions, OR_PUT_RETRIES);
    assert_int_equal(put.retries, OR_PUT_RETRIES - 1);
    assert_int_equal(put.bisects, 0);
}

static unsigned bad_luck; /* how many answers to BEGIN are still to be RETRY */

static enum onerow_status undo_some(struct pretence *store, const struct or_put_command *command)
{
    if (command->what == OR_PUT_BEGIN && bad_luck) {
        bad_luck--;
        return ONEROW_RETRY;
    }
    return pretend(store, command);
}

static void after_a_retry_all_is_well(void **state)
{
    (void)state;
    for (bad_luck = 0; bad_luck < OR_PUT_RETRIES; bad_luck++) {
        unsigned had = bad_luck;
        struct pretence store = {0};
        struct or_put put;
        run_answers(&store, 1, undo_some, &put);
        assert_int_equal(put.status, ONEROW_OK);
        assert_int_equal(put.retries, had);
        assert_int_equal(store.outcome[0], ONEROW_CREATED);
        bad_luck = had;
        run_answers(&store, MANY, undo_some, &put);
        assert_int_equal(put.status, ONEROW_OK);
        assert_int_equal(put.retries, had < OR_PUT_RETRIES_WHOLE ? had : OR_PUT_RETRIES_WHOLE - 1);
        bad_luck = had;
    }
}

/* A value of a second unique column that is freed in a moment, or never. */
static unsigned clashes;

static enum onerow_status clash(struct pretence *store, const struct or_put_command *command)
{
    bool there = command->first <= 7 && 7 < command->first + command->count;
    if (command->what == OR_PUT_APPLY && there && (command->count > 1 || clashes)) {
        clashes -= command->count == 1;
        return ONEROW_CLASH;
    }
    return pretend(store, command);
}

static void a_clash_is_tried_once_more(void **state)
{
    (void)state;
    struct pretence store = {0};
    struct or_put put;
    clashes = 1;
    run_answers(&store, 16, clash, &put);
    assert_int_equal(put.status, ONEROW_OK);
    assert_int_equal(put.retries, 1);
    assert_int_equal(put.bisects, 4);
    assert_int_equal(store.outcome[7], ONEROW_CREATED);
    clashes = 2;
    run_answers(&store, 16, clash, &put);
    assert_int_equal(put.status, ONEROW_REJECTED);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(store.outcome[i], i == 7 ? ONEROW_REFUSED : ONEROW_CREATED);
    }
}

/* A store whose answers get lost, and which knows its transactions most of the time. */
struct storm {
    struct pretence store; /* first: the answerer gets its address */
    unsigned written[MANY];
    bool kept; /* the transaction in doubt was kept */
};

static enum onerow_status commit_in_a_storm(struct storm *storm,
                                            const struct or_put_command *command)
{
    unsigned fate = (unsigned)(dice() % 8);
    storm->kept = fate != 1 && fate != 2;
    for (size_t i = command->first; i < command->first + command->count && storm->kept; i++) {
        storm->written[i]++;
    }
    return fate == 1 ? ONEROW_RETRY : fate <= 3 && fate ? ONEROW_UNKNOWN : ONEROW_OK;
}

static enum onerow_status weather(struct pretence *store, const struct or_put_command *command)
{
    struct storm *storm = (struct storm *)store;
    switch (command->what) {
    case OR_PUT_BEGIN: return dice() % 8 ? ONEROW_OK : ONEROW_RETRY;
    case OR_PUT_APPLY: return dice() % 8 ? pretend(store, command) : ONEROW_RETRY;
    case OR_PUT_COMMIT: return commit_in_a_storm(storm, command);
    case OR_PUT_RESOLVE:
        return dice() % 4 == 0 ? ONEROW_UNKNOWN : storm->kept ? ONEROW_OK : ONEROW_ABSENT;
    default: return pretend(store, command);
    }
}

/* What is acknowledged is written once, what is refused is not written, and the rest is in doubt.
 */
static void a_storm_loses_nothing_and_doubles_nothing(void **state)
{
    (void)state;
    unsigned doubts = 0;
    for (unsigned round = 0; round < 500; round++) {
        struct storm storm = {0};
        struct or_put put;
        size_t n = 1 + dice() % MANY;
        size_t bad = dice() % MANY;
        storm.store.bad[bad] = dice() & 1;
        unsigned transactions = run_answers(&storm.store, n, weather, &put);
        assert_int_equal(transactions, 1 + put.retries + 2 * put.bisects);
        for (size_t i = 0; i < n; i++) {
            enum onerow_outcome outcome = storm.store.outcome[i];
            assert_true(storm.written[i] <= 1);
            assert_true(outcome == ONEROW_CREATED || outcome == ONEROW_REFUSED ||
                        outcome == ONEROW_IN_DOUBT);
            assert_true(outcome == ONEROW_IN_DOUBT ||
                        storm.written[i] == (outcome == ONEROW_CREATED));
            doubts += outcome == ONEROW_IN_DOUBT;
        }
        assert_true(onerow_status_exit(put.status) <= 1 || put.status == ONEROW_RETRY);
    }
    assert_true(doubts > 0);
}

/* What was resolved does not show in how the batch ends; what was not, does, and the rest goes on.
 */
static enum onerow_status resolution;

static enum onerow_status lose_one_answer(struct pretence *store,
                                          const struct or_put_command *command)
{
    if (command->what == OR_PUT_COMMIT && !store->kept[0]) {
        pretend(store, command);
        return ONEROW_UNKNOWN;
    }
    return command->what == OR_PUT_RESOLVE ? resolution : pretend(store, command);
}

static void a_doubt_that_is_resolved_is_none(void **state)
{
    (void)state;
    static const struct {
        enum onerow_status told;
        enum onerow_status end;
        enum onerow_outcome outcome;
        unsigned transactions;
    } cases[] = {
        {ONEROW_OK, ONEROW_OK, ONEROW_CREATED, 1},
        {ONEROW_ABSENT, ONEROW_OK, ONEROW_CREATED, 2},
        {ONEROW_UNKNOWN, ONEROW_UNKNOWN, ONEROW_IN_DOUBT, 1},
        {ONEROW_UNAVAILABLE, ONEROW_UNAVAILABLE, ONEROW_IN_DOUBT, 1},
        {ONEROW_INTERRUPTED, ONEROW_INTERRUPTED, ONEROW_IN_DOUBT, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pretence store = {0};
        struct or_put put;
        resolution = cases[i].told;
        unsigned transactions = run_answers(&store, 1, lose_one_answer, &put);
        assert_int_equal(put.status, cases[i].end);
        assert_int_equal(store.outcome[0], cases[i].outcome);
        assert_int_equal(transactions, cases[i].transactions);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_of_answers),
        cmocka_unit_test(the_judge_sees_broken_rules),
        cmocka_unit_test(bad_records_are_found_by_halving),
        cmocka_unit_test(one_by_one_costs_more),
        cmocka_unit_test(all_bad),
        cmocka_unit_test(a_store_that_always_undoes),
        cmocka_unit_test(after_a_retry_all_is_well),
        cmocka_unit_test(a_clash_is_tried_once_more),
        cmocka_unit_test(a_storm_loses_nothing_and_doubles_nothing),
        cmocka_unit_test(a_doubt_that_is_resolved_is_none),
    };
    seed_dice();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
