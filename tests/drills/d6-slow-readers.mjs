// What do clients that do not read cost, and whom?

import { alone } from "./drill.mjs";
import { Flock, reports } from "./support/flock.mjs";
import { House } from "./support/house.mjs";
import { Numbers } from "./support/numbers.mjs";
import { Helper } from "./support/python.mjs";
import { sleep, until } from "./support/until.mjs";

const MIB = 2 ** 20;

/** Bytes that may wait for one client, and how long a write may stall, in milliseconds: the server's defaults. */
const OUTBOX = 1 << 20;
const STALL = 10_000;

/** Readers whose 99th percentile is below this, in microseconds, keep up; below this rate it is not worth asking. */
const CALM = 50_000;
const LEAST_RATE = 100;

/** What makes everything that is told about a kilobyte long. */
const PADDING = "x".repeat(800);

export const drill = {
  id: "d6",
  title: "Slow readers (D-6)",
  done: (d) =>
    `200 WebSockets that read and 200 with receive buffers of 4 KiB that do not, all of one person, who is told ${d.rate} things of 1 KiB a second; then 200 polling sessions without a GET, and 20 that never read the answer to one. "With" is the 99th percentile of the readers' latency while the others are cut, "without" the same without them, the median of three rounds each, taken in turn.`,

  async run(d) {
    const [readers, mute] = d.pick([200, 200], [20, 20]);
    d.rate = Number(process.env.RATE || d.pick(1_000, 400));
    const limits = d.pick({}, { outbox: OUTBOX / 4, write_stall: 1_000 });
    const outbox = limits.outbox ?? OUTBOX;
    const house = await House.open(d, { limits, model: { chunk_words: 1 } });
    house.outbox = outbox;
    const crowd = { addresses: [house.address], path: house.path, tokens: ["key-of-ada"] };
    const flock = new Flock(d, { ...crowd, clients: readers });
    await flock.gathered;
    if (d.isFull && !process.env.RATE) await slowDown(d, house, flock);

    const [without, with_] = [[], []];
    let [peak, worst, cut, longest] = [0, 0, 0, 0];
    for (let round = 0; round < d.rounds(3, 1); round++) {
      without.push((await measure(d, house, flock, async () => await sleep(d.pick(12_000, 500)))).p99);
      const dull = new Flock(d, { ...crowd, clients: mute, receiveBuffer: 4_096, mute: true });
      await dull.gathered;
      const [before, slow] = [await house.memory(), await tooSlow(house)];
      const latency = await measure(d, house, flock, async () => {
        const begun = performance.now();
        const gone = async () => {
          peak = Math.max(peak, (await house.memory()) - before);
          worst = Math.max(worst, await house.metric("antiphon_outbox_fullest_bytes"));
          return (await tooSlow(house)) - slow >= mute;
        };
        await until(d, gone, () => "slow readers are still there");
        longest = Math.max(longest, performance.now() - begun);
        await sleep(d.pick(Math.max(0, 12_000 - (performance.now() - begun)), 0));
      });
      cut += (await tooSlow(house)) - slow;
      await dull.leave();
      with_.push(latency.p99);
    }
    const rounds = with_.length;
    d.figure("slow readers cut", `${cut} of ${rounds * mute}`);
    d.check("all slow readers are cut", cut >= rounds * mute, cut);
    d.time("the last one is cut after", longest, STALL + (outbox / (d.rate * 1_024)) * 1_000 + 25_000);
    d.atMost("fullest outbox", Math.ceil(worst / 1_024), Math.ceil((outbox + 2_048) / 1_024), " KiB");
    d.atMost("memory for each slow reader", Number((peak / mute / MIB).toFixed(2)), 2, " MiB");
    const [calm, busy] = [middle(without), middle(with_)];
    d.figure("readers' p99 without slow readers", `${calm / 1_000} ms (rounds: ${without.map((p99) => p99 / 1_000).join(", ")})`);
    d.figure("readers' p99 with slow readers", `${busy / 1_000} ms (rounds: ${with_.map((p99) => p99 / 1_000).join(", ")})`);
    d.atMost("the readers' p99 moves by", Math.round((busy / calm - 1) * 1_000) / 10, 10, " %");

    await returns(d, house, flock);
    await silentPolling(d, house, flock, d.pick(200, 20));
    await unreadAnswers(d, house, d.pick(20, 8));
    await typingAndPieces(d, house);
    const now = await reports([flock]);
    d.count("readers lost", now.lost, 0);
    d.count("things that readers missed", now.missed, 0);
    d.count("things that readers heard twice", now.twice, 0);
  },
};

/** What the flock says of the time in which somebody is told things and `during` happens; everybody has heard everything after. */
async function measure(d, house, flock, during) {
  await flock.report();
  const numbers = new Numbers((titles) => house.notify("ada", titles, PADDING), d.rate, measure.last);
  await during();
  measure.last = await numbers.stop();
  let heard = 0;
  const all = async () => (heard = (await flock.glance()).least) === measure.last;
  await until(d, all, () => `${heard} of ${measure.last} heard by everybody`);
  return (await flock.report()).latency;
}

/** A machine that cannot carry the rate tells nothing about slow readers: halves it until the readers keep up by themselves. */
async function slowDown(d, house, flock) {
  for (; d.rate > LEAST_RATE; d.rate /= 2) {
    const { p99 } = await measure(d, house, flock, async () => await sleep(5_000));
    d.say(`${d.rate} a second: readers' p99 is ${p99 / 1_000} ms`);
    if (p99 < CALM) break;
  }
  d.figure("things told a second", d.rate);
}

