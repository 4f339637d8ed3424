/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of `newest(column)`: one rule for every store.
 */
#ifndef OR_CORE_ORDER_H
#define OR_CORE_ORDER_H

#include "onerow/extend.h"

/* Orders two values of an order column: NULL first, then numbers (and text that holds one) by
 * value, exactly, then timestamps and dates (text in RFC 3339's forms, any offset) by instant, then
 * other text by bytes. */
int or_order_compare(const struct onerow_value *a, const struct onerow_value *b);

#endif
