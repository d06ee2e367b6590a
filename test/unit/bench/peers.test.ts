/** The pure pieces of the comparison with other servers: rounds that fail, ratios, what is wanted, and the table. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { Driven, Generator } from "../../../bench/peers/generator.ts";
import { pinOf, programNames } from "../../../bench/peers/programs.ts";
import { noiseOf, ratiosOf } from "../../../bench/peers/ratios.ts";
import type { Cell, PeerResults, Sample } from "../../../bench/peers/results.ts";
import { measureRounds, sampleOf } from "../../../bench/peers/rounds.ts";
import type { LoadName, Served, ServerId } from "../../../bench/peers/served.ts";
import { formatPeersPage, formatPeerTables } from "../../../bench/peers/table.ts";
import { repository } from "../../../scripts/run.ts";

const sample: Sample = {
  perSecond: 1000,
  p50Ms: 1,
  p99Ms: 10,
  cpuUs: 100,
  writtenBytes: 500,
  rssBytes: 100 * 2 ** 20,
  othersCores: 0.25,
};

type Some = Partial<Sample>;

const cell = (server: ServerId, load: LoadName, full: readonly Some[], half: readonly Some[] = []): Cell => ({
  server,
  load,
  title: `${server} ${load}`,
  promise: "kept",
  full: full.map((own) => ({ ...sample, ...own })),
  half: half.map((own) => ({ ...sample, ...own })),
});

const resultsOf = (cells: readonly Cell[], more: Partial<PeerResults> = {}): PeerResults => ({
  machine: {
    processor: "a processor",
    cores: 2,
    memoryBytes: 2 ** 33,
    system: "Linux",
    node: "v24",
    fileSystem: "ext4",
    startedAt: "2026-01-02T03:04:05Z",
  },
  rounds: 3,
  seconds: 5,
  versions: { opa: "v1.2.3" },
  leftOut: [],
  cells,
  kept: [],
  ...more,
});

const rates = (...values: readonly number[]): readonly Some[] => values.map((perSecond) => ({ perSecond }));

const outcomes = (results: PeerResults): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ratiosOf(results).map(({ name, measured, outcome }) => [name, `${measured}: ${outcome}`]),
  );

describe("the comparison with other servers", () => {
  it("counts decisions, not calls, and costs of each", () => {
    const driven: Driven = {
      calls: 20,
      elapsedSeconds: 2,
      p50Ms: 3,
      p99Ms: 4,
      maxMs: 5,
      serverCpuUs: 200_000,
      generatorCpuUs: 1,
      othersCpuUs: 1_000_000,
      writtenBytes: 4000,
      rssPeakBytes: 7,
      allCalls: 30,
    };
    expect(sampleOf(driven, 100)).to.deep.equal({
      perSecond: 1000,
      p50Ms: 3,
      p99Ms: 4,
      cpuUs: 100,
      writtenBytes: 2,
      rssBytes: 7,
      othersCores: 0.5,
    });
  });

  it("takes ratios within a round, and their median", () => {
    // By medians, 1,200 beside 1,000 would be 1.20.
    const found = outcomes(
      resultsOf([
        cell("sigil", "unary", rates(2200, 550, 1200)),
        cell("cerbos-file", "unary", rates(2000, 500, 1000)),
        cell("opa-log", "unary", rates(2200, 600, 1000)),
      ]),
    );
    expect(found["Check a second ÷ Cerbos with file audit"]).to.equal("1.10 (1.10 to 1.20): met");
    expect(found["Check a second ÷ OPA with a decision log"]).to.equal("1.00 (0.92 to 1.20): not met");
  });

  it("holds half load against the logging peer that answers soonest", () => {
    const found = outcomes(
      resultsOf([
        cell("sigil", "unary", [{ cpuUs: 100 }], [{ p50Ms: 2, p99Ms: 30, cpuUs: 150 }]),
        cell("opa", "unary", [{}], [{ p50Ms: 0.1, p99Ms: 0.1 }]),
        cell("opa-log", "unary", [{}], [{ p50Ms: 1, p99Ms: 10 }]),
        cell("cerbos-badger", "unary", [{}], [{ p50Ms: 2, p99Ms: 40 }]),
      ]),
    );
    expect(found["Check, p50 at half load ÷ the best logging peer's (opa-log)"]).to.equal(
      "2.00 (2.00 to 2.00): met",
    );
    expect(found["Check, p99 at half load ÷ the best logging peer's (opa-log)"]).to.equal(
      "3.00 (3.00 to 3.00): not met",
    );
    expect(found["Check, processor time at half load ÷ at full"]).to.equal("1.50 (1.50 to 1.50): not met");
  });

  it("calls what was left out or has failed not measured, never met", () => {
    const failed: Cell = { ...cell("cerbos-file", "unary", []), failure: "round 1: a deny" };
    const results = resultsOf([cell("sigil", "unary", rates(9000)), failed], {
      leftOut: [{ what: "opa", why: "there is no Go" }],
    });
    expect(new Set(ratiosOf(results).map(({ outcome }) => outcome))).to.deep.equal(new Set(["not measured"]));
    const text = formatPeerTables(results);
    expect(text)
      .to.include("Failed: cerbos-file unary: round 1: a deny")
      .and.include("Left out: opa: there is no Go");
    expect(text).to.match(/\| cerbos-file unary +\| kept +\| failed +\|/);
  });

  it("judges bytes by what stays and by what was written to get there", () => {
    const found = outcomes(
      resultsOf([cell("sigil", "batch", [{ perSecond: 20_000, writtenBytes: 2703 }])], {
        kept: [{ server: "sigil", decisions: 10, bytesEach: 900 }],
      }),
    );
    expect(found["Bytes on disk a decision"]).to.equal("900 (900 to 900): met");
    expect(found["Bytes written to disk a batched decision ÷ what stays"]).to.equal(
      "3.00 (3.00 to 3.00): not met",
    );
    expect(found["BatchCheck of 100, decisions a second"]).to.equal("20,000 (20,000 to 20,000): met");
  });

  it("holds this checkout against the one before, and that against itself", () => {
    const sides = (server: ServerId, perSecond: number, cpuUs: number): readonly Cell[] => [
      cell(server, "unary", [{ perSecond, cpuUs, rssBytes: cpuUs }], [{ p50Ms: cpuUs, cpuUs }]),
      cell(server, "alone", [{ perSecond, cpuUs }]),
      cell(server, "batch", [{ perSecond, cpuUs }]),
    ];
    const results = resultsOf([
      ...sides("sigil", 2000, 40),
      ...sides("before-1", 1000, 100),
      ...sides("before-2", 1100, 90),
    ]);
    const found = outcomes(results);
    expect(found["Check, 1 in flight, time ÷ before"]).to.equal("0.50 (0.50 to 0.50): met");
    expect(found["Check, 1 in flight, processor time ÷ before"]).to.equal("0.40 (0.40 to 0.40): met");
    expect(found["Check, p50 at half load ÷ before"]).to.equal("0.40 (0.40 to 0.40): not met");
    expect(found["BatchCheck of 100 ÷ before"]).to.equal("2.00 (2.00 to 2.00): met");
    expect(found["RSS under 64 checks in flight ÷ before"]).to.equal("0.40 (0.40 to 0.40): met");
    expect(noiseOf(results)).to.include("Check a second: 1.10 (1.10 to 1.10)");
  });

  it("fails a server that answers wrongly once, and does not ask it again", async () => {
    const asked: string[] = [];
    const question = (address: string) => () => ({ kind: "http" as const, address, request: {} });
    const served = (id: ServerId): Served => ({
      id,
      promise: "kept",
      pid: 1,
      asked: [{ load: "unary", title: id, question: question(id) }],
    });
    const generator: Generator = {
      call: () => Promise.reject(new Error("unused")),
      drive: async ({ address }, { perSecond }) => {
        asked.push(`${address}${perSecond === undefined ? "" : ` at ${perSecond}`}`);
        if (address === "opa" && perSecond !== undefined) throw new Error("a deny");
        const all = { p50Ms: 1, p99Ms: 1, maxMs: 1, serverCpuUs: 1, generatorCpuUs: 1, othersCpuUs: 1 };
        return { ...all, calls: 100, elapsedSeconds: 1, writtenBytes: 0, rssPeakBytes: 1, allCalls: 101 };
      },
    };
    const pace = { rounds: 2, seconds: 1 };
    const signal = new AbortController().signal;
    const { cells, decisions } = await measureRounds([served("sigil"), served("opa")], () => true, {
      generator,
      pace,
      say: () => {},
      signal,
    });
    const [first, second] = cells;
    expect(first).to.include({ server: "sigil" }).and.not.have.property("failure");
    expect(first?.full).to.have.length(2);
    expect(first?.half).to.have.length(2);
    expect(second).to.include({ server: "opa", failure: "round 1 of 2: a deny" });
    expect([second?.full, second?.half]).to.deep.equal([[], []]);
    expect([...decisions.values()]).to.deep.equal([505, 202]);
    // Warm-ups, then each first once, beginning with the other in the second round.
    expect(asked).to.deep.equal([
      "sigil",
      "opa",
      "sigil",
      "sigil at 50",
      "opa",
      "opa at 50",
      "sigil",
      "sigil at 50",
    ]);
  });

  it("writes a page that says what each has promised, and what disturbed it", () => {
    const page = formatPeersPage(resultsOf([cell("sigil", "unary", rates(1, 2, 3), rates(1, 1, 1))]));
    expect(page).to.match(/^# Beside other servers\n/);
    expect(page).to.include("Versions: opa v1.2.3.").and.include("used 0.25 processors in the median run");
    expect(page).to.match(/\| sigil unary \| kept +\| 2 \(1 to 3\) +\| 100 +\| 100 +\| 1\.00 \/ 10\.0 +\|/);
  });

  for (const name of programNames) {
    it(`pins ${name} with a checksum`, async () => {
      const { tool, version, module } = await pinOf(name);
      expect(`${tool}/`.startsWith(`${module}/`)).to.equal(true);
      expect(version).to.match(/^v\d+\.\d+\.\d+$/);
      const sums = readFileSync(join(repository, "bench/peers/servers", name, "go.sum"), "utf8");
      expect(sums.split("\n").some((line) => line.startsWith(`${module} ${version} h1:`))).to.equal(true);
    });
  }
});
