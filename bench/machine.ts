/** The machine that a benchmark ran on, as its pages name it. */
import { statfs } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import type { Machine } from "./results.ts";

const fileSystems: Readonly<Record<string, string>> = {
  "61267": "ext4",
  "2435016766": "btrfs",
  "1481003842": "xfs",
  "16914836": "tmpfs",
  "2035054128": "overlay",
};

/** @param directory where the ledgers lie. */
export const describeMachine = async (directory: string): Promise<Machine> => {
  const [processor] = cpus();
  const { type: fileSystem } = await statfs(directory);
  return {
    processor: processor?.model.trim() ?? "unknown processor",
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    fileSystem: fileSystems[String(fileSystem)] ?? "a file system it does not name",
    startedAt: new Date().toISOString(),
  };
};
