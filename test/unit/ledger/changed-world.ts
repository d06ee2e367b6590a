/** A ledger with something in every index, everything that is asked of it, and how a change of its disk is noticed. */
import { formatErasure, formatPrincipal } from "../../../src/core/record/kinds.ts";
import { readU64be, toHex, utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { SigilFault, type SigilError } from "../../../src/errors.ts";
import { rebuildingKey, type Family } from "../../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { Store, StoreOp } from "../../../src/storage/store.ts";
import { appendKeyed, keptAnswer } from "../../contract/keyed.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  newSigner,
  openWorld,
  systemBody,
  userBody,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";

/** Every value a key ever had, oldest first. */
type Past = Map<string, Uint8Array[]>;

export type Built = { readonly world: World; readonly past: Past; readonly hashes: readonly Hash[] };

const principal = (active: boolean) =>
  formatPrincipal({ publicKeys: [newSigner().publicKey], loa: "mentor", tenant: "acme", active });

const scope = (key: string) => ({ tenant: "acme", caller: "svc", rpc: "Check", key });
const asked = utf8Encode("body");

/** A whole tile of records, most of them decisions of one commit; versions, tenants, keys, an erased tenant. */
export const build = async (): Promise<Built> => {
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
    await appendKeyed(ledger, scope(key), asked, [decisionBody(`keyed-${key}`)], ([appended]) => {
      hashes.push(appended?.hash as Hash);
      return key;
    });
  }
  await ledger.rotateDataKey("acme");
  await append([decisionBody("sealed-by-the-second")]);
  const early = await append([userBody("early", 1)]);
  await append([{ ...userBody("early", 2), prev: early }]);
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

export type Read = readonly [name: string, read: (ledger: Ledger) => Promise<unknown>];

const bulk = ["d0", "d125", "d248", "d249"];

/** Everything anybody asks of a ledger, over every record but most of the decisions that were made at once. */
export const readsOf = (hashes: readonly Hash[]): readonly Read[] => {
  const reads: Read[] = [];
  const tenants = ["system", "acme", "acme", "acme", "system", "umbrella", "umbrella", "doomed", "doomed"];
  const positions = [0n, 1n, 126n, 249n, 250n, ...Array.from({ length: 16 }, (_, at) => BigInt(251 + at))];
  for (const position of positions) {
    const tenant = position > 0n && position < 251n ? "acme" : tenants[Number(position) - 251];
    // As an index names it: with the tenant that it is of.
    reads.push([
      `record ${position}`,
      async (ledger) => toHex((await ledger.reader.readAt(position, tenant)).hash),
    ]);
  }
  for (const hash of [...hashes.slice(0, 1), ...hashes.slice(249)]) {
    reads.push([
      `hash ${toHex(hash).slice(0, 8)}`,
      async (ledger) => (await ledger.reader.readHash(hash))?.position,
    ]);
  }
  const ids = [
    ["system", "system", "principal/ann"],
    ["system", "system", "genesis"],
    ["system", "system", "erasure/doomed"],
    ["acme", "user", "early"],
    ["acme", "user", "twice"],
    ["acme", "user", "only"],
    ["acme", "user", "nobody"],
    ["umbrella", "user", "other"],
    ["doomed", "user", "gone"],
  ] as const;
  for (const [tenant, space, id] of ids) {
    const name = `${tenant} ${id}`;
    reads.push([
      `newest ${name}`,
      async (ledger) => (await ledger.reader.readId(tenant, space, id))?.position,
    ]);
    for (const version of [1n, 2n]) {
      reads.push([`${name} ${version}`, (ledger) => ledger.reader.versionAt(tenant, space, id, version)]);
    }
    reads.push([`${name} then`, (ledger) => ledger.reader.versionBelow(tenant, space, id, 253n)]);
    const walk = { tenant, space, id, order: "newestFirst", limit: 9, size: 1000n } as const;
    reads.push([
      `history ${name}`,
      (ledger) => gather(ledger.reader.history(walk), ({ position }) => position),
    ]);
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
      (ledger) => gather(ledger.reader.decisions(decisions), ({ positions }) => positions.map(String)),
    ]);
    const listing = { tenant, space, idPrefix: "", size: 1000n, scanMax: 1000 };
    reads.push([
      `ids of ${tenant}`,
      (ledger) => gather(ledger.reader.versions(listing), (each) => [each.id, each.position]),
    ]);
    const walk = { tenant, from: 0n, size: 1000n, limit: 1000 };
    reads.push([
      `records of ${tenant}`,
      (ledger) => gather(ledger.reader.records(walk), ({ position }) => position),
    ]);
    reads.push([
      `heads of ${tenant}`,
      (ledger) => gather(ledger.reader.heads(tenant, space, ""), ({ position }) => position),
    ]);
  }
  for (const key of ["k1", "k2", "k3"]) reads.push([`key ${key}`, (ledger) => claimed(ledger, key)]);
  reads.push([
    "data keys",
    async (ledger) => (await ledger.reader.dataKeys({ limit: 100 })).map(({ seals }) => seals),
  ]);
  reads.push(["entries of the tree", entriesOf]);
  reads.push(["a write", (ledger) => ledger.append([userBody("twice", 3)])]);
  reads.push([
    "export",
    async (ledger) => {
      await using exported = await ledger.reader.export(0n);
      return (await gather(exported.groups(), ({ end }) => end)).at(-1);
    },
  ]);
  return reads;
};

