/* SPDX-License-Identifier: Apache-2.0
 *
 * What has happened: counters as JSON and as a page, and the log of requests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

void or_nsim_note(struct or_nsim_event_log *log, uint64_t at_ms)
{
    log->at_ms[log->n++ % OR_NSIM_EVENTS_MAX] = at_ms;
}

static void show_time(struct or_buffer *out, uint64_t ms)
{
    char time[OR_NSIM_TIME];
    or_nsim_time_exact(ms, time);
    or_buffer_printf(out, "\"%s\"", time);
}

/* The latest ones, in their order. */
static void show_events(struct or_buffer *out, const char *name,
                        const struct or_nsim_event_log *log)
{
    uint64_t first = log->n > OR_NSIM_EVENTS_MAX ? log->n - OR_NSIM_EVENTS_MAX : 0;
    or_buffer_printf(out, "\"%s\":{\"count\":%llu,\"at\":[", name, (unsigned long long)log->n);
    for (uint64_t i = first; i < log->n; i++) {
        or_buffer_text(out, i > first ? "," : "");
        show_time(out, log->at_ms[i % OR_NSIM_EVENTS_MAX]);
    }
    or_buffer_text(out, "]}");
}

/* ---- limits -------------------------------------------------------------------------------- */

static void show_used(struct or_buffer *out, const struct or_nsim_used *used, bool more)
{
    or_buffer_text(out, more ? ",{\"from\":" : "{\"from\":");
    show_time(out, used->from_ms);
    or_buffer_printf(out, ",\"used\":%u}", used->used);
}

static void show_frame(struct or_buffer *out, const struct or_nsim_frame *frame)
{
    uint64_t first = frame->ended > OR_NSIM_PAST ? frame->ended - OR_NSIM_PAST : 0;
    or_buffer_printf(out, "{\"count\":%u,\"span_ms\":%llu,\"most\":%u,\"windows\":[",
                     frame->window.count, (unsigned long long)frame->window.span_ms, frame->most);
    for (uint64_t i = first; i < frame->ended; i++) {
        show_used(out, &frame->past[i % OR_NSIM_PAST], i > first);
    }
    if (frame->open) {
        show_used(out, &frame->now, frame->ended > first);
    }
    or_buffer_text(out, "]}");
}

static void show_meter(struct or_buffer *out, const struct or_nsim_meter *meter)
{
    or_buffer_printf(out, "\"requests\":%llu,\"refused\":%llu,\"limits\":[",
                     (unsigned long long)meter->requests, (unsigned long long)meter->refused);
    for (unsigned i = 0; i < meter->n; i++) {
        or_buffer_text(out, i ? "," : "");
        show_frame(out, &meter->frames[i]);
    }
    or_buffer_char(out, ']');
}

static void show_tokens(struct or_nsim *sim, struct or_buffer *out)
{
    struct or_nsim_token *token;
    struct or_nsim_token *next;
    size_t shown = 0;
    or_buffer_text(out, "\"tokens\":[");
    HASH_ITER(hh, sim->tokens, token, next)
    {
        or_buffer_printf(out, "%s{\"bot\":\"%s\",\"name\":", shown++ ? "," : "", token->bot);
        or_nsim_show_text(out, token->name);
        or_buffer_char(out, ',');
        show_meter(out, &token->meter);
        or_buffer_char(out, '}');
    }
    or_buffer_text(out, "],\"workspace\":{");
    show_meter(out, &sim->space);
    or_buffer_char(out, '}');
}

static void show_faults(struct or_nsim *sim, struct or_buffer *out)
{
    size_t shown = 0;
    or_buffer_text(out, "\"faults\":{");
    for (unsigned i = 0; i < OR_NSIM_FAULTS; i++) {
        const struct or_nsim_rate *rate = &sim->faults.rates[i];
        if (rate->rate > 0 || rate->struck) {
            or_buffer_printf(out, "%s\"%s\":{\"rate\":", shown++ ? "," : "",
                             or_nsim_faults[i].name);
            or_nsim_show_number(out, rate->rate);
            or_buffer_printf(out, ",\"struck\":%llu}", (unsigned long long)rate->struck);
        }
    }
    size_t waiting = 0;
    for (const struct or_nsim_order *order = sim->faults.orders; order; order = order->next) {
        waiting += order->times;
    }
    or_buffer_printf(out, "},\"faults_ordered\":%zu", waiting);
}

/* ---- keys ---------------------------------------------------------------------------------- */

struct sums {
    uint64_t live;  /* pages outside of the trash */
    uint64_t twins; /* keys with more than one of them now */
    uint64_t most;  /* of one key at one moment */
};

