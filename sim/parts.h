/* SPDX-License-Identifier: Apache-2.0
 *
 * What the simulator's parts offer one another. Each part is a file of that name.
 */
#ifndef SIM_PARTS_H
#define SIM_PARTS_H

#include "sim/world.h"

/* ---- sim.c */

/* Until nothing is planned any more, or something is wrong. */
void sim_run_events(struct sim_world *world);

/* ---- swarm.c: what is drawn for a schedule */

void sim_swarm_draw(struct sim_world *world);

/* ---- network.c: messages to the store and the ledger */

/* Sends the worker's command; it waits for the answer, or for its deadline. */
void sim_network_send(struct sim_world *world, unsigned worker);
void sim_network_arrive(struct sim_world *world, unsigned message);
void sim_network_reply(struct sim_world *world, unsigned message);
/* The ledger died: what it had not answered is lost, or its answer is. */
void sim_network_ledger_crash(struct sim_world *world, const struct sim_message *but);
/* Whether the sender has gone on without an answer. */
bool sim_network_is_late(const struct sim_world *world, const struct sim_message *message);

/* Whether what a worker asks for (enum or_do, enum sim_ask) is the ledger's. */
bool sim_network_to_ledger(unsigned what);

/* ---- faulty_store.c */

/* Does what a message asks for, fills its answer. */
void sim_store_take(struct sim_world *world, struct sim_message *message);
/* A new page; NULL: there is no room for one, which is a violation. */
struct sim_page *sim_store_add(struct sim_world *world, struct sim_rng *rng);
/* Must be called before a page changes: queries may go on to see what it was. */
/* After the page came to a key, or was written: records of its own key that it holds are in their
 * place. */
void sim_store_place(const struct sim_world *world, struct sim_page *page);
void sim_store_touch(struct sim_world *world, struct sim_page *page, struct sim_rng *rng);

/* ---- person.c: people who use the same store */

/* What they do as a message arrives, about its page or another one. */
void sim_person_act(struct sim_world *world, const struct sim_message *message);

/* ---- faulty_ledger.c */

void sim_ledger_take(struct sim_world *world, struct sim_message *message);
bool sim_ledger_swap(struct sim_world *world, unsigned key, const struct or_swap *swap);
struct or_page_record sim_ledger_page(const struct sim_world *world, unsigned page);
struct or_attempt_record sim_ledger_mark(const struct sim_world *world, struct or_nonce nonce);

/* ---- ledger_bytes.c */

/* Whether the swap's encoding means the same as the swap. */
bool sim_bytes_agree(const struct sim_world *world, unsigned key, const struct or_swap *swap,
                     bool holds);

/* ---- worker.c: the driver */

void sim_worker_start(struct sim_world *world, unsigned worker);
void sim_worker_wake(struct sim_world *world, unsigned worker);
void sim_worker_ask(struct sim_world *world, unsigned worker);
void sim_worker_check(struct sim_world *world, unsigned worker);
void sim_worker_send(struct sim_world *world, unsigned worker);
void sim_worker_answer(struct sim_world *world, unsigned worker, struct or_event *event);
void sim_worker_deadline(struct sim_world *world, unsigned worker);
/* Whether the worker stands still before it reads an answer that is there, and for how long. */
bool sim_worker_sleeps(struct sim_world *world, unsigned worker, uint64_t *delay);
/* Puts a job into the worker's hands and takes its first step. */
void sim_worker_begin(struct sim_world *world, unsigned worker, enum sim_job job);
/* An event for the worker at hand; those of an older epoch are none. */
void sim_worker_plan(struct sim_world *world, unsigned worker, enum sim_event_kind kind,
                     uint64_t delay);

/* ---- process.c */

void sim_process_begin(struct sim_world *world, unsigned process);
void sim_process_crash(struct sim_world *world, unsigned process);
struct onerow_span sim_process_take_spare(struct sim_world *world, unsigned process);
void sim_process_give_spare(struct sim_world *world, unsigned process, struct onerow_span spare);

