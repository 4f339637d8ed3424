/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries and search: filter, sorts, pages of results. Rows in the trash are never among them,
 * which is why an empty query does not prove that a key is absent. Without sorts rows come in the
 * order of their ids, which is none that a client could rely on.
 *
 * A cursor is the id of the row that comes next. It keeps its place even if that row is gone from
 * the results by then: the list goes on with the first row that does not come before it.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_filter.h"

#define RESULTS_MAX 10000U /* of one query, all pages together */
#define SORTS_MAX   20U

struct sort {
    const struct or_nsim_property *property; /* NULL: a timestamp */
    enum or_nsim_type type;
    bool descending;
};

struct row {
    struct or_nsim_object *object;
    const struct or_nsim_version *version; /* of a page */
};

struct query {
    struct or_nsim_call *call;
    const struct or_nsim_source *source;
    struct or_nsim_filter *filter; /* NULL: all */
    struct sort sorts[SORTS_MAX];
    size_t n_sorts;
    struct or_nsim_span_of_list span;
    bool in_trash;  /* asks for what is in the trash, instead */
    uint64_t at_ms; /* the state of that time */
    struct row *rows;
    size_t n;
    size_t room;
};

/* ---- order --------------------------------------------------------------------------------- */

static int compare_ms(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static size_t option_place(const struct sort *sort, const struct or_nsim_value *value)
{
    for (size_t i = 0; i < sort->property->n_options; i++) {
        if (strcmp(sort->property->options[i].id, value->items[0]) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static int compare_values(const struct sort *sort, const struct or_nsim_value *a,
                          const struct or_nsim_value *b)
{
    int64_t left = 0;
    int64_t right = 0;
    switch (or_nsim_type_filter(sort->type)) {
    case OR_NSIM_FILTER_TEXT: return strcmp(a->fold, b->fold);
    case OR_NSIM_FILTER_NUMBER:
    case OR_NSIM_FILTER_CHECKBOX: return (a->number > b->number) - (a->number < b->number);
    case OR_NSIM_FILTER_OPTION: return compare_ms(option_place(sort, a), option_place(sort, b));
    case OR_NSIM_FILTER_DATE:
        if (or_nsim_read_time(or_span(a->text), &left, NULL) &&
            or_nsim_read_time(or_span(b->text), &right, NULL)) {
            return (left > right) - (left < right);
        }
        return 0;
    default: return strcmp(a->items[0], b->items[0]);
    }
}

static bool is_set(const struct sort *sort, const struct or_nsim_value *value)
{
    switch (or_nsim_type_filter(sort->type)) {
    case OR_NSIM_FILTER_TEXT: return value && value->fold;
    case OR_NSIM_FILTER_DATE: return value && value->text;
    case OR_NSIM_FILTER_NUMBER: return value && value->set;
    case OR_NSIM_FILTER_CHECKBOX: return value && value->number != 0;
    default: return value && value->n_items;
    }
}

/* Empty ones come last either way; an unchecked box is not empty, and comes before a checked one.
 */
static int compare_property(const struct sort *sort, const struct row *a, const struct row *b)
{
    const struct or_nsim_value *left = or_nsim_value_of(a->version, sort->property);
    const struct or_nsim_value *right = or_nsim_value_of(b->version, sort->property);
    bool left_set = is_set(sort, left);
    bool right_set = is_set(sort, right);
    int sign = sort->descending ? -1 : 1;
    if (sort->type == OR_NSIM_CHECKBOX) {
        return sign * ((int)left_set - (int)right_set);
    }
    if (!left_set || !right_set) {
        return (int)right_set - (int)left_set;
    }
    return sign * compare_values(sort, left, right);
}

static int compare_rows(const struct query *query, const struct row *a, const struct row *b)
{
    for (size_t i = 0; i < query->n_sorts; i++) {
        const struct sort *sort = &query->sorts[i];
        const struct or_nsim_page *left = (const struct or_nsim_page *)a->object;
        const struct or_nsim_page *right = (const struct or_nsim_page *)b->object;
        int sign = sort->descending ? -1 : 1;
        int order = 0;
        if (sort->type == OR_NSIM_CREATED_TIME) {
            order = sign * compare_ms(a->object->created_ms, b->object->created_ms);
        } else if (sort->type == OR_NSIM_EDITED_TIME) {
            order = sign * compare_ms(a->object->edited_ms, b->object->edited_ms);
        } else if (sort->type == OR_NSIM_UNIQUE_ID) {
            order = sign * compare_ms(left->number, right->number);
        } else {
            order = compare_property(sort, a, b);
        }
        if (order) {
            return order;
        }
    }
    return strcmp(a->object->id, b->object->id);
}

static int compare_for_sort(const void *a, const void *b, void *context)
{
    return compare_rows(context, a, b);
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_sort(struct query *query, const struct or_nsim_path *path, yyjson_val *given,
                      struct sort *sort)
{
    struct or_nsim_call *call = query->call;
    yyjson_val *property = yyjson_obj_get(given, "property");
    yyjson_val *timestamp = yyjson_obj_get(given, "timestamp");
    yyjson_val *direction = yyjson_obj_get(given, "direction");
    const struct or_nsim_path at_direction = {path, "direction", 0};
    *sort = (struct sort){.descending = or_span_is(or_nsim_string(direction), "descending")};
    if (direction && !sort->descending && !or_span_is(or_nsim_string(direction), "ascending")) {
        return or_nsim_invalid_value(call, &at_direction, "`\"ascending\"` or `\"descending\"`",
                                     direction);
    }
    if (timestamp) {
        const struct or_nsim_path at = {path, "timestamp", 0};
        sort->type = or_nsim_type_of(or_nsim_string(timestamp));
        return sort->type == OR_NSIM_CREATED_TIME || sort->type == OR_NSIM_EDITED_TIME ||
               or_nsim_invalid_value(call, &at, "`\"created_time\"` or `\"last_edited_time\"`",
                                     timestamp);
    }
    sort->property = or_nsim_property_of(query->source, or_nsim_string(property));
    if (!sort->property) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "Could not find sort property with name or id: %s",
                            yyjson_is_str(property) ? yyjson_get_str(property) : "");
    }
    sort->type = sort->property->type;
    bool sortable = or_nsim_type_writable(sort->type) || sort->type == OR_NSIM_UNIQUE_ID ||
                    sort->type == OR_NSIM_CREATED_TIME || sort->type == OR_NSIM_EDITED_TIME;
    return (sortable && sort->type != OR_NSIM_FILES) ||
           or_nsim_fail(call, OR_NSIM_INVALID_REQUEST,
                        "Unsupported request: sorting by %s is not simulated.",
                        or_nsim_type_name(sort->type));
}

static bool read_sorts(struct query *query)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "sorts", 0};
    yyjson_val *sorts = yyjson_obj_get(query->call->json, "sorts");
    yyjson_val *sort;
    size_t i;
    size_t n;
    if (!sorts) {
        return true;
    }
    if (!yyjson_is_arr(sorts) || yyjson_arr_size(sorts) > SORTS_MAX) {
        return or_nsim_invalid_value(query->call, &path, "an array", sorts);
    }
    yyjson_arr_foreach(sorts, i, n, sort)
    {
        const struct or_nsim_path at = {&path, NULL, i};
        if (!read_sort(query, &at, sort, &query->sorts[query->n_sorts++])) {
            return false;
        }
    }
    return true;
}

static uint64_t state_of(const struct or_nsim_call *call, uint64_t lag_ms)
{
    if (call->fault && call->fault->id == OR_NSIM_FAULT_LAG) {
        lag_ms = call->fault_ms;
    }
    return call->now_ms > lag_ms ? call->now_ms - lag_ms : 0;
}

static bool read_query(struct query *query)
{
    static const char *const keys[] = {"filter",   "sorts", "start_cursor", "page_size", "archived",
                                       "in_trash", NULL};
    static const char *const unknown[] = {"result_type", NULL};
    const struct or_nsim_path body = {.name = "body"};
    struct or_nsim_call *call = query->call;
    yyjson_val *filter = yyjson_obj_get(call->json, "filter");
    bool given = false;
    query->at_ms = state_of(call, call->sim->options.lag_ms);
    return or_nsim_refuse_unknown(call, unknown) &&
           or_nsim_only_keys(call, &body, call->json, keys) &&
           or_nsim_trash_flag(call, &given, &query->in_trash) &&
           (!filter || or_nsim_filter_read(call, query->source, filter, &query->filter)) &&
           read_sorts(query) && or_nsim_list_span(call, true, &query->span);
}

/* ---- results ------------------------------------------------------------------------------- */

/* Where the page of results begins; SIZE_MAX: the cursor leads nowhere. */
static size_t begin_at(const struct query *query)
{
    char id[OR_NSIM_ID];
    if (!query->span.cursor.data) {
        return 0;
    }
    if (!or_nsim_read_id(query->span.cursor, id)) {
        return SIZE_MAX;
    }
    const struct or_nsim_object *object = or_nsim_find(&query->call->sim->model, id);
    const struct or_nsim_page *page =
        object && object->kind == OR_NSIM_PAGE ? (const struct or_nsim_page *)object : NULL;
    if (!page || page->source != query->source) {
        return SIZE_MAX;
    }
    const struct row cursor = {(struct or_nsim_object *)(uintptr_t)&page->o, page->now};
    size_t at = 0;
    while (at < query->n && compare_rows(query, &query->rows[at], &cursor) < 0) {
        at++;
    }
    return at;
}

static void find_rows(struct query *query)
{
    for (size_t i = 0; i < query->source->n_rows; i++) {
        struct or_nsim_page *page = query->source->rows[i];
        const struct or_nsim_version *version = or_nsim_version_at(page, query->at_ms);
        if (!version || version->in_trash != query->in_trash || page->o.unshared ||
            (query->filter && !or_nsim_filter_matches(query->filter, page, version))) {
            continue;
        }
        const struct row row = {&page->o, version};
        OR_NSIM_PUSH(query->rows, query->n, query->room, row);
    }
    if (query->n_sorts && query->n) { /* else they are in the order of their ids already */
        qsort_r(query->rows, query->n, sizeof *query->rows, compare_for_sort, query);
    }
}

static void end_list(struct or_nsim_call *call, const char *next, bool incomplete)
{
    or_buffer_text(&call->out, "],");
    or_nsim_show_cursor(call, next);
    or_buffer_printf(&call->out, ",\"type\":\"%s\",\"%s\":{}",
                     call->api == OR_NSIM_2022 ? "page_or_database" : "page_or_data_source",
                     call->api == OR_NSIM_2022 ? "page_or_database" : "page_or_data_source");
    if (incomplete) {
        or_buffer_text(&call->out, ",\"request_status\":{\"type\":\"incomplete\","
                                   "\"incomplete_reason\":\"query_result_limit_reached\"}");
    }
    or_buffer_char(&call->out, '}');
}

/* An incomplete query ends after half of its page, and says so; nothing else tells it from the end
 * of the list. */
static bool show_rows(struct query *query)
{
    struct or_nsim_call *call = query->call;
    size_t at = begin_at(query);
    if (at == SIZE_MAX) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "The start_cursor provided is invalid: %.*s",
                            (int)query->span.cursor.len, query->span.cursor.data);
    }
    bool cut = call->fault && call->fault->id == OR_NSIM_FAULT_INCOMPLETE;
    size_t size = cut ? query->span.size / 2 : query->span.size;
    size_t limit = query->n < RESULTS_MAX ? query->n : RESULTS_MAX;
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    for (size_t shown = 0; at < limit && shown < size; at++, shown++) {
        or_buffer_text(&call->out, shown ? "," : "");
        or_nsim_show_page(call, (const struct or_nsim_page *)query->rows[at].object,
                          query->rows[at].version);
    }
    bool ends = cut || at >= limit;
    end_list(call, ends ? NULL : query->rows[at].object->id,
             cut || (at >= limit && query->n > RESULTS_MAX));
    return true;
}

