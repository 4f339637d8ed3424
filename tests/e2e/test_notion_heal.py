# SPDX-License-Identifier: Apache-2.0
"""`onerow heal` over the simulator of the Notion API, and what becomes of the ledger's host."""
import json
import os
import shutil

import harness
from notion import create_body
from notion_areas import TOKEN, Areas, put, rank


def heal(t, *options):
    return t.onerow("heal", "areas", *options, timeout=300)


def test_there_is_nothing_to_heal(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME"}]).code == 0
    answer = heal(t)
    assert answer.code == 0 and answer.out == "areas: nothing to heal\n", answer
    report = json.loads(heal(t, "--json").out)
    assert report["status"] == "OK" and report["trashed"] == 0, report
    assert areas.one_each()["live"] == 1


def test_twins_that_others_made_are_put_away(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME", "Rank": 1}]).code == 0
    winner = areas.pages()["HOME"]["id"]
    body = create_body(areas.source, "HOME")
    twins = [areas.sim.ask("POST", "/v1/pages", body, token=TOKEN).json["id"] for _ in range(3)]
    areas.sim.ask("PATCH", f"/v1/blocks/{twins[0]}/children",
                  {"children": [{"paragraph": {"rich_text": []}}]}, token=TOKEN)
    answer = t.onerow("audit", "areas")
    assert answer.code == 1 and "HOME" in answer.out, answer
    answer = heal(t)
    assert answer.code == 0, answer
    assert areas.pages()["HOME"]["id"] == winner
    state = {page: areas.sim.ask("GET", f"/v1/pages/{page}", token=TOKEN).json for page in twins}
    # One of them has content: it is kept, without the key.
    assert [state[page]["in_trash"] for page in twins] == [False, True, True], state
    title = state[twins[0]]["properties"]["Name"]["title"][0]["plain_text"]
    assert title == f"onerow:moved:{twins[0]}", title
    with open(t.path("state", "heal.jsonl"), encoding="utf-8") as file:
        journal = [json.loads(line) for line in file]
    assert {line["page"]: line["what"] for line in journal} == {
        twins[0]: "move", twins[1]: "trash", twins[2]: "trash"}, journal
    assert t.onerow("audit", "areas").code == 0
    assert put(t, [{"Name": "HOME", "Rank": 1}]).balance["unchanged"] == 1


def test_what_a_dead_writer_began_is_brought_to_an_end(t):
    areas = Areas(t)
    areas.sim.order("502", method="PATCH", times=1000)
    answer = put(t, [{"Name": "HOME", "Rank": 1}], "--wait", "1")
    assert answer.balance["unknown"] == 1, answer
    areas.sim.control("faults", {"clear": True})
    answer = heal(t)
    assert "1 writes brought to an end" in answer.out, answer
    assert "may still arrive" in answer.out and answer.code == 1, answer
    assert rank(areas.pages()["HOME"]) == 1
    areas.one_each()


def test_a_fresh_blank_is_left_to_its_maker(t):
    areas = Areas(t)
    areas.sim.order("reset-after", method="POST", path="/v1/pages")
    assert put(t, [{"Name": "HOME"}]).code == 0
    assert areas.state()["live"] == 2
    report = json.loads(heal(t, "--json").out)
    assert report["young"] == 1 and report["swept"] == 0 and report["status"] == "LEFT", report
    assert areas.state()["live"] == 2


def test_a_page_that_is_gone_for_good(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME", "Rank": 1}]).code == 0
    page = areas.pages()["HOME"]["id"]
    areas.sim.control(f"pages/{page}/purge", {})
    answer = put(t, [{"Name": "HOME", "Rank": 2}])
    assert answer.balance["unknown"] == 1, answer
    assert "does not prove that it is gone" in t.letters()[0]["reason"], t.letters()
    assert heal(t, "Name=HOME", "--forget").code == 0
    answer = put(t, [{"Name": "HOME", "Rank": 2}])  # when nothing can arrive any more
    assert answer.balance["created"] == 1, answer
    assert rank(areas.pages()["HOME"]) == 2
    assert heal(t, "Name=NOBODY", "--forget").code == 1
    assert heal(t, "--forget").code == 64 and heal(t, "Name=HOME").code == 64


def test_a_key_that_a_person_changed(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME", "Rank": 1}]).code == 0
    page = areas.pages()["HOME"]["id"]
    areas.sim.control(f"pages/{page}/rename", {"title": "HOUSE"})
    answer = put(t, [{"Name": "HOUSE", "Rank": 2}])
    assert answer.balance["rejected"] == 1, answer
    assert "belongs to another key" in t.letters()[0]["reason"], t.letters()
    answer = heal(t, "Name=HOUSE", "--rekey")
    assert answer.code == 0, answer
    assert put(t, [{"Name": "HOUSE", "Rank": 2}]).balance["updated"] == 1
    assert areas.pages()["HOUSE"]["id"] == page
    assert areas.one_each()["live"] == 1


def test_a_ledger_that_was_put_back_makes_nothing_until_it_is_healed(t):
    areas = Areas(t)
    assert put(t, [{"Name": "HOME"}]).code == 0
    for name in os.listdir(t.folder):
        if name.startswith("ledger.db"):
            shutil.copy(t.path(name), t.path("kept-" + name))
    records = [{"Name": f"n{i}", "Rank": i} for i in range(300)]
    assert put(t, records).code == 0
    for name in os.listdir(t.folder):
        if name.startswith("ledger.db"):
            os.remove(t.path(name))
    for name in os.listdir(t.folder):
        if name.startswith("kept-"):
            shutil.copy(t.path(name), t.path(name[len("kept-"):]))
    answer = put(t, [{"Name": "new"}, {"Name": "n1", "Rank": -1}])
    assert answer.balance["rejected"] == 1 and answer.balance["updated"] == 1, answer
    assert "onerow heal areas" in answer.err, answer
    answer = heal(t)
    assert answer.code == 0 and "knows all pages again" in answer.out, answer
    assert put(t, records).balance["created"] == 0
    assert put(t, [{"Name": "new"}]).balance["created"] == 1
    assert areas.one_each()["live"] == 302


def test_a_table_that_enforces_its_key_needs_no_healing(t):
    t.sql("a.db", "CREATE TABLE areas (Name TEXT NOT NULL PRIMARY KEY)")
    answer = t.onerow("heal", "--store", "sqlite:a.db", "--table", "areas", "--key", "Name")
    assert answer.code == 78 and "enforces the key" in answer.err, answer


if __name__ == "__main__":
    harness.main()