/** A slow reader that asked for recovery is cut, and comes back: it learns what became of its session. */
async function returns(d, house, flock) {
  const recover = { token: "key-of-ada", recover: true };
  const first = await session(house, recover);
  if (first.pid === undefined) return d.figure("a slow reader that returns", "has no session to recover");
  const slow = await tooSlow(house);
  const gone = async () => (await tooSlow(house)) > slow;
  await measure(d, house, flock, async () => await until(d, gone, () => "the slow reader is still there"));
  const { status } = await fetch(first.url);
  d.check("the slow reader is told that it was cut", status === 400, status);
  const { pid, offset } = first;
  const second = await session(house, { pid, offset, ...recover });
  const became = second.pid === pid ? "has its session again" : "is told that its session cannot be recovered";
  d.figure("a slow reader that returns", became);
  await fetch(second.url, { method: "POST", body: "1" });
}

/** Polling sessions that are told things and never ask for them: they are cut, and told so when they come back. */
async function silentPolling(d, house, flock, sessions) {
  const urls = [];
  for (let count = 0; count < sessions; count++) urls.push((await session(house)).url);
  const [before, slow] = [await house.memory(), await tooSlow(house)];
  let peak = 0;
  const gone = async () => {
    peak = Math.max(peak, (await house.memory()) - before);
    return (await tooSlow(house)) - slow >= sessions;
  };
  await measure(d, house, flock, async () => await until(d, gone, () => "sessions without a GET are still there"));
  d.count("polling sessions without a GET that are cut", (await tooSlow(house)) - slow, sessions);
  d.atMost("memory for each of them", Number((peak / sessions / MIB).toFixed(2)), 2, " MiB");
  const answers = await Promise.all(urls.map(async (url) => (await fetch(url)).status));
  d.count("of these, told on return that they were cut", answers.filter((status) => status === 400).length, sessions);
}

/** Polling clients that ask for what waits and never read it: what serves them is given back. */
async function unreadAnswers(d, house, clients) {
  const [host, port] = house.address.split(":");
  const helper = new Helper(d, "unread.py", [host, port, house.path, "key-of-ada", clients]);
  const ports = JSON.parse(await helper.line());
  // A little less than what would end the session waits for each of them.
  const messages = Math.floor((house.outbox * 0.8) / 1_100);
  const titles = Array.from({ length: messages }, () => "unnumbered");
  for (let at = 0; at < titles.length; at += 50) await house.notify("ada", titles.slice(at, at + 50), PADDING);
  helper.say("ask");
  await helper.line();
  const begun = performance.now();
  let open = await house.serves(ports);
  d.check("all of them are there", open === clients, open);
  const given = async () => (open = await house.serves(ports)) === 0;
  await until(d, given, () => `${open} of ${clients} connections are open`, 90_000);
  d.time("connections of clients that never read an answer are given back after", performance.now() - begun, 60_000);
  await helper.end();
}

/** Typing is dropped and pieces are joined for a client that does not read, which is not cut for it. */
async function typingAndPieces(d, house) {
  const { url } = await session(house);
  await fetch(url, { method: "POST", body: '420["chat:join",{"agentId":"agent-of-ada"}]' });
  const quick = house.client("ada", { transports: ["websocket"] });
  await new Promise((resolve) => quick.once("connect", resolve));
  await quick.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-of-ada" });
  const before = await tooSlow(house);

  const words = Array.from({ length: 2_000 }, (_, word) => word).join(" ");
  const complete = new Promise((resolve) => quick.once("chat:message:complete", resolve));
  await quick.timeout(10_000).emitWithAck("chat:message", { agentId: "agent-of-ada", message: words });
  await complete;
  const joined = await house.metric("antiphon_pieces_joined_total");
  d.figure("pieces of one answer joined for a client that does not read", `${joined} of 2000`);
  d.check("pieces are joined", joined >= 1_000, joined);

  // Fill what may wait to the brim, then type.
  const filler = PADDING.repeat(10);
  while ((await house.metric("antiphon_outbox_fullest_bytes")) < house.outbox - 2 * filler.length) {
    await house.notify("ada", ["unnumbered"], filler);
  }
  let typed = 0;
  while ((await house.metric("antiphon_events_dropped_total")) === 0 && typed < 100_000) {
    for (let count = 0; count < 100; count++, typed++) {
      quick.emit("chat:typing", { agentId: "agent-of-ada", isTyping: false });
    }
    await quick.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-of-ada" });
  }
  const dropped = await house.metric("antiphon_events_dropped_total");
  d.figure("typing dropped for it", dropped);
  d.check("typing is dropped", dropped > 0, dropped);
  d.count("cut for that", (await tooSlow(house)) - before, 0);
}

/** Opens a polling session that is connected and has heard something: its `url`, and its `pid` and `offset` if it may recover. */
async function session(house, auth = { token: "key-of-ada" }) {
  const url = `${house.url}${house.path}/?EIO=4&transport=polling`;
  const open = await (await fetch(url)).text();
  const mine = `${url}&sid=${JSON.parse(open.slice(1)).sid}`;
  await fetch(mine, { method: "POST", body: `40${JSON.stringify(auth)}` });
  let heard = [];
  while (!heard.some((packet) => packet.startsWith("40")) || !heard.some((packet) => packet.startsWith("42"))) {
    heard = [...heard, ...(await (await fetch(mine)).text()).split("\x1e")];
  }
  const { pid } = JSON.parse(heard.find((packet) => packet.startsWith("40")).slice(2));
  const last = JSON.parse(heard.findLast((packet) => packet.startsWith("42")).slice(2)).at(-1);
  return { url: mine, pid, offset: typeof last === "string" ? last : undefined };
}

const tooSlow = async (house) => await house.metric("antiphon_connections_closed_total", 'reason="too_slow"');

const middle = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];

await alone(import.meta.url, drill);
