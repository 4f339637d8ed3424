/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "core/key.h"

void or_entry_refuse(struct or_entry *entry, const char *reason)
{
    entry->outcome = ONEROW_REFUSED;
    entry->reason = reason ? reason : "out of memory";
}

/* ---- columns ------------------------------------------------------------------------- */

struct binding {
    struct or_entry *entry;
    struct or_table *table;
    const struct or_item *item;
    struct or_arena *arena;
    struct onerow_value *values;
    size_t n_values;
    const char *reason; /* the first thing that is wrong */
    uint32_t at;
    bool no_memory; /* the record is not to blame: nothing is said of it */
};

static void complain(struct binding *binding, uint32_t at, const char *reason)
{
    binding->no_memory |= !reason;
    if (!binding->reason) {
        binding->reason = reason;
        binding->at = at;
    }
}

/* A column whose name differs only in case, for a hint. */
static const char *near_miss(const struct or_table *table, struct onerow_span name)
{
    for (size_t i = 0; i < table->table->n_columns; i++) {
        const char *candidate = table->table->columns[i].name;
        if (or_ascii_equal_fold(or_span(candidate), name)) {
            return candidate;
        }
    }
    return NULL;
}

static void complain_unknown(struct binding *binding, const struct or_field *field)
{
    if (binding->reason) {
        return; /* one reason is enough; a hostile record has millions */
    }
    struct onerow_span shown_name = or_span_cut(field->name, 80);
    const char *near = near_miss(binding->table, field->name);
    complain(binding, field->at,
             near ? or_arena_printf(binding->arena,
                                    "unknown field \"%.*s\": the table's column is \"%s\"",
                                    (int)shown_name.len, shown_name.data, near)
                  : or_arena_printf(binding->arena,
                                    "unknown field \"%.*s\": the table has no such column",
                                    (int)shown_name.len, shown_name.data));
}

/* Records of one input mostly have their fields in one order: the column after the last one is
 * tried first. */
static int column_of(const struct or_table *table, struct onerow_span name, int guess)
{
    if (guess >= 0 && (size_t)guess < table->table->n_columns &&
        table->name_lens[guess] == name.len &&
        memcmp(table->table->columns[guess].name, name.data, name.len) == 0) {
        return guess;
    }
    return or_table_column(table, name);
}

static void bind_fields(struct binding *binding)
{
    int last = -1;
    for (size_t i = 0; i < binding->item->n_fields; i++) {
        const struct or_field *field = &binding->item->fields[i];
        int column = column_of(binding->table, field->name, last + 1);
        if (column < 0) {
            complain_unknown(binding, field);
            continue;
        }
        const struct onerow_column *shown = &binding->table->table->columns[column];
        if (shown->not_writable) {
            complain(binding, field->at,
                     or_arena_printf(binding->arena, "field \"%s\" %s and cannot be written",
                                     shown->name, shown->not_writable));
            continue;
        }
        last = column;
        binding->values[binding->n_values] = field->value;
        binding->values[binding->n_values++].column = (uint16_t)column;
    }
}

/* By rising column, the key's columns first. Nearly sorted as a rule, so insertion. */
static void order_values(struct binding *binding)
{
    const uint16_t *ranks = binding->table->ranks;
    for (size_t i = 1; i < binding->n_values; i++) {
        struct onerow_value value = binding->values[i];
        size_t at = i;
        while (at > 0 && ranks[binding->values[at - 1].column] > ranks[value.column]) {
            binding->values[at] = binding->values[at - 1];
            at--;
        }
        binding->values[at] = value;
    }
}

/* ---- layouts --------------------------------------------------------------------------- */

/* Puts the fields where those of the last record of this shape went. */
static bool bind_by_layout(struct binding *binding)
{
    const struct or_layout *layout = &binding->table->layout;
    const struct or_item *item = binding->item;
    if (item->shape == 0 || item->shape != layout->shape) {
        return false;
    }
    for (size_t i = 0; i < layout->n; i++) {
        struct onerow_value *value = &binding->values[layout->place[i]];
        *value = item->fields[i].value;
        value->column = layout->column[i];
    }
    binding->n_values = layout->n;
    return true;
}

