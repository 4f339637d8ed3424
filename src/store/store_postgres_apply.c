/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a batch. Records are written in turns: the first record of each key in the first
 * turn, the second ones in the second, and so on, which is "as if written one by one" with
 * a statement for thousands. Later turns meet only rows that the first one has locked, so
 * that the order of locks stays that of the keys. Within a turn a statement takes
 * neighbours with the same columns.
 *
 *   turn: run of one shape -> bulk (sample, COPY) or calls of up to CALL_ROWS rows,
 *         several to a round trip -> verdicts of rows that came back: created, updated
 *      -> those that did not: unchanged; looked up where it takes a look to tell why
 *
 * A record for which no row came back:
 *   - without row triggers it is unchanged: a conflict found the row (and locked it), and
 *     the condition left it alone;
 *   - with them, a later statement looks: no row -> a trigger swallowed the record; equal
 *     -> unchanged; different -> the same statement without its condition, under a
 *     savepoint: a row comes back -> the trigger makes it what it is, unchanged; none ->
 *     swallowed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define SHAPES     64U            /* column sets whose statements are kept */
#define CALL_ROWS  1000U          /* in a statement */
#define CALL_BYTES (256U * 1024U) /* of values in a statement, as a rule */
#define TRIP_BYTES (768U * 1024U) /* of values in a round trip, as a rule */
#define TRIP_CALLS 16U
#define NO_RECORD  UINT32_MAX
#define LOOKS_MAX  20U /* at rows that keep changing */

const char or_postgres_swallowed[] = "a trigger of the table swallowed it";

struct or_postgres_writer {
    struct or_postgres_shape shapes[SHAPES];
    unsigned n_shapes;
    uint64_t clock;
};

/* ---- shapes ------------------------------------------------------------------------------ */

static void forget_shape(struct or_postgres_shape *shape)
{
    for (unsigned i = 0; i < OR_SQL_KINDS; i++) {
        free(shape->sql[i]);
    }
    free(shape->columns);
    *shape = (struct or_postgres_shape){0};
}

void or_postgres_writer_free(struct or_postgres_writer *writer)
{
    for (unsigned i = 0; writer && i < writer->n_shapes; i++) {
        forget_shape(&writer->shapes[i]);
    }
    free(writer);
}

static bool fits(const struct or_postgres_shape *shape, const struct onerow_record *record)
{
    if (shape->n != record->n_values) {
        return false;
    }
    for (unsigned i = 0; i < shape->n; i++) {
        if (shape->columns[i] != record->values[i].column) {
            return false;
        }
    }
    return true;
}

/* A column that a new row needs and the set lacks, or NULL. */
static const char *lacking(const struct or_postgres_table *table,
                           const struct onerow_record *record)
{
    for (size_t c = 0; c < table->base.n_columns; c++) {
        bool given = (int)c == table->touch;
        for (unsigned i = 0; i < record->n_values && !given; i++) {
            given = record->values[i].column == c;
        }
        if (!given && table->base.columns[c].required) {
            return table->base.columns[c].name;
        }
    }
    return NULL;
}

/* A free slot, or the one that was not used for longest. Slots in use by this batch are newer than
 * any other, and a batch with more than SHAPES sets is cut (see prepare). */
static struct or_postgres_shape *free_slot(struct or_postgres_writer *writer)
{
    if (writer->n_shapes < SHAPES) {
        return &writer->shapes[writer->n_shapes++];
    }
    struct or_postgres_shape *oldest = &writer->shapes[0];
    for (unsigned i = 1; i < SHAPES; i++) {
        oldest = writer->shapes[i].last_used < oldest->last_used ? &writer->shapes[i] : oldest;
    }
    forget_shape(oldest);
    return oldest;
}

static struct or_postgres_shape *find_shape(struct or_postgres_writer *writer,
                                            const struct onerow_record *record)
{
    for (unsigned i = 0; i < writer->n_shapes; i++) {
        if (fits(&writer->shapes[i], record)) {
            return &writer->shapes[i];
        }
    }
    return NULL;
}

