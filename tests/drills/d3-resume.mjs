// Does a client whose connection is cut, however and wherever, hear everything once and in order, or that it cannot?

import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { Numbers } from "./support/numbers.mjs";
import { Proxy } from "./support/proxy.mjs";
import { SOON, Sender, audit } from "./support/senders.mjs";
import { sleep, until } from "./support/until.mjs";

const CARRIERS = [["websocket"], ["websocket"], ["polling", "websocket"], ["polling"]];

/** Bytes to a client after which its connection is cut: anywhere within, in the handshake, just after the CONNECT, and later. */
const PLACES = [300, 700, 4_000, 20_000, 60_000];

/** For how long something is said before a kill at most, in milliseconds. */
const BURST = 20;

/** When nothing that a killed server has said is on its way any more, in milliseconds. */
const SETTLED = 50;

/**
 * The share of sessions that outlive their server at least, in a full run, of those whose client is not further behind than is kept:
 * a client whose WebSocket is cut in the middle of an upgrade hears nothing until its ping timeout, or until the server dies.
 */
const SURVIVORS = 0.9;

/** Type of the packet that answers a CONNECT. */
const CONNECT = 0;

export const drill = {
  id: "d3",
  title: "Resume (D-3)",
  done: (d) =>
    `48 clients with \`auth: {recover: true}\` behind a proxy that cuts each connection at a random byte: in the handshake, during the upgrade, before the first event, within events, twice in a row, after volatile events, and every third time so that the server does not hear of it. 100 numbered events a second. ${d.rounds(10_000, 150).toLocaleString("en")} cuts; then half as many again with the server killed every few seconds, in the middle of messages that are being stored, whose senders repeat what was not acknowledged.`,

  async run(d) {
    const [clients, cuts] = [d.pick(48, 12), d.rounds(10_000, 150)];
    // All of them are one person here.
    const house = await House.open(d, { resume: { waiting_per_person: 1_000 } });
    const proxy = await Proxy.to(d, house.address);
    const readers = Array.from({ length: clients }, (_, index) => {
      const transports = CARRIERS[index % CARRIERS.length];
      const soon = { reconnectionDelay: 20, reconnectionDelayMax: 100, timeout: 5_000 };
      return new Reader(house.client("ada", { url: proxy.url, auth: { recover: true }, transports, autoConnect: false, ...soon }));
    });
    const away = () => readers.filter((reader) => !reader.socket.connected);
    const everybody = () => until(d, () => away().length === 0, () => `not connected: ${away().map(({ state }) => state).join(" | ")}`);
    await everybody();

    // Somebody types all the time: volatile events, of which any may be lost.
    const typist = house.client("ada", { transports: ["websocket"] });
    await until(d, () => typist.connected, () => "nobody types");
    const typing = setInterval(() => typist.emit("chat:typing", { agentId: "agent-of-ada", isTyping: true }), 50);
    d.after(() => clearInterval(typing));

    const tell = (titles) => house.notify("ada", titles);
    const numbers = new Numbers(tell, 100);
    cutEverything(proxy);
    await until(d, () => proxy.cuts >= cuts, () => `${proxy.cuts} cuts`);
    const last = await numbers.stop();
    leaveAlone(proxy);
    await caughtUp(d, readers, last);
    account(d, "cuts", proxy.cuts, readers, last);

    // The same, with the server killed in between, and somebody who says something at that very moment.
    const sender = new Sender(house, { name: "ada", person: "ada", window: 8, transports: ["websocket"], ...SOON });
    await until(d, () => sender.connected, () => "nobody says anything");
    const before = proxy.cuts;
    for (const reader of readers) reader.forget();
    let number = last;
    let kills = 0;
    cutEverything(proxy);
    while (proxy.cuts - before < cuts / 2) {
      const talking = new Numbers(tell, 100, number);
      await sleep(d.pick(4_000, 1_000));
      // Of a notice whose answer is lost nobody knows whether it was told; a message is sent again, and stored once.
      number = await talking.stop();
      sender.go();
      await sleep(Math.random() * BURST);
      await house.kill();
      sender.halt();
      // What the dead one has said is read by then: whoever connects from now on connects to the next one.
      await sleep(SETTLED);
      for (const reader of readers) reader.isKilled();
      await house.start();
      kills++;
    }
    leaveAlone(proxy);
    const settled = new Numbers(tell, 50, number);
    await everybody();
    await until(d, () => sender.waiting === 0, () => `${sender.waiting} messages wait for their acknowledgement`);
    sender.go();
    await sleep(500);
    sender.halt();
    number = await settled.stop();
    await until(d, () => sender.waiting === 0, () => `${sender.waiting} messages wait for their acknowledgement`);
    const positions = await answered(d, house);
    await caughtUp(d, readers, number, positions);
    d.figure("kills of the server", kills);
    account(d, "with kills", proxy.cuts - before, readers, number - last, positions);
    survivors(d, readers);
    await audit(d, house, [sender]);
  },
};

