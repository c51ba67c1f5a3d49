// Do clients come back by themselves when the server was stopped or died, and find everything as it was?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const CARRIERS = { websocket: ["websocket"], polling: ["polling"], both: ["polling", "websocket"] };

for (const [carrier, transports] of Object.entries(CARRIERS)) {
  test(`a client comes back after a stop and after a crash of the server, over ${carrier}`, async (t) => {
    const server = await Server.configured(t);
    const socket = server.client({
      auth: { token: "key-of-ada" },
      transports,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
    });
    const heard = new Heard(socket);
    await next(socket, "connect");
    const say = (message) => socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message });
    assert.equal((await say("before")).ok, true);
    await heard.count("chat:message:complete", 1);
    const ids = [socket.id];

    for (const [index, end] of ["stop", "kill"].entries()) {
      const gone = next(socket, "disconnect");
      assert.equal(await server[end](), { stop: 0 }[end]);
      // Any reason but "io server disconnect", after which clients stay away.
      assert.match(await gone, /^transport (close|error)$/);

      const back = next(socket, "connect");
      await server.start();
      await back;
      assert.ok(!socket.recovered);
      ids.push(socket.id);
      assert.equal((await say(`after a ${end}`)).ok, true);
      await heard.count("chat:message:complete", index + 2);
    }

    assert.equal(new Set(ids).size, 3);
    assert.equal(heard.all("system:connection").length, 3);
    socket.disconnect();
    await server.stop();
    assert.deepEqual(
      (await server.history("helper", "ada")).map(({ seq, role, content }) => [seq, role, content]),
      ["before", "after a stop", "after a kill"].flatMap((text, index) => [
        [2 * index + 1, "user", text],
        [2 * index + 2, "assistant", text],
      ]),
    );
  });
}

test("what was said while the server was away is sent when it is back", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" }, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  await next(socket, "connect");
  const gone = next(socket, "disconnect");
  await server.stop();
  await gone;
  const answers = ["one", "two", "three"].map(
    (message) => new Promise((resolve) => socket.emit("chat:message", { agentId: "helper", message }, resolve)),
  );
  await server.start();
  assert.deepEqual((await Promise.all(answers)).map((answer) => answer.ok), [true, true, true]);
});

test("the demo stops without delay while a few tabs are open, and all of them hear of it", async (t) => {
  const server = await Server.demo(t);
  const tabs = [["websocket"], ["polling"], ["websocket"], ["polling"], ["websocket"]].map((transports) =>
    server.client({ auth: { token: "your-api-key" }, transports }),
  );
  await Promise.all(tabs.map((tab) => next(tab, "connect")));
  const gone = tabs.map((tab) => next(tab, "disconnect"));
  const begun = performance.now();
  assert.equal(await server.stop(), 0);
  assert.ok(performance.now() - begun < 5_000);
  for (const reason of await Promise.all(gone)) assert.match(reason, /^transport (close|error)$/);
});
