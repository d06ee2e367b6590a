/**
 * Somebody must be left who may propose: with the last such principal gone, no quorum could ever change anything again.
 * Principals a tenant enrols by itself may not propose, so those of the system space are all there are.
 */
import { fail } from "../record/errors.ts";
import { parsePrincipal } from "../record/kinds.ts";
import { systemTenant } from "../record/names.ts";
import type { RecordBody } from "../record/record.ts";
import { isAtLeast } from "../identity/levels.ts";
import type { Ledger } from "../ledger/ledger.ts";

const principalPrefix = "principal/";

const mayPropose = ({ kind, schemaVersion, payload }: RecordBody): boolean => {
  if (kind !== "principal") return false;
  const { active, loa } = parsePrincipal(payload, schemaVersion);
  return active && isAtLeast(loa, "mentor");
};

/** Looks at principals until it finds one. @throws attestationRefused when `change` would take the last away. */
export const requireProposerLeft = async (
  ledger: Pick<Ledger, "heads" | "readAt">,
  change: RecordBody,
): Promise<void> => {
  if (!change.id.startsWith(principalPrefix) || mayPropose(change)) return;
  for await (const { position } of ledger.heads(systemTenant, "system", principalPrefix)) {
    const { body } = await ledger.readAt(position);
    if (body.id !== change.id && mayPropose(body)) return;
  }
  const rule = "nobody would be left who may propose: enrol another active Mentor or Root first";
  fail({ kind: "attestationRefused", reason: "LAST_PROPOSER", rule });
};
