/* SPDX-License-Identifier: Apache-2.0
 *
 * Notion: pages in data sources, written one by one, with nothing that keeps two of them apart.
 * What is sent, and when, is the core's business; here is how it is said to Notion and what its
 * answers mean. See store_notion.h for the files, and the facts about the API at the top of each.
 *
 * The token goes to Notion's own host over TLS, or, for tests, to a server on this very machine.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_notion.h"

#define ORIGIN    "https://api.notion.com"
#define SCHEME    "notion:"
#define LOOPBACK  "notion+http://"
#define TOKEN_MAX 500U

/* ---- where and who -------------------------------------------------------------------------- */

/* HOST:PORT of this machine: 127.x.x.x, localhost or [::1]. */
static bool is_loopback(const char *place)
{
    size_t host = strcspn(place, ":");
    if (strncmp(place, "[::1]", 5) == 0) {
        host = 5;
    } else if (strncmp(place, "127.", 4) == 0) {
        host = strspn(place, "0123456789.");
    } else if (host != 9 || strncmp(place, "localhost", 9) != 0) {
        return false;
    }
    size_t digits = place[host] == ':' ? strspn(place + host + 1, "0123456789") : 0;
    return digits > 0 && digits <= 5 && place[host + 1 + digits] == '\0';
}

