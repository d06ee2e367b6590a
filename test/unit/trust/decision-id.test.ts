/** Decision ids: in the order they were made, and not to be guessed from one another. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { randomBytes } from "../../../src/crypto/random.ts";
import { createDecisionIds } from "../../../src/trust/decision-id.ts";

const shape = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const base = Date.UTC(2026, 0, 1);

describe("decision ids", () => {
  it("are UUIDs of version 7 that begin with their time", () => {
    const id = createDecisionIds(randomBytes)(base);
    expect(id).to.match(shape);
    expect(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16)).to.equal(base);
  });

  it("sort in the order they were made, also thousands in one millisecond", () => {
    const next = createDecisionIds(randomBytes);
    const ids = Array.from({ length: 20_000 }, (_, index) => next(base + Math.floor(index / 10_000)));
    expect([...ids].sort((a, b) => (a < b ? -1 : 1))).to.deep.equal(ids);
    expect(new Set(ids).size).to.equal(ids.length);
  });

  it("stay in order when the clock steps back", () => {
    const next = createDecisionIds(randomBytes);
    const ids = [base, base + 5, base - 1000, base + 2, base + 6].map((nowMs) => next(nowMs));
    expect([...ids].sort((a, b) => (a < b ? -1 : 1))).to.deep.equal(ids);
  });

  it("take every bit but time, version, variant and counter from the randomness they are given", () => {
    const low = createDecisionIds((bytes) => new Uint8Array(bytes))(base);
    const high = createDecisionIds((bytes) => new Uint8Array(bytes).fill(255))(base);
    expect(low.slice(14)).to.equal("7000-8000-000000000000");
    expect(high.slice(14)).to.equal("77ff-bfff-ffffffffffff");
  });

  it("are the same for the same time and randomness", () => {
    const fixed = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(42);
    expect(createDecisionIds(fixed)(base)).to.equal(createDecisionIds(fixed)(base));
  });

  it("refuse a clock that gives no usable time, and randomness that gives too little", () => {
    for (const nowMs of [Number.NaN, -1, 1.5, Infinity, 2 ** 48]) {
      expect(() => createDecisionIds(randomBytes)(nowMs)).to.throw("no usable time");
    }
    expect(() => createDecisionIds(() => new Uint8Array(3))(base)).to.throw("too few bytes");
  });
});