/* Remembers where the fields went, if each of them went somewhere. */
static void keep_layout(struct binding *binding)
{
    struct or_layout *layout = &binding->table->layout;
    const struct or_item *item = binding->item;
    if (item->shape == 0 || item->n_fields > OR_LAYOUT_FIELDS ||
        item->n_fields != binding->n_values) {
        return;
    }
    for (size_t i = 0; i < item->n_fields; i++) {
        int column = or_table_column(binding->table, item->fields[i].name);
        for (size_t v = 0; v < binding->n_values; v++) {
            if (binding->values[v].column == column) {
                layout->column[i] = (uint16_t)column;
                layout->place[i] = (uint16_t)v;
            }
        }
    }
    layout->n = item->n_fields;
    layout->shape = item->shape;
}

/* ---- the key --------------------------------------------------------------------------- */

static uint32_t place_of(const struct binding *binding, const char *name)
{
    for (size_t i = 0; i < binding->item->n_fields; i++) {
        if (or_span_is(binding->item->fields[i].name, name)) {
            return binding->item->fields[i].at;
        }
    }
    return 0;
}

static bool bind_key_part(struct binding *binding, size_t k)
{
    const struct or_table *table = binding->table;
    const struct onerow_key_column *column = &table->spec.key[k];
    if (k >= binding->n_values || binding->values[k].column != table->table->key[k]) {
        complain(binding, 0,
                 or_arena_printf(binding->arena, "key column \"%s\" is missing", column->name));
        return false;
    }
    const char *reason = NULL;
    struct onerow_value canonical = {0};
    if (!or_key_part(column, table->table->key_types[k], &binding->values[k], binding->arena,
                     &canonical, &reason)) {
        binding->no_memory |= reason == or_key_no_memory;
        complain(binding, place_of(binding, column->name),
                 or_arena_printf(binding->arena, "key column \"%s\" %s", column->name, reason));
        return false;
    }
    canonical.column = binding->values[k].column;
    binding->values[k] = canonical;
    return true;
}

static void bind_key(struct binding *binding)
{
    const struct or_table *table = binding->table;
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (!bind_key_part(binding, k)) {
            return;
        }
    }
    struct or_buffer *key = &binding->table->key;
    or_buffer_clear(key);
    bool fits = or_key_append(key, binding->values, table->table->key_types, table->spec.n_key);
    struct onerow_span copy =
        fits ? or_arena_copy(binding->arena, or_buffer_view(key)) : (struct onerow_span){0};
    binding->no_memory |= key->failed || (fits && !copy.data);
    if (!copy.data) {
        complain(binding, 0, "the key is longer than 64 KiB");
        return;
    }
    binding->entry->has_key = true;
    binding->entry->record.key = copy;
    binding->entry->prefix = or_key_sort_prefix(&binding->values[0], table->table->key_types[0]);
}

/* ---- binding ------------------------------------------------------------------------------ */

bool or_entry_keep(struct or_entry *entry, const struct or_item *item, struct or_arena *arena)
{
    struct or_buffer json;
    or_buffer_init(&json);
    for (size_t i = 0; i < item->n_fields; i++) {
        or_buffer_char(&json, i ? ',' : '{');
        or_buffer_json(&json, item->fields[i].name);
        or_buffer_char(&json, ':');
        or_value_json(&item->fields[i].value, &json);
    }
    or_buffer_text(&json, item->n_fields ? "}" : "{}");
    entry->json =
        json.failed ? (struct onerow_span){0} : or_arena_copy(arena, or_buffer_view(&json));
    or_buffer_finish(&json);
    return entry->json.data != NULL;
}

static bool refuse_record(struct binding *binding)
{
    const char *reason =
        binding->at ? or_arena_printf(binding->arena, "column %u: %s", binding->at, binding->reason)
                    : binding->reason;
    or_entry_refuse(binding->entry, reason);
    return reason && or_entry_keep(binding->entry, binding->item, binding->arena);
}

