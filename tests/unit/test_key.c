/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys: the vector file, the limits, and properties over random values.
 *
 * The properties work on models: a value in machine form (an integer, a moment as seconds and
 * nanoseconds, …) that is written out in a random spelling. Two lists of models have the same
 * key if and only if the models are equal, and what "equal" means is decided here, without
 * the code under test. ONEROW_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/digest.h"
#include "base/time_text.h"
#include "key_case.h"

#define ROUNDS 200000

static struct or_arena arena;

/* ---- random numbers ------------------------------------------------------------ */

static uint64_t random_state;

static void seed_random(void)
{
    const char *given = getenv("ONEROW_TEST_SEED");
    random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761U;
    print_message("ONEROW_TEST_SEED=%" PRIu64 "\n", random_state);
}

/* splitmix64 */
static uint64_t draw(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t n)
{
    return draw() % n;
}

static bool chance(uint64_t one_in)
{
    return below(one_in) == 0;
}

/* ---- small helpers --------------------------------------------------------------- */

static struct onerow_value value_of(enum onerow_kind kind, const char *text)
{
    return case_value(kind, or_span(text));
}

static bool part_of(enum onerow_type type, unsigned rules, struct onerow_value value,
                    struct onerow_value *part, const char **reason)
{
    struct onerow_key_column column = {.name = "c", .type = type, .normalize = rules};
    return or_key_part(&column, type, &value, &arena, part, reason);
}

static void assert_part(enum onerow_type type, unsigned rules, struct onerow_value value,
                        const char *canonical)
{
    struct onerow_value part;
    const char *reason = NULL;
    assert_true(part_of(type, rules, value, &part, &reason));
    assert_int_equal(part.len, strlen(canonical));
    assert_memory_equal(part.data, canonical, part.len);
}

static void assert_refused(enum onerow_type type, struct onerow_value value, const char *why)
{
    struct onerow_value part;
    const char *reason = NULL;
    assert_false(part_of(type, 0, value, &part, &reason));
    assert_string_equal(reason, why);
}

static bool same_value(const struct onerow_value *a, const struct onerow_value *b)
{
    return a->kind == b->kind && or_span_equal((struct onerow_span){a->data, a->len},
                                               (struct onerow_span){b->data, b->len});
}

/* ---- models ------------------------------------------------------------------------ */

#define TEXT_MAX    8
#define DECIMALS    4 /* a model's number counts ten-thousandths */
#define SPELLED_MAX 128

struct model {
    enum onerow_type type;
    bool null;
    size_t len;           /* text */
    char text[TEXT_MAX];  /* text */
    int64_t number;       /* int; decimal in ten-thousandths; bool; date, timestamp: seconds */
    uint32_t nanoseconds; /* timestamp */
    unsigned char uuid[16];
};

static const enum onerow_type KEY_TYPES[] = {
    ONEROW_TYPE_TEXT, ONEROW_TYPE_INT,       ONEROW_TYPE_DECIMAL, ONEROW_TYPE_BOOL,
    ONEROW_TYPE_DATE, ONEROW_TYPE_TIMESTAMP, ONEROW_TYPE_UUID,
};

#define FIRST_SECOND INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND  INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

static int64_t draw_second(void)
{
    int64_t span = LAST_SECOND - FIRST_SECOND;
    switch (below(4)) {
    case 0: return FIRST_SECOND + (int64_t)below(200000);
    case 1: return LAST_SECOND - (int64_t)below(200000);
    case 2: return 1709164800 + (int64_t)below(172800); /* about 2024-02-29 */
    default: return FIRST_SECOND + (int64_t)below((uint64_t)span);
    }
}

static void draw_text(struct model *model)
{
    static const char nasty[] = "||\\\\pntkdDu:1 a";
    model->len = below(TEXT_MAX + 1);
    for (size_t i = 0; i < model->len; i++) {
        model->text[i] = nasty[below(sizeof nasty - 1)];
    }
}

static struct model draw_model(enum onerow_type type)
{
    struct model model = {.type = type, .null = chance(8)};
    switch (type) {
    case ONEROW_TYPE_TEXT: draw_text(&model); break;
    case ONEROW_TYPE_INT:
        model.number = chance(2) ? (int64_t)draw() : (int64_t)below(21) - 10;
        break;
    case ONEROW_TYPE_DECIMAL:
        model.number = (int64_t)below(chance(2) ? 200 : 2000000000) - 100;
        model.number *= chance(3) ? 10000 : 1;
        break;
    case ONEROW_TYPE_BOOL: model.number = (int64_t)below(2); break;
    case ONEROW_TYPE_DATE: model.number = draw_second() / 86400 * 86400; break;
    case ONEROW_TYPE_TIMESTAMP:
        model.number = draw_second();
        model.nanoseconds = chance(2) ? 0 : (uint32_t)below(1000) * (chance(2) ? 1000000 : 1);
        break;
    default:
        for (size_t i = 0; i < sizeof model.uuid; i++) {
            model.uuid[i] = (unsigned char)draw();
        }
    }
    return model;
}

