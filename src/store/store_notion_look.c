/* SPDX-License-Identifier: Apache-2.0
 *
 * get and audit: questions whose answers are waited for.
 *
 * An audit reads every page, oldest first. One query gives 10,000 of them; where it ends, the next
 * one begins, at the minute in which the last page was made, because times are no finer. Pages of
 * that minute come twice and are told apart by their ids: what was read is sorted by key and id.
 */
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/sort.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_notion.h"

#define SORT_MEMORY ((size_t)16 * 1024 * 1024)
#define IDS_SHOWN   10U
#define NO_KEY      '!' /* before why there is none, where others have a canonical key */

/* ---- asking -------------------------------------------------------------------------------------
 */

static enum onerow_status ask_query(const struct or_notion_table *table, struct or_notion_ask *ask,
                                    struct onerow_span body, struct onerow_error *error)
{
    struct or_notion_store *store = or_notion_store_of(table->base.store);
    struct or_buffer path;
    or_buffer_init(&path);
    or_notion_query_path(table, &path);
    ask->operation = "look for pages";
    ask->method = "POST";
    ask->path = or_buffer_cstr(&path);
    ask->body = body;
    ask->version = store->version;
    enum onerow_status status = path.failed ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                            : or_notion_ask(store, ask, error);
    ask->path = NULL;
    or_buffer_finish(&path);
    if (status == ONEROW_ABSENT) { /* the data source is: that says nothing of its pages */
        status = ONEROW_UNAVAILABLE;
        if (error) {
            error->status = status;
        }
    }
    return status;
}

static enum onerow_status fail_query(const char *why, struct onerow_error *error)
{
    return or_fail(error, ONEROW_UNAVAILABLE, "notion: the answer is not complete: %s", why);
}

static void end_body(struct or_buffer *body, const char *cursor)
{
    if (cursor) {
        or_buffer_text(body, "\"start_cursor\":");
        or_buffer_json(body, or_span(cursor));
        or_buffer_char(body, ',');
    }
    or_buffer_printf(body, "\"page_size\":%u}", OR_NOTION_PAGE_SIZE);
}

/* ---- get
 * ------------------------------------------------------------------------------------------ */

static void add_value(struct or_buffer *json, const struct onerow_value *value)
{
    struct onerow_span text = {value->data, value->len};
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: or_buffer_text(json, "null"); break;
    case ONEROW_TEXT:
    case ONEROW_UNTYPED: or_buffer_json(json, text); break;
    default: or_buffer_span(json, text); break;
    }
}

static bool add_row(const struct or_notion_table *table, yyjson_val *page, struct or_arena *arena,
                    struct or_buffer *json)
{
    yyjson_val *properties = yyjson_obj_get(page, "properties");
    bool good = true;
    for (size_t i = 0; good && i < table->base.n_columns; i++) {
        struct onerow_value value;
        const char *name = table->columns[i].name;
        good = or_notion_value(yyjson_obj_get(properties, name), arena, &value);
        or_buffer_char(json, i ? ',' : '{');
        or_buffer_json(json, or_span(name));
        or_buffer_char(json, ':');
        if (good) {
            add_value(json, &value);
        }
    }
    or_buffer_char(json, '}');
    return good && !json->failed;
}

struct best {
    struct onerow_page page;
    struct onerow_span json;
};

static bool is_better(const struct onerow_page *a, const struct best *best)
{
    if (!best->json.data || a->created_ms != best->page.created_ms) {
        return !best->json.data || a->created_ms < best->page.created_ms;
    }
    return or_span_compare(a->id, best->page.id) < 0;
}

static bool same_number(struct onerow_span a, struct onerow_span b, struct or_arena *arena)
{
    const char *x = or_arena_copy(arena, a).data;
    const char *y = or_arena_copy(arena, b).data;
    return x && y && or_double_parse(x) == or_double_parse(y);
}

static bool same_instant(struct onerow_span a, struct onerow_span b)
{
    char x[OR_TIMESTAMP_MAX];
    char y[OR_TIMESTAMP_MAX];
    size_t x_len = 0;
    size_t y_len = 0;
    return or_timestamp_canonical(a, x, &x_len) == NULL &&
           or_timestamp_canonical(b, y, &y_len) == NULL && x_len == y_len &&
           memcmp(x, y, x_len) == 0;
}

