# SPDX-License-Identifier: Apache-2.0
"""Hostile inputs, each with what must become of it: outcome, line, reason, exit code.

A case stands between two good records, `before` and `after`: whatever it does, they are written,
and what is rejected lies in the dead letters with the bytes that it had.
"""
import base64
import gzip
import json
import os
import subprocess

import harness

TABLE = ("CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, d NUMERIC, text TEXT, json JSON, "
         "made AS (v + 1)); CREATE TABLE other(name TEXT NOT NULL UNIQUE, v INTEGER);")
WHERE = ["--store", "sqlite:x.db", "--table", "t", "--key", "name"]
MIB16 = 16 << 20
OK = None

# NDJSON lines: name, bytes of the line, then OK and the row's text (None: not looked at), or the
# reason's fragment
LINES = [
    ("duplicate name", b'{"name":"x","v":1,"v":2}', '"v" occurs twice'),
    ("duplicate name, escaped", rb'{"name":"x","v":1,"\u0076":2}', "occurs twice"),
    ("duplicate name, deep", b'{"name":"x","json":{"a":[{"b":1,"b":2}]}}', "occurs twice"),
    ("64 levels", b'{"name":"x","json":' + b"[" * 63 + b"]" * 63 + b"}", OK),
    ("65 levels", b'{"name":"x","json":' + b"[" * 64 + b"]" * 64 + b"}", "64 deep"),
    ("100,000 levels", b'{"name":"x","json":' + b"[" * 100000 + b"]" * 100000 + b"}", "64 deep"),
    ("invalid UTF-8", b'{"name":"x\xff"}', "UTF-8"),
    ("overlong UTF-8", b'{"name":"x\xc0\xaf"}', "UTF-8"),
    ("surrogate in UTF-8", b'{"name":"x\xed\xa0\x80"}', "UTF-8"),
    ("cut off UTF-8", b'{"name":"x\xe2\x82"}', "UTF-8"),
    ("lone high surrogate", rb'{"name":"x\ud800"}', "surrogate"),
    ("lone low surrogate", rb'{"name":"x\udc00y"}', "surrogate"),
    ("whole surrogate pair", rb'{"name":"\ud83d\ude00"}', OK),
    ("NaN", b'{"name":"x","v":NaN}', "NaN"),
    ("Infinity", b'{"name":"x","v":-Infinity}', "Infinity"),
    ("line that was cut off", b'{"name":"x","v":', "inside the object: cut off"),
    ("string that was cut off", b'{"name":"x', "inside a string: cut off"),
    ("second object", b'{"name":"x"} {"name":"y"}', "one object per line"),
    ("text behind the object", b'{"name":"x"} x', "'x' follows the object"),
    ("comma behind the object", b'{"name":"x"},', "',' follows the object"),
    ("trailing comma", b'{"name":"x",}', "trailing comma"),
    ("comment", b'{"name":"x"/* */}', "a comment"),
    ("single quotes", b"{'name':'x'}", "single quote"),
    ("NUL byte", b'{"name":"x\x00y"}', "U+0000"),
    ("escaped NUL", rb'{"name":"x\u0000y"}', "U+0000"),
    ("escaped NUL in a field name", rb'{"name":"x","\u0000":1}', "U+0000"),
    ("control character", b'{"name":"x\x01y"}', "control"),
    ("tab in a string", b'{"name":"x\ty"}', "control"),
    ("escaped control character", rb'{"name":"x\u0001y"}', OK),
    ("missing key", b'{"v":1}', 'key column "name" is missing'),
    ("NULL key", b'{"name":null}', 'key column "name" is NULL'),
    ("key of another type", b'{"name":{"a":1}}', 'key column "name" is a JSON object'),
    ("number as a text key", b'{"name":5}', 'key column "name" is a number'),
    ("text in an INTEGER column: SQLite takes it", b'{"name":"x","v":"five"}', OK),
    ("unknown field", b'{"name":"x","colour":1}', 'unknown field "colour"'),
    ("field in other case", b'{"name":"x","V":1}', 'the table\'s column is "v"'),
    ("generated column", b'{"name":"x","made":1}', "cannot be written"),
    ("empty object", b"{}", 'key column "name" is missing'),
    ("array", b'[{"name":"x"}]', "an array where an object"),
    ("number", b"5", "a number where an object"),
    ("text", b'"x"', "a string where an object"),
    ("null", b"null", "null where an object"),
    ("word", b"hello", "an object is expected"),
    ("int beyond 64 bits", b'{"name":"x","v":9223372036854775808}', '"v": the number does not fit'),
    ("1e999", b'{"name":"x","d":1e999}', '"d": the number does not fit'),
    ("number of 1,001 digits", b'{"name":"x","d":' + b"1" * 1001 + b"}", "a number of 1001 digits"),
    ("negative zero", b'{"name":"x","v":-0}', OK),
    ("leading zero", b'{"name":"x","v":01}', "leading zero"),
    ("100,000 fields", b'{"name":"x",' + b",".join(b'"f%d":1' % i for i in range(100000)) + b"}",
     "field"),
    ("100,000 deep fields", b'{"name":"x","json":{' +
     b",".join(b'"f%d":1' % i for i in range(100000)) + b"}}", OK),
    ("16 MiB", b'{"name":"x","text":"' + b"x" * MIB16 + b'"}', OK),
    ("16 MiB and a byte", b'{"name":"x","text":"' + b"x" * (MIB16 + 1) + b'"}', "16 MiB"),
    ("key of 64 KiB and more", b'{"name":"' + b"k" * 70000 + b'"}', "longer than a key may be"),
    ("bars and backslashes in the key", rb'{"name":"a|b\\|c\\\\"}', OK),
    ("quotes in the key", rb'{"name":"a\"b"}', OK),
    ("emoji in the key", '{"name":"👩‍👩‍👧‍👦"}'.encode(), OK),
    ("empty key", b'{"name":""}', OK),
    ("SQL in the key", b"{\"name\":\"'); DROP TABLE t; --\"}", OK),
    ("blank line", b"   ", "skipped"),
    ("empty line", b"", "skipped"),
    ("CR at the line's end", b'{"name":"x"}\r', OK),
    ("blanks around the object", b' \t{"name":"x"} ', OK),
]

