/* SPDX-License-Identifier: Apache-2.0
 *
 * Acquiring a lease in PostgreSQL. The statement that knows all cases is long, so a short one goes
 * before it: for a lease that nobody wants, or, where the last one that was asked for was in
 * demand, for a place in its queue. If that is not how it is, the long one follows in a transaction
 * of its own. Which one is tried first is a guess about speed, and nothing depends on it.
 */
#include <stdio.h>

#include "base/status.h"
#include "coordinator/coordinator_postgres_lease.h"
#include "coordinator/lease_rules.h"

struct acquire {
    struct onerow_lease_claim *claim;
    struct onerow_span session; /* that listens; empty: none, or it cannot */
    struct or_lease_params params;
};

static enum onerow_status prepare_acquire(struct or_remote *remote, struct acquire *acquire,
                                          struct onerow_error *error)
{
    static const struct onerow_span none = {NULL, 0};
    struct onerow_lease_claim *claim = acquire->claim;
    struct or_lease_params *params = &acquire->params;
    enum onerow_status status = or_link_ready(&remote->link, error);
    struct onerow_span session = or_remote_session_of(claim->wake);
    bool direct = remote->link.session.way == OR_LINK_DIRECT;
    acquire->session = claim->queue && direct ? session : none;
    or_remote_set_bytes(params, ACQUIRE_NAME, claim->name);
    or_remote_set_nonce(params, ACQUIRE_NONCE, claim);
    or_remote_set_bytes(params, ACQUIRE_WHO, claim->who);
    or_remote_set_text(params, ACQUIRE_WAKE, session.len ? claim->wake : none);
    or_remote_set_number(params, ACQUIRE_HEARS, acquire->session.len > 0);
    or_remote_set_number(params, ACQUIRE_TTL, claim->ttl_ms);
    or_remote_set_number(params, ACQUIRE_PATIENCE, claim->patience_ms);
    or_remote_set_number(params, ACQUIRE_FLOOR, claim->floor);
    or_remote_set_number(params, ACQUIRE_QUEUE, claim->queue);
    return status;
}

/* One of the forms of acquire; with those that may line up, the connection begins to listen. */
static enum onerow_status run_acquire(struct or_remote *remote, const struct acquire *acquire,
                                      struct or_link_statement *form, struct onerow_error *error)
{
    char listen[sizeof "LISTEN " OR_REMOTE_CHANNEL + OR_WAKE_SESSION];
    struct onerow_span session = acquire->session;
    struct or_link_statement steps[] = {*form, {.sql = listen}};
    bool listens =
        form->sql != or_remote_free_sql && session.len && !or_remote_listens_to(remote, session);
    (void)snprintf(listen, sizeof listen, "LISTEN " OR_REMOTE_CHANNEL "%.*s", (int)session.len,
                   session.len ? session.data : "");
    enum onerow_status status =
        or_remote_run_locked(remote, acquire->claim->name, steps, listens ? 2 : 1, error);
    *form = steps[0];
    or_link_clear(steps + 1, 1);
    if (status == ONEROW_OK && listens) {
        or_remote_listens_now(remote, session);
    }
    return status;
}

/* A short form. *done: it was the right one. */
static enum onerow_status try_short(struct or_remote *remote, const struct acquire *acquire,
                                    bool *done, struct onerow_error *error)
{
    struct onerow_lease_claim *claim = acquire->claim;
    struct or_link_statement form =
        or_remote_step(remote->crowded ? or_remote_line_sql : or_remote_free_sql, &acquire->params,
                       ACQUIRE_PARAMS);
    enum onerow_status status = run_acquire(remote, acquire, &form, error);
    *done = status == ONEROW_OK && or_remote_has_row(&form);
    if (*done && remote->crowded) {
        claim->answer = ONEROW_LEASE_WAITING;
        claim->place = or_result_int8(form.result, 0, 0) + 1;
        claim->left_ms = or_result_int8(form.result, 0, 1);
    } else if (*done) {
        or_remote_is_held(claim, or_result_int8(form.result, 0, 0), claim->ttl_ms);
    }
    or_link_clear(&form, 1);
    return status;
}

static enum onerow_status take_acquired(struct or_remote *remote, struct onerow_lease_claim *claim,
                                        const PGresult *result, struct onerow_error *error)
{
    uint64_t waiters = or_result_int8(result, 0, ACQUIRED_WAITERS);
    if (or_result_bool(result, 0, ACQUIRED_LIFELESS)) {
        return or_remote_begin_life(remote, error);
    }
    if (or_result_bool(result, 0, ACQUIRED)) {
        if (or_result_int8(result, 0, ACQUIRED_ROWS) != 1) {
            return or_fail(error, ONEROW_RETRY, "%s: somebody changes this lease by hand",
                           remote->link.shown);
        }
        or_remote_is_held(claim, or_result_int8(result, 0, ACQUIRED_TOKEN), claim->ttl_ms);
        remote->crowded = waiters > 0;
        return ONEROW_OK;
    }
    claim->answer = claim->queue ? ONEROW_LEASE_WAITING : ONEROW_LEASE_TAKEN;
    claim->left_ms = or_result_int8(result, 0, ACQUIRED_LEFT);
    claim->place = claim->queue ? or_result_int8(result, 0, ACQUIRED_AHEAD) + 1 : waiters;
    remote->crowded = true;
    return ONEROW_OK;
}

static enum onerow_status try_acquire(struct or_remote *remote, void *context,
                                      struct onerow_error *error)
{
    struct acquire *acquire = context;
    bool done = false;
    enum onerow_status status = prepare_acquire(remote, acquire, error);
    if (status == ONEROW_OK && (acquire->claim->queue || !remote->crowded)) {
        status = try_short(remote, acquire, &done, error);
    }
    if (status != ONEROW_OK || done) {
        return status;
    }
    struct or_link_statement form =
        or_remote_step(or_remote_acquire_sql, &acquire->params, ACQUIRE_PARAMS);
    status = run_acquire(remote, acquire, &form, error);
    if (status == ONEROW_OK) {
        status = take_acquired(remote, acquire->claim, form.result, error);
    }
    or_link_clear(&form, 1);
    return status;
}

enum onerow_status or_remote_acquire(struct onerow_coordinator *base,
                                     struct onerow_lease_claim *claim, struct onerow_error *error)
{
    struct acquire acquire = {.claim = claim};
    or_book_check(claim);
    return or_remote_lease_call(or_remote_of(base), try_acquire, &acquire, error);
}
