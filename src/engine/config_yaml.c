/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks onerow.yaml.
 *
 *     text ──events──► check_stream    one document, no anchors, aliases or tags, bounded depth
 *          ──load────► document tree   libyaml's; every node knows its line and column
 *          ──walk────► stores, tables  by the rule tables at the end of this file
 *
 * The events are looked at first because the tree no longer shows anchors: an
 * alias is replaced by the node it names, and a few lines of aliases grow into
 * millions of nodes.
 *
 * A kind of mapping is a table of rules {key, handler}. Keys that no rule names
 * are refused, for a misspelt key that is silently ignored is a policy silently
 * not applied. Handlers run in the order of the rules, not of the file, so that
 * a handler may rely on those before it (stores before tables, key before
 * on_conflict).
 */
#include <string.h>
#include <yaml.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/config_internal.h"

#define RULES_MAX 16U
#define BOUND_MAX (60ULL * 60 * 1000) /* ms */

struct walk {
    struct or_config *config;
    struct onerow_error *error;
    yaml_document_t *document;
};

/* A value in the tree, with its path ("tables.areas.key") and the key it stands under. */
struct entry {
    const char *path;
    const yaml_node_t *name; /* the root and list items: the node itself */
    const yaml_node_t *node;
};

typedef enum onerow_status take_fn(struct walk *walk, const struct entry *entry, void *object);

struct rule {
    const char *name;
    take_fn *take;
    const char *needed; /* what to write when the key is absent; NULL: it may be */
};

struct kind {
    const char *example; /* what such a mapping looks like */
    const struct rule *rules;
    size_t n;
    const char *const *later; /* keys of later versions, NULL-terminated */
};

/* ---- places and failures ------------------------------------------------------------ */

