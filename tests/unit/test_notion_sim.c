/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator of the Notion API without sockets: windows, faults, filters, sorts, ids, times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "notion_sim/nsim_call.h"
#include "tests/support/bench.h"

/* ---- calls by hand ------------------------------------------------------------------------- */

static const char ROWS[] =
    "{'databases':[{'data_sources':[{'id':'11111111111111111111111111111111','properties':{"
    "'Name':{'title':{}},'Text':{'rich_text':{}},'N':{'number':{}},'Box':{'checkbox':{}},"
    "'Kind':{'select':{'options':[{'name':'low'},{'name':'high'}]}},'Tags':{'multi_select':{}},"
    "'When':{'date':{}},'Id':{'unique_id':{}},'Rel':{'relation':{'data_source_id':"
    "'11111111111111111111111111111111','single_property':{}}}},'rows':["
    "{'id':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','properties':{'Name':{'title':[{'text':{'content':"
    "'A'}}]},'N':{'number':1},'Box':{'checkbox':true},'Kind':{'select':{'name':'high'}},"
    "'Tags':{'multi_select':[{'name':'x'},{'name':'y'}]},'When':{'date':{'start':'2024-01-01'}}}},"
    "{'id':'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','properties':{'Name':{'title':[{'text':{'content':"
    "'b'}}]},'N':{'number':-2.5},'Kind':{'select':{'name':'low'}},'Text':{'rich_text':[{'text':"
    "{'content':'one '}},{'text':{'content':'run'}}]},'When':{'date':{'start':"
    "'2024-01-01T23:30:00-01:00'}},'Rel':{'relation':[{'id':"
    "'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'}]}}},"
    "{'id':'cccccccccccccccccccccccccccccccc','properties':{'Name':{'title':[{'text':{'content':"
    "'Ccc'}}]},'Tags':{'multi_select':[{'name':'y'}]}}}]}]}]}";

