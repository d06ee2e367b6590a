/**
 * A decision while it is made and after: a `ReasoningChain` takes steps and is frozen once, a `FrozenChain` cannot
 * change any more. Source: docs/spec/trust.md §7. Pure. At most `reasoningStepsMax` steps of bounded length.
 */
import { utf8Encode } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { assert } from "../errors.ts";
import { formatFrozenChain, type FrozenChainPayload, type FrozenRequest } from "@sigil/core/record";
import { reasoningStepDetailBytesMax, reasoningStepNameBytesMax, reasoningStepsMax } from "../limits.ts";
import { freezeDeep } from "./freeze.ts";
import type { Frozen } from "./freeze.ts";

export type ChainStep = FrozenChainPayload["steps"][number];

/** What was decided. Maps are empty and numbers null when no model could answer. */
export type ChainOutcome = Omit<FrozenChainPayload, "request" | "steps">;

/** Read-only by type and frozen at run time, all the way down; byte strings are handed out as copies. */
export type FrozenChain = Frozen<FrozenChainPayload>;

/** UTF-8 takes at most three bytes for a UTF-16 unit, so most texts need no counting. */
const isShort = (text: string, bytesMax: number): boolean =>
  text.length * 3 <= bytesMax || utf8Encode(text).length <= bytesMax;

export class ReasoningChain {
  readonly #request: Frozen<FrozenRequest>;
  readonly #steps: ChainStep[] = [];
  #isFrozen = false;

  /** The request is copied here: what the caller does to its bytes later is not what was decided on. */
  constructor(request: FrozenRequest) {
    this.#request = freezeDeep(request);
  }

  /** @throws Error after `freeze`, past `reasoningStepsMax`, and for an empty name or an overlong step. */
  add(step: ChainStep): void {
    assert(!this.#isFrozen, "a frozen chain takes no more steps");
    assert(this.#steps.length < reasoningStepsMax, `a chain has at most ${reasoningStepsMax} steps`);
    const isNamed = step.name !== "" && isShort(step.name, reasoningStepNameBytesMax);
    assert(isNamed, "a step needs a short name");
    assert(isShort(step.detail, reasoningStepDetailBytesMax), "a step's detail is too long");
    this.#steps.push({ name: step.name, detail: step.detail });
  }

  /** Nothing the caller still holds leads into the frozen chain. @throws Error the second time. */
  freeze(outcome: ChainOutcome): FrozenChain {
    assert(!this.#isFrozen, "a chain is frozen once");
    this.#isFrozen = true;
    return Object.freeze({
      ...freezeDeep(outcome),
      request: this.#request,
      steps: freezeDeep<readonly ChainStep[]>(this.#steps),
    });
  }
}

/** The chain as a record's payload: frozen parts are shared, as nobody can change them, and byte strings copied. */
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

/** A decision once frozen, in the two forms its makers need. */
export type ChainRecord = { readonly chain: FrozenChainPayload; readonly payload: CborMap };

/** The reasoning of one decision, as the trust service is handed it. */
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