static struct or_place place_at(yaml_mark_t mark)
{
    return (struct or_place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static struct or_site site_of(const struct walk *walk, const char *path, const yaml_node_t *node)
{
    return (struct or_site){walk->config, walk->error, place_at(node->start_mark), path,
                            ONEROW_CONFIG};
}

static struct or_site value_site(const struct walk *walk, const struct entry *entry)
{
    return site_of(walk, entry->path, entry->node);
}

static struct onerow_span scalar(const yaml_node_t *node)
{
    return (struct onerow_span){(const char *)node->data.scalar.value, node->data.scalar.length};
}

/* An empty plain value, `~` and `null` say nothing; in quotes they are text. */
static bool says_nothing(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    struct onerow_span text = scalar(node);
    return text.len == 0 || or_span_is(text, "~") || or_span_is(text, "null");
}

static const char *node_word(const yaml_node_t *node)
{
    return node->type == YAML_MAPPING_NODE ? "a mapping" : "a list";
}

/* ---- reading values ------------------------------------------------------------------ */

static enum onerow_status take_text(struct walk *walk, const struct entry *entry,
                                    struct or_text *text)
{
    struct or_site site = value_site(walk, entry);
    if (entry->node->type != YAML_SCALAR_NODE) {
        return or_site_fail(&site, "is %s; write one value", node_word(entry->node));
    }
    if (says_nothing(entry->node)) {
        return or_site_fail(&site, "has no value; write one%s",
                            scalar(entry->node).len ? ", or put it in quotes when it is text" : "");
    }
    text->raw = scalar(entry->node);
    enum onerow_status status = or_value_expand(&site, text);
    return status == ONEROW_OK ? or_value_check(&site, text) : status;
}

static enum onerow_status take_string(struct walk *walk, const struct entry *entry,
                                      const char **string)
{
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    *string = text.value.data;
    return status;
}

/* A value that must be one of `words`; *index tells which. */
static enum onerow_status take_word(struct walk *walk, const struct entry *entry,
                                    const char *const *words, size_t n, size_t *index)
{
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_nearest nearest = {.word = text.raw};
    struct or_buffer known;
    or_buffer_init(&known);
    for (*index = 0; *index < n && !or_span_is(text.value, words[*index]); ++*index) {
        or_nearest_try(&nearest, words[*index]);
        or_buffer_printf(&known, "%s%s", known.len ? " or " : "", words[*index]);
    }
    if (*index == n) {
        struct or_site site = value_site(walk, entry);
        status = or_site_fail(&site, "\"%s\" is not known" OR_NEAREST_FORMAT "Write %s",
                              OR_SHOW(text.raw), OR_NEAREST_ARGS(nearest), or_buffer_cstr(&known));
    }
    or_buffer_finish(&known);
    return status;
}

/* How many items `entry` holds: a list's, or 1 for a value that stands for a list of one. */
static enum onerow_status count_items(struct walk *walk, const struct entry *entry, size_t *n)
{
    *n = 1;
    if (entry->node->type == YAML_SEQUENCE_NODE) {
        *n =
            (size_t)(entry->node->data.sequence.items.top - entry->node->data.sequence.items.start);
    }
    struct or_site site = value_site(walk, entry);
    return *n > OR_CONFIG_ENTRIES_MAX
               ? or_site_fail(&site, "has more than %u entries", OR_CONFIG_ENTRIES_MAX)
               : ONEROW_OK;
}

static struct entry item_at(const struct walk *walk, const struct entry *entry, size_t i)
{
    if (entry->node->type != YAML_SEQUENCE_NODE) {
        return *entry;
    }
    yaml_node_item_t item = entry->node->data.sequence.items.start[i];
    const yaml_node_t *node = yaml_document_get_node(walk->document, item);
    return (struct entry){entry->path, node, node};
}

/* ---- mappings ------------------------------------------------------------------------- */

static size_t count_pairs(const yaml_node_t *mapping)
{
    return (size_t)(mapping->data.mapping.pairs.top - mapping->data.mapping.pairs.start);
}

static const yaml_node_t *pair_name(const struct walk *walk, const yaml_node_t *mapping, size_t i)
{
    return yaml_document_get_node(walk->document, mapping->data.mapping.pairs.start[i].key);
}

/* The i-th pair of a mapping; its path is NULL when there is no memory. */
static struct entry pair_at(const struct walk *walk, const struct entry *parent, size_t i)
{
    const yaml_node_t *name = pair_name(walk, parent->node, i);
    int value = parent->node->data.mapping.pairs.start[i].value;
    return (struct entry){
        or_arena_printf(&walk->config->arena, "%s%s%s", parent->path, *parent->path ? "." : "",
                        OR_SHOW(scalar(name))),
        name,
        yaml_document_get_node(walk->document, value),
    };
}

/* A key must be text that means the same wherever it is read. */
static enum onerow_status check_name(const struct walk *walk, const struct entry *parent,
                                     const yaml_node_t *name)
{
    struct or_site site = site_of(walk, parent->path, name);
    if (name->type != YAML_SCALAR_NODE) {
        return or_site_fail(&site, "%s cannot be a key; write text", node_word(name));
    }
    if (says_nothing(name)) {
        return or_site_fail(&site, "a key is empty; write a name before the colon");
    }
    struct onerow_span text = scalar(name);
    if (memmem(text.data, text.len, "${", 2)) {
        return or_site_fail(&site, "\"%s\": variables are replaced in values, not in keys",
                            OR_SHOW(text));
    }
    site.path = "the key's name";
    return or_value_check(&site, &(struct or_text){.raw = text, .value = text});
}

static enum onerow_status check_twice(const struct walk *walk, const struct entry *parent, size_t i)
{
    const yaml_node_t *name = pair_name(walk, parent->node, i);
    for (size_t j = 0; j < i; j++) {
        const yaml_node_t *first = pair_name(walk, parent->node, j);
        if (or_span_equal(scalar(first), scalar(name))) {
            struct or_site site = site_of(walk, parent->path, name);
            struct or_place place = place_at(first->start_mark);
            return or_site_fail(&site, "\"%s\" is given twice, first at %s:%u:%u; keep one",
                                OR_SHOW(scalar(name)), walk->config->path, place.line,
                                place.column);
        }
    }
    return ONEROW_OK;
}

/* That it is a mapping whose keys are names, each given once. */
static enum onerow_status check_mapping(const struct walk *walk, const struct entry *entry,
                                        const char *example)
{
    struct or_site site = value_site(walk, entry);
    if (entry->node->type != YAML_MAPPING_NODE) {
        return or_site_fail(&site, "%s%s; write %s", *entry->path ? "" : "the file ",
                            says_nothing(entry->node)               ? "has no value"
                            : entry->node->type == YAML_SCALAR_NODE ? "is one value, not a mapping"
                                                                    : "is a list, not a mapping",
                            example);
    }
    size_t n = count_pairs(entry->node);
    if (n > OR_CONFIG_ENTRIES_MAX) {
        return or_site_fail(&site, "has more than %u entries", OR_CONFIG_ENTRIES_MAX);
    }
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        status = check_name(walk, entry, pair_name(walk, entry->node, i));
        if (status == ONEROW_OK) {
            status = check_twice(walk, entry, i);
        }
    }
    return status;
}

static size_t rule_of(const struct kind *kind, struct onerow_span name)
{
    size_t i = 0;
    while (i < kind->n && !or_span_is(name, kind->rules[i].name)) {
        i++;
    }
    return i;
}

static bool is_later(const struct kind *kind, struct onerow_span name)
{
    for (const char *const *later = kind->later; *later; later++) {
        if (or_span_is(name, *later)) {
            return true;
        }
    }
    return false;
}

static enum onerow_status fail_unknown(const struct walk *walk, const struct entry *parent,
                                       const struct kind *kind, const yaml_node_t *name)
{
    struct or_site site = site_of(walk, parent->path, name);
    struct onerow_span word = scalar(name);
    struct or_nearest nearest = {.word = word};
    struct or_buffer known;
    or_buffer_init(&known);
    for (size_t i = 0; i < kind->n; i++) {
        or_nearest_try(&nearest, kind->rules[i].name);
        or_buffer_printf(&known, "%s%s", i ? ", " : "", kind->rules[i].name);
    }
    enum onerow_status status =
        is_later(kind, word)
            ? or_site_fail(&site,
                           "\"%s\" is not supported by this version; take it out. Known keys: "
                           "%s",
                           OR_SHOW(word), or_buffer_cstr(&known))
            : or_site_fail(&site, "unknown key \"%s\"" OR_NEAREST_FORMAT "Known keys: %s",
                           OR_SHOW(word), OR_NEAREST_ARGS(nearest), or_buffer_cstr(&known));
    or_buffer_finish(&known);
    return status;
}

/* Runs the rules, in their order, over the pairs that check_mapping let through. */
static enum onerow_status run_rules(struct walk *walk, const struct entry *mapping,
                                    const struct kind *kind, const size_t *pairs, void *object)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < kind->n && status == ONEROW_OK; i++) {
        const struct rule *rule = &kind->rules[i];
        if (pairs[i]) {
            struct entry entry = pair_at(walk, mapping, pairs[i] - 1);
            status = entry.path ? rule->take(walk, &entry, object) : or_config_nomem(walk->error);
        } else if (rule->needed) {
            struct or_site site = site_of(walk, mapping->path, mapping->name);
            status = or_site_fail(&site, "\"%s\" is missing; write %s", rule->name, rule->needed);
        }
    }
    return status;
}

