/**
 * A decision's reasoning: a `ReasoningChain` is frozen once, into an immutable `FrozenChain` and the payload of its
 * record. Source: docs/spec/trust.md §7. Pure.
 */
import type { Hash } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { assert } from "../errors.ts";
import {
  commitTo,
  digestValue,
  formatFrozenChain,
  type Disclosures,
  type FrozenChainPayload,
  type FrozenRequest,
  reasoningSteps,
} from "@sigil/core/record";
import { FrozenBytes, freezeTable, type Frozen } from "./freeze.ts";

/** What was asked, with the input's digest and length. */
export type ChainRequest = FrozenRequest & { readonly inputDigest: Hash; readonly inputBytes: number };

/** The decision. Maps are empty and numbers null if no model could answer. */
export type ChainOutcome = Omit<FrozenChainPayload, "request" | "steps" | "callerSeq">;

/** Read-only by type and deeply frozen at run time; byte strings are returned as copies. */
export type FrozenChain = Frozen<ChainOutcome> & { readonly request: Frozen<ChainRequest> };

/** @returns a frozen copy that shares nothing with the request. */
const freezeRequest = (request: ChainRequest): Frozen<ChainRequest> =>
  Object.freeze({
    ...request,
    inputDigest: new FrozenBytes(request.inputDigest),
    input: request.input === null ? null : new FrozenBytes(request.input),
    metadata: freezeTable(request.metadata),
  });

/** The same for the outcome. */
const freezeOutcome = (outcome: ChainOutcome): Frozen<ChainOutcome> => {
  const { features, model, contributions, review } = outcome;
  return {
    ...outcome,
    features: freezeTable(features),
    model: Object.freeze({ id: model.id, hash: model.hash === null ? null : new FrozenBytes(model.hash) }),
    contributions: freezeTable(contributions),
    review: review === null ? null : Object.freeze({ low: review.low, high: review.high }),
  };
};

export class ReasoningChain {
  readonly #request: Frozen<ChainRequest>;
  #isFrozen = false;

  /** Copies the request, so that later changes to its bytes have no effect. */
  constructor(request: ChainRequest) {
    this.#request = freezeRequest(request);
  }

  /** Shares nothing with the caller's objects. @throws Error the second time. */
  freeze(outcome: ChainOutcome): FrozenChain {
    assert(!this.#isFrozen, "a chain is frozen once");
    this.#isFrozen = true;
    return Object.freeze({ ...freezeOutcome(outcome), request: this.#request });
  }
}

/** The chain as it reads from its record with everything disclosed; byte strings are copies. */
const recordedChain = (frozen: FrozenChain): FrozenChainPayload => {
  const { request, model } = frozen;
  const input = request.input === null ? null : request.input.copy();
  return {
    ...frozen,
    request: { ...request, inputDigest: request.inputDigest.copy(), input },
    model: { id: model.id, hash: model.hash === null ? null : model.hash.copy() },
    steps: reasoningSteps({ loa: request.loa, verdict: frozen.verdict, reason: frozen.reason }),
  };
};

/** A frozen decision: as it reads, its record's payload, and what opens the payload's commitments. */
export type ChainRecord = {
  readonly chain: FrozenChainPayload;
  readonly payload: CborMap;
  readonly disclosures: Disclosures;
};

/** @param salt 32 random bytes. */
export const recordChain = (frozen: FrozenChain, salt: Uint8Array): ChainRecord => {
  const chain = recordedChain(frozen);
  const { request, z, threshold, review } = frozen;
  const digest = request.inputDigest.copy();
  const raw = chain.request.input;
  const opening = {
    salt,
    value: digestValue({ digest, bytes: request.inputBytes }),
    ...(raw === null ? {} : { raw }),
  };
  const payload = formatFrozenChain({
    request: {
      action: request.action,
      target: request.target,
      subject: request.subject,
      caller: request.caller,
      loa: request.loa,
      ...(request.minLoa === undefined ? {} : { minLoa: request.minLoa }),
      ...(request.session === "" ? {} : { session: request.session }),
      input: commitTo("input", opening),
      metadata: request.metadata,
    },
    features: frozen.features,
    contributions: frozen.contributions,
    model: frozen.model.id,
    ...(z === null ? {} : { z }),
    ...(threshold === null ? {} : { threshold }),
    ...(review === null ? {} : { review }),
    verdict: frozen.verdict,
    reason: frozen.reason,
    durationUs: frozen.durationUs,
  });
  return { chain, payload, disclosures: { input: opening } };
};

/** Starts the reasoning of one decision; passed to the trust service. */
export const openChain = (request: ChainRequest) => {
  const reasoning = new ReasoningChain(request);
  return {
    freeze: (outcome: ChainOutcome, salt: Uint8Array): ChainRecord =>
      recordChain(reasoning.freeze(outcome), salt),
  };
};
