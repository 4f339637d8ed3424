# SPDX-License-Identifier: Apache-2.0
"""The stories of incident AREAS, each with the command against the simulator of the Notion API: a
look-up that fails, many workers at once, pages that people move behind its back, twins that were
there before, and two hosts that do not know of each other."""
import contextlib
import shutil
import signal
import subprocess

import harness
from notion import create_body
from notion_areas import TOKEN, Areas, put, rank
from notion_between import Between, error

# A request is given up after a second, and soon afterwards nobody waits for it any more.
IMPATIENT = ("{ pause: 1s, request: 1s, life: 100ms, lag: 100ms, skew: 10ms, guard: 10ms, "
             "lease: 2s, poll: 100ms }")
QUERY = "/v1/data_sources/"


@contextlib.contextmanager
def between(areas, **how):
    proxy = Between(areas.sim)
    areas.address = proxy.address
    areas.configure(**how)
    try:
        yield proxy
    finally:
        proxy.close()
        areas.address = areas.sim.address
        areas.configure(**how)


def creates(areas):
    return areas.sim.state(keys=False)["page_creates"]


# ---- a look-up that fails -------------------------------------------------------------------------

def trying(t, name):
    return t.start("put", "areas", t.ndjson(f"{name}.ndjson", [{"Name": name, "Rank": 1}]),
                   "--wait", "1")


def nothing_is_made(t, areas, name, answer):
    """The record is kept with the reason, and no page is made."""
    assert answer.code == 1 and answer.balance["rejected"] == 1, (name, answer)
    assert creates(areas) == 0, (name, answer)
    letters = [letter for letter in t.letters() if letter["record"]["Name"] == name]
    assert len(letters) == 1 and "not written in the time allowed: look for keys: " in \
        letters[0]["reason"], letters


def all_are_made_later(t, areas, names):
    answer = t.onerow("dlq", "replay")
    assert answer.code == 0, answer
    assert areas.pages().keys() == set(names)
    assert areas.one_each()["live"] == creates(areas) == len(names)


FAILURES = ("500", "502", "503", "503-database", "504", "529", "429", "429-space", "429-blocked",
            "html", "reset", "slow", "incomplete", "query-failed")


def test_no_failure_of_a_look_up_makes_a_page(t):
    areas = Areas(t, bounds=IMPATIENT)
    for fault in FAILURES:
        areas.sim.order(fault, method="POST", path=QUERY, times=100, parameter=1500)
        nothing_is_made(t, areas, fault, t.finish(trying(t, fault)))
        assert areas.sim.state(keys=False)["faults"][fault]["struck"] > 0, fault
        areas.sim.control("faults", {"clear": True})
    all_are_made_later(t, areas, FAILURES)


def has_more(answer, cursor, results):
    return 200, {**answer, "has_more": True, "next_cursor": cursor, "results": results}


LIES = {
    "an answer that is cut": lambda answer: (200, [answer]),
    "a portal": lambda answer: (200, "<html>Please log in</html>"),
    "nothing": lambda answer: (200, ""),
    "null": lambda answer: (200, "null"),
    "an empty object": lambda answer: (200, {}),
    "no results": lambda answer: (200, {**answer, "results": None}),
    "something that is no page": lambda answer: (200, {**answer, "results": [{"object": "user"}]}),
    "more, and not where": lambda answer: has_more(answer, None, []),
    "more, without an end": lambda answer: has_more(answer, "again", []),
    "more, perhaps": lambda answer: (200, {k: v for k, v in answer.items() if k != "has_more"}),
    "another status": lambda answer: (202, answer),
    "an error as a success": lambda answer: (200, error(500, "internal_server_error")[1]),
    "a redirect": lambda answer: (302, ""),
    "unauthorized": lambda answer: error(401, "unauthorized"),
    "restricted": lambda answer: error(403, "restricted_resource"),
    "not found": lambda answer: error(404, "object_not_found"),
    "a conflict": lambda answer: error(409, "conflict_error"),
    "invalid": lambda answer: error(400, "validation_error"),
    "silence": lambda answer: None,
}


def test_no_lie_about_a_look_up_makes_a_page(t):
    areas = Areas(t, bounds=IMPATIENT)
    told = set()

    def lie(answer, question):
        name, = [name for name in LIES if f'"{name}"' in question]
        told.add(name)
        return LIES[name](answer)

    with between(areas) as proxy:
        proxy.lies = {"POST " + QUERY: lie}
        writers = {name: trying(t, name) for name in LIES}
        for name, writer in writers.items():
            nothing_is_made(t, areas, name, t.finish(writer))
    assert told == set(LIES), told
    all_are_made_later(t, areas, LIES)


