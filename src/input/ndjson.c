/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is a record, or blank and skipped. Whatever is wrong with a line ends with
 * that line: JSON strings hold no LF, so the next LF is always where reading can go
 * on. Only the last line may lack its LF; when it then is not a record, chances are
 * that its writer was cut off, and the reason says so.
 */
#include "input/ndjson.h"

#include "base/status.h"
#include "base/text.h"

bool or_ndjson_init(struct or_ndjson *ndjson)
{
    *ndjson = (struct or_ndjson){0};
    return or_json_init(&ndjson->json);
}

void or_ndjson_finish(struct or_ndjson *ndjson)
{
    or_json_finish(&ndjson->json);
}

static bool is_blank(const struct or_line *line)
{
    return or_span_trim((struct onerow_span){line->data, line->len}).len == 0;
}

/* A line of which only the beginning was kept. */
static bool take_long(const struct or_line *line, struct or_arena *arena, struct or_item *item)
{
    size_t kept = line->len < OR_INPUT_RAW_MAX ? line->len : OR_INPUT_RAW_MAX;
    *item = (struct or_item){.kind = OR_ITEM_BAD,
                             .at = 1,
                             .bad_line = 1,
                             .reason = "a line of more than 64 MiB",
                             .raw = or_arena_copy(arena, (struct onerow_span){line->data, kept})};
    return item->raw.data;
}

/* What is better said of the line than of the JSON text. */
static bool adjust_reason(const struct or_line *line, bool first, struct or_arena *arena,
                          struct or_item *item)
{
    if (first && or_span_trim(item->raw).len && or_span_trim(item->raw).data[0] == '[') {
        item->reason = "a JSON array: one object per line is expected; jq -c '.[]' FILE";
    } else if (!line->ended) {
        item->reason = or_arena_printf(
            arena, "truncated? This last line has no line end, and is no record: %s", item->reason);
    }
    return item->reason;
}

static enum onerow_status take_line(struct or_ndjson *ndjson, const struct or_line *line,
                                    bool whole, struct or_arena *arena, struct or_item *item)
{
    bool first = !ndjson->begun;
    ndjson->begun = true;
    bool cr = line->len > 0 && line->data[line->len - 1] == '\r';
    struct onerow_span text = {line->data, line->len - (cr ? 1 : 0)};
    if (whole) {
        enum onerow_status status = or_json_parse(&ndjson->json, text, arena, item);
        if (status != ONEROW_OK) {
            return status;
        }
        if (item->kind == OR_ITEM_BAD && !adjust_reason(line, first, arena, item)) {
            return ONEROW_NOMEM;
        }
    } else if (!take_long(line, arena, item)) {
        return ONEROW_NOMEM;
    }
    item->line = line->number;
    item->bad_line = item->kind == OR_ITEM_BAD ? line->number : 0;
    item->raw_len = line->len;
    return ONEROW_OK;
}

enum onerow_status or_ndjson_next(struct or_ndjson *ndjson, struct or_lines *lines,
                                  struct or_arena *arena, struct or_item *item,
                                  struct onerow_error *error)
{
    for (;;) {
        struct or_line line;
        enum or_line_kind kind = or_lines_next(lines, &line, error);
        switch (kind) {
        case OR_LINE_END: *item = (struct or_item){.kind = OR_ITEM_END}; return ONEROW_OK;
        case OR_LINE_STOP: *item = (struct or_item){.kind = OR_ITEM_STOP}; return ONEROW_OK;
        case OR_LINE_FAULT: return error->status;
        case OR_LINE_WHOLE:
            if (is_blank(&line)) {
                continue;
            }
            break;
        case OR_LINE_LONG: break;
        }
        enum onerow_status status = take_line(ndjson, &line, kind == OR_LINE_WHOLE, arena, item);
        return status == ONEROW_OK ? status : or_fail(error, status, "out of memory");
    }
}
