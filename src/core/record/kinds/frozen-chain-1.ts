/**
 * Payload of `frozen_chain`, version 1, which is read and no longer written. Pure. Source: docs/spec/record.md §6.
 */
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
import { levelNames } from "../names.ts";
import {
  checkReason,
  frozenVerdicts,
  type FrozenChainPayload,
  type FrozenRequest,
  type FrozenVerdict,
} from "./frozen-chain.ts";
import { readReview } from "./review-band.ts";

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

const flooredRequestKeys = [...requestKeys, "min_loa"];

const requestPath = "payload.request";

/** A map with exactly the keys of a request. */
const requestMap = (value: CborValue | undefined): { readonly map: CborMap; readonly hasFloor: boolean } => {
  const hasFloor = anyMap(value, requestPath)["min_loa"] !== undefined;
  return { map: exactMap(value, requestPath, hasFloor ? flooredRequestKeys : requestKeys), hasFloor };
};

/** The raw input, not copied, and its length in bytes. */
const inputOf = (map: CborMap): { readonly input: Uint8Array | null; readonly inputBytes: number } => {
  const inputBytes = uintField(map, requestPath, "input_bytes");
  const input = map["input"] === null ? null : bytesField(map, requestPath, "input");
  if (input !== null && input.length !== inputBytes) {
    refuseField(requestPath, "input_bytes", "must be the length of input");
  }
  return { input, inputBytes };
};

const readRequest = (value: CborValue | undefined): FrozenRequest => {
  const path = requestPath;
  const { map, hasFloor } = requestMap(value);
  const { input, inputBytes } = inputOf(map);
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
    input: input === null ? null : Uint8Array.from(input),
    metadata: tableField(map, path, "metadata", anyTextField),
  };
};

const readStep = (item: CborValue, path: string): { readonly name: string; readonly detail: string } => {
  const map = exactMap(item, path, stepKeys);
  return { name: textField(map, path, "name"), detail: anyTextField(map, path, "detail") };
};

const checkVerdict = (verdict: FrozenVerdict, grounds: readonly (CborValue | undefined)[]): FrozenVerdict =>
  verdict !== "allow" || !grounds.includes(null)
    ? verdict
    : refuseField("payload", "verdict", "cannot be allow without z, score, threshold and model");

/** @throws malformedRecord naming the field; also for an allow without score, threshold and model. */
export const parseFrozenChain1 = (payload: CborValue): FrozenChainPayload => {
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
  checkReason(chain.reason);
  checkVerdict(chain.verdict, [chain.z, chain.score, chain.threshold, chain.model.hash]);
  return chain;
};
