"""Everyday use of two linked masters by redis-py: sync and asyncio, RESP2 and RESP3.

    check.py HERE_PORT THERE_PORT

Writes at one master, waits until the other has it, and compares the answers' types, too: a client that is given what
it does not expect converts it wrongly, and often silently.
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio

PATIENCE_S = 30


def until(what, ask, expected):
    """Waits until `ask` answers with what is expected."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask()) != expected:
        assert time.monotonic() < deadline, f"waited in vain for {what}: {answer!r}, and not {expected!r}"
        time.sleep(0.005)


async def until_async(what, ask, expected):
    """Waits until `ask` answers with what is expected."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := await ask()) != expected:
        assert time.monotonic() < deadline, f"waited in vain for {what}: {answer!r}, and not {expected!r}"
        await asyncio.sleep(0.005)


def refused(error, act, *arguments):
    """Checks that a call fails, and how."""
    try:
        answer = act(*arguments)
    except redis.ResponseError as problem:
        assert error in str(problem), f"{problem}, and not {error}"
    else:
        raise AssertionError(f"{answer!r}, and not {error}")


def clear(here, there, *keys):
    """Removes keys at both masters, and what either writes to them while it has not heard of that."""
    until("old keys to be gone", lambda: (here.delete(*keys), there.exists(*keys)), (0, 0))


def check_strings(here, there):
    assert here.set("greeting", "hello") is True
    until("a SET", lambda: there.get("greeting"), b"hello")
    assert there.set("greeting", "x", nx=True) is None
    assert there.set("greeting", "hi", xx=True, get=True) == b"hello"
    until("a SET on the other side", lambda: here.get("greeting"), b"hi")
    assert here.append("greeting", " there") == 8
    assert here.getrange("greeting", 0, 1) == b"hi"
    assert here.strlen("greeting") == 8
    until("an APPEND", lambda: there.get("greeting"), b"hi there")
    assert here.mset({"one": 1, "two": b"\x00\xff\r\n"}) is True
    until("an MSET", lambda: there.mget("one", "none", "two"), [b"1", None, b"\x00\xff\r\n"])
    assert here.delete("one", "two", "none") == 2
    until("a DEL", lambda: there.exists("one", "two"), 0)
    refused("WRONGTYPE" if here.type("greeting") != b"string" else "not an integer", here.incr, "greeting")
    refused("unknown command", here.execute_command, "NOSUCHCOMMAND")


def check_counters(here, there):
    here.delete("visits", "weight")
    until("a counter to be gone", lambda: there.exists("visits", "weight"), 0)
    assert here.incr("visits") == 1
    assert there.incrby("visits", 10) in (10, 11)
    for master in (here, there):
        until("both increments", lambda master=master: master.get("visits"), b"11")
    assert here.decrby("visits", 1) == 10
    assert here.incrbyfloat("weight", 1.5) == 1.5
    until("a float", lambda: there.get("weight"), b"1.5")


def check_expiry(here, there):
    assert here.set("brief", "x", ex=100) is True
    until("a key with a TTL", lambda: there.exists("brief"), 1)
    assert 0 < there.ttl("brief") <= 100 and there.expiretime("brief") == here.expiretime("brief")
    assert there.persist("brief") is True
    until("a PERSIST", lambda: here.ttl("brief"), -1)
    assert here.pexpire("brief", 20) is True
    for master in (here, there):
        until("an expiry", lambda master=master: (master.get("brief"), master.ttl("brief")), (None, -2))
    assert here.expire("brief", 10) is False


def check_bits(here, there):
    here.delete("bits")
    until("old bits to be gone", lambda: there.exists("bits"), 0)
    assert here.setbit("bits", 7, 1) == 0
    assert here.bitfield("bits").set("u8", 8, 255).incrby("u8", 8, 10).get("u4", 0).execute() == [0, 9, 0]
    until("bits", lambda: there.get("bits"), b"\x01\x09")
    assert (there.getbit("bits", 7), there.bitcount("bits"), there.bitpos("bits", 1)) == (1, 3, 7)
    assert here.bitop("NOT", "inverse", "bits") == 2
    until("a BITOP", lambda: there.get("inverse"), b"\xfe\xf6")


def check_pipelines(here, there):
    with here.pipeline(transaction=False) as pipeline:
        for number in range(1_000):
            pipeline.set(f"page:{number}", number)
        assert pipeline.execute() == [True] * 1_000
    until("the pipeline's end", lambda: there.get("page:999"), b"999")
    expected = {f"page:{number}".encode() for number in range(1_000)}
    assert set(there.scan_iter("page:*", count=100)) == expected
    assert set(there.scan_iter("page:*", count=100, _type="string")) == expected
    assert set(there.keys("page:1??")) == {key for key in expected if len(key) == 8 and key[5:6] == b"1"}
    with here.pipeline() as pipeline:
        pipeline.multi()
        pipeline.set("from", 1).incr("from").get("from").get("none").exists("from")
        assert pipeline.execute() == [True, 2, b"2", None, 1]
    until("a transaction", lambda: there.get("from"), b"2")


def check_watch(here, there):
    here.set("stock", 5)
    until("the stock", lambda: there.get("stock"), b"5")

    def sell(pipeline):
        left = int(pipeline.get("stock"))
        pipeline.multi()
        pipeline.set("stock", left - 1)

    assert here.transaction(sell, "stock") == [True]
    # A write that was made after seeing another wins over it. Without seeing it, it is anybody's race.
    until("the sale", lambda: there.get("stock"), b"4")
    with here.pipeline() as pipeline:
        pipeline.watch("stock")
        there.set("stock", 100)
        until("a write from afar", lambda: here.get("stock"), b"100")
        pipeline.multi()
        pipeline.set("stock", 0)
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key was changed at the other master, and EXEC took no notice")
    assert here.get("stock") == b"100"


def check_connection(here, there):
    assert here.ping() is True
    assert here.client_setname("interop") is True and here.client_getname() in ("interop", b"interop")
    assert here.client_setinfo("LIB-NAME", "check") is True
    assert isinstance(here.client_id(), int)
    ours = [client for client in here.client_list() if client["name"] == "interop"]
    assert len(ours) == 1 and ours[0]["lib-name"] == "check", ours
    assert here.client_info()["name"] == "interop"
    info = here.info()
    assert info["role"] == "active-replica" and info["redis_version"].startswith("7."), info
    assert isinstance(info["connected_clients"], int)
    assert "db0" in here.info("keyspace") and here.info("keyspace")["db0"]["keys"] == here.dbsize()
    assert here.config_get("maxmemory") == {"maxmemory": "0"}
    assert isinstance(here.time()[0], int)
    assert here.command_count() > 50 and "get" in here.command()
    assert here.command_getkeys("MSET", "a", "1", "b", "2") in ([b"a", b"b"], ["a", "b"])
    assert here.object("ENCODING", "greeting") in (b"raw", b"embstr")
    assert here.wait(1, 10_000) == 1
    assert there.touch("greeting", "none") == 1
    assert here.copy("greeting", "copied", replace=True) and here.rename("copied", "renamed")
    until("a RENAME", lambda: (there.get("renamed"), there.exists("copied")), (here.get("greeting"), 0))


def check_databases(here, there):
    second = redis.Redis(port=here.connection_pool.connection_kwargs["port"], db=1)
    second.set("apart", "1")
    assert here.get("apart") is None
    elsewhere = redis.Redis(port=there.connection_pool.connection_kwargs["port"], db=1)
    until("a key of another database", lambda: elsewhere.get("apart"), b"1")
    assert second.flushdb() is True
    until("a FLUSHDB", lambda: elsewhere.dbsize(), 0)
    assert there.exists("greeting") == 1
    second.close()
    elsewhere.close()


def check_decoded(ports, protocol):
    """A client that wants text, as most are made."""
    here, there = (redis.Redis(port=port, protocol=protocol, decode_responses=True) for port in ports)
    here.set("text", "grüß dich")
    until("text", lambda: there.get("text"), "grüß dich")
    assert here.config_get("maxclients")["maxclients"].isdigit()
    assert here.type("text") == "string"
    here.close()
    there.close()


def check_hashes(here, there):
    clear(here, there, "user")
    assert here.hset("user", mapping={"name": "ada", "visits": 1}) == 2
    until("a hash", lambda: there.hgetall("user"), {b"name": b"ada", b"visits": b"1"})
    assert there.hset("user", "city", "london") == 1 and here.hset("user", "year", 1843) == 1
    assert there.hincrby("user", "visits", 5) == 6 and here.hincrby("user", "visits", 7) in (8, 13)
    expected = {b"name": b"ada", b"visits": b"13", b"city": b"london", b"year": b"1843"}
    for master in (here, there):
        until("what both wrote", lambda master=master: master.hgetall("user"), expected)
    assert here.hmget("user", "name", "none") == [b"ada", None] and here.hexists("user", "city")
    assert here.hdel("user", "city", "none") == 1 and here.hlen("user") == 3
    many = {f"field:{number}".encode(): b"%d" % number for number in range(3_000)}
    clear(here, there, "many")
    here.hset("many", mapping=many)
    until("a large hash", lambda: there.hlen("many"), len(many))
    told = list(there.hscan_iter("many", count=100))
    assert len(told) == len(many) and dict(told) == many, "each field once"


def check_sets(here, there):
    clear(here, there, "left", "right", "both")
    assert here.sadd("both", "a", "b") == 2 and there.sadd("both", "c") == 1
    for master in (here, there):
        until("what both added", lambda master=master: master.smembers("both"), {b"a", b"b", b"c"})
    assert there.srem("both", "a") == 1 and there.smismember("both", ["a", "b"]) == [0, 1]
    until("a removal", lambda: here.sismember("both", "a"), 0)
    here.sadd("left", *range(2_000))
    there.sadd("right", *range(1_000, 3_000))
    until("a set", lambda: there.scard("left"), 2_000)
    assert there.sinterstore("left", "left", "right") == 1_000
    until("a stored intersection", lambda: here.scard("left"), 1_000)
    told = list(here.sscan_iter("left", count=50))
    assert len(told) == 1_000 and set(told) == {b"%d" % number for number in range(1_000, 2_000)}
    assert here.sdiff("both", "left") == {b"b", b"c"} and len(here.srandmember("left", 5)) == 5


def check_sorted_sets(here, there):
    clear(here, there, "board")
    assert here.zadd("board", {"ada": 10, "bob": 2.5}) == 2
    until("a board", lambda: there.zscore("board", "bob"), 2.5)
    assert there.zincrby("board", 5, "bob") == 7.5 and here.zincrby("board", 1, "ada") == 11.0
    assert there.zadd("board", {"cyd": -1}) == 1
    for master in (here, there):
        rows = lambda master=master: [(name, score) for name, score in master.zrange("board", 0, -1, withscores=True)]
        until("what both wrote", rows, [(b"cyd", -1.0), (b"bob", 7.5), (b"ada", 11.0)])
    assert here.zrank("board", "ada") == 2 and here.zcount("board", 0, 10) == 1
    assert here.zrangebyscore("board", "(-1", "+inf") == [b"bob", b"ada"]
    assert dict(here.zscan_iter("board")) == {b"cyd": -1.0, b"bob": 7.5, b"ada": 11.0}
    assert [list(row) for row in here.zpopmin("board", 1)] == [[b"cyd", -1.0]]
    until("a pop", lambda: there.zcard("board"), 2)


def check_lists(here, there):
    clear(here, there, "queue", "done")
    assert here.rpush("queue", "a", "b") == 2
    until("a queue", lambda: there.lrange("queue", 0, -1), [b"a", b"b"])
    here.rpush("queue", "c")
    there.rpush("queue", "d")
    for master in (here, there):
        until("what both pushed", lambda master=master: master.llen("queue"), 4)
    until("one order", lambda: here.lrange("queue", 0, -1) == there.lrange("queue", 0, -1), True)
    assert here.lmove("queue", "done", "LEFT", "RIGHT") == b"a" and here.lpos("queue", "b") == 0
    until("what was moved", lambda: (there.lindex("done", 0), there.llen("queue")), (b"a", 3))
    assert there.linsert("queue", "BEFORE", "b", "x") == 4 and there.lset("queue", 0, "y")
    until("an insertion", lambda: here.lrange("queue", 0, 1), [b"y", b"b"])
    assert here.lpop("queue", 9) is not None and here.lpop("queue") is None
    here.rpush("queue", 3, 1, 2)
    assert here.sort("queue", desc=True) == [b"3", b"2", b"1"]


def check_blocking(here, there):
    """Who waits at one master is woken by a push at the other."""
    clear(here, there, "jobs")
    for pop, push, expected in [
        (lambda: there.blpop("jobs", timeout=PATIENCE_S), lambda: here.rpush("jobs", "job"), [b"jobs", b"job"]),
        (lambda: there.blmove("jobs", "done", PATIENCE_S), lambda: here.rpush("jobs", "job"), b"job"),
        (lambda: there.bzpopmin("ranks", PATIENCE_S), lambda: here.zadd("ranks", {"a": 1}), [b"ranks", b"a", 1.0]),
    ]:
        answers = []
        waiting = threading.Thread(target=lambda pop=pop, answers=answers: answers.append(pop()))
        waiting.start()
        until("a client to wait", lambda: there.info("clients")["blocked_clients"], 1)
        push()
        waiting.join()
        answer = answers[0] if isinstance(answers[0], bytes) else list(answers[0])
        assert answer == expected, answers
        until("what was taken to be gone", lambda: here.exists("jobs", "ranks"), 0)
    assert there.blpop("jobs", timeout=0.01) is None


def check_pubsub(here, there):
    with there.pubsub(ignore_subscribe_messages=False) as listening:
        listening.subscribe("news")
        listening.psubscribe("n*s")
        assert [listening.get_message(timeout=PATIENCE_S)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        message = None
        while message is None:
            here.publish("news", "hello")
            message = listening.get_message(timeout=0.05)
        assert (message["type"], message["channel"], message["data"]) == ("message", b"news", b"hello"), message
        assert listening.get_message(timeout=PATIENCE_S)["type"] == "pmessage"
        assert there.pubsub_numsub("news") == [(b"news", 1)] and there.pubsub_numpat() == 1


def check_operation(here, there):
    """What people and monitoring look at."""
    name = lambda text: text if isinstance(text, bytes) else text.encode()
    assert here.config_set("slowlog-log-slower-than", 0) and here.slowlog_reset()
    here.get("greeting")
    # What the agent asks for is logged, too.
    slow = next(slow for slow in here.slowlog_get(100) if name(slow["command"]).upper() == b"GET GREETING")
    assert slow["duration"] >= 0, slow
    assert here.config_set("slowlog-log-slower-than", 10_000) and here.slowlog_len() > 1
    with here.monitor() as monitor:
        here.set("shown", "this and that")
        # What a client says of itself when it connects may come before.
        shown = next(told for told in monitor.listen() if told["command"].startswith("SET"))
        assert shown["command"] == "SET shown this and that", shown
        assert (shown["db"], shown["client_type"]) == (0, "tcp"), shown
    assert here.config_set("latency-monitor-threshold", 1_000)
    assert here.latency_latest() == [] and here.latency_history("command") == [] and here.latency_reset() == 0
    assert here.config_set("latency-monitor-threshold", 0)
    before = here.info("commandstats")["cmdstat_get"]
    with here.pipeline(transaction=False) as pipeline:
        [pipeline.get("greeting") for _ in range(1_000)]
        pipeline.execute()
    calls = here.info("commandstats")["cmdstat_get"]
    assert calls["calls"] == before["calls"] + 1_000 and calls["usec"] > before["usec"] > 0, calls
    assert here.info("latencystats")["latency_percentiles_usec_get"]["p50"] > 0
    assert "cmdstat_get" not in here.info() and "cmdstat_get" in here.info("everything")
    assert here.memory_stats()["keys.count"] > 0 and here.memory_usage("greeting") > 0
    assert name(here.acl_whoami()) == b"default" and "on" in here.acl_getuser("default")["flags"]
    assert b"@keyspace" not in [name(category) for category in here.acl_cat()] and here.acl_cat("string")
    refused("DEBUG command not allowed", here.execute_command, "DEBUG", "SLEEP", "0")
    here.delete("shown")


CHECKS = [
    check_strings,
    check_counters,
    check_expiry,
    check_bits,
    check_pipelines,
    check_watch,
    check_connection,
    check_databases,
    check_hashes,
    check_sets,
    check_sorted_sets,
    check_lists,
    check_blocking,
    check_pubsub,
    check_operation,
]


def check_sync(ports, protocol):
    here, there = (redis.Redis(port=port, protocol=protocol) for port in ports)
    for check in CHECKS:
        check(here, there)
        check(there, here)
    check_decoded(ports, protocol)
    here.close()
    there.close()


async def check_async(ports, protocol):
    here, there = (redis.asyncio.Redis(port=port, protocol=protocol) for port in ports)
    assert await here.set("async", "1", ex=1_000) is True
    await until_async("a SET", lambda: there.get("async"), b"1")
    await asyncio.gather(*(master.incr("async:visits") for master in [here, there] * 50))
    for master in (here, there):
        await until_async("increments of both", lambda master=master: master.get("async:visits"), b"100")
    async with here.pipeline(transaction=True) as pipeline:
        assert await pipeline.set("async:a", 1).incr("async:a").get("async:a").execute() == [True, 2, b"2"]
    await until_async("a transaction", lambda: there.get("async:a"), b"2")
    async with here.pipeline() as pipeline:
        await pipeline.watch("async:a")
        await there.set("async:a", "elsewhere")
        await until_async("a write from afar", lambda: here.get("async:a"), b"elsewhere")
        pipeline.multi()
        pipeline.set("async:a", "here")
        try:
            await pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key was changed at the other master, and EXEC took no notice")
    assert {key async for key in there.scan_iter("async:*")} == {b"async:a", b"async:visits"}
    assert (await here.info("replication"))["role"] == "active-replica"
    assert await here.delete("async:a", "async:visits", "async") == 3
    await until_async("a DEL", lambda: there.exists("async:a"), 0)
    await here.aclose()
    await there.aclose()


def main():
    ports = [int(port) for port in sys.argv[1:3]]
    for protocol in (2, 3):
        check_sync(ports, protocol)
        print(f"redis-py {redis.__version__}, sync, RESP{protocol}: well")
        asyncio.run(check_async(ports, protocol))
        print(f"redis-py {redis.__version__}, asyncio, RESP{protocol}: well")


if __name__ == "__main__":
    main()
