/**
 * Verifies offline that a committed record carries its quorum: applies the rules of proposals to the attestations in
 * its envelope. Pure: the signature check is an argument. Source: docs/spec/quorum.md §8. One verification per
 * attestation.
 */
import type { Hash, PublicKey } from "../bytes.ts";
import { describeCoreError, Fault } from "../errors.ts";
import type { Registry } from "./registry.ts";
import {
  findAttestingKey,
  planAttest,
  tally,
  type Facts,
  type ProposalState,
  type SignatureCheck,
  type Tally,
} from "./plan.ts";
import { parseAttestationStatement, type AttestationStatement } from "./statement.ts";

export type CommittedRecord = {
  /** Hash of the committed body. */
  readonly record: Hash;
  /** From the envelope. */
  readonly attestations: readonly Uint8Array[];
  /** The registry in force at the commit: for a registry change, the previous one. */
  readonly registry: Registry;
  readonly origin: string;
  /** From the proposal's record; without it, late enrolment and self-attestation are not detected. */
  readonly proposal?: { readonly id: string; readonly position: bigint; readonly proposer: string };
  /** The key that the record enrols, which must also have signed. */
  readonly enrols?: { readonly witness: string; readonly publicKey: PublicKey } | null;
};

export type Attested = {
  /** The proposal that the attestations are about; null if none is valid. */
  readonly proposal: string | null;
  /** Ids of the witnesses whose approval counts, in envelope order. */
  readonly attestedBy: readonly string[];
  readonly possession: Tally["possession"];
  /** The other attestations, by index in the envelope, each with the first rule it breaks. */
  readonly refused: readonly { readonly index: number; readonly rule: string }[];
  /** True with k approvals, and proof of possession if a key is enrolled. */
  readonly reached: boolean;
};

export type VerifySignature = (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
) => Promise<boolean>;

/** Past the end of every ledger, so that every enrolment is earlier. */
const noPosition = 2n ** 64n;

const stateOf = ({ record, proposal, enrols }: CommittedRecord, id: string): ProposalState => ({
  id,
  position: proposal?.position ?? noPosition,
  record,
  base: null,
  expiresMs: Infinity,
  proposer: proposal?.proposer ?? "",
  commit: "separate",
  enrols: enrols ?? null,
  status: "open",
  given: [],
});

const parseOrRule = (bytes: Uint8Array): AttestationStatement | string => {
  try {
    return parseAttestationStatement(bytes);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    return describeCoreError(cause.error);
  }
};

/** Checks that the record carries k valid attestations under the registry. Never throws on attestation content. */
export const checkAttested = async (
  committed: CommittedRecord,
  verify: VerifySignature,
): Promise<Attested> => {
  const { registry, origin, attestations } = committed;
  const facts: Facts = { registry, origin, nowMs: 0, head: null, proposerKeys: [] };
  const checkSignature = async (
    state: ProposalState,
    statement: AttestationStatement,
  ): Promise<SignatureCheck> => {
    const key = findAttestingKey(state, registry, statement.kid);
    if (key.kind === "unknown") return "fails";
    const publicKey = key.kind === "witness" ? key.witness.publicKey : key.publicKey;
    return (await verify(publicKey, statement.message, statement.signature)) ? "holds" : "fails";
  };
  const refused: { readonly index: number; readonly rule: string }[] = [];
  // If the caller does not know the proposal, the first valid statement determines it.
  let proposal = committed.proposal?.id ?? null;
  let state = stateOf(committed, proposal ?? "");
  for (const [index, bytes] of attestations.entries()) {
    const statement = parseOrRule(bytes);
    if (typeof statement === "string") {
      refused.push({ index, rule: statement });
      continue;
    }
    const { verdict, proposal: about } = statement.attestation;
    if (verdict === "reject") {
      refused.push({ index, rule: "is a rejection" });
      continue;
    }
    const asked = proposal === null ? { ...state, id: about } : state;
    const plan = planAttest(asked, facts, statement, await checkSignature(asked, statement));
    if (plan.kind === "refused") {
      refused.push({ index, rule: plan.rule });
      continue;
    }
    state = plan.state;
    proposal = state.id;
  }
  const { approvedBy, needed, possession } = tally(state, registry);
  const reached = needed === 0 && possession !== "missing";
  return { proposal, attestedBy: approvedBy, possession, refused, reached };
};