bool or_entry_bind(struct or_entry *entry, struct or_table *table, const struct or_item *item,
                   struct or_arena *arena)
{
    entry->table = table;
    struct binding binding = {.entry = entry, .table = table, .item = item, .arena = arena};
    binding.values = or_arena_alloc(arena, (item->n_fields + 1) * sizeof *binding.values);
    if (!binding.values) {
        return false;
    }
    if (!bind_by_layout(&binding)) {
        bind_fields(&binding);
        order_values(&binding);
        keep_layout(&binding);
    }
    bind_key(&binding);
    entry->record.values = binding.values;
    entry->record.n_values = (uint16_t)binding.n_values;
    if (binding.no_memory) {
        return false;
    }
    return binding.reason ? refuse_record(&binding) : true;
}

/* ---- sorting ------------------------------------------------------------------------------- */

/* What a comparison looks at first, next to one another: the entries themselves lie far apart. */
struct place {
    uint64_t prefix;
    struct or_entry *entry;
};

static int compare_entries(const struct or_entry *a, const struct or_entry *b)
{
    if (a->table != b->table) {
        return a->table->number < b->table->number ? -1 : 1;
    }
    if (a->table->spec.store_key_equality) {
        return (a > b) - (a < b);
    }
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix ? -1 : 1;
    }
    int order = or_span_compare(a->record.key, b->record.key);
    return order ? order : (a > b) - (a < b); /* entries lie in arrival order */
}

static int by_entry(const void *left, const void *right)
{
    return compare_entries(*(struct or_entry *const *)left, *(struct or_entry *const *)right);
}

/* For entries of one table, whose keys are ours to tell apart. */
static int by_place(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix ? -1 : 1;
    }
    return compare_entries(a->entry, b->entry);
}

static size_t same_bytes(struct onerow_span a, struct onerow_span b, size_t most)
{
    size_t n = 0;
    most = a.len < most ? a.len : most;
    most = b.len < most ? b.len : most;
    while (n < most && a.data[n] == b.data[n]) {
        n++;
    }
    return n;
}

/* Eight bytes of the key from there on, as a number that sorts as they do. */
static uint64_t bytes_from(struct onerow_span key, size_t at)
{
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof number; i++) {
        number = number << 8 | (at + i < key.len ? (unsigned char)key.data[at + i] : 0);
    }
    return number;
}

/* Keys often begin alike, and then the first bytes tell nothing: those after what they have in
 * common do. */
static void tell_apart(struct or_entry **entries, size_t n)
{
    struct onerow_span first = entries[0]->record.key;
    size_t common = first.len;
    for (size_t i = 1; i < n; i++) {
        if (entries[i]->prefix != entries[0]->prefix) {
            return;
        }
        common = same_bytes(first, entries[i]->record.key, common);
    }
    for (size_t i = 0; i < n; i++) {
        entries[i]->prefix = bytes_from(entries[i]->record.key, common);
    }
}

static bool is_one_table(struct or_entry **entries, size_t n)
{
    bool one = n > 0 && !entries[0]->table->spec.store_key_equality;
    for (size_t i = 1; i < n && one; i++) {
        one = entries[i]->table == entries[0]->table;
    }
    return one;
}

static bool sort_places(struct or_entry **entries, size_t n)
{
    struct place *places = malloc(n * sizeof *places);
    if (!places) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        places[i] = (struct place){entries[i]->prefix, entries[i]};
    }
    qsort(places, n, sizeof *places, by_place);
    for (size_t i = 0; i < n; i++) {
        entries[i] = places[i].entry;
    }
    free(places);
    return true;
}

void or_entries_sort(struct or_entry **entries, size_t n)
{
    bool one = is_one_table(entries, n);
    if (one) {
        tell_apart(entries, n);
    }
    if (!one || !sort_places(entries, n)) {
        qsort(entries, n, sizeof *entries, by_entry);
    }
}
