# SPDX-License-Identifier: Apache-2.0
"""Rate windows: no request goes beyond one, whatever it is for and whichever process sends it. The
simulator counts them."""
import json

import harness
from notion_areas import Areas, put

COUNT = 30
WINDOW = f"{COUNT}/1s"
WINDOWS = f'windows: ["{WINDOW}"]'
# A key that a person may have spelled in another way is looked for in every page.
SCAN = "{ column: Name, normalize: [trim] }"
ROWS = [f"row {i}" for i in range(2000)]
PARTS = len(ROWS) // 100


def areas_with(t, *options, **how):
    how.setdefault("store", WINDOWS)
    return Areas(t, "--windows", WINDOW, *options, **how)


def kept(areas, least):
    """No request came too early, and there were enough of them to tell."""
    state = areas.sim.state(keys=False)
    assert state["requests"] >= least, state["requests"]
    assert state["beyond_windows"]["count"] == 0, state["beyond_windows"]
    assert state["inside_retry_after"]["count"] == 0, state["inside_retry_after"]


def test_without_windows_they_are_overrun(t):
    """The control."""
    areas = areas_with(t, store="", key=SCAN, rows=ROWS)
    for _ in range(2):
        assert t.onerow("get", "areas", "Name=row 1").code == 0
    assert areas.sim.state(keys=False)["beyond_windows"]["count"] > 0


def test_look_ups_in_parts(t):
    areas = areas_with(t, key=SCAN, rows=ROWS, table=", on_conflict: keep")
    answer = put(t, [{"Name": name} for name in ROWS[:1500]], "--json")
    summary = json.loads(answer.out)
    assert summary["unchanged"] == 1500 and summary["pages"]["lookups"] == 15, answer
    assert summary["pages"]["requests"] == 15 * PARTS, answer
    kept(areas, 10 * COUNT)


def test_twins_are_looked_at_one_by_one(t):
    areas = areas_with(t, rows=[f"twin {i // 2}" for i in range(160)])
    answer = put(t, [{"Name": f"twin {i}"} for i in range(80)])
    assert answer.code == 0, answer
    kept(areas, 160)


def test_every_command_of_every_process(t):
    """Audit, check, get, heal and put at the same time, again and again."""
    areas = areas_with(t, key=SCAN, rows=ROWS, table=", on_conflict: keep")
    record = t.ndjson("one.ndjson", [{"Name": "row 7"}])
    commands = (("audit", "areas"), ("check",), ("get", "areas", "Name=row 3"), ("heal", "areas"),
                ("put", "areas", record), ("ensure", "areas", "Name=row 5"))
    for _ in range(4):
        for process in [t.start(*command) for command in commands]:
            answer = t.finish(process)
            assert answer.code == 0, answer
    kept(areas, 10 * COUNT)


def test_a_wait_that_one_process_was_told_holds_for_all(t):
    areas = areas_with(t, rows=["HOME"])
    areas.sim.order("429", method="GET", path="/v1/users/me", parameter=3)
    first = t.start("get", "areas", "Name=HOME")
    t.wait_until(lambda: "429" in areas.sim.state(keys=False)["by_status"], what="a 429")
    others = [t.start(*command) for command in (("check",), ("audit", "areas"))]
    for process in (first, *others):
        assert t.finish(process).code == 0
    state = areas.sim.state(keys=False)
    late = (state["inside_retry_after"]["count"]
            - state["inside_retry_after_on_the_way"]["count"])
    assert late == 0, state


def test_windows_that_are_full_end_a_question_that_may_not_wait(t):
    areas = areas_with(t, store='windows: ["2/1h"]', rows=["HOME"])
    answer = t.onerow("get", "areas", "Name=HOME", "--wait", "1")
    assert answer.code == 75 and "the rate windows are full" in answer.err, answer
    assert areas.sim.state(keys=False)["requests"] == 2


def test_without_a_coordinator_they_are_the_commands_own(t):
    """To look needs none, and is held to them all the same, over several tables."""
    areas = areas_with(t, ledger="", key=SCAN, rows=ROWS)
    with open(t.path("onerow.yaml"), "a", encoding="utf-8") as file:
        file.write(f"  more: {{ store: notion, location: {areas.source}, key: [Name] }}\n")
    assert t.onerow("audit").code == 0
    kept(areas, 2 * PARTS)


if __name__ == "__main__":
    harness.main()
