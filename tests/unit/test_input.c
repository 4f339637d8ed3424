/* SPDX-License-Identifier: Apache-2.0
 *
 * The input module: a table of hostile inputs, read whole and in crumbs, plain and
 * packed; its limits; its memory; and a control that the parser beneath accepts what
 * the module refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yyjson.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "input/input.h"

#define MIB      ((size_t)1024 * 1024)
#define BYTES(s) (s), sizeof(s) - 1

/* ---- reading an input to its end, as text ------------------------------------------ */

static const char kind_letters[] = "nbNTJU"; /* of enum onerow_kind, in its order */

static void render_record(struct or_buffer *out, const struct or_item *item)
{
    or_buffer_printf(out, "R %" PRIu64, item->line);
    for (size_t i = 0; i < item->n_fields; i++) {
        const struct or_field *field = &item->fields[i];
        or_buffer_char(out, ' ');
        or_buffer_span(out, field->name);
        or_buffer_printf(out, "@%u=%c", field->at, kind_letters[field->value.kind]);
        assert_true(field->value.data || field->value.kind == ONEROW_NULL);
        or_buffer_add(out, field->value.data ? field->value.data : "", field->value.len);
    }
    or_buffer_char(out, '\n');
}

static void render_bad(struct or_buffer *out, const struct or_item *item)
{
    assert_non_null(item->reason);
    assert_true(item->raw.len <= 64 * 1024);
    or_buffer_printf(out, "B %" PRIu64 " %" PRIu64 ":%u %s |", item->line, item->bad_line, item->at,
                     item->reason);
    for (size_t i = 0; i < item->raw.len; i++) {
        or_buffer_char(out, item->raw.data[i] ? item->raw.data[i] : '~');
    }
    or_buffer_text(out, "|\n");
}

/* Every item on a line of its own; a status ends it as "F <status> <text>". */
static void render_all(struct or_buffer *out, struct or_input *input)
{
    struct or_arena arena;
    or_arena_init(&arena);
    for (;;) {
        struct or_item item;
        struct onerow_error error;
        enum onerow_status status = or_input_next(input, &arena, &item, &error);
        if (status != ONEROW_OK) {
            assert_int_equal(status, error.status);
            or_buffer_printf(out, "F %s %s\n", onerow_status_name(status), error.text);
            break;
        }
        if (item.kind == OR_ITEM_END) {
            or_buffer_text(out, "E\n");
            break;
        }
        assert_int_not_equal(item.kind, OR_ITEM_STOP);
        if (item.kind == OR_ITEM_RECORD) {
            render_record(out, &item);
        } else {
            render_bad(out, &item);
        }
        or_arena_reset(&arena); /* nothing may live across items */
    }
    or_arena_finish(&arena);
}

static char path[] = "/tmp/onerow-input-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(struct onerow_span bytes)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

static char *read_path(const char *name, enum or_format format)
{
    struct or_buffer out;
    or_buffer_init(&out);
    struct or_input_options options = {.path = name, .format = format, .stop_fd = -1};
    struct or_input *input = NULL;
    struct onerow_error error;
    enum onerow_status status = or_input_open(&options, &input, &error);
    if (status == ONEROW_OK) {
        render_all(&out, input);
    } else {
        or_buffer_printf(&out, "F %s %s\n", onerow_status_name(status), error.text);
    }
    or_input_close(input);
    return or_buffer_steal(&out);
}

static char *read_bytes(struct onerow_span bytes, enum or_format format)
{
    write_file(bytes);
    return read_path(path, format);
}

struct writer {
    struct onerow_span bytes;
    size_t step; /* bytes at a time; 0: all at once */
    int fd;
};

/* The reader may leave early: then there is nobody to write to. */
static void *write_pipe(void *context)
{
    struct writer *writer = context;
    struct onerow_span left = writer->bytes;
    while (left.len > 0) {
        size_t len = writer->step && writer->step < left.len ? writer->step : left.len;
        ssize_t sent = write(writer->fd, left.data, len);
        if (sent < 0) {
            break;
        }
        left.data += sent;
        left.len -= (size_t)sent;
        sched_yield();
    }
    close(writer->fd);
    return NULL;
}