static enum onerow_status read_url(struct or_notion_store *store, const char *url,
                                   struct or_http_options *http, struct onerow_error *error)
{
    *http = (struct or_http_options){.request_id = "x-notion-request-id"};
    struct or_buffer origin;
    or_buffer_init(&origin);
    if (strcmp(url, SCHEME) == 0) {
        or_buffer_text(&origin, ORIGIN);
    } else if (strncmp(url, LOOPBACK, sizeof LOOPBACK - 1) == 0 &&
               is_loopback(url + sizeof LOOPBACK - 1)) {
        http->loopback = true;
        or_buffer_printf(&origin, "http://%s", url + sizeof LOOPBACK - 1);
    } else {
        return or_fail(
            error, ONEROW_CONFIG,
            "notion: write notion: alone, or notion+http://HOST:PORT of this very machine "
            "(127.0.0.1, localhost, [::1])");
    }
    store->origin = or_buffer_steal(&origin);
    return store->origin ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status read_version(struct or_notion_store *store, const char *version,
                                       struct onerow_error *error)
{
    static const char *const VERSIONS[] = {"2022-06-28", "2025-09-03", "2026-03-11"};
    store->version = OR_NOTION_2025; /* as both official clients */
    for (unsigned i = 0; version && i < sizeof VERSIONS / sizeof *VERSIONS; i++) {
        if (strcmp(version, VERSIONS[i]) == 0) {
            store->version = (enum or_notion_version)i;
            return ONEROW_OK;
        }
    }
    return version ? or_fail(error, ONEROW_CONFIG,
                             "notion: version \"%s\" is none of 2022-06-28, 2025-09-03, 2026-03-11",
                             version)
                   : ONEROW_OK;
}

/* It becomes part of a header. Nothing of it is ever shown. */
static bool is_token(struct onerow_span token)
{
    bool good = token.len > 0 && token.len <= TOKEN_MAX;
    for (size_t i = 0; good && i < token.len; i++) {
        good = token.data[i] > ' ' && token.data[i] <= '~';
    }
    return good;
}

static struct onerow_span token_of(const struct onerow_store_options *options)
{
    struct onerow_span given =
        options->token.len ? options->token : or_span(getenv("NOTION_TOKEN"));
    return or_span_trim(given); /* files end in a line end */
}

static enum onerow_status read_token(struct or_notion_store *store,
                                     const struct onerow_store_options *options,
                                     struct onerow_error *error)
{
    struct onerow_span given = token_of(options);
    if (given.len == 0) {
        return or_fail(
            error, ONEROW_CONFIG,
            "notion: needs a token: write token: \"${NOTION_TOKEN}\" under the store, or "
            "set $NOTION_TOKEN");
    }
    if (!is_token(given)) {
        return or_fail(error, ONEROW_CONFIG,
                       "notion: the token is no token: it has spaces or other odd characters in "
                       "it, or is too long");
    }
    store->token = strndup(given.data, given.len);
    struct or_buffer header;
    or_buffer_init(&header);
    or_buffer_printf(&header, "Bearer %.*s", (int)given.len, given.data);
    store->authorization = or_buffer_steal(&header);
    return store->token && store->authorization ? ONEROW_OK
                                                : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* Who the token is: what it wrote was not written by a person. A token that may not know counts
 * everything as written by people, and then nothing is thrown away. */
static enum onerow_status ask_bot(struct or_notion_store *store, struct onerow_error *error)
{
    struct or_notion_ask ask = {.operation = "ask who the token is",
                                .method = "GET",
                                .path = "/v1/users/me",
                                .version = store->version};
    enum onerow_status status = or_notion_ask(store, &ask, error);
    if (status == ONEROW_OK &&
        !or_notion_id(or_notion_span(yyjson_obj_get(ask.answer.root, "id")), store->bot)) {
        store->bot[0] = '\0';
    }
    bool secret = ask.answer.status == 403;
    or_notion_ask_finish(&ask);
    return secret ? ONEROW_OK : status;
}

/* ---- opening
 * ------------------------------------------------------------------------------------- */

static void wipe(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    free(secret);
}

static void notion_close(struct onerow_store *base)
{
    if (!base) {
        return;
    }
    struct or_notion_store *store = or_notion_store_of(base);
    or_http_destroy(store->http);
    or_notion_calls_free(store);
    wipe(store->token);
    wipe(store->authorization);
    free(store->origin);
    free(store);
}

static enum onerow_status notion_open(const struct onerow_store_options *options,
                                      struct onerow_store **out, struct onerow_error *error)
{
    struct or_http_options http;
    struct or_notion_store *store = calloc(1, sizeof *store);
    *out = NULL;
    if (!store) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    store->base.type = &or_store_notion;
    store->wait_ms = options->wait_ms;
    store->read_only = options->read_only;
    store->stop = options->stop;
    store->gate = options->gate;
    enum onerow_status status = read_url(store, options->url, &http, error);
    status = status == ONEROW_OK ? read_version(store, options->version, error) : status;
    status = status == ONEROW_OK ? read_token(store, options, error) : status;
    if (status == ONEROW_OK && !(store->http = or_http_create(&http))) {
        status = or_fail(error, ONEROW_NOMEM, "notion: libcurl cannot be used, or out of memory");
    }
    status = status == ONEROW_OK ? ask_bot(store, error) : status;
    if (status != ONEROW_OK) {
        notion_close(&store->base);
        return status;
    }
    *out = &store->base;
    return ONEROW_OK;
}

/* ---- what Notion has not
 * ------------------------------------------------------------------------- */

static enum onerow_status notion_table_create(struct onerow_store *store,
                                              const struct onerow_table_spec *spec,
                                              const struct onerow_new_column *columns, size_t n,
                                              char **sql, struct onerow_error *error)
{
    (void)store;
    (void)columns;
    (void)n;
    if (sql) {
        *sql = NULL;
    }
    return or_fail(
        error, ONEROW_CONFIG,
        "table \"%s\": onerow makes no databases in Notion; make it there, share it with "
        "the integration, and give its link as the location",
        spec->name);
}

static enum onerow_status notion_statement(struct onerow_store_table *table, const char *form,
                                           struct or_buffer *sql, struct onerow_error *error)
{
    (void)form;
    (void)sql;
    return or_fail(
        error, ONEROW_CONFIG,
        "table \"%s\": Notion speaks no SQL and has no transactions; onerow put writes it",
        or_notion_table_of(table)->spec.name);
}

/* Notion counts the requests of a connection. Its id would have to be asked for, and an integration
 * has one token at a time; so the token's digest stands for it, which tells nothing of the token.
 */
static void notion_account(const struct onerow_store_options *options,
                           char name[ONEROW_ACCOUNT_MAX])
{
    or_sha256_hex(token_of(options), name);
}

static const char *notion_target(const struct onerow_store_table *table)
{
    return ((const struct or_notion_table *)table)->source;
}

static const struct onerow_page_ops PAGES = {
    .probe_keys = OR_NOTION_LIST_MAX,
    .account = notion_account,
    .target = notion_target,
    .mark = or_notion_mark,
    .encode = or_notion_encode,
    .line = or_notion_call_line,
    .start = or_notion_start,
    .finish = or_notion_finish,
};

const struct onerow_store_type or_store_notion = {
    .name = "notion",
    .summary = "pages of a Notion database; one per key by way of a ledger",
    .url = "notion:",
    .schemes = (const char *const[]){SCHEME, LOOPBACK, NULL},
    .open = notion_open,
    .close = notion_close,
    .table_open = or_notion_table_open,
    .table_close = or_notion_table_close,
    .table_create = notion_table_create,
    .get = or_notion_get,
    .audit = or_notion_audit,
    .statement = notion_statement,
    .suggest = or_notion_suggest,
    .pages = &PAGES,
};
