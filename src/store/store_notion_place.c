/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids as people have them: with dashes or without, in a link that was copied from the browser, or
 * in the collection:// link of a data source.
 *
 *     https://www.notion.so/team/Areas-1f0c00000000400080000000000000ab?v=2e…
 *                                      └────────── the id ───────────┘  a view's, not the table's
 */
#include <string.h>

#include "base/text.h"
#include "store/store_notion.h"

#define PLAIN 32U /* hexadecimal digits */

static bool canonical(struct onerow_span text, char id[OR_NOTION_ID])
{
    id[OR_UUID_LEN] = '\0';
    return or_uuid_canonical(text, id) == NULL;
}

/* What is behind the last slash, without what follows "?" or "#". */
static struct onerow_span last_part(struct onerow_span text)
{
    size_t end = 0;
    size_t start = 0;
    for (; end < text.len && text.data[end] != '?' && text.data[end] != '#'; end++) {
        start = text.data[end] == '/' ? end + 1 : start;
    }
    return (struct onerow_span){text.data + start, end - start};
}

bool or_notion_id(struct onerow_span text, char id[OR_NOTION_ID])
{
    struct onerow_span trimmed = or_span_trim(text);
    if (trimmed.len < PLAIN) {
        return false;
    }
    if (canonical(trimmed, id)) {
        return true;
    }
    if (!memmem(trimmed.data, trimmed.len, "://", 3)) {
        return false;
    }
    struct onerow_span part = last_part(trimmed);
    if (canonical(part, id)) {
        return true;
    }
    if (part.len > OR_UUID_LEN && part.data[part.len - OR_UUID_LEN - 1] == '-' &&
        canonical((struct onerow_span){part.data + part.len - OR_UUID_LEN, OR_UUID_LEN}, id)) {
        return true;
    }
    return part.len > PLAIN && part.data[part.len - PLAIN - 1] == '-' &&
           canonical((struct onerow_span){part.data + part.len - PLAIN, PLAIN}, id);
}

uint64_t or_notion_line(struct onerow_span text)
{
    uint64_t line = or_hash_text(text);
    return line ? line : 1;
}
