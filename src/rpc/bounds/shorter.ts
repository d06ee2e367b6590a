/**
 * Shortens replies for callers with a small limit by removing parts available elsewhere: first views of the payload,
 * then the payload, then the proof bytes. Each step removes everything that the previous one did, and more.
 */
import type {
  ListProposalsResponse,
  ListRecordsResponse,
  Proposal,
  StreamRecordsResponse,
  VersionedRecord,
  WatchResponse,
  WriteRecordResponse,
} from "@sigil/proto/sigil/canon/v1/canon";
import type { ListFrozenChainsResponse } from "@sigil/proto/sigil/audit/v1/audit";
import type { CanonicalRecord, RecordedProof } from "@sigil/proto/sigil/type/v1/type";

const nothing = new Uint8Array(0);

type Step<Message> = (message: Message) => Message;

const recordSteps: readonly Step<CanonicalRecord>[] = [
  (record) => ({ ...record, payloadJson: "" }),
  (record) => ({ ...record, payloadJson: "", payloadCbor: nothing }),
  (record) => ({ ...record, payloadJson: "", payloadCbor: nothing, envelope: nothing }),
];

/** Lifts steps for a record to a message that contains it. */
const within = <Message>(
  put: (message: Message, shorten: Step<CanonicalRecord>) => Message,
): readonly Step<Message>[] => recordSteps.map((shorten) => (message) => put(message, shorten));

const inVersioned = (versioned: VersionedRecord, shorten: Step<CanonicalRecord>): VersionedRecord => ({
  ...versioned,
  record: versioned.record && shorten(versioned.record),
});

export const shorterRecords: readonly Step<ListRecordsResponse>[] = within((page, shorten) => ({
  ...page,
  records: page.records.map((each) => inVersioned(each, shorten)),
}));

export const shorterStreamed: readonly Step<StreamRecordsResponse>[] = within((streamed, shorten) => ({
  ...streamed,
  record: streamed.record && inVersioned(streamed.record, shorten),
}));

export const shorterWatched: readonly Step<WatchResponse>[] = within((watched, shorten) =>
  watched.event?.$case === "record"
    ? { ...watched, event: { $case: "record", value: inVersioned(watched.event.value, shorten) } }
    : watched,
);

/** The evidence file of an answer; its inclusion proof stays. */
export const withoutEvidence = <Answer extends { readonly proof: RecordedProof | undefined }>(
  answer: Answer,
): Answer => ({ ...answer, proof: answer.proof && { ...answer.proof, evidence: nothing } });

/** First the evidence: what was written is in the ledger, and its answer must arrive. */
export const shorterWritten: readonly Step<WriteRecordResponse>[] = [
  withoutEvidence,
  ...within<WriteRecordResponse>((written, shorten) => ({
    ...withoutEvidence(written),
    record: written.record && shorten(written.record),
  })),
];

/** Steps for a reply with one record and its version. */
export const shorterGot: readonly Step<{ record: VersionedRecord | undefined }>[] = within(
  (got, shorten) => ({ ...got, record: got.record && inVersioned(got.record, shorten) }),
);

/** Removes the input, which the record also holds, before the record. */
export const shorterChains: readonly Step<ListFrozenChainsResponse>[] = [
  ...within<ListFrozenChainsResponse>((page, shorten) => ({
    ...page,
    chains: page.chains.map((chain) => ({ ...chain, record: chain.record && shorten(chain.record) })),
  })).slice(0, 2),
  (page) => ({
    ...page,
    chains: page.chains.map((chain) => ({ ...chain, input: undefined, record: undefined })),
  }),
];

const proposalSteps: readonly Step<Proposal>[] = [
  (proposal) => ({ ...proposal, payloadJson: "" }),
  (proposal) => ({ ...proposal, payloadJson: "", with: [] }),
  (proposal) => ({ ...proposal, payloadJson: "", with: [], body: nothing, attestations: [] }),
];

export const shorterProposals: readonly Step<ListProposalsResponse>[] = proposalSteps.map(
  (shorten) => (page) => ({
    ...page,
    proposals: page.proposals.map(shorten),
  }),
);

type AboutProposal = {
  proposal: Proposal | undefined;
  current?: VersionedRecord | undefined;
  committed?: VersionedRecord | undefined;
  flipReport?: Uint8Array;
};

const withoutRecords = <Reply extends AboutProposal>(reply: Reply): Reply => ({
  ...reply,
  proposal: reply.proposal && { ...reply.proposal, payloadJson: "" },
  ...(reply.current === undefined
    ? {}
    : { current: inVersioned(reply.current, recordSteps[2] as Step<CanonicalRecord>) }),
  ...(reply.committed === undefined
    ? {}
    : { committed: inVersioned(reply.committed, recordSteps[2] as Step<CanonicalRecord>) }),
});

/** Steps for replies about a proposal: first the record it replaced or became, then its flip report. */
export const shorterProposal = <Reply extends AboutProposal>(): readonly Step<Reply>[] => [
  withoutRecords,
  (reply) => ({
    ...withoutRecords(reply),
    ...(reply.flipReport === undefined ? {} : { flipReport: nothing }),
  }),
];

/** Splits bytes into chunks within a caller's limit. */
export const piecesOf = (bytes: Uint8Array, limit: number): readonly Uint8Array[] => {
  const pieceBytes = limit - 64;
  if (bytes.length <= pieceBytes) return [bytes];
  const count = Math.ceil(bytes.length / pieceBytes);
  return Array.from({ length: count }, (_, at) => bytes.subarray(at * pieceBytes, (at + 1) * pieceBytes));
};
