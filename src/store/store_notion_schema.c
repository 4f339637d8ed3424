/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a table: which data source a location means, which columns it has, and whether the key
 * can be kept in them.
 *
 * A data source has one id, whatever it is called by and whichever version writes it, and the
 * ledger goes by that id. So it is looked for under 2025-09-03 at least: the older version does not
 * know data sources.
 *
 *     location ─> GET /data_sources/ID ── 200 ─────────────────────────────> columns
 *                   └ not that ─> GET /databases/ID ─ one data source ─> GET ──┘
 *                                                   └ none, or several: refused, by name
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/spec.h"
#include "store/store_notion.h"
#include "store/suggest.h"

static const char PROMISE[] =
    "at every instant at most one live page that onerow published carries the key; the ledger says "
    "which, and every writer has to go through it";
static const char SCAN[] = "its key may be spelled in several ways, so every look-up reads the "
                           "whole data source (at most 10,000 pages)";

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- which data source -------------------------------------------------------------------------
 */

static enum onerow_status refuse_several(const struct or_notion_table *table, yyjson_val *sources,
                                         struct onerow_error *error)
{
    yyjson_val *source;
    size_t i;
    size_t n;
    struct or_buffer list;
    or_buffer_init(&list);
    yyjson_arr_foreach(sources, i, n, source)
    {
        struct onerow_span name = or_notion_span(yyjson_obj_get(source, "name"));
        struct onerow_span id = or_notion_span(yyjson_obj_get(source, "id"));
        or_buffer_text(&list, "\n  location: ");
        or_comment(&list, id.data ? id : OR_SPAN("?"));
        or_buffer_text(&list, "   # ");
        or_comment(&list, name.data ? name : OR_SPAN("?"));
    }
    bool old = or_notion_store_of(table->base.store)->version == OR_NOTION_2022;
    (void)or_fail(
        error, ONEROW_CONFIG,
        "table \"%s\": the database has %zu data sources%s; name the one that is meant:%s",
        table->spec.name, yyjson_arr_size(sources),
        old ? ", which version 2022-06-28 cannot write (set `version: 2025-09-03`)" : "",
        or_buffer_cstr(&list));
    or_buffer_finish(&list);
    return ONEROW_CONFIG;
}

/* The only data source of a database. */
static enum onerow_status only_source(struct or_notion_table *table, const char *database,
                                      struct onerow_error *error)
{
    struct or_notion_ask ask = {0};
    struct or_notion_store *store = or_notion_store_of(table->base.store);
    enum onerow_status status = or_notion_ask_for(store, &ask, "databases", database, error);
    yyjson_val *sources = yyjson_obj_get(ask.answer.root, "data_sources");
    if (status == ONEROW_OK && yyjson_arr_size(sources) > 1) {
        status = refuse_several(table, sources, error);
    }
    yyjson_val *id = yyjson_obj_get(yyjson_arr_get_first(sources), "id");
    if (status == ONEROW_OK && !or_notion_id(or_notion_span(id), table->source)) {
        status = or_fail(error, ONEROW_CONFIG, "table \"%s\": the database has no data source",
                         table->spec.name);
    }
    or_notion_ask_finish(&ask);
    return status;
}

/* Leaves the data source's answer in *ask. */
static enum onerow_status find_source(struct or_notion_table *table, struct or_notion_ask *ask,
                                      struct onerow_error *error)
{
    struct or_notion_store *store = or_notion_store_of(table->base.store);
    char id[OR_NOTION_ID];
    memcpy(id, table->source, sizeof id);
    enum onerow_status status = or_notion_ask_for(store, ask, "data_sources", id, error);
    bool other = status == ONEROW_ABSENT || (status == ONEROW_CONFIG && ask->answer.status == 400);
    if (!other) {
        return status;
    }
    status = only_source(table, id, error);
    if (status == ONEROW_ABSENT) {
        return or_fail(error, ONEROW_ABSENT,
                       "notion: there is no data source or database %s that this token may see\n  "
                       "in Notion: open the database, ••• > Connections, and add the integration",
                       id);
    }
    return status == ONEROW_OK ? or_notion_ask_for(store, ask, "data_sources", table->source, error)
                               : status;
}

static enum onerow_status read_place(struct or_notion_table *table, yyjson_val *root,
                                     struct onerow_error *error)
{
    yyjson_val *parent = yyjson_obj_get(root, "parent");
    if (!or_notion_id(or_notion_span(yyjson_obj_get(root, "id")), table->source) ||
        !or_notion_id(or_notion_span(yyjson_obj_get(parent, "database_id")), table->database)) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": the data source cannot be read: it has no id, or no database",
                       table->spec.name);
    }
    if (or_notion_in_trash(root)) {
        return or_fail(error, ONEROW_CONFIG, "table \"%s\": the data source is in the trash",
                       table->spec.name);
    }
    struct onerow_span name = or_notion_plain(yyjson_obj_get(root, "title"), &table->arena);
    table->name = name.data;
    table->line = or_notion_line(or_span(table->source));
    if (!name.data) {
        return no_memory(error);
    }
    bool old = or_notion_store_of(table->base.store)->version == OR_NOTION_2022;
    char source[OR_NOTION_ID];
    memcpy(source, table->source, sizeof source);
    enum onerow_status status = old ? only_source(table, table->database, error) : ONEROW_OK;
    memcpy(table->source, source, sizeof source);
    return status;
}