static struct model draw_any_model(void)
{
    return draw_model(KEY_TYPES[below(sizeof KEY_TYPES / sizeof *KEY_TYPES)]);
}

static bool same_model(const struct model *a, const struct model *b)
{
    if (a->null || b->null) {
        return a->null && b->null;
    }
    return a->type == b->type && a->len == b->len && memcmp(a->text, b->text, a->len) == 0 &&
           a->number == b->number && a->nanoseconds == b->nanoseconds &&
           memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0;
}

/* A neighbour: differs little, or not at all. */
static struct model near_model(const struct model *model)
{
    struct model near = *model;
    if (chance(3) || model->null) {
        return near;
    }
    if (chance(6)) {
        return draw_model(model->type);
    }
    switch (model->type) {
    case ONEROW_TYPE_TEXT:
        if (near.len > 0) {
            near.text[below(near.len)] = "|\\pn"[below(4)];
        }
        break;
    case ONEROW_TYPE_INT:
        near.number = (int64_t)((uint64_t)near.number ^ (UINT64_C(1) << below(64)));
        break;
    case ONEROW_TYPE_DECIMAL: near.number = chance(2) ? -near.number : near.number + 1; break;
    case ONEROW_TYPE_BOOL: near.number = !near.number; break;
    case ONEROW_TYPE_TIMESTAMP: near.nanoseconds = (near.nanoseconds + 1) % 1000000000; break;
    case ONEROW_TYPE_UUID: near.uuid[below(16)] ^= 1; break;
    default: near.number = draw_second() / 86400 * 86400;
    }
    return near;
}

/* ---- spellings of a model ------------------------------------------------------------ */

/* The number of ten-thousandths `units` (or of ones, decimals 0) in a random spelling. */
static void spell_number(int64_t units, int decimals, char *out)
{
    char digits[64];
    uint64_t size = units < 0 ? 0 - (uint64_t)units : (uint64_t)units;
    int exponent = (int)below(13) - 6;
    int zeros = (int)below(3);
    int len = snprintf(digits, sizeof digits, "%0*" PRIu64, decimals + 1 + 6 + zeros, size);
    for (int i = 0; i < 6; i++) { /* room for the point to go right */
        digits[len++] = '0';
    }
    digits[len] = '\0';
    int point = len - 6 - decimals - exponent;
    int end = len;
    while (end > point && digits[end - 1] == '0' && !chance(4)) {
        end--;
    }
    int used = sprintf(out, "%s%.*s", units < 0 ? "-" : "", point, digits);
    if (end > point) {
        used += sprintf(out + used, ".%.*s", end - point, digits + point);
    }
    if (exponent != 0 || chance(4)) {
        sprintf(out + used, "%c%s%d", chance(2) ? 'e' : 'E', exponent > 0 && chance(2) ? "+" : "",
                exponent);
    }
}

