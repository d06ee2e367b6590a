/** The real transport and handlers over made-up services: what the wrappers do when a service misbehaves. */
import { connect, type SigilConnection } from "@sigil/client";
import { AuditServiceService } from "../../../generated/src/sigil/audit/v1/audit.ts";
import { CanonServiceService } from "../../../generated/src/sigil/canon/v1/canon.ts";
import { WitnessServiceService } from "../../../generated/src/sigil/canon/v1/witness.ts";
import { KeyServiceService } from "../../../generated/src/sigil/key/v1/key.ts";
import {
  ModuleServiceService,
  type ProposeModuleRequest,
  type ProposeModuleResponse,
} from "../../../generated/src/sigil/module/v1/module.ts";
import { TrustServiceService } from "../../../generated/src/sigil/trust/v1/trust.ts";
import type { AuditService } from "../../../src/audit/service.ts";
import type { QuorumService, RecordsService } from "../../../src/canon/service.ts";
import type { KeyService } from "../../../src/deployment/keys.ts";
import { anonymous } from "../../../src/identity/caller.ts";
import { formatAddress } from "../../../src/config/address.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import { concurrentStreamsMax, messageBytesMax, sessionMemoryMiBMax } from "../../../src/limits.ts";
import { makeConfig } from "../../../src/config/config.ts";
import type { Values } from "../../../src/config/keys.ts";
import { createBounds, type Bounds } from "../../../src/wire/bounds.ts";
import { auditHandlers } from "../../../src/rpc/audit/audit.ts";
import { canonHandlers } from "../../../src/rpc/canon/canon.ts";
import { clientStreaming, type UploadAnswer } from "../../../src/rpc/call/client-stream.ts";
import type { Log, RpcEnvironment } from "../../../src/rpc/call/environment.ts";
import { keyHandlers } from "../../../src/rpc/key/key.ts";
import { createHealth } from "../../../src/rpc/transport/health.ts";
import { startRpcServer } from "../../../src/rpc/transport/server.ts";
import { trustHandlers } from "../../../src/rpc/trust/trust.ts";
import { witnessHandlers } from "../../../src/rpc/canon/witness.ts";
import { CallsUnderWay } from "../../../src/rpc/call/underway.ts";
import type { CallContext } from "../../../src/identity/caller.ts";
import { isMalformed, type CheckQuestion, type Decision } from "../../../src/trust/decision.ts";
import type { TrustService } from "../../../src/trust/service.ts";

export type Line = { readonly level: string; readonly fields: object; readonly message: string };

const notMade = (): never => {
  throw new Error("not made up");
};

/** A decision about a question, with made-up numbers. */
export const decide = (question: CheckQuestion, call: CallContext): Decision => ({
  auditId: "decision",
  position: 7n,
  hash: parseHash(new Uint8Array(32)),
  envelope: new Uint8Array(0),
  timeMs: 1_700_000_000_123,
  model: { bias: 1, weights: { action_risk: -6 } },
  replayed: false,
  disclosures: {},
  chain: {
    request: {
      action: question.action,
      target: question.target,
      subject: "",
      caller: "",
      tenant: "public",
      loa: "guest",
      session: question.session,
      inputDigest: parseHash(new Uint8Array(32)),
      inputBytes: question.input.length,
      input: null,
      metadata: call.metadata,
    },
    features: { action_risk: 0.5 },
    model: { id: "m", hash: parseHash(new Uint8Array(32)) },
    contributions: { action_risk: -3 },
    z: -2,
    score: 0.12,
    threshold: 0.5,
    review: null,
    verdict: "deny",
    reason: "SCORE_BELOW_THRESHOLD",
    steps: [],
    durationUs: 1,
  },
});

export const uploadPath = ModuleServiceService.proposeModule.path;

export type FakeServer = AsyncDisposable & {
  readonly connection: SigilConnection;
  readonly target: string;
  readonly lines: readonly Line[];
  readonly calls: readonly { readonly path: string; readonly code: number }[];
  readonly underWay: CallsUnderWay;
  /** Bounds that calls were refused by. */
  readonly refused: readonly string[];
  readonly bounds: Bounds;
  readonly close: () => Promise<void>;
};

type FakeOptions = {
  readonly trust?: Partial<TrustService>;
  readonly audit?: Partial<AuditService>;
  readonly records?: Partial<RecordsService>;
  readonly quorum?: Partial<QuorumService>;
  readonly keys?: KeyService;
  /** Of a client stream. */
  readonly upload?: UploadAnswer<ProposeModuleRequest, ProposeModuleResponse>;
  readonly rpc?: Partial<RpcEnvironment>;
  readonly drainMs?: number;
  readonly config?: Partial<Values>;
};

