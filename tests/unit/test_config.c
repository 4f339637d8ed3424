/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: what is read from onerow.yaml and the flags, and where and
 * how each mistake is reported. The examples of docs/CONFIGURATION.md are loaded
 * as they stand there.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/config.h"

#define FILE_NAME "t.yaml"

static char folder[PATH_MAX]; /* every test's files lie here, and it is the current directory */
static char guide[PATH_MAX];  /* docs/CONFIGURATION.md */

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static enum onerow_status load(struct or_config *config, const char *text,
                               struct onerow_error *error)
{
    struct or_config_flags flags = {.config = FILE_NAME};
    write_file(FILE_NAME, text, strlen(text), 0644);
    *error = (struct onerow_error){0};
    return or_config_load(config, &flags, error);
}

static void load_well(struct or_config *config, const char *text)
{
    struct onerow_error error;
    if (load(config, text, &error) != ONEROW_OK) {
        fail_msg("%s\nof:\n%s", error.text, text);
    }
}

static void assert_says(const char *text, const char *prefix, const char *fragment)
{
    if (strncmp(text, prefix, strlen(prefix)) != 0) {
        fail_msg("\"%s\" does not begin with \"%s\"", text, prefix);
    }
    if (!strstr(text, fragment)) {
        fail_msg("\"%s\" does not say \"%s\"", text, fragment);
    }
}

/* ---- mistakes in the file ------------------------------------------------------ */

#define STORES      "stores:\n  app: { url: \"sqlite:app.db\" }\n"
#define AREAS(more) STORES "tables:\n  areas:\n    store: app\n" more  /* more: from line 6 */
#define KEYED(more) AREAS("    key: [Name]\n" more)                    /* more: from line 7 */
#define PAGED(more) "stores:\n  app: { url: \"notion:\", " more " }\n" /* more: 2:26 */
#define KEY(more)   AREAS("    key: [" more "]\n")                     /* more: 6:11 */

struct mistake {
    const char *text;
    const char *place;
    const char *says;
};

