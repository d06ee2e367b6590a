/**
 * A tenant's data key that is rotated while the ledger serves, on a real disk: whatever fails and wherever the process
 * dies, a version that has been replaced never seals again.
 */
import { expect } from "chai";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import { describeDeployment, openDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { familyRange, sealCountKey, summaryKey } from "../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { readU64be, utf8Decode } from "../../src/core/bytes.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { createDeployment, dataDirectory, openOptions } from "../campaigns/deployment.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { faultOf, untilStatus, userBody } from "../contract/memory-ledger.ts";

describe("a data key's rotation", function () {
  this.slow(3000);
  let root = "";
  let written = 0;
  const ledgerPath = (): string => join(dataDirectory(root), "ledger");
  const keyPath = (version: number, suffix = ""): string =>
    join(dataDirectory(root), "keys", "data", `acme-${version}.json${suffix}`);
  const open = (): Promise<Ledger> => openDeployment(openOptions(root));
  const write = async (ledger: Ledger, count = 2): Promise<void> => {
    for (let each = 0; each < count; each += 1) await ledger.append([userBody(`note/${(written += 1)}`)]);
  };

  /** Versions that sealed the tenant's records, in the order of the ledger. Nobody has it open. */
  const versions = async (): Promise<readonly number[]> => {
    await using store = await openLevelStore(ledgerPath(), { onMissing: "fail" });
    const found: number[] = [];
    for await (const [, stored] of store.range(familyRange("r"))) {
      const end = 1 + (stored[0] ?? 0);
      if (utf8Decode(stored.subarray(1, end)) !== "acme") continue;
      found.push(new DataView(stored.buffer, stored.byteOffset + end).getUint32(0));
    }
    return found;
  };

  const expectClean = async (): Promise<void> => {
    const options = await describeDeployment(openOptions(root));
    expect(await runFsck(options)).to.include({ ok: true, total: 0 });
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "sigil-data-keys-"));
    await createDeployment(root);
    await using ledger = await open();
    await write(ledger);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it("puts a new version in the place of the old one, which never seals again, not after a start either", async () => {
    {
      await using ledger = await open();
      const { size } = ledger.reader;
      const rotated = await ledger.rotateDataKey("acme", 1);
      expect(rotated).to.deep.equal({ tenant: "acme", version: 2, seals: 0, first: size, state: "sealing" });
      await write(ledger);
    }
    {
      await using ledger = await open();
      await write(ledger);
      await ledger.rotateDataKey("acme");
    }
    {
      await using ledger = await open();
      await write(ledger);
      for (let position = 0n; position < ledger.reader.size; position += 1n) {
        expect((await ledger.reader.examine(position)).record, `position ${position}`).to.not.equal(
          undefined,
        );
      }
      const listed = await ledger.reader.dataKeys({ tenant: "acme", limit: 10 });
      expect(listed.map(({ version, seals, state }) => [version, seals, state])).to.deep.equal([
        [1, 2, "opening"],
        [2, 4, "opening"],
        [3, 2, "sealing"],
      ]);
    }
    expect(await versions()).to.deep.equal([1, 1, 2, 2, 2, 2, 3, 3]);
    await expectClean();
  });

  it("under load lets nobody's record be sealed by the old version once it is answered", async () => {
    await using ledger = await open();
    let rotatedAt: bigint | undefined;
    const writing = Array.from({ length: 40 }, async () => {
      for (let turn = 0; turn < 5; turn += 1) await write(ledger, 1);
    });
    const rotating = (async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      rotatedAt = (await ledger.rotateDataKey("acme")).first;
    })();
    await Promise.all([...writing, rotating]);
    await write(ledger);
    await ledger.close();
    const sealedBy = await versions();
    expect(sealedBy).to.deep.equal(sealedBy.toSorted((a, b) => a - b));
    expect(sealedBy.at(-1)).to.equal(2);
    expect(sealedBy.indexOf(2)).to.be.at.most(Number(rotatedAt));
  });

  it("is refused while another version seals than was expected, and for a tenant without a key", async () => {
    await using ledger = await open();
    await ledger.rotateDataKey("acme", 1);
    expect(await faultOf(ledger.rotateDataKey("acme", 1))).to.include({ kind: "keyReplaced", role: "data" });
    expect(await faultOf(ledger.rotateDataKey("beta"))).to.include({ kind: "notFound" });
    expect(await readdir(join(dataDirectory(root), "keys", "data"))).to.not.include("beta-1.json");
  });

  it("cut off while the file was being written leaves the old version in use, and can be repeated", async () => {
    await writeFile(keyPath(2, ".new"), "half", { mode: 0o600 });
    {
      await using ledger = await open();
      await write(ledger);
      expect(await ledger.rotateDataKey("acme")).to.include({ version: 2 });
      await write(ledger);
    }
    expect(await versions()).to.deep.equal([1, 1, 1, 1, 2, 2]);
    await expectClean();
  });

  it("cut off when the file was there goes on with the new version at the next start", async () => {
    const before = await openLevelStore(ledgerPath(), { onMissing: "fail" });
    const summary = (await before.get(summaryKey)) ?? expect.fail("there is no summary");
    await before.close();
    {
      await using ledger = await open();
      await ledger.rotateDataKey("acme");
    }
    // As it was before the count was written: the file is all there is of the rotation.
    const store = await openLevelStore(ledgerPath(), { onMissing: "fail" });
    await store.commit([
      { kind: "delete", key: sealCountKey("acme", 2) },
      { kind: "put", key: summaryKey, value: summary },
    ]);
    await store.close();
    {
      await using ledger = await open();
      await write(ledger);
      expect(await ledger.reader.dataKeys({ tenant: "acme", limit: 10 })).to.have.length(2);
    }
    expect(await versions()).to.deep.equal([1, 1, 2, 2]);
    await expectClean();
  });

  for (const when of ["before", "after"] as const) {
    it(`whose count fails ${when} it is written seals with the new version all the same`, async () => {
      let faulty: FaultyStore | undefined;
      const openStore = async () => (faulty = createFaultyStore(await openLevelStore(ledgerPath())));
      {
        await using ledger = await openDeployment({ ...openOptions(root), openStore });
        faulty?.plan({ operation: "commit", nth: 1, when, then: "works" });
        expect(await faultOf(ledger.rotateDataKey("acme"))).to.include({ kind: "storeFailed" });
        faulty?.plan(null);
        await untilStatus(ledger, "serving");
        await write(ledger);
        expect(await ledger.rotateDataKey("acme", 2)).to.include({ version: 3 });
        await write(ledger);
      }
      expect(await versions()).to.deep.equal([1, 1, 2, 2, 3, 3]);
      await expectClean();
    });
  }

  it("goes on when the file was made by an attempt that then failed", async () => {
    await using ledger = await open();
    // Another process's, or this one's before its directory could be synced.
    const elsewhere = `${root}-elsewhere`;
    await cp(root, elsewhere, { recursive: true });
    try {
      await rm(join(dataDirectory(elsewhere), "ledger", "LOCK"), { force: true });
      await using other = await openDeployment(openOptions(elsewhere));
      await other.rotateDataKey("acme");
      await cp(
        join(dataDirectory(elsewhere), "keys", "data", "acme-2.json"),
        join(dataDirectory(root), "keys", "data", "acme-2.json"),
      );
    } finally {
      await rm(elsewhere, { recursive: true, force: true });
    }
    expect(await ledger.rotateDataKey("acme")).to.include({ version: 2 });
    await write(ledger);
    await ledger.close();
    expect(await versions()).to.deep.equal([1, 1, 2, 2]);
  });

  it("is not undone by the loss of the new file: the tenant is refused, and everybody else is served", async () => {
    {
      await using ledger = await open();
      await ledger.rotateDataKey("acme");
    }
    await rm(keyPath(2));
    await using ledger = await open();
    expect(await faultOf(ledger.append([userBody("late")]))).to.include({ kind: "keyUnavailable" });
    await ledger.append([userBody("other", "x", { tenant: "beta" })]);
    expect(ledger.status.kind).to.equal("serving");
    expect((await ledger.reader.readAt(ledger.reader.size - 1n)).body.id).to.equal("other");
  });

  it("and a first version is never made a second time for a tenant whose keys are lost", async () => {
    {
      await using ledger = await open();
      // A start opens the newest records.
      await ledger.append([userBody("other", "x", { tenant: "beta" })]);
    }
    await rm(keyPath(1));
    await using ledger = await open();
    expect(await faultOf(ledger.append([userBody("late")]))).to.include({ kind: "keyUnavailable" });
    expect(await faultOf(ledger.reader.authenticate("acme", Uint8Array.of(1)))).to.include({
      kind: "keyUnavailable",
    });
    expect(await readdir(join(dataDirectory(root), "keys", "data"))).to.have.members([
      "beta-1.json",
      "system-1.json",
    ]);
  });

  it("counts every seal where the counts say it", async () => {
    await using ledger = await open();
    await ledger.rotateDataKey("acme");
    await write(ledger, 3);
    await ledger.close();
    await using store = await openLevelStore(ledgerPath(), { onMissing: "fail" });
    const count = async (version: number): Promise<bigint | undefined> => {
      const bytes = await store.get(sealCountKey("acme", version));
      return bytes && readU64be(bytes);
    };
    expect([await count(1), await count(2)]).to.deep.equal([2n, 3n]);
  });
});
