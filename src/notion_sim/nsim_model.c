/* SPDX-License-Identifier: Apache-2.0
 *
 * The workspace.
 *
 *   workspace ── page ── block ── block            content: or_nsim_object.children
 *        │         └── page
 *        └── database ── data source ── page       rows: or_nsim_source.rows
 *
 * A page's properties are a version: an array of values by slot. A write makes a new version that
 * shares the values it does not change; the older ones stay for a while, so that a query can lag.
 * Values never change, so sharing them is safe.
 *
 * Each data source counts its keys: how many pages were created with one, and how many live pages
 * carry it now and carried it at most. Notion has no such thing; it is what this simulator is for.
 */
#include "notion_sim/nsim_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"

/* ---- types --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool writable;
    enum or_nsim_filter_kind filter;
} types[] = {
#define TYPE_ROW(name, text, writable, filter) {text, writable, OR_NSIM_FILTER_##filter},
    OR_NSIM_TYPE_MAP(TYPE_ROW)
#undef TYPE_ROW
};

const char *or_nsim_type_name(enum or_nsim_type type)
{
    return types[type].name;
}

bool or_nsim_type_writable(enum or_nsim_type type)
{
    return types[type].writable;
}

enum or_nsim_filter_kind or_nsim_type_filter(enum or_nsim_type type)
{
    return types[type].filter;
}

enum or_nsim_type or_nsim_type_of(struct onerow_span name)
{
    for (unsigned i = 0; i < OR_NSIM_TYPES; i++) {
        if (or_span_is(name, types[i].name)) {
            return (enum or_nsim_type)i;
        }
    }
    return OR_NSIM_TYPES;
}

/* ---- values and versions ------------------------------------------------------------------- */

struct or_nsim_value *or_nsim_value_new(void)
{
    struct or_nsim_value *value = or_nsim_take(sizeof *value);
    value->refs = 1;
    return value;
}

struct or_nsim_value *or_nsim_value_ref(struct or_nsim_value *value)
{
    if (value) {
        value->refs++;
    }
    return value;
}

void or_nsim_value_unref(struct or_nsim_value *value)
{
    if (!value || --value->refs) {
        return;
    }
    free(value->text);
    free(value->fold);
    free(value->json);
    free(value->items);
    free(value);
}

const struct or_nsim_value *or_nsim_value_of(const struct or_nsim_version *version,
                                             const struct or_nsim_property *property)
{
    return property->slot < version->n_values ? version->values[property->slot] : NULL;
}

struct or_nsim_version *or_nsim_version_new(const struct or_nsim_version *from, size_t n_slots)
{
    struct or_nsim_version *version = or_nsim_take(sizeof *version);
    version->n_values = n_slots;
    version->values = or_nsim_take(n_slots * sizeof(struct or_nsim_value *));
    for (size_t i = 0; from && i < n_slots && i < from->n_values; i++) {
        version->values[i] = or_nsim_value_ref(from->values[i]);
    }
    version->in_trash = from && from->in_trash;
    return version;
}

void or_nsim_version_free(struct or_nsim_version *version)
{
    while (version) {
        struct or_nsim_version *older = version->older;
        for (size_t i = 0; i < version->n_values; i++) {
            or_nsim_value_unref(version->values[i]);
        }
        free((void *)version->values);
        free(version);
        version = older;
    }
}

void or_nsim_version_set(struct or_nsim_version *version, const struct or_nsim_property *property,
                         struct or_nsim_value *value)
{
    or_nsim_value_unref(version->values[property->slot]);
    version->values[property->slot] = value;
}

