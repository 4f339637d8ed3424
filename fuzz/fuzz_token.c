/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any text as a replay token, and any bytes as the fields of one. What is read must be a
 * schedule that can run, and must be written as the same text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_config(const struct sim_config *config)
{
    HOLDS(config->protocol < SIM_PROTOCOLS);
    HOLDS(config->workers <= SIM_WORKERS_MAX && config->processes <= SIM_WORKERS_MAX);
    HOLDS(config->keys <= SIM_KEYS_MAX);
    HOLDS(config->faults >> SIM_FAULTS == 0);
    HOLDS(config->n_muted <= SIM_MUTED_MAX);
    for (unsigned i = 1; i < config->n_muted; i++) {
        HOLDS(config->muted[i] > config->muted[i - 1]);
    }
}

static void check_text(const char *token)
{
    struct sim_config config;
    const char *reason = NULL;
    if (!sim_token_read(token, &config, &reason)) {
        HOLDS(reason && *reason);
        return;
    }
    char again[SIM_TOKEN_MAX];
    check_config(&config);
    sim_token_write(&config, again);
    HOLDS(strcmp(token, again) == 0);
}

static uint8_t byte_at(const uint8_t *data, size_t size, size_t at)
{
    return at < size ? data[at] : 0;
}

/* Past the check sum, which hardly any text of the fuzzer gets through. */
static void check_fields(const uint8_t *data, size_t size)
{
    struct sim_config config = {.protocol =
                                    (enum sim_protocol)(byte_at(data, size, 0) % SIM_PROTOCOLS),
                                .workers = byte_at(data, size, 1) % (SIM_WORKERS_MAX + 1),
                                .keys = byte_at(data, size, 2) % (SIM_KEYS_MAX + 1),
                                .processes = byte_at(data, size, 3) % (SIM_WORKERS_MAX + 1),
                                .within_bounds = byte_at(data, size, 4) & 1U};
    uint32_t number = 0;
    for (size_t at = 5; at < size && config.n_muted < SIM_MUTED_MAX; at++) {
        number += 1 + ((uint32_t)data[at] << data[at] % 16);
        config.muted[config.n_muted++] = number;
    }
    char token[SIM_TOKEN_MAX];
    struct sim_config read;
    const char *reason = NULL;
    sim_token_write(&config, token);
    HOLDS(sim_token_read(token, &read, &reason));
    HOLDS(read.n_muted == config.n_muted && read.protocol == config.protocol);
    check_text(token);
    token[byte_at(data, size, 5) % strlen(token)] ^= (char)(1 + byte_at(data, size, 6) % 127);
    HOLDS(!sim_token_read(token, &read, &reason));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = 0;
    check_text(text);
    check_fields(data, size);
    free(text);
    return 0;
}
