/** A connection to a Sigil server: one channel, every service, promises. */
import type { ChannelOptions } from "@grpc/grpc-js";
import {
  OpenQuestions,
  requireAllWritten,
  requireCount,
  requireSimulation,
  requireWritten,
} from "./answer.ts";
import {
  callClientStream,
  callDuplex,
  callServerStream,
  callUnary,
  hasOwnToken,
  tokenRefusal,
  type CallContext,
  type CallOptions,
  type ServerStreamMethod,
  type UnaryMethod,
} from "./call.ts";
import * as audit from "@sigil/proto/sigil/audit/v1/audit";
import * as backup from "@sigil/proto/sigil/backup/v1/backup";
import * as canon from "@sigil/proto/sigil/canon/v1/canon";
import * as witness from "@sigil/proto/sigil/canon/v1/witness";
import * as principal from "@sigil/proto/sigil/identity/v1/principal";
import * as key from "@sigil/proto/sigil/key/v1/key";
import * as module from "@sigil/proto/sigil/module/v1/module";
import * as trust from "@sigil/proto/sigil/trust/v1/trust";
import { healthMethod, type ServingStatus } from "./health.ts";
import { JudgedAuditClient, JudgedTrustClient } from "./judged-stub.ts";
import { checkWrite, checkWrites } from "./payload.ts";
import { channelCredentials, isLoopback, nameOptions, proxyOptions, type TlsOptions } from "./target.ts";
import { Remembering, type RememberOptions } from "./remember.ts";
import { StreamNumbers } from "./stream-numbers.ts";
import type { TokenSigner } from "./token.ts";

export type ConnectOptions = {
  /** `host:port`, or any other gRPC name. */
  readonly target: string;
  /** Default: TLS with the system's certificates; "insecure" for no TLS. */
  readonly tls?: TlsOptions | "insecure";
  /** Signs the caller's tokens; without one, and without a client certificate, the caller is an anonymous Guest. */
  readonly signer?: TokenSigner | undefined;
  /** Without TLS, tokens are sent only to this machine. "send" sends them anywhere. */
  readonly insecureTokens?: "refuse" | "send";
  /** Default deadline of unary calls in milliseconds; 10,000 if absent. */
  readonly deadlineMs?: number;
  /**
   * Remember the numbers of this caller's decisions, and notice one that comes twice or goes back. Calls with an
   * `authorization` of their own are another caller's, and are left out.
   */
  readonly remember?: RememberOptions | undefined;
  /** Further channel options of grpc-js. */
  readonly channelOptions?: ChannelOptions;
};

/** Every field of a request is optional and has a default. */
type Partially<Message> = trust.DeepPartial<Message>;

/** A stream of partial requests. */
type Streamed<Message> = AsyncIterable<Partially<Message>> | Iterable<Partially<Message>>;

/** A unary call. @throws SigilError */
type Unary<Request, Response> = (request: Partially<Request>, options?: CallOptions) => Promise<Response>;

/**
 * A server stream. Leaving the loop cancels the call; no deadline unless one is given.
 * @throws SigilError
 */
type ServerStream<Request, Response> = (
  request: Partially<Request>,
  options?: CallOptions,
) => AsyncGenerator<Response, void, undefined>;

export type TrustClient = {
  readonly check: Unary<trust.CheckRequest, trust.CheckResponse>;
  readonly batchCheck: Unary<trust.BatchCheckRequest, trust.BatchCheckResponse>;
  /** Answers may come in another order; match them by correlationId. */
  readonly streamChecks: (
    requests: Streamed<trust.StreamChecksRequest>,
    options?: CallOptions,
  ) => AsyncGenerator<trust.StreamChecksResponse, void, undefined>;
  readonly getActiveModel: Unary<trust.GetActiveModelRequest, trust.GetActiveModelResponse>;
  readonly simulate: Unary<trust.SimulateRequest, trust.SimulateResponse>;
};

