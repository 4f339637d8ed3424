/* SPDX-License-Identifier: Apache-2.0
 *
 * One request from its arrival to its answer, and the simulator that it belongs to. Nothing here
 * knows of sockets: nsim_http.c carries calls in and out, tests make them by hand.
 *
 *   or_nsim_arrive    who asks, what, within the limits?      may answer already
 *   or_nsim_perform   what is asked, with the fault that was drawn for it
 *
 * Functions that return false have written the error into the call; the caller only returns.
 */
#ifndef OR_NOTION_SIM_NSIM_CALL_H
#define OR_NOTION_SIM_NSIM_CALL_H

#include <yyjson.h>

#include "base/arena.h"
#include "base/text.h"
#include "notion_sim/nsim_fault.h"
#include "notion_sim/nsim_limit.h"
#include "notion_sim/nsim_model.h"

#define OR_NSIM_BODY_MAX   (500U * 1024U) /* bytes of JSON that Notion takes */
#define OR_NSIM_QUERY_MAX  32U            /* parameters of a URL */
#define OR_NSIM_EVENTS_MAX 100U           /* times of one kind that the state remembers */

/* Codes of the API: name, status, text, message when there is none of its own. */
#define OR_NSIM_ERROR_MAP(X)                                                                       \
    X(INVALID_JSON, 400, "invalid_json", "Error parsing JSON body.")                               \
    X(INVALID_URL, 400, "invalid_request_url", "Invalid request URL.")                             \
    X(INVALID_REQUEST, 400, "invalid_request", "Unsupported request.")                             \
    X(VALIDATION, 400, "validation_error", "body failed validation.")                              \
    X(MISSING_VERSION, 400, "missing_version",                                                     \
      "Notion-Version header failed validation: Notion-Version header should be defined, instead " \
      "was `undefined`.")                                                                          \
    X(UNAUTHORIZED, 401, "unauthorized", "API token is invalid.")                                  \
    X(RESTRICTED, 403, "restricted_resource", "API token does not have access to this resource.")  \
    X(NOT_FOUND, 404, "object_not_found", "Could not find object.")                                \
    X(CONFLICT, 409, "conflict_error", "Conflict occurred while saving. Please try again.")        \
    X(ROW_LIMIT, 409, "row_limit_exceeded", "The row limit of this data source was reached.")      \
    X(RATE_LIMITED, 429, "rate_limited",                                                           \
      "You have been rate limited. Please try again in a few minutes.")                            \
    X(INTERNAL, 500, "internal_server_error", "Unexpected error occurred.")                        \
    X(BAD_GATEWAY, 502, "bad_gateway", "Bad Gateway")                                              \
    X(UNAVAILABLE, 503, "service_unavailable", "Notion is unavailable, please try again later.")   \
    X(DATABASE_UNAVAILABLE, 503, "database_connection_unavailable",                                \
      "Notion is unavailable, please try again later.")                                            \
    X(GATEWAY_TIMEOUT, 504, "gateway_timeout", "Gateway Timeout")                                  \
    X(OVERLOAD, 529, "service_overload", "Notion is overloaded, please try again later.")

enum or_nsim_code {
#define OR_NSIM_ERROR_ENUM(name, status, text, message) OR_NSIM_##name,
    OR_NSIM_ERROR_MAP(OR_NSIM_ERROR_ENUM)
#undef OR_NSIM_ERROR_ENUM
};

enum or_nsim_api { OR_NSIM_2022, OR_NSIM_2025, OR_NSIM_2026 };

enum or_nsim_method { OR_NSIM_GET, OR_NSIM_POST, OR_NSIM_PATCH, OR_NSIM_DELETE, OR_NSIM_OTHER };

enum { OR_NSIM_CAN_READ = 1, OR_NSIM_CAN_INSERT = 2, OR_NSIM_CAN_UPDATE = 4, OR_NSIM_CAN_ALL = 7 };

