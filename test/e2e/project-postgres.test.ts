/**
 * A projection in PostgreSQL, against a real one: the same digests however it was filled, columns that say what the
 * records say, erasure, rebuilds beside what people read, and what stops it.
 */
import { expect } from "chai";
import { after, before, beforeEach, describe, it } from "mocha";
import { appendLeaves, emptyFrontier, rootOf } from "../../src/core/merkle/tree.ts";
import { rootDigest, type Digests } from "../../src/projections/digest.ts";
import { ProjectionFault, type ProjectionError } from "../../src/projections/fault.ts";
import { createRandom } from "../campaigns/oracle.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import type { ProjectionStore } from "../../src/projections/store.ts";
import { bound, compare, connectTo, digestOf, fill, query } from "../contract/projection.ts";

const faultOf = async (work: Promise<unknown>): Promise<ProjectionError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof ProjectionFault) return error.error;
    throw error;
  }
  return expect.fail("nothing stopped it");
};

describe("a projection in PostgreSQL", () => {
  let postgres: Postgres;
  let ledger: GoldenLedger;
  let expected: Digests;
  let databases = 0;
  let address = "";

  before(async function () {
    skipWithoutPostgres(this);
    postgres = await startPostgres();
    ledger = await generateLedger({ seed: 13, count: 1000 });
    address = await database();
    await fill({ address, ledger });
    expected = await digestOf(address);
  });

  after(async () => {
    await postgres?.[Symbol.asyncDispose]();
  });

  /** A new one, or a copy. */
  const database = async (of?: string): Promise<string> => {
    databases += 1;
    const template = of === undefined ? "" : ` TEMPLATE ${of.split("/").at(-1)}`;
    await query(postgres.address(), `CREATE DATABASE d${databases}${template}`);
    return postgres.address(`d${databases}`);
  };

  beforeEach(async () => {
    address = await database();
  });

  it("is the ledger: root, digests of every tenant and every column", async () => {
    await fill({ address, ledger });
    const { next, ledger: ours, stored, difference } = await compare(address, ledger);
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
    await fill({ address, ledger });
    await query(address, "DROP SCHEMA sigil_v1 CASCADE");
    await fill({ address, ledger });
    expect(await digestOf(address)).to.deep.equal(expected);
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
      const size = 45n * BigInt(kills + 1);
      const dead = fill({ address, ledger, from: { random, size }, size: 10_000n, wrap: dying });
      expect(await dead.catch((error: Error) => error.message)).to.equal("killed");
    }
    expect((await query(address, "SELECT next FROM sigil_v1.cursor"))[0]?.["next"]).to.not.equal(0n);
    await fill({ address, ledger, from: { random } });
    expect(await digestOf(address)).to.deep.equal(expected);
    expect((await compare(address, ledger)).difference).to.equal(undefined);
  });

  it("is at a batch's end when its connection is cut at any moment", async () => {
    const random = createRandom(6);
    for (let cut = 0; cut < 20; cut += 1) {
      const client = await connectTo(address);
      const cutting = setTimeout(
        () =>
          void client
            .query(
              "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigil project' AND pid <> pg_backend_pid()",
            )
            .catch(() => {}),
        random() * 150,
      );
      const outcome = await fill({ address, ledger, from: { random } }).then(
        () => "done",
        (error: unknown) => (error instanceof ProjectionFault ? error.error.kind : String(error)),
      );
      clearTimeout(cutting);
      expect(outcome).to.be.oneOf(["done", "databaseFailed"]);
      await client.end();
    }
    await fill({ address, ledger });
    expect(await digestOf(address)).to.deep.equal(expected);
  });

  it("comes to the same when it followed the ledger past its erasures, and says what they took", async () => {
    const erased: { readonly tenant: string; readonly records: bigint }[] = [];
    const onApplied = (applied: { readonly erased: readonly (typeof erased)[number][] }): void =>
      void erased.push(...applied.erased);
    for (let size = 50n; size <= 1000n; size += 50n)
      await fill({ address, ledger, from: { size }, onApplied });
    await fill({ address, ledger, onApplied });
    const takenOf = (tenant: string): bigint =>
      BigInt(ledger.places.filter(({ body }) => body.tenant === tenant).length);
    expect(erased.map(({ tenant }) => tenant)).to.deep.equal(["gone-1", "gone-2"]);
    for (const { tenant, records } of erased) {
      // What it had not read yet when the order came was gone already.
      expect(Number(records)).to.be.greaterThan(0);
      expect(records <= takenOf(tenant)).to.equal(true);
    }
    expect(await digestOf(address)).to.deep.equal(expected);
    for (const table of ["record_versions", "records", "links", "decisions", "module_runs"]) {
      const rows = await query(address, `SELECT 1 FROM sigil.${table} WHERE tenant LIKE 'gone-%'`);
      expect(rows, table).to.deep.equal([]);
    }
    const [order] = await query(
      address,
      "SELECT tenant, reason, erased_records FROM sigil.erasures ORDER BY position",
    );
    expect(order).to.deep.include({ tenant: "gone-1", reason: "asked for" });
  });

  it("stops before a record that does not verify, with everything before it stored", async () => {
    const position = 500n;
    const fault = await faultOf(
      fill({
        address,
        ledger,
        from: {
          tamper: (message) => {
            if (message.position !== position) return message;
            const envelope = Uint8Array.from(ledger.places[499]?.envelope ?? []);
            return { ...message, envelope };
          },
        },
      }),
    );
    expect(fault).to.deep.include({ kind: "recordRefused", position, step: "inclusion" });
    await fill({ address, ledger });
    expect(await digestOf(address)).to.deep.equal(expected);
  });

  it("shows nobody a projection of a source that passes records off as erased", async () => {
    await fill({ address, ledger, from: { size: 500n } });
    const withheld = ledger.places.findIndex(({ body }, at) => at > 700 && body.tenant === "beta");
    const fault = await faultOf(
      fill({
        address,
        ledger,
        postgres: { mode: "rebuild" },
        from: {
          tamper: ({ envelope, ...message }) =>
            message.position === BigInt(withheld) || envelope === undefined
              ? message
              : { ...message, envelope },
        },
      }),
    );
    expect(fault.kind).to.equal("withheld");
    const [shown] = await query(address, "SELECT count(*) AS count FROM sigil.record_versions");
    expect(shown).to.deep.equal({ count: 500n });
  });

  it("is refused for another ledger than the one it was filled from", async () => {
    await fill({ address, ledger, from: { size: 200n } });
    const other = await generateLedger({ seed: 14, count: 100 });
    expect((await faultOf(fill({ address, ledger: other }))).kind).to.equal("otherLedger");
  });

  it("names the first place that somebody changed, in whatever table", async () => {
    const changes: readonly (readonly [string, string])[] = [
      ["UPDATE sigil_v1.decisions SET verdict = 'allow' WHERE verdict = 'deny'", "decisions"],
      ["UPDATE sigil_v1.decisions SET feature_rate = 0.123456 WHERE feature_rate IS NOT NULL", "decisions"],
      ["DELETE FROM sigil_v1.module_runs", "module_runs"],
      ["UPDATE sigil_v1.record_versions SET payload = '1' WHERE kind = 'config'", "record_versions"],
      [
        "UPDATE sigil_v1.record_versions SET erased = true, envelope = NULL WHERE position = 100",
        "record_versions",
      ],
      ["UPDATE sigil_v1.records SET versions = versions + 1 WHERE tenant = 'beta'", "records"],
      ["INSERT INTO sigil_v1.links VALUES (99999, 0, 'acme', 'x', '')", "links"],
      ["UPDATE sigil_v1.cursor SET peaks = ''", "cursor"],
      ["UPDATE sigil_v1.attestations SET statement = '' WHERE witness = 'w2'", "attestations"],
    ];
    await fill({ address, ledger });
    for (const [change, table] of changes) {
      const copy = await database(address);
      await query(copy, change);
      const { difference } = await compare(copy, ledger);
      expect(difference?.table, change).to.equal(table);
    }
  });

  it("keeps its readers on what was there until a rebuild has caught up, with their rights", async () => {
    await query(address, "CREATE ROLE analyst LOGIN");
    const readers = { postgres: { readers: ["analyst"] } };
    await fill({ address, ledger, from: { size: 500n }, ...readers });
    const asAnalyst = address.replace(/\/\/[^@]+@/, "//analyst@");
    const count = async (): Promise<unknown> =>
      (await query(asAnalyst, "SELECT count(*) AS count FROM sigil.record_versions"))[0]?.["count"];
    expect(await count()).to.equal(500n);
    const rebuild = { readers: [], mode: "rebuild" as const };
    await fill({ address, ledger, postgres: rebuild, from: { size: 300n }, size: 10_000n });
    expect(await count()).to.equal(500n);
    await fill({ address, ledger, postgres: rebuild });
    expect(await count()).to.equal(BigInt(ledger.places.length));
    expect(await digestOf(address)).to.deep.equal(expected);
    const schemas = await query(
      address,
      "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sigil%' ORDER BY 1",
    );
    expect(schemas.map(({ nspname }) => nspname)).to.deep.equal(["sigil", "sigil_v1"]);
    for (const statement of [
      "SELECT 1 FROM sigil_v1.record_versions",
      "DELETE FROM sigil.decisions",
      "UPDATE sigil.record_versions SET tenant = 'x'",
      "CREATE TABLE sigil.mine (a int)",
    ]) {
      const refused = await query(asAnalyst, statement).then(
        () => "",
        (error: unknown) => (error as { readonly code?: string }).code,
      );
      expect(refused, statement).to.equal("42501");
    }
  });

  it("has one writer at a time, and notices another one that moved the cursor", async () => {
    await fill({ address, ledger, from: { size: 100n } });
    const moving = await connectTo(address);
    const held = [
      "SELECT pg_advisory_lock(hashtextextended('sigil projection sigil', 0))",
      "SELECT pg_advisory_unlock_all()",
    ];
    await moving.query(held[0] ?? "");
    expect((await faultOf(fill({ address, ledger, postgres: { lockMs: 100 } }))).kind).to.equal(
      "consumerRunning",
    );
    await moving.query(held[1] ?? "");
    const meddled = (store: ProjectionStore): ProjectionStore => ({
      ...bound(store),
      apply: async (gathered) => {
        await moving.query("UPDATE sigil_v1.cursor SET next = next + 1");
        return store.apply(gathered);
      },
    });
    expect(await faultOf(fill({ address, ledger, wrap: meddled }))).to.deep.equal({
      kind: "cursorMoved",
      expected: 100n,
      found: 101n,
    });
    await moving.end();
  });
});
