#!/usr/bin/env python3
"""Compares a node with the redis-server of this machine, side by side: CPU per operation, and memory per key.

usage: beside_redis.py TANDEM_NODE [cpu|memory|NAME ...]

What it prints are ratios, Tandem's to Redis's: below one Tandem takes less. Both servers run on one core, without
persistence, the load generator (redis-benchmark) on another, and the runs take turns. CPU is that of the server alone;
wall-clock times would tell more about the machine than about the server.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_CORE, GENERATOR_CORE = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")
RUNS = int(os.environ.get("RUNS", 3))
OPERATIONS = {1: 100_000, 16: 600_000, 100: 1_500_000}

# Name, commands that fill the keys, the command that is measured, range of its random numbers, pipelines.
CPU = [
    ("GET", [["SET", "key:__rand_int__", "x" * 64]], ["GET", "key:__rand_int__"], 100_000, (1, 16, 100)),
    ("SET", [], ["SET", "key:__rand_int__", "x" * 64], 100_000, (1, 16, 100)),
    ("INCR", [], ["INCR", "counter:__rand_int__"], 100_000, (1, 16)),
    ("HSET", [], ["HSET", "hash:__rand_int__", "field:__rand_int__", "value:__rand_int__"], 10_000, (1, 16)),
    ("HSET large", [], ["HSET", "hash", "field:__rand_int__", "value:__rand_int__"], 100_000, (1, 16)),
    ("SADD", [], ["SADD", "set:__rand_int__", "member:__rand_int__"], 10_000, (1, 16)),
    ("SADD large", [], ["SADD", "set", "member:__rand_int__"], 100_000, (1, 16)),
    ("ZADD", [], ["ZADD", "zset:__rand_int__", "1__rand_int__", "member:__rand_int__"], 10_000, (1, 16)),
    ("ZADD large", [], ["ZADD", "zset", "1__rand_int__", "member:__rand_int__"], 100_000, (1, 16)),
    ("LPUSH", [], ["LPUSH", "list:__rand_int__", "value:__rand_int__"], 1_000, (1, 16)),
    ("LPOP", [["LPUSH", "list:__rand_int__", "value:__rand_int__"]], ["LPOP", "list:__rand_int__"], 1_000, (1, 16)),
    ("ZRANGE 100", [["ZADD", "zset", "1__rand_int__", "member:__rand_int__"]], ["ZRANGE", "zset", "0", "99"], 100_000, (1, 16)),
    ("LRANGE 100", [["LPUSH", "list", "value:__rand_int__"]], ["LRANGE", "list", "0", "99"], 100_000, (1, 16)),
]


def fields(n, i):
    return [word for f in range(n) for word in (f"field{f}", f"val{i % 1000:05d}")]


# Name, how many keys, the command that writes one.
MEMORY = [
    ("string of 8", 1_000_000, lambda i: ["SET", f"key:{i:012d}", "v" * 8]),
    ("string of 32", 1_000_000, lambda i: ["SET", f"key:{i:012d}", "v" * 32]),
    ("counter", 500_000, lambda i: ["INCR", f"key:{i:012d}"]),
    ("hash of 1", 500_000, lambda i: ["HSET", f"key:{i:012d}", *fields(1, i)]),
    ("hash of 10", 400_000, lambda i: ["HSET", f"key:{i:012d}", *fields(10, i)]),
    ("hash of 1000", 2_000, lambda i: ["HSET", f"key:{i:012d}", *fields(1000, i)]),
    ("set of 100 integers", 100_000, lambda i: ["SADD", f"key:{i:012d}", *(str(i * 7 + m) for m in range(100))]),
    ("set of 100 names", 60_000, lambda i: ["SADD", f"key:{i:012d}", *(f"member{m}" for m in range(100))]),
    ("sorted set of 100", 100_000, lambda i: ["ZADD", f"key:{i:012d}", *(w for m in range(100) for w in (str(m * 3), f"member{m}"))]),
    ("list of 1", 500_000, lambda i: ["RPUSH", f"key:{i:012d}", "item0"]),
    ("list of 100", 100_000, lambda i: ["RPUSH", f"key:{i:012d}", *(f"item{m}" for m in range(100))]),
    ("list of 10000", 300, lambda i: ["RPUSH", f"key:{i:012d}", *(f"item{m}" for m in range(10000))]),
]


class Server:
    """A server process on its core, and a connection to it."""

    def __init__(self, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory = tempfile.TemporaryDirectory()
        arguments = ["taskset", "-c", SERVER_CORE, *(word.format(port=self.port) for word in command)]
        self.process = subprocess.Popen(arguments, cwd=self.directory.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)

    def cpu(self):
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def memory(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def send(self, commands):
        """Sends commands whose replies are one line each, and waits for these."""
        self.socket.sendall(b"".join(encode(command) for command in commands))
        lines = 0
        while lines < len(commands):
            received = self.socket.recv(1 << 20)
            assert received and b"-ERR" not in received, received[:200]
            lines += received.count(b"\n")

    def benchmark(self, command, count, numbers, pipeline):
        before = self.cpu()
        subprocess.run(
            ["taskset", "-c", GENERATOR_CORE, "redis-benchmark", "-p", str(self.port), "-n", str(count), "-r", str(numbers),
             "-P", str(pipeline), "-c", "50", "-q", *command],
            check=True, stdout=subprocess.DEVNULL)
        return (self.cpu() - before) / count * 1e6

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


def encode(words):
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(w), w) for w in (word.encode() for word in words))])


def commands(node):
    return {
        "tandem": [node, "--memory", "--log-memory", "1mb", "--threads", "1", "--port", "{port}"],
        "redis": ["redis-server", "--port", "{port}", "--save", "", "--appendonly", "no"],
    }


def compare_cpu(servers, name, fill, command, numbers, pipelines):
    for pipeline in pipelines:
        used = {system: [] for system in servers}
        for _ in range(RUNS):
            for system, arguments in servers.items():
                server = Server(arguments)
                for filling in fill:
                    server.benchmark(filling, 400_000 if name == "GET" else 1_000_000, numbers, 100)
                # The first run warms up, and makes keys.
                server.benchmark(command, 50_000, numbers, 16)
                used[system].append(server.benchmark(command, count_of(name, pipeline), numbers, pipeline))
                server.stop()
        ours, theirs = (statistics.median(used[system]) for system in ("tandem", "redis"))
        print(f"| {name} | {pipeline} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)


def count_of(name, pipeline):
    return OPERATIONS[pipeline] // (4 if name.endswith("100") else 1)


def compare_memory(servers, name, count, command):
    taken = {}
    for system, arguments in servers.items():
        server = Server(arguments)
        before = server.memory()
        batch = max(1, 20_000 // len(command(0)))
        for start in range(0, count, batch):
            server.send([command(i) for i in range(start, min(start + batch, count))])
        taken[system] = (server.memory() - before) / count
        server.stop()
    ours, theirs = taken["tandem"], taken["redis"]
    print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    servers = commands(str(pathlib.Path(sys.argv[1]).resolve()))
    wanted = set(sys.argv[2:])
    of_cpu = [row for row in CPU if not wanted or wanted & {"cpu", row[0]}]
    of_memory = [row for row in MEMORY if not wanted or wanted & {"memory", row[0]}]
    if of_memory:
        print("| bytes per key | Tandem | Redis | ratio |\n| --- | --- | --- | --- |")
        for row in of_memory:
            compare_memory(servers, *row)
    if of_cpu:
        print("| CPU us per operation | pipeline | Tandem | Redis | ratio |\n| --- | --- | --- | --- | --- |")
        for row in of_cpu:
            compare_cpu(servers, *row)


if __name__ == "__main__":
    main()
