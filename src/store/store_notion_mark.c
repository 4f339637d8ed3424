/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger's id, where everybody who writes the data source can see it: in the description of its
 * database, as a word of its own behind what people wrote there.
 *
 *     onerow:ledger:LEDGER@DATA-SOURCE     both as 32 hexadecimal digits
 *
 * A database may have several data sources, with a ledger each; and its copy has the description,
 * too, but other data sources. (A data source has a description of its own, which the API only
 * reads.)
 *
 * Two hosts with a ledger each would make two pages of each key, and neither would ever know. So
 * whoever finds another ledger's id does not write. It is found by who comes later: of two that
 * come at the same time, one sees its own word gone when it looks again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_notion.h"

#define WORD   "onerow:ledger:"
#define DIGITS 32U
#define TRIES  5U

enum seen { SEEN_NOTHING, SEEN_OURS, SEEN_OTHERS };

struct mark {
    struct or_notion_table *table;
    const char *ledger_id;
    char source[DIGITS + 1]; /* the data source's id without dashes */
    char other[DIGITS + 1];  /* OTHERS: whose */
    struct or_buffer body;   /* NOTHING: the request that leaves it */
    struct or_arena arena;
};

/* ---- reading -------------------------------------------------------------------------------- */

static size_t digits(struct onerow_span text)
{
    size_t n = 0;
    while (n < text.len && strchr("0123456789abcdef", text.data[n]) && text.data[n]) {
        n++;
    }
    return n;
}

/* LEDGER@DATA-SOURCE, of this data source. */
static bool read_mark(struct mark *mark, struct onerow_span text, struct onerow_span *ledger)
{
    bool whole = text.len >= 2 * DIGITS + 1 && digits(text) == DIGITS && text.data[DIGITS] == '@' &&
                 memcmp(text.data + DIGITS + 1, mark->source, DIGITS) == 0;
    *ledger = (struct onerow_span){text.data, DIGITS};
    return whole;
}

