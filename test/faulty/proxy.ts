/**
 * A proxy in front of an honest server, which passes on every call of the services that a verifying client makes, and
 * changes what it is told to change. Bytes are passed on as they came wherever nothing is changed.
 */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  AuditServiceService,
  BatchCheckRequest,
  BatchCheckResponse,
  CanonServiceService,
  CheckRequest,
  CheckResponse,
  KeyServiceService,
  ListKeyRecordsResponse,
  StreamChecksResponse,
  TrustServiceService,
} from "@sigil/client";
import type { World } from "./world.ts";

/** Asks the honest server another check, as the same caller. */
export type Ask = (request: Partial<CheckRequest>) => Promise<CheckResponse>;

type Change<Reply, Request> = (reply: Reply, request: Request, ask: Ask) => Reply | Promise<Reply>;

export type Changes = {
  readonly check?: Change<CheckResponse, CheckRequest>;
  readonly batch?: Change<BatchCheckResponse, BatchCheckRequest>;
  readonly streamed?: (reply: StreamChecksResponse) => StreamChecksResponse;
  readonly keyRecords?: (reply: ListKeyRecordsResponse) => ListKeyRecordsResponse;
  /** Passes on the question without the caller's token. */
  readonly dropToken?: boolean;
  /** Of the calls for which it does not, where to send them instead. */
  readonly target?: string;
};

const same = (bytes: Buffer): Buffer => bytes;

/** Message types of a reply, by the method's path. */
const checkPath = TrustServiceService.check.path;
const batchPath = TrustServiceService.batchCheck.path;
const keyRecordsPath = KeyServiceService.listKeyRecords.path;

const withoutCalls = ["host", "user-agent", "content-type", "te", "grpc-accept-encoding"];

class Proxy {
  readonly #client: Client;
  readonly #changes: Changes;

  constructor(target: string, changes: Changes) {
    this.#client = new Client(target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    this.#changes = changes;
  }

  close(): void {
    this.#client.close();
  }

  #metadata(given: Metadata): Metadata {
    const metadata = given.clone();
    for (const name of withoutCalls) metadata.remove(name);
    if (this.#changes.dropToken === true) metadata.remove("authorization");
    return metadata;
  }

  #unary(path: string, request: Buffer, metadata: Metadata): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, same, same, request, metadata, (error, reply) =>
        error === null && reply !== undefined ? resolve(reply) : reject(error),
      );
    });
  }

  async #changed(path: string, request: Buffer, reply: Buffer, metadata: Metadata): Promise<Buffer> {
    const { check, batch, keyRecords } = this.#changes;
    const ask: Ask = async (asked) => {
      const bytes = Buffer.from(CheckRequest.encode(CheckRequest.fromPartial(asked)).finish());
      return CheckResponse.decode(await this.#unary(checkPath, bytes, metadata));
    };
    if (path === checkPath && check !== undefined) {
      const changed = await check(CheckResponse.decode(reply), CheckRequest.decode(request), ask);
      return Buffer.from(CheckResponse.encode(changed).finish());
    }
    if (path === batchPath && batch !== undefined) {
      const changed = await batch(BatchCheckResponse.decode(reply), BatchCheckRequest.decode(request), ask);
      return Buffer.from(BatchCheckResponse.encode(changed).finish());
    }
    if (path === keyRecordsPath && keyRecords !== undefined) {
      return Buffer.from(
        ListKeyRecordsResponse.encode(keyRecords(ListKeyRecordsResponse.decode(reply))).finish(),
      );
    }
    return reply;
  }

  readonly unary =
    (path: string) => (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      const metadata = this.#metadata(call.metadata);
      this.#unary(path, call.request, metadata)
        .then((reply) => this.#changed(path, call.request, reply, metadata))
        .then(
          (reply) => answer(null, reply),
          (error: ServiceError) =>
            answer({ code: error.code, details: error.details, metadata: error.metadata }),
        );
    };

  readonly serverStream = (path: string) => (call: ServerWritableStream<Buffer, Buffer>) => {
    const upstream = this.#client.makeServerStreamRequest(
      path,
      same,
      same,
      call.request,
      this.#metadata(call.metadata),
    );
    upstream.on("data", (reply: Buffer) => call.write(reply));
    upstream.on("error", (error) => call.emit("error", error));
    upstream.on("end", () => call.end());
    call.on("cancelled", () => upstream.cancel());
  };

  readonly duplex = (path: string) => (call: ServerDuplexStream<Buffer, Buffer>) => {
    const { streamed } = this.#changes;
    const upstream = this.#client.makeBidiStreamRequest(path, same, same, this.#metadata(call.metadata));
    upstream.on("data", (reply: Buffer) => {
      if (streamed === undefined) return call.write(reply);
      const changed = streamed(StreamChecksResponse.decode(reply));
      return call.write(Buffer.from(StreamChecksResponse.encode(changed).finish()));
    });
    upstream.on("error", (error) => call.emit("error", error));
    upstream.on("end", () => call.end());
    call.on("data", (request: Buffer) => upstream.write(request));
    call.on("end", () => upstream.end());
    call.on("cancelled", () => upstream.cancel());
    call.on("error", () => {});
  };
}

/** @returns the proxy's target. */
export const startProxy = async ({ stack, honest }: World, changes: Changes): Promise<string> => {
  const proxy = new Proxy(changes.target ?? honest.server.target, changes);
  const server = new Server();
  for (const service of [TrustServiceService, AuditServiceService, CanonServiceService, KeyServiceService]) {
    const handlers: Record<string, (...given: never[]) => unknown> = {};
    const raw: Record<string, object> = {};
    for (const [name, method] of Object.entries(service as ServiceDefinition)) {
      if (method.requestStream && !method.responseStream) continue;
      raw[name] = {
        ...method,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      };
      if (method.requestStream) handlers[name] = proxy.duplex(method.path);
      else if (method.responseStream) handlers[name] = proxy.serverStream(method.path);
      else handlers[name] = proxy.unary(method.path);
    }
    server.addService(raw as unknown as ServiceDefinition, handlers as never);
  }
  stack.defer(() => {
    server.forceShutdown();
    proxy.close();
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `127.0.0.1:${port}`;
};
