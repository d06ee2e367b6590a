/**
 * The byte format of a backup, on the wire and in its files: frames of a key and a value. The first byte of a key is
 * its type: a family of the store (r, b, s, k, e), `f` a file of the deployment by its path, `g` the SHA-256 over the
 * frames of the preceding group. At most `backupValueBytesMax` per value. Source: docs/spec/backup.md §1.
 */
import { concatBytes, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { backupKeyBytesMax, backupValueBytesMax } from "../../limits.ts";

export type Frame = { readonly key: Uint8Array; readonly value: Uint8Array; readonly bytes: Uint8Array };

/** u16be key length ‖ key ‖ u32be value length ‖ value. */
export const formatFrame = (key: Uint8Array, value: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(6 + key.length + value.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, key.length);
  bytes.set(key, 2);
  view.setUint32(2 + key.length, value.length);
  bytes.set(value, 6 + key.length);
  return bytes;
};

const letter = (key: Uint8Array): string => String.fromCharCode(key[0] ?? 0);

export const groupDigestKey: Uint8Array = utf8Encode("g");
export const isGroupDigest = (key: Uint8Array): boolean => key.length === 1 && letter(key) === "g";

/** Paths of a deployment's files (description, wrapped keys, code of modules); excludes path traversal. */
const pathPattern =
  /^(?:deployment\.json|keys(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){1,4}|modules\/[0-9a-f]{64}\.wasm)$/;
export const isBackedUpPath = (path: string): boolean => pathPattern.test(path);

export const fileKey = (path: string): Uint8Array => utf8Encode(`f${path}`);

const malformed = (rule: string): never =>
  fail({ kind: "backupRefused", backup: "what the server sends", rule });

/** The path in a file frame; undefined for other frames. @throws backupRefused for a path outside a deployment. */
export const pathOf = (key: Uint8Array): string | undefined => {
  if (letter(key) !== "f") return undefined;
  let path: string;
  try {
    path = utf8Decode(key.subarray(1));
  } catch {
    return malformed("a file's path is malformed");
  }
  return isBackedUpPath(path) ? path : malformed("a file's path lies outside a deployment");
};

/** Reassembles frames from a chunked stream. Buffers one frame. */
export class BackupFrameReader {
  #held: Uint8Array = new Uint8Array(0);

  /** True if no frame is incomplete. */
  get isWhole(): boolean {
    return this.#held.length === 0;
  }

  /** @throws backupRefused for a frame that is too long. */
  *push(piece: Uint8Array): Generator<Frame> {
    let bytes = this.#held.length === 0 ? piece : concatBytes(this.#held, piece);
    for (;;) {
      const length = frameBytes(bytes);
      if (length === undefined || bytes.length < length) break;
      const frame = bytes.subarray(0, length);
      const keyEnd = 2 + viewOf(frame).getUint16(0);
      bytes = bytes.subarray(length);
      yield { key: frame.subarray(2, keyEnd), value: frame.subarray(keyEnd + 4), bytes: frame };
    }
    this.#held = bytes.slice();
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Size of the frame that begins there; undefined while its length fields are incomplete. */
const frameBytes = (bytes: Uint8Array): number | undefined => {
  if (bytes.length < 2) return undefined;
  const keyLength = viewOf(bytes).getUint16(0);
  if (keyLength === 0 || keyLength > backupKeyBytesMax) return malformed("a key has no possible length");
  if (bytes.length < 6 + keyLength) return undefined;
  const valueLength = viewOf(bytes).getUint32(2 + keyLength);
  return valueLength <= backupValueBytesMax ? 6 + keyLength + valueLength : malformed("a value is too long");
};
