/** What a payload may be, how a repeat is answered, and that a batch is written whole or not at all. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import type { SigilConnection, WriteRecordRequest } from "@sigil/client";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { end, endOf, idOf, payloadOf, put, recordIn, unhurriedModel, writeOf } from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

describe("writes to the user space", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: SigilConnection;

  before(async () => {
    deployment = await makeDeployment({ model: unhurriedModel, otherTenants: ["beta"] });
    served = await deployment.serve();
    operator = served.as("operator");
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  describe("payloads", () => {
    const value = {
      text: "grüße 𝄞",
      list: [1, -2, 0.5, null, true, []],
      edge: [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER],
      inner: { __proto_: {}, "": "empty" },
    };

    it("takes JSON text, canonical CBOR and a Struct for the same payload", async () => {
      const contents: readonly NonNullable<WriteRecordRequest["content"]>[] = [
        { $case: "payloadJson", value: JSON.stringify(value, undefined, 2) },
        { $case: "payloadCbor", value: cborEncode(value) },
        { $case: "payload", value },
      ];
      for (const content of contents) {
        const answer = await put(operator, `payload/${content.$case}`, null, { content });
        expect(payloadOf(answer), content.$case).to.deep.equal(value);
        expect(Buffer.from(recordIn(answer).payloadCbor)).to.deep.equal(Buffer.from(cborEncode(value)));
      }
    });

    for (const [text, pointer] of [
      ['{"a":{"b":9007199254740992}}', "/a/b"],
      ['{"a":[1,-9007199254740992]}', "/a/1"],
      ['{"a":9007199254740991.5}', "/a"],
      ['{"a":1e400}', "/a"],
      ['{"a":{"b":1,"c":2,"b":1}}', "/a/b"],
      ['{"k":1,"\\u006b":2}', "/k"],
    ] as const) {
      it(`refuses ${text} and names ${pointer}`, async () => {
        const content = { $case: "payloadJson", value: text } as const;
        const refused = await refusalOf(put(operator, "payload/refused", null, { content }));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        const [violation] = refused.fieldViolations;
        expect(violation?.field).to.equal("payload_json");
        expect(violation?.description).to.contain(pointer);
        const batch = { writes: [writeOf("payload/fine", 1), writeOf("payload/refused", null, { content })] };
        const inBatch = await refusalOf(operator.canon.batchWriteRecords(batch));
        expect(inBatch.fieldViolations.map(({ field }) => field)).to.deep.equal(["writes[1].payload_json"]);
      });
    }

    it("refuses numbers of a Struct outside ±(2⁵³−1), and CBOR that is not canonical", async () => {
      for (const [content, field] of [
        [{ $case: "payload", value: { n: 2 ** 53 } }, "payload"],
        [{ $case: "payload", value: { n: Number.NaN } }, "payload"],
        [{ $case: "payloadCbor", value: Uint8Array.of(0x18, 0x01) }, "payload_cbor"],
        [{ $case: "payloadCbor", value: Uint8Array.of(0xa2, 0x61, 0x61, 1, 0x61, 0x61, 2) }, "payload_cbor"],
        [{ $case: "payloadCbor", value: new Uint8Array(0) }, "payload_cbor"],
        [{ $case: "payloadJson", value: "{" }, "payload_json"],
        [{ $case: "payloadJson", value: '{"a":1} x' }, "payload_json"],
        [{ $case: "tombstone", value: false }, "tombstone"],
      ] as const) {
        const refused = await refusalOf(put(operator, "payload/refused", null, { content }));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        expect(refused.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
      }
      expect(await codeOf(put(operator, "payload/refused", null, { content: undefined }))).to.equal(
        "INVALID_ARGUMENT",
      );
      expect(await codeOf(put(operator, "payload/refused", {}, { kind: "" }))).to.equal("INVALID_ARGUMENT");
      for (const id of ["", "a//b", "../a", "a b", "x".repeat(256)]) {
        expect(
          (await refusalOf(put(operator, id, {}))).fieldViolations.map(({ field }) => field),
        ).to.deep.equal(["id"]);
      }
    });

    it("keeps a payload of almost a mebibyte and refuses a larger one", async () => {
      const big = { text: "x".repeat((1 << 20) - 600) };
      expect(payloadOf(await put(operator, "payload/big", big))).to.deep.equal(big);
      expect(await codeOf(put(operator, "payload/bigger", { text: "x".repeat(1 << 20) }))).to.equal(
        "INVALID_ARGUMENT",
      );
      // Fits as a payload, and no longer once it is a record.
      expect(await codeOf(put(operator, "payload/bigger", { text: "x".repeat((1 << 20) - 40) }))).to.equal(
        "INVALID_ARGUMENT",
      );
    });
  });

  describe("idempotency", () => {
    it("answers a repeat with the first answer, marked as such", async () => {
      const change = { idempotencyKey: "again", expectedVersion: 0n };
      const first = await put(operator, "repeat/one", { n: 1 }, change);
      await put(operator, "repeat/one", { n: 2 });
      const second = await put(operator, "repeat/one", { n: 1 }, change);
      expect(second).to.deep.equal({ ...first, replayed: true });
      expect(first.replayed).to.equal(false);
      const { record } = await operator.canon.getRecord({ id: "repeat/one" });
      expect(record?.version).to.equal(2n);
    });

    it("refuses the key with another body, whatever differs", async () => {
      const target = recordIn(await put(operator, "repeat/linked", {})).hash;
      const links = [{ label: "about", target }];
      const key = { idempotencyKey: "differs", links };
      await put(operator, "repeat/two", { n: 1 }, key);
      const calls = [
        put(operator, "repeat/two", { n: 2 }, key),
        put(operator, "repeat/three", { n: 1 }, key),
        put(operator, "repeat/two", { n: 1 }, { ...key, kind: "other" }),
        put(operator, "repeat/two", { n: 1 }, { ...key, schemaVersion: 2 }),
        put(operator, "repeat/two", { n: 1 }, { ...key, expectedVersion: 1n }),
        put(operator, "repeat/two", { n: 1 }, { ...key, links: [] }),
        put(operator, "repeat/two", { n: 1 }, { ...key, links: [{ label: "of", target }] }),
        put(
          operator,
          "repeat/two",
          { n: 1 },
          { ...key, links: [{ label: "about", target: new Uint8Array(32) }] },
        ),
        end(operator, "repeat/two", key),
      ];
      const codes = await Promise.all(calls.map(codeOf));
      expect(codes).to.deep.equal(calls.map(() => "ALREADY_EXISTS"));
      const stranger = served.by("operator-beta", deployment.privateKeys.operator);
      expect((await put(stranger, "repeat/two", { n: 2 }, { ...key, links: [] })).replayed).to.equal(false);
    });

    it("writes once when twenty ask at once", async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => put(operator, "repeat/many", {}, { idempotencyKey: "twenty" })),
      );
      expect(new Set(answers.map(({ ledgerPosition }) => ledgerPosition)).size).to.equal(1);
      expect(new Set(answers.map(({ auditId }) => auditId)).size).to.equal(1);
      expect(answers.filter(({ replayed }) => !replayed)).to.have.length(1);
      const { records } = await operator.canon.listHistory({ id: "repeat/many" });
      expect(records).to.have.length(1);
    });

    it("frees the key when the write is refused", async () => {
      const key = { idempotencyKey: "refused first" };
      expect(await codeOf(put(operator, "repeat/free", {}, { ...key, expectedVersion: 7n }))).to.equal(
        "ABORTED",
      );
      expect((await put(operator, "repeat/free", {}, key)).replayed).to.equal(false);
    });

    it("answers a repeated batch with the first answers, also after a restart", async () => {
      const batch = { writes: [writeOf("repeat/b1", 1), writeOf("repeat/b2", 2)], idempotencyKey: "batch" };
      const first = await operator.canon.batchWriteRecords(batch);
      await served[Symbol.asyncDispose]();
      served = await deployment.serve();
      operator = served.as("operator");
      const second = await operator.canon.batchWriteRecords(batch);
      expect(second.results).to.deep.equal(first.results.map((result) => ({ ...result, replayed: true })));
      const other = { ...batch, writes: [...batch.writes].reverse() };
      expect(await codeOf(operator.canon.batchWriteRecords(other))).to.equal("ALREADY_EXISTS");
    });
  });

  describe("batches", () => {
    const idsIn = async (idPrefix: string) =>
      (await operator.canon.listRecords({ filter: { idPrefix }, pageSize: 1000 })).records.map(idOf);

    it("writes up to a hundred in one go, creations, replacements and ends, in the order of the request", async () => {
      await put(operator, "batch/ended", {});
      await put(operator, "batch/replaced", {});
      const created = Array.from({ length: 98 }, (_, index) => writeOf(`batch/${99 - index}`, { index }));
      const writes = [
        ...created,
        endOf("batch/ended"),
        writeOf("batch/replaced", { n: 2 }, { expectedVersion: 1n }),
      ];
      const { results } = await operator.canon.batchWriteRecords({ writes });
      expect(results.map(idOf)).to.deep.equal(writes.map(({ id }) => id));
      const [first] = results;
      expect(
        results.map(({ ledgerPosition }) => ledgerPosition - (first?.ledgerPosition ?? 0n)),
      ).to.deep.equal(writes.map((_, index) => BigInt(index)));
      expect(results.slice(-2).map(({ version }) => version)).to.deep.equal([2n, 2n]);
      expect(new Set(results.map(({ auditId }) => auditId)).size).to.equal(100);
      expect(await idsIn("batch/")).to.have.length(99);
    });

    it("writes none when one is wrong, whatever is wrong with it", async () => {
      const good = [writeOf("none/a", 1), writeOf("none/b", 2)];
      const nothing = [{ label: "x", target: new Uint8Array(32) }];
      for (const [bad, code] of [
        [writeOf("none/c", 3, { expectedVersion: 4n }), "ABORTED"],
        [writeOf("none/c", 3, { kind: "frozen_chain" }), "INVALID_ARGUMENT"],
        [writeOf("none/c", 3, { links: nothing }), "INVALID_ARGUMENT"],
        [writeOf("none/a", 3), "INVALID_ARGUMENT"],
        [writeOf("none/c", 3, { idempotencyKey: "own" }), "INVALID_ARGUMENT"],
        [endOf("none/c", { kind: "note" }), "NOT_FOUND"],
        [endOf("none/c"), "NOT_FOUND"],
        [writeOf("none c", 3), "INVALID_ARGUMENT"],
        [writeOf("none/c", 3, { kind: "module" }), "PERMISSION_DENIED"],
      ] as const) {
        const call = operator.canon.batchWriteRecords({ writes: [...good, bad] });
        expect(await codeOf(call), JSON.stringify(bad.content)).to.equal(code);
      }
      expect(await idsIn("none/")).to.deep.equal([]);
      const twice = await refusalOf(
        operator.canon.batchWriteRecords({ writes: [...good, writeOf("none/a", 3)] }),
      );
      expect(twice.fieldViolations.map(({ field }) => field)).to.deep.equal(["writes[2].id"]);
    });

    it("refuses none and a hundred and one", async () => {
      const writes = Array.from({ length: 101 }, (_, index) => writeOf(`many/${index}`, index));
      for (const batch of [[], writes]) {
        const refused = await refusalOf(operator.canon.batchWriteRecords({ writes: batch }));
        expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["writes"]);
      }
      expect(await idsIn("many/")).to.deep.equal([]);
    });
  });
});
