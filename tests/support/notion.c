/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/notion.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/entry.h"
#include "net/http.h"
#include "store/store.h"

struct bench b;
const char *refusal;

static struct {
    pid_t pid;
    int out;
    char address[64]; /* http://127.0.0.1:PORT */
    char url[80];
    size_t forgotten; /* bytes of the log */
    struct or_http *http;
} sim;

static const char SETUP[] =
    "{'tokens':[{'token':'" NOTION_TOKEN "','name':'Onerow'},"
    "{'token':'readonly','name':'Reader','capabilities':['read']}],"
    "'databases':["
    "{'id':'" NOTION_SEVERAL "','title':'Two','data_sources':["
    "{'id':'" NOTION_FIRST "','name':'First','properties':{'Name':{'title':{}}}},"
    "{'name':'Second','properties':{'Name':{'title':{}}}}]},"
    "{'id':'" NOTION_DATABASE "','title':'Areas','data_sources':[{'id':'" NOTION_SOURCE
    "','name':'Areas','properties':{"
    "'Name':{'title':{}},'Code':{'rich_text':{}},'Link':{'url':{}},'Mail':{'email':{}},"
    "'Phone':{'phone_number':{}},'Score':{'number':{}},"
    "'Kind':{'select':{'options':[{'name':'work'},{'name':'home'}]}},'Tags':{'multi_select':{}},"
    "'State':{'status':{'options':[{'name':'Active'},{'name':'Done'}]}},'Open':{'checkbox':{}},"
    "'Day':{'date':{}},'Who':{'people':{}},"
    "'Up':{'relation':{'data_source_id':'" NOTION_FIRST "','single_property':{}}},"
    "'Number':{'unique_id':{'prefix':'A'}},'Twice':{'formula':{'expression':'1'}},"
    "'Made':{'created_time':{}}}}]}]}";

