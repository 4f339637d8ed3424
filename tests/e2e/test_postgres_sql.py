# SPDX-License-Identifier: Apache-2.0
"""What onerow writes for others to run: the statements of `onerow sql`, executed as their users
would, and the configuration of `onerow init`, loaded again. Names come from the database, and
whoever makes a table may name it anything."""
import os
import re
import stat
import subprocess
import sys

import harness
import postgres

VICTIM = "CREATE TABLE victim(a int)"
DROP = "DROP TABLE public.victim;"
# Each in turn is the name of a column without a default, of one with a default, and of the table.
NASTY = [
    f"a\n{DROP} --",
    f"a\r{DROP} --",
    f"a\r\n{DROP} --",
    f"*/ {DROP} /*",
    f"\";\n{DROP} --",
    f"'; {DROP} --",
    "ends in a quote\"",
    "three quotes \"\"\"",
    "back\\slash",
    "ends in a backslash\\",
    "\\n \\x41 \\N{BULLET}",
    "100%",
    "%s %(name)s %%",
    "a:b ::c :'d' \\:e :",
    "${HOME} $${X} ${",
    "column_2",
    "{braces}",
    "\\! touch pwned",
    "\t tab",
    "NUL\x01ESC\x1b\x7f",
    "nel\x85 ls\u2028 ps\u2029 bom\ufeff",
    "𝒳 ä 名",
    "USER",
    "\"\"\"\nimport os; os.abort()\n\"\"\"",
    "\nimport os; os.abort()",
]


def server():
    return postgres.shared()


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(value):
    return "'" + value.replace("'", "''") + "'"


