/* SPDX-License-Identifier: Apache-2.0
 *
 * Values between onerow and PostgreSQL.
 *
 * A value goes out as text, in the spelling that the input function of the column's type
 * reads; the function decides. What it would take without a word although it is another
 * value is refused here: a key that rounding or cutting would turn into another key, a
 * name cut to 63 bytes, a number taken for bytes. So is what it is sure to refuse and easy
 * to see (an integer out of range, a text too long), because a server that refuses one
 * record refuses its whole batch, which then has to be taken apart.
 *
 *     value in JSON      column             text
 *     1e3                integer            1000
 *     "7"                json               "7"       text of JSON stays text
 *     7 (a CSV field)    json               7         a CSV field is JSON already
 *     [1, null, "a b"]   text[]             {1,NULL,"a b"}
 *     [[1, 2], [3]]      integer[]          refused: a PostgreSQL array is rectangular
 *     [{"a": 1}]         jsonb[]            {"{\"a\":1}"}
 *
 * An element of an array is converted as a value of a column of the element's type is, in
 * PostgreSQL's own form ({…}) as in JSON; arrays of types that are not built in pass in that
 * form as they are (their delimiter need not be a comma).
 *
 * Types without a zone hold UTC, and PostgreSQL drops what they cannot hold without a word. So
 * nothing is sent that it would drop:
 *
 *     2024-01-01T00:30:00+02:00    timestamp    2023-12-31 22:30:00
 *     2024-01-01 00:30:00          timestamp    as it is, and so without its Z or UTC
 *     2024-01-01 00:30 CET         timestamp    refused, as is a zone in another form than ISO
 * 8601's 2024-01-01T00:00:00Z         date         as it is: midnight in UTC is the day
 *     2024-01-01T00:30:00Z         date         refused, as is midnight elsewhere: which day it is
 *                                               depends on who asks
 *     12:00:00+02:00               time         refused: without a day it has no time in UTC
 *     2024-01-01 12:00             time         refused: it has a day
 *     [2024-01-01 00:30+02,)       tsrange      refused; bounds are given in UTC
 *
 * Words that stand for a moment (now, today, infinity) pass; what is no known word could be a zone
 * and is refused.
 *
 * A date or timestamp that is a key is read back through to_json, which writes ISO 8601
 * whatever DateStyle says, without trailing zeros: the canonical form but for its closing Z.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/text.h"
#include "store/store_postgres.h"

/* Types by their fixed ids (pg_type.dat). */
enum type_oid {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_CHAR = 18,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114,
    OID_BOX = 603,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_INTERVAL = 1186,
    OID_TIMETZ = 1266,
    OID_BIT = 1560,
    OID_VARBIT = 1562,
    OID_NUMERIC = 1700,
    OID_JSONB = 3802,
    OID_TSRANGE = 3908,
    OID_DATERANGE = 3912,
    OID_TSMULTIRANGE = 4533,
    OID_DATEMULTIRANGE = 4535,
    OID_FIRST_CREATED = 16384, /* from here on types are not built in */
};

#define DIMENSIONS_MAX  6  /* of an array */
#define NAME_BYTES      63 /* in a value of type name */
#define SECOND_DIGITS   6  /* of a fraction of a second that PostgreSQL keeps */
#define YEAR_DIGITS     6  /* at most, in a timestamp */
#define MINUTES_PER_DAY (24 * 60)
#define LENGTH_HEADER   4    /* what a type modifier is above the length it stands for */
#define SHOWN_NUMBER    40U  /* bytes of a number in a message */
#define REASON_MAX      256U /* bytes in a reason without the column's name */
#define INTEGER_DIGITS  19   /* in the largest of 64 bits */
#define EXPONENT_MAX    (INT64_C(1) << 40) /* beyond it a number is out of range whatever it is */
#define TEXT_ARRAY_HEAD 20U                /* bytes of an array's binary form before its elements */

const char or_postgres_no_memory[] = "could not be stored: out of memory";

/* One value on its way, or one element of an array. */
struct conversion {
    const struct or_postgres_table *table;
    uint16_t column;
    bool key;
    bool element;
    Oid type;       /* beneath domains */
    int32_t typmod; /* or -1 */
    struct or_arena *arena;
    const char **reason;
};

static bool no_memory(const struct conversion *to)
{
    *to->reason = or_postgres_no_memory;
    return false;
}

/* Says what is wrong; the format goes on from 'column "x" '. Returns false, so that a check can
 * end in it. */
__attribute__((format(printf, 2, 3))) static bool refuse(const struct conversion *to,
                                                         const char *format, ...)
{
    char what[REASON_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    *to->reason =
        or_arena_printf(to->arena, "%s%scolumn \"%s\" %s", to->element ? "an element of " : "",
                        to->key ? "key " : "", to->table->base.columns[to->column].name, what);
    return *to->reason ? false : no_memory(to);
}

static struct onerow_span text_of(const struct onerow_value *value)
{
    return (struct onerow_span){value->data ? value->data : "", value->len};
}

/* What a value is, for messages. */
static const char *kind_name(const struct onerow_value *value)
{
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: return "NULL";
    case ONEROW_BOOL: return "true or false";
    case ONEROW_NUMBER: return "a number";
    case ONEROW_TEXT:
    case ONEROW_UNTYPED: return "text";
    case ONEROW_JSON: break;
    }
    return value->len && value->data[0] == '[' ? "a JSON array" : "a JSON object";
}

static const char *declared(const struct conversion *to)
{
    return to->table->base.columns[to->column].declared;
}

static bool refuse_kind(const struct conversion *to, const struct onerow_value *value)
{
    return refuse(to, "is %s; its type is %s", kind_name(value), declared(to));
}

