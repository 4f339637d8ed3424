/* SPDX-License-Identifier: Apache-2.0
 *
 * What PostgreSQL's errors mean for a transaction of our own statements on our own tables: no
 * record of a user's can be at fault.
 */
#include <string.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "postgres/postgres_link_internal.h"

struct sqlstate {
    const char *begins; /* a code, or the class that its first characters name */
    enum onerow_status status;
    const char *advice;
};

/* https://www.postgresql.org/docs/current/errcodes-appendix.html; the first that fits. */
static const struct sqlstate sqlstates[] = {
    {"40", ONEROW_RETRY, NULL},    /* serialization failure, deadlock */
    {"57P01", ONEROW_RETRY, NULL}, /* shutdown, crash, starting up */
    {"57P02", ONEROW_RETRY, NULL},
    {"57P03", ONEROW_RETRY, NULL},
    {"57P05", ONEROW_RETRY, NULL},
    {"08", ONEROW_RETRY, NULL},
    {"25P", ONEROW_RETRY, NULL}, /* the transaction is gone, by a time-out or an error before */
    {"55P03", ONEROW_BUSY, "somebody holds a lock: SELECT * FROM pg_stat_activity"},
    {"57014", ONEROW_BUSY, "cancelled, by statement_timeout or by somebody"},
    {"25006", ONEROW_READONLY,
     "a standby cannot be written; add target_session_attrs=read-write to the URL"},
    {"0A000", ONEROW_READONLY, /* READ WRITE during recovery */
     "a standby cannot be written; add target_session_attrs=read-write to the URL"},
    {"42", ONEROW_CONFIG, NULL},
    {"3F", ONEROW_CONFIG, NULL},
    {"53100", ONEROW_FULL, "make room on the server's disk"},
    {"53200", ONEROW_NOMEM, NULL},
    {"58", ONEROW_IO, NULL},
    {"XX001", ONEROW_CORRUPT, NULL},
    {"XX002", ONEROW_CORRUPT, NULL},
    {"", ONEROW_UNAVAILABLE, NULL},
};

static const struct sqlstate *meaning_of(const char *code)
{
    const struct sqlstate *row = sqlstates;
    while (strncmp(code, row->begins, strlen(row->begins)) != 0) {
        row++;
    }
    return row;
}

static void add_field(struct or_buffer *text, const char *name, const char *value)
{
    if (value) {
        or_buffer_printf(text, "\n  %s: %s", name, value);
    }
}

enum onerow_status or_link_rename(struct onerow_error *error, enum onerow_status status)
{
    if (error) {
        error->status = status;
    }
    return status;
}

enum onerow_status or_link_lost(struct or_link *link, const char *doing, struct onerow_error *error)
{
    struct onerow_span said = or_span_trim(or_span(link->conn ? PQerrorMessage(link->conn) : ""));
    *link->code = '\0';
    or_fail(error, ONEROW_RETRY, "%s: %s: %.*s\n  see whether the server is there, and run again",
            link->shown, doing, said.len ? (int)said.len : (int)strlen("the connection was lost"),
            said.len ? said.data : "the connection was lost");
    or_link_disconnect(link);
    return ONEROW_RETRY;
}

enum onerow_status or_link_fail(struct or_link *link, const PGresult *result, const char *doing,
                                struct onerow_error *error)
{
    const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!code) {
        return or_link_lost(link, doing, error);
    }
    const struct sqlstate *meaning = meaning_of(code);
    enum onerow_status status = meaning->status;
    if (strcmp(code, "57014") == 0 && or_link_stopped(link)) {
        status = ONEROW_INTERRUPTED;
    }
    struct or_buffer text;
    or_buffer_init(&text);
    add_field(&text, "detail", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add_field(&text, "hint", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
    or_fail(error, status, "%s%s\n  %s, SQLSTATE %s, %s%s%s",
            PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), or_buffer_cstr(&text), doing, code,
            link->shown, meaning->advice ? "\n  " : "", meaning->advice ? meaning->advice : "");
    or_buffer_finish(&text);
    memccpy(link->code, code, '\0', sizeof link->code);
    return status;
}
