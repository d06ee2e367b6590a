/** `sigil relay erase` against a running server, its files and NATS: nothing of an erased tenant is left in either. */
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readRelays } from "../../src/config/relays.ts";
import { fromHex, parseHash, toHex } from "../../src/core/bytes.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../src/core/merkle/tree.ts";
import { natsMissing, startNats } from "../contract/nats-server.ts";
import { readFileMessages, readStreamMessages } from "../contract/relay-messages.ts";
import { until, type SeenMessage } from "../contract/relay-world.ts";
import { sigilHere } from "./command.ts";
import { Council } from "./council.ts";
import { canaries, fill, filesHolding, orderErasure, untilErased } from "./erased-world.ts";
import type { ServeOptions } from "./deployment.ts";

type Report = {
  readonly name: string;
  readonly outcome: string;
  readonly found: number;
  readonly left: number;
  readonly generation: number;
  readonly cannot: readonly string[];
};

const erase = async (council: Council, ...words: readonly string[]) => {
  const { directory } = council.deployment;
  const ended = await sigilHere(["relay", "erase", "--data", directory, "--json", ...words], {
    cwd: directory,
  });
  const relays =
    ended.output === "" ? [] : (JSON.parse(ended.output) as { readonly relays: readonly Report[] }).relays;
  return { ...ended, relays };
};

const eraseAcme = async (council: Council): Promise<void> => {
  const proposal = await orderErasure(council);
  await council.attest(proposal, "ann");
  await council.approve(proposal, "ben");
  await untilErased(council);
};

/** From offset 0: every link, and the root that the ledger signed. */
const expectWhole = (council: Council, messages: readonly SeenMessage[]): void => {
  const { reader } = council.served.server.ledger;
  const size = Number(reader.size);
  expect(messages.map(({ sigilposition }) => sigilposition)).to.deep.equal(
    Array.from({ length: size }, (_, at) => String(at)),
  );
  expect(messages.map(({ sigilprev }) => sigilprev)).to.deep.equal([
    undefined,
    ...Array.from({ length: size - 1 }, (_, at) => String(at)),
  ]);
  const leaves = messages.map(({ sigilleaf }) => parseHash(fromHex(String(sigilleaf))));
  expect(reader.checkpoint.size).to.equal(reader.size);
  expect(toHex(rootOf(appendLeaves(emptyFrontier, leaves).frontier))).to.equal(toHex(reader.checkpoint.root));
};

const untilPublished = (council: Council, read: () => Promise<readonly SeenMessage[]>): Promise<void> =>
  until(
    async () =>
      (await read().catch(() => [])).at(-1)?.["sigilposition"] ===
      String(council.served.server.ledger.reader.size - 1n),
    "everything published",
  );

describe("sigil relay erase", () => {
  it("takes a tenant out of the files in place, once the ledger has erased it and not before", async () => {
    let directory = "";
    const serve = (data: string): ServeOptions => {
      directory = join(data, "..", "events");
      const tables = [{ name: "siem", to: "files", directory, file_bytes_max: 65_536 }];
      return { config: { relays: readRelays(JSON.stringify(tables)) } };
    };
    await using council = await Council.open({ otherTenants: ["beta"] }, serve);
    await fill(council);
    await untilPublished(council, () => readFileMessages(directory));
    expect(await filesHolding(directory, canaries)).to.have.length.above(1);
    const early = await erase(council, "--tenant", "acme");
    expect(early.exitCode).to.equal(2);
    expect(early.problems).to.contain("the ledger has no record erased/acme");
    expect(await filesHolding(directory, canaries)).to.have.length.above(1);
    await eraseAcme(council);
    const counted = await erase(council, "--tenant", "acme", "--dry-run");
    expect(counted.exitCode).to.equal(1);
    expect(counted.relays[0]).to.include({ name: "siem", outcome: "left", generation: 1 });
    expect(await filesHolding(directory, canaries)).to.have.length.above(1);
    const done = await erase(council, "--tenant", "acme");
    expect(done.exitCode).to.equal(0);
    expect(done.relays[0]).to.include({
      outcome: "erased",
      found: counted.relays[0]?.found,
      left: 0,
      generation: 1,
    });
    expect(done.relays[0]?.cannot).to.have.length.above(0);
    expect(await filesHolding(directory, canaries)).to.deep.equal([]);
    await council
      .as("operator")
      .trust.check({ action: "read", target: "public/docs" })
      .catch(() => {});
    await untilPublished(council, () => readFileMessages(directory));
    const messages = await readFileMessages(directory);
    expectWhole(council, messages);
    const { directory: data } = council.deployment;
    await sigilHere(["relay", "reset", "siem", "--to", "0", "--data", data], { cwd: data });
    const again = async () => (await readFileMessages(directory)).slice(messages.length);
    await until(async () => (await again()).length === messages.length, "published again");
    // What stands in the old places is what a relay publishes of the ledger now, but for checkpoints: of other batches.
    const unchecked = (message: SeenMessage): SeenMessage => {
      const { sigilcheckpoint: _, ...one } = message;
      return one;
    };
    expect((await again()).map(unchecked)).to.deep.equal(
      messages.map((one) => ({ ...unchecked(one), sigilgeneration: "2" })),
    );
    expect((await erase(council, "--tenant", "acme", "--relay", "siem")).relays[0]).to.include({
      outcome: "clean",
    });
    const unknown = await erase(council, "--tenant", "acme", "--relay", "bus");
    expect(unknown.exitCode).to.equal(2);
    expect(unknown.problems).to.contain('there is no relay "bus"; there are: siem');
  });

  it(`takes it out of NATS by a new generation${natsMissing === undefined ? "" : ` (${natsMissing})`}`, async function () {
    if (natsMissing !== undefined) return this.skip();
    await using nats = await startNats();
    const tables = [{ name: "bus", to: "nats", servers: [nats.url], stream: "SIGIL" }];
    const serve = (): ServeOptions => ({ config: { relays: readRelays(JSON.stringify(tables)) } });
    const messages = () => readStreamMessages(nats.url, "SIGIL");
    await using council = await Council.open({ otherTenants: ["beta"] }, serve);
    await fill(council);
    await untilPublished(council, messages);
    await until(async () => (await filesHolding(nats.store, canaries)).length > 0, "stored");
    await eraseAcme(council);
    const begun = await erase(council, "--tenant", "acme", "--relay", "bus");
    expect(begun.exitCode).to.equal(1);
    expect(begun.relays[0]).to.include({ outcome: "left", generation: 2 });
    expect(begun.relays[0]?.cannot[0]).to.contain("--purge-old");
    expect(await filesHolding(nats.store, canaries)).to.have.length.above(0);
    const done = await erase(council, "--tenant", "acme", "--purge-old");
    expect(done.exitCode).to.equal(0);
    expect(done.relays[0]).to.include({ outcome: "erased", left: 0, generation: 2 });
    await until(async () => (await filesHolding(nats.store, canaries)).length === 0, "nothing of it on disk");
    await untilPublished(council, messages);
    expectWhole(council, await messages());
  });
});
