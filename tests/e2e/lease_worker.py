# SPDX-License-Identifier: Apache-2.0
"""A worker under a lease, in a process of its own, through the library's own interface: it adds unique
integers to a set by reading it and writing it back. What it is to do is JSON in its first argument:

    library, coordinator, target, name, ttl_ms, life (of this process, unique), pause_s, checks, log

The target is a row with the set and the highest token that was seen. With `checks`, reading raises that
token or is refused by a higher one, and writing is refused by another one; without, the lease is trusted.

It appends a line to the log at each step, until it is killed, or its input ends:

    read ID TOKEN      the set was read
    ack ID TOKEN       the integer was added, and that is committed
    refused ID TOKEN   the target knows of a newer holder
    doubt ID TOKEN     the connection was lost; the integer may have been added
    wrong WHAT         what must not happen
"""
import ctypes
import json
import os
import select
import sys
import time

import psycopg

OK, LEFT = 0, 4
FOR_EVER = (1 << 64) - 1


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class Options(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("who", ctypes.c_char_p), ("ttl_ms", ctypes.c_uint64),
                ("wait_ms", ctypes.c_uint64), ("floor", ctypes.c_uint64), ("lost", ctypes.c_void_p),
                ("context", ctypes.c_void_p)]


class Worker:
    def __init__(self, wanted):
        self.wanted = wanted
        self.log = os.open(wanted["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.library = ctypes.CDLL(wanted["library"])
        self.library.onerow_lease_token.restype = ctypes.c_uint64
        self.error, self.leases = Error(), ctypes.c_void_p()
        self.conn, self.n = None, 0
        while self.library.onerow_leases_open(wanted["coordinator"].encode(),
                                              ctypes.byref(self.leases), ctypes.byref(self.error)):
            time.sleep(0.01)  # the server starts, or this way to it was cut
        self.options = Options(name=wanted["name"].encode(), ttl_ms=wanted["ttl_ms"],
                               wait_ms=FOR_EVER)

    def tell(self, *words):
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def ask(self, statement, *values):
        """The rows, or how many were changed; once, whatever happens to the connection."""
        while not self.conn or self.conn.closed:
            try:
                self.conn = psycopg.connect(self.wanted["target"], autocommit=True)
            except psycopg.OperationalError:
                time.sleep(0.01)
        answer = self.conn.execute(statement, values)
        return answer.fetchall() if answer.description else answer.rowcount

    def highest(self):
        """The highest token that anybody is known to have acted under."""
        while True:
            try:
                return self.ask("SELECT coalesce(max(token), 0) FROM acts")[0][0]
            except psycopg.OperationalError:
                self.conn.close()

    def acquire(self):
        lease = ctypes.c_void_p()
        while self.library.onerow_lease_acquire(self.leases, ctypes.byref(self.options),
                                                ctypes.byref(lease), ctypes.byref(self.error)) != OK:
            time.sleep(0.01)
        return lease

    def read(self, token):
        if self.wanted["checks"]:
            return self.ask("UPDATE target SET token = %s WHERE token <= %s RETURNING members", token,
                            token)
        return self.ask("SELECT members FROM target")

    def write(self, token, members):
        if self.wanted["checks"]:
            return self.ask("UPDATE target SET members = %s WHERE token = %s", members, token)
        return self.ask("UPDATE target SET members = %s", members)

    def work(self, token):
        self.n += 1
        member = self.wanted["life"] * 100000 + self.n
        try:
            self.ask("INSERT INTO acts(token, member) VALUES (%s, %s)", token, member)
            rows = self.read(token)
            if rows:
                self.tell("read", member, token)
                time.sleep(self.wanted["pause_s"])
            done = rows and self.write(token, rows[0][0] + [member])
            self.tell("ack" if done else "refused", member, token)
        except psycopg.errors.UniqueViolation:
            self.tell("wrong", "two holders of token", token)
        except psycopg.OperationalError:
            self.conn.close()
            self.tell("doubt", member, token)

    def turn(self):
        before = self.highest()
        lease = self.acquire()
        token = self.library.onerow_lease_token(lease)
        if token <= before:
            self.tell("wrong", f"token {token} after {before}")
        self.work(token)
        self.library.onerow_lease_release(lease, ctypes.byref(self.error))


def main():
    worker = Worker(json.loads(sys.argv[1]))
    while not select.select([sys.stdin], [], [], 0)[0]:
        worker.turn()
    worker.library.onerow_leases_close(worker.leases)


main()
