// Does a change from polling to WebSocket lose, double or reorder anything that is said meanwhile?

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeWebSocket, NodeXHR } from "socket.io-client";

import { Server } from "./support/server.mjs";
import { Heard, PATIENCE, within } from "./support/waiting.mjs";

const MESSAGES = 200;

/** How many of them are sent by the end of each phase at most, so that every phase has its share. */
const LIMITS = { polling: 100, upgrading: 160, websocket: MESSAGES };

test("200 messages sent before, during and after an upgrade arrive once and in order", async (t) => {
  const server = await Server.configured(t);
  for (const round of [1, 2, 3, 4, 5]) {
    await t.test(`round ${round}`, () => converse(server, round));
  }
});

async function converse(server, round) {
  const gate = withResolvers();

  /** A WebSocket that opens when it is told to, so that the upgrade falls into the conversation. */
  class Late extends NodeWebSocket {
    doOpen() {
      gate.promise.then(() => super.doOpen());
    }
  }

  const socket = server.client({ auth: { token: "key-of-ada" }, transports: [NodeXHR, Late] });
  const heard = new Heard(socket);
  const sent = { polling: 0, upgrading: 0, websocket: 0 };
  const acks = [];
  const all = withResolvers();
  let phase = "polling";
  let number = 0;

  const say = (count) => {
    for (; count > 0 && number < LIMITS[phase]; count--) {
      const mine = number++;
      sent[phase]++;
      socket.emit("chat:message", { agentId: "helper", message: `round ${round}, ${mine}` }, (answer) => {
        acks.push([mine, answer]);
        if (acks.length === 10) gate.resolve();
        if (acks.length >= MESSAGES) all.resolve();
        // Every answer asks for more, so there is always something on its way.
        say(phase === "websocket" ? 10 : 1);
      });
    }
  };

  socket.once("connect", () => {
    const { engine } = socket.io;
    engine.once("upgrading", () => {
      phase = "upgrading";
      say(50);
    });
    engine.once("upgrade", () => {
      phase = "websocket";
      say(30);
    });
    say(20);
  });

  await within(PATIENCE, all.promise, `all acknowledgements (${acks.length} came)`);
  const replies = (heard) => heard.all("chat:message:complete").length >= MESSAGES;
  await heard.until(replies, "an answer to every message");

  assert.equal(socket.io.engine.transport.name, "websocket");
  for (const [when, count] of Object.entries(sent)) assert.ok(count >= 10, `${count} messages sent while ${when}`);
  const numbers = Array.from({ length: MESSAGES }, (_, number) => number);
  const texts = numbers.map((number) => `round ${round}, ${number}`);
  assert.deepEqual(acks.map(([mine]) => mine), numbers);
  assert.ok(acks.every(([, answer]) => answer.ok === true));
  const positions = acks.map(([, answer]) => answer.seq);
  assert.deepEqual(positions, [...new Set(positions)].sort((a, b) => a - b));
  assert.deepEqual(heard.all("chat:message").map((message) => message.content), texts);
  assert.deepEqual(heard.all("chat:message:complete").map((reply) => reply.fullContent), texts);
  socket.disconnect();
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