struct or_nsim_token {
    char *secret; /* NULL: of those that are accepted because no token was named */
    char *name;
    char bot[OR_NSIM_ID];
    unsigned can;
    struct or_nsim_meter meter;
    UT_hash_handle hh;
};

/* Something that happened so often, and when lately. */
struct or_nsim_event_log {
    uint64_t n;
    uint64_t at_ms[OR_NSIM_EVENTS_MAX]; /* a ring */
};

struct or_nsim_task {
    char id[OR_NSIM_ID];
    char result[OR_NSIM_ID]; /* the page that was made */
    uint64_t created_ms;
    unsigned polls;
    struct or_nsim_task *next;
};

struct or_nsim_http; /* nsim_http.c's own */

struct or_nsim {
    struct or_nsim_options options;
    struct or_nsim_model model;
    struct or_nsim_page *root;
    struct or_nsim_token *tokens; /* hash by secret */
    struct or_nsim_token *first;  /* who made what was there at the beginning */
    bool open;                    /* any token is accepted */
    struct or_nsim_meter space;
    struct or_nsim_faults faults;
    struct or_nsim_task *tasks;
    char *workspace;
    uint64_t clock_ms;   /* virtual: the time; real: what is added to it */
    uint64_t started_ms; /* real: monotonic, and wall clock at the same moment */
    uint64_t started_wall_ms;
    uint64_t requests;
    uint64_t by_status[600];
    struct or_nsim_event_log inside;  /* calls inside Retry-After */
    struct or_nsim_event_log crossed; /* of those, calls that may have been on the way */
    struct or_nsim_event_log beyond;  /* calls beyond a window */
    uint64_t creates;                 /* pages created through the API */
    struct or_nsim_http *http;
    char address[64];
};

struct or_nsim_pair {
    struct onerow_span name;
    struct onerow_span value;
};

enum or_nsim_ending { OR_NSIM_ANSWERS, OR_NSIM_RESETS };

struct or_nsim_route;

struct or_nsim_call {
    struct or_nsim *sim;
    /* the request; borrowed */
    enum or_nsim_method method;
    const char *method_text;
    struct onerow_span path; /* without the query */
    struct or_nsim_pair query[OR_NSIM_QUERY_MAX];
    size_t n_query;
    const char *authorization; /* header or NULL */
    const char *version_text;
    struct onerow_span body;
    bool too_large; /* the body was longer than it may be, and was not kept */
    /* what it means */
    enum or_nsim_api api;
    const char *api_text;
    struct or_nsim_token *token;
    const struct or_nsim_route *route;
    struct onerow_span args[2]; /* of the path */
    yyjson_doc *doc;
    yyjson_val *json; /* the body; an empty object when there is none */
    struct or_arena arena;
    uint64_t number; /* of the request, from 1 */
    uint64_t now_ms;
    char request_id[OR_NSIM_ID];
    struct sim_rng rng;
    /* the fault */
    const struct or_nsim_fault *fault; /* NULL: none */
    uint64_t fault_ms;                 /* its parameter */
    bool committed;                    /* something was changed */
    char made[OR_NSIM_ID];             /* the id of what was created */
    struct or_buffer made_children;    /* ids of appended blocks, a JSON array's inside */
    bool async;                        /* the body allows an answer of 202 */
    /* the answer */
    unsigned status; /* 0: none yet */
    enum or_nsim_ending ending;
    const char *code; /* static; of an error */
    const char *content_type;
    struct or_buffer out;
    struct or_buffer additional; /* inside of additional_data */
    uint64_t retry_after_s;      /* 0: no header */
    uint64_t wait_ms[2];         /* before it is performed, and before it is answered */
    bool edge;                   /* an answer of the edge, without Notion's headers */
    char *key;                   /* of the page that was written, for the log */
};

/* ---- nsim_call.c ------------------------------------------------------------------------- */

