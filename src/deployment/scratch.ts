/** Scratch directories, in which a deployment is built or a migration rehearsed. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { fail } from "../errors.ts";
import { codeDirectoryName } from "../modules/code-files.ts";
import { isKeysName, isMissing } from "./file.ts";

/** Names in a directory; empty if it does not exist. */
export const entriesOf = (directory: string): Promise<readonly string[]> =>
  readdir(directory).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });

const ours = [
  "deployment.json",
  "deployment.json.new",
  "ledger",
  "anchor",
  "anchor.new",
  "kek",
  codeDirectoryName,
];

/** Removes leftovers of an earlier run; refuses anything else. @throws directoryNotEmpty. */
export const clearScratch = async (path: string): Promise<void> => {
  const strange = (await entriesOf(path)).find((name) => !ours.includes(name) && !isKeysName(name));
  if (strange !== undefined) fail({ kind: "directoryNotEmpty", path });
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true, mode: 0o700 });
};
