// When does a server say that it is not ready? Asked from a process of its own, which nothing else keeps busy.

import { fork } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(import.meta.url);

/** Milliseconds of a clock that all processes share. */
export const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** Watches the operator's port `admin`; resolves once it does, to an object whose `over` is the moment when it is not ready. */
export async function readiness(d, admin) {
  const child = fork(HERE, [admin], { execArgv: [] });
  d.after(() => child.kill("SIGKILL"));
  const over = new Promise((resolve) => child.on("message", ({ at }) => at && resolve(at)));
  await once(child, "message");
  return { over };
}

function ask(admin) {
  return new Promise((resolve) => {
    const request = get(`${admin}/readyz`, { agent: false }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode === 200));
    });
    request.on("error", () => resolve(false));
  });
}

if (process.argv[1] === HERE && process.send) {
  const admin = process.argv[2];
  await ask(admin);
  process.send({ ready: true });
  while (await ask(admin)) await new Promise((resolve) => setTimeout(resolve, 5));
  process.send({ at: now() }, () => process.exit());
}
