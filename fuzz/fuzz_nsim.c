/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: the first byte chooses a request of the Notion API and its version, the rest is its
 * body, sent to a small workspace in the simulator. Every answer must be JSON, an error must save
 * nothing, and what was saved must be readable.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define SOURCE "11111111-1111-1111-1111-111111111111"
#define ROW    "22222222-2222-2222-2222-222222222222"
#define BASE   "33333333-3333-3333-3333-333333333333"

static const char SETUP[] =
    "{\"databases\":[{\"id\":\"" BASE "\",\"data_sources\":[{\"id\":\"" SOURCE
    "\",\"properties\":{\"Name\":{\"title\":{}},\"T\":{\"rich_text\":{}},\"N\":{\"number\":{}},"
    "\"S\":{\"select\":{}},\"M\":{\"multi_select\":{}},\"St\":{\"status\":{}},\"D\":{\"date\":{}},"
    "\"B\":{\"checkbox\":{}},\"U\":{\"url\":{}},\"P\":{\"people\":{}},\"R\":{\"relation\":"
    "{\"data_source_id\":\"" SOURCE "\",\"single_property\":{}}},\"I\":{\"unique_id\":{}}},"
    "\"rows\":[{\"id\":\"" ROW "\",\"properties\":{\"Name\":{\"title\":[{\"text\":{\"content\":"
    "\"Home\"}}]}}}]}]}]}";

static const struct {
    enum or_nsim_method method;
    const char *name;
    const char *path;
} requests[] = {
    {OR_NSIM_POST, "POST", "/v1/pages"},
    {OR_NSIM_PATCH, "PATCH", "/v1/pages/" ROW},
    {OR_NSIM_POST, "POST", "/v1/data_sources/" SOURCE "/query"},
    {OR_NSIM_PATCH, "PATCH", "/v1/data_sources/" SOURCE},
    {OR_NSIM_POST, "POST", "/v1/data_sources"},
    {OR_NSIM_POST, "POST", "/v1/databases"},
    {OR_NSIM_PATCH, "PATCH", "/v1/databases/" BASE},
    {OR_NSIM_POST, "POST", "/v1/databases/" BASE "/query"},
    {OR_NSIM_PATCH, "PATCH", "/v1/blocks/" ROW "/children"},
    {OR_NSIM_PATCH, "PATCH", "/v1/blocks/" ROW},
    {OR_NSIM_POST, "POST", "/v1/search"},
    {OR_NSIM_POST, "POST", "/_sim/faults"},
    {OR_NSIM_POST, "POST", "/_sim/pages/" ROW "/rename"},
    {OR_NSIM_POST, "POST", "/_sim/clock"},
};

#define REQUESTS (sizeof requests / sizeof *requests)

static void ask(struct or_nsim *sim, struct or_nsim_call *call, size_t which, const char *version,
                struct onerow_span body)
{
    or_nsim_call_init(call, sim);
    call->method = requests[which].method;
    call->method_text = requests[which].name;
    call->path = or_span(requests[which].path);
    call->authorization = "Bearer secret";
    call->version_text = version;
    call->body = body;
    if (or_nsim_control(call)) {
        return;
    }
    if (or_nsim_arrive(call)) {
        or_nsim_perform(call);
    }
    or_nsim_left(call);
}

static void check_answer(const struct or_nsim_call *call)
{
    yyjson_doc *doc = yyjson_read(call->out.data, call->out.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    HOLDS(doc && yyjson_is_obj(root));
    if (call->number && call->status != 200) {
        HOLDS(call->status >= 400 && call->status < 410);
        HOLDS(yyjson_is_str(yyjson_obj_get(root, "message")));
        HOLDS(!call->committed);
    }
    if (call->number) {
        HOLDS(strcmp(yyjson_get_str(yyjson_obj_get(root, "request_id")), call->request_id) == 0);
    }
    yyjson_doc_free(doc);
}

/* Whatever was done, the workspace can be read. */
static void read_all(struct or_nsim *sim)
{
    struct or_nsim_call call;
    struct or_buffer state;
    or_buffer_init(&state);
    or_nsim_faults_finish(&sim->faults);
    memset(sim->faults.rates, 0, sizeof sim->faults.rates);
    ask(sim, &call, 2, "2025-09-03", (struct onerow_span){"{}", 2});
    check_answer(&call);
    HOLDS(call.status == 200);
    or_nsim_call_finish(&call);
    or_nsim_show_state(sim, true, &state);
    yyjson_doc *doc = yyjson_read(state.data, state.len, 0);
    HOLDS(doc);
    yyjson_doc_free(doc);
    or_nsim_show_html(sim, &state);
    or_buffer_finish(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const versions[] = {"2022-06-28", "2025-09-03", "2026-03-11"};
    struct or_nsim *sim = NULL;
    struct or_nsim_call call;
    const struct or_nsim_options options = {
        .seed = 1, .virtual_clock = true, .setup = SETUP, .setup_len = sizeof SETUP - 1};
    if (size == 0) {
        return 0;
    }
    HOLDS(or_nsim_open(&options, &sim, NULL) == ONEROW_OK);
    ask(sim, &call, data[0] % REQUESTS, versions[data[0] / REQUESTS % 3],
        (struct onerow_span){(const char *)data + 1, size - 1});
    check_answer(&call);
    or_nsim_call_finish(&call);
    read_all(sim);
    or_nsim_close(sim);
    return 0;
}
