/** Walks over a tenant's records and over the newest versions of ids; attestations by body. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import type { Hash } from "../../../src/core/bytes.ts";
import { BlindTags, indexOps } from "../../../src/ledger/layout/indexes.ts";
import { canonKey, versionKey } from "../../../src/ledger/layout/keyspace.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { HeadScan, RecordWalk } from "../../../src/ledger/layout/lookup.ts";
import { createWorld, decisionBody, openWorld, systemBody, userBody } from "../../contract/memory-ledger.ts";

const collect = async <T>(items: AsyncIterable<T>): Promise<readonly T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

describe("a tenant's records", () => {
  let ledger: Ledger;
  before(async () => {
    ledger = await openWorld(await createWorld());
    const [first] = await ledger.append([userBody("a"), { ...userBody("b"), kind: "recipe" }]);
    await ledger.append([decisionBody("d"), userBody("z", 1, { tenant: "acme-2" })]);
    await ledger.append([userBody("y", 1, { tenant: "acm" })]);
    await ledger.append([userBody("a", 2, { prev: first?.hash as Hash })]);
  });
  const walk = async (changes: Partial<RecordWalk> = {}) =>
    collect(
      ledger.reader.records({ tenant: "acme", from: 0n, size: ledger.reader.size, limit: 100, ...changes }),
    );
  const positions = async (changes: Partial<RecordWalk> = {}) =>
    (await walk(changes)).filter(({ skipped }) => !skipped).map(({ position }) => Number(position));

  it("are walked in the order of the ledger, every version, without decisions and other tenants", async () => {
    expect(await positions()).to.deep.equal([1, 2, 6]);
    expect(await positions({ tenant: "acme-2" })).to.deep.equal([4]);
    expect(await positions({ tenant: "acm" })).to.deep.equal([5]);
    expect(await positions({ tenant: "ac" })).to.deep.equal([]);
    expect(await positions({ tenant: "system" })).to.deep.equal([0]);
  });

  it("are walked from a position, below a size, up to a limit", async () => {
    expect(await positions({ from: 2n })).to.deep.equal([2, 6]);
    expect(await positions({ size: 6n })).to.deep.equal([1, 2]);
    expect(await positions({ from: 2n, size: 2n })).to.deep.equal([]);
    expect(await positions({ from: 9n, size: 2n })).to.deep.equal([]);
    expect(await positions({ limit: 2 })).to.deep.equal([1, 2]);
  });

  it("are shortlisted by kind", async () => {
    expect(await walk({ kind: "recipe" })).to.deep.equal([
      { position: 1n, skipped: true },
      { position: 2n, skipped: false },
      { position: 6n, skipped: true },
    ]);
  });
});

describe("the index entries of a record", () => {
  const tags = new BlindTags(async (tenant) => new TextEncoder().encode(`key of ${tenant}`));
  const hash = sha256(new Uint8Array(1));
  const head = { position: 5n, version: 2n };
  before(() => tags.ensure("acme"));

  /** The kind tag in the record index. */
  const tagOf = (kind: string, payload: Parameters<typeof userBody>[1]) => {
    const ops = indexOps(tags, { ...userBody("a", payload), kind }, hash, head);
    const key = Buffer.from(canonKey("acme", 5n)).toString("hex");
    const op = ops.find((each) => Buffer.from(each.key).toString("hex") === key);
    return op?.kind === "put" ? Buffer.from(op.value).toString("hex") : undefined;
  };

  it("list a tombstone with the records of the kind that it ends", () => {
    const recipe = tagOf("recipe", {});
    expect(tagOf("tombstone", { kind: "recipe" })).to.equal(recipe);
    expect(tagOf("tombstone", { kind: "other" })).to.not.equal(recipe);
    expect(tagOf("recipe", { kind: "other" })).to.equal(recipe);
  });

  it("list a tombstone that names no kind as what it is", () => {
    const plain = tagOf("tombstone", null);
    for (const payload of ["recipe", [], { kind: 5 }, {}]) {
      expect(tagOf("tombstone", payload)).to.equal(plain);
    }
    expect(plain).to.not.equal(tagOf("recipe", {}));
  });

  it("lie under their tenant and id with a zero byte after each", () => {
    const text = (key: Uint8Array): string => Buffer.from(key).toString("latin1");
    expect(text(canonKey("acme", 0x41n))).to.equal("wacme\0\0\0\0\0\0\0\0A");
    expect(text(versionKey("acme", "user", "a/b", 0x41n))).to.equal("vacme\0user\0a/b\0\0\0\0\0\0\0\0A");
  });

  it("are in none of the indexes of ids with versions for a decision", () => {
    const ops = indexOps(tags, decisionBody("d"), hash, head);
    expect(ops.map(({ key }) => String.fromCharCode(key[0] ?? 0))).to.deep.equal(["h"]);
  });
});

describe("the newest versions of ids", () => {
  let ledger: Ledger;
  before(async () => {
    ledger = await openWorld(await createWorld());
    // In id order: positions 1, 2, … are the order of the ids.
    await ledger.append(["a", "a/b", "a/c", "a0", "b"].map((id) => userBody(id)));
    await ledger.append([userBody("zz", 1, { tenant: "acm" }), userBody("a", 1, { tenant: "acme-2" })]);
  });
  const scan = async (idPrefix: string, options?: HeadScan) =>
    (await collect(ledger.reader.heads("acme", "user", idPrefix, options))).map(({ position }) =>
      Number(position),
    );

  it("are scanned whole, by prefix, in either direction", async () => {
    expect(await scan("")).to.deep.equal([1, 2, 3, 4, 5]);
    expect(await scan("", { reverse: true })).to.deep.equal([5, 4, 3, 2, 1]);
    expect(await scan("a/", { reverse: true })).to.deep.equal([3, 2]);
    expect(await scan("a/", {})).to.deep.equal([2, 3]);
  });

  it("are scanned from an id on, or from it back, there or not", async () => {
    expect(await scan("", { from: "a/c" })).to.deep.equal([3, 4, 5]);
    expect(await scan("", { from: "a/bb" })).to.deep.equal([3, 4, 5]);
    expect(await scan("", { from: "a/c", reverse: true })).to.deep.equal([3, 2, 1]);
    expect(await scan("", { from: "a/bb", reverse: true })).to.deep.equal([2, 1]);
    expect(await scan("", { from: "a", reverse: true })).to.deep.equal([1]);
  });

  it("never leave their prefix, wherever the scan begins", async () => {
    expect(await scan("a/", { from: "A" })).to.deep.equal([2, 3]);
    expect(await scan("a/", { from: "b" })).to.deep.equal([]);
    expect(await scan("a/", { from: "b", reverse: true })).to.deep.equal([3, 2]);
    expect(await scan("a/", { from: "A", reverse: true })).to.deep.equal([]);
  });
});

describe("attestations", () => {
  it("go into the envelope of the body with their index, and into no other", async () => {
    await using ledger = await openWorld(await createWorld());
    const attestations = [[], [Uint8Array.of(1), Uint8Array.of(2, 3)]];
    const bodies = [userBody("a"), userBody("b"), systemBody("x", "c", {})].map(
      (body) => ({ ...body, space: "user" }) as const,
    );
    await ledger.append(bodies, { attestations });
    expect((await ledger.reader.readAt(1n)).attestations).to.deep.equal([]);
    expect((await ledger.reader.readAt(2n)).attestations).to.deep.equal(attestations[1]);
    expect((await ledger.reader.readAt(3n)).attestations).to.deep.equal([]);
  });
});
