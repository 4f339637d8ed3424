#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""k1 once more, written from docs/KEYS.md with Python's own means (unicodedata, re, integers,
datetime), to check the C code and the vector file against something independent.

    key_vectors.py VECTORS                checks the vector file
    key_vectors.py VECTORS --filter PROG  also: PROG (key_filter) answers the vectors, every
                                          code point, and random cases as this file does
"""
import argparse
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import unicodedata

KEY_MAX = 65536
CHARACTERS_MAX = 1000
WHITE_SPACE = "".join(map(chr, [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
                                0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))


class Number(str):
    """A JSON number in the digits it was written with."""


class Refused(Exception):
    pass


def load(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


# ---- canonical parts


def normalise_once(text, rules):
    if rules & {"nfc", "casefold"} and any(unicodedata.category(c) == "Cn" for c in text):
        raise Refused("unassigned")
    if "nfc" in rules:
        text = unicodedata.normalize("NFC", text)
    if "trim" in rules:
        text = text.strip(WHITE_SPACE)
    if "casefold" in rules:
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
    return text


def text_of(kind, text, column):
    if kind not in ("text", "untyped") or "\0" in text or len(text.encode()) > KEY_MAX:
        raise Refused("text")
    rules = set(column.get("normalize", []))
    for _ in range(4):
        before, text = text, normalise_once(text, rules)
        if text == before:
            return text
    raise Refused("unstable")


def number_of(kind, text, _column, integer=False):
    """The value as an integer times a power of ten, then written out."""
    match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", text)
    if kind not in ("number", "text", "untyped") or not match:
        raise Refused("no number")
    sign, whole, fraction, exponent = match.groups()
    fraction = fraction or ""
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    power = int(exponent or "0") - len(fraction)
    while digits.endswith("0"):
        digits, power = digits[:-1], power + 1
    if integer and power < 0:
        raise Refused("not integral")
    if abs(power) > 2 * CHARACTERS_MAX + len(digits):
        raise Refused("too long")
    if power >= 0:
        written = digits + "0" * power
    else:
        digits = digits.rjust(1 - power, "0")
        written = digits[:power] + "." + digits[power:]
    if len(sign + written) > CHARACTERS_MAX:
        raise Refused("too long")
    return sign + written


def int_of(kind, text, column):
    return number_of(kind, text, column, integer=True)


def bool_of(kind, text, column):
    if kind == "number":
        text = number_of(kind, text, column)
        if text not in ("0", "1"):
            raise Refused("neither 0 nor 1")
    words = {"true": "true", "t": "true", "1": "true", "false": "false", "f": "false", "0": "false"}
    word = text.lower() if text.isascii() else ""
    if kind == "json" or word not in words:
        raise Refused("no bool")
    return words[word]


def date_of(kind, text, _column):
    if kind not in ("text", "untyped") or not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise Refused("no date")
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise Refused("no such day") from None


MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})"
                    r"(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
                    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?")


def timestamp_of(kind, text, column):
    match = MOMENT.fullmatch(text)
    if kind not in ("text", "untyped") or not match:
        raise Refused("no timestamp")
    date, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    day = datetime.date.fromisoformat(date_of(kind, date, column))
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise Refused("no such zone")
    offset = datetime.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        local = datetime.datetime(day.year, day.month, day.day, int(hour), int(minute),
                                  int(second or 0))
        moment = local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        raise Refused("no such time") from None
    fraction = (fraction or "").rstrip("0")
    return moment.isoformat() + ("." + fraction if fraction else "") + "Z"


def uuid_of(kind, text, _column):
    dashed = "-".join("[0-9a-fA-F]{%d}" % n for n in (8, 4, 4, 4, 12))
    if kind not in ("text", "untyped") or not re.fullmatch(f"{dashed}|[0-9a-fA-F]{{32}}", text):
        raise Refused("no UUID")
    digits = text.replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


TYPES = {"text": ("t", text_of), "int": ("i", int_of), "decimal": ("d", number_of),
         "bool": ("b", bool_of), "date": ("D", date_of), "timestamp": ("T", timestamp_of),
         "uuid": ("u", uuid_of)}


def kind_and_text(value):
    if isinstance(value, bool):
        return "bool", "true" if value else "false"
    if isinstance(value, Number):
        return "number", str(value)
    if isinstance(value, str):
        return "text", value
    if isinstance(value, dict) and "untyped" in value:
        return "untyped", value["untyped"]
    if isinstance(value, dict) and "hex" in value:
        try:
            return "text", bytes.fromhex(value["hex"]).decode()
        except UnicodeDecodeError:
            raise Refused("not UTF-8") from None
    return "json", json.dumps(value)


def part_of(column, value):
    if value is None:
        if column.get("nulls") == "equal":
            return "n"
        raise Refused("NULL")
    tag, canonical = TYPES[column["type"]]
    content = canonical(*kind_and_text(value), column)
    return tag + ":" + content.replace("\\", "\\\\").replace("|", "\\p")


def answer_to(case):
    """What the vector file and key_filter should say of a case."""
    parts = ["k1"]
    for at, (column, value) in enumerate(zip(case["columns"], case["values"], strict=True)):
        try:
            parts.append(part_of(column, value))
        except Refused as why:
            return {"error": True, "column": at, "why": str(why)}
    key = "|".join(parts)
    if len(key.encode()) > KEY_MAX:
        return {"error": True, "column": len(parts) - 1, "why": "too long"}
    return {"k1": key, "sha256": hashlib.sha256(key.encode()).hexdigest()}


def agree(mine, other):
    if "error" in mine or "error" in other:
        return (mine.get("error"), mine.get("column")) == (
            other.get("error"), int(other.get("column", -1)))
    return mine["k1"] == other["k1"] and mine["sha256"] == other["sha256"]


# ---- the three checks


def check_vectors(vectors):
    for vector in vectors:
        mine = answer_to(vector)
        assert agree(mine, vector), f"the vector says otherwise than this file: {vector} {mine}"
    print(f"# {len(vectors)} vectors agree with this file")


class Filter:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding="utf-8")

    def ask(self, source):
        self.process.stdin.write(source + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def finish(self):
        self.process.stdin.close()
        return self.process.wait()


def source_of(case):
    """The case as JSON, with numbers in the digits they have."""
    values = [str(v) if isinstance(v, Number) else json.dumps(v) for v in case["values"]]
    return '{"columns":%s,"values":[%s]}' % (json.dumps(case["columns"]), ",".join(values))


def compare(program, case):
    mine, its = answer_to(case), program.ask(source_of(case))
    # Newer Unicode tables assign what older ones do not; what both assign is the same by policy.
    if mine.get("why") != "unassigned" and "does not assign" in its.get("reason", ""):
        return
    assert agree(mine, its), f"{case}\n  this file: {mine}\n  C:         {its}"


def assigned():
    """Every assigned character that UTF-8 can hold, except U+0000."""
    for code in range(1, 0x110000):
        if unicodedata.category(chr(code)) not in ("Cn", "Cs"):
            yield chr(code)


def check_code_points(program):
    characters = list(assigned())
    for rules in (["nfc"], ["casefold"], ["nfc", "trim", "casefold"]):
        column = {"type": "text", "normalize": rules}
        for at in range(0, len(characters), 500):
            run = "|".join(characters[at:at + 500])
            compare(program, {"columns": [column], "values": [run]})
    for character in characters:  # what one mark does to another, and to letters
        if unicodedata.combining(character) or unicodedata.decomposition(character):
            text = f"x{character} \u0345{character}\u0301\u0323{character}\u0345 I{character}\u0307"
            compare(program, {"columns": [column], "values": [text]})
    print(f"# {len(characters)} code points agree")


def strategies():
    from hypothesis import strategies as st

    nasty = st.sampled_from(list("|\\pntkn:1 \t\u0301\u0323\u0307\u0345\u0308\u0130\u03a3\u03c2"
                                 "\u00df\u1e9e\u1fb3\u1f82\u1112\u1161\u11ab\ud558\u212b\u3000"
                                 "\ufb03\u0378\ufdd0\uffff\U0010ffff"))
    letters = st.characters(blacklist_categories=("Cs", "Cn"), blacklist_characters="\0")
    text = st.lists(st.one_of(nasty, letters), max_size=24).map("".join)
    digits = st.text("0123456789", min_size=1, max_size=25)
    number = st.builds(
        lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
        st.sampled_from(["", "-"]), digits,
        st.one_of(st.just(""), digits.map(lambda d: "." + d)),
        st.one_of(st.just(""), st.integers(-1200, 1200).map(lambda e: f"e{e}"),
                  st.just("E+2"), st.just("e999999999999")))
    json_number = number.filter(lambda n: re.fullmatch(r"-?(0|[1-9][0-9]*)([.eE].*)?", n))
    moment = st.builds(
        lambda day, sep, time, zone: f"{day.isoformat()}{sep}{time}{zone}", st.dates(),
        st.sampled_from("Tt "), st.one_of(
            st.times().map(lambda t: t.isoformat()), st.times().map(lambda t: t.isoformat()[:5]),
            st.sampled_from(["24:00:00", "23:59:60", "12:00:00.000000001"])),
        st.one_of(st.sampled_from(["", "Z", "z", "+24:00", "+0530", "-01", "UTC"]),
                  st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 24),
                            st.integers(0, 60))))
    date = st.one_of(st.dates().map(lambda d: d.isoformat()),
                     st.builds("{:04}-{:02}-{:02}".format, st.integers(0, 9999),
                               st.integers(0, 13), st.integers(0, 32)))
    uuid = st.one_of(st.uuids().map(str), st.uuids().map(lambda u: u.hex.upper()))
    words = st.sampled_from(["true", "F", "T", "1", "0", "False", "yes", "", "NaN", "+1", ".5"])
    spelled = st.one_of(text, number, moment, date, uuid, words)
    value = st.one_of(st.none(), st.booleans(), json_number.map(Number), spelled,
                      spelled.map(lambda t: {"untyped": t}), st.just({"a": [1]}),
                      st.binary(max_size=6).map(lambda b: {"hex": b.hex()}))
    fitting = {"text": text, "int": st.one_of(number, number.map(Number).filter(json_like)),
               "decimal": st.one_of(number, number.map(Number).filter(json_like)),
               "bool": words, "date": date, "timestamp": moment, "uuid": uuid}
    rules = st.lists(st.sampled_from(["nfc", "trim", "casefold"]), unique=True)

    def one_part(type_name):
        column = st.builds(lambda r, nulls: {"type": type_name, "normalize": r, "nulls": nulls},
                           rules, st.sampled_from(["reject", "equal"]))
        return st.tuples(column, st.one_of(fitting[type_name], value))

    part = st.sampled_from(sorted(TYPES)).flatmap(one_part)
    return st.lists(part, min_size=1, max_size=4).map(
        lambda parts: {"columns": [p[0] for p in parts], "values": [p[1] for p in parts]})


def json_like(number):
    """JSON allows no leading zeros."""
    return re.fullmatch(r"-?(0|[1-9][0-9]*)([.eE].*)?", number) is not None


def check_random(program):
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis.database import InMemoryExampleDatabase

    number = int(os.environ.get("ONEROW_TEST_SEED", "1"), 0)
    examples = int(os.environ.get("ONEROW_TEST_EXAMPLES", "2000"))

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=InMemoryExampleDatabase(),
              suppress_health_check=list(HealthCheck))
    @given(strategies())
    def agrees(case):
        compare(program, case)

    agrees()
    print(f"# {examples} random cases agree (ONEROW_TEST_SEED={number})")


def main():
    parser = argparse.ArgumentParser(description="checks k1 keys independently")
    parser.add_argument("vectors")
    parser.add_argument("--filter", metavar="PROG", help="the key_filter program to compare with")
    options = parser.parse_args()
    print(f"1..{4 if options.filter else 1}")
    with open(options.vectors, encoding="utf-8") as file:
        vectors = load(file.read())
    check_vectors(vectors)
    print(f"ok 1 - the {len(vectors)} vectors")
    if not options.filter:
        return 0
    program = Filter(options.filter)
    its_unicode = program.ask('{"version":true}')["version"]
    print(f"# Unicode: {unicodedata.unidata_version} here, {its_unicode} in C")
    for vector in vectors:
        assert agree(answer_to(vector), program.ask(source_of(vector))), vector
    print("ok 2 - the C code answers them alike")
    check_code_points(program)
    print("ok 3 - every code point")
    check_random(program)
    print("ok 4 - random keys")
    return program.finish()



if __name__ == "__main__":
    sys.exit(main())
