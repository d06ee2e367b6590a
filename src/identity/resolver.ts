/**
 * Authenticates a call. A token takes precedence over a certificate; without either the caller is an anonymous Guest,
 * if the deployment allows them. An invalid credential is an error, never a Guest. Source: docs/spec/tokens.md.
 */
import type { Caller } from "./caller.ts";
import { anonymous, standingCaller } from "./caller.ts";
import { keyOfCertificate } from "./certificate-key.ts";
import { principalsOfCertificate, type PeerNames } from "./certificates.ts";
import { refuse } from "./claims.ts";
import { requireInForce } from "./in-force.ts";
import type { Principals } from "./principals.ts";
import { createTokenVerifier, type PaceProof, type TokenVerifierOptions } from "./tokens.ts";

export type Credentials = {
  /** The raw `authorization` metadata. */
  readonly authorization?: string | undefined;
  /** The peer's certificate, if TLS requested and verified one. */
  readonly certificate?: PeerNames | undefined;
};

export type IdentityResolver = {
  /** @throws unauthenticated with its reason; recordCorrupt if the principal's record is damaged. */
  readonly identify: (credentials: Credentials, pace?: PaceProof) => Promise<Caller>;
};

const bearer = /^bearer +([^\s,]+)$/i;

const bearerToken = (authorization: string): string =>
  bearer.exec(authorization)?.[1] ?? refuse("TOKEN_MALFORMED", 'authorization must be "Bearer <token>"');

const identifyCertificate = async (
  certificate: PeerNames,
  { principals, origin }: { readonly principals: Pick<Principals, "find">; readonly origin: string },
): Promise<Caller> => {
  const ids = principalsOfCertificate(certificate, origin);
  const found = await Promise.all(ids.map(async (id) => ({ id, principal: await principals.find(id) })));
  const enrolled = found.flatMap(({ id, principal }) => (principal === undefined ? [] : [{ id, principal }]));
  const [only] = enrolled;
  if (only === undefined) return refuse("CERTIFICATE_UNMAPPED", "no name of the certificate is a principal");
  if (enrolled.length > 1) refuse("CERTIFICATE_UNMAPPED", "the certificate names more than one principal");
  requireInForce(only.principal, keyOfCertificate(certificate, only.principal));
  return { principal: only.id, ...standingCaller(only.principal), credential: "certificate", peer: "" };
};

export type ResolverOptions = TokenVerifierOptions & {
  /** Whether a caller without credentials is a Guest or refused. */
  readonly anonymous: "allow" | "refuse";
};

export const createIdentityResolver = (options: ResolverOptions): IdentityResolver => {
  const tokens = createTokenVerifier(options);
  const identify = async ({ authorization, certificate }: Credentials, pace?: PaceProof): Promise<Caller> => {
    if (authorization !== undefined) return tokens.verify(bearerToken(authorization), pace);
    if (certificate !== undefined) return identifyCertificate(certificate, options);
    if (options.anonymous === "allow") return anonymous;
    return refuse(
      "CREDENTIALS_MISSING",
      "this server takes no anonymous callers; give a token or a certificate",
    );
  };
  return { identify };
};
