/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts that PostgreSQL gets for values, the binary form of their arrays, and what comes back
 * of a key. No server: a table is put together by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/store_postgres.h"

/* Types by their fixed ids. */
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
    OID_FLOAT8 = 701,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_BIT = 1560,
    OID_VARBIT = 1562,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_JSONB = 3802,
    OID_TSRANGE = 3908,
    OID_DATERANGE = 3912,
    OID_OTHER = 70000,
};

#define NUMERIC(precision, scale) ((int32_t)(((precision) << 16) | ((scale)&0x7ff)) + 4)
#define LENGTH(n)                 ((n) + 4)

static struct or_arena arena;
static struct onerow_column base_column = {.name = "c", .declared = "the type"};
static struct or_postgres_column column;
static struct onerow_key_column key_column = {.name = "c"};
static struct or_postgres_table table;

/* The table has one column of that type. */
static void make_table(Oid type, int32_t typmod, bool key)
{
    or_arena_reset(&arena);
    column = (struct or_postgres_column){
        .type = type, .base_type = type, .typmod = typmod, .typtype = 'b'};
    table = (struct or_postgres_table){.columns = &column};
    table.base.columns = &base_column;
    table.base.n_columns = 1;
    table.spec.key = &key_column;
    table.spec.n_key = key;
}

static void make_array(Oid element, int32_t typmod)
{
    make_table(OID_OTHER, typmod, false);
    column.element_type = element;
}

/* What becomes of the value: its text, "NULL", or "! " and the reason. */
static const char *text_of(enum onerow_kind kind, const char *given)
{
    struct onerow_value value = {
        .data = given, .len = (uint32_t)strlen(given ? given : ""), .kind = (uint8_t)kind};
    struct onerow_span text = {0};
    const char *reason = NULL;
    const char *shown = NULL;
    if (!or_postgres_text(&table, &value, &arena, &text, &reason)) {
        shown = or_arena_printf(&arena, "! %s", reason);
    } else {
        shown = text.data ? or_arena_copy(&arena, text).data : "NULL";
    }
    assert_non_null(shown);
    return shown;
}

#define BECOMES(kind, given, text) assert_string_equal(text_of((kind), (given)), (text))

/* ---- numbers ------------------------------------------------------------------- */

static void integers_are_plain_digits(void **state)
{
    (void)state;
    make_table(OID_INT4, -1, false);
    BECOMES(ONEROW_NUMBER, "7", "7");
    BECOMES(ONEROW_NUMBER, "-123456789", "-123456789");
    BECOMES(ONEROW_NUMBER, "1.0", "1");
    BECOMES(ONEROW_NUMBER, "1e3", "1000");
    BECOMES(ONEROW_NUMBER, "12.5e1", "125");
    BECOMES(ONEROW_NUMBER, "-0.0", "0");
    BECOMES(ONEROW_NUMBER, "0e99999999999999999999", "0");
    BECOMES(ONEROW_NUMBER, "1000000000000e-12", "1");
    BECOMES(ONEROW_TEXT, " 42\n", "42");
    BECOMES(ONEROW_UNTYPED, "+42", "42");
    BECOMES(ONEROW_UNTYPED, "007", "007");
    BECOMES(ONEROW_NULL, NULL, "NULL");
    BECOMES(ONEROW_NUMBER, "1.5", "! column \"c\" is 1.5, not a whole number");
    BECOMES(ONEROW_NUMBER, "1e-3", "! column \"c\" is 1e-3, not a whole number");
    BECOMES(ONEROW_TEXT, "abc",
            "! column \"c\" is text that spells no number; its type is the type");
    BECOMES(ONEROW_TEXT, "", "! column \"c\" is text that spells no number; its type is the type");
    BECOMES(ONEROW_TEXT, "1 2",
            "! column \"c\" is text that spells no number; its type is the type");
    BECOMES(ONEROW_TEXT, "1.",
            "! column \"c\" is text that spells no number; its type is the type");
    BECOMES(ONEROW_TEXT, "1e",
            "! column \"c\" is text that spells no number; its type is the type");
    BECOMES(ONEROW_BOOL, "true", "! column \"c\" is true or false; its type is the type");
    BECOMES(ONEROW_JSON, "[1]", "! column \"c\" is a JSON array; its type is the type");
}

