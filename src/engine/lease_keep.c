/* SPDX-License-Identifier: Apache-2.0
 *
 * The two threads that a session keeps its leases with. Both start with the first lease that needs
 * them, and sleep until the earliest time at which one of the leases needs something; a lease that
 * needs something earlier wakes them.
 *
 *   keeper    renews; it may wait long for an answer
 *   watcher   tells whoever holds a lease that it is lost, at the moment when it is
 */
#include "base/thread.h"
#include "base/u64.h"
#include "engine/lease_internal.h"

/* ---- the keeper --------------------------------------------------------------------------------
 */

/* When a hold needs to be asked for. */
static uint64_t due_ms(const struct or_lease_hold *hold)
{
    bool renews = hold->held && !hold->busy && hold->lease.state == OR_LEASE_HOLDING;
    return renews ? hold->lease.next_ms : OR_LEASE_FOREVER;
}

static struct or_lease_hold *first_due(struct or_lease_session *session)
{
    struct or_lease_hold *first = session->holds;
    for (struct or_lease_hold *hold = first; hold; hold = hold->next) {
        first = due_ms(hold) < due_ms(first) ? hold : first;
    }
    return first;
}

/* Under the lock, but for the time of the question. */
static void renew(struct or_lease_hold *hold)
{
    struct or_lease_session *session = hold->session;
    struct or_lease_event event = or_lease_time();
    struct or_lease_command command = or_lease_step(&hold->lease, &event);
    if (command.what == OR_LEASE_DO_RENEW) {
        hold->busy = true;
        pthread_mutex_unlock(&session->lock);
        or_lease_ask(hold, command.what, &event);
        pthread_mutex_lock(&session->lock);
        hold->busy = false;
        (void)or_lease_step(&hold->lease, &event);
        pthread_cond_signal(&hold->changed);
    }
    or_lease_keep(hold); /* it runs for longer, or is gone */
}

static void *keep(void *context)
{
    struct or_lease_session *session = context;
    pthread_mutex_lock(&session->lock);
    while (!session->closing) {
        struct or_lease_hold *hold = first_due(session);
        session->keep_ms = hold ? due_ms(hold) : OR_LEASE_FOREVER;
        if (session->keep_ms <= or_wake_now_ms()) {
            renew(hold);
        } else {
            or_lease_await(session, &session->keep, session->keep_ms);
        }
    }
    pthread_mutex_unlock(&session->lock);
    return NULL;
}

/* ---- the watcher -------------------------------------------------------------------------------
 */

/* Tells it if it is time; otherwise when it will be. */
static uint64_t watch_hold(struct or_lease_hold *hold, uint64_t now_ms)
{
    uint64_t until_ms = OR_LEASE_FOREVER;
    if (!hold->held || hold->told || !hold->lost) {
        return until_ms;
    }
    if (or_lease_watch(&hold->lease, now_ms, &until_ms) != OR_LEASE_RIGHT_WORK) {
        hold->told = true;
        hold->lost(hold->context);
        until_ms = OR_LEASE_FOREVER;
    }
    return until_ms;
}

static void *watch(void *context)
{
    struct or_lease_session *session = context;
    pthread_mutex_lock(&session->lock);
    while (!session->closing) {
        uint64_t now_ms = or_wake_now_ms();
        session->watch_ms = OR_LEASE_FOREVER;
        for (struct or_lease_hold *hold = session->holds; hold; hold = hold->next) {
            session->watch_ms = or_u64_min(session->watch_ms, watch_hold(hold, now_ms));
        }
        or_lease_await(session, &session->watch, session->watch_ms);
    }
    pthread_mutex_unlock(&session->lock);
    return NULL;
}

/* ---- both --------------------------------------------------------------------------------------
 */

/* When the watcher has to look at it. */
static uint64_t watch_ms(const struct or_lease_hold *hold)
{
    uint64_t until_ms = 0;
    uint64_t now_ms = or_wake_now_ms();
    return or_lease_watch(&hold->lease, now_ms, &until_ms) == OR_LEASE_RIGHT_WORK ? until_ms : 0;
}

void or_lease_keep(struct or_lease_hold *hold)
{
    struct or_lease_session *session = hold->session;
    if (!session->keeps) {
        /* Without a thread nothing is renewed: the lease runs out, and or_lease_right says so. */
        session->keeps = or_thread_start(&session->keeper, keep, session);
    } else if (due_ms(hold) < session->keep_ms) {
        session->keep_ms = due_ms(hold);
        pthread_cond_signal(&session->keep);
    }
    if (!hold->lost || hold->told) {
        return;
    }
    if (!session->watches) {
        session->watches = or_thread_start(&session->watcher, watch, session);
    } else if (watch_ms(hold) < session->watch_ms) {
        session->watch_ms = watch_ms(hold);
        pthread_cond_signal(&session->watch);
    }
}

void or_lease_keep_no_more(struct or_lease_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->closing = true;
    pthread_cond_signal(&session->keep);
    pthread_cond_signal(&session->watch);
    pthread_mutex_unlock(&session->lock);
    if (session->keeps) {
        pthread_join(session->keeper, NULL);
    }
    if (session->watches) {
        pthread_join(session->watcher, NULL);
    }
}
