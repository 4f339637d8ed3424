#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plants wrong protocols, one at a time, and counts how many of them the simulator finds.

    sim/mutants.py [NAME…] [--schedules N] [--seed N] [--json FILE]

A mutant is one exact replacement of text in the core, or in the simulator's driver where a rule is
the driver's. It is compiled alone and linked in front of its archive into a command of its own
(build/mutants/NAME), which then simulates up to N schedules (100,000). Found means: one of the
violations that this mistake must lead to. The control is the core as it is, over the same schedules:
it must be clean, or nothing would be shown.

Prints a line for each mutant and the score. Exit code 1 when a mutant is not found, its text is no
longer there once, or the control is not clean.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("ONEROW_BUILD", "build"))
OUT = os.path.join(BUILD, "mutants")

# What a violation says about: the words of sim.h's SIM_VIOLATION_MAP.
KINDS = {
    "two live pages that were published by onerow carry one key": "two pages",
    "an acknowledged page is gone, and no third party took it": "lost",
    "a key was acknowledged with another id, and no third party took the first page": "other id",
    "an acknowledged record's page does not carry its key": "not there",
    "a page belongs to a key and is condemned": "condemned",
    "something was created after a look-up that failed": "blind create",
    "a request was sent inside Retry-After": "too soon",
    "the page does not hold what was acknowledged last": "values",
    "ledger and store do not agree at the end": "disagree",
    "a record has no outcome": "unsettled",
    "an outcome is not what happened": "false outcome",
    "the faults are over, and something goes on for ever": "endless",
    "two holders at once": "two holders",
    "a limit on memory or messages was exceeded": "bounds",
    "a page was taken out of the trash against the policy of deletions": "policy",
    "a process was granted more requests than a rate window allows": "window",
    "a request was granted inside its process's Retry-After": "blocked",
    "a request was granted past an open breaker, or beside its probe": "breaker",
    "a request was sent without a permit, or two on one": "permit",
    "a request was held up without a reason": "needless",
}


@dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str
    why: str           # it is wrong
    shows: tuple       # kinds of violation that it may show first
    protocol: str = "guarded"
    narrowed: tuple = ()  # further options of the command, where all faults together drown it


PLACE, WRITE, ATTEMPT = "src/core/attempt_place.c", "src/core/attempt_write.c", "src/core/attempt.c"
HEAL, SWEEP, PAGES = "src/core/heal.c", "src/core/sweep.c", "src/core/pages.c"
BOUNDS, RETRY = "src/core/bounds.c", "src/core/retry.c"
WINDOW, BREAKER = "src/core/window.c", "src/core/breaker.c"
GOVERNOR, WORKER = "sim/governor.c", "sim/worker.c"

