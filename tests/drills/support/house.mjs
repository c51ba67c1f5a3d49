// The server that a drill is done to: the built binary in a directory of its own, on a port that stays the same.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { io } from "../../foreign/js/support/client.mjs";
import { BINARY, directory, freePort, run } from "../../foreign/js/support/program.mjs";
import { within } from "../../foreign/js/support/waiting.mjs";

/** How long a server may take to be ready, and to end without a drain, in milliseconds. */
const START = 30_000;
const END = 45_000;

/** Bytes of its log that are kept. */
const KEPT = 64 * 1024;

const PATH = "/api/socketio";

export class House {
  #arguments;
  #env;
  #ready;
  #clients = [];
  #log = "";
  #errors = [];
  #expected;
  process;
  path = PATH;

  constructor(store, config, env, expected) {
    this.store = store;
    this.#expected = expected;
    this.#arguments = ["serve", "--config", config, "--announce", "json"];
    this.#env = env;
  }

  /**
   * Opens a server; it ends with the drill. `people` are names: each gets the key `key-of-NAME` and the agent `agent-of-NAME`. Its
   * agents say at once what they are told. `server`, `mount`, `limits`, `resume`, `model`, `more` go into the configuration, `env` to the process.
   * Everything lies in `folder`, a fresh one by default; an error line of the server's log is no fault if it matches `expected`.
   */
  static async open(d, { people = ["ada"], server = {}, mount = {}, limits = {}, resume = {}, model = {}, more = "", env = {}, agents = true, folder, expected } = {}) {
    folder ??= await directory(d);
    const [config, store, residents] = ["antiphon.toml", "store", "people.jsonl"].map((name) => join(folder, name));
    const sections = [
      ["[server]", { data: store, drain: 0, ...server }],
      ["[[listener]]", { address: `127.0.0.1:${await freePort()}`, api: true }],
      ["[[listener.mount]]", { path: PATH, dialects: ["chat"], ...mount }],
      ["[admin]", { address: "127.0.0.1:0" }],
      ["[api]", { commands_per_second: 0 }],
      ["[limits]", { waiting_replies: 1_000_000, events_per_second: 0, connections_per_person: 0, ...limits }],
      ...(Object.keys(resume).length > 0 ? [["[resume]", resume]] : []),
      ["[model]", { kind: "echo", chunk_words: 1_000, chunk_delay: 0, ...model }],
    ];
    await writeFile(config, `${sections.map(section).join("\n")}\n${more}\n`);
    const lines = people.flatMap((name) => [
      { kind: "person", id: name, plan: "open" },
      { kind: "key", person: name, key: `key-of-${name}` },
      ...(agents ? [{ kind: "agent", id: `agent-of-${name}`, owner: name, name: `Agent of ${name}` }] : []),
    ]);
    await writeFile(residents, [{ kind: "plan", name: "open" }, ...lines].map((line) => JSON.stringify(line)).join("\n"));
    await command(["import", "--data", store, residents]);
    const house = new House(store, config, env, expected);
    house.serviceKey = await command(["service-key", "create", "drills", "--data", store]);
    d.after(() => house.close());
    await house.start();
    return house;
  }

  /** Starts the process (again); resolves when it serves, to the milliseconds that took. */
  async start() {
    const begun = performance.now();
    const env = { ...process.env, ANTIPHON_LOG: "info", ...this.#env };
    const child = spawn(BINARY, this.#arguments, { stdio: ["ignore", "pipe", "pipe"], env });
    this.process = child;
    this.ended = once(child, "exit");
    child.stderr.setEncoding("utf8").on("data", (text) => this.#read(text));
    this.#ready = new Promise((resolve, reject) => {
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (part) => {
        text += part;
        if (text.includes("\n")) resolve(JSON.parse(text));
      });
      child.once("error", reject);
      child.once("exit", (code, signal) => reject(new Error(`the server ended: ${code ?? signal}\n${this.#log}`)));
    });
    const { mounts, admin } = await within(START, this.#ready, "the server to be ready");
    this.address = mounts[0].address;
    this.url = `http://${mounts[0].address}`;
    this.admin = `http://${admin}`;
    return performance.now() - begun;
  }

  #read(text) {
    this.#log = (this.#log + text).slice(-KEPT);
    const isWrong = (line) => /panicked|"level":"ERROR"/.test(line) && !this.#expected?.test(line);
    this.#errors.push(...text.split("\n").filter(isWrong));
  }

