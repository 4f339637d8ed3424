/* SPDX-License-Identifier: Apache-2.0
 *
 * Records that relate to pages by their keys, over two stores that go wrong (support/fake_pages.h):
 * `seat` is the table that is written, `others` the one that its column up relates to. What a value
 * may be; that keys of a batch are looked for together, once, and remembered for a short time; that
 * a key without a page takes its record with it and that nothing is made for a record that is
 * refused.
 */
#include <stdio.h>
#include <string.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/kin.h"
#include "engine/relation_order.h"
#include "engine/relation_value.h"
#include "engine/relations.h"
#include "tests/support/bench.h"
#include "tests/support/seat.h"

#define UP 3 /* the column */

static const struct or_retry_limits SHORT = {.classes = {[OR_RETRY_CONFLICT] = {2, 20, 0},
                                                         [OR_RETRY_RATE] = {2, 20, 0},
                                                         [OR_RETRY_UNCERTAIN] = {2, 20, 0},
                                                         [OR_RETRY_LOOKUP] = {2, 20, 0},
                                                         [OR_RETRY_BUSY] = {2, 20, 0}},
                                             .total_ms = 200};

static struct fake_world *beyond; /* of the others */
static struct seat others;
static struct or_relation relation;
static struct or_known known;        /* of the others */
static struct or_config_table named; /* the others' */

static void relate_to(struct or_table *target)
{
    relation = (struct or_relation){.column = UP, .target = target};
    seat.b.table.relations = &relation;
    seat.b.table.n_relations = 1;
}

static int start(void **state)
{
    seat_start(state);
    struct fake_world *here = world;
    world = beyond = fake_create(dice());
    sit_down(&others, memory());
    world = here;
    others.b.table.spec.name = "others";
    others.b.table.known = &known;
    relate_to(&others.b.table);
    return 0;
}

static int stop(void **state)
{
    or_known_finish(&known);
    rise(&others);
    fake_destroy(beyond);
    return seat_stop(state);
}

static const char *up_of(const char *key)
{
    return fake_find(world, key)->text;
}

static uint64_t asked(const struct fake_world *of)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= ONEROW_PAGE_BLANKS; i++) {
        sum += of->calls[i];
    }
    return sum;
}

/* ---- values --------------------------------------------------------------------------------- */

/* The canonical keys that a value names, or why it names none. */
static const char *keys_of(enum onerow_kind kind, const char *value)
{
    const struct onerow_value given = {
        .data = value, .len = (uint32_t)strlen(value), .kind = (uint8_t)kind};
    struct or_related_key *keys = NULL;
    size_t n = 0;
    const char *reason = NULL;
    if (!or_relation_keys(&others.b.table, &given, &seat.b.arena, &keys, &n, &reason)) {
        return reason;
    }
    const char *all = "";
    for (size_t i = 0; i < n; i++) {
        all = text(&seat.b, "%s%s%.*s", all, i ? " " : "", (int)keys[i].key.len, keys[i].key.data);
    }
    return all;
}

static void keys_of_one_column(void **state)
{
    (void)state;
    const char *home = keys_of(ONEROW_TEXT, "HOME");
    const char *two = keys_of(ONEROW_JSON, "[\"HOME\",\"WORK\"]");
    assert_contains(home, "HOME");
    assert_string_equal(two, text(&seat.b, "%s %s", home, keys_of(ONEROW_TEXT, "WORK")));
    assert_string_equal(keys_of(ONEROW_JSON, "{\"k\":\"HOME\"}"), home);
    assert_string_equal(keys_of(ONEROW_JSON, "{\"table\":\"others\",\"key\":\"HOME\"}"), home);
    assert_string_equal(keys_of(ONEROW_JSON, "[{\"key\":{\"k\":\"HOME\"},\"table\":\"others\"}]"),
                        home);
    assert_string_equal(keys_of(ONEROW_UNTYPED, " HOME , WORK,"), two);
    assert_string_equal(keys_of(ONEROW_UNTYPED, "[\"HOME\",\"WORK\"]"), two);
    assert_contains(keys_of(ONEROW_TEXT, "HOME, WORK"), "HOME, WORK"); /* one */
    assert_string_equal(keys_of(ONEROW_TEXT, ""), "");
    assert_string_equal(keys_of(ONEROW_UNTYPED, ""), "");
    assert_string_equal(keys_of(ONEROW_NULL, ""), "");
    assert_string_equal(keys_of(ONEROW_JSON, "[]"), "");
}

