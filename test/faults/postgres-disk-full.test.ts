/**
 * A projection in PostgreSQL whose disk is full, a real one: a small tmpfs. It ends with the server's own code, and
 * with room it goes on where it was.
 */
import { chmod } from "node:fs/promises";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { generateLedger } from "../contract/golden-ledger.ts";
import { postgresMissing, skipWithoutPostgres, startPostgres } from "../contract/postgres.ts";
import { compareDatabase, fillDatabase, postgresAt } from "../contract/projection.ts";
import { faultOf } from "../contract/projection-suite.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";

/** Its own catalogue takes 40 MB, its write-ahead log 16 MB and more. */
const diskBytes = 128 << 20;

describe(`a projection in PostgreSQL${postgresMissing === undefined ? "" : ` (${postgresMissing})`}`, function () {
  this.timeout(120_000);
  this.slow(60_000);

  before(function () {
    skipWithoutPostgres(this);
  });

  it("that has no room left on its disk (a small tmpfs) ends, and goes on once it has", async function () {
    await using disk = await mountDisk(diskBytes);
    skipWithoutDisk(disk, this);
    // Root starts it as another user.
    await chmod(disk.path, 0o711);
    await using postgres = await startPostgres({ store: disk.path });
    const database = postgresAt(postgres.address());
    const ledger = await generateLedger({ seed: 5, count: 3000 });
    let isFull = false;
    const fault = await faultOf(
      fillDatabase(database, {
        ledger,
        wrap: (store) => ({
          resume: () => store.resume(),
          publish: () => store.publish(),
          apply: async (gathered) => {
            const applied = await store.apply(gathered);
            if (!isFull) await disk.fill(64 << 10);
            isFull = true;
            return applied;
          },
        }),
      }),
    );
    if (fault.kind !== "databaseFailed") expect.fail(fault.kind);
    expect(fault.code, fault.rule).to.equal("53100");
    expect(fault.rule).to.contain("No space left on device");
    await disk.makeRoom();
    await fillDatabase(database, { ledger });
    expect((await compareDatabase(database, ledger)).difference).to.equal(undefined);
  });
});
