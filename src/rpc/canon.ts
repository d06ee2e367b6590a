/** CanonService over gRPC: requests become writes, queries and proposals, and verified records replies. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  CanonServiceService as Canon,
  type AttestProposalRequest,
  type AttestProposalResponse,
  type BatchWriteRecordsRequest,
  type BatchWriteRecordsResponse,
  type CommitProposalRequest,
  type CommitProposalResponse,
  type GetProposalRequest,
  type GetProposalResponse,
  type GetRecordRequest,
  type GetRecordResponse,
  type GetSystemRecordRequest,
  type GetSystemRecordResponse,
  type ListHistoryRequest,
  type ListHistoryResponse,
  type ListProposalsRequest,
  type ListProposalsResponse,
  type ListRecordsRequest,
  type ListRecordsResponse,
  type ProposeRecordRequest,
  type ProposeRecordResponse,
  type StreamRecordsRequest,
  type StreamRecordsResponse,
  type WatchRequest,
  type WatchResponse,
  type WithdrawProposalRequest,
  type WithdrawProposalResponse,
  type WriteRecordRequest,
  type WriteRecordResponse,
} from "../../generated/sigil/canon/v1/canon.ts";
import type { Presentation, Proposal, RecordPage } from "../canon/domain.ts";
import type { QuorumService, RecordsService } from "../canon/service.ts";
import {
  readExport,
  readGet,
  readHistoryQuery,
  readPresentation,
  readRecordQuery,
  readWatch,
  readWrite,
  readWrites,
} from "./canon-fields.ts";
import {
  formatAttestation,
  formatBatch,
  formatProposal,
  formatSystemRecord,
  formatWatchEvent,
  formatWritten,
} from "./canon-messages.ts";
import { describeFinding, lintModel } from "../trust/lint.ts";
import type { RpcEnvironment } from "./environment.ts";
import { readIdempotencyKey, readRecordId } from "./fields.ts";
import { nameModel } from "./model-fields.ts";
import {
  readProposal,
  readProposalId,
  readProposalQuery,
  readReason,
  readStatement,
} from "./proposal-fields.ts";
import { formatVersioned } from "./records.ts";
import { serverStreaming } from "./server-stream.ts";
import { unary } from "./unary.ts";

const formatPage = ({ records, nextPageToken, ledgerSize }: RecordPage, presentation: Presentation) => ({
  records: records.map((record) => formatVersioned(record, presentation)),
  nextPageToken,
  ledgerSize,
});

async function* each<Item, Message>(
  items: AsyncIterable<Item>,
  format: (item: Item) => Message,
): AsyncGenerator<Message, void, undefined> {
  for await (const item of items) yield format(item);
}

const writingHandlers = (records: RecordsService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  writeRecord: unary<WriteRecordRequest, WriteRecordResponse>(
    rpc,
    Canon.writeRecord.path,
    async (caller, request, call) => {
      const key = readIdempotencyKey(request.idempotencyKey);
      return formatWritten(await records.write(caller, readWrite(request), key, call));
    },
  ),
  batchWriteRecords: unary<BatchWriteRecordsRequest, BatchWriteRecordsResponse>(
    rpc,
    Canon.batchWriteRecords.path,
    async (caller, request, call) => {
      const key = readIdempotencyKey(request.idempotencyKey);
      return formatBatch(await records.batchWrite(caller, readWrites(request), key, call));
    },
  ),
});

const readingHandlers = (records: RecordsService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  getRecord: unary<GetRecordRequest, GetRecordResponse>(
    rpc,
    Canon.getRecord.path,
    async (caller, request) => {
      const { name, at } = readGet(request);
      return { record: formatVersioned(await records.get(caller, name, at)) };
    },
  ),
  listRecords: unary<ListRecordsRequest, ListRecordsResponse>(
    rpc,
    Canon.listRecords.path,
    async (caller, request, { signal }) => {
      const query = readRecordQuery(request);
      return formatPage(await records.list(caller, query, signal), query.presentation);
    },
  ),
  listHistory: unary<ListHistoryRequest, ListHistoryResponse>(
    rpc,
    Canon.listHistory.path,
    async (caller, request, { signal }) => {
      const query = readHistoryQuery(request);
      return formatPage(await records.history(caller, query, signal), query.presentation);
    },
  ),
  streamRecords: serverStreaming<StreamRecordsRequest, StreamRecordsResponse>(
    rpc,
    Canon.streamRecords.path,
    (caller, request, call) => {
      const presentation = readPresentation(request.view, request.payloadMask);
      return each(records.stream(caller, readExport(request), call), ({ record, ledgerSize }) => ({
        record: formatVersioned(record, presentation),
        ledgerSize,
      }));
    },
  ),
  watch: serverStreaming<WatchRequest, WatchResponse>(rpc, Canon.watch.path, (caller, request, call) => {
    const presentation = readPresentation(request.view);
    return each(records.watch(caller, readWatch(request), call), (event) =>
      formatWatchEvent(event, presentation),
    );
  }),
});

/** Advice about a model, for whoever proposes it. */
const warningsOf = ({ body }: Proposal): string[] =>
  body.kind === "trust_model" ? lintModel(body.payload).findings.map(describeFinding) : [];

