/**
 * A proposal as stored: its record, the attestations received, its ending. Built either from the ledger or
 * incrementally from commits, with equal results. Only collects; the rules are in `@sigil/core/quorum`.
 */
import { parsePublicKey, type Hash, type PublicKey, equalBytes } from "@sigil/core/bytes";
import {
  parseAttestationRecord,
  parseProposal,
  parseProposalEnding,
  parseWitness,
  type AttestationRole,
  type ProposalOutcome,
  type ProposalPayload,
  decodeBody,
  hashRecord,
  linkTo,
  type RecordBody,
  witnessPrefix,
  attestationPrefix,
  proposalEndingPrefix,
  proposalPrefix,
  systemTenant,
} from "@sigil/core/record";
import {
  type Given,
  type ProposalState,
  type Registry,
  parseAttestationStatement,
  type AttestationStatement,
} from "@sigil/core/quorum";
import type { ReadingLedger, Scope } from "../records/reading.ts";
import { readNewest, readVersion } from "../records/reading.ts";

/** The scope of proposals and their records: the user space, since they are written by one caller. */
export const proposalScope: Scope = { tenant: systemTenant, space: "user" };
export const systemScope: Scope = { tenant: systemTenant, space: "system" };

export type Received = {
  readonly witness: string;
  readonly role: AttestationRole;
  readonly timeMs: number;
  /** Position of its record. */
  readonly position: bigint;
  readonly hash: Hash;
  readonly statement: Uint8Array;
  readonly parsed: AttestationStatement;
};

export type Ending = {
  readonly outcome: ProposalOutcome;
  readonly reason: string;
  /** Hash of the committed record. */
  readonly record: Hash | null;
};

export type KeptProposal = {
  readonly id: string;
  readonly position: bigint;
  readonly hash: Hash;
  readonly timeMs: number;
  readonly payload: ProposalPayload;
  readonly body: RecordBody;
  readonly recordHash: Hash;
  readonly enrols: { readonly witness: string; readonly publicKey: PublicKey } | null;
  /** In ledger order. */
  readonly received: readonly Received[];
  readonly ending: Ending | null;
};

export type Committed = { readonly position: bigint; readonly hash: Hash; readonly body: RecordBody };

/** The uuid in the id of a proposal. */
export const proposalName = (id: string): string => id.slice(proposalPrefix.length);

/** The witness key that another body of the proposal enrols. */
const enrolledBy = (payload: ProposalPayload): KeptProposal["enrols"] => {
  for (const bytes of payload.with) {
    const body = decodeBody(bytes);
    if (body.kind !== "witness") continue;
    const { publicKey } = parseWitness(body.payload);
    return { witness: body.id.slice(witnessPrefix.length), publicKey: parsePublicKey(publicKey) };
  }
  return null;
};

/** A proposal without attestations or ending. @throws malformedRecord. */
export const keepProposal = ({ position, hash, body }: Committed): KeptProposal => {
  const payload = parseProposal(body.payload);
  return {
    id: body.id,
    position,
    hash,
    timeMs: body.ts,
    payload,
    body: decodeBody(payload.body),
    recordHash: hashRecord(payload.body),
    enrols: enrolledBy(payload),
    received: [],
    ending: null,
  };
};

const withAttestation = (kept: KeptProposal, { position, hash, body }: Committed): KeptProposal => {
  const { witness, role, statement } = parseAttestationRecord(body.payload);
  const parsed = parseAttestationStatement(statement);
  const received: Received = { witness, role, timeMs: body.ts, position, hash, statement, parsed };
  return { ...kept, received: [...kept.received, received] };
};

const withEnding = (kept: KeptProposal, { body }: Pick<Committed, "body">): KeptProposal => {
  const { outcome, reason } = parseProposalEnding(body.payload);
  const record = linkTo(body, "record") ?? null;
  return { ...kept, ending: { outcome, reason, record } };
};

/** The id of the proposal that an attestation or ending belongs to. */
export const proposalOf = ({ id }: Pick<RecordBody, "id">): string =>
  proposalPrefix + (id.split("/")[1] ?? "");

/** Adds a record about the proposal; idempotent. @throws malformedRecord. */
export const withRecord = (kept: KeptProposal, record: Committed): KeptProposal => {
  if (record.body.kind === "proposal_ending") return withEnding(kept, record);
  const isKnown = kept.received.some(({ position }) => position === record.position);
  return isKnown ? kept : withAttestation(kept, record);
};

/** Reads a proposal and all its records from the ledger. @throws recordCorrupt. */
export const readProposal = async (ledger: ReadingLedger, id: string): Promise<KeptProposal | undefined> => {
  if (!id.startsWith(proposalPrefix)) return undefined;
  const own = await readNewest(ledger, proposalScope, id);
  if (own === undefined || own.record.body.kind !== "proposal") return undefined;
  let kept = keepProposal(own.record);
  const { size } = ledger;
  const idPrefix = `${attestationPrefix}${proposalName(id)}/`;
  const attested: Committed[] = [];
  const listing = { ...proposalScope, idPrefix, size, scanMax: Number.MAX_SAFE_INTEGER };
  for await (const { id: attestationId } of ledger.versions(listing)) {
    // A witness attests once per epoch, so its versions are few.
    const walk = { ...proposalScope, id: attestationId, order: "oldestFirst", limit: 1000, size } as const;
    for await (const head of ledger.history(walk)) {
      const { record } = await readVersion(ledger, proposalScope, { id: attestationId, ...head });
      attested.push(record);
    }
  }
  attested.sort((a, b) => (a.position < b.position ? -1 : 1));
  for (const record of attested) kept = withAttestation(kept, record);
  const ending = await readNewest(ledger, proposalScope, `${proposalEndingPrefix}${proposalName(id)}`);
  return ending === undefined ? kept : withEnding(kept, ending.record);
};

/** The input of the rules. Omits statements by keys that their witness no longer holds, which cannot count. */
export const stateOf = (kept: KeptProposal, registry: Registry): ProposalState => ({
  id: kept.id,
  position: kept.position,
  record: kept.recordHash,
  base: kept.payload.base,
  expiresMs: kept.payload.expiresMs,
  proposer: kept.payload.proposer,
  commit: kept.payload.commit,
  enrols: kept.enrols,
  status: kept.ending?.outcome ?? "open",
  given: kept.received.flatMap((received): Given[] => {
    const { witness, role, parsed } = received;
    const { epoch } = parsed.attestation;
    const given = { witness, role, epoch, digest: parsed.digest };
    if (role === "possession") {
      return kept.enrols === null ? [] : [{ ...given, publicKey: kept.enrols.publicKey, owner: "" }];
    }
    const enrolled = registry.witnesses.get(witness);
    if (enrolled === undefined || !equalBytes(enrolled.thumbprint, parsed.kid)) return [];
    return [{ ...given, publicKey: enrolled.publicKey, owner: enrolled.owner }];
  }),
});
