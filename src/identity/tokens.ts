/**
 * Caller tokens: EdDSA JWTs signed with a principal's own key. A signature is foreign, so it counts only when jose
 * (OpenSSL underneath) and the strict pure-JavaScript verifier both accept. That costs milliseconds, so a verified
 * token is remembered by its hash until it expires; whether its key and principal still stand is asked on every call.
 * Source: docs/spec/tokens.md. At most `tokenCacheEntriesMax` are held.
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
import type { Caller } from "./caller.ts";
import { checkTimes, parseToken, refuse, type TokenClaims, type TokenTimes } from "./claims.ts";
import type { Principals } from "./principals.ts";
import { requireInForce } from "./in-force.ts";

/**
 * What a new token costs, in somebody's turn: looking at it, and then verifying it strictly, which costs milliseconds.
 * @param signer the principal whose key signed it; null while nobody is known to have. @throws cancelled when its
 * caller has left.
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
  /** The second opinion; `verifyForeign` unless a test says otherwise. */
  readonly verifyAgain?: Verify;
};

/** What is remembered of a token whose signature was verified. */
type VerifiedToken = TokenTimes & { readonly principal: string; readonly kid: string };

/** A principal's keys by thumbprint. Computed once a version: principals are replaced, not edited. */
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
  /** Names of the tokens remembered of each principal, oldest first. */
  const namesOf = new BoundedMap<string, string[]>(principalCacheEntriesMax);
  /** Verifications under way: calls that start together with a new token share one. Bounded by the calls under way. */
  const underWay = new Map<string, Promise<VerifiedToken>>();

  /**
   * An unknown principal and an unknown key are one answer: a caller without a key learns nothing about who is
   * enrolled.
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
        // Whose turn it was has left; whoever shared it takes its own.
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
    // Read anew on every call: a revoked principal, or a removed or suspended key, stops a remembered token at once.
    const { principal } = await findKey(entry);
    requireInForce(principal, entry.kid);
    return {
      principal: entry.principal,
      tenant: principal.tenant,
      level: principal.loa,
      credential: "token",
      peer: "",
      key: entry.kid,
    };
  };

  return { verify };
};
