/**
 * LRU bookkeeping of a sandbox process's compiled modules, limited by `modulesHeldMax` and `moduleBytesHeldMax`. Pure.
 */
import { toHex } from "@sigil/core/bytes";
import { moduleBytesHeldMax, modulesHeldMax } from "../../limits.ts";
import type { RunRequest } from "./run.ts";

/** Identifies a compilation: the bytes and everything compiled into them. */
export const compilationKey = ({ digest, capabilities, limits }: RunRequest): string =>
  [toHex(digest), limits.memoryPages, ...capabilities].join(" ");

type Held = { readonly slot: number; readonly bytes: number };

export class CompiledModules {
  readonly #held = new Map<string, Held>();
  #bytes = 0;
  #nextSlot = 0;

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** The module's slot; marks it as most recently used. */
  use(key: string): number | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    this.#held.delete(key);
    this.#held.set(key, held);
    return held.slot;
  }

  /** Allocates a slot; returns the slots evicted for it. */
  add(key: string, bytes: number): { readonly slot: number; readonly dropped: readonly number[] } {
    const dropped: number[] = [];
    for (const [old, held] of this.#held) {
      if (this.#held.size < modulesHeldMax && this.#bytes + bytes <= moduleBytesHeldMax) break;
      this.#held.delete(old);
      this.#bytes -= held.bytes;
      dropped.push(held.slot);
    }
    const slot = this.#nextSlot;
    this.#nextSlot += 1;
    this.#held.set(key, { slot, bytes });
    this.#bytes += bytes;
    return { slot, dropped };
  }

  remove(key: string): void {
    this.#bytes -= this.#held.get(key)?.bytes ?? 0;
    this.#held.delete(key);
  }
}
