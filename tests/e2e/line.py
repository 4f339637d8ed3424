# SPDX-License-Identifier: Apache-2.0
"""A program that answers each line of its input with one line: the name of a status and what it told
(tests/support/ledger_client.c, lease_client.c)."""
import contextlib
import subprocess


class Client:
    """Started by its making; `opened` is its first answer."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.opened = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, "the client has ended"
        status, _, rest = line.rstrip("\n").partition(" ")
        return status, rest

    def send(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def call(self, *words):
        self.send(*words)
        return self.answer()

    def ok(self, *words):
        status, told = self.call(*words)
        assert status == "OK", (words, status, told)
        return told

    def close(self):
        """The end of its input ends it."""
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def ending(client):
    """Closes it at the end of a test that went well, and ends it in any case."""
    try:
        yield client
        client.close()
    finally:
        client.kill()
