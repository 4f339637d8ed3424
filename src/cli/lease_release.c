/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow lease release --force`: takes a lease away from whoever holds it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"
#include "base/text.h"
#include "cli/lease.h"
#include "cli/lease_show.h"

struct release {
    struct or_lease_where where;
    const char *name;
    const char *by;
    const char *table;
    const char *scope;
    bool force;
    bool json;
};

/* ---- options --------------------------------------------------------------------------------- */

enum { OPT_FORCE = 0x200, OPT_BY, OPT_TABLE, OPT_SCOPE, OPT_JSON };

static const struct argp_option options[] = {
    {"force", OPT_FORCE, 0, 0, "take it away from its holder", 1},
    {"by", OPT_BY, "TEXT", 0, "who does it, and why (default: this user, host and process)", 1},
    {"json", OPT_JSON, 0, 0, "answer in JSON", 1},
    {"table", OPT_TABLE, "NAME", OPTION_HIDDEN, 0, 1},
    {"scope", OPT_SCOPE, "VALUE", OPTION_HIDDEN, 0, 1},
    {0},
};

static const char doc[] =
    "Takes the lease NAME away from whoever holds it, and hands it to the first in line. Its "
    "holder "
    "notices at its next renewal, and what it runs goes on until then: only what checks the token "
    "is safe from it. What was taken away, from whom and by whom is kept: onerow lease list "
    "--forced."
    "\vExit codes: 0 it was taken away; 1 nobody held it; 64 usage; 69 the coordinator is "
    "unavailable; 78 configuration.";

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct release *release = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &release->where; return 0;
    case OPT_FORCE: release->force = true; return 0;
    case OPT_BY: release->by = value; return 0;
    case OPT_TABLE: release->table = value; return 0;
    case OPT_SCOPE: release->scope = value; return 0;
    case OPT_JSON: release->json = true; return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num) {
            argp_usage(state);
        }
        release->name = value;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&or_lease_where_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {.options = options,
                                 .parser = parse,
                                 .args_doc = "--force NAME",
                                 .doc = doc,
                                 .children = children};

static enum onerow_status check(const struct release *release, struct onerow_error *error)
{
    if (release->table || release->scope) {
        return or_fail(error, ONEROW_USAGE,
                       "--table and --scope name the lease of a merge, which this version does not "
                       "have; name the lease itself\n  onerow lease list shows the names");
    }
    if (!release->name) {
        return or_fail(error, ONEROW_USAGE, "which NAME?\n  onerow lease list shows them");
    }
    if (!release->force) {
        return or_fail(error, ONEROW_USAGE,
                       "a lease is its holder's to release: end the command that runs under it\n"
                       "  to take it away all the same, while that may go on: onerow lease release "
                       "--force NAME");
    }
    if (release->by && !or_utf8_valid(or_span(release->by), NULL)) {
        return or_fail(error, ONEROW_USAGE, "--by: not UTF-8");
    }
    return ONEROW_OK;
}

/* ---- taking it away ---------------------------------------------------------------------------
 */

static void add_ourselves(struct or_buffer *text)
{
    char host[256] = "";
    const char *user = getenv("USER");
    (void)gethostname(host, sizeof host - 1);
    or_buffer_printf(text, "%s@%s, uid %ld, pid %ld", user && *user ? user : "?", host,
                     (long)getuid(), (long)getpid());
}

static void tell(const struct release *release, const struct onerow_lease_forced *forced)
{
    struct or_buffer text;
    or_buffer_init(&text);
    if (release->json) {
        or_lease_add_forced_json(&text, forced);
    } else {
        or_lease_add_plain(&text, forced->name);
        or_buffer_printf(&text, ": token %llu was taken from ", (unsigned long long)forced->token);
        or_lease_add_who(&text, forced->who);
    }
    puts(or_buffer_cstr(&text));
    or_buffer_finish(&text);
}

static enum onerow_status take_away(const struct release *release, struct onerow_error *error)
{
    struct or_lease_desk *desk = NULL;
    struct or_arena arena;
    struct or_buffer by;
    enum onerow_status status = or_lease_desk_open(release->where.url, &desk, error);
    if (status != ONEROW_OK) {
        return status;
    }
    or_arena_init(&arena);
    or_buffer_init(&by);
    if (release->by) {
        or_lease_add_plain(&by, or_span(release->by));
    } else {
        add_ourselves(&by);
    }
    struct onerow_lease_forced forced = {
        .name = or_span(release->name),
        .by = or_span_cut(or_buffer_view(&by), ONEROW_LEASE_WHO_MAX)};
    status = or_lease_desk_force(desk, &forced, &arena, error);
    if (status == ONEROW_OK) {
        tell(release, &forced);
    } else if (status == ONEROW_ABSENT) {
        or_lease_say("%s: nobody holds it", release->name);
    }
    or_buffer_finish(&by);
    or_arena_finish(&arena);
    or_lease_desk_close(desk);
    return status;
}

int or_lease_release_by_force(int argc, char **argv)
{
    struct release release = {0};
    struct onerow_error error = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &release);
    enum onerow_status status = check(&release, &error);
    status = status == ONEROW_OK ? or_lease_find(&release.where, &error) : status;
    status = status == ONEROW_OK ? take_away(&release, &error) : status;
    or_lease_where_finish(&release.where);
    return or_cli_end(status, &error);
}
