/**
 * Memory of fsck, a rebuild, a live inspection, both sides of a backup and a restore, on a ledger and one four times as
 * large, each in a separate process; then of a whole server that inspects its disk or sends a backup: live heap after
 * collection, mapped files, and the peak as seen by the system. A fifth of the records are versions of ids, all others
 * decisions. `npm run campaign:memory -- --records 50000 --only fsck`. Exit code 0 only if every peak is below 400 MB
 * and the live heap does not grow with the ledger. Linux only.
 */
import { execFile, spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deserialize, serialize } from "node:v8";
import { readU64be, u64be } from "@sigil/core/bytes";
import { describeDeployment } from "../../src/deployment/open.ts";
import { holdHeapSmall, keepHeapSmall } from "../../src/deployment/backup/small-heap.ts";
import { inspectionOf } from "../../src/deployment/inspection.ts";
import { describeForBackup } from "../../src/deployment/copy.ts";
import { restoreDeployment } from "../../src/deployment/restore.ts";
import type { Caller } from "../../src/identity/caller.ts";
import { inspectPinned, runFsck } from "../../src/ledger/fsck/fsck.ts";
import { Ledger } from "../../src/ledger/ledger.ts";
import { createBackupService, type BackupPart } from "../../src/deployment/backup/backup.ts";
import { BackupDirectory } from "../../src/deployment/backup/directory.ts";
import { BackupWriter } from "../../src/deployment/backup/writer.ts";
import { mappedBytes } from "../../src/storage/resident.ts";
import { decisionBody, userBody } from "../contract/memory-ledger.ts";
import { rawPublicKey } from "../../src/crypto/signing/sign.ts";
import { createDeployment, dataDirectory, openOptions } from "./deployment.ts";
import { readOptions } from "./options.ts";
import { serve } from "./starve/served.ts";

const mainProgram = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const unitRecords = 500;

const works = ["fsck", "rebuild", "live", "backup, served", "backup, taken", "restore"] as const;
const serverWorks = ["server inspected", "server backed up"] as const;

const { values, refuse } = readOptions(
  `campaign:memory [--records N] [--only WORK]…, at least ${unitRecords} records
works: ${[...works, ...serverWorks].join("; ")}; a restore needs both sides of a backup`,
  "--records 50000",
  {
    records: { type: "string", default: "20000" },
    only: { type: "string", multiple: true },
    of: { type: "string" },
    work: { type: "string" },
  },
);

const mib = 1 << 20;
const peakBytesMax = 400_000_000;
/** Allowed growth of the live heap from the smaller to the larger ledger: caches that fill. */
const grownBytesMax = 8 * mib;
/** Records between two collections. */
const recordsPerLook = 2000n;
/** Measure at each part of a backup, a chunk of 256 KiB. */
const partRecords = recordsPerLook;
/** Number of versions of ids per unit. */
const unitVersions = 100;

type Held = { readonly alive: number; readonly mapped: number; readonly peak: number };

const peakBytes = (): number =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;

/** Samples the live heap during the work. */
const watchHeld = () => {
  let [alive, mapped, next] = [0, 0, 0n];
  const look = async (done: bigint): Promise<void> => {
    if (done < next) return;
    next = done + recordsPerLook;
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    alive = Math.max(alive, heapUsed + external);
    mapped = Math.max(mapped, (await mappedBytes()) ?? 0);
  };
  return { look, held: (): Held => ({ alive, mapped, peak: peakBytes() }) };
};

const newId = (): string => "01890000-0000-7000-8000-000000000000";

type Watch = ReturnType<typeof watchHeld>["look"];

const root = { principal: "root", tenant: "system", level: "root" } as unknown as Caller;
const backupDirectory = (place: string): string => join(place, "backup");

/** The parts sent by the server, each prefixed with its length. */
const partsFile = (place: string): string => join(place, "parts");

/** The server's side of a backup. */
const serveBackup = async (place: string, look: Watch): Promise<void> => {
  await using ledger = await Ledger.open(await describeDeployment(openOptions(place)));
  const describe = () => describeForBackup(dataDirectory(place));
  const { signal } = new AbortController();
  await using parts = await open(partsFile(place), "w");
  let sent = 0n;
  for await (const part of createBackupService({ ledger, describe }).backup(root, 0n, signal)) {
    const bytes = serialize(part);
    await parts.write(u64be(BigInt(bytes.length)));
    await parts.write(bytes);
    sent += 1n;
    await look(sent * partRecords);
  }
};

const readParts = async function* (place: string): AsyncGenerator<BackupPart> {
  await using file = await open(partsFile(place));
  const length = new Uint8Array(8);
  while ((await file.read(length)).bytesRead > 0) {
    const bytes = new Uint8Array(Number(readU64be(length)));
    await file.read(bytes);
    yield deserialize(bytes) as BackupPart;
  }
};

/** The command's side of a backup. */
const takeBackup = async (place: string, look: Watch): Promise<void> => {
  await rm(backupDirectory(place), { recursive: true, force: true });
  await using directory = await BackupDirectory.open(backupDirectory(place));
  let writer: BackupWriter | undefined;
  let taken = 0n;
  for await (const part of readParts(place)) {
    if (part.kind === "head") {
      const { head } = part;
      writer = await BackupWriter.begin({ directory, head, newId, nowMs: Date.now });
    } else if (part.kind === "chunk") await writer?.take(part.bytes);
    else await writer?.finish(part);
    taken += 1n;
    await look(taken * partRecords);
  }
};

