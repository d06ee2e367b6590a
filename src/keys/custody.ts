/**
 * The deployment's private keys on disk, each wrapped under the key-encryption key in a file of its own:
 *
 *   keys/record-1.json  keys/checkpoint-1.json  keys/data/<tenant>-<version>.json
 *
 * Files are 0600, directories 0700. Each file's purpose is authenticated, so one put under another name is refused.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DataKeys } from "./data-keys.ts";
import { checkPrivateDirectory, checkPrivateFile, createPrivateDirectory } from "./private-file.ts";
import { signingRoles, type SigningCustody } from "./signing-custody.ts";
import { SigningKeyFiles } from "./signing-keys.ts";
import type { Kek } from "./wrap.ts";

export type Custody = {
  readonly signingKeys: SigningCustody;
  /** The tenants' keys, on disk before they are handed out. */
  readonly dataKeys: DataKeys;
};

const dataDirectory = "data";

/** The highest `<stem>-<number>.json` by stem. */
const newestNumbers = (names: readonly string[]): Map<string, number> => {
  const newest = new Map<string, number>();
  for (const name of names) {
    const [, stem, number] = /^([a-z0-9-]+)-([1-9][0-9]{0,9})\.json$/.exec(name) ?? [];
    if (stem === undefined || number === undefined) continue;
    newest.set(stem, Math.max(newest.get(stem) ?? 0, Number(number)));
  }
  return newest;
};

/** The files of a directory, each checked to be private. */
const listPrivate = async (directory: string): Promise<readonly string[]> => {
  await checkPrivateDirectory(directory);
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  for (const name of names) await checkPrivateFile(join(directory, name));
  return names;
};

/** @throws looseMode, notFound, keyUnavailable, newerFormat. */
export const openCustody = async (directory: string, kek: Kek): Promise<Custody> => {
  await listPrivate(directory);
  const dataNames = await listPrivate(join(directory, dataDirectory));
  const signingKeys = await SigningKeyFiles.open({ directory, kek });
  for (const role of signingRoles) signingKeys.newest(role);
  return {
    signingKeys,
    dataKeys: new DataKeys(join(directory, dataDirectory), kek, newestNumbers(dataNames)),
  };
};

/** Makes the directory (0700) with a record and a checkpoint key. @throws usage when it exists. */
export const createCustody = async (directory: string, kek: Kek): Promise<Custody> => {
  await createPrivateDirectory(directory);
  await createPrivateDirectory(join(directory, dataDirectory));
  const signingKeys = await SigningKeyFiles.open({ directory, kek });
  for (const role of signingRoles) await signingKeys.create(role);
  return openCustody(directory, kek);
};
