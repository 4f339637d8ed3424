/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases on a line: for end-to-end tests that need a coordinator's calls in a process of its own.
 *
 *     lease_client URL WAIT_MS
 *
 * Each line of the input is one call, its words divided by spaces; each is answered with one line:
 * the name of the status and what it told, or the error's text. WHOSE makes the nonce.
 *
 *     acquire NAME WHOSE TTL PATIENCE FLOOR QUEUE   OK held TOKEN LEFT, OK waiting PLACE LEFT,
 *                                                   OK taken WAITERS LEFT
 *     renew NAME WHOSE TOKEN TTL                    OK held TOKEN LEFT, OK lost WAITERS LEFT
 *     release NAME WHOSE TOKEN, cancel NAME WHOSE   likewise
 *     force NAME BY                                 OK TOKEN WHO
 *     list PREFIX                                   OK NAME:WHOSE:TOKEN:WAITERS…
 *     share NAME NUMBER [stop]                      OK SUM: the record is a number, to which it is
 *                                                   added; stop: the process stops within the rule
 *     host HOST                                     OK: addresses are of that machine from now on
 *     heard MS                                      OK datagram WHOSE TOKEN, OK notice WHOSE,
 *                                                   OK nothing: what has come until then
 *     ear                                           OK yes: the coordinator listens; OK no
 *
 * The first line of the output answers the opening.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/text.h"
#include "base/wake.h"
#include "coordinator/coordinator.h"

#define WORDS 8U

static struct onerow_coordinator *coordinator;
static const struct onerow_lease_ops *ops;
static struct or_wake wake;
static struct onerow_error error;
static struct or_buffer told;

/* The end of an answer: the error on one line. */
static void answer(enum onerow_status status)
{
    printf("%s ", onerow_status_name(status));
    for (const char *at = status == ONEROW_OK ? or_buffer_cstr(&told) : error.text; *at; at++) {
        putchar(*at == '\n' ? ' ' : *at);
    }
    putchar('\n');
    fflush(stdout);
    or_buffer_clear(&told);
}

