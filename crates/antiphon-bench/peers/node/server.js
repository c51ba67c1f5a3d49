// The peer "socket.io on Node with ws". Its duties are listed in ../README.md.
"use strict";

const { createServer } = require("node:http");
const { randomUUID } = require("node:crypto");
const { Server } = require("socket.io");

const CHUNK_DELAY = 33;

const http = createServer();
const io = new Server(http, { serveClient: false, transports: ["websocket"] });

io.on("connection", (socket) => {
  const user = `u${String(socket.handshake.auth.token ?? "k0").slice(1)}`;
  const room = (agentId) => `chat:${agentId}:${user}`;
  socket.join([`user:${user}`, "global"]);

  socket.on("chat:join", ({ agentId }, ack) => {
    socket.join(room(agentId));
    ack?.({ ok: true });
  });

  socket.on("chat:leave", ({ agentId }, ack) => {
    socket.leave(room(agentId));
    ack?.({ ok: true });
  });

  socket.on("chat:typing", ({ agentId, isTyping }) => {
    io.to(room(agentId)).emit("chat:typing", { agentId, userId: user, isTyping, timestamp: Date.now() });
  });

  socket.on("chat:message", ({ agentId, message }) => {
    const words = message.split(" ");
    const messageId = randomUUID();
    let index = 0;
    const timer = setInterval(() => {
      io.to(room(agentId)).emit("chat:message:stream", {
        agentId,
        messageId,
        chunk: `${words[index]} `,
        index,
        timestamp: Date.now(),
      });
      index += 1;
      if (index === words.length) clearInterval(timer);
    }, CHUNK_DELAY);
    socket.once("disconnect", () => clearInterval(timer));
  });
});

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  const version = (name) => require(`${name}/package.json`).version;
  const versions = `Node ${process.versions.node}, socket.io ${version("socket.io")}, ws ${version("ws")}`;
  const address = `127.0.0.1:${http.address().port}`;
  console.log(JSON.stringify({ ready: true, mounts: [{ dialect: "chat", address, path: "/socket.io" }], versions }));
});
