/** A terminal with a keyboard, for what is asked for and not shown. */
import { Readable } from "node:stream";
import type { Terminal } from "../../src/cli/terminal/terminal.ts";

/** Somebody at a keyboard, who types the lines one after another as they are asked for. */
export const person = (lines: readonly string[], environment: Readonly<Record<string, string>> = {}) => {
  const keyboard = new Readable({ read: () => {} });
  const seen = { modes: [] as boolean[], notes: [] as string[] };
  const left = [...lines];
  const setRawMode = (raw: boolean): void => {
    seen.modes.push(raw);
    if (raw) keyboard.push(left.shift() ?? "\u0003");
  };
  const terminal: Terminal = {
    environment,
    input: Object.assign(keyboard, { isTTY: true, setRawMode }),
    print: () => {},
    printBytes: () => {},
    note: (text) => void seen.notes.push(text),
    progress: () => {},
    paint: (_style, text) => text,
  };
  return { terminal, seen };
};