/* ---- columns
 * -------------------------------------------------------------------------------------- */

struct named {
    struct onerow_span name;
    yyjson_val *property;
};

static int compare_names(const void *a, const void *b)
{
    return or_span_compare(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static bool read_options(struct or_notion_table *table, yyjson_val *status,
                         struct or_notion_property *property)
{
    yyjson_val *options = yyjson_obj_get(status, "options");
    yyjson_val *option;
    size_t i;
    size_t n = yyjson_arr_size(options);
    property->options = or_arena_alloc(&table->arena, (n + 1) * sizeof *property->options);
    if (!property->options) {
        return false;
    }
    yyjson_arr_foreach(options, i, n, option)
    {
        struct onerow_span name = or_notion_span(yyjson_obj_get(option, "name"));
        struct onerow_span copy = or_arena_copy(&table->arena, name.data ? name : OR_SPAN(""));
        if (!copy.data) {
            return false;
        }
        property->options[property->n_options++] = copy.data;
    }
    return true;
}

/* The data source that a relation leads to. NULL: no memory. */
static const char *related(struct or_notion_table *table, yyjson_val *relation)
{
    char id[OR_NOTION_ID];
    bool known = or_notion_id(or_notion_span(yyjson_obj_get(relation, "data_source_id")), id);
    return or_arena_copy(&table->arena, or_span(known ? id : "")).data;
}

static bool add_column(struct or_notion_table *table, const struct named *named)
{
    uint16_t at = (uint16_t)table->base.n_columns++;
    struct onerow_span type = or_notion_span(yyjson_obj_get(named->property, "type"));
    struct onerow_span name = or_arena_copy(&table->arena, named->name);
    struct onerow_span declared = or_arena_copy(&table->arena, type.data ? type : OR_SPAN("?"));
    struct or_notion_property *property = &table->properties[at];
    *property = (struct or_notion_property){.type = or_notion_type_of(type)};
    const struct or_notion_trait *trait = or_notion_trait(property->type);
    table->columns[at] = (struct onerow_column){.name = name.data,
                                                .declared = declared.data,
                                                .type = trait->type,
                                                .not_writable = trait->not_writable};
    table->title = property->type == OR_NOTION_TITLE ? at : table->title;
    bool options = property->type != OR_NOTION_STATUS ||
                   read_options(table, yyjson_obj_get(named->property, "status"), property);
    bool relates = property->type == OR_NOTION_RELATION;
    if (relates) {
        table->columns[at].related = related(table, yyjson_obj_get(named->property, "relation"));
    }
    return name.data && declared.data && options && relates == (table->columns[at].related != NULL);
}

/* By name: the order of the answer is nobody's promise. */
static enum onerow_status read_columns(struct or_notion_table *table, yyjson_val *root,
                                       struct onerow_error *error)
{
    yyjson_val *properties = yyjson_obj_get(root, "properties");
    struct named named[OR_NOTION_COLUMNS];
    yyjson_val *name;
    yyjson_val *property;
    size_t i;
    size_t n;
    size_t size = yyjson_obj_size(properties);
    if (size == 0 || size > OR_NOTION_COLUMNS) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": the data source has %zu properties, onerow takes 1 to %u",
                       table->spec.name, size, OR_NOTION_COLUMNS);
    }
    yyjson_obj_foreach(properties, i, n, name, property)
    {
        named[i] = (struct named){or_notion_span(name), property};
    }
    qsort(named, size, sizeof *named, compare_names);
    table->columns = or_arena_alloc(&table->arena, size * sizeof *table->columns);
    table->properties = or_arena_alloc(&table->arena, size * sizeof *table->properties);
    table->title = UINT16_MAX;
    for (i = 0; i < size; i++) {
        if (!table->columns || !table->properties || !add_column(table, &named[i])) {
            return no_memory(error);
        }
    }
    table->base.columns = table->columns;
    return table->title != UINT16_MAX
               ? ONEROW_OK
               : or_fail(error, ONEROW_CONFIG, "table \"%s\": the data source has no title",
                         table->spec.name);
}

/* ---- the key
 * ----------------------------------------------------------------------------------------- */

static int find_column(const struct or_notion_table *table, const char *name)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The first type that such a property may have as a key, unless one is named. */
static enum onerow_type key_type(const struct onerow_key_column *key,
                                 const struct or_notion_trait *trait)
{
    return key->type != ONEROW_TYPE_UNKNOWN ? key->type : trait->type;
}

