/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys as a filter:
 *
 *     one column, one key     {"property":"Name","title":{"equals":"HOME"}}
 *     several columns         {"and":[…]}
 *     several keys            {"or":[…]}
 *
 * A filter only narrows down: whatever it finds is compared with the keys by the engine's own rule.
 * It must not leave out what that rule takes for equal. So where a person may have written the same
 * key in another spelling (a UUID in capital letters, a text that is to be normalized), there is no
 * filter, and every page is read.
 */
#include "base/text.h"
#include "store/store_notion.h"

#define FILTER_MAX (OR_NOTION_BODY_MAX - 16U * 1024U) /* with room for what stands around it */

static const char *operator_of(const struct onerow_value *part)
{
    return part->kind == ONEROW_NULL ? "is_empty" : "equals";
}

static void add_operand(struct or_buffer *json, const struct onerow_value *part)
{
    struct onerow_span text = {part->data, part->len};
    switch ((enum onerow_kind)part->kind) {
    case ONEROW_NULL: or_buffer_text(json, "true"); break;
    case ONEROW_BOOL:
    case ONEROW_NUMBER: or_buffer_span(json, text); break;
    default: or_buffer_json(json, text); break;
    }
}

static void add_part(const struct or_notion_table *table, const struct onerow_value *part,
                     struct or_buffer *json)
{
    or_buffer_text(json, "{\"property\":");
    or_buffer_json(json, or_span(table->columns[part->column].name));
    or_buffer_printf(
        json, ",\"%s\":{\"%s\":", or_notion_trait(table->properties[part->column].type)->name,
        operator_of(part));
    add_operand(json, part);
    or_buffer_text(json, "}}");
}

static void add_key(const struct or_notion_table *table, const struct onerow_record *key,
                    struct or_buffer *json)
{
    size_t n = table->spec.n_key;
    or_buffer_text(json, n > 1 ? "{\"and\":[" : "");
    for (size_t k = 0; k < n; k++) {
        or_buffer_text(json, k ? "," : "");
        add_part(table, &key->values[k], json);
    }
    or_buffer_text(json, n > 1 ? "]}" : "");
}

static size_t key_size(const struct or_notion_table *table, const struct onerow_record *key)
{
    size_t size = 0;
    for (size_t k = 0; k < table->spec.n_key; k++) {
        size += 6U * key->values[k].len + 6U * or_span(table->columns[k].name).len + 128U;
    }
    return size;
}

size_t or_notion_filter(const struct or_notion_table *table,
                        const struct onerow_record *const *keys, size_t from, size_t n,
                        struct or_buffer *json)
{
    size_t to = from;
    size_t start = json->len;
    if (table->scan) {
        return n;
    }
    bool several = n - from > 1;
    or_buffer_text(json, "\"filter\":");
    or_buffer_text(json, several ? "{\"or\":[" : "");
    while (to < n && to - from < OR_NOTION_LIST_MAX &&
           (to == from || json->len - start + key_size(table, keys[to]) <= FILTER_MAX)) {
        or_buffer_text(json, to > from ? "," : "");
        add_key(table, keys[to++], json);
    }
    or_buffer_text(json, several ? "]}," : ",");
    return to;
}
