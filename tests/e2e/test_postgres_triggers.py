# SPDX-License-Identifier: Apache-2.0
"""Tables with triggers: one that normalises, one that swallows, one that raises, and
suppress_redundant_updates_trigger(), which returns NULL as one that swallows does, but for rows that
would not change.

A row's version (ctid and xmin) tells whether it was written, and a table that a trigger writes to
tells whether anything stays of what onerow asked the triggers.
"""
import harness
import postgres
from postgres import outcomes, put

CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
  t:
    store: app
    key: [{key}]
{more}"""
TABLE = "CREATE TABLE t(k text PRIMARY KEY, v int NOT NULL DEFAULT 1, w text)"


def trigger(name, events, body, timing="BEFORE", when=""):
    return (f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$; "
            f"CREATE TRIGGER {name} {timing} {events} ON t FOR EACH ROW {when} "
            f"EXECUTE FUNCTION {name}()")


BOTH = "INSERT OR UPDATE"
NORMALISE = "NEW.w := lower(trim(NEW.w)); RETURN NEW;"
SWALLOW = "IF NEW.v < 0 THEN RETURN NULL; END IF; RETURN NEW;"
SUPPRESS = ("CREATE TRIGGER m_suppress BEFORE UPDATE ON t FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()")


def server():
    return postgres.shared()


def place(t, *statements, key="k", more="", role="postgres"):
    database = server().database(*statements)
    url = server().url(database).replace("postgres@", role + "@")
    t.write("onerow.yaml", CONFIGURATION.format(url=url, key=key, more=more))
    return database


def everything(database, columns="*"):
    return server().sql(database, f"SELECT {columns} FROM t ORDER BY 1")


def versions(database):
    """Where each row lies and who wrote it: any write changes that."""
    return everything(database, "k, tableoid, ctid, xmin")


def test_one_that_normalises(t):
    """The second put is unchanged, as what is stored would not be another."""
    database = place(t, TABLE, trigger("normalise", BOTH, NORMALISE))
    records = [{"k": f"k{i}", "v": i, "w": f"  Text {i} "} for i in range(20)]
    assert outcomes(put(t, records)) == ["created"] * 20
    assert outcomes(put(t, records)) == ["unchanged"] * 20
    assert server().sql(database, "SELECT w FROM t WHERE k = 'k7'") == [["text 7"]]
    records[7]["w"] = " Other"
    assert outcomes(put(t, records)) == ["unchanged"] * 7 + ["updated"] + ["unchanged"] * 12


def test_one_that_swallows(t):
    database = place(t, TABLE, trigger("swallow", BOTH, SWALLOW))
    records = [{"k": f"k{i}", "v": -3 if i == 3 else i} for i in range(20)]
    told = put(t, records)
    assert outcomes(told) == ["created"] * 3 + ["rejected"] + ["created"] * 16
    assert "trigger" in told[3][1], told[3]
    assert outcomes(put(t, records)) == ["unchanged"] * 3 + ["rejected"] + ["unchanged"] * 16
    assert outcomes(put(t, [{"k": "k0", "v": -1}])) == ["rejected"]
    assert server().sql(database, "SELECT v FROM t WHERE k = 'k0'") == [["0"]]
    assert server().count(database, "SELECT count(*) FROM t") == 19


def test_one_that_raises(t):
    """It rejects its record alone, in its own words."""
    database = place(t, TABLE, trigger("complain", BOTH, "IF NEW.v = 13 THEN RAISE 'no thirteen' "
                                       "USING HINT = 'take twelve'; END IF; RETURN NULL;", "AFTER"))
    told = put(t, [{"k": f"k{i}", "v": i} for i in range(20)])
    assert outcomes(told) == ["created"] * 13 + ["rejected"] + ["created"] * 6
    assert "no thirteen" in told[13][1], told[13]
    assert server().count(database, "SELECT count(*) FROM t") == 19


# ---- suppressed, or swallowed -------------------------------------------------------------------

def contest(t, database):
    """A batch in which rows are as triggers would make them (unchanged), differ (updated), are not
    there (created), and are swallowed (rejected), in any order. What is stored says who is right."""
    kinds = ["unchanged", "updated", "created", "rejected"]
    wanted = [t.random.choice(kinds) for _ in range(60)] + kinds
    t.random.shuffle(wanted)
    there = [i for i, kind in enumerate(wanted) if kind != "created"]
    server().sql(database, "INSERT INTO t(k, v, w) VALUES " +
                 ", ".join(f"('k{i:02d}', 1, 'text {i}')" for i in there))
    records = []
    for i, kind in enumerate(wanted):
        records.append({"k": f"k{i:02d}", "v": -1 if kind == "rejected" else 1,
                        "w": f" Other {i}" if kind == "updated" else f" Text {i} "})
    before = {row[0]: row for row in versions(database)}
    told = put(t, records)
    assert outcomes(told) == wanted, list(zip(records, told, wanted))
    assert all("trigger" in reason for outcome, reason in told if outcome == "rejected")
    for i, row in enumerate(versions(database)):
        same = before.get(row[0]) == row
        assert same == (wanted[i] in ("unchanged", "rejected")), (row, wanted[i])
    return records, wanted


def check(t, *statements, **options):
    """The contest, then once more: what was written is unchanged, what was swallowed is rejected."""
    database = place(t, *statements, **options)
    records, wanted = contest(t, database)
    before = versions(database)
    again = ["rejected" if kind == "rejected" else "unchanged" for kind in wanted]
    assert outcomes(put(t, records)) == again
    assert outcomes(put(t, records, "--batch", "1")) == again
    assert versions(database) == before
    return database


NORMALISE_UPDATE = trigger("a_normalise", "UPDATE", NORMALISE)
NORMALISE_BOTH = trigger("a_normalise", BOTH, NORMALISE)


def test_suppressed_is_unchanged(t):
    """Whether the trigger that swallows is called before or behind the one that suppresses, and
    whichever of them is called for INSERT, too."""
    for normalise in (NORMALISE_UPDATE, NORMALISE_BOTH):
        for name in ("b_swallow", "z_swallow"):
            for events in ("UPDATE", BOTH):
                check(t, TABLE, normalise, SUPPRESS, trigger(name, events, SWALLOW))


def test_suppressed_with_conditions(t):
    """A trigger with a WHEN is called for some rows, and not for others."""
    when = "WHEN (NEW.v < 0)"
    for events in ("UPDATE", BOTH):
        for name in ("b_swallow", "z_swallow"):
            check(t, TABLE, NORMALISE_UPDATE, SUPPRESS, trigger(name, events, SWALLOW, when=when))


def test_swallowed_is_rejected(t):
    """Negative control: one that swallows whatever it sees, in front of the one that suppresses: nothing
    would change here, either, but nobody can know that. Behind it, it never sees such a row."""
    for swallow in ("b_swallow", "z_swallow"):
        database = place(t, TABLE, NORMALISE_UPDATE, SUPPRESS,
                         trigger(swallow, "UPDATE", "RETURN NULL;"))
        server().sql(database, "INSERT INTO t(k, v, w) VALUES ('a', 1, 'text'), ('b', 1, 'text')")
        told = put(t, [{"k": "a", "v": 1, "w": " Text"}, {"k": "b", "v": 2, "w": "text"}])
        expected = "unchanged" if swallow == "z_swallow" else "rejected"
        assert outcomes(told) == [expected, "rejected"], (swallow, told)


def test_swallowed_where_nothing_would_change(t):
    """A trigger that normalises on INSERT shows what would be stored: a write that is not needed is
    unchanged, whoever would have swallowed it."""
    body = "IF NEW IS NOT DISTINCT FROM OLD THEN RETURN NULL; END IF; RETURN NEW;"
    database = place(t, TABLE, NORMALISE_BOTH, trigger("z_own", "UPDATE", body))
    assert outcomes(put(t, [{"k": "a", "w": " Text"}, {"k": "b", "w": "B"}])) == ["created"] * 2
    before = versions(database)
    assert outcomes(put(t, [{"k": "a", "w": "TEXT "}, {"k": "b", "w": " b"}])) == ["unchanged"] * 2
    assert versions(database) == before


def test_suppressed_without_a_required_column(t):
    """Records that only update are told apart in the same way."""
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, need int NOT NULL, v int, w text)",
                     NORMALISE_UPDATE, SUPPRESS, trigger("b_swallow", "UPDATE", SWALLOW),
                     "INSERT INTO t SELECT 'k' || n, 1, 1, 'text' FROM generate_series(0, 3) AS n")
    before = versions(database)
    told = put(t, [{"k": "k0", "v": 1, "w": "Text"}, {"k": "k1", "v": -1, "w": "Text"},
                   {"k": "k2", "v": 1, "w": " Other"}, {"k": "k3", "v": 1, "w": " TEXT"},
                   {"k": "k4", "v": 1, "w": "Text"}])
    assert outcomes(told) == ["unchanged", "rejected", "updated", "unchanged", "rejected"], told
    assert "need" in told[4][1], told
    changed = [old[0] for old, new in zip(before, versions(database)) if old != new]
    assert changed == ["k2"], changed


def test_suppressed_in_partitions(t):
    """Each partition has its own triggers, of the same names or of others; a name that two of them
    share, in different schemas, tells nothing of either."""
    table = ["CREATE TABLE t(k text PRIMARY KEY, v int NOT NULL DEFAULT 1, w text) "
             "PARTITION BY HASH (k)",
             "CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
             "CREATE SCHEMA other",
             "CREATE TABLE {name} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)"]
    triggers = [NORMALISE_UPDATE, SUPPRESS, trigger("b_swallow", BOTH, SWALLOW)]
    check(t, *table[:3], table[3].format(name="other.t1"), *triggers)
    database = place(t, *table[:3], table[3].format(name="other.t0"), *triggers)
    server().sql(database, "INSERT INTO t(k, v, w) VALUES ('a', 1, 'text')")
    assert outcomes(put(t, [{"k": "a", "v": 1, "w": "Text"}, {"k": "b", "v": 1, "w": "Text"},
                            {"k": "a", "v": -1, "w": "Text"}])) == ["rejected", "created", "rejected"]


def test_suppressed_without_an_index(t):
    database = place(t, TABLE.replace("PRIMARY KEY", "NOT NULL"), NORMALISE_UPDATE, SUPPRESS,
                     trigger("b_swallow", "UPDATE", SWALLOW), more="    unenforced: accept\n")
    contest(t, database)


def test_nothing_stays_of_what_was_asked(t):
    """A role that may do no more than write the table; what an AFTER trigger notes of each write is
    there for writes that took place, and for no other."""
    note = "INSERT INTO notes VALUES (NEW.k); RETURN NULL;"
    database = place(t, TABLE, "CREATE TABLE notes(k text)", NORMALISE_UPDATE, SUPPRESS,
                     trigger("z_swallow", "UPDATE", SWALLOW), trigger("note", BOTH, note, "AFTER"),
                     "DROP ROLE IF EXISTS writer", "CREATE ROLE writer LOGIN",
                     "GRANT SELECT, INSERT, UPDATE ON t TO writer", "GRANT INSERT ON notes TO writer",
                     "INSERT INTO t(k, v, w) VALUES ('a', 1, 'a'), ('b', 1, 'b'), ('c', 1, 'c')",
                     "TRUNCATE notes", role="writer")
    before = versions(database)
    told = put(t, [{"k": "a", "v": 1, "w": " A"}, {"k": "b", "v": -1, "w": "B"},
                   {"k": "c", "v": 1, "w": "X"}, {"k": "d", "v": 1, "w": "D"}])
    assert outcomes(told) == ["unchanged", "rejected", "updated", "created"], told
    assert server().sql(database, "SELECT k FROM notes ORDER BY k") == [["c"], ["d"]]
    assert versions(database)[:2] == before[:2]
    assert everything(database) == [["a", "1", "a"], ["b", "1", "b"], ["c", "1", "x"],
                                    ["d", "1", "D"]]


# ---- created, or updated, where there is no xmax to look at -------------------------------------

PARTITIONED = ["CREATE TABLE t(k text, n int, v int, up text, PRIMARY KEY (k, n)) "
               "PARTITION BY LIST (n)", "CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)",
               "CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)"]
LOCK = "PERFORM 1 FROM t WHERE k IN (NEW.k, 'k00') FOR UPDATE; RETURN NULL;"


def test_created_in_partitions_that_something_locks(t):
    """A foreign key to the table itself and an AFTER trigger lock new rows in the statement that
    made them; created and updated are told apart all the same, once for each key."""
    foreign = "ALTER TABLE t ADD FOREIGN KEY (up, n) REFERENCES t (k, n)"
    swallow = trigger("b_swallow", "UPDATE", SWALLOW)
    for extra in ([foreign], [trigger("hold", BOTH, LOCK, "AFTER")], [swallow, foreign]):
        database = place(t, *PARTITIONED, *extra, key="k, n")
        rows = [i for i in range(40) if i and t.random.random() < 0.5]
        server().sql(database, "INSERT INTO t VALUES ('none', 1, 0, NULL)" + "".join(
            f", ('k{i:02d}', {1 + i % 2}, 0, NULL)" for i in rows))
        records = [{"k": f"k{i:02d}", "n": 1 + i % 2, "v": 1,
                    "up": f"k{i - 2:02d}" if i > 1 else None} for i in range(40)]
        if extra[0] == swallow:
            for i in rows[::3]:
                records[i]["v"] = -1
        told = put(t, records + [{"k": "k00", "n": 1, "v": 2}, {"k": "k01", "n": 2, "v": 1}])
        wanted = ["created" if i not in rows else "rejected" if records[i]["v"] < 0 else "updated"
                  for i in range(40)]
        wanted += ["updated", "updated" if records[1]["v"] < 0 else "unchanged"]
        assert outcomes(told) == wanted, [pair for pair in zip(told, wanted) if pair[0][0] != pair[1]]
        locked = server().count(database, "SELECT count(*) FROM t WHERE v = 1 AND xmax <> 0")
        print(f"# {locked} rows of those written are locked")
        assert locked > 10


if __name__ == "__main__":
    harness.main()
