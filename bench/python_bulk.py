# SPDX-License-Identifier: Apache-2.0
"""python_bulk.py DATABASE FILE: all upserts in one transaction with sqlite3's executemany."""
import json
import sqlite3
import sys

COLUMNS = ("name", "worker", "city", "price", "stock", "note", "seen")
SQL = (
    f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (name) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
)


def rows(path):
    with open(path, "rb") as file:
        for line in file:
            record = json.loads(line)
            yield [record.get(column) for column in COLUMNS]


db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
with db:
    db.executemany(SQL, rows(sys.argv[2]))
db.close()
