/** Exports of the witness registry, proposals and their tally. Pure. */
export {
  type AttestPlan,
  type Facts,
  type SignatureCheck,
  canReachQuorum,
  dueEnding,
  findAttestingKey,
  isAwaited,
  planAttest,
  planCommit,
  planWithdraw,
  tally,
} from "./plan.ts";
export { errorOf, isForgery } from "./refusals.ts";
export { type EnrolledWitness, type Registry, type RegistryChange, planRegistryChange } from "./registry.ts";
export {
  type AttestationStatement,
  attestationToSign,
  formatAttestationStatement,
  parseAttestationStatement,
} from "./statement.ts";
export type { Given, ProposalState } from "./tally.ts";
export { type Attested, type CommittedRecord, checkAttested } from "./verifying.ts";
