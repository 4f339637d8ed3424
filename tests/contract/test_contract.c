/* SPDX-License-Identifier: Apache-2.0
 *
 * What include/onerow/extend.h asks of every store, run over every store of the
 * registry through its vtable alone. A new store needs one line in `benches`: how to
 * make a URL inside a folder. Tests that rest on a guarantee (durability) run for the
 * stores whose tables declare it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "store/store.h"
#include "tests/support/bench.h"
#include "tests/support/postgres.h"

/* ---- the stores -------------------------------------------------------------------------- */

static const char *sqlite_url(struct bench *b)
{
    return text(b, "sqlite:%s", b->path);
}

static const char *postgres_url(struct bench *b)
{
    return pg_database(b);
}

static const char *memory_url(struct bench *b)
{
    (void)b;
    return "memory:";
}

static const struct store_bench {
    const char *store;
    const char *(*url)(struct bench *b);
} benches[] = {
    {"postgres", postgres_url},
    {"sqlite", sqlite_url},
    {"memory", memory_url},
};

static const struct store_bench *bench_of(const struct onerow_store_type *type)
{
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
        if (strcmp(benches[i].store, type->name) == 0) {
            return &benches[i];
        }
    }
    return NULL;
}

/* ---- a test's place ------------------------------------------------------------------------ */

static struct bench b;
static const char *url;
static unsigned promises; /* of the store at hand */

static int start(void **state)
{
    const struct store_bench *bench = *state;
    bench_start(&b);
    b.by_hand = true;
    url = bench->url(&b);
    assert_int_equal(bench_store(&b, url), ONEROW_OK);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bench_stop(&b);
    return 0;
}

/* Makes and opens the table "items". */
static void make(const char *key, const char *columns)
{
    bench_create(&b, "items", key, columns);
    assert_status(&b, ONEROW_OK);
    bench_look(&b, "items", key);
    assert_status(&b, ONEROW_OK);
}

static void begin(void)
{
    b.status = b.table.store->type->begin(b.table.store, NULL, &b.error);
    assert_status(&b, ONEROW_OK);
}

static void commit(void)
{
    b.status = b.table.store->type->commit(b.table.store, &b.error);
    assert_status(&b, ONEROW_OK);
}

static void rollback(void)
{
    b.table.store->type->rollback(b.table.store);
}

/* ---- the type itself ------------------------------------------------------------------------- */

static void the_type_describes_itself(void **state)
{
    const struct store_bench *bench = *state;
    const struct onerow_store_type *type = or_store_type_of(url);
    assert_non_null(type);
    assert_string_equal(type->name, bench->store);
    assert_true(type->summary && *type->summary);
    assert_true(type->url && *type->url);
    assert_non_null(type->schemes[0]);
    for (size_t i = 0; type->schemes[i]; i++) {
        char last = type->schemes[i][strlen(type->schemes[i]) - 1];
        assert_true(last == ':' || last == '+'); /* SCHEME+DRIVER: */
    }
    assert_true(type->open && type->close && type->table_open && type->table_close &&
                type->table_create && type->begin && type->apply && type->commit &&
                type->rollback && type->get && type->audit && type->statement && type->suggest);
    type->close(NULL);
    type->table_close(NULL);
}

/* ---- tables ------------------------------------------------------------------------------------
 */

static void a_missing_table_is_absent(void **state)
{
    (void)state;
    bench_look(&b, "items", "k");
    assert_status(&b, ONEROW_ABSENT);
    assert_contains(b.error.text, "items");
}

static void a_table_is_made_and_opened(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    const struct onerow_store_table *table = b.table.table;
    assert_ptr_equal(table->store, b.table.store);
    assert_int_equal(table->n_columns, 2);
    assert_string_equal(table->columns[0].name, "k");
    assert_string_equal(table->columns[1].name, "v");
    assert_non_null(table->columns[0].declared);
    assert_int_equal(table->key[0], 0);
    assert_int_equal(table->key_types[0], ONEROW_TYPE_TEXT);
    assert_true(table->promise && *table->promise);
    assert_int_equal(table->guarantees, promises);
    assert_string_equal(put(&b, "{'k':'a','v':1}"), "created");
}