HEADER = b"name,v,text\n"
ROWS = [  # of a CSV file
    ("field count, less", b"x,1", "fields"),
    ("field count, more", b"x,1,a,b", "fields"),
    ("quote in a plain field", b'x,1,a"b', "quote"),
    ("text behind a closing quote", b'x,1,"a"b', "quote"),
    ("invalid UTF-8 in CSV", b"x,1,\xff", "UTF-8"),
    ("NUL in CSV", b"x,1,a\x00", "U+0000"),
    ("lone CR", b"x,1,a\rb", "carriage return"),
    ("NULL key in CSV", b",1,a", 'key column "name" is NULL'),
    ("text in an INTEGER column of CSV: SQLite takes it", b"x,five,a", OK),
    ("empty text as key", b'"",1,a', OK),
    ("quotes and commas", b'"a,""b""",1,"line\nbreak"', OK),
    ("CRLF", b"x,1,a\r", OK),
    ("empty row", b"", "skipped"),
    ("formula", b"x,1,=1+1", OK),
]


def raw_of(letter):
    """The bytes that a letter kept of a record that could not be read, or its JSON."""
    if letter.get("raw") is not None:
        return letter["raw"].encode()
    if letter.get("raw_base64") is not None:
        return base64.b64decode(letter["raw_base64"])
    return None


def put(t, path, number, *more):
    """A put with a state folder of its own: the result, the result lines and the letters."""
    t.env["ONEROW_STATE"] = t.path(f"state{number}")
    t.sql("x.db", "DELETE FROM t")
    result = t.onerow("put", *WHERE, "--results", "R", *more, path)
    return result, t.results("R") if os.path.exists(t.path("R")) else [], \
        t.letters(f"state{number}")


def check_case(t, number, name, head, before, line, wanted, after, ending):
    text = head + before + b"\n" + line + b"\n" + after + b"\n"
    result, lines, letters = put(t, t.write("in" + ending, text), number)
    what = (name, result, [str(told)[:300] for told in lines])
    names = {row[0] for row in t.sql("x.db", "SELECT substr(name, 1, 100) FROM t")}
    assert {"before", "after"} <= names, (what, names)
    assert result.balance["created"] == len(names), what
    first = head.count(b"\n") + 2
    if wanted is OK or wanted == "skipped":
        assert result.code == 0 and not letters, what
        assert len(names) == (3 if wanted is OK else 2), what
        return
    told = [told for told in lines if told["outcome"] not in harness.ACKNOWLEDGED]
    assert result.code == 1 and len(told) == 1 and len(letters) == 1, what
    assert told[0]["outcome"] == "rejected" and told[0]["line"] == first, what
    assert wanted in told[0]["reason"], what
    assert result.balance["rejected"] == 1, what
    letter = letters[0]
    assert letter["line"] == first and letter["reason"] == told[0]["reason"], (what, letter)
    check_kept(line, letter)


