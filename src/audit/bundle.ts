/**
 * Gathers an evidence file: a record, and the records that a reader needs to verify it from the genesis hash or a
 * policy alone, each with its path to one checkpoint. Source: docs/spec/verify.md §1. Records are verified as they are
 * read.
 */
import { cborEncode } from "@sigil/core/cbor";
import { formatEvidence, type ProvenRecord } from "@sigil/core/verify";
import { cborEntriesMax } from "@sigil/core/limits";
import {
  formatDisclosures,
  keyRetirementPrefix,
  principalLabel,
  linkTo,
  readDecision,
  parseQuorum,
  principalRecordId,
  quorumId,
  signingKeyPrefix,
  systemTenant,
  tenantFault,
  witnessPrefix,
} from "@sigil/core/record";
import { fail, SigilFault } from "../errors.ts";
import type { CallContext } from "../identity/caller.ts";
import type { VerifiedRecord } from "../ledger/read/examine.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { SignedTree } from "../ledger/read/signed-trees.ts";
import { evidenceRecordMs } from "../limits.ts";

export type BundleLedger = Pick<
  LedgerReader,
  "origin" | "keyRecords" | "readAt" | "readHash" | "trees" | "versions" | "versionBelow"
>;

type Asked = Pick<VerifiedRecord, "position" | "body" | "disclosures">;

const system = "system";

/** Of genesis, announcements and retirements in the tree. */
const keyPositions = async (ledger: BundleLedger, size: bigint): Promise<readonly bigint[]> => {
  const positions = [0n];
  for (const idPrefix of [signingKeyPrefix, keyRetirementPrefix]) {
    const listing = { tenant: systemTenant, space: system, idPrefix, size, scanMax: cborEntriesMax };
    for await (const { position, skipped } of ledger.versions(listing))
      if (!skipped) positions.push(position);
  }
  return positions;
};

/** The registry in force before a position; empty within the first commit, before it is whole. */
const registryPositions = async (ledger: BundleLedger, position: bigint): Promise<readonly bigint[]> => {
  const below = (id: string) => ledger.versionBelow(systemTenant, system, id, position);
  const quorum = await below(quorumId);
  if (quorum === undefined) return [];
  const { witnesses } = parseQuorum((await ledger.readAt(quorum.position)).body.payload);
  const positions = [quorum.position];
  for (const id of witnesses) {
    const witness = await below(witnessPrefix + id);
    if (witness === undefined) return [];
    positions.push(witness.position);
  }
  return positions;
};

/** The subject's newest enrolment before a position, the system space's first. Undefined if there is none. */
const principalBelow = async (
  ledger: BundleLedger,
  subject: string,
  { position, mayRead }: { readonly position: bigint; readonly mayRead: (tenant: string) => boolean },
): Promise<VerifiedRecord | undefined> => {
  const slash = Math.max(0, subject.indexOf("/"));
  const [tenant, name] = [subject.slice(0, slash), subject.slice(slash + 1)];
  const places = [
    { tenant: systemTenant, space: system, id: principalRecordId(subject) },
    ...(tenantFault(tenant) === null && mayRead(tenant)
      ? [{ tenant, space: "user", id: principalRecordId(name) }]
      : []),
  ];
  for (const { tenant, space, id } of places) {
    const head = await ledger.versionBelow(tenant, space, id, position);
    if (head !== undefined) return ledger.readAt(head.position, tenant);
  }
  return undefined;
};

/** An erased tenant's enrolments are in no file. */
const unlessErased = (error: unknown): undefined => {
  if (error instanceof SigilFault && error.error.kind === "erased") return undefined;
  throw error;
};

/** The model and the principal's record behind a decision. */
const groundsOf = async (
  ledger: BundleLedger,
  { position, body }: Asked,
  mayRead: (tenant: string) => boolean,
): Promise<readonly bigint[]> => {
  if (body.kind !== "frozen_chain") return [];
  const { request, model } = readDecision(body);
  const linked = linkTo(body, principalLabel);
  const mayShow = (record: VerifiedRecord | undefined): VerifiedRecord | undefined =>
    record === undefined || record.body.space === system || mayRead(record.body.tenant) ? record : undefined;
  const principal = async (): Promise<VerifiedRecord | undefined> => {
    if (linked !== undefined) return mayShow(await ledger.readHash(linked));
    // Version 1 does not say which.
    if (body.schemaVersion > 1 || request.subject === "") return undefined;
    return principalBelow(ledger, request.subject, { position, mayRead });
  };
  const found = [
    model.hash === null ? undefined : await ledger.readHash(model.hash),
    await principal().catch(unlessErased),
  ];
  // A tombstone is no enrolment.
  return found.flatMap((each) =>
    each === undefined || each.body.kind === "tombstone" ? [] : [each.position],
  );
};

/**
 * Envelopes of key records, whatever became of their keys: an announcement may be refused on its own, and still hold in
 * the walk (docs/spec/keys.md §3).
 */
const walkedEnvelopes = async (ledger: BundleLedger): Promise<ReadonlyMap<bigint, Uint8Array>> =>
  new Map((await ledger.keyRecords()).map(({ position, envelope }) => [position, envelope]));

export type Gathering = {
  /** Whether the caller sees records of a tenant's user space. */
  readonly mayRead: (tenant: string) => boolean;
  readonly call: Pick<CallContext, "pace" | "signal">;
};

/**
 * @returns the file. @throws leafOutOfRange, recordCorrupt, ledgerCorrupt, cancelled; unencodableValue past the file's
 * limits.
 */
export const gatherEvidence = async (
  ledger: BundleLedger,
  record: Asked,
  tree: SignedTree,
  { mayRead, call }: Gathering,
): Promise<Uint8Array> => {
  const { position, disclosures } = record;
  const positions = new Set([
    position,
    ...(await keyPositions(ledger, tree.size)),
    ...(await registryPositions(ledger, position)),
    ...(await groundsOf(ledger, record, mayRead)),
  ]);
  const walked = await walkedEnvelopes(ledger);
  const records: ProvenRecord[] = [];
  for (const each of [...positions].sort((a, b) => (a < b ? -1 : 1))) {
    const { proof } = await ledger.trees.included(tree, each);
    const envelope = walked.get(each) ?? (await ledger.readAt(each)).envelope;
    records.push({ position: each, envelope, proof });
    call.pace?.charge(evidenceRecordMs);
    await call.pace?.pause();
    if (call.signal.aborted) fail({ kind: "cancelled" });
  }
  const disclosed =
    Object.keys(disclosures).length === 0 ? {} : { disclosures: cborEncode(formatDisclosures(disclosures)) };
  return formatEvidence({
    origin: ledger.origin,
    position,
    checkpoint: tree.checkpoint,
    records,
    ...disclosed,
  });
};