static char *read_piped(struct onerow_span bytes, enum or_format format, size_t step)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct writer writer = {bytes, step, ends[1]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_pipe, &writer), 0);
    char name[64];
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    char *out = read_path(name, format);
    close(ends[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return out;
}

/* Messages name the input, which differs between a file and a pipe. */
static char *without_name(char *text)
{
    char *fault = strstr(text, "F INPUT ");
    char *colon = fault ? strchr(fault, ':') : NULL;
    if (colon) {
        memmove(fault + strlen("F INPUT "), colon, strlen(colon) + 1);
    }
    return text;
}

/* ---- the table ------------------------------------------------------------------------ */

struct expected {
    const char *place; /* how the item's line begins, up to and with a space */
    const char *part;  /* occurs in it */
};

static const struct sample {
    const char *name;
    enum or_format format;
    const char *data;
    size_t len;
    struct expected items[6]; /* the closing "E" goes without saying, unless an "F" is last */
} samples[] = {
#include "test_input_samples.h"
};

static size_t count_expected(const struct sample *sample)
{
    size_t n = 0;
    while (n < 6 && sample->items[n].place) {
        n++;
    }
    return n;
}

/* A rendered item may hold line feeds of its own (raw bytes), so they are found one by one. */
static void check_sample(const struct sample *sample, const char *out)
{
    const char *at = out;
    size_t n = count_expected(sample);
    for (size_t i = 0; i < n; i++) {
        const struct expected *wanted = &sample->items[i];
        const char *next = strstr(at, wanted->place);
        const char *part = next == at ? strstr(at, wanted->part) : NULL;
        if (!part) {
            fail_msg("%s, item %zu: wanted \"%s… %s\", got:\n%s", sample->name, i + 1,
                     wanted->place, wanted->part, at);
        }
        const char *closing = at[0] == 'B' ? "|\n" : "\n";
        size_t len = strlen(wanted->part);
        at = strstr(part + len - (len > 0), closing) + strlen(closing);
    }
    bool fault = n > 0 && sample->items[n - 1].place[0] == 'F';
    if (strcmp(at, fault ? "" : "E\n") != 0) {
        fail_msg("%s: something is left:\n%s", sample->name, at);
    }
}

static void test_samples(void **state)
{
    (void)state;
    size_t n = sizeof samples / sizeof *samples;
    assert_true(n >= 60);
    for (size_t i = 0; i < n; i++) {
        char *out =
            read_bytes((struct onerow_span){samples[i].data, samples[i].len}, samples[i].format);
        check_sample(&samples[i], out);
        free(out);
    }
}

static void test_crumbs(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 3, 7, 0};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct onerow_span bytes = {samples[i].data, samples[i].len};
        char *whole = without_name(read_bytes(bytes, samples[i].format));
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
            char *crumbs = without_name(read_piped(bytes, samples[i].format, steps[j]));
            assert_string_equal(whole, crumbs);
            free(crumbs);
        }
        free(whole);
    }
}

/* ---- archives --------------------------------------------------------------------------- */

static size_t gzip(struct onerow_span bytes, char *into, size_t room)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)bytes.data;
    stream.avail_in = (unsigned)bytes.len;
    stream.next_out = (unsigned char *)into;
    stream.avail_out = (unsigned)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t len = room - stream.avail_out;
    deflateEnd(&stream);
    return len;
}

static size_t zstd(struct onerow_span bytes, char *into, size_t room)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1); /* as the zstd command does */
    size_t len = ZSTD_compress2(context, into, room, bytes.data, bytes.len);
    assert_false(ZSTD_isError(len));
    ZSTD_freeCCtx(context);
    return len;
}

typedef size_t pack(struct onerow_span bytes, char *into, size_t room);
static pack *const packers[] = {gzip, zstd};

static void check_packed(const struct sample *sample, pack *packer)
{
    char packed[4096];
    struct onerow_span bytes = {sample->data, sample->len};
    size_t len = packer(bytes, packed, sizeof packed);
    char *out = read_bytes((struct onerow_span){packed, len}, sample->format);
    check_sample(sample, out);
    free(out);
    out = read_piped((struct onerow_span){packed, len}, sample->format, 1);
    check_sample(sample, out);
    free(out);
}

/* An archive within an archive is not looked for. */
static bool is_archive(const struct sample *sample)
{
    return strcmp(sample->name, "xz") == 0 || strcmp(sample->name, "zip") == 0;
}

static void test_packed_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        if (!is_archive(&samples[i])) {
            check_packed(&samples[i], gzip);
            check_packed(&samples[i], zstd);
        }
    }
}

/* A record may begin in one member and end in the next. */
static void test_members(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char packed[512];
        size_t len = packers[i](OR_SPAN("{\"a\":1}\n{\"a\""), packed, sizeof packed);
        len += packers[i](OR_SPAN(""), packed + len, sizeof packed - len);
        len += packers[i](OR_SPAN(":2}\n"), packed + len, sizeof packed - len);
        for (size_t step = 0; step < 4; step++) {
            char *out = read_piped((struct onerow_span){packed, len}, OR_FORMAT_AUTO, step);
            assert_string_equal(out, "R 1 a@2=N1\nR 2 a@2=N2\nE\n");
            free(out);
        }
    }
}

