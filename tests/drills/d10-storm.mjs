// How soon is everybody back after a crash?

import { alone } from "./drill.mjs";
import { Flock, glance, reports } from "./support/flock.mjs";
import { House } from "./support/house.mjs";
import { sleep, until } from "./support/until.mjs";

/** Connections of one person. */
const EACH = 50;

export const drill = {
  id: "d10",
  title: "Storm (D-10)",
  done: (d) =>
    `${d.rounds(10_000, 500).toLocaleString("en")} WebSockets, 50 of each person, in four processes, on the same cores as the server, each with the back-off of the official client. SIGKILL, and the server starts again three seconds later.`,

  async run(d) {
    const clients = d.rounds(10_000, 500);
    const processes = d.pick(4, 2);
    const people = Array.from({ length: Math.ceil(clients / EACH) }, (_, index) => `p${index}`);
    const house = await House.open(d, { people, agents: false, limits: d.pick({}, { accepts_per_second: 200 }) });
    const tokens = people.map((person) => `key-of-${person}`);
    const flocks = Array.from({ length: processes }, () => {
      return new Flock(d, { addresses: [house.address], path: house.path, tokens, clients: clients / processes });
    });
    await Promise.all(flocks.map((flock) => flock.gathered));
    const before = await reports(flocks);
    d.figure("clients", before.connected);
    d.figure("memory of the server with all of them", `${Math.round((await house.memory()) / 2 ** 20)} MiB`);

    await house.kill();
    await sleep(d.pick(3_000, 500));
    const restarted = await house.start();
    const begun = performance.now();
    let seen = { connected: 0, back: 0 };
    const everybody = async () => {
      seen = await glance(flocks);
      return seen.connected === clients && seen.back >= clients;
    };
    await until(d, everybody, () => `${seen.connected} are back`);
    d.time("restart", restarted, 2_000);
    d.time("all are back after", performance.now() - begun, 60_000);
    const now = await reports(flocks);
    d.time("handshakes, half of them", now.handshake.p50, 5_000);
    d.time("handshakes, 99 %", now.handshake.p99, 5_000);
    d.time("the longest handshake", now.handshake.most, 20_000);
    d.figure("tries that failed, while the server was away included", now.failed);
    d.count("refused", now.refused, 0);
    d.count("connections lost", now.lost, clients);
    const lookups = await house.metric("antiphon_credentials_looked_up_total");
    d.figure("credentials looked up in the store", lookups);
    d.check("the store is asked far less than once per client", lookups > 0 && lookups <= clients / 4, lookups);
  },
};

await alone(import.meta.url, drill);