def test_a_look_up_that_says_nothing_is_there_makes_no_second_page(t):
    """An empty answer cannot be told from a wrong one: but the ledger knows."""
    areas = Areas(t)
    assert put(t, [{"Name": "HOME", "Rank": 1}]).code == 0
    with between(areas) as proxy:
        proxy.lies = {"POST " + QUERY: lambda answer, _: (200, {**answer, "results": []})}
        assert put(t, [{"Name": "HOME", "Rank": 2}]).balance["updated"] == 1
    assert creates(areas) == areas.one_each()["live"] == 1


# ---- many at once ---------------------------------------------------------------------------------

def connected(port):
    """Connections to a port of this machine, as its clients see them."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file.read().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def ensure_at_once(t, areas, n, name):
    """All of them wait for the first answer before any of them has one."""
    port = int(areas.sim.address.rsplit(":", 1)[1])
    areas.sim.process.send_signal(signal.SIGSTOP)
    workers = [t.start("ensure", "areas", f"Name={name}", "Rank=1", "--wait", "200")
               for _ in range(n)]
    t.wait_until(lambda: connected(port) >= n, what=f"{n} connections")
    areas.sim.process.send_signal(signal.SIGCONT)
    answers = [t.finish(worker, timeout=250) for worker in workers]
    assert {answer.code for answer in answers} == {0}, answers
    assert {answer.out for answer in answers} == {areas.pages()[name]["id"] + "\n"}, answers
    assert areas.state()["duplicates_ever"] == 0, areas.state()


def test_three_then_a_hundred_at_once(t):
    areas = Areas(t)
    ensure_at_once(t, areas, 3, "HOME")
    ensure_at_once(t, areas, 100, "WORK")
    assert list(areas.pages()) in (["HOME", "WORK"], ["WORK", "HOME"])


# ---- what people do -------------------------------------------------------------------------------

def person(areas, page, verb, **body):
    areas.sim.control(f"pages/{page}/{verb}", body)


def begin(t, table, **how):
    """One page, and its id; a world of its own."""
    shutil.rmtree(t.path("state"), ignore_errors=True)
    areas = Areas(t, table=table, seed=t.random.randrange(1 << 30), **how)
    assert put(t, [{"Name": "HOME", "Rank": 1}]).balance["created"] == 1
    return areas, areas.pages()["HOME"]["id"]


def result(t, record):
    """What becomes of one record: its result line."""
    answer = put(t, [record])
    line, = t.results("results")
    assert answer.code == (0 if line["outcome"] in harness.ACKNOWLEDGED else 1), (answer, line)
    return line


def in_trash(areas, page):
    return areas.sim.ask("GET", f"/v1/pages/{page}", token=TOKEN).json["in_trash"]


def test_trashed_and_it_stays_away(t):
    areas, page = begin(t, ", when_trashed: tombstone")
    person(areas, page, "trash")
    for value in (2, 2, 3):
        line = result(t, {"Name": "HOME", "Rank": value})
        assert line["outcome"] == "rejected" and "stays deleted" in line["reason"], line
    answer = t.onerow("ensure", "areas", "Name=HOME")
    assert answer.code == 1 and "stays deleted" in answer.err, answer
    assert creates(areas) == 1 and areas.state()["live"] == 0
    person(areas, page, "restore")  # who takes it out again wants it
    line = result(t, {"Name": "HOME", "Rank": 4})
    assert (line["outcome"], line["id"]) == ("updated", page), line
    assert rank(areas.pages()["HOME"]) == 4 and creates(areas) == areas.one_each()["live"] == 1


def test_trashed_and_it_comes_back(t):
    areas, page = begin(t, ", when_trashed: restore")
    person(areas, page, "trash")
    line = result(t, {"Name": "HOME", "Rank": 2})
    assert (line["outcome"], line["id"]) == ("updated", page), line
    assert rank(areas.pages()["HOME"]) == 2 and creates(areas) == areas.one_each()["live"] == 1


def test_trashed_and_a_new_one_is_made(t):
    areas, page = begin(t, ", when_trashed: recreate")
    person(areas, page, "trash")
    line = result(t, {"Name": "HOME", "Rank": 2})
    assert line["outcome"] == "created" and line["id"] != page, line
    assert in_trash(areas, page) and areas.one_each()["live"] == 1
    person(areas, page, "restore")  # two of them now, by a person's hand
    assert t.onerow("audit", "areas").code == 1
    again = result(t, {"Name": "HOME", "Rank": 3})
    assert (again["outcome"], again["id"]) == ("updated", line["id"]), again
    assert t.onerow("heal", "areas").code == 0
    assert t.onerow("audit", "areas").code == 0
    assert areas.pages()["HOME"]["id"] == line["id"]


def test_a_cached_id_is_looked_at_when_asked_to(t):
    """`verify: ledger` says what onerow last wrote; `read` looks at the page first."""
    for deletion, expected in (("tombstone", None), ("restore", "same"), ("recreate", "new")):
        areas, page = begin(t, f", when_trashed: {deletion}")
        person(areas, page, "trash")
        before = areas.sim.state(keys=False)["requests"]
        line = result(t, {"Name": "HOME", "Rank": 1})
        assert (line["outcome"], line["id"]) == ("unchanged", page), line
        assert areas.sim.state(keys=False)["requests"] - before <= 4  # to open the table
        areas.configure(table=f", when_trashed: {deletion}, verify: read")
        answer = t.onerow("ensure", "areas", "Name=HOME")
        if expected:
            assert answer.code == 0 and answer.out == areas.pages()["HOME"]["id"] + "\n", answer
            assert (answer.out == page + "\n") == (expected == "same"), answer
        else:
            assert answer.code == 1 and "stays deleted" in answer.err, answer
        assert areas.one_each()["live"] == (1 if expected else 0)


def test_gone_or_no_longer_shared_is_not_known(t):
    """404 proves nothing, whatever the policy."""
    for deletion in ("tombstone", "restore", "recreate"):
        areas, page = begin(t, f", when_trashed: {deletion}", bounds=IMPATIENT)
        person(areas, page, "unshare")
        line = result(t, {"Name": "HOME", "Rank": 2})
        assert line["outcome"] == "unknown" and "does not prove that it is gone" in line["reason"]
        areas.configure(table=f", when_trashed: {deletion}, verify: read")
        answer = t.onerow("ensure", "areas", "Name=HOME")
        assert answer.code == 1 and "does not prove" in answer.err, answer
        assert creates(areas) == 1
        person(areas, page, "share")
        assert t.onerow("dlq", "replay").code == 0
        assert rank(areas.pages()["HOME"]) == 2 and areas.one_each()["live"] == 1
        person(areas, page, "purge")
        line = result(t, {"Name": "HOME", "Rank": 3})
        assert line["outcome"] == "unknown" and creates(areas) == 1, line
        t.onerow("dlq", "replay")
        assert creates(areas) == 1


def test_renamed(t):
    for verify in ("ledger", "read"):
        areas, page = begin(t, f", verify: {verify}")
        person(areas, page, "rename", title="HOUSE")
        for _ in range(2):
            line = result(t, {"Name": "HOME", "Rank": 2})
            assert line["outcome"] == "rejected", line
            assert "the key of its page was changed by somebody" in line["reason"], line
        assert areas.pages().keys() == {"HOUSE"} and creates(areas) == 1
        person(areas, page, "rename", title="HOME")
        line = result(t, {"Name": "HOME", "Rank": 3})
        assert (line["outcome"], line["id"]) == ("updated", page), line
        areas.one_each()


# ---- twins that were there ------------------------------------------------------------------------

def make_twins(areas, name, n):
    """As the integration made them in the incident, so no person's work is in them."""
    pages = [areas.sim.ask("POST", "/v1/pages", create_body(areas.source, name), token=TOKEN).json
             for _ in range(n)]
    return min(pages, key=lambda page: (page["created_time"], page["id"]))["id"]


