/* SPDX-License-Identifier: Apache-2.0
 *
 * A workspace from a file, in the words of the API:
 *
 *   {"workspace": NAME,
 *    "tokens": [{"token": SECRET, "name": NAME, "capabilities": ["read", "insert", "update"]}],
 *    "pages": [{"id": ID, "title": TEXT}],
 *    "databases": [{"id": ID, "title": TEXT, "page": ID,
 *      "data_sources": [{"id": ID, "name": TEXT, "key": PROPERTY, "properties": {…},
 *        "rows": [{"id": ID, "properties": {…}}]}]}]}
 *
 * Every id may be left out, and so may everything else; "properties" are those of the API. A
 * relation may lead to any data source of the file, a row's to any row before it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "notion_sim/nsim_call.h"

/* A data source that is there already, so that a relation may lead to it, and what it will be. */
struct promised {
    struct or_nsim_source *source;
    yyjson_val *given;
};

struct setup {
    struct or_nsim_call call; /* carries what the API's own readers want */
    struct onerow_error *error;
    struct promised *sources;
    size_t n_sources;
    size_t room;
};

static enum onerow_status fail(struct setup *setup, const char *what, const char *reason)
{
    return or_fail(setup->error, ONEROW_USAGE, "--setup: %s: %s", what, reason);
}

/* The API's reader refused something; its message is in the answer. */
static enum onerow_status refused(struct setup *setup, const char *what)
{
    yyjson_doc *doc = yyjson_read(or_buffer_cstr(&setup->call.out), setup->call.out.len, 0);
    const char *message = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "message"));
    enum onerow_status status = fail(setup, what, message ? message : "refused");
    yyjson_doc_free(doc);
    return status;
}

/* An object with the id that the file gives, or an empty one for a new id. */
static enum onerow_status begin(struct setup *setup, yyjson_val *given,
                                struct or_nsim_object *parent, struct or_nsim_object *o)
{
    struct or_nsim_call *call = &setup->call;
    yyjson_val *id = yyjson_obj_get(given, "id");
    *o = (struct or_nsim_object){.parent = parent,
                                 .created_ms = call->now_ms,
                                 .edited_ms = call->now_ms,
                                 .created_by = call->token,
                                 .edited_by = call->token};
    if (id && (!yyjson_is_str(id) || !or_nsim_read_id(or_nsim_string(id), o->id))) {
        return fail(setup, "id", "is no UUID");
    }
    return id && or_nsim_find(&call->sim->model, o->id) ? fail(setup, o->id, "is given twice")
                                                        : ONEROW_OK;
}

/* ---- tokens, pages ------------------------------------------------------------------------- */

static enum onerow_status add_token(struct setup *setup, yyjson_val *given)
{
    static const char *const names[] = {"read", "insert", "update"};
    yyjson_val *secret = yyjson_obj_get(given, "token");
    yyjson_val *capabilities = yyjson_obj_get(given, "capabilities");
    yyjson_val *capability;
    size_t i;
    size_t n;
    unsigned can = capabilities ? 0 : OR_NSIM_CAN_ALL;
    if (!or_nsim_string(secret).len) {
        return fail(setup, "tokens", "each has a \"token\"");
    }
    yyjson_arr_foreach(capabilities, i, n, capability)
    {
        for (unsigned k = 0; k < 3; k++) {
            can |= or_span_is(or_nsim_string(capability), names[k]) ? 1U << k : 0;
        }
    }
    struct or_nsim_token *token =
        or_nsim_add_token(setup->call.sim, yyjson_get_str(secret),
                          yyjson_get_str(yyjson_obj_get(given, "name")), can);
    token->can = can;
    return ONEROW_OK;
}

