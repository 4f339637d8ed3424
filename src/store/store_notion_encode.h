/* SPDX-License-Identifier: Apache-2.0
 *
 * One value on its way into its property's structure: what store_notion_encode.c and
 * store_notion_list.c share. Functions that return false have said why, or found no memory.
 */
#ifndef OR_STORE_NOTION_ENCODE_H
#define OR_STORE_NOTION_ENCODE_H

#include "store/store_notion.h"

struct or_notion_encoding {
    const struct or_notion_property *property;
    const char *name; /* of the column */
    const char *type; /* of the property */
    const struct onerow_value *value;
    struct onerow_span text; /* of the value */
    struct or_buffer *json;
    struct or_arena *arena;
    const char *reason;
    bool no_memory;
};

static inline bool or_notion_is_text(const struct onerow_value *value)
{
    return value->kind == ONEROW_TEXT || value->kind == ONEROW_UNTYPED;
}

/* The property's name comes before what is said. */
__attribute__((format(printf, 2, 3))) bool or_notion_refuse(struct or_notion_encoding *e,
                                                            const char *format, ...);
/* The value is of another type than the property's. */
bool or_notion_refuse_kind(struct or_notion_encoding *e);
bool or_notion_check_units(struct or_notion_encoding *e, struct onerow_span text, size_t max,
                           const char *what);

bool or_notion_add_choice(struct or_notion_encoding *e); /* select, status */
bool or_notion_add_list(struct or_notion_encoding *e);   /* multi_select, people, relation */
bool or_notion_add_date(struct or_notion_encoding *e);

#endif