def says_what_to_run(text):
    return "onerow audit areas" in text and "onerow heal areas" in text


def test_twins_are_told_at_once_and_the_winner_is_taken(t):
    areas = Areas(t)
    winners = {name: make_twins(areas, name, 3) for name in ("HOME", "WORK", "ZOO")}
    answer = t.onerow("audit", "areas")
    assert answer.code == 1 and "HOME" in answer.out and winners["HOME"] in answer.out, answer
    answer = t.onerow("ensure", "areas", "Name=WORK")
    assert answer.code == 0 and answer.out == winners["WORK"] + "\n", answer
    assert says_what_to_run(answer.err), answer
    writer = t.start("put", "areas", "-", "--results", "results", "--batch", "1",
                     stdin=subprocess.PIPE)
    writer.stdin.write(b'{"Name":"HOME","Rank":1}\n')
    writer.stdin.flush()
    told = (writer.stderr.readline() + writer.stderr.readline()).decode()
    assert says_what_to_run(told), told  # long before the run ends
    writer.stdin.write(b'{"Name":"ZOO","Rank":2}\n{"Name":"new","Rank":3}\n')
    assert t.finish(writer).code == 0
    lines = t.results("results")
    assert [line["outcome"] for line in lines] == ["updated", "updated", "created"], lines
    assert [line["id"] for line in lines[:2]] == [winners["HOME"], winners["ZOO"]], lines
    assert areas.state()["live"] == 10
    answer = t.onerow("heal", "areas")
    assert answer.code == 0 and "6 second pages put into the trash" in answer.out, answer
    assert t.onerow("audit", "areas").code == 0
    assert {name: areas.pages()[name]["id"] for name in winners} == winners


