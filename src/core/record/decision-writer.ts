/**
 * Writes the body of a decision's record, version 2, as a server makes them: keys and other fixed parts stand encoded,
 * and what is checked is written in the same step. Most records are decisions. It takes nothing that the schema or the
 * encoder of any value refuses, and leaves what is rare to them, as well as every refusal. Pure. Source:
 * docs/spec/record.md §2 and §6. Tables of at most 24 entries.
 */
import { concatBytes } from "../bytes.ts";
import { cborEncode, type CborMap, type CborValue } from "../cbor/cbor.ts";
import { encodeWith, sortKeys, type CborWriter } from "../cbor/encode.ts";
import { majorArray, majorMap } from "../cbor/major.ts";
import { linksMax } from "../limits.ts";
import { frozenVerdicts, reasonShape } from "./kinds/frozen-chain.ts";
import { levelNames, recordIdFault, tenantFault } from "./names.ts";

type Body = {
  readonly kind: string;
  readonly schemaVersion: number;
  readonly id: string;
  readonly tenant: string;
  readonly ts: number;
  readonly space: string;
  readonly payload: CborValue;
  readonly links: readonly { readonly label: string; readonly target: Uint8Array }[];
  readonly prev: Uint8Array | null;
};

const tableEntriesMax = 24;
/** UTF-8 takes at most three bytes for a UTF-16 unit: such a label is within its limit. */
const labelUnitsMax = 85;

/** Values one after the other, each with its head. */
const pieces = (...values: readonly CborValue[]): Uint8Array => concatBytes(...values.map(cborEncode));

const beforeId = concatBytes(Uint8Array.of((majorMap << 5) | 9), pieces("id"));
const beforeTs = pieces("ts");
const beforeLinks = pieces("kind", "frozen_chain", "prev", null, "links");
const beforeLabel = concatBytes(Uint8Array.of((majorMap << 5) | 2), pieces("label"));
const beforeTarget = pieces("target");
const beforeTenant = pieces("space", "user", "tenant");
const beforePayload = pieces("payload");
const afterPayload = pieces("schema_version", 2);

const beforeZ = pieces("z");
const beforeModel = pieces("model");
const beforeReason = pieces("reason");
const beforeLow = concatBytes(pieces("review"), Uint8Array.of((majorMap << 5) | 2), pieces("low"));
const beforeHigh = pieces("high");
const beforeRequest = pieces("request");
const beforeVerdict = pieces("verdict");
const beforeFeatures = pieces("features");
const beforeThreshold = pieces("threshold");
const beforeCallerSeq = pieces("caller_seq");
const beforeDuration = pieces("duration_us");
const beforeContributions = pieces("contributions");

const beforeLoa = pieces("loa");
const beforeInput = pieces("input");
const beforeAction = pieces("action");
const beforeCaller = pieces("caller");
const beforeTarget2 = pieces("target");
const beforeMinLoa = pieces("min_loa");
const beforeSession = pieces("session");
const beforeSubject = pieces("subject");
const beforeMetadata = pieces("metadata");

/** Keys of a decision's payload and its request that are always there. */
const payloadKeys = 7;
const requestKeys = 7;

/** Thrown away with what was written. */
class Irregular extends Error {}
const irregular = new Irregular("left to the schema and the encoder of any value");

const requires: (isRegular: boolean) => asserts isRegular = (isRegular) => {
  if (!isRegular) throw irregular;
};

const isOneOf = (names: readonly string[], value: unknown): value is string => {
  for (const name of names) if (name === value) return true;
  return false;
};

const textOf = (value: CborValue | undefined): string => {
  requires(typeof value === "string");
  return value;
};

const numberOf = (value: CborValue | undefined): number => {
  requires(typeof value === "number" && Number.isFinite(value));
  return value;
};

const uintOf = (value: CborValue | undefined, min: number): number => {
  requires(typeof value === "number" && Number.isSafeInteger(value) && value >= min);
  return value;
};

const bytes32Of = (value: CborValue | undefined): Uint8Array => {
  requires(value instanceof Uint8Array && value.length === 32);
  return value;
};

/** A plain object. */
const mapOf = (value: CborValue | undefined): CborMap => {
  requires(typeof value === "object" && value !== null);
  const prototype: unknown = Object.getPrototypeOf(value);
  requires(prototype === null || prototype === Object.prototype);
  return value as CborMap;
};

/** The keys of the tables that came last, in canonical order and encoded: nearly all have the same. */
class TableKeys {
  #given: readonly string[] = [];
  #sorted: readonly string[] = [];
  #encoded: readonly Uint8Array[] = [];

  write(writer: CborWriter, table: CborMap, check: (value: CborValue | undefined) => CborValue): void {
    const names = Object.keys(table);
    if (!this.#isKnown(names)) this.#take(names);
    writer.head(majorMap, names.length);
    const [sorted, encoded] = [this.#sorted, this.#encoded];
    for (let index = 0; index < sorted.length; index += 1) {
      writer.raw(encoded[index] as Uint8Array);
      writer.value(check(table[sorted[index] as string]));
    }
  }

  #isKnown(names: readonly string[]): boolean {
    const given = this.#given;
    if (names.length !== given.length) return false;
    for (let index = 0; index < names.length; index += 1) if (names[index] !== given[index]) return false;
    return true;
  }

  #take(names: readonly string[]): void {
    requires(names.length <= tableEntriesMax);
    const sorted = sortKeys([...names]);
    this.#encoded = sorted.map((name) => cborEncode(name));
    this.#sorted = sorted;
    this.#given = names;
  }
}

