# SPDX-License-Identifier: Apache-2.0
"""Relations that are given by the other table's key, over the simulator of the Notion API."""
import json
import signal

import harness
from notion_areas import TOKEN, rank
from notion_related import AREAS, LINES, TASKS, Related, ids, reasons


# ---- values -------------------------------------------------------------------------------------

def test_pages_are_found_or_made_before_the_record(t):
    both = Related(t)
    home = both.sim.page(AREAS, "HOME")["id"]
    answer = both.put("tasks", [{"Name": "a", "Parent": "HOME"},
                                {"Name": "b", "Parent": ["HOME", "WORK"]},
                                {"Name": "c", "Parent": {"table": "areas", "key": "WORK"}},
                                {"Name": "d", "Parent": [{"Name": "WORK"}]},
                                {"Name": "e", "Parent": None}, {"Name": "f", "Parent": []}])
    assert answer.code == 0 and answer.balance["created"] == 6, answer
    areas, tasks = both.pages(AREAS), both.pages(TASKS)
    assert set(areas) == {"HOME", "WORK"} and areas["HOME"]["id"] == home
    work = areas["WORK"]["id"]
    assert [ids(tasks[n]) for n in "abcdef"] == [[home], [home, work], [work], [work], [], []]
    assert areas["WORK"]["properties"]["Kind"]["select"]["name"] == "Active"  # a default
    assert areas["HOME"]["properties"]["Kind"]["select"] is None  # it was there
    both.one_each()


def test_keys_of_several_columns(t):
    both = Related(t)
    line = {"Game": "g1", "At": 24.5}
    answer = both.put("tasks", [{"Name": "a", "Line": line}, {"Name": "b", "Line": [
        {"table": "lines", "key": {"At": "24.50", "Game": "g1"}}, {"Game": "g2", "At": 1}]}])
    assert answer.code == 0, answer
    lines, tasks = both.pages(LINES, "Game"), both.pages(TASKS)
    assert ids(tasks["a"], "Line") == [lines["g1"]["id"]]
    assert ids(tasks["b"], "Line") == [lines["g1"]["id"], lines["g2"]["id"]]
    answer = both.put("tasks", [{"Name": "c", "Line": "g1"}, {"Name": "d", "Line": {"Game": "g1"}},
                                {"Name": "e", "Line": {"Game": "g1", "At": 1, "X": 2}}])
    assert answer.code == 1 and answer.balance["rejected"] == 3, answer
    assert reasons(t) == [
        'column "Line" names a page of lines by its key: {"Game": …, "At": …}',
        'column "Line" names a page of lines by its key: {"Game": …, "At": …}',
        'column "Line" names a page of lines by "X", which is no column of its key'], reasons(t)


def test_what_names_no_key_is_rejected_and_nothing_is_made(t):
    both = Related(t)
    bad = [7.5, "", {"table": "tasks", "key": "x"}, ["a", None], [["a"]], ["a"] * 101, {"Name": ""},
           "onerow:blank:1"]
    answer = both.put("tasks", [{"Name": f"n{i}", "Parent": value} for i, value in enumerate(bad)])
    assert answer.code == 1 and answer.balance["created"] == 1, answer  # an empty text: no page
    said = reasons(t)
    assert said[0].startswith('column "Parent" names a page of areas: key column "Name" is a number')
    assert said[1] is None
    assert said[2] == 'column "Parent" relates to pages of areas, and table is "tasks"', said
    assert 'key column "Name" is NULL' in said[3], said
    assert said[4].endswith('{"Name": …}, or the value alone'), said
    assert said[5] == 'column "Parent" names more than 100 pages', said
    assert 'relates to areas {"Name":""}: key column "Name" is empty' in said[6], said
    assert 'its key begins with onerow:blank:' in said[7], said
    assert both.sim.source_state(AREAS)["pages"] == 0


