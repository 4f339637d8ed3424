/* SPDX-License-Identifier: Apache-2.0
 *
 * COPY … FROM STDIN of a run of records, in its text format (PostgreSQL's documentation, COPY, File
 * Formats).
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_write.h"

#define COPY_CHUNK (64U * 1024U)
#define AHEAD      8U /* records */

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* How many bytes from there on are surely copied as they are: eight at a time. */
static size_t plain_bytes(const char *data, size_t len)
{
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= len; at += sizeof(uint64_t)) {
        uint64_t bytes;
        memcpy(&bytes, data + at, sizeof bytes);
        uint64_t backslash = bytes ^ EACH_BYTE('\\');
        uint64_t low = (bytes - EACH_BYTE(' ')) & ~bytes;
        uint64_t zero = (backslash - EACH_BYTE(1)) & ~backslash;
        if ((low | zero) & EACH_BYTE(0x80)) {
            break;
        }
    }
    return at;
}

static char escape_of(char byte)
{
    switch (byte) {
    case '\\': return '\\';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return '\0';
    }
}

static void add_field(struct or_buffer *out, struct onerow_span text)
{
    if (!text.data) {
        or_buffer_text(out, "\\N");
        return;
    }
    size_t from = 0;
    for (size_t i = plain_bytes(text.data, text.len); i < text.len; i++) {
        char escape = escape_of(text.data[i]);
        if (escape) {
            or_buffer_add(out, text.data + from, i - from);
            or_buffer_char(out, '\\');
            or_buffer_char(out, escape);
            from = i + 1;
            i += plain_bytes(text.data + from, text.len - from);
        }
    }
    or_buffer_add(out, text.data + from, text.len - from);
}

/* The texts of sorted records lie scattered in memory: those that come next are fetched meanwhile.
 */
static void fetch_ahead(const struct or_postgres_work *work, const struct or_postgres_group *run,
                        size_t at)
{
    if (at + AHEAD < run->n) {
        uint32_t record = run->rows[at + AHEAD];
        for (unsigned i = 0; i < work->records[record]->n_values; i++) {
            __builtin_prefetch(work->texts[record][i].data);
        }
    }
}

/* `number`: from 1, as the last field; 0: none. */
static void add_line(struct or_postgres_work *work, uint32_t record, size_t number,
                     struct or_buffer *out)
{
    for (unsigned i = 0; i < work->records[record]->n_values; i++) {
        if (i) {
            or_buffer_char(out, '\t');
        }
        add_field(out, work->texts[record][i]);
    }
    if (number) {
        or_buffer_printf(out, "\t%zu", number);
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
                                    const struct or_postgres_group *run, bool numbered)
{
    struct or_buffer out;
    enum onerow_status status = ONEROW_OK;
    or_buffer_init(&out);
    for (size_t i = 0; i < run->n && status == ONEROW_OK; i++) {
        fetch_ahead(work, run, i);
        add_line(work, run->rows[i], numbered ? i + 1 : 0, &out);
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

enum onerow_status or_postgres_copy(struct or_postgres_work *work,
                                    const struct or_postgres_group *run, enum or_postgres_sql kind,
                                    long *copied)
{
    PGconn *conn = work->store->conn;
    const char *sql = or_postgres_sql_of(work->table, run->shape, kind);
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
    status = send_rows(work, run, kind == OR_SQL_STAGE_COPY);
    if (status == ONEROW_OK && PQputCopyEnd(conn, NULL) != 1) {
        status = or_postgres_fail(work->store, NULL, "copying", work->error);
    }
    work->store->base.round_trips++;
    return status == ONEROW_OK ? take_answers(work, copied) : status;
}
