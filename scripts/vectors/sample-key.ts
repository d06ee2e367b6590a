/** Keys for vectors: the seed is SHA-256 of a label, so that files are reproducible. */
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { parsePublicKey, parseSignature, type PublicKey, type Signature } from "@sigil/core/bytes";

export interface SampleKey {
  readonly publicKey: PublicKey;
  readonly sign: (message: Uint8Array) => Signature;
}

const pkcs8Ed25519 = Buffer.from("302e020100300506032b657004220420", "hex");

export const sampleKey = (label: string): SampleKey => {
  const seed = createHash("sha256").update(label).digest();
  const der = Buffer.concat([pkcs8Ed25519, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return {
    publicKey: parsePublicKey(spki.subarray(-32)),
    sign: (message) => parseSignature(sign(null, message, privateKey)),
  };
};
