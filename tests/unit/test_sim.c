/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's engine. A run is a function of its configuration; what is muted changes nothing
 * before it; the wrong protocols are found soon and the right ones are clean. And each oracle is
 * shown a world that breaks what it watches, for one that never speaks shows nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sim/parts.h"

#define ALL_FAULTS ((1U << SIM_FAULTS) - 1U)

static struct sim_config config_of(enum sim_protocol protocol, bool bounded, uint64_t seed)
{
    return (struct sim_config){
        .protocol = protocol, .within_bounds = bounded, .faults = ALL_FAULTS, .seed = seed};
}

/* ---- runs --------------------------------------------------------------------------------------
 */

#define REPEATED  2000U  /* schedules of each protocol that are run twice */
#define CLEAN     20000U /* of guarded and of direct; `onerow simulate` has more in its own tests */
#define SOON      64U    /* a wrong protocol is found within as many */
#define SEED      20000000U
#define ENTRIES   4096U
#define WORDS_MAX 96U

static void a_run_is_its_configuration(void **state)
{
    struct sim_result first;
    struct sim_result second;
    struct sim_result between;
    (void)state;
    for (unsigned i = 0; i < REPEATED * SIM_PROTOCOLS; i++) {
        struct sim_config config =
            config_of((enum sim_protocol)(i % SIM_PROTOCOLS), i & 8U, SEED + i);
        struct sim_config other = config_of(SIM_GUARDED, false, SEED - 1 - i);
        sim_run(&config, &first, NULL, NULL);
        sim_run(&other, &between, NULL, NULL); /* what it leaves behind is not seen by the next */
        sim_run(&config, &second, NULL, NULL);
        assert_memory_equal(&first, &second, sizeof first);
    }
}

static void another_seed_is_another_run(void **state)
{
    struct sim_result first;
    struct sim_result second;
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        struct sim_config config = config_of(SIM_GUARDED, true, SEED + i);
        sim_run(&config, &first, NULL, NULL);
        config.seed++;
        sim_run(&config, &second, NULL, NULL);
        assert_true(first.digest != second.digest);
    }
}

struct entries {
    struct sim_entry at[ENTRIES];
    char words[ENTRIES][WORDS_MAX];
    unsigned n;
};

static void collect(void *context, const struct sim_entry *entry)
{
    struct entries *entries = context;
    if (entries->n < ENTRIES) {
        entries->at[entries->n] = *entry;
        snprintf(entries->words[entries->n++], WORDS_MAX, "%s", entry->what);
    }
}

static void watching_changes_nothing(void **state)
{
    static struct entries entries;
    struct sim_result seen;
    struct sim_result unseen;
    (void)state;
    for (unsigned i = 0; i < 600; i++) {
        struct sim_config config =
            config_of((enum sim_protocol)(i % SIM_PROTOCOLS), true, SEED + i);
        entries.n = 0;
        sim_run(&config, &seen, collect, &entries);
        sim_run(&config, &unseen, NULL, NULL);
        assert_memory_equal(&seen, &unseen, sizeof seen);
        assert_true(entries.n > 0);
    }
}

/* The index of the `nth` injection among the entries; ENTRIES: there are not so many. */
static unsigned find_injection(const struct entries *entries, unsigned nth)
{
    for (unsigned i = 0; i < entries->n; i++) {
        if (entries->at[i].is_fault && nth-- == 0) {
            return i;
        }
    }
    return ENTRIES;
}

/* Mutes the injection at `at`: all before it stays, and it does not happen itself. */
static void mute_one(const struct entries *whole, struct sim_config config, unsigned at)
{
    static struct entries muted;
    struct sim_result result;
    config.muted[0] = whole->at[at].number;
    config.n_muted = 1;
    muted.n = 0;
    sim_run(&config, &result, collect, &muted);
    assert_true(muted.n >= at);
    for (unsigned i = 0; i < at; i++) {
        assert_true(whole->at[i].at_us == muted.at[i].at_us);
        assert_string_equal(whole->words[i], muted.words[i]);
    }
    for (unsigned i = 0; i < muted.n; i++) {
        assert_false(muted.at[i].is_fault && muted.at[i].number == config.muted[0]);
    }
}

static void muting_changes_only_what_follows(void **state)
{
    static struct entries whole;
    struct sim_result result;
    unsigned n = 0;
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct sim_config config = config_of((enum sim_protocol)(i % 2), true, SEED + i);
        whole.n = 0;
        sim_run(&config, &result, collect, &whole);
        unsigned at = find_injection(&whole, i % 10);
        if (at < ENTRIES) {
            mute_one(&whole, config, at);
            n++;
        }
    }
    assert_true(n > 100);
}

