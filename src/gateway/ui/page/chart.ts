/** Decisions by minute and verdict: bars by uPlot, and the same numbers as text and as a table. */
import { h, type JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { Minute } from "./minutes.ts";
import { verdicts } from "./minutes.ts";
import { table } from "./shown.ts";

const heightPx = 180;
const font = "12px system-ui, sans-serif";

const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Each series stands on those before it, so the highest is drawn first. */
const dataOf = (minutes: readonly Minute[]): uPlot.AlignedData => [
  minutes.map(({ startSeconds }) => startSeconds),
  minutes.map(({ allow, review, deny }) => allow + review + deny),
  minutes.map(({ allow, review }) => allow + review),
  minutes.map(({ allow }) => allow),
];

const clock = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(11, 16);

const optionsOf = (width: number): uPlot.Options => {
  const axis = {
    stroke: colour("quiet"),
    font,
    grid: { stroke: colour("line"), width: 1 },
    ticks: { stroke: colour("line"), width: 1 },
  };
  const paths = uPlot.paths.bars?.({ size: [0.8, 32], align: 1 });
  const bars = ["deny", "review", "allow"].map((name) => ({
    fill: colour(name),
    stroke: colour(name),
    width: 0,
    points: { show: false },
    ...(paths === undefined ? {} : { paths }),
  }));
  return {
    width,
    height: heightPx,
    series: [{}, ...bars],
    axes: [
      { ...axis, values: (_, times) => times.map(clock) },
      { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000] },
    ],
    scales: {
      // The last bar stands right of its minute.
      x: { range: (_, first, last) => [first, last + 60] },
      y: { range: (_, __, most) => [0, Math.max(4, most * 1.05)] },
    },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), "Etc/UTC"),
    legend: { show: false },
    cursor: { show: false },
  };
};

const summaryOf = (minutes: readonly Minute[]): string => {
  const last = minutes.at(-1);
  if (last === undefined) return "No decisions to count.";
  const counts = verdicts.map((name) => `${name} ${minutes.reduce((sum, each) => sum + each[name], 0)}`);
  return `${counts.join(", ")} in the ${minutes.length} minutes to ${clock(last.startSeconds)} UTC.`;
};

/** Of what the list holds: the caption says so. */
export const Chart = ({ minutes }: { readonly minutes: readonly Minute[] }): JSX.Element => {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const [scheme, setScheme] = useState(0);
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = (): void => setScheme((count) => count + 1);
    dark.addEventListener("change", redraw);
    return () => dark.removeEventListener("change", redraw);
  }, []);
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const drawn = new uPlot(optionsOf(element.clientWidth), dataOf(minutes), element);
    plot.current = drawn;
    const watch = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: heightPx }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      drawn.destroy();
    };
  }, [scheme]);
  useEffect(() => plot.current?.setData(dataOf(minutes)), [minutes]);
  const summary = summaryOf(minutes);
  return h("figure", null, [
    h("figcaption", null, [
      h("span", null, `By minute, of the decisions listed below: ${summary}`),
      h(
        "span",
        { class: "legend", "aria-hidden": "true" },
        verdicts.map((name) => h("span", { key: name, class: `key ${name}` }, name)),
      ),
    ]),
    h("div", { ref: place, class: "plot", role: "img", "aria-label": summary }),
    h("details", null, [
      h("summary", null, "The same as numbers"),
      table({
        caption: "Decisions by minute, UTC",
        columns: [
          { head: "Minute", kind: "name", cell: ({ startSeconds }) => clock(startSeconds) },
          ...verdicts.map(
            (name) => ({ head: name, kind: "number", cell: (each: Minute) => each[name] }) as const,
          ),
        ],
        items: minutes.filter(({ allow, review, deny }) => allow + review + deny > 0),
        keyOf: ({ startSeconds }) => String(startSeconds),
        empty: "No decisions to count.",
      }),
    ]),
  ]);
};
