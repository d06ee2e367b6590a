/** CanonService over gRPC: requests become writes, queries and proposals, and verified records replies. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  CanonServiceService as Canon,
  type AttestProposalRequest,
  AttestProposalResponse,
  type BatchWriteRecordsRequest,
  BatchWriteRecordsResponse,
  type CommitProposalRequest,
  CommitProposalResponse,
  type GetProposalRequest,
  GetProposalResponse,
  type GetRecordRequest,
  GetRecordResponse,
  type GetSystemRecordRequest,
  type GetSystemRecordResponse,
  type ListHistoryRequest,
  ListHistoryResponse,
  type ListProposalsRequest,
  ListProposalsResponse,
  type ListRecordsRequest,
  ListRecordsResponse,
  Proposal as ProposalMessage,
  VersionedRecord as VersionedMessage,
  type ProposeRecordRequest,
  ProposeRecordResponse,
  type StreamRecordsRequest,
  StreamRecordsResponse,
  type WatchRequest,
  WatchResponse,
  type WithdrawProposalRequest,
  WithdrawProposalResponse,
  type WriteRecordRequest,
  WriteRecordResponse,
} from "@sigil/proto/sigil/canon/v1/canon";
import type {
  HistoryQuery,
  Presentation,
  Proposal,
  ProposalQuery,
  RecordPage,
  RecordQuery,
  VersionedRecord,
  Write,
} from "../../canon/domain.ts";
import type { QuorumService, RecordsService } from "../../canon/service.ts";
import { cborEncode } from "@sigil/core/cbor";
import type { Disclosures } from "@sigil/core/record";
import { inclusionAnswerBytesMax, linkAnswerBytesMax, writeAnswerBytesMax } from "../../limits.ts";
import {
  readExport,
  readGet,
  readHistoryQuery,
  readPresentation,
  readRecordQuery,
  readWrite,
  readWrites,
} from "./fields.ts";
import {
  formatAttestation,
  formatBatch,
  formatProposal,
  formatSystemRecord,
  formatWatchEvent,
  formatWritten,
} from "./messages.ts";
import { describeFinding, lintModel } from "../../trust/lint.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readIdempotencyKey, readRecordId } from "../message/fields.ts";
import { nameModel } from "../message/model-fields.ts";
import {
  readProposal,
  readProposalId,
  readProposalQuery,
  readReason,
  readStatement,
} from "./proposal-fields.ts";
import { formatVersioned } from "./records.ts";
import { evidenceFor, proofFor, readRecordProof, type RecordedProver } from "../message/recorded-proof.ts";
import { readWatch } from "./watch-fields.ts";
import {
  answerPage,
  encodedBytes,
  fitOne,
  replyLimitOf,
  requireRoom,
  type Encoder,
} from "../bounds/reply-limit.ts";
import {
  shorterGot,
  shorterProposal,
  shorterProposals,
  shorterRecords,
  shorterStreamed,
  shorterWatched,
  shorterWritten,
} from "../bounds/shorter.ts";
import { serverStreaming } from "../call/server-stream.ts";
import { unary } from "../call/unary.ts";

const formatPage = ({ records, nextPageToken, ledgerSize }: RecordPage, presentation: Presentation) => ({
  records: records.map((record) => formatVersioned(record, presentation)),
  nextPageToken,
  ledgerSize,
});

async function* each<Item, Message>(
  items: AsyncIterable<Item>,
  format: (item: Item) => Message | Promise<Message>,
): AsyncGenerator<Message, void, undefined> {
  for await (const item of items) yield format(item);
}

/** A reply repeats a record's envelope so many times at most, its JSON view among it. */
const viewsMax = 10;
const headBytesMax = 8192;

/** Measured only where it could be too long. */
const fitRecord = <Message>(
  { record: { envelope } }: VersionedRecord,
  message: Encoder<Message>,
  reply: Message,
  shorter: readonly ((reply: Message) => Message)[],
  limit: number,
): Message =>
  envelope.length * viewsMax + headBytesMax <= limit ? reply : fitOne(message, reply, shorter, limit);

/** What pages of records have in common. */
const recordItems = { items: "records", item: VersionedMessage, shorter: shorterRecords } as const;

/** What the answer to a write has at most, without the JSON view. */
const answerBytesOf = ({ content, links }: Write): number =>
  writeAnswerBytesMax +
  2 * links.reduce((all, { label }) => all + label.length + linkAnswerBytesMax, 0) +
  (content.kind === "payload" ? 2 * cborEncode(content.payload).length : 0);

/** What an evidence file discloses of its record. */
const disclosesNothing = (): Disclosures => ({});
const disclosesAll = (all: Disclosures): Disclosures => all;

const nothing = new Uint8Array(0);

const writingHandlers = (
  records: RecordsService,
  prover: RecordedProver,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  writeRecord: unary<WriteRecordRequest, WriteRecordResponse>(
    rpc,
    Canon.writeRecord.path,
    async (caller, request, call) => {
      const key = readIdempotencyKey(request.idempotencyKey);
      const write = readWrite(request);
      const wanted = readRecordProof(request.proof);
      const proofBytes = wanted === "none" ? 0 : inclusionAnswerBytesMax;
      requireRoom("content", [answerBytesOf(write) + proofBytes], call);
      const written = await records.write(caller, write, key, call);
      const { position } = written.record;
      const provable = { wanted, position, envelope: nothing, disclosed: disclosesNothing };
      const proof = await proofFor(prover, provable, { caller, call });
      const reply = { ...formatWritten(written), proof };
      return fitOne(WriteRecordResponse, reply, shorterWritten, replyLimitOf(call));
    },
  ),
  batchWriteRecords: unary<BatchWriteRecordsRequest, BatchWriteRecordsResponse>(
    rpc,
    Canon.batchWriteRecords.path,
    async (caller, request, call) => {
      const key = readIdempotencyKey(request.idempotencyKey);
      const writes = readWrites(request);
      requireRoom("writes", writes.map(answerBytesOf), call);
      await call.pace?.weigh(writes.length);
      const written = await records.batchWrite(caller, writes, key, call);
      const whole = formatBatch(written);
      const limit = replyLimitOf(call);
      return fitOne(BatchWriteRecordsResponse, whole, [() => formatBatch(written, 0)], limit);
    },
  ),
});

