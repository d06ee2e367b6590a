/** A whole data directory, checked at start: nothing in it open to others. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { OnShared } from "./file-access.ts";
import { checkPrivateDirectory, checkPrivateFile } from "./private-file.ts";

const checkBelow = async (directory: string, onShared: OnShared): Promise<void> => {
  await checkPrivateDirectory(directory, onShared);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await checkBelow(path, onShared);
    else if (entry.isFile()) await checkPrivateFile(path, onShared);
  }
};

/**
 * `onShared` is told once a group, of how much of the tree is open to it.
 * @throws looseMode naming the first path that others may enter or read, with the command that mends it.
 */
export const checkPrivateTree = async (directory: string, onShared?: OnShared): Promise<void> => {
  const entriesOf = new Map<number, number>();
  await checkBelow(directory, ({ gid }) => void entriesOf.set(gid, (entriesOf.get(gid) ?? 0) + 1));
  for (const [gid, entries] of entriesOf) onShared?.({ path: directory, gid, entries });
};