static void values_that_name_no_key(void **state)
{
    (void)state;
    static const struct {
        enum onerow_kind kind;
        const char *value, *reason;
    } bad[] = {
        {ONEROW_NUMBER, "7", "names a page of others: key column \"k\" is a number"},
        {ONEROW_BOOL, "true", "key column \"k\" is"},
        {ONEROW_JSON, "[null]", "key column \"k\" is NULL"},
        {ONEROW_JSON, "[[\"a\"]]", "names a page of others by its key: {\"k\": …}, or the value"},
        {ONEROW_JSON, "{}", "names a page of others by its key"},
        {ONEROW_JSON, "{\"x\":1}", "by \"x\", which is no column of its key"},
        {ONEROW_JSON, "{\"k\":\"a\",\"x\":1}", "by \"x\", which is no column of its key"},
        {ONEROW_UNTYPED, "{\"k\":\"a\",\"k\":\"b\"}", "names a page of others by its key"},
        {ONEROW_UNTYPED, "[\"a\"", "names a page of others by its key"},
        {ONEROW_UNTYPED, "[\"a\\u0000\"]", "names a page of others by its key"},
        {ONEROW_JSON, "{\"table\":\"more\",\"key\":\"a\"}",
         "relates to pages of others, and table is \"more\""},
        {ONEROW_JSON, "{\"table\":7,\"key\":\"a\"}", "and table is \"?\""},
        {ONEROW_JSON, "{\"table\":\"others\",\"key\":[\"a\"]}", "by its key"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_contains(keys_of(bad[i].kind, bad[i].value), bad[i].reason);
    }
    const char *many = "a";
    for (unsigned i = 0; i < ONEROW_RELATED_MAX; i++) {
        many = text(&seat.b, "%s,b", many);
    }
    assert_contains(keys_of(ONEROW_UNTYPED, many), "names more than 100 pages");
}

/* Columns of the key may be called as the members of the long form are. */
static void keys_of_several_columns(void **state)
{
    (void)state;
    static const struct onerow_key_column columns[] = {
        {.name = "table", .type = ONEROW_TYPE_DECIMAL, .nulls_equal = true},
        {.name = "key", .type = ONEROW_TYPE_TEXT}};
    struct or_table *table = &others.b.table;
    table->spec.key = columns;
    table->spec.n_key = 2;
    table->table->key_types[0] = ONEROW_TYPE_DECIMAL;
    table->table->key_types[1] = ONEROW_TYPE_TEXT;
    const char *key = keys_of(ONEROW_JSON, "{\"table\":1.50,\"key\":\"a\"}");
    assert_contains(key, "1.5");
    assert_string_equal(keys_of(ONEROW_JSON, "{\"key\":\"a\",\"table\":\"1.5\"}"), key);
    assert_string_equal(
        keys_of(ONEROW_JSON, "{\"table\":\"others\",\"key\":{\"table\":15e-1,\"key\":\"a\"}}"),
        key);
    assert_string_not_equal(keys_of(ONEROW_JSON, "{\"table\":null,\"key\":\"a\"}"), key);
    assert_contains(keys_of(ONEROW_JSON, "{\"table\":1}"), "{\"table\": …, \"key\": …}");
    assert_contains(keys_of(ONEROW_TEXT, "a"), "{\"table\": …, \"key\": …}");
    assert_contains(keys_of(ONEROW_UNTYPED, "a, b"), "{\"table\": …, \"key\": …}");
    assert_contains(keys_of(ONEROW_JSON, "[1]"), "{\"table\": …, \"key\": …}");
    table->spec.n_key = 1; /* as it was, for its end */
}

/* ---- pages ---------------------------------------------------------------------------------- */

static void keys_become_pages(void **state)
{
    (void)state;
    const char *planted = text(&seat.b, "%s", fake_plant(beyond, "THERE", "v=0;"));
    assert_string_equal(say("{'k':'a','up':'THERE'}\n{'k':'b','v':'x','up':['NEW','THERE']}\n"
                            "{'k':'c','up':null}\n{'k':'d','up':[]}\n{'k':'e'}"),
                        "created,created,created,created,created");
    assert_string_equal(up_of("a"), text(&seat.b, "up=[\"%s\"];", planted));
    assert_string_equal(up_of("b"), text(&seat.b, "v=x;up=[\"p2\",\"%s\"];", planted));
    assert_string_equal(up_of("c"), "up=;");
    assert_string_equal(up_of("d"), "up=[];");
    assert_string_equal(up_of("e"), "");
    assert_int_equal(fake_live(beyond, "NEW"), 1);
    assert_string_equal(fake_find(beyond, "THERE")->text, "v=0;"); /* found, and left alone */
    assert_string_equal(say("{'k':'a','up':'THERE'}"), "unchanged");
}

static void a_new_page_gets_the_defaults_of_its_table(void **state)
{
    (void)state;
    static const struct onerow_value defaults[] = {
        {.data = "new", .len = 3, .column = 1, .kind = ONEROW_UNTYPED}};
    others.pages.defaults = defaults;
    others.pages.n_defaults = 1;
    assert_string_equal(say("{'k':'a','up':'HOME'}"), "created");
    assert_string_equal(fake_find(beyond, "HOME")->text, "v=new;");
}

static const char *many_records(size_t n, size_t keys, const char *value)
{
    struct or_buffer lines;
    or_buffer_init(&lines);
    for (size_t i = 0; i < n; i++) {
        or_buffer_printf(&lines, "{\"k\":\"k%zu\",\"v\":\"%s\",\"up\":\"u%zu\"}\n", i, value,
                         i % keys);
    }
    const char *kept = text(&seat.b, "%s", or_buffer_cstr(&lines));
    or_buffer_finish(&lines);
    return kept;
}

static void each_key_is_looked_for_once(void **state)
{
    (void)state;
    (void)put_raw(&seat.b, many_records(200, 150, "1"));
    assert_int_equal(seat.b.status, ONEROW_OK);
    assert_int_equal(beyond->calls[ONEROW_PAGE_PROBE], 2); /* a hundred in one */
    assert_int_equal(beyond->probed_keys, 150);
    assert_int_equal(beyond->n_pages, 150);
    assert_int_equal(world->n_pages, 200);
    uint64_t before = asked(beyond);
    (void)put_raw(&seat.b, many_records(200, 150, "2")); /* from memory */
    or_known_finish(&known);
    (void)put_raw(&seat.b, many_records(200, 150, "3")); /* from the ledger */
    assert_int_equal(asked(beyond), before);
    before = asked(world);
    const char *said = put_raw(&seat.b, many_records(200, 150, "3"));
    assert_null(strstr(said, "updated"));
    assert_int_equal(asked(world), before); /* what is unchanged costs nothing */
}

static void a_table_relates_to_itself(void **state)
{
    (void)state;
    relate_to(&seat.b.table);
    assert_string_equal(say("{'k':'a','v':'1','up':'b'}\n{'k':'b','v':'2','up':['a','b','c']}"),
                        "updated,updated");
    assert_int_equal(fake_live(world, "a") + fake_live(world, "b") + fake_live(world, "c"), 3);
    assert_string_equal(say("{'k':'a','v':'1','up':'b'}\n{'k':'b','v':'2','up':['a','b','c']}"),
                        "unchanged,unchanged");
    assert_string_equal(say("{'k':'c','v':'3'}"), "updated");
    assert_int_equal(world->twins, 0);
}

/* A tree in one batch: each page is made from its own record. */
static void what_others_relate_to_is_written_first(void **state)
{
    (void)state;
    relate_to(&seat.b.table);
    seat.b.table.known = &known;
    assert_string_equal(say("{'k':'a','up':'b'}\n{'k':'b','up':['c','d']}\n{'k':'c','up':'d'}\n"
                            "{'k':'d','v':'1'}\n{'k':'d','v':'2'}\n{'k':'e','up':'nobody'}"),
                        "created,created,created,created,updated,created");
    assert_int_equal(world->calls[ONEROW_PAGE_CREATE], 6);
    assert_int_equal(world->calls[ONEROW_PAGE_WRITE], 1); /* the second one of d */
    /* A circle, and what hangs on it: made for their keys, and written afterwards. */
    assert_string_equal(say("{'k':'p','up':'q'}\n{'k':'q','up':'p'}\n{'k':'r','up':'q'}"),
                        "updated,updated,created");
    /* Deeper than there are waves. */
    struct or_buffer lines;
    or_buffer_init(&lines);
    for (unsigned i = 0; i < 3 * OR_RELATION_WAVES; i++) {
        or_buffer_printf(&lines, "{\"k\":\"t%u\",\"up\":\"t%u\"}\n", i, i + 1);
    }
    const char *said = put_raw(&seat.b, or_buffer_cstr(&lines));
    assert_int_equal(seat.b.status, ONEROW_OK);
    assert_contains(said, "updated");
    assert_contains(said, "created");
    said = put_raw(&seat.b, or_buffer_cstr(&lines));
    assert_null(strstr(said, "updated"));
    assert_null(strstr(said, "created"));
    or_buffer_finish(&lines);
    /* One that is rejected takes those with it that relate to it, and they theirs. */
    assert_string_equal(
        say("{'k':'x','up':'y'}\n{'k':'y','up':'z'}\n{'k':'z','v':'bad'}"),
        "rejected:column \"up\" relates to things {\"k\":\"y\"}: its own record was "
        "rejected,rejected:column \"up\" relates to things {\"k\":\"z\"}: its own "
        "record was rejected,rejected:v cannot be bad");
    assert_int_equal(world->twins, 0);
}

static void another_page_is_another_value(void **state)
{
    (void)state;
    others.pages.attempt.deletion = OR_DELETION_RECREATE;
    assert_string_equal(say("{'k':'a','up':'HOME'}"), "created");
    assert_string_equal(say("{'k':'a','up':'HOME'}"), "unchanged");
    fake_find(beyond, "HOME")->trashed = true;
    assert_string_equal(put(&others.b, "{'k':'HOME','v':'1'}"), "created");
    assert_string_equal(say("{'k':'a','up':'HOME'}"), "updated");
    assert_string_equal(up_of("a"), "up=[\"p2\"];");
}

/* ---- no pages ------------------------------------------------------------------------------- */

static void a_look_up_that_fails_makes_neither(void **state)
{
    (void)state;
    static const enum onerow_page_answer failures[] = {
        ONEROW_PAGE_REFUSED,  ONEROW_PAGE_NOT_FOUND, ONEROW_PAGE_RATE,
        ONEROW_PAGE_CONFLICT, ONEROW_PAGE_UNCERTAIN, ONEROW_PAGE_FAILED,
    };
    others.pages.attempt.retry = &SHORT;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        beyond->script[ONEROW_PAGE_PROBE] = failures[i];
        assert_string_equal(say("{'k':'a','up':['X','HOME']}\n{'k':'b'}"),
                            text(&seat.b,
                                 "rejected:column \"up\" relates to others {\"k\":\"X\"}: not "
                                 "written in the time allowed: as the test says,%s",
                                 i ? "unchanged" : "created"));
        assert_int_equal(seat.b.status, ONEROW_REJECTED);
    }
    assert_int_equal(beyond->n_pages, 0);
    assert_int_equal(fake_live(world, "a"), 0);
    beyond->script[ONEROW_PAGE_PROBE] = ONEROW_PAGE_OK;
    assert_string_equal(say("{'k':'a','up':'HOME'}"), "created");
}