static enum onerow_status walk_mapping(struct walk *walk, const struct entry *entry,
                                       const struct kind *kind, void *object)
{
    enum onerow_status status = check_mapping(walk, entry, kind->example);
    size_t pairs[RULES_MAX] = {0}; /* of each rule: 1 + the pair that it is about; 0: none */
    for (size_t i = 0; status == ONEROW_OK && i < count_pairs(entry->node); i++) {
        const yaml_node_t *name = pair_name(walk, entry->node, i);
        size_t rule = rule_of(kind, scalar(name));
        if (rule == kind->n) {
            status = fail_unknown(walk, entry, kind, name);
        } else {
            pairs[rule] = i + 1;
        }
    }
    return status == ONEROW_OK ? run_rules(walk, entry, kind, pairs, object) : status;
}

/* A mapping of names that the user chose: makes room for its n objects of `size` bytes, cleared.
 * Nothing after the colon is no objects. */
static enum onerow_status open_named(struct walk *walk, const struct entry *entry,
                                     const char *example, size_t size, size_t *n, void **objects)
{
    *n = 0;
    if (says_nothing(entry->node)) {
        return ONEROW_OK;
    }
    enum onerow_status status = check_mapping(walk, entry, example);
    if (status != ONEROW_OK) {
        return status;
    }
    size_t room = count_pairs(entry->node) * size;
    *objects = or_arena_alloc(&walk->config->arena, room);
    if (!*objects) {
        return or_config_nomem(walk->error);
    }
    memset(*objects, 0, room);
    *n = count_pairs(entry->node);
    return ONEROW_OK;
}

/* The i-th entry of such a mapping and its name. */
static enum onerow_status named_at(struct walk *walk, const struct entry *parent, size_t i,
                                   struct entry *entry, const char **name, struct or_place *place)
{
    *entry = pair_at(walk, parent, i);
    *name = or_arena_copy(&walk->config->arena, scalar(entry->name)).data;
    *place = place_at(entry->name->start_mark);
    return entry->path && *name ? ONEROW_OK : or_config_nomem(walk->error);
}

/* ---- URLs and coordinators ---------------------------------------------------------------------
 */

static enum onerow_status url_of(struct walk *walk, const struct entry *entry, const char **url)
{
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    /* What a variable holds is not looked at: only the file itself can name a secret file. */
    if (status == ONEROW_OK && text.raw.len >= 5 && memcmp(text.raw.data, "file:", 5) == 0) {
        status = or_value_secret_file(&site, &text);
    }
    return status == ONEROW_OK ? or_value_url(&site, &text, url) : status;
}

static enum onerow_status coordinator_of(struct walk *walk, const struct entry *entry,
                                         const char **url)
{
    struct or_site site = value_site(walk, entry);
    enum onerow_status status = url_of(walk, entry, url);
    return status == ONEROW_OK ? or_value_coordinator(&site, *url) : status;
}

/* ---- stores ----------------------------------------------------------------------------- */

static enum onerow_status take_url(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    return url_of(walk, entry, &store->url);
}

static enum onerow_status take_connections(struct walk *walk, const struct entry *entry,
                                           void *object)
{
    struct or_config_store *store = object;
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    return status == ONEROW_OK
               ? or_value_count(&site, &text, OR_CONNECTIONS_MAX, &store->connections)
               : status;
}

/* ${VAR}, or file:PATH. */
static enum onerow_status take_token(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    if (status == ONEROW_OK && text.raw.len >= 5 && memcmp(text.raw.data, "file:", 5) == 0) {
        status = or_value_secret_file(&site, &text);
    } else if (status == ONEROW_OK && !(text.raw.len && memchr(text.raw.data, '$', text.raw.len))) {
        status = or_site_fail(&site, "is written into the file itself, where others can read it; "
                                     "write \"${NOTION_TOKEN}\", or file:PATH");
    }
    store->token = text.value;
    store->for_pages = "token";
    return status;
}

static enum onerow_status take_version(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    store->for_pages = "version";
    return take_string(walk, entry, &store->version);
}

static enum onerow_status take_windows(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    size_t n;
    enum onerow_status status = count_items(walk, entry, &n);
    store->for_pages = "windows";
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        struct entry item = item_at(walk, entry, i);
        struct or_site site = value_site(walk, &item);
        struct or_text text = {0};
        status = take_text(walk, &item, &text);
        status = status == ONEROW_OK ? or_value_window(&site, &text, store) : status;
    }
    return status;
}

static enum onerow_status take_span(struct walk *walk, const struct entry *entry, uint64_t *ms)
{
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    return status == ONEROW_OK ? or_value_span(&site, &text, BOUND_MAX, ms) : status;
}

static enum onerow_status take_conflict_wait(struct walk *walk, const struct entry *entry,
                                             void *object)
{
    struct or_config_store *store = object;
    store->for_pages = "conflict_wait";
    return take_span(walk, entry, &store->conflict_wait);
}