/* The filter is no proof. */
static bool same_part(const struct or_notion_table *table, size_t k,
                      const struct onerow_value *wanted, const struct onerow_value *found,
                      struct or_arena *arena)
{
    struct onerow_span x = {wanted->data, wanted->len};
    struct onerow_span y = {found->data, found->len};
    if (wanted->kind == ONEROW_NULL || found->kind == ONEROW_NULL) {
        return wanted->kind == found->kind;
    }
    switch (table->base.key_types[k]) {
    case ONEROW_TYPE_INT:
    case ONEROW_TYPE_DECIMAL: return same_number(x, y, arena);
    case ONEROW_TYPE_TIMESTAMP: return same_instant(x, y);
    default: return or_span_equal(x, y);
    }
}

static bool has_key(const struct or_notion_table *table, const struct onerow_record *key,
                    const struct onerow_page *page, struct or_arena *arena)
{
    bool same = page->parts != NULL;
    for (size_t k = 0; same && k < table->spec.n_key; k++) {
        same = same_part(table, k, &key->values[k], &page->parts[k], arena);
    }
    return same;
}

/* The best page of the answer so far. NULL, or what went wrong. */
static const char *take_best(const struct or_notion_table *table, const struct onerow_record *key,
                             yyjson_val *rows, struct or_arena *arena, struct best *best)
{
    yyjson_val *row;
    size_t i;
    size_t n;
    yyjson_arr_foreach(rows, i, n, row)
    {
        struct onerow_page page;
        bool skip = false;
        const char *why = or_notion_take_page(table, row, arena, &page, &skip);
        if (why) {
            return why;
        }
        if (skip || or_notion_in_trash(row) || !has_key(table, key, &page, arena) ||
            !is_better(&page, best)) {
            continue;
        }
        struct or_buffer json;
        or_buffer_init(&json);
        bool good = add_row(table, row, arena, &json);
        best->page = page;
        best->json = good ? or_arena_copy(arena, or_buffer_view(&json)) : (struct onerow_span){0};
        or_buffer_finish(&json);
        if (!best->json.data) {
            return "out of memory";
        }
    }
    return NULL;
}

static enum onerow_status get_page(const struct or_notion_table *table,
                                   const struct onerow_record *key, struct or_arena *arena,
                                   struct or_notion_results *results, struct best *best,
                                   struct onerow_error *error)
{
    struct or_notion_ask ask = {0};
    struct or_buffer body;
    or_buffer_init(&body);
    or_buffer_char(&body, '{');
    (void)or_notion_filter(table, &key, 0, 1, &body);
    end_body(&body, results->cursor);
    enum onerow_status status = body.failed ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                            : ask_query(table, &ask, or_buffer_view(&body), error);
    if (status == ONEROW_OK) {
        const char *why = or_notion_take_results(results, ask.answer.root);
        yyjson_val *rows = yyjson_obj_get(ask.answer.root, "results");
        why = why ? why : take_best(table, key, rows, arena, best);
        status = why ? fail_query(why, error) : ONEROW_OK;
    }
    or_notion_ask_finish(&ask);
    or_buffer_finish(&body);
    return status;
}

enum onerow_status or_notion_get(struct onerow_store_table *base, const struct onerow_record *key,
                                 struct or_arena *arena, struct onerow_span *json,
                                 struct onerow_span *id, struct onerow_error *error)
{
    const struct or_notion_table *table = or_notion_table_of(base);
    struct or_notion_results results = {.table = table, .arena = arena};
    struct best best = {0};
    enum onerow_status status = ONEROW_OK;
    do {
        status = get_page(table, key, arena, &results, &best, error);
    } while (status == ONEROW_OK && results.cursor);
    *json = best.json;
    *id = best.page.id;
    return status == ONEROW_OK && !best.json.data ? ONEROW_ABSENT : status;
}

/* ---- audit: reading
 * ------------------------------------------------------------------------------- */

struct audit {
    const struct or_notion_table *table;
    onerow_canonical_key *canonical;
    void *context;
    struct or_sort *sort;
    struct or_arena arena; /* of one page of results */
    struct or_buffer key;
    struct or_buffer rest;
    char from[40]; /* where the query began; "": at the beginning */
    char last[40]; /* when the last page was made */
    char *cursor;  /* of the next page; owned */
    bool cut;      /* the query ended before the data source did */
};