const featureKeys = new TableKeys();
const contributionKeys = new TableKeys();
const metadataKeys = new TableKeys();

const writeLinks = (writer: CborWriter, links: Body["links"]): void => {
  requires(links.length <= linksMax);
  writer.head(majorArray, links.length);
  for (const { label, target } of links) {
    requires(typeof label === "string" && label !== "" && label.length <= labelUnitsMax);
    writer.raw(beforeLabel);
    writer.text(label);
    writer.raw(beforeTarget);
    writer.bytes(bytes32Of(target));
  }
};

const writeRequest = (writer: CborWriter, request: CborMap): void => {
  const { min_loa: minLoa, session, loa } = request;
  const entries = requestKeys + (minLoa === undefined ? 0 : 1) + (session === undefined ? 0 : 1);
  requires(Object.keys(request).length === entries && isOneOf(levelNames, loa));
  writer.head(majorMap, entries);
  writer.raw(beforeLoa);
  writer.text(loa);
  writer.raw(beforeInput);
  writer.bytes(bytes32Of(request["input"]));
  writer.raw(beforeAction);
  writer.text(textOf(request["action"]));
  writer.raw(beforeCaller);
  writer.text(textOf(request["caller"]));
  writer.raw(beforeTarget2);
  writer.text(textOf(request["target"]));
  if (minLoa !== undefined) {
    requires(isOneOf(levelNames, minLoa));
    writer.raw(beforeMinLoa);
    writer.text(minLoa);
  }
  if (session !== undefined) {
    requires(session !== "");
    writer.raw(beforeSession);
    writer.text(textOf(session));
  }
  writer.raw(beforeSubject);
  writer.text(textOf(request["subject"]));
  writer.raw(beforeMetadata);
  metadataKeys.write(writer, mapOf(request["metadata"]), textOf);
};

const writeReview = (writer: CborWriter, review: CborMap): void => {
  const low = numberOf(review["low"]);
  const high = numberOf(review["high"]);
  requires(low >= 0 && low <= high && high <= 1 && Object.keys(review).length === 2);
  writer.raw(beforeLow);
  writer.value(low);
  writer.raw(beforeHigh);
  writer.value(high);
};

const writePayload = (writer: CborWriter, payload: CborMap): void => {
  const { z, threshold, review, caller_seq: callerSeq, model, reason, verdict } = payload;
  const hasZ = z !== undefined;
  const hasThreshold = threshold !== undefined;
  const optional =
    (hasZ ? 1 : 0) +
    (hasThreshold ? 1 : 0) +
    (review === undefined ? 0 : 1) +
    (callerSeq === undefined ? 0 : 1);
  // A key that is none of these makes one too many, or takes the place of one that is missed below.
  requires(Object.keys(payload).length === payloadKeys + optional);
  requires(isOneOf(frozenVerdicts, verdict) && reasonShape.test(textOf(reason)));
  requires(verdict !== "allow" || (hasZ && hasThreshold && model !== ""));
  writer.head(majorMap, payloadKeys + optional);
  if (hasZ) {
    writer.raw(beforeZ);
    writer.value(numberOf(z));
  }
  writer.raw(beforeModel);
  writer.text(textOf(model));
  writer.raw(beforeReason);
  writer.text(textOf(reason));
  if (review !== undefined) writeReview(writer, mapOf(review));
  writer.raw(beforeRequest);
  writeRequest(writer, mapOf(payload["request"]));
  writer.raw(beforeVerdict);
  writer.text(verdict);
  writer.raw(beforeFeatures);
  featureKeys.write(writer, mapOf(payload["features"]), numberOf);
  if (hasThreshold) {
    writer.raw(beforeThreshold);
    writer.value(numberOf(threshold));
  }
  if (callerSeq !== undefined) {
    writer.raw(beforeCallerSeq);
    writer.value(uintOf(callerSeq, 1));
  }
  writer.raw(beforeDuration);
  writer.value(uintOf(payload["duration_us"], 0));
  writer.raw(beforeContributions);
  contributionKeys.write(writer, mapOf(payload["contributions"]), numberOf);
};

const writeBody = (writer: CborWriter, { id, tenant, ts, payload, links }: Body): void => {
  requires(typeof id === "string" && recordIdFault(id) === null);
  requires(typeof tenant === "string" && tenantFault(tenant) === null);
  writer.raw(beforeId);
  writer.text(id);
  writer.raw(beforeTs);
  writer.value(uintOf(ts, 0));
  writer.raw(beforeLinks);
  writeLinks(writer, links);
  writer.raw(beforeTenant);
  writer.text(tenant);
  writer.raw(beforePayload);
  writePayload(writer, mapOf(payload));
  writer.raw(afterPayload);
};

/** @returns the encoded body; undefined for a body that is left to the schema and the encoder of any value. */
export const encodeDecision = (body: Body): Uint8Array | undefined => {
  const { kind, schemaVersion, space, prev } = body;
  if (kind !== "frozen_chain" || schemaVersion !== 2 || space !== "user" || prev !== null) return undefined;
  try {
    return encodeWith((writer) => writeBody(writer, body));
  } catch {
    // Whatever it is, the general way refuses it, naming the field and the rule.
    return undefined;
  }
};