static void integers_have_a_range(void **state)
{
    (void)state;
    make_table(OID_INT2, -1, false);
    BECOMES(ONEROW_NUMBER, "32767", "32767");
    BECOMES(ONEROW_NUMBER, "-32768", "-32768");
    BECOMES(ONEROW_NUMBER, "32768",
            "! column \"c\" is 32768, beyond what smallint holds (-32768 to 32767)");
    make_table(OID_INT4, -1, false);
    BECOMES(ONEROW_NUMBER, "2147483647", "2147483647");
    BECOMES(ONEROW_NUMBER, "-2147483648", "-2147483648");
    BECOMES(ONEROW_NUMBER, "-2147483649",
            "! column \"c\" is -2147483649, beyond what integer holds (-2147483648 to 2147483647)");
    make_table(OID_INT8, -1, true);
    BECOMES(ONEROW_NUMBER, "9223372036854775807", "9223372036854775807");
    BECOMES(ONEROW_NUMBER, "-9223372036854775808", "-9223372036854775808");
    BECOMES(ONEROW_NUMBER, "9223372036854775808",
            "! key column \"c\" is 9223372036854775808, beyond what bigint holds "
            "(-9223372036854775808 to 9223372036854775807)");
    BECOMES(ONEROW_NUMBER, "1e999",
            "! key column \"c\" is 1e999, beyond what bigint holds "
            "(-9223372036854775808 to 9223372036854775807)");
}

static void numerics_keep_what_they_are(void **state)
{
    (void)state;
    make_table(OID_NUMERIC, -1, true);
    BECOMES(ONEROW_NUMBER, "1.50e-7", "1.50e-7");
    BECOMES(ONEROW_TEXT, "NaN", "NaN");
    BECOMES(ONEROW_BOOL, "true", "! key column \"c\" is true or false; its type is the type");
    make_table(OID_NUMERIC, NUMERIC(10, 2), false);
    BECOMES(ONEROW_NUMBER, "1.005", "1.005");
    BECOMES(ONEROW_NUMBER, "99999999", "99999999");
    BECOMES(ONEROW_NUMBER, "100000000", "! column \"c\" is 100000000, too large for its type");
    BECOMES(ONEROW_TEXT, " 1e8", "! column \"c\" is  1e8, too large for its type");
    make_table(OID_NUMERIC, NUMERIC(10, 2), true);
    BECOMES(ONEROW_NUMBER, "24.5", "24.5");
    BECOMES(ONEROW_NUMBER, "1.125",
            "! key column \"c\" is 1.125, which the column rounds: the key would be another one");
    make_table(OID_NUMERIC, NUMERIC(5, -2), true);
    BECOMES(ONEROW_NUMBER, "1200", "1200");
    BECOMES(ONEROW_NUMBER, "0", "0");
    BECOMES(ONEROW_NUMBER, "1250",
            "! key column \"c\" is 1250, which the column rounds: the key would be another one");
    make_table(OID_FLOAT8, -1, false);
    BECOMES(ONEROW_NUMBER, "0.1", "0.1");
    BECOMES(ONEROW_JSON, "{}", "! column \"c\" is a JSON object; its type is the type");
}

/* ---- truth, moments, text, JSON ---------------------------------------------------- */

static void truth_is_read_as_postgresql_does(void **state)
{
    static const char *const yes[] = {"t", "TRUE", "tr", "y", "Yes", "on", "1", " true "};
    static const char *const no[] = {"f", "False", "n", "no", "of", "OFF", "0"};
    static const char *const neither[] = {"", "o", "2", "truest", "ja", "10"};
    (void)state;
    make_table(OID_BOOL, -1, false);
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        BECOMES(i % 2 ? ONEROW_TEXT : ONEROW_UNTYPED, yes[i], "true");
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        BECOMES(i % 2 ? ONEROW_TEXT : ONEROW_UNTYPED, no[i], "false");
    }
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++) {
        BECOMES(ONEROW_TEXT, neither[i], "! column \"c\" is not true or false");
    }
    BECOMES(ONEROW_BOOL, "false", "false");
    BECOMES(ONEROW_NUMBER, "1.0", "true");
    BECOMES(ONEROW_NUMBER, "-0", "false");
    BECOMES(ONEROW_NUMBER, "-1", "! column \"c\" is not true or false");
    BECOMES(ONEROW_NUMBER, "0.1", "! column \"c\" is not true or false");
    BECOMES(ONEROW_NUMBER, "11", "! column \"c\" is not true or false");
    BECOMES(ONEROW_JSON, "[]", "! column \"c\" is not true or false");
}

