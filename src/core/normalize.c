/* SPDX-License-Identifier: Apache-2.0
 *
 * What `normalize` does to text, always in this order:
 *
 *   nfc       Unicode normalisation form C
 *   trim      without Unicode White_Space at both ends
 *   casefold  NFC(toCasefold(NFD(text))): full case folding, as the Unicode standard's
 *             canonical caseless match (D145) has it
 *
 * and again until nothing changes, so that a normalised text normalises to itself and a
 * row that was stored in its canonical form is found under the same key. One round
 * nearly always suffices; the second one proves it.
 *
 * Folding starts from NFD because U+0345 (iota below) folds to a letter: were it folded
 * where it stands, texts that differ by the order of their marks alone would part.
 *
 * Unassigned code points are refused where nfc or casefold apply: a later version of
 * Unicode may give them a decomposition or a case, and their keys would change then.
 * What is assigned never changes (Unicode's stability policy).
 *
 * utf8proc does the tables and the composition. The canonical ordering is done here:
 * utf8proc's takes time quadratic in the number of marks, and a key may have 30,000.
 */
#include "core/normalize.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "base/text.h"
#include "core/key.h"

#define ROUNDS_MAX 4
/* Code points that one decomposes or folds to, at most (UAX #15, "maximum expansion"). */
#define EXPANSION_MAX 4

static const char UNASSIGNED[] =
    "has a character that this version of Unicode does not assign; normalize cannot be applied";
static const char UNSTABLE[] = "has no stable normalised form";

/* A run of code points in an arena. */
struct points {
    utf8proc_int32_t *at;
    size_t len;
    size_t room;
};

/* One code point more than asked for: re-encoding in place closes the text with a NUL. */
static bool points_init(struct points *points, size_t room, struct or_arena *scratch)
{
    points->at = or_arena_alloc(scratch, (room + 1) * sizeof *points->at);
    points->len = 0;
    points->room = room;
    return points->at != NULL;
}

static bool is_ascii(struct onerow_span text)
{
    unsigned char bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        bits |= (unsigned char)text.data[i];
    }
    return bits < 0x80;
}

/* Whether all lies below U+0300, where every code point is assigned and nothing composes with
 * its neighbour: such text is in NFC as it stands. */
static bool is_below_marks(struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] >= 0xcc) {
            return false;
        }
    }
    return true;
}

/* ---- decomposition, folding, composition ----------------------------------- */

/* Appends what `options` make of one code point. */
static bool add_mapped(struct points *points, utf8proc_int32_t point, int options)
{
    utf8proc_ssize_t room = (utf8proc_ssize_t)(points->room - points->len);
    utf8proc_ssize_t count = utf8proc_decompose_char(point, points->at + points->len, room,
                                                     (utf8proc_option_t)options, NULL);
    if (count < 0 || count > room) {
        return false;
    }
    points->len += (size_t)count;
    return true;
}

static unsigned combining_class(utf8proc_int32_t point)
{
    return point < 0x300 ? 0 : (unsigned)utf8proc_get_property(point)->combining_class & 0xff;
}

/* Insertion sort, stable; for the few marks that a character usually has. */
static void order_few(utf8proc_int32_t *marks, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        utf8proc_int32_t mark = marks[i];
        unsigned class = combining_class(mark);
        size_t to = i;
        for (; to > 0 && combining_class(marks[to - 1]) > class; to--) {
            marks[to] = marks[to - 1];
        }
        marks[to] = mark;
    }
}

/* Counting sort by class, stable, in time linear in n. */
static bool order_many(utf8proc_int32_t *marks, size_t n, struct or_arena *scratch)
{
    utf8proc_int32_t *sorted = or_arena_alloc(scratch, n * sizeof *sorted);
    if (!sorted) {
        return false;
    }
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) {
        start[combining_class(marks[i]) + 1]++;
    }
    for (size_t class = 1; class < 257; class ++) {
        start[class] += start[class - 1];
    }
    for (size_t i = 0; i < n; i++) {
        sorted[start[combining_class(marks[i])]++] = marks[i];
    }
    memcpy(marks, sorted, n * sizeof *sorted);
    return true;
}

/* The canonical ordering: each run of marks by combining class. */
static bool order_marks(struct points *points, struct or_arena *scratch)
{
    size_t at = 0;
    while (at < points->len) {
        size_t end = at;
        while (end < points->len && combining_class(points->at[end]) > 0) {
            end++;
        }
        size_t n = end - at;
        if (n > 32) {
            if (!order_many(points->at + at, n, scratch)) {
                return false;
            }
        } else if (n > 1) {
            order_few(points->at + at, n);
        }
        at = end + 1;
    }
    return true;
}

