/** Principals and tokens for tests: good ones, and ones wrong in a single place. */
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { SigilFault, type CredentialReason } from "../../../src/errors.ts";
import { toBase64Url } from "../../../src/core/bytes.ts";
import { coseKeyThumbprint } from "../../../src/core/cose/cose.ts";
import type { PrincipalPayload } from "../../../src/core/record/kinds/governance.ts";
import type { PublicKey } from "../../../src/core/bytes.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";

export const origin = "sigil.example.org";
export const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
export const nowSeconds = nowMs / 1000;

export type TestKey = {
  readonly privateKey: KeyObject;
  readonly publicKey: PublicKey;
  readonly kid: string;
};

export const createKey = (): TestKey => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const publicKey = rawPublicKey(privateKey);
  return { privateKey, publicKey, kid: toBase64Url(coseKeyThumbprint(publicKey)) };
};

export const principalWith = (key: TestKey, changes: Partial<PrincipalPayload> = {}): PrincipalPayload => ({
  publicKeys: [key.publicKey],
  loa: "operator",
  tenant: "acme",
  active: true,
  ...changes,
});

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

export type Minting = {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
};

/** A good token of principal "agent" but for the changes; a change to undefined leaves the member out. */
export const mint = (key: TestKey, { header = {}, claims = {} }: Minting = {}): string => {
  const goodClaims = {
    iss: "agent",
    sub: "agent",
    aud: origin,
    iat: nowSeconds,
    exp: nowSeconds + 600,
    jti: "1",
  };
  const signingInput = `${part({ alg: "EdDSA", kid: key.kid, ...header })}.${part({ ...goodClaims, ...claims })}`;
  return `${signingInput}.${sign(null, Buffer.from(signingInput), key.privateKey).toString("base64url")}`;
};

/** The reason that the work is refused with. @throws when it is not refused, or for another kind of error. */
export const reasonOf = async (work: () => unknown): Promise<CredentialReason> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "unauthenticated") return error.error.reason;
    throw error;
  }
  throw new Error("expected a refusal");
};
