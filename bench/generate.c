/* SPDX-License-Identifier: Apache-2.0
 *
 * Records for the measurements, as NDJSON on standard output:
 *
 *   generate KEYS SEED          each of KEYS keys once, shuffled
 *   generate KEYS SEED WORKER   those 3/8 of the keys that worker 0 to 7 is given, shuffled in an
 *                               order of its own; each key is given to three workers, with other
 *                               values, so that each of them has something to write
 *
 * The order is a Feistel permutation, so that memory does not grow with KEYS.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WORKERS 8U
#define COPIES  3U
#define ROUNDS  4U

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x7fb5d329728ea185ULL;
    x ^= x >> 27;
    x *= 0x81dadef4bc2dd44dULL;
    return x ^ (x >> 33);
}

/* One pass over 2 * half bits. */
static uint64_t scramble(uint64_t x, unsigned half, uint64_t seed)
{
    uint64_t mask = (1ULL << half) - 1;
    uint64_t left = x >> half;
    uint64_t right = x & mask;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t next = left ^ (mix(right + seed * (i + 1) + i) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

/* Where the i-th of n goes: scrambled until it falls inside. */
static uint64_t permute(uint64_t i, uint64_t n, uint64_t seed)
{
    unsigned half = 1;
    while (1ULL << 2 * half < n) {
        half++;
    }
    do {
        i = scramble(i, half, seed);
    } while (i >= n);
    return i;
}

static int given_to(uint64_t key, unsigned worker)
{
    return (key + WORKERS - worker) % WORKERS < COPIES;
}

static void print(uint64_t key, unsigned worker)
{
    static const char *const cities[] = {"Amsterdam", "Bogotá",  "Cairo", "Dakar",
                                         "Edinburgh", "Fukuoka", "Genoa", "Hanoi"};
    uint64_t r = mix(key * WORKERS + worker + 1);
    printf("{\"name\":\"item-%010llu\",\"worker\":%u,\"city\":\"%s\",\"price\":%u.%02u,"
           "\"stock\":%u,\"note\":\"%016llx\",\"seen\":\"2024-%02u-%02uT%02u:%02u:%02uZ\"}\n",
           (unsigned long long)key, worker, cities[r % 8], (unsigned)(r >> 8 & 1023),
           (unsigned)(r >> 18 & 63), (unsigned)(r >> 24 & 65535), (unsigned long long)r,
           (unsigned)(r >> 40 & 7) + 1, (unsigned)(r >> 43 & 15) + 1, (unsigned)(r >> 47 & 15),
           (unsigned)(r >> 51 & 31), (unsigned)(r >> 56 & 31));
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("generate KEYS SEED [WORKER]\n", stderr);
        return 64;
    }
    uint64_t keys = strtoull(argv[1], NULL, 10);
    uint64_t seed = strtoull(argv[2], NULL, 10);
    unsigned worker = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : WORKERS;
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t key = permute(i, keys, mix(seed + worker));
        if (worker == WORKERS || given_to(key, worker)) {
            print(key, worker);
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
