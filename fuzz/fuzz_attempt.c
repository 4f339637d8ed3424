/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any sequence of answers to an attempt, the healer and the sweeper, however little they
 * fit to each other. Each command must be whole, nothing may be asked for after the end, and what
 * is told of a record must be one of the outcomes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/heal.h"
#include "core/sweep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

struct bytes {
    const uint8_t *at;
    size_t left;
};

static unsigned take(struct bytes *bytes)
{
    if (bytes->left == 0) {
        return 0;
    }
    bytes->left--;
    return *bytes->at++;
}

static const struct onerow_span PAGES[] = {{"p1", 2}, {"p2", 2}, {"p3", 2}, {"p4", 2}};
static const struct or_retry_limits LIMITS = {
    .classes = {[OR_RETRY_CONFLICT] = {100, 1000, 20}, [OR_RETRY_BUSY] = {100, 1000, 20}},
    .total_ms = 1U << 20};

static struct or_payload payload(unsigned byte)
{
    struct or_payload made = {.text = PAGES[byte & 3U]};
    memset(made.fingerprint, (int)(byte & 3U), sizeof made.fingerprint);
    made.order =
        (struct onerow_value){.data = PAGES[byte >> 2 & 3U].data, .len = 2, .kind = ONEROW_TEXT};
    return made;
}

/* A record as or_key_decode lets it pass. */
static struct or_key_record key_record(struct bytes *bytes)
{
    unsigned state = take(bytes) % (OR_KEY_INTENT + 1U);
    unsigned flags = take(bytes);
    struct or_key_record key = {.state = (enum or_key_state)state,
                                .revision = take(bytes) % 8U,
                                .since_ms = take(bytes) * 64ULL,
                                .doubtful = flags & 1U,
                                .known = flags & 2U,
                                .generation = flags >> 2 & 3U,
                                .version = flags >> 4 & 3U};
    if (state != OR_KEY_NONE && state != OR_KEY_ABSENT && state != OR_KEY_INTENT) {
        key.page = PAGES[take(bytes) & 3U];
    }
    if (state == OR_KEY_BOUND || state == OR_KEY_WRITING || state == OR_KEY_INTENT ||
        (flags & 0x40U)) {
        key.nonce = (struct or_nonce){1 + (take(bytes) & 1U), take(bytes) & 7U};
        key.pending = payload(take(bytes));
    }
    memset(key.fingerprint, (int)(take(bytes) & 3U), sizeof key.fingerprint);
    key.order = payload(take(bytes)).order;
    return key;
}

static void answer(struct bytes *bytes, const struct or_command *command, struct or_event *event)
{
    static struct or_page_record records[OR_ATTEMPT_PAGES];
    static struct or_probe_page pages[OR_ATTEMPT_PAGES];
    uint64_t now = event->now_ms;
    memset(event, 0, sizeof *event);
    event->now_ms = now + take(bytes) * 16ULL;
    event->random = take(bytes) * 0x0101010101010101ULL;
    event->ledger_ms = event->now_ms;
    event->answer = (enum or_answer)(take(bytes) % (OR_ANSWER_FAILED + 1U));
    if (command->what == OR_DO_READ) {
        event->key = key_record(bytes);
        event->attempt = (struct or_attempt_record){(enum or_attempt_mark)(take(bytes) % 3U),
                                                    take(bytes) & 3U, 1 + (take(bytes) & 3U)};
        require(command->n_pages <= OR_ATTEMPT_PAGES);
        for (size_t i = 0; i < command->n_pages; i++) {
            unsigned byte = take(bytes);
            records[i] = (struct or_page_record){.revision = byte >> 4,
                                                 .state = (enum or_page_state)(byte & 3U),
                                                 .key = byte & 4U ? OR_SPAN("key") : OR_SPAN("x")};
        }
        event->records = records;
    }
    event->n_pages = command->what == OR_DO_PROBE ? take(bytes) % (OR_ATTEMPT_PAGES + 2U) : 0;
    for (size_t i = 0; i < event->n_pages && i < OR_ATTEMPT_PAGES; i++) {
        unsigned byte = take(bytes);
        pages[i] = (struct or_probe_page){PAGES[byte & 3U], byte >> 4, byte & 4U, byte & 8U};
    }
    event->pages = pages;
    event->page = PAGES[take(bytes) & 3U];
    event->retry_after_ms = take(bytes) * 8ULL;
    unsigned seen = take(bytes);
    event->in_trash = seen & 1U;
    event->has_key = seen & 2U;
    event->edited = seen & 4U;
    memset(event->fingerprint, (int)(seen >> 3 & 3U), sizeof event->fingerprint);
    event->order = payload(seen).order;
}