# ---- two hosts ------------------------------------------------------------------------------------

OTHER = "coordinator: sqlite:other.db"


def description(areas, runs=None):
    """What the database says of itself, after a person wrote something there."""
    source = areas.sim.ask("GET", f"/v1/data_sources/{areas.source}", token=TOKEN).json
    path = f"/v1/databases/{source['parent']['database_id']}"
    if runs is not None:
        assert areas.sim.ask("PATCH", path, {"description": runs}, token=TOKEN).status == 200
    found = areas.sim.ask("GET", path, token=TOKEN).json["description"]
    return "".join(run["plain_text"] for run in found), found


def test_a_second_ledger_is_refused(t):
    areas = Areas(t)
    description(areas, [{"text": {"content": "Our areas"}, "annotations": {"bold": True}}])
    assert put(t, [{"Name": "HOME", "Rank": 1}]).code == 0
    page = areas.pages()["HOME"]["id"]
    text, runs = description(areas)
    assert text.startswith("Our areas\nonerow:ledger:") and runs[0]["annotations"]["bold"], runs
    areas.configure(ledger=OTHER)
    before = areas.sim.state(keys=False)["requests"]
    for command in (("put", "areas"), ("ensure", "areas", "Name=WORK"), ("heal", "areas")):
        answer = t.onerow(*command, input='{"Name":"WORK"}\n')
        assert answer.code == 78 and "by way of another ledger" in answer.err, answer
        assert "give all writers the same `coordinator:`" in answer.err, answer
    assert areas.sim.state(keys=False)["requests"] - before <= 9  # it only looked
    assert areas.pages().keys() == {"HOME"} and description(areas)[0] == text
    # The first host's ledger is lost for good; its pages are taken over.
    description(areas, runs[:1])
    line = result(t, {"Name": "HOME", "Rank": 2})
    assert (line["outcome"], line["id"]) == ("updated", page), line
    areas.configure()
    assert put(t, [{"Name": "HOME", "Rank": 3}]).code == 78  # should it turn up again
    assert areas.one_each()["live"] == 1


def test_of_two_new_ledgers_one_is_refused(t):
    areas = Areas(t)
    port = int(areas.sim.address.rsplit(":", 1)[1])
    areas.sim.process.send_signal(signal.SIGSTOP)
    hosts = [t.start("put", "areas", t.ndjson(f"{i}.ndjson", [{"Name": f"n{i}"}]), "--coordinator",
                     f"sqlite:host{i}.db") for i in range(2)]
    t.wait_until(lambda: connected(port) >= 2, what="two connections")
    areas.sim.process.send_signal(signal.SIGCONT)
    first = [t.finish(host).code for host in hosts]
    assert set(first) <= {0, 78}, first
    codes = [t.onerow("put", "areas", t.path(f"{i}.ndjson"), "--coordinator",
                      f"sqlite:host{i}.db").code for i in range(2)]
    assert sorted(codes) == [0, 78], (first, codes)


def test_other_ledgers_that_do_not_count(t):
    """Of another data source: the description was copied with its database. Or no whole id."""
    areas = Areas(t)
    for text in ("onerow:ledger:" + "a" * 32 + "@" + "b" * 32, "onerow:ledger:", "onerow:ledger:" +
                 "a" * 32 + "@"):
        description(areas, [{"text": {"content": text}}])
        assert put(t, [{"Name": "HOME"}]).code == 0, text
        assert description(areas)[0].startswith(text + "\nonerow:ledger:")


def test_a_ledger_that_cannot_leave_its_id_says_so(t):
    areas = Areas(t)
    description(areas, [{"text": {"content": "Our areas"}}])
    with between(areas) as proxy:
        # What a token may not read it does not write over.
        proxy.lies = {"GET /v1/databases/": lambda answer, _: (200, {"object": "database",
                                                                     "id": answer["id"]})}
        answer = put(t, [{"Name": "HOME"}])
        assert answer.code == 0 and "another ledger would not be noticed" in answer.err, answer
        assert "does not show its description" in answer.err, answer
        assert description(areas)[0] == "Our areas"
        proxy.lies = {"PATCH /v1/databases/": lambda *_: error(403, "restricted_resource")}
        answer = put(t, [{"Name": "WORK"}])
        assert answer.code == 0 and "another ledger would not be noticed" in answer.err, answer
        assert "restricted_resource" in answer.err, answer
    areas.one_each()


if __name__ == "__main__":
    harness.main()