static void a_class_that_is_left_out_never_strikes(void **state)
{
    struct sim_result result;
    (void)state;
    for (unsigned i = 0; i < 10 * SIM_FAULTS; i++) {
        struct sim_config config = config_of(SIM_GUARDED, false, SEED + i);
        config.faults &= ~(1U << i % SIM_FAULTS);
        sim_run(&config, &result, NULL, NULL);
        assert_int_equal(result.by_class[i % SIM_FAULTS], 0);
    }
}

static void every_class_strikes(void **state)
{
    uint64_t by_class[SIM_FAULTS] = {0};
    struct sim_result result;
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        struct sim_config config = config_of(SIM_GUARDED, false, SEED + i);
        sim_run(&config, &result, NULL, NULL);
        uint64_t sum = 0;
        for (unsigned k = 0; k < SIM_FAULTS; k++) {
            by_class[k] += result.by_class[k];
            sum += result.by_class[k];
        }
        assert_true(sum == result.injections);
    }
    for (unsigned k = 0; k < SIM_FAULTS; k++) {
        assert_true(by_class[k] > 0);
    }
}

static void runs_clean(enum sim_protocol protocol, bool bounded)
{
    struct sim_result result;
    for (uint64_t seed = SEED; seed < SEED + CLEAN; seed++) {
        struct sim_config config = config_of(protocol, bounded, seed);
        sim_run(&config, &result, NULL, NULL);
        if (result.violation != SIM_VIOLATION_NONE) {
            print_message("# %s, seed %llu: %s\n", sim_protocol_name(protocol),
                          (unsigned long long)seed, sim_violation_text(result.violation));
        }
        assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    }
}

static void guarded_and_direct_are_clean(void **state)
{
    (void)state;
    runs_clean(SIM_GUARDED, true);
    runs_clean(SIM_GUARDED, false);
    runs_clean(SIM_DIRECT, true);
    runs_clean(SIM_DIRECT, false);
}

static void wrong_protocols_are_found_soon(void **state)
{
    (void)state;
    for (unsigned protocol = SIM_NAIVE; protocol < SIM_PROTOCOLS; protocol++) {
        struct sim_result result = {.violation = SIM_VIOLATION_NONE};
        for (unsigned i = 0; i < SOON && result.violation != SIM_VIOLATION_TWO_PAGES; i++) {
            struct sim_config config = config_of((enum sim_protocol)protocol, false, SEED + i);
            sim_run(&config, &result, NULL, NULL);
        }
        assert_int_equal(result.violation, SIM_VIOLATION_TWO_PAGES);
    }
}

/* ---- a world that is right ---------------------------------------------------------------------
 *
 * Key A has page P00, which was created with record 0's payload and acknowledged; record 1 found it
 * equal. Both have their outcome, and everything is at rest. */

static struct sim_config config;
static struct sim_result result;
static struct sim_world world;

static void add_record(unsigned i, enum onerow_outcome outcome)
{
    struct sim_record *record = &world.records[i];
    memset(record, 0, sizeof *record);
    record->key = 1;
    record->content = 1;
    record->settled = 1;
    record->outcome = (uint8_t)outcome;
    record->acked_page = 1;
    record->payload.text = sim_record_text(i);
    record->payload.order = sim_order(0);
    sim_value_fingerprint(&world, i + 1, record->payload.fingerprint);
}

static struct sim_page *add_page(unsigned key, unsigned value)
{
    struct sim_page *page = sim_store_add(&world, &world.rng);
    assert_non_null(page);
    page->key = (uint8_t)key;
    page->key_by_onerow = true;
    page->value = (uint8_t)value;
    page->applied = (uint64_t)1 << (value - 1);
    return page;
}

static struct or_swap swap_to(enum or_key_state becomes)
{
    struct or_swap swap = {.revision = world.ledger.keys[1].revision,
                           .becomes = world.ledger.keys[1]};
    swap.becomes.state = becomes;
    return swap;
}

static struct or_swap bind_swap(void)
{
    struct or_swap swap = swap_to(OR_KEY_BOUND);
    swap.becomes.page = swap.page = sim_page_id(0);
    swap.becomes.version = 1;
    swap.becomes.nonce = swap.taken = (struct or_nonce){1, 1};
    swap.becomes.pending = world.records[0].payload;
    swap.stamp = true;
    swap.page_revision = ONEROW_LEDGER_ANY;
    swap.page_states = 1U << OR_PAGE_UNRECORDED;
    swap.page_becomes = OR_PAGE_BOUND;
    return swap;
}

static struct or_swap done_swap(void)
{
    struct or_swap swap = swap_to(OR_KEY_DONE);
    swap.becomes.known = true;
    memcpy(swap.becomes.fingerprint, swap.becomes.pending.fingerprint, OR_FINGERPRINT_LEN);
    swap.becomes.pending = (struct or_payload){0};
    swap.becomes.nonce = (struct or_nonce){0};
    return swap;
}