def check_kept(line, letter):
    """The letter has the record: as JSON, when it could be read, or as its bytes."""
    if letter.get("record") is not None:
        return
    raw = raw_of(letter)
    assert raw is not None, str(letter)[:300]
    if len(line) > 65536:  # of what cannot be read only the beginning is kept, and said to be
        assert raw == line[:65536] and letter["raw_len"] == len(line), str(letter)[:300]
    else:
        assert raw.rstrip(b"\r\n") == line.rstrip(b"\r\n"), (line[:200], str(letter)[:300])


def check_all(t, cases, head, before, after, ending):
    failed = []
    for number, (name, line, wanted) in enumerate(cases):
        try:
            check_case(t, number, name, head, before, line, wanted, after, ending)
        except AssertionError as error:
            failed.append(str(error)[:1500])
    assert not failed, "\n".join(failed)


def test_hostile_lines(t):
    t.sql("x.db", TABLE)
    check_all(t, LINES, b"", b'{"name":"before"}', b'{"name":"after"}', ".ndjson")
    print(f"# {len(LINES)} hostile lines of NDJSON")
    assert len(LINES) >= 50


def test_hostile_rows(t):
    t.sql("x.db", TABLE)
    check_all(t, ROWS, HEADER, b"before,1,a", b"after,1,a", ".csv")


def test_a_quote_that_is_never_closed(t):
    """It takes in all that follows: one rejected row, whose reason names the line of the quote."""
    t.sql("x.db", TABLE)
    result, lines, letters = put(t, t.write("in.csv", HEADER + b'before,1,a\nx,1,"a\ny,1,b\nz,1,c\n'),
                                 0)
    assert result.code == 1 and result.balance["created"] == 1, result
    assert lines[1]["outcome"] == "rejected" and "line 3" in str(lines[1]), lines
    assert raw_of(letters[0]).startswith(b'x,1,"a\ny,1,b'), letters


