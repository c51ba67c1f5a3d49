// Is a client whose token expires told so, may it bring another, and is it let go in time if it does not?

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const SECRET = "a secret of this test, long enough for HS256";

/** Milliseconds that a client has to bring another token. */
const GRACE = 1_000;

const SETTINGS = `
[auth]
grace = ${GRACE}

[[auth.issuer]]
name = "app"
algorithms = ["HS256"]
secret = "${SECRET}"
people = "known"
`;

/** A token of `person` that expires at `exp`, in seconds since the Unix epoch. */
function token(person, exp) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: person, exp })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** The first whole second that is at least `ahead` milliseconds away. */
const soon = (ahead = 1_000) => Math.ceil((Date.now() + ahead) / 1_000);

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  const carrier = transports.join(", then ");

  test(`whoever lets a token expire is told, let go in time, and stays away, over ${carrier}`, async (t) => {
    const server = await Server.configured(t, SETTINGS);
    const exp = soon();
    const socket = server.client({ transports, auth: { token: token("ada", exp) } });
    const heard = new Heard(socket);
    await next(socket, "connect");
    const told = await next(socket, "antiphon:expiring");
    assert.equal(told.expiresAt, exp * 1_000);
    assert.ok(Date.now() >= exp * 1_000);
    const refused = await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "helper" });
    assert.equal(refused.ok, false);
    const reason = await next(socket, "disconnect");
    // Not a loss of the connection, after which the client would come back by itself.
    assert.equal(reason, "io server disconnect");
    const late = Date.now() - exp * 1_000;
    assert.ok(late >= GRACE && late < GRACE + 5_000, `it was closed ${late} ms after its token`);
    assert.equal(heard.all("chat:error").at(-1).message, "Your credential has expired.");
    assert.equal(socket.active, false);
  });

  test(`whoever brings another token stays where they are, over ${carrier}`, async (t) => {
    const server = await Server.configured(t, SETTINGS);
    const socket = server.client({ transports, auth: { token: token("ada", soon()) } });
    const heard = new Heard(socket);
    await next(socket, "connect");
    const { id } = socket;
    assert.deepEqual(await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "helper" }), { ok: true });
    await next(socket, "antiphon:expiring");
    const strange = await socket.timeout(10_000).emitWithAck("antiphon:refresh", { token: token("bob", soon(60_000)) });
    assert.equal(strange.error.code, "forbidden");
    const exp = soon(60_000);
    const renewed = await socket.timeout(10_000).emitWithAck("antiphon:refresh", { token: token("ada", exp) });
    assert.deepEqual(renewed, { ok: true, expiresAt: exp * 1_000 });
    // Another client, who brings none, shows when the grace would have been over.
    const idle = server.client({ auth: { token: token("ada", soon()) } });
    assert.equal(await next(idle, "disconnect"), "io server disconnect");
    const said = await socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message: "Still here" });
    assert.equal(said.ok, true);
    assert.equal((await heard.count("chat:message", 1))[0].content, "Still here");
    assert.deepEqual([socket.connected, socket.id], [true, id]);
  });
}
