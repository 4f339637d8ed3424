/* SPDX-License-Identifier: Apache-2.0
 *
 * The library: onerow.h on top of the engine. A table handle is an open table behind a
 * lock; each call is one batch.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "engine/config.h"
#include "engine/put_batch.h"
#include "engine/single.h"
#include "onerow/onerow.h"

struct onerow_table {
    pthread_mutex_t lock;
    struct or_config config;
    struct or_table *table;
    struct or_table *keeping; /* the same with the policy keep, for ensure; opened when needed */
    struct or_config_table keep_config;
    uint64_t wait_ms;
};

/* ---- opening ------------------------------------------------------------------------------ */

static enum onerow_status find_table(struct onerow_table *handle,
                                     const struct onerow_table_options *options,
                                     const struct or_config_table **table,
                                     struct onerow_error *error)
{
    struct or_config_flags flags = {.config = options->config,
                                    .store = options->store,
                                    .table = options->config ? NULL : options->table,
                                    .key = options->key,
                                    .on_conflict = options->on_conflict};
    enum onerow_status status = or_config_load(&handle->config, &flags, error);
    if (status == ONEROW_OK) {
        status = or_config_table(&handle->config, options->table, table, error);
    }
    if (status == ONEROW_USAGE) { /* here the options are what a command line is elsewhere */
        status = ONEROW_CONFIG;
        if (error) {
            error->status = status;
        }
    }
    return status;
}

enum onerow_status onerow_table_open(const struct onerow_table_options *options,
                                     struct onerow_table **out, struct onerow_error *error)
{
    const struct or_config_table *table = NULL;
    *out = NULL;
    if (!options->table || (!options->config && (!options->store || !options->key))) {
        return or_fail(error, ONEROW_CONFIG,
                       "onerow_table_open needs table, and config or store and key");
    }
    struct onerow_table *handle = calloc(1, sizeof *handle);
    if (!handle) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    pthread_mutex_init(&handle->lock, NULL);
    handle->wait_ms = options->wait_ms;
    enum onerow_status status = find_table(handle, options, &table, error);
    if (status == ONEROW_OK) {
        struct or_table_options how = {.want_ids = true, .wait_ms = handle->wait_ms};
        status = or_table_open(table, &how, &handle->table, error);
    }
    if (status != ONEROW_OK) {
        onerow_table_close(handle);
        return status;
    }
    *out = handle;
    return ONEROW_OK;
}

void onerow_table_close(struct onerow_table *handle)
{
    if (!handle) {
        return;
    }
    or_table_close(handle->keeping);
    or_table_close(handle->table);
    or_config_finish(&handle->config);
    pthread_mutex_destroy(&handle->lock);
    free(handle);
}

void onerow_result_finish(struct onerow_result *result)
{
    if (result) {
        free(result->id);
        free(result->reason);
        *result = (struct onerow_result){0};
    }
}

/* ---- putting -------------------------------------------------------------------------------- */

static char *copy_span(struct onerow_span text)
{
    return text.data ? strndup(text.data, text.len) : NULL;
}

static void fill_result(const struct or_entry *entry, const struct or_entry *first,
                        struct onerow_result *result)
{
    const struct or_entry *carrier = entry->folded_into ? entry->folded_into : entry;
    *result = (struct onerow_result){
        .outcome = (enum onerow_outcome)entry->outcome,
        .id = copy_span(entry->id),
        .reason = entry->reason ? strdup(entry->reason) : NULL,
        .folded_into = (size_t)(carrier - first),
    };
}

struct putting {
    struct or_table *table;
    struct or_arena arena;
    struct or_entry *entries;
    struct or_entry **sorted;
    size_t n_sorted;
};

static enum onerow_status read_one(struct putting *putting, struct onerow_span json,
                                   struct or_entry *entry)
{
    struct or_item item = {0};
    json.data = json.data ? json.data : "";
    enum onerow_status status = or_input_parse_json(json, &putting->arena, &item);
    if (status != ONEROW_OK) {
        return status;
    }
    if (item.kind != OR_ITEM_RECORD) {
        const char *reason =
            or_arena_printf(&putting->arena, "column %u: %s", item.at, item.reason);
        or_entry_refuse(entry, reason);
        return ONEROW_OK;
    }
    return or_entry_bind(entry, putting->table, &item, &putting->arena) ? ONEROW_OK : ONEROW_NOMEM;
}

static enum onerow_status read_all(struct putting *putting, const struct onerow_span *json,
                                   size_t n)
{
    putting->entries = calloc(n, sizeof *putting->entries);
    putting->sorted = calloc(n, sizeof(struct or_entry *));
    if (!putting->entries || !putting->sorted) {
        return ONEROW_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct or_entry *entry = &putting->entries[i];
        entry->line = i + 1;
        enum onerow_status status = read_one(putting, json[i], entry);
        if (status != ONEROW_OK) {
            return status;
        }
        if (entry->outcome == ONEROW_PENDING) {
            putting->sorted[putting->n_sorted++] = entry;
        }
    }
    or_entries_sort(putting->sorted, putting->n_sorted);
    return ONEROW_OK;
}

static enum onerow_status summary(const struct putting *putting, size_t n,
                                  enum onerow_status status, struct onerow_error *error)
{
    if (status != ONEROW_OK && status != ONEROW_REJECTED && status != ONEROW_UNKNOWN) {
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        const struct or_entry *entry = &putting->entries[i];
        if (entry->outcome == ONEROW_REFUSED || entry->outcome == ONEROW_IN_DOUBT) {
            return or_fail(error, ONEROW_LEFT, "record %zu: %s", i, entry->reason);
        }
    }
    return ONEROW_OK;
}

