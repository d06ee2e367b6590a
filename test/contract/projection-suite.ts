/**
 * What a projection does in every database: the same digests however it was filled, rows that say what the records say,
 * erasure, rebuilds beside what people read, and what stops it. A database passes all of it.
 */
import { expect } from "chai";
import { after, before, beforeEach, describe, it, type Suite } from "mocha";
import { appendLeaves, emptyFrontier, rootOf } from "../../src/core/merkle/tree.ts";
import type { ProjectionDatabase } from "../../src/projections/database.ts";
import { rootDigest, type Digests } from "../../src/projections/digest.ts";
import { ProjectionFault, type ProjectionError } from "../../src/projections/fault.ts";
import type { ProjectionStore } from "../../src/projections/store.ts";
import { createRandom } from "../campaigns/oracle.ts";
import type { CuttingProxy } from "./cutting-proxy.ts";
import { generateLedger, type GoldenLedger } from "./golden-ledger.ts";
import { bound, compareDatabase, digestDatabase, fillDatabase } from "./projection.ts";

/** One database of a server, and what the suite does to it behind the projection's back. */
export type ProjectionPlace = {
  readonly database: ProjectionDatabase;
  /** Everything of the projection goes. */
  readonly drop: () => Promise<void>;
  /** The cursor of what is read; 0 where there is none. */
  readonly next: () => Promise<bigint>;
  /** Places that a reader sees. */
  readonly shown: () => Promise<bigint>;
  /** Names of the tables, and of what else names a tenant, that hold something of tenants whose names begin so. */
  readonly holding: (tenantPrefix: string) => Promise<readonly string[]>;
  /** Each a change by somebody, and the table that a comparison names. */
  readonly changes: readonly (readonly [string, string, () => Promise<void>])[];
  /** Breaks the projection's connections. */
  readonly cut: () => Promise<void>;
  /** Is its writer until released. */
  readonly hold: () => Promise<{ readonly release: () => Promise<void> }>;
  /** The lease of a writer that was cut off is over. */
  readonly expire: () => Promise<void>;
  /** Another consumer was here: the cursor is one further. */
  readonly moveCursor: () => Promise<void>;
  /** Names of what a rebuild leaves behind, apart from what is read. */
  readonly leftovers: () => Promise<readonly string[]>;
};

export type ProjectionServer = AsyncDisposable & {
  /** Between every projection and the server. */
  readonly proxy: CuttingProxy;
  /** A new one, or a copy. */
  readonly place: (of?: ProjectionPlace) => Promise<ProjectionPlace>;
};

export const faultOf = async (work: Promise<unknown>): Promise<ProjectionError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof ProjectionFault) return error.error;
    throw error;
  }
  return expect.fail("nothing stopped it");
};

/** What the tests of one database alone go on with. */
export type SuiteContext = {
  readonly server: ProjectionServer;
  readonly ledger: GoldenLedger;
  /** What a projection of the ledger comes to. */
  readonly expected: Digests;
  readonly place: ProjectionPlace;
};

