// How much of what is said reaches everybody when the network is gone for two seconds again and again? Ours, and the reference.

import { fork } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { BINARY } from "../foreign/js/support/program.mjs";
import { alone } from "./drill.mjs";
import { Flock, glance, reports } from "./support/flock.mjs";
import { House } from "./support/house.mjs";
import { Numbers } from "./support/numbers.mjs";
import { Proxies } from "./support/proxies.mjs";
import { sleep, until } from "./support/until.mjs";

const REFERENCE = fileURLToPath(new URL("./support/reference.cjs", import.meta.url));

/** Where `make drills` installs socket.io. */
const PEER = process.env.DRILL_PEER ?? join(dirname(BINARY), "../peers/node");

export const drill = {
  id: "drops",
  title: "Drops of the network",
  done: (d) =>
    `${d.clients.toLocaleString("en")} WebSockets that ask for recovery, behind ${d.doors} proxies on the same cores. For ${d.minutes} the network is gone for 2 s twice a minute: all connections are reset, and new ones refused. ${d.rate} numbered events a second for everybody. The same for socket.io 4.8.4 with \`connectionStateRecovery\` in memory.`,

  async run(d) {
    const clients = (d.clients = d.rounds(10_000, 60));
    d.doors = d.pick(4, 1);
    d.minutes = d.pick("five minutes", "a few seconds");
    d.rate = d.pick(2, 20);
    const contestants = d.isFull ? { Antiphon: ours, "socket.io": reference } : { Antiphon: ours };
    for (const [name, open] of Object.entries(contestants)) {
      const { address, path, tokens, say, close } = await open(d);
      const proxies = await Proxies.to(d, address, d.doors);
      const flocks = Array.from({ length: d.doors }, (_, index) => {
        const addresses = [proxies.addresses[index]];
        return new Flock(d, { addresses, path, tokens, clients: clients / d.doors, recover: true });
      });
      await Promise.all(flocks.map((flock) => flock.gathered));
      d.say(`${name}: ${clients} connected`);

      const numbers = new Numbers(say, d.rate);
      const drops = d.pick(10, 2);
      for (let drop = 0; drop < drops; drop++) {
        await sleep(d.pick(14_000, 1_000));
        await proxies.down();
        await sleep(d.pick(2_000, 500));
        await proxies.up();
        await sleep(d.pick(14_000, 2_500));
        const seen = await glance(flocks);
        d.say(`${name}: drop ${drop + 1}, ${seen.connected} connected, ${seen.back} came back so far`);
      }
      await until(d, async () => (await glance(flocks)).connected === clients, () => "not everybody is back");
      // Once everybody is there, a last number shows what is still on its way, and what never comes.
      await sleep(d.pick(5_000, 500));
      const last = await numbers.stop();
      const all = async () => (await glance(flocks)).least === last;
      await until(d, all, () => `not everybody has heard ${last}`, 20_000).catch((error) => d.say(error.message));
      const seen = await reports(flocks);

      const wanted = clients * last;
      const once_ = seen.heard - seen.twice;
      d.figure(`${name}: delivered`, `${percent(once_, wanted)} % of ${wanted}`);
      d.figure(`${name}: missed`, wanted - once_);
      d.figure(`${name}: twice or out of order`, seen.twice);
      d.figure(`${name}: connections made again`, `${seen.back}, of which recovered ${seen.recovered}`);
      d.figure(`${name}: handshakes`, `99 % within ${seen.handshake.p99} ms`);
      if (name === "Antiphon") {
        d.check("nothing is heard twice", seen.twice === 0, seen.twice);
        // Without recovery there is nothing that could bring back what was missed.
        if (seen.recovered > 0) d.check("everything is delivered", once_ === wanted, wanted - once_);
      }
      for (const flock of flocks) await flock.leave();
      await close();
    }
  },
};

async function ours(d) {
  // All of them are one person here.
  const house = await House.open(d, { resume: { waiting_per_person: 2 * d.clients } });
  const say = (titles) => house.notify("ada", titles);
  return { address: house.address, path: house.path, tokens: ["key-of-ada"], say, close: () => house.kill() };
}

async function reference(d) {
  const child = fork(REFERENCE, [PEER], { execArgv: [] });
  d.after(() => child.kill("SIGKILL"));
  const [{ address }] = await once(child, "message");
  const say = async (titles) => {
    const said = once(child, "message");
    child.send(titles);
    await said;
  };
  return { address, path: "/socket.io", tokens: ["key-of-ada"], say, close: async () => child.kill("SIGKILL") };
}

/** Rounded down, so that 100 means all. */
const percent = (part, whole) => Math.floor((part / whole) * 10_000) / 100;

await alone(import.meta.url, drill);
