/**
 * A projection of a NATS stream whose messages are too small for some records: they are fetched from the server, and
 * verified like any other.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { readRelays } from "../../src/config/relays.ts";
import { toHex } from "../../src/core/bytes.ts";
import { natsMissing, startNats, type Nats } from "../contract/nats-server.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { digestOf, query } from "../contract/projection.ts";
import { readStreamMessages } from "../contract/relay-messages.ts";
import { until } from "../contract/relay-world.ts";
import { put } from "./canon-writes.ts";
import { sigilHere, type Ended } from "./command.ts";
import { Council } from "./council.ts";
import { asRoot, fill, orderErasure, untilErased } from "./erased-world.ts";

describe("a projection of records that were published by reference", function () {
  this.slow(20_000);
  let postgres: Postgres;
  let nats: Nats;
  let council: Council;

  const messages = () => readStreamMessages(nats.url, "SMALL");

  const untilPublished = (): Promise<void> =>
    until(
      async () => BigInt((await messages()).length) === council.served.server.ledger.reader.size,
      "published",
    );

  const project = async (database: string, ...more: readonly string[]): Promise<Ended> => {
    const genesis = toHex((await council.served.server.ledger.reader.readAt(0n)).hash);
    const words = ["--to", postgres.address(database), "--genesis", genesis, ...more];
    return sigilHere(["project", "postgres", ...words], { cwd: council.deployment.directory });
  };

  const resolved = async (database: string, ...more: readonly string[]): Promise<Ended> => {
    const genesis = toHex((await council.served.server.ledger.reader.readAt(0n)).hash);
    const words = ["--to", postgres.address(database), "--genesis", genesis, ...more];
    return asRoot(council, "project", "postgres", ...words);
  };

  const server = (): string => `grpc://${council.served.server.target}`;

  before(async function () {
    skipWithoutPostgres(this);
    if (natsMissing !== undefined) {
      console.log(`      ${natsMissing}`);
      this.skip();
    }
    [postgres, nats] = [await startPostgres(), await startNats({ settings: "max_payload: 4096" })];
    for (const name of ["referred", "later", "direct"])
      await query(postgres.address(), `CREATE DATABASE ${name}`);
    const relays = readRelays(
      JSON.stringify([{ name: "bus", to: "nats", servers: [nats.url], stream: "SMALL" }]),
    );
    council = await Council.open({ otherTenants: ["beta"] }, () => ({ config: { relays } }));
    await fill(council);
    await put(council.as("operator"), "large", { text: "x".repeat(8000) });
    await untilPublished();
  });

  after(async () => {
    await council?.[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  it("says what to do without a server that has them", async () => {
    expect((await messages()).filter((one) => "dataref" in one)).to.have.length.above(0);
    const refused = await project("referred", "--from", `${nats.url}/SMALL`, "--once");
    expect(refused.problems).to.match(
      /the record at position \d+ was published by reference.*--resolve grpc:/,
    );
    expect(refused.exitCode).to.equal(2);
  });

  it("is the ledger with them fetched from a server", async () => {
    const filled = await resolved("referred", "--from", `${nats.url}/SMALL`, "--resolve", server(), "--once");
    expect(filled.exitCode, filled.problems).to.equal(0);
    const checked = await resolved("referred", "--from", server(), "--check");
    expect(checked.output, checked.problems).to.match(/^EQUAL/);
    const [large] = await query(
      postgres.address("referred"),
      "SELECT length(payload->>'text') AS length FROM sigil.records WHERE id = 'large'",
    );
    expect(large?.["length"]).to.equal(8000);
  });

  it("is the ledger where they were erased before they were fetched", async () => {
    await council.approve(await orderErasure(council), "ann", "ben");
    await untilErased(council);
    await untilPublished();
    const filled = await resolved("later", "--from", `${nats.url}/SMALL`, "--resolve", server(), "--once");
    expect(filled.exitCode, filled.problems).to.equal(0);
    const direct = await resolved("direct", "--from", server(), "--once");
    expect(direct.exitCode, direct.problems).to.equal(0);
    expect(await digestOf(postgres.address("later"))).to.deep.equal(
      await digestOf(postgres.address("direct")),
    );
  });
});
