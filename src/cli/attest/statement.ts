/** Signs a reviewed proposal, and sends statements made here or elsewhere. */
import { AttestationRole, AttestProposalResponse, type SigilConnection } from "@sigil/client";
import { attestationToSign, formatAttestationStatement, parseAttestationStatement } from "@sigil/core/quorum";
import { toHex } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { createSigner } from "../../crypto/signing/sign.ts";
import type { Review, Reviewed } from "./review.ts";
import { exitCodes, usage, type ExitCode } from "../terminal/command.ts";
import { lacking, stateName } from "../proposal/view.ts";
import { formatRecordFacts } from "../call/record-view.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

/** Reports that nothing was signed. */
export const refuseToSign = (rule: string, terminal: Terminal): ExitCode => {
  terminal.note(`sigil: not signed: ${printable(rule)}`);
  return exitCodes.no;
};

export const signReviewed = async (
  { recordHash, epoch }: Extract<Reviewed, { readonly kind: "reviewed" }>,
  { id, verdict, origin, key }: Review,
): Promise<Uint8Array> => {
  const attestation = { proposal: id, record: recordHash, epoch, verdict };
  const toSign = attestationToSign(attestation, { origin, publicKey: key.publicKey });
  return formatAttestationStatement(toSign, await createSigner(key.privateKey).sign(toSign.message));
};

export const printSigned = (
  path: string,
  id: string,
  statement: Uint8Array,
  asJson: boolean,
  terminal: Terminal,
): ExitCode => {
  terminal.print(
    asJson
      ? JSON.stringify({ file: path, proposal: id, bytes: statement.length })
      : `\n${terminal.paint("green", "SIGNED")}  ${path}; send it: sigil attest ${printable(id)} --statement ${path}`,
  );
  return exitCodes.ok;
};

const statementNames: ReadonlyMap<AttestationRole | undefined, string> = new Map([
  [AttestationRole.ATTESTATION_ROLE_APPROVE, "approval"],
  [AttestationRole.ATTESTATION_ROLE_REJECT, "rejection"],
  [AttestationRole.ATTESTATION_ROLE_POSSESSION, "possession"],
]);

const formatAttested = (response: AttestProposalResponse, { paint }: Terminal): string => {
  const { proposal, attestation, committed, auditId } = response;
  const id = printable(proposal?.id ?? "");
  const who = printable(attestation?.witness ?? "");
  if (committed !== undefined) {
    return `${paint("green", "COMMITTED")}  ${id}\n\n${formatRecordFacts(committed, [["audit id", auditId]])}`;
  }
  const lacks = proposal === undefined ? "" : lacking(proposal);
  const state = proposal === undefined ? "" : stateName(proposal.state);
  const waits = proposal?.separateCommit === true ? `sigil commit ${id} is next` : "nothing is missing";
  const rest = state === "open" ? (lacks === "" ? waits : `it still needs ${lacks}`) : `it is ${state}`;
  const what = statementNames.get(attestation?.role) ?? "statement";
  return `${paint("green", "TAKEN")}  the ${what} of ${who} about ${id}; ${rest}`;
};

/** Checks a statement before it is sent, to catch the wrong file. */
const checkStatement = (statement: Uint8Array, id: string): string | null => {
  try {
    const { attestation } = parseAttestationStatement(statement);
    return attestation.proposal === id
      ? null
      : `the statement is about ${attestation.proposal} and body ${toHex(attestation.record)}, not about ${id}`;
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return usage(`the statement is none: ${error.message}`);
  }
};

export const sendStatement = async (
  connection: SigilConnection,
  id: string,
  statement: Uint8Array,
  asJson: boolean,
  terminal: Terminal,
): Promise<ExitCode> => {
  const wrong = checkStatement(statement, id);
  if (wrong !== null) {
    terminal.note(`sigil: not sent: ${printable(wrong)}`);
    return exitCodes.no;
  }
  const response = await connection.canon.attestProposal({ id, statement });
  terminal.print(
    asJson
      ? JSON.stringify(AttestProposalResponse.toJSON(response))
      : `\n${formatAttested(response, terminal)}`,
  );
  return exitCodes.ok;
};
