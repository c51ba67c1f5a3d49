// Who tells everybody numbered things, so many a second, with the time at which each was said.

import { sleep } from "./until.mjs";

/** Things said in one request at most. */
const BATCH = 50;

export class Numbers {
  #going = true;

  /** `say(titles)` says a list of texts, in order. `last` is the number that was said last before. */
  constructor(say, perSecond, last = 0) {
    this.last = last;
    this.done = this.#run(say, perSecond);
    this.done.catch(() => {});
  }

  async #run(say, perSecond) {
    const begun = performance.now();
    const first = this.last;
    while (this.#going) {
      const due = Math.floor(((performance.now() - begun) / 1_000) * perSecond) - (this.last - first);
      if (due <= 0) {
        await sleep(2);
        continue;
      }
      const titles = [];
      for (let count = Math.min(due, BATCH); count > 0; count--) titles.push(`@${++this.last} ${process.hrtime.bigint()}@`);
      await say(titles);
    }
  }

  /** Stops, and resolves to the last number. */
  async stop() {
    this.#going = false;
    await this.done;
    return this.last;
  }
}
