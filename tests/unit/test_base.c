/* SPDX-License-Identifier: Apache-2.0
 *
 * The base layer: arena, buffer, spans and UTF-8, the status table, doubles as text.
 */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/number.h"
#include "base/status.h"
#include "base/text.h"
#include "tests/support/bench.h"

/* ---- arena -------------------------------------------------------------------------- */

static void arena_gives_aligned_memory_of_its_own(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    enum { PIECES = 3000 };
    static unsigned char *pieces[PIECES];
    static size_t sizes[PIECES];
    for (unsigned i = 0; i < PIECES; i++) {
        sizes[i] = 1 + dice() % 1000;
        pieces[i] = i % 3 ? or_arena_alloc(&arena, sizes[i])
                          : (unsigned char *)or_arena_bytes(&arena, sizes[i]);
        assert_non_null(pieces[i]);
        assert_true(i % 3 == 0 || (uintptr_t)pieces[i] % alignof(max_align_t) == 0);
        memset(pieces[i], (int)(i & 0xff), sizes[i]);
    }
    for (unsigned i = 0; i < PIECES; i++) {
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(pieces[i][at], i & 0xff); /* nothing overlaps */
        }
    }
    or_arena_finish(&arena);
}

static void arena_takes_pieces_larger_than_a_chunk(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    char *small = or_arena_bytes(&arena, 10);
    memset(small, 's', 10);
    char *large = or_arena_bytes(&arena, 3 * OR_ARENA_CHUNK);
    memset(large, 'l', 3 * OR_ARENA_CHUNK);
    char *after = or_arena_bytes(&arena, 10);
    memset(after, 'a', 10);
    assert_int_equal(small[9], 's');
    assert_int_equal(large[3 * OR_ARENA_CHUNK - 1], 'l');
    or_arena_finish(&arena);
}

static void arena_stops_allocating_after_its_first_round(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    void *first[8];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            void *piece = or_arena_alloc(&arena, OR_ARENA_CHUNK / 2 + 1);
            assert_non_null(piece);
            memset(piece, round, OR_ARENA_CHUNK / 2 + 1);
            first[i] = round ? first[i] : piece;
            assert_ptr_equal(piece, first[i]); /* the same chunks again */
        }
        or_arena_reset(&arena);
        assert_int_equal(arena.used, 0);
    }
    or_arena_finish(&arena);
}

static void arena_refuses_what_there_cannot_be(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    assert_null(or_arena_alloc(&arena, SIZE_MAX - 8));
    assert_non_null(or_arena_alloc(&arena, 0));
    assert_non_null(or_arena_alloc(&arena, 16)); /* and goes on */
    or_arena_finish(&arena);
}

static void arena_copies_and_prints(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    struct onerow_span copy = or_arena_copy(&arena, (struct onerow_span){"a\0b", 3});
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.data, "a\0b\0", 4);
    copy = or_arena_copy(&arena, (struct onerow_span){0});
    assert_non_null(copy.data);
    assert_string_equal(copy.data, "");
    assert_string_equal(or_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    or_arena_finish(&arena);
}

/* ---- buffer ------------------------------------------------------------------------- */

static void names_are_quoted(void **state)
{
    (void)state;
    struct or_buffer buffer;
    or_buffer_init(&buffer);
    or_buffer_quoted(&buffer, "a\"b");
    or_buffer_quoted(&buffer, "");
    or_buffer_doubled(&buffer, "it's \\", "'\\");
    assert_string_equal(or_buffer_cstr(&buffer), "\"a\"\"b\"\"\"it''s \\\\");
    or_buffer_finish(&buffer);
}

static void buffer_grows(void **state)
{
    (void)state;
    struct or_buffer buffer;
    or_buffer_init(&buffer);
    assert_string_equal(or_buffer_cstr(&buffer), "");
    for (int i = 0; i < 1000; i++) {
        or_buffer_printf(&buffer, "%d,", i);
    }
    assert_false(buffer.failed);
    assert_memory_equal(buffer.data, "0,1,2,", 6);
    assert_int_equal(strlen(buffer.data), buffer.len);
    or_buffer_clear(&buffer);
    assert_int_equal(buffer.len, 0);
    assert_string_equal(or_buffer_cstr(&buffer), "");
    or_buffer_finish(&buffer);
}

