/** Payload of `frozen_chain`: one decision and all its inputs. Pure. Source: docs/spec/record.md §6. */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyMap,
  anyTextField,
  bytesField,
  exactMap,
  hashField,
  hashOrNullField,
  listField,
  numberField,
  numberOrNullField,
  oneOfField,
  refuseField,
  tableField,
  textField,
  uintField,
} from "../fields.ts";
import { levelNames, type LevelName } from "../names.ts";
import { readReview, type ReviewBand } from "./review-band.ts";

export const frozenVerdicts = ["allow", "deny", "review"] as const;
export type FrozenVerdict = (typeof frozenVerdicts)[number];

export interface FrozenRequest {
  readonly action: string;
  readonly target: string;
  /** Principal ids; "" is the anonymous guest. */
  readonly subject: string;
  readonly caller: string;
  readonly tenant: string;
  /** The subject's level. */
  readonly loa: LevelName;
  /** A minimum level besides the model's own. Absent if none. */
  readonly minLoa?: LevelName;
  /** "" if the caller named none. */
  readonly session: string;
  readonly inputDigest: Hash;
  readonly inputBytes: number;
  /** The raw input, only if the caller asked to keep it. */
  readonly input: Uint8Array | null;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface FrozenChainPayload {
  readonly request: FrozenRequest;
  readonly features: Readonly<Record<string, number>>;
  /** `hash` is null if no model could be loaded. */
  readonly model: { readonly id: string; readonly hash: Hash | null };
  readonly contributions: Readonly<Record<string, number>>;
  /** In logits. Null, like `score` and `threshold`, if the evaluator gave none. */
  readonly z: number | null;
  readonly score: number | null;
  readonly threshold: number | null;
  readonly review: ReviewBand | null;
  readonly verdict: FrozenVerdict;
  readonly reason: string;
  readonly steps: readonly { readonly name: string; readonly detail: string }[];
  readonly durationUs: number;
}

const chainKeys = [
  "request",
  "features",
  "model",
  "contributions",
  "z",
  "score",
  "threshold",
  "review",
  "verdict",
  "reason",
  "steps",
  "duration_us",
];
const requestKeys = [
  "action",
  "target",
  "subject",
  "caller",
  "tenant",
  "loa",
  "session",
  "input_digest",
  "input_bytes",
  "input",
  "metadata",
];
const modelKeys = ["id", "hash"];
const stepKeys = ["name", "detail"];

/** A decision's reason: a stable code. */
export const reasonShape = /^[A-Z][A-Z0-9_]{0,63}$/;

const flooredRequestKeys = [...requestKeys, "min_loa"];

const readRequest = (value: CborValue | undefined): FrozenRequest => {
  const path = "payload.request";
  const hasFloor = anyMap(value, path)["min_loa"] !== undefined;
  const map = exactMap(value, path, hasFloor ? flooredRequestKeys : requestKeys);
  const inputBytes = uintField(map, path, "input_bytes");
  const input = map["input"] === null ? null : Uint8Array.from(bytesField(map, path, "input"));
  if (input !== null && input.length !== inputBytes) {
    refuseField(path, "input_bytes", "must be the length of input");
  }
  return {
    action: anyTextField(map, path, "action"),
    target: anyTextField(map, path, "target"),
    subject: anyTextField(map, path, "subject"),
    caller: anyTextField(map, path, "caller"),
    tenant: textField(map, path, "tenant"),
    loa: oneOfField(map, path, "loa", levelNames),
    ...(hasFloor ? { minLoa: oneOfField(map, path, "min_loa", levelNames) } : {}),
    session: anyTextField(map, path, "session"),
    inputDigest: hashField(map, path, "input_digest"),
    inputBytes,
    input,
    metadata: tableField(map, path, "metadata", anyTextField),
  };
};

const readStep = (item: CborValue, path: string): { readonly name: string; readonly detail: string } => {
  const map = exactMap(item, path, stepKeys);
  return { name: textField(map, path, "name"), detail: anyTextField(map, path, "detail") };
};

/** @throws malformedRecord naming the field; also for an allow without score, threshold and model. */
export const parseFrozenChain = (payload: CborValue): FrozenChainPayload => {
  const path = "payload";
  const map = exactMap(payload, path, chainKeys);
  const modelPath = "payload.model";
  const model = exactMap(map["model"], modelPath, modelKeys);
  const chain: FrozenChainPayload = {
    request: readRequest(map["request"]),
    features: tableField(map, path, "features", numberField),
    model: { id: anyTextField(model, modelPath, "id"), hash: hashOrNullField(model, modelPath, "hash") },
    contributions: tableField(map, path, "contributions", numberField),
    z: numberOrNullField(map, path, "z"),
    score: numberOrNullField(map, path, "score"),
    threshold: numberOrNullField(map, path, "threshold"),
    review: readReview(map["review"], "payload.review"),
    verdict: oneOfField(map, path, "verdict", frozenVerdicts),
    reason: textField(map, path, "reason"),
    steps: listField(map, path, "steps", readStep),
    durationUs: uintField(map, path, "duration_us"),
  };
  if (!reasonShape.test(chain.reason)) refuseField(path, "reason", "must be an UPPER_SNAKE code");
  if (
    chain.verdict === "allow" &&
    (chain.z === null || chain.score === null || chain.threshold === null || chain.model.hash === null)
  ) {
    refuseField(path, "verdict", "cannot be allow without z, score, threshold and model");
  }
  return chain;
};

export const formatFrozenChain = (chain: FrozenChainPayload): CborMap => {
  const { request } = chain;
  return {
    request: {
      action: request.action,
      target: request.target,
      subject: request.subject,
      caller: request.caller,
      tenant: request.tenant,
      loa: request.loa,
      ...(request.minLoa === undefined ? {} : { min_loa: request.minLoa }),
      session: request.session,
      input_digest: request.inputDigest,
      input_bytes: request.inputBytes,
      input: request.input,
      metadata: request.metadata,
    },
    features: chain.features,
    model: { id: chain.model.id, hash: chain.model.hash },
    contributions: chain.contributions,
    z: chain.z,
    score: chain.score,
    threshold: chain.threshold,
    review: chain.review === null ? null : { low: chain.review.low, high: chain.review.high },
    verdict: chain.verdict,
    reason: chain.reason,
    steps: chain.steps.map(({ name, detail }) => ({ name, detail })),
    duration_us: chain.durationUs,
  };
};