/* NULL: out of memory. */
static struct or_postgres_shape *make_shape(struct or_postgres_table *table,
                                            const struct onerow_record *record)
{
    uint16_t *columns = malloc((record->n_values + 1U) * sizeof *columns);
    if (!columns) {
        return NULL;
    }
    for (unsigned i = 0; i < record->n_values; i++) {
        columns[i] = record->values[i].column;
    }
    struct or_postgres_shape *shape = free_slot(table->writer);
    *shape = (struct or_postgres_shape){
        .columns = columns, .n = record->n_values, .lacks = lacking(table, record)};
    return shape;
}

/* ---- calls ------------------------------------------------------------------------------- */

#define TEXT_ARRAY 1009U /* pg_type.dat: the OID of text[] */

enum onerow_status or_postgres_call_make(struct or_postgres_work *work,
                                         const struct or_postgres_group *group,
                                         enum or_postgres_sql kind, struct or_postgres_call *call)
{
    bool keys = kind == OR_SQL_TOUCH || kind == OR_SQL_LOCK;
    unsigned n = keys ? (unsigned)work->table->spec.n_key : group->shape->n;
    *call = (struct or_postgres_call){.group = *group, .kind = kind, .n_list = n};
    or_buffer_init(&call->params);
    call->list = or_arena_alloc(work->arena, n * sizeof *call->list);
    struct onerow_span *texts = malloc((group->n + 1) * sizeof *texts);
    size_t *starts = malloc((n + 1U) * sizeof *starts);
    for (unsigned c = 0; call->list && texts && starts && c < n; c++) {
        starts[c] = call->params.len;
        for (size_t i = 0; i < group->n; i++) {
            texts[i] = work->texts[group->rows[i]][c];
        }
        or_postgres_text_array(&call->params, texts, group->n);
        starts[c + 1] = call->params.len;
    }
    bool made = call->list && texts && starts && !call->params.failed &&
                or_postgres_sql_of(work->table, group->shape, kind);
    for (unsigned c = 0; made && c < n; c++) {
        call->list[c] = (struct or_postgres_param){.type = TEXT_ARRAY,
                                                   .data = call->params.data + starts[c],
                                                   .len = (int)(starts[c + 1] - starts[c])};
    }
    free(texts);
    free(starts);
    return made ? ONEROW_OK : or_fail(work->error, ONEROW_NOMEM, "out of memory");
}

void or_postgres_call_finish(struct or_postgres_call *call)
{
    or_buffer_finish(&call->params);
}

/* Runs up to TRIP_CALLS calls in one round trip; results[i] are the caller's. The first trip of a
 * transaction learns its id, too, for the day on which the answer to its COMMIT gets lost. */
static enum onerow_status run_calls(struct or_postgres_work *work,
                                    const struct or_postgres_call *calls, unsigned n,
                                    PGresult **results)
{
    struct or_postgres_statement statements[TRIP_CALLS + 1];
    bool identify = or_postgres_needs_identity(work->store);
    for (unsigned i = 0; i < n; i++) {
        statements[i] = (struct or_postgres_statement){
            .sql = calls[i].group.shape->sql[calls[i].kind],
            .params = calls[i].list,
            .n_params = calls[i].n_list,
        };
    }
    if (identify) {
        statements[n] =
            (struct or_postgres_statement){.sql = or_postgres_identify_sql(work->store)};
    }
    enum onerow_status status =
        or_postgres_run(work->store, statements, n + identify, NULL, work->error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (identify) {
        or_postgres_note_identity(work->store, statements[n].result);
        PQclear(statements[n].result);
    }
    for (unsigned i = 0; i < n; i++) {
        results[i] = statements[i].result;
    }
    return ONEROW_OK;
}

enum onerow_status or_postgres_call_run(struct or_postgres_work *work,
                                        const struct or_postgres_group *group,
                                        enum or_postgres_sql kind, PGresult **result)
{
    struct or_postgres_call call;
    *result = NULL;
    enum onerow_status status = or_postgres_call_make(work, group, kind, &call);
    if (status == ONEROW_OK) {
        status = run_calls(work, &call, 1, result);
    }
    or_postgres_call_finish(&call);
    return status;
}

/* ---- results ------------------------------------------------------------------------------- */

int64_t or_postgres_int8(const PGresult *result, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, row, column);
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | bytes[i];
    }
    return (int64_t)value;
}

