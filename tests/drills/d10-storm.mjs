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
    `${d.rounds(10_000, 500).toLocaleString("en")} WebSockets, 50 of each person, in four processes, on the same cores as the server, each with the back-off of the official client. SIGKILL, and the server starts again three seconds later. Once without, and once with recovery.`,

  async run(d) {
    const clients = d.rounds(10_000, 500);
    await storm(d, { clients, recover: false, what: "new sessions" });
    await storm(d, { clients, recover: true, what: "recovered" });
  },
};

async function storm(d, { clients, recover, what }) {
  const processes = d.pick(4, 2);
  const people = Array.from({ length: Math.ceil(clients / EACH) }, (_, index) => `p${index}`);
  // Not every person has equally many.
  const resume = { waiting_per_person: 2 * EACH };
  const house = await House.open(d, { people, agents: false, resume, limits: d.pick({}, { accepts_per_second: 200 }) });
  const tokens = people.map((person) => `key-of-${person}`);
  const flocks = Array.from({ length: processes }, () => {
    return new Flock(d, { addresses: [house.address], path: house.path, tokens, clients: clients / processes, recover });
  });
  await Promise.all(flocks.map((flock) => flock.gathered));
  const before = await reports(flocks);
  d.figure(`${what}: clients`, before.connected);
  d.figure(`${what}: memory of the server with all of them`, `${Math.round((await house.memory()) / 2 ** 20)} MiB`);

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
  d.time(`${what}: restart`, restarted, 2_000);
  d.time(`${what}: all are back after`, performance.now() - begun, 60_000);
  const now = await reports(flocks);
  d.time(`${what}: handshakes, half of them`, now.handshake.p50, 5_000);
  d.time(`${what}: handshakes, 99 %`, now.handshake.p99, 5_000);
  d.time(`${what}: the longest handshake`, now.handshake.most, 20_000);
  d.figure(`${what}: tries that failed, while the server was away included`, now.failed);
  d.count(`${what}: refused`, now.refused, 0);
  d.count(`${what}: connections lost`, now.lost, clients);
  if (recover) d.count(`${what}: sessions that went on`, now.recovered, clients);
  const lookups = await house.metric("antiphon_credentials_looked_up_total");
  d.figure(`${what}: credentials looked up in the store`, lookups);
  d.check("the store is asked far less than once per client", lookups > 0 && lookups <= clients / 4, lookups);
  for (const flock of flocks) await flock.leave();
  await house.kill();
}

await alone(import.meta.url, drill);
