/** An erasure while something fails, or the process dies: no start leaves it half done, and nothing else is touched. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { fail } from "../../src/errors.ts";
import { formatErasure } from "../../src/core/record/kinds.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { familyRange, prefixRange, tenantPrefix } from "../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import type { DataKeys } from "../../src/ledger/sealing/sealer.ts";
import type { Store } from "../../src/storage/store.ts";
import { readStored, renameTenant, replaceStored } from "../contract/tamper.ts";
import { createFaultyStore, type Fault, type FaultyStore } from "../contract/faulty-store.ts";
import { appendKeyed } from "../contract/keyed.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  openWorld,
  systemBody,
  untilStatus,
  userBody,
  withStore,
  type World,
  type WorldOptions,
} from "../contract/memory-ledger.ts";

const order = systemBody("erasure", "erasure/acme", formatErasure({ tenant: "acme", reason: "r" }));
const records = 12;

const createFilled = async (): Promise<World> => {
  const world = await createWorld();
  await using ledger = await openWorld(world);
  for (let turn = 0; turn < records / 2; turn += 1) {
    await ledger.append([userBody(`note/${turn}`), decisionBody(`decision/${turn}`)]);
    await ledger.append([userBody(`other/${turn}`, "x", { tenant: "beta" })]);
  }
  const scope = { tenant: "acme", caller: "c", rpc: "r", key: "k" };
  await appendKeyed(ledger, scope, Uint8Array.of(1), [userBody("other/last", "x", { tenant: "beta" })]);
  await appendKeyed(ledger, { ...scope, key: "alone" }, Uint8Array.of(1), []);
  return world;
};

const settled = async (ledger: Ledger): Promise<void> => {
  // A copy begins when no erasure is under way.
  await (await ledger.reader.export(0n))[Symbol.asyncDispose]();
};

/** After one more start: nothing of the tenant, everything of the others. */
const expectErased = async (world: World): Promise<void> => {
  {
    await using ledger = await openWorld(world);
    await settled(ledger);
    expect(await faultOf(ledger.append([userBody("late")]))).to.include({ kind: "erased", tenant: "acme" });
    expect(await faultOf(ledger.reader.head("acme", "user", "note/1"))).to.include({ kind: "erased" });
    expect((await ledger.reader.readId("beta", "user", "other/3"))?.body.tenant).to.equal("beta");
    await ledger.append([userBody("more", "x", { tenant: "beta" })]);
    // Each is compared with the tree's leaf.
    const entries = await ledger.reader.tiles.entries(0n, Number(ledger.reader.size), async () => {});
    expect(BigInt(entries.length)).to.equal(ledger.reader.size);
  }
  expect(world.options.dataKeys.newest("acme")).to.equal(0);
  await withStore(world, async (store) => {
    for (const family of ["d", "i", "v", "w"] as const) {
      for await (const _ of store.range(prefixRange(tenantPrefix(family, "acme")))) throw new Error(family);
    }
    for (const family of ["k", "e", "y"] as const) {
      for await (const _ of store.range(familyRange(family))) throw new Error(family);
    }
  });
  for (const rebuildIndexes of [false, true]) {
    const report = await runFsck(world.options, { rebuildIndexes });
    expect(report.problems).to.deep.equal([]);
    expect(report.erased).to.deep.equal([{ tenant: "acme", records: BigInt(records) }]);
  }
};

const openFaulty = async (world: World, changes: Partial<WorldOptions> = {}) => {
  let store: FaultyStore | undefined;
  const ledger = await openWorld(world, {
    ...changes,
    openStore: async () => (store = createFaultyStore(await world.options.openStore())),
  });
  return {
    ledger,
    plan: (fault: Fault | null) => store?.plan(fault),
    tripped: () => store?.tripped() ?? false,
  };
};