/* ---- governor.c: permits to send to the store */

/* The process's own clock. */
uint64_t sim_process_us(const struct sim_world *world, unsigned process);
/* A process begins, with nothing behind it. */
void sim_governor_begin(struct sim_world *world, unsigned process);
/* A permit for one request to the store; or the worker must ask again after *delay. */
enum sim_permission sim_governor_ask(struct sim_world *world, unsigned worker, uint64_t *delay);
/* The worker does not use its permit after all. */
void sim_governor_unsent(struct sim_world *world, unsigned worker);
void sim_governor_sent(struct sim_world *world, unsigned worker);
/* The answer, or that none came in time. */
void sim_governor_tell(struct sim_world *world, unsigned worker, const struct or_event *event);
void sim_governor_silence(struct sim_world *world, unsigned worker);

/* ---- naive.c: protocols that are wrong */

void sim_naive_init(struct sim_naive *naive);
void sim_naive_step(struct sim_world *world, unsigned worker, const struct or_event *event,
                    struct or_command *command);

/* ---- janitor.c: the sweeper and the healer */

void sim_janitor_next(struct sim_world *world);
void sim_janitor_settled(struct sim_world *world);
/* The final phase begins. */
void sim_janitor_close(struct sim_world *world);

/* ---- notice.c: which places a step reached, and what the time table says of it */

struct sim_before { /* of an attempt's step */
    enum or_attempt_state state;
    enum or_key_state key;
    bool traced;
    uint64_t taken_version;
    /* of the swap that is answered: the step may have made another one of it */
    struct onerow_span page;
    struct or_nonce refused;
    enum or_key_state becomes;
};

struct sim_before sim_notice_before(const struct or_attempt *attempt);
void sim_notice_attempt(struct sim_world *world, unsigned worker, const struct sim_before *before,
                        const struct or_event *event);
void sim_notice_outcome(struct sim_world *world, const struct or_attempt *attempt,
                        const struct or_command *command);
void sim_notice_crash(struct sim_world *world, const struct sim_worker *worker);
/* Which pages carry which key now, in words. */
void sim_notice_violation(struct sim_world *world);
/* The answer to the worker's command, in words. */
void sim_notice_answer(struct sim_world *world, unsigned worker, const struct or_event *event);

/* ---- oracle.c: at every event; oracle_end.c: at rest */

void sim_oracle_page(struct sim_world *world, const struct sim_page *page);
/* onerow puts the page into the trash or takes its key away. */
void sim_oracle_taken_away(struct sim_world *world, const struct sim_page *page);
/* A page's record is about to change. */
void sim_oracle_page_record(struct sim_world *world, unsigned page, enum or_page_state becomes);
void sim_oracle_swapped(struct sim_world *world, unsigned key, const struct or_key_record *before,
                        const struct or_swap *swap);
void sim_oracle_send(struct sim_world *world, unsigned worker);
void sim_oracle_taken(struct sim_world *world, const struct or_attempt *attempt);
void sim_oracle_outcome(struct sim_world *world, unsigned record, enum onerow_outcome outcome,
                        enum or_reason reason, struct onerow_span page);
void sim_oracle_end(struct sim_world *world);

/* ---- oracle_pace.c: rate windows and the breaker */

void sim_oracle_begins(struct sim_world *world, unsigned process);
void sim_oracle_granted(struct sim_world *world, unsigned worker);
void sim_oracle_held(struct sim_world *world, unsigned worker, enum sim_permission permission);
void sim_oracle_permit_used(struct sim_world *world, unsigned worker);
void sim_oracle_unsent(struct sim_world *world, unsigned worker);
/* The answer to a request to the store; NULL: there is none. */
void sim_oracle_told(struct sim_world *world, unsigned worker, const struct or_event *event);

#endif
