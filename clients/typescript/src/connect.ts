/** A connection to a Sigil server: one channel, both services, promises. */
import type { ChannelOptions } from "@grpc/grpc-js";
import { callDuplex, callUnary, tokenRefusal, type CallContext, type CallOptions } from "./call.ts";
import * as audit from "./generated/sigil/audit/v1/audit.ts";
import * as trust from "./generated/sigil/trust/v1/trust.ts";
import { healthMethod, type ServingStatus } from "./health.ts";
import { channelCredentials, isLoopback, nameOptions, type TlsOptions } from "./target.ts";
import type { TokenSigner } from "./token.ts";

export type ConnectOptions = {
  /** `host:port`, or any other gRPC name. */
  readonly target: string;
  /** TLS with the system's certificates unless told; "insecure" for none. */
  readonly tls?: TlsOptions | "insecure";
  /** Signs the caller's tokens; without one, and without a client certificate, the caller is an anonymous Guest. */
  readonly signer?: TokenSigner | undefined;
  /** Without TLS, tokens are sent to this machine only. "send" sends them anywhere. */
  readonly insecureTokens?: "refuse" | "send";
  /** The longest a unary call may take, unless it says otherwise; 10,000 unless told. */
  readonly deadlineMs?: number;
  /** Further options of the channel, as grpc-js names them. */
  readonly channelOptions?: ChannelOptions;
};

/** What a request may leave out: every field has a default. */
type Partially<Message> = trust.DeepPartial<Message>;

/** A unary call. @throws SigilError */
type Unary<Request, Response> = (request: Partially<Request>, options?: CallOptions) => Promise<Response>;

export type TrustClient = {
  readonly check: Unary<trust.CheckRequest, trust.CheckResponse>;
  readonly batchCheck: Unary<trust.BatchCheckRequest, trust.BatchCheckResponse>;
  /** Yields answers as they come, maybe in another order; match them by correlationId. */
  readonly streamChecks: (
    requests:
      | AsyncIterable<Partially<trust.StreamChecksRequest>>
      | Iterable<Partially<trust.StreamChecksRequest>>,
    options?: CallOptions,
  ) => AsyncGenerator<trust.StreamChecksResponse, void, undefined>;
  readonly getActiveModel: Unary<trust.GetActiveModelRequest, trust.GetActiveModelResponse>;
  readonly simulate: Unary<trust.SimulateRequest, trust.SimulateResponse>;
};

export type AuditClient = {
  readonly getFrozenChain: Unary<audit.GetFrozenChainRequest, audit.GetFrozenChainResponse>;
  readonly listFrozenChains: Unary<audit.ListFrozenChainsRequest, audit.ListFrozenChainsResponse>;
  readonly verifyFrozenChain: Unary<audit.VerifyFrozenChainRequest, audit.VerifyFrozenChainResponse>;
  readonly getCheckpoint: Unary<audit.GetCheckpointRequest, audit.GetCheckpointResponse>;
};

export type SigilConnection = Disposable & {
  readonly trust: TrustClient;
  readonly audit: AuditClient;
  /** Whether a service serves; "" asks about the server as a whole. Sends no token. @throws SigilError */
  readonly health: (service?: string, options?: CallOptions) => Promise<ServingStatus>;
  /** The generated stubs on the same channel. They send no token by themselves. */
  readonly stubs: { readonly trust: trust.TrustServiceClient; readonly audit: audit.AuditServiceClient };
  /** Calls under way are finished first. */
  readonly close: () => void;
};

const deadlineMsDefault = 10_000;

/** Every request goes through here, so every method is one line. */
const unary =
  <Request, Response>(
    context: CallContext,
    messages: { fromPartial(request: Partially<Request>): Request },
    method: Parameters<typeof callUnary<Request, Response>>[0],
  ): Unary<Request, Response> =>
  async (request, options) =>
    callUnary(method, messages.fromPartial(request), context, options);

async function* completed(
  requests:
    | AsyncIterable<Partially<trust.StreamChecksRequest>>
    | Iterable<Partially<trust.StreamChecksRequest>>,
): AsyncGenerator<trust.StreamChecksRequest, void, undefined> {
  for await (const request of requests) yield trust.StreamChecksRequest.fromPartial(request);
}

const trustClient = (stub: trust.TrustServiceClient, context: CallContext): TrustClient => ({
  check: unary(context, trust.CheckRequest, stub.check.bind(stub)),
  batchCheck: unary(context, trust.BatchCheckRequest, stub.batchCheck.bind(stub)),
  streamChecks: (requests, options) =>
    callDuplex(stub.streamChecks.bind(stub), completed(requests), context, options),
  getActiveModel: unary(context, trust.GetActiveModelRequest, stub.getActiveModel.bind(stub)),
  simulate: unary(context, trust.SimulateRequest, stub.simulate.bind(stub)),
});

const auditClient = (stub: audit.AuditServiceClient, context: CallContext): AuditClient => ({
  getFrozenChain: unary(context, audit.GetFrozenChainRequest, stub.getFrozenChain.bind(stub)),
  listFrozenChains: unary(context, audit.ListFrozenChainsRequest, stub.listFrozenChains.bind(stub)),
  verifyFrozenChain: unary(context, audit.VerifyFrozenChainRequest, stub.verifyFrozenChain.bind(stub)),
  getCheckpoint: unary(context, audit.GetCheckpointRequest, stub.getCheckpoint.bind(stub)),
});

/**
 * Opens a connection; the first call makes it.
 * @throws TypeError when tokens would leave the machine unprotected, or the TLS options contradict each other.
 */
export const connect = (options: ConnectOptions): SigilConnection => {
  const { target, tls = {}, signer, deadlineMs = deadlineMsDefault } = options;
  const mayAuthorize = tls !== "insecure" || options.insecureTokens === "send" || isLoopback(target);
  if (signer !== undefined && !mayAuthorize) throw new TypeError(tokenRefusal);
  const channelOptions = { ...nameOptions(tls), ...options.channelOptions };
  const credentials = channelCredentials(tls);
  const trustStub = new trust.TrustServiceClient(target, credentials, channelOptions);
  const auditStub = new audit.AuditServiceClient(target, credentials, {
    channelOverride: trustStub.getChannel(),
  });
  const context = { signer, mayAuthorize, deadlineMs };
  const anonymous = { ...context, signer: undefined };
  const close = (): void => trustStub.close();
  return {
    trust: trustClient(trustStub, context),
    audit: auditClient(auditStub, context),
    health: async (service = "", callOptions) =>
      callUnary(healthMethod(trustStub), service, anonymous, callOptions),
    stubs: { trust: trustStub, audit: auditStub },
    close,
    [Symbol.dispose]: close,
  };
};
