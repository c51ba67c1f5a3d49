// Does a token that runs out take its socket with it, unless the client brings a new one in time?

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Server } from "./support/server.mjs";
import { GRACE, ISSUER, token } from "./support/tokens.mjs";
import { Heard, next } from "./support/waiting.mjs";

/** How long after the grace a socket may still be there, in milliseconds: with the usual grace of 20 s, 25 s after the expiry. */
const LATE = 5_000;

// They wait for the same times to pass, so they wait together.
describe("a token that expires", { concurrency: true }, () => {
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const carrier = transports.join(", then ");

    test(`an expired token's socket is told, may do nothing, and is closed, over ${carrier}`, async (t) => {
      const server = await Server.configured(t, ISSUER);
      const expiresAt = Date.now() + 2_500;
      const socket = server.client({ auth: { token: token("ada", expiresAt) }, transports });
      const heard = new Heard(socket);
      await next(socket, "connect");
      assert.equal((await say(socket, "Still good")).ok, true);

      const gone = next(socket, "disconnect");
      const warning = await next(socket, "antiphon:expiring");
      assert.ok(Date.now() >= expiresAt);
      // A date in a token counts seconds, with a fraction.
      assert.ok(Math.abs(warning.expiresAt - expiresAt) <= 1);
      assert.match(warning.message, /antiphon:refresh/);
      const { ok, error } = await say(socket, "Too late");
      assert.deepEqual([ok, error.code], [false, "UNAUTHORIZED"]);

      assert.equal(await gone, "io server disconnect");
      const open = Date.now() - expiresAt;
      assert.ok(open >= GRACE - 1 && open <= GRACE + LATE, `it was open for ${open} ms after`);
      const [event, { code, message }] = heard.events.at(-1);
      assert.deepEqual([event, code], ["chat:error", "UNAUTHORIZED"]);
      assert.match(message, /expired/);
      assert.equal(socket.active, false);
      socket.connect();
      assert.equal((await next(socket, "connect_error")).message, "Invalid authentication token");
      await server.stop();
      assert.deepEqual((await server.history("helper", "ada")).map(({ content }) => content), ["Still good", "Still good"]);
    });

    test(`a token is renewed in place, before it expires and in the grace after, over ${carrier}`, async (t) => {
      const server = await Server.configured(t, ISSUER);
      const expiries = [2_000, 2_000 + GRACE + 500].map((wait) => Date.now() + wait);
      const socket = server.client({ auth: { token: token("ada", expiries[0]) }, transports });
      const heard = new Heard(socket);
      await next(socket, "connect");
      const { id } = socket;
      assert.equal((await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "helper" })).ok, true);

      const renewed = await renew(socket, token("ada", expiries[1]));
      assert.equal(renewed.ok, true);
      assert.ok(Math.abs(renewed.expiresAt - expiries[1]) <= 1);
      // By the time that the second one expires, the first would have closed the socket.
      const [warning] = await heard.count("antiphon:expiring", 1);
      assert.ok(Math.abs(warning.expiresAt - expiries[1]) <= 1);

      for (const [wrong, code] of [
        [token("bob", Date.now() + 60_000), "forbidden"],
        [token("ada", Date.now() - 1), "bad_credential"],
        ["nobody's token", "bad_credential"],
      ]) {
        const refused = await renew(socket, wrong);
        assert.deepEqual([refused.ok, refused.error.code], [false, code]);
      }
      const last = Date.now() + 60_000;
      assert.ok((await renew(socket, token("ada", last))).ok);
      // It is where it was: the same socket, in the same room.
      assert.equal((await say(socket, "Here I am")).ok, true);
      await heard.count("chat:message:complete", 1);
      assert.deepEqual([socket.id, socket.connected], [id, true]);
      assert.equal(heard.all("antiphon:expiring").length, 1);
    });
  }
});

test("somebody whose token names no person that is known becomes one", async (t) => {
  const server = await Server.configured(t, ISSUER);
  const socket = server.client({ auth: { token: token("dora", Date.now() + 60_000) } });
  await next(socket, "connect");
  const { status, body } = await server.ask("GET", "/v1/people/dora");
  assert.deepEqual([status, body.plan], [200, "free"]);
});

async function say(socket, message) {
  return await socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message });
}

async function renew(socket, token) {
  return await socket.timeout(10_000).emitWithAck("antiphon:refresh", { token });
}
