/**
 * AuditService over gRPC: converts requests to queries and verified evidence to replies. Errors are handled by the
 * wrapper (unary.ts).
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  AuditServiceService,
  FrozenChain,
  ListFrozenChainsResponse,
  ListOrder,
  type GetCheckpointRequest,
  type GetCheckpointResponse,
  type GetConsistencyProofRequest,
  type GetConsistencyProofResponse,
  type GetEvidenceRequest,
  type GetEvidenceResponse,
  type GetFrozenChainRequest,
  type GetFrozenChainResponse,
  type GetInclusionProofRequest,
  type GetInclusionProofResponse,
  type GetTileRequest,
  type GetTileResponse,
  type ListFrozenChainsRequest,
  type ProveCompletenessRequest,
  type ProveCompletenessResponse,
  type ReplayDecisionRequest,
  type ReplayDecisionResponse,
  type VerifyFrozenChainRequest,
  type VerifyFrozenChainResponse,
} from "@sigil/proto/sigil/audit/v1/audit";
import { invalidField } from "../../errors.ts";
import { reasonShape } from "@sigil/core/record";
import type { ProveCompleteness } from "../../audit/completeness.ts";
import type { ChainName, ChainQuery } from "../../audit/evidence.ts";
import type { CheckpointName, EvidenceName, EvidenceTree, LeafName } from "../../audit/proofs.ts";
import type { AuditService } from "../../audit/service.ts";
import type { PublishedTiles } from "../../audit/tiles.ts";
import type { Caller } from "../../identity/caller.ts";
import { completenessHandler } from "./completeness.ts";
import { formatChain, formatReplay, formatVerification } from "./messages.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import {
  readAction,
  readAuditId,
  readHash,
  readPageSize,
  readSession,
  readTarget,
  readPrincipal,
  readTargetGlob,
  readTenant,
  readTimeMs,
  readVerdict,
} from "../message/fields.ts";
import { formatTime } from "../message/vocabulary.ts";
import { answerPage, replyLimitOf } from "../bounds/reply-limit.ts";
import { piecesOf, shorterChains } from "../bounds/shorter.ts";
import { serverStreaming, type StreamContext } from "../call/server-stream.ts";
import { unary } from "../call/unary.ts";

const ORDERS: ReadonlyMap<number, ChainQuery["order"]> = new Map([
  [ListOrder.LIST_ORDER_UNSPECIFIED, "newestFirst"],
  [ListOrder.LIST_ORDER_NEWEST_FIRST, "newestFirst"],
  [ListOrder.LIST_ORDER_OLDEST_FIRST, "oldestFirst"],
]);

const readOrder = (order: ListOrder): ChainQuery["order"] =>
  ORDERS.get(order) ?? invalidField("order", "must be an order this server knows");

const readQuery = (request: ListFrozenChainsRequest, trustDomain: string): ChainQuery => ({
  principal: readPrincipal(request.principal, "principal", trustDomain),
  action: request.action === "" ? "" : readAction(request.action, "action"),
  targetGlob: readTargetGlob(request.targetGlob, "target_glob"),
  targetPrefix: request.targetPrefix === "" ? "" : readTarget(request.targetPrefix, "target_prefix"),
  verdict: readVerdict(request.verdict, "verdict"),
  reason: readReason(request.reason),
  session: readSession(request.session, "session"),
  fromPosition: request.fromPosition,
  fromMs: readTimeMs(request.fromTime, "from_time"),
  untilMs: readTimeMs(request.untilTime, "until_time"),
  order: readOrder(request.order),
  pageSize: readPageSize(request.pageSize),
  pageToken: request.pageToken,
  tenant: readTenant(request.tenant),
});

const readReason = (reason: string): string =>
  reason === "" || reasonShape.test(reason)
    ? reason
    : invalidField("reason", "must be a code such as SCORE_BELOW_THRESHOLD");

const readName = ({ auditId, tenant }: ChainName): ChainName => ({
  auditId: readAuditId(auditId),
  tenant: readTenant(tenant),
});

const readCheckpointName = ({ size, atLeast, cosigned }: GetCheckpointRequest): CheckpointName => {
  if (size !== 0n && cosigned) invalidField("cosigned", "must be false beside size");
  if (cosigned) return { kind: "cosigned", size: atLeast };
  if (size !== 0n && atLeast !== 0n) invalidField("at_least", "must be 0 beside size");
  if (size !== 0n) return { kind: "exact", size };
  return atLeast === 0n ? { kind: "newest" } : { kind: "reaching", size: atLeast };
};

/** By audit id or hash; undefined without either. */
const readRecordName = ({
  auditId,
  tenant,
  hash,
}: Pick<GetInclusionProofRequest, "auditId" | "tenant" | "hash">): EvidenceName | undefined => {
  if (auditId !== "" && hash.length > 0) invalidField("hash", "must be empty beside audit_id");
  if (auditId === "" && tenant !== "") invalidField("tenant", "goes with audit_id alone");
  if (auditId !== "") return { kind: "decision", ...readName({ auditId, tenant }) };
  return hash.length === 0 ? undefined : { kind: "hash", hash: readHash(hash, "hash") };
};

const readEvidenceName = (request: GetEvidenceRequest): EvidenceName =>
  readRecordName(request) ?? invalidField("audit_id", "must name a decision, or hash a record");

