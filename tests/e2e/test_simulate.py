#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""onerow simulate: the protocols are clean, the naive ways are not, and a schedule is one and the same
run however often it is replayed."""
import json
import os
import re

import harness

WRONG = ["naive", "process-lock", "lease", "lease-token"]
TOKEN = re.compile(r"replay: ([A-Za-z0-9_-]+)")


def simulate(t, *arguments):
    return t.onerow("simulate", *arguments, timeout=400)


def last_line(result):
    return result.out.rstrip("\n").rsplit("\n", 1)[-1]


def failing(t, *arguments):
    """The token of a run that must fail; it is the last line."""
    result = simulate(t, *arguments)
    assert result.code == 1, result
    found = TOKEN.fullmatch(last_line(result))
    assert found, result
    return found.group(1)


def test_guarded_is_clean(t):
    result = simulate(t, "--protocol", "guarded", "--schedules", "200000", "--seed", "1")
    assert result.code == 0 and "violations: 0" in result.out, result


def test_direct_is_clean(t):
    result = simulate(t, "--protocol", "direct", "--schedules", "200000", "--seed", "1")
    assert result.code == 0 and "violations: 0" in result.out, result


def test_the_naive_ways_are_found(t):
    for protocol in WRONG:
        failing(t, "--protocol", protocol, "--schedules", "1000", "--seed", "1")


def test_the_race_alone_is_enough(t):
    """Three workers look, none finds, all create: no fault is needed."""
    failing(t, "--protocol", "naive", "--workers", "3", "--keys", "1", "--faults", "none",
            "--schedules", "1000", "--seed", "1")


def test_the_readme_shows_what_its_command_prints(t):
    root = os.environ["ONEROW_SOURCE_ROOT"]
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        shown = re.search(r"^\$ build/onerow (simulate .*--faults none.*)\n([^`]*)```", file.read(),
                          re.MULTILINE)
    assert shown, "the race is no longer in the README"
    result = t.onerow(*shown.group(1).split(), "--svg", t.path("race.svg"))
    assert result.out.endswith(shown.group(2)), result
    with open(os.path.join(root, "docs", "race.svg"), "rb") as kept:
        with open(t.path("race.svg"), "rb") as drawn:
            assert kept.read() == drawn.read(), "docs/race.svg is another picture"


def test_guarded_survives_that_race(t):
    result = simulate(t, "--protocol", "guarded", "--workers", "3", "--keys", "1", "--faults", "none",
                      "--schedules", "20000", "--seed", "1")
    assert result.code == 0, result


def test_a_replay_is_the_same_bytes(t):
    for protocol in WRONG:
        token = failing(t, "--protocol", protocol, "--schedules", "1000", "--seed", "7")
        runs = [simulate(t, "--replay", token, "--svg", t.path(f"{n}.svg")) for n in range(2)]
        assert runs[0].code == 1 and runs[0].out.replace("0.svg", "1.svg") == runs[1].out, runs
        pictures = []
        for n in range(2):
            with open(t.path(f"{n}.svg"), "rb") as file:
                pictures.append(file.read())
        assert pictures[0] == pictures[1] and pictures[0].startswith(b"<svg")


def test_one_seed_is_one_run(t):
    """Whoever shares the work: the same counts for the same schedules."""
    told = []
    for jobs in ("1", "2", "3"):
        result = simulate(t, "--protocol", "guarded", "--schedules", "3000", "--seed", "42", "--json",
                          "--jobs", jobs)
        assert result.code == 0, result
        told.append(json.loads(result.out.splitlines()[-1]))
    for one in told:
        for name in list(one):
            if "second" in name or name == "jobs":
                del one[name]
    assert told[0] == told[1] == told[2], told


def test_what_is_wrong_is_said(t):
    for arguments in (["--protocol", "hopeful"], ["--faults", "gremlins"], ["--replay", "nonsense"],
                      ["--replay", ""], ["--schedules", "0"], ["--workers", "99"], ["--keys", "x"]):
        result = simulate(t, *arguments)
        assert result.code == 64 and result.err, result


if __name__ == "__main__":
    harness.main()