const restore = async (place: string, look: Watch): Promise<void> => {
  const directory = join(place, "restored");
  const { kekInputs } = openOptions(place);
  await restoreDeployment({
    from: backupDirectory(place),
    directory,
    kekInputs,
    inspector: (origin, data) => {
      const inspector = inspectionOf(origin, data);
      return {
        ...inspector,
        inspectGroup: async (group) => {
          await look(group.end);
          return inspector.inspectGroup(group);
        },
      };
    },
    newId,
    nowMs: Date.now,
  });
  await rm(directory, { recursive: true });
};

const inspect = async (place: string, rebuildIndexes: boolean, look: Watch): Promise<void> => {
  const report = await runFsck(await describeDeployment(openOptions(place)), {
    rebuildIndexes,
    inspectGroup: async ({ end }) => {
      await look(end);
      return [];
    },
  });
  if (!report.ok) throw new Error(`the ledger is not whole: ${report.first?.rule}`);
};

/** The server's inspection of its own disk, without the pauses. */
const inspectServed = async (place: string, look: Watch): Promise<void> => {
  // As in the server's service.
  using _ = holdHeapSmall();
  await using ledger = await Ledger.open(await describeDeployment(openOptions(place)));
  await using pinned = await ledger.pin();
  const rules = inspectionOf(ledger.reader.origin, dataDirectory(place));
  const report = await inspectPinned(pinned, () => undefined, {
    ...rules,
    inspectGroup: async (group) => {
      await look(group.end);
      return rules.inspectGroup(group);
    },
  });
  if (!report.ok) throw new Error(`the ledger is not whole: ${report.first?.rule}`);
};

const carryOut = async (place: string, work: string): Promise<Held> => {
  process.umask(0o077);
  // As in the command line.
  if (work !== "backup, served" && work !== "live") keepHeapSmall();
  const { look, held } = watchHeld();
  if (work === "backup, served") await serveBackup(place, look);
  else if (work === "backup, taken") await takeBackup(place, look);
  else if (work === "live") await inspectServed(place, look);
  else if (work === "restore") await restore(place, look);
  else await inspect(place, work === "rebuild", look);
  return held();
};

/** Appends decisions and records of typical size, up to the given number. */
const grow = async (place: string, from: number, to: number): Promise<void> => {
  await using ledger = await Ledger.open(await describeDeployment(openOptions(place)));
  for (let made = from; made < to; made += unitRecords) {
    await ledger.append(
      Array.from({ length: unitRecords }, (_, index) =>
        index < unitVersions
          ? userBody(`note/${made + index}/of-the-campaign`)
          : decisionBody(`decision-${made + index}-of-the-campaign`),
      ),
    );
  }
};

const bytesOf = async (place: string): Promise<number> => {
  let bytes = 0;
  for (const entry of await readdir(dataDirectory(place), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
};

const measure = (place: string, work: string): Held => {
  const words = ["--expose-gc", import.meta.filename, "--of", place, "--work", work];
  const child = spawnSync(process.execPath, words, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.status !== 0) throw new Error(`${work} ended with ${child.status}`);
  return JSON.parse(child.stdout) as Held;
};

const rootKeyFile = (place: string): string => join(place, "root.pem");

/** A server with its ports, its signing thread and a caller, unlike the parts of one that the other works are. */
const measureServer = async (place: string, work: string): Promise<Held> => {
  await using served = await serve(dataDirectory(place));
  const to = join(place, "backup-of-server");
  const command = work === "server inspected" ? ["fsck", "--live"] : ["backup", "--to", to];
  const caller = ["--server", served.target, "--key", rootKeyFile(place), "--principal", "root"];
  await promisify(execFile)(process.execPath, [mainProgram, ...command, ...caller]);
  await rm(to, { recursive: true, force: true });
  const [mapped, peak] = [served.mapped(), served.residentPeak()];
  const { heapUsed, external } = await served.memory();
  return { alive: heapUsed + external, mapped, peak };
};

const shown = (bytes: number): string => `${Math.round(bytes / mib)} MiB`;

const run = async (records: number, chosen: readonly string[]): Promise<boolean> => {
  const place = await mkdtemp(join(tmpdir(), "sigil-memory-"));
  const smaller = new Map<string, Held>();
  let holds = true;
  try {
    const { privateKey } = generateKeyPairSync("ed25519");
    await createDeployment(place, { rootKey: rawPublicKey(privateKey) });
    const pem = privateKey.export({ format: "pem", type: "pkcs8" });
    await writeFile(rootKeyFile(place), pem, { mode: 0o600 });
    let made = 0;
    for (const size of [records, 4 * records]) {
      await grow(place, made, size);
      made = size;
      for (const work of chosen) {
        const began = performance.now();
        const isOfServer = serverWorks.some((each) => each === work);
        const held = isOfServer ? await measureServer(place, work) : measure(place, work);
        const seconds = (performance.now() - began) / 1000;
        const before = smaller.get(work) ?? held;
        smaller.set(work, held);
        const isBound = held.peak < peakBytesMax && held.alive - before.alive < grownBytesMax;
        holds &&= isBound;
        const { alive, mapped, peak } = held;
        console.log(
          `${work} of ${size} records in ${shown(await bytesOf(place))}: ${shown(alive)} alive, ` +
            `${shown(mapped)} of files, ${shown(peak)} at its peak, ${seconds.toFixed(0)} s${isBound ? "" : ": too much"}`,
        );
      }
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
  return holds;
};

if (values.of === undefined) {
  const records = Number(values.records);
  const { only } = values;
  const chosen = [...works, ...serverWorks].filter((work) => only === undefined || only.includes(work));
  if (!Number.isInteger(records) || records < unitRecords || chosen.length === 0) refuse();
  process.exitCode = (await run(records, chosen)) ? 0 : 1;
} else console.log(JSON.stringify(await carryOut(values.of, values.work ?? "")));