/* A JSON text with ' for ". Static. */
static const char *quoted(const char *text)
{
    static char copy[8192];
    size_t len = strlen(text);
    assert_true(len < sizeof copy);
    memcpy(copy, text, len + 1);
    for (char *at = copy; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    return copy;
}

static struct or_nsim *open_rows(void)
{
    struct or_nsim *sim = NULL;
    struct onerow_error error = {0};
    const char *setup = quoted(ROWS);
    const struct or_nsim_options options = {
        .seed = 1, .virtual_clock = true, .setup = setup, .setup_len = strlen(setup)};
    if (or_nsim_open(&options, &sim, &error) != ONEROW_OK) {
        fail_msg("%s", error.text);
    }
    return sim;
}

/* Asks as a client would; the answer's body lives until the call is finished. */
static void ask(struct or_nsim *sim, struct or_nsim_call *call, enum or_nsim_method method,
                const char *path, const char *body)
{
    static const char *const names[] = {"GET", "POST", "PATCH", "DELETE"};
    or_nsim_call_init(call, sim);
    call->method = method;
    call->method_text = names[method];
    call->path = or_span(path);
    call->authorization = "Bearer secret";
    call->version_text = "2025-09-03";
    call->body = or_span(body);
    if (or_nsim_arrive(call)) {
        or_nsim_perform(call);
    }
    or_nsim_left(call);
}

/* The titles of a query's results, in their order, or the error's code. Static. */
static const char *query(struct or_nsim *sim, const char *body)
{
    static char titles[1024];
    struct or_nsim_call call;
    ask(sim, &call, OR_NSIM_POST, "/v1/data_sources/11111111-1111-1111-1111-111111111111/query",
        quoted(body));
    yyjson_doc *doc = yyjson_read(call.out.data, call.out.len, 0);
    yyjson_val *results = yyjson_obj_get(yyjson_doc_get_root(doc), "results");
    yyjson_val *page;
    size_t i;
    size_t n;
    titles[0] = '\0';
    if (call.status != 200) {
        snprintf(titles, sizeof titles, "%s", call.code);
    }
    yyjson_arr_foreach(results, i, n, page)
    {
        yyjson_val *title = yyjson_ptr_get(page, "/properties/Name/title/0/plain_text");
        size_t used = strlen(titles);
        snprintf(titles + used, sizeof titles - used, "%s", yyjson_get_str(title));
    }
    yyjson_doc_free(doc);
    or_nsim_call_finish(&call);
    return titles;
}

/* ---- filters ------------------------------------------------------------------------------- */

static const struct {
    const char *filter;
    const char *found;
} filters[] = {
    {"{'property':'Name','title':{'equals':'a'}}", "A"},
    {"{'property':'title','title':{'equals':'B'}}", "b"},
    {"{'property':'Name','title':{'does_not_equal':'a'}}", "bCcc"},
    {"{'property':'Name','title':{'contains':'C'}}", "Ccc"},
    {"{'property':'Name','title':{'starts_with':'cC'}}", "Ccc"},
    {"{'property':'Name','title':{'ends_with':'CC'}}", "Ccc"},
    {"{'property':'Name','title':{'ends_with':'CCCC'}}", ""},
    {"{'property':'Name','title':{'is_empty':true}}", ""},
    {"{'property':'Text','rich_text':{'equals':'ONE RUN'}}", "b"},
    {"{'property':'Text','rich_text':{'is_empty':true}}", "ACcc"},
    {"{'property':'Text','rich_text':{'is_not_empty':true}}", "b"},
    {"{'property':'N','number':{'equals':-2.5}}", "b"},
    {"{'property':'N','number':{'does_not_equal':1}}", "bCcc"},
    {"{'property':'N','number':{'greater_than':-2.5}}", "A"},
    {"{'property':'N','number':{'greater_than_or_equal_to':-2.5}}", "Ab"},
    {"{'property':'N','number':{'less_than':1}}", "b"},
    {"{'property':'N','number':{'less_than_or_equal_to':1}}", "Ab"},
    {"{'property':'N','number':{'is_empty':true}}", "Ccc"},
    {"{'property':'Id','unique_id':{'equals':2}}", "b"},
    {"{'property':'Id','unique_id':{'greater_than':1}}", "bCcc"},
    {"{'property':'Box','checkbox':{'equals':true}}", "A"},
    {"{'property':'Box','checkbox':{'does_not_equal':true}}", "bCcc"},
    {"{'property':'Kind','select':{'equals':'low'}}", "b"},
    {"{'property':'Kind','select':{'equals':'LOW'}}", ""},
    {"{'property':'Kind','select':{'equals':['low','high']}}", "Ab"},
    {"{'property':'Kind','select':{'does_not_equal':['low','high']}}", "Ccc"},
    {"{'property':'Kind','select':{'is_empty':true}}", "Ccc"},
    {"{'property':'Tags','multi_select':{'contains':'y'}}", "ACcc"},
    {"{'property':'Tags','multi_select':{'does_not_contain':'x'}}", "bCcc"},
    {"{'property':'When','date':{'equals':'2024-01-01'}}", "A"},
    {"{'property':'When','date':{'equals':'2024-01-02'}}", "b"}, /* 00:30 in UTC */
    {"{'property':'When','date':{'equals':'2024-01-02T00:30:00Z'}}", "b"},
    {"{'property':'When','date':{'before':'2024-01-02'}}", "A"},
    {"{'property':'When','date':{'on_or_before':'2024-01-02'}}", "Ab"},
    {"{'property':'When','date':{'after':'2024-01-01'}}", "b"},
    {"{'property':'When','date':{'on_or_after':'2024-01-01'}}", "Ab"},
    {"{'property':'When','date':{'is_empty':true}}", "Ccc"},
    {"{'property':'Rel','relation':{'contains':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}}", "b"},
    {"{'property':'Rel','relation':{'is_empty':true}}", "ACcc"},
    {"{'timestamp':'created_time','created_time':{'on_or_after':'2026-01-01'}}", "AbCcc"},
    {"{'timestamp':'created_time','created_time':{'before':'2026-01-01'}}", ""},
    {"{'or':[{'property':'N','number':{'equals':1}},{'property':'Name','title':{'equals':'ccc'}}]}",
     "ACcc"},
    {"{'and':[{'property':'Tags','multi_select':{'contains':'y'}},{'or':[{'property':'N','number':"
     "{'is_empty':true}},{'property':'Name','title':{'equals':'b'}}]}]}",
     "Ccc"},
    {"{'and':[]}", "AbCcc"},
    {"{'or':[]}", ""},
    {"{'property':'N','rich_text':{'equals':'1'}}", "validation_error"},
    {"{'property':'N','number':{'equals':'1'}}", "validation_error"},
    {"{'property':'N','number':{'equals':1,'less_than':2}}", "validation_error"},
    {"{'property':'Box','checkbox':{'is_empty':true}}", "validation_error"},
    {"{'property':'Name','title':{'is_empty':false}}", "validation_error"},
    {"{'property':'When','date':{'before':'2024-13-01'}}", "validation_error"},
    {"{'property':'Rel','relation':{'contains':'a'}}", "validation_error"},
    {"{'timestamp':'name','created_time':{'before':'2024-01-01'}}", "validation_error"},
    {"{'timestamp':'created_time'}", "validation_error"},
    {"{'and':{}}", "validation_error"},
    {"{'and':[{'or':[{'and':[]}]}]}", "validation_error"},
};

static void filters_find_what_they_say(void **state)
{
    struct or_nsim *sim = open_rows();
    (void)state;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        char body[1024];
        snprintf(body, sizeof body, "{'filter':%s}", filters[i].filter);
        const char *found = query(sim, body);
        if (strcmp(found, filters[i].found) != 0) {
            fail_msg("%s found %s, not %s", filters[i].filter, found, filters[i].found);
        }
    }
    or_nsim_close(sim);
}

