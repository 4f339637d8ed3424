/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's leases: onerow.h's shapes around engine/lease.h.
 */
#include <stdlib.h>

#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "engine/lease.h"

#define TTL_MS 300000U

struct onerow_lease {
    struct or_lease_hold *hold; /* NULL until it was acquired */
    void (*lost)(void *context, struct onerow_lease *lease);
    void *context;
};

enum onerow_status onerow_leases_open(const char *coordinator, struct onerow_leases **leases,
                                      struct onerow_error *error)
{
    *leases = NULL;
    if (!coordinator) {
        return or_fail(error, ONEROW_USAGE, "coordinator: a URL is needed");
    }
    return or_lease_session_open(coordinator, NULL, (struct or_lease_session **)leases, error);
}

void onerow_leases_close(struct onerow_leases *leases)
{
    or_lease_session_close((struct or_lease_session *)leases);
}

static void lost(void *context)
{
    struct onerow_lease *lease = context;
    lease->lost(lease->context, lease);
}

static struct or_lease_wanted wanted_of(const struct onerow_lease_options *options,
                                        struct onerow_lease *lease)
{
    return (struct or_lease_wanted){.name = or_span(options->name),
                                    .who = or_span(options->who),
                                    .ttl_ms = options->ttl_ms ? options->ttl_ms : TTL_MS,
                                    .wait_ms = options->wait_ms,
                                    .floor = options->floor,
                                    .lost = options->lost ? lost : NULL,
                                    .context = lease};
}

enum onerow_status onerow_lease_acquire(struct onerow_leases *leases,
                                        const struct onerow_lease_options *options,
                                        struct onerow_lease **lease, struct onerow_error *error)
{
    *lease = NULL;
    struct onerow_lease *made = calloc(1, sizeof *made);
    if (!made) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    made->lost = options->lost;
    made->context = options->context;
    struct or_lease_wanted wanted = wanted_of(options, made);
    enum onerow_status status =
        or_lease_acquire((struct or_lease_session *)leases, &wanted, &made->hold, error);
    if (status != ONEROW_OK) {
        free(made);
        return status;
    }
    *lease = made;
    return ONEROW_OK;
}

uint64_t onerow_lease_token(const struct onerow_lease *lease)
{
    return or_lease_token(lease->hold);
}

uint64_t onerow_lease_left_ms(struct onerow_lease *lease)
{
    uint64_t until_ms = 0;
    bool may = or_lease_right(lease->hold, &until_ms) == OR_LEASE_RIGHT_WORK;
    return may ? or_u64_sub(until_ms, or_wake_now_ms()) : 0;
}

enum onerow_status onerow_lease_release(struct onerow_lease *lease, struct onerow_error *error)
{
    enum onerow_status status = or_lease_release(lease->hold, error);
    free(lease);
    return status;
}
