/**
 * Verifies evidence with no server: a file that holds all that its verification takes, or a record with its proof. The
 * rules are those of docs/spec/verify.md §2, by the code of the server.
 */
import { verifyForeign } from "@sigil/core/keys";
import { parsePolicy } from "@sigil/core/merkle";
import { verifyEvidence, type EvidenceTrust, type EvidenceVerdict } from "@sigil/core/verify";
import {
  KeyWalk,
  ProofError,
  proving,
  type LedgerRecord,
  type RecordEvidence,
  type VerifiedRecord,
} from "../walk.ts";
import { parseGenesisHash, type Genesis } from "./genesis.ts";

/** What the reader has from elsewhere, and not from whoever gave the evidence. At least one of them. */
export type Trust = {
  readonly genesis?: Genesis;
  /** The text of a policy: the log's key, and whose cosignatures a checkpoint needs (docs/spec/ledger.md §4). */
  readonly policy?: string;
};

/** A record with its proof, and the key records of its ledger, from genesis on. */
export type RecordToVerify = RecordEvidence & { readonly keys: readonly LedgerRecord[] };

/** What a file shows. */
export type VerifiedEvidence = Required<
  Pick<EvidenceVerdict["findings"], "genesis" | "checkpoint" | "record">
> &
  EvidenceVerdict["findings"] & { readonly steps: EvidenceVerdict["steps"] };

const parseTrust = ({ genesis, policy }: Trust): Promise<EvidenceTrust> =>
  proving(async () => {
    if (genesis === undefined && policy === undefined)
      throw new TypeError("trust must have a genesis, a policy or both");
    return {
      ...(genesis === undefined ? {} : { genesis: parseGenesisHash(genesis) }),
      ...(policy === undefined ? {} : { policy: parsePolicy(Buffer.from(policy)) }),
    };
  });

const verifyFile = async (file: Uint8Array, trust: Trust): Promise<VerifiedEvidence> => {
  const { holds, steps, findings } = await verifyEvidence(file, await parseTrust(trust), {
    verify: verifyForeign,
  });
  const { genesis, checkpoint, record } = findings;
  if (holds && genesis !== undefined && checkpoint !== undefined && record !== undefined)
    return { ...findings, genesis, checkpoint, record, steps };
  const failed = steps.find(({ outcome }) => outcome === "failed");
  throw new ProofError(
    failed === undefined ? "the evidence does not hold" : `${failed.name}: ${failed.detail}`,
  );
};

const verifyRecord = async (
  { keys, ...evidence }: RecordToVerify,
  { genesis, policy }: Trust,
): Promise<VerifiedRecord> => {
  if (genesis === undefined || policy !== undefined)
    throw new TypeError("a record is verified from a genesis; by a policy verify its evidence file");
  const walk = await KeyWalk.of(parseGenesisHash(genesis), keys);
  return walk.verifyRecord(evidence);
};

/**
 * Resolves only if every step holds, so that nothing has to be read of the result to know that.
 * @param evidence an evidence file (`*.sigil`), or a record with its proof and the ledger's key records.
 * @throws ProofError naming the step and its rule; TypeError without anything that is trusted.
 */
export function verify(file: Uint8Array, trust: Trust): Promise<VerifiedEvidence>;
export function verify(record: RecordToVerify, trust: Trust): Promise<VerifiedRecord>;
export function verify(
  evidence: Uint8Array | RecordToVerify,
  trust: Trust,
): Promise<VerifiedEvidence | VerifiedRecord> {
  return evidence instanceof Uint8Array ? verifyFile(evidence, trust) : verifyRecord(evidence, trust);
}
