/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's requests, many at a time. Each is one request to Notion, but for look-ups:
 *
 *     QUERY     as many requests as there are pages of results, and groups of keys
 *     CHILDREN  of pages that seem to carry one key: has it something inside? One request each,
 *               for the page object does not say, and a page with content is not thrown away
 *
 * After each but the last one the call goes back with MORE, so that the next one has leave of its
 * own; what was found so far lies in the call's arena. An answer that is not complete is none: a
 * look-up fails as a whole. Nothing is ever sent a second time.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "store/store_notion.h"

#define TWINS_LOOKED_AT 200U /* more found pages than this all count as having something inside */

/* How far a look-up has come. Lies in the call's arena, from its first request to its last. */
struct look {
    struct or_notion_results results;
    size_t keys_done;  /* of a PROBE: keys whose pages are all known … */
    size_t keys_asked; /* … and those that are being asked for */
    bool children;     /* past QUERY */
    size_t child;      /* the page being asked about */
};

struct or_notion_call {
    struct or_http_request request;
    struct onerow_page_call *call;
    struct or_notion_store *store;
    struct or_buffer url;  /* of the request */
    struct or_buffer body; /* likewise */
    struct look *look;     /* NULL: it is no look-up */
    struct or_notion_call *next;
};

static bool is_query(enum onerow_page_do what)
{
    return what == ONEROW_PAGE_PROBE || what == ONEROW_PAGE_BLANKS;
}

uint64_t or_notion_call_line(const struct onerow_page_call *call)
{
    switch (call->what) {
    case ONEROW_PAGE_PROBE:
    case ONEROW_PAGE_GET:
    case ONEROW_PAGE_BLANKS: return 0;
    case ONEROW_PAGE_CREATE:
    case ONEROW_PAGE_CREATE_KEYED: return or_notion_table_of(call->table)->line;
    default: return or_notion_line(call->page);
    }
}

/* Past the query. */
static bool asks_for_children(const struct or_notion_call *job)
{
    return job->look && job->look->children;
}

/* ---- over --------------------------------------------------------------------------------------
 */

static void free_call(struct or_notion_call *job)
{
    or_buffer_finish(&job->url);
    or_buffer_finish(&job->body);
    or_buffer_finish(&job->request.answer);
    free(job);
}

static void forget(struct or_notion_store *store, const struct or_notion_call *job)
{
    struct or_notion_call **at = &store->out;
    while (*at && *at != job) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = job->next;
    }
}

static void end(struct or_notion_call *job, enum onerow_page_answer answer, const char *reason)
{
    struct or_notion_call **at = &job->store->over;
    forget(job->store, job);
    job->call->answer = answer;
    job->call->reason = answer == ONEROW_PAGE_OK ? NULL
                        : reason                 ? reason
                                                 : "the store gave no reason";
    while (*at) {
        at = &(*at)->next;
    }
    job->next = NULL;
    *at = job;
}

/* A look-up whose answer is no answer. */
static void fail_look(struct or_notion_call *job, const char *why)
{
    const char *reason = or_arena_printf(job->call->arena, "%s: the answer is not complete: %s",
                                         or_notion_operation(job->call->what), why);
    end(job, ONEROW_PAGE_FAILED, reason ? reason : why);
}

/* ---- sending
 * ------------------------------------------------------------------------------------- */

bool or_notion_send(struct or_notion_store *store, struct or_http_request *request,
                    enum or_notion_version version, const char *method, struct or_buffer *path,
                    struct or_buffer *body, uint64_t timeout_ms)
{
    static const char *const VERSIONS[] = {"2022-06-28", "2025-09-03", "2026-03-11"};
    request->method = method;
    request->url = or_buffer_cstr(path);
    request->body = body->len ? or_buffer_view(body) : (struct onerow_span){0};
    request->timeout_ms = timeout_ms;
    request->n_headers = 0;
    request->headers[request->n_headers++] =
        (struct or_http_header){"Authorization", store->authorization};
    request->headers[request->n_headers++] =
        (struct or_http_header){"Notion-Version", VERSIONS[version]};
    request->headers[request->n_headers++] = (struct or_http_header){"User-Agent", "onerow"};
    if (body->len) {
        request->headers[request->n_headers++] =
            (struct or_http_header){"Content-Type", "application/json"};
    }
    store->base.round_trips++;
    return !path->failed && !body->failed && or_http_start(store->http, request);
}

