/**
 * A migration cut off at every change it makes: nobody serves what is half done, and the next run brings it to the very
 * same end.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { describeDeployment } from "../../src/deployment/open.ts";
import { readDescription } from "../../src/deployment/file.ts";
import { migrateDeployment, type MigrateOptions } from "../../src/deployment/migrate.ts";
import { migrations, newestFormat, type Migration } from "../../src/deployment/migrations.ts";
import { rehearseMigration } from "../../src/deployment/rehearse.ts";
import { replaceFile } from "../../src/ledger/append/anchor.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { toHex } from "../../src/core/bytes.ts";
import { SigilFault } from "../../src/errors.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { createFaultyStore } from "../contract/faulty-store.ts";
import { kekInputsOf, unpackFormat, type FormatFacts } from "../data/formats/unpack.ts";
import { expectFault } from "../unit/keys/expect-fault.ts";
import { withBreak } from "./broken-files.ts";

let parent: string;
let directory: string;
let facts: FormatFacts;
let copies = 0;

const fresh = (): void => {
  copies += 1;
  const root = join(parent, String(copies));
  facts = unpackFormat(2, root);
  directory = join(root, "data");
};

const options = (): MigrateOptions => ({ directory, kekInputs: kekInputsOf(facts), nowMs: Date.now });

/** Every entry of the store, and deployment.json: what a migration may change. */
const everything = async (): Promise<readonly string[]> => {
  await using store = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
  const entries = [await readFile(join(directory, "deployment.json"), "utf8")];
  const range = store.range({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) });
  for await (const [key, value] of range) entries.push(`${toHex(key)} ${toHex(value)}`);
  return entries;
};

const stateOf = async (): Promise<string> => {
  const text = await readFile(join(directory, "deployment.json"), "utf8");
  const { format, migrating } = JSON.parse(text) as { readonly format: number; readonly migrating?: number };
  return migrating === undefined ? String(format) : `${migrating} to ${format}`;
};

/** The anchor is the operator's to find missing; what is left of a write is in nobody's way. */
const expectResumed = async (label: string, end: readonly string[]): Promise<void> => {
  const state = await stateOf();
  const isUnderWay = state.includes("to");
  if (state !== "5") {
    const { error } = await expectFault(() => readDescription(directory));
    const found = Number(state[0]);
    expect(error, label).to.include({ kind: "olderFormat", found, known: 5, interrupted: isUnderWay });
  }
  const { resumed } = await migrateDeployment(options());
  expect(resumed, label).to.equal(isUnderWay);
  expect(await everything(), label).to.deep.equal(end);
};

