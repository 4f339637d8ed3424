/* SPDX-License-Identifier: Apache-2.0
 *
 * A request's way, in Notion's order as far as it can be seen from outside: token, version, route,
 * limits, body, what is asked. Faults that save nothing come before the body is read; conflicts
 * come where the write would happen, so that an invalid request is told so first.
 *
 *   arrive ── wait ── perform ────────────── wait ── left
 *                      │ commit │ a fault may take the answer away
 *
 * The first wait is half of the latency. What a request does is done even if its sender has gone.
 */
#include "notion_sim/nsim_call.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/u64.h"

#define ON_THE_WAY_MS                                                                              \
    100U /* a request this soon after a Retry-After was sent before it was read                    \
          */

/* ---- clock --------------------------------------------------------------------------------- */

static uint64_t clock_ms(clockid_t id)
{
    struct timespec now = {0};
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t or_nsim_real_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t or_nsim_now(const struct or_nsim *sim)
{
    if (sim->options.virtual_clock) {
        return sim->clock_ms;
    }
    return sim->started_wall_ms + (or_nsim_real_ms() - sim->started_ms) + sim->clock_ms;
}

void or_nsim_advance(struct or_nsim *sim, uint64_t ms)
{
    sim->clock_ms = or_u64_add(sim->clock_ms, ms);
}

/* On a virtual clock nobody waits: the clock moves. */
static void pass(struct or_nsim_call *call, unsigned which)
{
    if (call->sim->options.virtual_clock) {
        or_nsim_advance(call->sim, call->wait_ms[which]);
        call->wait_ms[which] = 0;
    }
}

/* ---- the call's life ------------------------------------------------------------------------ */

void or_nsim_call_init(struct or_nsim_call *call, struct or_nsim *sim)
{
    *call = (struct or_nsim_call){.sim = sim};
    or_arena_init(&call->arena);
    or_buffer_init(&call->out);
    or_buffer_init(&call->additional);
    or_buffer_init(&call->made_children);
}

void or_nsim_call_finish(struct or_nsim_call *call)
{
    yyjson_doc_free(call->doc);
    or_arena_finish(&call->arena);
    or_buffer_finish(&call->out);
    or_buffer_finish(&call->additional);
    or_buffer_finish(&call->made_children);
    free(call->key);
}

struct onerow_span or_nsim_parameter(const struct or_nsim_call *call, const char *name)
{
    for (size_t i = 0; i < call->n_query; i++) {
        if (or_span_is(call->query[i].name, name)) {
            return call->query[i].value;
        }
    }
    return (struct onerow_span){0};
}

/* No text of ours can hold U+0000. Values lie in one array, in the order of the text. */
static bool check_strings(struct or_nsim_call *call, yyjson_val *root)
{
    yyjson_val *end = unsafe_yyjson_get_next(root);
    for (yyjson_val *value = root; value < end; value++) {
        if (yyjson_is_str(value) && memchr(yyjson_get_str(value), '\0', yyjson_get_len(value))) {
            return or_nsim_fail(call, OR_NSIM_VALIDATION,
                                "body failed validation: no text may hold U+0000.");
        }
    }
    return true;
}

bool or_nsim_read_body(struct or_nsim_call *call)
{
    static char empty[] = "{}";
    struct onerow_span text = or_span_trim(call->body);
    if (call->too_large || call->body.len > OR_NSIM_BODY_MAX) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "body failed validation: body should be at most 500 KB.");
    }
    if (text.len == 0) {
        text = (struct onerow_span){empty, 2};
    }
    yyjson_read_err error;
    /* yyjson reads, and does not write, without YYJSON_READ_INSITU. */
    call->doc =
        yyjson_read_opts((char *)(uintptr_t)text.data, text.len, YYJSON_READ_NOFLAG, NULL, &error);
    if (!call->doc) {
        if (error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
            or_nsim_no_memory();
        }
        return or_nsim_fail_plain(call, OR_NSIM_INVALID_JSON);
    }
    call->json = yyjson_doc_get_root(call->doc);
    if (!yyjson_is_obj(call->json)) {
        const struct or_nsim_path path = {.name = "body"};
        return or_nsim_invalid_value(call, &path, "an object", call->json);
    }
    return check_strings(call, call->json);
}