static void spell_day(time_t second, char *out)
{
    struct tm tm;
    gmtime_r(&second, &tm);
    sprintf(out, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

static void spell_zone(int minutes, char *out)
{
    int size = abs(minutes);
    if (minutes == 0 && chance(2)) {
        strcpy(out, chance(3) ? "" : chance(2) ? "Z" : "z");
    } else if (size % 60 == 0 && chance(2)) {
        sprintf(out, "%c%02d", minutes < 0 ? '-' : '+', size / 60);
    } else {
        sprintf(out, "%c%02d%s%02d", minutes < 0 ? '-' : '+', size / 60, chance(2) ? ":" : "",
                size % 60);
    }
}

static void spell_moment(const struct model *model, char *out)
{
    int minutes = chance(3) ? 0 : ((int)below(49) - 24) * 30 + (chance(4) ? (int)below(30) : 0);
    int64_t local = model->number + (int64_t)minutes * 60;
    if (local < FIRST_SECOND || local > LAST_SECOND) {
        minutes = 0;
        local = model->number;
    }
    struct tm tm;
    time_t second = (time_t)local;
    gmtime_r(&second, &tm);
    spell_day(second, out);
    out += 10;
    out += sprintf(out, "%c%02d:%02d", "Tt "[below(3)], tm.tm_hour, tm.tm_min);
    if (tm.tm_sec || model->nanoseconds || chance(2)) {
        out += sprintf(out, ":%02d", tm.tm_sec);
        if (model->nanoseconds || chance(4)) {
            out += sprintf(out, ".%09" PRIu32, model->nanoseconds);
            while (out[-1] == '0' && out[-2] != '.' && !chance(4)) {
                out--;
            }
        }
    }
    spell_zone(minutes, out);
}

static void spell_uuid(const struct model *model, char *out)
{
    bool dashes = chance(2);
    const char *format = chance(2) ? "%02x" : "%02X";
    for (int i = 0; i < 16; i++) {
        if (dashes && (i == 4 || i == 6 || i == 8 || i == 10)) {
            *out++ = '-';
        }
        out += sprintf(out, format, model->uuid[i]);
    }
}

static enum onerow_kind text_kind(void)
{
    return chance(2) ? ONEROW_TEXT : ONEROW_UNTYPED;
}

static enum onerow_kind number_kind(void)
{
    return chance(2) ? ONEROW_NUMBER : text_kind();
}

static struct onerow_value spell_bool(bool truth, char *out)
{
    static const char *const words[2][5] = {{"false", "F", "0", "False", "f"},
                                            {"true", "T", "1", "TRUE", "t"}};
    strcpy(out, words[truth][below(5)]);
    if (chance(3)) {
        strcpy(out, words[truth][0]);
        return value_of(ONEROW_BOOL, out);
    }
    return value_of(strchr("01", *out) ? number_kind() : text_kind(), out);
}

static struct onerow_value spell(const struct model *model, char out[SPELLED_MAX])
{
    if (model->null) {
        return (struct onerow_value){.kind = ONEROW_NULL};
    }
    switch (model->type) {
    case ONEROW_TYPE_TEXT:
        return case_value(text_kind(), (struct onerow_span){model->text, model->len});
    case ONEROW_TYPE_INT: spell_number(model->number, 0, out); return value_of(number_kind(), out);
    case ONEROW_TYPE_DECIMAL:
        spell_number(model->number, DECIMALS, out);
        return value_of(number_kind(), out);
    case ONEROW_TYPE_BOOL: return spell_bool(model->number, out);
    case ONEROW_TYPE_DATE: spell_day((time_t)model->number, out); break;
    case ONEROW_TYPE_TIMESTAMP: spell_moment(model, out); break;
    default: spell_uuid(model, out);
    }
    return value_of(text_kind(), out);
}

/* ---- properties ----------------------------------------------------------------------- */

#define PARTS_MAX 3

static void canonical_part(const struct model *model, struct onerow_value *part)
{
    struct onerow_key_column column = {.name = "c", .type = model->type, .nulls_equal = true};
    char *spelled = or_arena_bytes(&arena, SPELLED_MAX);
    struct onerow_value value = spell(model, spelled);
    const char *reason = NULL;
    if (!or_key_part(&column, model->type, &value, &arena, part, &reason)) {
        fail_msg("type %s, %.*s: %s", or_type_name(model->type), (int)value.len, value.data,
                 reason);
    }
}

static void key_of_models(const struct model *models, size_t n, struct or_buffer *key)
{
    struct onerow_value parts[PARTS_MAX];
    enum onerow_type types[PARTS_MAX];
    for (size_t i = 0; i < n; i++) {
        canonical_part(&models[i], &parts[i]);
        types[i] = models[i].type;
    }
    or_buffer_clear(key);
    assert_true(or_key_append(key, parts, types, n));
}

static void same_key_iff_same_values(void **state)
{
    (void)state;
    struct or_buffer keys[2];
    size_t met[2] = {0};
    or_buffer_init(&keys[0]);
    or_buffer_init(&keys[1]);
    for (int round = 0; round < ROUNDS; round++) {
        struct model models[2][PARTS_MAX];
        size_t n[2] = {1 + below(PARTS_MAX), 0};
        n[1] = chance(10) ? 1 + below(PARTS_MAX) : n[0];
        bool same = n[0] == n[1];
        for (size_t i = 0; i < PARTS_MAX; i++) {
            models[0][i] = draw_any_model();
            models[1][i] = chance(20) ? draw_any_model() : near_model(&models[0][i]);
            same &= i >= n[0] || same_model(&models[0][i], &models[1][i]);
        }
        or_arena_reset(&arena);
        key_of_models(models[0], n[0], &keys[0]);
        key_of_models(models[1], n[1], &keys[1]);
        if (same != or_span_equal(or_buffer_view(&keys[0]), or_buffer_view(&keys[1]))) {
            fail_msg("%s and %s: the values are %s", or_buffer_cstr(&keys[0]),
                     or_buffer_cstr(&keys[1]), same ? "equal" : "different");
        }
        met[same]++;
    }
    assert_true(met[0] > ROUNDS / 10 && met[1] > ROUNDS / 100); /* both sides were tried */
    or_buffer_finish(&keys[0]);
    or_buffer_finish(&keys[1]);
}

static void canonical_values_are_canonical(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct model model = draw_any_model();
        struct onerow_value once, twice;
        struct onerow_key_column column = {.name = "c", .type = model.type, .nulls_equal = true};
        const char *reason;
        or_arena_reset(&arena);
        canonical_part(&model, &once);
        assert_true(or_key_part(&column, model.type, &once, &arena, &twice, &reason));
        assert_true(same_value(&once, &twice));
        assert_true(once.data == twice.data || model.type == ONEROW_TYPE_BOOL);
    }
}

/* Undoes or_key_append by the rules that docs/KEYS.md gives. */
static size_t split_key(const char *key, char contents[PARTS_MAX][SPELLED_MAX], size_t *lens)
{
    size_t n = 0;
    assert_memory_equal(key, "k1", 2);
    for (key += 2; *key == '|'; n++) {
        size_t len = 0;
        for (key++; *key && *key != '|'; key++) {
            bool escaped = *key == '\\';
            key += escaped;
            contents[n][len++] = (char)(escaped && *key == 'p' ? '|' : *key);
        }
        lens[n] = len;
    }
    return n;
}

static void keys_can_be_taken_apart(void **state)
{
    (void)state;
    struct or_buffer key;
    or_buffer_init(&key);
    for (int round = 0; round < ROUNDS / 4; round++) {
        struct model models[PARTS_MAX];
        size_t n = 1 + below(PARTS_MAX);
        for (size_t i = 0; i < n; i++) {
            models[i] = draw_model(ONEROW_TYPE_TEXT);
        }
        or_arena_reset(&arena);
        key_of_models(models, n, &key);
        char contents[PARTS_MAX][SPELLED_MAX];
        size_t lens[PARTS_MAX];
        assert_int_equal(split_key(or_buffer_cstr(&key), contents, lens), n);
        for (size_t i = 0; i < n; i++) {
            size_t tag = models[i].null ? 1 : 2;
            assert_int_equal(lens[i] - tag, models[i].null ? 0 : models[i].len);
            assert_memory_equal(contents[i] + tag, models[i].text, lens[i] - tag);
        }
    }
    or_buffer_finish(&key);
}

/* And put together again from what they were parsed into. */
static void keys_can_be_parsed(void **state)
{
    (void)state;
    struct or_buffer key;
    struct or_buffer again;
    or_buffer_init(&key);
    or_buffer_init(&again);
    for (int round = 0; round < ROUNDS / 4; round++) {
        struct model models[PARTS_MAX];
        enum onerow_type types[PARTS_MAX];
        struct onerow_value parts[PARTS_MAX];
        struct onerow_value canonical;
        size_t n = 1 + below(PARTS_MAX);
        for (size_t i = 0; i < n; i++) {
            types[i] = (enum onerow_type)(ONEROW_TYPE_TEXT + below(7));
            models[i] = draw_model(types[i]);
        }
        or_arena_reset(&arena);
        key_of_models(models, n, &key);
        assert_true(or_key_parse(or_buffer_view(&key), types, n, &arena, parts));
        for (size_t i = 0; i < n; i++) {
            canonical_part(&models[i], &canonical);
            assert_int_equal(parts[i].kind, canonical.kind);
        }
        or_buffer_clear(&again);
        assert_true(or_key_append(&again, parts, types, n));
        assert_true(or_span_equal(or_buffer_view(&again), or_buffer_view(&key)));
        key.data[below(key.len)] =
            (char)('!' + below(90)); /* whatever that is, it is read or refused */
        (void)!or_key_parse(or_buffer_view(&key), types, n, &arena, parts);
    }
    or_buffer_finish(&key);
    or_buffer_finish(&again);
}

static void what_is_no_key_is_not_parsed(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",          "k1",      "k1|",   "k2|t:a",  "k1|t:a|t:b",
                                      "k1|i:1",    "k1|t:a|", "k1|na", "k1|t:\\", "k1|t:\\x",
                                      "k1#abcdef", "k1t:a",   "k1|t",  "k1|t:a|n"};
    static const enum onerow_type TEXT[] = {ONEROW_TYPE_TEXT};
    struct onerow_value part;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_false(or_key_parse(or_span(BAD[i]), TEXT, 1, &arena, &part));
    }
    assert_true(or_key_parse(or_span("k1|t:n\\pa\\\\"), TEXT, 1, &arena, &part));
    assert_true(or_span_is((struct onerow_span){part.data, part.len}, "n|a\\"));
    assert_true(or_key_parse(or_span("k1|n"), TEXT, 1, &arena, &part));
    assert_int_equal(part.kind, ONEROW_NULL);
}

