/** A grpc-js server for the client's tests: the generated stubs with a little behaviour. */
import {
  Metadata,
  Server,
  ServerCredentials,
  status as Code,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import {
  AuditServiceService,
  CheckResponse,
  TrustServiceService,
  Verdict,
  type StreamChecksRequest,
  type StreamChecksResponse,
  type TrustServiceServer,
} from "@sigil/client";

export type Behaviour = Partial<TrustServiceServer>;

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

export const startServer = async (
  behaviour: Behaviour = {},
  credentials: ServerCredentials = ServerCredentials.createInsecure(),
): Promise<TestServer> => {
  const seen: Seen = { metadata: [], streamed: 0, cancelled: 0 };
  const unimplemented = (_: unknown, answer: (error: object) => void): void =>
    answer({ code: Code.UNIMPLEMENTED, details: "not in this test" });
  const trust: UntypedServiceImplementation = {
    check: (call: { metadata: Metadata; request: { action: string } }, answer: Function) => {
      seen.metadata.push(call.metadata);
      const trailers = new Metadata();
      trailers.set("x-request-id", "r-1");
      answer(null, decisionFor(call.request.action), trailers);
    },
    batchCheck: unimplemented,
    getActiveModel: unimplemented,
    simulate: unimplemented,
    streamChecks: echo(seen),
    ...behaviour,
  };
  const server = new Server();
  server.addService(TrustServiceService, trust);
  const names = Object.keys(AuditServiceService);
  server.addService(AuditServiceService, Object.fromEntries(names.map((name) => [name, unimplemented])));
  new HealthImplementation({ "": "SERVING", "sigil.trust.v1.TrustService": "NOT_SERVING" }).addToServer(
    server,
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
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
