// What a drill is: something is done to a real server, promises are checked, and figures come of it.
//
// A drill runs in full as a program of its own (`node d4-order.mjs`), or short, as a rehearsal among the tests. A rehearsal
// checks counts and order; times are checked in full runs only.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { BINARY, ROOT } from "../foreign/js/support/program.mjs";

/** Where full runs leave their results, one file each. */
export const RESULTS = process.env.DRILL_RESULTS ?? join(ROOT, "target/drills");

/** One run of a drill. */
export class Run {
  figures = [];
  failures = [];
  #begun = performance.now();
  #endings = [];
  #tell;

  constructor(isFull, tell) {
    this.isFull = isFull;
    this.#tell = tell;
  }

  /** The size of something: in full, and in a rehearsal. `ROUNDS` narrows what `rounds` says. */
  pick(full, rehearsal) {
    return this.isFull ? full : rehearsal;
  }

  /** How often something is done. */
  rounds(full, rehearsal) {
    return Number(process.env.ROUNDS || this.pick(full, rehearsal));
  }

  /** Tells how it goes. */
  say(text) {
    this.#tell(`${((performance.now() - this.#begun) / 1_000).toFixed(1)} s: ${text}`);
  }

  /** Notes a figure for the table. */
  figure(label, value) {
    this.figures.push([label, String(value)]);
    this.say(`${label}: ${value}`);
  }

  /** Checks a promise that holds on every machine. */
  check(promise, holds, detail = "") {
    if (holds) return;
    this.failures.push(detail === "" ? promise : `${promise} (${detail})`);
    this.say(`FAILED: ${this.failures.at(-1)}`);
    if (!this.isFull) assert.fail(this.failures.at(-1));
  }

  /** Checks that `count` of something is `wanted`, and notes it. */
  count(label, count, wanted) {
    this.figure(label, count);
    this.check(label, count === wanted, `${count} instead of ${wanted}`);
  }

  /** Notes how long something took, in milliseconds; in a full run it may take `most`. */
  time(label, milliseconds, most) {
    const [taken, limit] = [milliseconds, most].map(spoken);
    this.figure(label, `${taken} (limit ${limit})`);
    if (this.isFull) this.check(label, milliseconds <= most, `${taken}, limit ${limit}`);
  }

  /** Notes a measured value that may be up to `most` in a full run. */
  atMost(label, value, most, unit = "") {
    this.figure(label, `${value}${unit} (limit ${most}${unit})`);
    if (this.isFull) this.check(label, value <= most, `${value}${unit}, limit ${most}${unit}`);
  }

  /** Has `ending` called at the end; the last one first. */
  after(ending) {
    this.#endings.push(ending);
  }

  async end() {
    let first;
    while (this.#endings.length > 0) {
      try {
        await this.#endings.pop()();
      } catch (error) {
        // The others have to end as well.
        first ??= error;
      }
    }
    if (first !== undefined) throw first;
  }

  get seconds() {
    return (performance.now() - this.#begun) / 1_000;
  }
}

/** Runs `drill` in full if its file is the program that was started; its result goes to a file. */
export async function alone(url, drill) {
  if (process.argv[1] !== fileURLToPath(url)) return;
  const run = new Run(true, (text) => console.error(`  ${text}`));
  console.error(`${drill.id}: ${drill.title} (${BINARY})`);
  try {
    await drill.run(run);
  } catch (error) {
    run.failures.push(`it broke off: ${error.message}`);
    console.error(error);
  }
  try {
    await run.end();
  } catch (error) {
    run.failures.push(error.message);
    console.error(error);
  }
  const { id, title, done } = drill;
  const result = {
    id,
    title,
    done: typeof done === "function" ? done(run) : done,
    figures: run.figures,
    failures: run.failures,
    seconds: Math.round(run.seconds),
    size: process.env.ROUNDS ? `ROUNDS=${process.env.ROUNDS}` : "full",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    binary: BINARY.includes("/release/") ? "release" : "debug",
  };
  const file = join(RESULTS, `${id}.json`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  console.error(run.failures.length === 0 ? `${id}: passed` : `${id}: FAILED\n  ${run.failures.join("\n  ")}`);
  process.exit(run.failures.length === 0 ? 0 : 1);
}

/** Rehearses `drill` as a test. */
export async function rehearse(t, drill) {
  const run = new Run(false, (text) => t.diagnostic(text));
  try {
    await drill.run(run);
  } finally {
    await run.end();
  }
}

/** The smallest of `values` that `share` of them do not exceed. */
export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Milliseconds as a reader wants them. */
export function spoken(milliseconds) {
  if (milliseconds === undefined || Number.isNaN(milliseconds)) return "?";
  return milliseconds >= 10_000 ? `${(milliseconds / 1_000).toFixed(1)} s` : `${Math.round(milliseconds)} ms`;
}

function machine() {
  const processors = cpus();
  return `${processors.length} cores (${processors[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
}