static const struct mistake MISTAKES[] = {
    /* Not YAML, or more of it than a configuration needs. */
    {"stores:\n\tapp: x\n", "2:1", "indent with spaces, not with tabs"},
    {"stores: [\n", "2:1", "not valid YAML: "},
    {"stores:\n  app: { url: ${HOME} }\n", "2:16", "write the variable in quotes: \"${NAME}\""},
    {"stores:\n  app: a: b\n", "2:9", "not valid YAML: mapping values are not allowed"},
    {"stores:\n  app: \"a\n", "3:1", "while scanning a quoted scalar that begins at line 2"},
    {"stores:\n a\x01: b\n", "2:3", "control characters are not allowed"},
    {"stores:\n \xc3\xa4\xff: b\n", "2:3", "not UTF-8"},
    {"\xff\xfe", "1:1", "not UTF-8"},
    {"stores: {}\n---\ntables: {}\n", "2:1", "a second document begins here"},
    {"stores: &a\n  app: { url: \"sqlite:a\" }\ntables: {}\n", "1:9", "anchors (&name)"},
    {"stores: {}\ntables: *x\n", "2:9", "aliases (*name)"},
    {"stores: !!map {}\n", "1:9", "tags (!name)"},
    {"stores: ! x\n", "1:9", "tags (!name)"},
    {"a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "1:19", "nested too deeply"},
    {"tables:\n  a: { key: @x }\n", "2:13", "; put a value that holds \":\", \"@\" or"},
    {"%YAML 3.0\n---\n{}\n", "1:1", "incompatible YAML document"},
    /* The file as a whole. */
    {"- a\n", "1:1", "the file is a list, not a mapping; write stores: and tables:"},
    {"just text\n", "1:1", "is one value, not a mapping"},
    {"store: {}\n", "1:1",
     "unknown key \"store\"; did you mean \"stores\"? Known keys: coordinator, ledger, stores"},
    {"tabels: {}\n", "1:1", "did you mean \"tables\"?"},
    {"something: {}\n", "1:1",
     "unknown key \"something\". Known keys: coordinator, ledger, stores"},
    {"ledger: mysql://localhost/app\n", "1:9",
     "this is no coordinator of this build; there are sqlite:PATH"},
    {"coordinator: mysql://localhost/app\n", "1:14",
     "this is no coordinator of this build; there are sqlite:PATH"},
    {"stores: {}\nalerts: []\n", "2:1", "\"alerts\" is not supported by this version"},
    {"stores: {}\ntables: {}\nstores: {}\n", "3:1",
     "\"stores\" is given twice, first at t.yaml:1:1"},
    {"? [a, b]\n: c\n", "1:3", "a list cannot be a key"},
    {"? {a: b}\n: c\n", "1:3", "a mapping cannot be a key"},
    {"~: c\n", "1:1", "a key is empty"},
    {"\"a\\nb\": c\n", "1:1", "holds a line break"},
    /* Stores. */
    {"stores: []\n", "1:9", "stores: is a list, not a mapping; write NAME: { url:"},
    {"stores:\n  app: sqlite:app.db\n", "2:8", "stores.app: is one value, not a mapping; write {"},
    {"stores:\n  app:\n", "2:7", "stores.app: has no value; write { url: "},
    {"stores:\n  app: {}\n", "2:3", "stores.app: \"url\" is missing; write url: \"sqlite:PATH\""},
    {"stores:\n  app: { uri: x }\n", "2:10", "unknown key \"uri\"; did you mean \"url\"?"},
    {"stores:\n  app: { url: \"notion:\", coordinator: x }\n", "2:26",
     "stores.app: \"coordinator\" is not supported"},
    {PAGED("token: x"), "2:33", "stores.app.token: is written into the file itself"},
    {PAGED("token: \"${OR_TEST_UNSET}\""), "2:33", "OR_TEST_UNSET is not set; export it"},
    {PAGED("token: \"file:absent\""), "2:33", "cannot open the secret file absent"},
    {PAGED("windows: [\"180/60s\", 3]"), "2:47", "\"3\": it must be COUNT/SPAN, as in 180/60s"},
    {PAGED("windows: [1/1, 1/2, 1/3, 1/4, 1/5]"), "2:56", "\"1/5\": there are more than 4 windows"},
    {PAGED("windows: [1/1, 1/2, 1/3, 1/4], min_gap: 1s"), "2:66", "more than 4 windows, min_gap"},
    {PAGED("min_gap: soon"), "2:35", "\"soon\" is no time; write one as 30s, 2m or 500ms"},
    {PAGED("conflict_wait: 0s"), "2:41", "\"0s\" is no time"},
    {PAGED("conflict_wait: 2h"), "2:41", "\"2h\" is too long; write at most 3600s"},
    {PAGED("bounds: { paws: 1s }"), "2:36",
     "stores.app.bounds: unknown key \"paws\"; did you mean"},
    {PAGED("bounds: { lease: 60s }"), "2:34",
     "a request of 60000 ms does not fit into a lease of 60000 ms with a guard of 5000 ms"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: 0 }\n", "2:40",
     "stores.app.connections: \"0\" is not a number from 1 to 16; write one"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: 17 }\n", "2:40", "from 1 to 16"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: 4294967297 }\n", "2:40", "from 1 to 16"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: -1 }\n", "2:40", "from 1 to 16"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: two }\n", "2:40", "\"two\" is not a"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: }\n", "2:40", "has no value"},
    {"stores:\n  app: { url: \"sqlite:a\", connections: [2] }\n", "2:40", "is a list"},
    {"stores:\n  app: { url: \"sqlite:a\", connection: 2 }\n", "2:27",
     "did you mean \"connections\"?"},
    {"stores:\n  app: { url: }\n", "2:15", "stores.app.url: has no value"},
    {"stores:\n  app: { url: \"\" }\n", "2:15", "stores.app.url: is empty"},
    {"stores:\n  app: { url: [a] }\n", "2:15", "stores.app.url: is a list; write one value"},
    {"stores:\n  app: { url: app.db }\n", "2:15", "write sqlite:app.db"},
    {"stores:\n  app: { url: ./a:b.db }\n", "2:15", "write sqlite:./a:b.db"},
    {"stores:\n  app: { url: 'C:\\app.db' }\n", "2:15", "write sqlite:C:\\app.db"},
    {"stores:\n  app: { url: \"sqlite:\" }\n", "2:15", "names no file"},
    {"stores:\n  app: { url: \"sqlite:///\" }\n", "2:15", "names no file"},
    {"stores:\n  app: { url: \"sqlite://host/a\" }\n", "2:15", "a SQLite file has no host"},
    {"stores:\n  app: { url: \"sqlite:///a?b=c\" }\n", "2:15", "parameters after \"?\""},
    {"stores:\n  app: { url: \"sqlite:a\\0b\" }\n", "2:15", "another control character"},
    {"stores:\n  app:\n    url: |\n      sqlite:a\n", "3:10", "holds a line break"},
    {"stores:\n  app: { url: \"sqlite:a\" }\n  \"app\": { url: \"sqlite:b\" }\n", "3:3",
     "stores: \"app\" is given twice, first at t.yaml:2:3"},
    {"stores:\n  app:\n    url: sqlite:a\n    url: sqlite:b\n", "4:5",
     "stores.app: \"url\" is given twice, first at t.yaml:3:5"},
    {"stores:\n  \"${HOME}\": { url: \"sqlite:a\" }\n", "2:3", "variables are replaced in values"},
    /* Variables and secret files. */
    {"stores:\n  app: { url: \"${OR_TEST_UNSET}\" }\n", "2:15",
     "stores.app.url: the environment variable OR_TEST_UNSET is not set; export it"},
    {"stores:\n  app: { url: \"sqlite:${OR_TEST_NAME}/${OR_TEST_UNSET}\" }\n", "2:15",
     "OR_TEST_UNSET"},
    {"stores:\n  app: { url: \"${OR_TEST_EMPTY}\" }\n", "2:15", "is empty once its variables"},
    {"stores:\n  app: { url: \"${OR_TEST_BAD}\" }\n", "2:15", "holds a line break"},
    {"stores:\n  app: { url: \"${OR_TEST_LATIN}\" }\n", "2:15", "is not UTF-8"},
    {"stores:\n  app: { url: \"${OR_TEST_NAME}\" }\n", "2:15",
     "\"${OR_TEST_NAME}\" gives no store URL"},
    {"stores:\n  app: { url: \"${A:-b}\" }\n", "2:15", "a variable is written ${NAME}"},
    {"stores:\n  app: { url: \"${A\" }\n", "2:15", "a variable is written ${NAME}"},
    {"stores:\n  app: { url: \"${}\" }\n", "2:15", "a variable is written ${NAME}"},
    {"stores:\n  app: { url: \"${1A}\" }\n", "2:15", "a variable is written ${NAME}"},
    {"stores:\n  app: { url: \"file:absent\" }\n", "2:15", "cannot open the secret file absent"},
    {"stores:\n  app: { url: \"file:open\" }\n", "2:15", "run: chmod 600 'open'"},
    {"stores:\n  app: { url: \"file:${OR_TEST_DIR}/open\" }\n", "2:15",
     "run: chmod 600 \"${OR_TEST_DIR}/open\""},
    {"stores:\n  app: { url: \"file:it's open\" }\n", "2:15", "run: chmod 600 'it'\\''s open'"},
    {"stores:\n  app: { url: \"file:.\" }\n", "2:15", "is not an ordinary file"},
    {"stores:\n  app: { url: \"file:empty\" }\n", "2:15", "the secret file empty is empty"},
    {"stores:\n  app: { url: \"file:lines\" }\n", "2:15", "holds a line break"},
    {"stores:\n  app: { url: \"file:long\" }\n", "2:15", "longer than 65536 bytes"},
    {"stores:\n  app: { url: \"file:plain\" }\n", "2:15", "\"file:plain\" gives no store URL"},
    /* Tables. */
    {STORES "tables: x\n", "3:9", "tables: is one value, not a mapping"},
    {STORES "tables:\n  areas: [x]\n", "4:10", "tables.areas: is a list, not a mapping"},
    {STORES "tables:\n  areas: { key: [a] }\n", "4:3", "tables.areas: \"store\" is missing"},
    {STORES "tables:\n  areas: { store: app }\n", "4:3", "tables.areas: \"key\" is missing"},
    {STORES "tables:\n  areas: { store: ap, key: [a] }\n", "4:19",
     "tables.areas.store: there is no store \"ap\"; did you mean \"app\"?"},
    {"tables:\n  areas: { store: \"${OR_TEST_NAME}\", key: [a] }\n", "2:19",
     "there is no store \"${OR_TEST_NAME}\". Name it under stores:"},
    {KEYED("    kye: [x]\n"), "7:5", "tables.areas: unknown key \"kye\"; did you mean \"key\"?"},
    {KEYED("    scope: x\n"), "7:5", "tables.areas: \"scope\" is not supported by this version"},
    {KEYED("    relations: x\n"), "7:16", "tables.areas.relations: is one value, not a mapping"},
    {KEYED("    relations: { Name: areas }\n"), "7:24", "is a column of the key"},
    {KEYED("    relations: { a: [areas] }\n"), "7:21", "tables.areas.relations.a: is a list"},
    {KEYED("    relations: { a: ~ }\n"), "7:21", "tables.areas.relations.a: has no value"},
    {KEYED("    relations: { a: ares }\n"), "7:21",
     "tables.areas.relations.a: there is no table \"ares\"; did you mean \"areas\"?"},
    {KEYED("    relations: { a: areas }\n    defaults: { a: x }\n"), "7:21",
     "tables.areas.relations.a: has a default, too (line 8)"},
    {KEYED("    defaults: x\n"), "7:15", "tables.areas.defaults: is one value, not a mapping"},
    {KEYED("    defaults: { Name: x }\n"), "7:23", "is a column of the key"},
    {KEYED("    defaults: { a: { b: c } }\n"), "7:20", "tables.areas.defaults.a: is a mapping"},
    {KEYED("    defaults: { a: ~ }\n"), "7:20", "tables.areas.defaults.a: has no value"},
    {KEYED("    protocol: gurded\n"), "7:15", "did you mean \"guarded\"? Write guarded or direct"},
    {KEYED("    when_trashed: ignore\n"), "7:19", "Write tombstone or restore or recreate"},
    {KEYED("    verify: page\n"), "7:13", "\"page\" is not known. Write ledger or read"},
    {KEYED("    ledger: \"https://host\"\n"), "7:13", "this is no coordinator of this build"},
    {KEYED("    key: [x]\n"), "7:5", "\"key\" is given twice, first at t.yaml:6:5"},
    {KEYED("    location: ''\n"), "7:15", "tables.areas.location: is empty"},
    {KEYED("    location: ~\n"), "7:15", "tables.areas.location: has no value"},
    {KEYED("    unenforced: yes\n"), "7:17", "\"yes\" is not known. Write accept"},
    {KEYED("    unenforced: acept\n"), "7:17", "did you mean \"accept\"? Write accept"},
    {KEYED("    key_equality: exact\n"), "7:19", "\"exact\" is not known. Write store"},
    /* Keys. */
    {AREAS("    key:\n"), "6:9", "tables.areas.key: has no value"},
    {AREAS("    key: []\n"), "6:10", "tables.areas.key: names no column"},
    {AREAS("    key: { column: Name }\n"), "6:10", "is a mapping; write a list"},
    {KEY("[Name]"), "6:11", "is a list; write one value"},
    {KEY("Name, Name"), "6:17", "the column \"Name\" is in the key twice"},
    {KEY("Name, { column: Name }"), "6:17", "the column \"Name\" is in the key twice"},
    {KEY("''"), "6:11", "is empty"},
    {KEY("{ type: text }"), "6:11", "\"column\" is missing; write column: COLUMN"},
    {KEY("{ column: a, typ: int }"), "6:24", "unknown key \"typ\"; did you mean \"type\"?"},
    {KEY("{ column: a, type: integer }"), "6:30",
     "\"integer\" is not a type; did you mean \"int\"? The types are text, int, decimal, bool, "
     "date, timestamp, uuid"},
    {KEY("{ column: a, type: txt }"), "6:30", "did you mean \"text\"?"},
    {KEY("{ column: a, type: json }"), "6:30", "\"json\" is not a type. The types are"},
    {KEY("{ column: a, type: int, normalize: [trim] }"), "6:46",
     "only a text column can be normalized"},
    {KEY("{ column: a, normalize: [trim], type: date }"), "6:35",
     "only a text column can be normalized"},
    {KEY("{ column: a, normalize: [nfc, trimm] }"), "6:41", "did you mean \"trim\"?"},
    {KEY("{ column: a, normalize: [lower] }"), "6:36", "Write nfc or trim or casefold"},
    {KEY("{ column: a, normalize: { nfc: 1 } }"), "6:35", "is a mapping; write one value"},
    {KEY("{ column: a, nulls: distinct }"), "6:31", "Write reject or equal"},
    {KEY("{ column: a, nulls: }"), "6:31", "has no value"},
    {KEY("id:int"), "6:11", "is how --key names a type; write {column: …, type: …}"},
    {KEY("a, 'CAST(COALESCE(line, -1) AS INT64)'"), "6:14",
     "distinct rows would vanish (24.5 becomes 25, NULL becomes -1); use {column: line, type: "
     "decimal, nulls: equal}"},
    {KEY("{ column: 'LOWER(name)' }"), "6:21", "use {column: name, normalize: [casefold]}"},
    {KEY("'TRIM( name )'"), "6:11", "use {column: COLUMN, normalize: [trim]}"},
    {AREAS("    key: ROUND(line)\n"), "6:10", "is an expression, not a column"},
    {KEY("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"), "6:43", "a key has at most 16 columns"},
    /* Policies and the rest. */
    {KEYED("    on_conflict: replace\n"), "7:18",
     "\"replace\" is not a policy. Write update, keep or newest(COLUMN)"},
    {KEYED("    on_conflict: updat\n"), "7:18", "did you mean \"update\"?"},
    {KEYED("    on_conflict: newest\n"), "7:18", "newest needs the column"},
    {KEYED("    on_conflict: newest( )\n"), "7:18", "newest needs the column"},
    {KEYED("    on_conflict: newest(Name)\n"), "7:18", "the column is part of the key"},
    {KEYED("    on_conflict: [keep]\n"), "7:18", "is a list; write one value"},
    {KEYED("    updated_at: changed\n"), "7:17",
     "tables.areas.updated_at: is one value, not a mapping; write { column: COLUMN"},
    {KEYED("    updated_at: { when: write }\n"), "7:5", "\"column\" is missing"},
    {KEYED("    updated_at: { column: c, when: always }\n"), "7:36", "Write change or write"},
    {KEYED("    updated_at: { column: Name }\n"), "7:27", "part of the key, which never changes"},
    {KEYED("    on_conflict: newest(at)\n    updated_at: { column: at }\n"), "8:27",
     "the store's clock would overwrite it"},
    {KEYED("    secret: [a, { b: c }]\n"), "7:17", "is a mapping; write one value"},
    {KEYED("    secret:\n"), "7:12", "tables.areas.secret: has no value"},
};

