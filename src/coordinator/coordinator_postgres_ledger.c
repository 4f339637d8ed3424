/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger's calls on PostgreSQL, but for swap (coordinator_postgres_swap.c). Every transaction
 * carries the *guard*: one more statement that says whether the ledger is still in its place, at
 * which generation the namespace is, and what the time is.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator_postgres.h"

#define PAGE       "256"     /* records that list reads at a time, and */
#define PAGE_BYTES "4194304" /* where it stops before */
#define FORGET     2000U     /* records in one transaction */
#define FORGET_SQL "2000"

/* ---- parameters ------------------------------------------------------------------------------ */

#define NUMBERS_MAX 6U

/* Parameters that are numbers. */
struct numbers {
    char bytes[NUMBERS_MAX][8];
    struct or_link_param params[NUMBERS_MAX];
};

static void set_number(struct numbers *numbers, unsigned at, uint64_t number)
{
    or_int8_encode(number > INT64_MAX ? INT64_MAX : number, numbers->bytes[at]);
    numbers->params[at] =
        (struct or_link_param){numbers->bytes[at], OR_LINK_INT8_OID, sizeof numbers->bytes[at]};
}

static struct or_link_param bytea(struct onerow_span bytes)
{
    return (struct or_link_param){bytes.len ? bytes.data : "", OR_LINK_BYTEA_OID, (int)bytes.len};
}

void or_remote_digest(struct onerow_span name, unsigned char digest[OR_SHA256_LEN])
{
    or_sha256(name, digest);
}

/* ---- the guard ------------------------------------------------------------------------------- */

#define IN_PLACE(SYSTEM) "m.place = " OR_REMOTE_PLACE " AND coalesce(m.system = " SYSTEM ", true)"

#define GUARD(SYSTEM)                                                                              \
    "SELECT m.epoch, coalesce(s.doubts, 0), coalesce(s.confirmed, 0), " IN_PLACE(                  \
        SYSTEM) ", "                                                                               \
                "(extract(epoch FROM clock_timestamp()) * 1000)::bigint, "                         \
                "m.ledger_id, "                                                                    \
                "coalesce(s.why, m.why, '') "                                                      \
                "FROM onerow.ledger_meta m LEFT JOIN onerow.ledger_space s ON s.number = $1"

enum { GUARD_LEDGER_ID = 5, GUARD_WHY = 6 }; /* columns of a guard's texts */

struct or_link_statement or_remote_guard_sql(const struct or_remote *remote, uint64_t space,
                                             struct or_guard_room *room)
{
    or_int8_encode(space, room->number);
    room->param = (struct or_link_param){room->number, OR_LINK_INT8_OID, sizeof room->number};
    return (struct or_link_statement){.sql = remote->sees_system ? GUARD(OR_REMOTE_SYSTEM)
                                                                 : GUARD(OR_REMOTE_UNSEEN),
                                      .params = &room->param,
                                      .n_params = 1};
}

struct or_remote_guard or_remote_guard_of(const PGresult *result)
{
    return (struct or_remote_guard){.doubt = {.epoch = or_result_int8(result, 0, 0),
                                              .doubts = or_result_int8(result, 0, 1),
                                              .confirmed = or_result_int8(result, 0, 2)},
                                    .in_place = or_result_bool(result, 0, 3),
                                    .now_ms = or_result_int8(result, 0, 4)};
}

enum onerow_status or_remote_check(const struct or_remote *remote, uint64_t space,
                                   const struct or_remote_guard *guard, struct onerow_error *error)
{
    bool same = !space || or_ledger_generation(&guard->doubt) ==
                              or_ledger_generation_of(&remote->entries, space);
    return guard->in_place && same ? ONEROW_OK : or_ledger_changed(remote->link.shown, error);
}

/* A statement's row of the ledger is always there; without it the tables were tampered with. */
static enum onerow_status take_guard(const struct or_remote *remote, const PGresult *result,
                                     struct or_remote_guard *guard, struct onerow_error *error)
{
    if (PQntuples(result) != 1) {
        return or_fail(error, ONEROW_CORRUPT, "%s: onerow.ledger_meta has lost its row",
                       remote->link.shown);
    }
    *guard = or_remote_guard_of(result);
    return ONEROW_OK;
}

/* ---- standing -------------------------------------------------------------------------------- */

