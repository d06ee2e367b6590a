/**
 * Claims of a caller's token, and the rules checked before its signature. Pure: every rule depends only on the text,
 * the origin and the time. Source: docs/spec/tokens.md §2, RFC 7515 §3.1, RFC 7519 §4.1. A token is at most
 * `tokenBytesMax` long.
 */
import { fromBase64Url, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { fail, type CredentialReason } from "../errors.ts";
import { tokenBytesMax, tokenIdBytesMax, tokenLeewaySeconds, tokenLifetimeSecondsMax } from "../limits.ts";
import { canonicalSubject, spellingOr } from "@sigil/core/record";

/** Unix seconds from the token. */
export type TokenTimes = {
  readonly issuedAtSeconds: number;
  readonly notBeforeSeconds: number;
  readonly expiresAtSeconds: number;
};

export type TokenClaims = TokenTimes & {
  /** Canonical, if it is a valid id. */
  readonly principal: string;
  /** Thumbprint of the claimed signing key, base64url. */
  readonly kid: string;
  /** The bytes that the signature covers. */
  readonly signingInput: Uint8Array;
  readonly signature: Uint8Array;
};

export const refuse = (reason: CredentialReason, rule: string): never =>
  fail({ kind: "unauthenticated", reason, rule });

type JsonObject = { readonly [name: string]: unknown };

const thumbprintText = /^[A-Za-z0-9_-]{43}$/;

const decodePart = (part: string, name: string): Uint8Array => {
  try {
    return fromBase64Url(part);
  } catch {
    return refuse("TOKEN_MALFORMED", `the token's ${name} must be unpadded base64url`);
  }
};

const parseJson = (part: string, name: string): JsonObject => {
  const bytes = decodePart(part, name);
  let value: unknown;
  try {
    value = JSON.parse(utf8Decode(bytes));
  } catch {
    return refuse("TOKEN_MALFORMED", `the token's ${name} must be JSON`);
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject
    ? (value as JsonObject)
    : refuse("TOKEN_MALFORMED", `the token's ${name} must be an object`);
};

const claim = (claims: JsonObject, name: string): unknown =>
  Object.hasOwn(claims, name) ? claims[name] : refuse("TOKEN_CLAIMS", `${name} is missing`);

const secondsClaim = (claims: JsonObject, name: string): number => {
  const value = claim(claims, name);
  const isTime = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  return isTime ? value : refuse("TOKEN_CLAIMS", `${name} must be whole seconds since 1970`);
};

const textClaim = (claims: JsonObject, name: string): string => {
  const value = claim(claims, name);
  return typeof value === "string" && value !== ""
    ? value
    : refuse("TOKEN_CLAIMS", `${name} must be text and not empty`);
};

const checkHeader = (header: JsonObject): string => {
  if (header["alg"] !== "EdDSA") refuse("TOKEN_ALGORITHM", "alg must be EdDSA");
  // No critical extension is supported.
  if (Object.hasOwn(header, "crit")) refuse("TOKEN_MALFORMED", "crit is not supported");
  const { typ, kid } = header;
  if (typ !== undefined && (typeof typ !== "string" || typ.toUpperCase() !== "JWT")) {
    refuse("TOKEN_MALFORMED", "typ must be JWT when it is given");
  }
  if (typeof kid === "string" && thumbprintText.test(kid)) return kid;
  return refuse("TOKEN_UNKNOWN_KEY", "kid must be a COSE key thumbprint, 32 bytes in base64url");
};

/**
 * Parses a token and checks everything that depends on neither time nor the ledger.
 * @throws unauthenticated, with the reason of the first rule broken.
 */
export const parseToken = (text: string, origin: string): TokenClaims => {
  if (text.length > tokenBytesMax) refuse("TOKEN_MALFORMED", `a token is at most ${tokenBytesMax} bytes`);
  const [header, payload, signature, ...rest] = text.split(".");
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) {
    return refuse("TOKEN_MALFORMED", "a token has three parts with dots between them");
  }
  const kid = checkHeader(parseJson(header, "header"));
  const claims = parseJson(payload, "payload");
  const subject = textClaim(claims, "sub");
  if (textClaim(claims, "iss") !== subject) refuse("TOKEN_CLAIMS", "iss must equal sub");
  if (claim(claims, "aud") !== origin) refuse("TOKEN_AUDIENCE", `aud must be "${origin}" and nothing else`);
  if (utf8Encode(textClaim(claims, "jti")).length > tokenIdBytesMax) {
    refuse("TOKEN_CLAIMS", `jti must be at most ${tokenIdBytesMax} bytes`);
  }
  const issuedAtSeconds = secondsClaim(claims, "iat");
  const expiresAtSeconds = secondsClaim(claims, "exp");
  const lifetimeSeconds = expiresAtSeconds - issuedAtSeconds;
  if (lifetimeSeconds <= 0 || lifetimeSeconds > tokenLifetimeSecondsMax) {
    refuse("TOKEN_LIFETIME", `exp must lie after iat by at most ${tokenLifetimeSecondsMax} s`);
  }
  return {
    // An invalid id is treated like an unknown one.
    principal: spellingOr(canonicalSubject(subject, origin), subject),
    kid,
    issuedAtSeconds,
    notBeforeSeconds: Object.hasOwn(claims, "nbf") ? secondsClaim(claims, "nbf") : issuedAtSeconds,
    expiresAtSeconds,
    signingInput: utf8Encode(`${header}.${payload}`),
    signature: decodePart(signature, "signature"),
  };
};

/** Checked on every call, also for cached tokens, which must not outlive `exp`. @throws unauthenticated. */
export const checkTimes = (times: TokenTimes, nowMs: number): void => {
  // Written so that a NaN clock refuses.
  if (!(nowMs < (times.expiresAtSeconds + tokenLeewaySeconds) * 1000)) {
    refuse("TOKEN_EXPIRED", `the token expired at ${times.expiresAtSeconds}`);
  }
  const startSeconds = Math.max(times.issuedAtSeconds, times.notBeforeSeconds);
  if (!(nowMs >= (startSeconds - tokenLeewaySeconds) * 1000)) {
    refuse("TOKEN_NOT_YET_VALID", `the token is valid from ${startSeconds}`);
  }
};
