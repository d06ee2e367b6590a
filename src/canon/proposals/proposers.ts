/**
 * No change may take away those who may propose: the last of them, or the last who could lift what another suspended.
 */
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

/** How everybody would stand after the change; undefined for one that is about no principal. */
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
  // The end of one that is enrolled under a digest does not say who it was.
  return ({ id: other, principal }: EnrolledPrincipal) =>
    principalRecordId(other) === change.id ? then : principal;
};

/** Looks at principals until it has seen enough. @throws attestationRefused when `change` would take the last away. */
export const requireProposerLeft = async (sources: Sources, change: RecordBody): Promise<void> => {
  const after = await afterOf(sources, change);
  if (after === undefined) return;
  const fault = await loweringFault(sources, { after, counts: () => true });
  // A quorum may end the last Root: whoever else may propose can have another enrolled.
  if (fault !== "lastProposer") return;
  const rule = "nobody would be left who may propose: enrol another active Mentor or Root first";
  fail({ kind: "attestationRefused", reason: "LAST_PROPOSER", rule });
};