static void mistakes_are_named_at_their_place(void **state)
{
    (void)state;
    assert_true(sizeof MISTAKES / sizeof *MISTAKES >= 50);
    for (size_t i = 0; i < sizeof MISTAKES / sizeof *MISTAKES; i++) {
        struct or_config config;
        struct onerow_error error;
        char prefix[64];
        snprintf(prefix, sizeof prefix, FILE_NAME ":%s: ", MISTAKES[i].place);
        if (load(&config, MISTAKES[i].text, &error) != ONEROW_CONFIG) {
            fail_msg("not refused:\n%s", MISTAKES[i].text);
        }
        assert_int_equal(error.status, ONEROW_CONFIG);
        assert_says(error.text, prefix, MISTAKES[i].says);
        or_config_finish(&config);
    }
}

static void no_message_shows_a_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "stores:\n  app: { url: \"${OR_TEST_SECRET}\" }\n",
        "stores:\n  app: { url: \"sqlite://${OR_TEST_SECRET}\" }\n",
        "stores:\n  app: { url: \"file:secret\" }\n",
        "stores:\n  app: { url: \"host=h password=hunter2\" }\n",
        "stores:\n  app: { url: \"//user:hunter2@host\" }\n",
        AREAS("    key: \"${OR_TEST_SECRET}(x)\"\n"),
        KEY("{ column: a, type: \"${OR_TEST_SECRET}\" }"),
        KEY("{ column: a, nulls: \"${OR_TEST_SECRET}\" }"),
        KEYED("    on_conflict: \"${OR_TEST_SECRET}\"\n"),
        KEYED("    unenforced: \"${OR_TEST_SECRET}\"\n"),
        "stores:\n  app: { url: \"sqlite:a\", connections: \"${OR_TEST_SECRET}\" }\n",
        STORES "tables:\n  areas: { store: \"${OR_TEST_SECRET}\", key: [a] }\n",
    };
    write_file("secret", "hunter2\n", 8, 0600);
    setenv("OR_TEST_SECRET", "hunter2", 1);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct or_config config;
        struct onerow_error error;
        assert_int_equal(load(&config, texts[i], &error), ONEROW_CONFIG);
        assert_null(strstr(error.text, "hunter2"));
        or_config_finish(&config);
    }
}

