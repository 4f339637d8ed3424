/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow notion-sim` for tests of the store: started with a workspace, spoken to by the store
 * under test, told what to do by its control paths, and asked afterwards what it was sent.
 */
#ifndef OR_TESTS_NOTION_H
#define OR_TESTS_NOTION_H

#include "base/text.h"
#include "onerow/extend.h"
#include "tests/support/bench.h"

#define NOTION_SOURCE   "1f0c0000-0000-4000-8000-0000000000aa" /* the data source "Areas" */
#define NOTION_DATABASE "1f0c0000-0000-4000-8000-0000000000bb" /* its database */
#define NOTION_SEVERAL  "1f0c0000-0000-4000-8000-0000000000cc" /* a database with two */
#define NOTION_FIRST    "1f0c0000-0000-4000-8000-0000000000dd" /* … of which this is the first */
#define NOTION_TOKEN    "ntn_test_token_4711"

extern struct bench b; /* its store and table are Notion's */

/* Starts a simulator with those data sources, and `options` (words, ends with NULL; or NULL). */
void notion_start(const char *const *options);
void notion_stop(void);
/* "notion+http://127.0.0.1:PORT" */
const char *notion_url(void);

/* Opens (again) the store, as of a version (NULL: its default) and with a token. */
enum onerow_status notion_open(const char *version, const char *token);
/* Opens (again) the store and its table; key is "name[:type],…". */
enum onerow_status notion_look(const char *version, const char *location, const char *key);

/* A request of the test's own: the answer's body. */
const char *notion_say(const char *method, const char *path, const char *body);
/* The next `times` requests by this method whose paths begin so meet the fault: "409", "slow:900".
 */
void notion_fault(const char *fault, unsigned times, const char *method, const char *path);
/* What a person does: "trash", "restore", "purge", "rename" with a body. */
void notion_person(const char *page, const char *verb, const char *body);
/* How many requests by this method whose paths begin so it answered since notion_forget. */
size_t notion_sent(const char *method, const char *path);
void notion_forget(void);
/* How many requests have come in, answered or not. */
uint64_t notion_requests(void);
/* A page of the test's own in NOTION_SOURCE with these properties ('): its id. */
const char *notion_page(const char *properties);

/* A record ('), bound to the table. */
struct onerow_record *record(const char *json);
/* Its payload; NULL: refused, and refusal says why. */
const char *payload(const struct onerow_record *record);
extern const char *refusal;

/* A call, run to its end, and in how many parts: its answer's name. */
extern unsigned parts;
const char *run(struct onerow_page_call *call);
/* A call with what it needs. */
struct onerow_page_call *call_of(enum onerow_page_do what, const char *page,
                                 const struct onerow_record *record);
const char *answer_name(enum onerow_page_answer answer);

#endif
