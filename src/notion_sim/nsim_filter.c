/* SPDX-License-Identifier: Apache-2.0
 *
 * {"property": NAME-OR-ID, TYPE: {OPERATOR: OPERAND}}, {"timestamp": …}, and {"and"|"or": […]} two
 * levels deep. Text is compared without regard to case: seen live for contains and starts_with, and
 * assumed for equals, because whoever trusts equals to be exact should find out here.
 *
 * Dates: an operand without a time stands for its whole day in UTC.
 */
#include "notion_sim/nsim_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS_MAX  2U
#define FILTERS_MAX 500U
#define DAY_MS      86400000

enum op {
    OP_AND,
    OP_OR,
    OP_EQUALS,
    OP_DOES_NOT_EQUAL,
    OP_CONTAINS,
    OP_DOES_NOT_CONTAIN,
    OP_STARTS_WITH,
    OP_ENDS_WITH,
    OP_GREATER,
    OP_LESS,
    OP_GREATER_EQUAL,
    OP_LESS_EQUAL,
    OP_IS_EMPTY,
    OP_IS_NOT_EMPTY,
};

struct or_nsim_filter {
    enum op op;
    const struct or_nsim_property *property; /* NULL: a timestamp of the page */
    enum or_nsim_type type;
    const char *text; /* operand, in lower case for text */
    size_t len;
    double number;
    int64_t from_ms; /* operand as a time: a moment, or a day's beginning */
    int64_t to_ms;   /* and its end, exclusive */
    struct or_nsim_filter **parts;
    size_t n;
};

struct operator_row {
    enum or_nsim_filter_kind kind;
    enum op op;
    const char *name;
};

static const struct operator_row operators[] = {
    {OR_NSIM_FILTER_TEXT, OP_EQUALS, "equals"},
    {OR_NSIM_FILTER_TEXT, OP_DOES_NOT_EQUAL, "does_not_equal"},
    {OR_NSIM_FILTER_TEXT, OP_CONTAINS, "contains"},
    {OR_NSIM_FILTER_TEXT, OP_DOES_NOT_CONTAIN, "does_not_contain"},
    {OR_NSIM_FILTER_TEXT, OP_STARTS_WITH, "starts_with"},
    {OR_NSIM_FILTER_TEXT, OP_ENDS_WITH, "ends_with"},
    {OR_NSIM_FILTER_NUMBER, OP_EQUALS, "equals"},
    {OR_NSIM_FILTER_NUMBER, OP_DOES_NOT_EQUAL, "does_not_equal"},
    {OR_NSIM_FILTER_NUMBER, OP_GREATER, "greater_than"},
    {OR_NSIM_FILTER_NUMBER, OP_LESS, "less_than"},
    {OR_NSIM_FILTER_NUMBER, OP_GREATER_EQUAL, "greater_than_or_equal_to"},
    {OR_NSIM_FILTER_NUMBER, OP_LESS_EQUAL, "less_than_or_equal_to"},
    {OR_NSIM_FILTER_OPTION, OP_EQUALS, "equals"},
    {OR_NSIM_FILTER_OPTION, OP_DOES_NOT_EQUAL, "does_not_equal"},
    {OR_NSIM_FILTER_LIST, OP_CONTAINS, "contains"},
    {OR_NSIM_FILTER_LIST, OP_DOES_NOT_CONTAIN, "does_not_contain"},
    {OR_NSIM_FILTER_DATE, OP_EQUALS, "equals"},
    {OR_NSIM_FILTER_DATE, OP_LESS, "before"},
    {OR_NSIM_FILTER_DATE, OP_GREATER, "after"},
    {OR_NSIM_FILTER_DATE, OP_LESS_EQUAL, "on_or_before"},
    {OR_NSIM_FILTER_DATE, OP_GREATER_EQUAL, "on_or_after"},
    {OR_NSIM_FILTER_CHECKBOX, OP_EQUALS, "equals"},
    {OR_NSIM_FILTER_CHECKBOX, OP_DOES_NOT_EQUAL, "does_not_equal"},
};

