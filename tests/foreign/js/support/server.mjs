// How a test gets a real server: the built binary, on a directory of its own, as a process that can be stopped and killed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { io } from "socket.io-client";

import { BINARY, directory, freePort, run } from "./program.mjs";
import { assertUnseen, secret } from "./secrets.mjs";
import { within } from "./waiting.mjs";

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

for (const { kind, key } of RESIDENTS) if (kind === "key") secret(key);

/** Where the configured server and the demo serve the chat API. */
const PATH = "/api/socketio";

export class Server {
  #arguments;
  #data;
  #process;
  #log = "";
  #output = "";
  #clients = [];
  #mounts = [];
  /** What a backend shows to the HTTP API. */
  serviceKey;

  constructor(data, serve) {
    this.#data = data;
    this.#arguments = ["serve", ...serve, "--announce", "json"];
  }

  /** The demo, with the documents' keys, people and agents. Ends with the test. */
  static async demo(t) {
    const data = await directory(t);
    const server = new Server(data, ["--demo", "--data", data, "--any-port"]);
    server.serviceKey = "your-service-key";
    return await server.#begin(t);
  }

  /**
   * A server with the residents above, on a port that stays the same when it is started again. Its agents say at once what
   * they are told, or so many `words` a piece with a `delay` in milliseconds after each. It closes all connections at
   * once when it stops. `more` is put at the end of its configuration. Ends with the test.
   */
  static async configured(t, more = "", { words = 1_000, delay = 0 } = {}) {
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
api = true

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
chunk_words = ${words}
chunk_delay = ${delay}

${more}
`,
    );
    const people = join(data, "people.jsonl");
    await writeFile(people, RESIDENTS.map((line) => JSON.stringify(line)).join("\n"));
    await command(["import", "--data", store, people]);
    const server = new Server(store, ["--config", config]);
    server.serviceKey = secret(await command(["service-key", "create", "tests", "--data", store]));
    return await server.#begin(t);
  }

  async #begin(t) {
    t.after(async () => {
      for (const client of this.#clients) client.disconnect();
      const alive = this.#process?.exitCode === null && this.#process?.signalCode === null;
      if (alive) await this.kill();
      assertUnseen(this.#log, "standard error");
      assertUnseen(this.#output, "standard output");
      assert.doesNotMatch(this.#log, /panicked|\bERROR\b|"level":"ERROR"/, "the server reported an error of its own");
    });
    await this.start();
    return this;
  }

  /** Starts the process (again); resolves when it serves, to the milliseconds that took. */
  async start() {
    const begun = performance.now();
    // At every level there is: whatever would print a secret has to show it here.
    const env = { ...process.env, ANTIPHON_LOG: "trace" };
    const child = spawn(BINARY, this.#arguments, { stdio: ["ignore", "pipe", "pipe"], env });
    this.#process = child;
    child.stderr.setEncoding("utf8").on("data", (text) => (this.#log += text));
    const ready = new Promise((resolve, reject) => {
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (part) => {
        this.#output += part;
        text += part;
        if (text.includes("\n")) resolve(JSON.parse(text));
      });
      child.once("error", reject);
      child.once("exit", (code, signal) => reject(new Error(`the server ended: ${code ?? signal}\n${this.#log}`)));
    });
    const { mounts, admin } = await within(START, ready, "the server to be ready");
    const chat = mounts.find((mount) => mount.dialect === "chat");
    this.url = `http://${chat.address}`;
    this.path = chat.path;
    this.admin = `http://${admin}`;
    this.#mounts = mounts;
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

  /** Where the port is that serves `dialect`, perhaps with others: `127.0.0.1:8000`. */
  at(dialect) {
    return this.#mounts.find((mount) => mount.dialect.split("+").includes(dialect)).address;
  }

  /** The same as `client`, on the port that serves `dialect`, at the documented default path unless `options` say another one. */
  clientOf(dialect, options) {
    return this.client({ path: "/socket.io", ...options }, `http://${this.at(dialect)}`);
  }

  /** Has a client that somebody else opened be disconnected with the test. */
  adopt(client) {
    this.#clients.push(client);
    return client;
  }

  /** Opens a client of this server; `options` are those of `io()`. It is disconnected with the test. */
  client(options, url = this.url) {
    if (typeof options?.auth?.token === "string") secret(options.auth.token);
    return this.adopt(io(url, { path: this.path, forceNew: true, ...options }));
  }

  /**
   * Asks the HTTP API as a backend does; resolves to `{ status, headers, body }`, with the body as text or, if it is JSON, as what
   * it says.
   */
  async ask(method, path, body, headers = {}) {
    const all = { Authorization: `Bearer ${this.serviceKey}`, "Content-Type": "application/json", ...headers };
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const response = await fetch(this.url + path, { method, headers: all, body: sent });
    const text = await response.text();
    const isJson = /\bjson\b/.test(response.headers.get("Content-Type") ?? "");
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  /** Gives a person one more key: `{ id, secret }`. */
  async newKey(person) {
    const { status, body } = await this.ask("POST", "/v1/keys", { person });
    assert.equal(status, 201, JSON.stringify(body));
    return { id: body.key.id, secret: secret(body.secret) };
  }

  /** What a person and an agent have said, oldest first. The server must be stopped. */
  async history(agent, person) {
    const asked = ["history", "--data", this.#data, "--agent", agent, "--person", person];
    return (await command(asked)).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }
}

/** What a command of the program writes; it has to be content. */
async function command(parameters) {
  const { code, stdout, stderr } = await run(BINARY, parameters, { timeout: 120_000 });
  assert.equal(code, 0, stderr);
  return stdout.trim();
}
