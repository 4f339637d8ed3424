/* SPDX-License-Identifier: Apache-2.0
 *
 * Records for which no row came back, and what else is to be told or done once a group of records
 * was written.
 *
 *   - without row triggers such a record is unchanged: a conflict found the row (and locked
 *     it), and the condition left it alone;
 *   - with them, a later statement looks: no row -> a trigger swallowed the record; equal
 *     -> unchanged; different -> the triggers are asked (store_postgres_trigger.c).
 */
#include <string.h>

#include "base/status.h"
#include "store/store_postgres_write.h"

#define LOOKS_MAX 20U /* at rows that keep changing */

const char or_postgres_swallowed[] = "a trigger of the table swallowed it";

uint32_t *or_postgres_select(struct or_postgres_work *work, const struct or_postgres_group *group,
                             bool pending, size_t *n)
{
    uint32_t *rows = or_arena_alloc(work->arena, (group->n + 1) * sizeof *rows);
    *n = 0;
    for (size_t i = 0; rows && i < group->n; i++) {
        if ((work->verdicts[group->rows[i]].outcome == ONEROW_PENDING) == pending) {
            rows[(*n)++] = group->rows[i];
        }
    }
    return rows;
}

enum onerow_status or_postgres_pending(struct or_postgres_work *work,
                                       const struct or_postgres_group *group,
                                       struct or_postgres_group *rest)
{
    rest->shape = group->shape;
    rest->rows = or_postgres_select(work, group, true, &rest->n);
    return rest->rows ? ONEROW_OK : or_fail(work->error, ONEROW_NOMEM, "out of memory");
}

/* What a look found of a record that was not written. Different without a reason: left PENDING. A
 * trigger may have swallowed it; or the set lacks a column, and somebody made or changed the row
 * since: an update locks no row that it does not find. */
static void judge_found(struct or_postgres_work *work, const PGresult *result, int row, bool lacks,
                        struct onerow_verdict *verdict)
{
    bool differs = or_postgres_bool(result, row, OR_LOOK_DIFFERS);
    bool older = or_postgres_bool(result, row, OR_LOOK_OLDER);
    verdict->id = or_postgres_got_id(work, result, row, OR_LOOK_ID);
    if (differs && work->table->spec.policy == ONEROW_POLICY_KEEP) {
        verdict->reason = "kept";
    } else if (differs && older) {
        verdict->reason = "older";
    } else if (differs && (work->table->has_row_triggers || lacks)) {
        verdict->outcome = ONEROW_PENDING;
        return;
    }
    verdict->outcome = ONEROW_UNCHANGED;
}

static void refuse_absent(struct or_postgres_work *work, const struct or_postgres_group *group,
                          struct onerow_verdict *verdict)
{
    const char *reason = or_postgres_swallowed;
    if (group->shape->lacks) {
        reason = or_arena_printf(work->arena,
                                 "no row has this key, and a new one needs column "
                                 "\"%s\"",
                                 group->shape->lacks);
    }
    or_postgres_refuse(verdict, reason ? reason : "no row has this key");
}

/* A row that was there when the statement ran, and is not now, was deleted in between: with no
 * trigger to blame, it is as if the record had come just before. */
static bool absent_is_a_fault(const struct or_postgres_work *work,
                              const struct or_postgres_group *group)
{
    return group->shape->lacks || work->table->has_row_triggers;
}

