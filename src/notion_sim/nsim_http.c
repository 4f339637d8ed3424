/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets: one thread, one loop. libmicrohttpd watches connections through an epoll descriptor of
 * its own; the loop waits for that and for the next time that a request is due. A request that
 * waits is suspended, and what it does is done by the loop, not by its connection: so it is done
 * even when the client has hung up, as at Notion.
 *
 *   body complete ─► arrive ─► (suspended) ─► perform ─► (suspended) ─► answer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/flag.h"
#include "base/status.h"
#include "notion_sim/nsim_call.h"

#define UPLOAD_MAX      (32U * 1024U * 1024U) /* more than that, and the connection is closed */
#define CONNECTIONS_MAX 4000U
#define IDLE_MAX_S      120U  /* a connection on which nothing happens is closed */
#define GZIP_MIN        1024U /* shorter answers are not worth it */

enum step { STEP_BODY, STEP_PERFORM, STEP_ANSWER, STEP_ABANDONED };

struct request {
    struct or_nsim *sim;
    struct MHD_Connection *connection;
    struct or_nsim_call call;
    struct or_buffer body;
    char *path;
    uint64_t received; /* bytes of the body, kept or not */
    enum step step;
    bool suspended;
    uint64_t due_ms; /* of a suspended one, monotonic */
    struct request *next;
    struct request **from; /* where the list points at it */
};

struct or_nsim_http {
    struct MHD_Daemon *daemon;
    int epoll;
    int listener;
    struct request *waiting;
};

/* ---- answers ------------------------------------------------------------------------------- */

static bool takes_gzip(const struct request *request)
{
    const char *header = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_ACCEPT_ENCODING);
    return request->sim->options.gzip && header && strstr(header, "gzip");
}

/* Replaces the text by its gzip form; false: it stays as it is. */
static bool compress_text(char **text, size_t *len)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return false;
    }
    size_t room = deflateBound(&stream, *len);
    char *out = or_nsim_take(room);
    stream.next_in = (Bytef *)*text;
    stream.avail_in = (uInt)*len;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)room;
    bool fine = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    if (fine) {
        free(*text);
        *text = out;
        *len = stream.total_out;
    } else {
        free(out);
    }
    (void)deflateEnd(&stream);
    return fine;
}

/* The other side finds its connection reset, not closed. */
static void cut(const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (info) {
        (void)setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
}

static void add_headers(struct MHD_Response *response, const struct or_nsim_call *call)
{
    char seconds[24];
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, call->content_type);
    if (call->retry_after_s) {
        snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)call->retry_after_s);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (!call->edge) {
        MHD_add_response_header(response, "x-notion-request-id", call->request_id);
    }
}

static enum MHD_Result answer(struct request *request)
{
    struct or_nsim_call *call = &request->call;
    bool control = call->number == 0;
    if (!control) {
        or_nsim_left(call);
    }
    if (call->ending == OR_NSIM_RESETS) {
        cut(request);
        return MHD_NO;
    }
    size_t len = call->out.len;
    char *text = or_nsim_steal(&call->out);
    bool packed = len >= GZIP_MIN && takes_gzip(request) && compress_text(&text, &len);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        or_nsim_no_memory();
    }
    add_headers(response, call);
    if (packed) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
        MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
    }
    enum MHD_Result result = MHD_queue_response(request->connection, call->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static void park(struct request *request, enum step step, uint64_t ms)
{
    struct or_nsim_http *http = request->sim->http;
    request->step = step;
    request->due_ms = or_nsim_real_ms() + ms;
    if (!request->suspended) {
        MHD_suspend_connection(request->connection);
        request->suspended = true;
        request->next = http->waiting;
        request->from = &http->waiting;
        if (request->next) {
            request->next->from = &request->next;
        }
        http->waiting = request;
    }
}

static void unpark(struct request *request)
{
    *request->from = request->next;
    if (request->next) {
        request->next->from = request->from;
    }
    request->suspended = false;
    MHD_resume_connection(request->connection);
}

/* The next step of a request whose body is complete; the answer is given by its connection. */
static bool go_on(struct request *request)
{
    struct or_nsim_call *call = &request->call;
    if (request->step == STEP_PERFORM) {
        or_nsim_perform(call);
        if (call->wait_ms[1]) {
            park(request, STEP_ANSWER, call->wait_ms[1]);
            return false;
        }
    }
    request->step = STEP_ANSWER;
    return true;
}

static void wake_due(struct or_nsim_http *http)
{
    uint64_t now = or_nsim_real_ms();
    struct request *next;
    for (struct request *request = http->waiting; request; request = next) {
        next = request->next;
        if (request->due_ms <= now && go_on(request)) {
            unpark(request);
        }
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static enum or_nsim_method method_of(const char *text)
{
    static const char *const names[] = {"GET", "POST", "PATCH", "DELETE"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum or_nsim_method)i;
        }
    }
    return OR_NSIM_OTHER;
}

static enum MHD_Result add_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct or_nsim_call *call = context;
    (void)kind;
    if (call->n_query < OR_NSIM_QUERY_MAX) {
        call->query[call->n_query++] =
            (struct or_nsim_pair){or_span(name), or_span(value ? value : "")};
    }
    return MHD_YES;
}