static void set_up(enum sim_protocol protocol)
{
    config = config_of(protocol, true, SEED);
    config.workers = 2;
    config.keys = 1;
    config.faults = 0;
    sim_world_init(&world, &config, &result, NULL, NULL);
    sim_swarm_draw(&world);
    world.governed = false;
    world.options.policy = ONEROW_POLICY_UPDATE;
    world.options.deletion = OR_DELETION_TOMBSTONE;
    world.ledger.through_bytes = true;
    world.n_records = 2;
    add_record(0, ONEROW_CREATED);
    add_record(1, ONEROW_UNCHANGED);
    struct sim_page *page = add_page(1, 1);
    struct or_swap bind = bind_swap();
    assert_true(sim_ledger_swap(&world, 1, &bind));
    struct or_swap done = done_swap();
    assert_true(sim_ledger_swap(&world, 1, &done));
    page->acked_key = 1;
    page->created_acked = 1;
    world.facts[1].acked_page = 1;
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
}

static void a_world_that_is_right_is_not_blamed(void **state)
{
    (void)state;
    for (unsigned protocol = 0; protocol < SIM_PROTOCOLS; protocol++) {
        set_up((enum sim_protocol)protocol);
        sim_oracle_page(&world, &world.pages[0]);
        sim_oracle_end(&world);
        assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    }
}

/* What people did is no fault of onerow's, and a page of theirs is no twin of its making. */
static void people_are_not_blamed_on_onerow(void **state)
{
    (void)state;
    set_up(SIM_GUARDED);
    add_page(1, SIM_VALUE_PERSON)->key_by_onerow = false;
    sim_oracle_page(&world, &world.pages[1]);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    set_up(SIM_GUARDED);
    add_page(1, 1)->hand_untrashed = true;
    sim_oracle_page(&world, &world.pages[1]);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    set_up(SIM_GUARDED);
    world.pages[0].trashed = world.pages[0].hand_trashed = true;
    sim_oracle_taken_away(&world, &world.pages[0]);
    sim_oracle_end(&world);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    set_up(SIM_GUARDED);
    world.pages[0].value = SIM_VALUE_PERSON;
    world.pages[0].hand_edited = true;
    sim_oracle_end(&world);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
}

/* ---- draws -------------------------------------------------------------------------------------
 */

/* The stream's state after a fault that is sure to strike. */
static uint64_t draws(uint32_t faults, uint32_t muted, bool *happens)
{
    set_up(SIM_GUARDED);
    struct sim_rng rng = sim_rng_of(SEED, 1);
    config.faults = faults;
    config.muted[0] = muted;
    config.n_muted = 1;
    world.active = 1U << SIM_SLOW;
    world.rates[SIM_SLOW] = UINT32_MAX;
    world.numbered = 41;
    *happens = sim_inject(&world, &rng, SIM_SLOW, SIM_LANE_WORKER, 0);
    assert_int_equal(world.numbered, 42);
    return rng.state;
}

/* So that whoever was struck goes on with the numbers that it had. */
static void what_does_not_happen_is_drawn_all_the_same(void **state)
{
    bool happens = false;
    (void)state;
    uint64_t struck = draws(ALL_FAULTS, 7, &happens);
    assert_true(happens);
    assert_true(draws(ALL_FAULTS, 42, &happens) == struck);
    assert_false(happens);
    assert_true(draws(ALL_FAULTS & ~(1U << SIM_SLOW), 7, &happens) == struck);
    assert_false(happens);
}

static void every_worker_and_seed_has_its_own_stream(void **state)
{
    uint64_t first[2];
    (void)state;
    set_up(SIM_GUARDED);
    for (unsigned i = 0; i < 2; i++) {
        first[i] = world.workers[i].rng.state;
    }
    assert_true(first[0] != first[1]);
    config.seed++;
    sim_world_init(&world, &config, &result, NULL, NULL);
    sim_swarm_draw(&world);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(world.workers[i].rng.state != first[i]);
    }
}

/* ---- worlds that are wrong ---------------------------------------------------------------------
 */

static void a_second_page(void)
{
    sim_oracle_page(&world, add_page(1, 2));
}

static void a_second_page_at_rest(void)
{
    add_page(1, 2)->key_by_onerow = false;
    sim_oracle_end(&world);
}

static void an_acknowledged_page_is_trashed(void)
{
    sim_oracle_taken_away(&world, &world.pages[0]);
}

static void an_acknowledged_page_is_in_the_trash(void)
{
    world.pages[0].trashed = true;
    sim_oracle_end(&world);
}

static void the_ledgers_page_has_no_key(void)
{
    world.facts[1].acked_page = 0; /* nobody was told of it */
    world.pages[0].key = SIM_KEY_OTHER;
    sim_oracle_end(&world);
}

static void a_page_that_the_ledger_does_not_know(void)
{
    world.facts[1].acked_page = 0;
    world.ledger.keys[1] = (struct or_key_record){0};
    world.ledger.pages[0] = (struct sim_ledger_page){0};
    sim_oracle_end(&world);
}