static void a_key_keeps_its_fraction_of_a_second(void **state)
{
    (void)state;
    make_table(OID_TIMESTAMPTZ, -1, true);
    BECOMES(ONEROW_TEXT, "2024-02-29T12:00:00.123456Z", "2024-02-29T12:00:00.123456Z");
    BECOMES(ONEROW_TEXT, "2024-02-29T12:00:00.1234567Z",
            "! key column \"c\" is finer than the column keeps (6 digits of a second's fraction): "
            "the key would be another one");
    make_table(OID_TIMESTAMP, 0, true);
    BECOMES(ONEROW_TEXT, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00");
    BECOMES(ONEROW_TEXT, "2024-02-29T12:00:00.5Z",
            "! key column \"c\" is finer than the column keeps (0 digits of a second's fraction): "
            "the key would be another one");
    make_table(OID_TIMESTAMPTZ, 3, false);
    BECOMES(ONEROW_TEXT, "2024-02-29 12:00:00.123456789+02", "2024-02-29 12:00:00.123456789+02");
    make_table(OID_DATE, -1, false);
    BECOMES(ONEROW_UNTYPED, "29 Feb 2024", "29 Feb 2024");
    BECOMES(ONEROW_NUMBER, "20240229", "! column \"c\" is a number; its type is the type");
}

#define NO_ZONE                                                                                    \
    "! column \"c\" has a time zone, or a word that could be one, which the type does not hold; "  \
    "give it as YYYY-MM-DDTHH:MM:SS with Z or ±HH:MM"

static void offsets_are_taken_off(void **state)
{
    static const char *const becomes[][2] = {
        {"2024-01-01T00:30:00+02:00", "2023-12-31 22:30:00"},
        {"2024-01-01T00:30:00Z", "2024-01-01T00:30:00"},
        {"2024-01-01T00:30:00.5z", "2024-01-01T00:30:00.5"},
        {"2024-01-01 00:30:00 UTC", "2024-01-01 00:30:00"},
        {"2024-01-01T00:30:00+00:00", "2024-01-01T00:30:00"},
        {"2024-01-01 00:30:00-00", "2024-01-01 00:30:00"},
        {"2024-02-28 23:30:00.123456-0130", "2024-02-29 01:00:00.123456"},
        {"2023-02-28T23:30-01", "2023-03-01 00:30"},
        {"2024-03-01t00:00:00+14:00", "2024-02-29 10:00:00"},
        {"2100-03-01T00:00:00+00:01", "2100-02-28 23:59:00"},
        {"2000-03-01T00:00:00+00:01", "2000-02-29 23:59:00"},
        {"2024-12-31T24:00:00-00:30", "2025-01-01 00:30:00"},
        {"2024-12-31T24:00:00+00:30", "2024-12-31 23:30:00"},
        {"2024-12-31 23:59:60 -08", "2025-01-01 07:59:60"},
        {"9999-12-31T23:00:00-02:00", "10000-01-01 01:00:00"},
        {"0001-01-01T00:30:00+01", "0001-12-31 23:30:00 BC"},
        {"0001-12-31 23:30:00-01 BC", "0001-01-01 00:30:00"},
        {"0005-02-28 23:30:00-01 bc", "0005-02-29 00:30:00 BC"},
        {" 2024-05-06 07:08:09 +00:30\n", "2024-05-06 06:38:09"},
        {"2024-05-06  07:08:09+0100 AD", "2024-05-06 06:08:09"},
    };
    (void)state;
    make_table(OID_TIMESTAMP, -1, false);
    for (size_t i = 0; i < sizeof becomes / sizeof *becomes; i++) {
        BECOMES(i % 2 ? ONEROW_TEXT : ONEROW_UNTYPED, becomes[i][0], becomes[i][1]);
    }
    make_array(OID_TIMESTAMP, -1);
    BECOMES(ONEROW_JSON, "[[\"2024-01-01T00:30:00+02:00\",null]]",
            "{{\"2023-12-31 22:30:00\",NULL}}");
    BECOMES(ONEROW_UNTYPED, " {2024-01-01T00:30:00+02:00 , NULL,\"2024-01-01 00:30:00-02\"}",
            " {\"2023-12-31 22:30:00\",NULL,\"2024-01-01 02:30:00\"}");
}

static void moments_without_zone_pass(void **state)
{
    static const char *const stays[] = {
        "2024-01-01T00:30:00",
        "2024-01-01",
        "20240101T003000Z",
        "20240101 003000",
        "0044-03-15 12:00:00 BC",
        "0044-03-15 12:00:00Z BC",
        "infinity",
        "-infinity",
        "+Infinity",
        "now",
        "Today",
        "epoch",
        "tomorrow allballs",
        "29 Feb 2024 11:30 PM",
        "Sat 29-Feb-2024 23:30:00",
        "February 29, 2024",
        "1/8/2024 00:30",
        "J2460310",
        "2024-13-45 00:00:00",
        "",
    };
    (void)state;
    make_table(OID_TIMESTAMP, -1, false);
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++) {
        BECOMES(ONEROW_TEXT, stays[i], stays[i]);
    }
}

