#!/usr/bin/env python3
"""Compares how often a cache hits, in a node and in the redis-server of this machine, at the same limit of memory.

usage: hit_ratio.py TANDEM_NODE [POLICY ...]

A client asks for keys of which some are far more popular than others (Zipf's law, exponent 0.99) and writes those that are not
there, as one in front of a slow database does. The first half of the requests fill the cache and do not count. Environment:
LIMIT_MB (64), KEYS (1000000), VALUE (200 bytes), REQUESTS (4000000), SAMPLES (5), PORT (26100).
"""

import bisect
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = int(os.environ.get("LIMIT_MB", 64)) << 20
KEYS = int(os.environ.get("KEYS", 1_000_000))
VALUE = b"v" * int(os.environ.get("VALUE", 200))
REQUESTS = int(os.environ.get("REQUESTS", 4_000_000))
SAMPLES = os.environ.get("SAMPLES", "5")
PORT = int(os.environ.get("PORT", 26_100))
POLICIES = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"]
PIPELINE = 200


def popularity():
    """The keys' numbers in random order, and the sums of their shares."""
    names = list(range(KEYS))
    random.Random(1).shuffle(names)
    return names, list(itertools.accumulate(1 / (rank + 1) ** 0.99 for rank in range(KEYS)))


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.stream = self.socket.makefile("rb")

    def send(self, commands):
        parts = []
        for words in commands:
            parts.append(b"*%d\r\n" % len(words))
            parts.extend(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.socket.sendall(b"".join(parts))
        return [self.read() for _ in commands]

    def read(self):
        line = self.stream.readline()
        if line[:1] == b"$":
            length = int(line[1:])
            return None if length < 0 else self.stream.read(length + 2)[:-2]
        return line.rstrip()

    def info(self, field):
        for line in self.send([[b"INFO"]])[0].decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return "?"


def run(client, names, sums, is_volatile):
    draw = random.Random(2)
    hits = asked = 0
    for sent in range(0, REQUESTS, PIPELINE):
        keys = [b"key:%012d" % names[bisect.bisect(sums, draw.random() * sums[-1])] for _ in range(PIPELINE)]
        found = client.send([[b"GET", key] for key in keys])
        missing = {key for key, value in zip(keys, found) if value is None}
        if missing:
            expiry = [b"EX", b"%d" % draw.randrange(1_000, 100_000)] if is_volatile else []
            client.send([[b"SET", key, VALUE, *expiry] for key in missing])
        if sent >= REQUESTS // 2:
            asked += PIPELINE
            hits += sum(value is not None for value in found)
    return hits / asked


def measure(command, port, names, sums, policy):
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    client = Client(port)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            began = time.monotonic()
            ratio = run(client, names, sums, policy.startswith("volatile"))
            keys = client.send([[b"DBSIZE"]])[0].decode()[1:]
            used, resident = client.info("used_memory"), client.info("used_memory_rss")
            evicted = client.info("evicted_keys")
            return (f"hits {100 * ratio:.2f} %, {keys} keys, used {int(used) >> 20} MiB, resident {int(resident) >> 20} MiB, "
                    f"evicted {evicted}, {time.monotonic() - began:.0f} s")
        finally:
            server.terminate()
            server.wait()


def main():
    node, policies = os.path.abspath(sys.argv[1]), sys.argv[2:] or POLICIES
    names, sums = popularity()
    for policy in policies:
        limits = ["--maxmemory", str(LIMIT), "--maxmemory-policy", policy, "--maxmemory-samples", SAMPLES]
        tandem = [node, "--memory", "--log-memory", "1mb", "--threads", "1", "--port", str(PORT), *limits]
        redis = ["redis-server", "--port", str(PORT + 1), "--save", "", "--appendonly", "no", *limits]
        for name, command, port in [("tandem", tandem, PORT), ("redis", redis, PORT + 1)]:
            print(f"{policy:16} {name:7} {measure(command, port, names, sums, policy)}", flush=True)


main()
