/** The hash of a genesis record, as `sigil init` prints it: what its reader trusts instead of a server. */
import { fromHex, parseHash, type Hash } from "@sigil/core/bytes";

/** 32 bytes, or 64 hexadecimal digits. */
export type Genesis = Uint8Array | string;

/** @throws TypeError */
export const parseGenesisHash = (given: Genesis): Hash => {
  const bytes =
    typeof given === "string" && /^[0-9a-f]{64}$/i.test(given) ? fromHex(given.toLowerCase()) : given;
  if (bytes instanceof Uint8Array && bytes.length === 32) return parseHash(bytes);
  throw new TypeError("genesis must be the hash of the genesis record: 32 bytes, or 64 hexadecimal digits");
};