def test_csv_and_ensure(t):
    both = Related(t)
    t.write("in.csv", 'Name,Parent,Line\na,HOME,\nb,"HOME, WORK",\nc,"[""A, B""]",\n'
                      'd,,"{""Game"":""g"",""At"":1}"\n')
    answer = t.onerow("put", "tasks", "in.csv")
    assert answer.code == 0 and answer.balance["created"] == 4, answer
    areas, tasks = both.pages(AREAS), both.pages(TASKS)
    assert set(areas) == {"HOME", "WORK", "A, B"}
    assert ids(tasks["b"]) == [areas["HOME"]["id"], areas["WORK"]["id"]]
    assert ids(tasks["c"]) == [areas["A, B"]["id"]]
    assert len(ids(tasks["d"], "Line")) == 1
    answer = t.onerow("ensure", "tasks", "Name=e", "Parent=NEW")
    assert answer.code == 0, answer
    tasks = both.pages(TASKS)
    assert answer.out.strip() == tasks["e"]["id"]
    assert ids(tasks["e"]) == [both.pages(AREAS)["NEW"]["id"]]


def test_a_table_relates_to_itself_and_to_later_records(t):
    both = Related(t)
    records = [("tasks", {"Name": "a", "Parent": "HOME", "Before": "b", "Rank": 1}),
               ("tasks", {"Name": "b", "Before": ["a", "b"], "Rank": 2}),
               ("areas", {"Name": "HOME", "Above": "TOP", "Rank": 3}),
               ("areas", {"Name": "TOP", "Above": "TOP", "Rank": 4})]
    answer = both.put_all(records, "--json")
    summary = json.loads(answer.out)
    assert answer.code == 0 and summary["read"] == 4, answer
    areas, tasks = both.pages(AREAS), both.pages(TASKS)
    assert (len(areas), len(tasks)) == (2, 2)
    assert ids(tasks["a"]) == [areas["HOME"]["id"]] and rank(areas["HOME"]) == 3
    assert ids(tasks["a"], "Before") == [tasks["b"]["id"]]
    assert ids(tasks["b"], "Before") == [tasks["a"]["id"], tasks["b"]["id"]]
    assert ids(areas["TOP"], "Above") == [areas["TOP"]["id"]] == ids(areas["HOME"], "Above")
    answer = both.put_all(records, "--json")
    summary = json.loads(answer.out)
    assert summary["unchanged"] == 4 and summary["pages"]["requests"] == 0, answer


# ---- cost ---------------------------------------------------------------------------------------

def test_many_keys_are_looked_for_together(t):
    both = Related(t)
    records = [{"Name": f"n{i}", "Parent": f"p{i}"} for i in range(100)]
    summary = json.loads(both.put("tasks", records, "--json").out)
    assert summary["created"] == 100, summary
    # One look-up for a hundred keys of either table, and two requests for each page.
    assert (summary["pages"]["lookups"], summary["pages"]["requests"]) == (2, 402), summary
    summary = json.loads(both.put("tasks", records, "--json").out)
    assert summary["unchanged"] == 100 and summary["pages"]["requests"] == 0, summary
    summary = json.loads(both.put("tasks", [{"Name": f"m{i}", "Parent": "p7"} for i in range(300)],
                                  "--json").out)
    # Three look-ups, and none for the one parent, which the ledger knows.
    assert (summary["created"], summary["pages"]["requests"]) == (300, 603), summary


def test_another_page_of_the_key_is_another_value(t):
    both = Related(t, area=", when_trashed: recreate")
    assert both.put("tasks", [{"Name": "a", "Parent": "HOME"}]).code == 0
    first = both.pages(AREAS)["HOME"]["id"]
    both.sim.ask("PATCH", f"/v1/pages/{first}", {"archived": True}, token=TOKEN)
    answer = both.put("areas", [{"Name": "HOME", "Rank": 1}])
    assert answer.code == 0 and answer.balance["created"] == 1, answer
    second = both.pages(AREAS)["HOME"]["id"]
    answer = both.put("tasks", [{"Name": "a", "Parent": "HOME"}])
    assert answer.balance["updated"] == 1 and first != second, answer
    assert ids(both.pages(TASKS)["a"]) == [second]


def test_tables_that_others_relate_to_are_written_first(t):
    both = Related(t)
    records = [("tasks", {"Name": f"n{i}", "Parent": f"p{i % 3}"}) for i in range(9)]
    records += [("areas", {"Name": f"p{i}", "Rank": i}) for i in range(3)]
    answer = both.put_all(records)
    assert answer.code == 0 and answer.balance["created"] == 12, answer  # and none updated


