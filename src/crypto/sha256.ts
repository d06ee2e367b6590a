/** SHA-256 by OpenSSL in one call: the server's `Sha256`, same bytes as the portable one and faster. */
import { hash } from "node:crypto";
import type { Hash } from "@sigil/core/bytes";
import type { Sha256 } from "@sigil/core/hash";

const digestBytes = 32;

export const opensslSha256: Sha256 = (data) => {
  // A digest as a string of 32 characters: handing a Buffer across costs three times as much as the hash.
  const digest = hash("sha256", data, "binary");
  const bytes = new Uint8Array(digestBytes);
  for (let index = 0; index < digestBytes; index += 1) bytes[index] = digest.charCodeAt(index);
  return bytes as Hash;
};