static void buffer_has_a_limit_and_failure_sticks(void **state)
{
    (void)state;
    struct or_buffer buffer;
    or_buffer_init(&buffer);
    or_buffer_text(&buffer, "kept");
    static const char one = 'x';
    or_buffer_add(&buffer, &one, OR_BUFFER_LIMIT); /* refused before it is read */
    assert_true(buffer.failed);
    or_buffer_text(&buffer, " and more");
    assert_string_equal(or_buffer_cstr(&buffer), "kept");
    assert_null(or_buffer_steal(&buffer));
    assert_false(buffer.failed); /* empty and fit for use again */
    or_buffer_text(&buffer, "new");
    char *stolen = or_buffer_steal(&buffer);
    assert_string_equal(stolen, "new");
    free(stolen);
    or_buffer_finish(&buffer);
}

static void buffer_steals_empty_text(void **state)
{
    (void)state;
    struct or_buffer buffer;
    or_buffer_init(&buffer);
    char *stolen = or_buffer_steal(&buffer);
    assert_string_equal(stolen, "");
    free(stolen);
}

static void assert_json(const char *data, size_t len, const char *wanted)
{
    struct or_buffer buffer;
    or_buffer_init(&buffer);
    or_buffer_json(&buffer, (struct onerow_span){data, len});
    assert_string_equal(or_buffer_cstr(&buffer), wanted);
    assert_int_equal(buffer.len, strlen(wanted));
    or_buffer_finish(&buffer);
}

#define assert_json_of(literal, wanted) assert_json(literal, sizeof(literal) - 1, wanted)

static void json_escapes(void **state)
{
    (void)state;
    assert_json(NULL, 0, "\"\"");
    assert_json_of("", "\"\"");
    assert_json_of("plain", "\"plain\"");
    assert_json_of("\"\\", "\"\\\"\\\\\"");
    assert_json_of("\n\r\t", "\"\\n\\r\\t\"");
    assert_json_of("a\0b", "\"a\\u0000b\"");
    assert_json_of("\x01\x1f", "\"\\u0001\\u001f\"");
    assert_json_of("/'<>&", "\"/'<>&\"");
    assert_json_of("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                   "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    assert_json_of("\xe2\x80\xa8", "\"\xe2\x80\xa8\"");
}

static void json_replaces_what_is_not_utf8(void **state)
{
    (void)state;
    assert_json_of("a\xff"
                   "b",
                   "\"a\xef\xbf\xbd"
                   "b\"");
    assert_json_of("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_json_of("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_json_of("x\xe2\x82", "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Random bytes: the result is always UTF-8 without control characters or a quote inside. */
static void json_is_always_json(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        char bytes[24];
        size_t len = dice() % sizeof bytes;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)dice();
        }
        struct or_buffer buffer;
        or_buffer_init(&buffer);
        or_buffer_json(&buffer, (struct onerow_span){bytes, len});
        assert_true(or_utf8_valid(or_buffer_view(&buffer), NULL));
        for (size_t i = 1; i + 1 < buffer.len; i++) {
            unsigned char byte = (unsigned char)buffer.data[i];
            assert_true(byte >= 0x20);
            if (byte == '\\') {
                i++;
            } else {
                assert_int_not_equal(byte, '"');
            }
        }
        or_buffer_finish(&buffer);
    }
}

/* ---- text ----------------------------------------------------------------------------- */

static void spans_compare(void **state)
{
    (void)state;
    assert_true(or_span_equal(OR_SPAN("a"), or_span("a")));
    assert_true(or_span_equal((struct onerow_span){NULL, 0}, OR_SPAN("")));
    assert_false(or_span_is(OR_SPAN("ab"), "a"));
    assert_true(or_span_compare(OR_SPAN("a"), OR_SPAN("ab")) < 0);
    assert_true(or_span_compare(OR_SPAN("b"), OR_SPAN("ab")) > 0);
    assert_true(or_span_compare(OR_SPAN("\xff"), OR_SPAN("a")) > 0); /* bytes are unsigned */
    assert_int_equal(or_span_compare((struct onerow_span){NULL, 0}, OR_SPAN("")), 0);
}

static void spans_trim(void **state)
{
    (void)state;
    assert_true(or_span_is(or_span_trim(OR_SPAN(" \t\r\n a b \n")), "a b"));
    assert_true(or_span_is(or_span_trim(OR_SPAN("  ")), ""));
    assert_true(or_span_is(or_span_trim(OR_SPAN("")), ""));
    assert_true(
        or_span_is(or_span_trim(OR_SPAN("\xc2\xa0x")), "\xc2\xa0x")); /* only ASCII blanks */
}

static void case_folds_in_ascii_only(void **state)
{
    (void)state;
    assert_true(or_ascii_equal_fold(OR_SPAN("MixED_9"), OR_SPAN("mIXed_9")));
    assert_false(or_ascii_equal_fold(OR_SPAN("a"), OR_SPAN("ab")));
    assert_false(or_ascii_equal_fold(OR_SPAN("@["), OR_SPAN("`{"))); /* next to the letters */
    assert_false(or_ascii_equal_fold(OR_SPAN("\xc3\x84"), OR_SPAN("\xc3\xa4")));
}

/* Every code point is accepted in its one form; the bytes of a wrong one are not. */
static void utf8_of_every_code_point(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        char bytes[4];
        size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        uint32_t rest = point;
        for (size_t i = len; i-- > 1; rest >>= 6) {
            bytes[i] = (char)(0x80 | (rest & 0x3f));
        }
        bytes[0] = (char)(lead[len] | rest);
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        size_t step = or_utf8_step((struct onerow_span){bytes, len}, 0);
        assert_int_equal(step, surrogate ? 0 : len);
        if (len > 1) { /* cut off */
            assert_int_equal(or_utf8_step((struct onerow_span){bytes, len - 1}, 0), 0);
        }
    }
}

