/**
 * `deployment.json`: origin, genesis hash, source of the key-encryption key, directory of the keys that it wraps, and
 * location of the signing keys. Key source and directory are in one file so that one rename changes both. Source:
 * docs/operating/secrets.md.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import type { KekReference } from "../crypto/kek.ts";
import { replaceFile } from "../ledger/append/anchor.ts";

/** Format of the whole data directory, listed in docs/operating/upgrade.md; a program reads only its own. */
export const deploymentFormat = 5;

export type Description = {
  readonly format: number;
  /** Present during a migration: the old format, of which parts may remain. */
  readonly migrating?: number;
  readonly origin: string;
  readonly genesis: string;
  readonly kek: KekReference;
  /** A directory name in the data directory; default "keys". */
  readonly keys: string;
  /** Location of the signing keys: `file`, in that directory, or a token's URI; default "file". */
  readonly custody: string;
};

/** Key directory of a new deployment. */
export const firstKeys = "keys";
const inFiles = "file";
const keysPattern = /^keys(?:-([1-9][0-9]{0,8}))?$/;

/** Whether this is the name of a key directory, in use or left over. */
export const isKeysName = (name: string): boolean => keysPattern.test(name);

/** The name after `name`: keys, keys-2, keys-3, … */
export const keysNameAfter = (name: string): string =>
  `${firstKeys}-${Number(keysPattern.exec(name)?.[1] ?? 1) + 1}`;

const descriptionPath = (directory: string): string => join(directory, "deployment.json");

export const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ENOENT";

/** Replaces the file atomically; durable when it resolves. */
export const writeDescription = async (directory: string, description: Description): Promise<void> => {
  // Defaults are not written, so that the file of a directory that was never rewrapped stays unchanged.
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

/**
 * Reads a description of the program's own format or an older one. @throws notInitialised, newerFormat, invalidConfig,
 * storeFailed.
 */
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
  // Checked first: in a newer format every other field may differ.
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

/** The format of the directory's content; during a migration the old one. */
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
 * Checks under the lock that the description read before is unchanged. @throws storeLocked if another process has
 * rewrapped the keys in between: keys created in the old directory would be lost.
 */
export const requireUnchanged = async (directory: string, description: Description): Promise<void> => {
  const now = await readAnyDescription(directory, Number.MAX_SAFE_INTEGER);
  if (JSON.stringify(now) !== JSON.stringify(description)) fail({ kind: "storeLocked", path: directory });
};
