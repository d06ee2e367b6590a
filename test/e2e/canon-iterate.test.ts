/**
 * Thousands of records of several tenants and kinds: all of them read back, none of them readable on disk, one damaged.
 */
import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilError, type CanonicalRecord, type SigilConnection, type VersionedRecord } from "@sigil/client";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { flipsOf, readStored, replaceStored } from "../contract/tamper.ts";
import { recordIn, unhurriedModel, writeOf } from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const tenants = ["acme", "beta", "gamma"] as const;
type Tenant = (typeof tenants)[number];
const kinds = ["note", "rule", "tool", "colour"] as const;
const recordsPerTenant = { acme: 2400, beta: 1600, gamma: 1000 } as const satisfies Record<Tenant, number>;
const batchRecords = 100;

/** In every payload, and the other in every id: ids are names and stand in the index as they are. */
const payloadMark = randomBytes(12).toString("hex");
const idMark = randomBytes(6).toString("hex");

/** Compact values too, which a store's compression would leave alone. */
const payloadAt = (tenant: Tenant, index: number) => ({
  mark: `${payloadMark}${randomBytes(12).toString("hex")}`,
  tenant,
  index,
  bytes: index % 7 === 0 ? randomBytes(index % 50).toString("base64") : null,
});

type Wrote = { readonly record: CanonicalRecord; readonly payload: Uint8Array };
/** By id, in the order of ids. */
type WroteAll = ReadonlyMap<string, Wrote>;

const writer = (tenant: Tenant, deployment: Deployment, served: ServedDeployment): SigilConnection =>
  tenant === "acme"
    ? served.as("operator")
    : served.by(`operator-${tenant}`, deployment.privateKeys.operator);

const writeAll = async (tenant: Tenant, { canon }: SigilConnection): Promise<WroteAll> => {
  const wrote: [string, Wrote][] = [];
  for (let start = 0; start < recordsPerTenant[tenant]; start += batchRecords) {
    const payloads = Array.from({ length: batchRecords }, (_, offset) => payloadAt(tenant, start + offset));
    const writes = payloads.map((payload) => {
      const id = `${idMark}/${payload.index % 10}/${payload.index}`;
      return writeOf(id, payload, { kind: kinds[payload.index % kinds.length] ?? "" });
    });
    const { results } = await canon.batchWriteRecords({ writes, idempotencyKey: `batch ${start}` });
    for (const [offset, payload] of payloads.entries()) {
      const record = recordIn({ record: results[offset]?.record });
      wrote.push([record.id, { record, payload: cborEncode(payload) }]);
    }
  }
  return new Map(wrote.toSorted(([a], [b]) => (a < b ? -1 : 1)));
};

const expectSame = (found: readonly VersionedRecord[], wrote: WroteAll): void => {
  expect(found.map((item) => recordIn(item).id)).to.deep.equal([...wrote.keys()]);
  for (const item of found) {
    const record = recordIn(item);
    const { record: written, payload } = wrote.get(record.id) ?? {};
    const same =
      written !== undefined &&
      Buffer.compare(record.envelope, written.envelope) === 0 &&
      Buffer.compare(record.payloadCbor, payload ?? new Uint8Array(0)) === 0 &&
      Buffer.compare(record.hash, written.hash) === 0 &&
      record.payloadJson === written.payloadJson &&
      record.kind === written.kind &&
      record.position === written.position;
    if (!same) expect(record).to.deep.equal(written);
    expect(same).to.equal(true);
  }
};

const list = async ({ canon }: SigilConnection, tenant: string): Promise<readonly VersionedRecord[]> => {
  const found: VersionedRecord[] = [];
  for (let pageToken = ""; ;) {
    const page = await canon.listRecords({ filter: { tenant }, pageSize: 500, pageToken });
    found.push(...page.records);
    if (page.nextPageToken === "") return found;
    pageToken = page.nextPageToken;
  }
};

