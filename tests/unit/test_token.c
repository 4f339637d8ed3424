/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay tokens: what was written is read, one configuration has one token, and whatever was
 * mistyped is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sim/rng.h"
#include "sim/token.h"

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static struct sim_config draw_config(struct sim_rng *rng)
{
    struct sim_config config = {.protocol = (enum sim_protocol)sim_below(rng, SIM_PROTOCOLS),
                                .workers = (unsigned)sim_below(rng, SIM_WORKERS_MAX + 1),
                                .keys = (unsigned)sim_below(rng, SIM_KEYS_MAX + 1),
                                .processes = (unsigned)sim_below(rng, SIM_WORKERS_MAX + 1),
                                .faults = (uint32_t)sim_below(rng, 1ULL << SIM_FAULTS),
                                .within_bounds = sim_one_in(rng, 2),
                                .seed = sim_next(rng),
                                .n_muted = (unsigned)sim_below(rng, SIM_MUTED_MAX + 1)};
    uint32_t number = 0;
    for (unsigned i = 0; i < config.n_muted; i++) {
        number += 1 + (uint32_t)sim_below(rng, sim_one_in(rng, 4) ? 60000000 : 200);
        config.muted[i] = number;
    }
    return config;
}

static void assert_config_equal(const struct sim_config *a, const struct sim_config *b)
{
    assert_int_equal(a->protocol, b->protocol);
    assert_int_equal(a->workers, b->workers);
    assert_int_equal(a->keys, b->keys);
    assert_int_equal(a->processes, b->processes);
    assert_int_equal(a->faults, b->faults);
    assert_int_equal(a->within_bounds, b->within_bounds);
    assert_true(a->seed == b->seed);
    assert_int_equal(a->n_muted, b->n_muted);
    assert_memory_equal(a->muted, b->muted, a->n_muted * sizeof *a->muted);
}

static const char *refusal(const char *token)
{
    struct sim_config config;
    const char *reason = NULL;
    return sim_token_read(token, &config, &reason) ? NULL : reason;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct sim_rng rng = {1};
    for (unsigned i = 0; i < 2000; i++) {
        char token[SIM_TOKEN_MAX];
        char again[SIM_TOKEN_MAX];
        struct sim_config config = draw_config(&rng);
        struct sim_config read;
        const char *reason = NULL;
        sim_token_write(&config, token);
        assert_int_equal(strspn(token, DIGITS), strlen(token));
        assert_true(sim_token_read(token, &read, &reason));
        assert_config_equal(&config, &read);
        sim_token_write(&read, again);
        assert_string_equal(token, again);
    }
}

static void the_greatest_configuration_fits(void **state)
{
    (void)state;
    struct sim_config config = {.protocol = SIM_LEASE_TOKEN,
                                .workers = SIM_WORKERS_MAX,
                                .keys = SIM_KEYS_MAX,
                                .processes = SIM_WORKERS_MAX,
                                .faults = (1U << SIM_FAULTS) - 1U,
                                .within_bounds = true,
                                .seed = UINT64_MAX,
                                .n_muted = SIM_MUTED_MAX};
    struct sim_config read;
    char token[SIM_TOKEN_MAX];
    const char *reason = NULL;
    for (unsigned i = 0; i < SIM_MUTED_MAX; i++) {
        config.muted[i] = UINT32_MAX - (SIM_MUTED_MAX - 1 - i);
    }
    sim_token_write(&config, token);
    assert_true(sim_token_read(token, &read, &reason));
    assert_config_equal(&config, &read);
}

/* A token that is printed somewhere, in a report or in a bug's entry, stays what it was. */
static void a_token_of_this_version_stays_readable(void **state)
{
    (void)state;
    static const char TOKEN[] = "AQIDAQIBAwAAAEIAAAAAAAAAAgUHWH6OXQ";
    struct sim_config expected = {.protocol = SIM_NAIVE,
                                  .workers = 3,
                                  .keys = 1,
                                  .processes = 2,
                                  .faults = 3,
                                  .within_bounds = true,
                                  .seed = 66,
                                  .n_muted = 2,
                                  .muted = {5, 12}};
    struct sim_config read;
    char token[SIM_TOKEN_MAX];
    const char *reason = NULL;
    sim_token_write(&expected, token);
    assert_string_equal(token, TOKEN);
    assert_true(sim_token_read(TOKEN, &read, &reason));
    assert_config_equal(&expected, &read);
}

