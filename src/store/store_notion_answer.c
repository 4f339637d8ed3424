/* SPDX-License-Identifier: Apache-2.0
 *
 * What an answer means. The rules, most careful first:
 *
 *  - Only Notion's own error envelope says that something was not done. A page of HTML with the
 * same status comes from somewhere on the way, and proves nothing.
 *  - A 503 that names what it made says that it was made (additional_data.committed_resource_id).
 *    Every other 5xx leaves it open: "a write can save its change and still return 503".
 *  - 409 is two things: conflict_error may be tried again, row_limit_exceeded never.
 *  - What is wrong with the token or the plan is not the fault of the values that were to be
 * written: they are refused only where nothing of anybody else's is at stake, which is at creates.
 *  - A request that only looks either has an answer or has not.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_notion.h"

#define MESSAGE_MAX 1000U

/* ---- reading -------------------------------------------------------------------------------- */

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));
    return text ? text : "";
}

static void read_error(struct or_notion_answer *answer)
{
    yyjson_val *root = answer->root;
    yyjson_val *more = yyjson_obj_get(root, "additional_data");
    if (strcmp(text_of(root, "object"), "error") != 0) {
        return;
    }
    answer->code = text_of(root, "code");
    answer->message = text_of(root, "message");
    answer->error_type = text_of(more, "error_type");
    answer->rate_reason = text_of(more, "rate_limit_reason");
    answer->committed = or_notion_span(yyjson_obj_get(more, "committed_resource_id"));
    answer->block_limit = yyjson_obj_get(more, "block_limit") != NULL;
}

