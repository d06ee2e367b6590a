/**
 * A deployment with the fixture of AuthZEN's certification scenario, and a caller that sends what its harness sends, by
 * plain fetch.
 */
import { generateKeyPairSync } from "node:crypto";
import type { Values } from "../../src/config/keys.ts";
import type { Overrides } from "../../src/wire/server.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpConfig, urlOf, type Seen } from "./http-caller.ts";

const { actions, targets } = defaultModelPayload;

/**
 * Who may write is an Operator: alice is one and bob is not. "inspect" on a record by an Operator is for a person to
 * review.
 */
const model = {
  ...defaultModelPayload,
  actions: {
    ...actions,
    read: { risk: 0.05, min_loa: "guest" },
    write: { risk: 0.4, min_loa: "operator" },
    inspect: { risk: 0.7, min_loa: "operator" },
  },
  targets: { ...targets, "record:*": 0.2 },
};

export const publicUrl = "https://pdp.example.com/tenant1";

export const alice = { type: "user", id: "alice" };
export const bob = { type: "user", id: "bob" };
export const record1 = { type: "record", id: "record-1" };
export const record2 = { type: "record", id: "record-2" };
export const read = { name: "read" };
export const write = { name: "write" };
export const mayRead = { subject: alice, action: read, resource: record1 };
export const mayNotWrite = { subject: bob, action: write, resource: record1 };

export type Told = {
  readonly status: number;
  readonly headers: Headers;
  /** As it came. */
  readonly text: string;
  /** Undefined unless it is JSON. */
  readonly json: Evaluated & { readonly evaluations: readonly Evaluated[] };
};
export type Evaluated = { readonly decision: boolean; readonly context: Seen & ContextSeen };
type ContextSeen = {
  readonly audit_id: string;
  readonly authzen_digest?: string;
  readonly not_evaluated?: readonly string[];
  readonly error: { readonly status: number; readonly message: string };
};

/** @param body text as it is, anything else as JSON; undefined for a GET. */
export type Tell = (
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Told>;

export type AuthzenWorld = AsyncDisposable & {
  readonly deployment: Deployment;
  readonly served: ServedDeployment;
  /** As an Operator, who may name subjects. */
  readonly tell: Tell;
  readonly telling: (token?: () => string | Promise<string>) => Tell;
};

export const openAuthzenWorld = async (
  config: Partial<Values> = {},
  overrides: Overrides = {},
): Promise<AuthzenWorld> => {
  const enrolled = (id: string, loa: "observer" | "operator") => ({
    id,
    loa,
    tenant: "acme",
    keys: [generateKeyPairSync("ed25519").privateKey],
  });
  const also = [
    enrolled("user:alice", "operator"),
    enrolled("user:bob", "observer"),
    enrolled("user:carol", "operator"),
  ];
  const deployment = await makeDeployment({ model, also });
  const served = await deployment.serve({
    config: { ...httpConfig, public_url: publicUrl, ...config },
    overrides,
  });
  const telling =
    (token?: () => string | Promise<string>): Tell =>
    async (path, body, headers = {}) => {
      const response = await fetch(urlOf(served) + path, {
        method: body === undefined ? "GET" : "POST",
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        headers: {
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(token === undefined ? {} : { authorization: `Bearer ${await token()}` }),
          ...headers,
        },
      });
      const text = await response.text();
      const isJson = response.headers.get("content-type") === "application/json";
      const json = (isJson ? JSON.parse(text) : undefined) as Told["json"];
      return { status: response.status, headers: response.headers, text, json };
    };
  return {
    deployment,
    served,
    telling,
    tell: telling(deployment.signer("operator").token),
    [Symbol.asyncDispose]: async () => {
      await served[Symbol.asyncDispose]();
      await deployment[Symbol.asyncDispose]();
    },
  };
};
