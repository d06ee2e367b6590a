/** Reads input files; "-" is standard input, which is limited in size. */
import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { usage } from "./command.ts";
import type { Terminal } from "./terminal.ts";

const readAll = async (input: Readable, bytesMax: number): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of input as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > bytesMax) usage(`standard input is longer than ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
};

/** @param what names the file in error messages: a flag or positional argument. @throws usage. */
export const readBytes = async (
  path: string,
  what: string,
  terminal: Terminal,
  bytesMax: number,
): Promise<Uint8Array> => {
  if (path === "-") return readAll(terminal.input, bytesMax);
  return readFile(path).catch(() => usage(`${what}: ${path} cannot be read`));
};

/** @throws usage, also unless it is UTF-8. */
export const readText = async (
  path: string,
  what: string,
  terminal: Terminal,
  bytesMax: number,
): Promise<string> => {
  const bytes = await readBytes(path, what, terminal, bytesMax);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return usage(`${what}: ${path} is not UTF-8 text`);
  }
};
