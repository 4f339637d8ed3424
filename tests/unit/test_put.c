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
#include <string.h>

#include <cmocka.h>

#include "core/put.h"
#include "tests/support/bench.h"

typedef void stepper(struct or_put *put, enum onerow_status answer, struct or_put_command *command);

/* ---- the judge ------------------------------------------------------------------------ */

struct judge {
    size_t n;
    bool dry_run;
    size_t settled; /* records [0, settled) have their outcome */
    bool open;      /* a transaction is open */
    bool applied;   /* the records of `now` are in it */
    bool undone;    /* the transaction of `now` was rolled back */
    bool done;      /* the transaction of `now` was committed: its COMMIT answered OK */
    struct or_put_range now;
    enum onerow_status failed; /* what the transaction of `now` failed with */
    bool interrupted;
    bool refused; /* some record */
    unsigned transactions;
    const char *fault; /* the first rule that was broken; NULL: none */
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

static void watch_begin(struct judge *judge, const struct or_put_command *command)
{
    rule(judge, !judge->open, "a transaction begins inside another");
    rule(judge, command->count > 0, "an empty transaction");
    rule(judge, command->first == judge->settled, "records are taken out of order");
    rule(judge, command->first + command->count <= judge->n, "records beyond the batch");
    judge->now = (struct or_put_range){command->first, command->count};
    judge->applied = judge->undone = judge->done = false;
    judge->failed = ONEROW_OK;
    judge->transactions++;
}

static bool store_failed(enum onerow_status status)
{
    return status != ONEROW_OK && status != ONEROW_REJECTED && status != ONEROW_UNKNOWN;
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
        rule(judge, whole && judge->failed == ONEROW_UNKNOWN, "in doubt without a doubtful answer");
    } else {
        bool alone = judge->failed == ONEROW_REJECTED && whole && command->count == 1;
        bool never_sent =
            !whole && (store_failed(judge->failed) || judge->failed == ONEROW_UNKNOWN);
        bool store = whole && store_failed(judge->failed);
        judge->refused = true;
        rule(judge, command->outcome == ONEROW_REFUSED, "another outcome than the three");
        rule(judge, judge->undone || never_sent, "refused before the transaction was undone");
        rule(judge, alone || never_sent || store, "refused without a reason");
        rule(judge, command->status == judge->failed,
             "refused with another reason than the store's");
    }
}

static void watch_end(struct judge *judge, const struct or_put_command *command)
{
    bool all = judge->settled == judge->n;
    rule(judge, !judge->open, "ended inside a transaction");
    rule(judge, all || judge->interrupted, "records are left without an outcome");
    rule(judge, !judge->interrupted || !all, "interrupted, yet everything was settled");
    rule(judge, (command->status == ONEROW_OK) == (all && !judge->refused && !judge->failed),
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
    case OR_PUT_SETTLE: watch_settle(judge, command); return;
    case OR_PUT_END: watch_end(judge, command); return;
    }
    rule(judge, false, "an unknown command");
}

/* Hears the answer to it. */
static void hear(struct judge *judge, const struct or_put_command *command,
                 enum onerow_status answer)
{
    bool good = answer == ONEROW_OK;
    switch (command->what) {
    case OR_PUT_BEGIN:
        judge->open = good;
        judge->interrupted = answer == ONEROW_INTERRUPTED;
        break;
    case OR_PUT_APPLY: judge->applied = good; break;
    case OR_PUT_COMMIT:
        judge->done = good;
        judge->open = judge->open && !good;
        break;
    default: return;
    }
    judge->failed = good ? judge->failed : answer;
}

/* ---- every sequence of answers ----------------------------------------------------------- */

static const enum onerow_status ANSWERS[] = {
    ONEROW_OK,   ONEROW_REJECTED, ONEROW_UNKNOWN,    ONEROW_UNAVAILABLE, ONEROW_FULL,
    ONEROW_IO,   ONEROW_CORRUPT,  ONEROW_READONLY,   ONEROW_VANISHED,    ONEROW_NOMEM,
    ONEROW_BUSY, ONEROW_CONFIG,   ONEROW_INTERRUPTED};

struct walk {
    stepper *step;
    uint64_t ends;
    const char *fault;
};

static bool may_answer(enum or_put_do what, enum onerow_status answer)
{
    if (what == OR_PUT_SETTLE || what == OR_PUT_ROLLBACK) {
        return answer == ONEROW_OK;
    }
    if (answer == ONEROW_INTERRUPTED) {
        return what == OR_PUT_BEGIN;
    }
    return answer != ONEROW_UNKNOWN || what == OR_PUT_COMMIT;
}

static void walk(struct walk *w, struct or_put put, struct judge judge, enum onerow_status answer)
{
    struct or_put_command command = {0};
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
            walk(w, put, heard, ANSWERS[i]);
        }
    }
}

static struct walk walk_all(stepper *step, size_t n, bool dry_run)
{
    struct walk w = {.step = step};
    struct or_put put;
    or_put_init(&put, n, dry_run);
    walk(&w, put, (struct judge){.n = n, .dry_run = dry_run}, ONEROW_OK);
    return w;
}

static void every_sequence_of_answers(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        for (int dry_run = 0; dry_run <= 1; dry_run++) {
            struct walk w = walk_all(or_put_step, n, dry_run);
            printf("# n=%zu%s: %llu ways to end\n", n, dry_run ? " dry run" : "",
                   (unsigned long long)w.ends);
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
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct walk w = walk_all(broken[i].step, 4, false);
        assert_non_null(w.fault);
        assert_string_equal(w.fault, broken[i].fault);
    }
}

/* ---- a pretended store with bad records ---------------------------------------------------- */

#define MANY 1000U

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

static unsigned run_pretence(struct pretence *store, size_t n)
{
    struct judge judge = {.n = n};
    struct or_put put;
    struct or_put_command command = {0};
    enum onerow_status answer = ONEROW_OK;
    or_put_init(&put, n, false);
    for (or_put_step(&put, answer, &command); command.what != OR_PUT_END;
         or_put_step(&put, answer, &command)) {
        watch(&judge, &command);
        answer = pretend(store, &command);
        hear(&judge, &command, answer);
    }
    watch(&judge, &command);
    if (judge.fault) {
        fail_msg("n=%zu: %s", n, judge.fault);
    }
    return judge.transactions;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_of_answers),
        cmocka_unit_test(the_judge_sees_broken_rules),
        cmocka_unit_test(bad_records_are_found_by_halving),
        cmocka_unit_test(one_by_one_costs_more),
        cmocka_unit_test(all_bad),
    };
    seed_dice();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
