/**
 * Every record that matches, in the order of ids and as the ledger was when the export began: where its stream breaks
 * off, it goes on after the last record, at the same size of the ledger. Bound: one stream at a time.
 */
import type { StreamRecordsRequest, StreamRecordsResponse } from "@sigil/proto/sigil/canon/v1/canon";
import { contradiction } from "../answer.ts";
import type { CanonClient } from "../services/canon.ts";
import type { Partially } from "../services/method.ts";
import { resuming, type Resumable, type WatchOptions } from "../watch/resume.ts";

/** Streams in a row that may give nothing, before the last one's error is thrown. */
const failuresMax = 8;

/** By UTF-8 bytes, as ids are ordered. */
const isAfter = (id: string, other: string): boolean =>
  Buffer.compare(Buffer.from(id), Buffer.from(other)) > 0;

/** @throws SigilError that no repeat would change, or after `failuresMax` streams that gave nothing. */
export const recordsResuming = (
  canon: Pick<CanonClient, "streamRecords">,
  request: Partially<StreamRecordsRequest>,
  { onInterrupted, ...options }: WatchOptions,
  closed: AbortSignal,
): AsyncGenerator<StreamRecordsResponse, void, undefined> => {
  let { afterId = "", ledgerSize = 0n } = request;
  const resumable: Resumable<StreamRecordsResponse> = {
    open: (signal) => canon.streamRecords({ ...request, afterId, ledgerSize }, { ...options, signal }),
    take: ({ record, ledgerSize: size }) => {
      const id = record?.record?.id ?? "";
      if (id === "") throw contradiction("a message of the export holds no record");
      if (ledgerSize !== 0n && size !== ledgerSize)
        throw contradiction(`the export is of size ${ledgerSize}, and then of ${size}`);
      if (!isAfter(id, afterId)) throw contradiction("a record comes twice, or not in the order of ids");
      [afterId, ledgerSize] = [id, size];
      return true;
    },
    end: "done",
    failuresMax,
  };
  return resuming(resumable, { signal: options.signal, onInterrupted }, closed);
};