static bool is_text(const struct onerow_value *value)
{
    return value->kind == ONEROW_TEXT || value->kind == ONEROW_UNTYPED;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_alnum(char byte)
{
    return is_letter(byte) || is_digit(byte);
}

/* As PostgreSQL's input functions see it. */
static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool plain_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    const struct or_postgres_column *column = &to->table->columns[to->column];
    *text = text_of(value);
    if (value->kind == ONEROW_JSON && !to->element && column->typtype && column->typtype != 'b') {
        return refuse(to, "is %s; give it in PostgreSQL's text form of %s", kind_name(value),
                      declared(to));
    }
    return true;
}

/* ---- numbers ----------------------------------------------------------------- */

/* 0.<digits> times ten to the power of `whole`. */
struct number {
    struct onerow_span digits; /* from the first to the last that is not 0, perhaps with a point */
    int64_t n_digits;          /* 0: the number is zero */
    int64_t whole;
    bool negative;
};

static int64_t read_exponent(const char *at, const char *end, bool *valid)
{
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    int64_t exponent = 0;
    *valid = at < end;
    for (; at < end && is_digit(*at); at++) {
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*at - '0') : exponent;
    }
    *valid &= at == end;
    return negative ? -exponent : exponent;
}

/* Notes the digits between `start` and `end`, where at most one point lies. */
static void note_digits(struct number *number, const char *start, const char *end)
{
    bool point = false;
    int64_t zeros = 0; /* since the last digit that is not 0 */
    for (const char *at = start; at < end; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        if (*at != '0') {
            number->digits.data = number->n_digits ? number->digits.data : at;
            number->digits.len = (size_t)(at + 1 - number->digits.data);
            number->n_digits += zeros + 1;
            zeros = 0;
        } else if (number->n_digits) {
            zeros++;
        }
        bool counts = number->n_digits > 0;
        number->whole += point ? -(int64_t)!counts : (int64_t)counts;
    }
}

/* Reads [+-]digits[.digits][e[+-]digits]. False: it is no such number. */
static bool read_number(struct onerow_span text, struct number *number)
{
    const char *at = text.data;
    const char *end = text.data + text.len;
    *number = (struct number){.negative = at < end && *at == '-'};
    at += at < end && (*at == '-' || *at == '+');
    const char *start = at;
    while (at < end && is_digit(*at)) {
        at++;
    }
    bool valid = at > start;
    if (at + 1 < end && *at == '.' && is_digit(at[1])) {
        for (at++; at < end && is_digit(*at); at++) {
        }
    }
    note_digits(number, start, at);
    if (valid && at < end && (*at == 'e' || *at == 'E')) {
        number->whole += read_exponent(at + 1, end, &valid);
        at = end;
    }
    return valid && at == end;
}

static int64_t decimals_of(const struct number *number)
{
    return number->n_digits ? number->n_digits - number->whole : 0;
}

/* The number's digits as an integer, which it must be, with INTEGER_DIGITS at most. */
static uint64_t magnitude_of(const struct number *number)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < number->digits.len; i++) {
        char byte = number->digits.data[i];
        sum = byte == '.' ? sum : sum * 10 + (uint64_t)(byte - '0');
    }
    for (int64_t i = number->n_digits; sum && i < number->whole; i++) {
        sum *= 10;
    }
    return sum;
}

/* `what` about a number that is shown, as far as it is not too long. */
static bool refuse_number(const struct conversion *to, struct onerow_span text, const char *what)
{
    struct onerow_span shown = or_span_cut(text, SHOWN_NUMBER);
    return refuse(to, "is %.*s%s, %s", (int)shown.len, shown.data, shown.len < text.len ? "…" : "",
                  what);
}

struct integer_type {
    uint64_t largest;
    size_t plain; /* so many digits fit whatever they are */
    const char *range;
};

static const struct integer_type *integer_of(Oid type)
{
    static const struct integer_type int2 = {INT16_MAX, 4,
                                             "beyond what smallint holds (-32768 to 32767)"};
    static const struct integer_type int4 = {
        INT32_MAX, 9, "beyond what integer holds (-2147483648 to 2147483647)"};
    static const struct integer_type int8 = {
        INT64_MAX, 18, "beyond what bigint holds (-9223372036854775808 to 9223372036854775807)"};
    return type == OID_INT2 ? &int2 : type == OID_INT4 ? &int4 : &int8;
}

/* Whether the text is at most `max` digits, perhaps behind a minus. */
static bool is_plain_integer(struct onerow_span text, size_t max)
{
    size_t at = text.len && text.data[0] == '-';
    if (at == text.len || text.len - at > max) {
        return false;
    }
    while (at < text.len && is_digit(text.data[at])) {
        at++;
    }
    return at == text.len;
}

static bool integer_text(const struct conversion *to, const struct onerow_value *value,
                         struct onerow_span *text)
{
    const struct integer_type *type = integer_of(to->type);
    if (value->kind != ONEROW_NUMBER && !is_text(value)) {
        return refuse_kind(to, value);
    }
    *text = or_span_trim(text_of(value));
    if (is_plain_integer(*text, type->plain)) {
        return true;
    }
    struct number number;
    if (!read_number(*text, &number)) {
        return refuse(to, "is text that spells no number; its type is %s", declared(to));
    }
    if (decimals_of(&number) > 0) {
        return refuse_number(to, *text, "not a whole number");
    }
    bool fits = number.whole <= INTEGER_DIGITS || number.n_digits == 0;
    uint64_t magnitude = fits ? magnitude_of(&number) : 0;
    if (!fits || magnitude > type->largest + number.negative) {
        return refuse_number(to, *text, type->range);
    }
    const char *sign = number.negative && magnitude ? "-" : "";
    *text = or_span(or_arena_printf(to->arena, "%s%llu", sign, (unsigned long long)magnitude));
    return text->data || no_memory(to);
}