static void a_table_is_made_once(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, "{'k':'a','v':1}");
    bench_create(&b, "items", "k", "k:text,v:int");
    assert_status(&b, ONEROW_OK);
    bench_look(&b, "items", "k");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
}

static void a_key_column_must_exist(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    bench_look(&b, "items", "nothing");
    assert_status(&b, ONEROW_CONFIG);
    assert_contains(b.error.text, "\"nothing\"");
}

static void an_order_column_must_exist(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "nothing";
    bench_look(&b, "items", "k");
    assert_status(&b, ONEROW_CONFIG);
    assert_contains(b.error.text, "\"nothing\"");
}

static void tables_do_not_mix(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, "{'k':'a','v':1}");
    bench_create(&b, "others", "k", "k:text,v:int");
    bench_look(&b, "others", "k");
    assert_string_equal(get(&b, "{'k':'a'}"), "ABSENT");
    assert_string_equal(put(&b, "{'k':'a','v':2}"), "created");
    bench_look(&b, "items", "k");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
}

/* ---- outcomes
 * ------------------------------------------------------------------------------------ */

static void outcomes_are_told_apart(void **state)
{
    (void)state;
    make("k", "k:text,v:int,w:text");
    assert_string_equal(put(&b, "{'k':'a','v':1,'w':'x'}\n{'k':'b','v':2,'w':null}"),
                        "created,created");
    assert_string_equal(put(&b, "{'k':'a','v':1,'w':'x'}\n{'k':'b','v':3,'w':null}"),
                        "unchanged,updated");
    assert_string_equal(put(&b, "{'k':'b','w':null}\n{'k':'b','w':''}\n{'k':'a','w':null}"),
                        "unchanged,updated,updated");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1,\"w\":null}");
    assert_string_equal(get(&b, "{'k':'b'}"), "{\"k\":\"b\",\"v\":3,\"w\":\"\"}");
}

static void equal_keys_are_written_in_order(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    assert_string_equal(put(&b,
                            "{'k':'a','v':1}\n{'k':'b','v':9}\n{'k':'a','v':2}\n{'k':'a','v':2}\n"
                            "{'k':'a','v':3}"),
                        "created,created,updated,unchanged,updated");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":3}");
}

static void partial_records_leave_the_rest_alone(void **state)
{
    (void)state;
    make("k", "k:text,v:int,w:text");
    put(&b, "{'k':'a','v':1,'w':'x'}");
    assert_string_equal(put(&b, "{'k':'a','w':'y'}"), "updated");
    assert_string_equal(put(&b, "{'k':'a'}"), "unchanged");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1,\"w\":\"y\"}");
    assert_string_equal(put(&b, "{'k':'new'}"), "created");
    assert_string_equal(get(&b, "{'k':'new'}"), "{\"k\":\"new\",\"v\":null,\"w\":null}");
}

static void ids_are_stable(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, "{'k':'a','v':1}\n{'k':'b','v':1}");
    const char *ids = b.ids;
    assert_null(strchr(ids, '-'));
    char *comma = strchr(ids, ',');
    assert_int_not_equal(strncmp(ids, comma + 1, (size_t)(comma - ids)), 0);
    put(&b, "{'k':'a','v':2}\n{'k':'b','v':1}");
    assert_string_equal(b.ids, ids);
    get(&b, "{'k':'b'}");
    assert_string_equal(b.ids, comma + 1);
}

static void get_finds_or_says_absent(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    assert_string_equal(get(&b, "{'k':'a'}"), "ABSENT");
    put(&b, "{'k':'a','v':1}");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
    assert_string_equal(get(&b, "{'k':'A'}"), "ABSENT");
    assert_string_equal(get(&b, "{'k':'a '}"), "ABSENT");
    assert_string_equal(put(&b, "{'k':'a','v':1}"), "unchanged"); /* get created nothing */
}

/* ---- transactions
 * ----------------------------------------------------------------------------------- */

static void rollback_undoes(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, "{'k':'a','v':1}");
    begin();
    assert_string_equal(
        apply(&b, "{'k':'a','v':2}\n{'k':'a','v':3}\n{'k':'b','v':1}\n{'k':'b','v':2}"),
        "updated,updated,created,updated");
    rollback();
    rollback(); /* may be called twice */
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
    assert_string_equal(get(&b, "{'k':'b'}"), "ABSENT");
    assert_string_equal(put(&b, "{'k':'b','v':2}"), "created");
}

