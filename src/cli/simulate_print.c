/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/simulate_print.h"

#include <errno.h>
#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "sim/svg.h"
#include "sim/table.h"
#include "sim/token.h"

#define WIDTH_DEFAULT 100U /* where there is no terminal to ask */
#define ALL_FAULTS    ((1U << SIM_FAULTS) - 1U)

static unsigned long long number(uint64_t value)
{
    return value;
}

/* ---- places ---------------------------------------------------------------------------------- */

bool or_simulate_is_whole(const struct or_simulation *run)
{
    const struct sim_config *config = &run->config;
    return config->faults == ALL_FAULTS && !config->workers && !config->keys &&
           run->bounds == OR_SIMULATE_MIXED;
}

/* The next place from *place on that was not reached; NULL: no more. */
static const char *next_missed(const struct or_simulation *run, const struct or_simulated *sum,
                               unsigned *place)
{
    uint32_t protocols = 0;
    const char *name = NULL;
    while ((name = sim_sometimes_name(*place, &protocols))) {
        bool reached = sum->sometimes[*place / 64] >> (*place % 64) & 1U;
        (*place)++;
        if (!reached && protocols >> run->config.protocol & 1U) {
            return name;
        }
    }
    return NULL;
}

unsigned or_simulate_missed(const struct or_simulation *run, const struct or_simulated *sum)
{
    unsigned place = 0;
    unsigned missed = 0;
    while (next_missed(run, sum, &place)) {
        missed++;
    }
    return missed;
}

static void print_missed(const struct or_simulation *run, const struct or_simulated *sum)
{
    unsigned place = 0;
    const char *name = NULL;
    while ((name = next_missed(run, sum, &place))) {
        printf("  never reached: %s\n", name);
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

static uint64_t per_second(const struct or_simulated *sum)
{
    return sum->schedules * 1000000U / (sum->took_us + 1);
}

static const char *bounds_name(enum or_simulate_bounds bounds)
{
    static const char *const NAMES[] = {[OR_SIMULATE_MIXED] = "mixed",
                                        [OR_SIMULATE_WITHIN] = "within",
                                        [OR_SIMULATE_OUTSIDE] = "outside"};
    return NAMES[bounds];
}

static void print_classes(const struct or_simulated *sum)
{
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        if (sum->by_class[i]) {
            printf("  %12llu  %s\n", number(sum->by_class[i]), sim_fault_name((enum sim_fault)i));
        }
    }
}

void or_simulate_print(const struct or_simulation *run, const struct or_simulated *sum)
{
    unsigned missed = or_simulate_missed(run, sum);
    printf("%s: %llu schedules, %llu events, %llu schedules/s, seed %llu, bounds %s\n",
           sim_protocol_name(run->config.protocol), number(sum->schedules), number(sum->events),
           number(per_second(sum)), number(run->seed), bounds_name(run->bounds));
    printf("records: %llu created + %llu updated + %llu unchanged + %llu rejected + %llu unknown\n",
           number(sum->created), number(sum->updated), number(sum->unchanged),
           number(sum->rejected), number(sum->unknown));
    printf("injections: %llu\n", number(sum->injections));
    print_classes(sum);
    printf("run twice, with equal digests: %llu\n", number(sum->again));
    if (sum->failure == OR_SIMULATE_CLEAN) {
        printf("places that must be reached: %s\n", missed ? "some were not" : "all");
        print_missed(run, sum);
        printf("violations: 0 (95%% bound: 3/%llu)\n", number(sum->schedules));
    } else {
        printf("violations: 1, in schedule %llu\n", number(sum->failed + 1));
    }
}

static void add_failure(struct or_buffer *line, const struct or_simulated *sum,
                        const struct sim_config *smaller, const struct sim_result *result)
{
    static const char *const NAMES[] = {[OR_SIMULATE_CLEAN] = "none",
                                        [OR_SIMULATE_VIOLATION] = "violation",
                                        [OR_SIMULATE_DIFFERS] = "two runs of one schedule differ",
                                        [OR_SIMULATE_DEAD] = "the process died"};
    char token[SIM_TOKEN_MAX];
    or_buffer_printf(line, ",\"failure\":\"%s\"", NAMES[sum->failure]);
    if (sum->failure == OR_SIMULATE_CLEAN) {
        return;
    }
    or_buffer_printf(line, ",\"schedule\":%llu", number(sum->failed + 1));
    if (result) {
        or_buffer_text(line, ",\"violation\":");
        or_buffer_json(line, or_span(sim_violation_text(result->violation)));
    }
    sim_token_write(smaller, token);
    or_buffer_printf(line, ",\"replay\":\"%s\"", token);
}

static void add_sums(struct or_buffer *line, const struct or_simulated *sum)
{
    or_buffer_printf(line,
                     ",\"schedules\":%llu,\"again\":%llu,\"events\":%llu,\"per_second\":%llu,"
                     "\"created\":%llu,\"updated\":%llu,\"unchanged\":%llu,\"rejected\":%llu,"
                     "\"unknown\":%llu,\"injections\":%llu,\"by_class\":{",
                     number(sum->schedules), number(sum->again), number(sum->events),
                     number(per_second(sum)), number(sum->created), number(sum->updated),
                     number(sum->unchanged), number(sum->rejected), number(sum->unknown),
                     number(sum->injections));
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        or_buffer_printf(line, "%s\"%s\":%llu", i ? "," : "", sim_fault_name((enum sim_fault)i),
                         number(sum->by_class[i]));
    }
    or_buffer_char(line, '}');
}

