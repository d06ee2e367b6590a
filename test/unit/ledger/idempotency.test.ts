/** Idempotency keys: once means once, whatever happens between asking and answering. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { toHex, utf8Encode } from "../../../src/core/bytes.ts";
import { fail } from "../../../src/errors.ts";
import { idempotencyTtlMs } from "../../../src/limits.ts";
import type { IdempotencyScope } from "../../../src/ledger/append/idempotency.ts";
import { inspectPinned, runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { expiryKey, familyRange, summaryKey } from "../../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { Store } from "../../../src/storage/store.ts";
import { appendKeyed, keptAnswer } from "../../contract/keyed.ts";
import {
  copyWorld,
  createWorld,
  faultOf,
  openWorld,
  userBody,
  withStore,
} from "../../contract/memory-ledger.ts";

const scopeOf = (key: string, tenant = "acme"): IdempotencyScope => ({
  tenant,
  caller: "svc",
  rpc: "Check",
  key,
});
const body = utf8Encode("the question");

/** What a service does with a keyed call: the first commits, a repeat gets the first's position. */
const once = async (ledger: Ledger, key: string, id: string): Promise<bigint> =>
  BigInt((await appendKeyed(ledger, scopeOf(key), body, [userBody(id)])) as number | bigint);

const countOf = async (store: Store, family: "k" | "e"): Promise<number> => {
  let count = 0;
  for await (const _ of store.range(familyRange(family))) count += 1;
  return count;
};