static void utf8_faults(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3(",
                                      "\xe2\x28\xa1",
                                      "\xe2\x82(",
                                      "\xf0\x9f\x98("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t at = 99;
        char line[16];
        snprintf(line, sizeof line, "ok%s", bad[i]);
        assert_false(or_utf8_valid(or_span(line), &at));
        assert_int_equal(at, 2);
    }
    assert_true(or_utf8_valid(OR_SPAN(""), NULL));
    assert_true(or_utf8_valid(OR_SPAN("a\0b"), NULL));
}

static void hashes_differ(void **state)
{
    (void)state;
    assert_true(or_hash_text(OR_SPAN("")) == 0xcbf29ce484222325U);
    assert_true(or_hash_text(OR_SPAN("a")) == 0xaf63dc4c8601ec8cU); /* FNV-1a's own vector */
}

/* ---- status --------------------------------------------------------------------------- */

static void the_status_table_is_whole(void **state)
{
    (void)state;
#define CHECK(name, code, exit, text_)                                                             \
    assert_string_equal(onerow_status_name(ONEROW_##name), #name);                                 \
    assert_string_equal(onerow_status_text((enum onerow_status)(code)), text_);                    \
    assert_int_equal(onerow_status_exit(ONEROW_##name), exit);
    ONEROW_STATUS_MAP(CHECK)
#undef CHECK
    enum onerow_status strange = (enum onerow_status)999;
    assert_string_equal(onerow_status_name(strange), "UNLISTED");
    assert_int_equal(onerow_status_exit(strange), 69);
    assert_string_equal(onerow_outcome_name(ONEROW_REFUSED), "rejected");
    assert_string_equal(onerow_outcome_name(ONEROW_IN_DOUBT), "unknown");
    assert_string_equal(onerow_outcome_name((enum onerow_outcome)999), "pending");
    assert_string_equal(onerow_outcome_name(ONEROW_PENDING), "pending");
}

/* 78 > 69 > 75 > 1 > 0, and the first of equals stays. */
static void worse_statuses_win(void **state)
{
    (void)state;
    static const enum onerow_status rising[] = {ONEROW_OK,    ONEROW_REJECTED, ONEROW_USAGE,
                                                ONEROW_INPUT, ONEROW_BUSY,     ONEROW_FULL,
                                                ONEROW_CONFIG};
    size_t n = sizeof rising / sizeof *rising;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(or_status_worse(rising[i], rising[j]), rising[i > j ? i : j]);
        }
    }
    assert_int_equal(or_status_worse(ONEROW_FULL, ONEROW_IO), ONEROW_FULL);
}

static void errors_are_filled_and_cut(void **state)
{
    (void)state;
    struct onerow_error error;
    assert_int_equal(or_fail(NULL, ONEROW_BUSY, "%s", "x"), ONEROW_BUSY);
    assert_int_equal(or_fail(&error, ONEROW_IO, "a %d", 5), ONEROW_IO);
    assert_int_equal(error.status, ONEROW_IO);
    assert_string_equal(error.text, "a 5");
    char line[3000];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    or_fail(&error, ONEROW_IO, "%s", line);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_string_equal(error.text + sizeof error.text - 4, "\xe2\x80\xa6");
}

/* A long message of wide characters is cut between them. */
static void cut_errors_are_utf8(void **state)
{
    (void)state;
    for (size_t before = 0; before < 8; before++) {
        struct onerow_error error;
        struct or_buffer line;
        or_buffer_init(&line);
        for (size_t i = 0; i < before; i++) {
            or_buffer_char(&line, 'x');
        }
        while (line.len < 2000) {
            or_buffer_text(&line, "\xf0\x9f\x98\x80");
        }
        or_fail(&error, ONEROW_IO, "%s", or_buffer_cstr(&line));
        assert_true(or_utf8_valid(or_span(error.text), NULL));
        or_buffer_finish(&line);
    }
}

/* ---- numbers --------------------------------------------------------------------------- */

static void doubles_show_a_short_spelling(void **state)
{
    (void)state;
    static const char *const shown[] = {"0.1",
                                        "0.30000000000000004",
                                        "1e+22",
                                        "-0",
                                        "2.2250738585072014e-308",
                                        "1.7976931348623157e+308",
                                        "123456.5",
                                        "inf"};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        char out[OR_DOUBLE_TEXT];
        or_double_show(or_double_parse(shown[i]), out);
        assert_string_equal(out, shown[i]);
    }
}

static void doubles_come_back(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        union {
            uint64_t bits;
            double number;
        } random = {.bits = dice()};
        char out[OR_DOUBLE_TEXT];
        if (!isfinite(random.number)) {
            continue;
        }
        or_double_show(random.number, out);
        double back = or_double_parse(out);
        assert_memory_equal(&back, &random.number, sizeof back);
        assert_true(strlen(out) < OR_DOUBLE_TEXT);
    }
}

