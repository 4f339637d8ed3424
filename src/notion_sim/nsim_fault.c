/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a fault strikes is a function of the seed, the request's number and the fault, so the
 * same requests in the same order meet the same faults, and one fault's rate moves no other one's
 * choices. Each request meets at most one; orders come before rates.
 */
#include "notion_sim/nsim_fault.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"
#include "notion_sim/nsim.h"

const struct or_nsim_fault or_nsim_faults[OR_NSIM_FAULTS] = {
#define FAULT_ROW(name, text, which, when, parameter, what)                                        \
    {OR_NSIM_FAULT_##name, text, OR_NSIM_##which, OR_NSIM_##when, parameter, what},
    OR_NSIM_FAULT_MAP(FAULT_ROW)
#undef FAULT_ROW
};

const char *or_nsim_fault_help(void)
{
    return
#define FAULT_LINE(name, text, which, when, parameter, what) "  " text ": " what "\n"
        OR_NSIM_FAULT_MAP(FAULT_LINE)
#undef FAULT_LINE
            ;
}

enum or_nsim_fault_id or_nsim_fault_of(struct onerow_span name)
{
    for (unsigned i = 0; i < OR_NSIM_FAULTS; i++) {
        if (or_span_is(name, or_nsim_faults[i].name)) {
            return (enum or_nsim_fault_id)i;
        }
    }
    return OR_NSIM_FAULTS;
}

/* ---- "name=rate[:parameter],…" ---------------------------------------------------------------
 */

/* 0.05 or 5%. */
static bool read_rate(struct onerow_span text, double *rate)
{
    char copy[32];
    bool percent = text.len && text.data[text.len - 1] == '%';
    text.len -= percent;
    if (!text.len || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (strspn(copy, "0123456789.") != text.len) {
        return false;
    }
    *rate = or_double_parse(copy) / (percent ? 100 : 1);
    return *rate >= 0 && *rate <= 1;
}

static bool read_parameter(struct onerow_span text, uint64_t *parameter)
{
    *parameter = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!isdigit((unsigned char)text.data[i]) || *parameter > 1000000000) {
            return false;
        }
        *parameter = *parameter * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.len > 0;
}

static struct onerow_span cut_at(struct onerow_span *text, char byte)
{
    const char *end = text->len ? memchr(text->data, byte, text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len;
    struct onerow_span head = {text->data, len};
    size_t skip = end ? len + 1 : len;
    *text = (struct onerow_span){text->data + skip, text->len - skip};
    return head;
}

static bool read_one(struct or_nsim_rate *rates, struct onerow_span item, const char **reason)
{
    if (or_span_is(item, "none")) {
        memset(rates, 0, OR_NSIM_FAULTS * sizeof *rates);
        return true;
    }
    struct onerow_span rest = item;
    enum or_nsim_fault_id id = or_nsim_fault_of(cut_at(&rest, '='));
    if (id == OR_NSIM_FAULTS) {
        *reason = "there is no such fault";
        return false;
    }
    struct or_nsim_rate *rate = &rates[id];
    rate->parameter = or_nsim_faults[id].parameter;
    if (!read_rate(cut_at(&rest, ':'), &rate->rate)) {
        *reason = "a rate is 0 to 1 or 0% to 100%, as in 409=10%";
        return false;
    }
    if (rest.len && !read_parameter(rest, &rate->parameter)) {
        *reason = "behind : stands a number of ms or seconds";
        return false;
    }
    if (id == OR_NSIM_FAULT_LAG && rate->parameter > OR_NSIM_LAG_MAX_MS) {
        *reason = "a query lags at most 60000 ms behind";
        return false;
    }
    return true;
}

bool or_nsim_faults_read(struct or_nsim_faults *faults, struct onerow_span text,
                         const char **reason)
{
    struct or_nsim_rate rates[OR_NSIM_FAULTS]; /* all of the text counts, or nothing of it */
    memcpy(rates, faults->rates, sizeof rates);
    while (text.len) {
        if (!read_one(rates, or_span_trim(cut_at(&text, ',')), reason)) {
            return false;
        }
    }
    memcpy(faults->rates, rates, sizeof rates);
    return true;
}

bool or_nsim_faults_check(const char *text, const char **reason)
{
    struct or_nsim_faults faults = {0};
    return or_nsim_faults_read(&faults, or_span(text), reason);
}

static void free_order(struct or_nsim_order *order)
{
    free(order->method);
    free(order->path);
    free(order);
}

void or_nsim_faults_finish(struct or_nsim_faults *faults)
{
    while (faults->orders) {
        struct or_nsim_order *next = faults->orders->next;
        free_order(faults->orders);
        faults->orders = next;
    }
}

/* ---- which one strikes -----------------------------------------------------------------------
 */

static bool concerns(const struct or_nsim_fault *fault, const struct or_nsim_request_kind *kind)
{
    switch (fault->which) {
    case OR_NSIM_ALL: return true;
    case OR_NSIM_WRITES: return kind->write;
    case OR_NSIM_CREATES: return kind->create;
    case OR_NSIM_QUERIES: return kind->query;
    }
    return false;
}

static bool matches(const struct or_nsim_order *order, const struct or_nsim_request_kind *kind)
{
    size_t len = order->path ? strlen(order->path) : 0;
    return concerns(&or_nsim_faults[order->fault], kind) &&
           (!order->method || strcmp(order->method, kind->method) == 0) && len <= kind->path.len &&
           (len == 0 || memcmp(order->path, kind->path.data, len) == 0);
}

static const struct or_nsim_fault *
ordered(struct or_nsim_faults *faults, const struct or_nsim_request_kind *kind, uint64_t *parameter)
{
    for (struct or_nsim_order **at = &faults->orders; *at; at = &(*at)->next) {
        struct or_nsim_order *order = *at;
        if (!matches(order, kind)) {
            continue;
        }
        if (order->skip) {
            order->skip--;
            continue;
        }
        const struct or_nsim_fault *fault = &or_nsim_faults[order->fault];
        *parameter = order->parameter;
        if (--order->times == 0) {
            *at = order->next;
            free_order(order);
        }
        return fault;
    }
    return NULL;
}

static const struct or_nsim_fault *rated(const struct or_nsim_faults *faults, uint64_t number,
                                         const struct or_nsim_request_kind *kind,
                                         uint64_t *parameter)
{
    for (unsigned i = 0; i < OR_NSIM_FAULTS; i++) {
        const struct or_nsim_rate *rate = &faults->rates[i];
        struct sim_rng rng = sim_rng_of(faults->seed ^ sim_mix(i + 1), number);
        double drawn = (double)(sim_next(&rng) >> 11) / 9007199254740992.0; /* in [0, 1) */
        if (drawn < rate->rate && concerns(&or_nsim_faults[i], kind)) {
            *parameter = rate->parameter;
            return &or_nsim_faults[i];
        }
    }
    return NULL;
}

const struct or_nsim_fault *or_nsim_fault_draw(struct or_nsim_faults *faults, uint64_t number,
                                               const struct or_nsim_request_kind *kind,
                                               uint64_t *parameter)
{
    const struct or_nsim_fault *fault = ordered(faults, kind, parameter);
    return fault ? fault : rated(faults, number, kind, parameter);
}
