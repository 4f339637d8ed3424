/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes, numbers with their low byte first:
 *
 *   version 1 │ protocol 1 │ workers 1 │ keys 1 │ processes 1 │ bounds 1 │ faults 4 │ seed 8 │
 *   number of muted injections 1 │ each muted one's distance to the one before it │ CRC-32 4
 *
 * A distance takes 7 bits a byte, the low ones first; the top bit says that more follow. The text
 * is base64url without padding (RFC 4648, section 5), and its unused last bits are zero.
 *
 * CRC-32 finds every error that lies within 32 bits: one wrong character, or two neighbours that
 * were swapped.
 */
#include "sim/token.h"

#include <assert.h>
#include <string.h>

#define BYTES_MAX 350U /* 19, 64 distances of 5 bytes, 4; rounded up */
#define SUM_BYTES 4U

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t len;
    size_t at; /* of reading */
    bool short_of_some;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put(struct bytes *bytes, uint64_t value, unsigned n)
{
    assert(bytes->len + n <= BYTES_MAX);
    for (unsigned i = 0; i < n; i++) {
        bytes->data[bytes->len++] = (uint8_t)(value >> (8U * i));
    }
}

static uint64_t take(struct bytes *bytes, unsigned n)
{
    uint64_t value = 0;
    if (bytes->len - bytes->at < n) {
        bytes->short_of_some = true;
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        value |= (uint64_t)bytes->data[bytes->at++] << (8U * i);
    }
    return value;
}

static void put_distance(struct bytes *bytes, uint32_t distance)
{
    for (; distance > 127; distance >>= 7) {
        put(bytes, (distance & 127U) | 128U, 1);
    }
    put(bytes, distance, 1);
}

/* 0, which no distance is: it does not fit into 32 bits, or is not as put_distance writes it. */
static uint32_t take_distance(struct bytes *bytes)
{
    uint64_t distance = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint64_t byte = take(bytes, 1);
        distance |= (byte & 127U) << shift;
        if (byte < 128) {
            bool shortest = byte > 0 || shift == 0;
            return shortest && distance <= UINT32_MAX ? (uint32_t)distance : 0;
        }
    }
    return 0;
}

static uint32_t check_sum(const uint8_t *data, size_t len)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        sum ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ (sum & 1U ? 0xedb88320U : 0U);
        }
    }
    return ~sum;
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void to_text(const struct bytes *bytes, char token[SIM_TOKEN_MAX])
{
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < bytes->len; i++) {
        bits = bits << 8 | bytes->data[i];
        for (have += 8; have >= 6; have -= 6) {
            token[n++] = DIGITS[bits >> (have - 6) & 63U];
        }
    }
    if (have > 0) {
        token[n++] = DIGITS[bits << (6 - have) & 63U];
    }
    assert(n < SIM_TOKEN_MAX);
    token[n] = 0;
}

static bool from_text(const char *token, struct bytes *bytes, const char **reason)
{
    uint32_t bits = 0;
    unsigned have = 0;
    for (; *token; token++) {
        const char *digit = strchr(DIGITS, *token);
        if (!digit) {
            *reason = "it has a character that is in no token";
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - DIGITS);
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (bytes->len == BYTES_MAX) {
                *reason = "it is too long";
                return false;
            }
            bytes->data[bytes->len++] = (uint8_t)(bits >> have);
        }
    }
    if (have == 6 || (bits & ((1U << have) - 1U)) != 0) {
        *reason = "it is cut off, or mistyped";
        return false;
    }
    return true;
}

/* ---- a configuration --------------------------------------------------------------------------
 */

void sim_token_write(const struct sim_config *config, char token[SIM_TOKEN_MAX])
{
    struct bytes bytes = {.len = 0};
    uint32_t before = 0;
    put(&bytes, SIM_TOKEN_VERSION, 1);
    put(&bytes, config->protocol, 1);
    put(&bytes, config->workers, 1);
    put(&bytes, config->keys, 1);
    put(&bytes, config->processes, 1);
    put(&bytes, config->within_bounds, 1);
    put(&bytes, config->faults, 4);
    put(&bytes, config->seed, 8);
    put(&bytes, config->n_muted, 1);
    for (unsigned i = 0; i < config->n_muted; i++) {
        assert(config->muted[i] > before);
        put_distance(&bytes, config->muted[i] - before);
        before = config->muted[i];
    }
    put(&bytes, check_sum(bytes.data, bytes.len), SUM_BYTES);
    to_text(&bytes, token);
}

static bool take_muted(struct bytes *bytes, struct sim_config *config)
{
    uint32_t before = 0;
    config->n_muted = (unsigned)take(bytes, 1);
    if (config->n_muted > SIM_MUTED_MAX) {
        return false;
    }
    for (unsigned i = 0; i < config->n_muted; i++) {
        uint32_t distance = take_distance(bytes);
        if (distance == 0 || distance > UINT32_MAX - before) {
            return false;
        }
        before += distance;
        config->muted[i] = before;
    }
    return true;
}

static bool take_config(struct bytes *bytes, struct sim_config *config)
{
    uint64_t protocol = take(bytes, 1);
    config->protocol = (enum sim_protocol)protocol;
    config->workers = (unsigned)take(bytes, 1);
    config->keys = (unsigned)take(bytes, 1);
    config->processes = (unsigned)take(bytes, 1);
    uint64_t bounds = take(bytes, 1);
    config->within_bounds = bounds == 1;
    config->faults = (uint32_t)take(bytes, 4);
    config->seed = take(bytes, 8);
    return protocol < SIM_PROTOCOLS && config->workers <= SIM_WORKERS_MAX &&
           config->keys <= SIM_KEYS_MAX && config->processes <= SIM_WORKERS_MAX && bounds <= 1 &&
           config->faults >> SIM_FAULTS == 0 && take_muted(bytes, config);
}

static bool check(struct bytes *bytes, const char **reason)
{
    if (bytes->len <= SUM_BYTES) {
        *reason = "it is too short";
        return false;
    }
    bytes->len -= SUM_BYTES;
    struct bytes sum = {.len = SUM_BYTES};
    memcpy(sum.data, bytes->data + bytes->len, SUM_BYTES);
    if (take(&sum, SUM_BYTES) != check_sum(bytes->data, bytes->len)) {
        *reason = "its check sum is wrong: is it mistyped, or cut off?";
        return false;
    }
    if (take(bytes, 1) != SIM_TOKEN_VERSION) {
        *reason = "it is of another version of onerow";
        return false;
    }
    return true;
}

bool sim_token_read(const char *token, struct sim_config *config, const char **reason)
{
    struct bytes bytes = {.len = 0};
    memset(config, 0, sizeof *config);
    if (!from_text(token, &bytes, reason) || !check(&bytes, reason)) {
        return false;
    }
    bool valid = take_config(&bytes, config);
    if (!valid || bytes.short_of_some || bytes.at != bytes.len) {
        *reason = "it says something that no schedule has";
        return false;
    }
    return true;
}