static void test_gzip_padding(void **state)
{
    (void)state;
    char packed[512] = {0};
    size_t len = gzip(OR_SPAN("{\"a\":1}\n"), packed, sizeof packed);
    char *out = read_bytes((struct onerow_span){packed, len + 100}, OR_FORMAT_AUTO);
    assert_string_equal(out, "R 1 a@2=N1\nE\n");
    free(out);
    packed[len + 3] = 'x';
    out = read_bytes((struct onerow_span){packed, len + 100}, OR_FORMAT_AUTO);
    assert_non_null(strstr(out, "R 1 a@2=N1\nF INPUT "));
    assert_non_null(strstr(out, "corrupt at byte"));
    free(out);
}

/* `n` records that do not compress well, so that an archive of them has many blocks. */
static char *make_records(size_t n, size_t *len)
{
    struct or_buffer out;
    or_buffer_init(&out);
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        or_buffer_printf(&out, "{\"id\":%zu,\"x\":\"%016" PRIx64 "\"}\n", i, seed);
    }
    *len = out.len;
    return or_buffer_steal(&out);
}

/* Without strstr, which a sanitizer makes measure all that is left, each time. */
static size_t count_records(const char *out)
{
    size_t n = 0;
    for (size_t i = 0; out[i]; i++) {
        n += out[i] == 'R' && (i == 0 || out[i - 1] == '\n');
    }
    return n;
}

static void check_cut(struct onerow_span packed, size_t cut, size_t total)
{
    char *out = read_bytes((struct onerow_span){packed.data, cut}, OR_FORMAT_NDJSON);
    char place[64];
    snprintf(place, sizeof place, "truncated: it ends at byte %zu,", cut);
    if (!strstr(out, place)) {
        fail_msg("cut at %zu: %s", cut, strstr(out, "F ") ? strstr(out, "F ") : "no fault");
    }
    assert_null(strstr(out, "B "));
    /* Half of the archive holds about half of the records; a decoder may keep a block. */
    size_t records = count_records(out);
    assert_true(records + 16000 >= total * cut / packed.len);
    assert_true(records < total);
    free(out);
}

static void test_truncated(void **state)
{
    (void)state;
    size_t total = 60000;
    size_t len = 0;
    char *records = make_records(total, &len);
    char *packed = malloc(len);
    for (size_t i = 0; i < 2; i++) {
        size_t size = packers[i]((struct onerow_span){records, len}, packed, len);
        check_cut((struct onerow_span){packed, size}, size / 2, total);
        check_cut((struct onerow_span){packed, size}, size / 3 * 2, total);
        check_cut((struct onerow_span){packed, size}, 10, total);
    }
    free(packed);
    free(records);
}

/* A flipped bit far behind: what lies before it is read, the rest is one fault. */
static void test_corrupt(void **state)
{
    (void)state;
    size_t total = 60000;
    size_t len = 0;
    char *records = make_records(total, &len);
    char *packed = malloc(len);
    for (size_t i = 0; i < 2; i++) {
        size_t size = packers[i]((struct onerow_span){records, len}, packed, len);
        memset(packed + size - size / 4, 0xff, 64);
        char *out = read_bytes((struct onerow_span){packed, size}, OR_FORMAT_NDJSON);
        assert_non_null(strstr(out, "F INPUT "));
        assert_non_null(strstr(out, "corrupt at byte "));
        assert_true(count_records(out) > total / 2);
        free(out);
    }
    free(packed);
    free(records);
}

static void test_bad_checksum(void **state)
{
    (void)state;
    char packed[512];
    size_t len = gzip(OR_SPAN("{\"a\":1}\n"), packed, sizeof packed);
    packed[len - 8] ^= 1;
    char *out = read_bytes((struct onerow_span){packed, len}, OR_FORMAT_NDJSON);
    assert_non_null(strstr(out, "R 1 a@2=N1\nF INPUT "));
    assert_non_null(strstr(out, "corrupt at byte"));
    free(out);
}

/* ---- limits ------------------------------------------------------------------------------- */

static struct or_item parse(struct or_arena *arena, struct onerow_span text)
{
    struct or_item item;
    assert_int_equal(or_input_parse_json(text, arena, &item), ONEROW_OK);
    assert_true(item.kind == OR_ITEM_RECORD || item.kind == OR_ITEM_BAD);
    return item;
}

/* "before", `n` times `fill`, "after" */
static struct onerow_span make_text(const char *before, const char *fill, size_t n,
                                    const char *after)
{
    size_t step = strlen(fill);
    size_t len = strlen(before) + n * step + strlen(after);
    char *text = malloc(len + 1);
    assert_non_null(text);
    char *at = stpcpy(text, before);
    for (size_t i = 0; i < n; i++, at += step) {
        memcpy(at, fill, step);
    }
    memcpy(at, after, strlen(after) + 1);
    return (struct onerow_span){text, len};
}

static void free_text(struct onerow_span text)
{
    free((char *)(uintptr_t)text.data);
}