static const struct {
    const char *sorts;
    const char *found;
} sorts[] = {
    {"{'property':'N','direction':'ascending'}", "bACcc"},
    {"{'property':'N','direction':'descending'}", "AbCcc"}, /* empty ones last, either way */
    {"{'property':'Name','direction':'descending'}", "CccbA"},
    {"{'property':'Kind'}", "bACcc"}, /* in the order of the options */
    {"{'property':'When','direction':'descending'}", "bACcc"},
    {"{'property':'Box','direction':'descending'}", "AbCcc"},
    {"{'property':'Box','direction':'ascending'},{'property':'Name','direction':'descending'}",
     "CccbA"},
    {"{'property':'Id','direction':'descending'}", "CccbA"},
    {"{'timestamp':'created_time','direction':'descending'}", "AbCcc"}, /* all equal: by id */
    {"{'property':'Nope'}", "validation_error"},
    {"{'property':'N','direction':'up'}", "validation_error"},
};

static void sorts_order_as_they_say(void **state)
{
    struct or_nsim *sim = open_rows();
    (void)state;
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++) {
        char body[1024];
        snprintf(body, sizeof body, "{'sorts':[%s]}", sorts[i].sorts);
        const char *found = query(sim, body);
        if (strcmp(found, sorts[i].found) != 0) {
            fail_msg("%s: %s, not %s", sorts[i].sorts, found, sorts[i].found);
        }
    }
    or_nsim_close(sim);
}

