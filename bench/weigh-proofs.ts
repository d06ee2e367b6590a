/** Proofs of a ledger of a given size: how long each takes, and how many bytes it has. */
import { gatherEvidence } from "../src/audit/bundle.ts";
import { actorInput, answerParent } from "./actor.ts";
import { bodiesLike, openScratch, sampleBody, type Scratch } from "./scratch.ts";
import { medianOf } from "./statistics.ts";

export type ProofCost = {
  readonly medianUs: number;
  /** Median. */
  readonly bytes: number;
};

export type ProofSizes = {
  readonly records: number;
  readonly inclusion: ProofCost;
  readonly consistency: ProofCost;
  readonly evidence: ProofCost;
};

const samples = 200;
const appendRecords = 500;
const hashBytes = 32;

const scratch = actorInput<Scratch>();
const ledger = await openScratch(scratch);
const { reader } = ledger;
const first = await sampleBody(scratch, ledger);
const nextBody = bodiesLike(first);

const growTo = async (size: bigint): Promise<void> => {
  while (reader.size < size) {
    const count = Math.min(appendRecords, Number(size - reader.size));
    await ledger.append(Array.from({ length: count }, nextBody));
  }
};

/** A size or position at random, above 0 and below the ledger's size. */
const anyBelow = (size: bigint): bigint => 1n + BigInt(Math.floor(Math.random() * Number(size - 1n)));

const costOf = async (prove: () => Promise<number>): Promise<ProofCost> => {
  const [us, bytes]: [number[], number[]] = [[], []];
  for (let sample = 0; sample < samples; sample += 1) {
    const startMs = performance.now();
    bytes.push(await prove());
    us.push((performance.now() - startMs) * 1000);
  }
  return { medianUs: medianOf(us), bytes: medianOf(bytes) };
};

const decisionAt = async (size: bigint) => {
  for (;;) {
    const record = await reader.readAt(anyBelow(size));
    if (record.body.kind === "frozen_chain") return record;
  }
};

const weigh = async (records: number): Promise<ProofSizes> => {
  const size = BigInt(records);
  await growTo(size);
  const { trees } = reader;
  const tree = trees.newest;
  const call = { signal: new AbortController().signal };
  return {
    records,
    inclusion: await costOf(
      async () => (await trees.included(tree, anyBelow(size))).proof.length * hashBytes,
    ),
    consistency: await costOf(async () => (await trees.extending(tree, anyBelow(size))).length * hashBytes),
    evidence: await costOf(async () => {
      const record = await decisionAt(size);
      return (await gatherEvidence(reader, record, tree, { mayRead: () => true, call })).length;
    }),
  };
};

answerParent({ weigh }, () => ledger.close());
