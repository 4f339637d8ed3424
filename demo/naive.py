# SPDX-License-Identifier: Apache-2.0
"""A worker as people write it: look whether the row is there, and create it when it is not.

naive.py DATABASE SHARE LOG SECONDS, started by demo/run. It begins when its standard input is
closed, writes a line to LOG for each record that it is done with, and stops after SECONDS.
"""
import json
import sqlite3
import sys
import time


def save(db, record):
    key = (record["name"], record["version"], record["architecture"])
    found = db.execute(
        "SELECT 1 FROM packages WHERE name = ? AND version = ? AND architecture = ?", key
    ).fetchone()
    if found is None:
        columns = ", ".join(record)
        marks = ", ".join("?" * len(record))
        db.execute(f"INSERT INTO packages ({columns}) VALUES ({marks})", list(record.values()))
        db.commit()


def main():
    database, share, log, seconds = sys.argv[1:]
    with open(share, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    print("ready", flush=True)
    sys.stdin.read()
    end = time.monotonic() + float(seconds)
    db = sqlite3.connect(database)
    with open(log, "w", encoding="utf-8", buffering=1) as lines:
        for at, record in enumerate(records):
            if time.monotonic() > end:
                break
            try:
                save(db, record)
                lines.write(f"{at} done\n")
            except sqlite3.Error as error:
                db.rollback()
                lines.write(f"{at} error {error}\n")


main()
