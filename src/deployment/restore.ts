/**
 * Restores a deployment from a backup. Everything happens in `DIR.partial`: files, records, indexes, fsck, and the
 * record that says that the ledger was restored. `DIR` appears last, complete, by one rename; after a crash before that
 * there is no `DIR`, and the next run starts over. Source: docs/operating/backup.md.
 */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { equalBytes, type Hash, type PublicKey } from "@sigil/core/bytes";
import { fail } from "../errors.ts";
import { formatRestoration, restorationPrefix, systemBody } from "@sigil/core/record";
import {
  parseCheckpoint,
  type Checkpoint,
  cosignerName,
  verifyCosigners,
  parseNote,
  type Note,
} from "@sigil/core/merkle";
import { formatCustodySource, parseCustodySource, type CustodySource } from "../crypto/custody.ts";
import { formatKekSource, type KekInputs, type KekSource } from "../crypto/kek.ts";
import { syncDirectory } from "../crypto/files/private-file.ts";
import { verifyForeign } from "@sigil/core/keys";
import { runFsck, type FsckOptions, type FsckProgress } from "../ledger/fsck/fsck.ts";
import { importEntries } from "../ledger/copy/import.ts";
import { Ledger, type LedgerOptions } from "../ledger/ledger.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import { openBackupSource } from "./backup/file.ts";
import { BackupReader } from "./backup/reader.ts";
import { codeDirectoryName } from "../modules/code-files.ts";
import { kekName } from "./backup/manifest.ts";
import { openLevelStore } from "../storage/level.ts";
import type { Store } from "../storage/store.ts";
import { describeDeployment } from "./open.ts";
import { contentFormat, firstKeys, readAnyDescription, writeDescription, type Description } from "./file.ts";
import { runSteps } from "./migrate.ts";
import { planMigrations } from "./migrations.ts";
import { clearScratch, entriesOf } from "./scratch.ts";

export type RestoreProgress =
  | FsckProgress
  | { readonly step: "copy"; readonly done: bigint; readonly total: bigint };

export type RestoreOptions = {
  readonly from: string;
  readonly directory: string;
  /** Signed notes held by others; the backup must not be older than their checkpoints. */
  readonly notBefore?: readonly string[];
  /** The witnesses at a ledger size, whose cosignatures are verified. */
  readonly witnesses?: (ledger: LedgerReader, size: bigint) => Promise<readonly Witness[]>;
  /** Source of the key-encryption key on this machine; default as in the backup. */
  readonly kekSource?: KekSource | undefined;
  /** Token with the signing keys on this machine; default as in the backup. */
  readonly custody?: CustodySource | undefined;
  readonly kekInputs: KekInputs;
  /** Rules besides the ledger's own, as in `sigil fsck`. */
  readonly inspector?: (
    origin: string,
    directory: string,
  ) => Pick<FsckOptions, "inspectGroup" | "inspectEnd">;
  readonly newId: (nowMs: number) => string;
  readonly nowMs: () => number;
  readonly onProgress?: (progress: RestoreProgress) => void;
};

type Witness = { readonly id: string; readonly publicKey: PublicKey };

/** A witness of the restored ledger with a valid cosignature on a given note. */
export type Vouched = { readonly witness: string; readonly size: bigint; readonly timeSeconds: bigint };

export type Restored = {
  readonly vouched: readonly Vouched[];
  /** Number of records in the backup. */
  readonly size: bigint;
  readonly checkpoint: string;
  /** The backup's name in the restoration record. */
  readonly backup: string;
  /** Position of the restoration record. */
  readonly position: bigint;
};

const writePrivate = async (path: string, content: Uint8Array): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, content, { flag: "wx", mode: 0o600, flush: true });
};

/** Writes description, code and keys; returns the current source of the key-encryption key. */
const writeFiles = async (
  reader: BackupReader,
  partial: string,
  options: RestoreOptions,
): Promise<Description> => {
  const refuse = (rule: string): never => fail({ kind: "backupRefused", backup: options.from, rule });
  const held: { readonly path: string; readonly content: Uint8Array }[] = [];
  let kek: Uint8Array | undefined;
  for await (const file of reader.files()) {
    if (file.path === kekName) kek = file.content;
    else if (file.path === "deployment.json" || file.path.startsWith(`${codeDirectoryName}/`))
      await writePrivate(join(partial, file.path), file.content);
    else held.push(file);
  }
  // A backup made by an older program may have an older format.
  const description = await readAnyDescription(partial);
  if (description.origin !== reader.origin || description.genesis !== reader.genesis) {
    refuse("its deployment.json is another deployment's");
  }
  for (const { path, content } of held) {
    await writePrivate(join(partial, description.keys + path.slice(firstKeys.length)), content);
  }
  await mkdir(join(partial, description.keys, "data"), { recursive: true, mode: 0o700 });
  const source = options.kekSource ?? (kek && (await placeKek(kek, options.directory)));
  const placed = {
    ...description,
    ...(source === undefined ? {} : { kek: { ...description.kek, source: formatKekSource(source) } }),
    custody: custodyNow(description.custody, options.custody),
  };
  await writeDescription(partial, placed);
  return placed;
};

/** Signing keys keep their kind of place: only the URI of a token may change. */
const custodyNow = (before: string, told: CustodySource | undefined): string => {
  if (told === undefined) return before;
  const had = parseCustodySource(before);
  if (had.kind !== told.kind) {
    const where = had.kind === "file" ? "in its files" : "on a token";
    fail({ kind: "usage", rule: `--custody: the backup's deployment has its signing keys ${where}` });
  }
  if (had.kind === "file" || told.kind === "file") return before;
  const { object } = had.uri;
  return formatCustodySource({
    kind: "pkcs11",
    uri: { ...(object === undefined ? {} : { object }), ...told.uri },
  });
};

