/**
 * Tokens signed with a principal's own Ed25519 key: an EdDSA JWT of at most ten minutes, made anew shortly before it
 * ends. Source: docs/spec/tokens.md. The key stays in this process; only the signature leaves it.
 */
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign, type KeyObject } from "node:crypto";

/** Gives the token of a call. `connect` asks before every call, so it should remember. */
export type TokenSigner = { readonly token: () => string | Promise<string> };

export type TokenSignerOptions = {
  /** The principal's id. */
  readonly principal: string;
  /** The deployment's origin, as `sigil init --origin` set it. */
  readonly origin: string;
  /** An Ed25519 private key: PKCS #8 PEM, or as Node holds it. */
  readonly privateKey: string | KeyObject;
  /** How long one token is good for, 1 to 600; 600 unless told. */
  readonly lifetimeSeconds?: number;
  /** How long before its end a token is replaced; a fifth of its lifetime unless told. */
  readonly renewBeforeSeconds?: number;
  /** The clock, in milliseconds since 1970. */
  readonly nowMs?: () => number;
};

const lifetimeSecondsMax = 600;

/** The deterministic CBOR of a COSE_Key `{1: 1, -1: 6, -2: x}` up to x. Source: RFC 9679 §4, RFC 9053 §7.2. */
const coseKeyPrefix = Uint8Array.of(0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20);

const rawPublicKey = (key: KeyObject): Uint8Array => {
  if (key.asymmetricKeyType !== "ed25519") throw new TypeError("must be an Ed25519 key");
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ format: "der", type: "spki" });
  return spki.subarray(-32);
};

/** The COSE key thumbprint of an Ed25519 key, RFC 9679 with SHA-256, in base64url: how Sigil names a key. */
export const keyThumbprint = (key: KeyObject): string =>
  createHash("sha256").update(coseKeyPrefix).update(rawPublicKey(key)).digest("base64url");

const parsePrivateKey = (key: string | KeyObject): KeyObject => {
  const parsed = typeof key === "string" ? createPrivateKey(key) : key;
  if (parsed.type !== "private" || parsed.asymmetricKeyType !== "ed25519") {
    throw new TypeError("privateKey must be an Ed25519 private key");
  }
  return parsed;
};

const encodeJson = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** @throws TypeError when the key is not an Ed25519 private key, RangeError for a lifetime outside 1 to 600 s. */
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
    // A clock that was set back makes the held token one from the future: also a reason for a new one.
    if (held === undefined || ageMs < 0 || ageMs >= (lifetimeSeconds - renewBeforeSeconds) * 1000) {
      held = { text: mint(now), madeMs: now };
    }
    return held.text;
  };

  return { token };
};