/* Parses before + fill * n + after; returns the reason, or NULL for a record. */
static const char *reason_of(struct or_arena *arena, const char *before, const char *fill, size_t n,
                             const char *after)
{
    or_arena_reset(arena);
    struct onerow_span text = make_text(before, fill, n, after);
    struct or_item item = parse(arena, text);
    free_text(text);
    return item.kind == OR_ITEM_BAD ? item.reason : NULL;
}

static void test_value_limits(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    size_t max = ONEROW_VALUE_MAX;
    assert_null(reason_of(&arena, "{\"a\":\"", "x", max, "\"}"));
    assert_string_equal(reason_of(&arena, "{\"a\":\"", "x", max + 1, "\"}"),
                        "a value of more than 16 MiB");
    assert_null(reason_of(&arena, "{\"", "x", max, "\":1}"));
    assert_string_equal(reason_of(&arena, "{\"", "x", max + 1, "\":1}"),
                        "a name of more than 16 MiB");
    /* As compact JSON, quotes and brackets count. */
    assert_null(reason_of(&arena, "{\"a\": [ \"", "x", max - 4, "\" ]}"));
    assert_string_equal(reason_of(&arena, "{\"a\":[\"", "x", max - 3, "\"]}"),
                        "a nested value of more than 16 MiB");
    assert_null(reason_of(&arena, "{\"a\":", "1", 1000, "}"));
    assert_non_null(strstr(reason_of(&arena, "{\"a\":", "1", 1001, "}"), "number of 1001 digits"));
    assert_non_null(strstr(reason_of(&arena, "{\"a\":[", "1", 1001, "]}"), "number of 1001"));
    assert_non_null(strstr(reason_of(&arena, "{", " ", 64 * MIB, "}"), "more than 64 MiB"));
    or_arena_finish(&arena);
}

static void test_depth(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    char closing[5000];
    memset(closing, ']', sizeof closing);
    closing[63] = '}';
    closing[64] = '\0';
    assert_null(reason_of(&arena, "{\"a\":", "[", 63, closing));
    memset(closing, ']', 64);
    memcpy(closing + 64, "}", 2);
    struct onerow_span text = make_text("{\"a\":", "[", 64, closing);
    struct or_item item = parse(&arena, text);
    assert_int_equal(item.kind, OR_ITEM_BAD);
    assert_non_null(strstr(item.reason, "nested more than 64 deep"));
    assert_int_equal(item.at, 5 + 64);
    free_text(text);
    memset(closing, ']', 1000);
    memcpy(closing + 1000, "}", 2);
    assert_non_null(reason_of(&arena, "{\"a\":", "[", 1000, closing));
    or_arena_finish(&arena);
}

/* What would fill all memory is refused in bounded memory and time. */
static void test_hostile_sizes(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    assert_non_null(strstr(reason_of(&arena, "{\"a\":", "[", 40 * MIB, "}"), "nested too deep"));
    assert_non_null(
        strstr(reason_of(&arena, "{\"a\":[", "0,", 31 * MIB, "0]}"), "too many values"));
    assert_non_null(strstr(reason_of(&arena, "{\"a\":[", "0,", 9 * MIB, "0]}"), "16 MiB"));
    assert_non_null(reason_of(&arena, "", "[", 40 * MIB, ""));
    assert_non_null(reason_of(&arena, "{\"a\":\"", "\\", 40 * MIB, ""));
    or_arena_finish(&arena);
}

/* `n` different names, then a repetition of the first when `twice`. */
static struct onerow_span make_names(size_t n, const char *prefix, bool twice)
{
    struct or_buffer out;
    or_buffer_init(&out);
    for (size_t i = 0; i < n; i++) {
        or_buffer_printf(&out, "%s\"%s%zu\":1", i ? "," : "{", prefix, i);
    }
    if (twice) {
        or_buffer_printf(&out, ",\"%s0\":1", prefix);
    }
    or_buffer_char(&out, '}');
    size_t len = out.len;
    return (struct onerow_span){or_buffer_steal(&out), len};
}

static void test_many_names(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 15, 16, 17, 31, 33, 1000, 100000};
    struct or_arena arena;
    or_arena_init(&arena);
    for (size_t i = 0; i < 4 * (sizeof counts / sizeof *counts); i++) {
        /* Names alike at both ends all have one hash: the table must give up, not go on. */
        bool twice = i & 1;
        const char *prefix = i & 2 ? "abcdefgh" : "";
        struct onerow_span text = make_names(counts[i / 4], prefix, twice);
        struct or_item item = parse(&arena, text);
        assert_int_equal(item.kind, twice ? OR_ITEM_BAD : OR_ITEM_RECORD);
        if (twice) {
            assert_non_null(strstr(item.reason, "0\" occurs twice"));
            const char *last = memrchr(text.data, ',', text.len);
            assert_int_equal(item.at, last + 1 - text.data + 1);
        } else {
            assert_int_equal(item.n_fields, counts[i / 4]);
        }
        free_text(text);
        or_arena_reset(&arena);
    }
    or_arena_finish(&arena);
}