export type AuditClient = {
  readonly getFrozenChain: Unary<audit.GetFrozenChainRequest, audit.GetFrozenChainResponse>;
  readonly listFrozenChains: Unary<audit.ListFrozenChainsRequest, audit.ListFrozenChainsResponse>;
  readonly verifyFrozenChain: Unary<audit.VerifyFrozenChainRequest, audit.VerifyFrozenChainResponse>;
  readonly replayDecision: Unary<audit.ReplayDecisionRequest, audit.ReplayDecisionResponse>;
  readonly getCheckpoint: Unary<audit.GetCheckpointRequest, audit.GetCheckpointResponse>;
  readonly getInclusionProof: Unary<audit.GetInclusionProofRequest, audit.GetInclusionProofResponse>;
  readonly proveCompleteness: Unary<audit.ProveCompletenessRequest, audit.ProveCompletenessResponse>;
  readonly getConsistencyProof: Unary<audit.GetConsistencyProofRequest, audit.GetConsistencyProofResponse>;
  /** The pieces of an evidence file; `readEvidence` joins them. */
  readonly getEvidence: ServerStream<audit.GetEvidenceRequest, audit.GetEvidenceResponse>;
  readonly getTile: Unary<audit.GetTileRequest, audit.GetTileResponse>;
};

export type CanonClient = {
  readonly writeRecord: Unary<canon.WriteRecordRequest, canon.WriteRecordResponse>;
  readonly batchWriteRecords: Unary<canon.BatchWriteRecordsRequest, canon.BatchWriteRecordsResponse>;
  readonly getRecord: Unary<canon.GetRecordRequest, canon.GetRecordResponse>;
  readonly listRecords: Unary<canon.ListRecordsRequest, canon.ListRecordsResponse>;
  /** To resume an interrupted stream, pass its `afterId` and `ledgerSize`. */
  readonly streamRecords: ServerStream<canon.StreamRecordsRequest, canon.StreamRecordsResponse>;
  readonly listHistory: Unary<canon.ListHistoryRequest, canon.ListHistoryResponse>;
  /** To resume an interrupted watch, start at `nextPosition` of its last message. */
  readonly watch: ServerStream<canon.WatchRequest, canon.WatchResponse>;
  readonly proposeRecord: Unary<canon.ProposeRecordRequest, canon.ProposeRecordResponse>;
  readonly getProposal: Unary<canon.GetProposalRequest, canon.GetProposalResponse>;
  readonly listProposals: Unary<canon.ListProposalsRequest, canon.ListProposalsResponse>;
  /** The statement is signed where the witness's key is; see docs/spec/record.md §4. */
  readonly attestProposal: Unary<canon.AttestProposalRequest, canon.AttestProposalResponse>;
  readonly commitProposal: Unary<canon.CommitProposalRequest, canon.CommitProposalResponse>;
  readonly withdrawProposal: Unary<canon.WithdrawProposalRequest, canon.WithdrawProposalResponse>;
  readonly getSystemRecord: Unary<canon.GetSystemRecordRequest, canon.GetSystemRecordResponse>;
};

export type WitnessClient = {
  readonly listWitnesses: Unary<witness.ListWitnessesRequest, witness.ListWitnessesResponse>;
  readonly proposeWitnessChange: Unary<
    witness.ProposeWitnessChangeRequest,
    witness.ProposeWitnessChangeResponse
  >;
  readonly getQuorum: Unary<witness.GetQuorumRequest, witness.GetQuorumResponse>;
};

export type BackupClient = {
  /** To resume an interrupted backup, start at the last complete checkpoint. */
  readonly backup: ServerStream<backup.BackupRequest, backup.BackupResponse>;
  /** To reattach after an interruption, call again with the id from the head. */
  readonly inspect: ServerStream<backup.InspectRequest, backup.InspectResponse>;
};

export type PrincipalClient = {
  /** Idempotent: returns an existing suspension. */
  readonly suspendPrincipal: Unary<principal.SuspendPrincipalRequest, principal.SuspendPrincipalResponse>;
  /** Repeatable: one that is withdrawn already is the answer. */
  readonly withdrawFeedGrant: Unary<principal.WithdrawFeedGrantRequest, principal.WithdrawFeedGrantResponse>;
  readonly getPrincipal: Unary<principal.GetPrincipalRequest, principal.GetPrincipalResponse>;
  readonly listPrincipals: Unary<principal.ListPrincipalsRequest, principal.ListPrincipalsResponse>;
};