static void *take(struct or_nsim_call *call, size_t size)
{
    void *memory = or_arena_alloc(&call->arena, size ? size : 1);
    if (!memory) {
        or_nsim_no_memory();
    }
    memset(memory, 0, size);
    return memory;
}

static struct or_nsim_filter *new_filter(struct or_nsim_call *call, enum op op)
{
    struct or_nsim_filter *filter = take(call, sizeof *filter);
    filter->op = op;
    return filter;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reading {
    struct or_nsim_call *call;
    const struct or_nsim_source *source;
    size_t total;
};

static bool read_text(struct reading *r, const struct or_nsim_path *path, yyjson_val *operand,
                      struct or_nsim_filter *filter, bool fold)
{
    if (!yyjson_is_str(operand)) {
        return or_nsim_invalid_value(r->call, path, "a string", operand);
    }
    char *folded = fold ? or_nsim_fold(or_nsim_string(operand)) : NULL;
    struct onerow_span text =
        or_arena_copy(&r->call->arena, folded ? or_span(folded) : or_nsim_string(operand));
    free(folded);
    if (!text.data) {
        or_nsim_no_memory();
    }
    filter->text = text.data;
    filter->len = text.len;
    return true;
}

static bool read_date(struct reading *r, const struct or_nsim_path *path, yyjson_val *operand,
                      struct or_nsim_filter *filter)
{
    bool day = false;
    if (!yyjson_is_str(operand) ||
        !or_nsim_read_time(or_nsim_string(operand), &filter->from_ms, &day)) {
        return or_nsim_invalid_value(r->call, path, "a valid ISO 8601 date string", operand);
    }
    filter->to_ms = filter->from_ms + (day ? DAY_MS : 1);
    return true;
}

static bool read_list_item(struct reading *r, const struct or_nsim_path *path, yyjson_val *operand,
                           struct or_nsim_filter *filter)
{
    char id[OR_NSIM_ID];
    if (filter->type == OR_NSIM_MULTI_SELECT) {
        return read_text(r, path, operand, filter, false);
    }
    if (!yyjson_is_str(operand) || !or_nsim_read_id(or_nsim_string(operand), id)) {
        return or_nsim_invalid_value(r->call, path, "a valid uuid", operand);
    }
    struct onerow_span copy = or_arena_copy(&r->call->arena, or_span(id));
    filter->text = copy.data ? copy.data : "";
    filter->len = copy.len;
    return true;
}

static bool read_operand(struct reading *r, const struct or_nsim_path *path, yyjson_val *operand,
                         struct or_nsim_filter *filter)
{
    switch (or_nsim_type_filter(filter->type)) {
    case OR_NSIM_FILTER_TEXT: return read_text(r, path, operand, filter, true);
    case OR_NSIM_FILTER_OPTION: return read_text(r, path, operand, filter, false);
    case OR_NSIM_FILTER_LIST: return read_list_item(r, path, operand, filter);
    case OR_NSIM_FILTER_DATE: return read_date(r, path, operand, filter);
    case OR_NSIM_FILTER_NUMBER:
        filter->number = yyjson_get_num(operand);
        return yyjson_is_num(operand) || or_nsim_invalid_value(r->call, path, "a number", operand);
    case OR_NSIM_FILTER_CHECKBOX:
        filter->number = yyjson_get_bool(operand);
        return yyjson_is_bool(operand) ||
               or_nsim_invalid_value(r->call, path, "a boolean", operand);
    default: return false;
    }
}

/* A select or status is compared with one name, or with any of a list. */
static bool read_names(struct reading *r, const struct or_nsim_path *path, yyjson_val *operand,
                       struct or_nsim_filter *filter)
{
    yyjson_val *name;
    size_t i;
    size_t n;
    const struct or_nsim_filter each = *filter;
    filter->parts = take(r->call, yyjson_arr_size(operand) * sizeof *filter->parts);
    filter->n = yyjson_arr_size(operand);
    filter->op = each.op == OP_EQUALS ? OP_OR : OP_AND;
    yyjson_arr_foreach(operand, i, n, name)
    {
        filter->parts[i] = new_filter(r->call, each.op);
        *filter->parts[i] = each;
        if (!read_text(r, path, name, filter->parts[i], false)) {
            return false;
        }
    }
    return true;
}

static bool read_condition(struct reading *r, const struct or_nsim_path *path, yyjson_val *json,
                           struct or_nsim_filter *filter)
{
    enum or_nsim_filter_kind kind = or_nsim_type_filter(filter->type);
    if (!yyjson_is_obj(json) || yyjson_obj_size(json) != 1) {
        return or_nsim_invalid_value(r->call, path, "an object with one condition", json);
    }
    yyjson_val *name = unsafe_yyjson_get_first(json);
    yyjson_val *operand = yyjson_obj_iter_get_val(name);
    const struct or_nsim_path at = {path, yyjson_get_str(name), 0};
    bool empty = or_span_is(or_nsim_string(name), "is_empty");
    if ((empty || or_span_is(or_nsim_string(name), "is_not_empty")) &&
        kind != OR_NSIM_FILTER_CHECKBOX) {
        filter->op = empty ? OP_IS_EMPTY : OP_IS_NOT_EMPTY;
        return (yyjson_is_bool(operand) && yyjson_get_bool(operand)) ||
               or_nsim_invalid_value(r->call, &at, "`true`", operand);
    }
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (operators[i].kind == kind && or_span_is(or_nsim_string(name), operators[i].name)) {
            filter->op = operators[i].op;
            return kind == OR_NSIM_FILTER_OPTION && yyjson_is_arr(operand)
                       ? read_names(r, &at, operand, filter)
                       : read_operand(r, &at, operand, filter);
        }
    }
    return or_nsim_invalid_value(r->call, &at, "not present", operand);
}

