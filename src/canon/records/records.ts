/**
 * The service of the user space and of reads in both spaces, called by `rpc/`. Implemented in writing.ts, reading.ts,
 * listing.ts, watch.ts.
 */
import { exportRecords, listHistory, listRecords } from "./listing.ts";
import { News } from "./news.ts";
import { readRecord } from "./reading.ts";
import type { RecordsService } from "../service.ts";
import { watchRecords } from "./watch.ts";
import { Writing, type WritingDependencies } from "./writing.ts";
import type { Written } from "../domain.ts";

export type RecordsDependencies = WritingDependencies & { readonly monotonicMs: () => number };

export const createRecordsService = (deps: RecordsDependencies): RecordsService => {
  const { ledger } = deps;
  const writing = new Writing(deps);
  const watching = { clock: deps, news: new News(ledger), feed: ledger.feed };
  return {
    write: async (caller, write, key, call) => {
      const [written] = await writing.write(caller, [write], key, call, "WriteRecord");
      return written as Written;
    },
    batchWrite: (caller, writes, key, call) => writing.write(caller, writes, key, call, "BatchWriteRecords"),
    get: (caller, name, at) => readRecord(ledger.reader, caller, name, at),
    list: (caller, query, signal) => listRecords(ledger.reader, caller, query, signal),
    stream: (caller, from, call) => exportRecords(ledger.reader, caller, from, call),
    history: (caller, query, signal) => listHistory(ledger.reader, caller, query, signal),
    watch: (caller, query, call) => watchRecords(ledger.reader, caller, query, watching, call),
  };
};