def test_a_tree_is_made_from_its_records(t):
    both = Related(t)
    records = [{"Name": f"n{i}", "Above": f"n{i // 3}" if i else None, "Rank": i}
               for i in reversed(range(40))]
    summary = json.loads(both.put("areas", records, "--json").out)
    assert summary["created"] == 40, summary
    areas = both.pages(AREAS)
    for i in range(1, 40):
        assert ids(areas[f"n{i}"], "Above") == [areas[f"n{i // 3}"]["id"]], i
    # Two requests for each page, and a look-up for each of the five levels.
    assert summary["pages"]["requests"] == 85, summary


def test_windows_are_those_of_all_tables(t):
    both = Related(t, "--windows", "40/2s", store='windows: ["40/2s"]')
    answer = both.put("tasks", [{"Name": f"n{i}", "Parent": f"p{i}"} for i in range(30)], "--json")
    summary = json.loads(answer.out)
    assert summary["created"] == 30 and summary["pages"]["requests"] >= 122, answer
    state = both.sim.state(keys=False)
    assert state["beyond_windows"]["count"] == 0, state
    assert state["inside_retry_after"]["count"] == 0, state


# ---- what cannot be related -----------------------------------------------------------------------

def test_a_look_up_that_fails_makes_neither_page(t):
    both = Related(t)
    both.sim.control("faults", {"rates": "query-failed=100%"})
    answer = both.put("tasks", [{"Name": f"n{i}", "Parent": "HOME"} for i in range(5)], "--wait", "1")
    assert answer.code == 1 and answer.balance["rejected"] == 5, answer
    for reason in reasons(t):
        assert reason.startswith('column "Parent" relates to areas {"Name":"HOME"}: not written in '
                                 "the time allowed"), reason
    assert both.sim.source_state(AREAS)["pages"] == both.sim.source_state(TASKS)["pages"] == 0
    both.sim.control("faults", {"clear": True})
    answer = t.onerow("dlq", "replay")
    assert answer.code == 0, answer
    home = both.pages(AREAS)["HOME"]["id"]
    assert [ids(page) for page in both.pages(TASKS).values()] == [[home]] * 5
    both.one_each()


def test_a_tombstone_is_told(t):
    both = Related(t)
    assert both.put("areas", [{"Name": "HOME"}]).code == 0
    home = both.pages(AREAS)["HOME"]["id"]
    both.sim.ask("PATCH", f"/v1/pages/{home}", {"archived": True}, token=TOKEN)
    assert both.put("areas", [{"Name": "HOME", "Rank": 1}]).code == 1
    answer = both.put("tasks", [{"Name": "a", "Parent": ["X", "HOME"]}, {"Name": "b"}])
    assert answer.code == 1 and answer.balance["rejected"] == answer.balance["created"] == 1, answer
    said = [reason for reason in reasons(t) if reason]
    assert said == ['column "Parent" relates to areas {"Name":"HOME"}: the page was deleted, and '
                    "stays deleted (when_trashed: tombstone)"], said
    assert list(both.pages(TASKS)) == ["b"]


def test_a_record_that_is_refused_makes_no_other_page(t):
    both = Related(t)
    answer = both.put("tasks", [{"Name": "a", "Parent": "HOME", "State": "nonsense"},
                                {"Name": "b", "Before": "c", "Rank": "many"}])
    assert answer.code == 1 and answer.balance["rejected"] == 2, answer
    assert both.sim.source_state(AREAS)["pages"] == both.sim.source_state(TASKS)["pages"] == 0


def test_letters_that_relate_to_each_other_are_replayed(t):
    both = Related(t)
    both.sim.control("faults", {"rates": "query-failed=100%"})
    records = [("tasks", {"Name": "a", "Before": "b", "Parent": "HOME", "Rank": 1}),
               ("tasks", {"Name": "b", "Before": "a", "Rank": 2}), ("areas", {"Name": "HOME", "Rank": 3}),
               ("tasks", {"Name": "c", "Before": ["c", "d"], "Rank": 4})]
    assert both.put_all(records, "--wait", "1").balance["rejected"] == 4
    both.sim.control("faults", {"clear": True})
    answer = t.onerow("dlq", "replay")
    assert answer.code == 0, answer
    areas, tasks = both.pages(AREAS), both.pages(TASKS)
    assert [ids(tasks[n], "Before") for n in "abc"] == [
        [tasks["b"]["id"]], [tasks["a"]["id"]], [tasks["c"]["id"], tasks["d"]["id"]]]
    assert ids(tasks["a"]) == [areas["HOME"]["id"]]
    assert [rank(tasks[n]) for n in "abcd"] == [1, 2, 4, None] and rank(areas["HOME"]) == 3
    # What somebody else wrote meanwhile is still not written over.
    both.sim.control("faults", {"rates": "query-failed=100%"})
    assert both.put_all([("areas", {"Name": "NEW", "Rank": 1})], "--wait", "1").code == 1
    both.sim.control("faults", {"clear": True})
    assert both.put("areas", [{"Name": "NEW", "Rank": 2}]).code == 0
    assert t.onerow("dlq", "replay").code == 1
    assert rank(both.pages(AREAS)["NEW"]) == 2
    both.one_each()


