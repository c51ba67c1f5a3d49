// How a test waits: for an answer, never for the clock. A deadline only says when to give up.

/** How long anything may take before a test gives up, in milliseconds. */
export const PATIENCE = 15_000;

/** What `promise` comes to, or an error that says what was waited for. */
export async function within(milliseconds, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${milliseconds} ms for ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The first argument of the next `event` that `emitter` emits. */
export async function next(emitter, event) {
  let listener;
  const heard = new Promise((resolve) => {
    listener = resolve;
    emitter.once(event, listener);
  });
  try {
    return await within(PATIENCE, heard, event);
  } finally {
    emitter.off(event, listener);
  }
}

/** Something that changes, and that a test can wait for. */
export class Changing {
  #bells = new Set();

  /** Tells whoever waits to look again. */
  changed() {
    for (const bell of this.#bells) bell();
  }

  /** What an error shows when somebody has waited in vain. */
  recent() {
    return "";
  }

  /** Waits until `condition(this)` holds. */
  async until(condition, what) {
    let bell;
    const rung = new Promise((resolve) => {
      bell = () => condition(this) && resolve();
      this.#bells.add(bell);
      bell();
    });
    try {
      await within(PATIENCE, rung, what);
    } catch (late) {
      late.message += `; ${this.recent()}`;
      throw late;
    } finally {
      this.#bells.delete(bell);
    }
  }
}

/** Everything that a socket hears from now on, in order. */
export class Heard extends Changing {
  /** `[event, ...arguments]` of each. */
  events = [];

  constructor(socket) {
    super();
    socket.onAny((...event) => {
      this.events.push(event);
      this.changed();
    });
  }

  recent() {
    return `heard ${JSON.stringify(this.events.slice(-20))}`;
  }

  /** The payloads of every `name` so far. */
  all(name) {
    return this.events.filter(([event]) => event === name).map(([, payload]) => payload);
  }

  /** Events of a conversation only, without what tells who is online. */
  conversation() {
    return this.events.filter(([name]) => name.startsWith("chat:") || name.startsWith("relation:"));
  }

  /** Waits for `count` events called `name`; returns their payloads. */
  async count(name, count) {
    await this.until(() => this.all(name).length >= count, `${count} × ${name}`);
    return this.all(name);
  }
}
