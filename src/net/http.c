/* SPDX-License-Identifier: Apache-2.0
 *
 * libcurl's multi interface, held to what a writer needs to know of each request.
 *
 *  - Was it sent? A request whose body was never asked for has not arrived as a whole, and nobody
 *    can have acted on it. Everything after that, without an answer, is uncertain.
 *  - Never twice. On a kept connection that turns out to be dead, libcurl sends a request once
 *    more, POST or not. A body is therefore given out by a function that cannot go back: libcurl
 *    has to fail instead, once the body was begun. GET may be repeated.
 *  - No redirects. They are answers like others; so a token goes to the host that it is for.
 *  - TLS is always verified. CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR name other authorities,
 *    as they do for the curl command; https_proxy and no_proxy are libcurl's own.
 *  - After some failures in a row, requests go over new connections to newly resolved addresses,
 *    until one is answered: a connection may be dead without anybody having said so.
 *  - Times are libcurl's, which are monotonic.
 */
#include "net/http.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/retry_after.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"

#define CONNECT_MS       10000U
#define IDLE_MAX_S       30L /* a connection that was not used for so long is not used again */
#define IDLE_CONNECTIONS 16L /* likewise; libcurl keeps a few times what goes on just now */
#define IDLE_EASY        16U /* handles kept for the next requests */
#define BAD_RUN          3U  /* failures in a row after which connections are new */
#define LONG_MAX_MS      2000000000U

struct or_http {
    struct or_http_options options;
    CURLM *multi;
    CURL *idle[IDLE_EASY];
    size_t n_idle;
    struct or_http_request *out;  /* under way */
    struct or_http_request *done; /* over, in the order in which they ended */
    unsigned failures;            /* in a row */
};

/* ---- once per process ---------------------------------------------------------------------- */

static pthread_once_t begun = PTHREAD_ONCE_INIT;
static bool usable;

