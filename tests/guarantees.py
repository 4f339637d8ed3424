# SPDX-License-Identifier: Apache-2.0
"""docs/GUARANTEES.md against the tree: each promise has tests, and each test that it names exists."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import harness  # noqa: E402

SOURCE = os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath(".")
REFERENCE = re.compile(r"(tests/[\w./]+)::(\w+)")


def promises(text):
    """Id -> the text under its heading."""
    parts = re.split(r"^### ([A-Z]\d+)\. ", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def faults(text):
    found = []
    for name, body in promises(text).items():
        tests = re.search(r"^- Tests: (.*)$", body, re.MULTILINE)
        if not re.search(r"^- Assumes: \S", body, re.MULTILINE):
            found.append(f"{name} says nothing of what it assumes")
        if not tests or not REFERENCE.search(tests.group(1)):
            found.append(f"{name} has no test")
        for path, test in REFERENCE.findall(body):
            if not exists(path, test):
                found.append(f"{name} names {path}::{test}, which is not there")
    return found


def exists(path, test):
    try:
        with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
            return re.search(rf"\b{test}\b", file.read()) is not None
    except OSError:
        return False


def document():
    with open(os.path.join(SOURCE, "docs", "GUARANTEES.md"), encoding="utf-8") as file:
        return file.read()


def test_every_promise_has_its_tests(t):
    assert len(promises(document())) > 15
    assert not faults(document()), "\n".join(faults(document()))


def test_control_a_promise_without_a_test_is_found(t):
    bare = "### X1. A promise\n- Assumes: nothing.\n"
    assert faults(bare) == ["X1 has no test"]
    wrong = bare + "- Tests: tests/no_such_file.py::test_nothing\n"
    assert faults(wrong) == ["X1 names tests/no_such_file.py::test_nothing, which is not there"]


if __name__ == "__main__":
    harness.main()