static enum onerow_status add_page(struct setup *setup, yyjson_val *given)
{
    struct or_nsim_model *model = &setup->call.sim->model;
    struct or_nsim_object o;
    yyjson_val *title = yyjson_obj_get(given, "title");
    enum onerow_status status = begin(setup, given, NULL, &o);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_nsim_version *version = or_nsim_version_new(NULL, model->plain->n_slots);
    or_nsim_version_set(version, or_nsim_title_of(model->plain),
                        or_nsim_plain_value(or_nsim_string(title)));
    (void)or_nsim_add_page(model, &o, model->plain, version);
    return ONEROW_OK;
}

/* ---- databases ----------------------------------------------------------------------------- */

static enum onerow_status add_row(struct setup *setup, struct or_nsim_source *source,
                                  yyjson_val *given)
{
    struct or_nsim_call *call = &setup->call;
    struct or_nsim_object o;
    struct or_nsim_writing writing = {.source = source};
    yyjson_val *properties = yyjson_obj_get(given, "properties");
    enum onerow_status status = begin(setup, given, &source->o, &o);
    if (status != ONEROW_OK) {
        return status;
    }
    writing.version = or_nsim_version_new(NULL, source->n_slots);
    if (properties && !or_nsim_read_properties(call, properties, &writing)) {
        or_nsim_version_free(writing.version);
        return refused(setup, "rows");
    }
    or_nsim_options_commit(call, &writing);
    (void)or_nsim_add_page(&call->sim->model, &o, source, writing.version);
    return ONEROW_OK;
}

static enum onerow_status add_rows(struct setup *setup, const struct promised *promised)
{
    enum onerow_status status = ONEROW_OK;
    yyjson_val *row;
    size_t i;
    size_t n;
    yyjson_arr_foreach(yyjson_obj_get(promised->given, "rows"), i, n, row)
    {
        status = status == ONEROW_OK ? add_row(setup, promised->source, row) : status;
    }
    return status;
}

static enum onerow_status add_schema(struct setup *setup, const struct promised *promised)
{
    struct or_nsim_call *call = &setup->call;
    struct or_nsim_source *source = promised->source;
    yyjson_val *properties = yyjson_obj_get(promised->given, "properties");
    yyjson_val *key = yyjson_obj_get(promised->given, "key");
    if (properties && !or_nsim_schema_check(call, properties, NULL)) {
        return refused(setup, "properties");
    }
    if (properties) {
        or_nsim_schema_apply(call, properties, source);
    } else {
        (void)or_nsim_add_property(&call->sim->model, source, "Name", OR_NSIM_TITLE);
    }
    if (key && (!yyjson_is_str(key) || !or_nsim_property_of(source, or_nsim_string(key)))) {
        return fail(setup, "key", "is no property of the data source");
    }
    source->key_name = key ? or_nsim_copy(or_nsim_string(key)) : NULL;
    return ONEROW_OK;
}

static enum onerow_status add_source(struct setup *setup, struct or_nsim_database *database,
                                     yyjson_val *given)
{
    struct or_nsim_object o;
    struct or_buffer title;
    yyjson_val *name = yyjson_obj_get(given, "name");
    enum onerow_status status = begin(setup, given, &database->o, &o);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_nsim_source *source = or_nsim_add_source(&setup->call.sim->model, &o);
    or_buffer_init(&title);
    source->name =
        or_nsim_copy(yyjson_is_str(name) ? or_nsim_string(name) : or_span(database->name));
    or_nsim_show_plain(&title, source->name);
    source->title = or_nsim_steal(&title);
    const struct promised promised = {source, given};
    OR_NSIM_PUSH(setup->sources, setup->n_sources, setup->room, promised);
    return ONEROW_OK;
}

