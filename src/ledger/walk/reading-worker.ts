/**
 * The program of a thread that reads records for a walk: opens the seal, parses, checks against the schema, verifies
 * the signature, hashes. By the functions that the walk itself uses. Holds the keys of `readingKeysMax` tenants.
 */
import { workerData } from "node:worker_threads";
import { equalBytes } from "@sigil/core/bytes";
import { toBeSigned } from "@sigil/core/cose";
import { readDisclosures } from "@sigil/core/record";
import { leafOf, openRecord, readRecord } from "@sigil/core/verify";
import { openVerifier } from "../../crypto/verify-own.ts";
import { readingKeysMax } from "../../limits.ts";
import { answerRequests, type Reply } from "../../threads.ts";
import { indexedEntry } from "../decisions/decision-index.ts";
import type { DecisionEntry } from "../decisions/rows.ts";
import { DecisionTerms } from "../decisions/terms.ts";
import { isDecision } from "../layout/indexes.ts";
import { openStored } from "../sealing/sealer.ts";
import {
  noKey,
  readingStates,
  type ReadingAnswer,
  type ReadingKey,
  type ReadingRequest,
  type ReadingSigner,
  type ReadingStart,
} from "./reading-messages.ts";

type Held = ReadingKey & { readonly terms: DecisionTerms };
type ReadHere = {
  readonly hash: Uint8Array;
  readonly leaf: Uint8Array;
  readonly signer: number;
  /** Undefined for other records. */
  readonly entry: DecisionEntry | undefined;
};

const { origin } = workerData as ReadingStart;
const verify = await openVerifier();
const held = new Map<number, Held>();
let signers: readonly ReadingSigner[] = [];

const learn = (key: ReadingKey): void => {
  if (held.size === readingKeysMax) held.clear();
  held.set(key.number, { ...key, terms: new DecisionTerms(key.termsKey) });
};

/** @returns undefined unless everything holds. @throws what the steps throw. */
const read = (stored: Uint8Array, position: bigint, key: Held): ReadHere | undefined => {
  const { tenant, dataKey, keyVersion, terms } = key;
  const { envelope, disclosures } = openStored(stored, { dataKey, keyVersion, origin, position, tenant });
  const leaf = leafOf(envelope);
  const opened = openRecord(position, envelope);
  const { statement, hash } = opened;
  const signer = signers.findIndex(({ kid }) => equalBytes(kid, statement.kid));
  const found = signers[signer];
  if (found === undefined) return undefined;
  const body = readRecord(opened, { origin, tenant });
  readDisclosures(disclosures, body);
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  if (!verify(found.publicKey, message, statement.signature)) return undefined;
  const isUsers = isDecision(body) && body.space === "user";
  return { hash, leaf, signer, entry: isUsers ? indexedEntry(terms, body, position) : undefined };
};

const readUnlessFaulty = (stored: Uint8Array, position: bigint, key: Held): ReadHere | undefined => {
  try {
    return read(stored, position, key);
  } catch {
    // The walk meets the same fault, and names it.
    return undefined;
  }
};

const answer = ({
  learned,
  signers: told,
  positions,
  keys,
  ends,
  bytes,
}: ReadingRequest): Reply<ReadingAnswer> => {
  learned.forEach(learn);
  signers = told ?? signers;
  const count = positions.length;
  const columns = {
    states: new Uint8Array(count),
    signers: new Uint32Array(count),
    hashes: new Uint8Array(32 * count),
    leaves: new Uint8Array(32 * count),
    times: new Float64Array(count),
    subjects: new Uint32Array(count),
    callers: new Uint32Array(count),
    termEnds: new Uint32Array(count),
  };
  const terms: number[] = [];
  for (let at = 0, from = 0; at < count; at += 1) {
    const end = ends[at] ?? from;
    const key = keys[at] === noKey ? undefined : held.get(keys[at] ?? noKey);
    const found = key && readUnlessFaulty(bytes.subarray(from, end), positions[at] ?? 0n, key);
    from = end;
    if (found !== undefined) {
      const { hash, leaf, signer, entry } = found;
      columns.states[at] = entry === undefined ? readingStates.verified : readingStates.decision;
      columns.signers[at] = signer;
      columns.hashes.set(hash, 32 * at);
      columns.leaves.set(leaf, 32 * at);
      columns.times[at] = entry?.ts ?? 0;
      columns.subjects[at] = entry?.subject ?? 0;
      columns.callers[at] = entry?.caller ?? 0;
      for (const term of entry?.terms ?? []) terms.push(term);
    }
    columns.termEnds[at] = terms.length;
  }
  const made = { ...columns, terms: Uint32Array.from(terms) };
  return { answer: made, moved: Object.values(made).map(({ buffer }) => buffer) };
};

answerRequests(answer);