static void pages_that_are_in_doubt_are_told(void **state)
{
    (void)state;
    assert_string_equal(put(&others.b, "{'k':'GONE','v':'1'}"), "created");
    fake_find(beyond, "GONE")->trashed = true;
    assert_contains(put(&others.b, "{'k':'GONE','v':'2'}"), "rejected:the page was deleted");
    for (unsigned i = 0; i < 9; i++) {
        (void)fake_plant(beyond, "TWINS", "v=0;");
    }
    const char *said = say("{'k':'a','up':'GONE'}\n{'k':'b','up':'TWINS'}");
    assert_contains(said, "rejected:column \"up\" relates to others {\"k\":\"GONE\"}: the page was "
                          "deleted, and stays deleted");
    assert_contains(said, "rejected:column \"up\" relates to others {\"k\":\"TWINS\"}: too many "
                          "pages carry this key");
    others.pages.attempt.retry = &SHORT;
    beyond->script[ONEROW_PAGE_PUBLISH] = ONEROW_PAGE_UNCERTAIN;
    assert_contains(say("{'k':'c','up':'NEW'}"),
                    "rejected:column \"up\" relates to others {\"k\":\"NEW\"}: not confirmed");
    assert_int_equal(world->n_pages, 0);
}

static void what_is_refused_makes_no_page(void **state)
{
    (void)state;
    assert_contains(say("{'k':'a','v':'bad','up':'HOME'}\n{'k':'onerow:blank:1','up':'HOME'}\n"
                        "{'k':'b','up':7}\n{'k':'c','up':'onerow:blank:2'}"),
                    "rejected:v cannot be bad,rejected:its key begins with onerow:blank: or "
                    "onerow:moved:, which onerow keeps for pages without a key,rejected:column "
                    "\"up\" names a page of others: key column \"k\" is a number");
    assert_int_equal(beyond->n_pages, 0);
    assert_int_equal(world->n_pages, 0);
}

