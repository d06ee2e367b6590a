/**
 * Moving to another key-encryption key, broken at every change of a file: the old key or the new one opens everything.
 */
import { expect } from "chai";
import { cpSync, rmSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "mocha";
import { describeDeployment, openDeployment } from "../../src/deployment/open.ts";
import { rewrapDeployment, type Rewrapped } from "../../src/deployment/rewrap.ts";
import { createKekFile, parseKekSource, type KekInputs, type KekSource } from "../../src/crypto/kek.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { createDeployment, dataDirectory, openOptions } from "../campaigns/deployment.ts";
import { skipWithoutToken, useSoftHsm, type SoftHsm } from "../contract/softhsm.ts";
import { expectFault } from "../unit/keys/expect-fault.ts";
import { withBreak, type Break } from "./broken-files.ts";

const bodyOf = (tenant: string, id: string): RecordBody => ({
  kind: "user_data",
  schemaVersion: 1,
  id,
  tenant,
  ts: 1,
  space: "user",
  payload: { id },
  links: [],
  prev: null,
});

let parent: string;
let original: string;
let root: string;
let copies = 0;
let size: bigint;

/** A file of 32 random bytes beside the data, by its name. */
const kekFile = (name: string): KekSource => ({ kind: "file", path: join(root, name) });

let kekInputs: KekInputs = openOptions("").kekInputs;
const options = () => ({ ...openOptions(root), kekInputs });

const rewrap = (to: KekSource): Promise<Rewrapped> =>
  rewrapDeployment({ directory: dataDirectory(root), to, kekInputs, newKekInputs: kekInputs });

// Hundreds of copies: one that hands each file to another thread costs several times as much.
const freshCopy = (from = original): void => {
  copies += 1;
  root = join(parent, `copy-${copies}`);
  cpSync(from, root, { recursive: true });
};

const kekInForce = async (): Promise<string> => {
  const text = await readFile(join(dataDirectory(root), "deployment.json"), "utf8");
  return (JSON.parse(text) as { kek: { source: string } }).kek.source;
};

/** Every record opened and verified, with whatever key deployment.json names. */
const requireWhole = async (label: string): Promise<void> => {
  const report = await runFsck(await describeDeployment(options()));
  expect(report.problems, label).to.deep.equal([]);
  expect(report.size, label).to.equal(size);
};

const keyDirectories = async (): Promise<readonly string[]> =>
  (await readdir(dataDirectory(root))).filter((name) => name.startsWith("keys"));

/** Everything in the data directory but the database, whose log grows whenever it is opened. */
const contents = async (): Promise<Readonly<Record<string, string>>> => {
  const entries = await readdir(dataDirectory(root), { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const kept = paths.filter((path) => !path.startsWith(join(dataDirectory(root), "ledger")));
  return Object.fromEntries(
    await Promise.all(kept.map(async (path) => [path, await readFile(path, "hex")] as const)),
  );
};

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "sigil-rewrap-"));
  original = join(parent, "original");
  root = original;
  await mkdir(original, { mode: 0o700 });
  await createDeployment(original);
  const ledger = await openDeployment(openOptions(original));
  for (const tenant of ["acme", "beta"]) await ledger.append([bodyOf(tenant, "note/1")]);
  size = ledger.reader.size;
  await ledger.close();
});
after(() => rm(parent, { recursive: true }));
beforeEach(() => freshCopy());