static bool run_query(struct or_nsim_call *call, const struct or_nsim_source *source)
{
    struct query query = {.call = call, .source = source};
    if (!read_query(&query)) {
        return false;
    }
    find_rows(&query);
    bool fine = show_rows(&query);
    free(query.rows);
    return fine;
}

bool or_nsim_source_query(struct or_nsim_call *call)
{
    const struct or_nsim_source *source =
        or_nsim_may(call, OR_NSIM_CAN_READ)
            ? (const struct or_nsim_source *)or_nsim_target(call, 0, OR_NSIM_SOURCE, "data_source")
            : NULL;
    return source && run_query(call, source);
}

bool or_nsim_database_query(struct or_nsim_call *call)
{
    const struct or_nsim_database *database =
        or_nsim_may(call, OR_NSIM_CAN_READ)
            ? (const struct or_nsim_database *)or_nsim_target(call, 0, OR_NSIM_DATABASE, "database")
            : NULL;
    return database && or_nsim_single(call, &database->o) && run_query(call, database->sources[0]);
}

/* ---- search -------------------------------------------------------------------------------- */

struct search {
    struct or_nsim_call *call;
    char *text;              /* in lower case */
    struct onerow_span only; /* page, data_source, database */
    uint64_t at_ms;
    struct row *rows;
    size_t n;
    size_t room;
    bool ascending;
};