bool or_postgres_bool(const PGresult *result, int row, int column)
{
    return !PQgetisnull(result, row, column) && *PQgetvalue(result, row, column);
}

struct onerow_span or_postgres_got(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column)
               ? (struct onerow_span){0}
               : (struct onerow_span){PQgetvalue(result, row, column),
                                      (size_t)PQgetlength(result, row, column)};
}

struct onerow_span or_postgres_got_id(struct or_postgres_work *work, const PGresult *result,
                                      int row, int column)
{
    struct onerow_span id = or_postgres_got(result, row, column);
    return id.data ? or_arena_copy(work->arena, id) : id;
}

/* Whether a result row of an upsert is that of a record. */
static bool is_row_of(const struct or_postgres_work *work, const struct onerow_record *record,
                      const PGresult *result, int row)
{
    for (size_t k = 0; k < work->table->spec.n_key; k++) {
        if (!or_postgres_same_key(work->table->base.key_types[k], &record->values[k],
                                  or_postgres_got(result, row, (int)k),
                                  PQgetisnull(result, row, (int)k))) {
            return false;
        }
    }
    return true;
}

enum onerow_status or_postgres_match(struct or_postgres_work *work,
                                     const struct or_postgres_group *group, const PGresult *result,
                                     or_postgres_visit *visit)
{
    size_t at = 0;
    bool by_store = work->table->spec.store_key_equality; /* one record, whose row it must be */
    for (int row = 0; row < PQntuples(result); row++, at++) {
        while (at < group->n && !by_store &&
               !is_row_of(work, work->records[group->rows[at]], result, row)) {
            at++;
        }
        if (at == group->n) {
            return or_fail(work->error, ONEROW_REJECTED,
                           "the row was stored under another key than the record's: a trigger of "
                           "the table changes it");
        }
        visit(work, group->rows[at], result, row);
    }
    return ONEROW_OK;
}

void or_postgres_take_upserted(struct or_postgres_work *work, uint32_t record,
                               const PGresult *result, int row)
{
    int n_key = (int)work->table->spec.n_key;
    struct onerow_verdict *verdict = &work->verdicts[record];
    verdict->outcome = or_postgres_bool(result, row, n_key) ? ONEROW_CREATED : ONEROW_UPDATED;
    verdict->id = or_postgres_got_id(work, result, row, n_key + 1);
}

static void take_updated(struct or_postgres_work *work, const struct or_postgres_group *group,
                         const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        uint32_t record = group->rows[or_postgres_int8(result, row, OR_UPDATE_AT) - 1];
        work->verdicts[record].outcome = ONEROW_UPDATED;
        work->verdicts[record].id = or_postgres_got_id(work, result, row, OR_UPDATE_ID);
    }
}

static bool is_update(enum or_postgres_sql kind)
{
    return kind == OR_SQL_UPDATE || kind == OR_SQL_UPDATE_ALWAYS;
}

static enum onerow_status take_result(struct or_postgres_work *work,
                                      const struct or_postgres_call *call, const PGresult *result)
{
    if (call->kind == OR_SQL_LOOK) { /* keep, without what a new row needs: nothing is written */
        return ONEROW_OK;
    }
    if (is_update(call->kind)) {
        take_updated(work, &call->group, result);
        return ONEROW_OK;
    }
    enum onerow_status status =
        or_postgres_match(work, &call->group, result, or_postgres_take_upserted);
    size_t changed = (size_t)PQntuples(result);
    call->group.shape->unchanged = 1.0 - (double)changed / (double)call->group.n;
    return status;
}