#define MOVE_LEDGER(SYSTEM)                                                                        \
    "UPDATE onerow.ledger_meta m SET epoch = epoch + 1, why = 'the ledger''s database was "        \
    "restored or copied, or a standby took over: it is ' || " OR_REMOTE_PLACE " || ' of ' || "     \
    "coalesce(" SYSTEM ", '?') || ' and was ' || place || ' of ' || coalesce(system, '?') || "     \
    "' (database, table, timeline, server); see that nobody writes into the other one any more', " \
    "place = " OR_REMOTE_PLACE ", system = coalesce(" SYSTEM ", system), "                         \
    "next_number = least(next_number + $1, $2) WHERE NOT (" IN_PLACE(SYSTEM) ")"

#define LEARN_SYSTEM(SYSTEM)                                                                       \
    "UPDATE onerow.ledger_meta SET system = " SYSTEM " WHERE system IS NULL AND " SYSTEM           \
    " IS NOT NULL"

#define LOCK_META "SELECT 1 FROM onerow.ledger_meta FOR UPDATE"

/* Begins a transaction that may change the ledger's standing: nobody else does meanwhile, and when
 * the ledger is not in its place, it says so from now on. */
static enum onerow_status begin_settled(struct or_remote *remote, struct onerow_error *error)
{
    bool seen = remote->sees_system;
    struct numbers leap;
    set_number(&leap, 0, OR_LEDGER_LEAP);
    set_number(&leap, 1, ONEROW_LEDGER_NUMBERS);
    struct or_link_statement statements[] = {
        {.sql = LOCK_META},
        {.sql = seen ? MOVE_LEDGER(OR_REMOTE_SYSTEM) : MOVE_LEDGER(OR_REMOTE_UNSEEN),
         .params = leap.params,
         .n_params = 2},
        {.sql = seen ? LEARN_SYSTEM(OR_REMOTE_SYSTEM) : LEARN_SYSTEM(OR_REMOTE_UNSEEN)}};
    enum onerow_status status = or_link_begin(&remote->link, statements, 3, error);
    or_link_clear(statements, 3);
    return status;
}

static const char *unseen_system(const struct or_remote *remote)
{
    return remote->sees_system
               ? NULL
               : "this role may not read pg_control_system(), so another server with a copy of the "
                 "ledger is not noticed; run: GRANT EXECUTE ON FUNCTION pg_control_system() TO it";
}

/* Reads how a namespace stands, commits, and tells. */
static enum onerow_status commit_and_tell(struct or_remote *remote, uint64_t space,
                                          struct onerow_ledger_namespace *out,
                                          struct onerow_error *error)
{
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct or_link_statement ask = or_remote_guard_sql(remote, space, &room);
    enum onerow_status status = or_link_run(&remote->link, &ask, 1, error);
    if (status == ONEROW_OK) {
        status = take_guard(remote, ask.result, &guard, error);
    }
    if (status == ONEROW_OK) {
        struct onerow_span why = or_result_bytes(ask.result, 0, GUARD_WHY);
        struct onerow_span id = or_result_bytes(ask.result, 0, GUARD_LEDGER_ID);
        bool suspect = or_ledger_standing(&guard.doubt) == ONEROW_LEDGER_SUSPECT;
        snprintf(remote->why, sizeof remote->why, "%.*s", (int)why.len, why.data);
        *out =
            (struct onerow_ledger_namespace){.number = space,
                                             .standing = or_ledger_standing(&guard.doubt),
                                             .why = suspect ? remote->why : unseen_system(remote)};
        snprintf(out->ledger_id, sizeof out->ledger_id, "%.*s", (int)id.len, id.data);
    }
    or_link_clear(&ask, 1);
    if (status == ONEROW_OK) {
        status = or_link_commit(&remote->link, error);
    }
    if (status == ONEROW_OK &&
        !or_ledger_entered(&remote->entries, space, or_ledger_generation(&guard.doubt))) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return status;
}

/* ---- enter ----------------------------------------------------------------------------------- */

struct enter_call {
    struct onerow_span name;
    struct onerow_span definition;
    struct onerow_ledger_namespace *space;
};

