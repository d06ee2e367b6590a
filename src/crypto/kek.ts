/**
 * The key-encryption key: 32 bytes that wrap every other key, from a file (0600, base64), the environment (base64), a
 * passphrase through scrypt (RFC 7914), or on a PKCS #11 token, which it never leaves. The deployment stores a
 * reference to it: its source, the salt, and a verifier that only the right key decrypts. The key itself is never
 * stored and never in a message.
 */
import { createSecretKey, randomBytes, scrypt } from "node:crypto";
import { fromBase64, toBase64, utf8Encode } from "@sigil/core/bytes";
import { fail, SigilFault } from "../errors.ts";
import type { TokenInputs } from "./pkcs11/pin.ts";
import { openTokenKek } from "./pkcs11/token-kek.ts";
import { formatTokenUri, isTokenUri, parseTokenUri, type TokenUri } from "./pkcs11/uri.ts";
import { createPrivateFile, readPrivateFile } from "./files/private-file.ts";
import { localKek, type Kek } from "./wrapping/wrap.ts";

export type KekSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "passphrase" }
  | { readonly kind: "pkcs11"; readonly uri: TokenUri };

/** Inputs from outside. `askPassphrase` returns UTF-8 bytes, which are zeroed after use. */
export type KekInputs = TokenInputs & { readonly askPassphrase: () => Promise<Uint8Array> };

/** Stored as JSON in the deployment's description: `source` as text, `salt` and `verifier` in base64. */
export type KekReference = {
  readonly source: string;
  readonly salt: string | null;
  readonly verifier: string;
};

const keyBytes = 32;
const keyTextBytes = 44;
const saltBytes = 16;
const verifierPurpose = "verifier";
/** About a third of a second and 128 MiB per guess. */
const scryptCost = { N: 2 ** 17, r: 8, p: 1, maxmem: 192 << 20 };

const failConfig = (rule: string): never => fail({ kind: "invalidConfig", key: "kek", rule });

/** `file:PATH`, `env:NAME`, `passphrase` or `pkcs11:URI`. @throws invalidConfig. */
export const parseKekSource = (text: string): KekSource => {
  if (text === "passphrase") return { kind: "passphrase" };
  if (text.startsWith("file:") && text.length > 5) return { kind: "file", path: text.slice(5) };
  if (/^env:[A-Za-z_][A-Za-z0-9_]*$/.test(text)) return { kind: "env", name: text.slice(4) };
  if (isTokenUri(text)) return { kind: "pkcs11", uri: parseTokenUri(text, "kek") };
  return failConfig("must be file:PATH, env:NAME, passphrase or pkcs11:URI");
};

export const formatKekSource = (source: KekSource): string => {
  switch (source.kind) {
    case "file":
      return `file:${source.path}`;
    case "env":
      return `env:${source.name}`;
    case "passphrase":
      return "passphrase";
    case "pkcs11":
      return formatTokenUri(source.uri);
  }
};

/** Creates a random key in a new file of 0600. @throws usage if the name is taken. */
export const createKekFile = async (path: string): Promise<void> => {
  const key = randomBytes(keyBytes);
  await createPrivateFile(path, `${toBase64(key)}\n`);
  key.fill(0);
};

/** Value of a base64 digit; 64 for any other byte. */
const digitOf = (byte: number): number => {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  if (byte === 0x2b) return 62;
  return byte === 0x2f ? 63 : 64;
};

const isBlank = (byte: number | undefined): boolean => byte !== undefined && byte <= 0x20;

/**
 * Parses 32 bytes in padded standard base64, surrounding blanks allowed. Works on bytes, since strings cannot be
 * zeroed, and into a separate buffer, since V8 keeps small arrays on its heap, where the collector leaves copies.
 * @throws invalidConfig, which reveals nothing of the content.
 */
