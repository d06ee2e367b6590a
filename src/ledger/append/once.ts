/**
 * Answering a call once for its idempotency key. The key's entry is written in the batch of whatever the call commits,
 * or alone in one when it commits no record: whoever was answered finds the same answer again, and whoever was not
 * finds either that answer or a free key.
 */
import type { CborValue } from "@sigil/core/cbor";
import { assert } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Appended, SignedUnit } from "./commit.ts";
import type { Claim, HeldClaim } from "./idempotency.ts";
import type { AppendUnit } from "./sequencer.ts";

/** Commits the records of a call, and with them what a repeat is answered by. No record commits the answer alone. */
export type AppendOnce = (
  bodies: readonly RecordBody[],
  options: {
    /**
     * What `replay` gets. Called, with or without a key, where the order is made and nothing is written yet: a
     * `SigilFault` that it throws refuses the records.
     */
    readonly outcome: (appended: readonly Appended[]) => CborValue;
    readonly signal?: AbortSignal | undefined;
  },
) => Promise<readonly Appended[]>;

/** The ledger's append; here it also takes a unit without a record. */
export type Append = (
  bodies: readonly RecordBody[],
  options: Pick<SignedUnit, "extraOps"> & Pick<AppendUnit, "signal">,
) => Promise<readonly Appended[]>;

/** A call's two ways to its answer. */
export type Answering<Result> = {
  /**
   * An answer binds the key: `run` appends before it resolves. What it throws leaves the key free, if nothing was
   * appended.
   */
  readonly run: (append: AppendOnce) => Promise<Result>;
  /** The first answer again, from what `outcome` gave. */
  readonly replay: (outcome: CborValue) => Promise<Result>;
};

/** A call without a key. */
export const appendUnkeyed =
  (append: Append): AppendOnce =>
  async (bodies, { outcome, signal }) => {
    if (bodies.length === 0) return [];
    const extraOps = (appended: readonly Appended[]): readonly [] => {
      outcome(appended);
      return [];
    };
    return append(bodies, { signal, extraOps });
  };

const runHeld = async <Result>(
  claim: HeldClaim,
  run: Answering<Result>["run"],
  append: Append,
): Promise<Result> => {
  let isBound = false;
  try {
    const result = await run(async (bodies, { outcome, signal }) => {
      const extraOps = (appended: readonly Appended[]) => claim.ops(outcome(appended));
      const appended = await append(bodies, { signal, extraOps });
      isBound = true;
      return appended;
    });
    assert(isBound, "an answered call has bound its idempotency key");
    return result;
  } finally {
    // After the commit: who waits for the key finds its entry.
    claim.release();
  }
};

export const answerOnce = async <Result>(
  claim: Claim,
  { run, replay }: Answering<Result>,
  append: Append,
): Promise<Result> => (claim.kind === "replay" ? replay(claim.outcome) : runHeld(claim, run, append));