/* ---- records without a row of their own ---------------------------------------------------------
 */

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

static void take_normalised(struct or_postgres_work *work, uint32_t record, const PGresult *result,
                            int row)
{
    (void)result;
    (void)row;
    work->verdicts[record].outcome = ONEROW_UNCHANGED;
}

/* Whether triggers make of each record what its row holds already: the statement without its
 * condition is run and undone. */
static enum onerow_status ask_triggers(struct or_postgres_work *work,
                                       const struct or_postgres_group *group)
{
    struct or_postgres_statement save = {.sql = "SAVEPOINT onerow"};
    struct or_postgres_statement undo[] = {{.sql = "ROLLBACK TO SAVEPOINT onerow"},
                                           {.sql = "RELEASE SAVEPOINT onerow"}};
    enum or_postgres_sql kind = group->shape->lacks ? OR_SQL_UPDATE_ALWAYS : OR_SQL_UPSERT_ALWAYS;
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_run(work->store, &save, 1, NULL, work->error);
    if (status != ONEROW_OK) {
        return status;
    }
    PQclear(save.result);
    status = or_postgres_call_run(work, group, kind, &result);
    if (status != ONEROW_OK) {
        return status;
    }
    if (is_update(kind)) {
        for (int row = 0; row < PQntuples(result); row++) {
            take_normalised(work, group->rows[or_postgres_int8(result, row, OR_UPDATE_AT) - 1],
                            result, row);
        }
    } else {
        status = or_postgres_match(work, group, result, take_normalised);
    }
    PQclear(result);
    if (status == ONEROW_OK) {
        status = or_postgres_run(work->store, undo, 2, NULL, work->error);
    }
    for (size_t i = 0; status == ONEROW_OK && i < 2; i++) {
        PQclear(undo[i].result);
    }
    for (size_t i = 0; i < group->n; i++) {
        struct onerow_verdict *verdict = &work->verdicts[group->rows[i]];
        if (verdict->outcome == ONEROW_PENDING) {
            or_postgres_refuse(verdict, or_postgres_swallowed);
        }
    }
    return status;
}

/* Whether a missing row can mean something else than "unchanged", or more is to be said of it. */
static bool takes_a_look(const struct or_postgres_work *work, const struct or_postgres_group *group)
{
    const struct or_postgres_table *table = work->table;
    return table->spec.policy != ONEROW_POLICY_UPDATE || table->has_row_triggers ||
           group->shape->lacks || (table->spec.want_ids && table->id_sql);
}

/* The rows of `group` that have no verdict yet. */
static enum onerow_status select_pending(struct or_postgres_work *work,
                                         const struct or_postgres_group *group,
                                         struct or_postgres_group *rest)
{
    rest->shape = group->shape;
    rest->rows = or_postgres_select(work, group, true, &rest->n);
    return rest->rows ? ONEROW_OK : or_fail(work->error, ONEROW_NOMEM, "out of memory");
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
            status = select_pending(work, &group, rest);
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
            take_updated(work, rest, result);
            PQclear(result);
            status = select_pending(work, &group, rest);
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
    enum onerow_status status = select_pending(work, group, &rest);
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
    return status == ONEROW_OK && rest.n ? ask_triggers(work, &rest) : status;
}

