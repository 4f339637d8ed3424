/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "version.h"

struct status_row {
    const char *name;
    const char *text;
    int exit;
};

static const struct status_row STATUSES[] = {
#define STATUS_ROW(name, code, exit, text) [code] = {#name, (text), (exit)},
    ONEROW_STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

static const char *const OUTCOMES[] = {"pending",
#define OUTCOME_ROW(name, code, text) [code] = (text),
                                       ONEROW_OUTCOME_MAP(OUTCOME_ROW)
#undef OUTCOME_ROW
};

static const struct status_row *row_of(enum onerow_status status)
{
    static const struct status_row unlisted = {"UNLISTED", "a status this version does not know",
                                               69};
    size_t count = sizeof STATUSES / sizeof *STATUSES;
    return (size_t)status < count ? &STATUSES[status] : &unlisted;
}

const char *onerow_status_name(enum onerow_status status)
{
    return row_of(status)->name;
}

const char *onerow_status_text(enum onerow_status status)
{
    return row_of(status)->text;
}

int onerow_status_exit(enum onerow_status status)
{
    return row_of(status)->exit;
}

const char *onerow_outcome_name(enum onerow_outcome outcome)
{
    size_t count = sizeof OUTCOMES / sizeof *OUTCOMES;
    return (size_t)outcome < count ? OUTCOMES[outcome] : "pending";
}

const char *onerow_version(void)
{
    return OR_VERSION;
}

enum onerow_status or_fail(struct onerow_error *error, enum onerow_status status,
                           const char *format, ...)
{
    if (!error) {
        return status;
    }
    error->status = status;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (len >= (int)sizeof error->text) {
        static const char more[] = "…";
        size_t room = sizeof error->text - sizeof more;
        size_t end =
            or_span_cut((struct onerow_span){error->text, sizeof error->text - 1}, room).len;
        memcpy(error->text + end, more, sizeof more);
    }
    return status;
}

/* How loudly a status speaks when several apply: by its exit code, and among those of one code,
 * what ends a batch or leaves a doubt before what concerns single records and leaves none. */
static int rank(enum onerow_status status)
{
    static const int order[] = {0, 1, 64, 65, 75, 69, 78};
    int code = onerow_status_exit(status);
    int at = 0;
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++) {
        if (order[i] == code) {
            at = i;
        }
    }
    bool louder = status == ONEROW_UNKNOWN || status == ONEROW_BUSY || status == ONEROW_INTERRUPTED;
    return 2 * at + louder;
}

enum onerow_status or_status_worse(enum onerow_status a, enum onerow_status b)
{
    return rank(b) > rank(a) ? b : a;
}
