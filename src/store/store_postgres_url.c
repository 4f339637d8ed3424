/* SPDX-License-Identifier: Apache-2.0
 *
 * From a store URL to libpq's connection parameters. libpq reads the URI; what is done here
 * is what it does not know: the spellings of SQLAlchemy (postgresql+DRIVER://, asyncpg's
 * ssl=MODE), a scheme alone for "as the environment says" (PG*, ~/.pgpass, services), and a
 * name for messages that has no secret in it.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres.h"

static const struct {
    const char *keyword;
    const char *value;
    const char *variable; /* that sets it, too */
} defaults[] = {
    {"application_name", "onerow", "PGAPPNAME"},
    {"connect_timeout", "10", "PGCONNECT_TIMEOUT"},
    {"keepalives_idle", "30", NULL},
};

/* libpq's URI: postgresql:// and what follows the scheme, whatever it was. */
static void add_uri(struct or_buffer *uri, const char *rest)
{
    static const char ssl[] = "ssl=";
    bool in_query = false;
    or_buffer_text(uri, "postgresql:");
    for (const char *at = rest; *at; at++) {
        bool parameter = in_query && (at[-1] == '?' || at[-1] == '&');
        in_query |= *at == '?';
        if (parameter && strncmp(at, ssl, strlen(ssl)) == 0) {
            or_buffer_text(uri, "sslmode=");
            at += strlen(ssl) - 1;
        } else {
            or_buffer_char(uri, *at);
        }
    }
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

static void add_settings(struct or_buffer *out, const PQconninfoOption *options)
{
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        if (option->val && *option->val && strcmp(option->keyword, "client_encoding") != 0) {
            add_setting(out, option->keyword, option->val);
        }
    }
    add_setting(out, "client_encoding", "UTF8");
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        bool elsewhere = defaults[i].variable && getenv(defaults[i].variable);
        if (!given(options, defaults[i].keyword) && !elsewhere) {
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

/* libpq's own message, unless it may quote a password. */
static enum onerow_status refuse(const char *message, struct onerow_error *error)
{
    bool quotes = !message || strstr(message, "percent") || strstr(message, "%00");
    struct onerow_span text =
        quotes ? OR_SPAN("a %XX in it is wrong") : or_span_trim(or_span(message));
    return or_fail(error, ONEROW_CONFIG,
                   "the PostgreSQL URL cannot be read: %.*s\n  it is written "
                   "postgresql://USER@HOST:PORT/DATABASE?sslmode=require; a password is better "
                   "kept in ~/.pgpass or PGPASSWORD",
                   (int)text.len, text.data);
}

enum onerow_status or_postgres_url(const char *url, char **conninfo, char **shown,
                                   struct onerow_error *error)
{
    struct or_buffer uri;
    struct or_buffer settings;
    struct or_buffer name;
    char *message = NULL;
    const char *rest = strchr(url, ':');
    rest = rest ? rest + 1 : "";
    *conninfo = *shown = NULL;
    or_buffer_init(&uri);
    or_buffer_init(&settings);
    or_buffer_init(&name);
    add_uri(&uri, *rest ? rest : "//");
    PQconninfoOption *environment = PQconndefaults();
    PQconninfoOption *options = uri.failed ? NULL : PQconninfoParse(or_buffer_cstr(&uri), &message);
    enum onerow_status status = ONEROW_OK;
    if (!options) {
        status = refuse(message, error);
    } else {
        add_settings(&settings, options);
        add_shown(&name, options, environment);
        *conninfo = or_buffer_steal(&settings);
        *shown = or_buffer_steal(&name);
        status = *conninfo && *shown ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    PQconninfoFree(options);
    PQconninfoFree(environment);
    PQfreemem(message);
    or_buffer_finish(&uri);
    or_buffer_finish(&settings);
    or_buffer_finish(&name);
    return status;
}
