/** How descriptors are shared out: what the ledger needs is kept, whatever is wanted. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { readDescriptors, shareOut } from "../../src/wire/descriptors.ts";
import { connectionsMin, operatorConnectionsMax, operatorConnectionsMin } from "../../src/limits.ts";

describe("descriptors", () => {
  const wanted = { wanted: 10_000, sandboxes: 1, relays: 0 };

  it("go to connections only past what is open and what is kept", () => {
    for (const limit of [200, 256, 1024, 4096, 65_536, 1_048_576]) {
      const open = 40;
      const { connections, operatorConnections } = shareOut({ limit, open }, wanted);
      expect(connections + operatorConnections + open + Math.floor(limit / 5), `${limit}`).to.be.below(limit);
      expect(connections).to.be.at.least(connectionsMin).and.at.most(10_000);
      expect(operatorConnections).to.be.at.least(operatorConnectionsMin).and.at.most(operatorConnectionsMax);
    }
  });

  it("are kept for the sockets and files of relays", () => {
    const few = { limit: 1024, open: 40 };
    const [without, beside] = [0, 256].map((relays) => shareOut(few, { ...wanted, relays }));
    const sumOf = ({ connections = 0, operatorConnections = 0 } = {}) => connections + operatorConnections;
    expect(sumOf(without) - sumOf(beside)).to.equal(256);
  });

  it("leave a few connections where there is hardly anything, and all where nobody says", () => {
    expect(shareOut({ limit: 64, open: 60 }, wanted).connections).to.equal(connectionsMin);
    expect(shareOut({ limit: Number.POSITIVE_INFINITY, open: 0 }, wanted).connections).to.equal(10_000);
  });

  it("are read from the system that this runs on", () => {
    const { limit, open } = readDescriptors();
    expect(limit).to.be.above(open);
  });
});
