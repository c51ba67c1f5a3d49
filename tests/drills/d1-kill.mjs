// Is a message that was acknowledged still there after the server was killed, and is none there twice?

import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { SOON, Sender, Snakes, audit } from "./support/senders.mjs";
import { sleep, until } from "./support/until.mjs";

const CARRIERS = [["websocket"], ["polling"], ["polling", "websocket"], ["websocket"]];

export const drill = {
  id: "d1",
  title: "Kill (D-1)",
  done: (d) => {
    const often = d.rounds(1_000, 100).toLocaleString("en");
    return `50 clients (40 JavaScript, 10 Python; WebSocket, polling and upgrades) send numbered messages with \`clientMessageId\`, many at a time. SIGKILL after a life of 0.2 to 0.8 s, ${often} times; whoever lost the connection comes back and sends again what was not acknowledged. Then the whole history is read through /v1.`;
  },

  async run(d) {
    const rounds = d.rounds(1_000, 100);
    const [shortest, longest] = d.pick([200, 800], [50, 250]);
    const [javascript, python] = d.pick([40, 10], [10, 3]);
    const people = Array.from({ length: d.pick(10, 4) }, (_, index) => `p${index}`);
    const house = await House.open(d, { people });
    const senders = Array.from({ length: javascript }, (_, index) => {
      const transports = CARRIERS[index % CARRIERS.length];
      return new Sender(house, { name: `js-${index}`, person: people[index % people.length], window: 8, transports, ...SOON });
    });
    const snakes = new Snakes(d, house, Array.from({ length: python }, (_, index) => people[index % people.length]), { window: 8 });
    const acknowledged = () => senders.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0) + snakes.count;
    const connected = () => senders.filter((sender) => sender.connected).length + snakes.connected;
    await until(d, () => connected() === javascript + python, () => `${connected()} connected`);
    for (const sender of [...senders, snakes]) sender.go();

    let [slowest, idle] = [0, 0];
    for (let round = 1; round <= rounds; round++) {
      const before = acknowledged();
      await sleep(shortest + Math.random() * (longest - shortest));
      await house.kill();
      if (acknowledged() === before) idle++;
      slowest = Math.max(slowest, await house.start());
      if (round % 50 === 0) d.say(`${round} kills, ${acknowledged()} acknowledged`);
    }
    for (const sender of [...senders, snakes]) sender.halt();
    const waiting = () => senders.reduce((sum, sender) => sum + sender.waiting, 0) + snakes.waiting;
    const late = () => senders.filter((sender) => sender.waiting > 0).map((sender) => `${sender.name} (${sender.state})`);
    await until(d, () => waiting() === 0, () => `${waiting()} wait for their acknowledgement: ${late().join(", ")}`);

    d.figure("kills", rounds);
    d.figure("lives without an acknowledgement", idle);
    const all = [...senders, ...(await snakes.report())];
    await audit(d, house, all);
    // A hundred thousand over a thousand kills; the first ones of a slow machine are no measure.
    d.check("enough is acknowledged", acknowledged() >= (rounds < 1_000 ? rounds : 100_000), acknowledged());
    d.time("slowest start", slowest, 2_000);
    for (const { socket } of senders) socket.disconnect();
    await house.stop();
    const integrity = await house.integrity();
    d.figure("integrity check", integrity);
    d.check("the database is whole", integrity === "ok", integrity);
  },
};

await alone(import.meta.url, drill);
