// A receiver of webhooks that believes only what is signed: prints each event as a line of JSON, refuses the rest.
// `npm install standardwebhooks`, then `WEBHOOK_SECRET=whsec_… node webhook-receiver.mjs`

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

createServer(async (request, response) => {
  let body = "";
  for await (const text of request.setEncoding("utf8")) body += text;
  try {
    console.log(JSON.stringify(webhook.verify(body, request.headers)));
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end("This is not signed with our secret, or not now.\n");
  }
}).listen(process.env.PORT ?? 4000, "127.0.0.1");