const parseKeyText = (text: Uint8Array, holder: string): Uint8Array => {
  let [start, end] = [0, text.length];
  while (isBlank(text[start])) start += 1;
  while (end > start && isBlank(text[end - 1])) end -= 1;
  const key = new Uint8Array(new ArrayBuffer(keyBytes));
  // 43 digits of 6 bits and one "=": the two unused bits of the last digit must be zero.
  let bad = end - start !== keyTextBytes || text[end - 1] !== 0x3d;
  for (let index = 0, held = 0, bits = 0, offset = 0; !bad && index < keyTextBytes - 1; index += 1) {
    const digit = digitOf(text[start + index] ?? 0);
    held = ((held << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      key[offset] = held >> bits;
      offset += 1;
    }
    bad = digit > 63 || (offset === keyBytes && (held & 3) !== 0);
  }
  if (!bad) return key;
  key.fill(0);
  return failConfig(`${holder} must hold 32 bytes in base64`);
};

const readFileKey = async (path: string, { onShared }: KekInputs): Promise<Uint8Array> => {
  const content = await readPrivateFile(path, "key-encryption key file", onShared);
  try {
    return parseKeyText(content, path);
  } finally {
    content.fill(0);
  }
};

const derivePassphraseKey = async (inputs: KekInputs, salt: Uint8Array): Promise<Uint8Array> => {
  const passphrase = await inputs.askPassphrase();
  if (passphrase.length === 0) failConfig("the passphrase must not be empty");
  try {
    return await new Promise((resolve, reject) => {
      scrypt(passphrase, salt, keyBytes, scryptCost, (error, key) =>
        error === null ? resolve(key) : reject(error),
      );
    });
  } finally {
    passphrase.fill(0);
  }
};

/** A source whose key is loaded into this process. */
type HeldSource = Exclude<KekSource, { readonly kind: "pkcs11" }>;

const loadKeyBytes = (
  source: HeldSource,
  inputs: KekInputs,
  salt: Uint8Array | null,
): Promise<Uint8Array> => {
  switch (source.kind) {
    case "file":
      return readFileKey(source.path, inputs);
    case "env": {
      const text = inputs.env[source.name] ?? failConfig(`environment variable ${source.name} is not set`);
      return Promise.resolve(parseKeyText(utf8Encode(text), `environment variable ${source.name}`));
    }
    case "passphrase":
      return derivePassphraseKey(inputs, salt ?? failConfig("a passphrase needs its stored salt"));
  }
};

type Opened = { readonly kek: Kek; readonly made: boolean };

const openKek = async (
  source: KekSource,
  inputs: KekInputs,
  { salt, onMissing }: { readonly salt: Uint8Array | null; readonly onMissing: "make" | "fail" },
): Promise<Opened> => {
  if (source.kind === "pkcs11") return openTokenKek(source.uri, { inputs, onMissing });
  const key = await loadKeyBytes(source, inputs, salt);
  try {
    return { kek: localKek(createSecretKey(key)), made: false };
  } finally {
    key.fill(0);
  }
};

/**
 * For a new deployment: returns the key, and the reference to store. On a token it is created if none has that name.
 * @throws invalidConfig, notFound, looseMode, tokenUnavailable.
 */
export const createKek = async (
  source: KekSource,
  inputs: KekInputs,
): Promise<Opened & { readonly reference: KekReference }> => {
  const salt = source.kind === "passphrase" ? randomBytes(saltBytes) : null;
  const { kek, made } = await openKek(source, inputs, { salt, onMissing: "make" });
  const verifier = await kek.wrap(verifierPurpose, new Uint8Array(keyBytes));
  return {
    kek,
    made,
    reference: {
      source: formatKekSource(source),
      salt: salt === null ? null : toBase64(salt),
      verifier: toBase64(verifier),
    },
  };
};

/** Whether the reference was made with this key, from any source. */
export const isKekOf = async (kek: Kek, { verifier }: KekReference): Promise<boolean> => {
  try {
    await kek.unwrap(verifierPurpose, fromBase64(verifier));
    return true;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "keyUnavailable") return false;
    throw error;
  }
};

/**
 * The key of an existing deployment.
 * @throws wrongKeyEncryptionKey if the verifier does not decrypt; invalidConfig, notFound, looseMode, tokenUnavailable.
 */
export const loadKek = async (reference: KekReference, inputs: KekInputs): Promise<Kek> => {
  const salt = reference.salt === null ? null : fromBase64(reference.salt);
  const { kek } = await openKek(parseKekSource(reference.source), inputs, { salt, onMissing: "fail" });
  if (await isKekOf(kek, reference)) return kek;
  return fail({ kind: "wrongKeyEncryptionKey", source: reference.source });
};
