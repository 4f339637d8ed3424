/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "base/thread.h"
#include "core/key.h"
#include "core/order.h"
#include "engine/gate.h"
#include "engine/kin.h"
#include "engine/pages.h"
#include "store/store.h"

enum onerow_status or_store_open(const char *url, const struct onerow_store_options *options,
                                 struct onerow_store **store, struct onerow_error *error)
{
    const struct onerow_store_type *type = or_store_type_of(url);
    *store = NULL;
    if (!type) {
        struct or_buffer known;
        struct or_buffer shown;
        or_buffer_init(&known);
        or_buffer_init(&shown);
        or_store_list(&known);
        or_url_mask(url, &shown);
        enum onerow_status status = or_fail(error, ONEROW_CONFIG, "store \"%s\" is not one of: %s",
                                            or_buffer_cstr(&shown), or_buffer_cstr(&known));
        or_buffer_finish(&known);
        or_buffer_finish(&shown);
        return status;
    }
    struct onerow_store_options with_url = *options;
    with_url.url = url;
    if (!with_url.wait_ms) {
        with_url.wait_ms = OR_WAIT_MS;
    }
    return type->open(&with_url, store, error);
}

/* `normalize` is for text; only now is it known what a key column without a configured type is. */
static enum onerow_status check_normalize(const struct or_table *table, struct onerow_error *error)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->spec.key[k].normalize && table->table->key_types[k] != ONEROW_TYPE_TEXT) {
            return or_fail(error, ONEROW_CONFIG,
                           "table \"%s\": normalize is for text, and key column \"%s\" is %s",
                           table->spec.name, table->spec.key[k].name,
                           or_type_name(table->table->key_types[k]));
        }
    }
    return ONEROW_OK;
}

bool or_table_index(struct or_table *table)
{
    size_t n = table->table->n_columns;
    table->name_lens = calloc(n + 1, sizeof *table->name_lens);
    table->ranks = calloc(n + 1, sizeof *table->ranks);
    if (!table->name_lens || !table->ranks) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        table->name_lens[i] = strlen(table->table->columns[i].name);
        table->ranks[i] = (uint16_t)(ONEROW_KEY_COLUMNS_MAX + i);
    }
    for (size_t k = 0; k < table->spec.n_key; k++) {
        table->ranks[table->table->key[k]] = (uint16_t)k;
    }
    return true;
}

void or_table_unindex(struct or_table *table)
{
    free(table->name_lens);
    free(table->ranks);
    or_buffer_finish(&table->key);
    table->name_lens = NULL;
    table->ranks = NULL;
}

/* Looks at the table; a missing one leaves table->table NULL. */
static enum onerow_status look(struct or_table *table, struct onerow_error *error)
{
    enum onerow_status status =
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): open failed without one */
        table->store->type->table_open(table->store, &table->spec, &table->table, error);
    status = status == ONEROW_OK ? check_normalize(table, error) : status;
    if (status != ONEROW_OK) {
        return status;
    }
    return or_table_index(table) ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status open_gate(struct or_table *table, bool bulk, struct onerow_error *error)
{
    const struct onerow_store_type *type = or_store_type_of(table->opened_with.url);
    if (!type || !type->pages) {
        return ONEROW_OK;
    }
    enum onerow_status status =
        or_gate_open(table->config, type, &table->opened_with, bulk, &table->gate, error);
    table->opened_with.gate = table->gate ? &table->gate->base : NULL;
    return status;
}

static enum onerow_status open_store(struct or_table *table, const struct or_table_options *options,
                                     struct onerow_error *error)
{
    const struct or_config_store *store = table->config->store;
    table->opened_with =
        (struct onerow_store_options){.url = store->url,
                                      .wait_ms = options->wait_ms ? options->wait_ms : OR_WAIT_MS,
                                      .read_only = options->read_only,
                                      .may_create = options->may_create,
                                      .leave_as_is = options->leave_as_is,
                                      .token = store->token,
                                      .version = store->version,
                                      .stop = options->stop};
    table->connections = store->connections ? store->connections : OR_CONNECTIONS;
    enum onerow_status status = open_gate(table, options->bulk, error);
    return status == ONEROW_OK
               ? or_store_open(store->url, &table->opened_with, &table->store, error)
               : status;
}

