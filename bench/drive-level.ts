/**
 * The lower bound for the ledger: the same keys and values, prepared in advance, written directly to `level`, one
 * synchronous batch per group. In a separate process.
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

// The same options as in storage/level.ts.
const level = new Level<Uint8Array, Uint8Array>(path, {
  keyEncoding: "view",
  valueEncoding: "view",
  compression: false,
  cacheSize: 32 << 20,
  writeBufferSize: 16 << 20,
  maxFileSize: 8 << 20,
});
await level.open();

// Merging postings into longer segments also deletes keys.
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
