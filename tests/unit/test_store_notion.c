/* SPDX-License-Identifier: Apache-2.0
 *
 * The store `notion` against `onerow notion-sim`: opening, each kind of request, and what becomes
 * of each when something goes wrong. The simulator's log says what it was sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "engine/audit.h"
#include "store/store_notion.h"
#include "tests/support/notion.h"

static const char *const VERSIONS[] = {"2022-06-28", "2025-09-03", "2026-03-11"};

static int start(void **state)
{
    (void)state;
    notion_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    notion_stop();
    return 0;
}

static void look(const char *key)
{
    if (notion_look(NULL, NOTION_SOURCE, key) != ONEROW_OK) {
        fail_msg("%s", b.error.text);
    }
    notion_forget();
}

/* A blank, made by the store. */
static const char *blank(void)
{
    struct onerow_page_call *call = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
    assert_string_equal(run(call), "ok");
    return text(&b, "%.*s", (int)call->made.len, call->made.data);
}

static const char *published(const char *json)
{
    const char *page = blank();
    assert_string_equal(run(call_of(ONEROW_PAGE_PUBLISH, page, record(json))), "ok");
    return page;
}

static struct onerow_page_call *got(const char *page, const char *json)
{
    struct onerow_page_call *call = call_of(ONEROW_PAGE_GET, page, json ? record(json) : NULL);
    assert_string_equal(run(call), "ok");
    return call;
}

static struct onerow_page_call *probed(const char *json)
{
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, record(json));
    assert_string_equal(run(call), "ok");
    return call;
}

static const char *config_error(enum onerow_status status)
{
    assert_int_equal(status, ONEROW_CONFIG);
    return b.error.text;
}

/* ---- opening -------------------------------------------------------------------------------- */

static void a_token_is_needed_and_never_shown(void **state)
{
    (void)state;
    unsetenv("NOTION_TOKEN");
    assert_contains(config_error(notion_open(NULL, "")), "needs a token");
    assert_contains(config_error(notion_open(NULL, "two words")), "is no token");
    assert_contains(config_error(notion_open(NULL, "evil\r\nX: y")), "is no token");
    assert_null(strstr(b.error.text, "evil"));
    assert_contains(config_error(notion_open(NULL, "ntn_wrong")), "API token is invalid");
    assert_null(strstr(b.error.text, "ntn_wrong"));
    assert_int_equal(notion_open(NULL, NOTION_TOKEN "\n"), ONEROW_OK);
    setenv("NOTION_TOKEN", NOTION_TOKEN, 1);
    assert_int_equal(notion_open(NULL, NULL), ONEROW_OK);
    unsetenv("NOTION_TOKEN");
}

/* Before anything is sent; and the token's own digest tells nothing of it. */
static void an_account_is_named_without_its_token(void **state)
{
    (void)state;
    char one[ONEROW_ACCOUNT_MAX];
    char same[ONEROW_ACCOUNT_MAX];
    char other[ONEROW_ACCOUNT_MAX];
    const struct onerow_store_options plain = {.token = OR_SPAN(NOTION_TOKEN)};
    const struct onerow_store_options file = {.token = OR_SPAN(NOTION_TOKEN "\n"),
                                              .version = "2026-03-11"};
    const struct onerow_store_options another = {.token = OR_SPAN("readonly")};
    or_store_notion.pages->account(&plain, one);
    or_store_notion.pages->account(&file, same);
    or_store_notion.pages->account(&another, other);
    assert_string_equal(one, same);
    assert_string_not_equal(one, other);
    assert_null(strstr(one, NOTION_TOKEN));
}

static void only_notion_and_this_machine_get_the_token(void **state)
{
    static const char *const urls[] = {"notion:x",
                                       "notion+http://example.com:80",
                                       "notion+http://127.0.0.1",
                                       "notion+http://127.0.0.1:",
                                       "notion+http://127.0.0.1:80/x",
                                       "notion+http://127.0.0.1.example.com:80",
                                       "notion+http://u:p@127.0.0.1:80",
                                       "notion+http://localhost.example.com:80",
                                       "notion+http://localhost:80@example.com",
                                       "notion+http://[::1]:123456"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct onerow_store *store = NULL;
        const struct onerow_store_options options = {.url = urls[i], .token = OR_SPAN("t")};
        b.status = or_store_notion.open(&options, &store, &b.error);
        assert_null(store);
        assert_contains(config_error(b.status), "notion+http://HOST:PORT");
    }
    assert_contains(config_error(notion_open("2021-08-16", "t")), "2026-03-11");
}

static void a_table_has_one_name_for_itself(void **state)
{
    static const char *const spellings[] = {
        NOTION_SOURCE,
        "1f0c0000000040008000"
        "0000000000aa",
        "1F0C0000-0000-4000-8000-0000000000AA",
        "collection://" NOTION_SOURCE,
        NOTION_DATABASE,
        "https://www.notion.so/team/Areas-1f0c00000000400080000000000000bb?v=2e0c0000000040008000"
        "0000000000ff&pvs=4",
        "https://www.notion.so/1f0c00000000400080000000000000bb",
    };
    (void)state;
    for (size_t v = 0; v < 3; v++) {
        for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
            if (notion_look(VERSIONS[v], spellings[i], "Name") != ONEROW_OK) {
                fail_msg("%s %s: %s", VERSIONS[v], spellings[i], b.error.text);
            }
            assert_string_equal(or_store_notion.pages->target(b.table.table), NOTION_SOURCE);
        }
    }
}

