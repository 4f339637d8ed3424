/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls: the statement of a shape with the values of a group of records, and its results.
 *
 * Each column goes out as one text[] in binary form; several calls share a round trip. Results are
 * binary, too. An upsert answers with the keys of the rows that it wrote, in the order of the
 * records, which is how a row finds its record again.
 */
#include <stdlib.h>

#include "base/status.h"
#include "store/store_postgres_write.h"

#define TEXT_ARRAY_HEAD 20U /* bytes of an array's binary form before its elements */

/* ---- parameters -------------------------------------------------------------------------- */

static char *put_int32(char *out, uint32_t number)
{
    for (int i = 3; i >= 0; i--) {
        out[i] = (char)(number & 0xff);
        number >>= 8;
    }
    return out + 4;
}

void or_postgres_text_array(struct or_buffer *out, const struct onerow_span *texts, size_t n)
{
    char head[TEXT_ARRAY_HEAD];
    bool has_null = false;
    for (size_t i = 0; i < n; i++) {
        has_null |= !texts[i].data;
    }
    char *at = put_int32(head, n > 0); /* dimensions */
    at = put_int32(at, has_null);
    at = put_int32(at, OR_OID_TEXT);
    if (n) {
        at = put_int32(at, (uint32_t)n);
        at = put_int32(at, 1); /* the first element's number */
    }
    or_buffer_add(out, head, (size_t)(at - head));
    for (size_t i = 0; i < n; i++) {
        char size[4];
        put_int32(size, texts[i].data ? (uint32_t)texts[i].len : UINT32_MAX); /* -1: NULL */
        or_buffer_add(out, size, sizeof size);
        or_buffer_add(out, texts[i].data, texts[i].data ? texts[i].len : 0);
    }
}

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
        call->list[c] = (struct or_postgres_param){.type = OR_OID_TEXT_ARRAY,
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

/* ---- running ----------------------------------------------------------------------------- */

/* The first trip of a transaction learns its id, too, for the day on which the answer to its COMMIT
 * gets lost. */
enum onerow_status or_postgres_calls_run(struct or_postgres_work *work,
                                         const struct or_postgres_call *calls, unsigned n,
                                         PGresult **results)
{
    struct or_postgres_statement statements[OR_POSTGRES_TRIP_CALLS + 1];
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
        status = or_postgres_calls_run(work, &call, 1, result);
    }
    or_postgres_call_finish(&call);
    return status;
}

/* ---- results ----------------------------------------------------------------------------- */

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

void or_postgres_take_updated(struct or_postgres_work *work, const struct or_postgres_group *group,
                              const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        uint32_t record = group->rows[or_postgres_int8(result, row, OR_UPDATE_AT) - 1];
        work->verdicts[record].outcome = ONEROW_UPDATED;
        work->verdicts[record].id = or_postgres_got_id(work, result, row, OR_UPDATE_ID);
    }
}
