/** A connection to a Sigil server: one channel, every service, promises. */
import type { ChannelOptions } from "@grpc/grpc-js";
import { attestBy, type Attest } from "./attest.ts";
import {
  followDecisions,
  listDecisions,
  type DecisionQuery,
  type FollowOptions,
  type FollowQuery,
} from "./audit/decisions.ts";
import { CallHeaders, callUnary, tokenRefusal, type CallOptions } from "./call.ts";
import type * as audit from "@sigil/proto/sigil/audit/v1/audit";
import * as backup from "@sigil/proto/sigil/backup/v1/backup";
import * as canon from "@sigil/proto/sigil/canon/v1/canon";
import * as witness from "@sigil/proto/sigil/canon/v1/witness";
import * as principal from "@sigil/proto/sigil/identity/v1/principal";
import * as key from "@sigil/proto/sigil/key/v1/key";
import * as module from "@sigil/proto/sigil/module/v1/module";
import type * as trust from "@sigil/proto/sigil/trust/v1/trust";
import { readEvidence } from "./evidence.ts";
import { checkBy, requireBy, type Check } from "./guard/question.ts";
import { recordsResuming } from "./canon/records.ts";
import { runBy, type Run } from "./module/run.ts";
import { guardBy, type Guard } from "./guard/rule.ts";
import { healthMethod, type ServingStatus } from "./health.ts";
import { JudgedAuditClient, JudgedTrustClient } from "./judged-stub.ts";
import { channelCredentials, isLoopback, nameOptions, proxyOptions, type TlsOptions } from "./target.ts";
import { Remembering, type RememberOptions } from "./remember.ts";
import { parseRetry, RetryBudget, retryDefaults, type RetryOptions } from "./retry/plan.ts";
import { auditClient, type AuditClient } from "./services/audit.ts";
import { canonClient, witnessClient, type CanonClient, type WitnessClient } from "./services/canon.ts";
import {
  backupClient,
  keyClient,
  moduleClient,
  principalClient,
  type BackupClient,
  type KeyClient,
  type ModuleClient,
  type PrincipalClient,
} from "./services/operation.ts";
import { trustClient, type TrustClient } from "./services/trust.ts";
import type { Partially } from "./services/method.ts";
import type { TokenSigner } from "./token.ts";
import { watchResuming, type WatchOptions } from "./watch/resume.ts";
import { parseGenesisHash, type Genesis } from "./verify/genesis.ts";
import { DecisionProver } from "./verify/prover.ts";

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
   * When unary calls are repeated that only read, or have an idempotency key, which each check, batch, write and
   * proposal is given: while the server is away, and when it says how long to wait. Never past the deadline. "none"
   * makes no keys.
   */
  readonly retry?: RetryOptions | "none";
  /**
   * Remember the numbers of this caller's decisions, and notice one that comes twice or goes back. Calls with an
   * `authorization` of their own are another caller's, and are left out.
   */
  readonly remember?: RememberOptions | undefined;
  /**
   * Hand on decisions only once they are proved from the hash of the genesis record, which `sigil init` printed: each
   * check, batch and stream asks for an inclusion proof and verifies it. Without a proof there is an error.
   */
  readonly verifyDecisions?: { readonly genesis: Genesis } | undefined;
  /** Further channel options of grpc-js. */
  readonly channelOptions?: ChannelOptions;
};

