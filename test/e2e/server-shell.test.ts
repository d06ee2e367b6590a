/** A server where no sandbox process can be started says so once, and serves everything else. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilError } from "@sigil/client";
import { createSandbox } from "../../src/modules/sandbox/pool.ts";
import { makeDeployment } from "./deployment.ts";

const rule = "/nowhere/sh is missing, which bounds a sandbox process; install a shell in the image";

describe("a machine without a shell", () => {
  it("is named at the start and by /readyz, refuses each run at once, and serves the rest", async () => {
    const faults: unknown[] = [];
    const sandbox = await createSandbox({
      processes: 1,
      runsMax: 4,
      launch: { shell: "/nowhere/sh" },
      onFault: (cause) => faults.push(cause),
    });
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ overrides: { sandbox } });
    const lines = () =>
      served
        .logged()
        .split("\n")
        .filter((line) => line.includes("/nowhere/sh"));
    expect(lines()).to.have.lengthOf(1);
    expect(JSON.parse(lines()[0] ?? "")).to.include({ level: "error", rule });
    const ready = await fetch(`${served.server.operatorUrl}/readyz`);
    expect([ready.status, await ready.text()]).to.deep.equal([
      200,
      `ready\nmodules cannot be run: ${rule}\n`,
    ]);
    const operator = served.as("operator");
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const error = await operator.modules
        .run({ name: "hello", input: { $case: "inputBytes", value: Buffer.from('{"name":"Ada"}') } })
        .catch(SigilError.from);
      if (!(error instanceof SigilError)) throw new Error("a module was run without its bounds");
      expect(error.codeName).to.equal("UNAVAILABLE");
    }
    expect((await operator.trust.check({ action: "read", target: "public/a" })).allowed).to.equal(true);
    expect(faults).to.deep.equal([]);
    expect(served.logged()).to.not.include('"stack"');
  });
});
