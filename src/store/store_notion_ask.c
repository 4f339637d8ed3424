/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that only look and are waited for: at opening, for get and audit. They are asked again
 * when Notion was busy: after the whole Retry-After, else after a pause that doubles, a few times.
 * Each one asks the gate first, and what it waits there is nobody's fault.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "store/store_notion.h"

#define REQUEST_MS 60000U
#define TRIES      5U
#define PAUSE_MS   500U
#define TURN_MS    50U

static void wait_for(struct or_notion_store *store, struct or_notion_ask *ask)
{
    struct or_http_request *over = NULL;
    while (over != &ask->request) {
        over = or_http_finish(store->http, TURN_MS);
        if (over && over != &ask->request) { /* the engine's, which it asks for later */
            or_notion_call_over(store, over);
        }
        if (!over && or_flag_is_set(store->stop)) {
            or_http_cancel(store->http, &ask->request);
            ask->request.end = OR_HTTP_NOT_SENT;
            return;
        }
    }
}

/* False: *stop was set. */
static bool pause_for(const struct or_notion_store *store, uint64_t ms)
{
    uint64_t until_ms = or_u64_add(or_wake_now_ms(), ms);
    uint64_t left_ms = ms;
    while (left_ms && !or_flag_is_set(store->stop)) {
        const struct timespec turn = {.tv_nsec = (long)or_u64_min(left_ms, TURN_MS) * 1000000};
        (void)nanosleep(&turn, NULL);
        left_ms = or_u64_sub(until_ms, or_wake_now_ms());
    }
    return !or_flag_is_set(store->stop);
}

static bool is_busy(const struct or_notion_answer *answer)
{
    return (answer->status == 429 &&
            strcmp(answer->rate_reason, "public_api_request_blocked") != 0) ||
           answer->status == 529;
}

/* Leave for one request. *until_ms moves with what it took. */
static enum onerow_status pass_gate(const struct or_notion_store *store, uint64_t *until_ms,
                                    struct onerow_error *error)
{
    uint64_t before_ms = or_wake_now_ms();
    enum onerow_status status = store->gate ? store->gate->pass(store->gate, error) : ONEROW_OK;
    *until_ms = or_u64_add(*until_ms, or_u64_sub(or_wake_now_ms(), before_ms));
    return status;
}

static void tell_gate(const struct or_notion_store *store, const struct or_notion_answer *answer)
{
    if (store->gate && answer->retry_after_ms && is_busy(answer)) {
        store->gate->hold(store->gate, answer->retry_after_ms);
    }
}

static bool ask_once(struct or_notion_store *store, struct or_notion_ask *ask)
{
    struct or_buffer url;
    struct or_buffer body;
    or_buffer_init(&url);
    or_buffer_init(&body);
    or_buffer_printf(&url, "%s%s", store->origin, ask->path);
    or_buffer_span(&body, ask->body);
    ask->request.owner = NULL;
    bool sent =
        or_notion_send(store, &ask->request, ask->version, ask->method, &url, &body, REQUEST_MS);
    if (sent) {
        wait_for(store, ask);
    }
    or_buffer_finish(&url);
    or_buffer_finish(&body);
    return sent;
}

static bool may_pass(const struct or_notion_answer *answer)
{
    return answer->end != OR_HTTP_ANSWERED || answer->status >= 500 ||
           (answer->status == 409 && *answer->code);
}

static enum onerow_status status_of(const struct or_notion_answer *answer)
{
    if (answer->end == OR_HTTP_ANSWERED && answer->status == 200 && answer->root) {
        return ONEROW_OK;
    }
    if (*answer->code && answer->status == 404) {
        return ONEROW_ABSENT;
    }
    bool config = *answer->code && answer->status >= 400 && answer->status < 404;
    return config ? ONEROW_CONFIG : ONEROW_UNAVAILABLE;
}

static enum onerow_status fail(struct or_notion_store *store, const struct or_notion_ask *ask,
                               enum onerow_status status, struct onerow_error *error)
{
    struct or_arena arena;
    or_arena_init(&arena);
    const char *why = or_notion_reason(ask->operation, &ask->answer, store->token, &arena);
    const char *hint = ask->answer.status == 401
                           ? "\n  the token is wrong, or was revoked: look at `token:` of the store"
                           : "";
    status = or_fail(error, status, "notion: %s%s", why ? why : "out of memory", hint);
    or_arena_finish(&arena);
    return status;
}

enum onerow_status or_notion_ask(struct or_notion_store *store, struct or_notion_ask *ask,
                                 struct onerow_error *error)
{
    uint64_t until_ms = or_u64_add(or_wake_now_ms(), store->wait_ms);
    uint64_t pause_ms = PAUSE_MS;
    for (unsigned tries = 1;; tries++) {
        or_notion_ask_finish(ask);
        enum onerow_status status = pass_gate(store, &until_ms, error);
        if (status != ONEROW_OK) {
            return status;
        }
        if (!ask_once(store, ask)) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
        or_notion_read(&ask->request, &ask->answer);
        tell_gate(store, &ask->answer);
        status = status_of(&ask->answer);
        bool busy = is_busy(&ask->answer);
        uint64_t ms = or_u64_max(busy ? ask->answer.retry_after_ms : 0, pause_ms);
        if (or_flag_is_set(store->stop)) {
            return or_fail(error, ONEROW_INTERRUPTED, "notion: interrupted");
        }
        bool again = busy || (!ask->once && may_pass(&ask->answer) && tries < TRIES);
        if (status == ONEROW_OK || !again || or_u64_add(or_wake_now_ms(), ms) > until_ms) {
            return status == ONEROW_OK ? status : fail(store, ask, status, error);
        }
        if (!pause_for(store, ms)) {
            return or_fail(error, ONEROW_INTERRUPTED, "notion: interrupted");
        }
        pause_ms = or_u64_min(2 * pause_ms, 8 * PAUSE_MS);
    }
}

enum onerow_status or_notion_ask_for(struct or_notion_store *store, struct or_notion_ask *ask,
                                     const char *kind, const char *id, struct onerow_error *error)
{
    char path[64 + OR_NOTION_ID];
    (void)snprintf(path, sizeof path, "/v1/%s/%s", kind, id);
    ask->operation = "look at the table";
    ask->method = "GET";
    ask->path = path;
    ask->version = store->version == OR_NOTION_2022 ? OR_NOTION_2025 : store->version;
    enum onerow_status status = or_notion_ask(store, ask, error);
    ask->path = NULL;
    return status;
}

void or_notion_ask_finish(struct or_notion_ask *ask)
{
    or_notion_answer_finish(&ask->answer);
    or_buffer_finish(&ask->request.answer);
    or_buffer_init(&ask->request.answer);
}