/** Everything a stream gives, and what it ends with. */
const stream = async ({ canon }: SigilConnection, afterId = "") => {
  const found: VersionedRecord[] = [];
  try {
    for await (const { record } of canon.streamRecords({ afterId })) found.push(record as VersionedRecord);
  } catch (error) {
    return { found, error: SigilError.from(error) };
  }
  return { found, error: undefined };
};

/** Files of a directory that hold a text as it is. */
const filesWith = async (directory: string, text: string): Promise<readonly string[]> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  expect(files).to.have.length.greaterThan(5);
  const holds = await Promise.all(files.map(async (file) => (await readFile(file)).includes(text)));
  return files.filter((_, index) => holds[index]);
};

describe("e2e_canon_iter_decrypt", () => {
  it("reads 5,000 records back after a restart, hides them on disk, and refuses by name the one that is damaged", async () => {
    await using deployment = await makeDeployment({ model: unhurriedModel, otherTenants: ["beta", "gamma"] });
    const wrote = new Map<Tenant, WroteAll>();
    {
      await using served = await deployment.serve();
      await Promise.all(
        tenants.map(async (tenant) =>
          wrote.set(tenant, await writeAll(tenant, writer(tenant, deployment, served))),
        ),
      );
    }
    const of = (tenant: Tenant): WroteAll => wrote.get(tenant) ?? new Map();
    {
      await using served = await deployment.serve();
      const root = served.as("root");
      await Promise.all(
        tenants.map(async (tenant) => {
          const own = writer(tenant, deployment, served);
          expectSame(await list(own, ""), of(tenant));
          expectSame(await list(root, tenant), of(tenant));
          const { found, error } = await stream(own);
          expect(error).to.equal(undefined);
          expectSame(found, of(tenant));
        }),
      );
      expect(await list(root, "")).to.deep.equal([]);
    }
    expect(await filesWith(deployment.directory, idMark)).to.not.deep.equal([]);
    expect(await filesWith(deployment.directory, payloadMark)).to.deep.equal([]);

    // Far enough from the ledger's end that a start does not look at it.
    const [, victim] = [...of("acme").values()].toSorted((a, b) =>
      a.record.position < b.record.position ? -1 : 1,
    );
    if (victim === undefined) throw new Error("acme wrote records");
    const { id, position } = victim.record;
    {
      await using store = await openLevelStore(join(deployment.directory, "ledger"));
      const flips = [...flipsOf(await readStored(store, position))];
      const flip = flips[Math.floor(flips.length / 2)];
      await replaceStored(store, position, flip?.bytes ?? new Uint8Array(0));
    }
    await using served = await deployment.serve();
    const acme = served.as("operator");
    await expectRefused(acme, id, position);
    const intact = new Map([...of("acme")].filter(([other]) => other !== id));
    const before = await stream(acme);
    expect(before.error?.codeName).to.equal("DATA_LOSS");
    const behind = await stream(acme, id);
    expect(behind.error).to.equal(undefined);
    expectSame([...before.found, ...behind.found], intact);
    const neighbours = [...intact.keys()].slice(0, 50);
    const codes = await Promise.all(neighbours.map((other) => codeOf(acme.canon.getRecord({ id: other }))));
    expect(new Set(codes)).to.deep.equal(new Set(["OK"]));
    expectSame(await list(writer("beta", deployment, served), ""), of("beta"));
  });

  const expectRefused = async (acme: SigilConnection, id: string, position: bigint): Promise<void> => {
    const [idPrefix] = id.split(/(?<=\/)(?=[^/]*$)/);
    for (const call of [
      () => acme.canon.listRecords({ filter: { idPrefix: idPrefix ?? "" }, pageSize: 500 }),
      () => list(acme, ""),
      () => acme.canon.getRecord({ id }),
      () => acme.canon.getRecord({ id, at: { $case: "version", value: 1n } }),
      () => acme.canon.listHistory({ id }),
    ]) {
      const refused = await refusalOf(call());
      expect(refused.codeName).to.equal("DATA_LOSS");
      expect(refused.message).to.contain(`position ${position}`).and.to.contain(id);
    }
  };
});
