/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of an attempt share: attempt.c (what a read of the ledger leads to),
 * attempt_place.c (how a key comes to a page), attempt_write.c (how a page comes to its values).
 * Each function fills the next command.
 */
#ifndef OR_CORE_ATTEMPT_INTERNAL_H
#define OR_CORE_ATTEMPT_INTERNAL_H

#include "core/attempt.h"

/* ---- attempt.c */

void or_attempt_settle(struct or_attempt *attempt, struct or_command *command,
                       enum onerow_outcome outcome, enum or_reason reason);
/* Reads the key's record, and that of the claim's nonce. */
void or_attempt_read(struct or_attempt *attempt, struct or_command *command);
/* Reads after a while; gives up when the time allowed is over. */
void or_attempt_wait(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command, uint64_t ms);
/* Likewise after a failure: the retry rules say how long. */
void or_attempt_again(struct or_attempt *attempt, const struct or_event *event,
                      struct or_command *command, enum or_retry_class class);
/* Whether less than span_ms have passed since the key's `since`; waits then, at most most_ms. */
bool or_attempt_too_early(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command, uint64_t span_ms, uint64_t most_ms);
/* Takes a read's answer. False: the command is filled already. */
bool or_attempt_take_read(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command);
/* Goes on from the key's record. */
void or_attempt_decide(struct or_attempt *attempt, const struct or_event *event,
                       struct or_command *command);
/* The own claim is void: it did not happen and cannot, or what it wrote is given up. */
void or_attempt_forget_claim(struct or_attempt *attempt);
/* Whether the pending payload is the own one. */
bool or_attempt_owns_pending(const struct or_attempt *attempt);

/* A swap from the key's record as it is, to a state. */
struct or_swap *or_attempt_new_swap(struct or_attempt *attempt, enum or_key_state becomes);
/* Makes it the own claim: nonce, payload, stamp. */
void or_attempt_claim(struct or_attempt *attempt, const struct or_event *event, bool makes_the_row);
void or_attempt_send_swap(struct or_attempt *attempt, struct or_command *command,
                          enum or_attempt_state state);

/* ---- attempt_place.c */

void or_attempt_probe(struct or_attempt *attempt, struct or_command *command);
void or_attempt_after_probe(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command);
void or_attempt_after_vetting(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command);
void or_attempt_after_weighing(struct or_attempt *attempt, const struct or_event *event,
                               struct or_command *command);
void or_attempt_after_create(struct or_attempt *attempt, const struct or_event *event,
                             struct or_command *command);
void or_attempt_decide_intent(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command);
void or_attempt_after_keyed(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command);
void or_attempt_after_release(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command);

/* ---- attempt_write.c */

/* Sends the pending payload, or first leaves the trace that this takes. */
void or_attempt_patch(struct or_attempt *attempt, const struct or_event *event,
                      struct or_command *command);
void or_attempt_after_patch(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command);
/* The pending payload is written: DONE. */
void or_attempt_finish(struct or_attempt *attempt, struct or_command *command);
/* Makes the own payload the next version. */
void or_attempt_open(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command);
void or_attempt_after_drop(struct or_attempt *attempt, const struct or_event *event,
                           struct or_command *command);
/* Looks at the page itself. */
void or_attempt_look(struct or_attempt *attempt, struct or_command *command);
void or_attempt_after_look(struct or_attempt *attempt, const struct or_event *event,
                           struct or_command *command);
void or_attempt_after_deletion(struct or_attempt *attempt, const struct or_event *event,
                               struct or_command *command);
/* Takes the page out of the trash. */
void or_attempt_restore(struct or_attempt *attempt, struct or_command *command);
void or_attempt_after_restore(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command);

#endif