/** Of the tile with the erased records, as tiles give them: one that is not there is seen by whoever reads the log. */
const entriesOf = async (ledger: Ledger): Promise<unknown> => {
  try {
    return (await ledger.reader.tiles.entries(1n, 10, () => Promise.resolve())).map(toHex);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "notFound") return "damage";
    throw error;
  }
};

/** As a caller gets it: a decision that is not the one asked for is damage. */
const decisionOf = async (ledger: Ledger, tenant: string, id: string): Promise<unknown> => {
  const position = await ledger.reader.decisionAt(tenant, id);
  if (position === undefined) return undefined;
  const { body } = await ledger.reader.readAt(position, tenant);
  return body.id === id && body.tenant === tenant ? position : "damage";
};

const claimed = async (ledger: Ledger, key: string): Promise<unknown> =>
  (await keptAnswer(ledger, scope(key), asked)) ?? "free";

/** What a read gives; "damage" for any error that says so. */
export const answerOf = async (read: Read[1], ledger: Ledger): Promise<unknown> => {
  try {
    return await read(ledger);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return noticed.includes(error.error.kind) ? "damage" : error.error.kind;
  }
};

/** How an attack was noticed: at the start, by the reads named; or what answered wrongly. */
export const attack = async (
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
export const isBulk = (family: Family, key: Uint8Array, value: Uint8Array): boolean => {
  const at = { r: () => readU64be(key, 1), h: () => readU64be(value) };
  const position = family === "r" || family === "h" ? at[family]() : 0n;
  return position > 1n && position < 249n && position !== 126n;
};

/** Nobody can open them any more, so nobody can tell one from another. */
export const isErased = (family: Family, key: Uint8Array): boolean =>
  family === "r" && [258n, 259n].includes(readU64be(key, 1));

export const put = (key: Uint8Array, value: Uint8Array): StoreOp => ({ kind: "put", key, value });

/** A key like this one that names something else. */
export const besides = (key: Uint8Array): Uint8Array => {
  const other = key.slice();
  other[other.length - 1] = (other.at(-1) ?? 0) ^ 0x01;
  return other;
};

export const isRebuilding = (world: World): Promise<boolean> =>
  withStore(world, async (store) => (await store.get(rebuildingKey)) !== undefined);

/** Whether the last of the writes changes anything. */
export const isChange = (world: World, ops: readonly StoreOp[]): boolean => {
  const last = ops.at(-1);
  return !world.backing.entries.some(
    ([key, value]) =>
      last?.kind === "put" && toHex(key) === toHex(last.key) && toHex(value) === toHex(last.value),
  );
};
