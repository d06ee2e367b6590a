/**
 * Canonical spelling of a model's globs: required in proposed and simulated models; older recorded models are converted
 * when they are read. Source: docs/spec/trust.md §10. Pure.
 */
import { isAtLeast } from "../record/levels.ts";
import type { CborMap, CborValue } from "../cbor/cbor.ts";
import { fail } from "../errors.ts";
import { parseTrustModel } from "../record/kinds/trust-model.ts";
import { canonicalActionGlob, canonicalTargetGlob, type Spelling } from "../record/spelling.ts";

type Spell = (glob: string) => Spelling;

const SPELLS: readonly (readonly [table: "actions" | "targets", spell: Spell])[] = [
  ["actions", canonicalActionGlob],
  ["targets", canonicalTargetGlob],
];

const isMap = (value: CborValue | undefined): value is CborMap =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const spellTable = (table: CborMap, name: string, spell: Spell): CborMap => {
  const spelled = new Map<string, CborValue>();
  const firstNames = new Map<string, string>();
  for (const [glob, value] of Object.entries(table)) {
    const field = `${name}[${JSON.stringify(glob)}]`;
    const spelling = spell(glob);
    if (spelling.kind === "refused") {
      return fail({ kind: "malformedModel", field, rule: spelling.rule });
    }
    const first = firstNames.get(spelling.text);
    if (first !== undefined) {
      return fail({ kind: "malformedModel", field, rule: `is another spelling of ${JSON.stringify(first)}` });
    }
    firstNames.set(spelling.text, glob);
    spelled.set(spelling.text, value);
  }
  return Object.fromEntries(spelled);
};

/** For a proposed model. Non-maps are left to the model's own rules. @throws malformedModel naming the glob. */
export const canonicalModel = (payload: CborValue): CborValue => {
  if (!isMap(payload)) return payload;
  const tables = SPELLS.flatMap(([name, spell]) => {
    const table = payload[name];
    return isMap(table) ? [[name, spellTable(table, name, spell)] as const] : [];
  });
  return { ...payload, ...Object.fromEntries(tables) };
};

/**
 * Rows by canonical glob. A glob without a canonical form is dropped, as it matches no canonical name; of two equal
 * ones the stricter row wins.
 */
const merge = <Row>(
  table: Readonly<Record<string, Row>>,
  spell: Spell,
  stricter: (a: Row, b: Row) => Row,
): Readonly<Record<string, Row>> => {
  const merged = new Map<string, Row>();
  for (const [glob, row] of Object.entries(table)) {
    const spelling = spell(glob);
    if (spelling.kind === "refused") continue;
    const other = merged.get(spelling.text);
    merged.set(spelling.text, other === undefined ? row : stricter(row, other));
  }
  return Object.fromEntries(merged);
};

const isCanonical = (glob: string, spell: Spell): boolean => {
  const spelling = spell(glob);
  return spelling.kind === "canonical" && spelling.text === glob;
};

/** @returns the payload itself if every glob is canonical. @throws malformedRecord. */
export const withCanonicalGlobs = (payload: CborValue): CborValue => {
  const { actions, targets } = parseTrustModel(payload);
  const isSpelled =
    Object.keys(actions).every((glob) => isCanonical(glob, canonicalActionGlob)) &&
    Object.keys(targets).every((glob) => isCanonical(glob, canonicalTargetGlob));
  if (isSpelled) return payload;
  const merged = merge(actions, canonicalActionGlob, (a, b) => ({
    risk: Math.max(a.risk, b.risk),
    minLoa: isAtLeast(a.minLoa, b.minLoa) ? a.minLoa : b.minLoa,
  }));
  return {
    ...(payload as CborMap),
    actions: Object.fromEntries(
      Object.entries(merged).map(([glob, { risk, minLoa }]) => [glob, { risk, min_loa: minLoa }]),
    ),
    targets: { ...merge(targets, canonicalTargetGlob, Math.max) },
  };
};