void or_nsim_call_init(struct or_nsim_call *call, struct or_nsim *sim);
void or_nsim_call_finish(struct or_nsim_call *call);
/* True: perform is next, after wait_ms[0]. False: it is answered. */
ONEROW_CHECKED bool or_nsim_arrive(struct or_nsim_call *call);
void or_nsim_perform(struct or_nsim_call *call);
/* The answer leaves: the log, the counters, what Retry-After asks from now on. */
void or_nsim_left(struct or_nsim_call *call);
/* Whether a write may be done now: true exactly once, when no fault forbids it. What was asked
 * is valid by then. */
ONEROW_CHECKED bool or_nsim_commit(struct or_nsim_call *call);

uint64_t or_nsim_now(const struct or_nsim *sim);
uint64_t or_nsim_real_ms(void); /* monotonic */
void or_nsim_advance(struct or_nsim *sim, uint64_t ms);

/* Reads the body as JSON into call->json. */
ONEROW_CHECKED bool or_nsim_read_body(struct or_nsim_call *call);
/* The value of a URL's parameter; data NULL: there is none. */
struct onerow_span or_nsim_parameter(const struct or_nsim_call *call, const char *name);

/* A string's text; of anything else nothing. (yyjson counts the members of an object alike.) */
static inline struct onerow_span or_nsim_string(yyjson_val *value)
{
    return (struct onerow_span){yyjson_get_str(value),
                                yyjson_is_str(value) ? yyjson_get_len(value) : 0};
}

/* ---- nsim_error.c ---------------------------------------------------------------------------- */

/* Where in the request something stands: body.properties.Name.title[0]. */
struct or_nsim_path {
    const struct or_nsim_path *up; /* NULL: the first part */
    const char *name;              /* NULL: an index */
    size_t index;
};

__attribute__((format(printf, 3, 4))) bool
or_nsim_fail(struct or_nsim_call *call, enum or_nsim_code code, const char *format, ...);
bool or_nsim_fail_plain(struct or_nsim_call *call, enum or_nsim_code code);
/* "body failed validation: PATH should be …": VALIDATION. */
__attribute__((format(printf, 3, 4))) bool or_nsim_invalid(struct or_nsim_call *call,
                                                           const struct or_nsim_path *path,
                                                           const char *format, ...);
/* "… should be WHAT, instead was `VALUE`." */
bool or_nsim_invalid_value(struct or_nsim_call *call, const struct or_nsim_path *path,
                           const char *what, yyjson_val *value);
bool or_nsim_not_found(struct or_nsim_call *call, const char *what, const char *id);
void or_nsim_path_text(const struct or_nsim_path *path, struct or_buffer *out);
const char *or_nsim_code_text(enum or_nsim_code code);
/* Replaces whatever the answer is. */
void or_nsim_answer_error(struct or_nsim_call *call, enum or_nsim_code code, const char *message);

/* ---- nsim_route.c -------------------------------------------------------------------------- */

enum or_nsim_class { OR_NSIM_READ, OR_NSIM_QUERY, OR_NSIM_CREATE, OR_NSIM_WRITE, OR_NSIM_APPEND };

struct or_nsim_route {
    enum or_nsim_method method;
    enum or_nsim_class what;
    const char *path;                       /* with {id} */
    bool (*run)(struct or_nsim_call *call); /* NULL: Notion has it, the simulator does not */
    enum or_nsim_api from;
    enum or_nsim_api until;
};

/* Finds the route of the call and its arguments. */
ONEROW_CHECKED bool or_nsim_route(struct or_nsim_call *call);
/* All of them, as JSON, for the check against Notion's own list. */
void or_nsim_routes_show(struct or_buffer *out);

/* ---- what routes do ---------------------------------------------------------------------------
 */