/* What the configuration says of pages is for stores of pages. */
static enum onerow_status refuse_pages(const struct or_table *table, struct onerow_error *error)
{
    const struct or_config_table *config = table->config;
    const char *store = config->store->for_pages;
    return !config->for_pages && !store
               ? ONEROW_OK
               : or_fail(error, ONEROW_CONFIG,
                         "table \"%s\": \"%s\" is for stores that cannot enforce a key, and "
                         "\"%s\" can; take it out",
                         config->spec.name, config->for_pages ? config->for_pages : store,
                         config->store->name);
}

/* What a table of pages is written with. A dry run would make the ledger, or the table's place in
 * it, and so write after all. */
static enum onerow_status prepare_pages(struct or_table *table,
                                        const struct or_table_options *options,
                                        struct onerow_error *error)
{
    if (!(table->table->guarantees & ONEROW_PAGES)) {
        return refuse_pages(table, error);
    }
    if (options->read_only) {
        return ONEROW_OK;
    }
    return options->leave_as_is
               ? or_fail(error, ONEROW_USAGE,
                         "table \"%s\": there is no dry run here: whether a page would be made is "
                         "decided by the ledger, which would have to write\n  onerow check %s says "
                         "what is promised",
                         table->spec.name, table->spec.name)
               : or_pages_open(table, options, error);
}

/* ---- further connections --------------------------------------------------------------- */

/* One that is opened while the table itself is being looked at. */
struct or_table_ahead {
    struct or_table *other; /* owned */
    const struct onerow_store_type *type;
    pthread_t thread;
    bool ready;
};

/* Records name columns by number, so the table must still be what it was when it was opened. */
static bool same_shape(const struct onerow_store_table *a, const struct onerow_store_table *b,
                       size_t n_key)
{
    bool same = a->n_columns == b->n_columns && a->guarantees == b->guarantees;
    for (size_t i = 0; same && i < a->n_columns; i++) {
        same = strcmp(a->columns[i].name, b->columns[i].name) == 0;
    }
    for (size_t k = 0; same && k < n_key; k++) {
        same = a->key[k] == b->key[k] && a->key_types[k] == b->key_types[k];
    }
    return same;
}

static struct or_table *make_other(const struct or_table *table)
{
    struct or_table *other = calloc(1, sizeof *other);
    if (other) {
        other->config = table->config;
        other->spec = table->spec;
        other->opened_with = table->opened_with;
        other->opened_with.may_create = false;
    }
    return other;
}

static bool open_other(const struct onerow_store_type *type, struct or_table *other)
{
    struct onerow_error error = {0};
    return type->open(&other->opened_with, &other->store, &error) == ONEROW_OK &&
           type->table_open(other->store, &other->spec, &other->table, &error) == ONEROW_OK;
}

static void *open_ahead(void *context)
{
    struct or_table_ahead *ahead = context;
    ahead->ready = open_other(ahead->type, ahead->other);
    return NULL;
}

/* Without memory or a thread it is opened later. */
static void begin_ahead(struct or_table *table)
{
    if (table->connections < 2) {
        return;
    }
    struct or_table_ahead *ahead = calloc(1, sizeof *ahead);
    struct or_table *other = ahead ? make_other(table) : NULL;
    if (other) {
        *ahead = (struct or_table_ahead){.other = other, .type = table->store->type};
        table->ahead = or_thread_start(&ahead->thread, open_ahead, ahead) ? ahead : NULL;
    }
    if (!table->ahead) {
        free(other);
        free(ahead);
    }
}

/* What was begun, once it is over; the caller's. NULL: nothing was. */
static struct or_table *end_ahead(struct or_table *table, bool *ready)
{
    struct or_table_ahead *ahead = table->ahead;
    if (!ahead) {
        return NULL;
    }
    pthread_join(ahead->thread, NULL);
    struct or_table *other = ahead->other;
    *ready = ahead->ready;
    table->ahead = NULL;
    free(ahead);
    return other;
}

bool or_table_widen(struct or_table *table)
{
    unsigned n = table->n_others;
    bool wanted =
        table->opened_with.url && n + 1 < table->connections && n < OR_CONNECTIONS_MAX - 1;
    bool ready = false;
    struct or_table *other = wanted ? end_ahead(table, &ready) : NULL;
    if (wanted && !other) {
        other = make_other(table);
        ready = other && open_other(table->store->type, other);
    }
    if (!ready || !same_shape(table->table, other->table, table->spec.n_key)) {
        or_table_close(other);
        table->connections = n + 1;
        return false;
    }
    table->others[table->n_others++] = other;
    return true;
}

