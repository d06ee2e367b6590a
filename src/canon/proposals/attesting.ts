/**
 * Processes a witness's statement: forgeries are refused without the mutex; everything else is judged under the mutex,
 * decided on by the trust model, and written together with its consequences. All inputs of the judgement are read once,
 * when the mutex is acquired.
 */
import type { PublicKey } from "@sigil/core/bytes";
import { checkPublicKey, verifyForeign } from "@sigil/core/keys";
import {
  errorOf,
  findAttestingKey,
  isForgery,
  parseAttestationStatement,
  planAttest,
  type AttestationStatement,
  type AttestPlan,
  type Facts,
  type SignatureCheck,
} from "@sigil/core/quorum";
import { systemTenant, witnessPrefix, type RecordBody } from "@sigil/core/record";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import type { CallContext, Caller } from "../../identity/caller.ts";
import type { Appended } from "../../ledger/append/commit.ts";
import { attestationBytesMax } from "../../limits.ts";
import type { Attested } from "../domain.ts";
import { readVersion } from "../records/reading.ts";
import { flipReportIn } from "./flip-report.ts";
import { proposalOf, stateOf, systemScope, withRecord, type KeptProposal } from "./kept-proposal.ts";
import { announcing, proposalQuestion, type Proposals } from "./proposals.ts";
import { requireProposerLeft } from "./proposers.ts";
import { attestationOf, commitOf, endingOf, evidenceOf, type Batch, type Latest } from "./steps.ts";
import type { Moment } from "./state.ts";

type Accepted = Extract<AttestPlan, { readonly kind: "accepted" }>;

/** Verifies the statement's signature; undefined if its signer may not attest. */
const checkSignature = async (
  kept: KeptProposal,
  { registry }: Facts,
  statement: AttestationStatement,
): Promise<SignatureCheck> => {
  const key = findAttestingKey(stateOf(kept, registry), registry, statement.kid);
  if (key.kind === "unknown") return "fails";
  const publicKey: PublicKey = key.kind === "witness" ? key.witness.publicKey : key.publicKey;
  try {
    checkPublicKey(publicKey);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "malformedKey") return "weakKey";
    throw error;
  }
  return (await verifyForeign(publicKey, statement.message, statement.signature)) ? "holds" : "fails";
};

/** The witness as caller, authenticated by its signature regardless of who sent it: an Observer of tenant "system". */
const callerOfWitness = (witness: string): Caller => ({
  principal: witnessPrefix + witness,
  tenant: systemTenant,
  level: "observer",
  credential: "attestation",
  peer: "",
});

/** A statement with all inputs of its judgement. */
type Matter = {
  readonly kept: KeptProposal;
  readonly moment: Moment;
  readonly facts: Facts;
  readonly parsed: AttestationStatement;
  readonly signature: SignatureCheck;
};

const matterOf = async (proposals: Proposals, id: string, parsed: AttestationStatement): Promise<Matter> => {
  const kept = await proposals.find(id);
  const moment = await proposals.state.now();
  const facts = await proposals.facts(kept, moment);
  return { kept, moment, facts, parsed, signature: await checkSignature(kept, facts, parsed) };
};

/** Without the mutex, so that forged statements, which anyone can send, do not delay genuine ones. */
const refuseForged = async (
  proposals: Proposals,
  id: string,
  parsed: AttestationStatement,
): Promise<void> => {
  const { kept, facts, signature } = await matterOf(proposals, id, parsed);
  if (signature === "holds") return;
  const plan = planAttest(stateOf(kept, facts.registry), facts, parsed, signature);
  if (plan.kind === "refused" && isForgery(plan.reason)) fail(errorOf(id, plan));
};

/** Refuses unacceptable statements before a decision is made, so that repeating them leaves no records. */
const accept = async (
  proposals: Proposals,
  { kept, facts, parsed, signature }: Matter,
): Promise<Accepted> => {
  const now = { ...facts, nowMs: proposals.deps.nowMs() };
  const plan = planAttest(stateOf(kept, facts.registry), now, parsed, signature);
  if (plan.kind === "accepted") return plan;
  await proposals.endLapsed();
  return fail(errorOf(kept.id, plan));
};

/** Further records in the statement's batch. */
const consequenceOf = (
  { next }: Accepted,
  { kept, facts, moment }: Matter,
  latest: Latest,
  ts: number,
): Batch => {
  switch (next) {
    case "wait":
      return { bodies: [], attestations: [] };
    case "reject":
      return {
        bodies: [endingOf(kept, { outcome: "rejected", reason: "k cannot be reached" }, ts)],
        attestations: [],
      };
    case "commit":
      return commitOf(kept, evidenceOf(kept, facts, latest), moment, ts);
  }
};

/** The proposal after the batch. */
const after = (
  kept: KeptProposal,
  bodies: readonly RecordBody[],
  appended: readonly Appended[],
): KeptProposal =>
  bodies.reduce((before, body, index) => {
    const entry = appended[index];
    const isOther = body.space === "system" || proposalOf(body) !== kept.id;
    return entry === undefined || isOther ? before : withRecord(before, { ...entry, body });
  }, kept);

/**
 * @throws notFound, recordCorrupt, attestationForged, attestationRepeated, attestationRefused, proposalEnded, denied.
 */
export const attestProposal = async (
  proposals: Proposals,
  id: string,
  statement: Uint8Array,
  call: CallContext,
): Promise<Attested> => {
  if (statement.length > attestationBytesMax) {
    const rule = `must be at most ${attestationBytesMax} bytes`;
    return invalidField("statement", rule);
  }
  const parsed = parseAttestationStatement(statement);
  await refuseForged(proposals, id, parsed);
  return proposals.inTurn(async (): Promise<Attested> => {
    const { ledger, authorise, nowMs } = proposals.deps;
    const matter = await matterOf(proposals, id, parsed);
    const { kept } = matter;
    const { given, next } = await accept(proposals, matter);
    // Eligible proposers change only under the mutex, so the answer holds until the batch is written.
    if (next === "commit") await requireProposerLeft(proposals.deps, kept.body);
    // A rejection needs no report.
    if (given.role !== "reject") await flipReportIn(ledger.reader, kept);
    const [allowed] = await authorise(
      callerOfWitness(given.witness),
      [proposalQuestion("canon.attest", id)],
      call,
    );
    if (allowed === undefined) return fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
    // Check again: the proposal may have expired during the decision.
    const plan = await accept(proposals, matter);
    const latest = { given, statement };
    const ts = nowMs();
    const further = consequenceOf(plan, matter, latest, ts);
    const bodies = [attestationOf(kept, latest, allowed.hash, ts), ...further.bodies];
    const isCommit = plan.next === "commit";
    // One atomic batch: the last approval and its consequences.
    const appended = await ledger.append(bodies, {
      signal: call.signal,
      attestations: [[], ...further.attestations],
      ...(isCommit ? { extraOps: announcing(proposals.deps, kept) } : {}),
    });
    const [, changed] = appended;
    const outcome = after(kept, bodies, appended);
    const committed = isCommit && changed !== undefined ? changed : undefined;
    const proposal = await proposals.view(outcome, committed?.position);
    const received = proposal.attestations.at(-1);
    if (received === undefined) return fail({ kind: "notFound", what: "attestation", id });
    return {
      proposal,
      attestation: received,
      committed:
        committed === undefined
          ? null
          : await readVersion(ledger.reader, systemScope, { id: kept.body.id, ...committed }),
      auditId: allowed.auditId,
    };
  });
};