describe("an idempotency key", () => {
  it("gives a repeat the first answer, also after a reopening", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    const first = await once(before, "k", "a");
    expect(await once(before, "k", "b")).to.equal(first);
    await before.close();
    await using after = await openWorld(world);
    expect(await once(after, "k", "c")).to.equal(first);
    expect(after.reader.size).to.equal(2n);
  });

  it("with another body is refused", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await once(ledger, "k", "a");
    expect(await faultOf(keptAnswer(ledger, scopeOf("k"), utf8Encode("another")))).to.deep.equal({
      kind: "idempotencyConflict",
      key: "k",
    });
  });

  it("is private to its tenant, caller and method", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await once(ledger, "k", "a");
    const others = [
      scopeOf("k", "umbrella"),
      { ...scopeOf("k"), caller: "other" },
      { ...scopeOf("k"), rpc: "BatchCheck" },
    ];
    for (const scope of others) {
      expect(await keptAnswer(ledger, scope, utf8Encode("another"))).to.equal(undefined);
    }
  });

  it("used by many at the same moment commits once", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => once(ledger, "k", `a${index}`)),
    );
    expect(new Set(answers).size).to.equal(1);
    expect(ledger.reader.size).to.equal(2n);
  });

  it("is free again when the first call failed before its commit", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const failing = ledger.once(
      scopeOf("k"),
      () => body,
      async () => fail({ kind: "cancelled" }),
      async () => expect.fail("the key is free"),
    );
    const [first, second] = await Promise.all([faultOf(failing), once(ledger, "k", "a")]);
    expect(first).to.deep.equal({ kind: "cancelled" });
    expect(second).to.equal(1n);
  });

  it("is bound by an answer that commits no record, and without another record", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    const published: bigint[] = [];
    before.feed.subscribe((records) => published.push(...records.map(({ position }) => position)));
    const answer = (ledger: Ledger, key: string, asked = body) =>
      appendKeyed(ledger, scopeOf(key), asked, [], () => ({ kind: "failed", key }));
    const keys = ["a", "b", "c"];
    // At the same moment, beside records, and one after the other.
    await Promise.all([...keys.map((key) => answer(before, key)), before.append([userBody("r")])]);
    for (const key of ["d", "e"]) await answer(before, key);
    const root = before.reader.checkpoint;
    await before.close();
    expect(published).to.deep.equal([1n]);
    await using after = await openWorld(world);
    expect([after.reader.size, after.reader.checkpoint]).to.deep.equal([2n, root]);
    for (const key of [...keys, "d", "e"]) {
      expect(await keptAnswer(after, scopeOf(key), body), key).to.deep.equal({ kind: "failed", key });
      expect(await faultOf(answer(after, key, utf8Encode("another"))), key).to.deep.equal({
        kind: "idempotencyConflict",
        key,
      });
    }
    await after.close();
    expect(await runFsck(world.options)).to.include({ ok: true, total: 0, size: 2n });
    await runFsck(world.options, { rebuildIndexes: true });
    await using rebuilt = await openWorld(world);
    expect(await keptAnswer(rebuilt, scopeOf("e"), body)).to.deep.equal({ kind: "failed", key: "e" });
  });

  it("of a tenant without a record is sound, and swept like all others", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const scopes = ["k", "l"].map((key) => scopeOf(key, "recordless"));
    for (const scope of scopes) {
      await appendKeyed(ledger, scope, body, [], () => "none");
      await using pinned = await ledger.pin();
      expect((await inspectPinned(pinned, () => undefined)).total).to.equal(0);
    }
    world.timeMs += idempotencyTtlMs;
    await appendKeyed(ledger, scopeOf("sweeper"), body, [], () => "none");
    for (const scope of scopes) expect(await keptAnswer(ledger, scope, body)).to.equal(undefined);
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, total: 0 });
    await withStore(world, async (store) => {
      expect([await countOf(store, "k"), await countOf(store, "e")]).to.deep.equal([1, 1]);
    });
  });

  it("shows no two sums of expiries under one mask, though the ledger does not grow", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const masked = new Set<string>();
    for (let turn = 0; turn < 4; turn += 1) {
      if (turn === 2) await ledger.append([userBody("grows")]);
      await appendKeyed(ledger, scopeOf(`k${turn}`), body, [], () => null);
      const copy = await copyWorld(world);
      await withStore(copy, async (store) => {
        const summary = await store.get(summaryKey);
        // Size, hashes, expiries, then what the mask is for.
        masked.add(toHex(summary?.subarray(24, 32) ?? new Uint8Array()));
      });
    }
    expect(masked.size).to.equal(4);
    await ledger.close();
    await using again = await openWorld(world);
    expect(await keptAnswer(again, scopeOf("k3"), body)).to.equal(null);
  });

  it("must be bound by whoever answers", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const answered = ledger.once(
      scopeOf("k"),
      () => body,
      async () => "answered",
      async () => "again",
    );
    const error: unknown = await answered.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(error).to.be.instanceOf(Error);
    expect(await keptAnswer(ledger, scopeOf("k"), body)).to.equal(undefined);
  });

  it("lives 24 hours, then is free and swept with a later commit", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const first = await once(ledger, "k", "a");
    world.timeMs += idempotencyTtlMs - 1;
    expect(await once(ledger, "k", "b")).to.equal(first);
    world.timeMs += 1;
    expect(await once(ledger, "k", "c")).to.equal(first + 1n);
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
      const first = await once(ledger, "k", `a${day}`);
      positions.add(first);
      await ledger.append([userBody(`other-${day}`)]);
      for (const laterMs of [1, idempotencyTtlMs - 2]) {
        world.timeMs += laterMs;
        expect(await once(ledger, "k", `b${day}`), `day ${day}`).to.equal(first);
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
    const startMs = world.timeMs;
    let stepsBack = false;
    // The entry's expiry is counted by a clock that stands back, and the sweep with it by one that was put right.
    const nowMs = (): number => {
      const isBack = stepsBack;
      stepsBack = false;
      return isBack ? startMs : world.timeMs;
    };
    const ledger = await openWorld(world, { nowMs });
    for (const id of ["a", "b"]) {
      await appendKeyed(ledger, scopeOf("k"), body, [userBody(id)], () => {
        stepsBack = ledger.reader.size === (id === "a" ? 1n : 2n);
        return 1;
      });
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
    await Promise.all(
      Array.from({ length: 1200 }, (_, index) => appendKeyed(ledger, scopeOf(`k${index}`), body, [])),
    );
    world.timeMs += idempotencyTtlMs;
    for (const id of ["a", "b", "c"]) await ledger.append([userBody(id)]);
    await ledger.close();
    await withStore(world, async (store) => expect(await countOf(store, "k")).to.equal(0));
  });

  it("whose entry was changed on disk answers nothing", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    await once(before, "k", "a");
    await once(before, "other", "b");
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
      expect(await faultOf(once(after, key, "c"))).to.include({ kind: "ledgerCorrupt" });
    }
    expect(after.reader.size).to.equal(3n);
  });

  it("keeps expiries in the order of time", () => {
    const early = expiryKey(255, Uint8Array.of(9));
    const late = expiryKey(256, Uint8Array.of(1));
    expect(Buffer.compare(early, late)).to.equal(-1);
  });
});