/* Looks at the rows of records that no row came back for. */
static enum onerow_status look_closer(struct or_postgres_work *work,
                                      const struct or_postgres_group *group)
{
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_call_run(work, group, OR_SQL_LOOK, &result);
    if (status != ONEROW_OK) {
        return status;
    }
    bool *found = or_arena_alloc(work->arena, group->n * sizeof *found);
    if (!found) {
        PQclear(result);
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    memset(found, 0, group->n * sizeof *found);
    for (int row = 0; row < PQntuples(result); row++) {
        size_t at = (size_t)or_postgres_int8(result, row, OR_LOOK_AT) - 1;
        found[at] = true;
        judge_found(work, result, row, group->shape->lacks != NULL,
                    &work->verdicts[group->rows[at]]);
    }
    PQclear(result);
    for (size_t i = 0; i < group->n; i++) {
        struct onerow_verdict *verdict = &work->verdicts[group->rows[i]];
        if (!found[i] && absent_is_a_fault(work, group)) {
            refuse_absent(work, group, verdict);
        } else if (!found[i]) {
            verdict->outcome = ONEROW_UNCHANGED;
        }
    }
    return ONEROW_OK;
}

/* Whether a missing row can mean something else than "unchanged", or more is to be said of it. */
static bool takes_a_look(const struct or_postgres_work *work, const struct or_postgres_group *group)
{
    const struct or_postgres_table *table = work->table;
    return table->spec.policy != ONEROW_POLICY_UPDATE || table->has_row_triggers ||
           group->shape->lacks || (table->spec.want_ids && table->id_sql);
}

/* Looks, and updates once more what a look found different: the row was not there, or was another
 * one, when the update ran. With triggers a second time that nothing comes back is told by them. */
static enum onerow_status look_until_told(struct or_postgres_work *work,
                                          struct or_postgres_group *rest)
{
    const struct or_postgres_group group = *rest;
    for (unsigned looks = 0;; looks++) {
        PGresult *result = NULL;
        enum onerow_status status = look_closer(work, rest);
        if (status == ONEROW_OK) {
            status = or_postgres_pending(work, &group, rest);
        }
        bool enough = !group.shape->lacks || (looks > 0 && work->table->has_row_triggers);
        if (status != ONEROW_OK || rest->n == 0 || enough) {
            return status;
        }
        if (looks == LOOKS_MAX) {
            return or_fail(work->error, ONEROW_RETRY, "rows keep changing under the update");
        }
        status = or_postgres_call_run(work, rest, OR_SQL_UPDATE, &result);
        if (status == ONEROW_OK) {
            or_postgres_take_updated(work, rest, result);
            PQclear(result);
            status = or_postgres_pending(work, &group, rest);
        }
        if (status != ONEROW_OK || rest->n == 0) {
            return status;
        }
    }
}

static enum onerow_status judge_missing(struct or_postgres_work *work,
                                        const struct or_postgres_group *group)
{
    struct or_postgres_group rest;
    enum onerow_status status = or_postgres_pending(work, group, &rest);
    if (status != ONEROW_OK || rest.n == 0) {
        return status;
    }
    if (!takes_a_look(work, group)) {
        for (size_t i = 0; i < rest.n; i++) {
            work->verdicts[rest.rows[i]].outcome = ONEROW_UNCHANGED;
        }
        return ONEROW_OK;
    }
    status = look_until_told(work, &rest);
    return status == ONEROW_OK && rest.n ? or_postgres_ask_triggers(work, &rest) : status;
}

/* `updated_at` is set on records that changed nothing, too. */
static enum onerow_status touch_unchanged(struct or_postgres_work *work,
                                          const struct or_postgres_group *group)
{
    struct or_postgres_group rest = {.shape = group->shape};
    uint32_t *rows = or_arena_alloc(work->arena, (group->n + 1) * sizeof *rows);
    PGresult *result = NULL;
    if (!rows) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < group->n; i++) {
        if (work->verdicts[group->rows[i]].outcome == ONEROW_UNCHANGED) {
            rows[rest.n++] = group->rows[i];
        }
    }
    rest.rows = rows;
    enum onerow_status status =
        rest.n ? or_postgres_call_run(work, &rest, OR_SQL_TOUCH, &result) : ONEROW_OK;
    PQclear(result);
    return status;
}

/* Where nothing of a group was written, no row of it need have been locked: one is, so that the
 * commit waits for whatever the rows that were found came from. */
static enum onerow_status lock_one(struct or_postgres_work *work,
                                   const struct or_postgres_group *group)
{
    struct or_postgres_group one = {.shape = group->shape, .n = 1};
    PGresult *result = NULL;
    for (size_t i = 0; i < group->n; i++) {
        enum onerow_outcome outcome = work->verdicts[group->rows[i]].outcome;
        if (outcome == ONEROW_CREATED || outcome == ONEROW_UPDATED) {
            return ONEROW_OK;
        }
        one.rows = outcome == ONEROW_UNCHANGED ? &group->rows[i] : one.rows;
    }
    enum onerow_status status =
        one.rows ? or_postgres_call_run(work, &one, OR_SQL_LOCK, &result) : ONEROW_OK;
    PQclear(result);
    return status;
}

enum onerow_status or_postgres_judge(struct or_postgres_work *work,
                                     const struct or_postgres_group *group)
{
    enum onerow_status status = judge_missing(work, group);
    if (status == ONEROW_OK && (group->shape->lacks || work->table->has_row_triggers)) {
        status = lock_one(work, group);
    }
    if (status == ONEROW_OK && work->table->spec.touch == ONEROW_TOUCH_WRITE) {
        status = touch_unchanged(work, group);
    }
    return status;
}
