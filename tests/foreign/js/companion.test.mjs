// Do apps of the companion API work against the demo as their document has it, and hear everything that it promises?

import assert from "node:assert/strict";
import { test } from "node:test";

import { continueSnippet, runReadme, runSnippet } from "./support/documents.mjs";
import { Server } from "./support/server.mjs";
import { Heard, next } from "./support/waiting.mjs";

const CONNECT = `
import { io } from "socket.io-client";

const socket = io("http://localhost:8000");

socket.on("connect", () => {
  console.log("Connected:", socket.id);
});
`;

const JOIN = `
// Example
const walletAddress = "0x1234567890123456789012345678901234567890";
socket.emit("join", walletAddress);
`;

const TYPING = `
// User starts typing
socket.emit("typing", true);

// User stops typing
socket.emit("typing", false);
`;

const REACT = `
useEffect(() => {
  if (!socket) return;

  // Listen for balance updates
  socket.on("balance:update", (data) => {
    console.log("New Balance:", data.balance);
    setBalance(data.balance);
  });

  // Listen for notifications
  socket.on("notification", (data) => {
    toast[data.type](data.message);
  });

  return () => {
    socket.off("balance:update");
    socket.off("notification");
  };
}, [socket]);
`;

const WALLET = "0x1234567890123456789012345678901234567890";

/** A moment as this API writes it. */
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

test("the document's snippets hear everything that the README's lines promise", async (t) => {
  const server = await Server.demo(t);
  const said = [];
  const console = { log: (...words) => said.push(words) };
  const socket = server.adopt(runSnippet(CONNECT, server.at("companion"), { console }));
  const heard = new Heard(socket);
  const balances = [];
  const toasts = [];
  const toast = Object.fromEntries(
    ["info", "success", "warning", "error"].map((type) => [type, (message) => toasts.push([type, message])]),
  );
  let cleanUp;
  const useEffect = (effect) => (cleanUp = effect());
  continueSnippet(JOIN, socket);
  continueSnippet(REACT, socket, { console, useEffect, toast, setBalance: (balance) => balances.push(balance) });
  await next(socket, "connect");
  assert.deepEqual(said[0], ["Connected:", socket.id]);
  // Whatever was sent before this is done when it is answered.
  await joined(socket, WALLET);

  const promised = await runReadme(server.at("companion"));
  const mine = promised.filter((name) => ["balance:update", "notification", "message:receive", "typing"].includes(name));
  assert.deepEqual([...new Set(mine)].sort(), ["balance:update", "message:receive", "notification", "typing"]);
  for (const name of mine) await heard.count(name, mine.filter((other) => other === name).length);

  const [balance] = heard.all("balance:update").slice(-1);
  assert.deepEqual(Object.keys(balance).sort(), ["balance", "timestamp"]);
  assert.match(balance.timestamp, MOMENT);
  assert.deepEqual(balances, heard.all("balance:update").map(({ balance }) => balance));
  // The welcome present, what the README grants, and the reward of the day.
  assert.equal(balance.balance, 50 + 10 + 5);

  const notices = heard.all("notification");
  const notice = notices.find(({ message }) => message === "You received 10 tokens!");
  assert.deepEqual({ ...notice, timestamp: "" }, { title: "Daily Reward", message: "You received 10 tokens!", type: "success", timestamp: "" });
  assert.match(notice.timestamp, MOMENT);
  assert.deepEqual(toasts, notices.map(({ type, message }) => [type, message]));

  const [message] = heard.all("message:receive");
  assert.deepEqual(Object.keys(message).sort(), ["content", "id", "persona_id", "sender", "timestamp"]);
  assert.deepEqual([message.content, message.sender, message.persona_id], ["Good morning! ☀️", "ai", "luna"]);
  assert.match(message.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.match(message.timestamp, MOMENT);
  assert.equal(heard.all("typing")[0], true);

  cleanUp();
  assert.deepEqual([socket.listeners("balance:update"), socket.listeners("notification")], [[], []]);
});

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`typing on one device shows on the other over ${transports}`, async (t) => {
    const server = await Server.demo(t);
    const [phone, laptop] = [0, 1].map(() => server.clientOf("companion", { transports }));
    const [onPhone, onLaptop] = [new Heard(phone), new Heard(laptop)];
    await joined(phone, WALLET);
    await joined(laptop, WALLET);
    continueSnippet(TYPING, phone);
    assert.deepEqual(await onLaptop.count("typing", 2), [true, false]);
    // Whatever else was sent to the one who types has arrived with this answer.
    await joined(phone, WALLET);
    assert.deepEqual(onPhone.all("typing"), []);
  });
}

