/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases for people: who holds one, for how long, and what is said meanwhile.
 */
#ifndef OR_CLI_LEASE_SHOW_H
#define OR_CLI_LEASE_SHOW_H

#include "base/buffer.h"
#include "engine/lease_desk.h"

/* Says something on stderr, behind "onerow: ", unless that would have to wait for a reader: whoever
 * ends a command in time must not wait for one. */
__attribute__((format(printf, 1, 2))) void or_lease_say(const char *format, ...);

/* Appends "HOST pid N (COMMAND)", as far as the description says so; it is a JSON object, or
 * anything. Control characters become '?'. */
void or_lease_add_who(struct or_buffer *text, struct onerow_span who);
/* Appends text without control characters, which a terminal would obey. */
void or_lease_add_plain(struct or_buffer *text, struct onerow_span plain);
/* Appends it as a JSON value: the object that it is, or else a string. */
void or_lease_add_who_json(struct or_buffer *json, struct onerow_span who);

/* Appends what was taken away as a JSON object. */
void or_lease_add_forced_json(struct or_buffer *json, const struct onerow_lease_forced *forced);

/* Appends "4 m 12 s". */
void or_lease_add_span(struct or_buffer *text, uint64_t ms);
/* Appends "2026-11-27T03:25:00Z". */
void or_lease_add_time(struct or_buffer *text, uint64_t ms);

/* What is shown while a lease is waited for: one line that is written over, on a terminal; else one
 * line for all, if `verbose`. */
struct or_lease_line {
    const char *coordinator;
    struct onerow_span name;
    bool terminal;
    bool verbose;
    bool shown;
    uint64_t looked_ms;
    struct or_lease_desk *desk; /* owned; opened by the first look */
};

/* One's place in the queue, and what the holder's lease has left. */
void or_lease_line_show(struct or_lease_line *line, uint64_t place, uint64_t left_ms);
/* Takes it off the terminal, and lets go of what it needs. */
void or_lease_line_finish(struct or_lease_line *line);

#endif