export const startFakeServer = async (options: FakeOptions): Promise<FakeServer> => {
  const lines: Line[] = [];
  const calls: { path: string; code: number }[] = [];
  const logAs = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields, message });
  const log: Log = {
    isLevelEnabled: () => true,
    debug: logAs("debug"),
    info: logAs("info"),
    warn: logAs("warn"),
    error: logAs("error"),
  };
  const underWay = new CallsUnderWay();
  let ids = 0;
  const refused: string[] = [];
  const config = makeConfig(options.config ?? {});
  const bounds = createBounds(
    config,
    { onRefused: (bound) => void refused.push(bound), watchBounds: () => {} },
    { connections: config.connections_max, operatorConnections: 8 },
  );
  const rpc: RpcEnvironment = {
    trustDomain: "sigil.test",
    identify: async () => anonymous,
    authorize: () => {},
    // A busy machine meets neither: tests about deadlines set their own.
    deadlines: { deadlineMsDefault: 60_000, deadlineMsMax: 60_000 },
    slowCallMs: 60_000,
    readsCertificates: false,
    underWay,
    pacing: bounds.pacing,
    connections: bounds.connections,
    replies: bounds.replies,
    streams: bounds.streams,
    uploads: bounds.uploads,
    observer: {
      onCall: (path, code) => void calls.push({ path, code }),
      onRefused: (bound) => void refused.push(bound),
    },
    log,
    newId: () => `id-${(ids += 1)}`,
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
    ...options.rpc,
  };
  const trust: TrustService = {
    check: async (_, question, call) => decide(question, call),
    batchCheck: async (_, questions, __, call) =>
      questions.map((item) =>
        isMalformed(item)
          ? { kind: "failed", error: item.error }
          : { kind: "decided", decision: decide(item, call) },
      ),
    activeModel: notMade,
    simulate: notMade,
    rescore: notMade,
    ...options.trust,
  };
  const audit: AuditService = {
    get: notMade,
    rows: notMade,
    list: notMade,
    verify: notMade,
    replay: notMade,
    checkpoint: notMade,
    proveInclusion: notMade,
    evidence: notMade,
    proveRecorded: notMade,
    recordedEvidence: notMade,
    proveConsistency: notMade,
    ...options.audit,
  };
  const records: RecordsService = {
    write: notMade,
    batchWrite: notMade,
    get: notMade,
    list: notMade,
    stream: notMade,
    history: notMade,
    watch: notMade,
    ...options.records,
  };
  const quorum: QuorumService = {
    propose: notMade,
    proposeWitnessChange: notMade,
    get: notMade,
    list: notMade,
    attest: notMade,
    commit: notMade,
    withdraw: notMade,
    systemRecord: notMade,
    registry: notMade,
    witnesses: notMade,
    ...options.quorum,
  };
  const { keys, upload } = options;
  const uploadServices =
    upload === undefined
      ? []
      : [[ModuleServiceService, { proposeModule: clientStreaming(rpc, uploadPath, upload) }] as const];
  const keyServices = keys === undefined ? [] : [[KeyServiceService, keyHandlers(keys, rpc)] as const];
  const health = createHealth([]);
  const server = await startRpcServer({
    address: { host: "127.0.0.1", port: 0 },
    socketMode: 0o600,
    tls: null,
    limits: {
      messageBytesMax,
      concurrentStreamsMax,
      sessionMemoryMiBMax,
      keepaliveMs: 60_000,
      keepaliveTimeoutMs: 20_000,
      connectionAgeMs: 3_600_000,
      connectionAgeGraceMs: 1000,
    },
    reflection: true,
    health,
    intake: bounds.intake,
    connections: bounds.connections,
    pacing: bounds.pacing,
    services: [
      [TrustServiceService, trustHandlers(trust, quorum, audit, rpc)],
      [
        AuditServiceService,
        auditHandlers({ audit, proveCompleteness: notMade, tiles: { file: notMade } }, rpc),
      ],
      [CanonServiceService, canonHandlers(records, quorum, audit, rpc)],
      [WitnessServiceService, witnessHandlers(quorum, rpc)],
      ...keyServices,
      ...uploadServices,
    ],
    underWay,
    drainMs: options.drainMs ?? 200,
  });
  health.set("serving");
  const target = formatAddress(server.address);
  const connection = connect({ target, tls: "insecure", deadlineMs: 60_000, retry: "none" });
  return {
    connection,
    target,
    lines,
    calls,
    underWay,
    refused,
    bounds,
    close: server.close,
    [Symbol.asyncDispose]: async () => {
      connection.close();
      await server.close();
    },
  };
};
