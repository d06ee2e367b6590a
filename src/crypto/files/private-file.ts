/**
 * Files that others may not read: made 0600 in a directory of 0700, whole or not at all, never overwritten; found so,
 * or shared with a group as file-access.ts allows. At most `keyFileBytesMax` each.
 */
import { constants } from "node:fs";
import { access, chmod, lstat, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fail } from "../../errors.ts";
import { keyFileBytesMax } from "../../limits.ts";
import { accessOf, ownHolder, type OnShared, type Stats } from "./file-access.ts";
import { followLink, shellWord, showMode } from "./private-link.ts";

/** Ends the name of a file being written; one found later is what a crash left and holds nothing promised. */
export const unfinishedSuffix = ".new";

const checkAccess = (path: string, stats: Stats, wanted: "600" | "700", onShared?: OnShared): void => {
  const access = accessOf(stats, ownHolder());
  switch (access.kind) {
    case "owner":
      return;
    case "group":
      onShared?.({ path, gid: access.gid, entries: 1 });
      return;
    case "others": {
      fail({
        kind: "looseMode",
        path,
        mode: showMode(stats.mode),
        fix: `chmod ${wanted} ${shellWord(path)}`,
      });
    }
  }
};

/** @throws looseMode when others have access; notFound when there is no such directory. */
export const checkPrivateDirectory = async (path: string, onShared?: OnShared): Promise<void> => {
  const stats = await lstat(path).catch((cause: unknown) =>
    fail({ kind: "notFound", what: "directory", id: path }, { cause }),
  );
  if (!stats.isDirectory()) fail({ kind: "notFound", what: "directory", id: path });
  checkAccess(path, stats, "700", onShared);
};

/** @throws looseMode when others have access. */
export const checkPrivateFile = async (path: string, onShared?: OnShared): Promise<void> =>
  checkAccess(path, await lstat(path), "600", onShared);

/** @throws notFound, looseMode, foreignOwner for what a link leads to, tooLarge. */
export const readPrivateFile = async (
  path: string,
  what: string,
  onShared?: OnShared,
): Promise<Uint8Array> => {
  const isLink = (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;
  // O_NONBLOCK: a pipe put in the file's place must not hang the start. What was followed is a link no more.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await open(isLink ? await followLink(path) : path, flags).catch((cause: unknown) =>
    fail({ kind: "notFound", what, id: path }, { cause }),
  );
  try {
    // Asked of the open file, so that what is checked is what is read.
    const stats = await file.stat();
    if (!stats.isFile()) fail({ kind: "notFound", what, id: path });
    checkAccess(path, stats, "600", onShared);
    if (stats.size > keyFileBytesMax) {
      fail({ kind: "tooLarge", what, bytes: stats.size, limit: keyFileBytesMax });
    }
    // Into one buffer, whose owner may zero it: `readFile` leaves its own behind.
    const content = new Uint8Array(new ArrayBuffer(stats.size));
    const { bytesRead } = await file.read(content, 0, content.length, 0);
    return content.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
};

/** Makes a rename or a new file durable. */
export const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * On disk under its name when it resolves; a crash before that leaves at most an unfinished file.
 * One writer a directory: callers hold the data directory's lock or own the name. @throws usage when the name is taken.
 */
export const createPrivateFile = async (path: string, content: Uint8Array | string): Promise<void> => {
  const taken = { kind: "usage", rule: `${path} exists; a key is never overwritten` } as const;
  if (await exists(path)) fail(taken);
  const unfinished = path + unfinishedSuffix;
  await rm(unfinished, { force: true });
  const file = await open(unfinished, "wx", 0o600).catch((cause: unknown) =>
    fail(
      { kind: "usage", rule: `${path} cannot be created; is its directory there and writable?` },
      { cause },
    ),
  );
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(unfinished);
    throw error;
  }
  await file.close();
  await rename(unfinished, path);
  await syncDirectory(dirname(path));
};

/** @throws usage when the name is taken. */
export const createPrivateDirectory = async (path: string): Promise<void> => {
  await mkdir(path, { mode: 0o700 }).catch((cause: unknown) =>
    fail({ kind: "usage", rule: `${path} cannot be created` }, { cause }),
  );
  await chmod(path, 0o700);
  await syncDirectory(dirname(path));
};
