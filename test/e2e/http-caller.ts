/** Callers over HTTP: plain fetch with a token, and requests that fetch would not send. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect } from "chai";
import type { EnrolledLevel, ServedDeployment, Deployment } from "./deployment.ts";

/** JSON as tests look at it: what is not there is undefined, whatever the type says. */
export interface Seen {
  readonly [index: number]: Seen;
  readonly allowed: Seen;
  readonly auditId: string;
  readonly chain: Seen;
  readonly code: Seen;
  readonly decision: Seen;
  readonly details: Seen;
  readonly error: Seen;
  readonly evaluations: readonly Seen[];
  readonly field: Seen;
  readonly hash: Seen;
  readonly length: number;
  readonly metadata: Seen;
  readonly nextPosition: Seen;
  readonly modelHash: Seen;
  readonly payloadJson: string;
  readonly approvedBy: Seen;
  readonly attestedBy: Seen;
  readonly facts: Seen;
  readonly id: string;
  readonly ledgerPosition: string;
  readonly nextPageToken: string;
  readonly outputJson: Seen;
  readonly proposal: Seen;
  readonly proposals: Seen;
  readonly position: string;
  readonly threshold: Seen;
  readonly version: Seen;
  readonly body: Seen;
  readonly origin: Seen;
  readonly epoch: string;
  readonly reason: string;
  readonly record: Seen;
  readonly records: Seen;
  readonly requestId: Seen;
  readonly results: Seen;
  readonly level: Seen;
  readonly score: Seen;
  readonly subject: Seen;
  readonly verdict: Seen;
  readonly verified: Seen;
  readonly violations: Seen;
  readonly z: number;
}

export type Answered = {
  readonly status: number;
  readonly headers: Headers;
  /** Undefined for an empty body. */
  readonly json: Seen;
};

export type Ask = (
  method: "GET" | "POST",
  target: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answered>;

/** For `serve`. */
export const httpConfig = { http_listen: { host: "127.0.0.1", port: 0 } } as const;

export const urlOf = ({ server }: ServedDeployment): string => {
  if (server.httpUrl === null) throw new Error("HTTP is off");
  return server.httpUrl;
};

/** @param body text as it is, anything else as JSON. */
export const asking =
  (url: string, token?: () => string | Promise<string>): Ask =>
  async (method, target, body, headers = {}) => {
    const response = await fetch(url + target, {
      method,
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(token === undefined ? {} : { authorization: `Bearer ${await token()}` }),
        ...headers,
      },
    });
    const text = await response.text();
    const json = (text === "" ? undefined : JSON.parse(text)) as Seen;
    return { status: response.status, headers: response.headers, json };
  };

/** As a principal of a level, or as nobody. */
export const httpAs =
  (deployment: Deployment, served: ServedDeployment) =>
  (level: EnrolledLevel | "guest"): Ask =>
    asking(urlOf(served), level === "guest" ? undefined : deployment.signer(level).token);

/** Bytes on a socket of their own. @returns all that comes back until it is closed. */
export const sendRaw = async (url: string, ...parts: readonly string[]): Promise<string> => {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => (answer += text));
  socket.on("error", () => {});
  for (const part of parts) {
    socket.write(part, "latin1");
    await new Promise((resolve) => setImmediate(resolve));
  }
  await once(socket, "close");
  return answer;
};

/** A problem's status and reason, which its type repeats. */
export const problem = ({ status, headers, json }: Answered): readonly (string | number)[] => {
  expect(headers.get("content-type")).to.equal("application/problem+json");
  expect(json).to.include({ status, type: `urn:sigil:problem:${json.reason}` });
  expect(headers.get("x-request-id")).to.equal(json.requestId);
  return [status, json.reason];
};
