/* SPDX-License-Identifier: Apache-2.0
 *
 *     configuration ──> ledger   of this table's target: a namespace of its coordinator
 *                   ──> limits   how often and for how long something is tried
 *
 * Time that is spent waiting for a window does not count as time in which something was tried; so
 * what a record may take is the same in a run of ten and in one of ten thousand.
 */
#include "engine/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "engine/gate.h"

#define BULK_MS     (30ULL * 60 * 1000) /* a record of a bulk is tried for so long */
#define PATIENCE_MS (15ULL * 60 * 1000) /* a breaker stays open for so long */

/* What belongs to an open table. */
struct opened {
    struct or_pages pages; /* first */
    struct or_ledger ledger;
    struct or_retry_limits retry;
    struct or_arena arena;
};

/* ---- the ledger ---------------------------------------------------------------------------------
 */

/* Over the coordinator that keeps the windows, if it is the same one. */
static enum onerow_status enter_ledger(const struct or_table *table, struct opened *opened,
                                       struct onerow_span target, struct onerow_span definition,
                                       const volatile bool *stop, struct onerow_error *error)
{
    const struct or_gate *gate = table->gate;
    const char *url = table->config->ledger;
    bool same = gate->coordinator && strcmp(gate->url, url) == 0;
    return same ? or_ledger_enter(&opened->ledger, gate->coordinator, target, definition, error)
                : or_ledger_open(&opened->ledger, url, target, definition, stop, error);
}

static enum onerow_status open_ledger(struct or_table *table, struct opened *opened,
                                      const volatile bool *stop, struct onerow_error *error)
{
    const struct or_config_table *config = table->config;
    const struct onerow_store_type *type = table->store->type;
    enum onerow_status status = or_config_check_ledger(config, error);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_buffer definition;
    struct or_buffer target;
    or_buffer_init(&definition);
    or_buffer_init(&target);
    or_ledger_definition(&table->spec, table->table->key_types, config->protocol,
                         config->when_trashed, &definition);
    or_buffer_printf(&target, "%s %s", type->name, type->pages->target(table->table));
    status = definition.failed || target.failed
                 ? or_fail(error, ONEROW_NOMEM, "out of memory")
                 : enter_ledger(table, opened, or_buffer_view(&target), or_buffer_view(&definition),
                                stop, error);
    or_buffer_finish(&definition);
    or_buffer_finish(&target);
    return status;
}

/* Two ledgers for one target would know nothing of each other. Where this one's id cannot be left,
 * the user is told. */
static enum onerow_status mark_target(struct or_table *table, struct opened *opened,
                                      struct onerow_error *error)
{
    const struct onerow_page_ops *ops = table->store->type->pages;
    struct onerow_error why = {0};
    enum onerow_status status =
        ops->mark ? ops->mark(table->table, opened->ledger.space.ledger_id, &why) : ONEROW_OK;
    if (status == ONEROW_ABSENT) {
        opened->pages.advice = or_arena_printf(
            &opened->arena,
            "table \"%s\": another host with another ledger would not be noticed, because this "
            "ledger's id cannot be left at the target: %s",
            table->spec.name, why.text);
        return ONEROW_OK;
    }
    if (status != ONEROW_OK && error) {
        *error = why;
    }
    return status;
}

/* ---- defaults -----------------------------------------------------------------------------------
 */

static enum onerow_status find_default(struct or_table *table,
                                       const struct or_config_default *given,
                                       struct onerow_value *value, struct onerow_error *error)
{
    int column = or_table_column(table, or_span(given->column));
    if (column < 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": defaults: there is no column \"%s\" (line %u)",
                       table->spec.name, given->column, given->place.line);
    }
    const char *not_writable = table->table->columns[column].not_writable;
    if (not_writable) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": defaults: column \"%s\" %s and cannot be written (line %u)",
                       table->spec.name, given->column, not_writable, given->place.line);
    }
    *value = given->value;
    value->column = (uint16_t)column;
    return ONEROW_OK;
}

static int by_column(const void *left, const void *right)
{
    const struct onerow_value *a = left;
    const struct onerow_value *b = right;
    return (a->column > b->column) - (a->column < b->column);
}

static enum onerow_status find_defaults(struct or_table *table, struct opened *opened,
                                        struct onerow_error *error)
{
    size_t n = table->config->n_defaults;
    struct onerow_value *values = or_arena_alloc(&opened->arena, (n + 1) * sizeof *values);
    if (!values) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        status = find_default(table, &table->config->defaults[i], &values[i], error);
    }
    if (status == ONEROW_OK) {
        qsort(values, n, sizeof *values, by_column);
        opened->pages.defaults = values;
        opened->pages.n_defaults = n;
    }
    return status;
}