static enum onerow_status put_locked(struct onerow_table *handle, const struct onerow_span *json,
                                     size_t n, struct onerow_result *results,
                                     struct onerow_error *error)
{
    struct putting putting = {.table = handle->table};
    or_arena_init(&putting.arena);
    enum onerow_status status = read_all(&putting, json, n);
    if (status != ONEROW_OK) {
        or_fail(error, status, "out of memory");
    } else if (putting.n_sorted) {
        struct or_drive_options options = {0};
        status = or_put_batch(putting.sorted, putting.n_sorted, &options, &putting.arena, error);
    }
    for (size_t i = 0; i < n; i++) {
        results[i] = (struct onerow_result){.outcome = ONEROW_REFUSED, .folded_into = i};
        if (putting.entries && putting.entries[i].outcome != ONEROW_PENDING) {
            fill_result(&putting.entries[i], putting.entries, &results[i]);
        }
    }
    if (putting.entries) {
        status = summary(&putting, n, status, error);
    }
    free(putting.entries);
    free(putting.sorted);
    or_arena_finish(&putting.arena);
    return status;
}

enum onerow_status onerow_put_many(struct onerow_table *handle, const struct onerow_span *json,
                                   size_t n, struct onerow_result *results,
                                   struct onerow_error *error)
{
    if (n == 0) {
        return ONEROW_OK;
    }
    pthread_mutex_lock(&handle->lock);
    enum onerow_status status = put_locked(handle, json, n, results, error);
    pthread_mutex_unlock(&handle->lock);
    return status;
}

enum onerow_status onerow_put(struct onerow_table *handle, struct onerow_span json,
                              struct onerow_result *result, struct onerow_error *error)
{
    enum onerow_status status = onerow_put_many(handle, &json, 1, result, error);
    if (status == ONEROW_LEFT) {
        status = result->outcome == ONEROW_IN_DOUBT ? ONEROW_UNKNOWN : ONEROW_REJECTED;
        return or_fail(error, status, "%s",
                       result->reason ? result->reason : onerow_status_text(status));
    }
    return status;
}

/* ---- one row ----------------------------------------------------------------------------------
 */

static enum onerow_status read_record(struct onerow_span json, struct or_arena *arena,
                                      struct or_item *item, struct onerow_error *error)
{
    json.data = json.data ? json.data : "";
    enum onerow_status status = or_input_parse_json(json, arena, item);
    if (status != ONEROW_OK) {
        return or_fail(error, status, "out of memory");
    }
    return item->kind == OR_ITEM_RECORD
               ? ONEROW_OK
               : or_fail(error, ONEROW_REJECTED, "column %u: %s", item->at, item->reason);
}

enum onerow_status onerow_get(struct onerow_table *handle, struct onerow_span key, char **row,
                              struct onerow_error *error)
{
    struct or_arena arena;
    struct or_item item = {0};
    struct or_entry entry = {0};
    struct onerow_span json = {0};
    *row = NULL;
    or_arena_init(&arena);
    pthread_mutex_lock(&handle->lock);
    enum onerow_status status = read_record(key, &arena, &item, error);
    if (status == ONEROW_OK) {
        status = or_single_bind_key(handle->table, &item, &entry, &arena, error);
    }
    if (status == ONEROW_OK) {
        status = or_single_get(handle->table, &entry, &arena, &json, error);
    }
    if (status == ONEROW_OK && !(*row = copy_span(json))) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    } else if (status == ONEROW_ABSENT) {
        or_fail(error, status, "%s", onerow_status_text(status));
    }
    pthread_mutex_unlock(&handle->lock);
    or_arena_finish(&arena);
    return status;
}

/* The table once more, with the policy keep. */
static enum onerow_status open_keeping(struct onerow_table *handle, struct onerow_error *error)
{
    if (handle->keeping) {
        return ONEROW_OK;
    }
    handle->keep_config = *handle->table->config;
    handle->keep_config.spec.policy = ONEROW_POLICY_KEEP;
    struct or_table_options how = {.want_ids = true, .wait_ms = handle->wait_ms};
    return or_table_open(&handle->keep_config, &how, &handle->keeping, error);
}

enum onerow_status onerow_ensure(struct onerow_table *handle, struct onerow_span record, char **id,
                                 struct onerow_error *error)
{
    struct or_arena arena;
    struct or_item item = {0};
    struct or_entry entry = {0};
    *id = NULL;
    or_arena_init(&arena);
    pthread_mutex_lock(&handle->lock);
    enum onerow_status status = read_record(record, &arena, &item, error);
    status = status == ONEROW_OK ? open_keeping(handle, error) : status;
    if (status == ONEROW_OK) {
        status = or_single_put(handle->keeping, &item, NULL, &entry, &arena, error);
    }
    if (status == ONEROW_OK && !entry.id.data) {
        status = or_fail(error, ONEROW_CONFIG, "rows of table \"%s\" have no single id",
                         handle->table->spec.name);
    } else if (status == ONEROW_OK && !(*id = copy_span(entry.id))) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    pthread_mutex_unlock(&handle->lock);
    or_arena_finish(&arena);
    return status;
}