MUTANTS = [
    # ---- looking and creating
    Mutant("error-read-as-absent", PLACE,
           "    if (event->answer != OR_ANSWER_OK) { /* a failed look-up is no absence */\n",
           "    if (event->answer == OR_ANSWER_FAILED) {\n"
           "        no_page(attempt, event, command);\n"
           "    } else if (event->answer != OR_ANSWER_OK) {\n",
           "a look-up that failed is taken for an absence", ("blind create",)),
    Mutant("keyed-post", PLACE,
           "    } else {\n        create(attempt, command);\n    }\n}\n",
           "    } else {\n        create(attempt, command);\n"
           "        command->what = OR_DO_CREATE_KEYED;\n"
           "        command->deadline_ms = UINT64_MAX;\n"
           "        command->payload = attempt->own;\n    }\n}\n",
           "the page is created with the key, before anything is bound",
           ("two pages", "lost", "blind create", "not there", "other id", "two holders")),
    Mutant("retry-after-ignored", RETRY,
           "*wait_ms = or_u64_add(retry_after_ms, jitter(limits, before, random));",
           "(void)retry_after_ms;\n    *wait_ms = jitter(limits, before, random);",
           "the store's Retry-After is not waited for", ("too soon",)),
    Mutant("retry-after-instead", RETRY,
           "*wait_ms = or_u64_add(retry_after_ms, jitter(limits, before, random));",
           "*wait_ms = retry_after_ms / 2 + jitter(limits, before, random) / 2;",
           "half of Retry-After is waited for, and half of a back-off", ("too soon",)),
    # ---- bind, unbind
    Mutant("blind-bind", PLACE,
           "    swap->page = attempt->blank;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n"
           "    swap->page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK);\n",
           "    swap->page = attempt->blank;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n"
           "    swap->page_states = UINT32_MAX;\n    swap->revision = ONEROW_LEDGER_ANY;\n",
           "BIND has no condition at all",
           ("two pages", "lost", "other id", "not there", "condemned", "false outcome", "values")),
    Mutant("bind-any-page", PLACE,
           "    swap->page = attempt->blank;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n"
           "    swap->page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK);\n",
           "    swap->page = attempt->blank;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n"
           "    swap->page_states = UINT32_MAX;\n",
           "BIND does not ask whether the page is still a blank",
           ("condemned", "lost", "not there", "two pages", "disagree")),
    Mutant("bind-any-key", PLACE,
           "    swap->page = attempt->blank;\n",
           "    swap->page = attempt->blank;\n    swap->revision = ONEROW_LEDGER_ANY;\n",
           "BIND does not ask whether the key is still absent",
           ("two pages", "lost", "other id", "not there", "false outcome")),
    Mutant("unbind-any-key", WRITE,
           "    swap->page = was.page;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n",
           "    swap->page = was.page;\n    swap->page_revision = ONEROW_LEDGER_ANY;\n"
           "    swap->revision = ONEROW_LEDGER_ANY;\n",
           "UNBIND does not ask whether the key still has that page",
           ("two pages", "lost", "other id", "not there", "disagree", "condemned", "values",
            "false outcome")),
    Mutant("unbind-without-condemn", WRITE,
           "    swap->page_becomes = OR_PAGE_CONDEMNED;\n",
           "    swap->page_becomes = OR_PAGE_BLANK;\n    attempt->blank = was.page;\n",
           "a page that was given up is taken for a blank, and bound again, and given up again",
           ("endless", "bounds", "two pages", "lost", "not there", "other id", "disagree",
            "false outcome")),
    Mutant("unbind-same-generation", WRITE,
           "        (struct or_key_record){.state = OR_KEY_ABSENT, .generation = was.generation + 1};\n",
           "        (struct or_key_record){.state = OR_KEY_ABSENT, .generation = was.generation};\n",
           "what was written onto a page that was given up counts for the next one",
           ("two pages", "lost", "other id", "not there", "false outcome", "values")),
    # ---- help
    Mutant("help-with-own-payload", WRITE,
           "    command->payload = &attempt->key.pending;\n",
           "    command->payload = attempt->own ? attempt->own : &attempt->key.pending;\n",
           "a helper writes its own payload in the name of the pending one",
           ("values", "false outcome", "other id")),
    Mutant("help-unmarked", WRITE,
           "    if (!own || !attempt->traced || event->now_ms >= until_ms) {\n",
           "    until_ms = own ? until_ms : UINT64_MAX;\n"
           "    if (own && (!attempt->traced || event->now_ms >= until_ms)) {\n",
           "a helper's write leaves no trace, so nobody waits for it", ("values",)),
    Mutant("helper-says-created", ATTEMPT,
           "    } else if (attempt->claimed && attempt->taken_version) {\n"
           "        or_attempt_settle(attempt, command,\n"
           "                          attempt->makes_the_row ? ONEROW_CREATED : ONEROW_UPDATED, OR_REASON_NONE);\n",
           "    } else if ((attempt->claimed && attempt->taken_version) || attempt->written.number) {\n"
           "        bool own = attempt->claimed && !attempt->makes_the_row;\n"
           "        or_attempt_settle(attempt, command, own ? ONEROW_UPDATED : ONEROW_CREATED, OR_REASON_NONE);\n",
           "a helper reports what the pending record did as its own outcome", ("false outcome",)),
    Mutant("refusal-helped-for-ever", WRITE,
           "    if (attempt->key.state == OR_KEY_WRITING) {\n        drop(attempt, command);\n",
           "    if (attempt->key.state == OR_KEY_WRITING) {\n"
           "        or_attempt_again(attempt, event, command, OR_RETRY_UNCERTAIN);\n",
           "a version that the store refuses for good is tried for ever",
           ("endless", "unsettled", "disagree", "bounds")),
    # ---- versions
    Mutant("no-wait", ATTEMPT,
           "        or_attempt_too_early(attempt, event, command, arrived, UINT64_MAX)) {\n"
           "        return;\n    }\n    if (is_out_of_date(attempt)) {\n",
           "        !arrived) {\n        return;\n    }\n    if (is_out_of_date(attempt)) {\n",
           "the next version does not wait for what may still arrive", ("values", "false outcome")),
    Mutant("wait-without-request", BOUNDS,
           "    return or_u64_add(bounds->pause, bounds->request);\n",
           "    return bounds->pause;\n",
           "the wait leaves the request's own time out", ("values", "false outcome", "endless")),
    Mutant("wait-without-pause", BOUNDS,
           "    return or_u64_add(bounds->pause, bounds->request);\n",
           "    return bounds->request;\n",
           "the wait leaves the writer's pause out", ("values", "false outcome", "endless")),
    Mutant("wait-without-life", BOUNDS,
           "    return or_u64_add(or_bounds_sent(bounds), bounds->life);\n",
           "    return or_bounds_sent(bounds);\n",
           "the wait leaves out how long a request lives on", ("values", "false outcome")),
    Mutant("pause-unchecked", WRITE,
           "or_u64_add(attempt->stamped_ms, attempt->options.bounds.pause / 2);",
           "UINT64_MAX;",
           "a write is sent however long ago it was announced", ("values", "false outcome", "endless")),
    Mutant("write-without-deadline", WRITE,
           "    command->deadline_ms = until_ms;\n", "",
           "a write is sent however long its permit took", ("values", "false outcome", "endless")),
    Mutant("mark-not-doubtful", WRITE,
           "    swap->becomes.doubtful = true;\n    swap->stamp = true;\n",
           "    swap->stamp = true;\n",
           "a second write is announced, but nobody is told to wait for the first", ("values",)),
    Mutant("mark-without-stamp", WRITE,
           "    swap->becomes.doubtful = true;\n    swap->stamp = true;\n",
           "    swap->becomes.doubtful = true;\n",
           "a second write counts as sent when the first one was", ("values", "false outcome", "endless")),
    Mutant("refused-version-certain", WRITE,
           "    swap->refused = swap->becomes.nonce;\n    swap->becomes.doubtful = true;\n",
           "    swap->refused = swap->becomes.nonce;\n    swap->becomes.doubtful = false;\n",
           "a refused payload that was accepted from another sender is forgotten", ("values",)),
    Mutant("writing-any-key", WRITE,
           "    swap->becomes.version++;\n    swap->becomes.doubtful = false; /* whatever",
           "    swap->becomes.version++;\n    swap->revision = ONEROW_LEDGER_ANY;\n"
           "    swap->becomes.doubtful = false; /* whatever",
           "a version is opened over whatever the ledger says by now",
           ("values", "false outcome", "two pages", "lost", "other id", "not there", "disagree",
            "condemned")),
    Mutant("done-any-key", WRITE,
           "    struct or_key_record *becomes = &or_attempt_new_swap(attempt, OR_KEY_DONE)->becomes;\n",
           "    struct or_key_record *becomes = &or_attempt_new_swap(attempt, OR_KEY_DONE)->becomes;\n"
           "    attempt->swap.revision = ONEROW_LEDGER_ANY;\n",
           "DONE does not ask whether the key is still bound to that page, at that version",
           ("values", "false outcome", "two pages", "lost", "other id", "not there", "disagree",
            "condemned")),
    Mutant("claim-by-version-only", ATTEMPT,
           "        if (attempt->key.generation != event->attempt.generation) { /* its page was given up … */\n",
           "        if (attempt->key.version < event->attempt.version) {\n",
           "a claim counts although its page was given up, because the version fits",
           ("false outcome", "other id", "not there", "lost")),
    Mutant("lost-swap-forgotten", ATTEMPT,
           "        or_attempt_read(attempt, command);\n    } else {\n        or_attempt_again(",
           "        or_attempt_read(attempt, command);\n    } else {\n"
           "        or_attempt_forget_claim(attempt);\n        or_attempt_again(",
           "a swap without an answer is taken for one that did not happen",
           ("false outcome", "two pages", "lost", "not there", "endless", "unsettled", "disagree")),
    # ---- acknowledging
    Mutant("early-acknowledgement", PLACE,
           "        attempt->blank = event->page;\n        bind(attempt, event, command);\n",
           "        attempt->key.page = event->page;\n"
           "        or_attempt_settle(attempt, command, ONEROW_CREATED, OR_REASON_NONE);\n",
           "created is told before the page is bound and published",
           ("not there", "false outcome", "lost")),
    Mutant("acknowledged-before-done", WRITE,
           "event->renamed;\n        or_attempt_finish(attempt, command);\n",
           "event->renamed;\n"
           "        if (or_attempt_owns_pending(attempt)) {\n"
           "            or_attempt_settle(attempt, command,\n"
           "                              attempt->makes_the_row ? ONEROW_CREATED : ONEROW_UPDATED,\n"
           "                              OR_REASON_NONE);\n"
           "            return;\n        }\n"
           "        or_attempt_finish(attempt, command);\n",
           "the store's answer is passed on without what the ledger says of it",
           ("false outcome", "values", "other id", "not there", "lost", "disagree")),
    Mutant("renamed-told-updated", ATTEMPT,
           "written ? !attempt->key.known : ",
           "!written && ",
           "values that were written onto a page with another key are told as written",
           ("false outcome", "not there")),
    Mutant("rename-kept-from-the-ledger", WRITE,
           "    becomes->known = !attempt->misplaced;\n",
           "    becomes->known = true;\n",
           "who saw another key on the page does not say so in the ledger",
           ("false outcome", "not there")),
    # ---- deletions
    Mutant("404-read-as-gone", WRITE,
           "    if (event->answer == OR_ANSWER_NOT_FOUND) {\n"
           "        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_GONE);\n"
           "    } else if (event->answer != OR_ANSWER_OK) {\n"
           "        or_attempt_again(attempt, event, command,\n",
           "    if (event->answer == OR_ANSWER_NOT_FOUND) {\n"
           "        unbind(attempt, command);\n"
           "    } else if (event->answer != OR_ANSWER_OK) {\n"
           "        or_attempt_again(attempt, event, command,\n",
           "a page that the store does not find is taken for deleted",
           ("two pages", "other id", "lost")),
    Mutant("policies-mixed", WRITE,
           "attempt->options.deletion == OR_DELETION_RECREATE",
           "(attempt->number & 1U)",
           "one worker recreates what another one restores or leaves buried",
           ("policy", "two pages", "other id", "lost", "condemned")),
    Mutant("patch-revives", WRITE,
           "    case OR_ANSWER_TRASHED: or_attempt_look(attempt, command); return;\n",
           "    case OR_ANSWER_TRASHED:\n"
           "        attempt->state = OR_ATTEMPT_RESTORING;\n"
           "        command->what = OR_DO_RESTORE;\n"
           "        command->page = attempt->key.page;\n        return;\n",
           "a write takes its page out of the trash, whatever the policy",
           ("policy", "two pages", "lost", "disagree", "other id", "endless", "condemned")),
    Mutant("tombstone-untrashed", WRITE,
           "    } else if (attempt->options.deletion == OR_DELETION_TOMBSTONE) {\n"
           "        bury(attempt, command);\n",
           "    } else if (attempt->options.deletion == OR_DELETION_TOMBSTONE && !attempt->own) {\n"
           "        bury(attempt, command);\n",
           "under tombstone a deleted page is taken out of the trash",
           ("policy", "two pages", "disagree", "endless", "false outcome")),
    Mutant("tombstone-same-generation", WRITE,
           "    swap->becomes.generation++; /* should", "    /* should",
           "what was pending when the page was deleted counts as written", ("false outcome",),
           narrowed=("--keys", "1", "--workers", "6",
                     "--faults", "trash,untrash,pause,ledger-lost-reply")),
    Mutant("trashed-written-again", ATTEMPT,
           "attempt->trashed.data && or_span_equal(attempt->trashed, attempt->key.page)",
           "attempt->trashed.len > SIZE_MAX / 2",
           "who was too late to give up a trashed page marks its next write, which makes others late",
           ("endless",), narrowed=("--keys", "1", "--workers", "8", "--faults", "trash")),
    # ---- adopting
    Mutant("condemned-counts", PAGES,
           "        if (records[i].state == OR_PAGE_CONDEMNED) {\n            continue;\n",
           "        if (records[i].state == OR_PAGE_CONDEMNED) {\n            choice.live++;\n"
           "            choice.taken = true;\n            continue;\n",
           "a page that is condemned keeps its key from ever being written",
           ("unsettled", "endless", "false outcome", "disagree")),
    Mutant("condemned-adopted", PAGES,
           "        if (records[i].state == OR_PAGE_CONDEMNED) {\n            continue;\n        }\n"
           "        choice.live++;\n        if (!may_adopt(key, name, &records[i])) {\n",
           "        choice.live++;\n"
           "        if (records[i].state != OR_PAGE_CONDEMNED && !may_adopt(key, name, &records[i])) {\n",
           "a page that is condemned is adopted", ("condemned", "lost", "two pages")),
    Mutant("adopt-another-keys", PAGES,
           "    return page->state == OR_PAGE_UNRECORDED || page->state == OR_PAGE_BLANK ||\n",
           "    return page->state != OR_PAGE_CONDEMNED ||\n",
           "a page that belongs to another key is adopted",
           ("condemned", "not there", "lost", "disagree", "other id", "values", "two pages")),
    Mutant("adopt-through-bound", PLACE,
           "    or_attempt_send_swap(attempt, command, OR_ATTEMPT_ADOPTING);\n",
           "    if (attempt->own) {\n"
           "        attempt->swap.becomes.state = OR_KEY_BOUND;\n"
           "        attempt->swap.becomes.nonce = (struct or_nonce){attempt->number, ++attempt->step};\n"
           "        attempt->swap.becomes.pending = *attempt->own;\n"
           "        attempt->swap.stamp = true;\n    }\n"
           "    or_attempt_send_swap(attempt, command, OR_ATTEMPT_ADOPTING);\n",
           "a page that was there is bound and published over, instead of adopted as it is",
           ("false outcome", "values", "two pages", "other id", "not there")),
    # ---- sweeper, healer
    Mutant("sweeper-without-condemn", SWEEP,
           "    case OR_PAGE_BLANK: condemn(sweep, command); return;\n",
           "    case OR_PAGE_BLANK: trash(sweep, command); return;\n",
           "a blank is trashed while its maker may still bind it",
           ("lost", "two pages", "not there", "other id", "endless", "disagree")),
    Mutant("sweeper-condemns-bound", SWEEP,
           "    case OR_PAGE_BOUND: settle(sweep, command, false); return;\n",
           "    case OR_PAGE_BOUND: trash(sweep, command); return;\n",
           "the sweeper trashes what belongs to a key", ("lost", "condemned")),
    Mutant("sweeper-late-condemn", SWEEP,
           ".page_revision = sweep->record.revision,\n"
           "                                   .page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK),\n",
           ".page_revision = ONEROW_LEDGER_ANY,\n"
           "                                   .page_states = UINT32_MAX,\n",
           "the sweeper condemns a page that was bound meanwhile", ("condemned", "lost")),
    Mutant("healer-without-condemn", HEAL,
           "            condemn(heal, &records[i], command);\n", "            dispose(heal, command);\n",
           "a twin is trashed while somebody may still adopt it",
           ("lost", "other id", "two pages", "not there", "endless", "disagree")),
    Mutant("healer-condemns-bound", HEAL,
           "        if (records[i].state == OR_PAGE_BOUND && !is_left_over(heal, &records[i])) {\n"
           "            heal->left++;\n            continue;\n        }\n",
           "        if (records[i].state == OR_PAGE_BOUND) {\n"
           "            dispose(heal, command);\n            return true;\n        }\n",
           "the healer throws away what belongs to a key", ("lost", "condemned", "disagree")),
    # ---- direct
    Mutant("direct-without-intent", PLACE,
           "        claim_intent(attempt, event, command);\n    } else if (attempt->blank.data) {\n",
           "        create(attempt, command);\n"
           "        command->what = OR_DO_CREATE_KEYED;\n"
           "        command->deadline_ms = UINT64_MAX;\n"
           "        command->payload = attempt->own;\n    } else if (attempt->blank.data) {\n",
           "the page is created without an intent in the ledger",
           ("two pages", "two holders", "blind create"), "direct"),
    Mutant("direct-without-settle", PLACE,
           "    } else if (!or_attempt_too_early(attempt, event, command, or_bounds_seen(bounds),\n"
           "                                     bounds->poll)) {\n",
           "    } else if (bounds) {\n",
           "an intent is taken over as soon as it is seen", ("two pages", "two holders"), "direct"),
    Mutant("direct-without-life", BOUNDS,
           "or_u64_add(or_u64_add(bounds->pause, bounds->life),",
           "or_u64_add(bounds->pause,",
           "S leaves out how long a request lives on", ("two pages", "two holders"), "direct"),
    Mutant("direct-without-lag", BOUNDS,
           "or_u64_add(bounds->lag, bounds->skew));",
           "bounds->skew);",
           "S leaves the index's lag out", ("two pages", "two holders"), "direct"),
    Mutant("direct-without-pause", BOUNDS,
           "or_u64_add(or_u64_add(bounds->pause, bounds->life),",
           "or_u64_add(bounds->life,",
           "S leaves the holder's pause out", ("two pages", "two holders"), "direct"),
    Mutant("direct-late-create", PLACE,
           "    if (or_u64_add(event->now_ms, bounds->request) > deadline) {\n",
           "    deadline = UINT64_MAX;\n    if (event->now_ms > deadline) {\n",
           "a create is sent however old its intent is", ("two pages", "two holders"), "direct"),
    Mutant("direct-blind-finish", PLACE,
           "    swap->page = attempt->made;\n",
           "    swap->page = attempt->made;\n    swap->revision = ONEROW_LEDGER_ANY;\n",
           "a created page becomes the key's although its intent is over",
           ("two pages", "two holders", "other id", "lost", "condemned", "disagree", "values",
            "false outcome"), "direct"),
    Mutant("direct-same-generation", PLACE,
           ".generation = was.generation + given_up,",
           ".generation = was.generation + (given_up && !was.revision),",
           "who gave its intent up too late takes the next holder's page for its own",
           ("false outcome", "other id"), "direct"),
    Mutant("direct-created-again", PLACE,
           "    attempt->create_sent = true;\n", "    attempt->create_sent = false;\n",
           "a create without an answer is sent again under the same intent",
           ("two pages", "two holders", "blind create"), "direct"),
    # ---- rate windows
    Mutant("window-restarts", WINDOW,
           "or_u64_add(last_ms, span_ms));",
           "(last_ms / window->span_ms + 1) * window->span_ms);",
           "a counter that begins anew every SPAN", ("window",)),
    Mutant("window-first-only", WINDOW,
           "i < windows->n; i++) {\n        const struct or_window *window = &windows->windows[i];\n",
           "i < windows->n && i < 1; i++) {\n"
           "        const struct or_window *window = &windows->windows[i];\n",
           "of several windows only the first one is looked at", ("window",)),
    Mutant("window-one-more", WINDOW,
           "windows->held + windows->reserved >= window->count",
           "windows->held + windows->reserved > window->count",
           "the first COUNT + 1 requests pass", ("window",)),
    Mutant("window-cut-times", WINDOW,
           "window->span_ms + 1, slack_ms);", "window->span_ms, slack_ms);",
           "times that were cut to milliseconds are taken for exact ones", ("window",)),
    Mutant("window-after-the-last", WINDOW,
           "grant(windows, window->count - windows->reserved);", "grant(windows, 1);",
           "a full window is waited for from its last request on", ("needless",)),
    Mutant("window-nothing-back", WINDOW,
           "    if (windows->held) {\n", "    if (windows->held > OR_WINDOW_LOG) {\n",
           "a permit that is given back is lost", ("needless",)),
    Mutant("window-anything-back", GOVERNOR,
           "    if (worker->permit == governor->granted) {\n", "    if (worker->permit) {\n",
           "a permit is given back although another one was granted after it", ("window",)),
    Mutant("retry-after-for-one", GOVERNOR,
           "        or_windows_block(&governor->windows, now_ms + event->retry_after_ms + 1);\n", "",
           "Retry-After holds up only the worker that was told", ("blocked",)),
    Mutant("retry-after-cut-short", GOVERNOR,
           "now_ms + event->retry_after_ms + 1);", "now_ms + event->retry_after_ms * 9 / 10);",
           "the process waits for less than Retry-After", ("blocked",)),
    Mutant("retry-after-widened", WINDOW,
           "    if (until_ms > windows->blocked_until_ms) {\n", "    if (until_ms > 0) {\n",
           "a later Retry-After takes the place of a longer one", ("blocked",)),
    # ---- the breaker
    Mutant("breaker-at-the-share", BREAKER,
           "100 * breaker->sum > breaker->limits.percent", "100 * breaker->sum >= breaker->limits.percent",
           "it opens at the share, not above it", ("needless", "breaker")),
    Mutant("breaker-at-once", BREAKER,
           "    if (breaker->held >= breaker->limits.least &&\n        ", "    if (",
           "it opens before there are enough calls to speak of a share", ("needless",)),
    Mutant("breaker-all-at-once", BREAKER,
           "        breaker->state = OR_BREAKER_PROBING;\n", "        breaker->state = OR_BREAKER_CLOSED;\n",
           "after the cool time all go at once, and none goes ahead", ("breaker", "needless")),
    Mutant("breaker-uncooled", BREAKER,
           "    if (breaker->state == OR_BREAKER_OPEN && now_ms >= breaker->until_ms) {\n",
           "    if (breaker->state == OR_BREAKER_OPEN) {\n",
           "a probe goes before the cool time is over", ("breaker",)),
    Mutant("breaker-never-longer", BREAKER,
           "or_u64_add(breaker->cool_ms, breaker->cool_ms);", "breaker->cool_ms;",
           "after a probe that failed it is open for no longer than before", ("breaker",)),
    Mutant("breaker-ever-longer", BREAKER,
           "twice < breaker->limits.cool_max_ms ? twice : breaker->limits.cool_max_ms;", "twice;",
           "the cool time grows beyond its limit", ("needless",)),
    Mutant("breaker-waits-for-ever", BREAKER,
           "    if (breaker->probe_out && now_ms >= breaker->until_ms) {\n",
           "    if (breaker->probe_out && breaker->until_ms == UINT64_MAX) {\n",
           "a probe that is lost holds everybody up", ("needless", "endless", "breaker")),
    Mutant("breaker-any-probe", BREAKER,
           "breaker->probe_out && breaker->probe == probe;", "breaker->probe_out && probe;",
           "the answer to a lost probe speaks for the next one", ("breaker", "needless")),
    Mutant("breaker-any-result", BREAKER,
           "    if (result == OR_BREAKER_CONFLICT) {\n        open_it(breaker, now_ms);\n"
           "        return;\n    }\n",
           "",
           "a probe that met a conflict closes it", ("breaker",)),
    Mutant("breaker-forgets-nothing", BREAKER,
           "    breaker->cool_ms = breaker->limits.cool_ms;\n    forget_calls(breaker);\n",
           "    breaker->cool_ms = breaker->limits.cool_ms;\n",
           "conflicts from before it opened count after a probe closed it", ("needless",)),
    Mutant("breaker-untold", GOVERNOR,
           "bool conflict = event->answer == OR_ANSWER_CONFLICT;",
           "bool conflict = event->answer == OR_ANSWER_UNCERTAIN;",
           "conflicts are not counted", ("breaker", "needless")),
    Mutant("breaker-unasked", GOVERNOR,
           "or_breaker_ask(&governor->breaker, now_ms, &until_ms);", "OR_BREAKER_GO;",
           "nobody asks the breaker", ("breaker",)),
    Mutant("breaker-probe-kept", GOVERNOR,
           "        or_breaker_give_back(&governor->breaker, worker->probe, now_ms);\n",
           "        (void)now_ms;\n        (void)governor;\n",
           "a probe that is not sent holds everybody up until it is lost", ("needless",)),
    # ---- permits
    Mutant("permit-not-for-looks", WORKER,
           "    return !sim_network_to_ledger(command->what) ||\n",
           "    return (!sim_network_to_ledger(command->what) && command->what != OR_DO_PROBE) ||\n",
           "queries are sent without a permit", ("permit",)),
    Mutant("permit-for-two", GOVERNOR,
           "    worker->calls = worker->permit != 0;\n    worker->permit = 0;\n",
           "    worker->calls = worker->permit != 0;\n",
           "a permit is used again", ("permit",)),
]