/* numeric(precision, scale) as its modifier has it: 11 bits with a sign since PostgreSQL 15, and
 * before that never more than 1,000. */
static void read_numeric_modifier(int32_t typmod, int64_t *precision, int64_t *scale)
{
    int32_t packed = typmod - LENGTH_HEADER;
    *precision = (packed >> 16) & 0xffff;
    *scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
}

static bool numeric_text(const struct conversion *to, const struct onerow_value *value,
                         struct onerow_span *text)
{
    if (value->kind != ONEROW_NUMBER && !is_text(value)) {
        return refuse_kind(to, value);
    }
    struct number number;
    *text = text_of(value);
    if (to->typmod < LENGTH_HEADER || !read_number(or_span_trim(*text), &number) ||
        number.n_digits == 0) {
        return true;
    }
    int64_t precision = 0;
    int64_t scale = 0;
    read_numeric_modifier(to->typmod, &precision, &scale);
    if (number.whole > precision - scale) {
        return refuse_number(to, *text, "too large for its type");
    }
    if (to->key && decimals_of(&number) > scale) {
        return refuse_number(to, *text, "which the column rounds: the key would be another one");
    }
    return true;
}

static bool float_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    *text = text_of(value);
    return value->kind == ONEROW_NUMBER || is_text(value) || refuse_kind(to, value);
}

/* ---- truth -------------------------------------------------------------------- */

/* As PostgreSQL reads it: a beginning of a word that no other word has, in any case. */
static bool read_word(struct onerow_span text, bool *truth)
{
    static const struct {
        const char *word;
        size_t least;
        bool truth;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        bool sized = text.len >= words[i].least && text.len <= strlen(words[i].word);
        if (sized && or_ascii_equal_fold(text, (struct onerow_span){words[i].word, text.len})) {
            *truth = words[i].truth;
            return true;
        }
    }
    return false;
}

static bool read_bit(struct onerow_span text, bool *truth)
{
    struct number number;
    if (!read_number(text, &number)) {
        return false;
    }
    *truth = number.n_digits == 1;
    return number.n_digits == 0 ||
           (*truth && number.digits.data[0] == '1' && number.whole == 1 && !number.negative);
}

static bool truth_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    bool truth = false;
    bool known = value->kind == ONEROW_NUMBER ? read_bit(text_of(value), &truth)
                                              : value->kind != ONEROW_JSON &&
                                                    read_word(or_span_trim(text_of(value)), &truth);
    *text = truth ? OR_SPAN("true") : OR_SPAN("false");
    return known || refuse(to, "is not true or false");
}

/* ---- moments in ISO 8601's form ------------------------------------------------- */

struct moment {
    int year; /* 0 is 1 BC */
    int month;
    int day;
    int minute;                 /* of the day; 1440 is 24:00 */
    struct onerow_span seconds; /* ":SS.fraction" as given, or nothing */
    int offset;                 /* of its zone in minutes; 0: it is in UTC */
};

