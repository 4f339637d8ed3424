/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/letters.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/pages.h"

void or_row_state(struct or_table *table, const struct onerow_record *key,
                  char state[OR_ROW_STATE_LEN])
{
    struct or_arena arena;
    struct onerow_span json = {0};
    struct onerow_span id = {0};
    if (table->pages) { /* asking the store would take a request for each */
        or_pages_row_state(table, key, state);
        return;
    }
    or_arena_init(&arena);
    state[0] = '\0';
    enum onerow_status status =
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a record with a key has a table */
        table->store->type->get(table->table, key, &arena, &json, &id, NULL);
    if (status == ONEROW_OK) {
        or_sha256_hex(json, state);
    } else if (status == ONEROW_ABSENT) {
        snprintf(state, OR_ROW_STATE_LEN, "absent");
    }
    or_arena_finish(&arena);
}

/* A file's path as it is found from everywhere; the path itself when it cannot be resolved. */
static void absolute(const char *path, struct or_buffer *out)
{
    char resolved[PATH_MAX];
    char folder[PATH_MAX];
    if (realpath(path, resolved)) {
        or_buffer_text(out, resolved);
    } else if (path[0] != '/' && getcwd(folder, sizeof folder)) {
        or_buffer_printf(out, "%s/%s", folder, path);
    } else {
        or_buffer_text(out, path);
    }
}

static void store_url(const char *url, struct or_buffer *out)
{
    static const char sqlite[] = "sqlite:";
    if (strncmp(url, sqlite, strlen(sqlite)) == 0) {
        or_buffer_text(out, sqlite);
        absolute(url + strlen(sqlite), out);
    } else {
        or_url_mask(url, out);
    }
}

struct parts { /* texts that a letter borrows */
    struct or_buffer config, store, key_spec, policy, key, record;
    char row[OR_ROW_STATE_LEN];
};

static void parts_finish(struct parts *parts)
{
    or_buffer_finish(&parts->config);
    or_buffer_finish(&parts->store);
    or_buffer_finish(&parts->key_spec);
    or_buffer_finish(&parts->policy);
    or_buffer_finish(&parts->key);
    or_buffer_finish(&parts->record);
}

static struct onerow_span shown(const struct or_buffer *buffer)
{
    return buffer->len ? or_buffer_view(buffer) : (struct onerow_span){0};
}

static void describe_table(struct parts *parts, struct or_letter *letter,
                           const struct or_table *table)
{
    store_url(table->config->store->url, &parts->store);
    or_config_key_text(&table->spec, &parts->key_spec);
    or_config_policy_text(&table->spec, &parts->policy);
    letter->store = shown(&parts->store);
    letter->key_spec = shown(&parts->key_spec);
    letter->policy = shown(&parts->policy);
    letter->table = or_span(table->spec.name);
    letter->location = or_span(table->spec.location);
}

static void describe_record(struct parts *parts, struct or_letter *letter,
                            const struct or_entry *entry, bool look)
{
    if (entry->has_key) {
        or_table_key_json(entry->table, entry->record.values, &parts->key);
        letter->key = shown(&parts->key);
    }
    if (entry->has_key && look) {
        or_row_state(entry->table, &entry->record, parts->row);
        letter->row = parts->row[0] ? or_span(parts->row) : letter->row;
    }
    if (entry->json.data) {
        letter->record = entry->json;
    } else if (entry->table && entry->record.values) {
        or_table_record_json(entry->table, &entry->record, &parts->record);
        letter->record = shown(&parts->record);
    } else {
        letter->raw = entry->raw;
        letter->raw_len = entry->raw_len;
    }
}

enum onerow_status or_letters_add(struct or_letter_box *box, const struct or_config *config,
                                  const char *input, const struct or_entry *entry, bool look,
                                  struct onerow_error *error)
{
    struct parts parts = {0};
    struct or_letter letter = {
        .input = or_span(input),
        .line = entry->line,
        .format = entry->untyped ? OR_SPAN("csv") : (struct onerow_span){0},
        .outcome = or_span(onerow_outcome_name((enum onerow_outcome)entry->outcome)),
        .reason = or_span(entry->reason ? entry->reason : ""),
    };
    if (config->path) {
        absolute(config->path, &parts.config);
        letter.config = shown(&parts.config);
    }
    if (entry->table) {
        describe_table(&parts, &letter, entry->table);
    } else {
        letter.table = entry->table_name;
    }
    describe_record(&parts, &letter, entry, look);
    bool room = !parts.config.failed && !parts.store.failed && !parts.key.failed &&
                !parts.record.failed && !parts.key_spec.failed && !parts.policy.failed;
    enum onerow_status status =
        room ? or_letter_add(box, &letter, error) : or_fail(error, ONEROW_NOMEM, "out of memory");
    parts_finish(&parts);
    return status;
}
