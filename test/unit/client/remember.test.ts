/** Numbers of a caller's decisions: what is a fault and what is not, in any order of answers, and their file. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import fc from "fast-check";
import { afterEach, beforeEach, describe, it } from "mocha";
import {
  fileNumbers,
  memoryNumbers,
  readNumberFile,
  type CallerNumber,
  type NumberStore,
} from "@sigil/client";
import { CallerNumbers, Remembering } from "../../../clients/typescript/src/remember.ts";

/** As a ledger gives them: every number at a position of its own, in one order. */
const decision = (
  seq: number,
  changes: Partial<{ position: number; auditId: string; replayed: boolean }> = {},
) => {
  const { position = seq * 3, auditId = `a-${seq}`, replayed = false } = changes;
  return { callerSeq: BigInt(seq), ledgerPosition: BigInt(position), auditId, replayed };
};

const number = (seq: number): CallerNumber => ({
  seq: BigInt(seq),
  position: BigInt(seq * 3),
  auditId: `a-${seq}`,
});

/** Asked and answered, one after the other. @returns the kind of each fault. */
const faultsOf = (answers: readonly ReturnType<typeof decision>[], known?: CallerNumber) => {
  const numbers = new CallerNumbers();
  numbers.adopt(known);
  return answers.map((answer) => {
    const asked = numbers.ask();
    const fault = numbers.take(asked, answer);
    numbers.settle(asked);
    return fault?.kind;
  });
};

describe("the numbers of a caller's decisions", () => {
  it("are no fault as they rise, with gaps, with the same answer again, and with an old one from its key", () => {
    const replayed = { replayed: true };
    const old = { replayed: true, position: 1 };
    const answers = [4, 5, 9].map((seq) => decision(seq));
    expect(
      faultsOf([
        ...answers,
        decision(9, replayed),
        decision(4, replayed),
        decision(12, replayed),
        decision(0, old),
      ]),
    ).to.deep.equal(Array.from({ length: 7 }));
  });

  it("are a fault where a restore or a fork gives one again, gives a lower one, or gives none", () => {
    const other = { auditId: "b-9", position: 28 };
    expect(faultsOf([decision(9, other)], number(9))).to.deep.equal(["repeated"]);
    expect(faultsOf([decision(9, { ...other, replayed: true })], number(9))).to.deep.equal(["repeated"]);
    expect(faultsOf([decision(7, { auditId: "b-7" })], number(9))).to.deep.equal(["wentBack"]);
    expect(faultsOf([decision(10, { position: 20 })], number(9))).to.deep.equal(["disordered"]);
    expect(faultsOf([decision(7, { position: 40, replayed: true })], number(9))).to.deep.equal([
      "disordered",
    ]);
    expect(faultsOf([decision(0)], number(9))).to.deep.equal(["unnumbered"]);
  });

  it("say both decisions, and a fault changes nothing of what is known", () => {
    const numbers = new CallerNumbers();
    numbers.adopt(number(9));
    const fault = numbers.take(numbers.ask(), decision(8, { auditId: "b-8" }));
    expect(fault?.message)
      .to.contain("number 8 (b-8 at position 24)")
      .and.to.contain("known is 9 (a-9 at position 27)");
    expect(numbers.highest).to.deep.equal(number(9));
  });

  it("are no fault in any order of answers to questions under way, and no gap is told that one of them fills", () => {
    const schedule = fc.array(fc.record({ begins: fc.nat(40), lasts: fc.nat(12), isOurs: fc.boolean() }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(schedule, (calls) => {
        // A server numbers a call at some moment while it is under way.
        const timed = calls
          .map((call, at) => ({ ...call, at, decided: call.begins + call.lasts / 2 }))
          .sort((a, b) => a.decided - b.decided || a.at - b.at)
          .map((call, order) => ({ ...call, answer: decision(order + 1) }));
        const ours = timed.filter(({ isOurs }) => isOurs);
        const events = ours
          .flatMap((call) => [
            { time: call.begins, call, isEnd: false },
            { time: call.begins + call.lasts + 0.1, call, isEnd: true },
          ])
          .sort((a, b) => a.time - b.time || Number(a.isEnd) - Number(b.isEnd));
        const numbers = new CallerNumbers();
        const open = new Map<unknown, ReturnType<CallerNumbers["ask"]>>();
        const gaps: bigint[] = [];
        for (const { call, isEnd } of events) {
          if (!isEnd) {
            open.set(call, numbers.ask());
            continue;
          }
          const asked = open.get(call);
          if (asked === undefined) throw new Error("not asked");
          expect(numbers.take(asked, call.answer)?.message).to.equal(undefined);
          for (const { from, to } of numbers.settle(asked))
            for (let seq = from; seq <= to; seq += 1n) gaps.push(seq);
        }
        const held = ours.map(({ answer }) => answer.callerSeq);
        const first = held[0] ?? 0n;
        const missing = timed.map(({ answer }) => answer.callerSeq).filter((seq) => !held.includes(seq));
        const between = missing.filter((seq) => seq > first && seq < (held.at(-1) ?? 0n));
        expect(gaps).to.deep.equal([...new Set(gaps)].sort((a, b) => (a < b ? -1 : 1)));
        expect(gaps).to.deep.equal(between.filter((seq) => gaps.includes(seq)));
        if (gaps.length > 0) expect(between.slice(-gaps.length)).to.deep.equal(gaps);
      }),
    );
  });

  it("are in the store before an answer is handed on, however many answers wait for one write", async () => {
    let [writes, held]: [number, CallerNumber | undefined] = [0, undefined];
    const store: NumberStore = {
      load: async () => held,
      save: async (next) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        writes += 1;
        return (held = next);
      },
    };
    const remembering = new Remembering({ store });
    const asked = await Promise.all(Array.from({ length: 100 }, () => remembering.ask()));
    await Promise.all(
      asked.map(async (each, at) => {
        await remembering.take(each, [decision(at + 1)]);
        expect(held?.seq).to.satisfy((seq: bigint) => seq >= BigInt(at + 1));
      }),
    );
    expect(writes).to.be.below(5);
  });

  it("fail the call when they cannot be kept, and are asked of the store again", async () => {
    let isBroken = true;
    const { load, save } = memoryNumbers();
    const fail = (): void => {
      if (isBroken) throw new Error("no space");
    };
    const store = {
      load: async () => (fail(), load()),
      save: async (next: CallerNumber) => (fail(), save(next)),
    };
    const remembering = new Remembering({ store });
    const refused = await remembering.ask().catch((error: unknown) => String(error));
    expect(refused).to.equal("Error: no space");
    isBroken = false;
    const asked = await remembering.ask();
    isBroken = true;
    expect(await remembering.take(asked, [decision(1)]).catch(String)).to.equal("Error: no space");
    isBroken = false;
    await remembering.take(asked, [decision(2)]);
    expect(await load()).to.deep.equal(number(2));
  });
});