void or_notion_read(const struct or_http_request *request, struct or_notion_answer *answer)
{
    *answer = (struct or_notion_answer){.end = request->end,
                                        .status = request->status,
                                        .retry_after_ms = request->retry_after_ms,
                                        .why = request->why,
                                        .transport_id = request->request_id,
                                        .code = "",
                                        .message = "",
                                        .request_id = "",
                                        .error_type = "",
                                        .rate_reason = ""};
    if (request->end != OR_HTTP_ANSWERED || request->answer.len == 0) {
        return;
    }
    answer->doc = yyjson_read(request->answer.data, request->answer.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = answer->doc ? yyjson_doc_get_root(answer->doc) : NULL;
    if (yyjson_is_obj(root)) {
        answer->root = root;
        answer->request_id = text_of(root, "request_id");
        read_error(answer);
    }
}

void or_notion_answer_finish(struct or_notion_answer *answer)
{
    yyjson_doc_free(answer->doc);
    answer->doc = NULL;
    answer->root = NULL;
}

/* ---- meaning -------------------------------------------------------------------------------- */

static bool only_looks(enum onerow_page_do what)
{
    return what == ONEROW_PAGE_PROBE || what == ONEROW_PAGE_GET || what == ONEROW_PAGE_BLANKS;
}

static bool creates(enum onerow_page_do what)
{
    return what == ONEROW_PAGE_CREATE || what == ONEROW_PAGE_CREATE_KEYED;
}

/* What is not done, and never will be: told at once where only the own record hangs on it. */
static enum onerow_page_answer hopeless(enum onerow_page_do what)
{
    return creates(what) ? ONEROW_PAGE_REFUSED : ONEROW_PAGE_FAILED;
}

/* "Can't edit block that is archived. You must unarchive the block before editing." The beginning
 * counts: what people wrote may be quoted further behind. */
static bool is_trashed(const struct or_notion_answer *answer)
{
    bool edit = strncmp(answer->message, "Can't edit", 10) == 0 ||
                strncmp(answer->message, "Can\u2019t edit", 12) == 0;
    return edit && (strstr(answer->message, "archived") || strstr(answer->message, "trash"));
}

static enum onerow_page_answer bad_request(enum onerow_page_do what,
                                           const struct or_notion_answer *answer)
{
    bool values = strcmp(answer->code, "validation_error") == 0 && !*answer->error_type;
    if (values && is_trashed(answer) && !only_looks(what)) {
        return creates(what)               ? ONEROW_PAGE_REFUSED /* the place is in the trash */
               : what == ONEROW_PAGE_TRASH ? ONEROW_PAGE_OK      /* as it was to be */
                                           : ONEROW_PAGE_TRASHED;
    }
    return values ? ONEROW_PAGE_REFUSED : hopeless(what);
}

static enum onerow_page_answer too_many(enum onerow_page_do what,
                                        const struct or_notion_answer *answer)
{
    bool blocked = strcmp(answer->rate_reason, "public_api_request_blocked") == 0;
    return blocked ? hopeless(what) : ONEROW_PAGE_RATE;
}

/* A refusal in Notion's own words. */
static enum onerow_page_answer told(enum onerow_page_do what, const struct or_notion_answer *answer)
{
    switch (answer->status) {
    case 400: return bad_request(what, answer);
    case 401:
    case 403: return hopeless(what);
    case 404:
        return what == ONEROW_PAGE_PROBE || what == ONEROW_PAGE_BLANKS || creates(what)
                   ? hopeless(what)
                   : ONEROW_PAGE_NOT_FOUND;
    case 409:
        if (only_looks(what)) {
            return ONEROW_PAGE_FAILED;
        }
        return strcmp(answer->code, "row_limit_exceeded") == 0 ? hopeless(what)
                                                               : ONEROW_PAGE_CONFLICT;
    default: return only_looks(what) ? ONEROW_PAGE_FAILED : ONEROW_PAGE_UNCERTAIN;
    }
}

static bool is_page(const struct or_notion_answer *answer)
{
    char id[OR_NOTION_ID];
    return strcmp(text_of(answer->root, "object"), "page") == 0 &&
           or_notion_id(or_span(text_of(answer->root, "id")), id);
}

/* 202 is a promise to do it later, and no answer. */
static enum onerow_page_answer done(enum onerow_page_do what, const struct or_notion_answer *answer)
{
    bool list = what == ONEROW_PAGE_PROBE || what == ONEROW_PAGE_BLANKS;
    bool readable = answer->status == 200 &&
                    (list ? strcmp(text_of(answer->root, "object"), "list") == 0 : is_page(answer));
    if (readable) {
        return ONEROW_PAGE_OK;
    }
    return only_looks(what) ? ONEROW_PAGE_FAILED : ONEROW_PAGE_UNCERTAIN;
}

enum onerow_page_answer or_notion_classify(enum onerow_page_do what,
                                           const struct or_notion_answer *answer)
{
    if (answer->end == OR_HTTP_NOT_SENT) {
        return ONEROW_PAGE_FAILED;
    }
    if (answer->end == OR_HTTP_ANSWERED) {
        unsigned status = answer->status;
        char id[OR_NOTION_ID];
        if (status >= 200 && status < 300) {
            return done(what, answer);
        }
        if (status == 429 || status == 529) {
            return too_many(what, answer);
        }
        if (status == 503 && creates(what) && or_notion_id(answer->committed, id)) {
            return ONEROW_PAGE_OK;
        }
        if (*answer->code) {
            return told(what, answer);
        }
    }
    return only_looks(what) ? ONEROW_PAGE_FAILED : ONEROW_PAGE_UNCERTAIN;
}

struct onerow_span or_notion_made(const struct or_notion_answer *answer, struct or_arena *arena)
{
    char id[OR_NOTION_ID];
    struct onerow_span given =
        answer->committed.data ? answer->committed : or_span(text_of(answer->root, "id"));
    return or_notion_id(given, id) ? or_arena_copy(arena, or_span(id)) : (struct onerow_span){0};
}

/* ---- words --------------------------------------------------------------------------------------
 */

const char *or_notion_operation(enum onerow_page_do what)
{
    static const char *const WORDS[] = {
        [ONEROW_PAGE_PROBE] = "look for keys",
        [ONEROW_PAGE_CREATE] = "create a blank page",
        [ONEROW_PAGE_CREATE_KEYED] = "create a page",
        [ONEROW_PAGE_PUBLISH] = "publish a page",
        [ONEROW_PAGE_WRITE] = "write a page",
        [ONEROW_PAGE_GET] = "read a page",
        [ONEROW_PAGE_RESTORE] = "take a page out of the trash",
        [ONEROW_PAGE_TRASH] = "put a page into the trash",
        [ONEROW_PAGE_MOVE_KEY] = "move a page's key away",
        [ONEROW_PAGE_BLANKS] = "look for blank pages",
    };
    return WORDS[what];
}

/* One line, and nothing of the token. */
static void add_clean(struct or_buffer *out, const char *text, const char *token)
{
    struct onerow_span shown = or_span_cut(or_span(text), MESSAGE_MAX);
    size_t len = token ? strlen(token) : 0;
    for (size_t i = 0; i < shown.len; i++) {
        if (len && shown.len - i >= len && memcmp(shown.data + i, token, len) == 0) {
            or_buffer_text(out, "***");
            i += len - 1;
        } else {
            or_buffer_char(out, (unsigned char)shown.data[i] < ' ' ? ' ' : shown.data[i]);
        }
    }
}

static void add_advice(struct or_buffer *out, const struct or_notion_answer *answer)
{
    if (strcmp(answer->error_type, "multiple_data_sources_for_database") == 0) {
        or_buffer_text(out, ": somebody gave the database a second data source, which version "
                            "2022-06-28 cannot write; set `version: 2025-09-03` for the store");
    }
}

static void add_answer(struct or_buffer *out, const struct or_notion_answer *answer,
                       const char *token)
{
    or_buffer_printf(out, "%u", answer->status);
    if (*answer->code) {
        or_buffer_char(out, ' ');
        add_clean(out, answer->code, token);
        or_buffer_text(out, ": ");
        add_clean(out, answer->message, token);
    } else {
        or_buffer_text(out, answer->status >= 200 && answer->status < 300
                                ? ": the answer cannot be read"
                                : ", not in Notion's words");
    }
    add_advice(out, answer);
    const char *id = *answer->request_id ? answer->request_id : answer->transport_id;
    if (*id) {
        or_buffer_text(out, " (request ");
        add_clean(out, id, token);
        or_buffer_char(out, ')');
    }
}

const char *or_notion_reason(const char *operation, const struct or_notion_answer *answer,
                             const char *token, struct or_arena *arena)
{
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s: ", operation);
    if (answer->end == OR_HTTP_ANSWERED) {
        add_answer(&text, answer, token);
    } else {
        add_clean(&text, answer->why, token);
        or_buffer_text(&text, answer->end == OR_HTTP_NOT_SENT ? " (not sent)" : "");
    }
    const char *copy = text.failed ? NULL : or_arena_copy(arena, or_buffer_view(&text)).data;
    or_buffer_finish(&text);
    return copy;
}
