// A helper written in Python, in a process of its own, that says lines and is told lines.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export class Helper {
  #child;
  #lines;

  /** `file` lies beside this one. It ends with the drill. */
  constructor(d, file, parameters) {
    const program = fileURLToPath(new URL(file, import.meta.url));
    const env = { ...process.env, no_proxy: "*", PYTHONDONTWRITEBYTECODE: "1" };
    const python = process.env.PYTHON ?? "python3";
    this.#child = spawn(python, [program, ...parameters.map(String)], { stdio: ["pipe", "pipe", "inherit"], env });
    this.ended = once(this.#child, "exit");
    this.#lines = createInterface({ input: this.#child.stdout });
    d.after(() => this.end());
  }

  /** Calls `hear` with each line. */
  onLine(hear) {
    this.#lines.on("line", hear);
  }

  /** The next line. */
  async line() {
    const ended = this.ended.then(([code]) => Promise.reject(new Error(`a helper ended: ${code}`)));
    return await Promise.race([once(this.#lines, "line").then(([line]) => line), ended]);
  }

  say(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  async end() {
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}