static void skip(struct onerow_span *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

static void skip_spaces(struct onerow_span *text)
{
    while (text->len && is_space(text->data[0])) {
        skip(text, 1);
    }
}

static bool take(struct onerow_span *text, const char *word)
{
    size_t len = strlen(word);
    if (text->len < len ||
        !or_ascii_equal_fold((struct onerow_span){text->data, len}, or_span(word))) {
        return false;
    }
    skip(text, len);
    return true;
}

static bool take_number(struct onerow_span *text, size_t least, size_t most, int *number)
{
    size_t n = 0;
    *number = 0;
    for (; n < most && n < text->len && is_digit(text->data[n]); n++) {
        *number = *number * 10 + (text->data[n] - '0');
    }
    skip(text, n);
    return n >= least;
}

static bool take_date(struct onerow_span *text, struct moment *moment)
{
    return take_number(text, 4, YEAR_DIGITS, &moment->year) && take(text, "-") &&
           take_number(text, 2, 2, &moment->month) && take(text, "-") &&
           take_number(text, 2, 2, &moment->day);
}

/* HH:MM[:SS[.fraction]] */
static bool take_clock(struct onerow_span *text, struct moment *moment)
{
    int hour = 0;
    int minute = 0;
    int second = 0;
    bool taken =
        take_number(text, 2, 2, &hour) && take(text, ":") && take_number(text, 2, 2, &minute);
    const char *from = text->data;
    if (taken && take(text, ":")) {
        taken = take_number(text, 2, 2, &second);
        if (taken && take(text, ".")) {
            taken = text->len && is_digit(text->data[0]);
            while (text->len && is_digit(text->data[0])) {
                skip(text, 1);
            }
        }
    }
    moment->minute = hour * 60 + minute;
    moment->seconds = (struct onerow_span){from, (size_t)(text->data - from)};
    return taken && minute < 60;
}

/* Z, UTC, ±HH, ±HH:MM or ±HHMM, or none. */
static bool take_zone(struct onerow_span *text, struct moment *moment)
{
    int hours = 0;
    int minutes = 0;
    skip_spaces(text);
    bool west = take(text, "-");
    if (!west && !take(text, "+")) {
        return take(text, "Z") || take(text, "UTC") || true;
    }
    if (!take_number(text, 2, 2, &hours)) {
        return false;
    }
    if (take(text, ":") || (text->len && is_digit(text->data[0]))) {
        if (!take_number(text, 2, 2, &minutes)) {
            return false;
        }
    }
    moment->offset = (hours * 60 + minutes) * (west ? -1 : 1);
    return hours < 24 && minutes < 60;
}

static bool take_era(struct onerow_span *text, struct moment *moment)
{
    skip_spaces(text);
    if (take(text, "BC")) {
        moment->year = 1 - moment->year;
        return moment->year <= 0;
    }
    return take(text, "AD") || moment->year > 0;
}

/* Reads a date with a time of day, in the form that RFC 3339 has of ISO 8601 and PostgreSQL's
 * output has. False: it is none. The calendar is not asked. */
static bool read_moment(struct onerow_span text, struct moment *moment)
{
    *moment = (struct moment){0};
    if (!take_date(&text, moment) || (!take(&text, "T") && !take(&text, " "))) {
        return false;
    }
    skip_spaces(&text);
    return take_clock(&text, moment) && take_zone(&text, moment) && take_era(&text, moment) &&
           text.len == 0;
}

/* ":00.000" or nothing. */
static bool is_zero(struct onerow_span seconds)
{
    size_t i = 0;
    while (i < seconds.len && strchr(":.0", seconds.data[i])) {
        i++;
    }
    return i == seconds.len;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool exists(const struct moment *moment)
{
    bool within = moment->minute < MINUTES_PER_DAY ||
                  (moment->minute == MINUTES_PER_DAY && is_zero(moment->seconds));
    return within && moment->month >= 1 && moment->month <= 12 && moment->day >= 1 &&
           moment->day <= days_in(moment->year, moment->month);
}

/* Takes the offset off: the seconds stay, and the date moves by one day at most. */
static void bring_to_utc(struct moment *moment)
{
    moment->minute -= moment->offset;
    if (moment->minute < 0) {
        moment->minute += MINUTES_PER_DAY;
        moment->day--;
    } else if (moment->minute >= MINUTES_PER_DAY) {
        moment->minute -= MINUTES_PER_DAY;
        moment->day++;
    }
    int month = moment->month;
    if (moment->day == 0) {
        moment->year -= month == 1;
        moment->month = month == 1 ? 12 : month - 1;
        moment->day = days_in(moment->year, moment->month);
    } else if (moment->day > days_in(moment->year, month)) {
        moment->year += month == 12;
        moment->month = month == 12 ? 1 : month + 1;
        moment->day = 1;
    }
}

/* ---- moments in any other form ---------------------------------------------------- */

enum word {
    WORD_UNKNOWN,
    WORD_ALONE, /* stands for a moment, or is the zone UTC */
    WORD_WHOLE, /* stands for a day, or makes one of a number */
    WORD_MONTH,
    WORD_DAY, /* tells more of a day */
    WORD_CLOCK,
};

/* What PostgreSQL reads in dates and times, but for zones. */
static enum word word_of(struct onerow_span text)
{
    static const struct {
        const char *words; /* a space before and behind each */
        enum word word;
    } known[] = {
        {" now infinity z utc ", WORD_ALONE},
        {" today tomorrow yesterday epoch j ", WORD_WHOLE},
        {" january february march april may june july august september october november december "
         "jan feb mar apr jun jul aug sep sept oct nov dec ",
         WORD_MONTH},
        {" monday tuesday wednesday thursday friday saturday sunday mon tue tues wed weds thu thur "
         "thurs fri sat sun bc ad ",
         WORD_DAY},
        {" am pm t allballs ", WORD_CLOCK},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        for (const char *at = known[k].words + 1; *at;) {
            size_t len = strcspn(at, " ");
            if (or_ascii_equal_fold(text, (struct onerow_span){at, len})) {
                return known[k].word;
            }
            at += len + 1;
        }
    }
    return WORD_UNKNOWN;
}

/* What a text that is to be a moment holds, as far as that can be seen. */
struct sight {
    bool zone; /* or what could be one */
    bool day;
    bool clock;
    bool whole;       /* a WORD_WHOLE */
    bool month;       /* a part that is a month's name */
    unsigned numbers; /* parts that begin with a digit */
};

/* The words of a part; whether one of them or a colon makes it a time of day. */
static bool see_words(struct onerow_span part, struct sight *sight)
{
    bool clock = memchr(part.data, ':', part.len) != NULL;
    for (size_t i = 0; i < part.len; i++) {
        size_t from = i;
        while (i < part.len && is_letter(part.data[i])) {
            i++;
        }
        if (i > from) {
            enum word word = word_of((struct onerow_span){part.data + from, i - from});
            sight->zone |= word == WORD_UNKNOWN;
            sight->whole |= word == WORD_WHOLE;
            sight->month |= word == WORD_MONTH && i - from == part.len;
            sight->day |= word == WORD_WHOLE || word == WORD_MONTH || word == WORD_DAY;
            clock |= word == WORD_CLOCK;
        }
    }
    sight->clock |= clock;
    return clock;
}

/* A dash is a date's where it joins, as in 2024-02-29 and 29-Feb-2024. Elsewhere it begins an
 * offset, as a plus does. */
static void see_part(struct onerow_span part, struct sight *sight)
{
    bool clock = see_words(part, sight);
    size_t dashes = 0;
    bool joins = true;
    for (size_t i = 0; i < part.len; i++) {
        if (part.data[i] == '-') {
            joins &=
                i && i + 1 < part.len && is_alnum(part.data[i - 1]) && is_alnum(part.data[i + 1]);
            dashes++;
        }
    }
    sight->zone |= memchr(part.data, '+', part.len) || !joins;
    sight->zone |= dashes && (dashes != 2 || clock);
    sight->day |= dashes || memchr(part.data, '/', part.len);
    sight->numbers += is_digit(part.data[0]);
}

static struct sight see(struct onerow_span text)
{
    struct sight sight = {0};
    while (skip_spaces(&text), text.len) {
        struct onerow_span part = {text.data, 0};
        while (part.len < text.len && !is_space(text.data[part.len])) {
            part.len++;
        }
        see_part(part, &sight);
        skip(&text, part.len);
    }
    return sight;
}

/* ---- moments -------------------------------------------------------------------------- */

/* How many digits follow the point. */
static size_t fraction_digits(struct onerow_span text)
{
    const char *point = memchr(text.data, '.', text.len);
    size_t n = 0;
    for (const char *at = point; at && at + 1 < text.data + text.len && is_digit(at[1]); at++) {
        n++;
    }
    return n;
}

static bool moment_text(const struct conversion *to, const struct onerow_value *value,
                        struct onerow_span *text)
{
    if (!is_text(value)) {
        return refuse_kind(to, value);
    }
    *text = text_of(value);
    bool modified = to->typmod >= 0 && to->typmod < SECOND_DIGITS;
    size_t kept = modified ? (size_t)to->typmod : SECOND_DIGITS;
    if (to->key && fraction_digits(*text) > kept) {
        return refuse(to,
                      "is finer than the column keeps (%zu digits of a second's fraction): the key "
                      "would be another one",
                      kept);
    }
    return true;
}

static bool is_signed_infinity(struct onerow_span text)
{
    return (take(&text, "-") || take(&text, "+")) && or_ascii_equal_fold(text, OR_SPAN("infinity"));
}

static bool refuse_zone(const struct conversion *to)
{
    return refuse(to,
                  "has a time zone, or a word that could be one, which %s does not hold; give "
                  "it as YYYY-MM-DDTHH:MM:SS with Z or ±HH:MM",
                  declared(to));
}

/* *moment has an offset that is not 0 when the text is not to be sent as it is. */
static bool check_timestamp(const struct conversion *to, struct onerow_span text,
                            struct moment *moment)
{
    text = or_span_trim(text);
    if (!read_moment(text, moment)) {
        *moment = (struct moment){0};
        return is_signed_infinity(text) || !see(text).zone || refuse_zone(to);
    }
    return moment->offset == 0 || exists(moment) ||
           refuse(to, "is a moment that the calendar does not have");
}

static bool timestamp_text(const struct conversion *to, const struct onerow_value *value,
                           struct onerow_span *text)
{
    struct moment moment;
    if (!moment_text(to, value, text) || !check_timestamp(to, *text, &moment)) {
        return false;
    }
    bool bc = moment.year <= 0;
    if (moment.offset == 0) {
        if (moment.seconds.data && !bc) { /* a zone that says UTC */
            *text = (struct onerow_span){
                text->data, (size_t)(moment.seconds.data + moment.seconds.len - text->data)};
        }
        return true;
    }
    bring_to_utc(&moment);
    bc = moment.year <= 0;
    *text = or_span(or_arena_printf(to->arena, "%04d-%02d-%02d %02d:%02d%.*s%s",
                                    bc ? 1 - moment.year : moment.year, moment.month, moment.day,
                                    moment.minute / 60, moment.minute % 60, (int)moment.seconds.len,
                                    moment.seconds.data, bc ? " BC" : ""));
    return text->data || no_memory(to);
}

/* A day is one number (2024-02-29), or two beside a month's name (29 Feb 2024). One more, and
 * PostgreSQL reads a time of day without colons. */
static bool is_day(const struct sight *sight)
{
    unsigned most = sight->whole ? 0 : sight->month ? 2 : 1;
    return !sight->clock && !sight->zone && sight->numbers <= most;
}

static bool check_date(const struct conversion *to, struct onerow_span text)
{
    struct moment moment = {0};
    struct onerow_span rest = text = or_span_trim(text);
    if ((take_date(&rest, &moment) && rest.len == 0) || is_signed_infinity(text)) {
        return true;
    }
    struct sight sight = see(text);
    bool day = read_moment(text, &moment)
                   ? !moment.minute && is_zero(moment.seconds) && !moment.offset
                   : is_day(&sight);
    return day || refuse(to,
                         "has more than a day (a time of day, a zone or a word that is not "
                         "known), which %s does not hold; give it as YYYY-MM-DD",
                         declared(to));
}

static bool date_text(const struct conversion *to, const struct onerow_value *value,
                      struct onerow_span *text)
{
    return moment_text(to, value, text) && check_date(to, *text);
}

static bool time_text(const struct conversion *to, const struct onerow_value *value,
                      struct onerow_span *text)
{
    struct moment moment = {0};
    if (!moment_text(to, value, text)) {
        return false;
    }
    struct onerow_span rest = or_span_trim(*text);
    if (take_clock(&rest, &moment) && take_zone(&rest, &moment) && rest.len == 0 &&
        moment.offset == 0) {
        return true;
    }
    struct sight sight = see(or_span_trim(*text));
    return !(sight.zone || sight.day || sight.numbers > 1 || moment.offset) ||
           refuse(to,
                  "has more than a time of day (a day, a zone or a word that is not known), "
                  "which %s does not hold; give it as HH:MM:SS",
                  declared(to));
}

/* ---- ranges of moments --------------------------------------------------------------- */

static bool is_bracket(char byte)
{
    return byte != '\0' && strchr("[](){},\"\\", byte) != NULL;
}

static bool check_bound(const struct conversion *to, struct onerow_span text)
{
    struct moment moment;
    if (to->type == OID_DATERANGE || to->type == OID_DATEMULTIRANGE) {
        return check_date(to, text);
    }
    return check_timestamp(to, text, &moment) &&
           (moment.offset == 0 ||
            refuse(to,
                   "has a bound in another time zone than UTC, which %s does not hold; give "
                   "the bounds in UTC",
                   declared(to)));
}

/* Looks at what lies between brackets, commas and quotes: the bounds, or parts of them. */
static bool range_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    if (!plain_text(to, value, text)) {
        return false;
    }
    if (or_ascii_equal_fold(or_span_trim(*text), OR_SPAN("empty"))) {
        return true;
    }
    struct onerow_span rest = *text;
    while (rest.len) {
        struct onerow_span bound = {rest.data, 0};
        while (bound.len < rest.len && !is_bracket(rest.data[bound.len])) {
            bound.len++;
        }
        if (!check_bound(to, bound)) {
            return false;
        }
        skip(&rest, bound.len + (bound.len < rest.len));
    }
    return true;
}

/* ---- text ----------------------------------------------------------------------- */

/* Bytes of the first n characters; *more counts those that follow. */
static size_t skip_characters(struct onerow_span text, size_t n, size_t *more)
{
    size_t cut = text.len;
    size_t seen = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] & 0xc0) != 0x80 && seen++ == n) {
            cut = i;
        }
    }
    *more = seen > n ? seen - n : 0;
    return cut;
}

