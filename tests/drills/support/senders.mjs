// People who send numbered messages, come back by themselves, and send again what was not acknowledged.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./sender.py", import.meta.url));

/** How soon a client comes back, in milliseconds, in drills that do not measure that. */
export const SOON = { reconnectionDelay: 40, reconnectionDelayMax: 120 };

/** One official JavaScript client. */
export class Sender {
  sent = 0;
  /** What was acknowledged, by number: `{ id, seq }`. */
  acknowledged = new Map();
  /** Answers that there should not be. */
  trouble = [];
  /** When it lost its connection, and when it had one again; `performance.now()`. */
  lost = [];
  back = [];
  reasons = [];
  #waiting = new Map();
  #going = false;

  constructor(house, { name, person, window, ...options }) {
    Object.assign(this, { name, person, window });
    this.socket = house.client(person, options);
    this.socket.on("connect", () => {
      this.back.push(performance.now());
      // In the order in which they were sent first.
      for (const number of this.#waiting.keys()) this.#say(number);
      this.#fill();
    });
    this.socket.on("disconnect", (reason) => {
      this.lost.push(performance.now());
      this.reasons.push(reason);
    });
  }

  get connected() {
    return this.socket.connected;
  }

  get waiting() {
    return this.#waiting.size;
  }

  /** How its connection stands, for whoever looks for the reason of a delay. */
  get state() {
    const { engine, _readyState } = this.socket.io;
    return `${_readyState}, ${engine?.transport?.name} ${engine?.readyState}, connected: ${this.connected}`;
  }

  go() {
    this.#going = true;
    this.#fill();
  }

  /** Sends nothing new. */
  halt() {
    this.#going = false;
  }

  #fill() {
    while (this.#going && this.connected && this.#waiting.size < this.window) {
      const number = this.sent++;
      this.#waiting.set(number, true);
      this.#say(number);
    }
  }

  #say(number) {
    const text = `${this.name} ${number}`;
    const message = { agentId: `agent-of-${this.person}`, message: text, clientMessageId: text };
    this.socket.emit("chat:message", message, (answer) => {
      if (answer.ok !== true) return this.trouble.push(answer);
      this.acknowledged.set(number, { id: answer.id, seq: answer.seq });
      this.#waiting.delete(number);
      this.#fill();
    });
  }
}

/** Official Python clients, in a process of their own. `people` has one name for each. */
export class Snakes {
  count = 0;
  connected = 0;
  #child;
  #asked;

  constructor(d, house, people, { window, soon = true }) {
    const python = process.env.PYTHON ?? "python3";
    const settings = JSON.stringify({ url: house.url, path: house.path, people, window, soon });
    const env = { ...process.env, no_proxy: "*", PYTHONDONTWRITEBYTECODE: "1" };
    this.#child = spawn(python, [PROGRAM, settings], { stdio: ["pipe", "pipe", "inherit"], env });
    this.ended = once(this.#child, "exit");
    d.after(async () => {
      this.#child.kill("SIGKILL");
      await this.ended;
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.senders) return this.#asked(said.senders);
      [this.count, this.connected, this.waiting] = [said.acknowledged, said.connected, said.waiting];
    });
  }

  go() {
    this.#child.stdin.write("go\n");
  }

  halt() {
    this.#child.stdin.write("halt\n");
  }

  /** What each of them did, as a `Sender` knows it. */
  async report() {
    const told = new Promise((resolve) => (this.#asked = resolve));
    this.#child.stdin.write("report\n");
    const senders = await told;
    return senders.map((sender) => ({ ...sender, acknowledged: new Map(sender.acknowledged) }));
  }
}

/** Compares what was acknowledged to `senders` with what is stored: nothing lost, nothing twice, in order. */
export async function audit(d, house, senders) {
  let [stored, answers, lost, twice, turned, moved, holes] = [0, 0, 0, 0, 0, 0, 0];
  const people = new Set(senders.map((sender) => sender.person));
  for (const person of people) {
    const history = await house.history(person);
    holes += history.filter(({ seq }, index) => seq !== index + 1).length;
    const said = history.filter((message) => message.from === "person");
    stored += said.length;
    answers += history.length - said.length;
    const place = new Map(said.map((message) => [message.text, message]));
    twice += said.length - place.size;
    const last = new Map();
    for (const { text } of said) {
      const [name, number] = text.split(" ");
      if (Number(number) <= (last.get(name) ?? -1)) turned++;
      last.set(name, Number(number));
    }
    for (const sender of senders.filter((sender) => sender.person === person)) {
      for (const [number, { id, seq }] of sender.acknowledged) {
        const found = place.get(`${sender.name} ${number}`);
        if (found === undefined) lost++;
        else if (found.id !== id || found.seq !== seq) moved++;
      }
    }
  }
  d.figure("sent", senders.reduce((sum, { sent }) => sum + sent, 0));
  d.figure("acknowledged", senders.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0));
  d.figure("stored", `${stored}, and ${answers} answers`);
  d.count("acknowledged and lost", lost, 0);
  d.count("stored twice", twice, 0);
  d.count("out of the order they were sent in", turned, 0);
  d.count("acknowledged with another id or position", moved, 0);
  d.count("holes in conversations", holes, 0);
  const trouble = senders.flatMap((sender) => sender.trouble);
  d.check("nothing is refused", trouble.length === 0, JSON.stringify(trouble.slice(0, 3)));
}
