/** A grpc-js server for the client's tests: the generated stubs with a little behaviour. */
import {
  Metadata,
  Server,
  ServerCredentials,
  status as Code,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { EventEmitter } from "node:events";
import { HealthImplementation } from "grpc-health-check";
import {
  AuditServiceService,
  CanonServiceService,
  CheckResponse,
  StreamRecordsResponse,
  TrustServiceService,
  Verdict,
  WitnessServiceService,
  WriteRecordResponse,
  type AuditServiceServer,
  type CanonServiceServer,
  type StreamRecordsRequest,
  type WriteRecordRequest,
  type StreamChecksRequest,
  type StreamChecksResponse,
  type TrustServiceServer,
} from "@sigil/client";

export type Behaviour = Partial<TrustServiceServer & CanonServiceServer & AuditServiceServer>;

type Seen = {
  /** The metadata of each call, in order. */
  readonly metadata: Metadata[];
  /** Items read from streams. */
  streamed: number;
  /** Calls that ended by cancellation. */
  cancelled: number;
};

export type TestServer = AsyncDisposable & {
  readonly target: string;
  readonly port: number;
  readonly seen: Seen;
};

export const decisionFor = (action: string): CheckResponse =>
  CheckResponse.fromPartial({ verdict: Verdict.VERDICT_ALLOW, allowed: true, auditId: action });

const echo =
  (seen: Seen) =>
  (call: ServerDuplexStream<StreamChecksRequest, StreamChecksResponse>): void => {
    seen.metadata.push(call.metadata);
    call.on("cancelled", () => {
      seen.cancelled += 1;
    });
    call.on("data", ({ correlationId, check }: StreamChecksRequest) => {
      seen.streamed += 1;
      const value = decisionFor(check?.action ?? "");
      // An honest server: it stops reading while its answers are not taken.
      if (call.write({ correlationId, outcome: { $case: "decision", value } })) return;
      call.pause();
      call.once("drain", () => call.resume());
    });
    call.on("end", () => call.end());
    call.on("error", () => {});
  };

/**
 * As many records as `afterId` says, two when it says nothing, each as large as `filter.kind` is long; it waits while
 * they are not taken.
 */
const exporter =
  (seen: Seen) =>
  (call: ServerWritableStream<StreamRecordsRequest, StreamRecordsResponse>): void => {
    seen.metadata.push(call.metadata);
    call.on("cancelled", () => {
      seen.cancelled += 1;
    });
    call.on("error", () => {});
    const count = Number(call.request.afterId || 2);
    let sent = 0;
    const send = (): void => {
      while (sent < count) {
        sent += 1;
        seen.streamed += 1;
        const kind = call.request.filter?.kind ?? "";
        const record = { version: BigInt(sent), record: { id: String(sent).padStart(9, "0"), kind } };
        if (call.write(StreamRecordsResponse.fromPartial({ record }))) continue;
        call.once("drain", send);
        return;
      }
      call.end();
    };
    send();
  };

/** Answers every question with one decision, by every way there is. */
export const always = (reply: CheckResponse): Behaviour => ({
  check: (_call, answer) => answer(null, reply),
  batchCheck: ({ request }, answer) =>
    answer(null, {
      results: request.checks.map(() => ({ outcome: { $case: "decision", value: reply } })),
      sharedProof: undefined,
    }),
  streamChecks: (call) => {
    call.on("data", ({ correlationId }: { correlationId: string }) =>
      call.write({ correlationId, outcome: { $case: "decision", value: reply } }),
    );
    call.on("end", () => call.end());
  },
});

/** The handlers that are asked about, the rest unimplemented. */
const only = (
  service: ServiceDefinition,
  behaviour: UntypedServiceImplementation,
): UntypedServiceImplementation => {
  const unimplemented = (call: unknown, answer?: (error: object) => void): void => {
    const error = { code: Code.UNIMPLEMENTED, details: "not in this test" };
    if (answer === undefined) (call as EventEmitter).emit("error", error);
    else answer(error);
  };
  return Object.fromEntries(Object.keys(service).map((name) => [name, behaviour[name] ?? unimplemented]));
};

export const startServer = async (
  behaviour: Behaviour = {},
  credentials: ServerCredentials = ServerCredentials.createInsecure(),
  wantedPort = 0,
): Promise<TestServer> => {
  const seen: Seen = { metadata: [], streamed: 0, cancelled: 0 };
  const trust: UntypedServiceImplementation = {
    check: (call: { metadata: Metadata; request: { action: string; subject: string } }, answer: Function) => {
      seen.metadata.push(call.metadata);
      const trailers = new Metadata();
      trailers.set("x-request-id", "r-1");
      const { action, subject } = call.request;
      answer(null, { ...decisionFor(action), subject }, trailers);
    },
    streamChecks: echo(seen),
    ...behaviour,
  };
  const canon: UntypedServiceImplementation = {
    writeRecord: (call: { metadata: Metadata; request: WriteRecordRequest }, answer: Function) => {
      seen.metadata.push(call.metadata);
      const { id, kind, content } = call.request;
      const payloadJson = content?.$case === "payload" ? JSON.stringify(content.value) : "";
      answer(null, WriteRecordResponse.fromPartial({ record: { id, kind, payloadJson }, version: 1n }));
    },
    streamRecords: exporter(seen),
    ...behaviour,
  };
  const server = new Server();
  server.addService(TrustServiceService, only(TrustServiceService, trust));
  server.addService(
    AuditServiceService,
    only(AuditServiceService, { ...(behaviour as UntypedServiceImplementation) }),
  );
  server.addService(CanonServiceService, only(CanonServiceService, canon));
  server.addService(WitnessServiceService, only(WitnessServiceService, {}));
  new HealthImplementation({ "": "SERVING", "sigil.trust.v1.TrustService": "NOT_SERVING" }).addToServer(
    server,
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${wantedPort}`, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    target: `127.0.0.1:${port}`,
    port,
    seen,
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
};

/** The next time the event loop has seen I/O, a few times over. */
export const settle = async (turnsCount = 20): Promise<void> => {
  for (let turn = 0; turn < turnsCount; turn += 1) await new Promise((resolve) => setTimeout(resolve, 2));
};
