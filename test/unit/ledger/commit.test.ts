/**
 * One commit before it is written: everything is loaded first, and the plan then waits for nothing and changes nothing.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseHash, toHex } from "../../../src/core/bytes.ts";
import { CommitLoad, type LoadSources } from "../../../src/ledger/append/load.ts";
import { planCommit, prepareCommit, type SignedUnit } from "../../../src/ledger/append/commit.ts";
import { prepareRecord, signRecord } from "../../../src/ledger/append/prepare.ts";
import { emptyState } from "../../../src/ledger/append/state.ts";
import { DecisionIndex, decisionKeysOf } from "../../../src/ledger/decisions/decision-index.ts";
import { erasedError, type Erasure } from "../../../src/ledger/layout/erasure.ts";
import { BlindTags } from "../../../src/ledger/layout/indexes.ts";
import { Summary } from "../../../src/ledger/layout/summary.ts";
import { Sealer } from "../../../src/ledger/sealing/sealer.ts";
import { summaryContext } from "../../../src/ledger/walk/summary-replay.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { fail } from "../../../src/errors.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { createWorld, decisionBody, memoryDataKeys, userBody } from "../../contract/memory-ledger.ts";

const hash = parseHash(new Uint8Array(32).fill(7));

const createBench = async () => {
  const { options } = await createWorld();
  const { origin, recordSigner: signer, checkpointSigner } = options;
  const store = await openMemoryStore();
  const erased = new Map<string, Erasure>();
  const keys = memoryDataKeys();
  const sealer = new Sealer({ origin, keys, store: () => store, erasureOf: (tenant) => erased.get(tenant) });
  const tags = new BlindTags(options.indexKey);
  const decisions = new DecisionIndex({
    store: () => store,
    keys: decisionKeysOf(origin, tags),
    onFault: () => {},
  });
  const sources: LoadSources = {
    store,
    sealer,
    tags,
    decisions,
    readHash: () => Promise.reject(new Error("there are no earlier versions")),
    expired: async () => [],
  };
  const summary = Summary.empty(await summaryContext(options));
  const context = {
    ...sources,
    summary,
    randomBytes: (bytes: number) => new Uint8Array(bytes),
    origin,
    checkpointSigner,
  };
  const unitOf = async (bodies: readonly RecordBody[], extraOps: SignedUnit["extraOps"] = () => []) => {
    const records = await Promise.all(
      bodies.map((body) => signRecord(prepareRecord(body), { signer, origin })),
    );
    return { records, extraOps };
  };
  const erase = (tenant: string): void => {
    erased.set(tenant, { tenant, position: 0n, hash, reported: false });
    for (const each of [sealer, tags, decisions]) each.forget(tenant);
  };
  return { sources, context, sealer, store, unitOf, erase };
};

const loadedOf = async (load: CommitLoad) => {
  while (load.loaded === undefined) await load.run();
  return load.loaded;
};

describe("a commit", () => {
  it("is planned again to the same bytes, and changes nothing until it is accepted", async () => {
    const { sources, context, sealer, unitOf } = await createBench();
    const state = emptyState();
    const units = await Promise.all([
      unitOf([userBody("a"), decisionBody("d")]),
      unitOf([userBody("a")]),
      unitOf([userBody("b", {}, { tenant: "umbrella" })]),
    ]);
    const loaded = await loadedOf(new CommitLoad(units, sources));
    const plan = planCommit(state, units, loaded, context);
    expect(plan).not.to.be.instanceOf(Promise);
    expect(plan.outcomes.map(({ kind }) => kind)).to.deep.equal(["accepted", "refused", "accepted"]);
    expect(plan.seals).to.deep.equal([
      { tenant: "acme", version: 1, seals: 2, first: 0n },
      { tenant: "umbrella", version: 1, seals: 1, first: 2n },
    ]);
    const again = planCommit(state, units, loaded, context);
    expect([again.ops, again.seals, toHex(again.root)]).to.deep.equal([
      plan.ops,
      plan.seals,
      toHex(plan.root),
    ]);
    sealer.take(plan.seals);
    expect(planCommit(state, units, loaded, context).seals).to.deep.include({
      tenant: "acme",
      version: 1,
      seals: 4,
      first: 0n,
    });
  });

  it("has its seals counted before it is written, and none when everything is refused", async () => {
    const { context, unitOf } = await createBench();
    const refused = await unitOf([userBody("a", {}, { prev: hash })]);
    const state = emptyState();
    const none = await prepareCommit(state, [refused], context);
    expect([none.ops, none.state]).to.deep.equal([[], state]);
    const loaded = await loadedOf(new CommitLoad([refused], context));
    expect(planCommit(state, [refused], loaded, context).seals).to.deep.equal([]);
    const unit = await unitOf([userBody("a")]);
    const checkpointSigner = {
      ...context.checkpointSigner,
      sign: () => Promise.reject(new Error("planned")),
    };
    await prepareCommit(state, [unit], { ...context, checkpointSigner }).catch(() => {});
    const next = await loadedOf(new CommitLoad([unit], context));
    expect(planCommit(state, [unit], next, context).seals).to.deep.include({
      tenant: "acme",
      version: 1,
      seals: 2,
      first: 0n,
    });
  });

  it("refuses who was erased while it was being loaded, and nobody else", async () => {
    const { sources, context, unitOf, erase } = await createBench();
    const units = await Promise.all([
      unitOf([userBody("a"), decisionBody("d")]),
      unitOf([userBody("b", {}, { tenant: "umbrella" })]),
    ]);
    let isErased = false;
    const expired = async () => {
      if (!isErased) erase("acme");
      isErased = true;
      return [];
    };
    const loaded = await loadedOf(new CommitLoad(units, { ...sources, expired }));
    const { outcomes, seals } = planCommit(emptyState(), units, loaded, context);
    const erasure = { tenant: "acme", position: 0n, hash, reported: false };
    expect(
      outcomes.map((each) => (each.kind === "refused" ? each.error : each.appended.length)),
    ).to.deep.equal([erasedError(erasure), 1]);
    expect(seals.map(({ tenant }) => tenant)).to.deep.equal(["umbrella"]);
  });

  it("looks each id up once, and refuses those alone whose newest version is damaged", async () => {
    const { sources, context, store, unitOf } = await createBench();
    let lookups = 0;
    const damaged = { kind: "ledgerCorrupt", position: 3n, rule: "planned" } as const;
    const watched = {
      ...store,
      get: (...asked: Parameters<typeof store.get>) => {
        lookups += 1;
        return new TextDecoder().decode(asked[0]).includes("broken") ? fail(damaged) : store.get(...asked);
      },
    };
    const units = await Promise.all([
      unitOf([userBody("broken")]),
      unitOf([userBody("a")]),
      unitOf([userBody("a", { note: 2 }, { prev: prepareRecord(userBody("a")).hash }), decisionBody("d")]),
    ]);
    await loadedOf(new CommitLoad(units, { ...sources, store: watched, expired: async () => [] }));
    lookups = 0;
    const loaded = await loadedOf(new CommitLoad(units, { ...sources, store: watched }));
    expect(lookups).to.equal(2);
    const { outcomes } = planCommit(emptyState(), units, loaded, context);
    const found = outcomes.map((each) =>
      each.kind === "refused" ? each.error : each.appended.map(({ version }) => version),
    );
    expect(found).to.deep.equal([damaged, [1n], [2n, 1n]]);
  });
});