const readEvidenceTree = ({ size, cosigned }: GetEvidenceRequest): EvidenceTree => {
  if (size !== 0n && cosigned) invalidField("cosigned", "must be false beside size");
  if (size !== 0n) return { kind: "exact", size };
  return { kind: cosigned ? "cosigned" : "best" };
};

const readLeafName = (request: GetInclusionProofRequest): LeafName => {
  const { position } = request;
  const named = readRecordName(request);
  if (named === undefined) return { kind: "position", position };
  return position === 0n ? named : invalidField("position", "must be 0 beside audit_id or hash");
};

const formatSigned = (signedMs: number | undefined): Date | undefined =>
  signedMs === undefined ? undefined : formatTime(signedMs);

/** A Buffer over the same memory, which protobuf writes without copying. */
const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function* evidenceMessages(
  audit: AuditService,
  caller: Caller,
  request: GetEvidenceRequest,
  call: StreamContext,
): AsyncGenerator<GetEvidenceResponse, void, undefined> {
  const file = await audit.evidence(caller, readEvidenceName(request), readEvidenceTree(request), call);
  for (const chunk of piecesOf(file, replyLimitOf(call))) yield { chunk: buffer(chunk) };
}

export type AuditParts = {
  readonly audit: AuditService;
  readonly proveCompleteness: ProveCompleteness;
  readonly tiles: Pick<PublishedTiles, "file">;
};

export const auditHandlers = (
  { audit, proveCompleteness, tiles }: AuditParts,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  getFrozenChain: unary<GetFrozenChainRequest, GetFrozenChainResponse>(
    rpc,
    AuditServiceService.getFrozenChain.path,
    async (caller, request) => {
      const found = await audit.get(caller, readName(request));
      return { chain: formatChain(found), modelRows: await audit.rows(found.chain) };
    },
  ),
  listFrozenChains: unary<ListFrozenChainsRequest, ListFrozenChainsResponse>(
    rpc,
    AuditServiceService.listFrozenChains.path,
    async (caller, request, call) => {
      const query = readQuery(request, rpc.trustDomain);
      const list = async (asked: ChainQuery): Promise<ListFrozenChainsResponse> => {
        const { chains, ...rest } = await audit.list(caller, asked, call.signal);
        return { ...rest, chains: chains.map(formatChain) };
      };
      const message = ListFrozenChainsResponse;
      return answerPage(
        { message, items: "chains", item: FrozenChain, query, list, shorter: shorterChains },
        call,
      );
    },
  ),
  verifyFrozenChain: unary<VerifyFrozenChainRequest, VerifyFrozenChainResponse>(
    rpc,
    AuditServiceService.verifyFrozenChain.path,
    async (caller, request) => formatVerification(await audit.verify(caller, readName(request))),
  ),
  replayDecision: unary<ReplayDecisionRequest, ReplayDecisionResponse>(
    rpc,
    AuditServiceService.replayDecision.path,
    async (caller, request) => formatReplay(await audit.replay(caller, readName(request))),
  ),
  getCheckpoint: unary<GetCheckpointRequest, GetCheckpointResponse>(
    rpc,
    AuditServiceService.getCheckpoint.path,
    async (_caller, request) => {
      const { checkpoint, origin, size, root, publicKey, signedMs } = await audit.checkpoint(
        readCheckpointName(request),
      );
      return { checkpoint, origin, size, root, publicKey, signedTime: formatSigned(signedMs) };
    },
  ),
  getInclusionProof: unary<GetInclusionProofRequest, GetInclusionProofResponse>(
    rpc,
    AuditServiceService.getInclusionProof.path,
    async (caller, request) => {
      const found = await audit.proveInclusion(caller, readLeafName(request), request);
      const { checkpoint, size, signedMs } = found.tree;
      return {
        checkpoint,
        inclusionProof: [...found.proof],
        ledgerPosition: found.position,
        size,
        leafHash: found.leafHash,
        signedTime: formatSigned(signedMs),
        receipt: found.receipt,
      };
    },
  ),
  getConsistencyProof: unary<GetConsistencyProofRequest, GetConsistencyProofResponse>(
    rpc,
    AuditServiceService.getConsistencyProof.path,
    async (_caller, { oldSize, newSize }) => {
      const { proof, tree } = await audit.proveConsistency(oldSize, newSize);
      const { checkpoint, size, signedMs } = tree;
      return { checkpoint, consistencyProof: [...proof], newSize: size, signedTime: formatSigned(signedMs) };
    },
  ),
  getEvidence: serverStreaming<GetEvidenceRequest, GetEvidenceResponse>(
    rpc,
    AuditServiceService.getEvidence.path,
    (caller, request, call) => evidenceMessages(audit, caller, request, call),
  ),
  proveCompleteness: unary<ProveCompletenessRequest, ProveCompletenessResponse>(
    rpc,
    AuditServiceService.proveCompleteness.path,
    completenessHandler(proveCompleteness, rpc.trustDomain),
  ),
  getTile: unary<GetTileRequest, GetTileResponse>(
    rpc,
    AuditServiceService.getTile.path,
    async (caller, { path }, call) => ({ content: await tiles.file(caller, path, call) }),
  ),
});
