/* SPDX-License-Identifier: Apache-2.0
 *
 * A ledger on a line: for end-to-end tests that need its calls in a process of its own.
 *
 *     ledger_client URL WAIT_MS
 *
 * Each line of the input is one call, its words divided by spaces; each is answered with one line:
 * the name of the status and what it told, or the error's text.
 *
 *     enter NAME DEFINITION         OK SOUND WHY…   OK SUSPECT WHY…
 *     get KIND NAME                 OK REVISION STATE SINCE BODY
 *     swap (KIND NAME REVISION STATE BODY)…   OK done   OK refused
 *     reserve N                     OK FIRST
 *     witness NUMBER                as enter
 *     confirm                       OK
 *
 * The first line of the output answers the opening. A KIND is its number; REVISION may be "any".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "coordinator/coordinator.h"

#define WORDS 24U

static struct onerow_coordinator *coordinator;
static uint64_t space;
static struct onerow_error error;

/* The end of an answer: the error on one line. */
static void answer(enum onerow_status status, const char *told)
{
    printf("%s ", onerow_status_name(status));
    for (const char *at = status == ONEROW_OK ? told : error.text; *at; at++) {
        putchar(*at == '\n' ? ' ' : *at);
    }
    putchar('\n');
    fflush(stdout);
}

static uint64_t number(const char *word)
{
    return word ? strtoull(word, NULL, 10) : 0;
}

static void tell_space(enum onerow_status status, const struct onerow_ledger_namespace *made)
{
    char told[1024];
    snprintf(told, sizeof told, "%s %s",
             made->standing == ONEROW_LEDGER_SOUND ? "SOUND" : "SUSPECT",
             made->why ? made->why : "");
    answer(status, told);
}

static void enter(char **words)
{
    struct onerow_ledger_namespace made = {0};
    enum onerow_status status = coordinator->type->ledger->enter(coordinator, or_span(words[1]),
                                                                 or_span(words[2]), &made, &error);
    space = status == ONEROW_OK ? made.number : space;
    tell_space(status, &made);
}

static void witness(char **words)
{
    struct onerow_ledger_namespace made = {0};
    enum onerow_status status =
        coordinator->type->ledger->witness(coordinator, space, number(words[1]), &made, &error);
    tell_space(status, &made);
}

static void get(char **words)
{
    char told[1024];
    uint64_t now = 0;
    struct or_arena arena;
    struct onerow_ledger_record record = {.kind = (enum onerow_ledger_kind)number(words[1]),
                                          .name = or_span(words[2])};
    or_arena_init(&arena);
    enum onerow_status status =
        coordinator->type->ledger->read(coordinator, space, &record, 1, &now, &arena, &error);
    snprintf(told, sizeof told, "%llu %u %llu %.*s", (unsigned long long)record.revision,
             record.state, (unsigned long long)record.since_ms, (int)record.body.len,
             record.body.len ? record.body.data : "");
    answer(status, told);
    or_arena_finish(&arena);
}

static void swap(char **words)
{
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    struct onerow_ledger_swap one = {.changes = changes};
    uint64_t now = 0;
    for (char **at = words + 1; one.n < ONEROW_LEDGER_CHANGES && at[0] && at[4]; at += 5) {
        changes[one.n++] = (struct onerow_ledger_change){
            .kind = (enum onerow_ledger_kind)number(at[0]),
            .name = or_span(at[1]),
            .revision = strcmp(at[2], "any") == 0 ? ONEROW_LEDGER_ANY : number(at[2]),
            .states = UINT32_MAX,
            .state = (uint8_t)number(at[3]),
            .stamp = true,
            .body = or_span(at[4])};
    }
    enum onerow_status status =
        coordinator->type->ledger->swap(coordinator, space, &one, 1, &now, &error);
    answer(status, one.done ? "done" : "refused");
}

static void reserve(char **words)
{
    char told[32];
    uint64_t first = 0;
    enum onerow_status status =
        coordinator->type->ledger->reserve(coordinator, number(words[1]), &first, &error);
    snprintf(told, sizeof told, "%llu", (unsigned long long)first);
    answer(status, told);
}

static void confirm(char **words)
{
    (void)words;
    answer(coordinator->type->ledger->confirm(coordinator, space, &error), "");
}

static const struct {
    const char *name;
    void (*run)(char **words);
    unsigned words; /* at least */
} calls[] = {
    {"enter", enter, 3},     {"get", get, 3},         {"swap", swap, 6},
    {"reserve", reserve, 2}, {"witness", witness, 2}, {"confirm", confirm, 1},
};

static bool run(char *line)
{
    char *words[WORDS + 5] = {NULL};
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
    if (argc != 3 || !or_coordinator_type_of(argv[1])) {
        fputs("usage: ledger_client URL WAIT_MS\n", stderr);
        return 64;
    }
    struct onerow_coordinator_options options = {.url = argv[1], .wait_ms = number(argv[2])};
    enum onerow_status status =
        or_coordinator_type_of(argv[1])->open(&options, &coordinator, &error);
    answer(status, "");
    while (coordinator && fgets(line, sizeof line, stdin) && run(line)) {
    }
    if (coordinator) {
        coordinator->type->close(coordinator);
    }
    return 0;
}