export type KeyClient = {
  readonly listKeys: Unary<key.ListKeysRequest, key.ListKeysResponse>;
  readonly rotateKey: Unary<key.RotateKeyRequest, key.RotateKeyResponse>;
  readonly retireKey: Unary<key.RetireKeyRequest, key.RetireKeyResponse>;
  readonly listKeyRecords: Unary<key.ListKeyRecordsRequest, key.ListKeyRecordsResponse>;
  readonly listDataKeys: Unary<key.ListDataKeysRequest, key.ListDataKeysResponse>;
  readonly rotateDataKey: Unary<key.RotateDataKeyRequest, key.RotateDataKeyResponse>;
};

export type ModuleClient = {
  readonly run: Unary<module.RunRequest, module.RunResponse>;
  /** Ends with the result; without one, discard everything received before. */
  readonly runStream: ServerStream<module.RunStreamRequest, module.RunStreamResponse>;
  readonly getModule: Unary<module.GetModuleRequest, module.GetModuleResponse>;
  readonly listModules: Unary<module.ListModulesRequest, module.ListModulesResponse>;
  /** The manifest first, then the code in chunks. */
  readonly proposeModule: (
    parts:
      | AsyncIterable<Partially<module.ProposeModuleRequest>>
      | Iterable<Partially<module.ProposeModuleRequest>>,
    options?: CallOptions,
  ) => Promise<module.ProposeModuleResponse>;
  readonly retireModule: Unary<module.RetireModuleRequest, module.RetireModuleResponse>;
};

export type SigilConnection = Disposable & {
  readonly trust: TrustClient;
  readonly audit: AuditClient;
  readonly canon: CanonClient;
  readonly witness: WitnessClient;
  readonly principals: PrincipalClient;
  readonly keys: KeyClient;
  readonly modules: ModuleClient;
  readonly backup: BackupClient;
  /** Health of a service; "" for the server as a whole. Sends no token. @throws SigilError */
  readonly health: (service?: string, options?: CallOptions) => Promise<ServingStatus>;
  /** The generated stubs on the same channel. They send no tokens. */
  readonly stubs: {
    readonly trust: trust.TrustServiceClient;
    readonly audit: audit.AuditServiceClient;
    readonly canon: canon.CanonServiceClient;
    readonly witness: witness.WitnessServiceClient;
    readonly principals: principal.PrincipalServiceClient;
    readonly keys: key.KeyServiceClient;
    readonly modules: module.ModuleServiceClient;
    readonly backup: backup.BackupServiceClient;
  };
  /** Closes the channel after calls in progress have finished. */
  readonly close: () => void;
};

const deadlineMsDefault = 10_000;

/** grpc-js's default receive limit, and the option that sets it. */
const receiveBytesMaxDefault = 4 << 20;
const receiveBytesKey = "grpc.max_receive_message_length";

const replyBytesMaxOf = ({
  [receiveBytesKey]: given = receiveBytesMaxDefault,
}: ChannelOptions): number | undefined => (given > 0 ? given : undefined);

/** Checks of a method's request before it is sent, and of its reply before it is returned. Both may throw. */
type Checks<Request, Response> = {
  readonly before?: (request: Partially<Request>) => void;
  readonly after?: (request: Request, response: Response) => void;
};

/** Builds a unary method; every request passes through here. */
const unary =
  <Request, Response>(
    context: CallContext,
    messages: { fromPartial(request: Partially<Request>): Request },
    method: UnaryMethod<Request, Response>,
    { before, after }: Checks<Request, Response> = {},
  ): Unary<Request, Response> =>
  async (partial, options) => {
    before?.(partial);
    const request = messages.fromPartial(partial);
    const response = await callUnary(method, request, context, options);
    after?.(request, response);
    return response;
  };

