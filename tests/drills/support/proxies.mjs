// Several proxies, each in a process of its own, for more connections than one can take. The network goes up and down for all.

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { Proxy } from "./proxy.mjs";

const HERE = fileURLToPath(import.meta.url);

export class Proxies {
  #children;
  addresses;

  /** So many proxies to `address`; they end with the drill. */
  static async to(d, address, count) {
    const proxies = new Proxies();
    proxies.#children = Array.from({ length: count }, () => fork(HERE, [address], { execArgv: [] }));
    d.after(() => proxies.#children.forEach((child) => child.kill("SIGKILL")));
    const started = await Promise.all(proxies.#children.map((child) => once(child, "message")));
    proxies.addresses = started.map(([{ address }]) => address);
    return proxies;
  }

  /** Ends every connection and takes no new ones. */
  async down() {
    await this.#order("down");
  }

  /** The network is there again. */
  async up() {
    await this.#order("up");
  }

  async #order(order) {
    const done = this.#children.map((child) => once(child, "message"));
    for (const child of this.#children) child.send(order);
    await Promise.all(done);
  }
}

if (process.argv[1] === HERE && process.send) {
  const proxy = await Proxy.to({ after: () => {} }, process.argv[2]);
  process.on("message", (order) => {
    proxy[order]();
    process.send({ done: order });
  });
  process.send({ address: proxy.url.slice("http://".length) });
}