static bool is_blank(const char *data, size_t len)
{
    size_t i = 0;
    while (i < len && data[i] == ' ') {
        i++;
    }
    return i == len;
}

/* Spaces beyond the length are cut off by the SQL standard, which a key does not outlive. */
static bool sized_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    *text = text_of(value);
    size_t most = to->typmod >= LENGTH_HEADER ? (size_t)(to->typmod - LENGTH_HEADER) : SIZE_MAX;
    if (text->len <= most) {
        return true;
    }
    size_t more = 0;
    size_t cut = skip_characters(*text, most, &more);
    if (more == 0 || (!to->key && is_blank(text->data + cut, text->len - cut))) {
        return true;
    }
    return refuse(to, "is %zu characters long, the column takes %zu", most + more, most);
}

/* The types name and "char", whose casts cut without a word. */
static bool short_text(const struct conversion *to, const struct onerow_value *value, size_t most,
                       struct onerow_span *text)
{
    *text = text_of(value);
    return text->len <= most ||
           refuse(to, "is %zu bytes long, its type (%s) takes %zu", text->len, declared(to), most);
}

static bool bytes_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    *text = text_of(value);
    return is_text(value) ||
           refuse(to, "is %s; bytes are given as text in hexadecimal (\\x…)", kind_name(value));
}