  /** Sends a signal. */
  signal(name) {
    this.process.kill(name);
  }

  /** Ends the process without a word. */
  async kill() {
    this.process.kill("SIGKILL");
    await within(END, this.ended, "the server to be killed");
  }

  /** Asks the process to end; resolves to its exit code. */
  async stop() {
    this.process.kill("SIGTERM");
    const [code] = await within(END, this.ended, "the server to end");
    return code;
  }

  /** Ends everything; what the server complained about is an error of the drill. */
  async close() {
    for (const client of this.#clients) client.disconnect();
    if (this.process?.exitCode === null && this.process.signalCode === null) await this.kill();
    if (this.#errors.length > 0) throw new Error(`the server reported errors of its own: ${this.#errors.slice(0, 3).join("\n")}`);
  }

  /** Opens the official client as `person`; `options` are those of `io()`. */
  client(person, options = {}) {
    const { auth, url = this.url, ...others } = options;
    const client = io(url, { path: PATH, forceNew: true, auth: { token: `key-of-${person}`, ...auth }, ...others });
    this.#clients.push(client);
    return client;
  }

  /** Asks the HTTP API as a backend does; resolves to what the JSON says. */
  async ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.serviceKey}`, "Content-Type": "application/json" };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Tells a person numbered things: one notice for each of `titles`, with `padding` behind it. */
  async notify(person, titles, padding = "-") {
    const notices = titles.map((title) => ({ command: "SendNotice", person, kind: "info", title, message: padding }));
    await this.ask("POST", "/v1/commands", notices);
  }

  /** All messages of a person and their agent, oldest first. */
  async history(person, agent = `agent-of-${person}`) {
    const messages = [];
    for (let after = 0; after !== undefined; ) {
      const page = await this.ask("GET", `/v1/conversations/${agent}/${person}/messages?limit=1000&after=${after}`);
      messages.push(...page.messages);
      after = page.next;
    }
    return messages;
  }

  /** What `/metrics` says: the value of each sample by its name and labels. */
  async metrics() {
    const page = await (await fetch(`${this.admin}/metrics`)).text();
    const samples = new Map();
    for (const line of page.split("\n")) {
      const at = line.lastIndexOf(" ");
      if (at > 0 && !line.startsWith("#")) samples.set(line.slice(0, at), Number(line.slice(at + 1)));
    }
    return samples;
  }

  /** The sum of the samples of one metric, of those whose labels contain `labels`. */
  async metric(name, labels = "") {
    let sum = 0;
    for (const [sample, value] of await this.metrics()) {
      if ((sample === name || sample.startsWith(`${name}{`)) && sample.includes(labels)) sum += value;
    }
    return sum;
  }

  /** Bytes of memory that the process has. */
  async memory() {
    const [, resident] = (await readFile(`/proc/${this.process.pid}/statm`, "utf8")).split(" ");
    return Number(resident) * 4096;
  }

  /** How many connections from these ports the process still has open. */
  async serves(ports) {
    const mine = Number(this.address.split(":")[1]);
    const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n").slice(1);
    const sockets = lines.map((line) => line.trim().split(/\s+/)).filter((fields) => fields.length > 9);
    const port = (address) => parseInt(address.split(":")[1], 16);
    // 01 is ESTABLISHED: as long as nobody has closed it.
    const open = sockets.filter(([, local, , state]) => state === "01" && port(local) === mine).map(([, , remote]) => port(remote));
    // The file is not of one moment and may show one of them twice.
    return ports.filter((port) => open.includes(port)).length;
  }

  /** Milliseconds of processor time that the process has used. */
  async cpu() {
    const stat = await readFile(`/proc/${this.process.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** What SQLite says of its file: `ok`, or what is wrong with it. */
  async integrity() {
    const script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    const settings = { timeout: 300_000 };
    const { stdout, stderr } = await run(process.env.PYTHON ?? "python3", ["-c", script, join(this.store, "antiphon.db")], settings);
    return stdout.trim() || stderr;
  }
}

/** One table of the configuration file. */
function section([name, keys]) {
  return [name, ...Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)].join("\n");
}

/** What a command of the program writes; it has to be content. */
async function command(parameters) {
  const { code, stdout, stderr } = await run(BINARY, parameters, { timeout: 120_000 });
  if (code !== 0) throw new Error(stderr || `${BINARY}: ${code}`);
  return stdout.trim();
}