static void commit_keeps(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    begin();
    assert_string_equal(apply(&b, "{'k':'a','v':1}"), "created");
    assert_string_equal(apply(&b, "{'k':'a','v':1}\n{'k':'b','v':1}"), "unchanged,created");
    commit();
    rollback(); /* harmless after a commit */
    assert_string_equal(put(&b, "{'k':'a','v':1}\n{'k':'b','v':1}"), "unchanged,unchanged");
}

static void an_empty_transaction_is_harmless(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    begin();
    commit();
    begin();
    rollback();
    assert_string_equal(put(&b, "{'k':'a','v':1}"), "created");
}

static void begin_obeys_stop(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    volatile bool stopped = true;
    enum onerow_status status = b.table.store->type->begin(b.table.store, &stopped, &b.error);
    assert_true(status == ONEROW_OK || status == ONEROW_INTERRUPTED); /* nobody was in the way */
    rollback();
    assert_string_equal(put(&b, "{'k':'a','v':1}"), "created");
}

/* ---- policies
 * ------------------------------------------------------------------------------------------ */

static void keep_leaves_the_row(void **state)
{
    (void)state;
    b.table.spec.policy = ONEROW_POLICY_KEEP;
    make("k", "k:text,v:int");
    assert_string_equal(put(&b, "{'k':'a','v':1}\n{'k':'a','v':2}\n{'k':'a','v':1}\n{'k':'a'}"),
                        "created,unchanged:kept,unchanged,unchanged");
    assert_string_equal(put(&b, "{'k':'a','v':null}"), "unchanged:kept");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
}

/* Stores spell UTC as Z or +00:00, and JSON with spaces or without. */
static const char *one_spelling(const char *json)
{
    char *out = (char *)(uintptr_t)text(&b, "%s", json);
    char *to = out;
    for (const char *from = json; *from; from++) {
        if (strncmp(from, "+00:00", 6) == 0) {
            *to++ = 'Z';
            from += 5;
        } else if (*from != ' ') {
            *to++ = *from;
        }
    }
    *to = '\0';
    return out;
}

static void newest_wins(void **state)
{
    (void)state;
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "at";
    make("k", "k:text,v:int,at:timestamp");
    assert_string_equal(put(&b, "{'k':'a','v':1,'at':'2024-01-02T00:00:00Z'}"), "created");
    assert_string_equal(put(&b, "{'k':'a','v':2,'at':'2024-01-01T00:00:00Z'}"), "unchanged:older");
    assert_string_equal(put(&b, "{'k':'a','v':3,'at':'2024-01-02T00:00:00Z'}"), "updated");
    assert_string_equal(put(&b, "{'k':'a','v':3,'at':'2024-01-02T00:00:00Z'}"), "unchanged");
    assert_string_equal(put(&b, "{'k':'a','v':4,'at':'2024-01-03T00:00:00Z'}"), "updated");
    assert_string_equal(put(&b, "{'k':'a','v':5,'at':null}"), "unchanged:older");
    assert_string_equal(put(&b, "{'k':'a','v':6}"), "unchanged:older"); /* absent is NULL */
    assert_string_equal(one_spelling(get(&b, "{'k':'a'}")),
                        "{\"k\":\"a\",\"v\":4,\"at\":\"2024-01-03T00:00:00Z\"}");
    assert_string_equal(put(&b, "{'k':'n','v':1}\n{'k':'n','v':2}\n{'k':'n','v':3,'at':"
                                "'1970-01-01T00:00:00Z'}\n{'k':'n','v':4,'at':null}"),
                        "created,updated,updated,unchanged:older");
}

static void newest_compares_numbers_by_value(void **state)
{
    (void)state;
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "at";
    make("k", "k:text,v:int,at:int");
    assert_string_equal(put(&b, "{'k':'a','v':1,'at':9}\n{'k':'a','v':2,'at':10}\n"
                                "{'k':'a','v':3,'at':-11}\n{'k':'a','v':4,'at':9007199254740993}\n"
                                "{'k':'a','v':5,'at':9007199254740992}"),
                        "created,updated,unchanged:older,updated,unchanged:older");
}

/* ---- values
 * ------------------------------------------------------------------------------------------------
 */

