// Is a client that asks for an answer given one, and what happens to what nobody can answer?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

test("an acknowledgement tells that it was done, or why not", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" } });
  const heard = new Heard(socket);
  const message = (fields) => ask(socket, "chat:message", { agentId: "helper", message: "Hello", ...fields });

  const done = await message();
  assert.equal(done.ok, true);
  assert.match(done.id, /^[0-9a-f-]{36}$/);
  assert.equal(done.seq, 1);

  for (const [fields, code] of [
    [{ agentId: "adviser" }, "AGENT_NOT_FOUND"],
    [{ agentId: "nobody" }, "AGENT_NOT_FOUND"],
    [{ userId: "bob" }, "FORBIDDEN"],
    [{ message: "" }, "MESSAGE_ERROR"],
    [{ message: "é".repeat(16_385) }, "MESSAGE_ERROR"],
    [{ message: Buffer.from("Hello") }, "MESSAGE_ERROR"],
    [{ agentId: { toString: "helper" } }, "MESSAGE_ERROR"],
  ]) {
    const before = heard.all("chat:error").length;
    const { ok, error } = await message(fields);
    assert.deepEqual([ok, error.code], [false, code], JSON.stringify(fields).slice(0, 80));
    const { timestamp, ...said } = (await heard.count("chat:error", before + 1)).at(-1);
    assert.deepEqual(said, error);
    assert.equal(typeof timestamp, "number");
  }
  assert.equal((await message({ message: "é".repeat(16_384) })).ok, true);
  assert.deepEqual(await ask(socket, "agent:subscribe", { agentId: "adviser" }), {
    ok: false,
    error: { code: "AGENT_NOT_FOUND", message: "Agent not found" },
  });
});

for (const transport of ["websocket", "polling"]) {
  test(`what nobody knows is passed over, binary or not, over ${transport}`, async (t) => {
    const server = await Server.configured(t);
    const socket = server.client({ auth: { token: "key-of-ada" }, transports: [transport] });
    const heard = new Heard(socket);
    await next(socket, "connect");
    const { id } = socket;

    socket.emit("no:such:event", Buffer.alloc(100_000, 7), { nested: [new Uint8Array([1, 2, 3])] });
    socket.emit("__proto__", { agentId: "helper" });
    socket.emit("chat:message:complete", { agentId: "helper", messageId: "1", fullContent: "I said so." });
    socket.emit("no:such:event");
    socket.volatile.emit("no:such:event", new ArrayBuffer(8));
    // Only who asks for an answer gets one.
    assert.equal((await ask(socket, "no:such:event", 1)).ok, false);

    assert.equal((await ask(socket, "chat:message", { agentId: "helper", message: "Still here?" })).ok, true);
    await heard.count("chat:message:complete", 1);
    assert.equal(socket.id, id);
    assert.deepEqual(heard.all("chat:error"), []);
  });
}

test("an answer that comes too late is not taken for another one", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" }, transports: ["websocket"] });
  const heard = new Heard(socket);
  await next(socket, "connect");

  server.freeze();
  const late = socket.timeout(100).emitWithAck("chat:message", { agentId: "helper", message: "late" });
  await assert.rejects(late, /timed out/);
  server.thaw();

  const answer = await ask(socket, "chat:message", { agentId: "helper", message: "in time" });
  assert.deepEqual([answer.ok, answer.seq > 1], [true, true]);
  await heard.count("chat:message:complete", 2);
  assert.deepEqual(heard.all("chat:message").map((message) => message.content), ["late", "in time"]);
});

async function ask(socket, event, payload) {
  return await socket.timeout(10_000).emitWithAck(event, payload);
}