bool or_nsim_page_create(struct or_nsim_call *call);
bool or_nsim_page_get(struct or_nsim_call *call);
bool or_nsim_page_update(struct or_nsim_call *call);
bool or_nsim_page_property(struct or_nsim_call *call);
bool or_nsim_database_create(struct or_nsim_call *call);
bool or_nsim_database_get(struct or_nsim_call *call);
bool or_nsim_database_update(struct or_nsim_call *call);
bool or_nsim_database_query(struct or_nsim_call *call);
bool or_nsim_source_create(struct or_nsim_call *call);
bool or_nsim_source_get(struct or_nsim_call *call);
bool or_nsim_source_update(struct or_nsim_call *call);
bool or_nsim_source_query(struct or_nsim_call *call);
bool or_nsim_search(struct or_nsim_call *call);
bool or_nsim_block_get(struct or_nsim_call *call);
bool or_nsim_block_update(struct or_nsim_call *call);
bool or_nsim_block_delete(struct or_nsim_call *call);
bool or_nsim_children_get(struct or_nsim_call *call);
bool or_nsim_children_append(struct or_nsim_call *call);
bool or_nsim_user_me(struct or_nsim_call *call);
bool or_nsim_user_get(struct or_nsim_call *call);
bool or_nsim_user_list(struct or_nsim_call *call);
bool or_nsim_task_get(struct or_nsim_call *call);

/* The same task for a page that was just made; answers 202. */
void or_nsim_task_start(struct or_nsim_call *call);

/* ---- helpers that several of them use ---------------------------------------------------------
 */

/* The object of an argument of the path, shared and of this kind. `what` names it in messages. */
struct or_nsim_object *or_nsim_target(struct or_nsim_call *call, unsigned arg,
                                      enum or_nsim_kind kind, const char *what);
/* An id in the body; NULL was answered. */
struct or_nsim_object *or_nsim_named(struct or_nsim_call *call, const struct or_nsim_path *path,
                                     yyjson_val *value, enum or_nsim_kind kind, const char *what);
ONEROW_CHECKED bool or_nsim_only_keys(struct or_nsim_call *call, const struct or_nsim_path *path,
                                      yyjson_val *object, const char *const *keys);
/* Members of the body that Notion knows and the simulator does not; the list ends with NULL. */
ONEROW_CHECKED bool or_nsim_refuse_unknown(struct or_nsim_call *call, const char *const *keys);
/* The page's database has one data source, or this version may see it all the same. */
ONEROW_CHECKED bool or_nsim_single(struct or_nsim_call *call, const struct or_nsim_object *object);
/* archived or in_trash as the version names it; *given: it is there at all. */
ONEROW_CHECKED bool or_nsim_trash_flag(struct or_nsim_call *call, bool *given, bool *trash);
ONEROW_CHECKED bool or_nsim_refuse_trashed(struct or_nsim_call *call);
/* page_size and start_cursor, of the body or the URL. */
struct or_nsim_span_of_list {
    size_t size;
    struct onerow_span cursor; /* data NULL: from the beginning */
};
ONEROW_CHECKED bool or_nsim_list_span(struct or_nsim_call *call, bool in_body,
                                      struct or_nsim_span_of_list *span);

/* nsim_value.c */
/* Rich text as it is answered, into out; its plain text into `plain` (may be NULL). */
ONEROW_CHECKED bool or_nsim_rich_text(struct or_nsim_call *call, const struct or_nsim_path *path,
                                      yyjson_val *value, struct or_buffer *out,
                                      struct or_buffer *plain);
/* Reads "properties" into the version. Options that are new are remembered in the call's list and
 * made by or_nsim_options_commit. */
struct or_nsim_new_option {
    size_t property; /* place in the source */
    char id[OR_NSIM_ID];
    char *name;
    struct or_nsim_new_option *next;
};
struct or_nsim_writing {
    struct or_nsim_source *source;
    struct or_nsim_version *version;
    struct or_nsim_new_option *options; /* in the call's arena */
};
ONEROW_CHECKED bool or_nsim_read_properties(struct or_nsim_call *call, yyjson_val *properties,
                                            struct or_nsim_writing *writing);
