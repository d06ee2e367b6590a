/**
 * Sends a run's output and log to the server: counted, truncated at the limit, unbuffered while there are few writes.
 * The server counts again.
 */
import { LimitReached } from "./ending.ts";
import type { Channel } from "./channel.ts";

/** Well below the frame limit. */
const blockBytes = 32 << 10;
/** Number of writes sent unbuffered; further ones are collected into blocks. */
const promptWrites = 256;
const collectMs = 10;

type Options = {
  readonly channel: Channel;
  readonly kind: number;
  readonly limit: "output" | "log";
  readonly bytesMax: number;
  readonly isStreamed: boolean;
};

export class GuestOutput {
  readonly #options: Options;
  readonly #block = new Uint8Array(blockBytes);
  #held = 0;
  #written = 0;
  #promptLeft: number;
  #sentMs = 0;

  constructor(options: Options) {
    this.#options = options;
    this.#promptLeft = options.isStreamed ? promptWrites : 0;
  }

  /** @throws LimitReached after sending what fits. */
  write(bytes: Uint8Array): void {
    const { bytesMax, limit } = this.#options;
    const fitting = bytes.subarray(0, bytesMax - this.#written);
    this.#written += fitting.length;
    for (let at = 0; at < fitting.length;) {
      const part = fitting.subarray(at, at + blockBytes - this.#held);
      this.#block.set(part, this.#held);
      this.#held += part.length;
      at += part.length;
      if (this.#held === blockBytes) this.flush();
    }
    if (fitting.length < bytes.length) {
      this.flush();
      throw new LimitReached(limit);
    }
    if (this.#isDue()) this.flush();
  }

  #isDue(): boolean {
    if (!this.#options.isStreamed || this.#held === 0) return false;
    this.#promptLeft -= 1;
    return this.#promptLeft >= 0 || performance.now() - this.#sentMs >= collectMs;
  }

  flush(): void {
    if (this.#held === 0) return;
    this.#options.channel.send(this.#options.kind, this.#block.subarray(0, this.#held));
    this.#held = 0;
    if (this.#options.isStreamed) this.#sentMs = performance.now();
  }
}
