/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP client against a server that does as each test says: it counts connections and requests,
 * and answers, hangs, cuts or lies. What is over TLS is over a real one (openssl s_server).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/text.h"
#include "net/http.h"
#include "tests/support/bench.h"

/* ---- the server --------------------------------------------------------------------------------
 */

enum act {
    ANSWER,      /* with `reply` */
    CUT,         /* closes when the request is read */
    CUT_ON_KEPT, /* answers a connection's first request, closes at its second */
    HANG,        /* answers nothing */
};

static struct {
    int fd;
    uint16_t port;
    pthread_t thread;
    enum act act;
    const char *reply;
    size_t reply_len;
    atomic_uint connections, requests;
    atomic_bool stop;
    char last[4096]; /* the last request's head */
} server;

static struct bench bench;
static struct or_http *http;

static int listen_here(uint16_t *port, int backlog)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&place, &len), 0);
    *port = ntohs(place.sin_port);
    return fd;
}

/* Reads one request, head and body. False: the connection is over. */
static bool read_request(int fd, char head[4096])
{
    size_t len = 0;
    char *end = NULL;
    while (!end && len < 4095) {
        ssize_t got = recv(fd, head + len, 4095 - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        head[len] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    const char *told = strcasestr(head, "content-length:");
    size_t body = told ? strtoul(told + 15, NULL, 10) : 0;
    size_t have = len - (size_t)(end + 4 - head);
    while (have < body) {
        char block[4096];
        ssize_t got = recv(fd, block, sizeof block, 0);
        if (got <= 0) {
            return false;
        }
        have += (size_t)got;
    }
    return true;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        data += sent;
        len -= (size_t)sent;
    }
}

static void *serve_one(void *context)
{
    int fd = (int)(intptr_t)context;
    char head[4096];
    for (unsigned n = 1; read_request(fd, head); n++) {
        memcpy(server.last, head, sizeof head);
        atomic_fetch_add(&server.requests, 1);
        if (server.act == CUT || (server.act == CUT_ON_KEPT && n > 1)) {
            break;
        }
        while (server.act == HANG && !atomic_load(&server.stop)) {
            struct pollfd wait = {.fd = fd, .events = POLLRDHUP};
            if (poll(&wait, 1, 20) > 0) {
                break;
            }
        }
        if (server.act == HANG) {
            break;
        }
        send_all(fd, server.reply, server.reply_len);
    }
    close(fd);
    return NULL;
}

static void *serve(void *context)
{
    (void)context;
    pthread_t threads[128];
    size_t n = 0;
    for (int fd; (fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 && n < 128;) {
        atomic_fetch_add(&server.connections, 1);
        assert_int_equal(pthread_create(&threads[n++], NULL, serve_one, (void *)(intptr_t)fd), 0);
    }
    while (n) {
        pthread_join(threads[--n], NULL);
    }
    return NULL;
}

static void reply(enum act act, const char *text)
{
    server.act = act;
    server.reply = text;
    server.reply_len = strlen(text);
}

static int start(void **state)
{
    (void)state;
    bench_start(&bench);
    server.fd = listen_here(&server.port, 128);
    atomic_store(&server.connections, 0);
    atomic_store(&server.requests, 0);
    atomic_store(&server.stop, false);
    reply(ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    http = or_http_create(&(struct or_http_options){
        .loopback = true, .connect_ms = 500, .request_id = "x-request-id"});
    assert_non_null(http);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    or_http_destroy(http);
    atomic_store(&server.stop, true);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    bench_stop(&bench);
    return 0;
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static struct or_http_request asking(const char *method, const char *body)
{
    return (struct or_http_request){
        .method = method,
        .url = text(&bench, "http://127.0.0.1:%u/x", server.port),
        .headers = {{"Authorization", "Bearer secret"}, {"Content-Type", "application/json"}},
        .n_headers = 2,
        .body = body ? or_span(body) : (struct onerow_span){0},
        .timeout_ms = 5000};
}

static void go(struct or_http *with, struct or_http_request *request)
{
    struct or_http_request *over = NULL;
    assert_true(or_http_start(with, request));
    while (!over) {
        over = or_http_finish(with, 1000);
    }
    assert_ptr_equal(over, request);
}

/* How it ended; the answer is given back. */
static enum or_http_end end_of(struct or_http_request *request)
{
    go(http, request);
    or_buffer_finish(&request->answer);
    return request->end;
}

/* ---- tests
 * --------------------------------------------------------------------------------------- */

static void what_was_sent_arrives_and_the_answer_comes_back(void **state)
{
    static const char *const methods[] = {"GET", "POST", "PATCH"};
    (void)state;
    reply(ANSWER,
          "HTTP/1.1 201 Created\r\nX-Request-Id:  r-1 \r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    for (size_t i = 0; i < 3; i++) {
        struct or_http_request request = asking(methods[i], i ? "{\"b\":2}" : NULL);
        go(http, &request);
        assert_int_equal(request.end, OR_HTTP_ANSWERED);
        assert_int_equal(request.status, 201);
        assert_string_equal(or_buffer_cstr(&request.answer), "{\"a\":1}");
        assert_string_equal(request.request_id, "r-1");
        assert_contains(server.last, text(&bench, "%s /x HTTP/1.1\r\n", methods[i]));
        assert_contains(server.last, "Authorization: Bearer secret\r\n");
        assert_null(strcasestr(server.last, "expect:"));
        or_buffer_finish(&request.answer);
    }
    assert_int_equal(server.connections, 1); /* kept */
}

static void retry_after_is_read_by_the_servers_clock(void **state)
{
    static const struct {
        const char *headers;
        uint64_t ms;
    } cases[] = {
        {"Retry-After: 7\r\n", 7000},
        {"retry-after: 1.5\r\n", 1500},
        {"Date: Sun, 06 Nov 1994 08:49:00 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         37000},
        {"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 0}, /* over, by our own clock */
        {"Retry-After: soon\r\n", 0},
        {"", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reply(ANSWER,
              text(&bench, "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n%s\r\n", cases[i].headers));
        struct or_http_request request = asking("GET", NULL);
        assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
        assert_int_equal(request.retry_after_ms, cases[i].ms);
    }
}

static void what_cannot_have_been_sent_is_told_apart(void **state)
{
    uint16_t port = 0;
    (void)state;
    close(listen_here(&port, 1)); /* nobody listens there any more */
    struct or_http_request request = asking("POST", "{}");
    request.url = text(&bench, "http://127.0.0.1:%u/", port);
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    assert_true(strlen(request.why) > 0);
    request = asking("GET", NULL);
    request.url = text(&bench, "http://127.0.0.1:%u/", port);
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    request.url = "http://no-such-host.invalid/";
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    /* A place that takes no connections: its queue is full. */
    int full = listen_here(&port, 0);
    int waiting[8];
    struct sockaddr_in place = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (size_t i = 0; i < 8; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(waiting[i], (struct sockaddr *)&place, sizeof place);
    }
    request = asking("POST", "{}");
    request.url = text(&bench, "http://127.0.0.1:%u/", port);
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    for (size_t i = 0; i < 8; i++) {
        close(waiting[i]);
    }
    close(full);
}

static void what_may_have_arrived_is_uncertain(void **state)
{
    (void)state;
    struct or_http_request request = asking("POST", "{}");
    reply(CUT, "");
    assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN);
    assert_null(strstr(request.why, "secret"));
    reply(HANG, "");
    request.timeout_ms = 200;
    assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN);
    request.timeout_ms = 5000;
    static const char *const halves[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "\1\2\3\4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        reply(CUT_ON_KEPT, halves[i]); /* the rest never comes: the request runs into its time */
        request.timeout_ms = 200;
        assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN);
    }
}

/* The naive way: a body in one piece. Returns how many requests the server saw. */
static unsigned send_naively(void)
{
    CURL *easy = curl_easy_init();
    assert_non_null(easy);
    curl_easy_setopt(easy, CURLOPT_URL, text(&bench, "http://127.0.0.1:%u/x", server.port));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "{}");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    unsigned before = server.requests;
    FILE *nowhere = fopen("/dev/null", "w");
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, nowhere);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    (void)curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    fclose(nowhere);
    return server.requests - before;
}

static void a_body_goes_out_once(void **state)
{
    (void)state;
    reply(CUT_ON_KEPT, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    struct or_http_request request = asking("POST", "{}");
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN); /* the kept connection is dead */
    assert_int_equal(server.requests, 2);
    request = asking("PATCH", "{}");
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN);
    assert_int_equal(server.requests, 4);
    assert_int_equal(send_naively(), 3); /* control: libcurl by itself sends it again */
}

static void after_failures_connections_are_new(void **state)
{
    (void)state;
    reply(ANSWER, "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    struct or_http_request request = asking("GET", NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    }
    assert_int_equal(server.connections, 1);
    reply(ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    assert_int_equal(server.connections, 2);
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    assert_int_equal(server.connections, 2);
}

static void redirects_are_answers(void **state)
{
    (void)state;
    reply(ANSWER, "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    struct or_http_request request = asking("POST", "{}");
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    assert_int_equal(request.status, 307);
    assert_int_equal(server.requests, 1);
}

static void other_protocols_are_not_spoken(void **state)
{
    (void)state;
    struct or_http_request request = asking("GET", NULL);
    request.url = text(&bench, "file://%s", bench.folder);
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    request.url = text(&bench, "https://127.0.0.1:%u/", server.port);
    assert_int_equal(end_of(&request), OR_HTTP_NOT_SENT);
    assert_int_equal(server.connections, 0);
}

/* 65 MiB of zeros, in 64 KiB. */
static void an_answer_has_a_limit(void **state)
{
    (void)state;
    size_t plain = OR_HTTP_BODY + 1024 * 1024;
    size_t room = 256 * 1024;
    Bytef *packed = malloc(room);
    Bytef *zeros = calloc(1, plain);
    z_stream stream = {.next_in = zeros,
                       .avail_in = (uInt)plain,
                       .next_out = packed + 256,
                       .avail_out = (uInt)(room - 256)};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    free(zeros);
    size_t len = room - 256 - stream.avail_out;
    int head =
        snprintf((char *)packed, 256,
                 "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", len);
    memmove(packed + head, packed + 256, len);
    server.reply = (const char *)packed;
    server.reply_len = (size_t)head + len;
    struct or_http_request request = asking("GET", NULL);
    assert_int_equal(end_of(&request), OR_HTTP_UNCERTAIN);
    assert_contains(request.why, "larger than 64 MiB");
    free(packed);
}

static void a_packed_answer_is_unpacked(void **state)
{
    (void)state;
    Bytef packed[256];
    z_stream stream = {.next_in = (Bytef *)(uintptr_t) "{\"a\":1}",
                       .avail_in = 7,
                       .next_out = packed,
                       .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    char all[512];
    int head = snprintf(all, sizeof all,
                        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                        sizeof packed - stream.avail_out);
    memcpy(all + head, packed, sizeof packed - stream.avail_out);
    server.reply = all;
    server.reply_len = (size_t)head + sizeof packed - stream.avail_out;
    struct or_http_request request = asking("GET", NULL);
    go(http, &request);
    assert_string_equal(or_buffer_cstr(&request.answer), "{\"a\":1}");
    assert_contains(server.last, "gzip");
    or_buffer_finish(&request.answer);
}

static void many_are_out_at_a_time(void **state)
{
    enum { MANY = 60 };
    struct or_http_request requests[MANY];
    bool seen[MANY] = {false};
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        requests[i] = asking("POST", "{}");
        requests[i].owner = &seen[i];
        assert_true(or_http_start(http, &requests[i]));
    }
    for (size_t i = 0; i < MANY; i++) {
        struct or_http_request *over = NULL;
        while (!over) {
            over = or_http_finish(http, 1000);
        }
        assert_int_equal(over->end, OR_HTTP_ANSWERED);
        assert_false(*(bool *)over->owner);
        *(bool *)over->owner = true;
        or_buffer_finish(&over->answer);
    }
    assert_null(or_http_finish(http, 0));
    assert_int_equal(server.requests, MANY);
}

static void what_is_cancelled_leaves_nothing(void **state)
{
    (void)state;
    reply(HANG, "");
    struct or_http_request one = asking("POST", "{}");
    struct or_http_request other = asking("POST", "{}");
    assert_true(or_http_start(http, &one) && or_http_start(http, &other));
    (void)or_http_finish(http, 50);
    or_http_cancel(http, &one);
    or_http_destroy(http); /* the other one is still out */
    http = NULL;
}

static void the_environments_proxy_does_not_see_loopback(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct or_http_request request = asking("POST", "{}");
    assert_int_equal(end_of(&request), OR_HTTP_ANSWERED);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

/* ---- TLS ---------------------------------------------------------------------------------------
 */

static void run_openssl(const char *words)
{
    if (system(text(&bench, "openssl %s >/dev/null 2>&1", words)) != 0) { /* NOLINT(cert-env33-c) */
        fail_msg("openssl failed: apt-get install openssl");
    }
}

/* A server with a certificate for this name. */
static pid_t start_tls(const char *name, uint16_t port, const char **certificate)
{
    const char *key = bench_file(&bench, text(&bench, "%s.key", name));
    *certificate = bench_file(&bench, text(&bench, "%s.pem", name));
    run_openssl(text(&bench,
                     "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s -addext "
                     "subjectAltName=DNS:%s -keyout %s -out %s",
                     name, name, key, *certificate));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        freopen("/dev/null", "w", stdout);
        freopen("/dev/null", "w", stderr);
        execlp("openssl", "openssl", "s_server", "-quiet", "-www", "-accept",
               text(&bench, "127.0.0.1:%u", port), "-cert", *certificate, "-key", key, NULL);
        _exit(127);
    }
    struct sockaddr_in place = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (bool up = false; !up;) { /* until it listens */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        up = connect(fd, (struct sockaddr *)&place, sizeof place) == 0;
        close(fd);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
        usleep(up ? 0 : 10000);
    }
    return pid;
}

static enum or_http_end ask_tls(uint16_t port, const char *authority, char why[256])
{
    struct or_http *client = or_http_create(&(struct or_http_options){.connect_ms = 5000});
    struct or_http_request request = asking("GET", NULL);
    request.url = text(&bench, "https://localhost:%u/", port);
    if (authority) {
        setenv("SSL_CERT_FILE", authority, 1);
    }
    go(client, &request);
    unsetenv("SSL_CERT_FILE");
    or_buffer_finish(&request.answer);
    or_http_destroy(client);
    memcpy(why, request.why, 256);
    return request.end;
}

static void certificates_are_verified(void **state)
{
    const char *certificate;
    char why[256];
    uint16_t port = 0;
    (void)state;
    unsetenv("CURL_CA_BUNDLE"); /* the machine's own, if it has one */
    unsetenv("SSL_CERT_DIR");
    close(listen_here(&port, 1));
    pid_t pid = start_tls("localhost", port, &certificate);
    assert_int_equal(ask_tls(port, NULL, why), OR_HTTP_NOT_SENT);
    assert_contains(why, "certificate");
    enum or_http_end end = ask_tls(port, certificate, why);
    if (end != OR_HTTP_ANSWERED) {
        fail_msg("%s", why);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    close(listen_here(&port, 1));
    pid = start_tls("elsewhere", port, &certificate);
    assert_int_equal(ask_tls(port, certificate, why), OR_HTTP_NOT_SENT); /* another's name */
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_sent_arrives_and_the_answer_comes_back),
        TEST(retry_after_is_read_by_the_servers_clock),
        TEST(what_cannot_have_been_sent_is_told_apart),
        TEST(what_may_have_arrived_is_uncertain),
        TEST(a_body_goes_out_once),
        TEST(after_failures_connections_are_new),
        TEST(redirects_are_answers),
        TEST(other_protocols_are_not_spoken),
        TEST(an_answer_has_a_limit),
        TEST(a_packed_answer_is_unpacked),
        TEST(many_are_out_at_a_time),
        TEST(what_is_cancelled_leaves_nothing),
        TEST(the_environments_proxy_does_not_see_loopback),
        TEST(certificates_are_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
