/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres/postgres_url.c: what libpq is told for each spelling of a URL, what messages
 * may show of it, and that no refusal quotes a password.
 */
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres/postgres_url.h"

/* The tests say themselves what the environment holds. */
static int clear_environment(void **state)
{
    (void)state;
    static const char *const variables[] = {"PGHOST",     "PGHOSTADDR",       "PGPORT",
                                            "PGDATABASE", "PGUSER",           "PGAPPNAME",
                                            "PGSERVICE",  "PGCONNECT_TIMEOUT"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        assert_int_equal(unsetenv(variables[i]), 0);
    }
    return 0;
}

struct parsed {
    char *conninfo;
    char *shown;
    PQconninfoOption *options;
};

static struct parsed parse(const char *url)
{
    struct parsed parsed = {0};
    struct onerow_error error = {0};
    if (or_postgres_url(url, &parsed.conninfo, &parsed.shown, &error) != ONEROW_OK) {
        fail_msg("%s: %s", url, error.text);
    }
    char *message = NULL;
    parsed.options = PQconninfoParse(parsed.conninfo, &message);
    if (!parsed.options) {
        fail_msg("%s became %s: %s", url, parsed.conninfo, message);
    }
    return parsed;
}

static void finish(struct parsed *parsed)
{
    PQconninfoFree(parsed->options);
    free(parsed->conninfo);
    free(parsed->shown);
}

/* What libpq will be told for a keyword; "" for nothing. */
static const char *told(const struct parsed *parsed, const char *keyword)
{
    for (const PQconninfoOption *option = parsed->options; option->keyword; option++) {
        if (strcmp(option->keyword, keyword) == 0) {
            return option->val ? option->val : "";
        }
    }
    fail_msg("libpq knows no %s", keyword);
    return "";
}

static void assert_told(const char *url, const char *keyword, const char *wanted)
{
    struct parsed parsed = parse(url);
    if (strcmp(told(&parsed, keyword), wanted) != 0) {
        fail_msg("%s: %s is \"%s\", wanted \"%s\"", url, keyword, told(&parsed, keyword), wanted);
    }
    finish(&parsed);
}

static void assert_shown(const char *url, const char *wanted)
{
    struct parsed parsed = parse(url);
    assert_string_equal(parsed.shown, wanted);
    finish(&parsed);
}

static void assert_refused(const char *url, const char *mentions)
{
    struct onerow_error error = {0};
    char *conninfo = NULL;
    char *shown = NULL;
    if (or_postgres_url(url, &conninfo, &shown, &error) != ONEROW_CONFIG) {
        fail_msg("%s is not refused", url);
    }
    assert_null(conninfo);
    assert_null(shown);
    assert_int_equal(error.status, ONEROW_CONFIG);
    if (!strstr(error.text, mentions)) {
        fail_msg("%s: \"%s\" does not mention %s", url, error.text, mentions);
    }
    if (strstr(error.text, "tulip")) {
        fail_msg("%s: the message quotes the password: %s", url, error.text);
    }
}

/* ---- what is understood -------------------------------------------------------------------- */

static void every_scheme_leads_to_libpq(void **state)
{
    (void)state;
    static const char *const schemes[] = {
        "postgres",           "postgresql",          "postgresql+psycopg",
        "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+pg8000"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        char url[128];
        snprintf(url, sizeof url, "%s://ann:tulip@db.example:6543/shop", schemes[i]);
        assert_told(url, "host", "db.example");
        assert_told(url, "port", "6543");
        assert_told(url, "dbname", "shop");
        assert_told(url, "user", "ann");
        assert_told(url, "password", "tulip");
        assert_shown(url, "db.example:6543/shop");
    }
}

static void a_socket_in_the_query(void **state)
{
    (void)state;
    const char *url = "postgresql+psycopg2:///shop?host=/var/run/postgresql&user=ann";
    assert_told(url, "host", "/var/run/postgresql");
    assert_told(url, "user", "ann");
    assert_shown(url, "/var/run/postgresql:5432/shop");
}

static void several_hosts(void **state)
{
    (void)state;
    const char *url = "postgres://a:1,b:2/shop?target_session_attrs=read-write";
    assert_told(url, "host", "a,b");
    assert_told(url, "port", "1,2");
    assert_told(url, "target_session_attrs", "read-write");
    assert_shown(url, "a,b:1,2/shop");
}

static void ssl_in_the_words_of_asyncpg(void **state)
{
    (void)state;
    assert_told("postgresql+asyncpg://h/d?ssl=require", "sslmode", "require");
    assert_told("postgresql+asyncpg://h/d?ssl=verify-full&user=u", "sslmode", "verify-full");
    assert_told("postgresql+asyncpg://h/d?ssl=verify-full&user=u", "user", "u");
    assert_told("postgres://h/d?ssl=true", "sslmode", "require");
    assert_told("postgres://h/d?user=u&ssl=True", "sslmode", "require");
    assert_told("postgres://h/d?ssl=false", "sslmode", "disable");
    assert_told("postgres://h/d?sslmode=prefer", "sslmode", "prefer");
    assert_told("postgres://h/ssl=x?user=u", "dbname", "ssl=x");
}

