# SPDX-License-Identifier: Apache-2.0
"""`onerow put` and its relatives over a store of pages: the simulator of the Notion API."""
import json
import os
import signal

import harness
from notion_areas import TOKEN, Areas, put, rank, text

# ---- configuration -----------------------------------------------------------------------------

def test_without_a_ledger_nothing_is_written(t):
    areas = Areas(t, ledger="")
    for command in (("put", "areas"), ("ensure", "areas", "Name=HOME"), ("check",)):
        answer = t.onerow(*command, input='{"Name":"HOME"}\n')
        assert answer.code == 78, answer
        assert "coordinator: sqlite:onerow-ledger.db" in answer.err, answer
        assert "for writers on this host only" in answer.err, answer
    assert t.onerow("get", "areas", "Name=HOME").code == 1  # to look needs none
    assert t.onerow("audit", "areas").code == 0
    assert areas.state()["pages"] == 0
    answer = put(t, [{"Name": "HOME"}], "--coordinator", "sqlite:flag.db")
    assert answer.code == 0 and answer.balance["created"] == 1, answer
    answer = put(t, [{"Name": "X"}], "--coordinator", "memory:")
    assert answer.code == 78 and "forgotten when the process ends" in answer.err, answer


def test_check_says_what_is_promised_and_by_which_ledger(t):
    Areas(t)
    answer = t.onerow("check", "areas")
    assert answer.code == 0 and "at most one live page" in answer.out, answer
    assert "sqlite:ledger.db (an SQLite file, for the processes of this machine)" in answer.out
    line = json.loads(t.onerow("check", "areas", "--json").out)
    assert line["status"] == "OK" and line["ledger"].startswith("sqlite:ledger.db ("), line
    assert not os.path.exists(t.path("ledger.db"))  # it is only looked at