describe("an erasure", () => {
  it("that nothing disturbs is done when a copy may begin", async () => {
    const world = await createFilled();
    const erased: string[] = [];
    {
      const onErased = (tenant: string, count: bigint): void => void erased.push(`${tenant} ${count}`);
      await using ledger = await openWorld(world, { observe: { onErased } });
      await ledger.append([order]);
      expect(await faultOf(ledger.reader.readAt(1n))).to.include({ kind: "erased", tenant: "acme" });
      await settled(ledger);
      expect(ledger.status.kind).to.equal("serving");
    }
    expect(erased).to.deep.equal([`acme ${records}`]);
    await expectErased(world);
  });

  it("refuses the tenant's writes that wait in the same group, and keeps those before it", async () => {
    const world = await createFilled();
    {
      await using ledger = await openWorld(world);
      const one = ledger.append([userBody("before-1", "x", { tenant: "gamma" })]);
      const ordering = ledger.append([order]);
      const late = Array.from({ length: 5 }, (_, turn) => faultOf(ledger.append([userBody(`late/${turn}`)])));
      await Promise.all([one, ordering]);
      for (const fault of await Promise.all(late))
        expect(fault).to.include({ kind: "erased", tenant: "acme" });
    }
    await expectErased(world);
  });

  it("refuses an answer without a record that comes after it", async () => {
    const world = await createFilled();
    {
      await using ledger = await openWorld(world);
      const answering = ledger.once(
        { tenant: "acme", caller: "c", rpc: "r", key: "late" },
        () => Uint8Array.of(1),
        async (append) => {
          await ledger.append([order]);
          return append([], { outcome: () => 1 });
        },
        async () => [],
      );
      expect(await faultOf(answering)).to.include({ kind: "erased", tenant: "acme" });
    }
    await expectErased(world);
  });

  it("takes along an answer without a record in its own group", async () => {
    const world = await createFilled();
    {
      await using ledger = await openWorld(world);
      await ledger.once(
        { tenant: "acme", caller: "c", rpc: "r", key: "beside" },
        () => Uint8Array.of(1),
        async (append) => {
          await Promise.all([ledger.append([order]), append([], { outcome: () => 1 })]);
        },
        async () => undefined,
      );
    }
    await expectErased(world);
  });

  for (const operation of ["commit", "get", "range", "purge"] as const) {
    // A reading that fails afterwards is one that failed.
    for (const when of operation === "commit" || operation === "purge"
      ? (["before", "after"] as const)
      : (["before"] as const)) {
      it(`whose process dies at any ${operation}, ${when} it is carried out, is finished by the next start`, async () => {
        let deaths = 0;
        for (let nth = 1; ; nth += 1) {
          const world = await createFilled();
          const { ledger, plan, tripped } = await openFaulty(world);
          await ledger.append([order]);
          // Dead from here on: whatever it asks of the store fails.
          plan({ operation, nth, when, then: "fails" });
          for (let turns = 0; turns < 40 && !tripped(); turns += 1) {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
          const isTripped = tripped();
          if (isTripped) deaths += 1;
          await ledger.close().catch(() => {});
          world.backing.held = false;
          await expectErased(world);
          if (!isTripped) break;
          if (nth > 8) nth += 11;
        }
        expect(deaths).to.be.at.least(1);
      });
    }
  }

  for (const operation of ["commit", "purge"] as const) {
    it(`of which one ${operation} fails is finished without a start`, async () => {
      const world = await createFilled();
      const { ledger, plan } = await openFaulty(world);
      await ledger.append([order]);
      plan({ operation, nth: 1, when: "before", then: "works" });
      await new Promise((resolve) => setTimeout(resolve, 20));
      await untilStatus(ledger, "serving");
      await settled(ledger);
      expect(world.options.dataKeys.newest("acme")).to.equal(0);
      await ledger.close();
      await expectErased(world);
    });
  }

  it("whose keys cannot be destroyed keeps the tenant unread, and the next start destroys them", async () => {
    const world = await createFilled();
    const faults: unknown[] = [];
    const stubborn: DataKeys = {
      ...world.options.dataKeys,
      destroy: async () => fail({ kind: "keyUnavailable", rule: "planned fault" }),
    };
    {
      const observe = { onFault: (cause: unknown) => void faults.push(cause) };
      await using ledger = await openWorld(world, { dataKeys: stubborn, observe });
      await ledger.append([order]);
      await settled(ledger);
      expect(faults).to.have.length(1);
      expect(await faultOf(ledger.reader.readAt(1n))).to.include({ kind: "erased" });
      expect(await faultOf(ledger.append([userBody("late")]))).to.include({ kind: "erased" });
    }
    expect(world.options.dataKeys.newest("acme")).to.equal(1);
    const unfinished = await runFsck(world.options);
    expect(unfinished.problems.map(({ step, rule }) => `${step}: ${rule}`).join("\n")).to.contain(
      'erasure: the erasure of tenant "acme" is not finished; start the server once',
    );
    await expectErased(world);
  });

  it("breaks off a copy that began before it, so that none has half of the tenant's keys", async () => {
    const world = await createFilled();
    const { dataKeys } = world.options;
    const copying: AsyncIterator<unknown>[] = [];
    const goOn = (groups: AsyncIterator<unknown> | undefined) =>
      faultOf((async () => void (await groups?.next()))());
    let whenKeysGo: string | undefined;
    const destroy = async (tenant: string): Promise<void> => {
      whenKeysGo = (await goOn(copying[1]))?.kind;
      await dataKeys.destroy(tenant);
    };
    await using ledger = await openWorld(world, { dataKeys: { ...dataKeys, destroy } });
    await using copy = await ledger.reader.export(0n);
    copying.push(copy.groups()[Symbol.asyncIterator](), copy.groups()[Symbol.asyncIterator]());
    for (const each of copying) await each.next();
    await ledger.append([order]);
    await settled(ledger);
    expect(whenKeysGo).to.equal("notServing");
    const [groups] = copying;
    const error = await faultOf(
      (async () => {
        for (;;) if ((await groups?.next())?.done !== false) return;
      })(),
    );
    expect(error?.kind).to.be.oneOf(["notServing", "storeFailed"]);
    await ledger.close();
    await expectErased(world);
  });

  it("does not make a neighbour's record an erased one when its label says so", async () => {
    const world = await createFilled();
    let store: Store | undefined;
    const openStore = async () => (store = await world.options.openStore());
    await using ledger = await openWorld(world, { openStore });
    await ledger.append([order]);
    await settled(ledger);
    const head = await ledger.reader.head("beta", "user", "other/3");
    const position = head?.position ?? 0n;
    expect((await ledger.reader.readAt(position, "beta")).body.id).to.equal("other/3");
    if (store === undefined) throw new Error("nobody opened the store");
    await replaceStored(store, position, renameTenant(await readStored(store, position), "acme"));
    expect(await faultOf(ledger.reader.readId("beta", "user", "other/3"))).to.include({
      kind: "recordCorrupt",
      step: "seal",
    });
    expect(await faultOf(ledger.reader.examine(position, "beta"))).to.include({ kind: "recordCorrupt" });
    await ledger.close();
    const { problems } = await runFsck(world.options, { rebuildIndexes: true });
    expect(problems.map(({ step }) => step)).to.include("erasure");
  });
});
