// Does a client that tries again by itself, with the official options `retries` and `ackTimeout`, say everything once?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Changing, Heard, PATIENCE, next, within } from "./support/waiting.mjs";

const ROUNDS = Number(process.env.RETRY_ROUNDS ?? 5);

const BACK_SOON = { reconnectionDelay: 50, reconnectionDelayMax: 200 };

/** A client that tries again until it is answered. */
function persistent(server, options = {}) {
  const auth = { token: "key-of-ada" };
  return server.client({ auth, transports: ["websocket"], retries: 1_000, ackTimeout: 1_000, ...BACK_SOON, ...options });
}

/** How often a socket sends an event from now on. */
class Tries extends Changing {
  sent = 0;

  constructor(socket, event) {
    super();
    socket.onAnyOutgoing((name) => {
      if (name !== event) return;
      this.sent++;
      this.changed();
    });
  }
}

function message(text, clientMessageId) {
  return { agentId: "helper", message: text, clientMessageId };
}

test("an answer that is lost with the server is asked for again, and one row is left", { timeout: 120_000 }, async (t) => {
  const server = await Server.configured(t);
  const sender = persistent(server);
  const watcher = server.client({ auth: { token: "key-of-ada" }, transports: ["websocket"], ...BACK_SOON });
  const heard = new Heard(watcher);
  const count = new Tries(sender, "chat:message");
  for (let round = 1; round <= ROUNDS; round++) {
    await Promise.all([sender, watcher].map(async (socket) => socket.connected || (await next(socket, "connect"))));
    await watcher.timeout(PATIENCE).emitWithAck("chat:join", { agentId: "helper" });
    const text = `round ${round}`;
    // Whatever the sender is told from now on is lost: the message is stored, and nobody has said so.
    const { ws } = sender.io.engine.transport;
    ws.onmessage = () => {};
    const answer = sender.emitWithAck("chat:message", message(text, `id-${round}`));
    await heard.until(() => heard.all("chat:message").some(({ content }) => content === text), `${text} to be stored`);
    ws.terminate();
    await server.kill();
    await server.start();
    const { ok, duplicate } = await within(PATIENCE, answer, "an answer");
    assert.deepEqual([ok, duplicate], [true, true]);
  }
  assert.ok(count.sent >= 2 * ROUNDS, `${count.sent} tries`);
  assert.equal(await server.stop(), 0);
  assert.deepEqual(await said(server), Array.from({ length: ROUNDS }, (_, index) => `round ${index + 1}`));
});

test("an answer that is late makes the client try again, and one row is left", async (t) => {
  const server = await Server.configured(t);
  const socket = persistent(server, { ackTimeout: 100 });
  const count = new Tries(socket, "chat:message");
  const heard = new Heard(socket);
  await next(socket, "connect");

  server.freeze();
  const answers = ["one", "two", "three"].map((text) => socket.emitWithAck("chat:message", message(text, text)));
  await count.until(({ sent }) => sent >= 4, "four tries");
  server.thaw();
  for (const answer of answers) assert.equal((await within(PATIENCE, answer, "an answer")).ok, true);
  await heard.count("chat:message:complete", 3);
  assert.equal(await server.stop(), 0);
  assert.deepEqual(await said(server), ["one", "two", "three"]);
});

test("a message that can be no other one is refused, and the client goes on to the next", async (t) => {
  const server = await Server.configured(t);
  const socket = persistent(server);
  const ask = (text, id) => within(PATIENCE, socket.emitWithAck("chat:message", message(text, id)), "an answer");
  assert.equal((await ask("first", "m-1")).ok, true);
  for (const [text, id, code] of [
    ["other", "m-1", "CONFLICT"],
    ["long", "x".repeat(10 * 1024), "MESSAGE_ERROR"],
    ["empty", "", "MESSAGE_ERROR"],
    ["number", 7, "MESSAGE_ERROR"],
    ["list", ["m"], "MESSAGE_ERROR"],
    ["bytes", Buffer.from("m"), "MESSAGE_ERROR"],
  ]) {
    const { ok, error } = await ask(text, id);
    assert.deepEqual([ok, error.code], [false, code], text);
  }
  const again = await ask("first", "m-1");
  assert.deepEqual([again.ok, again.seq, again.duplicate], [true, 1, true]);
  assert.equal(await server.stop(), 0);
  assert.deepEqual(await said(server), ["first"]);
});

test("a client that has missed something asks for what comes after the last it has", async (t) => {
  const server = await Server.configured(t);
  const socket = persistent(server);
  const ask = (text) => within(PATIENCE, socket.emitWithAck("chat:message", message(text, text)), "an answer");
  const away = server.client({ auth: { token: "key-of-ada" }, transports: ["websocket"], ...BACK_SOON });
  const heard = new Heard(away);
  const positions = () =>
    heard.events.filter(([, payload]) => payload?.seq !== undefined).map(([, payload]) => payload.seq);
  const join = (after) => away.timeout(PATIENCE).emitWithAck("chat:join", { agentId: "helper", after });

  await next(away, "connect");
  assert.deepEqual(await join(0), { ok: true, seq: 0 });
  await ask("one");
  await heard.count("chat:message:complete", 1);
  away.disconnect();
  for (const text of ["two", "three"]) await ask(text);
  await server.kill();
  await server.start();
  const last = positions().at(-1);
  assert.equal(last, 2);
  away.connect();
  await next(away, "connect");
  const { seq } = await join(last);
  await ask("four");
  await heard.until(() => positions().length >= seq + 2, "everything");
  assert.deepEqual(positions(), Array.from({ length: seq + 2 }, (_, index) => index + 1));
});

/** What Ada has said to her helper, in order. The server must be stopped. */
async function said(server) {
  const history = await server.history("helper", "ada");
  return history.filter(({ role }) => role === "user").map(({ content }) => content);
}
