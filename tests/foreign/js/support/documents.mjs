// How a test runs what documents say: their snippets, and the lines of the README, on the ports of a server.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { io } from "socket.io-client";

import { ROOT, run } from "./program.mjs";

/** The address that the documents print. */
const DOCUMENTED = "localhost:8000";

/**
 * Runs `snippet` word for word but for the port, which becomes that of `address`, and resolves to its `socket`. `names` are what it
 * takes for granted, beside `io`.
 */
export function runSnippet(snippet, address, names = {}) {
  const code = snippet.replace(/^import \{ io \} from "socket\.io-client";$/m, "").replaceAll(DOCUMENTED, address);
  const known = { io: (url, options) => io(url, { forceNew: true, ...options }), ...names };
  return new Function(...Object.keys(known), `${code}\nreturn socket;`)(...Object.values(known));
}

/** Continues a snippet in the same way: it speaks of the `socket` that an earlier one made. */
export function continueSnippet(snippet, socket, names = {}) {
  const known = { socket, ...names };
  new Function(...Object.keys(known), snippet)(...Object.values(known));
}

/** The README. */
export async function readme() {
  return await readFile(join(ROOT, "README.md"), "utf8");
}

/**
 * Has a shell run the lines of the README with which a back end makes things happen, on the port of `address`. Resolves to the events
 * that are promised behind the lines, each as often as it is promised.
 */
export async function runReadme(address) {
  const blocks = [...(await readme()).matchAll(/^```console\n(.*?)^```$/gms)].map(([, block]) => block);
  const block = blocks.find((text) => text.includes("v1()"));
  const lines = block.split("\n").filter((line) => line.startsWith("$ "));
  const script = lines.map((line) => line.slice(2)).join("\n").replaceAll(DOCUMENTED, address);
  assert.ok(!script.includes("localhost"), "a line asks somewhere else");
  const { code, stdout, stderr } = await run("bash", ["-euo", "pipefail", "-c", script]);
  assert.equal(code, 0, stderr);
  // A refusal of the HTTP API is a problem document with a status, one of a documented route says that it was no success.
  assert.doesNotMatch(stdout, /"status":4\d\d|"statusCode"|"success":false|Only GET|nothing here/, stdout);
  const promised = lines.flatMap((line) => line.split(/ # /)[1]?.match(/[a-z]+(:[a-z_]+)?(?=[,;]|$)/g) ?? []);
  return promised.filter((name) => name.includes(":") || ["typing", "notification"].includes(name));
}
