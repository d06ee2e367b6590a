/**
 * Secret files that go: overwritten with zeros, then removed. What a file system or a disk has copied elsewhere (a
 * journal, a snapshot, worn-out flash) is out of reach. A link is removed, never followed.
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

/** Removes what an erasing or a writing that a crash cut short has left under another name. */
export const eraseUnfinished = async (path: string): Promise<void> => {
  await overwrite(path);
  await rm(path);
  await syncDirectory(dirname(path));
};

/**
 * Gone when it resolves. It loses its name first, so that a crash leaves a whole key or an unfinished file, never a
 * damaged key.
 */
export const eraseFile = async (path: string): Promise<void> => {
  const unfinished = path + unfinishedSuffix;
  await rename(path, unfinished);
  await syncDirectory(dirname(path));
  await eraseUnfinished(unfinished);
};