static void check(const struct or_command *command)
{
    switch (command->what) {
    case OR_DO_SWAP: {
        struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
        char *room = malloc(or_swap_room(command->swap, OR_SPAN("key")));
        require(room != NULL);
        size_t n = or_swap_encode(command->swap, OR_SPAN("key"), changes, room);
        require(n >= 1 && n <= ONEROW_LEDGER_CHANGES);
        free(room);
        return;
    }
    case OR_DO_CREATE: require(command->nonce.number != 0); return;
    case OR_DO_CREATE_KEYED: require(command->payload && command->payload->text.data); return;
    case OR_DO_PUBLISH:
    case OR_DO_WRITE: require(command->page.data && command->payload->text.data); return;
    case OR_DO_GET:
    case OR_DO_RESTORE:
    case OR_DO_TRASH:
    case OR_DO_MOVE_KEY: require(command->page.data != NULL); return;
    case OR_DO_WAIT: require(command->wait_ms > 0); return;
    case OR_DO_READ:
    case OR_DO_PROBE:
    case OR_DO_SETTLE: return;
    }
    abort();
}

static void fuzz_attempt(struct bytes *bytes)
{
    struct or_attempt attempt;
    struct or_command command;
    struct or_event event = {0};
    struct or_payload own = payload(take(bytes));
    unsigned drawn = take(bytes);
    struct or_attempt_options options = {.protocol = (enum or_protocol)(drawn & 1U),
                                         .policy = (enum onerow_policy)((drawn >> 1) % 3U),
                                         .deletion = (enum or_deletion)((drawn >> 3) % 3U),
                                         .verify_read = drawn & 64U,
                                         .may_create = drawn & 128U,
                                         .bounds = {500, 200, 1000, 50, 50, 100, 900, 100},
                                         .retry = &LIMITS};
    or_attempt_init(&attempt, &options, OR_SPAN("key"), take(bytes) % 8U ? &own : NULL, 1,
                    take(bytes) & 1U ? PAGES[3] : (struct onerow_span){0});
    or_attempt_step(&attempt, &event, &command);
    while (command.what != OR_DO_SETTLE && bytes->left) {
        check(&command);
        answer(bytes, &command, &event);
        or_attempt_step(&attempt, &event, &command);
    }
    if (command.what == OR_DO_SETTLE) {
        require(command.outcome > ONEROW_PENDING && command.outcome <= ONEROW_IN_DOUBT);
        require(*or_reason_text(command.reason) || command.reason == OR_REASON_NONE);
    }
}

static void fuzz_heal(struct bytes *bytes)
{
    static const struct or_bounds BOUNDS = {500, 200, 1000, 50, 50, 100, 900, 100};
    struct or_heal heal;
    struct or_command command;
    struct or_event event = {0};
    or_heal_init(&heal, OR_SPAN("key"), &BOUNDS, &LIMITS, 1);
    or_heal_step(&heal, &event, &command);
    while (command.what != OR_DO_SETTLE && bytes->left) {
        check(&command);
        answer(bytes, &command, &event);
        or_heal_step(&heal, &event, &command);
    }
}

static void fuzz_sweep(struct bytes *bytes)
{
    struct or_sweep sweep;
    struct or_command command;
    struct or_event event = {0};
    or_sweep_init(&sweep, PAGES[0], &LIMITS);
    or_sweep_step(&sweep, &event, &command);
    while (command.what != OR_DO_SETTLE && bytes->left) {
        check(&command);
        answer(bytes, &command, &event);
        or_sweep_step(&sweep, &event, &command);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    switch (take(&bytes) % 4U) {
    case 0: fuzz_heal(&bytes); break;
    case 1: fuzz_sweep(&bytes); break;
    default: fuzz_attempt(&bytes); break;
    }
    return 0;
}