/* Makes the namespace unless it is there; its number, or CONFIG for another definition. */
static enum onerow_status find_space(struct or_remote *remote, const struct enter_call *call,
                                     uint64_t *number, struct onerow_error *error)
{
    unsigned char digest[OR_SHA256_LEN];
    or_remote_digest(call->name, digest);
    struct onerow_span hashed = {(const char *)digest, sizeof digest};
    const struct or_link_param params[] = {bytea(hashed), bytea(call->name),
                                           bytea(call->definition)};
    struct or_link_statement statements[] = {
        {.sql = "INSERT INTO onerow.ledger_space(digest, name, definition) VALUES ($1, $2, $3) ON "
                "CONFLICT (digest) DO NOTHING",
         .params = params,
         .n_params = 3},
        {.sql = "SELECT number, definition FROM onerow.ledger_space WHERE digest = $1",
         .params = params,
         .n_params = 1}};
    enum onerow_status status = or_link_run(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        struct onerow_span made = or_result_bytes(statements[1].result, 0, 1);
        *number = or_result_int8(statements[1].result, 0, 0);
        if (!or_span_equal(made, call->definition)) {
            status = or_ledger_refuse_definition(call->name, made, call->definition, error);
        }
    }
    or_link_clear(statements, 2);
    return status;
}

static enum onerow_status try_enter(struct or_remote *remote, void *context,
                                    struct onerow_error *error)
{
    const struct enter_call *call = context;
    uint64_t number = 0;
    enum onerow_status status = begin_settled(remote, error);
    if (status == ONEROW_OK) {
        status = find_space(remote, call, &number, error);
    }
    return status == ONEROW_OK ? commit_and_tell(remote, number, call->space, error) : status;
}

static enum onerow_status remote_enter(struct onerow_coordinator *base, struct onerow_span name,
                                       struct onerow_span definition,
                                       struct onerow_ledger_namespace *space,
                                       struct onerow_error *error)
{
    struct enter_call call = {name, definition, space};
    return or_remote_do(or_remote_of(base), try_enter, &call, error);
}

/* ---- read ------------------------------------------------------------------------------------ */

static const char read_sql[] =
    "SELECT k.nr, l.revision, l.state, l.since, l.body FROM unnest($2::smallint[], $3::bytea[]) "
    "WITH ORDINALITY AS k(kind, digest, nr) JOIN onerow.ledger l ON l.space = $1 AND l.kind = "
    "k.kind AND l.digest = k.digest";

struct read_call {
    uint64_t space;
    struct onerow_ledger_record *records;
    size_t n;
    uint64_t *now_ms;
    struct or_arena *arena;
    struct or_buffer kinds;
    struct or_buffer digests;
};

static bool add_names(struct read_call *call)
{
    uint64_t *kinds = calloc(call->n + 1, sizeof *kinds);
    unsigned char(*digests)[OR_SHA256_LEN] = calloc(call->n + 1, sizeof *digests);
    struct onerow_span *spans = calloc(call->n + 1, sizeof *spans);
    bool made = kinds && digests && spans;
    for (size_t i = 0; made && i < call->n; i++) {
        kinds[i] = call->records[i].kind;
        or_remote_digest(call->records[i].name, digests[i]);
        spans[i] = (struct onerow_span){(const char *)digests[i], OR_SHA256_LEN};
    }
    if (made) {
        or_array_int2(&call->kinds, kinds, call->n);
        or_array_bytea(&call->digests, spans, call->n);
    }
    free(kinds);
    free(digests);
    free(spans);
    return made && !call->kinds.failed && !call->digests.failed;
}

static enum onerow_status take_records(const struct read_call *call, const PGresult *result,
                                       struct onerow_error *error)
{
    for (size_t i = 0; i < call->n; i++) {
        call->records[i] = (struct onerow_ledger_record){.kind = call->records[i].kind,
                                                         .name = call->records[i].name};
    }
    for (int row = 0; row < PQntuples(result); row++) {
        struct onerow_ledger_record *record = &call->records[or_result_int8(result, row, 0) - 1];
        record->revision = or_result_int8(result, row, 1);
        record->state = (uint8_t)or_result_int2(result, row, 2);
        record->since_ms = or_result_int8(result, row, 3);
        record->body = or_arena_copy(call->arena, or_result_bytes(result, row, 4));
        or_ledger_note_stamp(call->now_ms, record->since_ms);
        if (!record->body.data) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
    }
    return ONEROW_OK;
}