static struct request *new_request(struct or_nsim *sim, struct MHD_Connection *connection,
                                   const char *url, const char *method)
{
    struct request *request = or_nsim_take(sizeof *request);
    struct or_nsim_call *call = &request->call;
    request->sim = sim;
    request->connection = connection;
    request->path = or_nsim_copy_text(url);
    or_buffer_init(&request->body);
    or_nsim_call_init(call, sim);
    call->method = method_of(method);
    call->method_text = method;
    call->path = or_span(request->path);
    return request;
}

static enum MHD_Result take_body(struct request *request, const char *data, size_t *len)
{
    request->received += *len;
    if (request->received > UPLOAD_MAX) {
        return MHD_NO;
    }
    if (request->received > OR_NSIM_BODY_MAX) {
        request->call.too_large = true;
        or_buffer_clear(&request->body);
    } else {
        or_buffer_add(&request->body, data, *len);
    }
    *len = 0;
    return MHD_YES;
}

static enum MHD_Result begin(struct request *request)
{
    struct or_nsim_call *call = &request->call;
    struct MHD_Connection *connection = request->connection;
    call->authorization =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    call->version_text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Notion-Version");
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_parameter, call);
    call->body = or_buffer_view(&request->body);
    if (request->body.failed) {
        or_nsim_no_memory();
    }
    if (or_nsim_control(call) || !or_nsim_arrive(call)) {
        request->step = STEP_ANSWER;
        return answer(request);
    }
    if (call->wait_ms[0]) {
        park(request, STEP_PERFORM, call->wait_ms[0]);
        return MHD_YES;
    }
    request->step = STEP_PERFORM;
    return go_on(request) ? answer(request) : MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *len, void **own)
{
    struct request *request = *own;
    (void)version;
    if (!request) {
        *own = new_request(context, connection, url, method);
        return MHD_YES;
    }
    if (*len) {
        return take_body(request, data, len);
    }
    switch (request->step) {
    case STEP_BODY: return begin(request);
    case STEP_ANSWER: return answer(request);
    default: return MHD_NO; /* the server ends */
    }
}

static void complete(void *context, struct MHD_Connection *connection, void **own,
                     enum MHD_RequestTerminationCode code)
{
    struct request *request = *own;
    (void)context;
    (void)connection;
    (void)code;
    *own = NULL;
    if (request) {
        or_nsim_call_finish(&request->call);
        or_buffer_finish(&request->body);
        free(request->path);
        free(request);
    }
}

