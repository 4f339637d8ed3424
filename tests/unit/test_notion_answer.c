/* SPDX-License-Identifier: Apache-2.0
 *
 * What each answer of Notion means for each kind of request, without a server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "store/store_notion.h"
#include "tests/support/bench.h"

#define ID    "1f0c0000-0000-4000-8000-0000000000aa"
#define TOKEN "ntn_secret"

static struct bench bench;

static int start(void **state)
{
    (void)state;
    bench_start(&bench);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bench_stop(&bench);
    return 0;
}

static struct or_http_request request_of(enum or_http_end end, unsigned status, const char *body)
{
    struct or_http_request request = {.end = end, .status = status};
    or_buffer_init(&request.answer);
    for (; body && *body; body++) {
        or_buffer_char(&request.answer, *body == '\'' ? '"' : *body);
    }
    return request;
}

static const char *name_of(enum onerow_page_answer answer)
{
    static const char *const names[] = {
        [ONEROW_PAGE_OK] = "ok",
        [ONEROW_PAGE_REFUSED] = "refused",
        [ONEROW_PAGE_TRASHED] = "trashed",
        [ONEROW_PAGE_NOT_FOUND] = "not found",
        [ONEROW_PAGE_RATE] = "rate",
        [ONEROW_PAGE_CONFLICT] = "conflict",
        [ONEROW_PAGE_UNCERTAIN] = "uncertain",
        [ONEROW_PAGE_FAILED] = "failed",
    };
    return names[answer];
}

static const char *answer_to(enum onerow_page_do what, unsigned status, const char *body)
{
    struct or_http_request request = request_of(OR_HTTP_ANSWERED, status, body);
    struct or_notion_answer answer;
    or_notion_read(&request, &answer);
    const char *name = name_of(or_notion_classify(what, &answer));
    or_notion_answer_finish(&answer);
    or_buffer_finish(&request.answer);
    return name;
}

static const char *error(const char *code, const char *message, const char *more)
{
    return text(&bench, "{'object':'error','code':'%s','message':'%s','request_id':'r'%s%s}", code,
                message, more ? ",'additional_data':" : "", more ? more : "");
}

/* create, publish, trash, get, probe */
static void means(unsigned status, const char *body, const char *create, const char *publish,
                  const char *trash, const char *get_, const char *probe)
{
    static const enum onerow_page_do kinds[] = {ONEROW_PAGE_CREATE, ONEROW_PAGE_PUBLISH,
                                                ONEROW_PAGE_TRASH, ONEROW_PAGE_GET,
                                                ONEROW_PAGE_PROBE};
    const char *const wanted[] = {create, publish, trash, get_, probe};
    for (size_t i = 0; i < 5; i++) {
        const char *got = answer_to(kinds[i], status, body);
        if (strcmp(got, wanted[i]) != 0) {
            fail_msg("%s, %u %s: %s instead of %s", or_notion_operation(kinds[i]), status, body,
                     got, wanted[i]);
        }
    }
    assert_string_equal(answer_to(ONEROW_PAGE_CREATE_KEYED, status, body), create);
    assert_string_equal(answer_to(ONEROW_PAGE_WRITE, status, body), publish);
    assert_string_equal(answer_to(ONEROW_PAGE_BLANKS, status, body), probe);
}

static void what_was_done_is_said_by_a_page(void **state)
{
    (void)state;
    means(200, "{'object':'page','id':'" ID "'}", "ok", "ok", "ok", "ok", "failed");
    means(200, "{'object':'list','results':[]}", "uncertain", "uncertain", "uncertain", "failed",
          "ok");
    means(202, "{'object':'async_task','id':'" ID "'}", "uncertain", "uncertain", "uncertain",
          "failed", "failed");
    means(201, "{'object':'page','id':'" ID "'}", "uncertain", "uncertain", "uncertain", "failed",
          "failed");
    static const char *const unreadable[] = {"",
                                             "{'object':'page','id':'" ID,
                                             "<html>",
                                             "[]",
                                             "null",
                                             "{}",
                                             "{'object':'page'}",
                                             "{'object':'page','id':7}",
                                             "{'object':'page','id':'x'}",
                                             "{'object':'database','id':'" ID "'}"};
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++) {
        means(200, unreadable[i], "uncertain", "uncertain", "uncertain", "failed", "failed");
    }
}