/* A random text of code points that normalisation is known to trip over. */
static struct onerow_value draw_unicode(char *out)
{
    static const char *const nasty[] = {
        "a",      "I",      "S",      " ",          "\t",     "\xc2\x85", "\u00a0", "\u3000",
        "\u2000", "\u0301", "\u0307", "\u0323",     "\u0345", "\u0308",   "\u0327", "\u0334",
        "\u0344", "\u00df", "\u1e9e", "\u0130",     "\u0131", "\u03a3",   "\u03c2", "\u03b1",
        "\u1fb3", "\u1f82", "\u1fb7", "\u1112",     "\u1161", "\u11ab",   "\ud558", "\ud55c",
        "\u212b", "\ufb03", "\u0149", "\u0958",     "\u0f73", "\u0f71",   "\u1e69", "\u13a0",
        "\uab70", "\u200d", "\u0390", "\U0001d15e",
    };
    size_t len = 0;
    for (size_t n = below(10); n > 0; n--) {
        const char *point = nasty[below(sizeof nasty / sizeof *nasty)];
        memcpy(out + len, point, strlen(point));
        len += strlen(point);
    }
    return case_value(ONEROW_TEXT, (struct onerow_span){out, len});
}

static void normalisation_is_idempotent(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char text[SPELLED_MAX];
        struct onerow_value value = draw_unicode(text);
        struct onerow_value once, twice;
        unsigned rules = (unsigned)below(8);
        const char *reason = NULL;
        or_arena_reset(&arena);
        if (!part_of(ONEROW_TYPE_TEXT, rules, value, &once, &reason)) {
            fail_msg("%.*s: %s", (int)value.len, value.data, reason);
        }
        assert_true(part_of(ONEROW_TYPE_TEXT, rules, once, &twice, &reason));
        assert_ptr_equal(once.data, twice.data);
        assert_int_equal(once.len, twice.len);
        assert_true(or_utf8_valid((struct onerow_span){once.data, once.len}, NULL));
    }
}

