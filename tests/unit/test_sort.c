/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorting beyond the memory: any number of entries, in little blocks, against a sort in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "base/text.h"

#define BLOCK ((size_t)4096)

/* Adds n entries, whose keys repeat, and expects them in order, equal ones as they came. */
static void sorts(size_t n, size_t n_keys, size_t block)
{
    struct or_sort *sort = or_sort_create(block);
    struct onerow_error error;
    assert_non_null(sort);
    uint64_t random = 1;
    for (size_t i = 0; i < n; i++) {
        char key[32];
        char rest[32];
        random = random * 6364136223846793005U + 1442695040888963407U;
        snprintf(key, sizeof key, "%06zu", (size_t)(random >> 33) % n_keys);
        snprintf(rest, sizeof rest, "%zu", i);
        assert_int_equal(or_sort_add(sort, or_span(key), or_span(rest), &error), ONEROW_OK);
    }
    char last[32] = "";
    size_t last_arrival = 0;
    size_t seen = 0;
    struct onerow_span key;
    struct onerow_span rest;
    enum onerow_status status;
    while ((status = or_sort_next(sort, &key, &rest, &error)) == ONEROW_OK) {
        char number[32] = "";
        assert_true(rest.len < sizeof number);
        memcpy(number, rest.data, rest.len);
        size_t arrival = strtoul(number, NULL, 10);
        int order = or_span_compare(or_span(last), key);
        assert_true(order < 0 || (order == 0 && last_arrival < arrival));
        memcpy(last, key.data, key.len);
        last_arrival = arrival;
        seen++;
    }
    assert_int_equal(status, ONEROW_ABSENT);
    assert_int_equal(or_sort_next(sort, &key, &rest, &error), ONEROW_ABSENT);
    assert_int_equal(seen, n);
    or_sort_destroy(sort);
}

static void nothing_and_little_stay_in_memory(void **state)
{
    (void)state;
    sorts(0, 1, BLOCK);
    sorts(1, 1, BLOCK);
    sorts(50, 7, BLOCK);
    or_sort_destroy(NULL);
}

static void much_is_merged_from_files(void **state)
{
    (void)state;
    sorts(1000, 10, BLOCK);
    sorts(30000, 30000, BLOCK);
    sorts(30000, 3, BLOCK);
}

static void any_bytes_are_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"", "\0", "\0\0", "a", "a\0b", "b"};
    static const size_t lens[] = {0, 1, 2, 1, 3, 1};
    struct or_sort *sort = or_sort_create(BLOCK);
    struct onerow_span key;
    struct onerow_span rest;
    assert_non_null(sort);
    for (size_t i = 6; i-- > 0;) {
        struct onerow_span given = {keys[i], lens[i]};
        assert_int_equal(or_sort_add(sort, given, (struct onerow_span){0}, NULL), ONEROW_OK);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(or_sort_next(sort, &key, &rest, NULL), ONEROW_OK);
        assert_true(or_span_equal(key, (struct onerow_span){keys[i], lens[i]}));
        assert_int_equal(rest.len, 0);
    }
    or_sort_destroy(sort);
}

static void an_entry_beyond_the_memory_is_refused(void **state)
{
    (void)state;
    char big[2 * BLOCK] = {0};
    struct onerow_error error;
    struct or_sort *sort = or_sort_create(BLOCK);
    assert_non_null(sort);
    struct onerow_span key = {big, sizeof big};
    assert_int_equal(or_sort_add(sort, key, OR_SPAN(""), &error), ONEROW_NOMEM);
    or_sort_destroy(sort);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_and_little_stay_in_memory),
        cmocka_unit_test(much_is_merged_from_files),
        cmocka_unit_test(any_bytes_are_keys),
        cmocka_unit_test(an_entry_beyond_the_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