def test_wrong_types_of_a_strict_table(t):
    """Where SQLite checks types, what it refuses is rejected with its own words."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, d REAL) STRICT")
    path = t.ndjson("in.ndjson", [{"name": "a", "v": "five"}, {"name": "b", "v": "5"},
                                  {"name": "c", "v": 1.5}, {"name": "d", "d": "x"},
                                  {"name": "e", "d": {"a": 1}}, {"name": "f", "d": 1}])
    result, lines, letters = put(t, path, 0)
    assert result.code == 1 and result.balance["created"] == 2, result
    refused = {line["key"]["name"]: line["reason"] for line in lines
               if line["outcome"] == "rejected"}
    assert refused == {"a": "cannot store TEXT value in INTEGER column t.v",
                       "c": "cannot store REAL value in INTEGER column t.v",
                       "d": "cannot store TEXT value in REAL column t.d",
                       "e": "cannot store TEXT value in REAL column t.d"}, refused
    assert len(letters) == 4 and all(letter["record"] for letter in letters)


def test_an_array_at_the_top(t):
    """A file that is one array is told what it is, and how to take it apart."""
    t.sql("x.db", TABLE)
    result, lines, _ = put(t, t.write("in.json", b'[{"name":"a"},\n{"name":"b"}]\n'), 0)
    assert result.code == 1 and result.balance["created"] == 0, result
    assert "jq -c '.[]'" in lines[0]["reason"], lines


def test_the_last_line(t):
    """Without a line end it counts when it is whole; cut off, it is said to be truncated."""
    t.sql("x.db", TABLE)
    result, lines, _ = put(t, t.write("in.ndjson", b'{"name":"a"}\n{"name":"b"}'), 0)
    assert result.code == 0 and len(lines) == 2, result
    result, lines, letters = put(t, t.write("in.ndjson", b'{"name":"a"}\n{"name":"b","v":1'), 1)
    assert result.code == 1 and "truncated" in lines[1]["reason"], lines
    assert raw_of(letters[0]) == b'{"name":"b","v":1', letters


def test_rows_hold_what_was_written(t):
    """Hostile text arrives byte for byte."""
    t.sql("x.db", TABLE)
    texts = ["👩‍👩‍👧‍👦", "a|b\\|c\\\\", "'); DROP TABLE t; --", '"', "\u0001\u001f\u007f", "\u2028",
             "e\u0301", "\u00e9", " x ", "\ufeffx", "=1+1", "\\u0000", "ẞß"]
    path = t.ndjson("in.ndjson", [{"name": text, "text": text} for text in texts])
    result, lines, _ = put(t, path, 0)
    assert result.code == 0 and result.balance["created"] == len(texts), result
    stored = {name for (name,) in t.sql("x.db", "SELECT hex(name) FROM t WHERE name = text")}
    assert stored == {text.encode().hex().upper() for text in texts}
    assert [line["key"]["name"] for line in lines] == texts


# ---- whole files ------------------------------------------------------------------------------------

GOOD = [{"name": f"k{i}", "v": i} for i in range(3000)]
TEXT = "".join(json.dumps(record) + "\n" for record in GOOD).encode()


def zstd(t, data):
    return subprocess.run([harness.need("zstd", "zstd"), "-c"], input=data, capture_output=True,
                          check=True).stdout


def test_packed_files(t):
    """gzip and zstd, told by content, also in several parts, whatever the name says."""
    t.sql("x.db", TABLE)
    half = TEXT.index(b"\n", len(TEXT) // 2) + 1
    files = {"in.ndjson.gz": gzip.compress(TEXT), "in.ndjson.zst": zstd(t, TEXT),
             "liar.ndjson": gzip.compress(TEXT),
             "parts.ndjson.gz": gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:]),
             "parts.ndjson.zst": zstd(t, TEXT[:half]) + zstd(t, TEXT[half:])}
    for number, (name, data) in enumerate(files.items()):
        result, _, _ = put(t, t.write(name, data), number)
        assert result.code == 0 and result.balance["created"] == len(GOOD), (name, result)


def check_65(t, name, data, fragment, number=0, least=0):
    """Exit code 65; what was read before is written and told."""
    result, lines, _ = put(t, t.write(name, data), number)
    assert result.code == 65 and fragment in result.err, (name, result)
    assert result.balance["created"] == len(lines) >= least, (name, result)
    assert t.count("x.db", "SELECT count(*) FROM t") == len(lines), name


def test_broken_archives(t):
    t.sql("x.db", TABLE)
    packed = gzip.compress(TEXT, compresslevel=1)
    middle = len(packed) * 3 // 4
    stored = bytearray(gzip.compress(TEXT, compresslevel=0))
    second = 15 + int.from_bytes(stored[11:13], "little")  # the second block's beginning
    stored[second + 1] ^= 255  # its length is now another one than its length says
    check_65(t, "cut.ndjson.gz", packed[:middle], "truncated", 0, 1)
    check_65(t, "bad.ndjson.gz", bytes(stored), "corrupt", 1, 1)
    frames = zstd(t, TEXT[:TEXT.index(b"\n", 1000) + 1]) + zstd(t, TEXT)
    check_65(t, "cut.ndjson.zst", frames[:-100], "truncated", 2, 1)
    check_65(t, "x.ndjson.xz", b"\xfd7zXZ\x00" + b"x" * 100, "xz", 3)
    check_65(t, "x.ndjson.zip", b"PK\x03\x04" + b"x" * 100, "zip", 4)


def test_unreadable_inputs(t):
    t.sql("x.db", TABLE)
    os.mkdir(t.path("folder.ndjson"))
    cases = [("folder.ndjson", "directory"), ("missing.ndjson", "No such file")]
    if os.geteuid():  # root may read everything
        t.write("closed.ndjson", "{}")
        os.chmod(t.path("closed.ndjson"), 0)
        cases.append(("closed.ndjson", "Permission denied"))
    cases.append(("/proc/self/mem", "Input/output error"))
    for name, fragment in cases:
        result = t.onerow("put", *WHERE, name)
        code = 69 if "mem" in name else 65
        assert result.code == code and fragment in result.err and name in result.err, result
    good = t.ndjson("good.ndjson", GOOD[:10])
    result = t.onerow("put", *WHERE, good, "missing.ndjson", good)
    assert result.code == 65 and result.balance["created"] == 10, result


def test_csv_headers(t):
    t.sql("x.db", TABLE)
    check_65(t, "twice.csv", b"name,v,v\nx,1,2\n", "twice")
    check_65(t, "unnamed.csv", b"name,,v\nx,1,2\n", "name")
    check_65(t, "semicolons.csv", b"name;v\nx;1\n", ";")
    check_65(t, "tabs.csv", b"name\tv\nx\t1\n", "TAB")
    check_65(t, "utf16.csv", "name,v\nx,1\n".encode("utf-16"), "iconv")
    result, lines, _ = put(t, t.write("unknown.csv", b"name,colour\nx,1\n"), 1)
    assert result.code == 1 and 'unknown field "colour"' in lines[0]["reason"], (result, lines)
    result, lines, _ = put(t, t.write("keyless.csv", b"v,text\n1,a\n"), 2)
    assert result.code == 1 and 'key column "name" is missing' in lines[0]["reason"], lines


def test_empty_files(t):
    t.sql("x.db", TABLE)
    check_65(t, "empty.csv", b"", "CSV begins with a header")
    for name, data in (("empty.ndjson", b""), ("blank.ndjson", b"\n \r\n\n"),
                       ("header.csv", b"name,v\n"), ("bom.ndjson", b"\xef\xbb\xbf"),
                       ("empty.gz", gzip.compress(b""))):
        result, lines, _ = put(t, t.write(name, data), 0)
        assert result.code == 0 and result.balance["read"] == 0 and not lines, (name, result)


def test_byte_order_marks_and_line_ends(t):
    t.sql("x.db", TABLE)
    bom = b"\xef\xbb\xbf"
    for name, data in (("a.ndjson", bom + b'{"name":"a"}\r\n\r\n{"name":"b"}\r\n'),
                       ("a.csv", bom + b"name,v\r\na,1\r\n\r\nb,2\r\n"),
                       ("noname", bom + b'{"name":"a"}\n{"name":"b"}'),
                       ("nocsv", b"name,v\na,1\nb,2")):
        result, lines, _ = put(t, t.write(name, data), 0)
        assert result.code == 0 and result.balance["created"] == 2, (name, result)
        assert {row[0] for row in t.sql("x.db", "SELECT name FROM t")} == {"a", "b"}, name


# ---- envelopes ----------------------------------------------------------------------------------------

CONFIGURATION = """
stores:
  app: { url: "sqlite:x.db" }
