// Do dashboards of the mission API work against the demo as their document has it, and hear everything that it promises?

import assert from "node:assert/strict";
import { test } from "node:test";

import { continueSnippet, readme, runReadme, runSnippet } from "./support/documents.mjs";
import { secret } from "./support/secrets.mjs";
import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const CONNECT = `
const socket = io('ws://localhost:8000', {
  auth: { token: 'your-jwt-token' },
  path: '/ws'
});
`;

const AGENT = `
socket.emit('subscribe', { room: 'agent:123e4567-e89b-12d3-a456-426614174000' });

socket.on('agent:status_changed', (data) => {
  console.log(\`Agent \${data.agent_id} changed from \${data.old_status} to \${data.new_status}\`);
});
`;

const TASK = `
socket.emit('subscribe', { room: 'task:123e4567-e89b-12d3-a456-426614174000' });

socket.on('task:updated', (data) => {
  console.log(\`Task \${data.task_id} updated:\`, data.update);
});
`;

const HEARTBEAT = `
// Send heartbeat every 25 seconds
setInterval(() => {
  socket.emit('heartbeat', { timestamp: Date.now() });
}, 25000);

socket.on('heartbeat_ack', (data) => {
  console.log('Server acknowledged heartbeat');
});
`;

/** Everything that the document has the server say on its own account, and in which fields. */
const PROMISED = {
  "agent:status_changed": ["agent_id", "old_status", "new_status", "timestamp"],
  "agent:heartbeat": ["agent_id", "timestamp", "metadata"],
  "task:created": ["task_id", "task", "timestamp"],
  "task:assigned": ["task_id", "agent_id", "task", "timestamp"],
  "task:updated": ["task_id", "update", "timestamp"],
  "task:completed": ["task_id", "result", "timestamp"],
  "conversation:message": ["conversation_id", "message", "timestamp"],
  "system:alert": ["message", "severity", "timestamp"],
};

const TOKEN = secret("your-jwt-token");

test("the document's snippets and the README's rooms hear everything that the README's lines promise", async (t) => {
  const server = await Server.demo(t);
  const said = [];
  const console = { log: (...words) => said.push(words) };
  const socket = server.adopt(runSnippet(CONNECT, server.at("mission")));
  const heard = new Heard(socket);
  continueSnippet(AGENT, socket, { console });
  continueSnippet(TASK, socket, { console });
  let beat;
  continueSnippet(HEARTBEAT, socket, { console, setInterval: (send, every) => (beat = { send, every }) });
  assert.equal(beat.every, 25_000);
  beat.send();
  await heard.count("heartbeat_ack", 1);
  assert.equal(typeof heard.all("heartbeat_ack")[0].timestamp, "number");
  assert.deepEqual(said, [["Server acknowledged heartbeat"]]);

  const rooms = [...(await readme()).matchAll(/"((agent|task|conversation):[0-9a-f-]+)"/g)].map(([, room]) => room);
  assert.equal(rooms.length, 3);
  for (const room of rooms) socket.emit("subscribe", { room });
  assert.deepEqual(
    (await heard.count("subscribed", 5)).slice(2).map(({ room }) => room),
    rooms,
  );
  socket.emit("unsubscribe", { room: "agent:nobody" });
  assert.deepEqual(await heard.count("unsubscribed", 1), [{ room: "agent:nobody" }]);
  socket.emit("subscribe", {});
  socket.emit("subscribe", { room: "kitchen" });
  assert.deepEqual(
    (await heard.count("error", 2)).map(({ message }) => message),
    ["Room name required", "Invalid room format"],
  );

  const promised = await runReadme(server.at("mission"));
  const mine = promised.filter((name) => name in PROMISED);
  assert.deepEqual([...new Set(mine)].sort(), Object.keys(PROMISED).sort());
  for (const name of mine) await heard.count(name, mine.filter((other) => other === name).length);
  for (const [name, fields] of Object.entries(PROMISED)) {
    for (const payload of heard.all(name)) {
      for (const field of fields) assert.ok(field in payload, `${name} without ${field}: ${JSON.stringify(payload)}`);
    }
  }
  assert.deepEqual(
    heard.all("agent:status_changed").map(({ agent_id, old_status, new_status }) => [agent_id, old_status, new_status]),
    [
      ["123", "idle", "initializing"],
      ["123", "initializing", "ready"],
    ],
  );
  assert.ok(said.some(([words]) => words === "Agent 123 changed from idle to initializing"), JSON.stringify(said));
  assert.ok(said.some(([words]) => words === "Task 123e4567-e89b-12d3-a456-426614174000 updated:"), JSON.stringify(said));
  // One copy of each, however many of its rooms this is in: the one created, and the document's own.
  assert.equal(heard.all("task:assigned").length, 1);
  assert.equal(heard.all("task:updated").length, 2);
  assert.equal(heard.all("conversation:message").length, 1);
});

for (const path of ["/ws", "/ws/", "/ws/socket.io", "/ws/socket.io/", "/socket.io"]) {
  for (const transports of [["websocket"], ["polling"]]) {
    test(`a dashboard comes in at ${path} over ${transports}`, async (t) => {
      const server = await Server.demo(t);
      const address = server.at("mission");
      const socket = server.client(
        { path, transports, addTrailingSlash: false, auth: { token: TOKEN } },
        `http://${address}`,
      );
      await next(socket, "connect");
      const heard = new Heard(socket);
      const raised = await server.ask("POST", "/v1/commands", { command: "RaiseAlert", message: "Hello", severity: "info" });
      assert.equal(raised.status, 200);
      const [alert] = await heard.count("system:alert", 1);
      assert.deepEqual([alert.message, alert.severity], ["Hello", "info"]);
    });
  }
}

test("whoever brings no token or a bad one is told so, and can do nothing", async (t) => {
  const server = await Server.demo(t);
  const refused = async (options) => {
    const socket = server.clientOf("mission", { reconnection: false, ...options });
    const heard = new Heard(socket);
    const error = await next(socket, "connect_error");
    socket.emit("subscribe", { room: "agent:123" });
    const raised = await server.ask("POST", "/v1/commands", { command: "RaiseAlert", message: "Hello", severity: "info" });
    assert.equal(raised.status, 200);
    assert.deepEqual([socket.connected, heard.events], [false, []]);
    return error.message;
  };
  assert.equal(await refused({ path: "/ws" }), "Authentication required");
  // As the built front end comes.
  const built = { path: "/ws", transports: ["websocket", "polling"], withCredentials: true };
  assert.equal(await refused(built), "Authentication required");
  for (const token of ["not-a-token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkZW1vLW9wZXJhdG9yIn0.", "your-api-key-of-nobody"]) {
    assert.equal(await refused({ path: "/ws", auth: { token } }), "Invalid authentication");
  }
  // On the shared path whoever brings a token and no wallet means this API.
  assert.equal(await refused({ auth: { token: "not-a-token" } }), "Invalid authentication");
});