static void search_add(struct search *search, struct or_nsim_object *object,
                       const struct or_nsim_version *version)
{
    const struct row row = {object, version};
    OR_NSIM_PUSH(search->rows, search->n, search->room, row);
}

static void search_page(struct search *search, struct or_nsim_page *page)
{
    const struct or_nsim_version *version = or_nsim_version_at(page, search->at_ms);
    const struct or_nsim_property *title = or_nsim_title_of(page->source);
    const struct or_nsim_value *value = version && title ? or_nsim_value_of(version, title) : NULL;
    if (version && !version->in_trash && (!search->only.data || or_span_is(search->only, "page")) &&
        strstr(value && value->fold ? value->fold : "", search->text)) {
        search_add(search, &page->o, version);
    }
}

static void search_source(struct search *search, struct or_nsim_source *source)
{
    bool old = search->call->api == OR_NSIM_2022;
    const struct or_nsim_database *database = (const struct or_nsim_database *)source->o.parent;
    const char *name = old ? database->name : source->name;
    char *fold = or_nsim_fold(or_span(name ? name : ""));
    bool wanted = !search->only.data || or_span_is(search->only, old ? "database" : "data_source");
    if (wanted && !source->o.in_trash && !database->o.in_trash &&
        source->o.created_ms <= search->at_ms && (!old || database->n_sources == 1) &&
        strstr(fold, search->text)) {
        search_add(search, &source->o, NULL);
    }
    free(fold);
}