/* A window of one. */
static enum onerow_status take_min_gap(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    struct or_site site = value_site(walk, entry);
    uint64_t ms = 0;
    enum onerow_status status = take_span(walk, entry, &ms);
    store->for_pages = "min_gap";
    if (status == ONEROW_OK && store->n_windows == OR_WINDOWS_MAX) {
        return or_site_fail(&site, "there are more than 4 windows, min_gap included");
    }
    if (status == ONEROW_OK) {
        store->windows[store->n_windows++] = (struct or_window){.count = 1, .span_ms = ms};
    }
    return status;
}

#define TAKE_BOUND(name)                                                                           \
    static enum onerow_status take_##name(struct walk *walk, const struct entry *entry,            \
                                          void *object)                                            \
    {                                                                                              \
        struct or_bounds *bounds = object;                                                         \
        return take_span(walk, entry, &bounds->name);                                              \
    }
TAKE_BOUND(pause)
TAKE_BOUND(request)
TAKE_BOUND(life)
TAKE_BOUND(lag)
TAKE_BOUND(skew)
TAKE_BOUND(guard)
TAKE_BOUND(lease)
TAKE_BOUND(poll)
#undef TAKE_BOUND

static const char *const NONE_LATER[] = {NULL};
static const struct rule BOUNDS_RULES[] = {
    {"pause", take_pause, NULL}, {"request", take_request, NULL}, {"life", take_life, NULL},
    {"lag", take_lag, NULL},     {"skew", take_skew, NULL},       {"guard", take_guard, NULL},
    {"lease", take_lease, NULL}, {"poll", take_poll, NULL},
};
static const struct kind BOUNDS = {"{ pause: 30s, request: 60s }", BOUNDS_RULES,
                                   sizeof BOUNDS_RULES / sizeof *BOUNDS_RULES, NONE_LATER};

static enum onerow_status take_bounds(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_store *store = object;
    enum onerow_status status = walk_mapping(walk, entry, &BOUNDS, &store->bounds);
    store->for_pages = "bounds";
    if (status == ONEROW_OK && store->bounds.request > or_bounds_usable(&store->bounds)) {
        struct or_site site = value_site(walk, entry);
        status = or_site_fail(&site,
                              "a request of %llu ms does not fit into a lease of %llu ms "
                              "with a guard of %llu ms; make lease longer",
                              (unsigned long long)store->bounds.request,
                              (unsigned long long)store->bounds.lease,
                              (unsigned long long)store->bounds.guard);
    }
    return status;
}

static const char *const STORE_LATER[] = {"coordinator", NULL};
/* windows stands before min_gap, which is one more. */
static const struct rule STORE_RULES[] = {
    {"url", take_url, "url: \"sqlite:PATH\""},
    {"connections", take_connections, NULL},
    {"token", take_token, NULL},
    {"version", take_version, NULL},
    {"windows", take_windows, NULL},
    {"min_gap", take_min_gap, NULL},
    {"conflict_wait", take_conflict_wait, NULL},
    {"bounds", take_bounds, NULL},
};
static const struct kind STORE = {"{ url: \"sqlite:PATH\" }", STORE_RULES,
                                  sizeof STORE_RULES / sizeof *STORE_RULES, STORE_LATER};

static enum onerow_status take_stores(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config *config = object;
    void *stores = NULL;
    size_t n = 0;
    enum onerow_status status = open_named(walk, entry, "NAME: { url: \"sqlite:PATH\" }",
                                           sizeof *config->stores, &n, &stores);
    config->stores = stores;
    for (; config->n_stores < n && status == ONEROW_OK; config->n_stores++) {
        struct or_config_store *store = &config->stores[config->n_stores];
        struct entry at;
        status = named_at(walk, entry, config->n_stores, &at, &store->name, &store->place);
        store->bounds = OR_BOUNDS_DEFAULT;
        if (status == ONEROW_OK) {
            status = walk_mapping(walk, &at, &STORE, store);
        }
    }
    return status;
}

/* ---- keys --------------------------------------------------------------------------------- */

static enum onerow_status take_column(struct walk *walk, const struct entry *entry, void *object)
{
    struct onerow_key_column *column = object;
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    column->name = text.value.data;
    return status == ONEROW_OK ? or_value_key_column(&site, &text) : status;
}

static enum onerow_status take_type(struct walk *walk, const struct entry *entry, void *object)
{
    struct onerow_key_column *column = object;
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    return status == ONEROW_OK ? or_value_type(&site, &text, &column->type) : status;
}

static enum onerow_status take_normalize(struct walk *walk, const struct entry *entry, void *object)
{
    static const char *const words[] = {"nfc", "trim", "casefold"};
    struct onerow_key_column *column = object;
    if (column->type != ONEROW_TYPE_UNKNOWN && column->type != ONEROW_TYPE_TEXT) {
        struct or_site site = value_site(walk, entry);
        return or_site_fail(&site, "only a text column can be normalized; take it out, or write "
                                   "type: text");
    }
    size_t n;
    enum onerow_status status = count_items(walk, entry, &n);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        struct entry item = item_at(walk, entry, i);
        size_t word = 0;
        status = take_word(walk, &item, words, sizeof words / sizeof *words, &word);
        column->normalize |= 1U << word; /* in the order of enum onerow_normalize */
    }
    return status;
}