const whose = { origin: "sigil.test", tenant: "acme", caller: "svc/gateway" };

describe("the file of remembered numbers", () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-numbers-"));
    path = join(directory, "gateway.json");
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("holds the highest number over processes, and nothing else is left beside it", async () => {
    expect(await fileNumbers(path, whose).load()).to.equal(undefined);
    expect(await fileNumbers(path, whose).save(number(7))).to.deep.equal(number(7));
    expect(await fileNumbers(path, whose).save(number(5))).to.deep.equal(number(7));
    expect(await fileNumbers(path, whose).load()).to.deep.equal(number(7));
    expect(await readNumberFile(path)).to.deep.equal({ ...whose, ...number(7) });
    expect(await readdir(directory)).to.deep.equal(["gateway.json"]);
  });

  it("is of one caller of one ledger, and refuses others and what is no such file", async () => {
    await fileNumbers(path, whose).save(number(7));
    for (const [name, value] of [
      ["origin", "other.test"],
      ["tenant", "beta"],
      ["caller", "svc/other"],
    ] as const) {
      const store = fileNumbers(path, { ...whose, [name]: value });
      for (const work of [store.load(), store.save(number(9))])
        expect(await work.catch(String)).to.contain(`is of ${name} "${whose[name]}", and not of "${value}"`);
    }
    const text = await readFile(path, "utf8");
    for (const wrong of [
      "",
      "{",
      "[]",
      "null",
      text.replace('"version":1', '"version":2'),
      text.replace('"7"', '"-7"'),
    ]) {
      await writeFile(path, wrong);
      expect(await fileNumbers(path, whose).load().catch(String), wrong).to.contain(path);
    }
  });

  it("goes on after a lock and a half-written file that a crash left", async () => {
    await fileNumbers(path, whose).save(number(7));
    await writeFile(`${path}.new`, "{");
    await writeFile(`${path}.lock`, "");
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(`${path}.lock`, longAgo, longAgo);
    expect(await fileNumbers(path, whose).save(number(8))).to.deep.equal(number(8));
    expect(await readdir(directory)).to.deep.equal(["gateway.json"]);
  });

  it("never goes back while two processes write it", async () => {
    const worker = fileURLToPath(new URL("../../contract/number-worker.ts", import.meta.url));
    const children = ["1", "2"].map((first) => fork(worker, [path, first]));
    let highest = 0n;
    const ended = Promise.all(children.map((child) => once(child, "exit")));
    let isOver = false;
    void ended.then(() => (isOver = true));
    while (!isOver) {
      const { seq = 0n } = (await readNumberFile(path)) ?? {};
      expect(seq >= highest, `${seq} after ${highest}`).to.equal(true);
      highest = seq;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect((await ended).map(([code]) => code as unknown)).to.deep.equal([0, 0]);
    expect((await readNumberFile(path))?.seq).to.equal(40n);
  });
});