/* ---- limits -------------------------------------------------------------------------------------
 */

static void set_limits(struct opened *opened, const struct or_config_table *config,
                       const struct or_table_options *options)
{
    const struct or_config_store *store = config->store;
    uint64_t conflict = store->conflict_wait ? store->conflict_wait : OR_CONFLICT_WAIT;
    uint64_t usual = options->bulk ? BULK_MS : OR_WAIT_MS;
    opened->retry = (struct or_retry_limits){
        .classes = {[OR_RETRY_CONFLICT] = {conflict < 500 ? conflict : 500, conflict, 0},
                    [OR_RETRY_RATE] = {1000, 60000, 0},
                    [OR_RETRY_UNCERTAIN] = {1000, 30000, 0},
                    [OR_RETRY_LOOKUP] = {1000, 30000, 0},
                    [OR_RETRY_BUSY] = {100, 5000, 0}},
        .total_ms = options->wait_ms ? options->wait_ms : usual};
    opened->pages.patience_ms = options->wait_ms ? options->wait_ms : PATIENCE_MS;
    opened->pages.attempt = (struct or_attempt_options){
        .protocol = config->protocol,
        .policy = config->spec.policy,
        .deletion = config->when_trashed,
        .verify_read = config->verify_read,
        .may_create = opened->ledger.space.standing == ONEROW_LEDGER_SOUND,
        .bounds = store->bounds,
        .retry = &opened->retry};
}

static void set_advice(struct opened *opened, const struct or_config_table *config)
{
    const struct onerow_ledger_namespace *space = &opened->ledger.space;
    const char *url = config->coordinator ? config->coordinator : config->ledger;
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    if (space->standing != ONEROW_LEDGER_SOUND) {
        opened->pages.advice =
            or_arena_printf(&opened->arena,
                            "table \"%s\": %s; no page is made before every page was read into the "
                            "ledger: onerow heal %s",
                            config->spec.name, space->why ? space->why : "the ledger is in doubt",
                            config->spec.name);
    } else if (!opened->pages.advice && config->store->n_windows && !(type && type->leases)) {
        opened->pages.advice = "the rate windows are this process's own: the coordinator cannot "
                               "share them; one writer at a time keeps them";
    }
}

/* ---- opening ------------------------------------------------------------------------------------
 */

enum onerow_status or_pages_open(struct or_table *table, const struct or_table_options *options,
                                 struct onerow_error *error)
{
    struct opened *opened = calloc(1, sizeof *opened);
    if (!opened) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    or_arena_init(&opened->arena);
    table->pages = &opened->pages;
    enum onerow_status status = open_ledger(table, opened, options->stop, error);
    status = status == ONEROW_OK ? mark_target(table, opened, error) : status;
    status = status == ONEROW_OK ? find_defaults(table, opened, error) : status;
    opened->pages.ledger = &opened->ledger;
    opened->pages.governor = table->gate->governor;
    if (status == ONEROW_OK) {
        set_limits(opened, table->config, options);
        set_advice(opened, table->config);
    }
    return status;
}

void or_pages_close(struct or_pages *pages)
{
    if (!pages) {
        return;
    }
    struct opened *opened = (struct opened *)(void *)pages;
    or_ledger_close(&opened->ledger);
    or_arena_finish(&opened->arena);
    free(opened);
}

/* ---- letters ------------------------------------------------------------------------------------
 */

/* A version that is being written is not yet what the page holds. */
static void describe_key(const struct or_key_record *key, char state[OR_ROW_STATE_LEN])
{
    char text[64];
    uint64_t version = key->version - (key->state == OR_KEY_WRITING);
    if (key->state != OR_KEY_DONE && key->state != OR_KEY_WRITING &&
        key->state != OR_KEY_TOMBSTONE) {
        (void)snprintf(state, OR_ROW_STATE_LEN, "absent");
        return;
    }
    (void)snprintf(text, sizeof text, "%u %llu %llu", key->state == OR_KEY_TOMBSTONE,
                   (unsigned long long)key->generation, (unsigned long long)version);
    or_sha256_hex(or_span(text), state);
}

void or_pages_row_state(struct or_table *table, const struct onerow_record *key,
                        char state[OR_ROW_STATE_LEN])
{
    struct or_command command = {.what = OR_DO_READ};
    struct or_event event = {0};
    struct or_arena arena;
    or_arena_init(&arena);
    struct or_ledger_question question = {.command = &command, .event = &event, .arena = &arena};
    state[0] = '\0';
    if (or_ledger_name(key->key, &arena, &question.key) &&
        or_ledger_read(table->pages->ledger, &question, 1, NULL) == ONEROW_OK) {
        describe_key(&event.key, state);
    }
    or_arena_finish(&arena);
}
