/**
 * A projection in MongoDB whose disk is full, a real one: a small tmpfs under FerretDB, which speaks its protocol. It
 * ends with the server's words, and with room it goes on where it was.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { generateLedger } from "../contract/golden-ledger.ts";
import { mongoAt } from "../contract/mongo-place.ts";
import { mongoMissing, startMongo } from "../contract/mongo-server.ts";
import { compareDatabase, fillDatabase } from "../contract/projection.ts";
import { faultOf } from "../contract/projection-suite.ts";
import { mountDisk, skipWithoutDisk } from "../contract/small-disk.ts";

const diskBytes = 16 << 20;

describe(`a projection in MongoDB${mongoMissing === undefined ? "" : ` (${mongoMissing})`}`, function () {
  this.timeout(120_000);
  this.slow(60_000);

  before(function () {
    if (mongoMissing !== undefined) this.skip();
  });

  it("that has no room left on its disk (a small tmpfs) ends, and goes on once it has", async function () {
    await using disk = await mountDisk(diskBytes);
    skipWithoutDisk(disk, this);
    await using mongo = await startMongo({ store: disk.path });
    const database = mongoAt(mongo.address("audit"));
    const ledger = await generateLedger({ seed: 5, count: 400 });
    let isFull = false;
    const fault = await faultOf(
      fillDatabase(database, {
        ledger,
        from: { batchMessages: 50 },
        onApplied: () => {
          if (!isFull) void disk.fill(64 << 10);
          isFull = true;
        },
      }),
    );
    if (fault.kind !== "databaseFailed") expect.fail(fault.kind);
    expect(fault.rule).to.contain("database or disk is full");
    await disk.makeRoom();
    await fillDatabase(database, { ledger });
    expect((await compareDatabase(database, ledger)).difference).to.equal(undefined);
  });
});