/* Text that goes in comes out, as a value and as a key. */
static void assert_text_survives(const char *json)
{
    const char *record = text(&b, "{\"k\":%s,\"v\":%s}", json, json);
    const char *key = text(&b, "{\"k\":%s}", json);
    assert_string_equal(put_raw(&b, record), "created");
    assert_string_equal(put_raw(&b, record), "unchanged");
    assert_string_equal(get_raw(&b, key), record);
}

static void text_is_kept_byte_for_byte(void **state)
{
    (void)state;
    make("k", "k:text,v:text");
    static const char *const texts[] = {
        "\"\"",
        "\" \"",
        "\"it's \\\"quoted\\\"\"",
        "\"two\\nlines\\r\\nand\\ta tab\"",
        "\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa4\"",
        "\"a|b\"",
        "\"a;b--c/*d*/\"",
        "\"back\\\\slash\"",
        "\"%s?1:x@y$z\"",
        "\"1\"",
        "\"1.0\"",
        "\"null\"",
        "\"true\"",
        "\"\\u0001\"",
        "\"e\xcc\x81\"",
        "\"\xc3\xa9\"",
        "\"2024-01-01\"",
        "\"{\\\"a\\\":1}\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_text_survives(texts[i]);
    }
    assert_string_equal(audit(&b), "0 0");
}

static void a_mebibyte_in_one_value(void **state)
{
    (void)state;
    make("k", "k:text,v:text");
    struct or_buffer record;
    or_buffer_init(&record);
    or_buffer_text(&record, "{\"k\":\"big\",\"v\":\"");
    while (record.len < 1024U * 1024U) {
        or_buffer_text(&record, "\xf0\x9f\x98\x80 and so on; ");
    }
    or_buffer_text(&record, "\"}");
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "created");
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "unchanged");
    assert_string_equal(get(&b, "{'k':'big'}"), or_buffer_cstr(&record));
    or_buffer_finish(&record);
}

static void three_hundred_columns(void **state)
{
    (void)state;
    struct or_buffer columns;
    struct or_buffer record;
    or_buffer_init(&columns);
    or_buffer_init(&record);
    or_buffer_text(&columns, "k:text");
    or_buffer_text(&record, "{\"k\":\"a\"");
    for (int i = 1; i < 300; i++) {
        or_buffer_printf(&columns, ",c%d:int", i);
        or_buffer_printf(&record, ",\"c%d\":%d", i, i);
    }
    or_buffer_char(&record, '}');
    make("k", or_buffer_cstr(&columns));
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "created");
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "unchanged");
    assert_string_equal(put(&b, "{'k':'a','c299':300}"), "updated"); /* the very last one counts */
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "updated");
    assert_string_equal(get(&b, "{'k':'a'}"), or_buffer_cstr(&record));
    or_buffer_finish(&columns);
    or_buffer_finish(&record);
}

static void values_of_every_kind(void **state)
{
    (void)state;
    make("k", "k:text,i:int,b:bool,j:json,t:timestamp");
    const char *row = "{\"k\":\"a\",\"i\":-7,\"b\":true,\"j\":{\"x\":[1,2]},"
                      "\"t\":\"2024-01-01T00:00:00Z\"}";
    assert_string_equal(put_raw(&b, row), "created");
    assert_string_equal(put_raw(&b, row), "unchanged");
    assert_string_equal(one_spelling(get(&b, "{'k':'a'}")), row);
    assert_string_equal(put(&b, "{'k':'a','b':false}\n{'k':'a','j':[]}\n{'k':'a','i':null}"),
                        "updated,updated,updated");
    assert_string_equal(one_spelling(get(&b, "{'k':'a'}")),
                        "{\"k\":\"a\",\"i\":null,\"b\":false,\"j\":[],"
                        "\"t\":\"2024-01-01T00:00:00Z\"}");
}

/* ---- keys
 * ---------------------------------------------------------------------------------------------------
 */