test("the real client names its wallet in mixed case, at CONNECT and again when it is connected", async (t) => {
  const server = await Server.demo(t);
  const walletAddress = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01";
  const login = await fetch(`http://${server.at("companion")}/auth/wallet-login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ wallet_address: walletAddress, timezone: "Asia/Jakarta" }),
  });
  const { success, user } = await login.json();
  assert.deepEqual([login.status, success, user.wallet_address], [200, true, walletAddress.toLowerCase()]);

  const socket = server.clientOf("companion", {
    auth: { walletAddress },
    transports: ["websocket", "polling"],
    reconnectionAttempts: 5,
    reconnectionDelay: 1_000,
  });
  const heard = new Heard(socket);
  socket.on("connect", () => socket.emit("join", walletAddress));
  await next(socket, "connect");
  await joined(socket, walletAddress);
  const granted = await server.ask("POST", "/v1/commands", { command: "Grant", person: user.id, amount: 7 });
  assert.equal(granted.status, 200, JSON.stringify(granted.body));
  await heard.until(() => heard.all("balance:update").some(({ balance }) => balance === user.token_balance + 7), "the new balance");
});

test("whoever names no wallet hears nothing, and a connection does not change its person", async (t) => {
  const server = await Server.demo(t);
  const [mine, nobodys] = [0, 1].map(() => server.clientOf("companion", { transports: ["websocket"] }));
  const [heard, unheard] = [new Heard(mine), new Heard(nobodys)];
  await joined(mine, WALLET);
  // A client that asks is told; one that does not hears nothing at all, as documented.
  for (const wrong of ["0x0000000000000000000000000000000000000000", "", 7, null, { walletAddress: WALLET }]) {
    const refused = await nobodys.timeout(10_000).emitWithAck("join", wrong);
    assert.equal(refused.ok, false, JSON.stringify(wrong));
  }
  const granted = await server.ask("POST", "/v1/commands", { command: "Grant", person: "user-123", amount: 1 });
  assert.equal(granted.status, 200);
  await heard.count("balance:update", 1);
  await nobodys.timeout(10_000).emitWithAck("join", "0x0");
  assert.deepEqual(unheard.events, []);
  const other = await mine.timeout(10_000).emitWithAck("join", "0x0000000000000000000000000000000000000000");
  assert.equal(other.ok, false);
});

test("what is said to luna is one conversation in every API", async (t) => {
  const server = await Server.demo(t);
  const chat = server.client({ auth: { token: "your-api-key" } });
  const companion = server.clientOf("companion", {});
  const mission = server.clientOf("mission", { path: "/ws", auth: { token: "your-jwt-token" } });
  const [inChat, inCompanion, inMission] = [chat, companion, mission].map((socket) => new Heard(socket));
  await chat.timeout(10_000).emitWithAck("chat:join", { agentId: "luna" });
  await joined(companion, WALLET);
  mission.emit("subscribe", { room: "conversation:2a05706e-32ac-55d4-8c2f-9cd6e152d3ef" });
  await inMission.count("subscribed", 1);

  const response = await fetch(`http://${server.at("companion")}/chat`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "x-wallet-address": WALLET },
    body: JSON.stringify({ persona_id: "luna", message: "Good morning!" }),
  });
  const { success, data } = await response.json();
  assert.deepEqual([response.status, success], [200, true]);

  const [complete] = await inChat.count("chat:message:complete", 1);
  const [question] = inChat.all("chat:message");
  assert.deepEqual([question.content, question.userId, question.id], ["Good morning!", "user-123", data.user_message.id]);
  assert.deepEqual([complete.fullContent, complete.messageId], [data.ai_message.content, data.ai_message.id]);
  const messages = await inMission.count("conversation:message", 2);
  assert.deepEqual(messages.map(({ message }) => message.id), [data.user_message.id, data.ai_message.id]);
  await inCompanion.until(() => inCompanion.all("balance:update").length > 0, "what it cost");
});

/** Resolves once `socket` is who its wallet says. */
async function joined(socket, wallet) {
  assert.deepEqual(await socket.timeout(10_000).emitWithAck("join", wallet), { ok: true });
}