/* Order of two models of one type, or of their texts. */
static int model_order(const struct model *a, const struct model *b)
{
    if (a->type == ONEROW_TYPE_TEXT) {
        return or_span_compare((struct onerow_span){a->text, a->len},
                               (struct onerow_span){b->text, b->len});
    }
    return (a->number > b->number) - (a->number < b->number);
}

static void sort_prefix_keeps_the_order(void **state)
{
    (void)state;
    static const enum onerow_type types[] = {ONEROW_TYPE_TEXT, ONEROW_TYPE_INT,
                                             ONEROW_TYPE_DECIMAL};
    for (int round = 0; round < ROUNDS; round++) {
        enum onerow_type type = types[below(3)];
        struct model a = draw_model(type);
        struct model b = chance(2) ? draw_model(type) : near_model(&a);
        if (a.null || b.null) {
            continue;
        }
        struct onerow_value parts[2];
        or_arena_reset(&arena);
        canonical_part(&a, &parts[0]);
        canonical_part(&b, &parts[1]);
        uint64_t x = or_key_sort_prefix(&parts[0], type);
        uint64_t y = or_key_sort_prefix(&parts[1], type);
        int order = model_order(&a, &b);
        assert_true(order < 0 ? x <= y : order > 0 ? x >= y : x == y);
        if (type != ONEROW_TYPE_TEXT) { /* these numbers fit the prefix exactly */
            assert_int_equal(order, (x > y) - (x < y));
        }
    }
}

static void sort_prefix_of_extremes(void **state)
{
    (void)state;
    static const char *const rising[] = {
        "-99999999999999999999", "-9223372036854775808", "-9223372036854775807", "-1", "0", "1",
        "9223372036854775806",   "9223372036854775807",  "99999999999999999999"};
    uint64_t before[2] = {0, 0};
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        struct onerow_value part = value_of(ONEROW_NUMBER, rising[i]);
        uint64_t as_int = or_key_sort_prefix(&part, ONEROW_TYPE_INT);
        uint64_t as_decimal = or_key_sort_prefix(&part, ONEROW_TYPE_DECIMAL);
        assert_true(as_int >= before[0] && as_decimal >= before[1]);
        before[0] = as_int;
        before[1] = as_decimal;
    }
    struct onerow_value null = {.kind = ONEROW_NULL};
    assert_int_equal(or_key_sort_prefix(&null, ONEROW_TYPE_TEXT), 0);
    struct onerow_value date = value_of(ONEROW_TEXT, "2024-02-29");
    assert_true(or_key_sort_prefix(&date, ONEROW_TYPE_DATE) == UINT64_C(0x323032342d30322d));
}

/* ---- vectors -------------------------------------------------------------------------- */

static yyjson_doc *read_vectors(void)
{
    const char *root = getenv("ONEROW_SOURCE_ROOT");
    char *path = or_arena_printf(&arena, "%s/tests/vectors/key_k1.json", root ? root : ".");
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_file(path, YYJSON_READ_NUMBER_AS_RAW, NULL, &error);
    if (!doc) {
        fail_msg("%s: %s (ONEROW_SOURCE_ROOT names the source folder)", path, error.msg);
    }
    return doc;
}

static void check_vector(yyjson_val *vector)
{
    struct key_case key_case;
    struct or_buffer key;
    size_t column = 0;
    const char *reason = NULL;
    case_read(vector, &arena, &key_case);
    or_buffer_init(&key);
    bool made = case_key(&key_case, &arena, &key, &column, &reason);
    char *shown = yyjson_val_write(vector, 0, NULL);
    yyjson_val *k1 = yyjson_obj_get(vector, "k1");
    if (made != (k1 != NULL)) {
        fail_msg("%s: %s", shown, made ? or_buffer_cstr(&key) : reason);
    }
    if (made) {
        char hex[OR_SHA256_HEX];
        or_sha256_hex(or_buffer_view(&key), hex);
        assert_string_equal(or_buffer_cstr(&key), yyjson_get_str(k1));
        assert_string_equal(hex, yyjson_get_str(yyjson_obj_get(vector, "sha256")));
    } else {
        const char *expected = yyjson_get_raw(yyjson_obj_get(vector, "column"));
        assert_int_equal(column, strtoul(expected, NULL, 10));
        assert_true(strlen(reason) > 0);
    }
    free(shown);
    or_buffer_finish(&key);
}