# ---- building ----------------------------------------------------------------------------------


def compile_commands():
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        return {os.path.realpath(os.path.join(entry["directory"], entry["file"])): entry["command"]
                for entry in json.load(file)}


def link_command():
    answer = subprocess.run(["ninja", "-C", BUILD, "-t", "commands", "onerow"],
                            capture_output=True, text=True, check=True)
    return [line for line in answer.stdout.splitlines() if re.search(r" -o onerow\b", line)][-1]


def run_in_build(command):
    answer = subprocess.run(command, cwd=BUILD, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{answer.stderr}")


def mutated(mutant):
    with open(os.path.join(ROOT, mutant.file), encoding="utf-8") as file:
        text = file.read()
    if text.count(mutant.old) != 1:
        raise RuntimeError(f"its text is in {mutant.file} {text.count(mutant.old)} times, not once:"
                           f"\n{mutant.old}")
    return text.replace(mutant.old, mutant.new)


def build(mutant, compiling, linking):
    """The path of a command whose core has the mutant in it."""
    stem = os.path.join(OUT, mutant.name)
    with open(stem + ".c", "w", encoding="utf-8") as file:
        file.write(mutated(mutant))
    words = shlex.split(compiling[os.path.join(ROOT, mutant.file)])
    words = [word for word in words if not word.startswith("-W")]
    for option, value in (("-o", stem + ".o"), ("-MF", stem + ".d"), ("-c", stem + ".c")):
        words[words.index(option) + 1] = value
    run_in_build(words)
    words = shlex.split(linking)
    words[words.index("-o") + 1] = stem
    words.insert(words.index("-o") + 2, stem + ".o")  # before the archive, whose file stays out
    run_in_build(words)
    return stem


# ---- running -----------------------------------------------------------------------------------


def simulate(command, protocol, options, narrowed=()):
    begun = time.monotonic()
    answer = subprocess.run([command, "simulate", "--protocol", protocol, "--json", *narrowed,
                             "--schedules", str(options.schedules), "--seed", str(options.seed)],
                            capture_output=True, text=True, timeout=900)
    if answer.returncode not in (0, 1):
        raise RuntimeError(f"exit code {answer.returncode}: {answer.stderr.strip()}")
    told = json.loads(answer.stdout)
    told["seconds"] = time.monotonic() - begun
    return told


def shown(told):
    if told["failure"] == "violation":
        return KINDS[told["violation"]]
    return "nothing" if told["failure"] == "none" else told["failure"]


def run(mutant, compiling, linking, options):
    result = {"name": mutant.name, "protocol": mutant.protocol, "why": mutant.why, "found": False}
    try:
        told = simulate(build(mutant, compiling, linking), mutant.protocol, options,
                        mutant.narrowed)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {**result, "shows": str(error), "schedules": 0}
    kind = shown(told)
    return {**result, "shows": kind, "found": kind in mutant.shows, "schedules": told["schedules"],
            "replay": told.get("replay")}


def controls(options, protocols):
    """The core as it is, over the same schedules."""
    clean = {}
    for protocol in protocols:
        told = simulate(os.path.join(BUILD, "onerow"), protocol, options)
        clean[protocol] = told["failure"] == "none"
        print(f"control: {protocol}, unchanged: {told['schedules']} schedules, "
              f"{shown(told)} violated", flush=True)
    return clean


def tell(result):
    mark = "found" if result["found"] else "NOT FOUND"
    print(f"{mark:9}  {result['name']:31} {result['protocol']:8} {result['schedules']:>7}  "
          f"{result['shows']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these mutants")
    parser.add_argument("--schedules", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="write the results into this file")
    options = parser.parse_args()
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    os.makedirs(OUT, exist_ok=True)
    compiling, linking = compile_commands(), link_command()
    clean = controls(options, sorted({mutant.protocol for mutant in chosen}))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = []
        for result in pool.map(lambda mutant: run(mutant, compiling, linking, options), chosen):
            tell(result)
            results.append(result)
    found = sum(result["found"] for result in results)
    print(f"{found} of {len(results)} found")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"schedules": options.schedules, "seed": options.seed, "controls": clean,
                       "mutants": results}, file, indent=1)
    return 0 if found == len(results) and all(clean.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
