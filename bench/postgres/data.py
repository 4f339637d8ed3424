# SPDX-License-Identifier: Apache-2.0
"""The records of the measurements: a text key and a JSON value of about 120 bytes.

Each set of records is written twice with the same content: as NDJSON, for onerow and the Python
peers, and as the text that COPY reads, for the peers in SQL.
"""
import os
import random

CITIES = ("Amsterdam", "Bogota", "Cairo", "Dakar", "Edinburgh", "Fukuoka", "Genoa", "Hanoi")
FIRST_KEY = 1000000000


def value(key, version):
    """A value that differs between versions and is the same at each call."""
    r = random.Random(key * 1000003 + version).getrandbits(64)
    return (f'{{"worker":{version},"city":"{CITIES[r & 7]}","price":{(r >> 3) % 100000 / 100},'
            f'"stock":{(r >> 20) % 100000},"note":"{r:016x}",'
            f'"seen":"2024-{(r >> 40) % 12 + 1:02}-{(r >> 44) % 28 + 1:02}T12:00:00Z"}}')


class Records:
    """Keys 0 .. n, shuffled by `seed`; version(key) says which value each of them has."""

    def __init__(self, folder, name, keys, version, seed):
        self.ndjson = os.path.join(folder, name + ".ndjson")
        self.tsv = os.path.join(folder, name + ".tsv")
        self.n = len(keys)
        order = list(keys)
        random.Random(seed).shuffle(order)
        with open(self.ndjson, "w", encoding="utf-8") as ndjson, \
                open(self.tsv, "w", encoding="utf-8") as tsv:
            for key in order:
                name, text = f"item-{FIRST_KEY + key}", value(key, version(key))
                ndjson.write(f'{{"k":"{name}","v":{text}}}\n')
                tsv.write(f"{name}\t{text}\n")


def first(_):
    return 0


def all_changed(_):
    return 1


def tenth_changed(key):
    return 1 if key % 10 == 7 else 0


def stream(out, n, seed):
    """n records in an order that is scattered without being held in memory, to a binary file."""
    stride = 7919 if n % 7919 else 7907  # a prime that does not divide n reaches every key
    lines, at = [], seed % n
    for i in range(n):
        lines.append(f'{{"k":"item-{FIRST_KEY + at:012}","v":{value(at, 0)}}}\n')
        at = (at + stride) % n
        if i % 1000 == 999:
            out.write("".join(lines).encode())
            lines = []
    out.write("".join(lines).encode())
