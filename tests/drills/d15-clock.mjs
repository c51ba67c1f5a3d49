// What does a wall clock that jumps do to connections, rewards and tokens?

import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { directory } from "../foreign/js/support/program.mjs";
import { ISSUER, token } from "../foreign/js/support/tokens.mjs";
import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { sleep, until } from "./support/until.mjs";

/** libfaketime from Debian; `make drills` unpacks it. */
const FAKETIME = process.env.DRILL_FAKETIME;

const HOUR = 3_600;
const DAY = 86_400;

export const drill = {
  id: "d15",
  title: "Clock (D-15)",
  done: "1,000 sockets with a heartbeat of a second, while libfaketime moves the server's wall clock by an hour forth and back, and from one day into the next and back; the monotonic clock goes on. Rewards are claimed at each stop.",

  async run(d) {
    if (!FAKETIME) throw new Error("DRILL_FAKETIME names no libfaketime.so.1; `make drills` gets it");
    const clients = d.pick(1_000, 100);
    const file = join(await directory(d), "faketime");
    const jump = async (seconds) => {
      // Renamed into place, because it is read at any moment.
      await writeFile(`${file}.next`, `${seconds >= 0 ? "+" : "-"}${Math.abs(seconds)}\n`);
      await rename(`${file}.next`, file);
    };
    await jump(0);
    const env = { LD_PRELOAD: FAKETIME, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
    const mount = { ping_interval: 1_000, ping_timeout: 5_000 };
    const house = await House.open(d, { people: ["ada", "bob"], env, mount, more: ISSUER });
    const sockets = Array.from({ length: clients }, () => house.client("ada", { transports: ["websocket"], reconnection: false }));
    let dropped = 0;
    for (const socket of sockets) socket.on("disconnect", () => dropped++);
    const connected = () => sockets.filter((socket) => socket.connected).length;
    await until(d, () => connected() === clients, () => `${connected()} connected`);

    // A token that is good for half an hour.
    const short = token("bob", Date.now() + HOUR * 500);
    d.check("a token is good before it expires", await opens(house, short));

    const say = async () => {
      const speaker = sockets[Math.floor(Math.random() * clients)];
      const answer = await speaker.timeout(10_000).emitWithAck("chat:message", { agentId: "agent-of-ada", message: "Still here?" });
      return answer.ok === true;
    };
    const stay = d.pick(8_000, 1_500);
    const rewards = new Map();
    const visit = async (name, seconds) => {
      await jump(seconds);
      await sleep(stay);
      const { outcome, entry, duplicate } = await house.ask("POST", "/v1/commands", { command: "ClaimReward", as: "bob" });
      d.check(`${name}: a reward is answered`, outcome === "rewarded", outcome);
      const day = new Date((Date.now() / 1_000 + seconds) * 1_000).toISOString().slice(0, 10);
      if (!duplicate) rewards.set(day, (rewards.get(day) ?? 0) + 1);
      d.say(`${name}: ${duplicate ? "no reward, it was given before" : `a reward of ${entry.amount}`} on ${day}`);
      d.check(`${name}: messages are answered`, await say());
    };

    await visit("now", 0);
    await visit("an hour later", HOUR);
    d.check("a token that has expired is refused", !(await opens(house, short)));
    await visit("an hour back", 0);
    d.check("it is refused when the clock has gone back", !(await opens(house, short)));
    await visit("an hour earlier", -HOUR);
    await visit("now", 0);
    const midnight = DAY - (Math.floor(Date.now() / 1_000) % DAY);
    await visit("just before midnight", midnight - 30);
    await visit("just after midnight", midnight + 30);
    await visit("back before midnight", midnight - 30);
    await visit("after midnight again", midnight + 60);
    await visit("a day back", 0);

    d.figure("sockets", clients);
    d.count("sockets dropped", dropped, 0);
    d.figure("days on which there was a reward", [...rewards.keys()].join(", "));
    d.count("most rewards on one day", Math.max(...rewards.values()), 1);
  },
};

/** Whether a token opens a connection. */
async function opens(house, token) {
  const socket = house.client("bob", { auth: { token }, transports: ["websocket"], reconnection: false });
  const opened = await new Promise((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("connect_error", () => resolve(false));
  });
  socket.disconnect();
  return opened;
}

await alone(import.meta.url, drill);