const struct or_nsim_version *or_nsim_version_at(const struct or_nsim_page *page, uint64_t at_ms)
{
    const struct or_nsim_version *version = page->now;
    while (version && version->from_ms > at_ms) {
        version = version->older;
    }
    return version;
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* The text of a value that can be a key; owned, NULL: it is empty. */
static char *value_text(const struct or_nsim_property *property, const struct or_nsim_value *value)
{
    char number[OR_DOUBLE_TEXT];
    if (value->text) {
        return or_nsim_copy_text(value->text);
    }
    if (value->n_items) {
        const struct or_nsim_option *option = or_nsim_option_by_id(property, value->items[0]);
        return or_nsim_copy_text(option ? option->name : value->items[0]);
    }
    if (!value->set) {
        return NULL;
    }
    or_double_show(value->number, number);
    return or_nsim_copy_text(number);
}

char *or_nsim_key_text(const struct or_nsim_page *page)
{
    const struct or_nsim_source *source = page->source;
    const struct or_nsim_property *property =
        source->key_name ? or_nsim_property_of(source, or_span(source->key_name))
                         : or_nsim_title_of(source);
    const struct or_nsim_value *value = property ? or_nsim_value_of(page->now, property) : NULL;
    return value ? value_text(property, value) : NULL;
}

static struct or_nsim_key *key_of(struct or_nsim_source *source, const char *text)
{
    struct or_nsim_key *key = NULL;
    HASH_FIND_STR(source->keys, text, key);
    if (!key) {
        key = or_nsim_take(sizeof *key);
        key->text = or_nsim_copy_text(text);
        HASH_ADD_KEYPTR(hh, source->keys, key->text, strlen(key->text), key);
    }
    return key;
}

/* The page counts for the key that it carries now, or for none. */
static void count_key(struct or_nsim_page *page, bool live, uint64_t now_ms)
{
    char *text = page->source->o.parent && live ? or_nsim_key_text(page) : NULL;
    struct or_nsim_key *key = text ? key_of(page->source, text) : NULL;
    free(text);
    if (key == page->key) {
        return;
    }
    if (page->key) {
        page->key->live--;
    }
    page->key = key;
    if (!key) {
        return;
    }
    key->taken++;
    key->live++;
    key->first_ms = key->first_ms ? key->first_ms : now_ms;
    if (key->live > key->most) {
        key->most = key->live;
        key->most_ms = now_ms;
        page->source->duplicated += key->most == 2;
    }
}

/* ---- pages ----------------------------------------------------------------------------------*/

/* Versions that no query can still see go, and the list stays short in any case. */
static void drop_old(struct or_nsim_version *version, uint64_t now_ms)
{
    uint64_t horizon = now_ms > OR_NSIM_LAG_MAX_MS ? now_ms - OR_NSIM_LAG_MAX_MS : 0;
    unsigned kept = 0;
    while (version->from_ms > horizon && version->older && kept++ < OR_NSIM_OLD_MAX) {
        version = version->older;
    }
    or_nsim_version_free(version->older);
    version->older = NULL;
}

void or_nsim_change(struct or_nsim_page *page, struct or_nsim_version *version, uint64_t now_ms)
{
    version->from_ms = now_ms;
    version->older = page->now;
    page->now = version;
    page->o.in_trash = version->in_trash;
    drop_old(version, now_ms);
    count_key(page, !version->in_trash, now_ms);
}

void or_nsim_set_trash(struct or_nsim_object *object, bool trash, uint64_t now_ms)
{
    if (object->kind != OR_NSIM_PAGE) {
        object->in_trash = trash;
        return;
    }
    struct or_nsim_page *page = (struct or_nsim_page *)object;
    struct or_nsim_version *version = or_nsim_version_new(page->now, page->source->n_slots);
    version->in_trash = trash;
    or_nsim_change(page, version, now_ms);
}

/* Where a page of this id stands among the rows, or would stand. */
static size_t row_place(const struct or_nsim_source *source, const char *id)
{
    size_t low = 0;
    size_t high = source->n_rows;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(source->rows[middle]->o.id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void enter(struct or_nsim_model *model, struct or_nsim_object *object,
                  const struct or_nsim_object *o, enum or_nsim_kind kind)
{
    *object = *o;
    object->kind = kind;
    while (!object->id[0] || or_nsim_find(model, object->id)) {
        or_nsim_new_id(&model->ids, object->id);
    }
    HASH_ADD_STR(model->objects, id, object);
}

static void add_child(struct or_nsim_object *parent, size_t at, struct or_nsim_object *child)
{
    OR_NSIM_PUSH(parent->children, parent->n_children, parent->room, child);
    memmove((void *)(parent->children + at + 1), (const void *)(parent->children + at),
            (parent->n_children - 1 - at) * sizeof *parent->children);
    parent->children[at] = child;
}

static void remove_child(struct or_nsim_object *parent, const struct or_nsim_object *child)
{
    for (size_t i = 0; parent && i < parent->n_children; i++) {
        if (parent->children[i] == child) {
            parent->n_children--;
            memmove((void *)(parent->children + i), (const void *)(parent->children + i + 1),
                    (parent->n_children - i) * sizeof *parent->children);
            return;
        }
    }
}

struct or_nsim_page *or_nsim_add_page(struct or_nsim_model *model, const struct or_nsim_object *o,
                                      struct or_nsim_source *source,
                                      struct or_nsim_version *version)
{
    struct or_nsim_page *page = or_nsim_take(sizeof *page);
    enter(model, &page->o, o, OR_NSIM_PAGE);
    page->source = source;
    page->number = ++source->numbered;
    model->n_pages++;
    if (source != model->plain) {
        size_t at = row_place(source, page->o.id);
        OR_NSIM_PUSH(source->rows, source->n_rows, source->rows_room, page);
        memmove((void *)(source->rows + at + 1), (const void *)(source->rows + at),
                (source->n_rows - 1 - at) * sizeof *source->rows);
        source->rows[at] = page;
    } else if (page->o.parent) {
        add_child(page->o.parent, page->o.parent->n_children, &page->o);
    }
    or_nsim_change(page, version, o->created_ms);
    if (page->key) {
        page->key->creates++;
    }
    return page;
}

static void free_object(struct or_nsim_object *o)
{
    free(o->icon);
    free(o->cover);
    free((void *)o->children);
}

static void free_page(struct or_nsim_page *page)
{
    or_nsim_version_free(page->now);
    free_object(&page->o);
    free(page);
}

void or_nsim_purge(struct or_nsim_model *model, struct or_nsim_page *page, uint64_t now_ms)
{
    struct or_nsim_source *source = page->source;
    count_key(page, false, now_ms);
    if (source != model->plain) {
        size_t at = row_place(source, page->o.id);
        source->n_rows--;
        memmove((void *)(source->rows + at), (const void *)(source->rows + at + 1),
                (source->n_rows - at) * sizeof *source->rows);
    } else {
        remove_child(page->o.parent, &page->o);
    }
    /* What lies below is gone as well, to the API; its memory stays until the end. */
    for (size_t i = 0; i < page->o.n_children; i++) {
        page->o.children[i]->unshared = true;
        page->o.children[i]->parent = NULL;
    }
    HASH_DEL(model->objects, &page->o);
    free_page(page);
}

/* ---- databases, data sources, blocks ----------------------------------------------------------
 */

struct or_nsim_database *or_nsim_add_database(struct or_nsim_model *model,
                                              const struct or_nsim_object *o)
{
    struct or_nsim_database *database = or_nsim_take(sizeof *database);
    enter(model, &database->o, o, OR_NSIM_DATABASE);
    if (database->o.parent) {
        add_child(database->o.parent, database->o.parent->n_children, &database->o);
    }
    return database;
}

struct or_nsim_source *or_nsim_add_source(struct or_nsim_model *model,
                                          const struct or_nsim_object *o)
{
    struct or_nsim_source *source = or_nsim_take(sizeof *source);
    enter(model, &source->o, o, OR_NSIM_SOURCE);
    struct or_nsim_database *database = (struct or_nsim_database *)source->o.parent;
    if (database) {
        OR_NSIM_PUSH(database->sources, database->n_sources, database->room, source);
    }
    return source;
}

struct or_nsim_block *or_nsim_add_block(struct or_nsim_model *model, const struct or_nsim_object *o,
                                        const struct or_nsim_object *after, bool first)
{
    struct or_nsim_block *block = or_nsim_take(sizeof *block);
    enter(model, &block->o, o, OR_NSIM_BLOCK);
    struct or_nsim_object *parent = block->o.parent;
    size_t at = first ? 0 : parent->n_children;
    for (size_t i = 0; after && i < parent->n_children; i++) {
        at = parent->children[i] == after ? i + 1 : at;
    }
    add_child(parent, at, &block->o);
    return block;
}

/* ---- properties ------------------------------------------------------------------------------
 */

/* MHD decodes paths, so an id may come as "a:bc" that was given as "a%3Abc". */
static bool id_is(const char *id, struct onerow_span text)
{
    size_t at = 0;
    for (; *id && at < text.len; at++) {
        unsigned code = (unsigned char)*id;
        id++;
        if (code == '%' && text.data[at] != '%') {
            char hex[3] = {id[0], id[1], '\0'};
            code = (unsigned)strtoul(hex, NULL, 16);
            id += 2;
        }
        if (code != (unsigned char)text.data[at]) {
            return false;
        }
    }
    return !*id && at == text.len;
}

bool or_nsim_property_is(const struct or_nsim_property *property, struct onerow_span text)
{
    return id_is(property->id, text) || or_span_is(text, property->name);
}

struct or_nsim_property *or_nsim_property_of(const struct or_nsim_source *source,
                                             struct onerow_span name)
{
    struct or_nsim_property *found = NULL;
    for (size_t i = 0; i < source->n_properties; i++) {
        struct or_nsim_property *property = &source->properties[i];
        if (property->gone) {
            continue;
        }
        if (id_is(property->id, name)) {
            return property;
        }
        if (or_span_is(name, property->name)) {
            found = property;
        }
    }
    return found;
}

struct or_nsim_property *or_nsim_title_of(const struct or_nsim_source *source)
{
    for (size_t i = 0; i < source->n_properties; i++) {
        if (source->properties[i].type == OR_NSIM_TITLE) {
            return &source->properties[i];
        }
    }
    return NULL;
}

/* Ids look as Notion's do: four characters, some of them in URL encoding. */
static void property_id(struct or_nsim_model *model, enum or_nsim_type type, char id[16])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char *const special[] = {"%3A", "%3B", "%40", "%5C", "%7C"};
    if (type == OR_NSIM_TITLE) {
        snprintf(id, 16, "title");
        return;
    }
    uint64_t r = sim_next(&model->ids);
    snprintf(id, 16, "%c%s%c%c", plain[r % 53], special[(r >> 8) % 5], plain[(r >> 16) % 53],
             plain[(r >> 24) % 53]);
}

struct or_nsim_property *or_nsim_add_property(struct or_nsim_model *model,
                                              struct or_nsim_source *source, const char *name,
                                              enum or_nsim_type type)
{
    struct or_nsim_property property = {.name = or_nsim_copy_text(name), .type = type};
    do {
        property_id(model, type, property.id);
    } while (or_nsim_property_of(source, or_span(property.id)));
    property.slot = source->n_slots++;
    OR_NSIM_PUSH(source->properties, source->n_properties, source->room, property);
    return &source->properties[source->n_properties - 1];
}

const struct or_nsim_option *or_nsim_option_by_id(const struct or_nsim_property *property,
                                                  const char *id)
{
    for (size_t i = 0; i < property->n_options; i++) {
        if (strcmp(property->options[i].id, id) == 0) {
            return &property->options[i];
        }
    }
    return NULL;
}

const struct or_nsim_option *or_nsim_option_by_name(const struct or_nsim_property *property,
                                                    struct onerow_span name)
{
    for (size_t i = 0; i < property->n_options; i++) {
        if (or_span_is(name, property->options[i].name)) {
            return &property->options[i];
        }
    }
    return NULL;
}

const struct or_nsim_option *or_nsim_add_option(struct or_nsim_model *model,
                                                struct or_nsim_property *property,
                                                struct onerow_span name, const char *color)
{
    static const char *const colors[] = {"default", "gray", "brown",  "orange", "yellow",
                                         "green",   "blue", "purple", "pink",   "red"};
    struct or_nsim_option option = {.name = or_nsim_copy(name)};
    or_nsim_new_id(&model->ids, option.id);
    option.color = colors[sim_below(&model->ids, 10)];
    for (size_t i = 0; color && i < 10; i++) {
        option.color = strcmp(color, colors[i]) == 0 ? colors[i] : option.color;
    }
    OR_NSIM_PUSH(property->options, property->n_options, property->options_room, option);
    return &property->options[property->n_options - 1];
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

struct or_nsim_object *or_nsim_find(struct or_nsim_model *model, const char *id)
{
    struct or_nsim_object *object = NULL;
    HASH_FIND_STR(model->objects, id, object);
    return object;
}

void or_nsim_model_init(struct or_nsim_model *model, uint64_t seed)
{
    *model = (struct or_nsim_model){.ids = sim_rng_of(seed, 1)};
    model->plain = or_nsim_take(sizeof *model->plain);
    (void)or_nsim_add_property(model, model->plain, "title", OR_NSIM_TITLE);
}

static void free_source(struct or_nsim_source *source)
{
    struct or_nsim_key *key;
    struct or_nsim_key *next;
    HASH_ITER(hh, source->keys, key, next)
    {
        HASH_DEL(source->keys, key); /* NOLINT(clang-analyzer-unix.Malloc): not freed yet */
        free(key->text);
        free(key);
    }
    for (size_t i = 0; i < source->n_properties; i++) {
        struct or_nsim_property *property = &source->properties[i];
        for (size_t j = 0; j < property->n_options; j++) {
            free(property->options[j].name);
        }
        free(property->options);
        free(property->name);
        free(property->extra);
    }
    free(source->properties);
    free((void *)source->rows);
    free(source->title);
    free(source->name);
    free(source->key_name);
    free_object(&source->o);
    free(source);
}

static void free_database(struct or_nsim_database *database)
{
    free(database->title);
    free(database->description);
    free(database->name);
    free((void *)database->sources);
    free_object(&database->o);
    free(database);
}

static void free_block(struct or_nsim_block *block)
{
    free(block->content);
    free_object(&block->o);
    free(block);
}

void or_nsim_model_finish(struct or_nsim_model *model)
{
    struct or_nsim_object *object;
    struct or_nsim_object *next;
    HASH_ITER(hh, model->objects, object, next)
    {
        HASH_DEL(model->objects, object); /* NOLINT(clang-analyzer-unix.Malloc): not freed yet */
        switch (object->kind) {
        case OR_NSIM_PAGE: free_page((struct or_nsim_page *)object); break;
        case OR_NSIM_DATABASE: free_database((struct or_nsim_database *)object); break;
        case OR_NSIM_SOURCE: free_source((struct or_nsim_source *)object); break;
        case OR_NSIM_BLOCK: free_block((struct or_nsim_block *)object); break;
        }
    }
    if (model->plain) {
        free_source(model->plain);
    }
}