/* ---- arrival ------------------------------------------------------------------------------- */

static bool check_token(struct or_nsim_call *call)
{
    const char *secret = call->authorization;
    if (!secret || strncasecmp(secret, "Bearer ", 7) != 0 || !secret[7]) {
        return or_nsim_fail_plain(call, OR_NSIM_UNAUTHORIZED);
    }
    secret += 7;
    HASH_FIND_STR(call->sim->tokens, secret, call->token);
    if (!call->token && call->sim->open) {
        call->token = or_nsim_add_token(call->sim, secret, NULL, OR_NSIM_CAN_ALL);
    }
    return call->token || or_nsim_fail_plain(call, OR_NSIM_UNAUTHORIZED);
}

static bool check_version(struct or_nsim_call *call)
{
    static const struct {
        const char *text;
        enum or_nsim_api api;
    } versions[] = {{"2021-05-11", OR_NSIM_2022}, {"2021-05-13", OR_NSIM_2022},
                    {"2021-08-16", OR_NSIM_2022}, {"2022-02-22", OR_NSIM_2022},
                    {"2022-06-28", OR_NSIM_2022}, {"2025-09-03", OR_NSIM_2025},
                    {"2026-03-11", OR_NSIM_2026}};
    if (!call->version_text || !*call->version_text) {
        return or_nsim_fail_plain(call, OR_NSIM_MISSING_VERSION);
    }
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (strcmp(call->version_text, versions[i].text) == 0) {
            call->api = versions[i].api;
            call->api_text = versions[i].text;
            return true;
        }
    }
    return or_nsim_fail(call, OR_NSIM_MISSING_VERSION,
                        "Notion-Version header failed validation: Notion-Version header should be "
                        "`\"2022-06-28\"`, `\"2025-09-03\"`, or `\"2026-03-11\"`, instead was "
                        "`\"%.40s\"`.",
                        call->version_text);
}

/* A call that comes although its sender was told to wait. */
static void note_impatience(struct or_nsim_call *call, const struct or_nsim_meter *meter)
{
    if (call->now_ms >= meter->until_ms) {
        return;
    }
    bool crossed = or_nsim_real_ms() - meter->told_real_ms <= ON_THE_WAY_MS;
    or_nsim_note(crossed ? &call->sim->crossed : &call->sim->inside, call->now_ms);
}

static bool refuse_rate(struct or_nsim_call *call, const char *reason, uint64_t seconds)
{
    or_buffer_clear(&call->additional);
    or_buffer_printf(&call->additional, "\"rate_limit_reason\":\"%s\"", reason);
    call->retry_after_s = seconds;
    return or_nsim_fail_plain(call, OR_NSIM_RATE_LIMITED);
}

static bool check_limits(struct or_nsim_call *call)
{
    struct or_nsim_meter *own = &call->token->meter;
    struct or_nsim_meter *space = &call->sim->space;
    uint64_t wait_ms = 0;
    own->requests++;
    space->requests++;
    note_impatience(call, own->until_ms >= space->until_ms ? own : space);
    bool own_full = !or_nsim_meter_room(own, call->now_ms, &wait_ms);
    if (own_full || !or_nsim_meter_room(space, call->now_ms, &wait_ms)) {
        (own_full ? own : space)->refused++;
        or_nsim_note(&call->sim->beyond, call->now_ms);
        return refuse_rate(call,
                           own_full ? "public_api_request_rate_limit"
                                    : "public_api_space_request_rate_limit",
                           (wait_ms + 999) / 1000);
    }
    or_nsim_meter_take(own, call->now_ms);
    or_nsim_meter_take(space, call->now_ms);
    return true;
}

