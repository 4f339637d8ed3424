/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as onerow.yaml, as --key, --on-conflict and --store, and as
 * a URL to be masked. Whatever is accepted must hold what the engine relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/config_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_table(const struct or_config_table *table)
{
    const struct onerow_table_spec *spec = &table->spec;
    require(table->store && table->store->url && strchr(table->store->url, ':'));
    require(spec->name && *spec->name && spec->location && *spec->location);
    require(spec->n_key >= 1 && spec->n_key <= ONEROW_KEY_COLUMNS_MAX);
    require((spec->policy == ONEROW_POLICY_NEWEST) == (spec->order_column != NULL));
    require((spec->touch == ONEROW_TOUCH_NONE) == (spec->touch_column == NULL));
    for (size_t i = 0; i < spec->n_key; i++) {
        require(*spec->key[i].name && !strchr(spec->key[i].name, '('));
    }
}

static void check_outcome(const struct or_config *config, enum onerow_status status,
                          const struct onerow_error *error)
{
    require(status == ONEROW_OK || (error->status == status && *error->text));
    for (size_t i = 0; status == ONEROW_OK && i < config->n_tables; i++) {
        check_table(&config->tables[i]);
    }
}

static void fuzz_file(const char *text, size_t len)
{
    struct or_config config = {.path = "f"};
    struct onerow_error error = {0};
    or_arena_init(&config.arena);
    enum onerow_status status =
        or_config_read_yaml(&config, (struct onerow_span){text, len}, &error);
    check_outcome(&config, status, &error);
    or_config_finish(&config);
}

static void fuzz_flags(const struct or_config_flags *flags)
{
    struct or_config config;
    struct onerow_error error = {0};
    enum onerow_status status = or_config_load(&config, flags, &error);
    check_outcome(&config, status, &error);
    or_config_finish(&config);
}

static void fuzz_mask(const char *url)
{
    struct or_buffer masked;
    or_buffer_init(&masked);
    or_url_mask(url, &masked);
    require(!masked.failed);
    or_buffer_finish(&masked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_file(text, size);
    fuzz_flags(&(struct or_config_flags){.store = text, .table = "t", .key = "k"});
    fuzz_flags(&(struct or_config_flags){.store = "memory:", .table = text, .key = text});
    fuzz_flags(&(struct or_config_flags){
        .store = "memory:", .table = "t", .key = "k", .on_conflict = text});
    fuzz_mask(text);
    free(text);
    return 0;
}