/** @param more tests of this database alone. */
export const describeProjection = (
  title: string,
  {
    start,
    missing,
    count = 1000,
    requests = 1,
    more = () => {},
  }: {
    readonly start: () => Promise<ProjectionServer>;
    /** Why there is no server here. */
    readonly missing: string | undefined;
    /** Of so many requests one is broken off: of every one unless told. */
    readonly requests?: number;
    /** Of the ledger's records: 300 at least, a multiple of 100. */
    readonly count?: number;
    readonly more?: (context: () => SuiteContext) => void;
  },
): Suite =>
  describe(title, () => {
    const half = Math.floor(count / 2);
    let server: ProjectionServer;
    let ledger: GoldenLedger;
    let expected: Digests;
    let place: ProjectionPlace;
    let database: ProjectionDatabase;

    before(async function () {
      if (missing !== undefined) {
        console.log(`      ${missing}`);
        this.skip();
      }
      server = await start();
      ledger = await generateLedger({ seed: 13, count });
      ({ database } = await server.place());
      await fillDatabase(database, { ledger });
      expected = await digestDatabase(database);
    });

    after(async () => {
      await server?.[Symbol.asyncDispose]();
    });

    beforeEach(async () => {
      place = await server.place();
      ({ database } = place);
    });

    it("is the ledger: root, digests of every tenant and every column", async () => {
      await fillDatabase(database, { ledger });
      const { next, ledger: ours, stored, difference } = await compareDatabase(database, ledger);
      expect(difference).to.equal(undefined);
      expect(next).to.equal(BigInt(ledger.places.length));
      expect(stored).to.deep.equal(ours);
      const leaves = ledger.places.map(({ leaf }) => leaf);
      expect(rootDigest(stored)).to.deep.equal(rootOf(appendLeaves(emptyFrontier, leaves).frontier));
      expect([...stored.tenants.keys()]).to.include.members(["acme", "acme-2", "beta", "0", "system"]);
      expect([...stored.tenants.keys()]).not.to.include.members(["gone-1", "gone-2"]);
      for (const { rows } of stored.tables.values()) expect(Number(rows)).to.be.greaterThan(0);
    });

    it("comes back the same when it is dropped and replayed", async () => {
      await fillDatabase(database, { ledger });
      await place.drop();
      await fillDatabase(database, { ledger });
      expect(await digestDatabase(database)).to.deep.equal(expected);
    });

    it("comes to the same with a consumer killed twenty times, and messages repeated and late", async () => {
      const random = createRandom(5);
      let kills = 0;
      /** Dies before a batch is stored, or when it is stored and nobody was told. */
      const dying = (store: ProjectionStore): ProjectionStore => ({
        ...bound(store),
        apply: async (gathered) => {
          kills += 1;
          if (random() < 0.5) await store.apply(gathered);
          throw new Error("killed");
        },
      });
      while (kills < 20) {
        const size = BigInt(Math.floor(count / 22) * (kills + 1));
        const dead = fillDatabase(database, { ledger, from: { random, size }, size: 10_000n, wrap: dying });
        expect(await dead.catch((error: Error) => error.message)).to.equal("killed");
      }
      expect(await place.next()).to.not.equal(0n);
      await fillDatabase(database, { ledger, from: { random } });
      expect(await digestDatabase(database)).to.deep.equal(expected);
      expect((await compareDatabase(database, ledger)).difference).to.equal(undefined);
    });

    it("is at a batch's end when its connection is cut at any moment", async () => {
      const random = createRandom(6);
      for (let cut = 0; cut < 20; cut += 1) {
        let cutting = Promise.resolve();
        const timer = setTimeout(() => {
          cutting = place.cut().catch(() => {});
        }, random() * 150);
        const outcome = await fillDatabase(database, { ledger, from: { random } }).then(
          () => "done",
          (error: unknown) => (error instanceof ProjectionFault ? error.error.kind : String(error)),
        );
        clearTimeout(timer);
        // A late one would cut the next connection.
        await cutting;
        await place.expire();
        expect(outcome).to.be.oneOf(["done", "databaseFailed"]);
      }
      await fillDatabase(database, { ledger });
      expect(await digestDatabase(database)).to.deep.equal(expected);
    });

    it("comes to the same when it is broken off before or after each of its requests", async () => {
      const small = await generateLedger({ seed: 17, count: 100 });
      const filling = { ledger: small, from: { batchMessages: 30 } };
      const { database: whole } = await server.place();
      await fillDatabase(whole, filling);
      const wanted = await digestDatabase(whole);
      // A lost answer leaves the server where the next request, lost, would: each in turn.
      for (let turn = 0; ; turn += 1) {
        const piece = 1 + turn * requests;
        const cut = await server.place();
        const { database: broken } = cut;
        server.proxy.cutAt(piece, turn % 2 === 0 ? "request" : "answer");
        await fillDatabase(broken, filling).catch((error: unknown) => {
          if (!(error instanceof ProjectionFault) || error.error.kind !== "databaseFailed") throw error;
        });
        if (!server.proxy.heal()) break;
        await cut.expire();
        await fillDatabase(broken, { ledger: small });
        const { difference, stored } = await compareDatabase(broken, small);
        expect(difference, `broken off at ${piece}`).to.equal(undefined);
        expect(stored, `broken off at ${piece}`).to.deep.equal(wanted);
      }
    });

    it("comes to the same when it followed the ledger past its erasures, and says what they took", async () => {
      const erased: { readonly tenant: string; readonly records: bigint }[] = [];
      const onApplied = (applied: { readonly erased: readonly (typeof erased)[number][] }): void =>
        void erased.push(...applied.erased);
      for (let size = 50n; size <= BigInt(count); size += 50n) {
        await fillDatabase(database, { ledger, from: { size }, onApplied });
      }
      await fillDatabase(database, { ledger, onApplied });
      const takenOf = (tenant: string): bigint =>
        BigInt(ledger.places.filter(({ body }) => body.tenant === tenant).length);
      expect(erased.map(({ tenant }) => tenant)).to.deep.equal(["gone-1", "gone-2"]);
      for (const { tenant, records } of erased) {
        // What it had not read yet when the order came was gone already.
        expect(Number(records)).to.be.greaterThan(0);
        expect(records <= takenOf(tenant)).to.equal(true);
      }
      expect(await digestDatabase(database)).to.deep.equal(expected);
      expect(await place.holding("gone-")).to.deep.equal([]);
      expect(await place.holding("acme")).not.to.deep.equal([]);
    });

    it("stops before a record that does not verify, with everything before it stored", async () => {
      const position = BigInt(half);
      const fault = await faultOf(
        fillDatabase(database, {
          ledger,
          from: {
            tamper: (message) => {
              if (message.position !== position) return message;
              const envelope = Uint8Array.from(ledger.places[half - 1]?.envelope ?? []);
              return { ...message, envelope };
            },
          },
        }),
      );
      expect(fault).to.deep.include({ kind: "recordRefused", position, step: "inclusion" });
      await fillDatabase(database, { ledger });
      expect(await digestDatabase(database)).to.deep.equal(expected);
    });

    it("shows nobody a projection of a source that passes records off as erased", async () => {
      await fillDatabase(database, { ledger, from: { size: BigInt(half) } });
      const withheld = ledger.places.findIndex(({ body }, at) => at > 0.7 * count && body.tenant === "beta");
      const fault = await faultOf(
        fillDatabase(database, {
          ledger,
          opening: { mode: "rebuild" },
          from: {
            tamper: ({ envelope, ...message }) =>
              message.position === BigInt(withheld) || envelope === undefined
                ? message
                : { ...message, envelope },
          },
        }),
      );
      expect(fault.kind).to.equal("withheld");
      expect(await place.shown()).to.equal(BigInt(half));
    });

    it("is refused for another ledger than the one it was filled from", async () => {
      await fillDatabase(database, { ledger, from: { size: 200n } });
      const other = await generateLedger({ seed: 14, count: 100 });
      expect((await faultOf(fillDatabase(database, { ledger: other }))).kind).to.equal("otherLedger");
    });

    it("names the first place that somebody changed, in whatever table", async () => {
      await fillDatabase(database, { ledger });
      for (const at of place.changes.keys()) {
        const copy = await server.place(place);
        const [change, table, apply] = copy.changes[at] ?? [];
        await apply?.();
        const { difference } = await compareDatabase(copy.database, ledger);
        expect(difference?.table, change).to.equal(table);
      }
    });

    it("keeps its readers on what was there until a rebuild has caught up", async () => {
      await fillDatabase(database, { ledger, from: { size: BigInt(half) } });
      expect(await place.shown()).to.equal(BigInt(half));
      const rebuild = { mode: "rebuild" as const };
      await fillDatabase(database, {
        ledger,
        opening: rebuild,
        from: { size: BigInt(half - 50) },
        size: 10_000n,
      });
      expect(await place.shown()).to.equal(BigInt(half));
      await fillDatabase(database, { ledger, opening: rebuild });
      expect(await place.shown()).to.equal(BigInt(ledger.places.length));
      expect(await digestDatabase(database)).to.deep.equal(expected);
      expect(await place.leftovers()).to.deep.equal([]);
    });

    it("has one writer at a time, and notices another one that moved the cursor", async () => {
      await fillDatabase(database, { ledger, from: { size: 100n } });
      const { release } = await place.hold();
      const opening = { lockMs: 100 };
      expect((await faultOf(fillDatabase(database, { ledger, opening }))).kind).to.equal("consumerRunning");
      await release();
      const meddled = (store: ProjectionStore): ProjectionStore => ({
        ...bound(store),
        apply: async (gathered) => {
          await place.moveCursor();
          return store.apply(gathered);
        },
      });
      expect(await faultOf(fillDatabase(database, { ledger, wrap: meddled }))).to.deep.equal({
        kind: "cursorMoved",
        expected: 100n,
        found: 101n,
      });
    });

    more(() => ({ server, ledger, expected, place }));
  });
