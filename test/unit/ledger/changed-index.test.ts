/**
 * Whoever can write to the directory and has no key: every entry of every index deleted, put back to what it was before, or
 * doubled, one at a time. Each is noticed when the ledger is opened or by the read that would have used it; a read that
 * answers gives what it gives of the ledger nobody touched.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { formatErasure, formatPrincipal } from "../../../src/record/kinds.ts";
import { concatBytes, readU64be, toHex, u64be, utf8Encode, type Hash } from "../../../src/record/bytes.ts";
import { SigilFault, type SigilError } from "../../../src/record/errors.ts";
import { runFsck } from "../../../src/ledger/fsck.ts";
import { families, rebuildingKey, summaryKey, type Family } from "../../../src/ledger/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { Store, StoreOp } from "../../../src/storage/store.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  faultOf,
  newSigner,
  openWorld,
  systemBody,
  userBody,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";
import { removeStored } from "../../contract/tamper.ts";

/** Every value a key ever had, oldest first. */
type Past = Map<string, Uint8Array[]>;

type Built = { readonly world: World; readonly past: Past; readonly hashes: readonly Hash[] };

const principal = (active: boolean) =>
  formatPrincipal({ publicKeys: [newSigner().publicKey], loa: "mentor", tenant: "acme", active });

const scope = (key: string) => ({ tenant: "acme", caller: "svc", rpc: "Check", key });
const asked = utf8Encode("body");

/** A whole tile of records, most of them decisions of one commit; versions, tenants, keys, an erased tenant. */
const build = async (): Promise<Built> => {
  const world = await createWorld();
  const past: Past = new Map();
  const openStore = async (): Promise<Store> => {
    const store: { -readonly [Name in keyof Store]: Store[Name] } = await world.options.openStore();
    const commit = store.commit.bind(store);
    store.commit = async (batch) => {
      await commit(batch);
      for (const op of batch) {
        const values = past.get(toHex(op.key)) ?? [];
        if (op.kind === "put") past.set(toHex(op.key), [...values, op.value]);
      }
    };
    return store;
  };
  const erased = Promise.withResolvers<void>();
  const ledger = await openWorld(world, { openStore, observe: { onErased: () => erased.resolve() } });
  const hashes: Hash[] = [];
  const append = async (...args: Parameters<Ledger["append"]>): Promise<Hash> => {
    const appended = await ledger.append(...args);
    hashes.push(...appended.map(({ hash }) => hash));
    return appended.at(-1)?.hash as Hash;
  };
  await append(Array.from({ length: 250 }, (_, index) => decisionBody(`d${index}`)));
  const enrolled = await append([systemBody("principal", "principal/ann", principal(true))]);
  const twice = await append([userBody("twice", 1)]);
  await append([{ ...userBody("twice", 2), prev: twice }, userBody("only")]);
  await append([{ ...systemBody("principal", "principal/ann", principal(false)), prev: enrolled }]);
  await append([userBody("other", 1, { tenant: "umbrella" }), decisionBody("e0", { tenant: "umbrella" })]);
  await append([userBody("gone", 1, { tenant: "doomed" }), decisionBody("g0", { tenant: "doomed" })]);
  for (const key of ["k1", "k2"]) {
    const claim = await ledger.claim(scope(key), asked);
    if (claim.kind !== "held") throw new Error("the key is free");
    await append([decisionBody(`keyed-${key}`)], { extraOps: () => claim.ops(key, world.timeMs) });
    claim.release();
  }
  await ledger.rotateDataKey("acme");
  await append([decisionBody("sealed-by-the-second")]);
  await append([
    systemBody("erasure", "erasure/doomed", formatErasure({ tenant: "doomed", reason: "asked" })),
  ]);
  await erased.promise;
  await ledger.close();
  return { world, past, hashes };
};

const noticed: readonly SigilError["kind"][] = [
  "ledgerCorrupt",
  "recordCorrupt",
  "ledgerBehindAnchor",
  "keyUnavailable",
];

const gather = async <T, R>(items: AsyncIterable<T>, give: (item: T) => R): Promise<readonly R[]> => {
  const all: R[] = [];
  for await (const item of items) all.push(give(item));
  return all;
};

type Read = readonly [name: string, read: (ledger: Ledger) => Promise<unknown>];

const bulk = ["d0", "d125", "d248", "d249"];