/* Partitioned tables: which rows are new is read afterwards, in the same transaction. */
static enum onerow_status tell_created(struct or_postgres_work *work,
                                       const struct or_postgres_group *group)
{
    struct or_postgres_group written = {.shape = group->shape};
    PGresult *result = NULL;
    written.rows = or_postgres_select(work, group, false, &written.n);
    if (!written.rows) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status =
        written.n ? or_postgres_call_run(work, &written, OR_SQL_LOOK, &result) : ONEROW_OK;
    if (status != ONEROW_OK || written.n == 0) {
        return status;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        uint32_t record = written.rows[or_postgres_int8(result, row, OR_LOOK_AT) - 1];
        if (or_postgres_bool(result, row, OR_LOOK_CREATED)) {
            work->verdicts[record].outcome = ONEROW_CREATED;
        }
    }
    PQclear(result);
    return ONEROW_OK;
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

static enum onerow_status judge_group(struct or_postgres_work *work,
                                      const struct or_postgres_group *group)
{
    enum onerow_status status = ONEROW_OK;
    if (work->table->partitioned && !group->shape->lacks) {
        status = tell_created(work, group);
    }
    if (status == ONEROW_OK) {
        status = judge_missing(work, group);
    }
    if (status == ONEROW_OK && (group->shape->lacks || work->table->has_row_triggers)) {
        status = lock_one(work, group);
    }
    if (status == ONEROW_OK && work->table->spec.touch == ONEROW_TOUCH_WRITE) {
        status = touch_unchanged(work, group);
    }
    return status;
}

/* ---- a turn -------------------------------------------------------------------------------------
 */

/* A comparison before the write takes the new value by an explicit cast, which cuts bit strings
 * where the assignment refuses them; and with row triggers only the write tells what they make. */
static bool may_filter(const struct or_postgres_work *work, const struct or_postgres_shape *shape)
{
    if (work->table->has_row_triggers) {
        return false;
    }
    for (unsigned i = 0; i < shape->n; i++) {
        const struct or_postgres_column *column = &work->table->columns[shape->columns[i]];
        if (column->cuts && column->category != 'S') {
            return false;
        }
    }
    return true;
}

static enum or_postgres_sql kind_of(const struct or_postgres_work *work,
                                    const struct or_postgres_shape *shape)
{
    if (shape->lacks) {
        return work->table->spec.policy == ONEROW_POLICY_KEEP ? OR_SQL_LOOK : OR_SQL_UPDATE;
    }
    return shape->unchanged >= 0.5 && may_filter(work, shape) ? OR_SQL_UPSERT_FILTERED
                                                              : OR_SQL_UPSERT;
}

static size_t text_bytes(const struct or_postgres_work *work, uint32_t record)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < work->records[record]->n_values; i++) {
        bytes += work->texts[record][i].len;
    }
    return bytes;
}

/* Runs the calls that were made and judges their records. */
static enum onerow_status finish_trip(struct or_postgres_work *work, struct or_postgres_call *calls,
                                      unsigned n)
{
    PGresult *results[TRIP_CALLS] = {0};
    enum onerow_status status = n ? run_calls(work, calls, n, results) : ONEROW_OK;
    for (unsigned i = 0; i < n; i++) {
        if (status == ONEROW_OK) {
            status = take_result(work, &calls[i], results[i]);
        }
        PQclear(results[i]);
        or_postgres_call_finish(&calls[i]);
    }
    for (unsigned i = 0; i < n && status == ONEROW_OK; i++) {
        status = judge_group(work, &calls[i].group);
    }
    return status;
}

/* How many leading rows of a run make one statement, and their bytes. */
static size_t cut_call(const struct or_postgres_work *work, const struct or_postgres_group *run,
                       size_t from, size_t *bytes)
{
    size_t most = work->table->spec.store_key_equality ? 1 : CALL_ROWS;
    size_t n = 0;
    *bytes = 0;
    while (from + n < run->n && n < most && (n == 0 || *bytes < CALL_BYTES)) {
        *bytes += text_bytes(work, run->rows[from + n++]);
    }
    return n;
}