static void other_zones_are_refused(void **state)
{
    static const char *const refused[] = {
        "2024-01-01 00:30:00 Europe/Berlin",
        "2024-01-01 00:30:00 CET",
        "2024-01-01 00:30:00 PST8PDT",
        "2024-01-01T00:30:00+2",
        "2024-01-01T00:30:00+02:00:30",
        "2024-01-01T00:30:00+24:00",
        "2024-01-01T00:30:00+02:60",
        "2024-01-01T00:30:00.+02",
        "2024-01-01 -02",
        "20240101T003000+0200",
        "20240101T003000-0200",
        "20240101 003000-02",
        "Jan 1 00:30:00 2024 -02",
        "29-Feb-2024 23:30:00+02",
        "00:30-02 Jan 1 2024",
        "24-01-01T00:30:00-02",
        "2024-01-01 00:30:00,-02",
        "2024-060,-02",
        "2024-01-01 00:30:00 UTC+2",
        "now Europe/Berlin",
        "tomorrow evening",
    };
    (void)state;
    make_table(OID_TIMESTAMP, -1, false);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        BECOMES(ONEROW_TEXT, refused[i], NO_ZONE);
    }
    static const char no_moment[] = "! column \"c\" is a moment that the calendar does not have";
    BECOMES(ONEROW_TEXT, "2023-02-29T00:30:00+02:00", no_moment);
    BECOMES(ONEROW_TEXT, "2024-13-01T00:30:00+02:00", no_moment);
    BECOMES(ONEROW_TEXT, "2024-00-01T00:30:00+02:00", no_moment);
    BECOMES(ONEROW_TEXT, "2024-01-00T00:30:00+02:00", no_moment);
    BECOMES(ONEROW_TEXT, "2024-01-01T24:00:01+02:00", no_moment);
    BECOMES(ONEROW_TEXT, "2024-01-01T24:01:00+02:00", no_moment);
    BECOMES(ONEROW_NUMBER, "1704067200", "! column \"c\" is a number; its type is the type");
    make_table(OID_TIMESTAMPTZ, -1, false);
    BECOMES(ONEROW_TEXT, "2024-01-01 00:30 Europe/Berlin", "2024-01-01 00:30 Europe/Berlin");
}

static void days_and_times_hold_nothing_else(void **state)
{
    static const char *const days[] = {"2024-02-29",
                                       "2024-02-29T00:00:00",
                                       "2024-02-29T00:00:00.000Z",
                                       "2024-02-29 00:00:00+00",
                                       "0044-03-15 BC",
                                       "-infinity",
                                       "today",
                                       "29 Feb 2024",
                                       "2/29/2024",
                                       "Thu Feb 29, 2024 AD",
                                       "J2460370",
                                       "20240229 BC",
                                       "20240229"};
    static const char *const no_days[] = {
        "2024-02-29T00:00:01", "2024-02-29T00:00:00+02:00", "2024-02-29T24:00:00Z",
        "29 Feb 2024 12 AM",   "29 Feb 2024 00:00",         "20240229 003000",
        "2024-02-29 CET",      "20240229T003000",           "today 0030",
        "J2460370 0030",       "29-Feb-2024 003000",        "29 Feb 2024 0030",
        "2/29/2024 0030 AD",   "20240229 0030 Thu",         "2024-02-29 Asia/Tokyo",
        "2024-02-29 +02"};
    static const char *const times[] = {"12:00",     "12:00:00.5", " 12:00:00Z", "12:00:00+00:00",
                                        "1200",      "040506",     "12:30 pm",   "12 PM",
                                        "T12:00:00", "now",        "allballs"};
    static const char *const no_times[] = {
        "12:00:00+02",          "12:00:00-02:00",    "12:00 CET",     "2024-02-29 12:00:00",
        "2024-02-29T12:00:00Z", "29 Feb 2024 12:00", "20240229 1200", "1/8/2024 12:00"};
    (void)state;
    make_table(OID_DATE, -1, false);
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        BECOMES(ONEROW_TEXT, days[i], days[i]);
    }
    for (size_t i = 0; i < sizeof no_days / sizeof *no_days; i++) {
        BECOMES(ONEROW_TEXT, no_days[i],
                "! column \"c\" has more than a day (a time of day, a zone or a word that is not "
                "known), which the type does not hold; give it as YYYY-MM-DD");
    }
    make_table(OID_TIME, -1, false);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        BECOMES(ONEROW_TEXT, times[i], times[i]);
    }
    for (size_t i = 0; i < sizeof no_times / sizeof *no_times; i++) {
        BECOMES(ONEROW_TEXT, no_times[i],
                "! column \"c\" has more than a time of day (a day, a zone or a word that is not "
                "known), which the type does not hold; give it as HH:MM:SS");
    }
}

