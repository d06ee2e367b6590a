/** The schemas of the ledger: the newest one is the one used, and nothing gets past a damaged one. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { parseJsonPayload } from "../../../src/canon/records/payload.ts";
import {
  createSchemas as makeSchemas,
  type KindSchema,
  type SchemaLedger,
  type Schemas,
} from "../../../src/canon/schemas/schemas.ts";
import type { CommittedRecord } from "../../../src/ledger/ledger.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import type { CborValue } from "../../../src/core/cbor/cbor.ts";
import { fail, SigilFault, type SigilError } from "../../../src/errors.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";

const hash = parseHash(new Uint8Array(32));

const bodyOf = (kind: string, id: string, payload: CborValue): RecordBody => ({
  kind,
  schemaVersion: 1,
  id,
  tenant: "system",
  ts: 0,
  space: "system",
  payload,
  links: [],
  prev: null,
});

/** A ledger of heads: what the last `write` said is what is read. A read can be held back to be overtaken. */
class FakeLedger {
  readonly heads = new Map<string, RecordBody>();
  readonly listeners = new Set<(records: readonly CommittedRecord[]) => void>();
  readonly damaged = new Set<string>();
  reads = 0;
  hold: Promise<void> | undefined;

  write(body: RecordBody): void {
    this.heads.set(`${body.space} ${body.id}`, body);
    for (const listener of this.listeners) listener([{ position: 1n, hash, body, version: 1n }]);
  }

  put(kind: string, schema: CborValue): void {
    this.write(bodyOf("schema", `schema/${kind}`, { kind, schema }));
  }

  readonly reading = {
    reader: {
      readId: async (tenant: string, space: string, id: string) => {
        this.reads += 1;
        expect(tenant).to.equal("system");
        if (this.damaged.has(id))
          fail({ kind: "recordCorrupt", position: 7n, step: "hash", rule: "differs" });
        const body = this.heads.get(`${space} ${id}`);
        await this.hold;
        return body === undefined ? undefined : { body, position: 7n };
      },
    },
    feed: {
      subscribe: (listener: (records: readonly CommittedRecord[]) => void) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
    },
  } as unknown as SchemaLedger;
}

const rejectionOf = async (act: Promise<unknown>): Promise<SigilError> => {
  try {
    await act;
  } catch (cause) {
    if (cause instanceof SigilFault) return cause.error;
    throw cause;
  }
  return expect.fail("expected a refusal");
};

