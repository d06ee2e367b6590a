/** Numbers of the answers of one stream, which come in any order. Bounded as its open questions are. */
import type { StreamChecksRequest, StreamChecksResponse } from "@sigil/proto/sigil/trust/v1/trust";
import type { Asked, Remembering } from "./remember.ts";

export class StreamNumbers {
  readonly #remembering: Remembering;
  readonly #asked = new Map<string, Asked[]>();

  constructor(remembering: Remembering) {
    this.#remembering = remembering;
  }

  async ask({ correlationId }: StreamChecksRequest): Promise<void> {
    const asked = await this.#remembering.ask();
    this.#asked.set(correlationId, [...(this.#asked.get(correlationId) ?? []), asked]);
  }

  /** Of several open questions of one id any may be answered: the oldest bounds them all, and stays until the last. */
  async answer({ correlationId, outcome }: StreamChecksResponse): Promise<void> {
    const open = this.#asked.get(correlationId) ?? [];
    const [oldest, newest] = [open[0], open.at(-1)];
    if (oldest === undefined || newest === undefined) return;
    if (open.length === 1) this.#asked.delete(correlationId);
    else this.#asked.set(correlationId, open.slice(0, -1));
    try {
      if (outcome?.$case === "decision") await this.#remembering.take(oldest, [outcome.value]);
    } finally {
      this.#remembering.settle(newest);
    }
  }

  close(): void {
    for (const asked of [...this.#asked.values()].flat()) this.#remembering.settle(asked);
    this.#asked.clear();
  }
}