/* ---- bit strings ------------------------------------------------------------------- */

/* How many bits a text has: 0 and 1, perhaps behind b, or hexadecimal digits behind x. */
static bool count_bits(struct onerow_span text, size_t *bits)
{
    bool hex = take(&text, "x");
    if (!hex) {
        take(&text, "b");
    }
    const char *digits = hex ? "0123456789abcdefABCDEF" : "01";
    size_t n = 0;
    while (n < text.len && text.data[n] && strchr(digits, text.data[n])) {
        n++;
    }
    *bits = hex ? n * 4 : n;
    return n == text.len;
}

/* An assignment refuses another length, an explicit cast cuts or fills up without a word. */
static bool bits_text(const struct conversion *to, const struct onerow_value *value,
                      struct onerow_span *text)
{
    size_t bits = 0;
    if (!is_text(value) && value->kind != ONEROW_NUMBER) {
        return refuse_kind(to, value);
    }
    *text = text_of(value);
    if (!count_bits(*text, &bits)) {
        return refuse(to, "is no bit string; give 0 and 1, or x and hexadecimal digits");
    }
    size_t size = to->typmod >= 0 ? (size_t)to->typmod : SIZE_MAX;
    bool fits = to->type == OID_BIT && to->typmod >= 0 ? bits == size : bits <= size;
    return fits || refuse(to, "is a bit string of length %zu, the column takes %s%zu", bits,
                          to->type == OID_BIT ? "" : "at most ", size);
}

/* ---- JSON ------------------------------------------------------------------------- */

static bool json_text(const struct conversion *to, const struct onerow_value *value,
                      struct onerow_span *text)
{
    *text = text_of(value);
    if (value->kind != ONEROW_TEXT) {
        return true;
    }
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_json(&json, *text);
    *text = json.failed ? (struct onerow_span){0} : or_arena_copy(to->arena, or_buffer_view(&json));
    or_buffer_finish(&json);
    return text->data || no_memory(to);
}

/* ---- any type but arrays ------------------------------------------------------------ */

static bool scalar_text(const struct conversion *to, const struct onerow_value *value,
                        struct onerow_span *text)
{
    switch (to->type) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8: return integer_text(to, value, text);
    case OID_NUMERIC: return numeric_text(to, value, text);
    case OID_FLOAT4:
    case OID_FLOAT8: return float_text(to, value, text);
    case OID_BOOL: return truth_text(to, value, text);
    case OID_DATE: return date_text(to, value, text);
    case OID_TIME: return time_text(to, value, text);
    case OID_TIMESTAMP: return timestamp_text(to, value, text);
    case OID_TIMETZ:
    case OID_TIMESTAMPTZ:
    case OID_INTERVAL: return moment_text(to, value, text);
    case OID_TSRANGE:
    case OID_TSMULTIRANGE:
    case OID_DATERANGE:
    case OID_DATEMULTIRANGE: return range_text(to, value, text);
    case OID_BIT:
    case OID_VARBIT: return bits_text(to, value, text);
    case OID_BPCHAR:
    case OID_VARCHAR: return sized_text(to, value, text);
    case OID_NAME: return short_text(to, value, NAME_BYTES, text);
    case OID_CHAR: return short_text(to, value, 1, text);
    case OID_BYTEA: return bytes_text(to, value, text);
    case OID_JSON:
    case OID_JSONB: return json_text(to, value, text);
    default: return plain_text(to, value, text);
    }
}

/* ---- arrays -------------------------------------------------------------------------- */

struct array {
    struct conversion to; /* of its elements */
    struct or_buffer literal;
    size_t sizes[DIMENSIONS_MAX];
    size_t dimensions;
};

static bool holds_json(const struct array *array)
{
    return array->to.type == OID_JSON || array->to.type == OID_JSONB;
}