/* Names with equal length, head and tail: one hash for all of them. */
static void test_colliding_names(void **state)
{
    (void)state;
    struct or_buffer out;
    or_buffer_init(&out);
    for (size_t i = 0; i < 50000; i++) {
        or_buffer_printf(&out, "%s\"headhead%08zutailtail\":1", i ? "," : "{", i);
    }
    or_buffer_text(&out, ",\"headhead00000007tailtail\":1}");
    struct or_arena arena;
    or_arena_init(&arena);
    struct or_item item = parse(&arena, or_buffer_view(&out));
    assert_int_equal(item.kind, OR_ITEM_BAD);
    assert_non_null(strstr(item.reason, "\"headhead00000007tailtail\" occurs twice"));
    or_buffer_finish(&out);
    or_arena_finish(&arena);
}

/* A line of 64 MiB is read; a longer one is passed over, and the next one read. */
static void test_long_lines(void **state)
{
    (void)state;
    struct onerow_span text = make_text("{\"a\":1", " ", 64 * MIB - 7, "}\r\n{\"b\":2}\n");
    char *out = read_piped(text, OR_FORMAT_NDJSON, 0);
    assert_string_equal(out, "R 1 a@2=N1\nR 2 b@2=N2\nE\n");
    free(out);
    free_text(text);
    for (size_t over = 1; over < 10 * MIB; over = over * 1000 + 1) {
        text = make_text("{\"a\":1", " ", 64 * MIB - 7 + over, "}\n{\"b\":2}\n");
        out = read_piped(text, OR_FORMAT_NDJSON, 0);
        assert_non_null(strstr(out, "B 1 1:1 a line of more than 64 MiB |{\"a\":1 "));
        assert_non_null(strstr(out, "|\nR 2 b@2=N2\nE\n"));
        free(out);
        out = read_piped(text, OR_FORMAT_CSV, 0);
        assert_non_null(strstr(out, "F INPUT "));
        free(out);
        free_text(text);
    }
}

static void test_long_csv(void **state)
{
    (void)state;
    size_t max = ONEROW_VALUE_MAX;
    for (size_t quoted = 0; quoted < 2; quoted++) {
        for (size_t over = 0; over < 2; over++) {
            struct onerow_span text = make_text(quoted ? "a,b\n1,\"" : "a,b\n1,", "x", max + over,
                                                quoted ? "\"\n3,4\n" : "\n3,4\n");
            char *out = read_bytes(text, OR_FORMAT_CSV);
            const char *bad = strstr(out, "B 2 2:3 field 2 is longer than 16 MiB |1,");
            assert_true(over ? bad == out : !bad);
            assert_non_null(strstr(out, "\nR 3 a@1=U3 b@3=U4\nE\n"));
            free(out);
            free_text(text);
        }
    }
    struct onerow_span open = make_text("a,b\n1,\"", "xxxxxxx\n", 9 * MIB, "1,2\n");
    char *out = read_bytes(open, OR_FORMAT_CSV);
    assert_non_null(strstr(out, "B 2 2:3 the quoted field that begins here is not closed within"));
    assert_non_null(strstr(out, " a@1=U1 b@3=U2\nE\n"));
    free(out);
    free_text(open);
}

/* ---- memory --------------------------------------------------------------------------------- */

static size_t resident(void)
{
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    return (size_t)strtoull(strchr(text, ' '), NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* A child writes `n` records without end in sight. */
static pid_t write_records(size_t n, bool csv, int *reader)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        FILE *out = fdopen(ends[1], "w");
        fputs(csv ? "id,name,note\n" : "", out);
        for (size_t i = 0; i < n; i++) {
            fprintf(out,
                    csv ? "%zu,\"a \"\"name\"\"\",\"two\nlines\"\n"
                        : "{\"id\":%zu,\"name\":\"a \\u00e9 name\",\"tags\":[1,{\"x\":2.50}]}\n",
                    i);
            if (i % 1000 == 0) {
                fputs("]broken\",\"\n", out);
            }
        }
        _exit(fclose(out) == 0 ? 0 : 1);
    }
    close(ends[1]);
    *reader = ends[0];
    return child;
}

