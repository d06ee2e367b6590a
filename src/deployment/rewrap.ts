/**
 * Moving a deployment to another key-encryption key while nobody serves it. All keys are written anew beside the old
 * ones; then one rename of deployment.json names the new key source and the new directory together. A crash before it
 * leaves the old key in force, a crash after it the new one. Source: docs/operating/secrets.md.
 */
import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import { createKek, createKekFile, isKekOf, loadKek, type KekInputs, type KekSource } from "../crypto/kek.ts";
import { checkPrivateTree } from "../crypto/files/private-tree.ts";
import { checkKeys, eraseKeys, rewrapKeys } from "../crypto/rewrap.ts";
import type { Kek } from "../crypto/wrapping/wrap.ts";
import {
  isKeysName,
  keysNameAfter,
  readDescription,
  requireUnchanged,
  writeDescription,
  type Description,
} from "./file.ts";
import { openLevelStore } from "../storage/level.ts";

export type RewrapOptions = {
  readonly directory: string;
  /** A file that is missing is made, with a new random key; a key that is missing on a token is made there. */
  readonly to: KekSource;
  /** For the key in force, and for the new one. */
  readonly kekInputs: KekInputs;
  readonly newKekInputs: KekInputs;
  readonly onProgress?: (done: number, total: number) => void;
};

export type Rewrapped = {
  /** How many keys were moved. */
  readonly keys: number;
  readonly oldSource: string;
  readonly madeKek: boolean;
  /** The old directory, when it could not be removed; the next rewrap tries again. */
  readonly leftBehind: string | null;
};

/** What interrupted rewraps left: directories of keys that deployment.json does not name. */
const removeLeftovers = async (directory: string, keys: string): Promise<void> => {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const isLeftover = entry.isDirectory() && isKeysName(entry.name) && entry.name !== keys;
    if (isLeftover) await eraseKeys(join(directory, entry.name));
  }
};

const makeKekFile = async (to: KekSource): Promise<boolean> => {
  if (to.kind !== "file") return false;
  const found = await access(to.path).then(
    () => true,
    () => false,
  );
  if (!found) await createKekFile(to.path);
  return !found;
};

/** Under the store's lock. */
const rewrapLocked = async (
  { directory, to, newKekInputs, onProgress }: RewrapOptions,
  old: Description,
  oldKek: Kek,
): Promise<Rewrapped> => {
  await requireUnchanged(directory, old);
  const from = join(directory, old.keys);
  const madeFile = await makeKekFile(to);
  const { kek: newKek, reference, made } = await createKek(to, newKekInputs);
  if (await isKekOf(newKek, old.kek)) {
    fail({ kind: "usage", rule: `the key-encryption key from ${reference.source} is the one in force` });
  }
  await removeLeftovers(directory, old.keys);
  const keys = keysNameAfter(old.keys);
  const count = await rewrapKeys({ from, to: join(directory, keys), oldKek, newKek, onProgress });
  // From the rename in here on the new key opens the directory, until then the old one.
  await writeDescription(directory, { ...old, kek: reference, keys });
  const leftBehind = await eraseKeys(from).then(
    () => null,
    () => from,
  );
  return { keys: count, oldSource: old.kek.source, madeKek: madeFile || made, leftBehind };
};

/**
 * @throws before anything is touched: notInitialised, newerFormat, looseMode, wrongKeyEncryptionKey, storeLocked,
 * keyUnavailable for a key that does not open, usage when the new key is the one in force.
 */
export const rewrapDeployment = async (options: RewrapOptions): Promise<Rewrapped> => {
  const { directory } = options;
  const old = await readDescription(directory);
  await checkPrivateTree(directory, options.kekInputs.onShared);
  const oldKek = await loadKek(old.kek, options.kekInputs);
  await checkKeys(join(directory, old.keys), oldKek);
  // The database is opened for its lock alone: a server makes keys, and one made now would be left behind.
  const locked = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
  try {
    return await rewrapLocked(options, old, oldKek);
  } finally {
    await locked.close();
  }
};