def test_nothing_relates_to_a_dead_letter(t):
    both = Related(t)
    answer = both.put_all([("areas", {"Name": "HOME", "State": "nonsense"}),
                           ("areas", {"Name": "WORK", "Nonsense": 1}),
                           ("tasks", {"Name": "a", "Parent": "HOME"}),
                           ("tasks", {"Name": "b", "Parent": "WORK"}),
                           ("tasks", {"Name": "d", "State": "nonsense"}),
                           ("tasks", {"Name": "c", "Before": "d"})])
    assert answer.code == 1 and answer.balance["rejected"] == 6, answer
    said = [reason for reason in reasons(t) if reason.endswith("its own record was rejected")]
    assert len(said) == 3 and 'tasks {"Name":"d"}' in said[2], said
    assert both.sim.source_state(AREAS)["pages"] == both.sim.source_state(TASKS)["pages"] == 0
    # A page that is there all the same is related to.
    assert both.put("areas", [{"Name": "WORK"}]).code == 0
    answer = both.put_all([("areas", {"Name": "WORK", "State": "nonsense"}),
                           ("tasks", {"Name": "b", "Parent": "WORK"})])
    assert answer.balance["created"] == 1, answer
    assert ids(both.pages(TASKS)["b"]) == [both.pages(AREAS)["WORK"]["id"]]
    # In a replay likewise: what stays dead gets no page.
    assert t.onerow("dlq", "replay").code == 1
    assert set(both.pages(AREAS)) == {"WORK"} and set(both.pages(TASKS)) == {"b"}


# ---- configuration --------------------------------------------------------------------------------

def test_a_configuration_that_cannot_be_is_refused_with_its_place(t):
    both = Related(t)
    # Parent: areas stands at 11:26 in the file.
    for how, place, text in (
            ({"tasks": "Parent: aeras"}, "12:26: tasks.tasks.relations.Parent: ",
             'there is no table "aeras"; did you mean "areas"?'),
            ({"tasks": "Nobody: areas"}, "12:26: tasks.tasks.relations.Nobody: ",
             'there is no column "Nobody"'),
            ({"tasks": "Rank: areas"}, "12:24: tasks.tasks.relations.Rank: ",
             'column "Rank" is number, and relates to no pages'),
            ({"tasks": "Parent: tasks"}, "12:26: tasks.tasks.relations.Parent: ",
             f'column "Parent" relates to the pages of {AREAS}, and table "tasks" is {TASKS}'),
            ({"tasks": "Name: areas"}, "12:24: tasks.tasks.relations.Name: ",
             "is a column of the key"),
            ({"area": ", defaults: { Above: HOME }"}, "", "has a default, too"),
            ({"tasks": "Parent: rows", "more": '  rows: { store: app, key: [k] }\n'},
             "12:26: tasks.tasks.relations.Parent: ", 'table "rows" is a store without pages')):
        place = place.replace("tasks.tasks", "tables.tasks")
        t.sql("app.db", "CREATE TABLE IF NOT EXISTS rows (k TEXT NOT NULL PRIMARY KEY)")
        both.configure(store='conflict_wait: 1s\n  app: { url: "sqlite:app.db" }', **how)
        for command in (("put", "tasks"), ("check", "tasks")):
            answer = t.onerow(*command, input="")
            assert answer.code == 78, (how, answer)
            shown = answer.out + answer.err
            assert text in shown and place.replace("12:", "14:") in shown, (how, answer)