export type SigilConnection = Disposable & {
  /**
   * Resolves only when the answer is an honest ALLOW. What comes after it is allowed.
   * @throws DeniedError for every other answer and for every failure.
   */
  readonly require: Check;
  /**
   * The decision, whatever it is: act on its `allowed`. An object is true as a condition, a deny too, so use `require`
   * where you can. @throws SigilError when there is no decision, which is a deny.
   */
  readonly check: Check;
  /**
   * Records as they are committed, each once and in order, going on at the last position when the stream breaks off.
   * Never ends by itself. @throws SigilError that no repeat would change.
   */
  readonly watch: (
    request: Partially<canon.WatchRequest>,
    options?: WatchOptions,
  ) => AsyncGenerator<canon.WatchResponse, void, undefined>;
  /**
   * Records that match, in the order of ids and as the ledger was when it began, going on after the last one when the
   * stream breaks off. @throws SigilError
   */
  readonly records: (
    request?: Partially<canon.StreamRecordsRequest>,
    options?: WatchOptions,
  ) => AsyncGenerator<canon.StreamRecordsResponse, void, undefined>;
  /** Runs a module, if its caller may. Never sent twice. @throws SigilError when it is denied, or did not run. */
  readonly run: Run;
  /** Recorded decisions that match, each verified by the server, to the last one. @throws SigilError */
  readonly decisions: (
    query?: DecisionQuery,
    options?: CallOptions,
  ) => AsyncGenerator<audit.FrozenChain, void, undefined>;
  /** Recorded decisions as they are made, oldest first, each once. Never ends by itself. @throws SigilError */
  readonly follow: (
    query?: FollowQuery,
    options?: FollowOptions,
  ) => AsyncGenerator<audit.FrozenChain, void, undefined>;
  /** A record's evidence file, not verified: `verify` does. @throws SigilError, ProofError */
  readonly evidence: (
    request: Partial<audit.GetEvidenceRequest>,
    options?: CallOptions,
  ) => Promise<Uint8Array>;
  /** Signs, on this machine, a witness's statement about a reviewed proposal; sends it. @throws ProofError. */
  readonly attest: Attest;
  /** A function with `require` before it, each time. @throws TypeError at the start, without an action or a target. */
  readonly guard: Guard;
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

/**
 * grpc-js shares connections to one address within a process, including their backoff: after a failure, new connections
 * would fail without an attempt for up to two minutes.
 */
const ownConnection = { "grpc.use_local_subchannel_pool": 1 } as const;

/** A server that restarts is found again within a call's deadline: grpc-js waits a second first, up to two minutes. */
const reconnecting = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
} as const;

/** While calls are open: a connection that carries nothing any more, with no end that anybody heard of, is given up. */
const keepalive = { "grpc.keepalive_time_ms": 30_000, "grpc.keepalive_timeout_ms": 10_000 } as const;

/**
 * Creates a separate connection, established by the first call.
 * @throws TypeError if tokens would leave the machine unprotected, or the TLS options contradict each other.
 */
export const connect = (options: ConnectOptions): SigilConnection => {
  const { target, tls = {}, signer, deadlineMs = deadlineMsDefault } = options;
  const mayAuthorize = tls !== "insecure" || options.insecureTokens === "send" || isLoopback(target);
  if (signer !== undefined && !mayAuthorize) throw new TypeError(tokenRefusal);
  const genesis = options.verifyDecisions && parseGenesisHash(options.verifyDecisions.genesis);
  const channelOptions = {
    ...ownConnection,
    ...reconnecting,
    ...keepalive,
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
  const closing = new AbortController();
  const context = {
    signer,
    mayAuthorize,
    deadlineMs,
    headers: new CallHeaders(replyBytesMaxOf(channelOptions)),
    retry: options.retry === "none" ? options.retry : parseRetry(options.retry ?? retryDefaults),
    budget: new RetryBudget(),
    closed: closing.signal,
  };
  const anonymous = { ...context, signer: undefined };
  const close = (): void => {
    closing.abort();
    trustStub.close();
  };
  const keys = keyClient(stubs.keys, context);
  const prover = genesis && new DecisionProver({ keys }, genesis, context);
  const deciding = trustClient(stubs.trust, context, { remembering, prover });
  const records = canonClient(stubs.canon, context);
  const modules = moduleClient(stubs.modules, context);
  const audits = auditClient(stubs.audit, context);
  const check = checkBy(deciding);
  const asked = requireBy(check);
  return {
    require: asked,
    check,
    guard: guardBy({ require: asked }),
    decisions: (query = {}, given = {}) => listDecisions(audits, query, given),
    follow: (query = {}, given = {}) => followDecisions(audits, query, given, closing.signal),
    evidence: (request, given) => readEvidence({ audit: audits }, request, given),
    attest: attestBy(records),
    records: (request = {}, given = {}) => recordsResuming(records, request, given, closing.signal),
    run: runBy(modules),
    watch: (request, given = {}) => watchResuming(records, request, given, closing.signal),
    trust: deciding,
    audit: audits,
    canon: records,
    witness: witnessClient(stubs.witness, context),
    principals: principalClient(stubs.principals, context),
    keys,
    modules,
    backup: backupClient(stubs.backup, context),
    health: async (service = "", callOptions) =>
      callUnary(healthMethod(trustStub), service, anonymous, callOptions),
    stubs,
    close,
    [Symbol.dispose]: close,
  };
};
