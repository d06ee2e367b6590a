/**
 * Evidence files: a record and whatever proves it, for a reader who has nothing else. Pure; what is parsed is not
 * verified. Source: docs/spec/verify.md §1. At most `evidenceBytesMax` bytes and `cborEntriesMax` records.
 */
import { toHex, type Hash } from "../bytes.ts";
import { cborDecodeFile, cborEncodeFile, type CborMap, type CborValue } from "../cbor/cbor.ts";
import { evidenceBytesMax } from "../limits.ts";
import {
  bytesField,
  exactMap,
  hashField,
  listField,
  refuseField,
  textField,
  uint64Field,
  uintField,
} from "../record/fields.ts";

/** A record as the ledger holds it, and the path from its leaf to the root of the file's checkpoint. */
export type ProvenRecord = {
  readonly position: bigint;
  readonly envelope: Uint8Array;
  /** Siblings from leaf to root. */
  readonly proof: readonly Hash[];
};

export type Evidence = {
  readonly origin: string;
  /** Of the record that is proved. */
  readonly position: bigint;
  /** The signed note, with its cosignatures. */
  readonly checkpoint: string;
  /** In ledger order, genesis first. */
  readonly records: readonly ProvenRecord[];
  /** The canonical map that stands beside the record's envelope, if the record has one and it is disclosed. */
  readonly disclosures?: Uint8Array;
};

const version = 1;
const path = "evidence";
const keys = ["version", "origin", "position", "checkpoint", "nodes", "records"];
const recordKeys = ["position", "envelope", "path"];

const refuse = (name: string, rule: string): never => refuseField(path, name, rule);

/** Nodes in the order in which paths first name them, each once; paths as indexes into them. */
class Nodes {
  readonly hashes: Hash[] = [];
  readonly #indexes = new Map<string, number>();

  indexOf(hash: Hash): number {
    const name = toHex(hash);
    const known = this.#indexes.get(name) ?? this.hashes.length;
    if (known === this.hashes.length) {
      this.hashes.push(hash);
      this.#indexes.set(name, known);
    }
    return known;
  }
}

/** The same evidence is always the same bytes. @throws unencodableValue past the limits, malformedRecord. */
export const formatEvidence = (evidence: Evidence): Uint8Array => {
  const nodes = new Nodes();
  const records = evidence.records.map(({ position, envelope, proof }) => ({
    position,
    envelope,
    path: proof.map((hash) => nodes.indexOf(hash)),
  }));
  const { origin, position, checkpoint, disclosures } = evidence;
  checkRecords(evidence);
  return cborEncodeFile(
    {
      version,
      origin,
      position,
      checkpoint,
      nodes: nodes.hashes,
      records,
      ...(disclosures === undefined ? {} : { disclosures }),
    },
    evidenceBytesMax,
  );
};

const checkRecords = ({ position, records }: Pick<Evidence, "position" | "records">): void => {
  if (records[0]?.position !== 0n) refuse("records", "must begin with position 0, the genesis record");
  for (const [index, record] of records.entries()) {
    const before = records[index - 1];
    if (before !== undefined && record.position <= before.position) {
      refuse(`records[${index}]`, "must stand at a position after the one before");
    }
  }
  if (!records.some((record) => record.position === position)) {
    refuse("position", "must be that of one of the records");
  }
};

const readNode = (item: CborValue, itemPath: string): Hash => hashField({ node: item }, itemPath, "node");

const readIndex = (item: CborValue, itemPath: string): number =>
  uintField({ index: item }, itemPath, "index");

/** Each node is there once, because a path needs it, and in the order of that need: one file for one evidence. */
const checkNodes = (nodes: readonly Hash[], paths: readonly (readonly number[])[]): void => {
  if (new Set(nodes.map(toHex)).size !== nodes.length) refuse("nodes", "must be distinct");
  let needed = 0;
  for (const indexes of paths) {
    for (const index of indexes) {
      if (index > needed || index >= nodes.length) {
        refuse("nodes", "must stand in the order in which paths name them");
      }
      if (index === needed) needed += 1;
    }
  }
  if (needed < nodes.length) refuse("nodes", "must each be named by a path");
};

/** Strict: `formatEvidence` of the result is the bytes. @throws malformedCbor, malformedRecord naming the field. */
export const parseEvidence = (bytes: Uint8Array): Evidence => {
  const value = cborDecodeFile(bytes, evidenceBytesMax);
  const discloses = typeof value === "object" && value !== null && "disclosures" in value;
  const map: CborMap = exactMap(value, path, discloses ? [...keys, "disclosures"] : keys);
  if (map["version"] !== version) refuse("version", `must be ${version}`);
  const nodes = listField(map, path, "nodes", readNode);
  const read = listField(map, path, "records", (item, itemPath) => {
    const record = exactMap(item, itemPath, recordKeys);
    const position = uint64Field(record, itemPath, "position");
    const envelope = bytesField(record, itemPath, "envelope");
    return { position, envelope, indexes: listField(record, itemPath, "path", readIndex) };
  });
  checkNodes(
    nodes,
    read.map(({ indexes }) => indexes),
  );
  const records = read.map(({ position, envelope, indexes }) => ({
    position,
    envelope,
    proof: indexes.map((index) => nodes[index] as Hash),
  }));
  const evidence = {
    origin: textField(map, path, "origin"),
    position: uint64Field(map, path, "position"),
    checkpoint: textField(map, path, "checkpoint"),
    records,
    ...(discloses ? { disclosures: bytesField(map, path, "disclosures") } : {}),
  };
  checkRecords(evidence);
  return evidence;
};
