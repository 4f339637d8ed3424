# SPDX-License-Identifier: Apache-2.0
"""Eight processes of `onerow put` write one input into one data source, over a simulator that goes
wrong in every way that leaves a writer in doubt. Two of them are killed, one stands still for longer
than every time-out. What is there is counted from outside, with the official JavaScript client.

The simulator's clock is ten minutes behind, so that to a healer every blank looks as if its maker
had left it behind: those that are about to be bound, too.

The negative control does what incident AREAS did, under the same faults, and makes duplicates.
"""
import json
import multiprocessing
import os
import signal
import time

import harness
import postgres
from notion import node, title
from notion_areas import Areas

FAULTS = "409=10%,503-after=2.5%,503-after-id=2.5%,reset-after=2%,query-failed=5%"
SIM = ("--lag", "1000", "--behind", "600000")
PROCESSES = 8
BOUNDS = ("{ pause: 2s, request: 3s, life: 500ms, lag: 1s, skew: 10ms, guard: 10ms, lease: 4s, "
          "poll: 100ms }")
STILL_S = 7  # longer than all of them: by then everybody has given the writer up
STATES = ("Not started", "In progress", "Done")


def make_records(t, keys, versions):
    """Some of the keys come once, the others several times; the last one of each is to stay."""
    records = []
    for i in range(versions):
        for k in range(keys):
            if i == 0 or t.random.random() < 0.7:
                records.append({"Name": f"n{k}", "Rank": k * 100 + i, "Text": f"text {k} " * (i + 1),
                                "Kind": f"kind {k % 5}", "State": STATES[(k + i) % 3]})
    return records


def writers(t, file, n):
    """Half of them write small batches."""
    return [t.start("put", "areas", file, "--results", f"R{p}", "--batch", str(70 if p % 2 else 200),
                    stdout=open(t.path(f"out{p}"), "wb"), stderr=open(t.path(f"err{p}"), "wb"))
            for p in range(n)]


def acknowledged(t, names):
    """(key, id) of every result line that promises something."""
    seen = set()
    for name in names:
        if os.path.exists(t.path(name)):
            seen |= {(line["key"]["Name"], line["id"]) for line in t.results(name)
                     if line["outcome"] in harness.ACKNOWLEDGED}
    return seen


def one_each(areas):
    """At every moment until now: the simulator has counted at each of its steps."""
    state = areas.state()
    assert state["duplicates_ever"] == 0 and state["most_live_per_key"] == 1, state
    return state


def hold_still(t, process):
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + STILL_S
    t.wait_until(lambda: time.monotonic() > end, what="its time to be over")
    process.send_signal(signal.SIGCONT)


def disturb(t, areas, running, healed):
    """Two are killed while they make pages, one stands still; meanwhile somebody heals."""
    creates = lambda n: areas.sim.state(keys=False)["page_creates"] >= n
    t.wait_until(lambda: creates(5), what="five pages")
    running[1].kill()
    t.wait_until(lambda: creates(30), what="thirty pages")
    running[2].kill()
    healer = t.start("heal", "areas", "--json") if healed else None
    hold_still(t, running[3])
    if healer:
        answer = t.finish(healer, timeout=400)
        assert answer.code in (0, 1), answer


def count(t, areas, records, names):
    """From outside: one live page for each key with the input's last values, nothing else but
    blanks, and every id that was promised. How many blanks there are."""
    areas.sim.advance(2000)  # queries lag no more behind
    promised = acknowledged(t, names)
    t.write("ids.json", json.dumps(sorted({page for _, page in promised})))
    seen = node(t, "notion_pages.mjs", areas.sim.url, areas.source, t.path("ids.json"))
    blanks = [page for page in seen["live"] if page["Name"].startswith("onerow:blank:")]
    pages = {page["Name"]: page for page in seen["live"] if page not in blanks}
    assert len(pages) + len(blanks) == len(seen["live"]), "a key twice"
    wanted = {record["Name"]: record for record in records}
    assert pages.keys() == wanted.keys(), sorted(pages.keys() ^ wanted.keys())
    for name, record in wanted.items():
        assert {column: pages[name][column] for column in record} == record, (pages[name], record)
    for name, page in promised:
        assert seen["asked"][page]["Name"] == name and not seen["asked"][page]["in_trash"], (
            name, page, seen["asked"][page])
        assert pages[name]["id"] == page, (name, page, pages[name])
    return len(blanks)


def race(t, ledger, keys, versions, healed):
    areas = Areas(t, *SIM, ledger=ledger, bounds=BOUNDS, seed=t.random.randrange(1 << 30))
    _, naive = areas.sim.data_source(title="Naive")
    records = make_records(t, keys, versions)
    file = t.ndjson("in.ndjson", records)
    areas.sim.control("faults", {"rates": FAULTS})
    running = writers(t, file, PROCESSES)
    disturb(t, areas, running, healed)
    codes = [process.wait(400) for process in running]
    assert [code for p, code in enumerate(codes) if p not in (1, 2)] == [0] * (PROCESSES - 2), (
        codes, [open(t.path(f"err{p}")).read() for p in range(PROCESSES)])
    assert codes[1] == codes[2] == -signal.SIGKILL, codes
    areas.sim.control("faults", {"clear": True})
    # What the dead ones were to write is written by whoever runs again.
    again = t.onerow("put", "areas", file, "--results", "again", timeout=400)
    assert again.code == 0 and again.balance["rejected"] == 0, again
    names = [f"R{p}" for p in range(PROCESSES)] + ["again"]
    one_each(areas)
    blanks = count(t, areas, records, names)
    answer = t.onerow("heal", "areas", "--json", timeout=400)
    assert json.loads(answer.out)["swept"] == blanks, (answer, blanks)
    assert count(t, areas, records, names) == 0
    one_each(areas)
    return areas, naive


# ---- incident AREAS ---------------------------------------------------------------------------------

def check_then_create(sim, source, records, start):
    """Look; a look-up that failed counts as "not there"; create what is not there."""
    client = sim.client()
    start.wait()
    for record in records:
        try:
            found = client.data_sources.query(data_source_id=source, filter={
                "property": "Name", "title": {"equals": record["Name"]}})["results"]
        except Exception:  # pylint: disable=broad-except
            found = []
        try:
            if not found:
                client.pages.create(parent={"type": "data_source_id", "data_source_id": source},
                                    properties={"Name": title(record["Name"])})
        except Exception:  # pylint: disable=broad-except
            pass


def control(areas, source):
    areas.sim.control("faults", {"rates": FAULTS})
    records = [{"Name": f"n{k}"} for k in range(20)]
    start = multiprocessing.Barrier(PROCESSES)
    naive = [multiprocessing.Process(target=check_then_create,
                                     args=(areas.sim, source, records, start))
             for _ in range(PROCESSES)]
    for process in naive:
        process.start()
    for process in naive:
        process.join(120)
        assert process.exitcode == 0, process
    state = areas.sim.source_state(source)
    assert state["duplicates_ever"] > 0 and state["most_live_per_key"] > 1, state


def test_race(t):
    areas, naive = race(t, "coordinator: sqlite:ledger.db", keys=110, versions=3, healed=True)
    control(areas, naive)


def test_race_over_postgres(t):
    url = postgres.shared().url(postgres.shared().database())
    race(t, f'coordinator: "{url}"', keys=50, versions=2, healed=False)


if __name__ == "__main__":
    harness.main()
