#!/usr/bin/env python3
"""Breaks rules of the design, one at a time, in a copy of the sources, and says what of the simulation notices it.

    tests/broken_rules/run.py [--seeds N] [--from SEED] [RULE...]

Each patch beside this file breaks one rule, and says which. The tests of the simulation but the seeds run first, and then
seeds, in steps, until one fails. Fails itself if a rule can be broken and nothing notices. Not part of CI: each rule takes a
build. Needs a clean checkout of what is tested, for it is HEAD that is copied.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STEP = 100


def run(command, where, **environment):
    environment = {**os.environ, **environment}
    result = subprocess.run(
        command, cwd=where, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return result.returncode, result.stdout


def checked(command, where, **environment):
    status, output = run(command, where, **environment)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{output}")
    return output


def simulation(sources, target):
    """Builds the simulation, and returns its program."""
    build = ["cargo", "test", "-p", "tests", "--test", "simulation", "--no-run"]
    output = checked(build, sources, CARGO_TARGET_DIR=str(target), RUSTFLAGS="-Awarnings")
    program = re.search(r"Executable .*\((.*)\)", output)
    return sources / program[1]


def noticed(program, sources, first, count):
    """What notices it: names of tests, and after how many seeds one fails; with the first lines of what it says."""
    where = sources / "tests"
    _, output = run([program, "--skip", "seeds"], where)
    found = re.findall(r"^test (\S+) \.\.\. FAILED", output, re.MULTILINE)
    for begin in range(first, first + count, STEP):
        _, output = run([program, "--exact", "seeds", "--nocapture"], where, SEEDS=f"{begin}..{begin + STEP}")
        failed = re.search(r"^seed (\d+) .*", output, re.MULTILINE)
        if failed:
            seeds = sorted(int(seed) for seed in re.findall(r"^seed (\d+) ", output, re.MULTILINE))
            found.append(f"seed {seeds[0]}, after {seeds[0] - first + 1}: {failed[0][:160]}")
            break
    else:
        found.append(f"no seed of {count}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500, help="seeds to be tried for each rule")
    parser.add_argument("--from", dest="first", type=int, default=900_000_000, help="the first of them")
    parser.add_argument("--target", help="where to build; a directory of its own if not given")
    parser.add_argument("rule", nargs="*", help="which rules to break; all if not given")
    arguments = parser.parse_args()
    patches = {patch.stem: patch for patch in sorted(HERE.glob("*.patch"))}
    unnoticed = []
    with tempfile.TemporaryDirectory() as directory:
        sources = pathlib.Path(directory) / "sources"
        target = arguments.target or pathlib.Path(directory) / "target"
        checked(["git", "worktree", "add", "--detach", sources, "HEAD"], HERE)
        try:
            for rule in arguments.rule or patches:
                checked(["git", "apply", patches[rule]], sources)
                found = noticed(simulation(sources, target), sources, arguments.first, arguments.seeds)
                print(f"{rule}: {'; '.join(found)}", flush=True)
                if len(found) == 1 and found[0].startswith("no seed"):
                    unnoticed.append(rule)
                checked(["git", "checkout", "--quiet", "."], sources)
        finally:
            run(["git", "worktree", "remove", "--force", sources], HERE)
    if unnoticed:
        sys.exit(f"nothing notices that these are broken: {', '.join(unnoticed)}")


if __name__ == "__main__":
    main()
