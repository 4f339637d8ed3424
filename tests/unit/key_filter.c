/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes keys for another program: one key case (key_case.h) per line on standard input, one
 * answer per line on standard output, at once:
 *
 *   {"k1": "k1|t:HOME", "sha256": "…"}
 *   {"error": true, "column": 1, "reason": "is not an integer"}
 *
 * The line {"version": true} is answered with the version of the Unicode tables.
 */
#include <stdio.h>

#include "base/digest.h"
#include "key_case.h"

static void answer(yyjson_val *json, struct or_arena *arena, struct or_buffer *out)
{
    struct key_case key_case;
    struct or_buffer key;
    size_t column;
    const char *reason;
    case_read(json, arena, &key_case);
    or_buffer_init(&key);
    if (case_key(&key_case, arena, &key, &column, &reason)) {
        char hex[OR_SHA256_HEX];
        or_sha256_hex(or_buffer_view(&key), hex);
        or_buffer_text(out, "{\"k1\":");
        or_buffer_json(out, or_buffer_view(&key));
        or_buffer_printf(out, ",\"sha256\":\"%s\"}", hex);
    } else {
        or_buffer_printf(out, "{\"error\":true,\"column\":%zu,\"reason\":", column);
        or_buffer_json(out, or_span(reason));
        or_buffer_char(out, '}');
    }
    or_buffer_finish(&key);
}

static bool filter_line(char *line, size_t len, struct or_arena *arena, struct or_buffer *out)
{
    yyjson_doc *doc = yyjson_read(line, len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc);
    or_buffer_clear(out);
    if (yyjson_obj_get(root, "version")) {
        or_buffer_printf(out, "{\"version\":\"%s\"}", or_key_normalizer_version());
    } else if (root) {
        answer(root, arena, out);
    }
    yyjson_doc_free(doc);
    or_arena_reset(arena);
    puts(or_buffer_cstr(out));
    fflush(stdout);
    return root != NULL;
}

int main(void)
{
    struct or_arena arena;
    struct or_buffer out;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool understood = true;
    or_arena_init(&arena);
    or_buffer_init(&out);
    while (understood && (len = getline(&line, &room, stdin)) > 0) {
        understood = filter_line(line, (size_t)len, &arena, &out);
    }
    free(line);
    or_buffer_finish(&out);
    or_arena_finish(&arena);
    return understood ? 0 : 65;
}
