/** Why a run does not begin, as its record has it and as its caller is told. Pure. Source: docs/spec/module.md §3. */
import { toHex, type Hash } from "@sigil/core/bytes";
import type { SigilError } from "../errors.ts";
import type { Decision } from "../trust/decision.ts";

export const runAction = "module.run";

/** A recorded decision about a run. */
export type Decided = Pick<Decision, "auditId" | "hash"> & Pick<Decision["chain"], "verdict" | "reason">;

/** What every refusal of a run names. */
type OfRun = { readonly module: string; readonly auditId: string; readonly run: string };

export type Refusal = {
  readonly reason: string;
  /** The digest that is not the approved one. */
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

/** Code that is not on disk as it was approved. `found` is null when it is too large to be code. */
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