static void check_constant_memory(bool csv)
{
    size_t n = 1500000;
    int fd = -1;
    pid_t child = write_records(n, csv, &fd);
    char name[64];
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    struct or_input_options options = {
        .path = name, .format = csv ? OR_FORMAT_CSV : OR_FORMAT_NDJSON, .stop_fd = -1};
    struct or_input *input = NULL;
    assert_int_equal(or_input_open(&options, &input, NULL), ONEROW_OK);
    struct or_arena arena;
    or_arena_init(&arena);
    struct or_item item = {.kind = OR_ITEM_RECORD};
    size_t early = 0;
    size_t records = 0;
    for (size_t i = 1; item.kind != OR_ITEM_END; i++) {
        assert_int_equal(or_input_next(input, &arena, &item, NULL), ONEROW_OK);
        records += item.kind == OR_ITEM_RECORD;
        if (i % 1000 == 0) {
            or_arena_reset(&arena);
        }
        if (i == n / 10) {
            early = resident();
        }
    }
    assert_int_equal(records, n);
    assert_true(resident() <= early + MIB / 4);
    or_arena_finish(&arena);
    or_input_close(input);
    close(fd);
    waitpid(child, NULL, 0);
}

static void test_constant_memory(void **state)
{
    (void)state;
    check_constant_memory(false);
}

static void test_constant_memory_csv(void **state)
{
    (void)state;
    check_constant_memory(true);
}

static void test_arena_per_record(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    parse(&arena,
          OR_SPAN("{\"id\":123456,\"name\":\"player number 17\",\"team\":\"HOME-3\",\"line\":"
                  "24.5,\"created_at\":\"2024-05-01T12:00:00Z\",\"note\":\"lorem ipsum dolor "
                  "sit amet con\"}"));
    assert_true(arena.used < 500);
    or_arena_finish(&arena);
}

/* ---- waiting and stopping ---------------------------------------------------------------------
 */

struct rig {
    int writer;
    int stopper;
    int fds[2]; /* readers */
    struct or_input *input;
    struct or_arena arena;
};

static void rig_open(struct rig *rig, enum or_format format)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    rig->fds[0] = ends[0];
    rig->writer = ends[1];
    assert_int_equal(pipe(ends), 0);
    rig->fds[1] = ends[0];
    rig->stopper = ends[1];
    char name[64];
    snprintf(name, sizeof name, "/dev/fd/%d", rig->fds[0]);
    struct or_input_options options = {.path = name, .format = format, .stop_fd = rig->fds[1]};
    assert_int_equal(or_input_open(&options, &rig->input, NULL), ONEROW_OK);
    or_arena_init(&rig->arena);
}

static void rig_send(struct rig *rig, const char *text)
{
    assert_int_equal(write(rig->writer, text, strlen(text)), strlen(text));
}

static struct or_item rig_next(struct rig *rig)
{
    struct or_item item;
    or_arena_reset(&rig->arena);
    assert_int_equal(or_input_next(rig->input, &rig->arena, &item, NULL), ONEROW_OK);
    return item;
}

static void rig_close(struct rig *rig)
{
    or_input_close(rig->input);
    or_arena_finish(&rig->arena);
    close(rig->fds[0]);
    close(rig->fds[1]);
    if (rig->writer >= 0) {
        close(rig->writer);
    }
    close(rig->stopper);
}

static void drain_stop(struct rig *rig)
{
    char byte;
    assert_int_equal(read(rig->fds[1], &byte, 1), 1);
}

static void test_would_wait(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, OR_FORMAT_AUTO);
    assert_true(or_input_would_wait(rig.input));
    rig_send(&rig, "{}\n{\"a\":1}\n{\"b\"");
    assert_false(or_input_would_wait(rig.input));
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_RECORD);
    assert_false(or_input_would_wait(rig.input));
    assert_int_equal(rig_next(&rig).n_fields, 1);
    assert_true(or_input_would_wait(rig.input));
    rig_send(&rig, ":2}");
    close(rig.writer);
    rig.writer = -1;
    assert_false(or_input_would_wait(rig.input));
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_RECORD);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_END);
    assert_false(or_input_would_wait(rig.input));
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_END);
    rig_close(&rig);
}

static void test_stop(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, OR_FORMAT_AUTO);
    assert_int_equal(write(rig.stopper, "x", 1), 1);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_STOP);
    drain_stop(&rig);
    rig_send(&rig, "a,b\n1,\"two\n");
    struct or_item item;
    assert_int_equal(write(rig.stopper, "x", 1), 1);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_STOP);
    drain_stop(&rig);
    /* Records that are there already come first; a row that is half read survives. */
    rig_send(&rig, "lines\"\n3,4\n5,\"");
    item = rig_next(&rig);
    assert_int_equal(item.kind, OR_ITEM_RECORD);
    assert_int_equal(item.line, 2);
    assert_memory_equal(item.fields[1].value.data, "two\nlines", 9);
    assert_int_equal(write(rig.stopper, "x", 1), 1);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_RECORD);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_STOP);
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_STOP);
    drain_stop(&rig);
    rig_send(&rig, "6\"\n");
    item = rig_next(&rig);
    assert_int_equal(item.kind, OR_ITEM_RECORD);
    assert_int_equal(item.line, 5);
    size_t n = 0;
    const struct onerow_span *names = or_input_header(rig.input, &n);
    assert_int_equal(n, 2);
    assert_true(or_span_is(names[1], "b"));
    rig_close(&rig);
}

