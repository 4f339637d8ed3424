/* SPDX-License-Identifier: Apache-2.0
 *
 * What the configuration says of a table, for every store.
 */
#include "store/spec.h"

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"

/* Reads one part of a location, quoted or plain; the rest, or NULL when it is no part. */
static const char *read_part(const char *at, struct or_arena *arena, struct or_location_part *part,
                             bool *no_memory)
{
    struct or_buffer text;
    or_buffer_init(&text);
    bool quoted = *at == '"';
    at += quoted;
    while (*at && (quoted || *at != '.')) {
        if (quoted && *at == '"') {
            if (at[1] != '"') {
                break;
            }
            at++;
        }
        or_buffer_char(&text, *at++);
    }
    bool closed = !quoted || *at++ == '"';
    part->text = or_arena_copy(arena, or_buffer_view(&text)).data;
    part->quoted = quoted;
    *no_memory |= text.failed || !part->text;
    bool good = closed && text.len > 0 && !*no_memory;
    or_buffer_finish(&text);
    return good ? at : NULL;
}

enum onerow_status or_spec_location(const char *location, struct or_arena *arena,
                                    struct or_location_part parts[2], struct onerow_error *error)
{
    bool no_memory = false;
    parts[0] = parts[1] = (struct or_location_part){0};
    const char *rest = read_part(location, arena, &parts[0], &no_memory);
    if (rest && *rest == '.') {
        rest = read_part(rest + 1, arena, &parts[1], &no_memory);
    }
    if (no_memory) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    if (!rest || *rest) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": not a name; write NAME, SCHEMA.NAME or \"SCHEMA\".\"NAME\"",
                       location);
    }
    return ONEROW_OK;
}

const struct onerow_key_column *or_spec_key_column(const struct onerow_table_spec *spec,
                                                   struct onerow_span name)
{
    for (size_t i = 0; i < spec->n_key; i++) {
        if (or_span_is(name, spec->key[i].name)) {
            return &spec->key[i];
        }
    }
    return NULL;
}

const char *or_spec_type_word(enum onerow_type type)
{
    static const char *const words[] = {[ONEROW_TYPE_UNKNOWN] = "a key",
                                        [ONEROW_TYPE_TEXT] = "text",
                                        [ONEROW_TYPE_INT] = "int",
                                        [ONEROW_TYPE_DECIMAL] = "decimal",
                                        [ONEROW_TYPE_BOOL] = "bool",
                                        [ONEROW_TYPE_DATE] = "date",
                                        [ONEROW_TYPE_TIMESTAMP] = "timestamp",
                                        [ONEROW_TYPE_UUID] = "uuid",
                                        [ONEROW_TYPE_JSON] = "json"};
    return words[type];
}
