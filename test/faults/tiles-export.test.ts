/** The short form of the campaign about tiles; `npm run campaign:tiles -- --count 100` is the long one. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { killExports } from "../campaigns/tile-kills.ts";

const kills = 8;

describe("an export of tiles", function () {
  this.timeout(600_000);

  it(`that is killed ${kills} times is a whole log to its readers before, at and after each, and loses nothing`, async () => {
    const { reads, moved, size } = await killExports({ count: kills, seed: 1 });
    expect(reads).to.equal(2 * kills);
    expect(moved).to.be.at.least((kills * 3) / 4);
    expect(size).to.be.at.least(moved);
  });
});
