/** BackupService over gRPC: streams the parts of a backup, and inspections. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  BackupServiceService as Backups,
  type BackupRequest,
  type BackupResponse,
  type InspectRequest,
  type InspectResponse,
} from "@sigil/proto/sigil/backup/v1/backup";
import type { BackupPart, BackupService } from "../../deployment/backup/backup.ts";
import type { InspectionService } from "../../deployment/backup/inspection.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { inspectAnswer } from "./inspection.ts";
import { replyLimitOf } from "../bounds/reply-limit.ts";
import { piecesOf } from "../bounds/shorter.ts";
import { serverStreaming } from "../call/server-stream.ts";

/** A Buffer over the same memory, which protobuf writes without copying. */
const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const formatPart = (part: BackupPart): BackupResponse => {
  switch (part.kind) {
    case "head": {
      const { origin, genesis, format, size, checkpoint, checkpointKeys } = part.head;
      const value = { origin, genesis: buffer(genesis), format, ledgerSize: size, checkpoint };
      return {
        part: { $case: "head", value: { ...value, checkpointKeys: checkpointKeys.map(buffer) } },
      };
    }
    case "chunk":
      return { part: { $case: "chunk", value: buffer(part.bytes) } };
    case "end": {
      const value = { bytes: BigInt(part.bytes), sha256: buffer(part.sha256) };
      return { part: { $case: "end", value } };
    }
  }
};

async function* messages(
  parts: AsyncIterable<BackupPart>,
  limit: number,
): AsyncGenerator<BackupResponse, void, undefined> {
  for await (const part of parts) {
    if (part.kind !== "chunk") yield formatPart(part);
    else for (const bytes of piecesOf(part.bytes, limit)) yield formatPart({ kind: "chunk", bytes });
  }
}

export const backupHandlers = (
  backups: BackupService,
  inspections: InspectionService,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  backup: serverStreaming<BackupRequest, BackupResponse>(
    rpc,
    Backups.backup.path,
    (caller, { fromSize }, call) =>
      messages(backups.backup(caller, fromSize, call.signal), replyLimitOf(call)),
  ),
  inspect: serverStreaming<InspectRequest, InspectResponse>(
    rpc,
    Backups.inspect.path,
    inspectAnswer(inspections),
  ),
});
