// Runs drills in full, one after the other, and writes the page about all whose results are there.
//
//   ONLY=d6,d9 ROUNDS=… node tests/drills/run.mjs

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { ROOT } from "../foreign/js/support/program.mjs";
import { RESULTS } from "./drill.mjs";
import { DRILLS, chosen } from "./drills.mjs";

const PAGE = process.env.DRILL_PAGE ?? join(ROOT, "docs/drills.md");

const HEAD = `# Drills

What the server promises when processes, networks, clients and clocks fail, tried out on the real binary with the official clients.
\`make drills\` runs everything in full and writes this page; \`make drills ONLY=d6\` runs one of them, \`ROUNDS\` says how often or how many.
Short versions run with every \`make test\`. The server, the clients and whatever stands between them share the machine, so times are those
of a machine that is busy.
`;

let failed = 0;
for (const file of chosen()) {
  const program = fileURLToPath(new URL(`./${file}.mjs`, import.meta.url));
  const [code] = await once(spawn(process.execPath, [program], { stdio: "inherit" }), "exit");
  if (code !== 0) failed++;
}
const results = DRILLS.map((file) => join(RESULTS, `${file.split("-")[0]}.json`))
  .filter(existsSync)
  .map((file) => JSON.parse(readFileSync(file, "utf8")));
writeFileSync(PAGE, page(results));
console.error(`wrote ${PAGE}`);
process.exit(failed === 0 ? 0 : 1);

function page(results) {
  const summary = results.map((result) => {
    const { title, failures, seconds, date, binary, size } = result;
    return `| ${title} | ${failures.length === 0 ? "pass" : "**FAIL**"} | ${size} | ${duration(seconds)} | ${binary} | ${date} |`;
  });
  const machines = [...new Set(results.map(({ machine }) => machine))];
  const parts = results.map(({ title, done, figures, failures }) => {
    const rows = figures.map(([label, value]) => `| ${label} | ${value} |`);
    const missed = failures.map((failure) => `- **${failure}**`);
    return [`## ${title}`, done, ["| figure | |", "|---|---|", ...rows].join("\n"), ...(missed.length > 0 ? [missed.join("\n")] : [])].join("\n\n");
  });
  const table = ["| drill | result | size | took | binary | date |", "|---|---|---|---|---|---|", ...summary].join("\n");
  return `${[HEAD, `Machine: ${machines.join("; ")}.`, table, ...parts].join("\n\n")}\n`.replace(/\n{3,}/g, "\n\n");
}

function duration(seconds) {
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
