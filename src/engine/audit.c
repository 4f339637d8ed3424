/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/audit.h"

#include <stdio.h>

#include "base/text.h"
#include "core/key.h"

struct audit {
    struct or_table *table;
    struct or_arena arena; /* of the key at hand */
    onerow_visit_twins *visit;
    void *context;
    struct or_audit_counts *counts;
    char reason[160];
};

static bool canonical_key(void *context, const struct onerow_value *parts, struct or_buffer *key,
                          const char **reason)
{
    struct audit *audit = context;
    const struct or_table *table = audit->table;
    struct onerow_value canonical[ONEROW_KEY_COLUMNS_MAX];
    or_arena_reset(&audit->arena);
    for (size_t k = 0; k < table->spec.n_key; k++) {
        const char *why = NULL;
        if (!or_key_part(&table->spec.key[k], table->table->key_types[k], &parts[k], &audit->arena,
                         &canonical[k], &why)) {
            key->failed |= why == or_key_no_memory;
            snprintf(audit->reason, sizeof audit->reason, "key column \"%s\" %s",
                     table->spec.key[k].name, why);
            *reason = audit->reason;
            return false;
        }
    }
    return or_key_append(key, canonical, table->table->key_types, table->spec.n_key);
}

static void count(void *context, const struct onerow_twins *twins)
{
    struct audit *audit = context;
    if (twins->reason) {
        audit->counts->keyless += twins->rows;
    } else {
        audit->counts->keys++;
        audit->counts->rows += twins->rows;
    }
    audit->visit(audit->context, twins);
}

enum onerow_status or_audit(struct or_table *table, onerow_visit_twins *visit, void *context,
                            struct or_audit_counts *counts, struct onerow_error *error)
{
    struct audit audit = {.table = table, .visit = visit, .context = context, .counts = counts};
    or_arena_init(&audit.arena);
    *counts = (struct or_audit_counts){0};
    enum onerow_status status =
        table->store->type->audit(table->table, canonical_key, &audit, count, &audit, error);
    or_arena_finish(&audit.arena);
    return status;
}