static void vectors(void **state)
{
    (void)state;
    yyjson_doc *doc = read_vectors();
    yyjson_val *all = yyjson_doc_get_root(doc);
    assert_true(yyjson_arr_size(all) >= 120);
    size_t at, n;
    yyjson_val *vector;
    yyjson_arr_foreach(all, at, n, vector)
    {
        check_vector(vector);
        or_arena_reset(&arena);
    }
    yyjson_doc_free(doc);
}

/* ---- single facts --------------------------------------------------------------------- */

static void type_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof KEY_TYPES / sizeof *KEY_TYPES; i++) {
        assert_int_equal(or_type_of_name(or_span(or_type_name(KEY_TYPES[i]))), KEY_TYPES[i]);
    }
    assert_string_equal(or_type_name(ONEROW_TYPE_JSON), "json");
    assert_string_equal(or_type_name(ONEROW_TYPE_UNKNOWN), "");
    assert_int_equal(or_type_of_name(or_span("json")), ONEROW_TYPE_UNKNOWN);
    assert_int_equal(or_type_of_name(or_span("")), ONEROW_TYPE_UNKNOWN);
    assert_int_equal(or_type_of_name(or_span("Text")), ONEROW_TYPE_UNKNOWN);
}

static void reasons_say_what_to_do(void **state)
{
    (void)state;
    assert_refused(ONEROW_TYPE_TEXT, (struct onerow_value){.kind = ONEROW_NULL}, "is NULL");
    assert_refused(ONEROW_TYPE_TEXT, value_of(ONEROW_NUMBER, "1"),
                   "is a number; the key column is text: quote it");
    assert_refused(ONEROW_TYPE_INT, value_of(ONEROW_NUMBER, "24.5"), "is not an integer");
    assert_refused(ONEROW_TYPE_DECIMAL, value_of(ONEROW_TEXT, "NaN"), "is not a decimal number");
    assert_refused(ONEROW_TYPE_JSON, value_of(ONEROW_TEXT, "{}"),
                   "is of a type that cannot be a key");
}

static void canonical_values_are_not_copied(void **state)
{
    (void)state;
    static const struct {
        enum onerow_type type;
        unsigned rules;
        enum onerow_kind kind;
        const char *text;
    } cases[] = {
        {ONEROW_TYPE_TEXT, 0, ONEROW_UNTYPED, "HOME"},
        {ONEROW_TYPE_TEXT, 7, ONEROW_TEXT, "stra\u1e69e"},
        {ONEROW_TYPE_TEXT, ONEROW_TRIM, ONEROW_TEXT, "HOME"},
        {ONEROW_TYPE_INT, 0, ONEROW_UNTYPED, "-42"},
        {ONEROW_TYPE_DECIMAL, 0, ONEROW_NUMBER, "24.5"},
        {ONEROW_TYPE_DATE, 0, ONEROW_TEXT, "2024-02-29"},
        {ONEROW_TYPE_TIMESTAMP, 0, ONEROW_TEXT, "2024-02-29T00:00:00Z"},
        {ONEROW_TYPE_UUID, 0, ONEROW_TEXT, "550e8400-e29b-41d4-a716-446655440000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct onerow_value value = value_of(cases[i].kind, cases[i].text);
        struct onerow_value part;
        const char *reason = NULL;
        value.column = 7;
        assert_true(part_of(cases[i].type, cases[i].rules, value, &part, &reason));
        assert_ptr_equal(part.data, value.data);
        assert_int_equal(part.len, value.len);
        assert_int_equal(part.column, 7);
    }
}

/* Empty text may come as an empty span without an address; a key's part always has one. */
static void empty_text_has_an_address(void **state)
{
    (void)state;
    struct onerow_value part;
    const char *reason;
    struct onerow_value empty = {.kind = ONEROW_TEXT};
    assert_true(part_of(ONEROW_TYPE_TEXT, 7, empty, &part, &reason));
    assert_non_null(part.data);
    assert_int_equal(part.len, 0);
    for (size_t i = 1; i < sizeof KEY_TYPES / sizeof *KEY_TYPES; i++) {
        assert_false(part_of(KEY_TYPES[i], 0, empty, &part, &reason));
    }
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void huge_exponents_cost_nothing(void **state)
{
    (void)state;
    struct timespec start;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    static const char *const huge[] = {"1e999999999", "-1e-999999999", "1e99999999999999999999",
                                       "123.456E+18446744073709551617"};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        for (int round = 0; round < 1000; round++) {
            struct onerow_value part;
            const char *reason;
            assert_false(
                part_of(ONEROW_TYPE_DECIMAL, 0, value_of(ONEROW_NUMBER, huge[i]), &part, &reason));
        }
    }
    assert_part(ONEROW_TYPE_DECIMAL, 0, value_of(ONEROW_NUMBER, "0e99999999999999999999"), "0");
    assert_true(seconds_since(&start) < 0.5);
}

/* 32,000 marks in the worst order: a sort quadratic in them would take seconds. */
static void many_marks_cost_little(void **state)
{
    (void)state;
    size_t n = OR_KEY_MAX / 2;
    char *text = or_arena_bytes(&arena, 2 * n);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + 2 * i, i < n / 2 ? "\u0301" : "\u0323", 2);
    }
    struct timespec start;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct onerow_value part;
    const char *reason;
    struct onerow_value value = case_value(ONEROW_TEXT, (struct onerow_span){text, 2 * n});
    assert_true(part_of(ONEROW_TYPE_TEXT, 7, value, &part, &reason));
    assert_int_equal(part.len, 2 * n);
    assert_memory_equal(part.data, "\u0323\u0323", 4);
    assert_true(seconds_since(&start) < 0.5);
    or_arena_reset(&arena);
}

