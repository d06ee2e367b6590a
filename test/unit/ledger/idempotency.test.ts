/** Idempotency keys: once means once, whatever happens between asking and answering. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { idempotencyTtlMs } from "../../../src/limits.ts";
import type { HeldClaim, IdempotencyScope } from "../../../src/ledger/append/idempotency.ts";
import { expiryKey, familyRange } from "../../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { Store } from "../../../src/storage/store.ts";
import { createWorld, faultOf, openWorld, userBody, withStore } from "../../contract/memory-ledger.ts";
import type { World } from "../../contract/memory-ledger.ts";

const scopeOf = (key: string, tenant = "acme"): IdempotencyScope => ({
  tenant,
  caller: "svc",
  rpc: "Check",
  key,
});
const body = utf8Encode("the question");

const take = async (ledger: Ledger, scope: IdempotencyScope, bytes = body): Promise<HeldClaim> => {
  const claim = await ledger.claim(scope, bytes);
  if (claim.kind !== "held") throw new Error("the key was used before");
  return claim;
};

/** What a service does with a keyed call: the first commits, a repeat gets the first's position. */
const once = async (ledger: Ledger, world: World, key: string, id: string): Promise<bigint> => {
  const claim = await ledger.claim(scopeOf(key), body);
  if (claim.kind === "replay") return BigInt(claim.outcome as number);
  try {
    const extraOps = ([first]: readonly { readonly position: bigint }[]) =>
      claim.ops(first?.position ?? null, world.timeMs);
    const [appended] = await ledger.append([userBody(id)], { extraOps });
    return appended?.position ?? -1n;
  } finally {
    claim.release();
  }
};

const countOf = async (store: Store, family: "k" | "e"): Promise<number> => {
  let count = 0;
  for await (const _ of store.range(familyRange(family))) count += 1;
  return count;
};

describe("an idempotency key", () => {
  it("gives a repeat the first answer, also after a reopening", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    const first = await once(before, world, "k", "a");
    expect(await once(before, world, "k", "b")).to.equal(first);
    await before.close();
    await using after = await openWorld(world);
    expect(await once(after, world, "k", "c")).to.equal(first);
    expect(after.size).to.equal(2n);
  });

  it("with another body is refused", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await once(ledger, world, "k", "a");
    expect(await faultOf(ledger.claim(scopeOf("k"), utf8Encode("another")))).to.deep.equal({
      kind: "idempotencyConflict",
      key: "k",
    });
  });

  it("is private to its tenant, caller and method", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await once(ledger, world, "k", "a");
    const others = [
      scopeOf("k", "umbrella"),
      { ...scopeOf("k"), caller: "other" },
      { ...scopeOf("k"), rpc: "BatchCheck" },
    ];
    for (const scope of others) (await take(ledger, scope, utf8Encode("another"))).release();
  });

  it("used by many at the same moment commits once", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => once(ledger, world, "k", `a${index}`)),
    );
    expect(new Set(answers).size).to.equal(1);
    expect(ledger.size).to.equal(2n);
  });

  it("is free again when the first call failed before its commit", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const waiting = take(ledger, scopeOf("k")).then((claim) => claim.release());
    const second = ledger.claim(scopeOf("k"), body);
    await waiting;
    const claim = await second;
    expect(claim.kind).to.equal("held");
    if (claim.kind === "held") claim.release();
  });

  it("lives 24 hours, then is free and swept with a later commit", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const first = await once(ledger, world, "k", "a");
    world.timeMs += idempotencyTtlMs - 1;
    expect(await once(ledger, world, "k", "b")).to.equal(first);
    world.timeMs += 1;
    expect(await once(ledger, world, "k", "c")).to.equal(first + 1n);
    world.timeMs += idempotencyTtlMs;
    await ledger.append([userBody("sweeper")]);
    await ledger.close();
    await withStore(world, async (store) => {
      expect(await countOf(store, "k")).to.equal(0);
      expect(await countOf(store, "e")).to.equal(0);
    });
  });

  it("used daily decides once a day: the sweep of the day before takes no new entry along", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const positions = new Set<bigint>();
    for (let day = 0; day < 4; day += 1) {
      const first = await once(ledger, world, "k", `a${day}`);
      positions.add(first);
      await ledger.append([userBody(`other-${day}`)]);
      for (const laterMs of [1, idempotencyTtlMs - 2]) {
        world.timeMs += laterMs;
        expect(await once(ledger, world, "k", `b${day}`), `day ${day}`).to.equal(first);
      }
      world.timeMs += 1;
    }
    expect(positions.size).to.equal(4);
    await ledger.close();
    await withStore(world, async (store) => {
      expect([await countOf(store, "k"), await countOf(store, "e")]).to.deep.equal([1, 1]);
    });
  });

  it("renewed with the expiry it had, by a clock that stepped back, keeps both entries", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const startMs = world.timeMs;
    for (const id of ["a", "b"]) {
      const claim = await take(ledger, scopeOf("k"));
      await ledger.append([userBody(id)], { extraOps: () => claim.ops(1, startMs) });
      claim.release();
      world.timeMs += idempotencyTtlMs;
    }
    await ledger.close();
    await withStore(world, async (store) => {
      expect([await countOf(store, "k"), await countOf(store, "e")]).to.deep.equal([1, 1]);
    });
  });

  it("is swept as fast as keys come: more than one sweep's worth goes with the next commits", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const claims = await Promise.all(
      Array.from({ length: 1200 }, (_, index) => take(ledger, scopeOf(`k${index}`))),
    );
    await ledger.append([userBody("many")], {
      extraOps: () => claims.flatMap((claim) => claim.ops(1, world.timeMs)),
    });
    for (const claim of claims) claim.release();
    world.timeMs += idempotencyTtlMs;
    for (const id of ["a", "b", "c"]) await ledger.append([userBody(id)]);
    await ledger.close();
    await withStore(world, async (store) => expect(await countOf(store, "k")).to.equal(0));
  });

  it("whose entry was changed on disk answers nothing", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    await once(before, world, "k", "a");
    await once(before, world, "other", "b");
    await before.close();
    await withStore(world, async (store) => {
      const entries: (readonly [Uint8Array, Uint8Array])[] = [];
      for await (const entry of store.range(familyRange("k"))) entries.push(entry);
      // One key's answer under the other key.
      const [first, second] = entries;
      if (first === undefined || second === undefined) throw new Error("two entries were written");
      await store.commit([
        { kind: "put", key: first[0], value: second[1] },
        { kind: "put", key: second[0], value: Uint8Array.of(1, 2, 3) },
      ]);
    });
    await using after = await openWorld(world);
    for (const key of ["k", "other"]) {
      expect(await faultOf(once(after, world, key, "c"))).to.include({ kind: "ledgerCorrupt" });
    }
    expect(after.size).to.equal(3n);
  });

  it("keeps expiries in the order of time", () => {
    const early = expiryKey(255, Uint8Array.of(9));
    const late = expiryKey(256, Uint8Array.of(1));
    expect(Buffer.compare(early, late)).to.equal(-1);
  });
});
