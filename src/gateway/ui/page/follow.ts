/**
 * Follows a filtered list of decisions as docs/operating/http.md and the contract describe it: the newest first, then
 * from the resume position of each page, oldest first. One request at a time, the next after the rows of the last were
 * taken, none while the gate is closed. Pure: time, requests and the gate are given.
 */
import type { Ask, Problem, Query } from "./problem.ts";
import type { Chain, ChainPage } from "./shapes.ts";

export const rowsMax = 1_000;
const firstRowsMax = 200;
const pageSize = 100;
const pollMs = 2_000;
const retryMs = 5_000;

export type Row = Pick<
  Chain,
  "auditId" | "time" | "tenant" | "caller" | "subject" | "action" | "target" | "verdict" | "reason"
> & { readonly score: number | undefined; readonly position: string };

export type Followed = {
  readonly ask: Pick<Ask, "get">;
  /** Filters of the list, by their names in a query. */
  readonly filters: Query;
  readonly signal: AbortSignal;
  /** Newest first. @param place before or after those that came earlier. */
  readonly onRows: (rows: readonly Row[], place: "before" | "after") => void;
  /** Undefined once it is over. */
  readonly onProblem: (problem: Problem | undefined) => void;
  /** Resolves when the page may ask: it is seen, and nobody has paused it. */
  readonly opened: () => Promise<void>;
  readonly sleep: (ms: number) => Promise<void>;
  readonly isPassing: (problem: Problem) => boolean;
};

const rowOf = (chain: Chain): Row => {
  const { auditId, time, tenant, caller, subject, action, target, verdict, reason, score, record } = chain;
  const { position } = record;
  return { auditId, time, tenant, caller, subject, action, target, verdict, reason, score, position };
};

/** Ends when the signal says so, or by a problem that a repeat does not mend. */
export const followDecisions = async (followed: Followed): Promise<void> => {
  const { signal, filters, onRows, opened, sleep } = followed;
  const first = await firstPages(followed);
  let resume = first;
  while (resume !== undefined && !signal.aborted) {
    await sleep(pollMs);
    let hasMore = true;
    while (hasMore && resume !== undefined) {
      await opened();
      const page: ChainPage | undefined = await askUntil(followed, {
        ...filters,
        order: "LIST_ORDER_OLDEST_FIRST",
        from_position: resume,
        page_size: String(pageSize),
      });
      if (page === undefined) return;
      if (page.chains.length > 0) onRows(page.chains.map(rowOf).toReversed(), "before");
      resume = page.resumePosition;
      hasMore = page.nextPageToken !== "";
    }
  }
};

/** The newest decisions there are. @returns where to go on; undefined when it ended. */
const firstPages = async (followed: Followed): Promise<string | undefined> => {
  const { filters, onRows, opened } = followed;
  let [shown, token, resume] = [0, "", undefined as string | undefined];
  do {
    await opened();
    const query = { ...filters, page_size: String(pageSize), page_token: token };
    const page: ChainPage | undefined = await askUntil(followed, query);
    if (page === undefined) return undefined;
    resume ??= page.resumePosition;
    onRows(page.chains.map(rowOf), "after");
    shown += page.chains.length;
    token = page.nextPageToken;
  } while (token !== "" && shown < firstRowsMax);
  return resume;
};

/** Asks again while that may help. @returns undefined when it ended. */
const askUntil = async (
  { ask, signal, onProblem, opened, sleep, isPassing }: Followed,
  query: Query,
): Promise<ChainPage | undefined> => {
  let hadProblem = false;
  while (!signal.aborted) {
    const outcome = await ask.get<ChainPage>("/audit", query, signal);
    if (signal.aborted) break;
    if (outcome.kind === "answer") {
      if (hadProblem) onProblem(undefined);
      return outcome.body;
    }
    hadProblem = true;
    onProblem(outcome.problem);
    if (!isPassing(outcome.problem)) return undefined;
    await sleep(Math.max(retryMs, (outcome.problem.retrySeconds ?? 0) * 1_000));
    await opened();
  }
  return undefined;
};

/** @returns at most `rowsMax` rows, the newest of both. */
export const joined = (
  held: readonly Row[],
  came: readonly Row[],
  place: "before" | "after",
): readonly Row[] => (place === "before" ? [...came, ...held] : [...held, ...came]).slice(0, rowsMax);
