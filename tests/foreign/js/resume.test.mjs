// Does the official client find what it missed when it asks for it, and nothing else when it does not?

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import { io } from "socket.io-client";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const CARRIERS = { websocket: ["websocket"], polling: ["polling"], both: ["polling", "websocket"] };
const QUICK = { reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0 };

/** Tells ada a number. */
async function tell(server, number) {
  const order = { command: "SendNotice", person: "ada", kind: "info", title: String(number), message: "A number." };
  const { status, body } = await server.ask("POST", "/v1/commands", order);
  assert.equal(status, 200, JSON.stringify(body));
}

/** The numbers that `heard` has, in order; each notice has to come with one argument and an offset. */
function numbers(heard) {
  return heard.all("system:notification").map((notice) => Number(notice.title));
}

function upTo(count) {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function ada(server, options) {
  return server.client({ auth: { token: "key-of-ada", recover: true }, ...QUICK, ...options });
}

for (const [carrier, transports] of Object.entries(CARRIERS)) {
  test(`a client that asks recovers what it missed, over ${carrier}`, async (t) => {
    const server = await Server.configured(t);
    const socket = ada(server, { transports });
    const heard = new Heard(socket);
    await next(socket, "connect");
    assert.ok(!socket.recovered);
    const id = socket.id;
    await tell(server, 1);
    await heard.count("system:notification", 1);
    let told = 1;
    for (const round of upTo(5)) {
      const gone = next(socket, "disconnect");
      socket.io.engine.close();
      await gone;
      const back = next(socket, "connect");
      await tell(server, ++told);
      await tell(server, ++told);
      await back;
      assert.equal(socket.recovered, true, `round ${round}`);
      assert.equal(socket.id, id);
      await tell(server, ++told);
      await heard.count("system:notification", told);
    }
    assert.deepEqual(numbers(heard), upTo(told));
    assert.equal(heard.all("system:connection").length, 1, "a session that goes on is not welcomed again");
  });
}

test("bug 4733, 5541: a client that received nothing yet recovers", async (t) => {
  const server = await Server.configured(t, "");
  const socket = ada(server, { transports: ["websocket"] });
  // Lost before the welcome is taken in, as far as the client knows.
  await next(socket, "connect");
  socket._lastOffset = undefined;
  const gone = next(socket, "disconnect");
  socket.io.engine.close();
  await gone;
  await next(socket, "connect");
  assert.equal(socket.recovered, true);
});

test("a client that is cut at random bytes, or left half-open, misses nothing and hears nothing twice", async (t) => {
  const server = await Server.configured(t);
  const proxy = await Proxy.before(t, server);
  const socket = io(proxy.url, {
    path: server.path,
    forceNew: true,
    auth: { token: "key-of-ada", recover: true },
    transports: ["websocket"],
    ...QUICK,
  });
  t.after(() => socket.disconnect());
  const heard = new Heard(socket);
  await next(socket, "connect");
  const recovered = [];
  socket.on("connect", () => recovered.push(socket.recovered));
  let told = 0;
  for (const round of upTo(40)) {
    const back = next(socket, "connect");
    proxy.cut({ after: (round * 37) % 500, halfOpen: round % 10 === 0 });
    for (const _ of upTo(5)) await tell(server, ++told);
    await back;
  }
  await heard.count("system:notification", told);
  assert.deepEqual(numbers(heard), upTo(told));
  assert.deepEqual([...new Set(recovered)], [true]);
});

test("whoever disconnects on purpose begins anew, and so does whoever comes too late", async (t) => {
  const server = await Server.configured(t, "[resume]\nwindow = 100\n");
  const socket = ada(server, { transports: ["websocket"] });
  await next(socket, "connect");
  socket.disconnect();
  socket.connect();
  await next(socket, "connect");
  assert.equal(socket.recovered, false);

  socket.io.reconnection(false);
  const gone = next(socket, "disconnect");
  socket.io.engine.close();
  await gone;
  // The server says itself when the session has waited for long enough.
  const waiting = async () => (await (await fetch(`${server.admin}/metrics`)).text()).match(/^antiphon_sessions_waiting (\d+)$/m)[1];
  while ((await waiting()) !== "0");
  socket.connect();
  await next(socket, "connect");
  assert.equal(socket.recovered, false);
});

test("a client that does not ask gets no session and no offset", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" }, ...QUICK });
  const heard = new Heard(socket);
  await next(socket, "connect");
  assert.equal(socket._pid, undefined);
  await tell(server, 1);
  await heard.count("system:notification", 1);
  for (const [event, ...values] of heard.events) assert.equal(values.length, 1, event);
  const gone = next(socket, "disconnect");
  socket.io.engine.close();
  await gone;
  await next(socket, "connect");
  assert.ok(!socket.recovered);
});

/** A proxy that cuts connections between two bytes. */
class Proxy {
  #upstream;
  #pairs = new Set();
  #left = Infinity;
  #halfOpen = false;

  /** In front of `server`; ends with the test. */
  static async before(t, server) {
    const proxy = new Proxy();
    proxy.#upstream = Number(new URL(server.url).port);
    const listening = createServer((client) => proxy.#accept(client));
    await new Promise((resolve) => listening.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${listening.address().port}`;
    t.after(() => {
      listening.close();
      for (const { client, server } of proxy.#pairs) for (const end of [client, server]) end.destroy();
    });
    return proxy;
  }

  /** Cuts after so many more bytes to the client; `halfOpen` leaves the server believing that it is there. */
  cut({ after, halfOpen }) {
    this.#left = after;
    this.#halfOpen = halfOpen;
  }

  #accept(client) {
    const server = connect(this.#upstream, "127.0.0.1");
    const pair = { client, server };
    this.#pairs.add(pair);
    for (const end of [client, server]) end.on("error", () => {});
    client.on("data", (bytes) => server.write(bytes));
    client.on("close", () => client.forgotten || server.destroy());
    server.on("close", () => client.destroy());
    server.on("data", (bytes) => {
      if (client.destroyed) return;
      if (bytes.length < this.#left) {
        this.#left -= bytes.length;
        client.write(bytes);
        return;
      }
      client.forgotten = this.#halfOpen;
      client.write(bytes.subarray(0, this.#left), () => client.destroy());
      this.#left = Infinity;
    });
  }
}
