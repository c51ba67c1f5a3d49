// Does a change from polling to WebSocket lose, double or reorder anything, for the sender and for everybody who listens?

import { NodeWebSocket, NodeXHR } from "../foreign/js/support/client.mjs";
import { alone } from "./drill.mjs";
import { House } from "./support/house.mjs";
import { until } from "./support/until.mjs";

/** Messages on their way at a time. */
const WINDOW = 40;

export const drill = {
  id: "d4",
  title: "Order (D-4)",
  done: "One socket sends 10,000 numbered messages while it changes from polling to WebSocket; five others of the same person listen over every transport.",

  async run(d) {
    const messages = d.pick(10_000, 1_000);
    const house = await House.open(d);
    const carriers = [["websocket"], ["polling"], ["polling", "websocket"], ["websocket"], ["polling"]];
    const members = carriers.map((transports) => listen(house.client("ada", { transports })));
    await Promise.all(members.map((member) => member.joined));
    const sender = send(house, messages);
    await until(d, () => sender.acks.length >= messages, () => `${sender.acks.length} of ${messages} acknowledged`);
    for (const member of members) {
      await until(d, () => member.heard.length >= messages, () => `${member.heard.length} of ${messages} heard`);
    }

    for (const [phase, count] of Object.entries(sender.sent)) {
      d.figure(`messages sent while ${phase}`, count);
      d.check(`some are sent while ${phase}`, count >= 10, count);
    }
    d.count("inversions in acknowledgements", inversions(sender.acks.map(({ mine }) => mine)), 0);
    d.count("inversions in the order of commits", inversions(sender.acks.map(({ answer }) => answer.seq)), 0);
    d.check("every message is acknowledged", sender.acks.every(({ answer }) => answer.ok === true));
    const told = (member) => member.heard.map((text) => Number(text));
    d.count("inversions in delivery", members.reduce((sum, member) => sum + inversions(told(member)), 0), 0);
    const whole = members.filter((member) => new Set(member.heard).size === messages && member.heard.length === messages);
    d.count("listeners who heard each message once", whole.length, members.length);
  },
};

/** Sends numbered messages over polling, while it upgrades, and over the WebSocket. */
function send(house, messages) {
  let open;
  const opened = new Promise((resolve) => (open = resolve));

  /** A WebSocket that opens when it is told to, so that the upgrade falls into the conversation. */
  class Late extends NodeWebSocket {
    doOpen() {
      opened.then(() => super.doOpen());
    }
  }

  const limits = { polling: messages * 0.4, upgrading: messages * 0.6, websocket: messages };
  const state = { sent: { polling: 0, upgrading: 0, websocket: 0 }, acks: [] };
  const socket = house.client("ada", { transports: [NodeXHR, Late] });
  let [phase, number] = ["polling", 0];
  const say = (count) => {
    for (; count > 0 && number < limits[phase]; count--) {
      const mine = number++;
      state.sent[phase]++;
      socket.emit("chat:message", { agentId: "agent-of-ada", message: String(mine) }, (answer) => {
        state.acks.push({ mine, answer });
        if (state.acks.length === Math.floor(messages * 0.2)) open();
        // Every answer asks for more, so that something is always on its way.
        say(1);
      });
    }
  };
  socket.once("connect", () => {
    const { engine } = socket.io;
    engine.once("upgrading", () => {
      phase = "upgrading";
      say(WINDOW);
    });
    engine.once("upgrade", () => {
      phase = "websocket";
      say(WINDOW);
    });
    say(WINDOW);
  });
  return state;
}

function listen(socket) {
  const heard = [];
  socket.on("chat:message", (message) => message.role === "user" && heard.push(message.content));
  const joined = new Promise((resolve) => {
    socket.once("connect", () => socket.emit("chat:join", { agentId: "agent-of-ada" }, resolve));
  });
  return { heard, joined };
}

/** How often a number comes after one that is not smaller. */
export function inversions(numbers) {
  return numbers.filter((number, index) => index > 0 && number <= numbers[index - 1]).length;
}

await alone(import.meta.url, drill);
