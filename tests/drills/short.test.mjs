// The drills, small enough to be rehearsed with every change. They check counts and order; `make drills` checks times as well.

import { test } from "node:test";

import { rehearse } from "./drill.mjs";
import { chosen } from "./drills.mjs";

/** They wait more than they work. */
const AT_ONCE = 4;

test("drills", { concurrency: AT_ONCE }, async (t) => {
  const drills = await Promise.all(chosen().map(async (file) => (await import(`./${file}.mjs`)).drill));
  await Promise.all(drills.map((drill) => t.test(drill.title, { timeout: 300_000 }, (t) => rehearse(t, drill))));
});
