/**
 * `sigil audit list --follow`: decisions as they are recorded, each exactly once and in ledger order. Polls from the
 * position in the previous answer; while the server is unavailable, retries with exponential backoff up to
 * `pauseMsMax`.
 */
import { setTimeout as pause } from "node:timers/promises";
import {
  ListOrder,
  SigilError,
  type FrozenChain,
  type ListFrozenChainsRequest,
  type SigilConnection,
  isAway,
} from "@sigil/client";
import { describeCallError } from "../call/connection.ts";
import type { Terminal } from "../terminal/terminal.ts";

const pageSize = 500;
/** Poll interval after an answer without news. */
const idleMs = 500;
const pauseMsMax = 10_000;

export type Following = {
  readonly audit: SigilConnection["audit"];
  readonly query: Partial<ListFrozenChainsRequest>;
  /** The first position to read. */
  readonly from: bigint;
  /** Stops following. */
  readonly stop: AbortSignal;
  /** Called with each page before the next is requested. @param next position to resume at. */
  readonly onPage: (chains: readonly FrozenChain[], next: bigint) => void;
};

/** Resolves when `stop` aborts. @throws SigilError. */
export const followChains = async (
  { audit, query, from, stop, onPage }: Following,
  terminal: Terminal,
): Promise<void> => {
  let [next, pauseMs, heard] = [from, idleMs, false];
  while (!stop.aborted) {
    try {
      const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
      const page = await audit.listFrozenChains(
        { ...query, order, pageSize, fromPosition: next },
        { signal: stop },
      );
      onPage(page.chains, page.resumePosition);
      [next, pauseMs, heard] = [page.resumePosition, idleMs, true];
      if (page.nextPageToken !== "") continue;
    } catch (thrown) {
      if (stop.aborted) return;
      const error = SigilError.from(thrown);
      // Errors of the first request are reported; later unavailability is retried.
      if (!heard || !isAway(error)) throw error;
      terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`);
      pauseMs = Math.min(2 * pauseMs, pauseMsMax);
    }
    await pause(pauseMs, undefined, { signal: stop }).catch(() => {});
  }
};
