/** A deployment whose ledger is gone. */
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { openDeployment } from "../../../src/deployment/open.ts";
import { createDeployment, openOptions } from "../../campaigns/deployment.ts";
import { faultOf } from "../../contract/memory-ledger.ts";

describe("a deployment whose ledger is gone", () => {
  it("is refused, and no empty ledger is made in its place", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-absent-"));
    try {
      await createDeployment(root);
      const options = openOptions(root);
      const ledger = join(options.directory, "ledger");
      await rm(ledger, { recursive: true });
      expect(await faultOf(openDeployment(options))).to.deep.include({
        kind: "storeFailed",
        step: "open",
        rule: "there is no database here",
      });
      // LevelDB leaves its lock; what makes a database of a directory is CURRENT.
      expect(
        await access(join(ledger, "CURRENT")).then(
          () => "there",
          () => "gone",
        ),
      ).to.equal("gone");
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
