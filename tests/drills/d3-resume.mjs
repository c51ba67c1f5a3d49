// Does a client whose connection is cut, however and wherever, hear everything once and in order, or that it cannot?

import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { Numbers } from "./support/numbers.mjs";
import { Proxy } from "./support/proxy.mjs";
import { sleep, until } from "./support/until.mjs";

const CARRIERS = [["websocket"], ["websocket"], ["polling", "websocket"], ["polling"]];

/** Bytes to a client after which its connection is cut: anywhere within, in the handshake, just after the CONNECT, and later. */
const PLACES = [300, 700, 4_000, 20_000, 60_000];

export const drill = {
  id: "d3",
  title: "Resume (D-3)",
  done: (d) =>
    `48 clients with \`auth: {recover: true}\` behind a proxy that cuts each connection at a random byte: in the handshake, during the upgrade, before the first event, within events, twice in a row, after volatile events, and every third time so that the server does not hear of it. 100 numbered events a second. ${d.rounds(10_000, 150).toLocaleString("en")} cuts; then half as many again with the server killed every few seconds.`,

  async run(d) {
    const [clients, cuts] = [d.pick(48, 12), d.rounds(10_000, 150)];
    // All of them are one person here.
    const house = await House.open(d, { resume: { waiting_per_person: 1_000 } });
    const proxy = await Proxy.to(d, house.address);
    const readers = Array.from({ length: clients }, (_, index) => {
      const transports = CARRIERS[index % CARRIERS.length];
      const soon = { reconnectionDelay: 20, reconnectionDelayMax: 100, timeout: 5_000 };
      return new Reader(house.client("ada", { url: proxy.url, auth: { recover: true }, transports, ...soon }));
    });
    const connected = () => readers.filter((reader) => reader.socket.connected).length;
    await until(d, () => connected() === clients, () => `${connected()} connected`);

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

    // The same, with the server killed in between.
    const before = proxy.cuts;
    let number = last;
    let kills = 0;
    cutEverything(proxy);
    while (proxy.cuts - before < cuts / 2) {
      const talking = new Numbers(tell, 100, number);
      await sleep(d.pick(4_000, 1_000));
      number = await talking.stop();
      await house.kill();
      await house.start();
      kills++;
    }
    leaveAlone(proxy);
    const settled = new Numbers(tell, 50, number);
    await until(d, () => connected() === clients, () => `${connected()} connected`);
    await sleep(500);
    number = await settled.stop();
    await caughtUp(d, readers, number);
    d.figure("kills of the server", kills);
    account(d, "with kills", proxy.cuts - before, readers, number);
  },
};

/** A client that hears numbered events and knows what it should have heard. */
class Reader {
  last = 0;
  heard = 0;
  silent = 0;
  said = 0;
  repeats = 0;
  lost = 0;
  recovered = 0;
  back = 0;
  /** Numbers that it should not have heard then, and what had happened before: a failure is looked into with that. */
  strange = [];
  trail = [];
  #gap = false;

  constructor(socket) {
    this.socket = socket;
    socket.on("system:notification", ({ title }) => this.hear(Number(/@(\d+) /.exec(title)?.[1])));
    socket.on("connect", () => {
      this.since = performance.now();
      const became = socket.recovered ? "recovered" : "a new session";
      this.trail = [...this.trail.slice(-2), `${became} at ${this.last} (${socket._lastOffset}) over ${socket.io.engine.transport.name}`];
      if (this.back++ > 0) {
        if (socket.recovered) this.recovered++;
        // It was told that what it missed does not come: whatever it hears next may follow a gap.
        else this.#gap = true;
      }
      socket.emit("chat:join", { agentId: "agent-of-ada" });
    });
  }

  hear(number) {
    this.heard++;
    if (number <= this.last) {
      this.repeats++;
      this.#wonder(number);
      return;
    }
    if (number > this.last + 1) {
      if (this.#gap) this.said++;
      else {
        this.silent++;
        this.#wonder(number);
      }
      this.lost += number - this.last - 1;
    }
    this.#gap = false;
    this.last = number;
  }

  #wonder(number) {
    this.strange.push(`${number} after ${this.last}, ${Math.round(performance.now() - this.since)} ms after: ${this.trail.join("; ")}`);
  }
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

/** Waits until everybody has heard the last number, or has been told that something is missing. */
async function caughtUp(d, readers, last) {
  const behind = () => readers.filter((reader) => reader.last < last && !(reader.socket.connected && !reader.socket.recovered));
  await until(d, () => behind().length === 0, () => `${behind().length} have not heard ${last}`, 90_000);
}

function account(d, what, cuts, readers, last) {
  const sum = (name) => readers.reduce((total, reader) => total + reader[name], 0);
  d.figure(`${what}: connections cut`, cuts);
  d.figure(`${what}: sessions recovered`, `${sum("recovered")} of ${sum("back") - readers.length} that came back`);
  d.figure(`${what}: events heard`, `${sum("heard")} of ${readers.length * last}`);
  d.figure(`${what}: gaps that were said`, sum("said"));
  d.count(`${what}: silent gaps`, sum("silent"), 0);
  for (const strange of readers.flatMap((reader) => reader.strange).slice(0, 12)) d.say(strange);
  d.count(`${what}: events heard twice`, sum("repeats"), 0);
  // Whoever serves recovery gives a private id at CONNECT.
  if (readers.some((reader) => reader.socket._pid !== undefined)) {
    d.check(`${what}: sessions are recovered`, sum("recovered") > 0);
  }
}

await alone(import.meta.url, drill);
