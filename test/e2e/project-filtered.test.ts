/**
 * A projection of what a relay with a filter publishes: links and signatures are verified, what was left out is not,
 * and a comparison with the ledger under the same filter tells.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import type { RelayEvent } from "../../src/relay/event.ts";
import { eventsOf } from "../contract/golden-events.ts";
import { appendLines } from "../contract/golden-files.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { withoutCheckpoints } from "../contract/hostile-lane.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { query } from "../contract/projection.ts";
import { sigilHere, type Ended } from "./command.ts";

const kept = ["acme", "system"];
const filter = kept.flatMap((tenant) => ["--tenant", tenant]);

/** Each linked to the one before it. */
const linked = (events: readonly RelayEvent[]): readonly RelayEvent[] =>
  events.map((event, at) => {
    const { sigilprev: _, ...attributes } = event.attributes;
    const prev = events[at - 1]?.position;
    return {
      ...event,
      attributes: { ...attributes, ...(prev === undefined ? {} : { sigilprev: String(prev) }) },
    };
  });

describe("a projection of a filtered lane", function () {
  this.slow(10_000);
  let postgres: Postgres;
  let ledger: GoldenLedger;
  let root: string;
  let events: readonly RelayEvent[];

  const project = (database: string, directory: string, ...more: readonly string[]): Promise<Ended> => {
    const words = ["--from", `file:${join(root, directory)}`, "--genesis", toHex(ledger.genesis)];
    return sigilHere(["project", "postgres", ...words, "--to", postgres.address(database), ...more], {
      cwd: root,
    });
  };

  const write = async (directory: string, lane: readonly RelayEvent[]): Promise<void> => {
    await mkdir(join(root, directory));
    await appendLines(join(root, directory), lane);
  };

  before(async function () {
    skipWithoutPostgres(this);
    postgres = await startPostgres();
    root = await mkdtemp(join(tmpdir(), "sigil-filtered-"));
    ledger = await generateLedger({ seed: 51, count: 500 });
    const whole = eventsOf(ledger, [0, ledger.places.length]);
    events = linked(withoutCheckpoints(whole.filter(({ place }) => kept.includes(place?.tenant ?? ""))));
    await write("whole", whole);
    await write("filtered", events);
    for (const name of ["partly", "strict", "entire", "unlinked", "dropped"])
      await query(postgres.address(), `CREATE DATABASE ${name}`);
    const filled = await project("partly", "filtered", "--filtered", "--once");
    expect(filled.exitCode, filled.problems).to.equal(0);
    expect(filled.output).to.contain("nothing here tells what was left out");
  });

  after(async () => {
    await postgres?.[Symbol.asyncDispose]();
    if (root !== undefined) await rm(root, { recursive: true });
  });

  it("has what the filter lets through, and is equal to the ledger under it", async () => {
    const [row] = await query(
      postgres.address("partly"),
      "SELECT count(*)::int AS count, count(DISTINCT tenant)::int AS tenants FROM sigil.record_versions",
    );
    expect(row).to.deep.equal({ count: events.length, tenants: kept.length });
    const again = await project("partly", "filtered", "--filtered", "--once", "--json");
    expect(JSON.parse(again.output)).to.include({ caught_up: true, filtered: true });
    const checked = await project("partly", "whole", "--check", ...filter);
    expect(checked.output, checked.problems).to.match(
      /^EQUAL {2}the projection is what its filter lets through/,
    );
    expect(checked.output).to.match(/root +none/);
    const own = await project("partly", "filtered", "--check", "--filtered", "--json");
    const report = JSON.parse(own.output) as {
      readonly ok: boolean;
      readonly stored: { readonly root: null };
    };
    expect([report.ok, report.stored.root]).to.deep.equal([true, null]);
    const other = await project("partly", "whole", "--check", ...filter, "--tenant", "beta");
    expect(other.output).to.match(/^DIFFERS {2}record_versions at position \d+: the row is missing/);
    expect((await project("partly", "whole", "--check")).output).to.match(/^DIFFERS/);
  });

  it("is taken for no whole one, and a whole one for none of it", async () => {
    const strict = await project("strict", "filtered", "--once");
    expect(strict.problems).to.match(/position \d+ is missing/);
    expect(strict.exitCode).to.equal(1);
    const mixed = await project("partly", "whole", "--once");
    expect(mixed.problems).to.contain("it holds what a filter let through: go on with --filtered");
    expect(mixed.exitCode).to.equal(1);
    expect((await project("entire", "whole", "--once")).exitCode).to.equal(0);
    const whole = await project("entire", "whole", "--filtered", "--once");
    expect(whole.problems).to.contain("go on without --filtered");
  });

  it("stops at a missing link", async () => {
    await write(
      "unlinked",
      events.filter((_, at) => at !== 20),
    );
    const stopped = await project("unlinked", "unlinked", "--filtered", "--once");
    expect(stopped.problems).to.contain("a message is missing or out of order");
    expect(stopped.exitCode).to.equal(1);
  });

  it("takes a lane that was linked anew, and the comparison with the ledger names what is missing", async () => {
    const dropped = events[25] ?? expect.fail("too few");
    await write("dropped", linked(events.filter((event) => event !== dropped)));
    expect((await project("dropped", "dropped", "--filtered", "--once")).exitCode).to.equal(0);
    const checked = await project("dropped", "whole", "--check", ...filter);
    expect(checked.exitCode).to.equal(1);
    expect(checked.output).to.match(
      new RegExp(`^DIFFERS {2}record_versions at position ${dropped.position}: the row is missing`),
    );
  });

  it("says how its flags go together", async () => {
    for (const [words, rule] of [
      [["--once", "--tenant", "acme"], "--tenant, --kind and --space say what --check compares"],
      [["--check", "--space", "nowhere"], "--space must be user or system"],
    ] as const) {
      const refused = await project("partly", "whole", ...words);
      expect(refused.problems).to.contain(rule);
      expect(refused.exitCode).to.equal(2);
    }
  });
});