const readingHandlers = (
  records: RecordsService,
  prover: RecordedProver,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  getRecord: unary<GetRecordRequest, GetRecordResponse>(
    rpc,
    Canon.getRecord.path,
    async (caller, request, call) => {
      const { name, at } = readGet(request);
      const found = await records.get(caller, name, at);
      const limit = replyLimitOf(call);
      return fitRecord(found, GetRecordResponse, { record: formatVersioned(found) }, shorterGot, limit);
    },
  ),
  listRecords: unary<ListRecordsRequest, ListRecordsResponse>(
    rpc,
    Canon.listRecords.path,
    async (caller, request, call) => {
      const query = readRecordQuery(request);
      const list = async (asked: RecordQuery): Promise<ListRecordsResponse> =>
        formatPage(await records.list(caller, asked, call.signal), query.presentation);
      return answerPage({ message: ListRecordsResponse, ...recordItems, query, list }, call);
    },
  ),
  listHistory: unary<ListHistoryRequest, ListHistoryResponse>(
    rpc,
    Canon.listHistory.path,
    async (caller, request, call) => {
      const query = readHistoryQuery(request);
      const list = async (asked: HistoryQuery): Promise<ListHistoryResponse> =>
        formatPage(await records.history(caller, asked, call.signal), query.presentation);
      return answerPage({ message: ListHistoryResponse, ...recordItems, query, list }, call);
    },
  ),
  streamRecords: serverStreaming<StreamRecordsRequest, StreamRecordsResponse>(
    rpc,
    Canon.streamRecords.path,
    (caller, request, call) => {
      const presentation = readPresentation(request.view, request.payloadMask);
      const limit = replyLimitOf(call);
      return each(records.stream(caller, readExport(request), call), ({ record, ledgerSize }) => {
        const reply = { record: formatVersioned(record, presentation), ledgerSize };
        return fitRecord(record, StreamRecordsResponse, reply, shorterStreamed, limit);
      });
    },
  ),
  watch: serverStreaming<WatchRequest, WatchResponse>(rpc, Canon.watch.path, (caller, request, call) => {
    const presentation = readPresentation(request.view);
    const limit = replyLimitOf(call);
    const query = readWatch(request, rpc.trustDomain);
    // Without its envelope a record has nothing that a proof could be about.
    const shorter = query.proof === "none" ? shorterWatched : shorterWatched.slice(0, -1);
    return each(records.watch(caller, query, call), async (event) => {
      const reply = formatWatchEvent(event, presentation);
      if (event.kind !== "record") return reply;
      const fitted = fitRecord(event.record, WatchResponse, reply, shorter, limit);
      if (query.proof !== "evidence") return fitted;
      const { position } = event.record.record;
      const disclosed = query.disclosing === "included" ? disclosesAll : disclosesNothing;
      const provable = { wanted: query.proof, position, disclosed };
      const evidence = await evidenceFor(prover, provable, { caller, call });
      const proven = { ...fitted, proof: { hashes: fitted.proof?.hashes ?? [], evidence } };
      return encodedBytes(WatchResponse, proven) > limit ? fitted : proven;
    });
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
    async (caller, { id }, call) => {
      const { proposal, current, flipReport } = await quorum.get(caller, readProposalId(id));
      const reply = {
        proposal: formatProposal(proposal),
        current: current === null ? undefined : formatVersioned(current),
        flipReport: flipReport ?? new Uint8Array(0),
      };
      return fitOne(GetProposalResponse, reply, shorterProposal<GetProposalResponse>(), replyLimitOf(call));
    },
  ),
  listProposals: unary<ListProposalsRequest, ListProposalsResponse>(
    rpc,
    Canon.listProposals.path,
    async (caller, request, call) => {
      const query = readProposalQuery(request);
      const list = async (asked: ProposalQuery): Promise<ListProposalsResponse> => {
        const { proposals, nextPageToken } = await quorum.list(caller, asked, call.signal);
        return { proposals: proposals.map(formatProposal), nextPageToken };
      };
      const message = ListProposalsResponse;
      return answerPage(
        { message, items: "proposals", item: ProposalMessage, query, list, shorter: shorterProposals },
        call,
      );
    },
  ),
  // Whoever calls: the statement's own signature says who attests.
  attestProposal: unary<AttestProposalRequest, AttestProposalResponse>(
    rpc,
    Canon.attestProposal.path,
    async (_, request, call) => {
      const attested = await quorum.attest(readProposalId(request.id), readStatement(request), call);
      const { proposal, attestation, committed, auditId } = attested;
      const reply = {
        proposal: formatProposal(proposal),
        attestation: formatAttestation(attestation),
        committed: committed === null ? undefined : formatVersioned(committed),
        auditId,
      };
      return fitOne(
        AttestProposalResponse,
        reply,
        shorterProposal<AttestProposalResponse>(),
        replyLimitOf(call),
      );
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
  prover: RecordedProver,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  ...writingHandlers(records, prover, rpc),
  ...readingHandlers(records, prover, rpc),
  ...proposalHandlers(quorum, rpc),
});
