// Is a client that may not come in told why, in the documented words?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { next } from "./support/waiting.mjs";

for (const transport of ["websocket", "polling"]) {
  test(`who may not connect reads why, over ${transport}`, async (t) => {
    const server = await Server.configured(t);
    const refusal = async (auth) => {
      const socket = server.client({ transports: [transport], auth });
      const error = await next(socket, "connect_error");
      assert.equal(socket.connected, false);
      return error;
    };
    for (const auth of [undefined, {}, { token: "" }]) {
      assert.equal((await refusal(auth)).message, "Authentication token required");
    }
    for (const token of ["nobody's", "your-api-key", 42]) {
      assert.equal((await refusal({ token })).message, "Invalid authentication token");
    }
    for (const _ of [1, 2]) {
      await next(server.client({ transports: [transport], auth: { token: "key-of-cleo" } }), "connect");
    }
    const error = await refusal({ token: "key-of-cleo" });
    assert.equal(error.message, "Rate limit exceeded");
    assert.ok(error.data.retryAfterMs > 0 && error.data.retryAfterMs <= 60_000);
  });
}

test("a namespace that is not served is refused, and the client's other one goes on", async (t) => {
  const server = await Server.configured(t);
  const socket = server.client({ auth: { token: "key-of-ada" } });
  await next(socket, "connect");
  const error = await next(socket.io.socket("/admin", { auth: { token: "key-of-ada" } }), "connect_error");
  assert.equal(error.message, "Invalid namespace");
  assert.equal((await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "helper" })).ok, true);
});

test("a client whose token is wrong at first connects once it is right", async (t) => {
  const server = await Server.configured(t);
  const tokens = ["outdated", "key-of-ada"];
  const socket = server.client({ auth: (answer) => answer({ token: tokens.shift() }) });
  await next(socket, "connect_error");
  socket.connect();
  await next(socket, "connect");
});
