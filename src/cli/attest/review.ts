/**
 * The review shown to a witness before signing. Refuses bytes that differ from what the proposal states, proposals of
 * another deployment, and ended ones.
 */
import { ProposalState, type GetProposalResponse, type Proposal, type SimulateResponse } from "@sigil/client";
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import type { Attestation } from "@sigil/core/record";
import { SigilFault } from "../../errors.ts";
import type { KeyPair } from "../../crypto/signing/keyfile.ts";
import { describeFinding, lintModel } from "../../trust/lint.ts";
import { describeCallError } from "../call/connection.ts";
import { formatFindings } from "../model/check.ts";
import {
  enrolledBy,
  examineProposal,
  formatChanges,
  type Change,
  type FindRecord,
} from "../proposal/proposal-body.ts";
import { showFlipReport } from "../proposal/flip-report.ts";
import { formatProposal, stateName } from "../proposal/view.ts";
import { formatSimulation } from "../model/simulate.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

/** Number of recorded decisions used to show what a model would change. */
const simulatedDecisions = 1000;

export type Review = {
  readonly id: string;
  readonly response: GetProposalResponse;
  /** The expected deployment, independent of the proposal. */
  readonly origin: string;
  readonly key: KeyPair;
  readonly witness: string | undefined;
  readonly isEnrolled: "yes" | "no" | "unknown";
  readonly verdict: Attestation["verdict"];
  /** Ids and owners of the enrolled witnesses, if a server could be asked. */
  readonly knownNames: readonly string[];
  readonly find: FindRecord;
  /** Absent offline. */
  readonly simulate: ((lastDecisions: number) => Promise<SimulateResponse>) | undefined;
};

export type Reviewed =
  | {
      readonly kind: "reviewed";
      readonly role: Attestation["verdict"] | "possession";
      /** Hash of the body, computed here. */
      readonly recordHash: Hash;
      readonly epoch: number;
    }
  | { readonly kind: "refused"; readonly rule: string };

const refused = (rule: string): Reviewed => ({ kind: "refused", rule });

/** Why the proposal is refused without further review, or null. */
const facade = ({ id, origin }: Review, proposal: Proposal): string | null => {
  if (proposal.id !== id) return `the server answered with ${proposal.id}`;
  if (proposal.origin !== origin) return `it is for ${proposal.origin} and not for ${origin}`;
  if (proposal.state !== ProposalState.PROPOSAL_STATE_OPEN) return `it is ${stateName(proposal.state)}`;
  return proposal.epoch <= BigInt(Number.MAX_SAFE_INTEGER) ? null : "its epoch is no epoch";
};

const roleOf = (
  review: Review,
  changes: readonly Change[],
): Reviewed | Attestation["verdict"] | "possession" => {
  const enrolled = enrolledBy(changes);
  if (enrolled !== undefined && equalBytes(enrolled, review.key.publicKey)) {
    return review.verdict === "reject"
      ? refused(
          "the key that it enrols shows its possession by approving; to reject, a witness's key is needed",
        )
      : "possession";
  }
  return review.isEnrolled === "no"
    ? refused("the key does not belong to an enrolled witness, and is not the one that it would enrol")
    : review.verdict;
};

/** Lint findings of the signed model, computed here. @returns their texts. */
const showFindings = (
  [{ body }]: readonly [Change, ...Change[]],
  terminal: Terminal,
): ReadonlySet<string> => {
  const none = new Set<string>();
  if (body.kind !== "trust_model") return none;
  try {
    const { findings } = lintModel(body.payload, Infinity);
    if (findings.length > 0) terminal.print(`\n${formatFindings(findings, terminal)}`);
    return new Set(findings.map(describeFinding));
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "malformedModel") throw error;
    // Servers refuse such proposals. If it were committed, everything would be denied.
    terminal.print(
      `\n${terminal.paint("red", `This is no model that could decide: ${printable(error.message)}`)}`,
    );
    return none;
  }
};

/**
 * Scored now, with who and what: the report names decisions by position alone.
 * @param shown warnings that stand above already.
 */
const showFlips = async (
  { simulate }: Review,
  changes: readonly Change[],
  shown: ReadonlySet<string>,
  terminal: Terminal,
): Promise<void> => {
  if (changes[0]?.body.kind !== "trust_model") return;
  if (simulate === undefined) {
    terminal.print(
      "\nWho and what would flip is not known here: sigil simulate --proposal ID, where there is a server.",
    );
    return;
  }
  try {
    const simulation = await simulate(simulatedDecisions);
    const warnings = simulation.warnings.filter((warning) => !shown.has(warning));
    terminal.print(
      `\nOf the last ${simulatedDecisions} recorded decisions: ${formatSimulation({ ...simulation, warnings }, terminal)}`,
    );
  } catch (error) {
    terminal.print(
      `\nWhich decisions would flip could not be found out: ${describeCallError(error) ?? String(error)}`,
    );
  }
};

/** Prints the whole review. */
export const reviewProposal = async (review: Review, terminal: Terminal): Promise<Reviewed> => {
  const { response } = review;
  const { proposal } = response;
  if (proposal === undefined) return refused("there is no proposal in it");
  const wrong = facade(review, proposal);
  if (wrong !== null) return refused(wrong);
  const examined = await examineProposal(response, review.find);
  if (examined.kind === "refused") return examined;
  const { changes, flipReport } = examined;
  const role = roleOf(review, changes);
  if (typeof role !== "string") return role;
  terminal.print(`${terminal.paint("bold", "What the server says of it:")}\n`);
  terminal.print(`${formatProposal(proposal, terminal)}\n`);
  terminal.print(`${terminal.paint("bold", "What is signed, as its bytes say:")}\n`);
  terminal.print(formatChanges(changes, review.knownNames, terminal));
  showFlipReport(flipReport, terminal);
  await showFlips(review, changes, showFindings(changes, terminal), terminal);
  const { hash } = changes[0];
  terminal.print(
    `\nThe signature is over SHA-256 ${toHex(hash)}, epoch ${proposal.epoch}, ${review.origin}.`,
  );
  return { kind: "reviewed", role, recordHash: hash, epoch: Number(proposal.epoch) };
};