void or_simulate_print_json(const struct or_simulation *run, const struct or_simulated *sum,
                            const struct sim_config *smaller, const struct sim_result *result)
{
    struct or_buffer line;
    unsigned place = 0;
    const char *name = NULL;
    or_buffer_init(&line);
    or_buffer_printf(&line, "{\"protocol\":\"%s\",\"seed\":%llu,\"bounds\":\"%s\"",
                     sim_protocol_name(run->config.protocol), number(run->seed),
                     bounds_name(run->bounds));
    add_sums(&line, sum);
    or_buffer_text(&line, ",\"missed\":[");
    for (const char *comma = ""; (name = next_missed(run, sum, &place)); comma = ",") {
        or_buffer_text(&line, comma);
        or_buffer_json(&line, or_span(name));
    }
    or_buffer_char(&line, ']');
    add_failure(&line, sum, smaller, result);
    printf("%s}\n", or_buffer_cstr(&line));
    or_buffer_finish(&line);
}

/* ---- one schedule ------------------------------------------------------------------------------
 */

static void add_count(struct or_buffer *text, unsigned n, const char *one, const char *many)
{
    if (n == 0) {
        or_buffer_printf(text, ", %s drawn", many);
    } else {
        or_buffer_printf(text, ", %u %s", n, n == 1 ? one : many);
    }
}

static void add_faults(struct or_buffer *text, uint32_t faults)
{
    or_buffer_text(text, ", faults: ");
    if (faults == ALL_FAULTS || faults == 0) {
        or_buffer_text(text, faults ? "all" : "none");
        return;
    }
    const char *blank = "";
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        if (faults >> i & 1U) {
            or_buffer_printf(text, "%s%s", blank, sim_fault_name((enum sim_fault)i));
            blank = " ";
        }
    }
}

const char *or_simulate_describe(const struct sim_config *config)
{
    static char line[1024];
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_text(&text, sim_protocol_name(config->protocol));
    add_count(&text, config->workers, "worker", "workers");
    add_count(&text, config->processes, "process", "processes");
    add_count(&text, config->keys, "key", "keys");
    add_faults(&text, config->faults);
    if (config->n_muted) {
        or_buffer_printf(&text, ", %u muted", config->n_muted);
    }
    or_buffer_printf(&text, ", %s, seed %llu",
                     config->within_bounds ? "within bounds" : "outside of bounds",
                     number(config->seed));
    snprintf(line, sizeof line, "%s", or_buffer_cstr(&text));
    or_buffer_finish(&text);
    return line;
}

static struct sim_table_style style_here(void)
{
    struct winsize window;
    bool terminal = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0;
    return (struct sim_table_style){.width =
                                        terminal && window.ws_col ? window.ws_col : WIDTH_DEFAULT,
                                    .ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0};
}

static enum onerow_status write_file(const char *path, const struct or_buffer *text,
                                     struct onerow_error *error)
{
    FILE *file = text->failed ? NULL : fopen(path, "we");
    bool written = file && fwrite(or_buffer_cstr(text), 1, text->len, file) == text->len;
    int why = text->failed ? ENOMEM : errno;
    if (file && fclose(file) != 0 && written) {
        why = errno;
        written = false;
    }
    return written ? ONEROW_OK : or_fail(error, ONEROW_IO, "%s: %s", path, strerror(why));
}

enum onerow_status or_simulate_draw(const struct sim_config *config, bool quiet, const char *svg,
                                    struct sim_result *result, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    struct sim_table_style style = style_here();
    struct sim_trace trace;
    struct or_buffer text;
    sim_trace_init(&trace);
    or_buffer_init(&text);
    sim_run(config, result, sim_trace_watch, &trace);
    if (!quiet) {
        sim_table_draw(&trace, &style, &text);
        printf("%s\n\n%s", or_simulate_describe(config), or_buffer_cstr(&text));
        status = text.failed ? or_fail(error, ONEROW_NOMEM, "out of memory") : ONEROW_OK;
    }
    if (status == ONEROW_OK && svg) {
        or_buffer_clear(&text);
        sim_svg_draw(&trace, or_simulate_describe(config), &text);
        status = write_file(svg, &text, error);
    }
    or_buffer_finish(&text);
    sim_trace_finish(&trace);
    return status;
}
