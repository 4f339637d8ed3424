/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a batch. Records are written in turns: the first record of each key in the first
 * turn, the second ones in the second, and so on, which is "as if written one by one" with
 * a statement for thousands. Later turns meet only rows that the first one has locked, so
 * that the order of locks stays that of the keys. Within a turn a statement takes
 * neighbours with the same columns.
 *
 *   turn: run of one shape -> bulk (sample, COPY, staging) or calls of up to CALL_ROWS rows,
 *         several to a round trip -> verdicts of rows that came back: created, updated
 *      -> those that did not: store_postgres_judge.c
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define AHEAD      8U             /* records */
#define CALL_ROWS  1000U          /* in a statement */
#define CALL_BYTES (256U * 1024U) /* of values in a statement, as a rule */
#define TRIP_BYTES (768U * 1024U) /* of values in a round trip, as a rule */
#define NO_RECORD  UINT32_MAX

/* ---- a turn ------------------------------------------------------------------------------ */

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

bool or_postgres_filters(const struct or_postgres_work *work, const struct or_postgres_shape *shape)
{
    return shape->unchanged >= 0.5 && may_filter(work, shape);
}

static enum or_postgres_sql kind_of(const struct or_postgres_work *work,
                                    const struct or_postgres_shape *shape)
{
    if (shape->lacks) {
        return work->table->spec.policy == ONEROW_POLICY_KEEP ? OR_SQL_LOOK : OR_SQL_UPDATE;
    }
    return or_postgres_filters(work, shape) ? OR_SQL_UPSERT_FILTERED : OR_SQL_UPSERT;
}

static size_t text_bytes(const struct or_postgres_work *work, uint32_t record)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < work->records[record]->n_values; i++) {
        bytes += work->texts[record][i].len;
    }
    return bytes;
}

static enum onerow_status take_result(struct or_postgres_work *work,
                                      const struct or_postgres_call *call, const PGresult *result)
{
    if (call->kind == OR_SQL_LOOK) { /* keep, without what a new row needs: nothing is written */
        return ONEROW_OK;
    }
    if (or_postgres_is_update(call->kind)) {
        or_postgres_take_updated(work, &call->group, result);
        return ONEROW_OK;
    }
    enum onerow_status status =
        or_postgres_match(work, &call->group, result, or_postgres_take_upserted);
    size_t changed = (size_t)PQntuples(result);
    call->group.shape->unchanged = 1.0 - (double)changed / (double)call->group.n;
    return status;
}

/* Runs the calls that were made and judges their records. */
static enum onerow_status finish_trip(struct or_postgres_work *work, struct or_postgres_call *calls,
                                      unsigned n)
{
    PGresult *results[OR_POSTGRES_TRIP_CALLS] = {0};
    enum onerow_status status = n ? or_postgres_calls_run(work, calls, n, results) : ONEROW_OK;
    for (unsigned i = 0; i < n; i++) {
        if (status == ONEROW_OK) {
            status = take_result(work, &calls[i], results[i]);
        }
        PQclear(results[i]);
        or_postgres_call_finish(&calls[i]);
    }
    for (unsigned i = 0; i < n && status == ONEROW_OK; i++) {
        status = or_postgres_judge(work, &calls[i].group);
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
    struct or_postgres_call calls[OR_POSTGRES_TRIP_CALLS];
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
        if (status == ONEROW_OK && (n_calls == OR_POSTGRES_TRIP_CALLS || trip >= TRIP_BYTES)) {
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
    bool done = false;
    enum onerow_status status = ONEROW_OK;
    if (run->n >= OR_POSTGRES_BULK && !run->shape->lacks && !work->table->spec.store_key_equality) {
        status = or_postgres_bulk(work, run, &done);
    }
    return status == ONEROW_OK && !done ? write_run(work, run) : status;
}

/* ---- a batch ------------------------------------------------------------------------------- */

/* How many of [first, at) have the key of record `at`. Equal keys are neighbours as a rule, but
 * not among records that are tried again in the order of their arrival: the last one of each
 * key is found by its hash. */
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

/* Sorted records lie scattered in memory: those that come next are fetched meanwhile. */
static void fetch_ahead(const struct or_postgres_work *work, size_t at)
{
    if (at + 2 * AHEAD < work->n) {
        __builtin_prefetch(work->records[at + 2 * AHEAD]);
        __builtin_prefetch(work->records[at + AHEAD]->values);
        __builtin_prefetch(work->records[at + AHEAD]->key.data);
    }
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
        fetch_ahead(work, i);
        if (!shape || !or_postgres_fits(shape, record)) {
            shape = or_postgres_find_shape(writer, record);
            bool is_new = !shape || shape->last_used != batch;
            if (is_new && shapes++ == OR_POSTGRES_SHAPES) {
                *end = i;
                return ONEROW_OK;
            }
            shape = shape ? shape : or_postgres_make_shape(work->table, record);
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

static struct or_postgres_work work_on(struct onerow_store_table *base,
                                       const struct onerow_record *const *records, size_t n,
                                       struct onerow_verdict *verdicts, struct or_arena *arena,
                                       struct onerow_error *error)
{
    return (struct or_postgres_work){.store = or_postgres_store_of(base->store),
                                     .table = or_postgres_table_of(base),
                                     .records = records,
                                     .n = n,
                                     .verdicts = verdicts,
                                     .arena = arena,
                                     .error = error};
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
    struct or_postgres_work work = work_on(base, records, n, verdicts, arena, error);
    work.store->has_row_security = work.table->has_row_security;
    enum onerow_status status = set_up(&work);
    for (size_t first = 0, end = 0; first < n && status == ONEROW_OK; first = end) {
        status = write_part(&work, first, &end);
    }
    return status == ONEROW_OK && work.store->leave_as_is ? check_deferred(&work) : status;
}

/* ---- look -------------------------------------------------------------------------------- */

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
    struct or_postgres_work work = work_on(base, records, n, verdicts, arena, error);
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
