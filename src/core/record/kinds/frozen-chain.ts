/**
 * Payload of `frozen_chain`, version 2: one decision. What may be withheld stands in it as a commitment, and what other
 * fields say is left out. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import {
  anyTextField,
  distinct,
  exactMap,
  hashField,
  listField,
  mapOf,
  numberField,
  oneOfField,
  refuseField,
  tableField,
  textField,
  textItem,
  uintField,
} from "../fields.ts";
import { budgetsMax, contextsMax, delegationMax, rulesMax } from "../../limits.ts";
import { levelNames, type LevelName } from "../names.ts";
import { readReview, type ReviewBand } from "./review-band.ts";

export const frozenVerdicts = ["allow", "deny", "review"] as const;
export type FrozenVerdict = (typeof frozenVerdicts)[number];

/** What the budgets of a decision are after it. */
export type Budget = { readonly spent: number; readonly left: number };

/** `record` is the hash of the approval; null while it is asked for. */
export type Approval = { readonly id: string; readonly record: Hash | null };

export interface ChainRequest {
  readonly action: string;
  readonly target: string;
  /** Principal ids; "" is the anonymous guest. */
  readonly subject: string;
  readonly caller: string;
  /** The subject's level. */
  readonly loa: LevelName;
  /** A minimum level besides the model's own. */
  readonly minLoa?: LevelName;
  readonly session?: string;
  /** Commits to the SHA-256 of the raw input and its length. */
  readonly input: Hash;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Whatever is absent is unused. */
export interface ChainPayload {
  readonly request: ChainRequest;
  readonly features: Readonly<Record<string, number>>;
  readonly contributions: Readonly<Record<string, number>>;
  /** Id of the model's record, whose hash is the target of the link `model`; "" if none could be loaded. */
  readonly model: string;
  /** In logits. Absent, like `threshold`, if the evaluator gave none. */
  readonly z?: number;
  readonly threshold?: number;
  readonly review?: ReviewBand;
  readonly verdict: FrozenVerdict;
  readonly reason: string;
  readonly durationUs: number;
  /** The number of this decision among its caller's in the tenant, from 1. Absent for anonymous callers. */
  readonly callerSeq?: number;
  /** Commitments to facts that the caller named, by their paths. */
  readonly context?: Readonly<Record<string, Hash>>;
  /** Ids of the rules that fired, in the order of firing. */
  readonly rules?: readonly string[];
  /** Records that delegate, from the principal whose authority it is down to the caller. */
  readonly delegation?: readonly Hash[];
  readonly approval?: Approval;
  readonly budgets?: Readonly<Record<string, Budget>>;
}

/** What a decision's record of any version says was asked, with what was disclosed of it. */
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
  /** SHA-256 of the raw input, and its length. Null where they are committed to and not disclosed. */
  readonly inputDigest: Hash | null;
  readonly inputBytes: number | null;
  /** The raw input, only if the caller asked to keep it. */
  readonly input: Uint8Array | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a decision's record of any version says; of version 2 with what follows from its fields. */
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
  /** The number of this decision among its caller's in the tenant, from 1. Absent for anonymous callers. */
  readonly callerSeq?: number;
}

/** 1 / (1 + e^−z), for display only: no rule compares it. */
export const scoreOf = (z: number): number => 1 / (1 + Math.exp(-z));

const path = "payload";
const requestPath = "payload.request";
const chainKeys = ["request", "features", "model", "contributions", "verdict", "reason", "duration_us"];
const optionalKeys = [
  "z",
  "threshold",
  "review",
  "caller_seq",
  "context",
  "rules",
  "delegation",
  "approval",
  "budgets",
];
const requestKeys = ["action", "target", "subject", "caller", "loa", "input", "metadata"];
const requestOptionalKeys = ["session", "min_loa"];

/** A decision's reason: a stable code. */
export const reasonShape = /^[A-Z][A-Z0-9_]{0,63}$/;

export const checkReason = (reason: string): string =>
  reasonShape.test(reason) ? reason : refuseField(path, "reason", "must be an UPPER_SNAKE code");

const isPresent = (map: CborMap, name: string): boolean => map[name] !== undefined;

const hashItem = (item: CborValue, itemPath: string): Hash => hashField({ item }, itemPath, "item");

const counted = <Entry>(
  map: CborMap,
  name: string,
  most: number,
  read: (table: CborMap, tablePath: string, key: string) => Entry,
): Readonly<Record<string, Entry>> => {
  const table = tableField(map, path, name, read);
  const count = Object.keys(table).length;
  return count >= 1 && count <= most
    ? table
    : refuseField(path, name, `must have 1 to ${most} entries, or be left out`);
};

const listed = <Item>(
  map: CborMap,
  name: string,
  most: number,
  read: (item: CborValue, itemPath: string) => Item,
): readonly Item[] => {
  const items = listField(map, path, name, read, most);
  if (items.length === 0) refuseField(path, name, "must not be empty, or be left out");
  distinct(items.map(String), `${path}.${name}`, "must be distinct");
  return items;
};