static enum onerow_status add_entry(struct audit *audit, const struct onerow_page *page,
                                    struct onerow_error *error)
{
    const char *reason = NULL;
    or_buffer_clear(&audit->key);
    or_buffer_clear(&audit->rest);
    if (!audit->canonical(audit->context, page->parts, &audit->key, &reason)) {
        audit->key.failed |= !reason;
        if (!audit->key.failed) {
            or_buffer_clear(&audit->key);
            or_buffer_printf(&audit->key, "%c%s", NO_KEY, reason);
        }
    }
    or_buffer_char(&audit->key, '\0');
    or_buffer_span(&audit->key, page->id);
    for (size_t k = 0; k < audit->table->spec.n_key; k++) {
        or_buffer_char(&audit->rest, k ? ',' : '{');
        or_buffer_json(&audit->rest, or_span(audit->table->spec.key[k].name));
        or_buffer_char(&audit->rest, ':');
        add_value(&audit->rest, &page->parts[k]);
    }
    or_buffer_char(&audit->rest, '}');
    return audit->key.failed || audit->rest.failed
               ? or_fail(error, ONEROW_NOMEM, "out of memory")
               : or_sort_add(audit->sort, or_buffer_view(&audit->key), or_buffer_view(&audit->rest),
                             error);
}

/* Blanks and pages whose key was moved away carry none, and are nobody's fault. */
static enum onerow_status add_pages(struct audit *audit, const struct or_notion_results *results,
                                    yyjson_val *root, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; status == ONEROW_OK && i < results->n; i++) {
        if (results->pages[i].parts) {
            status = add_entry(audit, &results->pages[i], error);
        }
    }
    yyjson_val *last = yyjson_arr_get_last(yyjson_obj_get(root, "results"));
    struct onerow_span created = or_notion_span(yyjson_obj_get(last, "created_time"));
    if (created.len && created.len < sizeof audit->last) {
        memcpy(audit->last, created.data, created.len);
        audit->last[created.len] = '\0';
    }
    return status;
}

static enum onerow_status read_answer(struct audit *audit, yyjson_val *root, size_t *seen,
                                      struct onerow_error *error)
{
    struct or_notion_results results = {
        .table = audit->table, .arena = &audit->arena, .seen = *seen, .cursor = audit->cursor};
    const char *why = or_notion_take_results(&results, root);
    audit->cut = results.cut;
    *seen = results.seen;
    enum onerow_status status =
        why && !results.cut ? fail_query(why, error) : add_pages(audit, &results, root, error);
    free(audit->cursor);
    audit->cursor = results.cursor && !results.cut ? strdup(results.cursor) : NULL;
    if (status == ONEROW_OK && results.cursor && !results.cut && !audit->cursor) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    or_arena_reset(&audit->arena);
    return status;
}

static enum onerow_status read_some(struct audit *audit, size_t *seen, struct onerow_error *error)
{
    struct or_notion_ask ask = {0};
    struct or_buffer body;
    or_buffer_init(&body);
    or_buffer_text(&body, "{\"sorts\":[{\"timestamp\":\"created_time\",\"direction\":"
                          "\"ascending\"}],");
    if (*audit->from) {
        or_buffer_text(&body, "\"filter\":{\"timestamp\":\"created_time\",\"created_time\":{"
                              "\"on_or_after\":");
        or_buffer_json(&body, or_span(audit->from));
        or_buffer_text(&body, "}},");
    }
    end_body(&body, audit->cursor);
    enum onerow_status status = body.failed
                                    ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                    : ask_query(audit->table, &ask, or_buffer_view(&body), error);
    status = status == ONEROW_OK ? read_answer(audit, ask.answer.root, seen, error) : status;
    or_notion_ask_finish(&ask);
    or_buffer_finish(&body);
    return status;
}

static enum onerow_status read_all(struct audit *audit, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    size_t seen = 0;
    do {
        status = read_some(audit, &seen, error);
        if (status == ONEROW_OK && audit->cut) {
            if (strcmp(audit->from, audit->last) == 0) {
                return fail_query("more than 10,000 pages were made in one minute", error);
            }
            memcpy(audit->from, audit->last, sizeof audit->from);
            seen = 0;
        }
    } while (status == ONEROW_OK && (audit->cut || audit->cursor));
    return status;
}

