// Which web pages may talk to the server from a browser?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { next } from "./support/waiting.mjs";

test("pages of an allowed origin may poll, and no others", async (t) => {
  const server = await Server.configured(t);
  const place = `${server.url}${server.path}/?EIO=4&transport=polling`;
  const ask = (origin, options) => fetch(place, { ...options, headers: { ...options?.headers, origin } });

  for (const origin of ["https://app.example", server.url]) {
    const reply = await ask(origin);
    assert.equal(reply.status, 200);
    assert.equal(reply.headers.get("access-control-allow-origin"), origin);
    assert.equal(reply.headers.get("access-control-allow-credentials"), "true");
    assert.match(reply.headers.get("vary"), /origin/i);
    assert.match(await reply.text(), /^0\{"sid":/);
  }
  for (const origin of ["https://app.example.evil", "http://app.example", "null"]) {
    const reply = await ask(origin);
    assert.equal(reply.status, 403);
    assert.equal(reply.headers.get("access-control-allow-origin"), null);
    assert.doesNotMatch(await reply.text(), /sid/);
  }
});

test("a preflight is answered for allowed origins only", async (t) => {
  const server = await Server.configured(t);
  const place = `${server.url}${server.path}/?EIO=4&transport=polling`;
  const preflight = (origin) =>
    fetch(place, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
      },
    });
  const allowed = await preflight("https://app.example");
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "https://app.example");
  assert.equal(allowed.headers.get("access-control-allow-headers"), "content-type");
  assert.match(allowed.headers.get("access-control-allow-methods"), /POST/);
  const foreign = await preflight("https://elsewhere.example");
  assert.equal(foreign.status, 403);
  assert.equal(foreign.headers.get("access-control-allow-origin"), null);
});

for (const transport of ["websocket", "polling"]) {
  test(`a page of a foreign origin gets no connection over ${transport}, whoever uses it`, async (t) => {
    const server = await Server.configured(t);
    const from = (origin) =>
      server.client({ auth: { token: "key-of-ada" }, transports: [transport], extraHeaders: { origin } });
    assert.match((await next(from("https://elsewhere.example"), "connect_error")).message, /websocket error|xhr poll error/);
    await next(from("https://app.example"), "connect");
  });
}

test("a foreign page cannot use a session that it learned of", async (t) => {
  const server = await Server.configured(t);
  const place = `${server.url}${server.path}/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(place)).text()).slice(1));
  const post = (headers) => fetch(`${place}&sid=${sid}`, { method: "POST", headers, body: '40{"token":"key-of-ada"}' });
  assert.equal((await post({ origin: "https://elsewhere.example" })).status, 403);
  assert.equal((await post({})).status, 200);
  assert.match(await (await fetch(`${place}&sid=${sid}`)).text(), /^40\{"sid":/);
});
