/* SPDX-License-Identifier: Apache-2.0
 *
 * Delta debugging (Zeller and Hildebrandt, 2002) on a schedule:
 *
 *   fault classes ─> single injections ─> fewer workers, processes, keys ─┐
 *         ^                                                               │
 *         └────────── as long as something became smaller ────────────────┘
 *
 * A candidate is kept when it shows the same violation and is smaller. Whatever is switched off,
 * the rest of the run may turn out differently, so that what a candidate has less of is counted
 * from its own run, not from what was taken away.
 *
 * Injections are muted in runs of neighbours: the first half, the second half, then quarters, down
 * to single ones. They are numbered as they happen; up to the first muted one a run is the one that
 * it was, and whatever comes after that is collected anew. A configuration without its muted
 * injections is tried with fewer workers, because their numbers mean something else there.
 */
#include "sim/shrink.h"

#include <string.h>

#define INJECTIONS_MAX 4096U /* of a run that are told apart; those beyond are not muted */

struct shrink {
    sim_runner *run;
    unsigned runs;
    enum sim_violation violation;
    struct sim_config best;
    struct sim_result result;         /* of the best */
    uint32_t numbers[INJECTIONS_MAX]; /* of the best one's injections, in the order of time */
    unsigned n_numbers;
};

static void collect(void *context, const struct sim_entry *entry)
{
    struct shrink *shrink = context;
    if (entry->is_fault && shrink->n_numbers < INJECTIONS_MAX) {
        shrink->numbers[shrink->n_numbers++] = entry->number;
    }
}

static void collect_best(struct shrink *shrink)
{
    struct sim_result again;
    shrink->n_numbers = 0;
    shrink->runs++;
    shrink->run(&shrink->best, &again, collect, shrink);
}

/* Fewer injections; with as many of them fewer events. */
static bool is_smaller(const struct sim_result *a, const struct sim_result *b)
{
    return a->injections != b->injections ? a->injections < b->injections : a->events < b->events;
}

static bool shows_it(struct shrink *shrink, const struct sim_config *candidate,
                     struct sim_result *result)
{
    if (shrink->runs >= SIM_SHRINK_RUNS) {
        return false;
    }
    shrink->runs++;
    shrink->run(candidate, result, NULL, NULL);
    return result->violation == shrink->violation;
}

static void keep(struct shrink *shrink, const struct sim_config *candidate,
                 const struct sim_result *result)
{
    shrink->best = *candidate;
    shrink->result = *result;
}

static bool try_smaller(struct shrink *shrink, const struct sim_config *candidate)
{
    struct sim_result result;
    if (!shows_it(shrink, candidate, &result) || !is_smaller(&result, &shrink->result)) {
        return false;
    }
    keep(shrink, candidate, &result);
    return true;
}

/* ---- fault classes --------------------------------------------------------------------------- */

/* A class that is off is one thing less to think about, even if it did not strike. */
static bool shrink_classes(struct shrink *shrink)
{
    bool smaller = false;
    for (unsigned fault = 0; fault < SIM_FAULTS; fault++) {
        struct sim_config candidate = shrink->best;
        struct sim_result result;
        candidate.faults &= ~(1U << fault);
        if (candidate.faults != shrink->best.faults && shows_it(shrink, &candidate, &result)) {
            keep(shrink, &candidate, &result);
            smaller = true;
        }
    }
    return smaller;
}

/* ---- single injections ------------------------------------------------------------------------
 */

/* Adds numbers that are not muted yet, in ascending order. False: there is no room for them. */
static bool mute(struct sim_config *config, const uint32_t *numbers, unsigned n)
{
    if (config->n_muted + n > SIM_MUTED_MAX) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned at = config->n_muted++;
        for (; at > 0 && config->muted[at - 1] > numbers[i]; at--) {
            config->muted[at] = config->muted[at - 1];
        }
        config->muted[at] = numbers[i];
    }
    return true;
}

static bool mute_runs_of(struct shrink *shrink, unsigned size)
{
    bool smaller = false;
    for (unsigned at = 0; at < shrink->n_numbers;) {
        unsigned left = shrink->n_numbers - at;
        struct sim_config candidate = shrink->best;
        bool fits = mute(&candidate, shrink->numbers + at, left < size ? left : size);
        if (fits && try_smaller(shrink, &candidate)) {
            collect_best(shrink); /* what is at `at` now is another one */
            smaller = true;
        } else {
            at += size;
        }
    }
    return smaller;
}

static bool shrink_injections(struct shrink *shrink)
{
    bool smaller = false;
    collect_best(shrink);
    for (unsigned size = (shrink->n_numbers + 1) / 2; size > 0; size /= 2) {
        smaller |= mute_runs_of(shrink, size);
    }
    return smaller;
}

/* What is muted in vain only makes the token longer. */
static void unmute(struct shrink *shrink)
{
    for (unsigned i = 0; i < shrink->best.n_muted;) {
        struct sim_config candidate = shrink->best;
        struct sim_result result;
        candidate.n_muted--;
        memmove(candidate.muted + i, candidate.muted + i + 1,
                (candidate.n_muted - i) * sizeof *candidate.muted);
        if (shows_it(shrink, &candidate, &result) && !is_smaller(&shrink->result, &result)) {
            keep(shrink, &candidate, &result);
        } else {
            i++;
        }
    }
}

/* ---- workers, processes, keys ------------------------------------------------------------------
 */

/* The smallest number, from 1, that still shows it; 0 means that the number is drawn. */
static bool shrink_number(struct shrink *shrink, size_t field, unsigned most)
{
    unsigned *best = (unsigned *)((char *)&shrink->best + field);
    unsigned end = *best ? *best : most + 1;
    for (unsigned n = 1; n < end; n++) {
        struct sim_config candidate = shrink->best;
        struct sim_result result;
        *(unsigned *)((char *)&candidate + field) = n;
        candidate.n_muted = 0;
        if (shows_it(shrink, &candidate, &result)) {
            keep(shrink, &candidate, &result);
            return true;
        }
    }
    return false;
}

static bool shrink_numbers(struct shrink *shrink)
{
    bool smaller = shrink_number(shrink, offsetof(struct sim_config, workers), SIM_WORKERS_MAX);
    smaller |= shrink_number(shrink, offsetof(struct sim_config, processes), SIM_WORKERS_MAX);
    smaller |= shrink_number(shrink, offsetof(struct sim_config, keys), SIM_KEYS_MAX);
    return smaller;
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

static void shrink_all(struct shrink *shrink)
{
    bool smaller = true;
    while (smaller) {
        smaller = shrink_classes(shrink);
        smaller |= shrink_injections(shrink);
        smaller |= shrink_numbers(shrink);
    }
    unmute(shrink);
}

unsigned sim_shrink(sim_runner *run, struct sim_config *config, struct sim_result *result)
{
    struct shrink shrink = {.run = run, .best = *config, .runs = 1};
    run(config, &shrink.result, NULL, NULL);
    shrink.violation = shrink.result.violation;
    if (shrink.violation != SIM_VIOLATION_NONE) {
        shrink_all(&shrink);
        *config = shrink.best;
    }
    *result = shrink.result;
    return shrink.runs;
}
