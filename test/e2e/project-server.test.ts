/**
 * A projection of a server's own ledger: read from its feed, followed over a rotation of keys and an erasure, compared
 * with it, rebuilt.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { digestOf, query } from "../contract/projection.ts";
import { put } from "./canon-writes.ts";
import { sigilHere, type Ended } from "./command.ts";
import { Council } from "./council.ts";
import { asRoot, fill, orderErasure, untilErased } from "./erased-world.ts";

describe("a projection of a server's feed", function () {
  this.slow(20_000);
  let postgres: Postgres;
  let council: Council;
  let words: readonly string[];

  const project = (...more: readonly string[]): Promise<Ended> => asRoot(council, ...words, ...more);

  before(async function () {
    skipWithoutPostgres(this);
    postgres = await startPostgres();
    council = await Council.open({ otherTenants: ["beta"] });
    const { reader } = council.served.server.ledger;
    const genesis = toHex((await reader.readAt(0n)).hash);
    const from = ["--from", `grpc://${council.served.server.target}`, "--genesis", genesis];
    words = ["project", "postgres", ...from, "--to", postgres.address()];
    await fill(council);
    await put(council.as("mentor"), "awkward", { "nul \0": "\0", "": 0.5, deep: [[[[{}]]]] });
  });

  after(async () => {
    await council?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  const expectEqual = async (): Promise<void> => {
    const checked = await project("--check", "--json");
    expect(checked.exitCode, checked.problems + checked.output).to.equal(0);
    const report = JSON.parse(checked.output) as Record<string, unknown>;
    expect(report).to.include({ ok: true, next: String(council.served.server.ledger.reader.size) });
    expect(report["stored"]).to.deep.equal(report["ledger"]);
  };

  it("is filled, and equal to what the server has", async () => {
    const filled = await project("--once");
    expect(filled.exitCode, filled.problems).to.equal(0);
    await expectEqual();
    const [row] = await query(
      postgres.address(),
      "SELECT count(*) AS count FROM sigil.decisions WHERE tenant = 'acme'",
    );
    expect(Number(row?.["count"])).to.be.greaterThan(20);
    const [status] = await query(postgres.address(), "SELECT checkpoint FROM sigil.status");
    expect(status?.["checkpoint"]).to.match(/^sigil\.|\n\d+\n/);
  });

  it("goes on over new signing keys and an erasure, and is what a rebuild gives", async () => {
    const root = council.as("root");
    await root.keys.rotateKey({ role: 1 });
    await root.keys.rotateKey({ role: 2 });
    await put(council.as("operator"), "after/rotation", { made: 1 });
    await council.approve(await orderErasure(council), "ann", "ben");
    await untilErased(council);
    const followed = await project("--once");
    expect(followed.exitCode, followed.problems).to.equal(0);
    expect(followed.problems).to.match(/erased tenant "acme": \d+ records/);
    await expectEqual();
    const rows = await query(postgres.address(), "SELECT 1 FROM sigil.record_versions WHERE tenant = 'acme'");
    expect(rows).to.deep.equal([]);
    const [erasure] = await query(
      postgres.address(),
      `SELECT erased_records::bigint AS reported, (SELECT count(*) FROM sigil.record_versions WHERE erased) AS erased
         FROM sigil.erasures`,
    );
    expect(erasure?.["erased"]).to.equal(erasure?.["reported"]);
    const before = await digestOf(postgres.address());
    const rebuilt = await project("--rebuild");
    expect(rebuilt.exitCode, rebuilt.problems).to.equal(0);
    expect(await digestOf(postgres.address())).to.deep.equal(before);
  });

  it("is refused to who may not read everything, and without a server", async () => {
    const guest = await sigilHere([...words, "--once"], { cwd: council.deployment.directory });
    expect([guest.exitCode, guest.problems]).to.satisfy(
      ([code, problems]: readonly [number, string]) => code === 1 && problems.includes("sigil: "),
    );
    const nobody = words.map((word) => (word.startsWith("grpc://") ? "grpc://127.0.0.1:1" : word));
    expect((await sigilHere([...nobody, "--once"], { cwd: council.deployment.directory })).exitCode).to.equal(
      2,
    );
  });
});
