/**
 * Verifier keys, C2SP signed-note: `<name>+<key id in hex>+<base64 of the algorithm's byte and the key>`. Pure. Source:
 * docs/spec/ledger.md §4. Ed25519 alone: 0x01 signs notes, 0x04 cosigns checkpoints.
 */
import { concatBytes, parsePublicKey, toBase64, toHex } from "../bytes.ts";
import type { PublicKey } from "../bytes.ts";
import { fail } from "../errors.ts";
import { parseBase64 } from "./base64.ts";
import { cosignatureKeyId, noteKeyId } from "./note.ts";

export interface VerifierKey {
  /** Who signs: of a log its origin. */
  readonly name: string;
  readonly use: "log" | "cosigner";
  readonly publicKey: PublicKey;
}

const algorithms = { log: 0x01, cosigner: 0x04 } as const;
const keyIds = { log: noteKeyId, cosigner: cosignatureKeyId } as const;

const malformed = (rule: string): never =>
  fail({ kind: "malformedCheckpoint", rule: `verifier key: ${rule}` });

/** @throws malformedCheckpoint if the name is no key name. */
export const formatVerifierKey = ({ name, use, publicKey }: VerifierKey): string => {
  const keyId = keyIds[use](name, publicKey);
  return `${name}+${toHex(keyId)}+${toBase64(concatBytes(Uint8Array.of(algorithms[use]), publicKey))}`;
};

/** @throws malformedCheckpoint. */
export const parseVerifierKey = (text: string): VerifierKey => {
  // A name has no plus sign, base64 may.
  const [, name, keyId, base64] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  if (name === undefined || keyId === undefined || base64 === undefined) {
    return malformed(
      "must be a name, a key id of eight lower-case hexadecimal digits and a key, joined by +",
    );
  }
  const bytes = parseBase64(base64, () => malformed("the key must be padded standard base64"));
  const use = bytes[0] === algorithms.log ? "log" : "cosigner";
  if (bytes[0] !== algorithms[use])
    malformed("its algorithm must be Ed25519: 0x01 of a log, 0x04 of a cosigner");
  if (bytes.length !== 33) malformed("an Ed25519 key has 32 bytes");
  const publicKey = parsePublicKey(bytes.slice(1));
  if (toHex(keyIds[use](name, publicKey)) !== keyId)
    malformed("the key id is not that of the name and the key");
  return { name, use, publicKey };
};