/* The sizes that an array shows along its first elements; the others must have the same. */
static bool measure(struct array *array, yyjson_val *value)
{
    while (yyjson_is_arr(value)) {
        if (array->dimensions == DIMENSIONS_MAX) {
            return refuse(&array->to, "is an array in arrays %d deep, PostgreSQL's end there",
                          DIMENSIONS_MAX);
        }
        array->sizes[array->dimensions++] = yyjson_arr_size(value);
        if (array->dimensions > 1 && yyjson_arr_size(value) == 0) {
            return refuse(&array->to, "is an empty array, which PostgreSQL's arrays cannot hold");
        }
        value = holds_json(array) ? NULL : yyjson_arr_get_first(value);
    }
    return true;
}

static void add_quoted(struct or_buffer *literal, struct onerow_span text)
{
    or_buffer_char(literal, '"');
    while (text.len) {
        size_t plain = 0;
        while (plain < text.len && text.data[plain] != '"' && text.data[plain] != '\\') {
            plain++;
        }
        or_buffer_add(literal, text.data, plain);
        if (plain < text.len) {
            or_buffer_char(literal, '\\');
            or_buffer_char(literal, text.data[plain++]);
        }
        text.data += plain;
        text.len -= plain;
    }
    or_buffer_char(literal, '"');
}

/* An element as a value; *owned is to be freed behind it. */
static bool element_value(const struct array *array, yyjson_val *element,
                          struct onerow_value *value, char **owned)
{
    size_t len = 0;
    *owned = NULL;
    *value = (struct onerow_value){.column = array->to.column};
    if (yyjson_is_bool(element)) {
        value->kind = ONEROW_BOOL;
        value->data = yyjson_get_bool(element) ? "true" : "false";
        len = strlen(value->data);
    } else if (yyjson_is_ctn(element)) {
        value->kind = ONEROW_JSON;
        value->data = *owned = yyjson_val_write(element, YYJSON_WRITE_NOFLAG, &len);
    } else {
        value->kind = yyjson_is_str(element) ? ONEROW_TEXT : ONEROW_NUMBER;
        value->data = yyjson_is_str(element) ? yyjson_get_str(element) : yyjson_get_raw(element);
        len = yyjson_get_len(element);
    }
    value->len = (uint32_t)len;
    return value->data || no_memory(&array->to);
}

static bool add_element(struct array *array, yyjson_val *element)
{
    struct onerow_value value;
    struct onerow_span text;
    char *owned = NULL;
    if (yyjson_is_null(element)) {
        or_buffer_text(&array->literal, "NULL");
        return true;
    }
    bool made =
        element_value(array, element, &value, &owned) && scalar_text(&array->to, &value, &text);
    if (made && (value.kind == ONEROW_NUMBER || value.kind == ONEROW_BOOL)) {
        or_buffer_span(&array->literal, text);
    } else if (made) {
        add_quoted(&array->literal, text);
    }
    free(owned);
    return made;
}

static bool add_array(struct array *array, yyjson_val *value, size_t depth)
{
    size_t at;
    size_t n;
    yyjson_val *element;
    bool last = depth + 1 == array->dimensions;
    if (yyjson_arr_size(value) != array->sizes[depth]) {
        return refuse(&array->to, "is an array of another size than its neighbour; PostgreSQL's "
                                  "arrays are rectangular");
    }
    or_buffer_char(&array->literal, '{');
    yyjson_arr_foreach(value, at, n, element)
    {
        if (at) {
            or_buffer_char(&array->literal, array->to.type == OID_BOX ? ';' : ',');
        }
        if (!holds_json(array) && yyjson_is_arr(element) == last) {
            return refuse(&array->to, "is an array beside one that is none; PostgreSQL's arrays "
                                      "are rectangular");
        }
        if (last ? !add_element(array, element) : !add_array(array, element, depth + 1)) {
            return false;
        }
    }
    or_buffer_char(&array->literal, '}');
    return true;
}

static bool finish_array(const struct array *array, struct onerow_span *text)
{
    *text = array->literal.failed ? (struct onerow_span){0}
                                  : or_arena_copy(array->to.arena, or_buffer_view(&array->literal));
    return text->data || no_memory(&array->to);
}

