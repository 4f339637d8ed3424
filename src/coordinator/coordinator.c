/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/coordinator.h"

#include <string.h>

extern const struct onerow_coordinator_type or_coordinator_memory;
extern const struct onerow_coordinator_type or_coordinator_postgres;
extern const struct onerow_coordinator_type or_coordinator_sqlite;

const struct onerow_coordinator_type *const or_coordinator_types[] = {
    &or_coordinator_sqlite,
    &or_coordinator_postgres,
    &or_coordinator_memory,
    NULL,
};

const struct onerow_coordinator_type *or_coordinator_type_of(const char *url)
{
    for (size_t i = 0; or_coordinator_types[i]; i++) {
        const char *const *schemes = or_coordinator_types[i]->schemes;
        for (size_t s = 0; schemes[s]; s++) {
            if (strncmp(url, schemes[s], strlen(schemes[s])) == 0) {
                return or_coordinator_types[i];
            }
        }
    }
    return NULL;
}

void or_coordinator_list(struct or_buffer *text)
{
    for (size_t i = 0; or_coordinator_types[i]; i++) {
        or_buffer_printf(text, "%s%s", i ? ", " : "", or_coordinator_types[i]->url);
    }
}
