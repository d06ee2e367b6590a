/** A grpc-js server guarded by a real Sigil: no handler sees a call, nor a message of it, before it is allowed. */
import { Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  CanonServiceService,
  canonV1,
  connect,
  DeniedError,
  GetRecordResponse,
  SigilError,
  StreamRecordsResponse,
  type Guarding,
} from "@sigil/client";
import { decisionOf, guard, type InterceptorOptions } from "@sigil/client/grpc";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

type Guarded = AsyncDisposable & {
  readonly target: string;
  readonly ran: string[];
  readonly denials: DeniedError[];
};

const byUser: InterceptorOptions = {
  action: "write",
  target: ({ path }) => `user${path}`,
  subject: ({ metadata }) => String(metadata.get("x-user")[0] ?? ""),
};

/** Any service does: this one has a unary method and a stream. */
const start = async (sigil: Guarding, options: Partial<InterceptorOptions> = {}): Promise<Guarded> => {
  const ran: string[] = [];
  const denials: DeniedError[] = [];
  const onDenied = (error: DeniedError): void => void denials.push(error);
  const server = new Server({ interceptors: [guard(sigil, { ...byUser, onDenied, ...options })] });
  const unimplemented = (): void => {};
  server.addService(CanonServiceService, {
    ...Object.fromEntries(Object.keys(CanonServiceService).map((name) => [name, unimplemented])),
    getRecord: (
      { request, metadata }: { request: canonV1.GetRecordRequest; metadata: Metadata },
      answer: (error: null, reply: GetRecordResponse) => void,
    ) => {
      ran.push(request.id);
      answer(
        null,
        GetRecordResponse.fromPartial({ record: { record: { id: decisionOf(metadata)?.auditId ?? "" } } }),
      );
    },
    streamRecords: (call: { write(reply: StreamRecordsResponse): void; end(): void }) => {
      ran.push("stream");
      call.write(StreamRecordsResponse.fromPartial({ ledgerSize: 1n }));
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    target: `127.0.0.1:${port}`,
    ran,
    denials,
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
};

const outcomeOf = async (
  { target }: Guarded,
  user?: string,
  deadlineMs = 60_000,
): Promise<SigilError | string> => {
  using caller = connect({ target, tls: "insecure", retry: "none" });
  const metadata = user === undefined ? {} : { "x-user": user };
  try {
    const { record } = await caller.canon.getRecord({ id: "note/1" }, { metadata, deadlineMs });
    return record?.record?.id ?? "";
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
};

describe("a guarded gRPC service", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("runs what is allowed, and its handler has the decision", async () => {
    await using service = await start(served.as("operator"));
    const auditId = await outcomeOf(service, "mentor");
    expect(service.ran).to.deep.equal(["note/1"]);
    const { chain } = await served.as("observer").audit.getFrozenChain({ auditId: String(auditId) });
    expect(chain).to.include({ subject: "mentor", target: "user/sigil.canon.v1.CanonService/GetRecord" });
  });

  it("runs an allowed stream, and no stream that is denied", async () => {
    await using service = await start(served.as("operator"));
    using caller = connect({ target: service.target, tls: "insecure" });
    const read = async (user: string): Promise<number> => {
      let count = 0;
      for await (const _ of caller.canon.streamRecords({}, { metadata: { "x-user": user } })) count += 1;
      return count;
    };
    expect(await read("mentor")).to.equal(1);
    const error = await read("a-stranger").catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(SigilError).and.include({ codeName: "PERMISSION_DENIED" });
    expect(service.ran).to.deep.equal(["stream"]);
  });

  it("answers PERMISSION_DENIED with nothing but the decision's id on a deny", async () => {
    await using service = await start(served.as("operator"));
    const error = await outcomeOf(service, "a-stranger");
    expect(error).to.be.instanceOf(SigilError).and.include({ codeName: "PERMISSION_DENIED", reason: "" });
    expect((error as SigilError).message).to.equal("PERMISSION_DENIED: denied");
    const { metadata } = (error as SigilError).cause as { readonly metadata: Metadata };
    expect(metadata.get("sigil-audit-id")).to.deep.equal([service.denials[0]?.decision?.auditId]);
    expect(service.ran).to.deep.equal([]);
  });

  it("asks nothing when it does not know about whom", async () => {
    await using service = await start(served.as("operator"));
    expect(await outcomeOf(service)).to.include({ codeName: "PERMISSION_DENIED" });
    expect(service.denials[0]).to.include({ reason: "QUESTION_INCOMPLETE" });
  });

  it("answers UNAVAILABLE without a reason when there is no answer", async () => {
    const secret = "eyJ-this-is-a-secret";
    const failing: readonly Guarding[] = [
      served.as("operator", { target: "127.0.0.1:1" }),
      served.as("guest", { signer: { token: () => secret } }),
      { require: () => Promise.reject(new Error(secret)) },
      { require: async () => undefined as never },
      { require: async () => ({ allowed: false }) as never },
    ];
    for (const sigil of failing) {
      await using service = await start(sigil);
      const error = await outcomeOf(service, "mentor");
      expect(error).to.include({ codeName: "UNAVAILABLE" });
      expect((error as SigilError).message).to.equal("UNAVAILABLE: no decision");
      expect(service.ran).to.deep.equal([]);
    }
  });

  it("stops asking when its caller leaves", async () => {
    let signal: AbortSignal | undefined;
    const sigil: Guarding = {
      require: (_question, options) => {
        signal = options?.signal;
        return new Promise(() => {});
      },
    };
    await using service = await start(sigil);
    expect(await outcomeOf(service, "mentor", 200)).to.include({ codeName: "DEADLINE_EXCEEDED" });
    while (signal?.aborted !== true) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(service.ran).to.deep.equal([]);
  });

  it("lets through what it is told not to guard, by its exact path, and nothing else", async () => {
    const nobody: Guarding = { require: () => Promise.reject(new Error("asked")) };
    const path = "/sigil.canon.v1.CanonService/GetRecord";
    await using open = await start(nobody, { unguarded: [path] });
    expect(await outcomeOf(open)).to.equal("");
    await using other = await start(nobody, { unguarded: ["/sigil.canon.v1.CanonService/GetRecords"] });
    expect(await outcomeOf(other, "mentor")).to.be.instanceOf(SigilError);
    for (const wrong of ["*", "/sigil.canon.v1.CanonService/*", "", "GetRecord", "/a/b/c"])
      expect(() => guard(nobody, { ...byUser, unguarded: [wrong] })).to.throw(TypeError, "unguarded");
  });

  it("does not start without an action or a target", () => {
    const sigil = served.as("operator");
    const options: readonly object[] = [{}, { action: "a" }, { target: "b" }, { action: "", target: "b" }];
    for (const each of options)
      expect(() => guard(sigil, each as never)).to.throw(TypeError, "a guard needs");
  });
});
