/** Where a projection reads from, by its address. */
import type { LaneSource } from "../../projections/message.ts";
import { required, usage, type Arguments, type Flags } from "../terminal/command.ts";
import { fileSize, fileSource } from "./file-source.ts";

export type OpenedSource = {
  readonly source: LaneSource;
  /** How many places there were when it was opened. */
  readonly size: bigint;
};

export const sourceFlags = {
  from: { value: "SOURCE", about: "What is read: file:DIRECTORY, where a relay writes files." },
} as const satisfies Flags;

/** @throws usage. */
export const openSource = async (given: Arguments): Promise<OpenedSource> => {
  const text = required(given, "from", "SOURCE");
  const [, directory] = /^file:(?:\/\/)?(.+)$/.exec(text) ?? [];
  if (directory === undefined) return usage("--from must be file:DIRECTORY");
  return { source: fileSource(directory), size: await fileSize(directory) };
};