def test_check_says_what_a_relation_rests_on(t):
    Related(t)
    answer = t.onerow("check", "tasks")
    assert answer.code == 0, answer
    assert "Parent relates to areas by key" in answer.out, answer
    assert "ledger sqlite:ledger.db (" in answer.out, answer
    line = json.loads(t.onerow("check", "tasks", "--json").out)
    assert [(r["column"], r["table"]) for r in line["relations"]] == [
        ("Parent", "areas"), ("Line", "lines"), ("Before", "tasks")], line


def test_ids_stay_where_no_table_is_named(t):
    both = Related(t, tasks="Line: lines")
    home = both.sim.page(AREAS, "HOME")["id"]
    assert both.put("tasks", [{"Name": "a", "Parent": [home]}]).code == 0
    assert ids(both.pages(TASKS)["a"]) == [home]
    answer = both.put("tasks", [{"Name": "b", "Parent": "HOME"}])
    assert answer.code == 1 and "no id" in reasons(t)[0], answer


# ---- everything at once ---------------------------------------------------------------------------

FAULTS = "409=10%,503-after=5%,reset-after=2%,query-failed=5%,lag=20%:300"


def records(n):
    return [{"Name": f"t{i}", "Parent": f"p{i % 7}", "Before": f"t{(i * 5) % n}", "Rank": i}
            for i in range(n)]


def check_relations(both, n):
    areas, tasks = both.pages(AREAS), both.pages(TASKS)
    assert (set(areas), set(tasks)) == ({f"p{i}" for i in range(7)}, {f"t{i}" for i in range(n)})
    for i in range(n):
        page = tasks[f"t{i}"]
        assert ids(page) == [areas[f"p{i % 7}"]["id"]], i
        assert ids(page, "Before") == [tasks[f"t{(i * 5) % n}"]["id"]], i
        assert rank(page) == i
    both.one_each()


def test_eight_processes_race_to_make_the_same_parents(t):
    both = Related(t, "--faults", FAULTS, seed=t.random.randrange(1 << 30))
    file = t.ndjson("in.ndjson", records(24))
    writers = [t.start("put", "tasks", file) for _ in range(8)]
    t.wait_until(lambda: both.sim.state(keys=False)["page_creates"] > 3, what="three pages")
    for writer in writers[:2]:
        writer.kill()
    for writer in writers:
        answer = t.finish(writer, timeout=280)
        assert answer.code in (0, 1, -signal.SIGKILL), answer
    both.sim.control("faults", {"clear": True})
    answer = t.onerow("put", "tasks", file, timeout=280)
    assert answer.code == 0, answer
    check_relations(both, 24)


def test_killed_in_the_middle_and_run_again(t):
    both = Related(t, "--latency", "20")
    file = t.ndjson("in.ndjson", records(40))
    for creates in (3, 12, 30):
        writer = t.start("put", "tasks", file)
        t.wait_until(lambda: both.sim.state(keys=False)["page_creates"] >= creates or
                     writer.poll() is not None, what=f"{creates} pages")
        writer.kill()
        t.finish(writer)
        areas, tasks = both.pages(AREAS), both.pages(TASKS)
        live = {page["id"] for page in areas.values()}
        for page in tasks.values():  # at every moment: a record is there with all of its relations
            assert set(ids(page)) <= live, page
            assert rank(page) is None or (ids(page) and ids(page, "Before")), page
    answer = t.onerow("put", "tasks", file, timeout=280)
    assert answer.code == 0, answer
    check_relations(both, 40)


def test_control_looking_and_then_making_makes_twins(t):
    """What is done here without the ledger: two workers look for a parent, and neither finds it."""
    both = Related(t)
    wanted = {"filter": {"property": "Name", "title": {"equals": "HOME"}}}
    seen = [both.sim.query(AREAS, wanted)["results"] for _ in range(2)]
    made = [both.sim.page(AREAS, "HOME")["id"] for results in seen if not results]
    for i, parent in enumerate(made):
        both.sim.page(TASKS, f"n{i}", Parent={"relation": [{"id": parent}]})
    state = both.sim.source_state(AREAS)
    assert len(made) == 2 and state["duplicates_ever"] > 0, state
    tasks = both.pages(TASKS)
    assert ids(tasks["n0"]) != ids(tasks["n1"])


if __name__ == "__main__":
    harness.main()
