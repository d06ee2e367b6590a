/**
 * Makes one decision: features, the model's answer and its reasoning, frozen into a record's body. Any failure is
 * recorded as a deny.
 */
import type { Hash } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import type { CborMap } from "@sigil/core/cbor";
import { gatherFeatures, type Features } from "@sigil/core/model";
import {
  modelLabel,
  saltBytes,
  type Disclosures,
  type FrozenChainPayload,
  type FrozenRequest,
  type RecordBody,
} from "@sigil/core/record";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { LoadedModel } from "./active-model.ts";
import { createDecisionIds } from "./decision-id.ts";
import type { CheckQuestion } from "./decision.ts";
import { runEvaluator, type Evaluate, type Evaluated } from "./evaluator.ts";
import { describeOutcome } from "./outcome.ts";
import type { Subject } from "./subject.ts";

/** Builds and freezes the reasoning of one decision; implemented by audit. */
export type OpenChain = (
  request: FrozenRequest & { readonly inputDigest: Hash; readonly inputBytes: number },
) => {
  /** @returns the frozen decision, and the same as its record's payload with what opens its commitments. */
  readonly freeze: (
    outcome: Omit<FrozenChainPayload, "request" | "steps" | "callerSeq">,
    salt: Uint8Array,
  ) => {
    readonly chain: FrozenChainPayload;
    readonly payload: CborMap;
    readonly disclosures: Disclosures;
  };
};

/** A frozen decision that is not yet committed. */
export type Frozen = {
  readonly body: RecordBody;
  readonly disclosures: Disclosures;
  readonly chain: FrozenChainPayload;
  readonly model: LoadedModel | undefined;
};

export type FreezeDependencies = {
  readonly openChain: OpenChain;
  readonly evaluate: Evaluate;
  /** Monotonic clock, for durations. */
  readonly nowUs: () => number;
  readonly randomBytes: (bytes: number) => Uint8Array;
};

export type FreezeQuestion = {
  readonly caller: Caller;
  readonly question: CheckQuestion;
  readonly call: CallContext;
  readonly subject: Subject;
  readonly timeMs: number;
  readonly model: LoadedModel | undefined;
  readonly rateCount: number;
};

/** Synchronous if the evaluator is. */
export type Freeze = (asked: FreezeQuestion) => Frozen | Promise<Frozen>;

const emptyDigest = sha256(new Uint8Array(0));

export const createFreeze = (deps: FreezeDependencies): Freeze => {
  const nextId = createDecisionIds(deps.randomBytes);
  return (asked) => {
    const { caller, question, call, subject, timeMs, model } = asked;
    const { nowUs, openChain, evaluate } = deps;
    const startUs = nowUs();
    const chain = openChain({
      action: question.action,
      target: question.target,
      subject: subject.id,
      caller: caller.principal,
      tenant: caller.tenant,
      loa: subject.level,
      ...(question.minLevel === undefined ? {} : { minLoa: question.minLevel }),
      session: question.session,
      inputDigest: question.input.length === 0 ? emptyDigest : sha256(question.input),
      inputBytes: question.input.length,
      input: question.keepInput ? question.input : null,
      metadata: question.metadata === undefined ? call.metadata : { ...call.metadata, ...question.metadata },
    });
    const end = (evaluated: Evaluated, features?: Features): Frozen => {
      const outcome = describeOutcome(evaluated, model, features);
      const durationUs = Math.max(0, Math.round(nowUs() - startUs));
      const frozen = chain.freeze({ ...outcome, durationUs }, deps.randomBytes(saltBytes));
      const body: RecordBody = {
        kind: "frozen_chain",
        schemaVersion: 2,
        id: nextId(timeMs),
        tenant: caller.tenant,
        ts: timeMs,
        space: "user",
        payload: frozen.payload,
        links: [
          ...(model === undefined ? [] : [{ label: modelLabel, target: model.hash }]),
          ...subject.links,
        ],
        prev: null,
      };
      return { body, disclosures: frozen.disclosures, chain: frozen.chain, model };
    };
    if (model === undefined) return end({ kind: "fault", reason: "MODEL_MISSING" });
    const observation = {
      action: question.action,
      target: question.target,
      level: subject.level,
      rateCount: asked.rateCount,
      input: question.input.length === 0 ? null : question.input,
      minLevel: question.minLevel,
    };
    const features = gatherFeatures(model.compiled, observation);
    const answer = runEvaluator(evaluate, model.compiled, features, call);
    return answer instanceof Promise
      ? answer.then((evaluated) => end(evaluated, features))
      : end(answer, features);
  };
};
