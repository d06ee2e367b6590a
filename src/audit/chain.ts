/**
 * A decision's reasoning: a `ReasoningChain` takes steps and is frozen once into an immutable `FrozenChain`. Source:
 * docs/spec/trust.md §7. Pure. At most `reasoningStepsMax` steps of bounded length.
 */
import { utf8Encode } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { assert } from "../errors.ts";
import { formatFrozenChain, type FrozenChainPayload, type FrozenRequest } from "@sigil/core/record";
import { reasoningStepDetailBytesMax, reasoningStepNameBytesMax, reasoningStepsMax } from "../limits.ts";
import { FrozenBytes, freezeTable, type Frozen } from "./freeze.ts";

export type ChainStep = FrozenChainPayload["steps"][number];

/** The decision. Maps are empty and numbers null if no model could answer. */
export type ChainOutcome = Omit<FrozenChainPayload, "request" | "steps">;

/** Read-only by type and deeply frozen at run time; byte strings are returned as copies. */
export type FrozenChain = Frozen<FrozenChainPayload>;

/** UTF-8 takes at most three bytes per UTF-16 unit, so most texts need no encoding. */
const isShort = (text: string, bytesMax: number): boolean =>
  text.length * 3 <= bytesMax || utf8Encode(text).length <= bytesMax;

/** @returns a frozen copy that shares nothing with the request. */
const freezeRequest = (request: FrozenRequest): Frozen<FrozenRequest> =>
  Object.freeze({
    ...request,
    inputDigest: new FrozenBytes(request.inputDigest),
    input: request.input === null ? null : new FrozenBytes(request.input),
    metadata: freezeTable(request.metadata),
  });

/** The same for the outcome. */
const freezeOutcome = (outcome: ChainOutcome): Omit<FrozenChain, "request" | "steps"> => {
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
  readonly #request: Frozen<FrozenRequest>;
  readonly #steps: ChainStep[] = [];
  #isFrozen = false;

  /** Copies the request, so that later changes to its bytes have no effect. */
  constructor(request: FrozenRequest) {
    this.#request = freezeRequest(request);
  }

  /** @throws Error after `freeze`, past `reasoningStepsMax`, and for an empty name or an overlong step. */
  add(step: ChainStep): void {
    assert(!this.#isFrozen, "a frozen chain takes no more steps");
    assert(this.#steps.length < reasoningStepsMax, `a chain has at most ${reasoningStepsMax} steps`);
    const isNamed = step.name !== "" && isShort(step.name, reasoningStepNameBytesMax);
    assert(isNamed, "a step needs a short name");
    assert(isShort(step.detail, reasoningStepDetailBytesMax), "a step's detail is too long");
    this.#steps.push(Object.freeze({ name: step.name, detail: step.detail }));
  }

  /** Shares nothing with the caller's objects. @throws Error the second time. */
  freeze(outcome: ChainOutcome): FrozenChain {
    assert(!this.#isFrozen, "a chain is frozen once");
    this.#isFrozen = true;
    return Object.freeze({
      ...freezeOutcome(outcome),
      request: this.#request,
      // Private until now, and nothing is added after this.
      steps: Object.freeze(this.#steps),
    });
  }
}

/** The chain as a record's payload: frozen parts are shared, byte strings copied. */
const payloadOf = (frozen: FrozenChain): FrozenChainPayload => {
  const { request, model } = frozen;
  return {
    ...frozen,
    request: {
      ...request,
      inputDigest: request.inputDigest.copy(),
      input: request.input === null ? null : request.input.copy(),
    },
    model: { id: model.id, hash: model.hash === null ? null : model.hash.copy() },
  };
};

/** The chain as the canonical map of its record. */
export const formatChain = (chain: FrozenChain): CborMap => formatFrozenChain(payloadOf(chain));

/** A frozen decision, as a typed chain and as a record's payload. */
export type ChainRecord = { readonly chain: FrozenChainPayload; readonly payload: CborMap };

/** Starts the reasoning of one decision; passed to the trust service. */
export const openChain = (request: FrozenRequest) => {
  const reasoning = new ReasoningChain(request);
  return {
    add: (step: ChainStep): void => reasoning.add(step),
    freeze: (outcome: ChainOutcome): ChainRecord => {
      const chain = payloadOf(reasoning.freeze(outcome));
      return { chain, payload: formatFrozenChain(chain) };
    },
  };
};