static enum seen find(struct mark *mark, struct onerow_span text)
{
    enum seen seen = SEEN_NOTHING;
    const size_t word = strlen(WORD);
    const char *at = text.data;
    const char *end = text.data + text.len;
    while (seen != SEEN_OTHERS && (at = memmem(at, (size_t)(end - at), WORD, word))) {
        struct onerow_span ledger;
        at += word;
        if (!read_mark(mark, (struct onerow_span){at, (size_t)(end - at)}, &ledger)) {
            continue;
        }
        seen = or_span_is(ledger, mark->ledger_id) ? SEEN_OURS : SEEN_OTHERS;
        memcpy(mark->other, ledger.data, DIGITS);
    }
    return seen;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void add_member(struct or_buffer *json, yyjson_val *run, const char *name)
{
    yyjson_val *value = yyjson_obj_get(run, name);
    char *text = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    json->failed |= value && !text;
    if (text) {
        or_buffer_printf(json, "\"%s\":%s,", name, text);
    }
    free(text);
}

/* What people wrote, run by run as it came, and the word. */
static void write_body(struct mark *mark, yyjson_val *runs)
{
    struct or_buffer *body = &mark->body;
    yyjson_val *run;
    size_t i;
    size_t n;
    or_buffer_clear(body);
    or_buffer_text(body, "{\"description\":[");
    yyjson_arr_foreach(runs, i, n, run)
    {
        or_buffer_char(body, '{');
        add_member(body, run, "text");
        add_member(body, run, "mention");
        add_member(body, run, "equation");
        add_member(body, run, "annotations");
        or_buffer_text(body, "\"type\":");
        or_buffer_json(body, or_notion_span(yyjson_obj_get(run, "type")));
        or_buffer_text(body, "},");
    }
    or_buffer_printf(body, "{\"type\":\"text\",\"text\":{\"content\":\"%s" WORD "%s@%s\"}}]}",
                     yyjson_arr_size(runs) ? "\\n" : "", mark->ledger_id, mark->source);
}

static enum onerow_status read_description(struct mark *mark, yyjson_val *runs, enum seen *seen,
                                           struct onerow_error *error)
{
    if (!yyjson_is_arr(runs)) { /* to write it would be to write over it */
        return or_fail(error, ONEROW_ABSENT, "notion: the database does not show its description");
    }
    struct onerow_span text = or_notion_plain(runs, &mark->arena);
    *seen = text.data ? find(mark, text) : SEEN_NOTHING;
    write_body(mark, runs);
    return text.data && !mark->body.failed ? ONEROW_OK
                                           : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* What it says there now. NOTHING: `body` is what to send. */
static enum onerow_status look(struct mark *mark, enum seen *seen, struct onerow_error *error)
{
    struct or_notion_store *store = or_notion_store_of(mark->table->base.store);
    struct or_notion_ask ask = {0};
    enum onerow_status status =
        or_notion_ask_for(store, &ask, "databases", mark->table->database, error);
    if (status == ONEROW_OK) {
        yyjson_val *runs = yyjson_obj_get(ask.answer.root, "description");
        status = read_description(mark, runs, seen, error);
    }
    or_notion_ask_finish(&ask);
    return status;
}

static enum onerow_status leave(struct mark *mark, struct onerow_error *error)
{
    struct or_notion_store *store = or_notion_store_of(mark->table->base.store);
    char path[64 + OR_NOTION_ID];
    (void)snprintf(path, sizeof path, "/v1/databases/%s", mark->table->database);
    struct or_notion_ask ask = {.operation = "leave the ledger's id in the database's description",
                                .method = "PATCH",
                                .path = path,
                                .body = or_buffer_view(&mark->body),
                                .once = true,
                                .version = store->version == OR_NOTION_2022 ? OR_NOTION_2025
                                                                            : store->version};
    enum onerow_status status = or_notion_ask(store, &ask, error);
    or_notion_ask_finish(&ask);
    return status;
}

/* ---- both -------------------------------------------------------------------------------------
 */

static enum onerow_status refuse(const struct mark *mark, struct onerow_error *error)
{
    return or_fail(
        error, ONEROW_CONFIG,
        "table \"%s\": its pages are written by way of another ledger, on another host or in "
        "another place: the database's description has its id, %.8s…, and this one is %.8s…\n  "
        "with "
        "two ledgers each key would get two pages: give all writers the same `coordinator:`\n  if "
        "that ledger is lost for good: take \"" WORD "…\" out of the description in Notion, and "
        "run again; the pages that are there are taken over",
        mark->table->spec.name, mark->other, mark->ledger_id);
}

/* Refused for good, or not to be found: what can be written may still be a page. */
static bool is_hopeless(enum onerow_status status)
{
    return status == ONEROW_CONFIG || status == ONEROW_ABSENT;
}

static enum onerow_status try(struct mark *mark, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    enum seen seen = SEEN_NOTHING;
    for (unsigned i = 0; i < TRIES && !is_hopeless(status); i++) {
        enum onerow_status looked = look(mark, &seen, error);
        if (looked != ONEROW_OK) {
            return is_hopeless(looked) ? ONEROW_ABSENT : looked;
        }
        if (seen != SEEN_NOTHING) {
            return seen == SEEN_OURS ? ONEROW_OK : refuse(mark, error);
        }
        status = leave(mark, error);
        if (status == ONEROW_INTERRUPTED || status == ONEROW_NOMEM) {
            return status;
        }
    }
    return status == ONEROW_OK ? or_fail(error, ONEROW_ABSENT, "notion: it does not stay there")
                               : ONEROW_ABSENT;
}

enum onerow_status or_notion_mark(struct onerow_store_table *base, const char *ledger_id,
                                  struct onerow_error *error)
{
    struct mark mark = {.table = or_notion_table_of(base), .ledger_id = ledger_id};
    size_t n = 0;
    for (const char *at = mark.table->source; *at; at++) {
        if (*at != '-' && n < DIGITS) {
            mark.source[n++] = *at;
        }
    }
    or_buffer_init(&mark.body);
    or_arena_init(&mark.arena);
    enum onerow_status status = try(&mark, error);
    or_arena_finish(&mark.arena);
    or_buffer_finish(&mark.body);
    return status;
}
