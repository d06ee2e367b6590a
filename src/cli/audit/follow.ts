/**
 * `sigil audit list --follow`: decisions as they are recorded, each exactly once and in the order of the ledger. Asks
 * again with the position that the answer before gave; a server that is away is waited for, with a pause that doubles
 * up to `pauseMsMax`.
 */
import { setTimeout as pause } from "node:timers/promises";
import {
  ListOrder,
  SigilError,
  type FrozenChain,
  type ListFrozenChainsRequest,
  type SigilConnection,
} from "@sigil/client";
import { describeCallError } from "../call/connection.ts";
import type { Terminal } from "../terminal/terminal.ts";

const pageSize = 500;
/** Between an answer with nothing new and the next question. */
const idleMs = 500;
const pauseMsMax = 10_000;

export type Following = {
  readonly audit: SigilConnection["audit"];
  readonly query: Partial<ListFrozenChainsRequest>;
  /** The first position to look at. */
  readonly from: bigint;
  /** Ends it. */
  readonly stop: AbortSignal;
  /** Takes a page whole before the next is asked for. @param next where to go on after it. */
  readonly onPage: (chains: readonly FrozenChain[], next: bigint) => void;
};

const isAway = ({ codeName }: SigilError): boolean =>
  ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"].includes(codeName);

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
      // What keeps it from beginning is said; a server that goes away later comes back.
      if (!heard || !isAway(error)) throw error;
      terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`);
      pauseMs = Math.min(2 * pauseMs, pauseMsMax);
    }
    await pause(pauseMs, undefined, { signal: stop }).catch(() => {});
  }
};
