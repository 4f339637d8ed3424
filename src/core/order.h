/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of `newest(column)`: one rule for every store.
 */
#ifndef OR_CORE_ORDER_H
#define OR_CORE_ORDER_H

#include "onerow/extend.h"

/* Orders two values of an order column: NULL first; two numbers by value, exactly; two timestamps
 * or dates (text in RFC 3339's forms, any offset) by instant; otherwise text by bytes, and a
 * number before text. */
int or_order_compare(const struct onerow_value *a, const struct onerow_value *b);

#endif
