/* SPDX-License-Identifier: Apache-2.0
 *
 * A session is a coordinator with what is wanted and held through it. What to do, and when, is the
 * core's (core/lease.c); here are threads, locks and sleep.
 *
 *   caller's thread   or_lease_acquire, or_lease_release: steps its own hold, asks the coordinator
 *                     itself, and sleeps in between
 *   keeper            renews what is held (lease_keep.c)
 *   watcher           tells when something is lost; it never asks the coordinator, so that an
 *                     answer that does not come cannot keep it from that
 *
 * Of the threads that wait, one listens for all of them: at the session's socket, and at what the
 * coordinator has to say. The others sleep until it signals to them; when it goes, it passes the
 * ear on. So a process with one waiting thread is woken by the releaser's datagram itself.
 */
#include "engine/lease.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "coordinator/coordinator.h"
#include "engine/lease_internal.h"

/* How long the coordinator waits for its own locks: others have renewals to send. */
#define LOCK_WAIT_MS 1000U

#define PATIENCE_MS 10000U
#define POLL_MS     1000U
#define STOP_MS     50U /* the flag is looked at as often */

/* ---- time and chance ---------------------------------------------------------------------------
 */

struct or_lease_event or_lease_time(void)
{
    struct or_lease_event event = {.kind = OR_LEASE_TIME, .now_ms = or_wake_now_ms()};
    if (getrandom(&event.random, sizeof event.random, GRND_NONBLOCK) !=
        (ssize_t)sizeof event.random) {
        event.random = event.now_ms; /* only spreads load */
    }
    return event;
}

/* Sleep is measured by a clock that stands while the machine sleeps, so it is cut into pieces. */
#define PIECE_MS 1000U

static uint64_t piece(uint64_t until_ms)
{
    return or_u64_min(or_u64_sub(until_ms, or_wake_now_ms()), PIECE_MS);
}

void or_lease_await(struct or_lease_session *session, pthread_cond_t *signal, uint64_t until_ms)
{
    struct timespec end;
    uint64_t ms = piece(until_ms);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)(ms / 1000U);
    end.tv_nsec += (long)(ms % 1000U) * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    (void)pthread_cond_timedwait(signal, &session->lock, &end);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static enum onerow_status ask(struct or_lease_hold *hold, enum or_lease_do what)
{
    struct onerow_coordinator *coordinator = hold->session->coordinator;
    const struct onerow_lease_ops *ops = hold->session->ops;
    switch (what) {
    case OR_LEASE_DO_ACQUIRE: return ops->acquire(coordinator, &hold->claim, &hold->error);
    case OR_LEASE_DO_RENEW: return ops->renew(coordinator, &hold->claim, &hold->error);
    case OR_LEASE_DO_RELEASE: return ops->release(coordinator, &hold->claim, &hold->error);
    case OR_LEASE_DO_CANCEL: return ops->cancel(coordinator, &hold->claim, &hold->error);
    case OR_LEASE_DO_SLEEP:
    case OR_LEASE_DO_NOTHING: break;
    }
    assert(!"there is something to ask");
    return ONEROW_USAGE;
}

