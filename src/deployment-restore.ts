/**
 * A deployment made again from a backup. Everything happens in `DIR.partial`: the files, the records, the indexes, the whole
 * inspection, the record that says that the ledger was restored. `DIR` appears last and whole, by one rename; killed before
 * that, there is no `DIR`, and the next run begins anew. Source: docs/operating/backup.md.
 */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { equalBytes } from "./record/bytes.ts";
import { fail } from "./record/errors.ts";
import { formatRestoration } from "./record/kinds.ts";
import type { RecordBody } from "./record/record.ts";
import type { Checkpoint } from "./merkle/checkpoint.ts";
import { formatKekSource, type KekInputs, type KekSource } from "./keys/kek.ts";
import { syncDirectory } from "./keys/private-file.ts";
import { runFsck, type FsckOptions, type FsckProgress } from "./ledger/fsck.ts";
import { importEntries } from "./ledger/import.ts";
import { Ledger, type LedgerOptions } from "./ledger/ledger.ts";
import { BackupReader } from "./operations/backup-reader.ts";
import { kekName } from "./operations/manifest.ts";
import { openLevelStore } from "./storage/level.ts";
import type { Store } from "./storage/store.ts";
import { describeDeployment } from "./deployment.ts";
import {
  contentFormat,
  firstKeys,
  readAnyDescription,
  writeDescription,
  type Description,
} from "./deployment-file.ts";
import { runSteps } from "./deployment-migrate.ts";
import { planMigrations } from "./deployment-migrations.ts";
import { clearScratch, entriesOf } from "./deployment-scratch.ts";

export type RestoreProgress =
  | FsckProgress
  | { readonly step: "copy"; readonly done: bigint; readonly total: bigint };

export type RestoreOptions = {
  readonly from: string;
  readonly directory: string;
  /** A checkpoint the backup must not be behind. */
  readonly notBefore?: Checkpoint | undefined;
  /** Where the key-encryption key is on this machine; unless told, where the backup's deployment had it. */
  readonly kekSource?: KekSource | undefined;
  readonly kekInputs: KekInputs;
  /** Rules above the ledger's own, as `sigil fsck` applies them. */
  readonly inspector?: (origin: string) => NonNullable<FsckOptions["inspectGroup"]>;
  readonly newId: (nowMs: number) => string;
  readonly nowMs: () => number;
  readonly onProgress?: (progress: RestoreProgress) => void;
};

export type Restored = {
  /** Records the backup held. */
  readonly size: bigint;
  readonly checkpoint: string;
  /** As the restoration record names it. */
  readonly backup: string;
  /** Where that record stands. */
  readonly position: bigint;
};

const writePrivate = async (path: string, content: Uint8Array): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, content, { flag: "wx", mode: 0o600, flush: true });
};

/** Description and keys, and where the key that opens them is now. */
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
    else if (file.path === "deployment.json") await writePrivate(join(partial, file.path), file.content);
    else held.push(file);
  }
  // A backup that an older program made brings its format along.
  const description = await readAnyDescription(partial);
  if (description.origin !== reader.origin || description.genesis !== reader.genesis) {
    refuse("its deployment.json is another deployment's");
  }
  for (const { path, content } of held) {
    await writePrivate(join(partial, description.keys + path.slice(firstKeys.length)), content);
  }
  await mkdir(join(partial, description.keys, "data"), { recursive: true, mode: 0o700 });
  const source = options.kekSource ?? (kek && (await placeKek(kek, options.directory)));
  if (source === undefined) return description;
  const placed = { ...description, kek: { ...description.kek, source: formatKekSource(source) } };
  await writeDescription(partial, placed);
  return placed;
};

/** A key that came with the backup lies beside the data, as one that `sigil init` made. */
const placeKek = async (kek: Uint8Array, directory: string): Promise<KekSource> => {
  const path = `${resolve(directory)}.kek`;
  const there = await readFile(path).catch(() => undefined);
  if (there === undefined) await writePrivate(path, kek);
  // A key that is there may be the only one of its kind.
  else if (!equalBytes(there, kek)) {
    fail({ kind: "usage", rule: `${path} is another key; move it away, or say --kek` });
  }
  return { kind: "file", path };
};

const inspect = async (ledger: LedgerOptions, options: RestoreOptions): Promise<void> => {
  const { inspector, onProgress } = options;
  const report = await runFsck(ledger, {
    rebuildIndexes: true,
    ...(inspector === undefined ? {} : { inspectGroup: inspector(ledger.origin) }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const { first, total } = report;
  if (report.ok) return;
  const where = first?.position === null || first === undefined ? "" : ` at position ${first.position}`;
  const rule = `its ledger has ${total} problems, the first${where}: ${first?.step ?? ""}: ${first?.rule ?? ""}`;
  fail({ kind: "backupRefused", backup: options.from, rule });
};

/** The ledger says itself that it was restored: whoever holds a later checkpoint can see why it is not in it. */
const announce = async (
  ledgerOptions: LedgerOptions,
  reader: BackupReader,
  { newId, nowMs }: RestoreOptions,
): Promise<bigint> => {
  const { size, checkpoint } = reader.state;
  const ts = nowMs();
  const body: RecordBody = {
    kind: "restoration",
    schemaVersion: 1,
    id: `restoration/${newId(ts)}`,
    tenant: "system",
    ts,
    space: "system",
    payload: formatRestoration({ size, checkpoint, backup: reader.name }),
    links: [{ label: "genesis", target: ledgerOptions.genesis }],
    prev: null,
  };
  await using ledger = await Ledger.open(ledgerOptions);
  const [appended] = await ledger.append([body]);
  return appended?.position ?? size;
};

/** Everything but the rename. */
const rebuild = async (reader: BackupReader, partial: string, options: RestoreOptions): Promise<bigint> => {
  const { notBefore, kekInputs, nowMs, onProgress } = options;
  const description = await writeFiles(reader, partial, options);
  const openStore = (): Promise<Store> => openLevelStore(join(partial, "ledger"));
  // The wrong key-encryption key is recognised here, before anything is copied.
  const ledger = await describeDeployment({ directory: partial, kekInputs, nowMs, description, openStore });
  const store = await ledger.openStore();
  try {
    const total = reader.state.size;
    await importEntries(
      store,
      reader.entries(notBefore, (done) => onProgress?.({ step: "copy", done, total })),
    );
  } finally {
    await store.close();
  }
  const plan = planMigrations(contentFormat(description));
  await writeDescription(partial, await runSteps(description, plan, { directory: partial, ledger }));
  await inspect(ledger, options);
  return announce(ledger, reader, options);
};

/**
 * @throws directoryNotEmpty, backupRefused, newerFormat, wrongKeyEncryptionKey, invalidConfig, notFound, looseMode: there
 * is no deployment then.
 */
export const restoreDeployment = async (options: RestoreOptions): Promise<Restored> => {
  const { from, directory, notBefore } = options;
  const reader = await BackupReader.open(from);
  if (notBefore !== undefined) reader.refuseBehind(notBefore);
  if ((await entriesOf(directory)).length > 0) fail({ kind: "directoryNotEmpty", path: directory });
  const partial = `${directory}.partial`;
  await clearScratch(partial);
  let position: bigint;
  try {
    position = await rebuild(reader, partial, options);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  await rename(partial, directory);
  await syncDirectory(dirname(resolve(directory)));
  return { size: reader.state.size, checkpoint: reader.state.checkpoint, backup: reader.name, position };
};
