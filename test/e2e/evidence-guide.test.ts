/** docs/guides/evidence.md works as printed: from the decision to the file, and from the file to who verifies it. */
import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { freePorts, servingHere, sigilHere, type Serving } from "./command.ts";
import { printedOn } from "./printed.ts";

const python = join(repository, "build/venv/bin/python");
const hasPackages = spawnSync(python, ["-c", "import cryptography, cbor2"]).status === 0;
const whyNot = hasPackages
  ? ""
  : " (skipped in part: no cryptography: scripts/services.sh install python_verifiers)";

describe(`the guide to evidence${whyNot}`, function () {
  this.slow(10_000);
  let [cwd, genesis, auditId] = ["", "", ""];
  let server: Serving | undefined;

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-evidence-guide-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "guide.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    await copyFile(join(cwd, "data.keys/operator.pem"), join(cwd, "operator.pem"));
    const text = await readFile(join(cwd, "data/deployment.json"), "utf8");
    ({ genesis } = JSON.parse(text) as { readonly genesis: string });
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
    const asked = [
      "check",
      "--action",
      "write",
      "--target",
      "user/notes",
      "--json",
      "--server",
      server.target,
    ];
    const as = ["--key", "operator.pem", "--principal", "operator"];
    const checked = await sigilHere([...asked, ...as], { cwd });
    ({ auditId } = JSON.parse(checked.output) as { readonly auditId: string });
  });
  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("has commands that do what it says", async () => {
    const commands = printedOn("docs/guides/evidence.md").map(({ script }) =>
      script.trim().replace("$AUDIT_ID", auditId).replace("$GENESIS", genesis),
    );
    const seen: string[] = [];
    for (const command of commands) {
      const [line = "", file] = command.split(" > ");
      const [program, ...words] = line.split(" ");
      if (program === "python") {
        if (!hasPackages) continue;
        const path = words.map((word) => (word.startsWith("examples/") ? join(repository, word) : word));
        const { status, stdout } = spawnSync(python, path, { cwd, encoding: "utf8" });
        expect(status, stdout).to.equal(0);
        seen.push("python");
        continue;
      }
      expect(program).to.equal("sigil");
      const env = { SIGIL_CLIENT_SERVER: server?.target ?? "" };
      const { exitCode, output, problems } = await sigilHere(words, { cwd, env });
      expect(exitCode, `${line}\n${output}${problems}`).to.equal(0);
      if (file !== undefined) await writeFile(join(cwd, file), output);
      seen.push(words.slice(0, words[0] === "audit" ? 2 : 1).join(" "));
    }
    const steps = ["audit evidence", "check", "verify", "audit page", "python", "audit replay"];
    expect(seen).to.deep.equal(steps.filter((step) => hasPackages || step !== "python"));
    expect(await readFile(join(cwd, "verify.html"), "utf8")).to.match(/^<!doctype html>/);
  });
});