static void a_place_that_does_not_do_is_named(void **state)
{
    (void)state;
    assert_int_equal(notion_look(NULL, "1f0c0000-0000-4000-8000-00000000dead", "Name"),
                     ONEROW_ABSENT);
    assert_contains(b.error.text, "Connections");
    assert_contains(config_error(notion_look(NULL, "Areas", "Name")), "neither an id nor a link");
    assert_contains(config_error(notion_look(NULL, NOTION_SEVERAL, "Name")), "has 2 data sources");
    assert_contains(b.error.text, "location: " NOTION_FIRST);
    assert_int_equal(notion_look(NULL, NOTION_FIRST, "Name"), ONEROW_OK);
    assert_contains(config_error(notion_look("2022-06-28", NOTION_FIRST, "Name")),
                    "2022-06-28 cannot write");
    notion_person(NOTION_SOURCE, "trash", NULL);
    assert_contains(config_error(notion_look(NULL, NOTION_SOURCE, "Name")), "in the trash");
}

static void a_key_that_cannot_be_kept_is_refused(void **state)
{
    static const struct {
        const char *key, *why;
    } cases[] = {
        {"Nmae", "no property \"Nmae\" for its key"},
        {"State", "of type status"},
        {"Tags", "of type multi_select"},
        {"Who", "of type people"},
        {"Up", "of type relation"},
        {"Twice", "of type formula"},
        {"Score:text", "cannot hold text"},
        {"Name:bool", "cannot hold bool"},
        {"Link:int", "cannot hold int"},
        {"Code:int", "cannot hold int"},
        {"Number", "numbered by Notion"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_contains(config_error(notion_look(NULL, NOTION_SOURCE, cases[i].key)), cases[i].why);
    }
    b.nulls_equal = true;
    assert_contains(config_error(notion_look(NULL, NOTION_SOURCE, "Open")), "never empty");
    b.nulls_equal = false;
    b.table.spec.touch = ONEROW_TOUCH_WRITE;
    assert_contains(config_error(notion_look(NULL, NOTION_SOURCE, "Name")), "updated_at");
    b.table.spec.touch = ONEROW_TOUCH_NONE;
}

static const struct onerow_column *column(const char *name)
{
    return &b.table.table->columns[or_table_column(&b.table, or_span(name))];
}

static void columns_are_what_the_schema_says(void **state)
{
    (void)state;
    look("Name");
    assert_int_equal(b.table.table->guarantees, ONEROW_PAGES);
    assert_int_equal(b.table.table->n_columns, 16);
    assert_string_equal(column("Score")->declared, "number");
    assert_int_equal(column("Score")->type, ONEROW_TYPE_DECIMAL);
    assert_null(column("Score")->not_writable);
    assert_string_equal(column("Twice")->not_writable, "is a formula");
    assert_string_equal(column("Made")->not_writable, "is filled in by Notion");
    assert_string_equal(column("Number")->not_writable, "is numbered by Notion");
    assert_int_equal(b.table.table->key_types[0], ONEROW_TYPE_TEXT);
    assert_null(b.table.table->advice);
    b.normalize = ONEROW_CASEFOLD;
    look("Name");
    assert_contains(b.table.table->advice, "reads the whole data source");
}

/* ---- writing and finding ----------------------------------------------------------------------
 */

static const char HOME[] = "{'Name':'HOME','Score':24.50,'Kind':'new','Tags':['b','a'],"
                           "'State':'Active','Open':true,'Day':'2024-02-29','Code':'x',"
                           "'Link':'https://a.b','Mail':'a@b.c','Phone':'+1'}";

static void a_blank_is_published_and_found_under_every_version(void **state)
{
    (void)state;
    for (size_t v = 0; v < 3; v++) {
        assert_int_equal(notion_look(VERSIONS[v], NOTION_SOURCE, "Name"), ONEROW_OK);
        const char *page = blank();
        assert_int_equal(got(page, HOME)->same, false);
        assert_null(got(page, HOME)->found->parts);
        assert_string_equal(run(call_of(ONEROW_PAGE_PUBLISH, page, record(HOME))), "ok");
        const struct onerow_page_call *found = probed("{'Name':'HOME'}");
        assert_int_equal(found->n_found, 1);
        assert_memory_equal(found->found[0].id.data, page, 36);
        assert_false(found->found[0].edited || found->found[0].attached);
        assert_true(found->found[0].created_ms > 1700000000000);
        const struct onerow_page_call *is = got(page, HOME);
        assert_true(is->same && !is->in_trash && is->n_found == 1);
        assert_string_equal(run(call_of(ONEROW_PAGE_TRASH, page, NULL)), "ok");
        assert_true(got(page, HOME)->in_trash);
        assert_int_equal(probed("{'Name':'HOME'}")->n_found, 0);
        assert_string_equal(run(call_of(ONEROW_PAGE_TRASH, page, NULL)), "ok"); /* it is there */
        assert_string_equal(run(call_of(ONEROW_PAGE_RESTORE, page, NULL)), "ok");
        assert_false(got(page, HOME)->in_trash);
        struct onerow_page_call *move = call_of(ONEROW_PAGE_MOVE_KEY, page, NULL);
        move->title = OR_SPAN(ONEROW_MOVED_TITLE);
        assert_string_equal(run(move), "ok");
        assert_int_equal(probed("{'Name':'HOME'}")->n_found, 0);
        assert_null(got(page, NULL)->found->parts);
    }
}

static void a_create_with_the_key_tells_everything(void **state)
{
    (void)state;
    look("Name");
    struct onerow_page_call *call =
        call_of(ONEROW_PAGE_CREATE_KEYED, NULL, record("{'Name':'HOME','Score':1}"));
    assert_string_equal(run(call), "ok");
    assert_true(
        got(text(&b, "%.36s", call->made.data), "{'Name':'HOME','Score':1,'Code':null}")->same);
    assert_int_equal(notion_sent("POST", "/v1/pages"), 1);
}

static void publishing_clears_the_blanks_title(void **state)
{
    (void)state;
    look("Code");
    const char *page = published("{'Code':'c1','Score':1}");
    const struct onerow_page_call *is = got(page, "{'Code':'c1','Score':1}");
    assert_true(is->same && is->found->title.len == 0);
    page = published("{'Code':'c2','Name':'named'}");
    assert_true(got(page, "{'Code':'c2','Name':'named'}")->same);
}

static void a_write_leaves_the_key_and_other_columns_alone(void **state)
{
    (void)state;
    look("Name");
    const char *page = published(HOME);
    notion_person(page, "rename", "{'title':'ELSE'}");
    assert_string_equal(run(call_of(ONEROW_PAGE_WRITE, page, record("{'Name':'HOME','Score':2}"))),
                        "ok");
    const struct onerow_page_call *is = got(page, "{'Name':'HOME','Score':2,'Code':'x'}");
    assert_true(is->same);
    assert_int_equal(is->found->parts[0].len, 4);
    assert_memory_equal(is->found->parts[0].data, "ELSE", 4);
}

static void a_key_of_any_kind_is_found(void **state)
{
    static const struct {
        const char *key, *record, *other;
    } cases[] = {
        {"Name", "{'Name':'a \\'\\\\ b'}", "{'Name':'a'}"},
        {"Code", "{'Code':'x|y'}", "{'Code':'x'}"},
        {"Link", "{'Link':'https://x.y/?a=b'}", "{'Link':'https://x.y/'}"},
        {"Mail", "{'Mail':'a@b.c'}", "{'Mail':'a@b.d'}"},
        {"Phone", "{'Phone':'+49 1'}", "{'Phone':'+49 2'}"},
        {"Score", "{'Score':24.5}", "{'Score':24}"},
        {"Score:int", "{'Score':-7}", "{'Score':7}"},
        {"Kind", "{'Kind':'work'}", "{'Kind':'home'}"},
        {"Open", "{'Open':true}", "{'Open':false}"},
        {"Day", "{'Day':'2024-02-29'}", "{'Day':'2024-03-01'}"},
        {"Day:timestamp", "{'Day':'2024-02-29T12:00:00+02:00'}", "{'Day':'2024-02-29T11:00:00Z'}"},
        {"Name,Score,Day", "{'Name':'a','Score':1,'Day':'2024-02-29'}",
         "{'Name':'a','Score':2,'Day':'2024-02-29'}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        look(cases[i].key);
        const char *page = published(cases[i].record);
        const struct onerow_page_call *found = probed(cases[i].record);
        if (found->n_found != 1 || memcmp(found->found[0].id.data, page, 36) != 0) {
            fail_msg("%s: %zu found", cases[i].key, found->n_found);
        }
        assert_int_equal(probed(cases[i].other)->n_found, 0);
        assert_string_equal(run(call_of(ONEROW_PAGE_TRASH, page, NULL)), "ok");
    }
}

static void a_key_with_nothing_in_it_is_not_a_blanks(void **state)
{
    (void)state;
    b.nulls_equal = true;
    look("Code,Score");
    const char *page = published("{'Code':null,'Score':1}");
    assert_int_equal(probed("{'Code':null,'Score':1}")->n_found, 1);
    (void)blank();
    const struct onerow_page_call *found = probed("{'Code':null,'Score':null}");
    assert_int_equal(found->n_found, 1); /* the filter takes the blank, which carries no key */
    assert_null(found->found[0].parts);
    assert_memory_equal(get(&b, "{'Code':null,'Score':1}"), "{\"Code\":null", 12);
    assert_memory_equal(b.ids, page, 36);
}

static void a_hundred_keys_are_one_request(void **state)
{
    const struct onerow_record *keys[100];
    (void)state;
    look("Name");
    for (size_t i = 0; i < 100; i++) {
        keys[i] = record(text(&b, "{'Name':'key %zu'}", i));
    }
    (void)published("{'Name':'key 7'}");
    (void)published("{'Name':'key 99'}");
    (void)published("{'Name':'KEY 98'}"); /* text filters take any case */
    notion_forget();
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, NULL);
    call->keys = keys;
    call->n_keys = 100;
    assert_string_equal(run(call), "ok");
    assert_true(call->n_found == 2 || call->n_found == 3);
    assert_int_equal(notion_sent("POST", "/v1/data_sources"), 1);
    assert_int_equal(parts, 1);
}

static void long_keys_take_several_requests(void **state)
{
    const struct onerow_record *keys[100];
    char name[3U * 1990U + 1] = "";
    (void)state;
    look("Name");
    for (size_t i = 0; i < 1990; i++) {
        memcpy(name + 3 * i, "€", 4);
    }
    for (size_t i = 0; i < 100; i++) {
        keys[i] = record(text(&b, "{'Name':'%03zu%s'}", i, name));
    }
    (void)published(text(&b, "{'Name':'099%s'}", name));
    notion_forget();
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, NULL);
    call->keys = keys;
    call->n_keys = 100;
    assert_string_equal(run(call), "ok");
    assert_int_equal(call->n_found, 1);
    assert_true(parts > 1);
    assert_int_equal(notion_sent("POST", "/v1/data_sources"), parts);
}

