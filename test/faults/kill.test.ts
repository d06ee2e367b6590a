/** The short form of the kill campaign; `npm run campaign:kill -- --count 1000` is the long one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { createDeployment, openOptions } from "../campaigns/deployment.ts";
import { runKills } from "../campaigns/oracle.ts";

describe("a ledger killed under load", () => {
  it("keeps every acknowledged record, at its position, once, over eight kills, and inspects clean", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-kill-"));
    try {
      await createDeployment(root);
      const { wrongs, acknowledged } = await runKills(root, { count: 8, seed: 20 });
      expect(wrongs).to.deep.equal([]);
      expect(acknowledged).to.be.greaterThan(50);
      const report = await runFsck(await describeDeployment(openOptions(root)));
      expect(report.problems).to.deep.equal([]);
      expect(report.size >= BigInt(acknowledged)).to.equal(true);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
