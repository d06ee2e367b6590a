/**
 * Erases secret files: overwrites them with zeros, then removes them. Copies by the file system or disk (journal,
 * snapshot, remapped flash) are out of reach. A symbolic link is removed, never followed.
 */
import { constants } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory, unfinishedSuffix } from "./private-file.ts";

const overwrite = async (path: string): Promise<void> => {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    await file.write(new Uint8Array(size), 0, size, 0);
    await file.sync();
  } finally {
    await file.close();
  }
};

/** Removes the leftover of an interrupted erase or write. */
export const eraseUnfinished = async (path: string): Promise<void> => {
  await overwrite(path);
  await rm(path);
  await syncDirectory(dirname(path));
};

/**
 * The file is gone when it resolves. It is renamed first, so that a crash leaves a complete key or an unfinished file,
 * never a damaged key.
 */
export const eraseFile = async (path: string): Promise<void> => {
  const unfinished = path + unfinishedSuffix;
  await rename(path, unfinished);
  await syncDirectory(dirname(path));
  await eraseUnfinished(unfinished);
};