static void a_version_that_nobody_writes(void)
{
    world.ledger.keys[1].state = OR_KEY_WRITING;
    world.ledger.keys[1].pending = world.records[0].payload;
    sim_oracle_end(&world);
}

static void a_bound_page_that_nobody_publishes(void)
{
    world.facts[1].acked_page = 0;
    world.pages[0].key = SIM_KEY_NONE;
    world.ledger.keys[1].state = OR_KEY_BOUND;
    world.ledger.keys[1].pending = world.records[0].payload;
    sim_oracle_end(&world);
}

static void a_blank_is_left(void)
{
    sim_store_add(&world, &world.rng)->blank_title = true;
    sim_oracle_end(&world);
}

static void bytes_that_mean_something_else(void)
{
    struct or_swap swap = done_swap();
    assert_true(sim_bytes_agree(&world, 1, &swap, true));
    if (!sim_bytes_agree(&world, 1, &swap, false)) {
        sim_violate(&world, SIM_VIOLATION_DISAGREE);
    }
}

/* Longer than any value of a run, and so than the room for a swap's bytes. */
static void a_swap_whose_bytes_do_not_fit(void)
{
    static const char DIGITS[2000];
    struct or_swap swap = swap_to(OR_KEY_DONE);
    swap.becomes.order =
        (struct onerow_value){.data = DIGITS, .len = sizeof DIGITS, .kind = ONEROW_NUMBER};
    sim_ledger_swap(&world, 1, &swap);
}

static void a_key_has_a_condemned_page(void)
{
    struct or_swap swap = {.no_key = true,
                           .page = sim_page_id(0),
                           .page_revision = ONEROW_LEDGER_ANY,
                           .page_states = UINT32_MAX,
                           .page_becomes = OR_PAGE_CONDEMNED};
    assert_true(sim_ledger_swap(&world, 1, &swap));
}

static void a_condemned_page_is_bound(void)
{
    world.ledger.pages[0].state = OR_PAGE_CONDEMNED;
    sim_oracle_page_record(&world, 0, OR_PAGE_BOUND);
}

/* A worker that is about to send. */
static struct sim_worker *sends(enum or_do what)
{
    struct sim_worker *worker = &world.workers[0];
    memset(&worker->command, 0, sizeof worker->command);
    worker->command.what = what;
    worker->key = 1;
    worker->job = SIM_JOB_PUT;
    worker->probe_ok = worker->claim_ok = true;
    worker->not_before_ms = 0;
    worker->as.attempt.claim = (struct or_nonce){7, 1};
    return worker;
}

static void a_blank_after_a_failed_look(void)
{
    sends(OR_DO_CREATE);
    sim_oracle_send(&world, 0);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    sends(OR_DO_CREATE)->probe_ok = false;
    sim_oracle_send(&world, 0);
}

static void a_keyed_create_after_a_failed_look(void)
{
    sends(OR_DO_CREATE_KEYED)->claim_ok = false;
    sim_oracle_send(&world, 0);
}

static void a_keyed_create_under_anothers_intent(void)
{
    world.ledger.keys[1].state = OR_KEY_INTENT;
    world.ledger.keys[1].nonce = (struct or_nonce){7, 1};
    sends(OR_DO_CREATE_KEYED);
    sim_oracle_send(&world, 0);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    world.ledger.keys[1].nonce = (struct or_nonce){8, 1};
    sim_oracle_send(&world, 0);
}

static void a_request_inside_retry_after(void)
{
    struct sim_worker *worker = sends(OR_DO_PROBE);
    worker->not_before_ms = sim_local_ms(&world, worker);
    sim_oracle_send(&world, 0);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    worker->not_before_ms++;
    sim_oracle_send(&world, 0);
}

static void a_page_restored_under_tombstone(void)
{
    sends(OR_DO_RESTORE);
    sim_oracle_send(&world, 0);
}

/* Record 1 gets its outcome, with page `at`. */
static void told(enum onerow_outcome outcome, enum or_reason reason, struct onerow_span page)
{
    world.records[1].settled = 0;
    sim_oracle_outcome(&world, 1, outcome, reason, page);
}

static void told_without_a_page(void)
{
    told(ONEROW_UNCHANGED, OR_REASON_NONE, (struct onerow_span){0});
}

static void told_of_a_page_without_the_key(void)
{
    world.pages[0].key = SIM_KEY_OTHER;
    told(ONEROW_UNCHANGED, OR_REASON_NONE, sim_page_id(0));
}

static void told_of_a_page_in_the_trash(void)
{
    world.pages[0].trashed = true;
    told(ONEROW_UNCHANGED, OR_REASON_NONE, sim_page_id(0));
}

static void told_of_another_page(void)
{
    add_page(1, 2);
    told(ONEROW_UNCHANGED, OR_REASON_NONE, sim_page_id(1));
}

static void created_twice(void)
{
    world.pages[0].applied |= 2U;
    told(ONEROW_CREATED, OR_REASON_NONE, sim_page_id(0));
}

