// How a test gets a real server: the built binary, on a directory of its own, as a process that can be stopped and killed.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { io } from "socket.io-client";

import { within } from "./waiting.mjs";

const run = promisify(execFile);

/** The binary under test. */
const BINARY = process.env.ANTIPHON ?? fileURLToPath(new URL("../../../../target/debug/antiphon", import.meta.url));

/** How long a server may take to be ready, and to end after a signal, in milliseconds. */
const START = 20_000;
const END = 20_000;

/** People, keys and agents that every configured server knows. */
const RESIDENTS = [
  { kind: "plan", name: "open" },
  { kind: "plan", name: "two-a-minute", connectionsPerMinute: 2 },
  { kind: "person", id: "ada", plan: "open" },
  { kind: "key", person: "ada", key: "key-of-ada" },
  { kind: "agent", id: "helper", owner: "ada", name: "Helper" },
  { kind: "person", id: "bob", plan: "open" },
  { kind: "key", person: "bob", key: "key-of-bob" },
  { kind: "agent", id: "adviser", owner: "bob", name: "Adviser" },
  { kind: "person", id: "cleo", plan: "two-a-minute" },
  { kind: "key", person: "cleo", key: "key-of-cleo" },
];

/** Where the configured server and the demo serve the chat API. */
const PATH = "/api/socketio";

export class Server {
  #arguments;
  #data;
  #process;
  #log = "";
  #clients = [];

  constructor(data, serve) {
    this.#data = data;
    this.#arguments = ["serve", ...serve, "--announce", "json"];
  }

  /** The demo, with the documents' keys, people and agents. Ends with the test. */
  static async demo(t) {
    const data = await directory(t);
    return await new Server(data, ["--demo", "--data", data, "--any-port"]).#begin(t);
  }

  /**
   * A server with the residents above, on a port that stays the same when it is started again. Its agents say at once what
   * they are told, and it closes all connections at once when it stops. `more` is put at the end of its configuration. Ends
   * with the test.
   */
  static async configured(t, more = "") {
    const data = await directory(t);
    const config = join(data, "antiphon.toml");
    const store = join(data, "store");
    await writeFile(
      config,
      `
[server]
data = ${JSON.stringify(store)}
drain = 0

[[listener]]
address = "127.0.0.1:${await freePort()}"

[[listener.mount]]
path = "${PATH}"
dialects = ["chat"]
origins = ["https://app.example"]

[admin]
address = "127.0.0.1:0"

[limits]
waiting_replies = 100000
events_per_second = 0

[model]
kind = "echo"
chunk_words = 1000
chunk_delay = 0

${more}
`,
    );
    const people = join(data, "people.jsonl");
    await writeFile(people, RESIDENTS.map((line) => JSON.stringify(line)).join("\n"));
    await run(BINARY, ["import", "--data", store, people]);
    return await new Server(store, ["--config", config]).#begin(t);
  }

  async #begin(t) {
    t.after(async () => {
      for (const client of this.#clients) client.disconnect();
      const alive = this.#process?.exitCode === null && this.#process?.signalCode === null;
      if (alive) await this.kill();
      assert.doesNotMatch(this.#log, /panicked|\bERROR\b|"level":"ERROR"/, "the server reported an error of its own");
    });
    await this.start();
    return this;
  }

  /** Starts the process (again); resolves when it serves, to the milliseconds that took. */
  async start() {
    const begun = performance.now();
    const child = spawn(BINARY, this.#arguments, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.setEncoding("utf8").on("data", (text) => (this.#log += text));
    const ready = new Promise((resolve, reject) => {
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (part) => {
        text += part;
        if (text.includes("\n")) resolve(JSON.parse(text));
      });
      child.once("error", reject);
      child.once("exit", (code, signal) => reject(new Error(`the server ended: ${code ?? signal}\n${this.#log}`)));
    });
    const { mounts } = await within(START, ready, "the server to be ready");
    const chat = mounts.find((mount) => mount.dialect === "chat");
    this.url = `http://${chat.address}`;
    this.path = chat.path;
    return performance.now() - begun;
  }

  /** Asks the process to end; resolves to its exit code. */
  async stop() {
    return await this.#end("SIGTERM");
  }

  /** Ends the process without a word. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Has the process stand still until it is thawed. */
  freeze() {
    this.#process.kill("SIGSTOP");
  }

  thaw() {
    this.#process.kill("SIGCONT");
  }

  async #end(signal) {
    const ended = once(this.#process, "exit");
    this.#process.kill(signal);
    const [code] = await within(END, ended, `the server to end after ${signal}`);
    return code;
  }

  /** Opens a client of this server; `options` are those of `io()`. It is disconnected with the test. */
  client(options) {
    const client = io(this.url, { path: this.path, forceNew: true, ...options });
    this.#clients.push(client);
    return client;
  }

  /** What a person and an agent have said, oldest first. The server must be stopped. */
  async history(agent, person) {
    const asked = ["history", "--data", this.#data, "--agent", agent, "--person", person];
    const { stdout } = await run(BINARY, asked, { maxBuffer: 1 << 30 });
    return stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  /** What SQLite says of its file: `ok`, or what is wrong with it. The server must be stopped. */
  async integrity() {
    const script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    const { stdout } = await run(process.env.PYTHON ?? "python3", ["-c", script, join(this.#data, "antiphon.db")]);
    return stdout.trim();
  }
}

async function directory(t) {
  const path = await mkdtemp(join(tmpdir(), "antiphon-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/**
 * A port that nobody listens on, below those that the system gives to outgoing connections: one of those could be taken by a
 * client that tries to come back while the server is away.
 */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const probe = createServer();
    const free = new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (await free) return port;
  }
}
