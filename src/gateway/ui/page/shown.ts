/** Parts of the page that every view uses: text of others, tables that fold on a narrow screen, problems, facts. */
import { h, type ComponentChildren, type JSX } from "preact";
import { nextStep, levelNeeded, type Problem } from "./problem.ts";
import { enumName, partsOf } from "./text.ts";

/** Text of others, which neither becomes markup nor turns the text around it. */
export const shown = (text: string): JSX.Element =>
  h(
    "bdi",
    null,
    partsOf(text).map((part) =>
      part.kind === "plain" ? part.text : h("span", { class: "escape" }, part.text),
    ),
  );

export const code = (text: string): JSX.Element => h("code", null, shown(text));

/** Bytes as hexadecimal digits. @param base64 as the API sends them. */
export const hex = (base64: string): JSX.Element => {
  const digits = [...atob(base64)].map((each) => each.charCodeAt(0).toString(16).padStart(2, "0"));
  return digits.length === 0 ? h("span", null, "none") : code(digits.join(""));
};

/** A verdict says itself in words; the colour repeats it. */
export const verdict = (value: string): JSX.Element => {
  const name = enumName("VERDICT", value);
  return h("span", { class: `verdict ${name}` }, name);
};

export type Column<Item> = {
  readonly head: string;
  readonly cell: (item: Item) => ComponentChildren;
  readonly kind?: "number" | "name" | "drawn";
};

type TableOptions<Item> = {
  readonly caption: string;
  readonly columns: readonly Column<Item>[];
  readonly items: readonly Item[];
  readonly keyOf: (item: Item) => string;
  /** Instead of a table without rows. */
  readonly empty: string;
};

/** Roles are written out: a narrow screen lays rows out as blocks, which takes a table's own meaning away. */
export const table = <Item>({ caption, columns, items, keyOf, empty }: TableOptions<Item>): JSX.Element => {
  if (items.length === 0) return h("p", { class: "quiet" }, empty);
  const heads = columns.map(({ head, kind }) =>
    h("th", { key: head, scope: "col", role: "columnheader", class: kind }, head),
  );
  const row = (item: Item): JSX.Element =>
    h(
      "tr",
      { key: keyOf(item), role: "row" },
      columns.map(({ head, kind, cell }) =>
        kind === "name"
          ? h("th", { key: head, scope: "row", role: "rowheader", class: kind }, cell(item))
          : h("td", { key: head, role: "cell", class: kind, "data-head": head }, cell(item)),
      ),
    );
  return h("table", { role: "table" }, [
    h("caption", null, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, items.map(row)),
  ]);
};

/** Names and what they are; those without a value are left out. */
export const facts = (rows: readonly (readonly [string, ComponentChildren])[]): JSX.Element =>
  h(
    "dl",
    null,
    rows
      .filter(([, value]) => value !== "" && value !== undefined)
      .map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))),
  );

/** What the server refused, in its own words, and what to do next. Damage looks like nothing else. */
export const problemPanel = (problem: Problem): JSX.Element => {
  const needed = levelNeeded(problem);
  const isDamage = problem.code === "DATA_LOSS";
  const title = isDamage ? `Damaged: ${problem.title}` : problem.title;
  return h(
    "div",
    { role: "alert", class: isDamage ? "problem damage" : "problem" },
    h("p", { class: "title" }, needed === undefined ? shown(title) : `Needs ${needed}`),
    h("p", null, shown(problem.detail)),
    h("p", null, nextStep(problem)),
    problem.requestId === ""
      ? null
      : h("p", { class: "quiet" }, `${problem.reason}, request `, code(problem.requestId)),
  );
};

/** Long lines of others: each text line as it is, none wrapped into another. */
export const lines = (text: string): JSX.Element =>
  h(
    "pre",
    { tabIndex: 0 },
    text
      .replace(/\n$/, "")
      .split("\n")
      .map((line, at) => h("span", { key: at, class: "line" }, shown(line), "\n")),
  );
