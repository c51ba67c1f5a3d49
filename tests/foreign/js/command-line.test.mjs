// Does the command line say what an operator needs to know, about a server that runs as well?

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { BINARY, Program, ROOT, directory, run } from "./support/program.mjs";
import { Server } from "./support/server.mjs";
import { Heard, PATIENCE, next } from "./support/waiting.mjs";

test("tail shows a conversation line by line, while it takes place", async (t) => {
  const server = await Server.configured(t);
  const tail = new Program(t, BINARY, ["tail", "--url", server.url], { ANTIPHON_SERVICE_KEY: server.serviceKey });
  const socket = server.client({ auth: { token: "key-of-ada" } });
  await next(socket, "connect");
  // Whoever watches begins to at some time; from the first thing that is seen on nothing is missing.
  let number = 0;
  const say = async () => {
    const message = `Message ${++number}`;
    assert.equal((await socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message })).ok, true);
  };
  await again(() => tail.lines.some((line) => line.includes("MessagePosted")), say);
  const first = number;
  for (let count = 0; count < 3; count++) await say();
  await tail.until(({ lines }) => lines.some((line) => line.includes("ReplyFinished") && line.includes(`Message ${number}`)), "the last answer");

  for (let told = first + 1; told <= number; told++) {
    const posted = tail.lines.findIndex((line) => line.includes("MessagePosted") && line.includes(`Message ${told}`));
    const finished = tail.lines.findIndex((line) => line.includes("ReplyFinished") && line.includes(`Message ${told}`));
    assert.ok(posted >= 0 && posted < finished, `${told}: ${tail.lines.join("\n")}`);
  }
  assert.ok(tail.lines.every((line) => line.length > 0));
  assert.doesNotMatch(tail.lines.join("\n") + tail.log, /key-of-ada/);
});

test("tail of one topic shows nothing else", async (t) => {
  const server = await Server.configured(t);
  const tail = new Program(t, BINARY, ["tail", "--url", server.url, "--topic", "person:bob"], { ANTIPHON_SERVICE_KEY: server.serviceKey });
  const notify = async (person, title) => {
    const { status } = await server.ask("POST", `/v1/people/${person}/notices`, { kind: "info", title, message: "Read this." });
    assert.equal(status, 200);
  };
  await again(
    () => tail.lines.length > 0,
    async () => {
      await notify("ada", "not for Bob");
      await notify("bob", "for Bob");
    },
  );
  await notify("ada", "not for Bob");
  await notify("bob", "the last one");
  await tail.until(({ lines }) => lines.some((line) => line.includes("the last one")), "the last one");
  assert.ok(tail.lines.every((line) => line.includes("person:bob") && !line.includes("not for Bob")), tail.lines.join("\n"));
});

test("a key that is revoked from the command line ends its socket on the running server", async (t) => {
  const server = await Server.configured(t);
  const key = await server.newKey("ada");
  const socket = server.client({ auth: { token: key.secret } });
  const heard = new Heard(socket);
  await next(socket, "connect");
  const gone = next(socket, "disconnect");
  const env = { ANTIPHON_SERVICE_KEY: server.serviceKey };
  const revoked = await run(BINARY, ["key", "revoke", "--url", server.url, key.id], { env });
  assert.equal(revoked.code, 0, revoked.stderr);
  assert.equal(await gone, "io server disconnect");
  assert.equal(heard.events.at(-1)[1].code, "UNAUTHORIZED");

  const wrong = await run(BINARY, ["key", "revoke", "--url", server.url, "cda_nobodys"], { env });
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.stderr, /no such key/i);
});

test("config print explains every limit, and what it prints can be used", async (t) => {
  const cwd = await directory(t);
  const printed = await run(BINARY, ["config", "print"], { cwd });
  assert.equal(printed.code, 0, printed.stderr);
  const limits = printed.stdout.split("\n[limits]")[1].split(/\n\[/)[0];
  const keys = [...limits.matchAll(/^([a-z_]+) = /gm)].map(([, key]) => key);
  for (const expected of ["outbox", "events_per_second", "connections_per_address", "rooms", "waiting_replies"]) {
    assert.ok(keys.includes(expected), `${expected} in ${keys}`);
  }
  for (const key of keys) {
    const explained = new RegExp(`^# .*\\w.*\\n(# .*\\n)*${key} = `, "m");
    assert.match(limits, explained, key);
  }

  const config = join(cwd, "printed.toml");
  await writeFile(config, printed.stdout);
  const checked = await run(BINARY, ["config", "check", "--config", config], { cwd });
  assert.deepEqual([checked.code, checked.stderr], [0, ""]);
  t.diagnostic(`${keys.length} limits are explained`);
});

test("a key that is misspelt is refused with the right one, wherever it is said", async (t) => {
  const cwd = await directory(t);
  const config = join(cwd, "antiphon.toml");
  await writeFile(config, "[limits]\nwaiting_repleis = 5\n");
  const typo = await run(BINARY, ["serve", "--config", config], { cwd });
  assert.notEqual(typo.code, 0);
  assert.match(typo.stderr, /antiphon\.toml:2.*waiting_repleis.*waiting_replies/s);

  await writeFile(config, "");
  const variable = await run(BINARY, ["config", "check"], { cwd, env: { ANTIPHON_LIMITS__OUTBOKS: "7" } });
  assert.notEqual(variable.code, 0);
  assert.match(variable.stderr, /ANTIPHON_LIMITS__OUTBOKS.*ANTIPHON_LIMITS__OUTBOX/);

  // As the guide shows it.
  const guide = await readFile(join(ROOT, "docs/guides/operating.md"), "utf8");
  const [, shown, answer] = guide.match(/```console\n\$ antiphon (.*)\n([^`]*)```/);
  const flag = await run(BINARY, shown.split(" "), { cwd });
  assert.deepEqual([flag.code, flag.stderr], [1, answer]);
  assert.match(answer, /did you mean "rooms"/);
});

/** Does something again and again until it has shown. */
async function again(hasShown, something) {
  const until = performance.now() + PATIENCE;
  while (!hasShown()) {
    assert.ok(performance.now() < until, "it does not show");
    await something();
  }
}