static bool json_array_text(struct array *array, struct onerow_span *text)
{
    yyjson_doc *doc = yyjson_read(text->data, text->len, YYJSON_READ_NUMBER_AS_RAW);
    if (!doc) {
        return no_memory(&array->to); /* what the input made is JSON */
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool made = measure(array, root) && add_array(array, root, 0) && finish_array(array, text);
    yyjson_doc_free(doc);
    return made;
}

/* ---- arrays in PostgreSQL's own form ---------------------------------------------------- */

static bool refuse_literal(const struct conversion *to)
{
    return refuse(to, "is text that is no array in PostgreSQL's form, {…}; its type is %s",
                  declared(to));
}

/* Takes the text of an element, quoted or not; *plain: it is not, so that NULL is NULL. */
static bool take_element(struct onerow_span *text, char delimiter, struct or_buffer *out,
                         bool *plain)
{
    size_t solid = 0; /* without spaces behind it */
    bool quoted = take(text, "\"");
    *plain = !quoted;
    while (text->len) {
        char byte = text->data[0];
        if (quoted ? byte == '"' : byte == delimiter || byte == '{' || byte == '}' || byte == '"') {
            break;
        }
        bool escaped = byte == '\\' && text->len > 1;
        *plain &= !escaped;
        or_buffer_char(out, escaped ? text->data[1] : byte);
        skip(text, escaped ? 2 : 1);
        solid = quoted || escaped || !is_space(byte) ? out->len : solid;
    }
    out->len = solid;
    return quoted ? take(text, "\"") : solid > 0;
}

static bool convert_element(struct array *array, struct onerow_span given, bool plain)
{
    struct onerow_value value = {.column = array->to.column,
                                 .kind = ONEROW_UNTYPED,
                                 .data = given.data,
                                 .len = (uint32_t)given.len};
    struct onerow_span text;
    if (plain && or_ascii_equal_fold(given, OR_SPAN("NULL"))) {
        or_buffer_text(&array->literal, "NULL");
        return true;
    }
    if (!scalar_text(&array->to, &value, &text)) {
        return false;
    }
    add_quoted(&array->literal, text);
    return true;
}

static bool copy_element(struct array *array, struct onerow_span *text, char delimiter)
{
    struct or_buffer out;
    bool plain = false;
    or_buffer_init(&out);
    bool taken = take_element(text, delimiter, &out, &plain);
    bool copied = out.failed ? no_memory(&array->to)
                  : taken    ? convert_element(array, or_buffer_view(&out), plain)
                             : refuse_literal(&array->to);
    or_buffer_finish(&out);
    return copied;
}

/* Brackets, delimiters and what stands before the first bracket ([0:1]=) stay as they are; whether
 * they make an array is the server's to say. */
static bool literal_text(const struct conversion *to, struct array *array, struct onerow_span *text)
{
    char delimiter = array->to.type == OID_BOX ? ';' : ',';
    struct onerow_span rest = *text;
    const char *open = memchr(rest.data, '{', rest.len);
    if (!open) {
        return refuse_literal(to);
    }
    or_buffer_add(&array->literal, rest.data, (size_t)(open - rest.data));
    skip(&rest, (size_t)(open - rest.data));
    while (skip_spaces(&rest), rest.len) {
        char byte = rest.data[0];
        if (byte == '{' || byte == '}' || byte == delimiter) {
            or_buffer_char(&array->literal, byte);
            skip(&rest, 1);
        } else if (!copy_element(array, &rest, delimiter)) {
            return false;
        }
    }
    return finish_array(array, text);
}

static bool array_text(const struct conversion *to, const struct onerow_value *value,
                       struct onerow_span *text)
{
    struct array array = {.to = *to};
    array.to.element = true;
    array.to.type = to->table->columns[to->column].element_type;
    *text = text_of(value);
    if (is_text(value) && array.to.type >= OID_FIRST_CREATED) {
        return true;
    }
    if (!is_text(value) && (value->kind != ONEROW_JSON || value->data[0] != '[')) {
        return refuse_kind(to, value);
    }
    or_buffer_init(&array.literal);
    bool made = is_text(value) ? literal_text(to, &array, text) : json_array_text(&array, text);
    or_buffer_finish(&array.literal);
    return made;
}

/* ---- what the other parts call -------------------------------------------------------- */

static bool in_key(const struct or_postgres_table *table, uint16_t column)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->base.key[k] == column) {
            return true;
        }
    }
    return false;
}

bool or_postgres_text(const struct or_postgres_table *table, const struct onerow_value *value,
                      struct or_arena *arena, struct onerow_span *text, const char **reason)
{
    const struct or_postgres_column *column = &table->columns[value->column];
    struct conversion to = {
        .table = table,
        .column = value->column,
        .key = in_key(table, value->column),
        .type = column->base_type,
        .typmod = column->typmod,
        .arena = arena,
        .reason = reason,
    };
    *text = (struct onerow_span){0};
    *reason = NULL;
    if (value->kind == ONEROW_NULL) {
        return true;
    }
    return column->element_type ? array_text(&to, value, text) : scalar_text(&to, value, text);
}

static char *put_int32(char *out, uint32_t number)
{
    for (int i = 3; i >= 0; i--) {
        out[i] = (char)(number & 0xff);
        number >>= 8;
    }
    return out + 4;
}

void or_postgres_text_array(struct or_buffer *out, const struct onerow_span *texts, size_t n)
{
    char head[TEXT_ARRAY_HEAD];
    bool has_null = false;
    for (size_t i = 0; i < n; i++) {
        has_null |= !texts[i].data;
    }
    char *at = put_int32(head, n > 0); /* dimensions */
    at = put_int32(at, has_null);
    at = put_int32(at, OID_TEXT);
    if (n) {
        at = put_int32(at, (uint32_t)n);
        at = put_int32(at, 1); /* the first element's number */
    }
    or_buffer_add(out, head, (size_t)(at - head));
    for (size_t i = 0; i < n; i++) {
        char size[4];
        put_int32(size, texts[i].data ? (uint32_t)texts[i].len : UINT32_MAX); /* -1: NULL */
        or_buffer_add(out, size, sizeof size);
        or_buffer_add(out, texts[i].data, texts[i].data ? texts[i].len : 0);
    }
}

bool or_postgres_same_key(enum onerow_type type, const struct onerow_value *sent,
                          struct onerow_span got, bool is_null)
{
    if (is_null || sent->kind == ONEROW_NULL) {
        return is_null && sent->kind == ONEROW_NULL;
    }
    struct onerow_span text = text_of(sent);
    if (type == ONEROW_TYPE_TIMESTAMP && text.len && text.data[text.len - 1] == 'Z') {
        text.len--;
    }
    return or_span_equal(text, got);
}

void or_postgres_key_sql(struct or_buffer *sql, const struct or_postgres_table *table, size_t k,
                         const char *alias)
{
    uint16_t column = table->base.key[k];
    const char *before = "";
    const char *behind = "::text";
    switch (table->columns[column].base_type) {
    case OID_NUMERIC: before = "pg_catalog.trim_scale(", behind = ")::text"; break;
    case OID_DATE:
    case OID_TIMESTAMP: before = "(pg_catalog.to_json(", behind = ") #>> '{}')"; break;
    case OID_TIMESTAMPTZ:
        before = "(pg_catalog.to_json(", behind = " AT TIME ZONE 'UTC') #>> '{}')";
        break;
    default: break;
    }
    or_buffer_printf(sql, "%s%s.", before, alias);
    or_postgres_quote(sql, table->base.columns[column].name);
    or_buffer_text(sql, behind);
}