static enum onerow_status add_database(struct setup *setup, yyjson_val *given)
{
    struct or_nsim *sim = setup->call.sim;
    struct or_nsim_object o;
    char id[OR_NSIM_ID];
    yyjson_val *title = yyjson_obj_get(given, "title");
    yyjson_val *page = yyjson_obj_get(given, "page");
    yyjson_val *sources = yyjson_obj_get(given, "data_sources");
    struct or_nsim_object *parent = &sim->root->o;
    if (page) {
        parent = yyjson_is_str(page) && or_nsim_read_id(or_nsim_string(page), id)
                     ? or_nsim_find(&sim->model, id)
                     : NULL;
    }
    if (!parent || parent->kind != OR_NSIM_PAGE) {
        return fail(setup, "page", "is no page of this file");
    }
    enum onerow_status status = begin(setup, given, parent, &o);
    if (status != ONEROW_OK) {
        return status;
    }
    if (!yyjson_arr_size(sources)) {
        return fail(setup, "databases", "each has \"data_sources\", at least one");
    }
    struct or_nsim_database *database = or_nsim_add_database(&sim->model, &o);
    struct or_buffer shown;
    or_buffer_init(&shown);
    database->name =
        or_nsim_copy(yyjson_is_str(title) ? or_nsim_string(title) : OR_SPAN("Database"));
    or_nsim_show_plain(&shown, database->name);
    database->title = or_nsim_steal(&shown);
    yyjson_val *source;
    size_t i;
    size_t n;
    yyjson_arr_foreach(sources, i, n, source)
    {
        status = status == ONEROW_OK ? add_source(setup, database, source) : status;
    }
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

static enum onerow_status add_all(struct setup *setup, const char *name,
                                  enum onerow_status (*add)(struct setup *, yyjson_val *))
{
    yyjson_val *list = yyjson_obj_get(setup->call.json, name);
    enum onerow_status status = ONEROW_OK;
    yyjson_val *item;
    size_t i;
    size_t n;
    if (list && !yyjson_is_arr(list)) {
        return fail(setup, name, "is no array");
    }
    yyjson_arr_foreach(list, i, n, item)
    {
        status = status == ONEROW_OK ? add(setup, item) : status;
    }
    return status;
}

static enum onerow_status read_setup(struct setup *setup, struct onerow_span text)
{
    struct or_nsim_call *call = &setup->call;
    yyjson_read_err at;
    call->doc = yyjson_read_opts((char *)(uintptr_t)text.data, text.len, YYJSON_READ_ALLOW_COMMENTS,
                                 NULL, &at);
    call->json = yyjson_doc_get_root(call->doc);
    if (!call->doc || !yyjson_is_obj(call->json)) {
        return or_fail(setup->error, ONEROW_USAGE, "--setup: no JSON object: %s at byte %zu",
                       call->doc ? "another value" : at.msg, call->doc ? 0 : at.pos);
    }
    yyjson_val *workspace = yyjson_obj_get(call->json, "workspace");
    if (yyjson_is_str(workspace)) {
        free(call->sim->workspace);
        call->sim->workspace = or_nsim_copy(or_nsim_string(workspace));
    }
    enum onerow_status status = add_all(setup, "tokens", add_token);
    status = status == ONEROW_OK ? add_all(setup, "pages", add_page) : status;
    status = status == ONEROW_OK ? add_all(setup, "databases", add_database) : status;
    for (size_t i = 0; status == ONEROW_OK && i < setup->n_sources; i++) {
        status = add_schema(setup, &setup->sources[i]);
    }
    for (size_t i = 0; status == ONEROW_OK && i < setup->n_sources; i++) {
        status = add_rows(setup, &setup->sources[i]);
    }
    return status;
}

enum onerow_status or_nsim_setup(struct or_nsim *sim, struct onerow_span text,
                                 struct onerow_error *error)
{
    struct setup setup = {.error = error};
    or_nsim_call_init(&setup.call, sim);
    setup.call.api = OR_NSIM_2026;
    setup.call.token = sim->first;
    setup.call.now_ms = or_nsim_now(sim);
    setup.call.rng = sim_rng_of(sim->options.seed, 2);
    enum onerow_status status = read_setup(&setup, text);
    or_nsim_call_finish(&setup.call);
    free(setup.sources);
    return status;
}
