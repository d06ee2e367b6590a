/**
 * Private files: created atomically as 0600 in a directory of 0700, never overwritten; existing ones must be private,
 * or shared with a group as file-access.ts allows. At most `keyFileBytesMax` each.
 */
import { constants } from "node:fs";
import { access, chmod, lstat, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fail } from "../../errors.ts";
import { keyFileBytesMax } from "../../limits.ts";
import { accessOf, ownHolder, type OnShared, type Stats } from "./file-access.ts";
import { followLink, shellWord, showMode } from "./private-link.ts";

/** Suffix of a file being written; one found later is the leftover of a crash and can be removed. */
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

/** @throws looseMode if others have access; notFound if there is no such directory. */
export const checkPrivateDirectory = async (path: string, onShared?: OnShared): Promise<void> => {
  const stats = await lstat(path).catch((cause: unknown) =>
    fail({ kind: "notFound", what: "directory", id: path }, { cause }),
  );
  if (!stats.isDirectory()) fail({ kind: "notFound", what: "directory", id: path });
  checkAccess(path, stats, "700", onShared);
};

/** @throws looseMode if others have access. */
export const checkPrivateFile = async (path: string, onShared?: OnShared): Promise<void> =>
  checkAccess(path, await lstat(path), "600", onShared);

/** @throws notFound, looseMode, foreignOwner for a link's target, tooLarge. */
export const readPrivateFile = async (
  path: string,
  what: string,
  onShared?: OnShared,
): Promise<Uint8Array> => {
  const isLink = (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;
  // O_NONBLOCK, so that a pipe at this path does not block the start. O_NOFOLLOW: links were resolved before.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await open(isLink ? await followLink(path) : path, flags).catch((cause: unknown) =>
    fail({ kind: "notFound", what, id: path }, { cause }),
  );
  try {
    // fstat of the open file, so that the checked file is the one read.
    const stats = await file.stat();
    if (!stats.isFile()) fail({ kind: "notFound", what, id: path });
    checkAccess(path, stats, "600", onShared);
    if (stats.size > keyFileBytesMax) {
      fail({ kind: "tooLarge", what, bytes: stats.size, limit: keyFileBytesMax });
    }
    // Read into one buffer that the caller can zero: `readFile` leaves copies behind.
    const content = new Uint8Array(new ArrayBuffer(stats.size));
    const { bytesRead } = await file.read(content, 0, content.length, 0);
    return content.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
};

/** Fsyncs a directory, to make a rename or a new file durable. */
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
 * Durable when it resolves; a crash before that leaves at most an unfinished file. One writer per directory: callers
 * hold the data directory's lock or own the name. @throws usage if the name is taken.
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

/** @throws usage if the name is taken. */
export const createPrivateDirectory = async (path: string): Promise<void> => {
  await mkdir(path, { mode: 0o700 }).catch((cause: unknown) =>
    fail({ kind: "usage", rule: `${path} cannot be created` }, { cause }),
  );
  await chmod(path, 0o700);
  await syncDirectory(dirname(path));
};