void or_lease_ask(struct or_lease_hold *hold, enum or_lease_do what, struct or_lease_event *event)
{
    struct or_lease_session *session = hold->session;
    pthread_mutex_lock(&session->io);
    uint64_t sent_ms = or_wake_now_ms();
    enum onerow_status status = ask(hold, what);
    pthread_mutex_unlock(&session->io);
    *event = or_lease_time();
    event->kind = status == ONEROW_OK ? OR_LEASE_ANSWER : OR_LEASE_FAILED;
    event->sent_ms = sent_ms;
    event->answer = hold->claim.answer;
    event->token = hold->claim.token;
    event->left_ms = hold->claim.left_ms;
    event->place = hold->claim.place;
    hold->status = status;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

static struct or_lease_hold *hold_of(const struct or_lease_session *session,
                                     const unsigned char nonce[ONEROW_NONCE])
{
    struct or_lease_hold *hold = session->holds;
    while (hold && memcmp(hold->claim.nonce, nonce, ONEROW_NONCE) != 0) {
        hold = hold->next;
    }
    return hold;
}

static void deliver(struct or_lease_session *session, const struct or_wake_message *message)
{
    struct or_lease_hold *hold = hold_of(session, message->nonce);
    if (hold) {
        hold->woken = *message;
        hold->was_woken = true;
        pthread_cond_signal(&hold->changed);
    }
}

/* From another machine: it says whose turn it is, and no more. */
static void deliver_name(void *context, const unsigned char nonce[ONEROW_NONCE])
{
    struct or_lease_session *session = context;
    struct or_wake_message message = {.token = 0};
    memcpy(message.nonce, nonce, ONEROW_NONCE);
    pthread_mutex_lock(&session->lock);
    deliver(session, &message);
    pthread_mutex_unlock(&session->lock);
}

/* What the coordinator has heard; its descriptor, or -1. */
static int hear(struct or_lease_session *session)
{
    struct onerow_error error;
    if (!session->ops->wake_fd) {
        return -1;
    }
    pthread_mutex_lock(&session->io);
    int fd = session->ops->wake_fd(session->coordinator);
    if (fd >= 0 &&
        session->ops->woken(session->coordinator, deliver_name, session, &error) != ONEROW_OK) {
        fd = -1; /* the next acquire will tell */
    }
    pthread_mutex_unlock(&session->io);
    return fd;
}

static void take_messages(struct or_lease_session *session)
{
    struct or_wake_message message;
    while (or_wake_take(&session->wake, &message)) {
        deliver(session, &message);
    }
}

static void pass_ear_on(struct or_lease_session *session)
{
    struct or_lease_hold *hold = session->holds;
    while (hold && !hold->waits) {
        hold = hold->next;
    }
    if (hold) {
        pthread_cond_signal(&hold->changed);
    }
}

/* Listens for all, until something is there for this one. Called and left under the lock. */
static void listen_until(struct or_lease_hold *hold, uint64_t until_ms)
{
    struct or_lease_session *session = hold->session;
    session->listening = true;
    pthread_mutex_unlock(&session->lock);
    struct pollfd fds[] = {{.fd = session->wake.fd, .events = POLLIN},
                           {.fd = hear(session), .events = POLLIN}};
    pthread_mutex_lock(&session->lock);
    bool ready = hold->was_woken;
    pthread_mutex_unlock(&session->lock);
    if (!ready) {
        uint64_t ms = piece(until_ms);
        ms = session->stop ? or_u64_min(ms, STOP_MS) : ms;
        (void)poll(fds, 2, (int)ms);
    }
    if (fds[1].revents) {
        (void)hear(session);
    }
    pthread_mutex_lock(&session->lock);
    take_messages(session);
    session->listening = false;
}

static bool stopped(const struct or_lease_session *session)
{
    return or_flag_is_set(session->stop);
}

/* Until then, until it is woken, or until all are to stop. Under the lock. */
static void wait_until(struct or_lease_hold *hold, uint64_t until_ms)
{
    struct or_lease_session *session = hold->session;
    hold->waits = true;
    while (!hold->was_woken && !stopped(session) && or_wake_now_ms() < until_ms) {
        if (session->listening) {
            or_lease_await(session, &hold->changed, until_ms);
        } else {
            listen_until(hold, until_ms);
        }
    }
    hold->waits = false;
    pass_ear_on(session);
}

/* What a wait ended with. */
static struct or_lease_event next_event(struct or_lease_hold *hold)
{
    struct or_lease_event event = or_lease_time();
    if (hold->was_woken) {
        event.kind = OR_LEASE_WOKEN;
        event.sent_ms = hold->woken.sent_ms;
        event.token = hold->woken.token;
        event.left_ms = hold->woken.granted_ms;
        hold->was_woken = false;
    }
    return event;
}

/* ---- holds -------------------------------------------------------------------------------------
 */

static void remember(struct or_lease_hold *hold)
{
    pthread_mutex_lock(&hold->session->lock);
    hold->next = hold->session->holds;
    hold->session->holds = hold;
    pthread_mutex_unlock(&hold->session->lock);
}

static void forget(struct or_lease_hold *hold)
{
    struct or_lease_session *session = hold->session;
    pthread_mutex_lock(&session->lock);
    struct or_lease_hold **at = &session->holds;
    while (*at != hold) {
        at = &(*at)->next;
    }
    *at = hold->next;
    pthread_mutex_unlock(&session->lock);
    pthread_cond_destroy(&hold->changed);
    free(hold);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static bool has_controls(struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static enum onerow_status check(const struct or_lease_wanted *wanted, struct onerow_error *error)
{
    struct onerow_span name = wanted->name;
    if (name.len == 0 || name.len > ONEROW_LEASE_NAME_MAX || !or_utf8_valid(name, NULL) ||
        has_controls(name)) {
        return or_fail(error, ONEROW_USAGE,
                       "a lease's name is UTF-8 text of 1 to %u bytes without control characters",
                       ONEROW_LEASE_NAME_MAX);
    }
    if (wanted->ttl_ms < OR_LEASE_TTL_MIN || wanted->ttl_ms > ONEROW_LEASE_TTL_MAX) {
        return or_fail(error, ONEROW_USAGE,
                       "lease %.*s: its time must be from one second to seven days", (int)name.len,
                       name.data);
    }
    if (wanted->who.len > ONEROW_LEASE_WHO_MAX || !or_utf8_valid(wanted->who, NULL)) {
        return or_fail(error, ONEROW_USAGE,
                       "lease %.*s: the holder's description is more than %u bytes, or no UTF-8",
                       (int)name.len, name.data, ONEROW_LEASE_WHO_MAX);
    }
    return ONEROW_OK;
}

static void begin(struct or_lease_hold *hold, const struct or_lease_wanted *wanted)
{
    struct or_lease_limits limits = {.ttl_ms = wanted->ttl_ms,
                                     .wait_ms = wanted->wait_ms,
                                     .patience_ms = PATIENCE_MS,
                                     .poll_ms = POLL_MS};
    or_lease_begin(&hold->lease, &limits, or_wake_now_ms());
    hold->claim.ttl_ms = wanted->ttl_ms;
    hold->claim.patience_ms = PATIENCE_MS;
    hold->claim.floor = wanted->floor;
    hold->claim.queue = wanted->wait_ms > 0;
    hold->lost = wanted->lost;
    hold->context = wanted->context;
}

static struct or_lease_hold *make_hold(struct or_lease_session *session,
                                       const struct or_lease_wanted *wanted)
{
    char own[ONEROW_LEASE_WHO_MAX];
    struct onerow_span who = wanted->who.len ? wanted->who : or_lease_who("", own);
    struct or_lease_hold *hold = calloc(1, sizeof *hold + wanted->name.len + who.len);
    if (!hold) {
        return NULL;
    }
    if (getrandom(hold->claim.nonce, ONEROW_NONCE, 0) != ONEROW_NONCE) {
        free(hold);
        return NULL;
    }
    memcpy(hold->text, wanted->name.data, wanted->name.len);
    memcpy(hold->text + wanted->name.len, who.data, who.len);
    hold->session = session;
    hold->claim.name = (struct onerow_span){hold->text, wanted->name.len};
    hold->claim.who = (struct onerow_span){hold->text + wanted->name.len, who.len};
    hold->claim.wake = or_span(session->wake.address);
    init_condition(&hold->changed);
    begin(hold, wanted);
    return hold;
}

/* ---- acquiring ---------------------------------------------------------------------------------
 */

/* Whether it may be another story after a while. */
static bool passes(enum onerow_status status)
{
    return status == ONEROW_OK || status == ONEROW_UNAVAILABLE || status == ONEROW_BUSY ||
           status == ONEROW_UNKNOWN || status == ONEROW_RETRY;
}

/* Under the lock: what the wait ends with. */
static struct or_lease_event sleep_on(struct or_lease_hold *hold, uint64_t until_ms)
{
    wait_until(hold, until_ms);
    if (stopped(hold->session)) {
        or_lease_leave(&hold->lease);
    }
    return next_event(hold);
}

/* Steps until it is held or over. Under the lock. */
static enum onerow_status pursue(struct or_lease_hold *hold, const struct or_lease_wanted *wanted)
{
    struct or_lease_session *session = hold->session;
    struct or_lease_event event = or_lease_time();
    while (true) {
        struct or_lease_command command = or_lease_step(&hold->lease, &event);
        if (hold->lease.state == OR_LEASE_HOLDING || command.what == OR_LEASE_DO_NOTHING) {
            return ONEROW_OK;
        }
        if (command.what == OR_LEASE_DO_SLEEP) {
            event = sleep_on(hold, command.until_ms);
            continue;
        }
        pthread_mutex_unlock(&session->lock);
        or_lease_ask(hold, command.what, &event);
        if (command.what == OR_LEASE_DO_ACQUIRE && event.kind == OR_LEASE_ANSWER &&
            event.answer == ONEROW_LEASE_WAITING && wanted->waiting) {
            wanted->waiting(wanted->context, event.place, event.left_ms);
        }
        pthread_mutex_lock(&session->lock);
        if (command.what == OR_LEASE_DO_ACQUIRE && !passes(hold->status)) {
            return hold->status; /* nothing happened, and will not */
        }
    }
}

/* Why it is not held. */
static enum onerow_status explain(const struct or_lease_hold *hold, struct onerow_error *error)
{
    struct onerow_span name = hold->claim.name;
    switch (hold->lease.end) {
    case OR_LEASE_END_FAILED:
        if (error) {
            *error = hold->error;
        }
        return hold->status == ONEROW_OK ? ONEROW_UNAVAILABLE : hold->status;
    case OR_LEASE_END_LEFT:
        return or_fail(error, ONEROW_INTERRUPTED, "lease %.*s: interrupted while waiting for it",
                       (int)name.len, name.data);
    case OR_LEASE_END_TIMEOUT:
        return or_fail(error, ONEROW_ABSENT,
                       "lease %.*s: still somebody else's after %llu ms of waiting", (int)name.len,
                       name.data, (unsigned long long)hold->lease.limits.wait_ms);
    case OR_LEASE_END_TAKEN:
    case OR_LEASE_END_NONE:
    case OR_LEASE_END_RELEASED:
    case OR_LEASE_END_LOST: break;
    }
    return or_fail(error, ONEROW_ABSENT, "lease %.*s: somebody else has it", (int)name.len,
                   name.data);
}

enum onerow_status or_lease_acquire(struct or_lease_session *session,
                                    const struct or_lease_wanted *wanted,
                                    struct or_lease_hold **hold, struct onerow_error *error)
{
    *hold = NULL;
    enum onerow_status status = check(wanted, error);
    struct or_lease_hold *mine = status == ONEROW_OK ? make_hold(session, wanted) : NULL;
    if (!mine) {
        return status == ONEROW_OK ? or_fail(error, ONEROW_NOMEM, "out of memory") : status;
    }
    remember(mine);
    pthread_mutex_lock(&session->lock);
    status = pursue(mine, wanted);
    mine->held = status == ONEROW_OK && mine->lease.state == OR_LEASE_HOLDING;
    if (mine->held) {
        mine->claim.token = mine->lease.token;
        *hold = mine; /* before anybody can call `lost` */
        or_lease_keep(mine);
    }
    pthread_mutex_unlock(&session->lock);
    if (*hold) {
        return ONEROW_OK;
    }
    if (status != ONEROW_OK && error) {
        *error = mine->error;
    }
    status = status == ONEROW_OK ? explain(mine, error) : status;
    forget(mine);
    return status;
}

/* ---- holding and releasing ---------------------------------------------------------------------
 */

uint64_t or_lease_token(const struct or_lease_hold *hold)
{
    return hold->claim.token;
}

enum or_lease_right or_lease_right(struct or_lease_hold *hold, uint64_t *until_ms)
{
    pthread_mutex_lock(&hold->session->lock);
    enum or_lease_right right = or_lease_watch(&hold->lease, or_wake_now_ms(), until_ms);
    pthread_mutex_unlock(&hold->session->lock);
    return right;
}

uint64_t or_lease_end_ms(struct or_lease_hold *hold)
{
    pthread_mutex_lock(&hold->session->lock);
    uint64_t end_ms = or_lease_last_ms(&hold->lease);
    pthread_mutex_unlock(&hold->session->lock);
    return end_ms;
}

/* Under the lock. */
static void give_up(struct or_lease_hold *hold)
{
    struct or_lease_session *session = hold->session;
    while (hold->busy) {
        pthread_cond_wait(&hold->changed, &session->lock);
    }
    hold->held = false;
    or_lease_leave(&hold->lease);
    struct or_lease_event event = or_lease_time();
    struct or_lease_command command = or_lease_step(&hold->lease, &event);
    while (command.what != OR_LEASE_DO_NOTHING) {
        if (command.what == OR_LEASE_DO_SLEEP) {
            or_lease_await(session, &hold->changed, command.until_ms);
            event = or_lease_time();
        } else {
            pthread_mutex_unlock(&session->lock);
            or_lease_ask(hold, command.what, &event);
            pthread_mutex_lock(&session->lock);
        }
        command = or_lease_step(&hold->lease, &event);
    }
}

enum onerow_status or_lease_release(struct or_lease_hold *hold, struct onerow_error *error)
{
    struct or_lease_session *session = hold->session;
    struct onerow_span name = hold->claim.name;
    hold->status = ONEROW_OK;
    pthread_mutex_lock(&session->lock);
    give_up(hold);
    pthread_mutex_unlock(&session->lock);
    enum onerow_status status = hold->status;
    if (hold->lease.end == OR_LEASE_END_LOST) {
        status = or_fail(error, ONEROW_LEFT, "lease %.*s: it was lost before it was released",
                         (int)name.len, name.data);
    } else if (status != ONEROW_OK && error) {
        *error = hold->error;
    }
    forget(hold);
    return status;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

enum onerow_status or_lease_coordinator(const char *url, struct onerow_coordinator **coordinator,
                                        const struct onerow_lease_ops **ops,
                                        struct onerow_error *error)
{
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    if (!type || !type->leases) {
        struct or_buffer list;
        or_buffer_init(&list);
        or_coordinator_list(&list);
        enum onerow_status status =
            or_fail(error, ONEROW_CONFIG, "coordinator: %.*s is none that has leases; there are %s",
                    (int)strcspn(url, ":"), url, or_buffer_cstr(&list));
        or_buffer_finish(&list);
        return status;
    }
    struct onerow_coordinator_options options = {
        .url = url, .wait_ms = LOCK_WAIT_MS}; /* no stop: releases are to be sent all the same */
    *ops = type->leases;
    return type->open(&options, coordinator, error);
}

enum onerow_status or_lease_session_open(const char *coordinator, const volatile bool *stop,
                                         struct or_lease_session **session,
                                         struct onerow_error *error)
{
    struct or_lease_session *made = calloc(1, sizeof *made);
    *session = NULL;
    if (!made || !or_wake_open(&made->wake)) {
        free(made);
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    made->stop = stop;
    made->keep_ms = made->watch_ms = OR_LEASE_FOREVER;
    pthread_mutex_init(&made->io, NULL);
    pthread_mutex_init(&made->lock, NULL);
    init_condition(&made->keep);
    init_condition(&made->watch);
    enum onerow_status status =
        or_lease_coordinator(coordinator, &made->coordinator, &made->ops, error);
    if (status != ONEROW_OK) {
        or_lease_session_close(made);
        return status;
    }
    *session = made;
    return ONEROW_OK;
}

void or_lease_session_close(struct or_lease_session *session)
{
    if (!session) {
        return;
    }
    while (session->holds) {
        enum onerow_status status = or_lease_release(session->holds, NULL);
        (void)status; /* it runs out by itself */
    }
    or_lease_keep_no_more(session);
    if (session->coordinator) {
        session->coordinator->type->close(session->coordinator);
    }
    or_wake_close(&session->wake);
    pthread_cond_destroy(&session->keep);
    pthread_cond_destroy(&session->watch);
    pthread_mutex_destroy(&session->lock);
    pthread_mutex_destroy(&session->io);
    free(session);
}

int or_lease_session_keep_fd(struct or_lease_session *session)
{
    pthread_mutex_lock(&session->io);
    int fd = session->ops->keep_fd ? session->ops->keep_fd(session->coordinator) : -1;
    pthread_mutex_unlock(&session->io);
    return fd;
}

/* ---- budgets -----------------------------------------------------------------------------------
 */

struct booking {
    const struct or_window *list;
    unsigned n;
    struct or_permit *permit;
};

struct log { /* too large for a stack */
    struct or_windows windows;
    char body[OR_BUDGET_BODY_MAX];
};

static bool book(void *context, struct onerow_span body, uint64_t now_ms, struct or_buffer *becomes)
{
    const struct booking *booking = context;
    struct log *log = malloc(sizeof *log);
    if (!log) {
        becomes->failed = true;
        return false;
    }
    if (!or_budget_decode(&log->windows, booking->list, booking->n, body, now_ms)) {
        or_budget_restart(&log->windows, booking->list, booking->n, now_ms);
    }
    or_budget_book(&log->windows, booking->permit, now_ms);
    or_buffer_add(becomes, log->body, or_budget_encode(&log->windows, log->body));
    free(log);
    return true;
}

enum onerow_status or_lease_permit(struct or_lease_session *session, struct onerow_span budget,
                                   const struct or_window *windows, unsigned n,
                                   struct or_permit *permit, struct onerow_error *error)
{
    struct booking booking = {windows, n, permit};
    pthread_mutex_lock(&session->io);
    enum onerow_status status =
        session->ops->share(session->coordinator, budget, book, &booking, error);
    pthread_mutex_unlock(&session->io);
    return status;
}

/* ---- who ---------------------------------------------------------------------------------------
 */

struct onerow_span or_lease_who(const char *command, char text[ONEROW_LEASE_WHO_MAX])
{
    char host[256] = "";
    struct or_buffer json;
    size_t len = 0;
    struct onerow_span shown = or_span_cut(or_span(command), ONEROW_LEASE_WHO_MAX / 8);
    (void)gethostname(host, sizeof host - 1);
    or_buffer_init(&json);
    or_buffer_text(&json, "{\"host\":");
    or_buffer_json(&json, or_span_cut(or_span(host), 64));
    or_buffer_printf(&json, ",\"pid\":%ld,\"command\":", (long)getpid());
    or_buffer_json(&json, shown);
    or_buffer_char(&json, '}');
    if (!json.failed && json.len <= ONEROW_LEASE_WHO_MAX) {
        memcpy(text, json.data, json.len);
        len = json.len;
    }
    or_buffer_finish(&json);
    return (struct onerow_span){text, len};
}
