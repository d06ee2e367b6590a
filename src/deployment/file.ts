/**
 * `deployment.json`: origin, genesis hash, where the key-encryption key comes from, which directory holds the keys that
 * it wraps, and where the signing keys are. The key and its directory stand in one file so that one rename changes
 * both. Source: docs/operating/secrets.md.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import type { KekReference } from "../crypto/kek.ts";
import { replaceFile } from "../ledger/append/anchor.ts";

/**
 * Of everything in the data directory. docs/operating/upgrade.md has the list; a program reads its own and no other.
 */
export const deploymentFormat = 3;

export type Description = {
  readonly format: number;
  /** Present from the first to the last change of a migration: the format of which something may still be there. */
  readonly migrating?: number;
  readonly origin: string;
  readonly genesis: string;
  readonly kek: KekReference;
  /** A directory's name in the data directory; "keys" in a file that does not say. */
  readonly keys: string;
  /** Where the signing keys are: `file`, in that directory, or a token's URI; "file" in a file that does not say. */
  readonly custody: string;
};

/** Where a new deployment keeps its keys. */
export const firstKeys = "keys";
const inFiles = "file";
const keysPattern = /^keys(?:-([1-9][0-9]{0,8}))?$/;

/** Whether that is the name of a directory of keys, in force or left behind. */
export const isKeysName = (name: string): boolean => keysPattern.test(name);

/** The name after `name`: keys, keys-2, keys-3, … */
export const keysNameAfter = (name: string): string =>
  `${firstKeys}-${Number(keysPattern.exec(name)?.[1] ?? 1) + 1}`;

const descriptionPath = (directory: string): string => join(directory, "deployment.json");

export const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ENOENT";

/** In place of the old one, whole or not at all; on disk when it resolves. */
export const writeDescription = async (directory: string, description: Description): Promise<void> => {
  // A directory that was never rewrapped says what it always said.
  const { keys, custody, ...others } = description;
  const file = {
    ...others,
    ...(keys === firstKeys ? {} : { keys }),
    ...(custody === inFiles ? {} : { custody }),
  };
  await replaceFile(descriptionPath(directory), `${JSON.stringify(file, undefined, 2)}\n`);
};

const isFormat = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) > 0;

const readText = async (directory: string): Promise<string> => {
  try {
    return await readFile(descriptionPath(directory), "utf8");
  } catch (cause) {
    if (isMissing(cause)) return fail({ kind: "notInitialised", path: directory });
    return fail({ kind: "storeFailed", step: "read deployment.json", rule: "it cannot be read" }, { cause });
  }
};

/** Of the program's own format or an older one. @throws notInitialised, newerFormat, invalidConfig, storeFailed. */
export const readAnyDescription = async (
  directory: string,
  known: number = deploymentFormat,
): Promise<Description> => {
  const text = await readText(directory);
  const malformed = (): never =>
    fail({ kind: "invalidConfig", key: "deployment.json", rule: "must be as sigil init wrote it" });
  let description: Omit<Description, "keys" | "custody"> & {
    readonly keys?: unknown;
    readonly custody?: unknown;
  };
  try {
    description = JSON.parse(text) as typeof description;
  } catch {
    return malformed();
  }
  if (typeof description?.format !== "number") return malformed();
  // Before anything else of it is read: a newer format may say everything otherwise.
  if (description.format > known) {
    return fail({ kind: "newerFormat", found: description.format, known });
  }
  const { format, origin, genesis, kek, migrating, keys = firstKeys, custody = inFiles } = description;
  if (!isFormat(format) || (migrating !== undefined && !(isFormat(migrating) && migrating < format))) {
    return malformed();
  }
  if (typeof origin !== "string" || typeof genesis !== "string") return malformed();
  if (typeof kek?.source !== "string" || typeof kek.verifier !== "string") return malformed();
  if (kek.salt !== null && typeof kek.salt !== "string") return malformed();
  if (typeof keys !== "string" || !isKeysName(keys)) return malformed();
  if (typeof custody !== "string") return malformed();
  return { ...description, keys, custody };
};

/** The format that the directory's content has, or still has in part. */
export const contentFormat = ({ format, migrating }: Description): number => migrating ?? format;

/** @throws notInitialised, newerFormat, olderFormat, invalidConfig, storeFailed. */
export const readDescription = async (directory: string): Promise<Description> => {
  const description = await readAnyDescription(directory);
  const found = contentFormat(description);
  if (found < deploymentFormat) {
    const interrupted = description.migrating !== undefined;
    fail({ kind: "olderFormat", path: directory, found, known: deploymentFormat, interrupted });
  }
  return description;
};

/**
 * What was read before the lock was taken still holds under it. @throws storeLocked when another process has moved the
 * keys in between: keys made in the directory it left would be lost.
 */
export const requireUnchanged = async (directory: string, description: Description): Promise<void> => {
  const now = await readAnyDescription(directory, Number.MAX_SAFE_INTEGER);
  if (JSON.stringify(now) !== JSON.stringify(description)) fail({ kind: "storeLocked", path: directory });
};