static enum onerow_status try_read(struct or_remote *remote, void *context,
                                   struct onerow_error *error)
{
    struct read_call *call = context;
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct numbers space;
    set_number(&space, 0, call->space);
    const struct or_link_param params[] = {
        space.params[0],
        {call->kinds.data, OR_LINK_INT2S_OID, (int)call->kinds.len},
        {call->digests.data, OR_LINK_BYTEAS_OID, (int)call->digests.len}};
    struct or_link_statement statements[] = {{.sql = read_sql, .params = params, .n_params = 3},
                                             or_remote_guard_sql(remote, call->space, &room)};
    enum onerow_status status = or_link_ask(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        status = take_guard(remote, statements[1].result, &guard, error);
    }
    if (status == ONEROW_OK) {
        status = or_remote_check(remote, call->space, &guard, error);
    }
    if (status == ONEROW_OK) {
        *call->now_ms = guard.now_ms;
        status = take_records(call, statements[0].result, error);
    }
    or_link_clear(statements, 2);
    return status;
}

static enum onerow_status remote_read(struct onerow_coordinator *base, uint64_t number,
                                      struct onerow_ledger_record *records, size_t n,
                                      uint64_t *now_ms, struct or_arena *arena,
                                      struct onerow_error *error)
{
    struct read_call call = {
        .space = number, .records = records, .n = n, .now_ms = now_ms, .arena = arena};
    for (size_t i = 0; i < n; i++) {
        or_ledger_check_name(records[i].kind, records[i].name);
    }
    or_buffer_init(&call.kinds);
    or_buffer_init(&call.digests);
    enum onerow_status status = add_names(&call)
                                    ? or_remote_do(or_remote_of(base), try_read, &call, error)
                                    : or_fail(error, ONEROW_NOMEM, "out of memory");
    or_buffer_finish(&call.kinds);
    or_buffer_finish(&call.digests);
    return status;
}

/* ---- list ------------------------------------------------------------------------------------ */

/* A page ends where its bodies get large; octet_length does not read them. */
static const char list_sql[] =
    "SELECT digest, name, revision, state, since, body FROM (SELECT page.*, "
    "sum(octet_length(body)) "
    "OVER (ORDER BY digest) - octet_length(body) AS before FROM (SELECT * FROM onerow.ledger WHERE "
    "space = $1 AND kind = $2::smallint AND ($3 >> state::int) & 1 = 1 AND since < $4 AND digest > "
    "$5 ORDER BY digest LIMIT " PAGE ") page) sized WHERE before < " PAGE_BYTES " ORDER BY digest";

struct list_call {
    uint64_t space;
    enum onerow_ledger_kind kind;
    uint32_t states;
    uint64_t before_ms;
    char past[OR_SHA256_LEN]; /* the last digest that was visited */
    size_t past_len;
    struct or_link_statement page;
};

static enum onerow_status try_list(struct or_remote *remote, void *context,
                                   struct onerow_error *error)
{
    struct list_call *call = context;
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct numbers numbers;
    set_number(&numbers, 0, call->space);
    set_number(&numbers, 1, call->kind);
    set_number(&numbers, 2, call->states);
    set_number(&numbers, 3, call->before_ms);
    const struct or_link_param params[] = {numbers.params[0], numbers.params[1], numbers.params[2],
                                           numbers.params[3],
                                           bytea((struct onerow_span){call->past, call->past_len})};
    struct or_link_statement statements[] = {{.sql = list_sql, .params = params, .n_params = 5},
                                             or_remote_guard_sql(remote, call->space, &room)};
    enum onerow_status status = or_link_ask(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        status = take_guard(remote, statements[1].result, &guard, error);
    }
    if (status == ONEROW_OK) {
        status = or_remote_check(remote, call->space, &guard, error);
    }
    if (status == ONEROW_OK) {
        call->page.result = statements[0].result;
        statements[0].result = NULL;
    }
    or_link_clear(statements, 2);
    return status;
}

/* False: the caller has seen enough. */
static bool visit_page(struct list_call *call, onerow_visit_ledger *visit, void *context)
{
    const PGresult *page = call->page.result;
    for (int row = 0; row < PQntuples(page); row++) {
        struct onerow_span digest = or_result_bytes(page, row, 0);
        struct onerow_ledger_record record = {.kind = call->kind,
                                              .name = or_result_bytes(page, row, 1),
                                              .revision = or_result_int8(page, row, 2),
                                              .state = (uint8_t)or_result_int2(page, row, 3),
                                              .since_ms = or_result_int8(page, row, 4),
                                              .body = or_result_bytes(page, row, 5)};
        call->past_len = digest.len < sizeof call->past ? digest.len : sizeof call->past;
        memcpy(call->past, digest.data, call->past_len);
        if (!visit(context, &record)) {
            return false;
        }
    }
    return true;
}