/* ---- opening ---------------------------------------------------------------------------- */

/* Whoever only reads does not need to know where relations lead. */
static enum onerow_status open_relations(struct or_table *table,
                                         const struct or_table_options *options,
                                         struct onerow_error *error)
{
    bool wanted = table->config->n_relations && !options->alone && table->table &&
                  (!options->read_only || options->relate);
    return wanted ? or_kin_found(table, options, error) : ONEROW_OK;
}

enum onerow_status or_table_open(const struct or_config_table *config,
                                 const struct or_table_options *options, struct or_table **out,
                                 struct onerow_error *error)
{
    *out = NULL;
    struct or_table *table = calloc(1, sizeof *table);
    if (!table) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    table->config = config;
    table->spec = config->spec;
    table->spec.compare_order = or_order_compare;
    table->spec.want_ids = options->want_ids;
    table->known = options->known;
    enum onerow_status status = open_store(table, options, error);
    if (status == ONEROW_OK && options->large && !options->may_create &&
        table->store->type->remote) {
        begin_ahead(table);
    }
    if (status == ONEROW_OK) {
        status = look(table, error);
    }
    if (status == ONEROW_OK) {
        status = prepare_pages(table, options, error);
    }
    if (status == ONEROW_OK) {
        status = open_relations(table, options, error);
    }
    if (status == ONEROW_ABSENT) {
        status = options->may_create ? ONEROW_OK : ONEROW_CONFIG;
        if (error) {
            error->status = status;
        }
    }
    if (status != ONEROW_OK) {
        or_table_close(table);
        return status;
    }
    *out = table;
    return ONEROW_OK;
}

void or_table_close(struct or_table *table)
{
    if (!table) {
        return;
    }
    bool ready = false;
    or_table_close(end_ahead(table, &ready));
    or_kin_leave(table);
    free(table->relations);
    while (table->n_others) {
        or_table_close(table->others[--table->n_others]);
    }
    if (table->store) {
        table->store->type->table_close(table->table);
        table->store->type->close(table->store);
    }
    or_pages_close(table->pages);
    or_gate_close(table->gate);
    or_table_unindex(table);
    free(table);
}

uint64_t or_table_round_trips(const struct or_table *table)
{
    uint64_t sum = table->store->round_trips;
    for (unsigned i = 0; i < table->n_others; i++) {
        sum += table->others[i]->store->round_trips;
    }
    return sum;
}

enum onerow_status or_table_create(struct or_table *table, const struct onerow_new_column *columns,
                                   size_t n, char **sql, struct onerow_error *error)
{
    enum onerow_status status =
        table->store->type->table_create(table->store, &table->spec, columns, n, sql, error);
    return status == ONEROW_OK ? look(table, error) : status;
}

int or_table_column(const struct or_table *table, struct onerow_span name)
{
    for (size_t i = 0; i < table->table->n_columns; i++) {
        if (table->name_lens[i] == name.len &&
            memcmp(table->table->columns[i].name, name.data, name.len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void or_value_json(const struct onerow_value *value, struct or_buffer *json)
{
    struct onerow_span text = {value->data, value->len};
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: or_buffer_text(json, "null"); return;
    case ONEROW_BOOL:
    case ONEROW_NUMBER:
    case ONEROW_JSON: or_buffer_span(json, text); return;
    case ONEROW_TEXT:
    case ONEROW_UNTYPED: or_buffer_json(json, text); return;
    }
}

static void values_json(const struct or_table *table, const struct onerow_value *values, size_t n,
                        struct or_buffer *json)
{
    or_buffer_char(json, '{');
    for (size_t i = 0; i < n; i++) {
        or_buffer_text(json, i ? "," : "");
        or_buffer_json(json, or_span(table->table->columns[values[i].column].name));
        or_buffer_char(json, ':');
        or_value_json(&values[i], json);
    }
    or_buffer_char(json, '}');
}

void or_table_key_json(const struct or_table *table, const struct onerow_value *values,
                       struct or_buffer *json)
{
    values_json(table, values, table->spec.n_key, json);
}

void or_table_record_json(const struct or_table *table, const struct onerow_record *record,
                          struct or_buffer *json)
{
    values_json(table, record->values, record->n_values, json);
}
