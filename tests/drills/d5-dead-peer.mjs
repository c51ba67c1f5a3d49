// How soon does the server see that a client is gone, and does everybody else hear of it?

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { Proxy } from "./support/proxy.mjs";
import { sleep, until } from "./support/until.mjs";

const GUEST = fileURLToPath(new URL("./support/guest.mjs", import.meta.url));

/** The heartbeat of the drill's mount, in milliseconds. */
const PING = { ping_interval: 1_000, ping_timeout: 1_000 };

/** A dead peer is seen within both and this much more; so much later everybody knows. */
const SLACK = 1_000;

const SILENT = PING.ping_interval + PING.ping_timeout + SLACK;

/** How a client is lost: what is said of it, its transports, by which means, and within how many milliseconds that is seen. */
const LOSSES = [
  ["its process is stopped (SIGSTOP), WebSocket", ["websocket"], "stop", SILENT],
  ["its process is stopped (SIGSTOP), polling", ["polling"], "stop", SILENT],
  ["its cable is cut, WebSocket", ["websocket"], "freeze", SILENT],
  ["its cable is cut, polling", ["polling"], "freeze", SILENT],
  ["its cable is cut, after the upgrade", ["polling", "websocket"], "freeze", SILENT],
  ["it does not GET any more", ["polling"], "silence", SILENT],
  ["its process is killed, WebSocket", ["websocket"], "kill", SLACK],
  ["its process is killed, polling", ["polling"], "kill", SLACK],
];

/** Those of a rehearsal: one for each means. */
const REHEARSED = LOSSES.filter(([, , means], index) => LOSSES.findIndex((loss) => loss[2] === means) === index);

export const drill = {
  id: "d5",
  title: "Dead peers (D-5)",
  done: "pingInterval and pingTimeout are 1 s each. Somebody types and is lost: stopped, behind a proxy that forwards nothing any more, polling without a next GET, or killed. Times are until another client hears that they are offline, and that they do not type any more.",

  async run(d) {
    const house = await House.open(d, { people: ["ada", "bob"], mount: PING });
    const witness = await connected(house.client("bob", { transports: ["websocket"] }));
    const before = await gauges(house);
    for (const [how, transports, means, limit] of d.pick(LOSSES, REHEARSED)) {
      const guest = await arrive(d, house, transports, means);
      const tab = await connected(house.client("ada", { transports: ["websocket"] }));
      await tab.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-of-ada" });
      // The tab keeps Ada's conversation in view; Bob sees whether she is there, which needs the tab to be gone first.
      const quiet = heard(tab, "chat:typing", ({ isTyping }) => !isTyping);
      await guest.type();
      // A polling client has its next GET on the way by then; between two of them there is no connection whose end could be seen.
      await sleep(100);
      const begun = performance.now();
      guest.lose();
      await until(d, async () => (await sockets(house)) === before.sockets + 1, () => "the guest's socket is still there");
      const seen = performance.now() - begun;
      d.time(`${how}: seen after`, seen, limit);
      d.time(`${how}: does not type any more after`, (await quiet) - begun, limit + SLACK);
      tab.disconnect();
      await until(d, async () => (await sockets(house)) === before.sockets, () => "the tab's socket is still there");
    }

    // Presence, with nobody else of hers there.
    const offline = heard(witness, "presence:user:offline", ({ userId }) => userId === "ada");
    const guest = await arrive(d, house, ["websocket"], "freeze");
    const begun = performance.now();
    guest.lose();
    d.time("offline for others after its cable is cut", (await offline) - begun, SILENT + SLACK);

    await until(d, async () => same(await gauges(house), before), () => "gauges are not what they were");
    const after = await gauges(house);
    for (const [name, value] of Object.entries(after)) d.count(`${name} left`, value, before[name]);
  },
};

/** Somebody whose connection can be lost, in a process of their own behind a proxy of their own. */
async function arrive(d, house, transports, means) {
  if (means === "silence") return await Poller.arrive(house);
  const proxy = await Proxy.to(d, house.address);
  const settings = { url: proxy.url, path: house.path, token: "key-of-ada", transports };
  const child = spawn(process.execPath, [GUEST, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
  d.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  await once(lines, "line");
  const type = async () => {
    child.stdin.write("type\n");
    await once(lines, "line");
  };
  const ways = { stop: () => child.kill("SIGSTOP"), kill: () => child.kill("SIGKILL"), freeze: () => proxy.freeze() };
  return { type, lose: ways[means] };
}

/** A client that polls by hand, and does not come for more once it is lost. */
class Poller {
  static async arrive(house) {
    const poller = new Poller();
    poller.url = `${house.url}${house.path}/?EIO=4&transport=polling`;
    const open = await (await fetch(poller.url)).text();
    poller.url += `&sid=${JSON.parse(open.slice(1)).sid}`;
    await poller.say(`40${JSON.stringify({ token: "key-of-ada" })}`);
    await poller.hear(/^40/);
    await poller.say('420["chat:join",{"agentId":"agent-of-ada"}]');
    await poller.hear(/^430/);
    return poller;
  }

  async type() {
    await this.say('42["chat:typing",{"agentId":"agent-of-ada","isTyping":true}]');
    await this.say('421["chat:join",{"agentId":"agent-of-ada"}]');
    await this.hear(/^431/);
  }

  lose() {}

  async say(packet) {
    await fetch(this.url, { method: "POST", body: packet });
  }

  async hear(wanted) {
    for (;;) {
      const packets = (await (await fetch(this.url)).text()).split("\x1e");
      if (packets.includes("2")) await this.say("3");
      if (packets.some((packet) => wanted.test(packet))) return;
    }
  }
}

async function connected(socket) {
  if (!socket.connected) await once(socket, "connect");
  return socket;
}

/** The moment when `socket` hears an `event` that `matches`. */
function heard(socket, event, matches) {
  return new Promise((resolve) => {
    socket.on(event, (payload) => matches(payload) && resolve(performance.now()));
  });
}

/** What there is of everything, by the server's own account. */
async function gauges(house) {
  const metrics = await house.metrics();
  const sum = (name) => [...metrics].reduce((sum, [key, value]) => (key.split("{")[0] === name ? sum + value : sum), 0);
  return {
    sockets: sum("antiphon_sockets"),
    connections: sum("antiphon_connections"),
    topics: sum("antiphon_topics"),
    "bytes in outboxes": sum("antiphon_outbox_bytes"),
  };
}

const sockets = async (house) => (await gauges(house)).sockets;

const same = (some, others) => Object.keys(some).every((name) => some[name] === others[name]);

await alone(import.meta.url, drill);
