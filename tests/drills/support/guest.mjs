// A client in a process of its own, which can be stopped and killed. Its argument is JSON: `{ url, path, token, transports }`.
// Says `ready` once it is in its conversation, and `typing` after it was told to type by a line on standard input.

import { createInterface } from "node:readline";

import { io } from "../../foreign/js/support/client.mjs";

const { url, path, token, transports } = JSON.parse(process.argv[2]);
const socket = io(url, { path, auth: { token }, transports, reconnection: false });
const join = () => socket.timeout(10_000).emitWithAck("chat:join", { agentId: "agent-of-ada" });
socket.on("connect", async () => {
  if (transports.includes("websocket") && socket.io.engine.transport.name !== "websocket") {
    await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
  }
  await join();
  console.log("ready");
});
createInterface({ input: process.stdin }).on("line", async () => {
  socket.emit("chat:typing", { agentId: "agent-of-ada", isTyping: true });
  // What was sent before is done when this is answered.
  await join();
  console.log("typing");
});