tables:
  t: { store: app, key: [name] }
  second: { store: app, location: other, key: [name] }
"""


def test_envelopes(t):
    """One input feeds two tables; a line of an unknown table is rejected, the others go in."""
    t.sql("x.db", TABLE)
    t.write("onerow.yaml", CONFIGURATION)
    path = t.ndjson("in.ndjson", [
        {"table": "t", "record": {"name": "a", "v": 1}},
        {"table": "second", "record": {"name": "a", "v": 2}},
        {"table": "third", "record": {"name": "a"}},
        {"table": "second", "record": {"name": None}},
        {"table": "second", "record": "a"},
        {"table": "second", "record": {"name": "b"}, "parent": {"table": "t", "key": "a"}},
        {"name": "c"},
        {"table": "t", "record": {"name": "d", "v": 4}},
    ])
    result = t.onerow("put", "--results", "R", path)
    lines = t.results("R")
    assert result.code == 1 and result.balance["created"] == 3, result
    assert [line["outcome"] for line in lines] == ["created"] * 2 + ["rejected"] * 5 + ["created"]
    assert [line["table"] for line in lines][:4] == ["t", "second", "third", "second"], lines
    for line, fragment in zip(lines[2:7], ('"third"', "is NULL", "", "pages", "no TABLE")):
        assert fragment in line["reason"], line
    assert t.sql("x.db", "SELECT name, v FROM t ORDER BY 1") == [["a", "1"], ["d", "4"]]
    assert t.sql("x.db", "SELECT name, v FROM other") == [["a", "2"]]
    assert {letter["line"] for letter in t.letters()} == {3, 4, 5, 6, 7}


def test_envelopes_with_other_fields(t):
    """Lines that look alike hold records that do not: each value goes to its own column."""
    t.sql("x.db", "CREATE TABLE wide (name TEXT NOT NULL PRIMARY KEY, p, q)")
    t.write("onerow.yaml", CONFIGURATION + "  wide: { store: app, key: [name] }\n")
    records = [{"name": "a", "p": 1}, {"name": "b", "q": 2}, {"q": 3, "name": "c"}, {"name": "d"},
               {"name": "e", "q": 5, "p": 6}, {"name": "f", "nonsense": 1}]
    result = t.onerow("put", "--results", "R", t.ndjson("in.ndjson", [
        {"table": "wide", "record": record} for record in records]))
    assert result.code == 1 and result.balance["created"] == 5, result
    assert "nonsense" in t.results("R")[5]["reason"], t.results("R")
    assert t.sql("x.db", "SELECT * FROM wide ORDER BY 1") == [
        ["a", "1", ""], ["b", "", "2"], ["c", "", "3"], ["d", "", ""], ["e", "6", "5"]]


if __name__ == "__main__":
    harness.main()
