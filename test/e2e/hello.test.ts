/**
 * The built-in module, run by a new deployment's own server: the same bytes as under Node's WASI, and its size counted.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { runUnderNode } from "../contract/wasi-node.ts";
import { Council } from "./council.ts";

const bytes = readFileSync(join(repository, "generated/modules/hello.wasm"));
const hello = new WebAssembly.Module(bytes);

const inputs: readonly string[] = [
  '{"name":"Ada"}',
  '{"name":"\\u0041\\n é😀\\u2028"}',
  JSON.stringify({ name: "many pages ".repeat(5000) }),
  '{"nam":"Ada"}',
  '{"name":',
  "",
];

describe("the built-in module on a new deployment", () => {
  let council: Council;
  before(async () => (council = await Council.open()));
  after(() => council[Symbol.asyncDispose]());

  const run = async (input: string) => {
    const { exitCode, output, logTail, usage } = await council.as("operator").modules.run({
      name: "hello",
      input: { $case: "inputBytes", value: Buffer.from(input) },
    });
    const ended = { exitCode, output: Buffer.from(output).toString("utf8"), log: logTail };
    return { ended, pages: Number(usage?.memoryBytesPeak) / 65_536 };
  };

  it("is there, under the digest of what the source gives", async () => {
    const { module, proposalId } = await council.as("observer").modules.getModule({ name: "hello" });
    expect(Buffer.from(module?.digest ?? [])).to.deep.equal(createHash("sha256").update(bytes).digest());
    expect({ active: module?.active, proposalId }).to.deep.equal({ active: true, proposalId: "" });
  });

  it("gives what it gives under another host, in as many pages", async () => {
    for (const input of inputs) {
      const { exitCode, output, log, memoryPages } = runUnderNode(hello, Buffer.from(input));
      const { ended, pages } = await run(input);
      expect(ended).to.deep.equal({ exitCode, output: output.toString("utf8"), log });
      expect(pages).to.equal(memoryPages);
    }
  });
});
