/**
 * A key-encryption key that never leaves its token: AES-256-GCM on the token. Wrapped keys have the same format as with
 * a key in the process. Source: PKCS #11 3.0 §2.13; docs/operating/secrets.md.
 */
import { randomBytes } from "node:crypto";
import { fail } from "../../errors.ts";
import {
  formatWrapped,
  nonceBytes,
  parseWrapped,
  purposeBytes,
  tagBytes,
  type Kek,
} from "../wrapping/wrap.ts";
import { findObjects, isSet, kept, outside, readNumber, staysThere } from "./objects.ts";
import { CK, resultOf, type Attribute, type Handle } from "./module.ts";
import type { TokenInputs } from "./pin.ts";
import { Token, type Session } from "./token.ts";
import type { TokenUri } from "./uri.ts";

const keyBytes = 32;
const classNames: Readonly<Record<number, string>> = {
  [CK.CKO_PUBLIC_KEY]: "a public key",
  [CK.CKO_PRIVATE_KEY]: "a private key",
  [CK.CKO_SECRET_KEY]: "a secret key",
};

/** Return codes for a failed authentication tag; the standard defines no single one. */
const unauthentic = new Set([
  "CKR_AEAD_DECRYPT_FAILED",
  "CKR_ENCRYPTED_DATA_INVALID",
  "CKR_ENCRYPTED_DATA_LEN_RANGE",
  "CKR_DATA_INVALID",
  "CKR_DATA_LEN_RANGE",
  "CKR_GENERAL_ERROR",
  "CKR_FUNCTION_FAILED",
]);

const labelled = ({ object }: TokenUri): Attribute => ({ type: CK.CKA_LABEL, value: object ?? "" });

/** @returns why the object cannot be used; null if it can. */
const faultOf = (session: Session, object: Handle): string | null => {
  const found = readNumber(session, object, CK.CKA_CLASS);
  if (found !== CK.CKO_SECRET_KEY) {
    return `is ${classNames[found ?? -1] ?? "no key"}; it must be an AES key of ${keyBytes} bytes`;
  }
  const isAes = readNumber(session, object, CK.CKA_KEY_TYPE) === CK.CKK_AES;
  const bytes = readNumber(session, object, CK.CKA_VALUE_LEN);
  if (!isAes || bytes !== keyBytes) {
    const what = isAes ? `an AES key of ${bytes ?? "unknown"} bytes` : "a secret key that is not AES";
    return `is ${what}; it must be an AES key of ${keyBytes} bytes`;
  }
  if (!staysThere(session, object))
    return "could be taken out of the token; it must be sensitive and not extractable";
  if (isSet(session, object, CK.CKA_ENCRYPT) && isSet(session, object, CK.CKA_DECRYPT)) return null;
  return "may not encrypt and decrypt; it needs CKA_ENCRYPT and CKA_DECRYPT";
};

/** @throws tokenUnavailable for an unsuitable object, or more than one. */
const findKey = (token: Token, uri: TokenUri, session: Session): Handle | undefined => {
  const named = findObjects(session, [labelled(uri)]);
  const secret = named.filter((object) => readNumber(session, object, CK.CKA_CLASS) === CK.CKO_SECRET_KEY);
  if (secret.length > 1) token.refuse(`there is more than one secret key "${uri.object}" on it`);
  const key = secret[0] ?? named[0];
  if (key === undefined) return undefined;
  const fault = faultOf(session, key);
  return fault === null ? key : token.refuse(`the object "${uri.object}" ${fault}`);
};

const makeKey = async (uri: TokenUri, { library, session }: Session): Promise<void> => {
  const template = [
    ...kept,
    { type: CK.CKA_CLASS, value: CK.CKO_SECRET_KEY },
    { type: CK.CKA_KEY_TYPE, value: CK.CKK_AES },
    { type: CK.CKA_VALUE_LEN, value: keyBytes },
    { type: CK.CKA_ENCRYPT, value: true },
    { type: CK.CKA_DECRYPT, value: true },
    // Only encrypt and decrypt: C_WrapKey could export other keys in a form that this key decrypts.
    { type: CK.CKA_WRAP, value: false },
    { type: CK.CKA_UNWRAP, value: false },
    labelled(uri),
  ];
  await library.C_GenerateKeyAsync(session, { mechanism: CK.CKM_AES_KEY_GEN }, template);
};

