/**
 * The TypeScript client against the faulty server: never an allow, in bounded time, and no secret in an error. That the
 * table can fail is shown by a client that fails open, for which every row does.
 */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  honestClient,
  judge,
  patchedClient,
  playAll,
  secretsOf,
  type Outcome,
  type Secrets,
} from "../faulty/player.ts";
import type { Row, Table } from "../faulty/row.ts";
import { startFaulty, type FaultyServer } from "../faulty/table.ts";

describe("the client at a faulty server", () => {
  let server: FaultyServer;
  let table: Table;
  let secrets: Secrets;
  let faults: readonly Row[];
  let controls: readonly Row[];
  let outcomes: ReadonlyMap<Row, Outcome>;

  const wrong = (rows: readonly Row[], played = outcomes): readonly string[] =>
    rows.flatMap((row) => {
      const outcome = played.get(row);
      const fault = outcome === undefined ? `${row.name}: not played` : judge(row, outcome, secrets);
      return fault === null ? [] : [fault];
    });

  before(async () => {
    server = await startFaulty();
    ({ table } = server);
    secrets = secretsOf(table);
    faults = table.rows.filter(({ expect: wanted }) => wanted !== "allow");
    controls = table.rows.filter(({ expect: wanted }) => wanted === "allow");
    outcomes = await playAll(honestClient(table, secrets), table.rows);
  });
  after(() => server[Symbol.asyncDispose]());

  it("meets more than 150 faults, each by a name of its own", () => {
    expect(faults.length).to.be.above(150);
    expect(new Set(table.rows.map(({ name }) => name)).size).to.equal(table.rows.length);
    for (const { name } of table.rows) expect(name).to.match(/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/);
  });

  it("allows what an honest server allows, by every way", () => {
    expect(controls.length).to.be.at.least(8);
    expect(wrong(controls)).to.deep.equal([]);
  });

  it("allows nothing else, and tells no secret in an error", () => {
    expect(wrong(faults)).to.deep.equal([]);
  });

  it("would notice the key or a token in an error, and a call that does not end", () => {
    const row = faults.find(({ expect: wanted }) => wanted === "error");
    if (row === undefined) throw new Error("no row that expects an error");
    expect(secrets.texts.size).to.be.above(5);
    for (const secret of secrets.texts) {
      const text = `Error: metadata { authorization: 'Bearer ${secret}' }`;
      expect(judge(row, { kind: "error", text, tookMs: 1 }, secrets)).to.contain("a secret");
    }
    expect(judge(row, { kind: "error", text: "", tookMs: 600_000 }, secrets)).to.contain("ended after");
    expect(judge(row, { kind: "error", text: "", tookMs: 1 }, secrets)).to.equal(null);
  });

  it("sends no token to a proxy of the environment", () => {
    const recorded = readFileSync(table.recordedFile, "latin1");
    expect(recorded).to.contain("CONNECT sigil.invalid:443");
    expect(recorded).to.not.match(/bearer|eyJ/i);
  });

  it("would allow the unproved rows if it did not verify: their faults are in nothing else", async () => {
    const unproved = faults.filter(({ needsVerification }) => needsVerification === true);
    const played = await playAll(honestClient(table, secrets, false), unproved);
    const noticed = unproved.filter((row) => played.get(row)?.kind !== "allow");
    expect(unproved.length).to.be.above(30);
    expect(noticed.map(({ name }) => name)).to.deep.equal([]);
  });

  it("fails every row once it fails open, with an error or a deny made an allow", async () => {
    const played = await playAll(patchedClient(honestClient(table, secrets)), faults);
    expect(wrong(faults, played)).to.have.length(faults.length);
  });
});
