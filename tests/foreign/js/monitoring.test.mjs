// Is Prometheus content with what the server says about itself?

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { Program, directory, freePort, run } from "./support/program.mjs";
import { Server } from "./support/server.mjs";
import { Heard, PATIENCE, next } from "./support/waiting.mjs";

/** Debian's package has both; `make test-js` gets it. */
const PROMETHEUS = process.env.PROMETHEUS ?? "prometheus";
const PROMTOOL = process.env.PROMTOOL ?? "promtool";

test("promtool finds nothing wrong with the metrics of a server that has something to do", async (t) => {
  const server = await Server.configured(t);
  await someLoad(server);
  const page = await (await fetch(`${server.admin}/metrics`)).text();
  const { code, stdout, stderr } = await run(PROMTOOL, ["check", "metrics"], { input: page });
  assert.deepEqual([code, stdout, stderr], [0, "", ""]);
  const families = page.match(/^# TYPE /gm).length;
  assert.ok(families > 20, `${families} families`);
  t.diagnostic(`${families} families, ${page.split("\n").length} lines`);
});

test("Prometheus scrapes the server and can be asked what it saw", async (t) => {
  const server = await Server.configured(t);
  await someLoad(server);
  const [folder, port] = [await directory(t), await freePort()];
  const config = join(folder, "prometheus.yml");
  const target = new URL(server.admin).host;
  await writeFile(
    config,
    `
global:
  scrape_interval: 100ms
scrape_configs:
  - job_name: antiphon
    static_configs:
      - targets: ["${target}"]
`,
  );
  const address = `127.0.0.1:${port}`;
  const settings = [`--config.file=${config}`, `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=${address}`];
  const prometheus = new Program(t, PROMETHEUS, settings);
  await prometheus.until(({ log }) => log.includes("Server is ready"), "Prometheus to be ready");

  assert.equal(await value(address, 'up{job="antiphon"}', (up) => up === 1), 1);
  // One socket is open, and it has sent twenty messages.
  const sent = await value(address, 'sum(antiphon_events_received_total{event="chat:message"})', (count) => count >= 20);
  assert.equal(sent, 20);
});

/** Somebody who converses, and who is refused something, over each transport. */
async function someLoad(server) {
  for (const transport of ["websocket", "polling"]) {
    const socket = server.client({ auth: { token: "key-of-ada" }, transports: [transport] });
    const heard = new Heard(socket);
    await next(socket, "connect");
    for (let count = 0; count < 10; count++) {
      await socket.timeout(10_000).emitWithAck("chat:message", { agentId: "helper", message: "Hello" });
    }
    const refused = await socket.timeout(10_000).emitWithAck("chat:join", { agentId: "adviser" });
    assert.equal(refused.ok, false);
    await heard.count("chat:message:complete", 10);
    socket.emit("no:such:event");
  }
  await next(server.client({ auth: { token: "nobody's key" } }), "connect_error");
}

/** What Prometheus answers to a query, asked again until `isEnough` says so. */
async function value(address, query, isEnough) {
  const until = performance.now() + PATIENCE;
  for (;;) {
    const response = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { data } = await response.json();
    const found = data.result.length > 0 ? Number(data.result[0].value[1]) : undefined;
    if (isEnough(found)) return found;
    assert.ok(performance.now() < until, `${query} is ${found}`);
  }
}