static struct sums sum_keys(const struct or_nsim_source *source)
{
    struct sums sums = {0};
    struct or_nsim_key *key;
    struct or_nsim_key *next;
    HASH_ITER(hh, source->keys, key, next)
    {
        sums.twins += key->live > 1;
        sums.most = key->most > sums.most ? key->most : sums.most;
    }
    for (size_t i = 0; i < source->n_rows; i++) {
        sums.live += !source->rows[i]->now->in_trash;
    }
    return sums;
}

static void show_key(struct or_buffer *out, const struct or_nsim_key *key)
{
    or_buffer_text(out, "{\"key\":");
    or_nsim_show_text(out, key->text);
    or_buffer_printf(out,
                     ",\"creates\":%llu,\"taken\":%llu,\"live\":%llu,\"most\":%llu,\"first_at\":",
                     (unsigned long long)key->creates, (unsigned long long)key->taken,
                     (unsigned long long)key->live, (unsigned long long)key->most);
    show_time(out, key->first_ms);
    or_buffer_text(out, ",\"most_at\":");
    show_time(out, key->most_ms);
    or_buffer_char(out, '}');
}

static void show_source_state(struct or_buffer *out, struct or_nsim_source *source, bool keys)
{
    struct sums sums = sum_keys(source);
    struct or_nsim_key *key;
    struct or_nsim_key *next;
    size_t shown = 0;
    or_buffer_printf(out, "{\"id\":\"%s\",\"name\":", source->o.id);
    or_nsim_show_text(out, source->name);
    or_buffer_text(out, ",\"key\":");
    const struct or_nsim_property *title = or_nsim_title_of(source);
    or_nsim_show_text(out, source->key_name ? source->key_name : title ? title->name : NULL);
    or_buffer_printf(out,
                     ",\"pages\":%zu,\"live\":%llu,\"keys\":%u,\"duplicates_now\":%llu,"
                     "\"duplicates_ever\":%llu,\"most_live_per_key\":%llu,\"by_key\":[",
                     source->n_rows, (unsigned long long)sums.live, HASH_COUNT(source->keys),
                     (unsigned long long)sums.twins, (unsigned long long)source->duplicated,
                     (unsigned long long)sums.most);
    HASH_ITER(hh, source->keys, key, next)
    {
        if (keys || key->most > 1) {
            or_buffer_text(out, shown++ ? "," : "");
            show_key(out, key);
        }
    }
    or_buffer_text(out, "]}");
}

static void show_sources(struct or_nsim *sim, bool keys, struct or_buffer *out)
{
    struct or_nsim_object *object;
    struct or_nsim_object *next;
    size_t shown = 0;
    or_buffer_text(out, "\"data_sources\":[");
    HASH_ITER(hh, sim->model.objects, object, next)
    {
        if (object->kind == OR_NSIM_SOURCE) {
            or_buffer_text(out, shown++ ? "," : "");
            show_source_state(out, (struct or_nsim_source *)object, keys);
        }
    }
    or_buffer_char(out, ']');
}

void or_nsim_show_state(struct or_nsim *sim, bool keys, struct or_buffer *out)
{
    size_t shown = 0;
    or_buffer_printf(out, "{\"seed\":%llu,\"clock\":{\"mode\":\"%s\",\"now\":",
                     (unsigned long long)sim->options.seed,
                     sim->options.virtual_clock ? "virtual" : "real");
    show_time(out, or_nsim_now(sim));
    or_buffer_printf(out,
                     ",\"now_ms\":%llu},\"root\":\"%s\",\"requests\":%llu,\"page_creates\":%llu,"
                     "\"by_status\":{",
                     (unsigned long long)or_nsim_now(sim), sim->root->o.id,
                     (unsigned long long)sim->requests, (unsigned long long)sim->creates);
    for (unsigned i = 0; i < 600; i++) {
        if (sim->by_status[i]) {
            or_buffer_text(out, shown++ ? "," : "");
            if (i) {
                or_buffer_printf(out, "\"%u", i);
            } else {
                or_buffer_text(out, "\"reset");
            }
            or_buffer_printf(out, "\":%llu", (unsigned long long)sim->by_status[i]);
        }
    }
    or_buffer_text(out, "},");
    show_events(out, "beyond_windows", &sim->beyond);
    or_buffer_char(out, ',');
    show_events(out, "inside_retry_after", &sim->inside);
    or_buffer_char(out, ',');
    show_events(out, "inside_retry_after_on_the_way", &sim->crossed);
    or_buffer_char(out, ',');
    show_tokens(sim, out);
    or_buffer_char(out, ',');
    show_faults(sim, out);
    or_buffer_char(out, ',');
    show_sources(sim, keys, out);
    or_buffer_char(out, '}');
}