static uint64_t number(const char *word)
{
    return word ? strtoull(word, NULL, 10) : 0;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static struct onerow_lease_claim claim_of(char **words)
{
    struct onerow_lease_claim claim = {.name = or_span(words[1]),
                                       .who = or_span(words[2]),
                                       .wake = or_span(wake.address),
                                       .ttl_ms = 600000,
                                       .patience_ms = 600000};
    memcpy(claim.nonce, words[2], strnlen(words[2], ONEROW_NONCE));
    return claim;
}

static void tell_claim(enum onerow_status status, const struct onerow_lease_claim *claim)
{
    static const char *const names[] = {[ONEROW_LEASE_HELD] = "held",
                                        [ONEROW_LEASE_WAITING] = "waiting",
                                        [ONEROW_LEASE_TAKEN] = "taken",
                                        [ONEROW_LEASE_LOST] = "lost"};
    bool held = claim->answer == ONEROW_LEASE_HELD;
    or_buffer_printf(&told, "%s %" PRIu64 " %" PRIu64, names[claim->answer],
                     held ? claim->token : claim->place, claim->left_ms);
    answer(status);
}

static void acquire(char **words)
{
    struct onerow_lease_claim claim = claim_of(words);
    claim.ttl_ms = number(words[3]);
    claim.patience_ms = number(words[4]);
    claim.floor = number(words[5]);
    claim.queue = number(words[6]) != 0;
    tell_claim(ops->acquire(coordinator, &claim, &error), &claim);
}

static void renew(char **words)
{
    struct onerow_lease_claim claim = claim_of(words);
    claim.token = number(words[3]);
    claim.ttl_ms = number(words[4]);
    tell_claim(ops->renew(coordinator, &claim, &error), &claim);
}

static void let_go(char **words)
{
    struct onerow_lease_claim claim = claim_of(words);
    claim.token = number(words[3]);
    tell_claim(ops->release(coordinator, &claim, &error), &claim);
}

static void cancel(char **words)
{
    struct onerow_lease_claim claim = claim_of(words);
    tell_claim(ops->cancel(coordinator, &claim, &error), &claim);
}

/* ---- other calls ----------------------------------------------------------------------------- */

static void force(char **words)
{
    struct or_arena arena;
    struct onerow_lease_forced forced = {.name = or_span(words[1]), .by = or_span(words[2])};
    or_arena_init(&arena);
    enum onerow_status status = ops->force(coordinator, &forced, &arena, &error);
    or_buffer_printf(&told, "%" PRIu64 " ", forced.token);
    or_buffer_span(&told, forced.who);
    answer(status);
    or_arena_finish(&arena);
}

static bool tell_view(void *context, const struct onerow_lease_view *view)
{
    (void)context;
    or_buffer_span(&told, view->name);
    or_buffer_text(&told, ":");
    or_buffer_span(&told, view->held ? view->who : OR_SPAN("-"));
    or_buffer_printf(&told, ":%" PRIu64 ":%" PRIu64 " ", view->token, view->waiters);
    return true;
}

static void list(char **words)
{
    answer(ops->list(coordinator, or_span(words[1]), true, tell_view, NULL, &error));
}

static bool stops;

static bool add(void *context, struct onerow_span body, uint64_t now_ms, struct or_buffer *becomes)
{
    char text[32] = "";
    (void)now_ms;
    memcpy(text, body.data ? body.data : "", body.len < sizeof text ? body.len : 0);
    or_buffer_printf(becomes, "%" PRIu64, number(text) + *(const uint64_t *)context);
    or_buffer_clear(&told);
    or_buffer_span(&told, or_buffer_view(becomes));
    if (stops) {
        stops = false;
        (void)raise(SIGSTOP);
    }
    return true;
}

static void share(char **words)
{
    uint64_t more = number(words[2]);
    stops = words[3] != NULL;
    answer(ops->share(coordinator, or_span(words[1]), add, &more, &error));
}

/* ---- waking ---------------------------------------------------------------------------------- */

static void host(char **words)
{
    (void)snprintf(wake.address, sizeof wake.address, "%.16s/%s", words[1], wake.session);
    answer(ONEROW_OK);
}

static void ear(char **words)
{
    (void)words;
    or_buffer_text(&told, ops->wake_fd(coordinator) >= 0 ? "yes" : "no");
    answer(ONEROW_OK);
}

static void tell_nonce(const char *how, const unsigned char nonce[ONEROW_NONCE])
{
    or_buffer_printf(&told, "%s %.*s", how, (int)ONEROW_NONCE, (const char *)nonce);
}

static void tell_notice(void *context, const unsigned char nonce[ONEROW_NONCE])
{
    (void)context;
    if (told.len) {
        or_buffer_char(&told, ' ');
    }
    tell_nonce("notice", nonce);
}

/* What has come; it may have come together with an answer, and then no descriptor shows it. */
static bool take(void)
{
    struct or_wake_message message;
    if (or_wake_take(&wake, &message)) {
        tell_nonce("datagram", message.nonce);
        or_buffer_printf(&told, " %" PRIu64, message.token);
        return true;
    }
    return ops->woken(coordinator, tell_notice, NULL, &error) != ONEROW_OK || told.len > 0;
}

static void heard(char **words)
{
    uint64_t end = or_wake_now_ms() + number(words[1]);
    while (!take() && or_wake_now_ms() < end) {
        struct pollfd fds[] = {{.fd = wake.fd, .events = POLLIN},
                               {.fd = ops->wake_fd(coordinator), .events = POLLIN}};
        (void)poll(fds, 2, (int)(end - or_wake_now_ms()));
    }
    if (!told.len) {
        or_buffer_text(&told, "nothing");
    }
    answer(ONEROW_OK);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(char **words);
    unsigned words; /* at least */
} calls[] = {
    {"acquire", acquire, 7}, {"renew", renew, 5}, {"release", let_go, 4}, {"cancel", cancel, 3},
    {"force", force, 3},     {"list", list, 2},   {"share", share, 3},    {"host", host, 2},
    {"heard", heard, 2},     {"ear", ear, 1},
};

static bool run(char *line)
{
    char *words[WORDS] = {NULL};
    char *rest = NULL;
    unsigned n = 0;
    for (char *word = strtok_r(line, " \n", &rest); word && n < WORDS;
         word = strtok_r(NULL, " \n", &rest)) {
        words[n++] = word;
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (words[0] && n >= calls[i].words && strcmp(words[0], calls[i].name) == 0) {
            calls[i].run(words);
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    char line[8192];
    const struct onerow_coordinator_type *type = argc == 3 ? or_coordinator_type_of(argv[1]) : NULL;
    if (!type || !type->leases || !or_wake_open(&wake)) {
        fputs("usage: lease_client URL WAIT_MS\n", stderr);
        return 64;
    }
    struct onerow_coordinator_options options = {.url = argv[1], .wait_ms = number(argv[2])};
    or_buffer_init(&told);
    ops = type->leases;
    answer(type->open(&options, &coordinator, &error));
    while (coordinator && fgets(line, sizeof line, stdin) && run(line)) {
    }
    if (coordinator) {
        coordinator->type->close(coordinator);
    }
    or_wake_close(&wake);
    or_buffer_finish(&told);
    return 0;
}