static void no_page_for_a_key_whose_record_was_rejected(void **state)
{
    (void)state;
    assert_contains(put(&others.b, "{'k':'DEAD','v':'bad'}"), "rejected:v cannot be bad");
    assert_string_equal(say("{'k':'a','up':'DEAD'}"),
                        "rejected:column \"up\" relates to others {\"k\":\"DEAD\"}: its own record "
                        "was rejected");
    assert_int_equal(beyond->n_pages, 0);
    (void)fake_plant(beyond, "DEAD", "v=0;"); /* one that is there is taken */
    assert_string_equal(say("{'k':'a','up':'DEAD'}"), "created");
    assert_contains(put(&others.b, "{'k':'OTHER','v':'bad'}"), "rejected");
    assert_string_equal(put(&others.b, "{'k':'OTHER','v':'1'}"), "created");
    assert_string_equal(say("{'k':'b','up':'OTHER'}"), "created");
}

static void what_is_not_tried_to_the_end_stays_pending(void **state)
{
    (void)state;
    bool stopped = true;
    struct or_drive_options options = {.stop = &stopped};
    struct or_item item = {0};
    struct or_entry entry = {.line = 1};
    struct or_entry *entries = &entry;
    const char *json = "{\"k\":\"a\",\"up\":\"HOME\"}";
    assert_int_equal(or_input_parse_json(or_span(json), &seat.b.arena, &item), ONEROW_OK);
    assert_true(or_entry_bind(&entry, &seat.b.table, &item, &seat.b.arena));
    seat.b.error = (struct onerow_error){0};
    assert_int_equal(
        or_drive_put(&seat.b.table, &entries, 1, &options, &seat.b.arena, &seat.b.error),
        ONEROW_INTERRUPTED);
    assert_int_equal(entry.outcome, ONEROW_PENDING);
    assert_int_equal(world->n_pages + beyond->n_pages, 0);
    stopped = false;
    assert_int_equal(
        or_drive_put(&seat.b.table, &entries, 1, &options, &seat.b.arena, &seat.b.error),
        ONEROW_OK);
    assert_int_equal(entry.outcome, ONEROW_CREATED);
    /* The record itself is what it was: a dead letter would hold keys. */
    assert_string_equal(entry.record.values[1].data, "HOME");
}

