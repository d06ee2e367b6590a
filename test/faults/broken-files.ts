/**
 * A file system that fails at a chosen operation: every change that `node:fs/promises` is asked for is counted, also
 * those of open files, and one of them fails. Reads are not counted: they change nothing.
 */
import files from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

export type Break = {
  /** From 0. */
  readonly operation: number;
  /**
   * `killed`: nothing is changed from there on. `killedHalfway`: a write gets its first half down. `failed`: it alone
   * fails.
   */
  readonly kind: "killed" | "killedHalfway" | "failed";
};

export type Broken = {
  readonly operations: number;
  /** Which of them put bytes into a file, and can so be cut in half. */
  readonly writes: readonly number[];
  readonly error: unknown;
};

const changing = ["mkdir", "rename", "rm", "rmdir", "unlink", "chmod", "writeFile"] as const;
const changingOpen = ["writeFile", "write", "sync", "truncate"] as const;

type Work = (...words: unknown[]) => Promise<unknown>;

const halfOf = (content: unknown): unknown =>
  typeof content === "string" || content instanceof Uint8Array
    ? content.slice(0, Math.floor(content.length / 2))
    : content;

/** @returns how many changes were asked for, and what the work failed with. One at a time in a process. */
export const withBreak = async (at: Break | null, work: () => Promise<unknown>): Promise<Broken> => {
  const originals = { ...files };
  const broken = files as unknown as Record<string, Work>;
  let operations = 0;
  const writes: number[] = [];
  const counted =
    (original: Work, isWrite: boolean): Work =>
    async (...words) => {
      const operation = operations;
      operations += 1;
      if (isWrite) writes.push(operation);
      if (at === null || operation < at.operation) return original(...words);
      if (at.kind === "failed" && operation > at.operation) return original(...words);
      if (at.kind === "killedHalfway" && operation === at.operation && isWrite) {
        await original(halfOf(words[0]));
      }
      throw Object.assign(new Error("EIO: broken on purpose"), { code: "EIO" });
    };
  for (const name of changing) broken[name] = counted(originals[name] as Work, false);
  const openFile = async (...words: Parameters<typeof files.open>): Promise<FileHandle> => {
    const handle = await originals.open(...words);
    const methods = handle as unknown as Record<string, Work>;
    for (const name of changingOpen) {
      const original = (handle[name] as Work).bind(handle);
      methods[name] = counted(original, name === "writeFile" || name === "write");
    }
    return handle;
  };
  const isReading = (flags: unknown): boolean => flags === "r" || typeof flags === "number";
  const openCounted = counted(openFile as unknown as Work, false);
  broken["open"] = (...words) =>
    isReading(words[1]) ? (openFile as unknown as Work)(...words) : openCounted(...words);
  syncBuiltinESMExports();
  try {
    await work();
    return { operations, writes, error: undefined };
  } catch (error) {
    return { operations, writes, error };
  } finally {
    Object.assign(files, originals);
    syncBuiltinESMExports();
  }
};
