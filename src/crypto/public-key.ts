/** A public key as a Node KeyObject. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { toBase64Url, type PublicKey } from "@sigil/core/bytes";

export const publicKeyObject = (publicKey: PublicKey): KeyObject =>
  createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: toBase64Url(publicKey) }, format: "jwk" });
