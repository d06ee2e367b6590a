/** The list of decisions: filtered, followed, counted by minute. */
import { h, type JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Chart } from "./chart.ts";
import { followDecisions, joined, rowsMax, type Row } from "./follow.ts";
import { Gate } from "./gate.ts";
import { minutesOf, verdicts, type VerdictName } from "./minutes.ts";
import { isPassing, type Ask, type Problem, type Query } from "./problem.ts";
import { decisionAddress } from "./route.ts";
import { problemPanel, shown, table, verdict, type Column } from "./shown.ts";
import { decimal, enumName, shownTime } from "./text.ts";

const filterNames = {
  principal: "Subject or caller",
  action: "Action",
  target_prefix: "Target, or its beginning",
  reason: "Reason",
  tenant: "Tenant, for Root",
} as const;

const valuesOf = (form: HTMLFormElement): Query =>
  Object.fromEntries(
    [...new FormData(form)].map(([name, value]) => [name, typeof value === "string" ? value.trim() : ""]),
  );

const Filters = ({ onApply }: { readonly onApply: (filters: Query) => void }): JSX.Element =>
  h(
    "form",
    {
      class: "fields",
      "aria-label": "Filter the list",
      onSubmit: (event: SubmitEvent) => {
        event.preventDefault();
        if (event.currentTarget instanceof HTMLFormElement) onApply(valuesOf(event.currentTarget));
      },
      onReset: () => onApply({}),
    },
    Object.entries(filterNames).map(([name, label]) =>
      h("label", { key: name }, label, h("input", { name, autocomplete: "off", spellcheck: false })),
    ),
    h(
      "label",
      null,
      "Verdict",
      h("select", { name: "verdict" }, [
        h("option", { value: "" }, "any"),
        ...verdicts.map((name) => h("option", { key: name, value: `VERDICT_${name.toUpperCase()}` }, name)),
      ]),
    ),
    h("div", { class: "buttons" }, [
      h("button", { type: "submit" }, "Apply"),
      h("button", { type: "reset", class: "plain" }, "Clear"),
    ]),
  );

const Lookup = (): JSX.Element =>
  h(
    "form",
    {
      class: "fields",
      "aria-label": "Open one decision",
      onSubmit: (event: SubmitEvent) => {
        event.preventDefault();
        const { id = "" } =
          event.currentTarget instanceof HTMLFormElement ? valuesOf(event.currentTarget) : {};
        if (id !== "") location.hash = decisionAddress(id, "");
      },
    },
    h(
      "label",
      null,
      "Decision by its id",
      h("input", { name: "id", autocomplete: "off", spellcheck: false }),
    ),
    h("div", { class: "buttons" }, h("button", { type: "submit" }, "Open")),
  );

const columnsFor = (tenant: string): readonly Column<Row>[] => [
  {
    head: "Time, UTC",
    kind: "name",
    cell: ({ auditId, time }) => h("a", { href: decisionAddress(auditId, tenant) }, shownTime(time)),
  },
  { head: "Verdict", cell: ({ verdict: value }) => verdict(value) },
  { head: "Action", cell: ({ action }) => shown(action) },
  { head: "Target", cell: ({ target }) => shown(target) },
  { head: "Subject", cell: ({ subject }) => (subject === "" ? "anonymous" : shown(subject)) },
  { head: "Reason", cell: ({ reason }) => shown(reason) },
  { head: "Score", kind: "number", cell: ({ score }) => (score === undefined ? "none" : decimal(score)) },
];

/** A verdict that is not known counts as a deny, as for every reader. */
const counted = ({
  time,
  verdict: value,
}: Row): { readonly timeMs: number; readonly verdict: VerdictName } => {
  const name = enumName("VERDICT", value);
  return { timeMs: Date.parse(time), verdict: verdicts.find((each) => each === name) ?? "deny" };
};

type Held = { readonly rows: readonly Row[]; readonly cameCount: number; readonly isListed: boolean };
const nothing: Held = { rows: [], cameCount: 0, isListed: false };

const useFollowed = (ask: Ask, filters: Query, gate: Gate) => {
  const [held, setHeld] = useState(nothing);
  const [problem, setProblem] = useState<Problem>();
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setHeld(nothing);
    setProblem(undefined);
    gate.watch(abort.signal);
    void followDecisions({
      ask,
      filters,
      signal: abort.signal,
      onRows: (rows, place) => {
        if (abort.signal.aborted) return;
        setHeld((before) => ({
          rows: joined(before.rows, rows, place),
          cameCount: before.cameCount + (place === "before" ? rows.length : 0),
          isListed: true,
        }));
      },
      onProblem: (each) => {
        if (!abort.signal.aborted) setProblem(each);
      },
      opened: gate.opened,
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      isPassing,
    });
    return () => abort.abort();
  }, [ask, filters, gate, round]);
  return { ...held, problem, again: () => setRound((count) => count + 1) };
};

const statusOf = ({ rows, cameCount, isListed }: Held, isPaused: boolean, isStopped: boolean): string => {
  if (isStopped) return "Not following.";
  if (!isListed) return "Reading the list…";
  const bound = rows.length === rowsMax ? `the newest ${rowsMax}` : `${rows.length}`;
  return `${bound} listed, ${cameCount} new since it was opened. ${isPaused ? "Paused." : "Following."}`;
};

export const Decisions = ({ ask }: { readonly ask: Ask }): JSX.Element => {
  const [filters, setFilters] = useState<Query>({});
  const [isPaused, setPaused] = useState(false);
  const gate = useRef<Gate>(undefined);
  gate.current ??= new Gate();
  const followed = useFollowed(ask, filters, gate.current);
  const { rows, problem, again } = followed;
  const minutes = useMemo(() => minutesOf(rows.map(counted)), [rows]);
  const isStopped = problem !== undefined && !isPassing(problem);
  const pause = (): void => {
    gate.current?.pause(!isPaused);
    setPaused(!isPaused);
  };
  return h("section", { "aria-labelledby": "title" }, [
    h("h2", { id: "title", tabIndex: -1 }, "Decisions"),
    h(Chart, { minutes }),
    h(Filters, { onApply: setFilters }),
    problem === undefined ? null : problemPanel(problem),
    h("div", { class: "bar" }, [
      h("p", { role: "status", "aria-live": "polite" }, statusOf(followed, isPaused, isStopped)),
      isStopped
        ? h("button", { type: "button", onClick: again }, "Begin again")
        : h("button", { type: "button", "aria-pressed": isPaused, onClick: pause }, "Pause"),
    ]),
    isStopped
      ? null
      : table({
          caption: "Decisions, newest first",
          columns: columnsFor(filters["tenant"] ?? ""),
          items: rows,
          keyOf: ({ auditId }) => auditId,
          empty: followed.isListed ? "No decision matches." : "",
        }),
    h(Lookup, null),
  ]);
};
