#!/usr/bin/env python3
"""Runs the test-suite of Redis 7.0.15 against a node, unit by unit. README.md beside this tells how."""

import argparse
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

VERSION = "7.0.15"
TARBALL = f"https://download.redis.io/releases/redis-{VERSION}.tar.gz"
HERE = pathlib.Path(__file__).parent

# Each unit with a command that it is about: it runs when the node knows that.
UNITS = {
    "unit/type/string": "set",
    "unit/type/incr": "incr",
    "unit/keyspace": "del",
    "unit/expire": "expire",
    "unit/scan": "scan",
    "unit/bitops": "bitop",
    "unit/bitfield": "bitfield",
    "unit/protocol": "ping",
    "unit/querybuf": "client",
    "unit/multi": "multi",
    "unit/quit": "quit",
    "unit/type/hash": "hset",
    "unit/type/set": "sadd",
    "unit/type/zset": "zadd",
    "unit/type/list": "lpush",
    "unit/type/list-2": "lpush",
    "unit/type/list-3": "lpush",
    "unit/sort": "sort",
    "unit/pubsub": "publish",
    "unit/slowlog": "slowlog",
    "unit/latency-monitor": "latency",
    "unit/introspection": "monitor",
    "unit/introspection-2": "command",
    "unit/pause": "client",
    "unit/other": "ping",
    "unit/info-command": "info",
    "unit/violations": "ping",
}

# Groups that the suite itself lets one leave out for servers that are not Redis: what looks into its replication stream, or at
# files, that the node has not got.
LEFT_OUT = ["needs:repl", "needs:save", "large-memory"]

# The suite presumes that any server has these, outside of tests, where it would end at the first error.
CHANGES = {
    "tests/support/server.tcl": [
        ("    r function flush\n", "    catch {r function flush}\n"),
        ("        r config set $param $val\n\n", "        catch {r config set $param $val}\n\n"),
        ("    dict for {param val} $saved_config {\n        r config set $param $val\n",
         "    dict for {param val} $saved_config {\n        catch {r config set $param $val}\n"),
    ]
}

# A unit that says nothing for so long hangs.
SILENCE_S_MAX = 120


def unpack(source, target):
    """Puts the suite into the directory `target`."""
    if source is None:
        archive = target / "redis.tar.gz"
        urllib.request.urlretrieve(TARBALL, archive)
        source = archive
    if source.is_file():
        with tarfile.open(source) as archive:
            archive.extractall(target)
        return next(target.glob("*/runtest")).parent
    if (source / "runtest").exists():
        shutil.copytree(source / "tests", target / "tests")
        return target
    archive = subprocess.run(["git", "-C", source, "archive", VERSION, "tests"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", target], check=True, input=archive.stdout)
    return target


def change(suite):
    for name, replacements in CHANGES.items():
        text = (suite / name).read_text()
        for old, new in replacements:
            assert text.count(old) == 1, f"{name} does not have once: {old}"
            text = text.replace(old, new)
        (suite / name).write_text(text)


class Skips:
    """Tests that are not run: names by unit, each below its reason, a line that begins with #.

    Below "# until known: lpush sort (why)" they are run when the node knows these commands.
    """

    def __init__(self, path, is_known):
        self.of = {}
        unit = wanted = None
        for line in path.read_text().splitlines():
            if line.startswith("== "):
                unit, wanted = self.of.setdefault(line.removeprefix("== "), []), False
            elif line.startswith("# "):
                until = re.match(r"# until known: ([^(]*)", line)
                wanted = not (until and all(is_known(name) for name in until[1].split()))
            elif line:
                assert unit is not None and wanted is not None, f"no unit and reason stand above {line}"
                if wanted:
                    unit.append(line)


class Node:
    """A node that keeps nothing on disk."""

    def __init__(self, program, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Tests of blocking commands presume that what two connections send is carried out in the order in which it was sent.
        command = [program, "--name", "suite", "--memory", "--threads", "1", "--port", str(self.port)]
        command += ["--enable-debug-command", "local"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def __enter__(self):
        deadline = time.monotonic() + 60
        while "PONG" not in self.ask("ping"):
            assert time.monotonic() < deadline and self.process.poll() is None, "the node does not answer"
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, *words):
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout


class Outcome:
    """What became of a unit's tests."""

    def __init__(self):
        self.passed, self.failed, self.skipped, self.left_out = [], [], [], []
        self.reports = []


def run_unit(suite, unit, port, skips):
    skipfile = suite / "skipped"
    skipfile.write_text("\n".join(skips))
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port), "--single", unit]
    command += ["--skipfile", str(skipfile), "--durable", "--ignore-digest", "--timeout", str(SILENCE_S_MAX)]
    command += ["--tags", " ".join(f"-{group}" for group in LEFT_OUT)]
    found = subprocess.run(command, cwd=suite, capture_output=True, text=True, errors="replace")
    outcome = Outcome()
    text = re.sub(r"\x1b\[[0-9;]*m", "", found.stdout)
    # The summary at the end repeats what has failed.
    for entry in re.split(r"\n(?=\[)", text.split("\n                   The End")[0]):
        match = re.match(r"\[(ok|err|skip|ignore|exception|TIMEOUT)\]: (.*)", entry)
        if not match:
            continue
        status, name = match.groups()
        if status == "ok":
            outcome.passed.append(re.sub(r" \(\d+ ms\)$", "", name))
        elif status == "skip":
            outcome.skipped.append(name)
        elif status == "ignore":
            outcome.left_out.append(name)
        else:
            outcome.failed.append(re.sub(r" in tests/\S+\.tcl$", "", name))
            outcome.reports.append(entry.strip())
    if found.returncode != 0 and not outcome.failed:
        outcome.failed.append("the unit itself")
        outcome.reports.append(text[-2000:] + found.stderr[-2000:])
    return outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node", help="the program to test, such as target/release/tandem-node")
    parser.add_argument("units", nargs="*", help="default: all that concern what the node knows")
    parser.add_argument("--source", type=pathlib.Path, help=f"a tarball, a directory or a git directory of Redis {VERSION}")
    parser.add_argument("--no-skips", action="store_true", help="run what is listed in skipped.txt, too")
    told = parser.parse_intermixed_args()

    failed = ran = 0
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        suite = unpack(told.source, directory)
        change(suite)
        with (directory / "node.log").open("w") as log:
            with Node(told.node, log) as node:
                known = set(node.ask("command", "list").split())
            skips = Skips(HERE / "skipped.txt", known.__contains__)
            for unit in told.units or UNITS:
                if UNITS.get(unit, "ping") not in known:
                    print(f"{unit}: left out, as the node does not know {UNITS[unit]}")
                    continue
                listed = skips.of.get(unit, [])
                with Node(told.node, log) as node:
                    outcome = run_unit(suite, unit, node.port, [] if told.no_skips else listed)
                for report in outcome.reports:
                    print(f"    {report}")
                print(f"{unit}: {len(outcome.passed)} passed, {len(outcome.failed)} failed, "
                      f"{len(outcome.skipped)} skipped, {len(outcome.left_out)} left out by their group", flush=True)
                for name in listed:
                    if told.no_skips and name in outcome.passed:
                        print(f"    passes, though listed: {name}")
                    if not told.no_skips and name not in outcome.skipped and not name.startswith("/"):
                        print(f"    is listed, and not there: {name}")
                failed += len(outcome.failed)
                ran += len(outcome.passed)
    print(f"in all: {ran} passed, {failed} failed")
    # A suite that runs nothing proves nothing.
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
