/* SPDX-License-Identifier: Apache-2.0
 *
 * A table that a relation leads to is opened without its own relations: of its records nothing but
 * keys is written. So tables may relate to each other and to themselves, and opening ends. They are
 * added when it is to be written itself.
 *
 * A batch is written table by table, by their numbers. Those that others relate to come first: a
 * page is then made from its record, if the batch has one, and not from its key and its record.
 */
#include "engine/kin.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/pages.h"
#include "engine/relations.h"

static struct or_table *find(const struct or_kin *kin, const struct or_config_table *config)
{
    for (size_t i = 0; i < kin->n; i++) {
        if (strcmp(kin->tables[i]->spec.name, config->spec.name) == 0) {
            return kin->tables[i];
        }
    }
    return NULL;
}

static enum onerow_status open_one(struct or_kin *kin, const struct or_config_table *config,
                                   const struct or_table_options *options, struct or_table **table,
                                   struct onerow_error *error)
{
    *table = find(kin, config);
    if (*table) {
        return ONEROW_OK;
    }
    if (kin->n == OR_KIN_MAX) {
        return or_fail(error, ONEROW_CONFIG, "more than %u tables in one run", OR_KIN_MAX);
    }
    struct or_table_options how = *options;
    how.alone = true;
    enum onerow_status status = or_table_open(config, &how, table, error);
    if (status == ONEROW_OK) {
        (*table)->known = &kin->known;
        kin->tables[kin->n++] = *table;
    }
    return status;
}

static enum onerow_status relate(struct or_kin *kin, struct or_table *table,
                                 const struct or_table_options *options, struct onerow_error *error)
{
    size_t n = table->relations ? 0 : table->config->n_relations;
    if (n == 0) {
        return ONEROW_OK;
    }
    struct or_relation *relations = calloc(n, sizeof *relations);
    enum onerow_status status =
        relations ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    struct or_table_options how = *options;
    how.may_create = false;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        const struct or_config_relation *config = &table->config->relations[i];
        struct or_table *target = NULL;
        status = open_one(kin, config->target, &how, &target, error);
        if (status == ONEROW_OK) {
            status = or_relation_check(table, config, target, &relations[i], error);
        }
    }
    if (status != ONEROW_OK) {
        free(relations);
        return status;
    }
    table->relations = relations;
    table->n_relations = n;
    return ONEROW_OK;
}

static unsigned depth_of(const struct or_table *table)
{
    return table->number / OR_KIN_MAX;
}

/* Below all that it relates to, as far as they do not relate back. */
static unsigned depth_below(const struct or_table *table)
{
    unsigned depth = depth_of(table);
    for (size_t r = 0; r < table->n_relations; r++) {
        const struct or_table *target = table->relations[r].target;
        if (target != table && depth_of(target) >= depth) {
            depth = depth_of(target) + 1;
        }
    }
    return depth;
}

/* As many rounds as there are tables: in a circle of them it would never end. */
static void number_all(struct or_kin *kin)
{
    for (size_t i = 0; i < kin->n; i++) {
        kin->tables[i]->number = (unsigned)i;
    }
    for (size_t round = 0; round < kin->n; round++) {
        for (size_t i = 0; i < kin->n; i++) {
            struct or_table *table = kin->tables[i];
            table->number = depth_below(table) * OR_KIN_MAX + (unsigned)i;
        }
    }
}

struct or_table *or_kin_find(const struct or_kin *kin, const struct or_config_table *config)
{
    struct or_table *table = find(kin, config);
    return table && (table->relations || config->n_relations == 0) ? table : NULL;
}

enum onerow_status or_kin_open(struct or_kin *kin, const struct or_config_table *config,
                               const struct or_table_options *options, struct or_table **table,
                               struct onerow_error *error)
{
    enum onerow_status status = open_one(kin, config, options, table, error);
    status = status == ONEROW_OK ? relate(kin, *table, options, error) : status;
    number_all(kin);
    return status;
}

void or_kin_close(struct or_kin *kin)
{
    while (kin->n) {
        or_table_close(kin->tables[--kin->n]);
    }
    or_known_finish(&kin->known);
}

/* ---- of one table --------------------------------------------------------------------------- */

enum onerow_status or_kin_found(struct or_table *table, const struct or_table_options *options,
                                struct onerow_error *error)
{
    table->kin = calloc(1, sizeof *table->kin);
    if (!table->kin) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    table->kin->tables[table->kin->n++] = table;
    table->known = table->known ? table->known : &table->kin->known;
    enum onerow_status status = relate(table->kin, table, options, error);
    for (size_t i = 1; i < table->kin->n; i++) {
        table->kin->tables[i]->known = table->known;
    }
    return status;
}

void or_kin_leave(struct or_table *table)
{
    struct or_kin *kin = table->kin;
    table->kin = NULL;
    if (kin) {
        memmove(&kin->tables[0], &kin->tables[1], (kin->n - 1) * sizeof(struct or_table *));
        kin->n--;
        or_kin_close(kin);
        free(kin);
    }
}