/* ---- what is known -------------------------------------------------------------------------- */

static void note(size_t number, enum onerow_outcome outcome)
{
    struct or_entry entry = {.table = &others.b.table,
                             .record = {.key = or_span(text(&seat.b, "k1|%zu", number))},
                             .id = or_span("p1"),
                             .outcome = (uint8_t)outcome,
                             .has_key = true};
    or_known_note(&known, &entry);
}

static const char *page_of(size_t number)
{
    bool no_memory = false;
    struct onerow_span page =
        or_known_page(&known, &others.b.table, or_span(text(&seat.b, "k1|%zu", number)),
                      &seat.b.arena, &no_memory);
    assert_false(no_memory);
    return page.data ? page.data : "";
}

static void what_is_known_is_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < OR_KNOWN_MAX; i++) {
        note(i, ONEROW_CREATED);
    }
    assert_string_equal(page_of(0), "p1");
    note(0, ONEROW_UNCHANGED); /* again: it is the newest now */
    note(OR_KNOWN_MAX, ONEROW_CREATED);
    assert_string_equal(page_of(0), "p1");
    assert_string_equal(page_of(1), "");
    assert_string_equal(page_of(OR_KNOWN_MAX), "p1");
    note(0, ONEROW_IN_DOUBT);
    assert_string_equal(page_of(0), "");
    assert_false(or_known_rejected(&known, &others.b.table, or_span("k1|0")));
    note(0, ONEROW_REFUSED);
    assert_true(or_known_rejected(&known, &others.b.table, or_span("k1|0")));
    assert_string_equal(page_of(0), "");
}