static void refusals_are_told_apart(void **state)
{
    (void)state;
    means(400, error("validation_error", "body failed validation", NULL), "refused", "refused",
          "refused", "refused", "refused");
    means(400,
          error("validation_error", "Can\\u0027t edit block that is archived. You must …", NULL),
          "refused", "trashed", "ok", "refused", "refused");
    means(
        400,
        error("validation_error", "Can\\u0027t edit page on block with an archived ancestor", NULL),
        "refused", "trashed", "ok", "refused", "refused");
    /* What somebody wrote is quoted: it says nothing of the page. */
    means(
        400,
        error("validation_error", "x should be y, instead was Can\\u0027t edit, is archived", NULL),
        "refused", "refused", "refused", "refused", "refused");
    means(400, error("invalid_json", "no", NULL), "refused", "failed", "failed", "failed",
          "failed");
    means(400,
          error("validation_error", "two", "{'error_type':'multiple_data_sources_for_database'}"),
          "refused", "failed", "failed", "failed", "failed");
    means(401, error("unauthorized", "no", NULL), "refused", "failed", "failed", "failed",
          "failed");
    means(403, error("restricted_resource", "no", "{'block_limit':1}"), "refused", "failed",
          "failed", "failed", "failed");
    means(404, error("object_not_found", "no", NULL), "refused", "not found", "not found",
          "not found", "failed");
    means(409, error("conflict_error", "no", NULL), "conflict", "conflict", "conflict", "failed",
          "failed");
    means(409, error("row_limit_exceeded", "no", NULL), "refused", "failed", "failed", "failed",
          "failed");
    means(409, error("something_new", "no", NULL), "conflict", "conflict", "conflict", "failed",
          "failed");
    means(418, error("teapot", "no", NULL), "uncertain", "uncertain", "uncertain", "failed",
          "failed");
}

static void limits_are_not_done(void **state)
{
    (void)state;
    means(429, error("rate_limited", "no", NULL), "rate", "rate", "rate", "rate", "rate");
    means(429, "<html>", "rate", "rate", "rate", "rate", "rate");
    means(429, error("rate_limited", "no", "{'rate_limit_reason':'public_api_request_blocked'}"),
          "refused", "failed", "failed", "failed", "failed");
    means(529, error("service_overload", "no", NULL), "rate", "rate", "rate", "rate", "rate");
}

static void what_broke_is_open(void **state)
{
    static const unsigned statuses[] = {500, 502, 503, 504, 520, 599};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        means(statuses[i], error("internal_server_error", "no", NULL), "uncertain", "uncertain",
              "uncertain", "failed", "failed");
        means(statuses[i], "<html>", "uncertain", "uncertain", "uncertain", "failed", "failed");
    }
    means(503,
          error("service_unavailable", "no",
                "{'retry_guidance':'Do not repeat the write.','committed_resource_id':'" ID "'}"),
          "ok", "uncertain", "uncertain", "failed", "failed");
    means(503, error("service_unavailable", "no", "{'committed_resource_id':'x'}"), "uncertain",
          "uncertain", "uncertain", "failed", "failed");
    means(500, error("internal_server_error", "no", "{'committed_resource_id':'" ID "'}"),
          "uncertain", "uncertain", "uncertain", "failed", "failed");
}

/* The same statuses, from somewhere on the way. */
static void only_notions_own_words_count(void **state)
{
    static const unsigned statuses[] = {302, 400, 401, 403, 404, 409};
    static const char *const bodies[] = {"<html>404</html>", "", "{'message':'no'}",
                                         "{'object':'page','code':'validation_error'}",
                                         "{'object':'error'}"};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        for (size_t k = 0; k < sizeof bodies / sizeof *bodies; k++) {
            means(statuses[i], bodies[k], "uncertain", "uncertain", "uncertain", "failed",
                  "failed");
        }
    }
}

