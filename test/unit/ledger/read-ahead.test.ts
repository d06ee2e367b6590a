/**
 * How many records are opened side by side: few at first, never more than are wanted, few again where they are long.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { ReadAhead } from "../../../src/ledger/read/read-ahead.ts";
import { readAheadBytesMax, readAheadFirst, readAheadRecordsMax } from "../../../src/limits.ts";

const short = new Uint8Array(400);
const long = new Uint8Array(1_000_000);

describe("reading ahead", () => {
  it("begins with few and grows while records are short, up to its bound", () => {
    const ahead = new ReadAhead();
    expect(ahead.next()).to.equal(readAheadFirst);
    for (let steps = 0; steps < 10; steps += 1) ahead.took([short, short]);
    expect(ahead.next()).to.equal(readAheadRecordsMax);
  });

  it("opens no more than fit its bytes after a long one, and at least one", () => {
    const ahead = new ReadAhead();
    for (let steps = 0; steps < 10; steps += 1) ahead.took([short]);
    ahead.took([short, long, short]);
    expect(ahead.next() * long.length).to.be.at.most(readAheadBytesMax);
    ahead.took([new Uint8Array(readAheadBytesMax * 2)]);
    expect(ahead.next()).to.equal(1);
  });

  it("opens none that nobody wants", () => {
    const ahead = new ReadAhead();
    for (let steps = 0; steps < 10; steps += 1) ahead.took([short]);
    expect(ahead.next(3)).to.equal(3);
    expect(ahead.next(0)).to.equal(1);
  });
});