/* ---- the configuration ---------------------------------------------------------------------- */

static const char *check(const char *column)
{
    const struct or_config_relation config = {
        .column = column, .name = "others", .target = &named, .where = "t.yaml:7:9: here"};
    struct or_relation made = {0};
    struct onerow_error error = {0};
    enum onerow_status status =
        or_relation_check(&seat.b.table, &config, &others.b.table, &made, &error);
    assert_int_equal(status, *error.text ? ONEROW_CONFIG : ONEROW_OK);
    return text(&seat.b, "%s", error.text);
}

static void a_column_must_lead_to_the_table(void **state)
{
    (void)state;
    assert_string_equal(check("up"), "");
    assert_string_equal(check("down"), "t.yaml:7:9: here: there is no column \"down\"");
    assert_string_equal(check("v"),
                        "t.yaml:7:9: here: column \"v\" is text, and relates to no pages");
    struct onerow_column columns[4];
    memcpy(columns, seat.b.table.table->columns, sizeof columns);
    columns[UP].related = "elsewhere";
    seat.b.table.table->columns = columns;
    assert_contains(check("up"), "column \"up\" relates to the pages of elsewhere, and table "
                                 "\"others\" is things");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_of_one_column),
        TEST(values_that_name_no_key),
        TEST(keys_of_several_columns),
        TEST(keys_become_pages),
        TEST(a_new_page_gets_the_defaults_of_its_table),
        TEST(each_key_is_looked_for_once),
        TEST(a_table_relates_to_itself),
        TEST(what_others_relate_to_is_written_first),
        TEST(another_page_is_another_value),
        TEST(a_look_up_that_fails_makes_neither),
        TEST(pages_that_are_in_doubt_are_told),
        TEST(what_is_refused_makes_no_page),
        TEST(no_page_for_a_key_whose_record_was_rejected),
        TEST(what_is_not_tried_to_the_end_stays_pending),
        TEST(what_is_known_is_bounded),
        TEST(a_column_must_lead_to_the_table),
    };
    seed_dice();
    return cmocka_run_group_tests_name("relations", tests, NULL, NULL);
}