const serverStream =
  <Request, Response>(
    context: CallContext,
    messages: { fromPartial(request: Partially<Request>): Request },
    method: ServerStreamMethod<Request, Response>,
  ): ServerStream<Request, Response> =>
  (request, options) =>
    callServerStream(method, messages.fromPartial(request), context, options);

async function* completed<Request>(
  messages: { fromPartial(request: Partially<Request>): Request },
  requests: Streamed<Request>,
): AsyncGenerator<Request, void, undefined> {
  for await (const request of requests) yield messages.fromPartial(request);
}

/** Yields answers, checking each against an open question. */
async function* streamChecks(
  stub: trust.TrustServiceClient,
  requests: Streamed<trust.StreamChecksRequest>,
  context: CallContext,
  options: CallOptions | undefined,
  remembering: Remembering | undefined,
): AsyncGenerator<trust.StreamChecksResponse, void, undefined> {
  const open = new OpenQuestions();
  const numbers = remembering && new StreamNumbers(remembering);
  const asked = async function* (): AsyncGenerator<trust.StreamChecksRequest, void, undefined> {
    for await (const request of completed<trust.StreamChecksRequest>(trust.StreamChecksRequest, requests)) {
      await open.ask(request);
      await numbers?.ask(request);
      yield request;
    }
  };
  try {
    for await (const answer of callDuplex(stub.streamChecks.bind(stub), asked(), context, options)) {
      open.answer(answer);
      await numbers?.answer(answer);
      yield answer;
    }
  } finally {
    open.close();
    numbers?.close();
  }
}

/** Of the calls that are the connection's own caller's. */
const ownNumbers = (
  remembering: Remembering | undefined,
  options: CallOptions = {},
): Remembering | undefined => (hasOwnToken(options) ? undefined : remembering);

/** The same, with the numbers of its decisions remembered before they are handed on. */
const remembered =
  <Request, Response>(
    remembering: Remembering | undefined,
    call: Unary<Request, Response>,
    decisionsIn: (response: Response) => readonly trust.CheckResponse[],
  ): Unary<Request, Response> =>
  async (request, options) => {
    const own = ownNumbers(remembering, options);
    if (own === undefined) return call(request, options);
    const asked = await own.ask();
    try {
      const response = await call(request, options);
      await own.take(asked, decisionsIn(response));
      return response;
    } finally {
      own.settle(asked);
    }
  };

const decisionsOf = ({ results }: trust.BatchCheckResponse): readonly trust.CheckResponse[] =>
  results.flatMap(({ outcome }) => (outcome?.$case === "decision" ? [outcome.value] : []));

const trustClient = (
  stub: trust.TrustServiceClient,
  context: CallContext,
  remembering: Remembering | undefined,
): TrustClient => ({
  check: remembered(remembering, unary(context, trust.CheckRequest, stub.check.bind(stub)), (decision) => [
    decision,
  ]),
  batchCheck: remembered(
    remembering,
    unary(context, trust.BatchCheckRequest, stub.batchCheck.bind(stub), {
      after: ({ checks }, { results }) => requireCount(checks.length, results.length),
    }),
    decisionsOf,
  ),
  streamChecks: (requests, options) =>
    streamChecks(stub, requests, context, options, ownNumbers(remembering, options)),
  getActiveModel: unary(context, trust.GetActiveModelRequest, stub.getActiveModel.bind(stub)),
  simulate: unary(context, trust.SimulateRequest, stub.simulate.bind(stub), {
    after: (_request, response) => requireSimulation(response),
  }),
});

