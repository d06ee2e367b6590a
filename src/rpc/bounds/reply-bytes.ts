/**
 * Maximum reply size of each RPC in bytes. RPCs not in the table always reply with a few kilobytes. No reply exceeds
 * the message limit.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { AuditServiceService as Audit } from "@sigil/proto/sigil/audit/v1/audit";
import { BackupServiceService as Backups } from "@sigil/proto/sigil/backup/v1/backup";
import { CanonServiceService as Canon } from "@sigil/proto/sigil/canon/v1/canon";
import { WitnessServiceService as Witnesses } from "@sigil/proto/sigil/canon/v1/witness";
import { PrincipalServiceService as Principals } from "@sigil/proto/sigil/identity/v1/principal";
import { KeyServiceService as Keys } from "@sigil/proto/sigil/key/v1/key";
import { ModuleServiceService as Modules } from "@sigil/proto/sigil/module/v1/module";
import { TrustServiceService as Trust } from "@sigil/proto/sigil/trust/v1/trust";
import { RecordProof } from "@sigil/proto/sigil/type/v1/type";
import {
  answerEvidenceBytesMax,
  backupChunkBytesMax,
  messageBytesMax,
  tileReplyBytesMax,
} from "../../limits.ts";

/** When a stream reserves bytes: per message, once per call, or as its handler requests. */
type Taken = "message" | "call" | "handler";

export type ReplyBytes = {
  /** 0 where nothing is to be reserved. @param request returns the request's bytes: called before it is decoded. */
  readonly bytes: (request: () => Uint8Array) => number;
  readonly taken: Taken;
};

const always = (bytes: number, taken: Taken = "message"): ReplyBytes => ({ bytes: () => bytes, taken });

/** A page may be as large as a message. */
const page = always(messageBytesMax);
/** One record: its bytes twice and its JSON; most are small. */
const record = always(1 << 20);
/** A decision with its reasons, or an error. */
const decisionBytes = 2 << 10;

/** The messages of field 1, without decoding them. Of malformed bytes those up to the malformed part. */
const fieldsOf = (message: Uint8Array): readonly Uint8Array[] => {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1 && wireType === WireType.LengthDelimited) found.push(reader.bytes());
      else reader.skip(wireType, field);
    }
  } catch {
    // Malformed bytes are refused when decoded, with a short reply.
  }
  return found;
};

/** The last value of a varint field, without decoding the message; 0 if it is absent or the message is malformed. */
const numberIn = (message: Uint8Array, wanted: number): number => {
  const reader = new BinaryReader(message);
  let found = 0;
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === wanted && wireType === WireType.Varint) found = reader.int32();
      else reader.skip(wireType, field);
    }
    return found;
  } catch {
    return 0;
  }
};

/** `proof` of a CheckRequest. */
const checkProofField = 9;

const wantsEvidence = (check: Uint8Array): boolean =>
  numberIn(check, checkProofField) === RecordProof.RECORD_PROOF_EVIDENCE;

/** What stands before the answers of a batch says of how long they are: proofs as far as they fit. */
const batchBytes = (batch: Uint8Array): number => {
  const checks = fieldsOf(batch);
  return checks.some((check) => numberIn(check, checkProofField) > RecordProof.RECORD_PROOF_NONE)
    ? messageBytesMax
    : checks.length * decisionBytes;
};

const REPLIES: ReadonlyMap<string, ReplyBytes> = new Map([
  [
    Trust.batchCheck.path,
    { bytes: (request) => batchBytes(request()), taken: "message" } satisfies ReplyBytes,
  ],
  [
    Trust.check.path,
    {
      bytes: (request) => (wantsEvidence(request()) ? answerEvidenceBytesMax : 0),
      taken: "message",
    } satisfies ReplyBytes,
  ],
  [Trust.getActiveModel.path, record],
  [Trust.simulate.path, page],
  [Audit.getFrozenChain.path, record],
  [Audit.listFrozenChains.path, page],
  [Audit.proveCompleteness.path, always(2 << 20)],
  [Audit.getTile.path, always(tileReplyBytesMax)],
  // The file is held as a whole until it is sent.
  [Audit.getEvidence.path, always(messageBytesMax, "call")],
  [Canon.writeRecord.path, record],
  [Canon.batchWriteRecords.path, page],
  [Canon.getRecord.path, record],
  [Canon.listRecords.path, page],
  [Canon.streamRecords.path, always(messageBytesMax, "handler")],
  [Canon.listHistory.path, page],
  [Canon.watch.path, always(messageBytesMax, "handler")],
  [Canon.proposeRecord.path, record],
  [Canon.getProposal.path, page],
  [Canon.listProposals.path, page],
  [Canon.attestProposal.path, page],
  [Canon.commitProposal.path, page],
  [Canon.withdrawProposal.path, record],
  [Canon.getSystemRecord.path, record],
  [Witnesses.listWitnesses.path, record],
  [Witnesses.proposeWitnessChange.path, record],
  [Principals.listPrincipals.path, record],
  [Keys.listKeys.path, record],
  [Keys.listKeyRecords.path, record],
  [Keys.listDataKeys.path, record],
  [Modules.run.path, record],
  [Modules.runStream.path, always(1 << 20, "call")],
  [Modules.getModule.path, record],
  [Modules.listModules.path, record],
  [Modules.proposeModule.path, record],
  [Modules.retireModule.path, record],
  [Backups.backup.path, always(backupChunkBytesMax)],
]);

/** @param rpc the full path. @returns undefined for RPCs with short replies. */
export const replyBytesOf = (rpc: string): ReplyBytes | undefined => REPLIES.get(rpc);