static void every_page_of_the_results_is_read(void **state)
{
    (void)state;
    look("Name");
    for (size_t i = 0; i < 205; i++) {
        (void)notion_page("'Name':{'title':[{'text':{'content':'twin'}}]}");
    }
    notion_forget();
    const struct onerow_page_call *found = probed("{'Name':'twin'}");
    assert_int_equal(found->n_found, 205);
    assert_int_equal(parts, 3);
    assert_true(found->found[0].attached); /* so many are not looked at one by one */
}

static void of_twins_it_is_known_what_hangs_on_them(void **state)
{
    (void)state;
    look("Name");
    const char *plain = published("{'Name':'twin'}");
    const char *parent = published("{'Name':'twin'}");
    (void)notion_say("PATCH", text(&b, "/v1/blocks/%s/children", parent),
                     "{'children':[{'paragraph':{'rich_text':[]}}]}");
    (void)published("{'Name':'alone'}");
    notion_forget();
    const struct onerow_page_call *found = probed("{'Name':'twin'}");
    assert_int_equal(found->n_found, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct onerow_page *page = &found->found[i];
        assert_int_equal(page->attached, memcmp(page->id.data, parent, 36) == 0);
        assert_true(page->attached || memcmp(page->id.data, plain, 36) == 0);
    }
    assert_int_equal(notion_sent("GET", "/v1/blocks"), 2);
    notion_forget();
    assert_false(probed("{'Name':'alone'}")->found[0].attached);
    assert_int_equal(notion_sent("GET", "/v1/blocks"), 0);
}