static void without_an_answer_it_depends_on_the_sending(void **state)
{
    (void)state;
    struct or_http_request request = request_of(OR_HTTP_NOT_SENT, 0, NULL);
    struct or_notion_answer answer;
    or_notion_read(&request, &answer);
    assert_int_equal(or_notion_classify(ONEROW_PAGE_CREATE, &answer), ONEROW_PAGE_FAILED);
    assert_int_equal(or_notion_classify(ONEROW_PAGE_GET, &answer), ONEROW_PAGE_FAILED);
    request.end = OR_HTTP_UNCERTAIN;
    or_notion_read(&request, &answer);
    assert_int_equal(or_notion_classify(ONEROW_PAGE_CREATE, &answer), ONEROW_PAGE_UNCERTAIN);
    assert_int_equal(or_notion_classify(ONEROW_PAGE_PUBLISH, &answer), ONEROW_PAGE_UNCERTAIN);
    assert_int_equal(or_notion_classify(ONEROW_PAGE_GET, &answer), ONEROW_PAGE_FAILED);
}

static const char *reason_of(struct or_http_request request)
{
    struct or_notion_answer answer;
    or_notion_read(&request, &answer);
    const char *reason = or_notion_reason("publish a page", &answer, TOKEN, &bench.arena);
    or_notion_answer_finish(&answer);
    or_buffer_finish(&request.answer);
    return reason;
}

static void a_reason_is_one_line_without_the_token(void **state)
{
    (void)state;
    assert_string_equal(
        reason_of(request_of(OR_HTTP_ANSWERED, 409, error("conflict_error", "Busy.", NULL))),
        "publish a page: 409 conflict_error: Busy. (request r)");
    assert_string_equal(
        reason_of(request_of(OR_HTTP_ANSWERED, 400,
                             error("validation_error", "a\\n\\u001b[31m" TOKEN TOKEN "b", NULL))),
        "publish a page: 400 validation_error: a  [31m******b (request r)");
    struct or_http_request html = request_of(OR_HTTP_ANSWERED, 502, "<html>");
    memcpy(html.request_id, "edge-1", 7);
    assert_string_equal(reason_of(html),
                        "publish a page: 502, not in Notion's words (request edge-1)");
    struct or_http_request gone = request_of(OR_HTTP_NOT_SENT, 0, NULL);
    memcpy(gone.why, "Could not resolve host", 23);
    assert_string_equal(reason_of(gone), "publish a page: Could not resolve host (not sent)");
    assert_contains(reason_of(request_of(OR_HTTP_ANSWERED, 200, "{")), "cannot be read");
    assert_contains(
        reason_of(request_of(
            OR_HTTP_ANSWERED, 400,
            error("validation_error", "x", "{'error_type':'multiple_data_sources_for_database'}"))),
        "version: 2025-09-03");
}

/* ---- results ------------------------------------------------------------------------------------
 */

static struct or_notion_store store = {.bot = ID};
static struct onerow_column columns[] = {{.name = "Name"}};
static struct or_notion_property properties[] = {{.type = OR_NOTION_TITLE}};
static const struct onerow_key_column key = {.name = "Name"};

static const char *row(const char *name, const char *more)
{
    return text(&bench,
                "{'object':'page','id':'" ID "','created_time':'2024-01-01T00:00:00.000Z',"
                "'last_edited_by':{'id':'" ID "'}%s,"
                "'properties':{'Name':{'type':'title','title':[{'plain_text':'%s'}]}}}",
                more, name);
}

