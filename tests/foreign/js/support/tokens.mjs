// How a test signs tokens (JWT) as an identity provider would.

import { createHmac } from "node:crypto";

import { secret } from "./secrets.mjs";

const SECRET = secret("a-secret-that-only-these-tests-and-their-servers-know");

/** How long a connection may go on after its token has expired, in milliseconds. */
export const GRACE = 1_500;

/** The configuration of a server that believes these tokens. */
export const ISSUER = `
[auth]
grace = ${GRACE}

[[auth.issuer]]
name = "app"
issuer = "https://id.example"
audience = ["antiphon"]
algorithms = ["HS256"]
secret = "${SECRET}"
`;

/** A token for a person that expires at `expiresAt`, in milliseconds since the Unix epoch. */
export function token(sub, expiresAt) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { iss: "https://id.example", aud: "antiphon", sub, exp: expiresAt / 1_000 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return secret(`${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`);
}
