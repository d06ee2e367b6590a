/**
 * The program of a sandbox process as JavaScript, in a checkout, which has only its sources; the built package has no
 * use for this. A sandbox process may write nothing and so has no compile cache: started from TypeScript it spends two
 * thirds of its start on stripping types. They are stripped once into a directory named by the SHA-256 of the sources.
 */
import { createHash } from "node:crypto";
import { accessSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire, isBuiltin, stripTypeScriptTypes } from "node:module";
import { dirname, join, relative } from "node:path";

/** TypeScript sources, by path. */
type Sources = ReadonlyMap<string, string>;

/** An import or an export from elsewhere that is left when types are stripped. */
const importPattern = /^((?:import|export) (?!type )[^;"]*? from )"([^"]+)"/gm;

/** @returns the path of what `specifier` names in the file `importer`; null of what Node itself has. */
const importedPath = (importer: string, specifier: string): string | null =>
  isBuiltin(specifier) ? null : createRequire(importer).resolve(specifier);

/** The program and everything that it imports, in the order of first mention. */
const readSources = (program: string): Sources => {
  const sources = new Map<string, string>();
  const waiting = [program];
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (sources.has(path)) continue;
    const text = readFileSync(path, "utf8");
    sources.set(path, text);
    for (const [, , specifier = ""] of text.matchAll(importPattern)) {
      const imported = importedPath(path, specifier);
      if (imported !== null) waiting.push(imported);
    }
  }
  return sources;
};

/** By what the directory depends on: the sources, this file, and Node's way of stripping. */
const digestOf = (sources: Sources): string => {
  const hash = createHash("sha256").update(
    `${process.version}\0${readFileSync(import.meta.filename, "utf8")}`,
  );
  for (const [path, text] of sources) hash.update(`\0${path}\0${text}`);
  return hash.digest("hex");
};

/** `.mjs`: the kind of file is in its name, so that the process need not read a manifest. */
const strippedPath = (path: string): string => path.replace(/\.ts$/, ".mjs");

/** Node warns, once a process, that stripping by call is experimental; by import it does the same and says nothing. */
const withoutWarning = (work: () => void): void => {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    work();
  } finally {
    process.emitWarning = emitWarning;
  }
};

const strippedText = (path: string, text: string): string =>
  stripTypeScriptTypes(text).replaceAll(importPattern, (whole, clause: string, specifier: string) => {
    const imported = importedPath(path, specifier);
    if (imported === null) return whole;
    return `${clause}"./${strippedPath(relative(dirname(path), imported))}"`;
  });

const isReadable = (path: string): boolean => {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
};

export type StrippedProgram = { readonly directory: string; readonly path: string };

/**
 * @param program a TypeScript file in `root`, as is all that it imports.
 * @returns null when `folder` cannot be written: the sources do as well, slower.
 */
export const strippedProgram = (program: string, root: string, folder: string): StrippedProgram | null => {
  const sources = readSources(program);
  const directory = join(folder, digestOf(sources));
  const placeIn = (parent: string, path: string): string => join(parent, strippedPath(relative(root, path)));
  const found = { directory, path: placeIn(directory, program) };
  if (isReadable(found.path)) return found;
  let begun: string | undefined;
  try {
    mkdirSync(folder, { recursive: true });
    const made = mkdtempSync(`${directory}-`);
    begun = made;
    withoutWarning(() => {
      for (const [path, text] of sources) {
        mkdirSync(dirname(placeIn(made, path)), { recursive: true });
        writeFileSync(placeIn(made, path), strippedText(path, text));
      }
    });
    try {
      renameSync(made, directory);
    } catch {
      // Another process was first, with the same files.
      rmSync(made, { recursive: true });
    }
  } catch {
    if (begun !== undefined) rmSync(begun, { recursive: true, force: true });
    return null;
  }
  return isReadable(found.path) ? found : null;
};
