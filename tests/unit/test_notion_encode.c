/* SPDX-License-Identifier: Apache-2.0
 *
 * From values to Notion's structures, and every limit of it, without a server: a table made by
 * hand.
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
#include "store/store_notion.h"
#include "tests/support/bench.h"

static struct bench bench;
static struct or_notion_store store;
static struct or_notion_table table;

static const enum or_notion_type TYPES[] = {
    OR_NOTION_TITLE,   OR_NOTION_RICH_TEXT, OR_NOTION_URL,    OR_NOTION_EMAIL,
    OR_NOTION_PHONE,   OR_NOTION_NUMBER,    OR_NOTION_SELECT, OR_NOTION_MULTI_SELECT,
    OR_NOTION_STATUS,  OR_NOTION_CHECKBOX,  OR_NOTION_DATE,   OR_NOTION_PEOPLE,
    OR_NOTION_FORMULA,
};
#define N (sizeof TYPES / sizeof *TYPES)

static struct onerow_column columns[N];
static struct or_notion_property properties[N];
static const char *options[] = {"Active", "Done"};

/* Columns are called as their types; the title is the key. */
static int start(void **state)
{
    (void)state;
    static const struct onerow_key_column key = {.name = "title"};
    bench_start(&bench);
    store = (struct or_notion_store){.version = OR_NOTION_2025};
    for (size_t i = 0; i < N; i++) {
        const struct or_notion_trait *trait = or_notion_trait(TYPES[i]);
        columns[i] = (struct onerow_column){
            .name = trait->name, .declared = trait->name, .not_writable = trait->not_writable};
        properties[i] = (struct or_notion_property){.type = TYPES[i]};
    }
    properties[8].options = options;
    properties[8].n_options = 2;
    table =
        (struct or_notion_table){.base = {.store = &store.base, .columns = columns, .n_columns = N},
                                 .spec = {.name = "t", .key = &key, .n_key = 1},
                                 .columns = columns,
                                 .properties = properties,
                                 .source = "1f0c0000-0000-4000-8000-0000000000aa",
                                 .database = "1f0c0000-0000-4000-8000-0000000000bb"};
    table.base.key_types[0] = ONEROW_TYPE_TEXT;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bench_stop(&bench);
    return 0;
}

static struct onerow_value value(enum or_notion_type type, enum onerow_kind kind, const char *data)
{
    uint16_t column = 0;
    while (TYPES[column] != type) {
        column++;
    }
    return (struct onerow_value){.data = data,
                                 .len = data ? (uint32_t)strlen(data) : 0,
                                 .column = column,
                                 .kind = (uint8_t)kind};
}

/* The structure of one value; or, behind "! ", why it is refused. */
static const char *encoded(enum or_notion_type type, enum onerow_kind kind, const char *data)
{
    struct onerow_value of = value(type, kind, data);
    struct or_buffer json;
    const char *reason = NULL;
    or_buffer_init(&json);
    bool good = or_notion_encode_value(&table, &of, &json, &bench.arena, &reason);
    const char *shown =
        good ? text(&bench, "%s", or_buffer_cstr(&json) + strlen(columns[of.column].name) + 3)
             : text(&bench, "! %s", reason);
    or_buffer_finish(&json);
    return shown;
}

static const char *repeated(const char *what, size_t n)
{
    size_t len = strlen(what);
    char *all = or_arena_bytes(&bench.arena, n * len + 1);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++) {
        memcpy(all + i * len, what, len);
    }
    all[n * len] = '\0';
    return all;
}

/* ---- structures ---------------------------------------------------------------------------- */

