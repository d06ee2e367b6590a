/** Reasons for refusing a run, for its record and for its caller. Pure. Source: docs/spec/module.md §3. */
import { toHex, type Hash } from "@sigil/core/bytes";
import type { SigilError } from "../errors.ts";
import type { Decision } from "../trust/decision.ts";

export const runAction = "module.run";

/** A recorded decision about a run. */
export type Decided = Pick<Decision, "auditId" | "hash"> & Pick<Decision["chain"], "verdict" | "reason">;

/** Names in every refusal of a run. */
type OfRun = { readonly module: string; readonly auditId: string; readonly run: string };

export type Refusal = {
  readonly reason: string;
  /** The digest that differs from the approved one. */
  readonly other: Hash | null;
  readonly error: (of: OfRun) => SigilError;
};

export const refusalOf = (reason: string, rule: string, wanted: Hash, other: Hash | null): Refusal => ({
  reason,
  other,
  error: (of) => ({
    kind: "moduleRefused",
    reason,
    rule,
    ...of,
    wanted: toHex(wanted),
    ...(other === null ? {} : { found: toHex(other) }),
  }),
});

/** The code on disk is missing or altered. `found` is null if it is too large to be code. */
export const codeRefusal = (
  state: { readonly kind: "missing" } | { readonly kind: "altered"; readonly found: Hash | null },
  digest: Hash,
): Refusal => {
  if (state.kind === "missing") return refusalOf("MODULE_CODE_MISSING", "has no code here", digest, null);
  const found = state.found === null ? "more bytes than any code" : toHex(state.found);
  return {
    reason: "MODULE_ALTERED",
    other: state.found,
    error: (of) => ({ kind: "moduleAltered", ...of, wanted: toHex(digest), found }),
  };
};

export const busyRefusal = ({ what, limit }: { readonly what: string; readonly limit: number }): Refusal => ({
  reason: "RUNS_BUSY",
  other: null,
  error: (of) => ({ kind: "runsBusy", what, limit, ...of }),
});

export const deniedBy = ({ verdict, reason, auditId }: Decided, target: string) =>
  ({ kind: "denied", action: runAction, target, verdict, why: reason, auditId }) as const;