static enum onerow_status take_nulls(struct walk *walk, const struct entry *entry, void *object)
{
    static const char *const words[] = {"reject", "equal"};
    struct onerow_key_column *column = object;
    size_t word = 0;
    enum onerow_status status = take_word(walk, entry, words, 2, &word);
    column->nulls_equal = word == 1;
    return status;
}

static const struct rule KEY_COLUMN_RULES[] = {
    {"column", take_column, "column: COLUMN"},
    {"type", take_type, NULL},
    {"normalize", take_normalize, NULL},
    {"nulls", take_nulls, NULL},
};
static const struct kind KEY_COLUMN = {"{ column: COLUMN, type: text }", KEY_COLUMN_RULES,
                                       sizeof KEY_COLUMN_RULES / sizeof *KEY_COLUMN_RULES,
                                       NONE_LATER};

/* `name:type` is how --key says it; here it would silently be a column of that whole name. */
static enum onerow_status check_not_flag(const struct or_site *site, const struct or_text *text)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): libyaml's scalars have data */
    const char *colon = memrchr(text->value.data, ':', text->value.len);
    enum onerow_type type;
    struct or_text rest = {.raw = or_span(colon ? colon + 1 : "")};
    rest.value = rest.raw;
    struct or_site quiet = *site;
    quiet.error = NULL;
    if (!colon || or_value_type(&quiet, &rest, &type) != ONEROW_OK) {
        return ONEROW_OK;
    }
    return or_site_fail(site,
                        "\"%s\" is how --key names a type; write {column: …, type: …}, or "
                        "{column: \"%s\"} for a column of that very name",
                        OR_SHOW(text->raw), OR_SHOW(text->raw));
}

static enum onerow_status take_key_item(struct walk *walk, const struct entry *item,
                                        struct onerow_key_column *column)
{
    if (item->node->type == YAML_MAPPING_NODE) {
        return walk_mapping(walk, item, &KEY_COLUMN, column);
    }
    struct or_site site = value_site(walk, item);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, item, &text);
    if (status == ONEROW_OK) {
        status = or_value_key_column(&site, &text);
    }
    column->name = text.value.data;
    return status == ONEROW_OK ? check_not_flag(&site, &text) : status;
}

static enum onerow_status take_key(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    struct or_site site = value_site(walk, entry);
    struct or_key_draft draft = {.n = 0};
    table->key_place = site.place;
    if (entry->node->type == YAML_MAPPING_NODE) {
        return or_site_fail(&site, "is a mapping; write a list: key: [COLUMN, {column: COLUMN, "
                                   "type: decimal}]");
    }
    size_t n;
    enum onerow_status status = count_items(walk, entry, &n);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        struct entry item = item_at(walk, entry, i);
        struct or_site item_site = value_site(walk, &item);
        struct onerow_key_column column = {0};
        status = take_key_item(walk, &item, &column);
        if (status == ONEROW_OK) {
            status = or_key_draft_add(&item_site, &draft, &column);
        }
    }
    return status == ONEROW_OK ? or_key_draft_finish(&site, &draft, &table->spec) : status;
}

/* ---- the rest of a table --------------------------------------------------------------------- */

static enum onerow_status take_store(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    struct or_config *config = walk->config;
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_nearest nearest = {.word = text.raw};
    for (size_t i = 0; i < config->n_stores; i++) {
        if (or_span_is(text.value, config->stores[i].name)) {
            table->store = &config->stores[i];
            return ONEROW_OK;
        }
        or_nearest_try(&nearest, config->stores[i].name);
    }
    struct or_site site = value_site(walk, entry);
    return or_site_fail(&site,
                        "there is no store \"%s\"" OR_NEAREST_FORMAT
                        "Name it under stores: NAME: { url: URL }",
                        OR_SHOW(text.raw), OR_NEAREST_ARGS(nearest));
}

static enum onerow_status take_location(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    return take_string(walk, entry, &table->spec.location);
}

static enum onerow_status take_policy(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    struct or_site site = value_site(walk, entry);
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    return status == ONEROW_OK ? or_value_policy(&site, &text, &table->spec) : status;
}

static enum onerow_status take_unenforced(struct walk *walk, const struct entry *entry,
                                          void *object)
{
    static const char *const words[] = {"accept"};
    struct or_config_table *table = object;
    size_t word;
    enum onerow_status status = take_word(walk, entry, words, 1, &word);
    table->spec.accept_unenforced = status == ONEROW_OK;
    return status;
}

static enum onerow_status take_equality(struct walk *walk, const struct entry *entry, void *object)
{
    static const char *const words[] = {"store"};
    struct or_config_table *table = object;
    size_t word;
    enum onerow_status status = take_word(walk, entry, words, 1, &word);
    table->spec.store_key_equality = status == ONEROW_OK;
    return status;
}

static enum onerow_status take_touch_column(struct walk *walk, const struct entry *entry,
                                            void *object)
{
    struct onerow_table_spec *spec = object;
    struct or_site site = value_site(walk, entry);
    enum onerow_status status = take_string(walk, entry, &spec->touch_column);
    if (status != ONEROW_OK) {
        return status;
    }
    if (or_key_has(spec, spec->touch_column)) {
        return or_site_fail(&site, "the column is part of the key, which never changes; name "
                                   "another");
    }
    if (spec->order_column && strcmp(spec->order_column, spec->touch_column) == 0) {
        return or_site_fail(&site, "newest() compares this column with the record's, and the "
                                   "store's clock would overwrite it; name another");
    }
    spec->touch = ONEROW_TOUCH_CHANGE;
    return ONEROW_OK;
}

