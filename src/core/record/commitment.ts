/**
 * Values of a record that are committed to in its signed body and disclosed beside its envelope: a withheld value
 * cannot be guessed, a disclosed one cannot be another. Pure. Source: docs/spec/record.md §7.
 */
import { equalBytes, type Hash } from "../bytes.ts";
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../cbor/cbor.ts";
import { sha256 } from "../hash.ts";
import { parseFrozenChain } from "./kinds/frozen-chain.ts";
import { parseModuleRun } from "./kinds/module-run.ts";
import { anyMap, bytesField, hashField, mapOf, refuseField, uintField } from "./fields.ts";

export const saltBytes = 32;
const domain = "sigil/commitment/v1";

type Committed = { readonly kind: string; readonly schemaVersion: number; readonly payload: CborValue };

/** What opens a commitment. `raw` are bytes whose digest and length are the value, when they were kept. */
export type Opening = {
  /** 32 random bytes. */
  readonly salt: Uint8Array;
  readonly value: CborValue;
  readonly raw?: Uint8Array;
};

/** Openings by the path of the value in its payload, such as `input` and `context/<name>`. */
export type Disclosures = Readonly<Record<string, Opening>>;

/** Of bytes that were kept: nearly all that disclosures are. */
export const rawBytesOf = (disclosures: Disclosures = {}): number =>
  Object.values(disclosures).reduce((sum, { raw }) => sum + (raw?.length ?? 0), 0);

/** The path is inside, so that an opening does not fit another field. */
export const commitTo = (path: string, { salt, value }: Opening): Hash =>
  sha256(cborEncode([domain, path, salt, value]));

/** What bytes are committed to by: an opening says their digest and length, and need not hold them. */
export type Digested = { readonly digest: Hash; readonly bytes: number };

export const digestValue = ({ digest, bytes }: Digested): CborValue => [digest, bytes];

/** @throws malformedRecord. */
export const parseDigestValue = (value: CborValue, path: string): Digested => {
  if (!Array.isArray(value) || value.length !== 2) {
    return refuseField(path, "", "must be an array of a digest and a length");
  }
  const [digest, bytes] = value as readonly CborValue[];
  const map: CborMap = { digest: digest ?? null, bytes: bytes ?? null };
  return { digest: hashField(map, path, "digest"), bytes: uintField(map, path, "bytes") };
};

export const formatDisclosures = (disclosures: Disclosures): CborMap =>
  Object.fromEntries(
    Object.entries(disclosures).map(([path, { salt, value, raw }]) => [
      path,
      { salt, value, ...(raw === undefined ? {} : { raw }) },
    ]),
  );

/** An envelope with what stands beside it, as one value: the plaintext of a seal and the data of an event. */
export const encodeDisclosed = (envelope: Uint8Array, disclosures: Disclosures): Uint8Array =>
  cborEncode([envelope, formatDisclosures(disclosures)]);

/** @returns disclosures that nobody has checked: `readDisclosures` does. @throws malformedCbor, malformedRecord. */
export const decodeDisclosed = (
  bytes: Uint8Array,
): { readonly envelope: Uint8Array; readonly disclosures: CborMap } => {
  const value = cborDecode(bytes);
  const [envelope, disclosures, ...rest] = Array.isArray(value) ? (value as readonly CborValue[]) : [];
  if (!(envelope instanceof Uint8Array) || rest.length > 0) {
    return refuseField("disclosed", "", "must be an array of an envelope and its disclosures");
  }
  return { envelope, disclosures: anyMap(disclosures, "disclosed[1]") };
};

/** The commitments of a record by path; none in a kind or a version that makes none. */
const commitmentsIn = ({ kind, schemaVersion, payload }: Committed): Readonly<Record<string, Hash>> => {
  if (schemaVersion !== 2) return {};
  if (kind === "module_run") {
    const { input, output } = parseModuleRun(payload);
    return { input, ...(output === undefined ? {} : { output }) };
  }
  if (kind !== "frozen_chain") return {};
  const { request, context = {} } = parseFrozenChain(payload);
  const paths = Object.entries(context).map(([path, commitment]) => [`context/${path}`, commitment] as const);
  return { input: request.input, ...Object.fromEntries(paths) };
};

const readOpening = (value: CborValue | undefined, path: string): Opening => {
  const map = mapOf(value, path, ["salt", "value"], ["raw"]);
  const salt = bytesField(map, path, "salt");
  if (salt.length !== saltBytes) refuseField(path, "salt", `must be ${saltBytes} bytes`);
  const opening = { salt, value: map["value"] ?? null };
  if (map["raw"] === undefined) return opening;
  const raw = bytesField(map, path, "raw");
  const { digest, bytes } = parseDigestValue(opening.value, `${path}.value`);
  if (raw.length !== bytes || !equalBytes(sha256(raw), digest)) {
    refuseField(path, "raw", "must have the digest and the length of the value");
  }
  return { ...opening, raw };
};

/** Reads disclosures, and checks each against what the body commits to. @throws malformedRecord naming the one. */
export const readDisclosures = (value: CborValue, body: Committed): Disclosures => {
  const map = anyMap(value, "disclosures");
  const commitments = commitmentsIn(body);
  const openings = Object.keys(map).map((path) => {
    const opening = readOpening(map[path], `disclosures.${path}`);
    const commitment = Object.hasOwn(commitments, path) ? commitments[path] : undefined;
    if (commitment === undefined) return refuseField("disclosures", path, "is committed to by nothing");
    if (!equalBytes(commitTo(path, opening), commitment)) {
      refuseField("disclosures", path, "is not what the record commits to");
    }
    return [path, opening] as const;
  });
  return Object.fromEntries(openings);
};