static void quotes_and_backslashes_survive(void **state)
{
    (void)state;
    assert_told("postgres://u:a%27b%5Cc%20d@h/d", "password", "a'b\\c d");
    assert_told("postgres://u:p%40q%2Fr%3As%25t@h/d", "password", "p@q/r:s%t");
    assert_told("postgres://h/my%20%27db%27", "dbname", "my 'db'");
}

static void an_at_in_a_value_is_nothing_unusual(void **state)
{
    (void)state;
    assert_told("postgres://h/d?user=ann@corp", "user", "ann@corp");
    assert_told("postgres://ann%40corp@h/d", "user", "ann@corp");
}

/* ---- the environment ------------------------------------------------------------------------ */

static void a_scheme_alone_is_the_environment(void **state)
{
    (void)state;
    setenv("PGHOST", "from-env", 1);
    setenv("PGPORT", "7777", 1);
    setenv("PGDATABASE", "envdb", 1);
    setenv("PGUSER", "bob", 1);
    static const char *const urls[] = {"postgres:", "postgresql:", "postgres://",
                                       "postgresql+psycopg:"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_told(urls[i], "host", "");
        assert_told(urls[i], "dbname", "");
        assert_shown(urls[i], "from-env:7777/envdb");
    }
    assert_shown("postgres://h", "h:7777/envdb");
    unsetenv("PGDATABASE");
    assert_shown("postgres:", "from-env:7777/bob");
    clear_environment(NULL);
}

static void a_service(void **state)
{
    (void)state;
    assert_told("postgres:?service=shop", "service", "shop");
    assert_told("postgres:?service=shop", "connect_timeout", "");
    assert_shown("postgres:?service=shop", "service shop");
    assert_shown("postgres://h/d?service=shop", "h:5432/d");
}

static void defaults_stand_back(void **state)
{
    (void)state;
    assert_told("postgres://h/d", "connect_timeout", "10");
    assert_told("postgres://h/d", "keepalives_idle", "30");
    assert_told("postgres://h/d", "fallback_application_name", "onerow");
    assert_told("postgres://h/d", "client_encoding", "UTF8");
    assert_told("postgres://h/d?connect_timeout=3", "connect_timeout", "3");
    assert_told("postgres://h/d?keepalives_idle=9", "keepalives_idle", "9");
    assert_told("postgres://h/d?application_name=cron", "application_name", "cron");
    assert_told("postgres://h/d?client_encoding=LATIN1", "client_encoding", "UTF8");
    setenv("PGCONNECT_TIMEOUT", "4", 1);
    assert_told("postgres://h/d", "connect_timeout", "");
    clear_environment(NULL);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

static void unknown_parameters_are_named(void **state)
{
    (void)state;
    assert_refused("postgres://h/d?pool_size=5", "pool_size");
    assert_refused("postgres://h/d?sslmode", "separator");
}

static void text_that_is_no_url(void **state)
{
    (void)state;
    assert_refused("postgres:d", "//");
    assert_refused("postgresql:ann:tulip@h/d", "//");
    assert_refused("postgres:host=h password=tulip", "//");
}

static void a_password_that_nobody_escaped_is_not_quoted(void **state)
{
    (void)state;
    assert_refused("postgres://u:tul@tulip@h/d", "%40");
    assert_refused("postgres://u:tul/tulip@h/d", "%2F");
    assert_refused("postgres://u:a@tul/tulip@h/d", "%2F");
    assert_refused("postgres://u:a/?tulip@h/d", "%2F");
    assert_refused("postgres://u:tulip%zz@h/d", "percent");
    assert_refused("postgres://u:tulip%00@h/d", "cannot be read");
    assert_refused("postgres://u:tulip/d", "port");
    assert_refused("postgres://u:p@[tulip/d", "cannot be read");
    assert_refused("postgres://h/d?password=tulip%zz", "percent");
}

static void what_is_shown_has_no_password(void **state)
{
    (void)state;
    assert_shown("postgres://ann:tulip@h/d", "h:5432/d");
    assert_shown("postgres://ann:tulip@h", "h:5432/ann");
    assert_shown("postgres://h/d?password=tulip", "h:5432/d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scheme_leads_to_libpq),
        cmocka_unit_test(a_socket_in_the_query),
        cmocka_unit_test(several_hosts),
        cmocka_unit_test(ssl_in_the_words_of_asyncpg),
        cmocka_unit_test(quotes_and_backslashes_survive),
        cmocka_unit_test(an_at_in_a_value_is_nothing_unusual),
        cmocka_unit_test(a_scheme_alone_is_the_environment),
        cmocka_unit_test(a_service),
        cmocka_unit_test(defaults_stand_back),
        cmocka_unit_test(unknown_parameters_are_named),
        cmocka_unit_test(text_that_is_no_url),
        cmocka_unit_test(a_password_that_nobody_escaped_is_not_quoted),
        cmocka_unit_test(what_is_shown_has_no_password),
    };
    return cmocka_run_group_tests(tests, clear_environment, NULL);
}