static void updated_and_never_written(void)
{
    told(ONEROW_UPDATED, OR_REASON_NONE, sim_page_id(0));
}

static void told_twice(void)
{
    sim_oracle_outcome(&world, 1, ONEROW_UNCHANGED, OR_REASON_NONE, sim_page_id(0));
}

static void rejected_and_written(void)
{
    world.records[0].outcome = ONEROW_REFUSED;
    world.records[0].reason = OR_REASON_GAVE_UP;
    sim_oracle_end(&world);
}

static void taken_by_a_page_that_was_given_up(void)
{
    static struct or_attempt attempt;
    memset(&attempt, 0, sizeof attempt);
    attempt.found[0] = sim_page_id(0);
    attempt.n_found = 1;
    attempt.ledger_ms = UINT64_MAX;
    sim_oracle_taken(&world, &attempt);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    world.ledger.pages[0].state = OR_PAGE_CONDEMNED;
    sim_oracle_taken(&world, &attempt);
}

static void a_record_without_an_outcome(void)
{
    world.records[1].settled = 0;
    sim_oracle_end(&world);
}

/* ---- values */

static void write_over(unsigned content)
{
    world.records[1].content = (uint8_t)content;
    world.pages[0].value = 2;
    world.pages[0].applied |= 2U;
}

static void the_page_holds_something_else(void)
{
    write_over(2);
    sim_oracle_end(&world);
}

static void the_ledger_says_something_else(void)
{
    world.ledger.keys[1].fingerprint[0] ^= 1U;
    sim_oracle_end(&world);
}

static void keep_was_not_kept(void)
{
    world.options.policy = ONEROW_POLICY_KEEP;
    write_over(2);
    world.facts[1].held = 2;
    sim_value_fingerprint(&world, 2, world.ledger.keys[1].fingerprint);
    sim_oracle_end(&world);
}

static void newest_is_not_the_newest(void)
{
    world.options.policy = ONEROW_POLICY_NEWEST;
    world.facts[1].highest = 1;
    sim_oracle_end(&world);
}

/* ---- rate windows and the breaker
 *
 * Two in any second; more conflicts than half of at least two calls open it for a second, then for
 * two. Workers 0 and 1 are of one process, whose clock is a little ahead of a millisecond. */

#define MS (uint64_t) SIM_MS

static void govern(void)
{
    world.governed = true;
    world.n_windows = 1;
    world.windows[0] = (struct or_window){.count = 2, .span_ms = 1000};
    world.breaker = (struct or_breaker_limits){
        .percent = 50, .least = 2, .cool_ms = 1000, .cool_max_ms = 2000, .probe_ms = 500};
    world.probe_first = false;
    world.workers[0].process = world.workers[1].process = 0;
    sends(OR_DO_PROBE);
    world.governors[0].ahead_us = 7;
    sim_process_begin(&world, 0);
}

static void granted(unsigned worker, uint64_t at_us)
{
    world.now = at_us;
    sim_oracle_granted(&world, worker);
}

static void granted_and_sent(unsigned worker, uint64_t at_us)
{
    granted(worker, at_us);
    sim_oracle_permit_used(&world, worker);
}

static void told_at(unsigned worker, uint64_t at_us, enum or_answer answer)
{
    struct or_event event = {.answer = answer};
    world.now = at_us;
    sim_oracle_told(&world, worker, &event);
}

static void not_yet_blamed(void)
{
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
}

static void three_in_a_second(void)
{
    govern();
    granted_and_sent(0, 0);
    granted_and_sent(1, 400 * MS);
    granted_and_sent(0, 1000 * MS + 1); /* the first one is out by a microsecond */
    not_yet_blamed();
    granted(1, 1400 * MS);
}

static void three_in_a_second_though_one_was_withdrawn(void)
{
    govern();
    granted_and_sent(0, 0);
    granted(1, 1 * MS);
    sim_oracle_unsent(&world, 1);
    granted_and_sent(1, 2 * MS);
    not_yet_blamed();
    granted(0, 3 * MS);
}

static void held_up_by_an_empty_window(void)
{
    govern();
    granted_and_sent(0, 0);
    granted_and_sent(0, 0);
    world.now = 1000 * MS;
    sim_oracle_held(&world, 1, SIM_HELD_BY_WINDOWS);
    not_yet_blamed();
    world.now = 1001 * MS + 1;
    sim_oracle_held(&world, 1, SIM_HELD_BY_WINDOWS);
}

static void held_up_by_what_was_given_back(void)
{
    govern();
    granted_and_sent(0, 0);
    granted(1, 1 * MS);
    sim_oracle_unsent(&world, 1);
    sim_oracle_held(&world, 1, SIM_HELD_BY_WINDOWS);
}

