// Everyday use of two linked masters by ioredis and node-redis.
//
//     NODE_PATH=MODULES node check.cjs HERE_PORT THERE_PORT
//
// Each client writes at one master and waits until the other has it. The two have different methods: what is checked is said
// once, and each client brings its own way to send a command, to scan, to wait and to listen.

"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");

const PATIENCE_MS = 30_000;

// Waits until `ask` answers with what is expected.
async function until(what, ask, expected) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    try {
      return assert.deepEqual(answer, expected);
    } catch {
      assert(Date.now() < deadline, `waited in vain for ${what}: ${JSON.stringify(answer)}`);
      await sleep(5);
    }
  }
}

// Removes keys at both masters, and what either writes to them while it has not heard of that.
async function clear(here, there, ...keys) {
  const removed = async () => [await here.send("DEL", ...keys), await there.send("EXISTS", ...keys)];
  await until("old keys to be gone", removed, [0, 0]);
}

async function checkTypes(here, there) {
  await clear(here, there, "user", "tags", "board", "queue", "many");

  assert.equal(await here.send("HSET", "user", "name", "ada", "visits", "1"), 2);
  await until("a hash", () => there.send("HGET", "user", "name"), "ada");
  await Promise.all([here.send("HINCRBY", "user", "visits", "5"), there.send("HINCRBY", "user", "visits", "7")]);
  await Promise.all([here.send("SADD", "tags", "a", "b"), there.send("SADD", "tags", "c")]);
  await Promise.all([here.send("ZINCRBY", "board", "2", "ada"), there.send("ZINCRBY", "board", "3", "ada")]);
  await Promise.all([here.send("RPUSH", "queue", "x", "y"), there.send("RPUSH", "queue", "z")]);
  for (const master of [here, there]) {
    await until("both increments", () => master.send("HGET", "user", "visits"), "13");
    await until("what both added", async () => (await master.members("tags")).sort(), ["a", "b", "c"]);
    await until("both scores", async () => Number(await master.send("ZSCORE", "board", "ada")), 5);
    await until("what both pushed", () => master.send("LLEN", "queue"), 3);
  }
  const order = await here.send("LRANGE", "queue", "0", "-1");
  assert.deepEqual(await there.send("LRANGE", "queue", "0", "-1"), order, "one order");
  assert.deepEqual(await here.fields("user"), { name: "ada", visits: "13" });

  // Cursors must be exact as JavaScript's numbers.
  const fields = Array.from({ length: 3_000 }, (_, number) => [`field:${number}`, String(number)]).flat();
  await here.send("HSET", "many", ...fields);
  await until("a large hash", () => there.send("HLEN", "many"), 3_000);
  const told = await there.scanFields("many");
  assert.equal(told.length, 3_000);
  assert.equal(new Set(told).size, 3_000, "each field once");
}

async function checkTransaction(here, there) {
  await clear(here, there, "t", "t:list");
  assert.deepEqual(await here.transaction([["SET", "t", "1"], ["INCR", "t"], ["RPUSH", "t:list", "a"]]), ["OK", 2, 1]);
  await until("a transaction", () => there.send("GET", "t"), "2");
}

async function checkBlocking(here, there) {
  const waiting = there.blockingPop("jobs");
  await until("a client to wait", async () => /blocked_clients:1\r/.test(await there.send("INFO", "clients")), true);
  await here.send("RPUSH", "jobs", "job");
  assert.equal(await waiting, "job");
  await until("what was taken to be gone", () => here.send("EXISTS", "jobs"), 0);
}

async function checkPubSub(here, there) {
  const heard = [];
  const stop = await there.listen("news", (message) => heard.push(message));
  await until("a message", async () => {
    await here.send("PUBLISH", "news", "hello");
    return heard.length > 0 && heard.every((message) => message === "hello");
  }, true);
  await stop();
}

function withIoredis(port) {
  const Redis = require("ioredis");
  const client = new Redis({ port });
  return {
    send: (...words) => client.call(...words),
    members: (key) => client.smembers(key),
    fields: (key) => client.hgetall(key),
    scanFields: async (key) => {
      const told = [];
      for await (const pairs of client.hscanStream(key, { count: 100 })) {
        told.push(...pairs.filter((_, place) => place % 2 === 0));
      }
      return told;
    },
    transaction: async (commands) => {
      const results = await client.multi(commands.map(([name, ...words]) => [name.toLowerCase(), ...words])).exec();
      return results.map(([error, result]) => {
        assert.equal(error, null);
        return result;
      });
    },
    blockingPop: async (key) => {
      const other = client.duplicate();
      const [, element] = await other.blpop(key, PATIENCE_MS / 1_000);
      other.disconnect();
      return element;
    },
    listen: async (channel, hear) => {
      const other = client.duplicate();
      other.on("message", (_, message) => hear(message));
      assert.equal(await other.subscribe(channel), 1);
      return async () => other.disconnect();
    },
    close: () => client.disconnect(),
  };
}

async function withNodeRedis(port, RESP) {
  const { createClient } = require("redis");
  const options = { socket: { port }, RESP };
  const client = await createClient(options).connect();
  return {
    send: (...words) => client.sendCommand(words),
    members: async (key) => [...(await client.sMembers(key))],
    fields: async (key) => ({ ...(await client.hGetAll(key)) }),
    scanFields: async (key) => {
      const told = [];
      for await (const entries of client.hScanIterator(key, { COUNT: 100 })) {
        told.push(...[entries].flat().map(({ field }) => field));
      }
      return told;
    },
    transaction: (commands) => {
      const multi = client.multi();
      commands.forEach((command) => multi.addCommand(command));
      return multi.exec();
    },
    blockingPop: async (key) => {
      const other = await client.duplicate().connect();
      const { element } = await other.blPop(key, PATIENCE_MS / 1_000);
      other.destroy();
      return element;
    },
    listen: async (channel, hear) => {
      const other = await client.duplicate().connect();
      await other.subscribe(channel, hear);
      return async () => other.destroy();
    },
    close: () => client.destroy(),
  };
}

async function check(name, connect) {
  const [here, there] = await Promise.all(process.argv.slice(2, 4).map((port) => connect(Number(port))));
  for (const part of [checkTypes, checkTransaction, checkBlocking, checkPubSub]) {
    await part(here, there);
    await part(there, here);
  }
  here.close();
  there.close();
  console.log(`${name}: well`);
}

async function main() {
  await check("ioredis", withIoredis);
  await check("node-redis, RESP2", (port) => withNodeRedis(port, 2));
  await check("node-redis, RESP3", (port) => withNodeRedis(port, 3));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