/* Three spellings of keys of one type: the first two are one key, the third is another. */
static void keys_of_every_type(void **state)
{
    (void)state;
    static const struct {
        const char *type, *one, *same, *other;
    } types[] = {
        {"text", "'a'", "'\\u0061'", "'A'"},
        {"int", "7", "'7'", "-7"},
        {"int", "9223372036854775807", "'9223372036854775807'", "9223372036854775806"},
        {"decimal", "24.5", "'24.50'", "25"},
        {"decimal", "0.1", "1e-1", "0.10000000000000001"},
        {"bool", "true", "true", "false"},
        {"date", "'2024-02-29'", "'2024-02-29'", "'2024-03-01'"},
        {"timestamp", "'2024-01-01T00:00:00Z'", "'2024-01-01T01:00:00+01:00'",
         "'2024-01-01T00:00:00.001Z'"},
        {"uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
         "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *name = text(&b, "keys%zu", i);
        const char *key = text(&b, "k:%s", types[i].type);
        bench_create(&b, name, key, text(&b, "k:%s,v:int", types[i].type));
        assert_status(&b, ONEROW_OK);
        bench_look(&b, name, key);
        assert_status(&b, ONEROW_OK);
        const char *said = put(&b, text(&b, "{'k':%s,'v':1}\n{'k':%s,'v':2}\n{'k':%s,'v':3}",
                                        types[i].one, types[i].same, types[i].other));
        assert_string_equal(said, "created,updated,created");
        assert_contains(get(&b, text(&b, "{'k':%s}", types[i].same)), "\"v\":2");
        assert_contains(get(&b, text(&b, "{'k':%s}", types[i].other)), "\"v\":3");
        assert_string_equal(audit(&b), "0 0");
    }
}

static void composite_keys(void **state)
{
    (void)state;
    make("b,a:int", "a:int,v:int,b:text"); /* another order than the table's */
    assert_string_equal(put(&b,
                            "{'a':1,'b':'x','v':1}\n{'a':1,'b':'y','v':2}\n{'b':'x','a':2,'v':3}\n"
                            "{'v':4,'b':'x','a':1}"),
                        "created,created,created,updated");
    assert_string_equal(get(&b, "{'a':1,'b':'x'}"), "{\"a\":1,\"v\":4,\"b\":\"x\"}");
    assert_string_equal(get(&b, "{'a':2,'b':'y'}"), "ABSENT");
    assert_string_equal(audit(&b), "0 0");
}

/* A separator inside a part must not make two keys one. */
static void composite_keys_do_not_run_together(void **state)
{
    (void)state;
    make("a,b", "a:text,b:text,v:int");
    assert_string_equal(put(&b, "{'a':'x','b':'yz','v':1}\n{'a':'xy','b':'z','v':2}\n"
                                "{'a':'x|','b':'y','v':3}\n{'a':'x','b':'|y','v':4}\n"
                                "{'a':'','b':'xyz','v':5}\n{'a':'xyz','b':'','v':6}"),
                        "created,created,created,created,created,created");
    assert_string_equal(get(&b, "{'a':'x','b':'|y'}"), "{\"a\":\"x\",\"b\":\"|y\",\"v\":4}");
    /* The naive key, the parts joined by a separator, takes two of them for one. */
    assert_string_equal(text(&b, "%s|%s", "x|", "y"), text(&b, "%s|%s", "x", "|y"));
}

static void null_equals_null_when_asked(void **state)
{
    (void)state;
    b.nulls_equal = true;
    make("a,n:int", "a:text,n:int,v:int");
    assert_string_equal(put(&b, "{'a':'x','n':null,'v':1}\n{'a':'x','n':null,'v':2}\n"
                                "{'a':'x','n':0,'v':3}\n{'a':null,'n':null,'v':4}\n"
                                "{'a':null,'n':null,'v':4}\n{'a':'','n':null,'v':5}\n"
                                "{'a':'0','n':null,'v':6}"),
                        "created,updated,created,created,unchanged,created,created");
    assert_string_equal(get(&b, "{'a':'x','n':null}"), "{\"a\":\"x\",\"n\":null,\"v\":2}");
    assert_string_equal(get(&b, "{'a':null,'n':null}"), "{\"a\":null,\"n\":null,\"v\":4}");
    assert_string_equal(get(&b, "{'a':null,'n':0}"), "ABSENT");
    assert_string_equal(audit(&b), "0 0");
}

static void null_is_no_key_otherwise(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    assert_contains(put(&b, "{'k':null,'v':1}\n{'k':'null','v':1}"), ",created");
    assert_contains(put(&b, "{'k':null,'v':1}"), "rejected:");
}

static void normalized_keys_are_stored_normalized(void **state)
{
    (void)state;
    b.normalize = ONEROW_NFC | ONEROW_TRIM | ONEROW_CASEFOLD;
    make("k:text", "k:text,v:int");
    assert_string_equal(put(&b, "{'k':' HOME ','v':1}\n{'k':'home','v':2}"), "created,updated");
    assert_string_equal(get(&b, "{'k':'Home'}"), "{\"k\":\"home\",\"v\":2}");
    assert_string_equal(audit(&b), "0 0");
}

/* ---- many rows
 * -------------------------------------------------------------------------------------------------
 */

static const char *many_records(unsigned n, unsigned from, const char *value)
{
    struct or_buffer lines;
    or_buffer_init(&lines);
    for (unsigned i = 0; i < n; i++) {
        or_buffer_printf(&lines, "%s{\"k\":\"key %u\",\"v\":%s}", i ? "\n" : "", from + i, value);
    }
    const char *kept = text(&b, "%s", or_buffer_cstr(&lines));
    or_buffer_finish(&lines);
    return kept;
}

static unsigned count_of(const char *outcomes, const char *outcome)
{
    unsigned n = 0;
    for (const char *at = outcomes; (at = strstr(at, outcome)); at++) {
        n++;
    }
    return n;
}

static void audit_finds_nothing_on_a_healthy_table(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    assert_string_equal(audit(&b), "0 0");
    assert_int_equal(count_of(put(&b, many_records(3000, 0, "1")), "created"), 3000);
    assert_int_equal(count_of(put(&b, many_records(3000, 1500, "1")), "unchanged"), 1500);
    assert_string_equal(audit(&b), "0 0");
}

static void big_rollbacks(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, many_records(2000, 0, "1"));
    begin();
    assert_int_equal(count_of(apply(&b, many_records(3000, 1000, "2")), "created"), 2000);
    rollback();
    assert_int_equal(count_of(put(&b, many_records(2000, 0, "1")), "unchanged"), 2000);
    assert_string_equal(get(&b, "{'k':'key 2500'}"), "ABSENT");
}

