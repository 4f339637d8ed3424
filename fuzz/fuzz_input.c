/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer entry for the input module. The first byte chooses the format; the rest
 * is the input, read from a memory file, whole. Besides crashes, it looks for broken
 * promises: kinds, limits, valid UTF-8 and the absence of U+0000 in everything that
 * is a record, JSON that parses again, lines that never run backwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "input/input.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_text(struct onerow_span text)
{
    HOLDS(text.len <= ONEROW_VALUE_MAX);
    HOLDS(text.len == 0 || !memchr(text.data, '\0', text.len));
    HOLDS(or_utf8_valid(text, NULL));
}

/* A nested value is compact JSON that means the same when read again. */
static void check_nested(struct onerow_span json, struct or_arena *arena)
{
    char *text = or_arena_printf(arena, "{\"x\":%.*s}", (int)json.len, json.data);
    struct or_item item;
    HOLDS(or_input_parse_json(or_span(text), arena, &item) == ONEROW_OK);
    HOLDS(item.kind == OR_ITEM_RECORD && item.n_fields == 1);
    HOLDS(item.fields[0].value.kind == ONEROW_JSON);
    HOLDS(or_span_equal(json,
                        (struct onerow_span){item.fields[0].value.data, item.fields[0].value.len}));
}

static void check_item(const struct or_item *item, uint64_t *line, struct or_arena *arena)
{
    HOLDS(item->line > *line);
    *line = item->line;
    if (item->kind == OR_ITEM_BAD) {
        HOLDS(item->reason && item->raw.len > 0 && item->bad_line >= item->line);
        check_text(or_span(item->reason));
    }
    for (size_t i = 0; i < item->n_fields; i++) {
        const struct onerow_value *value = &item->fields[i].value;
        check_text(item->fields[i].name);
        check_text((struct onerow_span){value->data, value->len});
        HOLDS((value->kind == ONEROW_NULL) == !value->data);
        if (value->kind == ONEROW_JSON) {
            check_nested((struct onerow_span){value->data, value->len}, arena);
        }
    }
}

static void read_all(struct or_input *input)
{
    struct or_arena arena;
    or_arena_init(&arena);
    uint64_t line = 0;
    struct or_item item;
    while (or_input_next(input, &arena, &item, NULL) == ONEROW_OK && item.kind != OR_ITEM_END) {
        check_item(&item, &line, &arena);
        or_arena_reset(&arena);
    }
    or_arena_finish(&arena);
}

static int memory_file(void)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        HOLDS(fd >= 0);
    }
    return fd;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    int fd = memory_file();
    HOLDS(ftruncate(fd, 0) == 0);
    HOLDS(pwrite(fd, data + 1, size - 1, 0) == (ssize_t)(size - 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct or_input_options options = {
        .path = path, .format = (enum or_format)(data[0] % 3), .stop_fd = -1};
    struct or_input *input = NULL;
    if (or_input_open(&options, &input, NULL) == ONEROW_OK) {
        read_all(input);
    }
    or_input_close(input);
    return 0;
}
