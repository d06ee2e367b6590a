/**
 * A whole data directory, checked at start: nothing in it open to others, nor what links in it lead to, and nothing in
 * it that is neither file nor directory nor socket.
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../../errors.ts";
import type { OnShared } from "./file-access.ts";
import { checkPrivateDirectory, checkPrivateFile } from "./private-file.ts";
import { followLink } from "./private-link.ts";

type Walk = {
  readonly onShared: OnShared;
  /** Directories that were looked at, by their real paths: a link may lead back. */
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
    // A pipe or a device would hang whoever opens it.
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
 * `onShared` is told once a group, of how much of the tree is open to it.
 * @throws foreignOwner for what a link leads to; looseMode naming the first path that others may enter or read, with
 * the command that mends it.
 */
export const checkPrivateTree = async (directory: string, onShared?: OnShared): Promise<void> => {
  const entriesOf = new Map<number, number>();
  const onEntry: OnShared = ({ gid }) => void entriesOf.set(gid, (entriesOf.get(gid) ?? 0) + 1);
  await checkBelow(directory, { onShared: onEntry, seen: new Set() });
  for (const [gid, entries] of entriesOf) onShared?.({ path: directory, gid, entries });
};
