/**
 * Checks a whole data directory at start: nothing in it, nor the target of any link in it, is accessible to others, and
 * everything is a file, a directory or a socket.
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../../errors.ts";
import type { OnShared } from "./file-access.ts";
import { checkPrivateDirectory, checkPrivateFile } from "./private-file.ts";
import { followLink } from "./private-link.ts";

type Walk = {
  readonly onShared: OnShared;
  /** Visited directories by real path, since links may form cycles. */
  readonly seen: Set<string>;
};

const checkBelow = async (directory: string, walk: Walk): Promise<void> => {
  const real = await realpath(directory);
  if (walk.seen.has(real)) return;
  walk.seen.add(real);
  await checkPrivateDirectory(directory, walk.onShared);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await checkBelow(path, walk);
    else if (entry.isFile()) await checkPrivateFile(path, walk.onShared);
    else if (entry.isSymbolicLink()) await checkTarget(path, walk);
    // Opening a pipe or a device could block.
    else if (!entry.isSocket()) fail({ kind: "notFound", what: "file or directory", id: path });
  }
};

const checkTarget = async (path: string, walk: Walk): Promise<void> => {
  const target = await followLink(path);
  const stats = await stat(target);
  if (stats.isDirectory()) return checkBelow(target, walk);
  if (!stats.isFile()) fail({ kind: "notFound", what: "file or directory", id: target });
  await checkPrivateFile(target, walk.onShared);
};

/**
 * @param onShared called once per group with the number of entries accessible to it.
 * @throws foreignOwner for a link's target; looseMode naming the first path accessible to others, with the command that
 * fixes it.
 */
export const checkPrivateTree = async (directory: string, onShared?: OnShared): Promise<void> => {
  const entriesOf = new Map<number, number>();
  const onEntry: OnShared = ({ gid }) => void entriesOf.set(gid, (entriesOf.get(gid) ?? 0) + 1);
  await checkBelow(directory, { onShared: onEntry, seen: new Set() });
  for (const [gid, entries] of entriesOf) onShared?.({ path: directory, gid, entries });
};