static void on_alarm(int signal)
{
    (void)signal;
}

/* A signal while waiting is no end and no error. */
static void test_interrupted_read(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_alarm};
    struct sigaction before;
    sigaction(SIGALRM, &action, &before);
    struct rig rig;
    rig_open(&rig, OR_FORMAT_NDJSON);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        usleep(30000);
        kill(getppid(), SIGALRM);
        usleep(30000);
        _exit(write(rig.writer, "{\"a\":1}\n", 8) == 8 ? 0 : 1);
    }
    assert_int_equal(rig_next(&rig).kind, OR_ITEM_RECORD);
    waitpid(child, NULL, 0);
    sigaction(SIGALRM, &before, NULL);
    rig_close(&rig);
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static void check_open(const char *name, enum onerow_status wanted, const char *part)
{
    struct or_input_options options = {.path = name, .stop_fd = -1};
    struct or_input *input = NULL;
    struct onerow_error error = {0};
    enum onerow_status status = or_input_open(&options, &input, &error);
    if (status == ONEROW_OK) {
        struct or_arena arena;
        or_arena_init(&arena);
        struct or_item item;
        status = or_input_next(input, &arena, &item, &error);
        /* A fault stays. */
        assert_int_equal(or_input_next(input, &arena, &item, NULL), status);
        or_arena_finish(&arena);
    }
    or_input_close(input);
    assert_int_equal(status, wanted);
    assert_non_null(strstr(error.text, part));
}

static void test_open_faults(void **state)
{
    (void)state;
    check_open("/nonexistent/file.ndjson", ONEROW_INPUT,
               "/nonexistent/file.ndjson: cannot be opened");
    check_open("/", ONEROW_INPUT, "is a directory");
    /* Reading one's own memory at address 0 is the read error that needs no broken disk. */
    check_open("/proc/self/mem", ONEROW_IO, "read error after 0 bytes");
    struct onerow_error error;
    or_input_close(NULL);
    struct or_input *input = NULL;
    struct or_input_options options = {.path = "/nonexistent", .stop_fd = -1};
    assert_int_equal(or_input_open(&options, &input, &error), ONEROW_INPUT);
    assert_null(input);
}

static void test_names_tell_the_format(void **state)
{
    (void)state;
    static const struct {
        const char *ending;
        const char *data;
        const char *out;
    } files[] = {
        {".csv", "{\n1\n", "R 2 {@1=U1\nE\n"},
        {".CSV", "{\n1\n", "R 2 {@1=U1\nE\n"},
        {".csv.gz", "{\n1\n", "R 2 {@1=U1\nE\n"},
        {".ndjson", "{\"a\":1}", "R 1 a@2=N1\nE\n"},
        {".jsonl.zst", "{\"a\":1}", "R 1 a@2=N1\nE\n"},
        {".txt", "\n \r\n{\"a\":1}", "R 3 a@2=N1\nE\n"},
        {".txt", "\n\na\n1\n", "R 4 a@1=U1\nE\n"},
        {".txt", "", "E\n"},
        {".json", "", "E\n"},
        {".gz", " \n", "E\n"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, files[i].ending);
        write_file(or_span(files[i].data));
        assert_int_equal(rename(path, name), 0);
        char *out = read_path(name, OR_FORMAT_AUTO);
        assert_string_equal(out, files[i].out);
        free(out);
        assert_int_equal(rename(name, path), 0);
    }
}

static void test_progress(void **state)
{
    (void)state;
    write_file(OR_SPAN("{\"a\":1}\n{\"a\":2}\n"));
    struct or_input_options options = {.path = path, .stop_fd = -1};
    struct or_input *input = NULL;
    assert_int_equal(or_input_open(&options, &input, NULL), ONEROW_OK);
    uint64_t done = 0;
    uint64_t total = 0;
    or_input_progress(input, &done, &total);
    assert_int_equal(done, 16);
    assert_int_equal(total, 16);
    assert_false(or_input_would_wait(input));
    or_input_close(input);
}

/* ---- one text, and the control
 * ------------------------------------------------------------------- */

