/* SPDX-License-Identifier: Apache-2.0
 *
 * What one value of the configuration may say, whether it stands in onerow.yaml
 * or on the command line.
 *
 * Secrets. A value may hold ${VAR}, and a url may be file:PATH. What they are
 * replaced by is never shown: every message shows the text as it was written
 * (struct or_text keeps both), and a URL only with its password masked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "core/key.h"
#include "engine/config_internal.h"

/* ---- messages ---------------------------------------------------------------- */

/* C0, DEL and C1: they can move a terminal's cursor or end a line of a log. */
static bool is_control(struct onerow_span text, size_t at)
{
    unsigned char byte = (unsigned char)text.data[at];
    if (byte == 0xc2 && at + 1 < text.len) {
        return (unsigned char)text.data[at + 1] < 0xa0;
    }
    return byte < 0x20 || byte == 0x7f;
}

const char *or_show(struct or_shown *shown, struct onerow_span text)
{
    size_t len = 0;
    size_t at = 0;
    while (at < text.len) {
        size_t step = or_utf8_step(text, at);
        bool plain = step && !is_control(text, at);
        size_t add = plain ? step : 1;
        if (len + add > OR_SHOWN_MAX) {
            memcpy(shown->text + len, "…", sizeof "…" - 1);
            len += sizeof "…" - 1;
            break;
        }
        memcpy(shown->text + len, plain ? text.data + at : "?", add);
        len += add;
        at += step ? step : 1;
    }
    shown->text[len] = '\0';
    return shown->text;
}

enum onerow_status or_config_vfail(struct onerow_error *error, const struct or_config *config,
                                   struct or_place place, enum onerow_status status,
                                   const char *path, const char *format, va_list args)
{
    char text[ONEROW_ERROR_TEXT];
    vsnprintf(text, sizeof text, format, args);
    const char *colon = *path ? ": " : "";
    if (place.line == 0) {
        const char *from = *path == '$' ? "environment" : "command line";
        return or_fail(error, status, "%s: %s%s%s", from, path, colon, text);
    }
    return or_fail(error, status, "%s:%u:%u: %s%s%s", config->path, place.line, place.column, path,
                   colon, text);
}

enum onerow_status or_config_fail(struct onerow_error *error, const struct or_config *config,
                                  struct or_place place, enum onerow_status status,
                                  const char *format, ...)
{
    va_list args;
    va_start(args, format);
    or_config_vfail(error, config, place, status, "", format, args);
    va_end(args);
    return status;
}

enum onerow_status or_site_fail(const struct or_site *site, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    or_config_vfail(site->error, site->config, site->place, site->status, site->path, format, args);
    va_end(args);
    return site->status;
}

enum onerow_status or_config_nomem(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory while reading the configuration");
}

#define WORD_MAX 32U /* longer words are not worth a guess */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap two neighbours) that turn a into b. */
static unsigned edits(struct onerow_span a, struct onerow_span b)
{
    unsigned rows[WORD_MAX + 1][WORD_MAX + 1];
    for (unsigned i = 0; i <= a.len; i++) {
        for (unsigned j = 0; j <= b.len; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            unsigned replaced = rows[i - 1][j - 1] + (a.data[i - 1] != b.data[j - 1]);
            rows[i][j] = least(replaced, least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1]) {
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
            }
        }
    }
    return rows[a.len][b.len];
}

void or_nearest_try(struct or_nearest *nearest, const char *name)
{
    struct onerow_span known = or_span(name);
    if (nearest->word.len > WORD_MAX || known.len > WORD_MAX) {
        return;
    }
    unsigned distance = edits(nearest->word, known);
    bool near = distance <= 2 && distance < known.len && distance < nearest->word.len;
    if (near && (!nearest->name || distance < nearest->distance)) {
        nearest->name = name;
        nearest->distance = distance;
    }
}

/* ---- text, variables and secret files ------------------------------------------ */

