// Does a session go on when the server was killed, with everything that was acknowledged and nothing twice?

import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy } from "../../drills/support/proxy.mjs";
import { Server } from "./support/server.mjs";
import { Heard, next, within } from "./support/waiting.mjs";

const CARRIERS = { websocket: ["websocket"], both: ["polling", "websocket"], polling: ["polling"] };
const QUICK = { reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0 };

/** How long an ack may take, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Ada on two devices: a reader that asks for recovery, behind a network that can be cut, and a desk that does not ask and says
 * something. Both are in the conversation with her helper.
 */
class Scene {
  told = 0;

  static async open(t, transports, { more = "", pace } = {}) {
    const scene = new Scene();
    scene.server = await Server.configured(t, more, pace);
    scene.network = await Proxy.to(t, new URL(scene.server.url).host);
    const options = { auth: { token: "key-of-ada", recover: true }, transports, ...QUICK };
    scene.reader = scene.server.client(options, scene.network.url);
    // What the server answers to each CONNECT, of which the client keeps a part to itself.
    scene.welcomes = [];
    scene.reader.io.on("packet", ({ type, data }) => type === 0 && scene.welcomes.push(data));
    scene.heard = new Heard(scene.reader);
    await next(scene.reader, "connect");
    const { engine } = scene.reader.io;
    if (engine.transport.name !== transports.at(-1)) await next(engine, "upgrade");
    await join(scene.reader);
    scene.desk = scene.server.client({ auth: { token: "key-of-ada" }, transports: ["websocket"], ...QUICK });
    scene.answers = new Heard(scene.desk);
    await scene.atDesk();
    return scene;
  }

  /** Until somebody is at the desk, in the conversation. */
  async atDesk() {
    if (!this.desk.connected) await next(this.desk, "connect");
    await join(this.desk);
  }

  /** Tells ada the next numbers; the server has answered each. */
  async tell(count) {
    for (let more = count; more > 0; more--) {
      const order = { command: "SendNotice", person: "ada", kind: "info", title: String(++this.told), message: "A number." };
      const { status, body } = await this.server.ask("POST", "/v1/commands", order);
      assert.equal(status, 200, JSON.stringify(body));
    }
  }

  /** Says something at the desk; the server has acknowledged it, and its whole answer was heard there. */
  async say(message) {
    const before = this.answers.all("chat:message:complete").length;
    const { ok, seq } = await this.desk.timeout(PATIENCE).emitWithAck("chat:message", { agentId: "helper", message });
    assert.equal(ok, true);
    await this.answers.count("chat:message:complete", before + 1);
    return seq;
  }

  /** From now on nothing reaches the reader, who does not know. */
  silence() {
    this.network.freeze();
  }

  /** Kills the server and starts it again. */
  async kill() {
    await this.server.kill();
    await this.server.start();
  }

  /** The network is there again, and the reader comes back over it. */
  async back() {
    const back = next(this.reader, "connect");
    this.network.up();
    this.network.cut();
    await back;
  }

  /** The numbers that the reader heard, in order. */
  get numbers() {
    return this.heard.all("system:notification").map((notice) => Number(notice.title));
  }

  /** The positions of what was said, as the reader heard it, in order. */
  get positions() {
    return this.heard.events.filter(([, payload]) => payload?.seq !== undefined).map(([, payload]) => payload.seq);
  }

  /** The reader has heard everything there is: each number and each position once and in order, with an offset. */
  async hasHeardAll(positions) {
    const enough = () => this.numbers.length >= this.told && this.positions.length >= positions;
    await this.heard.until(enough, `${this.told} numbers and ${positions} positions`);
    assert.deepEqual(this.numbers, upTo(this.told));
    assert.deepEqual(this.positions, upTo(positions));
    for (const [event, ...values] of this.heard.events) assert.equal(typeof values[1], "string", `${event} has an offset`);
  }
}

async function join(socket) {
  const { ok } = await socket.timeout(PATIENCE).emitWithAck("chat:join", { agentId: "helper" });
  assert.equal(ok, true);
}

function upTo(count) {
  return Array.from({ length: count }, (_, index) => index + 1);
}