/* ---- audit: telling
 * -------------------------------------------------------------------------------- */

struct group {
    struct or_buffer key;  /* what its entries have before the id */
    struct or_buffer json; /* of the first one */
    struct or_buffer ids;
    struct or_buffer last; /* the id of the entry before */
    uint64_t rows;
};

static void tell(struct group *group, onerow_visit_twins *visit, void *context)
{
    bool valid = or_buffer_cstr(&group->key)[0] != NO_KEY;
    if (group->rows > 1 || (group->rows && !valid)) {
        or_buffer_char(&group->ids, ']');
        struct onerow_twins twins = {.key = valid ? or_buffer_view(&group->json) : OR_SPAN("null"),
                                     .rows = group->rows,
                                     .ids = or_buffer_view(&group->ids),
                                     .reason = valid ? NULL : or_buffer_cstr(&group->key) + 1};
        visit(context, &twins);
    }
    group->rows = 0;
}

static void begin_group(struct group *group, struct onerow_span key, struct onerow_span json)
{
    or_buffer_clear(&group->key);
    or_buffer_clear(&group->json);
    or_buffer_clear(&group->ids);
    or_buffer_clear(&group->last);
    or_buffer_span(&group->key, key);
    or_buffer_span(&group->json, json);
    or_buffer_char(&group->ids, '[');
}

/* The same page may have been read twice. */
static void add_to_group(struct group *group, struct onerow_span id)
{
    if (or_span_equal(or_buffer_view(&group->last), id)) {
        return;
    }
    or_buffer_clear(&group->last);
    or_buffer_span(&group->last, id);
    if (group->rows++ < IDS_SHOWN) {
        or_buffer_text(&group->ids, group->rows > 1 ? "," : "");
        or_buffer_json(&group->ids, id);
    }
}

static enum onerow_status tell_all(struct audit *audit, onerow_visit_twins *visit, void *context,
                                   struct onerow_error *error)
{
    struct group group = {.rows = 0};
    struct onerow_span entry;
    struct onerow_span json;
    enum onerow_status status = ONEROW_OK;
    while ((status = or_sort_next(audit->sort, &entry, &json, error)) == ONEROW_OK) {
        size_t len = entry.len - OR_UUID_LEN - 1;
        struct onerow_span key = {entry.data, len};
        if (!group.rows || !or_span_equal(or_buffer_view(&group.key), key)) {
            tell(&group, visit, context);
            begin_group(&group, key, json);
        }
        add_to_group(&group, (struct onerow_span){entry.data + len + 1, OR_UUID_LEN});
    }
    bool failed = group.key.failed || group.json.failed || group.ids.failed || group.last.failed;
    if (status == ONEROW_ABSENT) {
        status = failed ? or_fail(error, ONEROW_NOMEM, "out of memory") : ONEROW_OK;
        tell(&group, visit, context);
    }
    or_buffer_finish(&group.key);
    or_buffer_finish(&group.json);
    or_buffer_finish(&group.ids);
    or_buffer_finish(&group.last);
    return status;
}

enum onerow_status or_notion_audit(struct onerow_store_table *base, onerow_canonical_key *canonical,
                                   void *canonical_context, onerow_visit_twins *visit,
                                   void *context, struct onerow_error *error)
{
    struct audit audit = {
        .table = or_notion_table_of(base), .canonical = canonical, .context = canonical_context};
    or_arena_init(&audit.arena);
    or_buffer_init(&audit.key);
    or_buffer_init(&audit.rest);
    audit.sort = or_sort_create(SORT_MEMORY);
    enum onerow_status status =
        audit.sort ? read_all(&audit, error) : or_fail(error, ONEROW_NOMEM, "out of memory");
    status = status == ONEROW_OK ? tell_all(&audit, visit, context, error) : status;
    or_sort_destroy(audit.sort);
    or_arena_finish(&audit.arena);
    or_buffer_finish(&audit.key);
    or_buffer_finish(&audit.rest);
    free(audit.cursor);
    return status;
}