static void decimal_canonical(void **state)
{
    (void)state;
    struct or_buffer out;
    or_buffer_init(&out);
    assert_true(or_decimal_canonical(or_span("1e2"), &out));
    assert_true(or_decimal_canonical(or_span("-0.50"), &out));
    assert_true(or_decimal_canonical(or_span("-0"), &out));
    assert_string_equal(or_buffer_cstr(&out), "100-0.50");
    assert_false(or_decimal_canonical(or_span("1e1000"), &out));
    assert_false(or_decimal_canonical(or_span("x"), &out));
    assert_false(or_decimal_canonical((struct onerow_span){NULL, 0}, &out));
    assert_int_equal(out.len, 8);
    or_buffer_finish(&out);
}

static struct onerow_value long_text(size_t len, char byte)
{
    char *text = or_arena_bytes(&arena, len);
    memset(text, byte, len);
    return case_value(ONEROW_TEXT, (struct onerow_span){text, len});
}

static void keys_have_a_limit(void **state)
{
    (void)state;
    enum onerow_type type = ONEROW_TYPE_TEXT;
    struct onerow_value fits = long_text(OR_KEY_MAX - 5, 'x');
    struct onerow_value over = long_text(OR_KEY_MAX - 4, 'x');
    struct onerow_value bars = long_text(OR_KEY_MAX / 2, '|');
    struct or_buffer key;
    or_buffer_init(&key);
    assert_false(or_key_append(&key, &over, &type, 1));
    or_buffer_text(&key, "before ");
    assert_true(or_key_append(&key, &fits, &type, 1));
    assert_int_equal(key.len, 7 + OR_KEY_MAX);
    or_buffer_clear(&key);
    or_buffer_text(&key, "before ");
    assert_false(or_key_append(&key, &over, &type, 1));
    assert_false(or_key_append(&key, &bars, &type, 1));
    assert_string_equal(or_buffer_cstr(&key), "before ");
    assert_false(key.failed);
    type = ONEROW_TYPE_JSON;
    assert_false(or_key_append(&key, &fits, &type, 1));
    assert_int_equal(key.len, 7);
    or_buffer_finish(&key);
    assert_refused(ONEROW_TYPE_TEXT, long_text(OR_KEY_MAX + 1, 'x'),
                   "is longer than a key may be (65,536 bytes)");
    or_arena_reset(&arena);
}

static void digest_is_sha256(void **state)
{
    (void)state;
    unsigned char digest[OR_KEY_DIGEST_LEN];
    unsigned char other[OR_SHA256_LEN];
    or_key_digest(or_span("k1|t:HOME"), digest);
    or_sha256(or_span("k1|t:HOME"), other);
    assert_memory_equal(digest, other, sizeof digest);
    assert_true(strlen(or_key_normalizer_version()) > 0);
}

static void every_day_of_the_calendar(void **state)
{
    (void)state;
    size_t days = 0;
    for (int year = 1895; year <= 2105; year++) {
        for (int month = 0; month <= 13; month++) {
            for (int day = 0; day <= 32; day++) {
                struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
                struct tm asked = tm;
                char text[64];
                sprintf(text, "%04d-%02d-%02d", year, month, day);
                timegm(&tm); /* brings a day that does not exist to one that does */
                bool exists = tm.tm_mon == asked.tm_mon && tm.tm_mday == asked.tm_mday;
                assert_int_equal(or_date_check(or_span(text)) == NULL, exists);
                days += exists;
            }
        }
    }
    assert_int_equal(days, 211 * 365 + 51);
}