static void every_wrong_character_is_noticed(void **state)
{
    (void)state;
    struct sim_rng rng = {2};
    struct sim_config config = draw_config(&rng);
    char token[SIM_TOKEN_MAX];
    sim_token_write(&config, token);
    size_t len = strlen(token);
    for (size_t at = 0; at < len; at++) {
        char right = token[at];
        for (const char *digit = DIGITS; *digit; digit++) {
            token[at] = *digit;
            assert_true((refusal(token) != NULL) == (*digit != right));
        }
        token[at] = right;
        assert_null(refusal(token));
    }
}

static void swapped_neighbours_and_cut_ends_are_noticed(void **state)
{
    (void)state;
    struct sim_rng rng = {3};
    struct sim_config config = draw_config(&rng);
    char token[SIM_TOKEN_MAX];
    sim_token_write(&config, token);
    size_t len = strlen(token);
    for (size_t at = 0; at + 1 < len; at++) {
        char first = token[at];
        token[at] = token[at + 1];
        token[at + 1] = first;
        assert_true((refusal(token) != NULL) == (token[at] != token[at + 1]));
        token[at + 1] = token[at];
        token[at] = first;
    }
    for (size_t at = len; at > 0; at--) {
        token[at - 1] = 0;
        assert_non_null(refusal(token));
    }
}

static void reasons_say_what_is_wrong(void **state)
{
    (void)state;
    char too_long[2 * SIM_TOKEN_MAX];
    memset(too_long, 'A', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    assert_string_equal(refusal(""), "it is too short");
    assert_string_equal(refusal("AQ ID"), "it has a character that is in no token");
    assert_string_equal(refusal("AQID="), "it has a character that is in no token");
    assert_string_equal(refusal(too_long), "it is too long");
    assert_string_equal(refusal("AQIDAQIBAwAAAEIAAAAAAAAAAgUHWH6OX"), "it is cut off, or mistyped");
    assert_string_equal(refusal("AQIDAQIBAwAAAEIAAAAAAAAAAgUHWH6OKQ"),
                        "its check sum is wrong: is it mistyped, or cut off?");
}

/* Sound check sums over what no configuration has. */
static const struct {
    const char *token;
    const char *what;
} IMPOSSIBLE[] = {
    {"AgIDAQIBAwAAAEIAAAAAAAAAAKB5vS4", "another version"},
    {"AQYDAQIBAwAAAEIAAAAAAAAAAA8oQ4Y", "a protocol that is none"},
    {"AQIJAQIBAwAAAEIAAAAAAAAAAFAgx78", "9 workers"},
    {"AQIDBQIBAwAAAEIAAAAAAAAAAI6z2lk", "5 keys"},
    {"AQIDAQkBAwAAAEIAAAAAAAAAAPdZH1M", "9 processes"},
    {"AQIDAQICAwAAAEIAAAAAAAAAANLaivE", "bounds that are neither"},
    {"AQIDAQIBAwAABEIAAAAAAAAAAHNfAIQ", "a fault that is none"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAgUA--vqww", "one injection muted twice"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAYUA6c0v-g", "a number in more bytes than it takes"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAv____8PASEaB50", "a number beyond 32 bits"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAAn_640", "nothing wrong"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAgXbKg_p", "fewer injections than it says"},
    {"AQIDAQIBAwAAAEIAAAAAAAAAAAFAjFTc", "a byte too many"},
};

static void what_no_schedule_has_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof IMPOSSIBLE / sizeof *IMPOSSIBLE; i++) {
        const char *reason = refusal(IMPOSSIBLE[i].token);
        const char *expected = "it says something that no schedule has";
        if (strcmp(IMPOSSIBLE[i].what, "nothing wrong") == 0) { /* the others' check sums count */
            assert_null(reason);
            continue;
        }
        if (strcmp(IMPOSSIBLE[i].what, "another version") == 0) {
            expected = "it is of another version of onerow";
        }
        assert_non_null(reason);
        assert_string_equal(reason, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_greatest_configuration_fits),
        cmocka_unit_test(a_token_of_this_version_stays_readable),
        cmocka_unit_test(every_wrong_character_is_noticed),
        cmocka_unit_test(swapped_neighbours_and_cut_ends_are_noticed),
        cmocka_unit_test(reasons_say_what_is_wrong),
        cmocka_unit_test(what_no_schedule_has_is_refused),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