const mechanismOf = ({ gcmParameterType }: Session, nonce: Uint8Array, purpose: string) => ({
  mechanism: CK.CKM_AES_GCM,
  parameter: {
    type: gcmParameterType,
    iv: Buffer.from(nonce),
    ivBits: nonce.length * 8,
    aad: Buffer.from(purposeBytes(purpose)),
    tagBits: tagBytes * 8,
  },
});

class TokenKek implements Kek {
  readonly #token: Token;
  readonly #uri: TokenUri;
  #key: { readonly login: number; readonly handle: Handle } | undefined;

  constructor(token: Token, uri: TokenUri) {
    this.#token = token;
    this.#uri = uri;
  }

  wrap(purpose: string, secret: Uint8Array): Promise<Uint8Array> {
    const nonce = randomBytes(nonceBytes);
    return this.#token.use("encrypt", async (session) => {
      const { library } = session;
      library.C_EncryptInit(session.session, mechanismOf(session, nonce, purpose), this.#handle(session));
      const plain = outside(secret);
      try {
        const sealed = Buffer.allocUnsafeSlow(secret.length + tagBytes);
        return formatWrapped(nonce, await library.C_EncryptAsync(session.session, plain, sealed));
      } finally {
        plain.fill(0);
      }
    });
  }

  unwrap(purpose: string, wrapped: Uint8Array): Promise<Uint8Array> {
    return this.#token.use("decrypt", async (session) => {
      const { library } = session;
      const { nonce, sealed } = parseWrapped(purpose, wrapped);
      library.C_DecryptInit(session.session, mechanismOf(session, nonce, purpose), this.#handle(session));
      const input = outside(sealed);
      const plain = Buffer.allocUnsafeSlow(sealed.length);
      try {
        // Into a separate buffer, which the caller zeroes.
        const opened = await library.C_DecryptAsync(session.session, input, plain);
        const secret = new Uint8Array(new ArrayBuffer(opened.length));
        secret.set(opened);
        return secret;
      } catch (cause) {
        if (!unauthentic.has(resultOf(cause))) throw cause;
        const rule = `the wrapped key for ${purpose} fails its authentication tag`;
        return fail({ kind: "keyUnavailable", rule }, { cause });
      } finally {
        plain.fill(0);
        input.fill(0);
      }
    });
  }

  #handle(session: Session): Handle {
    const { login } = session;
    if (this.#key?.login !== login) {
      const handle = findKey(this.#token, this.#uri, session);
      this.#key = { login, handle: handle ?? this.#missing() };
    }
    return this.#key.handle;
  }

  #missing(): never {
    return this.#token.refuse(`there is no object "${this.#uri.object}" on it`);
  }

  /** @throws tokenUnavailable. */
  async check(): Promise<void> {
    await this.#token.use("show its keys", async (session) => void this.#handle(session));
  }

  /** Creates the key if it is missing. @returns whether it did. */
  makeIfMissing(): Promise<boolean> {
    return this.#token.use("make an AES key", async (session) => {
      if (findKey(this.#token, this.#uri, session) !== undefined) return false;
      await makeKey(this.#uri, session);
      return true;
    });
  }
}

export type TokenKekOptions = {
  readonly inputs: TokenInputs;
  readonly onMissing: "make" | "fail";
};

/**
 * @returns the key, tested, and whether it was created now. @throws tokenUnavailable, invalidConfig, looseMode,
 * notFound.
 */
export const openTokenKek = async (
  uri: TokenUri,
  { inputs, onMissing }: TokenKekOptions,
): Promise<{ readonly kek: Kek; readonly made: boolean }> => {
  const token = await Token.open(uri, inputs);
  token.require(["CKM_AES_GCM"], "AES-GCM");
  const kek = new TokenKek(token, uri);
  const made = onMissing === "make" && (await kek.makeIfMissing());
  await kek.check();
  return { kek, made };
};