static void draw(struct or_nsim_call *call)
{
    const uint64_t *latency = call->sim->options.latency_ms;
    enum or_nsim_class what = call->route->what;
    const struct or_nsim_request_kind kind = {
        .query = what == OR_NSIM_QUERY,
        .create = what == OR_NSIM_CREATE,
        .write = what == OR_NSIM_CREATE || what == OR_NSIM_WRITE || what == OR_NSIM_APPEND,
        .method = call->method_text,
        .path = call->path};
    call->fault = or_nsim_fault_draw(&call->sim->faults, call->number, &kind, &call->fault_ms);
    uint64_t took = sim_between(&call->rng, latency[0], latency[1]);
    call->wait_ms[0] = took / 2;
    call->wait_ms[1] = took - took / 2;
    if (call->fault && call->fault->id == OR_NSIM_FAULT_SLOW) {
        call->wait_ms[1] += call->fault_ms;
    }
}

bool or_nsim_arrive(struct or_nsim_call *call)
{
    struct or_nsim *sim = call->sim;
    call->number = ++sim->requests;
    call->now_ms = or_nsim_now(sim);
    call->rng = sim_rng_of(sim->options.seed, (1ULL << 40) + call->number);
    or_nsim_new_id(&call->rng, call->request_id);
    call->content_type = "application/json; charset=utf-8";
    if (!check_token(call) || !check_version(call) || !or_nsim_route(call) || !check_limits(call)) {
        return false;
    }
    draw(call);
    pass(call, 0);
    return true;
}

/* ---- faults -------------------------------------------------------------------------------- */

static void answer_html(struct or_nsim_call *call)
{
    call->status = 502;
    call->code = "html";
    call->edge = true;
    call->content_type = "text/html; charset=UTF-8";
    or_buffer_clear(&call->out);
    or_buffer_text(&call->out,
                   "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
                   "<body><center><h1>502 Bad Gateway</h1></center>\n"
                   "<hr><center>cloudflare</center></body></html>\n");
}

/* What the documentation promises about a 503 whose write was saved: the new page or database, or
 * the parent with its new children; nothing for an update, whose object the caller knows. */
static void say_committed(struct or_nsim_call *call)
{
    or_buffer_clear(&call->additional);
    or_buffer_text(&call->additional,
                   "\"retry_guidance\":\"The write was saved. Do not repeat the write.\"");
    if (call->made[0]) {
        or_buffer_printf(&call->additional, ",\"committed_resource_id\":\"%s\"", call->made);
    }
    if (call->made_children.len) {
        or_buffer_printf(&call->additional, ",\"committed_child_ids\":[%s]",
                         or_buffer_cstr(&call->made_children));
    }
}

