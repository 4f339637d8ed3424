/* SPDX-License-Identifier: Apache-2.0
 *
 * Shrinking, over runs that are plain functions of their configuration, so that the smallest one is
 * known; and over the simulator itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "sim/shrink.h"

#define ALL_FAULTS ((1U << SIM_FAULTS) - 1U)

static bool is_muted(const struct sim_config *config, uint32_t number)
{
    for (unsigned i = 0; i < config->n_muted; i++) {
        if (config->muted[i] == number) {
            return true;
        }
    }
    return false;
}

static bool happens(const struct sim_config *config, enum sim_fault fault, uint32_t number)
{
    return config->faults >> fault & 1U && !is_muted(config, number);
}

/* Injection n, 1 to 100, is of class n % SIM_FAULTS. */
static void hundred_injections(const struct sim_config *config, struct sim_result *result,
                               sim_watch *watch, void *context)
{
    memset(result, 0, sizeof *result);
    for (uint32_t n = 1; n <= 100; n++) {
        enum sim_fault fault = (enum sim_fault)(n % SIM_FAULTS);
        if (!happens(config, fault, n)) {
            continue;
        }
        result->injections++;
        result->by_class[fault]++;
        if (watch) {
            struct sim_entry entry = {
                .what = "", .is_fault = true, .fault = fault, .number = n, .at_us = n};
            watch(context, &entry);
        }
    }
    result->events = 100 * (config->workers ? config->workers : 4);
}

static bool strikes(const struct sim_config *config, uint32_t number)
{
    return happens(config, (enum sim_fault)(number % SIM_FAULTS), number);
}

/* Fails when injections 7 and 60 (classes 7 and 8) meet with at least two workers. */
static void needs_two(const struct sim_config *config, struct sim_result *result, sim_watch *watch,
                      void *context)
{
    hundred_injections(config, result, watch, context);
    bool enough = config->workers != 1;
    if (strikes(config, 7) && strikes(config, 60) && enough) {
        result->violation = SIM_VIOLATION_TWO_PAGES;
    } else if (strikes(config, 1)) { /* something else that is wrong must not lead astray */
        result->violation = SIM_VIOLATION_LOST;
    }
}

static struct sim_config everything(void)
{
    return (struct sim_config){.protocol = SIM_GUARDED, .faults = ALL_FAULTS, .seed = 1};
}

static void only_what_is_needed_stays(void **state)
{
    (void)state;
    struct sim_config config = everything();
    struct sim_result result;
    unsigned runs = sim_shrink(needs_two, &config, &result);
    assert_in_range(runs, 2, SIM_SHRINK_RUNS);
    assert_int_equal(result.violation, SIM_VIOLATION_TWO_PAGES);
    assert_int_equal(config.faults, 1U << 7 | 1U << 60 % SIM_FAULTS);
    assert_int_equal(result.injections, 2);
    assert_true(strikes(&config, 7) && strikes(&config, 60));
    assert_int_equal(config.workers, 2);
    assert_int_equal(config.processes, 1);
    assert_int_equal(config.keys, 1);
    for (unsigned i = 1; i < config.n_muted; i++) {
        assert_true(config.muted[i] > config.muted[i - 1]);
    }
}

static void what_it_leads_to_does_not_vary(void **state)
{
    (void)state;
    struct sim_config first = everything();
    struct sim_config second = everything();
    struct sim_result result;
    assert_int_equal(sim_shrink(needs_two, &first, &result),
                     sim_shrink(needs_two, &second, &result));
    assert_memory_equal(&first, &second, sizeof first);
}

static void never_fails(const struct sim_config *config, struct sim_result *result,
                        sim_watch *watch, void *context)
{
    hundred_injections(config, result, watch, context);
}

static void what_does_not_fail_is_left_alone(void **state)
{
    (void)state;
    struct sim_config config = everything();
    struct sim_config before = config;
    struct sim_result result;
    assert_int_equal(sim_shrink(never_fails, &config, &result), 1);
    assert_int_equal(result.violation, SIM_VIOLATION_NONE);
    assert_memory_equal(&config, &before, sizeof config);
}

static void always_fails(const struct sim_config *config, struct sim_result *result,
                         sim_watch *watch, void *context)
{
    hundred_injections(config, result, watch, context);
    result->violation = SIM_VIOLATION_LOST;
}

static void what_fails_without_faults_has_none(void **state)
{
    (void)state;
    struct sim_config config = everything();
    config.n_muted = 3;
    memcpy(config.muted, (uint32_t[]){5, 6, 7}, 3 * sizeof *config.muted);
    struct sim_result result;
    (void)sim_shrink(always_fails, &config, &result);
    assert_int_equal(config.faults, 0);
    assert_int_equal(config.n_muted, 0);
    assert_int_equal(config.workers, 1);
}

/* Each change that shrinking tries leads to as many injections as there were: it must end. */
static unsigned restless_runs;

static void restless(const struct sim_config *config, struct sim_result *result, sim_watch *watch,
                     void *context)
{
    hundred_injections(config, result, watch, context);
    result->injections = 100000 - restless_runs++;
    result->violation = SIM_VIOLATION_LOST;
}

static void it_ends(void **state)
{
    (void)state;
    struct sim_config config = everything();
    struct sim_result result;
    unsigned runs = sim_shrink(restless, &config, &result);
    assert_in_range(runs, 1, SIM_SHRINK_RUNS + 64);
}

/* The first schedule of the naive protocol that fails under all faults. */
static struct sim_config failing(struct sim_result *result)
{
    struct sim_config config = {.protocol = SIM_NAIVE, .faults = ALL_FAULTS};
    do {
        config.seed++;
        assert_true(config.seed < 1000);
        sim_run(&config, result, NULL, NULL);
    } while (result->violation == SIM_VIOLATION_NONE || result->injections < 10);
    return config;
}

static void a_real_schedule_gets_smaller_and_fails_alike(void **state)
{
    (void)state;
    struct sim_result before;
    struct sim_result after;
    struct sim_result again;
    struct sim_config config = failing(&before);
    (void)sim_shrink(sim_run, &config, &after);
    assert_int_equal(after.violation, before.violation);
    assert_true(after.injections < before.injections);
    sim_run(&config, &again, NULL, NULL);
    assert_true(again.digest == after.digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_needed_stays),
        cmocka_unit_test(what_it_leads_to_does_not_vary),
        cmocka_unit_test(what_does_not_fail_is_left_alone),
        cmocka_unit_test(what_fails_without_faults_has_none),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(a_real_schedule_gets_smaller_and_fails_alike),
    };
    return cmocka_run_group_tests_name("shrink", tests, NULL, NULL);
}
