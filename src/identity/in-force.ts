/** Whether a proof that holds may be used: neither its principal nor the key it was made with was stopped. Pure. */
import { refuse } from "./claims.ts";
import type { StandingPrincipal } from "./suspension.ts";

/**
 * @param key thumbprint of the key that the proof was made with, in base64url; undefined when it is none of the
 * principal's.
 * @throws unauthenticated PRINCIPAL_REVOKED, PRINCIPAL_SUSPENDED, KEY_SUSPENDED.
 */
export const requireInForce = (principal: StandingPrincipal, key: string | undefined): void => {
  if (!principal.active) refuse("PRINCIPAL_REVOKED", "the principal is revoked");
  if (principal.suspension !== undefined) {
    refuse(
      "PRINCIPAL_SUSPENDED",
      `the principal is suspended since position ${principal.suspension.position}`,
    );
  }
  const ofKey = key === undefined ? undefined : principal.suspendedKeys?.get(key);
  if (ofKey !== undefined) {
    refuse(
      "KEY_SUSPENDED",
      `the key is suspended since position ${ofKey.position}; use another of the principal's`,
    );
  }
};