static enum onerow_status remote_list(struct onerow_coordinator *base, uint64_t number,
                                      enum onerow_ledger_kind kind, uint32_t states,
                                      uint64_t before_ms, onerow_visit_ledger *visit, void *context,
                                      struct onerow_error *error)
{
    struct list_call call = {
        .space = number, .kind = kind, .states = states, .before_ms = before_ms};
    enum onerow_status status = ONEROW_OK;
    bool more = true;
    while (status == ONEROW_OK && more) {
        status = or_remote_do(or_remote_of(base), try_list, &call, error);
        more = status == ONEROW_OK && PQntuples(call.page.result) > 0 &&
               visit_page(&call, visit, context);
        or_link_clear(&call.page, 1);
    }
    return status;
}

/* ---- reserve --------------------------------------------------------------------------------- */

struct reserve_call {
    uint64_t n;
    uint64_t *first;
};

static enum onerow_status try_reserve(struct or_remote *remote, void *context,
                                      struct onerow_error *error)
{
    const struct reserve_call *call = context;
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct numbers numbers;
    set_number(&numbers, 0, call->n);
    set_number(&numbers, 1, ONEROW_LEDGER_NUMBERS);
    struct or_link_statement statements[] = {
        {.sql = "UPDATE onerow.ledger_meta SET next_number = next_number + $1 WHERE next_number <= "
                "$2 - $1 RETURNING next_number - $1",
         .params = numbers.params,
         .n_params = 2},
        or_remote_guard_sql(remote, 0, &room)};
    enum onerow_status status = or_link_begin(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        status = take_guard(remote, statements[1].result, &guard, error);
    }
    if (status == ONEROW_OK) {
        status = or_remote_check(remote, 0, &guard, error);
    }
    if (status == ONEROW_OK && PQntuples(statements[0].result) == 0) {
        status = or_ledger_out_of_numbers(error);
    }
    if (status == ONEROW_OK) {
        *call->first = or_result_int8(statements[0].result, 0, 0);
        status = or_link_commit(&remote->link, error);
    }
    or_link_clear(statements, 2);
    return status;
}

static enum onerow_status remote_reserve(struct onerow_coordinator *base, uint64_t n,
                                         uint64_t *first, struct onerow_error *error)
{
    struct reserve_call call = {n, first};
    return n <= ONEROW_LEDGER_NUMBERS ? or_remote_do(or_remote_of(base), try_reserve, &call, error)
                                      : or_ledger_out_of_numbers(error);
}

/* ---- witness and confirm --------------------------------------------------------------------- */

struct witness_call {
    uint64_t space;
    uint64_t seen;
    struct onerow_ledger_namespace *state;
};

/* The ledger leaps when it moves, so what it has never given out is asked for before. */
static enum onerow_status try_witness(struct or_remote *remote, void *context,
                                      struct onerow_error *error)
{
    const struct witness_call *call = context;
    char why[OR_REMOTE_WHY];
    struct numbers numbers;
    set_number(&numbers, 0, call->space);
    set_number(&numbers, 1, call->seen);
    snprintf(why, sizeof why,
             "the store shows the number %" PRIu64
             ", which this ledger has never given out: it was "
             "rolled back, or another ledger writes there, too",
             call->seen);
    const struct or_link_param params[] = {
        numbers.params[0], numbers.params[1], {why, OR_LINK_TEXT_OID, (int)strlen(why)}};
    const struct or_link_param seen[] = {numbers.params[1]};
    struct or_link_statement statements[] = {
        {.sql =
             "UPDATE onerow.ledger_space SET doubts = doubts + 1, why = $3 WHERE number = $1 AND "
             "$2 >= (SELECT next_number FROM onerow.ledger_meta)",
         .params = params,
         .n_params = 3},
        {.sql = "UPDATE onerow.ledger_meta SET next_number = $1 + 1 WHERE next_number <= $1",
         .params = seen,
         .n_params = 1}};
    enum onerow_status status = begin_settled(remote, error);
    if (status == ONEROW_OK) {
        status = or_link_run(&remote->link, statements, 2, error);
    }
    or_link_clear(statements, 2);
    return status == ONEROW_OK ? commit_and_tell(remote, call->space, call->state, error) : status;
}

