/**
 * Recorded decisions, page by page, to their end or for ever. Each comes once and in the order of the ledger; where the
 * server is away, following goes on at the last position. Bound: one page.
 */
import type { FrozenChain, ListFrozenChainsRequest } from "@sigil/proto/sigil/audit/v1/audit";
import { ListOrder } from "@sigil/proto/sigil/audit/v1/audit";
import { cancelled, type CallOptions } from "../call.ts";
import { SigilError } from "../error.ts";
import { waitMs } from "../retry/pause.ts";
import { awayBackOff, backOffMs, failuresCounted, mayPass } from "../retry/plan.ts";
import type { AuditClient } from "../services/audit.ts";
import type { Partially } from "../services/method.ts";
import { ProofError } from "../walk.ts";

export type DecisionQuery = Partially<ListFrozenChainsRequest>;

const pageSizeDefault = 500;

/** Every decision that matches, to the last one at the time of the call. @throws SigilError */
export async function* listDecisions(
  audit: Pick<AuditClient, "listFrozenChains">,
  query: DecisionQuery,
  options?: CallOptions,
): AsyncGenerator<FrozenChain, void, undefined> {
  const seen = new Set<string>();
  for (let pageToken = query.pageToken ?? ""; ;) {
    const page = await audit.listFrozenChains({ pageSize: pageSizeDefault, ...query, pageToken }, options);
    yield* page.chains;
    if (page.nextPageToken === "") return;
    // A page may be empty and have a next one, but none may have itself.
    if (seen.has(page.nextPageToken))
      throw new ProofError("a page of decisions leads back to an earlier one");
    seen.add(page.nextPageToken);
    pageToken = page.nextPageToken;
  }
}

export type FollowOptions = CallOptions & {
  /** Between two questions for news, in milliseconds; default 500. */
  readonly idleMs?: number;
  /** Told after each page where to go on, also in another process: give it as `fromPosition`. */
  readonly onPosition?: (nextPosition: bigint) => void;
};

export type FollowQuery = Omit<DecisionQuery, "order" | "untilTime" | "pageToken">;

/**
 * Decisions from a position on as they are recorded, oldest first. Never ends by itself: leave the loop, or abort.
 * @throws SigilError CANCELLED by the signal; any other that no repeat would change.
 */
export async function* followDecisions(
  audit: Pick<AuditClient, "listFrozenChains">,
  query: FollowQuery,
  { idleMs = 500, onPosition, ...options }: FollowOptions,
  closed: AbortSignal,
): AsyncGenerator<FrozenChain, void, undefined> {
  const { signal } = options;
  const stop = signal === undefined ? closed : AbortSignal.any([signal, closed]);
  let next = BigInt(query.fromPosition ?? 0n);
  for (let failures = 0; ;) {
    let pauseMs = idleMs;
    try {
      const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
      const asked = { pageSize: pageSizeDefault, ...query, order, fromPosition: next };
      const page = await audit.listFrozenChains(asked, options);
      if (page.resumePosition < next) throw new ProofError("the listing goes back to an earlier position");
      failures = 0;
      for (const chain of page.chains) if ((chain.record?.position ?? next) >= next) yield chain;
      next = page.resumePosition;
      onPosition?.(next);
      if (page.nextPageToken !== "") continue;
    } catch (error) {
      if (signal?.aborted === true) throw cancelled(signal);
      if (closed.aborted || !(error instanceof SigilError) || !mayPass(error)) throw error;
      pauseMs = backOffMs(awayBackOff, failures, Math.random(), error.retryDelayMs);
      failures = Math.min(failures + 1, failuresCounted);
    }
    await waitMs(pauseMs, stop);
    if (signal?.aborted === true) throw cancelled(signal);
  }
}
