/**
 * Rewraps every key of a directory under another key-encryption key: unwraps with the old one, wraps with the new one
 * into a new directory, reads back and compares. deployment.json, not this file, says which directory is in use, so a
 * crash leaves the old directory unchanged, with or without the new one. One key at a time is in memory.
 */
import { timingSafeEqual } from "node:crypto";
import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fail } from "../errors.ts";
import { eraseUnfinished } from "./files/erase.ts";
import { createPrivateDirectory, syncDirectory, unfinishedSuffix } from "./files/private-file.ts";
import type { Kek } from "./wrapping/wrap.ts";
import { createWrappedFile, readAnyWrappedFile, readWrappedFile } from "./wrapping/wrapped-file.ts";

/** Relative paths in the key directory. */
type KeyTree = { readonly directories: readonly string[]; readonly files: readonly string[] };

const keyFileSuffix = ".json";

/**
 * Lists directories before their content. @throws keyUnavailable for a file that is neither a key nor an unfinished
 * one.
 */
const listKeyTree = async (root: string, below = ""): Promise<KeyTree> => {
  const [directories, files]: [string[], string[]] = [[], []];
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const path = join(below, entry.name);
    if (entry.isDirectory()) {
      const inner = await listKeyTree(root, path);
      directories.push(path, ...inner.directories);
      files.push(...inner.files);
    } else if (entry.isFile() && path.endsWith(keyFileSuffix)) files.push(path);
    else if (!path.endsWith(unfinishedSuffix)) {
      // An unknown file would be lost with the old directory.
      fail({ kind: "keyUnavailable", rule: `${join(root, path)} is not a key file; move it away` });
    }
  }
  return { directories, files };
};

/** Opens every key once. @throws keyUnavailable, looseMode, newerFormat. */
export const checkKeys = async (directory: string, kek: Kek): Promise<void> => {
  for (const path of (await listKeyTree(directory)).files) {
    (await readAnyWrappedFile(join(directory, path), kek)).secret.fill(0);
  }
};

type Move = {
  readonly from: string;
  /** Must not exist. */
  readonly to: string;
  readonly oldKek: Kek;
  readonly newKek: Kek;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
};

const rewrapFile = async ({ from, to, oldKek, newKek }: Move, path: string): Promise<void> => {
  const key = await readAnyWrappedFile(join(from, path), oldKek);
  try {
    await createWrappedFile(join(to, path), newKek, key);
    const { secret } = await readWrappedFile(join(to, path), newKek, key.purpose);
    const same = secret.length === key.secret.length && timingSafeEqual(secret, key.secret);
    secret.fill(0);
    if (!same) fail({ kind: "keyUnavailable", rule: `the new file of ${key.purpose} reads back otherwise` });
  } finally {
    key.secret.fill(0);
  }
};

/** Durable when it resolves; `from` is unchanged. @returns the number of keys. @throws keyUnavailable, usage. */
export const rewrapKeys = async (move: Move): Promise<number> => {
  const { directories, files } = await listKeyTree(move.from);
  await createPrivateDirectory(move.to);
  for (const path of directories) await createPrivateDirectory(join(move.to, path));
  for (const [index, path] of files.entries()) {
    await rewrapFile(move, path);
    move.onProgress?.(index + 1, files.length);
  }
  return files.length;
};

/** Erases every key of a directory, then removes the directory. */
export const eraseKeys = async (directory: string): Promise<void> => {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      await eraseKeys(path);
      continue;
    }
    if (entry.isFile()) await eraseUnfinished(path);
    else await rm(path);
  }
  await rmdir(directory);
  await syncDirectory(dirname(directory));
};
