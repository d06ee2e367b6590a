/**
 * Caller tokens: EdDSA JWTs signed with a principal's own key. A signature must be accepted both by jose (OpenSSL) and
 * by the strict JavaScript verifier. That takes milliseconds, so a verified token is cached by its hash until it
 * expires; whether its key and principal are still in force is checked on every call. Source: docs/spec/tokens.md. At
 * most `tokenCacheEntriesMax` are cached.
 */
import { hash } from "node:crypto";
import { JOSEError, JWSSignatureVerificationFailed } from "jose/errors";
import { compactVerify } from "jose/jws/compact/verify";
import { toBase64Url, type PublicKey } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { SigilFault } from "../errors.ts";
import type { PrincipalPayload } from "@sigil/core/record";
import { principalCacheEntriesMax, tokenCacheEntriesMax, tokensPerPrincipalMax } from "../limits.ts";
import { verifyForeign, type Verify } from "@sigil/core/keys";
import { publicKeyObject } from "../crypto/public-key.ts";
import { BoundedMap } from "./bounded-map.ts";
import { standingCaller, type Caller } from "./caller.ts";
import { checkTimes, parseToken, refuse, type TokenClaims, type TokenTimes } from "./claims.ts";
import type { Principals } from "./principals.ts";
import { requireInForce } from "./in-force.ts";

/**
 * Paces the processor time of a new token: parsing, then strict verification, which takes milliseconds.
 * @param signer the principal whose key signed it; null while unknown. @throws cancelled if the caller has gone.
 */
export type PaceProof = <Result>(signer: string | null, work: () => Promise<Result>) => Promise<Result>;

export type TokenVerifier = {
  /** @throws unauthenticated with its reason; whatever reading the principal throws. */
  readonly verify: (token: string, pace?: PaceProof) => Promise<Caller>;
};

const unpaced: PaceProof = (_, work) => work();

export type TokenVerifierOptions = {
  readonly principals: Pick<Principals, "find">;
  readonly origin: string;
  readonly nowMs: () => number;
  readonly cacheEntriesMax?: number;
  /** The second verifier; default `verifyForeign`, replaced in tests. */
  readonly verifyAgain?: Verify;
};

/** Cache entry of a verified token. */
type VerifiedToken = TokenTimes & { readonly principal: string; readonly kid: string };

/** A principal's keys by thumbprint. Computed once per version, since principals are immutable. */
const keysOfPrincipal = new WeakMap<PrincipalPayload, ReadonlyMap<string, PublicKey>>();

const keysByThumbprint = (principal: PrincipalPayload): ReadonlyMap<string, PublicKey> => {
  const known = keysOfPrincipal.get(principal);
  if (known !== undefined) return known;
  const keys = new Map(principal.publicKeys.map((key) => [toBase64Url(coseKeyThumbprint(key)), key]));
  keysOfPrincipal.set(principal, keys);
  return keys;
};

const joseAccepts = async (token: string, publicKey: PublicKey): Promise<boolean> => {
  try {
    await compactVerify(token, publicKeyObject(publicKey), { algorithms: ["EdDSA"] });
    return true;
  } catch (error) {
    if (error instanceof JWSSignatureVerificationFailed) return false;
    if (error instanceof JOSEError) return refuse("TOKEN_MALFORMED", "the token is not a valid JWS");
    throw error;
  }
};

export const createTokenVerifier = (options: TokenVerifierOptions): TokenVerifier => {
  const { principals, origin, nowMs, verifyAgain = verifyForeign } = options;
  const verified = new BoundedMap<string, VerifiedToken>(options.cacheEntriesMax ?? tokenCacheEntriesMax);
  /** Cache keys of each principal's tokens, oldest first. */
  const namesOf = new BoundedMap<string, string[]>(principalCacheEntriesMax);
  /** Verifications in progress, shared by concurrent calls with the same token. Bounded by the calls in progress. */
  const underWay = new Map<string, Promise<VerifiedToken>>();

  /**
   * Unknown principals and unknown keys get the same error, so that callers without a key learn nothing about
   * enrolment.
   */
  const findKey = async ({ principal: id, kid }: Pick<TokenClaims, "principal" | "kid">) => {
    const principal = await principals.find(id);
    const key = principal === undefined ? undefined : keysByThumbprint(principal).get(kid);
    if (principal === undefined || key === undefined) {
      return refuse("TOKEN_UNKNOWN_KEY", "kid names no key of the principal in sub");
    }
    return { principal, key };
  };

  const remember = (name: string, entry: VerifiedToken): void => {
    const own = namesOf.get(entry.principal) ?? [];
    namesOf.set(entry.principal, own);
    own.push(name);
    const [oldest] = own;
    if (own.length > tokensPerPrincipalMax && oldest !== undefined) {
      own.shift();
      verified.delete(oldest);
    }
    verified.set(name, entry);
  };

  const refuseSignature = (): never => refuse("TOKEN_SIGNATURE", "the signature does not verify");

  const lookAt = async (token: string) => {
    const claims = parseToken(token, origin);
    checkTimes(claims, nowMs());
    const { key } = await findKey(claims);
    return (await joseAccepts(token, key)) ? { claims, key } : refuseSignature();
  };

  const verifySignature = async (token: string, name: string, pace: PaceProof): Promise<VerifiedToken> => {
    const { claims, key } = await pace(null, () => lookAt(token));
    const { signingInput, signature } = claims;
    if (!(await pace(claims.principal, () => verifyAgain(key, signingInput, signature)))) refuseSignature();
    const { principal, kid, issuedAtSeconds, notBeforeSeconds, expiresAtSeconds } = claims;
    const entry = { principal, kid, issuedAtSeconds, notBeforeSeconds, expiresAtSeconds };
    remember(name, entry);
    return entry;
  };

  const firstSight = async (token: string, name: string, pace: PaceProof): Promise<VerifiedToken> => {
    const shared = underWay.get(name);
    if (shared !== undefined) {
      try {
        return await shared;
      } catch (error) {
        if (!(error instanceof SigilFault) || error.error.kind !== "cancelled") throw error;
        // The caller that ran the shared verification was cancelled; run it again for this one.
        return firstSight(token, name, pace);
      }
    }
    const started = verifySignature(token, name, pace).finally(() => underWay.delete(name));
    underWay.set(name, started);
    return started;
  };

  const verify = async (token: string, pace: PaceProof = unpaced): Promise<Caller> => {
    const name = hash("sha256", token, "base64url");
    const entry = verified.get(name) ?? (await firstSight(token, name, pace));
    checkTimes(entry, nowMs());
    // Checked on every call: a revoked principal, or a removed or suspended key, invalidates a cached token
    // immediately.
    const { principal } = await findKey(entry);
    requireInForce(principal, entry.kid);
    return {
      principal: entry.principal,
      ...standingCaller(principal),
      credential: "token",
      peer: "",
      key: entry.kid,
    };
  };

  return { verify };
};
