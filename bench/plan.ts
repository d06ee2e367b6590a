/**
 * Reproduces the ledger's steps before a write outside of it: builds the bytes of its batches from sample decisions,
 * with the deployment's data keys.
 */
import { generateKeyPairSync } from "node:crypto";
import { randomBytes } from "../src/crypto/random.ts";
import { createSigner, createThreadSigner, type Signer } from "../src/crypto/signing/sign.ts";
import { BlindTags } from "../src/ledger/layout/indexes.ts";
import { decisionKeysOf, DecisionIndex } from "../src/ledger/decisions/decision-index.ts";
import { prepareCommit, type PreparedCommit } from "../src/ledger/append/commit.ts";
import type { LedgerOptions } from "../src/ledger/ledger.ts";
import { prepareRecord, signRecord, type SignedRecord } from "../src/ledger/append/prepare.ts";
import { Sealer } from "../src/ledger/sealing/sealer.ts";
import { Summary } from "../src/ledger/layout/summary.ts";
import { summaryContext } from "../src/ledger/walk/summary-replay.ts";
import { emptyState, type LedgerState } from "../src/ledger/append/state.ts";
import { groupRecordsMax } from "../src/limits.ts";
import type { RecordBody } from "@sigil/core/record";
import { openMemoryStore } from "../src/storage/memory.ts";

export const groupRecords = groupRecordsMax;

export type Planner = {
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly signer: Signer;
  readonly checkpointSigner: Signer;
  readonly sign: (bodies: readonly RecordBody[]) => Promise<readonly SignedRecord[]>;
  /** Plans the next group's batch, in sequence as in the ledger. */
  readonly plan: (records: readonly SignedRecord[]) => Promise<PreparedCommit>;
};

const freshKey = () => generateKeyPairSync("ed25519").privateKey;

export const createPlanner = async (options: LedgerOptions): Promise<Planner> => {
  const { origin } = options;
  // Any keys suffice for measuring signatures.
  const [signer, checkpointSigner] = [createThreadSigner(freshKey()), createSigner(freshKey())];
  const store = await openMemoryStore();
  const sealer = new Sealer({ origin, keys: options.dataKeys, store: () => store });
  const tags = new BlindTags(options.indexKey);
  const decisions = new DecisionIndex({
    store: () => store,
    keys: decisionKeysOf(origin, tags),
    onFault: () => {},
  });
  const summary = Summary.empty(await summaryContext(options));
  let state: LedgerState = emptyState();
  const readHash = () => Promise.reject(new Error("decisions have no earlier versions"));
  return {
    sealer,
    tags,
    signer,
    checkpointSigner,
    sign: (bodies) => Promise.all(bodies.map((body) => signRecord(prepareRecord(body), { signer, origin }))),
    plan: async (records) => {
      const units = records.map((record) => ({ records: [record], extraOps: () => [] }));
      const sources = { store, sealer, tags, decisions, readHash, expired: async () => [] };
      const context = { ...sources, summary, randomBytes, origin, checkpointSigner };
      const plan = await prepareCommit(state, units, context);
      ({ state } = plan);
      plan.accept();
      return plan;
    },
  };
};
