/** `sigil audit proof` and `audit checkpoint`: proofs as files, of the newest tree and of earlier ones. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { parseReceipt } from "../../src/core/cose/receipt.ts";
import { parseTlogProof } from "../../src/core/merkle/tlog-proof.ts";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const asOperator = ["--key", "data.keys/operator.pem", "--principal", "operator"];

describe("proofs on the command line", function () {
  this.slow(5000);
  let cwd = "";
  let server: Serving | undefined;
  const run = (words: readonly string[]): Promise<Ended> =>
    sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" } });
  const check = async (): Promise<string> => {
    const words = ["check", "--action", "write", "--target", "user/notes", "--json", ...asOperator];
    return (JSON.parse((await run(words)).output) as { readonly auditId: string }).auditId;
  };

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-proofs-cli-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "proofs.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("prints a proof that others read, and writes its receipt", async () => {
    const auditId = await check();
    const named = await run(["audit", "proof", auditId, "--cose", "receipt.cbor", ...asOperator]);
    expect(named.exitCode, named.problems).to.equal(0);
    const { leafIndex, checkpoint } = parseTlogProof(named.output);
    const receipt = parseReceipt(await readFile(join(cwd, "receipt.cbor")));
    expect(receipt.leafIndex).to.equal(leafIndex);
    expect(checkpoint.split("\n")[1]).to.equal(String(receipt.treeSize));
    const placed = await run([
      "audit",
      "proof",
      "--position",
      String(leafIndex),
      "--size",
      String(receipt.treeSize),
    ]);
    expect(placed.output).to.equal(named.output);
    for (const [words, rule] of [
      [[], "name one record"],
      [[auditId, "--position", "1"], "name one record"],
      [["--hash", "abc"], "--hash must be a record's hash"],
      [["--position", "-1"], "--position must be a whole number"],
      [["--position", "1", "--tenant", "acme"], "--tenant goes with AUDIT_ID alone"],
      [["--position", "99999999"], "OUT_OF_RANGE"],
    ] as const) {
      const { problems, exitCode } = await run(["audit", "proof", ...words]);
      expect(exitCode, problems).to.equal(2);
      expect(problems).to.include(rule);
    }
  });

  it("prints the checkpoint of an earlier size, and of the commit that reached one", async () => {
    const sized = async (flag: string, size: string): Promise<string | undefined> => {
      const { output, problems, exitCode } = await run(["audit", "checkpoint", flag, size]);
      expect(exitCode, problems).to.equal(0);
      return output.split("\n")[1];
    };
    expect(await sized("--size", "1")).to.equal("1");
    expect(Number(await sized("--at-least", "2"))).to.be.at.least(2);
    for (const [words, rule] of [
      [["--size", "0"], "--size must be a whole number, 1 or more"],
      [["--size", "1", "--at-least", "1"], "--at-least does not go with --size"],
      [["--size", "999999999"], "OUT_OF_RANGE"],
    ] as const) {
      const { problems, exitCode } = await run(["audit", "checkpoint", ...words]);
      expect(exitCode).to.equal(2);
      expect(problems).to.include(rule);
    }
  });
});