static void relations_count_as_something_that_hangs_on_it(void **state)
{
    (void)state;
    assert_int_equal(notion_look(NULL, NOTION_FIRST, "Name"), ONEROW_OK);
    const char *other = published("{'Name':'other'}");
    look("Name");
    (void)published(text(&b, "{'Name':'twin','Up':['%s']}", other));
    assert_true(probed("{'Name':'twin'}")->found[0].attached);
}

static void what_a_person_edited_is_told(void **state)
{
    (void)state;
    look("Name");
    const char *page = published("{'Name':'a'}");
    assert_false(probed("{'Name':'a'}")->found[0].edited);
    notion_person(page, "rename", "{'title':'b'}");
    assert_true(probed("{'Name':'b'}")->found[0].edited);
    assert_true(got(page, NULL)->found->edited);
}

static void blanks_are_found_by_their_beginning(void **state)
{
    (void)state;
    look("Name");
    const char *page = blank();
    (void)published("{'Name':'onerow'}");
    struct onerow_page_call *call = call_of(ONEROW_PAGE_BLANKS, NULL, NULL);
    call->title = OR_SPAN(ONEROW_BLANK_TITLE);
    assert_string_equal(run(call), "ok");
    assert_int_equal(call->n_found, 1);
    assert_memory_equal(call->found[0].id.data, page, 36);
    assert_memory_equal(call->found[0].title.data, ONEROW_BLANK_TITLE "ledger-1", 22);
}

static void other_spellings_of_a_key_are_read_all(void **state)
{
    (void)state;
    b.normalize = ONEROW_TRIM | ONEROW_CASEFOLD;
    look("Name");
    (void)notion_page("'Name':{'title':[{'text':{'content':'  Home '}}]}");
    (void)notion_page("'Name':{'title':[{'text':{'content':'else'}}]}");
    assert_int_equal(probed("{'Name':'HOME'}")->n_found, 2); /* the engine tells them apart */
    b.normalize = 0;
    look("Code:uuid");
    (void)notion_page("'Code':{'rich_text':[{'text':{'content':"
                      "'1F0C0000-0000-4000-8000-0000000000AA'}}]}");
    assert_int_equal(probed("{'Code':'1f0c0000-0000-4000-8000-0000000000aa'}")->n_found, 3);
    look("Name");
    assert_int_equal(probed("{'Name':'home'}")->n_found, 0); /* control: a filter misses them */
}

/* ---- reading back -------------------------------------------------------------------------------
 */

static void what_notion_returns_equals_what_was_written(void **state)
{
    static const char *const cases[] = {"'Code':''",
                                        "'Code':null",
                                        "'Code':'ä\\n𝒳'",
                                        "'Link':''",
                                        "'Mail':null",
                                        "'Score':0",
                                        "'Score':-1.5e3",
                                        "'Score':null",
                                        "'Kind':'other'",
                                        "'Kind':''",
                                        "'Tags':[]",
                                        "'Tags':['x','y','x']",
                                        "'Open':false",
                                        "'Open':null",
                                        "'State':'Done'",
                                        "'Day':'2024-02-29T10:00:00+05:30'",
                                        "'Day':{'start':'2024-01-01','end':'2024-02-01'}",
                                        "'Day':{'start':'2024-01-01T10:00:00.123Z','end':null}",
                                        "'Day':null",
                                        "'Day':''",
                                        "'Up':null",
                                        "'Who':[]"};
    char longest[4001];
    (void)state;
    look("Name");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *json = text(&b, "{'Name':'n%zu',%s}", i, cases[i]);
        if (!got(published(json), json)->same) {
            fail_msg("%s", json);
        }
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[4000] = '\0';
    const char *json = text(&b, "{'Name':'long','Code':'%s'}", longest);
    const char *page = published(json);
    assert_true(got(page, json)->same);
    longest[2000] = 'y';
    assert_false(got(page, text(&b, "{'Name':'long','Code':'%s'}", longest))->same);
}

static void what_differs_is_seen(void **state)
{
    static const char *const cases[] = {"'Score':24.51",
                                        "'Score':null",
                                        "'Kind':'work'",
                                        "'Kind':null",
                                        "'Tags':['a']",
                                        "'Tags':['a','c']",
                                        "'State':'Done'",
                                        "'Open':false",
                                        "'Day':'2024-03-01'",
                                        "'Day':null",
                                        "'Code':'X'",
                                        "'Code':null",
                                        "'Link':'https://a.b/'",
                                        "'Mail':null",
                                        "'Phone':'+2'",
                                        "'Day':{'start':'2024-02-29','end':'2024-03-01'}"};
    (void)state;
    look("Name");
    const char *page = published(HOME);
    assert_true(got(page, HOME)->same);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (got(page, text(&b, "{'Name':'HOME',%s}", cases[i]))->same) {
            fail_msg("%s", cases[i]);
        }
    }
}