/* ---- the page ------------------------------------------------------------------------------ */

static void html_text(struct or_buffer *out, const char *text)
{
    for (const char *at = text ? text : ""; *at; at++) {
        switch (*at) {
        case '<': or_buffer_text(out, "&lt;"); break;
        case '&': or_buffer_text(out, "&amp;"); break;
        default: or_buffer_char(out, *at); break;
        }
    }
}

static void html_source(struct or_buffer *out, struct or_nsim_source *source)
{
    struct sums sums = sum_keys(source);
    struct or_nsim_key *key;
    struct or_nsim_key *next;
    or_buffer_text(out, "<tr><td>");
    html_text(out, source->name);
    or_buffer_printf(out, "<td><code>%s</code><td>%llu<td>%u<td>%llu<td>%llu<td>", source->o.id,
                     (unsigned long long)sums.live, HASH_COUNT(source->keys),
                     (unsigned long long)sums.twins, (unsigned long long)source->duplicated);
    HASH_ITER(hh, source->keys, key, next)
    {
        if (key->most > 1) {
            html_text(out, key->text);
            or_buffer_printf(out, " (%llu, most %llu) ", (unsigned long long)key->live,
                             (unsigned long long)key->most);
        }
    }
}

void or_nsim_show_html(struct or_nsim *sim, struct or_buffer *out)
{
    char now[OR_NSIM_TIME];
    struct or_nsim_object *object;
    struct or_nsim_object *next;
    or_nsim_time_exact(or_nsim_now(sim), now);
    or_buffer_printf(
        out,
        "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>onerow notion-sim</title>\n"
        "<style>body{font:15px/1.5 system-ui;margin:2em}td,th{text-align:left;padding:0 1em 0 "
        "0}</style>\n<h1>onerow notion-sim</h1>\n<p>A simulator of the Notion API, seed %llu, %s "
        "clock, %s. <a href=/_sim/state>The whole state as JSON</a></p>\n<table>\n"
        "<tr><td>requests<td>%llu\n<tr><td>pages created<td>%llu\n"
        "<tr><td>calls beyond a window<td>%llu\n<tr><td>calls inside Retry-After<td>%llu\n"
        "</table>\n<h2>Data sources</h2>\n<table>\n<tr><th>name<th>id<th>live pages<th>keys"
        "<th>keys with twins now<th>ever<th>which\n",
        (unsigned long long)sim->options.seed, sim->options.virtual_clock ? "virtual" : "real", now,
        (unsigned long long)sim->requests, (unsigned long long)sim->creates,
        (unsigned long long)sim->beyond.n, (unsigned long long)sim->inside.n);
    HASH_ITER(hh, sim->model.objects, object, next)
    {
        if (object->kind == OR_NSIM_SOURCE) {
            html_source(out, (struct or_nsim_source *)object);
        }
    }
    or_buffer_text(out, "</table>\n</html>\n");
}

/* ---- the log ------------------------------------------------------------------------------- */

void or_nsim_write_log(const struct or_nsim_call *call)
{
    FILE *log = call->sim->options.log;
    struct or_buffer line;
    if (!log) {
        return;
    }
    or_buffer_init(&line);
    or_buffer_text(&line, "{\"time\":");
    show_time(&line, call->now_ms);
    or_buffer_printf(&line, ",\"request\":%llu,\"method\":\"%s\",\"path\":",
                     (unsigned long long)call->number, call->method_text);
    or_buffer_json(&line, call->path);
    or_buffer_text(&line, ",\"version\":");
    or_nsim_show_text(&line, call->version_text);
    or_buffer_text(&line, ",\"bot\":");
    or_nsim_show_text(&line, call->token ? call->token->bot : NULL);
    bool reset = call->ending == OR_NSIM_RESETS;
    or_buffer_printf(&line, ",\"status\":%u,\"code\":", reset ? 0 : call->status);
    or_nsim_show_text(&line, reset ? "reset" : call->code);
    or_buffer_text(&line, ",\"fault\":");
    or_nsim_show_text(&line, call->fault ? call->fault->name : NULL);
    or_buffer_printf(&line, ",\"saved\":%s,\"made\":", call->committed ? "true" : "false");
    or_nsim_show_text(&line, call->made[0] ? call->made : NULL);
    or_buffer_text(&line, ",\"key\":");
    or_nsim_show_text(&line, call->key);
    or_buffer_printf(&line, ",\"retry_after\":%llu,\"request_id\":\"%s\"}\n",
                     (unsigned long long)call->retry_after_s, call->request_id);
    if (!line.failed) {
        (void)fwrite(line.data, 1, line.len, log);
        (void)fflush(log);
    }
    or_buffer_finish(&line);
}