/* Whatever the locale's decimal point: the naive way reads 0 behind a comma. */
static void doubles_do_not_depend_on_the_locale(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof commas / sizeof *commas && !found; i++) {
        found = setlocale(LC_ALL, commas[i]) && localeconv()->decimal_point[0] == ',';
    }
    char out[OR_DOUBLE_TEXT];
    if (found) {
        assert_true(strtod("0.5", NULL) == 0.0);
    } else {
        printf("# no locale with a decimal comma is installed: checked under C only\n");
    }
    assert_true(or_double_parse("0.5") == 0.5);
    or_double_show(0.5, out);
    setlocale(LC_ALL, "C");
    assert_string_equal(out, "0.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_memory_of_its_own),
        cmocka_unit_test(arena_takes_pieces_larger_than_a_chunk),
        cmocka_unit_test(arena_stops_allocating_after_its_first_round),
        cmocka_unit_test(arena_refuses_what_there_cannot_be),
        cmocka_unit_test(arena_copies_and_prints),
        cmocka_unit_test(buffer_grows),
        cmocka_unit_test(names_are_quoted),
        cmocka_unit_test(buffer_has_a_limit_and_failure_sticks),
        cmocka_unit_test(buffer_steals_empty_text),
        cmocka_unit_test(json_escapes),
        cmocka_unit_test(json_replaces_what_is_not_utf8),
        cmocka_unit_test(json_is_always_json),
        cmocka_unit_test(spans_compare),
        cmocka_unit_test(spans_trim),
        cmocka_unit_test(case_folds_in_ascii_only),
        cmocka_unit_test(utf8_of_every_code_point),
        cmocka_unit_test(utf8_faults),
        cmocka_unit_test(hashes_differ),
        cmocka_unit_test(the_status_table_is_whole),
        cmocka_unit_test(worse_statuses_win),
        cmocka_unit_test(errors_are_filled_and_cut),
        cmocka_unit_test(cut_errors_are_utf8),
        cmocka_unit_test(doubles_show_a_short_spelling),
        cmocka_unit_test(doubles_come_back),
        cmocka_unit_test(doubles_do_not_depend_on_the_locale),
    };
    seed_dice();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
