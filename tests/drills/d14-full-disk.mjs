// What happens when the disk is full: are writes refused soon and in words, does everything else go on, and is nothing lost?

import { open, rm } from "node:fs/promises";
import { join } from "node:path";

import { directory, run } from "../foreign/js/support/program.mjs";
import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { sleep, until } from "./support/until.mjs";

const FULL = "The disk of this server is full";

/** Behind each number, so that there is something to store. */
const PADDING = "x".repeat(1_000);

export const drill = {
  id: "d14",
  title: "Full disk (D-14)",
  done: (d) =>
    `The data directory is a small file system of its own, in memory. ${d.pick(20, 6)} clients send numbered messages of 1 KB. ${d.rounds(20, 2)} times something else fills the disk for a while and goes away again; the server is not restarted. A message that is refused is sent again under its \`clientMessageId\`.`,

  async run(d) {
    const folder = await mounted(d, d.pick("2g", "256m"));
    if (folder === undefined) return;
    const house = await House.open(d, { folder, expected: /disk is full/ });
    const writers = Array.from({ length: d.pick(20, 6) }, (_, index) => new Writer(house, `writer-${index}`));
    const [reader, typist] = [house.client("ada"), house.client("ada")];
    for (const client of [reader, typist]) await joined(client);
    let heard = 0;
    reader.on("chat:typing", () => heard++);
    await until(d, () => writers.every((writer) => writer.socket.connected), () => "not everybody is connected");
    for (const writer of writers) writer.go();

    const filler = join(folder, "filler");
    let [longest, read] = [0, 0];
    for (let round = 0; round < d.rounds(20, 2); round++) {
      const refused = writers.map((writer) => writer.refusals);
      await fill(filler);
      await until(d, () => writers.every((writer, index) => writer.refusals > refused[index]), () => "writes are not refused");
      // What needs no room goes on: coming in, reading, hearing.
      const newcomer = house.client("ada");
      await joined(newcomer);
      newcomer.disconnect();
      read += (await house.history("ada")).length;
      const typed = heard;
      typist.emit("chat:typing", { agentId: "agent-of-ada", isTyping: true });
      await until(d, () => heard > typed, () => "what is said live does not arrive");
      typist.emit("chat:typing", { agentId: "agent-of-ada", isTyping: false });
      await sleep(d.pick(2_000, 200));
      const stored = writers.map((writer) => writer.acknowledged.size);
      await rm(filler);
      const all = () => writers.every((writer, index) => writer.acknowledged.size > stored[index]);
      longest = Math.max(longest, await until(d, all, () => "writes are not stored again"));
    }
    for (const writer of writers) writer.halt();
    await until(d, () => writers.every((writer) => writer.isIdle), () => "somebody waits for an answer");

    d.figure("refusals", writers.reduce((sum, { refusals }) => sum + refusals, 0));
    d.time("the slowest answer to a message", Math.max(...writers.map(({ slowest }) => slowest)), 2_000);
    d.time("once there is room, everybody's messages are stored within", longest, 5_000);
    d.figure("messages read while the disk was full", read);
    const strange = writers.flatMap((writer) => writer.strange);
    d.check("a refusal says what is wrong", strange.length === 0, JSON.stringify(strange.slice(0, 3)));
    await audit(d, house, writers);
    for (const { socket } of writers) socket.disconnect();
    await house.stop();
    const integrity = await house.integrity();
    d.figure("integrity check", integrity);
    d.check("the database is whole", integrity === "ok", integrity);
  },
};

/** Somebody who sends one message after the other, each until it is acknowledged. */
class Writer {
  refusals = 0;
  /** Ids of what was acknowledged, by text without its padding. */
  acknowledged = new Map();
  /** The longest wait for an answer, in milliseconds. */
  slowest = 0;
  /** Refusals for another reason. */
  strange = [];
  isIdle = true;
  #going = false;

  constructor(house, name) {
    this.name = name;
    this.socket = house.client("ada", { transports: ["websocket"] });
  }

  async go() {
    [this.#going, this.isIdle] = [true, false];
    for (let number = 0; this.#going; number++) {
      const text = `${this.name} ${number}`;
      const message = { agentId: "agent-of-ada", message: `${text} ${PADDING}`, clientMessageId: text };
      while (!this.acknowledged.has(text)) {
        const begun = performance.now();
        const answer = await this.socket.emitWithAck("chat:message", message);
        this.slowest = Math.max(this.slowest, performance.now() - begun);
        if (answer.ok) this.acknowledged.set(text, answer.id);
        else await this.#refused(answer);
      }
    }
    this.isIdle = true;
  }

  async #refused(answer) {
    this.refusals++;
    if (!answer.error?.message?.startsWith(FULL)) this.strange.push(answer);
    await sleep(50);
  }

  halt() {
    this.#going = false;
  }
}

async function joined(client) {
  const answer = await client.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-of-ada" });
  if (!answer.ok) throw new Error(JSON.stringify(answer));
}

/** Compares what was acknowledged with what is stored. */
async function audit(d, house, writers) {
  const history = (await house.history("ada")).filter(({ from }) => from === "person");
  const stored = new Map(history.map(({ id, text }) => [text.split(" ", 2).join(" "), id]));
  const acknowledged = writers.flatMap((writer) => [...writer.acknowledged]);
  d.figure("acknowledged", acknowledged.length);
  d.check("something is acknowledged", acknowledged.length > 0);
  d.count("acknowledged and lost", acknowledged.filter(([text, id]) => stored.get(text) !== id).length, 0);
  d.count("stored twice", history.length - stored.size, 0);
}

/** A small file system of its own; nothing, said aloud, where that is not allowed. */
async function mounted(d, size) {
  const folder = await directory(d);
  const { code, stderr } = await run("mount", ["-t", "tmpfs", "-o", `size=${size}`, "antiphon-drill", folder]);
  if (code !== 0) {
    d.figure("SKIPPED, mounting is not allowed", stderr.trim());
    return undefined;
  }
  d.after(() => run("umount", ["-l", folder]));
  return folder;
}

/** Writes to `path` until nothing fits any more. */
async function fill(path) {
  const file = await open(path, "w");
  try {
    for (const size of [1 << 20, 4_096, 1]) {
      for (let written = size; written === size; ) {
        ({ bytesWritten: written } = await file.write(Buffer.alloc(size)).catch(() => ({ bytesWritten: 0 })));
      }
    }
  } finally {
    await file.close();
  }
}

await alone(import.meta.url, drill);
