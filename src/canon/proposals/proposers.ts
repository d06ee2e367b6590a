/** Refuses changes after which nobody could propose, or nobody but a suspension's author could propose to lift it. */
import {
  principalPrefix,
  principalRecordId,
  parseErasure,
  parsePrincipal,
  type RecordBody,
} from "@sigil/core/record";
import { fail } from "../../errors.ts";
import { principalIdIn, type EnrolledPrincipal, type Principals } from "../../identity/principals.ts";
import { loweringFault, type Lowering, type ProposerSources } from "../../identity/proposers.ts";

type Sources = Pick<ProposerSources, "ledger"> & {
  readonly principals: Pick<Principals, "inRecord" | "standing">;
};

/** Every principal's state after the change; undefined if it concerns no principal. */
const afterOf = async (
  { principals }: Sources,
  change: RecordBody,
): Promise<Lowering["after"] | undefined> => {
  if (change.kind === "erasure") {
    const { tenant } = parseErasure(change.payload);
    return ({ principal }) => (principal.tenant === tenant ? undefined : principal);
  }
  if (!change.id.startsWith(principalPrefix)) return undefined;
  const id = change.kind === "principal" ? principalIdIn(change) : undefined;
  const then =
    id === undefined
      ? undefined
      : await principals.standing(id, parsePrincipal(change.payload, change.schemaVersion));
  // A tombstone of a principal enrolled by digest does not name it.
  return ({ id: other, principal }: EnrolledPrincipal) =>
    principalRecordId(other) === change.id ? then : principal;
};

/**
 * Walks principals until the answer is known. @throws attestationRefused if `change` would leave no eligible proposer.
 */
export const requireProposerLeft = async (sources: Sources, change: RecordBody): Promise<void> => {
  const after = await afterOf(sources, change);
  if (after === undefined) return;
  const fault = await loweringFault(sources, { after, counts: () => true });
  // A quorum may remove the last Root: other proposers can propose a new one.
  if (fault !== "lastProposer") return;
  const rule = "nobody would be left who may propose: enrol another active Mentor or Root first";
  fail({ kind: "attestationRefused", reason: "LAST_PROPOSER", rule });
};
