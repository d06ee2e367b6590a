/**
 * A user's mapping of controls to decisions, and what it gives over a pack. Pure. It says which decisions match which
 * filter; that a control is met by them is nobody's claim but the user's. Source: docs/spec/pack.md §7. At most
 * `controlsMax` controls.
 */
import { invalidField } from "../errors.ts";
import { controlFiltersMax, controlsMax } from "../limits.ts";
import { compileGlob, globFault } from "../model/glob.ts";
import { frozenVerdicts } from "../record/kinds/frozen-chain.ts";
import { canonicalActionGlob, canonicalTargetGlob, requireSpelling } from "../record/spelling.ts";
import { formatRow, type PackDecision } from "./columns.ts";
import { parseJson, readCount, readMap, readText, requireSame } from "./lines.ts";

/** Fields of a filter: a decision matches if all that are there do. Of `action` and `target` globs, others exactly. */
const filterFields = ["caller", "subject", "action", "target", "session", "verdict", "reason"] as const;
type FilterField = (typeof filterFields)[number];
type Filter = Readonly<Partial<Record<FilterField, string>>>;

/** A decision belongs to a control if one of its filters matches. */
export type Control = { readonly id: string; readonly title: string; readonly filters: readonly Filter[] };

/** With the number of decisions that matched. */
export type CountedControl = Control & { readonly decisions: number };

const readGlob = (text: string, field: string): string => {
  const fault = globFault(text);
  if (fault !== null) invalidField(field, fault);
  const spelling = field.endsWith("action") ? canonicalActionGlob(text) : canonicalTargetGlob(text);
  return requireSpelling(spelling, field) === text
    ? text
    : invalidField(field, `must be spelled as it is recorded: ${requireSpelling(spelling, field)}`);
};

const readFilterField = (name: FilterField, value: unknown, field: string): string => {
  const text = readText(value, field);
  if (name === "verdict" && !frozenVerdicts.some((verdict) => verdict === text)) {
    invalidField(field, `must be one of ${frozenVerdicts.join(", ")}`);
  }
  return name === "action" || name === "target" ? readGlob(text, field) : text;
};

const readFilter = (value: unknown, field: string): Filter => {
  const map = readMap(value, field);
  const other = Object.keys(map).find((name) => !filterFields.some((known) => known === name));
  if (other !== undefined) invalidField(`${field}.${other}`, `is not one of ${filterFields.join(", ")}`);
  const read = filterFields.flatMap((name) =>
    Object.hasOwn(map, name) ? [[name, readFilterField(name, map[name], `${field}.${name}`)] as const] : [],
  );
  if (read.length === 0) invalidField(field, `must have one of ${filterFields.join(", ")}`);
  return Object.fromEntries(read);
};

const readControl = (value: unknown, field: string): Control => {
  const { id, title, filters } = readMap(value, field);
  if (!Array.isArray(filters) || filters.length === 0 || filters.length > controlFiltersMax) {
    return invalidField(`${field}.filters`, `must be a list of 1 to ${controlFiltersMax}`);
  }
  const name = readText(id, `${field}.id`);
  if (name === "" || /\p{Cc}/u.test(name)) invalidField(`${field}.id`, "must be a name, on one line");
  return {
    id: name,
    title: title === undefined ? "" : readText(title, `${field}.title`),
    filters: filters.map((filter: unknown, index) => readFilter(filter, `${field}.filters[${index}]`)),
  };
};

const readControls = <Read>(
  map: Readonly<Record<string, unknown>>,
  read: (value: unknown, field: string) => Read & Pick<Control, "id">,
): readonly Read[] => {
  const { controls } = map;
  if (!Array.isArray(controls) || controls.length === 0 || controls.length > controlsMax) {
    return invalidField("controls", `must be a list of 1 to ${controlsMax}`);
  }
  const all = controls.map((control: unknown, index) => read(control, `controls[${index}]`));
  if (new Set(all.map(({ id }) => id)).size !== all.length)
    invalidField("controls", "must have distinct ids");
  return all;
};

/** A user's file: `{"controls": [{"id", "title", "filters": [{…}]}]}`. @throws invalidField naming the field. */
export const parseControls = (text: string): readonly Control[] =>
  readControls(readMap(parseJson(text, "controls"), "controls"), readControl);

const notice =
  "Which decisions match the filters of a mapping that the user wrote. It is no claim that a control is met.";

/** What a mapping gives over a pack. */
export const formatCountedControls = (controls: readonly CountedControl[]): string => {
  const all = controls.map(({ id, title, filters, decisions }) => ({ id, title, filters, decisions }));
  return `${JSON.stringify({ notice, controls: all }, null, 2)}\n`;
};

/** Strict: `formatCountedControls` of the result is the text. @throws invalidField. */
export const parseCountedControls = (text: string): readonly CountedControl[] => {
  const controls = readControls(readMap(parseJson(text, "controls"), "controls"), (value, field) => ({
    ...readControl(value, field),
    decisions: readCount(readMap(value, field)["decisions"], `${field}.decisions`),
  }));
  requireSame(formatCountedControls(controls), text, "controls");
  return controls;
};

type Matches = (decision: PackDecision) => boolean;

const valueOf = (name: FilterField, { chain }: PackDecision): string => {
  if (name === "verdict") return chain.verdict;
  return name === "reason" ? chain.reason : chain.request[name];
};

const matchesOf = (filter: Filter): Matches => {
  const tests = filterFields.flatMap((name): readonly Matches[] => {
    const wanted = filter[name];
    if (wanted === undefined) return [];
    if (name !== "action" && name !== "target") return [(decision) => valueOf(name, decision) === wanted];
    const glob = compileGlob(wanted);
    return [(decision) => glob.matches(valueOf(name, decision))];
  });
  return (decision) => tests.every((test) => test(decision));
};

export const controlsHead = formatRow(["control", "position", "audit_id"]);

/** Counts the decisions of each control, and makes a row of each of them. */
export class ControlCount {
  readonly #controls: readonly (Control & { readonly matches: Matches })[];
  readonly #counts: number[];

  constructor(controls: readonly Control[]) {
    this.#controls = controls.map((control) => {
      const filters = control.filters.map(matchesOf);
      return { ...control, matches: (decision) => filters.some((matches) => matches(decision)) };
    });
    this.#counts = controls.map(() => 0);
  }

  /** In ledger order. @returns a row for each control that the decision belongs to. */
  add(decision: PackDecision): string {
    let rows = "";
    for (const [index, { id, matches }] of this.#controls.entries()) {
      if (!matches(decision)) continue;
      this.#counts[index] = (this.#counts[index] ?? 0) + 1;
      rows += formatRow([id, String(decision.position), decision.body.id]);
    }
    return rows;
  }

  get counted(): readonly CountedControl[] {
    return this.#controls.map(({ id, title, filters }, index) => ({
      id,
      title,
      filters,
      decisions: this.#counts[index] ?? 0,
    }));
  }
}