static void relations_are_compared_as_ids(void **state)
{
    char ids[26 * 40] = "";
    char most[24 * 40] = "";
    (void)state;
    assert_int_equal(notion_look(NULL, NOTION_FIRST, "Name"), ONEROW_OK);
    for (size_t i = 0; i < 26; i++) {
        const char *other = published(text(&b, "{'Name':'o%zu'}", i));
        char *list = i < 23 ? most : ids;
        (void)list;
        strcat(strcat(strcat(strcat(ids, i ? "," : ""), "'"), other), "'");
        if (i == 22) {
            strcpy(most, ids);
        }
    }
    look("Name");
    const char *json = text(&b, "{'Name':'few','Up':[%s]}", most);
    assert_true(got(published(json), json)->same);
    /* A page shows 25 of them: what is beyond is not known to be the same. */
    json = text(&b, "{'Name':'many','Up':[%s]}", ids);
    assert_false(got(published(json), json)->same);
}

static void the_order_value_is_read(void **state)
{
    (void)state;
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "Score";
    look("Name");
    const struct onerow_page_call *is = got(published("{'Name':'a','Score':12.5}"), NULL);
    assert_int_equal(is->order.kind, ONEROW_NUMBER);
    assert_int_equal(is->order.len, 4);
    assert_memory_equal(is->order.data, "12.5", 4);
    b.table.spec.order_column = "Nothing";
    assert_contains(config_error(notion_look(NULL, NOTION_SOURCE, "Name")), "newest(Nothing)");
}

static void a_row_is_shown_in_plain_values(void **state)
{
    (void)state;
    look("Name");
    (void)published(HOME);
    const char *row = get(&b, "{'Name':'HOME'}");
    assert_contains(row, "\"Score\":24.5");
    assert_contains(row, "\"Tags\":[\"b\",\"a\"]");
    assert_contains(row, "\"Day\":\"2024-02-29\"");
    assert_contains(row, "\"Number\":1");
    assert_string_equal(get(&b, "{'Name':'home'}"), "ABSENT");
    assert_string_equal(get(&b, "{'Name':'NONE'}"), "ABSENT");
    notion_fault("query-failed", 9, "POST", "/v1/data_sources");
    assert_string_not_equal(get(&b, "{'Name':'NONE'}"), "ABSENT");
}

static void rows_are_found_by_notions_number(void **state)
{
    (void)state;
    look("Name");
    (void)published("{'Name':'first'}");
    (void)published("{'Name':'second'}");
    b.table.spec.only_look = true;
    look("Number");
    assert_contains(get(&b, "{'Number':2}"), "\"Name\":\"second\"");
    assert_contains(b.table.table->refusal, "numbered by Notion");
    b.table.spec.only_look = false;
}

static void count_twins(void *context, const struct onerow_twins *twins)
{
    (void)twins;
    ++*(size_t *)context;
}

static void an_audit_finds_twins(void **state)
{
    (void)state;
    look("Name");
    for (size_t i = 0; i < 120; i++) {
        (void)published(text(&b, "{'Name':'key %zu'}", i % 117));
    }
    (void)blank();
    const char *trashed = published("{'Name':'key 50'}");
    assert_string_equal(run(call_of(ONEROW_PAGE_TRASH, trashed, NULL)), "ok");
    assert_string_equal(audit(&b), "3 0");
    (void)notion_page("'Score':{'number':1}");
    assert_string_equal(audit(&b), "3 1");
    struct or_audit_counts counts;
    size_t told = 0;
    notion_fault("query-failed", 9, "POST", "/v1/data_sources");
    assert_int_equal(or_audit(&b.table, count_twins, &told, &counts, &b.error), ONEROW_UNAVAILABLE);
    assert_int_equal(told, 0);
}

/* One query gives 10,000 pages: the audit goes on behind them. */
static void an_audit_reads_beyond_ten_thousand(void **state)
{
    enum { ROWS = 10050, OUT = 40 };
    size_t over = 0;
    (void)state;
    look("Name");
    for (size_t sent = 0; over < ROWS;) {
        for (; sent < ROWS && sent - over < OUT; sent++) {
            struct onerow_page_call *call = call_of(
                ONEROW_PAGE_CREATE_KEYED, NULL, record(text(&b, "{'Name':'%zu'}", sent % 10040)));
            assert_int_equal(or_store_notion.pages->start(b.table.store, call, &b.error),
                             ONEROW_OK);
        }
        struct onerow_page_call *call = or_store_notion.pages->finish(b.table.store, 1000);
        if (call) {
            assert_int_equal(call->answer, ONEROW_PAGE_OK);
            if (++over % 2500 == 0) {
                (void)notion_say("POST", "/_sim/clock", "{'advance_ms':60000}");
            }
        }
    }
    notion_forget();
    assert_string_equal(audit(&b), "10 0");
    assert_true(notion_sent("POST", "/v1/data_sources") > 101);
}

static int start_virtual(void **state)
{
    static const char *const options[] = {"--clock", "virtual", NULL};
    (void)state;
    notion_start(options);
    return 0;
}

static void a_first_configuration_is_suggested(void **state)
{
    struct or_buffer yaml;
    (void)state;
    assert_int_equal(notion_open(NULL, NOTION_TOKEN), ONEROW_OK);
    or_buffer_init(&yaml);
    assert_int_equal(or_store_notion.suggest(b.table.store, "notion", NULL, &yaml, &b.error),
                     ONEROW_OK);
    assert_contains(or_buffer_cstr(&yaml),
                    "\"Areas\":\n    store: \"notion\"\n    location: \"" NOTION_SOURCE
                    "\"\n    key: [\"Name\"]\n");
    assert_contains(or_buffer_cstr(&yaml), NOTION_FIRST);
    or_buffer_clear(&yaml);
    assert_int_equal(
        or_store_notion.suggest(b.table.store, "notion", NOTION_DATABASE, &yaml, &b.error),
        ONEROW_OK);
    assert_contains(or_buffer_cstr(&yaml), NOTION_SOURCE);
    assert_null(strstr(or_buffer_cstr(&yaml), NOTION_FIRST));
    or_buffer_finish(&yaml);
}

