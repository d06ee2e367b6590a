/**
 * What both tests of ext_authz stand in: a server that Envoy calls by its certificate, and a model with a verdict of
 * each kind.
 */
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createAuthority, pemOf, type Authority, type Pair } from "../contract/certificates.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import {
  makeDeployment,
  origin,
  type Deployment,
  type ServedDeployment,
  type ServeOptions,
} from "./deployment.ts";

/** An Observer's GET is allowed in public, a review in review, and denied in admin. */
const model = {
  ...defaultModelPayload,
  targets: { ...defaultModelPayload.targets, "api/public/**": 0, "api/review/**": 0.6, "api/admin/**": 0.9 },
};

export type EnvoyWorld = AsyncDisposable & {
  readonly authority: Authority;
  readonly deployment: Deployment;
  /** Envoy's own certificate, the server's, and those of principals. */
  readonly pairs: Readonly<Record<"envoy" | "server" | "observer" | "operator" | "nobody", Pair>>;
  readonly serve: (options?: ServeOptions) => Promise<ServedDeployment>;
  /** As a client shows it. */
  readonly pem: (name: keyof EnvoyWorld["pairs"]) => {
    readonly ca: Buffer;
    readonly cert: Buffer;
    readonly key: Buffer;
  };
  /** The newest decision of all, as it is recorded. */
  readonly newest: (served: ServedDeployment) => Promise<Recorded>;
};

export type Recorded = {
  readonly auditId: string;
  readonly action: string;
  readonly target: string;
  readonly subject: string;
  readonly caller: string;
  readonly reason: string;
};

export const makeEnvoyWorld = async (): Promise<EnvoyWorld> => {
  const authority = await createAuthority();
  const { privateKey } = generateKeyPairSync("ed25519");
  const envoy = { id: "envoy", loa: "operator", tenant: "acme", keys: [privateKey] } as const;
  const member = {
    id: "jwt:member",
    loa: "observer",
    tenant: "acme",
    keys: [generateKeyPairSync("ed25519").privateKey],
  } as const;
  const deployment = await makeDeployment({ model, also: [envoy, member] });
  const named = (name: string): Promise<Pair> => authority.issue(name, `URI:spiffe://${origin}/${name}`);
  const pairs = {
    envoy: await named("envoy"),
    observer: await named("observer"),
    operator: await named("operator"),
    nobody: await named("nobody"),
    server: await authority.issue("server", "DNS:sigil.test,DNS:localhost,IP:127.0.0.1"),
  };
  const config = {
    "tls.cert": pairs.server.cert,
    "tls.key": pairs.server.key,
    "tls.client_ca": authority.ca,
    "envoy.ext_authz": true,
  };
  const pem: EnvoyWorld["pem"] = (name) => ({ ca: readFileSync(authority.ca), ...pemOf(pairs[name]) });
  return {
    authority,
    deployment,
    pairs,
    pem,
    serve: (options = {}) => deployment.serve({ ...options, config: { ...config, ...options.config } }),
    newest: async (served) => {
      const tls = { ca: readFileSync(authority.ca) };
      const { audit } = served.as("operator", { tls });
      const { chains } = await audit.listFrozenChains({ pageSize: 1 });
      const [chain] = chains;
      if (chain === undefined) throw new Error("nothing is recorded");
      const { auditId, action, target, subject, caller, reason } = chain;
      return { auditId, action, target, subject, caller, reason };
    },
    [Symbol.asyncDispose]: async () => {
      await deployment[Symbol.asyncDispose]();
      authority[Symbol.dispose]();
    },
  };
};