/* The text's code points in NFD. */
static const char *decompose(struct onerow_span text, struct points *points,
                             struct or_arena *scratch)
{
    if (!points_init(points, text.len * EXPANSION_MAX, scratch)) {
        return or_key_no_memory;
    }
    const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)text.data;
    for (size_t at = 0; at < text.len;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t step =
            utf8proc_iterate(in + at, (utf8proc_ssize_t)(text.len - at), &point);
        if (step <= 0) {
            return UNSTABLE;
        }
        if (utf8proc_category(point) == UTF8PROC_CATEGORY_CN) {
            return UNASSIGNED;
        }
        if (!add_mapped(points, point, UTF8PROC_DECOMPOSE)) {
            return UNSTABLE;
        }
        at += (size_t)step;
    }
    return order_marks(points, scratch) ? NULL : or_key_no_memory;
}

/* Ordered again: today's tables fold no letter to marks out of order, but may one day. */
static const char *fold(const struct points *points, struct points *folded,
                        struct or_arena *scratch)
{
    if (!points_init(folded, points->len * EXPANSION_MAX, scratch)) {
        return or_key_no_memory;
    }
    for (size_t i = 0; i < points->len; i++) {
        if (!add_mapped(folded, points->at[i], UTF8PROC_CASEFOLD | UTF8PROC_DECOMPOSE)) {
            return UNSTABLE;
        }
    }
    return order_marks(folded, scratch) ? NULL : or_key_no_memory;
}

/* Composes and encodes where the code points lie. */
static const char *compose(struct points *points, struct onerow_span *text)
{
    utf8proc_ssize_t len = utf8proc_reencode(points->at, (utf8proc_ssize_t)points->len,
                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (len < 0) {
        return UNSTABLE;
    }
    *text = (struct onerow_span){(const char *)points->at, (size_t)len};
    return NULL;
}

/* ---- the three rules --------------------------------------------------------- */

static const char *apply_nfc(struct onerow_span *text, struct or_arena *scratch)
{
    if (is_below_marks(*text)) {
        return NULL;
    }
    struct points points;
    const char *reason = decompose(*text, &points, scratch);
    return reason ? reason : compose(&points, text);
}

static bool is_white_space(utf8proc_int32_t point)
{
    return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

/* Bytes of the white space that begins at `at`; 0: there is none. */
static size_t white_space_at(struct onerow_span text, size_t at)
{
    utf8proc_int32_t point;
    utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text.data + at,
                                             (utf8proc_ssize_t)(text.len - at), &point);
    return step > 0 && is_white_space(point) ? (size_t)step : 0;
}

static void apply_trim(struct onerow_span *text)
{
    size_t step;
    while (text->len && (step = white_space_at(*text, 0))) {
        text->data += step;
        text->len -= step;
    }
    while (text->len) {
        size_t last = text->len - 1;
        while (last > 0 && ((unsigned char)text->data[last] & 0xc0) == 0x80) {
            last--;
        }
        if (!white_space_at(*text, last)) {
            return;
        }
        text->len = last;
    }
}

static bool has_capitals(struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 'A' && text.data[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

static const char *fold_ascii(struct onerow_span *text, struct or_arena *scratch)
{
    if (!has_capitals(*text)) {
        return NULL;
    }
    char *folded = or_arena_bytes(scratch, text->len + 1);
    if (!folded) {
        return or_key_no_memory;
    }
    for (size_t i = 0; i < text->len; i++) {
        char byte = text->data[i];
        folded[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
    }
    text->data = folded;
    return NULL;
}

static const char *apply_casefold(struct onerow_span *text, struct or_arena *scratch)
{
    if (is_ascii(*text)) {
        return fold_ascii(text, scratch);
    }
    struct points points;
    struct points folded;
    const char *reason = decompose(*text, &points, scratch);
    if (!reason) {
        reason = fold(&points, &folded, scratch);
    }
    return reason ? reason : compose(&folded, text);
}

static const char *apply_once(struct onerow_span *text, unsigned rules, struct or_arena *scratch)
{
    const char *reason = NULL;
    if (rules & ONEROW_NFC) {
        reason = apply_nfc(text, scratch);
    }
    if (!reason && (rules & ONEROW_TRIM)) {
        apply_trim(text);
    }
    if (!reason && (rules & ONEROW_CASEFOLD)) {
        reason = apply_casefold(text, scratch);
    }
    return reason;
}

const char *or_normalize(struct onerow_span *text, unsigned rules, struct or_arena *scratch)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct onerow_span before = *text;
        const char *reason = apply_once(text, rules, scratch);
        if (reason) {
            return reason;
        }
        if (or_span_equal(before, *text)) {
            *text = before; /* the given bytes, where nothing had to change */
            return NULL;
        }
    }
    return UNSTABLE;
}
