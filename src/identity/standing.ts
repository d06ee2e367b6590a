/**
 * A principal's state with the suspensions in the ledger of it and of its keys. A key suspension affects only the
 * holders whom its author could suspend at the time, so that nobody can suspend a principal by enrolling its public key
 * elsewhere. Source: docs/spec/suspension.md. One lookup for the principal and one per key.
 */
import { toBase64Url } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../errors.ts";
import {
  feedGrantId,
  parseFeedGrant,
  parseSuspension,
  type PrincipalPayload,
  systemTenant,
} from "@sigil/core/record";
import type { LedgerReader } from "../ledger/read/reading.ts";
import {
  isSystemRoot,
  keySuspensionId,
  maySuspend,
  principalSuspensionId,
  rankOf,
  type FeedStanding,
  type StandingPrincipal,
  type Suspension,
} from "./suspension.ts";

export type StandingSources = {
  readonly ledger: Pick<LedgerReader, "readId">;
  /** A principal as of a ledger size. */
  readonly readBelow: (id: string, size: bigint) => Promise<PrincipalPayload | undefined>;
};

/** Reads the suspension with this id. @throws recordCorrupt: fails closed on a damaged record. */
const readSuspension = async (
  ledger: Pick<LedgerReader, "readId">,
  recordId: string,
): Promise<Suspension | undefined> => {
  const record = await ledger.readId(systemTenant, "system", recordId);
  if (record === undefined || record.body.kind === "tombstone") return undefined;
  const { body, position, hash } = record;
  if (body.kind !== "suspension") {
    const rule = "the record is not a suspension";
    return fail({ kind: "recordCorrupt", position, step: "schema", rule });
  }
  return { recordId, ...parseSuspension(body.payload), position, timeMs: body.ts, hash };
};

/** @throws recordCorrupt: nobody reads more by a damaged record. */
const readFeedStanding = async (
  ledger: Pick<LedgerReader, "readId">,
  id: string,
): Promise<FeedStanding | undefined> => {
  const recordId = feedGrantId(id);
  const record = await ledger.readId(systemTenant, "system", recordId);
  if (record === undefined) return undefined;
  const { body, position } = record;
  if (body.kind === "tombstone") return { recordId, position, grant: undefined };
  if (body.kind !== "feed_grant") {
    return fail({ kind: "recordCorrupt", position, step: "schema", rule: "the record is not a feed grant" });
  }
  return { recordId, position, grant: parseFeedGrant(body.payload) };
};

/**
 * A governed Observer with a feed grant, or one that was withdrawn, is a feed reader. Whoever a tenant enrols by itself
 * is none: its keys are changed by one person.
 */
export const withFeed = async (
  ledger: Pick<LedgerReader, "readId">,
  id: string,
  principal: StandingPrincipal,
): Promise<StandingPrincipal> => {
  if (principal.loa !== "observer") return principal;
  const feed = await readFeedStanding(ledger, id);
  return feed === undefined ? principal : { ...principal, loa: "guest", feed };
};

/** Whether the suspension of a key affects this holder. */
const reaches = async (
  { readBelow }: StandingSources,
  { by, position }: Suspension,
  id: string,
  principal: PrincipalPayload,
): Promise<boolean> => {
  const author = await readBelow(by, position);
  // If the author no longer exists, the suspension still applies.
  if (author === undefined || isSystemRoot(rankOf(author))) return true;
  // The rank at that time, so that a later promotion does not lift the suspension.
  const subject = (await readBelow(id, position)) ?? principal;
  return maySuspend(rankOf(author), rankOf(subject));
};

/** @param recordId of the principal's (possible) enrolment record, without its tenant: `principal/<id>`. */
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