/* The row of the cursor may be gone from the results by the time that it is used. */
static void a_cursor_keeps_its_place(void **state)
{
    struct or_nsim *sim = open_rows();
    struct or_nsim_call call;
    static const char next[] =
        "{'sorts':[{'property':'N'}],'start_cursor':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}";
    (void)state;
    assert_string_equal(query(sim, next), "ACcc");
    ask(sim, &call, OR_NSIM_PATCH, "/v1/pages/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        quoted("{'in_trash':true}"));
    assert_int_equal(call.status, 200);
    or_nsim_call_finish(&call);
    assert_string_equal(query(sim, next), "Ccc");
    or_nsim_close(sim);
}

/* ---- windows ------------------------------------------------------------------------------- */

/* Granted requests, an oracle's way: no window that begins with a request that no other window
 * holds has more than its count. */
static size_t most_in_one(const uint64_t *granted, size_t n, uint64_t span_ms)
{
    size_t most = 0;
    for (size_t first = 0, end = 0; first < n; first = end) {
        while (end < n && granted[end] < granted[first] + span_ms) {
            end++;
        }
        most = end - first > most ? end - first : most;
    }
    return most;
}

static void windows_hold_their_count(void **state)
{
    (void)state;
    seed_dice();
    for (unsigned round = 0; round < 50; round++) {
        uint64_t granted[2000];
        size_t n = 0;
        uint64_t now = dice() % 1000;
        uint64_t wait = 0;
        const struct or_nsim_window list[2] = {{1 + (uint32_t)(dice() % 10), 1 + dice() % 500},
                                               {1 + (uint32_t)(dice() % 100), 1 + dice() % 9000}};
        struct or_nsim_meter meter;
        or_nsim_meter_init(&meter, list, 2);
        while (n < sizeof granted / sizeof *granted) {
            if (or_nsim_meter_room(&meter, now, &wait)) {
                or_nsim_meter_take(&meter, now);
                granted[n++] = now;
                now += dice() % 20;
                continue;
            }
            uint64_t late = 0;
            assert_true(wait >= 1 && wait <= 9500);
            assert_false(or_nsim_meter_room(&meter, now + wait - 1, &late)); /* no earlier */
            now += wait;
            assert_true(or_nsim_meter_room(&meter, now, &late)); /* and no later */
        }
        assert_true(most_in_one(granted, n, list[0].span_ms) <= list[0].count);
    }
}

static void control_the_oracle_counts(void **state)
{
    const uint64_t granted[] = {0, 5, 9, 10, 11, 12, 13, 20};
    (void)state;
    assert_int_equal(most_in_one(granted, 8, 10), 4);
}

static void a_later_end_of_a_wait_stays(void **state)
{
    struct or_nsim_meter meter;
    (void)state;
    or_nsim_meter_init(&meter, NULL, 0);
    or_nsim_meter_block(&meter, 500, 1);
    or_nsim_meter_block(&meter, 400, 2);
    assert_int_equal(meter.until_ms, 500);
    assert_int_equal(meter.told_real_ms, 1);
}

/* ---- faults -------------------------------------------------------------------------------- */

static const struct or_nsim_request_kind CREATE = {
    .create = true, .write = true, .method = "POST", .path = {"/v1/pages", 9}};
static const struct or_nsim_request_kind READ = {.method = "GET", .path = {"/v1/users/me", 12}};

static void one_faults_rate_moves_no_other_ones_choices(void **state)
{
    struct or_nsim_faults one = {.seed = 5};
    struct or_nsim_faults both = {.seed = 5};
    const char *reason = NULL;
    uint64_t parameter = 0;
    unsigned struck = 0;
    (void)state;
    assert_true(or_nsim_faults_read(&one, OR_SPAN("reset-after=20%"), &reason));
    assert_true(or_nsim_faults_read(&both, OR_SPAN("reset-after=0.2,lag=50%:30"), &reason));
    for (uint64_t i = 1; i <= 1000; i++) {
        const struct or_nsim_fault *fault = or_nsim_fault_draw(&one, i, &CREATE, &parameter);
        assert_ptr_equal(fault, or_nsim_fault_draw(&both, i, &CREATE, &parameter));
        assert_null(or_nsim_fault_draw(&both, i, &READ, &parameter)); /* neither concerns it */
        struck += fault != NULL;
    }
    assert_in_range(struck, 120, 280); /* six standard deviations */
}

static void rates_are_read(void **state)
{
    static const char *const bad[] = {"nope=1%",      "409",      "409=",   "409=x",
                                      "409=101%",     "409=1.01", "409=-1", "lag=1%:x",
                                      "lag=1%:60001", "409=1%,,", "=1"};
    struct or_nsim_faults faults = {0};
    const char *reason = NULL;
    (void)state;
    assert_true(or_nsim_faults_read(&faults, OR_SPAN("409=10%, slow=0.5:70000"), &reason));
    assert_true(faults.rates[OR_NSIM_FAULT_CONFLICT].rate == 0.1);
    assert_int_equal(faults.rates[OR_NSIM_FAULT_SLOW].parameter, 70000);
    assert_true(or_nsim_faults_read(&faults, OR_SPAN("none"), &reason));
    assert_true(faults.rates[OR_NSIM_FAULT_SLOW].rate == 0);
    assert_false(or_nsim_faults_read(&faults, OR_SPAN("409=10%,502=107%"), &reason));
    assert_true(faults.rates[OR_NSIM_FAULT_CONFLICT].rate == 0); /* all of it or nothing */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reason = NULL;
        if (or_nsim_faults_check(bad[i], &reason)) {
            fail_msg("%s was taken", bad[i]);
        }
        assert_non_null(reason);
    }
}

/* ---- text ---------------------------------------------------------------------------------- */