static void begin_curl(void)
{
    usable = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void append(struct or_http_request **list, struct or_http_request *request)
{
    while (*list) {
        list = &(*list)->next;
    }
    request->next = NULL;
    *list = request;
}

static bool take_out(struct or_http_request **list, const struct or_http_request *request)
{
    while (*list && *list != request) {
        list = &(*list)->next;
    }
    bool there = *list != NULL;
    if (there) {
        *list = request->next;
    }
    return there;
}

/* ---- a body goes out once ---------------------------------------------------------------------
 */

static size_t give_body(char *to, size_t size, size_t n, void *context)
{
    struct or_http_request *request = context;
    size_t left = request->body.len - request->sent;
    size_t len = size * n < left ? size * n : left;
    if (len) {
        memcpy(to, request->body.data + request->sent, len);
    }
    request->sent += len;
    return len;
}

/* To the beginning alone, and only before anything was given out. */
static int seek_body(void *context, curl_off_t offset, int origin)
{
    const struct or_http_request *request = context;
    bool fresh = request->sent == 0 && offset == 0 && origin == SEEK_SET;
    return fresh ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static size_t take_body(char *data, size_t size, size_t n, void *context)
{
    struct or_http_request *request = context;
    size_t len = size * n;
    if (len > OR_HTTP_BODY - request->answer.len) {
        request->too_large = true;
        return 0;
    }
    or_buffer_add(&request->answer, data, len);
    return request->answer.failed ? 0 : len;
}

/* The value of a header line with this name; data NULL: it is another one. */
static struct onerow_span value_of(struct onerow_span line, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (len == 0 || line.len <= len || line.data[len] != ':' ||
        strncasecmp(line.data, name, len) != 0) {
        return (struct onerow_span){0};
    }
    return or_span_trim((struct onerow_span){line.data + len + 1, line.len - len - 1});
}

/* Printable ASCII alone: it goes into messages. One that is too long is left out. */
static void keep(char kept[OR_HTTP_NAME], struct onerow_span value)
{
    if (value.len >= OR_HTTP_NAME) {
        return;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < ' ' || value.data[i] > '~') {
            return;
        }
    }
    memcpy(kept, value.data, value.len);
    kept[value.len] = '\0';
}

static void forget_headers(struct or_http_request *request)
{
    request->retry_after[0] = '\0';
    request->request_id[0] = '\0';
    request->date_s = 0;
}

static size_t take_header(char *data, size_t size, size_t n, void *context)
{
    struct or_http_request *request = context;
    struct onerow_span line = {data, size * n};
    struct onerow_span value;
    char date[OR_HTTP_NAME] = "";
    if (line.len > 5 && memcmp(line.data, "HTTP/", 5) == 0) {
        forget_headers(request); /* a proxy's answer, or an interim one, came before */
    } else if ((value = value_of(line, "retry-after")).data) {
        keep(request->retry_after, value);
    } else if ((value = value_of(line, request->http->options.request_id)).data) {
        keep(request->request_id, value);
    } else if ((value = value_of(line, "date")).data) {
        keep(date, value);
        time_t when = curl_getdate(date, NULL);
        request->date_s = when > 0 ? (uint64_t)when : 0;
    }
    return line.len;
}

/* ---- setting up -------------------------------------------------------------------------------
 */

static bool add_header(struct or_http_request *request, const char *text)
{
    struct curl_slist *longer = curl_slist_append(request->list, text);
    request->list = longer ? longer : request->list;
    return longer != NULL;
}

static bool add_headers(struct or_http_request *request)
{
    struct or_buffer line;
    or_buffer_init(&line);
    bool added = add_header(request, "Expect:"); /* no round trip for a permission to go on */
    for (size_t i = 0; added && i < request->n_headers; i++) {
        or_buffer_clear(&line);
        or_buffer_printf(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
        added = !line.failed && add_header(request, or_buffer_cstr(&line));
    }
    if (line.data) {
        explicit_bzero(line.data, line.room);
    }
    or_buffer_finish(&line);
    return added;
}

static long milliseconds(uint64_t ms)
{
    return (long)or_u64_min(or_u64_max(ms, 1), LONG_MAX_MS); /* 0 would be for ever */
}

static bool set_trust(CURL *easy)
{
    const char *file = getenv("CURL_CA_BUNDLE");
    const char *folder = getenv("SSL_CERT_DIR");
    file = file && *file ? file : getenv("SSL_CERT_FILE");
    bool set = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    if (file && *file) {
        set = set && curl_easy_setopt(easy, CURLOPT_CAINFO, file) == CURLE_OK;
    }
    if (folder && *folder) {
        set = set && curl_easy_setopt(easy, CURLOPT_CAPATH, folder) == CURLE_OK;
    }
    return set;
}

static bool set_place(const struct or_http *http, CURL *easy)
{
    bool anew = http->failures >= BAD_RUN;
    const char *protocol = http->options.loopback ? "http" : "https";
    bool set = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocol) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_MAX_S) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)anew) == CURLE_OK;
    if (anew) {
        set = set && curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L) == CURLE_OK;
    }
    if (http->options.loopback) {
        set = set && curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
    }
    return set && set_trust(easy);
}

static bool set_body(struct or_http_request *request, CURL *easy)
{
    if (!request->body.data) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
    }
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKDATA, request) == CURLE_OK;
}

static bool set_up(const struct or_http *http, struct or_http_request *request, CURL *easy)
{
    uint64_t connect_ms = http->options.connect_ms ? http->options.connect_ms : CONNECT_MS;
    return add_headers(request) && curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->list) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(connect_ms)) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(request->timeout_ms)) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->why) == CURLE_OK &&
           set_place(http, easy) && set_body(request, easy);
}

/* ---- a request's life -------------------------------------------------------------------------
 */