static char *quotes_doubled(const char *json)
{
    char *copy = (char *)(uintptr_t)text(&b, "%s", json);
    for (char *at = copy; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    return copy;
}

static void write_file(const char *name, const char *content)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* ---- the simulator ------------------------------------------------------------------------- */

static void read_address(void)
{
    char line[256] = "";
    size_t len = 0;
    while (len < sizeof line - 1 && read(sim.out, line + len, 1) == 1 && line[len] != '\n') {
        len++;
    }
    line[len] = '\0';
    const char *start = strstr(line, "http://");
    if (!start) {
        fail_msg("%s notion-sim did not start; it said: %s (build it: make)", getenv("ONEROW"),
                 line);
    }
    size_t n = strcspn(start + 7, "/ ") + 7;
    snprintf(sim.address, sizeof sim.address, "%.*s", (int)n, start);
    snprintf(sim.url, sizeof sim.url, "notion+%s", sim.address);
}

static void start_sim(const char *const *words)
{
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    sim.pid = fork();
    assert_true(sim.pid >= 0);
    if (sim.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        execv(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    close(out[1]);
    sim.out = out[0];
    read_address();
}

void notion_start(const char *const *options)
{
    const char *words[24] = {getenv("ONEROW"), "notion-sim", "--seed", "7",
                             "--setup",        NULL,         "--log",  NULL};
    size_t n = 8;
    assert_non_null(words[0]);
    bench_start(&b);
    words[5] = bench_file(&b, "setup.json");
    words[7] = bench_file(&b, "log");
    write_file(words[5], quotes_doubled(SETUP));
    for (; options && *options; options++) {
        words[n++] = *options;
    }
    sim.forgotten = 0;
    start_sim(words);
    sim.http = or_http_create(&(struct or_http_options){.loopback = true});
    assert_non_null(sim.http);
}

void notion_stop(void)
{
    bench_close(&b);
    or_http_destroy(sim.http);
    kill(sim.pid, SIGTERM);
    waitpid(sim.pid, NULL, 0);
    close(sim.out);
    bench_stop(&b);
}

const char *notion_url(void)
{
    return sim.url;
}

/* ---- the store --------------------------------------------------------------------------------
 */

enum onerow_status notion_open(const char *version, const char *token)
{
    const struct onerow_store_options options = {
        .url = sim.url, .token = or_span(token), .version = version, .wait_ms = 10000};
    bench_close(&b);
    b.status = or_store_type_of(sim.url)->open(&options, &b.table.store, &b.error);
    return b.status;
}

enum onerow_status notion_look(const char *version, const char *location, const char *key)
{
    assert_int_equal(notion_open(version, NOTION_TOKEN), ONEROW_OK);
    return bench_look(&b, location, key);
}

/* ---- control
 * -------------------------------------------------------------------------------------- */

const char *notion_say(const char *method, const char *path, const char *body)
{
    struct or_http_request request = {.method = method,
                                      .url = text(&b, "%s%s", sim.address, path),
                                      .headers = {{"Authorization", "Bearer " NOTION_TOKEN},
                                                  {"Notion-Version", "2025-09-03"},
                                                  {"Content-Type", "application/json"}},
                                      .n_headers = 3,
                                      .body = body ? or_span(quotes_doubled(body))
                                                   : (struct onerow_span){0},
                                      .timeout_ms = 10000};
    assert_true(or_http_start(sim.http, &request));
    assert_ptr_equal(or_http_finish(sim.http, 10000), &request);
    assert_int_equal(request.end, OR_HTTP_ANSWERED);
    const char *answer = text(&b, "%s", or_buffer_cstr(&request.answer));
    if (request.status >= 300) {
        fail_msg("%s %s: %u %s", method, path, request.status, answer);
    }
    or_buffer_finish(&request.answer);
    return answer;
}

void notion_fault(const char *fault, unsigned times, const char *method, const char *path)
{
    size_t len = strcspn(fault, ":");
    (void)notion_say("POST", "/_sim/faults",
                     text(&b,
                          "{'next':[{'fault':'%.*s','times':%u,'method':'%s','path':'%s'%s%s}]}",
                          (int)len, fault, times, method, path, fault[len] ? ",'parameter':" : "",
                          fault[len] ? fault + len + 1 : ""));
}

void notion_person(const char *page, const char *verb, const char *body)
{
    (void)notion_say("POST", text(&b, "/_sim/pages/%s/%s", page, verb), body ? body : "{}");
}

static const char *read_log(void)
{
    struct or_buffer all;
    char block[4096];
    int log = open(bench_file(&b, "log"), O_RDONLY | O_CLOEXEC);
    assert_true(log >= 0);
    or_buffer_init(&all);
    for (ssize_t got; (got = read(log, block, sizeof block)) > 0;) {
        or_buffer_add(&all, block, (size_t)got);
    }
    close(log);
    const char *copy = text(&b, "%s", or_buffer_cstr(&all));
    or_buffer_finish(&all);
    return copy;
}

size_t notion_sent(const char *method, const char *path)
{
    const char *wanted = text(&b, "\"method\":\"%s\",\"path\":\"%s", method, path);
    size_t n = 0;
    for (const char *at = read_log() + sim.forgotten; (at = strstr(at, wanted)); at++) {
        n++;
    }
    return n;
}

void notion_forget(void)
{
    sim.forgotten = strlen(read_log());
}

uint64_t notion_requests(void)
{
    const char *all = strstr(notion_say("GET", "/_sim/state?keys=none", NULL), "\"requests\":");
    assert_non_null(all);
    return strtoull(all + sizeof "\"requests\":" - 1, NULL, 10);
}

const char *notion_page(const char *properties)
{
    const char *answer =
        notion_say("POST", "/v1/pages",
                   text(&b, "{'parent':{'data_source_id':'" NOTION_SOURCE "'},'properties':{%s}}",
                        properties));
    const char *id = strstr(answer, "\"id\":\"");
    assert_non_null(id);
    return text(&b, "%.36s", id + 6);
}

/* ---- records and calls -------------------------------------------------------------------------
 */

struct onerow_record *record(const char *json)
{
    struct or_item item = {0};
    struct or_entry *entry = or_arena_alloc(&b.arena, sizeof *entry);
    assert_non_null(entry);
    *entry = (struct or_entry){.line = 1};
    assert_int_equal(or_input_parse_json(or_span(quotes_doubled(json)), &b.arena, &item),
                     ONEROW_OK);
    assert_true(or_entry_bind(entry, &b.table, &item, &b.arena));
    if (entry->outcome == ONEROW_REFUSED) {
        fail_msg("%s: %s", json, entry->reason);
    }
    for (size_t i = 0; b.untyped && i < entry->record.n_values; i++) {
        struct onerow_value *value = (struct onerow_value *)(uintptr_t)&entry->record.values[i];
        value->kind = value->kind == ONEROW_TEXT ? ONEROW_UNTYPED : value->kind;
    }
    return &entry->record;
}

const char *payload(const struct onerow_record *record)
{
    struct onerow_span made = {0};
    enum onerow_status status = b.table.store->type->pages->encode(b.table.table, record, &b.arena,
                                                                   &made, &refusal, &b.error);
    assert_true(status == ONEROW_OK || status == ONEROW_REJECTED);
    return status == ONEROW_OK ? made.data : NULL;
}

const char *answer_name(enum onerow_page_answer answer)
{
    static const char *const names[] = {[ONEROW_PAGE_OK] = "ok",
                                        [ONEROW_PAGE_REFUSED] = "refused",
                                        [ONEROW_PAGE_TRASHED] = "trashed",
                                        [ONEROW_PAGE_NOT_FOUND] = "not found",
                                        [ONEROW_PAGE_RATE] = "rate",
                                        [ONEROW_PAGE_CONFLICT] = "conflict",
                                        [ONEROW_PAGE_UNCERTAIN] = "uncertain",
                                        [ONEROW_PAGE_FAILED] = "failed"};
    return names[answer];
}

struct onerow_page_call *call_of(enum onerow_page_do what, const char *page,
                                 const struct onerow_record *record)
{
    struct onerow_page_call *call = or_arena_alloc(&b.arena, sizeof *call);
    const struct onerow_record **keys = or_arena_alloc(&b.arena, sizeof *keys);
    assert_true(call && keys);
    *keys = record;
    *call = (struct onerow_page_call){.what = what,
                                      .table = b.table.table,
                                      .keys = keys,
                                      .n_keys = record ? 1 : 0,
                                      .title = OR_SPAN(ONEROW_BLANK_TITLE "ledger-1"),
                                      .page = or_span(page),
                                      .timeout_ms = 5000,
                                      .arena = &b.arena};
    if (record) {
        call->payload = or_span(payload(record));
        assert_non_null(call->payload.data);
    }
    return call;
}

unsigned parts;

static void run_part(struct onerow_page_call *call)
{
    const struct onerow_page_ops *ops = b.table.store->type->pages;
    uint64_t before = b.table.store->round_trips;
    assert_int_equal(ops->start(b.table.store, call, &b.error), ONEROW_OK);
    struct onerow_page_call *over = NULL;
    for (unsigned i = 0; !over && i < 1000; i++) {
        over = ops->finish(b.table.store, 100);
    }
    assert_ptr_equal(over, call);
    assert_true(b.table.store->round_trips <= before + 1); /* leave is for one request */
}

const char *run(struct onerow_page_call *call)
{
    call->more = NULL;
    parts = 0;
    do {
        run_part(call);
        parts++;
    } while (call->answer == ONEROW_PAGE_MORE);
    return answer_name(call->answer);
}