static void ranges_have_bounds_in_utc(void **state)
{
    (void)state;
    make_table(OID_TSRANGE, -1, false);
    column.typtype = 'r';
    BECOMES(ONEROW_TEXT, "[2024-01-01 00:30,\"2024-01-02 00:00:00Z\")",
            "[2024-01-01 00:30,\"2024-01-02 00:00:00Z\")");
    BECOMES(ONEROW_TEXT, "empty", "empty");
    BECOMES(ONEROW_TEXT, "(-infinity,)", "(-infinity,)");
    BECOMES(ONEROW_TEXT, "[,\"2024-01-02 00:00:00+02\"]",
            "! column \"c\" has a bound in another time zone than UTC, which the type does not "
            "hold; give the bounds in UTC");
    BECOMES(ONEROW_TEXT, "[,\"2024-01-02 00:00 CET\"]", NO_ZONE);
    BECOMES(ONEROW_TEXT, "[2024-01-02 00:00:00\\+02,]", NO_ZONE);
    BECOMES(ONEROW_JSON, "{}",
            "! column \"c\" is a JSON object; give it in PostgreSQL's text form of the type");
    make_table(OID_DATERANGE, -1, false);
    BECOMES(ONEROW_TEXT, "[2024-01-01,2024-01-02]", "[2024-01-01,2024-01-02]");
    BECOMES(ONEROW_TEXT, "[2024-01-01,\"2024-01-02 12:00\"]",
            "! column \"c\" has more than a day (a time of day, a zone or a word that is not "
            "known), which the type does not hold; give it as YYYY-MM-DD");
}

static void bit_strings_have_their_length(void **state)
{
    static const char no_bits[] =
        "! column \"c\" is no bit string; give 0 and 1, or x and hexadecimal digits";
    (void)state;
    make_table(OID_BIT, 4, false);
    BECOMES(ONEROW_TEXT, "0101", "0101");
    BECOMES(ONEROW_UNTYPED, "b0101", "b0101");
    BECOMES(ONEROW_TEXT, "XA", "XA");
    BECOMES(ONEROW_NUMBER, "1101", "1101");
    BECOMES(ONEROW_TEXT, "010", "! column \"c\" is a bit string of length 3, the column takes 4");
    BECOMES(ONEROW_TEXT, "x1f", "! column \"c\" is a bit string of length 8, the column takes 4");
    BECOMES(ONEROW_TEXT, "", "! column \"c\" is a bit string of length 0, the column takes 4");
    BECOMES(ONEROW_TEXT, "0121", no_bits);
    BECOMES(ONEROW_TEXT, "X'F'", no_bits);
    BECOMES(ONEROW_NUMBER, "1e3", no_bits);
    BECOMES(ONEROW_BOOL, "true", "! column \"c\" is true or false; its type is the type");
    make_table(OID_VARBIT, 4, false);
    BECOMES(ONEROW_TEXT, "", "");
    BECOMES(ONEROW_TEXT, "0101", "0101");
    BECOMES(ONEROW_TEXT, "01011",
            "! column \"c\" is a bit string of length 5, the column takes at most 4");
    make_table(OID_VARBIT, -1, false);
    BECOMES(ONEROW_TEXT, "xffffffffffffffffff", "xffffffffffffffffff");
    make_array(OID_BIT, 2);
    BECOMES(ONEROW_JSON, "[\"01\",null,11]", "{\"01\",NULL,11}");
    BECOMES(ONEROW_JSON, "[\"1\"]",
            "! an element of column \"c\" is a bit string of length 1, the column takes 2");
    BECOMES(ONEROW_TEXT, "{01,100}",
            "! an element of column \"c\" is a bit string of length 3, the column takes 2");
}