static void there_is_no_statement_and_no_create_table(void **state)
{
    struct or_buffer sql;
    (void)state;
    look("Name");
    or_buffer_init(&sql);
    assert_int_equal(or_store_notion.statement(b.table.table, NULL, &sql, &b.error), ONEROW_CONFIG);
    assert_contains(b.error.text, "speaks no SQL");
    or_buffer_finish(&sql);
    assert_int_equal(
        or_store_notion.table_create(b.table.store, &b.table.spec, NULL, 0, NULL, &b.error),
        ONEROW_CONFIG);
    assert_contains(b.error.text, "makes no databases");
}

/* ---- trouble ----------------------------------------------------------------------------------
 */

struct trouble {
    const char *fault;
    const char *create, *publish, *write, *look; /* the answers */
};

static const struct trouble TROUBLES[] = {
    {"409", "conflict", "conflict", "conflict", NULL},
    {"row-limit", "refused", NULL, NULL, NULL},
    {"block-limit", "refused", NULL, NULL, NULL},
    {"503", "uncertain", "uncertain", "uncertain", "failed"},
    {"503-database", "uncertain", "uncertain", "uncertain", "failed"},
    {"500", "uncertain", "uncertain", "uncertain", "failed"},
    {"502", "uncertain", "uncertain", "uncertain", "failed"},
    {"504", "uncertain", "uncertain", "uncertain", "failed"},
    {"529", "rate", "rate", "rate", "rate"},
    {"html", "uncertain", "uncertain", "uncertain", "failed"},
    {"reset", "uncertain", "uncertain", "uncertain", "failed"},
    {"503-after-id", "ok", "uncertain", "uncertain", NULL},
    {"503-after", "uncertain", "uncertain", "uncertain", NULL},
    {"502-after", "uncertain", "uncertain", "uncertain", NULL},
    {"504-after", "uncertain", "uncertain", "uncertain", NULL},
    {"html-after", "uncertain", "uncertain", "uncertain", NULL},
    {"reset-after", "uncertain", "uncertain", "uncertain", NULL},
    {"429:7", "rate", "rate", "rate", "rate"},
    {"429-space:90", "rate", "rate", "rate", "rate"},
    {"429-endpoint:2", "rate", "rate", "rate", "rate"},
    {"429-blocked", "refused", "failed", "failed", "failed"},
    {"slow:900", "uncertain", "uncertain", "uncertain", "failed"},
};

static void meets(const struct trouble *trouble, enum onerow_page_do what, const char *page,
                  const char *wanted)
{
    static const char *const methods[] = {
        [ONEROW_PAGE_PROBE] = "POST",        [ONEROW_PAGE_CREATE] = "POST",
        [ONEROW_PAGE_CREATE_KEYED] = "POST", [ONEROW_PAGE_PUBLISH] = "PATCH",
        [ONEROW_PAGE_WRITE] = "PATCH",       [ONEROW_PAGE_GET] = "GET",
        [ONEROW_PAGE_RESTORE] = "PATCH",     [ONEROW_PAGE_TRASH] = "PATCH",
        [ONEROW_PAGE_MOVE_KEY] = "PATCH",    [ONEROW_PAGE_BLANKS] = "POST"};
    if (!wanted) {
        return;
    }
    struct onerow_page_call *call = call_of(what, page, record("{'Name':'HOME','Score':3}"));
    bool slow = strncmp(trouble->fault, "slow", 4) == 0;
    call->timeout_ms = slow ? 300 : 5000;
    const char *path =
        what == ONEROW_PAGE_PROBE || what == ONEROW_PAGE_BLANKS ? "/v1/data_sources" : "/v1/pages";
    notion_fault(trouble->fault, 1, methods[what], path);
    uint64_t before = notion_requests();
    const char *answer = run(call);
    if (strcmp(answer, wanted) != 0) {
        fail_msg("%s, %s: %s instead of %s: %s", or_notion_operation(what), trouble->fault, answer,
                 wanted, call->reason ? call->reason : "");
    }
    if (strcmp(answer, "ok") != 0) { /* the reason says what was done, and what came of it */
        assert_non_null(call->reason);
        assert_contains(call->reason, or_notion_operation(what));
        assert_null(strchr(call->reason, '\n'));
        assert_null(strstr(call->reason, NOTION_TOKEN));
    }
    const char *seconds = strchr(trouble->fault, ':');
    if (strcmp(answer, "rate") == 0) {
        assert_int_equal(call->retry_after_ms,
                         1000U * (seconds ? strtoul(seconds + 1, NULL, 10) : 1));
    }
    if (strcmp(wanted, "ok") == 0) {
        assert_int_equal(call->made.len, 36);
    }
    assert_int_equal(parts, 1);
    assert_int_equal(notion_requests(), before + 1); /* never twice */
}

static void every_trouble_has_its_answer(void **state)
{
    (void)state;
    look("Name");
    const char *page = published(HOME);
    for (size_t i = 0; i < sizeof TROUBLES / sizeof *TROUBLES; i++) {
        const struct trouble *trouble = &TROUBLES[i];
        meets(trouble, ONEROW_PAGE_CREATE, NULL, trouble->create);
        meets(trouble, ONEROW_PAGE_CREATE_KEYED, NULL, trouble->create);
        meets(trouble, ONEROW_PAGE_PUBLISH, page, trouble->publish);
        meets(trouble, ONEROW_PAGE_WRITE, page, trouble->write);
        meets(trouble, ONEROW_PAGE_MOVE_KEY, page, trouble->write);
        meets(trouble, ONEROW_PAGE_TRASH, page, trouble->write);
        meets(trouble, ONEROW_PAGE_RESTORE, page, trouble->write);
        meets(trouble, ONEROW_PAGE_GET, page, trouble->look);
        meets(trouble, ONEROW_PAGE_PROBE, NULL, trouble->look);
        meets(trouble, ONEROW_PAGE_BLANKS, NULL, trouble->look);
    }
}

