/**
 * The tool of docs/guides/write-a-module.md, built in every language the machine can build: each gives the bytes that a
 * regular expression in JavaScript gives, under Node's WASI and in the sandbox, refuses what is not its input, and is
 * the same file when it is built again.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { after, before, describe, it } from "mocha";
import { inspectModule } from "../../src/modules/sandbox/inspect-module.ts";
import { checkModule, type RunLimits } from "../../src/modules/sandbox/limits.ts";
import { runUnderNode } from "../contract/wasi-node.ts";
import { Council } from "./council.ts";
import { guideBuilds, type GuideBuild } from "./guide-builds.ts";
import { approve } from "./modules.ts";

/** A local part, and a domain with a dot inside that ends in a letter or digit. */
const address =
  /[A-Za-z0-9._%+-]+@(?!\.)(?=[A-Za-z0-9.-]*\.[A-Za-z0-9.-]*[A-Za-z0-9])[A-Za-z0-9.-]*[A-Za-z0-9]/g;

const redacted = (text: string): string => {
  const result = { text: text.replaceAll(address, "[e-mail]"), redacted: text.match(address)?.length ?? 0 };
  const escaped = JSON.stringify(result).replaceAll(
    /[\u2028\u2029]/g,
    (separator) => `\\u${separator.charCodeAt(0).toString(16)}`,
  );
  return `${escaped}\n`;
};

const taken: readonly string[] = [
  '{"text":"Ask ada@example.com, not bob@example.org."}',
  '{"text":""}',
  '{"text":"nobody @ nowhere, a@b, @b.c, a@.b.c, a@b., a@-, a@b..c"}',
  '{"text":"a@b@c.de a@b.c.@d.ef a.b+c%d_e-f@x-y.z-."}',
  '{"text":"\\u0061da\\u0040example\\u002ecom <b>&amp;</b> \\"\\\\\\/ \\b\\f\\n\\r\\t\\u0000\\u001f\\u007f"}',
  '{"text":"é@é.fr 😀a@b.fr😀 \\ud83d\\ude00 \\u2028\u2029 \\ufffd\uFFFD"}',
  ' {\r\n\t"te\\u0078t" : "x"\n} ',
];

const refused: readonly (string | Uint8Array)[] = [
  "",
  "null",
  "[]",
  "{}",
  '{"text":null}',
  '{"text":1}',
  '{"text":["a"]}',
  '{"Text":"a"}',
  '{"text":"a","more":"b"}',
  '{"text":"a","text":"b"}',
  '{"text":"a"}{}',
  '{"text":"a",}',
  '{"text":"a"',
  '{"text":"a}',
  '{"text":"\\x"}',
  '{"text":"\\u12g4"}',
  '{"text":"\\ud800"}',
  '{"text":"\\udc00\\ud800"}',
  '{"text":"\\ud800\\u0041"}',
  '{"text":"\n"}',
  '\uFEFF{"text":"a"}',
  Buffer.from('{"text":"\xff"}', "latin1"),
  Buffer.from('{"text":"\xed\xa0\x80"}', "latin1"),
];

/** Texts in which addresses are likely, and near misses more so. */
const anyText = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom("@", ".", "-", "a", "B7", "a@b.c", "+", " ", "é", '"', "\\", "\u2028"),
    },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 3 }) },
  ),
  { maxLength: 24 },
);

const [memoryPages, outputBytes] = [64, 1 << 20];
const limits: RunLimits = {
  wallMs: 5000,
  memoryPages,
  outputBytes,
  logBytes: 1 << 16,
  inputBytes: 1 << 20,
  hostCalls: 0,
};

const builds = await guideBuilds();

describe("the tool of the guide", function () {
  this.slow(10_000);
  let directory = "";
  let council: Council;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-guide-"));
    council = await Council.open();
  });
  after(async () => {
    await council[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  const written = ({ wasm }: GuideBuild): Buffer<ArrayBuffer> => readFileSync(join(directory, wasm));

  for (const each of builds) {
    describe(`in ${each.language}${each.missing === undefined ? "" : ` (${each.missing})`}`, () => {
      let module: WebAssembly.Module;

      const ran = (input: string | Uint8Array) => {
        const { exitCode, output, log } = runUnderNode(module, Buffer.from(input), "redact");
        return { exitCode, output: output.toString("utf8"), log };
      };

      before(async function () {
        if (each.missing !== undefined) this.skip();
        await each.build(directory);
        module = new WebAssembly.Module(written(each));
      });

      it("asks for nothing that the sandbox does not have without a capability", () => {
        expect(() => checkModule(inspectModule(written(each)), [], limits)).to.not.throw();
      });

      it("gives the bytes that every other language gives", () => {
        for (const input of taken) {
          const { text } = JSON.parse(input) as { readonly text: string };
          expect(ran(input), input).to.deep.equal({ exitCode: 0, output: redacted(text), log: "" });
        }
        fc.assert(
          fc.property(anyText, (parts) => {
            const text = parts.join("");
            expect(ran(JSON.stringify({ text })).output).to.equal(redacted(text));
          }),
          { numRuns: 40 },
        );
      });

      it("refuses what is not its input, in one line, and gives nothing", () => {
        for (const input of refused) {
          const { exitCode, output, log } = ran(input);
          expect({ exitCode, output }, String(input)).to.deep.equal({ exitCode: 1, output: "" });
          expect(log, String(input)).to.match(/^[^\n]+\n$/);
        }
      });

      it("gives them in the sandbox too, approved by two witnesses and run by an operator", async () => {
        const name = each.wasm.replace(".wasm", "");
        await approve(council, name, written(each), { limits: { memoryPages, outputBytes } });
        const { modules } = council.as("operator");
        const run = async (input: string | Uint8Array) => {
          const value = Buffer.from(input);
          const { exitCode, output, logTail } = await modules.run({
            name,
            input: { $case: "inputBytes", value },
          });
          return { exitCode, output: Buffer.from(output).toString("utf8"), log: logTail };
        };
        for (const input of [...taken, ...refused]) expect(await run(input)).to.deep.equal(ran(input));
      });

      it("is the same file when it is built again", async () => {
        const first = written(each);
        await each.build(directory);
        expect(written(each).equals(first)).to.equal(true);
      });
    });
  }
});
