/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <string.h>

extern const struct onerow_store_type or_store_memory;
extern const struct onerow_store_type or_store_notion;
extern const struct onerow_store_type or_store_postgres;
extern const struct onerow_store_type or_store_sqlite;

const struct onerow_store_type *const or_store_types[] = {
    &or_store_sqlite, &or_store_postgres, &or_store_notion, &or_store_memory, NULL,
};

const struct onerow_store_type *or_store_type_of(const char *url)
{
    for (size_t i = 0; or_store_types[i]; i++) {
        const char *const *schemes = or_store_types[i]->schemes;
        for (size_t s = 0; schemes[s]; s++) {
            if (strncmp(url, schemes[s], strlen(schemes[s])) == 0) {
                return or_store_types[i];
            }
        }
    }
    return NULL;
}

void or_store_list(struct or_buffer *text)
{
    for (size_t i = 0; or_store_types[i]; i++) {
        or_buffer_printf(text, "%s%s", i ? ", " : "", or_store_types[i]->url);
    }
}