static void an_incomplete_answer_is_none(void **state)
{
    (void)state;
    look("Name");
    for (size_t i = 0; i < 150; i++) {
        (void)notion_page("'Name':{'title':[{'text':{'content':'twin'}}]}");
    }
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, record("{'Name':'twin'}"));
    notion_fault("incomplete", 1, "POST", "/v1/data_sources");
    assert_string_equal(run(call), "failed");
    assert_contains(call->reason, "not complete");
    notion_fault("query-failed", 1, "POST", "/v1/data_sources");
    assert_string_equal(run(call), "failed");
    /* The second page of results fails: so has the look-up. */
    (void)notion_say("POST", "/_sim/faults",
                     "{'next':[{'fault':'500','times':1,'skip':1,'method':'POST',"
                     "'path':'/v1/data_sources'}]}");
    assert_string_equal(run(call), "failed");
    assert_int_equal(parts, 2);
    assert_string_equal(run(call), "ok");
    assert_int_equal(call->n_found, 150);
}

static void a_look_at_children_that_fails_is_no_answer(void **state)
{
    (void)state;
    look("Name");
    (void)published("{'Name':'twin'}");
    (void)published("{'Name':'twin'}");
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, record("{'Name':'twin'}"));
    notion_fault("500", 1, "GET", "/v1/blocks");
    assert_string_equal(run(call), "failed");
    notion_fault("429:3", 1, "GET", "/v1/blocks");
    assert_string_equal(run(call), "rate");
    assert_int_equal(call->retry_after_ms, 3000);
}

static void a_page_that_cannot_be_edited_says_why(void **state)
{
    (void)state;
    look("Name");
    const char *page = published(HOME);
    notion_person(page, "trash", NULL);
    assert_string_equal(run(call_of(ONEROW_PAGE_WRITE, page, record(HOME))), "trashed");
    assert_string_equal(run(call_of(ONEROW_PAGE_PUBLISH, page, record(HOME))), "trashed");
    assert_true(got(page, HOME)->in_trash); /* publishing does not take it out */
    notion_person(page, "purge", NULL);
    assert_string_equal(run(call_of(ONEROW_PAGE_WRITE, page, record(HOME))), "not found");
    assert_string_equal(run(call_of(ONEROW_PAGE_GET, page, NULL)), "not found");
    assert_string_equal(run(call_of(ONEROW_PAGE_RESTORE, page, NULL)), "not found");
    notion_forget();
    struct onerow_page_call *call = call_of(ONEROW_PAGE_WRITE, "../users/me", record(HOME));
    assert_string_equal(run(call), "refused");
    assert_contains(call->reason, "no id of Notion");
    assert_int_equal(notion_sent("PATCH", ""), 0);
}

static void an_unshared_database_proves_nothing(void **state)
{
    (void)state;
    look("Name");
    notion_person(NOTION_DATABASE, "unshare", NULL);
    notion_person(NOTION_SOURCE, "unshare", NULL);
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, record(HOME));
    assert_string_equal(run(call), "failed");
    assert_contains(call->reason, "object_not_found");
    assert_string_equal(run(call_of(ONEROW_PAGE_CREATE, NULL, NULL)), "refused");
    assert_string_not_equal(get(&b, "{'Name':'HOME'}"), "ABSENT");
}

static void a_token_that_may_only_read_is_told_so(void **state)
{
    (void)state;
    look("Name");
    const char *page = published(HOME);
    assert_int_equal(notion_open(NULL, "readonly"), ONEROW_OK);
    assert_int_equal(bench_look(&b, NOTION_SOURCE, "Name"), ONEROW_OK);
    struct onerow_page_call *call = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
    assert_string_equal(run(call), "refused");
    assert_contains(call->reason, "restricted_resource");
    /* An edit hangs on the token, not on the values: another writer may do it. */
    assert_string_equal(run(call_of(ONEROW_PAGE_WRITE, page, record(HOME))), "failed");
}

static void a_second_data_source_is_told_clearly(void **state)
{
    (void)state;
    assert_int_equal(notion_look("2022-06-28", NOTION_SOURCE, "Name"), ONEROW_OK);
    (void)notion_say("POST", "/v1/data_sources",
                     "{'parent':{'type':'database_id','database_id':'" NOTION_DATABASE
                     "'},'title':[],'properties':{'Name':{'title':{}}}}");
    struct onerow_page_call *call = call_of(ONEROW_PAGE_PROBE, NULL, record(HOME));
    assert_string_equal(run(call), "failed");
    assert_contains(call->reason, "set `version: 2025-09-03`");
    call = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
    assert_string_equal(run(call), "refused");
    assert_contains(call->reason, "second data source");
}

static void what_the_schema_no_longer_has_is_refused(void **state)
{
    (void)state;
    look("Name");
    const char *page = published(HOME);
    struct onerow_record *r = record("{'Name':'HOME','Score':4}");
    (void)notion_say("PATCH", "/v1/data_sources/" NOTION_SOURCE, "{'properties':{'Score':null}}");
    struct onerow_page_call *call = call_of(ONEROW_PAGE_WRITE, page, r);
    assert_string_equal(run(call), "refused");
    assert_contains(call->reason, "validation_error");
    assert_contains(call->reason, "(request ");
}

static void opening_waits_for_a_busy_notion(void **state)
{
    (void)state;
    notion_fault("429:1", 1, "GET", "/v1/data_sources");
    notion_fault("502", 1, "GET", "/v1/users");
    notion_forget();
    assert_int_equal(notion_look(NULL, NOTION_SOURCE, "Name"), ONEROW_OK);
    assert_int_equal(notion_sent("GET", "/v1/data_sources"), 2);
    assert_contains(notion_say("GET", "/_sim/state", NULL), "\"inside_retry_after\":{\"count\":0");
    notion_fault("429:600", 1, "GET", "/v1/data_sources");
    assert_int_equal(notion_look(NULL, NOTION_SOURCE, "Name"), ONEROW_UNAVAILABLE);
    assert_contains(b.error.text, "429 rate_limited");
}

