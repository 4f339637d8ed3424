/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow lease list`: who holds what, and what was taken away by force.
 */
#include <stdio.h>

#include "base/status.h"
#include "base/text.h"
#include "cli/lease.h"
#include "cli/lease_show.h"

#define CELLS_MAX 6U

struct list {
    struct or_lease_where where;
    const char *prefix;
    bool all;
    bool forced;
    bool json;
    struct or_cli_grid *grid;
    struct or_buffer cells[CELLS_MAX];
};

/* ---- options --------------------------------------------------------------------------------- */

enum { OPT_ALL = 0x200, OPT_FORCED, OPT_JSON };

static const struct argp_option options[] = {
    {"all", OPT_ALL, 0, 0, "those that nobody holds or waits for, too", 1},
    {"forced", OPT_FORCED, 0, 0, "what was taken away by force: from whom, by whom, when", 1},
    {"json", OPT_JSON, 0, 0, "answer in JSON, one object a line", 1},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct list *list = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &list->where; return 0;
    case OPT_ALL: list->all = true; return 0;
    case OPT_FORCED: list->forced = true; return 0;
    case OPT_JSON: list->json = true; return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num) {
            argp_usage(state);
        }
        list->prefix = value;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&or_lease_where_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[PREFIX]",
    .doc = "Shows the leases that are held or waited for, of those whose names begin with PREFIX.",
    .children = children};

/* ---- rows -------------------------------------------------------------------------------------
 */

static void clear(struct list *list)
{
    for (size_t i = 0; i < CELLS_MAX; i++) {
        or_buffer_clear(&list->cells[i]);
    }
}

/* The grid is made for the first row: without one there is none. */
static void add_row(struct list *list, const char *const *headings)
{
    const char *cells[CELLS_MAX];
    for (size_t i = 0; i < CELLS_MAX; i++) {
        cells[i] = or_buffer_cstr(&list->cells[i]);
    }
    list->grid = list->grid ? list->grid : or_cli_grid_open(headings);
    or_cli_grid_row(list->grid, cells);
}

static void add_lease_row(struct list *list, const struct onerow_lease_view *view)
{
    static const char *const headings[] = {"NAME", "TOKEN",   "HOLDER", "SINCE",
                                           "LEFT", "WAITERS", NULL};
    struct or_buffer *cells = list->cells;
    or_lease_add_plain(&cells[0], view->name);
    or_buffer_printf(&cells[1], "%llu", (unsigned long long)view->token);
    or_buffer_printf(&cells[5], "%llu", (unsigned long long)view->waiters);
    if (view->held) {
        or_lease_add_who(&cells[2], view->who);
        or_lease_add_time(&cells[3], view->since_ms);
        or_lease_add_span(&cells[4], view->left_ms);
    } else {
        or_buffer_text(&cells[2], "-");
        or_buffer_text(&cells[3], "-");
        or_buffer_text(&cells[4], "-");
    }
    add_row(list, headings);
}

/* `who` is of the last one who held it. */
static void print_lease(struct list *list, const struct onerow_lease_view *view)
{
    struct or_buffer *json = &list->cells[0];
    or_buffer_text(json, "{\"name\":");
    or_buffer_json(json, view->name);
    or_buffer_printf(json, ",\"held\":%s,\"token\":%llu,\"who\":", view->held ? "true" : "false",
                     (unsigned long long)view->token);
    or_lease_add_who_json(json, view->who);
    or_buffer_text(json, ",\"since\":\"");
    or_lease_add_time(json, view->since_ms);
    or_buffer_printf(json, "\",\"left_ms\":%llu,\"waiters\":%llu}",
                     (unsigned long long)view->left_ms, (unsigned long long)view->waiters);
    puts(or_buffer_cstr(json));
}

static bool list_lease(void *context, const struct onerow_lease_view *view)
{
    struct list *list = context;
    clear(list);
    (list->json ? print_lease : add_lease_row)(list, view);
    return true;
}

static void add_forced_row(struct list *list, const struct onerow_lease_forced *forced)
{
    static const char *const headings[] = {"WHEN", "NAME", "TOKEN", "TAKEN FROM", "BY", NULL};
    struct or_buffer *cells = list->cells;
    or_lease_add_time(&cells[0], forced->at_ms);
    or_lease_add_plain(&cells[1], forced->name);
    or_buffer_printf(&cells[2], "%llu", (unsigned long long)forced->token);
    or_lease_add_who(&cells[3], forced->who);
    or_lease_add_plain(&cells[4], forced->by);
    add_row(list, headings);
}

static void print_forced(struct list *list, const struct onerow_lease_forced *forced)
{
    struct or_buffer *json = &list->cells[0];
    or_lease_add_forced_json(json, forced);
    puts(or_buffer_cstr(json));
}

static bool list_forced(void *context, const struct onerow_lease_forced *forced)
{
    struct list *list = context;
    clear(list);
    (list->json ? print_forced : add_forced_row)(list, forced);
    return true;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static enum onerow_status show(struct list *list, struct onerow_error *error)
{
    struct or_lease_desk *desk = NULL;
    struct onerow_span prefix = or_span(list->prefix ? list->prefix : "");
    enum onerow_status status = or_lease_desk_open(list->where.url, &desk, error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = list->forced ? or_lease_desk_trail(desk, prefix, list_forced, list, error)
                          : or_lease_desk_list(desk, prefix, list->all, list_lease, list, error);
    or_lease_desk_close(desk);
    bool empty = !list->grid;
    or_cli_grid_print(list->grid);
    if (status == ONEROW_OK && empty && !list->json) {
        puts(list->forced ? "nothing was taken away" : "no leases");
    }
    return status;
}

int or_lease_list(int argc, char **argv)
{
    struct list list = {0};
    struct onerow_error error = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &list);
    for (size_t i = 0; i < CELLS_MAX; i++) {
        or_buffer_init(&list.cells[i]);
    }
    enum onerow_status status = or_lease_find(&list.where, &error);
    status = status == ONEROW_OK ? show(&list, &error) : status;
    for (size_t i = 0; i < CELLS_MAX; i++) {
        or_buffer_finish(&list.cells[i]);
    }
    or_lease_where_finish(&list.where);
    return or_cli_end(status, &error);
}
