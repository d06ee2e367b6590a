/**
 * Command output: results on standard output, progress and problems on standard error. Colour only on terminals
 * (node:util honours NO_COLOR and FORCE_COLOR). Foreign text is printed as one line in which every character is seen.
 */
import { styleText } from "node:util";
import type { Readable, Writable } from "node:stream";
import { visibleText as printable } from "@sigil/core/record";
import { fail } from "../../errors.ts";

export { printable };

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

export type Terminal = {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly input: Readable;
  /** Prints lines of the result. */
  readonly print: (text: string) => void;
  /** Writes a result that is no text. @throws usage on a screen. */
  readonly printBytes: (bytes: Uint8Array) => void;
  /** Prints a line that is not part of the result. */
  readonly note: (text: string) => void;
  /**
   * On a terminal replaces the previous progress line; an empty text removes it. Elsewhere, as in a job's log, prints a
   * line now and then as a sign of life.
   */
  readonly progress: (text: string) => void;
  readonly paint: (style: Style, text: string) => string;
};

type Process = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
};

/** Minimum interval of updates on a terminal. */
const progressMsMin = 50;
/** Interval of progress lines in a log; shorter work has none. */
const loggedMsMin = 30_000;
const eraseLine = "\r\u001b[2K";

export const processTerminal = ({ env, stdin, stdout, stderr }: Process): Terminal => {
  const watched = stderr.isTTY === true;
  let shownMs = watched ? -Infinity : performance.now();
  return {
    environment: env,
    input: stdin,
    print: (text) => void stdout.write(`${text}\n`),
    printBytes: (bytes) => {
      if (stdout.isTTY === true) fail({ kind: "usage", rule: "the result is no text: send it to a file" });
      stdout.write(bytes);
    },
    note: (text) => void stderr.write(`${text}\n`),
    progress: (text) => {
      const nowMs = performance.now();
      if (!watched) {
        if (text === "" || nowMs - shownMs < loggedMsMin) return;
        shownMs = nowMs;
        stderr.write(`${text}\n`);
        return;
      }
      if (text !== "" && nowMs - shownMs < progressMsMin) return;
      shownMs = nowMs;
      // A wrapped line could not be erased.
      stderr.write(eraseLine + text.slice(0, (stderr.columns ?? 80) - 1));
    },
    paint: (style, text) => styleText(style, text, { stream: stdout }),
  };
};

export type Cell =
  | string
  | { readonly text: string; readonly style: Style; readonly paint: Terminal["paint"] };

export type Column = {
  readonly title: string;
  readonly align?: "left" | "right";
  readonly widthMax?: number;
};

const textOf = (cell: Cell): string => printable(typeof cell === "string" ? cell : cell.text);

const shorten = (text: string, widthMax = Infinity): string => {
  const characters = [...text];
  return characters.length <= widthMax ? text : `${characters.slice(0, widthMax - 1).join("")}…`;
};

const widthOf = (text: string): number => [...text].length;

const pad = (text: string, width: number, align: Column["align"]): string => {
  const fill = " ".repeat(Math.max(0, width - widthOf(text)));
  return align === "right" ? fill + text : text + fill;
};

/** Formats aligned columns with titles, two spaces apart. */
export const formatTable = (columns: readonly Column[], rows: readonly (readonly Cell[])[]): string => {
  const texts = rows.map((row) =>
    columns.map((column, at) => shorten(textOf(row[at] ?? ""), column.widthMax)),
  );
  const widths = columns.map((column, at) =>
    texts.reduce((width, row) => Math.max(width, widthOf(row[at] ?? "")), widthOf(column.title)),
  );
  const line = (cells: readonly string[]): string => cells.join("  ").trimEnd();
  const head = line(columns.map(({ title, align }, at) => pad(title, widths[at] ?? 0, align)));
  const body = texts.map((row, index) =>
    line(
      columns.map(({ align }, at) => {
        const padded = pad(row[at] ?? "", widths[at] ?? 0, align);
        const cell = rows[index]?.[at] ?? "";
        return typeof cell === "string" ? padded : cell.paint(cell.style, padded);
      }),
    ),
  );
  return [head, ...body].join("\n");
};

/** Formats names and values, one pair per line; omits pairs without a value. */
export const formatPairs = (pairs: readonly (readonly [string, string | undefined])[]): string => {
  const shown = pairs.filter(
    (pair): pair is readonly [string, string] => pair[1] !== undefined && pair[1] !== "",
  );
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`).join("\n");
};
