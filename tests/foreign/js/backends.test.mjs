// Does what the examples and the guide for backends show work as it stands there?

import assert from "node:assert/strict";
import { cp, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { Program, ROOT, directory, freePort, run } from "./support/program.mjs";
import { secret } from "./support/secrets.mjs";
import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const EXAMPLES = join(ROOT, "examples");

const LANGUAGES = {
  Python: [process.env.PYTHON ?? "python3", "backend.py"],
  JavaScript: [process.execPath, "backend.mjs"],
};

for (const [language, [program, file]] of Object.entries(LANGUAGES)) {
  test(`a backend in ${language} posts a message that a client hears, once however often it is sent`, async (t) => {
    const server = await Server.demo(t);
    const { socket, heard } = await listening(server);
    const post = () => run(program, [join(EXAMPLES, file)], { env: { ANTIPHON_URL: server.url } });

    const first = await post();
    assert.deepEqual([first.code, first.stderr], [0, ""]);
    const answer = JSON.parse(first.stdout);
    assert.deepEqual([answer.outcome, answer.duplicate], ["posted", false]);
    await assertHeardOnce(socket, heard, answer.id);

    const second = await post();
    assert.equal(JSON.parse(second.stdout).id, answer.id);
    await assertHeardOnce(socket, heard, answer.id);
  });
}

test("the guide's curl has one effect, however often it is sent", async (t) => {
  const server = await Server.demo(t);
  const { socket, heard } = await listening(server);
  const guide = await readFile(join(ROOT, "docs/guides/backends.md"), "utf8");
  const [, curl] = guide.match(/```sh\n(curl [^`]*Idempotency-Key[^`]*)```/);
  const post = () => run("sh", ["-c", curl.replaceAll("http://127.0.0.1:3000", server.url)]);

  const answers = [await post(), await post()];
  const [first, second] = answers.map(({ stdout, stderr }) => JSON.parse(stdout || assert.fail(stderr)));
  assert.equal(first.outcome, "posted");
  assert.deepEqual(second, first);
  await assertHeardOnce(socket, heard, first.id);
});

test("the receiver of webhooks believes what the server signs, and nothing else", async (t) => {
  const [port, folder] = [await freePort(), await directory(t)];
  const webhookSecret = secret(`whsec_${Buffer.from("a secret of this test alone, long").toString("base64")}`);
  // The example finds its one dependency where npm would have put it.
  await cp(join(EXAMPLES, "webhook-receiver.mjs"), join(folder, "webhook-receiver.mjs"));
  await symlink(join(ROOT, "tests/foreign/js/node_modules"), join(folder, "node_modules"));
  const environment = { PORT: String(port), WEBHOOK_SECRET: webhookSecret };
  const receiver = new Program(t, process.execPath, [join(folder, "webhook-receiver.mjs")], environment);

  const server = await Server.configured(
    t,
    `
[outbound]
allow = ["127.0.0.1"]

[[webhook]]
url = "http://127.0.0.1:${port}/"
secret = "${webhookSecret}"
events = ["person.connected", "message.posted"]
`,
  );
  const socket = server.client({ auth: { token: "key-of-ada" } });
  await next(socket, "connect");
  const said = await socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message: "Tell them" });
  assert.equal(said.ok, true);
  await receiver.until(({ lines }) => lines.length >= 3, "three events");
  const events = receiver.lines.map((line) => JSON.parse(line)).sort((one, other) => one.sequence - other.sequence);
  assert.deepEqual(
    events.map(({ type, sequence }) => [type, sequence]),
    [
      ["person.connected", 1],
      ["message.posted", 2],
      ["message.posted", 3],
    ],
  );
  assert.deepEqual(
    events.slice(1).map(({ data }) => [data.author, data.text]),
    [
      ["person", "Tell them"],
      ["agent", "Tell them"],
    ],
  );

  const forged = await fetch(`http://127.0.0.1:${port}/`, {
    method: "POST",
    headers: { "webhook-id": "msg_1", "webhook-timestamp": String(Math.floor(Date.now() / 1_000)), "webhook-signature": "v1,AAAA" },
    body: receiver.lines[0],
  });
  assert.equal(forged.status, 401);
  assert.equal(receiver.lines.length, 3);
});

/** The person of the demo, connected, and what they hear. */
async function listening(server) {
  const socket = server.client({ auth: { token: "your-api-key" } });
  const heard = new Heard(socket);
  await next(socket, "connect");
  return { socket, heard };
}

/** That one message was heard, from the agent, and no other. */
async function assertHeardOnce(socket, heard, id) {
  await heard.count("chat:message", 1);
  // Whatever else was sent before this answer has arrived with it.
  await socket.timeout(10_000).emitWithAck("chat:leave", { agentId: "nobody" });
  const messages = heard.all("chat:message").map(({ timestamp: _, ...message }) => message);
  const expected = { id, agentId: "agent-123", userId: "user-123", role: "assistant", content: "Your order has been shipped.", seq: 1 };
  assert.deepEqual(messages, [expected]);
}