const proposalHandlers = (quorum: QuorumService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  proposeRecord: unary<ProposeRecordRequest, ProposeRecordResponse>(
    rpc,
    Canon.proposeRecord.path,
    async (caller, request, call) => {
      const asked = readProposal(request);
      const { proposal, auditId } = await nameModel("payload", () => quorum.propose(caller, asked, call));
      return { proposal: formatProposal(proposal), auditId, warnings: warningsOf(proposal) };
    },
  ),
  getProposal: unary<GetProposalRequest, GetProposalResponse>(
    rpc,
    Canon.getProposal.path,
    async (_, { id }) => {
      const { proposal, current } = await quorum.get(readProposalId(id));
      return {
        proposal: formatProposal(proposal),
        current: current === null ? undefined : formatVersioned(current),
      };
    },
  ),
  listProposals: unary<ListProposalsRequest, ListProposalsResponse>(
    rpc,
    Canon.listProposals.path,
    async (caller, request, { signal }) => {
      const { proposals, nextPageToken } = await quorum.list(caller, readProposalQuery(request), signal);
      return { proposals: proposals.map(formatProposal), nextPageToken };
    },
  ),
  // Whoever calls: the statement's own signature says who attests.
  attestProposal: unary<AttestProposalRequest, AttestProposalResponse>(
    rpc,
    Canon.attestProposal.path,
    async (_, request, call) => {
      const attested = await quorum.attest(readProposalId(request.id), readStatement(request), call);
      const { proposal, attestation, committed, auditId } = attested;
      return {
        proposal: formatProposal(proposal),
        attestation: formatAttestation(attestation),
        committed: committed === null ? undefined : formatVersioned(committed),
        auditId,
      };
    },
  ),
  commitProposal: unary<CommitProposalRequest, CommitProposalResponse>(
    rpc,
    Canon.commitProposal.path,
    async (caller, { id }, call) => {
      const { proposal, record } = await quorum.commit(caller, readProposalId(id), call);
      return { record: formatVersioned(record), proposal: formatProposal(proposal) };
    },
  ),
  withdrawProposal: unary<WithdrawProposalRequest, WithdrawProposalResponse>(
    rpc,
    Canon.withdrawProposal.path,
    async (caller, { id, reason }, call) => {
      const proposal = await quorum.withdraw(caller, readProposalId(id), readReason(reason), call);
      return { proposal: formatProposal(proposal) };
    },
  ),
  getSystemRecord: unary<GetSystemRecordRequest, GetSystemRecordResponse>(
    rpc,
    Canon.getSystemRecord.path,
    async (_, { id, version }) =>
      formatSystemRecord(await quorum.systemRecord(readRecordId(id, "id"), version)),
  ),
});

export const canonHandlers = (
  records: RecordsService,
  quorum: QuorumService,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  ...writingHandlers(records, rpc),
  ...readingHandlers(records, rpc),
  ...proposalHandlers(quorum, rpc),
});