/** A key contained in the backup is written beside the data directory, as by `sigil init`. */
const placeKek = async (kek: Uint8Array, directory: string): Promise<KekSource> => {
  const path = `${resolve(directory)}.kek`;
  const there = await readFile(path).catch(() => undefined);
  if (there === undefined) await writePrivate(path, kek);
  // Never overwrites an existing key, which may be the only copy.
  else if (!equalBytes(there, kek)) {
    fail({ kind: "usage", rule: `${path} is another key; move it away, or say --kek` });
  }
  return { kind: "file", path };
};

const inspect = async (ledger: LedgerOptions, partial: string, options: RestoreOptions): Promise<void> => {
  const { inspector, onProgress } = options;
  const report = await runFsck(ledger, {
    rebuildIndexes: true,
    ...inspector?.(ledger.origin, partial),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const { first, total } = report;
  if (report.ok) return;
  const where = first?.position === null || first === undefined ? "" : ` at position ${first.position}`;
  const rule = `its ledger has ${total} problems, the first${where}: ${first?.step ?? ""}: ${first?.rule ?? ""}`;
  fail({ kind: "backupRefused", backup: options.from, rule });
};

type Held = { readonly note: Note; readonly checkpoint: Checkpoint };

/** @throws malformedCheckpoint. */
const parseHeld = (text: string): Held => {
  const note = parseNote(text);
  return { note, checkpoint: parseCheckpoint(note.text) };
};

/**
 * Verifies the cosignatures on the notes. The restored ledger contains their checkpoints, so it knows the witnesses at
 * those sizes.
 * @throws backupRefused for a cosignature that names a witness but does not verify.
 */
const findVouched = async (
  ledger: Ledger,
  held: readonly Held[],
  { witnesses, from }: RestoreOptions,
): Promise<readonly Vouched[]> => {
  const found: Vouched[] = [];
  for (const { note, checkpoint } of held) {
    const { size } = checkpoint;
    if (size === 0n || witnesses === undefined) continue;
    for (const { id, publicKey } of await witnesses(ledger.reader, size)) {
      const cosigner = { name: cosignerName(ledger.reader.origin, id), publicKey, verify: verifyForeign };
      const by = await verifyCosigners(note, [cosigner]).catch((cause: unknown) => {
        const rule = `the checkpoint of size ${size} bears a cosignature of witness ${id} that does not verify`;
        return fail({ kind: "backupRefused", backup: from, rule }, { cause });
      });
      found.push(...by.map(({ timeSeconds }) => ({ witness: id, size, timeSeconds })));
    }
  }
  return found;
};

/** Records the restoration in the ledger, which explains to holders of later checkpoints why they do not match. */
const announce = async (
  ledger: Ledger,
  genesis: Hash,
  reader: BackupReader,
  { newId, nowMs }: RestoreOptions,
): Promise<bigint> => {
  const { size, checkpoint } = reader.state;
  const ts = nowMs();
  const body = systemBody({
    kind: "restoration",
    id: restorationPrefix + newId(ts),
    ts,
    payload: formatRestoration({ size, checkpoint, backup: reader.name }),
    links: [{ label: "genesis", target: genesis }],
  });
  const [appended] = await ledger.append([body]);
  return appended?.position ?? size;
};

/** All steps but the final rename. */
const rebuild = async (
  reader: BackupReader,
  partial: string,
  options: RestoreOptions,
  held: readonly Held[],
): Promise<Pick<Restored, "position" | "vouched">> => {
  const { kekInputs, nowMs, onProgress } = options;
  const description = await writeFiles(reader, partial, options);
  const openStore = (): Promise<Store> => openLevelStore(join(partial, "ledger"));
  // Detects a wrong key-encryption key before records are copied.
  const ledger = await describeDeployment({ directory: partial, kekInputs, nowMs, description, openStore });
  const store = await ledger.openStore();
  try {
    const total = reader.state.size;
    await importEntries(
      store,
      reader.entries(
        held.map(({ checkpoint }) => checkpoint),
        (done) => onProgress?.({ step: "copy", done, total }),
      ),
    );
  } finally {
    await store.close();
  }
  const plan = planMigrations(contentFormat(description));
  await writeDescription(partial, await runSteps(description, plan, { directory: partial, ledger }));
  await inspect(ledger, partial, options);
  await using restored = await Ledger.open(ledger);
  const vouched = await findVouched(restored, held, options);
  return { vouched, position: await announce(restored, ledger.genesis, reader, options) };
};

/**
 * @throws directoryNotEmpty, backupRefused, newerFormat, wrongKeyEncryptionKey, invalidConfig, notFound, looseMode: no
 * deployment is created.
 */
export const restoreDeployment = async (options: RestoreOptions): Promise<Restored> => {
  const { from, directory } = options;
  const held = (options.notBefore ?? []).map(parseHeld);
  await using source = await openBackupSource(from, `${directory}.unpacked`);
  const reader = await BackupReader.open(source.directory, from);
  for (const { checkpoint } of held) reader.refuseBehind(checkpoint);
  if ((await entriesOf(directory)).length > 0) fail({ kind: "directoryNotEmpty", path: directory });
  const partial = `${directory}.partial`;
  await clearScratch(partial);
  let made: Pick<Restored, "position" | "vouched">;
  try {
    made = await rebuild(reader, partial, options, held);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  await rename(partial, directory);
  await syncDirectory(dirname(resolve(directory)));
  return { size: reader.state.size, checkpoint: reader.state.checkpoint, backup: reader.name, ...made };
};
