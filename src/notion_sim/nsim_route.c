/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths, and the versions in which Notion has them. A path of another version is answered like one
 * that does not exist, as Notion does it; one that Notion has and the simulator lacks says so.
 */
#include <stdio.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define NOW OR_NSIM_2026
#define OLD OR_NSIM_2022

static const struct or_nsim_route routes[] = {
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/users/me", or_nsim_user_me, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/users", or_nsim_user_list, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/users/{id}", or_nsim_user_get, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_QUERY, "/v1/search", or_nsim_search, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_CREATE, "/v1/pages", or_nsim_page_create, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/pages/{id}", or_nsim_page_get, OLD, NOW},
    {OR_NSIM_PATCH, OR_NSIM_WRITE, "/v1/pages/{id}", or_nsim_page_update, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/pages/{id}/properties/{id}", or_nsim_page_property, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_CREATE, "/v1/databases", or_nsim_database_create, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/databases/{id}", or_nsim_database_get, OLD, NOW},
    {OR_NSIM_PATCH, OR_NSIM_WRITE, "/v1/databases/{id}", or_nsim_database_update, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_QUERY, "/v1/databases/{id}/query", or_nsim_database_query, OLD, OLD},
    {OR_NSIM_POST, OR_NSIM_CREATE, "/v1/data_sources", or_nsim_source_create, OR_NSIM_2025, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/data_sources/{id}", or_nsim_source_get, OR_NSIM_2025, NOW},
    {OR_NSIM_PATCH, OR_NSIM_WRITE, "/v1/data_sources/{id}", or_nsim_source_update, OR_NSIM_2025,
     NOW},
    {OR_NSIM_POST, OR_NSIM_QUERY, "/v1/data_sources/{id}/query", or_nsim_source_query, OR_NSIM_2025,
     NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/blocks/{id}/children", or_nsim_children_get, OLD, NOW},
    {OR_NSIM_PATCH, OR_NSIM_APPEND, "/v1/blocks/{id}/children", or_nsim_children_append, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/blocks/{id}", or_nsim_block_get, OLD, NOW},
    {OR_NSIM_PATCH, OR_NSIM_WRITE, "/v1/blocks/{id}", or_nsim_block_update, OLD, NOW},
    {OR_NSIM_DELETE, OR_NSIM_WRITE, "/v1/blocks/{id}", or_nsim_block_delete, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/async_tasks/{id}", or_nsim_task_get, OR_NSIM_2025, NOW},
    /* Notion has these; here they are refused by name. */
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/comments", NULL, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_WRITE, "/v1/comments", NULL, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_WRITE, "/v1/pages/{id}/move", NULL, OR_NSIM_2025, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/pages/{id}/markdown", NULL, OR_NSIM_2025, NOW},
    {OR_NSIM_PATCH, OR_NSIM_WRITE, "/v1/pages/{id}/markdown", NULL, OR_NSIM_2025, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/data_sources/{id}/templates", NULL, OR_NSIM_2025, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/file_uploads", NULL, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_WRITE, "/v1/file_uploads", NULL, OLD, NOW},
    {OR_NSIM_GET, OR_NSIM_READ, "/v1/file_uploads/{id}", NULL, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_WRITE, "/v1/file_uploads/{id}/send", NULL, OLD, NOW},
    {OR_NSIM_POST, OR_NSIM_WRITE, "/v1/file_uploads/{id}/complete", NULL, OLD, NOW},
};

#define ROUTES (sizeof routes / sizeof *routes)

static struct onerow_span segment(struct onerow_span *path)
{
    const char *start = path->len && path->data[0] == '/' ? path->data + 1 : path->data;
    size_t left = path->len - (size_t)(start - path->data);
    const char *end = left ? memchr(start, '/', left) : NULL;
    size_t len = end ? (size_t)(end - start) : left;
    *path = (struct onerow_span){start + len, left - len};
    return (struct onerow_span){start, len};
}

static bool path_matches(struct onerow_span path, const char *pattern, struct onerow_span args[2])
{
    struct onerow_span shape = or_span(pattern);
    unsigned n = 0;
    while (shape.len) {
        struct onerow_span wanted = segment(&shape);
        struct onerow_span given = segment(&path);
        if (or_span_is(wanted, "{id}") && given.len && n < 2) {
            args[n++] = given;
        } else if (!or_span_equal(wanted, given)) {
            return false;
        }
    }
    return path.len == 0;
}

bool or_nsim_route(struct or_nsim_call *call)
{
    struct onerow_span path = call->path;
    if (path.len > 1 && path.data[path.len - 1] == '/') {
        path.len--;
    }
    for (size_t i = 0; i < ROUTES; i++) {
        const struct or_nsim_route *route = &routes[i];
        if (route->method != call->method || call->api < route->from || call->api > route->until ||
            !path_matches(path, route->path, call->args)) {
            continue;
        }
        if (!route->run) {
            return or_nsim_fail(call, OR_NSIM_INVALID_REQUEST,
                                "Unsupported request: %s %s is not simulated.", call->method_text,
                                route->path);
        }
        call->route = route;
        return true;
    }
    return or_nsim_fail_plain(call, OR_NSIM_INVALID_URL);
}

void or_nsim_routes_show(struct or_buffer *out)
{
    static const char *const methods[] = {"GET", "POST", "PATCH", "DELETE", ""};
    static const char *const versions[] = {"2022-06-28", "2025-09-03", "2026-03-11"};
    or_buffer_char(out, '[');
    for (size_t i = 0; i < ROUTES; i++) {
        or_buffer_printf(out,
                         "%s{\"method\":\"%s\",\"path\":\"%s\",\"from\":\"%s\",\"until\":\"%s\","
                         "\"simulated\":%s}",
                         i ? "," : "", methods[routes[i].method], routes[i].path,
                         versions[routes[i].from], versions[routes[i].until],
                         routes[i].run ? "true" : "false");
    }
    or_buffer_char(out, ']');
}
