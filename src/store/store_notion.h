/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the store `notion` share:
 *
 *   store_notion.c           URLs, opening, the struct that the registry holds
 *   store_notion_type.c      property types: what is known of each
 *   store_notion_place.c     ids and links
 *   store_notion_schema.c    a table: which data source, which columns, whether the key fits
 *   store_notion_encode.c    a record as properties, and every limit
 *   store_notion_list.c      likewise: options, lists, dates
 *   store_notion_value.c     properties as values, and whether a page holds a payload
 *   store_notion_filter.c    keys as a filter
 *   store_notion_answer.c    what an answer means
 *   store_notion_body.c      paths and bodies of requests
 *   store_notion_call.c      requests of the core, many at a time
 *   store_notion_found.c     pages of a query's results
 *   store_notion_ask.c       requests that are waited for: opening, get, audit
 *   store_notion_look.c      get and audit
 *   store_notion_mark.c      the ledger's id, where others see it
 *   store_notion_suggest.c   `onerow init`
 */
#ifndef OR_STORE_NOTION_H
#define OR_STORE_NOTION_H

#include <yyjson.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/digest.h"
#include "base/time_text.h"
#include "net/http.h"
#include "onerow/extend.h"

#define OR_NOTION_ID         (OR_UUID_LEN + 1U)
#define OR_NOTION_BODY_MAX   500000U /* bytes of a request: 500 KB */
#define OR_NOTION_TEXT_MAX   2000U   /* UTF-16 units of one run of text, of a link, of a key */
#define OR_NOTION_LIST_MAX   100U    /* runs, options, people, relations; keys of a probe */
#define OR_NOTION_SHORT_MAX  200U    /* units of an email address or a phone number */
#define OR_NOTION_OPTION_MAX 100U    /* units of an option's name */
#define OR_NOTION_PAGE_SIZE  100U    /* results of one request */
#define OR_NOTION_ROWS_MAX   10000U  /* results of one query, at most */
#define OR_NOTION_COLUMNS    500U    /* properties of a data source */

enum or_notion_version {
    OR_NOTION_2022, /* 2022-06-28: databases are queried */
    OR_NOTION_2025, /* 2025-09-03: data sources are */
    OR_NOTION_2026, /* 2026-03-11: "archived" has become "in_trash" */
};

enum or_notion_type {
    OR_NOTION_TITLE,
    OR_NOTION_RICH_TEXT,
    OR_NOTION_URL,
    OR_NOTION_EMAIL,
    OR_NOTION_PHONE,
    OR_NOTION_NUMBER,
    OR_NOTION_SELECT,
    OR_NOTION_MULTI_SELECT,
    OR_NOTION_STATUS,
    OR_NOTION_CHECKBOX,
    OR_NOTION_DATE,
    OR_NOTION_PEOPLE,
    OR_NOTION_RELATION,
    OR_NOTION_UNIQUE_ID,
    OR_NOTION_FORMULA,
    OR_NOTION_ROLLUP,
    OR_NOTION_FILES,
    OR_NOTION_CREATED_TIME,
    OR_NOTION_EDITED_TIME,
    OR_NOTION_CREATED_BY,
    OR_NOTION_EDITED_BY,
    OR_NOTION_BUTTON,
    OR_NOTION_OTHER, /* one that was not known when this was written */
};

struct or_notion_trait {
    const char *name;         /* as the API calls it */
    enum onerow_type type;    /* of its values */
    const char *not_writable; /* as in struct onerow_column */
    unsigned key_types;       /* bits (1U << onerow_type) of key columns that it may be */
    bool text;                /* a person may have typed its value in any spelling */
};

struct or_notion_property {
    enum or_notion_type type;
    const char **options; /* status: the names, owned by the arena; NULL otherwise */
    size_t n_options;
};

struct or_notion_call; /* store_notion_call.c's own */

struct or_notion_store {
    struct onerow_store base;
    struct or_http *http;
    enum or_notion_version version;
    uint64_t wait_ms;
    bool read_only;
    const volatile bool *stop;
    struct onerow_gate *gate;    /* borrowed; NULL: none */
    char *origin;                /* "https://api.notion.com"; owned */
    char *token;                 /* owned, wiped */
    char *authorization;         /* owned, wiped */
    char bot[OR_NOTION_ID];      /* the token's own user; "" while it is not known */
    struct or_notion_call *out;  /* calls under way */
    struct or_notion_call *over; /* calls to be given out */
};

