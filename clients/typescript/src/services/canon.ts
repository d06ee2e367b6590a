/** Records, proposals and who attests them. */
import * as canon from "@sigil/proto/sigil/canon/v1/canon";
import * as witness from "@sigil/proto/sigil/canon/v1/witness";
import { requireAllWritten, requireWritten } from "../answer.ts";
import type { CallContext } from "../call.ts";
import { checkWrite, checkWrites } from "../payload.ts";
import { keyed, reading, serverStream, unary, type ServerStream, type Unary } from "./method.ts";

export type CanonClient = {
  readonly writeRecord: Unary<canon.WriteRecordRequest, canon.WriteRecordResponse>;
  readonly batchWriteRecords: Unary<canon.BatchWriteRecordsRequest, canon.BatchWriteRecordsResponse>;
  readonly getRecord: Unary<canon.GetRecordRequest, canon.GetRecordResponse>;
  readonly listRecords: Unary<canon.ListRecordsRequest, canon.ListRecordsResponse>;
  /** One stream. To go on after a break pass its last id as `afterId` and its `ledgerSize`, as `sigil.records` does. */
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

export const canonClient = (stub: canon.CanonServiceClient, context: CallContext): CanonClient => ({
  writeRecord: keyed(context, canon.WriteRecordRequest, stub.writeRecord.bind(stub), {
    before: checkWrite,
    after: ({ id }, response) => requireWritten(id, response),
  }),
  batchWriteRecords: keyed(context, canon.BatchWriteRecordsRequest, stub.batchWriteRecords.bind(stub), {
    before: checkWrites,
    after: ({ writes }, response) =>
      requireAllWritten(
        writes.map(({ id }) => id),
        response,
      ),
  }),
  getRecord: reading(context, canon.GetRecordRequest, stub.getRecord.bind(stub)),
  listRecords: reading(context, canon.ListRecordsRequest, stub.listRecords.bind(stub)),
  streamRecords: serverStream(context, canon.StreamRecordsRequest, stub.streamRecords.bind(stub)),
  listHistory: reading(context, canon.ListHistoryRequest, stub.listHistory.bind(stub)),
  watch: serverStream(context, canon.WatchRequest, stub.watch.bind(stub)),
  proposeRecord: keyed(context, canon.ProposeRecordRequest, stub.proposeRecord.bind(stub)),
  getProposal: reading(context, canon.GetProposalRequest, stub.getProposal.bind(stub)),
  listProposals: reading(context, canon.ListProposalsRequest, stub.listProposals.bind(stub)),
  attestProposal: unary(context, canon.AttestProposalRequest, stub.attestProposal.bind(stub)),
  commitProposal: reading(context, canon.CommitProposalRequest, stub.commitProposal.bind(stub)),
  withdrawProposal: unary(context, canon.WithdrawProposalRequest, stub.withdrawProposal.bind(stub)),
  getSystemRecord: reading(context, canon.GetSystemRecordRequest, stub.getSystemRecord.bind(stub)),
});

export const witnessClient = (stub: witness.WitnessServiceClient, context: CallContext): WitnessClient => ({
  listWitnesses: reading(context, witness.ListWitnessesRequest, stub.listWitnesses.bind(stub)),
  proposeWitnessChange: keyed(
    context,
    witness.ProposeWitnessChangeRequest,
    stub.proposeWitnessChange.bind(stub),
  ),
  getQuorum: reading(context, witness.GetQuorumRequest, stub.getQuorum.bind(stub)),
});