static int compare_edited(const void *a, const void *b, void *context)
{
    const struct row *left = a;
    const struct row *right = b;
    int sign = ((const struct search *)context)->ascending ? 1 : -1;
    int order = compare_ms(left->object->edited_ms, right->object->edited_ms);
    return order ? sign * order : strcmp(left->object->id, right->object->id);
}

static bool read_search(struct search *search)
{
    static const char *const keys[] = {"query",        "sort",      "filter",
                                       "start_cursor", "page_size", NULL};
    struct or_nsim_call *call = search->call;
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "filter", 0};
    const struct or_nsim_path at = {&path, "value", 0};
    yyjson_val *filter = yyjson_obj_get(call->json, "filter");
    yyjson_val *sort = yyjson_obj_get(call->json, "sort");
    yyjson_val *value = yyjson_obj_get(filter, "value");
    const char *other = call->api == OR_NSIM_2022 ? "database" : "data_source";
    if (!or_nsim_only_keys(call, &body, call->json, keys)) {
        return false;
    }
    if (yyjson_obj_get(filter, "in_trash")) {
        return or_nsim_fail(call, OR_NSIM_INVALID_REQUEST,
                            "Unsupported request: body.filter.in_trash is not simulated.");
    }
    if (value && !or_span_is(or_nsim_string(value), "page") &&
        !or_span_is(or_nsim_string(value), other)) {
        return or_nsim_invalid_value(call, &at,
                                     call->api == OR_NSIM_2022 ? "`\"page\"` or `\"database\"`"
                                                               : "`\"page\"` or `\"data_source\"`",
                                     value);
    }
    search->only = value ? or_nsim_string(value) : (struct onerow_span){0};
    search->ascending = or_span_is(or_nsim_string(yyjson_obj_get(sort, "direction")), "ascending");
    search->at_ms = state_of(call, call->sim->options.search_lag_ms);
    return true;
}

static void find_titles(struct search *search)
{
    struct or_nsim_object *object;
    struct or_nsim_object *next;
    HASH_ITER(hh, search->call->sim->model.objects, object, next)
    {
        if (!or_nsim_is_shared(object)) {
            continue;
        }
        if (object->kind == OR_NSIM_PAGE) {
            search_page(search, (struct or_nsim_page *)object);
        } else if (object->kind == OR_NSIM_SOURCE) {
            search_source(search, (struct or_nsim_source *)object);
        }
    }
    if (search->n) {
        qsort_r(search->rows, search->n, sizeof *search->rows, compare_edited, search);
    }
}

static void show_found(struct or_nsim_call *call, const struct row *row)
{
    if (row->object->kind == OR_NSIM_PAGE) {
        or_nsim_show_page(call, (const struct or_nsim_page *)row->object, row->version);
    } else if (call->api == OR_NSIM_2022) {
        or_nsim_show_database(call, (const struct or_nsim_database *)row->object->parent);
    } else {
        or_nsim_show_source(call, (const struct or_nsim_source *)row->object);
    }
}

static bool show_search(struct search *search)
{
    struct or_nsim_call *call = search->call;
    struct or_nsim_span_of_list span;
    size_t at = 0;
    if (!or_nsim_list_span(call, true, &span)) {
        return false;
    }
    while (span.cursor.data && at < search->n &&
           !or_span_is(span.cursor, search->rows[at].object->id)) {
        at++;
    }
    if (span.cursor.data && at == search->n) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "The start_cursor provided is invalid: %.*s",
                            (int)span.cursor.len, span.cursor.data);
    }
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    for (size_t shown = 0; at < search->n && shown < span.size; at++, shown++) {
        or_buffer_text(&call->out, shown ? "," : "");
        show_found(call, &search->rows[at]);
    }
    end_list(call, at < search->n ? search->rows[at].object->id : NULL, false);
    return true;
}

bool or_nsim_search(struct or_nsim_call *call)
{
    const struct onerow_span text = or_nsim_string(yyjson_obj_get(call->json, "query"));
    struct search search = {.call = call, .text = or_nsim_fold(text)};
    bool fine = or_nsim_may(call, OR_NSIM_CAN_READ) && read_search(&search);
    if (fine) {
        find_titles(&search);
        fine = show_search(&search);
    }
    free(search.rows);
    free(search.text);
    return fine;
}