static void granted_inside_the_processs_retry_after(void)
{
    struct or_event limited = {.answer = OR_ANSWER_RATE, .retry_after_ms = 300};
    govern();
    granted_and_sent(0, 0);
    sim_oracle_told(&world, 0, &limited);
    limited.retry_after_ms = 100; /* it narrows no more */
    granted_and_sent(0, 300 * MS);
    not_yet_blamed();
    sim_oracle_told(&world, 0, &limited);
    world.now = 399 * MS;
    sim_oracle_held(&world, 1, SIM_HELD_BY_WINDOWS);
    not_yet_blamed();
    sim_process_begin(&world, 0); /* a process that died knows nothing of it */
    granted_and_sent(1, 399 * MS);
    sim_oracle_told(&world, 1, &limited);
    not_yet_blamed();
    granted(0, 499 * MS - 1);
}

static void sent_without_a_permit(void)
{
    govern();
    granted(0, 0);
    sim_oracle_send(&world, 0);
    not_yet_blamed();
    sim_oracle_send(&world, 0);
}

static void a_permit_beside_a_permit(void)
{
    govern();
    granted(0, 0);
    granted(0, 1);
}

static void sent_on_what_was_given_back(void)
{
    govern();
    granted(0, 0);
    sim_oracle_unsent(&world, 0);
    sim_oracle_send(&world, 0);
}

/* Two calls, both met by a conflict: it is open from 10 ms to 1010 ms. */
static void open_up(void)
{
    govern();
    world.n_windows = 0;
    granted_and_sent(0, 0);
    granted_and_sent(1, 0);
    told_at(0, 5 * MS, OR_ANSWER_CONFLICT);
    sim_oracle_granted(&world, 0); /* one call is not enough */
    sim_oracle_permit_used(&world, 0);
    not_yet_blamed();
    told_at(1, 10 * MS, OR_ANSWER_CONFLICT);
    world.now = 1009 * MS;
    sim_oracle_held(&world, 1, SIM_HELD_BY_BREAKER);
    not_yet_blamed();
}

static void granted_past_an_open_breaker(void)
{
    open_up();
    granted(1, 1009 * MS);
}

static void held_up_by_a_breaker_that_has_cooled(void)
{
    open_up();
    world.now = 1010 * MS;
    sim_oracle_held(&world, 1, SIM_HELD_BY_BREAKER);
}

static void held_up_by_half_of_the_calls(void)
{
    govern();
    granted_and_sent(0, 0);
    granted_and_sent(1, 0);
    told_at(0, 0, OR_ANSWER_CONFLICT);
    told_at(1, 0, OR_ANSWER_UNCERTAIN);
    sim_oracle_held(&world, 1, SIM_HELD_BY_BREAKER);
}

static void granted_beside_a_probe(void)
{
    open_up();
    granted_and_sent(1, 1010 * MS);
    not_yet_blamed();
    granted(0, 1011 * MS);
}

static void granted_after_a_probe_that_failed(void)
{
    open_up();
    granted_and_sent(1, 1010 * MS);
    told_at(1, 1100 * MS, OR_ANSWER_CONFLICT);
    world.now = 3099 * MS; /* twice as long */
    sim_oracle_held(&world, 1, SIM_HELD_BY_BREAKER);
    not_yet_blamed();
    granted(1, 3099 * MS);
}

static void held_up_after_a_probe_that_worked(void)
{
    open_up();
    granted(1, 1010 * MS);
    sim_oracle_unsent(&world, 1); /* another one may go in its place */
    granted_and_sent(0, 1011 * MS);
    not_yet_blamed();
    told_at(0, 1012 * MS, OR_ANSWER_OK);
    sim_oracle_held(&world, 1, SIM_HELD_BY_BREAKER);
}

/* The first probe is lost at 1510 ms; the next one goes at 3510 ms, when the first one's answer
 * comes, which is none to it. */
static void a_lost_probe_speaks_for_the_next(void)
{
    open_up();
    granted_and_sent(1, 1010 * MS);
    world.now = 3509 * MS;
    sim_oracle_held(&world, 0, SIM_HELD_BY_BREAKER);
    granted_and_sent(0, 3510 * MS);
    told_at(1, 3511 * MS, OR_ANSWER_OK);
    not_yet_blamed();
    granted(1, 3511 * MS);
}

static void a_probe_without_an_answer_closes_it(void)
{
    open_up();
    granted_and_sent(1, 1010 * MS);
    sim_oracle_told(&world, 1, NULL);
    not_yet_blamed();
    granted(1, 1011 * MS);
}

/* ---- limits */

/* A lock that nobody holds any more. */
static void a_run_without_an_end(void)
{
    world.n_planned = 0;
    world.workers[0].process = 0;
    world.workers[0].key = 1;
    world.processes[0].locked[1] = true;
    sim_worker_begin(&world, 0, SIM_JOB_NAIVE);
    sim_run_events(&world);
    assert_true(result.events > SIM_EVENTS_MAX);
}