const auditClient = (stub: audit.AuditServiceClient, context: CallContext): AuditClient => ({
  getFrozenChain: unary(context, audit.GetFrozenChainRequest, stub.getFrozenChain.bind(stub)),
  listFrozenChains: unary(context, audit.ListFrozenChainsRequest, stub.listFrozenChains.bind(stub)),
  verifyFrozenChain: unary(context, audit.VerifyFrozenChainRequest, stub.verifyFrozenChain.bind(stub)),
  replayDecision: unary(context, audit.ReplayDecisionRequest, stub.replayDecision.bind(stub)),
  getCheckpoint: unary(context, audit.GetCheckpointRequest, stub.getCheckpoint.bind(stub)),
  getInclusionProof: unary(context, audit.GetInclusionProofRequest, stub.getInclusionProof.bind(stub)),
  proveCompleteness: unary(context, audit.ProveCompletenessRequest, stub.proveCompleteness.bind(stub)),
  getConsistencyProof: unary(context, audit.GetConsistencyProofRequest, stub.getConsistencyProof.bind(stub)),
  getEvidence: serverStream(context, audit.GetEvidenceRequest, stub.getEvidence.bind(stub)),
  getTile: unary(context, audit.GetTileRequest, stub.getTile.bind(stub)),
});

const canonClient = (stub: canon.CanonServiceClient, context: CallContext): CanonClient => ({
  writeRecord: unary(context, canon.WriteRecordRequest, stub.writeRecord.bind(stub), {
    before: checkWrite,
    after: ({ id }, response) => requireWritten(id, response),
  }),
  batchWriteRecords: unary(context, canon.BatchWriteRecordsRequest, stub.batchWriteRecords.bind(stub), {
    before: checkWrites,
    after: ({ writes }, response) =>
      requireAllWritten(
        writes.map(({ id }) => id),
        response,
      ),
  }),
  getRecord: unary(context, canon.GetRecordRequest, stub.getRecord.bind(stub)),
  listRecords: unary(context, canon.ListRecordsRequest, stub.listRecords.bind(stub)),
  streamRecords: serverStream(context, canon.StreamRecordsRequest, stub.streamRecords.bind(stub)),
  listHistory: unary(context, canon.ListHistoryRequest, stub.listHistory.bind(stub)),
  watch: serverStream(context, canon.WatchRequest, stub.watch.bind(stub)),
  proposeRecord: unary(context, canon.ProposeRecordRequest, stub.proposeRecord.bind(stub)),
  getProposal: unary(context, canon.GetProposalRequest, stub.getProposal.bind(stub)),
  listProposals: unary(context, canon.ListProposalsRequest, stub.listProposals.bind(stub)),
  attestProposal: unary(context, canon.AttestProposalRequest, stub.attestProposal.bind(stub)),
  commitProposal: unary(context, canon.CommitProposalRequest, stub.commitProposal.bind(stub)),
  withdrawProposal: unary(context, canon.WithdrawProposalRequest, stub.withdrawProposal.bind(stub)),
  getSystemRecord: unary(context, canon.GetSystemRecordRequest, stub.getSystemRecord.bind(stub)),
});

const witnessClient = (stub: witness.WitnessServiceClient, context: CallContext): WitnessClient => ({
  listWitnesses: unary(context, witness.ListWitnessesRequest, stub.listWitnesses.bind(stub)),
  proposeWitnessChange: unary(
    context,
    witness.ProposeWitnessChangeRequest,
    stub.proposeWitnessChange.bind(stub),
  ),
  getQuorum: unary(context, witness.GetQuorumRequest, stub.getQuorum.bind(stub)),
});

const backupClient = (stub: backup.BackupServiceClient, context: CallContext): BackupClient => ({
  backup: serverStream(context, backup.BackupRequest, stub.backup.bind(stub)),
  inspect: serverStream(context, backup.InspectRequest, stub.inspect.bind(stub)),
});

const principalClient = (stub: principal.PrincipalServiceClient, context: CallContext): PrincipalClient => ({
  suspendPrincipal: unary(context, principal.SuspendPrincipalRequest, stub.suspendPrincipal.bind(stub)),
  withdrawFeedGrant: unary(context, principal.WithdrawFeedGrantRequest, stub.withdrawFeedGrant.bind(stub)),
  getPrincipal: unary(context, principal.GetPrincipalRequest, stub.getPrincipal.bind(stub)),
  listPrincipals: unary(context, principal.ListPrincipalsRequest, stub.listPrincipals.bind(stub)),
});

