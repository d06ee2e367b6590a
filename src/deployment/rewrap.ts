/**
 * Moves an offline deployment to another key-encryption key. All keys are rewrapped into a new directory; then one
 * rename of deployment.json switches key source and directory together. A crash before it leaves the old key in use, a
 * crash after it the new one. Source: docs/operating/secrets.md.
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
  /** A missing file is created with a new random key; a missing token key is created on the token. */
  readonly to: KekSource;
  /** Inputs for both the current and the new key. */
  readonly kekInputs: KekInputs;
  readonly newKekInputs: KekInputs;
  readonly onProgress?: (done: number, total: number) => void;
};

export type Rewrapped = {
  /** Number of rewrapped keys. */
  readonly keys: number;
  readonly oldSource: string;
  readonly madeKek: boolean;
  /** The old directory if it could not be removed; the next rewrap tries again. */
  readonly leftBehind: string | null;
};

/** Removes leftovers of interrupted rewraps: key directories that deployment.json does not name. */
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

/** Call under the store's lock. */
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
  // The rename inside is the commit point: before it the old key opens the directory, after it the new one.
  await writeDescription(directory, { ...old, kek: reference, keys });
  const leftBehind = await eraseKeys(from).then(
    () => null,
    () => from,
  );
  return { keys: count, oldSource: old.kek.source, madeKek: madeFile || made, leftBehind };
};

/**
 * @throws before any change: notInitialised, newerFormat, looseMode, wrongKeyEncryptionKey, storeLocked, keyUnavailable
 * for a key that does not open, usage if the new key is the current one.
 */
export const rewrapDeployment = async (options: RewrapOptions): Promise<Rewrapped> => {
  const { directory } = options;
  const old = await readDescription(directory);
  await checkPrivateTree(directory, options.kekInputs.onShared);
  const oldKek = await loadKek(old.kek, options.kekInputs);
  await checkKeys(join(directory, old.keys), oldKek);
  // Opens the database only for its lock: a running server could create keys, which would be lost.
  const locked = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
  try {
    return await rewrapLocked(options, old, oldKek);
  } finally {
    await locked.close();
  }
};
