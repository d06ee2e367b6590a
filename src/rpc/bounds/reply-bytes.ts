/**
 * How long the answers of each RPC may be, in bytes: one table. What is not in it answers in a few kilobytes, whatever
 * was asked. An answer is never longer than a message may be.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { AuditServiceService as Audit } from "@sigil/proto/sigil/audit/v1/audit";
import { BackupServiceService as Backups } from "@sigil/proto/sigil/backup/v1/backup";
import { CanonServiceService as Canon } from "@sigil/proto/sigil/canon/v1/canon";
import { WitnessServiceService as Witnesses } from "@sigil/proto/sigil/canon/v1/witness";
import { PrincipalServiceService as Principals } from "@sigil/proto/sigil/identity/v1/principal";
import { KeyServiceService as Keys } from "@sigil/proto/sigil/key/v1/key";
import { ModuleServiceService as Modules } from "@sigil/proto/sigil/module/v1/module";
import { TrustServiceService as Trust } from "@sigil/proto/sigil/trust/v1/trust";
import { backupChunkBytesMax, messageBytesMax } from "../../limits.ts";

/** How a stream of answers takes its room: message by message, once for the whole call, or when its handler says so. */
type Taken = "message" | "call" | "handler";

export type ReplyBytes = {
  /** @param request gives its bytes: room is taken before it is decoded. */
  readonly bytes: (request: () => Uint8Array) => number;
  readonly taken: Taken;
};

const always = (bytes: number, taken: Taken = "message"): ReplyBytes => ({ bytes: () => bytes, taken });

/** A page is as long as a message. */
const page = always(messageBytesMax);
/** One record, most of which are short: its bytes twice, and its JSON. */
const record = always(1 << 20);
/** A decision with its reasons, or why there is none. */
const decisionBytes = 2 << 10;

/**
 * How often a message holds its field 1, which is counted without decoding it. Bytes that are no message count as far
 * as they are one.
 */
const countFirst = (message: Uint8Array): number => {
  const reader = new BinaryReader(message);
  let count = 0;
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1) count += 1;
      reader.skip(wireType, field);
    }
  } catch {
    // Refused when it is decoded, in a short answer.
  }
  return count;
};

const REPLIES: ReadonlyMap<string, ReplyBytes> = new Map([
  [
    Trust.batchCheck.path,
    { bytes: (request) => countFirst(request()) * decisionBytes, taken: "message" } satisfies ReplyBytes,
  ],
  [Trust.getActiveModel.path, record],
  [Trust.simulate.path, page],
  [Audit.getFrozenChain.path, record],
  [Audit.listFrozenChains.path, page],
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

/** @param rpc the full path. @returns undefined for one whose answers are short. */
export const replyBytesOf = (rpc: string): ReplyBytes | undefined => REPLIES.get(rpc);
