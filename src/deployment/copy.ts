/**
 * The files that a backup takes from a running deployment's directory, besides the ledger: description, wrapped keys
 * and code of modules.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromHex, parseHash, utf8Decode } from "@sigil/core/bytes";
import { SigilFault } from "../errors.ts";
import { readPrivateFile } from "../crypto/files/private-file.ts";
import { CodeFiles, codePathOf } from "../modules/code-files.ts";
import type { DeploymentFacts, DeploymentFile } from "./backup/backup.ts";
import { isBackedUpPath } from "./backup/frames.ts";
import { firstKeys, readDescription } from "./file.ts";

/** A key being destroyed is missing or overwritten; skip it. */
const readKey = async (path: string): Promise<Uint8Array | undefined> => {
  try {
    const content = await readPrivateFile(path, "key file");
    JSON.parse(utf8Decode(content));
    return content;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind !== "notFound") throw error;
    return undefined;
  }
};

/** A file being written has a temporary name, and its key has not been used yet. */
async function* keysIn(directory: string, name: string, recursive: boolean): AsyncGenerator<DeploymentFile> {
  const parent = join(directory, name);
  for (const entry of await readdir(parent, { recursive, withFileTypes: true })) {
    const full = join(entry.parentPath, entry.name);
    const path = `${firstKeys}/${full.slice(parent.length + 1)}`;
    if (!entry.isFile() || !isBackedUpPath(path) || !path.endsWith(".json")) continue;
    const content = await readKey(full);
    if (content !== undefined) yield { path, content };
  }
}

/** Does not include the key-encryption key, which is not in the directory. */
async function* filesOf(directory: string, keys: string): AsyncGenerator<DeploymentFile> {
  const description = "deployment.json";
  yield { path: description, content: await readPrivateFile(join(directory, description), description) };
  yield* keysIn(directory, keys, true);
  yield* codeIn(directory);
}

/** Code is on disk before the ledger names it. Files that do not match their name's digest are skipped. */
async function* codeIn(directory: string): AsyncGenerator<DeploymentFile> {
  const files = new CodeFiles(directory);
  for await (const digest of files.digests()) {
    const code = await files.read(digest);
    if (code.kind === "whole") yield { path: codePathOf(digest), content: code.bytes };
  }
}

/** @throws notInitialised, newerFormat, invalidConfig, storeFailed. */
export const describeForBackup = async (directory: string): Promise<DeploymentFacts> => {
  const { format, genesis, keys } = await readDescription(directory);
  const signingKeys: DeploymentFile[] = [];
  for await (const file of keysIn(directory, keys, false)) signingKeys.push(file);
  return {
    format,
    genesis: parseHash(fromHex(genesis)),
    signingKeys,
    files: () => filesOf(directory, keys),
  };
};