static void a_long_or_odd_name_does_not_flood_the_message(void **state)
{
    (void)state;
    struct or_buffer text;
    or_buffer_init(&text);
    for (int i = 0; i < 400; i++) {
        or_buffer_text(&text, "\xc3\xa4");
    }
    or_buffer_text(&text, ": x\n");
    struct or_config config;
    struct onerow_error error;
    assert_int_equal(load(&config, or_buffer_cstr(&text), &error), ONEROW_CONFIG);
    assert_says(error.text, FILE_NAME ":1:1: unknown key \"\xc3\xa4", "\xc3\xa4…\". Known keys");
    assert_true(strlen(error.text) < 400);
    or_config_finish(&config);
    or_buffer_finish(&text);
}

/* ---- limits ------------------------------------------------------------------------- */

static void a_file_has_a_largest_size(void **state)
{
    (void)state;
    static char text[1024 * 1024 + 2];
    struct or_config_flags flags = {.config = FILE_NAME};
    struct or_config config;
    struct onerow_error error;
    memset(text, '\n', sizeof text);
    write_file(FILE_NAME, text, 1024 * 1024, 0644);
    assert_int_equal(or_config_load(&config, &flags, &error), ONEROW_OK);
    or_config_finish(&config);
    write_file(FILE_NAME, text, 1024 * 1024 + 1, 0644);
    assert_int_equal(or_config_load(&config, &flags, &error), ONEROW_CONFIG);
    assert_says(error.text, FILE_NAME ": ", "longer than 1 MiB");
    or_config_finish(&config);
}

/* n stores named s0, s1, … */
static void many_stores(struct or_buffer *text, unsigned n)
{
    or_buffer_text(text, "stores:\n");
    for (unsigned i = 0; i < n; i++) {
        or_buffer_printf(text, "  s%u: { url: \"sqlite:%u.db\" }\n", i, i);
    }
}

static void a_mapping_has_a_largest_size(void **state)
{
    (void)state;
    struct or_buffer text;
    struct or_config config;
    struct onerow_error error;
    or_buffer_init(&text);
    many_stores(&text, 4096);
    load_well(&config, or_buffer_cstr(&text));
    assert_int_equal(config.n_stores, 4096);
    assert_string_equal(config.stores[4095].url, "sqlite:4095.db");
    or_config_finish(&config);
    or_buffer_clear(&text);
    many_stores(&text, 4097);
    assert_int_equal(load(&config, or_buffer_cstr(&text), &error), ONEROW_CONFIG);
    assert_says(error.text, FILE_NAME ":2:3: ", "stores: has more than 4096 entries");
    or_config_finish(&config);
    or_buffer_finish(&text);
}

/* ---- what is read -------------------------------------------------------------------- */

static void an_empty_file_is_an_empty_configuration(void **state)
{
    (void)state;
    static const char *const texts[] = {"",    "# nothing yet\n", "---\n",
                                        "~\n", "\xef\xbb\xbf",    "stores:\ntables:\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct or_config config;
        load_well(&config, texts[i]);
        assert_string_equal(config.path, FILE_NAME);
        assert_int_equal(config.n_stores, 0);
        assert_int_equal(config.n_tables, 0);
        or_config_finish(&config);
    }
}

static void a_table_takes_its_defaults(void **state)
{
    (void)state;
    struct or_config config;
    load_well(&config, STORES "tables:\n  areas: { store: app, key: Name }\n");
    assert_int_equal(config.n_stores, 1);
    assert_string_equal(config.stores[0].name, "app");
    assert_string_equal(config.stores[0].url, "sqlite:app.db");
    assert_int_equal(config.stores[0].place.line, 2);
    assert_int_equal(config.stores[0].place.column, 3);
    const struct or_config_table *table = &config.tables[0];
    assert_int_equal(config.n_tables, 1);
    assert_ptr_equal(table->store, &config.stores[0]);
    assert_string_equal(table->spec.name, "areas");
    assert_string_equal(table->spec.location, "areas");
    assert_int_equal(table->spec.n_key, 1);
    assert_string_equal(table->spec.key[0].name, "Name");
    assert_int_equal(table->spec.key[0].type, ONEROW_TYPE_UNKNOWN);
    assert_int_equal(table->spec.key[0].normalize, 0);
    assert_false(table->spec.key[0].nulls_equal);
    assert_int_equal(table->spec.policy, ONEROW_POLICY_UPDATE);
    assert_null(table->spec.order_column);
    assert_int_equal(table->spec.touch, ONEROW_TOUCH_NONE);
    assert_null(table->spec.touch_column);
    assert_false(table->spec.accept_unenforced);
    assert_false(table->spec.store_key_equality);
    assert_false(table->spec.want_ids);
    assert_null(table->secrets);
    assert_int_equal(table->place.line, 4);
    assert_int_equal(table->place.column, 3);
    assert_int_equal(table->key_place.line, 4);
    assert_int_equal(table->key_place.column, 29);
    or_config_finish(&config);
}

