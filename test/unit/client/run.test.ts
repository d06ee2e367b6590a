/** Runs of modules by the connection: what ran is what was asked for, and its output the recorded one. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { RunRequest, RunResponse, RunStreamResponse } from "@sigil/client";
import { moduleV1, SigilError } from "@sigil/client";
import { judgeRunning } from "../../../clients/typescript/src/module/judge.ts";
import { runBy } from "../../../clients/typescript/src/module/run.ts";

const digestOf = (text: string): Uint8Array => new Uint8Array(createHash("sha256").update(text).digest());
const output = '{"greeting":"hello"}';
const honest: Partial<RunResponse> = {
  output: Buffer.from(output),
  exitCode: 3,
  version: 2n,
  digest: digestOf("code"),
  outputDigest: digestOf(output),
  auditId: "decision",
  runId: "module_run/1",
};

describe("sigil.run", () => {
  const running = () => {
    const asked: Partial<RunRequest>[] = [];
    const run = runBy({
      run: async (request) => {
        asked.push(request as Partial<RunRequest>);
        return moduleV1.RunResponse.fromPartial(honest);
      },
    });
    return { asked, run };
  };

  it("gives what came of a run, its output as a value, and prints as proto3 JSON", async () => {
    const { asked, run } = running();
    const ran = await run({ name: "hello", input: { name: "Ada" }, version: 2n, wallMs: 50 });
    expect(asked[0]).to.deep.include({
      name: "hello",
      version: 2n,
      wallMs: 50,
      input: { $case: "inputJson", value: '{"name":"Ada"}' },
    });
    expect(ran.value()).to.deep.equal({ greeting: "hello" });
    expect(ran).to.include({ exitCode: 3, auditId: "decision", runId: "module_run/1", version: 2n });
    expect(JSON.parse(JSON.stringify(ran))).to.include({ exitCode: 3, version: "2", auditId: "decision" });
  });

  it("hands bytes over as they are, and refuses what JSON has no form for", async () => {
    const { asked, run } = running();
    await run({ name: "hello", input: Uint8Array.of(1, 2) });
    await run({ name: "hello" });
    expect(asked.map(({ input }) => input)).to.deep.equal([
      { $case: "inputBytes", value: Uint8Array.of(1, 2) },
      undefined,
    ]);
    for (const input of [() => 1, Symbol("none")]) {
      const error = await run({ name: "hello", input }).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(TypeError);
    }
    expect(asked).to.have.length(2);
  });
});

describe("a run's stream", () => {
  type Part = RunStreamResponse["part"];
  const out = (text: string): Part => ({ $case: "output", value: Buffer.from(text) });
  const result = (more: Partial<RunResponse> = {}): Part => ({
    $case: "result",
    value: moduleV1.RunResponse.fromPartial({ ...honest, output: new Uint8Array(0), ...more }),
  });
  const read = async (
    parts: readonly Part[],
    asked: Partial<RunRequest> = {},
  ): Promise<readonly string[]> => {
    const sent = async function* (): AsyncGenerator<RunStreamResponse> {
      for (const part of parts) yield { part };
    };
    const seen: string[] = [];
    for await (const { part } of judgeRunning(moduleV1.RunRequest.fromPartial(asked), sent()))
      seen.push(part?.$case ?? "");
    return seen;
  };

  it("ends with the result of its output", async () => {
    const parts = [
      out(output.slice(0, 4)),
      { $case: "log", value: Buffer.from("log") } as const,
      out(output.slice(4)),
    ];
    expect(await read([...parts, result()], { version: 2n, digest: digestOf("code") })).to.deep.equal([
      "output",
      "log",
      "output",
      "result",
    ]);
  });

  const broken: readonly (readonly [string, readonly Part[], Partial<RunRequest>?])[] = [
    ["no result", [out(output)]],
    ["something after the result", [out(output), result(), out("more")]],
    ["two results", [out(output), result(), result()]],
    ["another output than was recorded", [out("other"), result()]],
    ["a part of the output left out", [result()]],
    ["another version", [out(output), result()], { version: 1n }],
    ["other code", [out(output), result()], { digest: digestOf("other") }],
  ];
  for (const [what, parts, asked] of broken) {
    it(`is an error with ${what}`, async () => {
      const error = await read(parts, asked).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(SigilError).and.include({ reason: "REPLY_CONTRADICTORY" });
    });
  }
});
