/** Replies of checks, written into a buffer that is kept, against the generated encoders. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { BatchCheckResponse, CheckResponse, TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict } from "@sigil/proto/sigil/type/v1/type";
import { serializerOf } from "../../../src/rpc/call/serialize.ts";

const { check, batchCheck, getActiveModel } = TrustServiceService;
const [serializeCheck, serializeBatch] = [serializerOf(check), serializerOf(batchCheck)];

const decisions = fc
  .record({
    verdict: fc.constantFrom(Verdict.VERDICT_UNSPECIFIED, Verdict.VERDICT_ALLOW, Verdict.VERDICT_DENY),
    allowed: fc.boolean(),
    score: fc.option(fc.double(), { nil: undefined }),
    contributions: fc.array(fc.record({ feature: fc.string(), value: fc.double() }), { maxLength: 5 }),
    reason: fc.string({ unit: "binary", maxLength: 2000 }),
    auditId: fc.uuid(),
    ledgerPosition: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
    modelHash: fc.uint8Array({ maxLength: 40 }),
    time: fc.date({ min: new Date(0), max: new Date("9999-12-31"), noInvalidDate: true }),
  })
  .map((made) => CheckResponse.fromPartial(made));

const batchOf = (made: readonly CheckResponse[]): BatchCheckResponse =>
  BatchCheckResponse.fromPartial({
    results: made.map((value) => ({ outcome: { $case: "decision" as const, value } })),
  });

describe("replies of checks", () => {
  it("have the bytes of the generated encoders, one after the other and in batches", () => {
    fc.assert(
      fc.property(fc.array(decisions, { minLength: 1, maxLength: 8 }), (made) => {
        const bytes = made.map(serializeCheck);
        expect(bytes).to.deep.equal(made.map(check.responseSerialize));
        const batch = batchOf(made);
        expect(serializeBatch(batch)).to.deep.equal(batchCheck.responseSerialize(batch));
        // Nothing that was given away is written to again.
        expect(bytes).to.deep.equal(made.map(check.responseSerialize));
      }),
    );
  });

  it("are whole after a reply that cannot be encoded, and after a very long one", () => {
    const good = CheckResponse.fromPartial({ reason: "A", auditId: "b" });
    const bad = { ...good, time: new Date(Number.NaN) };
    const long = CheckResponse.fromPartial({ reason: "x".repeat(400_000) });
    expect(() => serializeCheck(bad)).to.throw();
    expect(serializeCheck(good)).to.deep.equal(check.responseSerialize(good));
    expect(serializeCheck(long)).to.deep.equal(check.responseSerialize(long));
    expect(serializeCheck(good)).to.deep.equal(check.responseSerialize(good));
  });

  it("of other methods are left to them", () => {
    expect(serializerOf(getActiveModel)).to.equal(getActiveModel.responseSerialize);
  });
});
