#!/usr/bin/env python3
"""Checks the licences and sources of all dependencies against deny.toml, and that none is required in any version.

This is what `cargo deny check bans licenses sources` does with that file, for machines that do not have it: building it
takes minutes. Advisories are not looked at: they need a database from the network.
"""

import json
import re
import subprocess
import sys
import tomllib


def metadata():
    output = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1"], check=True, stdout=subprocess.PIPE
    )
    return json.loads(output.stdout)["packages"]


def is_allowed(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences; a slash is an old way to say OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression.replace(" WITH ", "+WITH+"))
    tokens = ["OR" if token == "/" else token for token in tokens]

    def alternatives():
        met = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = conjunction() or met
        return met

    def conjunction():
        met = term()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = term() and met
        return met

    def term():
        token = tokens.pop(0)
        if token != "(":
            return token.replace("+WITH+", " WITH ") in allowed
        met = alternatives()
        assert tokens.pop(0) == ")", f"unbalanced: {expression}"
        return met

    met = alternatives()
    assert not tokens, f"not an expression of licences: {expression}"
    return met


def problems(packages, allowed):
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence, source = package["license"], package["source"]
        if not licence or not is_allowed(licence, allowed):
            yield f"{name}: licence {licence!r} is not among those that deny.toml allows"
        if source not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
            yield f"{name}: comes from {source}, and not from crates.io"
        if source is None:
            for dependency in package["dependencies"]:
                if dependency["req"] == "*" and not dependency.get("path"):
                    yield f"{name}: takes any version of {dependency['name']}"


def main():
    with open("deny.toml", "rb") as file:
        allowed = set(tomllib.load(file)["licenses"]["allow"])
    packages = metadata()
    found = list(problems(packages, allowed))
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{len(packages)} packages, {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
