/** A process that keeps its heap small holds little more than what is alive, whatever it throws away. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { mock } from "node:test";
import v8 from "node:v8";
import { expect } from "chai";
import { describe, it } from "mocha";
import { boundServerHeap, holdHeapSmall } from "../../../src/deployment/backup/small-heap.ts";
import { youngGenerationBytes } from "../../../src/limits.ts";
import { walksLedger } from "../../../src/cli/command-line.ts";

const module = join(import.meta.dirname, "../../../src/deployment/backup/small-heap.ts");

/** Replaces what it holds, some ten megabytes, again and again. @returns the largest heap, in megabytes. */
const churn = `
  const { keepHeapSmall } = await import(${JSON.stringify(module)});
  if (process.argv[1] === "small") keepHeapSmall();
  const held = Array.from({ length: 2000 }, () => []);
  let most = 0;
  for (let turn = 0; turn < 10_000; turn += 1) {
    held[turn % held.length] = Array.from({ length: 200 }, (_, index) => ({ turn, index }));
    if (turn % 200 === 0) most = Math.max(most, process.memoryUsage().heapTotal);
  }
  console.log(most / 1e6);
`;

const heapOf = async (how: "small" | "usual"): Promise<number> => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", churn, how]);
  return Number(stdout);
};

/** Replaces all that it holds, again and again, in turns of the event loop. @returns the young generation's size. */
const churnYoung = `
  import v8 from "node:v8";
  const { boundServerHeap } = await import(${JSON.stringify(module)});
  if (process.argv[1] === "bounded") boundServerHeap();
  let held = [];
  for (let turn = 0; turn < 400; turn += 1) {
    for (let index = 0; index < 10_000; index += 1) held.push({ turn, list: [index] });
    if (held.length > 300_000) held = [];
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space").space_size);
`;

const bytesOf = async (program: string, how: "bounded" | "usual"): Promise<number> => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program, how]);
  return Number(stdout);
};

describe("a small heap", () => {
  it("holds far less than a usual one does", async () => {
    const [small, usual] = [await heapOf("small"), await heapOf("usual")];
    expect(small, `${small} MB and ${usual} MB`).to.be.lessThan((usual * 2) / 3);
  });

  it("is kept for as long as anybody holds it, and no longer", () => {
    const flags = mock.method(v8, "setFlagsFromString", () => {});
    using _ = { [Symbol.dispose]: () => flags.mock.restore() };
    const flagsSince = (): readonly unknown[] => {
      const set = flags.mock.calls.flatMap((call) => call.arguments);
      flags.mock.resetCalls();
      return set;
    };
    const small = ["--heap-growing-percent=30", "--semi-space-growth-factor=1"];
    const usual = ["--heap-growing-percent=0", "--semi-space-growth-factor=2"];
    const [one, two] = [holdHeapSmall(), holdHeapSmall()];
    expect(flagsSince()).to.deep.equal(small);
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    expect(flagsSince()).to.deep.equal([]);
    two[Symbol.dispose]();
    expect(flagsSince()).to.deep.equal(usual);
  });

  it("has a young generation that grows to its bound and no further", async () => {
    const [bounded, usual] = [await bytesOf(churnYoung, "bounded"), await bytesOf(churnYoung, "usual")];
    expect(bounded).to.be.within(youngGenerationBytes / 2, 1.5 * youngGenerationBytes);
    expect(usual).to.be.greaterThan(1.5 * youngGenerationBytes);
  });

  it("bounds garbage by the live data in a server, and gives V8 its settings back when that ends", () => {
    const flags = mock.method(v8, "setFlagsFromString", () => {});
    const sizes = mock.method(v8, "getHeapSpaceStatistics", () => []);
    using _ = {
      [Symbol.dispose]: () => {
        flags.mock.restore();
        sizes.mock.restore();
      },
    };
    boundServerHeap()[Symbol.dispose]();
    const set = flags.mock.calls.flatMap((call) => call.arguments);
    expect(set).to.deep.equal([
      "--heap-growing-percent=100",
      "--semi-space-growth-factor=2",
      "--heap-growing-percent=0",
      "--semi-space-growth-factor=2",
    ]);
  });

  it("is kept by the commands that walk over a whole ledger", () => {
    for (const name of ["fsck", "backup", "restore", "migrate"])
      expect(walksLedger([name, "--data", "d"]), name).to.equal(true);
    for (const name of ["serve", "check", "dev", ""]) expect(walksLedger([name]), name).to.equal(false);
  });
});
