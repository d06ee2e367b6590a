/**
 * Suspensions: under which ids they are kept, who may suspend whom, and what is left of a principal. Pure.
 * Source: docs/spec/suspension.md.
 */
import { toHex, type Thumbprint } from "@sigil/core/bytes";
import {
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

/** One that stands: no quorum has lifted it. */
export type Suspension = {
  readonly recordId: string;
  readonly reason: string;
  /** Id of the principal who suspended. */
  readonly by: string;
  readonly position: bigint;
  readonly timeMs: number;
};

/** A principal, and what has been stopped of it. */
export type StandingPrincipal = PrincipalPayload & {
  readonly suspension?: Suspension;
  /** By the key's thumbprint in base64url, those alone that are suspended; absent when none is. */
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

/** Root of tenant system: anybody. Others from Mentor up: whoever of their own tenant is below them. */
export const maySuspend = (author: Rank, subject: Rank): boolean => {
  if (isSystemRoot(author)) return true;
  if (!isAtLeast(author.level, "mentor") || author.tenant !== subject.tenant) return false;
  return !isAtLeast(subject.level, author.level);
};

/**
 * Whether it may propose and can prove who it is. One whose keys are all suspended cannot; one without any has
 * certificates.
 */
export const canPropose = (principal: StandingPrincipal): boolean => {
  if (!isInForce(principal) || !isAtLeast(principal.loa, "mentor")) return false;
  const { publicKeys, suspendedKeys } = principal;
  return publicKeys.length === 0 || publicKeys.length > (suspendedKeys?.size ?? 0);
};

/** Who keeps a principal from proposing that otherwise could: who suspended it, or all of its keys. */
export const stoppedBy = (principal: StandingPrincipal): readonly string[] => {
  const { active, loa, publicKeys, suspension, suspendedKeys } = principal;
  if (!active || !isAtLeast(loa, "mentor")) return [];
  const ofKeys = [...(suspendedKeys?.values() ?? [])];
  const isWithoutKeys = publicKeys.length > 0 && ofKeys.length === publicKeys.length;
  return [...(suspension === undefined ? [] : [suspension]), ...(isWithoutKeys ? ofKeys : [])].map(
    ({ by }) => by,
  );
};
