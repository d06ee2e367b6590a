/** What a candidate model would have said of recorded decisions, and of whose. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { formatFlipReport, parseFlipReport } from "../../../src/core/record/kinds.ts";
import { fail, SigilFault } from "../../../src/errors.ts";
import { formatFrozenChain1, type Chain1 } from "../../contract/version-1.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import {
  reachOf,
  rescoreAll,
  simulateLast,
  type DecisionLedger,
  type Reach,
} from "../../../src/trust/simulate.ts";

const chain: Chain1 = {
  request: {
    action: "read",
    target: "public/docs",
    subject: "p",
    caller: "p",
    tenant: "acme",
    loa: "operator",
    session: "",
    inputDigest: parseHash(new Uint8Array(32)),
    inputBytes: 0,
    input: null,
    metadata: {},
  },
  features: { rate: 0, entropy: 0 },
  model: { id: "m", hash: parseHash(new Uint8Array(32)) },
  contributions: {},
  z: 3,
  score: 0.95,
  threshold: 0.5,
  review: null,
  verdict: "allow",
  reason: "SCORE_AT_OR_ABOVE_THRESHOLD",
  steps: [],
  durationUs: 1,
};

type Kept = { readonly kind: string; readonly tenant: string } | "damaged";

const hashAt = (position: bigint) => parseHash(new Uint8Array(32).fill(Number(position) + 1));
const decision = (tenant: string): Kept => ({ kind: "frozen_chain", tenant });
const note = (tenant: string): Kept => ({ kind: "note", tenant });

/** A ledger of these records; `looked` are the positions that were opened. */
const ledgerOf = (kept: readonly Kept[], decided = chain) => {
  const looked: bigint[] = [];
  const bodyAt = (position: bigint) => {
    const record = kept[Number(position)];
    if (record === undefined || record === "damaged") {
      return fail({ kind: "malformedCbor", offset: 0, rule: "is damaged" });
    }
    return { ...record, schemaVersion: 1, id: `d-${position}`, payload: formatFrozenChain1(decided) };
  };
  const ledger = {
    size: BigInt(kept.length),
    peekAt: async (position: bigint) => {
      looked.push(position);
      return bodyAt(position);
    },
    readAt: async (position: bigint) => {
      if (kept[Number(position)] === "damaged")
        fail({ kind: "recordCorrupt", position, step: "seal", rule: "r" });
      return { body: bodyAt(position), hash: hashAt(position) };
    },
    async *decisions({ tenant }: { readonly tenant: string }) {
      for (let position = kept.length - 1; position >= 0; position -= 1) {
        const record = kept[position];
        if (record === "damaged" || record?.kind !== "frozen_chain" || record.tenant !== tenant) continue;
        yield { positions: [BigInt(position)], resume: () => null };
      }
    },
  } as unknown as DecisionLedger;
  return { ledger, looked };
};

const strict = { ...defaultModelPayload, threshold: 0.9999, review: null };

const call = { signal: new AbortController().signal, deadlineMs: 1000, metadata: {} };

const simulated = async (ledger: DecisionLedger, reach: Reach, decisions: number) => {
  const asked = { candidate: strict, includeUnchanged: false, reach, decisions };
  const simulation = await simulateLast(ledger, asked, call);
  return { ...simulation, ids: simulation.decisions.map(({ auditId }) => auditId) };
};

const all: Reach = { kind: "all" };

describe("simulating the last decisions", () => {
  const kept = [decision("a"), note("a"), decision("b"), note("b"), decision("a"), note("b")];

  it("scores the tenant's own, newest first, and finds the flips", async () => {
    const { ids, scored, flipped } = await simulated(
      ledgerOf(kept).ledger,
      { kind: "tenant", tenant: "a" },
      10,
    );
    expect([ids, scored, flipped]).to.deep.equal([["d-4", "d-0"], 2, 2]);
  });

  it("scores those of all tenants, newest first, and stops at the number asked for", async () => {
    const { ledger, looked } = ledgerOf(kept);
    expect((await simulated(ledger, all, 10)).ids).to.deep.equal(["d-4", "d-2", "d-0"]);
    looked.length = 0;
    expect((await simulated(ledger, all, 2)).ids).to.deep.equal(["d-4", "d-2"]);
    expect(looked).to.deep.equal([5n, 4n, 3n, 2n]);
  });

  it("looks at four records a decision and a thousand besides, and no more", async () => {
    const { ledger, looked } = ledgerOf([decision("a"), ...Array.from({ length: 3000 }, () => note("b"))]);
    const { scored } = await simulated(ledger, all, 5);
    expect([scored, looked.length]).to.deep.equal([0, 1020]);
  });

  it("asks what was asked: of whom, with what floor, at which rate and on what input", async () => {
    const under = async (request: Partial<Chain1["request"]>, features = chain.features) => {
      const decided = { ...chain, request: { ...chain.request, ...request }, features };
      const { ledger } = ledgerOf([decision("a")], decided);
      const asked = { candidate: defaultModelPayload, includeUnchanged: true, reach: all, decisions: 1 };
      const { decisions } = await simulateLast(ledger, asked, call);
      return decisions.map(({ candidate, candidateReason }) => `${candidate} ${candidateReason}`);
    };
    const write = { action: "write", target: "user/notes" };
    const [allow, low] = ["allow SCORE_AT_OR_ABOVE_THRESHOLD", "deny LEVEL_TOO_LOW"];
    expect(await under(write)).to.deep.equal([allow]);
    expect(await under({ ...write, loa: "guest" })).to.deep.equal([low]);
    expect(await under({ ...write, minLoa: "mentor" })).to.deep.equal([low]);
    expect(await under(write, { rate: 1, entropy: 0 })).to.deep.equal(["deny SCORE_BELOW_THRESHOLD"]);
    expect(await under(write, { rate: 0, entropy: 1 })).to.deep.equal(["review REVIEW_BAND"]);
  });

  it("names the damage when a record on its way cannot be opened", async () => {
    const { ledger } = ledgerOf([decision("a"), "damaged", decision("b")]);
    const error = await simulated(ledger, all, 3).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(SigilFault);
    expect((error as SigilFault).error).to.include({ kind: "recordCorrupt", position: 1n });
  });

  it("ends when its caller leaves, also where there are no decisions", async () => {
    const { ledger, looked } = ledgerOf(Array.from({ length: 100 }, () => note("a")));
    const asked = { candidate: strict, includeUnchanged: false, reach: all, decisions: 5 };
    const gone = { ...call, signal: AbortSignal.abort() };
    const error = await simulateLast(ledger, asked, gone).catch((thrown: unknown) => thrown);
    expect((error as SigilFault).error.kind).to.equal("cancelled");
    expect(looked).to.deep.equal([]);
  });
});

