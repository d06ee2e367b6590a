/**
 * A store that fails on purpose, for the fault tables: the n-th call of one operation throws, either before the
 * store underneath saw it or after that store had carried it out (a write that is kept although it failed).
 */
import { fail } from "../../src/errors.ts";
import type { Store } from "../../src/storage/store.ts";

export type Fault = {
  readonly operation: "commit" | "get" | "getMany" | "range" | "purge" | "snapshot";
  /** 1 is the next call. */
  readonly nth: number;
  readonly when: "before" | "after";
  /** What later calls of the same operation do. LevelDB keeps failing writes after a failed one. */
  readonly then: "works" | "fails";
};

export type FaultyStore = Store & {
  /** Replaces the plan and starts counting again; null never fails. */
  readonly plan: (fault: Fault | null) => void;
  /** Whether the planned fault has happened. */
  readonly tripped: () => boolean;
};

export const createFaultyStore = (inner: Store, first: Fault | null = null): FaultyStore => {
  let fault = first;
  let calls = 0;

  /** The moment this call fails, if it does. */
  const count = (operation: Fault["operation"]): Fault["when"] | null => {
    if (fault === null || fault.operation !== operation) return null;
    calls += 1;
    const failing = fault.then === "fails" ? calls >= fault.nth : calls === fault.nth;
    return failing ? fault.when : null;
  };
  const breakAt = (step: string): never => fail({ kind: "storeFailed", step, rule: "planned fault" });

  const around = async <T>(operation: Fault["operation"], work: () => Promise<T>): Promise<T> => {
    const when = count(operation);
    if (when === "before") breakAt(operation);
    const result = await work();
    return when === "after" ? breakAt(operation) : result;
  };

  return {
    get: (key, options) => around("get", () => inner.get(key, options)),
    getMany: (keys, options) => around("getMany", () => inner.getMany(keys, options)),
    commit: (batch) => around("commit", () => inner.commit(batch)),
    async *range(options) {
      const when = count("range");
      if (when === "before") breakAt("range");
      yield* inner.range(options);
      if (when === "after") breakAt("range");
    },
    purge: (ranges, beforeClosing) => around("purge", () => inner.purge(ranges, beforeClosing)),
    flush: () => inner.flush(),
    snapshot: () => {
      if (count("snapshot") !== null) breakAt("snapshot");
      return inner.snapshot();
    },
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
    plan: (next) => {
      fault = next;
      calls = 0;
    },
    tripped: () => fault !== null && calls >= fault.nth,
  };
};
