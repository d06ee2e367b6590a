/**
 * The key of a client certificate, needed for principals with a suspended key, who must not use the same key in a
 * certificate. Parsing takes tens of microseconds, so it is done only for those.
 */
import { X509Certificate } from "node:crypto";
import { fromBase64Url, parsePublicKey, toBase64Url } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import type { PeerNames } from "./certificates.ts";
import type { StandingPrincipal } from "./suspension.ts";

/** The key's thumbprint in base64url; undefined if it is not an Ed25519 key or no key of the principal is suspended. */
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
