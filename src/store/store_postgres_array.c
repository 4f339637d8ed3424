/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays as PostgreSQL's literals.
 *
 *     value in JSON      column             text
 *     [1, null, "a b"]   text[]             {1,NULL,"a b"}
 *     [[1, 2], [3]]      integer[]          refused: a PostgreSQL array is rectangular
 *     [{"a": 1}]         jsonb[]            {"{\"a\":1}"}
 *
 * An element of an array is converted as a value of a column of the element's type is, in
 * PostgreSQL's own form ({…}) as in JSON; arrays of types that are not built in pass in that
 * form as they are (their delimiter need not be a comma).
 */
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/text.h"
#include "store/store_postgres_value.h"

#define DIMENSIONS_MAX 6 /* of an array */

/* ---- from JSON --------------------------------------------------------------------------- */

struct array {
    struct or_postgres_conversion to; /* of its elements */
    struct or_buffer literal;
    size_t sizes[DIMENSIONS_MAX];
    size_t dimensions;
};

static bool holds_json(const struct array *array)
{
    return array->to.type == OR_OID_JSON || array->to.type == OR_OID_JSONB;
}

/* The sizes that an array shows along its first elements; the others must have the same. */
static bool measure(struct array *array, yyjson_val *value)
{
    while (yyjson_is_arr(value)) {
        if (array->dimensions == DIMENSIONS_MAX) {
            return or_postgres_refuse_value(&array->to,
                                            "is an array in arrays %d deep, PostgreSQL's end there",
                                            DIMENSIONS_MAX);
        }
        array->sizes[array->dimensions++] = yyjson_arr_size(value);
        if (array->dimensions > 1 && yyjson_arr_size(value) == 0) {
            return or_postgres_refuse_value(
                &array->to, "is an empty array, which PostgreSQL's arrays cannot hold");
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
    return value->data || or_postgres_value_no_memory(&array->to);
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
    bool made = element_value(array, element, &value, &owned) &&
                or_postgres_scalar_text(&array->to, &value, &text);
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
        return or_postgres_refuse_value(
            &array->to, "is an array of another size than its neighbour; PostgreSQL's "
                        "arrays are rectangular");
    }
    or_buffer_char(&array->literal, '{');
    yyjson_arr_foreach(value, at, n, element)
    {
        if (at) {
            or_buffer_char(&array->literal, array->to.type == OR_OID_BOX ? ';' : ',');
        }
        if (!holds_json(array) && yyjson_is_arr(element) == last) {
            return or_postgres_refuse_value(
                &array->to, "is an array beside one that is none; PostgreSQL's arrays "
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
    return text->data || or_postgres_value_no_memory(&array->to);
}

static bool json_array_text(struct array *array, struct onerow_span *text)
{
    yyjson_doc *doc = yyjson_read(text->data, text->len, YYJSON_READ_NUMBER_AS_RAW);
    if (!doc) {
        return or_postgres_value_no_memory(&array->to); /* what the input made is JSON */
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool made = measure(array, root) && add_array(array, root, 0) && finish_array(array, text);
    yyjson_doc_free(doc);
    return made;
}

/* ---- in PostgreSQL's own form ------------------------------------------------------------ */

static bool refuse_literal(const struct or_postgres_conversion *to)
{
    return or_postgres_refuse_value(
        to, "is text that is no array in PostgreSQL's form, {…}; its type is %s",
        or_postgres_declared(to));
}

/* Takes the text of an element, quoted or not; *plain: it is not, so that NULL is NULL. */
static bool take_element(struct onerow_span *text, char delimiter, struct or_buffer *out,
                         bool *plain)
{
    size_t solid = 0; /* without spaces behind it */
    bool quoted = or_postgres_take(text, "\"");
    *plain = !quoted;
    while (text->len) {
        char byte = text->data[0];
        if (quoted ? byte == '"' : byte == delimiter || byte == '{' || byte == '}' || byte == '"') {
            break;
        }
        bool escaped = byte == '\\' && text->len > 1;
        *plain &= !escaped;
        or_buffer_char(out, escaped ? text->data[1] : byte);
        or_postgres_skip(text, escaped ? 2 : 1);
        solid = quoted || escaped || !or_postgres_is_space(byte) ? out->len : solid;
    }
    out->len = solid;
    return quoted ? or_postgres_take(text, "\"") : solid > 0;
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
    if (!or_postgres_scalar_text(&array->to, &value, &text)) {
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
    bool copied = out.failed ? or_postgres_value_no_memory(&array->to)
                  : taken    ? convert_element(array, or_buffer_view(&out), plain)
                             : refuse_literal(&array->to);
    or_buffer_finish(&out);
    return copied;
}

/* Brackets, delimiters and what stands before the first bracket ([0:1]=) stay as they are; whether
 * they make an array is the server's to say. */
static bool literal_text(const struct or_postgres_conversion *to, struct array *array,
                         struct onerow_span *text)
{
    char delimiter = array->to.type == OR_OID_BOX ? ';' : ',';
    struct onerow_span rest = *text;
    const char *open = memchr(rest.data, '{', rest.len);
    if (!open) {
        return refuse_literal(to);
    }
    or_buffer_add(&array->literal, rest.data, (size_t)(open - rest.data));
    or_postgres_skip(&rest, (size_t)(open - rest.data));
    while (or_postgres_skip_spaces(&rest), rest.len) {
        char byte = rest.data[0];
        if (byte == '{' || byte == '}' || byte == delimiter) {
            or_buffer_char(&array->literal, byte);
            or_postgres_skip(&rest, 1);
        } else if (!copy_element(array, &rest, delimiter)) {
            return false;
        }
    }
    return finish_array(array, text);
}

bool or_postgres_array_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    struct array array = {.to = *to};
    array.to.element = true;
    array.to.type = to->table->columns[to->column].element_type;
    *text = or_postgres_span_of(value);
    if (or_postgres_is_text(value) && array.to.type >= OR_OID_FIRST_CREATED) {
        return true;
    }
    if (!or_postgres_is_text(value) && (value->kind != ONEROW_JSON || value->data[0] != '[')) {
        return or_postgres_refuse_kind(to, value);
    }
    or_buffer_init(&array.literal);
    bool made =
        or_postgres_is_text(value) ? literal_text(to, &array, text) : json_array_text(&array, text);
    or_buffer_finish(&array.literal);
    return made;
}