/** Everything anybody asks of a ledger, over every record but most of the decisions that were made at once. */
const readsOf = (hashes: readonly Hash[]): readonly Read[] => {
  const reads: Read[] = [];
  const tenants = ["system", "acme", "acme", "acme", "system", "umbrella", "umbrella", "doomed", "doomed"];
  const positions = [0n, 1n, 126n, 249n, 250n, ...Array.from({ length: 14 }, (_, at) => BigInt(251 + at))];
  for (const position of positions) {
    const tenant = position > 0n && position < 251n ? "acme" : tenants[Number(position) - 251];
    // As an index names it: with the tenant that it is of.
    reads.push([`record ${position}`, async (ledger) => toHex((await ledger.readAt(position, tenant)).hash)]);
  }
  for (const hash of [...hashes.slice(0, 1), ...hashes.slice(249)]) {
    reads.push([
      `hash ${toHex(hash).slice(0, 8)}`,
      async (ledger) => (await ledger.readHash(hash))?.position,
    ]);
  }
  const ids = [
    ["system", "system", "principal/ann"],
    ["system", "system", "genesis"],
    ["system", "system", "erasure/doomed"],
    ["acme", "user", "twice"],
    ["acme", "user", "only"],
    ["acme", "user", "nobody"],
    ["umbrella", "user", "other"],
    ["doomed", "user", "gone"],
  ] as const;
  for (const [tenant, space, id] of ids) {
    const name = `${tenant} ${id}`;
    reads.push([`newest ${name}`, async (ledger) => (await ledger.readId(tenant, space, id))?.position]);
    for (const version of [1n, 2n]) {
      reads.push([`${name} ${version}`, (ledger) => ledger.versionAt(tenant, space, id, version)]);
    }
    reads.push([`${name} then`, (ledger) => ledger.versionBelow(tenant, space, id, 253n)]);
    const walk = { tenant, space, id, order: "newestFirst", limit: 9, size: 1000n } as const;
    reads.push([`history ${name}`, (ledger) => gather(ledger.history(walk), ({ position }) => position)]);
  }
  for (const id of [...bulk, "keyed-k1", "keyed-k2", "sealed-by-the-second", "never"]) {
    reads.push([`decision ${id}`, (ledger) => decisionOf(ledger, "acme", id)]);
  }
  reads.push(["decision e0", (ledger) => decisionOf(ledger, "umbrella", "e0")]);
  for (const [tenant, space] of [
    ["acme", "user"],
    ["umbrella", "user"],
    ["system", "system"],
  ] as const) {
    const decisions = { tenant, filter: {}, order: "oldestFirst", size: 1000n } as const;
    reads.push([
      `decisions of ${tenant}`,
      (ledger) => gather(ledger.decisions(decisions), ({ positions }) => positions.map(String)),
    ]);
    const listing = { tenant, space, idPrefix: "", size: 1000n, scanMax: 1000 };
    reads.push([
      `ids of ${tenant}`,
      (ledger) => gather(ledger.versions(listing), (each) => [each.id, each.position]),
    ]);
    const walk = { tenant, from: 0n, size: 1000n, limit: 1000 };
    reads.push([
      `records of ${tenant}`,
      (ledger) => gather(ledger.records(walk), ({ position }) => position),
    ]);
    reads.push([
      `heads of ${tenant}`,
      (ledger) => gather(ledger.heads(tenant, space, ""), ({ position }) => position),
    ]);
  }
  for (const key of ["k1", "k2", "k3"]) reads.push([`key ${key}`, (ledger) => claimed(ledger, key)]);
  reads.push([
    "data keys",
    async (ledger) => (await ledger.dataKeys({ limit: 100 })).map(({ seals }) => seals),
  ]);
  reads.push(["a write", (ledger) => ledger.append([userBody("twice", 3)])]);
  reads.push([
    "export",
    async (ledger) => {
      await using exported = await ledger.export(0n);
      return (await gather(exported.groups(), ({ end }) => end)).at(-1);
    },
  ]);
  return reads;
};

/** As a caller gets it: a decision that is not the one asked for is damage. */
const decisionOf = async (ledger: Ledger, tenant: string, id: string): Promise<unknown> => {
  const position = await ledger.decisionAt(tenant, id);
  if (position === undefined) return undefined;
  const { body } = await ledger.readAt(position, tenant);
  return body.id === id && body.tenant === tenant ? position : "damage";
};

const claimed = async (ledger: Ledger, key: string): Promise<unknown> => {
  const claim = await ledger.claim(scope(key), asked);
  if (claim.kind === "held") claim.release();
  return claim.kind === "held" ? "free" : claim.outcome;
};

/** What a read gives; "damage" for any error that says so. */
const answerOf = async (read: Read[1], ledger: Ledger): Promise<unknown> => {
  try {
    return await read(ledger);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return noticed.includes(error.error.kind) ? "damage" : error.error.kind;
  }
};

