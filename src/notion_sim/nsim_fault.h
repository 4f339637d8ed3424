/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults: which there are, how often each strikes, which strikes next. See the top of nsim_fault.c.
 */
#ifndef OR_NOTION_SIM_NSIM_FAULT_H
#define OR_NOTION_SIM_NSIM_FAULT_H

#include "notion_sim/nsim_memory.h"
#include "sim/rng.h"

/* name in C, name in options, which requests, when (GATE: instead of the commit; BEFORE: instead of
 * the request; AFTER: instead of its answer; ALONG: the answer stays), default parameter, what it
 * is. The parameter is ms, or seconds of Retry-After. */
#define OR_NSIM_FAULT_MAP(X)                                                                       \
    X(CONFLICT, "409", WRITES, GATE, 0, "409 conflict_error, nothing was saved")                   \
    X(ROW_LIMIT, "row-limit", CREATES, GATE, 0, "409 row_limit_exceeded, permanent")               \
    X(BLOCK_LIMIT, "block-limit", CREATES, GATE, 0,                                                \
      "403 restricted_resource: the free plan's cap")                                              \
    X(UNAVAILABLE, "503", ALL, BEFORE, 0, "503 service_unavailable, nothing was saved")            \
    X(DATABASE, "503-database", ALL, BEFORE, 0, "503 database_connection_unavailable")             \
    X(INTERNAL, "500", ALL, BEFORE, 0, "500 internal_server_error, nothing was saved")             \
    X(GATEWAY, "502", ALL, BEFORE, 0, "502 bad_gateway, nothing was saved")                        \
    X(TIMEOUT, "504", ALL, BEFORE, 0, "504 gateway_timeout, nothing was saved")                    \
    X(OVERLOAD, "529", ALL, BEFORE, 1, "529 service_overload with Retry-After (:SECONDS)")         \
    X(HTML, "html", ALL, BEFORE, 0, "502 of the edge, in HTML, nothing was saved")                 \
    X(RESET, "reset", ALL, BEFORE, 0, "the connection is reset, nothing was saved")                \
    X(SAVED_ID, "503-after-id", WRITES, AFTER, 0,                                                  \
      "503 after the save, with its ids in additional_data")                                       \
    X(SAVED, "503-after", WRITES, AFTER, 0, "503 after the save, without a word about it")         \
    X(GATEWAY_SAVED, "502-after", WRITES, AFTER, 0, "502 bad_gateway after the save")              \
    X(TIMEOUT_SAVED, "504-after", WRITES, AFTER, 0, "504 gateway_timeout after the save")          \
    X(HTML_SAVED, "html-after", WRITES, AFTER, 0, "502 of the edge, in HTML, after the save")      \
    X(RESET_SAVED, "reset-after", WRITES, AFTER, 0, "the connection is reset after the save")      \
    X(SLOW, "slow", ALL, ALONG, 61000, "the answer comes later than clients wait (:MS)")           \
    X(RATE, "429", ALL, BEFORE, 1, "429 public_api_request_rate_limit (:SECONDS)")                 \
    X(RATE_SPACE, "429-space", ALL, BEFORE, 90,                                                    \
      "429 public_api_space_request_rate_limit (:SECONDS)")                                        \
    X(RATE_ENDPOINT, "429-endpoint", ALL, BEFORE, 1,                                               \
      "429 public_api_endpoint_rate_limit (:SECONDS)")                                             \
    X(RATE_BLOCKED, "429-blocked", ALL, BEFORE, 0, "429 public_api_request_blocked: never retry")  \
    X(LAG, "lag", QUERIES, ALONG, 1000, "a query sees what was there so long ago (:MS)")           \
    X(INCOMPLETE, "incomplete", QUERIES, ALONG, 0, "a query ends early, as if at 10,000 results")  \
    X(QUERY_FAILED, "query-failed", QUERIES, BEFORE, 0, "500 or 503, queries only")                \
    X(ASYNC, "async", CREATES, ALONG, 0, "202 with a task, when the body has allow_async")

enum or_nsim_fault_id {
#define OR_NSIM_FAULT_ENUM(name, text, which, when, parameter, what) OR_NSIM_FAULT_##name,
    OR_NSIM_FAULT_MAP(OR_NSIM_FAULT_ENUM)
#undef OR_NSIM_FAULT_ENUM
        OR_NSIM_FAULTS
};

enum or_nsim_which { OR_NSIM_ALL, OR_NSIM_WRITES, OR_NSIM_CREATES, OR_NSIM_QUERIES };
enum or_nsim_when { OR_NSIM_GATE, OR_NSIM_BEFORE, OR_NSIM_AFTER, OR_NSIM_ALONG };

struct or_nsim_fault {
    enum or_nsim_fault_id id;
    const char *name;
    enum or_nsim_which which;
    enum or_nsim_when when;
    uint64_t parameter;
    const char *what;
};

extern const struct or_nsim_fault or_nsim_faults[OR_NSIM_FAULTS];

struct or_nsim_rate {
    double rate; /* 0 to 1 */
    uint64_t parameter;
    uint64_t struck;
};

/* A fault that was ordered: it strikes the next requests that match. */
struct or_nsim_order {
    enum or_nsim_fault_id fault;
    uint64_t parameter;
    uint64_t skip;  /* matching requests that pass first */
    uint64_t times; /* that it still strikes */
    char *method;   /* NULL: any */
    char *path;     /* beginning of the path; NULL: any */
    struct or_nsim_order *next;
};

struct or_nsim_faults {
    struct or_nsim_rate rates[OR_NSIM_FAULTS];
    struct or_nsim_order *orders; /* in the order in which they came */
    uint64_t seed;
};

/* OR_NSIM_FAULTS: there is none of this name. */
enum or_nsim_fault_id or_nsim_fault_of(struct onerow_span name);
/* "409=10%,503-after=0.05,lag=5%:2000"; "none" ends all. */
ONEROW_CHECKED bool or_nsim_faults_read(struct or_nsim_faults *faults, struct onerow_span text,
                                        const char **reason);
void or_nsim_faults_finish(struct or_nsim_faults *faults);

struct or_nsim_request_kind {
    bool query;
    bool create;
    bool write; /* of any kind */
    const char *method;
    struct onerow_span path;
};

/* The fault of the request of this number, NULL for none, and its parameter. */
const struct or_nsim_fault *or_nsim_fault_draw(struct or_nsim_faults *faults, uint64_t number,
                                               const struct or_nsim_request_kind *kind,
                                               uint64_t *parameter);

#endif
