/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wake.h"
#include "coordinator/coordinator.h"

#define COORDINATOR_MS 10000U /* for the coordinator's own locks */

static const struct or_breaker_limits BREAKER = {
    .percent = 20, .least = 10, .cool_ms = 10000, .cool_max_ms = 120000, .probe_ms = 70000};

static enum onerow_status pass(struct onerow_gate *base, struct onerow_error *error)
{
    struct or_gate *gate = (struct or_gate *)base;
    return or_governor_pass(gate->governor, gate->wait_ms, gate->stop, error);
}

static void hold(struct onerow_gate *base, uint64_t retry_after_ms)
{
    or_governor_hold(((struct or_gate *)base)->governor, retry_after_ms, or_wake_now_ms());
}

static char *budget_name(const struct onerow_store_type *type,
                         const struct onerow_store_options *options)
{
    char account[ONEROW_ACCOUNT_MAX] = "";
    struct or_buffer name;
    or_buffer_init(&name);
    if (type->pages->account) {
        type->pages->account(options, account);
    }
    or_buffer_printf(&name, "windows:%s:%s", type->name, account);
    return or_buffer_steal(&name);
}

/* None where there is nothing to share, or nobody who could. */
static enum onerow_status open_coordinator(const struct or_config_table *config,
                                           struct or_gate *gate, struct onerow_error *error)
{
    const char *url = config->coordinator ? config->coordinator : config->ledger;
    bool shares = url && config->store->n_windows;
    const struct onerow_coordinator_type *type = shares ? or_coordinator_type_of(url) : NULL;
    if (!type || !type->leases) {
        return ONEROW_OK;
    }
    struct onerow_coordinator_options options = {
        .url = url, .wait_ms = COORDINATOR_MS, .stop = gate->stop};
    gate->url = url;
    return type->open(&options, &gate->coordinator, error);
}

static enum onerow_status make_governor(const struct or_config_table *config, struct or_gate *gate,
                                        bool bulk, struct onerow_error *error)
{
    struct or_governor_options options = {.windows = config->store->windows,
                                          .n_windows = config->store->n_windows,
                                          .coordinator = gate->coordinator,
                                          .budget = or_span(gate->budget),
                                          .breaker = &BREAKER,
                                          .probe_first = bulk};
    gate->governor = or_governor_create(&options);
    return gate->governor ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

enum onerow_status or_gate_open(const struct or_config_table *config,
                                const struct onerow_store_type *type,
                                const struct onerow_store_options *options, bool bulk,
                                struct or_gate **out, struct onerow_error *error)
{
    struct or_gate *gate = calloc(1, sizeof *gate);
    *out = NULL;
    if (!gate) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    gate->base = (struct onerow_gate){.pass = pass, .hold = hold};
    gate->wait_ms = options->wait_ms;
    gate->stop = options->stop;
    gate->budget = budget_name(type, options);
    enum onerow_status status =
        gate->budget ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    status = status == ONEROW_OK ? open_coordinator(config, gate, error) : status;
    status = status == ONEROW_OK ? make_governor(config, gate, bulk, error) : status;
    if (status != ONEROW_OK) {
        or_gate_close(gate);
        return status;
    }
    *out = gate;
    return ONEROW_OK;
}

void or_gate_close(struct or_gate *gate)
{
    if (!gate) {
        return;
    }
    or_governor_destroy(gate->governor);
    if (gate->coordinator) {
        gate->coordinator->type->close(gate->coordinator);
    }
    free(gate->budget);
    free(gate);
}
