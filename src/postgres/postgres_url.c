/* SPDX-License-Identifier: Apache-2.0
 *
 * From a URL to libpq's connection parameters. libpq reads the URI; what is done here
 * is what it does not know: the spellings of SQLAlchemy (postgresql+DRIVER://, asyncpg's
 * ssl=MODE), a scheme alone for "as the environment says" (PG*, ~/.pgpass, services), and a
 * name for messages that has no secret in it.
 *
 * A password may hold characters that nobody escaped. libpq then takes a part of it for the
 * host, the port or a parameter, and quotes that in its messages. Such URLs are refused here
 * before, without a quotation.
 */
#include "postgres/postgres_url.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"

static const struct {
    const char *keyword;
    const char *value;
} defaults[] = {
    {"connect_timeout", "10"},
    {"keepalives_idle", "30"},
};

/* asyncpg's ssl=VALUE in libpq's words; returns what follows it. */
static const char *add_ssl(struct or_buffer *uri, const char *value)
{
    struct onerow_span word = {value, strcspn(value, "&")};
    or_buffer_text(uri, "sslmode=");
    if (or_ascii_equal_fold(word, OR_SPAN("true")) || or_span_is(word, "1")) {
        or_buffer_text(uri, "require");
    } else if (or_ascii_equal_fold(word, OR_SPAN("false")) || or_span_is(word, "0")) {
        or_buffer_text(uri, "disable");
    } else {
        or_buffer_span(uri, word);
    }
    return value + word.len;
}

/* libpq's URI from what follows the scheme. */
static void add_uri(struct or_buffer *uri, const char *rest)
{
    static const char ssl[] = "ssl=";
    const char *at = rest;
    bool in_query = false;
    or_buffer_text(uri, "postgresql:");
    or_buffer_text(uri, strncmp(rest, "//", 2) == 0 ? "" : "//");
    while (*at) {
        bool parameter = in_query && (at[-1] == '?' || at[-1] == '&');
        in_query |= *at == '?';
        if (parameter && strncmp(at, ssl, strlen(ssl)) == 0) {
            at = add_ssl(uri, at + strlen(ssl));
        } else {
            or_buffer_char(uri, *at++);
        }
    }
}

/* Whether an "@" stands where libpq takes it for a part of the host, the database or a parameter's
 * name: most likely it ends, or belongs to, a password with characters that mean something else. */
static bool is_ambiguous(const char *rest)
{
    const char *at = rest + 2 * (strncmp(rest, "//", 2) == 0);
    size_t user = strcspn(at, "@/");
    at += at[user] == '@' ? user + 1 : 0;
    size_t path = strcspn(at, "?");
    if (memchr(at, '@', path)) {
        return true;
    }
    for (at += path; *at; at += strcspn(at, "&")) {
        at++;
        size_t name = strcspn(at, "=&");
        if (memchr(at, '@', name)) {
            return true;
        }
    }
    return false;
}

static const char *given(const PQconninfoOption *options, const char *keyword)
{
    for (; options && options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val && *options->val ? options->val : NULL;
        }
    }
    return NULL;
}

static void add_setting(struct or_buffer *out, const char *keyword, const char *value)
{
    or_buffer_printf(out, "%s%s='", out->len ? " " : "", keyword);
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\') {
            or_buffer_char(out, '\\');
        }
        or_buffer_char(out, *value);
    }
    or_buffer_char(out, '\'');
}

/* A service of pg_service.conf says by itself what it wants. */
static void add_settings(struct or_buffer *out, const PQconninfoOption *options,
                         const PQconninfoOption *environment)
{
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        if (option->val && *option->val && strcmp(option->keyword, "client_encoding") != 0) {
            add_setting(out, option->keyword, option->val);
        }
    }
    add_setting(out, "client_encoding", "UTF8");
    if (!given(options, "fallback_application_name")) {
        add_setting(out, "fallback_application_name", "onerow");
    }
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (!given(options, defaults[i].keyword) && !given(environment, defaults[i].keyword) &&
            !given(options, "service")) {
            add_setting(out, defaults[i].keyword, defaults[i].value);
        }
    }
}