static void text_fits_its_column(void **state)
{
    (void)state;
    make_table(OID_TEXT, -1, false);
    BECOMES(ONEROW_TEXT, "", "");
    BECOMES(ONEROW_TEXT, "a \"b\" \\", "a \"b\" \\");
    BECOMES(ONEROW_NUMBER, "1e3", "1e3");
    BECOMES(ONEROW_BOOL, "true", "true");
    BECOMES(ONEROW_JSON, "{\"a\":[1]}", "{\"a\":[1]}");
    make_table(OID_VARCHAR, LENGTH(3), false);
    BECOMES(ONEROW_TEXT, "äöü", "äöü");
    BECOMES(ONEROW_TEXT, "äöü  ", "äöü  ");
    BECOMES(ONEROW_TEXT, "äöüß", "! column \"c\" is 4 characters long, the column takes 3");
    BECOMES(ONEROW_NUMBER, "1000", "! column \"c\" is 4 characters long, the column takes 3");
    make_table(OID_BPCHAR, LENGTH(3), true);
    BECOMES(ONEROW_TEXT, "ab ", "ab ");
    BECOMES(ONEROW_TEXT, "abc ", "! key column \"c\" is 4 characters long, the column takes 3");
    make_table(OID_NAME, -1, false);
    BECOMES(ONEROW_TEXT, "n", "n");
    BECOMES(ONEROW_TEXT, "0123456789012345678901234567890123456789012345678901234567890123",
            "! column \"c\" is 64 bytes long, its type (the type) takes 63");
    make_table(OID_CHAR, -1, false);
    BECOMES(ONEROW_TEXT, "ab", "! column \"c\" is 2 bytes long, its type (the type) takes 1");
    make_table(OID_BYTEA, -1, false);
    BECOMES(ONEROW_TEXT, "\\xff00", "\\xff00");
    BECOMES(ONEROW_NUMBER, "12",
            "! column \"c\" is a number; bytes are given as text in hexadecimal (\\x…)");
}

static void other_types_take_their_own_text(void **state)
{
    (void)state;
    make_table(OID_UUID, -1, false);
    BECOMES(ONEROW_TEXT, "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}",
            "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}");
    make_table(OID_OTHER, -1, false);
    column.typtype = 'c';
    BECOMES(ONEROW_TEXT, "(1,\"a b\")", "(1,\"a b\")");
    BECOMES(ONEROW_JSON, "{\"a\":1}",
            "! column \"c\" is a JSON object; give it in PostgreSQL's text form of the type");
}

static void json_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        make_table(i ? OID_JSONB : OID_JSON, -1, false);
        BECOMES(ONEROW_TEXT, "a \"b\"\n", "\"a \\\"b\\\"\\n\"");
        BECOMES(ONEROW_TEXT, "", "\"\"");
        BECOMES(ONEROW_UNTYPED, "{\"a\": 1}", "{\"a\": 1}");
        BECOMES(ONEROW_NUMBER, "1.50", "1.50");
        BECOMES(ONEROW_BOOL, "false", "false");
        BECOMES(ONEROW_JSON, "[1,null]", "[1,null]");
        BECOMES(ONEROW_NULL, NULL, "NULL");
    }
}

/* ---- arrays ---------------------------------------------------------------------------- */

static void arrays_become_literals(void **state)
{
    (void)state;
    make_array(OID_TEXT, -1);
    BECOMES(ONEROW_JSON, "[]", "{}");
    BECOMES(ONEROW_JSON, "[1,null,\"a b\",true]", "{1,NULL,\"a b\",true}");
    BECOMES(ONEROW_JSON, "[\"NULL\",\"\",\"q\\\"\\\\\",\"\\u00e9\\n\"]",
            "{\"NULL\",\"\",\"q\\\"\\\\\",\"é\n\"}");
    BECOMES(ONEROW_JSON, "[{\"a\":[1.50]}]", "{\"{\\\"a\\\":[1.50]}\"}");
    make_array(OID_INT4, -1);
    BECOMES(ONEROW_JSON, "[[1,2],[3,1e1]]", "{{1,2},{3,10}}");
    BECOMES(ONEROW_JSON, "[[[1],[null]]]", "{{{1},{NULL}}}");
    make_array(OID_BOX, -1);
    BECOMES(ONEROW_JSON, "[\"(1,1),(0,0)\",null]", "{\"(1,1),(0,0)\";NULL}");
    make_array(OID_BOOL, -1);
    BECOMES(ONEROW_JSON, "[true,0,\"off\"]", "{true,false,\"false\"}");
    make_array(OID_JSONB, -1);
    BECOMES(ONEROW_JSON, "[{\"a\":1},[1,[2]],\"x\",7,null]",
            "{\"{\\\"a\\\":1}\",\"[1,[2]]\",\"\\\"x\\\"\",7,NULL}");
}

