// The drills, small enough to be rehearsed with every change. They check counts and order; `make drills` checks times as well.

import { test } from "node:test";

import { rehearse } from "./drill.mjs";

const FILES = process.env.ONLY
  ? process.env.ONLY.split(",")
  : ["d1-kill", "d4-order", "d5-dead-peer", "d6-slow-readers", "d9-stop", "d10-storm"];

for (const file of FILES) {
  const { drill } = await import(`./${file}.mjs`);
  test(drill.title, { timeout: 300_000 }, (t) => rehearse(t, drill));
}