/* ---- negative controls: what simpler rules confuse ------------------------------------ */

static void assert_distinct(enum onerow_type type, struct onerow_value a, struct onerow_value b)
{
    struct onerow_key_column column = {.name = "c", .type = type, .nulls_equal = true};
    struct onerow_value parts[2];
    struct or_buffer keys[2];
    const char *reason;
    or_buffer_init(&keys[0]);
    or_buffer_init(&keys[1]);
    assert_true(or_key_part(&column, type, &a, &arena, &parts[0], &reason));
    assert_true(or_key_part(&column, type, &b, &arena, &parts[1], &reason));
    assert_true(or_key_append(&keys[0], &parts[0], &type, 1));
    assert_true(or_key_append(&keys[1], &parts[1], &type, 1));
    assert_string_not_equal(or_buffer_cstr(&keys[0]), or_buffer_cstr(&keys[1]));
    or_buffer_finish(&keys[0]);
    or_buffer_finish(&keys[1]);
}

static void naive_join_confuses(void **state)
{
    (void)state;
    const char *const lists[2][2] = {{"a|b", "c"}, {"a", "b|c"}};
    enum onerow_type types[2] = {ONEROW_TYPE_TEXT, ONEROW_TYPE_TEXT};
    char naive[2][16];
    struct or_buffer keys[2];
    for (size_t i = 0; i < 2; i++) {
        sprintf(naive[i], "%s|%s", lists[i][0], lists[i][1]);
        struct onerow_value parts[2] = {value_of(ONEROW_TEXT, lists[i][0]),
                                        value_of(ONEROW_TEXT, lists[i][1])};
        or_buffer_init(&keys[i]);
        assert_true(or_key_append(&keys[i], parts, types, 2));
    }
    assert_string_equal(naive[0], naive[1]);
    assert_string_not_equal(or_buffer_cstr(&keys[0]), or_buffer_cstr(&keys[1]));
    or_buffer_finish(&keys[0]);
    or_buffer_finish(&keys[1]);
}

static void doubles_confuse(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"9007199254740992", "9007199254740993"},
        {"0.1", "0.1000000000000000055511151231257827"},
        {"1e-400", "2e-400"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double a = strtod(pairs[i][0], NULL);
        double b = strtod(pairs[i][1], NULL);
        assert_true(a == b);
        assert_distinct(ONEROW_TYPE_DECIMAL, value_of(ONEROW_NUMBER, pairs[i][0]),
                        value_of(ONEROW_NUMBER, pairs[i][1]));
    }
}

/* CAST(COALESCE(line, -1) AS INT64), which rounds halves away from zero. */
static long long cast_of_coalesce(const char *line)
{
    return llround(strtod(line ? line : "-1", NULL));
}

static void cast_of_coalesce_confuses(void **state)
{
    (void)state;
    struct onerow_value null = {.kind = ONEROW_NULL};
    assert_int_equal(cast_of_coalesce("24.5"), cast_of_coalesce("25"));
    assert_distinct(ONEROW_TYPE_DECIMAL, value_of(ONEROW_NUMBER, "24.5"),
                    value_of(ONEROW_NUMBER, "25"));
    assert_int_equal(cast_of_coalesce(NULL), cast_of_coalesce("-1"));
    assert_distinct(ONEROW_TYPE_DECIMAL, null, value_of(ONEROW_NUMBER, "-1"));
    assert_distinct(ONEROW_TYPE_TEXT, null, value_of(ONEROW_TEXT, ""));
    assert_distinct(ONEROW_TYPE_TEXT, null, value_of(ONEROW_TEXT, "n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_names),
        cmocka_unit_test(reasons_say_what_to_do),
        cmocka_unit_test(vectors),
        cmocka_unit_test(canonical_values_are_not_copied),
        cmocka_unit_test(empty_text_has_an_address),
        cmocka_unit_test(huge_exponents_cost_nothing),
        cmocka_unit_test(many_marks_cost_little),
        cmocka_unit_test(decimal_canonical),
        cmocka_unit_test(keys_have_a_limit),
        cmocka_unit_test(digest_is_sha256),
        cmocka_unit_test(every_day_of_the_calendar),
        cmocka_unit_test(sort_prefix_of_extremes),
        cmocka_unit_test(naive_join_confuses),
        cmocka_unit_test(doubles_confuse),
        cmocka_unit_test(cast_of_coalesce_confuses),
        cmocka_unit_test(same_key_iff_same_values),
        cmocka_unit_test(canonical_values_are_canonical),
        cmocka_unit_test(keys_can_be_taken_apart),
        cmocka_unit_test(keys_can_be_parsed),
        cmocka_unit_test(what_is_no_key_is_not_parsed),
        cmocka_unit_test(normalisation_is_idempotent),
        cmocka_unit_test(sort_prefix_keeps_the_order),
    };
    seed_random();
    or_arena_init(&arena);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    or_arena_finish(&arena);
    return failed;
}
