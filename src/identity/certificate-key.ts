/**
 * The key of a client certificate where it may matter: a principal of which a key is suspended must not go on with the
 * same key in a certificate. Parsing costs tens of microseconds, so it is done for such a principal alone.
 */
import { X509Certificate } from "node:crypto";
import { fromBase64Url, parsePublicKey, toBase64Url } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import type { PeerNames } from "./certificates.ts";
import type { StandingPrincipal } from "./suspension.ts";

/** Its thumbprint in base64url; undefined when it is no Ed25519 key, or no key of the principal is suspended. */
export const keyOfCertificate = (
  { raw }: PeerNames,
  { suspendedKeys }: StandingPrincipal,
): string | undefined => {
  if (suspendedKeys === undefined || raw === undefined) return undefined;
  const { publicKey } = new X509Certificate(raw);
  if (publicKey.asymmetricKeyType !== "ed25519") return undefined;
  const { x = "" } = publicKey.export({ format: "jwk" });
  return toBase64Url(coseKeyThumbprint(parsePublicKey(fromBase64Url(x))));
};
