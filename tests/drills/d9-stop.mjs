// Does a server that is asked to stop lose nothing, and does everybody come back by themselves to the next one?

import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { now, readiness } from "./support/readiness.mjs";
import { Sender, Snakes, audit } from "./support/senders.mjs";
import { sleep, until } from "./support/until.mjs";

const CARRIERS = [["websocket"], ["polling"], ["polling", "websocket"]];

export const drill = {
  id: "d9",
  title: "SIGTERM (D-9)",
  done: "SIGTERM while 160 JavaScript and 40 Python clients with their default back-off send messages; the next process starts on the same port as soon as this one has ended. Then once more with a second SIGTERM after a second.",

  async run(d) {
    const [javascript, python, drain] = d.pick([160, 40, 20_000], [12, 4, 1_500]);
    const people = Array.from({ length: 8 }, (_, index) => `p${index}`);
    const house = await House.open(d, { people, server: { drain } });
    const soon = d.pick({}, { reconnectionDelay: 100, reconnectionDelayMax: 300 });
    const senders = Array.from({ length: javascript }, (_, index) => {
      const transports = CARRIERS[index % CARRIERS.length];
      return new Sender(house, { name: `js-${index}`, person: people[index % people.length], window: 2, transports, ...soon });
    });
    const cast = Array.from({ length: python }, (_, index) => people[index % people.length]);
    const snakes = new Snakes(d, house, cast, { window: 2, soon: !d.isFull });
    const everybody = javascript + python;
    const connected = () => senders.filter((sender) => sender.connected).length + snakes.connected;
    const acknowledged = () => senders.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0) + snakes.count;
    await until(d, () => connected() === everybody, () => `${connected()} connected`);
    for (const sender of [...senders, snakes]) sender.go();
    await until(d, () => acknowledged() > 10 * everybody, () => `${acknowledged()} acknowledged`);

    for (const hurried of [false, true]) {
      const before = senders.map((sender) => [sender.lost.length, sender.back.length]);
      const how = hurried ? "hurried stop" : "stop";
      const unready = await readiness(d, house.admin);
      const [begun, asked] = [performance.now(), now()];
      house.signal("SIGTERM");
      d.time(`${how}: readiness is off after`, (await unready.over) - asked, 1_000);
      d.check(`${how}: nobody new is let in`, !(await admits(house)));
      if (hurried) {
        await sleep(d.pick(1_000, 100));
        house.signal("SIGTERM");
      }
      const second = performance.now();
      const [code, signal] = await house.ended;
      d.figure(`${how}: exit code`, code ?? signal);
      d.check(`${how}: it ends with 0`, code === 0, code ?? signal);
      if (hurried) d.time("end after the second SIGTERM", performance.now() - second, 6_000);
      else d.time("end after SIGTERM", performance.now() - begun, 30_000);
      const losses = senders.map((sender, index) => sender.lost[before[index][0]] - begun).filter((at) => at > 0);
      d.figure(`${how}: connections closed between`, `${seconds(Math.min(...losses))} and ${seconds(Math.max(...losses))} s`);
      const away = senders.filter((sender) => /server disconnect/.test(sender.reasons.at(-1)));
      d.count(`${how}: clients told to stay away`, away.length, 0);

      await house.start();
      const returned = performance.now();
      await until(d, () => connected() === everybody || performance.now() - returned > 30_000, () => `${connected()} are back`).catch(() => {});
      d.figure(`${how}: clients back by themselves`, `${connected()} of ${everybody}`);
      d.check(`${how}: at least 99 % come back`, connected() >= 0.99 * everybody, connected());
      d.figure(`${how}: the last one was back after`, `${seconds(performance.now() - returned)} s`);
      const more = acknowledged() + everybody;
      await until(d, () => acknowledged() > more, () => `${acknowledged()} acknowledged`);
    }

    for (const sender of [...senders, snakes]) sender.halt();
    const waiting = () => senders.reduce((sum, sender) => sum + sender.waiting, 0) + snakes.waiting;
    await until(d, () => waiting() === 0, () => `${waiting()} wait for their acknowledgement`);
    await audit(d, house, [...senders, ...(await snakes.report())]);
  },
};

/** Whether a new session is opened. */
async function admits(house) {
  const answer = await fetch(`${house.url}${house.path}/?EIO=4&transport=polling`).catch(() => undefined);
  return answer?.status === 200;
}

const seconds = (milliseconds) => (milliseconds / 1_000).toFixed(1);

await alone(import.meta.url, drill);