/** How an attack was noticed: at the start, by the reads named; or what answered wrongly. */
const attack = async (
  world: World,
  ops: readonly StoreOp[],
  sound: readonly unknown[],
  reads: readonly Read[],
) => {
  const copy = await copyWorld(world);
  await withStore(copy, (store) => store.commit(ops));
  let ledger: Ledger;
  try {
    ledger = await openWorld(copy);
  } catch (error) {
    if (error instanceof SigilFault && noticed.includes(error.error.kind)) return { at: "start", wrong: [] };
    throw error;
  }
  const wrong: string[] = [];
  let damaged = 0;
  for (const [index, [name, read]] of reads.entries()) {
    const answer = await answerOf(read, ledger);
    if (answer === "damage") damaged += 1;
    else if (JSON.stringify(answer, said) !== JSON.stringify(sound[index], said)) wrong.push(name);
  }
  await ledger.close();
  return { at: damaged > 0 ? "read" : "nowhere", wrong };
};

const said = (_: string, value: unknown): unknown => (typeof value === "bigint" ? `${value}n` : value);

/** Of the decisions that were made at once only some: they are all alike. */
const isBulk = (family: Family, key: Uint8Array, value: Uint8Array): boolean => {
  const at = { r: () => readU64be(key, 1), h: () => readU64be(value) };
  const position = family === "r" || family === "h" ? at[family]() : 0n;
  return position > 1n && position < 249n && position !== 126n;
};

/** Nobody can open them any more, so nobody can tell one from another. */
const isErased = (family: Family, key: Uint8Array): boolean =>
  family === "r" && [258n, 259n].includes(readU64be(key, 1));

const put = (key: Uint8Array, value: Uint8Array): StoreOp => ({ kind: "put", key, value });

/** A key like this one that names something else. */
const besides = (key: Uint8Array): Uint8Array => {
  const other = key.slice();
  other[other.length - 1] = (other.at(-1) ?? 0) ^ 0x01;
  return other;
};

