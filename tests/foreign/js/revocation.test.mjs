// Does a key that was taken back, or a person who was sent away, hear nothing any more, and is the client told why?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

/** How long after it was revoked a key may still hear something, in milliseconds. */
const SOON = 1_000;

for (const transport of ["websocket", "polling"]) {
  test(`a revoked key's socket hears nothing after a second and is told why, over ${transport}`, async (t) => {
    const server = await Server.configured(t);
    const key = await server.newKey("ada");
    const socket = server.client({ auth: { token: key.secret }, transports: [transport] });
    const witness = server.client({ auth: { token: "key-of-ada" }, transports: [transport] });
    const heard = new Heard(socket);
    let last = 0;
    socket.onAny(() => (last = performance.now()));
    const publish = publisher(server, new Heard(witness));
    await Promise.all([next(socket, "connect"), next(witness, "connect")]);
    for (let count = 0; count < 10; count++) await publish();
    await heard.count("system:notification", 10);

    const gone = next(socket, "disconnect");
    const { status } = await server.ask("DELETE", `/v1/keys/${key.id}`);
    const revoked = performance.now();
    assert.equal(status, 204);
    // The other key of the same person hears every one of these, in the same room.
    let before = 0;
    let after = 0;
    while (performance.now() < revoked + 2 * SOON) {
      await publish();
      if (performance.now() < revoked + SOON) before++;
      else after++;
    }
    assert.ok(before > 10 && after > 10, `${before} and ${after} events were published`);
    assert.ok(last < revoked + SOON, `something was heard ${Math.round(last - revoked)} ms after`);
    t.diagnostic(`the last of it was heard ${Math.round(last - revoked)} ms after the answer; ${before + after} events came later`);

    // Clients come back by themselves after any other reason.
    assert.equal(await gone, "io server disconnect");
    assert.equal(socket.active, false);
    const [event, { code, message }] = heard.events.at(-1);
    assert.deepEqual([event, code], ["chat:error", "UNAUTHORIZED"]);
    assert.match(message, /revoked/);
    socket.connect();
    assert.equal((await next(socket, "connect_error")).message, "Invalid authentication token");
    assert.equal(witness.connected, true);
  });
}

test("a person who is revoked loses every socket, and nobody else does", async (t) => {
  const server = await Server.configured(t);
  const transports = [["websocket"], ["polling"], ["polling", "websocket"]];
  const tabs = transports.map((transports) => server.client({ auth: { token: "key-of-ada" }, transports }));
  const bob = server.client({ auth: { token: "key-of-bob" } });
  await Promise.all([...tabs, bob].map((socket) => next(socket, "connect")));

  const gone = tabs.map((tab) => next(tab, "disconnect"));
  assert.equal((await server.ask("POST", "/v1/revocations", { person: "ada" })).status, 204);
  assert.deepEqual(await Promise.all(gone), tabs.map(() => "io server disconnect"));
  for (const tab of tabs) {
    tab.connect();
    assert.equal((await next(tab, "connect_error")).message, "Invalid authentication token");
  }
  assert.equal((await bob.timeout(10_000).emitWithAck("chat:join", { agentId: "adviser" })).ok, true);
});

test("a person who is disconnected may come back", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" } });
  await next(socket, "connect");
  const gone = next(socket, "disconnect");
  const { status, body } = await server.ask("POST", "/v1/people/ada/disconnect");
  assert.deepEqual([status, body], [200, { disconnected: 1 }]);
  assert.equal(await gone, "io server disconnect");
  socket.connect();
  await next(socket, "connect");
});

/** A function that tells Ada something, and waits until the witness has heard it. */
function publisher(server, witness) {
  let count = 0;
  return async () => {
    const notice = { kind: "info", title: `Number ${++count}`, message: "It goes on." };
    const { status, body } = await server.ask("POST", "/v1/people/ada/notices", notice);
    assert.equal(status, 200, JSON.stringify(body));
    await witness.count("system:notification", count);
  };
}