/* ---- listening ----------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int bind_to(const struct addrinfo *address)
{
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        int failed = errno;
        close(fd);
        errno = failed;
        return -1;
    }
    return fd;
}

static void note_address(struct or_nsim *sim, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[64] = "";
    char port[8] = "";
    (void)getsockname(fd, (struct sockaddr *)&address, &len);
    (void)getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    bool six = address.ss_family == AF_INET6;
    snprintf(sim->address, sizeof sim->address, "http://%s%.40s%s:%s", six ? "[" : "", host,
             six ? "]" : "", port);
}

static enum onerow_status open_listener(struct or_nsim *sim, int *fd, struct onerow_error *error)
{
    const char *host = sim->options.host ? sim->options.host : "127.0.0.1";
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", sim->options.port);
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        return or_fail(error, ONEROW_USAGE, "--listen: %s: %s", host, gai_strerror(code));
    }
    enum onerow_status status = ONEROW_OK;
    *fd = -1;
    if (!sim->options.anywhere && !is_loopback(found->ai_addr)) {
        status = or_fail(error, ONEROW_USAGE,
                         "--listen: %s is no loopback address, and whoever reaches the simulator "
                         "can use it\n  if that is wanted: --anywhere",
                         host);
    } else if ((*fd = bind_to(found)) < 0) {
        status = or_fail(error, ONEROW_UNAVAILABLE, "%s:%s: %s", host, port, strerror(errno));
    }
    freeaddrinfo(found);
    return status;
}

enum onerow_status or_nsim_listen(struct or_nsim *sim, struct onerow_error *error)
{
    int fd = -1;
    enum onerow_status status = open_listener(sim, &fd, error);
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_nsim_http *http = or_nsim_take(sizeof *http);
    http->listener = fd;
    http->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
                                    sim, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
                                    complete, NULL, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                                    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_MAX_S, MHD_OPTION_END);
    if (!http->daemon) {
        close(fd);
        free(http);
        return or_fail(error, ONEROW_UNAVAILABLE, "the HTTP server does not start");
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    http->epoll = info ? info->listen_fd : -1;
    sim->http = http;
    note_address(sim, fd);
    return ONEROW_OK;
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Until the next thing is due; -1: nothing is. */
static int patience(const struct or_nsim_http *http)
{
    unsigned long long wait = 0;
    bool any = MHD_get_timeout(http->daemon, &wait) == MHD_YES;
    uint64_t now = or_nsim_real_ms();
    for (const struct request *request = http->waiting; request; request = request->next) {
        uint64_t left = request->due_ms > now ? request->due_ms - now : 0;
        wait = any && wait < left ? wait : left;
        any = true;
    }
    return any ? (int)(wait < 3600000 ? wait : 3600000) : -1;
}

enum onerow_status or_nsim_serve(struct or_nsim *sim, const volatile bool *stop,
                                 struct onerow_error *error)
{
    sigset_t blocked;
    sigset_t before;
    enum onerow_status status = ONEROW_OK;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &blocked, &before) != 0) {
        return or_fail(error, ONEROW_IO, "signals: %s", strerror(errno));
    }
    while (status == ONEROW_OK && !or_flag_is_set(stop)) {
        struct pollfd events = {.fd = sim->http->epoll, .events = POLLIN};
        int ms = patience(sim->http);
        const struct timespec limit = {ms / 1000, (long)(ms % 1000) * 1000000};
        if (ppoll(&events, 1, ms < 0 ? NULL : &limit, &before) < 0 && errno != EINTR) {
            status = or_fail(error, ONEROW_IO, "poll: %s", strerror(errno));
        }
        wake_due(sim->http);
        (void)MHD_run(sim->http->daemon);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

void or_nsim_http_close(struct or_nsim *sim)
{
    struct or_nsim_http *http = sim->http;
    if (!http) {
        return;
    }
    while (http->waiting) { /* a server that stops with a suspended connection is a bug to MHD */
        http->waiting->step = STEP_ABANDONED;
        unpark(http->waiting);
    }
    (void)MHD_run(http->daemon);
    MHD_stop_daemon(http->daemon); /* and closes the listener */
    free(http);
    sim->http = NULL;
}
