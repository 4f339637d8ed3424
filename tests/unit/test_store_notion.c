/* SPDX-License-Identifier: Apache-2.0
 *
 * The store `notion` against `onerow notion-sim`: opening, each kind of request, and what becomes
 * of each when something goes wrong. The simulator's log says what it was sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "store/store_notion.h"
#include "tests/support/notion.h"

static int start(void **state)
{
    (void)state;
    notion_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    notion_stop();
    return 0;
}

static void look(const char *key)
{
    assert_int_equal(notion_look(NULL, NOTION_SOURCE, key), ONEROW_OK);
    notion_forget();
}

static void smoke(void **state)
{
    (void)state;
    look("Name");
    struct onerow_record *r = record("{'Name':'HOME','Score':24.50,'Kind':'new','Tags':['a','b'],"
                                     "'State':'Active','Open':true,'Day':'2024-02-29','Code':'x'}");
    printf("# %s\n", payload(r));
    struct onerow_page_call *create = call_of(ONEROW_PAGE_CREATE, NULL, NULL);
    printf("# create %s %s %.*s\n", run(create), create->reason, (int)create->made.len,
           create->made.data);
    struct onerow_page_call *publish = call_of(ONEROW_PAGE_PUBLISH, create->made.data, r);
    printf("# publish %s %s\n", run(publish), publish->reason);
    struct onerow_page_call *get_ = call_of(ONEROW_PAGE_GET, create->made.data, r);
    printf("# get %s %s same %d\n", run(get_), get_->reason, get_->same);
    struct onerow_page_call *probe = call_of(ONEROW_PAGE_PROBE, NULL, r);
    printf("# probe %s %s %zu\n", run(probe), probe->reason, probe->n_found);
    printf("# %s\n", get(&b, "{'Name':'HOME'}"));
    printf("# %s\n", audit(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(smoke, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
