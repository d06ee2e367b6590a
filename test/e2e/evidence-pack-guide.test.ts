/** docs/guides/evidence-pack.md works as printed: from the span to the pack, and from the pack to who verifies it. */
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { freePorts, servingHere, sigilHere } from "./command.ts";
import { printedOn } from "./printed.ts";

describe("the guide to evidence packs", function () {
  this.slow(10_000);

  it("has commands that do what it says", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-pack-guide-"));
    try {
      const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "guide.test"], { cwd });
      expect(made.exitCode, made.problems).to.equal(0);
      await copyFile(join(cwd, "data.keys/observer.pem"), join(cwd, "observer.pem"));
      await mkdir(join(cwd, "examples"));
      await copyFile(join(repository, "examples/controls.json"), join(cwd, "examples/controls.json"));
      const text = await readFile(join(cwd, "data/deployment.json"), "utf8");
      const { genesis } = JSON.parse(text) as { readonly genesis: string };
      await using server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
      const env = { SIGIL_CLIENT_SERVER: server.target };
      for (const target of ["user/notes", "payment/1"]) {
        const as = ["--key", "data.keys/operator.pem", "--principal", "operator"];
        await sigilHere(["check", "--action", "write", "--target", target, ...as], { cwd, env });
      }
      const seen: string[] = [];
      for (const { script } of printedOn("docs/guides/evidence-pack.md")) {
        const [program, ...words] = script.trim().replace("$GENESIS", genesis).split(" ");
        expect(program).to.equal("sigil");
        const { exitCode, output, problems } = await sigilHere(words, { cwd, env });
        // The operator's last decision is young, so that nothing is claimed after it: a gap.
        expect(exitCode, output + problems).to.equal(words[0] === "verify" ? 0 : 1);
        seen.push(words.slice(0, words[0] === "audit" ? 2 : 1).join(" "));
      }
      expect(seen).to.deep.equal(["audit export", "verify", "audit export"]);
      const rows = await readFile(join(cwd, "pack-controls/controls.csv"), "utf8");
      expect(rows).to.match(/payment-approval,\d+,/);
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });
});