static void test_parse_json(void **state)
{
    (void)state;
    struct or_arena arena;
    or_arena_init(&arena);
    struct or_item item =
        parse(&arena, OR_SPAN(" {\"a\" : 1e2, \"b\":[ 1.0 , \"\\u00e9\\n\" ] }\n"));
    assert_int_equal(item.kind, OR_ITEM_RECORD);
    assert_int_equal(item.line, 1);
    assert_int_equal(item.n_fields, 2);
    assert_int_equal(item.fields[0].at, 3);
    assert_int_equal(item.fields[0].value.kind, ONEROW_NUMBER);
    assert_memory_equal(item.fields[0].value.data, "1e2", 3);
    assert_int_equal(item.fields[1].value.kind, ONEROW_JSON);
    assert_int_equal(item.fields[1].value.len, strlen("[1.0,\"é\\n\"]"));
    assert_memory_equal(item.fields[1].value.data, "[1.0,\"é\\n\"]", item.fields[1].value.len);
    /* A text may have lines; the fault's place counts them. */
    item = parse(&arena, OR_SPAN("{\n \"a\": 1,\n \"a\": 2}"));
    assert_int_equal(item.kind, OR_ITEM_BAD);
    assert_int_equal(item.bad_line, 3);
    assert_int_equal(item.at, 2);
    item = parse(&arena, OR_SPAN(""));
    assert_int_equal(item.kind, OR_ITEM_BAD);
    item = parse(&arena, OR_SPAN("  "));
    assert_int_equal(item.kind, OR_ITEM_BAD);
    or_arena_finish(&arena);
}

/* Leaves out the columns: `a@12=U` becomes `a=U`. */
static char *without_columns(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from == '@') {
            from += strspn(from + 1, "0123456789");
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return text;
}

/* Reads the row, and one more field, under a header with as many names. */
static char *read_row(const char *row, const char *last)
{
    struct or_buffer text;
    or_buffer_init(&text);
    for (size_t i = 0; i <= strlen(row); i++) {
        if (i == 0 || row[i - 1] == ',') {
            or_buffer_printf(&text, "h%zu,", i);
        }
    }
    or_buffer_printf(&text, "last\n%s,%s\n", row, last);
    char *out = without_columns(read_bytes(or_buffer_view(&text), OR_FORMAT_CSV));
    or_buffer_finish(&text);
    return out;
}

/* A row without a quote is split here, one with a quote by libcsv: both ways say the same. */
static void test_split_agrees(void **state)
{
    (void)state;
    static const char alphabet[] = "a, ;";
    for (unsigned i = 0; i < 4 * 4 * 4 * 4 * 4; i++) {
        char row[6] = "";
        for (unsigned j = 0, rest = i; j < 5; j++, rest /= 4) {
            row[j] = alphabet[rest % 4];
        }
        char *plain = read_row(row, "x");
        char *quoted = read_row(row, "\"x\"");
        assert_int_equal(plain[0], 'R');
        assert_string_equal(plain, quoted);
        free(plain);
        free(quoted);
    }
}

/* What an arena held before must never complete a text that is cut off. */
static void test_used_memory(void **state)
{
    (void)state;
    static const char *const texts[] = {"{", "{\"a\":1", "{\"a\":[1", "{\"a\":\"x", "{\"a\":nul"};
    struct or_arena arena;
    or_arena_init(&arena);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (const char *byte = "}]\"l, "; *byte; byte++) {
            or_arena_reset(&arena);
            memset(or_arena_bytes(&arena, 4096), *byte, 4096);
            or_arena_reset(&arena);
            assert_int_equal(parse(&arena, or_span(texts[i])).kind, OR_ITEM_BAD);
        }
    }
    or_arena_finish(&arena);
}

/* The checks are ours: yyjson by itself takes all of this. */
static void test_control(void **state)
{
    (void)state;
    char deep[2008];
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    deep[2000] = '\0';
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "{\"a\":%s}", deep);
    const struct onerow_span texts[] = {
        OR_SPAN("{\"a\":1,\"a\":2}"), OR_SPAN("{\"a\":{\"b\":1,\"\\u0062\":2}}"),
        OR_SPAN("{\"a\":\"\\u0000\"}"), OR_SPAN("[1]"), or_buffer_view(&text)};
    struct or_arena arena;
    or_arena_init(&arena);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        yyjson_doc *doc = yyjson_read(texts[i].data, texts[i].len, 0);
        assert_non_null(doc);
        yyjson_doc_free(doc);
        assert_int_equal(parse(&arena, texts[i]).kind, OR_ITEM_BAD);
    }
    or_arena_finish(&arena);
    or_buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_crumbs),
        cmocka_unit_test(test_packed_samples),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_gzip_padding),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_bad_checksum),
        cmocka_unit_test(test_value_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_colliding_names),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_csv),
        cmocka_unit_test(test_constant_memory),
        cmocka_unit_test(test_constant_memory_csv),
        cmocka_unit_test(test_arena_per_record),
        cmocka_unit_test(test_would_wait),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_interrupted_read),
        cmocka_unit_test(test_open_faults),
        cmocka_unit_test(test_names_tell_the_format),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_parse_json),
        cmocka_unit_test(test_split_agrees),
        cmocka_unit_test(test_used_memory),
        cmocka_unit_test(test_control),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