for (const [carrier, transports] of Object.entries(CARRIERS)) {
  test(`a client that is behind when the server is killed recovers, and once more, over ${carrier}`, async (t) => {
    const scene = await Scene.open(t, transports);
    const { reader } = scene;
    const { id, _pid: pid } = reader;
    await scene.tell(2);
    let last = (await scene.say("heard at once")) + 1;
    await scene.hasHeardAll(last);

    for (const round of upTo(2)) {
      scene.silence();
      await scene.tell(3);
      last = (await scene.say(`behind ${round}`)) + 1;
      await scene.tell(1);
      await scene.kill();
      // Some is said by the new process before the reader is there.
      await scene.atDesk();
      await scene.tell(1);
      last = (await scene.say(`after kill ${round}`)) + 1;
      await scene.back();
      assert.equal(reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
      assert.equal(reader.id, id);
      assert.equal(reader._pid, pid);
      await scene.tell(1);
      await scene.hasHeardAll(last);
    }
    assert.equal(scene.heard.all("system:connection").length, 1, "a session that goes on is not welcomed again");
    // It is in the conversation still.
    last = (await scene.say("at the end")) + 1;
    await scene.tell(1);
    await scene.hasHeardAll(last);
  });
}

test("a client that has heard everything recovers after a kill", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  await scene.tell(1);
  await scene.hasHeardAll(0);
  const back = next(scene.reader, "connect");
  await scene.kill();
  await back;
  assert.equal(scene.reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
  await scene.tell(1);
  await scene.hasHeardAll(0);
});

test("a client that was lost before the kill recovers after it", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  // The server hears that it is gone, and keeps what it misses.
  const gone = next(scene.reader, "disconnect");
  scene.network.down();
  await gone;
  await scene.tell(2);
  const last = (await scene.say("into the void")) + 1;
  await scene.kill();
  const back = next(scene.reader, "connect");
  scene.network.up();
  await back;
  assert.equal(scene.reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
  await scene.tell(1);
  await scene.hasHeardAll(last);
});

test("two kills in a row while a client is away are one gap, and it recovers", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  scene.silence();
  await scene.tell(2);
  await scene.kill();
  await scene.tell(2);
  await scene.kill();
  await scene.tell(2);
  await scene.back();
  assert.equal(scene.reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
  await scene.hasHeardAll(0);
});

test("a client recovers after the server was stopped and started, too", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  scene.silence();
  await scene.tell(2);
  assert.equal(await scene.server.stop(), 0);
  await scene.server.start();
  await scene.tell(1);
  await scene.back();
  assert.equal(scene.reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
  await scene.hasHeardAll(0);
});

test("an answer that was under way when the server was killed ends in the documented failure, once", async (t) => {
  const scene = await Scene.open(t, ["websocket"], { pace: { words: 1, delay: 10_000 } });
  const { heard, reader } = scene;
  const asked = await scene.desk.timeout(PATIENCE).emitWithAck("chat:message", { agentId: "helper", message: "one two three" });
  assert.equal(asked.ok, true);
  await heard.count("chat:message:stream", 1);
  const back = next(reader, "connect");
  await scene.kill();
  await back;
  assert.equal(reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
  const [failure] = await heard.count("chat:error", 1);
  assert.equal(failure.code, "GENERATION_ERROR");
  // The agent does not type for ever.
  await heard.until(() => heard.all("chat:typing").at(-1)?.isTyping === false, "the end of typing");
  await scene.tell(1);
  await scene.hasHeardAll(1);
  assert.equal(heard.all("chat:error").length, 1);
});

test("what was being stored when the server was killed is heard by those who recover, once, whether it was acknowledged or not", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  const { server, reader, desk, network } = scene;
  let [said, acknowledged] = [0, 0];
  for (const round of upTo(5)) {
    // Many at once, so that some are anywhere between their writing and their acknowledgement.
    const volley = upTo(40).map(
      () =>
        new Promise((resolve) => {
          const message = `message ${++said}`;
          desk.timeout(PATIENCE).emit("chat:message", { agentId: "helper", message, clientMessageId: message }, (error, answer) => {
            if (error === null && answer.ok) resolve(++acknowledged);
          });
        }),
    );
    const isBehind = round % 2 === 0;
    if (isBehind) scene.silence();
    await within(PATIENCE, Promise.race(volley.slice(5 * (round - 1))), "an acknowledgement");
    const back = next(reader, "connect");
    await scene.kill();
    if (isBehind) {
      network.up();
      network.cut();
    }
    await back;
    assert.equal(reader.recovered, true, JSON.stringify(scene.welcomes.at(-1)));
    await scene.atDesk();
  }
  const last = (await scene.say("the last one")) + 1;
  await scene.tell(1);
  await scene.hasHeardAll(last);
  assert.ok(acknowledged >= 5, `${acknowledged} were acknowledged`);
  // What is stored is what was heard.
  for (const client of [reader, desk]) client.disconnect();
  await server.stop();
  const stored = (await server.history("helper", "ada")).filter(({ role }) => role === "user").map(({ content }) => content);
  assert.deepEqual(scene.heard.all("chat:message").map(({ content }) => content), stored);
});

test("a session whose window has passed by the time the server is back is told so", async (t) => {
  const window = 2_000;
  const scene = await Scene.open(t, ["websocket"], { more: `[resume]\nwindow = ${window}\n` });
  await scene.tell(1);
  await scene.hasHeardAll(0);
  // When a client was lost that nobody has missed is not known, so this one is missed.
  scene.network.down();
  const waiting = async () => (await (await fetch(`${scene.server.admin}/metrics`)).text()).match(/^antiphon_sessions_waiting (\d+)$/m)[1];
  while ((await waiting()) === "0");
  await scene.server.kill();
  const killed = performance.now();
  while (performance.now() < killed + window);
  await scene.server.start();
  const back = next(scene.reader, "connect");
  scene.network.up();
  await back;
  assert.equal(scene.reader.recovered, false);
  assert.deepEqual(scene.welcomes.at(-1).recovery, { recovered: false, reason: "expired" });
});

test("a client that does not ask has a new session after a kill, without an offset", async (t) => {
  const scene = await Scene.open(t, ["websocket"]);
  const { desk, answers } = scene;
  const { id } = desk;
  await scene.say("before");
  await scene.kill();
  await scene.atDesk();
  await scene.say("after");
  assert.ok(!desk.recovered);
  assert.notEqual(desk.id, id);
  assert.equal(desk._pid, undefined);
  assert.equal(answers.all("system:connection").length, 2);
  assert.deepEqual(answers.all("chat:message").map(({ content }) => content), ["before", "after"]);
  for (const [event, ...values] of answers.events) assert.equal(values.length, 1, event);
});