static const char FULL[] = "\xef\xbb\xbf" /* a byte order mark, as some editors write */
                           "tables:\r\n"
                           "  lines:\r\n"
                           "    secret: [access_token, 'null']\r\n"
                           "    updated_at: { when: write, column: seen_at }\r\n"
                           "    on_conflict: newest( created_at )\r\n"
                           "    key_equality: store\r\n"
                           "    unenforced: accept\r\n"
                           "    key:\r\n"
                           "      - game\r\n"
                           "      - { column: line, type: decimal, nulls: equal }\r\n"
                           "      - column: Name\r\n"
                           "        nulls: reject\r\n"
                           "        type: text\r\n"
                           "        normalize: [nfc, trim, casefold]\r\n"
                           "      - { column: 'a:int', normalize: casefold }\r\n"
                           "    location: main.lines\r\n"
                           "    store: pg\r\n"
                           "stores:\r\n"
                           "  app: { url: 'sqlite:////srv/app.db' }\r\n"
                           "  pg: { url: 'postgres://u:p@h/db' }\r\n";

static void assert_column(const struct onerow_key_column *column, const char *name,
                          enum onerow_type type, unsigned normalize, bool nulls_equal)
{
    assert_string_equal(column->name, name);
    assert_int_equal(column->type, type);
    assert_int_equal(column->normalize, normalize);
    assert_int_equal(column->nulls_equal, nulls_equal);
}

static void every_field_is_read(void **state)
{
    (void)state;
    struct or_config config;
    load_well(&config, FULL);
    assert_string_equal(config.stores[0].url, "sqlite:/srv/app.db");
    assert_string_equal(config.stores[1].url, "postgres://u:p@h/db");
    const struct or_config_table *table;
    assert_int_equal(or_config_table(&config, "lines", &table, NULL), ONEROW_OK);
    assert_ptr_equal(table->store, &config.stores[1]);
    assert_string_equal(table->spec.location, "main.lines");
    assert_int_equal(table->spec.n_key, 4);
    assert_column(&table->spec.key[0], "game", ONEROW_TYPE_UNKNOWN, 0, false);
    assert_column(&table->spec.key[1], "line", ONEROW_TYPE_DECIMAL, 0, true);
    assert_column(&table->spec.key[2], "Name", ONEROW_TYPE_TEXT,
                  ONEROW_NFC | ONEROW_TRIM | ONEROW_CASEFOLD, false);
    assert_column(&table->spec.key[3], "a:int", ONEROW_TYPE_UNKNOWN, ONEROW_CASEFOLD, false);
    assert_int_equal(table->spec.policy, ONEROW_POLICY_NEWEST);
    assert_string_equal(table->spec.order_column, "created_at");
    assert_int_equal(table->spec.touch, ONEROW_TOUCH_WRITE);
    assert_string_equal(table->spec.touch_column, "seen_at");
    assert_true(table->spec.accept_unenforced);
    assert_true(table->spec.store_key_equality);
    assert_string_equal(table->secrets[0], "access_token");
    assert_string_equal(table->secrets[1], "null");
    assert_null(table->secrets[2]);
    assert_int_equal(table->key_place.line, 9);
    assert_int_equal(table->key_place.column, 7);
    assert_true(or_config_is_secret(table, OR_SPAN("access_token")));
    assert_true(or_config_is_secret(table, OR_SPAN("ACCESS_TOKEN")));
    assert_false(or_config_is_secret(table, OR_SPAN("access_toke")));
    or_config_finish(&config);
}

static const char PAGES[] =
    "coordinator: sqlite:all.db\n"
    "ledger: sqlite:ledger.db\n"
    "stores:\n"
    "  app: { url: \"sqlite:a.db\" }\n"
    "  pages: { url: \"notion:\", token: \"${OR_TEST_NAME}\", version: 2022-06-28, windows: "
    "[180/60s, "
    "2700/15m], min_gap: 350ms, conflict_wait: 10s, bounds: { pause: 1s, request: 2s, life: 3s, "
    "lag: "
    "4s, skew: 5s, guard: 6s, lease: 1m, poll: 7s } }\n"
    "tables:\n"
    "  plain: { store: app, key: [Name] }\n"
    "  areas: { store: pages, key: [Name], protocol: direct, when_trashed: recreate, verify: read, "
    "ledger: \"sqlite:own.db\", defaults: { Kind: Active, Rank: 3, Text: \"3\", Tags: [a, 'b\"'] } "
    "}\n";

static void what_is_said_of_pages(void **state)
{
    (void)state;
    struct or_config config;
    const struct or_config_table *table;
    load_well(&config, PAGES);
    assert_int_equal(or_config_table(&config, "areas", &table, NULL), ONEROW_OK);
    const struct or_config_store *store = table->store;
    assert_true(or_span_is(store->token, getenv("OR_TEST_NAME")));
    assert_string_equal(store->version, "2022-06-28");
    assert_int_equal(store->n_windows, 3);
    assert_int_equal(store->windows[1].count, 2700);
    assert_int_equal(store->windows[2].count, 1);
    assert_int_equal(store->windows[2].span_ms, 350);
    assert_int_equal(store->conflict_wait, 10000);
    const struct or_bounds bounds = {1000, 2000, 3000, 4000, 5000, 6000, 60000, 7000};
    assert_memory_equal(&store->bounds, &bounds, sizeof bounds);
    assert_int_equal(table->protocol, OR_PROTOCOL_DIRECT);
    assert_int_equal(table->when_trashed, OR_DELETION_RECREATE);
    assert_true(table->verify_read);
    assert_string_equal(table->ledger, "sqlite:own.db");
    assert_string_equal(table->coordinator, "sqlite:all.db");
    assert_int_equal(table->n_defaults, 4);
    static const struct {
        const char *column, *text;
        enum onerow_kind kind;
    } DEFAULTS[] = {{"Kind", "Active", ONEROW_UNTYPED},
                    {"Rank", "3", ONEROW_UNTYPED},
                    {"Text", "3", ONEROW_TEXT},
                    {"Tags", "[\"a\",\"b\\\"\"]", ONEROW_JSON}};
    for (size_t i = 0; i < 4; i++) {
        const struct or_config_default *given = &table->defaults[i];
        assert_string_equal(given->column, DEFAULTS[i].column);
        assert_int_equal(given->value.kind, DEFAULTS[i].kind);
        assert_true(or_span_is((struct onerow_span){given->value.data, given->value.len},
                               DEFAULTS[i].text));
    }
    assert_int_equal(or_config_table(&config, "plain", &table, NULL), ONEROW_OK);
    assert_string_equal(table->ledger, "sqlite:ledger.db");
    const struct or_bounds usual = OR_BOUNDS_DEFAULT;
    assert_memory_equal(&table->store->bounds, &usual, sizeof usual);
    or_config_finish(&config);
}

