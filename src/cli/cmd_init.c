/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/cli.h"

struct init {
    const char *url;
    const char *location;
    const char *output;
};

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "where to write (default onerow.yaml; - is stdout)", 0},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct init *init = state->input;
    switch (key) {
    case 'o': init->output = value; return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_usage(state);
        }
        *(state->arg_num ? &init->location : &init->url) = value;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_usage(state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "STORE-URL [LOCATION]",
    .doc = "Looks at a store and writes a first onerow.yaml: its tables with the keys that their "
           "unique indexes suggest. An existing file is never overwritten."};

/* A control character would be a part of no URL that a configuration can hold. */
static enum onerow_status check_url(const char *url, struct onerow_error *error)
{
    bool good = or_utf8_valid(or_span(url), NULL);
    for (const char *at = url; *at; at++) {
        good = good && (unsigned char)*at >= 0x20 && *at != 0x7f;
    }
    return good ? ONEROW_OK
                : or_fail(error, ONEROW_USAGE,
                          "the store's URL holds a control character, or is "
                          "not UTF-8; no configuration can name it");
}

/* The URL as a value: a ${ in it is meant as it is. */
static void add_url(struct or_buffer *yaml, const char *url)
{
    struct or_buffer text;
    or_buffer_init(&text);
    for (; *url; url++) {
        or_buffer_text(&text, url[0] == '$' && url[1] == '{' ? "$" : "");
        or_buffer_char(&text, *url);
    }
    or_buffer_json(yaml, or_buffer_view(&text));
    yaml->failed |= text.failed;
    or_buffer_finish(&text);
}

static enum onerow_status describe(const struct init *init, struct or_buffer *yaml,
                                   struct onerow_error *error)
{
    struct onerow_store *store = NULL;
    struct onerow_store_options how = {.read_only = true};
    enum onerow_status status = check_url(init->url, error);
    status = status == ONEROW_OK ? or_store_open(init->url, &how, &store, error) : status;
    if (status != ONEROW_OK) {
        return status;
    }
    or_buffer_text(yaml,
                   "# onerow's configuration: docs/CONFIGURATION.md explains every key.\n"
                   "# onerow check says what each table is promised.\nstores:\n  app: { url: ");
    add_url(yaml, init->url);
    or_buffer_text(yaml, " }\ntables:\n");
    status = store->type->suggest(store, "app", init->location, yaml, error);
    store->type->close(store);
    if (status == ONEROW_ABSENT) {
        return or_fail(error, ONEROW_CONFIG, "%s",
                       "the store has no such table, or none at all\n  onerow put --create-table "
                       "makes one");
    }
    return status == ONEROW_OK && yaml->failed ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                               : status;
}

/* A new file in one piece: nobody reads half a configuration, and an old one is never lost. One
 * with a secret is the user's alone. */
static enum onerow_status write_new(const char *path, bool secret, const struct or_buffer *yaml,
                                    struct onerow_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0666);
    if (fd < 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: %s\n  name another file with --output, or - for "
                       "stdout",
                       path,
                       errno == EEXIST ? "exists already and is left alone" : strerror(errno));
    }
    ssize_t written = write(fd, yaml->data, yaml->len);
    int failure = close(fd);
    if (written != (ssize_t)yaml->len || failure) {
        unlink(path);
        return or_fail(error, ONEROW_IO, "%s: cannot be written: %s", path, strerror(errno));
    }
    return ONEROW_OK;
}

/* Whether there is something in the URL that masking hides. */
static bool has_secret(const char *url)
{
    struct or_buffer masked;
    or_buffer_init(&masked);
    or_url_mask(url, &masked);
    bool secret = masked.failed || strcmp(or_buffer_cstr(&masked), url) != 0;
    or_buffer_finish(&masked);
    return secret;
}

static int run(int argc, char **argv)
{
    struct init init = {.output = "onerow.yaml"};
    struct onerow_error error = {0};
    struct or_buffer yaml;
    or_buffer_init(&yaml);
    argp_parse(&argp, argc, argv, 0, NULL, &init);
    enum onerow_status status = describe(&init, &yaml, &error);
    bool secret = has_secret(init.url);
    if (status == ONEROW_OK && strcmp(init.output, "-") == 0) {
        fputs(or_buffer_cstr(&yaml), stdout);
    } else if (status == ONEROW_OK) {
        status = write_new(init.output, secret, &yaml, &error);
        if (status == ONEROW_OK) {
            printf("wrote %s\n  next: onerow check\n", init.output);
        }
    }
    if (status == ONEROW_OK && secret) {
        or_cli_say("the configuration holds the URL's password, so keep it to yourself; better: "
                   "url: \"${DATABASE_URL}\", or the password in ~/.pgpass");
    }
    or_buffer_finish(&yaml);
    return or_cli_end(status, &error);
}

const struct or_command or_cmd_init = {"init", "STORE-URL [LOCATION]",
                                       "look at a store, write a first onerow.yaml", run};