static void a_run_that_takes_for_ever(void)
{
    world.n_planned = 0;
    sim_plan(&world, world.calm_at + SIM_ENDLESS_AFTER, SIM_EVENT_CALM, 0, 0);
    sim_run_events(&world);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    sim_plan(&world, 1, SIM_EVENT_CALM, 0, 0);
    sim_run_events(&world);
}

static void the_healer_never_ends(void)
{
    struct sim_worker *janitor = &world.workers[SIM_JANITOR];
    world.phase = SIM_PHASE_KEYS;
    janitor->key = 1;
    janitor->job = SIM_JOB_HEAL;
    janitor->passes = UINT32_MAX - 1;
    sim_janitor_next(&world);
}

static void the_sweeper_never_ends(void)
{
    struct sim_worker *janitor = &world.workers[SIM_JANITOR];
    world.now = 3600U * (uint64_t)SIM_SECOND;
    sim_store_add(&world, &world.rng)->blank_title = true;
    world.now *= 2;
    world.phase = SIM_PHASE_BLANKS;
    janitor->job = SIM_JOB_NONE;
    janitor->passes = UINT32_MAX - 1;
    sim_janitor_next(&world);
}

static void too_many_events(void)
{
    for (unsigned i = 0; i <= SIM_QUEUE_MAX; i++) {
        sim_plan(&world, 1, SIM_EVENT_CALM, 0, 0);
    }
}

static void too_many_pages(void)
{
    while (sim_store_add(&world, &world.rng)) {
        assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    }
    assert_int_equal(world.n_pages, SIM_PAGES_MAX);
}

static void too_many_messages(void)
{
    sends(OR_DO_READ);
    for (unsigned i = 0; i <= SIM_MESSAGES_MAX; i++) {
        sim_network_send(&world, 0);
    }
}

static void too_many_claims(void)
{
    struct or_swap swap = swap_to(OR_KEY_DONE);
    swap.taken = (struct or_nonce){2, 1};
    world.ledger.n_marks = SIM_MARKS_MAX;
    sim_ledger_swap(&world, 1, &swap);
}

/* ---- the controls ------------------------------------------------------------------------------
 */

struct control {
    const char *name;
    void (*breaks)(void);
    enum sim_protocol protocol;
    enum sim_violation shows;
};

#define CONTROL(function, protocol, violation)                                                     \
    {                                                                                              \
#function, function, SIM_##protocol, SIM_VIOLATION_##violation                             \
    }

