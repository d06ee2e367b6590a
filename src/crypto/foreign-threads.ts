/**
 * Verifies many foreign signatures, by every implementation, in a thread a core: one takes a millisecond or two. The
 * first few are verified in the calling thread. A thread that ends rejects, and so does all that comes later: what was
 * not verified is never taken for accepted. Callers bound how many signatures wait.
 */
import { extname } from "node:path";
import type { PublicKey, Signature } from "@sigil/core/bytes";
import { verifyForeign } from "@sigil/core/keys";
import { foreignHeapMib, foreignThreadsFrom, foreignThreadsMax } from "../limits.ts";
import { idlest, Thread, threadsFor } from "../threads.ts";
import { threadEnvironment } from "./signing/thread-environment.ts";

export type ForeignRequest = {
  readonly publicKey: PublicKey;
  readonly message: Uint8Array;
  readonly signature: Signature;
};

/** Dispose of it to end the threads. */
export type ForeignThreads = AsyncDisposable & {
  /** @throws Error if a thread has ended before it answered. */
  readonly verify: (publicKey: PublicKey, message: Uint8Array, signature: Signature) => Promise<boolean>;
};

const startThreads = (): readonly Thread<ForeignRequest, boolean>[] =>
  Array.from(
    { length: threadsFor(foreignThreadsMax) },
    (_, index) =>
      new Thread({
        name: `verifying-${index + 1}`,
        // `.ts` when run from sources, `.js` in the built package.
        program: new URL(`foreign-worker${extname(import.meta.url)}`, import.meta.url),
        env: threadEnvironment(),
        heapMib: foreignHeapMib,
      }),
  );

/** @param options.from for tests; signatures that are verified before threads are started. */
export const openForeignThreads = ({ from = foreignThreadsFrom } = {}): ForeignThreads => {
  let threads: readonly Thread<ForeignRequest, boolean>[] | undefined;
  let asked = 0;
  return {
    verify: async (publicKey, message, signature) => {
      asked += 1;
      if (asked <= from) return verifyForeign(publicKey, message, signature);
      threads ??= startThreads();
      // One that has ended is asked as well: it rejects, and with it whatever was to be verified.
      const thread = threads.find(({ isOver }) => isOver) ?? idlest(threads);
      if (thread === undefined) throw new Error("there is no thread to verify a signature");
      return thread.ask({ publicKey, message, signature });
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all((threads ?? []).map((thread) => thread.end()));
    },
  };
};