static enum onerow_status write_run(struct or_postgres_work *work,
                                    const struct or_postgres_group *run)
{
    struct or_postgres_call calls[TRIP_CALLS];
    unsigned n_calls = 0;
    size_t trip = 0;
    enum onerow_status status = ONEROW_OK;
    enum or_postgres_sql kind = kind_of(work, run->shape);
    for (size_t from = 0; from < run->n && status == ONEROW_OK;) {
        size_t bytes = 0;
        size_t n = cut_call(work, run, from, &bytes);
        struct or_postgres_group group = {run->shape, run->rows + from, n};
        status = or_postgres_call_make(work, &group, kind, &calls[n_calls++]);
        from += n;
        trip += bytes;
        if (status == ONEROW_OK && (n_calls == TRIP_CALLS || trip >= TRIP_BYTES)) {
            status = finish_trip(work, calls, n_calls);
            n_calls = 0;
            trip = 0;
            kind = kind_of(work, run->shape);
        }
    }
    if (status == ONEROW_OK) {
        return finish_trip(work, calls, n_calls);
    }
    for (unsigned i = 0; i < n_calls; i++) {
        or_postgres_call_finish(&calls[i]);
    }
    return status;
}

static enum onerow_status write_group(struct or_postgres_work *work,
                                      const struct or_postgres_group *run)
{
    if (!work->table->arbiter) {
        return or_postgres_write_locked(work, run);
    }
    bool copied = false;
    enum onerow_status status = ONEROW_OK;
    if (run->n >= OR_POSTGRES_BULK && !run->shape->lacks && !work->table->spec.store_key_equality) {
        status = or_postgres_bulk(work, run, &copied);
    }
    return status == ONEROW_OK && !copied ? write_run(work, run) : status;
}

/* ---- a batch
 * -------------------------------------------------------------------------------------- */

/* How many of [first, at) have the key of record `at`. Equal keys are neighbours as a rule, but not
 * among records that are tried again in the order of their arrival: the last one of each key is
 * found by its hash. */
static uint32_t turn_of(struct or_postgres_work *work, size_t first, size_t at)
{
    struct onerow_span key = work->records[at]->key;
    size_t slot = (size_t)or_hash_text(key) & work->slots_mask;
    while (work->slots[slot] != NO_RECORD && work->slots[slot] >= first &&
           !or_span_equal(key, work->records[work->slots[slot]]->key)) {
        slot = (slot + 1) & work->slots_mask;
    }
    uint32_t before = work->slots[slot];
    work->slots[slot] = (uint32_t)at;
    return before != NO_RECORD && before >= first ? work->turns[before] + 1 : 0;
}

/* The texts of a record's values. False: out of memory (the error is filled); a value that cannot
 * be stored refuses the record. */
static bool convert(struct or_postgres_work *work, size_t at)
{
    const struct onerow_record *record = work->records[at];
    struct onerow_span *texts =
        or_arena_alloc(work->arena, (record->n_values + 1U) * sizeof *texts);
    const char *reason = texts ? NULL : or_postgres_no_memory;
    for (unsigned i = 0; texts && i < record->n_values && !reason; i++) {
        if (!or_postgres_text(work->table, &record->values[i], work->arena, &texts[i], &reason) &&
            !reason) {
            reason = or_postgres_no_memory;
        }
    }
    work->texts[at] = texts;
    if (reason == or_postgres_no_memory) {
        or_fail(work->error, ONEROW_NOMEM, "out of memory");
        return false;
    }
    if (reason) {
        or_postgres_refuse(&work->verdicts[at], reason);
    }
    return true;
}

/* Prepares records from `first` on: texts, shapes and turns, until there are more column sets than
 * can be kept. */
static enum onerow_status prepare(struct or_postgres_work *work, size_t first, size_t *end)
{
    struct or_postgres_writer *writer = work->table->writer;
    uint64_t batch = ++writer->clock;
    unsigned shapes = 0;
    struct or_postgres_shape *shape = NULL;
    for (size_t i = first; i < work->n; i++) {
        const struct onerow_record *record = work->records[i];
        if (!shape || !fits(shape, record)) {
            shape = find_shape(writer, record);
            bool is_new = !shape || shape->last_used != batch;
            if (is_new && shapes++ == SHAPES) {
                *end = i;
                return ONEROW_OK;
            }
            shape = shape ? shape : make_shape(work->table, record);
            if (!shape) {
                return or_fail(work->error, ONEROW_NOMEM, "out of memory");
            }
            shape->last_used = batch;
        }
        work->turns[i] = work->table->spec.store_key_equality ? 0 : turn_of(work, first, i);
        work->shapes[i] = shape;
        work->verdicts[i] = (struct onerow_verdict){0};
        if (!convert(work, i)) {
            return ONEROW_NOMEM;
        }
    }
    *end = work->n;
    return ONEROW_OK;
}