/* Whether the handle was the multi's or not; what it pointed at is not used afterwards. */
static void give_back(struct or_http *http, struct or_http_request *request)
{
    CURL *easy = request->easy;
    curl_slist_free_all(request->list);
    request->list = NULL;
    request->easy = NULL;
    if (easy && http->n_idle < IDLE_EASY) {
        curl_easy_reset(easy);
        http->idle[http->n_idle++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

bool or_http_start(struct or_http *http, struct or_http_request *request)
{
    CURL *easy = http->n_idle ? http->idle[--http->n_idle] : curl_easy_init();
    if (!easy) {
        return false;
    }
    or_buffer_init(&request->answer);
    forget_headers(request);
    request->http = http;
    request->easy = easy;
    request->list = NULL;
    request->sent = 0;
    request->status = 0;
    request->retry_after_ms = 0;
    request->too_large = false;
    request->why[0] = '\0';
    if (!set_up(http, request, easy) || curl_multi_add_handle(http->multi, easy) != CURLM_OK) {
        give_back(http, request);
        return false;
    }
    append(&http->out, request);
    return true;
}

/* Without an answer: may it have been sent? Of one with a body only the body's first byte makes it
 * so; of one without, that the connection was there. */
static enum or_http_end end_of(const struct or_http_request *request, CURLcode code)
{
    curl_off_t ready = 0;
    if (code == CURLE_OK) {
        return OR_HTTP_ANSWERED;
    }
    if (request->body.len) {
        return request->sent ? OR_HTTP_UNCERTAIN : OR_HTTP_NOT_SENT;
    }
    curl_easy_getinfo(request->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
    return ready ? OR_HTTP_UNCERTAIN : OR_HTTP_NOT_SENT;
}

static void explain(struct or_http_request *request, CURLcode code)
{
    if (request->too_large) {
        (void)snprintf(request->why, sizeof request->why, "the answer is larger than %zu MiB",
                       OR_HTTP_BODY / 1024 / 1024);
    } else if (request->answer.failed) {
        (void)snprintf(request->why, sizeof request->why, "out of memory");
    } else if (!request->why[0]) {
        (void)snprintf(request->why, sizeof request->why, "%s", curl_easy_strerror(code));
    }
    for (char *at = request->why; *at; at++) {
        *at = (unsigned char)*at < ' ' ? ' ' : *at; /* a server's words may be in it */
    }
}

static void read_retry_after(struct or_http_request *request)
{
    uint64_t now_ms = request->date_s * 1000;
    if (!now_ms) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    }
    if (!or_retry_after(or_span(request->retry_after), now_ms, &request->retry_after_ms)) {
        request->retry_after_ms = 0;
    }
}

static void end(struct or_http *http, struct or_http_request *request, CURLcode code)
{
    long status = 0;
    request->end = end_of(request, code);
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    if (request->end == OR_HTTP_ANSWERED) {
        request->status = (unsigned)status;
        request->why[0] = '\0';
        read_retry_after(request);
    } else {
        explain(request, code);
    }
    bool good = request->end == OR_HTTP_ANSWERED && status < 500;
    http->failures = good ? 0 : http->failures + 1;
    curl_multi_remove_handle(http->multi, request->easy);
    give_back(http, request);
    (void)take_out(&http->out, request);
    append(&http->done, request);
}

static void collect(struct or_http *http)
{
    int running = 0;
    int left = 0;
    CURLMsg *message;
    (void)curl_multi_perform(http->multi, &running);
    while ((message = curl_multi_info_read(http->multi, &left))) {
        struct or_http_request *request = NULL;
        CURLcode code = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request) == CURLE_OK) {
            end(http, request, code);
        }
    }
}

struct or_http_request *or_http_finish(struct or_http *http, uint64_t timeout_ms)
{
    uint64_t until_ms = or_u64_add(or_wake_now_ms(), timeout_ms);
    collect(http);
    for (uint64_t left_ms = timeout_ms; !http->done && left_ms > 0;) {
        int wait_ms = (int)or_u64_min(left_ms, LONG_MAX_MS);
        (void)curl_multi_poll(http->multi, NULL, 0, wait_ms, NULL);
        collect(http);
        left_ms = or_u64_sub(until_ms, or_wake_now_ms());
    }
    struct or_http_request *request = http->done;
    http->done = request ? request->next : NULL;
    return request;
}

void or_http_cancel(struct or_http *http, struct or_http_request *request)
{
    if (take_out(&http->out, request)) {
        curl_multi_remove_handle(http->multi, request->easy);
        give_back(http, request);
    } else {
        (void)take_out(&http->done, request);
    }
    or_buffer_finish(&request->answer);
}

struct or_http *or_http_create(const struct or_http_options *options)
{
    pthread_once(&begun, begin_curl);
    struct or_http *http = usable ? calloc(1, sizeof *http) : NULL;
    if (!http) {
        return NULL;
    }
    http->options = *options;
    http->multi = curl_multi_init();
    if (!http->multi ||
        curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS) != CURLM_OK) {
        or_http_destroy(http);
        return NULL;
    }
    return http;
}

void or_http_destroy(struct or_http *http)
{
    if (!http) {
        return;
    }
    while (http->out) {
        or_http_cancel(http, http->out);
    }
    while (http->n_idle) {
        curl_easy_cleanup(http->idle[--http->n_idle]);
    }
    curl_multi_cleanup(http->multi);
    free(http);
}
