/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as the body of a ledger's record, and as a nonce. What is accepted must be
 * coherent, and be written again as the very same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_key(const struct onerow_ledger_record *record)
{
    struct or_swap swap = {0};
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    if (!or_key_decode(record, &swap.becomes) || swap.becomes.state == OR_KEY_NONE) {
        return;
    }
    require(swap.becomes.page.len <= OR_PAGE_ID_MAX);
    char *room = malloc(or_swap_room(&swap, OR_SPAN("key")));
    require(room != NULL);
    require(or_swap_encode(&swap, OR_SPAN("key"), changes, room) == 1);
    require(or_span_equal(changes[0].body, record->body));
    free(room);
}

static void fuzz_others(const struct onerow_ledger_record *record)
{
    struct or_page_record page;
    struct or_attempt_record attempt;
    if (or_page_decode(record, &page)) {
        require((page.state == OR_PAGE_BOUND) == (page.key.data != NULL));
    }
    if (or_attempt_decode(record, &attempt)) {
        require(attempt.state == OR_ATTEMPT_TAKEN || attempt.state == OR_ATTEMPT_REFUSED);
    }
}

static void fuzz_nonce(struct onerow_span text)
{
    char again[OR_NONCE_TEXT];
    struct or_nonce nonce;
    if (or_nonce_parse(text, &nonce)) {
        size_t len = or_nonce_text(nonce, again);
        require(or_span_equal(text, (struct onerow_span){again, len}));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    /* In memory of its own length, so that a step beyond its end is seen. */
    char *body = malloc(size);
    require(body != NULL);
    memcpy(body, data + 1, size - 1);
    struct onerow_ledger_record record = {
        .revision = 1, .state = data[0], .body = {body, size - 1}};
    fuzz_key(&record);
    fuzz_others(&record);
    fuzz_nonce(record.body);
    free(body);
    return 0;
}