static enum onerow_status take_touch_when(struct walk *walk, const struct entry *entry,
                                          void *object)
{
    static const char *const words[] = {"change", "write"};
    struct onerow_table_spec *spec = object;
    size_t word = 0;
    enum onerow_status status = take_word(walk, entry, words, 2, &word);
    spec->touch = word == 1 ? ONEROW_TOUCH_WRITE : ONEROW_TOUCH_CHANGE;
    return status;
}

static const struct rule UPDATED_AT_RULES[] = {
    {"column", take_touch_column, "column: COLUMN"},
    {"when", take_touch_when, NULL},
};
static const struct kind UPDATED_AT = {"{ column: COLUMN, when: change }", UPDATED_AT_RULES,
                                       sizeof UPDATED_AT_RULES / sizeof *UPDATED_AT_RULES,
                                       NONE_LATER};

static enum onerow_status take_updated_at(struct walk *walk, const struct entry *entry,
                                          void *object)
{
    struct or_config_table *table = object;
    return walk_mapping(walk, entry, &UPDATED_AT, &table->spec);
}

static enum onerow_status take_secret(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    size_t n;
    enum onerow_status status = count_items(walk, entry, &n);
    if (status != ONEROW_OK) {
        return status;
    }
    const char **secrets = or_arena_alloc(&walk->config->arena, (n + 1) * sizeof *secrets);
    if (!secrets) {
        return or_config_nomem(walk->error);
    }
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        struct entry item = item_at(walk, entry, i);
        status = take_string(walk, &item, &secrets[i]);
    }
    secrets[n] = NULL;
    table->secrets = secrets;
    return status;
}

/* ---- tables of pages ----------------------------------------------------------------------- */

static enum onerow_status take_protocol(struct walk *walk, const struct entry *entry, void *object)
{
    static const char *const words[] = {"guarded", "direct"};
    struct or_config_table *table = object;
    size_t word = 0;
    enum onerow_status status = take_word(walk, entry, words, 2, &word);
    table->protocol = word == 1 ? OR_PROTOCOL_DIRECT : OR_PROTOCOL_GUARDED;
    table->for_pages = "protocol";
    return status;
}

static enum onerow_status take_when_trashed(struct walk *walk, const struct entry *entry,
                                            void *object)
{
    static const char *const words[] = {"tombstone", "restore", "recreate"};
    struct or_config_table *table = object;
    size_t word = 0;
    enum onerow_status status = take_word(walk, entry, words, 3, &word);
    table->when_trashed = status == ONEROW_OK ? (enum or_deletion)word : OR_DELETION_TOMBSTONE;
    table->for_pages = "when_trashed";
    return status;
}

static enum onerow_status take_verify(struct walk *walk, const struct entry *entry, void *object)
{
    static const char *const words[] = {"ledger", "read"};
    struct or_config_table *table = object;
    size_t word = 0;
    enum onerow_status status = take_word(walk, entry, words, 2, &word);
    table->verify_read = word == 1;
    table->for_pages = "verify";
    return status;
}

static enum onerow_status take_table_ledger(struct walk *walk, const struct entry *entry,
                                            void *object)
{
    struct or_config_table *table = object;
    table->for_pages = "ledger";
    return coordinator_of(walk, entry, &table->ledger);
}

/* A list, as JSON. */
static enum onerow_status take_list(struct walk *walk, const struct entry *entry,
                                    struct onerow_value *value)
{
    struct or_buffer json;
    size_t n = 0;
    enum onerow_status status = count_items(walk, entry, &n);
    or_buffer_init(&json);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        struct entry item = item_at(walk, entry, i);
        struct or_text text = {0};
        status = take_text(walk, &item, &text);
        or_buffer_text(&json, i ? "," : "[");
        or_buffer_json(&json, text.value);
    }
    or_buffer_text(&json, n ? "]" : "[]");
    struct onerow_span kept = or_arena_copy(&walk->config->arena, or_buffer_view(&json));
    status =
        status == ONEROW_OK && (json.failed || !kept.data) ? or_config_nomem(walk->error) : status;
    *value =
        (struct onerow_value){.data = kept.data, .len = (uint32_t)kept.len, .kind = ONEROW_JSON};
    or_buffer_finish(&json);
    return status;
}

static enum onerow_status take_default(struct walk *walk, const struct entry *entry,
                                       struct onerow_value *value)
{
    if (entry->node->type == YAML_SEQUENCE_NODE) {
        return take_list(walk, entry, value);
    }
    struct or_text text = {0};
    enum onerow_status status = take_text(walk, entry, &text);
    bool quoted = status == ONEROW_OK && entry->node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    *value = (struct onerow_value){.data = text.value.data,
                                   .len = (uint32_t)text.value.len,
                                   .kind = quoted ? ONEROW_TEXT : ONEROW_UNTYPED};
    return status;
}

static enum onerow_status take_defaults(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    struct or_config_default *defaults = NULL;
    void *objects = NULL;
    size_t n = 0;
    enum onerow_status status =
        open_named(walk, entry, "COLUMN: VALUE", sizeof *defaults, &n, &objects);
    table->defaults = defaults = objects;
    table->for_pages = "defaults";
    for (; table->n_defaults < n && status == ONEROW_OK; table->n_defaults++) {
        struct or_config_default *at = &defaults[table->n_defaults];
        struct entry item;
        status = named_at(walk, entry, table->n_defaults, &item, &at->column, &at->place);
        if (status == ONEROW_OK && or_key_has(&table->spec, at->column)) {
            struct or_site site = value_site(walk, &item);
            status = or_site_fail(&site, "is a column of the key, which every record has; take it "
                                         "out");
        }
        status = status == ONEROW_OK ? take_default(walk, &item, &at->value) : status;
    }
    return status;
}

