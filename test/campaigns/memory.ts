/**
 * What an inspection, a rebuild and a backup's server side hold in memory, over a ledger and one four times its size, each in
 * a process of its own: what is alive on the heap when it has just been collected, what is mapped of files, and the peak that
 * the system saw. `npm run campaign:memory -- --records 50000`. Exit code 0 only when every peak is below 400 MB and what
 * is alive does not grow with the ledger. Linux alone.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describeDeployment } from "../../src/deployment.ts";
import { runFsck } from "../../src/ledger/fsck.ts";
import { Ledger } from "../../src/ledger/ledger.ts";
import { mappedBytes } from "../../src/storage/resident.ts";
import { decisionBody } from "../contract/memory-ledger.ts";
import { createDeployment, openOptions } from "./deployment.ts";

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "20000" },
    of: { type: "string" },
    work: { type: "string" },
  },
});

const works = ["export", "fsck", "rebuild"] as const;
const mib = 1 << 20;
const peakBytesMax = 400 * mib;
/** Alive at the larger size beyond what is at the smaller: caches that fill, no more. */
const grownBytesMax = 8 * mib;
/** Between two collections. */
const recordsPerLook = 2000n;
const unitRecords = 500;

type Held = { readonly alive: number; readonly mapped: number; readonly peak: number };

const peakBytes = (): number =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;

/** Looks at what is alive now and then, as the work goes on. */
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

const carryOut = async (root: string, work: string): Promise<Held> => {
  const options = await describeDeployment(openOptions(root));
  const { look, held } = watchHeld();
  if (work === "export") {
    await using ledger = await Ledger.open(options);
    await using exported = await ledger.export(0n);
    for await (const { end } of exported.groups()) await look(end);
    return held();
  }
  const report = await runFsck(options, {
    rebuildIndexes: work === "rebuild",
    inspectGroup: async ({ end }) => {
      await look(end);
      return [];
    },
  });
  if (!report.ok) throw new Error(`the ledger is not whole: ${report.first?.rule}`);
  return held();
};

/** Decisions with a note of a usual size, until there are so many. */
const grow = async (root: string, from: number, to: number): Promise<void> => {
  await using ledger = await Ledger.open(await describeDeployment(openOptions(root)));
  for (let made = from; made < to; made += unitRecords) {
    await ledger.append(
      Array.from({ length: unitRecords }, (_, index) =>
        decisionBody(`decision-${made + index}-of-the-campaign`),
      ),
    );
  }
};

const bytesOf = async (root: string): Promise<number> => {
  let bytes = 0;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
};

const measure = (root: string, work: string): Held => {
  const words = ["--expose-gc", import.meta.filename, "--of", root, "--work", work];
  const child = spawnSync(process.execPath, words, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.status !== 0) throw new Error(`${work} ended with ${child.status}`);
  return JSON.parse(child.stdout) as Held;
};

const shown = (bytes: number): string => `${Math.round(bytes / mib)} MiB`;

const run = async (records: number): Promise<boolean> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-memory-"));
  const smaller = new Map<string, Held>();
  let holds = true;
  try {
    await createDeployment(root);
    let made = 0;
    for (const size of [records, 4 * records]) {
      await grow(root, made, size);
      made = size;
      for (const work of works) {
        const held = measure(root, work);
        const before = smaller.get(work) ?? held;
        smaller.set(work, held);
        const isBound = held.peak < peakBytesMax && held.alive - before.alive < grownBytesMax;
        holds &&= isBound;
        const { alive, mapped, peak } = held;
        console.log(
          `${work} of ${size} decisions in ${shown(await bytesOf(root))}: ${shown(alive)} alive, ` +
            `${shown(mapped)} of files, ${shown(peak)} at its peak${isBound ? "" : ": too much"}`,
        );
      }
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  return holds;
};

if (values.of === undefined) {
  const records = Number(values.records);
  if (!Number.isInteger(records) || records < unitRecords) {
    console.error(`usage: campaign:memory [--records N], at least ${unitRecords}`);
    process.exit(2);
  }
  process.exitCode = (await run(records)) ? 0 : 1;
} else console.log(JSON.stringify(await carryOut(values.of, values.work ?? "")));