/* ---- durability and other processes
 * ------------------------------------------------------------------------------ */

static void a_second_handle_sees_what_was_committed(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    put(&b, "{'k':'a','v':1}");
    struct bench other = {.wait_ms = 60000, .folder = b.folder, .path = b.path};
    or_arena_init(&other.arena);
    assert_int_equal(bench_store(&other, url), ONEROW_OK);
    assert_int_equal(bench_look(&other, "items", "k"), ONEROW_OK);
    assert_string_equal(get(&other, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}");
    begin();
    apply(&b, "{'k':'a','v':2}\n{'k':'b','v':1}");
    assert_string_equal(get(&other, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1}"); /* not committed yet */
    assert_string_equal(get(&other, "{'k':'b'}"), "ABSENT");
    commit();
    assert_string_equal(get(&other, "{'k':'a'}"), "{\"k\":\"a\",\"v\":2}");
    assert_string_equal(get(&other, "{'k':'b'}"), "{\"k\":\"b\",\"v\":1}");
    bench_close(&other);
    or_arena_finish(&other.arena);
}

static int commit_and_die(void *context)
{
    (void)context;
    bench_store(&b, url);
    bench_look(&b, "items", "k");
    put(&b, "{'k':'kept','v':1}");
    begin();
    apply(&b, "{'k':'lost','v':1}");
    abort();
}

static void a_killed_process_loses_nothing_committed(void **state)
{
    (void)state;
    make("k", "k:text,v:int");
    bench_close(&b);
    assert_int_not_equal(child_code(child(commit_and_die, NULL)), 0);
    bench_store(&b, url);
    bench_look(&b, "items", "k");
    assert_string_equal(get(&b, "{'k':'kept'}"), "{\"k\":\"kept\",\"v\":1}");
    assert_string_equal(get(&b, "{'k':'lost'}"), "ABSENT");
    assert_string_equal(put(&b, "{'k':'lost','v':1}"), "created");
}

#define RACERS 4U
#define KEYS   500U

struct race {
    pthread_barrier_t barrier;
    _Atomic unsigned created;
    _Atomic unsigned answered;
    _Atomic unsigned would_create; /* the naive way: look-ups that found nothing */
};

static struct race *race;

/* Keys in an order of its own, in batches. */
static int race_puts(void *context)
{
    (void)context;
    unsigned order[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned at = (unsigned)(dice() % (i + 1));
        order[i] = order[at];
        order[at] = i;
    }
    if (bench_store(&b, url) != ONEROW_OK || bench_look(&b, "items", "k") != ONEROW_OK) {
        return 1;
    }
    pthread_barrier_wait(&race->barrier);
    for (unsigned i = 0; i < KEYS; i += 20) {
        struct or_buffer lines;
        or_buffer_init(&lines);
        for (unsigned at = i; at < i + 20; at++) {
            or_buffer_printf(&lines, "%s{\"k\":\"key %u\",\"v\":%d}", at > i ? "\n" : "", order[at],
                             getpid());
        }
        const char *said = put_raw(&b, or_buffer_cstr(&lines));
        or_buffer_finish(&lines);
        if (b.status != ONEROW_OK) {
            return 2;
        }
        atomic_fetch_add(&race->created, count_of(said, "created"));
        atomic_fetch_add(&race->answered, count_of(said, "created") + count_of(said, "updated") +
                                              count_of(said, "unchanged"));
    }
    bench_close(&b);
    return 0;
}

/* Check, then create: everybody looks before anybody writes. */
static int race_looks(void *context)
{
    (void)context;
    if (bench_store(&b, url) != ONEROW_OK || bench_look(&b, "items", "k") != ONEROW_OK) {
        return 1;
    }
    for (unsigned i = 0; i < KEYS; i++) {
        bool absent = strcmp(get(&b, text(&b, "{'k':'key %u'}", i)), "ABSENT") == 0;
        atomic_fetch_add(&race->would_create, absent);
    }
    pthread_barrier_wait(&race->barrier); /* the creates would follow here */
    return 0;
}

static void run_racers(int (*run)(void *))
{
    pid_t pids[RACERS];
    for (unsigned i = 0; i < RACERS; i++) {
        dice();
        pids[i] = child(run, NULL);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
}

static void four_processes_put_the_same_keys(void **state)
{
    (void)state;
    pthread_barrierattr_t shared;
    make("k", "k:text,v:int");
    bench_close(&b);
    race = share(sizeof *race);
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&race->barrier, &shared, RACERS);

    run_racers(race_looks);
    printf("# check, then create: %u creates for %u keys\n", race->would_create, KEYS);
    assert_int_equal(race->would_create, RACERS * KEYS);

    run_racers(race_puts);
    assert_int_equal(race->created, KEYS);
    assert_int_equal(race->answered, RACERS * KEYS);
    bench_store(&b, url);
    bench_look(&b, "items", "k");
    for (unsigned i = 0; i < KEYS; i++) {
        assert_contains(get(&b, text(&b, "{'k':'key %u'}", i)), "\"v\":");
    }
    assert_string_equal(audit(&b), "0 0");
    give_back(race, sizeof *race);
}

/* ---- the suite
 * ----------------------------------------------------------------------------------------------------
 */

static const struct contract_test {
    const char *name;
    CMUnitTestFunction run;
    unsigned needs; /* guarantees without which the test says nothing */
} suite[] = {
#define RUNS(name)                                                                                 \
    {                                                                                              \
#name, name, 0                                                                             \
    }
#define NEEDS(what, name)                                                                          \
    {                                                                                              \
#name, name, what                                                                          \
    }
    RUNS(the_type_describes_itself),
    RUNS(a_missing_table_is_absent),
    RUNS(a_table_is_made_and_opened),
    RUNS(a_table_is_made_once),
    RUNS(a_key_column_must_exist),
    RUNS(an_order_column_must_exist),
    RUNS(tables_do_not_mix),
    RUNS(outcomes_are_told_apart),
    NEEDS(ONEROW_SEQUENTIAL, equal_keys_are_written_in_order),
    RUNS(partial_records_leave_the_rest_alone),
    RUNS(ids_are_stable),
    RUNS(get_finds_or_says_absent),
    NEEDS(ONEROW_TRANSACTIONS, rollback_undoes),
    NEEDS(ONEROW_TRANSACTIONS, commit_keeps),
    NEEDS(ONEROW_TRANSACTIONS, an_empty_transaction_is_harmless),
    RUNS(begin_obeys_stop),
    NEEDS(ONEROW_SEQUENTIAL, keep_leaves_the_row),
    NEEDS(ONEROW_SEQUENTIAL, newest_wins),
    NEEDS(ONEROW_SEQUENTIAL, newest_compares_numbers_by_value),
    RUNS(text_is_kept_byte_for_byte),
    RUNS(a_mebibyte_in_one_value),
    RUNS(three_hundred_columns),
    RUNS(values_of_every_kind),
    RUNS(keys_of_every_type),
    RUNS(composite_keys),
    RUNS(composite_keys_do_not_run_together),
    RUNS(null_equals_null_when_asked),
    RUNS(null_is_no_key_otherwise),
    RUNS(normalized_keys_are_stored_normalized),
    RUNS(audit_finds_nothing_on_a_healthy_table),
    NEEDS(ONEROW_TRANSACTIONS, big_rollbacks),
    NEEDS(ONEROW_DURABLE, a_second_handle_sees_what_was_committed),
    NEEDS(ONEROW_DURABLE, a_killed_process_loses_nothing_committed),
    NEEDS(ONEROW_DURABLE, four_processes_put_the_same_keys),
};

#define N_SUITE (sizeof suite / sizeof *suite)

/* What the store's tables promise; tests of the suite are chosen by it. */
static unsigned promised_by(const struct store_bench *bench)
{
    void *state = (void *)(uintptr_t)bench;
    start(&state);
    bench_create(&b, "items", "k", "k:text,v:int");
    bench_look(&b, "items", "k");
    unsigned guarantees = b.table.table ? b.table.table->guarantees : 0;
    stop(NULL);
    return guarantees;
}

static int start_with_promises(void **state)
{
    promises = promised_by(*state);
    return start(state);
}

static size_t add_tests(const struct store_bench *bench, struct CMUnitTest *tests)
{
    size_t n = 0;
    unsigned guarantees = promised_by(bench);
    printf("# %s promises:%s%s%s%s%s%s\n", bench->store,
           guarantees & ONEROW_ENFORCED ? " enforced" : "",
           guarantees & ONEROW_TRANSACTIONS ? " transactions" : "",
           guarantees & ONEROW_DURABLE ? " durable" : "",
           guarantees & ONEROW_SEQUENTIAL ? " sequential" : "",
           guarantees & ONEROW_EXCLUSIVE ? " exclusive" : "",
           guarantees & ONEROW_PARALLEL ? " parallel" : "");
    for (size_t i = 0; i < N_SUITE; i++) {
        if ((suite[i].needs & ~guarantees) == 0) {
            char *name = NULL;
            if (asprintf(&name, "%s %s", bench->store, suite[i].name) < 0) {
                abort();
            }
            tests[n++] = (struct CMUnitTest){.name = name,
                                             .test_func = suite[i].run,
                                             .setup_func = start_with_promises,
                                             .teardown_func = stop,
                                             .initial_state = (void *)(uintptr_t)bench};
        }
    }
    return n;
}

/* A store without a bench would be a store without a test. Stores of pages have another contract,
 * and tests of their own for it (tests/unit/test_store_notion.c). */
static void every_store_has_a_bench(void **state)
{
    (void)state;
    for (size_t i = 0; or_store_types[i]; i++) {
        if (!or_store_types[i]->pages && !bench_of(or_store_types[i])) {
            fail_msg("store \"%s\" needs a line in benches", or_store_types[i]->name);
        }
    }
}

int main(void)
{
    static struct CMUnitTest tests[64 * N_SUITE] = {cmocka_unit_test(every_store_has_a_bench)};
    size_t n = 1;
    seed_dice();
    for (size_t i = 0; or_store_types[i] && i < 63; i++) {
        const struct store_bench *bench = bench_of(or_store_types[i]);
        n += bench ? add_tests(bench, tests + n) : 0;
    }
    int failed = _cmocka_run_group_tests("contract", tests, n, NULL, NULL);
    for (size_t i = 1; i < n; i++) {
        free((char *)(uintptr_t)tests[i].name);
    }
    return failed;
}
