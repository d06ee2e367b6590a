/** The user space, and reading in both: what `rpc/` calls. The parts are in writing.ts, reading.ts, listing.ts, watch.ts. */
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
  const watching = { clock: deps, news: new News(ledger) };
  return {
    write: async (caller, write, key, call) => {
      const [written] = await writing.write(caller, [write], key, call, "WriteRecord");
      return written as Written;
    },
    batchWrite: (caller, writes, key, call) => writing.write(caller, writes, key, call, "BatchWriteRecords"),
    get: (caller, name, at) => readRecord(ledger, caller, name, at),
    list: (caller, query, signal) => listRecords(ledger, caller, query, signal),
    stream: (caller, from, call) => exportRecords(ledger, caller, from, call),
    history: (caller, query, signal) => listHistory(ledger, caller, query, signal),
    watch: (caller, query, call) => watchRecords(ledger, caller, query, watching, call),
  };
};
