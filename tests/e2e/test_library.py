# SPDX-License-Identifier: Apache-2.0
"""The library as a user meets it: installed, found by pkg-config, compiled against, run."""
import os
import re
import shlex
import subprocess

import harness

SOURCE = os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath(".")
BUILD = os.environ.get("ONEROW_BUILD_ROOT") or os.path.abspath("build")
SANITIZE = os.environ.get("ONEROW_SANITIZE", "none")
EXAMPLES = os.path.join(SOURCE, "examples")
MAKE_TABLE = ("CREATE TABLE areas (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
              "status TEXT)")


def run(command, **options):
    answer = subprocess.run(command, capture_output=True, text=True, **options)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


class Installed:
    """An installation in the test's folder, looked at through pkg-config alone."""

    def __init__(self, t):
        root = t.path("installed")
        run([harness.need("meson", "meson"), "install", "-C", BUILD, "--no-rebuild",
             "--destdir", root])
        found = run(["find", root, "-name", "onerow.pc"]).split()
        assert len(found) == 1, found
        self.env = dict(t.env, PKG_CONFIG_LIBDIR=os.path.dirname(found[0]),
                        PKG_CONFIG_SYSROOT_DIR=root)
        self.env.pop("PKG_CONFIG_PATH", None)
        self.library = os.path.join(self.config("--variable=libdir"), "libonerow.so")
        if not self.library.startswith(root):
            self.library = root + self.library
        folder = os.path.dirname(self.library)
        # The destination folder is not where the library will live, so its run path is of no use.
        self.env["LD_LIBRARY_PATH"] = folder + ":" + os.path.join(folder, "onerow")

    def config(self, *arguments):
        return run([harness.need("pkg-config", "pkg-config"), *arguments, "onerow"],
                   env=self.env).strip()

    def compile(self, compiler, *arguments):
        flags = shlex.split(self.config("--cflags", "--libs"))
        if SANITIZE != "none":
            flags.append("-fsanitize=" + SANITIZE)
        run([harness.need(compiler, "build-essential"), "-Wall", "-Wextra", "-Wpedantic",
             "-Werror", *arguments, *flags], env=self.env)


def exported(library):
    listing = run([harness.need("nm", "binutils"), "-D", "--defined-only", library])
    return {line.split()[-1] for line in listing.splitlines()}


