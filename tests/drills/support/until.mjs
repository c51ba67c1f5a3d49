// How a drill waits: until something is so, or until nothing has changed for too long.

/** How long a drill waits for any progress at all, in milliseconds. */
const PATIENCE = 60_000;

/** How often it looks, in milliseconds. */
const GLANCE = 10;

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until `holds()`; gives up when `progress()` has said the same for too long. Resolves to the milliseconds it took. */
export async function until(d, holds, progress, patience = PATIENCE) {
  const begun = performance.now();
  let [last, since, told] = [undefined, begun, begun];
  while (!(await holds())) {
    const [now, text] = [performance.now(), progress()];
    if (text !== last) [last, since] = [text, now];
    if (now - since > patience) throw new Error(`waited in vain: ${text}`);
    if (now - told > 10_000) {
      told = now;
      d.say(text);
    }
    await sleep(GLANCE);
  }
  return performance.now() - begun;
}

/** `promise`, or an error after `milliseconds` that says what was waited for. */
export { within } from "../../foreign/js/support/waiting.mjs";
