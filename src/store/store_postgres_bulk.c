/* SPDX-License-Identifier: Apache-2.0
 *
 * Many records at once. A sample of their keys, spread evenly, is looked up first; what it
 * tells holds for these records now, which no statistics of the table's can promise:
 *
 *   none is there             COPY straight into the table, sorted by key
 *   half or more are equal    the upsert that leaves equal rows out beforehand
 *   else                      the plain upsert
 *
 * COPY can only create, and it names no arbiter: the upsert is run without rows before it, which
 * fails when the unique index is gone and otherwise keeps it there. A key that is there all the
 * same (the sample missed it, or somebody else was faster) ends it with 23505: it is undone to a
 * savepoint, and the upsert takes the records, so that the outcomes are the same whichever way was
 * taken. Any other error of COPY goes the same way; the upsert then finds out which record is at
 * fault.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define SAMPLE      128U
#define COPY_CHUNK  (64U * 1024U)
#define COPY_MISSES 8U /* runs without a COPY after one that failed */

/* ---- sample -------------------------------------------------------------------------- */

struct sample {
    size_t asked;
    size_t found;
    size_t unchanged; /* of those found: writing them would change nothing */
};

static enum onerow_status take_sample(struct or_postgres_work *work,
                                      const struct or_postgres_group *run, struct sample *sample)
{
    uint32_t rows[SAMPLE];
    struct or_postgres_group group = {.shape = run->shape, .rows = rows};
    PGresult *result = NULL;
    size_t n = run->n < SAMPLE ? run->n : SAMPLE;
    for (size_t i = 0; i < n; i++) {
        rows[group.n++] = run->rows[i * run->n / n];
    }
    enum onerow_status status = or_postgres_call_run(work, &group, OR_SQL_LOOK, &result);
    if (status != ONEROW_OK) {
        return status;
    }
    *sample = (struct sample){.asked = n, .found = (size_t)PQntuples(result)};
    bool keep = work->table->spec.policy == ONEROW_POLICY_KEEP;
    for (int row = 0; row < PQntuples(result); row++) {
        sample->unchanged += keep || !or_postgres_bool(result, row, OR_LOOK_DIFFERS) ||
                             or_postgres_bool(result, row, OR_LOOK_OLDER);
    }
    PQclear(result);
    return ONEROW_OK;
}

/* ---- COPY ------------------------------------------------------------------------------ */

/* The text format of COPY (PostgreSQL's documentation, COPY, File Formats). */
static void add_field(struct or_buffer *out, struct onerow_span text)
{
    if (!text.data) {
        or_buffer_text(out, "\\N");
        return;
    }
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        char escape = text.data[i] == '\\'   ? '\\'
                      : text.data[i] == '\n' ? 'n'
                      : text.data[i] == '\r' ? 'r'
                      : text.data[i] == '\t' ? 't'
                                             : '\0';
        if (escape) {
            or_buffer_add(out, text.data + from, i - from);
            or_buffer_char(out, '\\');
            or_buffer_char(out, escape);
            from = i + 1;
        }
    }
    or_buffer_add(out, text.data + from, text.len - from);
}

static void add_line(struct or_postgres_work *work, uint32_t record, struct or_buffer *out)
{
    for (unsigned i = 0; i < work->records[record]->n_values; i++) {
        if (i) {
            or_buffer_char(out, '\t');
        }
        add_field(out, work->texts[record][i]);
    }
    or_buffer_char(out, '\n');
}

/* Hands the chunk to the server. */
static enum onerow_status push(struct or_postgres_work *work, struct or_buffer *out)
{
    if (out->failed) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    if (PQputCopyData(work->store->conn, out->data, (int)out->len) != 1) {
        return or_postgres_fail(work->store, NULL, "copying", work->error);
    }
    or_buffer_clear(out);
    return or_postgres_flush(work->store, work->error);
}

static enum onerow_status send_rows(struct or_postgres_work *work,
                                    const struct or_postgres_group *run)
{
    struct or_buffer out;
    enum onerow_status status = ONEROW_OK;
    or_buffer_init(&out);
    for (size_t i = 0; i < run->n && status == ONEROW_OK; i++) {
        add_line(work, run->rows[i], &out);
        if (out.len >= COPY_CHUNK || out.failed) {
            status = push(work, &out);
        }
    }
    if (status == ONEROW_OK && out.len) {
        status = push(work, &out);
    }
    or_buffer_finish(&out);
    return status;
}

/* The answers up to the last; *copied: how many rows went in, or -1 when it failed. */
static enum onerow_status take_answers(struct or_postgres_work *work, long *copied)
{
    PGresult *result = NULL;
    *copied = -1;
    enum onerow_status status = ONEROW_OK;
    while ((status = or_postgres_next(work->store, &result, work->error)) == ONEROW_OK && result) {
        if (PQresultStatus(result) == PGRES_COMMAND_OK) {
            *copied = strtol(PQcmdTuples(result), NULL, 10);
        }
        PQclear(result);
    }
    return status;
}

