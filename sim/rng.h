/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers of the simulator: SplitMix64 (Steele, Lea, Flood, 2014). Each worker has a stream
 * of its own, so that what one of them does moves no other one's choices.
 */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
    uint64_t state;
};

static inline uint64_t sim_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static inline uint64_t sim_next(struct sim_rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15U;
    return sim_mix(rng->state);
}

static inline struct sim_rng sim_rng_of(uint64_t seed, uint64_t stream)
{
    return (struct sim_rng){sim_mix(seed ^ sim_mix(stream + 0x9e3779b97f4a7c15U))};
}

/* Uniform in [0, n), n below 2^32. */
static inline uint64_t sim_scale(uint64_t random, uint64_t n)
{
    return ((random >> 32) * n) >> 32;
}

static inline uint64_t sim_below(struct sim_rng *rng, uint64_t n)
{
    return sim_scale(sim_next(rng), n);
}

/* Uniform in [low, high]. */
static inline uint64_t sim_between(struct sim_rng *rng, uint64_t low, uint64_t high)
{
    return low + sim_below(rng, high - low + 1);
}

static inline bool sim_one_in(struct sim_rng *rng, unsigned n)
{
    return sim_below(rng, n) == 0;
}

/* How hard a fault strikes, up to `most`: half of the time as hard as it may, or nearly so, for
 * that is where bounds are too short. */
static inline uint64_t sim_stretch(uint64_t random, uint64_t most)
{
    uint64_t part = sim_scale(random, most);
    return random & 1U ? part : most - part / 16U;
}

#endif