/* Orders the records [first, end) by turn, keeping their order within one. False: no memory. */
static bool order_by_turn(struct or_postgres_work *work, size_t first, size_t end)
{
    uint32_t last = 0;
    for (size_t i = first; i < end; i++) {
        last = work->turns[i] > last ? work->turns[i] : last;
    }
    size_t *starts = calloc((size_t)last + 2, sizeof *starts);
    if (!starts) {
        return false;
    }
    work->n_order = 0;
    for (size_t i = first; i < end; i++) {
        if (work->verdicts[i].outcome == ONEROW_PENDING) {
            starts[work->turns[i] + 1]++;
            work->n_order++;
        }
    }
    for (size_t t = 0; t <= last; t++) {
        starts[t + 1] += starts[t];
    }
    for (size_t i = first; i < end; i++) {
        if (work->verdicts[i].outcome == ONEROW_PENDING) {
            work->order[starts[work->turns[i]]++] = (uint32_t)i;
        }
    }
    free(starts);
    return true;
}

static enum onerow_status write_turns(struct or_postgres_work *work)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t first = 0, end = 0; first < work->n_order && status == ONEROW_OK; first = end) {
        uint32_t one = work->order[first];
        for (end = first + 1;
             end < work->n_order && work->shapes[work->order[end]] == work->shapes[one] &&
             work->turns[work->order[end]] == work->turns[one];
             end++) {
        }
        struct or_postgres_group run = {work->shapes[one], work->order + first, end - first};
        status = write_group(work, &run);
    }
    return status;
}

/* After an error that may have been the statement's own: is it, with no record in it? */
static enum onerow_status probe(struct or_postgres_work *work, struct or_postgres_shape *shape)
{
    struct or_postgres_group none = {.shape = shape};
    enum onerow_status status = or_postgres_try_statement(work, &none);
    if (status == ONEROW_REJECTED || status == ONEROW_CLASH) {
        status = ONEROW_CONFIG;
        if (work->error) {
            work->error->status = status;
        }
    }
    work->store->suspect = false;
    return status;
}

enum onerow_status or_postgres_try_statement(struct or_postgres_work *work,
                                             const struct or_postgres_group *group)
{
    struct or_postgres_group none = {.shape = group->shape};
    enum or_postgres_sql kind = group->shape->lacks     ? OR_SQL_UPDATE
                                : !work->table->arbiter ? OR_SQL_INSERT
                                                        : OR_SQL_UPSERT;
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_call_run(work, &none, kind, &result);
    PQclear(result);
    return status;
}

static enum onerow_status write_part(struct or_postgres_work *work, size_t first, size_t *end)
{
    enum onerow_status status = prepare(work, first, end);
    if (status != ONEROW_OK) {
        return status;
    }
    work->first = first;
    work->end = *end;
    if (!order_by_turn(work, first, *end)) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    if (work->store->suspect && work->n_order) {
        status = probe(work, work->shapes[work->order[0]]);
    }
    if (status == ONEROW_OK && !work->table->arbiter && work->n_order) {
        status = or_postgres_lock_keys(work);
    }
    return status == ONEROW_OK ? write_turns(work) : status;
}