describe("an index that was changed by somebody without a key", () => {
  let built: Built;
  let reads: readonly Read[];
  const sound: unknown[] = [];

  before(async () => {
    built = await build();
    reads = readsOf(built.hashes);
    const ledger = await openWorld(await copyWorld(built.world));
    for (const [, read] of reads) sound.push(await answerOf(read, ledger));
    await ledger.close();
    expect((await runFsck(built.world.options)).problems).to.deep.equal([]);
    expect(sound).to.not.include("damage");
  });

  const entriesOf = (family: Family) =>
    built.world.backing.entries.filter(
      ([key, value]) => key[0] === family.charCodeAt(0) && !isBulk(family, key, value),
    );

  const requireNoticed = async (
    name: string,
    ops: readonly StoreOp[],
    mustBeSeen: boolean,
  ): Promise<void> => {
    const { at, wrong } = await attack(built.world, ops, sound, reads);
    expect(wrong, `${name}: noticed ${at}, answers otherwise`).to.deep.equal([]);
    if (mustBeSeen) expect(at, name).to.not.equal("nowhere");
  };

  for (const family of families) {
    if (family === "x" || family === "y") continue;

    it(`answers nothing wrong when any entry of "${family}" is deleted`, async () => {
      const entries = entriesOf(family);
      expect(entries.length).to.be.greaterThan(0);
      for (const [key] of entries) {
        // An old group's entry is read by nobody but a backup, which is among the reads.
        await requireNoticed(`${family} ${toHex(key)}`, [{ kind: "delete", key }], true);
      }
    });

    it(`answers nothing wrong when any entry of "${family}" is put back`, async () => {
      for (const [key, value] of entriesOf(family)) {
        for (const older of built.past.get(toHex(key)) ?? []) {
          if (toHex(older) === toHex(value)) continue;
          await requireNoticed(`${family} ${toHex(key)}`, [put(key, older)], true);
        }
      }
    });

    it(`answers nothing wrong when any entry of "${family}" is doubled`, async () => {
      const entries = entriesOf(family);
      for (const [index, [key, value]] of entries.entries()) {
        await requireNoticed(`${family} ${toHex(key)} beside`, [put(besides(key), value)], false);
        const other = entries[(index + 1) % entries.length]?.[1] ?? value;
        if (toHex(other) === toHex(value)) continue;
        await requireNoticed(`${family} ${toHex(key)} over`, [put(key, other)], !isErased(family, key));
      }
    });
  }

  const keyOf = (family: Family, ...parts: string[]): Uint8Array =>
    built.world.backing.entries.find(
      ([key]) =>
        key[0] === family.charCodeAt(0) &&
        parts.every((part) => Buffer.from(key).includes(Buffer.from(part))),
    )?.[0] ?? expect.fail(`there is no such entry of "${family}"`);
  const remove = (key: Uint8Array): StoreOp => ({ kind: "delete", key });
  const olderOf = (key: Uint8Array): Uint8Array =>
    built.past.get(toHex(key))?.at(-2) ?? expect.fail("it never was another");

  /** Everything that names the last version of an id, as it was before that version. */
  const forget = (tenant: string, space: string, id: string, at: bigint) => {
    const head = keyOf("i", `${tenant}\0${space}\0${id}`);
    const version = keyOf("v", `${tenant}\0${space}\0${id}\0\0\0\0\0\0\0\0\u0002`);
    const hash = built.hashes[Number(at) - 1] ?? expect.fail("there is no such record");
    return {
      head: put(head, olderOf(head)),
      version: remove(version),
      place: remove(concatBytes(utf8Encode(`w${tenant}\0`), u64be(at))),
      hash: remove(concatBytes(utf8Encode("h"), hash)),
    };
  };

  it("refuses to start when everything that revokes a principal is forgotten at once", async () => {
    const { head, version, place, hash } = forget("system", "system", "principal/ann", 255n);
    const summaries = [...built.past].filter(([name]) => name.startsWith(toHex(utf8Encode("m"))));
    const older = summaries.flatMap(([name, values]) =>
      values.map((value) => put(Uint8Array.from(Buffer.from(name, "hex")), value)),
    );
    const attacks = [
      [head],
      [head, version],
      [head, version, place],
      [head, version, place, hash],
      ...older.map((summary) => [head, version, place, hash, summary]),
    ];
    for (const ops of attacks.filter((each) => each.length < 5 || isChange(built.world, each))) {
      const { at } = await attack(built.world, ops, sound, reads);
      expect(at).to.equal("start");
    }
  });

  it("answers nothing of a tenant whose record is forgotten by every index at once", async () => {
    const { head, version, place, hash } = forget("acme", "user", "twice", 253n);
    for (const ops of [
      [head, version],
      [head, version, place],
      [head, version, place, hash],
    ]) {
      const { at, wrong } = await attack(built.world, ops, sound, reads);
      expect([at, wrong]).to.deep.equal(["read", []]);
    }
  });

  it("calls no idempotency key free when all of them are gone, and the inspection says so", async () => {
    const ops = [...entriesOf("k"), ...entriesOf("e")].map(([key]) => remove(key));
    const { at, wrong } = await attack(built.world, ops, sound, reads);
    expect([at, wrong]).to.deep.equal(["read", []]);
    const copy = await copyWorld(built.world);
    await withStore(copy, (store) => store.commit(ops));
    const report = await runFsck(copy.options);
    expect(report.problems.map(({ step }) => step)).to.deep.equal(["idempotency"]);
    // What is gone cannot be built again: a rebuild says so once, and serves with what is left.
    const rebuilt = await runFsck(copy.options, { rebuildIndexes: true });
    expect(rebuilt.problems.map(({ step }) => step)).to.deep.equal(["rebuild"]);
    expect((await runFsck(copy.options)).ok).to.equal(true);
    await (await openWorld(copy)).close();
  });

  it("is built anew over a damaged decision, and not over what may be a governed record", async () => {
    const [decision, governed] = [5n, 255n];
    for (const [position, summary, ok] of [
      [decision, "kept", true],
      [governed, "kept", false],
      [decision, "gone", false],
      [governed, "gone", false],
    ] as const) {
      const copy = await copyWorld(built.world);
      await withStore(copy, async (store) => {
        await removeStored(store, position);
        if (summary === "gone") await store.commit([remove(summaryKey)]);
      });
      await runFsck(copy.options, { rebuildIndexes: true });
      const fault = await faultOf(openWorld(copy).then((ledger) => ledger.close()));
      // The tail is looked at in any case; what matters is what is refused for good.
      expect(await isRebuilding(copy), `${position} ${summary}`).to.equal(!ok);
      expect(fault?.kind).to.equal("ledgerCorrupt");
    }
  });

  it("raises a count of seals that was put back to the seals there are", async () => {
    const copy = await copyWorld(built.world);
    const key = keyOf("s", "acme\0\0\0\0\0\0\0\0\u0001");
    await withStore(copy, (store) => store.commit([put(key, u64be(3n))]));
    expect((await faultOf(openWorld(copy)))?.kind).to.equal("ledgerCorrupt");
    await runFsck(copy.options, { rebuildIndexes: true });
    expect(await runFsck(copy.options)).to.include({ ok: true });
    await using ledger = await openWorld(copy);
    expect((await ledger.dataKeys({ tenant: "acme", limit: 1 }))[0]?.seals).to.equal(255);
  });
});

const isRebuilding = (world: World): Promise<boolean> =>
  withStore(world, async (store) => (await store.get(rebuildingKey)) !== undefined);

/** Whether the last of the writes changes anything. */
const isChange = (world: World, ops: readonly StoreOp[]): boolean => {
  const last = ops.at(-1);
  return !world.backing.entries.some(
    ([key, value]) =>
      last?.kind === "put" && toHex(key) === toHex(last.key) && toHex(value) === toHex(last.value),
  );
};
