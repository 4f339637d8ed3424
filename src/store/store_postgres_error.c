/* SPDX-License-Identifier: Apache-2.0
 *
 * What errors of PostgreSQL mean.
 *
 * An SQLSTATE is mapped to a status by the table below; where the code alone is ambiguous, the
 * rest of the message decides whether a record brought it up or the statement no longer fits. No
 * SQLSTATE at all means that the connection was lost.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_session.h"

struct sqlstate {
    const char *begins; /* a code, or the class that its first characters name */
    enum onerow_status status;
    const char *advice;
};

/* https://www.postgresql.org/docs/current/errcodes-appendix.html; the first that fits. */
static const struct sqlstate sqlstates[] = {
    {"40001", ONEROW_RETRY, NULL}, /* serialization failure */
    {"40P01", ONEROW_RETRY, NULL}, /* deadlock */
    {"40", ONEROW_RETRY, NULL},
    {"57P01", ONEROW_RETRY, NULL}, /* shutdown, crash, starting up */
    {"57P02", ONEROW_RETRY, NULL},
    {"57P03", ONEROW_RETRY, NULL},
    {"57P05", ONEROW_RETRY, NULL},
    {"08", ONEROW_RETRY, NULL},
    {"25P", ONEROW_RETRY, NULL}, /* the transaction is gone, by a time-out or an error before */
    {"55P03", ONEROW_BUSY, "somebody holds a lock; see pg_stat_activity, or --wait longer"},
    {"57014", ONEROW_RETRY, "cancelled, by statement_timeout or by somebody"},
    {"23505", ONEROW_CLASH, NULL},
    {"25006", ONEROW_READONLY,
     "a standby cannot be written; add target_session_attrs=read-write to the URL"},
    {"42501", ONEROW_CONFIG, "grant the privilege to this role"},
    {"42", ONEROW_CONFIG, "the table may have changed; onerow check says what it finds now"},
    {"0A", ONEROW_REJECTED, NULL},
    {"55", ONEROW_CONFIG, NULL},
    {"3D", ONEROW_UNAVAILABLE, NULL},
    {"3F", ONEROW_CONFIG, NULL},
    {"53100", ONEROW_FULL, "make room on the server's disk, and run again"},
    {"53", ONEROW_UNAVAILABLE, NULL},
    {"58", ONEROW_IO, NULL},
    {"XX001", ONEROW_CORRUPT, NULL},
    {"XX002", ONEROW_CORRUPT, NULL},
    /* Whatever is left came up while a record was being written: 22 (data), 23 (constraints), 44,
     * P0 (RAISE in a trigger), 54 (too large) and codes of users' own. A fault that is not in the
     * records shows itself as each of them being rejected, with this message. */
    {"", ONEROW_REJECTED, NULL},
};

/* Errors that say that the statement and the table no longer fit, unless a record brought them up:
 * an input function that looks something up (regclass), one with a grammar of its own (tsquery), or
 * a trigger that raises what it likes. The parser and the planner point at the statement's text. */
static bool may_be_a_record(const PGresult *result, const char *code)
{
    bool ambiguous = strncmp(code, "42", 2) == 0 || strncmp(code, "0A", 2) == 0 ||
                     (strncmp(code, "55", 2) == 0 && strcmp(code, "55P03") != 0);
    bool ours = strcmp(code, "42501") == 0 || strcmp(code, "42P10") == 0 ||
                PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION) != NULL;
    return ambiguous && (!ours || PQresultErrorField(result, PG_DIAG_CONTEXT) != NULL);
}

static const struct sqlstate *meaning_of(const char *code)
{
    const struct sqlstate *row = sqlstates;
    while (strncmp(code, row->begins, strlen(row->begins)) != 0) {
        row++;
    }
    return row;
}

/* libpq's message without what it puts in front and behind. */
static void add_message(struct or_buffer *text, const char *message)
{
    struct onerow_span trimmed = or_span_trim(or_span(message ? message : ""));
    or_buffer_span(text, trimmed.len ? trimmed : OR_SPAN("the connection was lost"));
}

static void add_field(struct or_buffer *text, const char *name, const char *value)
{
    if (value) {
        or_buffer_printf(text, "\n  %s: %s", name, value);
    }
}

enum onerow_status or_postgres_rename_failure(struct onerow_error *error, enum onerow_status status)
{
    if (error) {
        error->status = status;
    }
    return status;
}

enum onerow_status or_postgres_lost(struct or_postgres_store *store, const char *doing,
                                    struct onerow_error *error)
{
    struct or_buffer text;
    or_buffer_init(&text);
    add_message(&text, store->conn ? PQerrorMessage(store->conn) : NULL);
    enum onerow_status status =
        store->stage == OR_POSTGRES_IDLE ? ONEROW_UNAVAILABLE : ONEROW_RETRY;
    or_fail(error, status, "%s: %s: %s\n  see whether the server is there, and run again",
            store->shown, doing, or_buffer_cstr(&text));
    or_buffer_finish(&text);
    or_postgres_disconnect(store);
    return status;
}

enum onerow_status or_postgres_fail(struct or_postgres_store *store, const PGresult *result,
                                    const char *doing, struct onerow_error *error)
{
    const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!code) {
        return or_postgres_lost(store, doing, error);
    }
    const struct sqlstate *meaning = meaning_of(code);
    enum onerow_status status = meaning->status;
    const char *advice = meaning->advice;
    if (strcmp(code, "42501") == 0 && store->has_row_security) {
        status = ONEROW_REJECTED;
        advice = NULL;
    }
    if (may_be_a_record(result, code)) {
        status = ONEROW_REJECTED;
        store->suspect = true;
        advice = NULL;
    }
    if (strcmp(code, "57014") == 0 && or_postgres_stopped(store)) {
        status = ONEROW_INTERRUPTED;
        advice = NULL;
    }
    struct or_buffer text;
    or_buffer_init(&text);
    add_message(&text, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    add_field(&text, "detail", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add_field(&text, "hint", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
    add_field(&text, "where", PQresultErrorField(result, PG_DIAG_CONTEXT));
    or_buffer_printf(&text, "\n  %s, SQLSTATE %s, %s%s%s", doing, code, store->shown,
                     advice ? "\n  " : "", advice ? advice : "");
    or_fail(error, status, "%s", or_buffer_cstr(&text));
    or_buffer_finish(&text);
    return status;
}

bool or_postgres_is_answer(const PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK || kind == PGRES_EMPTY_QUERY;
}