static struct control controls[] = {
    CONTROL(a_second_page, GUARDED, TWO_PAGES),
    CONTROL(a_second_page, DIRECT, TWO_PAGES),
    CONTROL(a_second_page, NAIVE, TWO_PAGES),
    CONTROL(a_second_page_at_rest, GUARDED, TWO_PAGES),
    CONTROL(a_second_page_at_rest, DIRECT, TWO_PAGES),
    CONTROL(an_acknowledged_page_is_trashed, GUARDED, LOST),
    CONTROL(an_acknowledged_page_is_in_the_trash, GUARDED, LOST),
    CONTROL(an_acknowledged_page_is_in_the_trash, LEASE, LOST),
    CONTROL(told_of_a_page_in_the_trash, GUARDED, LOST),
    CONTROL(told_of_another_page, GUARDED, OTHER_ID),
    CONTROL(told_without_a_page, GUARDED, NOT_THERE),
    CONTROL(told_of_a_page_without_the_key, GUARDED, NOT_THERE),
    CONTROL(a_key_has_a_condemned_page, GUARDED, CONDEMNED),
    CONTROL(a_condemned_page_is_bound, GUARDED, CONDEMNED),
    CONTROL(a_blank_after_a_failed_look, GUARDED, BLIND_CREATE),
    CONTROL(a_keyed_create_after_a_failed_look, DIRECT, BLIND_CREATE),
    CONTROL(a_request_inside_retry_after, GUARDED, TOO_SOON),
    CONTROL(the_page_holds_something_else, GUARDED, VALUES),
    CONTROL(the_page_holds_something_else, DIRECT, VALUES),
    CONTROL(the_ledger_says_something_else, GUARDED, VALUES),
    CONTROL(keep_was_not_kept, GUARDED, VALUES),
    CONTROL(newest_is_not_the_newest, GUARDED, VALUES),
    CONTROL(the_ledgers_page_has_no_key, GUARDED, DISAGREE),
    CONTROL(a_page_that_the_ledger_does_not_know, GUARDED, DISAGREE),
    CONTROL(a_version_that_nobody_writes, GUARDED, DISAGREE),
    CONTROL(a_bound_page_that_nobody_publishes, GUARDED, DISAGREE),
    CONTROL(a_blank_is_left, GUARDED, DISAGREE),
    CONTROL(bytes_that_mean_something_else, GUARDED, DISAGREE),
    CONTROL(a_swap_whose_bytes_do_not_fit, GUARDED, DISAGREE),
    CONTROL(a_record_without_an_outcome, GUARDED, UNSETTLED),
    CONTROL(a_record_without_an_outcome, NAIVE, UNSETTLED),
    CONTROL(created_twice, GUARDED, FALSE_OUTCOME),
    CONTROL(updated_and_never_written, GUARDED, FALSE_OUTCOME),
    CONTROL(told_twice, GUARDED, FALSE_OUTCOME),
    CONTROL(rejected_and_written, GUARDED, FALSE_OUTCOME),
    CONTROL(taken_by_a_page_that_was_given_up, GUARDED, FALSE_OUTCOME),
    CONTROL(the_healer_never_ends, GUARDED, ENDLESS),
    CONTROL(the_sweeper_never_ends, GUARDED, ENDLESS),
    CONTROL(a_keyed_create_under_anothers_intent, DIRECT, TWO_HOLDERS),
    CONTROL(too_many_events, GUARDED, BOUNDS),
    CONTROL(too_many_pages, GUARDED, BOUNDS),
    CONTROL(too_many_messages, GUARDED, BOUNDS),
    CONTROL(too_many_claims, GUARDED, BOUNDS),
    CONTROL(a_page_restored_under_tombstone, GUARDED, POLICY),
    CONTROL(a_run_without_an_end, PROCESS_LOCK, ENDLESS),
    CONTROL(a_run_that_takes_for_ever, GUARDED, ENDLESS),
    CONTROL(three_in_a_second, GUARDED, WINDOW),
    CONTROL(three_in_a_second_though_one_was_withdrawn, GUARDED, WINDOW),
    CONTROL(held_up_by_an_empty_window, GUARDED, NEEDLESS),
    CONTROL(held_up_by_what_was_given_back, GUARDED, NEEDLESS),
    CONTROL(granted_inside_the_processs_retry_after, GUARDED, BLOCKED),
    CONTROL(sent_without_a_permit, GUARDED, PERMIT),
    CONTROL(a_permit_beside_a_permit, GUARDED, PERMIT),
    CONTROL(sent_on_what_was_given_back, GUARDED, PERMIT),
    CONTROL(granted_past_an_open_breaker, GUARDED, BREAKER),
    CONTROL(held_up_by_a_breaker_that_has_cooled, GUARDED, NEEDLESS),
    CONTROL(held_up_by_half_of_the_calls, GUARDED, NEEDLESS),
    CONTROL(granted_beside_a_probe, GUARDED, BREAKER),
    CONTROL(granted_after_a_probe_that_failed, GUARDED, BREAKER),
    CONTROL(held_up_after_a_probe_that_worked, GUARDED, NEEDLESS),
    CONTROL(a_lost_probe_speaks_for_the_next, GUARDED, BREAKER),
    CONTROL(a_probe_without_an_answer_closes_it, GUARDED, BREAKER),
};

#define CONTROLS (sizeof controls / sizeof *controls)

static void a_control_is_seen(void **state)
{
    const struct control *control = *state;
    set_up(control->protocol);
    control->breaks();
    if (result.violation != control->shows) {
        print_message("# %s under %s: %s\n", control->name, sim_protocol_name(control->protocol),
                      sim_violation_text(result.violation));
    }
    assert_int_equal(result.violation, control->shows);
}

static void every_violation_has_a_control(void **state)
{
    bool shown[SIM_VIOLATIONS] = {[SIM_VIOLATION_NONE] = true};
    (void)state;
    for (size_t i = 0; i < CONTROLS; i++) {
        shown[controls[i].shows] = true;
    }
    for (unsigned i = 0; i < SIM_VIOLATIONS; i++) {
        assert_true(shown[i]);
    }
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(a_run_is_its_configuration),
        cmocka_unit_test(another_seed_is_another_run),
        cmocka_unit_test(watching_changes_nothing),
        cmocka_unit_test(muting_changes_only_what_follows),
        cmocka_unit_test(a_class_that_is_left_out_never_strikes),
        cmocka_unit_test(every_class_strikes),
        cmocka_unit_test(guarded_and_direct_are_clean),
        cmocka_unit_test(wrong_protocols_are_found_soon),
        cmocka_unit_test(a_world_that_is_right_is_not_blamed),
        cmocka_unit_test(people_are_not_blamed_on_onerow),
        cmocka_unit_test(what_does_not_happen_is_drawn_all_the_same),
        cmocka_unit_test(every_worker_and_seed_has_its_own_stream),
        cmocka_unit_test(every_violation_has_a_control),
    };
    enum { FIXED = sizeof TESTS / sizeof *TESTS };
    struct CMUnitTest tests[FIXED + CONTROLS];
    memcpy(tests, TESTS, sizeof TESTS);
    for (size_t i = 0; i < CONTROLS; i++) {
        tests[FIXED + i] = (struct CMUnitTest){.name = controls[i].name,
                                               .test_func = a_control_is_seen,
                                               .initial_state = &controls[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