/* Sends what url and body hold. Only without memory it ends at once. */
static void dispatch(struct or_notion_call *job, const char *method)
{
    job->request.owner = job;
    if (!or_notion_send(job->store, &job->request, job->store->version, method, &job->url,
                        &job->body, job->call->timeout_ms)) {
        end(job, ONEROW_PAGE_FAILED, "out of memory");
    }
}

/* ---- look-ups
 * -------------------------------------------------------------------------------------- */

/* The next request is one of its own. */
static void go_on(struct or_notion_call *job)
{
    job->call->more = job->look;
    end(job, ONEROW_PAGE_MORE, "the answer has not come to its end");
}

static void add_blank_filter(struct or_notion_call *job)
{
    const struct or_notion_table *table = job->look->results.table;
    or_buffer_text(&job->body, "\"filter\":{\"property\":");
    or_buffer_json(&job->body, or_span(table->columns[table->title].name));
    or_buffer_text(&job->body, ",\"title\":{\"starts_with\":");
    or_buffer_json(&job->body, job->call->title);
    or_buffer_text(&job->body, "}},");
}

static void send_query(struct or_notion_call *job)
{
    const struct onerow_page_call *call = job->call;
    struct look *look = job->look;
    or_notion_query_path(look->results.table, &job->url);
    or_buffer_char(&job->body, '{');
    if (call->what == ONEROW_PAGE_PROBE) {
        look->keys_asked = or_notion_filter(look->results.table, call->keys, look->keys_done,
                                            call->n_keys, &job->body);
    } else {
        add_blank_filter(job);
    }
    if (look->results.cursor) {
        or_buffer_text(&job->body, "\"start_cursor\":");
        or_buffer_json(&job->body, or_span(look->results.cursor));
        or_buffer_char(&job->body, ',');
    }
    or_buffer_printf(&job->body, "\"page_size\":%u}", OR_NOTION_PAGE_SIZE);
    dispatch(job, "POST");
}

/* Whether the engine might find that both carry one key. Spellings that differ may mean the same
 * where there is no filter, and in dates. */
static bool may_be_twins(const struct or_notion_table *table, const struct onerow_page *a,
                         const struct onerow_page *b)
{
    bool may = a->parts && b->parts;
    for (size_t k = 0; may && !table->scan && k < table->spec.n_key; k++) {
        const struct onerow_value *x = &a->parts[k];
        const struct onerow_value *y = &b->parts[k];
        may =
            x->kind == y->kind && (table->properties[table->base.key[k]].type == OR_NOTION_DATE ||
                                   table->properties[table->base.key[k]].type == OR_NOTION_NUMBER ||
                                   or_span_equal((struct onerow_span){x->data, x->len},
                                                 (struct onerow_span){y->data, y->len}));
    }
    return may;
}

static bool has_twin(const struct or_notion_results *results, size_t at)
{
    for (size_t i = 0; i < results->n; i++) {
        if (i != at && may_be_twins(results->table, &results->pages[i], &results->pages[at])) {
            return true;
        }
    }
    return false;
}

static void end_look(struct or_notion_call *job)
{
    job->call->found = job->look->results.pages;
    job->call->n_found = job->look->results.n;
    end(job, ONEROW_PAGE_OK, NULL);
}

/* Goes on to the next page that may be a twin's loser, if there is one. */
static void look_for_children(struct or_notion_call *job)
{
    struct look *look = job->look;
    struct or_notion_results *results = &look->results;
    while (look->child < results->n &&
           (results->pages[look->child].attached || !has_twin(results, look->child))) {
        look->child++;
    }
    if (look->child == results->n) {
        end_look(job);
    } else {
        go_on(job);
    }
}

static void send_children(struct or_notion_call *job)
{
    const struct look *look = job->look;
    or_buffer_printf(&job->url, "/v1/blocks/%s", look->results.pages[look->child].id.data);
    dispatch(job, "GET");
}

static void end_query(struct or_notion_call *job)
{
    struct or_notion_results *results = &job->look->results;
    if (job->call->what == ONEROW_PAGE_BLANKS || results->n > TWINS_LOOKED_AT) {
        for (size_t i = 0; i < results->n; i++) {
            results->pages[i].attached |= results->n > TWINS_LOOKED_AT;
        }
        end_look(job);
        return;
    }
    job->look->children = true;
    look_for_children(job);
}

