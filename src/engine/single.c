/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/single.h"

#include "base/status.h"
#include "base/text.h"
#include "engine/known.h"

static enum onerow_status bind(struct or_table *table, const struct or_item *item,
                               struct or_entry *entry, struct or_arena *arena,
                               struct onerow_error *error)
{
    *entry = (struct or_entry){.line = 1};
    if (!or_entry_bind(entry, table, item, arena)) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return entry->outcome == ONEROW_REFUSED ? or_fail(error, ONEROW_REJECTED, "%s", entry->reason)
                                            : ONEROW_OK;
}

enum onerow_status or_single_put(struct or_table *table, const struct or_item *item,
                                 const struct or_drive_guard *guard, struct or_entry *entry,
                                 struct or_arena *arena, struct onerow_error *error)
{
    enum onerow_status status = bind(table, item, entry, arena, error);
    if (status != ONEROW_OK) {
        or_known_note(table->known, entry);
        return status;
    }
    struct or_drive_options options = {.guard = guard};
    status = or_drive_put(table, &entry, 1, &options, arena, error);
    if (status == ONEROW_OK || status == ONEROW_REJECTED) {
        status = entry->outcome == ONEROW_REFUSED
                     ? or_fail(error, ONEROW_REJECTED, "%s", entry->reason ? entry->reason : "")
                     : ONEROW_OK;
    }
    return status;
}

static bool in_key(const struct or_table *table, struct onerow_span name)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (or_span_is(name, table->spec.key[k].name)) {
            return true;
        }
    }
    return false;
}

enum onerow_status or_single_bind_key(struct or_table *table, const struct or_item *item,
                                      struct or_entry *entry, struct or_arena *arena,
                                      struct onerow_error *error)
{
    for (size_t i = 0; i < item->n_fields; i++) {
        if (!in_key(table, item->fields[i].name)) {
            return or_fail(error, ONEROW_USAGE,
                           "\"%.*s\" is not a key column of table \"%s\"; get finds rows by their "
                           "key alone",
                           (int)item->fields[i].name.len, item->fields[i].name.data,
                           table->spec.name);
        }
    }
    return bind(table, item, entry, arena, error);
}

enum onerow_status or_single_get(struct or_table *table, const struct or_entry *entry,
                                 struct or_arena *arena, struct onerow_span *json,
                                 struct onerow_error *error)
{
    struct onerow_span id = {0};
    return table->store->type->get(table->table, &entry->record, arena, json, &id, error);
}

enum onerow_status or_single_column(const struct or_table *table, struct onerow_span json,
                                    const char *column, struct or_arena *arena,
                                    struct onerow_span *text, struct onerow_error *error)
{
    struct or_item item = {0};
    enum onerow_status status = or_input_parse_json(json, arena, &item);
    if (status != ONEROW_OK || item.kind != OR_ITEM_RECORD) {
        return or_fail(error, ONEROW_CORRUPT, "a row of table \"%s\" cannot be read back: %s",
                       table->spec.name, item.reason ? item.reason : "out of memory");
    }
    for (size_t i = 0; i < item.n_fields; i++) {
        if (or_span_is(item.fields[i].name, column)) {
            const struct onerow_value *value = &item.fields[i].value;
            *text = (struct onerow_span){value->data ? value->data : "", value->len};
            return ONEROW_OK;
        }
    }
    return or_fail(error, ONEROW_USAGE, "table \"%s\" has no column \"%s\"", table->spec.name,
                   column);
}