/* How many pages one answer gives, or why it gives none. */
static const char *taken(const char *rows, const char *more)
{
    struct or_notion_table table = {
        .base = {.store = &store.base, .columns = columns, .n_columns = 1},
        .spec = {.key = &key, .n_key = 1},
        .columns = columns,
        .properties = properties};
    struct or_notion_results results = {.table = &table, .arena = &bench.arena};
    struct or_http_request request = request_of(
        OR_HTTP_ANSWERED, 200, text(&bench, "{'object':'list','results':%s%s}", rows, more));
    struct or_notion_answer answer;
    or_notion_read(&request, &answer);
    assert_non_null(answer.root);
    const char *why = or_notion_take_results(&results, answer.root);
    const char *shown = why ? why
                            : text(&bench, "%zu%s%s", results.n, results.cursor ? " then " : "",
                                   results.cursor ? results.cursor : "");
    or_notion_answer_finish(&answer);
    or_buffer_finish(&request.answer);
    return shown;
}

static void only_a_complete_answer_is_one(void **state)
{
    (void)state;
    const char *one = text(&bench, "[%s]", row("a", ""));
    assert_string_equal(taken("[]", ",'has_more':false"), "0");
    assert_string_equal(taken(one, ",'has_more':false,'next_cursor':null"), "1");
    assert_string_equal(taken(one, ",'has_more':true,'next_cursor':'c'"), "1 then c");
    assert_string_equal(taken(one, ",'has_more':false,'request_status':{'type':'complete'}"), "1");
    assert_contains(taken(one, ",'has_more':false,'request_status':{'type':'incomplete',"
                               "'incomplete_reason':'query_result_limit_reached'}"),
                    "left results out");
    assert_contains(taken(one, ",'has_more':false,'request_status':{'type':'other'}"),
                    "left results out");
    assert_contains(taken(one, ""), "whether there is more");
    assert_contains(taken(one, ",'has_more':'no'"), "whether there is more");
    assert_contains(taken(one, ",'has_more':true"), "not where");
    assert_contains(taken(one, ",'has_more':true,'next_cursor':null"), "not where");
    assert_contains(taken(one, ",'has_more':true,'next_cursor':''"), "not where");
    assert_contains(taken("{}", ",'has_more':false"), "no results");
    assert_contains(taken("[7]", ",'has_more':false"), "no page");
    assert_contains(taken("[{'object':'page','id':'x'}]", ",'has_more':false"), "no page");
    /* A token without the right to read sees no more than ids. */
    assert_contains(taken("[{'object':'page','id':'" ID "'}]", ",'has_more':false"),
                    "may not read");
    assert_contains(taken("[{'object':'page','id':'" ID "','properties':{}}]", ",'has_more':false"),
                    "lacks a property");
}

static void what_is_in_the_trash_is_not_found(void **state)
{
    (void)state;
    assert_string_equal(
        taken(text(&bench, "[%s,%s,%s,{'object':'data_source'}]", row("a", ",'in_trash':true"),
                   row("a", ",'archived':true"), row("a", ",'in_trash':false")),
              ",'has_more':false"),
        "1");
}

static void ten_thousand_are_too_many(void **state)
{
    struct or_notion_table table = {
        .base = {.store = &store.base, .columns = columns, .n_columns = 1},
        .spec = {.key = &key, .n_key = 1},
        .columns = columns,
        .properties = properties};
    struct or_notion_results results = {.table = &table, .arena = &bench.arena, .seen = 9999};
    static const char answer[] = "{\"results\":[],\"has_more\":false}";
    (void)state;
    yyjson_doc *doc = yyjson_read(answer, sizeof answer - 1, 0);
    assert_null(or_notion_take_results(&results, yyjson_doc_get_root(doc)));
    results.seen = 10000;
    assert_non_null(or_notion_take_results(&results, yyjson_doc_get_root(doc)));
    assert_true(results.cut);
    yyjson_doc_free(doc);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_done_is_said_by_a_page),
        TEST(refusals_are_told_apart),
        TEST(limits_are_not_done),
        TEST(what_broke_is_open),
        TEST(only_notions_own_words_count),
        TEST(without_an_answer_it_depends_on_the_sending),
        TEST(a_reason_is_one_line_without_the_token),
        TEST(only_a_complete_answer_is_one),
        TEST(what_is_in_the_trash_is_not_found),
        TEST(ten_thousand_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