static void ids_with_and_without_dashes(void **state)
{
    static const char dashed[] = "0123abcd-4567-89ab-cdef-0123456789ab";
    static const char *const bad[] = {
        "", "0123abcd456789abcdef0123456789a", "0123abcd456789abcdef0123456789abc",
        "0123abcd-4567-89ab-cdef0-123456789ab", "g123abcd456789abcdef0123456789ab"};
    char id[OR_NSIM_ID];
    (void)state;
    assert_true(or_nsim_read_id(or_span(dashed), id));
    assert_string_equal(id, dashed);
    assert_true(or_nsim_read_id(OR_SPAN("0123ABCD456789abcdef0123456789AB"), id));
    assert_string_equal(id, dashed);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(or_nsim_read_id(or_span(bad[i]), id));
    }
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
        bool day;
    } good[] = {
        {"1970-01-01", 0, true},
        {"2024-02-29", 1709164800000, true},
        {"2024-02-29T00:00:00Z", 1709164800000, false},
        {"2024-02-29T01:00+01:00", 1709164800000, false},
        {"2024-02-28T22:30:00.250-0130", 1709164800250, false},
        {"1969-12-31T23:59:59.999Z", -1, false},
    };
    static const char *const bad[] = {"",
                                      "2024",
                                      "2024-2-1",
                                      "2023-02-29",
                                      "2024-13-01",
                                      "2024-01-32",
                                      "2024-01-01T",
                                      "2024-01-01T24:00",
                                      "2024-01-01T10:60",
                                      "2024-01-01T10:00:00.",
                                      "x024-01-01",
                                      "2024-01-01T10:00:00+1",
                                      "2024-01-01T10:00:00ZZ"};
    char text[OR_NSIM_TIME];
    int64_t ms = 0;
    bool day = false;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(or_nsim_read_time(or_span(good[i].text), &ms, &day));
        assert_int_equal(ms, good[i].ms);
        assert_int_equal(day, good[i].day);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (or_nsim_read_time(or_span(bad[i]), &ms, &day)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    or_nsim_time_minute(1709164859999, text);
    assert_string_equal(text, "2024-02-29T00:00:00.000Z");
    or_nsim_time_exact(1709164859999, text);
    assert_string_equal(text, "2024-02-29T00:00:59.999Z");
    or_nsim_time_exact(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void lengths_are_javascripts(void **state)
{
    (void)state;
    assert_int_equal(or_nsim_utf16_length(OR_SPAN("")), 0);
    assert_int_equal(or_nsim_utf16_length(OR_SPAN("a\xc3\xa4")), 2);
    assert_int_equal(or_nsim_utf16_length(OR_SPAN("\xf0\x9f\x98\x80")), 2);
}

/* A long life of one page keeps few versions, and a lagging query the right one. */
static void old_versions_go(void **state)
{
    struct or_nsim *sim = open_rows();
    struct or_nsim_object *object =
        or_nsim_find(&sim->model, "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa");
    struct or_nsim_page *page = (struct or_nsim_page *)object;
    size_t kept = 0;
    (void)state;
    for (uint64_t now = 1; now <= 1000; now++) {
        struct or_nsim_version *version = or_nsim_version_new(page->now, page->source->n_slots);
        or_nsim_change(page, version, page->o.created_ms + now);
    }
    for (const struct or_nsim_version *v = page->now; v; v = v->older) {
        kept++;
    }
    assert_in_range(kept, 2, OR_NSIM_OLD_MAX + 2);
    const struct or_nsim_version *before = or_nsim_version_at(page, page->o.created_ms + 990);
    assert_int_equal(before->from_ms, page->o.created_ms + 990);
    or_nsim_close(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_find_what_they_say),
        cmocka_unit_test(sorts_order_as_they_say),
        cmocka_unit_test(a_cursor_keeps_its_place),
        cmocka_unit_test(windows_hold_their_count),
        cmocka_unit_test(control_the_oracle_counts),
        cmocka_unit_test(a_later_end_of_a_wait_stays),
        cmocka_unit_test(one_faults_rate_moves_no_other_ones_choices),
        cmocka_unit_test(rates_are_read),
        cmocka_unit_test(ids_with_and_without_dashes),
        cmocka_unit_test(times),
        cmocka_unit_test(lengths_are_javascripts),
        cmocka_unit_test(old_versions_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