struct or_notion_table {
    struct onerow_store_table base;
    struct onerow_table_spec spec;
    struct or_arena arena; /* of all below */
    struct onerow_column *columns;
    struct or_notion_property *properties; /* by column */
    char source[OR_NOTION_ID];
    char database[OR_NOTION_ID];
    const char *name; /* the data source's title, for messages */
    uint16_t title;   /* the title's column */
    int order;        /* newest's column; -1 */
    bool scan;        /* a key may be spelled in several ways: a probe reads everything */
    uint64_t line;    /* of creates */
};

/* What came back of one request, read. */
struct or_notion_answer {
    enum or_http_end end;
    unsigned status;
    uint64_t retry_after_ms;
    const char *why;          /* not ANSWERED */
    const char *transport_id; /* the request's id from its header, or "" */
    yyjson_doc *doc;          /* owned; NULL: what came is no JSON */
    yyjson_val *root;         /* of doc; NULL: no object */
    /* of an error's envelope; "" when it is none */
    const char *code;
    const char *message;
    const char *request_id;
    const char *error_type;       /* in additional_data */
    const char *rate_reason;      /* likewise */
    struct onerow_span committed; /* likewise: what was made all the same; data NULL */
    bool block_limit;
};

extern const struct onerow_store_type or_store_notion;

/* ---- types and places --------------------------------------------------------------------- */

const struct or_notion_trait *or_notion_trait(enum or_notion_type type);
enum or_notion_type or_notion_type_of(struct onerow_span name);
/* How many UTF-16 units: what the API counts. */
size_t or_notion_units(struct onerow_span text);
/* Whether a title is the protocol's own. */
bool or_notion_reserved(struct onerow_span title);
/* An id in any spelling, or the link of a page, database or data source. False: it is none. */
ONEROW_CHECKED bool or_notion_id(struct onerow_span text, char id[OR_NOTION_ID]);
/* FNV-1a, never 0. */
uint64_t or_notion_line(struct onerow_span text);

static inline struct onerow_span or_notion_span(yyjson_val *text)
{
    const char *data = yyjson_get_str(text);
    return (struct onerow_span){data, data ? yyjson_get_len(text) : 0};
}

static inline struct or_notion_store *or_notion_store_of(struct onerow_store *store)
{
    return (struct or_notion_store *)store;
}

