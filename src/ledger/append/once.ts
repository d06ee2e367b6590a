/**
 * Runs a call at most once per idempotency key. The key's entry is written in the same batch as the call's records, or
 * alone if the call commits none: a repeat of an answered call gets the same answer, and a repeat of an unanswered one
 * gets that answer or runs.
 */
import type { CborValue } from "@sigil/core/cbor";
import { assert } from "../../errors.ts";
import type { Disclosures, RecordBody } from "@sigil/core/record";
import type { Appended, SignedUnit } from "./commit.ts";
import type { Claim, HeldClaim } from "./idempotency.ts";
import type { AppendUnit } from "./sequencer.ts";

/** Commits the records of a call together with the outcome for repeats; without records, the outcome alone. */
export type AppendOnce = (
  bodies: readonly RecordBody[],
  options: {
    /**
     * The outcome that `replay` receives. Called, with or without a key, once positions are assigned and before
     * anything is written; a `SigilFault` thrown here refuses the records.
     */
    readonly outcome: (appended: readonly Appended[]) => CborValue;
    readonly signal?: AbortSignal | undefined;
    /** By the index of the body. */
    readonly disclosures?: readonly (Disclosures | undefined)[];
  },
) => Promise<readonly Appended[]>;

/** The ledger's append, which here also accepts a unit without records. */
export type Append = (
  bodies: readonly RecordBody[],
  options: Pick<SignedUnit, "extraOps"> &
    Pick<AppendUnit, "signal"> & { readonly disclosures?: readonly (Disclosures | undefined)[] | undefined },
) => Promise<readonly Appended[]>;

/** How a call gets its answer: by running, or by replaying. */
export type Answering<Result> = {
  /** `run` must append before it resolves, which binds the key. If it throws before appending, the key stays free. */
  readonly run: (append: AppendOnce) => Promise<Result>;
  /** Rebuilds the first answer from the value that `outcome` returned. */
  readonly replay: (outcome: CborValue) => Promise<Result>;
};

/** A call without a key. */
export const appendUnkeyed =
  (append: Append): AppendOnce =>
  async (bodies, { outcome, signal, disclosures }) => {
    if (bodies.length === 0) return [];
    const extraOps = (appended: readonly Appended[]): readonly [] => {
      outcome(appended);
      return [];
    };
    return append(bodies, { signal, extraOps, disclosures });
  };

const runHeld = async <Result>(
  claim: HeldClaim,
  run: Answering<Result>["run"],
  append: Append,
): Promise<Result> => {
  let isBound = false;
  try {
    const result = await run(async (bodies, { outcome, signal, disclosures }) => {
      const extraOps = (appended: readonly Appended[]) => claim.ops(outcome(appended));
      const appended = await append(bodies, { signal, extraOps, disclosures });
      isBound = true;
      return appended;
    });
    assert(isBound, "an answered call has bound its idempotency key");
    return result;
  } finally {
    // Released after the commit, so that a call waiting for the key finds its entry.
    claim.release();
  }
};

export const answerOnce = async <Result>(
  claim: Claim,
  { run, replay }: Answering<Result>,
  append: Append,
): Promise<Result> => (claim.kind === "replay" ? replay(claim.outcome) : runHeld(claim, run, append));
