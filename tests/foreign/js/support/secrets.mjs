// Does a secret that a test uses show where it must not?

import assert from "node:assert/strict";

/** Shorter ones could occur by chance. */
const SHORTEST = 8;

const planted = new Set();

/** Has the log of every server be searched for `text`; returns it. */
export function secret(text) {
  if (text.length >= SHORTEST) planted.add(text);
  return text;
}

/** That no secret of this process stands in `text`, as it is or in an encoding that logs like. */
export function assertUnseen(text, where) {
  for (const known of planted) {
    const bytes = Buffer.from(known);
    const forms = [known, encodeURIComponent(known), bytes.toString("hex"), bytes.toString("base64url")];
    for (const form of forms) {
      const at = text.indexOf(form);
      // The secret itself is not shown again here.
      if (at >= 0) assert.fail(`a secret was written to ${where}, after ${JSON.stringify(text.slice(Math.max(0, at - 200), at))}`);
    }
  }
}
