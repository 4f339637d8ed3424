/* SPDX-License-Identifier: Apache-2.0
 *
 * A store of pages in memory that threads and forked processes share, for tests of whoever drives
 * one. It takes any number of pages with one key, answers in random order, and goes wrong as such
 * stores do, by chance (`faults`, of a thousand requests) or as a test says (`script`).
 *
 * A page's columns are k (text, the key), v (text), at (number) and up (ids of pages). A payload is
 * what it writes, as text: "v=…;at=…;". A v that is "bad" is refused by encode, one that is
 * "poison" by the store.
 */
#ifndef OR_TESTS_FAKE_PAGES_H
#define OR_TESTS_FAKE_PAGES_H

#include <pthread.h>

#include "core/window.h"
#include "engine/table.h"

#define FAKE_PAGES 16384U
#define FAKE_KEY   48U
#define FAKE_TEXT  96U
#define FAKE_SENT  65536U

struct fake_page {
    bool trashed;
    bool keyed;
    bool edited;
    bool attached;
    char key[FAKE_KEY];
    char title[FAKE_TEXT]; /* of a blank */
    char text[FAKE_TEXT];  /* the payload that it holds */
    uint64_t made_ms;      /* since 1970 */
    uint64_t keyed_ms;     /* when it came to its key: what an index that lags does not show yet */
};

/* Of a thousand requests each. */
struct fake_faults {
    unsigned lost;       /* done, and no answer */
    unsigned before;     /* not done, and no answer */
    unsigned conflict;   /* 409: done or not */
    unsigned rate;       /* 429 with Retry-After */
    unsigned incomplete; /* a look-up that finds nothing out */
    unsigned late;       /* no answer, and done some time later */
    uint64_t lag_ms;     /* of the index */
    uint64_t late_ms;    /* at most so much later */
};

/* Memory that is shared: made by fake_create. */
struct fake_world {
    pthread_mutex_t lock;
    struct fake_faults faults;
    /* What a test says: the answer of every request of this kind, instead of doing it; OK: none. */
    enum onerow_page_answer script[ONEROW_PAGE_BLANKS + 1];
    uint64_t retry_ms; /* Retry-After of a 429 */
    uint64_t line;     /* all writes are one line (1), or none is (0) */
    unsigned parts;    /* in which look-ups are answered; 0 as 1 */
    bool hold;         /* answers stay away until it is false */
    bool dies;         /* whoever wants to write is killed */
    bool edit;         /* a page is called edited once it was written */
    struct fake_page pages[FAKE_PAGES];
    size_t n_pages;
    struct {
        uint64_t due_ms;
        size_t page;
        char key[FAKE_KEY];
        char text[FAKE_TEXT];
    } late[256];
    size_t n_late;
    /* what was seen */
    uint64_t calls[ONEROW_PAGE_BLANKS + 1];
    uint64_t sent_ms[FAKE_SENT];
    size_t n_sent;
    uint64_t blocked_ms;  /* Retry-After: nothing may be sent before */
    uint64_t too_early;   /* requests that were sent inside of it */
    uint64_t probed_keys; /* in all probes */
    unsigned most_out;    /* writes that were out at a time */
    unsigned out;
    uint64_t twins; /* moments at which a key had two live pages */
    uint64_t dice;
};

struct fake_world *fake_create(uint64_t seed);
void fake_destroy(struct fake_world *world);

/* Opens store and table over the world, for one thread. */
void fake_open(struct fake_world *world, struct or_table *table);

/* What a test looks at, and does behind everybody's back. */
size_t fake_live(struct fake_world *world, const char *key); /* live pages with the key */
struct fake_page *fake_find(struct fake_world *world, const char *key); /* a live one, or NULL */
struct fake_page *fake_page(struct fake_world *world, struct onerow_span id);
size_t fake_blanks(struct fake_world *world); /* live pages without a key */
/* A page that somebody else made; its id. */
const char *fake_plant(struct fake_world *world, const char *key, const char *text);

/* Whether any interval of the span holds more requests than the count. */
bool fake_exceeds(struct fake_world *world, const struct or_window *window);

#endif
