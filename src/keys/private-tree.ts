/** A whole data directory, checked at start: files 0600, directories 0700, nothing open to others. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { checkPrivateDirectory, checkPrivateFile } from "./private-file.ts";

/** @throws looseMode naming the first path that others may enter or read, with the command that mends it. */
export const checkPrivateTree = async (directory: string): Promise<void> => {
  await checkPrivateDirectory(directory);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await checkPrivateTree(path);
    else if (entry.isFile()) await checkPrivateFile(path);
  }
};
