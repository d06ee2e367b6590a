/**
 * A backup in one file: the backup directory as a tar archive. An archive cannot be extended, so each run works in a
 * directory beside it, `FILE.parts`, and replaces the old file once the new one has been read back. After a crash at
 * any time the old file is intact and the next run resumes from `FILE.parts`. Source: docs/spec/backup.md §4.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { create, extract, list } from "tar";
import { fail } from "../../errors.ts";
import { syncDirectory } from "../../crypto/files/private-file.ts";
import { readManifest } from "./directory.ts";
import { formatManifest, segmentPath, stateDirectory, type Manifest } from "./manifest.ts";

const manifestName = "manifest.json";
const memberPattern = /^(?:manifest\.json|segments\/[0-9-]+\.seg|state-\d+\/[A-Za-z0-9._/-]+)$/;

const kindOf = async (path: string): Promise<"file" | "directory" | "absent"> => {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return "absent";
  return found.isFile() ? "file" : "directory";
};

/** True for an existing file, or for a non-existing name that ends in .tar. */
export const isBackupFile = async (path: string): Promise<boolean> => {
  const kind = await kindOf(path);
  return kind === "file" || (kind === "absent" && path.endsWith(".tar"));
};

/** The directory in which a backup into that file is prepared. */
const partsOf = (file: string): string => `${file}.parts`;

/** @throws backupRefused for anything but an archive of a backup. */
const unpack = async (file: string, directory: string): Promise<void> => {
  const refuse = (rule: string, cause?: unknown): never =>
    fail({ kind: "backupRefused", backup: file, rule }, { cause });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  let unknown: string | undefined;
  let fault: string | undefined;
  try {
    await extract({
      file,
      cwd: directory,
      // Throwing here would leave writes in progress; keep the fault until all have ended.
      onwarn: (code) => void (fault ??= code),
      // Extracts only regular files with names of a backup.
      filter: (path, entry) => {
        const type = "type" in entry ? entry.type : "nothing";
        const isMember = type === "File" && memberPattern.test(path) && !path.includes("..");
        if (!isMember) unknown ??= `${type} ${path}`;
        return isMember;
      },
    });
  } catch (error) {
    refuse("it is no whole tar archive", error);
  }
  if (fault !== undefined) refuse(`it is no whole tar archive (${fault})`);
  if (unknown !== undefined) refuse(`it holds ${unknown}, which is no part of a backup`);
};

/** The directory to continue in. @throws backupRefused. */
export const openParts = async (file: string): Promise<string> => {
  const parts = partsOf(file);
  if ((await kindOf(parts)) !== "absent" || (await kindOf(file)) === "absent") return parts;
  const unfinished = `${parts}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await unpack(file, unfinished);
  await rename(unfinished, parts);
  return parts;
};

/** Digest of every file that the manifest names, and of the manifest. */
const wantedDigests = (manifest: Manifest): ReadonlyMap<string, string> => {
  const own = createHash("sha256").update(formatManifest(manifest)).digest("hex");
  const { state, segments } = manifest;
  return new Map([
    [manifestName, own],
    ...segments.map((segment) => [segmentPath(segment), segment.sha256] as const),
    ...(state?.files ?? []).map(
      ({ path, sha256 }) => [`${stateDirectory(state?.serial ?? 0)}/${path}`, sha256] as const,
    ),
  ]);
};

/** Digests of the archive's files, read back from disk. */
const readDigests = async (file: string): Promise<ReadonlyMap<string, string>> => {
  const found = new Map<string, string>();
  await list({
    file,
    strict: true,
    onReadEntry: (entry) => {
      const digest = createHash("sha256");
      entry.on("data", (chunk: Uint8Array) => digest.update(chunk));
      entry.on("end", () => {
        if (entry.type === "File") found.set(entry.path, digest.digest("hex"));
      });
    },
  });
  return found;
};

const syncFile = async (path: string): Promise<void> => {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
};

/** Packs the complete backup in `FILE.parts` into the file, then removes the parts. @throws backupRefused. */
export const packParts = async (file: string): Promise<void> => {
  const parts = partsOf(file);
  const refuse = (rule: string): never => fail({ kind: "backupRefused", backup: parts, rule });
  const manifest = (await readManifest(parts)) ?? refuse("it holds no backup");
  if (manifest.state === null) refuse("its first backup has not come to its end");
  const wanted = wantedDigests(manifest);
  const packed = `${file}.new`;
  await create({ file: packed, cwd: parts, portable: true, strict: true, mode: 0o600 }, [...wanted.keys()]);
  await syncFile(packed);
  const found = await readDigests(packed);
  for (const [path, sha256] of wanted) {
    if (found.get(path) !== sha256) refuse(`${path} did not come into ${packed} as it was written`);
  }
  await rename(packed, file);
  await syncDirectory(dirname(resolve(file)));
  await rm(parts, { recursive: true, force: true });
};

/** A backup to read from: the directory itself, or a file unpacked into a scratch directory. */
export const openBackupSource = async (
  from: string,
  scratch: string,
): Promise<AsyncDisposable & { readonly directory: string }> => {
  if ((await kindOf(from)) !== "file") return { directory: from, [Symbol.asyncDispose]: async () => {} };
  const names = (await kindOf(scratch)) === "absent" ? [] : await readdir(scratch);
  const isOurs = (name: string): boolean => /^(?:manifest\.json|segments|state-\d+)$/.test(name);
  if (!names.every(isOurs)) fail({ kind: "directoryNotEmpty", path: scratch });
  const remove = (): Promise<void> => rm(scratch, { recursive: true, force: true });
  await remove();
  try {
    await unpack(from, scratch);
  } catch (error) {
    await remove();
    throw error;
  }
  return { directory: scratch, [Symbol.asyncDispose]: remove };
};
