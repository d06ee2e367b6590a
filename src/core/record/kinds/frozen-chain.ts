/** Payload of `frozen_chain`: one decision and all its inputs. Pure. Source: docs/spec/record.md §6. */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import type { CborWriter } from "../../cbor/encode.ts";
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

const checkReason = (reason: string): string =>
  reasonShape.test(reason) ? reason : refuseField("payload", "reason", "must be an UPPER_SNAKE code");

const checkVerdict = (verdict: FrozenVerdict, grounds: readonly (CborValue | undefined)[]): FrozenVerdict =>
  verdict !== "allow" || !grounds.includes(null)
    ? verdict
    : refuseField("payload", "verdict", "cannot be allow without z, score, threshold and model");

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
  checkReason(chain.reason);
  checkVerdict(chain.verdict, [chain.z, chain.score, chain.threshold, chain.model.hash]);
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

const writeTable = (
  writer: CborWriter,
  map: CborMap,
  path: string,
  name: string,
  check: (table: CborMap, tablePath: string, key: string) => CborValue,
): void => {
  const tablePath = `${path}.${name}`;
  const table = anyMap(map[name], tablePath);
  for (const key of Object.keys(table)) check(table, tablePath, key);
  writer.entry(name, table);
};

/** As `hashField`, without the copy. */
const hashBytes = (map: CborMap, path: string, name: string): Uint8Array => {
  const bytes = bytesField(map, path, name);
  return bytes.length === 32 ? bytes : refuseField(path, name, "must be 32 bytes");
};

const writeRequest = (writer: CborWriter, value: CborValue | undefined): void => {
  const path = requestPath;
  const { map, hasFloor } = requestMap(value);
  const { input, inputBytes } = inputOf(map);
  writer.beginMap(map, hasFloor ? flooredRequestKeys.length : requestKeys.length);
  writer.entry("loa", oneOfField(map, path, "loa", levelNames));
  writer.entry("input", input);
  writer.entry("action", anyTextField(map, path, "action"));
  writer.entry("caller", anyTextField(map, path, "caller"));
  writer.entry("target", anyTextField(map, path, "target"));
  writer.entry("tenant", textField(map, path, "tenant"));
  if (hasFloor) writer.entry("min_loa", oneOfField(map, path, "min_loa", levelNames));
  writer.entry("session", anyTextField(map, path, "session"));
  writer.entry("subject", anyTextField(map, path, "subject"));
  writeTable(writer, map, path, "metadata", anyTextField);
  writer.entry("input_bytes", inputBytes);
  writer.entry("input_digest", hashBytes(map, path, "input_digest"));
  writer.endMap();
};

const writeModel = (writer: CborWriter, value: CborValue | undefined): Uint8Array | null => {
  const path = "payload.model";
  const map = exactMap(value, path, modelKeys);
  const hash = map["hash"] === null ? null : hashBytes(map, path, "hash");
  writer.beginMap(map, modelKeys.length);
  writer.entry("id", anyTextField(map, path, "id"));
  writer.entry("hash", hash);
  writer.endMap();
  return hash;
};

const writeSteps = (writer: CborWriter, map: CborMap): void => {
  const steps = listField(map, "payload", "steps", (item, path) => ({
    map: exactMap(item, path, stepKeys),
    path,
  }));
  writer.key("steps");
  writer.beginArray(steps.length);
  for (const [index, step] of steps.entries()) {
    writer.item(index);
    writer.beginMap(step.map, stepKeys.length);
    writer.entry("name", textField(step.map, step.path, "name"));
    writer.entry("detail", anyTextField(step.map, step.path, "detail"));
    writer.endMap();
  }
  writer.endArray();
};

/**
 * Checks as `parseFrozenChain` and encodes as `cborEncode`, in one pass with the keys in canonical order: most records
 * are decisions. @throws malformedRecord, unencodableValue.
 */
export const writeFrozenChain = (writer: CborWriter, payload: CborValue): void => {
  const path = "payload";
  const map = exactMap(payload, path, chainKeys);
  const z = numberOrNullField(map, path, "z");
  const score = numberOrNullField(map, path, "score");
  const threshold = numberOrNullField(map, path, "threshold");
  const verdict = oneOfField(map, path, "verdict", frozenVerdicts);
  writer.beginMap(map, chainKeys.length);
  writer.entry("z", z);
  writer.key("model");
  const hash = writeModel(writer, map["model"]);
  writer.entry("score", score);
  writeSteps(writer, map);
  writer.entry("reason", checkReason(textField(map, path, "reason")));
  readReview(map["review"], "payload.review");
  writer.entry("review", map["review"] ?? null);
  writer.key("request");
  writeRequest(writer, map["request"]);
  writer.entry("verdict", verdict);
  writeTable(writer, map, path, "features", numberField);
  writer.entry("threshold", threshold);
  writer.entry("duration_us", uintField(map, path, "duration_us"));
  writeTable(writer, map, path, "contributions", numberField);
  writer.endMap();
  checkVerdict(verdict, [z, score, threshold, hash]);
};
