/* SPDX-License-Identifier: Apache-2.0
 *
 * A client for one HTTP service: many requests at a time, in one thread. See the top of http.c.
 */
#ifndef OR_NET_HTTP_H
#define OR_NET_HTTP_H

#include "base/buffer.h"
#include "onerow/onerow.h"

#define OR_HTTP_HEADERS 8U                         /* of a request, at most */
#define OR_HTTP_BODY    ((size_t)64 * 1024 * 1024) /* bytes of an answer, unpacked, at most */
#define OR_HTTP_NAME    64U                        /* bytes of a short header that is kept */

struct or_http;

enum or_http_end {
    OR_HTTP_ANSWERED, /* status, and all of the body */
    OR_HTTP_NOT_SENT, /* no byte of the request's body left (of one without: it never got so far) */
    OR_HTTP_UNCERTAIN, /* it may have arrived, and may have been acted on */
};

struct or_http_header {
    const char *name;
    const char *value; /* without line ends; secrets are never shown */
};

/* One request. What is given is borrowed until it is over. */
struct or_http_request {
    const char *method; /* "GET", "POST", "PATCH" */
    const char *url;
    struct or_http_header headers[OR_HTTP_HEADERS];
    size_t n_headers;
    struct onerow_span body; /* data NULL: none */
    uint64_t timeout_ms;     /* from start to the last byte of the answer */
    void *owner;             /* the caller's */
    /* filled */
    enum or_http_end end;
    unsigned status;
    struct or_buffer answer;       /* the caller's, from or_http_start on: or_buffer_finish */
    uint64_t retry_after_ms;       /* 0: the service did not say */
    char request_id[OR_HTTP_NAME]; /* of the header that options name; or "" */
    char why[256];                 /* not ANSWERED: what happened, one line */
    /* the client's */
    struct or_http *http;
    void *easy;
    void *list;
    size_t sent; /* bytes of the body that were handed over */
    uint64_t date_s;
    char retry_after[OR_HTTP_NAME];
    bool too_large;
    struct or_http_request *next;
};

struct or_http_options {
    uint64_t connect_ms;    /* to resolve, connect and shake hands; 0: 10 s */
    bool loopback;          /* plain HTTP to this very machine, never through a proxy */
    const char *request_id; /* the header that names a request to the service, or NULL */
};

/* NULL: out of memory, or libcurl cannot be used. */
struct or_http *or_http_create(const struct or_http_options *options);
void or_http_destroy(struct or_http *http); /* NULL is accepted; ends what is under way */

/* Begins it; never waits. False: out of memory, and nothing was begun. */
ONEROW_CHECKED bool or_http_start(struct or_http *http, struct or_http_request *request);
/* Waits for one that is over, at most timeout_ms; NULL: none is. */
struct or_http_request *or_http_finish(struct or_http *http, uint64_t timeout_ms);
/* Ends one that is under way, or over and not yet given out. */
void or_http_cancel(struct or_http *http, struct or_http_request *request);

#endif