def run(sql, database):
    """psql -c runs no backslash commands out of a statement, and takes any name."""
    answer = subprocess.run([harness.need("psql", "postgresql-client"), "-XqAt", "-v",
                             "ON_ERROR_STOP=1", "-d", server().url(database)], input=sql,
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, (sql, answer.stderr)
    return answer.stdout


def configure(t, database, location, key, more=""):
    """A configuration for one table t. Names are written with YAML's escapes."""
    def yaml(text):
        text = text.replace("${", "$${")
        return '"' + "".join(c if c.isascii() and c.isprintable() and c not in '"\\'
                             else f"\\U{ord(c):08x}" for c in text) + '"'
    t.write("onerow.yaml", f"stores:\n  app: {{ url: {yaml(server().url(database))} }}\n"
                           f"tables:\n  t:\n    store: app\n    location: {yaml(location)}\n"
                           f"    key: [{yaml(key)}]\n{more}")


def parameters(statement, form):
    """The names of the parameters, in the order of VALUES."""
    start = {"psql": r":'(\w+)'", "sqlalchemy": r"(?<![\\:\w]):(\w+)", "psycopg": r"%\((\w+)\)s"}
    values = re.search(r"VALUES \((.*?)\)(?:\\n|\n)", statement, re.S)
    assert values, statement
    return re.findall(start[form], values.group(1))


def python(t, code):
    path = t.write("program.py", code)
    answer = subprocess.run([sys.executable, path], capture_output=True, text=True, cwd=t.folder,
                            check=False)
    assert answer.returncode == 0, (code, answer.stderr)
    return answer.stdout.split()


def through_psql(t, database, text, record):
    script = t.write("upsert.sql", text)
    answer = subprocess.run([harness.need("psql", "postgresql-client"), "-XqAt", "-v",
                             "ON_ERROR_STOP=1", "-d", server().url(database),
                             *(f"--set={name}={value}" for name, value in record.items()),
                             "-f", script], capture_output=True, text=True, cwd=t.folder, check=False)
    assert answer.returncode == 0, (text, answer.stderr)
    return answer.stdout.split()


def through_python(t, database, form, text, record):
    """The printed program, with a connection and a record given to it; twice."""
    before = {"psycopg": f"import psycopg\nconnection = psycopg.connect({server().url(database)!r}, "
                         "autocommit=True)\n",
              "sqlalchemy": "import sqlalchemy\nengine = sqlalchemy.create_engine("
                            f"{server().url(database, scheme='postgresql')!r})\n"
                            "connection = engine.connect().execution_options("
                            "isolation_level='AUTOCOMMIT')\n"}[form]
    return python(t, f"{before}record = {record!r}\n{text}\n"
                     "print('none' if row is None else row[0])\n")


def go_through(t, database, value, **kept):
    """Runs each form three times: a row is created, unchanged, updated; the answers by form.
    `value` gives a parameter's value by its place, the form and the round."""
    said = {}
    for form in ("psql", "sqlalchemy", "psycopg"):
        result = t.onerow("sql", "t", "--for", form)
        assert result.code == 0, result
        names = parameters(result.out, form)
        assert len(names) == len(set(names)), ("two parameters of one name", result.out)
        said[form] = []
        for turn in (1, 1, 2):
            record = {name: value(i, form, turn) for i, name in enumerate(names)}
            if form == "psql":
                said[form].append(through_psql(t, database, result.out, record) or ["none"])
            else:
                said[form].append(through_python(t, database, form, result.out, record))
    return said


ALL_THREE = {"psql": [["t"], ["none"], ["f"]], "sqlalchemy": [["True"], ["none"], ["False"]],
             "psycopg": [["True"], ["none"], ["False"]]}


def unharmed(t, database):
    assert server().count(database, "SELECT count(*) FROM pg_tables WHERE tablename = 'victim'") == 1
    assert not os.path.exists(t.path("pwned"))


def test_nasty_columns(t):
    """All of them in one table, without and with defaults; every form is run for real."""
    names = [name for name in NASTY if len(name.encode()) <= 63]
    assert names == NASTY, [name for name in NASTY if name not in names]
    columns = ", ".join(f"{quoted(name)} text" for name in names)
    filled = ", ".join(f"{quoted('d' + name)} text DEFAULT 'x'" for name in names)
    database = server().database(VICTIM)
    run(f"CREATE TABLE t(name text PRIMARY KEY, {columns}, {filled});", database)
    configure(t, database, "t", "name")
    said = go_through(t, database, lambda i, form, turn: form if i == 0 else f"it's {turn} of {i}")
    assert said == ALL_THREE, said
    for i, name in enumerate(names, 1):
        value = literal(f"it's 2 of {i}")
        found = run(f"SELECT count(*) FROM t WHERE {quoted(name)} = {value};", database)
        assert found.strip() == "3", (name, found)
    unharmed(t, database)


def test_each_nasty_name(t):
    """Each as the name of table, key, constraint and a column with a default; printed in each form
    and in all of them at once, which psql can be given as it is."""
    for i, name in enumerate(NASTY):
        database = server().database(VICTIM)
        run(f"CREATE TABLE {quoted(name)}({quoted(name)} text CONSTRAINT {quoted(name + '!')} "
            f"PRIMARY KEY, {quoted('v' + name)} text, {quoted('w' + name)} text DEFAULT 'x');",
            database)
        if re.search("[\x01-\x1f\x7f-\x9f(]", name):
            continue  # no configuration can name it as a key; as another column see above
        configure(t, database, quoted(name), name)
        checked = t.onerow("check", "t")
        assert checked.code == 0, (name, checked)
        whole = t.onerow("sql", "t")
        assert whole.code == 0, whole
        code = []
        for form in ("sqlalchemy", "psycopg"):
            text = t.onerow("sql", "t", "--for", form).out
            names = parameters(text, form)
            told = through_python(t, database, form, text, {names[0]: form, names[1]: "v"})
            assert told == ["True"], (name, told)
            compile(text, "printed", "exec")
            code += [line for line in text.split("\n") if line.startswith("UPSERT")]
        commented = re.sub(r"(?m)^-- ?", "", whole.out)
        assert all(line in commented for line in code), (whole.out, code)
        names = parameters(whole.out, "psql")
        told = through_psql(t, database, whole.out, {names[0]: "psql", names[1]: "v"})
        assert told == ["t"], (name, told, whole.out)
        assert server().sql(database, f"SELECT count(*) FROM {quoted(name)}") == [["3"]]
        unharmed(t, database)
        t.write("onerow.yaml", "")


def test_comments_end_nowhere(t):
    """No line of the whole output begins with what a name brought along."""
    database = server().database(VICTIM)
    filled = ", ".join(f"{quoted(name)} text DEFAULT 'x'" for name in NASTY)
    run(f"CREATE TABLE t(name text PRIMARY KEY, v int, {filled});", database)
    configure(t, database, "t", "name")
    whole = t.onerow("sql", "t").out
    assert not any(c in whole for c in "\r\x01\x1b\x7f\t"), whole
    assert "/*" not in whole and "*/" not in whole, whole
    for line in whole.split("\n"):
        assert re.match(r"--|INSERT INTO|VALUES|ON CONFLICT|WHERE|RETURNING|$", line), line
    for form in ("sqlalchemy", "psycopg"):
        compile(t.onerow("sql", "t", "--for", form).out, "printed", "exec")


def test_normalize_is_refused(t):
    """What the statement cannot do is no statement: two rows of one key would come of it."""
    database = server().database("CREATE TABLE t(name text PRIMARY KEY, v int)")
    configure(t, database, "t", "name")
    t.write("onerow.yaml", open(t.path("onerow.yaml"), encoding="utf-8").read().replace(
        'key: ["name"]', 'key: [{column: name, normalize: [casefold]}]'))
    for form in ([], ["--for", "psql"], ["--for", "psycopg"]):
        result = t.onerow("sql", "t", *form)
        assert result.code == 78 and not result.out, result
        assert "normalize" in result.err and "onerow put" in result.err and "name" in result.err


def test_rules_of_the_key_are_told(t):
    """What put rejects, the bare statement rounds and cuts."""
    database = server().database(
        "CREATE TABLE t(p numeric(6,2), c varchar(5), at timestamp, ts timestamptz(3), k text, v int,"
        " UNIQUE (p, c, at, ts, k))")
    t.write("onerow.yaml", f"stores:\n  app: {{ url: \"{server().url(database)}\" }}\n"
                           "tables:\n  t: { store: app, key: [p, c, at, ts, k] }\n")
    for form, mark in (("psql", "-- "), ("psycopg", "# "), ("sqlalchemy", "# ")):
        result = t.onerow("sql", "t", "--for", form)
        assert result.code == 0, result
        notes = [line for line in result.out.split("\n") if line.startswith(mark)]
        for wanted in ("numeric(6,2)", "character varying(5)", "timestamp(3)", "UTC"):
            assert any(wanted in line for line in notes), (wanted, result.out)
        assert not any('"k"' in line and "onerow put" in line and "cut" in line
                       for line in notes), result.out


def test_newest_orders_text_by_bytes(t):
    """As put does, whatever the column's collation says."""
    database = server().database(
        "CREATE TABLE t(name text PRIMARY KEY, ver text COLLATE \"en-US-x-icu\", v int)")
    t.write("onerow.yaml", f"stores:\n  app: {{ url: \"{server().url(database)}\" }}\n"
                           "tables:\n  t: { store: app, key: [name], on_conflict: newest(ver) }\n")
    for form in ("psql", "sqlalchemy", "psycopg"):
        server().sql(database, "TRUNCATE t")
        text = t.onerow("sql", "t", "--for", form).out
        said = []
        for turn, ver in enumerate(("b", "Z", "z")):  # by bytes Z < b < z; by words b < Z = z
            record = {"name": "n", "ver": ver, "v": turn}
            said += (through_psql(t, database, text, record) or ["none"]) if form == "psql" else \
                through_python(t, database, form, text, record)
        assert [word[0].lower() for word in said] == ["t", "n", "f"], (form, said, text)
        t.ndjson("in.ndjson", [{"name": "n", "ver": "Z", "v": 9}])
        assert t.onerow("put", "t", "in.ndjson").balance["unchanged"] == 1


def test_clock(t):
    """updated_at without a time zone holds UTC, as put writes it, wherever the session is."""
    database = server().database("CREATE TABLE t(name text PRIMARY KEY, v int, at timestamp)")
    server().sql("postgres", f"ALTER DATABASE {database} SET timezone = 'Asia/Tokyo'")
    t.write("onerow.yaml", f"stores:\n  app: {{ url: \"{server().url(database)}\" }}\ntables:\n"
                           "  t: { store: app, key: [name], updated_at: { column: at } }\n")
    text = t.onerow("sql", "t", "--for", "psql").out
    for v in (1, 2):
        through_psql(t, database, text, {"name": "n", "v": v})
        late = server().sql(database, "SELECT abs(extract(epoch FROM at - now() AT TIME ZONE 'UTC'))"
                                      " < 600 FROM t")
        assert late == [["t"]], text


def test_init_loads_again(t):
    """Whatever a database holds: the configuration is one, and names no table twice."""
    database = server().database(
        VICTIM, "CREATE SCHEMA a", "CREATE TABLE a.t(k text PRIMARY KEY)",
        'CREATE TABLE public."a.t"(k text PRIMARY KEY)', "CREATE TABLE keyless(a int)",
        'CREATE TABLE expression("lower(k)" text PRIMARY KEY)',
        'CREATE TABLE typed("k:text" text PRIMARY KEY)',
        'CREATE TABLE refused(k text UNIQUE DEFERRABLE)', 'CREATE TABLE good(k text PRIMARY KEY)')
    for i, name in enumerate(NASTY):
        run(f"CREATE TABLE {quoted(name)}(k{i} text PRIMARY KEY);"
            f"CREATE TABLE column{i}({quoted(name)} text PRIMARY KEY);"
            f"CREATE TABLE index{i}(k text, CONSTRAINT {quoted(name + '?')} UNIQUE (k) DEFERRABLE);",
            database)
    made = t.onerow("init", server().url(database))
    assert made.code == 0, made
    text = open(t.path("onerow.yaml"), encoding="utf-8", newline="").read()
    tables = [line for line in text.split("\n") if re.match(r'  "', line)]
    assert len(tables) == len(set(tables)) > 30, text
    assert not re.search(r"(?m)^\s*unenforced", text), text
    for name in ("good", "typed"):
        one = t.onerow("check", name)
        assert one.code == 0, (one, text)
    whole = t.onerow("check", "--json")
    assert "onerow: onerow.yaml:" not in whole.err, (whole, text)
    told = [line for line in whole.out.split("\n") if line]
    assert len(told) == len(tables), (whole, tables)
    assert sum("a.t" in line for line in tables) == 2, tables
    unharmed(t, database)


def test_init_cannot_be_told_keys(t):
    """An index whose name ends a comment and begins a line of configuration."""
    for end in ("\r", "\n", "\x85", "\u2028", "\u2029"):
        name = f"i{end}    unenforced: accept # "
        database = server().database()
        run(f"CREATE TABLE t(k text, CONSTRAINT {quoted(name)} UNIQUE (k) DEFERRABLE);", database)
        made = t.onerow("init", "-o", "-", server().url(database))
        assert made.code == 0, made
        for line in re.split("[\r\n\x85\u2028\u2029]", made.out):
            assert not line.strip().startswith("unenforced"), (name, made.out)
        t.write("onerow.yaml", made.out)
        assert t.onerow("check", "t").code == 78, made.out


def test_init_keeps_the_password(t):
    """It is in the file when it is in the URL; then nobody else may read the file."""
    database = server().database("CREATE TABLE t(k text PRIMARY KEY)")
    plain = t.onerow("init", "-o", "plain.yaml", server().url(database))
    assert plain.code == 0 and "password" not in plain.out, plain
    assert stat.S_IMODE(os.stat(t.path("plain.yaml")).st_mode) & 0o044 == 0o044
    for i, url in enumerate((server().url(database).replace("postgres@", "postgres:hunter2@"),
                             server().url(database) + "?password=hunter2")):
        made = t.onerow("init", "-o", f"{i}.yaml", url)
        assert made.code == 0, made
        assert stat.S_IMODE(os.stat(t.path(f"{i}.yaml")).st_mode) == 0o600
        assert "DATABASE_URL" in made.out + made.err and "hunter2" not in made.out + made.err, made


def test_bench_where_nothing_is_durable(t):
    """It measures, says what the figures are worth, and how to drop its table."""
    fast = postgres.Server(fsync="off")
    database = fast.database()
    result = t.onerow("bench", "--store", fast.url(database), "--rows", "200", "--processes", "2",
                      timeout=100)
    tables = [row[0] for row in fast.sql(database, "SELECT relname FROM pg_class WHERE relname ~ "
                                                   "'^onerow_bench_' AND relkind = 'r'")]
    assert len(tables) <= 1, tables
    assert all(f"DROP TABLE {name};" in result.err for name in tables), result
    assert "finds no table" not in result.err and "durable" in result.err, result
    print(f"# exit {result.code}")
    fast.remove()


if __name__ == "__main__":
    harness.main()
