/**
 * The floor under the ledger: the very keys and values it would write, made beforehand, put straight into `level`, one
 * synchronous batch a group. In a process of its own.
 */
import { Level } from "level";
import type { StoreOp } from "../src/storage/store.ts";
import { actorInput, answerParent } from "./actor.ts";
import { createPlanner, groupRecords } from "./plan.ts";
import { bodiesLike, describeScratch, openScratch, sampleBody, type Scratch } from "./scratch.ts";

export type LevelInput = { readonly scratch: Scratch; readonly path: string };
export type LevelDrive = { readonly groups: number };
export type LevelDriven = { readonly records: number; readonly elapsedMs: number; readonly cpuUs: number };

const { scratch, path } = actorInput<LevelInput>();
const ledger = await openScratch(scratch);
const nextBody = bodiesLike(await sampleBody(scratch, ledger));
await ledger.close();
const planner = await createPlanner(await describeScratch(scratch));

// As storage/level.ts opens it.
const level = new Level<Uint8Array, Uint8Array>(path, {
  keyEncoding: "view",
  valueEncoding: "view",
  compression: false,
  cacheSize: 32 << 20,
  writeBufferSize: 16 << 20,
  maxFileSize: 8 << 20,
});
await level.open();

// A group's runs of postings are merged into longer ones as they grow: that deletes.
const toEntry = (op: StoreOp) =>
  op.kind === "put"
    ? ({ type: "put", key: op.key, value: op.value } as const)
    : ({ type: "del", key: op.key } as const);

const nextBatch = async () => {
  const signed = await planner.sign(Array.from({ length: groupRecords }, nextBody));
  return (await planner.plan(signed)).ops.map(toEntry);
};

const cpuUsed = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const drive = async ({ groups }: LevelDrive): Promise<LevelDriven> => {
  const batches = [];
  while (batches.length < groups) batches.push(await nextBatch());
  const startMs = performance.now();
  const startUs = cpuUsed();
  for (const batch of batches) await level.batch(batch, { sync: true });
  return {
    records: groups * groupRecords,
    elapsedMs: performance.now() - startMs,
    cpuUs: cpuUsed() - startUs,
  };
};

answerParent({ drive }, () => level.close());