/* ---- many at a time ---------------------------------------------------------------------------
 */

static void many_requests_are_out_at_a_time(void **state)
{
    enum { MANY = 60 };
    struct onerow_page_call *calls[MANY];
    (void)state;
    look("Name");
    notion_fault("slow:300", MANY, "POST", "/v1/pages");
    for (size_t i = 0; i < MANY; i++) {
        calls[i] = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
        assert_int_equal(or_store_notion.pages->start(b.table.store, calls[i], &b.error),
                         ONEROW_OK);
    }
    for (size_t i = 0; i < MANY; i++) {
        struct onerow_page_call *over = NULL;
        while (!over) {
            over = or_store_notion.pages->finish(b.table.store, 100);
        }
        assert_int_equal(over->answer, ONEROW_PAGE_OK);
        over->answer = ONEROW_PAGE_FAILED; /* comes once */
    }
    assert_null(or_store_notion.pages->finish(b.table.store, 0));
    assert_int_equal(notion_sent("POST", "/v1/pages"), MANY);
}

static void questions_and_requests_do_not_disturb_each_other(void **state)
{
    (void)state;
    look("Name");
    (void)published(HOME);
    struct onerow_page_call *call = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
    assert_int_equal(or_store_notion.pages->start(b.table.store, call, &b.error), ONEROW_OK);
    assert_contains(get(&b, "{'Name':'HOME'}"), "\"Name\":\"HOME\"");
    struct onerow_page_call *over = NULL;
    while (!over) {
        over = or_store_notion.pages->finish(b.table.store, 100);
    }
    assert_ptr_equal(over, call);
    assert_int_equal(call->answer, ONEROW_PAGE_OK);
    call = call_of(ONEROW_PAGE_CREATE, NULL, NULL); /* closed while it is out */
    assert_int_equal(or_store_notion.pages->start(b.table.store, call, &b.error), ONEROW_OK);
    bench_close(&b);
}

static void lines_keep_conflicts_apart(void **state)
{
    uint64_t (*line)(const struct onerow_page_call *) = or_store_notion.pages->line;
    (void)state;
    look("Name");
    const struct onerow_record *r = record(HOME);
    uint64_t create = line(call_of(ONEROW_PAGE_CREATE, NULL, NULL));
    uint64_t one = line(call_of(ONEROW_PAGE_WRITE, NOTION_FIRST, r));
    assert_true(create && one && create != one);
    assert_true(create == line(call_of(ONEROW_PAGE_CREATE_KEYED, NULL, r)));
    assert_true(one == line(call_of(ONEROW_PAGE_PUBLISH, NOTION_FIRST, r)));
    assert_true(one == line(call_of(ONEROW_PAGE_TRASH, NOTION_FIRST, NULL)));
    assert_true(one != line(call_of(ONEROW_PAGE_WRITE, NOTION_SEVERAL, r)));
    assert_true(line(call_of(ONEROW_PAGE_PROBE, NULL, r)) == 0);
    assert_true(line(call_of(ONEROW_PAGE_GET, NOTION_FIRST, NULL)) == 0);
    assert_int_equal(notion_look(NULL, NOTION_FIRST, "Name"), ONEROW_OK);
    assert_true(create != line(call_of(ONEROW_PAGE_CREATE, NULL, NULL)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_needed_and_never_shown),
        TEST(an_account_is_named_without_its_token),
        TEST(only_notion_and_this_machine_get_the_token),
        TEST(a_table_has_one_name_for_itself),
        TEST(a_place_that_does_not_do_is_named),
        TEST(a_key_that_cannot_be_kept_is_refused),
        TEST(columns_are_what_the_schema_says),
        TEST(a_blank_is_published_and_found_under_every_version),
        TEST(a_create_with_the_key_tells_everything),
        TEST(publishing_clears_the_blanks_title),
        TEST(a_write_leaves_the_key_and_other_columns_alone),
        TEST(a_key_of_any_kind_is_found),
        TEST(a_key_with_nothing_in_it_is_not_a_blanks),
        TEST(a_hundred_keys_are_one_request),
        TEST(long_keys_take_several_requests),
        TEST(every_page_of_the_results_is_read),
        TEST(of_twins_it_is_known_what_hangs_on_them),
        TEST(relations_count_as_something_that_hangs_on_it),
        TEST(what_a_person_edited_is_told),
        TEST(blanks_are_found_by_their_beginning),
        TEST(other_spellings_of_a_key_are_read_all),
        TEST(what_notion_returns_equals_what_was_written),
        TEST(what_differs_is_seen),
        TEST(relations_are_compared_as_ids),
        TEST(the_order_value_is_read),
        TEST(a_row_is_shown_in_plain_values),
        TEST(rows_are_found_by_notions_number),
        TEST(an_audit_finds_twins),
        cmocka_unit_test_setup_teardown(an_audit_reads_beyond_ten_thousand, start_virtual, stop),
        TEST(a_first_configuration_is_suggested),
        TEST(there_is_no_statement_and_no_create_table),
        TEST(every_trouble_has_its_answer),
        TEST(an_incomplete_answer_is_none),
        TEST(a_look_at_children_that_fails_is_no_answer),
        TEST(a_page_that_cannot_be_edited_says_why),
        TEST(an_unshared_database_proves_nothing),
        TEST(a_token_that_may_only_read_is_told_so),
        TEST(a_second_data_source_is_told_clearly),
        TEST(what_the_schema_no_longer_has_is_refused),
        TEST(opening_waits_for_a_busy_notion),
        TEST(many_requests_are_out_at_a_time),
        TEST(questions_and_requests_do_not_disturb_each_other),
        TEST(lines_keep_conflicts_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
