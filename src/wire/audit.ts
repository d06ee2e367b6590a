/** Wires audit, its proofs of completeness and its tiles, by functions. Called only by server.ts. */
import { compileGlob, globFault, recompute, rowsFor } from "@sigil/core/model";
import { canonicalTarget, spellingOr } from "@sigil/core/record";
import { createProveCompleteness, type ProveCompleteness } from "../audit/completeness.ts";
import { createAuditService } from "../audit/service.ts";
import { PublishedTiles } from "../audit/tiles.ts";
import type { Config } from "../config/config.ts";
import { invalidField, SigilFault } from "../errors.ts";
import type { Principals } from "../identity/principals.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { AuditParts } from "../rpc/audit/audit.ts";
import type { Witnesses } from "./witnesses.ts";

type Cosigned = Pick<Witnesses, "cosigned"> | undefined;

const auditOf = (ledger: LedgerReader, witnesses: Cosigned) =>
  createAuditService({
    ledger,
    cosigned: witnesses?.cosigned,
    compileGlob: (pattern) => {
      const rule = globFault(pattern);
      if (rule !== null) invalidField("target_glob", rule);
      const { matches } = compileGlob(pattern);
      // Older decisions with non-canonical targets are matched by the canonical form.
      return (target) => matches(spellingOr(canonicalTarget(target), target));
    },
    rowsFor,
    recompute: (chain, model) => {
      try {
        const outcome = recompute(chain, model);
        if (outcome.kind === "match")
          return { holds: true, detail: `the model gives ${outcome.verdict.kind} again` };
        if (outcome.kind === "unscored")
          return { holds: true, detail: `deny without a score: ${outcome.reason}` };
        const { field, recorded, recomputed } = outcome;
        return { holds: false, detail: `${field} is recorded as ${recorded}, recomputed as ${recomputed}` };
      } catch (error) {
        if (error instanceof SigilFault) return { holds: false, detail: error.message };
        throw error;
      }
    },
  });

const completenessOf = (
  ledger: Ledger,
  principals: Pick<Principals, "find">,
  { headMs, nowMs }: { readonly headMs: number; readonly nowMs: () => number },
): ProveCompleteness =>
  createProveCompleteness({
    reader: ledger.reader,
    recordHead: (tenant, caller, sinceMs) => ledger.recordCallerHead(tenant, caller, sinceMs),
    isEnrolled: async (id, tenant) => (await principals.find(id))?.tenant === tenant,
    nowMs,
    headMs,
  });

const tilesOf = (
  ledger: LedgerReader,
  { tiles, tiles_interval_ms: intervalMs }: Pick<Config, "tiles" | "tiles_interval_ms">,
  witnesses: Cosigned,
): PublishedTiles =>
  new PublishedTiles(ledger, {
    ...(witnesses === undefined ? {} : { cosigned: witnesses.cosigned }),
    readers: tiles === "public" ? "everybody" : "authenticated",
    intervalMs,
    monotonicMs: () => performance.now(),
  });

type Wired = { readonly config: Config; readonly ledger: Ledger; readonly witnesses: Cosigned };

export const wireAudit = (
  { config, ledger, witnesses }: Wired,
  principals: Pick<Principals, "find">,
  nowMs: () => number,
): AuditParts => ({
  audit: auditOf(ledger.reader, witnesses),
  proveCompleteness: completenessOf(ledger, principals, { headMs: config.caller_head_seconds * 1000, nowMs }),
  tiles: tilesOf(ledger.reader, config, witnesses),
});