void or_nsim_options_commit(struct or_nsim_call *call, const struct or_nsim_writing *writing);

/* nsim_schema.c */
ONEROW_CHECKED bool or_nsim_schema_check(struct or_nsim_call *call, yyjson_val *properties,
                                         const struct or_nsim_source *source);
/* After the check. */
void or_nsim_schema_apply(struct or_nsim_call *call, yyjson_val *properties,
                          struct or_nsim_source *source);

/* nsim_page.c */
/* Owned; NULL gives NULL. */
char *or_nsim_json_copy(yyjson_val *value);
/* An icon or cover of the body: owned, NULL for none. */
char *or_nsim_look(struct or_nsim_call *call, const char *name);
/* Replaces it, where the body names it. */
void or_nsim_set_look(struct or_nsim_call *call, const char *name, char **json);
ONEROW_CHECKED bool or_nsim_may(struct or_nsim_call *call, unsigned capability);
void or_nsim_touch(struct or_nsim_call *call, struct or_nsim_object *object);

/* nsim_block.c */
ONEROW_CHECKED bool or_nsim_blocks_check(struct or_nsim_call *call, const struct or_nsim_path *path,
                                         yyjson_val *children, unsigned depth, size_t *total);
/* After the check; the ids go to call->made_children when they are to be told. */
void or_nsim_blocks_add(struct or_nsim_call *call, struct or_nsim_object *parent,
                        const struct or_nsim_object *after, bool first, yyjson_val *children,
                        bool tell);
/* An object's parent and all above are shared. */
bool or_nsim_is_shared(const struct or_nsim_object *object);

/* ---- nsim_render.c --------------------------------------------------------------------------- */

void or_nsim_show_page(struct or_nsim_call *call, const struct or_nsim_page *page,
                       const struct or_nsim_version *version);
void or_nsim_show_database(struct or_nsim_call *call, const struct or_nsim_database *database);
void or_nsim_show_source(struct or_nsim_call *call, const struct or_nsim_source *source);
void or_nsim_show_block(struct or_nsim_call *call, const struct or_nsim_object *object);
void or_nsim_show_value(struct or_nsim_call *call, const struct or_nsim_page *page,
                        const struct or_nsim_version *version,
                        const struct or_nsim_property *property);
void or_nsim_show_text(struct or_buffer *out, const char *text); /* as JSON; NULL: null */
void or_nsim_show_number(struct or_buffer *out, double number);
/* A list's end: "next_cursor" and "has_more". */
void or_nsim_show_cursor(struct or_nsim_call *call, const char *next);
/* Rich text of one plain run. */
void or_nsim_show_plain(struct or_buffer *out, const char *text);
/* A value of such text; empty text gives NULL. */
struct or_nsim_value *or_nsim_plain_value(struct onerow_span text);

/* ---- nsim_state.c, nsim_control.c, nsim_setup.c ------------------------------------------------
 */

/* What is not Notion's: / and /_sim/…. False: the path is none of these. */
ONEROW_CHECKED bool or_nsim_control(struct or_nsim_call *call);
void or_nsim_show_state(struct or_nsim *sim, bool keys, struct or_buffer *out);
void or_nsim_show_html(struct or_nsim *sim, struct or_buffer *out);
void or_nsim_note(struct or_nsim_event_log *log, uint64_t at_ms);
void or_nsim_write_log(const struct or_nsim_call *call);

ONEROW_CHECKED enum onerow_status or_nsim_setup(struct or_nsim *sim, struct onerow_span text,
                                                struct onerow_error *error);
struct or_nsim_token *or_nsim_add_token(struct or_nsim *sim, const char *secret, const char *name,
                                        unsigned can);

/* ---- nsim_http.c ------------------------------------------------------------------------------
 */

void or_nsim_http_close(struct or_nsim *sim);

#endif