/* A default is written as the store has it, and is not looked for. */
static enum onerow_status check_related(struct walk *walk, const struct entry *item,
                                        const struct or_config_table *table, const char *column)
{
    struct or_site site = value_site(walk, item);
    if (or_key_has(&table->spec, column)) {
        return or_site_fail(&site, "is a column of the key, which names no other page; take it "
                                   "out");
    }
    for (size_t i = 0; i < table->n_defaults; i++) {
        if (strcmp(table->defaults[i].column, column) == 0) {
            return or_site_fail(&site,
                                "has a default, too (line %u), which cannot be a key of another "
                                "table; take one of them out",
                                table->defaults[i].place.line);
        }
    }
    return ONEROW_OK;
}

/* The tables themselves are found when all of them were read. */
static enum onerow_status take_relations(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config_table *table = object;
    struct or_config_relation *relations = NULL;
    void *objects = NULL;
    size_t n = 0;
    enum onerow_status status =
        open_named(walk, entry, "COLUMN: TABLE", sizeof *relations, &n, &objects);
    table->relations = relations = objects;
    table->for_pages = "relations";
    for (; table->n_relations < n && status == ONEROW_OK; table->n_relations++) {
        struct or_config_relation *at = &relations[table->n_relations];
        struct entry item;
        status = named_at(walk, entry, table->n_relations, &item, &at->column, &at->place);
        status = status == ONEROW_OK ? check_related(walk, &item, table, at->column) : status;
        status = status == ONEROW_OK ? take_string(walk, &item, &at->name) : status;
        if (status == ONEROW_OK) {
            at->path = item.path;
            at->place = place_at(item.node->start_mark);
        }
    }
    return status;
}

static const char *const TABLE_LATER[] = {"scope",   "scope_fixed", "where",
                                          "windows", "content",     NULL};
/* key stands before on_conflict, updated_at, defaults and relations: none may name one of its
 * columns; relations stand behind defaults. */
static const struct rule TABLE_RULES[] = {
    {"store", take_store, "store: NAME, one of those under stores:"},
    {"location", take_location, NULL},
    {"key", take_key, "key: [COLUMN], the columns that identify a row"},
    {"on_conflict", take_policy, NULL},
    {"unenforced", take_unenforced, NULL},
    {"key_equality", take_equality, NULL},
    {"updated_at", take_updated_at, NULL},
    {"secret", take_secret, NULL},
    {"protocol", take_protocol, NULL},
    {"when_trashed", take_when_trashed, NULL},
    {"verify", take_verify, NULL},
    {"defaults", take_defaults, NULL},
    {"relations", take_relations, NULL},
    {"ledger", take_table_ledger, NULL},
};
_Static_assert(sizeof TABLE_RULES / sizeof *TABLE_RULES <= RULES_MAX, "the longest of all");
static const struct kind TABLE = {"{ store: NAME, key: [COLUMN] }", TABLE_RULES,
                                  sizeof TABLE_RULES / sizeof *TABLE_RULES, TABLE_LATER};

static enum onerow_status take_tables(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config *config = object;
    void *tables = NULL;
    size_t n = 0;
    enum onerow_status status = open_named(walk, entry, "NAME: { store: NAME, key: [COLUMN] }",
                                           sizeof *config->tables, &n, &tables);
    config->tables = tables;
    for (; config->n_tables < n && status == ONEROW_OK; config->n_tables++) {
        struct or_config_table *table = &config->tables[config->n_tables];
        struct entry at;
        status = named_at(walk, entry, config->n_tables, &at, &table->spec.name, &table->place);
        table->spec.location = table->spec.name;
        if (status == ONEROW_OK) {
            status = walk_mapping(walk, &at, &TABLE, table);
        }
    }
    return status;
}

static enum onerow_status take_coordinator(struct walk *walk, const struct entry *entry,
                                           void *object)
{
    struct or_config *config = object;
    return coordinator_of(walk, entry, &config->coordinator);
}

static enum onerow_status take_ledger(struct walk *walk, const struct entry *entry, void *object)
{
    struct or_config *config = object;
    return coordinator_of(walk, entry, &config->ledger);
}

static const char *const FILE_LATER[] = {"alerts", "hooks", "windows", "server", NULL};
static const struct rule FILE_RULES[] = {
    {"coordinator", take_coordinator, NULL},
    {"ledger", take_ledger, NULL},
    {"stores", take_stores, NULL},
    {"tables", take_tables, NULL},
};
static const struct kind CONFIG_FILE = {"stores: and tables:", FILE_RULES,
                                        sizeof FILE_RULES / sizeof *FILE_RULES, FILE_LATER};

/* ---- the text ------------------------------------------------------------------------------- */

/* Where byte `offset` of the text stands; columns are counted in characters, as libyaml does. */
static struct or_place place_of_byte(struct onerow_span text, size_t offset)
{
    struct or_place place = {1, 1};
    for (size_t at = 0; at < offset && at < text.len;) {
        size_t step = or_utf8_step(text, at);
        place.column++;
        if (text.data[at] == '\n') {
            place = (struct or_place){place.line + 1, 1};
        }
        at += step ? step : 1;
    }
    return place;
}