describe("the schemas of the ledger", () => {
  let ledger: FakeLedger;
  beforeEach(() => {
    ledger = new FakeLedger();
    ledger.put("order", { type: "object" });
  });

  const asking = { tenant: "demo", signal: AbortSignal.timeout(60_000) };
  let made: Schemas[] = [];
  const createSchemas = (...given: Parameters<typeof makeSchemas>): Schemas => {
    const schemas = makeSchemas(...given);
    made.push(schemas);
    return schemas;
  };
  afterEach(() => {
    for (const schemas of made) schemas.close();
    made = [];
  });

  const passes = async (schema: KindSchema | undefined, payload: CborValue): Promise<boolean> => {
    if (schema === undefined) return expect.fail("there is no schema");
    try {
      await schema.check(payload, "payload_json", asking);
      return true;
    } catch (error) {
      expect(error).to.have.nested.property("error.kind", "invalidField");
      return false;
    }
  };

  it("are read and compiled once and then remembered", async () => {
    const schemas = createSchemas(ledger.reading);
    const first = await schemas.find("order");
    expect(await passes(first, {})).to.equal(true);
    expect(await passes(first, 1)).to.equal(false);
    expect(await schemas.find("order")).to.equal(first);
    expect(ledger.reads).to.equal(1);
  });

  it("are none for a kind without a record, and looking for it is not remembered", async () => {
    const schemas = createSchemas(ledger.reading, 1);
    await schemas.find("order");
    expect(await schemas.find("note")).to.equal(undefined);
    await schemas.find("order");
    expect(ledger.reads).to.equal(2);
  });

  it("are none, without a look, for a kind that no id can hold", async () => {
    const schemas = createSchemas(ledger.reading);
    for (const kind of ["", "a b", "é", "../order", "x".repeat(250)]) {
      expect(await schemas.find(kind), kind).to.equal(undefined);
    }
    expect(ledger.reads).to.equal(0);
  });

  it("change with the next commit", async () => {
    const schemas = createSchemas(ledger.reading);
    await schemas.find("order");
    ledger.put("order", { type: "string" });
    expect(await passes(await schemas.find("order"), "x")).to.equal(true);
    ledger.put("other", {});
    ledger.put("order", { type: "null" });
    expect(await passes(await schemas.find("order"), null)).to.equal(true);
  });

  it("are not remembered from a read that a commit overtook", async () => {
    const schemas = createSchemas(ledger.reading);
    const gate = Promise.withResolvers<void>();
    ledger.hold = gate.promise;
    const overtaken = schemas.find("order");
    ledger.put("order", { type: "string" });
    gate.resolve();
    expect(await passes(await overtaken, {})).to.equal(true);
    expect(await passes(await schemas.find("order"), "x")).to.equal(true);
  });

  it("end with a tombstone and begin again with a new version", async () => {
    const schemas = createSchemas(ledger.reading);
    await schemas.find("order");
    ledger.write(bodyOf("tombstone", "schema/order", { kind: "schema" }));
    expect(await schemas.find("order")).to.equal(undefined);
    ledger.put("order", { type: "string" });
    expect(await passes(await schemas.find("order"), "x")).to.equal(true);
  });

  it("do not come from, nor change with, records outside the system space", async () => {
    const schemas = createSchemas(ledger.reading);
    const first = await schemas.find("order");
    const body = bodyOf("schema", "schema/order", { kind: "order", schema: {} });
    ledger.write({ ...body, space: "user" });
    ledger.write({ ...body, id: "schema/note", payload: { kind: "note", schema: {} }, space: "user" });
    expect(await schemas.find("order")).to.equal(first);
    expect(await schemas.find("note")).to.equal(undefined);
  });

  it("let nothing past a damaged record", async () => {
    const schemas = createSchemas(ledger.reading);
    ledger.damaged.add("schema/order");
    expect(await rejectionOf(schemas.find("order"))).to.deep.equal({
      kind: "recordCorrupt",
      position: 7n,
      step: "hash",
      rule: "differs",
    });
  });

  it("let nothing past a record that holds no usable schema of the kind", async () => {
    const schemas = createSchemas(ledger.reading);
    for (const body of [
      bodyOf("module", "schema/order", {}),
      bodyOf("schema", "schema/order", { kind: "order" }),
      bodyOf("schema", "schema/order", { kind: "order", schema: { type: "objct" } }),
      bodyOf("schema", "schema/order", { kind: "invoice", schema: {} }),
    ]) {
      ledger.write(body);
      const error = await rejectionOf(
        schemas.find("order").then((found) => found?.check({}, "payload_json", asking)),
      );
      expect(error).to.include({ kind: "recordCorrupt", position: 7n, step: "schema" });
    }
  });

  it("are forgotten, the longest unused first, past the bound", async () => {
    ledger.put("note", {});
    const schemas = createSchemas(ledger.reading, 1);
    await schemas.find("order");
    await schemas.find("note");
    await schemas.find("note");
    expect(ledger.reads).to.equal(2);
    await schemas.find("order");
    expect(ledger.reads).to.equal(3);
  });

  it("are compiled in a thread, one that is proposed beside one that governs", async () => {
    const schemas = createSchemas(ledger.reading);
    await schemas.compile({ type: "object" }, asking);
    expect(await rejectionOf(schemas.compile({ type: "objct" }, asking))).to.include({
      kind: "malformedRecord",
      field: "payload.schema",
    });
    const patterns = parseJsonPayload('{"patternProperties":{"(?=a)":{}}}', "test");
    expect(await rejectionOf(schemas.compile(patterns, asking)))
      .to.have.property("rule")
      .that.contains("looks ahead or behind");
    // What a quorum approved before there was the rule still governs.
    ledger.put("order", patterns);
    expect(await passes(await schemas.find("order"), { a: 1 })).to.equal(true);
  });

  it("are no longer followed once closed", () => {
    const schemas = createSchemas(ledger.reading);
    schemas.close();
    expect(ledger.listeners.size).to.equal(0);
  });
});
