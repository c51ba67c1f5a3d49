// Thousands of clients in a process of their own: `antiphon-bench flock`.

import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

import { BINARY } from "../../foreign/js/support/program.mjs";

const BENCH = process.env.DRILL_BENCH ?? join(dirname(BINARY), "antiphon-bench");

export class Flock {
  #child;
  #asked = [];
  #failed;

  /** `addresses` are `host:port`s, `tokens` what to CONNECT with; see `antiphon-bench flock --help` for the others. */
  constructor(d, { addresses, path, tokens, clients, recover = false, receiveBuffer, mute = false }) {
    const parameters = ["flock", "--path", path, "--clients", String(clients)];
    for (const address of addresses) parameters.push("--address", address);
    for (const token of tokens) parameters.push("--token", token);
    if (recover) parameters.push("--recover");
    if (mute) parameters.push("--mute");
    if (receiveBuffer) parameters.push("--receive-buffer", String(receiveBuffer));
    this.clients = clients;
    this.#child = spawn(BENCH, parameters, { stdio: ["pipe", "pipe", "inherit"] });
    this.ended = new Promise((resolve) => this.#child.once("close", resolve));
    d.after(() => this.leave());
    this.#failed = new Promise((_, reject) => {
      this.#child.once("error", () => reject(new Error(`${BENCH} is missing: cargo build -p antiphon-bench`)));
      this.#child.once("exit", (code, signal) => reject(new Error(`a flock ended: ${code ?? signal}`)));
    });
    this.#failed.catch(() => {});
    let gathered;
    /** Resolves once all of them are connected. */
    this.gathered = Promise.race([new Promise((resolve) => (gathered = resolve)), this.#failed]);
    this.gathered.catch(() => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.gathered) gathered();
      else this.#asked.shift()?.(said);
    });
  }

  /** What they have to say: see `Report` in the bench's `flock.rs`. */
  async report() {
    return await this.#ask("report");
  }

  /** How many are `connected` and have come `back`, and the `least` number that anybody heard last. */
  async glance() {
    return await this.#ask("glance");
  }

  async #ask(order) {
    const told = new Promise((resolve) => this.#asked.push(resolve));
    this.#child.stdin.write(`${order}\n`);
    return await Promise.race([told, this.#failed]);
  }

  /** All of them go. */
  async leave() {
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}

/** The same of several flocks. */
export async function glance(flocks) {
  const all = await Promise.all(flocks.map((flock) => flock.glance()));
  const sum = (name) => all.reduce((total, seen) => total + seen[name], 0);
  return { connected: sum("connected"), back: sum("back"), least: Math.min(...all.map((seen) => seen.least)) };
}

/** What several flocks have to say, together. */
export async function reports(flocks) {
  const all = await Promise.all(flocks.map((flock) => flock.report()));
  const sum = (name) => all.reduce((total, report) => total + report[name], 0);
  const most = (name, part) => Math.max(...all.map((report) => report[name][part]));
  const spread = (name) => ({ p50: most(name, "p50"), p99: most(name, "p99"), most: most(name, "most") });
  const counts = Object.fromEntries(
    ["connected", "heard", "missed", "twice", "lost", "back", "recovered", "refused", "failed"].map((name) => [name, sum(name)]),
  );
  const last = [Math.min(...all.map((report) => report.last[0])), Math.max(...all.map((report) => report.last[1]))];
  return { ...counts, last, handshake: spread("handshake"), latency: spread("latency") };
}
