/**
 * Proofs of records in the very answer that says what was recorded: by the checkpoint of their commit, so that nothing
 * has to be asked for again. Source: docs/spec/verify.md §4.
 */
import { RecordProof, type RecordedProof, type SharedProof } from "@sigil/proto/sigil/type/v1/type";
import { toHex, type Hash } from "@sigil/core/bytes";
import type { Disclosures } from "@sigil/core/record";
import type { ProofService } from "../../audit/proofs.ts";
import { invalidField } from "../../errors.ts";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { answerEvidenceBytesMax } from "../../limits.ts";

/** What proves records that were just recorded. */
export type RecordedProver = Pick<ProofService, "proveRecorded" | "recordedEvidence">;

/** Each kind gives what the one before does. */
export type ProofWanted = "none" | "inclusion" | "evidence";

const PROOFS: ReadonlyMap<number, ProofWanted> = new Map([
  [RecordProof.RECORD_PROOF_UNSPECIFIED, "none"],
  [RecordProof.RECORD_PROOF_NONE, "none"],
  [RecordProof.RECORD_PROOF_INCLUSION, "inclusion"],
  [RecordProof.RECORD_PROOF_EVIDENCE, "evidence"],
]);

/** @throws invalidField. */
export const readRecordProof = (proof: RecordProof, field = "proof"): ProofWanted =>
  PROOFS.get(proof) ?? invalidField(field, "must be a proof this server knows");

export type Provable = {
  readonly wanted: ProofWanted;
  readonly position: bigint;
  /** Empty where the answer holds the record. */
  readonly envelope: Uint8Array;
  /** What the answer may disclose of what opens the record's commitments. */
  readonly disclosed: (all: Disclosures) => Disclosures;
};

type Asking = { readonly caller: Caller; readonly call: Pick<CallContext, "pace" | "signal"> };

const nothing = new Uint8Array(0);

/** Empty unless it is wanted, and where it is longer than an answer's may be. @throws as GetEvidence. */
export const evidenceFor = async (
  prover: Pick<RecordedProver, "recordedEvidence">,
  { wanted, position, disclosed }: Omit<Provable, "envelope">,
  { caller, call }: Asking,
): Promise<Uint8Array> => {
  if (wanted !== "evidence") return nothing;
  const file = await prover.recordedEvidence(caller, position, disclosed, call);
  return file.length > answerEvidenceBytesMax ? nothing : file;
};

/** Undefined unless one is wanted. @throws ledgerCorrupt, sizeOutOfRange, and as GetEvidence. */
export const proofFor = async (
  prover: RecordedProver,
  provable: Provable,
  asking: Asking,
): Promise<RecordedProof | undefined> => {
  if (provable.wanted === "none") return undefined;
  const { checkpoint, proofs } = await prover.proveRecorded([provable.position], asking.call);
  return {
    envelope: provable.envelope,
    inclusionProof: [...(proofs[0] ?? [])],
    checkpoint,
    evidence: await evidenceFor(prover, provable, asking),
    sharedPath: [],
  };
};

export type BatchProofs = {
  readonly shared: SharedProof;
  /** By the index of the provable; without evidence. */
  readonly proofs: readonly RecordedProof[];
};

/** Proofs of records of one commit, whose hashes are there once. @param provables in ledger order. */
export const proofsFor = async (
  prover: Pick<RecordedProver, "proveRecorded">,
  provables: readonly Provable[],
  { call }: Pick<Asking, "call">,
): Promise<BatchProofs> => {
  const positions = provables.map(({ position }) => position);
  const { checkpoint, proofs } = await prover.proveRecorded(positions, call);
  const hashes: Hash[] = [];
  const indexes = new Map<string, number>();
  const indexOf = (hash: Hash): number => {
    const name = toHex(hash);
    const known = indexes.get(name) ?? hashes.push(hash) - 1;
    indexes.set(name, known);
    return known;
  };
  const formatted = proofs.map((proof, index) => ({
    envelope: provables[index]?.envelope ?? nothing,
    inclusionProof: [],
    checkpoint: "",
    evidence: nothing,
    sharedPath: proof.map(indexOf),
  }));
  return { shared: { checkpoint, hashes }, proofs: formatted };
};