/* The type that the filter names beside "property". */
static yyjson_val *condition_of(yyjson_val *json, enum or_nsim_type *type)
{
    for (unsigned i = 0; i < OR_NSIM_TYPES; i++) {
        yyjson_val *condition = yyjson_obj_get(json, or_nsim_type_name((enum or_nsim_type)i));
        if (condition) {
            *type = (enum or_nsim_type)i;
            return condition;
        }
    }
    return NULL;
}

static bool read_property(struct reading *r, const struct or_nsim_path *path, yyjson_val *json,
                          struct or_nsim_filter *filter)
{
    const struct or_nsim_path at_property = {path, "property", 0};
    yyjson_val *name = yyjson_obj_get(json, "property");
    if (!yyjson_is_str(name)) {
        return or_nsim_invalid_value(r->call, &at_property, "defined", name);
    }
    filter->property = or_nsim_property_of(r->source, or_nsim_string(name));
    if (!filter->property) {
        return or_nsim_fail(r->call, OR_NSIM_VALIDATION,
                            "Could not find property with name or id: %s", yyjson_get_str(name));
    }
    yyjson_val *condition = condition_of(json, &filter->type);
    if (!condition) {
        return or_nsim_invalid(r->call, path, " should have a condition, such as rich_text.");
    }
    const struct or_nsim_path at = {path, or_nsim_type_name(filter->type), 0};
    if (filter->type != filter->property->type) {
        return or_nsim_fail(r->call, OR_NSIM_VALIDATION,
                            "The property type in the database does not match the property type of "
                            "the filter provided: database property %s does not match filter %s",
                            or_nsim_type_name(filter->property->type),
                            or_nsim_type_name(filter->type));
    }
    if (or_nsim_type_filter(filter->type) == OR_NSIM_FILTER_NONE) {
        return or_nsim_fail(r->call, OR_NSIM_INVALID_REQUEST,
                            "Unsupported request: filters of %s are not simulated.",
                            or_nsim_type_name(filter->type));
    }
    return read_condition(r, &at, condition, filter);
}

static bool read_timestamp(struct reading *r, const struct or_nsim_path *path, yyjson_val *json,
                           struct or_nsim_filter *filter)
{
    yyjson_val *name = yyjson_obj_get(json, "timestamp");
    const struct or_nsim_path at_timestamp = {path, "timestamp", 0};
    filter->type = or_nsim_type_of(or_nsim_string(name));
    if (filter->type != OR_NSIM_CREATED_TIME && filter->type != OR_NSIM_EDITED_TIME) {
        return or_nsim_invalid_value(r->call, &at_timestamp,
                                     "`\"created_time\"` or `\"last_edited_time\"`", name);
    }
    const struct or_nsim_path at = {path, or_nsim_type_name(filter->type), 0};
    return read_condition(r, &at, yyjson_obj_get(json, or_nsim_type_name(filter->type)), filter);
}