static void variables_and_secret_files_are_replaced(void **state)
{
    (void)state;
    struct or_config config;
    setenv("OR_TEST_HOST", "db.example", 1);
    setenv("OR_TEST_LIKE", "file:secret", 1);
    setenv("OR_TEST_DOLLAR", "${OR_TEST_UNSET}", 1);
    write_file("secret", "postgres://u:p@h/db\r\n", 21, 0400);
    load_well(&config, "stores:\n"
                       "  a: { url: \"postgres://${OR_TEST_HOST}/${OR_TEST_NAME}?$x$\" }\n"
                       "  b: { url: 'sqlite:$${OR_TEST_NAME}-$$-$' }\n"
                       "  c: { url: 'file:secret' }\n"
                       "  d: { url: '${OR_TEST_LIKE}' }\n"
                       "  e: { url: 'sqlite:${OR_TEST_DOLLAR}' }\n"
                       "tables:\n"
                       "  areas: { store: a, location: '${OR_TEST_NAME}', key: [Name] }\n");
    assert_string_equal(config.stores[0].url, "postgres://db.example/name?$x$");
    assert_string_equal(config.stores[1].url, "sqlite:${OR_TEST_NAME}-$$-$");
    assert_string_equal(config.stores[2].url, "postgres://u:p@h/db");
    assert_string_equal(config.stores[3].url, "file:secret");
    assert_string_equal(config.stores[4].url, "sqlite:${OR_TEST_UNSET}");
    assert_string_equal(config.tables[0].spec.location, "name");
    or_config_finish(&config);
}

static void sqlite_urls_have_one_spelling(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"sqlite:app.db", "sqlite:app.db"},
        {"sqlite:/srv/app.db", "sqlite:/srv/app.db"},
        {"sqlite:///app.db", "sqlite:app.db"},
        {"sqlite:////srv/app.db", "sqlite:/srv/app.db"},
        {"sqlite+pysqlite:///dir/app.db", "sqlite:dir/app.db"},
        {"SQLite:a b?.db", "sqlite:a b?.db"},
        {"memory:", "memory:"},
        {"postgresql+psycopg://h/db", "postgresql+psycopg://h/db"},
        {"bigquery:project", "bigquery:project"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct or_config config;
        struct or_config_flags flags = {.store = urls[i][0], .table = "t", .key = "k"};
        assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
        assert_string_equal(config.stores[0].url, urls[i][1]);
        or_config_finish(&config);
    }
}

static void passwords_in_urls_are_masked(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"postgres://user:secret@host/db", "postgres://user:***@host/db"},
        {"postgres://user:@host/db", "postgres://user:***@host/db"},
        {"redis://:secret@host", "redis://:***@host"},
        {"postgres://u:p/a?s#s@w@h:5432/db", "postgres://u:***@h:5432/db"},
        {"postgres://user@host:5432/db", "postgres://user@host:5432/db"},
        {"postgres://host:5432/db", "postgres://host:5432/db"},
        {"user:secret@host/db", "user:***@host/db"},
        {"postgres:///db?user=u&password=a%20b&x=1", "postgres:///db?user=u&password=***&x=1"},
        {"postgres://h/db?sslPassword=a=b", "postgres://h/db?sslPassword=***"},
        {"https://h/?access_token=abc&b=c", "https://h/?access_token=***&b=c"},
        {"host=h password=secret user=u", "host=h password=*** user=u"},
        {"sqlite:a:b@c.db", "sqlite:a:b@c.db"},
        {"sqlite:///home/a:b@c.db", "sqlite:///home/a:b@c.db"},
        {"memory:", "memory:"},
        {"://", "://"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct or_buffer masked;
        or_buffer_init(&masked);
        or_url_mask(urls[i][0], &masked);
        assert_string_equal(or_buffer_cstr(&masked), urls[i][1]);
        or_buffer_finish(&masked);
    }
}

/* ---- the command line ------------------------------------------------------------------ */

static void flags_make_a_table(void **state)
{
    (void)state;
    struct or_config_flags flags = {.store = "sqlite:///app.db",
                                    .table = "main.lines",
                                    .key = "game, line:decimal ,a:b:uuid",
                                    .on_conflict = "newest(at)"};
    struct or_config config;
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_null(config.path);
    const struct or_config_table *table;
    assert_int_equal(or_config_table(&config, NULL, &table, NULL), ONEROW_OK);
    assert_string_equal(table->spec.name, "main.lines");
    assert_string_equal(table->spec.location, "main.lines");
    assert_string_equal(table->store->url, "sqlite:app.db");
    assert_int_equal(table->spec.n_key, 3);
    assert_column(&table->spec.key[0], "game", ONEROW_TYPE_UNKNOWN, 0, false);
    assert_column(&table->spec.key[1], "line", ONEROW_TYPE_DECIMAL, 0, false);
    assert_column(&table->spec.key[2], "a:b", ONEROW_TYPE_UUID, 0, false);
    assert_int_equal(table->place.line, 0);
    struct or_buffer text;
    or_buffer_init(&text);
    or_config_key_text(&table->spec, &text);
    assert_string_equal(or_buffer_cstr(&text), "game,line:decimal,a:b:uuid");
    or_buffer_clear(&text);
    or_config_policy_text(&table->spec, &text);
    assert_string_equal(or_buffer_cstr(&text), "newest(at)");
    or_buffer_finish(&text);
    or_config_finish(&config);
}

static void policies_are_said_as_the_flag_takes_them(void **state)
{
    (void)state;
    static const char *const policies[] = {"update", "keep", "newest(a)b)", NULL};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct or_config config;
        struct or_config_flags flags = {
            .store = "memory:", .table = "t", .key = "k", .on_conflict = policies[i]};
        assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
        struct or_buffer text;
        or_buffer_init(&text);
        or_config_policy_text(&config.tables[0].spec, &text);
        assert_string_equal(or_buffer_cstr(&text), policies[i] ? policies[i] : "update");
        or_buffer_finish(&text);
        or_config_finish(&config);
    }
}

