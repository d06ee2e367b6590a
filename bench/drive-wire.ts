/**
 * One client for gRPC and for HTTP, in a process of its own: the same request, encoded once, is written as it is and of
 * the reply only its status is read, so that what differs between two runs is the server. gRPC by HTTP/2 on four
 * connections, JSON by HTTP/1.1 on one connection a call in flight.
 */
import { Agent, request } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { BatchCheckRequest, CheckRequest, createTokenSigner } from "@sigil/client";
import { actorInput, answerParent } from "./actor.ts";
import type { Driven } from "./drive-calls.ts";
import { batchItems, question, type Scratch } from "./scratch.ts";
import { quantileOf } from "./statistics.ts";

export type WireInput = { readonly scratch: Scratch; readonly grpcTarget: string; readonly httpUrl: string };

export type WireLoad = "grpcCheck" | "httpCheck" | "grpcBatch" | "authzenBatch";

export type WireDrive = { readonly load: WireLoad; readonly inFlight: number; readonly runMs: number };

const sessionCount = 4;

const { scratch, grpcTarget, httpUrl } = actorInput<WireInput>();
const authorization = `Bearer ${createTokenSigner(scratch).token()}`;
const sessions = Array.from({ length: sessionCount }, () => connect(`http://${grpcTarget}`));
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

/** A message behind its prefix: not compressed, and its length. Source: gRPC over HTTP/2, "Length-Prefixed-Message". */
const framed = (message: Uint8Array): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};

let nextSession = 0;

const callGrpc = (path: string, body: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const session = sessions[(nextSession += 1) % sessionCount] as ClientHttp2Session;
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": "30S",
      authorization,
    });
    let status: unknown;
    stream.on("response", (headers) => (status = headers["grpc-status"]));
    stream.on("trailers", (trailers) => (status = trailers["grpc-status"]));
    stream.on("error", reject);
    stream.on("end", () =>
      status === "0" ? resolve() : reject(new Error(`${path} ended with ${String(status)}`)),
    );
    stream.resume().end(body);
  });

const callHttp = (path: string, body: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      "content-length": body.length,
      "sigil-timeout-ms": "30000",
      authorization,
    };
    const asked = request(new URL(path, httpUrl), { method: "POST", agent, headers }, (response) => {
      response
        .resume()
        .on("end", () =>
          response.statusCode === 200
            ? resolve()
            : reject(new Error(`${path} answered ${String(response.statusCode)}`)),
        );
    });
    asked.on("error", reject).end(body);
  });

const checkBytes = framed(CheckRequest.encode(CheckRequest.fromPartial(question)).finish());
const batchBytes = framed(
  BatchCheckRequest.encode(
    BatchCheckRequest.fromPartial({ checks: Array.from({ length: batchItems }, () => question) }),
  ).finish(),
);
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
const { action, target } = question;
const evaluation = {
  subject: { type: "principal", id: scratch.principal },
  action: { name: action },
  resource: { type: "target", id: target },
};

const callOf: Readonly<Record<WireLoad, { readonly call: () => Promise<void>; readonly decisions: number }>> =
  (() => {
    const checkJson = json(question);
    const batchJson = json({ evaluations: Array.from({ length: batchItems }, () => evaluation) });
    const trust = "/sigil.trust.v1.TrustService";
    return {
      grpcCheck: { call: () => callGrpc(`${trust}/Check`, checkBytes), decisions: 1 },
      httpCheck: { call: () => callHttp("/trust/check", checkJson), decisions: 1 },
      grpcBatch: { call: () => callGrpc(`${trust}/BatchCheck`, batchBytes), decisions: batchItems },
      authzenBatch: { call: () => callHttp("/access/v1/evaluations", batchJson), decisions: batchItems },
    };
  })();

const drive = async ({ load, inFlight, runMs }: WireDrive): Promise<Driven> => {
  const { call, decisions } = callOf[load];
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const worker = async (): Promise<void> => {
    while (performance.now() - startMs < runMs) {
      const callMs = performance.now();
      await call();
      latenciesMs.push(performance.now() - callMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return {
    decisions: latenciesMs.length * decisions,
    elapsedMs: performance.now() - startMs,
    medianMs: quantileOf(latenciesMs, 0.5),
    p99Ms: quantileOf(latenciesMs, 0.99),
  };
};

answerParent({ drive }, async () => {
  agent.destroy();
  for (const session of sessions) session.destroy();
});
