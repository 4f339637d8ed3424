/* SPDX-License-Identifier: Apache-2.0
 *
 * The time table of a run, as text and as a picture.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "sim/sheet.h"
#include "sim/svg.h"
#include "sim/table.h"

struct line {
    uint64_t at_ms;
    enum sim_lane lane;
    unsigned worker;
    const char *what;
    bool is_fault;
};

static const struct line RACE[] = {
    {132, SIM_LANE_WORKER, 0, "looks: none", false},
    {140, SIM_LANE_WORKER, 1, "looks: none", false},
    {140, SIM_LANE_WORKER, 1, "pause", true},
    {140, SIM_LANE_WORKER, 1, "paused for 12 s", false},
    {204, SIM_LANE_STORE, 0, "P00 carries A, by worker 1", false},
    {12350, SIM_LANE_STORE, 1, "P01 carries A, by worker 2", false},
    {12350, SIM_LANE_ORACLE, 0, "two live pages carry one key", false},
    {12350, SIM_LANE_ORACLE, 0, "now A is carried by P00 and P01", false},
};

static const char UNICODE[] = /* 80 columns */
    "   time s │ worker 1             │ worker 2             │ store\n"
    "──────────┼──────────────────────┼──────────────────────┼─────────────────────\n"
    "    0.132 │ looks: none          │                      │\n"
    "    0.140 │                      │ looks: none          │\n"
    "          │                      │ ↯ pause              │\n"
    "          │                      │ paused for 12 s      │\n"
    "    0.204 │                      │                      │ P00 carries A, by\n"
    "          │                      │                      │ worker 1\n"
    "   ⋮ 12 s │                      │                      │\n"
    "   12.350 │                      │                      │ P01 carries A, by\n"
    "          │                      │                      │ worker 2\n"
    "══════════╧══════════════════════╧══════════════════════╧═════════════════════\n"
    "after 12.350 s: two live pages carry one key\n"
    "now A is carried by P00 and P01\n";

static const char ASCII[] =
    "   time s | worker 1             | worker 2             | store\n"
    "----------+----------------------+----------------------+---------------------\n"
    "    0.132 | looks: none          |                      |\n"
    "    0.140 |                      | looks: none          |\n"
    "          |                      | ! pause              |\n"
    "          |                      | paused for 12 s      |\n"
    "    0.204 |                      |                      | P00 carries A, by\n"
    "          |                      |                      | worker 1\n"
    " ... 12 s |                      |                      |\n"
    "   12.350 |                      |                      | P01 carries A, by\n"
    "          |                      |                      | worker 2\n"
    "==============================================================================\n"
    "after 12.350 s: two live pages carry one key\n"
    "now A is carried by P00 and P01\n";

static void watch_lines(struct sim_trace *trace, const struct line *lines, size_t n)
{
    sim_trace_init(trace);
    for (size_t i = 0; i < n; i++) {
        struct sim_entry entry = {.at_us = lines[i].at_ms * 1000,
                                  .lane = lines[i].lane,
                                  .worker = lines[i].worker,
                                  .what = lines[i].what,
                                  .is_fault = lines[i].is_fault};
        sim_trace_watch(trace, &entry);
    }
    assert_false(trace->failed);
}

static void draws(const struct line *lines, size_t n, struct sim_table_style style,
                  const char *expected)
{
    struct sim_trace trace;
    struct or_buffer out;
    watch_lines(&trace, lines, n);
    or_buffer_init(&out);
    sim_table_draw(&trace, &style, &out);
    assert_false(out.failed);
    assert_string_equal(or_buffer_cstr(&out), expected);
    or_buffer_finish(&out);
    sim_trace_finish(&trace);
}

static void a_race_is_drawn(void **state)
{
    (void)state;
    struct sim_table_style style = {.width = 80};
    draws(RACE, sizeof RACE / sizeof *RACE, style, UNICODE);
}

static void without_utf8_it_is_ascii(void **state)
{
    (void)state;
    struct sim_table_style style = {.width = 80, .ascii = true};
    draws(RACE, sizeof RACE / sizeof *RACE, style, ASCII);
}

static void a_run_that_says_nothing_is_a_head_and_a_foot(void **state)
{
    (void)state;
    struct sim_table_style style = {.width = 80, .ascii = true};
    draws(NULL, 0, style, "   time s\n----------\n==========\n");
}

/* Every lane that there is, in the widths at both ends. */
static void it_keeps_to_its_width(void **state)
{
    (void)state;
    static const unsigned WIDTHS[][2] = {{1, 120}, {80, 120}, {100, 120}, {120, 120}, {999, 120}};
    for (size_t w = 0; w < sizeof WIDTHS / sizeof *WIDTHS; w++) {
        struct line lines[SIM_SHEET_COLUMNS + 1];
        size_t n = 0;
        for (unsigned i = 0; i <= SIM_WORKERS_MAX; i++) {
            lines[n++] = (struct line){i, SIM_LANE_WORKER, i, "awordthatislongerthanthat", false};
        }
        lines[n++] = (struct line){20, SIM_LANE_STORE, 0, "ledger-lost-reply", true};
        lines[n++] = (struct line){20, SIM_LANE_LEDGER, 0, "ledger-lost-reply", true};
        lines[n++] = (struct line){20, SIM_LANE_PERSON, 0, "gives P00 the key A", false};
        struct sim_trace trace;
        struct or_buffer out;
        struct sim_table_style style = {.width = WIDTHS[w][0]};
        watch_lines(&trace, lines, n);
        or_buffer_init(&out);
        sim_table_draw(&trace, &style, &out);
        char *rest = NULL;
        for (char *line = strtok_r(out.data, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest)) {
            assert_true(sim_sheet_width(or_span(line)) <= WIDTHS[w][1]);
        }
        or_buffer_finish(&out);
        sim_trace_finish(&trace);
    }
}