static inline struct or_notion_table *or_notion_table_of(struct onerow_store_table *table)
{
    return (struct or_notion_table *)table;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Reads what came back; what it holds lives as long as the request and the answer. */
void or_notion_read(const struct or_http_request *request, struct or_notion_answer *answer);
void or_notion_answer_finish(struct or_notion_answer *answer);
/* What became of a request of this kind. */
enum onerow_page_answer or_notion_classify(enum onerow_page_do what,
                                           const struct or_notion_answer *answer);
/* "create a page: 409 conflict_error: …": one line, without the token; NULL: no memory. */
const char *or_notion_reason(const char *operation, const struct or_notion_answer *answer,
                             const char *token, struct or_arena *arena);
/* "create a page" */
const char *or_notion_operation(enum onerow_page_do what);
/* The id that the answer names as made; data NULL: none, or it is no id. */
struct onerow_span or_notion_made(const struct or_notion_answer *answer, struct or_arena *arena);

/* ---- values ------------------------------------------------------------------------------------
 */

/* A property of a page (`{"type": …}`) as a plain value; what it points at lies in the arena or in
 * the answer. False: no memory. */
ONEROW_CHECKED bool or_notion_value(yyjson_val *property, struct or_arena *arena,
                                    struct onerow_value *value);
/* Runs of text as one. data NULL: no memory. */
struct onerow_span or_notion_plain(yyjson_val *runs, struct or_arena *arena);
/* Whether the page's properties hold what the payload would write. *no_memory: it is not known. */
ONEROW_CHECKED bool or_notion_same(struct onerow_span payload, yyjson_val *properties,
                                   struct or_arena *arena, bool *no_memory);

ONEROW_CHECKED enum onerow_status or_notion_encode(struct onerow_store_table *table,
                                                   const struct onerow_record *record,
                                                   struct or_arena *arena,
                                                   struct onerow_span *payload, const char **reason,
                                                   struct onerow_error *error);
/* Appends `"Name":{"title":…}` of one value. False: the store would refuse it; *reason says why,
 * NULL when memory ran out. */
ONEROW_CHECKED bool or_notion_encode_value(const struct or_notion_table *table,
                                           const struct onerow_value *value, struct or_buffer *json,
                                           struct or_arena *arena, const char **reason);
/* Appends what empties the column; false: nothing does. */
bool or_notion_encode_empty(const struct or_notion_table *table, uint16_t column,
                            struct or_buffer *json);
/* Appends a text as runs, as the title of a page. */
void or_notion_encode_text(const struct or_notion_table *table, uint16_t column,
                           struct onerow_span text, struct or_buffer *json);

/* ---- requests
 * -------------------------------------------------------------------------------------- */

/* Appends the filter of the keys [from, n), as many as a request holds; how far it came. */
size_t or_notion_filter(const struct or_notion_table *table,
                        const struct onerow_record *const *keys, size_t from, size_t n,
                        struct or_buffer *json);
/* The path of a query of the table. */
void or_notion_query_path(const struct or_notion_table *table, struct or_buffer *path);
/* Method, path and body of a call that is one request. False: it cannot be sent; *reason. */
ONEROW_CHECKED bool or_notion_body(const struct onerow_page_call *call, const char **method,
                                   struct or_buffer *path, struct or_buffer *body,
                                   const char **reason);

/* A query's results, page by page. */
struct or_notion_results {
    const struct or_notion_table *table;
    struct or_arena *arena;
    struct onerow_page *pages; /* in the arena */
    size_t n;
    size_t room;
    size_t seen;  /* results, whatever they are */
    bool cut;     /* Notion said that it left results out, or must have */
    char *cursor; /* in the arena; NULL: there are no more */
};

/* Takes one page of results. NULL, or why it is not a complete answer. */
const char *or_notion_take_results(struct or_notion_results *results, yyjson_val *root);
/* One page of the API as one of the store; `skip`: it is in the trash, or no page at all. NULL, or
 * why it cannot be read. */
const char *or_notion_take_page(const struct or_notion_table *table, yyjson_val *page,
                                struct or_arena *arena, struct onerow_page *found, bool *skip);
bool or_notion_in_trash(yyjson_val *page);

/* Fills the headers and begins it. */
ONEROW_CHECKED bool or_notion_send(struct or_notion_store *store, struct or_http_request *request,
                                   enum or_notion_version version, const char *method,
                                   struct or_buffer *path, struct or_buffer *body,
                                   uint64_t timeout_ms);

uint64_t or_notion_call_line(const struct onerow_page_call *call);
enum onerow_status or_notion_start(struct onerow_store *store, struct onerow_page_call *call,
                                   struct onerow_error *error);
struct onerow_page_call *or_notion_finish(struct onerow_store *store, uint64_t timeout_ms);
/* A request of a call is over: takes its answer, and goes on or ends it. */
void or_notion_call_over(struct or_notion_store *store, struct or_http_request *request);
/* After the client: frees what is left. */
void or_notion_calls_free(struct or_notion_store *store);

/* ---- questions that are waited for --------------------------------------------------------------
 */

struct or_notion_ask {
    const char *operation; /* for messages */
    const char *method;
    const char *path;
    struct onerow_span body; /* data NULL: none */
    enum or_notion_version version;
    bool once; /* it writes: not again after an answer that leaves open whether it was done */
    /* filled */
    struct or_http_request request;
    struct or_notion_answer answer;
};

/* Asks, and asks again when the store was busy. OK: answered with 200 and an
 * object. ABSENT: 404. Others: *error says all. Whatever it answers, or_notion_ask_finish. */
ONEROW_CHECKED enum onerow_status
or_notion_ask(struct or_notion_store *store, struct or_notion_ask *ask, struct onerow_error *error);
void or_notion_ask_finish(struct or_notion_ask *ask);
/* GET of a data source or database, under a version that knows both. */
ONEROW_CHECKED enum onerow_status or_notion_ask_for(struct or_notion_store *store,
                                                    struct or_notion_ask *ask, const char *kind,
                                                    const char *id, struct onerow_error *error);
enum onerow_status or_notion_mark(struct onerow_store_table *table, const char *ledger_id,
                                  struct onerow_error *error);

enum onerow_status or_notion_table_open(struct onerow_store *store,
                                        const struct onerow_table_spec *spec,
                                        struct onerow_store_table **table,
                                        struct onerow_error *error);
void or_notion_table_close(struct onerow_store_table *table);
enum onerow_status or_notion_get(struct onerow_store_table *table, const struct onerow_record *key,
                                 struct or_arena *arena, struct onerow_span *json,
                                 struct onerow_span *id, struct onerow_error *error);
enum onerow_status or_notion_audit(struct onerow_store_table *table,
                                   onerow_canonical_key *canonical, void *canonical_context,
                                   onerow_visit_twins *visit, void *context,
                                   struct onerow_error *error);
enum onerow_status or_notion_suggest(struct onerow_store *store, const char *name,
                                     const char *location, struct or_buffer *yaml,
                                     struct onerow_error *error);

#endif
