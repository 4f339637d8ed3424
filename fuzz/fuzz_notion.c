/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as what Notion answered, and as a value of every property type. An answer is
 * told in one line without the token, and never says "done" without a page; what is found can be
 * shown; what a value becomes is JSON, and compares equal with itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/store_notion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define TOKEN "secret"
#define N     ((size_t)OR_NOTION_OTHER)

static struct or_notion_store store = {.version = OR_NOTION_2025, .token = NULL};
static struct onerow_column columns[N];
static struct or_notion_property properties[N];
static struct or_notion_table table;

static void make_table(void)
{
    static const char *options[] = {"Active"};
    static const struct onerow_key_column key = {.name = "title"};
    for (size_t i = 0; i < N; i++) {
        columns[i] = (struct onerow_column){.name = or_notion_trait((enum or_notion_type)i)->name};
        properties[i] = (struct or_notion_property){
            .type = (enum or_notion_type)i, .options = options, .n_options = 1};
    }
    table =
        (struct or_notion_table){.base = {.store = &store.base, .columns = columns, .n_columns = N},
                                 .spec = {.name = "t", .key = &key, .n_key = 1},
                                 .columns = columns,
                                 .properties = properties};
}

static void check_reason(const struct or_notion_answer *answer, struct or_arena *arena)
{
    const char *reason = or_notion_reason("look", answer, TOKEN, arena);
    HOLDS(reason && !strstr(reason, TOKEN));
    for (const char *at = reason; *at; at++) {
        HOLDS((unsigned char)*at >= ' ');
    }
}

static void check_kinds(const struct or_notion_answer *answer, struct or_arena *arena)
{
    for (int what = ONEROW_PAGE_PROBE; what <= ONEROW_PAGE_BLANKS; what++) {
        enum onerow_page_answer is = or_notion_classify((enum onerow_page_do)what, answer);
        bool creates = what == ONEROW_PAGE_CREATE || what == ONEROW_PAGE_CREATE_KEYED;
        HOLDS(is != ONEROW_PAGE_OK || answer->root);
        HOLDS(is != ONEROW_PAGE_OK || !creates || or_notion_made(answer, arena).len == OR_UUID_LEN);
    }
}

static void check_results(yyjson_val *root, struct or_arena *arena)
{
    struct or_notion_results results = {.table = &table, .arena = arena};
    struct onerow_page page;
    bool skip = false;
    if (!or_notion_take_results(&results, root)) {
        for (size_t i = 0; i < results.n; i++) {
            HOLDS(results.pages[i].id.len == OR_UUID_LEN);
        }
    }
    if (!or_notion_take_page(&table, root, arena, &page, &skip) && !skip) {
        HOLDS(page.parts || or_notion_reserved(page.title));
    }
    struct onerow_value value;
    HOLDS(or_notion_value(root, arena, &value));
    HOLDS(value.kind == ONEROW_NULL || value.data);
}

static void check_answer(struct onerow_span bytes, struct or_arena *arena)
{
    static const unsigned statuses[] = {200, 400, 404, 409, 429, 503};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct or_http_request request = {.end = OR_HTTP_ANSWERED, .status = statuses[i]};
        struct or_notion_answer answer;
        or_buffer_init(&request.answer);
        or_buffer_span(&request.answer, bytes);
        or_notion_read(&request, &answer);
        check_kinds(&answer, arena);
        check_reason(&answer, arena);
        if (answer.root && i == 0) {
            check_results(answer.root, arena);
        }
        or_notion_answer_finish(&answer);
        or_buffer_finish(&request.answer);
    }
}

/* What was written, as Notion would show it: the structure beside its type. */
static void check_same(struct onerow_span payload, const char *name, struct or_arena *arena)
{
    struct or_buffer page;
    bool no_memory = false;
    or_buffer_init(&page);
    or_buffer_printf(&page, "{\"%s\":{\"type\":\"%s\",", name, name);
    or_buffer_add(&page, payload.data + strlen(name) + 5, payload.len - strlen(name) - 5);
    yyjson_doc *doc = yyjson_read(page.data, page.len, YYJSON_READ_NUMBER_AS_RAW);
    HOLDS(doc && or_notion_same(payload, yyjson_doc_get_root(doc), arena, &no_memory));
    yyjson_doc_free(doc);
    or_buffer_finish(&page);
}

static void check_value(struct onerow_span bytes, uint16_t column, enum onerow_kind kind,
                        struct or_arena *arena)
{
    const struct onerow_value value = {
        .data = bytes.data, .len = (uint32_t)bytes.len, .column = column, .kind = (uint8_t)kind};
    const char *reason = NULL;
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_char(&json, '{');
    if (or_notion_encode_value(&table, &value, &json, arena, &reason)) {
        or_buffer_char(&json, '}');
        check_same(or_buffer_view(&json), columns[column].name, arena);
    } else {
        HOLDS(reason);
    }
    or_buffer_finish(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum onerow_kind kinds[] = {ONEROW_TEXT, ONEROW_UNTYPED, ONEROW_JSON};
    char *copy = malloc(size + 1);
    struct or_arena arena;
    if (!copy) {
        return 0;
    }
    memcpy(copy, data, size);
    copy[size] = '\0';
    struct onerow_span bytes = {copy, size};
    make_table();
    or_arena_init(&arena);
    check_answer(bytes, &arena);
    bool text = or_utf8_valid(bytes, NULL) && !memchr(copy, '\0', size);
    for (uint16_t column = 0; text && column < N; column++) {
        for (size_t kind = 0; kind < 3; kind++) {
            check_value(bytes, column, kinds[kind], &arena);
        }
    }
    char id[OR_NOTION_ID];
    (void)or_notion_id(bytes, id);
    or_arena_finish(&arena);
    free(copy);
    return 0;
}
