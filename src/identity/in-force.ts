/** Whether a valid credential may be used: neither its principal nor its key is suspended. Pure. */
import { refuse } from "./claims.ts";
import type { StandingPrincipal } from "./suspension.ts";

/**
 * @param key thumbprint of the credential's key, in base64url; undefined if it is not an enrolled key.
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
