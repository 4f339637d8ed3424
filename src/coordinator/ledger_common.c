/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/ledger_common.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "base/status.h"

const char or_ledger_seen_above[] =
    "the store holds a page with a number that this ledger has never given out: the ledger was "
    "rolled back";

enum onerow_status or_ledger_other_definition(struct onerow_span name, struct onerow_span was,
                                              struct onerow_span is, struct onerow_error *error)
{
    return or_fail(error, ONEROW_CONFIG,
                   "the ledger knows %.*s by another definition than this configuration\n"
                   "  ledger:        %.*s\n"
                   "  configuration: %.*s\n"
                   "  use the former, or another coordinator for the new one",
                   (int)name.len, name.data, (int)was.len, was.data, (int)is.len, is.data);
}

bool or_ledger_random_id(char id[33])
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
    return true;
}

uint64_t or_ledger_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}
