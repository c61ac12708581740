"""Two masters behind the load balancers of examples/, as their configurations are printed.

    check.py NODE AGENT

NODE and AGENT are the programs; haproxy and nginx are expected to be installed. Uses the ports that the configurations
name: 7000 to 7102.
"""

import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60


def wait_for(what, condition):
    """Until the condition holds; errors of clients count as not yet."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if result := condition():
                return result
        time.sleep(0.01)
    sys.exit(f"failed: waited in vain for {what}")


def client(port):
    return redis.Redis(port=port, socket_timeout=5, decode_responses=True)


class Master:
    """A node with its agent."""

    def __init__(self, programs, work, name, port, listen, peers):
        self.programs, self.work, self.name = programs, work, name
        self.port, self.listen, self.peers = port, listen, peers
        self.node = self.agent = None

    def start(self, of):
        log = open(self.work / f"{self.name}-{of}.log", "ab")
        socket = self.work / f"{self.name}.sock"
        if of == "node":
            flags = ["--name", self.name, "--port", str(self.port), "--unix", socket, "--dir", self.work / self.name]
        else:
            flags = ["run", "--node", f"unix:{socket}", "--listen", f"127.0.0.1:{self.listen}", "--group", "example"]
            flags += [flag for peer in self.peers for flag in ("--peer", peer)]
        setattr(self, of, subprocess.Popen([self.programs[of], *flags], stderr=log))

    def kill(self, of):
        getattr(self, of).kill()
        getattr(self, of).wait()

    def client(self):
        return client(self.port)


def balancer(command, *arguments):
    process = subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process


def name_behind(port):
    """Which master a new connection to the load balancer reaches."""
    connection = client(port)
    name = connection.config_get("name")["name"]
    connection.close()
    return name


class Writer(threading.Thread):
    """A client behind the load balancer that writes, and connects again when it is lost."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.stopped, self.written = port, threading.Event(), 0

    def run(self):
        connection = client(self.port)
        while not self.stopped.is_set():
            with contextlib.suppress(redis.RedisError, OSError):
                connection.set(f"through:{self.written}", "1")
                self.written += 1
            time.sleep(0.001)

    def wait_more(self, count):
        goal = self.written + count
        wait_for("writes through the load balancer", lambda: self.written >= goal)

    def finish(self):
        self.stopped.set()
        self.join()
        return self.written


def check_haproxy(config, masters):
    a, b = masters
    proxy = balancer("haproxy", "-q", "-f", ROOT / "examples" / "haproxy" / config)
    try:
        wait_for("the load balancer to reach a master", lambda: client(7000).ping())
        wait_for("both to be ready, and a to get clients", lambda: name_behind(7000) == "a")
        writer = Writer(7000)
        writer.start()
        writer.wait_more(100)

        killed_at = time.monotonic()
        a.kill("node")
        writer.wait_more(100)
        took = time.monotonic() - killed_at
        # Enough that catching up takes a while, and a mark behind it.
        pipe = b.client().pipeline(transaction=False)
        for number in range(100_000):
            pipe.set(f"meanwhile:{number}", "x" * 64)
        pipe.execute()
        b.client().set(f"last:{config}", "1")
        a.start("node")
        wait_for("a to get clients again", lambda: name_behind(7000) == "a")
        # It was ready before the load balancer could have sent anybody.
        if a.client().get(f"last:{config}") != "1":
            sys.exit(f"failed: {config}: a got clients before it had caught up")
        writer.wait_more(100)
        # Without its agent it would fall behind: no clients, though the node is there.
        a.kill("agent")
        wait_for("clients to go to b only", lambda: all(name_behind(7000) == "b" for _ in range(8)))
        a.start("agent")
        wait_for("a to get clients again", lambda: name_behind(7000) == "a")
        written = writer.finish()
        for master in masters:
            missing = lambda: [n for n in range(written) if not master.client().exists(f"through:{n}")]
            wait_for(f"{master.name} to hold all that was written", lambda: not missing())
        print(f"haproxy, {config}: clients went on after {took:.2f} s, {written} writes, none lost")
    finally:
        proxy.terminate()
        proxy.wait()


def check_nginx(work, masters):
    """The one dials the other through nginx."""
    a, b = masters
    config = work / "nginx.conf"
    temp = "".join(f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; events {{}}\n"
        f"http {{ access_log off; {temp} include {ROOT}/examples/nginx/links.conf; }}\n"
    )
    proxy = balancer("nginx", "-c", str(config), "-e", str(work / "nginx.log"))
    try:
        for master, peers in ((a, []), (b, ["ws://127.0.0.1:7100"])):
            master.kill("agent")
            master.peers = peers
            master.start("agent")
        for master, other in ((a, b), (b, a)):
            wait_for(f"{master.name} to take writes", lambda: master.client().set(f"nginx:{master.name}", "1"))
            wait_for("the write to cross nginx", lambda: other.client().get(f"nginx:{master.name}") == "1")
        print("nginx: writes cross both ways")
    finally:
        proxy.terminate()
        proxy.wait()


def is_linked(info):
    return info["members"] == 2 and info["joining"] == 0 and info["ready"] == 1 and info["connected_slaves"] == 1


def main():
    work = pathlib.Path(tempfile.mkdtemp())
    programs = {"node": sys.argv[1], "agent": sys.argv[2]}
    masters = [
        Master(programs, work, "a", 7001, 7101, ["ws://127.0.0.1:7102"]),
        Master(programs, work, "b", 7002, 7102, ["ws://127.0.0.1:7101"]),
    ]
    try:
        for master in masters:
            master.start("node")
            master.start("agent")
        # Not before: what is written to a master that has met nobody yet is nowhere else when it is killed.
        for master in masters:
            wait_for(f"{master.name} to be a member, and linked", lambda: is_linked(master.client().info("replication")))
        check_haproxy("active-active.cfg", masters)
        check_haproxy("fail-over.cfg", masters)
        check_nginx(work, masters)
    except BaseException:
        for log in sorted(work.glob("*.log")):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)
        raise
    finally:
        for master in masters:
            for process in (master.agent, master.node):
                if process:
                    process.kill()
        shutil.rmtree(work, ignore_errors=True)


main()
