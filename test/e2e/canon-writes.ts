/** Writes as callers make them, and what is read back of them. */
import {
  RecordProof,
  type SigilConnection,
  type VersionedRecord,
  type WriteRecordRequest,
} from "@sigil/client";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

/** The default model for callers that write thousands a second. */
export const unhurriedModel = {
  ...defaultModelPayload,
  rate: { window_ms: 1000, limit: 1_000_000 },
} as const;

type Change = Partial<WriteRecordRequest>;

/** A write of a JSON payload; of kind "note" unless told. */
export const writeOf = (id: string, value: unknown, change: Change = {}): WriteRecordRequest => ({
  id,
  kind: "note",
  schemaVersion: 0,
  content: { $case: "payloadJson", value: JSON.stringify(value) },
  links: [],
  expectedVersion: undefined,
  proof: RecordProof.RECORD_PROOF_UNSPECIFIED,
  idempotencyKey: "",
  ...change,
});

export const endOf = (id: string, change: Change = {}): WriteRecordRequest =>
  writeOf(id, null, { kind: "", content: { $case: "tombstone", value: true }, ...change });

export const put = (connection: SigilConnection, id: string, value: unknown, change: Change = {}) =>
  connection.canon.writeRecord(writeOf(id, value, change));

export const end = (connection: SigilConnection, id: string, change: Change = {}) =>
  connection.canon.writeRecord(endOf(id, change));

/** Writes of any number, fifty in each batch. @returns positions, in order. */
export const putAll = async (
  connection: SigilConnection,
  writes: readonly WriteRecordRequest[],
): Promise<readonly bigint[]> => {
  const positions: bigint[] = [];
  for (let start = 0; start < writes.length; start += 50) {
    const batch = { writes: writes.slice(start, start + 50) };
    const { results } = await connection.canon.batchWriteRecords(batch);
    positions.push(...results.map(({ ledgerPosition }) => ledgerPosition));
  }
  return positions;
};

/** The record in an answer. @throws Error when there is none. */
export const recordIn = ({ record }: Pick<VersionedRecord, "record">) => {
  if (record === undefined) throw new Error("the answer holds no record");
  return record;
};

export const payloadOf = (answer: Pick<VersionedRecord, "record">): unknown =>
  JSON.parse(recordIn(answer).payloadJson);

export const idOf = (answer: Pick<VersionedRecord, "record">): string => recordIn(answer).id;