def test_another_protocol_is_refused_once_a_ledger_knows_one(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME"}]).code == 0
    areas.configure(table=", protocol: direct")
    answer = put(t, [{"Name": "HOME"}])
    assert answer.code == 78 and "guarded" in answer.err and "direct" in answer.err, answer
    areas.configure(table=", when_trashed: recreate")
    assert put(t, [{"Name": "HOME"}]).code == 78
    assert areas.one_each()["live"] == 1


def test_what_is_for_pages_is_refused_elsewhere(t):
    t.sql("a.db", "CREATE TABLE areas (Name TEXT NOT NULL PRIMARY KEY)")
    for store, table, word in (("", ", protocol: guarded", "protocol"),
                               (", windows: [3/1s]", "", "windows")):
        t.write("onerow.yaml", f"""stores: {{ app: {{ url: "sqlite:a.db" {store} }} }}
tables: {{ areas: {{ store: app, key: [Name] {table} }} }}
""")
        answer = put(t, [{"Name": "HOME"}])
        assert answer.code == 78 and f'"{word}" is for stores that cannot enforce' in answer.err


def test_the_token_is_never_shown(t):
    Areas(t)
    seen = put(t, [{"Name": "HOME"}, {"Name": "", "Rank": "x"}]).out
    for command in (("check",), ("put", "areas", "/nowhere"), ("dlq", "list"), ("dlq", "export"),
                    ("get", "areas", "Name=HOME")):
        answer = t.onerow(*command)
        seen += answer.out + answer.err
    for folder, _, files in os.walk(t.folder):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                seen += file.read().decode(errors="replace")
    assert TOKEN not in seen


# ---- records ------------------------------------------------------------------------------------

def test_created_unchanged_updated(t):
    areas = Areas(t)
    records = [{"Name": "HOME", "Rank": 1, "Text": "a"}, {"Name": "WORK", "Kind": "new"}]
    assert put(t, records).balance["created"] == 2
    ids = [line["id"] for line in t.results("results")]
    answer = put(t, records, "--json")
    summary = json.loads(answer.out)
    assert summary["unchanged"] == 2 and summary["pages"]["requests"] == 0, answer
    assert [line["id"] for line in t.results("results")] == ids
    answer = put(t, [{"Name": "HOME", "Rank": 2}, {"Name": "HOME", "Rank": 3}])
    assert answer.balance["updated"] == 2, answer
    assert t.results("results")[0]["folded_into"] == 2
    page = areas.pages()["HOME"]
    assert (page["id"], rank(page), text(page)) == (ids[0], 3, "a")
    areas.one_each()


def test_defaults_are_for_new_pages(t):
    areas = Areas(t, table=", defaults: { Kind: Active, Rank: 3 }")
    assert put(t, [{"Name": "a"}, {"Name": "b", "Rank": 1}]).code == 0
    pages = areas.pages()
    assert [rank(pages["a"]), rank(pages["b"])] == [3, 1]
    assert pages["a"]["properties"]["Kind"]["select"]["name"] == "Active"
    assert put(t, [{"Name": "a"}]).balance["unchanged"] == 1
    areas.configure(table=", defaults: { Knid: Active }")
    answer = put(t, [{"Name": "c"}])
    assert answer.code == 78 and 'there is no column "Knid"' in answer.err, answer


def test_ensure_and_get(t):
    areas = Areas(t)
    first = t.onerow("ensure", "areas", "Name=HOME", "Rank=1")
    again = t.onerow("ensure", "areas", "Name=HOME", "Rank=2")
    assert first.code == again.code == 0 and first.out == again.out, (first, again)
    assert t.onerow("ensure", "areas", "Name=HOME", "--returning", "Rank").out == "1\n"
    assert json.loads(t.onerow("get", "areas", "Name=HOME").out)["Rank"] == 1
    assert t.onerow("get", "areas", "Name=home").code == 1
    assert areas.one_each()["live"] == 1


def test_pages_that_were_there_are_adopted_and_twins_are_told(t):
    areas = Areas(t)
    areas.sim.page(areas.source, "HOME")
    areas.sim.page(areas.source, "TWIN")
    areas.sim.page(areas.source, "TWIN")
    answer = put(t, [{"Name": "HOME", "Rank": 1}, {"Name": "TWIN", "Rank": 2}])
    assert answer.code == 0 and answer.balance["updated"] == 2, answer
    assert "onerow audit" in answer.err and "onerow heal" in answer.err, answer
    assert areas.state()["live"] == 3
    answer = t.onerow("audit", "areas")
    assert answer.code == 1 and "TWIN" in answer.out, answer


def test_a_dry_run_is_refused_with_the_reason(t):
    areas = Areas(t)
    answer = put(t, [{"Name": "HOME"}], "--dry-run")
    assert answer.code == 64 and "there is no dry run here" in answer.err, answer
    assert areas.state()["pages"] == 0 and not os.path.exists(t.path("ledger.db"))


# ---- what cannot be written -----------------------------------------------------------------------

def test_dead_letters_have_the_apis_own_words_and_are_replayed(t):
    areas = Areas(t)
    areas.sim.order("block-limit", method="POST", path="/v1/pages")
    answer = put(t, [{"Name": "new", "Rank": 1}, {"Name": "bad", "Rank": "many"}])
    assert answer.code == 1 and answer.balance["rejected"] == 2, answer
    reason = next(line["reason"] for line in t.results("results") if line["line"] == 1)
    assert reason.startswith("the store refuses it: "), reason
    assert "This workspace has reached its block limit." in reason, reason
    assert reason in [letter["reason"] for letter in t.letters()], t.letters()
    assert t.onerow("dlq", "replay").code == 1  # the bad one stays
    assert rank(areas.pages()["new"]) == 1
    assert areas.one_each()["live"] == 1


def test_a_letter_does_not_write_over_what_came_later(t):
    areas = Areas(t)
    assert put(t, [{"Name": "there", "Rank": 0}]).code == 0
    areas.sim.order("502", method="PATCH", times=1000)
    answer = put(t, [{"Name": "there", "Rank": 1}], "--wait", "1")
    assert answer.code == 1 and answer.balance["unknown"] == 1, answer
    assert "bad_gateway" in t.letters()[0]["reason"], t.letters()
    areas.sim.control("faults", {"clear": True})
    # What was announced is written first, by whoever comes next, once its writer is late for good.
    assert put(t, [{"Name": "there", "Rank": 2}]).balance["updated"] == 1
    answer = t.onerow("dlq", "replay")
    assert answer.code == 1 and "changed since" in answer.out + answer.err, answer
    assert rank(areas.pages()["there"]) == 2
    assert t.onerow("dlq", "replay", "--force").code == 0
    assert rank(areas.pages()["there"]) == 1


def test_when_nothing_can_be_looked_up_nothing_is_made(t):
    areas = Areas(t)
    areas.sim.control("faults", {"rates": "query-failed=100%"})
    answer = put(t, [{"Name": f"n{i}", "Rank": i} for i in range(20)], "--wait", "1")
    assert answer.code == 1 and answer.balance["rejected"] == 20, answer
    assert areas.state()["pages"] == 0
    assert len(t.letters()) == 20
    areas.sim.control("faults", {"clear": True})
    assert t.onerow("dlq", "replay").code == 0
    assert len(areas.pages()) == areas.one_each()["live"] == 20


# ---- limits ---------------------------------------------------------------------------------------

def test_windows_are_kept_by_several_processes(t):
    areas = Areas(t, "--windows", "40/2s", store='windows: ["40/2s"]')
    files = [t.ndjson(f"{i}.ndjson", [{"Name": f"{i}-{k}"} for k in range(25)]) for i in range(3)]
    writers = [t.start("put", "areas", file) for file in files]
    for writer in writers:
        assert t.finish(writer).code == 0
    state = areas.sim.state(keys=False)
    assert state["beyond_windows"]["count"] == 0, state
    assert state["inside_retry_after"]["count"] == 0, state
    assert areas.one_each()["live"] == 75


def test_an_interrupted_run_goes_on(t):
    areas = Areas(t, "--latency", "20")
    file = t.ndjson("in.ndjson", [{"Name": f"n{i}", "Rank": i} for i in range(400)])
    writer = t.start("put", "areas", file)
    t.wait_until(lambda: areas.sim.state(keys=False)["page_creates"] > 50, what="fifty pages")
    writer.send_signal(signal.SIGINT)
    answer = t.finish(writer)
    assert answer.code == 75, answer
    answer = t.onerow("put", "areas", file)
    assert answer.code == 0, answer
    pages = areas.pages()
    assert [rank(pages[f"n{i}"]) for i in range(400)] == list(range(400))
    areas.one_each()


# ---- everything at once ---------------------------------------------------------------------------

FAULTS = "409=10%,503-after=5%,reset-after=2%,query-failed=5%,lag=20%:300"


def test_writers_that_are_killed_leave_one_page_each(t):
    areas = Areas(t, "--faults", FAULTS, seed=t.random.randrange(1 << 30))
    records = [{"Name": f"n{i % 40}", "Rank": i % 40, "Text": f"t{i % 40}"} for i in range(80)]
    file = t.ndjson("in.ndjson", records)
    writers = [t.start("put", "areas", file, "--results", f"results-{i}") for i in range(6)]
    t.wait_until(lambda: areas.sim.state(keys=False)["page_creates"] > 10, what="ten pages")
    for writer in writers[:2]:
        writer.kill()
    for writer in writers:
        answer = t.finish(writer, timeout=280)
        assert answer.code in (0, 1, -signal.SIGKILL), answer
    areas.sim.control("faults", {"clear": True})
    answer = t.onerow("put", "areas", file, timeout=280)
    assert answer.code == 0, answer
    pages = areas.pages()
    areas.one_each()
    for i in range(40):
        assert (rank(pages[f"n{i}"]), text(pages[f"n{i}"])) == (i, f"t{i}"), i
    for i in range(6):
        for line in t.results(f"results-{i}"):
            if line["outcome"] in ("created", "updated", "unchanged"):
                assert pages[line["key"]["Name"]]["id"] == line["id"], line


def test_many_workers_ensure_one_page(t):
    areas = Areas(t, "--faults", "409=10%,503-after=5%", seed=t.random.randrange(1 << 30))
    workers = [t.start("ensure", "areas", "Name=HOME") for _ in range(12)]
    answers = [t.finish(worker) for worker in workers]
    assert {answer.code for answer in answers} == {0}, answers
    assert len({answer.out for answer in answers}) == 1, answers
    assert list(areas.pages()) == ["HOME"] and areas.one_each()["live"] >= 1


if __name__ == "__main__":
    harness.main()
