/**
 * A key that changes while something fails: the ledger has the old one or the new one, never both and never neither.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { fail } from "../../src/errors.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import type { SigningKeys } from "../../src/ledger/append/signers.ts";
import { createFaultyStore, type Fault, type FaultyStore } from "../contract/faulty-store.ts";
import {
  createWorld,
  faultOf,
  openWorld,
  untilStatus,
  userBody,
  type World,
} from "../contract/memory-ledger.ts";

const openFaulty = async (world: World) => {
  let store: FaultyStore | undefined;
  const ledger = await openWorld(world, {
    openStore: async () => (store = createFaultyStore(await world.options.openStore())),
  });
  return {
    ledger,
    plan: (fault: Fault | null) => store?.plan(fault),
    tripped: () => store?.tripped() ?? false,
  };
};

/** What was written before and after verifies, with the key in use and after a start. */
const expectWhole = async (world: World, ledger: Ledger): Promise<void> => {
  await ledger.append([userBody("after")]);
  const newest = newestKey(ledger.reader.ring, "record");
  expect((await ledger.reader.readAt(ledger.reader.size - 1n)).signedBy).to.deep.equal(newest);
  for (let position = 0n; position < ledger.reader.size; position += 1n) {
    expect((await ledger.reader.examine(position)).record, `position ${position}`).to.not.equal(undefined);
  }
  await ledger.close();
  await using again = await openWorld(world);
  expect(again.reader.ring).to.deep.equal(ledger.reader.ring);
  await again.append([userBody("again")]);
  // The keys in use and no others.
  await again.close();
  expect(await runFsck(world.options)).to.include({ ok: true, total: 0 });
};

describe("a rotation", () => {
  for (const role of ["record", "checkpoint"] as const) {
    for (const when of ["before", "after"] as const) {
      for (const operation of ["commit", "get", "range"] as const) {
        it(`of the ${role} key whose ${operation} fails ${when} it is carried out leaves one key in use`, async () => {
          let failures = 0;
          for (let nth = 1; ; nth += 1) {
            const world = await createWorld();
            const { ledger, plan, tripped } = await openFaulty(world);
            await ledger.append([userBody("early")]);
            plan({ operation, nth, when, then: "works" });
            const fault = await faultOf(ledger.rotateKey(role));
            const isTripped = tripped();
            plan(null);
            await untilStatus(ledger, "serving");
            if (isTripped && fault !== undefined) {
              failures += 1;
              expect(["indeterminate", "notServing"]).to.include(fault.kind);
            }
            const keys = ledger.reader.ring.entries.filter((entry) => entry.role === role);
            const isNew = fault === undefined || (operation === "commit" && when === "after");
            expect(keys, `call ${nth}`).to.have.length(isNew ? 2 : 1);
            await expectWhole(world, ledger);
            if (!isTripped) break;
          }
          if (operation === "commit") expect(failures).to.equal(1);
        });
      }
    }
  }

  it("keeps those who wait for it, whichever way it ends", async () => {
    for (const when of ["before", "after"] as const) {
      const world = await createWorld();
      const { ledger, plan } = await openFaulty(world);
      plan({ operation: "commit", nth: 1, when, then: "works" });
      const rotating = faultOf(ledger.rotateKey("record"));
      const writing = Array.from({ length: 20 }, (_, index) =>
        faultOf(ledger.append([userBody(`w${index}`)])),
      );
      expect((await rotating)?.kind).to.equal("indeterminate");
      for (const fault of await Promise.all(writing))
        expect([undefined, "notServing"]).to.include(fault?.kind);
      plan(null);
      await untilStatus(ledger, "serving");
      await expectWhole(world, ledger);
    }
  });

  it("whose key cannot be made changes nothing", async () => {
    const world = await createWorld();
    const signingKeys: SigningKeys = {
      ...world.options.signingKeys,
      create: async () => fail({ kind: "keyUnavailable", rule: "planned fault" }),
    };
    await using ledger = await openWorld(world, { signingKeys });
    expect(await faultOf(ledger.rotateKey("record"))).to.include({ kind: "keyUnavailable" });
    expect(ledger.reader.size).to.equal(1n);
    await expectWhole(world, ledger);
  });

  it("that a crash cuts off after the key was made goes on with the old key", async () => {
    const world = await createWorld();
    await world.options.signingKeys.create("record");
    await using ledger = await openWorld(world);
    await ledger.append([userBody("a")]);
    expect((await ledger.reader.readAt(1n)).signedBy.publicKey).to.deep.equal(
      world.options.recordSigner.publicKey,
    );
    await ledger.rotateKey("record");
    await expectWhole(world, ledger);
  });

  it("beside a copy of the keys destroys the old one when the copy is done", async () => {
    const world = await createWorld();
    const { signingKeys, recordSigner } = world.options;
    await using ledger = await openWorld(world);
    const [one, two] = [await ledger.holdKeys(), await ledger.holdKeys()];
    await ledger.rotateKey("record");
    await one[Symbol.asyncDispose]();
    await one[Symbol.asyncDispose]();
    expect(await signingKeys.open("record", recordSigner.publicKey)).to.equal(recordSigner);
    await two[Symbol.asyncDispose]();
    const gone = await faultOf(signingKeys.open("record", recordSigner.publicKey));
    expect(gone).to.include({ kind: "keyUnavailable" });
    await expectWhole(world, ledger);
  });

  it("whose old key cannot be destroyed is done all the same, and the next start destroys it", async () => {
    const world = await createWorld();
    const { signingKeys } = world.options;
    const faults: unknown[] = [];
    const stubborn: SigningKeys = {
      ...signingKeys,
      discard: async (ended) => {
        if (ended.length > 0) throw new Error("planned fault");
      },
    };
    const ledger = await openWorld(world, {
      signingKeys: stubborn,
      observe: { onFault: (cause) => faults.push(cause) },
    });
    await ledger.rotateKey("record");
    expect(faults).to.have.length(1);
    const { publicKey } = world.options.recordSigner;
    expect(await signingKeys.open("record", publicKey)).to.equal(world.options.recordSigner);
    await expectWhole(world, ledger);
    expect(await faultOf(signingKeys.open("record", publicKey))).to.include({ kind: "keyUnavailable" });
  });
});