describe("a migration", function () {
  this.slow(10_000);
  let end: readonly string[];

  before(async () => {
    parent = await mkdtemp(join(tmpdir(), "sigil-migration-"));
    fresh();
    await migrateDeployment(options());
    end = await everything();
  });
  after(() => rm(parent, { recursive: true, force: true }));

  it("ends in a directory that is clean by every rule", async () => {
    fresh();
    const { from, to, size } = await migrateDeployment(options());
    expect([from, to, size]).to.deep.equal([2, 5, BigInt(facts.checkpoint.split("\n")[1] ?? "")]);
    const { kekInputs, nowMs } = options();
    const report = await runFsck(await describeDeployment({ directory, kekInputs, nowMs }));
    expect(report).to.include({ ok: true, size });
  });

  for (const kind of ["killed", "killedHalfway", "failed"] as const) {
    it(`${kind} at any change of a file is gone on with by the next run`, async () => {
      fresh();
      const { operations, writes } = await withBreak(null, () => migrateDeployment(options()));
      expect(operations).to.be.greaterThan(8);
      const states = new Set<string>();
      const all = Array.from({ length: operations }, (_, operation) => operation);
      for (const operation of kind === "killedHalfway" ? writes : all) {
        fresh();
        await withBreak({ operation, kind }, () => migrateDeployment(options()));
        states.add(await stateOf());
        await expectResumed(`${kind} at ${operation} of ${operations}`, end);
      }
      expect([...states])
        .to.include("2")
        .and.to.include("2 to 3");
    });
  }

  for (const when of ["before", "after"] as const) {
    it(`cut off ${when} any write of the store is gone on with by the next run`, async () => {
      for (let nth = 1; ; nth += 1) {
        fresh();
        let tripped = (): boolean => false;
        const openStore = async (path: string) => {
          const inner = await openLevelStore(path, { onMissing: "fail" });
          const store = createFaultyStore(inner, { operation: "commit", nth, when, then: "fails" });
          tripped = store.tripped;
          return store;
        };
        const ended = await migrateDeployment({ ...options(), openStore }).catch((error: unknown) => error);
        if (!tripped()) {
          expect(nth, "writes that were cut off").to.be.greaterThan(3);
          break;
        }
        expect(ended).to.be.instanceOf(SigilFault);
        expect(await stateOf()).to.be.oneOf(["2 to 3", "3 to 4", "4 to 5"]);
        await expectResumed(`${when} write ${nth}`, end);
      }
    });
  }

  it("changes hands at one moment: the note that it is under way goes last", async () => {
    fresh();
    const { operations } = await withBreak(null, () => migrateDeployment(options()));
    const states: string[] = [];
    for (let operation = 0; operation < operations; operation += 1) {
      fresh();
      await withBreak({ operation, kind: "killed" }, () => migrateDeployment(options()));
      states.push(await stateOf());
    }
    expect(states.join(", ")).to.match(/^(?:2, )+(?:2 to 3, )+(?:3 to 4, )+(?:4 to 5, )+5(?:, 5)*$/);
  });

  it("is not begun while somebody has the directory", async () => {
    fresh();
    const before = await stateOf();
    await using _ = await openLevelStore(join(directory, "ledger"));
    expect((await expectFault(() => migrateDeployment(options()))).error.kind).to.equal("storeLocked");
    expect(await stateOf()).to.equal(before);
  });

  it("notices another run that ended between its reading and its lock", async () => {
    fresh();
    const openStore = async (path: string) => {
      await migrateDeployment(options());
      return openLevelStore(path, { onMissing: "fail" });
    };
    const { error } = await expectFault(() => migrateDeployment({ ...options(), openStore }));
    expect(error.kind).to.equal("storeLocked");
    expect(await everything()).to.deep.equal(end);
  });

  it("is not rehearsed on a copy of what somebody wrote meanwhile", async () => {
    fresh();
    const busy = setInterval(() => void writeFile(join(directory, "anchor.new"), String(Math.random())), 1);
    const fault = await expectFault(() => rehearseMigration(options(), `${directory}.rehearsal`)).finally(
      () => clearInterval(busy),
    );
    expect(fault.error.kind).to.equal("storeLocked");
  });
});

/** Migrations as later formats may bring them: files made, files made from files, files that go. */
const tableTo7: readonly Migration[] = [
  ...migrations,
  {
    from: 5,
    steps: [
      { name: "one", about: "", run: ({ directory: at }) => replaceFile(join(at, "one"), "1") },
      { name: "two", about: "", run: ({ directory: at }) => replaceFile(join(at, "two"), "2") },
    ],
  },
  {
    from: 6,
    steps: [
      {
        name: "sum",
        about: "",
        run: async ({ directory: at }) => {
          const parts = await Promise.all(["one", "two"].map((name) => readFile(join(at, name), "utf8")));
          await replaceFile(join(at, "sum"), String(parts.reduce((sum, part) => sum + Number(part), 0)));
        },
      },
    ],
  },
];

describe("migrations over several formats", function () {
  this.slow(10_000);
  before(async () => {
    parent = await mkdtemp(join(tmpdir(), "sigil-migrations-"));
  });
  after(() => rm(parent, { recursive: true, force: true }));

  it("are carried out in order, each from where the last run was cut off", async () => {
    const all = (): MigrateOptions => ({ ...options(), table: tableTo7 });
    fresh();
    const { operations } = await withBreak(null, () => migrateDeployment(all()));
    const states: string[] = [];
    for (let operation = 0; operation < operations; operation += 1) {
      fresh();
      await withBreak({ operation, kind: "killed" }, () => migrateDeployment(all()));
      const state = await stateOf();
      if (states.at(-1) !== state) states.push(state);
      const { from, to, resumed } = await migrateDeployment(all());
      expect([from, to, resumed], state).to.deep.equal([Number(state[0]), 7, state.includes("to")]);
      expect(await readFile(join(directory, "sum"), "utf8")).to.equal("3");
      expect(await stateOf()).to.equal("7");
    }
    expect(states).to.deep.equal(["2", "2 to 3", "3 to 4", "4 to 5", "5 to 6", "6 to 7", "7"]);
  });

  it("of a newer program leave nothing that this one opens", async () => {
    fresh();
    await withBreak(null, () => migrateDeployment({ ...options(), table: tableTo7 }));
    const { error } = await expectFault(() => migrateDeployment(options()));
    expect(error).to.deep.equal({ kind: "newerFormat", found: 7, known: newestFormat(migrations) });
  });
});
