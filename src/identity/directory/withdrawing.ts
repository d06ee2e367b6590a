/**
 * Withdrawing a feed grant at once. Lowering takes one: Root of tenant system alone, after the trust model was asked;
 * giving one is a proposal like any other. Source: docs/spec/feed.md §2.
 */
import type { Hash } from "@sigil/core/bytes";
import { feedGrantId, formatTombstone, systemBody, systemTenant } from "@sigil/core/record";
import { assert, fail } from "../../errors.ts";
import type { CallContext, Caller } from "../caller.ts";
import { isSystemRoot } from "../suspension.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import { currentRank } from "./author.ts";
import type { SuspendingDependencies } from "./suspending.ts";

export type Withdrawn = {
  readonly recordId: string;
  /** Of the tombstone. */
  readonly position: bigint;
  /** Whether it was withdrawn before, and nothing was written. */
  readonly already: boolean;
  /** Of the decision that allowed it; empty when nothing was written. */
  readonly auditId: string;
};

export type WithdrawingDependencies = Pick<
  SuspendingDependencies,
  "principals" | "authorise" | "inTurn" | "nowMs"
> & {
  readonly ledger: Pick<SuspendingDependencies["ledger"], "append"> & {
    readonly reader: Pick<LedgerReader, "readId">;
  };
  /** For the log. */
  readonly onWithdrawn: (made: { readonly record: string; readonly by: string }) => void;
};

type Plan =
  | { readonly kind: "withdrawn"; readonly position: bigint }
  | { readonly kind: "withdraw"; readonly prev: Hash };

export class Withdrawing {
  readonly #deps: WithdrawingDependencies;

  constructor(deps: WithdrawingDependencies) {
    this.#deps = deps;
  }

  /** @throws notFound, levelTooLow, denied, unauthenticated, notServing, indeterminate. */
  async withdraw(caller: Caller, principal: string, call: CallContext): Promise<Withdrawn> {
    const { ledger, authorise, inTurn, nowMs, onWithdrawn } = this.#deps;
    const recordId = feedGrantId(principal);
    // One that is withdrawn already needs no decision.
    const before = await this.#plan(caller, recordId);
    if (before.kind === "withdrawn") {
      return { recordId, position: before.position, already: true, auditId: "" };
    }
    const { auditId, hash } = await authorise(caller, recordId, call);
    return inTurn(async () => {
      // Deciding took time, in which the caller itself may have been stopped.
      const plan = await this.#plan(caller, recordId);
      if (plan.kind === "withdrawn") return { recordId, position: plan.position, already: true, auditId: "" };
      const tombstone = systemBody({
        kind: "tombstone",
        id: recordId,
        ts: nowMs(),
        payload: formatTombstone({ kind: "feed_grant" }),
        links: [{ label: "decision", target: hash }],
        prev: plan.prev,
      });
      const [appended] = await ledger.append([tombstone], { signal: call.signal });
      assert(appended !== undefined, "a position for each record appended");
      onWithdrawn({ record: recordId, by: caller.principal });
      return { recordId, position: appended.position, already: false, auditId };
    });
  }

  async #plan(caller: Caller, recordId: string): Promise<Plan> {
    const { principals, ledger } = this.#deps;
    const author = await currentRank(principals, caller);
    if (!isSystemRoot(author)) {
      const rpc = "withdrawing a feed grant";
      fail({ kind: "levelTooLow", rpc, needed: "root of tenant system", actual: author.level });
    }
    const record = await ledger.reader.readId(systemTenant, "system", recordId);
    if (record === undefined) return fail({ kind: "notFound", what: "feed grant", id: recordId });
    const { body, position, hash } = record;
    return body.kind === "tombstone" ? { kind: "withdrawn", position } : { kind: "withdraw", prev: hash };
  }
}
