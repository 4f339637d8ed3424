# SPDX-License-Identifier: Apache-2.0
"""NDJSON -> record -> key -> SHA-256 in Python; prints "RECORDS BYTES SECONDS"."""
import hashlib
import json
import sys
import time

KEY = ("name",)
start = time.perf_counter()
records = 0
size = 0
with open(sys.argv[1], "rb") as file:
    for line in file:
        record = json.loads(line)
        key = tuple(record[column] for column in KEY)
        hashlib.sha256("\x1f".join(key).encode()).digest()
        records += 1
        size += len(line)
print(records, size, time.perf_counter() - start)