static void add_shown(struct or_buffer *out, const PQconninfoOption *options,
                      const PQconninfoOption *environment)
{
    static const char *const parts[] = {"host", "port", "dbname"};
    static const char *const otherwise[] = {"localhost", "5432", ""};
    static const char *const before[] = {"", ":", "/"};
    const char *service = given(options, "service");
    if (service && !given(options, "host")) {
        or_buffer_printf(out, "service %s", service);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        const char *value = given(options, parts[i]);
        value = !value && i == 0 ? given(options, "hostaddr") : value;
        value = value ? value : given(environment, parts[i]);
        if (!value && i == 2) {
            value = given(options, "user");
            value = value ? value : given(environment, "user");
        }
        or_buffer_printf(out, "%s%s", before[i], value ? value : otherwise[i]);
    }
}

static enum onerow_status refuse(struct onerow_span why, struct onerow_error *error)
{
    return or_fail(error, ONEROW_CONFIG,
                   "the PostgreSQL URL cannot be read: %.*s\n  it is written "
                   "postgresql://USER@HOST:PORT/DATABASE?sslmode=require; a password is better "
                   "kept in ~/.pgpass or PGPASSWORD, or else escaped (@ is %%40, / is %%2F, : is "
                   "%%3A, %% is %%25)",
                   (int)why.len, why.data);
}

/* libpq's own message. What it quotes is dropped, unless it is the name of a parameter: it may be a
 * password. */
static enum onerow_status refuse_as_libpq(const char *message, struct onerow_error *error)
{
    struct onerow_span why = or_span_trim(or_span(message ? message : "out of memory"));
    if (!strstr(why.data, "query parameter: \"")) {
        why.len = strcspn(why.data, "\"") < why.len ? strcspn(why.data, "\"") : why.len;
        while (why.len && strchr(": ", why.data[why.len - 1])) {
            why.len--;
        }
    }
    return refuse(why, error);
}

/* "5432", or "5432,5433" for several hosts. */
static bool is_port(const char *port)
{
    return !port || !port[strspn(port, "0123456789,")];
}

/* What can be said against the text after the scheme without reading it further; NULL: nothing. */
static const char *fault_of(const char *rest)
{
    if (*rest && *rest != '?' && strncmp(rest, "//", 2) != 0) {
        return "\"//\" is missing after the scheme";
    }
    return is_ambiguous(rest) ? "there is an \"@\" too many, or a \"/\" before it" : NULL;
}

static enum onerow_status build(const PQconninfoOption *options,
                                const PQconninfoOption *environment, char **conninfo, char **shown,
                                struct onerow_error *error)
{
    struct or_buffer settings;
    struct or_buffer name;
    if (!is_port(given(options, "port"))) {
        return refuse(OR_SPAN("the port is no number"), error);
    }
    or_buffer_init(&settings);
    or_buffer_init(&name);
    add_settings(&settings, options, environment);
    add_shown(&name, options, environment);
    *conninfo = or_buffer_steal(&settings);
    *shown = or_buffer_steal(&name);
    or_buffer_finish(&settings);
    or_buffer_finish(&name);
    if (*conninfo && *shown) {
        return ONEROW_OK;
    }
    free(*conninfo);
    free(*shown);
    *conninfo = *shown = NULL;
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

enum onerow_status or_postgres_url(const char *url, char **conninfo, char **shown,
                                   struct onerow_error *error)
{
    struct or_buffer uri;
    char *message = NULL;
    const char *colon = strchr(url, ':');
    const char *rest = colon ? colon + 1 : "";
    const char *fault = fault_of(rest);
    *conninfo = *shown = NULL;
    if (fault) {
        return refuse(or_span(fault), error);
    }
    or_buffer_init(&uri);
    add_uri(&uri, rest);
    PQconninfoOption *environment = PQconndefaults();
    PQconninfoOption *options = uri.failed ? NULL : PQconninfoParse(or_buffer_cstr(&uri), &message);
    enum onerow_status status = options ? build(options, environment, conninfo, shown, error)
                                        : refuse_as_libpq(message, error);
    PQconninfoFree(options);
    PQconninfoFree(environment);
    PQfreemem(message);
    or_buffer_finish(&uri);
    return status;
}
