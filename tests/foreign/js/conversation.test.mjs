// Does a documented conversation take place, whatever carries it, and does everybody hear of it who should?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const CARRIERS = {
  websocket: ["websocket"],
  polling: ["polling"],
  "polling, then websocket": ["polling", "websocket"],
};

for (const [carrier, transports] of Object.entries(CARRIERS)) {
  test(`the documented snippet is answered over ${carrier}`, async (t) => {
    const server = await Server.demo(t);
    const socket = server.client({ auth: { token: "your-api-key" }, transports });
    const heard = new Heard(socket);

    // As the document has it: said at once, in a room that nobody has joined.
    socket.emit("chat:message", { agentId: "agent-123", message: "Hello!", userId: "user-123" });
    await heard.count("chat:message:complete", 1);

    assertConversation(heard.conversation(), "Hello!");
    assert.equal(heard.events[0][0], "system:connection");
    assert.equal(heard.events[0][1].connected, true);
    assert.equal(await lastTransport(socket, transports.length > 1), transports.at(-1));
  });
}

test("the default transports end on a WebSocket", async (t) => {
  const server = await Server.demo(t);
  const socket = server.client({ auth: { token: "your-api-key" } });
  const heard = new Heard(socket);
  await next(socket, "connect");
  assert.equal(await lastTransport(socket, true), "websocket");
  socket.emit("chat:message", { agentId: "luna", message: "Hola" });
  await heard.count("chat:message:complete", 1);
  assert.equal(heard.all("chat:message")[0].content, "Hola");
});

test("both tabs of a person hear one conversation, and another person hears nothing of it", async (t) => {
  const server = await Server.demo(t);
  const [first, second] = [0, 1].map(() => server.client({ auth: { token: "your-api-key" } }));
  const other = server.client({ auth: { token: "your-api-key-456" } });
  const heard = [first, second, other].map((socket) => new Heard(socket));
  const joined = await second.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-123" });
  assert.deepEqual(joined, { ok: true, seq: 0 });
  await other.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-456" });

  first.emit("chat:message", { agentId: "agent-123", message: "Can both of you hear me?" });
  await Promise.all(heard.slice(0, 2).map((tab) => tab.count("chat:message:complete", 1)));
  assertConversation(heard[0].conversation(), "Can both of you hear me?");
  assert.deepEqual(heard[1].conversation(), heard[0].conversation());

  // Whatever the other person was sent before this answer has arrived with it.
  await other.timeout(10_000).emitWithAck("chat:leave", { agentId: "agent-456" });
  assert.deepEqual(heard[2].conversation(), []);
});

test("typing is shown to all tabs, and a volatile emit counts like any other", async (t) => {
  const server = await Server.demo(t);
  // A volatile emit may get lost while a transport gives way to another, so there is only one.
  const tab = () => server.client({ auth: { token: "your-api-key" }, transports: ["websocket"] });
  const [first, second] = [tab(), tab()];
  const heard = [first, second].map((socket) => new Heard(socket));
  for (const socket of [first, second]) {
    await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "luna" });
  }
  first.volatile.emit("chat:typing", { agentId: "luna", userId: "user-123", isTyping: true });
  for (const tab of heard) {
    const [typing] = await tab.count("chat:typing", 1);
    assert.deepEqual({ ...typing, timestamp: 0 }, { agentId: "luna", userId: "user-123", isTyping: true, timestamp: 0 });
  }
  // Nobody says so, and after three seconds it is taken to be over.
  for (const tab of heard) assert.equal((await tab.count("chat:typing", 2))[1].isTyping, false);
});

/** What carries the connection, once an upgrade is through if there is to be one. */
async function lastTransport({ io: { engine } }, upgrades) {
  if (upgrades && engine.transport.name === "polling") await next(engine, "upgrade");
  return engine.transport.name;
}

/** That `events` are one message and its whole answer, in the documented order and shape. */
function assertConversation(events, text) {
  const names = events.map(([name]) => name);
  const pieces = names.filter((name) => name === "chat:message:stream").length;
  assert.deepEqual(names, [
    "chat:message",
    "relation:updated",
    "chat:typing",
    ...Array(pieces).fill("chat:message:stream"),
    "chat:typing",
    "chat:message:complete",
  ]);
  assert.ok(pieces > 1, "an answer comes in pieces");

  const payloads = events.map(([, payload]) => payload);
  const [echo, relation, begun] = payloads;
  const [ended, complete] = payloads.slice(-2);
  assert.deepEqual(
    { agentId: echo.agentId, userId: echo.userId, role: echo.role, content: echo.content },
    { agentId: "agent-123", userId: "user-123", role: "user", content: text },
  );
  assert.deepEqual(Object.keys(relation.state).sort(), ["affinity", "respect", "trust"]);
  assert.equal(typeof relation.relationLevel, "string");
  assert.deepEqual([begun.isTyping, begun.userId, ended.isTyping, ended.userId], [true, undefined, false, undefined]);

  const stream = payloads.slice(3, -2);
  assert.deepEqual(stream.map((piece) => piece.index), stream.map((_, index) => index));
  assert.equal(stream.map((piece) => piece.chunk).join("").trim(), complete.fullContent);
  assert.deepEqual(new Set(stream.map((piece) => piece.messageId)), new Set([complete.messageId]));
  assert.notEqual(complete.messageId, echo.id);
  assert.equal(typeof complete.metadata.tokensUsed, "number");
  for (const { agentId, timestamp } of payloads) {
    assert.equal(agentId, "agent-123");
    assert.ok(Math.abs(Date.now() - timestamp) < 60_000, "timestamps are milliseconds");
  }
}