describe("what a flip report says", () => {
  it("is every tenant's flips, newest first, each by position, hash and both verdicts", async () => {
    const kept = [decision("a"), note("a"), decision("b")];
    const flip = (position: bigint) => ({ position, record: hashAt(position), from: "allow", to: "deny" });
    expect(await rescoreAll(ledgerOf(kept).ledger, strict, call)).to.deep.equal({
      size: 3n,
      scored: 2,
      erased: 0,
      flips: [flip(2n), flip(0n)],
    });
    const { flips, scored } = await rescoreAll(ledgerOf(kept).ledger, defaultModelPayload, call);
    expect([flips, scored]).to.deep.equal([[], 2]);
  });

  it("is of the last thousand, and fits its own schema though all of them flip", async () => {
    const { ledger } = ledgerOf(Array.from({ length: 1001 }, () => decision("a")));
    const report = await rescoreAll(ledger, strict, call);
    expect([report.scored, report.flips.length, report.flips.at(-1)?.position]).to.deep.equal([
      1000,
      1000,
      1n,
    ]);
    const named = { ...report, proposal: "proposal/1", model: hashAt(0n) };
    expect(parseFlipReport(formatFlipReport(named))).to.deep.equal(named);
    expect(cborEncode(formatFlipReport(named)).length).to.be.below(128 << 10);
  });

  it("leaves out no decision that cannot be read: it is not made", async () => {
    const { ledger } = ledgerOf([decision("a"), "damaged", decision("b")]);
    const error = await rescoreAll(ledger, strict, call).catch((thrown: unknown) => thrown);
    expect((error as SigilFault).error).to.include({ kind: "recordCorrupt", position: 1n });
  });

  it("passes over what was erased, and says how much that was", async () => {
    const { ledger } = ledgerOf([decision("a"), decision("b"), note("b")]);
    const { peekAt } = ledger;
    const erasing: DecisionLedger = {
      ...ledger,
      peekAt: async (position) =>
        position === 0n
          ? peekAt(position)
          : fail({ kind: "erased", tenant: "b", erasure: "", erasurePosition: 9n }),
    };
    const { scored, erased } = await rescoreAll(erasing, strict, call);
    expect([scored, erased]).to.deep.equal([1, 2]);
  });
});

describe("whose decisions a simulation reaches", () => {
  const proposal = { candidate: { kind: "proposed", payload: null } } as const;
  const model = { candidate: { kind: "model", payload: null } } as const;
  const caller = (parts: Partial<Caller>): Caller => ({ ...anonymous, tenant: "system", ...parts });
  const witness = caller({ principal: "witness/a", level: "observer", credential: "token" });
  const root = caller({ principal: "root", level: "root", credential: "token" });

  it("is every tenant's for a proposal and a witness or Root of tenant system", () => {
    for (const who of [witness, root]) expect(reachOf(who, proposal)).to.deep.equal(all);
  });

  it("is the caller's tenant's otherwise", () => {
    const others: readonly Caller[] = [
      { ...witness, tenant: "acme" },
      { ...witness, principal: "witness" },
      { ...root, tenant: "acme" },
      { ...root, level: "mentor" },
    ];
    for (const who of others) {
      expect(reachOf(who, proposal)).to.deep.equal({ kind: "tenant", tenant: who.tenant });
    }
    for (const who of [witness, root]) {
      expect(reachOf(who, model)).to.deep.equal({ kind: "tenant", tenant: "system" });
    }
  });
});
