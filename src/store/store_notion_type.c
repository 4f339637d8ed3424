/* SPDX-License-Identifier: Apache-2.0
 *
 * Property types, and which keys they may hold. The type of a column is what its plain values are:
 * lists of names and ids are JSON.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_notion.h"

#define KEY(type) (1U << (ONEROW_TYPE_##type))
#define ANY_TEXT  (KEY(TEXT) | KEY(UUID) | KEY(DATE) | KEY(TIMESTAMP))

static const char BY_NOTION[] = "is filled in by Notion";

static const struct or_notion_trait TRAITS[] = {
    [OR_NOTION_TITLE] = {"title", ONEROW_TYPE_TEXT, NULL, ANY_TEXT, true},
    [OR_NOTION_RICH_TEXT] = {"rich_text", ONEROW_TYPE_TEXT, NULL, ANY_TEXT, true},
    [OR_NOTION_URL] = {"url", ONEROW_TYPE_TEXT, NULL, KEY(TEXT), false},
    [OR_NOTION_EMAIL] = {"email", ONEROW_TYPE_TEXT, NULL, KEY(TEXT), false},
    [OR_NOTION_PHONE] = {"phone_number", ONEROW_TYPE_TEXT, NULL, KEY(TEXT), false},
    [OR_NOTION_NUMBER] = {"number", ONEROW_TYPE_DECIMAL, NULL, KEY(INT) | KEY(DECIMAL), false},
    [OR_NOTION_SELECT] = {"select", ONEROW_TYPE_TEXT, NULL, KEY(TEXT), false},
    [OR_NOTION_MULTI_SELECT] = {"multi_select", ONEROW_TYPE_JSON, NULL, 0, false},
    [OR_NOTION_STATUS] = {"status", ONEROW_TYPE_TEXT, NULL, 0, false},
    [OR_NOTION_CHECKBOX] = {"checkbox", ONEROW_TYPE_BOOL, NULL, KEY(BOOL), false},
    [OR_NOTION_DATE] = {"date", ONEROW_TYPE_DATE, NULL, KEY(DATE) | KEY(TIMESTAMP), false},
    [OR_NOTION_PEOPLE] = {"people", ONEROW_TYPE_JSON, NULL, 0, false},
    [OR_NOTION_RELATION] = {"relation", ONEROW_TYPE_JSON, NULL, 0, false},
    [OR_NOTION_UNIQUE_ID] = {"unique_id", ONEROW_TYPE_INT, "is numbered by Notion", KEY(INT),
                             false},
    [OR_NOTION_FORMULA] = {"formula", ONEROW_TYPE_UNKNOWN, "is a formula", 0, false},
    [OR_NOTION_ROLLUP] = {"rollup", ONEROW_TYPE_UNKNOWN, "is a rollup", 0, false},
    [OR_NOTION_FILES] = {"files", ONEROW_TYPE_JSON, "holds files", 0, false},
    [OR_NOTION_CREATED_TIME] = {"created_time", ONEROW_TYPE_TIMESTAMP, BY_NOTION, 0, false},
    [OR_NOTION_EDITED_TIME] = {"last_edited_time", ONEROW_TYPE_TIMESTAMP, BY_NOTION, 0, false},
    [OR_NOTION_CREATED_BY] = {"created_by", ONEROW_TYPE_TEXT, BY_NOTION, 0, false},
    [OR_NOTION_EDITED_BY] = {"last_edited_by", ONEROW_TYPE_TEXT, BY_NOTION, 0, false},
    [OR_NOTION_BUTTON] = {"button", ONEROW_TYPE_UNKNOWN, "is a button", 0, false},
    [OR_NOTION_OTHER] = {"", ONEROW_TYPE_UNKNOWN, "is of a type that is not supported", 0, false},
};

const struct or_notion_trait *or_notion_trait(enum or_notion_type type)
{
    return &TRAITS[type];
}

enum or_notion_type or_notion_type_of(struct onerow_span name)
{
    unsigned type = 0;
    while (type < OR_NOTION_OTHER && !or_span_is(name, TRAITS[type].name)) {
        type++;
    }
    return (enum or_notion_type)type;
}

size_t or_notion_units(struct onerow_span text)
{
    size_t units = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        units += (byte & 0xc0U) != 0x80U; /* the first byte of a character … */
        units += byte >= 0xf0U;           /* … that takes two */
    }
    return units;
}

bool or_notion_reserved(struct onerow_span title)
{
    const struct onerow_span beginnings[] = {OR_SPAN(ONEROW_BLANK_TITLE),
                                             OR_SPAN(ONEROW_MOVED_TITLE)};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        size_t len = beginnings[i].len;
        if (title.len >= len && memcmp(title.data, beginnings[i].data, len) == 0) {
            return true;
        }
    }
    return false;
}
