#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A minute of simulation with a new seed each time: half of it guarded, half of it direct."""
import harness

SECONDS = "30"


def clean(t, protocol):
    seed = str(t.random.randrange(1 << 63))
    result = t.onerow("simulate", "--protocol", protocol, "--seconds", SECONDS, "--seed", seed,
                      timeout=300)
    print(f"# {protocol}, --seed {seed}: {result.out.splitlines()[0] if result.out else ''}")
    assert result.code == 0, result


def test_guarded(t):
    clean(t, "guarded")


def test_direct(t):
    clean(t, "direct")


if __name__ == "__main__":
    harness.main()