static void literals_are_converted_by_element(void **state)
{
    static const char no_array[] =
        "! column \"c\" is text that is no array in PostgreSQL's form, {…}; its type is the type";
    (void)state;
    make_array(OID_TEXT, -1);
    BECOMES(ONEROW_TEXT, "{}", "{}");
    BECOMES(ONEROW_TEXT, "{ a b ,\"\",null,\"NULL\",\"q\\\"\\\\,}\"}",
            "{\"a b\",\"\",NULL,\"NULL\",\"q\\\"\\\\,}\"}");
    BECOMES(ONEROW_TEXT, "{a\\,b\\ ,\\NULL}", "{\"a,b \",\"NULL\"}");
    BECOMES(ONEROW_UNTYPED, "[0:1]={ {a} , {b} }", "[0:1]={{\"a\"},{\"b\"}}");
    BECOMES(ONEROW_TEXT, "{a,,b}", "{\"a\",,\"b\"}"); /* which the server refuses */
    BECOMES(ONEROW_TEXT, "{a}b", "{\"a\"}\"b\"");     /* likewise */
    BECOMES(ONEROW_TEXT, "a,b", no_array);
    BECOMES(ONEROW_TEXT, "", no_array);
    BECOMES(ONEROW_TEXT, "{\"a}",
            "! an element of column \"c\" is text that is no array in "
            "PostgreSQL's form, {…}; its type is the type");
    make_array(OID_INT4, -1);
    BECOMES(ONEROW_UNTYPED, "{1, 1e1}", "{\"1\",\"10\"}");
    BECOMES(ONEROW_TEXT, "{1.5}", "! an element of column \"c\" is 1.5, not a whole number");
    make_array(OID_JSONB, -1);
    BECOMES(ONEROW_TEXT, "{\"{\\\"a\\\":1}\"}", "{\"{\\\"a\\\":1}\"}");
    make_array(OID_BOX, -1);
    BECOMES(ONEROW_TEXT, "{(1,1),(0,0);NULL}", "{\"(1,1),(0,0)\";NULL}");
    make_array(OID_OTHER, -1);
    BECOMES(ONEROW_TEXT, "{a:b}", "{a:b}");
}

static void arrays_that_cannot_be_are_refused(void **state)
{
    (void)state;
    make_array(OID_INT4, -1);
    BECOMES(ONEROW_NUMBER, "1", "! column \"c\" is a number; its type is the type");
    BECOMES(ONEROW_JSON, "{}", "! column \"c\" is a JSON object; its type is the type");
    BECOMES(ONEROW_JSON, "[1.5]", "! an element of column \"c\" is 1.5, not a whole number");
    BECOMES(
        ONEROW_JSON, "[[]]",
        "! an element of column \"c\" is an empty array, which PostgreSQL's arrays cannot hold");
    static const char ragged[] =
        "! an element of column \"c\" is an array of another size than its "
        "neighbour; PostgreSQL's arrays are rectangular";
    static const char mixed[] = "! an element of column \"c\" is an array beside one that is none; "
                                "PostgreSQL's arrays are rectangular";
    BECOMES(ONEROW_JSON, "[[1,2],[3]]", ragged);
    BECOMES(ONEROW_JSON, "[[1],[]]", ragged);
    BECOMES(ONEROW_JSON, "[[1],null]", mixed);
    BECOMES(ONEROW_JSON, "[1,[1]]", mixed);
    BECOMES(ONEROW_JSON, "[[1],[[1]]]", mixed);
    BECOMES(ONEROW_JSON, "[[[[[[1]]]]]]", "{{{{{{1}}}}}}");
    BECOMES(ONEROW_JSON, "[[[[[[[1]]]]]]]",
            "! an element of column \"c\" is an array in arrays 6 deep, PostgreSQL's end there");
    make_array(OID_VARCHAR, LENGTH(2));
    BECOMES(ONEROW_JSON, "[\"ab\",\"abc\"]",
            "! an element of column \"c\" is 3 characters long, the column takes 2");
}

/* ---- binary arrays and keys --------------------------------------------------------------- */

static void text_arrays_have_the_wire_form(void **state)
{
    (void)state;
    static const unsigned char empty[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25};
    static const unsigned char three[] = {
        0, 0, 0, 1, 0, 0, 0, 1,   0,   0,    0,    25,   0,    0, 0, 3, 0,
        0, 0, 1, 0, 0, 0, 2, 'h', 'i', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    };
    struct onerow_span texts[] = {OR_SPAN("hi"), {0}, {"", 0}};
    struct or_buffer out;
    or_buffer_init(&out);
    or_postgres_text_array(&out, NULL, 0);
    assert_false(out.failed);
    assert_int_equal(out.len, sizeof empty);
    assert_memory_equal(out.data, empty, sizeof empty);
    or_buffer_clear(&out);
    or_postgres_text_array(&out, texts, 3);
    assert_int_equal(out.len, sizeof three);
    assert_memory_equal(out.data, three, sizeof three);
    or_buffer_clear(&out);
    or_postgres_text_array(&out, texts, 1);
    assert_int_equal(out.data[7], 0); /* no NULL among them */
    or_buffer_finish(&out);
}

