/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases for people to see, in pages: what is in the caller's hands while the next page is read
 * does not keep a transaction open.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator_postgres_lease.h"

/* A page, and from where on. Names are UTF-8, in which there is no byte 0xff: what begins with a
 * prefix lies before the prefix with that byte behind it. */
struct page {
    const char *sql;
    struct or_link_param params[4];
    unsigned n_params;
    char end[ONEROW_LEASE_NAME_MAX + 1U];
    char past[ONEROW_LEASE_NAME_MAX];
    char number[8];
    PGresult *result; /* the last one */
};

static bool begin_page(struct page *page, struct onerow_span prefix)
{
    if (prefix.len > ONEROW_LEASE_NAME_MAX) {
        return false; /* no name begins like that */
    }
    if (prefix.len) {
        memcpy(page->end, prefix.data, prefix.len);
    }
    page->end[prefix.len] = (char)0xff;
    page->params[0] = or_remote_bytes(prefix);
    page->params[1] = or_remote_bytes((struct onerow_span){page->end, prefix.len + 1});
    return true;
}

static enum onerow_status try_page(struct or_remote *remote, void *context,
                                   struct onerow_error *error)
{
    struct page *page = context;
    struct or_link_statement ask = {
        .sql = page->sql, .params = page->params, .n_params = page->n_params};
    enum onerow_status status = or_link_ask(&remote->link, &ask, 1, error);
    page->result = ask.result;
    return status;
}

static enum onerow_status next_page(struct or_remote *remote, struct page *page,
                                    struct onerow_error *error)
{
    enum onerow_status status = or_remote_lease_ready(remote, error);
    return status == ONEROW_OK ? or_remote_do(remote, try_page, page, error) : status;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static bool visit_leases(struct page *page, onerow_visit_lease *visit, void *context)
{
    const PGresult *result = page->result;
    for (int row = 0; row < PQntuples(result); row++) {
        struct onerow_lease_view view = {
            .name = or_result_bytes(result, row, 0),
            .who = or_result_bytes(result, row, 1),
            .held = or_result_bool(result, row, 2),
            .token = or_result_int8(result, row, 3),
            .since_ms = or_result_int8(result, row, 4),
            .left_ms = or_result_bool(result, row, 2) ? or_result_int8(result, row, 5) : 0,
            .waiters = or_result_int8(result, row, 6)};
        size_t len = view.name.len < sizeof page->past ? view.name.len : sizeof page->past;
        memcpy(page->past, view.name.data, len);
        page->params[2] = or_remote_bytes((struct onerow_span){page->past, len});
        if (!visit(context, &view)) {
            return false;
        }
    }
    return PQntuples(result) > 0;
}

enum onerow_status or_remote_lease_list(struct onerow_coordinator *base, struct onerow_span prefix,
                                        bool free, onerow_visit_lease *visit, void *context,
                                        struct onerow_error *error)
{
    struct page page = {.sql = or_remote_list_sql, .n_params = 4};
    enum onerow_status status = ONEROW_OK;
    bool more = begin_page(&page, prefix);
    or_int8_encode(free, page.number);
    page.params[2] = or_remote_bytes((struct onerow_span){page.past, 0});
    page.params[3] = (struct or_link_param){page.number, OR_LINK_INT8_OID, sizeof page.number};
    while (status == ONEROW_OK && more) {
        status = next_page(or_remote_of(base), &page, error);
        more = status == ONEROW_OK && visit_leases(&page, visit, context);
        PQclear(page.result);
        page.result = NULL;
    }
    return status;
}

/* ---- what was taken away --------------------------------------------------------------------- */

static bool visit_trail(struct page *page, onerow_visit_forced *visit, void *context)
{
    const PGresult *result = page->result;
    for (int row = 0; row < PQntuples(result); row++) {
        struct onerow_lease_forced forced = {.name = or_result_bytes(result, row, 1),
                                             .who = or_result_bytes(result, row, 2),
                                             .by = or_result_bytes(result, row, 3),
                                             .token = or_result_int8(result, row, 4),
                                             .at_ms = or_result_int8(result, row, 5)};
        or_int8_encode(or_result_int8(result, row, 0), page->number);
        if (!visit(context, &forced)) {
            return false;
        }
    }
    return PQntuples(result) > 0;
}

enum onerow_status or_remote_lease_trail(struct onerow_coordinator *base, struct onerow_span prefix,
                                         onerow_visit_forced *visit, void *context,
                                         struct onerow_error *error)
{
    struct page page = {.sql = or_remote_trail_sql, .n_params = 3};
    enum onerow_status status = ONEROW_OK;
    bool more = begin_page(&page, prefix);
    or_int8_encode(INT64_MAX, page.number);
    page.params[2] = (struct or_link_param){page.number, OR_LINK_INT8_OID, sizeof page.number};
    while (status == ONEROW_OK && more) {
        status = next_page(or_remote_of(base), &page, error);
        more = status == ONEROW_OK && visit_trail(&page, visit, context);
        PQclear(page.result);
        page.result = NULL;
    }
    return status;
}
