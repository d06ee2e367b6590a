/**
 * Verifying offline that a committed record carries its quorum: the rules of proposals applied to the attestations in
 * its envelope. Pure: whoever calls brings the signature check. Source: docs/spec/quorum.md §8. One verification each.
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
  /** As the envelope carries them. */
  readonly attestations: readonly Uint8Array[];
  /** In force when it was committed: for a change of the registry, the one before it. */
  readonly registry: Registry;
  readonly origin: string;
  /** What the proposal's own record says; without it, later enrolment and the proposer's own word go unseen. */
  readonly proposal?: { readonly id: string; readonly position: bigint; readonly proposer: string };
  /** The key that the record enrols, which must have signed as well. */
  readonly enrols?: { readonly witness: string; readonly publicKey: PublicKey } | null;
};

export type Attested = {
  /** The one proposal that the attestations are about; null when none holds. */
  readonly proposal: string | null;
  /** Witness ids whose approval counts, in the order of the envelope. */
  readonly attestedBy: readonly string[];
  readonly possession: Tally["possession"];
  /** The others, by index in the envelope, each with the first rule it breaks. */
  readonly refused: readonly { readonly index: number; readonly rule: string }[];
  /** k approvals, and possession where a key is enrolled. */
  readonly reached: boolean;
};

export type VerifySignature = (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
) => Promise<boolean>;

/** Past the end of every ledger: everybody was enrolled before. */
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

/** Does the record carry k valid attestations under the registry? Never throws for what the attestations hold. */
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
  // Unless the caller knows the proposal, the first statement that holds says which one it was.
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