static bool same(enum onerow_type type, const char *sent, const char *got)
{
    struct onerow_value value = {.data = sent,
                                 .len = (uint32_t)strlen(sent ? sent : ""),
                                 .kind = sent ? ONEROW_TEXT : ONEROW_NULL};
    return or_postgres_same_key(type, &value, or_span(got), !got);
}

static void a_key_that_came_back_is_known_again(void **state)
{
    (void)state;
    assert_true(same(ONEROW_TYPE_TEXT, "a", "a"));
    assert_true(same(ONEROW_TYPE_TEXT, "", ""));
    assert_false(same(ONEROW_TYPE_TEXT, "a", "A"));
    assert_false(same(ONEROW_TYPE_TEXT, "aZ", "a"));
    assert_true(same(ONEROW_TYPE_TEXT, NULL, NULL));
    assert_false(same(ONEROW_TYPE_TEXT, NULL, ""));
    assert_false(same(ONEROW_TYPE_TEXT, "", NULL));
    assert_true(same(ONEROW_TYPE_DECIMAL, "-0.5", "-0.5"));
    assert_false(same(ONEROW_TYPE_DECIMAL, "1", "NaN"));
    assert_true(same(ONEROW_TYPE_BOOL, "true", "true"));
    assert_true(same(ONEROW_TYPE_DATE, "0001-01-01", "0001-01-01"));
    assert_false(same(ONEROW_TYPE_DATE, "0001-01-01", "0001-01-01 BC"));
    assert_true(same(ONEROW_TYPE_TIMESTAMP, "2024-02-29T12:00:00.5Z", "2024-02-29T12:00:00.5"));
    assert_false(same(ONEROW_TYPE_TIMESTAMP, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.5"));
}

static const char *key_sql(Oid type)
{
    struct or_buffer sql;
    make_table(type, -1, true);
    or_buffer_init(&sql);
    or_postgres_key_sql(&sql, &table, 0, "t");
    const char *text = or_arena_copy(&arena, or_buffer_view(&sql)).data;
    or_buffer_finish(&sql);
    assert_non_null(text);
    return text;
}

static void keys_are_asked_for_in_canonical_form(void **state)
{
    (void)state;
    assert_string_equal(key_sql(OID_TEXT), "t.\"c\"::text");
    assert_string_equal(key_sql(OID_NUMERIC), "pg_catalog.trim_scale(t.\"c\")::text");
    assert_string_equal(key_sql(OID_DATE), "(pg_catalog.to_json(t.\"c\") #>> '{}')");
    assert_string_equal(key_sql(OID_TIMESTAMP), "(pg_catalog.to_json(t.\"c\") #>> '{}')");
    assert_string_equal(key_sql(OID_TIMESTAMPTZ),
                        "(pg_catalog.to_json(t.\"c\" AT TIME ZONE 'UTC') #>> '{}')");
}

static int set_up(void **state)
{
    (void)state;
    or_arena_init(&arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    or_arena_finish(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_plain_digits),
        cmocka_unit_test(integers_have_a_range),
        cmocka_unit_test(numerics_keep_what_they_are),
        cmocka_unit_test(truth_is_read_as_postgresql_does),
        cmocka_unit_test(a_key_keeps_its_fraction_of_a_second),
        cmocka_unit_test(offsets_are_taken_off),
        cmocka_unit_test(moments_without_zone_pass),
        cmocka_unit_test(other_zones_are_refused),
        cmocka_unit_test(days_and_times_hold_nothing_else),
        cmocka_unit_test(ranges_have_bounds_in_utc),
        cmocka_unit_test(bit_strings_have_their_length),
        cmocka_unit_test(text_fits_its_column),
        cmocka_unit_test(other_types_take_their_own_text),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(arrays_become_literals),
        cmocka_unit_test(literals_are_converted_by_element),
        cmocka_unit_test(arrays_that_cannot_be_are_refused),
        cmocka_unit_test(text_arrays_have_the_wire_form),
        cmocka_unit_test(a_key_that_came_back_is_known_again),
        cmocka_unit_test(keys_are_asked_for_in_canonical_form),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