static enum onerow_status remote_witness(struct onerow_coordinator *base, uint64_t number,
                                         uint64_t seen, struct onerow_ledger_namespace *state,
                                         struct onerow_error *error)
{
    struct witness_call call = {number, seen, state};
    return seen < ONEROW_LEDGER_NUMBERS
               ? or_remote_do(or_remote_of(base), try_witness, &call, error)
               : or_ledger_refuse_number(seen, error);
}

static enum onerow_status try_confirm(struct or_remote *remote, void *context,
                                      struct onerow_error *error)
{
    const uint64_t *space = context;
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct numbers numbers;
    set_number(&numbers, 0, *space);
    set_number(&numbers, 1, or_ledger_generation_of(&remote->entries, *space));
    struct or_link_statement statements[] = {
        {.sql = "UPDATE onerow.ledger_space SET confirmed = $2, why = NULL WHERE number = $1",
         .params = numbers.params,
         .n_params = 2},
        or_remote_guard_sql(remote, *space, &room)};
    enum onerow_status status = or_link_begin(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        status = take_guard(remote, statements[1].result, &guard, error);
    }
    if (status == ONEROW_OK) {
        status = or_remote_check(remote, *space, &guard, error);
    }
    or_link_clear(statements, 2);
    return status == ONEROW_OK ? or_link_commit(&remote->link, error) : status;
}

static enum onerow_status remote_confirm(struct onerow_coordinator *base, uint64_t number,
                                         struct onerow_error *error)
{
    return or_remote_do(or_remote_of(base), try_confirm, &number, error);
}

/* ---- forget ---------------------------------------------------------------------------------- */

struct forget_call {
    uint64_t space;
    uint64_t before_ms;
    uint64_t forgotten; /* in the last transaction */
};

static enum onerow_status try_forget(struct or_remote *remote, void *context,
                                     struct onerow_error *error)
{
    struct forget_call *call = context;
    struct or_guard_room room;
    struct or_remote_guard guard = {0};
    struct numbers numbers;
    set_number(&numbers, 0, call->space);
    set_number(&numbers, 1, ONEROW_LEDGER_ATTEMPT);
    set_number(&numbers, 2, call->before_ms);
    struct or_link_statement statements[] = {
        {.sql = "DELETE FROM onerow.ledger l USING (SELECT digest FROM onerow.ledger WHERE space = "
                "$1 AND kind = $2::smallint AND since > 0 AND since < $3 ORDER BY digest "
                "LIMIT " FORGET_SQL " FOR UPDATE SKIP LOCKED) old WHERE l.space = $1 AND l.kind = "
                "$2::smallint AND l.digest = old.digest",
         .params = numbers.params,
         .n_params = 3},
        or_remote_guard_sql(remote, call->space, &room)};
    enum onerow_status status = or_link_begin(&remote->link, statements, 2, error);
    if (status == ONEROW_OK) {
        call->forgotten = strtoull(PQcmdTuples(statements[0].result), NULL, 10);
        status = take_guard(remote, statements[1].result, &guard, error);
    }
    if (status == ONEROW_OK) {
        status = or_remote_check(remote, call->space, &guard, error);
    }
    or_link_clear(statements, 2);
    return status == ONEROW_OK ? or_link_commit(&remote->link, error) : status;
}

static enum onerow_status remote_forget(struct onerow_coordinator *base, uint64_t number,
                                        uint64_t before_ms, uint64_t *n, struct onerow_error *error)
{
    struct forget_call call = {number, before_ms, FORGET};
    enum onerow_status status = ONEROW_OK;
    *n = 0;
    while (status == ONEROW_OK && call.forgotten == FORGET) {
        status = or_remote_do(or_remote_of(base), try_forget, &call, error);
        *n += status == ONEROW_OK ? call.forgotten : 0;
    }
    return status;
}

/* ---- the table of calls ---------------------------------------------------------------------- */

const struct onerow_ledger_ops or_remote_ledger = {
    .enter = remote_enter,
    .read = remote_read,
    .swap = or_remote_swap,
    .list = remote_list,
    .reserve = remote_reserve,
    .witness = remote_witness,
    .confirm = remote_confirm,
    .forget = remote_forget,
};
