// The reference server with its own connection state recovery, in memory. Its parent sends lists of texts, each of which
// everybody hears. Its argument is the folder where socket.io is installed.
"use strict";

const { createServer } = require("node:http");
const { createRequire } = require("node:module");

const { Server } = createRequire(`${process.argv[2]}/`)("socket.io");

const http = createServer();
const io = new Server(http, {
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
  pingInterval: 25_000,
  pingTimeout: 20_000,
});

process.on("message", (titles) => {
  for (const title of titles) io.emit("system:notification", { type: "info", title, message: "-" });
  process.send({ said: titles.length });
});
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  process.send({ address: `127.0.0.1:${http.address().port}` });
});