def promised():
    """The functions of the header."""
    with open(os.path.join(SOURCE, "include", "onerow", "onerow.h"), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    declared = re.findall(r"ONEROW_API(?!\s+__)[^;(]*?\b(onerow_\w+)\s*\(", text)
    assert len(declared) >= 12, declared
    return set(declared)


def strangers(symbols):
    return {name for name in symbols if not name.startswith("onerow_")}


def test_pkg_config_finds_it(t):
    installed = Installed(t)
    installed.config("--exists")
    version = installed.config("--modversion")
    assert t.onerow("--version").out.split()[1] == version, version
    # Negative control: the same question where nothing is installed.
    os.mkdir(t.path("empty"))
    lost = subprocess.run(["pkg-config", "--exists", "onerow"],
                          env=dict(installed.env, PKG_CONFIG_LIBDIR=t.path("empty")))
    assert lost.returncode != 0


def test_exports_the_header_and_nothing_else(t):
    installed = Installed(t)
    symbols = exported(installed.library)
    assert not strangers(symbols), strangers(symbols)
    assert symbols == promised(), symbols ^ promised()


def test_export_check_sees_a_stranger(t):
    """Negative control: a library that leaks a name is told from one that does not."""
    source = t.write("leak.c", "int onerow_fine(void);\nint onerow_fine(void) { return 1; }\n"
                               "int or_leaked(void);\nint or_leaked(void) { return 2; }\n")
    run([harness.need("cc", "build-essential"), "-shared", "-fPIC", source, "-o",
         t.path("leak.so")])
    assert strangers(exported(t.path("leak.so"))) == {"or_leaked"}


def documented_output():
    with open(os.path.join(EXAMPLES, "README.md"), encoding="utf-8") as file:
        return re.search(r"^```\n(created.*?)^```", file.read(), flags=re.S | re.M).group(1)


def test_example_compiles_runs_and_prints_what_its_readme_says(t):
    installed = Installed(t)
    installed.compile("cc", os.path.join(EXAMPLES, "put.c"), "-o", t.path("put"))
    t.sql("app.db", MAKE_TABLE)
    first = run([t.path("put")], cwd=t.folder, env=installed.env)
    assert first == documented_output(), first
    again = run([t.path("put")], cwd=t.folder, env=installed.env)
    assert [line.split()[0] for line in again.splitlines()[:2]] == ["unchanged"] * 2, again
    assert t.sql("app.db", "SELECT name, status FROM areas ORDER BY name") == [
        ["GARDEN", "Paused"], ["HOME", "Active"], ["WORK", "Active"]]


def test_example_twice_at_once_makes_three_rows(t):
    installed = Installed(t)
    installed.compile("cc", os.path.join(EXAMPLES, "put.c"), "-o", t.path("put"))
    t.sql("app.db", MAKE_TABLE)
    many = [subprocess.Popen([t.path("put")], cwd=t.folder, env=installed.env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(8)]
    t.running += many
    outputs = [process.communicate() for process in many]
    assert all(process.returncode == 0 for process in many), outputs
    assert t.count("app.db", "SELECT count(*) FROM areas") == 3
    created = sum(line.startswith("created") for out, _ in outputs for line in out.splitlines())
    assert created == 2, outputs  # HOME and WORK; GARDEN's line begins with "carried"


def test_example_without_the_table_says_what_to_do(t):
    installed = Installed(t)
    installed.compile("cc", os.path.join(EXAMPLES, "put.c"), "-o", t.path("put"))
    missing = subprocess.run([t.path("put")], cwd=t.folder, env=installed.env,
                             capture_output=True, text=True)
    assert missing.returncode == 69 and "app.db" in missing.stderr, missing
    t.sql("app.db", "CREATE TABLE areas (id INTEGER PRIMARY KEY, name TEXT, status TEXT)")
    unsafe = subprocess.run([t.path("put")], cwd=t.folder, env=installed.env,
                            capture_output=True, text=True)
    assert unsafe.returncode == 78 and "CREATE UNIQUE INDEX" in unsafe.stderr, unsafe
    assert t.count("app.db", "SELECT count(*) FROM areas") == 0


def test_headers_compile_as_cplusplus(t):
    installed = Installed(t)
    source = t.write("user.cpp", "#include <onerow/onerow.h>\n#include <onerow/extend.h>\n"
                                 "#include <cstdio>\n"
                                 "int main() { std::puts(onerow_version()); return 0; }\n")
    installed.compile("g++", "-x", "c++", source, "-x", "none", "-o", t.path("user"))
    out = run([t.path("user")], env=installed.env)
    assert out.strip() == installed.config("--modversion"), out


def test_each_header_stands_alone_in_strict_c(t):
    installed = Installed(t)
    for header in ("onerow.h", "extend.h"):
        source = t.write("alone.c", f"#include <onerow/{header}>\nint main(void) {{ return 0; }}\n")
        for standard in ("c11", "c17", "gnu17"):
            installed.compile("cc", "-std=" + standard, source, "-o", t.path("alone"))


def test_an_ignored_result_is_a_warning(t):
    """Negative control of -Werror above: dropping a status does not compile."""
    installed = Installed(t)
    source = t.write("drop.c", "#include <onerow/onerow.h>\nint main(void) { "
                               "onerow_put(0, (struct onerow_span){0, 0}, 0, 0); return 0; }\n")
    try:
        installed.compile("cc", source, "-o", t.path("drop"))
    except AssertionError as refusal:
        assert "unused-result" in str(refusal), refusal
        return
    raise AssertionError("a dropped status was compiled")


if __name__ == "__main__":
    harness.main()
