/**
 * A witness's statement about a proposal, signed here: what is signed is the hash of the very bytes that the caller
 * reviewed, computed from them, for the deployment that the caller names. Source: docs/spec/record.md §4.
 */
import { createPublicKey, sign, type KeyObject } from "node:crypto";
import { equalBytes, parsePublicKey } from "@sigil/core/bytes";
import { attestationToSign, formatAttestationStatement } from "@sigil/core/quorum";
import { decodeBody, hashRecord } from "@sigil/core/record";
import { ProposalState, type AttestProposalResponse, type Proposal } from "@sigil/proto/sigil/canon/v1/canon";
import type { CallOptions } from "./call.ts";
import type { CanonClient } from "./services/canon.ts";
import { parsePrivateKey, rawPublicKey } from "./token.ts";
import { ProofError, proving } from "./walk.ts";

export type AttestOptions = CallOptions & {
  readonly verdict: "approve" | "reject";
  /** The witness's Ed25519 key: PKCS #8 PEM, or a KeyObject. It stays in this process. */
  readonly privateKey: string | KeyObject;
  /** The deployment's origin, from elsewhere: a statement for another one is never signed. */
  readonly origin: string;
};

const refuse = (rule: string): never => {
  throw new ProofError(`not signed: ${rule}`);
};

/** @returns the hash of what would be committed. @throws ProofError */
const hashOf = ({ body, with: others, recordHash }: Proposal) => {
  const hash = hashRecord(body);
  if (!equalBytes(hash, recordHash)) refuse("its body has another hash than it says");
  const { links, space } = decodeBody(body);
  for (const other of others) {
    const otherHash = hashRecord(other);
    if (!links.some(({ target }) => equalBytes(target, otherHash)))
      refuse("its body does not link to what would be committed with it");
    if (decodeBody(other).space !== "system") refuse("it is not of the system space");
  }
  return space === "system" ? hash : refuse("it is not of the system space");
};

/**
 * @param proposal as `canon.getProposal` gave it, reviewed by its `body` and `with`: the server's view is not signed.
 * @returns the statement, to be sent by whoever. @throws ProofError, and nothing is signed.
 */
export const signAttestation = (proposal: Proposal, options: AttestOptions): Promise<Uint8Array> =>
  proving(async () => {
    const { verdict, origin } = options;
    if (proposal.origin !== origin) refuse(`it is for ${proposal.origin} and not for ${origin}`);
    if (proposal.state !== ProposalState.PROPOSAL_STATE_OPEN) refuse("it is not open");
    if (proposal.epoch > BigInt(Number.MAX_SAFE_INTEGER)) refuse("its epoch is none");
    const privateKey = parsePrivateKey(options.privateKey);
    const publicKey = parsePublicKey(rawPublicKey(createPublicKey(privateKey)));
    const record = hashOf(proposal);
    const attestation = { proposal: proposal.id, record, epoch: Number(proposal.epoch), verdict };
    const toSign = attestationToSign(attestation, { origin, publicKey });
    return formatAttestationStatement(toSign, sign(null, toSign.message, privateKey));
  });

export type Attest = (proposal: Proposal, options: AttestOptions) => Promise<AttestProposalResponse>;

/** Signs and sends. @throws ProofError before anything is signed; SigilError. */
export const attestBy =
  ({ attestProposal }: Pick<CanonClient, "attestProposal">): Attest =>
  async (proposal, options) => {
    const { verdict: _, privateKey: __, origin: ___, ...call } = options;
    return attestProposal({ id: proposal.id, statement: await signAttestation(proposal, options) }, call);
  };
