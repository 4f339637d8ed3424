/* SPDX-License-Identifier: Apache-2.0
 *
 * What all ledgers have in common, whatever they are kept in. See the top of ledger_rules.c.
 */
#ifndef OR_COORDINATOR_LEDGER_RULES_H
#define OR_COORDINATOR_LEDGER_RULES_H

#include "onerow/extend.h"

#define OR_LEDGER_ID 33U /* 32 hexadecimal digits and their NUL */

/* A ledger that was rolled back goes on this far above the numbers that it remembers. */
#define OR_LEDGER_LEAP ((uint64_t)1 << 40)

/* ---- swaps ----------------------------------------------------------------------------------- */

/* The duties of a caller of swap: a breach is a bug, and ends the program. */
void or_ledger_check(const struct onerow_ledger_swap *swaps, size_t n);
void or_ledger_check_name(enum onerow_ledger_kind kind, struct onerow_span name);
/* Whether a record with this revision and state meets the change's condition. */
bool or_ledger_holds(const struct onerow_ledger_change *change, uint64_t revision, uint8_t state);
/* What since_ms becomes. */
uint64_t or_ledger_stamp(const struct onerow_ledger_change *change, uint64_t since_ms,
                         uint64_t now_ms);
/* *now_ms becomes no less than a stamp that the call has read or written. */
void or_ledger_note_stamp(uint64_t *now_ms, uint64_t since_ms);
void or_ledger_undo(struct onerow_ledger_swap *swaps, size_t n);

/* ---- namespaces ------------------------------------------------------------------------------ */

/* What is stored of a namespace's standing, and of the ledger's. */
struct or_ledger_doubt {
    uint64_t epoch;     /* of the ledger: how often it was found to have been rolled back */
    uint64_t doubts;    /* of the namespace: how often a number proved it */
    uint64_t confirmed; /* the generation at the last confirm; 0 for a new namespace */
};

/* Rises with every reason for doubt: what was entered at another generation is not to be used. */
uint64_t or_ledger_generation(const struct or_ledger_doubt *doubt);
enum onerow_ledger_standing or_ledger_standing(const struct or_ledger_doubt *doubt);

/* The namespaces that one coordinator has entered, and at which generation. */
struct or_ledger_entries {
    struct or_ledger_entry *list; /* owned */
    size_t n;
    size_t room;
};

void or_ledger_entries_finish(struct or_ledger_entries *entries);
/* False: out of memory. */
ONEROW_CHECKED bool or_ledger_entered(struct or_ledger_entries *entries, uint64_t number,
                                      uint64_t generation);
/* The generation at which a namespace was entered; one that never was is a bug. */
uint64_t or_ledger_generation_of(const struct or_ledger_entries *entries, uint64_t number);

/* ---- messages, random and time --------------------------------------------------------------- */

enum onerow_status or_ledger_refuse_definition(struct onerow_span name, struct onerow_span made,
                                               struct onerow_span wanted,
                                               struct onerow_error *error);
enum onerow_status or_ledger_refuse_number(uint64_t number, struct onerow_error *error);
enum onerow_status or_ledger_out_of_numbers(struct onerow_error *error);
/* VANISHED: it became SUSPECT after it was entered. */
enum onerow_status or_ledger_changed(const char *where, struct onerow_error *error);

ONEROW_CHECKED bool or_ledger_make_id(char id[OR_LEDGER_ID]);
/* The clock of this machine, in ms since 1970. */
uint64_t or_ledger_wall_ms(void);

#endif