static void take_children(struct or_notion_call *job, const struct or_notion_answer *answer)
{
    yyjson_val *has = yyjson_obj_get(answer->root, "has_children");
    if (answer->status != 200 || !yyjson_is_bool(has)) {
        const char *why = or_notion_reason("look whether a page has content", answer,
                                           job->store->token, job->call->arena);
        fail_look(job, why ? why : "out of memory");
        return;
    }
    job->look->results.pages[job->look->child++].attached = yyjson_is_true(has);
    look_for_children(job);
}

static void take_results(struct or_notion_call *job, const struct or_notion_answer *answer)
{
    struct look *look = job->look;
    const char *why = or_notion_take_results(&look->results, answer->root);
    if (why) {
        fail_look(job, why);
        return;
    }
    if (!look->results.cursor) {
        look->keys_done = look->keys_asked;
        look->results.seen = 0;
    }
    if (look->results.cursor || look->keys_done < job->call->n_keys) {
        go_on(job);
    } else {
        end_query(job);
    }
}

/* ---- one request
 * ------------------------------------------------------------------------------------- */

static bool take_order(struct or_notion_call *job, yyjson_val *properties)
{
    const struct or_notion_table *table = or_notion_table_of(job->call->table);
    struct onerow_value *order = &job->call->order;
    *order = (struct onerow_value){.kind = ONEROW_NULL};
    if (table->order < 0) {
        return true;
    }
    yyjson_val *property = yyjson_obj_get(properties, table->columns[table->order].name);
    if (!or_notion_value(property, job->call->arena, order)) {
        return false;
    }
    order->column = (uint16_t)table->order;
    if (order->data) {
        order->data =
            or_arena_copy(job->call->arena, (struct onerow_span){order->data, order->len}).data;
    }
    return order->kind == ONEROW_NULL || order->data;
}

static void take_get(struct or_notion_call *job, const struct or_notion_answer *answer)
{
    struct onerow_page_call *call = job->call;
    struct onerow_page *found = or_arena_alloc(call->arena, sizeof *found);
    yyjson_val *properties = yyjson_obj_get(answer->root, "properties");
    bool skip = false;
    bool no_memory = !found;
    const char *why = found ? or_notion_take_page(or_notion_table_of(call->table), answer->root,
                                                  call->arena, found, &skip)
                            : NULL;
    if (why || skip) {
        fail_look(job, why ? why : "it is no page");
        return;
    }
    call->in_trash = or_notion_in_trash(answer->root);
    call->same = !no_memory && call->payload.data &&
                 or_notion_same(call->payload, properties, call->arena, &no_memory);
    if (no_memory || !take_order(job, properties)) {
        fail_look(job, "out of memory");
        return;
    }
    call->found = found;
    call->n_found = 1;
    end(job, ONEROW_PAGE_OK, NULL);
}

/* Another page's answer is nobody's: what became of this one is open. */
static bool is_of_page(const struct or_notion_call *job, const struct or_notion_answer *answer)
{
    char asked[OR_NOTION_ID];
    char got[OR_NOTION_ID];
    return or_notion_id(job->call->page, asked) &&
           or_notion_id(or_notion_span(yyjson_obj_get(answer->root, "id")), got) &&
           strcmp(asked, got) == 0;
}

/* An answer that shows nothing of the page says nothing of it. */
static void take_written(struct or_notion_call *job, const struct or_notion_answer *answer)
{
    struct onerow_page_call *call = job->call;
    struct onerow_page *found = or_arena_alloc(call->arena, sizeof *found);
    bool skip = false;
    if (found &&
        !or_notion_take_page(or_notion_table_of(call->table), answer->root, call->arena, found,
                             &skip) &&
        !skip) {
        call->found = found;
        call->n_found = 1;
    }
    end(job, ONEROW_PAGE_OK, NULL);
}

static void take_ok(struct or_notion_call *job, const struct or_notion_answer *answer)
{
    struct onerow_page_call *call = job->call;
    switch (call->what) {
    case ONEROW_PAGE_PROBE:
    case ONEROW_PAGE_BLANKS: take_results(job, answer); return;
    case ONEROW_PAGE_CREATE:
    case ONEROW_PAGE_CREATE_KEYED:
        call->made = or_notion_made(answer, call->arena);
        end(job, call->made.data ? ONEROW_PAGE_OK : ONEROW_PAGE_UNCERTAIN, "out of memory");
        return;
    case ONEROW_PAGE_GET:
        if (is_of_page(job, answer)) {
            take_get(job, answer);
        } else {
            fail_look(job, "it is of another page");
        }
        return;
    default:
        if (answer->status == 200 && !is_of_page(job, answer)) {
            end(job, ONEROW_PAGE_UNCERTAIN, "the answer is of another page");
        } else if (answer->status == 200 && call->what == ONEROW_PAGE_WRITE) {
            take_written(job, answer);
        } else {
            end(job, ONEROW_PAGE_OK, NULL);
        }
        return;
    }
}