static enum onerow_status resolve_part(struct or_notion_table *table, size_t k,
                                       struct onerow_error *error)
{
    const struct onerow_key_column *key = &table->spec.key[k];
    int column = find_column(table, key->name);
    if (column < 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": the data source has no property \"%s\" for its key",
                       table->spec.name, key->name);
    }
    const struct or_notion_trait *trait = or_notion_trait(table->properties[column].type);
    enum onerow_type type = key_type(key, trait);
    if (!(trait->key_types & (1U << type))) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": property \"%s\" is of type %s, which cannot hold %s",
                       table->spec.name, key->name, table->columns[column].declared,
                       trait->key_types ? or_spec_type_word(type) : "a key");
    }
    if (key->nulls_equal && type == ONEROW_TYPE_BOOL) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": checkbox \"%s\" is never empty; leave `nulls: equal` out",
                       table->spec.name, key->name);
    }
    table->base.key[k] = (uint16_t)column;
    table->base.key_types[k] = type;
    table->scan |= key->normalize || (trait->text && type != ONEROW_TYPE_TEXT);
    return ONEROW_OK;
}

static bool is_numbered(const struct or_notion_table *table)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->properties[table->base.key[k]].type == OR_NOTION_UNIQUE_ID) {
            return true;
        }
    }
    return false;
}

/* A key that Notion makes is only for looking: its columns may be named in a question. */
static enum onerow_status take_numbered(struct or_notion_table *table, struct onerow_error *error)
{
    static const char why[] = "its key is numbered by Notion: pages can be looked for by it, and "
                              "not written";
    if (!is_numbered(table)) {
        return ONEROW_OK;
    }
    for (size_t k = 0; k < table->spec.n_key; k++) {
        table->columns[table->base.key[k]].not_writable = NULL;
    }
    table->base.refusal = why;
    bool looks = table->spec.only_look || or_notion_store_of(table->base.store)->read_only;
    return looks ? ONEROW_OK
                 : or_fail(error, ONEROW_CONFIG, "table \"%s\": %s", table->spec.name, why);
}

static enum onerow_status check_spec(struct or_notion_table *table, struct onerow_error *error)
{
    const struct onerow_table_spec *spec = &table->spec;
    if (spec->touch != ONEROW_TOUCH_NONE) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": Notion keeps the time of the last edit itself; leave "
                       "updated_at out",
                       spec->name);
    }
    if (spec->store_key_equality) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": Notion has no equality of keys of its own; leave "
                       "key_equality out",
                       spec->name);
    }
    table->order =
        spec->policy == ONEROW_POLICY_NEWEST ? find_column(table, spec->order_column) : -1;
    if (spec->policy == ONEROW_POLICY_NEWEST && table->order < 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": the data source has no property \"%s\" for on_conflict: "
                       "newest(%s)",
                       spec->name, spec->order_column, spec->order_column);
    }
    return ONEROW_OK;
}

static enum onerow_status resolve(struct or_notion_table *table, struct onerow_error *error)
{
    enum onerow_status status = check_spec(table, error);
    for (size_t k = 0; status == ONEROW_OK && k < table->spec.n_key; k++) {
        status = resolve_part(table, k, error);
    }
    table->base.advice = table->scan ? SCAN : NULL;
    return status == ONEROW_OK ? take_numbered(table, error) : status;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------- */

static enum onerow_status look(struct or_notion_table *table, struct onerow_error *error)
{
    struct or_notion_ask ask = {0};
    enum onerow_status status = find_source(table, &ask, error);
    status = status == ONEROW_OK ? read_place(table, ask.answer.root, error) : status;
    status = status == ONEROW_OK ? read_columns(table, ask.answer.root, error) : status;
    or_notion_ask_finish(&ask);
    return status == ONEROW_OK ? resolve(table, error) : status;
}

enum onerow_status or_notion_table_open(struct onerow_store *store,
                                        const struct onerow_table_spec *spec,
                                        struct onerow_store_table **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_notion_table *table = calloc(1, sizeof *table);
    if (!table) {
        return no_memory(error);
    }
    or_arena_init(&table->arena);
    table->spec = *spec;
    table->base =
        (struct onerow_store_table){.store = store, .guarantees = ONEROW_PAGES, .promise = PROMISE};
    enum onerow_status status =
        or_notion_id(or_span(spec->location), table->source)
            ? look(table, error)
            : or_fail(error, ONEROW_CONFIG,
                      "table \"%s\": location \"%s\" is neither an id nor a link of Notion\n  in "
                      "Notion: open the database, ••• > Copy link",
                      spec->name, spec->location);
    if (status != ONEROW_OK) {
        or_notion_table_close(&table->base);
        return status;
    }
    *out = &table->base;
    return ONEROW_OK;
}

void or_notion_table_close(struct onerow_store_table *base)
{
    if (base) {
        struct or_notion_table *table = or_notion_table_of(base);
        or_arena_finish(&table->arena);
        free(table);
    }
}