/** What is counted: each number is heard once, or it was said before that some are missing. */
class Lane {
  last = 0;
  heard = 0;
  silent = 0;
  said = 0;
  repeats = 0;
  #gap = false;

  /** It was told that what it missed does not come: whatever it hears next may follow a gap. */
  gap() {
    this.#gap = true;
  }

  /** Returns whether `number` was to be heard now. */
  hear(number) {
    this.heard++;
    if (number <= this.last) {
      this.repeats++;
      return false;
    }
    const [isNext, isSaid] = [number === this.last + 1, this.#gap];
    this.#gap = false;
    this.last = number;
    if (isNext || isSaid) {
      if (!isNext) this.said++;
      return true;
    }
    this.silent++;
    return false;
  }

  /** Counts anew from here. */
  forget() {
    [this.heard, this.silent, this.said, this.repeats] = [0, 0, 0, 0];
  }
}

/** A client that hears numbered notices, and messages by their positions, and knows what it should have heard. */
class Reader {
  notices = new Lane();
  messages = new Lane();
  back = 0;
  recovered = 0;
  /** Kills of a server that had its session, how many of these it recovered from, and why not from the others. */
  kills = 0;
  survived = 0;
  lapses = [];
  /** Numbers that it should not have heard then, and what had happened before: a failure is looked into with that. */
  strange = [];
  trail = [];
  #met = false;
  #killed = false;