/* The byte that a mark stands at: marks count characters. */
static size_t byte_of_mark(struct onerow_span text, yaml_mark_t mark)
{
    size_t at = 0;
    for (size_t i = 0; i < mark.index && at < text.len; i++) {
        size_t step = or_utf8_step(text, at);
        at += step ? step : 1;
    }
    return at;
}

/* What to write instead, where the byte at the fault tells. */
static const char *syntax_hint(struct onerow_span text, yaml_mark_t mark)
{
    size_t at = byte_of_mark(text, mark);
    if (at == text.len) {
        return "";
    }
    switch (text.data[at]) {
    case '\t': return "; indent with spaces, not with tabs";
    case ':':
    case '@':
    case '`': return "; put a value that holds \":\", \"@\" or \"`\" in quotes";
    case '{':
        return at && text.data[at - 1] == '$'
                   ? "; within { } write the variable in quotes: \"${NAME}\""
                   : "";
    default: return "";
    }
}

static enum onerow_status fail_syntax(const struct walk *walk, const yaml_parser_t *parser,
                                      struct onerow_span text)
{
    struct or_site site = {walk->config, walk->error, {0}, "", ONEROW_CONFIG};
    const char *problem = parser->problem;
    /* Where libyaml runs out of memory it does not always say so, but it names no problem. */
    if (parser->error == YAML_MEMORY_ERROR || !problem) {
        return or_config_nomem(walk->error);
    }
    if (parser->error == YAML_READER_ERROR) {
        site.place = place_of_byte(text, parser->problem_offset);
        return or_site_fail(&site, "not valid YAML: %s", problem);
    }
    site.place = place_at(parser->problem_mark);
    const char *hint = syntax_hint(text, parser->problem_mark);
    if (!parser->context) {
        return or_site_fail(&site, "not valid YAML: %s%s", problem, hint);
    }
    return or_site_fail(&site, "not valid YAML: %s, %s that begins at line %zu%s", problem,
                        parser->context, parser->context_mark.line + 1, hint);
}

/* What one event brings that is refused; NULL: nothing. `depth` and `documents` are kept up. */
static const char *refuse_event(const yaml_event_t *event, unsigned *depth, unsigned *documents)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1) {
            return "a second document begins here; keep one";
        }
        break;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: --*depth; break;
    default: break;
    }
    if (anchor || event->type == YAML_ALIAS_EVENT) {
        return "anchors (&name) and aliases (*name) are not supported; write the value out, or "
               "put it in quotes when it is text";
    }
    if (tag) {
        return "tags (!name) are not supported; take it out, or put the value in quotes";
    }
    return *depth > OR_CONFIG_DEPTH_MAX ? "nested too deeply for a configuration; take a level out"
                                        : NULL;
}

/* Refuses what the tree would no longer show, before the tree is built. */
static enum onerow_status check_stream(struct walk *walk, yaml_parser_t *parser,
                                       struct onerow_span text)
{
    struct or_site site = {walk->config, walk->error, {0}, "", ONEROW_CONFIG};
    enum onerow_status status = ONEROW_OK;
    unsigned depth = 0;
    unsigned documents = 0;
    bool over = false;
    while (!over && status == ONEROW_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            return fail_syntax(walk, parser, text);
        }
        const char *refused = refuse_event(&event, &depth, &documents);
        if (refused) {
            site.place = place_at(event.start_mark);
            status = or_site_fail(&site, "%s", refused);
        }
        over = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return status;
}

static enum onerow_status walk_document(struct walk *walk)
{
    const yaml_node_t *root = yaml_document_get_root_node(walk->document);
    if (!root || says_nothing(root)) {
        return ONEROW_OK;
    }
    struct entry entry = {"", root, root};
    return walk_mapping(walk, &entry, &CONFIG_FILE, walk->config);
}

static enum onerow_status load_document(struct walk *walk, yaml_parser_t *parser,
                                        struct onerow_span text)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) {
        return fail_syntax(walk, parser, text);
    }
    walk->document = &document;
    enum onerow_status status = walk_document(walk);
    yaml_document_delete(&document);
    walk->document = NULL;
    return status;
}

typedef enum onerow_status parse_fn(struct walk *walk, yaml_parser_t *parser,
                                    struct onerow_span text);

/* Gives `pass` a parser at the beginning of the text. */
static enum onerow_status with_parser(struct walk *walk, struct onerow_span text, parse_fn *pass)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return or_config_nomem(walk->error);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    enum onerow_status status = pass(walk, &parser, text);
    yaml_parser_delete(&parser);
    return status;
}

static struct onerow_span without_mark(struct onerow_span text)
{
    bool marked = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0;
    return marked ? (struct onerow_span){text.data + 3, text.len - 3} : text;
}

enum onerow_status or_config_read_yaml(struct or_config *config, struct onerow_span text,
                                       struct onerow_error *error)
{
    struct walk walk = {.config = config, .error = error};
    text = without_mark(text); /* some editors begin a file with a byte order mark */
    size_t bad;
    if (!or_utf8_valid(text, &bad)) {
        return or_config_fail(error, config, place_of_byte(text, bad), ONEROW_CONFIG,
                              "not UTF-8; save the file in that encoding");
    }
    enum onerow_status status = with_parser(&walk, text, check_stream);
    return status == ONEROW_OK ? with_parser(&walk, text, load_document) : status;
}