void or_notion_call_over(struct or_notion_store *store, struct or_http_request *request)
{
    struct or_notion_call *job = request->owner;
    struct onerow_page_call *call = job->call;
    struct or_notion_answer answer;
    or_notion_read(request, &answer);
    enum onerow_page_answer what =
        or_notion_classify(asks_for_children(job) ? ONEROW_PAGE_GET : call->what, &answer);
    call->retry_after_ms = answer.retry_after_ms;
    if (asks_for_children(job) && what != ONEROW_PAGE_RATE) {
        take_children(job, &answer);
    } else if (what == ONEROW_PAGE_OK) {
        take_ok(job, &answer);
    } else {
        end(job, what,
            or_notion_reason(or_notion_operation(call->what), &answer, store->token, call->arena));
    }
    or_notion_answer_finish(&answer);
}

/* ---- the vtable's
 * ------------------------------------------------------------------------------------ */

static void begin_one(struct or_notion_call *job)
{
    struct onerow_page_call *call = job->call;
    const char *method = NULL;
    const char *reason = NULL;
    if (or_notion_body(call, &method, &job->url, &job->body, &reason)) {
        dispatch(job, method);
    } else {
        end(job, reason ? ONEROW_PAGE_REFUSED : ONEROW_PAGE_FAILED,
            reason ? reason : "out of memory");
    }
}

/* Begins a look-up, or goes on with it. */
static void begin_look(struct or_notion_call *job)
{
    struct onerow_page_call *call = job->call;
    job->look = call->more ? call->more : or_arena_alloc(call->arena, sizeof *job->look);
    if (!job->look) {
        end(job, ONEROW_PAGE_FAILED, "out of memory");
        return;
    }
    if (!call->more) {
        *job->look = (struct look){
            .results = {.table = or_notion_table_of(call->table), .arena = call->arena}};
    }
    call->more = NULL;
    if (job->look->children) {
        send_children(job);
    } else {
        send_query(job);
    }
}

enum onerow_status or_notion_start(struct onerow_store *store, struct onerow_page_call *call,
                                   struct onerow_error *error)
{
    struct or_notion_call *job = calloc(1, sizeof *job);
    if (!job) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    job->call = call;
    job->store = or_notion_store_of(store);
    job->next = job->store->out;
    job->store->out = job;
    or_buffer_init(&job->url);
    or_buffer_init(&job->body);
    or_buffer_init(&job->request.answer);
    or_buffer_text(&job->url, job->store->origin);
    call->found = NULL;
    call->n_found = 0;
    call->made = (struct onerow_span){0};
    call->in_trash = call->same = false;
    call->retry_after_ms = 0;
    if (is_query(call->what)) {
        begin_look(job);
    } else {
        begin_one(job);
    }
    return ONEROW_OK;
}

struct onerow_page_call *or_notion_finish(struct onerow_store *base, uint64_t timeout_ms)
{
    struct or_notion_store *store = or_notion_store_of(base);
    uint64_t until_ms = or_u64_add(or_wake_now_ms(), timeout_ms);
    bool more = true;
    while (!store->over && more) {
        uint64_t left_ms = or_u64_sub(until_ms, or_wake_now_ms());
        struct or_http_request *request = or_http_finish(store->http, left_ms);
        more = request != NULL;
        if (request) {
            or_notion_call_over(store, request);
        }
    }
    struct or_notion_call *job = store->over;
    struct onerow_page_call *call = job ? job->call : NULL;
    if (job) {
        store->over = job->next;
        free_call(job);
    }
    return call;
}

static void free_list(struct or_notion_call *job)
{
    while (job) {
        struct or_notion_call *next = job->next;
        free_call(job);
        job = next;
    }
}

/* The client is gone, and with it what was under way. */
void or_notion_calls_free(struct or_notion_store *store)
{
    free_list(store->out);
    free_list(store->over);
    store->out = store->over = NULL;
}