static enum onerow_status copy_rows(struct or_postgres_work *work,
                                    const struct or_postgres_group *run, long *copied)
{
    PGconn *conn = work->store->conn;
    const char *sql = or_postgres_sql_of(work->table, run->shape, OR_SQL_COPY);
    *copied = -1;
    if (!sql) {
        return or_fail(work->error, ONEROW_NOMEM, "out of memory");
    }
    if (!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0)) {
        return or_postgres_fail(work->store, NULL, "copying", work->error);
    }
    work->store->base.round_trips++;
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_next(work->store, &result, work->error);
    bool started = result && PQresultStatus(result) == PGRES_COPY_IN;
    PQclear(result);
    if (status != ONEROW_OK || !started) { /* not permitted, say: the upsert will tell */
        return status == ONEROW_OK ? take_answers(work, copied) : status;
    }
    status = send_rows(work, run);
    if (status == ONEROW_OK && PQputCopyEnd(conn, NULL) != 1) {
        status = or_postgres_fail(work->store, NULL, "copying", work->error);
    }
    work->store->base.round_trips++;
    return status == ONEROW_OK ? take_answers(work, copied) : status;
}

static enum onerow_status run_plain(struct or_postgres_work *work, const char *first,
                                    const char *second)
{
    struct or_postgres_statement statements[] = {{.sql = first}, {.sql = second}};
    unsigned n = second ? 2 : 1;
    enum onerow_status status = or_postgres_run(work->store, statements, n, NULL, work->error);
    for (unsigned i = 0; i < n && status == ONEROW_OK; i++) {
        PQclear(statements[i].result);
    }
    return status;
}

static enum onerow_status try_copy(struct or_postgres_work *work,
                                   const struct or_postgres_group *run, bool *done)
{
    long copied = -1;
    enum onerow_status status = or_postgres_try_statement(work, run);
    if (status == ONEROW_OK) {
        status = run_plain(work, "SAVEPOINT onerow", NULL);
    }
    if (status == ONEROW_OK) {
        status = copy_rows(work, run, &copied);
    }
    if (status != ONEROW_OK) {
        return status;
    }
    *done = copied >= 0 && (size_t)copied == run->n;
    return *done ? run_plain(work, "RELEASE SAVEPOINT onerow", NULL)
                 : run_plain(work, "ROLLBACK TO SAVEPOINT onerow", "RELEASE SAVEPOINT onerow");
}

/* Whether a row's id is told by the text that was sent for its key. */
static bool id_is_sent(const struct or_postgres_table *table)
{
    enum onerow_type type = table->base.key_types[0];
    return table->id_is_key && (type == ONEROW_TYPE_TEXT || type == ONEROW_TYPE_INT);
}

/* COPY evaluates defaults as INSERT does, but it takes no expression for updated_at, returns no
 * ids, ignores nothing that a trigger swallows, and is refused under row security. */
static bool may_copy(const struct or_postgres_work *work)
{
    const struct or_postgres_table *table = work->table;
    bool ids = table->spec.want_ids && table->id_sql && !id_is_sent(table);
    return table->touch < 0 && !ids && !table->has_insert_triggers && !table->has_row_triggers &&
           !table->has_row_security;
}

/* The id of a row that COPY made is its key, or nobody asked. */
static struct onerow_span key_id(const struct or_postgres_work *work, uint32_t record)
{
    const struct or_postgres_table *table = work->table;
    return table->spec.want_ids && table->id_sql ? work->texts[record][0] : (struct onerow_span){0};
}

enum onerow_status or_postgres_bulk(struct or_postgres_work *work,
                                    const struct or_postgres_group *run, bool *copied)
{
    struct sample sample;
    *copied = false;
    enum onerow_status status = take_sample(work, run, &sample);
    if (status != ONEROW_OK) {
        return status;
    }
    run->shape->unchanged = (double)sample.unchanged / (double)sample.asked;
    if (sample.found || !may_copy(work)) {
        return ONEROW_OK;
    }
    if (run->shape->no_copy) {
        run->shape->no_copy--;
        return ONEROW_OK;
    }
    status = try_copy(work, run, copied);
    run->shape->no_copy = *copied ? 0 : COPY_MISSES;
    for (size_t i = 0; i < run->n && status == ONEROW_OK && *copied; i++) {
        struct onerow_verdict *verdict = &work->verdicts[run->rows[i]];
        verdict->outcome = ONEROW_CREATED;
        verdict->id = key_id(work, run->rows[i]);
    }
    return status;
}