const keyClient = (stub: key.KeyServiceClient, context: CallContext): KeyClient => ({
  listKeys: unary(context, key.ListKeysRequest, stub.listKeys.bind(stub)),
  rotateKey: unary(context, key.RotateKeyRequest, stub.rotateKey.bind(stub)),
  retireKey: unary(context, key.RetireKeyRequest, stub.retireKey.bind(stub)),
  listKeyRecords: unary(context, key.ListKeyRecordsRequest, stub.listKeyRecords.bind(stub)),
  listDataKeys: unary(context, key.ListDataKeysRequest, stub.listDataKeys.bind(stub)),
  rotateDataKey: unary(context, key.RotateDataKeyRequest, stub.rotateDataKey.bind(stub)),
});

const moduleClient = (stub: module.ModuleServiceClient, context: CallContext): ModuleClient => ({
  run: unary(context, module.RunRequest, stub.run.bind(stub)),
  runStream: serverStream(context, module.RunStreamRequest, stub.runStream.bind(stub)),
  getModule: unary(context, module.GetModuleRequest, stub.getModule.bind(stub)),
  listModules: unary(context, module.ListModulesRequest, stub.listModules.bind(stub)),
  proposeModule: (parts, options) =>
    callClientStream<module.ProposeModuleRequest, module.ProposeModuleResponse>(
      stub.proposeModule.bind(stub),
      completed<module.ProposeModuleRequest>(module.ProposeModuleRequest, parts),
      context,
      options,
    ),
  retireModule: unary(context, module.RetireModuleRequest, stub.retireModule.bind(stub)),
});

/**
 * grpc-js shares connections to one address within a process, including their backoff: after a failure, new connections
 * would fail without an attempt for up to two minutes.
 */
const ownConnection = { "grpc.use_local_subchannel_pool": 1 } as const;

/**
 * Creates a separate connection, established by the first call.
 * @throws TypeError if tokens would leave the machine unprotected, or the TLS options contradict each other.
 */
export const connect = (options: ConnectOptions): SigilConnection => {
  const { target, tls = {}, signer, deadlineMs = deadlineMsDefault } = options;
  const mayAuthorize = tls !== "insecure" || options.insecureTokens === "send" || isLoopback(target);
  if (signer !== undefined && !mayAuthorize) throw new TypeError(tokenRefusal);
  const channelOptions = {
    ...ownConnection,
    ...nameOptions(tls),
    ...options.channelOptions,
    ...proxyOptions(target, tls),
  };
  const credentials = channelCredentials(tls);
  const trustStub = new JudgedTrustClient(target, credentials, channelOptions);
  const sameChannel = { channelOverride: trustStub.getChannel() };
  const stubs = {
    trust: trustStub,
    audit: new JudgedAuditClient(target, credentials, sameChannel),
    canon: new canon.CanonServiceClient(target, credentials, sameChannel),
    witness: new witness.WitnessServiceClient(target, credentials, sameChannel),
    principals: new principal.PrincipalServiceClient(target, credentials, sameChannel),
    keys: new key.KeyServiceClient(target, credentials, sameChannel),
    modules: new module.ModuleServiceClient(target, credentials, sameChannel),
    backup: new backup.BackupServiceClient(target, credentials, sameChannel),
  };
  const remembering = options.remember && new Remembering(options.remember);
  const context = { signer, mayAuthorize, deadlineMs, replyBytesMax: replyBytesMaxOf(channelOptions) };
  const anonymous = { ...context, signer: undefined };
  const close = (): void => trustStub.close();
  return {
    trust: trustClient(stubs.trust, context, remembering),
    audit: auditClient(stubs.audit, context),
    canon: canonClient(stubs.canon, context),
    witness: witnessClient(stubs.witness, context),
    principals: principalClient(stubs.principals, context),
    keys: keyClient(stubs.keys, context),
    modules: moduleClient(stubs.modules, context),
    backup: backupClient(stubs.backup, context),
    health: async (service = "", callOptions) =>
      callUnary(healthMethod(trustStub), service, anonymous, callOptions),
    stubs,
    close,
    [Symbol.dispose]: close,
  };
};