static void wraps(const char *text, size_t width, const char *expected)
{
    struct onerow_span lines[SIM_SHEET_LINES];
    char joined[256] = "";
    size_t n = sim_sheet_wrap(or_span(text), width, lines);
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(joined);
        assert_true(sim_sheet_width(lines[i]) <= width);
        snprintf(joined + used, sizeof joined - used, "%s%.*s", i ? "/" : "", (int)lines[i].len,
                 lines[i].data);
    }
    assert_string_equal(joined, expected);
}

static void lines_break_where_words_do(void **state)
{
    (void)state;
    wraps("looks: none", 11, "looks: none");
    wraps("looks: none", 10, "looks:/none");
    wraps("a\nb", 10, "a/b");
    wraps("ledger-lost-reply", 12, "ledger-lost-/reply");
    wraps("ledger-lost-reply", 8, "ledger-/lost-/reply");
    wraps("unbreakable", 4, "unbr/eaka/ble");
    wraps("↯ 5xx-after", 6, "↯ 5xx-/after");
    wraps("ééééé", 2, "éé/éé/é");
    wraps("", 5, "");
}

/* A real run of the simulator, drawn twice, the second time in a locale with decimal commas. */
static void draw_run(struct or_buffer *text, struct or_buffer *picture)
{
    struct sim_config config = {
        .protocol = SIM_NAIVE, .workers = 3, .keys = 1, .faults = 1U << SIM_PAUSE, .seed = 4};
    struct sim_table_style style = {.width = 100};
    struct sim_result result;
    struct sim_trace trace;
    sim_trace_init(&trace);
    sim_run(&config, &result, sim_trace_watch, &trace);
    sim_table_draw(&trace, &style, text);
    sim_svg_draw(&trace, "a run", picture);
    sim_trace_finish(&trace);
}

static void the_same_run_gives_the_same_bytes(void **state)
{
    (void)state;
    struct or_buffer text[2];
    struct or_buffer picture[2];
    for (unsigned i = 0; i < 2; i++) {
        or_buffer_init(&text[i]);
        or_buffer_init(&picture[i]);
        draw_run(&text[i], &picture[i]);
        (void)setlocale(LC_ALL, "de_DE.UTF-8");
    }
    (void)setlocale(LC_ALL, "C");
    assert_true(text[0].len > 500 && picture[0].len > 500);
    assert_string_equal(or_buffer_cstr(&text[0]), or_buffer_cstr(&text[1]));
    assert_string_equal(or_buffer_cstr(&picture[0]), or_buffer_cstr(&picture[1]));
    for (unsigned i = 0; i < 2; i++) {
        or_buffer_finish(&text[i]);
        or_buffer_finish(&picture[i]);
    }
}

/* ---- the picture ----------------------------------------------------------------------------- */

static void has(const struct or_buffer *text, const char *part)
{
    if (!strstr(or_buffer_cstr(text), part)) {
        fail_msg("\"%s\" is not in %s", part, or_buffer_cstr(text));
    }
}

static void a_picture_says_what_the_table_says(void **state)
{
    (void)state;
    struct sim_trace trace;
    struct or_buffer out;
    watch_lines(&trace, RACE, sizeof RACE / sizeof *RACE);
    or_buffer_init(&out);
    sim_svg_draw(&trace, "a <race> & its end", &out);
    assert_false(out.failed);
    has(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    has(&out, "<title>a &lt;race&gt; &amp; its end</title>");
    has(&out, "prefers-color-scheme:dark");
    has(&out, ">worker 2</text>");
    has(&out, ">12.350</text>");
    has(&out, ">⋮ 12 s</text>");
    has(&out, ">↯ pause</text>");
    has(&out, "class=\"box struck\"");
    has(&out, "class=\"verdict\"");
    has(&out, ">now A is carried by P00 and P01</text>");
    assert_null(strstr(or_buffer_cstr(&out), "@font-face"));
    assert_null(strstr(or_buffer_cstr(&out), "href"));
    or_buffer_finish(&out);
    sim_trace_finish(&trace);
}

static void a_picture_of_a_sound_run_has_no_verdict(void **state)
{
    (void)state;
    struct sim_trace trace;
    struct or_buffer out;
    watch_lines(&trace, RACE, 5);
    or_buffer_init(&out);
    sim_svg_draw(&trace, "", &out);
    assert_null(strstr(or_buffer_cstr(&out), "class=\"verdict\""));
    or_buffer_finish(&out);
    sim_trace_finish(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_race_is_drawn),
        cmocka_unit_test(without_utf8_it_is_ascii),
        cmocka_unit_test(a_run_that_says_nothing_is_a_head_and_a_foot),
        cmocka_unit_test(it_keeps_to_its_width),
        cmocka_unit_test(lines_break_where_words_do),
        cmocka_unit_test(the_same_run_gives_the_same_bytes),
        cmocka_unit_test(a_picture_says_what_the_table_says),
        cmocka_unit_test(a_picture_of_a_sound_run_has_no_verdict),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
