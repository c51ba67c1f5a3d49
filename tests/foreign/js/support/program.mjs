// How a test runs the program that it tests, and others beside it.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Changing, PATIENCE } from "./waiting.mjs";

/** The top of the repository. */
export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

/** The binary under test. */
export const BINARY = process.env.ANTIPHON ?? join(ROOT, "target/debug/antiphon");

/** What another program came to: `{ code, stdout, stderr }`. `options` are those of `execFile`, `env` comes on top of ours. */
export async function run(program, parameters, { env = {}, ...options } = {}) {
  return await new Promise((resolve) => {
    // Whatever proxy leads out of here, none leads to the server.
    const environment = { ...process.env, no_proxy: "*", ...env };
    const settings = { maxBuffer: 1 << 30, timeout: PATIENCE, ...options, env: environment };
    const child = execFile(program, parameters, settings, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
    // A program need not read what it is given.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}

/** A program that goes on until the test ends. */
export class Program extends Changing {
  /** What it has written to standard output, line by line. */
  lines = [];
  /** What it has written to standard error. */
  log = "";

  constructor(t, program, parameters, env = {}) {
    super();
    const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    const ended = once(child, "exit");
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      this.lines.push(...lines);
      this.changed();
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.log += text;
      this.changed();
    });
    t.after(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await ended;
      }
    });
  }

  recent() {
    return `it wrote ${JSON.stringify(this.lines.slice(-20))} and ${JSON.stringify(this.log.slice(-2_000))}`;
  }
}

/** A new directory, which goes with the test. */
export async function directory(t) {
  const path = await mkdtemp(join(tmpdir(), "antiphon-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/**
 * A port that nobody listens on, below those that the system gives to outgoing connections: one of those could be taken by a
 * client that tries to come back while the server is away.
 */
export async function freePort() {
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
