// A TCP proxy that does to connections what networks do: cuts them, forgets them, and keeps them waiting.

import { connect, createServer } from "node:net";

export class Proxy {
  #server;
  #pairs = new Set();
  #frozen = false;
  #down = false;
  /** Connections cut so far. */
  cuts = 0;
  /** Called with each new pair, which it may change, and the first that its client said. */
  onPair = () => {};

  /** A proxy to `address`, `host:port`; it ends with the drill. */
  static async to(d, address) {
    const proxy = new Proxy();
    proxy.address = address;
    proxy.#server = createServer({ pauseOnConnect: true }, (near) => proxy.#join(near));
    await new Promise((resolve) => proxy.#server.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 }, resolve));
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    d.after(() => proxy.close());
    return proxy;
  }

  #join(near) {
    if (this.#down) return near.resetAndDestroy();
    const [host, port] = this.address.split(":");
    const far = connect({ host, port });
    const pair = new Pair(this, near, far);
    this.#pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.setNoDelay(true);
      from.on("data", (bytes) => pair.forward(from, to, bytes));
      from.on("end", () => pair.frozen || to.end());
      from.on("error", () => {});
      from.on("close", () => {
        // A connection that is frozen has lost its cable: neither side hears of the other.
        if (pair.frozen) return;
        this.#pairs.delete(pair);
        to.destroy();
      });
    }
    if (this.#frozen) pair.freeze();
    near.resume();
  }

  /** The connections that go through it now. */
  get pairs() {
    return [...this.#pairs];
  }

  /** Nothing is forwarded from now on, in either direction, and nobody is told: the cable is cut. New connections fare the same. */
  freeze() {
    this.#frozen = true;
    for (const pair of this.#pairs) pair.freeze();
  }

  /** Ends every connection at once and takes no new ones. */
  down() {
    this.#down = true;
    this.cut();
  }

  /** The network is there again. */
  up() {
    [this.#frozen, this.#down] = [false, false];
  }

  /** Ends every connection. */
  cut() {
    for (const pair of [...this.#pairs]) pair.cut();
  }

  forget(pair) {
    this.#pairs.delete(pair);
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** One connection through the proxy. */
export class Pair {
  frozen = false;
  /** Bytes forwarded to the client and to the server. */
  bytes = { near: 0, far: 0 };
  /** After how many bytes to the client it is cut, in the middle of whatever that is. */
  cutAfter = Infinity;
  /** How it is cut then: `both` ends hear of it, only the `client` does, and the server believes that it goes on. */
  how = "both";
  onCut = () => {};

  constructor(proxy, near, far) {
    Object.assign(this, { proxy, near, far });
  }

  forward(from, to, bytes) {
    if (this.frozen) return;
    if (from === this.near) {
      if (this.bytes.far === 0) this.proxy.onPair(this, bytes.toString("latin1"));
      this.bytes.far += bytes.length;
      pass(from, to, bytes);
      return;
    }
    const room = this.cutAfter - this.bytes.near;
    if (bytes.length >= room) {
      this.bytes.near += room;
      this.near.write(bytes.subarray(0, room), () => this.cut());
      this.frozen = true;
      return;
    }
    this.bytes.near += bytes.length;
    pass(from, to, bytes);
  }

  freeze() {
    this.frozen = true;
  }

  /** Ends it: with a reset for the client, and for the server unless only the client is to know. */
  cut() {
    this.proxy.cuts++;
    this.frozen = true;
    this.near.resetAndDestroy();
    if (this.how === "both") {
      this.far.resetAndDestroy();
      this.proxy.forget(this);
    } else {
      // What still comes for the client is read and thrown away, as by a router that does not know better.
      this.far.resume();
    }
    this.onCut(this);
  }
}

/** Hands bytes on and waits when the other side does not take them. */
function pass(from, to, bytes) {
  if (to.write(bytes)) return;
  from.pause();
  to.once("drain", () => from.resume());
}