/* Puts `value` into the arena, with a closing NUL. */
static enum onerow_status keep_value(const struct or_site *site, struct onerow_span value,
                                     struct or_text *text)
{
    text->value = or_arena_copy(&site->config->arena, value);
    return text->value.data ? ONEROW_OK : or_config_nomem(site->error);
}

static bool begins(struct onerow_span text, size_t at, const char *with)
{
    size_t len = strlen(with);
    return text.len - at >= len && memcmp(text.data + at, with, len) == 0;
}

static bool is_name_byte(char byte, bool first)
{
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
    return letter || (!first && byte >= '0' && byte <= '9');
}

/* The name of the variable whose "${" stands at `at`; empty when it is not a name and "}". */
static struct onerow_span variable_name(struct onerow_span raw, size_t at)
{
    size_t start = at + 2;
    size_t end = start;
    while (end < raw.len && is_name_byte(raw.data[end], end == start)) {
        end++;
    }
    bool closed = end < raw.len && raw.data[end] == '}';
    return (struct onerow_span){raw.data + start, closed ? end - start : 0};
}

/* Appends the value of a variable. */
static enum onerow_status add_variable(const struct or_site *site, struct onerow_span name,
                                       struct or_buffer *value)
{
    char *named = strndup(name.data, name.len);
    if (!named) {
        return or_config_nomem(site->error);
    }
    const char *found = getenv(named);
    if (found) {
        or_buffer_text(value, found);
    }
    free(named);
    return found ? ONEROW_OK
                 : or_site_fail(site,
                                "the environment variable %s is not set; export it, or write $${ "
                                "for a literal ${",
                                OR_SHOW(name));
}

static enum onerow_status add_expanded(const struct or_site *site, struct onerow_span raw,
                                       struct or_buffer *value)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t at = 0; at < raw.len && status == ONEROW_OK;) {
        if (begins(raw, at, "$${")) {
            or_buffer_text(value, "${");
            at += 3;
        } else if (begins(raw, at, "${")) {
            struct onerow_span name = variable_name(raw, at);
            if (name.len == 0) {
                return or_site_fail(site,
                                    "a variable is written ${NAME} (letters, digits and _, no "
                                    "default); write $${ for a literal ${");
            }
            status = add_variable(site, name, value);
            at += name.len + 3;
        } else {
            or_buffer_char(value, raw.data[at++]);
        }
    }
    return status;
}

enum onerow_status or_value_expand(const struct or_site *site, struct or_text *text)
{
    struct or_buffer value;
    or_buffer_init(&value);
    enum onerow_status status = add_expanded(site, text->raw, &value);
    if (status == ONEROW_OK && value.failed) {
        status = or_config_nomem(site->error);
    }
    if (status == ONEROW_OK) {
        status = keep_value(site, or_buffer_view(&value), text);
    }
    or_buffer_finish(&value);
    return status;
}

enum onerow_status or_value_check(const struct or_site *site, const struct or_text *text)
{
    struct onerow_span value = text->value;
    if (value.len == 0) {
        return or_site_fail(site, text->raw.len ? "is empty once its variables are replaced"
                                                : "is empty");
    }
    if (!or_utf8_valid(value, NULL)) {
        return or_site_fail(site, "is not UTF-8 text");
    }
    for (size_t at = 0; at < value.len; at += or_utf8_step(value, at)) {
        if (is_control(value, at)) {
            return or_site_fail(site, "holds a line break or another control character; write it "
                                      "on one line");
        }
    }
    return ONEROW_OK;
}

/* The path as it is written, as a word of a shell command. Between double quotes the shell replaces
 * the same ${VAR} that we do. */
static void add_shell_word(struct or_buffer *command, struct onerow_span path)
{
    bool variable = memmem(path.data, path.len, "${", 2);
    or_buffer_char(command, variable ? '"' : '\'');
    for (size_t at = 0; at < path.len; at++) {
        if (!variable && path.data[at] == '\'') {
            or_buffer_text(command, "'\\'");
        }
        or_buffer_char(command, path.data[at]);
    }
    or_buffer_char(command, variable ? '"' : '\'');
}

