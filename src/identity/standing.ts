/**
 * What has been stopped of a principal, by the suspensions that the ledger holds of it and of its keys. A suspended key
 * is stopped for those whom its author could suspend when it did so, so that nobody stops somebody else by enrolling
 * the other's public key. Source: docs/spec/suspension.md. One look-up for the principal and one for each key.
 */
import { toBase64Url } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../errors.ts";
import { parseSuspension, type PrincipalPayload, systemTenant } from "@sigil/core/record";
import type { LedgerReader } from "../ledger/read/reading.ts";
import {
  isSystemRoot,
  keySuspensionId,
  maySuspend,
  principalSuspensionId,
  rankOf,
  type StandingPrincipal,
  type Suspension,
} from "./suspension.ts";

export type StandingSources = {
  readonly ledger: Pick<LedgerReader, "readId">;
  /** A principal as a ledger of so many records had it. */
  readonly readBelow: (id: string, size: bigint) => Promise<PrincipalPayload | undefined>;
};

/** The one that stands under this id. @throws recordCorrupt: nobody is let in by a damaged record. */
const readSuspension = async (
  ledger: Pick<LedgerReader, "readId">,
  recordId: string,
): Promise<Suspension | undefined> => {
  const record = await ledger.readId(systemTenant, "system", recordId);
  if (record === undefined || record.body.kind === "tombstone") return undefined;
  const { body, position } = record;
  if (body.kind !== "suspension") {
    const rule = "the record is not a suspension";
    return fail({ kind: "recordCorrupt", position, step: "schema", rule });
  }
  return { recordId, ...parseSuspension(body.payload), position, timeMs: body.ts };
};

/** Whether the suspension of a key stops this holder of it. */
const reaches = async (
  { readBelow }: StandingSources,
  { by, position }: Suspension,
  id: string,
  principal: PrincipalPayload,
): Promise<boolean> => {
  const author = await readBelow(by, position);
  // An author who cannot be found any more takes nothing back.
  if (author === undefined || isSystemRoot(rankOf(author))) return true;
  // As it was then: who is promoted later is not let in again by that.
  const subject = (await readBelow(id, position)) ?? principal;
  return maySuspend(rankOf(author), rankOf(subject));
};

/** @param recordId of the record that enrols, or would enrol, the principal, without its tenant: `principal/<id>`. */
export const standingOf = async (
  sources: StandingSources,
  { id, recordId }: { readonly id: string; readonly recordId: string },
  principal: PrincipalPayload,
): Promise<StandingPrincipal> => {
  const { ledger } = sources;
  const [suspension, ...keys] = await Promise.all([
    readSuspension(ledger, principalSuspensionId(recordId)),
    ...principal.publicKeys.map(async (publicKey): Promise<readonly [string, Suspension] | undefined> => {
      const thumbprint = coseKeyThumbprint(publicKey);
      const found = await readSuspension(ledger, keySuspensionId(thumbprint));
      if (found === undefined || !(await reaches(sources, found, id, principal))) return undefined;
      return [toBase64Url(thumbprint), found];
    }),
  ]);
  const suspended = keys.filter((each) => each !== undefined);
  if (suspension === undefined && suspended.length === 0) return principal;
  return {
    ...principal,
    ...(suspension === undefined ? {} : { suspension }),
    ...(suspended.length === 0 ? {} : { suspendedKeys: new Map(suspended) }),
  };
};
