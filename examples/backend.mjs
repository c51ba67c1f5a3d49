// A backend in a few lines: an agent says something to its person, who reads it in every tab. `node backend.mjs`

const url = process.env.ANTIPHON_URL ?? "http://127.0.0.1:3000";
const headers = {
  Authorization: `Bearer ${process.env.ANTIPHON_SERVICE_KEY ?? "your-service-key"}`,
  "Content-Type": "application/json",
  // Sent again under this name, the request has no second effect.
  "Idempotency-Key": "order-4712-shipped",
};
const command = { command: "Speak", agent: "agent-123", person: "user-123", text: "Your order has been shipped." };
const response = await fetch(`${url}/v1/commands`, { method: "POST", headers, body: JSON.stringify(command) });
console.log(await response.text());
if (!response.ok) process.exitCode = 1;
