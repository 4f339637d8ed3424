/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes: the column sets that records come in, each with its statements. A few are kept from one
 * batch to the next, so that their statements are written once; the one that was not used for
 * longest makes room.
 */
#include <stdlib.h>

#include "store/store_postgres_write.h"

static void forget_shape(struct or_postgres_shape *shape)
{
    for (unsigned i = 0; i < OR_SQL_KINDS; i++) {
        free(shape->sql[i]);
    }
    free(shape->columns);
    *shape = (struct or_postgres_shape){0};
}

void or_postgres_writer_free(struct or_postgres_writer *writer)
{
    for (unsigned i = 0; writer && i < writer->n_shapes; i++) {
        forget_shape(&writer->shapes[i]);
    }
    free(writer);
}

bool or_postgres_fits(const struct or_postgres_shape *shape, const struct onerow_record *record)
{
    if (shape->n != record->n_values) {
        return false;
    }
    for (unsigned i = 0; i < shape->n; i++) {
        if (shape->columns[i] != record->values[i].column) {
            return false;
        }
    }
    return true;
}

/* A column that a new row needs and the set lacks, or NULL. */
static const char *lacking(const struct or_postgres_table *table,
                           const struct onerow_record *record)
{
    for (size_t c = 0; c < table->base.n_columns; c++) {
        bool given = (int)c == table->touch;
        for (unsigned i = 0; i < record->n_values && !given; i++) {
            given = record->values[i].column == c;
        }
        if (!given && table->base.columns[c].required) {
            return table->base.columns[c].name;
        }
    }
    return NULL;
}

/* A free slot, or the one that was not used for longest. Slots in use by this batch are newer than
 * any other, and a batch with more than OR_POSTGRES_SHAPES sets is cut (see
 * store_postgres_apply.c). */
static struct or_postgres_shape *free_slot(struct or_postgres_writer *writer)
{
    if (writer->n_shapes < OR_POSTGRES_SHAPES) {
        return &writer->shapes[writer->n_shapes++];
    }
    struct or_postgres_shape *oldest = &writer->shapes[0];
    for (unsigned i = 1; i < OR_POSTGRES_SHAPES; i++) {
        oldest = writer->shapes[i].last_used < oldest->last_used ? &writer->shapes[i] : oldest;
    }
    forget_shape(oldest);
    return oldest;
}

struct or_postgres_shape *or_postgres_find_shape(struct or_postgres_writer *writer,
                                                 const struct onerow_record *record)
{
    for (unsigned i = 0; i < writer->n_shapes; i++) {
        if (or_postgres_fits(&writer->shapes[i], record)) {
            return &writer->shapes[i];
        }
    }
    return NULL;
}

struct or_postgres_shape *or_postgres_make_shape(struct or_postgres_table *table,
                                                 const struct onerow_record *record)
{
    uint16_t *columns = malloc((record->n_values + 1U) * sizeof *columns);
    if (!columns) {
        return NULL;
    }
    for (unsigned i = 0; i < record->n_values; i++) {
        columns[i] = record->values[i].column;
    }
    struct or_postgres_shape *shape = free_slot(table->writer);
    *shape = (struct or_postgres_shape){
        .columns = columns, .n = record->n_values, .lacks = lacking(table, record)};
    return shape;
}
