/**
 * Suspensions: their record ids, who may suspend whom, and their effect on a principal. Pure. Source:
 * docs/spec/suspension.md.
 */
import { toHex, type Hash, type Thumbprint } from "@sigil/core/bytes";
import {
  type FeedGrantPayload,
  type PrincipalPayload,
  systemTenant,
  isAtLeast,
  type Level,
  keySuspensionPrefix,
  suspensionPrefix,
} from "@sigil/core/record";

/** @param recordId of the principal's own record, `principal/<id>`. */
export const principalSuspensionId = (recordId: string): string => suspensionPrefix + recordId;

export const keySuspensionId = (thumbprint: Thumbprint): string => keySuspensionPrefix + toHex(thumbprint);

/** A suspension in force: no quorum has lifted it. */
export type Suspension = {
  readonly recordId: string;
  readonly reason: string;
  /** Id of the suspending principal. */
  readonly by: string;
  readonly position: bigint;
  readonly timeMs: number;
  /** Of its record; absent while it is only considered. */
  readonly hash?: Hash;
};

/**
 * Of a feed reader: an Observer that was ever given a feed grant. It is a Guest for good, so that a withdrawal lowers
 * and never raises, and watches what the grant names. Source: docs/spec/feed.md §2.
 */
export type FeedStanding = {
  readonly recordId: string;
  /** Of its newest version. */
  readonly position: bigint;
  /** Undefined once it was withdrawn. */
  readonly grant: FeedGrantPayload | undefined;
};

/** A principal with its suspensions and its feed grant. */
export type StandingPrincipal = PrincipalPayload & {
  /** Hash of the record that says so. */
  readonly record?: Hash;
  readonly feed?: FeedStanding;
  readonly suspension?: Suspension;
  /** Suspended keys by thumbprint in base64url; absent if there are none. */
  readonly suspendedKeys?: ReadonlyMap<string, Suspension>;
};

/** Whether it may act at all. */
export const isInForce = ({ active, suspension }: StandingPrincipal): boolean =>
  active && suspension === undefined;

export type Rank = { readonly tenant: string; readonly level: Level };

export const rankOf = ({ tenant, loa }: Pick<PrincipalPayload, "tenant" | "loa">): Rank => ({
  tenant,
  level: loa,
});

export const isSystemRoot = ({ tenant, level }: Rank): boolean => level === "root" && tenant === systemTenant;

/** Root of tenant system may suspend anyone; other Mentors and Roots only lower levels of their own tenant. */
export const maySuspend = (author: Rank, subject: Rank): boolean => {
  if (isSystemRoot(author)) return true;
  if (!isAtLeast(author.level, "mentor") || author.tenant !== subject.tenant) return false;
  return !isAtLeast(subject.level, author.level);
};

/**
 * Whether it may propose and can authenticate: not if all its keys are suspended; without keys it uses certificates.
 */
export const canPropose = (principal: StandingPrincipal): boolean => {
  if (!isInForce(principal) || !isAtLeast(principal.loa, "mentor")) return false;
  const { publicKeys, suspendedKeys } = principal;
  return publicKeys.length === 0 || publicKeys.length > (suspendedKeys?.size ?? 0);
};

/** Authors of the suspensions (of it or of all its keys) that keep the principal from proposing. */
export const stoppedBy = (principal: StandingPrincipal): readonly string[] => {
  const { active, loa, publicKeys, suspension, suspendedKeys } = principal;
  if (!active || !isAtLeast(loa, "mentor")) return [];
  const ofKeys = [...(suspendedKeys?.values() ?? [])];
  const isWithoutKeys = publicKeys.length > 0 && ofKeys.length === publicKeys.length;
  return [...(suspension === undefined ? [] : [suspension]), ...(isWithoutKeys ? ofKeys : [])].map(
    ({ by }) => by,
  );
};