static bool read_filter(struct reading *r, const struct or_nsim_path *path, yyjson_val *json,
                        unsigned level, struct or_nsim_filter **filter);

static bool read_group(struct reading *r, const struct or_nsim_path *path, yyjson_val *list,
                       unsigned level, struct or_nsim_filter *filter)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    if (!yyjson_is_arr(list)) {
        return or_nsim_invalid_value(r->call, path, "an array", list);
    }
    if (level >= LEVELS_MAX) {
        return or_nsim_invalid_value(r->call, path, "not present", list);
    }
    filter->n = yyjson_arr_size(list);
    filter->parts = take(r->call, filter->n * sizeof *filter->parts);
    yyjson_arr_foreach(list, i, n, item)
    {
        const struct or_nsim_path at = {path, NULL, i};
        if (!read_filter(r, &at, item, level + 1, &filter->parts[i])) {
            return false;
        }
    }
    return true;
}

static bool read_filter(struct reading *r, const struct or_nsim_path *path, yyjson_val *json,
                        unsigned level, struct or_nsim_filter **filter)
{
    yyjson_val *all = yyjson_obj_get(json, "and");
    yyjson_val *any = yyjson_obj_get(json, "or");
    *filter = new_filter(r->call, all ? OP_AND : OP_OR);
    if (!yyjson_is_obj(json)) {
        return or_nsim_invalid_value(r->call, path, "an object", json);
    }
    if (++r->total > FILTERS_MAX) {
        return or_nsim_invalid(r->call, path, " should have at most `%u` conditions.", FILTERS_MAX);
    }
    if (all || any) {
        const struct or_nsim_path at = {path, all ? "and" : "or", 0};
        return read_group(r, &at, all ? all : any, level, *filter);
    }
    return yyjson_obj_get(json, "timestamp") ? read_timestamp(r, path, json, *filter)
                                             : read_property(r, path, json, *filter);
}

bool or_nsim_filter_read(struct or_nsim_call *call, const struct or_nsim_source *source,
                         yyjson_val *json, struct or_nsim_filter **filter)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "filter", 0};
    struct reading r = {call, source, 0};
    return read_filter(&r, &path, json, 0, filter);
}

/* ---- matching ------------------------------------------------------------------------------ */

static bool compare(enum op op, int order)
{
    switch (op) {
    case OP_EQUALS: return order == 0;
    case OP_DOES_NOT_EQUAL: return order != 0;
    case OP_GREATER: return order > 0;
    case OP_LESS: return order < 0;
    case OP_GREATER_EQUAL: return order >= 0;
    case OP_LESS_EQUAL: return order <= 0;
    default: return false;
    }
}

static bool text_matches(const struct or_nsim_filter *filter, const struct or_nsim_value *value)
{
    const char *text = value && value->fold ? value->fold : "";
    size_t len = strlen(text);
    switch (filter->op) {
    case OP_EQUALS: return strcmp(text, filter->text) == 0;
    case OP_DOES_NOT_EQUAL: return strcmp(text, filter->text) != 0;
    case OP_CONTAINS: return strstr(text, filter->text);
    case OP_DOES_NOT_CONTAIN: return !strstr(text, filter->text);
    case OP_STARTS_WITH: return strncmp(text, filter->text, filter->len) == 0;
    case OP_ENDS_WITH:
        return len >= filter->len && strcmp(text + len - filter->len, filter->text) == 0;
    case OP_IS_EMPTY: return len == 0;
    case OP_IS_NOT_EMPTY: return len != 0;
    default: return false;
    }
}

/* An empty number equals nothing, and differs from everything. */
static bool number_matches(const struct or_nsim_filter *filter, bool set, double number)
{
    if (filter->op == OP_IS_EMPTY || filter->op == OP_IS_NOT_EMPTY) {
        return set == (filter->op == OP_IS_NOT_EMPTY);
    }
    if (!set) {
        return filter->op == OP_DOES_NOT_EQUAL;
    }
    return compare(filter->op, (number > filter->number) - (number < filter->number));
}

