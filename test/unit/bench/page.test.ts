/** The pure pieces of the benchmarks: medians, profile sums, promises and the page. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { table } from "../../../bench/page-cells.ts";
import { formatPage, targetsOf } from "../../../bench/page.ts";
import { sumProfile } from "../../../bench/profile.ts";
import type { Machine, ModuleRuns, Results, Throughput } from "../../../bench/results.ts";
import { measure, medianOf, quantileOf, ratioOf } from "../../../bench/statistics.ts";

const same = (value: number) => measure([value, value, value]);

const throughput: Throughput = {
  nothingPerSecond: same(10_000),
  checkPerSecond: same(6000),
  batchPerSecond: same(23_999),
  ledgerPerSecond: same(30_000),
  levelPerSecond: same(60_000),
  checkMedianMs: same(9.5),
  checkP99Ms: same(20),
  nothingCpuUs: same(100),
  checkCpuUs: same(200),
  batchCpuUs: same(90),
  ledgerCpuUs: same(80),
  levelCpuUs: same(20),
};

const modules: ModuleRuns = {
  inFlight: 16,
  checkPerSecond: same(3000),
  runPerSecond: same(1000),
  checkCpuUs: same(300),
  runCpuUs: same(600),
  runMedianMs: same(12),
  runP99Ms: same(30),
  sandbox: [{ name: "Start", what: "a process, until it waits for a run", ms: same(90.4) }],
};

const machine: Machine = {
  processor: "a processor",
  cores: 2,
  memoryBytes: 2 ** 32,
  system: "an OS",
  node: "v24.0.0",
  fileSystem: "ext4",
  startedAt: "2026-01-02T03:04:05.000Z",
};

const results: Results = { machine, runs: 3, throughput };

const frame = (id: number, functionName: string, url: string, children: number[]) => ({
  id,
  children,
  callFrame: { functionName, url, scriptId: "0", lineNumber: 0, columnNumber: 0 },
});

describe("statistics of runs", () => {
  it("takes the middle, or the mean of the two in the middle", () => {
    expect(medianOf([3, 1, 2])).to.equal(2);
    expect(medianOf([4, 1, 3, 2])).to.equal(2.5);
    expect(() => medianOf([])).to.throw(RangeError);
  });

  it("compares run by run, so that a slow moment of the machine cancels out", () => {
    const ratio = ratioOf(measure([6, 60, 3]), measure([10, 100, 5]));
    expect(ratio).to.deep.include({ median: 0.6, low: 0.6, high: 0.6 });
    expect(() => ratioOf(measure([1]), measure([1, 2]))).to.throw(RangeError);
  });

  it("finds the value that a share of the values lies below", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(quantileOf(values, 0.99)).to.equal(100);
    expect(quantileOf(values, 0.5)).to.equal(51);
  });
});

describe("sum of a CPU profile", () => {
  it("counts a native function for the part that called it, and idle time for none", () => {
    const sum = sumProfile({
      nodes: [
        frame(1, "(root)", "", [2, 4]),
        frame(2, "sealRecord", "file:///app/src/crypto/seal.ts", [3]),
        frame(3, "update", "", []),
        frame(4, "(idle)", "", []),
      ],
      startTime: 0,
      endTime: 10_000,
      samples: [2, 3, 4],
      timeDeltas: [1000, 3000, 6000],
    });
    expect(sum.parts).to.deep.equal([{ name: "sealing (AES-256-GCM)", selfMs: 4 }]);
    expect(sum.functions[0]).to.deep.equal({ name: "update native, from crypto/seal.ts", selfMs: 3 });
    expect(sum).to.include({ busyMs: 4, idleMs: 6 });
  });
});

describe("performance page", () => {
  it("says of each promise whether it is kept", () => {
    const kept = targetsOf(results).map(({ isMet }) => isMet);
    expect(kept).to.deep.equal([true, false, true, true]);
  });

  it("judges memory by the sample that grew most", () => {
    const sample = { decisions: 1, rssBytes: 1, anonymousBytes: 1 };
    const memory = [100, 111, 100].map((heapUsedBytes) => ({ ...sample, heapUsedBytes }));
    expect(targetsOf({ ...results, memory }).at(-2)).to.include({ isMet: false, measured: "11.0 % at most" });
  });

  it("holds a run of a module to a third of a check's rate", () => {
    const isMet = (runs: number): boolean | undefined =>
      targetsOf({ machine, runs: 3, modules: { ...modules, runPerSecond: same(runs) } })[0]?.isMet;
    expect([isMet(1000), isMet(999)]).to.deep.equal([true, false]);
    const page = formatPage({ ...results, modules });
    expect(page).to.match(/## Modules\n[\s\S]*\| Start \| 90 /);
  });

  it("shows what was measured and leaves out what was not", () => {
    const page = formatPage(results);
    expect(page).to.include("| `Check`, unary");
    expect(page).to.include("6,000");
    expect(page).not.to.include("## Memory");
  });

  it("aligns its tables, as the formatter would", () => {
    expect(table(["a", "bcde"], [["long", "f"]])).to.equal(
      ["| a    | bcde |", "| ---- | ---- |", "| long | f    |"].join("\n"),
    );
  });
});
