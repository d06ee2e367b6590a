/**
 * Proves which decisions a caller has in a span of time: the two records around them have numbers, and numbers have no
 * gap, so no decision of the caller lies between two that follow each other. The end is a decision after the span, or a
 * record of the caller's newest number. Source: docs/spec/completeness.md.
 */
import type { Hash } from "@sigil/core/bytes";
import {
  callerHeadId,
  parseCallerHead,
  readDecision,
  restorationPrefix,
  systemTenant,
} from "@sigil/core/record";
import { fail, invalidField } from "../errors.ts";
import { tenantFor, type Caller } from "../identity/caller.ts";
import type { VerifiedRecord } from "../ledger/read/examine.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { SignedTree } from "../ledger/read/signed-trees.ts";

export type CompletenessQuery = {
  /** The caller's id. */
  readonly principal: string;
  /** Empty for the asking caller's own. */
  readonly tenant: string;
  /** Undefined for the beginning. */
  readonly fromMs: number | undefined;
  /** Undefined for now. */
  readonly untilMs: number | undefined;
};

/** A record with a number of the caller's: a decision, or the head. */
type Numbered = { readonly record: VerifiedRecord; readonly seq: number };

export type Boundary = Numbered & { readonly proof: readonly Hash[] };

/**
 * How the span ends: with the first decision after it; with a head, recorded after it; or with the newest of both,
 * which is too young for another head, so that nothing is claimed after it.
 */
export type CompletenessEnd = "decision" | "head" | "newest";

export type Completeness = {
  /** The last decision before the span; undefined if there is none, so that numbers begin at 1. */
  readonly before: Boundary | undefined;
  readonly after: Boundary;
  readonly end: CompletenessEnd;
  /** Decisions of the caller in the span, by their numbers. */
  readonly decisions: number;
  /** Positions in the span at which the ledger was restored: what was lost there had numbers that were given again. */
  readonly restorations: readonly bigint[];
  readonly tree: SignedTree;
};

export type CompletenessLedger = {
  readonly reader: LedgerReader;
  /** Unless one that says the same is there since then. @returns its position. */
  readonly recordHead: (tenant: string, caller: string, sinceMs: number) => Promise<bigint>;
  /** Whether this is a principal of the tenant. */
  readonly isEnrolled: (principal: string, tenant: string) => Promise<boolean>;
  readonly nowMs: () => number;
  /** A caller's newest number is recorded when it is older than this. */
  readonly headMs: number;
};

export type ProveCompleteness = (caller: Caller, query: CompletenessQuery) => Promise<Completeness>;

class Proving {
  readonly #deps: CompletenessLedger;
  readonly #tenant: string;
  readonly #principal: string;

  constructor(deps: CompletenessLedger, tenant: string, principal: string) {
    this.#deps = deps;
    this.#tenant = tenant;
    this.#principal = principal;
  }

  /** The first numbered decision of the caller in this order. */
  async decision(
    order: "newestFirst" | "oldestFirst",
    times: { readonly fromMs?: number; readonly untilMs?: number },
  ): Promise<Numbered | undefined> {
    const { reader } = this.#deps;
    const filter = { numberedBy: this.#principal, ...times };
    const walk = { tenant: this.#tenant, filter, order, size: reader.size };
    for await (const { positions } of reader.decisions(walk)) {
      for (const position of positions) {
        const record = await reader.readAt(position, this.#tenant);
        const { request, callerSeq: seq } = readDecision(record.body, record.disclosures);
        const { ts } = record.body;
        const { fromMs = 0, untilMs = Infinity } = times;
        const isAsked = request.caller === this.#principal && ts >= fromMs && ts < untilMs;
        if (isAsked && seq !== undefined) return { record, seq };
      }
    }
    return undefined;
  }

  /** The newest head, if it says the caller's newest number. */
  async #head(seq: number): Promise<Numbered | undefined> {
    const record = await this.#deps.reader.readId(this.#tenant, "user", callerHeadId(this.#principal));
    if (record?.body.kind !== "caller_head") return undefined;
    const head = parseCallerHead(record.body.payload);
    return head.caller === this.#principal && head.seq === seq ? { record, seq } : undefined;
  }

  /** Where the span ends when no decision lies after it. A head is recorded at most once in `headMs`. */
  async openEnd(untilMs: number | undefined): Promise<readonly [Numbered, CompletenessEnd]> {
    const { nowMs, headMs, recordHead, reader, isEnrolled } = this.#deps;
    const newest = await this.decision("newestFirst", {});
    if (newest === undefined && !(await isEnrolled(this.#principal, this.#tenant))) {
      return fail({ kind: "notFound", what: "principal", id: this.#principal });
    }
    const youngMs = nowMs() - headMs;
    const head = await this.#head(newest?.seq ?? 0);
    if (head !== undefined && head.record.body.ts >= (untilMs ?? youngMs)) return [head, "head"];
    const last = head ?? newest;
    if (last !== undefined && last.record.body.ts > youngMs) return [last, "newest"];
    const position = await recordHead(this.#tenant, this.#principal, youngMs);
    const record = await reader.readAt(position, this.#tenant);
    const isAfter = record.body.ts >= (untilMs ?? youngMs);
    return [{ record, seq: parseCallerHead(record.body.payload).seq }, isAfter ? "head" : "newest"];
  }
}

const restorationsIn = async (reader: LedgerReader, from: bigint, to: bigint): Promise<readonly bigint[]> => {
  const found: bigint[] = [];
  for await (const { position } of reader.heads(systemTenant, "system", restorationPrefix)) {
    if (position >= from && position < to) found.push(position);
  }
  return found.toSorted((a, b) => Number(a - b));
};

/** @throws invalidField, notFound, tenantForbidden, erased, recordCorrupt, ledgerCorrupt, notServing. */
export const createProveCompleteness =
  (deps: CompletenessLedger): ProveCompleteness =>
  async (caller, { principal, tenant: asked, fromMs, untilMs }) => {
    const { reader, nowMs } = deps;
    const tenant = tenantFor(caller, asked);
    if (tenant !== caller.tenant) reader.requireTenant(tenant);
    if (untilMs !== undefined && untilMs > nowMs()) invalidField("until_time", "must not be in the future");
    if (fromMs !== undefined && untilMs !== undefined && fromMs > untilMs) {
      invalidField("from_time", "must not be after until_time");
    }
    const proving = new Proving(deps, tenant, principal);
    const before =
      fromMs === undefined ? undefined : await proving.decision("newestFirst", { untilMs: fromMs });
    const later =
      untilMs === undefined ? undefined : await proving.decision("oldestFirst", { fromMs: untilMs });
    const [after, end] =
      later === undefined ? await proving.openEnd(untilMs) : ([later, "decision"] as const);
    const { trees } = reader;
    const tree = await trees.withMldsa44(trees.newest);
    const included = async (each: Numbered): Promise<Boundary> => ({
      ...each,
      proof: (await trees.included(tree, each.record.position)).proof,
    });
    return {
      before: before && (await included(before)),
      after: await included(after),
      end,
      decisions: after.seq - (before?.seq ?? 0) - (end === "decision" ? 1 : 0),
      restorations: await restorationsIn(reader, before?.record.position ?? 0n, after.record.position),
      tree,
    };
  };