describe("moving to another key-encryption key", () => {
  it("moves every key, leaves nothing of the old directory, and goes on to serve", async () => {
    const { keys, madeKek, leftBehind } = await rewrap(kekFile("new"));
    expect([keys, madeKek, leftBehind]).to.deep.equal([5, true, null]);
    expect(await keyDirectories()).to.deep.equal(["keys-2"]);
    expect(await kekInForce()).to.equal(`file:${join(root, "new")}`);
    await requireWhole("after the move");
    const ledger = await openDeployment(openOptions(root));
    await ledger.append([bodyOf("new-tenant", "note/1")]);
    await ledger.close();
    await rewrap(kekFile("third"));
    expect(await keyDirectories()).to.deep.equal(["keys-3"]);
    const report = await runFsck(await describeDeployment(openOptions(root)));
    expect([report.problems, report.size]).to.deep.equal([[], size + 1n]);
  });

  it("opens nothing with the old key afterwards", async () => {
    const before = await readFile(join(dataDirectory(root), "deployment.json"), "utf8");
    await rewrap(kekFile("new"));
    const after = JSON.parse(await readFile(join(dataDirectory(root), "deployment.json"), "utf8")) as object;
    const { kek } = JSON.parse(before) as { readonly kek: object };
    await writeFile(join(dataDirectory(root), "deployment.json"), JSON.stringify({ ...after, kek }));
    const { error } = await expectFault(() => describeDeployment(openOptions(root)));
    expect(error.kind).to.equal("keyUnavailable");
  });

  for (const kind of ["killed", "killedHalfway", "failed"] as const) {
    it(`${kind} at any change of a file, leaves a directory that one of the two keys opens whole`, async () => {
      const { operations, writes } = await withBreak(null, () => rewrap(kekFile("new")));
      expect(operations).to.be.greaterThan(50);
      const all = Array.from({ length: operations }, (_, operation) => operation);
      const inForce: string[] = [];
      for (const operation of kind === "killedHalfway" ? writes : all) {
        freshCopy();
        const label = `${kind} at ${operation} of ${operations}`;
        const old = await kekInForce();
        const at: Break = { operation, kind };
        const { error } = await withBreak(at, () => rewrap(kekFile("new")));
        const now = await kekInForce();
        expect([old, `file:${join(root, "new")}`], label).to.include(now);
        inForce.push(now === old ? "old" : "new");
        if (now === old) expect(error, label).to.be.an("error");
        await requireWhole(label);
        // What was left is in nobody's way and goes with the next move.
        await rewrap(kekFile("third"));
        expect(await keyDirectories(), label).to.have.length(1);
        rmSync(root, { recursive: true });
      }
      // There is one moment at which it changes hands.
      expect(inForce).to.include("old").and.to.include("new");
      expect(inForce.join(" ")).to.match(/^(old ?)+(new ?)+$/);
    });
  }

  const refusals: readonly (readonly [string, string, () => Promise<void>])[] = [
    [
      "the key in force is another",
      "wrongKeyEncryptionKey",
      async () => {
        const path = join(dataDirectory(root), "deployment.json");
        const wrong = join(root, "wrong");
        await createKekFile(wrong);
        const text = await readFile(path, "utf8");
        await writeFile(path, text.replace(/"file:[^"]*"/, JSON.stringify(`file:${wrong}`)));
      },
    ],
    [
      "one of the keys does not open",
      "keyUnavailable",
      async () => {
        const path = join(dataDirectory(root), "keys", "data", "beta-1.json");
        const file = JSON.parse(await readFile(path, "utf8")) as { wrapped: string };
        await writeFile(path, JSON.stringify({ ...file, wrapped: `AAAA${file.wrapped.slice(4)}` }));
      },
    ],
    [
      "a key file is of a newer format",
      "newerFormat",
      async () => {
        const path = join(dataDirectory(root), "keys", "data", "beta-1.json");
        await writeFile(path, (await readFile(path, "utf8")).replace('"format": 1', '"format": 9'));
      },
    ],
    [
      "something that is no key lies among the keys",
      "keyUnavailable",
      () => writeFile(join(dataDirectory(root), "keys", "notes.txt"), "mine", { mode: 0o600 }),
    ],
  ];
  for (const [what, kind, prepare] of refusals) {
    it(`touches nothing when ${what}`, async () => {
      await prepare();
      const before = await contents();
      expect((await expectFault(() => rewrap(kekFile("new")))).error.kind).to.equal(kind);
      expect(await contents()).to.deep.equal(before);
      expect(await readdir(root)).to.not.include("new");
    });
  }

  it("refuses the key in force as the new one, under whatever name", async () => {
    await cp(join(original, "kek"), join(root, "same"));
    const before = await contents();
    expect((await expectFault(() => rewrap(kekFile("same")))).error).to.deep.equal({
      kind: "usage",
      rule: `the key-encryption key from file:${join(root, "same")} is the one in force`,
    });
    expect(await contents()).to.deep.equal(before);
  });

  it("is refused while a server has the directory", async () => {
    const ledger = await openDeployment(openOptions(root));
    try {
      expect((await expectFault(() => rewrap(kekFile("new")))).error.kind).to.equal("storeLocked");
      expect(await keyDirectories()).to.deep.equal(["keys"]);
    } finally {
      await ledger.close();
    }
    await requireWhole("after a refused move");
  });

  it("is noticed by a server that read the directory before the move and took its lock after it", async () => {
    const described = await describeDeployment(openOptions(root));
    await rewrap(kekFile("new"));
    const { error } = await expectFault(() => described.openStore());
    expect(error.kind).to.equal("storeLocked");
  });

  it("overwrites the old keys before it removes them", async () => {
    const old = await readFile(join(dataDirectory(root), "keys", "record-1.json"));
    const operations = (await withBreak(null, () => rewrap(kekFile("new")))).operations;
    const found: Buffer[] = [];
    for (let operation = operations - 1; found.length < 1 && operation > 0; operation -= 1) {
      freshCopy();
      await withBreak({ operation, kind: "killed" }, () => rewrap(kekFile("new")));
      const path = join(dataDirectory(root), "keys", "record-1.json");
      found.push(
        ...(await readFile(path).then(
          (bytes) => [bytes],
          () => [],
        )),
      );
    }
    expect(found[0]?.length).to.equal(old.length);
    expect(found[0]?.every((byte) => byte === 0)).to.equal(true);
  });

  it("takes a directory's name in deployment.json for what it is, never for a path", async () => {
    const path = join(dataDirectory(root), "deployment.json");
    const file = JSON.parse(await readFile(path, "utf8")) as object;
    for (const keys of ["../keys", "keys-0", "keys-02", "", "ledger", 2, null]) {
      await writeFile(path, JSON.stringify({ ...file, keys }));
      const { error } = await expectFault(() => describeDeployment(openOptions(root)));
      expect(error.kind, String(keys)).to.equal("invalidConfig");
    }
  });
});

describe("moving to a key on a PKCS #11 token, and back", () => {
  const [onToken, other] = ["kek", "other"].map((name) =>
    parseKekSource(`pkcs11:token=one;object=${name}`),
  ) as [KekSource, KekSource];
  let hsm: SoftHsm;
  let moved: string;

  before(async function () {
    skipWithoutToken(this);
    hsm = await useSoftHsm({ tokens: { one: "7421" } });
    kekInputs = { ...kekInputs, env: { SIGIL_PKCS11_PIN: "7421" }, modulePath: hsm.library };
    freshCopy();
    await rewrap(onToken);
    moved = root;
  });
  after(async () => {
    await hsm?.remove();
    kekInputs = openOptions("").kekInputs;
  });

  it("opens everything with the one key, then with the other, and makes the one on the token once", async () => {
    expect(await rewrap(onToken)).to.include({ keys: 5, madeKek: false });
    await requireWhole("on the token");
    expect(await rewrap(other)).to.include({ keys: 5, madeKek: true });
    await requireWhole("under another key of the token");
    expect((await expectFault(() => rewrap(other))).error.kind).to.equal("usage");
    await rewrap(kekFile("new"));
    await requireWhole("in a file again");
    expect(await keyDirectories()).to.have.length(1);
  });

  const moves: readonly (readonly [string, () => string, () => KekSource])[] = [
    ["from a file to the token", () => original, () => onToken],
    ["from the token to a file", () => moved, () => kekFile("new")],
  ];
  for (const [what, from, to] of moves) {
    it(`killed at any change of a file on its way ${what}, leaves a directory that one of the two opens whole`, async () => {
      freshCopy(from());
      const { operations } = await withBreak(null, () => rewrap(to()));
      const inForce: string[] = [];
      for (let operation = 0; operation < operations; operation += 1) {
        freshCopy(from());
        const label = `${what}, killed at ${operation} of ${operations}`;
        const old = await kekInForce();
        const { error } = await withBreak({ operation, kind: "killed" }, () => rewrap(to()));
        const now = await kekInForce();
        inForce.push(now === old ? "old" : "new");
        if (now === old) expect(error, label).to.be.an("error");
        await requireWhole(label);
        rmSync(root, { recursive: true });
      }
      expect(inForce.join(" ")).to.match(/^(old ?)+(new ?)+$/);
    });
  }
});