static void answer_fault(struct or_nsim_call *call)
{
    or_buffer_clear(&call->additional);
    switch (call->fault->id) {
    case OR_NSIM_FAULT_UNAVAILABLE:
    case OR_NSIM_FAULT_SAVED: (void)or_nsim_fail_plain(call, OR_NSIM_UNAVAILABLE); break;
    case OR_NSIM_FAULT_SAVED_ID:
        say_committed(call);
        (void)or_nsim_fail_plain(call, OR_NSIM_UNAVAILABLE);
        break;
    case OR_NSIM_FAULT_DATABASE:
        (void)or_nsim_fail_plain(call, OR_NSIM_DATABASE_UNAVAILABLE);
        break;
    case OR_NSIM_FAULT_INTERNAL: (void)or_nsim_fail_plain(call, OR_NSIM_INTERNAL); break;
    case OR_NSIM_FAULT_QUERY_FAILED:
        (void)or_nsim_fail_plain(call, sim_one_in(&call->rng, 2) ? OR_NSIM_INTERNAL
                                                                 : OR_NSIM_UNAVAILABLE);
        break;
    case OR_NSIM_FAULT_GATEWAY:
    case OR_NSIM_FAULT_GATEWAY_SAVED: (void)or_nsim_fail_plain(call, OR_NSIM_BAD_GATEWAY); break;
    case OR_NSIM_FAULT_TIMEOUT:
    case OR_NSIM_FAULT_TIMEOUT_SAVED:
        (void)or_nsim_fail_plain(call, OR_NSIM_GATEWAY_TIMEOUT);
        break;
    case OR_NSIM_FAULT_OVERLOAD:
        call->retry_after_s = call->fault_ms;
        (void)or_nsim_fail_plain(call, OR_NSIM_OVERLOAD);
        break;
    case OR_NSIM_FAULT_HTML:
    case OR_NSIM_FAULT_HTML_SAVED: answer_html(call); break;
    case OR_NSIM_FAULT_RESET:
    case OR_NSIM_FAULT_RESET_SAVED: call->ending = OR_NSIM_RESETS; break;
    case OR_NSIM_FAULT_RATE:
        (void)refuse_rate(call, "public_api_request_rate_limit", call->fault_ms);
        break;
    case OR_NSIM_FAULT_RATE_SPACE:
        (void)refuse_rate(call, "public_api_space_request_rate_limit", call->fault_ms);
        break;
    case OR_NSIM_FAULT_RATE_ENDPOINT:
        (void)refuse_rate(call, "public_api_endpoint_rate_limit", call->fault_ms);
        break;
    case OR_NSIM_FAULT_RATE_BLOCKED:
        (void)refuse_rate(call, "public_api_request_blocked", 0);
        break;
    case OR_NSIM_FAULT_CONFLICT: (void)or_nsim_fail_plain(call, OR_NSIM_CONFLICT); break;
    case OR_NSIM_FAULT_ROW_LIMIT: (void)or_nsim_fail_plain(call, OR_NSIM_ROW_LIMIT); break;
    case OR_NSIM_FAULT_BLOCK_LIMIT:
        or_buffer_text(&call->additional, "\"block_limit\":\"1000\"");
        (void)or_nsim_fail(call, OR_NSIM_RESTRICTED, "This workspace has reached its block limit.");
        break;
    default: break; /* those that go along with an answer */
    }
    call->sim->faults.rates[call->fault->id].struck++;
}

bool or_nsim_commit(struct or_nsim_call *call)
{
    if (call->fault && call->fault->when == OR_NSIM_GATE) {
        answer_fault(call);
        return false;
    }
    call->committed = true;
    return true;
}

/* ---- performance --------------------------------------------------------------------------- */

/* Every answer carries its request's id; it is the last member of the object. */
static void add_request_id(struct or_nsim_call *call)
{
    if (call->out.len && call->out.data[call->out.len - 1] == '}') {
        call->out.len--;
        or_buffer_printf(&call->out, ",\"request_id\":\"%s\"}", call->request_id);
    }
}

void or_nsim_perform(struct or_nsim_call *call)
{
    const struct or_nsim_fault *fault = call->fault;
    call->now_ms = or_nsim_now(call->sim);
    if (fault && fault->when == OR_NSIM_BEFORE) {
        answer_fault(call);
    } else if (or_nsim_read_body(call) && call->route->run(call)) {
        call->status = call->status ? call->status : 200;
        add_request_id(call);
    }
    if (fault && fault->when == OR_NSIM_AFTER && call->committed) {
        answer_fault(call);
    }
    if (fault && fault->when == OR_NSIM_ALONG && fault->id != OR_NSIM_FAULT_ASYNC) {
        call->sim->faults.rates[fault->id].struck++;
    }
    if (call->out.failed || call->additional.failed || call->made_children.failed) {
        or_nsim_no_memory();
    }
    pass(call, 1);
}

void or_nsim_left(struct or_nsim_call *call)
{
    struct or_nsim *sim = call->sim;
    bool reset = call->ending == OR_NSIM_RESETS;
    sim->by_status[reset || call->status >= 600 ? 0 : call->status]++;
    if (call->retry_after_s && call->token) {
        bool of_space = call->additional.len &&
                        strstr(call->additional.data, "public_api_space_request_rate_limit");
        uint64_t until = or_u64_add(or_nsim_now(sim), call->retry_after_s * 1000);
        or_nsim_meter_block(of_space ? &sim->space : &call->token->meter, until, or_nsim_real_ms());
    }
    or_nsim_write_log(call);
}