static enum onerow_status fail_readable(const struct or_site *site, struct onerow_span path)
{
    struct or_buffer word;
    or_buffer_init(&word);
    add_shell_word(&word, path);
    enum onerow_status status = or_site_fail(
        site, "other users of this machine may read the secret file; run: chmod 600 %s",
        or_buffer_cstr(&word));
    or_buffer_finish(&word);
    return status;
}

/* Whether the open file may serve as a secret. */
static enum onerow_status check_secret_file(const struct or_site *site, int file,
                                            struct onerow_span path)
{
    struct stat about;
    if (fstat(file, &about)) {
        return or_site_fail(site, "cannot look at %s: %s", OR_SHOW(path), strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
        return or_site_fail(site, "%s is not an ordinary file", OR_SHOW(path));
    }
    return about.st_mode & (S_IRWXG | S_IRWXO) ? fail_readable(site, path) : ONEROW_OK;
}

/* Reads at most `room` bytes; -1 with errno on failure. */
static ssize_t read_up_to(int file, char *data, size_t room)
{
    size_t len = 0;
    while (len < room) {
        ssize_t got = read(file, data + len, room - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static struct onerow_span without_last_newline(struct onerow_span text)
{
    if (text.len && text.data[text.len - 1] == '\n') {
        text.len--;
        if (text.len && text.data[text.len - 1] == '\r') {
            text.len--;
        }
    }
    return text;
}

static enum onerow_status read_secret(const struct or_site *site, int file, struct onerow_span path,
                                      struct or_text *text)
{
    size_t room = OR_SECRET_FILE_MAX + 1;
    char *data = malloc(room);
    if (!data) {
        return or_config_nomem(site->error);
    }
    enum onerow_status status;
    ssize_t len = read_up_to(file, data, room);
    struct onerow_span content =
        without_last_newline((struct onerow_span){data, len > 0 ? len : 0});
    if (len < 0) {
        status = or_site_fail(site, "cannot read %s: %s", OR_SHOW(path), strerror(errno));
    } else if ((size_t)len == room) {
        status = or_site_fail(site, "%s is longer than %u bytes; a secret file holds one value",
                              OR_SHOW(path), OR_SECRET_FILE_MAX);
    } else if (content.len == 0) {
        status = or_site_fail(site, "the secret file %s is empty", OR_SHOW(path));
    } else {
        status = keep_value(site, content, text);
    }
    free(data);
    return status;
}

enum onerow_status or_value_secret_file(const struct or_site *site, struct or_text *text)
{
    size_t head = strlen("file:");
    struct onerow_span path = {text->raw.data + head, text->raw.len - head}; /* as written */
    /* Without O_NONBLOCK a named pipe would be waited for before it can be refused. */
    int file = open(text->value.data + head, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0) {
        return or_site_fail(site, "cannot open the secret file %s: %s", OR_SHOW(path),
                            strerror(errno));
    }
    enum onerow_status status = check_secret_file(site, file, path);
    if (status == ONEROW_OK) {
        status = read_secret(site, file, path, text);
    }
    close(file);
    return status;
}

/* ---- URLs ----------------------------------------------------------------------- */

static size_t find_text(struct onerow_span text, const char *needle)
{
    const char *at = memmem(text.data, text.len, needle, strlen(needle));
    return at ? (size_t)(at - text.data) : text.len;
}

/* "sqlite" of "sqlite+pysqlite:///app.db"; empty when no scheme stands before a colon. A single
 * letter is a drive, not a scheme. */
static struct onerow_span url_scheme(struct onerow_span url)
{
    size_t end = 0;
    size_t driver = url.len;
    while (end < url.len && (is_name_byte(url.data[end], end == 0) ||
                             (end && strchr("+-.", url.data[end]) && url.data[end]))) {
        if (url.data[end] == '+' && driver == url.len) {
            driver = end;
        }
        end++;
    }
    bool is_scheme = end > 1 && end < url.len && url.data[end] == ':';
    return (struct onerow_span){url.data, !is_scheme ? 0 : driver < end ? driver : end};
}

/* Where the userinfo's password begins and ends (the offset of its "@"). A password may hold "/",
 * "?" and "@" that nobody escaped: everything up to the last "@" is taken for it, because masking
 * too much is harmless and masking too little is not. */
static bool password_range(struct onerow_span url, size_t *from, size_t *to)
{
    size_t start = find_text(url, "://");
    start = start == url.len ? 0 : start + 3;
    if (or_ascii_equal_fold(url_scheme(url), OR_SPAN("sqlite")) ||
        (start && start < url.len && url.data[start] == '/')) {
        return false; /* a path follows, not a host */
    }
    const char *colon = memchr(url.data + start, ':', url.len - start);
    const char *at = memrchr(url.data + start, '@', url.len - start);
    if (!colon || !at || at < colon) {
        return false;
    }
    *from = (size_t)(colon - url.data) + 1;
    *to = (size_t)(at - url.data);
    return true;
}

static bool contains_fold(struct onerow_span text, const char *word)
{
    struct onerow_span wanted = or_span(word);
    for (size_t at = 0; at + wanted.len <= text.len; at++) {
        if (or_ascii_equal_fold((struct onerow_span){text.data + at, wanted.len}, wanted)) {
            return true;
        }
    }
    return false;
}

static bool is_secret_parameter(struct onerow_span name)
{
    return contains_fold(name, "pass") || contains_fold(name, "pwd") ||
           contains_fold(name, "token") || contains_fold(name, "secret");
}

static bool ends_parameter(char byte)
{
    return byte == '?' || byte == '&' || byte == ';' || byte == ' ';
}

/* Appends what follows the host, with the values of password= and its like masked. */
static void add_parameters(struct or_buffer *out, struct onerow_span rest)
{
    size_t name = 0;
    size_t at = 0;
    while (at < rest.len) {
        char byte = rest.data[at++];
        or_buffer_char(out, byte);
        if (ends_parameter(byte)) {
            name = at;
        } else if (byte == '=' &&
                   is_secret_parameter((struct onerow_span){rest.data + name, at - 1 - name})) {
            or_buffer_text(out, "***");
            while (at < rest.len && !ends_parameter(rest.data[at])) {
                at++;
            }
        }
    }
}

static void add_masked(struct or_buffer *out, struct onerow_span url)
{
    size_t from = 0;
    size_t to = 0;
    if (password_range(url, &from, &to)) {
        or_buffer_add(out, url.data, from);
        or_buffer_text(out, "***");
    }
    add_parameters(out, (struct onerow_span){url.data + to, url.len - to});
}

void or_url_mask(const char *url, struct or_buffer *out)
{
    add_masked(out, or_span(url));
}

/* The URL as it was written, masked, for a message. */
static const char *show_url(struct or_shown *shown, struct onerow_span url)
{
    struct or_buffer masked;
    or_buffer_init(&masked);
    add_masked(&masked, url);
    const char *text = or_show(shown, or_buffer_view(&masked));
    or_buffer_finish(&masked);
    return text;
}

/* Whether text without a scheme can be meant as a file: no connection string, no //host. */
static bool looks_like_path(struct onerow_span text)
{
    return !begins(text, 0, "//") && !memchr(text.data, '@', text.len) &&
           !memchr(text.data, '=', text.len);
}

static enum onerow_status fail_scheme(const struct or_site *site, const struct or_text *text)
{
    struct or_shown shown;
    const char *url = show_url(&shown, text->raw);
    if (or_span_equal(text->raw, text->value) && looks_like_path(text->raw)) {
        return or_site_fail(site, "\"%s\" is not a store URL; for a SQLite file write sqlite:%s",
                            url, url);
    }
    return or_site_fail(site,
                        "\"%s\" gives no store URL, for no scheme stands before a colon; for a "
                        "SQLite file it is sqlite:PATH",
                        url);
}

/* The path of a SQLite URL: PATH, or SQLAlchemy's ///PATH. */
static enum onerow_status sqlite_path(const struct or_site *site, const struct or_text *text,
                                      struct onerow_span *path)
{
    size_t colon = find_text(text->value, ":");
    struct onerow_span rest = {text->value.data + colon + 1, text->value.len - colon - 1};
    bool three = begins(rest, 0, "///");
    if (!three && begins(rest, 0, "//")) {
        return or_site_fail(site, "a SQLite file has no host; write sqlite:PATH, or sqlite:///PATH "
                                  "(four slashes for an absolute path)");
    }
    if (three) {
        rest = (struct onerow_span){rest.data + 3, rest.len - 3};
        if (memchr(rest.data, '?', rest.len)) {
            return or_site_fail(site,
                                "parameters after \"?\" are not supported; write sqlite:PATH");
        }
    }
    if (rest.len == 0) {
        return or_site_fail(site, "the URL names no file; write sqlite:PATH");
    }
    *path = rest;
    return ONEROW_OK;
}

enum onerow_status or_value_url(const struct or_site *site, const struct or_text *text,
                                const char **url)
{
    enum onerow_status status = or_value_check(site, text);
    if (status != ONEROW_OK) {
        return status;
    }
    struct onerow_span scheme = url_scheme(text->value);
    if (scheme.len == 0) {
        return fail_scheme(site, text);
    }
    *url = text->value.data;
    if (!or_ascii_equal_fold(scheme, OR_SPAN("sqlite"))) {
        return ONEROW_OK;
    }
    struct onerow_span path = {0};
    status = sqlite_path(site, text, &path);
    if (status == ONEROW_OK) {
        *url = or_arena_printf(&site->config->arena, "sqlite:%s", path.data);
        status = *url ? ONEROW_OK : or_config_nomem(site->error);
    }
    return status;
}

enum onerow_status or_value_coordinator(const struct or_site *site, const char *url)
{
    if (or_coordinator_type_of(url)) {
        return ONEROW_OK;
    }
    struct or_buffer list;
    or_buffer_init(&list);
    or_coordinator_list(&list);
    enum onerow_status status = or_site_fail(
        site, "this is no coordinator of this build; there are %s", or_buffer_cstr(&list));
    or_buffer_finish(&list);
    return status;
}

/* ---- keys and policies ------------------------------------------------------------ */

/* The column that an expression is most likely about: "line" of "CAST(COALESCE(line, -1) …)". */
static struct onerow_span column_inside(struct onerow_span expression)
{
    const char *open = memrchr(expression.data, '(', expression.len);
    size_t start = (size_t)(open - expression.data) + 1;
    size_t end = start;
    while (end < expression.len && is_name_byte(expression.data[end], end == start)) {
        end++;
    }
    struct onerow_span column = {expression.data + start, end - start};
    return column.len ? column : OR_SPAN("COLUMN");
}

/* What a key column can say instead of the expression. */
static const char *instead_of(struct onerow_span expression)
{
    if (contains_fold(expression, "lower(") || contains_fold(expression, "upper(")) {
        return "normalize: [casefold]";
    }
    return contains_fold(expression, "trim(") ? "normalize: [trim]" : "type: decimal, nulls: equal";
}

enum onerow_status or_value_key_column(const struct or_site *site, const struct or_text *text)
{
    enum onerow_status status = or_value_check(site, text);
    if (status != ONEROW_OK || !memchr(text->value.data, '(', text->value.len)) {
        return status;
    }
    struct or_site unsafe = *site;
    unsafe.status = ONEROW_CONFIG;
    bool literal = or_span_equal(text->raw, text->value);
    return or_site_fail(&unsafe,
                        "\"%s\" is an expression, not a column: distinct rows would vanish (24.5 "
                        "becomes 25, NULL becomes -1); use {column: %s, %s}",
                        OR_SHOW(text->raw),
                        OR_SHOW(literal ? column_inside(text->value) : OR_SPAN("COLUMN")),
                        instead_of(literal ? text->value : OR_SPAN("")));
}

/* Other names under which people look for a type. */
static const char *type_meant(struct onerow_span name)
{
    static const char *const meant[][2] = {
        {"integer", "int"},   {"bigint", "int"},         {"string", "text"},
        {"varchar", "text"},  {"numeric", "decimal"},    {"number", "decimal"},
        {"float", "decimal"}, {"double", "decimal"},     {"real", "decimal"},
        {"boolean", "bool"},  {"datetime", "timestamp"}, {"timestamptz", "timestamp"},
    };
    for (size_t i = 0; i < sizeof meant / sizeof *meant; i++) {
        if (or_ascii_equal_fold(name, or_span(meant[i][0]))) {
            return meant[i][1];
        }
    }
    return NULL;
}

static enum onerow_status fail_type(const struct or_site *site, const struct or_text *text)
{
    struct or_nearest nearest = {.word = text->raw};
    struct or_buffer known;
    or_buffer_init(&known);
    for (enum onerow_type type = ONEROW_TYPE_TEXT; type <= ONEROW_TYPE_UUID; type++) {
        or_nearest_try(&nearest, or_type_name(type));
        or_buffer_printf(&known, "%s%s", known.len ? ", " : "", or_type_name(type));
    }
    const char *meant = type_meant(text->raw);
    nearest.name = meant ? meant : nearest.name;
    enum onerow_status status =
        or_site_fail(site, "\"%s\" is not a type" OR_NEAREST_FORMAT "The types are %s",
                     OR_SHOW(text->raw), OR_NEAREST_ARGS(nearest), or_buffer_cstr(&known));
    or_buffer_finish(&known);
    return status;
}

enum onerow_status or_value_type(const struct or_site *site, const struct or_text *text,
                                 enum onerow_type *type)
{
    *type = or_type_of_name(text->value);
    return *type == ONEROW_TYPE_UNKNOWN ? fail_type(site, text) : ONEROW_OK;
}

enum onerow_status or_value_count(const struct or_site *site, const struct or_text *text,
                                  unsigned max, unsigned *count)
{
    *count = 0;
    bool digits = text->value.len > 0 && text->value.len < 9; /* more would not fit */
    for (size_t i = 0; digits && i < text->value.len; i++) {
        digits = text->value.data[i] >= '0' && text->value.data[i] <= '9';
        *count = *count * 10 + (unsigned)(text->value.data[i] - '0');
    }
    return digits && *count >= 1 && *count <= max
               ? ONEROW_OK
               : or_site_fail(site, "\"%s\" is not a number from 1 to %u; write one",
                              OR_SHOW(text->raw), max);
}

enum onerow_status or_value_span(const struct or_site *site, const struct or_text *text,
                                 uint64_t max, uint64_t *ms)
{
    const char *reason = NULL;
    if (!or_window_span_parse(text->value, ms, &reason)) {
        return or_site_fail(site, "\"%s\" is no time; write one as 30s, 2m or 500ms",
                            OR_SHOW(text->raw));
    }
    return *ms <= max ? ONEROW_OK
                      : or_site_fail(site, "\"%s\" is too long; write at most %llus",
                                     OR_SHOW(text->raw), (unsigned long long)(max / 1000));
}

enum onerow_status or_value_window(const struct or_site *site, const struct or_text *text,
                                   struct or_config_store *store)
{
    const char *reason = "there are more than 4 windows, min_gap included";
    if (store->n_windows == OR_WINDOWS_MAX ||
        !or_window_parse(text->value, &store->windows[store->n_windows], &reason)) {
        return or_site_fail(site, "\"%s\": %s", OR_SHOW(text->raw), reason);
    }
    store->n_windows++;
    return ONEROW_OK;
}

bool or_key_has(const struct onerow_table_spec *spec, const char *column)
{
    for (size_t i = 0; i < spec->n_key; i++) {
        if (strcmp(spec->key[i].name, column) == 0) {
            return true;
        }
    }
    return false;
}

enum onerow_status or_key_draft_add(const struct or_site *site, struct or_key_draft *draft,
                                    const struct onerow_key_column *column)
{
    for (size_t i = 0; i < draft->n; i++) {
        if (strcmp(draft->columns[i].name, column->name) == 0) {
            return or_site_fail(site, "the column \"%s\" is in the key twice; name it once",
                                OR_SHOW(or_span(column->name)));
        }
    }
    if (draft->n == ONEROW_KEY_COLUMNS_MAX) {
        return or_site_fail(site, "a key has at most %u columns", ONEROW_KEY_COLUMNS_MAX);
    }
    draft->columns[draft->n++] = *column;
    return ONEROW_OK;
}

enum onerow_status or_key_draft_finish(const struct or_site *site, const struct or_key_draft *draft,
                                       struct onerow_table_spec *spec)
{
    if (draft->n == 0) {
        return or_site_fail(site, "names no column; name those that identify a row");
    }
    size_t size = draft->n * sizeof *draft->columns;
    struct onerow_key_column *key = or_arena_alloc(&site->config->arena, size);
    if (!key) {
        return or_config_nomem(site->error);
    }
    memcpy(key, draft->columns, size);
    spec->key = key;
    spec->n_key = draft->n;
    return ONEROW_OK;
}

static enum onerow_status fail_policy(const struct or_site *site, const struct or_text *text)
{
    struct or_nearest nearest = {.word = text->raw};
    or_nearest_try(&nearest, "update");
    or_nearest_try(&nearest, "keep");
    or_nearest_try(&nearest, "newest(COLUMN)");
    return or_site_fail(
        site, "\"%s\" is not a policy" OR_NEAREST_FORMAT "Write update, keep or newest(COLUMN)",
        OR_SHOW(text->raw), OR_NEAREST_ARGS(nearest));
}

/* newest(column): `inside` is what stands between the parentheses. */
static enum onerow_status take_newest(const struct or_site *site, const struct or_text *text,
                                      struct onerow_span inside, struct onerow_table_spec *spec)
{
    struct or_text column = {.raw = text->raw};
    enum onerow_status status = keep_value(site, or_span_trim(inside), &column);
    if (status != ONEROW_OK) {
        return status;
    }
    if (column.value.len == 0) {
        return or_site_fail(site, "newest needs the column that tells which record is newer: "
                                  "newest(COLUMN)");
    }
    if (or_key_has(spec, column.value.data)) {
        return or_site_fail(site,
                            "\"%s\": the column is part of the key, and so equal in all "
                            "records of a key; name another",
                            OR_SHOW(text->raw));
    }
    spec->policy = ONEROW_POLICY_NEWEST;
    spec->order_column = column.value.data;
    return ONEROW_OK;
}

enum onerow_status or_value_policy(const struct or_site *site, const struct or_text *text,
                                   struct onerow_table_spec *spec)
{
    enum onerow_status status = or_value_check(site, text);
    if (status != ONEROW_OK) {
        return status;
    }
    struct onerow_span value = text->value;
    size_t head = strlen("newest(");
    if (or_span_is(value, "update")) {
        spec->policy = ONEROW_POLICY_UPDATE;
    } else if (or_span_is(value, "keep")) {
        spec->policy = ONEROW_POLICY_KEEP;
    } else if (or_span_is(value, "newest")) {
        status = take_newest(site, text, OR_SPAN(""), spec);
    } else if (begins(value, 0, "newest(") && value.data[value.len - 1] == ')') {
        struct onerow_span inside = {value.data + head, value.len - head - 1};
        status = take_newest(site, text, inside, spec);
    } else {
        status = fail_policy(site, text);
    }
    return status;
}