static enum onerow_status set_up(struct or_postgres_work *work)
{
    size_t n = work->n;
    work->shapes = or_arena_alloc(work->arena, n * sizeof(struct or_postgres_shape *));
    work->texts = or_arena_alloc(work->arena, n * sizeof(struct onerow_span *));
    work->order = or_arena_alloc(work->arena, n * sizeof *work->order);
    work->turns = or_arena_alloc(work->arena, n * sizeof *work->turns);
    if (!work->table->writer) {
        work->table->writer = calloc(1, sizeof *work->table->writer);
    }
    work->slots_mask = 1;
    while (work->slots_mask < 2 * n) {
        work->slots_mask = 2 * work->slots_mask + 1;
    }
    work->slots = or_arena_alloc(work->arena, (work->slots_mask + 1) * sizeof *work->slots);
    if (work->slots) {
        memset(work->slots, 0xff, (work->slots_mask + 1) * sizeof *work->slots);
    }
    bool made = work->shapes && work->texts && work->order && work->turns && work->slots &&
                work->table->writer;
    return made ? ONEROW_OK : or_fail(work->error, ONEROW_NOMEM, "out of memory");
}

/* A dry run never commits, which is when deferred constraints would be checked. */
static enum onerow_status check_deferred(struct or_postgres_work *work)
{
    struct or_postgres_statement check = {.sql = "SET CONSTRAINTS ALL IMMEDIATE"};
    enum onerow_status status = or_postgres_run(work->store, &check, 1, NULL, work->error);
    PQclear(check.result);
    return status;
}

enum onerow_status or_postgres_apply(struct onerow_store_table *base,
                                     const struct onerow_record *const *records, size_t n,
                                     struct onerow_verdict *verdicts, struct or_arena *arena,
                                     struct onerow_error *error)
{
    struct or_postgres_work work = {.store = or_postgres_store_of(base->store),
                                    .table = or_postgres_table_of(base),
                                    .records = records,
                                    .n = n,
                                    .verdicts = verdicts,
                                    .arena = arena,
                                    .error = error};
    work.store->has_row_security = work.table->has_row_security;
    enum onerow_status status = set_up(&work);
    for (size_t first = 0, end = 0; first < n && status == ONEROW_OK; first = end) {
        status = write_part(&work, first, &end);
    }
    return status == ONEROW_OK && work.store->leave_as_is ? check_deferred(&work) : status;
}

/* ---- look
 * ------------------------------------------------------------------------------------------- */

static enum onerow_status look_at_run(struct or_postgres_work *work,
                                      const struct or_postgres_group *run)
{
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_call_run(work, run, OR_SQL_LOOK, &result);
    for (size_t i = 0; i < run->n; i++) {
        work->verdicts[run->rows[i]].outcome = ONEROW_REFUSED;
    }
    for (int row = 0; status == ONEROW_OK && row < PQntuples(result); row++) {
        uint32_t record = run->rows[or_postgres_int8(result, row, OR_LOOK_AT) - 1];
        work->verdicts[record].outcome =
            or_postgres_bool(result, row, OR_LOOK_DIFFERS) ? ONEROW_UPDATED : ONEROW_UNCHANGED;
    }
    PQclear(result);
    return status;
}

enum onerow_status or_postgres_look(struct onerow_store_table *base,
                                    const struct onerow_record *const *records, size_t n,
                                    struct onerow_verdict *verdicts, struct or_arena *arena,
                                    struct onerow_error *error)
{
    struct or_postgres_work work = {.store = or_postgres_store_of(base->store),
                                    .table = or_postgres_table_of(base),
                                    .records = records,
                                    .n = n,
                                    .verdicts = verdicts,
                                    .arena = arena,
                                    .error = error};
    enum onerow_status status = set_up(&work);
    for (size_t first = 0, end = 0; first < n && status == ONEROW_OK; first = end) {
        status = prepare(&work, first, &end);
        for (size_t i = first; i < end && status == ONEROW_OK;) {
            uint32_t *rows = &work.order[i];
            struct or_postgres_group run = {.shape = work.shapes[i], .rows = rows};
            for (; i < end && run.n < CALL_ROWS && work.shapes[i] == run.shape; i++) {
                if (verdicts[i].outcome == ONEROW_PENDING) {
                    rows[run.n++] = (uint32_t)i;
                }
            }
            status = run.n ? look_at_run(&work, &run) : ONEROW_OK;
        }
    }
    return status;
}
