/**
 * A person's or service's own key: an Ed25519 private key as PKCS#8 PEM (RFC 8410) in a file of 0600, and its public
 * key as text, `ed25519:<base64url>`.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { fromBase64Url, toBase64Url, type Mldsa44PublicKey, type PublicKey } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { OnShared } from "../files/file-access.ts";
import { createPrivateFile, readPrivateFile } from "../files/private-file.ts";
import { rawPublicKey } from "./sign.ts";
import { checkPublicKey } from "@sigil/core/keys";

const prefix = "ed25519:";

export const formatPublicKey = (publicKey: PublicKey): string => prefix + toBase64Url(publicKey);

export const formatMldsa44PublicKey = (publicKey: Mldsa44PublicKey): string =>
  `ml-dsa-44:${toBase64Url(publicKey)}`;

/** @throws malformedKey unless `ed25519:` and the base64url of a key that may be enrolled. */
export const parsePublicKeyText = (text: string): PublicKey => {
  const rule = `must be ${prefix} and 32 bytes in base64url`;
  if (!text.startsWith(prefix)) fail({ kind: "malformedKey", rule });
  let raw: Uint8Array;
  try {
    raw = fromBase64Url(text.slice(prefix.length));
  } catch (error) {
    return fail({ kind: "malformedKey", rule }, { cause: error });
  }
  return checkPublicKey(raw);
};

/** A private key that stays inside OpenSSL, and its public half. */
export type KeyPair = { readonly publicKey: PublicKey; readonly privateKey: KeyObject };

/** @throws usage if the name is taken: a key is never overwritten. */
export const createKeyFile = async (path: string): Promise<KeyPair> => {
  const { privateKey } = generateKeyPairSync("ed25519");
  await createPrivateFile(path, privateKey.export({ format: "pem", type: "pkcs8" }));
  return { publicKey: rawPublicKey(privateKey), privateKey };
};

/** @throws notFound, looseMode, malformedKey. */
export const readKeyFile = async (path: string, onShared?: OnShared): Promise<KeyPair> => {
  const content = await readPrivateFile(path, "key file", onShared);
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey({
      key: Buffer.from(content.buffer as ArrayBuffer, content.byteOffset, content.length),
      format: "pem",
    });
  } catch {
    // Without a cause, which could carry file content.
    return fail({ kind: "malformedKey", rule: `${path} must hold a private key as PKCS#8 PEM` });
  } finally {
    content.fill(0);
  }
  return { publicKey: rawPublicKey(privateKey), privateKey };
};