static bool date_matches(const struct or_nsim_filter *filter, bool set, int64_t ms)
{
    if (filter->op == OP_IS_EMPTY || filter->op == OP_IS_NOT_EMPTY || !set) {
        return set == (filter->op == OP_IS_NOT_EMPTY) && filter->op >= OP_IS_EMPTY;
    }
    return compare(filter->op, ms < filter->from_ms ? -1 : ms >= filter->to_ms);
}

static bool has_item(const struct or_nsim_filter *filter, const struct or_nsim_value *value)
{
    for (size_t i = 0; value && i < value->n_items; i++) {
        const char *text = value->items[i];
        if (filter->property->n_options) {
            const struct or_nsim_option *option = or_nsim_option_by_id(filter->property, text);
            text = option ? option->name : "";
        }
        if (strcmp(text, filter->text) == 0) {
            return true;
        }
    }
    return false;
}

static bool list_matches(const struct or_nsim_filter *filter, const struct or_nsim_value *value)
{
    bool any = value && value->n_items;
    switch (filter->op) {
    case OP_EQUALS:
    case OP_CONTAINS: return has_item(filter, value);
    case OP_DOES_NOT_EQUAL:
    case OP_DOES_NOT_CONTAIN: return !has_item(filter, value);
    case OP_IS_EMPTY: return !any;
    case OP_IS_NOT_EMPTY: return any;
    default: return false;
    }
}

/* What Notion fills in by itself. */
static bool automatic_matches(const struct or_nsim_filter *filter, const struct or_nsim_page *page)
{
    const struct or_nsim_token *user =
        filter->type == OR_NSIM_CREATED_BY ? page->o.created_by : page->o.edited_by;
    uint64_t ms = filter->type == OR_NSIM_CREATED_TIME ? page->o.created_ms : page->o.edited_ms;
    switch (filter->type) {
    case OR_NSIM_UNIQUE_ID: return number_matches(filter, true, (double)page->number);
    case OR_NSIM_CREATED_TIME:
    case OR_NSIM_EDITED_TIME: return date_matches(filter, true, (int64_t)(ms - ms % 60000));
    default:
        if (filter->op == OP_IS_EMPTY || filter->op == OP_IS_NOT_EMPTY) {
            return filter->op == OP_IS_NOT_EMPTY;
        }
        return (strcmp(user->bot, filter->text) == 0) == (filter->op == OP_CONTAINS);
    }
}

static bool value_matches(const struct or_nsim_filter *filter, const struct or_nsim_page *page,
                          const struct or_nsim_version *version)
{
    if (!filter->property || !or_nsim_type_writable(filter->type)) {
        return automatic_matches(filter, page);
    }
    const struct or_nsim_value *value = or_nsim_value_of(version, filter->property);
    int64_t ms = 0;
    bool set = false;
    switch (or_nsim_type_filter(filter->type)) {
    case OR_NSIM_FILTER_TEXT: return text_matches(filter, value);
    case OR_NSIM_FILTER_NUMBER:
        return number_matches(filter, value && value->set, value ? value->number : 0);
    case OR_NSIM_FILTER_CHECKBOX: return number_matches(filter, true, value ? value->number : 0);
    case OR_NSIM_FILTER_OPTION:
    case OR_NSIM_FILTER_LIST: return list_matches(filter, value);
    case OR_NSIM_FILTER_DATE:
        set = value && value->text && or_nsim_read_time(or_span(value->text), &ms, NULL);
        return date_matches(filter, set, ms);
    default: return false;
    }
}

bool or_nsim_filter_matches(const struct or_nsim_filter *filter, const struct or_nsim_page *page,
                            const struct or_nsim_version *version)
{
    if (filter->op != OP_AND && filter->op != OP_OR) {
        return value_matches(filter, page, version);
    }
    for (size_t i = 0; i < filter->n; i++) {
        if (or_nsim_filter_matches(filter->parts[i], page, version) == (filter->op == OP_OR)) {
            return filter->op == OP_OR;
        }
    }
    return filter->op == OP_AND;
}
