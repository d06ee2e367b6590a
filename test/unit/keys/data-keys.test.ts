/** Data keys that cannot be written, and that are destroyed: every copy of every version, and nobody else's. */
import { expect } from "chai";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import { createCustody, openCustody, type Custody } from "../../../src/crypto/custody.ts";
import { createKek, createKekFile } from "../../../src/crypto/kek.ts";
import { SigilFault } from "../../../src/errors.ts";

const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };
const kindOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: unknown) => (error instanceof SigilFault ? error.error.kind : String(error)),
  );

describe("destroying a tenant's data keys", () => {
  let parent = "";
  let kek: Awaited<ReturnType<typeof createKek>>["kek"];
  let custody: Custody;
  const path = (...names: readonly string[]): string => join(parent, ...names);
  const left = (keys = "keys"): Promise<readonly string[]> =>
    readdir(path(keys, "data")).then((names) => names.toSorted());

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "sigil-data-keys-"));
    await createKekFile(path("kek"));
    ({ kek } = await createKek({ kind: "file", path: path("kek") }, kekInputs));
    custody = await createCustody(path("keys"), kek);
    for (const tenant of ["acme", "acme-1", "acme-1-2", "acm", "beta"]) {
      await custody.dataKeys.rotate(tenant);
      await custody.dataKeys.rotate(tenant);
    }
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  it("takes every version of it and no other tenant's, whatever it is called", async () => {
    await writeFile(path("keys", "data", "acme-3.json.new"), "half", { mode: 0o600 });
    await custody.dataKeys.destroy("acme");
    expect(await left()).to.deep.equal(
      ["acm", "acme-1", "acme-1-2", "beta"]
        .flatMap((tenant) => [`${tenant}-1.json`, `${tenant}-2.json`])
        .toSorted(),
    );
    await custody.dataKeys.destroy("acme");
    expect(custody.dataKeys.newest("acme")).to.equal(0);
  });

  it("leaves nothing held in memory, and makes no new key by accident", async () => {
    const opening = custody.dataKeys.at("acme", 1);
    await custody.dataKeys.destroy("acme");
    await opening.catch(() => {});
    expect(await kindOf(custody.dataKeys.at("acme", 1))).to.equal("keyUnavailable");
    expect(await kindOf(custody.dataKeys.current("acme"))).to.equal("keyUnavailable");
    expect(await kindOf(custody.dataKeys.rotate("acme"))).to.equal("keyUnavailable");
    expect(custody.dataKeys.newest("acme")).to.equal(0);
    expect((await left()).some((name) => name.startsWith("acme-1.json"))).to.equal(false);
    const again = await openCustody(path("keys"), kek);
    expect(again.dataKeys.newest("acme")).to.equal(0);
    expect((await again.dataKeys.current("beta")).keyVersion).to.equal(2);
  });

  it("reaches the directory that an interrupted move to another key-encryption key has left", async () => {
    await mkdir(path("keys-2", "data"), { recursive: true, mode: 0o700 });
    await copyFile(path("keys", "data", "acme-1.json"), path("keys-2", "data", "acme-1.json"));
    await copyFile(path("keys", "data", "beta-1.json"), path("keys-2", "data", "beta-1.json"));
    await mkdir(path("keys-of-somebody", "data"), { recursive: true });
    await writeFile(path("keys-of-somebody", "data", "acme-1.json"), "mine");
    await custody.dataKeys.destroy("acme");
    expect(await left("keys-2")).to.deep.equal(["beta-1.json"]);
    expect(await readFile(path("keys-of-somebody", "data", "acme-1.json"), "utf8")).to.equal("mine");
  });
});

describe("making a tenant's data key", () => {
  it("goes on from a version that another process has made, and never back to the one before", async () => {
    const parent = await mkdtemp(join(tmpdir(), "sigil-data-keys-"));
    try {
      await createKekFile(join(parent, "kek"));
      const { kek } = await createKek({ kind: "file", path: join(parent, "kek") }, kekInputs);
      const { dataKeys } = await createCustody(join(parent, "keys"), kek);
      await dataKeys.rotate("acme");
      const { dataKeys: others } = await openCustody(join(parent, "keys"), kek);
      await others.rotate("acme");
      expect(dataKeys.newest("acme")).to.equal(1);
      await dataKeys.at("acme", 2);
      expect([dataKeys.newest("acme"), (await dataKeys.current("acme")).keyVersion]).to.deep.equal([2, 2]);
      await dataKeys.at("acme", 1);
      expect((await dataKeys.current("acme")).keyVersion).to.equal(2);
      expect((await dataKeys.rotate("acme")).keyVersion).to.equal(3);
    } finally {
      await rm(parent, { recursive: true, force: true });
    }
  });

  it("says that it cannot be written, without a path, and makes it when it can", async () => {
    const parent = await mkdtemp(join(tmpdir(), "sigil-data-keys-"));
    try {
      await createKekFile(join(parent, "kek"));
      const { kek } = await createKek({ kind: "file", path: join(parent, "kek") }, kekInputs);
      const { dataKeys } = await createCustody(join(parent, "keys"), kek);
      await rename(join(parent, "keys", "data"), join(parent, "away"));
      const refused: unknown = await dataKeys.rotate("acme").catch((error: unknown) => error);
      expect(refused).to.be.instanceOf(SigilFault);
      const { error } = refused as SigilFault;
      expect(error).to.deep.equal({
        kind: "storeFailed",
        step: "write key",
        rule: "a new data key cannot be written",
      });
      await rename(join(parent, "away"), join(parent, "keys", "data"));
      expect((await dataKeys.rotate("acme")).keyVersion).to.equal(1);
    } finally {
      await rm(parent, { recursive: true, force: true });
    }
  });
});