static void every_type_has_its_structure(void **state)
{
    static const struct {
        enum or_notion_type type;
        enum onerow_kind kind;
        const char *given, *wanted;
    } cases[] = {
        {OR_NOTION_TITLE, ONEROW_TEXT, "a\"b",
         "{\"title\":[{\"type\":\"text\",\"text\":{\"content\":\"a\\\"b\"}}]}"},
        {OR_NOTION_RICH_TEXT, ONEROW_TEXT, "", "{\"rich_text\":[]}"},
        {OR_NOTION_RICH_TEXT, ONEROW_NULL, NULL, "{\"rich_text\":[]}"},
        {OR_NOTION_URL, ONEROW_TEXT, "https://x", "{\"url\":\"https://x\"}"},
        {OR_NOTION_URL, ONEROW_TEXT, "", "{\"url\":null}"},
        {OR_NOTION_EMAIL, ONEROW_UNTYPED, "", "{\"email\":null}"},
        {OR_NOTION_PHONE, ONEROW_NULL, NULL, "{\"phone_number\":null}"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "24.50", "{\"number\":24.5}"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "-0.0", "{\"number\":0}"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "1e2", "{\"number\":100}"},
        {OR_NOTION_NUMBER, ONEROW_UNTYPED, "007", "{\"number\":7}"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "9007199254740992", "{\"number\":9007199254740992}"},
        {OR_NOTION_NUMBER, ONEROW_NULL, NULL, "{\"number\":null}"},
        {OR_NOTION_SELECT, ONEROW_TEXT, "a b", "{\"select\":{\"name\":\"a b\"}}"},
        {OR_NOTION_SELECT, ONEROW_TEXT, "", "{\"select\":null}"},
        {OR_NOTION_STATUS, ONEROW_TEXT, "Done", "{\"status\":{\"name\":\"Done\"}}"},
        {OR_NOTION_STATUS, ONEROW_NULL, NULL, "{\"status\":null}"},
        {OR_NOTION_MULTI_SELECT, ONEROW_JSON, "[\"a\",\"b\",\"a\"]",
         "{\"multi_select\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"},
        {OR_NOTION_MULTI_SELECT, ONEROW_UNTYPED, "a, b,,a",
         "{\"multi_select\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"},
        {OR_NOTION_MULTI_SELECT, ONEROW_TEXT, "a", "{\"multi_select\":[{\"name\":\"a\"}]}"},
        {OR_NOTION_MULTI_SELECT, ONEROW_NULL, NULL, "{\"multi_select\":[]}"},
        {OR_NOTION_CHECKBOX, ONEROW_BOOL, "true", "{\"checkbox\":true}"},
        {OR_NOTION_CHECKBOX, ONEROW_UNTYPED, "Yes", "{\"checkbox\":true}"},
        {OR_NOTION_CHECKBOX, ONEROW_UNTYPED, "0", "{\"checkbox\":false}"},
        {OR_NOTION_CHECKBOX, ONEROW_NULL, NULL, "{\"checkbox\":false}"},
        {OR_NOTION_DATE, ONEROW_TEXT, "2024-02-29", "{\"date\":{\"start\":\"2024-02-29\"}}"},
        {OR_NOTION_DATE, ONEROW_TEXT, "2024-02-29 12:00+02",
         "{\"date\":{\"start\":\"2024-02-29T10:00:00Z\"}}"},
        {OR_NOTION_DATE, ONEROW_JSON, "{\"end\":\"2024-03-01\",\"start\":\"2024-02-29\"}",
         "{\"date\":{\"start\":\"2024-02-29\",\"end\":\"2024-03-01\"}}"},
        {OR_NOTION_DATE, ONEROW_JSON,
         "{\"start\":\"2024-02-29T12:00\",\"time_zone\":\"Europe/Berlin\"}",
         "{\"date\":{\"start\":\"2024-02-29T12:00:00\",\"end\":null,\"time_zone\":\"Europe/"
         "Berlin\"}}"},
        {OR_NOTION_DATE, ONEROW_UNTYPED, "", "{\"date\":null}"},
        {OR_NOTION_PEOPLE, ONEROW_UNTYPED,
         "1F0C0000000040008000"
         "0000000000AA,1f0c0000-0000-4000-8000-0000000000aa",
         "{\"people\":[{\"id\":\"1f0c0000-0000-4000-8000-0000000000aa\"}]}"},
        {OR_NOTION_PEOPLE, ONEROW_JSON, "[]", "{\"people\":[]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(encoded(cases[i].type, cases[i].kind, cases[i].given), cases[i].wanted);
    }
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    static const struct {
        enum or_notion_type type;
        enum onerow_kind kind;
        const char *given, *why;
    } cases[] = {
        {OR_NOTION_RICH_TEXT, ONEROW_NUMBER, "5", "is a number"},
        {OR_NOTION_RICH_TEXT, ONEROW_JSON, "{}", "is a JSON object or array"},
        {OR_NOTION_TITLE, ONEROW_TEXT, ONEROW_BLANK_TITLE "x", "the protocol's own"},
        {OR_NOTION_TITLE, ONEROW_TEXT, ONEROW_MOVED_TITLE, "the protocol's own"},
        {OR_NOTION_URL, ONEROW_BOOL, "true", "is true or false"},
        {OR_NOTION_NUMBER, ONEROW_TEXT, "5", "is text"},
        {OR_NOTION_NUMBER, ONEROW_UNTYPED, "1,5", "does not fit"},
        {OR_NOTION_NUMBER, ONEROW_UNTYPED, "0x10", "does not fit"},
        {OR_NOTION_NUMBER, ONEROW_UNTYPED, "inf", "does not fit"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "9007199254740993", "exactly"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "1e999", "exactly"},
        {OR_NOTION_NUMBER, ONEROW_NUMBER, "0.1234567890123456789", "exactly"},
        {OR_NOTION_SELECT, ONEROW_TEXT, "a,b", "comma"},
        {OR_NOTION_SELECT, ONEROW_NUMBER, "1", "is a number"},
        {OR_NOTION_STATUS, ONEROW_TEXT, "Paused", "(\"Active\", \"Done\")"},
        {OR_NOTION_MULTI_SELECT, ONEROW_JSON, "[1]", "list of texts"},
        {OR_NOTION_MULTI_SELECT, ONEROW_JSON, "{\"a\":1}", "is a JSON object"},
        {OR_NOTION_MULTI_SELECT, ONEROW_JSON, "[\"\"]", "without a name"},
        {OR_NOTION_MULTI_SELECT, ONEROW_JSON, "[\"a,b\"]", "comma"},
        {OR_NOTION_MULTI_SELECT, ONEROW_UNTYPED, "[\"a\"", "does not fit"},
        {OR_NOTION_CHECKBOX, ONEROW_TEXT, "true", "is text"},
        {OR_NOTION_CHECKBOX, ONEROW_NUMBER, "1", "is a number"},
        {OR_NOTION_CHECKBOX, ONEROW_UNTYPED, "x", "does not fit"},
        {OR_NOTION_DATE, ONEROW_TEXT, "29.2.2024", "is no date"},
        {OR_NOTION_DATE, ONEROW_TEXT, "2023-02-29", "is no date"},
        {OR_NOTION_DATE, ONEROW_TEXT, "2024-02-29T12:00:00.1234Z", "finer than a millisecond"},
        {OR_NOTION_DATE, ONEROW_JSON, "{\"start\":null}", "is a JSON object"},
        {OR_NOTION_DATE, ONEROW_JSON, "{\"start\":\"2024-02-29\",\"stop\":1}", "other parts"},
        {OR_NOTION_DATE, ONEROW_JSON, "{\"start\":\"2024-02-29\",\"start\":\"2024-02-28\"}",
         "other parts"},
        {OR_NOTION_DATE, ONEROW_JSON, "[]", "other parts"},
        {OR_NOTION_PEOPLE, ONEROW_TEXT, "me", "no id of Notion"},
        {OR_NOTION_FORMULA, ONEROW_TEXT, "x", "cannot be written"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = encoded(cases[i].type, cases[i].kind, cases[i].given);
        assert_contains(got, text(&bench, "! \"%s\" ", or_notion_trait(cases[i].type)->name));
        assert_contains(got, cases[i].why);
    }
}

static void limits_are_counted_as_notion_counts(void **state)
{
    static const struct {
        enum or_notion_type type;
        size_t units;
        const char *why;
    } cases[] = {
        {OR_NOTION_TITLE, 200000, "200001 characters"},
        {OR_NOTION_RICH_TEXT, 200000, "200001 characters"},
        {OR_NOTION_URL, 2000, "2001 characters"},
        {OR_NOTION_EMAIL, 200, "201 characters"},
        {OR_NOTION_PHONE, 200, "201 characters"},
        {OR_NOTION_SELECT, 100, "101 characters"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t most = cases[i].units;
        assert_int_not_equal(encoded(cases[i].type, ONEROW_TEXT, repeated("x", most))[0], '!');
        assert_int_not_equal(encoded(cases[i].type, ONEROW_TEXT, repeated("ä", most))[0], '!');
        assert_int_not_equal(encoded(cases[i].type, ONEROW_TEXT, repeated("𝒳", most / 2))[0], '!');
        assert_contains(encoded(cases[i].type, ONEROW_TEXT, repeated("x", most + 1)), cases[i].why);
        assert_int_equal(encoded(cases[i].type, ONEROW_TEXT, repeated("𝒳", most / 2 + 1))[0], '!');
    }
    struct or_buffer list;
    or_buffer_init(&list);
    for (unsigned i = 0; i < 101; i++) {
        or_buffer_printf(&list, "%so%u", i ? "," : "", i);
    }
    assert_contains(encoded(OR_NOTION_MULTI_SELECT, ONEROW_UNTYPED, or_buffer_cstr(&list)),
                    "more than 100");
    list.data[list.len - sizeof ",o100" + 1] = '\0';
    assert_int_not_equal(encoded(OR_NOTION_MULTI_SELECT, ONEROW_UNTYPED, list.data)[0], '!');
    or_buffer_finish(&list);
}

/* Each run is as long as may be, and no character is cut in two. */
static void long_text_becomes_runs(void **state)
{
    static const char *const characters[] = {"x", "ä", "€", "𝒳"};
    (void)state;
    for (size_t c = 0; c < 4; c++) {
        for (size_t n = 1990; n < 4010; n += 7) {
            const char *given = text(&bench, "x%s", repeated(characters[c], n));
            const char *json = encoded(OR_NOTION_TITLE, ONEROW_TEXT, given);
            yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
            yyjson_val *runs = yyjson_obj_get(yyjson_doc_get_root(doc), "title");
            yyjson_val *run;
            size_t i;
            size_t max;
            assert_non_null(doc);
            yyjson_arr_foreach(runs, i, max, run)
            {
                yyjson_val *part = yyjson_obj_get(yyjson_obj_get(run, "text"), "content");
                size_t units = or_notion_units(or_notion_span(part));
                assert_true(or_utf8_valid(or_notion_span(part), NULL));
                assert_true(units <= 2000 && (i + 1 == max || units >= 1999));
            }
            struct onerow_span whole = or_notion_plain(runs, &bench.arena);
            assert_true(or_span_is(whole, given));
            yyjson_doc_free(doc);
        }
    }
}

/* ---- records ----------------------------------------------------------------------------------
 */

static const char *payload(const struct onerow_value *values, size_t n)
{
    const struct onerow_record record = {.values = values, .n_values = (uint16_t)n};
    struct onerow_span made = {0};
    const char *reason = NULL;
    enum onerow_status status =
        or_notion_encode(&table.base, &record, &bench.arena, &made, &reason, &bench.error);
    assert_true(status == ONEROW_OK || (status == ONEROW_REJECTED && reason));
    return status == ONEROW_OK ? made.data : text(&bench, "! %s", reason);
}

static void a_payload_is_all_but_the_key(void **state)
{
    (void)state;
    struct onerow_value values[] = {value(OR_NOTION_TITLE, ONEROW_TEXT, "HOME"),
                                    value(OR_NOTION_URL, ONEROW_TEXT, "u"),
                                    value(OR_NOTION_NUMBER, ONEROW_NUMBER, "1.50")};
    assert_string_equal(payload(values, 1), "{}");
    assert_string_equal(payload(values, 3),
                        "{\"url\":{\"url\":\"u\"},\"number\":{\"number\":1.5}}");
    struct onerow_value same[] = {value(OR_NOTION_TITLE, ONEROW_TEXT, "ELSE"),
                                  value(OR_NOTION_URL, ONEROW_UNTYPED, "u"),
                                  value(OR_NOTION_NUMBER, ONEROW_UNTYPED, "15e-1")};
    assert_string_equal(payload(same, 3), payload(values, 3));
}

static void a_key_must_be_findable(void **state)
{
    (void)state;
    struct onerow_value empty = value(OR_NOTION_TITLE, ONEROW_TEXT, "");
    struct onerow_value lengthy = value(OR_NOTION_TITLE, ONEROW_TEXT, repeated("x", 2001));
    struct onerow_value blank = value(OR_NOTION_TITLE, ONEROW_TEXT, ONEROW_BLANK_TITLE "1");
    assert_contains(payload(&empty, 1), "! key column \"title\" is empty");
    assert_contains(payload(&lengthy, 1), "longer than 2000 characters");
    assert_contains(payload(&blank, 1), "the protocol's own");
}

static void a_record_has_room_in_a_request(void **state)
{
    (void)state;
    struct onerow_value values[] = {value(OR_NOTION_TITLE, ONEROW_TEXT, "HOME"),
                                    value(OR_NOTION_RICH_TEXT, ONEROW_TEXT, repeated("€", 199999))};
    assert_contains(payload(values, 2), "Notion takes 500 KB");
}

/* ---- filters
 * ------------------------------------------------------------------------------------- */

static const char *filter_of(const struct onerow_record *const *keys, size_t n, size_t *to)
{
    struct or_buffer json;
    or_buffer_init(&json);
    *to = or_notion_filter(&table, keys, 0, n, &json);
    const char *copy = text(&bench, "%s", or_buffer_cstr(&json));
    or_buffer_finish(&json);
    return copy;
}

static void keys_become_filters(void **state)
{
    static const struct onerow_key_column two[] = {{.name = "title"}, {.name = "number"}};
    (void)state;
    struct onerow_value a[] = {value(OR_NOTION_TITLE, ONEROW_TEXT, "a\""),
                               value(OR_NOTION_NUMBER, ONEROW_NUMBER, "1.5")};
    struct onerow_value c[] = {value(OR_NOTION_TITLE, ONEROW_TEXT, "b"),
                               value(OR_NOTION_NUMBER, ONEROW_NULL, NULL)};
    const struct onerow_record first = {.values = a, .n_values = 2};
    const struct onerow_record second = {.values = c, .n_values = 2};
    const struct onerow_record *keys[] = {&first, &second};
    size_t to = 0;
    assert_string_equal(filter_of(keys, 1, &to),
                        "\"filter\":{\"property\":\"title\",\"title\":{\"equals\":\"a\\\"\"}},");
    assert_int_equal(to, 1);
    table.spec.key = two;
    table.spec.n_key = 2;
    table.base.key[1] = a[1].column;
    assert_string_equal(
        filter_of(keys, 2, &to),
        "\"filter\":{\"or\":[{\"and\":[{\"property\":\"title\",\"title\":{\"equals\":\"a\\\"\"}},"
        "{\"property\":\"number\",\"number\":{\"equals\":1.5}}]},"
        "{\"and\":[{\"property\":\"title\",\"title\":{\"equals\":\"b\"}},"
        "{\"property\":\"number\",\"number\":{\"is_empty\":true}}]}]},");
    assert_int_equal(to, 2);
    table.scan = true;
    assert_string_equal(filter_of(keys, 2, &to), "");
    assert_int_equal(to, 2);
}

static void a_filter_fits_a_request(void **state)
{
    struct onerow_value values[100];
    struct onerow_record records[100];
    const struct onerow_record *keys[100];
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        values[i] = value(OR_NOTION_TITLE, ONEROW_TEXT, repeated("\1", 2000));
        records[i] = (struct onerow_record){.values = &values[i], .n_values = 1};
        keys[i] = &records[i];
    }
    for (size_t from = 0, to = 0; from < 100; from = to) {
        struct or_buffer json;
        or_buffer_init(&json);
        to = or_notion_filter(&table, keys, from, 100, &json);
        assert_true(to > from && json.len < OR_NOTION_BODY_MAX - 1000);
        or_buffer_finish(&json);
    }
}

/* ---- ids
 * ------------------------------------------------------------------------------------------ */

static void ids_come_in_many_spellings(void **state)
{
    static const char *const good[] = {
        "1f0c0000-0000-4000-8000-0000000000aa",
        " 1F0C00000000400080000000000000AA\n",
        "https://www.notion.so/1f0c00000000400080000000000000aa",
        "https://www.notion.so/x/"
        "A-b-1f0c00000000400080000000000000aa?v=ffffffffffffffffffffffffffffffff",
        "https://x.notion.site/A-1f0c00000000400080000000000000aa#b",
        "notion://www.notion.so/A-1f0c0000-0000-4000-8000-0000000000aa",
        "collection://1f0c0000-0000-4000-8000-0000000000aa"};
    static const char *const bad[] = {"",
                                      "Areas",
                                      "1f0c0000000040008000000000000",
                                      "1f0c0000-0000-4000-8000-0000000000ag",
                                      "https://www.notion.so/",
                                      "https://www.notion.so/?v=1f0c00000000400080000000000000aa",
                                      "https://www.notion.so/x1f0c00000000400080000000000000aa",
                                      "x-1f0c00000000400080000000000000aa",
                                      "1f0c00000000400080000000000000aa/x"};
    char id[OR_NOTION_ID];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(or_notion_id(or_span(good[i]), id));
        assert_string_equal(id, "1f0c0000-0000-4000-8000-0000000000aa");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (or_notion_id(or_span(bad[i]), id)) {
            fail_msg("%s: %s", bad[i], id);
        }
    }
    assert_false(or_notion_id((struct onerow_span){0}, id));
}

/* ---- what Notion returns
 * -------------------------------------------------------------------------- */

static const char *shown(const char *property)
{
    struct onerow_value of;
    yyjson_doc *doc = yyjson_read(property, strlen(property), YYJSON_READ_NUMBER_AS_RAW);
    assert_non_null(doc);
    assert_true(or_notion_value(yyjson_doc_get_root(doc), &bench.arena, &of));
    const char *copy = text(&bench, "%u:%.*s", of.kind, (int)of.len, of.data ? of.data : "");
    yyjson_doc_free(doc);
    return copy;
}

static void properties_become_plain_values(void **state)
{
    (void)state;
    assert_string_equal(shown("{\"type\":\"title\",\"title\":[{\"plain_text\":\"a\"},"
                              "{\"plain_text\":\"b\"}]}"),
                        "3:ab");
    assert_string_equal(shown("{\"type\":\"rich_text\",\"rich_text\":[]}"), "0:");
    assert_string_equal(shown("{\"type\":\"number\",\"number\":1.50}"), "2:1.50");
    assert_string_equal(shown("{\"type\":\"checkbox\",\"checkbox\":true}"), "1:true");
    assert_string_equal(
        shown("{\"type\":\"formula\",\"formula\":{\"type\":\"number\",\"number\":3}}"), "2:3");
    assert_string_equal(shown("{\"type\":\"formula\",\"formula\":{\"type\":\"date\",\"date\":"
                              "{\"start\":\"2024-02-29\",\"end\":null}}}"),
                        "3:2024-02-29");
    assert_string_equal(shown("{\"type\":\"rollup\",\"rollup\":{\"type\":\"array\",\"array\":[1],"
                              "\"function\":\"x\"}}"),
                        "4:[1]");
    assert_string_equal(shown("{\"type\":\"date\",\"date\":{\"start\":\"a\",\"end\":\"b\"}}"),
                        "4:{\"start\":\"a\",\"end\":\"b\"}");
    assert_string_equal(
        shown("{\"type\":\"unique_id\",\"unique_id\":{\"prefix\":\"A\",\"number\":7}}"), "2:7");
    assert_string_equal(shown("{\"type\":\"created_by\",\"created_by\":{\"id\":\"x\"}}"), "3:x");
    /* What does not look as it should is nothing. */
    assert_string_equal(shown("{\"type\":\"hologram\",\"hologram\":{}}"), "0:");
    assert_string_equal(shown("{\"type\":\"title\",\"title\":7}"), "0:");
    assert_string_equal(shown("{\"type\":\"select\",\"select\":[]}"), "0:");
    assert_string_equal(shown("[]"), "0:");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_type_has_its_structure),
        TEST(what_does_not_fit_is_refused_by_name),
        TEST(limits_are_counted_as_notion_counts),
        TEST(long_text_becomes_runs),
        TEST(a_payload_is_all_but_the_key),
        TEST(a_key_must_be_findable),
        TEST(a_record_has_room_in_a_request),
        TEST(keys_become_filters),
        TEST(a_filter_fits_a_request),
        TEST(ids_come_in_many_spellings),
        TEST(properties_become_plain_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
