/** A projection in PostgreSQL, against a real one: the suite of every database, and the rights of those who read. */
import { expect } from "chai";
import { it } from "mocha";
import { startProxy } from "../contract/cutting-proxy.ts";
import { postgresMissing, startPostgres, type Postgres } from "../contract/postgres.ts";
import { connectTo, fill, fillDatabase, digestOf, postgresAt, query } from "../contract/projection.ts";
import {
  describeProjection,
  faultOf,
  type ProjectionPlace,
  type ProjectionServer,
} from "../contract/projection-suite.ts";

type PostgresPlace = ProjectionPlace & { readonly address: string };

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

/** @param way where projections connect. */
const placeAt = (address: string, way: string): PostgresPlace => {
  const ask = (text: string) => query(address, text);
  /** Of the only row; 0 where there is none. */
  const count = async (text: string): Promise<bigint> =>
    ((await ask(text))[0]?.["count"] as bigint | undefined) ?? 0n;
  return {
    address,
    database: postgresAt(way),
    drop: async () => void (await ask("DROP SCHEMA sigil_v1 CASCADE")),
    next: () => count("SELECT next AS count FROM sigil_v1.cursor"),
    shown: () => count("SELECT count(*) AS count FROM sigil.record_versions"),
    holding: async (tenantPrefix) => {
      const found: string[] = [];
      for (const table of ["record_versions", "records", "links", "decisions", "module_runs"]) {
        const rows = await ask(`SELECT 1 FROM sigil.${table} WHERE tenant LIKE '${tenantPrefix}%'`);
        if (rows.length > 0) found.push(table);
      }
      return found;
    },
    changes: changes.map(([change, table]) => [change, table, async () => void (await ask(change))]),
    cut: async () =>
      void (await ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigil project' AND pid <> pg_backend_pid()",
      )),
    hold: async () => {
      const client = await connectTo(address);
      await client.query("SELECT pg_advisory_lock(hashtextextended('sigil projection sigil', 0))");
      return { release: () => client.end() };
    },
    // It is the connection's.
    expire: async () => {},
    moveCursor: async () => void (await ask("UPDATE sigil_v1.cursor SET next = next + 1")),
    leftovers: async () =>
      (
        await ask(
          "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sigil%' AND nspname NOT IN ('sigil', 'sigil_v1')",
        )
      ).map(({ nspname }) => String(nspname)),
  };
};

let postgres: Postgres;

const start = async (): Promise<ProjectionServer> => {
  postgres = await startPostgres();
  const proxy = await startProxy(postgres.port);
  let databases = 0;
  return {
    proxy,
    place: async (of) => {
      databases += 1;
      const template = of === undefined ? "" : ` TEMPLATE ${(of as PostgresPlace).address.split("/").at(-1)}`;
      await query(postgres.address(), `CREATE DATABASE d${databases}${template}`);
      const address = postgres.address(`d${databases}`);
      return placeAt(address, address.replace(`:${postgres.port}/`, `:${proxy.port}/`));
    },
    [Symbol.asyncDispose]: async () => {
      await proxy[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
};

describeProjection("a projection in PostgreSQL", {
  start,
  missing: postgresMissing,
  // Whatever is broken off is one transaction.
  requests: 7,
  more: (context) => {
    it("shows what an erasure was ordered for, and what it took", async () => {
      const { ledger, place } = context();
      const { address } = place as PostgresPlace;
      await fill({ address, ledger });
      const [order] = await query(
        address,
        "SELECT tenant, reason, erased_records FROM sigil.erasures ORDER BY position",
      );
      expect(order).to.deep.include({ tenant: "gone-1", reason: "asked for" });
    });

    it("stops when its server hangs, is not stopped by silence between batches, and goes on", async () => {
      const { ledger, place, expected } = context();
      const { address } = place as PostgresPlace;
      const backends = async (): Promise<readonly number[]> => {
        const rows = await query(
          address,
          "SELECT pid FROM pg_stat_activity WHERE application_name = 'sigil project' AND pid <> pg_backend_pid()",
        );
        return rows.map(({ pid }) => Number(pid));
      };
      const database = postgresAt(address, { silentMs: 1500 });
      let suspended: readonly number[] = [];
      let batches = 0;
      const fault = await faultOf(
        fillDatabase(database, {
          ledger,
          from: { batchMessages: 20 },
          wrap: (store) => ({
            resume: () => store.resume(),
            publish: () => store.publish(),
            apply: async (gathered) => {
              batches += 1;
              // Longer than it waits for an answer.
              if (batches === 1) await new Promise((resolve) => setTimeout(resolve, 2500));
              if (batches === 2) {
                suspended = await backends();
                for (const pid of suspended) process.kill(pid, "SIGSTOP");
              }
              return store.apply(gathered);
            },
          }),
        }),
      );
      for (const pid of suspended) process.kill(pid, "SIGCONT");
      expect(suspended).to.have.lengthOf(1);
      expect(fault).to.include({ kind: "databaseFailed", code: "ETIMEDOUT" });
      if (fault.kind === "databaseFailed") expect(fault.rule).to.include("has said nothing");
      for (let turn = 0; turn < 100 && (await backends()).length > 0; turn += 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await fillDatabase(postgresAt(address), { ledger });
      expect(await digestOf(address)).to.deep.equal(expected);
    });

    it("keeps its readers on what was there until a rebuild has caught up, with their rights", async () => {
      const { ledger, place, expected } = context();
      const { address } = place as PostgresPlace;
      await query(address, "CREATE ROLE analyst LOGIN");
      await fill({ address, ledger, from: { size: 500n }, postgres: { readers: ["analyst"] } });
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
  },
});
