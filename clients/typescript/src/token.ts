/**
 * Tokens signed with a principal's own Ed25519 key: an EdDSA JWT valid for at most ten minutes, renewed shortly before
 * it expires. Source: docs/spec/tokens.md. The key never leaves this process.
 */
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign, type KeyObject } from "node:crypto";

/** Returns the token for a call. Called before every call, so it should cache. */
export type TokenSigner = { readonly token: () => string | Promise<string> };

export type TokenSignerOptions = {
  /** The principal's id. */
  readonly principal: string;
  /** The deployment's origin, as set by `sigil init --origin`. */
  readonly origin: string;
  /** An Ed25519 private key: PKCS #8 PEM, or a KeyObject. */
  readonly privateKey: string | KeyObject;
  /** Lifetime of a token in seconds, 1 to 600; default 600. */
  readonly lifetimeSeconds?: number;
  /** Seconds before expiry at which a token is renewed; default a fifth of its lifetime. */
  readonly renewBeforeSeconds?: number;
  /** The clock, in Unix milliseconds. */
  readonly nowMs?: () => number;
};

const lifetimeSecondsMax = 600;

/** The deterministic CBOR of a COSE_Key `{1: 1, -1: 6, -2: x}` up to x. Source: RFC 9679 §4, RFC 9053 §7.2. */
const coseKeyPrefix = Uint8Array.of(0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20);

export const rawPublicKey = (key: KeyObject): Uint8Array => {
  if (key.asymmetricKeyType !== "ed25519") throw new TypeError("must be an Ed25519 key");
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ format: "der", type: "spki" });
  return spki.subarray(-32);
};

/** The COSE key thumbprint of an Ed25519 key, RFC 9679 with SHA-256, in base64url, which identifies a key. */
export const keyThumbprint = (key: KeyObject): string =>
  createHash("sha256").update(coseKeyPrefix).update(rawPublicKey(key)).digest("base64url");

/** @throws TypeError */
export const parsePrivateKey = (key: string | KeyObject): KeyObject => {
  const parsed = typeof key === "string" ? createPrivateKey(key) : key;
  if (parsed.type !== "private" || parsed.asymmetricKeyType !== "ed25519") {
    throw new TypeError("privateKey must be an Ed25519 private key");
  }
  return parsed;
};

const encodeJson = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** @throws TypeError if the key is not an Ed25519 private key, RangeError for a lifetime outside 1 to 600 s. */
export const createTokenSigner = (options: TokenSignerOptions): { readonly token: () => string } => {
  const { principal, origin, nowMs = Date.now, lifetimeSeconds = lifetimeSecondsMax } = options;
  if (!Number.isInteger(lifetimeSeconds) || lifetimeSeconds < 1 || lifetimeSeconds > lifetimeSecondsMax) {
    throw new RangeError(`lifetimeSeconds must be a whole number from 1 to ${lifetimeSecondsMax}`);
  }
  const privateKey = parsePrivateKey(options.privateKey);
  const header = encodeJson({ alg: "EdDSA", typ: "JWT", kid: keyThumbprint(privateKey) });
  const renewBeforeSeconds = options.renewBeforeSeconds ?? lifetimeSeconds / 5;
  let held: { readonly text: string; readonly madeMs: number } | undefined;

  const mint = (madeMs: number): string => {
    const iat = Math.floor(madeMs / 1000);
    const exp = iat + lifetimeSeconds;
    const claims = { iss: principal, sub: principal, aud: origin, iat, exp, jti: randomUUID() };
    const signingInput = `${header}.${encodeJson(claims)}`;
    return `${signingInput}.${sign(null, Buffer.from(signingInput), privateKey).toString("base64url")}`;
  };

  const token = (): string => {
    const now = nowMs();
    const ageMs = held === undefined ? Infinity : now - held.madeMs;
    // Also renew if the clock was set back, which dates the cached token in the future.
    if (held === undefined || ageMs < 0 || ageMs >= (lifetimeSeconds - renewBeforeSeconds) * 1000) {
      held = { text: mint(now), madeMs: now };
    }
    return held.text;
  };

  return { token };
};
