// Is a message that was acknowledged still there after the server was killed or stopped, and is none there twice?
//
// ROUNDS says how often the server is killed: 10 unless told otherwise. In the end it is stopped, under load as well.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Server } from "./support/server.mjs";
import { PATIENCE, next, within } from "./support/waiting.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 10);

/** Messages of one sender that may wait for their acknowledgement. */
const WINDOW = 4;

/** Acknowledgements of a round before the kill: a random number up to this one. */
const MOST = 150;

const CARRIERS = [["websocket"], ["polling"], ["polling", "websocket"]];
const PEOPLE = [
  ["ada", "helper"],
  ["bob", "adviser"],
];

test(`no acknowledged message is lost or doubled by ${ROUNDS} kills`, { timeout: 60_000 + ROUNDS * 20_000 }, async (t) => {
  const server = await Server.configured(t);
  const tally = new Tally();
  const senders = PEOPLE.flatMap(([person, agent]) =>
    [...CARRIERS, ["websocket"]].map((transports, index) => {
      const options = { auth: { token: `key-of-${person}` }, transports };
      return new Sender(server.client({ ...options, reconnectionDelay: 50, reconnectionDelayMax: 200 }), {
        name: `${person}-${index}`,
        agent,
        tally,
      });
    }),
  );

  /** Has everybody talk until a random number of messages is acknowledged, and ends the server in the middle of it. */
  const talk = async (end) => {
    await Promise.all(senders.map((sender) => sender.connected()));
    const enough = tally.reach(1 + Math.floor(Math.random() * MOST));
    for (const sender of senders) sender.go();
    await within(PATIENCE, enough, "acknowledgements");
    const code = await end();
    for (const sender of senders) sender.halt();
    return code;
  };

  let slowest = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    await talk(() => server.kill());
    slowest = Math.max(slowest, await server.start());
  }
  assert.equal(await talk(() => server.stop()), 0);
  for (const sender of senders) sender.socket.disconnect();

  let stored = 0;
  let answered = 0;
  for (const [person, agent] of PEOPLE) {
    const history = await server.history(agent, person);
    const said = history.filter((message) => message.role === "user").map((message) => message.content);
    stored += said.length;
    answered += history.length - said.length;
    assert.equal(new Set(said).size, said.length, "a message is there twice");
    assert.deepEqual(history.map((message) => message.seq), history.map((_, index) => index + 1));
    for (const sender of senders.filter((sender) => sender.name.startsWith(person))) {
      const numbers = said.filter((text) => text.startsWith(`${sender.name} `)).map((text) => Number(text.split(" ")[1]));
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), `the order of ${sender.name}`);
      const there = new Set(numbers);
      assert.deepEqual(sender.acknowledged.filter((number) => !there.has(number)), [], `lost of ${sender.name}`);
      assert.ok(numbers.every((number) => number < sender.sent), "a message that nobody sent");
      assert.deepEqual(sender.trouble, []);
    }
  }
  assert.equal(await server.integrity(), "ok");
  t.diagnostic(
    `${ROUNDS} kills, ${senders.reduce((sum, { sent }) => sum + sent, 0)} messages sent, ${tally.count} acknowledged, ` +
      `${stored} stored, ${answered} answered; the slowest start took ${Math.round(slowest)} ms`,
  );
});

/** Counts acknowledgements and tells when there are so many more. */
class Tally {
  count = 0;
  #goal = Infinity;
  #reached;

  add() {
    if (++this.count >= this.#goal) this.#reached();
  }

  /** Resolves after `more` acknowledgements. */
  reach(more) {
    this.#goal = this.count + more;
    return new Promise((resolve) => (this.#reached = resolve));
  }
}

/** Sends numbered messages, each at most once, and notes which were acknowledged. */
class Sender {
  sent = 0;
  acknowledged = [];
  /** Answers and errors that there should not be. */
  trouble = [];
  #going = false;

  constructor(socket, { name, agent, tally }) {
    Object.assign(this, { socket, name, agent, tally });
  }

  async connected() {
    if (!this.socket.connected) await next(this.socket, "connect");
  }

  go() {
    this.#going = true;
    for (let waiting = 0; waiting < WINDOW; waiting++) this.#say();
  }

  halt() {
    this.#going = false;
  }

  async #say() {
    const number = this.sent++;
    const message = { agentId: this.agent, message: `${this.name} ${number}` };
    try {
      const answer = await this.socket.timeout(PATIENCE).emitWithAck("chat:message", message);
      if (answer.ok !== true) return this.trouble.push(answer);
    } catch (error) {
      // The connection was lost first: nobody can tell whether it is stored. An answer that never came is another matter.
      if (error.message !== "socket has been disconnected") this.trouble.push(error);
      return;
    }
    this.acknowledged.push(number);
    this.tally.add();
    if (this.#going) this.#say();
  }
}