struct wrong_flags {
    struct or_config_flags flags;
    const char *text; /* of t.yaml; NULL: --config is not given */
    enum onerow_status status;
    const char *prefix;
    const char *says;
};

static const struct wrong_flags WRONG_FLAGS[] = {
    {{.table = "t"}, NULL, ONEROW_USAGE, "command line: --table", "without --key; give --key"},
    {{.key = "k"}, NULL, ONEROW_USAGE, "command line: --key", "without --table; give --table"},
    {{.store = "memory:"}, NULL, ONEROW_USAGE, "command line: --store", "give --table NAME and"},
    {{.on_conflict = "keep"}, NULL, ONEROW_USAGE, "command line: --on-conflict", "give --table"},
    {{.table = "t", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --store: is missing",
     "DATABASE_URL is not set"},
    {{.store = "app.db", .table = "t", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --store: ",
     "write sqlite:app.db"},
    {{.store = "//u:pw@h", .table = "t", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --store",
     "\"//u:***@h\""},
    {{.store = "", .table = "t", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --store: ",
     "is empty"},
    {{.store = "memory:", .table = "", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --table: ",
     "is empty"},
    {{.store = "memory:", .table = "a\nb", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --table: ",
     "line break"},
    {{.store = "memory:", .table = "a\xc2\x9b", .key = "k"},
     NULL,
     ONEROW_USAGE,
     "command line: --table: ",
     "another control character"},
    {{.store = "memory:", .table = "t", .key = ""},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "is empty"},
    {{.store = "memory:", .table = "t", .key = "a,,b"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "a column's name is empty"},
    {{.store = "memory:", .table = "t", .key = "a,"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "a column's name is empty"},
    {{.store = "memory:", .table = "t", .key = ":int"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "is empty"},
    {{.store = "memory:", .table = "t", .key = "a,a:int"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "in the key twice"},
    {{.store = "memory:", .table = "t", .key = "a:integer"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: \"integer\" is not a type; did you mean \"int\"? The types are text",
     "is named in onerow.yaml: key: [{column: \"a:integer\"}]"},
    {{.store = "memory:", .table = "t", .key = "a:"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "\"\" is not a type"},
    {{.store = "memory:", .table = "t", .key = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"},
     NULL,
     ONEROW_USAGE,
     "command line: --key: ",
     "at most 16"},
    {{.store = "memory:", .table = "t", .key = "g,CAST(COALESCE(line, -1) AS INT64)"},
     NULL,
     ONEROW_CONFIG,
     "command line: --key: ",
     "use {column: line, type: decimal, nulls: equal}"},
    {{.store = "memory:", .table = "t", .key = "k", .on_conflict = "newest(k)"},
     NULL,
     ONEROW_USAGE,
     "command line: --on-conflict: ",
     "part of the key"},
    {{.store = "memory:", .table = "t", .key = "k", .on_conflict = "kep"},
     NULL,
     ONEROW_USAGE,
     "command line: --on-conflict: ",
     "did you mean \"keep\"?"},
    {{.config = "absent.yaml"}, NULL, ONEROW_CONFIG, "absent.yaml: ", "there is no such file"},
    {{.config = "."}, NULL, ONEROW_CONFIG, ".: ", "directory"},
    {{.store = "memory:", .table = "areas", .key = "k"},
     KEYED(""),
     ONEROW_CONFIG,
     "command line: --table: areas is a table of t.yaml (line 4), too",
     "use one of both"},
};

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof WRONG_FLAGS / sizeof *WRONG_FLAGS; i++) {
        const struct wrong_flags *wrong = &WRONG_FLAGS[i];
        struct or_config_flags flags = wrong->flags;
        struct or_config config;
        struct onerow_error error = {0};
        if (wrong->text) {
            write_file(FILE_NAME, wrong->text, strlen(wrong->text), 0644);
            flags.config = FILE_NAME;
        }
        int status = or_config_load(&config, &flags, &error);
        assert_says(error.text, wrong->prefix, wrong->says);
        assert_int_equal(status, wrong->status);
        assert_int_equal(error.status, wrong->status);
        or_config_finish(&config);
        assert_int_equal(or_config_load(&config, &flags, NULL), wrong->status);
        or_config_finish(&config);
    }
}

static void database_url_stands_in_for_the_store(void **state)
{
    (void)state;
    struct or_config_flags flags = {.table = "t", .key = "k"};
    struct or_config config;
    struct onerow_error error;
    setenv("DATABASE_URL", "sqlite:///env.db", 1);
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_string_equal(config.tables[0].store->url, "sqlite:env.db");
    or_config_finish(&config);
    flags.store = "sqlite:flag.db";
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_string_equal(config.tables[0].store->url, "sqlite:flag.db");
    or_config_finish(&config);
    flags.store = NULL;
    setenv("DATABASE_URL", "hunter2", 1);
    assert_int_equal(or_config_load(&config, &flags, &error), ONEROW_CONFIG);
    assert_says(error.text, "environment: $DATABASE_URL: ", "gives no store URL");
    assert_null(strstr(error.text, "hunter2"));
    or_config_finish(&config);
    setenv("DATABASE_URL", "", 1);
    assert_int_equal(or_config_load(&config, &flags, &error), ONEROW_USAGE);
    or_config_finish(&config);
    unsetenv("DATABASE_URL");
}

static void flags_join_the_tables_of_the_file(void **state)
{
    (void)state;
    struct or_config_flags flags = {
        .config = FILE_NAME, .store = "sqlite:b.db", .table = "other", .key = "k"};
    struct or_config config;
    const struct or_config_table *table;
    write_file(FILE_NAME, KEYED(""), strlen(KEYED("")), 0644);
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_int_equal(config.n_stores, 2);
    assert_int_equal(config.n_tables, 2);
    assert_ptr_equal(config.tables[0].store, &config.stores[0]);
    assert_ptr_equal(config.tables[1].store, &config.stores[1]);
    assert_int_equal(or_config_table(&config, NULL, &table, NULL), ONEROW_OK);
    assert_string_equal(table->spec.name, "other");
    assert_int_equal(or_config_table(&config, "areas", &table, NULL), ONEROW_OK);
    assert_string_equal(table->store->url, "sqlite:app.db");
    or_config_finish(&config);
}

static void the_default_file_is_read_unless_a_store_is_given(void **state)
{
    (void)state;
    struct or_config_flags flags = {0};
    struct or_config config;
    struct onerow_error error;
    const struct or_config_table *table;
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_null(config.path);
    assert_int_equal(or_config_table(&config, "t", &table, &error), ONEROW_CONFIG);
    assert_says(error.text, "no table is configured: there is no onerow.yaml here", "--store URL");
    or_config_finish(&config);

    write_file("onerow.yaml", KEYED(""), strlen(KEYED("")), 0644);
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_string_equal(config.path, "onerow.yaml");
    assert_int_equal(config.n_tables, 1);
    or_config_finish(&config);

    flags = (struct or_config_flags){.store = "memory:", .table = "t", .key = "k"};
    assert_int_equal(or_config_load(&config, &flags, NULL), ONEROW_OK);
    assert_null(config.path);
    assert_int_equal(config.n_tables, 1);
    or_config_finish(&config);
    assert_int_equal(unlink("onerow.yaml"), 0);
}

static void a_table_is_found_by_name(void **state)
{
    (void)state;
    struct or_config config;
    struct onerow_error error;
    const struct or_config_table *table;
    load_well(&config, STORES "tables:\n"
                              "  areas: { store: app, key: [a] }\n"
                              "  goals: { store: app, key: [a] }\n");
    assert_int_equal(or_config_table(&config, "goals", &table, NULL), ONEROW_OK);
    assert_string_equal(table->spec.name, "goals");
    assert_int_equal(or_config_table(&config, "gaols", &table, &error), ONEROW_CONFIG);
    assert_null(table);
    assert_string_equal(error.text, "t.yaml: there is no table \"gaols\"; did you mean \"goals\"? "
                                    "The tables are areas, goals");
    assert_int_equal(or_config_table(&config, NULL, &table, &error), ONEROW_CONFIG);
    assert_string_equal(error.text, "t.yaml: name one of its tables: areas, goals");
    or_config_finish(&config);
    load_well(&config, STORES);
    assert_int_equal(or_config_table(&config, NULL, &table, &error), ONEROW_CONFIG);
    assert_says(error.text, "t.yaml: no table is configured; ", "onerow init");
    or_config_finish(&config);
}

static void a_long_list_of_tables_is_cut_short(void **state)
{
    (void)state;
    struct or_buffer text;
    struct or_config config;
    struct onerow_error error;
    const struct or_config_table *table;
    or_buffer_init(&text);
    or_buffer_text(&text, STORES "tables:\n");
    for (int i = 0; i < 30; i++) {
        or_buffer_printf(&text, "  t%d: { store: app, key: a }\n", i);
    }
    load_well(&config, or_buffer_cstr(&text));
    assert_int_equal(or_config_table(&config, "x", &table, &error), ONEROW_CONFIG);
    assert_says(error.text, "t.yaml: there is no table \"x\". The tables are t0, t1,",
                ", t19 and 10 more");
    or_config_finish(&config);
    or_buffer_finish(&text);
}

/* ---- the guide --------------------------------------------------------------------------- */

static char *read_guide(void)
{
    FILE *file = fopen(guide, "re");
    static char text[64 * 1024];
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void examples_of_the_guide_load(void **state)
{
    (void)state;
    static const char open[] = "```yaml\n";
    unsigned examples = 0;
    setenv("APP_DB", "app", 1);
    write_file("database-url", "postgres://u:p@h/db\n", 20, 0600);
    for (char *at = read_guide(); (at = strstr(at, open)); examples++) {
        at += strlen(open);
        char *end = strstr(at, "```");
        assert_non_null(end);
        *end = '\0';
        struct or_config config;
        load_well(&config, at);
        assert_true(config.n_tables > 0);
        or_config_finish(&config);
        at = end + 1;
    }
    assert_true(examples >= 2);
}

/* ---- set-up -------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    static char long_text[70000];
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/onerow-config-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(folder) || chdir(folder)) {
        return -1;
    }
    memset(long_text, 'x', sizeof long_text);
    write_file("open", "sqlite:a", 8, 0640);
    write_file("it's open", "sqlite:a", 8, 0604);
    write_file("empty", "\n", 1, 0600);
    write_file("lines", "sqlite:a\nb\n", 11, 0600);
    write_file("long", long_text, sizeof long_text, 0600);
    write_file("plain", "hunter2", 7, 0600);
    unsetenv("DATABASE_URL");
    unsetenv("OR_TEST_UNSET");
    setenv("OR_TEST_DIR", ".", 1);
    setenv("OR_TEST_NAME", "name", 1);
    setenv("OR_TEST_EMPTY", "", 1);
    setenv("OR_TEST_BAD", "sqlite:a\n", 1);
    setenv("OR_TEST_LATIN", "sqlite:\xe4", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const files[] = {FILE_NAME, "open",  "it's open", "empty",       "lines",
                                        "long",    "plain", "secret",    "database-url"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        unlink(files[i]);
    }
    return chdir("/") || rmdir(folder);
}

/* The guide lies beside this test's source. */
static void find_guide(void)
{
    char beside[PATH_MAX];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(beside, sizeof beside, "%.*s/../../docs/CONFIGURATION.md",
             slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".");
    if (!realpath(beside, guide)) {
        fprintf(stderr, "%s: %s\n", beside, strerror(errno));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named_at_their_place),
        cmocka_unit_test(no_message_shows_a_secret),
        cmocka_unit_test(a_long_or_odd_name_does_not_flood_the_message),
        cmocka_unit_test(a_file_has_a_largest_size),
        cmocka_unit_test(a_mapping_has_a_largest_size),
        cmocka_unit_test(an_empty_file_is_an_empty_configuration),
        cmocka_unit_test(a_table_takes_its_defaults),
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(what_is_said_of_pages),
        cmocka_unit_test(variables_and_secret_files_are_replaced),
        cmocka_unit_test(sqlite_urls_have_one_spelling),
        cmocka_unit_test(passwords_in_urls_are_masked),
        cmocka_unit_test(flags_make_a_table),
        cmocka_unit_test(policies_are_said_as_the_flag_takes_them),
        cmocka_unit_test(wrong_flags_are_refused),
        cmocka_unit_test(database_url_stands_in_for_the_store),
        cmocka_unit_test(flags_join_the_tables_of_the_file),
        cmocka_unit_test(the_default_file_is_read_unless_a_store_is_given),
        cmocka_unit_test(a_table_is_found_by_name),
        cmocka_unit_test(a_long_list_of_tables_is_cut_short),
        cmocka_unit_test(examples_of_the_guide_load),
    };
    find_guide();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
