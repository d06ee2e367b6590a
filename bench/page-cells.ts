/** Cells and tables of the page, and targets with a minimum ratio. */
import type { Target } from "./results.ts";
import type { Measured } from "./statistics.ts";

export type Row = readonly string[];

export const table = (head: Row, rows: readonly Row[]): string => {
  const widths = head.map((cell, column) =>
    Math.max(cell.length, 3, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: Row): string =>
    `| ${widths.map((width, column) => (row[column] ?? "").padEnd(width)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
};

export const whole = (value: number): string => Math.round(value).toLocaleString("en-US");
export const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

export const shown = ({ median, low, high }: Measured, format: (value: number) => string): Row => [
  format(median),
  `${format(low)} to ${format(high)}`,
];

const twoDigits = (value: number): string => value.toFixed(2);
export const oneDigit = (value: number): string => value.toFixed(1);

export const atLeast = (name: string, wanted: number, measured: Measured, format = twoDigits): Target => ({
  name,
  wanted: `at least ${format(wanted)}`,
  measured: shown(measured, format).join(", "),
  isMet: measured.median >= wanted,
});
