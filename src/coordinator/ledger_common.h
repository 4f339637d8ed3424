/* SPDX-License-Identifier: Apache-2.0
 *
 * What every ledger says in the same words.
 */
#ifndef OR_COORDINATOR_LEDGER_COMMON_H
#define OR_COORDINATOR_LEDGER_COMMON_H

#include "onerow/extend.h"

/* CONFIG: the namespace was made with another definition; the error shows both. */
enum onerow_status or_ledger_other_definition(struct onerow_span name, struct onerow_span was,
                                              struct onerow_span is, struct onerow_error *error);

/* Why a namespace is SUSPECT after a number was seen that the ledger has never given out. */
extern const char or_ledger_seen_above[];

/* 32 hexadecimal digits from the system's randomness. False: there was none to be had. */
ONEROW_CHECKED bool or_ledger_random_id(char id[33]);

/* The wall clock, in ms since 1970. */
uint64_t or_ledger_wall_ms(void);

#endif