const readApproval = (value: CborValue | undefined): Approval => {
  const map = exactMap(value, "payload.approval", ["id", "record"]);
  return {
    id: textField(map, "payload.approval", "id"),
    record: map["record"] === null ? null : hashField(map, "payload.approval", "record"),
  };
};

const readBudget = (table: CborMap, tablePath: string, key: string): Budget => {
  const budgetPath = `${tablePath}.${key}`;
  const map = exactMap(table[key], budgetPath, ["spent", "left"]);
  return { spent: uintField(map, budgetPath, "spent"), left: uintField(map, budgetPath, "left") };
};

/** What no server writes yet. */
const readLater = (
  map: CborMap,
): Pick<ChainPayload, "context" | "rules" | "delegation" | "approval" | "budgets"> => ({
  ...(isPresent(map, "context") ? { context: counted(map, "context", contextsMax, hashField) } : {}),
  ...(isPresent(map, "rules") ? { rules: listed(map, "rules", rulesMax, textItem) } : {}),
  ...(isPresent(map, "delegation") ? { delegation: listed(map, "delegation", delegationMax, hashItem) } : {}),
  ...(isPresent(map, "approval") ? { approval: readApproval(map["approval"]) } : {}),
  ...(isPresent(map, "budgets") ? { budgets: counted(map, "budgets", budgetsMax, readBudget) } : {}),
});

const readBand = (map: CborMap): ReviewBand | undefined => {
  if (!isPresent(map, "review")) return undefined;
  return (
    readReview(map["review"], "payload.review") ??
    refuseField(path, "review", "must be a map, or be left out")
  );
};

const checkVerdict = (verdict: FrozenVerdict, map: CborMap): FrozenVerdict =>
  verdict !== "allow" || (isPresent(map, "z") && isPresent(map, "threshold") && map["model"] !== "")
    ? verdict
    : refuseField(path, "verdict", "cannot be allow without z, threshold and model");

const readRequest = (value: CborValue | undefined): ChainRequest => {
  const map = mapOf(value, requestPath, requestKeys, requestOptionalKeys);
  return {
    action: anyTextField(map, requestPath, "action"),
    target: anyTextField(map, requestPath, "target"),
    subject: anyTextField(map, requestPath, "subject"),
    caller: anyTextField(map, requestPath, "caller"),
    loa: oneOfField(map, requestPath, "loa", levelNames),
    ...(isPresent(map, "min_loa") ? { minLoa: oneOfField(map, requestPath, "min_loa", levelNames) } : {}),
    ...(isPresent(map, "session") ? { session: textField(map, requestPath, "session") } : {}),
    input: hashField(map, requestPath, "input"),
    metadata: tableField(map, requestPath, "metadata", anyTextField),
  };
};

/** @throws malformedRecord naming the field; also for an allow without z, threshold and model. */
export const parseFrozenChain = (payload: CborValue): ChainPayload => {
  const map = mapOf(payload, path, chainKeys, optionalKeys);
  const review = readBand(map);
  return {
    request: readRequest(map["request"]),
    features: tableField(map, path, "features", numberField),
    contributions: tableField(map, path, "contributions", numberField),
    model: anyTextField(map, path, "model"),
    ...(isPresent(map, "z") ? { z: numberField(map, path, "z") } : {}),
    ...(isPresent(map, "threshold") ? { threshold: numberField(map, path, "threshold") } : {}),
    ...(review === undefined ? {} : { review }),
    verdict: checkVerdict(oneOfField(map, path, "verdict", frozenVerdicts), map),
    reason: checkReason(textField(map, path, "reason")),
    durationUs: uintField(map, path, "duration_us"),
    ...(isPresent(map, "caller_seq") ? { callerSeq: uintField(map, path, "caller_seq", 1) } : {}),
    ...readLater(map),
  };
};

/** The payload as a map; absent fields stay absent. */
export const formatFrozenChain = (chain: ChainPayload): CborMap => {
  const { request, review, approval } = chain;
  const map: Record<string, CborValue | undefined> = {
    features: chain.features,
    contributions: chain.contributions,
    model: chain.model,
    z: chain.z,
    threshold: chain.threshold,
    review: review && { low: review.low, high: review.high },
    verdict: chain.verdict,
    reason: chain.reason,
    duration_us: chain.durationUs,
    caller_seq: chain.callerSeq,
    context: chain.context,
    rules: chain.rules,
    delegation: chain.delegation,
    approval: approval && { id: approval.id, record: approval.record },
    budgets: chain.budgets && { ...chain.budgets },
  };
  return {
    request: {
      action: request.action,
      target: request.target,
      subject: request.subject,
      caller: request.caller,
      loa: request.loa,
      ...(request.minLoa === undefined ? {} : { min_loa: request.minLoa }),
      ...(request.session === undefined ? {} : { session: request.session }),
      input: request.input,
      metadata: request.metadata,
    },
    ...withoutUndefined(map),
  };
};

const withoutUndefined = (map: Readonly<Record<string, CborValue | undefined>>): CborMap => {
  const kept: Record<string, CborValue> = {};
  for (const key of Object.keys(map)) {
    const value = map[key];
    if (value !== undefined) kept[key] = value;
  }
  return kept;
};