  constructor(socket) {
    this.socket = socket;
    socket.on("system:notification", ({ title }) => this.#hear("notices", Number(/@(\d+) /.exec(title)?.[1])));
    socket.on("chat:message", ({ seq }) => this.#hear("messages", seq));
    socket.on("chat:message:complete", ({ seq }) => this.#hear("messages", seq));
    // Before the socket itself listens, so that the reason is there when it says that it is connected.
    socket.io.on("packet", ({ type, data }) => {
      if (type === CONNECT) this.reason = data.recovery?.reason;
    });
    socket.on("connect", () => this.#arrive());
    socket.connect();
  }

  /** How its connection stands, for whoever looks for the reason of a delay. */
  get state() {
    const { engine, _readyState } = this.socket.io;
    const { connected } = this.socket;
    return `${_readyState}, ${engine?.transport?.name} ${engine?.readyState}, connected: ${connected}, after ${this.trail.at(-1)}`;
  }

  /** The server was killed. */
  isKilled() {
    // Whoever serves recovery gives a private id at CONNECT.
    this.#killed ||= this.socket._pid !== undefined;
  }

  /** Counts anew from here. */
  forget() {
    [this.back, this.recovered] = [0, 0];
    for (const lane of [this.notices, this.messages]) lane.forget();
  }

  #arrive() {
    const { socket } = this;
    this.since = performance.now();
    const became = socket.recovered ? "recovered" : `a new session (${this.reason})`;
    const at = `${this.notices.last} and ${this.messages.last} (${socket._lastOffset})`;
    this.trail = [...this.trail.slice(-2), `${became} at ${at} over ${socket.io.engine.transport.name}`];
    if (this.#met) {
      this.back++;
      if (socket.recovered) this.recovered++;
      else for (const lane of [this.notices, this.messages]) lane.gap();
    }
    this.#met = true;
    if (this.#killed) {
      this.#killed = false;
      this.kills++;
      if (socket.recovered) this.survived++;
      else this.lapses.push(this.reason);
    }
    socket.emit("chat:join", { agentId: "agent-of-ada" });
  }

  #hear(lane, number) {
    const { last } = this[lane];
    if (this[lane].hear(number)) return;
    const since = Math.round(performance.now() - this.since);
    this.strange.push(`${lane}: ${number} after ${last}, ${since} ms after: ${this.trail.join("; ")}`);
  }
}

/** How many messages and answers there are, once the last message is answered. */
async function answered(d, house) {
  let history = [];
  const isAnswered = async () => (history = await house.history("ada")).at(-1)?.from === "agent";
  await until(d, isAnswered, () => `${history.length} messages and answers`);
  return history.length;
}

/** Every connection is cut somewhere from now on, those that are there as well. */
function cutEverything(proxy) {
  let count = 0;
  proxy.onPair = (pair, head) => {
    count++;
    // Polling has a connection for each request: were each of them cut, nobody would ever come in.
    const isRequest = head.includes("transport=polling");
    const spared = isRequest && Math.random() < 0.9;
    const place = isRequest ? PLACES[0] : PLACES[count % PLACES.length];
    pair.cutAfter = spared ? Infinity : pair.bytes.near + 1 + Math.floor(Math.random() * place);
    pair.how = count % 3 === 0 ? "client" : "both";
    // Soon again, so that two cuts follow each other.
    if (!spared && count % 7 === 0) pair.cutAfter = pair.bytes.near + 1 + Math.floor(Math.random() * 200);
  };
  for (const pair of proxy.pairs) proxy.onPair(pair, "");
}

function leaveAlone(proxy) {
  proxy.onPair = () => {};
  for (const pair of proxy.pairs) pair.cutAfter = Infinity;
}

/** Waits until everybody has heard the last number and position, or has been told that something is missing. */
async function caughtUp(d, readers, last, positions = 0) {
  const hasAll = (reader) => reader.notices.last >= last && reader.messages.last >= positions;
  const behind = () => readers.filter((reader) => !hasAll(reader) && !(reader.socket.connected && !reader.socket.recovered));
  await until(d, () => behind().length === 0, () => `have not heard ${last} and ${positions}: ${behind().map(({ state }) => state).join(" | ")}`, 90_000);
}

function account(d, what, cuts, readers, told, positions = 0) {
  const sum = (count) => readers.reduce((total, reader) => total + count(reader), 0);
  const both = (name) => sum(({ notices, messages }) => notices[name] + messages[name]);
  d.figure(`${what}: connections cut`, cuts);
  d.figure(`${what}: sessions recovered`, `${sum(({ recovered }) => recovered)} of ${sum(({ back }) => back)} that came back`);
  d.figure(`${what}: notices heard`, `${sum(({ notices }) => notices.heard)} of ${readers.length * told}`);
  if (positions > 0) d.figure(`${what}: messages and answers heard`, `${sum(({ messages }) => messages.heard)} of ${readers.length * positions}`);
  d.figure(`${what}: gaps that were said`, both("said"));
  for (const strange of readers.flatMap((reader) => reader.strange).slice(0, 12)) d.say(strange);
  d.count(`${what}: silent gaps`, both("silent"), 0);
  d.count(`${what}: events heard twice`, both("repeats"), 0);
  // Whoever serves recovery gives a private id at CONNECT.
  if (readers.some((reader) => reader.socket._pid !== undefined)) {
    d.check(`${what}: sessions are recovered`, sum(({ recovered }) => recovered) > 0);
  }
}

/** How many sessions outlived the server that had them. */
function survivors(d, readers) {
  const [kills, survived] = ["kills", "survived"].map((name) => readers.reduce((sum, reader) => sum + reader[name], 0));
  const lapses = readers.flatMap((reader) => reader.lapses);
  const reasons = [...new Set(lapses)].map((why) => `${lapses.filter((other) => other === why).length} ${why}`);
  d.figure("with kills: sessions recovered after a kill", [`${survived} of ${kills}`, ...reasons].join(", "));
  const kept = kills - lapses.filter((why) => why === "too_many").length;
  d.check("sessions outlive the server", d.isFull ? survived > SURVIVORS * kept : survived > 0, `${survived} of ${kept}`);
}

await alone(import.meta.url, drill);
